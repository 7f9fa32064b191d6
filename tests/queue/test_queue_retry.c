/* When a message is tried again: intervals, jitter, expiry, and a wall clock that jumps. */
#include "base_rand.h"
#include "queue_world.h"

Suite *queue_retry_suite(void);

static struct queue_world w;

static void setup(void)
{
    queue_world_init(&w);
}

static const struct {
    uint32_t attempts;
    uint32_t wait_s;
} cases[] = {{1, 300}, {2, 600}, {3, 3600}, {4, 3600}, {1000, 3600}, {UINT16_MAX, 3600}};

START_TEST(the_last_interval_repeats)
{
    struct queue_entry *e;

    queue_world_open(&w, 0);
    e = queue_world_message(&w, 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t due_s = queue_next_due_s(&w.queue, e->message, &w.conf.retry, cases[i].attempts);
        uint64_t now_s = queue_world_s(&w);
        ck_assert_uint_ge(due_s, now_s + cases[i].wait_s);
        ck_assert_uint_le(due_s, now_s + cases[i].wait_s + 1);
    }
    queue_world_close(&w);
}
END_TEST

START_TEST(jitter_stays_within_its_bounds)
{
    struct queue_entry *e;
    uint64_t least = UINT64_MAX, most = 0;

    w.conf.retry.jitter = 10;
    queue_world_open(&w, 0);
    e = queue_world_message(&w, 1);
    for (int i = 0; i < 2000; i++) {
        uint64_t wait_s =
            queue_next_due_s(&w.queue, e->message, &w.conf.retry, 3) - queue_world_s(&w);
        least = wait_s < least ? wait_s : least;
        most = wait_s > most ? wait_s : most;
    }
    ck_assert_uint_ge(least, 3240);
    ck_assert_uint_lt(least, 3260);
    ck_assert_uint_le(most, 3961);
    ck_assert_uint_gt(most, 3940);
    queue_world_close(&w);
}
END_TEST

/* The whole life of a message that nobody takes: each wait is its interval's, the last attempt comes with
 * the expiry, and then it is given up. */
START_TEST(attempts_until_the_expiry)
{
    uint64_t arrived_s, last_s;
    unsigned attempts = 0;
    struct queue_entry *e;

    queue_world_open(&w, 0);
    e = queue_world_message(&w, 1);
    arrived_s = last_s = queue_world_s(&w);
    for (;;) {
        uint64_t now_s, wait_s;
        while (w.out_count == 0)
            queue_world_run_ms(&w, 500);
        e = queue_world_take(&w);
        now_s = queue_world_s(&w);
        wait_s = now_s - last_s;
        if (attempts == 1 || attempts == 2)
            ck_assert(wait_s >= 300 * attempts && wait_s <= 300 * attempts + 2);
        last_s = now_s;
        attempts++;
        if (queue_expired(&w.queue, e->message, &w.conf.retry))
            break;
        queue_world_defer(&w, e, "451 later");
    }
    ck_assert_uint_ge(last_s, arrived_s + 86400);
    ck_assert_uint_le(last_s, arrived_s + 86402);
    ck_assert_uint_eq(attempts, 3 + 24); /* at 0, 5m, 15m, 1h15m .. 23h15m, 24h */
    queue_world_settle(&w, e, SPOOL_RECIPIENT_BOUNCED, 0, "expired");
    queue_world_close(&w);
}
END_TEST

/* Due times are the wall clock's; a wheel's are not. Wherever the clock has jumped to, what is due then is
 * noticed within the hour, and nothing is lost. */
START_TEST(the_wall_clock_may_jump)
{
    for (int round = 0; round < 20; round++) {
        struct queue_entry *e;
        uint64_t due_s, wait_s;

        if (round > 0)
            queue_world_init(&w);
        queue_world_open(&w, 0);
        (void)queue_world_message(&w, 1);
        queue_world_run_ms(&w, 1);
        e = queue_world_take(&w);
        due_s = queue_world_s(&w) + 20000;
        queue_world_settle(&w, e, SPOOL_RECIPIENT_WAITING, (uint32_t)due_s, "451 later");
        sim_options(w.sim)->clock_jump = 10000;
        for (int i = 0; i <= round && w.out_count == 0; i++)
            queue_world_run_ms(&w, 1000);
        sim_options(w.sim)->clock_jump = 0;
        wait_s = due_s > queue_world_s(&w) ? due_s - queue_world_s(&w) : 0;
        queue_world_run_ms(&w, (wait_s < 3600 ? wait_s : wait_s - 3600) * 1000 + 3601 * 1000);
        ck_assert_uint_eq(w.out_count, 1);
        queue_world_settle(&w, queue_world_take(&w), SPOOL_RECIPIENT_DELIVERED, 0, "");
        queue_world_close(&w);
    }
}
END_TEST

