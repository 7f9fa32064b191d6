/* net_conn: see the header. Completions record facts, then conn_step() decides. */
#include "net_conn.h"

#include <errno.h>

#include "base_mem.h"
#include "net_conn_priv.h"

static void conn_fail(struct net_conn *c, int error)
{
    c->dead = true;
    if (c->error == 0)
        c->error = error;
    if (c->tls != NULL)
        net_tls_ended(c);
}

void net_conn_notify(struct net_conn *c)
{
    if (c->in_ready || c->state == NET_CONN_IDLE)
        return;
    c->in_ready = true;
    c->ready(c);
    c->in_ready = false;
}

/* Copied or looked at: either way the buffer goes back within this pass. */
static void conn_take(struct net_conn *c, struct slice lent)
{
    if (c->tls != NULL) {
        bool wanted = c->wants_input;

        c->wants_input = false;
        if (net_tls_received(c, lent))
            net_conn_notify(c);
        else
            c->wants_input = wanted; /* a part of a record is nothing yet */
        return;
    }
    c->wants_input = false;
    if (buf_len(&c->carry) > 0)
        (void)buf_append_slice(&c->carry, lent); /* fits: checked before receiving */
    else
        c->lent = lent;
    net_conn_notify(c);
    if (c->lent.len > 0 && c->state == NET_CONN_OPEN)
        (void)buf_append_slice(&c->carry, c->lent); /* what the owner has left */
    c->lent = SLICE_NULL;
}

static void conn_recv_done(struct io_op *op)
{
    struct net_conn *c = container_of(op, struct net_conn, recv);

    if (op->res > 0) {
        c->bytes_in += (uint64_t)op->res;
        if (c->state == NET_CONN_OPEN)
            conn_take(c, op->lent);
        io_lent_return(c->io, op);
    } else {
        c->wants_input = false;
        if (op->res < 0)
            conn_fail(c, op->res);
        else if (c->tls != NULL)
            net_tls_ended(c);
        c->eof |= op->res == 0;
        if (c->state == NET_CONN_OPEN)
            net_conn_notify(c);
    }
    net_conn_step(c);
}

static void conn_sent(struct io_op *op)
{
    struct net_conn *c = container_of(op, struct net_conn, send);

    if (op->res < 0)
        conn_fail(c, op->res);
    else
        c->bytes_out += (uint64_t)op->res;
    buf_clear(&c->sending);
    buf_release(&c->sending);
    mem_free(c->iov);
    c->iov = NULL;
    if (c->state == NET_CONN_OPEN)
        net_conn_flush(c);
    if (c->state == NET_CONN_OPEN)
        net_conn_notify(c);
    net_conn_step(c);
}

static void conn_connected(struct io_op *op)
{
    struct net_conn *c = container_of(op, struct net_conn, control);

    if (op->res < 0)
        conn_fail(c, op->res);
    if (c->state == NET_CONN_CONNECTING) {
        c->state = NET_CONN_OPEN;
        net_conn_notify(c);
    }
    net_conn_step(c);
}

static void conn_was_shut_down(struct io_op *op)
{
    net_conn_step(container_of(op, struct net_conn, control));
}

void net_conn_discard(struct net_conn *c)
{
    c->fd = -1;
    c->state = NET_CONN_IDLE;
    buf_finish(&c->carry);
    buf_finish(&c->out);
    buf_finish(&c->sending);
    mem_free(c->iov);
    c->iov = NULL;
    net_tls_free(c);
}

static void conn_closed(struct io_op *op)
{
    struct net_conn *c = container_of(op, struct net_conn, control);

    net_conn_discard(c);
    c->closed(c);
}

static void conn_start_recv(struct net_conn *c)
{
    if (io_op_busy(&c->recv) || c->eof || c->dead)
        return;
    c->recv.done = conn_recv_done;
    io_recv(c->io, &c->recv, c->fd);
}

static void conn_start_close(struct net_conn *c)
{
    c->state = NET_CONN_CLOSING;
    c->control.done = conn_closed;
    io_close(c->io, &c->control, c->fd);
}

