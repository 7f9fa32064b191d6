/* test_mail_dsn: whole notifications, and what must hold of each. */
#include <check.h>
#include <stdlib.h>

#include "mail_dsn.h"

static const struct mail_dsn_rcpt two[] = {
    {.address = {(const uint8_t *)"a@b.example", 11},
     .action = MAIL_DSN_FAILED,
     .enhanced = {5, 1, 1},
     .remote_mta = {(const uint8_t *)"mx.b.example", 12},
     .diagnostic = {(const uint8_t *)"550 5.1.1 No such\nuser", 22},
     .last_attempt = 1795299590},
    {.address = {(const uint8_t *)"c@d.example", 11},
     .action = MAIL_DSN_DELAYED,
     .diagnostic = {(const uint8_t *)"no route", 8},
     .retry_until = 1795299590},
};

static struct mail_dsn example(void)
{
    return (struct mail_dsn){.hostname = SLICE_LITERAL("mx.example"),
                             .id = SLICE_LITERAL("ID2"),
                             .sender = SLICE_LITERAL("s@x.example"),
                             .about_id = SLICE_LITERAL("ID1"),
                             .date = 1795299590,
                             .arrival = 1795299590,
                             .headers = SLICE_LITERAL("From: s\r\nSubject: t\r\n\r\nbody\r\n"),
                             .rcpts = two,
                             .rcpt_count = 2};
}

#define DATE "Sat, 21 Nov 2026 22:19:50 +0000\r\n"
static const char whole[] =
    "Date: " DATE "From: Mail Delivery System <MAILER-DAEMON@mx.example>\r\n"
    "To: <s@x.example>\r\n"
    "Subject: Undelivered mail returned to sender\r\n"
    "Message-ID: <ID2.1795299590@mx.example>\r\n"
    "Auto-Submitted: auto-replied\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
    "\tboundary=\"=_mailring_ID2\"\r\n"
    "\r\n"
    "--=_mailring_ID2\r\n"
    "Content-Type: text/plain; charset=us-ascii\r\n"
    "\r\n"
    "This is the mail system at mx.example.\r\n"
    "\r\n"
    "Your message could not be delivered to the recipients below.\r\n"
    "No more attempts will be made.\r\n"
    "\r\n"
    "<a@b.example>\r\n"
    "\tmx.b.example said: 550 5.1.1 No such user\r\n"
    "\r\n"
    "Your message has not reached the recipients below yet. It is still\r\n"
    "being retried: you need not send it again.\r\n"
    "\r\n"
    "<c@d.example>\r\n"
    "\tno route\r\n"
    "\tAttempts go on until " DATE "\r\n"
    "--=_mailring_ID2\r\n"
    "Content-Type: message/delivery-status\r\n"
    "\r\n"
    "Reporting-MTA: dns; mx.example\r\n"
    "X-Mailring-ID: ID1\r\n"
    "Arrival-Date: " DATE "\r\n"
    "Final-Recipient: rfc822; a@b.example\r\n"
    "Action: failed\r\n"
    "Status: 5.1.1\r\n"
    "Remote-MTA: dns; mx.b.example\r\n"
    "Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n"
    "Last-Attempt-Date: " DATE "\r\n"
    "Final-Recipient: rfc822; c@d.example\r\n"
    "Action: delayed\r\n"
    "Status: 4.0.0\r\n"
    "Diagnostic-Code: x-mailring; no route\r\n"
    "Will-Retry-Until: " DATE "\r\n"
    "--=_mailring_ID2\r\n"
    "Content-Type: text/rfc822-headers\r\n"
    "\r\n"
    "From: s\r\n"
    "Subject: t\r\n"
    "\r\n"
    "--=_mailring_ID2--\r\n";

