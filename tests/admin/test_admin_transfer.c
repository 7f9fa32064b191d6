/* Mail that moves between servers, and rules that hold mail: on simulated machines, with clients that go. */
#include <stdio.h>
#include <stdlib.h>

#include "admin_world.h"
#include "base_mem.h"

Suite *admin_transfer_suite(void);

enum { SHARDS = 3, MESSAGES = 40 };

/* The matter of an answer of any length. */
static struct buf ask_all(const char *line)
{
    struct client c = {0};
    struct buf answer;

    client_open(&c);
    client_send(&c, line, strlen(line));
    client_send(&c, "\n", 1);
    client_wait(&c, 10000);
    buf_init(&answer, 0);
    ck_assert(slice_equal(slice_head(buf_slice(&c.got), 3), SLICE_LITERAL("ok\n")));
    buf_consume(&c.got, 3);
    (void)buf_append_slice(&answer, buf_slice(&c.got));
    client_finish(&c);
    return answer;
}

/* Sends the request and the export, `piece` bytes at a time; the answer. */
static const char *import_pieces(const char *request, struct slice data, size_t piece)
{
    static struct buf answer;
    struct client c = {0};

    client_open(&c);
    client_send(&c, request, strlen(request));
    while (data.len > 0 && !c.closed) {
        struct slice some = slice_head(data, piece);
        if (buf_len(&c.conn.out) + buf_len(&c.conn.sending) < 100000) {
            client_send(&c, (const char *)some.data, some.len);
            slice_advance(&data, some.len);
        }
        shard_world_run_ms(&world, 1);
    }
    client_wait(&c, 60000);
    buf_clear(&answer);
    (void)buf_append_slice(&answer, buf_slice(&c.got));
    (void)buf_append_byte(&answer, '\0');
    client_finish(&c);
    return (const char *)buf_slice(&answer).data;
}

static const char *number_of_messages(unsigned n)
{
    static char text[64];

    (void)snprintf(text, sizeof(text), "\"messages\":%u,", n);
    return text;
}

START_TEST(out_and_in_again)
{
    static const size_t pieces[] = {1000000, 4096, 777};
    struct buf data;

    admin_world_open(SHARDS, MESSAGES);
    data = ask_all("queue export all --copy");
    ck_assert_ptr_null(strstr(ask("queue list"), "held"));
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        const char *answer =
            import_pieces("queue import --hold json\n", buf_slice(&data), pieces[i]);
        ck_assert_msg(strstr(answer, "exit 0\n") != NULL, "%s", answer);
        ck_assert_ptr_nonnull(strstr(answer, number_of_messages(MESSAGES)));
        ck_assert_ptr_nonnull(strstr(answer, "\"records\":\"1-40\""));
        ck_assert_uint_eq(shard_world_queued(&world), MESSAGES * (i + 2));
    }
    ck_assert_uint_eq(count_of(ask("queue list json"), "\"state\":\"held\""),
                      3 * 2 * MESSAGES); /* and their recipients */
    buf_finish(&data);
    admin_world_close();
}
END_TEST

/* Byte by byte damaged somewhere: either all before it is taken and nothing of it, or it was no matter. */
START_TEST(damage_anywhere)
{
    struct buf data;
    uint8_t *bytes;
    size_t len;

    admin_world_open(2, 3);
    data = ask_all("queue export all --copy");
    len = buf_len(&data);
    bytes = data.data + data.head;
    for (size_t at = (size_t)_i; at < len; at += 37) {
        uint64_t before = shard_world_queued(&world);
        uint8_t good = bytes[at];
        const char *answer;
        bytes[at] ^= 0x15;
        answer = import_pieces("queue import --hold\n", buf_slice(&data), len);
        bytes[at] = good;
        if (strstr(answer, "exit 0\n") != NULL) /* the numbers of the last line are for people */
            ck_assert_uint_eq(shard_world_queued(&world) - before, 3);
        else
            ck_assert_uint_le(shard_world_queued(&world) - before, 3);
        ck_assert_msg(strstr(answer, "exit 0\n") == NULL || at >= len - 6, "at %zu: %s", at,
                      answer);
        (void)ask("queue delete --state=held");
    }
    buf_finish(&data);
    admin_world_close();
}
END_TEST

