/*
 * delivery_priv: what delivery's modules share.
 *
 *   delivery_dispatch.c  origin: envelope -> routes -> tasks
 *   delivery_task.c      a task's memory, where it goes, how it ends
 *   delivery_outcome.c   origin: what became of each recipient -> spool, retry, log
 *   delivery_notice.c    origin: who is told about it, before it is recorded
 *   delivery_notice_rule.c, _letter.c  what is owed to whom; one notification
 *   delivery_verify.c    origin: call-outs
 *   delivery_maildir.c   origin: mailboxes
 *   delivery_mx.c        the domain's owner: MX lookup -> site (delivery_mx_question.c)
 *   delivery_site.c      the site's owner: its states, back-off (delivery_remote_priv.h)
 *   delivery_address.c   a site's hosts and their addresses
 *   delivery_address_list.c  these in order
 *   delivery_self.c      which addresses are our own
 *   delivery_lane.c      the tasks that wait for a site, its rate
 *   delivery_site_call.c how what waits at the origins comes to the site
 *   delivery_site_pool.c how many connections it gets
 *   delivery_smtp.c      one connection to a site
 *   delivery_smtp_task.c its transaction
 *   delivery_smtp_body.c the transaction's body
 *   delivery_tls_*.c     what TLS is asked for (delivery_tls_priv.h)
 *   delivery_smtp_tls.c  a connection's TLS
 *   delivery_explain*.c  what would be done, for the operator
 */
#ifndef DELIVERY_PRIV_H
#define DELIVERY_PRIV_H

#include "base_hash.h"
#include "base_pool.h"
#include "base_rand.h"
#include "delivery.h"
#include "delivery_tls_priv.h"
#include "smtp_client.h"

enum delivery_pace {
    DELIVERY_READS_MAX = 64,     /* envelopes being read from the log at a time */
    DELIVERY_MAILDIRS_MAX = 128, /* mailboxes being written at a time */
    DELIVERY_LANE_MAX = 2000,   /* tasks waiting for one site; more wait in lots at their origins */
    DELIVERY_PROBES_MAX = 1000, /* call-outs under way at a time */
    DELIVERY_CALLOUTS_MAX = 200, /* of them, waiting for one site */
    DELIVERY_LOOKUPS_MAX = 1000, /* MX questions under way at a time */
    DELIVERY_BACK_S = 30,        /* until what was only told of is back where it waits */
    DELIVERY_UNTOLD_S = 60,      /* until a notice that could not be stored is tried again */
    DELIVERY_GENERATIONS = 8,    /* with transactions; connections of older ones are cut off */
};

/* A configuration and the tasks of this shard that go by it. Only the origin counts them; as long as one is
 * out, the others may look at task->conf. */
struct delivery_terms {
    struct list node; /* delivery.terms */
    const struct conf *conf;
    uint64_t tasks;
};

/* An origin's lot, and a site's word to it: delivery_site_call.c. Owned by whoever has it. */
struct delivery_call {
    struct list node;
    unsigned origin;
    bool to_origin;
    struct slice key; /* of both; owned */
    uint32_t n;       /* there is room for */
    uint32_t used;    /* so many come */
    uint32_t left;    /* wait still */
};

struct delivery {
    struct delivery_options o;
    struct list terms; /* the last is what holds, and o.conf is its */
    struct rand rand;
    struct delivery_counters counters;
    bool stopping;
    uint64_t stop_deadline_ms;
    struct wheel_timer stop_timer;

    uint32_t tasks; /* in this shard's hands: origin's own that are out are not counted */
    struct pool dispatches;
    struct list dispatches_open;  /* all of them */
    struct list dispatch_waiting; /* for a read slot */
    uint32_t dispatches_reading;
    struct slice *scratch; /* recipients of the envelope being routed */
    struct spool_dsn *scratch_dsn;
    uint32_t scratch_count;

    struct list maildir_waiting; /* tasks */
    uint32_t maildirs_running;
    struct list maildir_jobs;           /* zeroed is empty, like the next two */
    struct maildir_sync *maildir_syncs; /* directories that are being synced */
    struct hash_table rounds;           /* of messages whose recipients end one after the other */
    struct list rounds_open;            /* all of them */
    struct list notices;                /* all of them that are being made or wait */
    struct list notices_waiting;        /* to be made */
    uint32_t notices_running;
    uint64_t notices_weight; /* recipients that those running are about */
    bool notices_starting;

    struct list probes; /* all of them */
    uint32_t probes_out;
    struct list explains;

