/* Dovecot is asked, answers in pieces, is not there, stalls, dies, and talks nonsense. */
#include "auth_dovecot_line_priv.h"
#include "auth_world.h"
#include "base_assert.h"
#include "fake_dovecot.h"

Suite *auth_dovecot_suite(void);

#define SHA512                                                                   \
    "$6$rounds=1000$saltsalt$LAV5VE5Y7w1d73x1mFNspYWUpazfmwv2SoepNXNKJ/otop/Zok" \
    "96Hr8Q13LEv0DRY/x8v0/crpIjl8NJSAqXV/" /* secret */
#define LINES "dovecot = " FAKE_DOVECOT_PATH "\nfailures = 3\ndelay = 10ms\n"

static void open_world(enum fake_mood mood)
{
    auth_world_open(LINES);
    fake_dovecot_start(mood);
    auth_world_run_ms(100);
}

static struct slice offered(void)
{
    return auth_mechanisms(world.auth, &world.peer);
}

START_TEST(test_offer)
{
    auth_world_open(LINES);
    ck_assert(slice_equal(offered(), SLICE_LITERAL("PLAIN LOGIN"))); /* before it was asked */
    fake_dovecot_start(FAKE_GOOD);
    auth_world_run_ms(100);
    ck_assert(slice_equal(offered(), SLICE_LITERAL("PLAIN LOGIN CRAM-MD5")));
    ck_assert_uint_eq(fake.connections, 1);
    fake_dovecot_stop();
}
END_TEST

START_TEST(test_password)
{
    open_world(FAKE_GOOD);
    ck_assert_int_eq(auth_world_plain("ann", "secret", NULL), AUTH_OK);
    ck_assert_int_eq(auth_world_plain("ann", "wrong", NULL), AUTH_REJECTED);
    ck_assert_int_eq(auth_world_plain("temp", "secret", NULL), AUTH_TEMPORARY);
    ck_assert_int_eq(auth_world_plain("bob", "secret", NULL), AUTH_OK);
    ck_assert_uint_eq(fake.connections, 1);
    (void)buf_append_byte(&fake.heard, '\0');
    const char *heard = (const char *)buf_slice(&fake.heard).data;
    ck_assert_ptr_nonnull(strstr(heard, "VERSION\t1\t1\nCPID\t"));
    ck_assert_ptr_nonnull(strstr(heard, "AUTH\t1\tPLAIN\tservice=smtp\tnologin\tlip="));
    ck_assert_ptr_nonnull(strstr(heard, "\trip=192.0.2.1\t"));
    ck_assert_ptr_nonnull(strstr(heard, "\tresp=AGFubgBzZWNyZXQ=\n"));
    ck_assert_ptr_null(strstr(heard, "secured"));
    fake_dovecot_stop();
}
END_TEST

/* Bytes come one by one, and many ask at once. */
START_TEST(test_pieces)
{
    struct auth_exchange *x[12];

    auth_world_open(LINES);
    sim_options(world.sim)->recv_split = 9000;
    fake_dovecot_start(FAKE_GOOD);
    auth_world_run_ms(2000);
    for (unsigned i = 0; i < 12; i++)
        x[i] = auth_world_begin("PLAIN", i % 2 ? SLICE_LITERAL("\0ann\0secret")
                                               : SLICE_LITERAL("\0bob\0secret"));
    for (unsigned i = 0; i < 12; i++) {
        ck_assert_int_eq(auth_world_wait(x[i]), AUTH_OK);
        ck_assert(
            slice_equal(auth_user(x[i]), i % 2 ? SLICE_LITERAL("ann") : SLICE_LITERAL("bob")));
        auth_end(x[i]);
    }
    fake_dovecot_stop();
}
END_TEST

static enum auth_outcome cram(const char *response)
{
    struct auth_exchange *x = auth_world_begin("cram-md5", SLICE_NULL);
    enum auth_outcome outcome = auth_world_wait(x);

