/* A reload while sessions are open: they keep what they began with, new ones get the new. */
#include "server_world.h"

Suite *server_reload_suite(void);

static struct server_world w;

#define CONF(host, name, more)                                            \
    "hostname = \"" host "\" spool = \"/spool\" spool_segment = \"1M\"\n" \
    "domain \"one.example\" { to = \"discard\" }\n"                       \
    "listener \"" name "\" { address = {\"10.0.0.1:25\"} role = mx message_size = 100000 }\n" more

static void begin(struct client *c, unsigned host)
{
    *c = (struct client){0};
    client_open(&w, c, host);
    server_world_run_ms(&w, 50);
}

START_TEST(old_and_new)
{
    struct client old, new;

    server_world_open(&w, NULL, "", 0);
    begin(&old, 0);
    client_send(&old, "HELO c\r\nMAIL FROM:<a@b.example>\r\n");
    server_world_run_ms(&w, 50);
    server_world_reload(&w,
                        CONF("mx2.example", "in", "domain \"two.example\" { to = \"discard\" }"));
    begin(&new, 1);
    ck_assert_str_eq(client_got(&new), "220 mx2.example ESMTP\r\n");
    buf_clear(&old.got);
    client_send(&old, "RCPT TO:<a@two.example>\r\nRCPT TO:<a@shut.example>\r\nRSET\r\n" ENVELOPE
                      "x\r\n.\r\nQUIT\r\n");
    client_send(&new, "HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<a@two.example>\r\nQUIT\r\n");
    server_world_run_ms(&w, 100);
    ck_assert_str_eq(client_got(&old),
                     "550 5.7.1 Relaying denied: not a domain of ours\r\n"
                     "550 5.7.1 moved away\r\n250 2.0.0 Ok\r\n" ENVELOPE_REPLY ACCEPTED
                     "221 2.0.0 Bye\r\n");
    ck_assert_str_eq(client_got(&new),
                     "220 mx2.example ESMTP\r\n250 mx2.example\r\n250 2.1.0 Ok\r\n"
                     "250 2.1.5 Ok\r\n221 2.0.0 Bye\r\n");
    ck_assert(old.closed && new.closed);
    buf_finish(&old.got);
    buf_finish(&new.got);
    server_world_close(&w);
}
END_TEST

/* Sockets stay as they are until a restart, so a listener that is gone serves as it did. */
START_TEST(listener_gone)
{
    struct client c;

    server_world_open(&w, NULL, "", 0);
    server_world_reload(&w, CONF("mx2.example", "other", ""));
    begin(&c, 0);
    ck_assert_str_eq(client_got(&c), GREETING);
    client_finish(&w, &c);
    server_world_close(&w);
}
END_TEST

START_TEST(many)
{
    struct client clients[3];

    server_world_open(&w, NULL, "", 0);
    for (int i = 0; i < 30; i++) {
        struct client *c = &clients[i % 3];

        if (i >= 3)
            client_finish(&w, c);
        begin(c, (unsigned)i % 3);
        server_world_reload(&w, CONF("mx2.example", "in", ""));
    }
    for (int i = 0; i < 3; i++)
        client_finish(&w, &clients[i]);
    server_world_close(&w);
}
END_TEST

Suite *server_reload_suite(void)
{
    Suite *s = suite_create("server_reload");
    TCase *tc = tcase_create("reload");

    tcase_add_test(tc, old_and_new);
    tcase_add_test(tc, listener_gone);
    tcase_add_test(tc, many);
    suite_add_tcase(s, tc);
    return s;
}
