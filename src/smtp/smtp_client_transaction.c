/*
 * smtp_client_transaction: MAIL, RCPT..., DATA, the body. Writing runs ahead of reading by a window
 * of commands (one, without PIPELINING); the n-th reply answers the n-th command, so two counters
 * are the whole bookkeeping (RFC 2920 3.1).
 */
#include "base_assert.h"
#include "smtp_address.h"
#include "smtp_client_priv.h"
#include "smtp_dsn.h"

/* Commands under way at once: what they take in `out` stays below 32 KiB, and a peer that reads
 * nothing while it cannot write is not filled up (RFC 2920 3.1 on send windows). An ORCPT makes a command
 * three times as long as it could be otherwise, so it waits for a window that is rather empty. */
enum { WINDOW = 64, WINDOW_ORCPT = 24 };

/* Commands are counted: 0 is MAIL, then a RCPT each, then DATA, or the RSET of a call-out. */
static size_t data_command(const struct smtp_client *c)
{
    return c->transaction->rcpt_count + 1;
}

/* The first command from `command` on that is to be said at all. */
static size_t skip_unsendable(const struct smtp_client *c, size_t command)
{
    while (command >= 1 && command < data_command(c)
           && c->transaction->rcpts[command - 1].unsendable)
        command++;
    return command;
}

static bool has(const struct smtp_client *c, enum smtp_extension extension)
{
    return c->capabilities.extensions & extension;
}

/* Whether there is a command to write: after a refusal there may be none. */
static bool more_to_say(const struct smtp_client *c)
{
    if (c->mail_refused || c->sent > data_command(c))
        return false;
    /* DATA needs a recipient; while RCPTs are unanswered, hope for one. */
    return c->sent < data_command(c) || c->transaction->verify || c->taken > 0 || c->waiting > 0;
}

/* What DSN adds stays within what RFC 3461 4 adds to the length of command lines, as what is not valid is
 * not said: a message that was stored is no reason to break a line. */
static void append_envelope_dsn(const struct smtp_transaction *t, struct buf *out)
{
    switch (t->ret) {
    case SMTP_RET_NONE: break;
    case SMTP_RET_FULL: (void)buf_append_str(out, " RET=FULL"); break;
    case SMTP_RET_HDRS: (void)buf_append_str(out, " RET=HDRS"); break;
    }
    if (!smtp_envid_valid(t->envid))
        return;
    (void)buf_append_str(out, " ENVID=");
    (void)buf_append_slice(out, t->envid);
}

static void append_rcpt_dsn(const struct smtp_client_rcpt *rcpt, struct buf *out)
{
    uint8_t room[SMTP_ORCPT_MAX];
    struct buf orcpt = {.data = room, .capacity = sizeof(room), .limit = sizeof(room)};

    if (rcpt->notify != 0) {
        (void)buf_append_str(out, " NOTIFY=");
        (void)smtp_notify_format(rcpt->notify, out);
    }
    if (!smtp_orcpt_valid(rcpt->orcpt, SMTP_PATH_UTF8)
        || !smtp_orcpt_append_7bit(rcpt->orcpt, &orcpt))
        return;
    (void)buf_append_str(out, " ORCPT=");
    (void)buf_append_slice(out, buf_slice(&orcpt));
}

static void append_mail(const struct smtp_client *c, struct buf *out)
{
    const struct smtp_transaction *t = c->transaction;

    (void)buf_append_str(out, "MAIL FROM:<");
    (void)buf_append_slice(out, t->sender);
    (void)buf_append_byte(out, '>');
    if (t->size > 0 && has(c, SMTP_EXT_SIZE)) {
        (void)buf_append_str(out, " SIZE=");
        (void)buf_append_u64(out, t->size);
    }
    if (t->body_8bit && has(c, SMTP_EXT_8BITMIME))
        (void)buf_append_str(out, " BODY=8BITMIME");
    if (t->require_tls)
        (void)buf_append_str(out, " REQUIRETLS");
    if (has(c, SMTP_EXT_DSN))
        append_envelope_dsn(t, out);
    (void)buf_append_str(out, "\r\n");
}

static void append_rcpt(const struct smtp_client *c, const struct smtp_client_rcpt *rcpt,
                        struct buf *out)
{
    (void)buf_append_str(out, "RCPT TO:<");
    (void)buf_append_slice(out, rcpt->address);
    (void)buf_append_byte(out, '>');
    if (has(c, SMTP_EXT_DSN))
        append_rcpt_dsn(rcpt, out);
    (void)buf_append_str(out, "\r\n");
}

/* How many commands may be unanswered when the next is written. */
static size_t window(const struct smtp_client *c)
{
    if (!has(c, SMTP_EXT_PIPELINING))
        return 1;
    if (has(c, SMTP_EXT_DSN) && c->sent > 0 && c->sent < data_command(c)
        && c->transaction->rcpts[c->sent - 1].orcpt.len > 0)
        return WINDOW_ORCPT;
    return WINDOW;
}

