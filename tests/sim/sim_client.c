/*
 * sim_client: SMTP clients on a machine of their own. Each sends its messages one after the other, by
 * single commands or pipelined (RFC 2920), and may stall or vanish. One whose connection ends before
 * the final dot was sent tries the message again; after the dot it does not, so that the model knows
 * how often each message was sent whole.
 *
 *   PAUSE -> TALK -> CLOSING -> PAUSE or DONE
 *
 * Some speak TLS, from the first byte or by STARTTLS; of these some say more behind it, in the clear, which
 * must never be heard.
 */
#include <stdio.h>

#include "base_mem.h"
#include "sim_mail.h"
#include "smtp_dsn.h"

enum {
    EXPECTS_MAX = 32,
    TRIES_MAX = 12,           /* of a message; more once nothing goes wrong any more */
    PATIENCE_MS = 15 * 60000, /* longer than any of the server's own times */
};

enum client_state { CLIENT_PAUSE, CLIENT_TALK, CLIENT_CLOSING, CLIENT_DONE };

enum expect_kind {
    EXPECT_GREETING,
    EXPECT_HELO,
    EXPECT_STARTTLS,
    EXPECT_INJECTED, /* the reply to what was said in the clear behind it; does not come, or in the clear */
    EXPECT_MAIL,
    EXPECT_RCPT,
    EXPECT_DATA,
    EXPECT_DOT,
    EXPECT_RSET,
    EXPECT_QUIT,
};

struct expect {
    uint8_t kind; /* enum expect_kind */
    uint8_t rcpt;
    struct message *message;
};

struct client {
    struct clients *all;
    const struct client_plan *plan;
    struct net_conn conn;
    struct io_addr to;
    struct wheel_timer timer;
    uint8_t state; /* enum client_state */
    uint32_t next; /* message whose commands come next */
    uint32_t tries;
    uint64_t waits_ms;                  /* since when */
    struct expect expects[EXPECTS_MAX]; /* replies that are due */
    uint32_t expect_first, expect_count;
    /* The message being sent, one command at a time unless pipelined. */
    struct message *sending; /* its body */
    struct slice left;
    size_t vanish_at, stall_at; /* bytes of the body still to go; SIZE_MAX: never */
    bool stalled;
    bool quitting;
    bool offered;       /* STARTTLS, in the reply to the last EHLO */
    bool injected;      /* in this session */
    bool injected_ever; /* once is enough */
    bool greet;         /* EHLO is to be said, now that the handshake is over */
};

struct clients {
    struct station station;
    struct client list[CLIENTS_MAX];
    uint32_t count;
};

static void client_step(struct client *c);

static struct world *world_of(const struct client *c)
{
    return c->all->station.world;
}

static struct message *message_at(const struct client *c, uint32_t i)
{
    return &world_of(c)->model.messages[c->plan->first + i];
}

static void wait_for(struct client *c, uint64_t ms)
{
    c->waits_ms = io_now_ms(c->all->station.io);
    wheel_set(&c->all->station.wheel, &c->timer, c->waits_ms + ms);
}

/* ---- what is expected ---------------------------------------------------------------------- */

static void expect(struct client *c, enum expect_kind kind, struct message *m, uint32_t rcpt)
{
    ASSERT(c->expect_count < EXPECTS_MAX);
    c->expects[(c->expect_first + c->expect_count++) % EXPECTS_MAX] =
        (struct expect){.kind = (uint8_t)kind, .rcpt = (uint8_t)rcpt, .message = m};
}

static struct expect expect_pop(struct client *c)
{
    struct expect e = c->expects[c->expect_first];

    WORLD_CHECK(world_of(c), c->expect_count > 0, "P8: a client got a reply to nothing");
    c->expect_first = (c->expect_first + 1) % EXPECTS_MAX;
    c->expect_count--;
    return e;
}

/* ---- beginning and ending ------------------------------------------------------------------ */

static void begin_pause(struct client *c, uint64_t ms)
{
    c->state = CLIENT_PAUSE;
    wait_for(c, ms);
}

static void client_close(struct client *c)
{
    if (c->state != CLIENT_TALK)
        return;
    c->state = CLIENT_CLOSING;
    net_conn_abort(&c->conn);
}

