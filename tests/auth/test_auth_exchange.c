/* Logins from AUTH to their outcome: who gets in, what the others hear and when, and who is shut out. */
#include <stdio.h>

#include "auth_world.h"
#include "base_assert.h"

Suite *auth_exchange_suite(void);

#define SHA512                                                                   \
    "$6$rounds=1000$saltsalt$LAV5VE5Y7w1d73x1mFNspYWUpazfmwv2SoepNXNKJ/otop/Zok" \
    "96Hr8Q13LEv0DRY/x8v0/crpIjl8NJSAqXV/" /* secret */
#define SCRAM                                                                                    \
    "{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=," \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=" /* pencil */

static void open_with(const char *lines)
{
    auth_put_file("users",
                  "ann:" SHA512 ":ann@a.example\nbob:" SHA512 "\nlocked:!" SHA512 "\npencil:" SCRAM
                  "\n",
                  0600);
    auth_world_open(lines);
}

static void open_usual(void)
{
    open_with("users = $//users\nfailures = 4\nban = 10m\ndelay = 1s\n");
}

static struct auth_counters counters(void)
{
    struct auth_counters c;

    auth_counters(world.auth, &c);
    return c;
}

START_TEST(test_plain)
{
    struct auth_exchange *x;

    open_usual();
    x = auth_world_begin("PLAIN", SLICE_LITERAL("\0ANN\0secret"));
    ck_assert_int_eq(auth_outcome(x), AUTH_WORKING);
    ck_assert_uint_eq(world.ready, 0);
    auth_world_settle();
    ck_assert_uint_eq(world.ready, 1);
    ck_assert_int_eq(auth_outcome(x), AUTH_OK);
    ck_assert(slice_equal(auth_user(x), SLICE_LITERAL("ann")));
    ck_assert_uint_eq(auth_reply(AUTH_OK)->code, 235);
    ck_assert(!auth_idle(world.auth));
    auth_end(x);
    ck_assert(auth_idle(world.auth));
    ck_assert_uint_eq(counters().ok, 1);
    /* By a verifier of SCRAM too. */
    ck_assert_int_eq(auth_world_plain("pencil", "pencil", NULL), AUTH_OK);
}
END_TEST

START_TEST(test_challenges)
{
    struct auth_exchange *x;

    open_usual();
    x = auth_world_begin("plain", SLICE_NULL);
    ck_assert_int_eq(auth_outcome(x), AUTH_CHALLENGE);
    ck_assert_uint_eq(auth_challenge(x).len, 0);
    auth_world_respond(x, SLICE_LITERAL("\0bob\0secret"));
    ck_assert_int_eq(auth_world_wait(x), AUTH_OK);
    auth_end(x);
    x = auth_world_begin("LOGIN", SLICE_NULL);
    ck_assert(slice_equal(auth_challenge(x), SLICE_LITERAL("VXNlcm5hbWU6")));
    auth_world_respond(x, SLICE_LITERAL("bob"));
    ck_assert(slice_equal(auth_challenge(x), SLICE_LITERAL("UGFzc3dvcmQ6")));
    auth_world_respond(x, SLICE_LITERAL("secret"));
    ck_assert_int_eq(auth_world_wait(x), AUTH_OK);
    auth_end(x);
    x = auth_world_begin("LOGIN", SLICE_LITERAL("bob"));
    ck_assert(slice_equal(auth_challenge(x), SLICE_LITERAL("UGFzc3dvcmQ6")));
    auth_respond(x, SLICE_LITERAL("*"));
    ck_assert_int_eq(auth_outcome(x), AUTH_CANCELLED);
    auth_end(x);
    ck_assert_uint_eq(world.ready, 2);
    ck_assert_uint_eq(counters().malformed, 1);
}
END_TEST

static const struct {
    const char *user, *password;
} wrong[] = {{"ann", "Secret"},
             {"nobody", "secret"},
             {"locked", "secret"},
             {"pencil", "secret"},
             {"ann ", "secret"}};

