/* sink_session: see the header. */
#include "sink_session.h"

#include "sink_record.h"

enum { CLOSE_TIMEOUT_MS = 2000, PERCENT_ALL = 10000 };

static void session_step(struct sink_session *s);

/* ---- answers ---------------------------------------------------------------------------------- */

static bool chance(struct sink_session *s, unsigned hundredths)
{
    return hundredths != 0 && rand_chance(&s->worker->rand, hundredths, PERCENT_ALL);
}

/* linger: the client may still be talking, and is to read our last words all the same. */
static void session_close(struct sink_session *s, bool linger)
{
    if (s->closing)
        return;
    s->closing = true;
    wheel_set(&s->worker->wheel, &s->timer, io_now_ms(s->worker->io) + CLOSE_TIMEOUT_MS);
    net_conn_close(&s->conn, linger);
}

/* Says yes, in the usual words. */
static void say_yes(struct sink_session *s)
{
    static const struct smtp_reply taken = SMTP_REPLY_INIT(250, 2, 0, 0, "Ok");

    if (s->stage == SINK_CONNECT)
        smtp_server_greet(&s->smtp, net_conn_out(&s->conn));
    else
        smtp_server_answer(&s->smtp, s->stage == SINK_DOT ? &taken : NULL, net_conn_out(&s->conn));
}

static void say_no(struct sink_session *s, uint16_t code)
{
    const struct smtp_reply reply = {.code = code,
                                     .enhanced = {(uint16_t)(code / 100), 0, 0},
                                     .text = SLICE_LITERAL("The sink was asked to say so")};

    if (s->stage == SINK_CONNECT)
        smtp_server_close(&s->smtp, &reply, net_conn_out(&s->conn));
    else
        smtp_server_answer(&s->smtp, &reply, net_conn_out(&s->conn));
}

static void answer_now(struct sink_session *s)
{
    const struct sink_fault *fault = &s->worker->run->options->faults[s->stage];
    struct sink_stats *stats = &s->worker->stats;
    enum sink_outcome outcome = SINK_ACCEPTED;

    if (chance(s, fault->drop)) {
        stats->dropped[s->stage]++;
        outcome = SINK_DROPPED;
    } else if (chance(s, fault->fail)) {
        stats->failed[s->stage]++;
        outcome = SINK_REFUSED;
        say_no(s, fault->code);
    } else {
        say_yes(s);
    }
    if (s->stage == SINK_RCPT)
        sink_record_recipient(s, outcome);
    else if (s->stage == SINK_DOT)
        sink_record_message(s, outcome);
    if (outcome == SINK_DROPPED)
        session_close(s, false);
}

/* With --limit-rate: when this message may be accepted, from now on. */
static uint64_t rate_delay_ms(struct sink_worker *w)
{
    const struct sink_options *o = w->run->options;
    uint64_t now, delay;

    if (o->rate == 0)
        return 0;
    now = io_now_ns(w->io);
    if (w->next_accept_ns < now)
        w->next_accept_ns = now;
    delay = (w->next_accept_ns - now) / 1000000;
    w->next_accept_ns += 1000000000 * o->threads / o->rate;
    return delay;
}

static void answer(struct sink_session *s, enum sink_stage stage)
{
    struct sink_worker *w = s->worker;
    uint64_t delay = w->run->options->faults[stage].delay_ms;

    s->stage = (uint8_t)stage;
    if (stage == SINK_DOT)
        delay += rate_delay_ms(w);
    s->waiting = delay > 0;
    if (s->waiting)
        wheel_set(&w->wheel, &s->timer, io_now_ms(w->io) + delay);
    else
        answer_now(s);
}

static void timer_fired(struct wheel_timer *timer)
{
    struct sink_session *s = container_of(timer, struct sink_session, timer);

    if (s->closing) {
        net_conn_abort(&s->conn);
        return;
    }
    s->waiting = false;
    answer_now(s);
    session_step(s);
}

/* ---- the dialog ------------------------------------------------------------------------------- */

static void message_begins(struct sink_session *s)
{
    s->in_message = true;
    s->size = 0;
    tool_mark_reader_init(&s->reader);
    buf_clear(&s->message);
}

static void message_goes_on(struct sink_session *s)
{
    const struct sink_options *o = s->worker->run->options;

    s->size += s->smtp.body.len;
    if (o->verify || o->record != NULL)
        tool_mark_read(&s->reader, s->smtp.body);
    if (o->dump != NULL)
        (void)buf_append_slice(&s->message, s->smtp.body); /* overflow is looked at in the end */
}

