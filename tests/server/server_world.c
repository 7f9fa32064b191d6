/* server_world: see the header. */
#include "server_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base_mem.h"

/* ---- the queue's other side ----------------------------------------------------------------- */

static struct server_world *of(void *context)
{
    return context;
}

/* The field that we have added ends where a line begins without a blank. */
static struct slice without_trace(struct slice body)
{
    ck_assert(slice_starts_nocase(body, SLICE_LITERAL("Received: from ")));
    for (;;) {
        ptrdiff_t end = slice_find(body, '\n');
        ck_assert_int_ge(end, 0);
        slice_advance(&body, (size_t)end + 1);
        if (body.len == 0 || (body.data[0] != ' ' && body.data[0] != '\t'))
            return body;
    }
}

static void never_ready(struct spool_reader *r)
{
    (void)r;
}

static void note_message(struct server_world *w, const struct spool_message *m, struct slice envid)
{
    if (envid.len > 0)
        (void)buf_printf(&w->mail, "[%.*s]", SLICE_ARG(envid));
    if (m->flags & (SPOOL_RET_FULL | SPOOL_RET_HDRS))
        (void)buf_printf(&w->mail, "[%s]", m->flags & SPOOL_RET_FULL ? "FULL" : "HDRS");
}

static void note_dsn(struct server_world *w, const struct spool_dsn *dsn)
{
    static const char *const names[] = {"NEVER", "SUCCESS", "FAILURE", "DELAY"};

    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (dsn->notify & 1u << i)
            (void)buf_printf(&w->mail, "[%s]", names[i]);
    if (dsn->orcpt.len > 0)
        (void)buf_printf(&w->mail, "[%.*s]", SLICE_ARG(dsn->orcpt));
    if (dsn->flags & SPOOL_RECIPIENT_EXPANDED)
        (void)buf_append_str(&w->mail, "[expanded]");
}

static void note_mail(struct server_world *w, struct spool_message *m)
{
    struct slice *to = mem_calloc(m->recipient_count, sizeof(*to));
    struct spool_dsn *dsn = mem_calloc(m->recipient_count, sizeof(*dsn));
    struct slice envid;
    struct spool_ref ref = spool_pin(w->spool, m);
    struct spool_reader r = {0};
    struct slice sender, piece;
    struct buf body = {0};

    spool_reader_begin(&r, w->io, &ref, never_ready);
    ck_assert_int_eq(spool_reader_envelope(&r, &sender, to, NULL), SPOOL_READ_PIECE);
    spool_reader_dsn(&r, &envid, dsn);
    (void)buf_printf(&w->mail, "{%.*s", SLICE_ARG(sender));
    note_message(w, m, envid);
    (void)buf_append_str(&w->mail, "|");
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        (void)buf_printf(&w->mail, "%s%.*s", i > 0 ? " " : "", SLICE_ARG(to[i]));
        note_dsn(w, &dsn[i]);
    }
    while (spool_reader_body(&r, &piece) == SPOOL_READ_PIECE)
        (void)buf_append_slice(&body, piece);
    (void)buf_append_str(&w->mail, "|");
    (void)buf_append_slice(&w->mail, without_trace(buf_slice(&body)));
    (void)buf_append_str(&w->mail, "}");
    spool_reader_finish(&r);
    spool_unpin(w->spool, m, &ref);
    buf_finish(&body);
    mem_free(dsn);
    mem_free(to);
}

static void dispatch(void *context, struct queue_entry *e)
{
    struct server_world *w = of(context);
    struct spool_message *m = e->message;
    uint32_t count = m->recipient_count;
    struct spool_outcome *done = mem_calloc(count, sizeof(*done));

    if (m->extent_count == 0)
        note_mail(w, m);
    w->delivered++;
    for (uint32_t i = 0; i < count; i++)
        done[i] = (struct spool_outcome){.recipient = i, .state = SPOOL_RECIPIENT_DELIVERED};
    queue_settled(e, done, count);
    mem_free(done);
}

/* ---- the world ------------------------------------------------------------------------------ */

