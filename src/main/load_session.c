/* load_session: from connect to close. The dialog itself is in load_dialog.c. */
#include "load_session.h"

#include <errno.h>

#include "load_dialog.h"
#include "load_tls.h"

enum { PAUSE_MS = 100 };

static void session_close(struct load_session *s);

/* ---- time ----------------------------------------------------------------------------------- */

/* The timer is set once a connection, not once a reply: when it fires it looks whether its time has
 * come, and if not sets itself again. */
static void set_deadline(struct load_session *s, uint64_t ms)
{
    struct load_worker *w = s->worker;

    s->deadline_ms = io_now_ms(w->io) + ms;
    if (!wheel_timer_is_set(&s->timer) || s->timer.due_ms > s->deadline_ms)
        wheel_set(&w->wheel, &s->timer, s->deadline_ms);
}

static void timer_fired(struct wheel_timer *timer)
{
    struct load_session *s = container_of(timer, struct load_session, timer);

    if (s->state == LOAD_FREE || s->state == LOAD_ENDED)
        return;
    if (io_now_ms(s->worker->io) < s->deadline_ms)
        wheel_set(&s->worker->wheel, &s->timer, s->deadline_ms);
    else if (s->state == LOAD_PAUSING)
        load_session_next(s);
    else if (s->state != LOAD_CLOSING)
        load_session_break(s, LOAD_ERROR_TIMEOUT, 0, SLICE_NULL);
}

void load_session_waits(struct load_session *s, enum load_stage stage)
{
    s->state = LOAD_TALKING;
    s->stage = (uint8_t)stage;
    set_deadline(s, s->worker->run->options->timeout_ms);
}

/* ---- the end of a connection ------------------------------------------------------------------ */

static void session_closed(struct io_op *op)
{
    struct load_session *s = container_of(op, struct load_session, control);

    s->fd = -1;
    s->open = s->shut = false;
    load_tls_end(s);
    buf_clear(&s->wire);
    s->here = 0;
    if (s->broken && !s->worker->exhausted) {
        s->broken = false;
        s->state = LOAD_PAUSING;
        set_deadline(s, PAUSE_MS);
    } else {
        load_session_next(s);
    }
}

static void closing_done(struct io_op *op)
{
    session_close(container_of(op, struct load_session, control));
}

/* Also when something in flight has ended: what is still in flight is ended by a shutdown. */
static void session_close(struct load_session *s)
{
    s->state = LOAD_CLOSING;
    s->want = LOAD_WANT_NOTHING;
    if (io_op_busy(&s->control))
        return;
    if (!io_op_busy(&s->recv) && !io_op_busy(&s->send)) {
        s->control.done = session_closed;
        io_close(s->worker->io, &s->control, s->fd);
    } else if (!s->shut) {
        s->shut = true;
        s->control.done = closing_done;
        io_shutdown(s->worker->io, &s->control, s->fd);
    }
}

void load_session_end(struct load_session *s)
{
    list_remove(&s->node); /* it may have been free */
    session_close(s);
}

void load_session_break(struct load_session *s, enum load_error_kind kind, int number,
                        struct slice text)
{
    struct load_stats *stats = &s->worker->stats;
    enum load_stage stage = (enum load_stage)s->stage;

    if (s->state == LOAD_CLOSING)
        return;
    /* A server may well hang up on somebody who has nothing to say, or once QUIT was said. */
    if (s->has_message || stage < LOAD_STAGE_QUIT) {
        load_stats_error(stats, kind, stage, number, text);
        s->broken = true;
    }
    if (s->has_message)
        load_dialog_message_over(s, s->dot_sent ? LOAD_OUTCOME_UNKNOWN : LOAD_OUTCOME_UNSENT);
    if (s->state == LOAD_CONNECTING && io_op_busy(&s->control))
        io_cancel(s->worker->io, &s->control);
    load_session_end(s);
}

void load_session_cut(struct load_session *s)
{
    if (s->state == LOAD_PAUSING)
        load_session_next(s);
    else if (s->state != LOAD_ENDED)
        load_session_break(s, LOAD_ERROR_UNFINISHED, 0, SLICE_NULL);
}

/* ---- receiving and sending -------------------------------------------------------------------- */

static void input(struct load_session *s, struct slice in)
{
    if (s->tls != NULL)
        load_tls_input(s, in);
    else
        load_dialog_input(s, in);
}

static void session_received(struct io_op *op)
{
    struct load_session *s = container_of(op, struct load_session, recv);

    if (op->res > 0) {
        s->reading = true;
        if (s->state != LOAD_CLOSING)
            input(s, op->lent);
        s->reading = false;
        io_lent_return(s->worker->io, op);
    } else if (op->res == 0) {
        load_session_break(s, LOAD_ERROR_CLOSED, 0, SLICE_NULL);
    } else {
        load_session_break(s, LOAD_ERROR_SYSTEM, -op->res, SLICE_NULL);
    }
    if (s->state == LOAD_CLOSING) {
        session_close(s);
        return;
    }
    io_recv(s->worker->io, &s->recv, s->fd);
    load_session_push(s);
}

/* A failed send is not yet the end: the server's last words (421) may still be on their way, and then
 * comes the end of the connection. */
