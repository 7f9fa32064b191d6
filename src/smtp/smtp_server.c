/* smtp_server: lines out of the stream, answers into the state. */
#include "base_assert.h"
#include "smtp_server_priv.h"

enum { LINE_SIZE_MAX = 2048, LINE_SIZE_MIN = 512 };

void smtp_server_init(struct smtp_server *s, const struct smtp_server_options *options)
{
    ASSERT((options->extensions
            & ~(uint32_t)(SMTP_EXT_SERVER | SMTP_EXT_SERVER_SECURE | SMTP_EXT_SERVER_KEPT))
           == 0);
    ASSERT(options->line_max == 0 || options->line_max >= LINE_SIZE_MIN);
    *s = (struct smtp_server){.options = options, .state = SERVER_COMMAND};
    s->mechanisms = options->mechanisms_clear;
}

void smtp_server_say(struct smtp_server *s, const struct smtp_reply *reply, struct buf *out)
{
    struct smtp_reply plain = *reply;

    /* RFC 2034 4: the codes are there because EHLO announced them. */
    if (!(s->options->extensions & SMTP_EXT_ENHANCED))
        plain.enhanced[0] = 0;
    if (smtp_reply_class(reply) == 5)
        s->errors++;
    (void)smtp_reply_format(&plain, out); /* a full buf says so itself; its owner looks */
}

enum smtp_intent smtp_server_hang_up(struct smtp_server *s, const struct smtp_reply *reply,
                                     struct buf *out)
{
    smtp_server_say(s, reply, out);
    s->state = SERVER_CLOSED;
    s->pending = 0;
    return SMTP_CLOSE;
}

enum smtp_intent smtp_server_ask(struct smtp_server *s, enum smtp_intent intent)
{
    _Static_assert(SMTP_NEED_INPUT == 0, "no intent is pending");
    s->pending = (uint8_t)intent;
    return intent;
}

void smtp_server_reset(struct smtp_server *s)
{
    s->mail_given = false;
    s->recipients = 0;
    s->recipient_refused = false;
    s->data_refusal = NULL;
}

void smtp_server_greet(struct smtp_server *s, struct buf *out)
{
    struct slice words = s->options->greeting;

    /* No enhanced code here: RFC 2034 4. */
    (void)buf_append_str(out, "220 ");
    (void)buf_append_slice(out, s->options->hostname);
    (void)buf_append_byte(out, ' ');
    (void)buf_append_slice(out, words.len > 0 ? words : SLICE_LITERAL("ESMTP"));
    (void)buf_append_str(out, "\r\n");
}

void smtp_server_close(struct smtp_server *s, const struct smtp_reply *reply, struct buf *out)
{
    ASSERT(reply->code == 421 || reply->code == 554);
    if (s->state == SERVER_SECURING)
        s->state = SERVER_CLOSED; /* plain words would land in the handshake */
    else if (s->state != SERVER_CLOSED && s->state != SERVER_QUIT)
        (void)smtp_server_hang_up(s, reply, out);
}

bool smtp_server_in_data(const struct smtp_server *s)
{
    return s->state == SERVER_DATA;
}

/* Throws away the rest of a bad line; true once its CRLF is gone too. */
static bool discard_line(struct smtp_server *s, struct slice *in)
{
    while (in->len > 0) {
        ptrdiff_t at;

        if (s->discard_cr && in->data[0] == '\n') {
            slice_advance(in, 1);
            s->discarding = s->discard_cr = false;
            return true;
        }
        at = slice_find(*in, '\r');
        s->discard_cr = at >= 0;
        slice_advance(in, at >= 0 ? (size_t)at + 1 : in->len);
    }
    return false;
}

/* How much may come without a line end. Of a command's name enough is always there to know. */
static size_t line_max(const struct smtp_server *s, struct slice in)
{
    size_t most = s->options->line_max != 0 ? s->options->line_max : LINE_SIZE_MAX;
    bool login = s->state == SERVER_AUTH
                 || ((smtp_server_offers(s) & SMTP_EXT_AUTH) && !s->authenticated
                     && slice_starts_nocase(in, SLICE_LITERAL("AUTH ")));

    return login && most < SMTP_AUTH_LINE_MAX ? SMTP_AUTH_LINE_MAX : most;
}

