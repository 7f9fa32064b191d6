/*
 * A connection on the simulator: whatever the cuts, the order and the faults, bytes arrive as they left
 * and `closed` comes once. Two ends on two machines, each an owner with a script.
 */
#include <check.h>
#include <errno.h>

#include "base_mem.h"
#include "base_rand.h"
#include "base_wheel.h"
#include "io_sim.h"
#include "net_conn.h"
#include "net_listener.h"

enum { STREAM_LEN = 300 * 1000 };

Suite *net_conn_suite(void);

/* An owner: sends `to_send`, keeps what comes, closes when it was told to. */
struct end {
    struct net_conn conn;
    struct slice to_send;
    struct buf got;
    size_t consume_max; /* a call; leaves the rest */
    bool reads;
    bool close_after_send;
    size_t close_after_got; /* 0: only at the peer's end */
    bool linger;
    bool as_body; /* in pieces that stand still */
    struct iovec pieces[3];
    int closed;
    int readies;
};

static struct world {
    struct sim *sim;
    struct io *client_io, *server_io;
    struct wheel wheel;
    struct net_listener listener;
    struct end client, server;
    struct io_addr addr;
} w;

static void end_step(struct end *e)
{
    struct net_conn *c = &e->conn;

    while (e->reads && net_conn_input(c).len > 0) {
        struct slice bite = slice_head(net_conn_input(c), e->consume_max);
        (void)buf_append_slice(&e->got, bite);
        net_conn_consume(c, bite.len);
    }
    if (c->error != 0) {
        net_conn_abort(c);
        return;
    }
    if (e->as_body && e->to_send.len > 0 && !net_conn_sending(c)) {
        (void)buf_append(net_conn_out(c), e->to_send.data, 1);
        slice_advance(&e->to_send, 1);
        for (int i = 0; i < 3; i++) {
            size_t len = e->to_send.len / (size_t)(3 - i);
            e->pieces[i] = (struct iovec){(void *)(uintptr_t)e->to_send.data, len};
            slice_advance(&e->to_send, len);
        }
        net_conn_send_body(c, e->pieces, 3, 0);
    }
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
    end_step(e);
}

static void end_closed(struct net_conn *c)
{
    container_of(c, struct end, conn)->closed++;
}

static void accepted(struct net_listener *l, int fd)
{
    ck_assert_ptr_eq(l, &w.listener);
    net_conn_init(&w.server.conn, w.server_io, fd, end_ready, end_closed);
    end_step(&w.server);
}

static void open_world(uint64_t seed, const struct sim_options *options)
{
    int fd;

    memset(&w, 0, sizeof(w));
    w.sim = sim_create(seed, options);
    w.client_io = sim_io_create(sim_machine_create(w.sim, "10.0.0.1"), 0);
    w.server_io = sim_io_create(sim_machine_create(w.sim, "10.0.0.2"), 0);
    ck_assert(io_addr_parse(SLICE_LITERAL("10.0.0.2:25"), &w.addr));
    fd = io_listen(w.server_io, &w.addr, 0, 16);
    ck_assert_int_ge(fd, 0);
    wheel_init(&w.wheel, io_now_ms(w.server_io));
    net_listener_start(&w.listener, w.server_io, &w.wheel, fd, accepted);
    w.client.reads = w.server.reads = true;
    w.client.consume_max = w.server.consume_max = SIZE_MAX;
    buf_init(&w.client.got, 0);
    buf_init(&w.server.got, 0);
}

static void run_world(void)
{
    struct io *io;
    int steps = 0;

    while ((io = sim_step(w.sim)) != NULL && ++steps < 2000000)
        (void)io_wait(io, io == w.server_io ? wheel_next_ms(&w.wheel) : UINT64_MAX);
    ck_assert_int_lt(steps, 2000000);
}

static void close_world(void)
{
    net_listener_stop(&w.listener, NULL);
    run_world();
    ck_assert(net_listener_is_stopped(&w.listener));
    buf_finish(&w.client.got);
    buf_finish(&w.server.got);
    io_destroy(w.client_io);
    io_destroy(w.server_io);
    ck_assert_uint_eq(sim_leaked_fds(w.sim), 0);
    sim_destroy(w.sim);
}

static uint8_t *random_bytes(uint64_t seed, size_t len)
{
    uint8_t *bytes = mem_alloc(len);
    struct rand r;

    rand_seed(&r, seed);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)rand_u64(&r);
    return bytes;
}

static void connect_client(void)
{
    ck_assert(net_conn_connect(&w.client.conn, w.client_io, &w.addr, end_ready, end_closed));
}

/* Both ways at once, read in small bites, sent from the buffer or as pieces. */
static void stream_once(uint64_t seed)
{
    struct sim_options options = sim_options_default();
    uint8_t *up = random_bytes(seed, STREAM_LEN), *down = random_bytes(seed + 1, STREAM_LEN);

    options.recv_split = 5000;
    options.recv_buffers = 2;
    options.link_buffer_len = 700 + seed % 5000;
    open_world(seed, &options);
    w.client.to_send = slice_of(up, STREAM_LEN);
    w.server.to_send = slice_of(down, STREAM_LEN);
    w.client.as_body = seed % 2 != 0;
    w.server.consume_max = 1 + seed % 3000;
    w.client.close_after_send = true;
    w.client.linger = true; /* so that the server may read on at its leisure */
    w.server.close_after_got = STREAM_LEN;
    connect_client();
    run_world();
    ck_assert_int_eq(w.client.closed, 1);
    ck_assert_int_eq(w.server.closed, 1);
    /* The server reads all before it sees the end; what the client still gets after its close is
     * dropped. */
    ck_assert_uint_eq(buf_len(&w.server.got), STREAM_LEN);
    ck_assert(memcmp(buf_slice(&w.server.got).data, up, STREAM_LEN) == 0);
    ck_assert(memcmp(buf_slice(&w.client.got).data, down, buf_len(&w.client.got)) == 0);
    ck_assert_uint_eq(w.client.conn.bytes_out, STREAM_LEN);
    close_world();
    mem_free(up);
    mem_free(down);
}

