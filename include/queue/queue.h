/*
 * queue: which of a shard's messages is tried when. An entry a message that the spool holds. It waits for
 * a time (in the shard's timer wheel), or for something that is to happen (in a lot, queue_lot.h: a site
 * that is down or full, a rule of the operator's); then it is in line for dispatch, and delivery reports
 * back what became of each recipient. docs/queue.md tells the whole story.
 *
 *     accept -> READY -> dispatch -> OUT (n parts) -> settled -> WAITING until due -> READY ...
 *                                                  -> PARKED in a lot until called -> READY ...
 *                                                  -> gone, when no recipient is left
 *
 * How long to wait is decided here (retry intervals, jitter, expiry); how to deliver is not.
 */
#ifndef QUEUE_H
#define QUEUE_H

#include "base_hash.h"
#include "base_pool.h"
#include "base_rand.h"
#include "base_wheel.h"
#include "conf.h"
#include "queue_holds.h"
#include "spool.h"

enum queue_state {
    QUEUE_WAITING, /* for its timer */
    QUEUE_READY,   /* in line for dispatch */
    QUEUE_OUT,     /* with delivery */
    QUEUE_PARKED,  /* in a lot */
};

/* Lines of what is ready. Each has its share of the turns, so that none starves; within a line the higher
 * priority goes first, and those of one priority take turns by destination. */
enum queue_line {
    QUEUE_FRESH,  /* new, not tried yet */
    QUEUE_CALLED, /* there is room for it, or the operator asked */
    QUEUE_RETRY,  /* its time has come */
    QUEUE_DRAIN,  /* out of a lot that was dissolved */
    QUEUE_LINES,
};

/* Owned by the queue, from accept until its message has no recipient left. */
struct queue_entry {
    struct wheel_timer timer;
    struct list ready; /* in a line, or in its lot */
    struct queue *queue;
    struct spool_message *message;
    struct queue_reason *reason; /* of the last deferral in this run; NULL: not known */
    struct queue_lot *lot;       /* it is in, or (while OUT) is to go to; NULL: none */
    uint32_t tasks_out; /* parts of the message that delivery has and has not reported on */
    uint8_t state;      /* enum queue_state */
    uint8_t line;       /* enum queue_line: the last it was in */
    bool deleted : 1;   /* by the operator, while it was out */
    bool asked : 1;     /* the operator wants an attempt now, whatever was found out before */
    bool bounce : 1;    /* the operator wants it returned; `reason` says why */
    bool exempt : 1;    /* released by the operator: rules do not hold it any more */
    bool called : 1;    /* out of a lot: there is room */
    bool overdue : 1; /* out of a lot: its time is over, or its sender is to be told; no attempt */
    bool mixed : 1;   /* its recipients wait for different things */
    bool noted : 1;   /* that it is parked is in the log already */
    bool told : 1;    /* was overdue for the delay to be told */
};
_Static_assert(sizeof(struct queue_entry) <= 88, "a queued message has 256 bytes in all");

struct queue_ready;

struct queue {
    const struct conf *conf;
    struct io *io;
    struct wheel *wheel;
    struct spool *spool;
    struct rand rand;
    /* Takes the entry (state OUT, tasks_out 1 held on its behalf): calls queue_part() for each further
     * part and queue_settled() for each, once. */
    void (*dispatch)(void *context, struct queue_entry *entry);
    /* Entries wait in the lot of this key: whoever owns what they wait for is to call. May be NULL. */
    void (*waiting)(void *context, struct slice key);
    void *context;
    struct pool entries;
    struct queue_ready *ready;
    struct hash_table lots;
    struct list draining;     /* lots that are dissolved */
    struct queue_holds holds; /* the operator's rules; see queue_holds.h */
    struct wheel_timer holds_timer;
    struct hash_table reasons; /* each text once, however many messages wait for it */
    uint32_t out;              /* entries that are with delivery */
    uint32_t out_max;          /* no more than this at a time */
    uint32_t reads_waiting; /* delivery's: envelopes that wait to be read; no more are dispatched */
    uint32_t interval_max_s; /* nobody waits for longer between two attempts */
    int64_t wall_ahead_ms;   /* of io's clock, when last looked at */
    uint64_t leap_ms,
        leap_until_ms; /* the wall clock leapt: so much is not held against anybody yet */
    uint32_t leapt_s;  /* Unix time just after: whoever came later is as old as he seems */
    uint64_t messages, parked;
    bool stopped;
};

struct queue_options {
    const struct conf *conf;
    struct io *io;
    struct wheel *wheel;
    uint64_t seed;
    uint32_t out_max; /* 0: 20,000 */
    void (*dispatch)(void *context, struct queue_entry *entry);
    void (*waiting)(void *context, struct slice key);
    void *context;
};

void queue_init(struct queue *q, const struct queue_options *options);
void queue_set_spool(struct queue *q, struct spool *spool);
/* Retries are as this says from now on; it lives as long as it is the queue's. If it is another generation,
 * the lots of sites are dissolved, a bounded number of entries a pass: their ways may be others. */
