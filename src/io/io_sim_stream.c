/*
 * io_sim_stream: bytes over links: send, recv, shutdown, reset, close, poll.
 *
 * Every op waits for its event and then either gets on or waits to be poked: sim_sock_poke() is
 * called whenever something has changed and starts whatever can go on. A spurious event is harmless.
 */
#include <errno.h>
#include <string.h>

#include "io_sim_net_priv.h"

static bool recv_ready(const struct sim_sock *s)
{
    return buf_len(&s->rx) > 0 || s->eof || s->shut || s->broken;
}

static size_t send_room(const struct sim_sock *s)
{
    size_t limit = s->machine->sim->options.link_buffer_len;
    size_t used = buf_len(&s->peer->rx);

    return used < limit ? limit - used : 0;
}

static bool send_ready(const struct sim_sock *s)
{
    return s->shut || s->broken || !s->peer || s->peer->shut || send_room(s) > 0;
}

static unsigned poll_ready(const struct sim_sock *s)
{
    unsigned events = 0;

    if (s->state == SIM_SOCK_LISTENING)
        return s->backlog_count > 0 ? IO_POLL_IN : 0;
    if (s->state != SIM_SOCK_CONNECTED)
        return 0;
    if (recv_ready(s))
        events |= IO_POLL_IN;
    if (send_ready(s))
        events |= IO_POLL_OUT;
    return events;
}

/* --- recv ---------------------------------------------------------------------------------------- */

static size_t cut(struct sim *sim, size_t len)
{
    if (len <= 1 || !sim_chance(sim, sim->options.recv_split))
        return len;
    return sim_coin(sim) ? 1 : 1 + sim_below(sim, len);
}

static void recv_fire(struct sim *sim, struct sim_event *event)
{
    struct sim_op *sop = container_of(event, struct sim_op, event);
    struct sim_sock *s = sop->handle->sock;
    uint8_t *data;
    size_t capacity;

    if (sim_chance(sim, sim->options.conn_reset))
        sim_sock_reset(s);
    if (!recv_ready(s))
        return;
    if (buf_len(&s->rx) == 0) {
        int error = s->error;

        s->error = 0;
        sim_op_finish(sop, error);
        return;
    }
    if (!sim_lend(sop, &capacity, &data))
        return;
    struct slice bytes = slice_head(buf_slice(&s->rx), capacity);

    bytes.len = cut(sim, bytes.len);
    memcpy(data, bytes.data, bytes.len);
    sop->lent = slice_of(data, bytes.len);
    sim_trace_bytes(sim, data, bytes.len);
    buf_consume(&s->rx, bytes.len);
    buf_release(&s->rx);
    sim_op_finish(sop, (int32_t)bytes.len);
    if (s->peer)
        sim_sock_poke(s->peer);
}

static void recv_submit(struct sim_op *sop)
{
    struct sim_sock *s = sop->handle->sock;

    if (s->recv_op)
        sim_broken(sop->io, "two recvs in flight on one socket", sop->op);
    s->recv_op = sop;
    sop->cancelled = sim_sock_cancelled;
    if (s->state != SIM_SOCK_CONNECTED)
        sim_op_finish(sop, -ENOTCONN);
    else
        sim_sock_poke(s);
}

void sim_sock_starved_retry(struct sim_op *sop)
{
    sim_op_later(sop, recv_fire);
}

/* --- send ---------------------------------------------------------------------------------------- */

/* The next `len` bytes of the op arrive at the other end. */
static void deliver(struct sim_op *sop, size_t len)
{
    struct sim_sock *to = sop->handle->sock->peer;
    struct iovec single;
    const struct iovec *iov;
    size_t count = sim_op_iov(sop->op, &iov, &single);
    size_t skip = sop->progress;

    sop->progress += len;
    for (size_t i = 0; i < count && len > 0; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        size_t part = iov[i].iov_len - skip < len ? iov[i].iov_len - skip : len;
        bool fits = buf_append(&to->rx, (const uint8_t *)iov[i].iov_base + skip, part);

        ASSERT(fits);
        skip = 0;
        len -= part;
    }
    sim_sock_poke(to);
}