    ck_assert_int_eq(outcome, AUTH_CHALLENGE);
    ck_assert(slice_equal(auth_challenge(x), SLICE_LITERAL("PDEyMz4=")));
    auth_respond(x, slice_str(response));
    outcome = auth_world_wait(x);
    if (outcome == AUTH_OK)
        ck_assert(slice_equal(auth_user(x), SLICE_LITERAL("Ann"))); /* in its words */
    auth_end(x);
    return outcome;
}

START_TEST(test_relayed)
{
    open_world(FAKE_GOOD);
    ck_assert_int_eq(cram("Z29vZA=="), AUTH_OK);
    ck_assert_int_eq(cram("YmFk"), AUTH_REJECTED);
    ck_assert_int_eq(cram("*"), AUTH_CANCELLED);
    ck_assert_int_eq(cram("a\tb="), AUTH_MALFORMED); /* not a way into its protocol */
    ck_assert_int_eq(cram("YmFk"), AUTH_REJECTED);
    ck_assert_int_eq(cram("YmFk"), AUTH_REJECTED);
    ck_assert_int_eq(cram("Z29vZA=="), AUTH_BANNED_USER);
    (void)buf_append_byte(&fake.heard, '\0');
    ck_assert_ptr_nonnull(strstr((const char *)buf_slice(&fake.heard).data, "CANCEL\t3\n"));
    fake_dovecot_stop();
}
END_TEST

/* While the client thinks, Dovecot is restarted, or loses patience: what the client then says, or that it
 * gives up, changes nothing. */
START_TEST(test_given_up)
{
    static const struct {
        const char *response;
        bool restart;
        enum auth_outcome outcome;
    } cases[] = {
        {"Z29vZA==", true, AUTH_TEMPORARY}, {"*", true, AUTH_TEMPORARY},
        {"a\tb=", true, AUTH_TEMPORARY},    {"Z29vZA==", false, AUTH_REJECTED},
        {"*", false, AUTH_REJECTED},
    };
    struct auth_exchange *x;

    open_world(FAKE_GOOD);
    x = auth_world_begin("CRAM-MD5", SLICE_NULL);
    ck_assert_int_eq(auth_world_wait(x), AUTH_CHALLENGE);
    if (cases[_i].restart)
        fake_dovecot_hang_up();
    else
        fake_dovecot_say("FAIL\t1\tuser=ann\treason=timeout\n");
    auth_world_run_ms(_i % 2 == 0 ? 5 : 100); /* the answer to a failure is ready, or waits */
    auth_respond(x, slice_str(cases[_i].response));
    ck_assert_int_eq(auth_world_wait(x), cases[_i].outcome);
    auth_end(x);
    fake_dovecot_stop();
}
END_TEST

/* The same, and the client says nothing more at all. */
START_TEST(test_given_up_by_both)
{
    struct auth_exchange *x;

    open_world(FAKE_GOOD);
    x = auth_world_begin("CRAM-MD5", SLICE_NULL);
    ck_assert_int_eq(auth_world_wait(x), AUTH_CHALLENGE);
    fake_dovecot_say("FAIL\t1\tuser=ann\treason=timeout\n");
    auth_world_run_ms(_i == 0 ? 5 : 100);
    auth_end(x);
    auth_world_settle();
    fake_dovecot_stop();
}
END_TEST

/* No line of SMTP has room for more than 12288 octets. */
START_TEST(test_long_challenge)
{
    struct auth_exchange *x;
    struct buf line;
    bool fits = _i == 0;

    open_world(FAKE_STALL);
    x = auth_world_begin("CRAM-MD5", SLICE_NULL);
    auth_world_settle();
    buf_init(&line, 0);
    (void)buf_append_str(&line, "CONT\t1\t");
    for (unsigned i = 0; i < (fits ? 12288U : 12292U); i++)
        (void)buf_append_byte(&line, 'A');
    (void)buf_append(&line, "\n", 2);
    fake_dovecot_say((const char *)buf_slice(&line).data);
    ck_assert_int_eq(auth_world_wait(x), fits ? AUTH_CHALLENGE : AUTH_TEMPORARY);
    auth_end(x);
    buf_finish(&line);
    fake_dovecot_stop();
}
END_TEST

