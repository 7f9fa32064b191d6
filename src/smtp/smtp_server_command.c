/* smtp_server_command: what each verb does (RFC 5321 4.1.1), and when it may (4.1.4). */
#include "base_assert.h"
#include "smtp_server_priv.h"

enum { RECIPIENTS_MAX = 1000, ERRORS_MAX = 20, IDLE_COMMANDS_MAX = 200 };

typedef enum smtp_intent handler(struct smtp_server *s, struct slice argument, struct buf *out);

/* A name without blanks and control characters. Windows machines have underscores in theirs, and
 * some say an address without brackets: RFC 5321 4.1.4 forbids refusing those, policy may. */
static bool is_helo_name(struct slice name)
{
    if (name.len == 0 || name.len > SMTP_DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] <= 32 || name.data[i] >= 127)
            return false;
    return true;
}

static enum smtp_intent greet(struct smtp_server *s, struct slice argument, bool extended,
                              struct buf *out)
{
    if (!is_helo_name(argument)) {
        SAY(s, out, 501, 5, 5, 4, "A domain or an address literal is needed");
        return SMTP_REPLIED;
    }
    s->helo = argument;
    s->extended_before = s->extended;
    s->extended = extended;
    return smtp_server_ask(s, SMTP_CHECK_HELO);
}

static enum smtp_intent on_ehlo(struct smtp_server *s, struct slice argument, struct buf *out)
{
    return greet(s, argument, true, out);
}

static enum smtp_intent on_helo(struct smtp_server *s, struct slice argument, struct buf *out)
{
    return greet(s, argument, false, out);
}

/* Takes "FROM:" or "TO:" and the path; says what is wrong with them and answers false. */
static bool take_path(struct smtp_server *s, const char *word, unsigned flags,
                      struct slice *argument, struct buf *out)
{
    bool forward = flags & SMTP_PATH_POSTMASTER;
    enum smtp_address_result result = SMTP_ADDRESS_SYNTAX;

    if (slice_starts_nocase(*argument, slice_str(word))) {
        slice_advance(argument, strlen(word));
        /* A blank behind the colon is against RFC 5321 3.3, widespread, and harmless. */
        *argument = slice_trim(*argument);
        result = smtp_path_parse(argument, flags, &s->path);
        if (result == SMTP_ADDRESS_OK && argument->len > 0 && argument->data[0] != ' '
            && argument->data[0] != '\t')
            result = SMTP_ADDRESS_SYNTAX;
    }
    switch (result) {
    case SMTP_ADDRESS_OK: return true;
    case SMTP_ADDRESS_UTF8:
        SAY(s, out, 553, 5, 6, 7, "Addresses beyond ASCII are not supported");
        return false;
    case SMTP_ADDRESS_TOO_LONG:
        if (forward)
            SAY(s, out, 501, 5, 1, 3, "Address too long");
        else
            SAY(s, out, 501, 5, 1, 7, "Address too long");
        return false;
    case SMTP_ADDRESS_SYNTAX:
        if (forward)
            SAY(s, out, 501, 5, 1, 3, "Syntax: RCPT TO:<address>");
        else
            SAY(s, out, 501, 5, 1, 7, "Syntax: MAIL FROM:<address>");
        return false;
    }
    UNREACHABLE();
}

/* After HELO no extension is in force (RFC 5321 2.2.1). REQUIRETLS in the clear has its own answer. */
static uint32_t params_in_force(const struct smtp_server *s)
{
    return s->extended ? smtp_server_offers(s) | (s->options->extensions & SMTP_EXT_REQUIRETLS) : 0;
}

void smtp_server_params(const struct smtp_server *s, struct smtp_params *out)
{
    enum smtp_verb verb = s->pending == SMTP_CHECK_MAIL ? SMTP_VERB_MAIL : SMTP_VERB_RCPT;
    enum smtp_params_result result;

    ASSERT(s->pending == SMTP_CHECK_MAIL || s->pending == SMTP_CHECK_RCPT);
    result = smtp_params_parse(verb, params_in_force(s), s->params, out);
    ASSERT(result == SMTP_PARAMS_OK); /* or it would not have been asked about */
}

static bool take_params(struct smtp_server *s, enum smtp_verb verb, struct slice text,
                        struct smtp_params *params, struct buf *out)
{
    switch (smtp_params_parse(verb, params_in_force(s), text, params)) {
    case SMTP_PARAMS_OK: s->params = text; return true;
    case SMTP_PARAMS_SYNTAX: SAY(s, out, 501, 5, 5, 4, "Parameter syntax"); return false;
    case SMTP_PARAMS_VALUE: SAY(s, out, 501, 5, 5, 4, "Parameter value"); return false;
    case SMTP_PARAMS_UNKNOWN: SAY(s, out, 555, 5, 5, 4, "Parameter not known"); return false;
    }
    UNREACHABLE();
}

