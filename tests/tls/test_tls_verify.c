#include "tls_certs.h"
#include "tls_link.h"
#include "tls_priv.h"
#include "tls_test.h"

static struct tls_context *server_of(const char *certificate, const char *issuer, const char *key)
{
    struct tls_pair pair = tls_link_pair(certificate, issuer, key);
    return tls_link_server(&pair, 1, NULL);
}

/* ---- by name -------------------------------------------------------------------------------------------- */

static const struct {
    const char *what;
    const char *certificate, *issuer, *issuer2, *key;
    const char *ca, *name;
    enum tls_failure failure;
} rows[] = {
    {"good", cert_mx_ecdsa, cert_middle, NULL, key_mx_ecdsa, cert_root, "mx.example.org",
     TLS_FAILURE_NONE},
    {"RSA", cert_mx_rsa, cert_middle, NULL, key_mx_rsa, cert_root, "mx.example.org",
     TLS_FAILURE_NONE},
    {"no case", cert_mx_rsa, cert_middle, NULL, key_mx_rsa, cert_root, "MX.example.ORG",
     TLS_FAILURE_NONE},
    {"final dot", cert_mx_rsa, cert_middle, NULL, key_mx_rsa, cert_root, "mx.example.org.",
     TLS_FAILURE_NONE},
    {"wildcard", cert_mx_rsa, cert_middle, NULL, key_mx_rsa, cert_root, "a.wild.example.org",
     TLS_FAILURE_NONE},
    {"wildcards are one label", cert_mx_rsa, cert_middle, NULL, key_mx_rsa, cert_root,
     "a.b.wild.example.org", TLS_FAILURE_NAME},
    {"wildcards are a label", cert_mx_rsa, cert_middle, NULL, key_mx_rsa, cert_root,
     "wild.example.org", TLS_FAILURE_NAME},
    {"no pattern of ours", cert_mx_rsa, cert_middle, NULL, key_mx_rsa, cert_root,
     "*.wild.example.org", TLS_FAILURE_NAME},
    {"other name", cert_other, cert_middle, NULL, key_other, cert_root, "mx.example.org",
     TLS_FAILURE_NAME},
    {"common name, no others", cert_common_name, cert_middle, NULL, key_common_name, cert_root,
     "cn.example.org", TLS_FAILURE_NONE},
    {"root sent too", cert_mx_ecdsa, cert_middle, cert_root, key_mx_ecdsa, cert_root,
     "mx.example.org", TLS_FAILURE_NONE},
    {"disorder", cert_mx_ecdsa, cert_root, cert_middle, key_mx_ecdsa, cert_root, "mx.example.org",
     TLS_FAILURE_NONE},
    {"something else between", cert_mx_ecdsa, cert_stranger, cert_middle, key_mx_ecdsa, cert_root,
     "mx.example.org", TLS_FAILURE_NONE},
    {"the intermediate is trusted", cert_mx_ecdsa, NULL, NULL, key_mx_ecdsa, cert_middle,
     "mx.example.org", TLS_FAILURE_NONE},
    {"self-signed and known", cert_self, NULL, NULL, key_self, cert_self, "mx.example.org",
     TLS_FAILURE_NONE},
    {"expired", cert_expired, cert_middle, NULL, key_expired, cert_root, "mx.example.org",
     TLS_FAILURE_EXPIRED},
    {"not valid yet", cert_future, cert_middle, NULL, key_future, cert_root, "mx.example.org",
     TLS_FAILURE_EXPIRED},
    {"expired above", cert_by_dead, cert_dead, NULL, key_by_dead, cert_root, "mx.example.org",
     TLS_FAILURE_EXPIRED},
    {"self-signed", cert_self, NULL, NULL, key_self, cert_root, "mx.example.org",
     TLS_FAILURE_UNTRUSTED},
    {"unknown CA", cert_untrusted, cert_stranger, NULL, key_untrusted, cert_root, "mx.example.org",
     TLS_FAILURE_UNTRUSTED},
    {"no intermediate", cert_mx_ecdsa, NULL, NULL, key_mx_ecdsa, cert_root, "mx.example.org",
     TLS_FAILURE_UNTRUSTED},
    {"the wrong intermediate", cert_mx_ecdsa, cert_short, NULL, key_mx_ecdsa, cert_root,
     "mx.example.org", TLS_FAILURE_UNTRUSTED},
    {"nothing is trusted", cert_mx_ecdsa, cert_middle, NULL, key_mx_ecdsa, NULL, "mx.example.org",
     TLS_FAILURE_UNTRUSTED},
    {"signed by a leaf", cert_by_leaf, cert_mx_rsa, cert_middle, key_by_leaf, cert_root,
     "victim.example", TLS_FAILURE_UNTRUSTED},
    {"a short path", cert_by_short, cert_short, NULL, key_by_short, cert_root, "mx.example.org",
     TLS_FAILURE_NONE},
    {"path too long", cert_by_below, cert_below, cert_short, key_by_below, cert_root,
     "mx.example.org", TLS_FAILURE_UNTRUSTED},
    {"outside of the fence", cert_by_fenced, cert_fenced, NULL, key_by_fenced, cert_root,
     "mx.example.org", TLS_FAILURE_UNTRUSTED},
    {"not for servers", cert_client, cert_middle, NULL, key_client, cert_root, "client.example.org",
     TLS_FAILURE_UNTRUSTED},
};

