/*
 * sim_sink: next hops, each on a machine of its own. They are strict about how they are spoken to, and
 * not about how they answer: late, never, with a refusal at any place, or not even with a reply. What
 * they take they hand to the model, octet for octet. Some offer STARTTLS, and then do not keep it.
 */
#include <stdio.h>
#include <string.h>

#include "base_mem.h"
#include "sim_days.h"

enum { LINE_MAX_BYTES = 2048, STALL_MS = 3600 * 1000, OUTAGE_MAX_MS = 600 * 1000 };

struct sink {
    struct station station;
    struct sinks *all;
    struct net_listener listeners[3]; /* ports 25, 2525 and 465, where TLS comes first */
    bool pipelining, eightbit, size, helo_only, starttls;
    bool shut; /* nobody is to listen */
    uint64_t outage_until_ms;
    uint64_t connections;
};

struct sinks {
    struct world *world;
    struct sink list[SINKS];
    struct list sessions; /* of all */
};

enum session_state { TALKING, IN_DATA, ENDING };

struct session {
    struct list node;
    struct sink *sink;
    struct net_conn conn;
    struct wheel_timer timer; /* a late reply, or the end of a stall */
    uint8_t state;            /* enum session_state */
    bool waiting;             /* for the timer: input is left alone */
    bool over;                /* the timer ends the connection */
    bool greeted, mail, lone_dot;
    bool by_route;                        /* came to port 2525 */
    bool asked, start_tls, was_encrypted; /* STARTTLS; it is granted; it went well */
    bool greets_late;                     /* when TLS is there */
    bool deaf;                            /* it has said yes to it and does not mean it */
    struct buf late;                      /* the reply that the timer sends */
    struct buf sender;                    /* of the transaction */
    struct buf rcpts;                     /* admitted, each with LF */
    struct buf text;                      /* undone */
};

static void session_step(struct session *s);

static struct world *world_of(const struct session *s)
{
    return s->sink->all->world;
}

/* No weather at all once the world has calmed down. */
static bool strikes(const struct session *s, unsigned chance)
{
    return world_of(s)->calm_ms == 0 && world_chance(world_of(s), chance);
}

static const struct sink_weather *weather(const struct session *s)
{
    return &world_of(s)->plan.sinks;
}

/* ---- days ---------------------------------------------------------------------------------- */

static enum mood mood_of(const struct session *s, bool *out_at_mail)
{
    *out_at_mail = false;
    if (world_of(s)->days == NULL)
        return MOOD_UP;
    return days_mood(world_of(s), (unsigned)(s->sink - s->sink->all->list), out_at_mail);
}

static bool is_away(const struct session *s)
{
    bool at_mail;
    enum mood mood = mood_of(s, &at_mail);

    return mood != MOOD_UP && mood != MOOD_BUSY && mood != MOOD_REFUSES;
}

/* To each message, at this place. */
static bool is_busy(const struct session *s, bool at_mail)
{
    bool here;

    return mood_of(s, &here) == MOOD_BUSY && here == at_mail;
}

static bool refuses(const struct session *s)
{
    bool at_mail;

    return mood_of(s, &at_mail) == MOOD_REFUSES;
}

/* ---- ending -------------------------------------------------------------------------------- */

static bool is_encrypted(const struct session *s)
{
    return s->conn.tls_state == NET_CONN_TLS_ACTIVE;
}

static void session_free(struct session *s)
{
    world_of(s)->tls_broken += s->asked && !s->was_encrypted;
    wheel_cancel(&s->sink->station.wheel, &s->timer);
    list_remove(&s->node);
    buf_finish(&s->late);
    buf_finish(&s->sender);
    buf_finish(&s->rcpts);
    buf_finish(&s->text);
    mem_free(s);
}

static void session_closed(struct net_conn *c)
{
    session_free(container_of(c, struct session, conn));
}

static void session_drop(struct session *s)
{
    s->state = ENDING;
    net_conn_abort(&s->conn);
}

static void session_leave(struct session *s)
{
    s->state = ENDING;
    net_conn_close(&s->conn, true);
}

/* ---- replies ------------------------------------------------------------------------------- */

