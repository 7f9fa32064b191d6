/*
 * delivery_smtp: one connection to a site. Completions and timers record facts; the step function looks
 * at the state and does what can be done.
 *
 *                    SECURING      (behind STARTTLS; at once with TLS from the first byte)
 *                     ^  |
 *                     |  v
 *     CONNECTING --> TALKING <--> BODY, or LOGIN
 *                     ^  |
 *                     |  v
 *                     IDLE          each of them --> CLOSING --> freed
 *
 * Before the first task the peer has to satisfy the host's plan (delivery_smtp_tls.c), and to let us in
 * (delivery_smtp_auth.c).
 *
 * What a task points at (its body in the origin's memory) may be in flight to the kernel, so a task ends
 * only when no send is under way and its reader is at rest, however its session has ended.
 */
#include <stdio.h>

#include "base_mem.h"
#include "delivery_smtp_auth_priv.h"

static void conn_ready(struct net_conn *net)
{
    delivery_smtp_step(container_of(net, struct delivery_smtp, net));
}

static void conn_closed(struct net_conn *net)
{
    struct delivery_smtp *c = container_of(net, struct delivery_smtp, net);

    c->closed = true;
    delivery_smtp_step(c);
}

static uint64_t now_of(const struct delivery_smtp *c)
{
    return io_now_ms(c->d->o.io);
}

/* ---- deadlines ---------------------------------------------------------------------------- */

static uint64_t patience_ms(const struct delivery_smtp *c)
{
    const struct conf_route *route = delivery_site_route(c->site);

    switch ((enum delivery_smtp_state)c->state) {
    case DELIVERY_SMTP_CONNECTING:
    case DELIVERY_SMTP_SECURING: return route->timeout.connect;
    case DELIVERY_SMTP_TALKING:
        return c->smtp.stage == SMTP_STAGE_DOT ? route->timeout.data : route->timeout.response;
    case DELIVERY_SMTP_LOGIN: return route->timeout.response;
    case DELIVERY_SMTP_BODY: return route->timeout.data;
    case DELIVERY_SMTP_IDLE: return route->timeout.idle;
    case DELIVERY_SMTP_CLOSING: return DELIVERY_QUIT_MS;
    }
    UNREACHABLE();
}

static void set_timer(struct delivery_smtp *c)
{
    uint64_t due_ms = c->deadline_ms < c->race_ms ? c->deadline_ms : c->race_ms;

    /* It is not moved back with each reply: when it fires early, it is set to what holds then. */
    if (!wheel_timer_is_set(&c->timer) || c->timer.due_ms > due_ms)
        wheel_set(c->d->o.wheel, &c->timer, due_ms);
}

static struct delivery_smtp_mark mark_of(const struct delivery_smtp *c)
{
    return (struct delivery_smtp_mark){
        .state = c->state,
        .stage = (uint8_t)c->smtp.stage,
        .answered = c->smtp.answered,
        .bytes_out = c->net.bytes_out,
    };
}

static void expect(struct delivery_smtp *c)
{
    c->mark = mark_of(c);
    c->expired = false;
    c->deadline_ms = now_of(c) + patience_ms(c);
    set_timer(c);
}

/* Progress gives new time. */
static void watch(struct delivery_smtp *c)
{
    struct delivery_smtp_mark mark = mark_of(c);

    if (mark.state != c->mark.state || mark.stage != c->mark.stage
        || mark.answered != c->mark.answered || mark.bytes_out != c->mark.bytes_out)
        expect(c);
}

static void timer_fired(struct wheel_timer *timer)
{
    struct delivery_smtp *c = container_of(timer, struct delivery_smtp, timer);

    if (now_of(c) >= c->race_ms) {
        c->race_ms = WHEEL_NEVER;
        delivery_site_stalled(c->site, c);
    }
    if (now_of(c) >= c->deadline_ms) {
        c->expired = true;
        c->deadline_ms = WHEEL_NEVER; /* until the next progress */
        delivery_smtp_step(c);
        return;
    }
    set_timer(c);
}

