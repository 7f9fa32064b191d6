/* Requests to the control socket and their answers. */
#include <stdio.h>
#include <stdlib.h>

#include "admin_world.h"
#include "base_mem.h"

Suite *admin_suite(void);

enum { SHARDS = 2, MESSAGES = 6 };

/* ---- JSON: only whether it is any ------------------------------------------------------------ */

static const char *skip_value(const char *at);

static const char *skip_string(const char *at)
{
    ck_assert_int_eq(*at, '"');
    for (at++; *at != '"'; at++) {
        ck_assert_int_ge((unsigned char)*at, 0x20);
        at += *at == '\\';
    }
    return at + 1;
}

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \n");
}

static const char *skip_members(const char *at, bool object)
{
    char end = object ? '}' : ']';

    at = skip_blanks(at + 1);
    if (*at == end)
        return at + 1;
    for (;;) {
        if (object) {
            at = skip_string(at);
            ck_assert_int_eq(*at++, ':');
        }
        at = skip_blanks(skip_value(at));
        if (*at == end)
            return at + 1;
        ck_assert_msg(*at == ',', "no comma at: %.40s", at);
        at = skip_blanks(at + 1);
    }
}

static const char *skip_value(const char *at)
{
    char *end;

    if (*at == '{' || *at == '[')
        return skip_members(at, *at == '{');
    if (*at == '"')
        return skip_string(at);
    (void)strtod(at, &end);
    ck_assert_msg(end != at, "no value at: %.40s", at);
    return end;
}

/* The part of an answer after its first line, which says ok. */
static const char *matter(const char *answer)
{
    ck_assert_msg(strncmp(answer, "ok\n", 3) == 0, "answered %.80s", answer);
    return answer + 3;
}

static const char *ask_json(const char *line)
{
    const char *json = matter(ask(line));

    ck_assert_str_eq(skip_value(json), "\n");
    return json;
}

/* The id of the n-th message of a listing. */
static const char *id_of(unsigned n)
{
    static char id[64];
    const char *at = ask_json("queue list json");
    size_t len;

    for (unsigned i = 0; i <= n; i++) {
        at = strstr(at, "{\"id\":\"");
        ck_assert_ptr_nonnull(at);
        at += 7;
    }
    len = strcspn(at, "\"");
    ck_assert_uint_lt(len, sizeof(id));
    memcpy(id, at, len);
    id[len] = '\0';
    return id;
}

static const char *ask_about(const char *verb, unsigned n, const char *rest)
{
    char line[128];

    (void)snprintf(line, sizeof(line), "queue %s %s%s", verb, id_of(n), rest);
    return ask(line);
}

/* ---- status --------------------------------------------------------------------------------- */

START_TEST(status_has_each_key_for_all_and_for_each)
{
    static const char *const keys[] = {
        "sessions",    "accepted",           "delivered",     "deferred",  "bounced",
        "queue",       "queue_active",       "connections",   "commits",   "logged_bytes",
        "spool_bytes", "spool_bad_segments", "buffers_lent",  "dns_asked", "passes",
        "posted",      "commit_wait_us",     "staging_bytes", "hot_bytes", "messages_per_commit",
    };
    char quoted[64];
    const char *json;

    admin_world_open(SHARDS, MESSAGES);
    json = ask_json("status json");
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        (void)snprintf(quoted, sizeof(quoted), "\"%s\":", keys[i]);
        ck_assert_msg(count_of(json, quoted) == 1 + SHARDS, "%s", keys[i]);
    }
    ck_assert_ptr_nonnull(strstr(json, "{\"version\":\"1.2.3\",\"uptime_s\":60,"));
    ck_assert_ptr_nonnull(strstr(json, "\"queue\":6,"));
    ck_assert_uint_eq(count_of(json, "\"queue\":3,"), SHARDS);
    /* Each message once; and those with which the sites were probed since. */
    ck_assert_ptr_nonnull(strstr(json, "\"deferred\":"));
    ck_assert_uint_ge(strtoull(strstr(json, "\"deferred\":") + strlen("\"deferred\":"), NULL, 10),
                      MESSAGES);
    admin_world_close();
}
END_TEST

START_TEST(status_for_people)
{
    const char *text;

    admin_world_open(1 + (unsigned)_i, 0);
    text = matter(ask("status"));
    ck_assert_ptr_eq(strstr(text, "mailring 1.2.3, up 60 s, "), text);
    ck_assert_ptr_nonnull(strstr(text, _i == 0 ? "1 shard\n" : " shards\n"));
    ck_assert_ptr_nonnull(strstr(text, "messages queued now\n"));
    admin_world_close();
}
END_TEST

/* ---- the queue ------------------------------------------------------------------------------ */

START_TEST(an_empty_queue)
{
    admin_world_open(SHARDS, 0);
    ck_assert_str_eq(ask("queue list"), "ok\n");
    ck_assert_str_eq(ask_json("queue list json"), "[]\n");
    ck_assert_str_eq(ask("queue retry all"), "ok\n0 messages due now\n");
    ck_assert_str_eq(ask("queue delete all json"), "ok\n{\"messages\":0}\n");
    admin_world_close();
}
END_TEST

