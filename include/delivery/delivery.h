/*
 * delivery: from a message that is due to an outcome for each of its recipients.
 *
 * The shard that holds a message (its origin) reads the envelope, routes each recipient and makes
 * tasks: the recipients of one message that go the same way. Mailboxes, discard and reject are done on
 * the origin itself; a task for a remote site is posted to the shard that owns the site (hash of the
 * host, or of the set of MX hosts), since that shard alone holds the site's connections, limits and
 * back-off. A finished task goes back to its origin, which records outcomes, decides about retries and
 * writes bounces. While a task is away its message is pinned.
 */
#ifndef DELIVERY_H
#define DELIVERY_H

#include "base_wheel.h"
#include "conf.h"
#include "dns.h"
#include "io.h"
#include "queue.h"
#include "report.h"
#include "spool.h"
#include "sts.h"
#include "tls_context.h"

struct delivery;
struct delivery_terms;
struct delivery_call;

enum delivery_status {
    DELIVERY_PENDING,
    DELIVERY_DONE,      /* the next hop, or the mailbox, has taken it */
    DELIVERY_DEFERRED,  /* a temporary failure: an attempt that counts */
    DELIVERY_FAILED,    /* permanent */
    DELIVERY_POSTPONED, /* not tried (the site has enough waiting): in `postpone_ms` again */
};

/* How far a failure goes: docs/replies.md. What is not the recipient's or the message's own is no attempt that
 * counts against them. */
enum delivery_scope {
    DELIVERY_SCOPE_RECIPIENT,
    DELIVERY_SCOPE_MESSAGE,
    DELIVERY_SCOPE_CONNECTION, /* the session ended, or could not be what it was to be */
    DELIVERY_SCOPE_SITE,       /* there was none */
};

enum { DELIVERY_TEXT_MAX = 512 };

struct delivery_recipient {
    uint32_t index; /* in the message */
    struct slice address;
    uint8_t status;       /* enum delivery_status */
    uint8_t scope;        /* enum delivery_scope: of DEFERRED and FAILED */
    bool turned_away;     /* DEFERRED since one transaction has room for so many only */
    uint16_t code;        /* of the reply that decided; 0: none */
    uint16_t enhanced[3]; /* class 0: none */
    struct slice text;    /* the remote's words, or ours; owned by the task */
    /* What was said with it (RFC 3461 4.1, 4.2), for the next hop and for notices. */
    struct slice orcpt; /* as it came; empty: none */
    uint8_t notify;     /* a set of enum spool_notify; 0: nothing was said */
    /* Of DONE: who owes the sender a notice if NOTIFY=SUCCESS asks for one. Neither: the next hop. */
    bool final;   /* we: it is in its mailbox (maildir, LMTP), or dropped as it was to be */
    bool relayed; /* we: the next hop does not offer DSN (RFC 3461 5.2.2) */
    /* The origin's, when it is home. */
    bool expired;   /* FAILED, since its time is over */
    bool expanded;  /* DONE, as an alias that stands for others */
    uint8_t notice; /* enum delivery_notice */
};

/* How a task went, for logs; an empty version: in the clear. */
enum delivery_verified {
    DELIVERY_VERIFIED_NO,
    DELIVERY_VERIFIED_CA,
    DELIVERY_VERIFIED_STS,
    DELIVERY_VERIFIED_DANE,
};
struct delivery_tls_facts {
    char version[12]; /* "TLSv1.3" */
    char cipher[48];
    uint8_t verified; /* enum delivery_verified */
};

/* One allocation. Owned by whoever has it: origin, mailbox, or the site's shard. */
struct delivery_task {
    struct list node; /* its owner's: a lane, a mailbox */
    unsigned origin;  /* shard */
    bool returning;   /* finished: on its way back to the origin */
    bool asked;       /* by the operator: a site that is resting after a failure is to try */
    bool untried;     /* the site is resting: what it failed with last is the reason, no attempt */
    bool parked;      /* POSTPONED not for a time, but until the site calls */
    bool down;        /* since the site is down; else it has as much as it can take */
    bool called;      /* the site has called: there is room */
    bool fresh;       /* not tried before, and young */
    bool concluded;   /* each recipient has its outcome before anything is tried */
    bool returned;    /* by the operator */
    int8_t priority;  /* -9 to 9; higher goes first */
    bool resolved;    /* `site` is the set of MX hosts; else the domain is to be asked first */
    bool put_back;    /* once already, since its pooled connection had gone: the next time counts */
    /* A call-out (delivery_verify.h), of one recipient; the origin's. Then there is no message: what is said
     * of it here is not set, but for its sender. */
    struct delivery_probe *probe;
    bool answered;             /* of a call-out: the outcome is the reply to RCPT */
    bool quiet;                /* nothing is tried: it is for the sender to be told */
    struct queue_entry *entry; /* opaque but to the origin */
    uint64_t id;               /* of the message */
    struct spool_ref ref;
    uint64_t size;                /* of the body */
    uint16_t flags;               /* enum spool_message_flags */
    struct delivery_terms *terms; /* the origin's */
    const struct conf *conf; /* that `route` and `to` are parts of: stays until the task is home */
    const struct conf_route *route;
    const struct conf_destination *to; /* `to_count` of them, in order of preference */
    uint32_t to_count;
    uint32_t to_next;    /* the one being tried */
    struct slice domain; /* of the recipients, lower case; for mx */
    struct slice sender;
    struct slice envid;     /* ENVID as it came (RFC 3461 4.4); empty: none */
    uint8_t ret;            /* enum smtp_ret (RFC 3461 4.3) */
    struct slice site;      /* key of the site that it was posted to; the site's shard made it */
    struct sts_policy *sts; /* of `domain`, ours; NULL: none is to be applied */
    uint8_t sts_problem;    /* enum sts_problem: why that is so, or that it is an old one */
    struct delivery_tls_facts tls;
    uint64_t postpone_ms;
    char remote[256]; /* host[ip]:port that took or refused it, for log and bounce */
    uint32_t recipient_count;
    struct delivery_recipient recipients[];
};

