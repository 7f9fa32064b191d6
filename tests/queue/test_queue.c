/* Messages that are due, that are out, that end: over a real spool. */
#include "queue_world.h"

Suite *queue_suite(void);

static struct queue_world w;

static void setup(void)
{
    queue_world_init(&w);
    queue_world_open(&w, 0);
}

START_TEST(a_new_message_is_due_at_once_and_gone_when_done)
{
    uint64_t id = queue_world_message(&w, 3)->message->id;
    struct queue_entry *e;

    ck_assert_uint_eq(w.queue.messages, 1);
    queue_world_run_ms(&w, 1);
    e = queue_world_take(&w);
    ck_assert_uint_eq(e->message->id, id);
    ck_assert_uint_eq(queue_entry_due_s(e), 0);
    ck_assert_uint_eq(w.queue.out, 1);
    queue_world_settle(&w, e, SPOOL_RECIPIENT_DELIVERED, 0, "");
    ck_assert_uint_eq(w.queue.messages, 0);
    ck_assert_uint_eq(w.queue.out, 0);
    ck_assert_ptr_null(spool_find(w.spool, id));
    queue_world_close(&w);
}
END_TEST

/* Parts report one by one; the dispatch's own part may be the last one, after the message has gone. */
START_TEST(parts_settle_in_any_order)
{
    struct queue_entry *e;
    struct spool_outcome first = {
        .recipient = 0, .state = SPOOL_RECIPIENT_DELIVERED, .counts = true};
    struct spool_outcome second = {
        .recipient = 1, .state = SPOOL_RECIPIENT_BOUNCED, .counts = true};

    (void)queue_world_message(&w, 2);
    queue_world_run_ms(&w, 1);
    e = queue_world_take(&w);
    queue_part(e);
    queue_settled(e, &second, 1);
    queue_part(e);
    queue_settled(e, &first, 1);
    ck_assert_uint_eq(w.queue.messages, 1); /* the dispatch is not over */
    queue_settled(e, NULL, 0);
    ck_assert_uint_eq(w.queue.messages, 0);
    queue_world_close(&w);
}
END_TEST

START_TEST(recipients_wait_for_the_earliest_of_them)
{
    uint32_t now_s = (uint32_t)queue_world_s(&w);
    struct queue_entry *e;
    struct spool_outcome outcomes[3] = {
        {.recipient = 0, .counts = true, .due_s = now_s + 500},
        {.recipient = 1, .counts = true, .due_s = now_s + 100},
        {.recipient = 2, .state = SPOOL_RECIPIENT_DELIVERED, .counts = true}};

    (void)queue_world_message(&w, 3);
    queue_world_run_ms(&w, 1);
    e = queue_world_take(&w);
    queue_settled(e, outcomes, 3);
    ck_assert_uint_eq(queue_entry_due_s(e), now_s + 100);
    queue_world_run_ms(&w, 98 * 1000);
    ck_assert_uint_eq(w.out_count, 0);
    queue_world_run_ms(&w, 2000);
    ck_assert_ptr_eq(queue_world_take(&w), e);
    queue_world_settle(&w, e, SPOOL_RECIPIENT_DELIVERED, 0, "");
    queue_world_close(&w);
}
END_TEST

START_TEST(no_more_than_out_max_are_out)
{
    struct queue_entry *e;

    queue_world_stop(&w);
    queue_world_open(&w, 2);
    for (int i = 0; i < 5; i++)
        (void)queue_world_message(&w, 1);
    queue_world_run_ms(&w, 10);
    ck_assert_uint_eq(w.out_count, 2);
    for (int left = 5; left > 0; left--) {
        e = w.out[--w.out_count];
        queue_world_settle(&w, e, SPOOL_RECIPIENT_DELIVERED, 0, "");
        queue_world_run_ms(&w, 1);
        ck_assert_uint_eq(w.out_count, left > 2 ? 2 : (unsigned)left - 1);
    }
    queue_world_close(&w);
}
END_TEST