/* All the same, and all computed. */
START_TEST(test_wrong)
{
    uint64_t ms;

    open_usual();
    ck_assert_int_eq(auth_world_plain(wrong[_i].user, wrong[_i].password, &ms), AUTH_REJECTED);
    ck_assert_uint_ge(ms, 1000);
    ck_assert_uint_le(ms, 1050);
    ck_assert_uint_eq(counters().rejected, 1);
    ck_assert_uint_eq(auth_reply(AUTH_REJECTED)->code, 535);
}
END_TEST

START_TEST(test_unknown_is_computed)
{
    struct auth_exchange *x;

    open_usual();
    x = auth_world_begin("PLAIN", SLICE_LITERAL("\0nobody\0secret"));
    ck_assert_uint_eq(work_door_busy(world.door), 1);
    ck_assert_int_eq(auth_world_wait(x), AUTH_REJECTED);
    auth_end(x);
}
END_TEST

static const struct {
    const char *mechanism, *response;
    enum auth_outcome outcome;
    unsigned code;
} malformed[] = {
    {"PLAIN", "!!!!", AUTH_MALFORMED, 501},
    {"PLAIN", "AGFubgBzZWNyZXQ", AUTH_MALFORMED, 501},
    {"PLAIN", "=", AUTH_MALFORMED, 501},
    {"PLAIN", "YW5u", AUTH_MALFORMED, 501},
    {"PLAIN", "*", AUTH_CANCELLED, 501},
    {"LOGIN", "AA==", AUTH_MALFORMED, 501},
    {"CRAM-MD5", "", AUTH_UNKNOWN_MECHANISM, 504},
    {"SCRAM-SHA-256", "", AUTH_UNKNOWN_MECHANISM, 504}, /* not all have verifiers */
    {"EXTERNAL", "=", AUTH_UNKNOWN_MECHANISM, 504},
    {"XOAUTH2", "=", AUTH_UNKNOWN_MECHANISM, 504},
    {"", "", AUTH_UNKNOWN_MECHANISM, 504},
};

START_TEST(test_malformed)
{
    struct auth_request request = {.peer = &world.peer};
    struct auth_exchange *x;

    open_usual();
    request.mechanism = slice_str(malformed[_i].mechanism);
    request.has_response = malformed[_i].response[0] != '\0';
    request.response = slice_str(malformed[_i].response);
    x = auth_begin(world.auth, &request);
    ck_assert_int_eq(auth_outcome(x), malformed[_i].outcome);
    ck_assert_uint_eq(auth_reply(auth_outcome(x))->code, malformed[_i].code);
    auth_end(x);
    /* It is no failure: nobody was guessed at. */
    ck_assert_int_eq(auth_world_plain("ann", "secret", NULL), AUTH_OK);
}
END_TEST

START_TEST(test_too_long)
{
    static uint8_t line[12289];
    struct auth_exchange *x;

    open_usual();
    memset(line, 'A', sizeof(line));
    x = auth_world_begin("PLAIN", SLICE_NULL);
    auth_respond(x, slice_of(line, sizeof(line)));
    ck_assert_int_eq(auth_outcome(x), AUTH_TOO_LONG);
    auth_end(x);
    x = auth_world_begin("PLAIN", SLICE_NULL);
    auth_respond(x, slice_of(line, sizeof(line) - 1));
    ck_assert_int_eq(auth_outcome(x), AUTH_MALFORMED);
    auth_end(x);
}
END_TEST

/* Each guess costs twice the time; then the user is shut out from here, even with the right password; others
 * from here, and the user from elsewhere, are not. */
START_TEST(test_user_ban)
{
    uint64_t ms;

    open_usual();
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(auth_world_plain("ann", "wrong", &ms), AUTH_REJECTED);
        ck_assert_uint_ge(ms, 1000u << i);
        ck_assert_uint_le(ms, (1000u << i) + 50);
    }
    ck_assert_int_eq(auth_world_plain("Ann", "secret", &ms), AUTH_BANNED_USER);
    ck_assert_uint_le(ms, 10);
    ck_assert_uint_eq(work_door_busy(world.door), 0);
    ck_assert_uint_eq(auth_reply(AUTH_BANNED_USER)->code, 454);
    ck_assert_int_eq(auth_world_plain("bob", "secret", NULL), AUTH_OK);
    auth_world_from("192.0.2.2");
    ck_assert_int_eq(auth_world_plain("ann", "secret", NULL), AUTH_OK);
    auth_world_from("192.0.2.1");
    ck_assert_uint_eq(counters().bans_users, 1);
    ck_assert_uint_eq(counters().banned, 1);
    auth_world_run_ms(10 * 60 * 1000);
    ck_assert_int_eq(auth_world_plain("ann", "secret", NULL), AUTH_OK);
}
END_TEST

