/* Time: silence, trickles, clients that do not read, and stops in every state. Virtual time. */
#include "server_world.h"

Suite *server_time_suite(void);

static struct server_world w;
static struct client c;

enum { SECOND = 1000, MINUTE = 60 * SECOND };

static void open_with(const char *conf)
{
    server_world_open(&w, NULL, conf, 0);
    c = (struct client){0};
    client_open(&w, &c, 0);
    server_world_run_ms(&w, 20);
    ck_assert_uint_eq(server_world_counters(&w).sessions, 1);
}

static void close_all(void)
{
    client_finish(&w, &c);
    server_world_close(&w);
}

#define TIMEOUT "421 4.4.2 Timeout: you were silent for too long\r\n"

/* How long a session lasts when nothing but this is sent. */
static const struct {
    const char *sent;
    uint64_t least_ms;
    const char *last;
} silences[] = {
    {"", 60 * SECOND, GREETING TIMEOUT},
    {"EHL", 60 * SECOND, GREETING TIMEOUT},
    {"NOOP\r\nNOOP\r\n", 60 * SECOND, GREETING "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n" TIMEOUT},
    {"HELO c\r\n", 120 * SECOND, GREETING "250 mx.example\r\n" TIMEOUT},
    {"HELO c\r\nMAIL FROM:<a@b.example", 120 * SECOND, GREETING "250 mx.example\r\n" TIMEOUT},
    {"HELO c\r\n" ENVELOPE "half", 180 * SECOND,
     GREETING "250 mx.example\r\n" ENVELOPE_REPLY TIMEOUT},
};

static const char limits[] =
    "limits { timeout { greeting = \"1m\" command = \"2m\" data = \"3m\" } }";

START_TEST(silence_ends)
{
    for (size_t i = 0; i < ARRAY_LEN(silences); i++) {
        open_with(limits);
        client_send(&c, silences[i].sent);
        server_world_run_ms(&w, silences[i].least_ms - 100);
        ck_assert_ptr_null(strstr(client_got(&c), "421"));
        server_world_run_ms(&w, 200);
        ck_assert_str_eq(client_got(&c), silences[i].last);
        (void)server_world_run_idle(&w, 100);
        close_all();
    }
}
END_TEST

/* Octets of one command, one a second: the time is that of the whole command. */
START_TEST(a_trickled_command_ends)
{
    uint64_t began_ms, took_ms;

    open_with(limits);
    client_send(&c, "HELO c\r\n");
    server_world_run_ms(&w, 10);
    began_ms = sim_now_ms(w.sim);
    while (server_world_counters(&w).sessions == 1 && sim_now_ms(w.sim) < began_ms + 10 * MINUTE) {
        client_send(&c, "N");
        server_world_run_ms(&w, 1 * SECOND);
    }
    took_ms = sim_now_ms(w.sim) - began_ms;
    ck_assert_uint_ge(took_ms, 119 * SECOND);
    ck_assert_uint_le(took_ms, 130 * SECOND); /* with the time to see our last reply */
    close_all();
}
END_TEST

/* Commands that are complete count each, however slow. */
START_TEST(slow_commands_are_served)
{
    open_with(limits);
    client_send(&c, "HELO c\r\n");
    for (int i = 0; i < 5; i++) {
        server_world_run_ms(&w, 110 * SECOND);
        client_send(&c, i == 0   ? "MAIL FROM:<a@client.example>\r\n"
                        : i == 1 ? "RCPT TO:<b@one.example>\r\n"
                        : i == 2 ? "DATA\r\n"
                        : i == 3 ? "x\r\n"
                                 : ".\r\n");
    }
    server_world_run_ms(&w, 100);
    ck_assert_uint_eq(w.delivered, 1);
    server_world_run_ms(&w, 110 * SECOND); /* the commit was not the client's time */
    ck_assert_uint_eq(server_world_counters(&w).sessions, 1);
    close_all();
}
END_TEST

static uint64_t trickle_body(const char *piece, uint64_t every_ms, uint64_t most_ms)
{
    uint64_t began_ms = sim_now_ms(w.sim);

    client_send(&c, "HELO c\r\n" ENVELOPE);
    while (server_world_counters(&w).sessions == 1 && sim_now_ms(w.sim) < began_ms + most_ms) {
        client_send(&c, piece);
        server_world_run_ms(&w, every_ms);
    }
    return sim_now_ms(w.sim) - began_ms;
}

START_TEST(a_trickled_body_ends)
{
    uint64_t took_ms;

    open_with(limits);
    took_ms = trickle_body("x", 1 * SECOND, 60 * MINUTE);
    ck_assert_uint_ge(took_ms, 10 * MINUTE);
    ck_assert_uint_le(took_ms, 11 * MINUTE);
    close_all();
}
END_TEST

/* Even one that is refused already, and is only being swallowed. */
START_TEST(a_trickled_refused_body_ends)
{
    uint64_t took_ms;

    open_with(limits);
    client_send(&c, "HELO c\r\n" ENVELOPE "bare\nLF");
    took_ms = trickle_body("x", 1 * SECOND, 60 * MINUTE);
    ck_assert_uint_ge(took_ms, 10 * MINUTE);
    ck_assert_uint_le(took_ms, 11 * MINUTE);
    ck_assert_uint_eq(server_world_counters(&w).refused_messages, 1);
    close_all();
}
END_TEST