static void send_more(struct smtp_client *c, struct buf *out)
{
    const struct smtp_transaction *t = c->transaction;

    while (more_to_say(c) && c->waiting < window(c)) {
        if (c->sent == 0)
            append_mail(c, out);
        else if (c->sent == data_command(c))
            (void)buf_append_str(out, t->verify ? "RSET\r\n" : "DATA\r\n");
        else
            append_rcpt(c, &t->rcpts[c->sent - 1], out);
        c->sent = skip_unsendable(c, c->sent + 1);
        c->waiting++;
    }
}

/* Goes on writing, and names what the next reply answers. */
static void proceed(struct smtp_client *c, struct buf *out)
{
    send_more(c, out);
    if (c->waiting == 0)
        c->over = true;
    else if (c->answered == 0)
        c->stage = SMTP_STAGE_MAIL;
    else if (c->answered < data_command(c))
        c->stage = SMTP_STAGE_RCPT;
    else
        c->stage = c->transaction->verify ? SMTP_STAGE_RSET : SMTP_STAGE_DATA;
}

static bool sendable(struct slice address)
{
    for (size_t i = 0; i < address.len; i++)
        if (address.data[i] >= 0x80) /* would need SMTPUTF8 (RFC 6531) */
            return false;
    return smtp_address_safe(address);
}

/* What makes it useless to ask the server. */
static bool refuse_locally(struct smtp_client *c)
{
    const struct smtp_transaction *t = c->transaction;
    uint64_t size_max = has(c, SMTP_EXT_SIZE) ? c->capabilities.size_max : 0;

    if (!sendable(t->sender))
        c->reply = SMTP_REPLY(553, 5, 1, 7, "The sender's address cannot be sent");
    else if (size_max != 0 && t->size > size_max)
        c->reply = SMTP_REPLY(552, 5, 3, 4, "Larger than the server takes"); /* RFC 1870 6.1 */
    else if (t->body_8bit && c->options->refuse_8bit && !has(c, SMTP_EXT_8BITMIME))
        c->reply = SMTP_REPLY(554, 5, 6, 3, "8-bit text, and the server takes none"); /* 6152 3 */
    else if (t->require_tls && !(c->tls_active && has(c, SMTP_EXT_REQUIRETLS)))
        c->reply =
            SMTP_REPLY(550, 5, 7, 30, "REQUIRETLS is needed and not offered"); /* 8689 4.2.1 */
    else
        return false;
    return true;
}

void smtp_client_begin(struct smtp_client *c, const struct smtp_transaction *t, struct buf *out)
{
    size_t unsendable = 0;

    ASSERT(c->stage == SMTP_STAGE_IDLE && c->transaction == NULL);
    ASSERT(t->rcpt_count > 0);
    c->transaction = t;
    c->sent = c->answered = c->waiting = c->taken = 0;
    c->mail_refused = c->lone_dot = false;
    c->reply_stage = c->stage = SMTP_STAGE_MAIL;
    for (size_t i = 0; i < t->rcpt_count; i++) {
        struct smtp_client_rcpt *rcpt = &t->rcpts[i];

        rcpt->state = SMTP_RCPT_PENDING;
        rcpt->code = 0;
        rcpt->unsendable = rcpt->address.len == 0 || !sendable(rcpt->address);
        unsendable += rcpt->unsendable;
    }
    if (refuse_locally(c)) {
        smtp_client_start_sweep(c, SWEEP_ALL);
        c->over = true;
        return;
    }
    if (unsendable > 0) {
        c->reply = SMTP_REPLY(553, 5, 1, 3, "The address cannot be sent");
        smtp_client_start_sweep(c, SWEEP_UNSENDABLE);
        c->over = unsendable == t->rcpt_count;
        if (c->over)
            return;
    }
    if (c->need_rset) {
        (void)buf_append_str(out, "RSET\r\n");
        c->waiting = 1;
        if (has(c, SMTP_EXT_PIPELINING))
            send_more(c, out);
        c->stage = SMTP_STAGE_RSET;
        return;
    }
    proceed(c, out);
}

static enum smtp_client_event take_rcpt(struct smtp_client *c, size_t index)
{
    struct smtp_client_rcpt *rcpt = &c->transaction->rcpts[index];

