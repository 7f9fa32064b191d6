/* Lots: entries that wait for something to happen, and come when they are called. */
#include "queue_world.h"

Suite *queue_lot_suite(void);

static struct queue_world w;

static void setup(void)
{
    queue_world_init(&w);
    w.conf.retry.warn_after = 0;
    queue_world_open(&w, 0);
}

enum { DAY_MS = 86400 * 1000 };

static struct queue_entry *parked_of(const struct spool_terms *terms, const char *key)
{
    struct queue_entry *e = queue_world_message_of(&w, 1, terms, 0);

    queue_world_run_ms(&w, 1);
    queue_world_take_this(&w, e);
    queue_world_park(&w, e, key, "it is down");
    ck_assert_int_eq(e->state, QUEUE_PARKED);
    return e;
}

static struct queue_entry *parked(const char *key)
{
    return parked_of(&(struct spool_terms){0}, key);
}

static void deliver_all(void)
{
    while (w.out_count > 0)
        queue_world_settle(&w, w.out[--w.out_count], SPOOL_RECIPIENT_DELIVERED, 0, "");
}

static void close_world(void)
{
    queue_world_run_ms(&w, 1);
    deliver_all();
    ck_assert_uint_eq(w.queue.messages, 0);
    ck_assert_uint_eq(w.queue.parked, 0);
    ck_assert_uint_eq(w.queue.lots.count, 0);
    queue_world_close(&w);
}

/* ---- in and out ----------------------------------------------------------------------------- */

/* Whoever looks while it is tried again is told why it had to wait. */
START_TEST(called_with_its_reason)
{
    struct queue_entry *e = parked("site"), *other = parked("site");
    uint32_t left;

    ck_assert(slice_equal(queue_entry_reason(e), SLICE_LITERAL("it is down")));
    ck_assert_uint_eq(queue_call(&w.queue, SLICE_LITERAL("site"), 2, &left), 2);
    ck_assert(slice_equal(queue_entry_reason(e), SLICE_LITERAL("it is down")));
    queue_world_run_ms(&w, 1);
    ck_assert_int_eq(e->state, QUEUE_OUT);
    ck_assert(slice_equal(queue_entry_reason(e), SLICE_LITERAL("it is down")));
    ck_assert(slice_equal(queue_entry_reason(other), SLICE_LITERAL("it is down")));
    close_world();
}
END_TEST

START_TEST(called_as_many_as_there_is_room_for)
{
    struct spool_counters before, after;
    struct queue_entry *e[10];
    uint32_t left = 99;

    for (int i = 0; i < 10; i++)
        e[i] = parked("site");
    ck_assert_uint_eq(w.waiting, 1); /* said once, by the first */
    ck_assert_str_eq(w.waiting_key, "site");
    ck_assert_uint_eq(w.queue.parked, 10);
    ck_assert_uint_eq(w.queue.reasons.count, 1);
    spool_counters(w.spool, &before);
    queue_world_run_ms(&w, 60 * 1000);
    ck_assert_uint_eq(w.out_count, 0);
    ck_assert_uint_eq(queue_call(&w.queue, SLICE_LITERAL("another"), 3, &left), 0);
    ck_assert_uint_eq(left, 0);
    ck_assert_uint_eq(queue_call(&w.queue, SLICE_LITERAL("site"), 3, &left), 3);
    ck_assert_uint_eq(left, 7);
    queue_world_run_ms(&w, 1);
    ck_assert_uint_eq(w.out_count, 3);
    for (int i = 0; i < 3; i++) {
        queue_world_take_this(&w, e[i]); /* who came first */
        ck_assert(e[i]->called);
        queue_world_park(&w, e[i], "site", "it is still down");
        ck_assert(slice_equal(queue_entry_reason(e[9]), SLICE_LITERAL("it is still down")));
    }
    ck_assert_uint_eq(w.waiting, 1);
    ck_assert_uint_eq(queue_call(&w.queue, SLICE_LITERAL("site"), 100, &left), 10);
    ck_assert_uint_eq(left, 0);
    ck_assert_uint_eq(w.queue.lots.count, 0);
    spool_counters(w.spool, &after);
    ck_assert_uint_eq(after.outcomes, before.outcomes); /* none of this is in the log */
    close_world();
}
END_TEST

/* Those of high priority first, those who had been called in vain before their like, fresh before old but
 * not always. */
