/* Users: what they submit is mended, their senders and limits are looked at. The login itself is set here as
 * auth would; the dialog with AUTH in it is for the end-to-end tests. */
#include "server_priv.h"
#include "server_world.h"

Suite *server_submission_suite(void);

static struct server_world w;

#define CONF(more)                                                                              \
    "hostname = \"mx.example\" spool = \"/spool\" spool_segment = \"1M\"\n"                     \
    "auth { dovecot = \"/nonexistent\" plaintext = yes }\n"                                     \
    "domain \"one.example\" { to = \"discard\" subaddress = \"+\" }\n"                          \
    "route \"*\" { to = \"discard\" }\n"                                                        \
    "listener \"in\" { address = {\"10.0.0.1:25\"} role = submission message_size = 100000 }\n" \
    "limits { " more " }\n"

#define ANN "ann@one.example"

static void open_world(const char *conf)
{
    server_world_open(&w, NULL, "", 0);
    server_world_reload(&w, conf);
}

static void begin(struct client *c, unsigned host)
{
    *c = (struct client){0};
    client_open(&w, c, host);
    client_send(c, "EHLO c\r\n");
    server_world_run_ms(&w, 50);
    buf_clear(&c->got);
}

/* Whoever is there and has not, logs in. */
static void log_in(const char *user, const char *senders)
{
    LIST_EACH(&w.server->sessions, node)
    {
        struct session *s = container_of(node, struct session, node);
        const struct smtp_reply *refusal;

        if (s->client.user != NULL || s->state == SESSION_CLOSING)
            continue;
        s->smtp.authenticated = true;
        refusal = session_user_enter(s, slice_str(user), slice_str(senders));
        if (refusal != NULL)
            smtp_server_close(&s->smtp, refusal, net_conn_out(&s->conn));
        session_step(s);
    }
    server_world_run_ms(&w, 20);
}

static const char *talk(struct client *c, const char *text)
{
    buf_clear(&c->got);
    client_send(c, text);
    server_world_run_ms(&w, 50);
    return client_got(c);
}

static void done(struct client *c)
{
    client_finish(&w, c);
    server_world_close(&w);
}

static size_t count(const char *text, const char *word)
{
    size_t n = 0;

    for (; (text = strstr(text, word)) != NULL; text++)
        n++;
    return n;
}

#define MAIL         "MAIL FROM:<" ANN ">\r\n"
#define ENVELOPE_ANN MAIL "RCPT TO:<x@far.example>\r\nDATA\r\n"
#define OK_MAIL      "250 2.1.0 Ok\r\n"
#define OK_RCPT      "250 2.1.5 Ok\r\n"
#define OK_DATA      "354 End data with <CRLF>.<CRLF>\r\n"
#define OK_RSET      "250 2.0.0 Ok\r\n"
#define NOT_OWN      "553 5.7.1 Sender address rejected: it does not belong to the user logged in\r\n"

START_TEST(login_first)
{
    struct client c;

    open_world(CONF(""));
    begin(&c, 0);
    ck_assert_ptr_nonnull(strstr(talk(&c, MAIL), "530 5.7.0 "));
    ck_assert_ptr_nonnull(strstr(talk(&c, "MAIL FROM:<>\r\n"), "530 5.7.0 "));
    log_in(ANN, "");
    ck_assert_str_eq(talk(&c, MAIL "RCPT TO:<x@far.example>\r\n"), OK_MAIL OK_RCPT);
    done(&c);
}
END_TEST

START_TEST(own_senders)
{
    struct client c;

    open_world(CONF(""));
    begin(&c, 0);
    log_in(ANN, "@two.example");
    ck_assert_str_eq(talk(&c, "MAIL FROM:<bob@one.example>\r\n"), NOT_OWN);
    ck_assert_str_eq(talk(&c, "MAIL FROM:<Ann+x@one.example>\r\nRSET\r\n"), OK_MAIL OK_RSET);
    ck_assert_str_eq(talk(&c, "MAIL FROM:<any@two.example>\r\nRSET\r\n"), OK_MAIL OK_RSET);
    ck_assert_uint_eq(server_world_counters(&w).refused_senders, 1);
    /* A receipt goes to one. */
    ck_assert_str_eq(
        talk(&c, "MAIL FROM:<>\r\nRCPT TO:<a@far.example>\r\nRCPT TO:<b@far.example>\r\n"
                 "DATA\r\nDate: x\r\n\r\n.\r\n"),
        OK_MAIL OK_RCPT "452 4.5.3 One recipient only with the null sender\r\n" OK_DATA ACCEPTED);
    done(&c);
}
END_TEST

