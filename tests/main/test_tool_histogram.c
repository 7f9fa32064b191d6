/* test_tool_histogram: percentiles of known sets, to the width of a bucket. */
#include <check.h>

#include "base_rand.h"
#include "tool_histogram.h"

Suite *tool_histogram_suite(void);

static void near(uint64_t got, uint64_t expected)
{
    ck_assert_uint_ge(got, expected);
    ck_assert_uint_le(got, expected + expected / 32 + 1);
}

START_TEST(test_empty)
{
    struct tool_histogram h = {0};

    ck_assert_uint_eq(tool_histogram_percentile(&h, 500), 0);
    ck_assert_uint_eq(tool_histogram_percentile(&h, 1000), 0);
}
END_TEST

START_TEST(test_uniform)
{
    static const uint64_t tops[] = {10, 1000, 100000, 30000000};

    for (size_t i = 0; i < sizeof(tops) / sizeof(tops[0]); i++) {
        struct tool_histogram h = {0};
        for (uint64_t n = 1; n <= 1000; n++)
            tool_histogram_add(&h, n * tops[i] * 1000 / 1000);
        near(tool_histogram_percentile(&h, 500), tops[i] / 2);
        near(tool_histogram_percentile(&h, 990), tops[i] * 99 / 100);
        ck_assert_uint_eq(h.max_us, tops[i]);
        ck_assert_uint_eq(tool_histogram_percentile(&h, 1000), tops[i]);
    }
}
END_TEST

/* Whatever was added, no percentile is above the maximum or below the one before. */
START_TEST(test_order)
{
    struct tool_histogram a = {0}, b = {0};
    struct rand rand;
    uint64_t before = 0;

    rand_seed(&rand, 1);
    for (int i = 0; i < 10000; i++)
        tool_histogram_add(i % 2 ? &a : &b, rand_u64(&rand) >> rand_below(&rand, 64));
    tool_histogram_merge(&a, &b);
    ck_assert_uint_eq(a.count, 10000);
    for (unsigned p = 1; p <= 1000; p++) {
        uint64_t now = tool_histogram_percentile(&a, p);
        ck_assert_uint_ge(now, before);
        ck_assert_uint_le(now, a.max_us);
        before = now;
    }
}
END_TEST

Suite *tool_histogram_suite(void)
{
    Suite *suite = suite_create("tool_histogram");
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, test_empty);
    tcase_add_test(tc, test_uniform);
    tcase_add_test(tc, test_order);
    suite_add_tcase(suite, tc);
    return suite;
}
