/* sasl_server_scram: SCRAM, the server's side (RFC 5802 5 and 7, RFC 7677, RFC 9266). */
#include "base_assert.h"
#include "base_codec.h"
#include "base_mem.h"
#include "sasl_server_priv.h"

enum { FINAL_MAX = 3072 };

/* In tls_binding's order. */
static const struct {
    struct slice name;
    enum tls_binding kind;
} bindings[] = {
    {SLICE_INIT("tls-exporter"), TLS_BINDING_EXPORTER},
    {SLICE_INIT("tls-server-end-point"), TLS_BINDING_SERVER_END_POINT},
};

bool sasl_gs2_name(struct slice in, uint8_t out[SASL_USER_MAX], size_t *out_len)
{
    size_t len = 0;

    while (in.len > 0) {
        uint8_t c = in.data[0];

        if (c == '=' && in.len >= 3 && in.data[1] == '2' && in.data[2] == 'C')
            c = ',';
        else if (c == '=' && !(in.len >= 3 && in.data[1] == '3' && in.data[2] == 'D'))
            return false;
        if (len == SASL_USER_MAX)
            return false;
        slice_advance(&in, in.data[0] == '=' ? 3 : 1);
        out[len++] = c;
    }
    *out_len = len;
    return true;
}

/* "x=value" up to a comma, taken off the front with the comma; false: not that attribute. */
static bool next_attribute(struct slice *rest, char name, struct slice *out)
{
    ptrdiff_t comma = slice_find(*rest, ',');
    struct slice field = comma < 0 ? *rest : slice_head(*rest, (size_t)comma);

    if (field.len < 2 || field.data[0] != (uint8_t)name || field.data[1] != '=')
        return false;
    slice_advance(rest, comma < 0 ? rest->len : field.len + 1);
    slice_advance(&field, 2);
    *out = field;
    return true;
}

/* What the client says about channel binding, taken off the front with its comma. SASL_OK: fine. */
static enum sasl_step read_binding(struct sasl_server *s, struct slice *rest)
{
    bool plus = sasl_mechanisms[s->mechanism].plus;
    struct slice kind;

    if (rest->len < 2)
        return SASL_MALFORMED;
    if (rest->data[1] == ',' && (rest->data[0] == 'n' || rest->data[0] == 'y')) {
        bool deceived = rest->data[0] == 'y' && s->options.plus_offered;

        slice_advance(rest, 2);
        return plus ? SASL_MALFORMED : deceived ? SASL_REJECTED : SASL_OK;
    }
    if (!plus || !next_attribute(rest, 'p', &kind))
        return SASL_MALFORMED;
    for (size_t i = 0; i < ARRAY_LEN(bindings); i++)
        if (slice_equal(kind, bindings[i].name))
            return s->options.binding != NULL
                           && s->options.binding(s->options.context, bindings[i].kind, s->binding,
                                                 &s->binding_len)
                       ? SASL_OK
                       : SASL_REJECTED;
    return SASL_REJECTED; /* of a kind that we do not have */
}

static bool nonce_valid(struct slice nonce)
{
    for (size_t i = 0; i < nonce.len; i++)
        if (nonce.data[i] < 0x21 || nonce.data[i] > 0x7e || nonce.data[i] == ',')
            return false;
    return nonce.len > 0 && nonce.len <= SASL_NONCE_MAX;
}

/* gs2-header client-first-message-bare: "n,a=name,n=name,r=nonce" */
enum sasl_step sasl_scram_first(struct sasl_server *s, struct slice message)
{
    struct slice rest = message, authzid = SLICE_NULL, user, nonce;
    uint8_t name[SASL_USER_MAX];
    size_t len;
    enum sasl_step step = read_binding(s, &rest);

    if (step != SASL_OK)
        return sasl_server_over(s, step);
    if (message.len > SASL_SCRAM_FIRST_MAX)
        return sasl_server_over(s, SASL_MALFORMED);
    if (rest.len > 0 && rest.data[0] == ',')
        slice_advance(&rest, 1);
    else if (!next_attribute(&rest, 'a', &authzid))
        return sasl_server_over(s, SASL_MALFORMED);
    s->header_len = message.len - rest.len;
    if (!next_attribute(&rest, 'n', &user) || !next_attribute(&rest, 'r', &nonce)
        || !nonce_valid(nonce) || !sasl_gs2_name(user, name, &len)
        || !sasl_server_set_user(s, slice_of(name, len)))
        return sasl_server_over(s, SASL_MALFORMED);
    if (authzid.len > 0 && !slice_equal(authzid, user)) /* to act as another */
        return sasl_server_over(s, SASL_REJECTED);
    memcpy(s->first, message.data, message.len);
    s->first_len = message.len;
    /* "r=", to which sasl_scram_challenge() adds. */
    memcpy(s->out, "r=", 2);
    memcpy(s->out + 2, nonce.data, nonce.len);
    s->nonce_len = nonce.len;
    s->state = SASL_STATE_VERDICT;
    return SASL_NEED_VERIFIER;
}

static size_t put(uint8_t *out, size_t at, struct slice s)
{
    ASSERT(at + s.len <= SASL_OUT_MAX);
    memcpy(out + at, s.data, s.len);
    return at + s.len;
}

