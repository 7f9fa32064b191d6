/* test_mail_header: what is found, and where the section ends, in every cut. */
#include <check.h>

#include "mail_header.h"

#define LONG998 "X: " X100 X100 X100 X100 X100 X100 X100 X100 X100 X50 X10 X10 X10 X10 "xxxxx"
#define X10     "xxxxxxxxxx"
#define X50     X10 X10 X10 X10 X10
#define X100    X50 X50

static const struct {
    const char *what;
    const char *message;
    size_t size; /* of the section */
    uint32_t received;
    uint32_t facts;
} cases[] = {
    {"nothing", "", 0, 0, 0},
    {"no header", "\r\nbody\r\n", 2, 0, 0},
    {"the usual",
     "From: a\r\nDate: b\r\nMessage-ID: <c@d>\r\nSender: e\r\nTo: f\r\nSubject: g\r\n\r\nFrom: x\r\n",
     69, 0,
     MAIL_HEADER_FROM | MAIL_HEADER_DATE | MAIL_HEADER_MESSAGE_ID | MAIL_HEADER_SENDER
         | MAIL_HEADER_TO | MAIL_HEADER_SUBJECT},
    {"case and blanks", "fROM \t: a\r\n\r\n", 13, 0, MAIL_HEADER_FROM},
    {"names that only begin so", "Fromage: a\r\nX-From: b\r\nTop: c\r\nFro: d\r\n\r\n", 41, 0, 0},
    {"a long name", "Received" X10 ": a\r\nAuto-Submitted-By: b\r\nAuto-Submittedxxxx: c\r\n\r\n",
     70, 0, 0},
    {"Received", "Received: a\r\n\tb\r\nRECEIVED: c\r\nReceived : d\r\n\r\nReceived: e\r\n", 46, 3,
     0},
    {"folded lines are no fields", "X: a\r\n From: b\r\n\tDate: c\r\n \r\nTo: d\r\n\r\n", 38, 0,
     MAIL_HEADER_TO},
    {"twice", "From: a\r\nFrom: b\r\n\r\n", 20, 0, MAIL_HEADER_FROM | MAIL_HEADER_DUPLICATE},
    {"Auto-Submitted: no", "Auto-Submitted: no\r\n\r\n", 22, 0, 0},
    {"Auto-Submitted: NO; x", "Auto-Submitted: NO; x=y\r\n\r\n", 27, 0, 0},
    {"Auto-Submitted: none", "Auto-Submitted: none\r\n\r\n", 24, 0, MAIL_HEADER_AUTO_SUBMITTED},
    {"auto-replied", "auto-submitted:auto-replied (x)\r\n\r\n", 35, 0, MAIL_HEADER_AUTO_SUBMITTED},
    {"Auto-Submitted without a word", "Auto-Submitted: \r\n\r\n", 20, 0, 0},
    {"TLS-Required: No", "TLS-Required: No\r\n\r\n", 20, 0, MAIL_HEADER_TLS_OPTIONAL},
    {"tls-required:no", "tls-required:no (really)\r\n\r\n", 28, 0, MAIL_HEADER_TLS_OPTIONAL},
    {"TLS-Required: Yes", "TLS-Required: Yes\r\n\r\n", 21, 0, 0},
    {"TLS-Required: Nope", "TLS-Required: Nope\r\nX: No\r\n\r\n", 29, 0, 0},
    {"TLS-Required without a word", "TLS-Required:\r\n\r\n", 17, 0, 0},
    {"both have words",
     "TLS-Required: No\r\nAuto-Submitted: no\r\nAuto-Submitted: auto-replied\r\n\r\n", 70, 0,
     MAIL_HEADER_TLS_OPTIONAL | MAIL_HEADER_AUTO_SUBMITTED},
    {"no empty line", "From: a\r\nTo: b\r\n", 16, 0, MAIL_HEADER_FROM | MAIL_HEADER_TO},
    {"cut within a line", "From: a\r\nTo: b", 14, 0, MAIL_HEADER_FROM | MAIL_HEADER_TO},
    {"cut within a name", "From: a\r\nReceived", 9, 0, MAIL_HEADER_FROM | MAIL_HEADER_NO_FIELD},
    {"a line that is no field", "From: a\r\nHello there\r\nTo: b\r\n\r\n", 9, 0,
     MAIL_HEADER_FROM | MAIL_HEADER_NO_FIELD},
    {"a line without a colon", "From: a\r\nHello\r\nTo: b\r\n\r\n", 9, 0,
     MAIL_HEADER_FROM | MAIL_HEADER_NO_FIELD},
    {"an mbox line in front", "From a@b Sat Nov 21\r\nTo: b\r\n\r\n", 0, 0, MAIL_HEADER_NO_FIELD},
    {"folded first line", " x\r\nTo: b\r\n\r\n", 0, 0, MAIL_HEADER_NO_FIELD},
    {"8-bit in a name", "m\xc3\xbc: a\r\n\r\n", 0, 0, MAIL_HEADER_NO_FIELD},
    {"bare LF ends lines too", "From: a\nTo: b\n\nReceived: c\n", 15, 0,
     MAIL_HEADER_FROM | MAIL_HEADER_TO},
    {"998 octets", LONG998 "\r\n\r\n", 1002, 0, 0},
    {"999 octets", LONG998 "x\r\n\r\n", 1003, 0, MAIL_HEADER_LONG_LINE},
};

static void check_cut(int i, size_t first, size_t step)
{
    struct slice rest = slice_str(cases[i].message);
    struct mail_header h;
    bool done = false;

    mail_header_init(&h);
    for (size_t n = first; rest.len > 0; n = step) {
        struct slice piece = slice_head(rest, n);

        done = mail_header_scan(&h, piece);
        slice_advance(&rest, piece.len);
    }
    ck_assert(done == h.done);
    mail_header_finish(&h);
    ck_assert(h.done);
    ck_assert_msg(h.size == cases[i].size, "%s: size %zu", cases[i].what, (size_t)h.size);
    ck_assert_msg(h.received == cases[i].received, "%s: received %u", cases[i].what, h.received);
    ck_assert_msg(h.facts == cases[i].facts, "%s: facts %x", cases[i].what, h.facts);
}

START_TEST(test_scan)
{
    size_t len = strlen(cases[_i].message);

    check_cut(_i, 1, 1);
    for (size_t first = 1; first <= len; first++)
        check_cut(_i, first, len);
}
END_TEST

Suite *mail_header_suite(void)
{
    Suite *s = suite_create("mail_header");
    TCase *t = tcase_create("scan");

    tcase_add_loop_test(t, test_scan, 0, sizeof(cases) / sizeof(cases[0]));
    suite_add_tcase(s, t);
    return s;
}