START_TEST(in_which_order)
{
    struct queue_entry *old[4], *fresh[8], *urgent, *slow, *front;
    uint32_t left;
    unsigned olds = 0;

    for (int i = 0; i < 4; i++) {
        old[i] = parked("site");
        ck_assert(queue_retry(&w.queue, old[i]->message->id));
    }
    queue_world_run_ms(&w, 700 * 1000); /* they age */
    for (int i = 0; i < 4; i++) {
        queue_world_take_this(&w, old[i]);
        queue_world_park(&w, old[i], "site", "");
    }
    slow = parked_of(&(struct spool_terms){.priority = -2}, "site");
    for (int i = 0; i < 8; i++)
        fresh[i] = parked("site");
    urgent = parked_of(&(struct spool_terms){.priority = 3}, "site");
    front = fresh[7];
    ck_assert(queue_retry(&w.queue, front->message->id));
    queue_world_run_ms(&w, 1);
    queue_world_take_this(&w, front);
    queue_park(front, 0,
               &(struct queue_parking){
                   .key = SLICE_LITERAL("site"), .retry = &w.conf.retry, .front = true});
    queue_settled(front, NULL, 0);

    ck_assert_uint_eq(queue_call(&w.queue, SLICE_LITERAL("site"), 2, &left), 2);
    ck_assert_int_eq(urgent->state, QUEUE_READY);
    ck_assert_int_eq(front->state, QUEUE_READY);
    ck_assert_uint_eq(queue_call(&w.queue, SLICE_LITERAL("site"), 8, &left), 8);
    for (int i = 0; i < 4; i++)
        olds += old[i]->state == QUEUE_READY;
    ck_assert_uint_ge(olds, 1);
    ck_assert_uint_le(olds, 2);
    ck_assert_int_eq(fresh[0]->state, QUEUE_READY);
    ck_assert_int_eq(slow->state, QUEUE_PARKED);
    ck_assert_uint_eq(queue_call(&w.queue, SLICE_LITERAL("site"), 100, &left), 4);
    queue_world_run_ms(&w, 1);
    close_world();
}
END_TEST

/* Nobody calls: one entry tries now and then, and the owner is told again. */
START_TEST(a_lost_call_strands_nobody)
{
    for (int i = 0; i < 5; i++)
        (void)parked("site");
    queue_world_run_ms(&w, 13 * 60 * 1000);
    ck_assert_uint_eq(w.waiting, 2);
    ck_assert_uint_eq(w.out_count, 1);
    deliver_all();
    queue_world_run_ms(&w, 60 * 60 * 1000);
    ck_assert_uint_eq(w.queue.parked, 0);
    close_world();
}
END_TEST

/* Two sites: parked by neither, tried again after a while; when one of them is done, by the other. */
START_TEST(recipients_that_wait_for_different_things)
{
    struct queue_entry *e = queue_world_message(&w, 2);
    struct queue_parking a = {.key = SLICE_LITERAL("a"), .retry = &w.conf.retry};
    struct queue_parking b = {.key = SLICE_LITERAL("b"), .retry = &w.conf.retry};
    struct spool_outcome done = {.recipient = 0, .state = SPOOL_RECIPIENT_DELIVERED};

    queue_world_run_ms(&w, 1);
    queue_part(e);
    queue_part(e);
    queue_settled(e, NULL, 0);
    queue_park(e, 0, &a);
    queue_settled(e, NULL, 0);
    queue_park(e, 1, &b);
    w.out_count = 0;
    queue_settled(e, NULL, 0);
    ck_assert_int_eq(e->state, QUEUE_WAITING);
    ck_assert_uint_eq(w.queue.lots.count, 0);
    queue_world_run_ms(&w, 29 * 1000);
    ck_assert_uint_eq(w.out_count, 0);
    queue_world_run_ms(&w, 10 * 1000);
    ck_assert_ptr_eq(queue_world_take(&w), e);
    queue_part(e);
    queue_park(e, 1, &b);
    queue_settled(e, NULL, 0);
    queue_settled(e, &done, 1);
    ck_assert_int_eq(e->state, QUEUE_PARKED);
    ck_assert(queue_retry(&w.queue, e->message->id));
    close_world();
}
END_TEST

