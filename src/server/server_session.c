/*
 * server_session: a connection that speaks SMTP to us. Completions record facts; session_step() looks at
 * the state and does what can be done. It may be called at any time.
 *
 *          implicit
 *   begin ----------> TLS          a back end looks; others are asked about MAIL, RCPT
 *     |     STARTTLS  ^ | secured  +-----> AUTH, CHECK
 *     |    +----------+ |          |        | challenge, 235, 535; 250, 4yz, 5yz
 *     |    |            v          |        v
 *     |    |  input                |   END_DATA           250 or 4yz/5yz
 *     +-> COMMAND <---> ROOM -----------------> COMMIT ----------------> COMMAND
 *            |  QUIT, 421, the peer is gone, no handshake
 *            +-----------------------------> CLOSING -> freed
 */
#include <stdio.h>

#include <errno.h>

#include "base_log.h"
#include "base_mem.h"
#include "server_priv.h"

enum {
    COMMANDS_A_PASS = 64,   /* then it is the others' turn */
    UNSENT_MAX = 16 * 1024, /* a client that does not read its replies gets no new ones */
    LINGER_MS = 5000,       /* for the peer to see our last reply */
    HANDSHAKE_MS = 60 * 1000,
    /* A body may take its time, but not for ever: after this long it must have come at this rate on
     * average. Half of what an old modem does. */
    PACE_GRACE_MS = 10 * 60 * 1000,
    PACE_BYTES_A_SECOND = 128,
};

static const struct smtp_reply reply_timeout =
    SMTP_REPLY_INIT(421, 4, 4, 2, "Timeout: you were silent for too long");
static const struct smtp_reply reply_stopping =
    SMTP_REPLY_INIT(421, 4, 3, 2, "The server is shutting down, try again later");

static void session_free(struct session *s)
{
    struct server *server = s->server;

    wheel_cancel(server->o.wheel, &s->timer);
    list_remove(&s->node);
    list_remove(&s->runnable);
    mem_free(s->helo);
    mem_free(session_user_of(s));
    server_terms_unref(s->terms);
    pool_put(&server->session_pool, s);
}

static void leave_counts(struct session *s)
{
    struct server_shared *shared = s->server->o.shared;

    if (s->turned_away)
        s->server->turned_away--;
    if (!s->counted)
        return;
    s->counted = false;
    s->server->counters.sessions--;
    atomic_fetch_sub_explicit(&shared->connections, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&shared->by_listener[s->listener], 1, memory_order_relaxed);
    server_clients_leave(shared->clients, s->client_slot);
    session_user_leave(s);
}

static void log_end_of_session(const struct session *s)
{
    struct log_record r;

    log_begin(&r, LOG_DEBUG, "session-end");
    log_id(&r, "session", s->id);
    log_ip(&r, "client", &s->client.ip);
    log_str(&r, "reason", s->reason != NULL ? s->reason : "closed");
    session_log_secure(s, &r);
    log_u64(&r, "messages", s->smtp.messages);
    log_u64(&r, "errors", s->smtp.errors);
    log_u64(&r, "in", s->conn.bytes_in);
    log_u64(&r, "out", s->conn.bytes_out);
    log_end(&r);
}

static void conn_closed(struct net_conn *c)
{
    struct session *s = container_of(c, struct session, conn);

    log_end_of_session(s);
    leave_counts(s);
    s->closed = true;
    transaction_end(s);
    if (s->tx == NULL) /* else its commit is under way, and ends here too */
        session_free(s);
}

/* Every wait has an end. The timer is not moved with each command: when it fires early, it is set to
 * what the deadline has become. */
static void expect_by(struct session *s, uint64_t deadline_ms)
{
    s->deadline_ms = deadline_ms;
    if (!wheel_timer_is_set(&s->timer) || s->timer.due_ms > s->deadline_ms)
        wheel_set(s->server->o.wheel, &s->timer, s->deadline_ms);
}

static void session_close(struct session *s, const char *reason, bool linger)
{
    if (s->state == SESSION_CLOSING)
        return;
    if (s->reason == NULL)
        s->reason = reason;
    s->state = SESSION_CLOSING;
    session_login_end(s);
    transaction_end(s);
    net_conn_close(&s->conn, linger);
    expect_by(s, io_now_ms(s->server->o.io) + LINGER_MS);
}

