/*
 * queue: which of a shard's messages is due when. An entry a message that the spool holds; its due
 * time is the earliest of its recipients' and waits in the shard's timer wheel. When it comes, the
 * message goes to `dispatch` (delivery), which reports back what became of each recipient.
 *
 *     accept -> READY -> dispatch -> OUT (n tasks) -> settled -> WAITING until due -> READY ...
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
#include "spool.h"

enum queue_state {
    QUEUE_WAITING, /* for its timer */
    QUEUE_READY,   /* in line for dispatch */
    QUEUE_OUT,     /* with delivery */
};

/* Owned by the queue, from accept until its message has no recipient left. */
struct queue_entry {
    struct wheel_timer timer;
    struct list ready;
    struct queue *queue;
    struct spool_message *message;
    struct queue_reason *reason; /* of the last deferral in this run; NULL: not known */
    uint32_t tasks_out; /* parts of the message that delivery has and has not reported on */
    uint8_t state;      /* enum queue_state */
    bool deleted;       /* by the operator, while it was out */
    bool asked;         /* the operator wants an attempt now, whatever was found out before */
};

struct queue {
    const struct conf *conf;
    struct io *io;
    struct wheel *wheel;
    struct spool *spool;
    struct rand rand;
    /* Takes the entry (state OUT, tasks_out 1 held on its behalf): calls queue_hold() for each further
     * part and queue_settled() for each, once. */
    void (*dispatch)(void *context, struct queue_entry *entry);
    void *context;
    struct pool entries;
    struct list ready;
    struct hash_table reasons; /* each text once, however many messages wait for it */
    uint32_t out;              /* entries that are with delivery */
    uint32_t out_max;          /* no more than this at a time */
    uint64_t messages;
    bool stopped;
};

struct queue_options {
    const struct conf *conf;
    struct io *io;
    struct wheel *wheel;
    uint64_t seed;
    uint32_t out_max; /* 0: 20,000 */
    void (*dispatch)(void *context, struct queue_entry *entry);
    void *context;
};

void queue_init(struct queue *q, const struct queue_options *options);
void queue_set_spool(struct queue *q, struct spool *spool);
/* Retries are as this says from now on; it lives as long as it is the queue's. */
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

static inline void queue_hold(struct queue_entry *e)
{
    e->tasks_out++;
}
/* One part of the message is reported on: its outcomes, if any, are recorded in the spool. Frees the
 * entry when the message is gone. */
void queue_settled(struct queue_entry *e, const struct spool_outcome *outcomes, uint32_t count);

/* Unix seconds of the next attempt after `attempts` (>= 1) failed ones; never after the expiry. */
uint32_t queue_next_due_s(struct queue *q, const struct spool_message *m, uint32_t attempts);
/* Whether a message of this age is given up when an attempt fails now. */
bool queue_expired(const struct queue *q, const struct spool_message *m);
uint32_t queue_now_s(const struct queue *q); /* Unix time */

/* The operator. False: no such message. */
bool queue_retry(struct queue *q, uint64_t id);  /* all its waiting recipients are due now */
bool queue_delete(struct queue *q, uint64_t id); /* gone, without a bounce */
/* The remote's words, or ours, when a recipient was last deferred; empty if there were none. */
struct slice queue_entry_reason(const struct queue_entry *e);
/* Unix seconds of the entry's next attempt; 0: it is under way. */
uint32_t queue_entry_due_s(const struct queue_entry *e);

#endif