static void wait_for(struct session *s, uint64_t ms)
{
    s->waiting = true;
    wheel_set(&s->sink->station.wheel, &s->timer, io_now_ms(s->sink->station.io) + ms);
}

/* Says it, unless the weather has other plans. False: the session is over. */
static bool say(struct session *s, const char *reply)
{
    if (strikes(s, weather(s)->drop)) {
        session_drop(s);
        return false;
    }
    if (strikes(s, weather(s)->stall)) {
        s->over = true;
        wait_for(s, STALL_MS);
        return false;
    }
    if (strikes(s, weather(s)->slow)) {
        (void)buf_append_str(&s->late, reply);
        wait_for(s, 1 + rand_below(&world_of(s)->rand, 20000));
        return true;
    }
    (void)buf_append_str(net_conn_out(&s->conn), reply);
    return true;
}

static void session_timer(struct wheel_timer *timer)
{
    struct session *s = container_of(timer, struct session, timer);

    s->waiting = false;
    if (s->over) {
        session_drop(s);
        return;
    }
    (void)buf_append_slice(net_conn_out(&s->conn), buf_slice(&s->late));
    buf_clear(&s->late);
    session_step(s);
}

/* ---- a transaction ------------------------------------------------------------------------- */

static void transaction_reset(struct session *s)
{
    s->mail = false;
    s->lone_dot = false;
    buf_clear(&s->sender);
    buf_clear(&s->rcpts);
    buf_clear(&s->text);
}

static struct slice next_rcpt(struct slice *rest)
{
    ptrdiff_t end = slice_find(*rest, '\n');
    struct slice one = slice_head(*rest, (size_t)end);

    slice_advance(rest, (size_t)end + 1);
    return one;
}

/* A 5yz that speaks for all that were admitted. */
static void refuse_all(struct session *s)
{
    struct slice rest = buf_slice(&s->rcpts);

    while (rest.len > 0)
        model_refuse(world_of(s), next_rcpt(&rest));
}

static void take_all(struct session *s, bool will_answer)
{
    struct slice rest = buf_slice(&s->rcpts);

    while (rest.len > 0)
        model_take(world_of(s), buf_slice(&s->sender), next_rcpt(&rest), buf_slice(&s->text),
                   will_answer);
}

/* The answer that was promised does not get out. */
static void excuse_all(struct session *s)
{
    struct slice rest = buf_slice(&s->rcpts);

    while (rest.len > 0)
        model_excuse(world_of(s), next_rcpt(&rest), buf_slice(&s->text));
}

static void end_of_data(struct session *s)
{
    s->state = TALKING;
    if (is_away(s)) {
        session_drop(s);
    } else if (s->lone_dot) {
        WORLD_CHECK(world_of(s), buf_len(&s->text) == 0, "P8: a body for nobody");
        (void)say(s, "554 5.5.1 nobody to give it to\r\n");
    } else if (strikes(s, weather(s)->temporary)) {
        (void)say(s, "451 4.3.0 not now\r\n");
    } else if (strikes(s, weather(s)->permanent)) {
        refuse_all(s);
        (void)say(s, "554 5.6.0 not this\r\n");
    } else if (strikes(s, weather(s)->lost)) {
        take_all(s, false);
        if (rand_chance(&world_of(s)->rand, 1, 2)) {
            session_drop(s);
        } else {
            s->over = true;
            wait_for(s, STALL_MS);
        }
    } else {
        take_all(s, true);
        world_of(s)->tls_out += is_encrypted(s);
        if (!say(s, "250 2.0.0 taken\r\n"))
            excuse_all(s);
    }
    transaction_reset(s);
}

/* Lines until the dot. False: more is needed. */
static bool take_data(struct session *s)
{
    struct slice in = net_conn_input(&s->conn);
    const uint8_t *end = in.len >= 2 ? memmem(in.data, in.len, "\r\n", 2) : NULL;
    struct slice line;

    if (end == NULL)
        return false;
    line = slice_of(in.data, (size_t)(end - in.data) + 2);
    if (line.len == 3 && line.data[0] == '.') {
        net_conn_consume(&s->conn, line.len);
        end_of_data(s);
        return true;
    }
    if (line.data[0] == '.') {
        WORLD_CHECK(world_of(s), line.data[1] == '.', "P8: a dot that is not stuffed");
        (void)buf_append(&s->text, line.data + 1, line.len - 1);
    } else {
        (void)buf_append_slice(&s->text, line);
    }
    net_conn_consume(&s->conn, line.len);
    return true;
}

