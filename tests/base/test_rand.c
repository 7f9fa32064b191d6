#include "base_rand.h"

#include "base_assert.h"
#include "base_test.h"

/* The first outputs for state 1, 2, 3, 4, worked out by hand from the description. */
START_TEST(follows_the_description)
{
    struct rand r = {{1, 2, 3, 4}};
    static const uint64_t expected[] = {11520, 0, 1509978240, 1215971899390074240};

    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        ck_assert_uint_eq(rand_u64(&r), expected[i]);
}
END_TEST

START_TEST(a_seed_is_a_world)
{
    struct rand a;
    struct rand b;
    struct rand c;
    int same = 0;

    rand_seed(&a, 1);
    rand_seed(&b, 1);
    rand_seed(&c, 2);
    for (int i = 0; i < 100; i++) {
        uint64_t value = rand_u64(&a);

        ck_assert_uint_eq(value, rand_u64(&b));
        same += value == rand_u64(&c);
    }
    ck_assert_int_eq(same, 0);
    rand_seed(&a, 0);
    ck_assert_uint_ne(a.state[0] | a.state[1] | a.state[2] | a.state[3], 0);
}
END_TEST

START_TEST(stays_in_bounds_and_reaches_all)
{
    struct rand r;
    unsigned seen[7] = {0};
    unsigned chances = 0;

    rand_seed(&r, 42);
    for (int i = 0; i < 70000; i++) {
        uint64_t value = rand_below(&r, 7);

        quick_assert(value < 7);
        seen[value]++;
        chances += rand_chance(&r, 1, 10);
    }
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        ck_assert_msg(seen[i] > 9500 && seen[i] < 10500, "%zu: %u times", i, seen[i]);
    ck_assert_msg(chances > 6500 && chances < 7500, "%u", chances);
    for (int i = 0; i < 1000; i++) {
        uint64_t value = rand_between(&r, 5, 7);

        quick_assert(value >= 5 && value <= 7);
        quick_assert(rand_between(&r, 9, 9) == 9);
        quick_assert(rand_below(&r, 1) == 0);
        quick_assert(!rand_chance(&r, 0, 5));
        quick_assert(rand_chance(&r, 5, 5));
        /* Just above half of the range: every second draw is drawn again. */
        quick_assert(rand_below(&r, (UINT64_MAX >> 1) + 2) <= (UINT64_MAX >> 1) + 1);
    }
    (void)rand_between(&r, 0, UINT64_MAX); /* any value is right */
}
END_TEST

START_TEST(shuffle_keeps_the_elements)
{
    struct element {
        int number;
        uint8_t rest[96]; /* more than is swapped at a time */
    };
    static struct element elements[100];
    struct rand r;
    bool seen[100] = {0};
    int in_place = 0;

    for (int i = 0; i < 100; i++) {
        elements[i].number = i;
        memset(elements[i].rest, i, sizeof(elements[i].rest));
    }
    rand_seed(&r, 7);
    rand_shuffle(&r, elements, 100, sizeof(elements[0]));
    for (int i = 0; i < 100; i++) {
        int number = elements[i].number;

        ck_assert(number >= 0 && number < 100 && !seen[number]);
        seen[number] = true;
        in_place += number == i;
        for (size_t j = 0; j < sizeof(elements[i].rest); j++)
            ck_assert_int_eq(elements[i].rest[j], number);
    }
    ck_assert_int_lt(in_place, 20);
    rand_shuffle(&r, elements, 0, sizeof(elements[0]));
}
END_TEST

START_TEST(empty_bound_aborts)
{
    struct rand r;

    rand_seed(&r, 1);
    (void)rand_below(&r, 0);
}
END_TEST

Suite *rand_suite(void)
{
    Suite *s = suite_create("rand");
    TCase *tc = tcase_create("rand");

    tcase_add_test(tc, follows_the_description);
    tcase_add_test(tc, a_seed_is_a_world);
    tcase_add_test(tc, stays_in_bounds_and_reaches_all);
    tcase_add_test(tc, shuffle_keeps_the_elements);
    add_abort_test(tc, empty_bound_aborts);
    suite_add_tcase(s, tc);
    return s;
}
