/* net_world: see the header. */
#include "net_world.h"

#include <stdio.h>

#include "base_mem.h"
#include "base_rand.h"
#include "io_uring_ring.h"
#include "net_test_pair.h"

enum { STEPS_MAX = 2000000, JOBS_MAX = 4, PATIENCE_MS = 20000 };

struct net_world w;

/* ---- ends ------------------------------------------------------------------------------------- */

static void give_up(struct end *e)
{
    struct net_conn *c = &e->conn;

    e->error = c->error;
    if (c->tls_state == NET_CONN_TLS_FAILED) {
        (void)snprintf(e->tls_error, sizeof(e->tls_error), "%s", net_conn_tls_error(c));
        net_conn_close(c, true); /* the peer is to see the alert */
    } else {
        net_conn_abort(c);
    }
}

static void start_tls(struct end *e)
{
    static const struct slice name = SLICE_INIT("mx.sim.test");
    struct tls_connect_options options = {
        .check = e->check, .sni = name, .names = &name, .name_count = 1};
    struct tls *t = e->is_client ? tls_connect(e->context, &options) : tls_accept(e->context);

    e->started = true;
    net_conn_start_tls(&e->conn, t, e->door);
    if (e->close_when_started)
        net_conn_close(&e->conn, false);
    if (e->abort_when_started)
        net_conn_abort(&e->conn);
}

static bool take_line(struct net_conn *c, const char *line)
{
    struct slice in = net_conn_input(c), want = slice_str(line);

    if (in.len < want.len || !slice_equal(slice_head(in, want.len), want))
        return false;
    net_conn_consume(c, want.len);
    return true;
}

/* True: the connection is ready for data. */
static bool begin(struct end *e)
{
    struct net_conn *c = &e->conn;

    if (e->mode == MODE_CLEAR)
        return true;
    if (e->mode == MODE_IMPLICIT && !e->started)
        start_tls(e);
    if (e->mode == MODE_STARTTLS && e->is_client && !e->asked) {
        e->asked = true;
        (void)buf_append_str(net_conn_out(c), "STARTTLS\r\n");
        (void)buf_append_slice(net_conn_out(c), e->behind);
        net_conn_flush(c);
    }
    if (e->mode == MODE_STARTTLS && !e->started) {
        if (take_line(c, e->is_client ? "220 go ahead\r\n" : "STARTTLS\r\n")) {
            if (!e->is_client) {
                (void)buf_append_str(net_conn_out(c), "220 go ahead\r\n");
                (void)buf_append_slice(net_conn_out(c), e->behind);
            }
            if (e->stays_in_clear) {
                e->started = true;
                e->mode = MODE_CLEAR;
                return true;
            }
            start_tls(e);
        } else if (c->eof) {
            net_conn_close(c, false);
        } else {
            net_conn_want_input(c);
        }
    }
    e->was_active |= c->tls_state == NET_CONN_TLS_ACTIVE;
    return c->tls_state == NET_CONN_TLS_ACTIVE;
}

static void send_as_body(struct end *e)
{
    struct net_conn *c = &e->conn;
    struct slice part = slice_head(e->to_send, 200 * 1000);
    int count = (int)ARRAY_LEN(e->pieces) - 2;

    (void)buf_append(net_conn_out(c), part.data, 1);
    slice_advance(&part, 1);
    slice_advance(&e->to_send, part.len + 1);
    for (int i = 0; i < count; i++) { /* small ones, an empty one, large ones */
        size_t len = i < count / 2 ? (size_t)i % 7 : part.len / (size_t)(count - i);
        if (len > part.len)
            len = part.len;
        if (i == count - 1)
            len = part.len;
        e->pieces[i] = (struct iovec){(void *)(uintptr_t)part.data, len};
        slice_advance(&part, len);
    }
    net_conn_send_body(c, e->pieces, count, 0);
}