/* ---- commands ------------------------------------------------------------------------------ */

static void ehlo(struct session *s, bool extended)
{
    const struct sink *k = s->sink;
    char reply[256];

    if (extended && k->helo_only) {
        (void)say(s, "502 5.5.1 what?\r\n");
        return;
    }
    s->greeted = true;
    transaction_reset(s);
    (void)snprintf(reply, sizeof(reply), "%ssink.test\r\n%s%s%s%s250 ENHANCEDSTATUSCODES\r\n",
                   "250-", k->pipelining ? "250-PIPELINING\r\n" : "",
                   k->eightbit ? "250-8BITMIME\r\n" : "", k->size ? "250-SIZE 10000000\r\n" : "",
                   k->starttls && !is_encrypted(s) ? "250-STARTTLS\r\n" : "");
    (void)say(s, extended ? reply : "250 sink.test\r\n");
}

/* "<address>" behind the command's name. */
static struct slice path_of(const struct session *s, struct slice line)
{
    ptrdiff_t open = slice_find(line, '<'), close = slice_find(line, '>');

    WORLD_CHECK(world_of(s), open > 0 && close > open, "P8: no path in %.*s", SLICE_ARG(line));
    return slice_of(line.data + open + 1, (size_t)(close - open) - 1);
}

/* a.test's host, by its route. */
static bool must_encrypt(const struct session *s)
{
    return world_of(s)->plan.encrypts && s->sink == &s->sink->all->list[0];
}

/* What goes wrong with TLS in this world: refused, hung up, no handshake, plaintext behind the reply. */
static void starttls_breaks(struct session *s)
{
    switch (rand_below(&world_of(s)->rand, 4)) {
    case 0: (void)say(s, "454 4.7.0 not now\r\n"); return;
    case 1: session_drop(s); return;
    case 2: (void)say(s, "220 2.0.0 go ahead\r\n"); break;
    default: (void)say(s, "220 2.0.0 go ahead\r\n250 2.0.0 injected\r\n"); break;
    }
    s->deaf = true; /* it would hear a handshake */
    if (s->waiting || s->state == ENDING)
        return;
    s->over = true;
    wait_for(s, rand_chance(&world_of(s)->rand, 1, 2) ? STALL_MS : 1000);
}

static void starttls(struct session *s)
{
    WORLD_CHECK(world_of(s), s->sink->starttls && !s->asked && !s->mail,
                "P8: STARTTLS out of order");
    WORLD_CHECK(world_of(s), net_conn_input(&s->conn).len == 0, "P8: pipelined behind STARTTLS");
    s->asked = true;
    if (strikes(s, weather(s)->tls))
        starttls_breaks(s);
    else
        s->start_tls = say(s, "220 2.0.0 go ahead\r\n");
}

static void mail(struct session *s, struct slice line)
{
    WORLD_CHECK(world_of(s), s->greeted && !s->mail, "P8: MAIL out of order");
    WORLD_CHECK(world_of(s), is_encrypted(s) || !s->by_route || !must_encrypt(s),
                "mail in the clear where the route says encrypt");
    if (is_busy(s, true) || strikes(s, weather(s)->temporary)) {
        (void)say(s, "451 4.7.1 not from you now\r\n");
        return;
    }
    /* Never 5yz, which would speak for recipients whose names have not been heard. */
    WORLD_CHECK(world_of(s), s->sink->eightbit || memmem(line.data, line.len, " BODY=", 6) == NULL,
                "P8: BODY= to a sink that does not offer it");
    WORLD_CHECK(world_of(s), s->sink->size || memmem(line.data, line.len, " SIZE=", 6) == NULL,
                "P8: SIZE= to a sink that does not offer it");
    s->mail = true;
    (void)buf_append_slice(&s->sender, path_of(s, line));
    (void)say(s, "250 2.1.0 yes\r\n");
}

