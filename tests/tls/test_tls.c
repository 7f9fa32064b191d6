#include "tls.h"

#include "tls_certs.h"
#include "tls_link.h"
#include "tls_test.h"

static const struct slice mx = SLICE_INIT("mx.example.org");
static struct tls_context *server, *client, *client_12;
static struct tls_connect_options by_name;

static void setup(void)
{
    struct tls_pair pairs[] = {tls_link_pair(cert_mx_rsa, cert_middle, key_mx_rsa),
                               tls_link_pair(cert_mx_ecdsa, cert_middle, key_mx_ecdsa),
                               tls_link_pair(cert_other, cert_middle, key_other)};
    server = tls_link_server(pairs, ARRAY_LEN(pairs), NULL);
    client = tls_link_client(cert_root);
    client_12 = tls_link_client_12(cert_root, NULL);
    by_name = (struct tls_connect_options){
        .check = TLS_CHECK_NAME, .sni = mx, .names = &mx, .name_count = 1};
}

static void teardown(void)
{
    tls_context_unref(server);
    tls_context_unref(client);
    tls_context_unref(client_12);
}

static struct tls_facts facts_of(const struct tls *t)
{
    struct tls_facts facts;
    tls_facts(t, &facts);
    return facts;
}

/* ---- handshakes --------------------------------------------------------------------------------------- */

START_TEST(tls13)
{
    struct tls_link l;
    tls_link_init(&l, client, server, &by_name);
    ck_assert(tls_link_handshake(&l));
    struct tls_facts c = facts_of(l.client), s = facts_of(l.server);
    ck_assert_str_eq(c.version, "TLSv1.3");
    ck_assert_str_eq(c.cipher, "TLS_AES_128_GCM_SHA256");
    ck_assert_str_eq(c.group, "X25519");
    ck_assert_uint_eq(c.bits, 128);
    ck_assert(c.verified && c.peer_certificate && !c.resumed);
    ck_assert(slice_equal(c.peer_name, mx));
    ck_assert_int_eq(tls_failure_of(l.client), TLS_FAILURE_NONE);
    ck_assert_str_eq(s.version, "TLSv1.3");
    ck_assert_str_eq(s.cipher, c.cipher);
    ck_assert_str_eq(s.group, c.group);
    ck_assert(slice_equal(s.sni, mx));
    ck_assert(!s.verified && !s.peer_certificate);
    ck_assert(tls_link_carry(&l, true, SLICE_LITERAL("EHLO client\r\n")));
    ck_assert(tls_link_carry(&l, false, SLICE_LITERAL("250 server\r\n")));
    tls_link_finish(&l);
}
END_TEST

START_TEST(tls12)
{
    struct tls_link l;
    tls_link_init(&l, client_12, server, &by_name);
    ck_assert(tls_link_handshake(&l));
    struct tls_facts c = facts_of(l.client), s = facts_of(l.server);
    ck_assert_str_eq(c.version, "TLSv1.2");
    ck_assert_str_eq(s.version, "TLSv1.2");
    ck_assert_str_eq(s.cipher, c.cipher);
    ck_assert_ptr_nonnull(strstr(s.cipher, "TLS_ECDHE_ECDSA_WITH_"));
    ck_assert(c.bits >= 128 && c.verified);
    ck_assert(tls_link_carry(&l, true, SLICE_LITERAL("EHLO client\r\n")));
    ck_assert(tls_link_carry(&l, false, SLICE_LITERAL("250 server\r\n")));
    tls_link_finish(&l);
}
END_TEST

/* The bytes come as they like. */
START_TEST(in_pieces)
{
    for (size_t piece = 1; piece < 400; piece += piece < 40 ? 1 : 37) {
        struct tls_link l;
        tls_link_init(&l, _i == 0 ? client : client_12, server, &by_name);
        l.piece = piece;
        ck_assert(tls_link_handshake(&l));
        ck_assert(tls_link_carry(&l, true, SLICE_LITERAL("EHLO client\r\n")));
        ck_assert(tls_link_carry(&l, false, SLICE_LITERAL("250 server\r\n")));
        tls_link_finish(&l);
    }
}
END_TEST

