/* test_sasl_client: what is said to which challenge, and whose "welcome" is believed. */
#include <check.h>

#include "base_codec.h"
#include "sasl_client.h"

static const struct sasl_client_options options = {
    .user = SLICE_INIT("ann=b,c"),
    .password = SLICE_INIT("pass word"),
    .token = SLICE_INIT("ya29.tok"),
    .nonce = SLICE_INIT("0123456789abcdefXYZ"),
    .host = SLICE_INIT("smtp.example"),
    .port = 587,
};

static struct sasl_client c;

static void teardown(void)
{
    sasl_client_wipe(&c);
}

static void check_out(const char *text, size_t len)
{
    ck_assert_msg(c.out_len == len && memcmp(c.out, text, len) == 0, "%.*s", (int)c.out_len,
                  (const char *)c.out);
}
#define CHECK_OUT(literal) check_out(literal, sizeof(literal) - 1)

static void begin(enum sasl_mechanism mechanism, bool sent)
{
    ck_assert(sasl_client_begin(&c, mechanism, &options));
    if (c.has_initial && sent)
        sasl_client_initial_sent(&c);
}

static enum sasl_client_step respond(const char *challenge)
{
    return sasl_client_respond(&c, slice_str(challenge));
}

START_TEST(plain)
{
    begin(SASL_PLAIN, _i == 0);
    ck_assert(c.has_initial);
    CHECK_OUT("\0ann=b,c\0pass word");
    if (_i == 1) { /* the line was too long, or the server wants to be asked */
        ck_assert_int_eq(respond(""), SASL_CLIENT_SEND);
        CHECK_OUT("\0ann=b,c\0pass word");
    }
    ck_assert(sasl_client_accepted(&c));
    ck_assert_int_eq(respond("more?"), SASL_CLIENT_FAILED);
    ck_assert_ptr_nonnull(c.error);
}
END_TEST

/* Welcome, though nothing was said yet. */
START_TEST(plain_unsaid)
{
    begin(SASL_PLAIN, false);
    ck_assert(!sasl_client_accepted(&c));
}
END_TEST

START_TEST(login)
{
    begin(SASL_LOGIN, true);
    ck_assert(!c.has_initial);
    ck_assert_int_eq(respond("Username:"), SASL_CLIENT_SEND);
    CHECK_OUT("ann=b,c");
    ck_assert_int_eq(respond("in other words"), SASL_CLIENT_SEND);
    CHECK_OUT("pass word");
    if (_i == 0)
        ck_assert(sasl_client_accepted(&c));
    else
        ck_assert_int_eq(respond("Username:"), SASL_CLIENT_FAILED);
}
END_TEST

START_TEST(xoauth2)
{
    begin(SASL_XOAUTH2, true);
    CHECK_OUT("user=ann=b,c\001auth=Bearer ya29.tok\001\001");
    if (_i == 0) {
        ck_assert(sasl_client_accepted(&c));
        return;
    }
    ck_assert_int_eq(respond("{\"status\":\"401\"}"), SASL_CLIENT_SEND);
    CHECK_OUT("");
    ck_assert(!sasl_client_accepted(&c));
    ck_assert_int_eq(respond(""), SASL_CLIENT_FAILED);
}
END_TEST

START_TEST(oauthbearer)
{
    begin(SASL_OAUTHBEARER, true);
    CHECK_OUT("n,a=ann=3Db=2Cc,\001host=smtp.example\001port=587\001auth=Bearer ya29.tok\001\001");
    if (_i == 0) {
        ck_assert(sasl_client_accepted(&c));
        return;
    }
    ck_assert_int_eq(respond("{\"status\":\"invalid_token\"}"), SASL_CLIENT_SEND);
    CHECK_OUT("\001");
    ck_assert(!sasl_client_accepted(&c));
}
END_TEST