/* A recipient has a time of its own: it is kept, the other does not wait for it. */
START_TEST(one_recipient_is_deferred)
{
    struct queue_entry *e = queue_world_message(&w, 2);
    struct queue_parking a = {.key = SLICE_LITERAL("a"), .retry = &w.conf.retry};
    uint32_t due_s = (uint32_t)queue_world_s(&w) + 3600;
    struct spool_outcome later = {.recipient = 0, .due_s = due_s, .text = SLICE_LITERAL("450 x")};

    queue_world_run_ms(&w, 1);
    (void)queue_world_take(&w);
    queue_part(e);
    queue_park(e, 1, &a);
    queue_settled(e, NULL, 0);
    queue_settled(e, &later, 1);
    ck_assert_int_eq(e->state, QUEUE_WAITING);
    ck_assert_uint_eq(e->message->recipients[0].due_s, due_s);
    queue_world_run_ms(&w, 40 * 1000);
    ck_assert_ptr_eq(queue_world_take(&w), e);
    ck_assert(!queue_is_due(&w.queue, e->message, 0));
    ck_assert(queue_is_due(&w.queue, e->message, 1));
    queue_world_settle(&w, e, SPOOL_RECIPIENT_DELIVERED, 0, "");
    close_world();
}
END_TEST

/* ---- time goes by --------------------------------------------------------------------------- */

START_TEST(patience_ends_in_a_lot)
{
    struct queue_entry *e = parked("site");

    queue_world_run_ms(&w, (uint64_t)DAY_MS - 30 * 60 * 1000); /* but for the entry that tries */
    while (w.out_count > 0) {
        ck_assert(!e->overdue);
        queue_world_park(&w, queue_world_take(&w), "site", "it is down");
        queue_world_run_ms(&w, 1);
    }
    for (int i = 0; i < 35 && !e->overdue; i++) {
        queue_world_run_ms(&w, 60 * 1000);
        if (w.out_count > 0 && !e->overdue)
            queue_world_park(&w, queue_world_take(&w), "site", "it is down");
    }
    ck_assert(e->overdue);
    ck_assert(slice_equal(queue_entry_reason(e), SLICE_LITERAL("it is down")));
    ck_assert(queue_expired(&w.queue, e->message, &w.conf.retry));
    queue_world_settle(&w, queue_world_take(&w), SPOOL_RECIPIENT_BOUNCED, 0, "it was down");
    close_world();
}
END_TEST

/* Once: whoever tells of the delay says so by a flag, or has decided not to. */
START_TEST(a_delay_is_to_be_told_once)
{
    struct queue_entry *e;
    unsigned times = 0;

    w.conf.retry.warn_after = 2 * 3600 * 1000;
    e = parked("site");
    for (int i = 0; i < 12 * 60; i++) {
        queue_world_run_ms(&w, 60 * 1000);
        if (w.out_count == 0)
            continue;
        if (e->overdue) {
            times++;
            ck_assert_uint_ge(queue_world_s(&w), e->message->arrived_s + 7200);
            ck_assert_uint_le(queue_world_s(&w), e->message->arrived_s + 7300);
        }
        e->overdue = false; /* as the dispatch does */
        queue_world_park(&w, queue_world_take(&w), "site", "it is down");
    }
    ck_assert_uint_eq(times, 1);
    ck_assert(queue_delete(&w.queue, e->message->id));
    close_world();
}
END_TEST

START_TEST(deliver_by_ends_in_a_lot)
{
    struct queue_entry *e =
        parked_of(&(struct spool_terms){.deliver_by_s = (uint32_t)queue_world_s(&w) + 300}, "site");

    queue_world_run_ms(&w, 298 * 1000);
    ck_assert_int_eq(e->state, QUEUE_PARKED);
    queue_world_run_ms(&w, 3 * 1000);
    ck_assert_int_eq(e->state, QUEUE_OUT);
    ck_assert(queue_past_deliver_by(&w.queue, e->message));
    close_world();
}
END_TEST

/* ---- the end of lots ------------------------------------------------------------------------ */