static void enter(struct delivery_smtp *c, enum delivery_smtp_state state)
{
    ASSERT(c->state != DELIVERY_SMTP_CLOSING);
    c->state = (uint8_t)state;
    expect(c);
}

static void begin_task(struct delivery_smtp *c, struct delivery_task *t)
{
    delivery_smtp_task_begin(c, t);
    enter(c, DELIVERY_SMTP_TALKING);
}

/* ---- ends --------------------------------------------------------------------------------- */

/* No more messages. What is in flight of a body is not waited for: it would not end the session in a way
 * that the peer could take for the end of the message. An alert is: it says what we do not like. */
static void end(struct delivery_smtp *c, const struct delivery_reason *why)
{
    bool mid_body = c->state == DELIVERY_SMTP_BODY;
    bool alert = c->net.tls_state == NET_CONN_TLS_FAILED;

    enter(c, DELIVERY_SMTP_CLOSING);
    c->race_ms = WHEEL_NEVER;
    if (mid_body || c->cut || (net_conn_sending(&c->net) && !alert))
        net_conn_abort(&c->net);
    else
        net_conn_close(&c->net, false);
    delivery_site_ended(c->site, c, why);
}

/* why NULL: as we wanted. */
static void quit(struct delivery_smtp *c, const struct delivery_reason *why)
{
    delivery_smtp_tls_keep(c);
    smtp_client_quit(&c->smtp, net_conn_out(&c->net));
    c->quitting = true;
    enter(c, DELIVERY_SMTP_CLOSING);
    c->race_ms = WHEEL_NEVER;
    delivery_site_ended(c->site, c, why);
}

static enum delivery_step session_failed(struct delivery_smtp *c)
{
    bool idle = c->state == DELIVERY_SMTP_IDLE;
    struct delivery_reason why;

    if (!delivery_smtp_tls_lost(c, &why))
        delivery_smtp_explain(c, &why);
    delivery_smtp_task_fail(c, &why);
    end(c, idle || c->cut ? NULL : &why);
    return DELIVERY_STEP_AGAIN;
}

/* The body cannot be read (the disk, or a checksum): the peer must not take what it has got. */
static enum delivery_step body_failed(struct delivery_smtp *c)
{
    struct delivery_reason why;

    delivery_reason_set(&why, 3, 0, "the message cannot be read here");
    why.scope = DELIVERY_SCOPE_MESSAGE;
    delivery_smtp_task_fail(c, &why);
    end(c, NULL);
    return DELIVERY_STEP_AGAIN;
}

/* ---- states ------------------------------------------------------------------------------- */

/* From here on there is TLS, or nothing. */
static void secure(struct delivery_smtp *c)
{
    enter(c, DELIVERY_SMTP_SECURING);
    delivery_smtp_tls_begin(c);
}

static enum delivery_step step_securing(struct delivery_smtp *c)
{
    struct delivery_reason why;

    if (c->cut || c->leaving) {
        c->cut = true;
        end(c, NULL);
        return DELIVERY_STEP_AGAIN;
    }
    switch (delivery_smtp_tls_step(c, &why)) {
    case DELIVERY_TLS_WAIT: return DELIVERY_STEP_WAIT;
    case DELIVERY_TLS_DONE:
        smtp_client_secured(&c->smtp, net_conn_out(&c->net));
        enter(c, DELIVERY_SMTP_TALKING);
        return DELIVERY_STEP_AGAIN;
    case DELIVERY_TLS_FAILED: end(c, &why); return DELIVERY_STEP_AGAIN;
    }
    UNREACHABLE();
}

static enum delivery_step step_connecting(struct delivery_smtp *c)
{
    const struct delivery_addresses *to = delivery_site_addresses(c->site);
    struct delivery_reason why;