static void session_expired(struct wheel_timer *timer)
{
    struct session *s = container_of(timer, struct session, timer);

    if (io_now_ms(s->server->o.io) < s->deadline_ms) {
        expect_by(s, s->deadline_ms);
        return;
    }
    switch ((enum session_state)s->state) {
    case SESSION_TLS:
        session_tls_failed(s, "timeout");
        session_close(s, "timeout in the handshake", false);
        return;
    case SESSION_COMMAND:
        smtp_server_close(&s->smtp, &reply_timeout, net_conn_out(&s->conn));
        session_close(s, "timeout", true);
        return;
    case SESSION_AUTH: /* who is asked has his own patience */
    case SESSION_CHECK:
    case SESSION_ROOM:
    case SESSION_COMMIT: return; /* we are the slow one; the next step sets it again */
    case SESSION_CLOSING: net_conn_abort(&s->conn); return;
    }
}

/* Until when the client has to have done something. A deadline moves when a command is complete or a
 * piece of a body has come, not with each octet; so a trickle ends where silence would. */
static uint64_t patience_until_ms(const struct session *s)
{
    const struct conf_limits *limits = &s->client.conf->limits;
    uint64_t grace_ms, silence_ms, pace_ms;

    if (s->state == SESSION_TLS)
        return s->progress_ms
               + (limits->timeout.greeting < HANDSHAKE_MS ? limits->timeout.greeting
                                                          : HANDSHAKE_MS);
    if (!s->smtp.helo_given)
        return s->progress_ms + limits->timeout.greeting;
    if (!smtp_server_in_data(&s->smtp))
        return s->progress_ms + limits->timeout.command;
    grace_ms = limits->timeout.data > PACE_GRACE_MS ? limits->timeout.data : PACE_GRACE_MS;
    silence_ms = s->progress_ms + limits->timeout.data;
    pace_ms = s->data_ms + grace_ms + s->smtp.data_size * 1000 / PACE_BYTES_A_SECOND;
    return silence_ms < pace_ms ? silence_ms : pace_ms;
}

/* The engine has taken a command, or more of a body. */
static void note_progress(struct session *s, bool began_data)
{
    /* The greeting's time is for all that comes before HELO, whatever it is. */
    if (s->smtp.helo_given)
        s->progress_ms = io_now_ms(s->server->o.io);
    if (began_data)
        s->data_ms = s->progress_ms;
}

void session_waited(struct session *s)
{
    uint64_t now_ms = io_now_ms(s->server->o.io);

    s->data_ms += now_ms - s->progress_ms;
    s->progress_ms = now_ms;
}

static void keep_helo(struct session *s, struct slice name)
{
    mem_free(s->helo);
    s->helo = mem_alloc(name.len + 1);
    memcpy(s->helo, name.data, name.len);
    s->helo[name.len] = '\0';
}

static void check_helo(struct session *s)
{
    transaction_end(s);
    if (s->terms->listener->role != CONF_ROLE_LOCAL)
        keep_helo(s, s->smtp.helo);
    session_offer_mechanisms(s);
    smtp_server_answer(&s->smtp, NULL, net_conn_out(&s->conn));
}

/* `rest` is input behind what the intent is about. */
static enum step session_intent(struct session *s, enum smtp_intent intent, struct slice rest)
{
    switch (intent) {
    case SMTP_NEED_INPUT:
        if (s->conn.eof) {
            session_close(s, "closed by the client", false);
            return STEP_AGAIN;
        }
        net_conn_want_input(&s->conn);
        return STEP_WAIT;
    case SMTP_REPLIED: return STEP_AGAIN;
    case SMTP_CHECK_HELO: check_helo(s); return STEP_AGAIN;
    case SMTP_CHECK_MAIL: transaction_begin(s); return STEP_AGAIN;
    case SMTP_CHECK_RCPT: transaction_add_recipient(s); return STEP_AGAIN;
    case SMTP_BEGIN_DATA: transaction_begin_data(s); return STEP_AGAIN;
    case SMTP_BODY: transaction_body(s); return STEP_AGAIN;
    case SMTP_END_DATA: transaction_commit(s); return STEP_AGAIN;
    case SMTP_RESET:
        if (smtp_server_in_data(&s->smtp))
            transaction_refused(s, s->smtp.data_refusal);
        transaction_end(s);
        return STEP_AGAIN;
    case SMTP_STARTTLS:
        if (!session_accept_starttls(s, rest))
            session_close(s, "plaintext after STARTTLS", true);
        return STEP_AGAIN;
    case SMTP_AUTH: session_login_begin(s); return STEP_AGAIN;
    case SMTP_AUTH_RESPONSE: session_login_respond(s); return STEP_AGAIN;
    case SMTP_AUTH_CANCEL: session_login_cancel(s); return STEP_AGAIN;
    case SMTP_QUIT: session_close(s, "quit", false); return STEP_AGAIN;
    case SMTP_CLOSE: session_close(s, "too many errors or messages", true); return STEP_AGAIN;
    }
    UNREACHABLE();
}

