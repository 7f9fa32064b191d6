/* Shards together: calls between them, tasks that cross, and the stop that all agree on. */
#include "base_mem.h"
#include "shard_world.h"

Suite *shard_suite(void);

enum { CALLS = 5000, SEEDS = 12 }; /* CALLS: several times what a mailbox holds */

static struct shard_world world;

/* ---- calls ---------------------------------------------------------------------------------- */

struct question {
    struct shard_call call;
    struct wheel_timer later;
    struct shard *on;
    unsigned ran_on, done_on;
    unsigned ran_as, done_as; /* the how-manieth */
    bool ran, done;
};

static unsigned ran_count, done_count;

static void note_run(struct question *q, struct shard *on)
{
    ck_assert(!q->ran);
    q->ran = true;
    q->ran_on = shard_number(on);
    q->ran_as = ran_count++;
}

static void run_now(struct shard *on, struct shard_call *call)
{
    note_run(container_of(call, struct question, call), on);
    shard_answer(on, call);
}

static void answer_later(struct wheel_timer *timer)
{
    struct question *q = container_of(timer, struct question, later);

    shard_answer(q->on, &q->call);
}

static void run_slowly(struct shard *on, struct shard_call *call)
{
    struct question *q = container_of(call, struct question, call);

    note_run(q, on);
    q->on = on;
    wheel_timer_init(&q->later, answer_later);
    wheel_set(shard_wheel(on), &q->later, io_now_ms(shard_io(on)) + 100);
}

static void done(struct shard *on, struct shard_call *call)
{
    struct question *q = container_of(call, struct question, call);

    ck_assert(q->ran && !q->done);
    q->done = true;
    q->done_on = shard_number(on);
    q->done_as = done_count++;
}

static void ask(struct question *q, unsigned from, unsigned to,
                void (*run)(struct shard *, struct shard_call *))
{
    *q = (struct question){.call = {.run = run, .done = done}};
    shard_call(world.shards[from].shard, to, &q->call);
    io_wake_from_thread(world.shards[from].io); /* its next pass publishes */
}

static void begin(unsigned shards, uint64_t seed)
{
    ran_count = done_count = 0;
    shard_world_init(&world, seed);
    shard_world_start(&world, shards);
}

static void end(void)
{
    shard_world_stop(&world, 5000);
    shard_world_finish(&world);
}

START_TEST(a_call_runs_there_and_is_done_here)
{
    begin(WORLD_SHARDS, 1);
    for (unsigned from = 0; from < WORLD_SHARDS; from++) {
        for (unsigned to = 0; to < WORLD_SHARDS; to++) {
            struct question q;
            ask(&q, from, to, _i == 0 ? run_now : run_slowly);
            shard_world_run_ms(&world, 50);
            ck_assert_int_eq(q.done, _i == 0);
            shard_world_run_ms(&world, 100);
            ck_assert(q.done);
            ck_assert_uint_eq(q.ran_on, to);
            ck_assert_uint_eq(q.done_on, from);
        }
    }
    end();
}
END_TEST

START_TEST(a_full_mailbox_loses_nothing_and_keeps_the_order)
{
    struct question *q = mem_calloc(CALLS, sizeof(*q));

    begin(2, 1);
    for (unsigned i = 0; i < CALLS; i++)
        ask(&q[i], 0, 1, run_now);
    shard_world_run_ms(&world, 1000);
    for (unsigned i = 0; i < CALLS; i++) {
        ck_assert(q[i].done);
        ck_assert_uint_eq(q[i].ran_as, i);
        ck_assert_uint_eq(q[i].done_as, i);
    }
    end();
    mem_free(q);
}
END_TEST

START_TEST(full_mailboxes_both_ways)
{
    struct question *q = mem_calloc(CALLS, sizeof(*q));

    begin(2, 2);
    for (unsigned i = 0; i < CALLS; i++)
        ask(&q[i], i % 2, 1 - i % 2, run_now);
    shard_world_run_ms(&world, 1000);
    for (unsigned i = 0; i < CALLS; i++) {
        ck_assert(q[i].done);
        ck_assert_uint_eq(q[i].done_on, i % 2);
    }
    end();
    mem_free(q);
}
END_TEST

START_TEST(one_doorbell_for_many_letters)
{
    struct question q[100];
    struct shard_counters before, after;

    begin(2, 1);
    shard_world_run_ms(&world, 1000);
    shard_counters(world.shards[0].shard, &before);
    for (unsigned i = 0; i < ARRAY_LEN(q); i++)
        ask(&q[i], 0, 1, run_now);
    shard_world_run_ms(&world, 50);
    shard_counters(world.shards[0].shard, &after);
    ck_assert(q[ARRAY_LEN(q) - 1].done);
    ck_assert_uint_eq(after.doorbells - before.doorbells, 1);
    end();
}
END_TEST

/* ---- stopping ------------------------------------------------------------------------------- */

START_TEST(an_idle_stop_is_quick)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        begin(1 + (unsigned)_i, seed);
        shard_world_run_ms(&world, seed % 2 ? 0 : 5000);
        shard_world_stop(&world, 1000);
        shard_world_finish(&world);
    }
}
END_TEST

