/*
 * test_load_mail: each message, undone by the same rules as a server would, is what its marks say; sizes
 * are the ones that were asked for; neighbours have nothing in common.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "load_mail.h"
#include "smtp_dot.h"

Suite *load_mail_suite(void);

static const char date[] = "Sat, 21 Nov 2026 22:19:50 +0000";

/* The message as sent, decoded; fails if it does not end with its dot exactly. */
static void receive(const struct load_mail *m, uint64_t serial, struct tool_mark *mark,
                    struct buf *out)
{
    struct buf wire = {0}, text = {0};
    size_t rest = load_mail_make(m, serial, date, mark, &text);
    struct slice in, body;
    struct smtp_dot dot;
    enum smtp_dot_result result = SMTP_DOT_MORE;

    (void)buf_append(&wire, text.data, rest);
    (void)buf_append_slice(&wire, load_mail_body(m, serial)->wire);
    (void)buf_append(&wire, text.data + rest, buf_len(&text) - rest);
    smtp_dot_init(&dot, false);
    in = buf_slice(&wire);
    while (in.len > 0) {
        ck_assert_int_eq(result, SMTP_DOT_MORE);
        result = smtp_dot_decode(&dot, &in, &body);
        (void)buf_append_slice(out, body);
    }
    ck_assert_int_eq(result, SMTP_DOT_END);
    ck_assert_uint_eq(dot.facts & (SMTP_DOT_BARE_CR | SMTP_DOT_BARE_LF | SMTP_DOT_NUL), 0);
    ck_assert_int_eq((dot.facts & SMTP_DOT_8BIT) != 0, m->options->eight_bit);
    ck_assert_uint_ge(load_mail_size(m, serial), buf_len(out));
    buf_finish(&wire);
    buf_finish(&text);
}

static void check_message(const struct load_mail *m, uint64_t serial, struct tool_mark_reader *r)
{
    struct tool_mark mark = {.run = m->run, .session = 3, .number = serial + 1};
    struct buf message = {0};

    receive(m, serial, &mark, &message);
    tool_mark_reader_init(r);
    tool_mark_read(r, buf_slice(&message));
    ck_assert_int_eq(tool_mark_verdict(r), TOOL_MARK_GOOD);
    ck_assert_uint_eq(r->mark.number, serial + 1);
    buf_finish(&message);
}

static void open_mail(struct load_mail *m, struct load_options *o)
{
    struct buf error = {0};

    ck_assert_msg(load_mail_init(m, o, 0x12345678, &error), "%.*s", SLICE_ARG(buf_slice(&error)));
    buf_finish(&error);
}

START_TEST(test_sizes)
{
    static const uint64_t sizes[] = {0, 1, 48, 49, 77, 78, 79, 126, 127, 4096, 100000};
    struct load_options o;
    struct load_mail m;

    load_options_init(&o);
    o.dots = _i & 1;
    o.eight_bit = false;
    o.size_count = sizeof(sizes) / sizeof(sizes[0]);
    memcpy(o.sizes, sizes, sizeof(sizes));
    open_mail(&m, &o);
    for (uint64_t serial = 0; serial < 17 * o.size_count; serial++) {
        struct tool_mark_reader r;
        uint64_t size = sizes[serial % o.size_count];

        check_message(&m, serial, &r);
        ck_assert_uint_eq(r.body_len, size < 48 ? 48 : size);
    }
    load_mail_finish(&m);
}
END_TEST

START_TEST(test_eight_bit)
{
    struct load_options o;
    struct load_mail m;
    struct tool_mark_reader r;

    load_options_init(&o);
    o.eight_bit = o.dots = true;
    open_mail(&m, &o);
    check_message(&m, 5, &r);
    load_mail_finish(&m);
}
END_TEST

