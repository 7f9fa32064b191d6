/* Mechanisms that say all in a message or two: what is taken, and into what parts. */
#include <check.h>

#include "base_assert.h"
#include "sasl_server.h"

Suite *sasl_server_suite(void);

static struct sasl_server s;
static const struct sasl_server_options options;

static enum sasl_step say(enum sasl_mechanism mechanism, struct slice message)
{
    ck_assert_int_eq(sasl_server_begin(&s, mechanism, &options), SASL_CHALLENGE);
    return sasl_server_respond(&s, message);
}

START_TEST(test_names)
{
    for (unsigned i = 0; i < SASL_MECHANISM_COUNT; i++) {
        enum sasl_mechanism found;

        ck_assert(sasl_mechanism_find(sasl_mechanisms[i].name, &found));
        ck_assert_uint_eq(found, i);
    }
    enum sasl_mechanism m;
    ck_assert(sasl_mechanism_find(SLICE_LITERAL("plain"), &m) && m == SASL_PLAIN);
    ck_assert(!sasl_mechanism_find(SLICE_LITERAL("PLAI"), &m));
    ck_assert(!sasl_mechanism_find(SLICE_LITERAL("CRAM-MD5"), &m));
    ck_assert(!sasl_mechanism_find(SLICE_NULL, &m));
}
END_TEST

/* PLAIN */

static const struct {
    struct slice message;
    enum sasl_step step;
    const char *user, *password;
} plain[] = {
    {SLICE_INIT("\0tim\0tanstaaftanstaaf"), SASL_CHECK_PASSWORD, "tim", "tanstaaftanstaaf"},
    {SLICE_INIT("tim\0tim\0x"), SASL_CHECK_PASSWORD, "tim", "x"},
    {SLICE_INIT("Tim\0tim\0x"), SASL_CHECK_PASSWORD, "tim", "x"},
    {SLICE_INIT("\0ann@a.example\0with spaces, \xc3\xa9 and \xe9"), SASL_CHECK_PASSWORD,
     "ann@a.example", "with spaces, \xc3\xa9 and \xe9"},
    {SLICE_INIT("\0\xc3\xa9\0x"), SASL_CHECK_PASSWORD, "\xc3\xa9", "x"},
    /* RFC 4616's own: to act as another */
    {SLICE_INIT("Ursel\0Kurt\0xipj3plmq"), SASL_REJECTED, NULL, NULL},
    {SLICE_INIT(""), SASL_MALFORMED, NULL, NULL},
    {SLICE_INIT("tim"), SASL_MALFORMED, NULL, NULL},
    {SLICE_INIT("\0tim"), SASL_MALFORMED, NULL, NULL},
    {SLICE_INIT("\0tim\0"), SASL_MALFORMED, NULL, NULL},
    {SLICE_INIT("\0\0x"), SASL_MALFORMED, NULL, NULL},
    {SLICE_INIT("\0tim\0x\0"), SASL_MALFORMED, NULL, NULL},
    {SLICE_INIT("\0tim\0x\0y"), SASL_MALFORMED, NULL, NULL},
    {SLICE_INIT("\0t\nm\0x"), SASL_MALFORMED, NULL, NULL},
    {SLICE_INIT("\0tim\0x\r"), SASL_MALFORMED, NULL, NULL},
    {SLICE_INIT("\0t\x7fm\0x"), SASL_MALFORMED, NULL, NULL},
    {SLICE_INIT("\0t\xc3m\0x"), SASL_MALFORMED, NULL, NULL},        /* cut UTF-8 */
    {SLICE_INIT("\0t\xc0\x80m\0x"), SASL_MALFORMED, NULL, NULL},    /* overlong */
    {SLICE_INIT("\0t\xed\xa0\x80\0x"), SASL_MALFORMED, NULL, NULL}, /* a surrogate */
    {SLICE_INIT("\0t\xf4\x90\x80\x80\0x"), SASL_MALFORMED, NULL, NULL},
    {SLICE_INIT("\0t\xc2\x85\0x"), SASL_MALFORMED, NULL, NULL}, /* U+0085 is a control */
};

