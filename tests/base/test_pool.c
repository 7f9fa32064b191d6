#include "base_pool.h"

#include "base_assert.h"
#include "base_test.h"

START_TEST(counts_and_limits)
{
    struct pool p;
    void *a, *b;

    pool_init(&p, "things", 24, 2);
    a = pool_get(&p);
    b = pool_get(&p);
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_nonnull(b);
    ck_assert_ptr_ne(a, b);
    ck_assert_ptr_null(pool_get(&p));
    ck_assert_uint_eq(p.in_use, 2);
    pool_put(&p, a);
    pool_put(&p, NULL);
    ck_assert_uint_eq(p.in_use, 1);
    ck_assert_uint_eq(p.in_use_peak, 2);
    ck_assert_ptr_eq(pool_get(&p), a); /* last in, first out: warm in the cache */
    pool_put(&p, a);
    pool_put(&p, b);
    pool_finish(&p);
}
END_TEST

START_TEST(objects_are_cleared_and_apart)
{
    static const uint8_t zeros[48];
    struct pool p;
    uint8_t *objects[3000];

    pool_init(&p, "things", 40, 0);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
            objects[i] = pool_get(&p);
            quick_assert(memcmp(objects[i], zeros, 40) == 0);
            memset(objects[i], (int)(i % 255) + 1, 40);
        }
        for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
            for (size_t j = 0; j < 40; j++)
                quick_assert(objects[i][j] == i % 255 + 1);
            pool_put(&p, objects[i]);
        }
    }
    pool_finish(&p);
}
END_TEST

START_TEST(objects_are_aligned)
{
    static const struct {
        size_t size, alignment;
    } rows[] = {{1, 16}, {24, 16}, {64, 64}, {192, 64}, {100000, 16}, {65536, 64}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pool p;
        void *objects[5];

        pool_init(&p, "things", rows[i].size, 0);
        for (size_t n = 0; n < 5; n++) {
            objects[n] = pool_get(&p);
            ck_assert_uint_eq((uintptr_t)objects[n] % rows[i].alignment, 0);
            memset(objects[n], 1, rows[i].size);
        }
        for (size_t n = 0; n < 5; n++)
            pool_put(&p, objects[n]);
        pool_finish(&p);
    }
}
END_TEST

/* Nothing between them: 88 bytes each. */
START_TEST(compact_objects_stand_close)
{
    struct pool p;
    uint8_t *first, *second;

    pool_init_compact(&p, "things", 85, 0);
    first = pool_get(&p);
    second = pool_get(&p);
    ck_assert_int_eq(second - first, 88);
    memset(first, 1, 88);
    memset(second, 2, 88);
    pool_put(&p, first);
    pool_put(&p, second);
    ck_assert_ptr_eq(pool_get(&p), second);
    ck_assert_uint_eq(second[87], 0);
    pool_put(&p, second);
    pool_finish(&p);
}
END_TEST

START_TEST(unused_pool_finishes)
{
    struct pool p = {0};

    pool_finish(&p);
    pool_init(&p, "things", 8, 1);
    pool_finish(&p);
}
END_TEST

START_TEST(leak_aborts)
{
    struct pool p;

    pool_init(&p, "things", 8, 1);
    ck_assert_ptr_nonnull(pool_get(&p));
    pool_finish(&p);
}
END_TEST

START_TEST(returning_too_many_aborts)
{
    struct pool p;
    uint64_t stranger[4];

    pool_init(&p, "things", 8, 1);
    pool_put(&p, stranger);
}
END_TEST

START_TEST(returning_twice_aborts)
{
    struct pool p;
    void *a;

    pool_init(&p, "things", 8, 2);
    a = pool_get(&p);
    ck_assert_ptr_nonnull(pool_get(&p));
    pool_put(&p, a);
    pool_put(&p, a);
}
END_TEST

Suite *pool_suite(void)
{
    Suite *s = suite_create("pool");
    TCase *tc = tcase_create("pool");

    tcase_add_test(tc, counts_and_limits);
    tcase_add_test(tc, objects_are_cleared_and_apart);
    tcase_add_test(tc, objects_are_aligned);
    tcase_add_test(tc, compact_objects_stand_close);
    tcase_add_test(tc, unused_pool_finishes);
    add_abort_test(tc, leak_aborts);
    add_abort_test(tc, returning_too_many_aborts);
    add_abort_test(tc, returning_twice_aborts);
    suite_add_tcase(s, tc);
    return s;
}
