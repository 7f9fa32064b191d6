/*
 * Jobs go to helpers and come back once, on their shard, in a later pass; what is too much is refused.
 * With threads on a real ring (helpers ring its bell), without on the simulator.
 */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#include "base_assert.h"
#include "io_sim.h"
#include "io_uring_ring.h"
#include "work.h"

enum { JOBS = 200, SHARDS = 3, PATIENCE_MS = 20000 };

Suite *work_suite(void);

struct job {
    struct work_job work;
    int number;
    int input, output; /* the helper writes it, the shard reads it */
    bool ran, done;
    pthread_t ran_on;
    int again; /* from done: so many times more */
};

/* A shard's side. */
struct side {
    struct work_pool *pool;
    struct io *io;
    struct work_door *door;
    struct job jobs[JOBS];
    int order[JOBS];
    int count;
    bool ok;
};

static struct side sides[SHARDS];
static struct side *side = &sides[0];
static atomic_int running, running_most;
static atomic_bool gate; /* helpers wait until it is open */

static void run(struct work_job *work)
{
    struct job *j = container_of(work, struct job, work);
    int now = atomic_fetch_add(&running, 1) + 1, most = atomic_load(&running_most);

    while (now > most && !atomic_compare_exchange_weak(&running_most, &most, now))
        continue;
    while (!atomic_load(&gate))
        (void)sched_yield();
    j->output = j->input * 2;
    j->ran = true;
    j->ran_on = pthread_self();
    atomic_fetch_sub(&running, 1);
}

static void done(struct work_job *work)
{
    struct job *j = container_of(work, struct job, work);

    ck_assert(j->ran);
    ck_assert(!work_busy(work));
    ck_assert_int_eq(j->output, j->input * 2);
    if (j->again > 0) {
        j->again--;
        j->ran = false;
        ck_assert(work_submit(j->work.door, &j->work));
        return;
    }
    j->done = true;
    side->order[side->count++] = j->number;
}

static struct job *make(struct side *s, int i)
{
    s->jobs[i] = (struct job){.work = {.run = run, .done = done}, .number = i, .input = i + 1};
    return &s->jobs[i];
}

static struct io *ring_create(void)
{
    struct buf error = {0};
    int exit_code = 0;
    struct io *io = io_uring_create(
        &(struct io_uring_options){.entries = 8, .recv_buffers = 4, .cpu = -1}, &error, &exit_code);

    ck_assert_msg(io != NULL, "%.*s", SLICE_ARG(buf_slice(&error)));
    ck_assert_int_eq(io_uring_start(io), 0);
    buf_finish(&error);
    return io;
}

static void open_side(struct side *s, struct work_pool *pool)
{
    *s = (struct side){.pool = pool, .io = ring_create()};
    s->door = work_door_create(pool, s->io);
}

/* Passes until nothing is under way: sleeps as a shard does, so a bell that does not ring is noticed. */
static bool drain(struct side *s)
{
    uint64_t until_ms;

    (void)io_wait(s->io, 0);
    until_ms = io_now_ms(s->io) + PATIENCE_MS;
    while (work_door_busy(s->door) > 0) {
        if (io_now_ms(s->io) >= until_ms)
            return false;
        work_door_step(s->door);
        if (work_door_busy(s->door) > 0)
            (void)io_wait(s->io, work_door_has_work(s->door) ? 0 : until_ms);
    }
    return true;
}

static void close_side(struct side *s, struct work_pool *pool)
{
    work_door_destroy(s->door, false);
    work_pool_destroy(pool);
    io_destroy(s->io);
}

START_TEST(jobs_run_elsewhere_and_come_back_in_order)
{
    struct work_pool *pool = work_pool_create("one", 1, JOBS);

    atomic_store(&gate, true);
    open_side(side, pool);
    for (int i = 0; i < JOBS; i++) {
        struct job *j = make(side, i);
        ck_assert(work_submit(side->door, &j->work));
        ck_assert(work_busy(&j->work));
        ck_assert(!j->done);
    }
    ck_assert_uint_eq(work_door_busy(side->door), JOBS);
    ck_assert(drain(side));
    ck_assert_int_eq(side->count, JOBS);
    for (int i = 0; i < JOBS; i++) { /* one helper: as they were submitted */
        ck_assert_int_eq(side->order[i], i);
        ck_assert(!pthread_equal(side->jobs[i].ran_on, pthread_self()));
    }
    ck_assert(!work_door_has_work(side->door));
    close_side(side, pool);
}
END_TEST