    struct pool lookups; /* MX */
    struct list lookups_open;
    struct list lookups_waiting; /* tasks */
    uint32_t lookups_running;

    struct hash_table sites;
    struct list calls; /* for sites that are not there */
    struct wheel_timer calls_timer;
    uint32_t site_count;
    struct pool site_pool;
    struct pool connections;
    struct smtp_client_options smtp_options, lmtp_options;
    struct delivery_tls_memory tls_memory;
};

/* ---- delivery.c --------------------------------------------------------------------------- */

/* A task of ours begins, and is home. */
void delivery_terms_enter(struct delivery *d, struct delivery_task *t);
void delivery_terms_leave(struct delivery *d, struct delivery_task *t);

/* ---- delivery_task.c ---------------------------------------------------------------------- */

/* Room for `recipient_count` recipients whose addresses, with sender and domain, take `text_len`
 * bytes. task->sender, ->domain and the addresses are set with delivery_task_text(). */
struct delivery_task *delivery_task_create(uint32_t recipient_count, size_t text_len);
struct slice delivery_task_text(struct delivery_task *t, struct slice text, bool fold);
void delivery_task_route(const struct delivery_task *t, struct buf *out); /* "<route> " of a key */

/* For an smtp or lmtp destination: sets t->site. (That of MX hosts is set where these are known.) */
void delivery_task_name_site(struct delivery_task *t);
/* The shard that owns the site, or the question for the domain. */
unsigned delivery_task_owner(const struct delivery *d, struct slice key);

/* An outcome for one recipient, or (pending ones only) for all. `text` is copied, cut, and cleaned of
 * control characters. enhanced may be NULL. */
void delivery_task_set(struct delivery_task *t, uint32_t i, enum delivery_status status,
                       uint16_t code, const uint16_t *enhanced, struct slice text);
void delivery_task_set_all(struct delivery_task *t, enum delivery_status status, uint16_t code,
                           const uint16_t *enhanced, struct slice text);
/* All that are pending, with the scope. */
void delivery_task_set_because(struct delivery_task *t, enum delivery_status status,
                               const struct delivery_reason *why);

/* The patience that its route has. */
const struct conf_retry *delivery_task_retry(const struct delivery_task *t);
/* Sends a task on its way: done here, or posted to the shard that owns its domain or site. Also how it
 * goes to its next destination after `to_next` was moved. */
void delivery_task_submit(struct delivery *d, struct delivery_task *t);
/* Home, untried: what is pending is POSTPONED by so long, and routed anew then. */
void delivery_task_postpone(struct delivery *d, struct delivery_task *t, uint64_t ms,
                            struct slice text);
/* Home, to wait in a lot there until its site calls, since that is down (`down_ms`: when it is tried again), or
 * full (0). Why, as with delivery_task_set_all(). */
void delivery_task_park(struct delivery *d, struct delivery_task *t, uint64_t down_ms,
                        uint16_t code, const uint16_t *enhanced, struct slice text);
/* Every recipient has its outcome: home, to the origin. */
void delivery_task_finish(struct delivery *d, struct delivery_task *t);
/* This destination cannot be reached now: the next one, or DEFERRED for all that are pending. */
void delivery_task_unreachable(struct delivery *d, struct delivery_task *t, uint16_t code,
                               const uint16_t *enhanced, struct slice text);

/* ---- the origin --------------------------------------------------------------------------- */

void delivery_dispatch_init(struct delivery *d);
void delivery_dispatch_finish(struct delivery *d);
void delivery_dispatch_next(struct delivery *d); /* a read slot is free */
/* Takes a finished task; tells who is to be told, and records what became of it. */
void delivery_outcome(struct delivery *d, struct delivery_task *t);
/* The rest of the above, once they have been told. `told` is a set of 1 << enum delivery_notice: of what is
 * not in it the notice could not be stored now: such failures are tried again later, and the others told. */
void delivery_outcome_record(struct delivery *d, struct delivery_task *t, unsigned told);
/* What became of a recipient, for people: "550 5.1.1 No such user". */
void delivery_outcome_text(const struct delivery_recipient *r, struct buf *out);
/* The step of the schedule that an age has come to: for who was not even asked about. When he is, it begins with
 * the first. */
uint32_t delivery_outcome_step(const struct conf_retry *retry, uint32_t age_s);

/* ---- notices ------------------------------------------------------------------------------ */

enum delivery_notice {
    DELIVERY_NOTICE_NONE,
    DELIVERY_NOTICE_FAILURE,
    DELIVERY_NOTICE_DELAY,
    DELIVERY_NOTICE_SUCCESS, /* delivered, relayed or expanded */
};
enum { DELIVERY_NOTICES_ALL = 15 };

