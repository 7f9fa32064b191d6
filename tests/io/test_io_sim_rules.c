/* Our side of the contract: each broken rule stops the process. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "sim_world.h"

static struct sim_world world;
static struct sim_world *const w = &world;

static const unsigned create = IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE;

static void setup(void)
{
    sim_world_open(w, 3, NULL);
}

static void teardown(void)
{
    sim_world_close(w);
}

START_TEST(test_two_recvs)
{
    struct io_op a = {0};
    struct io_op b = {0};
    int client;
    int server;

    sim_link(w, &client, &server);
    io_recv(w->io, &a, client);
    io_recv(w->io, &b, client);
}
END_TEST

START_TEST(test_two_sends)
{
    struct io_op a = {0};
    struct io_op b = {0};
    int client;
    int server;

    sim_link(w, &client, &server);
    io_send(w->io, &a, client, slice_str("a"), 0);
    io_send(w->io, &b, client, slice_str("b"), 0);
}
END_TEST

START_TEST(test_op_reused)
{
    struct io_op a = {0};
    int client;
    int server;

    sim_link(w, &client, &server);
    io_recv(w->io, &a, client);
    io_recv(w->io, &a, server);
}
END_TEST

START_TEST(test_op_overwritten)
{
    struct io_op a = {0};
    int client;
    int server;

    sim_link(w, &client, &server);
    io_recv(w->io, &a, client);
    a = (struct io_op){0};
    io_close_now(w->io, server);
    sim_run(w->sim);
}
END_TEST

START_TEST(test_close_in_flight)
{
    struct io_op a = {0};
    struct io_op b = {0};
    int client;
    int server;

    sim_link(w, &client, &server);
    io_recv(w->io, &a, client);
    io_close(w->io, &b, client);
}
END_TEST

START_TEST(test_close_now_in_flight)
{
    struct io_op a = {0};
    int client;
    int server;

    sim_link(w, &client, &server);
    io_recv(w->io, &a, client);
    io_close_now(w->io, client);
}
END_TEST

START_TEST(test_use_after_close)
{
    struct io_op a = {0};
    int fd = do_open(w->io, "/a", create);

    ck_assert_int_eq(do_close(w->io, fd), 0);
    io_fsync(w->io, &a, fd);
}
END_TEST

START_TEST(test_use_while_closing)
{
    struct io_op a = {0};
    struct io_op b = {0};
    int fd = do_open(w->io, "/a", create);

    io_close(w->io, &a, fd);
    io_fsync(w->io, &b, fd);
}
END_TEST

START_TEST(test_unaligned_memory)
{
    uint8_t *memory = (uint8_t *)(uintptr_t)io_registered(w->io).data;
    int fd = do_open(w->io, "/a", create | IO_OPEN_DIRECT);

    (void)do_write_bytes(w->io, fd, memory + 512, 4096, 0, 0);
}
END_TEST

START_TEST(test_unaligned_len)
{
    int fd = do_open(w->io, "/a", create | IO_OPEN_DIRECT);

    (void)do_write_bytes(w->io, fd, io_registered(w->io).data, 512, 0, 0);
}
END_TEST

START_TEST(test_unaligned_offset)
{
    uint8_t *memory = (uint8_t *)(uintptr_t)io_registered(w->io).data;
    int fd = do_open(w->io, "/a", create | IO_OPEN_DIRECT);

    (void)do_read(w->io, fd, memory, 4096, 512);
}
END_TEST

START_TEST(test_write_changed)
{
    char bytes[] = "bytes";
    struct io_op a = {0};

    io_write(w->io, &a, do_open(w->io, "/a", create), bytes, 5, 0, 0);
    bytes[0] = 'B';
    (void)io_await(w->io, &a);
}
END_TEST

START_TEST(test_send_changed)
{
    char bytes[] = "bytes";
    struct io_op a = {0};
    int client;
    int server;

    sim_link(w, &client, &server);
    io_send(w->io, &a, client, slice_of(bytes, 5), 0);
    bytes[0] = 'B';
    (void)io_await(w->io, &a);
}
END_TEST

START_TEST(test_path_changed)
{
    char path[] = "/a";
    struct io_op a = {0};

    io_open(w->io, &a, path, create, 0600);
    path[1] = 'b';
    (void)io_await(w->io, &a);
}
END_TEST

START_TEST(test_destroyed_in_flight)
{
    struct io_op a = {0};

    io_open(w->io, &a, "/a", create, 0600);
    io_destroy(w->io);
}
END_TEST

static void recv_one(struct io_op *recv)
{
    int client;
    int server;
    struct io_op send = {0};

    sim_link(w, &client, &server);
    io_send(w->io, &send, client, slice_str("x"), 0);
    io_recv(w->io, recv, server);
    ck_assert_int_eq(io_await(w->io, recv), 1);
    while (io_op_busy(&send))
        ck_assert(sim_turn(w->sim));
}

START_TEST(test_destroyed_with_lent)
{
    struct io_op a = {0};

    recv_one(&a);
    io_destroy(w->io);
}
END_TEST

START_TEST(test_returned_twice)
{
    struct io_op a = {0};

    recv_one(&a);
    struct io_op twice = a;

    io_lent_return(w->io, &a);
    io_lent_return(w->io, &twice);
}
END_TEST

START_TEST(test_lent_too_long)
{
    struct io_op a = {0};

    recv_one(&a);
    sim_options(w->sim)->lent_strict = true;
    (void)io_wait(w->io, 0);
}
END_TEST

START_TEST(test_waits_for_nothing)
{
    struct io_op a = {0};
    int client;
    int server;

    sim_link(w, &client, &server);
    io_recv(w->io, &a, client);
    (void)io_await(w->io, &a);
}
END_TEST

START_TEST(test_leak_is_counted)
{
    int fd = do_open(w->io, "/a", create);

    ck_assert_int_ge(fd, 0);
    io_destroy(w->io);
    ck_assert_uint_eq(sim_leaked_fds(w->sim), 1);
    ck_assert_uint_eq(sim_open_files(w->machine), 1);
}
END_TEST

Suite *io_sim_rules_suite(void)
{
    Suite *suite = suite_create("io_sim_rules");
    TCase *tc = tcase_create("rules");
    const TTest *const broken[] = {
        test_two_recvs,           test_two_sends,         test_op_reused,
        test_op_overwritten,      test_close_in_flight,   test_close_now_in_flight,
        test_use_after_close,     test_use_while_closing, test_unaligned_memory,
        test_unaligned_len,       test_unaligned_offset,  test_write_changed,
        test_send_changed,        test_path_changed,      test_destroyed_in_flight,
        test_destroyed_with_lent, test_returned_twice,    test_lent_too_long,
        test_waits_for_nothing,
    };

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_leak_is_counted);
    /* A signal needs a child to end in. */
    const char *fork = getenv("CK_FORK");
    bool forks = !fork || strcmp(fork, "no") != 0;

    for (size_t i = 0; forks && i < sizeof(broken) / sizeof(broken[0]); i++)
        tcase_add_test_raise_signal(tc, broken[i], SIGABRT);
    suite_add_tcase(suite, tc);
    return suite;
}