/* What this address gets whatever the weather; NULL: admitted. */
static const char *verdict(struct session *s, struct slice address)
{
    struct message *m = NULL;
    struct rcpt *r = model_rcpt(&world_of(s)->model, address, &m);
    uint8_t fate, *later;

    if (r == NULL) {
        m = model_sender(&world_of(s)->model, address);
        WORLD_CHECK(world_of(s), m != NULL && buf_len(&s->sender) == 0, "P4: mail for %.*s",
                    SLICE_ARG(address));
    }
    fate = r != NULL ? r->fate : m->sender_fate;
    later = r != NULL ? &r->later : &m->sender_later;
    if (fate == FATE_REFUSE)
        return "550 5.1.1 no such user\r\n";
    if (fate == FATE_NEVER)
        return "450 4.2.1 never\r\n";
    if (fate == FATE_LATER && *later > 0) {
        (*later)--;
        return "451 4.7.1 later\r\n";
    }
    WORLD_CHECK(world_of(s), fate == FATE_TAKE || fate == FATE_LATER, "mail for %.*s at a sink",
                SLICE_ARG(address));
    return NULL;
}

static void rcpt(struct session *s, struct slice line)
{
    struct slice address = path_of(s, line);
    const char *refusal;

    if (!s->mail) { /* pipelined behind a refused MAIL */
        WORLD_CHECK(world_of(s), s->sink->pipelining, "P8: RCPT without MAIL");
        (void)say(s, "503 5.5.1 MAIL first\r\n");
        return;
    }
    refusal = verdict(s, address);
    if (refusal == NULL && refuses(s))
        refusal = "550 5.7.1 not any more\r\n";
    if (refusal == NULL && is_busy(s, false))
        refusal = "451 4.3.2 busy\r\n";
    if (refusal == NULL && strikes(s, weather(s)->temporary))
        refusal = "452 4.5.3 not today\r\n";
    if (refusal == NULL && strikes(s, weather(s)->permanent))
        refusal = "553 5.7.1 not for you\r\n";
    if (refusal != NULL) {
        if (refusal[0] == '5')
            model_refuse(world_of(s), address);
        (void)say(s, refusal);
        return;
    }
    (void)buf_append_slice(&s->rcpts, address);
    (void)buf_append_byte(&s->rcpts, '\n');
    (void)say(s, "250 2.1.5 yes\r\n");
}

static void data(struct session *s)
{
    bool nobody = buf_len(&s->rcpts) == 0;

    if (nobody)
        WORLD_CHECK(world_of(s), s->sink->pipelining, "P8: DATA without a recipient");
    if (nobody && (!s->mail || rand_chance(&world_of(s)->rand, 1, 2))) {
        (void)say(s, "503 5.5.1 RCPT first\r\n");
        return;
    }
    if (!nobody && strikes(s, weather(s)->temporary)) {
        (void)say(s, "451 4.3.2 not now\r\n");
        return;
    }
    if (!nobody && strikes(s, weather(s)->permanent)) {
        refuse_all(s);
        (void)say(s, "554 5.5.0 not at all\r\n");
        return;
    }
    s->lone_dot = nobody;
    if (say(s, "354 go on\r\n"))
        s->state = IN_DATA;
}

static void command(struct session *s, struct slice line)
{
    static const struct slice from = SLICE_INIT("MAIL FROM:"), to = SLICE_INIT("RCPT TO:");

    if (is_away(s)) {
        session_drop(s);
        return;
    }
    if (slice_starts_nocase(line, SLICE_LITERAL("EHLO "))) {
        ehlo(s, true);
    } else if (slice_starts_nocase(line, SLICE_LITERAL("HELO "))) {
        ehlo(s, false);
    } else if (slice_starts_nocase(line, from)) {
        mail(s, line);
    } else if (slice_starts_nocase(line, to)) {
        rcpt(s, line);
    } else if (slice_equal_nocase(line, SLICE_LITERAL("DATA"))) {
        data(s);
    } else if (slice_equal_nocase(line, SLICE_LITERAL("STARTTLS"))) {
        starttls(s);
    } else if (slice_equal_nocase(line, SLICE_LITERAL("RSET"))) {
        transaction_reset(s);
        (void)say(s, "250 2.0.0 forgotten\r\n");
    } else if (slice_equal_nocase(line, SLICE_LITERAL("QUIT"))) {
        if (say(s, "221 2.0.0 bye\r\n") && !s->waiting)
            session_leave(s);
    } else {
        world_fail(world_of(s), "P8: a sink was told: %.*s", SLICE_ARG(line));
    }
}

