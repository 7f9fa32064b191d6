/* Clients of the control socket that are slow, gone, too many or too talkative. */
#include "admin_world.h"
#include "base_mem.h"

Suite *admin_clients_suite(void);

enum { MANY = 3000, CLIENTS_MAX = 128, REQUEST_TIMEOUT_MS = 60 * 1000 };

static void send_text(struct client *c, const char *text)
{
    client_send(c, text, strlen(text));
}

static void expect(const struct client *c, const char *answer)
{
    ck_assert_msg(slice_equal(buf_slice(&c->got), slice_str(answer)), "got %.*s",
                  SLICE_ARG(slice_head(buf_slice(&c->got), 200)));
}

START_TEST(an_overlong_line)
{
    enum { LEN = 300000 };
    struct client c = {0};
    char *line = mem_alloc(LEN);

    memset(line, 'x', LEN);
    admin_world_open(2, 0);
    client_open(&c);
    client_send(&c, line, LEN);
    client_wait(&c, 5000);
    if (buf_len(&c.got) > 0) /* what it does not read may cost the answer */
        expect(&c, "error the request is too long\n");
    client_finish(&c);
    client_open(&c);
    client_send(&c, line, 256 * 1024 + 1);
    client_wait(&c, 5000);
    expect(&c, "error the request is too long\n");
    client_finish(&c);
    admin_world_close();
    mem_free(line);
}
END_TEST

START_TEST(too_many_words)
{
    struct client c = {0};

    admin_world_open(2, 0);
    client_open(&c);
    send_text(&c, "queue show");
    for (int i = 0; i < 25000; i++)
        send_text(&c, " x");
    send_text(&c, "\n");
    client_wait(&c, 5000);
    expect(&c, "error too many words in one request\n");
    client_finish(&c);
    admin_world_close();
}
END_TEST

START_TEST(a_line_in_pieces)
{
    static const char line[] = "queue list\r\n";
    struct client c = {0};

    admin_world_open(2, 0);
    client_open(&c);
    for (size_t i = 0; i < sizeof(line) - 1; i++) {
        client_send(&c, line + i, 1);
        shard_world_run_ms(&world, 1000);
    }
    client_wait(&c, 5000);
    expect(&c, "ok\n");
    client_finish(&c);
    admin_world_close();
}
END_TEST

START_TEST(a_slow_reader_gets_all_of_a_long_listing)
{
    struct client c = {.deaf = true};

    admin_world_open(2, MANY);
    client_open(&c);
    send_text(&c, "queue list\n");
    shard_world_run_ms(&world, REQUEST_TIMEOUT_MS / 2);
    ck_assert(!c.closed);
    ck_assert_uint_eq(count_of(ask("queue list"), "ann@client.example"), MANY);
    client_listen(&c);
    client_wait(&c, 5000);
    (void)buf_append_byte(&c.got, '\0');
    ck_assert_uint_eq(count_of((const char *)buf_slice(&c.got).data, "ann@client.example"), MANY);
    client_finish(&c);
    admin_world_close();
}
END_TEST

START_TEST(who_never_reads_is_cut_off)
{
    struct client c = {.deaf = true};

    admin_world_open(2, MANY);
    client_open(&c);
    send_text(&c, "queue list json\n");
    shard_world_run_ms(&world, REQUEST_TIMEOUT_MS + 5000);
    ck_assert(admin_idle(world.guest) == false); /* it goes on listening */
    client_listen(&c);
    client_wait(&c, 5000);
    (void)buf_append_byte(&c.got, '\0');
    ck_assert_uint_lt(count_of((const char *)buf_slice(&c.got).data, "ann@client.example"), MANY);
    client_finish(&c);
    ck_assert_uint_eq(count_of(ask("status"), "messages queued now"), 1);
    admin_world_close();
}
END_TEST

START_TEST(who_leaves_midway_harms_nobody)
{
    for (uint64_t ms = 0; ms < 30; ms++) {
        struct client c = {.deaf = true};
        if (ms == 0)
            admin_world_open(3, MANY / 3);
        client_open(&c);
        send_text(&c, ms % 2 ? "queue list\n" : "queue list json\n");
        shard_world_run_ms(&world, ms);
        client_abort(&c);
    }
    ck_assert_uint_eq(count_of(ask("queue list"), "ann@client.example"), MANY / 3);
    admin_world_close();
}
END_TEST

/* A stop in the middle of a listing ends it: nobody waits for a reader. */
START_TEST(a_stop_does_not_wait_for_a_reader)
{
    struct client c = {.deaf = true};

    admin_world_open(2, MANY);
    client_open(&c);
    send_text(&c, "queue list\n");
    shard_world_run_ms(&world, (uint64_t)_i);
    shard_world_stop(&world, 1000);
    admin_destroy(world.guest);
    client_listen(&c);
    client_wait(&c, 1000);
    client_finish(&c);
    shard_world_finish(&world);
}
END_TEST

START_TEST(more_than_the_most_clients)
{
    struct client clients[CLIENTS_MAX] = {0}, more = {0};

    admin_world_open(2, 0);
    for (int i = 0; i < CLIENTS_MAX; i++)
        client_open(&clients[i]);
    shard_world_run_ms(&world, 100);
    client_open(&more);
    send_text(&more, "status\n");
    client_wait(&more, 1000);
    expect(&more, "");
    client_finish(&more);
    for (int i = 0; i < CLIENTS_MAX; i++) {
        ck_assert(!clients[i].closed);
        send_text(&clients[i], "queue list\n");
        client_wait(&clients[i], 1000);
        expect(&clients[i], "ok\n");
        client_finish(&clients[i]);
    }
    ck_assert_str_eq(ask("queue list"), "ok\n");
    admin_world_close();
}
END_TEST

START_TEST(who_says_nothing_is_cut_off)
{
    struct client c = {0};

    admin_world_open(1, 0);
    client_open(&c);
    shard_world_run_ms(&world, REQUEST_TIMEOUT_MS - 1000);
    ck_assert(!c.closed);
    client_wait(&c, 2000);
    expect(&c, "");
    client_finish(&c);
    admin_world_close();
}
END_TEST

Suite *admin_clients_suite(void)
{
    Suite *s = suite_create("admin_clients");
    TCase *tc = tcase_create("clients");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, an_overlong_line);
    tcase_add_test(tc, too_many_words);
    tcase_add_test(tc, a_line_in_pieces);
    tcase_add_test(tc, a_slow_reader_gets_all_of_a_long_listing);
    tcase_add_test(tc, who_never_reads_is_cut_off);
    tcase_add_test(tc, who_leaves_midway_harms_nobody);
    tcase_add_loop_test(tc, a_stop_does_not_wait_for_a_reader, 0, 12);
    tcase_add_test(tc, more_than_the_most_clients);
    tcase_add_test(tc, who_says_nothing_is_cut_off);
    suite_add_tcase(s, tc);
    return s;
}
