/*
 * load_worker: one thread's share of the load: its sessions, on a struct io of its own. Workers take
 * messages from one common count, so that a slow one does not hold up the end.
 *
 * Closed loop: a session begins its next message when the last one is answered. With --rate (open loop)
 * messages have their times; one for which no session is free waits, and the wait counts as part of
 * how long it took.
 */
#ifndef LOAD_WORKER_H
#define LOAD_WORKER_H

#include <stdatomic.h>

#include "base_codec.h"
#include "base_list.h"
#include "base_wheel.h"
#include "io.h"
#include "load_mail.h"
#include "load_stats.h"

/* What the workers of a run share. */
struct load_run {
    const struct load_options *options;
    struct load_mail mail;
    struct io_addr server;
    struct tls_context *tls;       /* NULL: not spoken */
    _Atomic uint64_t claimed;      /* messages */
    _Atomic uint64_t accepted_now; /* for --progress */
    _Atomic bool stop;             /* begin nothing more */
    /* Takes lines for --record, from any thread; NULL: none are wanted. */
    void (*record)(void *context, struct slice lines);
    void *context;
};

struct load_session;

struct load_worker {
    struct load_run *run;
    unsigned number;
    struct io *io;
    struct wheel wheel;
    struct load_session *sessions;
    size_t session_count;
    size_t live;             /* sessions that have not ended */
    struct list free;        /* sessions that wait for a message's time */
    struct wheel_timer due;  /* of the next message, with --rate */
    struct wheel_timer over; /* end of --time, then of the grace */
    uint64_t start_ns;
    double interval_ns; /* with --rate */
    uint64_t taken;     /* messages by this worker */
    bool exhausted;     /* there will be no more */
    bool hopeless;      /* nobody answers at the server's address */
    uint64_t date_second;
    char date[DATE_TEXT_SIZE];
    struct buf lines; /* for run->record */
    struct load_stats stats;
};

void load_worker_init(struct load_worker *w, struct load_run *run, unsigned number, struct io *io);
void load_worker_finish(struct load_worker *w); /* once it is done */
void load_worker_start(struct load_worker *w);
/* One pass: waits for something to happen, and does what follows from it. False: all have ended. */
bool load_worker_pass(struct load_worker *w);

/* ---- for sessions ---- */

/* A message to send now: its number over all workers, and when its time was. */
bool load_worker_claim(struct load_worker *w, uint64_t *out_serial, uint64_t *out_begin_ns);
/* Keeps a session until a message's time has come. */
void load_worker_add_free(struct load_worker *w, struct list *node);
const char *load_worker_date(struct load_worker *w);
/* A line for --record. */
void load_worker_record(struct load_worker *w, const struct tool_mark *mark, const char *outcome);

#endif