static enum smtp_intent complain(struct smtp_server *s, const struct smtp_reply *reply,
                                 struct buf *out)
{
    if (s->state == SERVER_AUTH)
        return smtp_server_auth_void(s, reply, out);
    smtp_server_say(s, reply, out);
    return SMTP_REPLIED;
}

/* A line that is none. Its one reply is given at once: a client that ends lines with LF alone would
 * otherwise wait for ever. But only CRLF ends it (RFC 5321 2.3.8): were the rest looked at, a relay
 * that passes LF on could be made to say commands that its user wrote. */
static enum smtp_intent bad_line(struct smtp_server *s, struct slice *in,
                                 const struct smtp_reply *reply, struct buf *out)
{
    s->discarding = true;
    s->discard_cr = false;
    (void)discard_line(s, in); /* what is missing comes later */
    return complain(s, reply, out);
}

/* The first byte of a TLS ClientHello and the like. No line end may ever come, so do not wait. */
static bool is_binary(uint8_t c)
{
    return c >= 0x80 || (c < 32 && c != '\r' && c != '\n' && c != '\t');
}

static enum smtp_intent take_line(struct smtp_server *s, struct slice *in, struct buf *out)
{
    static const struct smtp_reply no_line =
        SMTP_REPLY_INIT(500, 5, 5, 2, "Line too long, or not ended by CRLF alone");
    static const struct smtp_reply too_long =
        SMTP_REPLY_INIT(500, 5, 5, 6, "Authentication exchange line is too long");
    struct slice line;
    ptrdiff_t lf;
    size_t most;

    if (s->discarding && !discard_line(s, in))
        return SMTP_NEED_INPUT;
    if (in->len == 0)
        return SMTP_NEED_INPUT;
    if (!s->command_seen && is_binary(in->data[0])) {
        slice_advance(in, in->len);
        return HANG_UP(s, out, 554, 5, 5, 1, "This is SMTP");
    }
    most = line_max(s, *in);
    lf = slice_find(slice_head(*in, most), '\n');
    if (lf < 0 && in->len < most)
        return SMTP_NEED_INPUT;
    s->command_seen = true;
    if (lf < 0)
        return bad_line(s, in, most == SMTP_AUTH_LINE_MAX ? &too_long : &no_line, out);
    line = slice_head(*in, (size_t)lf);
    if (lf == 0 || in->data[lf - 1] != '\r') {
        slice_advance(in, (size_t)lf + 1);
        return bad_line(s, in, &no_line, out);
    }
    line.len--;
    slice_advance(in, (size_t)lf + 1);
    if (slice_find(line, '\r') >= 0 || slice_find(line, 0) >= 0) {
        return complain(s, &SMTP_REPLY(500, 5, 5, 2, "Bare CR or NUL in a command"), out);
    }
    if (s->state != SERVER_AUTH)
        return smtp_server_command(s, line, out);
    if (slice_equal(line, SLICE_LITERAL("*")))
        return complain(s, &SMTP_REPLY(501, 5, 7, 0, "Authentication cancelled"), out);
    if (line.len > SMTP_AUTH_RESPONSE_MAX)
        return complain(s, &too_long, out);
    return smtp_server_auth_line(s, line);
}

enum smtp_intent smtp_server_next(struct smtp_server *s, struct slice *in, struct buf *out)
{
    ASSERT(s->pending == 0); /* answered */
    switch ((enum smtp_server_state)s->state) {
    case SERVER_COMMAND:
    case SERVER_AUTH: return take_line(s, in, out);
    case SERVER_DATA: return smtp_server_data(s, in, out);
    case SERVER_SECURING: break; /* what is in the clear now is not for us */
    case SERVER_QUIT: return SMTP_QUIT;
    case SERVER_CLOSED: return SMTP_CLOSE;
    }
    UNREACHABLE();
}