START_TEST(test_plain)
{
    ck_assert_int_eq(say(SASL_PLAIN, plain[_i].message), plain[_i].step);
    if (plain[_i].user != NULL) {
        ck_assert(slice_equal(s.user, slice_str(plain[_i].user)));
        ck_assert(slice_equal(s.password, slice_str(plain[_i].password)));
        ck_assert_int_eq(sasl_server_verdict(&s, true), SASL_OK);
    }
}
END_TEST

START_TEST(test_limits)
{
    uint8_t message[SASL_MESSAGE_MAX + 1];

    for (size_t user = SASL_USER_MAX - 1; user <= SASL_USER_MAX + 1; user++) {
        for (size_t password = SASL_PASSWORD_MAX - 1; password <= SASL_PASSWORD_MAX + 1;
             password++) {
            bool fits = user <= SASL_USER_MAX && password <= SASL_PASSWORD_MAX;

            memset(message, 'x', sizeof(message));
            message[0] = message[1 + user] = '\0';
            ck_assert_int_eq(say(SASL_PLAIN, slice_of(message, 2 + user + password)),
                             fits ? SASL_CHECK_PASSWORD : SASL_MALFORMED);
        }
    }
    memset(message, 'x', sizeof(message));
    for (unsigned i = 0; i < SASL_MECHANISM_COUNT; i++)
        ck_assert_int_eq(say((enum sasl_mechanism)i, slice_of(message, sizeof(message))),
                         SASL_MALFORMED);
}
END_TEST

START_TEST(test_plain_verdict)
{
    ck_assert_int_eq(say(SASL_PLAIN, SLICE_LITERAL("\0tim\0x")), SASL_CHECK_PASSWORD);
    ck_assert_int_eq(sasl_server_verdict(&s, false), SASL_REJECTED);
    sasl_server_wipe(&s);
    for (size_t i = 0; i < sizeof(s.secret); i++)
        ck_assert_uint_eq(s.secret[i], 0);
}
END_TEST

/* LOGIN */

START_TEST(test_login)
{
    ck_assert_int_eq(sasl_server_begin(&s, SASL_LOGIN, &options), SASL_CHALLENGE);
    ck_assert(slice_equal(slice_of(s.out, s.out_len), SLICE_LITERAL("Username:")));
    ck_assert_int_eq(sasl_server_respond(&s, SLICE_LITERAL("ann")), SASL_CHALLENGE);
    ck_assert(slice_equal(slice_of(s.out, s.out_len), SLICE_LITERAL("Password:")));
    ck_assert_int_eq(sasl_server_respond(&s, SLICE_LITERAL("secret")), SASL_CHECK_PASSWORD);
    ck_assert(slice_equal(s.user, SLICE_LITERAL("ann")));
    ck_assert(slice_equal(s.password, SLICE_LITERAL("secret")));
    ck_assert_int_eq(sasl_server_verdict(&s, true), SASL_OK);
}
END_TEST

START_TEST(test_login_bad)
{
    ck_assert_int_eq(say(SASL_LOGIN, SLICE_NULL), SASL_MALFORMED);
    ck_assert_int_eq(say(SASL_LOGIN, SLICE_LITERAL("a\0b")), SASL_MALFORMED);
    ck_assert_int_eq(say(SASL_LOGIN, SLICE_LITERAL("ann")), SASL_CHALLENGE);
    ck_assert_int_eq(sasl_server_respond(&s, SLICE_NULL), SASL_MALFORMED);
    ck_assert_int_eq(say(SASL_LOGIN, SLICE_LITERAL("ann")), SASL_CHALLENGE);
    ck_assert_int_eq(sasl_server_respond(&s, SLICE_LITERAL("a\0b")), SASL_MALFORMED);
}
END_TEST

