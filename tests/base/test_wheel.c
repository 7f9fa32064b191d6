#include "base_wheel.h"

#include "base_assert.h"
#include "base_rand.h"
#include "base_test.h"

static const uint64_t day_ms = 86400000;

static struct wheel w;
static struct wheel_timer timers[8];
static char fired[64]; /* a digit a timer, in the order in which they fired */
static uint64_t fired_at[64];

static void record(struct wheel_timer *t)
{
    size_t len = strlen(fired);

    ck_assert(!wheel_timer_is_set(t)); /* it may be set again from here */
    fired_at[len] = w.now_ms;
    fired[len] = (char)('0' + (t - timers));
    fired[len + 1] = '\0';
}

static void setup(void)
{
    wheel_init(&w, 1000);
    for (size_t i = 0; i < ARRAY_LEN(timers); i++)
        wheel_timer_init(&timers[i], record);
    fired[0] = '\0';
}

START_TEST(fires_in_order_and_once)
{
    ck_assert_uint_eq(wheel_next_ms(&w), WHEEL_NEVER);
    wheel_set(&w, &timers[0], 1300);
    wheel_set(&w, &timers[1], 1001);
    wheel_set(&w, &timers[2], 1000 + 30 * day_ms);
    wheel_set(&w, &timers[3], 1300);
    ck_assert_uint_eq(w.count, 4);
    ck_assert(wheel_timer_is_set(&timers[0]));
    ck_assert_uint_eq(wheel_next_ms(&w), 1001);
    wheel_advance(&w, 1000);
    ck_assert_str_eq(fired, "");
    wheel_advance(&w, 1299);
    ck_assert_str_eq(fired, "1");
    wheel_advance(&w, 1300);
    ck_assert_str_eq(fired, "103");
    wheel_advance(&w, 999 + 30 * day_ms);
    ck_assert_str_eq(fired, "103");
    ck_assert_uint_eq(w.count, 1);
    ck_assert_uint_eq(wheel_next_ms(&w), 1000 + 30 * day_ms);
    wheel_advance(&w, 1000 + 30 * day_ms);
    ck_assert_str_eq(fired, "1032");
    ck_assert_uint_eq(wheel_next_ms(&w), WHEEL_NEVER);
    ck_assert_uint_eq(w.count, 0);
}
END_TEST

START_TEST(one_jump_fires_all_by_due_time)
{
    wheel_set(&w, &timers[0], 1000 + 5 * day_ms);
    wheel_set(&w, &timers[1], 1000 + 4 * day_ms);
    wheel_set(&w, &timers[2], 70000);
    wheel_set(&w, &timers[3], 1063);
    wheel_set(&w, &timers[4], 1064);
    wheel_set(&w, &timers[5], 5000);
    wheel_set(&w, &timers[6], 5000);
    wheel_set(&w, &timers[7], 999); /* over already */
    wheel_advance(&w, 1000 + 1000 * day_ms);
    ck_assert_str_eq(fired, "73456210");
    ck_assert_uint_eq(fired_at[1], 1063); /* they see the time that they waited for */
    ck_assert_uint_eq(fired_at[7], 1000 + 5 * day_ms);
    ck_assert_uint_eq(w.now_ms, 1000 + 1000 * day_ms);
}
END_TEST

START_TEST(late_timer_fires_at_the_next_advance)
{
    wheel_set(&w, &timers[0], 1000);
    wheel_set(&w, &timers[1], 3);
    ck_assert_uint_eq(wheel_next_ms(&w), 1000);
    wheel_advance(&w, 1000);
    ck_assert_str_eq(fired, "01");
    ck_assert_uint_eq(wheel_next_ms(&w), WHEEL_NEVER);
}
END_TEST

START_TEST(cancels_and_moves)
{
    wheel_set(&w, &timers[0], 1010);
    wheel_set(&w, &timers[1], 1010);
    wheel_set(&w, &timers[2], 5);
    wheel_cancel(&w, &timers[0]);
    wheel_cancel(&w, &timers[0]);
    wheel_cancel(&w, &timers[2]);
    wheel_set(&w, &timers[1], 1000 + day_ms); /* leaves its old slot empty */
    ck_assert_uint_gt(wheel_next_ms(&w), 1010);
    ck_assert_uint_le(wheel_next_ms(&w), 1000 + day_ms);
    wheel_set(&w, &timers[1], 1500);
    ck_assert_uint_eq(w.count, 1);
    wheel_advance(&w, 1499);
    ck_assert_str_eq(fired, "");
    wheel_advance(&w, 1500);
    ck_assert_str_eq(fired, "1");

    struct wheel_timer zeroed = {0};
    ck_assert(!wheel_timer_is_set(&zeroed));
    wheel_cancel(&w, &zeroed);
}
END_TEST