START_TEST(who_leaves_an_import_leaves_whole_messages)
{
    struct buf data;

    admin_world_open(SHARDS, MESSAGES);
    data = ask_all("queue export all --copy");
    for (uint64_t ms = 0; ms < 12; ms++) {
        struct client c = {0};
        client_open(&c);
        client_send(&c, "queue import --hold\n", 20);
        client_send(&c, (const char *)data.data + data.head, buf_len(&data) * (ms + 1) / 13);
        shard_world_run_ms(&world, ms);
        client_abort(&c);
        shard_world_run_ms(&world, 100);
    }
    ck_assert_uint_eq(count_of(ask("queue list json"), "{\"id\":"), shard_world_queued(&world));
    (void)ask("queue delete --state=held");
    ck_assert_uint_eq(shard_world_queued(&world), MESSAGES);
    buf_finish(&data);
    admin_world_close();
}
END_TEST

/* What an export has pinned and put on hold is given back, whenever its reader goes. */
START_TEST(who_leaves_an_export_harms_nobody)
{
    admin_world_open(SHARDS, MESSAGES);
    for (uint64_t ms = 0; ms < 20; ms++) {
        struct client c = {.deaf = true};
        client_open(&c);
        client_send(&c, "queue export all\n", 17);
        shard_world_run_ms(&world, ms);
        client_abort(&c);
    }
    (void)ask("queue delete all");
    ck_assert_uint_eq(shard_world_queued(&world), 0);
    admin_world_close();
}
END_TEST

START_TEST(a_stop_in_the_middle)
{
    struct client out = {.deaf = true}, in = {0};
    struct buf data;

    admin_world_open(2, MESSAGES);
    data = ask_all("queue export all --copy");
    client_open(&out);
    client_send(&out, "queue export all\n", 17);
    client_open(&in);
    client_send(&in, "queue import\n", 13);
    client_send(&in, (const char *)data.data + data.head, buf_len(&data) / 2);
    shard_world_run_ms(&world, (uint64_t)_i);
    shard_world_stop(&world, 1000);
    admin_destroy(world.guest);
    client_listen(&out);
    client_wait(&out, 1000);
    client_wait(&in, 1000);
    client_finish(&out);
    client_finish(&in);
    shard_world_finish(&world);
    buf_finish(&data);
}
END_TEST

/* ---- rules ---------------------------------------------------------------------------------- */

START_TEST(rules)
{
    unsigned held;

    admin_world_open(SHARDS, 0);
    ck_assert_str_eq(ask("queue holds"), "ok\n");
    ck_assert_str_eq(ask("queue hold --future --domain=r2.example \"--reason=full \\n disk\" json"),
                     "ok\n{\"rule\":1}\n");
    ck_assert_str_eq(ask("queue hold --future --sender=@x.example --until=1h json"),
                     "ok\n{\"rule\":2}\n");
    ck_assert_ptr_nonnull(strstr(ask("queue holds"), "1 --domain=r2.example (full ? disk)\n"));
    shard_world_queue(&world, 2 * WORLD_SITES);
    shard_world_run_ms(&world, 1000);
    held = count_of(ask("queue list json"), "@r2.example");
    ck_assert_uint_ge(held, 2);
    ck_assert_uint_eq(count_of(ask("queue list json"), "\"state\":\"held\",\"shard\""), held);
    ck_assert_ptr_nonnull(strstr(ask("queue show --state=held"), "held by rule 1"));
    shard_world_run_ms(&world, 3600 * 1000);
    ck_assert_uint_eq(count_of(ask("queue holds json"), "\"rule\":"), 1);
    ck_assert_str_eq(ask("queue release --rule=2"),
                     "error there is no such rule: queue holds lists them\n");
    ck_assert_str_eq(ask("queue release --rule=all json"), "ok\n{\"rules\":1}\n");
    shard_world_run_ms(&world, 1000);
    ck_assert_uint_eq(count_of(ask("queue list json"), "\"state\":\"held\""), 0);
    admin_world_close();
}
END_TEST

