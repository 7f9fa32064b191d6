/*
 * io_sim_op: ops from submit to done: what is asserted of their owners, their events, cancelling.
 */
#include <string.h>

#include "base_crc32c.h"
#include "io_sim_priv.h"

size_t sim_op_iov(const struct io_op *op, const struct iovec **out_iov, struct iovec *single)
{
    if (op->flags & IO_OP_VECTOR) {
        *out_iov = op->msg.msg_iov;
        return op->msg.msg_iovlen;
    }
    *single = (struct iovec){op->data, op->len};
    *out_iov = single;
    return 1;
}

/* What must stand still: the bytes of sends and writes, the paths of file ops, a connect's address. */
static uint32_t op_sum(const struct io_op *op, size_t *out_len)
{
    struct iovec single;
    const struct iovec *iov;
    uint32_t sum = 0;

    *out_len = 0;
    if (op->kind == IO_SEND || op->kind == IO_WRITE) {
        size_t count = sim_op_iov(op, &iov, &single);

        for (size_t i = 0; i < count; i++) {
            sum = crc32c(sum, iov[i].iov_base, iov[i].iov_len);
            *out_len += iov[i].iov_len;
        }
    } else if (op->kind == IO_CONNECT) {
        sum = crc32c(sum, op->data, sizeof(struct io_addr));
    } else if (op->kind == IO_READ) {
        *out_len = op->len;
    } else if (op->kind == IO_OPEN || op->kind == IO_UNLINK || op->kind == IO_MKDIR
               || op->kind == IO_RENAME || op->kind == IO_LINK) {
        sum = crc32c(sum, op->data, strlen(op->data));
    }
    if (op->kind == IO_RENAME || op->kind == IO_LINK || op->kind == IO_STAT)
        sum = crc32c(sum, op->path2, strlen(op->path2));
    return sum;
}

void sim_op_check(const struct sim_op *sop)
{
    size_t len;

    if (sop->op->kind != sop->kind)
        sim_broken(sop->io, "an op was overwritten in flight", sop->op);
    if (op_sum(sop->op, &len) != sop->sum || len != sop->len)
        sim_broken(sop->io, "bytes were changed in flight", sop->op);
}

static bool names_fd(const struct io_op *op)
{
    switch ((enum io_kind)op->kind) {
    case IO_NONE:
    case IO_KIND_COUNT: UNREACHABLE();
    case IO_OPEN:
    case IO_RENAME:
    case IO_LINK:
    case IO_UNLINK:
    case IO_MKDIR:
    case IO_STAT: return false;
    case IO_ACCEPT:
    case IO_CONNECT:
    case IO_RECV:
    case IO_SEND:
    case IO_SHUTDOWN:
    case IO_POLL:
    case IO_CLOSE:
    case IO_READ:
    case IO_WRITE:
    case IO_FSYNC: return true;
    }
    UNREACHABLE();
}

static void take_handle(struct sim_op *sop)
{
    struct io_op *op = sop->op;
    struct sim_handle *h = sim_fd_get(sop->io->machine, op->fd);

    if (!h)
        sim_broken(sop->io, "an fd that is not open", op);
    if (h->closing)
        sim_broken(sop->io, "an fd that is being closed", op);
    if (op->kind == IO_CLOSE) {
        if (h->inflight > 0)
            sim_broken(sop->io, "closed with an op in flight", op);
        h->closing = true;
    }
    h->inflight++;
    sop->handle = h;
}

static void close_done(struct sim *sim, struct sim_event *event)
{
    struct sim_op *sop = container_of(event, struct sim_op, event);

    (void)sim;
    sop->handle->inflight--;
    sop->handle = NULL;
    sim_fd_close(sop->io->machine, sop->op->fd);
    sim_op_finish(sop, 0);
}