/* What was not answered is in doubt if the final dot was sent; the rest is tried again, or given up. */
static void settle_unanswered(struct client *c)
{
    struct world *w = world_of(c);
    struct message *m;

    for (; c->expect_count > 0;) {
        struct expect e = expect_pop(c);
        if (e.kind == EXPECT_DOT)
            e.message->state = MESSAGE_DOUBT;
    }
    c->sending = NULL;
    c->next = 0;
    while (c->next < c->plan->count && message_at(c, c->next)->state != MESSAGE_WAITING)
        c->next++;
    if (c->next == c->plan->count)
        return;
    m = message_at(c, c->next);
    if (++c->tries < TRIES_MAX || (w->calm_ms != 0 && c->tries < 3 * TRIES_MAX))
        return;
    WORLD_CHECK(w, w->calm_ms == 0, "message %u cannot be sent although nothing is wrong",
                m->number);
    m->state = MESSAGE_ABANDONED;
    c->next++;
    c->tries = 0;
}

static void client_closed(struct net_conn *conn)
{
    struct client *c = container_of(conn, struct client, conn);

    wheel_cancel(&c->all->station.wheel, &c->timer);
    settle_unanswered(c);
    if (c->next == c->plan->count)
        c->state = CLIENT_DONE;
    else
        begin_pause(
            c, rand_below(&world_of(c)->rand, (uint64_t)1000 << (c->tries < 8 ? c->tries : 8)));
}

static void client_ready(struct net_conn *conn)
{
    client_step(container_of(conn, struct client, conn));
}

static void client_connect(struct client *c)
{
    if (!net_conn_connect(&c->conn, c->all->station.io, &c->to, client_ready, client_closed)) {
        begin_pause(c, 1000);
        return;
    }
    c->state = CLIENT_TALK;
    c->quitting = false;
    c->stalled = false;
    c->injected = false;
    c->greet = false;
    expect(c, EXPECT_GREETING, NULL, 0);
    wait_for(c, PATIENCE_MS);
}

static void client_timer(struct wheel_timer *timer)
{
    struct client *c = container_of(timer, struct client, timer);

    if (c->state == CLIENT_PAUSE) {
        client_connect(c);
    } else if (c->stalled) {
        c->stalled = false;
        c->stall_at = SIZE_MAX;
        client_step(c);
    } else {
        uint64_t calm_ms = world_of(c)->calm_ms;
        WORLD_CHECK(world_of(c), calm_ms == 0 || c->waits_ms < calm_ms,
                    "P7: a client waits for a reply in vain although nothing is wrong");
        client_close(c);
    }
}

/* ---- TLS ----------------------------------------------------------------------------------- */

static void start_tls(struct client *c)
{
    static const struct slice name = SLICE_INIT("mx.sim.test");
    struct world *w = world_of(c);
    const struct tls_connect_options options = {
        .check = TLS_CHECK_NAME, .sni = name, .names = &name, .name_count = 1};

    net_conn_start_tls(&c->conn, tls_connect(w->tls.client, &options), NULL);
    if (w->calm_ms == 0 && world_chance(w, c->plan->vanish / 4))
        client_close(c);
}

static void say_starttls(struct client *c)
{
    (void)buf_append_str(net_conn_out(&c->conn), "STARTTLS\r\n");
    expect(c, EXPECT_STARTTLS, NULL, 0);
    if (c->injected_ever || world_of(c)->calm_ms != 0
        || !world_chance(world_of(c), c->plan->inject))
        return;
    c->injected = c->injected_ever = true;
    (void)buf_append_str(net_conn_out(&c->conn), "NOOP\r\n");
    expect(c, EXPECT_INJECTED, NULL, 0);
}

/* False: there is nothing to be said before the handshake is over. */
static bool is_secure_enough(struct client *c)
{
    if (c->plan->tls == CLIENT_IMPLICIT && c->conn.tls_state == NET_CONN_TLS_NONE)
        start_tls(c);
    switch ((enum net_conn_tls)c->conn.tls_state) {
    case NET_CONN_TLS_NONE: return true;
    case NET_CONN_TLS_HANDSHAKE:
    case NET_CONN_TLS_FAILED: return false;
    case NET_CONN_TLS_ACTIVE: break;
    }
    WORLD_CHECK(world_of(c), !c->injected, "plaintext behind STARTTLS did no harm");
    if (c->greet) {
        c->greet = c->offered = false;
        (void)buf_append_str(net_conn_out(&c->conn), "EHLO client.test\r\n");
        expect(c, EXPECT_HELO, NULL, 0);
    }
    return true;
}

static bool is_encrypted(const struct client *c)
{
    return c->conn.tls_state == NET_CONN_TLS_ACTIVE;
}

