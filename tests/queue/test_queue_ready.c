/* The lines of what is ready: turns between lines, priorities, turns between destinations. */
#include "queue_world.h"

Suite *queue_ready_suite(void);

static struct queue_world w;

static void setup(void)
{
    queue_world_init(&w);
    queue_world_open(&w, 0);
}

static void close_world(void)
{
    queue_world_run_ms(&w, 1);
    while (w.out_count > 0 || w.queue.messages > 0) {
        while (w.out_count > 0)
            queue_world_settle(&w, w.out[--w.out_count], SPOOL_RECIPIENT_DELIVERED, 0, "");
        queue_world_run_ms(&w, 1);
    }
    queue_world_close(&w);
}

/* So that only what is settled makes room. */
static void one_at_a_time(void)
{
    queue_world_stop(&w);
    queue_world_open(&w, 1);
}

static struct queue_entry *next(void)
{
    queue_step(&w.queue);
    ck_assert_uint_eq(w.out_count, 1);
    return w.out[0];
}

static void settle(struct queue_entry *e)
{
    w.out_count = 0;
    queue_world_settle(&w, e, SPOOL_RECIPIENT_DELIVERED, 0, "");
}

/* A backlog whose time has come, and fresh mail: both go on, the fresh sooner. */
START_TEST(fresh_mail_does_not_wait_behind_the_backlog)
{
    enum { BACKLOG = 100, FRESH = 24 };
    unsigned fresh_seen = 0, old_seen = 0;
    uint64_t ids[BACKLOG];

    one_at_a_time();
    for (int i = 0; i < BACKLOG; i++) {
        struct queue_entry *e = queue_world_message(&w, 1);
        ids[i] = e->message->id;
        ck_assert(queue_hold(&w.queue, ids[i], (uint32_t)queue_world_s(&w) + 1000));
    }
    queue_world_run_ms(&w, 990 * 1000);
    ck_assert_uint_eq(w.out_count, 0);
    /* All at once. Whoever is first takes the only place there is. */
    queue_stop(&w.queue);
    queue_world_run_ms(&w, 11 * 1000);
    w.queue.stopped = false;
    for (int i = 0; i < FRESH; i++)
        (void)queue_world_message(&w, 1);
    while (fresh_seen < FRESH) {
        struct queue_entry *e = next();
        if (e->line == QUEUE_FRESH)
            fresh_seen++;
        else
            old_seen++;
        settle(e);
    }
    ck_assert_msg(old_seen >= FRESH / 4 && old_seen <= FRESH, "%u of the backlog", old_seen);
    close_world();
}
END_TEST

START_TEST(higher_priority_first)
{
    static const int8_t priorities[] = {0, -9, 9, 3, 0, 3, -1};
    static const int8_t expected[] = {9, 3, 3, 0, 0, -1, -9};
    struct queue_entry *e;

    one_at_a_time();
    for (size_t i = 0; i < ARRAY_LEN(priorities); i++)
        (void)queue_world_message_of(&w, 1, &(struct spool_terms){.priority = priorities[i]}, 0);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        e = next();
        ck_assert_int_eq(e->message->terms.priority, expected[i]);
        settle(e);
    }
    close_world();
}
END_TEST

/* Another one while it is in line. */
START_TEST(a_priority_that_changes)
{
    struct queue_entry *a, *b;

    one_at_a_time();
    a = queue_world_message(&w, 1);
    b = queue_world_message(&w, 1);
    ck_assert(queue_revise(&w.queue, b->message->id, &(struct spool_terms){.priority = 1}));
    ck_assert_ptr_eq(next(), b);
    settle(b);
    ck_assert_ptr_eq(next(), a);
    settle(a);
    close_world();
}
END_TEST

/* Ten thousand for one domain are one of many. */
START_TEST(destinations_take_turns)
{
    unsigned before = 0;

    one_at_a_time();
    for (int i = 0; i < 300; i++) {
        struct queue_entry *e = queue_world_message(&w, 1);
        ck_assert(queue_hold(&w.queue, e->message->id, (uint32_t)queue_world_s(&w) + 10));
        e->message->domain_hash = i < 290 ? 7 : 100 + (uint32_t)i; /* as the spool would say */
    }
    queue_stop(&w.queue);
    queue_world_run_ms(&w, 11 * 1000);
    w.queue.stopped = false;
    for (unsigned others = 0; others < 10;) {
        struct queue_entry *e = next();
        if (e->message->domain_hash != 7)
            others++;
        else
            before++;
        settle(e);
    }
    ck_assert_msg(before < 30, "%u of the one domain before the others", before);
    close_world();
}
END_TEST

/* What is old leaves a quarter of what may be out to the new. */
START_TEST(old_mail_leaves_room)
{
    queue_world_stop(&w);
    queue_world_open(&w, 40);
    for (int i = 0; i < 60; i++)
        ck_assert(queue_hold(&w.queue, queue_world_message(&w, 1)->message->id,
                             (uint32_t)queue_world_s(&w) + 10));
    queue_world_run_ms(&w, 11 * 1000);
    ck_assert_uint_eq(w.out_count, 30);
    for (int i = 0; i < 20; i++)
        (void)queue_world_message(&w, 1);
    queue_world_run_ms(&w, 1);
    ck_assert_uint_eq(w.out_count, 40);
    close_world();
}
END_TEST

/* Envelopes that are not in memory are read a few at a time; the rest stays where it can be acted on. */
START_TEST(reads_that_wait_hold_it_back)
{
    (void)queue_world_message(&w, 1);
    w.queue.reads_waiting = 1000;
    ck_assert(!queue_has_work(&w.queue));
    queue_world_run_ms(&w, 1);
    ck_assert_uint_eq(w.out_count, 0);
    w.queue.reads_waiting = 0;
    ck_assert(queue_has_work(&w.queue));
    close_world();
}
END_TEST

Suite *queue_ready_suite(void)
{
    Suite *s = suite_create("queue_ready");
    TCase *tc = tcase_create("ready");

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, fresh_mail_does_not_wait_behind_the_backlog);
    tcase_add_test(tc, higher_priority_first);
    tcase_add_test(tc, a_priority_that_changes);
    tcase_add_test(tc, destinations_take_turns);
    tcase_add_test(tc, old_mail_leaves_room);
    tcase_add_test(tc, reads_that_wait_hold_it_back);
    suite_add_tcase(s, tc);
    return s;
}
