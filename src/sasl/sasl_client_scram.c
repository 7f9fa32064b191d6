/* sasl_client_scram: SCRAM, the client's side (RFC 5802 3 and 5, RFC 7677). */
#include "base_assert.h"
#include "base_mem.h"
#include "sasl_client_priv.h"

/* "n,": we bind no channel. RFC 5802 6 wants "y" of one who could and was not offered to. */
static const struct slice header = SLICE_INIT("n,,");
static const struct slice header_base64 = SLICE_INIT("biws");

enum { NONCE_MIN = 18 };

static enum tls_hash hash_of(const struct sasl_client *c)
{
    return sasl_mechanisms[c->mechanism].hash;
}

static size_t size_of(const struct sasl_client *c)
{
    return tls_hash_size(hash_of(c));
}

/* Into the AuthMessage; false: it is full. */
static bool note(struct sasl_client *c, struct slice s)
{
    if (s.len > sizeof(c->said) - c->said_len)
        return false;
    memcpy(c->said + c->said_len, s.data, s.len);
    c->said_len += s.len;
    return true;
}

void sasl_client_scram_begin(struct sasl_client *c, struct slice nonce)
{
    ASSERT(nonce.len >= NONCE_MIN && nonce.len <= sizeof(c->nonce));
    ASSERT(slice_find(nonce, ',') < 0);
    memcpy(c->nonce, nonce.data, nonce.len);
    c->nonce_len = nonce.len;
    sasl_client_put(c, header);
    sasl_client_put(c, SLICE_LITERAL("n="));
    sasl_client_put_name(c);
    sasl_client_put(c, SLICE_LITERAL(",r="));
    sasl_client_put(c, nonce);
    (void)note(c, slice_of(c->out + header.len, c->out_len - header.len)); /* a name is short */
}

/* "x=value" up to a comma, taken off the front with the comma; false: not that attribute. */
static bool next_attribute(struct slice *rest, char name, struct slice *out)
{
    ptrdiff_t comma = slice_find(*rest, ',');
    struct slice field = comma < 0 ? *rest : slice_head(*rest, (size_t)comma);

    if (field.len < 3 || field.data[0] != (uint8_t)name || field.data[1] != '=')
        return false;
    slice_advance(rest, comma < 0 ? rest->len : field.len + 1);
    slice_advance(&field, 2);
    *out = field;
    return true;
}

/* "r=nonces,s=salt,i=iterations" and extensions, which are no concern of ours unless one is mandatory. */
static enum sasl_client_step take_first(struct sasl_client *c, struct slice message)
{
    uint8_t salt[SASL_SCRAM_SALT_MAX + 3];
    struct slice rest = message, nonce, salt_text, iterations_text;
    uint64_t iterations;
    size_t len = 0;

    if (!next_attribute(&rest, 'r', &nonce) || !next_attribute(&rest, 's', &salt_text)
        || !next_attribute(&rest, 'i', &iterations_text)
        || base64_decoded_max(salt_text.len) > sizeof(salt) || !base64_decode(salt_text, salt, &len)
        || len == 0 || len > SASL_SCRAM_SALT_MAX || !slice_to_u64(iterations_text, &iterations))
        return sasl_client_failed(c, "the server's SCRAM message makes no sense");
    if (nonce.len <= c->nonce_len || nonce.len > SASL_NONCE_MAX
        || memcmp(nonce.data, c->nonce, c->nonce_len) != 0)
        return sasl_client_failed(c, "the server's SCRAM nonce is not made from ours");
    /* Fewer would make what we send worth the guessing, more would keep a helper for minutes. */
    if (iterations < SASL_SCRAM_ITERATIONS_MIN || iterations > SASL_SCRAM_ITERATIONS_MAX)
        return sasl_client_failed(c, "the server's SCRAM iteration count is out of bounds");
    memcpy(c->salt, salt, len);
    c->salt_len = len;
    c->iterations = (uint32_t)iterations;
    if (!note(c, SLICE_LITERAL(",")) || message.len > SASL_SCRAM_FIRST_MAX || !note(c, message)
        || !note(c, SLICE_LITERAL(",")))
        return sasl_client_failed(c, "the server's SCRAM message is too long");
    c->final_at = c->said_len;
    if (!note(c, SLICE_LITERAL("c=")) || !note(c, header_base64) || !note(c, SLICE_LITERAL(",r="))
        || !note(c, nonce))
        return sasl_client_failed(c, "the server's SCRAM message is too long");
    c->state = SASL_CLIENT_DERIVING;
    return SASL_CLIENT_DERIVE;
}

