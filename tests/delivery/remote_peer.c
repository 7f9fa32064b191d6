#include "remote_peer.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_codec.h"
#include "base_mem.h"
#include "sasl_server.h"
#include "smtp_dot.h"
#include "tls.h"

static void session_greet(struct wheel_timer *timer);

struct peer_session {
    struct net_conn net;
    struct peer *peer;
    struct list node;
    struct wheel_timer greet;
    bool scripted; /* the script holds for this one */
    bool in_body;
    bool in_auth; /* a response is due */
    bool logged_in;
    struct sasl_server sasl;
    bool silent; /* says and does nothing more */
    bool asked;  /* STARTTLS */
    bool secured;
    unsigned messages;
    bool unsent;         /* MAIL was refused */
    unsigned taken;      /* recipients of this transaction */
    char outcomes[8][4]; /* theirs, in LMTP; empty: the usual */
    struct smtp_dot dot;
};

static const char *const usual[PEER_STAGE_COUNT] = {
    [PEER_GREETING] = "220 peer.example ready",
    [PEER_EHLO] = "250-peer.example\r\n250-PIPELINING\r\n250-SIZE 50000000\r\n250 8BITMIME",
    [PEER_HELO] = "250 peer.example",
    [PEER_AUTH] = "235 2.7.0 In",
    [PEER_STARTTLS] = "220 2.0.0 Go ahead",
    [PEER_TLS_EHLO] = "250-peer.example\r\n250-PIPELINING\r\n250 8BITMIME",
    [PEER_MAIL] = "250 2.1.0 Sender ok",
    [PEER_RCPT] = "250 2.1.5 Recipient ok",
    [PEER_DATA] = "354 Go on",
    [PEER_DOT] = "250 2.0.0 Taken",
    [PEER_RSET] = "250 2.0.0 Forgotten",
    [PEER_QUIT] = "221 2.0.0 Bye",
};

static const char *reply_at(const struct peer_session *s, enum peer_stage stage)
{
    const struct peer_script *script = &s->peer->script;
    const char *text = script->at[stage];

    if (stage == PEER_EHLO && text == NULL && script->tls != NULL && !script->implicit)
        return "250-peer.example\r\n250-STARTTLS\r\n250-PIPELINING\r\n250 8BITMIME";
    if (stage == PEER_TLS_EHLO && text == NULL && script->require_tls)
        return "250-peer.example\r\n250-REQUIRETLS\r\n250 8BITMIME";
    if (stage == PEER_EHLO && text == NULL && script->dsn)
        return "250-peer.example\r\n250-PIPELINING\r\n250-DSN\r\n250 8BITMIME";
    if (stage == PEER_EHLO && text == NULL && script->no_pipelining)
        return "250-peer.example\r\n250 8BITMIME";
    if (stage == PEER_MAIL && text == NULL && script->mechanisms != NULL && !s->logged_in)
        return "530 5.7.0 Authentication required";
    if (stage == PEER_DATA && text == NULL && s->taken == 0)
        return "554 5.5.1 No recipients";
    if (text == NULL || !s->scripted
        || (stage >= PEER_MAIL && stage < PEER_QUIT && s->messages < script->good_messages))
        return usual[stage];
    return text;
}

static void say(struct peer_session *s, const char *text)
{
    if (strcmp(text, PEER_STALL) == 0) {
        s->silent = true;
    } else if (strcmp(text, PEER_DROP) == 0) {
        s->silent = true;
        net_conn_close(&s->net, false);
    } else if (strcmp(text, PEER_RESET) == 0) {
        s->silent = true;
        net_conn_abort(&s->net);
    } else {
        (void)buf_append_str(net_conn_out(&s->net), text);
        (void)buf_append_str(net_conn_out(&s->net), "\r\n");
        if (strncmp(text, "421", 3) == 0 || strncmp(text, "221", 3) == 0) {
            s->silent = true;
            net_conn_close(&s->net, true);
        }
    }
}