/* Who hangs up has guessed all the same, and nobody is called. */
START_TEST(test_abandoned)
{
    open_world(FAKE_GOOD);
    for (unsigned i = 0; i < 3; i++) {
        auth_end(auth_world_begin("PLAIN", SLICE_LITERAL("\0ann\0guess")));
        auth_world_run_ms(100);
    }
    ck_assert_uint_eq(world.ready, 0);
    ck_assert_int_eq(auth_world_plain("ann", "secret", NULL), AUTH_BANNED_USER);
    fake_dovecot_stop();
}
END_TEST

/* Nobody is there: an answer at once, and the next try in a second, then later and later. */
START_TEST(test_not_there)
{
    uint64_t ms;

    auth_world_open(LINES);
    auth_world_run_ms(100);
    ck_assert_int_eq(auth_world_plain("ann", "secret", &ms), AUTH_TEMPORARY);
    ck_assert_uint_le(ms, 10);
    auth_world_run_ms(60000);
    fake_dovecot_start(FAKE_GOOD);
    auth_world_run_ms(AUTH_DOVECOT_RETRY_MAX_MS);
    ck_assert_int_eq(auth_world_plain("ann", "secret", NULL), AUTH_OK);
    /* And again, when it was restarted. */
    fake_dovecot_hang_up();
    auth_world_run_ms(100);
    ck_assert_int_eq(auth_world_plain("ann", "secret", NULL), AUTH_TEMPORARY);
    ck_assert(slice_equal(offered(), SLICE_LITERAL("PLAIN LOGIN CRAM-MD5")));
    auth_world_run_ms(2000);
    ck_assert_int_eq(auth_world_plain("ann", "secret", NULL), AUTH_OK);
    ck_assert_uint_eq(fake.connections, 2);
    fake_dovecot_stop();
}
END_TEST

static const enum fake_mood moods[] = {FAKE_SILENT,   FAKE_OTHER,    FAKE_BABBLE,
                                       FAKE_POOR,     FAKE_STALL,    FAKE_DIE,
                                       FAKE_NONSENSE, FAKE_BAD_NAME, FAKE_BAD_BASE64};

/* Whatever it does: 454 within its time, no failure is counted, and all is well when it is well again. */
START_TEST(test_moods)
{
    uint64_t ms;

    open_world(moods[_i]);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(auth_world_plain("ann", "secret", &ms), AUTH_TEMPORARY);
        ck_assert_uint_le(ms, AUTH_DOVECOT_ANSWER_MS + 10);
    }
    fake.mood = FAKE_GOOD;
    fake_dovecot_hang_up();
    auth_world_run_ms(2 * AUTH_DOVECOT_RETRY_MAX_MS);
    ck_assert_int_eq(auth_world_plain("ann", "secret", NULL), AUTH_OK);
    fake_dovecot_stop();
}
END_TEST

/* The users file first; whom it does not know, Dovecot may. */
START_TEST(test_beside_users)
{
    auth_put_file("users", "eve:" SHA512 "\nann:*\n", 0600);
    auth_world_open("users = $//users\n" LINES);
    fake_dovecot_start(FAKE_GOOD);
    auth_world_run_ms(100);
    ck_assert_int_eq(auth_world_plain("eve", "secret", NULL), AUTH_OK);
    ck_assert_int_eq(auth_world_plain("ann", "secret", NULL), AUTH_REJECTED); /* locked */
    ck_assert_int_eq(auth_world_plain("bob", "secret", NULL), AUTH_OK);
    fake_dovecot_stop();
}
END_TEST

/* A reload may send it away while it is asked. */
START_TEST(test_reload)
{
    struct conf *conf = NULL;
    struct conf_errors errors = {0};
    struct auth_setup *setup;
    struct auth_exchange *x;

    open_world(FAKE_STALL);
    x = auth_world_begin("PLAIN", SLICE_LITERAL("\0ann\0secret"));
    auth_put_file("users", "eve:" SHA512 "\n", 0600);
    auth_put_file(
        "other.conf",
        "hostname = mx.example domain a.example { to = discard } auth { users = $//users }", 0600);
    ck_assert(conf_load(auth_path("other.conf"), &conf, &errors));
    setup = auth_setup_create(conf, &errors);
    auth_reload(world.auth, setup);
    auth_setup_unref(setup);
    conf_free(conf);
    ck_assert_int_eq(auth_world_wait(x), AUTH_TEMPORARY);
    auth_end(x);
    auth_world_run_ms(100);
    ck_assert_int_eq(fake.fd, -1);
    ck_assert(auth_idle(world.auth));
    fake_dovecot_stop();
}
END_TEST