/* Nobody reads at the other end any more. What fits into a send buffer seems to be sent; the answer
 * to it is a reset. */
static void send_into_void(struct sim_op *sop)
{
    struct sim_sock *s = sop->handle->sock;
    bool seems_sent = sop->len - sop->progress <= s->machine->sim->options.link_buffer_len;

    sim_sock_break(s, seems_sent ? -ECONNRESET : 0);
    sim_op_finish(sop, seems_sent ? (int32_t)sop->len : -ECONNRESET);
}

/* All of it is there: the other end may answer before the sender is told. (A kernel that sends without
 * copying lets go of the bytes only when they are acknowledged.) */
static void send_over(struct sim *sim, struct sim_event *event)
{
    struct sim_op *sop = container_of(event, struct sim_op, event);

    (void)sim;
    sim_op_finish(sop, (int32_t)sop->len);
}

static void send_fire(struct sim *sim, struct sim_event *event)
{
    struct sim_op *sop = container_of(event, struct sim_op, event);
    struct sim_sock *s = sop->handle->sock;

    if (sim_chance(sim, sim->options.conn_reset)) {
        if (s->peer && !s->peer->shut && sim_coin(sim) && send_room(s) >= sop->len - sop->progress)
            deliver(sop, sop->len - sop->progress); /* it arrives, and nobody here will know */
        sim_sock_reset(s);
    }
    if (s->broken || s->shut || s->ended) {
        int error = s->error;

        s->error = 0;
        sim_op_finish(sop, error ? error : -EPIPE);
    } else if (!s->peer || s->peer->shut) {
        send_into_void(sop);
    } else {
        size_t room = send_room(s);
        size_t left = sop->len - sop->progress;

        if (left > 0 && room > 0)
            deliver(sop, cut(sim, left < room ? left : room));
        if (sop->progress == sop->len && sim_below(sim, 4) == 0)
            sim_op_later(sop, send_over);
        else if (sop->progress == sop->len)
            sim_op_finish(sop, (int32_t)sop->len);
        else if (send_room(s) > 0)
            sim_op_later(sop, send_fire);
    }
}

static void send_submit(struct sim_op *sop)
{
    struct sim_sock *s = sop->handle->sock;

    if (s->send_op)
        sim_broken(sop->io, "two sends in flight on one socket", sop->op);
    s->send_op = sop;
    sop->cancelled = sim_sock_cancelled;
    /* A link between machines that are one copies after all, as a loopback does. */
    sop->op->zc_copied = (sop->op->op_flags & IO_SEND_ZEROCOPY) && sim_coin(sop->io->sim);
    if (s->state != SIM_SOCK_CONNECTED)
        sim_op_finish(sop, -ENOTCONN);
    else
        sim_op_later(sop, send_fire);
}

/* --- the end of a link ------------------------------------------------------------------------------ */

void sim_sock_break(struct sim_sock *s, int error)
{
    if (s->state != SIM_SOCK_CONNECTED || s->broken)
        return;
    s->broken = true;
    s->error = error;
    if (sim_coin(s->machine->sim))
        buf_clear(&s->rx);
    if (s->peer)
        s->peer->peer = NULL;
    s->peer = NULL;
    sim_sock_poke(s);
}

void sim_sock_reset(struct sim_sock *s)
{
    struct sim_sock *other = s->peer;
    int error = sim_below(s->machine->sim, 8) == 0 ? -ETIMEDOUT : -ECONNRESET;

    if (s->state != SIM_SOCK_CONNECTED)
        return;
    sim_sock_break(s, error);
    if (other)
        sim_sock_break(other, error);
}

static void shutdown_link(struct sim_op *sop, struct sim_sock *s)
{
    bool was_connected = !s->broken;

    if (sop->op->op_flags == IO_SHUTDOWN_SEND)
        s->ended = true;
    else
        s->shut = true;
    if (s->peer) {
        s->peer->eof = true;
        sim_sock_poke(s->peer);
    }
    sim_sock_poke(s);
    sim_op_finish(sop, was_connected ? 0 : -ENOTCONN);
}