#define CONF_BASE                                                                       \
    "hostname = \"mx.example\" spool = \"/spool\" spool_segment = \"1M\"\n"             \
    "listener \"in\" { address = {\"10.0.0.1:25\"} role = mx message_size = 100000 }\n" \
    "domain \"one.example\" { to = \"discard\" }\n"                                     \
    "domain \"shut.example\" { to = \"reject:moved away\" }\n"

static struct conf *load(const char *base, const char *more)
{
    char path[] = "/tmp/server-conf-XXXXXX";
    struct conf_errors errors = {0};
    struct conf *conf = NULL;
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");

    ck_assert_ptr_nonnull(file);
    (void)fprintf(file, "%s%s\n", base, more);
    (void)fclose(file);
    ck_assert_msg(conf_load(path, &conf, &errors), "%s", errors.count ? errors.items[0].text : "");
    conf_errors_finish(&errors);
    (void)unlink(path);
    return conf;
}

static void open_spool(struct server_world *w)
{
    struct spool_options options = {.path = "/spool",
                                    .shards = 1,
                                    .segment_size = 1 << 20,
                                    .bytes_max = w->spool_bytes_max,
                                    .context = w};
    struct buf error = {0};

    w->io = sim_io_create(w->machine, spool_registered_len(&options));
    wheel_init(&w->wheel, io_now_ms(w->io));
    queue_init(&w->queue, &(struct queue_options){.conf = w->conf,
                                                  .io = w->io,
                                                  .wheel = &w->wheel,
                                                  .seed = 1,
                                                  .dispatch = dispatch,
                                                  .context = w});
    w->spool = spool_open(w->io, &options, NULL, &error);
    ck_assert_msg(w->spool != NULL, "%.*s", SLICE_ARG(buf_slice(&error)));
    queue_set_spool(&w->queue, w->spool);
}

static bool ask(void *context, struct verify_ask *a)
{
    struct server_world *w = of(context);

    ck_assert_uint_lt(w->ask_count, WORLD_ASKS);
    w->asks[w->ask_count++] = a;
    return true;
}

void server_world_answer(struct server_world *w, unsigned n, enum verify_answer answer,
                         const char *words)
{
    struct verify_ask *a = w->asks[n];

    ck_assert_uint_lt(n, w->ask_count);
    ck_assert_ptr_nonnull(a);
    w->asks[n] = NULL;
    a->answer = answer;
    a->code = answer == VERIFY_ANSWER_NO ? 550 : 0;
    a->text = slice_str(words);
    a->done(a);
}

/* *w has its configuration and what it speaks TLS with. */
static void open_world(struct server_world *w, const struct sim_options *options)
{
    struct sim_options defaults = sim_options_default();
    struct io_addr addr;
    char ip[16];
    int fd;

    w->sim = sim_create(1, options != NULL ? options : &defaults);
    w->machine = sim_machine_create(w->sim, "10.0.0.1");
    for (int i = 0; i < CLIENT_HOSTS; i++) {
        (void)snprintf(ip, sizeof(ip), "10.0.0.%d", 2 + i);
        w->clients[i] = sim_io_create(sim_machine_create(w->sim, ip), 0);
    }
    open_spool(w);
    server_shared_init(&w->shared, w->conf);
    if (w->asking)
        w->verify = verify_create(
            &(struct verify_options){.io = w->io, .wheel = &w->wheel, .ask = ask, .context = w});
    w->server =
        server_create(&(struct server_options){.settings = {.conf = w->conf, .tls = &w->tls},
                                               .shared = &w->shared,
                                               .verify = w->verify,
                                               .io = w->io,
                                               .wheel = &w->wheel,
                                               .spool = w->spool,
                                               .queue = &w->queue});
    ck_assert(io_addr_parse(SLICE_LITERAL("10.0.0.1:25"), &addr));
    fd = io_listen(w->io, &addr, 0, 64);
    ck_assert_int_ge(fd, 0);
    server_listen(w->server, fd, 0);
}

void server_world_open(struct server_world *w, const struct sim_options *options, const char *conf,
                       uint64_t spool_bytes_max)
{
    *w = (struct server_world){.conf = load(CONF_BASE, conf), .spool_bytes_max = spool_bytes_max};
    open_world(w, options);
}