static void cancel_others(struct wheel_timer *t)
{
    record(t);
    wheel_cancel(&w, &timers[1]); /* due in the same millisecond */
    wheel_cancel(&w, &timers[2]); /* later */
    wheel_set(&w, &timers[3], w.now_ms + 5);
    wheel_set(&w, &timers[4], w.now_ms);
}

START_TEST(fire_cancels_and_sets)
{
    wheel_timer_init(&timers[0], cancel_others);
    wheel_set(&w, &timers[0], 2000);
    wheel_set(&w, &timers[1], 2000);
    wheel_set(&w, &timers[2], 2001);
    wheel_set(&w, &timers[3], 2000); /* moved while it is about to fire */
    wheel_set(&w, &timers[5], 2000);
    wheel_advance(&w, 10000);
    ck_assert_str_eq(fired, "053"); /* 4 was late when it was set */
    ck_assert_uint_eq(fired_at[2], 2005);
    ck_assert_uint_eq(w.count, 1);
    wheel_advance(&w, 10000);
    ck_assert_str_eq(fired, "0534");
}
END_TEST

static void again(struct wheel_timer *t)
{
    record(t);
    wheel_set(&w, t, w.now_ms + (strlen(fired) < 5 ? 10 : 0));
}

START_TEST(fire_sets_itself)
{
    wheel_timer_init(&timers[0], again);
    wheel_set(&w, &timers[0], 1010);
    wheel_advance(&w, 9000); /* ends, though the last one is due at once again */
    ck_assert_str_eq(fired, "00000");
    ck_assert_uint_eq(fired_at[4], 1050);
    wheel_advance(&w, 9000);
    ck_assert_str_eq(fired, "000000");
}
END_TEST

START_TEST(any_time_has_a_place)
{
    wheel_set(&w, &timers[0], UINT64_MAX);
    wheel_set(&w, &timers[1], (uint64_t)1 << 63);
    wheel_set(&w, &timers[2], ((uint64_t)1 << 60) + 12345);
    wheel_advance(&w, (uint64_t)1 << 60);
    ck_assert_str_eq(fired, "");
    wheel_advance(&w, UINT64_MAX - 1);
    ck_assert_str_eq(fired, "21");
    ck_assert_uint_eq(fired_at[0], ((uint64_t)1 << 60) + 12345);
    wheel_advance(&w, UINT64_MAX);
    ck_assert_str_eq(fired, "210");
}
END_TEST

/* Would not end within the test's time if a jump cost something for each millisecond. */
START_TEST(jumps_are_cheap)
{
    for (uint64_t i = 1; i <= 1000000; i++)
        wheel_advance(&w, 1000 + i * 400 * day_ms);
    wheel_set(&w, &timers[0], w.now_ms + 100 * 365 * day_ms);
    uint64_t wakeups = 0;
    while (fired[0] == '\0') {
        uint64_t next_ms = wheel_next_ms(&w);

        quick_assert(next_ms > w.now_ms);
        wheel_advance(&w, next_ms);
        wakeups++;
    }
    quick_assert(wakeups <= WHEEL_LEVELS); /* at most one a level on the way down */
}
END_TEST

/*
 * The model: an array that is searched. Timers fire by due time, and by the order of setting within
 * one millisecond; those set for the past come first, in the order of setting.
 */
enum { MODEL_TIMERS = 300 };

struct model_timer {
    struct wheel_timer timer;
    bool set, late;
    uint64_t due_ms, order;
};

static struct model_timer model[MODEL_TIMERS];
static uint64_t model_order, model_fires, model_round_begin;
static uint64_t model_target_ms;
static struct rand model_rand;

static void model_set(struct model_timer *m, uint64_t due_ms)
{
    m->set = true;
    m->late = due_ms <= w.now_ms;
    m->due_ms = due_ms;
    m->order = model_order++;
    wheel_set(&w, &m->timer, due_ms);
}

static void model_cancel(struct model_timer *m)
{
    m->set = false;
    wheel_cancel(&w, &m->timer);
}

/* What has to fire next in this advance. */
static struct model_timer *model_first(void)
{
    struct model_timer *best = NULL;

    for (size_t i = 0; i < MODEL_TIMERS; i++) {
        struct model_timer *m = &model[i];

        if (!m->set || (m->late ? m->order >= model_round_begin : m->due_ms > model_target_ms))
            continue;
        if (best == NULL || (m->late && !best->late)
            || (m->late == best->late
                && (!m->late && m->due_ms != best->due_ms ? m->due_ms < best->due_ms
                                                          : m->order < best->order)))
            best = m;
    }
    return best;
}