/* A ClientHello, cut once at each of its bytes, and a call with nothing new between. */
START_TEST(hello_at_every_split)
{
    struct buf hello;
    struct slice none = SLICE_NULL;
    buf_init(&hello, 0);
    struct tls *c = tls_connect(_i == 0 ? client : client_12, &by_name);
    ck_assert_int_eq(tls_handshake(c, &none, &hello), TLS_WANT_INPUT);
    ck_assert(buf_len(&hello) > 100);
    for (size_t cut = 0; cut <= buf_len(&hello); cut++) {
        struct buf answer;
        buf_init(&answer, 0);
        struct tls *s = tls_accept(server);
        struct slice first = slice_head(buf_slice(&hello), cut), rest = buf_slice(&hello);
        slice_advance(&rest, cut);
        quick_assert(tls_handshake(s, &first, &answer) == TLS_WANT_INPUT && first.len == 0);
        quick_assert(tls_handshake(s, &none, &answer) == TLS_WANT_INPUT);
        quick_assert((buf_len(&answer) > 0) == (cut == buf_len(&hello)));
        quick_assert(tls_handshake(s, &rest, &answer) == TLS_WANT_INPUT && rest.len == 0);
        quick_assert(buf_len(&answer) > 500);
        buf_finish(&answer);
        tls_free(s);
    }
    tls_free(c);
    buf_finish(&hello);
}
END_TEST

/* What is behind the handshake in the same bytes stays for tls_read(). */
START_TEST(data_right_behind)
{
    struct tls_link l;
    tls_link_init(&l, client, server, &by_name);
    struct slice in = SLICE_NULL;
    ck_assert_int_eq(tls_handshake(l.client, &in, &l.to_server), TLS_WANT_INPUT);
    in = buf_slice(&l.to_server);
    ck_assert_int_eq(tls_handshake(l.server, &in, &l.to_client), TLS_WANT_INPUT);
    buf_clear(&l.to_server);
    in = buf_slice(&l.to_client);
    ck_assert_int_eq(tls_handshake(l.client, &in, &l.to_server), TLS_OK);
    buf_clear(&l.to_client);
    ck_assert(tls_write(l.client, SLICE_LITERAL("EHLO early\r\n"), &l.to_server));
    in = buf_slice(&l.to_server);
    ck_assert_int_eq(tls_handshake(l.server, &in, &l.to_client), TLS_OK);
    ck_assert_uint_gt(in.len, 0);
    char data[100];
    size_t count;
    ck_assert_int_eq(tls_read(l.server, &in, data, sizeof data, &count, &l.to_client), TLS_OK);
    ck_assert(slice_equal(slice_of(data, count), SLICE_LITERAL("EHLO early\r\n")));
    ck_assert_uint_eq(in.len, 0);
    tls_link_finish(&l);
}
END_TEST

START_TEST(done_stays_done)
{
    struct tls_link l;
    struct slice none = SLICE_NULL;
    tls_link_init(&l, client, server, &by_name);
    ck_assert(tls_link_handshake(&l));
    ck_assert_int_eq(tls_handshake(l.client, &none, &l.to_server), TLS_OK);
    ck_assert_int_eq(tls_handshake(l.server, &none, &l.to_client), TLS_OK);
    tls_link_finish(&l);
}
END_TEST

/* ---- versions and ciphers ----------------------------------------------------------------------------- */

START_TEST(version_floor)
{
    struct buf why;
    buf_init(&why, 0);
    struct tls_pair pair = tls_link_pair(cert_mx_rsa, cert_middle, key_mx_rsa);
    struct tls_server_options options = {
        .pairs = &pair, .pair_count = 1, .version_min = TLS_VERSION_1_3};
    struct tls_context *strict = tls_server_context_create(&options, &why);
    ck_assert_ptr_nonnull(strict);
    struct tls_link l;
    tls_link_init(&l, client_12, strict, &by_name);
    ck_assert(!tls_link_handshake(&l));
    ck_assert_int_eq(l.server_result, TLS_FAILED);
    ck_assert_int_eq(l.client_result, TLS_FAILED);
    ck_assert_str_eq(tls_error(l.server), "no version in common");
    ck_assert_ptr_nonnull(strstr(tls_error(l.client), "the peer sent the alert protocol_version"));
    tls_link_finish(&l);
    tls_link_init(&l, client, strict, &by_name);
    ck_assert(tls_link_handshake(&l));
    tls_link_finish(&l);
    tls_context_unref(strict);
}
END_TEST

