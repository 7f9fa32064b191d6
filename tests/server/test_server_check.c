/* Recipients that the next hop is asked about while the client waits: what it is told, and what happens when it, or we,
 * go meanwhile. */
#include <stdio.h>

#include "server_world.h"

Suite *server_check_suite(void);

static struct server_world w;

#define CONF                                                                \
    "domain \"inner.example\" { to = \"smtp://10.0.0.9\" callout = yes }\n" \
    "verify { callout { timeout = 5s defer_unknown = no } }\n"              \
    "limits { timeout { command = 2s } }"
#define MAIL       "MAIL FROM:<a@client.example>\r\n"
#define RCPT(name) "RCPT TO:<" name "@inner.example>\r\n"

static void setup(void)
{
    server_world_open_asking(&w, CONF);
}

static void begin(struct client *c)
{
    *c = (struct client){0};
    client_open(&w, c, 0);
    client_send(c, "HELO c\r\n" MAIL);
    server_world_run_ms(&w, 50);
    buf_clear(&c->got);
}

/* Says it, and sees the answers that come without help. */
static void dialog(struct client *c, const char *text, const char *got)
{
    buf_clear(&c->got);
    if (text[0] != '\0')
        client_send(c, text);
    server_world_run_ms(&w, 50);
    ck_assert_str_eq(client_got(c), got);
}

START_TEST(answers)
{
    struct client c;

    begin(&c);
    dialog(&c, RCPT("ann"), "");
    ck_assert_uint_eq(w.ask_count, 1);
    ck_assert(slice_equal(w.asks[0]->recipient, slice_str("ann@inner.example")));
    server_world_answer(&w, 0, VERIFY_ANSWER_YES, "");
    dialog(&c, "", "250 2.1.5 Ok\r\n");
    ck_assert_uint_eq(w.ask_count, 2); /* the probe */
    dialog(&c, RCPT("eve"), "");
    server_world_answer(&w, 2, VERIFY_ANSWER_NO, "who?\r\n250 Ok");
    dialog(&c, "", "550 5.1.1 No such recipient: the host behind us says: 550 who?? 250 Ok\r\n");
    dialog(&c, RCPT("eve"),
           "550 5.1.1 No such recipient: the host behind us says: 550 who?? 250 Ok\r\n");
    dialog(&c, RCPT("bob"), "");
    server_world_answer(&w, 3, VERIFY_ANSWER_NONE, "");
    dialog(&c, "", "250 2.1.5 Ok\r\n"); /* defer_unknown = no */
    dialog(&c, "DATA\r\nx\r\n.\r\nQUIT\r\n",
           "354 End data with <CRLF>.<CRLF>\r\n" ACCEPTED "221 2.0.0 Bye\r\n");
    (void)buf_append_byte(&w.mail, '\0');
    ck_assert_str_eq((const char *)buf_slice(&w.mail).data,
                     "{a@client.example|ann@inner.example bob@inner.example|x\r\n}");
    ck_assert_uint_eq(server_world_counters(&w).refused_recipients, 2);
    buf_finish(&c.got);
    server_world_close(&w);
}
END_TEST

/* What comes behind the question waits, octet by octet or at once, and then has its turn in order. */
START_TEST(pipelined)
{
    static const char rest[] = RCPT("ann") RCPT("ann") "RCPT TO:<b@one.example>\r\nDATA\r\n"
                                                       "x\r\n.\r\nQUIT\r\n";
    static const char got[] = "250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n354 End data with "
                              "<CRLF>.<CRLF>\r\n" ACCEPTED "221 2.0.0 Bye\r\n";

    for (size_t cut = 0; cut < sizeof(rest); cut += cut < 40 ? 1 : 17) {
        struct client c;

        buf_clear(&w.mail);
        begin(&c);
        client_send_bytes(&c, rest, cut);
        server_world_run_ms(&w, 20);
        client_send_bytes(&c, rest + cut, sizeof(rest) - 1 - cut);
        server_world_run_ms(&w, 20);
        ck_assert_str_eq(client_got(&c), "");
        server_world_answer(&w, w.ask_count - 1, VERIFY_ANSWER_NONE, "");
        server_world_run_ms(&w, 100);
        ck_assert_str_eq(client_got(&c), got);
        ck_assert(c.closed);
        (void)buf_append_byte(&w.mail, '\0');
        ck_assert_str_eq((const char *)buf_slice(&w.mail).data,
                         "{a@client.example|ann@inner.example b@one.example|x\r\n}");
        buf_finish(&c.got);
        server_world_run_ms(&w, 61 * 1000); /* it is asked again */
    }
    server_world_close(&w);
}
END_TEST