void sasl_client_derive(struct sasl_client *c)
{
    uint8_t salted[TLS_HASH_SIZE_MAX];
    struct slice key = slice_of(salted, size_of(c));

    ASSERT(c->state == SASL_CLIENT_DERIVING && c->iterations > 0);
    tls_pbkdf2(hash_of(c), slice_of(c->password, c->password_len), slice_of(c->salt, c->salt_len),
               c->iterations, salted);
    tls_hmac(hash_of(c), key, SLICE_LITERAL("Client Key"), c->client_key);
    tls_hmac(hash_of(c), key, SLICE_LITERAL("Server Key"), c->server_key);
    mem_wipe(salted, sizeof(salted));
}

static void put_base64(struct sasl_client *c, struct slice s)
{
    struct buf text = {.data = c->out + c->out_len,
                       .capacity = sizeof(c->out) - c->out_len,
                       .limit = sizeof(c->out) - c->out_len};

    ASSERT((s.len + 2) / 3 * 4 <= text.limit); /* so that the buf does not grow */
    (void)base64_encode(s, &text);
    c->out_len += buf_len(&text);
}

enum sasl_client_step sasl_client_derived(struct sasl_client *c)
{
    struct slice message = slice_of(c->said, c->said_len);
    uint8_t stored[TLS_HASH_SIZE_MAX], proof[TLS_HASH_SIZE_MAX];
    size_t size = size_of(c);

    ASSERT(c->state == SASL_CLIENT_DERIVING);
    tls_digest(hash_of(c), slice_of(c->client_key, size), stored);
    sasl_scram_sign(hash_of(c), stored, message, proof);
    sasl_scram_sign(hash_of(c), c->server_key, message, c->expected);
    for (size_t i = 0; i < size; i++)
        proof[i] ^= c->client_key[i];
    c->out_len = 0;
    sasl_client_put(c, slice_of(c->said + c->final_at, c->said_len - c->final_at));
    sasl_client_put(c, SLICE_LITERAL(",p="));
    put_base64(c, slice_of(proof, size));
    mem_wipe(stored, sizeof(stored));
    mem_wipe(c->client_key, sizeof(c->client_key));
    c->state = SASL_CLIENT_FINAL;
    return SASL_CLIENT_SEND;
}

/* "v=signature", or "e=what-is-wrong" */
static enum sasl_client_step take_final(struct sasl_client *c, struct slice message)
{
    uint8_t signature[TLS_HASH_SIZE_MAX + 3];
    struct slice text;
    size_t len = 0;

    if (next_attribute(&message, 'e', &text))
        return sasl_client_failed(c, "the server rejects the SCRAM proof");
    if (!next_attribute(&message, 'v', &text) || base64_decoded_max(text.len) > sizeof(signature)
        || !base64_decode(text, signature, &len)
        || !tls_equal(slice_of(signature, len), slice_of(c->expected, size_of(c))))
        return sasl_client_failed(c, "the server does not know the password");
    c->state = SASL_CLIENT_PROVEN;
    c->out_len = 0; /* a challenge has to be answered (RFC 4954 4) */
    return SASL_CLIENT_SEND;
}

enum sasl_client_step sasl_client_scram_respond(struct sasl_client *c, struct slice challenge)
{
    return c->state == SASL_CLIENT_FIRST ? take_first(c, challenge) : take_final(c, challenge);
}