void net_end_step(struct end *e)
{
    struct net_conn *c = &e->conn;

    if (c->error != 0) {
        give_up(e);
        return;
    }
    if (!begin(e)) {
        if (c->error != 0)
            give_up(e);
        return;
    }
    while (e->reads && net_conn_input(c).len > 0) {
        struct slice bite = slice_head(net_conn_input(c), e->consume_max);
        (void)buf_append_slice(&e->got, bite);
        net_conn_consume(c, bite.len);
    }
    e->saw_eof |= c->eof;
    e->was_truncated |= net_conn_tls_truncated(c);
    if (e->as_body && e->to_send.len > 0 && !net_conn_sending(c))
        send_as_body(e);
    while (!e->as_body && e->to_send.len > 0 && net_conn_unsent(c) < 8192) {
        struct slice part = slice_head(e->to_send, 1000);
        ck_assert(buf_append_slice(net_conn_out(c), part));
        slice_advance(&e->to_send, part.len);
    }
    net_conn_flush(c);
    if (e->close_after_send && e->to_send.len == 0 && !net_conn_sending(c))
        net_conn_close(c, e->linger);
    else if (e->close_after_got > 0 && buf_len(&e->got) >= e->close_after_got
             && e->to_send.len == 0)
        net_conn_close(c, false);
    else if (c->eof && e->to_send.len == 0 && net_conn_input(c).len == 0)
        net_conn_close(c, false);
    else if (e->reads)
        net_conn_want_input(c);
}

static void end_ready(struct net_conn *c)
{
    struct end *e = container_of(c, struct end, conn);

    e->readies++;
    net_end_step(e);
}

static void end_closed(struct net_conn *c)
{
    container_of(c, struct end, conn)->closed++;
}

static void accepted(struct net_listener *l, int fd)
{
    ck_assert_ptr_eq(l, &w.listener);
    net_conn_init(&w.server.conn, w.server_io, fd, end_ready, end_closed);
    net_end_step(&w.server);
}

/* ---- the world -------------------------------------------------------------------------------- */

static void open_ends(const char *address, unsigned threads)
{
    int fd;

    ck_assert(io_addr_parse(slice_str(address), &w.addr));
    fd = io_listen(w.server_io, &w.addr, 0, 16);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(io_addresses(w.server_io, fd, &w.addr, NULL), 0);
    wheel_init(&w.wheel, io_now_ms(w.server_io));
    net_listener_start(&w.listener, w.server_io, &w.wheel, fd, accepted);
    w.client.reads = w.server.reads = true;
    w.client.is_client = true;
    w.client.consume_max = w.server.consume_max = SIZE_MAX;
    buf_init(&w.client.got, 0);
    buf_init(&w.server.got, 0);
    w.helpers = work_pool_create("helpers", threads, JOBS_MAX);
    w.door = work_door_create(w.helpers, w.server_io);
}

void net_world_open(uint64_t seed, const struct sim_options *options)
{
    memset(&w, 0, sizeof(w));
    w.sim = sim_create(seed, options);
    w.client_io = sim_io_create(sim_machine_create(w.sim, "10.0.0.1"), 0);
    w.server_io = sim_io_create(sim_machine_create(w.sim, "10.0.0.2"), 0);
    open_ends("10.0.0.2:25", 0);
}

void net_world_open_uring(void)
{
    struct buf error = {0};
    int exit_code;

    memset(&w, 0, sizeof(w));
    w.server_io = w.client_io =
        io_uring_create(&(struct io_uring_options){.entries = 32, .recv_buffers = 8, .cpu = -1},
                        &error, &exit_code);
    ck_assert_msg(w.server_io != NULL, "%.*s", SLICE_ARG(buf_slice(&error)));
    ck_assert_int_eq(io_uring_start(w.server_io), 0);
    buf_finish(&error);
    open_ends("127.0.0.1:0", 1);
}

static void use_contexts(enum net_mode mode, bool helpers, const struct tls_client_options *client,
                         const struct tls_server_options *server)
{
    struct buf why = {0};

    w.client.mode = w.server.mode = mode;
    w.client.context = tls_client_context_create(client, &why);
    w.server.context = tls_server_context_create(server, &why);
    ck_assert_msg(w.client.context != NULL && w.server.context != NULL, "%.*s",
                  SLICE_ARG(buf_slice(&why)));
    if (helpers)
        w.server.door = w.door;
    buf_finish(&why);
}

