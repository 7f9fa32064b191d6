#include "sasl_scram.h"

#include "base_assert.h"
#include "base_codec.h"
#include "base_mem.h"

static const struct {
    enum tls_hash hash;
    struct slice prefix;
} schemes[] = {
    {TLS_HASH_SHA256, SLICE_INIT("{SCRAM-SHA-256}")},
    {TLS_HASH_SHA1, SLICE_INIT("{SCRAM-SHA-1}")},
};

/* "field,rest" -> field; the last has no comma behind it. */
static struct slice next_field(struct slice *rest)
{
    ptrdiff_t comma = slice_find(*rest, ',');
    struct slice field = comma < 0 ? *rest : slice_head(*rest, (size_t)comma);

    slice_advance(rest, comma < 0 ? rest->len : field.len + 1);
    return field;
}

static bool decode_exactly(struct slice text, uint8_t *out, size_t len)
{
    uint8_t bytes[64 + 3];
    size_t got = 0;

    if (base64_decoded_max(text.len) > sizeof(bytes) || !base64_decode(text, bytes, &got)
        || got != len)
        return false;
    memcpy(out, bytes, len);
    return true;
}

static const struct slice *scheme_of(struct slice text, enum tls_hash *out_hash)
{
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (slice_starts_nocase(text, schemes[i].prefix)) {
            *out_hash = schemes[i].hash;
            return &schemes[i].prefix;
        }
    }
    return NULL;
}

bool sasl_verifier_is(struct slice text)
{
    enum tls_hash hash;

    return scheme_of(text, &hash) != NULL;
}

bool sasl_verifier_parse(struct slice text, struct sasl_verifier *out)
{
    struct sasl_verifier v = {0};
    const struct slice *prefix = scheme_of(text, &v.hash);
    uint8_t salt[SASL_SCRAM_SALT_MAX + 3];
    uint64_t iterations;
    struct slice field;

    if (prefix == NULL)
        return false;
    slice_advance(&text, prefix->len);
    if (!slice_to_u64(next_field(&text), &iterations) || iterations == 0
        || iterations > SASL_SCRAM_ITERATIONS_MAX)
        return false;
    v.iterations = (uint32_t)iterations;
    field = next_field(&text);
    if (base64_decoded_max(field.len) > sizeof(salt) || !base64_decode(field, salt, &v.salt_len)
        || v.salt_len == 0 || v.salt_len > SASL_SCRAM_SALT_MAX)
        return false;
    memcpy(v.salt, salt, v.salt_len);
    if (!decode_exactly(next_field(&text), v.stored_key, tls_hash_size(v.hash)))
        return false;
    if (!decode_exactly(text, v.server_key, tls_hash_size(v.hash)))
        return false;
    *out = v;
    return true;
}

bool sasl_verifier_format(const struct sasl_verifier *v, struct buf *out)
{
    const struct slice *prefix = &schemes[v->hash == TLS_HASH_SHA1].prefix;
    size_t size = tls_hash_size(v->hash);

    (void)buf_append_slice(out, *prefix); /* what does not fit shows at the end */
    (void)buf_append_u64(out, v->iterations);
    (void)buf_append_byte(out, ',');
    (void)base64_encode(slice_of(v->salt, v->salt_len), out);
    (void)buf_append_byte(out, ',');
    (void)base64_encode(slice_of(v->stored_key, size), out);
    (void)buf_append_byte(out, ',');
    (void)base64_encode(slice_of(v->server_key, size), out);
    return !out->overflow;
}

void sasl_verifier_make(enum tls_hash hash, struct slice password, struct slice salt,
                        uint32_t iterations, struct sasl_verifier *out)
{
    size_t size = tls_hash_size(hash);
    uint8_t salted[TLS_HASH_SIZE_MAX], client_key[TLS_HASH_SIZE_MAX];

    ASSERT(size <= SASL_SCRAM_KEY_MAX && salt.len > 0 && salt.len <= SASL_SCRAM_SALT_MAX);
    ASSERT(iterations > 0);
    *out = (struct sasl_verifier){.hash = hash, .iterations = iterations, .salt_len = salt.len};
    memcpy(out->salt, salt.data, salt.len);
    tls_pbkdf2(hash, password, salt, iterations, salted);
    tls_hmac(hash, slice_of(salted, size), SLICE_LITERAL("Client Key"), client_key);
    tls_digest(hash, slice_of(client_key, size), out->stored_key);
    tls_hmac(hash, slice_of(salted, size), SLICE_LITERAL("Server Key"), out->server_key);
    mem_wipe(salted, sizeof(salted));
    mem_wipe(client_key, sizeof(client_key));
}

bool sasl_verifier_check(const struct sasl_verifier *v, struct slice password)
{
    struct sasl_verifier made;
    size_t size = tls_hash_size(v->hash);
    bool equal;

    sasl_verifier_make(v->hash, password, slice_of(v->salt, v->salt_len), v->iterations, &made);
    equal = tls_equal(slice_of(made.stored_key, size), slice_of(v->stored_key, size));
    mem_wipe(&made, sizeof(made));
    return equal;
}

void sasl_verifier_fake(enum tls_hash hash, struct slice secret, struct slice user,
                        uint32_t iterations, size_t salt_len, struct sasl_verifier *out)
{
    uint8_t digest[TLS_HASH_SIZE_MAX];

    ASSERT(salt_len > 0 && salt_len <= SASL_SCRAM_SALT_MAX);
    *out = (struct sasl_verifier){.hash = hash, .iterations = iterations, .salt_len = salt_len};
    tls_hmac(TLS_HASH_SHA512, secret, user, digest);
    memcpy(out->salt, digest, salt_len);
    /* Keys of a random look; that a proof fits is not even looked at. */
    tls_hmac(TLS_HASH_SHA256, secret, slice_of(digest, sizeof(digest)), out->stored_key);
    tls_hmac(TLS_HASH_SHA256, secret, slice_of(out->stored_key, 32), out->server_key);
    mem_wipe(digest, sizeof(digest));
}

void sasl_scram_sign(enum tls_hash hash, const uint8_t *key, struct slice message, uint8_t *out)
{
    tls_hmac(hash, slice_of(key, tls_hash_size(hash)), message, out);
}
