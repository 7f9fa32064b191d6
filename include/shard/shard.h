/*
 * shard: one core: a spool, a queue, a server, delivery and a resolver on one struct io, and mailboxes
 * to the other shards. Shards share the configuration, which nobody writes, and nothing else.
 *
 * In production each shard has a thread (shard_run). The simulator calls shard_pass() itself.
 *
 * Mailboxes: one queue without locks for each pair of shards. What a pass posts is published at its
 * end, with one doorbell for a shard that sleeps: never a wake-up a message.
 */
#ifndef SHARD_H
#define SHARD_H

#include <stdatomic.h>

#include "auth.h"
#include "conf.h"
#include "delivery.h"
#include "dns.h"
#include "queue.h"
#include "report.h"
#include "server.h"
#include "spool.h"
#include "sts.h"
#include "verify.h"
#include "work.h"

struct shard;

/* What a reload exchanges, as a whole: the configuration and what was made of the files that it names. The
 * parts have counted references, of which each shard takes its own. */
struct shard_settings {
    const struct conf *conf;
    struct tls_context *const *tls; /* one a listener, see server_settings; NULL: no TLS */
    struct tls_context *client;     /* for deliveries */
    struct auth_setup *auth;        /* NULL: nobody can log in */
};

/* All shards of a process. */
struct shard_group {
    struct shard_settings settings; /* of the start */
    struct server_shared *shared;
    struct auth_shared *auth_shared; /* with settings.auth */
    unsigned count;
    struct work_pool
        *compute; /* helpers for what is slow to compute: password hashes, large keys */
    struct work_pool *patient; /* helpers for what waits for others: HTTP, sockets of libraries */
    struct work_pool *fetch;   /* the same for servers of other domains, who may make them wait */
    const struct ip_addr *own; /* addresses of this machine (delivery.h); they stay */
    size_t own_count;
    uint16_t https_port; /* of other domains' servers; 0: 443. For tests */
    uint32_t process_id; /* for those who find the spool in use; 0: not said */
    struct shard **shards;
    _Atomic unsigned quiet;            /* shards that have stopped making work */
    _Atomic bool stop;                 /* asked for; shards look at it in each pass */
    const struct shard_settings *next; /* of the reload under way */
    _Atomic unsigned reloads; /* how many there have been; shards look at it in each pass */
    _Atomic unsigned taken;   /* shards that have taken `next` */
    /* Called by each shard at the end of a pass (may be NULL): hands on what it logged. */
    void (*pass_over)(void);
    /* On any thread: the operator wants a reload (may be NULL: there is none). */
    void (*ask_reload)(void);
};

struct shard_options {
    struct shard_group *group;
    unsigned number;
    struct io *io;
    uint64_t seed; /* 0: from io's entropy */
    /* Sizes of the spool's memory and habits; NULL: the defaults. Tests make them silly, and their io fits. */
    const struct spool_options *staging;
    /* Makes the resolver once the shard's wheel exists; the shard destroys it. */
    struct dns *(*dns_create)(void *context, struct io *io, struct wheel *wheel,
                              struct buf *out_error);
    void (*dns_stop)(struct dns *d); /* NULL: nothing is under way when no query is open */
    bool (*dns_idle)(const struct dns *d);
    /* What else lives on this shard (the control socket): told when the shard's own work is over, and
     * waited for; it may call other shards until then. NULL: nothing. */
    void (*guest_stop)(void *context);
    bool (*guest_idle)(void *context);
    sts_fetcher *sts_fetch; /* NULL: by HTTPS */
    void *context;
};

/* Bytes of registered memory that a shard's io must be created with. */
size_t shard_registered_len(const struct conf *conf);

/* On any thread. Puts itself into group->shards[number]. */
struct shard *shard_create(const struct shard_options *options);
/* On the shard's thread: recovers its spool. False with a line in *out_error. */
bool shard_open(struct shard *s, struct spool_recovery *out_recovery, struct buf *out_error);
/* When all shards are open: what was recovered is due from now on. */
void shard_start(struct shard *s);
/* Accepts on a listening socket of conf->listeners[listener]. */
void shard_listen(struct shard *s, int fd, size_t listener);
/* Passes until the group has stopped and all is on disk or delivered. */
void shard_run(struct shard *s);
/* Instead of shard_run(), when this shard or another could not be opened: ends what has begun. */
void shard_rest(struct shard *s);
/* On the shard's thread, when all shards have left shard_run(). With crashed (simulator): no call into io. */
void shard_destroy(struct shard *s, bool crashed);

/* One pass: what is due, what came in, what is to go out. Returns until when io_wait() may sleep. */
uint64_t shard_pass(struct shard *s);
/* Sleeps in io_wait() until then, in agreement with the mailboxes. */
void shard_wait(struct shard *s, uint64_t deadline_ms);
/* The two halves of that agreement, for the simulator, where io_wait() does not sleep: from the first
 * to the second call the others ring. Returns 0 if something has come already. */
uint64_t shard_asleep(struct shard *s, uint64_t deadline_ms);
void shard_awake(struct shard *s);
/* Everything that a stop waits for is done. */
bool shard_stopped(struct shard *s);

/* Asks all shards to end. From any thread or signal handler's thread. None may be destroyed before it
 * has returned: it wakes them one by one. */
void shard_group_stop(struct shard_group *group);

/* Gives all shards other settings: each takes them between two passes, and what began before goes on with
 * the old ones. From the thread that stops the group; the settings stay until shard_group_reloaded() says
 * that all have taken theirs, and no other reload begins before. */
void shard_group_reload(struct shard_group *group, const struct shard_settings *settings);
bool shard_group_reloaded(const struct shard_group *group);

unsigned shard_number(const struct shard *s);
struct io *shard_io(struct shard *s);
struct wheel *shard_wheel(struct shard *s);
struct spool *shard_spool(struct shard *s);
struct queue *shard_queue(struct shard *s);
struct delivery *shard_delivery(struct shard *s);
struct auth *shard_auth(struct shard *s); /* NULL: nobody can log in */
struct report *shard_report(struct shard *s);
struct work_door *shard_compute(struct shard *s);
struct work_door *shard_patient(struct shard *s);
struct shard_group *shard_group_of(struct shard *s);

/* ---- calls between shards (administration) ------------------------------------------------- */

/* Embedded in its owner, which it belongs to again when `done` runs. */
struct shard_call {
    unsigned from; /* set by shard_call() */
    /* On the other shard's thread. It answers, now or later, with shard_answer(). */
    void (*run)(struct shard *on, struct shard_call *call);
    /* Back on the caller's. */
    void (*done)(struct shard *on, struct shard_call *call);
};

void shard_call(struct shard *from, unsigned to, struct shard_call *call);
void shard_answer(struct shard *on, struct shard_call *call);

struct shard_counters {
    struct server_counters server;
    struct delivery_counters delivery;
    struct spool_counters spool;
    struct io_counters io;
    struct dns_counters dns;
    struct verify_counters verify;
    struct sts_counters sts;
    struct report_counters report;
    struct auth_counters auth;
    uint64_t work_busy; /* jobs of ours that helpers have */
    uint64_t queue_messages, queue_out;
    uint64_t passes, posted, doorbells;
};
void shard_counters(struct shard *s, struct shard_counters *out);

#endif
