/*
 * TLS of sessions: what is said before and after, what is forgotten in between, and how a handshake that
 * does not come to its end ends.
 */
#include <errno.h>

#include "server_world.h"

Suite *server_tls_suite(void);

static struct server_world w;

#define EHLO_CLEAR                                                            \
    "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 100000\r\n250-8BITMIME\r\n" \
    "250-ENHANCEDSTATUSCODES\r\n250-STARTTLS\r\n250 DSN\r\n"
#define EHLO_SECURE                                                           \
    "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 100000\r\n250-8BITMIME\r\n" \
    "250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250 REQUIRETLS\r\n"
#define GO_AHEAD "220 2.0.0 Ready to start TLS\r\n"

static void begin(struct client *c)
{
    *c = (struct client){0};
    client_open(&w, c, 0);
    server_world_run_ms(&w, 50);
}

/* Says it, and checks the answer. */
static void dialog(struct client *c, const char *text, const char *answer)
{
    buf_clear(&c->got);
    client_send(c, text);
    server_world_run_ms(&w, 50);
    ck_assert_str_eq(client_got(c), answer);
}

static void go_secure(struct client *c)
{
    dialog(c, "STARTTLS\r\n", GO_AHEAD);
    client_start_tls(c);
    server_world_run_ms(&w, 50);
    ck_assert_int_eq(c->conn.tls_state, NET_CONN_TLS_ACTIVE);
}

START_TEST(mail_over_starttls)
{
    struct client c;

    server_world_open_tls(&w, "opportunistic");
    begin(&c);
    ck_assert_str_eq(client_got(&c), GREETING);
    dialog(&c, "EHLO c\r\n", EHLO_CLEAR);
    go_secure(&c);
    dialog(&c, "EHLO c\r\n", EHLO_SECURE);
    dialog(&c, ENVELOPE, ENVELOPE_REPLY);
    dialog(&c, "Subject: x\r\n\r\nx\r\n.\r\n", ACCEPTED);
    dialog(&c, "STARTTLS\r\n", "503 5.5.1 TLS is active already\r\n");
    dialog(&c, "QUIT\r\n", "221 2.0.0 Bye\r\n");
    server_world_run_ms(&w, 100);
    ck_assert(c.closed);
    ck_assert_uint_eq(server_world_counters(&w).tls_sessions, 1);
    ck_assert_uint_eq(server_world_counters(&w).accepted, 1);
    ck_assert_uint_eq(w.delivered, 1);
    buf_finish(&c.got);
    server_world_close(&w);
}
END_TEST

/* RFC 3207 4.2 */
START_TEST(what_was_said_in_the_clear_is_forgotten)
{
    struct client c;

    server_world_open_tls(&w, "opportunistic");
    begin(&c);
    dialog(&c, "EHLO c\r\n", EHLO_CLEAR);
    go_secure(&c);
    dialog(&c, "MAIL FROM:<a@b.example>\r\n", "503 5.5.1 EHLO or HELO first\r\n");
    client_finish(&w, &c);
    server_world_close(&w);
}
END_TEST

START_TEST(plaintext_behind_starttls_ends_the_session)
{
    struct client c;

    server_world_open_tls(&w, "opportunistic");
    begin(&c);
    dialog(&c, "EHLO c\r\n", EHLO_CLEAR);
    dialog(&c, "STARTTLS\r\nMAIL FROM:<evil@b.example>\r\n",
           "554 5.5.1 Nothing may follow STARTTLS before TLS does\r\n");
    server_world_run_ms(&w, 100);
    ck_assert(c.closed);
    ck_assert_uint_eq(server_world_counters(&w).tls_failed, 1);
    buf_finish(&c.got);
    server_world_close(&w);
}
END_TEST

START_TEST(no_mail_before_tls_where_it_is_required)
{
    struct client c;

    server_world_open_tls(&w, "required");
    begin(&c);
    dialog(&c, "EHLO c\r\n", EHLO_CLEAR);
    dialog(&c, "MAIL FROM:<a@b.example>\r\n", "530 5.7.0 Must issue a STARTTLS command first\r\n");
    go_secure(&c);
    dialog(&c, "EHLO c\r\n", EHLO_SECURE);
    dialog(&c, ENVELOPE, ENVELOPE_REPLY);
    client_finish(&w, &c);
    server_world_close(&w);
}
END_TEST