/* Many names from one address: it is shut out as a whole. */
START_TEST(test_client_ban)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    struct auth_exchange *x;

    open_usual();
    auth_world_from("2001:db8:1:2::3");
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(auth_world_plain(names[i], "secret", NULL), AUTH_REJECTED);
    auth_world_from("2001:db8:1:2:ffff::1");
    x = auth_world_begin("PLAIN", SLICE_NULL);
    ck_assert_int_eq(auth_outcome(x), AUTH_BANNED);
    ck_assert_uint_eq(auth_reply(AUTH_BANNED)->code, 421);
    auth_end(x);
    auth_world_from("2001:db8:1:3::1");
    ck_assert_int_eq(auth_world_plain("ann", "secret", NULL), AUTH_OK);
    ck_assert_uint_eq(counters().bans_addresses, 1);
    auth_world_from("2001:db8:1:2::3");
    auth_world_run_ms(10 * 60 * 1000);
    ck_assert_int_eq(auth_world_plain("ann", "secret", NULL), AUTH_OK);
}
END_TEST

/* Webmail speaks for many: it is not shut out, but each of its users is. */
START_TEST(test_gateway)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};

    open_usual();
    auth_world_from("10.9.1.1");
    for (unsigned i = 0; i < 6; i++)
        ck_assert_int_eq(auth_world_plain(names[i], "secret", NULL), AUTH_REJECTED);
    ck_assert_int_eq(auth_world_plain("ann", "secret", NULL), AUTH_OK);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(auth_world_plain("ann", "wrong", NULL), AUTH_REJECTED);
    ck_assert_int_eq(auth_world_plain("ann", "secret", NULL), AUTH_BANNED_USER);
}
END_TEST

/* He who remembers after all is forgiven. */
START_TEST(test_forgiven)
{
    uint64_t ms;

    open_usual();
    for (unsigned round = 0; round < 5; round++) {
        ck_assert_int_eq(auth_world_plain("ann", "wrong", &ms), AUTH_REJECTED);
        ck_assert_uint_le(ms, 1050);
        ck_assert_int_eq(auth_world_plain("ann", "wrong", NULL), AUTH_REJECTED);
        ck_assert_int_eq(auth_world_plain("ann", "secret", NULL), AUTH_OK);
    }
}
END_TEST

/* Guesses side by side tell no more than one after the other; and who hangs up is counted all the same. */
START_TEST(test_side_by_side)
{
    struct auth_exchange *x[8];
    unsigned ok = 0;

    open_usual();
    for (unsigned i = 0; i < 8; i++)
        x[i] = auth_world_begin("PLAIN", i == 7 ? SLICE_LITERAL("\0ann\0secret")
                                                : SLICE_LITERAL("\0ann\0guess"));
    for (unsigned i = 0; i < 8; i++) {
        ok += auth_world_wait(x[i]) == AUTH_OK;
        auth_end(x[i]);
    }
    ck_assert_uint_eq(ok, 0);
    for (unsigned i = 0; i < 4; i++)
        auth_end(auth_world_begin("PLAIN", SLICE_LITERAL("\0bob\0guess")));
    auth_world_settle();
    ck_assert_int_eq(auth_world_plain("bob", "secret", NULL), AUTH_BANNED_USER);
    ck_assert(auth_idle(world.auth));
}
END_TEST

/* After auth_end() nobody is called, wherever the exchange was. */
START_TEST(test_abandoned)
{
    struct auth_exchange *x;

    open_usual();
    auth_end(auth_world_begin("PLAIN", SLICE_NULL));
    auth_end(auth_world_begin("PLAIN", SLICE_LITERAL("\0ann\0secret")));
    ck_assert(!auth_idle(world.auth));
    auth_world_settle();
    ck_assert(auth_idle(world.auth));
    x = auth_world_begin("PLAIN", SLICE_LITERAL("\0ann\0wrong"));
    auth_world_settle();
    auth_end(x); /* while it waits */
    ck_assert(auth_idle(world.auth));
    auth_world_run_ms(5000);
    auth_end(NULL);
    ck_assert_uint_eq(world.ready, 0);
}
END_TEST

