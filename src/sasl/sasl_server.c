/* sasl_server: the table of mechanisms, and those that say all in one or two messages. */
#include "sasl_server.h"

#include "base_assert.h"
#include "base_mem.h"
#include "sasl_server_priv.h"

const struct sasl_mechanism_facts sasl_mechanisms[SASL_MECHANISM_COUNT] = {
    [SASL_SCRAM_SHA_256_PLUS] = {.name = SLICE_INIT("SCRAM-SHA-256-PLUS"),
                                 .scram = true,
                                 .plus = true,
                                 .hash = TLS_HASH_SHA256},
    [SASL_SCRAM_SHA_1_PLUS] = {.name = SLICE_INIT("SCRAM-SHA-1-PLUS"),
                               .scram = true,
                               .plus = true,
                               .hash = TLS_HASH_SHA1},
    [SASL_SCRAM_SHA_256] = {.name = SLICE_INIT("SCRAM-SHA-256"),
                            .scram = true,
                            .hash = TLS_HASH_SHA256},
    [SASL_SCRAM_SHA_1] = {.name = SLICE_INIT("SCRAM-SHA-1"), .scram = true, .hash = TLS_HASH_SHA1},
    [SASL_EXTERNAL] = {.name = SLICE_INIT("EXTERNAL")},
    [SASL_OAUTHBEARER] = {.name = SLICE_INIT("OAUTHBEARER"), .token = true},
    [SASL_XOAUTH2] = {.name = SLICE_INIT("XOAUTH2"), .token = true},
    [SASL_PLAIN] = {.name = SLICE_INIT("PLAIN"), .password = true},
    [SASL_LOGIN] = {.name = SLICE_INIT("LOGIN"), .password = true},
};

bool sasl_mechanism_find(struct slice name, enum sasl_mechanism *out)
{
    for (unsigned i = 0; i < SASL_MECHANISM_COUNT; i++) {
        if (slice_equal_nocase(name, sasl_mechanisms[i].name)) {
            *out = (enum sasl_mechanism)i;
            return true;
        }
    }
    return false;
}

/* ---- names and passwords ------------------------------------------------------------------- */

