/* test_smtp_reply: replies out and in, the latter in every cut. */
#include <check.h>

#include "smtp_feed.h"
#include "smtp_reply.h"

static const struct {
    struct smtp_reply reply;
    const char *wire;
} formats[] = {
    {SMTP_REPLY_INIT(250, 2, 1, 5, "Ok"), "250 2.1.5 Ok\r\n"},
    {SMTP_REPLY_INIT(354, 0, 0, 0, "Go"), "354 Go\r\n"},
    {SMTP_REPLY_INIT(550, 5, 7, 1, "a\nb\nc"), "550-5.7.1 a\r\n550-5.7.1 b\r\n550 5.7.1 c\r\n"},
    {SMTP_REPLY_INIT(550, 5, 7, 26, "a\rb\x01\xc3\xbc\tc"), "550 5.7.26 a?b???\tc\r\n"},
    {SMTP_REPLY_INIT(250, 0, 0, 0, ""), "250 \r\n"},
};

START_TEST(test_format)
{
    struct buf out;

    buf_init(&out, 0);
    ck_assert(smtp_reply_format(&formats[_i].reply, &out));
    ck_assert_msg(slice_equal(buf_slice(&out), slice_str(formats[_i].wire)), "%.*s",
                  SLICE_ARG(buf_slice(&out)));
    buf_finish(&out);
}
END_TEST

START_TEST(test_format_bounded)
{
    static char text[2000];
    struct smtp_reply r = {.code = 550, .enhanced = {5, 0, 0}, .text = slice_of(text, 1999)};
    struct buf out;

    memset(text, 'x', sizeof(text));
    buf_init(&out, 0);
    ck_assert(smtp_reply_format(&r, &out));
    ck_assert_uint_eq(buf_len(&out), 512);
    buf_finish(&out);
    buf_init(&out, 100);
    ck_assert(!smtp_reply_format(&r, &out));
    buf_finish(&out);
}
END_TEST

static const struct {
    const char *wire;
    enum smtp_reply_result result;
    unsigned code;
    unsigned enhanced[3];
    const char *text;
} parses[] = {
    {"250 Ok\r\n", SMTP_REPLY_DONE, 250, {0}, "Ok"},
    {"250\r\n", SMTP_REPLY_DONE, 250, {0}, ""},
    {"250 \r\n", SMTP_REPLY_DONE, 250, {0}, ""},
    {"250 2.1.5 Ok\r\n", SMTP_REPLY_DONE, 250, {2, 1, 5}, "Ok"},
    {"550 5.7.123\r\n", SMTP_REPLY_DONE, 550, {5, 7, 123}, ""},
    {"550 5.7.1234 x\r\n", SMTP_REPLY_DONE, 550, {0}, "5.7.1234 x"},
    {"550 4.7.1 x\r\n", SMTP_REPLY_DONE, 550, {0}, "4.7.1 x"}, /* classes disagree */
    {"250 5.7 x\r\n", SMTP_REPLY_DONE, 250, {0}, "5.7 x"},
    {"550-5.1.1 a\r\n550-5.1.1 b\r\n550 5.1.1 c\r\n", SMTP_REPLY_DONE, 550, {5, 1, 1}, "a\nb\nc"},
    {"550-5.1.1 a\r\n550-5.1.2 b\r\n550 c\r\n", SMTP_REPLY_DONE, 550, {5, 1, 1}, "a\n5.1.2 b\nc"},
    {"250-\r\n250-\r\n250 x\r\n", SMTP_REPLY_DONE, 250, {0}, "x"},
    {"250-a\r\n250 \r\n", SMTP_REPLY_DONE, 250, {0}, "a"},
    {"250-a\r\n250-\r\n250-\r\n250\r\n", SMTP_REPLY_DONE, 250, {0}, "a"},
    {"250 a\rb\r\r\n", SMTP_REPLY_DONE, 250, {0}, "a?b?"},
    {"250 a\tb\x01\r\n", SMTP_REPLY_DONE, 250, {0}, "a?b?"},
    {"299 x\r\n", SMTP_REPLY_DONE, 299, {0}, "x"},
    {"", SMTP_REPLY_MORE, 0, {0}, ""},
    {"25", SMTP_REPLY_MORE, 0, {0}, ""},
    {"250 Ok\r", SMTP_REPLY_MORE, 0, {0}, ""},
    {"250-Ok\r\n", SMTP_REPLY_MORE, 0, {0}, ""},
    {"250 Ok\n", SMTP_REPLY_MALFORMED, 0, {0}, ""},
    {"150 Ok\r\n", SMTP_REPLY_MALFORMED, 0, {0}, ""},
    {"600 Ok\r\n", SMTP_REPLY_MALFORMED, 0, {0}, ""},
    {"25 Ok\r\n", SMTP_REPLY_MALFORMED, 0, {0}, ""},
    {"2500 Ok\r\n", SMTP_REPLY_MALFORMED, 0, {0}, ""},
    {"\r\n", SMTP_REPLY_MALFORMED, 0, {0}, ""},
    {"HTTP/1.1 200 OK\r\n", SMTP_REPLY_MALFORMED, 0, {0}, ""},
    {"250-a\r\n251 b\r\n", SMTP_REPLY_MALFORMED, 0, {0}, ""},
    {"250-a\r\n\r\n", SMTP_REPLY_MALFORMED, 0, {0}, ""},
};