START_TEST(a_listing)
{
    const char *answer;

    admin_world_open(SHARDS, MESSAGES);
    answer = ask_json("queue list json");
    ck_assert_uint_eq(count_of(answer, "{\"id\":"), MESSAGES);
    ck_assert_uint_eq(count_of(answer, "\"state\":\"parked\",\"shard\":1,"), MESSAGES / SHARDS);
    ck_assert_uint_eq(count_of(answer, "\"sender\":\"ann@client.example\""), MESSAGES);
    ck_assert_uint_eq(count_of(answer, "\"address\":\"user5@r2.example\""), 1);
    answer = matter(ask("queue list"));
    ck_assert_uint_eq(count_of(answer, "ann@client.example"), MESSAGES);
    ck_assert_uint_eq(count_of(answer, "user5@r2.example"), 1);
    admin_world_close();
}
END_TEST

START_TEST(one_message)
{
    const char *answer;

    admin_world_open(SHARDS, MESSAGES);
    for (unsigned n = 0; n < MESSAGES; n++) {
        answer = matter(ask_about("show", n, " json"));
        ck_assert_str_eq(skip_value(answer), "\n");
        ck_assert_uint_eq(count_of(answer, "{\"id\":"), 1);
        ck_assert_uint_eq(count_of(answer, "\"attempts\":"), 1);
        answer = matter(ask_about("show", n, ""));
        ck_assert_uint_eq(count_of(answer, ".example"), 2);
    }
    admin_world_close();
}
END_TEST

/* A host that refuses connections is no attempt of anybody's, but the log and the counters know of it. */
static uint64_t tried(void)
{
    static const char key[] = "\"deferred\":"; /* of all shards first */
    const char *at = strstr(ask_json("status json"), key);

    ck_assert_ptr_nonnull(at);
    return strtoull(at + sizeof(key) - 1, NULL, 10);
}

START_TEST(retry)
{
    uint64_t before;

    admin_world_open(SHARDS, MESSAGES);
    before = tried();
    ck_assert_uint_ge(before, 1);
    ck_assert_str_eq(ask_about("retry", 1, ""), "ok\n1 message due now\n");
    shard_world_run_ms(&world, 5 * 1000);
    ck_assert_uint_ge(tried(), before + 1);
    before = tried();
    ck_assert_str_eq(ask("queue retry all json"), "ok\n{\"messages\":6}\n");
    shard_world_run_ms(&world, 5 * 1000);
    ck_assert_uint_ge(tried(), before + SHARDS); /* a site is asked once a second */
    ck_assert_uint_eq(count_of(ask_json("queue list json"), "\"attempts\":0"), MESSAGES);
    admin_world_close();
}
END_TEST

START_TEST(delete)
{
    char id[64], line[128];

    admin_world_open(SHARDS, MESSAGES);
    (void)snprintf(id, sizeof(id), "%s", id_of(4));
    (void)snprintf(line, sizeof(line), "queue delete %s", id);
    ck_assert_str_eq(ask(line), "ok\n1 message deleted\n");
    ck_assert_str_eq(ask(line), "error no such message in the queue\n");
    ck_assert_uint_eq(shard_world_queued(&world), MESSAGES - 1);
    ck_assert_ptr_null(strstr(ask("queue list"), id));
    ck_assert_str_eq(ask("queue delete all"), "ok\n5 messages deleted\n");
    ck_assert_str_eq(ask("queue list"), "ok\n");
    admin_world_close();
}
END_TEST

/* ---- what is not a request ------------------------------------------------------------------- */

START_TEST(each_mistake_has_its_answer)
{
    static const struct {
        const char *line, *answer;
    } table[] = {
        {"",
         "error unknown request; known are status, queue, explain, reload and tls-report send\n"},
        {"json",
         "error unknown request; known are status, queue, explain, reload and tls-report send\n"},
        {"STATUS",
         "error unknown request; known are status, queue, explain, reload and tls-report send\n"},
        {"status all",
         "error unknown request; known are status, queue, explain, reload and tls-report send\n"},
        {"queue",
         "error unknown queue request; known are list, show, summary, retry, hold, release, delete, "
         "bounce, set, holds, export and import\n"},
        {"queue flush json",
         "error unknown queue request; known are list, show, summary, retry, hold, release, delete, "
         "bounce, set, holds, export and import\n"},
        {"queue show",
         "error which messages? Give ids, filters such as --domain=example.org, or all\n"},
        {"queue delete",
         "error which messages? Give ids, filters such as --domain=example.org, or all\n"},
        {"queue retry json",
         "error which messages? Give ids, filters such as --domain=example.org, or all\n"},
        {"queue show x", "error not a message id: \"x\"\n"},
        {"queue delete all 0000000000000",
         "error either all or some: \"all\" goes without ids and filters\n"},
        {"queue \"list", "error quotes that do not end, or a bad escape\n"},
        {"queue show 0000000000000", "error no such message in the queue\n"},
        {"\x01\xff",
         "error unknown request; known are status, queue, explain, reload and tls-report send\n"},
    };

    admin_world_open(SHARDS, 1);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const char *answer = ask(table[i].line);
        ck_assert_msg(strcmp(answer, table[i].answer) == 0, "%s: %s", table[i].line, answer);
    }
    ck_assert_uint_eq(shard_world_queued(&world), 1);
    admin_world_close();
}
END_TEST

Suite *admin_suite(void)
{
    Suite *s = suite_create("admin");
    TCase *tc = tcase_create("requests");

    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, status_has_each_key_for_all_and_for_each);
    tcase_add_loop_test(tc, status_for_people, 0, WORLD_SHARDS);
    tcase_add_test(tc, an_empty_queue);
    tcase_add_test(tc, a_listing);
    tcase_add_test(tc, one_message);
    tcase_add_test(tc, retry);
    tcase_add_test(tc, delete);
    tcase_add_test(tc, each_mistake_has_its_answer);
    suite_add_tcase(s, tc);
    return s;
}