void smtp_server_refuse_data(struct smtp_server *s, const struct smtp_reply *reply)
{
    ASSERT(s->state == SERVER_DATA && s->pending == 0);
    ASSERT(smtp_reply_class(reply) >= 4);
    if (s->data_refusal == NULL)
        s->data_refusal = reply;
}

static void answer_helo(struct smtp_server *s, const struct smtp_reply *reply, struct buf *out)
{
    struct smtp_capabilities offer = {.extensions = smtp_server_offers(s),
                                      .size_max = s->options->message_size_max};

    if (reply != NULL && smtp_reply_class(reply) != 2) {
        s->extended = s->extended_before; /* "MUST stay in the same state" (RFC 5321 4.1.4) */
        smtp_server_say(s, reply, out);
        return;
    }
    s->helo_given = true;
    smtp_server_reset(s);
    if (s->extended) {
        (void)smtp_capabilities_format(&offer, s->options->hostname, s->mechanisms, out);
    } else {
        (void)buf_append_str(out, "250 ");
        (void)buf_append_slice(out, s->options->hostname);
        (void)buf_append_str(out, "\r\n");
    }
}

static void answer_end(struct smtp_server *s, const struct smtp_reply *reply, struct buf *out)
{
    ASSERT(reply != NULL);
    smtp_server_reset(s);
    if (smtp_reply_class(reply) == 2) {
        s->messages++;
        s->errors = s->idle_commands = 0;
    }
    smtp_server_say(s, reply, out);
}

void smtp_server_answer(struct smtp_server *s, const struct smtp_reply *reply, struct buf *out)
{
    enum smtp_intent asked = (enum smtp_intent)s->pending;
    bool yes = reply == NULL || smtp_reply_class(reply) < 4;

    if (s->state == SERVER_CLOSED)
        return; /* closed from outside meanwhile, with the last word said */
    s->pending = 0;
    if (reply != NULL && reply->code == 421) {
        (void)smtp_server_hang_up(s, reply, out);
        return;
    }
    switch (asked) {
    case SMTP_CHECK_HELO: answer_helo(s, reply, out); return;
    case SMTP_CHECK_MAIL:
        s->mail_given = yes;
        smtp_server_say(s, reply != NULL ? reply : &SMTP_REPLY(250, 2, 1, 0, "Ok"), out);
        return;
    case SMTP_CHECK_RCPT:
        if (yes)
            s->recipients++;
        else
            s->recipient_refused = true;
        smtp_server_say(s, reply != NULL ? reply : &SMTP_REPLY(250, 2, 1, 5, "Ok"), out);
        return;
    case SMTP_BEGIN_DATA:
        if (yes)
            smtp_server_begin_data(s);
        smtp_server_say(
            s, reply != NULL ? reply : &SMTP_REPLY(354, 0, 0, 0, "End data with <CRLF>.<CRLF>"),
            out);
        return;
    case SMTP_END_DATA: answer_end(s, reply, out); return;
    case SMTP_STARTTLS:
        if (yes)
            s->state = SERVER_SECURING;
        smtp_server_say(s, reply != NULL ? reply : &SMTP_REPLY(220, 2, 0, 0, "Ready to start TLS"),
                        out);
        return;
    case SMTP_AUTH:
    case SMTP_AUTH_RESPONSE:
        s->authenticated = yes;
        s->state = SERVER_COMMAND;
        smtp_server_say(
            s, reply != NULL ? reply : &SMTP_REPLY(235, 2, 7, 0, "Authentication succeeded"), out);
        return;
    case SMTP_NEED_INPUT:
    case SMTP_REPLIED:
    case SMTP_BODY:
    case SMTP_RESET:
    case SMTP_AUTH_CANCEL:
    case SMTP_QUIT:
    case SMTP_CLOSE: break; /* nothing was asked */
    }
    UNREACHABLE();
}
