/* What only the real ring has: limits of the process, threads, sockets with a path, our own asserts. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base_assert.h"
#include "io_contract.h"
#include "io_uring_priv.h"

extern const struct io_world_type io_world_uring;

static void open_world(void)
{
    io_world_open(world, &io_world_uring);
}

static void close_world(void)
{
    io_world_close(world);
}

static struct io *create_ring(const struct io_uring_options *options)
{
    struct buf error = {0};
    int code = 0;
    struct io *io = io_uring_create(options, &error, &code);

    ck_assert_msg(io != NULL, "%.*s", SLICE_ARG(buf_slice(&error)));
    buf_finish(&error);
    return io;
}

/* --- limits of the process -------------------------------------------------------------------- */

/* Without a free descriptor an accept ends, once, and can be submitted again later. */
START_TEST(test_accept_ends_when_out_of_descriptors)
{
    struct probe accept, connect;
    struct io_addr addr;
    struct rlimit limit, full;
    int listener = world_listen(&addr);
    int client = io_socket_stream(world->io, AF_INET);
    int next = dup(client);

    ck_assert_int_ge(next, 0);
    ck_assert_int_eq(close(next), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    full = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &full), 0);
    probe_init(&accept);
    probe_init(&connect);
    io_accept(world->io, &accept.op, listener);
    io_connect(world->io, &connect.op, client, &addr);
    ck_assert_int_eq(probe_wait(&accept), -EMFILE);
    ck_assert_int_eq(probe_wait(&connect), 0);
    world_settle();
    ck_assert_uint_eq(accept.completions, 1);

    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    probe_init(&accept);
    io_accept(world->io, &accept.op, listener);
    /* The kernel may have dropped that connection with the error; a new one arrives in any case. */
    world_settle();
    if (accept.completions == 0) {
        world_close_fd(client);
        client = io_socket_stream(world->io, AF_INET);
        io_connect(world->io, &connect.op, client, &addr);
        ck_assert_int_eq(probe_wait(&connect), 0);
    }
    probe_wait_completions(&accept, 1);
    ck_assert_int_ge(accept.res[0], 0);
    io_cancel(world->io, &accept.op);
    ck_assert_int_eq(probe_wait(&accept), -ECANCELED);
}
END_TEST

/* Completions that find the queue full are kept by the kernel; none is lost. */
START_TEST(test_an_overflow_loses_nothing)
{
    enum { COUNT = 500 };
    struct probe *probes = calloc(COUNT, sizeof(*probes));
    struct stream_pair pair;

    ck_assert_ptr_nonnull(probes);
    world_stream_pair(&pair);
    for (int i = 0; i < COUNT; i++) {
        probe_init(&probes[i]);
        SUBMIT(io_poll(world->io, &probes[i].op, pair.client, IO_POLL_OUT));
    }
    io_flush(world->io);
    for (int i = 0; i < COUNT; i++)
        ck_assert_int_eq(probe_wait(&probes[i]), IO_POLL_OUT);
    ck_assert_uint_gt(world->io->counters.overflows, 0);
    world_stream_close(&pair);
    free(probes);
}
END_TEST

START_TEST(test_an_fd_that_is_not_open)
{
    char byte = 0;
    struct probe p;

    ck_assert_int_eq(run_read(9999, &byte, 1, 0), -EBADF);
    ck_assert_int_eq(run_write(9999, &byte, 1, 0, 0), -EBADF);
    ck_assert_int_eq(run_recv(9999), -EBADF);
    ck_assert_int_eq(run_send(9999, slice_str("x"), 0), -EBADF);
    probe_init(&p);
    io_shutdown(world->io, &p.op, 9999);
    ck_assert_int_eq(probe_wait(&p), -EBADF);
}
END_TEST

/* --- sockets ---------------------------------------------------------------------------------- */

/* On the ring what was submitted before a shutdown goes out before it. */
START_TEST(test_shutdown_comes_after_what_was_submitted)
{
    struct probe send, down;
    struct stream_pair pair;
    uint8_t bytes[4];

    world_stream_pair(&pair);
    probe_init(&send);
    probe_init(&down);
    io_send(world->io, &send.op, pair.server, slice_str("221 "), 0);
    io_shutdown(world->io, &down.op, pair.server);
    ck_assert_int_eq(probe_wait(&send), 4);
    ck_assert_int_eq(probe_wait(&down), 0);
    run_recv_exactly(pair.client, bytes, 4);
    ck_assert_int_eq(run_recv(pair.client), 0);
    world_stream_close(&pair);
}
END_TEST

