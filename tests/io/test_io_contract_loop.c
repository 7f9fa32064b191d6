/* The contract of io.h: the loop, and what holds for every op. */
#include <errno.h>
#include <stdlib.h>

#include "base_assert.h"
#include "io_contract.h"

CONTRACT_TEST(a_zeroed_op_is_idle)
{
    struct io_op op = {0};

    ck_assert(!io_op_busy(&op));
}

CONTRACT_TEST(an_op_is_busy_until_done)
{
    struct io_stat st;
    struct probe p;

    probe_init(&p);
    SUBMIT(io_stat(world->io, &p.op, world->dir, &st));
    ck_assert(io_op_busy(&p.op));
    ck_assert_uint_eq(p.completions, 0);
    ck_assert_int_eq(probe_wait(&p), 0);
    ck_assert(!io_op_busy(&p.op));
    world_settle();
    ck_assert_uint_eq(p.completions, 1);
    ck_assert_uint_eq(p.with_more, 0);
}

/* Kinds that may finish at once, with a result at hand: `done` still waits for the loop (SUBMIT). */
CONTRACT_TEST(done_never_runs_inside_a_submit)
{
    struct probe send, recv, down, closing, open;
    struct stream_pair pair;

    world_stream_pair(&pair);
    ck_assert_int_eq(run_send(pair.client, slice_str("x"), 0), 1);
    world_settle();
    probe_init(&send);
    probe_init(&recv);
    probe_init(&down);
    probe_init(&closing);
    probe_init(&open);
    SUBMIT(io_recv(world->io, &recv.op, pair.server));
    SUBMIT(io_send(world->io, &send.op, pair.server, slice_str("y"), 0));
    SUBMIT(io_open(world->io, &open.op, world_path("absent"), IO_OPEN_READ, 0));
    SUBMIT(io_flush(world->io));
    ck_assert_int_eq(probe_wait(&recv), 1);
    SUBMIT(io_lent_return(world->io, &recv.op));
    ck_assert_int_eq(probe_wait(&send), 1);
    ck_assert_int_eq(probe_wait(&open), -ENOENT);
    SUBMIT(io_shutdown(world->io, &down.op, pair.client));
    SUBMIT(io_flush(world->io));
    ck_assert_int_eq(probe_wait(&down), 0);
    SUBMIT(io_close(world->io, &closing.op, pair.client));
    SUBMIT(io_flush(world->io));
    ck_assert_int_eq(probe_wait(&closing), 0);
    world_close_fd(pair.server);
}

static struct io_stat again_stat;

static void again(struct probe *p)
{
    if (p->completions < 100)
        SUBMIT(io_stat(world->io, &p->op, world->dir, &again_stat));
}

CONTRACT_TEST(done_may_submit_its_own_op)
{
    struct probe p;

    probe_init(&p);
    p.then = again;
    SUBMIT(io_stat(world->io, &p.op, world->dir, &again_stat));
    probe_wait_completions(&p, 100);
    world_settle();
    ck_assert_uint_eq(p.completions, 100);
}

/* Far more than the submission queue has entries, and the completion queue too. */
CONTRACT_TEST(any_number_of_ops_may_be_in_flight)
{
    enum { COUNT = 1000 };
    struct probe *probes = calloc(COUNT, sizeof(*probes));
    struct io_stat st;
    uint64_t before = world->io->counters.completed;

    ck_assert_ptr_nonnull(probes);
    for (int i = 0; i < COUNT; i++) {
        probe_init(&probes[i]);
        SUBMIT(io_stat(world->io, &probes[i].op, world->dir, &st));
    }
    for (int i = 0; i < COUNT; i++)
        ck_assert_int_eq(probe_wait(&probes[i]), 0);
    world_settle();
    for (int i = 0; i < COUNT; i++)
        ck_assert_uint_eq(probes[i].completions, 1);
    ck_assert_uint_eq(world->io->counters.completed - before, COUNT);
    free(probes);
}

/* So that timers and mailboxes get their turn under any load. */
CONTRACT_TEST(a_wait_runs_a_bounded_number)
{
    enum { COUNT = 1000 };
    struct probe *probes = calloc(COUNT, sizeof(*probes));
    struct io_stat st;
    int most = 0;

    ck_assert_ptr_nonnull(probes);
    for (int i = 0; i < COUNT; i++) {
        probe_init(&probes[i]);
        SUBMIT(io_stat(world->io, &probes[i].op, world->dir, &st));
    }
    for (int i = 0; i < COUNT; i++) {
        while (io_op_busy(&probes[i].op)) {
            int ran = io_wait(world->io, io_now_ms(world->io) + 5);

            if (ran > most)
                most = ran;
            if (ran == 0)
                world->type->pump(world, io_now_ms(world->io) + 5);
        }
    }
    ck_assert_int_le(most, 300);
    free(probes);
}

CONTRACT_TEST(a_wait_ends_at_its_deadline)
{
    uint64_t ns = io_now_ns(world->io);
    uint64_t deadline;

    (void)io_wait(world->io, 0);
    deadline = io_now_ms(world->io) + 30;
    while (io_now_ms(world->io) < deadline) {
        if (world->type->host)
            (void)io_wait(world->io, deadline);
        else
            world->type->pump(world, deadline);
    }
    ck_assert_uint_ge(io_now_ns(world->io) - ns, 29 * 1000000);
    ck_assert_uint_lt(io_now_ms(world->io), deadline + 5000);
}

CONTRACT_TEST(a_wait_without_deadline_time_returns_at_once)
{
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(io_wait(world->io, 0), 0);
    ck_assert_int_eq(io_wait(world->io, io_now_ms(world->io)), 0);
}