START_TEST(test_external)
{
    ck_assert_int_eq(say(SASL_EXTERNAL, SLICE_NULL), SASL_CHECK_CERTIFICATE);
    ck_assert_uint_eq(s.user.len, 0);
    ck_assert_int_eq(sasl_server_verdict(&s, true), SASL_OK);
    ck_assert_int_eq(say(SASL_EXTERNAL, SLICE_LITERAL("ann")), SASL_CHECK_CERTIFICATE);
    ck_assert(slice_equal(s.user, SLICE_LITERAL("ann")));
    ck_assert_int_eq(sasl_server_verdict(&s, false), SASL_REJECTED);
    ck_assert_int_eq(say(SASL_EXTERNAL, SLICE_LITERAL("a\0")), SASL_MALFORMED);
}
END_TEST

/* Tokens */

#define A "\001"
static const struct {
    enum sasl_mechanism mechanism;
    struct slice message;
    enum sasl_step step;
    const char *user, *token;
} tokens[] = {
    /* RFC 7628 4.1 */
    {SASL_OAUTHBEARER,
     SLICE_INIT("n,a=user@example.com," A "host=server.example.com" A "port=143" A
                "auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==" A A),
     SASL_CHECK_TOKEN, "user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="},
    {SASL_OAUTHBEARER, SLICE_INIT("n,," A "auth=Bearer abc" A A), SASL_CHECK_TOKEN, "", "abc"},
    {SASL_OAUTHBEARER, SLICE_INIT("y,," A "auth=bearer  abc" A A), SASL_CHECK_TOKEN, "", "abc"},
    {SASL_OAUTHBEARER, SLICE_INIT("n,a=a=2Cb=3Dc," A "auth=Bearer abc" A A), SASL_CHECK_TOKEN,
     "a,b=c", "abc"},
    {SASL_XOAUTH2, SLICE_INIT("user=someuser@example.com" A "auth=Bearer ya29.vF9dft4q" A A),
     SASL_CHECK_TOKEN, "someuser@example.com", "ya29.vF9dft4q"},
    {SASL_XOAUTH2, SLICE_INIT("auth=Bearer t" A "user=u" A A), SASL_CHECK_TOKEN, "u", "t"},
    /* RFC 7628 4.3: a client without a token asks for directions, and gets the error message */
    {SASL_OAUTHBEARER, SLICE_INIT("n,," A "auth=" A A), SASL_CHALLENGE, NULL, NULL},
    {SASL_OAUTHBEARER, SLICE_INIT(""), SASL_MALFORMED, NULL, NULL},
    {SASL_OAUTHBEARER, SLICE_INIT("n,,"), SASL_MALFORMED, NULL, NULL},
    {SASL_OAUTHBEARER, SLICE_INIT("n,," A A), SASL_MALFORMED, NULL, NULL},
    {SASL_OAUTHBEARER, SLICE_INIT("n,," A), SASL_MALFORMED, NULL, NULL},
    {SASL_OAUTHBEARER, SLICE_INIT("p=tls-exporter,," A "auth=Bearer t" A A), SASL_MALFORMED, NULL,
     NULL},
    {SASL_OAUTHBEARER, SLICE_INIT("n,," A "auth=Bearer t" A), SASL_MALFORMED, NULL, NULL},
    {SASL_OAUTHBEARER, SLICE_INIT("n,," A "auth=Bearer t" A A A), SASL_MALFORMED, NULL, NULL},
    {SASL_OAUTHBEARER, SLICE_INIT("n,," A "auth=Bearer t" A "auth=Bearer u" A A), SASL_MALFORMED,
     NULL, NULL},
    {SASL_OAUTHBEARER, SLICE_INIT("n,," A "auth=Basic t" A A), SASL_MALFORMED, NULL, NULL},
    {SASL_OAUTHBEARER, SLICE_INIT("n,," A "auth=Bearer " A A), SASL_MALFORMED, NULL, NULL},
    {SASL_OAUTHBEARER, SLICE_INIT("n,," A "auth=Bearer a b" A A), SASL_MALFORMED, NULL, NULL},
    {SASL_OAUTHBEARER, SLICE_INIT("n,," A "=x" A "auth=Bearer a" A A), SASL_MALFORMED, NULL, NULL},
    {SASL_OAUTHBEARER, SLICE_INIT("n,a=," A "auth=Bearer a" A A), SASL_MALFORMED, NULL, NULL},
    {SASL_OAUTHBEARER, SLICE_INIT("n,a=x=," A "auth=Bearer a" A A), SASL_MALFORMED, NULL, NULL},
    {SASL_OAUTHBEARER, SLICE_INIT("n,b=x," A "auth=Bearer a" A A), SASL_MALFORMED, NULL, NULL},
    {SASL_XOAUTH2, SLICE_INIT("auth=Bearer t" A A), SASL_MALFORMED, NULL, NULL},
    {SASL_XOAUTH2, SLICE_INIT("user=u" A A), SASL_MALFORMED, NULL, NULL},
    {SASL_XOAUTH2, SLICE_INIT("user=u" A "user=v" A "auth=Bearer t" A A), SASL_MALFORMED, NULL,
     NULL},
    {SASL_XOAUTH2, SLICE_INIT("user=u\n" A "auth=Bearer t" A A), SASL_MALFORMED, NULL, NULL},
};

