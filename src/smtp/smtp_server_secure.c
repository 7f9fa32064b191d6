/*
 * smtp_server_secure: STARTTLS (RFC 3207) and AUTH (RFC 4954): when they may be said, and what they
 * change. Handshakes and passwords are the caller's.
 */
#include "base_assert.h"
#include "smtp_server_priv.h"

uint32_t smtp_server_offers(const struct smtp_server *s)
{
    uint32_t set = s->options->extensions;

    set &= ~(uint32_t)(s->tls_active ? SMTP_EXT_STARTTLS : SMTP_EXT_REQUIRETLS);
    /* Where TLS has to come first nobody is invited to say a password. */
    if (s->mechanisms.len == 0 || (s->options->tls_required && !s->tls_active))
        set &= ~(uint32_t)SMTP_EXT_AUTH;
    return set;
}

enum smtp_intent smtp_server_on_starttls(struct smtp_server *s, struct slice argument,
                                         struct buf *out)
{
    (void)argument; /* there is none */
    if (s->tls_active)
        SAY(s, out, 503, 5, 5, 1, "TLS is active already");
    else if (s->mail_given)
        SAY(s, out, 503, 5, 5, 1, "Not within a transaction");
    else if (s->authenticated)
        SAY(s, out, 503, 5, 5, 1, "Too late after AUTH");
    else
        return smtp_server_ask(s, SMTP_STARTTLS);
    return SMTP_REPLIED;
}

void smtp_server_secured(struct smtp_server *s)
{
    if (s->state == SERVER_CLOSED)
        return; /* from outside, during the handshake */
    ASSERT(s->state == SERVER_SECURING || (s->state == SERVER_COMMAND && !s->command_seen));
    ASSERT(!s->tls_active && !s->authenticated && s->pending == 0);
    smtp_server_reset(s);
    s->state = SERVER_COMMAND;
    s->tls_active = true;
    s->helo_given = s->extended = s->extended_before = false;
    s->command_seen = false;
    s->helo = SLICE_NULL;
    s->mechanisms = s->options->mechanisms;
}

/* The word of the list that equals `name`, with the list's bytes, which stay. */
static bool find_mechanism(struct slice list, struct slice name, struct slice *out)
{
    for (list = slice_trim(list); list.len > 0; list = slice_trim(list)) {
        ptrdiff_t blank = slice_find(list, ' ');
        struct slice word = blank < 0 ? list : slice_head(list, (size_t)blank);

        if (slice_equal_nocase(word, name)) {
            *out = word;
            return true;
        }
        slice_advance(&list, word.len);
    }
    return false;
}

/* AUTH is not for now; true if it has been said why. */
static bool refuse_auth(struct smtp_server *s, struct buf *out)
{
    if (s->authenticated)
        SAY(s, out, 503, 5, 5, 1, "Logged in already");
    else if (s->mail_given)
        SAY(s, out, 503, 5, 5, 1, "Not within a transaction");
    else if (s->mechanisms.len == 0 && (s->tls_active || s->options->mechanisms.len == 0))
        SAY(s, out, 502, 5, 5, 1, "Command not implemented");
    else
        return false;
    return true;
}

enum smtp_intent smtp_server_on_auth(struct smtp_server *s, struct slice argument, struct buf *out)
{
    ptrdiff_t blank = slice_find(argument, ' ');
    struct slice name = blank < 0 ? argument : slice_head(argument, (size_t)blank);
    struct slice known;

    if (refuse_auth(s, out))
        return SMTP_REPLIED;
    slice_advance(&argument, name.len);
    s->response = slice_trim(argument);
    s->has_response = s->response.len > 0;
    if (name.len == 0 || slice_find(s->response, ' ') >= 0 || slice_find(s->response, '\t') >= 0) {
        SAY(s, out, 501, 5, 5, 4, "Syntax: AUTH mechanism [initial response]");
        return SMTP_REPLIED;
    }
    if (s->response.len > SMTP_AUTH_RESPONSE_MAX) {
        SAY(s, out, 500, 5, 5, 6, "Authentication exchange line is too long");
        return SMTP_REPLIED;
    }
    if (!find_mechanism(s->mechanisms, name, &s->mechanism)) {
        if (!s->tls_active && find_mechanism(s->options->mechanisms, name, &known))
            SAY(s, out, 538, 5, 7, 11, "Encryption is needed for this mechanism");
        else
            SAY(s, out, 504, 5, 5, 4, "Mechanism not known");
        return SMTP_REPLIED;
    }
    if (slice_equal(s->response, SLICE_LITERAL("="))) /* an initial response of no length */
        s->response.len = 0;
    return smtp_server_ask(s, SMTP_AUTH);
}

enum smtp_intent smtp_server_auth_line(struct smtp_server *s, struct slice line)
{
    s->response = line;
    s->has_response = true;
    return smtp_server_ask(s, SMTP_AUTH_RESPONSE);
}

enum smtp_intent smtp_server_auth_void(struct smtp_server *s, const struct smtp_reply *reply,
                                       struct buf *out)
{
    ASSERT(s->state == SERVER_AUTH);
    s->state = SERVER_COMMAND;
    smtp_server_say(s, reply, out);
    return SMTP_AUTH_CANCEL;
}

void smtp_server_challenge(struct smtp_server *s, struct slice base64, struct buf *out)
{
    if (s->state == SERVER_CLOSED)
        return; /* as with an answer that comes too late */
    ASSERT(s->pending == SMTP_AUTH || s->pending == SMTP_AUTH_RESPONSE);
    ASSERT(base64.len <= SMTP_AUTH_RESPONSE_MAX);
    s->pending = 0;
    s->state = SERVER_AUTH;
    /* Not by smtp_reply_format(), which knows that lines have 512 octets: this one has not. */
    (void)buf_append_str(out, "334 ");
    (void)buf_append_slice(out, base64);
    (void)buf_append_str(out, "\r\n");
}