void net_world_use_tls(enum net_mode mode, bool helpers)
{
    use_contexts(mode, helpers, &(struct tls_client_options){.null = true},
                 &(struct tls_server_options){.null = true});
}

static const struct tls_pair pair = {.certificate_file = "certificate",
                                     .key_file = "key",
                                     .certificate = SLICE_INIT(NET_TEST_CERTIFICATE),
                                     .key = SLICE_INIT(NET_TEST_KEY)};
static const struct tls_pair heavy_pair = {.certificate_file = "certificate",
                                           .key_file = "key",
                                           .certificate = SLICE_INIT(NET_TEST_HEAVY_CERTIFICATE),
                                           .key = SLICE_INIT(NET_TEST_HEAVY_KEY)};

static void use_pair(enum net_mode mode, bool helpers, enum tls_version version_min,
                     const struct tls_pair *of)
{
    ck_assert(tls_library_init());
    w.client.check = TLS_CHECK_NAME;
    use_contexts(
        mode, helpers,
        &(struct tls_client_options){.ca = of->certificate, .version_min = version_min},
        &(struct tls_server_options){.pairs = of, .pair_count = 1, .version_min = version_min});
}

void net_world_use_real_tls(enum net_mode mode, bool helpers, enum tls_version version_min)
{
    use_pair(mode, helpers, version_min, &pair);
    ck_assert(!tls_context_is_heavy(w.server.context));
}

void net_world_use_heavy_tls(enum net_mode mode)
{
    use_pair(mode, true, TLS_VERSION_1_2, &heavy_pair);
    ck_assert(tls_context_is_heavy(w.server.context));
}

void net_world_connect(void)
{
    ck_assert(net_conn_connect(&w.client.conn, w.client_io, &w.addr, end_ready, end_closed));
}

/* True: all that was asked for is over. */
static bool run_uring(void)
{
    struct io *io = w.server_io;
    uint64_t until_ms = io_now_ms(io) + PATIENCE_MS;

    while ((w.client.closed == 0 || w.server.closed == 0) && io_now_ms(io) < until_ms) {
        (void)io_wait(io, work_door_has_work(w.door) ? 0 : until_ms);
        work_door_step(w.door);
    }
    return io_now_ms(io) < until_ms;
}

void net_world_run(void)
{
    struct io *io;
    int steps = 0;

    if (w.sim == NULL) {
        ck_assert(run_uring());
        return;
    }
    while ((io = sim_step(w.sim)) != NULL && ++steps < STEPS_MAX) {
        (void)io_wait(io, io == w.server_io ? wheel_next_ms(&w.wheel) : UINT64_MAX);
        if (io == w.server_io && !w.helpers_sleep)
            work_door_step(w.door);
    }
    ck_assert_int_lt(steps, STEPS_MAX);
}

void net_world_close(void)
{
    net_listener_stop(&w.listener, NULL);
    while (w.sim == NULL && !net_listener_is_stopped(&w.listener))
        (void)io_wait(w.server_io, UINT64_MAX);
    net_world_run();
    ck_assert(net_listener_is_stopped(&w.listener));
    ck_assert_uint_eq(w.client_io->counters.lent_out, 0);
    ck_assert_uint_eq(w.server_io->counters.lent_out, 0);
    buf_finish(&w.client.got);
    buf_finish(&w.server.got);
    tls_context_unref(w.client.context);
    tls_context_unref(w.server.context);
    work_door_destroy(w.door, false);
    work_pool_destroy(w.helpers);
    io_destroy(w.client_io);
    if (w.sim == NULL)
        return;
    io_destroy(w.server_io);
    ck_assert_uint_eq(sim_leaked_fds(w.sim), 0);
    sim_destroy(w.sim);
}

uint8_t *net_random_bytes(uint64_t seed, size_t len)
{
    uint8_t *bytes = mem_alloc(len);
    struct rand r;

    rand_seed(&r, seed);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)rand_u64(&r);
    return bytes;
}
