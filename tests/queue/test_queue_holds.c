/* Rules that hold mail: what they match, how they are written down, when they are over. */
#include "queue_world.h"

Suite *queue_holds_suite(void);

static struct queue_hold_rule rule_of(uint32_t id, enum queue_hold_kind kind, const char *value)
{
    return (struct queue_hold_rule){.id = id,
                                    .kind = kind,
                                    .value = slice_str(value),
                                    .reason = SLICE_LITERAL("moving house"),
                                    .until_s = SPOOL_DUE_NEVER};
}

static const struct {
    enum queue_hold_kind kind;
    const char *value, *sender, *recipient, *route;
    bool holds;
} matches[] = {
    {QUEUE_HOLD_SENDER, "a@x.test", "a@x.test", "b@y.test", "*", true},
    {QUEUE_HOLD_SENDER, "A@X.test", "a@x.TEST", "b@y.test", "*", true},
    {QUEUE_HOLD_SENDER, "a@x.test", "aa@x.test", "b@y.test", "*", false},
    {QUEUE_HOLD_SENDER, "<>", "", "b@y.test", "*", true},
    {QUEUE_HOLD_SENDER, "<>", "a@x.test", "b@y.test", "*", false},
    {QUEUE_HOLD_SENDER_DOMAIN, "x.test", "a@x.test", "b@y.test", "*", true},
    {QUEUE_HOLD_SENDER_DOMAIN, "x.test", "a@s.x.test", "b@y.test", "*", false},
    {QUEUE_HOLD_SENDER_DOMAIN, "x.test", "", "b@y.test", "*", false},
    {QUEUE_HOLD_SENDER_DOMAIN, "x.test", "\"a@b\"@x.test", "b@y.test", "*", true},
    {QUEUE_HOLD_RECIPIENT, "b@y.test", "a@x.test", "b@y.test", "*", true},
    {QUEUE_HOLD_RECIPIENT, "b@y.test", "b@y.test", "c@y.test", "*", false},
    {QUEUE_HOLD_DOMAIN, "y.test", "a@x.test", "b@Y.test", "*", true},
    {QUEUE_HOLD_DOMAIN, "y.test", "a@y.test", "b@x.test", "*", false},
    {QUEUE_HOLD_ROUTE, "*.test", "a@x.test", "b@y.test", "*.test", true},
    {QUEUE_HOLD_ROUTE, "*", "a@x.test", "b@y.test", "*.test", false},
};

START_TEST(what_is_matched)
{
    struct queue_holds set = {0};
    struct queue_hold_rule rule = rule_of(7, matches[_i].kind, matches[_i].value);
    const struct queue_hold_rule *found;

    ck_assert_ptr_null(
        queue_holds_match(&set, SLICE_LITERAL("a@x"), SLICE_LITERAL("b@y"), SLICE_LITERAL("*")));
    ck_assert(queue_holds_insert(&set, &rule));
    found = queue_holds_match(&set, slice_str(matches[_i].sender), slice_str(matches[_i].recipient),
                              slice_str(matches[_i].route));
    ck_assert_int_eq(found != NULL, matches[_i].holds);
    if (found != NULL)
        ck_assert_uint_eq(found->id, 7);
    queue_holds_finish(&set);
}
END_TEST

START_TEST(a_set)
{
    struct queue_holds set = {0};
    struct queue_hold_rule rule = rule_of(1, QUEUE_HOLD_DOMAIN, "a.test");
    uint8_t long_value[QUEUE_HOLD_TEXT_MAX + 1] = {0};

    ck_assert(!queue_holds_erase(&set, 1));
    ck_assert_ptr_null(queue_holds_find(&set, 1));
    ck_assert(queue_holds_insert(&set, &rule));
    ck_assert(!queue_holds_insert(&set, &rule)); /* the id is taken */
    rule.id = 0;
    ck_assert(!queue_holds_insert(&set, &rule));
    rule.id = 2;
    rule.value = SLICE_NULL;
    ck_assert(!queue_holds_insert(&set, &rule));
    rule.value = slice_of(long_value, QUEUE_HOLD_TEXT_MAX + 1);
    ck_assert(!queue_holds_insert(&set, &rule));
    rule.value = SLICE_LITERAL("a.test"); /* two rules for the same */
    ck_assert(queue_holds_insert(&set, &rule));
    ck_assert(queue_holds_erase(&set, 1));
    ck_assert_uint_eq(
        queue_holds_match(&set, SLICE_NULL, SLICE_LITERAL("x@a.test"), SLICE_NULL)->id, 2);
    ck_assert(queue_holds_erase(&set, 2));
    ck_assert_ptr_null(queue_holds_match(&set, SLICE_NULL, SLICE_LITERAL("x@a.test"), SLICE_NULL));
    ck_assert_uint_eq(set.count, 0);
    queue_holds_finish(&set);
}
END_TEST

START_TEST(written_and_read)
{
    static const char text[] = "1 sender never a@x.test moving%20house\n"
                               "22 route 1793424243 *.test \n"
                               "3 recipient 5 \"a%20b\"@x.test 100%25%0A\n";
    struct queue_holds set = {0}, again = {0};
    struct buf out;

    buf_init(&out, 0);
    ck_assert_uint_eq(queue_holds_parse(&set, slice_str(text)), 0);
    ck_assert_uint_eq(set.count, 3);
    ck_assert(slice_equal(queue_holds_find(&set, 3)->value, SLICE_LITERAL("\"a b\"@x.test")));
    ck_assert(slice_equal(queue_holds_find(&set, 3)->reason, SLICE_LITERAL("100%\n")));
    ck_assert_uint_eq(queue_holds_find(&set, 22)->until_s, 1793424243);
    ck_assert_uint_eq(queue_holds_find(&set, 1)->until_s, SPOOL_DUE_NEVER);
    queue_holds_format(&set, &out);
    ck_assert(slice_equal(buf_slice(&out), slice_str(text)));
    ck_assert_uint_eq(queue_holds_parse(&again, buf_slice(&out)), 0);
    ck_assert_uint_eq(again.count, 3);
    buf_finish(&out);
    queue_holds_finish(&set);
    queue_holds_finish(&again);
}
END_TEST