START_TEST(tls_from_the_first_byte)
{
    struct client c;

    server_world_open_tls(&w, "implicit");
    begin(&c);
    ck_assert_str_eq(client_got(&c), ""); /* not a word in the clear */
    client_start_tls(&c);
    server_world_run_ms(&w, 50);
    ck_assert_str_eq(client_got(&c), GREETING);
    dialog(&c, "EHLO c\r\n", EHLO_SECURE);
    client_finish(&w, &c);
    server_world_close(&w);
}
END_TEST

START_TEST(one_who_speaks_no_tls_is_not_heard)
{
    struct client c;

    server_world_open_tls(&w, _i == 0 ? "implicit" : "opportunistic");
    begin(&c);
    if (_i == 1) {
        dialog(&c, "EHLO c\r\n", EHLO_CLEAR);
        dialog(&c, "STARTTLS\r\n", GO_AHEAD);
    }
    buf_clear(&c.got);
    client_send(&c, "EHLO c\r\nMAIL FROM:<a@b.example>\r\n");
    server_world_run_ms(&w, 100);
    ck_assert_ptr_null(memmem(buf_slice(&c.got).data, buf_len(&c.got), "250", 3));
    ck_assert(c.closed);
    ck_assert_uint_eq(server_world_counters(&w).tls_failed, 1);
    ck_assert_uint_eq(server_world_run_idle(&w, 6000) > 6000, 0);
    buf_finish(&c.got);
    server_world_close(&w);
}
END_TEST

START_TEST(silence_in_the_handshake_is_not_waited_out)
{
    struct client c;

    server_world_open_tls(&w, _i == 0 ? "implicit" : "opportunistic");
    begin(&c);
    if (_i == 1) {
        dialog(&c, "EHLO c\r\n", EHLO_CLEAR);
        dialog(&c, "STARTTLS\r\n", GO_AHEAD);
    }
    server_world_run_ms(&w, 50 * 1000);
    ck_assert_uint_eq(server_world_counters(&w).sessions, 1);
    server_world_run_ms(&w, 15 * 1000);
    ck_assert_uint_eq(server_world_counters(&w).sessions, 0);
    ck_assert(c.closed);
    buf_finish(&c.got);
    server_world_close(&w);
}
END_TEST

/* A stop does not wait for a handshake, and world_close() sees that all is given back. */
START_TEST(a_stop_in_the_handshake)
{
    struct client c;

    server_world_open_tls(&w, "implicit");
    begin(&c);
    server_stop(w.server, io_now_ms(w.io) + 10000);
    server_world_run_ms(&w, 500);
    ck_assert_uint_eq(server_world_counters(&w).sessions, 0);
    ck_assert(c.closed);
    buf_finish(&c.got);
    server_world_close(&w);
}
END_TEST

static void raw_sent(struct io_op *op)
{
    (void)op;
}

/* Somebody on the way has altered something: none of it is heard, and the client is told. */
START_TEST(a_record_that_does_not_hold)
{
    struct io_op raw = {.done = raw_sent};
    struct client c;

    server_world_open_tls(&w, "opportunistic");
    begin(&c);
    dialog(&c, "EHLO c\r\n", EHLO_CLEAR);
    go_secure(&c);
    dialog(&c, "EHLO c\r\n", EHLO_SECURE);
    buf_clear(&c.got);
    io_send(c.conn.io, &raw, c.conn.fd, SLICE_LITERAL("NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\n"), 0);
    server_world_run_ms(&w, 100);
    ck_assert_str_eq(client_got(&c), "");
    ck_assert(c.closed);
    ck_assert_uint_eq(server_world_counters(&w).sessions, 0);
    buf_finish(&c.got);
    server_world_close(&w);
}
END_TEST

Suite *server_tls_suite(void)
{
    Suite *s = suite_create("server_tls");
    TCase *tc = tcase_create("tls");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, mail_over_starttls);
    tcase_add_test(tc, what_was_said_in_the_clear_is_forgotten);
    tcase_add_test(tc, plaintext_behind_starttls_ends_the_session);
    tcase_add_test(tc, no_mail_before_tls_where_it_is_required);
    tcase_add_test(tc, tls_from_the_first_byte);
    tcase_add_loop_test(tc, one_who_speaks_no_tls_is_not_heard, 0, 2);
    tcase_add_loop_test(tc, silence_in_the_handshake_is_not_waited_out, 0, 2);
    tcase_add_test(tc, a_stop_in_the_handshake);
    tcase_add_test(tc, a_record_that_does_not_hold);
    suite_add_tcase(s, tc);
    return s;
}