START_TEST(all_threads_work_and_no_more_than_those)
{
    struct work_pool *pool = work_pool_create("three", 3, JOBS);

    atomic_store(&gate, false);
    atomic_store(&running_most, 0);
    open_side(side, pool);
    for (int i = 0; i < 20; i++)
        ck_assert(work_submit(side->door, &make(side, i)->work));
    while (atomic_load(&running) < 3)
        (void)sched_yield();
    ck_assert(!work_door_has_work(side->door));
    work_door_step(side->door); /* calling it too often changes nothing */
    ck_assert_uint_eq(work_door_busy(side->door), 20);
    atomic_store(&gate, true);
    ck_assert(drain(side));
    ck_assert_int_eq(side->count, 20);
    ck_assert_int_eq(atomic_load(&running_most), 3);
    close_side(side, pool);
}
END_TEST

START_TEST(too_many_are_refused)
{
    struct work_pool *pool = work_pool_create("full", 1, 5);
    struct job *refused;

    atomic_store(&gate, false);
    open_side(side, pool);
    ck_assert(work_submit(side->door, &make(side, 0)->work));
    while (atomic_load(&running) < 1) /* it runs, so it does not wait */
        (void)sched_yield();
    for (int i = 1; i <= 5; i++)
        ck_assert(work_submit(side->door, &make(side, i)->work));
    refused = make(side, 6);
    ck_assert(!work_submit(side->door, &refused->work));
    ck_assert(!work_busy(&refused->work));
    ck_assert_uint_eq(work_door_busy(side->door), 6);
    atomic_store(&gate, true);
    ck_assert(drain(side));
    ck_assert_int_eq(side->count, 6);
    ck_assert(!refused->ran);
    ck_assert(work_submit(side->door, &refused->work)); /* there is room again */
    ck_assert(drain(side));
    ck_assert(refused->done);
    close_side(side, pool);
}
END_TEST

START_TEST(a_done_may_submit_again)
{
    struct work_pool *pool = work_pool_create("again", 2, JOBS);

    atomic_store(&gate, true);
    open_side(side, pool);
    for (int i = 0; i < 10; i++) {
        make(side, i)->again = 50;
        ck_assert(work_submit(side->door, &side->jobs[i].work));
    }
    ck_assert(drain(side));
    ck_assert_int_eq(side->count, 10);
    close_side(side, pool);
}
END_TEST

/* ---- several shards --------------------------------------------------------------------------- */

static void done_there(struct work_job *work)
{
    struct job *j = container_of(work, struct job, work);

    j->done = j->output == j->input * 2;
}

static void *shard_main(void *argument)
{
    struct side *s = argument;

    open_side(s, s->pool);
    s->ok = true;
    for (int round = 0; round < 20 && s->ok; round++) {
        for (int i = 0; i < JOBS; i++) {
            make(s, i)->work.done = done_there;
            s->ok &= work_submit(s->door, &s->jobs[i].work);
        }
        s->ok &= drain(s);
        for (int i = 0; i < JOBS; i++)
            s->ok &= s->jobs[i].done;
    }
    work_door_destroy(s->door, false);
    return NULL;
}

START_TEST(shards_share_a_pool)
{
    struct work_pool *pool = work_pool_create("shared", 2, SHARDS * JOBS);
    pthread_t threads[SHARDS];

    atomic_store(&gate, true);
    for (int i = 0; i < SHARDS; i++) {
        sides[i].pool = pool;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, shard_main, &sides[i]), 0);
    }
    for (int i = 0; i < SHARDS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    work_pool_destroy(pool); /* and then the rings: a helper may still be ringing */
    for (int i = 0; i < SHARDS; i++) {
        ck_assert(sides[i].ok);
        io_destroy(sides[i].io);
    }
}
END_TEST

/* ---- without threads -------------------------------------------------------------------------- */

