/*
 * sasl_scram: the arithmetic of SCRAM (RFC 5802 3, RFC 7677), for both sides. Pure.
 *
 * A verifier is what a server keeps in place of a password; its text is that of RFC 5803 in the order that
 * databases use: "{SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey", the last three in base64.
 */
#ifndef SASL_SCRAM_H
#define SASL_SCRAM_H

#include "base_buf.h"
#include "base_slice.h"
#include "tls_crypto.h"

enum {
    SASL_SCRAM_KEY_MAX = 32,
    SASL_SCRAM_SALT_MAX = 64,
    SASL_SCRAM_ITERATIONS_MIN = 4096,     /* RFC 7677 4 */
    SASL_SCRAM_ITERATIONS_MAX = 10000000, /* seconds of a helper's time */
    SASL_SCRAM_ITERATIONS_DEFAULT = 32768,
};

struct sasl_verifier {
    enum tls_hash hash; /* TLS_HASH_SHA1 or TLS_HASH_SHA256 */
    uint32_t iterations;
    size_t salt_len;
    uint8_t salt[SASL_SCRAM_SALT_MAX];
    uint8_t stored_key[SASL_SCRAM_KEY_MAX];
    uint8_t server_key[SASL_SCRAM_KEY_MAX];
};

/* False: not a verifier. It may still be of another scheme: sasl_verifier_is() tells by the prefix. */
bool sasl_verifier_parse(struct slice text, struct sasl_verifier *out);
bool sasl_verifier_is(struct slice text);
bool sasl_verifier_format(const struct sasl_verifier *v, struct buf *out);

/* From a password: `iterations` of PBKDF2, so not on a shard's thread. */
void sasl_verifier_make(enum tls_hash hash, struct slice password, struct slice salt,
                        uint32_t iterations, struct sasl_verifier *out);
/* The same effort, whether the password is right or not. */
bool sasl_verifier_check(const struct sasl_verifier *v, struct slice password);

/* What a user who is not there is shown: always the same for one name and secret, with keys that nobody
 * can have. */
void sasl_verifier_fake(enum tls_hash hash, struct slice secret, struct slice user,
                        uint32_t iterations, size_t salt_len, struct sasl_verifier *out);

/* ClientSignature and ServerSignature over an AuthMessage. */
void sasl_scram_sign(enum tls_hash hash, const uint8_t *key, struct slice message, uint8_t *out);

#endif
