/* Simulated links: how they come to be, carry bytes, fill up and end. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "base_assert.h"
#include "base_mem.h"
#include "sim_world.h"

static struct sim_world world;
static struct sim_world *const w = &world;

static void setup(void)
{
    sim_world_open(w, 11, NULL);
}

static void teardown(void)
{
    sim_world_close(w);
}

static int do_connect(const char *to)
{
    struct io_addr addr = sim_addr(to);
    struct io_op op = {0};
    int fd = io_socket_stream(w->io, addr.storage.ss_family);

    io_connect(w->io, &op, fd, &addr);
    int res = io_await(w->io, &op);

    ck_assert_int_eq(do_close(w->io, fd), 0);
    return res;
}

static int do_recv(int fd)
{
    struct io_op op = {0};

    io_recv(w->io, &op, fd);
    int res = io_await(w->io, &op);

    sim_give_back(w->io, &op);
    return res;
}

static int do_send(int fd, const char *text)
{
    struct io_op op = {0};

    io_send(w->io, &op, fd, slice_str(text), 0);
    return io_await(w->io, &op);
}

static int do_shutdown(int fd)
{
    struct io_op op = {0};

    io_shutdown(w->io, &op, fd);
    return io_await(w->io, &op);
}

/* --- coming to be ------------------------------------------------------------------------------ */

START_TEST(test_who_answers)
{
    static const struct {
        const char *listen;
        unsigned flags;
        const char *connect;
        int res;
    } table[] = {
        {"127.0.0.1:25", 0, "127.0.0.1:25", 0},
        {"127.0.0.1:25", 0, "127.0.0.1:26", -ECONNREFUSED},
        {"127.0.0.1:25", 0, "127.0.0.2:25", -ECONNREFUSED},
        {"127.0.0.2:25", 0, "127.0.0.2:25", 0},
        {"0.0.0.0:25", 0, "127.0.0.2:25", 0},
        {"0.0.0.0:25", 0, "10.0.0.1:25", 0},
        {"0.0.0.0:25", 0, "[::1]:25", -ECONNREFUSED},
        {"[::]:25", 0, "[::1]:25", 0},
        {"[::]:25", 0, "127.0.0.1:25", 0},
        {"[::]:25", IO_LISTEN_V6ONLY, "127.0.0.1:25", -ECONNREFUSED},
        {"10.0.0.1:25", 0, "10.0.0.1:25", 0},
        {"10.0.0.1:25", 0, "127.0.0.1:25", -ECONNREFUSED},
        {"10.0.0.1:25", 0, "10.0.0.2:25", -EHOSTUNREACH},
        {"unix:/run/a", 0, "unix:/run/a", 0},
        {"unix:/run/a", 0, "unix:/run/b", -ENOENT},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct io_addr addr = sim_addr(table[i].listen);
        int fd = io_listen(w->io, &addr, table[i].flags, 1);

        ck_assert_int_ge(fd, 0);
        ck_assert_msg(do_connect(table[i].connect) == table[i].res, "%s to %s", table[i].connect,
                      table[i].listen);
        io_close_now(w->io, fd);
    }
}
END_TEST

START_TEST(test_listen_conflicts)
{
    struct io_addr addr = sim_addr("127.0.0.1:25");
    struct io_addr elsewhere = sim_addr("10.0.0.9:25");

    ck_assert_int_eq(io_listen(w->io, &elsewhere, 0, 1), -EADDRNOTAVAIL);
    int fd = io_listen(w->io, &addr, IO_LISTEN_REUSEPORT, 1);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(io_listen(w->io, &addr, 0, 1), -EADDRINUSE);
    ck_assert_int_ge(io_listen(w->io, &addr, IO_LISTEN_REUSEPORT, 1), 0);
}
END_TEST

START_TEST(test_addresses)
{
    struct buf text = {0};
    struct io_addr local;
    struct io_addr peer;
    struct io_addr other;
    int client;
    int server;

    sim_link(w, &client, &server);
    ck_assert_int_eq(io_addresses(w->io, client, &local, &peer), 0);
    ck_assert_int_eq(io_addresses(w->io, server, &other, NULL), 0);
    ck_assert_mem_eq(&peer.storage, &other.storage, peer.len);
    ck_assert_int_eq(io_addresses(w->io, server, NULL, &other), 0);
    ck_assert_mem_eq(&local.storage, &other.storage, local.len);
    io_addr_format(&local, &text);
    ck_assert(slice_equal(slice_head(buf_slice(&text), 10), slice_str("127.0.0.1:")));
    buf_finish(&text);
    int fd = io_socket_stream(w->io, AF_INET);

    ck_assert_int_eq(io_addresses(w->io, fd, NULL, &peer), -ENOTCONN);
    ck_assert_int_eq(io_socket_dgram(w->io, AF_INET), -EOPNOTSUPP);
}
END_TEST