/* At the same place of two messages in a row there is not the same line. */
START_TEST(test_neighbours)
{
    struct load_options o;
    struct load_mail m;

    load_options_init(&o);
    open_mail(&m, &o);
    for (uint64_t serial = 0; serial < 32; serial++) {
        struct slice a = load_mail_body(&m, serial)->wire;
        struct slice b = load_mail_body(&m, serial + 1)->wire;

        ck_assert_uint_eq(a.len, b.len);
        for (size_t at = 0; at + 78 <= a.len; at += 78)
            ck_assert_int_ne(memcmp(a.data + at, b.data + at, 78), 0);
    }
    load_mail_finish(&m);
}
END_TEST

static const struct {
    const char *text;
    uint64_t body_len;
} files[] = {
    {"Subject: x\r\n\r\nbody\r\n", 6},
    {"Subject: x\n\nbody\n", 6},
    {"Subject: x\n\n.\n..\n.body without an end", 3 + 4 + 22},
    {"Subject: a header alone\n", 0},
    {"\nno header", 11},
    {"", 0},
};

static void check_files(size_t i)
{
    char path[] = "/tmp/test_load_mail.XXXXXX";
    struct load_options o;
    struct load_mail m;
    struct tool_mark_reader r;
    int fd = mkstemp(path);
    size_t len = strlen(files[i].text);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, files[i].text, len), (ssize_t)len);
    ck_assert_int_eq(close(fd), 0);
    load_options_init(&o);
    o.files[0] = path;
    o.file_count = 1;
    open_mail(&m, &o);
    check_message(&m, 0, &r);
    ck_assert_uint_eq(r.body_len, files[i].body_len);
    load_mail_finish(&m);
    ck_assert_int_eq(unlink(path), 0);
}

START_TEST(test_files)
{
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        check_files(i);
}
END_TEST

START_TEST(test_refused)
{
    struct load_options o;
    struct load_mail m;
    struct buf error = {0};

    load_options_init(&o);
    o.to = "nobody";
    ck_assert(!load_mail_init(&m, &o, 1, &error));
    load_mail_finish(&m);
    load_options_init(&o);
    o.from = "a b@c.test";
    ck_assert(!load_mail_init(&m, &o, 1, &error));
    load_mail_finish(&m);
    load_options_init(&o);
    o.files[0] = "/nonexistent/file";
    o.file_count = 1;
    ck_assert(!load_mail_init(&m, &o, 1, &error));
    load_mail_finish(&m);
    buf_finish(&error);
}
END_TEST

static const struct {
    const char *pattern;
    uint64_t addresses, counter;
    const char *expected;
} addresses[] = {
    {"user%d@x.test", 0, 1234567, "user1234567@x.test"},
    {"user%d@x.test", 10, 1234567, "user7@x.test"},
    {"%d@d%d.test", 3, 4, "1@d1.test"},
    {"user%%d@x.test", 0, 4, "user%d@x.test"},
    {"user%@x.test", 0, 4, "user%@x.test"},
    {"user@x.test", 0, 4, "user@x.test"},
};

static void check_address(size_t i)
{
    struct load_options o;
    struct load_mail m = {.options = &o};
    struct buf text = {0};

    load_options_init(&o);
    o.addresses = addresses[i].addresses;
    load_mail_address(&m, addresses[i].pattern, addresses[i].counter, &text);
    (void)buf_append_byte(&text, 0);
    ck_assert_str_eq((const char *)text.data, addresses[i].expected);
    buf_finish(&text);
}

START_TEST(test_address)
{
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
        check_address(i);
}
END_TEST

Suite *load_mail_suite(void)
{
    Suite *suite = suite_create("load_mail");
    TCase *tc = tcase_create("all");

    tcase_add_loop_test(tc, test_sizes, 0, 2);
    tcase_add_test(tc, test_eight_bit);
    tcase_add_test(tc, test_neighbours);
    tcase_add_test(tc, test_files);
    tcase_add_test(tc, test_refused);
    tcase_add_test(tc, test_address);
    suite_add_tcase(suite, tc);
    return suite;
}