struct delivery_counters {
    uint64_t delivered, deferred, bounced, postponed; /* recipients */
    uint64_t bounces_sent; /* notices made, whoever they are for; of these: */
    uint64_t delays_sent, receipts_sent, copies_sent; /* DELAY, SUCCESS; to the postmaster */
    uint64_t bounces_failed;                          /* could not be stored: later again */
    uint64_t attempts, connections, connections_failed, connections_open, connections_idle;
    uint64_t connections_reused;
    uint64_t logins, logins_refused; /* at smarthosts */
    uint64_t bytes_hot, bytes_cold;  /* sent from memory; read from the log first */
    uint64_t sites, tasks_waiting;
    uint64_t tls_sessions, tls_resumed; /* handshakes; of these, without a certificate */
    uint64_t tls_dane, tls_sts, tls_ca; /* of tls_sessions: verified by */
    uint64_t tls_failed;                /* STARTTLS refused, handshakes that failed */
    uint64_t tls_fallbacks;             /* sessions in the clear where TLS had failed */
    uint64_t callouts;
    uint64_t tls_refused; /* hosts, domains, sessions: without TLS as it is required */
};

struct delivery_options {
    const struct conf *conf; /* a reference is taken */
    struct io *io;
    struct wheel *wheel;
    struct queue *queue;
    struct spool *spool;
    struct dns *dns;
    struct tls_context *client_tls;      /* a reference is taken; NULL: no TLS towards next hops */
    struct sts *sts;                     /* NULL: no MTA-STS */
    struct work_door *compute, *patient; /* see shard_group */
    unsigned shard, shards;
    /* Those of this machine, which stay: a listener at 0.0.0.0 or [::] is there. Loopback ones need not be named. */
    const struct ip_addr *own;
    size_t own_count;
    uint64_t seed;
    /* Hands a task to another shard; it arrives there in delivery_receive(). */
    void (*post)(void *context, unsigned shard, struct delivery_task *task);
    /* The same for a call, which arrives in delivery_receive_call(); NULL with one shard. */
    void (*post_call)(void *context, unsigned shard, struct delivery_call *call);
    /* What a session has shown about a domain's policy (RFC 8460), for report_session(); NULL: nobody keeps
     * account. */
    void (*account)(void *context, const struct report_session *session);
    /* A bounce was made stable and is in the queue: an accepted message for the counters. */
    void *context;
};

struct delivery *delivery_create(const struct delivery_options *options);
/* From the queue: queue_init's dispatch, with the delivery as context. */
void delivery_dispatch(void *delivery, struct queue_entry *entry);
/* From another shard: a task for a site of ours, or one of ours that comes back. */
void delivery_receive(struct delivery *d, struct delivery_task *task);
/* From another shard: entries of ours that wait for a site may come, or others wait for one of ours. */
void delivery_receive_call(struct delivery *d, struct delivery_call *call);
/* From the queue: queue_init's waiting, with the delivery as context. */
void delivery_waiting(void *delivery, struct slice key);
/* From now on mail leaves by this configuration, with these certificates of ours; transactions under way go
 * on by that with which they began. If it is another generation, what waits for a site is routed anew. All
 * shards are given the same ones in the same order. References are taken; `client_tls` may be NULL as in the
 * options. */
void delivery_reload(struct delivery *d, const struct conf *conf, struct tls_context *client_tls);
/* No new attempts: waiting tasks go back postponed, transactions under way end by themselves or at
 * `deadline_ms` at the latest. */
void delivery_stop(struct delivery *d, uint64_t deadline_ms);
bool delivery_idle(const struct delivery *d);
/* Idle; or, with crashed (simulator), in any state and without a call into io. NULL is fine. */
void delivery_destroy(struct delivery *d, bool crashed);
/* One that was on its way between shards when the power went. */
void delivery_task_free(struct delivery_task *t);
void delivery_call_free(struct delivery_call *call);
void delivery_counters(const struct delivery *d, struct delivery_counters *out);

#endif