START_TEST(bytes_arrive_as_they_left)
{
    for (uint64_t seed = 1; seed <= 40; seed++)
        stream_once(seed);
}
END_TEST

/* Resets, short everything: never a wrong byte, always one `closed` a side. */
START_TEST(faults_end_in_closed_once)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct sim_options options = sim_options_from_seed(seed);
        uint8_t *up = random_bytes(seed, 20000);

        options.conn_reset = 50;
        options.connect_stall = 0;
        open_world(seed, &options);
        w.client.to_send = slice_of(up, 20000);
        w.client.close_after_send = true;
        connect_client();
        run_world();
        ck_assert_int_eq(w.client.closed, 1);
        ck_assert_uint_le(buf_len(&w.server.got), 20000);
        ck_assert(buf_len(&w.server.got) == 0
                  || memcmp(buf_slice(&w.server.got).data, up, buf_len(&w.server.got)) == 0);
        ck_assert_int_eq(w.server.closed, w.server.conn.io != NULL);
        close_world();
        mem_free(up);
    }
}
END_TEST

START_TEST(not_asking_is_back_pressure)
{
    struct sim_options options = sim_options_default();
    uint8_t *up = random_bytes(7, STREAM_LEN);

    options.link_buffer_len = 4096;
    open_world(3, &options);
    w.client.to_send = slice_of(up, STREAM_LEN);
    w.server.reads = false;
    connect_client();
    run_world();
    ck_assert_uint_eq(w.server.conn.bytes_in, 0);
    ck_assert_uint_lt(w.client.conn.bytes_out, 32768);
    /* A peer that never reads does not keep us from ending. */
    net_conn_abort(&w.client.conn);
    run_world();
    ck_assert_int_eq(w.client.closed, 1);
    w.server.reads = true;
    net_conn_want_input(&w.server.conn);
    run_world();
    ck_assert_int_eq(w.server.closed, 1);
    close_world();
    mem_free(up);
}
END_TEST

START_TEST(idle_connection_holds_no_memory)
{
    struct sim_options options = sim_options_default();

    open_world(4, &options);
    w.client.to_send = SLICE_LITERAL("EHLO there\r\n");
    connect_client();
    run_world();
    ck_assert_uint_eq(buf_len(&w.server.got), 12);
    ck_assert_ptr_null(w.server.conn.carry.data);
    ck_assert_ptr_null(w.client.conn.sending.data);
    ck_assert_uint_eq(w.server_io->counters.lent_out, 0);
    net_conn_close(&w.client.conn, false);
    run_world();
    ck_assert_int_eq(w.server.closed, 1);
    close_world();
}
END_TEST

/* Whoever is told to go away sees the end at once, though we read on. */
START_TEST(lingering_close_says_its_end)
{
    struct sim_options options = sim_options_default();

    open_world(8, &options);
    w.server.to_send = SLICE_LITERAL("421 too many\r\n");
    w.server.close_after_send = true;
    w.server.linger = true;
    connect_client();
    run_world();
    ck_assert_uint_eq(buf_len(&w.client.got), 14);
    ck_assert(w.client.conn.eof);
    ck_assert_int_eq(w.client.closed, 1); /* it closes because it saw the end */
    ck_assert_int_eq(w.server.closed, 1);
    close_world();
}
END_TEST

START_TEST(refused_connect_is_an_error_and_closes)
{
    struct sim_options options = sim_options_default();

    open_world(5, &options);
    ck_assert(io_addr_parse(SLICE_LITERAL("10.0.0.2:26"), &w.addr));
    connect_client();
    run_world();
    ck_assert_int_eq(w.client.conn.error, -ECONNREFUSED);
    ck_assert_int_eq(w.client.closed, 1);
    close_world();
}
END_TEST

START_TEST(abort_while_connecting)
{
    struct sim_options options = sim_options_default();

    options.connect_stall = 10000;
    open_world(6, &options);
    connect_client();
    run_world();
    ck_assert_int_eq(w.client.readies, 0);
    net_conn_abort(&w.client.conn);
    run_world();
    ck_assert_int_eq(w.client.closed, 1);
    close_world();
}
END_TEST

Suite *net_conn_suite(void)
{
    Suite *s = suite_create("net_conn");
    TCase *tc = tcase_create("conn");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, bytes_arrive_as_they_left);
    tcase_add_test(tc, faults_end_in_closed_once);
    tcase_add_test(tc, not_asking_is_back_pressure);
    tcase_add_test(tc, idle_connection_holds_no_memory);
    tcase_add_test(tc, lingering_close_says_its_end);
    tcase_add_test(tc, refused_connect_is_an_error_and_closes);
    tcase_add_test(tc, abort_while_connecting);
    suite_add_tcase(s, tc);
    return s;
}
