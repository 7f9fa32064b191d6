/*
 * Socket ops, and the buffers that receives are lent.
 *
 * A receive is one shot with buffer select everywhere: not submitting the next one is all the back
 * pressure there is to it, and with DEFER_TASKRUN it costs what a multishot receive costs.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base_assert.h"
#include "io_uring_priv.h"

enum { SEND_PART_MAX = 1 << 30 }; /* of one kernel call; the rest goes in further ones */

/* --- from op to entry ------------------------------------------------------------------------- */

static unsigned poll_mask(unsigned events)
{
    return ((events & IO_POLL_IN) != 0 ? POLLIN : 0) | ((events & IO_POLL_OUT) != 0 ? POLLOUT : 0);
}

static void prep_recv(struct uring *u, struct io_op *op, struct io_uring_sqe *sqe)
{
    io_uring_prep_recv(sqe, op->fd, NULL, u->lend_len, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = URING_LEND_GROUP;
    /* A peer seldom has spoken again by the time we ask: an attempt that finds nothing is saved. */
    if ((op->flags & URING_OP_READABLE) == 0)
        op->flags |= URING_OP_POLLED;
    if ((op->flags & URING_OP_POLLED) != 0)
        sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
}

static void prep_send(struct uring *u, struct io_op *op, struct io_uring_sqe *sqe)
{
    /* WAITALL: the kernel itself goes on after a full socket buffer. */
    int flags = MSG_WAITALL | MSG_NOSIGNAL | ((op->op_flags & IO_SEND_MORE) != 0 ? MSG_MORE : 0);
    const uint8_t *data;
    size_t len;
    int index;

    if ((op->flags & IO_OP_VECTOR) != 0) {
        io_uring_prep_sendmsg(sqe, op->fd, &op->msg, (unsigned)flags);
        return;
    }
    data = op->data;
    if (op->offset
        > 0) /* nothing may be added to NULL, which is fine where nothing is to be sent */
        data += op->offset;
    len = op->len - op->offset < SEND_PART_MAX ? op->len - op->offset : SEND_PART_MAX;
    index = (op->op_flags & IO_SEND_ZEROCOPY) != 0 ? uring_fixed_index(u, data, len) : -1;
    if (index >= 0)
        io_uring_prep_send_zc_fixed(sqe, op->fd, data, len, flags,
                                    u->has_zc_report ? URING_SEND_ZC_REPORT_USAGE : 0,
                                    (unsigned)index);
    else
        io_uring_prep_send(sqe, op->fd, data, len, flags);
}

void uring_prep_socket(struct uring *u, struct io_op *op, struct io_uring_sqe *sqe)
{
    const struct io_addr *to;

    switch ((enum io_kind)op->kind) {
    case IO_ACCEPT: io_uring_prep_multishot_accept(sqe, op->fd, NULL, NULL, SOCK_CLOEXEC); return;
    case IO_CONNECT:
        to = op->data;
        io_uring_prep_connect(sqe, op->fd, (const struct sockaddr *)&to->storage, to->len);
        return;
    case IO_RECV: prep_recv(u, op, sqe); return;
    case IO_SEND: prep_send(u, op, sqe); return;
    case IO_POLL: io_uring_prep_poll_add(sqe, op->fd, poll_mask(op->op_flags)); return;
    case IO_NONE:
    case IO_SHUTDOWN:
    case IO_OPEN:
    case IO_CLOSE:
    case IO_READ:
    case IO_WRITE:
    case IO_FSYNC:
    case IO_RENAME:
    case IO_LINK:
    case IO_UNLINK:
    case IO_MKDIR:
    case IO_STAT:
    case IO_KIND_COUNT: break;
    }
    UNREACHABLE();
}

/* --- accept ----------------------------------------------------------------------------------- */

/* Errors of the connection that would have been next, which is gone with them (accept(2)): asking
 * again cannot spin. Those of the process, such as EMFILE, would stay: they are the owner's. */
static bool accept_error_is_passing(int32_t res)
{
    return res == -ECONNABORTED || res == -EPROTO || res == -EINTR || res == -ENETDOWN
           || res == -ENETUNREACH || res == -EHOSTDOWN || res == -EHOSTUNREACH;
}

void uring_accept_completed(struct uring *u, struct io_op *op, int32_t res, uint32_t flags)
{
    bool ended = (flags & IORING_CQE_F_MORE) == 0;
    bool cancelled = (op->flags & IO_OP_CANCELLED) != 0;

    if (res < 0 && (!accept_error_is_passing(res) || cancelled)) {
        ASSERT(ended);
        io_op_complete(&u->io, op, res);
        return;
    }
    /* The kernel may end a multishot with a good result, when the completion queue is full. The owner
     * need not know; armed before `done`, so that it may cancel. */
    if (ended && !cancelled)
        uring_resubmit(u, op);
    if (res >= 0)
        io_op_complete_more(&u->io, op, res);
    if (ended && cancelled)
        uring_complete_later(u, op, -ECANCELED);
}

/* --- recv and the lent buffers ---------------------------------------------------------------- */

void uring_lend(struct uring *u, uint16_t id)
{
    io_uring_buf_ring_add(u->lend_ring, u->lend_memory + (size_t)id * u->lend_len, u->lend_len, id,
                          io_uring_buf_ring_mask(u->lend_count), 0);
    io_uring_buf_ring_advance(u->lend_ring, 1);
}

void uring_lent_return(struct io *io, uint16_t lent_id)
{
    struct uring *u = uring_of(io);

    ASSERT(lent_id < u->lend_count);
    ASSERT(io->counters.lent_out > 0);
    io->counters.lent_out--;
    uring_lend(u, lent_id);
}

/* All starved recvs have something to take, so each that is submitted again uses a buffer and soon
 * returns it, which feeds the next. (One that lacked a buffer before it knew of bytes to take, and
 * might hold up the others by waiting, was sent back to poll first and never came to this list.) */
void uring_feed_starved(struct uring *u)
{
    size_t free = u->lend_count - u->io.counters.lent_out;

    while (free > 0 && u->starved.first != NULL) {
        uring_resubmit(u, io_op_list_pop(&u->starved));
        free--;
    }
}

static void recv_starved(struct uring *u, struct io_op *op)
{
    if ((op->flags & IO_OP_CANCELLED) != 0) {
        io_op_complete(&u->io, op, -ECANCELED);
    } else if ((op->flags & URING_OP_POLLED) == 0) {
        op->flags &= (uint8_t)~URING_OP_READABLE;
        uring_resubmit(u, op);
    } else {
        u->io.counters.starved++;
        io_op_list_push(&u->starved, op);
    }
}

void uring_recv_completed(struct uring *u, struct io_op *op, int32_t res, uint32_t flags)
{
    uint16_t id = (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT);

    if (res == -ENOBUFS) {
        recv_starved(u, op);
        return;
    }
    op->flags &= (uint8_t) ~(URING_OP_READABLE | URING_OP_POLLED);
    if ((flags & IORING_CQE_F_SOCK_NONEMPTY) != 0)
        op->flags |= URING_OP_READABLE;
    if ((flags & IORING_CQE_F_BUFFER) != 0) {
        ASSERT(id < u->lend_count);
        if (res <= 0) {
            uring_lend(u, id); /* taken for nothing */
        } else {
            op->lent = slice_of(u->lend_memory + (size_t)id * u->lend_len, (size_t)res);
            op->lent_id = id;
            u->io.counters.lent_out++;
        }
    }
    ASSERT(res <= 0 || (flags & IORING_CQE_F_BUFFER) != 0);
    io_op_complete(&u->io, op, res);
}

/* --- send ------------------------------------------------------------------------------------- */

/* Takes `count` sent bytes off the front of the vector; whether any are left. */
static bool vector_advance(struct msghdr *msg, size_t count)
{
    while (msg->msg_iovlen > 0 && count >= msg->msg_iov->iov_len) {
        count -= msg->msg_iov->iov_len;
        msg->msg_iov++;
        msg->msg_iovlen--;
    }
    if (msg->msg_iovlen == 0)
        return false;
    msg->msg_iov->iov_base = (uint8_t *)msg->msg_iov->iov_base + count;
    msg->msg_iov->iov_len -= count;
    return true;
}

/* One kernel call of the send is over: the op is too, unless it went only in part. */
static void send_finished(struct uring *u, struct io_op *op, int32_t res)
{
    bool rest;

    if (res < 0) {
        io_op_complete(&u->io, op, res);
        return;
    }
    op->offset += (uint64_t)res;
    rest = (op->flags & IO_OP_VECTOR) != 0 ? vector_advance(&op->msg, (size_t)res)
                                           : op->offset < op->len;
    if (!rest)
        io_op_complete(&u->io, op, (int32_t)op->offset);
    else if ((op->flags & IO_OP_CANCELLED) != 0)
        io_op_complete(&u->io, op, -ECANCELED);
    else if (res == 0)
        io_op_complete(&u->io, op, -EIO); /* never seen; asking on and on would spin */
    else
        uring_resubmit(u, op); /* if the peer is gone this tells the error */
}

/* A zero-copy send completes twice: with its result, and when the kernel lets go of the bytes. For the
 * owner it is over with the second, which may be as late as the peer's acknowledgement. */
static void zerocopy_released(struct uring *u, struct io_op *op, uint32_t usage)
{
    bool copied = (usage & URING_NOTIF_USAGE_ZC_COPIED) != 0;
    uint64_t sent = op->res > 0 ? (uint64_t)op->res : 0;

    if (copied) {
        op->zc_copied = true;
        u->io.counters.bytes_zerocopy_copied += sent;
    } else {
        u->io.counters.bytes_zerocopy += sent;
    }
    send_finished(u, op, op->res);
}

void uring_send_completed(struct uring *u, struct io_op *op, int32_t res, uint32_t flags)
{
    if ((flags & IORING_CQE_F_NOTIF) != 0) {
        zerocopy_released(u, op, (uint32_t)res);
    } else if ((flags & IORING_CQE_F_MORE) != 0) {
        op->res = res;
    } else {
        if (res > 0)
            u->io.counters.bytes_send += (uint64_t)res;
        send_finished(u, op, res);
    }
}

/* --- poll and shutdown ------------------------------------------------------------------------ */

void uring_poll_completed(struct uring *u, struct io_op *op, int32_t res)
{
    unsigned got = 0;

    if (res < 0) {
        io_op_complete(&u->io, op, res);
        return;
    }
    /* Errors and hang-ups make a call return at once, which is what the owner polls for. */
    if ((res & (POLLIN | POLLERR | POLLHUP)) != 0)
        got |= IO_POLL_IN;
    if ((res & (POLLOUT | POLLERR | POLLHUP)) != 0)
        got |= IO_POLL_OUT;
    io_op_complete(&u->io, op, (int32_t)(got & op->op_flags));
}

static int shutdown_how(const struct io_op *op)
{
    return op->op_flags == IO_SHUTDOWN_SEND ? SHUT_WR : SHUT_RDWR;
}

/* As a plain call: the ring would hand it to a worker thread, at the price of two wake-ups, though it
 * does not wait. What was submitted before it has been handed over by now, as on the ring. */
void uring_run_late(struct uring *u)
{
    struct io_op *op;

    if (io_uring_sq_ready(&u->ring) > 0 || u->waiting.count > 0)
        return;
    while ((op = io_op_list_pop(&u->late)) != NULL)
        uring_complete_later(u, op, shutdown(op->fd, shutdown_how(op)) == 0 ? 0 : -errno);
}