START_TEST(test_too_much)
{
    struct auth_exchange *x[17];

    open_usual();
    for (unsigned i = 0; i < 17; i++)
        x[i] = auth_world_begin("PLAIN", SLICE_LITERAL("\0ann\0secret"));
    ck_assert_int_eq(auth_outcome(x[16]), AUTH_TEMPORARY);
    ck_assert_uint_eq(auth_reply(AUTH_TEMPORARY)->code, 454);
    for (unsigned i = 0; i < 17; i++) {
        ck_assert_int_eq(auth_world_wait(x[i]), i < 16 ? AUTH_OK : AUTH_TEMPORARY);
        auth_end(x[i]);
    }
}
END_TEST

START_TEST(test_offers)
{
    struct conf_auth *auth;
    struct auth_exchange *x;

    open_usual();
    ck_assert(slice_equal(auth_mechanisms(world.auth, &world.peer), SLICE_LITERAL("PLAIN LOGIN")));
    ck_assert_ptr_eq(auth_mechanisms(world.auth, &world.peer).data,
                     auth_mechanisms(world.auth, &world.peer).data);
    auth = (struct conf_auth *)&world.conf->auth;
    auth->plaintext = false;
    ck_assert_uint_eq(auth_mechanisms(world.auth, &world.peer).len, 0);
    x = auth_world_begin("PLAIN", SLICE_LITERAL("\0ann\0secret"));
    ck_assert_int_eq(auth_outcome(x), AUTH_NEEDS_TLS);
    ck_assert_uint_eq(auth_reply(AUTH_NEEDS_TLS)->code, 538);
    auth_end(x);
}
END_TEST

START_TEST(test_listed)
{
    open_with("users = $//users\nmechanisms = {LOGIN, SCRAM-SHA-256, X-UNKNOWN}");
    ck_assert(slice_equal(auth_mechanisms(world.auth, &world.peer),
                          SLICE_LITERAL("LOGIN SCRAM-SHA-256")));
}
END_TEST

START_TEST(test_all_scram)
{
    auth_put_file("users", "pencil:" SCRAM "\nlocked:*\n", 0600);
    auth_world_open("users = $//users\n");
    ck_assert(slice_equal(auth_mechanisms(world.auth, &world.peer),
                          SLICE_LITERAL("SCRAM-SHA-256 PLAIN LOGIN")));
}
END_TEST

/* ---- SCRAM, with a client of our own ------------------------------------------------------------ */

static void scram_final(struct slice challenge, const char *user, const char *password,
                        struct buf *final)
{
    uint8_t text[1024], salt[64], salted[32], key[32], stored[32], signature[32];
    size_t len, salt_len;
    uint64_t iterations;
    struct buf message;
    struct slice rest, nonce;
    ptrdiff_t comma;

    ck_assert(base64_decode(challenge, text, &len));
    rest = slice_of(text, len);
    comma = slice_find(rest, ',');
    nonce = slice_head(rest, (size_t)comma);
    slice_advance(&rest, nonce.len + 3);
    comma = slice_find(rest, ',');
    ck_assert(base64_decode(slice_head(rest, (size_t)comma), salt, &salt_len));
    slice_advance(&rest, (size_t)comma + 3);
    ck_assert(slice_to_u64(rest, &iterations));
    (void)buf_printf(final, "c=biws,%.*s", SLICE_ARG(nonce));
    buf_init(&message, 0);
    (void)buf_printf(&message, "n=%s,r=abc,%.*s,%.*s", user, (int)len, (const char *)text,
                     SLICE_ARG(buf_slice(final)));
    tls_pbkdf2(TLS_HASH_SHA256, slice_str(password), slice_of(salt, salt_len), (uint32_t)iterations,
               salted);
    tls_hmac(TLS_HASH_SHA256, slice_of(salted, 32), SLICE_LITERAL("Client Key"), key);
    tls_digest(TLS_HASH_SHA256, slice_of(key, 32), stored);
    tls_hmac(TLS_HASH_SHA256, slice_of(stored, 32), buf_slice(&message), signature);
    for (unsigned i = 0; i < 32; i++)
        key[i] ^= signature[i];
    (void)buf_append_str(final, ",p=");
    (void)base64_encode(slice_of(key, 32), final);
    buf_finish(&message);
}