void server_world_open_asking(struct server_world *w, const char *conf)
{
    *w = (struct server_world){.conf = load(CONF_BASE, conf), .asking = true};
    open_world(w, NULL);
}

void server_world_open_tls(struct server_world *w, const char *tls)
{
    static const char base[] =
        "hostname = \"mx.example\" spool = \"/spool\" spool_segment = \"1M\"\n"
        "tls { certificate = {\"/c\"} key = {\"/k\"} }\n"
        "domain \"one.example\" { to = \"discard\" }\n";
    char listener[256];
    struct buf why = {0};

    (void)snprintf(listener, sizeof(listener),
                   "listener \"in\" { address = {\"10.0.0.1:25\"} role = mx message_size = 100000 "
                   "tls = %s }\n",
                   tls);
    *w = (struct server_world){.conf = load(base, listener)};
    w->tls = tls_server_context_create(&(struct tls_server_options){.null = true}, &why);
    ck_assert_ptr_nonnull(w->tls);
    buf_finish(&why);
    open_world(w, NULL);
}

void server_world_reload(struct server_world *w, const char *conf)
{
    struct conf *before = w->conf;

    w->conf = load(conf, "");
    server_reload(w->server, &(struct server_settings){.conf = w->conf, .tls = &w->tls});
    queue_set_conf(&w->queue, w->conf);
    conf_free(before);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void pass(struct server_world *w)
{
    (void)io_wait(w->io, w->next_ms);
    wheel_advance(&w->wheel, io_now_ms(w->io));
    server_step(w->server);
    if (!w->keep)
        queue_step(&w->queue);
    spool_step(w->spool);
    w->next_ms = earlier(wheel_next_ms(&w->wheel), spool_next_ms(w->spool));
    if (server_has_work(w->server) || (!w->keep && queue_has_work(&w->queue)))
        w->next_ms = io_now_ms(w->io);
}

bool server_world_pass_any(struct server_world *w)
{
    struct io *io = sim_step(w->sim);

    if (io == w->io)
        pass(w);
    else if (io != NULL)
        (void)io_wait(io, UINT64_MAX);
    return io != NULL;
}

static void run(struct server_world *w, uint64_t end_ms, bool until_idle)
{
    struct io *io;

    if (until_idle && server_world_counters(w).sessions == 0)
        return;
    (void)io_wait(w->clients[0], end_ms); /* so that the world has an event then */
    while (sim_now_ms(w->sim) < end_ms && (io = sim_step(w->sim)) != NULL) {
        if (io == w->io)
            pass(w);
        else
            (void)io_wait(io, io == w->clients[0] ? end_ms : UINT64_MAX);
        if (until_idle && server_world_counters(w).sessions == 0)
            return;
    }
    pass(w); /* what the test has changed meanwhile is seen in the next */
}

void server_world_run_ms(struct server_world *w, uint64_t ms)
{
    run(w, sim_now_ms(w->sim) + ms, false);
}

uint64_t server_world_run_idle(struct server_world *w, uint64_t most_ms)
{
    uint64_t began_ms = sim_now_ms(w->sim);

    run(w, began_ms + most_ms, true);
    ck_assert_uint_eq(server_world_counters(w).sessions, 0);
    return sim_now_ms(w->sim) - began_ms;
}

struct server_counters server_world_counters(const struct server_world *w)
{
    struct server_counters c;

    server_counters(w->server, &c);
    return c;
}

void server_world_close(struct server_world *w)
{
    w->keep = true;
    server_stop(w->server, io_now_ms(w->io) + 1000);
    if (w->asking)
        verify_stop(w->verify);
    for (unsigned i = 0; i < w->ask_count; i++)
        if (w->asks[i] != NULL)
            server_world_answer(w, i, VERIFY_ANSWER_NONE, "");
    spool_stop(w->spool);
    for (int i = 0; i < 1000 && !(server_idle(w->server) && spool_idle(w->spool)); i++)
        server_world_run_ms(w, 100);
    ck_assert(server_idle(w->server) && spool_idle(w->spool));
    ck_assert_uint_eq(atomic_load(&w->shared.connections), 0);
    ck_assert_uint_eq(w->io->counters.lent_out, 0);
    server_destroy(w->server, false);
    verify_destroy(w->verify, false);
    queue_finish(&w->queue);
    spool_close(w->spool, false);
    ck_assert_uint_eq(w->wheel.count, 0);
    for (int i = 0; i < CLIENT_HOSTS; i++)
        io_destroy(w->clients[i]);
    io_destroy(w->io);
    ck_assert_uint_eq(sim_leaked_fds(w->sim), 0);
    server_shared_finish(&w->shared);
    tls_context_unref(w->tls);
    conf_free(w->conf);
    buf_finish(&w->mail);
    sim_destroy(w->sim);
}

/* ---- clients -------------------------------------------------------------------------------- */

static void client_ready(struct net_conn *conn)
{
    struct client *c = container_of(conn, struct client, conn);
    struct slice in = net_conn_input(conn);

    (void)buf_append_slice(&c->got, in);
    net_conn_consume(conn, in.len);
    if (conn->error != 0)
        net_conn_abort(conn);
    else if (conn->eof)
        net_conn_close(conn, false);
    else if (!c->deaf)
        net_conn_want_input(conn);
    net_conn_flush(conn);
}

static void client_closed(struct net_conn *conn)
{
    container_of(conn, struct client, conn)->closed = true;
}

void client_open(struct server_world *w, struct client *c, unsigned host)
{
    static struct io_addr addr;
    bool deaf = c->deaf;

    *c = (struct client){.deaf = deaf};
    ck_assert(io_addr_parse(SLICE_LITERAL("10.0.0.1:25"), &addr));
    ck_assert(net_conn_connect(&c->conn, w->clients[host], &addr, client_ready, client_closed));
    c->conn.out.limit = c->conn.sending.limit = 4 << 20;
}

void client_send_bytes(struct client *c, const void *bytes, size_t len)
{
    ck_assert(buf_append(net_conn_out(&c->conn), bytes, len));
    if (c->conn.state == NET_CONN_OPEN)
        net_conn_flush(&c->conn);
}

void client_send(struct client *c, const char *text)
{
    client_send_bytes(c, text, strlen(text));
}

const char *client_got(const struct client *c)
{
    static struct buf text;
    struct slice got = buf_slice(&c->got);
    static const char mark[] = "queued as ";

    buf_clear(&text);
    while (got.len > 0) {
        (void)buf_append_byte(&text, got.data[0]);
        slice_advance(&got, 1);
        if (buf_len(&text) >= sizeof(mark) - 1
            && memcmp(text.data + text.tail - (sizeof(mark) - 1), mark, sizeof(mark) - 1) == 0) {
            (void)buf_append_byte(&text, '*');
            slice_advance(&got, ID_TEXT_SIZE - 1);
        }
    }
    (void)buf_append_byte(&text, '\0');
    return (const char *)buf_slice(&text).data;
}

void client_start_tls(struct client *c)
{
    struct buf why = {0};
    struct tls_context *context =
        tls_client_context_create(&(struct tls_client_options){.null = true}, &why);

    ck_assert_ptr_nonnull(context);
    net_conn_start_tls(&c->conn, tls_connect(context, &(struct tls_connect_options){0}), NULL);
    tls_context_unref(context); /* the session has its own reference */
    buf_finish(&why);
}

static void half_closed(struct io_op *op)
{
    (void)op;
}

void client_end(struct client *c)
{
    c->end.done = half_closed;
    io_shutdown_send(c->conn.io, &c->end, c->conn.fd);
}

void client_close(struct server_world *w, struct client *c)
{
    net_conn_close(&c->conn, false);
    server_world_run_ms(w, 50);
}

void client_finish(struct server_world *w, struct client *c)
{
    net_conn_abort(&c->conn);
    for (int i = 0; i < 100 && !c->closed; i++)
        server_world_run_ms(w, 50);
    ck_assert(c->closed);
    buf_finish(&c->got);
}
