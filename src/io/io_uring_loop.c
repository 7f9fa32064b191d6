/*
 * The loop: ops become entries of the submission queue, completions find back to their ops.
 *
 * DEFER_TASKRUN means that nothing completes unless we enter the kernel asking for events, so every
 * wait does ask, also one that does not sleep.
 */
#include <errno.h>
#include <unistd.h>

#include "base_assert.h"
#include "io_host.h"
#include "io_uring_priv.h"

enum {
    /* Entries that leave at once during a pass: peers get to work while we handle the rest. Waiting for
     * the pass to end makes client and server take turns sleeping. */
    SUBMIT_BATCH = 32,
    /* Completions a wait: the owner's timers and mailboxes get their turn under any load. */
    COMPLETIONS_MAX = 256,
    /* When the kernel has no memory for our requests: how long until we ask again. */
    RETRY_MS = 10,
};

/* "As long as it takes" ends after an hour with nothing: a wait always has its timeout, so there is
 * one path only. */
static const uint64_t sleep_max_ns = UINT64_C(3600) * 1000000000;

/* --- submission ------------------------------------------------------------------------------- */

/* Hands over what is in the queue; runs no completion. What the kernel does not take now (it is out
 * of memory, or the completion queue overflows) stays in the queue for the next time. */
static void push_queue(struct uring *u)
{
    int res;

    if (io_uring_sq_ready(&u->ring) == 0)
        return;
    u->io.counters.waits++;
    res = io_uring_submit(&u->ring);
    ASSERT(res >= 0 || res == -EAGAIN || res == -EBUSY || res == -EINTR || res == -ENOMEM);
}

static struct io_uring_sqe *get_entry(struct uring *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

    if (sqe == NULL) {
        push_queue(u);
        sqe = io_uring_get_sqe(&u->ring);
    }
    return sqe;
}

static bool submit_now(struct uring *u, struct io_op *op)
{
    struct io_uring_sqe *sqe = get_entry(u);

    if (sqe == NULL)
        return false;
    if (op->kind <= IO_POLL)
        uring_prep_socket(u, op, sqe);
    else
        uring_prep_file(u, op, sqe);
    io_uring_sqe_set_data(sqe, op);
    u->in_flight++;
    if (io_uring_sq_ready(&u->ring) >= SUBMIT_BATCH)
        push_queue(u);
    return true;
}

void uring_submit(struct io *io, struct io_op *op)
{
    struct uring *u = uring_of(io);

    if (op->kind == IO_SHUTDOWN)
        io_op_list_push(&u->late, op);
    else
        uring_resubmit(u, op);
}

void uring_resubmit(struct uring *u, struct io_op *op)
{
    if (u->waiting.count > 0 || !submit_now(u, op))
        io_op_list_push(&u->waiting, op);
}

void uring_complete_later(struct uring *u, struct io_op *op, int32_t res)
{
    op->res = res;
    io_op_list_push(&u->ready, op);
}

static void arm_event(struct uring *u)
{
    struct io_uring_sqe *sqe;

    if (u->event_armed)
        return;
    sqe = get_entry(u);
    if (sqe == NULL)
        return;
    io_uring_prep_read(sqe, u->event_fd, &u->event_count, sizeof(u->event_count), 0);
    io_uring_sqe_set_data64(sqe, URING_TAG_EVENT);
    u->event_armed = true;
}

static bool cancel_now(struct uring *u, struct io_op *op)
{
    struct io_uring_sqe *sqe = get_entry(u);

    if (sqe == NULL)
        return false;
    /* Entries are taken in order and a cancel runs at once, so it cannot hit an op that is submitted
     * at the same address later. */
    io_uring_prep_cancel(sqe, op, 0);
    io_uring_sqe_set_data64(sqe, URING_TAG_IGNORE);
    return true;
}

