#include "base_arena.h"

#include "base_assert.h"
#include "base_mem.h"
#include "base_test.h"

START_TEST(allocates_cleared_and_aligned)
{
    static const uint8_t zeros[300000];
    struct arena a;

    arena_init(&a, 1 << 20);
    for (int round = 0; round < 2; round++) {
        static const size_t sizes[] = {1, 7, 16, 100, 2048, 5000, 300000, 3};

        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            uint8_t *memory = arena_alloc(&a, sizes[i]);

            ck_assert_ptr_nonnull(memory);
            ck_assert_uint_eq((uintptr_t)memory % 16, 0);
            ck_assert_mem_eq(memory, zeros, sizes[i]);
            memset(memory, 0xFF, sizes[i]);
            ck_assert_ptr_nonnull(arena_dup(&a, SLICE_LITERAL("x")).data); /* and out of line */
        }
        arena_reset(&a);
        ck_assert_uint_eq(a.used, 0);
    }
    arena_reset(&a);
}
END_TEST

START_TEST(keeps_what_was_copied)
{
    struct arena a;
    struct slice copies[1000];

    arena_init(&a, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(copies); i++) {
        char text[20];
        int len = snprintf(text, sizeof(text), "entry %zu", i);

        copies[i] = arena_dup(&a, slice_of(text, (size_t)len));
        ck_assert_str_eq(arena_strdup(&a, slice_of(text, (size_t)len)), text);
    }
    for (size_t i = 0; i < ARRAY_LEN(copies); i++) {
        char text[20];

        (void)snprintf(text, sizeof(text), "entry %zu", i);
        ck_assert_slice(copies[i], slice_str(text));
    }
    ck_assert_ptr_nonnull(arena_dup(&a, SLICE_NULL).data);
    ck_assert_str_eq(arena_strdup(&a, SLICE_NULL), "");
    arena_reset(&a);
}
END_TEST

/* A chunk made for one odd size is full, though the next aligned offset lies beyond its end. */
START_TEST(odd_chunk_is_full)
{
    struct arena a;

    arena_init(&a, 1 << 20);
    for (size_t len = 100001; len < 100016; len++) {
        uint8_t *large = mem_zalloc(len);
        struct slice copy = arena_dup(&a, slice_of(large, len));
        uint8_t *next = arena_alloc(&a, 8);

        ck_assert(next + 8 <= copy.data || next >= copy.data + len + 8); /* a chunk of its own */
        mem_free(large);
        arena_reset(&a);
    }
}
END_TEST

START_TEST(limit_answers_null)
{
    struct arena a;

    arena_init(&a, 100);
    ck_assert_ptr_nonnull(arena_alloc(&a, 60));
    ck_assert_ptr_null(arena_alloc(&a, 41));
    ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX));
    ck_assert_ptr_null(arena_strdup(&a, slice_of("", SIZE_MAX)));
    ck_assert_ptr_nonnull(arena_alloc(&a, 37));
    ck_assert_ptr_null(arena_dup(&a, SLICE_LITERAL("four")).data);
    ck_assert_ptr_null(arena_strdup(&a, SLICE_LITERAL("abc"))); /* its NUL is too much */
    ck_assert_str_eq(arena_strdup(&a, SLICE_LITERAL("ab")), "ab");
    ck_assert_uint_eq(a.used, 100);
    arena_reset(&a);
    ck_assert_ptr_nonnull(arena_alloc(&a, 100));
    arena_reset(&a);
}
END_TEST

Suite *arena_suite(void)
{
    Suite *s = suite_create("arena");
    TCase *tc = tcase_create("arena");

    tcase_add_test(tc, allocates_cleared_and_aligned);
    tcase_add_test(tc, keeps_what_was_copied);
    tcase_add_test(tc, odd_chunk_is_full);
    tcase_add_test(tc, limit_answers_null);
    suite_add_tcase(s, tc);
    return s;
}