static const struct {
    const char *ours, *suite; /* what the server may do, and what comes of it; NULL: nothing */
    bool only_12;
} cipher_rows[] = {
    {"", "TLS_AES_128_GCM_SHA256", false},
    {"TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", false},
    {"TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", false},
    {"ECDHE-RSA-AES256-GCM-SHA384", "TLS_AES_128_GCM_SHA256", false},
    {"ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", true},
    {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", true},
    {"ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", true},
    {"ECDHE-RSA-AES128-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", true},
    {"ECDHE-RSA-AES256-SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", true},
    {"ECDHE-ECDSA-AES128-GCM-SHA256", NULL, true}, /* with an RSA certificate */
};

START_TEST(ciphers)
{
    struct buf why;
    buf_init(&why, 0);
    struct tls_pair pair = tls_link_pair(cert_mx_rsa, cert_middle, key_mx_rsa);
    struct tls_server_options options = {
        .pairs = &pair, .pair_count = 1, .ciphers = slice_str(cipher_rows[_i].ours)};
    struct tls_context *own = tls_server_context_create(&options, &why);
    ck_assert_ptr_nonnull(own);
    struct tls_link l;
    tls_link_init(&l, cipher_rows[_i].only_12 ? client_12 : client, own, &by_name);
    bool good = tls_link_handshake(&l);
    ck_assert_int_eq(good, cipher_rows[_i].suite != NULL);
    if (good) {
        ck_assert_str_eq(facts_of(l.server).cipher, cipher_rows[_i].suite);
        ck_assert(tls_link_carry(&l, true, SLICE_LITERAL("EHLO client\r\n")));
        ck_assert(tls_link_carry(&l, false, SLICE_LITERAL("250 server\r\n")));
    } else {
        ck_assert_str_eq(tls_error(l.server), "no cipher in common");
        ck_assert_ptr_nonnull(strstr(tls_error(l.client), "handshake_failure"));
    }
    tls_link_finish(&l);
    tls_context_unref(own);
}
END_TEST

START_TEST(no_old_ciphers_unasked)
{
    struct tls_context *old = tls_link_client_12(cert_root, "ECDHE-RSA-AES128-SHA256");
    struct tls_link l;
    tls_link_init(&l, old, server, &by_name);
    ck_assert(!tls_link_handshake(&l));
    tls_link_finish(&l);
    tls_context_unref(old);
}
END_TEST

/* ---- which certificate -------------------------------------------------------------------------------- */

static const struct {
    const char *sni, *ciphers; /* of a TLS 1.2 client; NULL: a TLS 1.3 client */
    const char *peer, *suite;  /* the suite's beginning */
} sni_rows[] = {
    {"mx.example.org", NULL, "mx.example.org", "TLS_AES"},
    {"other.example.net", NULL, "other.example.net", "TLS_AES"},
    {"OTHER.example.NET", NULL, "other.example.net", "TLS_AES"},
    {"a.wild.example.org", NULL, "mx.example.org", "TLS_AES"},
    {"nobody.example", NULL, "mx.example.org", "TLS_AES"},
    {"", NULL, "mx.example.org", "TLS_AES"},
    {"mx.example.org", "ECDHE-RSA-AES128-GCM-SHA256", "mx.example.org", "TLS_ECDHE_RSA"},
    {"mx.example.org", "ECDHE-ECDSA-AES128-GCM-SHA256", "mx.example.org", "TLS_ECDHE_ECDSA"},
    {"mx.example.org", "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256",
     "mx.example.org", "TLS_ECDHE_ECDSA"},
    {"", "ECDHE-ECDSA-AES128-GCM-SHA256", "mx.example.org", "TLS_ECDHE_ECDSA"},
    {"other.example.net", "ECDHE-ECDSA-AES128-GCM-SHA256", "other.example.net", "TLS_ECDHE_ECDSA"},
};

START_TEST(certificate_by_sni)
{
    struct tls_context *c = sni_rows[_i].ciphers != NULL
                                ? tls_link_client_12(cert_root, sni_rows[_i].ciphers)
                                : tls_context_ref(client);
    struct tls_connect_options options = {.sni = slice_str(sni_rows[_i].sni)};
    struct tls_link l;
    tls_link_init(&l, c, server, &options);
    ck_assert(tls_link_handshake(&l));
    struct tls_facts facts = facts_of(l.client);
    ck_assert(slice_equal(facts.peer_name, slice_str(sni_rows[_i].peer)));
    ck_assert_int_eq(strncmp(facts.cipher, sni_rows[_i].suite, strlen(sni_rows[_i].suite)), 0);
    tls_link_finish(&l);
    tls_context_unref(c);
}
END_TEST

START_TEST(ed25519)
{
    struct tls_pair pair = tls_link_pair(cert_mx_ed25519, NULL, key_mx_ed25519);
    struct tls_context *own = tls_link_server(&pair, 1, NULL);
    struct tls_link l;
    tls_link_init(&l, client, own, &by_name);
    ck_assert(tls_link_handshake(&l));
    tls_link_finish(&l);
    tls_context_unref(own);
}
END_TEST

START_TEST(rsa4096)
{
    struct tls_pair pair = tls_link_pair(cert_mx_rsa4096, cert_middle, key_mx_rsa4096);
    struct tls_context *own = tls_link_server(&pair, 1, NULL);
    struct tls_link l;
    ck_assert(tls_context_is_heavy(own));
    ck_assert(!tls_context_is_heavy(server));
    tls_link_init(&l, client, own, &by_name);
    ck_assert(tls_link_handshake(&l));
    tls_link_finish(&l);
    tls_context_unref(own);
}
END_TEST

/* ---- certificates of clients -------------------------------------------------------------------------- */

static struct tls_context *asking_server(const char *client_ca)
{
    struct buf why;
    buf_init(&why, 0);
    struct tls_pair pair = tls_link_pair(cert_mx_ecdsa, cert_middle, key_mx_ecdsa);
    struct tls_tickets *tickets = tls_tickets_create(3600);
    struct tls_server_options options = {.pairs = &pair,
                                         .pair_count = 1,
                                         .client_ca =
                                             client_ca != NULL ? slice_str(client_ca) : SLICE_NULL,
                                         .ask_certificate = true,
                                         .tickets = tickets};
    struct tls_context *c = tls_server_context_create(&options, &why);
    ck_assert_ptr_nonnull(c);
    tls_tickets_unref(tickets);
    buf_finish(&why);
    return c;
}

static struct tls_context *showing_client(const char *certificate, const char *issuer,
                                          const char *key)
{
    struct buf why;
    buf_init(&why, 0);
    struct tls_pair pair = tls_link_pair(certificate, issuer, key);
    struct tls_client_options options = {
        .ca = slice_str(cert_root), .certificate = pair.certificate, .key = pair.key};
    struct tls_context *c = tls_client_context_create(&options, &why);
    ck_assert_ptr_nonnull(c);
    buf_finish(&why);
    return c;
}

static const struct {
    const char *ca, *certificate, *issuer, *key;
    bool verified;
} client_rows[] = {
    {cert_root, cert_client, cert_middle, key_client, true},
    {cert_root, cert_client, NULL, key_client, false},                /* who signed it? */
    {cert_root, cert_self, NULL, key_self, false},                    /* anybody can make one */
    {cert_root, cert_untrusted, cert_stranger, key_untrusted, false}, /* a CA of its own making */
    {cert_root, cert_mx_ecdsa, cert_middle, key_mx_ecdsa, false},     /* not for clients */
    {NULL, cert_client, cert_middle, key_client, false},              /* fingerprints only */
    {cert_middle, cert_client, NULL, key_client, true},
};

START_TEST(client_certificate)
{
    struct tls_context *s = asking_server(client_rows[_i].ca);
    struct tls_context *c =
        showing_client(client_rows[_i].certificate, client_rows[_i].issuer, client_rows[_i].key);
    for (int round = 0; round < 3; round++) { /* a CA that was let pass once is not trusted after */
        struct tls_link l;
        tls_link_init(&l, c, s, &by_name);
        ck_assert(tls_link_handshake(&l));
        struct tls_facts facts = facts_of(l.server);
        ck_assert(facts.peer_certificate);
        ck_assert_int_eq(facts.verified, client_rows[_i].verified);
        uint8_t zero[32] = {0};
        ck_assert_mem_ne(facts.peer_sha256, zero, 32);
        ck_assert(tls_link_carry(&l, true, SLICE_LITERAL("EHLO client\r\n")));
        ck_assert(tls_link_carry(&l, false, SLICE_LITERAL("250 server\r\n")));
        ck_assert_ptr_null(tls_resumption_take(l.client)); /* it would be one without certificate */
        tls_link_finish(&l);
    }
    tls_context_unref(s);
    tls_context_unref(c);
}
END_TEST

START_TEST(client_certificate_12)
{
    struct tls_context *s = asking_server(cert_root);
    struct tls_link l;
    tls_link_init(&l, client_12, s, &by_name);
    ck_assert(tls_link_handshake(&l));
    ck_assert(!facts_of(l.server).peer_certificate && !facts_of(l.server).verified);
    tls_link_finish(&l);
    tls_context_unref(s);
}
END_TEST

START_TEST(client_without_certificate)
{
    struct tls_context *s = asking_server(cert_root);
    struct tls_link l;
    tls_link_init(&l, client, s, &by_name);
    ck_assert(tls_link_handshake(&l));
    ck_assert(!facts_of(l.server).peer_certificate && !facts_of(l.server).verified);
    tls_link_finish(&l);
    tls_context_unref(s);
}
END_TEST

START_TEST(client_shows_nothing_unasked)
{
    struct tls_context *c = showing_client(cert_client, cert_middle, key_client);
    struct tls_link l;
    tls_link_init(&l, c, server, &by_name);
    ck_assert(tls_link_handshake(&l));
    ck_assert(!facts_of(l.server).peer_certificate);
    tls_link_finish(&l);
    tls_context_unref(c);
}
END_TEST

/* ---- channel bindings --------------------------------------------------------------------------------- */

START_TEST(bindings)
{
    for (int round = 0; round < 2; round++) {
        struct tls_link l;
        uint8_t at_client[TLS_BINDING_MAX], at_server[TLS_BINDING_MAX];
        size_t client_len, server_len;
        tls_link_init(&l, round == 0 ? client : client_12, server, &by_name);
        ck_assert(!tls_binding(l.client, TLS_BINDING_EXPORTER, at_client, &client_len));
        ck_assert(tls_link_handshake(&l));
        ck_assert(tls_binding(l.server, TLS_BINDING_EXPORTER, at_server, &server_len));
        ck_assert_uint_eq(server_len, 32);
        bool have = tls_binding(l.client, TLS_BINDING_EXPORTER, at_client, &client_len);
        ck_assert_int_eq(have, round == 0);
        if (have) {
            ck_assert_uint_eq(client_len, 32);
            ck_assert_mem_eq(at_client, at_server, 32);
        }
        ck_assert(tls_binding(l.client, TLS_BINDING_SERVER_END_POINT, at_client, &client_len));
        ck_assert(tls_binding(l.server, TLS_BINDING_SERVER_END_POINT, at_server, &server_len));
        ck_assert_uint_eq(client_len, 32); /* SHA-256 signs these certificates */
        ck_assert_uint_eq(server_len, 32);
        ck_assert_mem_eq(at_client, at_server, 32);
        ck_assert_mem_eq(at_client, facts_of(l.client).peer_sha256, 32);
        tls_link_finish(&l);
    }
}
END_TEST

START_TEST(bindings_differ)
{
    struct tls_link a, b;
    uint8_t first[TLS_BINDING_MAX], second[TLS_BINDING_MAX];
    size_t len;
    tls_link_init(&a, client, server, &by_name);
    tls_link_init(&b, client, server, &by_name);
    ck_assert(tls_link_handshake(&a) && tls_link_handshake(&b));
    ck_assert(tls_binding(a.server, TLS_BINDING_EXPORTER, first, &len));
    ck_assert(tls_binding(b.server, TLS_BINDING_EXPORTER, second, &len));
    ck_assert_mem_ne(first, second, 32);
    tls_link_finish(&a);
    tls_link_finish(&b);
}
END_TEST

Suite *tls_suite(void)
{
    Suite *suite = suite_create("tls");
    TCase *tc = tcase_create("handshake");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, tls13);
    tcase_add_test(tc, tls12);
    tcase_add_loop_test(tc, in_pieces, 0, 2);
    tcase_add_loop_test(tc, hello_at_every_split, 0, 2);
    tcase_add_test(tc, data_right_behind);
    tcase_add_test(tc, done_stays_done);
    tcase_add_test(tc, version_floor);
    tcase_add_loop_test(tc, ciphers, 0, ARRAY_LEN(cipher_rows));
    tcase_add_test(tc, no_old_ciphers_unasked);
    tcase_add_loop_test(tc, certificate_by_sni, 0, ARRAY_LEN(sni_rows));
    tcase_add_test(tc, ed25519);
    tcase_add_test(tc, rsa4096);
    tcase_add_loop_test(tc, client_certificate, 0, ARRAY_LEN(client_rows));
    tcase_add_test(tc, client_certificate_12);
    tcase_add_test(tc, client_without_certificate);
    tcase_add_test(tc, client_shows_nothing_unasked);
    tcase_add_test(tc, bindings);
    tcase_add_test(tc, bindings_differ);
    suite_add_tcase(suite, tc);
    return suite;
}