CONTRACT_TEST(time_stands_still_between_waits)
{
    uint64_t now = io_now_ms(world->io);
    uint64_t ns = io_now_ns(world->io);

    for (volatile int i = 0; i < 10000000; i++)
        ;
    ck_assert_uint_eq(io_now_ms(world->io), now);
    ck_assert_uint_ge(io_now_ns(world->io), ns);
    ck_assert_uint_gt(io_unix_ms(world->io), 0);
}

CONTRACT_TEST(another_io_wakes_a_wait)
{
    uint64_t start = io_now_ms(world->ios[1]);

    for (int i = 0; i < 3; i++) {
        io_wake(world->ios[0], world->ios[1]);
        io_flush(world->ios[0]);
        (void)io_wait(world->ios[1], start + 20000);
        (void)io_wait(world->ios[0], 0);
    }
    ck_assert_uint_lt(io_now_ms(world->ios[1]), start + 10000);
}

CONTRACT_TEST(a_thread_wakes_a_wait)
{
    uint64_t start = io_now_ms(world->io);

    for (int i = 0; i < 3; i++) {
        io_wake_from_thread(world->io);
        (void)io_wait(world->io, start + 20000);
    }
    ck_assert_uint_lt(io_now_ms(world->io), start + 10000);
}

static void count_then(struct probe *p)
{
    (*(int *)p->context)++;
}

CONTRACT_TEST(await_runs_others_too)
{
    struct io_stat st;
    struct io_op op = {0}; /* without done */
    struct probe other;
    int others = 0;

    probe_init(&other);
    other.then = count_then;
    other.context = &others;
    io_stat(world->io, &other.op, world->dir, &st);
    io_stat(world->io, &op, world_path("absent"), &st);
    ck_assert_int_eq(io_await(world->io, &op), -ENOENT);
    (void)probe_wait(&other);
    ck_assert_int_eq(others, 1);
    io_stat(world->io, &op, world->dir, &st);
    ck_assert_int_eq(io_await(world->io, &op), 0);
}

CONTRACT_TEST(entropy_differs)
{
    uint8_t a[32] = {0};
    uint8_t b[32] = {0};

    io_entropy(world->io, a, sizeof(a));
    io_entropy(world->io, b, sizeof(b));
    ck_assert_mem_ne(a, b, sizeof(a));
}

CONTRACT_TEST(registered_memory_is_aligned_and_zeroed)
{
    struct slice memory = io_registered(world->io);
    uint8_t any = 0;

    ck_assert_uint_eq(memory.len, IO_WORLD_REGISTERED);
    ck_assert_uint_eq((uintptr_t)memory.data % IO_ALIGN, 0);
    for (size_t i = 0; i < memory.len; i++)
        any |= memory.data[i];
    ck_assert_uint_eq(any, 0);
}

CONTRACT_TEST(cancelling_an_idle_op_is_nothing)
{
    struct probe p;
    struct io_stat st;

    probe_init(&p);
    SUBMIT(io_cancel(world->io, &p.op));
    world_settle();
    ck_assert_uint_eq(p.completions, 0);
    SUBMIT(io_stat(world->io, &p.op, world->dir, &st));
    ck_assert_int_eq(probe_wait(&p), 0);
    SUBMIT(io_cancel(world->io, &p.op));
    world_settle();
    ck_assert_uint_eq(p.completions, 1);
}

/* A cancel that comes too late must not hit what is next submitted with the same op. */
CONTRACT_TEST(a_late_cancel_spares_the_next_submit)
{
    struct stream_pair pair;
    struct probe p;

    world_stream_pair(&pair);
    for (int i = 0; i < 50; i++) {
        probe_init(&p);
        SUBMIT(io_recv(world->io, &p.op, pair.server));
        ck_assert_int_eq(run_send(pair.client, slice_str("a"), 0), 1);
        SUBMIT(io_cancel(world->io, &p.op));
        if (probe_wait(&p) == 1)
            io_lent_return(world->io, &p.op);
        else
            ck_assert_int_eq(run_recv(pair.server), 1);
        ck_assert_uint_eq(p.completions, 1);

        SUBMIT(io_recv(world->io, &p.op, pair.server));
        ck_assert_int_eq(run_send(pair.client, slice_str("b"), 0), 1);
        ck_assert_int_eq(probe_wait(&p), 1);
        io_lent_return(world->io, &p.op);
    }
    world_stream_close(&pair);
}

Suite *io_contract_loop_suite(void)
{
    Suite *suite = suite_create("io_contract_loop");
    TCase *tc = contract_case(suite, "loop");

    CONTRACT_ADD(tc, a_zeroed_op_is_idle);
    CONTRACT_ADD(tc, an_op_is_busy_until_done);
    CONTRACT_ADD(tc, done_never_runs_inside_a_submit);
    CONTRACT_ADD(tc, done_may_submit_its_own_op);
    CONTRACT_ADD(tc, any_number_of_ops_may_be_in_flight);
    CONTRACT_ADD(tc, a_wait_runs_a_bounded_number);
    CONTRACT_ADD(tc, a_wait_ends_at_its_deadline);
    CONTRACT_ADD(tc, a_wait_without_deadline_time_returns_at_once);
    CONTRACT_ADD(tc, time_stands_still_between_waits);
    CONTRACT_ADD(tc, another_io_wakes_a_wait);
    CONTRACT_ADD(tc, a_thread_wakes_a_wait);
    CONTRACT_ADD(tc, await_runs_others_too);
    CONTRACT_ADD(tc, entropy_differs);
    CONTRACT_ADD(tc, registered_memory_is_aligned_and_zeroed);
    CONTRACT_ADD(tc, cancelling_an_idle_op_is_nothing);
    CONTRACT_ADD(tc, a_late_cancel_spares_the_next_submit);
    return suite;
}