static void open_simulated(struct sim **sim, struct work_pool **pool, uint32_t limit)
{
    struct sim_options options = sim_options_default();

    atomic_store(&gate, true);
    *sim = sim_create(1, &options);
    *pool = work_pool_create("none", 0, limit);
    *side =
        (struct side){.pool = *pool, .io = sim_io_create(sim_machine_create(*sim, "10.0.0.1"), 0)};
    side->door = work_door_create(*pool, side->io);
}

START_TEST(without_threads_a_step_does_the_work)
{
    struct work_pool *pool;
    struct sim *sim;

    open_simulated(&sim, &pool, 3);
    for (int i = 0; i < 3; i++)
        ck_assert(work_submit(side->door, &make(side, i)->work));
    ck_assert(!work_submit(side->door, &make(side, 3)->work));
    ck_assert(!side->jobs[0].ran);
    ck_assert(work_door_has_work(side->door)); /* so that the pass comes at once */
    side->jobs[0].again = 1;
    work_door_step(side->door);
    ck_assert_int_eq(side->count, 2);
    ck_assert_uint_eq(work_door_busy(side->door), 1); /* submitted in a step: the next one's */
    ck_assert(!side->jobs[0].ran);
    work_door_step(side->door);
    ck_assert_int_eq(side->count, 3);
    ck_assert_int_eq(side->order[2], 0);
    ck_assert(!work_door_has_work(side->door));
    ck_assert(work_submit(side->door, &make(side, 3)->work));
    work_door_step(side->door);
    work_door_destroy(side->door, false);
    work_pool_destroy(pool);
    io_destroy(side->io);
    sim_destroy(sim);
}
END_TEST

START_TEST(a_crash_forgets_what_waited)
{
    struct work_pool *pool;
    struct work_door *other;
    struct sim *sim;

    open_simulated(&sim, &pool, 4);
    other = work_door_create(pool, side->io);
    for (int i = 0; i < 3; i++)
        ck_assert(work_submit(side->door, &make(side, i)->work));
    ck_assert(work_submit(other, &make(side, 3)->work));
    ck_assert(!work_submit(other, &make(side, 4)->work));
    memset(side->jobs, 0xee, 3 * sizeof(side->jobs[0])); /* their owners are gone */
    work_door_destroy(side->door, true);
    for (int i = 4; i < 7; i++) /* their room is free again */
        ck_assert(work_submit(other, &make(side, i)->work));
    work_door_step(other);
    ck_assert_int_eq(side->count, 4);
    work_door_destroy(other, false);
    work_pool_destroy(pool);
    io_destroy(side->io);
    sim_destroy(sim);
}
END_TEST

START_TEST(a_door_with_work_under_way_stays)
{
    struct work_pool *pool;
    struct sim *sim;

    open_simulated(&sim, &pool, 4);
    ck_assert(work_submit(side->door, &make(side, 0)->work));
    work_door_destroy(side->door, false);
}
END_TEST

START_TEST(a_job_under_way_is_not_submitted_again)
{
    struct work_pool *pool;
    struct sim *sim;

    open_simulated(&sim, &pool, 4);
    ck_assert(work_submit(side->door, &make(side, 0)->work));
    (void)work_submit(side->door, &side->jobs[0].work);
}
END_TEST

START_TEST(nothing_is_freed_quietly)
{
    work_pool_destroy(NULL);
    work_door_destroy(NULL, false);
    work_pool_destroy(work_pool_create("idle", 4, 1));
}
END_TEST

Suite *work_suite(void)
{
    Suite *s = suite_create("work");
    TCase *tc = tcase_create("threads");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, jobs_run_elsewhere_and_come_back_in_order);
    tcase_add_test(tc, all_threads_work_and_no_more_than_those);
    tcase_add_test(tc, too_many_are_refused);
    tcase_add_test(tc, a_done_may_submit_again);
    tcase_add_test(tc, shards_share_a_pool);
    tcase_add_test(tc, nothing_is_freed_quietly);
    suite_add_tcase(s, tc);
    tc = tcase_create("simulated");
    tcase_add_test(tc, without_threads_a_step_does_the_work);
    tcase_add_test(tc, a_crash_forgets_what_waited);
    tcase_add_test_raise_signal(tc, a_door_with_work_under_way_stays, SIGABRT);
    tcase_add_test_raise_signal(tc, a_job_under_way_is_not_submitted_again, SIGABRT);
    suite_add_tcase(s, tc);
    return s;
}