/* What is in flight ends when the socket is shut down: a recv, or a send that the peer never takes. */
static void conn_start_shutdown(struct net_conn *c)
{
    c->state = NET_CONN_SHUTDOWN;
    c->control.done = conn_was_shut_down;
    io_shutdown(c->io, &c->control, c->fd);
}

/* The peer is to see that our last reply was the last. */
static void conn_end_sending(struct net_conn *c)
{
    if (c->half_closed)
        return;
    c->half_closed = true;
    c->control.done = conn_was_shut_down;
    io_shutdown_send(c->io, &c->control, c->fd);
}

/* What the filter has made: on its own behalf, or of the owner's bytes. */
static void conn_send_wire(struct net_conn *c)
{
    struct buf *wire = net_tls_wire(c), swap = c->sending;

    if (io_op_busy(&c->send) || c->dead || buf_len(wire) == 0)
        return;
    c->sending = *wire;
    *wire = swap;
    c->send.done = conn_sent;
    io_send(c->io, &c->send, c->fd, buf_slice(&c->sending), 0);
}

static bool conn_wants_input(const struct net_conn *c)
{
    if (c->in_ready || buf_len(&c->carry) > NET_CONN_CARRY_LIMIT / 2)
        return false;
    return c->tls != NULL ? net_tls_may_receive(c) : c->wants_input;
}

/* True: a send is in flight, and more may follow. */
static bool conn_drain(struct net_conn *c)
{
    if (c->dead)
        return false;
    net_conn_flush(c);
    if (!io_op_busy(&c->send) && c->tls != NULL) {
        net_tls_say_close(c);
        net_conn_flush(c);
    }
    return io_op_busy(&c->send);
}

/* Moves a closing connection on, as far as what is in flight allows; keeps recv armed on an open one. */
void net_conn_step(struct net_conn *c)
{
    bool busy = io_op_busy(&c->recv) || io_op_busy(&c->send);

    if (c->state != NET_CONN_OPEN && c->tls != NULL && net_tls_is_away(c))
        return; /* what a helper has is waited for */
    switch ((enum net_conn_state)c->state) {
    case NET_CONN_OPEN:
        if (c->tls != NULL)
            conn_send_wire(c);
        if (conn_wants_input(c))
            conn_start_recv(c);
        return;
    case NET_CONN_DRAINING:
        if (conn_drain(c))
            return;
        c->state = NET_CONN_LINGERING;
        /* fallthrough */
    case NET_CONN_LINGERING:
        if (c->linger && !c->eof && !c->dead) {
            conn_end_sending(c);
            conn_start_recv(c);
            return;
        }
        if (io_op_busy(&c->control)) /* a connect that was cancelled */
            return;
        if (busy)
            conn_start_shutdown(c);
        else
            conn_start_close(c);
        return;
    case NET_CONN_SHUTDOWN:
        if (!busy && !io_op_busy(&c->control))
            conn_start_close(c);
        return;
    case NET_CONN_IDLE:
    case NET_CONN_CONNECTING:
    case NET_CONN_CLOSING: return;
    }
}

static void conn_set_up(struct net_conn *c, struct io *io, int fd, void (*ready)(struct net_conn *),
                        void (*closed)(struct net_conn *))
{
    *c = (struct net_conn){.io = io, .fd = fd, .ready = ready, .closed = closed};
    buf_init(&c->carry, NET_CONN_CARRY_LIMIT);
    buf_init(&c->out, NET_CONN_OUT_LIMIT);
    buf_init(&c->sending, NET_CONN_OUT_LIMIT);
}

void net_conn_init(struct net_conn *c, struct io *io, int fd, void (*ready)(struct net_conn *),
                   void (*closed)(struct net_conn *))
{
    conn_set_up(c, io, fd, ready, closed);
    c->state = NET_CONN_OPEN;
}

bool net_conn_connect(struct net_conn *c, struct io *io, const struct io_addr *to,
                      void (*ready)(struct net_conn *), void (*closed)(struct net_conn *))
{
    int fd = io_socket_stream(io, to->storage.ss_family);

    conn_set_up(c, io, fd, ready, closed);
    if (fd < 0) {
        c->error = fd;
        return false;
    }
    c->state = NET_CONN_CONNECTING;
    c->control.done = conn_connected;
    io_connect(io, &c->control, fd, to);
    return true;
}

