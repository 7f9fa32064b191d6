/* test_smtp_dot: both directions, whole and in every cut, and against each other. */
#include <check.h>
#include <stdlib.h>

#include "base_rand.h"
#include "smtp_dot.h"
#include "smtp_feed.h"

#define L(text) SLICE_LITERAL(text)
#define LINE70  "0123456789012345678901234567890123456789012345678901234567890123456789\r\n"
enum {
    LEADING = SMTP_DOT_LEADING,
    EIGHT = SMTP_DOT_8BIT,
    NUL = SMTP_DOT_NUL,
    CR = SMTP_DOT_BARE_CR,
    LF = SMTP_DOT_BARE_LF
};

static const struct {
    const char *what;
    const char *in;
    size_t in_len;
    const char *body;
    unsigned facts;
    const char *mended; /* the body in normalize mode; NULL: the same */
    unsigned mended_facts;
    const char *rest;
} cases[] = {
#define CASE(what, in, ...)                   \
    {                                         \
        what, in, sizeof(in) - 1, __VA_ARGS__ \
    }
    CASE("empty", ".\r\n", "", 0, NULL, 0, ""),
    CASE("one line", "a\r\n.\r\n", "a\r\n", 0, NULL, 0, ""),
    CASE("what follows stays", "a\r\n.\r\nQUIT\r\n", "a\r\n", 0, NULL, 0, "QUIT\r\n"),
    CASE("stuffed", "..a\r\n..\r\n.\r\n", ".a\r\n.\r\n", LEADING, NULL, LEADING, ""),
    CASE("a dot too few is taken off all the same", ".a\r\n.\r\n", "a\r\n", 0, NULL, 0, ""),
    CASE("dots within lines", "a.\r\nb..\r\n.\r\n", "a.\r\nb..\r\n", 0, NULL, 0, ""),
    CASE("an empty line before the end", "\r\n\r\n.\r\n", "\r\n\r\n", 0, NULL, 0, ""),
    CASE("8-bit", "\xc3\xbc\r\n.\r\n", "\xc3\xbc\r\n", EIGHT, NULL, EIGHT, ""),
    CASE("LF dot LF is no end", "a\n.\nb\r\n.\r\n", "a\n.\nb\r\n", LF, "a\r\n.\r\nb\r\n",
         LF | LEADING, ""),
    CASE("LF dot CRLF is no end", "a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n", LF, "a\r\n.\r\nb\r\n",
         LF | LEADING, ""),
    CASE("CRLF dot LF is no end", "a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n", LF, "a\r\n\r\nb\r\n", LF,
         ""),
    CASE("CRLF dot CR is no end", "a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", CR, "a\r\n b\r\n", CR, ""),
    CASE("CR dot CR is no end", "a\r.\rb\r\n.\r\n", "a\r.\rb\r\n", CR, "a . b\r\n", CR, ""),
    CASE("CR dot CRLF is no end", "a\r.\r\nb\r\n.\r\n", "a\r.\r\nb\r\n", CR, "a .\r\nb\r\n", CR,
         ""),
    CASE("CRLF dot CR CRLF is no end", "a\r\n.\r\r\nb\r\n.\r\n", "a\r\n\r\r\nb\r\n", CR,
         "a\r\n \r\nb\r\n", CR, ""),
    CASE("CR CR LF dot CRLF is an end", "a\r\r\n.\r\n", "a\r\r\n", CR, "a \r\n", CR, ""),
    CASE("LF CR dot", "a\n\r.\r\nb\r\n.\r\n", "a\n\r.\r\nb\r\n", CR | LF, "a\r\n .\r\nb\r\n",
         CR | LF, ""),
    CASE("LF in front", "\na\r\n.\r\n", "\na\r\n", LF, "\r\na\r\n", LF, ""),
    CASE("LF CRLF dot", "a\n\r\n.\r\n", "a\n\r\n", LF, "a\r\n\r\n", LF, ""),
    CASE("dot CR dot CRLF", ".\r.\r\n.\r\n", "\r.\r\n", CR, " .\r\n", CR, ""),
    CASE("mended LF and a stuffed dot: only CRLF begins a line", "a\n..b\r\n.\r\n", "a\n..b\r\n",
         LF, "a\r\n..b\r\n", LF | LEADING, ""),
    CASE("blocks of plain lines", LINE70 LINE70 LINE70 "..x\r\n" LINE70 LINE70 ".\r\n",
         LINE70 LINE70 LINE70 ".x\r\n" LINE70 LINE70, LEADING, NULL, LEADING, ""),
    CASE("an LF deep in a block", LINE70 "xx\nyy" LINE70 LINE70 ".\r\n",
         LINE70 "xx\nyy" LINE70 LINE70, LF, LINE70 "xx\r\nyy" LINE70 LINE70, LF, ""),
    CASE("a CR deep in a block", LINE70 "xx\ryy" LINE70 LINE70 ".\r\n",
         LINE70 "xx\ryy" LINE70 LINE70, CR, LINE70 "xx yy" LINE70 LINE70, CR, ""),
    CASE("8-bit deep in a block", LINE70 "xx\xffyy" LINE70 LINE70 ".\r\n",
         LINE70 "xx\xffyy" LINE70 LINE70, EIGHT, NULL, EIGHT, ""),
};