/* Arrived in the future, as far as the clock knows: it is tried, and does not expire at once. */
START_TEST(a_message_from_the_future)
{
    struct queue_entry *e;

    queue_world_open(&w, 0);
    e = queue_world_message(&w, 1);
    e->message->arrived_s += 90000;
    ck_assert(!queue_expired(&w.queue, e->message, &w.conf.retry));
    ck_assert_uint_le(queue_next_due_s(&w.queue, e->message, &w.conf.retry, 1),
                      queue_world_s(&w) + 301);
    queue_world_close(&w);
}
END_TEST

/* The wall clock leaps ahead by a week, or a machine was asleep: nothing is given up for a day, whoever
 * waits in a lot included, and it is not forgiven for ever. */
START_TEST(a_leap_ahead_is_forgiven_for_a_day)
{
    struct queue_entry *e;
    uint32_t now_s;

    queue_world_open(&w, 0);
    e = queue_world_message(&w, 1);
    e->message->terms.deliver_by_s = _i == 0 ? 0 : (uint32_t)queue_world_s(&w) + 3600;
    queue_world_run_ms(&w, 1);
    now_s = (uint32_t)queue_world_s(&w);
    queue_world_leap(&w, 7 * 86400 * (int64_t)1000);
    ck_assert_uint_eq(queue_world_s(&w), now_s + 7 * 86400);
    queue_step(&w.queue);
    ck_assert(!queue_expired(&w.queue, e->message, &w.conf.retry));
    queue_world_defer(&w, queue_world_take(&w), "451 later");
    for (int hour = 0; hour < 50 && !queue_expired(&w.queue, e->message, &w.conf.retry); hour++) {
        queue_world_run_ms(&w, 3600 * 1000);
        ck_assert(hour >= 23 || _i == 1 || !queue_expired(&w.queue, e->message, &w.conf.retry));
        if (w.out_count > 0 && !queue_expired(&w.queue, e->message, &w.conf.retry))
            queue_world_defer(&w, queue_world_take(&w), "451 later");
    }
    ck_assert(queue_expired(&w.queue, e->message, &w.conf.retry));
    queue_world_run_ms(&w, 3700 * 1000);
    ck_assert_uint_eq(w.out_count, 1);
    queue_world_settle(&w, queue_world_take(&w), SPOOL_RECIPIENT_BOUNCED, 0, "");
    queue_world_close(&w);
}
END_TEST

/* What has come since the leap is as old as it seems: the clock that it came by is the one that counts. */
START_TEST(mail_after_a_leap)
{
    struct queue_entry *e;

    queue_world_open(&w, 0);
    queue_world_leap(&w, 7 * 86400 * (int64_t)1000);
    queue_step(&w.queue);
    w.conf.retry.expire = 2 * 3600 * 1000;
    e = queue_world_message(&w, 1);
    queue_world_run_ms(&w, 3600 * 1000);
    ck_assert(!queue_expired(&w.queue, e->message, &w.conf.retry));
    queue_world_run_ms(&w, 3600 * 1000);
    ck_assert(queue_expired(&w.queue, e->message, &w.conf.retry));
    queue_world_settle(&w, queue_world_take(&w), SPOOL_RECIPIENT_BOUNCED, 0, "");
    queue_world_close(&w);
}
END_TEST

/* A deliver-by time as far away as there is any: what is forgiven does not make it a time long ago. */
START_TEST(a_leap_before_the_end_of_time)
{
    struct queue_entry *e;

    queue_world_open(&w, 0);
    e = queue_world_message_of(&w, 1, &(struct spool_terms){.deliver_by_s = SPOOL_DUE_NEVER - 10},
                               0);
    queue_world_run_ms(&w, 1);
    ck_assert_ptr_eq(queue_world_take(&w), e);
    queue_world_leap(&w, 7 * 86400 * (int64_t)1000);
    queue_world_run_ms(&w, 1);
    queue_world_defer(&w, e, "451 later");
    ck_assert_int_eq(e->state, QUEUE_WAITING);
    ck_assert(queue_delete(&w.queue, e->message->id));
    queue_world_close(&w);
}
END_TEST