static struct tls_context *server_of_row(int i)
{
    struct buf chain;
    buf_init(&chain, 0);
    if (rows[i].issuer != NULL)
        (void)buf_append_str(&chain, rows[i].issuer);
    if (rows[i].issuer2 != NULL)
        (void)buf_append_str(&chain, rows[i].issuer2);
    (void)buf_append_byte(&chain, 0);
    struct tls_context *c =
        server_of(rows[i].certificate, (const char *)buf_slice(&chain).data, rows[i].key);
    buf_finish(&chain);
    return c;
}

static bool connects(struct tls_context *client, struct tls_context *server,
                     const struct tls_connect_options *options, enum tls_failure failure)
{
    struct tls_link l;
    tls_link_init(&l, client, server, options);
    bool good = tls_link_handshake(&l);
    struct tls_facts facts;
    tls_facts(l.client, &facts);
    ck_assert_int_eq(tls_failure_of(l.client), failure);
    ck_assert_int_eq(facts.verified, good && options->check != TLS_CHECK_NONE);
    if (good) {
        ck_assert(tls_link_carry(&l, true, SLICE_LITERAL("EHLO client\r\n")));
        ck_assert(tls_link_carry(&l, false, SLICE_LITERAL("250 server\r\n")));
    } else {
        ck_assert_int_eq(l.client_result, TLS_FAILED);
        ck_assert_str_ne(tls_error(l.client), "");
        /* The other side hears of it. */
        struct buf got;
        buf_init(&got, 0);
        if (l.server_result == TLS_OK)
            l.server_result = tls_link_read(&l, false, &got);
        ck_assert_int_eq(l.server_result, TLS_FAILED);
        ck_assert_ptr_nonnull(strstr(tls_error(l.server), "the peer sent the alert "));
        ck_assert(!tls_write(l.client, SLICE_LITERAL("secret"), &l.to_server));
        buf_finish(&got);
    }
    tls_link_finish(&l);
    return good;
}