void queue_set_conf(struct queue *q, const struct conf *conf);
void queue_finish(struct queue *q); /* frees the entries; the messages stay in the spool */

/* A message that has just become stable, or was recovered. Sets message->owner. */
struct queue_entry *queue_accept(struct queue *q, struct spool_message *m);
/* End of a pass: dispatches what is ready, a bounded number. */
void queue_step(struct queue *q);
/* queue_step() would do something now. */
bool queue_has_work(const struct queue *q);
/* No more dispatching; what is out comes back. */
void queue_stop(struct queue *q);

/* ---- what is out --------------------------------------------------------------------------- */

/* One more part of it is out. */
static inline void queue_part(struct queue_entry *e)
{
    e->tasks_out++;
}
/* One part of the message is reported on: its outcomes, if any, are recorded in the spool. Frees the
 * entry when the message is gone. */
void queue_settled(struct queue_entry *e, const struct spool_outcome *outcomes, uint32_t count);
/* A recipient of a part that was not tried: again then. Before the part's queue_settled(); the log need not
 * know. */
void queue_postpone(struct queue_entry *e, uint32_t recipient, uint32_t due_s);
/* Waiting, not held, and its time has come: to be tried by the dispatch under way. */
bool queue_is_due(const struct queue *q, const struct spool_message *m, uint32_t recipient);
/* Not tried so far, and young: ahead of what has waited. */
bool queue_is_fresh(const struct queue_entry *e);

/* ---- times ---------------------------------------------------------------------------------- */

/* Unix seconds of the next attempt after `attempts` (>= 1) failed ones, as the route's `retry` says; never
 * after the expiry or the message's deliver-by time. */
uint32_t queue_next_due_s(struct queue *q, const struct spool_message *m,
                          const struct conf_retry *retry, uint32_t attempts);
/* Whether a message of this age is given up when an attempt fails now, or its deliver-by time is over. */
bool queue_expired(const struct queue *q, const struct spool_message *m,
                   const struct conf_retry *retry);
/* Of these, the latter: it is not even tried any more. */
bool queue_past_deliver_by(const struct queue *q, const struct spool_message *m);
/* Unix seconds when the message is given up; UINT32_MAX: never. */
uint32_t queue_give_up_s(const struct spool_message *m, const struct conf_retry *retry);
uint32_t queue_now_s(const struct queue *q); /* Unix time */
/* The same, but of a leap of the wall clock the part that nobody is to be punished for yet is taken off:
 * for what ends a message's life. */
uint32_t queue_patient_s(const struct queue *q, const struct spool_message *m);

/* ---- the operator: any state; false: no such message ----------------------------------------- */

/* All its waiting recipients are due now, and the site that they wait for is probed. What is held stays so. */
bool queue_retry(struct queue *q, uint64_t id);
bool queue_delete(struct queue *q, uint64_t id); /* gone, without a bounce */
/* The same for some of its waiting recipients, not for all. False also while it is being delivered. */
bool queue_delete_some(struct queue *q, uint64_t id, const uint32_t *recipients, uint32_t count);
/* Its waiting recipients are not tried, and do not expire, until then; SPOOL_DUE_NEVER: until released.
 * What is being delivered right now may still be. */
bool queue_hold(struct queue *q, uint64_t id, uint32_t until_s);
/* With a text for people, in place of "held by the operator". */
bool queue_hold_because(struct queue *q, uint64_t id, uint32_t until_s, struct slice text);
/* The end of that, and of rules for this message: due now. */
bool queue_release(struct queue *q, uint64_t id);
/* Its waiting recipients, held ones too, fail with this text when it is dispatched next: at once. */
bool queue_bounce(struct queue *q, uint64_t id, struct slice text);
/* Other terms: deliver-by time, priority. */
bool queue_revise(struct queue *q, uint64_t id, const struct spool_terms *terms);

/* What an operator sees, and may select by. */
enum queue_standing {
    QUEUE_IS_WAITING, /* for due_s */
    QUEUE_IS_READY,
    QUEUE_IS_ACTIVE,
    QUEUE_IS_PARKED, /* for a site */
    QUEUE_IS_HELD,   /* by itself until due_s, or by a rule */
};
struct queue_facts {
    enum queue_standing standing;
    struct slice reason;    /* the remote's words, or ours; empty: there are none */
    uint32_t due_s;         /* Unix seconds of the next attempt; 0: under way or not known;
                              * SPOOL_DUE_NEVER: none until something happens */
    struct slice waits_for; /* the key of the lot; empty: none */
};
void queue_entry_facts(const struct queue_entry *e, struct queue_facts *out);
const char *queue_standing_name(
    enum queue_standing standing); /* "waiting", "ready", "active", ... */
/* Parts of the above. */
struct slice queue_entry_reason(const struct queue_entry *e);
/* For the spool, which keeps it: what an earlier run knew of a message that was accepted a moment ago, and
 * what is known now. */
void queue_reasoned(struct queue *q, struct spool_message *m, struct slice text);
struct slice queue_message_reason(const struct spool_message *m);
uint32_t queue_entry_due_s(const struct queue_entry *e);

#endif