    if (c->cut || c->leaving) {
        end(c, NULL);
        return DELIVERY_STEP_AGAIN;
    }
    if (c->net.error != 0 || c->expired) {
        delivery_smtp_explain_connect(c, &why);
        end(c, &why);
        return DELIVERY_STEP_AGAIN;
    }
    if (!net_conn_is_open(&c->net))
        return DELIVERY_STEP_WAIT;
    smtp_client_init(&c->smtp, to->lmtp ? &c->d->lmtp_options : &c->d->smtp_options, c->reply_text,
                     sizeof(c->reply_text));
    if (to->implicit)
        secure(c);
    else
        enter(c, DELIVERY_SMTP_TALKING);
    c->race_ms = now_of(c) + DELIVERY_RACE_GREETING_MS;
    set_timer(c);
    c->leaving = !delivery_site_connected(c->site, c);
    return DELIVERY_STEP_AGAIN;
}

/* The engine's next event; FAILED (or CLOSED) as well when what it waits for cannot come any more. */
static enum smtp_client_event next_event(struct delivery_smtp *c)
{
    struct slice in = net_conn_input(&c->net);
    size_t before = in.len;
    enum smtp_client_event event = smtp_client_next(&c->smtp, &in, net_conn_out(&c->net));
    bool gone = c->cut || c->net.eof || c->net.error != 0 || net_conn_out(&c->net)->overflow;

    net_conn_consume(&c->net, before - in.len);
    if (event == SMTP_CLIENT_NEED_INPUT && (gone || c->expired))
        return smtp_client_lost(&c->smtp);
    if (event == SMTP_CLIENT_READY && gone)
        return smtp_client_lost(&c->smtp);
    return event;
}

static enum delivery_step next_task(struct delivery_smtp *c)
{
    bool first = !c->greeted;
    struct delivery_task *t = NULL;

    if (first) {
        c->greeted = true;
        c->race_ms = WHEEL_NEVER;
        delivery_smtp_tls_keep(c);
        delivery_site_greeted(c->site, c);
    }
    if (c->messages >= delivery_site_route(c->site)->messages_per_connection)
        c->leaving = true;
    if (!delivery_smtp_tls_may_take(c))
        c->leaving = true;
    if (!c->leaving)
        t = delivery_site_take(c->site);
    if (t != NULL) {
        begin_task(c, t);
        if (first)
            delivery_site_step(c->site);
        return DELIVERY_STEP_AGAIN;
    }
    if (c->leaving || c->d->stopping) {
        quit(c, NULL);
        return DELIVERY_STEP_AGAIN;
    }
    enter(c, DELIVERY_SMTP_IDLE);
    net_conn_want_input(&c->net); /* to see it when the peer closes */
    delivery_site_idle(c->site, c);
    return DELIVERY_STEP_WAIT;
}

/* ---- what comes before the first task ----------------------------------------------------- */

static enum delivery_step logging_in(struct delivery_smtp *c, enum delivery_auth next,
                                     const struct delivery_reason *why)
{
    switch (next) {
    case DELIVERY_AUTH_BUSY:
        if (c->state != DELIVERY_SMTP_LOGIN)
            enter(c, DELIVERY_SMTP_LOGIN);
        return DELIVERY_STEP_AGAIN;
    case DELIVERY_AUTH_SAID:
    case DELIVERY_AUTH_IN:
        if (c->state != DELIVERY_SMTP_TALKING)
            enter(c, DELIVERY_SMTP_TALKING);
        return DELIVERY_STEP_AGAIN;
    case DELIVERY_AUTH_REFUSED:
    case DELIVERY_AUTH_LATER:
        if (c->smtp.stage == SMTP_STAGE_IDLE)
            quit(c, why);
        else
            end(c, why);
        return DELIVERY_STEP_AGAIN;
    }
    UNREACHABLE();
}

static enum delivery_step begin_login(struct delivery_smtp *c)
{
    struct delivery_reason why;

    /* The address has answered; others are not to be bothered with the same login meanwhile. */
    c->race_ms = now_of(c) + DELIVERY_RACE_GREETING_MS;
    set_timer(c);
    return logging_in(c, delivery_smtp_auth_begin(c, &why), &why);
}