    if (smtp_reply_class(&c->reply) == 2 && !c->transaction->verify) {
        rcpt->state = SMTP_RCPT_TAKEN;
        c->taken++;
        return CLIENT_GO_ON;
    }
    /* RFC 5321 4.5.3.1.10: an old server says 552 for "enough recipients for now". With an enhanced
     * code we know better what it means: 5.2.2 is a full mailbox. */
    if (c->reply.code == 552 && c->taken > 0
        && (c->reply.enhanced[0] == 0
            || (c->reply.enhanced[1] == 5 && c->reply.enhanced[2] == 3))) {
        c->reply.code = 452;
        if (c->reply.enhanced[0] != 0)
            c->reply.enhanced[0] = 4;
    }
    rcpt->state = SMTP_RCPT_FINAL;
    rcpt->code = c->reply.code;
    c->rcpt_index = index;
    return SMTP_CLIENT_RCPT_RESULT;
}

static enum smtp_client_event take_data(struct smtp_client *c, struct buf *out)
{
    if (smtp_reply_class(&c->reply) != 3) {
        smtp_client_start_sweep(c, SWEEP_TAKEN);
        c->over = true;
        return CLIENT_GO_ON;
    }
    if (c->taken > 0) {
        c->stage = SMTP_STAGE_BODY;
        return SMTP_CLIENT_SEND_BODY;
    }
    /* DATA may be accepted though no RCPT was: then a single dot is due (RFC 2920 3.1). Not so in LMTP,
     * where it MUST fail, so that nobody knows how many replies would follow (RFC 2033 4.2). */
    if (c->options->lmtp)
        return smtp_client_fail(c, true);
    (void)buf_append_str(out, ".\r\n");
    c->lone_dot = true;
    c->stage = SMTP_STAGE_DOT;
    return CLIENT_GO_ON;
}

/* A reply to MAIL, RCPT or DATA. */
static enum smtp_client_event take_command_reply(struct smtp_client *c, struct buf *out)
{
    size_t command = c->answered;
    unsigned class = smtp_reply_class(&c->reply);
    enum smtp_client_event event = CLIENT_GO_ON;

    if (c->reply.code == 421 || (class == 3 && command != data_command(c))
        || (class == 2 && command == data_command(c)))
        return smtp_client_fail(c, class != 4);
    ASSERT(c->waiting > 0);
    c->waiting--;
    c->answered = skip_unsendable(c, command + 1);
    if (command == data_command(c))
        return take_data(c, out);
    if (command == 0) {
        c->mail_refused = class != 2;
        c->need_rset = class == 2;
        if (c->mail_refused)
            smtp_client_start_sweep(c, SWEEP_ALL);
    } else if (!c->mail_refused) { /* else the reply says only that there was no MAIL */
        event = take_rcpt(c, command - 1);
    }
    proceed(c, out);
    return event;
}

/* LMTP: one reply for each recipient that was accepted, in their order (RFC 2033 4.2). */
static enum smtp_client_event take_lmtp_outcome(struct smtp_client *c)
{
    const struct smtp_transaction *t = c->transaction;

    while (t->rcpts[c->sweep].state != SMTP_RCPT_TAKEN)
        c->sweep++;
    c->rcpt_index = c->sweep++;
    ASSERT(c->rcpt_index < t->rcpt_count);
    t->rcpts[c->rcpt_index].state = SMTP_RCPT_FINAL;
    t->rcpts[c->rcpt_index].code = c->reply.code;
    c->over = --c->taken == 0;
    return SMTP_CLIENT_RCPT_RESULT;
}

static enum smtp_client_event take_outcome(struct smtp_client *c)
{
    if (smtp_reply_class(&c->reply) == 3)
        return smtp_client_fail(c, true);
    c->need_rset = false;
    if (c->options->lmtp)
        return take_lmtp_outcome(c);
    c->hang_up = c->reply.code == 421;
    c->over = true;
    smtp_client_start_sweep(c, SWEEP_TAKEN);
    return CLIENT_GO_ON;
}

enum smtp_client_event smtp_client_transaction_reply(struct smtp_client *c, struct buf *out)
{
    unsigned class = smtp_reply_class(&c->reply);

    if (c->stage == SMTP_STAGE_RSET) {
        if (class != 2)
            return smtp_client_fail(c, class == 3);
        c->waiting--;
        c->need_rset = false;
        if (c->answered == data_command(c)) /* the end of a call-out */
            c->over = true;
        else
            proceed(c, out);
        return CLIENT_GO_ON;
    }
    /* Before the end of the body only bad news may come, and then the connection has to go, as the
     * rest of the body would be taken for commands. */
    if (c->stage == SMTP_STAGE_BODY)
        return smtp_client_fail(c, class < 4);
    if (c->stage == SMTP_STAGE_DOT)
        return take_outcome(c);
    return take_command_reply(c, out);
}

void smtp_client_body_sent(struct smtp_client *c)
{
    if (c->failed)
        return; /* the server gave up meanwhile */
    ASSERT(c->stage == SMTP_STAGE_BODY);
    c->stage = SMTP_STAGE_DOT;
    c->sweep = 0;
}
