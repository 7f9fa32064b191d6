/* Whole dialogs: what the client sent, what it was told, what was queued. Each is given whole, an octet at a
 * time, and cut in two at every place: the result is the same. */
#include <stdio.h>

#include "server_world.h"

Suite *server_dialog_suite(void);

static struct server_world w;

static void setup(void)
{
    server_world_open(&w, NULL, "limits { recipients = 3 hops = 5 }", 0);
}

#define R "Received: from a by b; Thu, 1 Jan 2026 00:00:00 +0000\r\n"

static const struct {
    const char *sent;
    const char *got; /* after the greeting */
    const char *mail;
    const char *what;
} dialogs[] = {
    {"EHLO c\r\n" ENVELOPE "Subject: x\r\n\r\nhi\r\n.\r\nQUIT\r\n",
     EHLO_REPLY ENVELOPE_REPLY ACCEPTED "221 2.0.0 Bye\r\n",
     "{a@client.example|b@one.example|Subject: x\r\n\r\nhi\r\n}", "a message"},
    {"HELO c\r\n" ENVELOPE "x\r\n.\r\n" ENVELOPE "y\r\n.\r\nQUIT\r\n",
     "250 mx.example\r\n" ENVELOPE_REPLY ACCEPTED ENVELOPE_REPLY ACCEPTED "221 2.0.0 Bye\r\n",
     "{a@client.example|b@one.example|x\r\n}{a@client.example|b@one.example|y\r\n}",
     "two in one batch, the second behind the first's commit"},
    {"HELO c\r\n" ENVELOPE "..a\r\n.b\r\n\xc3\xa4\r\n..\r\n.\r\nQUIT\r\n",
     "250 mx.example\r\n" ENVELOPE_REPLY ACCEPTED "221 2.0.0 Bye\r\n",
     "{a@client.example|b@one.example|.a\r\nb\r\n\xc3\xa4\r\n.\r\n}", "dots and 8 bits"},
    {"HELO c\r\n" ENVELOPE ".\r\nQUIT\r\n",
     "250 mx.example\r\n" ENVELOPE_REPLY ACCEPTED "221 2.0.0 Bye\r\n",
     "{a@client.example|b@one.example|}", "an empty message"},
    {"HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n",
     "250 mx.example\r\n" ENVELOPE_REPLY ACCEPTED "221 2.0.0 Bye\r\n",
     "{|postmaster@one.example|x\r\n}", "a notification for postmaster"},
    {"HELO c\r\n" ENVELOPE R R R R R R "\r\nx\r\n.\r\nNOOP\r\nQUIT\r\n",
     "250 mx.example\r\n" ENVELOPE_REPLY "554 5.4.6 Too many hops: a mail loop\r\n"
     "250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n",
     "", "a loop"},
    {"HELO c\r\n" ENVELOPE R R R R R "\r\n" R "\r\n.\r\nQUIT\r\n",
     "250 mx.example\r\n" ENVELOPE_REPLY ACCEPTED "221 2.0.0 Bye\r\n",
     "{a@client.example|b@one.example|" R R R R R "\r\n" R "\r\n}",
     "no loop: the sixth is in the body"},
    {"HELO c\r\n" ENVELOPE "a\nb\r\n.\r\nQUIT\r\n",
     "250 mx.example\r\n" ENVELOPE_REPLY
     "550 5.6.0 Bare CR or LF in the message: lines end with CRLF only\r\n221 2.0.0 Bye\r\n",
     "", "a bare LF"},
    {"HELO c\r\nMAIL FROM:<a@b.example> SIZE=100001\r\nMAIL FROM:<a@b.example>\r\n"
     "RCPT TO:<x@foreign.example>\r\nRCPT TO:<x@shut.example>\r\nDATA\r\nQUIT\r\n",
     "250 mx.example\r\n555 5.5.4 Parameter not known\r\n250 2.1.0 Ok\r\n"
     "550 5.7.1 Relaying denied: not a domain of ours\r\n550 5.7.1 moved away\r\n"
     "554 5.5.1 No valid recipients\r\n221 2.0.0 Bye\r\n",
     "", "refused recipients"},
    {"EHLO c\r\nMAIL FROM:<a@b.example> SIZE=100001\r\nQUIT\r\n",
     EHLO_REPLY "552 5.3.4 Message too big\r\n221 2.0.0 Bye\r\n", "", "declared too big"},
    {"HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<1@one.example>\r\nRCPT TO:<2@one.example>\r\n"
     "RCPT TO:<3@one.example>\r\nRCPT TO:<4@one.example>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n",
     "250 mx.example\r\n250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n"
     "452 4.5.3 Too many recipients\r\n354 End data with <CRLF>.<CRLF>\r\n" ACCEPTED
     "221 2.0.0 Bye\r\n",
     "{a@b.example|1@one.example 2@one.example 3@one.example|x\r\n}", "recipients limit"},
    {"HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<b@one.example>\r\nRSET\r\nDATA\r\n" ENVELOPE
     "x\r\n.\r\nHELO again\r\nRCPT TO:<b@one.example>\r\nQUIT\r\n",
     "250 mx.example\r\n250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.0.0 Ok\r\n503 5.5.1 RCPT "
     "first\r\n" ENVELOPE_REPLY ACCEPTED "250 mx.example\r\n503 5.5.1 MAIL first\r\n"
     "221 2.0.0 Bye\r\n",
     "{a@client.example|b@one.example|x\r\n}", "reset"},
};

static void begin(struct client *c)
{
    buf_clear(&w.mail);
    client_open(&w, c, 0);
    server_world_run_ms(&w, 20);
}