static void say_ehlo(struct peer_session *s)
{
    char text[256];

    bool offers_tls = s->peer->script.tls != NULL && !s->peer->script.implicit && !s->secured;

    if (s->peer->script.mechanisms == NULL || s->peer->script.at[PEER_EHLO] != NULL || offers_tls) {
        say(s, reply_at(s, s->secured ? PEER_TLS_EHLO : PEER_EHLO));
        return;
    }
    (void)snprintf(text, sizeof(text),
                   "250-peer.example\r\n250-AUTH %s\r\n250-PIPELINING\r\n250 8BITMIME",
                   s->peer->script.mechanisms);
    say(s, text);
}

/* ---- logins ------------------------------------------------------------------------------- */

static bool is(struct slice s, const char *text)
{
    return text != NULL && slice_equal(s, slice_str(text));
}

static void say_challenge(struct peer_session *s)
{
    struct buf *out = net_conn_out(&s->net);

    (void)buf_append_str(out, "334 ");
    (void)base64_encode(slice_of(s->sasl.out, s->sasl.out_len), out);
    (void)buf_append_str(out, "\r\n");
    s->in_auth = true;
}

static enum sasl_step verify(struct peer_session *s)
{
    const struct peer_script *script = &s->peer->script;
    struct sasl_verifier v;

    sasl_verifier_make(sasl_mechanisms[s->sasl.mechanism].hash,
                       slice_str(script->password != NULL ? script->password : "?"),
                       SLICE_LITERAL("0123456789ab"), SASL_SCRAM_ITERATIONS_MIN, &v);
    return sasl_server_verifier(&s->sasl, &v, is(s->sasl.user, script->user));
}

static void auth_step(struct peer_session *s, enum sasl_step step)
{
    const struct peer_script *script = &s->peer->script;

    s->in_auth = false;
    switch (step) {
    case SASL_CHALLENGE: say_challenge(s); return;
    case SASL_CHECK_PASSWORD:
        step = sasl_server_verdict(&s->sasl, is(s->sasl.user, script->user)
                                                 && is(s->sasl.password, script->password));
        auth_step(s, step);
        return;
    case SASL_CHECK_TOKEN:
        step = sasl_server_verdict(&s->sasl, is(s->sasl.user, script->user)
                                                 && is(s->sasl.token, script->token));
        auth_step(s, step);
        return;
    case SASL_NEED_VERIFIER: auth_step(s, verify(s)); return;
    case SASL_OK:
        s->logged_in = true;
        s->peer->logins++;
        say(s, reply_at(s, PEER_AUTH));
        return;
    case SASL_REJECTED: say(s, "535 5.7.8 Who are you?"); return;
    case SASL_CHECK_CERTIFICATE:
    case SASL_MALFORMED: say(s, "501 5.5.2 What?"); return;
    }
    ck_abort();
}

static void auth_respond(struct peer_session *s, struct slice text)
{
    uint8_t bytes[1024];
    size_t len = 0;

    if (slice_equal(text, SLICE_LITERAL("*"))) {
        s->in_auth = false;
        say(s, "501 5.7.0 Cancelled");
        return;
    }
    if (s->peer->script.at[PEER_AUTH] != NULL) {
        say(s, reply_at(s, PEER_AUTH));
        return;
    }
    ck_assert_uint_le(text.len, sizeof(bytes));
    ck_assert(base64_decode(text, bytes, &len));
    auth_step(s, sasl_server_respond(&s->sasl, slice_of(bytes, len)));
}

static void take_auth(struct peer_session *s, struct slice line)
{
    static const struct sasl_server_options options = {.nonce =
                                                           SLICE_INIT("servernonceservernonce")};
    struct peer *p = s->peer;
    enum sasl_mechanism mechanism;
    enum sasl_step step;
    struct slice rest = line;
    ptrdiff_t blank;

    p->auths++;
    (void)snprintf(p->auth_line, sizeof(p->auth_line), "%.*s", SLICE_ARG(line));
    if (p->script.at[PEER_AUTH] != NULL) {
        s->in_auth = strncmp(reply_at(s, PEER_AUTH), "334", 3) == 0;
        say(s, reply_at(s, PEER_AUTH));
        return;
    }
    slice_advance(&rest, 5);
    blank = slice_find(rest, ' ');
    ck_assert(sasl_mechanism_find(blank < 0 ? rest : slice_head(rest, (size_t)blank), &mechanism));
    step = sasl_server_begin(&s->sasl, mechanism, &options);
    if (blank < 0) {
        auth_step(s, step);
        return;
    }
    slice_advance(&rest, (size_t)blank + 1);
    auth_respond(s, rest);
}