/* If the peer has gone meanwhile, that shows as soon as something was said. */
static enum delivery_step step_login(struct delivery_smtp *c)
{
    struct delivery_reason why;

    if (delivery_smtp_auth_busy(c))
        return DELIVERY_STEP_WAIT;
    return logging_in(c, delivery_smtp_auth_continue(c, &why), &why);
}

/* Nothing is under way: what the plan asks for comes before the first task. */
static enum delivery_step session_ready(struct delivery_smtp *c)
{
    struct delivery_reason why;

    if (c->greeted)
        return next_task(c);
    switch (delivery_smtp_tls_next(c, &why)) {
    case DELIVERY_TLS_GO_ON: return delivery_smtp_auth_wanted(c) ? begin_login(c) : next_task(c);
    case DELIVERY_TLS_START:
        smtp_client_starttls(&c->smtp, net_conn_out(&c->net));
        return DELIVERY_STEP_AGAIN;
    case DELIVERY_TLS_GIVE_UP: quit(c, &why); return DELIVERY_STEP_AGAIN;
    }
    UNREACHABLE();
}

static enum delivery_step starttls_refused(struct delivery_smtp *c)
{
    struct delivery_reason why;

    if (!delivery_smtp_tls_refused(c, &why))
        end(c, &why);
    return DELIVERY_STEP_AGAIN;
}

/* The engine says more than the state allows only if we have misunderstood each other. */
static enum delivery_step misunderstood(struct delivery_smtp *c)
{
    struct delivery_reason why;

    delivery_reason_set(&why, 5, 0, "the session has lost its way");
    why.scope = DELIVERY_SCOPE_CONNECTION;
    delivery_smtp_task_fail(c, &why);
    end(c, &why);
    return DELIVERY_STEP_AGAIN;
}

static enum delivery_step go_on_with_login(struct delivery_smtp *c, enum smtp_client_event event)
{
    struct delivery_reason why;

    if (c->auth == NULL) /* nobody asked */
        return misunderstood(c);
    return logging_in(c, delivery_smtp_auth_event(c, event, &why), &why);
}

static enum delivery_step step_talking(struct delivery_smtp *c)
{
    if (!c->greeted && c->leaving && !c->cut) { /* nobody needs it any more */
        c->cut = true;
        end(c, NULL);
        return DELIVERY_STEP_AGAIN;
    }
    delivery_smtp_task_settle(c);
    if (c->task_over) { /* a send is still to complete, though the peer has answered */
        if (!c->expired && !c->cut && c->net.error == 0)
            return DELIVERY_STEP_WAIT;
        end(c, NULL);
        return DELIVERY_STEP_AGAIN;
    }
    switch (next_event(c)) {
    case SMTP_CLIENT_NEED_INPUT: net_conn_want_input(&c->net); return DELIVERY_STEP_WAIT;
    case SMTP_CLIENT_READY: return session_ready(c);
    case SMTP_CLIENT_RCPT_RESULT: delivery_smtp_task_record(c); return DELIVERY_STEP_AGAIN;
    case SMTP_CLIENT_SEND_BODY:
        delivery_smtp_body_begin(c);
        enter(c, DELIVERY_SMTP_BODY);
        return DELIVERY_STEP_AGAIN;
    case SMTP_CLIENT_DONE: c->task_over = true; return DELIVERY_STEP_AGAIN;
    case SMTP_CLIENT_FAILED: return session_failed(c);
    case SMTP_CLIENT_STARTTLS_READY: secure(c); return DELIVERY_STEP_AGAIN;
    case SMTP_CLIENT_STARTTLS_REFUSED: return starttls_refused(c);
    case SMTP_CLIENT_AUTH_CHALLENGE: return go_on_with_login(c, SMTP_CLIENT_AUTH_CHALLENGE);
    case SMTP_CLIENT_AUTH_OK: return go_on_with_login(c, SMTP_CLIENT_AUTH_OK);
    case SMTP_CLIENT_AUTH_FAILED: return go_on_with_login(c, SMTP_CLIENT_AUTH_FAILED);
    case SMTP_CLIENT_CLOSED: return misunderstood(c);
    }
    UNREACHABLE();
}

