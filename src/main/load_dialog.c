/* load_dialog: see the header. */
#include "load_dialog.h"

#include "base_assert.h"
#include "load_tls.h"

/* Up to here a message has left when its send is submitted, for what is measured. */
enum { SENT_AT_ONCE = 65536 };

/* ---- messages -------------------------------------------------------------------------------- */

void load_dialog_init(struct load_session *s)
{
    smtp_reply_parser_init(&s->parser, s->storage, sizeof(s->storage));
    s->offers = (struct smtp_capabilities){0};
    s->extended = s->shut = s->broken = false;
    s->here = 0;
    s->want = LOAD_WANT_NOTHING;
}

void load_dialog_message_begins(struct load_session *s)
{
    s->has_message = true;
    s->mail_taken = s->dot_sent = false;
    s->recipients_answered = s->recipients_taken = 0;
    s->mark.number++;
}

void load_dialog_message_over(struct load_session *s, enum load_outcome outcome)
{
    static const char *const names[] = {
        [LOAD_OUTCOME_ACCEPTED] = "accepted",
        [LOAD_OUTCOME_REFUSED] = "refused",
        [LOAD_OUTCOME_UNKNOWN] = "unknown",
        [LOAD_OUTCOME_UNSENT] = "unsent",
    };
    struct load_stats *stats = &s->worker->stats;

    ASSERT(s->has_message);
    s->has_message = false;
    s->here++;
    switch (outcome) {
    case LOAD_OUTCOME_ACCEPTED: stats->accepted++; break;
    case LOAD_OUTCOME_REFUSED: stats->refused++; break;
    case LOAD_OUTCOME_UNKNOWN: stats->unknown++; break;
    case LOAD_OUTCOME_UNSENT: stats->unsent++; break;
    }
    load_worker_record(s->worker, &s->mark, names[outcome]);
    /* A sink takes a gap in the numbers for a loss: what never left us leaves none. */
    if (outcome == LOAD_OUTCOME_REFUSED || outcome == LOAD_OUTCOME_UNSENT)
        s->mark.number--;
}

/* ---- output ---------------------------------------------------------------------------------- */

static bool pipelines(const struct load_session *s)
{
    return s->worker->run->options->pipeline && (s->offers.extensions & SMTP_EXT_PIPELINING) != 0;
}

static void append_mail(struct load_session *s)
{
    const struct load_mail *mail = &s->worker->run->mail;
    const struct load_options *o = mail->options;

    (void)buf_append_str(&s->out, "MAIL FROM:<");
    if (strcmp(o->from, "<>") != 0)
        load_mail_address(mail, o->from, s->serial, &s->out);
    (void)buf_append_byte(&s->out, '>');
    if ((s->offers.extensions & SMTP_EXT_SIZE) != 0) {
        (void)buf_append_str(&s->out, " SIZE=");
        (void)buf_append_u64(&s->out, load_mail_size(mail, s->serial));
    }
    if (o->eight_bit && (s->offers.extensions & SMTP_EXT_8BITMIME) != 0)
        (void)buf_append_str(&s->out, " BODY=8BITMIME");
    (void)buf_append_str(&s->out, "\r\n");
}

static void append_rcpt(struct load_session *s, uint64_t index)
{
    const struct load_mail *mail = &s->worker->run->mail;

    (void)buf_append_str(&s->out, "RCPT TO:<");
    load_mail_address(mail, mail->options->to, s->serial * mail->options->recipients + index,
                      &s->out);
    (void)buf_append_str(&s->out, ">\r\n");
}

static void make_envelope(struct load_session *s)
{
    uint64_t recipients = s->worker->run->options->recipients;

    append_mail(s);
    if (!pipelines(s))
        return;
    for (uint64_t i = 0; i < recipients; i++)
        append_rcpt(s, i);
    (void)buf_append_str(&s->out, "DATA\r\n");
}

static int make_body(struct load_session *s)
{
    struct load_worker *w = s->worker;
    const struct load_body *body = load_mail_body(&w->run->mail, s->serial);
    size_t rest;

    rest = load_mail_make(&w->run->mail, s->serial, load_worker_date(w), &s->mark, &s->out);
    s->pieces[0] = (struct iovec){s->out.data, rest};
    s->pieces[1] = (struct iovec){(void *)(uintptr_t)body->wire.data, body->wire.len};
    s->pieces[2] = (struct iovec){s->out.data + rest, buf_len(&s->out) - rest};
    s->dot_sent = true;
    s->dot_ns = io_now_ns(w->io);
    return 3;
}

void load_dialog_sent(struct load_session *s, size_t count)
{
    if (s->stage == LOAD_STAGE_DOT && count > SENT_AT_ONCE)
        s->dot_ns = io_now_ns(s->worker->io);
}