static enum smtp_intent on_mail(struct smtp_server *s, struct slice argument, struct buf *out)
{
    uint64_t size_max = s->options->message_size_max;
    struct smtp_params params;

    if (s->mail_given) {
        SAY(s, out, 503, 5, 5, 1, "Sender already given");
        return SMTP_REPLIED;
    }
    if (s->options->messages_max != 0 && s->messages >= s->options->messages_max)
        return HANG_UP(s, out, 421, 4, 7, 0, "Enough messages on this connection");
    if (!take_path(s, "FROM:", SMTP_PATH_NULL, &argument, out)
        || !take_params(s, SMTP_VERB_MAIL, argument, &params, out))
        return SMTP_REPLIED;
    if (size_max != 0 && params.size > size_max) {
        SAY(s, out, 552, 5, 3, 4, "Message too big"); /* RFC 1870 6.1 */
        return SMTP_REPLIED;
    }
    if (params.require_tls && !s->tls_active) { /* RFC 8689 2 */
        SAY(s, out, 530, 5, 7, 10, "REQUIRETLS needs TLS");
        return SMTP_REPLIED;
    }
    return smtp_server_ask(s, SMTP_CHECK_MAIL);
}

static enum smtp_intent on_rcpt(struct smtp_server *s, struct slice argument, struct buf *out)
{
    struct smtp_params params;

    if (!s->mail_given) {
        SAY(s, out, 503, 5, 5, 1, "MAIL first");
        return SMTP_REPLIED;
    }
    if (!take_path(s, "TO:", SMTP_PATH_POSTMASTER, &argument, out)
        || !take_params(s, SMTP_VERB_RCPT, argument, &params, out))
        return SMTP_REPLIED;
    if (s->recipients >= smtp_or(s->options->recipients_max, RECIPIENTS_MAX)) {
        SAY(s, out, 452, 4, 5, 3, "Too many recipients"); /* RFC 5321 4.5.3.1.10 */
        return SMTP_REPLIED;
    }
    return smtp_server_ask(s, SMTP_CHECK_RCPT);
}

static enum smtp_intent on_data(struct smtp_server *s, struct slice argument, struct buf *out)
{
    (void)argument; /* there is none */
    if (s->recipients > 0)
        return smtp_server_ask(s, SMTP_BEGIN_DATA);
    if (s->recipient_refused)
        SAY(s, out, 554, 5, 5, 1, "No valid recipients"); /* RFC 5321 3.3 */
    else
        SAY(s, out, 503, 5, 5, 1, "RCPT first");
    return SMTP_REPLIED;
}

static enum smtp_intent on_rset(struct smtp_server *s, struct slice argument, struct buf *out)
{
    (void)argument;
    smtp_server_reset(s);
    SAY(s, out, 250, 2, 0, 0, "Ok");
    return SMTP_RESET;
}

static enum smtp_intent on_noop(struct smtp_server *s, struct slice argument, struct buf *out)
{
    (void)argument; /* may be anything: RFC 5321 4.1.1.9 */
    SAY(s, out, 250, 2, 0, 0, "Ok");
    return SMTP_REPLIED;
}

static enum smtp_intent on_vrfy(struct smtp_server *s, struct slice argument, struct buf *out)
{
    if (argument.len == 0)
        SAY(s, out, 501, 5, 5, 4, "Syntax: VRFY address");
    else
        SAY(s, out, 252, 2, 0, 0, "Send mail and see"); /* RFC 5321 3.5.3, 7.3 */
    return SMTP_REPLIED;
}

static enum smtp_intent on_help(struct smtp_server *s, struct slice argument, struct buf *out)
{
    static const char *const words[] = {
        "EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT",
        "EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT STARTTLS",
        "EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT AUTH",
        "EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT STARTTLS AUTH",
    };
    uint32_t offers = smtp_server_offers(s);
    struct smtp_reply reply = SMTP_REPLY(214, 2, 0, 0, "");

    (void)argument;
    reply.text =
        slice_str(words[((offers & SMTP_EXT_STARTTLS) != 0) + 2 * ((offers & SMTP_EXT_AUTH) != 0)]);
    smtp_server_say(s, &reply, out);
    return SMTP_REPLIED;
}

static enum smtp_intent on_quit(struct smtp_server *s, struct slice argument, struct buf *out)
{
    (void)argument;
    SAY(s, out, 221, 2, 0, 0, "Bye");
    s->state = SERVER_QUIT;
    return SMTP_QUIT;
}

static enum smtp_intent on_foreign(struct smtp_server *s, struct slice argument, struct buf *out)
{
    (void)argument;
    return HANG_UP(s, out, 554, 5, 5, 1, "This is SMTP");
}

