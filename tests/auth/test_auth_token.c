/* What introspection says (RFC 7662 2.2), whose token it is, how long that holds; a service that is not there. */
#include "auth_world.h"
#include "base_assert.h"
#include "http.h"

Suite *auth_token_suite(void);

static const struct {
    const char *body;
    enum auth_token_result result;
    const char *claimed, *name;
    uint64_t expires_s;
} answers[] = {
    {"{\"active\":true,\"username\":\"ann\"}", AUTH_TOKEN_GOOD, "", "ann", 0},
    {"{\"active\":true,\"username\":\"ann\",\"exp\":1700000000}", AUTH_TOKEN_GOOD, "ANN", "ann",
     1700000000},
    {"{\"active\":true,\"username\":\"ann\",\"email\":\"ann@a.example\"}", AUTH_TOKEN_GOOD,
     "Ann@A.example", "ann@a.example", 0},
    {"{\"active\":true,\"sub\":\"Z5O3upPC88QrAjx00dis\"}", AUTH_TOKEN_GOOD, "",
     "Z5O3upPC88QrAjx00dis", 0},
    {"{\"active\":true,\"username\":\"ann\"}", AUTH_TOKEN_GOOD, "bob", "", 0},
    {"{\"active\":true,\"username\":\"a\\nb\",\"email\":7}", AUTH_TOKEN_GOOD, "", "", 0},
    {"{\"active\":true}", AUTH_TOKEN_GOOD, "", "", 0},
    {"{\"active\":true,\"username\":\"ann\",\"exp\":-5}", AUTH_TOKEN_GOOD, "", "ann", 0},
    {"{\"active\":false}", AUTH_TOKEN_BAD, "", "", 0},
    {"{\"active\":false,\"username\":\"ann\"}", AUTH_TOKEN_BAD, "ann", "", 0},
    {"{\"active\":\"true\",\"username\":\"ann\"}", AUTH_TOKEN_UNKNOWN, "", "", 0},
    {"{\"active\":1}", AUTH_TOKEN_UNKNOWN, "", "", 0},
    {"{\"active\":false,\"active\":true,\"username\":\"ann\"}", AUTH_TOKEN_UNKNOWN, "", "", 0},
    {"{}", AUTH_TOKEN_UNKNOWN, "", "", 0},
    {"[true]", AUTH_TOKEN_UNKNOWN, "", "", 0},
    {"{\"active\":true", AUTH_TOKEN_UNKNOWN, "", "", 0},
    {"{\"active\":true} x", AUTH_TOKEN_UNKNOWN, "", "", 0},
    {"<html>", AUTH_TOKEN_UNKNOWN, "", "", 0},
    {"", AUTH_TOKEN_UNKNOWN, "", "", 0},
};

START_TEST(test_answer)
{
    struct auth_token_answer a;

    auth_token_parse(slice_str(answers[_i].body), &a);
    ck_assert_int_eq(a.result, answers[_i].result);
    ck_assert_uint_eq(a.expires_s, answers[_i].expires_s);
    ck_assert(slice_equal(auth_token_name(&a, slice_str(answers[_i].claimed)),
                          slice_str(answers[_i].name)));
    ck_assert_int_eq(a.error[0] != '\0', a.result == AUTH_TOKEN_UNKNOWN);
}
END_TEST

START_TEST(test_cache)
{
    struct auth_token_cache *c = auth_token_cache_create();
    struct auth_token_answer a = {.result = AUTH_TOKEN_GOOD, .names = {"ann"}, .name_len = {3}};
    struct slice token = SLICE_LITERAL("abc");

    ck_assert_ptr_null(auth_token_cache_find(c, token, 0));
    auth_token_cache_keep(c, token, 1000, &a);
    ck_assert_ptr_nonnull(auth_token_cache_find(c, token, 999));
    ck_assert_ptr_null(auth_token_cache_find(c, token, 1000));
    ck_assert_ptr_null(auth_token_cache_find(c, SLICE_LITERAL("abd"), 0));
    for (unsigned i = 0; i < 100000; i++)
        auth_token_cache_keep(c, slice_of(&i, sizeof(i)), 1000, &a);
    auth_token_cache_keep(c, token, 1000, &a);
    auth_token_cache_clear(c);
    ck_assert_ptr_null(auth_token_cache_find(c, token, 0));
    auth_token_cache_destroy(c);
}
END_TEST

