/* test_mail_submission: what leaves of a message, in every cut. */
#include <check.h>

#include "base_assert.h"
#include "mail_submission.h"

#define DATE  "Date: Sat, 21 Nov 2026 22:19:50 +0000\r\n"
#define ID    "Message-ID: <ID@mx.example>\r\n"
#define BOTH  "Date: then\r\nMessage-ID: <own@a.example>\r\n"
#define X10   "xxxxxxxxxx"
#define X100  X10 X10 X10 X10 X10 X10 X10 X10 X10 X10
#define X900  X100 X100 X100 X100 X100 X100 X100 X100 X100
#define X990  X900 X10 X10 X10 X10 X10 X10 X10 X10 X10
#define X2970 X990 X990 X990

static const struct {
    const char *what;
    const char *in;
    const char *out;
    unsigned removed;
} cases[] = {
    {"all is there", "From: a\r\n" BOTH "\r\nbody\r\n", "From: a\r\n" BOTH "\r\nbody\r\n", 0},
    {"nothing is there", "From: a\r\n\r\nbody\r\n", "From: a\r\n" DATE ID "\r\nbody\r\n", 0},
    {"no Date", "Message-id:<x@y>\r\nTo: b\r\n\r\n", "Message-id:<x@y>\r\nTo: b\r\n" DATE "\r\n",
     0},
    {"no Message-ID", "DATE : x\r\nTo: b\r\n\r\n", "DATE : x\r\nTo: b\r\n" ID "\r\n", 0},
    {"names that only begin so",
     "Dated: x\r\nX-Date: y\r\nMessage-ID2: z\r\nBccx: w\r\nBc: v\r\n\r\n",
     "Dated: x\r\nX-Date: y\r\nMessage-ID2: z\r\nBccx: w\r\nBc: v\r\n" DATE ID "\r\n", 0},
    {"in folded lines they do not count", "To: a\r\n Date: b\r\n\tMessage-ID: c\r\n\r\n",
     "To: a\r\n Date: b\r\n\tMessage-ID: c\r\n" DATE ID "\r\n", 0},
    {"in the body neither", "To: a\r\n\r\n" BOTH, "To: a\r\n" DATE ID "\r\n" BOTH, 0},
    {"empty ones are there", "Date:\r\nMessage-ID:\r\n\r\n", "Date:\r\nMessage-ID:\r\n\r\n", 0},
    {"twice is left alone", BOTH BOTH "\r\n", BOTH BOTH "\r\n", 0},

    {"Bcc", BOTH "Bcc: x@y\r\nTo: b\r\n\r\nbody\r\n", BOTH "To: b\r\n\r\nbody\r\n", 1},
    {"Bcc first", "bCC:x@y\r\n" BOTH "\r\n", BOTH "\r\n", 1},
    {"Bcc last", BOTH "Bcc: x@y\r\n\r\n", BOTH "\r\n", 1},
    {"Bcc alone", "Bcc: x@y\r\n\r\nbody\r\n", DATE ID "\r\nbody\r\n", 1},
    {"Bcc folded", BOTH "Bcc: x@y,\r\n z@w,\r\n\tv@u\r\n \r\n t@s\r\nTo: b\r\n\r\n",
     BOTH "To: b\r\n\r\n", 1},
    {"Bcc with blanks", BOTH "Bcc \t : x@y\r\nTo: b\r\n\r\n", BOTH "To: b\r\n\r\n", 1},
    {"Bcc twice", "Bcc: x\r\n" BOTH "BCC: y\r\n z\r\nBcc: w\r\n\r\n", BOTH "\r\n", 3},
    {"Bcc empty", BOTH "Bcc:\r\n\r\n", BOTH "\r\n", 1},
    {"Resent-Bcc", BOTH "Resent-Bcc: x\r\nResent-To: y\r\n\r\n", BOTH "Resent-To: y\r\n\r\n", 1},
    {"a long Bcc", BOTH "Bcc: " X2970 "\r\n " X990 "\r\nTo: b\r\n\r\n", BOTH "To: b\r\n\r\n", 1},
    {"Bcc in a folded line", BOTH "To: a\r\n Bcc: b\r\n\r\n", BOTH "To: a\r\n Bcc: b\r\n\r\n", 0},
    {"Bcc in the body", BOTH "\r\nBcc: b\r\n", BOTH "\r\nBcc: b\r\n", 0},
    {"Bcc in what is attached",
     BOTH
     "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
     "Bcc: x\r\nTo: y\r\n\r\nz\r\n--b--\r\n",
     BOTH
     "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
     "Bcc: x\r\nTo: y\r\n\r\nz\r\n--b--\r\n",
     0},
    {"Bcc that is no field", BOTH "Bcc is not for you\r\n", BOTH "Bcc is not for you\r\n", 0},

    {"an empty message", "", DATE ID, 0},
    {"an empty header", "\r\nbody\r\n", DATE ID "\r\nbody\r\n", 0},
    {"no header", "Hello there\r\nBcc: x\r\n", DATE ID "\r\nHello there\r\nBcc: x\r\n", 0},
    {"no header, one word", "Hello\r\n", DATE ID "\r\nHello\r\n", 0},
    {"no header, a blank first", " Hello: x\r\n", DATE ID "\r\n Hello: x\r\n", 0},
    {"no header, 8-bit", "h\xc3\xa9llo: x\r\n", DATE ID "\r\nh\xc3\xa9llo: x\r\n", 0},
    {"no header, a colon first", ": x\r\n", DATE ID "\r\n: x\r\n", 0},
    {"an mbox line", "From a@b Sat\r\nTo: x\r\n\r\n", DATE ID "\r\nFrom a@b Sat\r\nTo: x\r\n\r\n",
     0},
    {"no empty line, all there", BOTH "Hello\r\nyou\r\n", BOTH "Hello\r\nyou\r\n", 0},
    {"no empty line", "To: b\r\nHello\r\nyou\r\n", "To: b\r\n" DATE ID "\r\nHello\r\nyou\r\n", 0},
    {"no body", "To: b\r\n", "To: b\r\n" DATE ID, 0},
    {"no body, all there", BOTH, BOTH, 0},
    {"cut in a value", "To: b", "To: b\r\n" DATE ID, 0},
    {"cut in a value, all there", BOTH "To: b", BOTH "To: b", 0},
    {"cut in a Bcc", BOTH "Bcc: b", BOTH, 1},
    {"cut in a name", "To: b\r\nBc", "To: b\r\n" DATE ID "\r\nBc", 0},
    {"cut in an empty line", BOTH "\r", BOTH "\r", 0},
    {"a CR alone", BOTH "\rTo: b\r\n", BOTH "\rTo: b\r\n", 0},
    {"bare LFs", "To: b\nBcc: c\n d\nCc: e\n\nbody\n", "To: b\nCc: e\n" DATE ID "\nbody\n", 1},
    {"a name of 998 octets", BOTH X990 "1234567: x\r\n\r\n", BOTH X990 "1234567: x\r\n\r\n", 0},
    {"a longer one is no name", "To: b\r\n" X990 "123456789: x\r\nBcc: c\r\n\r\n",
     "To: b\r\n" DATE ID "\r\n" X990 "123456789: x\r\nBcc: c\r\n\r\n", 0},
    {"a long line", "Subject: " X2970 "\r\n" BOTH "\r\n", "Subject: " X2970 "\r\n" BOTH "\r\n", 0},
    {"a long line in the body", BOTH "\r\n" X2970, BOTH "\r\n" X2970, 0},
};