static enum smtp_intent on_unknown(struct smtp_server *s, struct slice argument, struct buf *out)
{
    (void)argument;
    SAY(s, out, 500, 5, 5, 2, "Command not known");
    return SMTP_REPLIED;
}

static enum smtp_intent on_unimplemented(struct smtp_server *s, struct slice argument,
                                         struct buf *out)
{
    (void)argument;
    SAY(s, out, 502, 5, 5, 1, "Command not implemented");
    return SMTP_REPLIED;
}

/* An extension's verb becomes known by its row: where the extension is not offered, it is not
 * implemented. */
static const struct {
    handler *handle;
    uint32_t extension;
    bool needs_helo;
    bool no_argument;
    bool idle;       /* brings no message nearer: counted */
    bool clear;      /* also where TLS is required and not there */
    bool needs_auth; /* where a login is required */
} commands[] = {
    [SMTP_VERB_UNKNOWN] = {.handle = on_unknown, .clear = true},
    [SMTP_VERB_EHLO] = {.handle = on_ehlo, .idle = true, .clear = true},
    [SMTP_VERB_HELO] = {.handle = on_helo, .idle = true, .clear = true},
    [SMTP_VERB_MAIL] = {.handle = on_mail, .needs_helo = true, .idle = true, .needs_auth = true},
    [SMTP_VERB_RCPT] = {.handle = on_rcpt, .needs_helo = true},
    [SMTP_VERB_DATA] = {.handle = on_data, .needs_helo = true, .no_argument = true},
    [SMTP_VERB_RSET] = {.handle = on_rset, .no_argument = true, .idle = true, .clear = true},
    [SMTP_VERB_NOOP] = {.handle = on_noop, .idle = true, .clear = true},
    [SMTP_VERB_VRFY] = {.handle = on_vrfy, .idle = true, .needs_auth = true},
    [SMTP_VERB_EXPN] = {.handle = on_unimplemented, .clear = true},
    [SMTP_VERB_HELP] = {.handle = on_help, .idle = true, .clear = true},
    [SMTP_VERB_QUIT] = {.handle = on_quit, .no_argument = true, .clear = true},
    [SMTP_VERB_STARTTLS] = {.handle = smtp_server_on_starttls,
                            .extension = SMTP_EXT_STARTTLS,
                            .no_argument = true,
                            .idle = true,
                            .clear = true},
    [SMTP_VERB_AUTH] = {.handle = smtp_server_on_auth,
                        .extension = SMTP_EXT_AUTH,
                        .needs_helo = true,
                        .idle = true},
    [SMTP_VERB_BDAT] = {.handle = on_unimplemented, .extension = SMTP_EXT_CHUNKING, .clear = true},
    [SMTP_VERB_ETRN] = {.handle = on_unimplemented, .clear = true},
    [SMTP_VERB_FOREIGN] = {.handle = on_foreign, .clear = true},
};
_Static_assert(ARRAY_LEN(commands) == SMTP_VERB_COUNT, "a row for each verb");

enum smtp_intent smtp_server_command(struct smtp_server *s, struct slice line, struct buf *out)
{
    struct slice argument;
    enum smtp_verb verb = smtp_command_verb(line, &argument);

    if (verb != SMTP_VERB_QUIT) {
        if (s->errors >= smtp_or(s->options->errors_max, ERRORS_MAX))
            return HANG_UP(s, out, 421, 4, 7, 0, "Too many errors");
        if (commands[verb].idle
            && s->idle_commands++ >= smtp_or(s->options->idle_commands_max, IDLE_COMMANDS_MAX))
            return HANG_UP(s, out, 421, 4, 7, 0, "Too many commands without a message");
    }
    if (commands[verb].extension & ~s->options->extensions)
        return on_unimplemented(s, argument, out);
    if (s->options->tls_required && !s->tls_active && !commands[verb].clear) {
        SAY(s, out, 530, 5, 7, 0, "Must issue a STARTTLS command first"); /* RFC 3207 4 */
        return SMTP_REPLIED;
    }
    if (commands[verb].needs_helo && !s->helo_given) {
        SAY(s, out, 503, 5, 5, 1, "EHLO or HELO first");
        return SMTP_REPLIED;
    }
    if (commands[verb].no_argument && argument.len > 0) {
        SAY(s, out, 501, 5, 5, 4, "No argument allowed");
        return SMTP_REPLIED;
    }
    if (commands[verb].needs_auth && s->options->auth_required && !s->authenticated) {
        SAY(s, out, 530, 5, 7, 0, "Authentication required"); /* RFC 4954 6 */
        return SMTP_REPLIED;
    }
    return commands[verb].handle(s, argument, out);
}
