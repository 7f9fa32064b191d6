/*
 * smtp_server_data: the message itself (RFC 5321 4.1.1.4). A message that is refused while it comes
 * in is read to its real end all the same: the reply belongs there, and only there is it certain
 * where commands go on.
 */
#include "base_assert.h"
#include "smtp_server_priv.h"

/* RFC 1870 6.3 */
static const struct smtp_reply too_big = SMTP_REPLY_INIT(552, 5, 3, 4, "Message too big");
/* RFC 3463 3.7: 5.6.0, "something about the content"; the reason is RFC 5321 2.3.8. */
static const struct smtp_reply bare_newline =
    SMTP_REPLY_INIT(550, 5, 6, 0, "Bare CR or LF in the message: lines end with CRLF only");

void smtp_server_begin_data(struct smtp_server *s)
{
    s->state = SERVER_DATA;
    s->data_size = 0;
    s->data_refusal = NULL;
    s->end_seen = false;
    smtp_dot_init(&s->dot, s->options->bare_newline == SMTP_BARE_NEWLINE_NORMALIZE);
}

/* Whether the bytes decoded so far may be a message. */
static const struct smtp_reply *judge(const struct smtp_server *s)
{
    if (s->options->bare_newline == SMTP_BARE_NEWLINE_REJECT
        && s->dot.facts & (SMTP_DOT_BARE_CR | SMTP_DOT_BARE_LF))
        return &bare_newline;
    if (s->options->message_size_max != 0 && s->data_size > s->options->message_size_max)
        return &too_big;
    return NULL;
}

static enum smtp_intent end_of_data(struct smtp_server *s, struct buf *out)
{
    const struct smtp_reply *refusal = s->data_refusal;

    /* What is wrong with the whole, so that the reply does not hang on what was noticed first. */
    if (refusal == &too_big || refusal == &bare_newline)
        refusal = judge(s);
    s->state = SERVER_COMMAND;
    if (refusal == NULL)
        return smtp_server_ask(s, SMTP_END_DATA);
    smtp_server_reset(s);
    if (refusal->code == 421)
        return smtp_server_hang_up(s, refusal, out);
    smtp_server_say(s, refusal, out);
    return SMTP_REPLIED;
}

enum smtp_intent smtp_server_data(struct smtp_server *s, struct slice *in, struct buf *out)
{
    while (!s->end_seen && in->len > 0) {
        struct slice body;

        s->end_seen = smtp_dot_decode(&s->dot, in, &body) == SMTP_DOT_END;
        s->data_size += body.len;
        if (s->data_refusal != NULL)
            continue;
        s->data_refusal = judge(s);
        if (s->data_refusal != NULL)
            return SMTP_RESET;
        if (body.len > 0) {
            s->body = body;
            return SMTP_BODY;
        }
    }
    return s->end_seen ? end_of_data(s, out) : SMTP_NEED_INPUT;
}
