#include "tls_context.h"

#include "tls_certs.h"
#include "tls_link.h"
#include "tls_priv.h"
#include "tls_test.h"

/* ---- what is in a pair ------------------------------------------------------------------------------------ */

static const struct {
    const char *certificate, *key;
    const char *why; /* NULL: fine */
    const char *kind;
    int64_t not_before, not_after;
} pairs[] = {
    {cert_mx_ecdsa, key_mx_ecdsa, NULL, "ECDSA-P256", 1577836800, 4733510400},
    {cert_mx_rsa, key_mx_rsa, NULL, "RSA-2048", 1577836800, 4733510400},
    {cert_mx_rsa4096, key_mx_rsa4096, NULL, "RSA-4096", 1577836800, 4733510400},
    {cert_mx_ed25519, key_mx_ed25519, NULL, "Ed25519", 1577836800, 4733510400},
    {cert_stranger, key_stranger, NULL, "ECDSA-P384", 1577836800, 4733510400},
    {cert_expired, key_expired, NULL, "ECDSA-P256", 1577836800, 1609459200},
    {cert_future, key_future, NULL, "ECDSA-P256", 4102444800, 4733510400},
    {cert_mx_ecdsa, key_mx_rsa, "cert.pem: does not match the key key.pem", NULL, 0, 0},
    {cert_mx_ecdsa, key_other, "cert.pem: does not match the key key.pem", NULL, 0, 0},
    {cert_mx_ecdsa, key_encrypted,
     "key.pem: the key is encrypted, and nobody is there to type its password", NULL, 0, 0},
    {cert_mx_ecdsa, cert_mx_ecdsa, "key.pem: no private key in it", NULL, 0, 0},
    {cert_mx_ecdsa, "", "key.pem: no private key in it", NULL, 0, 0},
    {key_mx_ecdsa, key_mx_ecdsa, "cert.pem: no certificate in it", NULL, 0, 0},
    {"", key_mx_ecdsa, "cert.pem: no certificate in it", NULL, 0, 0},
    {"nothing like it\n", key_mx_ecdsa, "cert.pem: no certificate in it", NULL, 0, 0},
    {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", key_mx_ecdsa,
     "cert.pem: not a certificate that can be read: ", NULL, 0, 0},
    {"-----BEGIN CERTIFICATE-----\nAAAA\n", key_mx_ecdsa, "cert.pem: ", NULL, 0, 0},
    {cert_mx_ecdsa, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
     "key.pem: not a private key that can be used: ", NULL, 0, 0},
};

START_TEST(examine)
{
    struct tls_pair pair = {.certificate_file = "cert.pem",
                            .key_file = "key.pem",
                            .certificate = slice_str(pairs[_i].certificate),
                            .key = slice_str(pairs[_i].key)};
    struct tls_certificate_facts facts = {.kind = "untouched"};
    struct buf why;
    buf_init(&why, 0);
    ck_assert(tls_library_init());
    bool good = tls_pair_examine(&pair, &facts, &why);
    (void)buf_append_byte(&why, 0);
    const char *text = (const char *)buf_slice(&why).data;
    ck_assert_int_eq(good, pairs[_i].why == NULL);
    if (good) {
        ck_assert_str_eq(text, "");
        ck_assert_str_eq(facts.kind, pairs[_i].kind);
        ck_assert_int_eq(facts.not_before, pairs[_i].not_before);
        ck_assert_int_eq(facts.not_after, pairs[_i].not_after);
    } else {
        ck_assert_str_eq(facts.kind, "untouched");
        ck_assert_msg(strncmp(text, pairs[_i].why, strlen(pairs[_i].why)) == 0, "%s", text);
    }
    buf_clear(&why);
    /* A context says the same. */
    struct tls_server_options options = {.pairs = &pair, .pair_count = 1};
    struct tls_context *c = tls_server_context_create(&options, &why);
    ck_assert_int_eq(c != NULL, good);
    (void)buf_append_byte(&why, 0);
    text = (const char *)buf_slice(&why).data;
    ck_assert(good || strncmp(text, pairs[_i].why, strlen(pairs[_i].why)) == 0);
    tls_context_unref(c);
    buf_finish(&why);
}
END_TEST

static void collect(void *context, struct slice name)
{
    (void)buf_printf(context, "%.*s ", SLICE_ARG(name));
}

START_TEST(names)
{
    static const struct {
        const char *certificate, *names;
    } rows[] = {
        {cert_mx_rsa, "*.wild.example.org mx.example.org "}, /* in no order that is promised */

        {cert_common_name, "cn.example.org "},
        {"rubbish", ""}};
    ck_assert(tls_library_init());
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tls_pair pair = {.certificate_file = "c",
                                .key_file = "k",
                                .certificate = slice_str(rows[i].certificate)};
        struct buf list;
        buf_init(&list, 0);
        tls_pair_names(&pair, collect, &list);
        ck_assert(slice_equal(buf_slice(&list), slice_str(rows[i].names)));
        buf_finish(&list);
    }
}
END_TEST