static enum delivery_step step_body(struct delivery_smtp *c)
{
    switch (next_event(c)) {
    case SMTP_CLIENT_NEED_INPUT: break;
    case SMTP_CLIENT_RCPT_RESULT: delivery_smtp_task_record(c); return DELIVERY_STEP_AGAIN;
    case SMTP_CLIENT_FAILED: return session_failed(c);
    case SMTP_CLIENT_READY:
    case SMTP_CLIENT_SEND_BODY:
    case SMTP_CLIENT_DONE:
    case SMTP_CLIENT_STARTTLS_READY:
    case SMTP_CLIENT_STARTTLS_REFUSED:
    case SMTP_CLIENT_AUTH_CHALLENGE:
    case SMTP_CLIENT_AUTH_OK:
    case SMTP_CLIENT_AUTH_FAILED:
    case SMTP_CLIENT_CLOSED: return misunderstood(c);
    }
    net_conn_want_input(&c->net);
    if (!delivery_smtp_body_send(c))
        return body_failed(c);
    if (!c->sent_last)
        return DELIVERY_STEP_WAIT;
    smtp_client_body_sent(&c->smtp);
    enter(c, DELIVERY_SMTP_TALKING);
    return DELIVERY_STEP_AGAIN;
}

static enum delivery_step step_idle(struct delivery_smtp *c)
{
    if ((c->expired || c->leaving) && !c->cut && !c->net.eof && c->net.error == 0) {
        quit(c, NULL);
        return DELIVERY_STEP_AGAIN;
    }
    switch (next_event(c)) {
    case SMTP_CLIENT_READY: net_conn_want_input(&c->net); return DELIVERY_STEP_WAIT;
    case SMTP_CLIENT_FAILED: return session_failed(c);
    case SMTP_CLIENT_NEED_INPUT:
    case SMTP_CLIENT_RCPT_RESULT:
    case SMTP_CLIENT_SEND_BODY:
    case SMTP_CLIENT_DONE:
    case SMTP_CLIENT_STARTTLS_READY:
    case SMTP_CLIENT_STARTTLS_REFUSED:
    case SMTP_CLIENT_AUTH_CHALLENGE:
    case SMTP_CLIENT_AUTH_OK:
    case SMTP_CLIENT_AUTH_FAILED:
    case SMTP_CLIENT_CLOSED: return misunderstood(c);
    }
    UNREACHABLE();
}

static enum delivery_step step_closing(struct delivery_smtp *c)
{
    delivery_smtp_task_settle(c);
    if (c->closed)
        return DELIVERY_STEP_WAIT;
    if (c->cut || c->expired) {
        net_conn_abort(&c->net);
        return DELIVERY_STEP_WAIT;
    }
    if (!c->quitting)
        return DELIVERY_STEP_WAIT;
    if (next_event(c) == SMTP_CLIENT_NEED_INPUT) {
        net_conn_flush(&c->net);
        net_conn_want_input(&c->net);
        return DELIVERY_STEP_WAIT;
    }
    c->quitting = false;
    net_conn_close(&c->net, false);
    return DELIVERY_STEP_WAIT;
}

static enum delivery_step step_once(struct delivery_smtp *c)
{
    switch ((enum delivery_smtp_state)c->state) {
    case DELIVERY_SMTP_CONNECTING: return step_connecting(c);
    case DELIVERY_SMTP_SECURING: return step_securing(c);
    case DELIVERY_SMTP_TALKING: return step_talking(c);
    case DELIVERY_SMTP_LOGIN: return step_login(c);
    case DELIVERY_SMTP_BODY: return step_body(c);
    case DELIVERY_SMTP_IDLE: return step_idle(c);
    case DELIVERY_SMTP_CLOSING: return step_closing(c);
    }
    UNREACHABLE();
}