START_TEST(by_name)
{
    struct slice name = slice_str(rows[_i].name);
    struct tls_context *s = server_of_row(_i);
    for (int version = 0; version < 2; version++) {
        struct tls_context *c =
            version == 0 ? tls_link_client(rows[_i].ca) : tls_link_client_12(rows[_i].ca, NULL);
        struct tls_connect_options options = {
            .check = TLS_CHECK_NAME, .sni = name, .names = &name, .name_count = 1};
        for (int round = 0; round < 2; round++)
            ck_assert_msg(connects(c, s, &options, rows[_i].failure)
                              == (rows[_i].failure == TLS_FAILURE_NONE),
                          "%s", rows[_i].what);
        /* Who does not mind is served. */
        struct tls_connect_options any = {.check = TLS_CHECK_NONE};
        struct tls_link l;
        tls_link_init(&l, c, s, &any);
        ck_assert_msg(tls_link_handshake(&l), "%s", rows[_i].what);
        struct tls_facts facts;
        tls_facts(l.client, &facts);
        ck_assert(!facts.verified && facts.peer_certificate);
        tls_link_finish(&l);
        /* And after that, whoever minds still does. */
        ck_assert_msg(connects(c, s, &options, rows[_i].failure)
                          == (rows[_i].failure == TLS_FAILURE_NONE),
                      "%s", rows[_i].what);
        tls_context_unref(c);
    }
    tls_context_unref(s);
}
END_TEST

START_TEST(several_names)
{
    struct slice names[] = {SLICE_LITERAL("example.org"), SLICE_LITERAL("mx.example.org")};
    struct tls_context *s = server_of(cert_mx_ecdsa, cert_middle, key_mx_ecdsa);
    struct tls_context *c = tls_link_client(cert_root);
    struct tls_connect_options options = {.check = TLS_CHECK_NAME, .names = names, .name_count = 2};
    ck_assert(connects(c, s, &options, TLS_FAILURE_NONE));
    options.name_count = 1;
    ck_assert(!connects(c, s, &options, TLS_FAILURE_NAME));
    options.name_count = 0; /* nothing would be right */
    ck_assert(!connects(c, s, &options, TLS_FAILURE_NAME));
    tls_context_unref(c);
    tls_context_unref(s);
}
END_TEST

/* A CA that one peer shows must not be one for the next, which is what wolfSSL would make of it. */
START_TEST(nobody_teaches_us_a_ca)
{
    struct slice name = SLICE_LITERAL("mx.example.org");
    struct tls_context *with = server_of(cert_untrusted, cert_stranger, key_untrusted);
    struct tls_context *without = server_of(cert_untrusted, NULL, key_untrusted);
    struct tls_context *c = tls_link_client(cert_root);
    struct tls_connect_options any = {.check = TLS_CHECK_NONE};
    struct tls_connect_options options = {.check = TLS_CHECK_NAME, .names = &name, .name_count = 1};
    ck_assert(connects(c, with, &any, TLS_FAILURE_NONE));
    ck_assert(!connects(c, with, &options, TLS_FAILURE_UNTRUSTED));
    ck_assert(!connects(c, without, &options, TLS_FAILURE_UNTRUSTED));
    /* An intermediate of ours neither: a server that forgets to send it is refused, each time. */
    struct tls_context *whole = server_of(cert_mx_ecdsa, cert_middle, key_mx_ecdsa);
    struct tls_context *part = server_of(cert_mx_ecdsa, NULL, key_mx_ecdsa);
    ck_assert(connects(c, whole, &options, TLS_FAILURE_NONE));
    ck_assert(!connects(c, part, &options, TLS_FAILURE_UNTRUSTED));
    tls_context_unref(with);
    tls_context_unref(without);
    tls_context_unref(whole);
    tls_context_unref(part);
    tls_context_unref(c);
}
END_TEST

