/*
 * The SASL server: the first byte chooses the mechanism and what the world answers; messages are divided by
 * newlines. Slices lie within what was given, names are names, challenges fit, and nobody gets in without
 * a good verdict, or by SCRAM without a proof for a verifier that nobody can have.
 */
#include "base_assert.h"
#include "sasl_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool binding(void *context, enum tls_binding kind, uint8_t out[TLS_BINDING_MAX],
                    size_t *out_len)
{
    (void)context;
    memset(out, 'b', TLS_BINDING_MAX);
    *out_len = kind == TLS_BINDING_EXPORTER ? 32 : TLS_BINDING_MAX;
    return true;
}

static void check_user(const struct sasl_server *s, bool may_be_empty)
{
    ASSERT(may_be_empty ? s->user.len == 0 || sasl_user_valid(s->user) : sasl_user_valid(s->user));
}

static enum sasl_step verifier(struct sasl_server *s, bool known)
{
    enum tls_hash hash = sasl_mechanisms[s->mechanism].hash;
    struct sasl_verifier v;

    sasl_verifier_fake(hash, SLICE_LITERAL("fuzz"), s->user, 4096, SASL_SCRAM_SALT_MAX, &v);
    return sasl_server_verifier(s, &v, known);
}

/* What the world says, until the client has to speak. False: over. */
static bool answer(struct sasl_server *s, enum sasl_step step, bool good)
{
    bool asked = false;

    for (;;) {
        switch (step) {
        case SASL_CHALLENGE: ASSERT(s->out_len <= SASL_OUT_MAX); return true;
        case SASL_CHECK_PASSWORD:
            check_user(s, false);
            ASSERT(sasl_password_valid(s->password));
            break;
        case SASL_CHECK_TOKEN:
            check_user(s, true);
            ASSERT(s->token.len > 0);
            break;
        case SASL_CHECK_CERTIFICATE: check_user(s, true); break;
        case SASL_NEED_VERIFIER:
            check_user(s, false);
            step = verifier(s, good);
            continue;
        case SASL_OK: ASSERT(asked && good && !sasl_mechanisms[s->mechanism].scram); return false;
        case SASL_REJECTED:
        case SASL_MALFORMED: return false;
        }
        asked = true;
        step = sasl_server_verdict(s, good);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sasl_server s;
    struct sasl_server_options options = {.nonce = SLICE_LITERAL("0123456789abcdefghij"),
                                          .binding = binding};
    struct slice rest;
    bool more;

    if (size < 1)
        return 0;
    options.plus_offered = (data[0] & 0x20) != 0;
    more = sasl_server_begin(&s, (enum sasl_mechanism)((data[0] & 0x0f) % SASL_MECHANISM_COUNT),
                             &options)
           == SASL_CHALLENGE;
    rest = slice_of(data + 1, size - 1);
    while (more && rest.len > 0) {
        ptrdiff_t newline = slice_find(rest, '\n');
        struct slice message = newline < 0 ? rest : slice_head(rest, (size_t)newline);

        slice_advance(&rest, newline < 0 ? rest.len : message.len + 1);
        more = answer(&s, sasl_server_respond(&s, message), (data[0] & 0x10) != 0);
    }
    return 0;
}