void uring_cancel(struct io *io, struct io_op *op)
{
    struct uring *u = uring_of(io);

    if (op->kind == IO_SHUTDOWN)
        return; /* it is about to happen and does not wait for anything */
    if (io_op_list_remove(&u->waiting, op) || io_op_list_remove(&u->starved, op))
        uring_complete_later(u, op, -ECANCELED);
    else if (!cancel_now(u, op))
        io_op_list_push(&u->cancels, op);
}

/* What could not be handed over before, in the order in which it came. */
static void submit_leftovers(struct uring *u)
{
    struct io_op *op;

    while (u->waiting.first != NULL && submit_now(u, u->waiting.first))
        (void)io_op_list_pop(&u->waiting);
    while (u->cancels.first != NULL && cancel_now(u, u->cancels.first)) {
        op = io_op_list_pop(&u->cancels);
        ASSERT(io_op_busy(op));
    }
    uring_feed_starved(u);
    arm_event(u);
    if (u->late.count > 0) {
        push_queue(u);
        uring_run_late(u);
    }
}

void uring_flush(struct io *io)
{
    struct uring *u = uring_of(io);

    submit_leftovers(u);
    push_queue(u);
}

/* --- completions ------------------------------------------------------------------------------ */

static void doorbell_completed(uint64_t data, int32_t res)
{
    struct io *to = (struct io *)(uintptr_t)(data & ~(uint64_t)URING_TAG_DOORBELL);

    /* The other ring was not started yet, or was too full to take it. */
    if (res < 0)
        uring_wake_from_thread(to);
}

static void internal_completed(struct uring *u, uint64_t data, int32_t res)
{
    if (data >= URING_TAG_LIMIT) {
        doorbell_completed(data, res);
    } else if (data == URING_TAG_EVENT) {
        u->event_armed = false; /* the next wait arms it */
    }
}

static void op_completed(struct uring *u, struct io_op *op, int32_t res, uint32_t flags)
{
    ASSERT(io_op_busy(op));
    if ((flags & IORING_CQE_F_MORE) == 0) {
        ASSERT(u->in_flight > 0);
        u->in_flight--;
        if (u->cancels.count > 0)
            (void)io_op_list_remove(&u->cancels, op); /* it may well not be there */
    }
    /* io-wq interrupts what it cancels. */
    if (res == -EINTR && (op->flags & IO_OP_CANCELLED) != 0)
        res = -ECANCELED;

    switch ((enum io_kind)op->kind) {
    case IO_ACCEPT: uring_accept_completed(u, op, res, flags); return;
    case IO_RECV: uring_recv_completed(u, op, res, flags); return;
    case IO_SEND: uring_send_completed(u, op, res, flags); return;
    case IO_POLL: uring_poll_completed(u, op, res); return;
    case IO_STAT: uring_stat_completed(u, op, res); return;
    case IO_CONNECT:
    case IO_OPEN:
    case IO_CLOSE:
    case IO_READ:
    case IO_WRITE:
    case IO_FSYNC:
    case IO_RENAME:
    case IO_LINK:
    case IO_UNLINK:
    case IO_MKDIR: io_op_complete(&u->io, op, res); return;
    case IO_NONE:
    case IO_SHUTDOWN:
    case IO_KIND_COUNT: break;
    }
    UNREACHABLE();
}

/* The oldest completion, copied and taken off the queue before anything runs: `done` may submit, and
 * submitting may add completions. */
static bool take_completion(struct uring *u, struct io_uring_cqe *out)
{
    struct io_uring_cqe *cqe;
    unsigned head;

    io_uring_for_each_cqe(&u->ring, head, cqe)
    {
        memcpy(out, cqe, sizeof(*out));
        io_uring_cq_advance(&u->ring, 1);
        return true;
    }
    return false;
}