static enum auth_outcome scram(const char *user, const char *password)
{
    struct auth_exchange *x;
    enum auth_outcome outcome;
    struct buf first, final;

    buf_init(&first, 0);
    buf_init(&final, 0);
    (void)buf_printf(&first, "n,,n=%s,r=abc", user);
    x = auth_world_begin("SCRAM-SHA-256", buf_slice(&first));
    if (auth_outcome(x) == AUTH_CHALLENGE) {
        scram_final(auth_challenge(x), user, password, &final);
        auth_world_respond(x, buf_slice(&final));
    }
    outcome = auth_world_wait(x);
    if (outcome == AUTH_CHALLENGE) { /* the server's signature */
        auth_world_respond(x, SLICE_NULL);
        outcome = auth_outcome(x);
    }
    if (outcome == AUTH_OK)
        ck_assert(slice_equal_nocase(auth_user(x), slice_str(user)));
    auth_end(x);
    buf_finish(&first);
    buf_finish(&final);
    return outcome;
}

START_TEST(test_scram)
{
    open_with("users = $//users\nmechanisms = {PLAIN, SCRAM-SHA-256}\nfailures = 2\n");
    ck_assert_int_eq(scram("pencil", "pencil"), AUTH_OK);
    ck_assert_int_eq(scram("Pencil", "pencil"), AUTH_OK);
    ck_assert_int_eq(scram("pencil", "pencils"), AUTH_REJECTED);
    ck_assert_int_eq(scram("ann", "secret"), AUTH_REJECTED);  /* she has no verifier */
    ck_assert_int_eq(scram("pencil", "pencil"), AUTH_BANNED); /* two names failed */
    auth_world_from("192.0.2.9");
    ck_assert_int_eq(scram("pencil", "pencils"), AUTH_REJECTED);
    ck_assert_int_eq(scram("pencil", "pencils"), AUTH_REJECTED);
    ck_assert_int_eq(scram("pencil", "pencil"), AUTH_BANNED_USER);
}
END_TEST

/* Guesses side by side are no way around a ban: begun before it, ended behind it. */
START_TEST(test_scram_side_by_side)
{
    struct auth_exchange *x[3];
    struct buf final;

    open_with("users = $//users\nmechanisms = {PLAIN, SCRAM-SHA-256}\nfailures = 2\n");
    for (unsigned i = 0; i < 3; i++)
        x[i] = auth_world_begin("SCRAM-SHA-256", SLICE_LITERAL("n,,n=pencil,r=abc"));
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(auth_outcome(x[i]), AUTH_CHALLENGE);
        buf_init(&final, 0);
        scram_final(auth_challenge(x[i]), "pencil", i == 2 ? "pencil" : "guess", &final);
        auth_world_respond(x[i], buf_slice(&final));
        buf_finish(&final);
        ck_assert_int_eq(auth_world_wait(x[i]), i == 2 ? AUTH_BANNED_USER : AUTH_REJECTED);
        auth_end(x[i]);
    }
}
END_TEST

/* ---- reload, status ------------------------------------------------------------------------------ */

START_TEST(test_reload)
{
    struct conf_errors errors = {0};
    struct auth_setup *setup;
    struct auth_exchange *x;

    open_usual();
    x = auth_world_begin("PLAIN", SLICE_NULL);
    auth_put_file("users", "ann:*\nnew:" SHA512 "\n", 0600);
    setup = auth_setup_create(world.conf, &errors);
    ck_assert_ptr_nonnull(setup);
    auth_reload(world.auth, setup);
    auth_setup_unref(setup);
    /* What was begun before ends as it was then. */
    auth_world_respond(x, SLICE_LITERAL("\0ann\0secret"));
    ck_assert_int_eq(auth_world_wait(x), AUTH_OK);
    auth_end(x);
    ck_assert_int_eq(auth_world_plain("ann", "secret", NULL), AUTH_REJECTED);
    ck_assert_int_eq(auth_world_plain("new", "secret", NULL), AUTH_OK);
    auth_put_file("users", "ann\n", 0600);
    ck_assert_ptr_null(auth_setup_create(world.conf, &errors));
    ck_assert_uint_eq(errors.count, 1);
    conf_errors_finish(&errors);
}
END_TEST