/* Another configuration: everybody is tried anew, a few at a time and in turn. */
START_TEST(a_reload_dissolves_lots)
{
    struct conf same, next;
    unsigned of_small = 0;
    uint32_t left;

    for (int i = 0; i < 300; i++)
        (void)parked("large");
    for (int i = 0; i < 3; i++)
        (void)parked("small");
    same = next = w.conf;
    queue_set_conf(&w.queue, &same); /* nothing has changed */
    queue_world_run_ms(&w, 1);
    ck_assert_uint_eq(w.queue.parked, 303);
    next.generation = 1;
    queue_set_conf(&w.queue, &next);
    ck_assert_uint_eq(w.queue.lots.count, 0);
    ck_assert_uint_eq(queue_call(&w.queue, SLICE_LITERAL("large"), 10, &left), 0);
    ck_assert(queue_has_work(&w.queue));
    queue_step(&w.queue);
    ck_assert_uint_eq(w.out_count, 256); /* a pass */
    for (unsigned i = 0; i < 10; i++)
        of_small += w.out[i]->message->id > 300;
    ck_assert_uint_ge(of_small, 3);
    queue_world_run_ms(&w, 1);
    ck_assert_uint_eq(w.out_count, 303);
    queue_set_conf(&w.queue, &w.conf);
    close_world();
}
END_TEST

/* It is dissolved while one is on its way to it: that one is tried at once, too. */
START_TEST(dissolved_before_it_is_reached)
{
    struct queue_entry *e = queue_world_message(&w, 1);

    queue_world_run_ms(&w, 1);
    (void)queue_world_take(&w);
    queue_part(e);
    queue_park(e, 0, &(struct queue_parking){.key = SLICE_LITERAL("site"), .retry = &w.conf.retry});
    queue_settled(e, NULL, 0);
    queue_lot_dissolve(&w.queue, SLICE_LITERAL("site"));
    queue_settled(e, NULL, 0);
    ck_assert_int_eq(e->state, QUEUE_READY);
    close_world();
}
END_TEST

/* The last one in it goes before its turn, while another is on its way. */
START_TEST(dissolved_and_emptied_before_it_is_reached)
{
    struct queue_entry *last = parked("site"), *e = queue_world_message(&w, 1);

    queue_world_run_ms(&w, 1);
    queue_world_take_this(&w, e);
    queue_part(e);
    queue_park(e, 0, &(struct queue_parking){.key = SLICE_LITERAL("site"), .retry = &w.conf.retry});
    queue_settled(e, NULL, 0);
    queue_lot_dissolve(&w.queue, SLICE_LITERAL("site"));
    ck_assert(queue_delete(&w.queue, last->message->id));
    ck_assert(!queue_has_work(&w.queue));
    queue_step(&w.queue);
    queue_settled(e, NULL, 0);
    ck_assert_int_eq(e->state, QUEUE_READY);
    close_world();
}
END_TEST

/* A clean end or a power cut: what was parked is tried anew. */
START_TEST(a_restart_forgets_lots)
{
    for (int i = 0; i < 20; i++)
        (void)parked(i % 2 == 0 ? "a" : "b");
    queue_world_stop(&w);
    queue_world_open(&w, 0);
    ck_assert_uint_eq(w.recovered, 20);
    queue_world_run_ms(&w, 1);
    ck_assert_uint_eq(w.out_count, 20);
    close_world();
}
END_TEST

/* After a stop nothing is parked: it is out of nobody's hands. */
START_TEST(nothing_is_parked_after_a_stop)
{
    struct queue_entry *e = queue_world_message(&w, 1);

    queue_world_run_ms(&w, 1);
    (void)queue_world_take(&w);
    queue_stop(&w.queue);
    queue_world_park(&w, e, "site", "");
    ck_assert_uint_eq(w.queue.lots.count, 0);
    ck_assert_uint_eq(w.waiting, 0);
    queue_world_close(&w);
}
END_TEST

Suite *queue_lot_suite(void)
{
    Suite *s = suite_create("queue_lot");
    TCase *tc = tcase_create("lot");

    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, called_with_its_reason);
    tcase_add_test(tc, called_as_many_as_there_is_room_for);
    tcase_add_test(tc, in_which_order);
    tcase_add_test(tc, a_lost_call_strands_nobody);
    tcase_add_test(tc, recipients_that_wait_for_different_things);
    tcase_add_test(tc, one_recipient_is_deferred);
    tcase_add_test(tc, patience_ends_in_a_lot);
    tcase_add_test(tc, a_delay_is_to_be_told_once);
    tcase_add_test(tc, deliver_by_ends_in_a_lot);
    tcase_add_test(tc, a_reload_dissolves_lots);
    tcase_add_test(tc, dissolved_before_it_is_reached);
    tcase_add_test(tc, dissolved_and_emptied_before_it_is_reached);
    tcase_add_test(tc, a_restart_forgets_lots);
    tcase_add_test(tc, nothing_is_parked_after_a_stop);
    suite_add_tcase(s, tc);
    return s;
}