/* Many at a time take turns; who goes before his turn has changed nothing. */
START_TEST(rules_take_turns)
{
    enum { CLIENTS = 20 };
    struct client clients[CLIENTS] = {0};
    char line[128];

    admin_world_open(SHARDS, 0);
    for (int i = 0; i < CLIENTS; i++) {
        client_open(&clients[i]);
        (void)snprintf(line, sizeof(line), "queue hold --future --domain=d%d.example\n", i);
        client_send(&clients[i], line, strlen(line));
    }
    shard_world_run_ms(&world, (uint64_t)_i);
    client_abort(&clients[3]);
    for (int i = 0; i < CLIENTS; i++) {
        if (i == 3)
            continue;
        client_wait(&clients[i], 5000);
        ck_assert(
            slice_equal(slice_head(buf_slice(&clients[i].got), 8), SLICE_LITERAL("ok\nrule ")));
        client_finish(&clients[i]);
    }
    ck_assert_uint_ge(count_of(ask("queue holds"), ".example\n"), CLIENTS - 1);
    for (unsigned s = 0; s < SHARDS; s++)
        ck_assert_uint_eq(shard_queue(world.shards[s].shard)->holds.count,
                          shard_queue(world.shards[0].shard)->holds.count);
    admin_world_close();
}
END_TEST

/* ---- explain -------------------------------------------------------------------------------- */

START_TEST(explained)
{
    char id[16], line[64];
    const char *answer;

    admin_world_open(SHARDS, 4);
    answer = ask("explain user1@r2.example json");
    ck_assert_msg(strncmp(answer, "ok\n{", 4) == 0, "%s", answer);
    answer = strstr(ask("queue list json"), "{\"id\":\"");
    ck_assert_ptr_nonnull(answer);
    (void)snprintf(id, sizeof(id), "%.13s", answer + 7);
    (void)snprintf(line, sizeof(line), "explain %s", id);
    answer = ask(line);
    ck_assert_ptr_nonnull(strstr(answer, "its ways now:"));
    ck_assert_ptr_nonnull(strstr(answer, "given-up="));
    for (uint64_t ms = 0; ms < 10; ms++) {
        struct client c = {0};
        client_open(&c);
        client_send(&c, line, strlen(line));
        client_send(&c, "\n", 1);
        shard_world_run_ms(&world, ms);
        client_abort(&c);
    }
    ck_assert_int_eq(strncmp(ask("explain 0000000000000"), "error no such message", 21), 0);
    ck_assert_int_eq(strncmp(ask("explain"), "error explain an address", 24), 0);
    ck_assert_int_eq(strncmp(ask("explain a@b c@d"), "error explain an address", 24), 0);
    ck_assert_int_eq(strncmp(ask("explain a@b --sender=x"), "error explain an address", 24), 0);
    admin_world_close();
}
END_TEST

Suite *admin_transfer_suite(void)
{
    Suite *s = suite_create("admin_transfer");
    TCase *tc = tcase_create("transfer");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, out_and_in_again);
    tcase_add_loop_test(tc, damage_anywhere, 0, 4);
    tcase_add_test(tc, who_leaves_an_import_leaves_whole_messages);
    tcase_add_test(tc, who_leaves_an_export_harms_nobody);
    tcase_add_loop_test(tc, a_stop_in_the_middle, 0, 8);
    tcase_add_test(tc, rules);
    tcase_add_loop_test(tc, rules_take_turns, 0, 4);
    tcase_add_test(tc, explained);
    suite_add_tcase(s, tc);
    return s;
}
