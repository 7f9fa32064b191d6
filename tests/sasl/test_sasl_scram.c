/* SCRAM: the RFCs' dialogs, whole, cut and altered; channel binding and who tampers with it; verifiers. */
#include <check.h>
#include <stdio.h>

#include "base_assert.h"
#include "base_codec.h"
#include "sasl_server.h"

Suite *sasl_scram_suite(void);

static struct sasl_server s;

struct dialog {
    enum sasl_mechanism mechanism;
    const char *password, *salt; /* base64 */
    const char *nonce;
    const char *first, *challenge, *final, *end;
};
static const struct dialog dialogs[] = {
    {SASL_SCRAM_SHA_1, "pencil", "QSXCR+Q6sek8bf92", "3rfcNHYJY1ZVvWVs7j",
     "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
     "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
     "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
     "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="}, /* RFC 5802 5 */
    {SASL_SCRAM_SHA_256, "pencil", "W22ZaJ0SNY7soEsUEjb6gQ==", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
     "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
     "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
     "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
     "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
     "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="}, /* RFC 7677 3 */
};

static struct sasl_verifier verifier_of(const struct dialog *d)
{
    struct sasl_verifier v;
    uint8_t salt[64];
    size_t len;

    ck_assert(base64_decode(slice_str(d->salt), salt, &len));
    sasl_verifier_make(sasl_mechanisms[d->mechanism].hash, slice_str(d->password),
                       slice_of(salt, len), 4096, &v);
    return v;
}

static struct slice out(void)
{
    return slice_of(s.out, s.out_len);
}

/* The last step of a dialog with these two messages. */
static enum sasl_step talk(const struct dialog *d, const struct sasl_verifier *v, bool known,
                           struct slice first, struct slice final)
{
    struct sasl_server_options options = {.nonce = slice_str(d->nonce)};
    enum sasl_step step;

    ck_assert_int_eq(sasl_server_begin(&s, d->mechanism, &options), SASL_CHALLENGE);
    ck_assert_uint_eq(s.out_len, 0);
    step = sasl_server_respond(&s, first);
    if (step != SASL_NEED_VERIFIER)
        return step;
    ck_assert_int_eq(sasl_server_verifier(&s, v, known), SASL_CHALLENGE);
    step = sasl_server_respond(&s, final);
    if (step != SASL_CHALLENGE)
        return step;
    ck_assert(known);
    return sasl_server_respond(&s, SLICE_NULL);
}

START_TEST(test_vectors)
{
    const struct dialog *d = &dialogs[_i];
    struct sasl_server_options options = {.nonce = slice_str(d->nonce)};
    struct sasl_verifier v = verifier_of(d);

    (void)sasl_server_begin(&s, d->mechanism, &options);
    ck_assert_int_eq(sasl_server_respond(&s, slice_str(d->first)), SASL_NEED_VERIFIER);
    ck_assert(slice_equal(s.user, SLICE_LITERAL("user")));
    ck_assert_int_eq(sasl_server_verifier(&s, &v, true), SASL_CHALLENGE);
    ck_assert(slice_equal(out(), slice_str(d->challenge)));
    ck_assert_int_eq(sasl_server_respond(&s, slice_str(d->final)), SASL_CHALLENGE);
    ck_assert(slice_equal(out(), slice_str(d->end)));
    ck_assert_int_eq(sasl_server_respond(&s, SLICE_NULL), SASL_OK);
}
END_TEST

/* Somebody who is not there: the same dialog up to the end, whatever the proof. */
START_TEST(test_unknown)
{
    const struct dialog *d = &dialogs[_i];
    struct sasl_verifier v = verifier_of(d);

    ck_assert_int_eq(talk(d, &v, false, slice_str(d->first), slice_str(d->final)), SASL_REJECTED);
}
END_TEST

START_TEST(test_wrong_password)
{
    struct dialog d = dialogs[_i];
    struct sasl_verifier v;

    d.password = "pencils";
    v = verifier_of(&d);
    ck_assert_int_eq(talk(&d, &v, true, slice_str(d.first), slice_str(d.final)), SASL_REJECTED);
}
END_TEST

