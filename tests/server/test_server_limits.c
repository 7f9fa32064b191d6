/* Limits: connections, sizes, room in the spool, syncs that fail. Each has its answer, and ends. */
#include <stdlib.h>

#include "server_world.h"

Suite *server_limits_suite(void);

static struct server_world w;

#define LINE    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define NO_ROOM "452 4.3.1 Insufficient system storage, try again later\r\n"

static void expect_end(const struct client *c, const char *end)
{
    const char *got = client_got(c);
    size_t len = strlen(got), end_len = strlen(end);

    ck_assert_msg(len >= end_len && strcmp(got + len - end_len, end) == 0, "got\n%s", got);
}

static void message(struct client *c, size_t size, const char *reply)
{
    char *body = malloc(size + 1);

    ck_assert_ptr_nonnull(body);
    memset(body, 'x', size);
    for (size_t i = 77; i + 1 < size; i += 79)
        memcpy(body + i, "\r\n", 2);
    buf_clear(&c->got);
    client_send(c, ENVELOPE);
    client_send_bytes(c, body, size);
    client_send(c, "\r\n.\r\n");
    for (int i = 0; i < 100 && strstr(client_got(c), reply) == NULL; i++)
        server_world_run_ms(&w, 100);
    expect_end(c, reply);
    free(body);
}

static void begin(struct client *c, unsigned host)
{
    *c = (struct client){0};
    client_open(&w, c, host);
    client_send(c, "EHLO c\r\n");
    server_world_run_ms(&w, 50);
}

START_TEST(connections_in_all_and_a_client)
{
    struct client clients[5];
    struct server_counters counters;

    server_world_open(&w, NULL, "limits { connections = 4 connections_per_client = 2 }", 0);
    begin(&clients[0], 0);
    begin(&clients[1], 0);
    begin(&clients[2], 0);
    ck_assert_str_eq(client_got(&clients[2]),
                     "421 4.7.0 Too many connections from your address\r\n");
    client_finish(&w, &clients[2]);
    begin(&clients[2], 1);
    begin(&clients[3], 1);
    begin(&clients[4], 2);
    ck_assert_str_eq(client_got(&clients[4]),
                     "421 4.3.2 Too many connections, try again later\r\n");
    client_finish(&w, &clients[4]);
    counters = server_world_counters(&w);
    ck_assert_uint_eq(counters.sessions, 4);
    ck_assert_uint_eq(counters.sessions_total, 6);
    ck_assert_uint_eq(counters.sessions_refused, 2);
    client_finish(&w, &clients[0]);
    server_world_run_ms(&w, 50);
    begin(&clients[0], 0); /* room again */
    expect_end(&clients[0], EHLO_REPLY);
    for (int i = 0; i < 4; i++)
        client_finish(&w, &clients[i]);
    server_world_run_ms(&w, 50);
    ck_assert_uint_eq(server_world_counters(&w).sessions, 0);
    server_world_close(&w);
}
END_TEST

START_TEST(messages_a_connection)
{
    struct client c;

    server_world_open(&w, NULL, "limits { messages_per_connection = 2 }", 0);
    begin(&c, 0);
    client_send(&c, ENVELOPE "x\r\n.\r\n" ENVELOPE "x\r\n.\r\n" ENVELOPE "x\r\n.\r\n");
    server_world_run_ms(&w, 200);
    expect_end(&c, ACCEPTED "421 4.7.0 Enough messages on this connection\r\n");
    ck_assert_uint_eq(w.delivered, 2);
    client_finish(&w, &c);
    server_world_close(&w);
}
END_TEST

START_TEST(size)
{
    struct client c;

    server_world_open(&w, NULL, "", 0);
    begin(&c, 0);
    message(&c, 99998, ACCEPTED);
    message(&c, 99999, "552 5.3.4 Message too big\r\n");
    message(&c, 200000, "552 5.3.4 Message too big\r\n");
    message(&c, 10, ACCEPTED);
    ck_assert_uint_eq(server_world_counters(&w).refused_messages, 2);
    ck_assert_uint_eq(server_world_counters(&w).accepted, 2);
    ck_assert_uint_eq(server_world_counters(&w).bytes_in, 100000 + 12);
    client_finish(&w, &c);
    server_world_close(&w);
}
END_TEST

