/*
 * smtp_client_secure: STARTTLS (RFC 3207) and AUTH (RFC 4954) from the client's side. What the reply
 * means to the policy of a site, and what a challenge means, is for the caller to know.
 */
#include "base_assert.h"
#include "smtp_client_priv.h"

/* RFC 4954 4: AUTH with its initial response keeps to what a command may have (RFC 5321 4.5.3.1.4). */
enum { COMMAND_LINE_MAX = 512 };

void smtp_client_lend(struct smtp_client *c, void *text_storage, size_t text_storage_size)
{
    ASSERT(c->stage == SMTP_STAGE_IDLE || c->stage == SMTP_STAGE_AUTH);
    ASSERT(text_storage_size >= SMTP_CLIENT_STORAGE_MIN);
    smtp_reply_parser_lend(&c->parser, text_storage, text_storage_size);
}

void smtp_client_starttls(struct smtp_client *c, struct buf *out)
{
    ASSERT(c->stage == SMTP_STAGE_IDLE && c->transaction == NULL && !c->tls_active);
    (void)buf_append_str(out, "STARTTLS\r\n");
    c->stage = SMTP_STAGE_STARTTLS;
}

void smtp_client_secured(struct smtp_client *c, struct buf *out)
{
    ASSERT(!c->tls_active && !c->failed);
    c->tls_active = true;
    if (c->stage == SMTP_STAGE_GREETING)
        return; /* TLS from the first byte: the peer speaks first */
    ASSERT(c->stage == SMTP_STAGE_SECURE);
    /* RFC 3207 4.2: "MUST discard any knowledge obtained from the server". */
    c->capabilities = (struct smtp_capabilities){0};
    c->need_rset = c->authenticated = false;
    smtp_client_hello(c, SMTP_STAGE_EHLO, out);
}

bool smtp_client_auth(struct smtp_client *c, struct slice mechanism, struct slice initial,
                      struct buf *out)
{
    bool fits;

    ASSERT(c->stage == SMTP_STAGE_IDLE && c->transaction == NULL && !c->authenticated);
    if (initial.data != NULL && initial.len == 0)
        initial = SLICE_LITERAL("=");
    fits = sizeof("AUTH  \r\n") - 1 + mechanism.len + initial.len <= COMMAND_LINE_MAX;
    (void)buf_append_str(out, "AUTH ");
    (void)buf_append_slice(out, mechanism);
    if (initial.len > 0 && fits) {
        (void)buf_append_byte(out, ' ');
        (void)buf_append_slice(out, initial);
    }
    (void)buf_append_str(out, "\r\n");
    c->stage = SMTP_STAGE_AUTH;
    c->waiting = 1;
    return initial.len == 0 || fits;
}

void smtp_client_auth_respond(struct smtp_client *c, struct slice base64, struct buf *out)
{
    ASSERT(c->stage == SMTP_STAGE_AUTH && c->waiting == 0);
    c->waiting = 1;
    (void)buf_append_slice(out, base64);
    (void)buf_append_str(out, "\r\n");
}

void smtp_client_auth_cancel(struct smtp_client *c, struct buf *out)
{
    smtp_client_auth_respond(c, SLICE_LITERAL("*"), out);
}

static enum smtp_client_event take_starttls(struct smtp_client *c)
{
    switch (smtp_reply_class(&c->reply)) {
    case 2: c->stage = SMTP_STAGE_SECURE; return SMTP_CLIENT_STARTTLS_READY;
    case 3: return smtp_client_fail(c, true);
    default: c->stage = SMTP_STAGE_IDLE; return SMTP_CLIENT_STARTTLS_REFUSED;
    }
}

static enum smtp_client_event take_auth(struct smtp_client *c)
{
    if (c->waiting == 0) /* we have not answered the challenge yet */
        return smtp_client_fail(c, smtp_reply_class(&c->reply) < 4);
    c->waiting = 0;
    switch (smtp_reply_class(&c->reply)) {
    case 2:
        c->authenticated = true;
        c->stage = SMTP_STAGE_IDLE;
        return SMTP_CLIENT_AUTH_OK;
    case 3:
        if (c->reply.code != 334 || c->parser.cut)
            return smtp_client_fail(c, true);
        return SMTP_CLIENT_AUTH_CHALLENGE;
    default: c->stage = SMTP_STAGE_IDLE; return SMTP_CLIENT_AUTH_FAILED;
    }
}

enum smtp_client_event smtp_client_secure_reply(struct smtp_client *c)
{
    if (c->reply.code == 421)
        return smtp_client_fail(c, false);
    return c->stage == SMTP_STAGE_AUTH ? take_auth(c) : take_starttls(c);
}
