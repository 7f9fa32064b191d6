/*
 * sink_worker: one thread's share of mailring-sink: its listener, its sessions, what they counted.
 */
#ifndef SINK_WORKER_H
#define SINK_WORKER_H

#include <stdatomic.h>

#include "base_list.h"
#include "base_rand.h"
#include "base_wheel.h"
#include "io.h"
#include "net_listener.h"
#include "sink_options.h"
#include "sink_verify.h"
#include "smtp_server.h"
#include "tls_context.h"

/* What the workers of a run share. */
struct sink_run {
    const struct sink_options *options;
    struct smtp_server_options smtp;
    struct tls_context *tls;   /* NULL: not spoken */
    _Atomic uint64_t accepted; /* for --messages */
    _Atomic bool stop;
    void (*enough)(struct sink_run *run); /* --messages have come; on a worker's thread */
    /* Takes lines for --record, from any thread; NULL: none are wanted. */
    void (*record)(void *context, struct slice lines);
    void *context;
    _Atomic uint64_t dumped;
};

struct sink_stats {
    uint64_t connections;
    uint64_t handshakes, resumed, handshakes_failed; /* of TLS */
    uint64_t accepted;                               /* messages, answered with 250 */
    uint64_t recipients;
    uint64_t bytes; /* of accepted messages, header and body */
    uint64_t failed[SINK_STAGE_COUNT];
    uint64_t dropped[SINK_STAGE_COUNT];
    uint64_t cut;         /* connections that the client left in the middle of a message */
    uint64_t dump_errors; /* files that could not be written */
};

struct sink_worker {
    struct sink_run *run;
    struct io *io;
    struct wheel wheel;
    struct net_listener listener;
    struct list sessions;
    struct pool session_pool;
    struct rand rand;
    uint64_t next_accept_ns; /* with --limit-rate */
    bool stopping;
    struct buf lines; /* for run->record */
    struct sink_stats stats;
    struct sink_verify verify;
};

/* The run's engine options, from the others. */
void sink_run_init(struct sink_run *run, const struct sink_options *options);
/* Takes over `fd`, which listens. */
void sink_worker_init(struct sink_worker *w, struct sink_run *run, unsigned number, struct io *io);
void sink_worker_start(struct sink_worker *w, int fd);
/* One pass; false: it was stopped and all is closed. */
bool sink_worker_pass(struct sink_worker *w);
void sink_worker_finish(struct sink_worker *w);
void sink_stats_merge(struct sink_stats *to, const struct sink_stats *from);

#endif
