/* verify_reply: what the client is told, with the codes of RFC 3463, 7372 and 7505. */
#include <stdio.h>

#include "verify_priv.h"

static const struct smtp_reply sender_no_domain =
    SMTP_REPLY_INIT(553, 5, 1, 8, "The sender's domain does not exist, or takes no mail");
static const struct smtp_reply sender_null_mx =
    SMTP_REPLY_INIT(550, 5, 7, 27, "The sender's domain takes no mail (null MX)");
static const struct smtp_reply sender_no_dns =
    SMTP_REPLY_INIT(451, 4, 1, 8, "The sender's domain cannot be looked up now, try again later");
static const struct smtp_reply no_domain =
    SMTP_REPLY_INIT(550, 5, 1, 2, "The recipient's domain does not exist, or takes no mail");
static const struct smtp_reply null_mx =
    SMTP_REPLY_INIT(556, 5, 1, 10, "The recipient's domain takes no mail (null MX)");
static const struct smtp_reply no_dns = SMTP_REPLY_INIT(
    450, 4, 4, 3, "The recipient's domain cannot be looked up now, try again later");
static const struct smtp_reply silent =
    SMTP_REPLY_INIT(450, 4, 1, 1, "The recipient cannot be verified now, try again later");
static const struct smtp_reply too_many =
    SMTP_REPLY_INIT(450, 4, 7, 1, "Too many recipients to be verified, try again later");

/* The next hop's words on one line; what cannot stand in a reply is made harmless where it is formatted. */
static void unknown(struct verify_query *q, const struct verify_entry *e)
{
    static const struct smtp_reply plain = SMTP_REPLY_INIT(550, 5, 1, 1, "No such recipient here");

    q->reply = plain;
    if (e == NULL || e->words == NULL || e->words[0] == '\0')
        return;
    (void)snprintf(q->words, sizeof(q->words), "No such recipient: the host behind us says: %s",
                   e->words);
    q->reply.text = slice_str(q->words);
    if (e->enhanced[0] == 5)
        memcpy(q->reply.enhanced, e->enhanced, sizeof(q->reply.enhanced));
}

void verify_reply(struct verify_query *q, const struct verify_entry *e)
{
    switch (q->verdict) {
    case VERIFY_WAIT:
    case VERIFY_GOOD:
    case VERIFY_NO_ANSWER: return;
    case VERIFY_NO_DOMAIN: q->reply = q->sender ? sender_no_domain : no_domain; return;
    case VERIFY_NULL_MX: q->reply = q->sender ? sender_null_mx : null_mx; return;
    case VERIFY_NO_DNS: q->reply = q->sender ? sender_no_dns : no_dns; return;
    case VERIFY_UNKNOWN: unknown(q, e); return;
    case VERIFY_SILENT: q->reply = silent; return;
    case VERIFY_TOO_MANY: q->reply = too_many; return;
    }
    UNREACHABLE();
}
