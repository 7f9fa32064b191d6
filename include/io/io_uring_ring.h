/*
 * io_uring_ring: struct io on Linux's io_uring (6.1 or newer).
 *
 * The ring is created disabled on the main thread, before privileges drop (memory is accounted then),
 * and enabled by the thread that will own it. See docs/io.md for the flags and why.
 */
#ifndef IO_URING_RING_H
#define IO_URING_RING_H

#include "io.h"

struct io_uring_options {
    unsigned entries;         /* submission queue; 0: 1024 */
    unsigned connections_max; /* the completion queue is sized from it */
    size_t registered_len;    /* bytes of registered memory; 0: none */
    unsigned recv_buffers;    /* power of two; 0: 1024 */
    unsigned recv_buffer_len; /* bytes; 0: 8192 */
    int cpu;                  /* io-wq threads are bound to it; -1: not bound */
};

/* NULL on failure: *out_error then holds a clear text in one line for the operator (cause and remedy:
 * EPERM, ENOSYS, ENOMEM and EINVAL are told apart), and *out_exit a sysexits code. On success
 * *out_error may hold a warning to log: the memory could not be registered, so it is slower. */
struct io *io_uring_create(const struct io_uring_options *options, struct buf *out_error,
                           int *out_exit);
/* On the thread that will own it. 0 or a negative errno. */
int io_uring_start(struct io *io);

/* What the kernel offers, as text for `mailring version`: "6.18 (multishot accept, …)". */
void io_uring_describe(struct buf *out);
/* The same error texts for a given errno: shared with the probe, tested by table. */
void io_uring_explain(int error, struct buf *out_error, int *out_exit);

#endif