struct slice net_conn_input(const struct net_conn *c)
{
    return buf_len(&c->carry) > 0 ? buf_slice(&c->carry) : c->lent;
}

void net_conn_consume(struct net_conn *c, size_t count)
{
    if (count == 0)
        return;
    if (buf_len(&c->carry) > 0) {
        buf_consume(&c->carry, count);
        buf_release(&c->carry);
    } else {
        ASSERT(count <= c->lent.len);
        slice_advance(&c->lent, count);
    }
}

void net_conn_want_input(struct net_conn *c)
{
    c->wants_input = true;
    if (!c->in_ready) /* else when the lent buffer has gone back */
        net_conn_step(c);
}

/* Makes what was written so far the bytes in flight. */
static void conn_take_out(struct net_conn *c)
{
    struct buf swap = c->sending;

    c->sending = c->out;
    c->out = swap;
}

/* Without bytes: for the owner to be called. */
static void conn_send_nothing(struct net_conn *c)
{
    c->send.done = conn_sent;
    io_send(c->io, &c->send, c->fd, SLICE_NULL, 0);
}

void net_conn_flush(struct net_conn *c)
{
    if (io_op_busy(&c->send) || c->dead)
        return;
    if (c->tls != NULL) {
        bool ok = net_tls_encrypt(c);
        conn_send_wire(c);
        if (!ok && !io_op_busy(&c->send))
            conn_send_nothing(c);
        return;
    }
    if (buf_len(&c->out) == 0)
        return;
    conn_take_out(c);
    c->send.done = conn_sent;
    io_send(c->io, &c->send, c->fd, buf_slice(&c->sending), 0);
}

static void conn_send_pieces(struct net_conn *c, struct iovec *pieces, int count,
                             unsigned send_flags)
{
    struct iovec *list = pieces;

    if (buf_len(&c->out) > 0) {
        conn_take_out(c);
        c->iov = list = mem_alloc((size_t)(count + 1) * sizeof(*list));
        list[0] = (struct iovec){c->sending.data + c->sending.head, buf_len(&c->sending)};
        memcpy(list + 1, pieces, (size_t)count * sizeof(*list));
        count++;
    }
    c->send.done = conn_sent;
    if (count == 1) /* a vector would be copied */
        io_send(c->io, &c->send, c->fd, slice_of(list->iov_base, list->iov_len), send_flags);
    else
        io_sendv(c->io, &c->send, c->fd, list, count, send_flags);
}

void net_conn_send_body(struct net_conn *c, struct iovec *pieces, int count, unsigned send_flags)
{
    ASSERT(!io_op_busy(&c->send) && count > 0 && count < IO_IOV_MAX);
    if (c->tls == NULL) {
        conn_send_pieces(c, pieces, count, send_flags);
        return;
    }
    net_tls_set_body(c, pieces, count);
    net_conn_flush(c);
    if (!io_op_busy(&c->send)) /* all are empty, or it has failed: `ready` says so as ever */
        conn_send_nothing(c);
}

void net_conn_close(struct net_conn *c, bool linger)
{
    if (c->state == NET_CONN_CONNECTING) {
        net_conn_abort(c);
        return;
    }
    if (c->state != NET_CONN_OPEN)
        return;
    c->linger = linger;
    c->state = NET_CONN_DRAINING;
    if (!c->in_ready)
        net_conn_step(c);
}

void net_conn_abort(struct net_conn *c)
{
    if (c->state == NET_CONN_IDLE || c->state == NET_CONN_CLOSING || c->state == NET_CONN_SHUTDOWN)
        return;
    conn_fail(c, -ECONNABORTED);
    c->linger = false;
    if (c->state == NET_CONN_CONNECTING)
        io_cancel(c->io, &c->control);
    c->state = NET_CONN_DRAINING;
    if (!c->in_ready)
        net_conn_step(c);
}