/* Decodes to the end of the data or of the feed; the rest of the input is f->pending. */
static bool decode(struct smtp_dot *dot, struct feed *f, struct buf *body)
{
    while (feed_more(f)) {
        while (f->pending.len > 0) {
            struct slice piece, before = f->pending;
            enum smtp_dot_result result = smtp_dot_decode(dot, &f->pending, &piece);

            ck_assert(buf_append_slice(body, piece));
            if (result == SMTP_DOT_END)
                return true;
            ck_assert(f->pending.len < before.len || piece.len > 0);
        }
    }
    return false;
}

static void check_case(size_t i, bool normalize, struct feed_cut cut)
{
    const char *expected = normalize && cases[i].mended ? cases[i].mended : cases[i].body;
    struct smtp_dot dot;
    struct feed f;
    struct buf body;

    buf_init(&body, 0);
    smtp_dot_init(&dot, normalize);
    feed_init(&f, slice_of(cases[i].in, cases[i].in_len), cut);
    ck_assert_msg(decode(&dot, &f, &body), "%s: no end", cases[i].what);
    ck_assert_msg(slice_equal(buf_slice(&body), slice_str(expected)),
                  "%s (cut %d at %zu, normalize %d): %.*s", cases[i].what, (int)cut.kind, cut.at,
                  normalize, SLICE_ARG(buf_slice(&body)));
    ck_assert_msg(dot.facts == (normalize ? cases[i].mended_facts : cases[i].facts),
                  "%s (cut %d at %zu, normalize %d): facts %u", cases[i].what, (int)cut.kind,
                  cut.at, normalize, dot.facts);
    if (cut.kind == FEED_WHOLE)
        ck_assert(slice_equal(f.pending, slice_str(cases[i].rest)));
    buf_finish(&body);
}

START_TEST(test_decode)
{
    size_t i = (size_t)_i;

    FEED_EACH_CUT(cut, cases[i].in_len)
    {
        check_case(i, false, cut);
        check_case(i, true, cut);
    }
}
END_TEST

START_TEST(test_nul)
{
    FEED_EACH_CUT(cut, 200)
    {
        static uint8_t text[300];
        struct smtp_dot dot;
        struct feed f;
        struct buf body;

        memset(text, 'x', sizeof(text));
        text[cut.at] = 0;
        memcpy(text + sizeof(text) - 5, "\r\n.\r\n", 5);
        buf_init(&body, 0);
        smtp_dot_init(&dot, false);
        feed_init(&f, slice_of(text, sizeof(text)), cut);
        ck_assert(decode(&dot, &f, &body));
        ck_assert_uint_eq(dot.facts, SMTP_DOT_NUL);
        ck_assert_uint_eq(buf_len(&body), sizeof(text) - 3);
        buf_finish(&body);
    }
}
END_TEST

