#include "base_log.h"

#include <errno.h>

#include "base_assert.h"
#include "base_codec.h"
#include "base_test.h"

static char line[LOG_RECORD_SIZE + 1];
static enum log_level line_level;
static int lines;

static void sink(void *context, enum log_level level, struct slice text)
{
    ck_assert_ptr_eq(context, &lines);
    ck_assert_uint_le(text.len, LOG_RECORD_SIZE);
    memcpy(line, text.data, text.len);
    line[text.len] = '\0';
    ck_assert_uint_eq(strlen(line), text.len);
    ck_assert_ptr_eq(strchr(line, '\n'), line + text.len - 1); /* one line, and it ends */
    line_level = level;
    lines++;
}

static uint64_t clock_ms(void)
{
    return 1795299590123;
}

static void setup(void)
{
    lines = 0;
    log_setup(LOG_INFO, LOG_TEXT, sink, &lines);
    log_set_clock(NULL);
}

static void everything(struct log_record *r)
{
    struct ip_addr ip;

    ck_assert(ip_parse(SLICE_LITERAL("192.0.2.7"), &ip));
    log_id(r, "message", 31);
    log_ip(r, "client", &ip);
    log_str(r, "to", "bob@example.org");
    log_u64(r, "size", UINT64_MAX);
    log_i64(r, "least", INT64_MIN);
    log_i64(r, "most", 5);
    log_str(r, "reply", "250 2.0.0 \"ok\"");
    log_str(r, "empty", "");
    log_errno(r, -ENOSPC);
}

START_TEST(text_line)
{
    struct log_record r;

    log_set_clock(clock_ms);
    log_begin(&r, LOG_WARNING, "delivered");
    everything(&r);
    log_end(&r);
    ck_assert_str_eq(line, "time=2026-11-21T22:19:50.123Z level=warning event=delivered "
                           "message=000000000000Z client=192.0.2.7 to=bob@example.org "
                           "size=18446744073709551615 least=-9223372036854775808 most=5 "
                           "reply=\"250 2.0.0 \\\"ok\\\"\" empty=\"\" "
                           "error=\"No space left on device\"\n");
    ck_assert_int_eq(line_level, LOG_WARNING);
}
END_TEST

START_TEST(json_line)
{
    struct log_record r;

    log_setup(LOG_INFO, LOG_JSON, sink, &lines);
    log_set_clock(clock_ms);
    log_begin(&r, LOG_INFO, "delivered");
    everything(&r);
    log_end(&r);
    ck_assert_str_eq(line,
                     "{\"time\":\"2026-11-21T22:19:50.123Z\",\"level\":\"info\","
                     "\"event\":\"delivered\",\"message\":\"000000000000Z\","
                     "\"client\":\"192.0.2.7\",\"to\":\"bob@example.org\","
                     "\"size\":18446744073709551615,\"least\":-9223372036854775808,\"most\":5,"
                     "\"reply\":\"250 2.0.0 \\\"ok\\\"\",\"empty\":\"\","
                     "\"error\":\"No space left on device\"}\n");
}
END_TEST

START_TEST(without_a_clock_there_is_no_time)
{
    struct log_record r;

    log_begin(&r, LOG_INFO, "x");
    log_end(&r);
    ck_assert_str_eq(line, "level=info event=x\n");
    log_setup(LOG_INFO, LOG_JSON, sink, &lines);
    log_begin(&r, LOG_INFO, "x");
    log_end(&r);
    ck_assert_str_eq(line, "{\"level\":\"info\",\"event\":\"x\"}\n");
}
END_TEST