static const struct {
    const char *what;
    enum sasl_mechanism mechanism;
    struct sasl_client_options options;
} unsuitable[] = {
    {"no user", SASL_PLAIN, {.password = SLICE_INIT("p")}},
    {"no password", SASL_PLAIN, {.user = SLICE_INIT("u")}},
    {"NUL in the password", SASL_PLAIN, {.user = SLICE_INIT("u"), .password = SLICE_INIT("a\0b")}},
    {"no token", SASL_XOAUTH2, {.user = SLICE_INIT("u")}},
    {"two lines for a token",
     SASL_OAUTHBEARER,
     {.user = SLICE_INIT("u"), .token = SLICE_INIT("a\nb")}},
    {"a token that ends its field",
     SASL_XOAUTH2,
     {.user = SLICE_INIT("u"), .token = SLICE_INIT("a\001auth=x")}},
};

START_TEST(test_unsuitable)
{
    ck_assert_msg(!sasl_client_begin(&c, unsuitable[_i].mechanism, &unsuitable[_i].options), "%s",
                  unsuitable[_i].what);
    ck_assert_ptr_nonnull(c.error);
}
END_TEST

/* The longest token that AUTH can carry, and one octet more. */
START_TEST(long_token)
{
    static char token[SASL_MESSAGE_MAX];
    size_t frame = sizeof("user=u\001auth=Bearer \001\001") - 1;
    struct sasl_client_options o = {.user = SLICE_LITERAL("u")};

    memset(token, 't', sizeof(token));
    o.token = slice_of(token, sizeof(token) - frame + (size_t)_i);
    ck_assert(sasl_client_begin(&c, SASL_XOAUTH2, &o) == (_i == 0));
}
END_TEST