static int run_completions(struct uring *u)
{
    struct io_uring_cqe cqe;
    size_t ready = u->ready.count; /* what `done` adds meanwhile is for the next time */
    int count = 0;

    for (; ready > 0; ready--) {
        struct io_op *op = io_op_list_pop(&u->ready);

        io_op_complete(&u->io, op, op->res);
        count++;
    }
    while (count < COMPLETIONS_MAX && take_completion(u, &cqe)) {
        if ((cqe.user_data & URING_TAG_DOORBELL) != 0 || cqe.user_data < URING_TAG_LIMIT) {
            internal_completed(u, cqe.user_data, cqe.res);
            continue;
        }
        op_completed(u, (struct io_op *)(uintptr_t)cqe.user_data, cqe.res, cqe.flags);
        count++;
    }
    return count;
}

/* --- waiting ---------------------------------------------------------------------------------- */

static bool has_leftovers(const struct uring *u)
{
    return u->waiting.count > 0 || u->cancels.count > 0 || u->late.count > 0 || !u->event_armed;
}

/* How long to sleep, in ns; 0 if there is something to do. */
static uint64_t sleep_ns(struct uring *u, uint64_t deadline_ms)
{
    uint64_t now, until;

    if (u->ready.count > 0 || io_uring_cq_ready(&u->ring) > 0 || deadline_ms == 0)
        return 0;
    now = io_host_now_ns(&u->io);
    if (deadline_ms >= (now + sleep_max_ns) / 1000000)
        deadline_ms = (now + sleep_max_ns) / 1000000;
    until = deadline_ms * 1000000;
    if (has_leftovers(u) && until > now + RETRY_MS * 1000000)
        until = now + RETRY_MS * 1000000;
    return until > now ? until - now : 0;
}

static void enter(struct uring *u, uint64_t ns)
{
    struct __kernel_timespec ts = {.tv_sec = (long long)(ns / 1000000000),
                                   .tv_nsec = (long long)(ns % 1000000000)};
    struct io_uring_cqe *cqe;
    int res;

    u->io.counters.waits++;
    if (ns == 0)
        res = io_uring_submit_and_get_events(&u->ring);
    else
        res = io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL);
    /* A timeout, a signal, a full completion queue (which we are about to empty), a kernel short of
     * memory. Anything else is our own mistake. */
    ASSERT(res >= 0 || res == -ETIME || res == -EINTR || res == -EBUSY || res == -EAGAIN
           || res == -ENOMEM);
    /* Nothing was taken and nothing waited for: pause, or the owner would spin. */
    if (ns > 0 && res < 0 && res != -ETIME && res != -EINTR && io_uring_cq_ready(&u->ring) == 0) {
        ts = (struct __kernel_timespec){.tv_nsec = RETRY_MS * 1000000};
        (void)io_uring_wait_cqes(&u->ring, &cqe, 1, &ts, NULL); /* the completions tell */
    }
}

int uring_wait(struct io *io, uint64_t deadline_ms)
{
    struct uring *u = uring_of(io);

    submit_leftovers(u);
    enter(u, sleep_ns(u, deadline_ms));
    if ((IO_URING_READ_ONCE(*u->ring.sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0)
        io->counters.overflows++;
    io->now_ms = io_host_now_ns(io) / 1000000;
    return run_completions(u);
}

/* --- waking ----------------------------------------------------------------------------------- */

void uring_wake(struct io *from, struct io *to)
{
    struct io_uring_sqe *sqe = get_entry(uring_of(from));

    if (sqe == NULL) {
        uring_wake_from_thread(to);
        return;
    }
    io_uring_prep_msg_ring(sqe, uring_of(to)->ring.ring_fd, 0, URING_TAG_WAKE, 0);
    io_uring_sqe_set_data64(sqe, (uintptr_t)to | URING_TAG_DOORBELL);
}

/* Async-signal-safe: write() only, and errno as it was. */
void uring_wake_from_thread(struct io *to)
{
    static const uint64_t one = 1;
    int saved = errno;

    /* It fails only if the counter is full, and then the reader has plenty to wake up for. */
    (void)!write(uring_of(to)->event_fd, &one, sizeof(one));
    errno = saved;
}