static void take_rcpt(struct peer_session *s, struct slice line)
{
    char code[64];
    bool later = s->peer->script.lmtp && line.len > 16 && memcmp(line.data + 9, "dot", 3) == 0;

    (void)snprintf(s->peer->rcpt_line, sizeof(s->peer->rcpt_line), "%.*s", SLICE_ARG(line));
    if (line.len > 12 && line.data[9] >= '4' && line.data[9] <= '5') {
        (void)snprintf(code, sizeof(code), "%.3s no", (const char *)line.data + 9);
        say(s, code);
        return;
    }
    if (s->unsent) {
        say(s, "503 5.5.1 MAIL first");
        return;
    }
    if (s->peer->script.rcpts_max > 0 && s->taken == s->peer->script.rcpts_max) {
        say(s, s->peer->script.rcpts_over != NULL ? s->peer->script.rcpts_over
                                                  : "452 4.5.3 Too many recipients");
        return;
    }
    if (reply_at(s, PEER_RCPT)[0] == '2') {
        ck_assert_uint_lt(s->taken, ARRAY_LEN(s->outcomes));
        (void)snprintf(s->outcomes[s->taken++], 4, "%.3s",
                       later ? (const char *)line.data + 12 : "");
    }
    say(s, reply_at(s, PEER_RCPT));
}

static void start_tls(struct peer_session *s)
{
    net_conn_flush(&s->net);
    net_conn_start_tls(&s->net, tls_accept(s->peer->script.tls), NULL);
}

static void take_starttls(struct peer_session *s)
{
    const char *reply = reply_at(s, PEER_STARTTLS);

    s->peer->starttls++;
    s->asked = true;
    say(s, reply);
    if (strncmp(reply, "220", 3) != 0)
        return;
    switch (s->peer->script.trick) {
    case PEER_HONEST:
    case PEER_CUTS_DOT: start_tls(s); return;
    case PEER_INJECTS: say(s, "250-peer.example\r\n250 AUTH PLAIN"); return;
    case PEER_GARBLES:
    case PEER_HANGS_UP:
    case PEER_GOES_DUMB: return;
    }
}

/* What the client says behind the 220 is no command. */
static bool play_trick(struct peer_session *s)
{
    enum peer_trick trick = s->peer->script.trick;

    if (s->secured || trick == PEER_HONEST || trick == PEER_CUTS_DOT
        || net_conn_input(&s->net).len == 0)
        return false;
    if (trick == PEER_GARBLES)
        say(s, "HTTP/1.1 400 Bad Request");
    s->silent = true;
    if (trick == PEER_HANGS_UP)
        net_conn_close(&s->net, false);
    return true;
}

static void take_mail(struct peer_session *s, struct slice line)
{
    s->peer->mails++;
    (void)snprintf(s->peer->mail_line, sizeof(s->peer->mail_line), "%.*s", SLICE_ARG(line));
    s->peer->mails_tls += s->secured;
    s->peer->mails_require += memmem(line.data, line.len, " REQUIRETLS", 11) != NULL;
    s->taken = 0;
    s->unsent =
        s->peer->script.no_sender != NULL
        && memmem(line.data, line.len, s->peer->script.no_sender, strlen(s->peer->script.no_sender))
               != NULL;
    if (s->unsent) {
        say(s, "450 4.7.1 Not from you, now");
        return;
    }
    say(s, reply_at(s, PEER_MAIL));
}