static void encode(struct slice data, struct feed_cut cut, struct buf *out)
{
    struct smtp_dot_encoder e;
    struct feed f;

    smtp_dot_encoder_init(&e);
    feed_init(&f, data, cut);
    while (feed_more(&f))
        while (f.pending.len > 0)
            ck_assert(buf_append_slice(out, smtp_dot_encode(&e, &f.pending)));
    ck_assert(buf_append_slice(out, smtp_dot_encode_end(&e)));
}

static const struct {
    const char *data, *wire;
} encodings[] = {
    {"", ".\r\n"},
    {"a\r\n", "a\r\n.\r\n"},
    {"a", "a\r\n.\r\n"},
    {".", "..\r\n.\r\n"},
    {".\r\n.\r\n", "..\r\n..\r\n.\r\n"},
    {"..a\r\n\r\n.b\r\n", "...a\r\n\r\n..b\r\n.\r\n"},
    {"a\r", "a\r\r\n.\r\n"},
    {"a\n.b\r\n", "a\n.b\r\n.\r\n"},
    {LINE70 LINE70 "." LINE70 LINE70 ".", LINE70 LINE70 ".." LINE70 LINE70 "..\r\n.\r\n"},
};

START_TEST(test_encode)
{
    struct slice data = slice_str(encodings[_i].data);

    FEED_EACH_CUT(cut, data.len)
    {
        struct buf out;

        buf_init(&out, 0);
        encode(data, cut, &out);
        ck_assert_msg(slice_equal(buf_slice(&out), slice_str(encodings[_i].wire)), "%.*s",
                      SLICE_ARG(buf_slice(&out)));
        buf_finish(&out);
    }
}
END_TEST

/* A body without a line that starts with a dot is sent as it lies. */
START_TEST(test_encode_whole)
{
    struct slice in = L(LINE70 LINE70 "a.b\r\n"), before = in;
    struct smtp_dot_encoder e;
    struct slice out;

    smtp_dot_encoder_init(&e);
    out = smtp_dot_encode(&e, &in);
    ck_assert(out.data == before.data && out.len == before.len && in.len == 0);
}
END_TEST

/* Encoded and decoded again it is what it was, whatever it was and wherever it is cut. */
START_TEST(test_identity)
{
    struct rand r;

    rand_seed(&r, (uint64_t)_i);
    for (int round = 0; round < 50; round++) {
        static const char few[] = "\r\n..\r\nab\xff";
        uint8_t data[400];
        size_t len = rand_below(&r, sizeof(data));
        struct feed_cut cut = {(unsigned)rand_below(&r, 3), rand_below(&r, 400)};
        struct buf wire, back;
        struct smtp_dot dot;
        struct feed f;

        for (size_t i = 0; i < len; i++)
            data[i] = rand_chance(&r, 1, 30) || rand_chance(&r, (unsigned)_i % 3, 2)
                          ? (uint8_t)few[rand_below(&r, sizeof(few) - 1)]
                          : 'x';
        if (len >= 2)
            memcpy(data + len - 2, "\r\n", 2);
        else
            len = 0;
        buf_init(&wire, 0);
        buf_init(&back, 0);
        encode(slice_of(data, len), cut, &wire);
        smtp_dot_init(&dot, false);
        feed_init(&f, buf_slice(&wire), cut);
        ck_assert(decode(&dot, &f, &back));
        ck_assert(slice_equal(buf_slice(&back), slice_of(data, len)));
        ck_assert_uint_eq(f.given, f.input.len);
        buf_finish(&wire);
        buf_finish(&back);
    }
}
END_TEST

Suite *smtp_dot_suite(void)
{
    Suite *s = suite_create("smtp_dot");
    TCase *t = tcase_create("dot");

    tcase_add_loop_test(t, test_decode, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(t, test_nul);
    tcase_add_loop_test(t, test_encode, 0, sizeof(encodings) / sizeof(encodings[0]));
    tcase_add_test(t, test_encode_whole);
    tcase_add_loop_test(t, test_identity, 0, 60);
    suite_add_tcase(s, t);
    return s;
}
