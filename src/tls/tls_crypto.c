#include "tls_crypto.h"

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/pwdbased.h>

#include "base_assert.h"
#include "base_mem.h"

static const struct {
    enum wc_HashType type;
    word32 size;
} kinds[] = {
    [TLS_HASH_SHA1] = {WC_HASH_TYPE_SHA, 20},
    [TLS_HASH_SHA256] = {WC_HASH_TYPE_SHA256, 32},
    [TLS_HASH_SHA384] = {WC_HASH_TYPE_SHA384, 48},
    [TLS_HASH_SHA512] = {WC_HASH_TYPE_SHA512, 64},
};

/* wolfSSL takes lengths of 32 bits, and NULL for nothing not everywhere. */
static const byte *bytes(struct slice s)
{
    ASSERT(s.len <= INT32_MAX);
    return s.len > 0 ? s.data : (const byte *)"";
}

size_t tls_hash_size(enum tls_hash hash)
{
    ASSERT((size_t)hash < ARRAY_LEN(kinds));
    return kinds[hash].size;
}

/* None of these can fail but for wrong arguments or an allocation, which does not fail here. */
void tls_digest(enum tls_hash hash, struct slice data, uint8_t *out)
{
    word32 size = (word32)tls_hash_size(hash);
    int status = wc_Hash(kinds[hash].type, bytes(data), (word32)data.len, out, size);
    ASSERT(status == 0);
}

void tls_hmac(enum tls_hash hash, struct slice key, struct slice data, uint8_t *out)
{
    ASSERT((size_t)hash < ARRAY_LEN(kinds));
    Hmac hmac;
    int status = wc_HmacInit(&hmac, NULL, INVALID_DEVID);
    if (status == 0)
        status = wc_HmacSetKey(&hmac, (int)kinds[hash].type, bytes(key), (word32)key.len);
    if (status == 0)
        status = wc_HmacUpdate(&hmac, bytes(data), (word32)data.len);
    if (status == 0)
        status = wc_HmacFinal(&hmac, out);
    wc_HmacFree(&hmac);
    mem_wipe(&hmac, sizeof hmac);
    ASSERT(status == 0);
}

void tls_pbkdf2(enum tls_hash hash, struct slice password, struct slice salt, uint32_t iterations,
                uint8_t *out)
{
    ASSERT((size_t)hash < ARRAY_LEN(kinds));
    ASSERT(iterations >= 1 && iterations <= INT32_MAX);
    int status = wc_PBKDF2(out, bytes(password), (int)password.len, bytes(salt), (int)salt.len,
                           (int)iterations, (int)kinds[hash].size, (int)kinds[hash].type);
    ASSERT(status == 0);
}

bool tls_equal(struct slice a, struct slice b)
{
    if (a.len != b.len)
        return false;
    volatile uint8_t difference = 0;
    for (size_t i = 0; i < a.len; i++)
        difference = (uint8_t)(difference | (a.data[i] ^ b.data[i]));
    return difference == 0;
}