/* The connection, or what TLS makes of it, is of no more use. */
static enum step session_lost(struct session *s)
{
    bool tls = s->conn.tls_state == NET_CONN_TLS_FAILED;

    if (tls)
        session_log_tls_failed(s, net_conn_tls_error(&s->conn));
    session_close(s, tls ? "TLS failed" : "connection lost", tls);
    return STEP_AGAIN;
}

static enum step session_command(struct session *s)
{
    struct slice all = net_conn_input(&s->conn), in = all;
    size_t before = in.len;
    uint64_t body_before;
    enum smtp_intent intent;
    enum step step;

    if (s->conn.error != 0)
        return session_lost(s);
    if (s->server->stopping && s->tx == NULL && !smtp_server_in_data(&s->smtp)) {
        smtp_server_close(&s->smtp, &reply_stopping, net_conn_out(&s->conn));
        session_close(s, "shutdown", true);
        return STEP_AGAIN;
    }
    if (net_conn_unsent(&s->conn) > UNSENT_MAX)
        return STEP_WAIT; /* until the send completes */
    body_before = s->smtp.data_size;
    intent = smtp_server_next(&s->smtp, &in, net_conn_out(&s->conn));
    /* The intent's slices lie in the input: it is consumed after they were used. */
    step = session_intent(s, intent, in);
    if (intent != SMTP_NEED_INPUT || s->smtp.data_size > body_before)
        note_progress(s, intent == SMTP_BEGIN_DATA);
    if (intent == SMTP_AUTH || intent == SMTP_AUTH_RESPONSE)
        explicit_bzero((void *)(uintptr_t)all.data, before - in.len); /* a password, mostly */
    if (s->state != SESSION_CLOSING)
        net_conn_consume(&s->conn, before - in.len);
    return step;
}

static enum step session_room(struct session *s)
{
    if (s->conn.error != 0)
        return session_lost(s);
    if (!transaction_flush(s))
        return STEP_WAIT;
    s->state = SESSION_COMMAND;
    session_waited(s);
    if (s->tx != NULL && s->tx->ended)
        transaction_commit(s);
    return STEP_AGAIN;
}

static enum step session_tls(struct session *s)
{
    switch ((enum net_conn_tls)s->conn.tls_state) {
    case NET_CONN_TLS_NONE: /* only now is the STARTTLS line consumed */
        session_start_tls(s);
        return STEP_AGAIN;
    case NET_CONN_TLS_HANDSHAKE:
        if (s->conn.error == 0 && !s->server->stopping)
            return STEP_WAIT;
        session_tls_failed(s, s->server->stopping ? "shutdown" : "connection lost");
        session_close(s, "no handshake", false);
        return STEP_AGAIN;
    case NET_CONN_TLS_ACTIVE:
        s->state = SESSION_COMMAND;
        s->progress_ms = io_now_ms(s->server->o.io);
        session_secured(s);
        return STEP_AGAIN;
    case NET_CONN_TLS_FAILED:
        session_tls_failed(s, net_conn_tls_error(&s->conn));
        session_close(s, "no handshake", true);
        return STEP_AGAIN;
    }
    UNREACHABLE();
}