/* ---- commands ------------------------------------------------------------------------------ */

static void say_mail(struct client *c, struct message *m)
{
    model_begin(m);
    (void)buf_printf(net_conn_out(&c->conn), "MAIL FROM:<%s>%s\r\n", m->sender,
                     c->plan->helo || m->number % 3 != 0 ? "" : " BODY=8BITMIME");
    expect(c, EXPECT_MAIL, m, 0);
}

static void say_rcpt(struct client *c, struct message *m, uint32_t i)
{
    struct name *n = &m->names[i];
    struct buf *out = net_conn_out(&c->conn);

    (void)buf_printf(out, "RCPT TO:<%s>", n->address);
    if (n->notify != 0 && !c->plan->helo) {
        (void)buf_append_str(out, " NOTIFY=");
        (void)smtp_notify_format(n->notify, out);
    }
    (void)buf_append_str(out, "\r\n");
    expect(c, EXPECT_RCPT, m, i);
}

static void say_data(struct client *c, struct message *m)
{
    (void)buf_append_str(net_conn_out(&c->conn), "DATA\r\n");
    expect(c, EXPECT_DATA, m, 0);
}

static void say_quit(struct client *c)
{
    (void)buf_append_str(net_conn_out(&c->conn), "QUIT\r\n");
    expect(c, EXPECT_QUIT, NULL, 0);
    c->quitting = true;
}

/* The next message that waits, or the end. Pipelined, its whole envelope leaves at once. */
static void begin_message(struct client *c)
{
    struct message *m;

    while (c->next < c->plan->count && message_at(c, c->next)->state != MESSAGE_WAITING)
        c->next++;
    if (c->next == c->plan->count) {
        say_quit(c);
        return;
    }
    m = message_at(c, c->next++);
    say_mail(c, m);
    if (!c->plan->pipelined || c->plan->helo)
        return;
    for (uint32_t i = 0; i < m->name_count; i++)
        say_rcpt(c, m, i);
    say_data(c, m);
}

/* ---- the body ------------------------------------------------------------------------------ */

static void begin_body(struct client *c, struct message *m)
{
    struct world *w = world_of(c);
    size_t len = buf_len(&m->wire);

    c->sending = m;
    c->left = buf_slice(&m->wire);
    c->vanish_at = c->stall_at = SIZE_MAX;
    if (w->calm_ms != 0)
        return;
    if (world_chance(w, c->plan->vanish))
        c->vanish_at = 1 + rand_below(&w->rand, len);
    if (world_chance(w, c->plan->stall))
        c->stall_at = 1 + rand_below(&w->rand, len);
}

static void body_is_sent(struct client *c)
{
    struct message *m = c->sending;

    c->sending = NULL;
    expect(c, EXPECT_DOT, m, 0);
    if (c->plan->pipelined && !c->plan->helo && c->next < c->plan->count)
        begin_message(c);
}

/* A piece at a time, when the one before is gone. False: the client has vanished or stalls. */
static bool send_body(struct client *c)
{
    struct message *m = c->sending;
    size_t chunk = c->plan->chunk, least = buf_len(&m->wire) / 64 + 1;

    if (net_conn_sending(&c->conn) || c->stalled)
        return true;
    if (c->left.len <= c->vanish_at && c->vanish_at != SIZE_MAX) {
        if (rand_chance(&world_of(c)->rand, 1, 2))
            m->state = MESSAGE_ABANDONED;
        client_close(c);
        return false;
    }
    if (c->left.len <= c->stall_at && c->stall_at != SIZE_MAX) {
        c->stalled = true;
        wait_for(c, rand_below(&world_of(c)->rand, PATIENCE_MS));
        return true;
    }
    chunk = chunk > least ? chunk : least;
    chunk = chunk < c->left.len ? chunk : c->left.len;
    chunk = chunk < NET_CONN_OUT_LIMIT / 2 ? chunk : NET_CONN_OUT_LIMIT / 2;
    (void)buf_append_slice(net_conn_out(&c->conn), slice_head(c->left, chunk));
    slice_advance(&c->left, chunk);
    if (c->left.len == 0)
        body_is_sent(c);
    return true;
}

/* ---- replies ------------------------------------------------------------------------------- */