static void smtp_free(struct delivery_smtp *c)
{
    struct delivery_site *site = c->site;
    struct delivery *d = c->d;

    wheel_cancel(d->o.wheel, &c->timer);
    delivery_smtp_tls_finish(c);
    delivery_smtp_auth_end(c);
    delivery_site_gone(site, c);
    pool_put(&d->connections, c);
    d->counters.connections_open--;
    delivery_site_step(site);
}

void delivery_smtp_step(struct delivery_smtp *c)
{
    if (c->stepping) {
        c->again = true;
        return;
    }
    c->stepping = true;
    do {
        c->again = false;
        while (step_once(c) == DELIVERY_STEP_AGAIN)
            continue;
    } while (c->again);
    if (c->state == DELIVERY_SMTP_TALKING || c->state == DELIVERY_SMTP_BODY) {
        net_conn_flush(&c->net);
        watch(c);
    }
    c->stepping = false;
    if (c->state == DELIVERY_SMTP_CLOSING && c->closed && c->task == NULL
        && !delivery_smtp_auth_busy(c))
        smtp_free(c);
}

void delivery_smtp_discard(struct delivery_smtp *c)
{
    net_conn_discard(&c->net);
    if (c->reading) {
        c->reader.op.kind = IO_NONE; /* whatever it was will never complete */
        spool_reader_finish(&c->reader);
    }
    delivery_smtp_auth_discard(c);
    delivery_smtp_task_discard(c);
    delivery_smtp_tls_finish(c);
    wheel_cancel(c->d->o.wheel, &c->timer);
    pool_put(&c->d->connections, c);
}

/* ---- from the site ------------------------------------------------------------------------ */

static void socket_address(struct slice path, struct io_addr *out)
{
    char text[sizeof("unix:") + CONF_SOCKET_PATH_MAX];
    bool ok;

    (void)snprintf(text, sizeof(text), "unix:%.*s", SLICE_ARG(path));
    ok = io_addr_parse(slice_str(text), out);
    ASSERT(ok); /* conf has seen to it */
}

struct delivery_smtp *delivery_smtp_create(struct delivery_site *s, struct slice host,
                                           const struct ip_addr *ip, uint16_t port,
                                           struct delivery_plan *plan)
{
    struct delivery *d = delivery_site_delivery(s);
    struct delivery_smtp *c = pool_get(&d->connections);

    c->d = d;
    c->site = s;
    c->attempting = true;
    c->host = host;
    c->ip = *ip;
    if (delivery_site_addresses(s)->on_socket)
        socket_address(host, &c->address);
    else
        io_addr_from_ip(ip, port, &c->address);
    delivery_smtp_tls_init(c, plan);
    list_init(&c->in_site);
    list_init(&c->in_idle);
    wheel_timer_init(&c->timer, timer_fired);
    d->counters.connections++;
    d->counters.connections_open++;
    return c;
}

void delivery_smtp_begin(struct delivery_smtp *c)
{
    if (!net_conn_connect(&c->net, c->d->o.io, &c->address, conn_ready, conn_closed))
        c->closed = true; /* there is no socket: net.error says why */
    c->race_ms = now_of(c) + delivery_site_patience_ms(c->site);
    enter(c, DELIVERY_SMTP_CONNECTING);
    if (c->closed)
        delivery_smtp_step(c);
}

void delivery_smtp_give(struct delivery_smtp *c, struct delivery_task *t)
{
    ASSERT(c->state == DELIVERY_SMTP_IDLE && c->task == NULL);
    begin_task(c, t);
    delivery_smtp_step(c);
}

void delivery_smtp_leave(struct delivery_smtp *c)
{
    c->leaving = true;
    delivery_smtp_step(c);
}

void delivery_smtp_cut(struct delivery_smtp *c)
{
    c->cut = true;
    delivery_smtp_step(c);
}