/* A next hop that is slow costs the client nothing: its own timeouts are for its own silence. */
START_TEST(patience)
{
    struct client c;

    begin(&c);
    dialog(&c, RCPT("ann"), "");
    server_world_run_ms(&w, 4000); /* twice the timeout for commands */
    ck_assert_str_eq(client_got(&c), "");
    server_world_run_ms(&w, 1100);
    ck_assert_str_eq(client_got(&c), "250 2.1.5 Ok\r\n");
    server_world_run_ms(&w, 1500);
    ck_assert(!c.closed);
    server_world_run_ms(&w, 1000);
    ck_assert(c.closed);
    ck_assert_str_eq(client_got(&c),
                     "250 2.1.5 Ok\r\n421 4.4.2 Timeout: you were silent for too long\r\n");
    buf_finish(&c.got);
    server_world_close(&w);
}
END_TEST

START_TEST(client_gone)
{
    struct client c;

    begin(&c);
    dialog(&c, RCPT("ann"), "");
    client_finish(&w, &c);
    server_world_run_ms(&w, 100);
    server_world_answer(&w, 0, VERIFY_ANSWER_YES, "");
    server_world_run_idle(&w, 10 * 1000);
    server_world_close(&w);
}
END_TEST

/* Its answer comes when nobody is there any more, and when somebody else is. */
START_TEST(stopping)
{
    struct client c;

    begin(&c);
    dialog(&c, RCPT("ann"), "");
    verify_stop(w.verify);
    server_world_run_ms(&w, 50);
    ck_assert_str_eq(client_got(&c),
                     "450 4.7.1 Too many recipients to be verified, try again later\r\n");
    client_finish(&w, &c);
    server_world_close(&w);
}
END_TEST

START_TEST(cut_off)
{
    struct client c;

    begin(&c);
    dialog(&c, RCPT("ann"), "");
    server_stop(w.server, io_now_ms(w.io) + 500);
    server_world_run_ms(&w, 1000);
    ck_assert_str_eq(client_got(&c), "421 4.3.2 The server is shutting down, try again later\r\n");
    ck_assert(c.closed);
    buf_finish(&c.got);
    server_world_close(&w);
}
END_TEST

START_TEST(reset_and_again)
{
    struct client c;

    begin(&c);
    dialog(&c, RCPT("ann") "RSET\r\n" MAIL RCPT("bob"), "");
    server_world_answer(&w, 0, VERIFY_ANSWER_NO, "no");
    dialog(&c, "",
           "550 5.1.1 No such recipient: the host behind us says: 550 no\r\n250 2.0.0 Ok\r\n"
           "250 2.1.0 Ok\r\n");
    server_world_answer(&w, 1, VERIFY_ANSWER_LATER, "");
    dialog(&c, "DATA\r\ny\r\n.\r\n",
           "250 2.1.5 Ok\r\n354 End data with <CRLF>.<CRLF>\r\n" ACCEPTED);
    client_finish(&w, &c);
    server_world_close(&w);
}
END_TEST

START_TEST(defers)
{
    struct client c;

    server_world_close(&w);
    server_world_open_asking(&w,
                             "domain \"inner.example\" { to = \"smtp://10.0.0.9\" callout = yes }");
    begin(&c);
    dialog(&c, RCPT("ann"), "");
    server_world_answer(&w, 0, VERIFY_ANSWER_NONE, "");
    dialog(&c, "RCPT TO:<b@one.example>\r\n",
           "450 4.1.1 The recipient cannot be verified now, try again later\r\n250 2.1.5 Ok\r\n");
    client_finish(&w, &c);
    server_world_close(&w);
}
END_TEST

Suite *server_check_suite(void)
{
    Suite *s = suite_create("server_check");
    TCase *tc = tcase_create("call-outs");

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, answers);
    tcase_add_test(tc, pipelined);
    tcase_add_test(tc, patience);
    tcase_add_test(tc, client_gone);
    tcase_add_test(tc, stopping);
    tcase_add_test(tc, cut_off);
    tcase_add_test(tc, reset_and_again);
    tcase_add_test(tc, defers);
    suite_add_tcase(s, tc);
    return s;
}