START_TEST(tasks_cross_and_come_home)
{
    uint64_t posted = 0;

    begin(1 + (unsigned)_i, 1);
    shard_world_queue(&world, 300);
    shard_world_run_ms(&world, 60 * 1000);
    ck_assert_uint_eq(shard_world_queued(&world), 300);
    for (unsigned i = 0; i < world.group.count; i++) {
        struct shard_counters c;
        shard_counters(world.shards[i].shard, &c);
        ck_assert_uint_eq(c.queue_out, 0);
        posted += c.posted;
    }
    if (_i == 0)
        ck_assert_uint_eq(posted, 0);
    else
        ck_assert_uint_ge(posted, 200); /* many of them go there and come back */
    end();
}
END_TEST

START_TEST(a_stop_brings_tasks_home)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        begin(1 + (unsigned)_i, seed);
        shard_world_queue(&world, 300);
        shard_world_run_ms(&world, seed); /* some are out, some are on their way, some wait */
        shard_world_stop(&world, 12 * 1000);
        shard_world_start(&world, 1 + (unsigned)((unsigned)_i + seed) % WORLD_SHARDS);
        ck_assert_uint_eq(world.recovered, 300);
        ck_assert_uint_eq(shard_world_queued(&world), 300);
        end();
    }
}
END_TEST

/* The guest asks another shard when it is told to stop, and is idle when that shard has answered. */
static struct question last_question;

static void guest_stop(struct shard_world *w)
{
    ck_assert_ptr_null(w->guest);
    w->guest = &last_question;
    last_question = (struct question){.call = {.run = run_slowly, .done = done}};
    shard_call(w->shards[0].shard, w->group.count - 1, &last_question.call);
}

static bool guest_idle(struct shard_world *w)
{
    ck_assert_ptr_nonnull(w->guest);
    for (unsigned i = 0; i < w->group.count && !last_question.done; i++)
        ck_assert(!w->shards[i].done); /* all of them still answer */
    return last_question.done;
}

START_TEST(a_stop_waits_for_the_guest)
{
    shard_world_init(&world, 1);
    ran_count = done_count = 0;
    world.guest_stop = guest_stop;
    world.guest_idle = guest_idle;
    shard_world_start(&world, 1 + (unsigned)_i);
    shard_world_run_ms(&world, 100);
    shard_world_stop(&world, 1000);
    ck_assert(last_question.done);
    shard_world_finish(&world);
}
END_TEST

/* ---- helpers -------------------------------------------------------------------------------- */

/* Something slow with many parts, each a job. */
struct errand {
    struct work_job job;
    unsigned left;
};

static void errand_run(struct work_job *job)
{
    container_of(job, struct errand, job)->left--;
}

static void errand_done(struct work_job *job)
{
    struct errand *e = container_of(job, struct errand, job);

    ck_assert(!world.shards[0].done);
    if (e->left > 0)
        ck_assert(work_submit(job->door, job));
}

/* The shards' own passes bring it home, and a stop waits for it. */
START_TEST(helpers_work_for_a_shard_and_it_waits_for_them)
{
    struct errand errands[2] = {{{.run = errand_run, .done = errand_done}, 50},
                                {{.run = errand_run, .done = errand_done}, 70}};
    struct shard_counters counters;

    begin(1 + (unsigned)_i, 1);
    shard_world_run_ms(&world, 1000);
    ck_assert(work_submit(shard_compute(world.shards[0].shard), &errands[0].job));
    ck_assert(work_submit(shard_patient(world.shards[0].shard), &errands[1].job));
    shard_counters(world.shards[0].shard, &counters);
    ck_assert_uint_eq(counters.work_busy, 2);
    ck_assert_uint_eq(errands[0].left, 50);
    shard_world_stop(&world, 1000);
    ck_assert_uint_eq(errands[0].left, 0);
    ck_assert_uint_eq(errands[1].left, 0);
    shard_world_finish(&world);
}
END_TEST

Suite *shard_suite(void)
{
    Suite *s = suite_create("shard");
    TCase *calls = tcase_create("calls"), *stop = tcase_create("stop");

    tcase_set_timeout(calls, 30);
    tcase_add_loop_test(calls, a_call_runs_there_and_is_done_here, 0, 2);
    tcase_add_test(calls, a_full_mailbox_loses_nothing_and_keeps_the_order);
    tcase_add_test(calls, full_mailboxes_both_ways);
    tcase_add_test(calls, one_doorbell_for_many_letters);
    suite_add_tcase(s, calls);
    tcase_set_timeout(stop, 30);
    tcase_add_loop_test(stop, an_idle_stop_is_quick, 0, WORLD_SHARDS);
    tcase_add_loop_test(stop, tasks_cross_and_come_home, 0, WORLD_SHARDS);
    tcase_add_loop_test(stop, a_stop_brings_tasks_home, 0, WORLD_SHARDS);
    tcase_add_loop_test(stop, a_stop_waits_for_the_guest, 0, WORLD_SHARDS);
    tcase_add_loop_test(stop, helpers_work_for_a_shard_and_it_waits_for_them, 0, WORLD_SHARDS);
    suite_add_tcase(s, stop);
    return s;
}