/* Many of the CRs and LFs that people put into files. */
START_TEST(strange_pem)
{
    struct buf crlf, why;
    buf_init(&crlf, 0);
    buf_init(&why, 0);
    ck_assert(tls_library_init());
    (void)buf_append_str(&crlf, "Bag Attributes\r\n    friendlyName: x\r\n");
    for (const char *c = cert_mx_rsa; *c != 0; c++) {
        if (*c == '\n')
            (void)buf_append_byte(&crlf, '\r');
        (void)buf_append_byte(&crlf, (uint8_t)*c);
    }
    struct tls_pair pair = {.certificate_file = "c",
                            .key_file = "k",
                            .certificate = buf_slice(&crlf),
                            .key = slice_str(key_mx_rsa)};
    struct tls_certificate_facts facts;
    ck_assert(tls_pair_examine(&pair, &facts, &why));
    buf_finish(&crlf);
    buf_finish(&why);
}
END_TEST

/* ---- options that cannot be ----------------------------------------------------------------------------- */

static void server_refuses(const struct tls_server_options *options, const char *words)
{
    struct buf why;
    buf_init(&why, 0);
    ck_assert_ptr_null(tls_server_context_create(options, &why));
    (void)buf_append_byte(&why, 0);
    ck_assert_str_eq((const char *)buf_slice(&why).data, words);
    buf_finish(&why);
}

START_TEST(refused_options)
{
    ck_assert(tls_library_init());
    struct tls_pair pair = tls_link_pair(cert_mx_ecdsa, cert_middle, key_mx_ecdsa);
    struct tls_server_options options = {.pairs = &pair, .pair_count = 1};
    options.ciphers = SLICE_LITERAL("ECDHE-RSA-AES128-GCM-SHA256:RC4-MD5");
    server_refuses(&options, "unknown cipher RC4-MD5");
    options.ciphers = SLICE_LITERAL("AES128-SHA"); /* no forward secrecy */
    server_refuses(&options, "unknown cipher AES128-SHA");
    options.ciphers = SLICE_NULL;
    options.client_ca = SLICE_LITERAL("no PEM");
    server_refuses(&options, "client_ca: no certificate in it");
    options.client_ca =
        SLICE_LITERAL("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n");
    server_refuses(&options, "client_ca: not all of it can be read as PEM");

    struct buf why;
    buf_init(&why, 0);
    struct tls_client_options client = {.ca = SLICE_LITERAL("\n\n")};
    ck_assert_ptr_null(tls_client_context_create(&client, &why));
    ck_assert(slice_equal(buf_slice(&why), SLICE_LITERAL("ca: no certificate in it")));
    buf_finish(&why);
}
END_TEST

START_TEST(cipher_lists)
{
    static const struct {
        const char *names;
        bool server;
        const char *list;
    } rows[] = {
        {"TLS_AES_256_GCM_SHA384:ECDHE-RSA-AES128-GCM-SHA256", true,
         "TLS13-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256"},
        {" tls_aes_256_gcm_sha384 : : ecdhe-rsa-aes128-gcm-sha256 :", true,
         "TLS13-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256"},
        {"ECDHE-RSA-AES128-GCM-SHA256", true,
         "TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:TLS13-CHACHA20-POLY1305-SHA256:"
         "ECDHE-RSA-AES128-GCM-SHA256"},
        {"ECDHE-RSA-AES128-SHA:TLS13-CHACHA20-POLY1305-SHA256", true,
         "TLS13-CHACHA20-POLY1305-SHA256:ECDHE-RSA-AES128-SHA"},
    };
    struct buf list, why;
    buf_init(&list, 0);
    buf_init(&why, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&list);
        ck_assert(tls_cipher_list(slice_str(rows[i].names), rows[i].server, &list, &why));
        ck_assert_str_eq((const char *)buf_slice(&list).data, rows[i].list);
    }
    buf_clear(&list);
    ck_assert(tls_cipher_list(SLICE_NULL, true, &list, &why));
    ck_assert_ptr_null(strstr((const char *)buf_slice(&list).data, "AES128-SHA"));
    buf_clear(&list);
    ck_assert(tls_cipher_list(SLICE_NULL, false, &list, &why));
    ck_assert_ptr_nonnull(strstr((const char *)buf_slice(&list).data, "ECDHE-RSA-AES128-SHA256"));
    ck_assert_uint_eq(buf_len(&why), 0);
    buf_finish(&list);
    buf_finish(&why);
}
END_TEST

/* ---- which certificate ------------------------------------------------------------------------------------ */