START_TEST(notes_what_nobody_minds)
{
    struct slice name = SLICE_LITERAL("mx.example.org");
    struct tls_context *c = tls_link_client(cert_root);
    struct tls_connect_options any = {.check = TLS_CHECK_NONE, .names = &name, .name_count = 1};
    static const struct {
        const char *certificate, *key;
        enum tls_failure failure;
    } notes[] = {
        {cert_mx_ecdsa, key_mx_ecdsa, TLS_FAILURE_NONE},
        {cert_other, key_other, TLS_FAILURE_NAME},
        {cert_self, key_self, TLS_FAILURE_UNTRUSTED},
        {cert_expired, key_expired, TLS_FAILURE_EXPIRED},
        {cert_future, key_future, TLS_FAILURE_EXPIRED},
    };
    for (size_t i = 0; i < ARRAY_LEN(notes); i++) {
        struct tls_context *s = server_of(notes[i].certificate, NULL, notes[i].key);
        ck_assert(connects(c, s, &any, notes[i].failure));
        tls_context_unref(s);
    }
    tls_context_unref(c);
}
END_TEST

START_TEST(words)
{
    static const struct {
        const char *certificate, *issuer, *key, *words, *alert;
    } texts[] = {
        {cert_expired, cert_middle, key_expired, "certificate has expired", "bad_certificate"},
        {cert_other, cert_middle, key_other, "certificate is for another name", "bad_certificate"},
        {cert_self, NULL, key_self, "certificate is not signed by a trusted CA", "unknown_ca"},
    };
    struct slice name = SLICE_LITERAL("mx.example.org");
    struct tls_context *c = tls_link_client(cert_root);
    struct tls_connect_options options = {.check = TLS_CHECK_NAME, .names = &name, .name_count = 1};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct tls_context *s = server_of(texts[i].certificate, texts[i].issuer, texts[i].key);
        struct tls_link l;
        tls_link_init(&l, c, s, &options);
        ck_assert(!tls_link_handshake(&l));
        ck_assert_str_eq(tls_error(l.client), texts[i].words);
        ck_assert_ptr_nonnull(strstr(tls_error(l.server), texts[i].alert));
        tls_link_finish(&l);
        tls_context_unref(s);
    }
    tls_context_unref(c);
}
END_TEST

/* ---- DANE --------------------------------------------------------------------------------------------------- */

/* What a record with these parameters holds for a certificate. */
static struct slice tlsa_data(const char *pem, unsigned selector, unsigned matching)
{
    static uint8_t store[16][2048];
    static size_t used;
    uint8_t *out = store[used++ % 16];
    struct slice rest = slice_str(pem), der, selected;
    int status;
    ck_assert(tls_pem_next(&rest, &der, &status));
    struct tls_certificate *c = tls_certificate_parse(der, NULL);
    ck_assert_ptr_nonnull(c);
    selected = der;
    if (selector == 1)
        ck_assert(tls_certificate_spki(c, &selected));
    size_t len = matching == 0 ? selected.len : matching == 1 ? 32 : 64;
    if (matching == 0)
        memcpy(out, selected.data, len);
    else
        tls_digest(matching == 1 ? TLS_HASH_SHA256 : TLS_HASH_SHA512, selected, out);
    tls_certificate_free(c);
    mem_free((void *)der.data);
    return slice_of(out, len);
}

START_TEST(spki_is_what_others_say)
{
    static const struct {
        const char *pem, *hex;
    } keys[] = {{cert_mx_rsa, spki_sha256_mx_rsa},
                {cert_mx_ecdsa, spki_sha256_mx_ecdsa},
                {cert_mx_ed25519, spki_sha256_mx_ed25519},
                {cert_middle, spki_sha256_middle}};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct slice data = tlsa_data(keys[i].pem, 1, 1);
        char text[65];
        for (size_t j = 0; j < 32; j++)
            snprintf(text + 2 * j, 3, "%02x", data.data[j]);
        ck_assert_str_eq(text, keys[i].hex);
    }
}
END_TEST