START_TEST(text_escapes)
{
    static const struct {
        struct slice value;
        const char *text;
    } rows[] = {
        {SLICE_INIT("plain-._~<>@[]{}'`#,;:/"), "plain-._~<>@[]{}'`#,;:/"},
        {SLICE_INIT("two words"), "\"two words\""},
        {SLICE_INIT("a=b"), "\"a=b\""},
        {SLICE_INIT("say \"hi\""), "\"say \\\"hi\\\"\""},
        {SLICE_INIT("back\\slash"), "\"back\\\\slash\""},
        {SLICE_INIT("a\r\nlevel=error"), "\"a\\r\\nlevel=error\""},
        {SLICE_INIT("\t\0\x1B[2J\x7F"), "\"\\t\\x00\\x1b[2J\\x7f\""},
        {SLICE_INIT("gr\xC3\xBC\xC3\x9F\x65"), "\"gr\xC3\xBC\xC3\x9F\x65\""},
        {SLICE_INIT("\xC2\x9B"
                    "2J"),
         "\"\\xc2\\x9b2J\""}, /* U+009B: also a terminal's escape */
        {SLICE_INIT("\xC2\xA0"), "\"\xC2\xA0\""},
        {SLICE_INIT("\xFF\xE2\x82"), "\"\\xff\\xe2\\x82\""},
        {SLICE_INIT(""), "\"\""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct log_record r;
        struct slice value = edge_copy(rows[i].value);
        char expected[100];

        log_begin(&r, LOG_INFO, "x");
        log_slice(&r, "v", value);
        log_end(&r);
        (void)snprintf(expected, sizeof(expected), "level=info event=x v=%s\n", rows[i].text);
        ck_assert_str_eq(line, expected);
        edge_free(value);
    }
}
END_TEST

START_TEST(unknown_error_is_a_number)
{
    struct log_record r;

    log_begin(&r, LOG_INFO, "x");
    log_errno(&r, 99999);
    log_end(&r);
    ck_assert_str_eq(line, "level=info event=x error=99999\n");
}
END_TEST

START_TEST(below_the_level_nothing_happens)
{
    struct log_record r;

    log_begin(&r, LOG_DEBUG, "x");
    everything(&r);
    log_end(&r);
    ck_assert_int_eq(lines, 0);
    ck_assert(!log_enabled(LOG_DEBUG));
    ck_assert(log_enabled(LOG_INFO));
    log_setup(LOG_ERROR, LOG_TEXT, sink, &lines);
    ck_assert(!log_enabled(LOG_WARNING));
    ck_assert(log_enabled(LOG_CRITICAL));
    log_setup(LOG_DEBUG, LOG_TEXT, NULL, NULL);
    ck_assert(!log_enabled(LOG_CRITICAL)); /* nobody listens */
    log_begin(&r, LOG_CRITICAL, "x");
    log_end(&r);
    ck_assert_int_eq(lines, 0);
}
END_TEST

/* With every length around the limit, in both formats, a line is whole fields and says if it is cut. */
START_TEST(cuts_between_fields)
{
    static const enum log_format formats[] = {LOG_TEXT, LOG_JSON};
    char long_text[LOG_RECORD_SIZE * 2];
    int cuts = 0;

    memset(long_text, 'v', sizeof(long_text));
    log_setup(LOG_INFO, formats[_i], sink, &lines);
    for (size_t len = 1900; len < 2200; len++) {
        struct log_record r;
        char expected[LOG_RECORD_SIZE * 2];
        bool json = formats[_i] == LOG_JSON;

        log_begin(&r, LOG_INFO, "x");
        log_slice(&r, "a", slice_of(long_text, len));
        log_u64(&r, "b", 1234567);
        log_end(&r);
        bool has_a = strstr(line, "vvv") != NULL;
        bool has_b = strstr(line, "1234567") != NULL;
        bool cut = strstr(line, "cut") != NULL;
        ck_assert(has_a || !has_b); /* what is there is the beginning */
        ck_assert(cut == !has_b);
        cuts += cut;
        (void)snprintf(expected, sizeof(expected),
                       json ? "{\"level\":\"info\",\"event\":\"x\"%s%.*s%s%s%s}\n"
                            : "level=info event=x%s%.*s%s%s%s\n",
                       !has_a ? ""
                       : json ? ",\"a\":\""
                              : " a=",
                       has_a ? (int)len : 0, long_text, has_a && json ? "\"" : "",
                       !has_b ? ""
                       : json ? ",\"b\":1234567"
                              : " b=1234567",
                       !cut   ? ""
                       : json ? ",\"cut\":true"
                              : " cut=yes");
        ck_assert_str_eq(line, expected);
    }
    ck_assert_int_gt(cuts, 0);
    ck_assert_int_lt(cuts, 300);
}
END_TEST

/* Escapes grow: a value that fits as it is may not fit escaped. */
START_TEST(escaped_value_is_whole_or_absent)
{
    char nuls[LOG_RECORD_SIZE] = {0};

    for (size_t len = 0; len < sizeof(nuls); len++) {
        struct log_record r;

        log_setup(LOG_INFO, _i == 0 ? LOG_TEXT : LOG_JSON, sink, &lines);
        log_begin(&r, LOG_INFO, "x");
        log_slice(&r, "v", slice_of(nuls, len));
        log_end(&r);
        bool fits = len * (_i == 0 ? 4 : 6) < 1990;
        bool cut = strstr(line, "cut") != NULL;
        if (fits)
            ck_assert_msg(!cut, "%zu", len);
        if (cut)
            ck_assert_ptr_null(strchr(line, '\\'));
    }
}
END_TEST

Suite *log_suite(void)
{
    Suite *s = suite_create("log");
    TCase *tc = tcase_create("log");

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, text_line);
    tcase_add_test(tc, json_line);
    tcase_add_test(tc, without_a_clock_there_is_no_time);
    tcase_add_test(tc, text_escapes);
    tcase_add_test(tc, unknown_error_is_a_number);
    tcase_add_test(tc, below_the_level_nothing_happens);
    tcase_add_loop_test(tc, cuts_between_fields, 0, 2);
    tcase_add_loop_test(tc, escaped_value_is_whole_or_absent, 0, 2);
    suite_add_tcase(s, tc);
    return s;
}