START_TEST(a_stopped_queue_dispatches_nothing)
{
    queue_stop(&w.queue);
    (void)queue_world_message(&w, 1);
    ck_assert(!queue_has_work(&w.queue));
    queue_world_run_ms(&w, 1000);
    ck_assert_uint_eq(w.out_count, 0);
    queue_world_close(&w);
}
END_TEST

START_TEST(what_is_queued_is_queued_after_a_restart)
{
    struct queue_entry *e;
    uint64_t id;
    uint32_t due_s;

    (void)queue_world_message(&w, 1);
    queue_world_run_ms(&w, 1);
    e = queue_world_take(&w);
    queue_world_defer(&w, e, "451 later");
    due_s = queue_entry_due_s(e);
    id = e->message->id;
    (void)queue_world_message(&w, 2);
    queue_world_stop(&w);

    queue_world_open(&w, 0);
    ck_assert_uint_eq(w.recovered, 2);
    ck_assert(
        slice_equal(queue_message_reason(spool_find(w.spool, id)), SLICE_LITERAL("451 later")));
    queue_world_run_ms(&w, 10);
    e = queue_world_take(&w); /* the new one; the other waits as long as it would have */
    ck_assert_uint_eq(e->message->recipient_count, 2);
    queue_world_settle(&w, e, SPOOL_RECIPIENT_DELIVERED, 0, "");
    queue_world_run_ms(&w, (due_s - queue_world_s(&w) - 1) * 1000);
    ck_assert_uint_eq(w.out_count, 0);
    queue_world_run_ms(&w, 2000);
    queue_world_settle(&w, queue_world_take(&w), SPOOL_RECIPIENT_DELIVERED, 0, "");
    queue_world_close(&w);
}
END_TEST

/* ---- the operator --------------------------------------------------------------------------- */

START_TEST(delete_while_it_waits)
{
    uint64_t id;
    struct queue_entry *e;

    (void)queue_world_message(&w, 3);
    queue_world_run_ms(&w, 1);
    e = queue_world_take(&w);
    id = e->message->id;
    queue_world_defer(&w, e, "451 later");
    ck_assert(queue_delete(&w.queue, id));
    ck_assert_uint_eq(w.queue.messages, 0);
    ck_assert(!queue_delete(&w.queue, id));
    ck_assert(!queue_retry(&w.queue, id));
    queue_world_run_ms(&w, 1000 * 1000);
    ck_assert_uint_eq(w.out_count, 0);
    queue_world_stop(&w);
    queue_world_open(&w, 0);
    ck_assert_uint_eq(w.recovered, 0);
    queue_world_close(&w);
}
END_TEST

START_TEST(delete_while_it_is_out)
{
    struct spool_outcome done = {
        .recipient = 1, .state = SPOOL_RECIPIENT_DELIVERED, .counts = true};
    struct spool_outcome later = {.recipient = 0, .counts = true, .text = SLICE_LITERAL("451 x")};
    struct queue_entry *e;
    uint64_t id;

    (void)queue_world_message(&w, 3);
    queue_world_run_ms(&w, 1);
    e = queue_world_take(&w);
    id = e->message->id;
    queue_part(e);
    ck_assert(queue_delete(&w.queue, id));
    queue_settled(e, &done, 1);
    ck_assert_uint_eq(w.queue.messages, 1);
    queue_settled(e, &later, 1); /* the third recipient was not even tried */
    ck_assert_uint_eq(w.queue.messages, 0);
    ck_assert_ptr_null(spool_find(w.spool, id));
    queue_world_close(&w);
}
END_TEST