static void session_sent(struct io_op *op)
{
    struct load_session *s = container_of(op, struct load_session, send);

    if (s->state == LOAD_CLOSING) {
        session_close(s);
        return;
    }
    if (op->res > 0 && s->state == LOAD_TALKING && !s->shaking_hands)
        load_dialog_sent(s, (size_t)op->res);
    if (s->state == LOAD_TALKING)
        set_deadline(s, s->worker->run->options->timeout_ms);
    load_session_push(s);
}

/* What is to be sent, as records. */
static void push_tls(struct load_session *s)
{
    struct slice bytes;
    struct buf swap;

    if (s->want != LOAD_WANT_NOTHING && !s->shaking_hands) {
        buf_clear(&s->out);
        int pieces = load_dialog_output(s, &bytes);
        if (pieces == 0)
            load_tls_write(s, bytes);
        for (int i = 0; i < pieces; i++)
            load_tls_write(s, slice_of(s->pieces[i].iov_base, s->pieces[i].iov_len));
    }
    if (buf_len(&s->wire) == 0 || s->state == LOAD_CLOSING)
        return;
    swap = s->sending;
    s->sending = s->wire;
    s->wire = swap;
    buf_clear(&s->wire);
    s->send.done = session_sent;
    io_send(s->worker->io, &s->send, s->fd, buf_slice(&s->sending), 0);
}

void load_session_push(struct load_session *s)
{
    struct slice bytes;
    int pieces;

    if (s->reading || io_op_busy(&s->send) || !s->open)
        return;
    if (s->tls != NULL) {
        push_tls(s);
        return;
    }
    if (s->want == LOAD_WANT_NOTHING)
        return;
    buf_clear(&s->out);
    pieces = load_dialog_output(s, &bytes);
    s->send.done = session_sent;
    if (pieces == 0)
        io_send(s->worker->io, &s->send, s->fd, bytes, 0);
    else
        io_sendv(s->worker->io, &s->send, s->fd, s->pieces, pieces, 0);
}

/* ---- the beginning ---------------------------------------------------------------------------- */

static void session_connected(struct io_op *op)
{
    struct load_session *s = container_of(op, struct load_session, control);
    struct load_worker *w = s->worker;

    if (s->state == LOAD_CLOSING) {
        session_close(s);
        return;
    }
    if (op->res < 0) {
        /* Nobody is there, and nobody was before: then the other messages would fare no better. */
        if (w->stats.connections == 0)
            w->hopeless = true;
        load_session_break(s, LOAD_ERROR_SYSTEM, -op->res, SLICE_NULL);
        return;
    }
    s->recv.done = session_received;
    io_recv(w->io, &s->recv, s->fd);
    if (w->run->options->tls == LOAD_TLS_IMPLICIT) {
        load_session_waits(s, LOAD_STAGE_TLS);
        load_tls_begin(s);
        load_session_push(s);
    } else {
        load_session_waits(s, LOAD_STAGE_GREETING);
    }
}

static void session_connect(struct load_session *s)
{
    struct load_worker *w = s->worker;

    s->stage = LOAD_STAGE_CONNECT;
    s->connect_ns = io_now_ns(w->io);
    s->fd = io_socket_stream(w->io, w->run->server.storage.ss_family);
    if (s->fd < 0) {
        load_stats_error(&w->stats, LOAD_ERROR_SYSTEM, LOAD_STAGE_CONNECT, -s->fd, SLICE_NULL);
        load_dialog_message_over(s, LOAD_OUTCOME_UNSENT);
        s->state = LOAD_PAUSING;
        set_deadline(s, PAUSE_MS);
        return;
    }
    s->open = true;
    s->state = LOAD_CONNECTING;
    load_dialog_init(s);
    set_deadline(s, w->run->options->timeout_ms);
    s->control.done = session_connected;
    io_connect(w->io, &s->control, s->fd, &w->run->server);
}

static void session_ended(struct load_session *s)
{
    s->state = LOAD_ENDED;
    wheel_cancel(&s->worker->wheel, &s->timer);
    s->worker->live--;
}

void load_session_next(struct load_session *s)
{
    struct load_worker *w = s->worker;
    uint64_t per_session = w->run->options->per_session;
    bool full = s->open && per_session != 0 && s->here >= per_session;

    list_remove(&s->node);
    if (!full && load_worker_claim(w, &s->serial, &s->begin_ns)) {
        load_dialog_message_begins(s);
        if (s->open)
            s->want = LOAD_WANT_ENVELOPE;
        else
            session_connect(s);
    } else if (s->open && (full || w->exhausted)) {
        s->want = LOAD_WANT_QUIT;
    } else if (w->exhausted) {
        session_ended(s);
    } else {
        s->state = LOAD_FREE;
        s->stage = LOAD_STAGE_NONE;
        load_worker_add_free(w, &s->node);
    }
    load_session_push(s);
}

void load_session_init(struct load_session *s, struct load_worker *w, uint32_t number)
{
    *s = (struct load_session){.worker = w, .fd = -1, .state = LOAD_PAUSING};
    s->mark.run = w->run->mail.run;
    s->mark.session = number;
    list_init(&s->node);
    wheel_timer_init(&s->timer, timer_fired);
    buf_init(&s->out, 0);
    buf_init(&s->wire, 0);
    buf_init(&s->sending, 0);
}

void load_session_finish(struct load_session *s)
{
    load_tls_end(s);
    tls_resumption_unref(s->resume);
    buf_finish(&s->out);
    buf_finish(&s->wire);
    buf_finish(&s->sending);
}
