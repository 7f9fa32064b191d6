/* test_tool_options: command lines, what they set and what is said about wrong ones; sizes and stages. */
#include <check.h>
#include <stdio.h>

#include "load_options.h"
#include "sink_options.h"

Suite *tool_options_suite(void);

enum { WORDS_MAX = 12 };

static enum tool_options_result parse(const struct tool_program *program, const char *line,
                                      void *options, const char **url, struct buf *error)
{
    static char text[512];
    char *words[WORDS_MAX] = {"program"};
    int count = 1;

    (void)snprintf(text, sizeof(text), "%s", line);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
        ck_assert_int_lt(count, WORDS_MAX);
        words[count++] = word;
    }
    return tool_options_parse(program, count, words, options, url, error);
}

START_TEST(test_load_line)
{
    struct load_options o;
    struct buf error = {0};
    const char *url = NULL;

    load_options_init(&o);
    ck_assert_int_eq(parse(&load_program,
                           "--sessions 7 smtp://x --time=2m --pipeline no --8bit --size 1K,2K,5",
                           &o, &url, &error),
                     TOOL_OPTIONS_OK);
    ck_assert_str_eq(url, "smtp://x");
    ck_assert_uint_eq(o.sessions, 7);
    ck_assert_uint_eq(o.time_ms, 120000);
    ck_assert(!o.pipeline && o.eight_bit && !o.json);
    ck_assert_uint_eq(o.size_count, 3);
    ck_assert_uint_eq(o.sizes[0], 1024);
    ck_assert_uint_eq(o.sizes[2], 5);
    ck_assert(load_options_check(&o, &error));
    ck_assert_uint_eq(o.messages, 0);
    buf_finish(&error);
}
END_TEST

START_TEST(test_size_range)
{
    struct load_options o;
    struct buf error = {0};
    const char *url;

    load_options_init(&o);
    ck_assert_int_eq(parse(&load_program, "--size 100-1M smtp://x", &o, &url, &error),
                     TOOL_OPTIONS_OK);
    ck_assert_uint_eq(o.size_count, 16);
    ck_assert_uint_eq(o.sizes[0], 100);
    ck_assert_uint_eq(o.sizes[15], 1 << 20);
    for (size_t i = 1; i < o.size_count; i++)
        ck_assert_uint_gt(o.sizes[i], o.sizes[i - 1]);
    buf_finish(&error);
}
END_TEST

START_TEST(test_follow_up)
{
    struct load_options o;
    struct buf error = {0};

    load_options_init(&o);
    o.threads = 4;
    ck_assert(load_options_check(&o, &error));
    ck_assert_uint_eq(o.messages, 1); /* and so no more sessions and threads */
    ck_assert_uint_eq(o.sessions, 1);
    ck_assert_uint_eq(o.threads, 1);
    o.timeout_ms = 0;
    ck_assert(!load_options_check(&o, &error));
    buf_finish(&error);
}
END_TEST

START_TEST(test_sink_line)
{
    struct sink_options o;
    struct buf error = {0};
    const char *url;

    sink_options_init(&o);
    ck_assert_int_eq(
        parse(
            &sink_program,
            "smtp://x:1 --fail rcpt=12.5:450 --fail dot=0.05:554 --drop mail=100 --delay ehlo=50ms",
            &o, &url, &error),
        TOOL_OPTIONS_OK);
    ck_assert_uint_eq(o.faults[SINK_RCPT].fail, 1250);
    ck_assert_uint_eq(o.faults[SINK_RCPT].code, 450);
    ck_assert_uint_eq(o.faults[SINK_DOT].fail, 5);
    ck_assert_uint_eq(o.faults[SINK_MAIL].drop, 10000);
    ck_assert_uint_eq(o.faults[SINK_EHLO].delay_ms, 50);
    buf_finish(&error);
}
END_TEST