/* One whole reply from the front of *in; false: more is needed. */
static bool take_reply(struct client *c, struct slice *in, unsigned *out_code)
{
    struct slice rest = *in;

    for (;;) {
        ptrdiff_t end = slice_find(rest, '\n');
        struct slice line;
        uint64_t code;
        if (end < 0)
            return false;
        line = slice_head(rest, (size_t)end + 1);
        slice_advance(&rest, line.len);
        WORLD_CHECK(world_of(c),
                    line.len >= 5 && line.data[line.len - 2] == '\r'
                        && slice_to_u64(slice_head(line, 3), &code),
                    "P8: the server says %.*s", SLICE_ARG(line));
        c->offered |= memmem(line.data, line.len, "STARTTLS", 8) != NULL;
        if (line.data[3] != '-') {
            *out_code = (unsigned)code;
            *in = rest;
            return true;
        }
    }
}

/* The one recipient that the name stands for; NULL: several, of whom nobody is asked. */
static const struct rcpt *the_only(const struct message *m, const struct name *n)
{
    for (uint32_t i = 0; i < m->rcpt_count; i++)
        if (n->set == 1u << i)
            return &m->rcpts[i];
    return NULL;
}

/* For good, and not because of the weather. */
static bool is_refused(const struct client *c, const struct message *m, const struct name *n)
{
    const struct rcpt *r = the_only(m, n);

    return r != NULL
           && (r->fate == FATE_REJECT || (world_of(c)->plan.verifies && r->fate == FATE_NOWHERE));
}

static bool may_be_refused(const struct client *c, const struct message *m, const struct name *n)
{
    const struct rcpt *r = the_only(m, n);

    return is_refused(c, m, n)
           || (r != NULL && world_of(c)->plan.verifies && r->fate == FATE_SILENT);
}

static void answered_rcpt(struct client *c, struct expect e, unsigned code)
{
    struct name *n = &e.message->names[e.rcpt];

    if (code == 250)
        model_admit(e.message, n, c->plan->helo);
    if (code != 421 && code / 100 == 5)
        WORLD_CHECK(world_of(c), is_refused(c, e.message, n) || code == 503, "RCPT to %s: %u",
                    n->address, code);
    WORLD_CHECK(world_of(c), code != 250 || !is_refused(c, e.message, n), "RCPT to %s: 250",
                n->address);
    if (c->plan->pipelined && !c->plan->helo)
        return;
    if (e.rcpt + 1u < e.message->name_count)
        say_rcpt(c, e.message, e.rcpt + 1u);
    else
        say_data(c, e.message);
}

static void answered_data(struct client *c, struct expect e, unsigned code)
{
    bool any = false;

    if (code == 354) {
        begin_body(c, e.message);
        return;
    }
    for (uint32_t i = 0; i < e.message->name_count; i++)
        any |= !may_be_refused(c, e.message, &e.message->names[i]);
    if (!any)
        e.message->state = MESSAGE_REFUSED; /* and rightly so */
    if (e.message->state == MESSAGE_WAITING) {
        client_close(c); /* for a while */
        return;
    }
    (void)buf_append_str(net_conn_out(&c->conn), "RSET\r\n"); /* MAIL still stands */
    expect(c, EXPECT_RSET, NULL, 0);
}

static void answered_dot(struct client *c, struct expect e, unsigned code)
{
    struct world *w = world_of(c);
    const struct sim_options *o = &w->plan.weather;

    if (code == 250) {
        e.message->state = MESSAGE_ACCEPTED;
        WORLD_CHECK(w, is_encrypted(c) || !w->plan.requires, "mail is taken in the clear");
        w->tls_in += is_encrypted(c);
        c->tries = 0;
    } else if (code / 100 == 5) {
        e.message->state = MESSAGE_REFUSED;
    } else if (o->write_error > 0 || w->options.fail_op > 0) {
        e.message->state = MESSAGE_DOUBT; /* a write that failed may be there all the same */
    } else {
        client_close(c);
        return;
    }
    if (!c->plan->pipelined || c->plan->helo || (c->expect_count == 0 && !c->quitting))
        begin_message(c);
}

static void answered_helo(struct client *c, unsigned code)
{
    struct world *w = world_of(c);

    WORLD_CHECK(w, code == 250, "HELO: %u", code);
    WORLD_CHECK(w, !c->offered || !is_encrypted(c), "STARTTLS is offered under TLS");
    WORLD_CHECK(w, c->offered || is_encrypted(c) || c->plan->helo || w->plan.tls == SIM_TLS_OFF,
                "STARTTLS is not offered");
    if (c->offered && c->plan->tls == CLIENT_STARTTLS)
        say_starttls(c);
    else
        begin_message(c);
}