/* One command line. False: more is needed. */
static bool take_command(struct session *s)
{
    struct slice in = net_conn_input(&s->conn);
    ptrdiff_t end = slice_find(in, '\n');
    char line[LINE_MAX_BYTES];
    size_t len;

    WORLD_CHECK(world_of(s), end < LINE_MAX_BYTES, "P8: a long line to a sink");
    if (end < 0)
        return false;
    WORLD_CHECK(world_of(s), end > 0 && in.data[end - 1] == '\r', "P8: a line ends in a bare LF");
    WORLD_CHECK(world_of(s), s->sink->pipelining || in.len == (size_t)end + 1,
                "P8: pipelined to a sink that does not offer it");
    len = (size_t)end - 1;
    memcpy(line, in.data, len);
    net_conn_consume(&s->conn, (size_t)end + 1);
    command(s, slice_of(line, len));
    return true;
}

/* False: the handshake has yet to end. */
static bool handshake_is_over(struct session *s)
{
    if (s->start_tls) { /* the reply is in the out buffer */
        s->start_tls = s->greeted = false;
        net_conn_start_tls(&s->conn, tls_accept(world_of(s)->tls.sink), NULL);
    }
    s->was_encrypted |= is_encrypted(s);
    if (s->greets_late && is_encrypted(s)) {
        s->greets_late = false;
        (void)say(s, "220 sink.test\r\n");
    }
    return s->conn.tls_state != NET_CONN_TLS_HANDSHAKE && s->state != ENDING && !s->waiting;
}

static void session_step(struct session *s)
{
    while (s->state != ENDING && !s->waiting && !s->deaf && s->conn.error == 0) {
        if (!handshake_is_over(s))
            break;
        if (!(s->state == IN_DATA ? take_data(s) : take_command(s)))
            break;
    }
    if (s->state == ENDING)
        return;
    if (s->conn.error != 0 || s->conn.eof) {
        session_drop(s);
        return;
    }
    net_conn_flush(&s->conn);
    net_conn_want_input(&s->conn);
}

static void session_ready(struct net_conn *c)
{
    session_step(container_of(c, struct session, conn));
}

/* ---- the machine --------------------------------------------------------------------------- */

/* True: there is no greeting. */
static bool turns_away(struct session *s)
{
    bool at_mail;

    switch (mood_of(s, &at_mail)) {
    case MOOD_UP:
    case MOOD_BUSY:
    case MOOD_REFUSES: return false;
    case MOOD_SORRY:
        (void)buf_append_str(net_conn_out(&s->conn), "421 4.3.2 closed for today\r\n");
        session_leave(s);
        return true;
    case MOOD_SILENT:
        s->deaf = true;
        session_step(s);
        return true;
    case MOOD_CLOSED: /* it came just before */
    case MOOD_DROPS: session_drop(s); return true;
    case MOOD_FLAPS:
    case MOOD_COUNT: break;
    }
    UNREACHABLE();
}

static void greet(struct session *s)
{
    struct sink *k = s->sink;
    uint64_t now_ms = io_now_ms(k->station.io);

    if (turns_away(s))
        return;

    if (strikes(s, weather(s)->outage))
        k->outage_until_ms = now_ms + rand_below(&world_of(s)->rand, OUTAGE_MAX_MS);
    if (now_ms < k->outage_until_ms && world_of(s)->calm_ms == 0) {
        if (s->asked || rand_chance(&world_of(s)->rand, 1, 2)) {
            session_drop(s);
            return;
        }
        (void)buf_append_str(net_conn_out(&s->conn), "421 4.3.2 closed for now\r\n");
        session_leave(s);
        return;
    }
    if (s->asked) /* by the port */
        s->start_tls = s->greets_late = true;
    else
        (void)say(s, "220 sink.test\r\n");
    session_step(s);
}

