/* test_sink_verify: loss, duplicates and alteration are found, and nothing else is. */
#include <check.h>

#include "sink_verify.h"

Suite *sink_verify_suite(void);

static const uint64_t one_recipient[] = {77};
static const uint64_t other_recipients[] = {78, 79};

static void add(struct sink_verify *v, uint32_t session, uint64_t number, bool good,
                const uint64_t *recipients, size_t count)
{
    struct tool_mark_reader r;

    tool_mark_reader_init(&r);
    r.mark = (struct tool_mark){.run = 1, .session = session, .number = number};
    r.has_id = r.has_sum = true;
    r.body_crc = good ? 0 : 1;
    sink_verify_add(v, &r, recipients, count);
}

static void add_good(struct sink_verify *v, uint32_t session, uint64_t number)
{
    add(v, session, number, true, one_recipient, 1);
}

START_TEST(test_good)
{
    struct sink_verify v;

    sink_verify_init(&v);
    for (uint64_t n = 1; n <= 3000; n++)
        add_good(&v, (uint32_t)(n % 3), (3002 - n + n % 3) / 3); /* in no order */
    sink_verify_count_missing(&v);
    ck_assert_uint_eq(v.counts.marked, 3000);
    ck_assert_uint_eq(v.counts.missing, 0);
    ck_assert(sink_verify_is_good(&v));
    sink_verify_finish(&v);
}
END_TEST

START_TEST(test_each_fault)
{
    struct sink_verify v;
    struct tool_mark_reader nothing;

    sink_verify_init(&v);
    tool_mark_reader_init(&nothing);
    sink_verify_add(&v, &nothing, one_recipient, 1);
    ck_assert_uint_eq(v.counts.unmarked, 1);

    add_good(&v, 1, 1);
    add_good(&v, 1, 4);
    sink_verify_count_missing(&v);
    ck_assert_uint_eq(v.counts.missing, 2);
    add_good(&v, 1, 2);
    add_good(&v, 1, 3);
    sink_verify_count_missing(&v);
    ck_assert_uint_eq(v.counts.missing, 0);

    add(&v, 1, 5, false, one_recipient, 1);
    ck_assert_uint_eq(v.counts.altered, 1);
    ck_assert_str_eq(v.example[SINK_ALTERED], "00000001-1-5");

    add(&v, 1, 5, true, other_recipients, 2); /* the rest of its recipients */
    ck_assert_uint_eq(v.counts.duplicates, 0);
    add(&v, 1, 5, true, other_recipients, 1);
    ck_assert_uint_eq(v.counts.duplicates, 1);
    ck_assert_str_eq(v.example[SINK_DUPLICATE], "00000001-1-5");
    ck_assert(!sink_verify_is_good(&v));
    sink_verify_finish(&v);
}
END_TEST

START_TEST(test_threads)
{
    struct sink_verify a, b;

    sink_verify_init(&a);
    sink_verify_init(&b);
    add_good(&a, 1, 1);
    add_good(&b, 1, 2);
    add_good(&a, 2, 1);
    add_good(&b, 2, 1); /* a duplicate that neither of them saw */
    add(&a, 3, 1, true, one_recipient, 1);
    add(&b, 3, 1, true, other_recipients, 2); /* none */
    add_good(&b, 3, 3);
    sink_verify_merge(&a, &b);
    sink_verify_count_missing(&a);
    ck_assert_uint_eq(a.counts.marked, 7);
    ck_assert_uint_eq(a.counts.duplicates, 1);
    ck_assert_uint_eq(a.counts.missing, 1);
    sink_verify_finish(&a);
    sink_verify_finish(&b);
}
END_TEST

START_TEST(test_expect)
{
    struct sink_verify v;

    sink_verify_init(&v);
    add_good(&v, 1, 1);
    add_good(&v, 1, 2);
    ck_assert(sink_verify_expect(&v, SLICE_LITERAL("00000001-1-1 accepted")));
    ck_assert(sink_verify_expect(&v, SLICE_LITERAL("00000001-1-2 unknown")));
    ck_assert(sink_verify_expect(&v, SLICE_LITERAL("00000001-1-3 unknown")));
    ck_assert(sink_verify_expect(&v, SLICE_LITERAL("00000001-1-3 refused")));
    ck_assert_uint_eq(v.counts.lost, 0);
    ck_assert(sink_verify_expect(&v, SLICE_LITERAL("00000001-1-3 accepted")));
    ck_assert_uint_eq(v.counts.expected, 2);
    ck_assert_uint_eq(v.counts.lost, 1);
    ck_assert_str_eq(v.example[SINK_LOST], "00000001-1-3");
    ck_assert(!sink_verify_expect(&v, SLICE_LITERAL("")));
    ck_assert(!sink_verify_expect(&v, SLICE_LITERAL("00000001-1-3")));
    ck_assert(!sink_verify_expect(&v, SLICE_LITERAL("x accepted")));
    sink_verify_finish(&v);
}
END_TEST

Suite *sink_verify_suite(void)
{
    Suite *suite = suite_create("sink_verify");
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, test_good);
    tcase_add_test(tc, test_each_fault);
    tcase_add_test(tc, test_threads);
    tcase_add_test(tc, test_expect);
    suite_add_tcase(suite, tc);
    return suite;
}
