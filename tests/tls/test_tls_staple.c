#include "tls_certs.h"
#include "tls_link.h"
#include "tls_priv.h"
#include "tls_test.h"

static struct tls_pair stapling_pair(void)
{
    struct tls_pair pair = tls_link_pair(cert_mx_ecdsa, cert_middle, key_mx_ecdsa);
    pair.ocsp = slice_of(ocsp_mx_ecdsa, sizeof ocsp_mx_ecdsa);
    return pair;
}

/* One that asks for the status, and checks it in the library's own way, without our callback. */
static struct tls_context *asking_client(bool tls13)
{
    struct tls_context *c = tls_link_client(NULL);
    struct slice pem = slice_str(cert_root);
    wolfSSL_CTX_free(c->client);
    c->client = wolfSSL_CTX_new(tls13 ? wolfSSLv23_client_method() : wolfTLSv1_2_client_method());
    ck_assert_ptr_nonnull(c->client);
    ck_assert_int_eq(
        wolfSSL_CTX_load_verify_buffer(c->client, pem.data, (long)pem.len, WOLFSSL_FILETYPE_PEM),
        WOLFSSL_SUCCESS);
    ck_assert_int_eq(wolfSSL_CTX_EnableOCSPStapling(c->client), WOLFSSL_SUCCESS);
    ck_assert_int_eq(wolfSSL_CTX_UseOCSPStapling(c->client, WOLFSSL_CSR_OCSP, 0), WOLFSSL_SUCCESS);
    return c;
}

static bool gets_status(struct tls_context *client, struct tls_context *server)
{
    struct tls_connect_options options = {.check = TLS_CHECK_NONE};
    struct tls_link l;
    byte date[64];
    int format;
    tls_link_init(&l, client, server, &options);
    ck_assert(tls_link_handshake(&l));
    ck_assert(tls_link_carry(&l, true, SLICE_LITERAL("EHLO")));
    ck_assert(tls_link_carry(&l, false, SLICE_LITERAL("250")));
    bool got = wolfSSL_get_ocsp_producedDate(l.client->ssl, date, sizeof date, &format) == 0;
    tls_link_finish(&l);
    return got;
}

START_TEST(staples)
{
    struct tls_pair pair = stapling_pair();
    struct tls_context *server = tls_link_server(&pair, 1, NULL);
    struct tls_context *asking = asking_client(_i == 1), *other = tls_link_client(cert_root);
#ifdef MAILRING_WOLFSSL_STAPLES
    for (int round = 0; round < 3; round++) {
        ck_assert(gets_status(asking, server));
        ck_assert(!gets_status(other, server));
    }
#endif
    tls_context_unref(asking);
    tls_context_unref(other);
    tls_context_unref(server);
}
END_TEST

START_TEST(without_response)
{
    struct tls_pair pair = tls_link_pair(cert_mx_ecdsa, cert_middle, key_mx_ecdsa);
    struct tls_context *server = tls_link_server(&pair, 1, NULL);
    struct tls_context *asking = asking_client(_i == 1);
    ck_assert(!gets_status(asking, server));
    tls_context_unref(asking);
    tls_context_unref(server);
}
END_TEST

#ifdef MAILRING_WOLFSSL_STAPLES
static void has_problem(const struct tls_pair *pair, const char *problem)
{
    struct tls_certificate_facts facts;
    struct buf why;
    buf_init(&why, 0);
    ck_assert(tls_pair_examine(pair, &facts, &why));
    ck_assert_uint_eq(buf_len(&why), 0);
    if (problem == NULL) {
        ck_assert_msg(facts.staple_problem == NULL, "%s", facts.staple_problem);
        ck_assert_int_gt(facts.staple_until, 4000000000);
    } else {
        ck_assert_ptr_nonnull(facts.staple_problem);
        ck_assert_str_eq(facts.staple_problem, problem);
        ck_assert_int_eq(facts.staple_until, 0);
        /* Nobody fails for it. */
        struct tls_context *server = tls_link_server(pair, 1, NULL);
        struct tls_context *asking = asking_client(true);
        ck_assert_ptr_null(server->pairs[0].stapling);
        wolfSSL_CTX_set_verify(asking->client, WOLFSSL_VERIFY_NONE, NULL);
        ck_assert(!gets_status(asking, server));
        tls_context_unref(asking);
        tls_context_unref(server);
    }
    buf_finish(&why);
}

START_TEST(problems)
{
    ck_assert(tls_library_init());
    struct tls_pair pair = stapling_pair();
    has_problem(&pair, NULL);
    pair = tls_link_pair(cert_mx_ecdsa, NULL, key_mx_ecdsa);
    pair.ocsp = slice_of(ocsp_mx_ecdsa, sizeof ocsp_mx_ecdsa);
    has_problem(&pair, "the issuer's certificate is not in the certificate's file");
    pair = tls_link_pair(cert_mx_rsa, cert_middle, key_mx_rsa);
    pair.ocsp = slice_of(ocsp_mx_ecdsa, sizeof ocsp_mx_ecdsa);
    has_problem(&pair, "it is for another certificate, not signed by its issuer, or not good");
    pair = stapling_pair();
    pair = stapling_pair();
    uint8_t over[sizeof ocsp_mx_ecdsa];
    memcpy(over, ocsp_mx_ecdsa, sizeof over);
    uint8_t *year = memmem(over, sizeof over, "2119", 4); /* of nextUpdate: make_certs.py */
    ck_assert_ptr_nonnull(year);
    year[1] = '0';
    pair.ocsp = slice_of(over, sizeof over);
    has_problem(&pair, "its time is over");
    pair.ocsp = SLICE_LITERAL("-----BEGIN OCSP RESPONSE-----");
    has_problem(&pair, "it is not an OCSP response with a time until which it holds");
}
END_TEST

/* Cut anywhere, or with a byte changed anywhere: it is used only if it still is what was signed. */
START_TEST(altered)
{
    ck_assert(tls_library_init());
    struct tls_pair pair = stapling_pair();
    struct tls_certificate_facts facts;
    struct buf why;
    uint8_t copy[sizeof ocsp_mx_ecdsa];
    buf_init(&why, 0);
    for (size_t at = 0; at < sizeof copy; at += 7) {
        memcpy(copy, ocsp_mx_ecdsa, sizeof copy);
        pair.ocsp = slice_of(copy, at == 0 ? 1 : at);
        ck_assert(tls_pair_examine(&pair, &facts, &why));
        ck_assert_ptr_nonnull(facts.staple_problem);
        copy[at] ^= 0x55;
        pair.ocsp = slice_of(copy, sizeof copy);
        ck_assert(tls_pair_examine(&pair, &facts, &why));
        ck_assert((facts.staple_problem == NULL) == (facts.staple_until > 0));
    }
    buf_finish(&why);
}
END_TEST
#endif

Suite *tls_staple_suite(void)
{
    Suite *suite = suite_create("tls_staple");
    TCase *tc = tcase_create("tls_staple");
    tcase_add_loop_test(tc, staples, 0, 2);
    tcase_add_loop_test(tc, without_response, 0, 2);
#ifdef MAILRING_WOLFSSL_STAPLES
    tcase_add_test(tc, problems);
    tcase_add_test(tc, altered);
#endif
    suite_add_tcase(suite, tc);
    return suite;
}