static bool dane(const char *certificate, const char *issuer, const char *key, const char *name,
                 const struct tls_tlsa *tlsa, size_t count, enum tls_failure failure)
{
    struct slice names = slice_str(name);
    struct tls_connect_options options = {.check = TLS_CHECK_DANE,
                                          .sni = names,
                                          .names = &names,
                                          .name_count = 1,
                                          .tlsa = tlsa,
                                          .tlsa_count = count};
    struct tls_context *s = server_of(certificate, issuer, key);
    struct tls_context *c = tls_link_client(NULL); /* web PKI has no say */
    bool good = connects(c, s, &options, failure);
    tls_context_unref(s);
    tls_context_unref(c);
    return good;
}

/* Each selector and matching type, good and bad. */
START_TEST(dane_parameters)
{
    for (unsigned selector = 0; selector < 2; selector++) {
        for (unsigned matching = 0; matching < 3; matching++) {
            struct tls_tlsa ee = {3, (uint8_t)selector, (uint8_t)matching,
                                  tlsa_data(cert_mx_ecdsa, selector, matching)};
            struct tls_tlsa ta = {2, (uint8_t)selector, (uint8_t)matching,
                                  tlsa_data(cert_middle, selector, matching)};
            ck_assert(dane(cert_mx_ecdsa, cert_middle, key_mx_ecdsa, "mx.example.org", &ee, 1,
                           TLS_FAILURE_NONE));
            ck_assert(dane(cert_mx_ecdsa, cert_middle, key_mx_ecdsa, "mx.example.org", &ta, 1,
                           TLS_FAILURE_NONE));
            /* Other certificates. */
            ck_assert(!dane(cert_mx_rsa, cert_middle, key_mx_rsa, "mx.example.org", &ee, 1,
                            TLS_FAILURE_TLSA));
            ck_assert(!dane(cert_self, NULL, key_self, "mx.example.org", &ee, 1, TLS_FAILURE_TLSA));
            ck_assert(
                !dane(cert_untrusted, cert_stranger, key_untrusted, "mx.example.org", &ta, 1,
                      selector == 0 && matching == 0 ? TLS_FAILURE_UNTRUSTED : TLS_FAILURE_TLSA));
            /* A bit off. */
            uint8_t wrong[2048];
            memcpy(wrong, ee.data.data, ee.data.len);
            wrong[ee.data.len - 1] ^= 1;
            struct tls_tlsa off = ee;
            off.data = slice_of(wrong, ee.data.len);
            ck_assert(!dane(cert_mx_ecdsa, cert_middle, key_mx_ecdsa, "mx.example.org", &off, 1,
                            TLS_FAILURE_TLSA));
            /* Cut, or with more behind it. */
            off.data.len--;
            memcpy(wrong, ee.data.data, ee.data.len);
            ck_assert(!dane(cert_mx_ecdsa, cert_middle, key_mx_ecdsa, "mx.example.org", &off, 1,
                            TLS_FAILURE_TLSA));
            off.data.len += 2;
            ck_assert(!dane(cert_mx_ecdsa, cert_middle, key_mx_ecdsa, "mx.example.org", &off, 1,
                            TLS_FAILURE_TLSA));
        }
    }
}
END_TEST

/* RFC 7672 3.1.1: neither names nor dates nor usages. */
START_TEST(dane_ee_is_enough)
{
    struct tls_tlsa ee = {3, 1, 1, tlsa_data(cert_self_expired, 1, 1)};
    ck_assert(dane(cert_self_expired, NULL, key_self_expired, "mx.example.org", &ee, 1,
                   TLS_FAILURE_NONE));
    ee.data = tlsa_data(cert_expired, 1, 1);
    ck_assert(dane(cert_expired, cert_middle, key_expired, "elsewhere.example", &ee, 1,
                   TLS_FAILURE_NONE));
    ee.data = tlsa_data(cert_client, 1, 1);
    ck_assert(dane(cert_client, NULL, key_client, "mx.example.org", &ee, 1, TLS_FAILURE_NONE));
}
END_TEST