/* The examples of RFC 5802 5 and RFC 7677 3. */
static const struct {
    enum sasl_mechanism mechanism;
    struct slice nonce;
    const char *first, *server_first, *final, *server_final;
} vectors[] = {
    {SASL_SCRAM_SHA_1, SLICE_INIT("fyko+d2lbbFgONRv9qkxdawL"),
     "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
     "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
     "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
     "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
    {SASL_SCRAM_SHA_256, SLICE_INIT("rOprNGfwEbeRWgbNEkqO"), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
     "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
     "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
     "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
     "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
};

static void begin_vector(int i)
{
    struct sasl_client_options o = {.user = SLICE_LITERAL("user"),
                                    .password = SLICE_LITERAL("pencil"),
                                    .nonce = vectors[i].nonce};

    ck_assert(sasl_client_begin(&c, vectors[i].mechanism, &o));
    check_out(vectors[i].first, strlen(vectors[i].first));
    sasl_client_initial_sent(&c);
}

static void prove(int i)
{
    begin_vector(i);
    ck_assert_int_eq(respond(vectors[i].server_first), SASL_CLIENT_DERIVE);
    sasl_client_derive(&c);
    ck_assert_int_eq(sasl_client_derived(&c), SASL_CLIENT_SEND);
    check_out(vectors[i].final, strlen(vectors[i].final));
}

START_TEST(scram)
{
    prove(_i);
    ck_assert_int_eq(respond(vectors[_i].server_final), SASL_CLIENT_SEND);
    ck_assert_uint_eq(c.out_len, 0);
    ck_assert(sasl_client_accepted(&c));
    ck_assert_int_eq(respond(""), SASL_CLIENT_FAILED);
    ck_assert(!sasl_client_accepted(&c));
}
END_TEST

/* An impostor says 235 and hopes that the rest is not looked at. */
START_TEST(scram_unproven)
{
    begin_vector(_i);
    ck_assert(!sasl_client_accepted(&c));
    prove(_i);
    ck_assert(!sasl_client_accepted(&c));
    ck_assert_ptr_nonnull(strstr(c.error, "prove"));
}
END_TEST

static const struct {
    const char *what, *message;
} firsts[] = {
    {"nothing", ""},
    {"not our nonce", "r=fyko+d2lbbFgONRv9qkxdawl3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"},
    {"our nonce and nothing more", "r=fyko+d2lbbFgONRv9qkxdawL,s=QSXCR+Q6sek8bf92,i=4096"},
    {"a piece of our nonce", "r=fyko,s=QSXCR+Q6sek8bf92,i=4096"},
    {"few iterations", "r=fyko+d2lbbFgONRv9qkxdawL3r,s=QSXCR+Q6sek8bf92,i=4095"},
    {"none", "r=fyko+d2lbbFgONRv9qkxdawL3r,s=QSXCR+Q6sek8bf92,i=0"},
    {"very many", "r=fyko+d2lbbFgONRv9qkxdawL3r,s=QSXCR+Q6sek8bf92,i=10000001"},
    {"no number", "r=fyko+d2lbbFgONRv9qkxdawL3r,s=QSXCR+Q6sek8bf92,i=-4096"},
    {"no salt", "r=fyko+d2lbbFgONRv9qkxdawL3r,s=,i=4096"},
    {"salt that is not base64", "r=fyko+d2lbbFgONRv9qkxdawL3r,s=QSXCR+Q,i=4096"},
    {"another order", "s=QSXCR+Q6sek8bf92,r=fyko+d2lbbFgONRv9qkxdawL3r,i=4096"},
    {"a mandatory extension", "m=x,r=fyko+d2lbbFgONRv9qkxdawL3r,s=QSXCR+Q6sek8bf92,i=4096"},
};

START_TEST(scram_first)
{
    begin_vector(0);
    ck_assert_msg(respond(firsts[_i].message) == SASL_CLIENT_FAILED, "%s", firsts[_i].what);
    ck_assert(!sasl_client_accepted(&c));
}
END_TEST

static const char *const finals[] = {
    "",
    "v=",
    "v=rmF9pqV8S7suAoZWja4dJRkFsKR=",
    "v=smF9pqV8S7suAoZWja4dJRkFsKQ=",
    "v=rmF9pqV8S7suAoZWja4dJRkFsA==",
    "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    "e=invalid-proof",
    "x=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
};

START_TEST(scram_final)
{
    prove(0);
    ck_assert_msg(respond(finals[_i]) == SASL_CLIENT_FAILED, "%s", finals[_i]);
    ck_assert(!sasl_client_accepted(&c));
}
END_TEST

/* The last thing that may follow the iterations is ours to ignore. */
START_TEST(scram_extension)
{
    begin_vector(0);
    ck_assert_int_eq(
        respond("r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,x=y"),
        SASL_CLIENT_DERIVE);
}
END_TEST

START_TEST(scram_escapes_names)
{
    begin(SASL_SCRAM_SHA_256, true);
    CHECK_OUT("n,,n=ann=3Db=2Cc,r=0123456789abcdefXYZ");
}
END_TEST

Suite *sasl_client_suite(void)
{
    Suite *s = suite_create("sasl_client");
    TCase *t = tcase_create("client");

    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_add_loop_test(t, plain, 0, 2);
    tcase_add_test(t, plain_unsaid);
    tcase_add_loop_test(t, login, 0, 2);
    tcase_add_loop_test(t, xoauth2, 0, 2);
    tcase_add_loop_test(t, oauthbearer, 0, 2);
    tcase_add_loop_test(t, test_unsuitable, 0, sizeof(unsuitable) / sizeof(unsuitable[0]));
    tcase_add_loop_test(t, long_token, 0, 2);
    tcase_add_loop_test(t, scram, 0, sizeof(vectors) / sizeof(vectors[0]));
    tcase_add_loop_test(t, scram_unproven, 0, sizeof(vectors) / sizeof(vectors[0]));
    tcase_add_loop_test(t, scram_first, 0, sizeof(firsts) / sizeof(firsts[0]));
    tcase_add_loop_test(t, scram_final, 0, sizeof(finals) / sizeof(finals[0]));
    tcase_add_test(t, scram_extension);
    tcase_add_test(t, scram_escapes_names);
    suite_add_tcase(s, t);
    return s;
}
