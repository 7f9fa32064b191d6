/* Time, chance and determinism; and a small world under all faults. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "base_assert.h"
#include "base_mem.h"
#include "sim_world.h"

/* --- a world with traffic: a client sends a stream to a server on another machine, which writes it
 *     to a file, and both then close --------------------------------------------------------------- */

enum { STREAM_LEN = 3000 };

struct party {
    struct io *io;
    struct io_op op; /* connect or accept, then shutdown and close */
    struct io_op recv;
    struct io_op send;
    struct io_op write;
    struct io_addr addr;
    int fd;
    int listener;
    bool closing;
    bool closed;
    uint8_t bytes[STREAM_LEN];
    size_t len;
    int file;
};

static struct party client;
static struct party server;

static void party_closed(struct io_op *op)
{
    container_of(op, struct party, op)->closed = true;
}

static void party_shut(struct io_op *op);

static void party_end(struct party *p)
{
    if (!p->closing) {
        p->closing = true;
        p->op.done = party_shut;
        io_shutdown(p->io, &p->op, p->fd);
    }
}

static void party_maybe_close(struct party *p)
{
    if (!p->closing || io_op_busy(&p->op) || io_op_busy(&p->recv) || io_op_busy(&p->send)
        || p->closed)
        return;
    p->op.done = party_closed;
    io_close(p->io, &p->op, p->fd);
}

static void party_shut(struct io_op *op)
{
    party_maybe_close(container_of(op, struct party, op));
}

static void party_received(struct io_op *op)
{
    struct party *p = container_of(op, struct party, recv);

    if (op->res <= 0) {
        party_end(p);
        party_maybe_close(p);
        return;
    }
    ck_assert_uint_le(p->len + op->lent.len, STREAM_LEN);
    memcpy(p->bytes + p->len, op->lent.data, op->lent.len);
    p->len += op->lent.len;
    io_lent_return(p->io, op);
    if (p->closing)
        party_maybe_close(p);
    else
        io_recv(p->io, op, p->fd);
}

static void party_sent(struct io_op *op)
{
    struct party *p = container_of(op, struct party, send);

    ck_assert(op->res < 0 || op->res == STREAM_LEN);
    party_end(p);
    party_maybe_close(p);
}

static void client_connected(struct io_op *op)
{
    struct party *p = container_of(op, struct party, op);

    if (op->res < 0) {
        p->closing = true;
        party_maybe_close(p);
        return;
    }
    p->send.done = party_sent;
    p->recv.done = party_received;
    io_send(p->io, &p->send, p->fd, slice_of(p->bytes, STREAM_LEN), 0);
    io_recv(p->io, &p->recv, p->fd);
}

static void server_accepted(struct io_op *op)
{
    struct party *p = container_of(op, struct party, write); /* the accept borrows it */

    if (!op->more)
        return;
    p->fd = op->res;
    p->recv.done = party_received;
    io_recv(p->io, &p->recv, p->fd);
}

static uint64_t traffic(uint64_t seed, const struct sim_options *options)
{
    struct sim *sim = sim_create(seed, options);

    client = (struct party){.closing = false};
    server = (struct party){.fd = -1};
    server.io = sim_io_create(sim_machine_create(sim, "10.0.0.2"), 0);
    client.io = sim_io_create(sim_machine_create(sim, "10.0.0.1"), 0);
    server.addr = client.addr = sim_addr("10.0.0.2:25");
    for (size_t i = 0; i < STREAM_LEN; i++)
        client.bytes[i] = (uint8_t)(i * i >> 3);
    client.op.done = client_connected;
    server.write.done = server_accepted;
    io_accept(server.io, &server.write, io_listen(server.io, &server.addr, 0, 8));
    client.fd = io_socket_stream(client.io, AF_INET);
    io_connect(client.io, &client.op, client.fd, &client.addr);
    sim_run(sim);
    if (io_op_busy(&client.op)) { /* a connect that stalls */
        io_cancel(client.io, &client.op);
        sim_run(sim);
    }
    ck_assert(client.closed);
    ck_assert(server.closed || server.fd < 0);
    ck_assert_mem_eq(server.bytes, client.bytes, server.len);
    if (!options->conn_reset && client.send.res == STREAM_LEN)
        ck_assert_uint_eq(server.len, STREAM_LEN);
    ck_assert_uint_eq(server.io->counters.lent_out, 0);
    uint64_t hash = sim_trace_hash(sim);

    sim_destroy(sim);
    return hash;
}