static enum step session_auth(struct session *s)
{
    if (s->conn.error != 0)
        return session_lost(s);
    session_login_answer(s);
    if (s->state == SESSION_AUTH)
        return STEP_WAIT;
    session_waited(s);
    return STEP_AGAIN;
}

static enum step session_check(struct session *s)
{
    if (s->conn.error != 0)
        return session_lost(s);
    if (!transaction_is_checked(s))
        return STEP_WAIT;
    s->state = SESSION_COMMAND;
    session_waited(s);
    transaction_checked(s);
    return STEP_AGAIN;
}

static enum step session_state_step(struct session *s)
{
    switch ((enum session_state)s->state) {
    case SESSION_TLS: return session_tls(s);
    case SESSION_COMMAND: return session_command(s);
    case SESSION_AUTH: return session_auth(s);
    case SESSION_CHECK: return session_check(s);
    case SESSION_ROOM: return session_room(s);
    case SESSION_COMMIT:
    case SESSION_CLOSING: return STEP_WAIT;
    }
    UNREACHABLE();
}

void session_step(struct session *s)
{
    int left = COMMANDS_A_PASS;

    if (s->closed) {
        if (s->tx == NULL)
            session_free(s);
        return;
    }
    s->server->worked_hard = false;
    while (left > 0 && session_state_step(s) == STEP_AGAIN)
        left = s->server->worked_hard ? 0 : left - 1;
    if (left == 0 && !list_linked(&s->runnable))
        list_push_back(&s->server->runnable, &s->runnable);
    if (s->state != SESSION_CLOSING) {
        net_conn_flush(&s->conn);
        if (s->state == SESSION_COMMAND || s->state == SESSION_TLS)
            expect_by(s, patience_until_ms(s));
    }
}

static void conn_ready(struct net_conn *c)
{
    session_step(container_of(c, struct session, conn));
}

/* As whom it is counted: at the submit socket by user, elsewhere by address. What stands for a user is an address
 * that no client can have (of the multicast ones). */
static struct ip_addr counted_as(const struct session *s)
{
    uint32_t uid = s->local_uid;

    if (s->terms->listener->role != CONF_ROLE_LOCAL)
        return s->client.ip;
    return (struct ip_addr){{0xff, 0, 'u', 'd', (uint8_t)(uid >> 24), (uint8_t)(uid >> 16),
                             (uint8_t)(uid >> 8), (uint8_t)uid}};
}