/* Octets of the UTF-8 character at the front (RFC 3629 4); 0: none, or a control character. */
static size_t character_len(struct slice s)
{
    uint8_t c = s.data[0];
    size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

    if (c < 0x20 || c == 0x7f || len > s.len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((s.data[i] & 0xc0) != 0x80)
            return 0;
    if ((c == 0xc2 && s.data[1] < 0xa0)      /* U+0080 to U+009F: controls */
        || (c == 0xe0 && s.data[1] < 0xa0)   /* overlong */
        || (c == 0xed && s.data[1] >= 0xa0)  /* surrogates */
        || (c == 0xf0 && s.data[1] < 0x90)   /* overlong */
        || (c == 0xf4 && s.data[1] >= 0x90)) /* beyond U+10FFFF */
        return 0;
    return len;
}

bool sasl_user_valid(struct slice user)
{
    if (user.len == 0 || user.len > SASL_USER_MAX)
        return false;
    while (user.len > 0) {
        size_t len = character_len(user);

        if (len == 0)
            return false;
        slice_advance(&user, len);
    }
    return true;
}

/* Passwords need not be UTF-8: old clients send what their locale says, and the hash may be of that. */
bool sasl_password_valid(struct slice password)
{
    uint8_t bad = 0;

    if (password.len == 0 || password.len > SASL_PASSWORD_MAX)
        return false;
    for (size_t i = 0; i < password.len; i++)
        bad |= password.data[i] < 0x20 || password.data[i] == 0x7f;
    return !bad;
}

bool sasl_server_set_user(struct sasl_server *s, struct slice user)
{
    if (!sasl_user_valid(user))
        return false;
    memcpy(s->name, user.data, user.len);
    s->user = slice_of(s->name, user.len);
    return true;
}

static bool set_password(struct sasl_server *s, struct slice password)
{
    if (!sasl_password_valid(password))
        return false;
    memcpy(s->secret, password.data, password.len);
    s->secret[password.len] = '\0';
    s->password = slice_of(s->secret, password.len);
    return true;
}

/* ---- the mechanisms ------------------------------------------------------------------------ */

enum sasl_step sasl_server_over(struct sasl_server *s, enum sasl_step step)
{
    s->state = SASL_STATE_OVER;
    return step;
}

enum sasl_step sasl_server_ask(struct sasl_server *s, enum sasl_state next, struct slice challenge)
{
    ASSERT(challenge.len <= sizeof(s->out));
    if (challenge.len > 0)
        memcpy(s->out, challenge.data, challenge.len);
    s->out_len = challenge.len;
    s->state = next;
    return SASL_CHALLENGE;
}

static enum sasl_step check(struct sasl_server *s, enum sasl_step step)
{
    s->state = SASL_STATE_VERDICT;
    return step;
}

/* [authzid] NUL authcid NUL passwd (RFC 4616 2) */
static enum sasl_step step_plain(struct sasl_server *s, struct slice message)
{
    struct slice part[3] = {SLICE_NULL, SLICE_NULL, SLICE_NULL};

    for (unsigned i = 0; i < 3; i++) {
        ptrdiff_t nul = slice_find(message, '\0');

        if ((nul < 0) != (i == 2))
            return sasl_server_over(s, SASL_MALFORMED);
        part[i] = nul < 0 ? message : slice_head(message, (size_t)nul);
        slice_advance(&message, nul < 0 ? message.len : part[i].len + 1);
    }
    if (!sasl_server_set_user(s, part[1]) || !set_password(s, part[2]))
        return sasl_server_over(s, SASL_MALFORMED);
    if (part[0].len > 0 && !slice_equal_nocase(part[0], part[1]))
        return sasl_server_over(s, SASL_REJECTED); /* to act as another */
    return check(s, SASL_CHECK_PASSWORD);
}

static enum sasl_step step_login(struct sasl_server *s, struct slice message)
{
    if (s->state == SASL_STATE_FIRST) {
        if (!sasl_server_set_user(s, message))
            return sasl_server_over(s, SASL_MALFORMED);
        return sasl_server_ask(s, SASL_STATE_SECOND, SLICE_LITERAL("Password:"));
    }
    if (!set_password(s, message))
        return sasl_server_over(s, SASL_MALFORMED);
    return check(s, SASL_CHECK_PASSWORD);
}

/* The message is the authorization identity (RFC 4422 A). */
static enum sasl_step step_external(struct sasl_server *s, struct slice message)
{
    if (message.len > 0 && !sasl_server_set_user(s, message))
        return sasl_server_over(s, SASL_MALFORMED);
    return check(s, SASL_CHECK_CERTIFICATE);
}

static enum sasl_step step_token(struct sasl_server *s, struct slice message)
{
    if (s->state
        == SASL_STATE_LAST) /* ^A (RFC 7628 3.2.3), or nothing: what it says does not matter */
        return sasl_server_over(s, SASL_REJECTED);
    if (!sasl_token_parse(s, message))
        return sasl_server_over(s, SASL_MALFORMED);
    if (s->token.len > 0)
        return check(s, SASL_CHECK_TOKEN);
    /* A client that asks where tokens are to be had (RFC 7628 4.3). */
    s->state = SASL_STATE_VERDICT;
    return sasl_server_verdict(s, false);
}

static enum sasl_step step_scram(struct sasl_server *s, struct slice message)
{
    if (s->state == SASL_STATE_FIRST)
        return sasl_scram_first(s, message);
    if (s->state == SASL_STATE_SECOND)
        return sasl_scram_final(s, message);
    return sasl_server_over(s, message.len == 0 ? SASL_OK : SASL_MALFORMED);
}

static enum sasl_step (*const steps[SASL_MECHANISM_COUNT])(struct sasl_server *s,
                                                           struct slice message) = {
    [SASL_SCRAM_SHA_256_PLUS] = step_scram,
    [SASL_SCRAM_SHA_1_PLUS] = step_scram,
    [SASL_SCRAM_SHA_256] = step_scram,
    [SASL_SCRAM_SHA_1] = step_scram,
    [SASL_EXTERNAL] = step_external,
    [SASL_OAUTHBEARER] = step_token,
    [SASL_XOAUTH2] = step_token,
    [SASL_PLAIN] = step_plain,
    [SASL_LOGIN] = step_login,
};

/* ---- the exchange -------------------------------------------------------------------------- */

enum sasl_step sasl_server_begin(struct sasl_server *s, enum sasl_mechanism mechanism,
                                 const struct sasl_server_options *options)
{
    ASSERT(mechanism < SASL_MECHANISM_COUNT);
    *s = (struct sasl_server){.mechanism = mechanism, .options = *options};
    return sasl_server_ask(s, SASL_STATE_FIRST,
                           mechanism == SASL_LOGIN ? SLICE_LITERAL("Username:") : SLICE_NULL);
}

enum sasl_step sasl_server_respond(struct sasl_server *s, struct slice message)
{
    ASSERT(s->state == SASL_STATE_FIRST || s->state == SASL_STATE_SECOND
           || s->state == SASL_STATE_LAST);
    if (message.len > SASL_MESSAGE_MAX)
        return sasl_server_over(s, SASL_MALFORMED);
    return steps[s->mechanism](s, message);
}

enum sasl_step sasl_server_verdict(struct sasl_server *s, bool good)
{
    ASSERT(s->state == SASL_STATE_VERDICT && !sasl_mechanisms[s->mechanism].scram);
    if (good)
        return sasl_server_over(s, SASL_OK);
    /* Token clients are told in words, and answer, before they are refused. */
    if (s->mechanism == SASL_OAUTHBEARER)
        return sasl_server_ask(s, SASL_STATE_LAST, SLICE_LITERAL("{\"status\":\"invalid_token\"}"));
    if (s->mechanism == SASL_XOAUTH2)
        return sasl_server_ask(s, SASL_STATE_LAST,
                               SLICE_LITERAL("{\"status\":\"401\",\"schemes\":\"bearer\"}"));
    return sasl_server_over(s, SASL_REJECTED);
}

enum sasl_step sasl_server_verifier(struct sasl_server *s, const struct sasl_verifier *verifier,
                                    bool known)
{
    ASSERT(s->state == SASL_STATE_VERDICT && sasl_mechanisms[s->mechanism].scram);
    ASSERT(verifier->hash == sasl_mechanisms[s->mechanism].hash);
    s->verifier = *verifier;
    s->known = known;
    return sasl_scram_challenge(s);
}

void sasl_server_wipe(struct sasl_server *s)
{
    mem_wipe(s, sizeof(*s));
    s->state = SASL_STATE_OVER;
}
