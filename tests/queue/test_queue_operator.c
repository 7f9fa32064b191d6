/* What an operator does to a message, in each state that it may be in. */
#include "queue_world.h"

Suite *queue_operator_suite(void);

static struct queue_world w;

static void setup(void)
{
    queue_world_init(&w);
    queue_world_open(&w, 0);
}

static const enum queue_state states[] = {QUEUE_READY, QUEUE_OUT, QUEUE_WAITING, QUEUE_PARKED};

/* A message in this state, with two recipients. */
static struct queue_entry *message_in(enum queue_state state)
{
    struct queue_entry *e = queue_world_message(&w, 2);

    if (state == QUEUE_READY)
        return e;
    queue_world_run_ms(&w, 1);
    if (state == QUEUE_OUT)
        return e;
    queue_world_take_this(&w, e);
    if (state == QUEUE_WAITING)
        queue_world_defer(&w, e, "451 later");
    else
        queue_world_park(&w, e, "site", "it is down");
    ck_assert_int_eq(e->state, state);
    return e;
}

/* What was out comes back. */
static void come_back(struct queue_entry *e)
{
    if (e->state == QUEUE_OUT) {
        queue_world_take_this(&w, e);
        queue_world_defer(&w, e, "451 later");
    }
}

static void finish(struct queue_entry *e)
{
    queue_world_run_ms(&w, 70 * 1000);
    queue_world_take_this(&w, e);
    queue_world_settle(&w, e, SPOOL_RECIPIENT_DELIVERED, 0, "");
    ck_assert_uint_eq(w.queue.messages, 0);
    ck_assert_uint_eq(w.queue.parked, 0);
    ck_assert_uint_eq(w.queue.lots.count, 0);
    queue_world_close(&w);
}

START_TEST(hold_and_release)
{
    struct queue_entry *e = message_in(states[_i]);
    uint64_t id = e->message->id;

    ck_assert(queue_hold(&w.queue, id, SPOOL_DUE_NEVER));
    come_back(e);
    ck_assert_int_eq(queue_world_standing(e), QUEUE_IS_HELD);
    ck_assert_uint_eq(queue_entry_due_s(e), SPOOL_DUE_NEVER);
    ck_assert(slice_equal(queue_entry_reason(e), SLICE_LITERAL("held by the operator"))
              || states[_i] == QUEUE_OUT);
    queue_world_run_ms(&w, 20 * 86400 * (uint64_t)1000);
    ck_assert_uint_eq(w.out_count, 0);
    ck_assert(queue_retry(&w.queue, id)); /* not even then */
    queue_world_run_ms(&w, 1000);
    ck_assert_uint_eq(w.out_count, 0);
    ck_assert(queue_release(&w.queue, id));
    ck_assert_uint_eq(e->message->recipients[1].flags & SPOOL_RECIPIENT_HELD, 0);
    queue_world_run_ms(&w, 1);
    ck_assert_uint_eq(w.out_count, 1);
    finish(e);
}
END_TEST

START_TEST(hold_for_a_while)
{
    struct queue_entry *e = message_in(states[_i]);

    ck_assert(queue_hold(&w.queue, e->message->id, (uint32_t)queue_world_s(&w) + 7200));
    come_back(e);
    queue_world_run_ms(&w, 7190 * 1000);
    ck_assert_uint_eq(w.out_count, 0);
    queue_world_run_ms(&w, 11 * 1000);
    ck_assert_uint_eq(w.out_count, 1);
    ck_assert_uint_eq(e->message->recipients[0].flags & SPOOL_RECIPIENT_HELD, 0);
    finish(e);
}
END_TEST

/* A release comes while it is still out from before it was held. */
START_TEST(hold_and_release_while_it_is_out)
{
    struct queue_entry *e = message_in(QUEUE_OUT);

    ck_assert(queue_hold(&w.queue, e->message->id, SPOOL_DUE_NEVER));
    ck_assert(queue_release(&w.queue, e->message->id));
    come_back(e);
    ck_assert_int_eq(queue_world_standing(e), QUEUE_IS_WAITING);
    queue_world_run_ms(&w, 310 * 1000);
    ck_assert_uint_eq(w.out_count, 1);
    finish(e);
}
END_TEST

/* Held while it is out, on the way to a lot: it is not parked. */
START_TEST(hold_on_the_way_to_a_lot)
{
    struct queue_entry *e = message_in(QUEUE_OUT);

    queue_world_take_this(&w, e);
    queue_park(e, 0,
               &(struct queue_parking){
                   .key = SLICE_LITERAL("site"), .reason = SLICE_NULL, .retry = &w.conf.retry});
    queue_park(e, 1,
               &(struct queue_parking){
                   .key = SLICE_LITERAL("site"), .reason = SLICE_NULL, .retry = &w.conf.retry});
    ck_assert(queue_hold(&w.queue, e->message->id, SPOOL_DUE_NEVER));
    queue_settled(e, NULL, 0);
    ck_assert_int_eq(queue_world_standing(e), QUEUE_IS_HELD);
    ck_assert_uint_eq(w.queue.parked, 0);
    ck_assert(queue_release(&w.queue, e->message->id));
    finish(e);
}
END_TEST