/* Whether one more connection is within the limits; counts it if so. */
static const struct smtp_reply *enter_counts(struct session *s)
{
    static const struct smtp_reply too_many =
        SMTP_REPLY_INIT(421, 4, 3, 2, "Too many connections, try again later");
    static const struct smtp_reply too_many_of_yours =
        SMTP_REPLY_INIT(421, 4, 7, 0, "Too many connections from your address");
    static const struct smtp_reply too_many_of_user =
        SMTP_REPLY_INIT(421, 4, 7, 0, "Too many connections of your user id");
    struct server_shared *shared = s->server->o.shared;
    const struct conf_listener *listener = s->terms->listener;
    _Atomic uint64_t *at_listener = &shared->by_listener[s->listener];
    const struct ip_addr client = counted_as(s);
    const struct smtp_reply *refusal = NULL;

    if (atomic_fetch_add_explicit(&shared->connections, 1, memory_order_relaxed)
        >= s->client.conf->limits.connections)
        refusal = &too_many;
    if (atomic_fetch_add_explicit(at_listener, 1, memory_order_relaxed) >= listener->connections)
        refusal = &too_many;
    if (refusal == NULL
        && !server_clients_enter(shared->clients, &client, listener->connections_per_client,
                                 &s->client_slot))
        refusal = listener->role == CONF_ROLE_LOCAL ? &too_many_of_user : &too_many_of_yours;
    if (refusal != NULL) {
        atomic_fetch_sub_explicit(&shared->connections, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(at_listener, 1, memory_order_relaxed);
        return refusal;
    }
    s->counted = true;
    s->server->counters.sessions++;
    return NULL;
}

static void turn_away(struct session *s, const struct smtp_reply *reply, const char *reason)
{
    struct log_record r;

    s->turned_away = true;
    s->server->turned_away++;
    s->server->counters.sessions_refused++;
    log_begin(&r, LOG_INFO, "session-refused");
    log_id(&r, "session", s->id);
    log_ip(&r, "client", &s->client.ip);
    if (s->terms->listener->role == CONF_ROLE_LOCAL)
        log_str(&r, "helo", s->helo);
    log_slice(&r, "listener", s->terms->listener->name);
    log_slice(&r, "reply", reply->text);
    log_end(&r);
    /* Where TLS comes first, words in the clear are none, and a handshake is too much for a no. */
    if (s->terms->listener->tls != CONF_LISTENER_TLS_IMPLICIT)
        smtp_server_close(&s->smtp, reply, net_conn_out(&s->conn));
    session_close(s, reason, true);
}

/* At the submit socket the kernel says who it is, and that stands in place of what HELO says: in the trace
 * field, in the log and in the message's facts. */
static bool learn_local_client(struct session *s, int fd)
{
    char name[sizeof("uid-4294967295")];
    int len;

    if (io_peer_uid(s->server->o.io, fd, &s->local_uid) < 0)
        return false;
    len = snprintf(name, sizeof(name), "uid-%u", (unsigned)s->local_uid);
    keep_helo(s, slice_of(name, (size_t)len));
    return ip_parse(SLICE_LITERAL("127.0.0.1"), &s->client.ip);
}

static bool learn_client(struct session *s, int fd)
{
    struct io_addr peer;
    uint16_t port;

    if (s->terms->listener->role == CONF_ROLE_LOCAL)
        return learn_local_client(s, fd);
    return io_addresses(s->server->o.io, fd, NULL, &peer) >= 0
           && io_addr_to_ip(&peer, &s->client.ip, &port);
}

void session_begin(struct server_listener *listener, int fd)
{
    struct server *server = listener->server;
    struct session *s = pool_get(&server->session_pool);
    const struct smtp_reply *refusal;
    struct smtp_reply policy_refusal;

    s->server = server;
    s->listener = (uint16_t)listener->index;
    s->terms = server_terms_ref(listener->terms);
    s->id = server->next_session++;
    s->state = SESSION_COMMAND;
    s->client = (struct policy_client){.conf = s->terms->conf, .listener = s->terms->listener};
    list_init(&s->node);
    list_init(&s->runnable);
    list_push_back(&server->sessions, &s->node);
    wheel_timer_init(&s->timer, session_expired);
    server->counters.sessions_total++;
    net_conn_init(&s->conn, server->o.io, fd, conn_ready, conn_closed);
    smtp_server_init(&s->smtp, &s->terms->smtp);
    s->progress_ms = io_now_ms(server->o.io);
    if (!learn_client(s, fd)) {
        s->reason = "gone before it was accepted";
        s->state = SESSION_CLOSING;
        net_conn_abort(&s->conn);
        return;
    }
    refusal = enter_counts(s);
    if (refusal != NULL) {
        turn_away(s, refusal, "too many connections");
        return;
    }
    if (!policy_check_connect(&s->client, &policy_refusal)) {
        turn_away(s, &policy_refusal, "policy");
        return;
    }
    if (s->terms->listener->tls == CONF_LISTENER_TLS_IMPLICIT)
        s->state = SESSION_TLS; /* and greets when that is done */
    else
        smtp_server_greet(&s->smtp, net_conn_out(&s->conn));
    session_step(s);
}

void session_stop(struct session *s)
{
    session_step(s); /* it sees that the server stops */
}

void session_cut_off(struct session *s)
{
    if (s->closed)
        return;
    switch ((enum session_state)s->state) {
    case SESSION_TLS: session_close(s, "cut off at shutdown", false); return;
    case SESSION_COMMAND:
    case SESSION_AUTH:
    case SESSION_CHECK:
    case SESSION_ROOM:
        smtp_server_close(&s->smtp, &reply_stopping, net_conn_out(&s->conn));
        session_close(s, "cut off at shutdown", true);
        return;
    case SESSION_COMMIT: return; /* the answer is near, and after it the session ends */
    case SESSION_CLOSING: net_conn_abort(&s->conn); return;
    }
}

void session_discard(struct session *s)
{
    session_login_end(s);
    transaction_discard(s);
    net_conn_discard(&s->conn);
    leave_counts(s);
    session_free(s);
}
