/* test_mail_trace: the fields as they come out, also from peers who try to write their own. */
#include <check.h>

#include "mail_trace.h"

static const struct {
    const char *helo, *ip, *name, *protocol, *tls, *rcpt;
    const char *field;
} cases[] = {
    {"c.example", "192.0.2.1", "", "ESMTP", "", "a@b.example",
     "Received: from c.example ([192.0.2.1])\r\n"
     "\tby mx.example with ESMTP id 0000000000001 for <a@b.example>;\r\n"
     "\tSat, 21 Nov 2026 22:19:50 +0000\r\n"},
    {"c.example", "2001:db8::1", "host.c.example", "ESMTPS", "TLSv1.3, X25519", "",
     "Received: from c.example (host.c.example [IPv6:2001:db8::1])\r\n"
     "\tby mx.example with ESMTPS (TLSv1.3, X25519) id 0000000000001;\r\n"
     "\tSat, 21 Nov 2026 22:19:50 +0000\r\n"},
    {"a-host-with-a-rather-long-name.somewhere.example", "2001:db8:1111:2222:3333:4444:5555:6666",
     "another-long-name.example", "ESMTP", "", "somebody-with-a-long-name@a-long-domain.example",
     "Received: from a-host-with-a-rather-long-name.somewhere.example\r\n"
     "\t(another-long-name.example [IPv6:2001:db8:1111:2222:3333:4444:5555:6666])\r\n"
     "\tby mx.example with ESMTP id 0000000000001\r\n"
     "\tfor <somebody-with-a-long-name@a-long-domain.example>;\r\n"
     "\tSat, 21 Nov 2026 22:19:50 +0000\r\n"},
    {"evil)\r\nX: y; (", "192.0.2.1", "n(a)\nme", "ESMTP", "x) (\r\ny", "\"a\r\nb c\"@d",
     "Received: from evil???X:?y??? (n?a??me [192.0.2.1])\r\n"
     "\tby mx.example with ESMTP (x? ???y) id 0000000000001 for <\"a??b c\"@d>;\r\n"
     "\tSat, 21 Nov 2026 22:19:50 +0000\r\n"},
};

START_TEST(test_received)
{
    struct mail_received r = {
        .helo = slice_str(cases[_i].helo),
        .client_name = slice_str(cases[_i].name),
        .hostname = SLICE_LITERAL("mx.example"),
        .protocol = slice_str(cases[_i].protocol),
        .tls = slice_str(cases[_i].tls),
        .id = SLICE_LITERAL("0000000000001"),
        .rcpt = slice_str(cases[_i].rcpt),
        .unix_seconds = 1795299590,
    };
    struct buf out;

    buf_init(&out, 0);
    ck_assert(ip_parse(slice_str(cases[_i].ip), &r.ip));
    ck_assert(mail_trace_received(&r, &out));
    ck_assert_msg(slice_equal(buf_slice(&out), slice_str(cases[_i].field)), "%.*s",
                  SLICE_ARG(buf_slice(&out)));
    buf_finish(&out);
    buf_init(&out, 50);
    ck_assert(!mail_trace_received(&r, &out));
    buf_finish(&out);
}
END_TEST

/* Nothing of the client is left. */
START_TEST(test_masked)
{
    struct mail_received r = {
        .masked = true,
        .helo = SLICE_LITERAL("laptop.home.example"),
        .client_name = SLICE_LITERAL("dsl-1.isp.example"),
        .hostname = SLICE_LITERAL("mx.example"),
        .protocol = SLICE_LITERAL("ESMTPSA"),
        .id = SLICE_LITERAL("0000000000001"),
        .unix_seconds = 1795299590,
    };
    struct buf out;

    ck_assert(ip_parse(slice_str("192.0.2.1"), &r.ip));
    buf_init(&out, 0);
    ck_assert(mail_trace_received(&r, &out));
    ck_assert(
        slice_equal(buf_slice(&out),
                    slice_str("Received: from client.invalid (authenticated, address withheld)\r\n"
                              "\tby mx.example with ESMTPSA id 0000000000001;\r\n"
                              "\tSat, 21 Nov 2026 22:19:50 +0000\r\n")));
    buf_finish(&out);
}
END_TEST

START_TEST(test_return_path)
{
    struct buf out;

    buf_init(&out, 0);
    ck_assert(mail_trace_return_path(SLICE_LITERAL("a@b"), &out));
    ck_assert(mail_trace_return_path(SLICE_NULL, &out));
    ck_assert(mail_trace_return_path(SLICE_LITERAL("a\r\nX: y"), &out));
    ck_assert(slice_equal(buf_slice(&out), slice_str("Return-Path: <a@b>\r\nReturn-Path: <>\r\n"
                                                     "Return-Path: <a??X: y>\r\n")));
    buf_finish(&out);
}
END_TEST

Suite *mail_trace_suite(void)
{
    Suite *s = suite_create("mail_trace");
    TCase *t = tcase_create("trace");

    tcase_add_loop_test(t, test_received, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(t, test_masked);
    tcase_add_test(t, test_return_path);
    suite_add_tcase(s, t);
    return s;
}
