/* sasl_client: PLAIN (RFC 4616), LOGIN, XOAUTH2, OAUTHBEARER (RFC 7628); and the choice between all. */
#include "base_assert.h"
#include "base_mem.h"
#include "sasl_client_priv.h"

void sasl_client_put(struct sasl_client *c, struct slice s)
{
    if (s.len > sizeof(c->out) - c->out_len) {
        c->error = "too long for the mechanism";
        return;
    }
    if (s.len > 0)
        memcpy(c->out + c->out_len, s.data, s.len);
    c->out_len += s.len;
}

enum sasl_client_step sasl_client_failed(struct sasl_client *c, const char *error)
{
    c->error = error;
    c->state = SASL_CLIENT_OVER;
    c->out_len = 0;
    return SASL_CLIENT_FAILED;
}

void sasl_client_put_name(struct sasl_client *c)
{
    for (size_t i = 0; i < c->user_len; i++) {
        if (c->user[i] == ',')
            sasl_client_put(c, SLICE_LITERAL("=2C"));
        else if (c->user[i] == '=')
            sasl_client_put(c, SLICE_LITERAL("=3D"));
        else
            sasl_client_put(c, slice_of(c->user + i, 1));
    }
}

/* "\0user\0password" */
static void begin_plain(struct sasl_client *c)
{
    sasl_client_put(c, SLICE_LITERAL("\0"));
    sasl_client_put(c, slice_of(c->user, c->user_len));
    sasl_client_put(c, SLICE_LITERAL("\0"));
    sasl_client_put(c, slice_of(c->password, c->password_len));
}

static void begin_xoauth2(struct sasl_client *c, const struct sasl_client_options *o)
{
    sasl_client_put(c, SLICE_LITERAL("user="));
    sasl_client_put(c, o->user);
    sasl_client_put(c, SLICE_LITERAL("\001auth=Bearer "));
    sasl_client_put(c, o->token);
    sasl_client_put(c, SLICE_LITERAL("\001\001"));
}

static void begin_oauthbearer(struct sasl_client *c, const struct sasl_client_options *o)
{
    char port[6 + U64_TEXT_SIZE] = "\001port=";

    sasl_client_put(c, SLICE_LITERAL("n,a="));
    sasl_client_put_name(c);
    sasl_client_put(c, SLICE_LITERAL(","));
    if (o->host.len > 0) {
        sasl_client_put(c, SLICE_LITERAL("\001host="));
        sasl_client_put(c, o->host);
        sasl_client_put(c, slice_of(port, 6 + u64_to_text(o->port, port + 6)));
    }
    sasl_client_put(c, SLICE_LITERAL("\001auth=Bearer "));
    sasl_client_put(c, o->token);
    sasl_client_put(c, SLICE_LITERAL("\001\001"));
}

/* b64token (RFC 6750 2.1) is less than this; above all nothing that would end the field. */
static bool token_valid(struct slice token)
{
    for (size_t i = 0; i < token.len; i++)
        if (token.data[i] <= ' ' || token.data[i] >= 127)
            return false;
    return token.len > 0;
}

static bool take_options(struct sasl_client *c, const struct sasl_client_options *o)
{
    const struct sasl_mechanism_facts *facts = &sasl_mechanisms[c->mechanism];

    if (!sasl_user_valid(o->user)) {
        c->error = "the user name cannot be sent";
        return false;
    }
    memcpy(c->user, o->user.data, o->user.len);
    c->user_len = o->user.len;
    if (facts->token) {
        if (!token_valid(o->token))
            c->error = "no access token";
        return c->error == NULL;
    }
    if (!sasl_password_valid(o->password)) {
        c->error = "the password cannot be sent";
        return false;
    }
    memcpy(c->password, o->password.data, o->password.len);
    c->password_len = o->password.len;
    return true;
}

bool sasl_client_begin(struct sasl_client *c, enum sasl_mechanism mechanism,
                       const struct sasl_client_options *options)
{
    *c = (struct sasl_client){.mechanism = mechanism, .has_initial = true};
    if (!take_options(c, options))
        return false;
    switch (mechanism) {
    case SASL_PLAIN: begin_plain(c); break;
    case SASL_XOAUTH2: begin_xoauth2(c, options); break;
    case SASL_OAUTHBEARER: begin_oauthbearer(c, options); break;
    case SASL_LOGIN: c->has_initial = false; break;
    case SASL_SCRAM_SHA_256:
    case SASL_SCRAM_SHA_1: sasl_client_scram_begin(c, options->nonce); break;
    case SASL_SCRAM_SHA_256_PLUS:
    case SASL_SCRAM_SHA_1_PLUS:
    case SASL_EXTERNAL:
    case SASL_MECHANISM_COUNT: UNREACHABLE();
    }
    return c->error == NULL;
}

void sasl_client_initial_sent(struct sasl_client *c)
{
    ASSERT(c->has_initial && !c->initial_sent && c->state == SASL_CLIENT_START);
    c->initial_sent = true;
    c->state = sasl_mechanisms[c->mechanism].scram ? SASL_CLIENT_FIRST : SASL_CLIENT_SAID;
}

/* The server asks in words of its own ("Username:", "User Name\0"): what counts is the order. */
static enum sasl_client_step respond_login(struct sasl_client *c)
{
    c->out_len = 0;
    if (c->state == SASL_CLIENT_START) {
        sasl_client_put(c, slice_of(c->user, c->user_len));
        c->state = SASL_CLIENT_NAMED;
        return SASL_CLIENT_SEND;
    }
    sasl_client_put(c, slice_of(c->password, c->password_len));
    c->state = SASL_CLIENT_SAID;
    return SASL_CLIENT_SEND;
}

enum sasl_client_step sasl_client_respond(struct sasl_client *c, struct slice challenge)
{
    switch ((enum sasl_client_state)c->state) {
    case SASL_CLIENT_START:
        if (c->mechanism == SASL_LOGIN)
            return respond_login(c);
        sasl_client_initial_sent(c); /* this is what the server waits for */
        return SASL_CLIENT_SEND;
    case SASL_CLIENT_NAMED: return respond_login(c);
    case SASL_CLIENT_SAID:
        if (!sasl_mechanisms[c->mechanism].token)
            break;
        /* Why the token is no good, in JSON. The refusal comes after an answer that says nothing (RFC 7628
         * 3.2.3: one octet). */
        c->out_len = 0;
        if (c->mechanism == SASL_OAUTHBEARER)
            sasl_client_put(c, SLICE_LITERAL("\001"));
        c->state = SASL_CLIENT_OVER;
        return SASL_CLIENT_SEND;
    case SASL_CLIENT_FIRST:
    case SASL_CLIENT_FINAL: return sasl_client_scram_respond(c, challenge);
    case SASL_CLIENT_PROVEN:
    case SASL_CLIENT_OVER:
    case SASL_CLIENT_DERIVING: break;
    }
    return sasl_client_failed(c, "the server asks for more than the mechanism has");
}

bool sasl_client_accepted(struct sasl_client *c)
{
    bool scram = sasl_mechanisms[c->mechanism].scram;

    if (c->state == SASL_CLIENT_PROVEN || (!scram && c->state == SASL_CLIENT_SAID))
        return true;
    (void)sasl_client_failed(c, scram ? "the server did not prove that it knows the password"
                                      : "the server accepted what was not said");
    return false;
}

void sasl_client_wipe(struct sasl_client *c)
{
    mem_wipe(c, sizeof(*c));
}