static void shutdown_fire(struct sim *sim, struct sim_event *event)
{
    struct sim_op *sop = container_of(event, struct sim_op, event);
    struct sim_sock *s = sop->handle->sock;

    (void)sim;
    switch (s->state) {
    case SIM_SOCK_NEW: sim_op_finish(sop, -ENOTCONN); return;
    case SIM_SOCK_CONNECTING:
        s->state = SIM_SOCK_NEW;
        sim_op_finish(s->connect_op, -ECONNABORTED);
        sim_op_finish(sop, 0);
        return;
    case SIM_SOCK_LISTENING:
        if (s->accept_op && !s->accept_op->finished)
            sim_op_finish(s->accept_op, -EINVAL);
        sim_op_finish(sop, 0);
        return;
    case SIM_SOCK_CONNECTED: shutdown_link(sop, s); return;
    }
    UNREACHABLE();
}

void sim_sock_close(struct sim_machine *machine, struct sim_sock *s)
{
    struct sim_sock *other = s->peer;

    ASSERT(machine == s->machine);
    if (s->state == SIM_SOCK_LISTENING)
        sim_listener_close(s);
    s->peer = NULL;
    if (other && buf_len(&s->rx) > 0) {
        sim_sock_break(other, -ECONNRESET); /* unread bytes: the kernel answers with a reset */
    } else if (other) {
        other->peer = NULL;
        other->eof = true;
        sim_sock_poke(other);
    }
    buf_finish(&s->rx);
    mem_free(s);
}

/* --- poll, cancel, poke --------------------------------------------------------------------------- */

static void poll_fire(struct sim *sim, struct sim_event *event)
{
    struct sim_op *sop = container_of(event, struct sim_op, event);
    unsigned events = poll_ready(sop->handle->sock) & sop->op->op_flags;

    (void)sim;
    if (events)
        sim_op_finish(sop, (int32_t)events);
}

void sim_sock_cancelled(struct sim_op *sop)
{
    struct sim_sock *s = sop->handle->sock;

    if (sop->kind == IO_CONNECT)
        s->state = SIM_SOCK_NEW;
    sim_op_finish(sop, -ECANCELED);
}

void sim_sock_poke(struct sim_sock *s)
{
    if (s->accept_op && s->backlog_count > 0)
        sim_op_later(s->accept_op, sim_accept_fire);
    if (s->recv_op && recv_ready(s))
        sim_op_later(s->recv_op, recv_fire);
    if (s->send_op && s->state == SIM_SOCK_CONNECTED && send_ready(s))
        sim_op_later(s->send_op, send_fire);
    LIST_EACH(&s->polls, node)
    {
        struct sim_op *sop = container_of(node, struct sim_op, wait_node);

        if (poll_ready(s) & sop->op->op_flags)
            sim_op_later(sop, poll_fire);
    }
}

void sim_sock_op_gone(struct sim_op *sop)
{
    struct sim_sock *s = sop->handle->sock;

    if (s->accept_op == sop)
        s->accept_op = NULL;
    if (s->connect_op == sop)
        s->connect_op = NULL;
    if (s->recv_op == sop)
        s->recv_op = NULL;
    if (s->send_op == sop)
        s->send_op = NULL;
}

void sim_sock_submit(struct sim_op *sop)
{
    struct sim_sock *s = sop->handle->sock;

    switch ((enum io_kind)sop->kind) {
    case IO_ACCEPT: sim_accept_submit(sop); return;
    case IO_CONNECT: sim_connect_submit(sop); return;
    case IO_RECV: recv_submit(sop); return;
    case IO_SEND: send_submit(sop); return;
    case IO_SHUTDOWN: sim_op_later(sop, shutdown_fire); return;
    case IO_POLL:
        sop->cancelled = sim_sock_cancelled;
        list_push_back(&s->polls, &sop->wait_node);
        sim_sock_poke(s);
        return;
    case IO_NONE:
    case IO_KIND_COUNT:
    case IO_OPEN:
    case IO_CLOSE:
    case IO_READ:
    case IO_WRITE:
    case IO_FSYNC:
    case IO_RENAME:
    case IO_LINK:
    case IO_UNLINK:
    case IO_MKDIR:
    case IO_STAT: UNREACHABLE();
    }
    UNREACHABLE();
}
