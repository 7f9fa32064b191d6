/* smtp_client: the session around the transactions: greeting, EHLO, waiting, QUIT, and the end. */
#include "base_assert.h"
#include "smtp_client_priv.h"

const char *smtp_client_stage_name(enum smtp_client_stage stage)
{
    switch (stage) {
    case SMTP_STAGE_GREETING: return "greeting";
    case SMTP_STAGE_EHLO: return "ehlo";
    case SMTP_STAGE_HELO: return "helo";
    case SMTP_STAGE_STARTTLS: return "starttls";
    case SMTP_STAGE_SECURE: return "secure";
    case SMTP_STAGE_AUTH: return "auth";
    case SMTP_STAGE_IDLE: return "idle";
    case SMTP_STAGE_RSET: return "rset";
    case SMTP_STAGE_MAIL: return "mail";
    case SMTP_STAGE_RCPT: return "rcpt";
    case SMTP_STAGE_DATA: return "data";
    case SMTP_STAGE_BODY: return "body";
    case SMTP_STAGE_DOT: return "dot";
    case SMTP_STAGE_QUIT: return "quit";
    case SMTP_STAGE_CLOSED: return "closed";
    }
    UNREACHABLE();
}

void smtp_client_init(struct smtp_client *c, const struct smtp_client_options *options,
                      void *text_storage, size_t text_storage_size)
{
    ASSERT(text_storage_size >= SMTP_CLIENT_STORAGE_MIN);
    *c = (struct smtp_client){.options = options, .stage = SMTP_STAGE_GREETING};
    smtp_reply_parser_init(&c->parser, text_storage, text_storage_size);
}

enum smtp_client_event smtp_client_fail(struct smtp_client *c, bool protocol)
{
    c->failure = (struct smtp_client_failure){
        .stage = c->stage,
        /* Nothing said between transactions is about a message. */
        .permanent = !protocol && smtp_reply_class(&c->reply) == 5 && c->stage != SMTP_STAGE_IDLE,
        .in_doubt = c->stage == SMTP_STAGE_DOT && !c->lone_dot,
        .protocol = protocol,
        .code = c->reply.code,
    };
    c->reply_stage = c->stage;
    c->stage = SMTP_STAGE_CLOSED;
    c->failed = true;
    return SMTP_CLIENT_FAILED;
}

enum smtp_client_event smtp_client_lost(struct smtp_client *c)
{
    ASSERT(c->sweeping == SWEEP_NONE && !c->over); /* events were left lying */
    if (c->failed)
        return SMTP_CLIENT_FAILED;
    if (c->stage == SMTP_STAGE_QUIT || c->stage == SMTP_STAGE_CLOSED) {
        c->stage = SMTP_STAGE_CLOSED;
        return SMTP_CLIENT_CLOSED;
    }
    c->reply = (struct smtp_reply){0};
    return smtp_client_fail(c, false);
}

void smtp_client_hello(struct smtp_client *c, enum smtp_client_stage stage, struct buf *out)
{
    const char *verb = stage == SMTP_STAGE_HELO ? "HELO " : c->options->lmtp ? "LHLO " : "EHLO ";

    (void)buf_append_str(out, verb);
    (void)buf_append_slice(out, c->options->hostname);
    (void)buf_append_str(out, "\r\n");
    c->stage = stage;
}

/* A line of the EHLO reply. The first is the peer's name and a greeting. */
static void take_capability(struct smtp_client *c, struct slice line)
{
    if (c->parser.lines > 1 && c->parser.code / 100 == 2)
        smtp_capabilities_parse_line(&c->capabilities, line);
}

static enum smtp_client_event take_ehlo(struct smtp_client *c, struct buf *out)
{
    unsigned class = smtp_reply_class(&c->reply);

    if (class == 2) {
        take_capability(c, c->parser.line);
        c->capabilities.extensions &= ~c->options->extensions_off;
        c->stage = SMTP_STAGE_IDLE;
        return CLIENT_GO_ON;
    }
    /* RFC 5321 3.2: a server that does not know EHLO gets HELO. LMTP has no such past. */
    if (class == 5 && !c->options->lmtp) {
        smtp_client_hello(c, SMTP_STAGE_HELO, out);
        return CLIENT_GO_ON;
    }
    return smtp_client_fail(c, class == 3);
}

static enum smtp_client_event take_reply(struct smtp_client *c, struct buf *out)
{
    unsigned class = smtp_reply_class(&c->reply);

