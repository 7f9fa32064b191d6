/*
 * tls_crypto: hashes for those above who must not see wolfSSL: SCRAM (RFC 5802, RFC 7677), fingerprints,
 * tokens. Whole inputs only; nothing allocates, nothing keeps a pointer.
 */
#ifndef TLS_CRYPTO_H
#define TLS_CRYPTO_H

#include "base_slice.h"

enum tls_hash {
    TLS_HASH_SHA1, /* for SCRAM-SHA-1 only */
    TLS_HASH_SHA256,
    TLS_HASH_SHA384,
    TLS_HASH_SHA512,
};
enum { TLS_HASH_SIZE_MAX = 64 };

size_t tls_hash_size(enum tls_hash hash); /* bytes of a digest: 20, 32, 48, 64 */

/* Each writes tls_hash_size(hash) bytes to `out`, which may be where an input lies. */
void tls_digest(enum tls_hash hash, struct slice data, uint8_t *out);
void tls_hmac(enum tls_hash hash, struct slice key, struct slice data, uint8_t *out); /* RFC 2104 */
/* One block of PBKDF2-HMAC (RFC 8018 5.2), which is SCRAM's Hi(). `iterations` is at least 1, and costs
 * about 0.7 µs each: thousands of them are a helper's work, not a shard's. */
void tls_pbkdf2(enum tls_hash hash, struct slice password, struct slice salt, uint32_t iterations,
                uint8_t *out);

/* Compares in a time that depends on the lengths alone. */
bool tls_equal(struct slice a, struct slice b);

#endif
