#include "base_mem.h"

#include "base_assert.h"
#include "base_test.h"

struct outer {
    int before;
    int inner;
};

START_TEST(container_of_finds_the_owner)
{
    struct outer o = {0};

    ck_assert_ptr_eq(container_of(&o.inner, struct outer, inner), &o);
}
END_TEST

START_TEST(assert_passes)
{
    int calls = 0;

    ASSERT(++calls == 1); /* evaluated once */
    ck_assert_int_eq(calls, 1);
}
END_TEST

START_TEST(assert_aborts)
{
    ASSERT(1 + 1 == 3);
}
END_TEST

START_TEST(unreachable_aborts)
{
    UNREACHABLE();
}
END_TEST

START_TEST(allocates)
{
    static const char zeros[1000];
    char *a = mem_zalloc(sizeof(zeros));
    char *b = mem_calloc(10, 100);

    ck_assert_mem_eq(a, zeros, sizeof(zeros));
    ck_assert_mem_eq(b, zeros, sizeof(zeros));
    memset(b, 'x', 1000);
    b = mem_realloc(b, 100000);
    ck_assert_int_eq(b[999], 'x');
    mem_free(a);
    mem_free(b);

    void *none = mem_calloc(0, 8);
    ck_assert_ptr_nonnull(none);
    mem_free(none);
    mem_free(NULL);
}
END_TEST

START_TEST(aligns)
{
    for (size_t alignment = 8; alignment <= 65536; alignment *= 2) {
        void *memory = mem_alloc_aligned(alignment, 100);

        ck_assert_uint_eq((uintptr_t)memory % alignment, 0);
        memset(memory, 1, 100);
        mem_free(memory);
    }
}
END_TEST

START_TEST(duplicates)
{
    char *text = mem_strdup("hello");
    char *bytes = mem_dup("a\0b", 3);
    void *nothing = mem_dup(NULL, 0);

    ck_assert_str_eq(text, "hello");
    ck_assert_mem_eq(bytes, "a\0b", 3);
    ck_assert_ptr_nonnull(nothing);
    mem_free(text);
    mem_free(bytes);
    mem_free(nothing);
}
END_TEST

START_TEST(wipes)
{
    char secret[] = "secret";

    mem_wipe(secret, sizeof(secret));
    ck_assert_mem_eq(secret, "\0\0\0\0\0\0", sizeof(secret));
    mem_wipe(NULL, 0);
}
END_TEST

START_TEST(overflowing_product_aborts)
{
    (void)mem_calloc(SIZE_MAX / 2 + 2, 2); /* would wrap around to 2 */
}
END_TEST

START_TEST(alignment_that_is_no_power_aborts)
{
    (void)mem_alloc_aligned(24, 100);
}
END_TEST

START_TEST(empty_allocation_aborts)
{
    (void)mem_alloc(0);
}
END_TEST

Suite *mem_suite(void)
{
    Suite *s = suite_create("mem");
    TCase *tc = tcase_create("mem");

    tcase_add_test(tc, container_of_finds_the_owner);
    tcase_add_test(tc, assert_passes);
    add_abort_test(tc, assert_aborts);
    add_abort_test(tc, unreachable_aborts);
    tcase_add_test(tc, allocates);
    tcase_add_test(tc, aligns);
    tcase_add_test(tc, duplicates);
    tcase_add_test(tc, wipes);
    add_abort_test(tc, overflowing_product_aborts);
    add_abort_test(tc, alignment_that_is_no_power_aborts);
    add_abort_test(tc, empty_allocation_aborts);
    suite_add_tcase(s, tc);
    return s;
}
