#include "base_assert.h"
#include "base_codec.h"
#include "base_test.h"

#define BAD "\xEF\xBF\xBD"

static const struct {
    struct slice in;
    const char *out;
} rows[] = {
    {SLICE_INIT(""), "\"\""},
    {SLICE_INIT("plain text."), "\"plain text.\""},
    {SLICE_INIT("\"\\/"), "\"\\\"\\\\/\""},
    {SLICE_INIT("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\""},
    {SLICE_INIT("a\0b\x1F\x7F"), "\"a\\u0000b\\u001f\\u007f\""},
    {SLICE_INIT("\xC3\xBC \xE2\x82\xAC \xF0\x9F\x98\x80"),
     "\"\xC3\xBC \xE2\x82\xAC \xF0\x9F\x98\x80\""},
    {SLICE_INIT("\xC2\x80\xC2\x9B\xC2\xA0"),
     "\"\\u0080\\u009b\xC2\xA0\""}, /* CSI is not for terminals */
    {SLICE_INIT("\x80"), "\"" BAD "\""},
    {SLICE_INIT("\xFF\xFEz"), "\"" BAD BAD "z\""},
    {SLICE_INIT("\xC3"), "\"" BAD "\""},
    {SLICE_INIT("\xC3z"), "\"" BAD "z\""},
    {SLICE_INIT("\xC0\xAF"), "\"" BAD BAD "\""},                 /* long form of '/' */
    {SLICE_INIT("\xE0\x80\xAF"), "\"" BAD BAD BAD "\""},         /* the same */
    {SLICE_INIT("\xF0\x80\x80\xAF"), "\"" BAD BAD BAD BAD "\""}, /* the same */
    {SLICE_INIT("\xED\xA0\x80"), "\"" BAD BAD BAD "\""},         /* a surrogate */
    {SLICE_INIT("\xF4\x90\x80\x80"), "\"" BAD BAD BAD BAD "\""}, /* beyond Unicode */
    {SLICE_INIT("\xF0\x9F\x98"), "\"" BAD "\""},                 /* cut: one character */
    {SLICE_INIT("\xF0\x9F\x98"
                "a"),
     "\"" BAD "a\""},
    {SLICE_INIT("\xE2\x82\xC3\xBC"), "\"" BAD "\xC3\xBC\""},
    {SLICE_INIT("\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF"), /* the edges */
     "\"\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF\""},
};

START_TEST(strings)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slice in = edge_copy(rows[i].in);
        struct buf out = {0};

        ck_assert(buf_append_str(&out, "x"));
        ck_assert(json_append_string(&out, in));
        buf_consume(&out, 1);
        ck_assert_slice(buf_slice(&out), slice_str(rows[i].out));
        buf_finish(&out);
        edge_free(in);
    }
}
END_TEST

START_TEST(for_a_terminal)
{
    static const struct {
        struct slice in;
        const char *out;
    } table[] = {
        {SLICE_INIT(""), ""},
        {SLICE_INIT("plain <text>."), "plain <text>."},
        {SLICE_INIT("\033[2J\r\n\t\0\x7F"), "?[2J?????"},
        {SLICE_INIT("\xC2\x9B\xC2\xA0\xC3\xBC"), "?\xC2\xA0\xC3\xBC"},
        {SLICE_INIT("\xF0\x9F\x98\x80\xF0\x9F\x98"), "\xF0\x9F\x98\x80?"},
        {SLICE_INIT("\x9B\xFFz"), "??z"},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct slice in = edge_copy(table[i].in);
        struct buf out = {0};

        ck_assert(buf_append_str(&out, "x"));
        ck_assert(text_append_printable(&out, in));
        buf_consume(&out, 1);
        ck_assert_slice(buf_slice(&out), slice_str(table[i].out));
        buf_finish(&out);
        edge_free(in);
    }
}
END_TEST

START_TEST(limit_fails_as_a_whole)
{
    struct buf out;

    buf_init(&out, 6);
    ck_assert(!json_append_string(&out, SLICE_LITERAL("abcd\n")));
    ck_assert(out.overflow);
    ck_assert_int_eq(buf_len(&out), 0);
    ck_assert(json_append_string(&out, SLICE_LITERAL("ab\n")));
    ck_assert_slice(buf_slice(&out), SLICE_LITERAL("\"ab\\n\""));
    buf_finish(&out);
}
END_TEST

Suite *codec_json_suite(void)
{
    Suite *s = suite_create("codec_json");
    TCase *tc = tcase_create("codec_json");

    tcase_add_test(tc, strings);
    tcase_add_test(tc, for_a_terminal);
    tcase_add_test(tc, limit_fails_as_a_whole);
    suite_add_tcase(s, tc);
    return s;
}