START_TEST(test_a_reset_is_an_error)
{
    const struct linger now = {.l_onoff = 1};
    struct stream_pair pair;

    world_stream_pair(&pair);
    ck_assert_int_eq(setsockopt(pair.client, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    world_close_fd(pair.client);
    ck_assert_int_eq(run_recv(pair.server), -ECONNRESET);
    world_close_fd(pair.server);
}
END_TEST

static void unix_address(struct io_addr *out)
{
    char text[160];

    (void)snprintf(text, sizeof(text), "unix:%s", world_path("socket"));
    ck_assert(io_addr_parse(slice_str(text), out));
}

START_TEST(test_a_path_left_over_is_replaced_one_that_answers_is_not)
{
    struct probe accept, connect;
    struct io_addr addr;
    int client = io_socket_stream(world->io, AF_UNIX);
    int listener;

    unix_address(&addr);
    listener = io_listen(world->io, &addr, 0, 8);
    ck_assert_int_ge(listener, 0);
    ck_assert_int_eq(io_listen(world->io, &addr, 0, 8), -EADDRINUSE);
    world_close_fd(listener); /* the path stays */
    listener = io_listen(world->io, &addr, 0, 8);
    ck_assert_int_ge(listener, 0);
    probe_init(&accept);
    probe_init(&connect);
    io_accept(world->io, &accept.op, listener);
    io_connect(world->io, &connect.op, client, &addr);
    ck_assert_int_eq(probe_wait(&connect), 0);
    probe_wait_completions(&accept, 1);
    io_cancel(world->io, &accept.op);
    ck_assert_int_eq(probe_wait(&accept), -ECANCELED);
    world_close_fd(client);
    world_close_fd(accept.res[0]);
    world_close_fd(listener);
}
END_TEST

/* A file that is no socket is nobody's left-over. */
START_TEST(test_a_file_in_the_way_is_not_replaced)
{
    struct io_addr addr;

    run_make_file(world_path("socket"), "precious");
    unix_address(&addr);
    ck_assert_int_eq(io_listen(world->io, &addr, 0, 8), -EADDRINUSE);
    ck_assert(run_file_is(world_path("socket"), "precious"));
}
END_TEST

START_TEST(test_a_lock_keeps_another_process_out)
{
    int fd = run_open(world_path("lock"), IO_OPEN_WRITE | IO_OPEN_CREATE);
    int status = 0;
    pid_t child;

    ck_assert_int_eq(io_lock(world->io, fd), 0);
    child = fork();
    if (child == 0) {
        int own = open(world_path("lock"), O_WRONLY | O_CLOEXEC);

        _exit(own >= 0 && io_lock(world->io, own) == -EAGAIN ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    world_close_fd(fd);
}
END_TEST

/* --- threads ---------------------------------------------------------------------------------- */

enum { ROUNDS = 500 };

struct pingpong {
    struct io *here;
    struct io *there;
    atomic_int ball;
};

/* The other side: answers each ball with the next. */
static void *pong(void *context)
{
    struct pingpong *p = context;
    uint64_t until;

    ck_assert_int_eq(io_uring_start(p->there), 0);
    until = io_now_ms(p->there) + 20000;
    for (int i = 1; i < 2 * ROUNDS; i += 2) {
        while (atomic_load(&p->ball) != i && io_now_ms(p->there) < until)
            (void)io_wait(p->there, until);
        atomic_store(&p->ball, i + 1);
        io_wake(p->there, p->here);
        io_flush(p->there);
    }
    return NULL;
}

/* The first wake-up comes before the other ring has even started; none is lost. */
START_TEST(test_rings_on_two_threads_wake_each_other)
{
    const struct io_uring_options options = {.entries = 8, .recv_buffers = 8, .cpu = 0};
    struct pingpong p = {.here = create_ring(&options), .there = create_ring(&options)};
    uint64_t until;
    pthread_t thread;

    ck_assert_int_eq(io_uring_start(p.here), 0);
    until = io_now_ms(p.here) + 20000;
    for (int i = 0; i < 2 * ROUNDS; i += 2) {
        ck_assert_int_eq(atomic_load(&p.ball), i);
        atomic_store(&p.ball, i + 1);
        io_wake(p.here, p.there);
        io_flush(p.here);
        if (i == 0) {
            (void)io_wait(p.here, 0);
            ck_assert_int_eq(pthread_create(&thread, NULL, pong, &p), 0);
        }
        while (atomic_load(&p.ball) != i + 2 && io_now_ms(p.here) < until)
            (void)io_wait(p.here, until);
    }
    ck_assert_uint_lt(io_now_ms(p.here), until);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    io_destroy(p.there); /* by another thread than its owner, which is gone */
    io_destroy(p.here);
}
END_TEST

static void *knock(void *context)
{
    struct pingpong *p = context;

    for (int i = 1; i < ROUNDS; i++) {
        atomic_store(&p->ball, i);
        io_wake_from_thread(p->here);
        while (atomic_load(&p->ball) == i)
            (void)usleep(10);
    }
    return NULL;
}

START_TEST(test_a_helper_thread_wakes_a_ring)
{
    struct pingpong p = {.here = world->io};
    uint64_t until = io_now_ms(p.here) + 20000;
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, knock, &p), 0);
    for (int i = 1; i < ROUNDS; i++) {
        while (atomic_load(&p.ball) != i && io_now_ms(p.here) < until)
            (void)io_wait(p.here, until);
        atomic_store(&p.ball, 0);
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_lt(io_now_ms(p.here), until);
}
END_TEST

static void on_signal(int number)
{
    (void)number;
    io_wake_from_thread(world->io);
}

START_TEST(test_a_signal_handler_wakes_a_ring)
{
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    uint64_t start = io_now_ms(world->io);

    ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
    ck_assert_int_eq(raise(SIGUSR1), 0);
    (void)io_wait(world->io, start + 20000);
    ck_assert_uint_lt(io_now_ms(world->io), start + 10000);
}
END_TEST

/* --- our own asserts -------------------------------------------------------------------------- */

/* These end before their world is closed. */
static void leave_no_directory(void)
{
    ck_assert_int_eq(rmdir(world->dir), 0);
}

START_TEST(test_abort_when_an_op_is_submitted_twice)
{
    struct io_op op = {0};
    struct io_stat st;

    leave_no_directory();
    io_stat(world->io, &op, world->dir, &st);
    io_stat(world->io, &op, world->dir, &st);
}
END_TEST

START_TEST(test_abort_when_bytes_are_returned_twice)
{
    struct stream_pair pair;
    struct probe p;

    leave_no_directory();
    world_stream_pair(&pair);
    ck_assert_int_eq(run_send(pair.client, slice_str("x"), 0), 1);
    probe_init(&p);
    io_recv(world->io, &p.op, pair.server);
    ck_assert_int_eq(probe_wait(&p), 1);
    io_lent_return(world->io, &p.op);
    io_lent_return(world->io, &p.op);
}
END_TEST

START_TEST(test_abort_when_a_direct_write_is_not_aligned)
{
    const uint8_t *memory = io_registered(world->io).data;
    int fd = run_open(world_path("file"), IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_DIRECT);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(run_unlink(world_path("file")), 0);
    leave_no_directory();
    (void)run_write(fd, memory + 1, IO_ALIGN, 0, 0);
}
END_TEST

START_TEST(test_abort_when_destroyed_with_an_op_in_flight)
{
    struct stream_pair pair;
    struct probe p;

    leave_no_directory();
    world_stream_pair(&pair);
    probe_init(&p);
    io_recv(world->io, &p.op, pair.server);
    io_destroy(world->io);
}
END_TEST

Suite *io_uring_suite(void)
{
    Suite *suite = suite_create("io_uring");
    TCase *tc = contract_case(suite, "ring");

    tcase_add_checked_fixture(tc, open_world, close_world);
    tcase_add_test(tc, test_accept_ends_when_out_of_descriptors);
    tcase_add_test(tc, test_an_overflow_loses_nothing);
    tcase_add_test(tc, test_an_fd_that_is_not_open);
    tcase_add_test(tc, test_shutdown_comes_after_what_was_submitted);
    tcase_add_test(tc, test_a_reset_is_an_error);
    tcase_add_test(tc, test_a_path_left_over_is_replaced_one_that_answers_is_not);
    tcase_add_test(tc, test_a_file_in_the_way_is_not_replaced);
    tcase_add_test(tc, test_a_lock_keeps_another_process_out);
    tcase_add_test(tc, test_rings_on_two_threads_wake_each_other);
    tcase_add_test(tc, test_a_helper_thread_wakes_a_ring);
    tcase_add_test(tc, test_a_signal_handler_wakes_a_ring);
    tcase_add_test_raise_signal(tc, test_abort_when_an_op_is_submitted_twice, SIGABRT);
    tcase_add_test_raise_signal(tc, test_abort_when_bytes_are_returned_twice, SIGABRT);
    tcase_add_test_raise_signal(tc, test_abort_when_a_direct_write_is_not_aligned, SIGABRT);
    tcase_add_test_raise_signal(tc, test_abort_when_destroyed_with_an_op_in_flight, SIGABRT);
    return suite;
}