int load_dialog_output(struct load_session *s, struct slice *out_bytes)
{
    enum load_want want = (enum load_want)s->want;
    enum load_stage stage = LOAD_STAGE_NONE;
    int pieces = 0;

    s->want = LOAD_WANT_NOTHING;
    switch (want) {
    case LOAD_WANT_EHLO:
    case LOAD_WANT_HELO:
        (void)buf_append_str(&s->out, want == LOAD_WANT_EHLO ? "EHLO " : "HELO ");
        (void)buf_append_str(&s->out, s->worker->run->options->helo);
        (void)buf_append_str(&s->out, "\r\n");
        s->extended = want == LOAD_WANT_EHLO;
        stage = LOAD_STAGE_EHLO;
        break;
    case LOAD_WANT_STARTTLS:
        (void)buf_append_str(&s->out, "STARTTLS\r\n");
        stage = LOAD_STAGE_STARTTLS;
        break;
    case LOAD_WANT_ENVELOPE:
        make_envelope(s);
        stage = LOAD_STAGE_MAIL;
        break;
    case LOAD_WANT_RCPT:
        append_rcpt(s, s->recipients_answered);
        stage = LOAD_STAGE_RCPT;
        break;
    case LOAD_WANT_DATA:
        (void)buf_append_str(&s->out, "DATA\r\n");
        stage = LOAD_STAGE_DATA;
        break;
    case LOAD_WANT_BODY:
        pieces = make_body(s);
        stage = LOAD_STAGE_DOT;
        break;
    case LOAD_WANT_DOT:
        (void)buf_append_str(&s->out, ".\r\n");
        stage = LOAD_STAGE_DOT;
        break;
    case LOAD_WANT_RSET:
        (void)buf_append_str(&s->out, "RSET\r\n");
        stage = LOAD_STAGE_RSET;
        break;
    case LOAD_WANT_QUIT:
        (void)buf_append_str(&s->out, "QUIT\r\n");
        stage = LOAD_STAGE_QUIT;
        break;
    case LOAD_WANT_NOTHING: UNREACHABLE();
    }
    load_session_waits(s, stage);
    *out_bytes = buf_slice(&s->out);
    return pieces;
}

/* ---- replies ---------------------------------------------------------------------------------- */

/* An answer that is not the one that was hoped for, to be told apart in the report. */
static void note_refusal(struct load_session *s, const struct smtp_reply *reply)
{
    load_stats_error(&s->worker->stats, LOAD_ERROR_REPLY, (enum load_stage)s->stage, reply->code,
                     reply->text);
}

static void want(struct load_session *s, enum load_want what)
{
    s->want = (uint8_t)what;
}

static void message_refused(struct load_session *s)
{
    bool reset = s->mail_taken && s->stage != LOAD_STAGE_DOT;

    load_dialog_message_over(s, LOAD_OUTCOME_REFUSED);
    if (reset)
        want(s, LOAD_WANT_RSET);
    else
        load_session_next(s);
}

static void on_mail(struct load_session *s, const struct smtp_reply *reply)
{
    s->mail_taken = smtp_reply_class(reply) == 2;
    if (!s->mail_taken)
        note_refusal(s, reply);
    if (pipelines(s))
        s->stage = LOAD_STAGE_RCPT;
    else if (s->mail_taken)
        want(s, LOAD_WANT_RCPT);
    else
        message_refused(s);
}

static void on_rcpt(struct load_session *s, const struct smtp_reply *reply)
{
    s->recipients_answered++;
    if (smtp_reply_class(reply) == 2) {
        s->recipients_taken++;
    } else if (s->mail_taken) { /* else the sender was to blame, and was counted */
        s->worker->stats.recipients_refused++;
        note_refusal(s, reply);
    }
    if (s->recipients_answered < s->worker->run->options->recipients) {
        if (!pipelines(s))
            want(s, LOAD_WANT_RCPT);
    } else if (pipelines(s)) {
        s->stage = LOAD_STAGE_DATA;
    } else if (s->recipients_taken > 0) {
        want(s, LOAD_WANT_DATA);
    } else {
        message_refused(s);
    }
}

static void on_data(struct load_session *s, const struct smtp_reply *reply)
{
    bool hoped = s->recipients_taken > 0;

    if (reply->code == 354) {
        /* RFC 2920 3.1: a server may say so though it took no recipient. */
        want(s, hoped ? LOAD_WANT_BODY : LOAD_WANT_DOT);
        return;
    }
    if (hoped)
        note_refusal(s, reply);
    message_refused(s);
}

static void on_dot(struct load_session *s, const struct smtp_reply *reply)
{
    struct load_stats *stats = &s->worker->stats;
    uint64_t now = io_now_ns(s->worker->io);

    if (!s->dot_sent) { /* the empty message, which nobody wanted */
        message_refused(s);
        return;
    }
    if (smtp_reply_class(reply) != 2) {
        note_refusal(s, reply);
        message_refused(s);
        return;
    }
    tool_histogram_add(&stats->dot, now - s->dot_ns);
    tool_histogram_add(&stats->message, now - s->begin_ns);
    stats->recipients += s->recipients_taken;
    stats->bytes += load_mail_body(&s->worker->run->mail, s->serial)->wire.len + buf_len(&s->out);
    if (s->worker->run->options->progress)
        (void)atomic_fetch_add_explicit(&s->worker->run->accepted_now, 1, memory_order_relaxed);
    load_dialog_message_over(s, LOAD_OUTCOME_ACCEPTED);
    load_session_next(s);
}