/* Cut anywhere, or with any bit turned over, neither message gets anybody in. */
START_TEST(test_cut)
{
    const struct dialog *d = &dialogs[_i];
    struct sasl_verifier v = verifier_of(d);
    struct slice first = slice_str(d->first), final = slice_str(d->final);

    for (size_t len = 0; len < first.len; len++)
        ck_assert_int_ne(talk(d, &v, true, slice_head(first, len), final), SASL_OK);
    for (size_t len = 0; len < final.len; len++)
        ck_assert_int_ne(talk(d, &v, true, first, slice_head(final, len)), SASL_OK);
}
END_TEST

START_TEST(test_altered)
{
    const struct dialog *d = &dialogs[_i];
    struct sasl_verifier v = verifier_of(d);
    uint8_t first[128], final[256];
    struct slice a = slice_str(d->first), b = slice_str(d->final);

    memcpy(first, a.data, a.len);
    memcpy(final, b.data, b.len);
    a.data = first;
    b.data = final;
    ck_assert_int_eq(talk(d, &v, true, a, b), SASL_OK);
    for (size_t bit = 0; bit < 8 * a.len; bit++) {
        first[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert_int_ne(talk(d, &v, true, a, b), SASL_OK);
        first[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * b.len; bit++) {
        final[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert_int_ne(talk(d, &v, true, a, b), SASL_OK);
        final[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    ck_assert_int_eq(talk(d, &v, true, a, b), SASL_OK);
}
END_TEST

static const struct {
    const char *first;
    enum sasl_step step;
    const char *user;
} firsts[] = {
    {"n,,n=user,r=abc", SASL_NEED_VERIFIER, "user"},
    {"y,,n=user,r=abc", SASL_NEED_VERIFIER, "user"},
    {"n,a=user,n=user,r=abc", SASL_NEED_VERIFIER, "user"},
    {"n,,n=u=2Cs=3Der,r=abc", SASL_NEED_VERIFIER, "u,s=er"},
    {"n,,n=user,r=abc,x=extension", SASL_NEED_VERIFIER, "user"},
    {"n,a=other,n=user,r=abc", SASL_REJECTED, NULL},
    {"", SASL_MALFORMED, NULL},
    {"n", SASL_MALFORMED, NULL},
    {"n,", SASL_MALFORMED, NULL},
    {"n,,", SASL_MALFORMED, NULL},
    {"n,,n=user", SASL_MALFORMED, NULL},
    {"n,,n=,r=abc", SASL_MALFORMED, NULL},
    {"n,,n=user,r=", SASL_MALFORMED, NULL},
    {"n,,n=user,r=a b", SASL_MALFORMED, NULL},
    {"n,,n=user,r=a\x7f", SASL_MALFORMED, NULL},
    {"n,,m=must,n=user,r=abc", SASL_MALFORMED, NULL},
    {"n,,r=abc,n=user", SASL_MALFORMED, NULL},
    {"n,,n=us=er,r=abc", SASL_MALFORMED, NULL},
    {"n,,n=user=2,r=abc", SASL_MALFORMED, NULL},
    {"n,,n=us\x01"
     "er,r=abc",
     SASL_MALFORMED, NULL},
    {"x,,n=user,r=abc", SASL_MALFORMED, NULL},
    {"p=tls-exporter,,n=user,r=abc", SASL_MALFORMED, NULL},
    {"n,x=user,n=user,r=abc", SASL_MALFORMED, NULL},
};

START_TEST(test_first)
{
    struct sasl_server_options options = {.nonce = SLICE_LITERAL("0123456789abcdefghij")};

    (void)sasl_server_begin(&s, SASL_SCRAM_SHA_256, &options);
    ck_assert_int_eq(sasl_server_respond(&s, slice_str(firsts[_i].first)), firsts[_i].step);
    if (firsts[_i].user != NULL)
        ck_assert(slice_equal(s.user, slice_str(firsts[_i].user)));
}
END_TEST

START_TEST(test_nonce_limit)
{
    struct sasl_server_options options = {.nonce = SLICE_LITERAL("0123456789abcdefghij")};
    char first[512];

    for (int len = SASL_NONCE_MAX; len <= SASL_NONCE_MAX + 1; len++) {
        int n = snprintf(first, sizeof(first), "n,,n=u,r=%0*d", len, 0);

        (void)sasl_server_begin(&s, SASL_SCRAM_SHA_256, &options);
        ck_assert_int_eq(sasl_server_respond(&s, slice_of(first, (size_t)n)),
                         len <= SASL_NONCE_MAX ? SASL_NEED_VERIFIER : SASL_MALFORMED);
        if (len <= SASL_NONCE_MAX) { /* the longest challenge that there is */
            struct sasl_verifier v = {.hash = TLS_HASH_SHA256,
                                      .iterations = SASL_SCRAM_ITERATIONS_MAX,
                                      .salt_len = SASL_SCRAM_SALT_MAX};
            ck_assert_int_eq(sasl_server_verifier(&s, &v, true), SASL_CHALLENGE);
        }
    }
}
END_TEST

/* ---- channel binding: a client of our own --------------------------------------------------- */

static bool binding(void *context, enum tls_binding kind, uint8_t bytes[TLS_BINDING_MAX],
                    size_t *out_len)
{
    if (kind == TLS_BINDING_SERVER_END_POINT && context == NULL)
        return false;
    memset(bytes, kind == TLS_BINDING_EXPORTER ? 'e' : 's', 32);
    *out_len = 32;
    return true;
}

/* client-final-message for a header and what the client thinks binds the channel */
static void make_final(struct buf *final, const char *header, struct slice bound)
{
    struct slice challenge = out(), password = SLICE_LITERAL("pencil");
    struct buf text, message;
    uint8_t salted[32], key[32], stored[32], signature[32];
    ptrdiff_t comma = slice_find(challenge, ',');

    buf_init(&text, 0);
    buf_init(&message, 0);
    (void)buf_append_str(&text, header);
    (void)buf_append_slice(&text, bound);
    (void)buf_append_str(final, "c=");
    (void)base64_encode(buf_slice(&text), final);
    (void)buf_append_byte(final, ',');
    (void)buf_append_slice(final, slice_head(challenge, (size_t)comma));
    (void)buf_append_str(&message, "n=user,r=abc,");
    (void)buf_append_slice(&message, challenge);
    (void)buf_append_byte(&message, ',');
    (void)buf_append_slice(&message, buf_slice(final));
    tls_pbkdf2(TLS_HASH_SHA256, password, slice_of(s.verifier.salt, s.verifier.salt_len), 4096,
               salted);
    tls_hmac(TLS_HASH_SHA256, slice_of(salted, 32), SLICE_LITERAL("Client Key"), key);
    tls_digest(TLS_HASH_SHA256, slice_of(key, 32), stored);
    tls_hmac(TLS_HASH_SHA256, slice_of(stored, 32), buf_slice(&message), signature);
    for (unsigned i = 0; i < 32; i++)
        key[i] ^= signature[i];
    (void)buf_append_str(final, ",p=");
    (void)base64_encode(slice_of(key, 32), final);
    buf_finish(&text);
    buf_finish(&message);
}

static const struct {
    enum sasl_mechanism mechanism;
    const char *header;
    bool plus_offered, end_point;
    struct slice bound;
    enum sasl_step step;
    const char *why;
} bindings[] = {
    {SASL_SCRAM_SHA_256_PLUS, "p=tls-exporter,,", true, true,
     SLICE_INIT("eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"), SASL_OK, "RFC 9266"},
    {SASL_SCRAM_SHA_256_PLUS, "p=tls-server-end-point,,", true, true,
     SLICE_INIT("ssssssssssssssssssssssssssssssss"), SASL_OK, "RFC 5929"},
    {SASL_SCRAM_SHA_256_PLUS, "p=tls-server-end-point,,", true, false,
     SLICE_INIT("ssssssssssssssssssssssssssssssss"), SASL_REJECTED, "not to be had"},
    {SASL_SCRAM_SHA_256_PLUS, "p=tls-unique,,", true, true, SLICE_INIT("u"), SASL_REJECTED,
     "a kind that we do not have"},
    {SASL_SCRAM_SHA_256_PLUS, "p=tls-exporter,,", true, true,
     SLICE_INIT("ssssssssssssssssssssssssssssssss"), SASL_REJECTED, "another channel"},
    {SASL_SCRAM_SHA_256_PLUS, "p=tls-exporter,,", true, true, SLICE_INIT(""), SASL_REJECTED,
     "bound to nothing"},
    {SASL_SCRAM_SHA_256_PLUS, "n,,", true, true, SLICE_INIT(""), SASL_MALFORMED,
     "-PLUS without binding"},
    {SASL_SCRAM_SHA_256_PLUS, "y,,", true, true, SLICE_INIT(""), SASL_MALFORMED,
     "-PLUS without binding"},
    {SASL_SCRAM_SHA_256, "n,,", true, true, SLICE_INIT(""), SASL_OK, "a client that cannot"},
    {SASL_SCRAM_SHA_256, "y,,", false, true, SLICE_INIT(""), SASL_OK, "a client that could"},
    {SASL_SCRAM_SHA_256, "y,,", true, true, SLICE_INIT(""), SASL_REJECTED,
     "somebody took -PLUS out of our EHLO reply"},
    {SASL_SCRAM_SHA_256, "n,,", true, true, SLICE_INIT("e"), SASL_REJECTED, "too much in c="},
};

START_TEST(test_binding)
{
    struct sasl_server_options options = {.nonce = SLICE_LITERAL("0123456789abcdefghij"),
                                          .plus_offered = bindings[_i].plus_offered,
                                          .binding = binding,
                                          .context = bindings[_i].end_point ? &s : NULL};
    struct sasl_verifier v = verifier_of(&dialogs[1]);
    enum sasl_step step;
    struct buf first, final;

    buf_init(&first, 0);
    buf_init(&final, 0);
    (void)buf_printf(&first, "%sn=user,r=abc", bindings[_i].header);
    (void)sasl_server_begin(&s, bindings[_i].mechanism, &options);
    step = sasl_server_respond(&s, buf_slice(&first));
    if (step == SASL_NEED_VERIFIER) {
        ck_assert_int_eq(sasl_server_verifier(&s, &v, true), SASL_CHALLENGE);
        make_final(&final, bindings[_i].header, bindings[_i].bound);
        step = sasl_server_respond(&s, buf_slice(&final));
    }
    if (step == SASL_CHALLENGE)
        step = sasl_server_respond(&s, SLICE_NULL);
    ck_assert_msg(step == bindings[_i].step, "%s: %d", bindings[_i].why, step);
    buf_finish(&first);
    buf_finish(&final);
}
END_TEST

/* The header that counts is the one of the first message. */
START_TEST(test_header_changed)
{
    struct sasl_server_options options = {.nonce = SLICE_LITERAL("0123456789abcdefghij")};
    struct sasl_verifier v = verifier_of(&dialogs[1]);
    struct buf final;

    buf_init(&final, 0);
    (void)sasl_server_begin(&s, SASL_SCRAM_SHA_256, &options);
    ck_assert_int_eq(sasl_server_respond(&s, SLICE_LITERAL("n,,n=user,r=abc")), SASL_NEED_VERIFIER);
    (void)sasl_server_verifier(&s, &v, true);
    make_final(&final, "y,,", SLICE_NULL);
    ck_assert_int_eq(sasl_server_respond(&s, buf_slice(&final)), SASL_REJECTED);
    buf_finish(&final);
}
END_TEST

/* ---- verifiers ------------------------------------------------------------------------------ */

START_TEST(test_verifier_text)
{
    struct sasl_verifier v = verifier_of(&dialogs[_i]), again;
    struct buf text;

    buf_init(&text, 0);
    ck_assert(sasl_verifier_format(&v, &text));
    ck_assert(sasl_verifier_is(buf_slice(&text)));
    ck_assert(sasl_verifier_parse(buf_slice(&text), &again));
    ck_assert_mem_eq(&v, &again, sizeof(v));
    ck_assert(sasl_verifier_check(&again, SLICE_LITERAL("pencil")));
    ck_assert(!sasl_verifier_check(&again, SLICE_LITERAL("pencil ")));
    ck_assert(!sasl_verifier_check(&again, SLICE_NULL));
    for (size_t len = 0; len < buf_len(&text); len++)
        ck_assert(!sasl_verifier_parse(slice_head(buf_slice(&text), len), &again));
    (void)buf_append_str(&text, ",");
    ck_assert(!sasl_verifier_parse(buf_slice(&text), &again));
    buf_finish(&text);
}
END_TEST

#define KEY "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
static const char *const bad_verifiers[] = {
    "{SCRAM-SHA-256}0,c2FsdA==," KEY "," KEY,
    "{SCRAM-SHA-256}-1,c2FsdA==," KEY "," KEY,
    "{SCRAM-SHA-256}10000001,c2FsdA==," KEY "," KEY,
    "{SCRAM-SHA-256}4096,," KEY "," KEY,
    "{SCRAM-SHA-256}4096,c2FsdA=," KEY "," KEY,
    "{SCRAM-SHA-256}4096,c2FsdA==," KEY,
    "{SCRAM-SHA-1}4096,c2FsdA==," KEY "," KEY,
    "{SCRAM-SHA-512}4096,c2FsdA==," KEY "," KEY,
    "SCRAM-SHA-256}4096,c2FsdA==," KEY "," KEY,
    "$6$salt$hash",
    "",
};

START_TEST(test_bad_verifier)
{
    struct sasl_verifier v;

    ck_assert(!sasl_verifier_parse(slice_str(bad_verifiers[_i]), &v));
}
END_TEST

/* What is made up is the same each time, and another for another name or another secret. */
START_TEST(test_fake)
{
    struct slice secret = SLICE_LITERAL("secret"), ann = SLICE_LITERAL("ann");
    struct sasl_verifier a, b;

    sasl_verifier_fake(TLS_HASH_SHA256, secret, ann, 4096, 16, &a);
    sasl_verifier_fake(TLS_HASH_SHA256, secret, ann, 4096, 16, &b);
    ck_assert_mem_eq(&a, &b, sizeof(a));
    ck_assert_uint_eq(a.salt_len, 16);
    sasl_verifier_fake(TLS_HASH_SHA256, secret, SLICE_LITERAL("bob"), 4096, 16, &b);
    ck_assert_mem_ne(a.salt, b.salt, 16);
    sasl_verifier_fake(TLS_HASH_SHA256, SLICE_LITERAL("other"), ann, 4096, 16, &b);
    ck_assert_mem_ne(a.salt, b.salt, 16);
}
END_TEST

Suite *sasl_scram_suite(void)
{
    Suite *suite = suite_create("sasl_scram");
    TCase *tc = tcase_create("scram");

    tcase_add_loop_test(tc, test_vectors, 0, ARRAY_LEN(dialogs));
    tcase_add_loop_test(tc, test_unknown, 0, ARRAY_LEN(dialogs));
    tcase_add_loop_test(tc, test_wrong_password, 0, ARRAY_LEN(dialogs));
    tcase_add_loop_test(tc, test_cut, 0, ARRAY_LEN(dialogs));
    tcase_add_loop_test(tc, test_altered, 0, ARRAY_LEN(dialogs));
    tcase_add_loop_test(tc, test_first, 0, ARRAY_LEN(firsts));
    tcase_add_test(tc, test_nonce_limit);
    tcase_add_loop_test(tc, test_binding, 0, ARRAY_LEN(bindings));
    tcase_add_test(tc, test_header_changed);
    tcase_add_loop_test(tc, test_verifier_text, 0, ARRAY_LEN(dialogs));
    tcase_add_loop_test(tc, test_bad_verifier, 0, ARRAY_LEN(bad_verifiers));
    tcase_add_test(tc, test_fake);
    suite_add_tcase(suite, tc);
    return suite;
}