static void end(struct client *c, size_t n)
{
    char got[4096];

    server_world_run_ms(&w, 100);
    (void)snprintf(got, sizeof(got), "%s%s", GREETING, dialogs[n].got);
    ck_assert_msg(strcmp(client_got(c), got) == 0, "%s: got\n%sinstead of\n%s", dialogs[n].what,
                  client_got(c), got);
    (void)buf_append_byte(&w.mail, '\0');
    ck_assert_str_eq((const char *)buf_slice(&w.mail).data, dialogs[n].mail);
    ck_assert(c->closed);
    buf_finish(&c->got);
}

START_TEST(at_once)
{
    for (size_t n = 0; n < ARRAY_LEN(dialogs); n++) {
        struct client c = {0};

        begin(&c);
        client_send(&c, dialogs[n].sent);
        end(&c, n);
    }
    server_world_close(&w);
}
END_TEST

START_TEST(octet_by_octet)
{
    for (size_t n = 0; n < ARRAY_LEN(dialogs); n++) {
        struct client c = {0};

        begin(&c);
        for (const char *p = dialogs[n].sent; *p != '\0'; p++) {
            client_send_bytes(&c, p, 1);
            server_world_run_ms(&w, 3);
        }
        end(&c, n);
    }
    server_world_close(&w);
}
END_TEST

START_TEST(cut_in_two)
{
    for (size_t n = 0; n < ARRAY_LEN(dialogs); n++) {
        size_t len = strlen(dialogs[n].sent);
        for (size_t cut = 1; cut < len; cut++) {
            struct client c = {0};

            begin(&c);
            client_send_bytes(&c, dialogs[n].sent, cut);
            server_world_run_ms(&w, 20);
            client_send_bytes(&c, dialogs[n].sent + cut, len - cut);
            end(&c, n);
        }
    }
    server_world_close(&w);
}
END_TEST

/* What a listener hides is neither announced nor taken. */
START_TEST(hidden_extensions)
{
    struct client c = {0};

    server_world_reload(&w,
                        "hostname = \"mx.example\" spool = \"/spool\" spool_segment = \"1M\"\n"
                        "domain \"one.example\" { to = \"discard\" }\n"
                        "listener \"in\" { address = {\"10.0.0.1:25\"} role = mx\n"
                        "                hide = {\"SIZE\", \"DSN\", \"ENHANCEDSTATUSCODES\"} }\n");
    begin(&c);
    client_send(&c, "EHLO c\r\nMAIL FROM:<a@b.example> SIZE=100\r\n"
                    "MAIL FROM:<a@b.example> RET=HDRS\r\nQUIT\r\n");
    server_world_run_ms(&w, 100);
    ck_assert_str_eq(client_got(&c),
                     GREETING "250-mx.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
                              "555 Parameter not known\r\n555 Parameter not known\r\n"
                              "221 Bye\r\n");
    buf_finish(&c.got);
    server_world_close(&w);
}
END_TEST

/* Hundreds of messages in one go, over a link that holds little, in buffers that hold less. */
START_TEST(pipelined_without_end)
{
    struct sim_options options = sim_options_default();
    struct client c = {0};
    int count = 300;

    options.recv_buffer_len = 700;
    options.recv_buffers = 2;
    options.link_buffer_len = 3000;
    options.recv_split = 3000;
    server_world_close(&w);
    server_world_open(&w, &options, "", 0);
    begin(&c);
    client_send(&c, "HELO c\r\n");
    for (int i = 0; i < count; i++)
        client_send(&c, ENVELOPE "Subject: x\r\n\r\nx\r\n.\r\n");
    client_send(&c, "QUIT\r\n");
    for (int i = 0; i < 3000 && !c.closed; i++)
        server_world_run_ms(&w, 100);
    ck_assert(c.closed);
    ck_assert_uint_eq(w.delivered, count);
    ck_assert_uint_eq(server_world_counters(&w).accepted, count);
    ck_assert_ptr_nonnull(strstr(client_got(&c), ACCEPTED "221 2.0.0 Bye\r\n"));
    buf_finish(&c.got);
    server_world_close(&w);
}
END_TEST

/* It sends everything and hangs up: what was whole is taken, and nobody minds. */
START_TEST(commands_then_the_end)
{
    struct client c = {0};

    begin(&c);
    client_send(&c, "HELO c\r\n" ENVELOPE "x\r\n.\r\n" ENVELOPE "half of a mess");
    client_close(&w, &c);
    server_world_run_ms(&w, 1000);
    ck_assert_uint_eq(w.delivered, 1);
    ck_assert_uint_eq(server_world_counters(&w).sessions, 0);
    buf_finish(&c.got);
    server_world_close(&w);
}
END_TEST

/* It says that it will send no more and waits for its answers, as a script would: it gets all of them. */
START_TEST(commands_then_half_a_close)
{
    for (size_t n = 0; n < ARRAY_LEN(dialogs); n++) {
        struct client c = {0};

        begin(&c);
        client_send(&c, dialogs[n].sent);
        while (net_conn_sending(&c.conn))
            server_world_pass_any(&w);
        client_end(&c);
        end(&c, n);
    }
    server_world_close(&w);
}
END_TEST

Suite *server_dialog_suite(void)
{
    Suite *s = suite_create("server_dialog");
    TCase *tc = tcase_create("dialogs");

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, at_once);
    tcase_add_test(tc, octet_by_octet);
    tcase_add_test(tc, cut_in_two);
    tcase_add_test(tc, hidden_extensions);
    tcase_add_test(tc, pipelined_without_end);
    tcase_add_test(tc, commands_then_the_end);
    tcase_add_test(tc, commands_then_half_a_close);
    suite_add_tcase(s, tc);
    return s;
}