static void answered_starttls(struct client *c, unsigned code)
{
    WORLD_CHECK(world_of(c), code == 220 || c->injected, "STARTTLS: %u", code);
    if (code != 220)
        return; /* what was injected is answered as well */
    c->greet = true;
    start_tls(c);
}

static void answered(struct client *c, unsigned code)
{
    struct expect e;

    if (code == 421 && c->expect_count == 0) { /* a time-out while we stall */
        client_close(c);
        return;
    }
    e = expect_pop(c);
    if (code == 421) { /* whatever was asked; if it was the dot, it was not taken */
        client_close(c);
        return;
    }
    switch ((enum expect_kind)e.kind) {
    case EXPECT_GREETING:
        if (code != 220) {
            client_close(c);
            return;
        }
        (void)buf_printf(net_conn_out(&c->conn), "%s client.test\r\n",
                         c->plan->helo ? "HELO" : "EHLO");
        c->offered = false;
        expect(c, EXPECT_HELO, NULL, 0);
        return;
    case EXPECT_HELO: answered_helo(c, code); return;
    case EXPECT_STARTTLS: answered_starttls(c, code); return;
    case EXPECT_INJECTED: client_close(c); return; /* refused, and all of it in the clear */
    case EXPECT_MAIL:
        if (code == 250) {
            if (!c->plan->pipelined || c->plan->helo)
                say_rcpt(c, e.message, 0);
        } else if (!c->plan->pipelined || c->plan->helo) {
            client_close(c);
        }
        return;
    case EXPECT_RCPT: answered_rcpt(c, e, code); return;
    case EXPECT_DATA: answered_data(c, e, code); return;
    case EXPECT_DOT: answered_dot(c, e, code); return;
    case EXPECT_RSET: begin_message(c); return;
    case EXPECT_QUIT: client_close(c); return;
    }
    UNREACHABLE();
}

static void client_step(struct client *c)
{
    if (c->state == CLIENT_TALK && net_conn_is_open(&c->conn) && !is_secure_enough(c)
        && c->conn.error == 0)
        return;
    while (c->state == CLIENT_TALK) {
        struct slice in = net_conn_input(&c->conn);
        size_t before = in.len;
        unsigned code;
        if (!take_reply(c, &in, &code))
            break;
        net_conn_consume(&c->conn, before - in.len);
        if (!c->stalled)
            wait_for(c, PATIENCE_MS);
        answered(c, code);
    }
    if (c->state != CLIENT_TALK)
        return;
    if (c->conn.error != 0 || c->conn.eof) {
        client_close(c);
        return;
    }
    if (c->conn.state == NET_CONN_CONNECTING || c->conn.tls_state == NET_CONN_TLS_HANDSHAKE)
        return;
    if (c->sending != NULL && !send_body(c))
        return;
    net_conn_flush(&c->conn);
    net_conn_want_input(&c->conn);
}

/* ---- all of them --------------------------------------------------------------------------- */

void clients_start(struct world *w)
{
    struct clients *all = w->clients = mem_zalloc(sizeof(*all));
    bool ok;

    station_init(&all->station, w, "10.0.2.1");
    all->count = w->plan.client_count;
    for (uint32_t i = 0; i < all->count; i++) {
        struct client *c = &all->list[i];
        c->all = all;
        c->plan = &w->plan.clients[i];
        ok = io_addr_parse(c->plan->tls == CLIENT_IMPLICIT ? SLICE_LITERAL("10.0.0.1:465")
                                                           : SLICE_LITERAL("10.0.0.1:25"),
                           &c->to);
        ASSERT(ok);
        wheel_timer_init(&c->timer, client_timer);
        if (c->plan->count == 0)
            c->state = CLIENT_DONE;
        else
            begin_pause(c, c->plan->start_ms);
    }
}

void clients_print(const struct world *w)
{
    static const char *const names[] = {"pause", "talk", "closing", "done"};

    for (uint32_t i = 0; i < w->clients->count; i++) {
        const struct client *c = &w->clients->list[i];
        fprintf(stderr, "client %u: %s, message %u of %u, expects %u, connection %u error %d\n", i,
                names[c->state], c->next, c->plan->count, c->expect_count, c->conn.state,
                c->conn.error);
    }
}

bool clients_done(const struct world *w)
{
    for (uint32_t i = 0; i < w->clients->count; i++) {
        if (w->clients->list[i].state != CLIENT_DONE)
            return false;
    }
    return true;
}

void clients_finish(struct world *w)
{
    mem_free(w->clients);
}
