/*
 * delivery_reply: what a next hop's reply means, or its silence: for whom, whether it may change, and in which
 * words it is told. docs/replies.md has the table.
 */
#include <errno.h>
#include <stdio.h>

#include "delivery_remote_priv.h"

/* ---- replies within a transaction ----------------------------------------------------------- */

/* RFC 5321 4.5.3.1.10: 452, and from old servers 552, to RCPT says that there are enough recipients for one
 * transaction. One that says more than that means it: 5.2.2 is a mailbox that is full. */
static bool is_enough_for_now(const struct smtp_reply *reply, enum smtp_client_stage stage)
{
    return (reply->code == 452 || reply->code == 552) && stage == SMTP_STAGE_RCPT
           && (reply->enhanced[0] == 0 || (reply->enhanced[1] == 5 && reply->enhanced[2] == 3));
}

/* "Authentication required" (RFC 4954 6), "Must issue a STARTTLS command first" (RFC 3207 4): it is about the
 * session, and the sender cannot help it. */
static bool is_of_session(const struct smtp_reply *reply)
{
    return reply->code == 530 || reply->code == 538;
}

struct delivery_meaning delivery_reply_meaning(const struct smtp_reply *reply,
                                               enum smtp_client_stage stage, bool lmtp)
{
    struct delivery_meaning m = {.status = DELIVERY_DEFERRED, .scope = DELIVERY_SCOPE_MESSAGE};

    if (stage == SMTP_STAGE_RCPT || (stage == SMTP_STAGE_DOT && lmtp))
        m.scope = DELIVERY_SCOPE_RECIPIENT;
    if (smtp_reply_class(reply) == 2)
        m.status = DELIVERY_DONE;
    else if (smtp_reply_class(reply) == 5)
        m.status = DELIVERY_FAILED;
    if (is_enough_for_now(reply, stage)) {
        m.status = DELIVERY_DEFERRED;
        m.enough = true;
    }
    if (is_of_session(reply)) {
        m.status = DELIVERY_DEFERRED;
        m.scope = DELIVERY_SCOPE_CONNECTION;
    }
    return m;
}

/* ---- why a session ended ------------------------------------------------------------------- */

/* After "timeout" as it stands, after "connection lost" with "while" before it. */
static const char *stage_words(enum smtp_client_stage stage)
{
    switch (stage) {
    case SMTP_STAGE_GREETING: return "waiting for the greeting";
    case SMTP_STAGE_EHLO: return "waiting for the reply to EHLO";
    case SMTP_STAGE_HELO: return "waiting for the reply to HELO";
    case SMTP_STAGE_STARTTLS: return "waiting for the reply to STARTTLS";
    case SMTP_STAGE_SECURE: return "shaking hands for TLS";
    case SMTP_STAGE_AUTH: return "logging in";
    case SMTP_STAGE_IDLE: return "waiting between messages";
    case SMTP_STAGE_RSET: return "waiting for the reply to RSET";
    case SMTP_STAGE_MAIL: return "waiting for the reply to MAIL";
    case SMTP_STAGE_RCPT: return "waiting for the reply to RCPT";
    case SMTP_STAGE_DATA: return "waiting for the reply to DATA";
    case SMTP_STAGE_BODY: return "sending the body";
    case SMTP_STAGE_DOT: return "waiting for the reply to the final dot";
    case SMTP_STAGE_QUIT: return "waiting for the reply to QUIT";
    case SMTP_STAGE_CLOSED: return "closing";
    }
    UNREACHABLE();
}

void delivery_smtp_explain_connect(const struct delivery_smtp *c, struct delivery_reason *out)
{
    int error = c->net.error != 0 ? c->net.error : -ETIMEDOUT;
    const char *words = strerrordesc_np(-error);
    char name[DELIVERY_REMOTE_NAME];

    delivery_smtp_name(c, name);
    delivery_reason_set(out, 4, 1, "connect to %s: %s", name, words != NULL ? words : "failed");
}

/* How far it goes that a session ended in this stage. */
static enum delivery_scope scope_of(const struct smtp_client_failure *f)
{
    switch (f->stage) {
    case SMTP_STAGE_GREETING:
    case SMTP_STAGE_EHLO:
    case SMTP_STAGE_HELO:
    case SMTP_STAGE_STARTTLS:
    case SMTP_STAGE_SECURE:
    case SMTP_STAGE_AUTH: return DELIVERY_SCOPE_SITE;
    case SMTP_STAGE_IDLE:
    case SMTP_STAGE_RSET:
    case SMTP_STAGE_MAIL:
    case SMTP_STAGE_RCPT:
    case SMTP_STAGE_DATA:
    case SMTP_STAGE_QUIT:
    case SMTP_STAGE_CLOSED: return DELIVERY_SCOPE_CONNECTION;
    /* From here on it may be what the message says; and sending it costs something, each time. */
    case SMTP_STAGE_BODY:
    case SMTP_STAGE_DOT: return DELIVERY_SCOPE_MESSAGE;
    }
    UNREACHABLE();
}

/* Of the replies that end a session one to the body is about the message. A greeting of 521 says that the host
 * takes no mail (RFC 7504 3), which holds for as long as its domain names it; one of 554 is not believed
 * (RFC 5321 3.1 has it for "not now, not you"), nor are other replies before the first message. */
static bool is_final(const struct delivery_smtp *c)
{
    const struct smtp_client_failure *f = &c->smtp.failure;

    if (f->stage == SMTP_STAGE_GREETING)
        return f->code == 521 && c->plan->by_mx;
    return f->permanent && f->stage == SMTP_STAGE_BODY;
}

/* The session has FAILED: c->smtp.failure says where. */
void delivery_smtp_explain(const struct delivery_smtp *c, struct delivery_reason *out)
{
    const struct smtp_client_failure *f = &c->smtp.failure;
    const char *words = stage_words(f->stage);
    const char *doubt = f->in_doubt ? "; it may have taken the message" : "";
    const char *error = c->net.error != 0 ? strerrordesc_np(-c->net.error) : NULL;
    char name[DELIVERY_REMOTE_NAME];

    delivery_smtp_name(c, name);
    if (f->protocol) {
        delivery_reason_set(out, 5, 0, "%s does not speak SMTP (while %s)%s", name, words, doubt);
    } else if (f->code != 0) {
        delivery_reason_set(out, 3, 2, "%s said while we were %s: %.*s", name, words,
                            SLICE_ARG(c->smtp.reply.text));
        out->code = f->code;
        out->permanent = is_final(c);
        if (c->smtp.reply.enhanced[0] != 0)
            memcpy(out->enhanced, c->smtp.reply.enhanced, sizeof(out->enhanced));
        else if (out->permanent)
            out->enhanced[0] = 5;
    } else if (c->expired) {
        delivery_reason_set(out, 4, 2, "%s: timeout %s%s", name, words, doubt);
    } else {
        delivery_reason_set(out, 4, 2, "%s: connection lost while %s%s%s%s%s", name, words, doubt,
                            error != NULL ? " (" : "", error != NULL ? error : "",
                            error != NULL ? ")" : "");
    }
    out->scope = scope_of(f);
}