START_TEST(choice)
{
    struct tls_pair three[] = {tls_link_pair(cert_mx_rsa, cert_middle, key_mx_rsa),
                               tls_link_pair(cert_other, cert_middle, key_other),
                               tls_link_pair(cert_mx_ecdsa, cert_middle, key_mx_ecdsa),
                               tls_link_pair(cert_mx_ed25519, NULL, key_mx_ed25519)};
    struct tls_context *c = tls_link_server(three, ARRAY_LEN(three), NULL);
    static const struct {
        const char *sni;
        bool rsa, ecdsa, ed25519;
        size_t pair;
    } rows[] = {
        {"mx.example.org", true, true, true, 2},
        {"mx.example.org", true, false, false, 0},
        {"mx.example.org", false, true, false, 2},
        {"mx.example.org", true, false, true, 3},
        {"mx.example.org", false, false, false, 0},
        {"a.wild.example.org", true, true, false, 2},
        {"wild.example.org", true, true, false, 2}, /* nobody's: the default and its siblings */
        {"other.example.net", true, true, false, 1},
        {"other.example.net", true, false, false, 1}, /* it cannot check it, but that is the name */
        {"", true, true, false, 2},
        {"", true, false, false, 0},
        {"", false, false, false, 0},
        {"unknown.example", true, false, false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tls_hello hello = {
            .rsa = rows[i].rsa, .ecdsa = rows[i].ecdsa, .ed25519 = rows[i].ed25519};
        buf_init(&hello.sni, 0);
        (void)buf_append_str(&hello.sni, rows[i].sni);
        ck_assert_msg(tls_context_choose(c, &hello) == &c->pairs[rows[i].pair], "row %zu", i);
        tls_hello_finish(&hello);
    }
    tls_context_unref(c);
}
END_TEST

/* Sessions keep the context that they began with. */
START_TEST(outlives_reload)
{
    struct tls_pair pair = tls_link_pair(cert_mx_ecdsa, cert_middle, key_mx_ecdsa);
    struct tls_context *server = tls_link_server(&pair, 1, NULL);
    struct tls_context *client = tls_link_client(cert_root);
    struct tls_link l;
    tls_link_init(&l, client, server, NULL);
    tls_context_unref(server);
    tls_context_unref(client);
    ck_assert(tls_link_handshake(&l));
    ck_assert(tls_link_carry(&l, true, SLICE_LITERAL("EHLO")));
    tls_link_finish(&l);
}
END_TEST

/* ---- tls_null --------------------------------------------------------------------------------------------- */

START_TEST(null_is_like_tls)
{
    struct buf why;
    buf_init(&why, 0);
    struct tls_server_options server_options = {.null = true};
    struct tls_client_options client_options = {.null = true};
    struct tls_context *server = tls_server_context_create(&server_options, &why);
    struct tls_context *client = tls_client_context_create(&client_options, &why);
    struct slice name = SLICE_LITERAL("mx.example.org");
    struct tls_connect_options options = {
        .check = TLS_CHECK_NAME, .sni = name, .names = &name, .name_count = 1};
    for (size_t piece = 0; piece < 30; piece++) {
        struct tls_link l;
        struct tls_facts facts;
        tls_link_init(&l, client, server, &options);
        l.piece = piece;
        ck_assert(tls_link_handshake(&l));
        tls_facts(l.server, &facts);
        ck_assert(slice_equal(facts.sni, name));
        ck_assert_str_eq(facts.version, "TLSnull");
        tls_facts(l.client, &facts);
        ck_assert(facts.verified);
        ck_assert(tls_write(l.client, SLICE_LITERAL("MAIL FROM:<a@b>"), &l.to_server));
        ck_assert_ptr_null(memmem(buf_slice(&l.to_server).data, buf_len(&l.to_server), "MAIL", 4));
        buf_clear(&l.to_server);
        uint8_t out[TLS_BINDING_MAX];
        size_t len;
        ck_assert(!tls_binding(l.client, TLS_BINDING_EXPORTER, out, &len));
        ck_assert(!tls_binding(l.server, TLS_BINDING_SERVER_END_POINT, out, &len));
        tls_link_finish(&l);
    }
    tls_context_unref(server);
    tls_context_unref(client);
}
END_TEST

Suite *tls_context_suite(void)
{
    Suite *suite = suite_create("tls_context");
    TCase *tc = tcase_create("tls_context");
    tcase_add_loop_test(tc, examine, 0, ARRAY_LEN(pairs));
    tcase_add_test(tc, names);
    tcase_add_test(tc, strange_pem);
    tcase_add_test(tc, refused_options);
    tcase_add_test(tc, cipher_lists);
    tcase_add_test(tc, choice);
    tcase_add_test(tc, outlives_reload);
    tcase_add_test(tc, null_is_like_tls);
    suite_add_tcase(suite, tc);
    return suite;
}