static const struct {
    const char *lines;
    const char *secret;
    unsigned mode;
    const char *report;
} setups[] = {
    {"introspection = \"https://id.example.org/check\"", NULL, 0, ""},
    {"introspection = \"http://127.0.0.1:8080/\"", NULL, 0, ""},
    {"introspection = \"http://[::1]:8080/\"", NULL, 0, ""},
    {"introspection = \"http://localhost/\"", NULL, 0, ""},
    {"introspection = \"http://id.example.org/check\"", NULL, 0,
     "mailring.conf:5: introspection: without TLS (https) only on this machine\n"},
    {"dovecot = /run/"
     "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
     "789012",
     NULL, 0, "mailring.conf:5: dovecot: a socket's path has at most 107 characters\n"},
    {"introspection = \"https://u:p@id.example.org/\"", NULL, 0,
     "mailring.conf:5: introspection: \"https://u:p@id.example.org/\" is not a URL like "
     "https://host/path\n"},
    {"introspection = \"https://id.example.org/\" introspection_secret = $//secret", NULL, 0,
     "mailring.conf:5: introspection_secret: cannot read secret: No such file or directory\n"},
    {"introspection = \"https://id.example.org/\" introspection_secret = $//secret", "a:b\n", 0644,
     "mailring.conf:5: introspection_secret: others may read or change secret (mode 644): chmod 600 "
     "it, or 640 for a group that reads it\n"},
    {"introspection = \"https://id.example.org/\" introspection_secret = $//secret", "", 0600,
     "mailring.conf:5: introspection_secret: cannot use secret: it is empty\n"},
    {"introspection = \"https://id.example.org/\" introspection_secret = $//secret", "ab\n", 0600,
     "mailring.conf:5: introspection_secret: cannot use secret: its first line is not "
     "client:secret\n"},
    {"introspection = \"https://id.example.org/\" introspection_secret = $//secret",
     "client:secret\nmore", 0640, ""},
};

START_TEST(test_setup)
{
    if (setups[_i].secret != NULL)
        auth_put_file("secret", setups[_i].secret, setups[_i].mode);
    ck_assert_str_eq(auth_world_load(setups[_i].lines), setups[_i].report);
    if (setups[_i].mode == 0640)
        ck_assert_str_eq(world.setup->secret, "client:secret");
}
END_TEST

#define A "\001"

/* Nobody answers there: 454, and no failure is counted. */
START_TEST(test_unreachable)
{
    struct auth_exchange *x;

    http_setup();
    auth_world_open("introspection = \"http://127.0.0.1:1/\" failures = 1");
    ck_assert(slice_equal(auth_mechanisms(world.auth, &world.peer),
                          SLICE_LITERAL("OAUTHBEARER XOAUTH2")));
    for (unsigned i = 0; i < 3; i++) {
        x = auth_world_begin("XOAUTH2", SLICE_LITERAL("user=u" A "auth=Bearer t" A A));
        ck_assert_int_eq(auth_world_wait(x), AUTH_TEMPORARY);
        auth_end(x);
    }
}
END_TEST

/* One that is known gets in without asking; another's is refused, in a challenge first. */
START_TEST(test_kept)
{
    struct auth_token_answer a = {.result = AUTH_TOKEN_GOOD, .names = {"ann"}, .name_len = {3}};
    struct auth_counters c;
    struct auth_exchange *x;

    auth_world_open("introspection = \"http://127.0.0.1:1/\" failures = 5 delay = 1s");
    auth_token_cache_keep(world.auth->tokens, SLICE_LITERAL("good"), io_unix_ms(world.io) + 60000,
                          &a);
    x = auth_world_begin("OAUTHBEARER", SLICE_LITERAL("n,a=Ann," A "auth=Bearer good" A A));
    ck_assert_int_eq(auth_outcome(x), AUTH_OK);
    ck_assert(slice_equal(auth_user(x), SLICE_LITERAL("ann")));
    auth_end(x);
    x = auth_world_begin("OAUTHBEARER", SLICE_LITERAL("n,a=bob," A "auth=Bearer good" A A));
    ck_assert_int_eq(auth_outcome(x), AUTH_WORKING);
    ck_assert_int_eq(auth_world_wait(x), AUTH_CHALLENGE);
    ck_assert(
        slice_equal(auth_challenge(x), SLICE_LITERAL("eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=")));
    auth_world_respond(x, SLICE_LITERAL(A));
    ck_assert_int_eq(auth_outcome(x), AUTH_REJECTED);
    auth_end(x);
    auth_counters(world.auth, &c);
    ck_assert_uint_eq(c.rejected, 1);
    ck_assert_uint_eq(auth_guard_look(&world.shared->guard, auth_guard_client_key(&world.peer.ip),
                                      io_now_ms(world.io) / 1000, 60),
                      1);
    /* Whoever only asks where tokens are to be had has not failed. */
    x = auth_world_begin("OAUTHBEARER", SLICE_LITERAL("n,," A "auth=" A A));
    ck_assert_int_eq(auth_outcome(x), AUTH_CHALLENGE);
    auth_world_respond(x, SLICE_LITERAL(A));
    ck_assert_int_eq(auth_outcome(x), AUTH_REJECTED);
    auth_end(x);
    ck_assert_uint_eq(auth_guard_look(&world.shared->guard, auth_guard_client_key(&world.peer.ip),
                                      io_now_ms(world.io) / 1000, 60),
                      1);
}
END_TEST

Suite *auth_token_suite(void)
{
    Suite *suite = suite_create("auth_token");
    TCase *tc = tcase_create("token");

    tcase_add_checked_fixture(tc, auth_folder_setup, auth_world_teardown);
    tcase_add_loop_test(tc, test_answer, 0, ARRAY_LEN(answers));
    tcase_add_test(tc, test_cache);
    tcase_add_loop_test(tc, test_setup, 0, ARRAY_LEN(setups));
    tcase_add_test(tc, test_unreachable);
    tcase_add_test(tc, test_kept);
    tcase_set_timeout(tc, 30);
    suite_add_tcase(suite, tc);
    return suite;
}