/* All that was sent is there, once, with what was missing, and without Bcc; in whole and octet by octet. */
START_TEST(the_header_is_mended)
{
    static const char message[] =
        "From: " ANN "\r\nBcc: secret@far.example,\r\n more@far.example\r\n"
        "Subject: hi\r\n\r\nBcc: this is text\r\n..dot\r\n.\r\n";
    struct client c;
    const char *mail;

    open_world(CONF(""));
    begin(&c, 0);
    log_in(ANN, "");
    ck_assert_str_eq(talk(&c, ENVELOPE_ANN), OK_MAIL OK_RCPT OK_DATA);
    ck_assert_str_eq(talk(&c, message), ACCEPTED);
    ck_assert_str_eq(talk(&c, ENVELOPE_ANN), OK_MAIL OK_RCPT OK_DATA);
    for (const char *p = message; *p != '\0'; p++) {
        client_send_bytes(&c, p, 1);
        server_world_run_ms(&w, 5);
    }
    server_world_run_ms(&w, 100);
    ck_assert_uint_eq(w.delivered, 2);
    ck_assert(buf_append_byte(&w.mail, '\0'));
    mail = (const char *)buf_slice(&w.mail).data;
    ck_assert_msg(count(mail, "From: " ANN "\r\nSubject: hi\r\nDate: ") == 2, "%s", mail);
    ck_assert_msg(count(mail, "@mx.example>\r\n\r\nBcc: this is text\r\n.dot\r\n") == 2, "%s",
                  mail);
    ck_assert_uint_eq(count(mail, "Date: "), 2);
    ck_assert_uint_eq(count(mail, "Message-ID: <"), 2);
    ck_assert_ptr_null(strstr(mail, "secret"));
    ck_assert_ptr_null(strstr(mail, "more"));
    ck_assert_uint_eq(server_world_counters(&w).bytes_in, 2 * (sizeof(message) - 1 - 1 - 3));
    done(&c);
}
END_TEST

/* Without a header, without an empty line, without anything. */
START_TEST(odd_messages)
{
    static const struct {
        const char *text;
        const char *start, *end;
    } cases[] = {
        {"Hello\r\n.\r\n", "Date: ", ">\r\n\r\nHello\r\n}"},
        {"To: a\r\n.\r\n", "To: a\r\nDate: ", ">\r\n}"},
        {".\r\n", "Date: ", ">\r\n}"},
        {"\r\n.\r\n", "Date: ", ">\r\n\r\n}"},
        {"Bcc: a\r\n.\r\n", "Date: ", ">\r\n}"},
        {"Date: a\r\nMessage-ID: b\r\nBcc: c\r\n.\r\n", "Date: a\r\nMessage-ID: b\r\n}", ""},
    };
    struct client c;

    open_world(CONF(""));
    begin(&c, 0);
    log_in(ANN, "");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *mail, *start;

        buf_clear(&w.mail);
        ck_assert_str_eq(talk(&c, ENVELOPE_ANN), OK_MAIL OK_RCPT OK_DATA);
        ck_assert_str_eq(talk(&c, cases[i].text), ACCEPTED);
        server_world_run_ms(&w, 50);
        ck_assert(buf_append_byte(&w.mail, '\0'));
        mail = (const char *)buf_slice(&w.mail).data;
        start = strrchr(mail, '|');
        ck_assert_ptr_nonnull(start);
        ck_assert_msg(strncmp(start + 1, cases[i].start, strlen(cases[i].start)) == 0, "%zu: %s", i,
                      mail);
        ck_assert_msg(strstr(mail, cases[i].end) != NULL, "%zu: %s", i, mail);
    }
    done(&c);
}
END_TEST