/* A listing reads a message that ends meanwhile: it may finish, and the message is gone for all else. */
START_TEST(a_reader_does_not_keep_a_message_alive)
{
    for (int how = 0; how < 2; how++) {
        struct queue_entry *e = queue_world_message(&w, 1);
        struct spool_message *m = e->message;
        uint64_t id = m->id;
        struct spool_ref ref = spool_pin(w.spool, m);
        struct spool_counters counters;

        if (how == 0) {
            ck_assert(queue_delete(&w.queue, id));
        } else {
            queue_world_run_ms(&w, 1);
            queue_world_settle(&w, queue_world_take(&w), SPOOL_RECIPIENT_DELIVERED, 0, "");
        }
        ck_assert_ptr_null(spool_find(w.spool, id));
        ck_assert_ptr_null(m->owner);
        ck_assert_uint_eq(m->id, id);
        ck_assert_uint_eq(w.queue.messages, 0);
        queue_world_run_ms(&w, 100);
        spool_unpin(w.spool, m, &ref);
        spool_counters(w.spool, &counters);
        ck_assert_uint_eq(counters.messages, 0);
        ck_assert_uint_eq(counters.bytes_live, 0);
    }
    queue_world_stop(&w);
    queue_world_open(&w, 0);
    ck_assert_uint_eq(w.recovered, 0);
    queue_world_close(&w);
}
END_TEST

START_TEST(retry_makes_all_that_waits_due)
{
    struct queue_entry *e;

    (void)queue_world_message(&w, 2);
    queue_world_run_ms(&w, 1);
    e = queue_world_take(&w);
    ck_assert(queue_retry(&w.queue, e->message->id)); /* under way: nothing to do */
    queue_world_defer(&w, e, "451 later");
    queue_world_run_ms(&w, 1000);
    ck_assert_uint_eq(w.out_count, 0);
    ck_assert(queue_retry(&w.queue, e->message->id));
    ck_assert(queue_retry(&w.queue, e->message->id));
    queue_world_run_ms(&w, 1);
    e = queue_world_take(&w);
    ck_assert_uint_eq(e->message->recipients[1].attempts, 1);
    queue_world_settle(&w, e, SPOOL_RECIPIENT_DELIVERED, 0, "");
    queue_world_close(&w);
}
END_TEST

START_TEST(reasons_are_kept_once)
{
    struct queue_entry *entries[50];

    for (int i = 0; i < 50; i++)
        (void)queue_world_message(&w, 1);
    queue_world_run_ms(&w, 1);
    ck_assert_uint_eq(w.out_count, 50);
    memcpy(entries, w.out, sizeof(entries));
    w.out_count = 0;
    for (int i = 0; i < 50; i++)
        queue_world_defer(&w, entries[i], i % 2 == 0 ? "450 busy" : "451 later");
    ck_assert_uint_eq(w.queue.reasons.count, 2);
    ck_assert_ptr_eq(entries[0]->reason, entries[48]->reason);
    ck_assert(slice_equal(queue_entry_reason(entries[1]), SLICE_LITERAL("451 later")));
    for (int i = 0; i < 50; i += 2)
        ck_assert(queue_delete(&w.queue, entries[i]->message->id));
    ck_assert_uint_eq(w.queue.reasons.count, 1);
    queue_world_close(&w);
}
END_TEST

Suite *queue_suite(void)
{
    Suite *s = suite_create("queue");
    TCase *tc = tcase_create("life");

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, a_new_message_is_due_at_once_and_gone_when_done);
    tcase_add_test(tc, parts_settle_in_any_order);
    tcase_add_test(tc, recipients_wait_for_the_earliest_of_them);
    tcase_add_test(tc, no_more_than_out_max_are_out);
    tcase_add_test(tc, a_stopped_queue_dispatches_nothing);
    tcase_add_test(tc, what_is_queued_is_queued_after_a_restart);
    tcase_add_test(tc, delete_while_it_waits);
    tcase_add_test(tc, delete_while_it_is_out);
    tcase_add_test(tc, a_reader_does_not_keep_a_message_alive);
    tcase_add_test(tc, retry_makes_all_that_waits_due);
    tcase_add_test(tc, reasons_are_kept_once);
    suite_add_tcase(s, tc);
    return s;
}