START_TEST(test_whole)
{
    struct mail_dsn d = example();
    struct buf out;

    buf_init(&out, 0);
    ck_assert(mail_dsn_compose(&d, &out));
    ck_assert(!mail_dsn_is_8bit(&d));
    ck_assert_msg(slice_equal(buf_slice(&out), slice_str(whole)), "%.*s",
                  SLICE_ARG(buf_slice(&out)));
    buf_finish(&out);
}
END_TEST

START_TEST(test_full)
{
    struct mail_dsn d = example();

    for (size_t limit = 1; limit < sizeof(whole) - 1; limit += 17) {
        struct buf out;

        buf_init(&out, limit);
        ck_assert(!mail_dsn_compose(&d, &out));
        buf_finish(&out);
    }
}
END_TEST

/* CRLF alone, no NUL, no line over 998 octets, whatever peers said. */
static bool are_lines(struct slice text, bool *eight_bit)
{
    size_t line = 0;

    *eight_bit = false;
    for (size_t i = 0; i < text.len; i++, line++) {
        uint8_t c = text.data[i], next = i + 1 < text.len ? text.data[i + 1] : 0;

        *eight_bit |= c >= 0x80;
        if (c == 0 || c == '\n' || line > 998 || (c == '\r' && next != '\n'))
            return false;
        if (c == '\r') {
            i++;
            line = (size_t)-1;
        }
    }
    return true;
}

START_TEST(test_hostile)
{
    static uint8_t text[5000];
    struct mail_dsn_rcpt rcpt = {.action = MAIL_DSN_FAILED};
    struct mail_dsn d = example();
    unsigned seed = (unsigned)_i;

    d.rcpts = &rcpt;
    d.rcpt_count = 1;
    for (int round = 0; round < 40; round++) {
        struct buf out;
        bool eight_bit;

        for (size_t i = 0; i < sizeof(text); i++)
            text[i] =
                _i % 2 ? (uint8_t)(rand_r(&seed) % 256) : (uint8_t) "\r\n \0a"[rand_r(&seed) % 5];
        if (_i % 3 == 0)
            memset(text + 100, 'x', 3000);
        rcpt.diagnostic = slice_of(text, 4000);
        rcpt.address = rcpt.remote_mta = d.sender = slice_of(text + 10, 200);
        d.headers = slice_of(text + 50, 4950);
        d.hostname = slice_of(text + 500, 100);
        buf_init(&out, 0);
        ck_assert(mail_dsn_compose(&d, &out));
        ck_assert(are_lines(buf_slice(&out), &eight_bit));
        ck_assert(!eight_bit || mail_dsn_is_8bit(&d));
        buf_finish(&out);
    }
}
END_TEST

/* Long header sections are cut at a line. */
START_TEST(test_cut)
{
    static uint8_t headers[MAIL_DSN_HEADERS_MAX + 100];
    struct mail_dsn d = example();
    struct buf out;
    static const char end[] = "X: 0123456789abc\r\n\r\n--=_mailring_ID2--\r\n";

    for (size_t i = 0; i + 18 <= sizeof(headers); i += 18)
        memcpy(headers + i, "X: 0123456789abc\r\n", 18);
    d.headers = slice_of(headers, sizeof(headers));
    buf_init(&out, 0);
    ck_assert(mail_dsn_compose(&d, &out));
    ck_assert_uint_lt(buf_len(&out), MAIL_DSN_HEADERS_MAX + 2000);
    ck_assert(memcmp(buf_slice(&out).data + buf_len(&out) - sizeof(end) + 1, end, sizeof(end) - 1)
              == 0);
    buf_finish(&out);
}
END_TEST

Suite *mail_dsn_suite(void)
{
    Suite *s = suite_create("mail_dsn");
    TCase *t = tcase_create("dsn");

    tcase_add_test(t, test_whole);
    tcase_add_test(t, test_full);
    tcase_add_loop_test(t, test_hostile, 0, 6);
    tcase_add_test(t, test_cut);
    suite_add_tcase(s, t);
    return s;
}
