/* test_tool_mark: marks written and read back, in every cut; what is not a mark; what was altered. */
#include <check.h>

#include "base_crc32c.h"
#include "tool_mark.h"

Suite *tool_mark_suite(void);

#define BODY "one\r\n\r\nX-Load-Id: 00000000-1-1\r\nthree\r\n"

static const struct tool_mark mark = {.run = 0x0badcafe, .session = 17, .number = 12345678901};

static void make(struct buf *out, const char *before, const char *body)
{
    struct tool_mark own = mark;

    own.body_crc = crc32c(0, BODY, strlen(BODY));
    own.body_len = strlen(BODY);
    (void)buf_append_str(out, before);
    tool_mark_append(&own, out);
    (void)buf_append_str(out, "Subject: x\r\n\r\n");
    (void)buf_append_str(out, body);
}

static const struct {
    const char *what;
    const char *before;
    const char *body;
    enum tool_mark_verdict verdict;
} cases[] = {
    {"as it was", "", BODY, TOOL_MARK_GOOD},
    {"with fields in front",
     "Received: from a (long name that goes on and on and on and on and on and on and on and on)\r\n"
     "\tby b; today\r\nX: y\r\n",
     BODY, TOOL_MARK_GOOD},
    {"an octet changed", "", "One\r\n\r\nX-Load-Id: 00000000-1-1\r\nthree\r\n", TOOL_MARK_ALTERED},
    {"an octet added", "", BODY "\n", TOOL_MARK_ALTERED},
    {"nothing left", "", "", TOOL_MARK_ALTERED},
};

static void check_cuts(size_t i)
{
    struct buf text = {0};

    make(&text, cases[i].before, cases[i].body);
    for (size_t piece = 1; piece <= buf_len(&text); piece = piece < 90 ? piece + 1 : piece * 2) {
        struct tool_mark_reader r;
        struct slice rest = buf_slice(&text);

        tool_mark_reader_init(&r);
        while (rest.len > 0) {
            struct slice part = slice_head(rest, piece);
            tool_mark_read(&r, part);
            slice_advance(&rest, part.len);
        }
        ck_assert_msg(tool_mark_verdict(&r) == cases[i].verdict, "%s, pieces of %zu", cases[i].what,
                      piece);
        ck_assert_uint_eq(r.mark.run, mark.run);
        ck_assert_uint_eq(r.mark.session, mark.session);
        ck_assert_uint_eq(r.mark.number, mark.number);
        ck_assert_uint_eq(r.size, buf_len(&text));
    }
    buf_finish(&text);
}

START_TEST(test_cuts)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_cuts(i);
}
END_TEST

static const char *const unmarked[] = {
    "",
    "\r\n",
    "Subject: x\r\n\r\nX-Load-Id: 0badcafe-1-1\r\nX-Load-Sum: 00000000-0\r\n",
    "X-Load-Id: 0badcafe-1-1\r\n\r\n",
    "X-Load-Id: 0badcafe-1-1\r\nX-Load-Sum: 0000000-0\r\n\r\n",
    "X-Load-Id: 0BADCAFE-1-1\r\nX-Load-Sum: 00000000-0\r\n\r\n",
    "X-Load-Id: 0badcafe-1\r\nX-Load-Sum: 00000000-0\r\n\r\n",
    "X-Load-Id: 0badcafe-4294967296-1\r\nX-Load-Sum: 00000000-0\r\n\r\n",
    "X-Load-Id: 0badcafe-1--1\r\nX-Load-Sum: 00000000-0\r\n\r\n",
};

static void check_unmarked(size_t i)
{
    struct tool_mark_reader r;

    tool_mark_reader_init(&r);
    tool_mark_read(&r, slice_str(unmarked[i]));
    ck_assert_int_eq(tool_mark_verdict(&r), TOOL_MARK_NONE);
}

START_TEST(test_unmarked)
{
    for (size_t i = 0; i < sizeof(unmarked) / sizeof(unmarked[0]); i++)
        check_unmarked(i);
}
END_TEST

START_TEST(test_id)
{
    char text[TOOL_MARK_ID_SIZE];
    struct tool_mark largest = {UINT32_MAX, UINT32_MAX, UINT64_MAX, 0, 0}, back = {0};

    ck_assert_uint_eq(tool_mark_id(&mark, text), strlen("0badcafe-17-12345678901"));
    ck_assert_str_eq(text, "0badcafe-17-12345678901");
    ck_assert_uint_lt(tool_mark_id(&largest, text), sizeof(text));
    ck_assert(tool_mark_id_parse(slice_str(text), &back));
    ck_assert_uint_eq(back.number, UINT64_MAX);
    ck_assert_uint_ne(tool_mark_hash(&mark), tool_mark_hash(&back));
}
END_TEST

Suite *tool_mark_suite(void)
{
    Suite *suite = suite_create("tool_mark");
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, test_cuts);
    tcase_add_test(tc, test_unmarked);
    tcase_add_test(tc, test_id);
    suite_add_tcase(suite, tc);
    return suite;
}