/* RFC 7672 3.1.2: names, dates and a chain. */
START_TEST(dane_ta_asks_for_more)
{
    struct tls_tlsa ta = {2, 1, 1, tlsa_data(cert_middle, 1, 1)};
    ck_assert(
        !dane(cert_other, cert_middle, key_other, "mx.example.org", &ta, 1, TLS_FAILURE_NAME));
    ck_assert(
        dane(cert_other, cert_middle, key_other, "other.example.net", &ta, 1, TLS_FAILURE_NONE));
    ck_assert(!dane(cert_expired, cert_middle, key_expired, "mx.example.org", &ta, 1,
                    TLS_FAILURE_EXPIRED));
    ck_assert(!dane(cert_client, cert_middle, key_client, "client.example.org", &ta, 1,
                    TLS_FAILURE_UNTRUSTED));
    /* The anchor has to be sent, unless the record holds it whole. */
    ck_assert(!dane(cert_mx_ecdsa, NULL, key_mx_ecdsa, "mx.example.org", &ta, 1, TLS_FAILURE_TLSA));
    struct tls_tlsa whole = {2, 0, 0, tlsa_data(cert_middle, 0, 0)};
    ck_assert(
        dane(cert_mx_ecdsa, NULL, key_mx_ecdsa, "mx.example.org", &whole, 1, TLS_FAILURE_NONE));
    /* Showing the anchor beside a chain that is not its own does not help. */
    ck_assert(!dane(cert_untrusted, cert_middle, key_untrusted, "mx.example.org", &ta, 1,
                    TLS_FAILURE_UNTRUSTED));
    /* A leaf is nobody's CA, and no anchor for itself. */
    struct tls_tlsa leaf = {2, 1, 1, tlsa_data(cert_mx_rsa, 1, 1)};
    ck_assert(
        !dane(cert_mx_rsa, cert_middle, key_mx_rsa, "mx.example.org", &leaf, 1, TLS_FAILURE_TLSA));
    /* The root as the anchor of a chain of three. */
    struct buf chain;
    buf_init(&chain, 0);
    (void)buf_append_str(&chain, cert_middle);
    (void)buf_append_str(&chain, cert_root);
    (void)buf_append_byte(&chain, 0);
    struct tls_tlsa root = {2, 0, 1, tlsa_data(cert_root, 0, 1)};
    ck_assert(dane(cert_mx_ecdsa, (const char *)buf_slice(&chain).data, key_mx_ecdsa,
                   "mx.example.org", &root, 1, TLS_FAILURE_NONE));
    buf_finish(&chain);
}
END_TEST

START_TEST(dane_ta_leaf_as_ca)
{
    /* victim.example's certificate, signed with a server's key: the anchor is a CA above, the leaf is not. */
    struct buf chain;
    buf_init(&chain, 0);
    (void)buf_append_str(&chain, cert_mx_rsa);
    (void)buf_append_str(&chain, cert_middle);
    (void)buf_append_byte(&chain, 0);
    struct tls_tlsa ta = {2, 1, 1, tlsa_data(cert_middle, 1, 1)};
    ck_assert(!dane(cert_by_leaf, (const char *)buf_slice(&chain).data, key_by_leaf,
                    "victim.example", &ta, 1, TLS_FAILURE_UNTRUSTED));
    buf_finish(&chain);
}
END_TEST