/* What was not taken in the end does not count, and parallel sessions count together. */
START_TEST(rates)
{
    struct client a, b;

    open_world(CONF("user_messages_per_hour = 2 user_recipients_per_hour = 5"));
    begin(&a, 0);
    begin(&b, 1);
    log_in(ANN, "");
    for (int i = 0; i < 5; i++)
        ck_assert_str_eq(talk(&a, MAIL "RSET\r\n"), OK_MAIL OK_RSET);
    ck_assert_str_eq(talk(&a, ENVELOPE_ANN), OK_MAIL OK_RCPT OK_DATA);
    ck_assert_str_eq(talk(&b, MAIL), OK_MAIL);
    ck_assert_str_eq(talk(&a, "x\r\n.\r\n"), ACCEPTED);
    /* b's is counted while it is under way. */
    ck_assert_ptr_nonnull(
        strstr(talk(&a, MAIL), "450 4.7.1 You may send 2 messages an hour; try again in "));
    ck_assert_str_eq(talk(&b, "RSET\r\n"), OK_RSET);
    ck_assert_str_eq(talk(&a, MAIL "RCPT TO:<1@x.example>\r\nRCPT TO:<2@x.example>\r\n"),
                     OK_MAIL OK_RCPT OK_RCPT);
    ck_assert_str_eq(talk(&a, "RCPT TO:<3@x.example>\r\nRCPT TO:<4@x.example>\r\n"),
                     OK_RCPT OK_RCPT);
    ck_assert_ptr_nonnull(strstr(talk(&a, "RCPT TO:<5@x.example>\r\n"),
                                 "450 4.7.1 You may send to 5 recipients an hour; try again in "));
    /* A session that ends gives back, too. */
    client_finish(&w, &a);
    server_world_run_ms(&w, 100);
    ck_assert_str_eq(talk(&b, MAIL "RCPT TO:<1@x.example>\r\nRSET\r\n"), OK_MAIL OK_RCPT OK_RSET);
    ck_assert_uint_eq(server_world_counters(&w).refused_user_limits, 2);
    /* Another user is another. */
    begin(&a, 0);
    log_in("bob@one.example", "");
    ck_assert_str_eq(talk(&a, "MAIL FROM:<bob@one.example>\r\n"), OK_MAIL);
    client_finish(&w, &a);
    done(&b);
}
END_TEST

START_TEST(sizes)
{
    struct client c;

    open_world(CONF("user_message_size = 2K"));
    begin(&c, 0);
    log_in(ANN, "");
#define TOO_LARGE "552 5.3.4 The message is larger than you may send\r\n"
    ck_assert_str_eq(talk(&c, "MAIL FROM:<" ANN "> SIZE=2049\r\n"), TOO_LARGE);
    ck_assert_str_eq(talk(&c, "MAIL FROM:<" ANN "> SIZE=2048\r\nRSET\r\n"), OK_MAIL OK_RSET);
    ck_assert_str_eq(talk(&c, ENVELOPE_ANN), OK_MAIL OK_RCPT OK_DATA);
    for (int i = 0; i < 40; i++)
        client_send(&c,
                    "0123456789012345678901234567890123456789012345678901234567890123456789\r\n");
    ck_assert_str_eq(talk(&c, ".\r\n"), TOO_LARGE);
    ck_assert_str_eq(talk(&c, ENVELOPE_ANN), OK_MAIL OK_RCPT OK_DATA);
    ck_assert_str_eq(talk(&c, "x\r\n.\r\n"), ACCEPTED);
    ck_assert_uint_eq(server_world_counters(&w).refused_user_limits, 2);
    done(&c);
}
END_TEST

START_TEST(sessions)
{
    struct client a, b, c;

    open_world(CONF("user_connections = 2"));
    begin(&a, 0);
    begin(&b, 1);
    log_in(ANN, "");
    begin(&c, 2);
    log_in(ANN, "");
    ck_assert_str_eq(client_got(&c),
                     "421 4.7.0 You have too many sessions open, close some and try again\r\n");
    client_finish(&w, &c);
    client_finish(&w, &a);
    server_world_run_ms(&w, 100);
    begin(&c, 2);
    log_in(ANN, "");
    ck_assert_str_eq(talk(&c, MAIL), OK_MAIL);
    client_finish(&w, &b);
    done(&c);
}
END_TEST

Suite *server_submission_suite(void)
{
    Suite *s = suite_create("server_submission");
    TCase *tc = tcase_create("submission");

    tcase_add_test(tc, login_first);
    tcase_add_test(tc, own_senders);
    tcase_add_test(tc, the_header_is_mended);
    tcase_add_test(tc, odd_messages);
    tcase_add_test(tc, rates);
    tcase_add_test(tc, sizes);
    tcase_add_test(tc, sessions);
    suite_add_tcase(s, tc);
    return s;
}