static const struct {
    const struct tool_program *program;
    const char *line;
    const char *says; /* a part of the error */
} wrong[] = {
    {&load_program, "", "a URL is needed"},
    {&load_program, "smtp://a smtp://b", "one URL is enough"},
    {&load_program, "smtp://a --nothing", "unknown option --nothing"},
    {&load_program, "smtp://a -s 3", "unknown option -s"},
    {&load_program, "smtp://a --sessions", "--sessions needs a value: N"},
    {&load_program, "smtp://a --sessions 0", "from 1 to 100000"},
    {&load_program, "smtp://a --sessions 3x", "a number"},
    {&load_program, "smtp://a --messages 0", "from 1 on"},
    {&load_program, "smtp://a --time never", "a time such as"},
    {&load_program, "smtp://a --pipeline maybe", "yes or no"},
    {&load_program, "smtp://a --json=1", "--json takes no value"},
    {&load_program, "smtp://a --size 5G", "none above 1G"},
    {&load_program, "smtp://a --size 1K,", "a size such as"},
    {&load_program, "smtp://a --size 9-3", "a range goes from"},
    {&load_program, "smtp://a --size 0-3", "a range goes from"},
    {&sink_program, "smtp://a --fail rcpt=10", "the form is"},
    {&sink_program, "smtp://a --fail rcpt=10:250", "CODE from 400 to 599"},
    {&sink_program, "smtp://a --fail rcpt=101:450", "the form is"},
    {&sink_program, "smtp://a --fail rcpt=1.234:450", "the form is"},
    {&sink_program, "smtp://a --fail nowhere=10:450", "STAGE= is one of"},
    {&sink_program, "smtp://a --fail connect=10:450", "421 or 554"},
    {&sink_program, "smtp://a --drop dot", "STAGE= is one of"},
    {&sink_program, "smtp://a --delay dot=soon", "STAGE=TIME"},
};

static void check_wrong(size_t i)
{
    union {
        struct load_options load;
        struct sink_options sink;
    } o;
    struct buf error = {0};
    const char *url;

    load_options_init(&o.load);
    if (wrong[i].program == &sink_program)
        sink_options_init(&o.sink);
    ck_assert_int_eq(parse(wrong[i].program, wrong[i].line, &o, &url, &error), TOOL_OPTIONS_BAD);
    (void)buf_append_byte(&error, 0);
    ck_assert_msg(strstr((const char *)error.data, wrong[i].says) != NULL, "%s: %s", wrong[i].line,
                  (const char *)error.data);
    buf_finish(&error);
}

START_TEST(test_wrong)
{
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        check_wrong(i);
}
END_TEST

START_TEST(test_help)
{
    static const struct tool_program *const programs[] = {&load_program, &sink_program};

    for (size_t i = 0; i < 2; i++) {
        struct buf text = {0};
        tool_options_help(programs[i], &text);
        (void)buf_append_byte(&text, 0);
        for (size_t n = 0; n < programs[i]->option_count; n++)
            ck_assert_ptr_nonnull(strstr((const char *)text.data, programs[i]->options[n].name));
        for (char *line = strtok((char *)text.data, "\n"); line != NULL; line = strtok(NULL, "\n"))
            ck_assert_msg(strlen(line) <= 100, "%s", line);
        buf_finish(&text);
    }
    ck_assert_int_eq(parse(&load_program, "--help", NULL, NULL, NULL), TOOL_OPTIONS_HELP);
    ck_assert_int_eq(parse(&sink_program, "--version", NULL, NULL, NULL), TOOL_OPTIONS_VERSION);
}
END_TEST

Suite *tool_options_suite(void)
{
    Suite *suite = suite_create("tool_options");
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, test_load_line);
    tcase_add_test(tc, test_size_range);
    tcase_add_test(tc, test_follow_up);
    tcase_add_test(tc, test_sink_line);
    tcase_add_test(tc, test_wrong);
    tcase_add_test(tc, test_help);
    suite_add_tcase(suite, tc);
    return suite;
}