START_TEST(test_traffic_under_faults)
{
    unsigned whole = 0;

    for (uint64_t seed = 0; seed < 1000; seed++) {
        struct sim_options options = sim_options_from_seed(seed);

        (void)traffic(seed, &options);
        whole += server.len == STREAM_LEN;
    }
    ck_assert_uint_gt(whole, 600);
    ck_assert_uint_lt(whole, 990);
}
END_TEST

START_TEST(test_same_seed_same_hash)
{
    uint64_t last = 0;

    for (uint64_t seed = 0; seed < 100; seed++) {
        struct sim_options options = sim_options_from_seed(seed);
        uint64_t hash = traffic(seed, &options);
        void *moved = mem_alloc(1000 + 8 * (size_t)seed); /* other addresses the second time */

        ck_assert_uint_eq(traffic(seed, &options), hash);
        ck_assert_uint_ne(hash, last);
        last = hash;
        mem_free(moved);
    }
}
END_TEST

/* --- time --------------------------------------------------------------------------------------- */

static struct sim_world world;
static struct sim_world *const w = &world;

static void setup(void)
{
    sim_world_open(w, 1, NULL);
    ck_assert_ptr_eq(sim_step(w->sim), w->io); /* its first pass */
}

static void teardown(void)
{
    sim_world_close(w);
}

START_TEST(test_deadline)
{
    uint64_t start = io_now_ms(w->io);

    ck_assert_uint_gt(start, 0);
    ck_assert_int_eq(io_wait(w->io, start + 5000), 0);
    ck_assert_uint_eq(io_now_ms(w->io), start);
    ck_assert_int_eq(io_wait(w->io, start + 3000), 0); /* in place of the other */
    ck_assert_ptr_eq(sim_step(w->sim), w->io);
    ck_assert_int_eq(io_wait(w->io, 0), 0);
    ck_assert_uint_eq(io_now_ms(w->io), start + 3000);
    ck_assert_uint_eq(io_now_ns(w->io), (start + 3000) * 1000000);
    ck_assert_ptr_null(sim_step(w->sim));
}
END_TEST

/* A pass that was not idle comes once more, with the deadline that its work led to. */
START_TEST(test_pass_comes_again)
{
    uint64_t start = io_now_ms(w->io);

    (void)io_wait(w->io, start + 10);
    ck_assert_ptr_eq(sim_step(w->sim), w->io);
    (void)io_wait(w->io, start + 1000); /* the deadline has come; a timer for +20 is set now */
    ck_assert_ptr_eq(sim_step(w->sim), w->io);
    (void)io_wait(w->io, start + 20);
    ck_assert_uint_eq(io_now_ms(w->io), start + 10);
    ck_assert_ptr_eq(sim_step(w->sim), w->io);
    (void)io_wait(w->io, UINT64_MAX);
    ck_assert_uint_eq(io_now_ms(w->io), start + 20);
    ck_assert_ptr_eq(sim_step(w->sim), w->io);
    (void)io_wait(w->io, UINT64_MAX);
    ck_assert_ptr_null(sim_step(w->sim));
}
END_TEST

START_TEST(test_wake)
{
    struct io *other = sim_io_create(w->machine, 0);

    ck_assert_ptr_eq(sim_step(w->sim), other);
    io_wake(w->io, other);
    io_wake(w->io, other);
    ck_assert_ptr_eq(sim_step(w->sim), other);
    ck_assert_int_eq(io_wait(other, 0), 0);
    ck_assert_ptr_null(sim_step(w->sim));
}
END_TEST

static unsigned others_ran;

static void other_ran(struct io_op *op)
{
    (void)op;
    others_ran++;
}

/* Awaiting runs the world, but nobody else's callbacks. */
START_TEST(test_await_leaves_others)
{
    struct io *other = sim_io_create(w->machine, 0);
    struct io_op theirs = {.done = other_ran};
    struct io_op ours = {0};

    others_ran = 0;
    (void)sim_step(w->sim);
    io_mkdir(other, &theirs, "/d", 0700);
    for (int i = 0; i < 20; i++) {
        io_mkdir(w->io, &ours, "/e", 0700);
        (void)io_await(w->io, &ours); /* EEXIST from the second on */
    }
    ck_assert_uint_eq(others_ran, 0);
    sim_run(w->sim);
    ck_assert_uint_eq(others_ran, 1);
    ck_assert_int_eq(theirs.res, 0);
}
END_TEST