static void take_line(struct peer_session *s, struct slice line)
{
    if (s->in_auth) {
        auth_respond(s, line);
    } else if (slice_starts_nocase(line, slice_str(s->peer->script.lmtp ? "LHLO " : "EHLO "))) {
        say_ehlo(s);
    } else if (slice_starts_nocase(line, SLICE_LITERAL("AUTH "))) {
        take_auth(s, line);
    } else if (slice_equal(line, SLICE_LITERAL("STARTTLS"))) {
        take_starttls(s);
    } else if (slice_starts_nocase(line, SLICE_LITERAL("HELO "))) {
        say(s, reply_at(s, PEER_HELO));
    } else if (slice_starts_nocase(line, SLICE_LITERAL("MAIL FROM:<"))) {
        take_mail(s, line);
    } else if (slice_starts_nocase(line, SLICE_LITERAL("RCPT TO:<"))) {
        take_rcpt(s, line);
    } else if (slice_equal(line, SLICE_LITERAL("DATA"))) {
        const char *reply = reply_at(s, PEER_DATA);
        s->in_body = strncmp(reply, "354", 3) == 0;
        smtp_dot_init(&s->dot, false);
        buf_clear(&s->peer->body);
        say(s, reply);
        if (s->in_body && s->peer->script.deaf && s->peer->script.early == NULL)
            s->silent = true;
    } else if (slice_equal(line, SLICE_LITERAL("RSET"))) {
        s->peer->resets++;
        say(s, reply_at(s, PEER_RSET));
    } else if (slice_equal(line, SLICE_LITERAL("QUIT"))) {
        s->peer->quits++;
        say(s, reply_at(s, PEER_QUIT));
    } else {
        ck_assert_msg(s->peer->script.expects_nonsense, "unknown command: %.*s", SLICE_ARG(line));
        say(s, "500 5.5.1 What");
    }
}

/* In LMTP each recipient has his own (RFC 2033 4.2). */
static void say_outcomes(struct peer_session *s)
{
    const char *usual_one =
        s->peer->script.trick == PEER_CUTS_DOT ? PEER_RESET : reply_at(s, PEER_DOT);
    unsigned count = s->peer->script.lmtp ? s->taken : 1;

    for (unsigned i = 0; i < count && !s->silent; i++) {
        char text[64];

        (void)snprintf(text, sizeof(text), "%s outcome %u", s->outcomes[i], i);
        say(s, s->peer->script.lmtp && s->outcomes[i][0] != '\0' ? text : usual_one);
    }
    if (s->peer->script.one_message && !s->silent) {
        s->silent = true;
        net_conn_close(&s->net, true);
    }
}

/* False: more is needed. */
static bool take_body(struct peer_session *s)
{
    struct slice in = net_conn_input(&s->net), body;
    size_t before = in.len;
    enum smtp_dot_result result;

    if (in.len == 0)
        return false;
    if (s->peer->script.early != NULL && s->scripted) {
        say(s, s->peer->script.early);
        s->silent = true;
        return false;
    }
    result = smtp_dot_decode(&s->dot, &in, &body);
    (void)buf_append_slice(&s->peer->body, body);
    net_conn_consume(&s->net, before - in.len);
    if (result == SMTP_DOT_END) {
        s->in_body = false;
        s->peer->dots++;
        say_outcomes(s);
        s->messages++;
        if (s->messages > s->peer->transactions_peak)
            s->peer->transactions_peak = s->messages;
    }
    return true;
}

static bool take_command(struct peer_session *s)
{
    struct slice in = net_conn_input(&s->net);
    ptrdiff_t end = slice_find(in, '\n');
    char line[1024];

    if (end < 1)
        return false;
    ck_assert_int_lt(end, (int)sizeof(line));
    memcpy(line, in.data, (size_t)end - 1);
    net_conn_consume(&s->net, (size_t)end + 1);
    take_line(s, slice_of(line, (size_t)end - 1));
    return true;
}

static void session_secured(struct peer_session *s)
{
    struct tls_facts facts;

    tls_facts(net_conn_tls(&s->net), &facts);
    s->secured = true;
    s->peer->secured++;
    s->peer->resumed += facts.resumed;
    (void)snprintf(s->peer->sni, sizeof(s->peer->sni), "%.*s", SLICE_ARG(facts.sni));
    if (s->peer->script.implicit)
        session_greet(&s->greet);
}