static void dispatch(struct sim_op *sop)
{
    switch ((enum io_kind)sop->kind) {
    case IO_NONE:
    case IO_KIND_COUNT: UNREACHABLE();
    case IO_ACCEPT:
    case IO_CONNECT:
    case IO_RECV:
    case IO_SEND:
    case IO_SHUTDOWN:
    case IO_POLL:
        if (sop->handle->kind != SIM_HANDLE_SOCK)
            sim_broken(sop->io, "a socket op on a file", sop->op);
        sim_sock_submit(sop);
        return;
    case IO_CLOSE: sim_op_later(sop, close_done); return;
    case IO_READ:
    case IO_WRITE:
    case IO_FSYNC:
        if (sop->handle->kind != SIM_HANDLE_FILE)
            sim_broken(sop->io, "a file op on a socket", sop->op);
        sim_file_submit(sop);
        return;
    case IO_OPEN:
    case IO_RENAME:
    case IO_LINK:
    case IO_UNLINK:
    case IO_MKDIR:
    case IO_STAT: sim_file_submit(sop); return;
    }
    UNREACHABLE();
}

void sim_op_submit(struct io *base, struct io_op *op)
{
    struct sim_io *io = container_of(base, struct sim_io, io);
    struct sim_op *sop = mem_zalloc(sizeof(*sop));

    sop->op = op;
    sop->io = io;
    sop->kind = op->kind;
    sop->sum = op_sum(op, &sop->len);
    list_init(&sop->wait_node);
    list_push_back(&io->inflight, &sop->node);
    op->impl = sop;
    if (names_fd(op))
        take_handle(sop);
    dispatch(sop);
}

void sim_op_later(struct sim_op *sop, void (*fire)(struct sim *sim, struct sim_event *event))
{
    struct sim *sim = sop->io->sim;

    if (sop->finished || sop->event.slot != 0)
        return;
    sop->event.fire = fire;
    sim_schedule(sim, &sop->event, sim->now_ns + sim_delay_ns(sim));
}

static void push_done(struct sim_op *sop, int32_t res)
{
    sop->res = res;
    sop->finished = true;
    list_push_back(&sop->io->done, &sop->node);
    sop->io->done_count++;
    sim_make_ready(sop->io);
}

void sim_op_finish(struct sim_op *sop, int32_t res)
{
    struct sim *sim = sop->io->sim;

    ASSERT(!sop->finished);
    if (sop->kind != IO_WRITE) /* whose bytes were looked at before they were used */
        sim_op_check(sop);
    sim_unschedule(sim, &sop->event);
    sim_unschedule(sim, &sop->cancel);
    list_remove(&sop->wait_node);
    list_remove(&sop->node);
    push_done(sop, res);
    if (sop->kind == IO_RECV)
        sim_lent_kick(sop->io);
}

void sim_op_echo(struct sim_op *sop, int32_t res)
{
    struct sim_op *echo = mem_zalloc(sizeof(*echo));

    echo->op = sop->op;
    echo->io = sop->io;
    echo->kind = sop->kind;
    echo->echo = true;
    list_init(&echo->wait_node);
    push_done(echo, res);
}

void sim_op_free(struct sim_op *sop)
{
    struct sim *sim = sop->io->sim;

    if (sop->handle) {
        sop->handle->inflight--;
        if (sop->handle->kind == SIM_HANDLE_SOCK)
            sim_sock_op_gone(sop);
    }
    sim_unschedule(sim, &sop->event);
    sim_unschedule(sim, &sop->cancel);
    list_remove(&sop->wait_node);
    list_remove(&sop->node);
    if (sop->finished)
        sop->io->done_count--;
    mem_free(sop);
}

static void cancel_arrived(struct sim *sim, struct sim_event *event)
{
    struct sim_op *sop = container_of(event, struct sim_op, cancel);

    (void)sim;
    sop->cancelled(sop);
}

/* A request, that may come too late: it takes as long as anything else. */
void sim_op_cancel(struct io *base, struct io_op *op)
{
    struct sim_op *sop = op->impl;
    struct sim *sim = container_of(base, struct sim_io, io)->sim;

    ASSERT(sop->op == op && sop->io == container_of(base, struct sim_io, io));
    if (sop->finished || !sop->cancelled || sop->cancel.slot != 0)
        return;
    sop->cancel.fire = cancel_arrived;
    sim_schedule(sim, &sop->cancel, sim->now_ns + sim_delay_ns(sim));
}