static enum smtp_reply_result parse(struct smtp_reply_parser *p, struct feed *f,
                                    struct smtp_reply *reply)
{
    enum smtp_reply_result result = SMTP_REPLY_MORE;

    while (result == SMTP_REPLY_MORE && feed_more(f))
        do
            result = smtp_reply_parse(p, &f->pending, reply);
        while (result == SMTP_REPLY_LINE);
    return result;
}

START_TEST(test_parse)
{
    struct slice wire = slice_str(parses[_i].wire);

    FEED_EACH_CUT(cut, wire.len)
    {
        uint8_t storage[32];
        struct smtp_reply_parser p;
        struct smtp_reply reply = {0};
        struct feed f;

        smtp_reply_parser_init(&p, storage, sizeof(storage));
        feed_init(&f, wire, cut);
        ck_assert_int_eq(parse(&p, &f, &reply), parses[_i].result);
        ck_assert_uint_eq(reply.code, parses[_i].code);
        for (int i = 0; i < 3; i++)
            ck_assert_uint_eq(reply.enhanced[i], parses[_i].enhanced[i]);
        ck_assert_msg(slice_equal(reply.text, slice_str(parses[_i].text)), "%.*s",
                      SLICE_ARG(reply.text));
        if (parses[_i].result == SMTP_REPLY_DONE)
            ck_assert_uint_eq(f.pending.len, 0);
    }
}
END_TEST

/* What does not fit is dropped; the code and the next reply are not. */
START_TEST(test_parse_small_storage)
{
    struct slice wire = SLICE_LITERAL("550-abcdefghijkl\r\n550-mnop\r\n550 qrst\r\n250 Ok\r\n");

    FEED_EACH_CUT(cut, wire.len)
    {
        uint8_t storage[8];
        struct smtp_reply_parser p;
        struct smtp_reply reply = {0};
        struct feed f;

        smtp_reply_parser_init(&p, storage, sizeof(storage));
        feed_init(&f, wire, cut);
        ck_assert_int_eq(parse(&p, &f, &reply), SMTP_REPLY_DONE);
        ck_assert_uint_eq(reply.code, 550);
        ck_assert(slice_equal(reply.text, SLICE_LITERAL("abcdefgh")));
        if (cut.kind == FEED_WHOLE) {
            ck_assert_int_eq(smtp_reply_parse(&p, &f.pending, &reply), SMTP_REPLY_DONE);
            ck_assert_uint_eq(reply.code, 250);
            ck_assert(slice_equal(reply.text, SLICE_LITERAL("Ok")));
        }
    }
}
END_TEST

START_TEST(test_parse_lines)
{
    struct slice wire = SLICE_LITERAL("250-a\r\n250-b\r\n250 c\r\n");
    uint8_t storage[4];
    struct smtp_reply_parser p;
    struct smtp_reply reply;

    smtp_reply_parser_init(&p, storage, sizeof(storage));
    ck_assert_int_eq(smtp_reply_parse(&p, &wire, &reply), SMTP_REPLY_LINE);
    ck_assert(slice_equal(p.line, SLICE_LITERAL("a")));
    smtp_reply_parser_forget(&p);
    ck_assert_int_eq(smtp_reply_parse(&p, &wire, &reply), SMTP_REPLY_LINE);
    ck_assert(slice_equal(p.line, SLICE_LITERAL("b")));
    smtp_reply_parser_forget(&p);
    ck_assert_int_eq(smtp_reply_parse(&p, &wire, &reply), SMTP_REPLY_DONE);
    ck_assert(slice_equal(reply.text, SLICE_LITERAL("c")));
}
END_TEST

/* A peer that never comes to an end. */
START_TEST(test_parse_endless)
{
    static uint8_t text[SMTP_REPLY_SIZE_MAX + 10];
    uint8_t storage[16];
    struct smtp_reply_parser p;
    struct smtp_reply reply;
    struct slice in;
    enum smtp_reply_result result;
    int lines = 0;

    memset(text, 'x', sizeof(text));
    memcpy(text, "250 ", 4);
    smtp_reply_parser_init(&p, storage, sizeof(storage));
    in = slice_of(text, sizeof(text));
    ck_assert_int_eq(smtp_reply_parse(&p, &in, &reply), SMTP_REPLY_MALFORMED);
    smtp_reply_parser_init(&p, storage, sizeof(storage));
    do {
        in = SLICE_LITERAL("250-x\r\n");
        result = smtp_reply_parse(&p, &in, &reply);
        lines++;
    } while (result == SMTP_REPLY_LINE);
    ck_assert_int_eq(result, SMTP_REPLY_MALFORMED);
    ck_assert_int_eq(lines, SMTP_REPLY_LINES_MAX);
}
END_TEST

Suite *smtp_reply_suite(void)
{
    Suite *s = suite_create("smtp_reply");
    TCase *t = tcase_create("reply");

    tcase_add_loop_test(t, test_format, 0, sizeof(formats) / sizeof(formats[0]));
    tcase_add_test(t, test_format_bounded);
    tcase_add_loop_test(t, test_parse, 0, sizeof(parses) / sizeof(parses[0]));
    tcase_add_test(t, test_parse_small_storage);
    tcase_add_test(t, test_parse_lines);
    tcase_add_test(t, test_parse_endless);
    suite_add_tcase(s, t);
    return s;
}