START_TEST(test_stepping)
{
    uint64_t start = io_now_ms(w->io);
    struct io_op op = {0};

    sim_io_set_stepping(w->io, true);
    ck_assert_int_eq(io_wait(w->io, start + 50), 0);
    ck_assert_uint_eq(io_now_ms(w->io), start + 50);
    io_mkdir(w->io, &op, "/d", 0700);
    ck_assert_int_eq(io_wait(w->io, UINT64_MAX), 1);
    ck_assert_int_eq(op.res, 0);
}
END_TEST

START_TEST(test_advance)
{
    uint64_t start = sim_now_ms(w->sim);

    sim_advance_ms(w->sim, 1000);
    ck_assert_uint_eq(sim_now_ms(w->sim), start + 1000);
    (void)io_wait(w->io, start + 1500);
    sim_advance_ms(w->sim, 1000); /* not past what is to happen */
    ck_assert_uint_eq(sim_now_ms(w->sim), start + 1500);
    ck_assert_ptr_eq(sim_step(w->sim), w->io);
}
END_TEST

START_TEST(test_wall_clock)
{
    uint64_t unix_ms = io_unix_ms(w->io);

    ck_assert_uint_eq(unix_ms, sim_options(w->sim)->unix_ms);
    sim_advance_ms(w->sim, 86400000);
    ck_assert_uint_eq(io_unix_ms(w->io), unix_ms + 86400000);
    sim_options(w->sim)->clock_jump = 10000;
    ck_assert_int_eq(do_mkdir(w->io, "/d"), 0);
    ck_assert_uint_ne(io_unix_ms(w->io), unix_ms + 86400000);
    ck_assert_uint_lt(sim_now_ms(w->sim), 1000000 + 86400000 + 1000); /* the other clock did not */
}
END_TEST

START_TEST(test_entropy)
{
    uint8_t a[37];
    uint8_t b[37];

    io_entropy(w->io, a, sizeof(a));
    io_entropy(w->io, b, sizeof(b));
    ck_assert_mem_ne(a, b, sizeof(a));
    sim_world_close(w);
    sim_world_open(w, 1, NULL);
    io_entropy(w->io, b, sizeof(b));
    ck_assert_mem_eq(a, b, sizeof(a));
}
END_TEST

static char order[4];

static void note(struct io_op *op)
{
    order[strlen(order)] = (char)op->mode;
}

/* What is due at one time comes in any order. */
START_TEST(test_shuffle)
{
    struct sim_options options = sim_options_default();
    unsigned met[27] = {0};
    unsigned orders = 0;

    options.latency_max_us = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct io_op op[3] = {{.done = note}, {.done = note}, {.done = note}};

        sim_world_close(w);
        sim_world_open(w, seed, &options);
        memset(order, 0, sizeof(order));
        for (unsigned i = 0; i < 3; i++)
            io_mkdir(w->io, &op[i], "/d", 'a' + i);
        sim_run(w->sim);
        ck_assert_uint_eq(strlen(order), 3);
        met[(order[0] - 'a') * 9 + (order[1] - 'a') * 3 + (order[2] - 'a')]++;
    }
    for (unsigned i = 0; i < 27; i++)
        orders += met[i] > 0;
    ck_assert_uint_eq(orders, 6);
}
END_TEST

Suite *io_sim_world_suite(void)
{
    Suite *suite = suite_create("io_sim_world");
    TCase *traffic_case = tcase_create("traffic");
    TCase *tc = tcase_create("world");

    tcase_set_timeout(traffic_case, 60);
    tcase_add_test(traffic_case, test_traffic_under_faults);
    tcase_add_test(traffic_case, test_same_seed_same_hash);
    suite_add_tcase(suite, traffic_case);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_deadline);
    tcase_add_test(tc, test_pass_comes_again);
    tcase_add_test(tc, test_wake);
    tcase_add_test(tc, test_await_leaves_others);
    tcase_add_test(tc, test_stepping);
    tcase_add_test(tc, test_advance);
    tcase_add_test(tc, test_wall_clock);
    tcase_add_test(tc, test_entropy);
    tcase_add_test(tc, test_shuffle);
    suite_add_tcase(suite, tc);
    return suite;
}