static unsigned accepted[2];

static void count_first(struct io_op *op)
{
    accepted[0] += op->more;
}

static void count_second(struct io_op *op)
{
    accepted[1] += op->more;
}

START_TEST(test_reuseport_shares)
{
    struct io_addr addr = sim_addr("127.0.0.1:25");
    struct io_op first = {.done = count_first};
    struct io_op second = {.done = count_second};

    accepted[0] = accepted[1] = 0;
    io_accept(w->io, &first, io_listen(w->io, &addr, IO_LISTEN_REUSEPORT, 4));
    io_accept(w->io, &second, io_listen(w->io, &addr, IO_LISTEN_REUSEPORT, 4));
    for (int i = 0; i < 200; i++)
        ck_assert_int_eq(do_connect("127.0.0.1:25"), 0);
    sim_run(w->sim);
    ck_assert_uint_eq(accepted[0] + accepted[1], 200);
    ck_assert_uint_gt(accepted[0], 60);
    ck_assert_uint_gt(accepted[1], 60);
}
END_TEST

START_TEST(test_full_backlog)
{
    struct io_addr addr = sim_addr("127.0.0.1:25");
    struct io_op connect = {0};
    int listener = io_listen(w->io, &addr, 0, 1);

    ck_assert_int_eq(do_connect("127.0.0.1:25"), 0);
    uint64_t start = sim_now_ms(w->sim);
    int fd = io_socket_stream(w->io, AF_INET);

    io_connect(w->io, &connect, fd, &addr);
    ck_assert_int_eq(io_await(w->io, &connect), -ETIMEDOUT);
    ck_assert_uint_gt(sim_now_ms(w->sim), start + 60000);
    io_connect(w->io, &connect, fd, &addr);
    io_cancel(w->io, &connect);
    ck_assert_int_eq(io_await(w->io, &connect), -ECANCELED);
    io_close_now(w->io, listener);
    io_connect(w->io, &connect, fd, &addr);
    ck_assert_int_eq(io_await(w->io, &connect), -ECONNREFUSED);
}
END_TEST

START_TEST(test_connect_faults)
{
    struct io_addr addr = sim_addr("127.0.0.1:25");
    struct io_op connect = {0};
    int fd = io_socket_stream(w->io, AF_INET);

    ck_assert_int_ge(io_listen(w->io, &addr, 0, 1), 0);
    sim_options(w->sim)->connect_refused = 10000;
    ck_assert_int_eq(do_connect("127.0.0.1:25"), -ECONNREFUSED);
    sim_options(w->sim)->connect_stall = 10000;
    io_connect(w->io, &connect, fd, &addr);
    sim_run(w->sim);
    ck_assert(io_op_busy(&connect));
    io_cancel(w->io, &connect);
    sim_run(w->sim);
    ck_assert_int_eq(connect.res, -ECANCELED);
}
END_TEST

START_TEST(test_accept_without_fds)
{
    struct io_addr addr = sim_addr("127.0.0.1:25");
    struct io_op accept = {.done = count_first};
    struct io_op connect = {0};
    int listener = io_listen(w->io, &addr, 0, 4);
    int fd = io_socket_stream(w->io, AF_INET);

    accepted[0] = 0;
    sim_options(w->sim)->fds_max = 2;
    io_accept(w->io, &accept, listener);
    io_connect(w->io, &connect, fd, &addr);
    sim_run(w->sim);
    ck_assert_int_eq(connect.res, 0);
    ck_assert(!io_op_busy(&accept));
    ck_assert_int_eq(accept.res, -EMFILE);
    sim_options(w->sim)->fds_max = 0;
    io_accept(w->io, &accept, listener); /* who had to wait is still there */
    sim_run(w->sim);
    ck_assert_uint_eq(accepted[0], 1);
}
END_TEST

/* --- bytes --------------------------------------------------------------------------------------- */

START_TEST(test_send_waits_for_room)
{
    struct io_op send = {0};
    static char bytes[100];
    int client;
    int server;
    int total = 0;

    sim_link(w, &client, &server);
    sim_options(w->sim)->link_buffer_len = 10;
    io_send(w->io, &send, client, slice_of(bytes, sizeof(bytes)), 0);
    sim_run(w->sim);
    ck_assert(io_op_busy(&send));
    while (total < 100) {
        int res = do_recv(server);

        ck_assert(res > 0 && res <= 10);
        total += res;
    }
    sim_run(w->sim);
    ck_assert_int_eq(send.res, 100);
}
END_TEST

