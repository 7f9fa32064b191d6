#include "tls_priv.h"

/* In our order of preference. Those that are no default have a CBC cipher: for peers of another age, if the
 * operator says so. What has no forward secrecy is not here at all. */
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

static void add(struct buf *out, const struct tls_cipher *cipher)
{
    if (buf_len(out) > 0)
        (void)buf_append_byte(out, ':');
    (void)buf_append_str(out, cipher->wolfssl);
}

/* Naming only suites of one version leaves the other version its defaults: whoever lists TLS 1.2 names, as
 * for OpenSSL's cipher list, does not mean to switch TLS 1.3 off. */
bool tls_cipher_list(struct slice names, struct buf *out, struct buf *out_why)
{
    struct buf chosen;
    bool any_13 = false, any_12 = false, good = true;
    buf_init(&chosen, 0);
    while (names.len > 0 && good) {
        ptrdiff_t colon = slice_find(names, ':');
        struct slice name = slice_trim(colon < 0 ? names : slice_head(names, (size_t)colon));
        slice_advance(&names, colon < 0 ? names.len : (size_t)colon + 1);
        if (name.len == 0)
            continue;
        const struct tls_cipher *cipher = find_name(name);
        if (cipher == NULL) {
            (void)buf_printf(out_why, "unknown cipher %.*s", SLICE_ARG(name));
            good = false;
            break;
        }
        any_13 = any_13 || cipher->suite >> 8 == 0x13;
        any_12 = any_12 || cipher->suite >> 8 != 0x13;
        add(&chosen, cipher);
    }
    for (size_t i = 0; good && i < ARRAY_LEN(ciphers); i++)
        if (ciphers[i].is_default && !(ciphers[i].suite >> 8 == 0x13 ? any_13 : any_12))
            add(out, &ciphers[i]);
    if (good && buf_len(&chosen) > 0) {
        if (buf_len(out) > 0)
            (void)buf_append_byte(out, ':');
        (void)buf_append_slice(out, buf_slice(&chosen));
    }
    (void)buf_append_byte(out, 0);
    buf_finish(&chosen);
    return good;
}
