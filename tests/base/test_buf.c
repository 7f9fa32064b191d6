#include "base_buf.h"

#include "base_rand.h"
#include "base_test.h"

START_TEST(appends_and_consumes)
{
    struct buf b;

    buf_init(&b, 0);
    ck_assert_int_eq(buf_slice(&b).len, 0);
    ck_assert(buf_append_str(&b, "250 "));
    ck_assert(buf_append_slice(&b, SLICE_LITERAL("a\0b")));
    ck_assert(buf_append_slice(&b, SLICE_NULL));
    ck_assert(buf_append_byte(&b, '!'));
    ck_assert(buf_append_u64(&b, UINT64_MAX));
    ck_assert(buf_append_u64(&b, 0));
    ck_assert(buf_printf(&b, "[%d %s]", -7, "x"));
    ck_assert_slice(buf_slice(&b), SLICE_LITERAL("250 a\0b!184467440737095516150[-7 x]"));
    buf_consume(&b, 4);
    buf_truncate(&b, 3);
    ck_assert_slice(buf_slice(&b), SLICE_LITERAL("a\0b"));
    buf_consume(&b, 3);
    ck_assert_int_eq(b.head, 0); /* an empty queue begins at the front again */
    buf_finish(&b);
    buf_finish(&b);
}
END_TEST

START_TEST(long_printf)
{
    struct buf b;
    char text[2000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    buf_init(&b, 0);
    for (int len = 508; len < 516; len++) {
        buf_clear(&b);
        ck_assert(buf_printf(&b, "%.*s", len, text));
        ck_assert_slice(buf_slice(&b), slice_of(text, (size_t)len));
    }
    ck_assert(buf_printf(&b, "%s", text));
    ck_assert_int_eq(buf_len(&b), 515 + 1999);
    buf_finish(&b);
}
END_TEST

START_TEST(limit_fails_as_a_whole)
{
    struct buf b;

    buf_init(&b, 10);
    ck_assert(buf_append_str(&b, "1234567"));
    ck_assert(!buf_append_str(&b, "abcd"));
    ck_assert(b.overflow);
    ck_assert_slice(buf_slice(&b), SLICE_LITERAL("1234567"));
    ck_assert(buf_append_str(&b, "abc"));
    ck_assert(b.overflow); /* until cleared */
    ck_assert(!buf_append_byte(&b, '!'));
    ck_assert(!buf_printf(&b, "%d", 1));
    buf_consume(&b, 6);
    ck_assert(buf_append_str(&b, "defghi"));
    ck_assert_slice(buf_slice(&b), SLICE_LITERAL("7abcdefghi"));
    ck_assert_uint_le(b.capacity, 10);
    buf_clear(&b);
    ck_assert(!b.overflow);
    ck_assert_int_eq(buf_len(&b), 0);

    ck_assert_ptr_null(buf_reserve(&b, 11));
    ck_assert(!b.overflow); /* a reader that finds no room */
    ck_assert_ptr_null(buf_reserve(&b, SIZE_MAX));
    ck_assert_ptr_nonnull(buf_reserve(&b, 10));
    buf_finish(&b);
}
END_TEST

START_TEST(releases_only_when_empty)
{
    struct buf b;

    buf_init(&b, 0);
    ck_assert(buf_append_str(&b, "x"));
    buf_release(&b);
    ck_assert_slice(buf_slice(&b), SLICE_LITERAL("x"));
    buf_consume(&b, 1);
    buf_release(&b);
    ck_assert_ptr_null(b.data);
    ck_assert_int_eq(b.capacity, 0);
    ck_assert(buf_append_str(&b, "again"));
    ck_assert_slice(buf_slice(&b), SLICE_LITERAL("again"));
    buf_finish(&b);
}
END_TEST

START_TEST(zeroed_memory_is_a_buf)
{
    struct buf b = {0};

    ck_assert_ptr_nonnull(buf_reserve(&b, 0));
    ck_assert(buf_append_str(&b, "ok"));
    buf_finish(&b);

    struct buf unused = {0};
    buf_release(&unused);
    buf_finish(&unused);
}
END_TEST

/* Bytes come out in the order in which they went in, whatever the sizes. */
START_TEST(is_a_queue)
{
    struct buf b;
    struct rand r;
    uint64_t written = 0;
    uint64_t read = 0;

    rand_seed(&r, test_seed("is_a_queue"));
    buf_init(&b, 5000);
    for (int round = 0; round < 20000; round++) {
        size_t count = (size_t)rand_below(&r, rand_chance(&r, 1, 10) ? 3000 : 100);
        uint8_t *room = buf_reserve(&b, count);

        quick_assert((room == NULL) == (count + buf_len(&b) > 5000));
        if (room != NULL) {
            for (size_t i = 0; i < count; i++)
                room[i] = (uint8_t)(written++ * 167 >> 3);
            buf_commit(&b, count);
        }
        size_t taken = (size_t)rand_below(&r, buf_len(&b) + 1);
        for (size_t i = 0; i < taken; i++)
            quick_assert(buf_slice(&b).data[i] == (uint8_t)(read++ * 167 >> 3));
        buf_consume(&b, taken);
        quick_assert(buf_len(&b) == written - read);
        quick_assert(b.capacity <= 5000);
        if (rand_chance(&r, 1, 20))
            buf_release(&b);
    }
    buf_finish(&b);
}
END_TEST

START_TEST(consuming_too_much_aborts)
{
    struct buf b = {0};

    ck_assert(buf_append_str(&b, "abc"));
    buf_consume(&b, 4);
}
END_TEST

START_TEST(committing_too_much_aborts)
{
    struct buf b = {0};

    ck_assert_ptr_nonnull(buf_reserve(&b, 10));
    buf_commit(&b, b.capacity + 1);
}
END_TEST

START_TEST(truncating_to_more_aborts)
{
    struct buf b = {0};

    ck_assert(buf_append_str(&b, "abc"));
    buf_truncate(&b, 4);
}
END_TEST

Suite *buf_suite(void)
{
    Suite *s = suite_create("buf");
    TCase *tc = tcase_create("buf");

    tcase_add_test(tc, appends_and_consumes);
    tcase_add_test(tc, long_printf);
    tcase_add_test(tc, limit_fails_as_a_whole);
    tcase_add_test(tc, releases_only_when_empty);
    tcase_add_test(tc, zeroed_memory_is_a_buf);
    tcase_add_test(tc, is_a_queue);
    add_abort_test(tc, consuming_too_much_aborts);
    add_abort_test(tc, committing_too_much_aborts);
    add_abort_test(tc, truncating_to_more_aborts);
    suite_add_tcase(s, tc);
    return s;
}