/* What NOTIFY, or that there was none, asks for (RFC 3461 5.2) about a recipient with this outcome.
 * `delay_due`: it has waited for long, and nobody has been told. */
enum delivery_notice delivery_notice_asked(const struct delivery_recipient *r, bool delay_due);
/* Whether the sender of a message that came then, if not told yet, is to be told now that it waits. */
bool delivery_notice_delay_due(const struct delivery *d, const struct spool_message *m,
                               uint32_t recipient, const struct conf_retry *retry);
/* Who reads what is told about a message with this sender and these flags: nobody, the sender, or, as
 * nobody is told about a notice, the postmaster if he wants to know. */
enum delivery_reader {
    DELIVERY_READER_NOBODY,
    DELIVERY_READER_SENDER,
    DELIVERY_READER_POSTMASTER,
};
enum delivery_reader delivery_notice_reader(const struct conf *conf, struct slice sender,
                                            uint16_t flags);
bool delivery_notice_copies(const struct conf *conf, const char *which); /* conf.notices.copies */
/* Sets `notice` of each recipient. False: there is nothing to tell. */
bool delivery_notice_mark(struct delivery *d, struct delivery_task *t);

/* Takes a task some of whose recipients are marked. They are told of together with those of other tasks of
 * the message that are still out, unless these take their time; then comes delivery_outcome_record(). */
void delivery_notice(struct delivery *d, struct delivery_task *t);
/* A task of this message, or its dispatch, has ended: those who waited for it may go on. */
void delivery_notice_check(struct delivery *d, uint64_t id);
void delivery_notice_stop(struct delivery *d); /* nobody waits for others any more */
bool delivery_notice_idle(const struct delivery *d);
void delivery_notice_init(struct delivery *d);
void delivery_notice_finish(struct delivery *d);

/* A task with a probe has come home. */
void delivery_verify_home(struct delivery *d, struct delivery_task *t);
void delivery_verify_stop(struct delivery *d); /* those who wait are told so at once */

/* t->to[t->to_next] is a maildir: one file a recipient, then delivery_task_finish(). */
void delivery_maildir(struct delivery *d, struct delivery_task *t);

/* After a simulated crash: free what is under way and waiting, tasks included, without calls into io or
 * the spool. */
void delivery_dispatch_discard(struct delivery *d);
void delivery_maildir_discard(struct delivery *d);
void delivery_notice_discard(struct delivery *d);
void delivery_mx_discard(struct delivery *d);
void delivery_verify_discard(struct delivery *d);
void delivery_sites_discard(struct delivery *d);

/* ---- delivery_self.c ---------------------------------------------------------------------- */

/* Whether who connects there talks to a listener of ours. */
bool delivery_is_self(const struct delivery *d, const struct ip_addr *ip, uint16_t port);

/* ---- delivery_explain.c ------------------------------------------------------------------- */

void delivery_explain_stop(struct delivery *d); /* those under way end with what they know */

/* ---- the owner of domains and sites ------------------------------------------------------- */

/* Asks for the MX of t->domain, sets t->site and submits it again, or ends it. */
void delivery_mx(struct delivery *d, struct delivery_task *t);
void delivery_mx_stop(struct delivery *d); /* all that wait for an answer go back postponed */
void delivery_mx_init(struct delivery *d);
void delivery_mx_finish(struct delivery *d);

/* A site is named by its key, from which its hosts can be read:
 *   "smtp <route> <demand> <host> <port>"                      addresses of one host
 *   "lmtp <route> <demand> <host> <port>"                      the same, in LMTP
 *   "unix <route> <demand> <path>"                             LMTP at a socket in the file system
 *   "mx <route> <demand> <preference>:<host> <preference>:..." sorted by preference, then host
 * <route> is the index of the conf_route whose limits hold, and which configuration's it is
 * (conf.generation), <demand> what is asked of TLS besides (delivery_tls_priv.h). */
void delivery_site_submit(struct delivery *d, struct delivery_task *t);
void delivery_calls_init(struct delivery *d);
void delivery_calls_stop(struct delivery *d);
void delivery_sites_init(struct delivery *d);
void delivery_sites_finish(struct delivery *d); /* there is none any more */
void delivery_sites_stop(struct delivery *d);
/* Sites of former generations: what waits goes home, connections end with their transactions. */
void delivery_sites_retire(struct delivery *d);
void delivery_sites_abort(struct delivery *d); /* the stop deadline has passed */

#endif