START_TEST(test_token)
{
    ck_assert_int_eq(say(tokens[_i].mechanism, tokens[_i].message), tokens[_i].step);
    if (tokens[_i].user != NULL) {
        ck_assert(slice_equal(s.user, slice_str(tokens[_i].user)));
        ck_assert(slice_equal(s.token, slice_str(tokens[_i].token)));
    }
    /* No beginning of it is taken for the whole. */
    for (size_t len = 0; tokens[_i].user != NULL && len < tokens[_i].message.len; len++)
        ck_assert_int_eq(say(tokens[_i].mechanism, slice_head(tokens[_i].message, len)),
                         SASL_MALFORMED);
}
END_TEST

/* A bad token is told in a challenge; only then comes the refusal, whatever is said. */
START_TEST(test_token_refused)
{
    ck_assert_int_eq(say(SASL_OAUTHBEARER, SLICE_LITERAL("n,," A "auth=Bearer t" A A)),
                     SASL_CHECK_TOKEN);
    ck_assert_int_eq(sasl_server_verdict(&s, false), SASL_CHALLENGE);
    ck_assert(
        slice_equal(slice_of(s.out, s.out_len), SLICE_LITERAL("{\"status\":\"invalid_token\"}")));
    ck_assert_int_eq(sasl_server_respond(&s, SLICE_LITERAL(A)), SASL_REJECTED);
    ck_assert_int_eq(say(SASL_XOAUTH2, SLICE_LITERAL("user=u" A "auth=Bearer t" A A)),
                     SASL_CHECK_TOKEN);
    ck_assert_int_eq(sasl_server_verdict(&s, false), SASL_CHALLENGE);
    ck_assert_int_eq(sasl_server_respond(&s, SLICE_LITERAL("user=u" A "auth=Bearer t" A A)),
                     SASL_REJECTED);
}
END_TEST

START_TEST(test_after_the_end)
{
    (void)say(SASL_PLAIN, SLICE_LITERAL("x"));
    (void)sasl_server_respond(&s, SLICE_LITERAL("\0tim\0x"));
}
END_TEST

Suite *sasl_server_suite(void)
{
    Suite *suite = suite_create("sasl_server");
    TCase *tc = tcase_create("messages");

    tcase_add_test(tc, test_names);
    tcase_add_loop_test(tc, test_plain, 0, ARRAY_LEN(plain));
    tcase_add_test(tc, test_limits);
    tcase_add_test(tc, test_plain_verdict);
    tcase_add_test(tc, test_login);
    tcase_add_test(tc, test_login_bad);
    tcase_add_test(tc, test_external);
    tcase_add_loop_test(tc, test_token, 0, ARRAY_LEN(tokens));
    tcase_add_test(tc, test_token_refused);
    tcase_add_test_raise_signal(tc, test_after_the_end, 6);
    suite_add_tcase(suite, tc);
    return suite;
}