static void on_greeting(struct load_session *s, const struct smtp_reply *reply)
{
    struct load_stats *stats = &s->worker->stats;

    if (reply->code != 220) {
        load_session_break(s, LOAD_ERROR_REPLY, reply->code, reply->text);
        return;
    }
    stats->connections++;
    tool_histogram_add(&stats->connect, io_now_ns(s->worker->io) - s->connect_ns);
    want(s, LOAD_WANT_EHLO);
}

static void on_ehlo(struct load_session *s, const struct smtp_reply *reply)
{
    if (smtp_reply_class(reply) == 2)
        want(s, s->worker->run->options->tls == LOAD_TLS_STARTTLS && s->tls == NULL
                    ? LOAD_WANT_STARTTLS
                    : LOAD_WANT_ENVELOPE);
    else if (s->extended && smtp_reply_class(reply) == 5)
        want(s, LOAD_WANT_HELO); /* RFC 5321 3.2 */
    else
        load_session_break(s, LOAD_ERROR_REPLY, reply->code, reply->text);
}

static void on_starttls(struct load_session *s, const struct smtp_reply *reply)
{
    if (reply->code != 220) {
        load_session_break(s, LOAD_ERROR_REPLY, reply->code, reply->text);
        return;
    }
    load_session_waits(s, LOAD_STAGE_TLS);
    load_tls_begin(s);
}

void load_dialog_secured(struct load_session *s)
{
    if (s->worker->run->options->tls == LOAD_TLS_IMPLICIT) {
        load_session_waits(s, LOAD_STAGE_GREETING);
        return;
    }
    s->offers = (struct smtp_capabilities){0}; /* RFC 3207 4.2 */
    want(s, LOAD_WANT_EHLO);
}

static void on_reply(struct load_session *s, const struct smtp_reply *reply)
{
    s->worker->stats.replies[reply->code]++;
    if (reply->code == 421 && s->stage != LOAD_STAGE_QUIT) {
        /* RFC 5321 3.8: the server is about to close, whatever was asked. To a message that was begun
         * it is a clear no. */
        if (s->has_message && s->stage >= LOAD_STAGE_MAIL && s->stage <= LOAD_STAGE_DOT)
            load_dialog_message_over(s, LOAD_OUTCOME_REFUSED);
        load_session_break(s, LOAD_ERROR_REPLY, reply->code, reply->text);
        return;
    }
    switch ((enum load_stage)s->stage) {
    case LOAD_STAGE_GREETING: on_greeting(s, reply); return;
    case LOAD_STAGE_EHLO: on_ehlo(s, reply); return;
    case LOAD_STAGE_STARTTLS: on_starttls(s, reply); return;
    case LOAD_STAGE_MAIL: on_mail(s, reply); return;
    case LOAD_STAGE_RCPT: on_rcpt(s, reply); return;
    case LOAD_STAGE_DATA: on_data(s, reply); return;
    case LOAD_STAGE_DOT: on_dot(s, reply); return;
    case LOAD_STAGE_RSET: load_session_next(s); return;
    case LOAD_STAGE_QUIT: load_session_end(s); return;
    case LOAD_STAGE_CONNECT:
    case LOAD_STAGE_TLS:
    case LOAD_STAGE_NONE:
        load_session_break(s, LOAD_ERROR_PROTOCOL, 0, SLICE_LITERAL("a reply to nothing"));
        return;
    }
    UNREACHABLE();
}

void load_dialog_input(struct load_session *s, struct slice in)
{
    struct smtp_reply reply;

    while (in.len > 0 && s->state != LOAD_CLOSING) {
        /* All that was sent is answered: what comes now belongs to nothing. */
        if (s->want != LOAD_WANT_NOTHING)
            s->stage = LOAD_STAGE_NONE;
        switch (smtp_reply_parse(&s->parser, &in, &reply)) {
        case SMTP_REPLY_MORE: return;
        case SMTP_REPLY_LINE:
            if (s->stage == LOAD_STAGE_EHLO && s->extended)
                smtp_capabilities_parse_line(&s->offers, s->parser.line);
            smtp_reply_parser_forget(&s->parser);
            break;
        case SMTP_REPLY_DONE:
            if (s->stage == LOAD_STAGE_EHLO && s->extended && smtp_reply_class(&reply) == 2)
                smtp_capabilities_parse_line(&s->offers, s->parser.line);
            on_reply(s, &reply);
            break;
        case SMTP_REPLY_MALFORMED:
            load_session_break(s, LOAD_ERROR_PROTOCOL, 0, SLICE_LITERAL("not a reply"));
            return;
        }
    }
}