static void session_ready(struct net_conn *net)
{
    struct peer_session *s = container_of(net, struct peer_session, net);

    if (net->tls_state == NET_CONN_TLS_HANDSHAKE && net->error == 0)
        return;
    if (net->tls_state == NET_CONN_TLS_ACTIVE && !s->secured)
        session_secured(s);
    if (s->asked && !s->silent && !s->in_body && play_trick(s)) {
        net_conn_flush(net);
        return;
    }
    while (!s->silent && (s->in_body ? take_body(s) : take_command(s)))
        continue;
    if (net->error != 0 || net->eof) {
        net_conn_close(net, false);
        return;
    }
    net_conn_flush(net);
    if (!s->silent || !s->peer->script.deaf)
        net_conn_want_input(net);
}

static void session_closed(struct net_conn *net)
{
    struct peer_session *s = container_of(net, struct peer_session, net);

    wheel_cancel(&s->peer->wheel, &s->greet);
    list_remove(&s->node);
    s->peer->open--;
    mem_free(s);
}

static void session_greet(struct wheel_timer *timer)
{
    struct peer_session *s = container_of(timer, struct peer_session, greet);
    unsigned max = s->peer->script.sessions_max;
    const char *text = reply_at(s, PEER_GREETING);

    if (!net_conn_is_open(&s->net))
        return;
    if (max > 0 && s->peer->open > max)
        text = "421 4.3.2 Too many of you";
    say(s, text);
    session_ready(&s->net);
}

static void peer_accepted(struct net_listener *l, int fd)
{
    struct peer *p = container_of(l, struct peer, listener);
    struct peer_session *s = mem_zalloc(sizeof(*s));

    s->peer = p;
    p->accepted++;
    s->scripted = p->accepted > p->script.good_sessions;
    if (++p->open > p->open_peak)
        p->open_peak = p->open;
    list_init(&s->node);
    list_push_back(&p->sessions, &s->node);
    net_conn_init(&s->net, p->io, fd, session_ready, session_closed);
    wheel_timer_init(&s->greet, session_greet);
    if (p->script.implicit) {
        start_tls(s);
    } else if (p->script.greet_after_ms > 0) {
        wheel_set(&p->wheel, &s->greet, io_now_ms(p->io) + p->script.greet_after_ms);
        net_conn_want_input(&s->net); /* to see the client go */
    } else {
        session_greet(&s->greet);
    }
}

static void in_line(struct io_op *op)
{
    ck_assert_int_eq(op->res, 0);
}

void peer_open(struct peer *p, struct sim *sim, struct sim_machine *machine, const char *ip,
               uint16_t port, int backlog)
{
    struct io_addr addr;
    struct ip_addr parsed;
    int fd;

    *p = (struct peer){.machine = machine != NULL ? machine : sim_machine_create(sim, ip)};
    list_init(&p->sessions);
    if (port == 0)
        return;
    p->io = sim_io_create(p->machine, 0);
    wheel_init(&p->wheel, io_now_ms(p->io));
    if (strncmp(ip, "unix:", 5) == 0) {
        ck_assert(io_addr_parse(slice_str(ip), &addr));
    } else {
        ck_assert(ip_parse(slice_str(ip), &parsed));
        io_addr_from_ip(&parsed, port, &addr);
    }
    fd = io_listen(p->io, &addr, 0, backlog);
    ck_assert_int_ge(fd, 0);
    p->listener.fd = fd;
    if (backlog > 0) {
        peer_wake(p);
        return;
    }
    /* Somebody is in line already, for ever: others are not even answered. */
    p->line_to = addr;
    p->in_line.done = in_line;
    io_connect(p->io, &p->in_line, io_socket_stream(p->io, AF_INET), &p->line_to);
}

void peer_wake(struct peer *p)
{
    net_listener_start(&p->listener, p->io, &p->wheel, p->listener.fd, peer_accepted);
}

void peer_pass(struct peer *p)
{
    (void)io_wait(p->io, wheel_next_ms(&p->wheel));
    wheel_advance(&p->wheel, io_now_ms(p->io));
}

void peer_kick(struct peer *p)
{
    LIST_EACH_SAFE(&p->sessions, node)
    net_conn_abort(&container_of(node, struct peer_session, node)->net);
}

void peer_close(struct peer *p)
{
    ck_assert(list_empty(&p->sessions));
    buf_finish(&p->body);
}