START_TEST(dane_unusable)
{
    struct slice good = tlsa_data(cert_mx_ecdsa, 1, 1), whole = tlsa_data(cert_mx_ecdsa, 0, 0);
    const struct tls_tlsa unusable[] = {
        {0, 1, 1, good}, {1, 1, 1, good},       {4, 1, 1, good},  {255, 1, 1, good},
        {3, 2, 1, good}, {3, 1, 3, good},       {3, 1, 2, good},  {3, 1, 1, {good.data, 31}},
        {3, 1, 0, good}, {3, 0, 0, SLICE_NULL}, {3, 0, 1, whole},
    };
    for (size_t i = 0; i < ARRAY_LEN(unusable); i++)
        ck_assert(!dane(cert_mx_ecdsa, cert_middle, key_mx_ecdsa, "mx.example.org", &unusable[i], 1,
                        TLS_FAILURE_TLSA));
    ck_assert(!dane(cert_mx_ecdsa, cert_middle, key_mx_ecdsa, "mx.example.org", NULL, 0,
                    TLS_FAILURE_TLSA));
    /* One good among them is enough, wherever it stands. */
    for (size_t at = 0; at < 4; at++) {
        struct tls_tlsa some[4];
        memcpy(some, unusable, sizeof some);
        some[at] = (struct tls_tlsa){3, 1, 1, good};
        ck_assert(dane(cert_mx_ecdsa, cert_middle, key_mx_ecdsa, "mx.example.org", some, 4,
                       TLS_FAILURE_NONE));
    }
    /* A record that matches nothing does not spoil another's match (key rollover, RFC 7671 8.1). */
    struct tls_tlsa rollover[] = {{3, 1, 1, tlsa_data(cert_other, 1, 1)},
                                  {2, 1, 1, tlsa_data(cert_stranger, 1, 1)},
                                  {3, 1, 1, good}};
    ck_assert(dane(cert_mx_ecdsa, cert_middle, key_mx_ecdsa, "mx.example.org", rollover, 3,
                   TLS_FAILURE_NONE));
}
END_TEST

/* ---- names -------------------------------------------------------------------------------------------------- */

START_TEST(name_patterns)
{
    static const struct {
        const char *pattern, *name;
        bool match;
    } names[] = {
        {"example.org", "example.org", true},
        {"example.org", "EXAMPLE.org", true},
        {"example.org.", "example.org", true},
        {"example.org", "example.org.", true},
        {"example.org", "example.com", false},
        {"example.org", "xexample.org", false},
        {"*.example.org", "a.example.org", true},
        {"*.EXAMPLE.org", "A.example.org", true},
        {"*.example.org", "example.org", false},
        {"*.example.org", ".example.org", false},
        {"*.example.org", "a.b.example.org", false},
        {"*.org", "example.org", false},
        {"*.", "example.", false},
        {"*", "example", false},
        {"**.example.org", "a.example.org", false},
        {"a*.example.org", "ab.example.org", false},
        {"*a.example.org", "ba.example.org", false},
        {"a.*.org", "a.example.org", false},
        {"*.example.org", "*.example.org", false},
        {"*.0.2.1", "192.0.2.1", false}, /* an address is no name */
        {"192.0.2.1", "192.0.2.1", false},
        {"2001:db8::1", "2001:db8::1", false},
        {"", "", false},
        {"", "a", false},
        {"a", "", false},
        {".", ".", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        ck_assert_msg(tls_name_matches(slice_str(names[i].pattern), slice_str(names[i].name))
                          == names[i].match,
                      "%s %s", names[i].pattern, names[i].name);
    ck_assert(!tls_name_matches(slice_of("a.example\0.org", 14), SLICE_LITERAL("a.example")));
}
END_TEST

Suite *tls_verify_suite(void)
{
    Suite *suite = suite_create("tls_verify");
    TCase *tc = tcase_create("tls_verify");
    tcase_add_loop_test(tc, by_name, 0, ARRAY_LEN(rows));
    tcase_add_test(tc, several_names);
    tcase_add_test(tc, nobody_teaches_us_a_ca);
    tcase_add_test(tc, notes_what_nobody_minds);
    tcase_add_test(tc, words);
    tcase_add_test(tc, spki_is_what_others_say);
    tcase_add_test(tc, dane_parameters);
    tcase_add_test(tc, dane_ee_is_enough);
    tcase_add_test(tc, dane_ta_asks_for_more);
    tcase_add_test(tc, dane_ta_leaf_as_ca);
    tcase_add_test(tc, dane_unusable);
    tcase_add_test(tc, name_patterns);
    suite_add_tcase(suite, tc);
    return suite;
}