START_TEST(test_sendv)
{
    struct iovec iov[] = {{"one", 3}, {"", 0}, {"two", 3}};
    struct io_op send = {0};
    struct io_op recv = {0};
    int client;
    int server;

    sim_link(w, &client, &server);
    io_sendv(w->io, &send, client, iov, 3, 0);
    ck_assert_int_eq(io_await(w->io, &send), 6);
    io_recv(w->io, &recv, server);
    ck_assert_int_eq(io_await(w->io, &recv), 6);
    ck_assert(slice_equal(recv.lent, slice_str("onetwo")));
    sim_give_back(w->io, &recv);
}
END_TEST

START_TEST(test_starvation)
{
    struct sim_options options = sim_options_default();
    struct io_op recv[3] = {{0}};
    int client[3];
    int server[3];

    options.recv_buffers = 1;
    sim_world_close(w);
    sim_world_open(w, 5, &options);
    for (int i = 0; i < 3; i++) {
        sim_link(w, &client[i], &server[i]);
        ck_assert_int_eq(do_send(client[i], "x"), 1);
        io_recv(w->io, &recv[i], server[i]);
    }
    for (int left = 3; left > 0; left--) {
        int ended = -1;

        sim_run(w->sim);
        for (int i = 0; i < 3; i++)
            if (!io_op_busy(&recv[i]) && recv[i].lent.data)
                ended = ended < 0 ? i : 99;
        ck_assert_int_lt(ended, 3); /* one at a time */
        ck_assert_int_ge(ended, 0);
        ck_assert_int_eq(recv[ended].res, 1);
        sim_give_back(w->io, &recv[ended]);
    }
    ck_assert_uint_ge(w->io->counters.starved, 2);
    ck_assert_uint_eq(w->io->counters.lent_out, 0);
}
END_TEST

/* One that waits for a buffer is cancelled just when a buffer is on its way to it: the next gets it. */
START_TEST(test_starved_and_cancelled)
{
    struct sim_options options = sim_options_default();

    options.recv_buffers = 1;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct io_op recv[3] = {{0}};
        int client[3];
        int server[3];

        sim_world_close(w);
        sim_world_open(w, seed, &options);
        for (int i = 0; i < 3; i++) {
            sim_link(w, &client[i], &server[i]);
            ck_assert_int_eq(do_send(client[i], "x"), 1);
            io_recv(w->io, &recv[i], server[i]);
            sim_run(w->sim);
        }
        ck_assert(io_op_busy(&recv[1]) && io_op_busy(&recv[2]));
        io_cancel(w->io, &recv[1]);
        sim_give_back(w->io, &recv[0]);
        for (int i = 0; i < 40 && sim_turn(w->sim); i++) {
            if (!io_op_busy(&recv[1]) && recv[1].lent.data)
                sim_give_back(w->io, &recv[1]);
        }
        ck_assert_int_eq(recv[2].res, 1);
        sim_give_back(w->io, &recv[2]);
    }
}
END_TEST

START_TEST(test_poll)
{
    struct io_op poll = {0};
    int client;
    int server;

    sim_link(w, &client, &server);
    io_poll(w->io, &poll, client, IO_POLL_IN | IO_POLL_OUT);
    ck_assert_int_eq(io_await(w->io, &poll), IO_POLL_OUT);
    io_poll(w->io, &poll, client, IO_POLL_IN);
    sim_run(w->sim);
    ck_assert(io_op_busy(&poll));
    ck_assert_int_eq(do_send(server, "x"), 1);
    ck_assert_int_eq(io_await(w->io, &poll), IO_POLL_IN);
}
END_TEST

/* --- ends ---------------------------------------------------------------------------------------- */

START_TEST(test_orderly_end)
{
    struct io_op recv = {0};
    int client;
    int server;

    sim_link(w, &client, &server);
    ck_assert_int_eq(do_send(client, "bye"), 3);
    io_recv(w->io, &recv, client);
    ck_assert_int_eq(do_shutdown(client), 0);
    ck_assert_int_eq(io_await(w->io, &recv), 0); /* in flight, ends */
    ck_assert_int_eq(do_send(client, "x"), -EPIPE);
    ck_assert_int_eq(do_close(w->io, client), 0);
    ck_assert_int_eq(do_recv(server), 3); /* the rest, then the end */
    ck_assert_int_eq(do_recv(server), 0);
    ck_assert_int_eq(do_recv(server), 0);
    /* Nobody is there: the first seems to be sent, the reset is the answer to it. */
    ck_assert_int_eq(do_send(server, "x"), 1);
    ck_assert_int_eq(do_send(server, "x"), -ECONNRESET);
    ck_assert_int_eq(do_send(server, "x"), -EPIPE);
    ck_assert_int_eq(do_recv(server), 0);
    ck_assert_int_eq(do_shutdown(server), -ENOTCONN);
}
END_TEST