static void sink_accepted(struct net_listener *l, int fd)
{
    struct sink *k = l->context;
    struct session *s = mem_zalloc(sizeof(*s));

    k->connections++;
    if (k->all->world->days != NULL)
        days_connected(k->all->world, (unsigned)(k - k->all->list));
    s->sink = k;
    list_init(&s->node);
    list_push_back(&k->all->sessions, &s->node);
    wheel_timer_init(&s->timer, session_timer);
    buf_init(&s->late, 0);
    buf_init(&s->sender, 0);
    buf_init(&s->rcpts, 0);
    buf_init(&s->text, 0);
    s->by_route = l == &k->listeners[1];
    s->asked = l == &k->listeners[2];
    net_conn_init(&s->conn, k->station.io, fd, session_ready, session_closed);
    greet(s);
}

static const unsigned ports[] = {25, 2525, 465};

static void listen_at(struct sink *k, unsigned i)
{
    char text[64];
    struct io_addr addr;
    bool ok;

    (void)snprintf(text, sizeof(text), "10.0.1.%u:%u", (unsigned)(k - k->all->list) + 1, ports[i]);
    ok = io_addr_parse(slice_str(text), &addr);
    ASSERT(ok);
    k->listeners[i].context = k;
    net_listener_start(&k->listeners[i], k->station.io, &k->station.wheel,
                       io_listen(k->station.io, &addr, 0, 64), sink_accepted);
}

static void listener_stopped(struct net_listener *l)
{
    struct sink *k = l->context;

    if (!k->shut)
        listen_at(k, (unsigned)(l - k->listeners));
}

void sinks_open(struct world *w, unsigned sink, bool open)
{
    struct sink *k = &w->sinks->list[sink];

    if (k->shut != open)
        return;
    k->shut = !open;
    for (unsigned i = 0; i < ARRAY_LEN(ports); i++) {
        if (!open)
            net_listener_stop(&k->listeners[i], listener_stopped);
        else if (net_listener_is_stopped(&k->listeners[i]))
            listen_at(k, i);
    }
}

static void sink_start(struct sinks *all, struct sink *k, unsigned number)
{
    struct rand *r = &all->world->rand;
    char text[64];

    (void)snprintf(text, sizeof(text), "10.0.1.%u", number + 1);
    station_init(&k->station, all->world, text);
    k->all = all;
    k->pipelining = rand_chance(r, 3, 4);
    k->eightbit = rand_chance(r, 3, 4);
    k->size = rand_chance(r, 1, 2);
    k->helo_only = rand_chance(r, 1, 8);
    if (all->world->plan.tls != SIM_TLS_OFF)
        k->starttls = rand_chance(r, 3, 4);
    if (all->world->plan.encrypts
        && number == 0) { /* what must be encrypted gets there in the end */
        k->starttls = true;
        k->helo_only = false;
    }
    k->pipelining &= !k->helo_only;
    for (unsigned i = 0; i < ARRAY_LEN(ports); i++)
        listen_at(k, i);
}

void sinks_start(struct world *w)
{
    struct sinks *all = w->sinks = mem_zalloc(sizeof(*all));

    all->world = w;
    list_init(&all->sessions);
    for (unsigned i = 0; i < SINKS; i++)
        sink_start(all, &all->list[i], i);
}

/* The world is at its end: what is still open goes without calls into io. */
void sinks_finish(struct world *w)
{
    LIST_EACH_SAFE(&w->sinks->sessions, node)
    {
        struct session *s = container_of(node, struct session, node);
        net_conn_discard(&s->conn);
        session_free(s);
    }
    mem_free(w->sinks);
}

uint64_t sinks_connections(const struct world *w)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < SINKS; i++)
        sum += w->sinks->list[i].connections;
    return sum;
}
