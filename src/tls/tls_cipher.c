#include "tls_priv.h"

/* In our order of preference. A server offers AEAD alone. A client also takes CBC (with encrypt-then-MAC where
 * the server knows it): there are mail servers that have nothing else, and the alternative is plain text. What
 * has no forward secrecy is not here at all. */
static const struct tls_cipher ciphers[] = {
    {0x1301, 128, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", "TLS13-AES128-GCM-SHA256",
     true},
    {0x1302, 256, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", "TLS13-AES256-GCM-SHA384",
     true},
    {0x1303, 256, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256",
     "TLS13-CHACHA20-POLY1305-SHA256", true},
    {0xC02B, 128, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256",
     "ECDHE-ECDSA-AES128-GCM-SHA256", true},
    {0xC02F, 128, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
     "ECDHE-RSA-AES128-GCM-SHA256", true},
    {0xC02C, 256, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384",
     "ECDHE-ECDSA-AES256-GCM-SHA384", true},
    {0xC030, 256, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
     "ECDHE-RSA-AES256-GCM-SHA384", true},
    {0xCCA9, 256, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305",
     "ECDHE-ECDSA-CHACHA20-POLY1305", true},
    {0xCCA8, 256, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305",
     "ECDHE-RSA-CHACHA20-POLY1305", true},
    {0xC023, 128, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "ECDHE-ECDSA-AES128-SHA256",
     "ECDHE-ECDSA-AES128-SHA256", false},
    {0xC027, 128, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256",
     "ECDHE-RSA-AES128-SHA256", false},
    {0xC024, 256, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", "ECDHE-ECDSA-AES256-SHA384",
     "ECDHE-ECDSA-AES256-SHA384", false},
    {0xC028, 256, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", "ECDHE-RSA-AES256-SHA384",
     "ECDHE-RSA-AES256-SHA384", false},
    {0xC009, 128, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA-AES128-SHA",
     "ECDHE-ECDSA-AES128-SHA", false},
    {0xC013, 128, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA",
     "ECDHE-RSA-AES128-SHA", false},
    {0xC00A, 256, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA-AES256-SHA",
     "ECDHE-ECDSA-AES256-SHA", false},
    {0xC014, 256, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA",
     "ECDHE-RSA-AES256-SHA", false},
};

const struct tls_cipher *tls_cipher_find(int suite)
{
    for (size_t i = 0; i < ARRAY_LEN(ciphers); i++)
        if (ciphers[i].suite == suite)
            return &ciphers[i];
    return NULL;
}

static const struct tls_cipher *find_name(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(ciphers); i++)
        if (slice_equal_nocase(name, slice_str(ciphers[i].iana))
            || slice_equal_nocase(name, slice_str(ciphers[i].openssl))
            || slice_equal_nocase(name, slice_str(ciphers[i].wolfssl)))
            return &ciphers[i];
    return NULL;
}

static bool is_13(const struct tls_cipher *cipher)
{
    return cipher->suite >> 8 == 0x13;
}

static void add(struct buf *out, const struct tls_cipher *cipher)
{
    if (buf_len(out) > 0)
        (void)buf_append_byte(out, ':');
    (void)buf_append_str(out, cipher->wolfssl);
}

/* Takes the next name off the list: NULL if it is unknown, which *out_name then is. */
static const struct tls_cipher *next_named(struct slice *names, struct slice *out_name)
{
    do {
        ptrdiff_t colon = slice_find(*names, ':');
        *out_name = slice_trim(colon < 0 ? *names : slice_head(*names, (size_t)colon));
        slice_advance(names, colon < 0 ? names->len : (size_t)colon + 1);
    } while (out_name->len == 0 && names->len > 0);
    return find_name(*out_name);
}

/* Appends what of the names is for this version, or its defaults if nothing is. */
static void add_version(struct slice names, bool tls13, bool server, struct buf *out)
{
    size_t before = buf_len(out);
    struct slice name;
    while (names.len > 0) {
        const struct tls_cipher *cipher = next_named(&names, &name);
        if (cipher != NULL && is_13(cipher) == tls13)
            add(out, cipher);
    }
    if (buf_len(out) > before)
        return;
    for (size_t i = 0; i < ARRAY_LEN(ciphers); i++)
        if (is_13(&ciphers[i]) == tls13 && (ciphers[i].is_aead || !server))
            add(out, &ciphers[i]);
}

/* Naming only suites of one version leaves the other version its defaults: whoever lists TLS 1.2 names, as
 * for OpenSSL's cipher list, does not mean to switch TLS 1.3 off. TLS 1.3 comes first, for wolfSSL takes the
 * first in common and only then looks whether the version fits. */
bool tls_cipher_list(struct slice names, bool server, struct buf *out, struct buf *out_why)
{
    struct slice rest = names, name;
    while (rest.len > 0) {
        if (next_named(&rest, &name) == NULL && name.len > 0) {
            (void)buf_printf(out_why, "unknown cipher %.*s", SLICE_ARG(name));
            return false;
        }
    }
    add_version(names, true, server, out);
    add_version(names, false, server, out);
    (void)buf_append_byte(out, 0);
    return true;
}
