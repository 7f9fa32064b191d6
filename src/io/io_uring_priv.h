/*
 * io_uring_priv: the state of one ring and the seams between the files that drive it:
 *   io_uring_ring.c     creation, start, destruction, the vtable
 *   io_uring_loop.c     submission, waiting, completions, cancel, wake
 *   io_uring_socket.c   socket ops and the lent buffers
 *   io_uring_file.c     file ops
 *   io_uring_explain.c  error texts for the operator
 */
#ifndef IO_URING_PRIV_H
#define IO_URING_PRIV_H

#include <liburing.h>
#include <pthread.h>

#include "io_priv.h"
#include "io_uring_ring.h"

/* What a completion's user_data says. An op's own address is its name: an op lives until its last
 * completion has been handled, so no completion can find its memory used for something else, and two
 * ops in flight never share an address. What is not an op is told apart by values that no op can have. */
enum uring_tag {
    URING_TAG_IGNORE = 1, /* a cancel's own result: the op's completion tells all */
    URING_TAG_WAKE = 2,   /* another ring's doorbell rang */
    URING_TAG_EVENT = 3,  /* the event fd was written by a thread */
    URING_TAG_LIMIT = 4,
    URING_TAG_DOORBELL = 1, /* set in the address of the struct uring that we rang at */
};

enum { URING_LEND_GROUP = 0 };

/* Newer than liburing 2.3's headers: kernel 6.2. */
#define URING_SEND_ZC_REPORT_USAGE  (1U << 3)
#define URING_NOTIF_USAGE_ZC_COPIED (1U << 31)

/* Flags of ours in io_op.flags. */
enum {
    URING_OP_READABLE = IO_OP_IMPL,    /* hint: the last recv left bytes in the socket */
    URING_OP_POLLED = IO_OP_IMPL << 1, /* this recv waits for bytes before it takes a buffer */
};

struct uring {
    struct io io; /* first: a struct io * is a struct uring * */
    struct io_uring ring;
    uint8_t int_flags_plain; /* ring.int_flags before the ring's fd was registered */
    bool started;
    bool has_zc_report;
    bool registered_fixed; /* io.registered is known to the kernel */
    bool event_armed;
    pthread_t owner; /* once started */
    int cpu;
    int event_fd;
    uint64_t event_count; /* where the armed read of event_fd puts its 8 bytes */
    size_t in_flight;     /* ops that the kernel has or that lie in the submission queue */
    size_t mapped_len;    /* of io.registered */

    struct io_op_list ready;   /* have a result (in op->res) without the kernel */
    struct io_op_list waiting; /* found no room in the submission queue */
    struct io_op_list cancels; /* in flight, to be cancelled, no room either */
    struct io_op_list starved; /* recvs with bytes to take and no buffer to take them into */
    struct io_op_list late;    /* shutdowns: once what was submitted before has gone */

    struct io_uring_buf_ring *lend_ring;
    uint8_t *lend_memory;
    unsigned lend_count; /* a power of two */
    unsigned lend_len;
};

static inline struct uring *uring_of(struct io *io)
{
    return (struct uring *)(void *)io;
}

/* --- io_uring_loop.c --- */
void uring_submit(struct io *io, struct io_op *op);
void uring_resubmit(struct uring *u, struct io_op *op); /* from a completion: once more, the rest */
void uring_complete_later(struct uring *u, struct io_op *op, int32_t res);
void uring_cancel(struct io *io, struct io_op *op);
void uring_flush(struct io *io);
int uring_wait(struct io *io, uint64_t deadline_ms);
void uring_wake(struct io *from, struct io *to);
void uring_wake_from_thread(struct io *to);
/* Our own part of the address space as the kernel's registered buffer; -1 if it is not. */
int uring_fixed_index(const struct uring *u, const void *data, size_t len);

/* --- io_uring_socket.c --- */
void uring_prep_socket(struct uring *u, struct io_op *op, struct io_uring_sqe *sqe);
void uring_accept_completed(struct uring *u, struct io_op *op, int32_t res, uint32_t flags);
void uring_recv_completed(struct uring *u, struct io_op *op, int32_t res, uint32_t flags);
void uring_send_completed(struct uring *u, struct io_op *op, int32_t res, uint32_t flags);
void uring_poll_completed(struct uring *u, struct io_op *op, int32_t res);
void uring_lend(struct uring *u, uint16_t id); /* puts a buffer at the kernel's disposal */
void uring_lent_return(struct io *io, uint16_t lent_id);
void uring_feed_starved(struct uring *u);
void uring_run_late(struct uring *u);

/* --- io_uring_file.c --- */
void uring_prep_file(struct uring *u, struct io_op *op, struct io_uring_sqe *sqe);
void uring_stat_completed(struct uring *u, struct io_op *op, int32_t res);

/* --- io_uring_explain.c --- */
struct uring_facts {
    int disabled;     /* /proc/sys/kernel/io_uring_disabled; -1: the kernel has no such switch */
    uint64_t memlock; /* RLIMIT_MEMLOCK in bytes; UINT64_MAX: none */
    uint64_t need;    /* bytes that we asked for; 0: unknown */
    const char *release;
};
void uring_explain_facts(int error, const struct uring_facts *facts, struct buf *out_error,
                         int *out_exit);
void uring_explain(int error, uint64_t need, struct buf *out_error, int *out_exit);

#endif