START_TEST(bounce)
{
    struct queue_entry *e = message_in(states[_i]);
    uint64_t id = e->message->id;

    ck_assert(queue_hold(&w.queue, id, SPOOL_DUE_NEVER) || true);
    ck_assert(queue_bounce(&w.queue, id, SLICE_LITERAL("We do not want this")));
    come_back(e);
    queue_world_run_ms(&w, 61 * 1000);
    ck_assert_uint_eq(w.out_count, 1);
    ck_assert(e->bounce);
    ck_assert(slice_equal(queue_entry_reason(e), SLICE_LITERAL("We do not want this")));
    queue_world_take_this(&w, e);
    queue_world_settle(&w, e, SPOOL_RECIPIENT_BOUNCED, 0, "We do not want this");
    ck_assert_uint_eq(w.queue.messages, 0);
    queue_world_close(&w);
}
END_TEST

START_TEST(revise)
{
    struct queue_entry *e = message_in(states[_i]);
    uint32_t by_s = (uint32_t)queue_world_s(&w) + 200;

    ck_assert(queue_revise(&w.queue, e->message->id, &(struct spool_terms){by_s, 5}));
    ck_assert_int_eq(e->message->terms.priority, 5);
    come_back(e);
    if (e->state == QUEUE_READY)
        queue_world_run_ms(&w, 1);
    come_back(e);
    ck_assert_uint_eq(queue_entry_due_s(e), by_s);
    queue_world_run_ms(&w, 201 * 1000);
    ck_assert_uint_eq(w.out_count, 1);
    ck_assert(queue_past_deliver_by(&w.queue, e->message));
    ck_assert(queue_expired(&w.queue, e->message, &w.conf.retry));
    finish(e);
}
END_TEST

START_TEST(delete_and_retry)
{
    struct queue_entry *e = message_in(states[_i]);
    uint64_t id = e->message->id;

    ck_assert(queue_retry(&w.queue, id));
    if (states[_i] != QUEUE_OUT)
        ck_assert_int_eq(e->state, QUEUE_READY);
    ck_assert(queue_delete(&w.queue, id));
    if (states[_i] == QUEUE_OUT) /* else it is gone */
        come_back(e);
    ck_assert_uint_eq(w.queue.messages, 0);
    ck_assert_uint_eq(w.queue.lots.count, 0);
    ck_assert_ptr_null(spool_find(w.spool, id));
    ck_assert(!queue_retry(&w.queue, id));
    ck_assert(!queue_delete(&w.queue, id));
    ck_assert(!queue_hold(&w.queue, id, 0));
    ck_assert(!queue_release(&w.queue, id));
    ck_assert(!queue_bounce(&w.queue, id, SLICE_NULL));
    ck_assert(!queue_revise(&w.queue, id, &(struct spool_terms){0}));
    queue_world_close(&w);
}
END_TEST

static const struct {
    enum queue_state state;
    enum queue_standing standing;
    const char *name, *reason, *waits_for;
} facts_of[] = {
    {QUEUE_READY, QUEUE_IS_READY, "ready", "", ""},
    {QUEUE_OUT, QUEUE_IS_ACTIVE, "active", "", ""},
    {QUEUE_WAITING, QUEUE_IS_WAITING, "waiting", "451 later", ""},
    {QUEUE_PARKED, QUEUE_IS_PARKED, "parked", "it is down", "site"},
};

START_TEST(facts)
{
    struct queue_entry *e = message_in(facts_of[_i].state);
    struct queue_facts f;

    queue_entry_facts(e, &f);
    ck_assert_int_eq(f.standing, facts_of[_i].standing);
    ck_assert_str_eq(queue_standing_name(f.standing), facts_of[_i].name);
    ck_assert(slice_equal(f.reason, slice_str(facts_of[_i].reason)));
    ck_assert(slice_equal(f.waits_for, slice_str(facts_of[_i].waits_for)));
    come_back(e);
    ck_assert(queue_retry(&w.queue, e->message->id));
    finish(e);
}
END_TEST

Suite *queue_operator_suite(void)
{
    Suite *s = suite_create("queue_operator");
    TCase *tc = tcase_create("operator");

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_loop_test(tc, hold_and_release, 0, 4);
    tcase_add_loop_test(tc, hold_for_a_while, 0, 4);
    tcase_add_test(tc, hold_and_release_while_it_is_out);
    tcase_add_test(tc, hold_on_the_way_to_a_lot);
    tcase_add_loop_test(tc, bounce, 0, 4);
    tcase_add_loop_test(tc, revise, 0, 4);
    tcase_add_loop_test(tc, delete_and_retry, 0, 4);
    tcase_add_loop_test(tc, facts, 0, 4);
    suite_add_tcase(s, tc);
    return s;
}