static const char *const nonsense[] = {
    "x",
    "1 sender never",
    "0 sender never a@x.test r",
    "1 sender soon a@x.test r",
    "1 sender 4294967295 a@x.test r",
    "1 sender 99999999999 a@x.test r",
    "1 postman never a@x.test r",
    "1 sender never  r",
    "1 sender never a%2 r",
    "1 sender never a%zz r",
    "1 sender never a r s",
    "-1 sender never a r",
};

START_TEST(nonsense_is_named)
{
    struct queue_holds set = {0};
    struct buf text;

    buf_init(&text, 0);
    (void)buf_printf(&text, "9 domain never good.test fine\n\n%s\n", nonsense[_i]);
    ck_assert_uint_eq(queue_holds_parse(&set, buf_slice(&text)), 3);
    ck_assert_uint_eq(set.count, 1);
    buf_finish(&text);
    queue_holds_finish(&set);
}
END_TEST

/* ---- a queue's ------------------------------------------------------------------------------- */

static struct queue_world w;

static void park(struct queue_entry *e, uint32_t id)
{
    char key[QUEUE_HOLD_KEY_SIZE];
    const struct queue_hold_rule *rule = queue_holds_find(&w.queue.holds, id);

    queue_hold_key(rule, key);
    queue_world_take_this(&w, e);
    queue_park(e, 0,
               &(struct queue_parking){
                   .key = slice_str(key), .reason = rule->reason, .next_s = rule->until_s});
    queue_settled(e, NULL, 0);
}

/* For as long as it holds nothing is tried, and nobody is told; then everything is ready. */
START_TEST(held_until_the_rule_goes)
{
    struct queue_hold_rule rule = rule_of(5, QUEUE_HOLD_DOMAIN, "example.net");
    struct queue_entry *e[3];
    struct queue_facts facts;
    bool over = _i == 1;

    queue_world_init(&w);
    w.conf.retry.warn_after = 4 * 3600 * 1000;
    queue_world_open(&w, 0);
    if (over)
        rule.until_s = (uint32_t)queue_world_s(&w) + 10 * 86400;
    ck_assert(queue_holds_add(&w.queue, &rule));
    ck_assert(!queue_holds_add(&w.queue, &rule));
    for (int i = 0; i < 3; i++)
        e[i] = queue_world_message(&w, 1);
    queue_world_run_ms(&w, 1);
    for (int i = 0; i < 3; i++)
        park(e[i], 5);
    queue_entry_facts(e[0], &facts);
    ck_assert_int_eq(facts.standing, QUEUE_IS_HELD);
    ck_assert(slice_equal(facts.reason, SLICE_LITERAL("moving house")));
    ck_assert(slice_equal(facts.waits_for, SLICE_LITERAL("hold 5")));
    ck_assert_uint_eq(facts.due_s, rule.until_s);
    queue_world_run_ms(&w, (10 * 86400 - 60) * (uint64_t)1000);
    ck_assert_uint_eq(w.out_count, 0);
    ck_assert_uint_eq(w.waiting, 0);
    if (over)
        queue_world_run_ms(&w, 61 * 1000);
    else
        ck_assert(queue_holds_remove(&w.queue, 5));
    ck_assert(!queue_holds_remove(&w.queue, 5));
    queue_world_run_ms(&w, 1);
    ck_assert_uint_eq(w.out_count, 3);
    while (w.out_count > 0)
        queue_world_settle(&w, w.out[--w.out_count], SPOOL_RECIPIENT_DELIVERED, 0, "");
    queue_world_close(&w);
}
END_TEST

/* Released by itself, a message does not go back. */
START_TEST(released_from_a_rule)
{
    struct queue_hold_rule rule = rule_of(5, QUEUE_HOLD_DOMAIN, "example.net");
    struct queue_entry *e;

    queue_world_init(&w);
    queue_world_open(&w, 0);
    ck_assert(queue_holds_add(&w.queue, &rule));
    e = queue_world_message(&w, 1);
    queue_world_run_ms(&w, 1);
    ck_assert(!e->exempt);
    park(e, 5);
    ck_assert(queue_release(&w.queue, e->message->id));
    queue_world_run_ms(&w, 1);
    ck_assert_uint_eq(w.out_count, 1);
    ck_assert(e->exempt);
    queue_world_settle(&w, queue_world_take(&w), SPOOL_RECIPIENT_DELIVERED, 0, "");
    queue_world_close(&w);
}
END_TEST

Suite *queue_holds_suite(void)
{
    Suite *s = suite_create("queue_holds");
    TCase *tc = tcase_create("holds");

    tcase_add_loop_test(tc, what_is_matched, 0, (int)ARRAY_LEN(matches));
    tcase_add_test(tc, a_set);
    tcase_add_test(tc, written_and_read);
    tcase_add_loop_test(tc, nonsense_is_named, 0, (int)ARRAY_LEN(nonsense));
    tcase_add_loop_test(tc, held_until_the_rule_goes, 0, 2);
    tcase_add_test(tc, released_from_a_rule);
    suite_add_tcase(s, tc);
    return s;
}
