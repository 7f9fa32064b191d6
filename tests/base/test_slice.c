#include "base_test.h"

START_TEST(compares_without_case)
{
    static const struct {
        const char *a, *b;
        bool equal, starts;
    } rows[] = {
        {"", "", true, true},
        {"EHLO", "ehlo", true, true},
        {"ehlo x", "EHLO", false, true},
        {"EHL", "EHLO", false, false},
        {"a@b", "A`B", false, false}, /* '@' and '`' differ in the case bit only */
        {"[", "{", false, false},
        {"Z", "z", true, true},
        {"\xC4", "\xE4", false, false}, /* ASCII only */
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct slice a = slice_str(rows[i].a);
        struct slice b = slice_str(rows[i].b);

        ck_assert_msg(slice_equal_nocase(a, b) == rows[i].equal, "row %zu", i);
        ck_assert_msg(slice_starts_nocase(a, b) == rows[i].starts, "row %zu", i);
    }
    ck_assert(slice_equal_nocase(SLICE_LITERAL("a\0B"), SLICE_LITERAL("A\0b")));
    ck_assert(!slice_equal_nocase(SLICE_LITERAL("a\0B"), SLICE_LITERAL("A\0c")));
    ck_assert(slice_equal(SLICE_NULL, SLICE_LITERAL("")));
}
END_TEST

START_TEST(finds_trims_and_takes_apart)
{
    struct slice s = SLICE_LITERAL(" \t a b\t ");

    ck_assert_slice(slice_trim(s), SLICE_LITERAL("a b"));
    ck_assert_slice(slice_trim(SLICE_LITERAL(" \t ")), SLICE_LITERAL(""));
    ck_assert_slice(slice_trim(SLICE_LITERAL("\ra ")), SLICE_LITERAL("\ra"));
    ck_assert_int_eq(slice_trim(SLICE_NULL).len, 0);
    ck_assert_int_eq(slice_find(s, 'b'), 5);
    ck_assert_int_eq(slice_find(s, 'x'), -1);
    ck_assert_int_eq(slice_find(SLICE_NULL, 'x'), -1);
    ck_assert_int_eq(slice_find(SLICE_LITERAL("a\0b"), 'b'), 2);
    ck_assert_slice(slice_head(s, 3), SLICE_LITERAL(" \t "));
    ck_assert_slice(slice_head(s, 100), s);
    slice_advance(&s, 3);
    ck_assert_slice(s, SLICE_LITERAL("a b\t "));
}
END_TEST

START_TEST(reads_decimal)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } rows[] = {
        {"0", true, 0},
        {"00042", true, 42},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"99999999999999999999", false, 0},
        {"184467440737095516150", false, 0},
        {"", false, 0},
        {"-1", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1/", false, 0},
        {"1:", false, 0},
        {"0x1", false, 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct slice text = edge_copy(slice_str(rows[i].text));
        uint64_t value = 77;

        ck_assert_msg(slice_to_u64(text, &value) == rows[i].ok, "%s", rows[i].text);
        ck_assert_uint_eq(value, rows[i].ok ? rows[i].value : 77);
        edge_free(text);
    }
}
END_TEST

Suite *slice_suite(void)
{
    Suite *s = suite_create("slice");
    TCase *tc = tcase_create("slice");

    tcase_add_test(tc, compares_without_case);
    tcase_add_test(tc, finds_trims_and_takes_apart);
    tcase_add_test(tc, reads_decimal);
    suite_add_tcase(s, tc);
    return s;
}