static struct auth_ban listed[AUTH_BANS_LISTED];
static unsigned listed_count;

static bool note_ban(void *context, const struct auth_ban *ban)
{
    (void)context;
    listed[listed_count++] = *ban;
    return listed_count < 3;
}

START_TEST(test_bans_listed)
{
    open_with("users = $//users\nfailures = 1\nban = 10m\ndelay = 10ms\n");
    auth_bans(world.auth, note_ban, NULL);
    ck_assert_uint_eq(listed_count, 0);
    auth_world_from("2001:db8::1");
    ck_assert_int_eq(auth_world_plain("eve", "x", NULL), AUTH_REJECTED);
    auth_bans(world.auth, note_ban, NULL);
    ck_assert_uint_eq(listed_count,
                      2); /* the user from there, and, with one failure allowed, all */
    ck_assert_uint_eq(listed[0].user.len, 0);
    ck_assert_uint_eq(listed[0].ip.bytes[15], 0);
    ck_assert(slice_equal(listed[1].user, SLICE_LITERAL("eve")));
    ck_assert_uint_ge(listed[1].seconds_left, 598);
    auth_world_run_ms(601000);
    listed_count = 0;
    auth_bans(world.auth, note_ban, NULL);
    ck_assert_uint_eq(listed_count, 0);
}
END_TEST

/* Many more than are listed. */
START_TEST(test_many_bans)
{
    char ip[32];

    open_with("users = $//users\nfailures = 1\nban = 10m\ndelay = 10ms\n");
    for (unsigned i = 0; i < AUTH_BANS_LISTED + 8; i++) {
        (void)snprintf(ip, sizeof(ip), "10.1.%u.%u", i / 256, i % 256);
        auth_world_from(ip);
        ck_assert_int_eq(auth_world_plain("eve", "x", NULL), AUTH_REJECTED);
    }
    ck_assert_uint_eq(counters().bans_addresses, AUTH_BANS_LISTED + 8);
    auth_bans(world.auth, note_ban, NULL);
    ck_assert_uint_eq(listed_count, 3); /* it was told to stop */
}
END_TEST

Suite *auth_exchange_suite(void)
{
    Suite *suite = suite_create("auth_exchange");
    TCase *tc = tcase_create("exchange");

    tcase_add_checked_fixture(tc, auth_folder_setup, auth_world_teardown);
    tcase_add_test(tc, test_plain);
    tcase_add_test(tc, test_challenges);
    tcase_add_loop_test(tc, test_wrong, 0, ARRAY_LEN(wrong));
    tcase_add_test(tc, test_unknown_is_computed);
    tcase_add_loop_test(tc, test_malformed, 0, ARRAY_LEN(malformed));
    tcase_add_test(tc, test_too_long);
    tcase_add_test(tc, test_user_ban);
    tcase_add_test(tc, test_client_ban);
    tcase_add_test(tc, test_gateway);
    tcase_add_test(tc, test_forgiven);
    tcase_add_test(tc, test_side_by_side);
    tcase_add_test(tc, test_abandoned);
    tcase_add_test(tc, test_too_much);
    tcase_add_test(tc, test_offers);
    tcase_add_test(tc, test_listed);
    tcase_add_test(tc, test_all_scram);
    tcase_add_test(tc, test_scram);
    tcase_add_test(tc, test_scram_side_by_side);
    tcase_add_test(tc, test_reload);
    tcase_add_test(tc, test_bans_listed);
    tcase_add_test(tc, test_many_bans);
    tcase_set_timeout(tc, 30);
    suite_add_tcase(suite, tc);
    return suite;
}