static size_t put_base64(uint8_t *out, size_t at, struct slice s)
{
    struct buf text = {.data = out + at, .capacity = SASL_OUT_MAX - at, .limit = SASL_OUT_MAX - at};

    ASSERT((s.len + 2) / 3 * 4 <= SASL_OUT_MAX - at); /* so that the buf does not grow */
    (void)base64_encode(s, &text);
    return at + buf_len(&text);
}

/* server-first-message: "r=nonces,s=salt,i=iterations" */
enum sasl_step sasl_scram_challenge(struct sasl_server *s)
{
    char digits[U64_TEXT_SIZE];
    size_t at = 2 + s->nonce_len;

    ASSERT(s->options.nonce.len >= 18 && s->options.nonce.len <= 64);
    at = put(s->out, at, s->options.nonce);
    s->nonce_len = at - 2;
    at = put(s->out, at, SLICE_LITERAL(",s="));
    at = put_base64(s->out, at, slice_of(s->verifier.salt, s->verifier.salt_len));
    at = put(s->out, at, SLICE_LITERAL(",i="));
    at = put(s->out, at, slice_of(digits, u64_to_text(s->verifier.iterations, digits)));
    s->out_len = at;
    s->state = SASL_STATE_SECOND;
    return SASL_CHALLENGE;
}

/* c=: the GS2 header as it came, and what binds the channel. */
static bool binding_matches(const struct sasl_server *s, struct slice text, bool *out_matches)
{
    uint8_t bytes[SASL_SCRAM_FIRST_MAX + TLS_BINDING_MAX + 3];
    size_t len = 0;
    struct slice header, binding;

    if (base64_decoded_max(text.len) > sizeof(bytes) || !base64_decode(text, bytes, &len))
        return false;
    header = slice_head(slice_of(bytes, len), s->header_len);
    binding = slice_of(bytes + header.len, len - header.len);
    *out_matches = slice_equal(header, slice_of(s->first, s->header_len))
                   && tls_equal(binding, slice_of(s->binding, s->binding_len));
    return true;
}

static struct slice auth_message(const struct sasl_server *s, struct slice final, uint8_t *out)
{
    struct slice parts[3] = {
        slice_of(s->first + s->header_len, s->first_len - s->header_len),
        slice_of(s->out, s->out_len),
        final,
    };
    size_t at = 0;

    for (unsigned i = 0; i < 3; i++) {
        if (i > 0)
            out[at++] = ',';
        memcpy(out + at, parts[i].data, parts[i].len);
        at += parts[i].len;
    }
    return slice_of(out, at);
}

/* Whether the one who made this proof knows the password (RFC 5802 3). */
static bool proof_is_good(const struct sasl_server *s, struct slice message, const uint8_t *proof)
{
    const struct sasl_verifier *v = &s->verifier;
    size_t size = tls_hash_size(v->hash);
    uint8_t key[TLS_HASH_SIZE_MAX], digest[TLS_HASH_SIZE_MAX];
    bool good;

    sasl_scram_sign(v->hash, v->stored_key, message, key);
    for (size_t i = 0; i < size; i++)
        key[i] ^= proof[i];
    tls_digest(v->hash, slice_of(key, size), digest);
    good = tls_equal(slice_of(digest, size), slice_of(v->stored_key, size));
    mem_wipe(key, sizeof(key));
    return good & s->known;
}

/* client-final-message: "c=binding,r=nonces[,...],p=proof" */
enum sasl_step sasl_scram_final(struct sasl_server *s, struct slice message)
{
    size_t size = tls_hash_size(s->verifier.hash);
    uint8_t proof[SASL_SCRAM_KEY_MAX + 3], signature[TLS_HASH_SIZE_MAX];
    uint8_t whole[SASL_SCRAM_FIRST_MAX + SASL_OUT_MAX + FINAL_MAX + 2];
    struct slice rest = message, binding, nonce, text, signed_part;
    size_t len = 0, at = message.len;
    bool bound = false;

    while (at > 0 && message.data[at - 1] != ',')
        at--;
    text = slice_of(message.data + at, message.len - at);
    signed_part = slice_head(message, at > 0 ? at - 1 : 0);
    if (signed_part.len > FINAL_MAX || !next_attribute(&text, 'p', &text)
        || base64_decoded_max(text.len) > sizeof(proof) || !base64_decode(text, proof, &len)
        || len != size || !next_attribute(&rest, 'c', &binding)
        || !next_attribute(&rest, 'r', &nonce) || !binding_matches(s, binding, &bound))
        return sasl_server_over(s, SASL_MALFORMED);
    if (!slice_equal(nonce, slice_of(s->out + 2, s->nonce_len)))
        return sasl_server_over(s, SASL_MALFORMED);
    struct slice all = auth_message(s, signed_part, whole);
    if (!proof_is_good(s, all, proof) || !bound)
        return sasl_server_over(s, SASL_REJECTED);
    sasl_scram_sign(s->verifier.hash, s->verifier.server_key, all, signature);
    at = put(s->out, 0, SLICE_LITERAL("v="));
    s->out_len = put_base64(s->out, at, slice_of(signature, size));
    s->state = SASL_STATE_LAST;
    return SASL_CHALLENGE;
}