START_TEST(test_close_with_unread_bytes_resets)
{
    int client;
    int server;

    sim_link(w, &client, &server);
    ck_assert_int_eq(do_send(client, "unread"), 6);
    ck_assert_int_eq(do_close(w->io, server), 0);
    ck_assert_int_eq(do_recv(client), -ECONNRESET);
    ck_assert_int_eq(do_send(client, "x"), -EPIPE);
}
END_TEST

START_TEST(test_waiting_send_ends_with_the_peer)
{
    struct io_op send = {0};
    static char bytes[100];
    int client;
    int server;

    sim_link(w, &client, &server);
    sim_options(w->sim)->link_buffer_len = 10;
    io_send(w->io, &send, client, slice_of(bytes, sizeof(bytes)), 0);
    sim_run(w->sim);
    ck_assert_int_eq(do_close(w->io, server), 0);
    ck_assert_int_eq(io_await(w->io, &send), -ECONNRESET);
}
END_TEST

START_TEST(test_reset_drops_or_keeps)
{
    unsigned kept = 0;
    unsigned timed_out = 0;

    for (uint64_t seed = 0; seed < 300; seed++) {
        int client;
        int server;

        sim_world_close(w);
        sim_world_open(w, seed, NULL);
        sim_link(w, &client, &server);
        ck_assert_int_eq(do_send(client, "here"), 4);
        sim_options(w->sim)->conn_reset = 10000;
        int res = do_send(client, "x");

        ck_assert(res == -ECONNRESET || res == -ETIMEDOUT);
        timed_out += res == -ETIMEDOUT;
        sim_options(w->sim)->conn_reset = 0;
        res = do_recv(server);
        kept += res > 0;
        if (res > 0)
            res = do_recv(server);
        ck_assert(res == -ECONNRESET || res == -ETIMEDOUT);
        ck_assert_int_eq(do_recv(server), 0);
    }
    ck_assert(kept > 90 && kept < 210);
    ck_assert(timed_out > 10 && timed_out < 90);
}
END_TEST

START_TEST(test_machines)
{
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct io_op accept = {0};
        struct io_op connect = {0};
        struct io_op recv = {0};
        struct io_addr addr = sim_addr("10.0.0.2:25");

        sim_world_close(w);
        sim_world_open(w, seed, NULL);
        struct sim_machine *far = sim_machine_create(w->sim, "10.0.0.2");
        struct io *io = sim_io_create(far, 0);
        int fd = io_socket_stream(w->io, AF_INET);

        io_accept(io, &accept, io_listen(io, &addr, 0, 8));
        io_connect(w->io, &connect, fd, &addr);
        sim_run(w->sim);
        ck_assert_int_eq(connect.res, 0);
        ck_assert(accept.more);
        io_recv(w->io, &recv, fd);
        if (seed % 2 == 0)
            sim_machine_crash(far);
        else
            sim_machine_kill(far);
        ck_assert_uint_eq(sim_open_files(far), 0);
        sim_run(w->sim);
        ck_assert(!io_op_busy(&recv));
        ck_assert(recv.res == -ECONNRESET || recv.res == -ETIMEDOUT
                  || (recv.res == 0 && seed % 2 == 1));
        ck_assert_int_eq(do_connect("10.0.0.2:25"), -ECONNREFUSED);
    }
}
END_TEST

Suite *io_sim_net_suite(void)
{
    Suite *suite = suite_create("io_sim_net");
    TCase *tc = tcase_create("net");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_who_answers);
    tcase_add_test(tc, test_listen_conflicts);
    tcase_add_test(tc, test_addresses);
    tcase_add_test(tc, test_reuseport_shares);
    tcase_add_test(tc, test_full_backlog);
    tcase_add_test(tc, test_connect_faults);
    tcase_add_test(tc, test_accept_without_fds);
    tcase_add_test(tc, test_send_waits_for_room);
    tcase_add_test(tc, test_sendv);
    tcase_add_test(tc, test_starvation);
    tcase_add_test(tc, test_starved_and_cancelled);
    tcase_add_test(tc, test_poll);
    tcase_add_test(tc, test_orderly_end);
    tcase_add_test(tc, test_close_with_unread_bytes_resets);
    tcase_add_test(tc, test_waiting_send_ends_with_the_peer);
    tcase_add_test(tc, test_reset_drops_or_keeps);
    tcase_add_test(tc, test_machines);
    suite_add_tcase(suite, tc);
    return suite;
}