START_TEST(a_slow_body_is_taken)
{
    char piece[301];

    memset(piece, 'x', 298);
    memcpy(piece + 298, "\r\n", 3);
    open_with(limits);
    (void)trickle_body(piece, 2 * SECOND, 11 * MINUTE); /* like an old modem */
    ck_assert_uint_eq(server_world_counters(&w).sessions, 1);
    client_send(&c, ".\r\n");
    server_world_run_ms(&w, 100);
    ck_assert_uint_eq(server_world_counters(&w).accepted, 1);
    close_all();
}
END_TEST

/* It sends for ever and reads nothing: what is kept for it is bounded, and so is its time. */
START_TEST(a_client_that_never_reads)
{
    struct sim_options options = sim_options_default();
    uint64_t took_ms;

    options.link_buffer_len = 4096;
    server_world_open(&w, &options, limits, 0);
    c = (struct client){.deaf = true};
    client_open(&w, &c, 0);
    server_world_run_ms(&w, 20);
    for (int i = 0; i < 20000; i++)
        client_send(&c, "RCPT TO:<nobody-has-asked-for-this@one.example>\r\nHELO c\r\n");
    took_ms = server_world_run_idle(&w, 20 * MINUTE);
    ck_assert_uint_le(took_ms, 3 * MINUTE);
    close_all();
}
END_TEST

/* ---- stops ---------------------------------------------------------------------------------- */

#define STOPPING "421 4.3.2 The server is shutting down, try again later\r\n"

static const struct {
    const char *sent; /* before the stop */
    const char *then; /* at once after it */
    const char *last;
    unsigned delivered;
    uint64_t most_ms;
} stops[] = {
    {"", "", GREETING STOPPING, 0, 100},
    {"HELO c\r\n", "NOOP\r\n", GREETING "250 mx.example\r\n" STOPPING, 0, 100},
    {"HELO c\r\n" ENVELOPE "x\r\n", ".\r\nNOOP\r\n",
     GREETING "250 mx.example\r\n" ENVELOPE_REPLY ACCEPTED STOPPING, 1, 200},
    {"HELO c\r\nMAIL FROM:<a@client.example>\r\n", "",
     GREETING "250 mx.example\r\n250 2.1.0 Ok\r\n" STOPPING, 0, 10 * SECOND + 100},
    {"HELO c\r\n" ENVELOPE "x", "", GREETING "250 mx.example\r\n" ENVELOPE_REPLY STOPPING, 0,
     10 * SECOND + 100},
};

START_TEST(a_stop_between_and_within_messages)
{
    for (size_t i = 0; i < ARRAY_LEN(stops); i++) {
        open_with("");
        client_send(&c, stops[i].sent);
        server_world_run_ms(&w, 50);
        server_stop(w.server, sim_now_ms(w.sim) + 10 * SECOND);
        client_send(&c, stops[i].then);
        server_world_run_ms(&w, stops[i].most_ms);
        ck_assert_str_eq(client_got(&c), stops[i].last);
        (void)server_world_run_idle(&w, 100);
        ck_assert(server_idle(w.server));
        ck_assert_uint_eq(w.delivered, stops[i].delivered);
        close_all();
    }
}
END_TEST

/* Whenever it comes: all ends, and what was answered 250 is there. */
START_TEST(a_stop_at_any_moment)
{
    for (uint64_t at_us = 0; at_us < 400; at_us++) {
        open_with("");
        for (int i = 0; i < 20; i++)
            client_send(&c, i == 0 ? "HELO c\r\n" ENVELOPE "x\r\n.\r\n" : ENVELOPE "x\r\n.\r\n");
        for (uint64_t i = 0; i < at_us; i++)
            (void)server_world_pass_any(&w);
        server_stop(w.server, sim_now_ms(w.sim) + 10 * SECOND);
        (void)server_world_run_idle(&w, 20 * SECOND);
        server_world_run_ms(&w, 100);
        ck_assert(server_idle(w.server));
        ck_assert_uint_eq(server_world_counters(&w).accepted, w.delivered);
        close_all();
    }
}
END_TEST

/* It does not go when told to: it is cut off all the same. */
START_TEST(a_stop_with_a_client_that_stays)
{
    struct sim_options options = sim_options_default();

    options.link_buffer_len = 4096;
    server_world_open(&w, &options, "", 0);
    c = (struct client){.deaf = true};
    client_open(&w, &c, 0);
    server_world_run_ms(&w, 20);
    for (int i = 0; i < 1000; i++)
        client_send(&c, "HELO c\r\n");
    server_world_run_ms(&w, 1000);
    server_stop(w.server, sim_now_ms(w.sim) + 10 * SECOND);
    ck_assert_uint_le(server_world_run_idle(&w, MINUTE), 16 * SECOND);
    close_all();
}
END_TEST

Suite *server_time_suite(void)
{
    Suite *s = suite_create("server_time");
    TCase *tc = tcase_create("time");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, silence_ends);
    tcase_add_test(tc, a_trickled_command_ends);
    tcase_add_test(tc, slow_commands_are_served);
    tcase_add_test(tc, a_trickled_body_ends);
    tcase_add_test(tc, a_trickled_refused_body_ends);
    tcase_add_test(tc, a_slow_body_is_taken);
    tcase_add_test(tc, a_client_that_never_reads);
    tcase_add_test(tc, a_stop_between_and_within_messages);
    tcase_add_test(tc, a_stop_at_any_moment);
    tcase_add_test(tc, a_stop_with_a_client_that_stays);
    suite_add_tcase(s, tc);
    return s;
}