/* Ahead and back again: as if nothing had been. */
START_TEST(a_leap_there_and_back)
{
    struct queue_entry *e;

    queue_world_open(&w, 0);
    e = queue_world_message(&w, 1);
    queue_world_run_ms(&w, 1);
    queue_world_defer(&w, queue_world_take(&w), "451 later");
    queue_world_leap(&w, 40 * 86400 * (int64_t)1000);
    queue_step(&w.queue);
    queue_world_leap(&w, -40 * 86400 * (int64_t)1000);
    queue_step(&w.queue);
    ck_assert_uint_eq(queue_patient_s(&w.queue, e->message), queue_now_s(&w.queue));
    w.out_count = 0;
    if (e->state == QUEUE_OUT)
        queue_world_settle(&w, e, SPOOL_RECIPIENT_DELIVERED, 0, "");
    else
        ck_assert(queue_delete(&w.queue, e->message->id));
    queue_world_close(&w);
}
END_TEST

/* Back by a year: what was to be tried in five minutes is tried within the longest interval. */
START_TEST(a_leap_back_stalls_nothing)
{
    struct queue_entry *e;

    queue_world_open(&w, 0);
    e = queue_world_message(&w, 1);
    queue_world_run_ms(&w, 1);
    queue_world_defer(&w, queue_world_take(&w), "451 later");
    queue_world_leap(&w, -365 * 86400 * (int64_t)1000);
    queue_step(&w.queue);
    queue_world_run_ms(&w, 2 * 3601 * 1000);
    ck_assert_ptr_eq(queue_world_take(&w), e);
    ck_assert(!queue_expired(&w.queue, e->message, &w.conf.retry));
    queue_world_settle(&w, e, SPOOL_RECIPIENT_DELIVERED, 0, "");
    queue_world_close(&w);
}
END_TEST

/* Notifications of ours have a patience of their own; a message's deliver-by time cuts it. */
START_TEST(other_patience)
{
    struct queue_entry *e;

    w.conf.retry.expire_bounces = 3600 * 1000;
    queue_world_open(&w, 0);
    e = queue_world_message(&w, 1);
    queue_world_run_ms(&w, 3700 * 1000);
    ck_assert(!queue_expired(&w.queue, e->message, &w.conf.retry));
    e->message->flags |= SPOOL_IS_BOUNCE;
    ck_assert(queue_expired(&w.queue, e->message, &w.conf.retry));
    w.conf.retry.expire_bounces = 0;
    ck_assert(!queue_expired(&w.queue, e->message, &w.conf.retry));
    e->message->terms.deliver_by_s = (uint32_t)queue_world_s(&w) + 100;
    ck_assert_uint_eq(queue_next_due_s(&w.queue, e->message, &w.conf.retry, 1),
                      queue_world_s(&w) + 100);
    ck_assert(!queue_past_deliver_by(&w.queue, e->message));
    e->message->terms.deliver_by_s -= 100;
    ck_assert(queue_past_deliver_by(&w.queue, e->message));
    queue_world_settle(&w, queue_world_take(&w), SPOOL_RECIPIENT_DELIVERED, 0, "");
    queue_world_close(&w);
}
END_TEST

Suite *queue_retry_suite(void)
{
    Suite *s = suite_create("queue_retry");
    TCase *tc = tcase_create("retry");

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, the_last_interval_repeats);
    tcase_add_test(tc, jitter_stays_within_its_bounds);
    tcase_add_test(tc, attempts_until_the_expiry);
    tcase_add_test(tc, the_wall_clock_may_jump);
    tcase_add_test(tc, a_message_from_the_future);
    tcase_add_loop_test(tc, a_leap_ahead_is_forgiven_for_a_day, 0, 2);
    tcase_add_test(tc, mail_after_a_leap);
    tcase_add_test(tc, a_leap_before_the_end_of_time);
    tcase_add_test(tc, a_leap_there_and_back);
    tcase_add_test(tc, a_leap_back_stalls_nothing);
    tcase_add_test(tc, other_patience);
    suite_add_tcase(s, tc);
    return s;
}