/* Nothing leaves and the spool fills: 452, at MAIL, at DATA or at the final dot, and the session goes on.
 * When mail has left, there is room again. */
START_TEST(a_full_spool)
{
    struct client c;
    uint64_t accepted;

    server_world_open(&w, NULL, "", 8 << 20);
    w.keep = true;
    begin(&c, 0);
    for (int i = 0; i < 300; i++) {
        buf_clear(&c.got);
        client_send(&c, ENVELOPE);
        server_world_run_ms(&w, 20);
        if (strstr(client_got(&c), "354") == NULL)
            break;
        for (int k = 0; k < 700; k++)
            client_send(&c, LINE LINE "\r\n");
        client_send(&c, ".\r\n");
        server_world_run_ms(&w, 100);
        if (strstr(client_got(&c), ACCEPTED) == NULL)
            break;
    }
    ck_assert_ptr_nonnull(strstr(client_got(&c), NO_ROOM));
    accepted = server_world_counters(&w).accepted;
    ck_assert_uint_gt(accepted, 10);
    ck_assert_uint_eq(w.queue.messages, accepted);
    w.keep = false;
    client_send(&c, "RSET\r\n");
    server_world_run_ms(&w, 60 * 1000);
    buf_clear(&c.got);
    message(&c, 1000, ACCEPTED);
    ck_assert_uint_eq(w.delivered, accepted + 1);
    client_finish(&w, &c);
    server_world_close(&w);
}
END_TEST

/* Every sync fails: no 250, whatever happens, and 451 where a message was on its way. */
START_TEST(failing_syncs)
{
    struct client c;

    server_world_open(&w, NULL, "", 0);
    begin(&c, 0);
    message(&c, 1000, ACCEPTED);
    sim_options(w.sim)->write_error = 10000;
    buf_clear(&c.got);
    client_send(&c, ENVELOPE "x\r\n.\r\n");
    server_world_run_ms(&w, 2000);
    expect_end(&c, "451 4.3.0 Local error in storing the message, try again later\r\n");
    buf_clear(&c.got);
    client_send(&c, "MAIL FROM:<a@client.example>\r\n");
    server_world_run_ms(&w, 100);
    ck_assert(strncmp(client_got(&c), "250", 3) != 0);
    ck_assert_uint_eq(server_world_counters(&w).accepted, 1);
    ck_assert_uint_eq(server_world_counters(&w).deferred_messages, 1);
    sim_options(w.sim)->write_error = 0;
    client_send(&c, "RSET\r\n");
    server_world_run_ms(&w, 120 * 1000);
    buf_clear(&c.got);
    message(&c, 1000, ACCEPTED); /* it has found its way back */
    client_finish(&w, &c);
    server_world_close(&w);
}
END_TEST

/* The client goes away while its message is being synced. */
START_TEST(gone_during_the_commit)
{
    for (unsigned steps = 0; steps < 120; steps++) {
        struct client c;

        server_world_open(&w, NULL, "", 0);
        begin(&c, 0);
        client_send(&c, ENVELOPE "x\r\n.\r\n");
        for (unsigned i = 0; i < steps; i++)
            (void)server_world_pass_any(&w);
        net_conn_abort(&c.conn);
        server_world_run_ms(&w, 1000);
        ck_assert_uint_eq(server_world_counters(&w).sessions, 0);
        ck_assert_uint_eq(server_world_counters(&w).accepted, w.delivered);
        ck_assert_uint_le(w.delivered, 1);
        client_finish(&w, &c);
        server_world_close(&w);
    }
}
END_TEST

Suite *server_limits_suite(void)
{
    Suite *s = suite_create("server_limits");
    TCase *tc = tcase_create("limits");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, connections_in_all_and_a_client);
    tcase_add_test(tc, messages_a_connection);
    tcase_add_test(tc, size);
    tcase_add_test(tc, a_full_spool);
    tcase_add_test(tc, failing_syncs);
    tcase_add_test(tc, gone_during_the_commit);
    suite_add_tcase(s, tc);
    return s;
}