static void feed(struct mail_submission *f, struct slice bytes, struct buf *out)
{
    (void)mail_submission_take(f, &bytes, out);
    ck_assert(f->done || bytes.len == 0);
    (void)buf_append_slice(out, bytes); /* the body */
}

/* The first piece has `first` octets, others `step`. */
static void check_cut(int i, size_t first, size_t step)
{
    struct slice rest = slice_str(cases[i].in);
    struct mail_submission f;
    struct buf out;

    memset(&f, 0xa5, sizeof(f));
    buf_init(&out, 0);
    mail_submission_init(&f, 1795299590, SLICE_LITERAL("ID@mx.example"));
    for (size_t len = first; rest.len > 0; len = step) {
        struct slice piece = slice_head(rest, len);
        feed(&f, piece, &out);
        slice_advance(&rest, piece.len);
    }
    mail_submission_finish(&f, &out);
    mail_submission_finish(&f, &out);
    ck_assert(f.done);
    ck_assert_msg(slice_equal(buf_slice(&out), slice_str(cases[i].out)), "%s (%zu, %zu):\n%.*s",
                  cases[i].what, first, step, SLICE_ARG(slice_head(buf_slice(&out), 2000)));
    ck_assert_uint_eq(f.removed, cases[i].removed);
    buf_finish(&out);
}

START_TEST(every_cut)
{
    size_t len = strlen(cases[_i].in);

    check_cut(_i, SIZE_MAX, 1);
    check_cut(_i, 1, 1);
    check_cut(_i, 2, 7);
    for (size_t first = 0; first <= len; first++)
        check_cut(_i, first, len > 0 ? len : 1);
}
END_TEST

/* What is no header is never touched: random text from few letters, of which all kinds of fields are made,
 * loses its Bcc fields, gets what was missing, and nothing else. A second pass changes nothing. */
START_TEST(twice_is_once)
{
    static const char *const pieces[] = {"Bcc", "Date", "Message-ID", "To",      ":",
                                         " ",   "\t",   "\r\n",       "\r",      "\n",
                                         "x",   "\xc3", ": a\r\n",    "\r\n\r\n"};
    uint64_t seed = 12345;

    for (int round = 0; round < 20000; round++) {
        struct mail_submission f;
        struct buf text, once, twice;

        buf_init(&text, 0);
        buf_init(&once, 0);
        buf_init(&twice, 0);
        for (int i = 0; i < 12; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            (void)buf_append_str(&text, pieces[(seed >> 33) % ARRAY_LEN(pieces)]);
        }
        mail_submission_init(&f, 1795299590, SLICE_LITERAL("ID@mx.example"));
        feed(&f, buf_slice(&text), &once);
        mail_submission_finish(&f, &once);
        mail_submission_init(&f, 1, SLICE_LITERAL("another@mx.example"));
        feed(&f, buf_slice(&once), &twice);
        mail_submission_finish(&f, &twice);
        ck_assert_uint_eq(f.removed, 0);
        ck_assert_msg(slice_equal(buf_slice(&once), buf_slice(&twice)), "%.*s\n->\n%.*s\n->\n%.*s",
                      SLICE_ARG(buf_slice(&text)), SLICE_ARG(buf_slice(&once)),
                      SLICE_ARG(buf_slice(&twice)));
        buf_finish(&text);
        buf_finish(&once);
        buf_finish(&twice);
    }
}
END_TEST

Suite *mail_submission_suite(void);
Suite *mail_submission_suite(void)
{
    Suite *s = suite_create("mail_submission");
    TCase *t = tcase_create("submission");

    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, every_cut, 0, ARRAY_LEN(cases));
    tcase_add_test(t, twice_is_once);
    suite_add_tcase(s, t);
    return s;
}