    c->reply_stage = c->stage;
    switch (c->stage) {
    case SMTP_STAGE_GREETING:
        if (class != 2)
            return smtp_client_fail(c, class == 3);
        smtp_client_hello(c, SMTP_STAGE_EHLO, out);
        return CLIENT_GO_ON;
    case SMTP_STAGE_EHLO: return take_ehlo(c, out);
    case SMTP_STAGE_HELO:
        if (class != 2)
            return smtp_client_fail(c, class == 3);
        c->stage = SMTP_STAGE_IDLE;
        return CLIENT_GO_ON;
    case SMTP_STAGE_STARTTLS:
    case SMTP_STAGE_AUTH: return smtp_client_secure_reply(c);
    case SMTP_STAGE_SECURE: break;                               /* no byte is looked at */
    case SMTP_STAGE_IDLE: return smtp_client_fail(c, class < 4); /* nobody asked */
    case SMTP_STAGE_RSET:
    case SMTP_STAGE_MAIL:
    case SMTP_STAGE_RCPT:
    case SMTP_STAGE_DATA:
    case SMTP_STAGE_BODY:
    case SMTP_STAGE_DOT: return smtp_client_transaction_reply(c, out);
    case SMTP_STAGE_QUIT: c->stage = SMTP_STAGE_CLOSED; return SMTP_CLIENT_CLOSED;
    case SMTP_STAGE_CLOSED: break;
    }
    UNREACHABLE();
}

void smtp_client_start_sweep(struct smtp_client *c, enum smtp_client_sweep which)
{
    c->sweeping = (uint8_t)which;
    c->sweep = 0;
}

static bool in_sweep(const struct smtp_client *c, const struct smtp_client_rcpt *rcpt)
{
    switch ((enum smtp_client_sweep)c->sweeping) {
    case SWEEP_NONE: return false;
    case SWEEP_UNSENDABLE: return rcpt->unsendable && rcpt->state != SMTP_RCPT_FINAL;
    case SWEEP_ALL: return rcpt->state != SMTP_RCPT_FINAL;
    case SWEEP_TAKEN: return rcpt->state == SMTP_RCPT_TAKEN;
    }
    UNREACHABLE();
}

/* The next recipient that c->reply is the outcome of; false once there is none. */
static bool sweep_next(struct smtp_client *c)
{
    if (c->sweeping == SWEEP_NONE)
        return false;
    for (; c->sweep < c->transaction->rcpt_count; c->sweep++) {
        struct smtp_client_rcpt *rcpt = &c->transaction->rcpts[c->sweep];

        if (!in_sweep(c, rcpt))
            continue;
        rcpt->state = SMTP_RCPT_FINAL;
        rcpt->code = c->reply.code;
        c->rcpt_index = c->sweep++;
        return true;
    }
    c->sweeping = SWEEP_NONE;
    return false;
}

/* What is to be reported before more input is looked at. */
static enum smtp_client_event report(struct smtp_client *c)
{
    if (sweep_next(c))
        return SMTP_CLIENT_RCPT_RESULT;
    if (c->failed)
        return SMTP_CLIENT_FAILED;
    if (c->over) {
        c->over = false;
        c->transaction = NULL;
        c->stage = SMTP_STAGE_IDLE;
        return SMTP_CLIENT_DONE;
    }
    if (c->stage == SMTP_STAGE_CLOSED)
        return SMTP_CLIENT_CLOSED;
    if (c->hang_up)
        return smtp_client_fail(c, false);
    return CLIENT_GO_ON;
}

enum smtp_client_event smtp_client_next(struct smtp_client *c, struct slice *in, struct buf *out)
{
    for (;;) {
        enum smtp_client_event event = report(c);
        struct smtp_reply reply;

        if (event != CLIENT_GO_ON)
            return event;
        if (c->stage == SMTP_STAGE_SECURE && in->len > 0) {
            c->reply = (struct smtp_reply){0};
            return smtp_client_fail(c, true);
        }
        switch (smtp_reply_parse(&c->parser, in, &reply)) {
        case SMTP_REPLY_MORE:
            return c->stage == SMTP_STAGE_IDLE ? SMTP_CLIENT_READY : SMTP_CLIENT_NEED_INPUT;
        case SMTP_REPLY_LINE:
            /* There are more capabilities than the storage holds, and none is needed twice. */
            if (c->stage == SMTP_STAGE_EHLO) {
                take_capability(c, c->parser.line);
                smtp_reply_parser_forget(&c->parser);
            }
            break;
        case SMTP_REPLY_MALFORMED:
            c->reply = (struct smtp_reply){.text = c->parser.line};
            return smtp_client_fail(c, true);
        case SMTP_REPLY_DONE:
            c->reply = reply;
            event = take_reply(c, out);
            if (event == SMTP_CLIENT_STARTTLS_READY && in->len > 0)
                break; /* written ahead: not to be said READY about */
            if (event != CLIENT_GO_ON)
                return event;
            break;
        }
    }
}

void smtp_client_quit(struct smtp_client *c, struct buf *out)
{
    ASSERT(c->stage == SMTP_STAGE_IDLE && !c->failed);
    (void)buf_append_str(out, "QUIT\r\n");
    c->stage = SMTP_STAGE_QUIT;
}