/* ---- lines ---------------------------------------------------------------------------------------- */

static const struct {
    const char *line;
    bool good;
    uint32_t id;
    enum auth_dovecot_answer what;
    const char *data;
} answers[] = {
    {"OK\t1\tuser=ann", true, 1, AUTH_DOVECOT_OK, "ann"},
    {"OK\t4294967295\tx\tuser=a\001tb\001\061c", true, UINT32_MAX, AUTH_DOVECOT_OK, "a\tb\001c"},
    {"FAIL\t2", true, 2, AUTH_DOVECOT_FAILED, ""},
    {"FAIL\t2\tuser=ann\ttemp", true, 2, AUTH_DOVECOT_TEMPORARY, "ann"},
    {"FAIL\t2\tcode=temp_fail\tuser=ann", true, 2, AUTH_DOVECOT_TEMPORARY, "ann"},
    {"FAIL\t2\tuser=ann\tcode=user_disabled", true, 2, AUTH_DOVECOT_FAILED, "ann"},
    {"CONT\t3\tPDEyMz4=", true, 3, AUTH_DOVECOT_CHALLENGE, "PDEyMz4="},
    {"CONT\t3\t", true, 3, AUTH_DOVECOT_CHALLENGE, ""},
    {"CONT\t3", true, 3, AUTH_DOVECOT_CHALLENGE, ""},
    {"", true, 0, 0, NULL},
    {"MECH\tPLAIN", true, 0, 0, NULL},
    {"OK", false, 0, 0, NULL},
    {"OK\t1", false, 0, 0, NULL},
    {"OK\t1\tuser=", false, 0, 0, NULL},
    {"OK\t0\tuser=a", false, 0, 0, NULL},
    {"OK\tx\tuser=a", false, 0, 0, NULL},
    {"OK\t4294967296\tuser=a", false, 0, 0, NULL},
    {"OK\t1\tuser=a\001", false, 0, 0, NULL},
    {"OK\t1\tuser=a\001x", false, 0, 0, NULL},
};

START_TEST(test_answer)
{
    struct dovecot_answer a;

    ck_assert_int_eq(dovecot_answer_parse(slice_str(answers[_i].line), &a), answers[_i].good);
    if (!answers[_i].good)
        return;
    ck_assert_uint_eq(a.id, answers[_i].id);
    if (answers[_i].data != NULL) {
        ck_assert_int_eq(a.what, answers[_i].what);
        ck_assert(slice_equal(a.data, slice_str(answers[_i].data)));
    }
}
END_TEST

Suite *auth_dovecot_suite(void)
{
    Suite *suite = suite_create("auth_dovecot");
    TCase *tc = tcase_create("dovecot");

    tcase_add_checked_fixture(tc, auth_folder_setup, auth_world_teardown);
    tcase_add_test(tc, test_offer);
    tcase_add_test(tc, test_password);
    tcase_add_test(tc, test_pieces);
    tcase_add_test(tc, test_relayed);
    tcase_add_loop_test(tc, test_given_up, 0, 5);
    tcase_add_loop_test(tc, test_given_up_by_both, 0, 2);
    tcase_add_loop_test(tc, test_long_challenge, 0, 2);
    tcase_add_test(tc, test_abandoned);
    tcase_add_test(tc, test_not_there);
    tcase_add_loop_test(tc, test_moods, 0, ARRAY_LEN(moods));
    tcase_add_test(tc, test_beside_users);
    tcase_add_test(tc, test_reload);
    tcase_add_loop_test(tc, test_answer, 0, ARRAY_LEN(answers));
    tcase_set_timeout(tc, 30);
    suite_add_tcase(suite, tc);
    return suite;
}