static uint64_t random_due(void)
{
    uint64_t reach = (uint64_t)1 << rand_below(&model_rand, 42);

    if (rand_chance(&model_rand, 1, 10))
        return rand_below(&model_rand, w.now_ms + 1);
    /* Many timers in few milliseconds, on round numbers, and far away. */
    uint64_t due_ms = w.now_ms + rand_below(&model_rand, reach);
    return rand_chance(&model_rand, 1, 3) ? due_ms & ~(uint64_t)0xFFF : due_ms;
}

static void random_operation(void)
{
    struct model_timer *m = &model[rand_below(&model_rand, MODEL_TIMERS)];

    if (rand_chance(&model_rand, 1, 3))
        model_cancel(m);
    else
        model_set(m, random_due());
}

static void model_fire(struct wheel_timer *t)
{
    struct model_timer *m = container_of(t, struct model_timer, timer);

    quick_assert(m == model_first());
    if (!m->late)
        quick_assert(w.now_ms == m->due_ms);
    m->set = false;
    model_fires++;
    if (rand_chance(&model_rand, 1, 2))
        random_operation();
}

static void check_model(void)
{
    uint64_t earliest = WHEEL_NEVER;
    uint64_t count = 0;

    for (size_t i = 0; i < MODEL_TIMERS; i++) {
        quick_assert(wheel_timer_is_set(&model[i].timer) == model[i].set);
        if (!model[i].set)
            continue;
        count++;
        uint64_t due_ms = model[i].late ? w.now_ms : model[i].due_ms;
        earliest = due_ms < earliest ? due_ms : earliest;
    }
    quick_assert(w.count == count);
    quick_assert(wheel_next_ms(&w) <= earliest);
    quick_assert(earliest == WHEEL_NEVER || wheel_next_ms(&w) >= w.now_ms);
    quick_assert((earliest == WHEEL_NEVER) == (wheel_next_ms(&w) == WHEEL_NEVER));
}

START_TEST(does_what_the_model_does)
{
    rand_seed(&model_rand, test_seed("wheel"));
    wheel_init(&w, rand_u64(&model_rand) >> rand_between(&model_rand, 20, 60));
    for (size_t i = 0; i < MODEL_TIMERS; i++)
        wheel_timer_init(&model[i].timer, model_fire);
    for (int round = 0; round < 3000; round++) {
        for (uint64_t n = rand_below(&model_rand, 20); n > 0; n--)
            random_operation();
        check_model();
        model_target_ms = w.now_ms;
        if (rand_chance(&model_rand, 1, 4) && wheel_next_ms(&w) != WHEEL_NEVER)
            model_target_ms = wheel_next_ms(&w);
        else if (rand_chance(&model_rand, 9, 10))
            model_target_ms += rand_below(&model_rand, (uint64_t)1 << rand_below(&model_rand, 36));
        model_round_begin = model_order;
        wheel_advance(&w, model_target_ms);
        quick_assert(model_first() == NULL); /* nothing was forgotten */
        quick_assert(w.now_ms == model_target_ms);
        check_model();
    }
    quick_assert(model_fires > 1000);
}
END_TEST

START_TEST(going_back_aborts)
{
    wheel_advance(&w, 999);
}
END_TEST

static void advance_again(struct wheel_timer *t)
{
    (void)t;
    wheel_advance(&w, 5000);
}

START_TEST(advancing_within_fire_aborts)
{
    wheel_timer_init(&timers[0], advance_again);
    wheel_set(&w, &timers[0], 2000);
    wheel_advance(&w, 3000);
}
END_TEST

START_TEST(timer_without_fire_aborts)
{
    struct wheel_timer zeroed = {0};

    wheel_set(&w, &zeroed, 2000);
}
END_TEST

Suite *wheel_suite(void)
{
    Suite *s = suite_create("wheel");
    TCase *tc = tcase_create("wheel");

    tcase_set_timeout(tc, 20);
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, fires_in_order_and_once);
    tcase_add_test(tc, one_jump_fires_all_by_due_time);
    tcase_add_test(tc, late_timer_fires_at_the_next_advance);
    tcase_add_test(tc, cancels_and_moves);
    tcase_add_test(tc, fire_cancels_and_sets);
    tcase_add_test(tc, fire_sets_itself);
    tcase_add_test(tc, any_time_has_a_place);
    tcase_add_test(tc, jumps_are_cheap);
    tcase_add_test(tc, does_what_the_model_does);
    add_abort_test(tc, going_back_aborts);
    add_abort_test(tc, advancing_within_fire_aborts);
    add_abort_test(tc, timer_without_fire_aborts);
    suite_add_tcase(s, tc);
    return s;
}