/* One intent of the engine; false: there is nothing more to do now. */
static bool take_intent(struct sink_session *s, enum smtp_intent intent)
{
    switch (intent) {
    case SMTP_NEED_INPUT: return false;
    case SMTP_REPLIED: return true;
    case SMTP_CHECK_HELO: answer(s, SINK_EHLO); return true;
    case SMTP_CHECK_MAIL:
        sink_record_reset(s);
        answer(s, SINK_MAIL);
        return true;
    case SMTP_CHECK_RCPT:
        sink_record_note_recipient(s);
        answer(s, SINK_RCPT);
        return true;
    case SMTP_BEGIN_DATA:
        message_begins(s);
        answer(s, SINK_DATA);
        return true;
    case SMTP_BODY: message_goes_on(s); return true;
    case SMTP_END_DATA:
        s->in_message = false;
        answer(s, SINK_DOT);
        return true;
    case SMTP_RESET: s->in_message = false; return true;
    case SMTP_STARTTLS:
        smtp_server_answer(&s->smtp, NULL, net_conn_out(&s->conn));
        s->shaking_hands = true;
        return false;
    case SMTP_AUTH:
    case SMTP_AUTH_RESPONSE:
    case SMTP_AUTH_CANCEL: break; /* not offered */
    case SMTP_QUIT: session_close(s, false); return false;
    case SMTP_CLOSE: session_close(s, true); return false;
    }
    return false;
}

/* Once the input is consumed: what is left of it would be somebody's in between. */
static void start_tls(struct sink_session *s)
{
    net_conn_start_tls(&s->conn, tls_accept(s->worker->run->tls), NULL);
}

static void secured(struct sink_session *s)
{
    struct sink_stats *stats = &s->worker->stats;
    struct tls_facts facts;

    tls_facts(net_conn_tls(&s->conn), &facts);
    stats->handshakes++;
    stats->resumed += facts.resumed;
    s->shaking_hands = false;
    smtp_server_secured(&s->smtp);
    if (s->worker->run->options->tls == SINK_TLS_IMPLICIT)
        answer(s, SINK_CONNECT);
}

static void session_step(struct sink_session *s)
{
    bool more = true;

    if (s->shaking_hands && s->conn.tls_state == NET_CONN_TLS_NONE && !s->closing)
        start_tls(s);
    if (s->shaking_hands && s->conn.tls_state == NET_CONN_TLS_ACTIVE)
        secured(s);
    while (more && !s->waiting && !s->closing && !s->shaking_hands
           && net_conn_unsent(&s->conn) < NET_CONN_OUT_LIMIT / 2) {
        struct slice in = net_conn_input(&s->conn);
        size_t before = in.len;
        enum smtp_intent intent = smtp_server_next(&s->smtp, &in, net_conn_out(&s->conn));

        more = take_intent(s, intent);
        net_conn_consume(&s->conn, before - in.len); /* the intent's slices lay there */
        if (s->shaking_hands)
            start_tls(s);
    }
    if (s->closing)
        return;
    if (s->conn.eof || s->conn.error != 0) {
        if (s->in_message)
            s->worker->stats.cut++;
        if (s->shaking_hands)
            s->worker->stats.handshakes_failed++;
        session_close(s, false);
        return;
    }
    net_conn_flush(&s->conn);
    if (!s->waiting)
        net_conn_want_input(&s->conn);
}

/* ---- the connection --------------------------------------------------------------------------- */

static void session_ready(struct net_conn *conn)
{
    session_step(container_of(conn, struct sink_session, conn));
}

static void session_closed(struct net_conn *conn)
{
    struct sink_session *s = container_of(conn, struct sink_session, conn);
    struct sink_worker *w = s->worker;

    wheel_cancel(&w->wheel, &s->timer);
    list_remove(&s->node);
    buf_finish(&s->recipient_hashes);
    buf_finish(&s->recipients);
    buf_finish(&s->message);
    pool_put(&w->session_pool, s);
}

void sink_session_start(struct sink_worker *w, int fd)
{
    struct sink_session *s = pool_get(&w->session_pool);

    w->stats.connections++;
    s->worker = w;
    wheel_timer_init(&s->timer, timer_fired);
    list_push_back(&w->sessions, &s->node);
    smtp_server_init(&s->smtp, &w->run->smtp);
    net_conn_init(&s->conn, w->io, fd, session_ready, session_closed);
    s->shaking_hands = w->run->options->tls == SINK_TLS_IMPLICIT;
    if (!s->shaking_hands)
        answer(s, SINK_CONNECT);
    session_step(s);
}

void sink_session_abort(struct sink_session *s)
{
    s->closing = true;
    net_conn_abort(&s->conn);
}
