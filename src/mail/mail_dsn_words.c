/*
 * mail_dsn_words: the part of a notification that people read. Its words are templates, ours as well as the
 * operator's; what stands for $reasons is made here: for each recipient what happened in a sentence, what
 * can be done about it, and what the remote server said.
 */
#include "base_codec.h"
#include "mail_dsn_priv.h"
#include "mail_fold.h"

enum {
    COLUMNS = 74,
    LINE_LEN_MAX = 990, /* RFC 5322 2.1.1, with room for the end */
    SHOWN_MAX = 100,    /* recipients; the part for programs has all of them */
    SUBJECT_MAX = 200,
};

/* ---- our words ------------------------------------------------------------------------------ */

#define HELP                                   \
    "If you need help, write to $postmaster\n" \
    "and add this notification to your message.\n"

const struct mail_template *mail_dsn_own_template(enum mail_dsn_kind kind)
{
    static const struct mail_template failure = {
        .subject = SLICE_INIT("Undelivered mail returned to sender"),
        .body =
            SLICE_INIT("This is the mail system at $hostname.\n"
                       "\n"
                       "Your message could not be delivered to the recipients named below, and\n"
                       "no more attempts will be made.\n"
                       "\n"
                       "$message\n"
                       "\n"
                       "$reasons\n"
                       "\n"
                       "$returned\n"
                       "\n" HELP)};
    static const struct mail_template delay = {
        .subject = SLICE_INIT("Delayed mail (still being retried)"),
        .body =
            SLICE_INIT("This is the mail system at $hostname.\n"
                       "\n"
                       "This is only a warning: you need not send your message again.\n"
                       "\n"
                       "Your message has not reached the recipients named below in $age.\n"
                       "Delivery is tried again and again; if it fails in the end, you will be\n"
                       "told.\n"
                       "\n"
                       "$message\n"
                       "\n"
                       "$reasons\n"
                       "\n" HELP)};
    static const struct mail_template success = {
        .subject = SLICE_INIT("Successful mail delivery report"),
        .body = SLICE_INIT(
            "This is the mail system at $hostname.\n"
            "\n"
            "This is the report about your message that was asked for when it was sent.\n"
            "\n"
            "$message\n"
            "\n"
            "$reasons\n"
            "\n" HELP)};

    switch (kind) {
    case MAIL_DSN_FAILURE: return &failure;
    case MAIL_DSN_DELAY: return &delay;
    case MAIL_DSN_SUCCESS: return &success;
    }
    return &failure;
}

/* ---- paragraphs ----------------------------------------------------------------------------- */

/* Appends a paragraph, its lines indented. */
static void fill(struct buf *out, const char *indent, struct slice text)
{
    size_t column = 0;

    while (text.len > 0) {
        size_t len = 0;

        while (len < text.len && text.data[len] != ' ' && text.data[len] != '\n')
            len++;
        if (len > 0 && column > 0 && column + 1 + len > COLUMNS) {
            (void)buf_append_byte(out, '\n');
            column = 0;
        }
        if (len > 0) {
            column += column == 0 ? strlen(indent) : 1;
            (void)buf_append_str(out, column == strlen(indent) ? indent : " ");
            (void)mail_append_clean(out, slice_head(text, len), MAIL_CLEAN_UTF8);
            column += len;
        }
        slice_advance(&text, len < text.len ? len + 1 : len);
    }
    if (column > 0)
        (void)buf_append_byte(out, '\n');
}

static void fill_str(struct buf *out, const char *text)
{
    fill(out, "    ", slice_str(text));
}

static void append_date(struct buf *out, uint64_t unix_seconds)
{
    char date[DATE_TEXT_SIZE];

    date_format(unix_seconds, date);
    (void)buf_append_str(out, date);
}

static uint64_t age_s(const struct mail_dsn *d)
{
    return d->arrival != 0 && d->date > d->arrival ? d->date - d->arrival : 0;
}

/* "3 hours", "5 days": in full, the larger where it is exact enough for people. */
static void append_age(const struct mail_dsn *d, struct buf *out)
{
    uint64_t seconds = age_s(d), days = seconds / 86400, hours = seconds / 3600;
    uint64_t minutes = seconds / 60;

    if (days >= 2)
        (void)buf_printf(out, "%llu days", (unsigned long long)days);
    else if (hours >= 2)
        (void)buf_printf(out, "%llu hours", (unsigned long long)hours);
    else
        (void)buf_printf(out, "%llu minute%s", (unsigned long long)minutes,
                         minutes == 1 ? "" : "s");
}

/* ---- what became of a recipient -------------------------------------------------------------- */

/* While it is still being tried, the address is all that its sender can look at. */
static bool wants_advice(const struct mail_dsn_rcpt *r)
{
    return r->action == MAIL_DSN_FAILED || r->enhanced[1] == 1 || r->enhanced[1] == 4;
}

static void append_failure(struct buf *out, const struct mail_dsn *d, const struct mail_dsn_rcpt *r)
{
    const struct mail_dsn_cause *cause = mail_dsn_cause(r);
    struct buf text;

    buf_init(&text, 0);
    if (r->expired && d->arrival != 0) {
        (void)buf_append_str(&text, "It was tried for ");
        append_age(d, &text);
        (void)buf_append_str(&text, ", and time is up. ");
    }
    (void)buf_append_str(&text, cause->what);
    if (cause->advice != NULL && wants_advice(r))
        (void)buf_printf(&text, " %s", cause->advice);
    fill(out, "    ", buf_slice(&text));
    buf_finish(&text);
}

static void append_diagnostic(struct buf *out, const struct mail_dsn_rcpt *r)
{
    struct buf head;

    if (r->diagnostic.len == 0)
        return;
    buf_init(&head, 0);
    if (r->code != 0 && r->remote_mta.len > 0) {
        (void)buf_append_str(&head, "The mail server ");
        (void)mail_append_clean(&head, r->remote_mta, MAIL_CLEAN_UTF8);
        (void)buf_append_str(&head, " said:");
    } else {
        (void)buf_append_str(&head, "In detail:");
    }
    (void)buf_append_byte(out, '\n');
    fill(out, "    ", buf_slice(&head));
    fill(out, "        ", r->diagnostic);
    buf_finish(&head);
}

static void append_what(struct buf *out, const struct mail_dsn *d, const struct mail_dsn_rcpt *r)
{
    switch (r->action) {
    case MAIL_DSN_FAILED:
        append_failure(out, d, r);
        append_diagnostic(out, r);
        break;
    case MAIL_DSN_DELAYED:
        append_failure(out, d, r);
        if (r->retry_until != 0) {
            (void)buf_append_str(out, "    Attempts go on until ");
            append_date(out, r->retry_until);
            (void)buf_append_str(out, ".\n");
        }
        append_diagnostic(out, r);
        break;
    case MAIL_DSN_DELIVERED: fill_str(out, "It is in the recipient's mailbox."); break;
    case MAIL_DSN_RELAYED:
        fill_str(
            out,
            "It was handed over to the recipient's mail system, or one on the way to it, which "
            "sends no such reports: you will be told no more, but may be if it fails.");
        append_diagnostic(out, r);
        break;
    case MAIL_DSN_EXPANDED:
        fill_str(out,
                 "It was sent on to all who are behind this address. What becomes of it there is "
                 "not reported.");
        break;
    }
}

/* The same became of both: what can be said is said once. */
static bool same_end(const struct mail_dsn_rcpt *a, const struct mail_dsn_rcpt *b)
{
    return a->action == b->action && a->code == b->code && a->expired == b->expired
           && memcmp(a->enhanced, b->enhanced, sizeof(a->enhanced)) == 0
           && slice_equal(a->remote_mta, b->remote_mta) && slice_equal(a->diagnostic, b->diagnostic)
           && a->retry_until == b->retry_until;
}

static void append_address(struct buf *out, const struct mail_dsn_rcpt *r)
{
    (void)buf_append_byte(out, '<');
    (void)mail_append_clean(out, r->address, MAIL_CLEAN_UTF8);
    (void)buf_append_str(out, ">\n");
}

static void append_more(struct buf *out, const struct mail_dsn *d)
{
    if (d->rcpt_count > SHOWN_MAX)
        (void)buf_printf(out,
                         "\nand %zu more recipients: the delivery report that is attached names "
                         "them.\n",
                         d->rcpt_count - SHOWN_MAX);
}

static void append_reasons(struct buf *out, const struct mail_dsn *d)
{
    for (size_t i = 0; i < d->rcpt_count && i < SHOWN_MAX; i++) {
        const struct mail_dsn_rcpt *r = &d->rcpts[i];

        append_address(out, r);
        if (i + 1 < d->rcpt_count && i + 1 < SHOWN_MAX && same_end(r, r + 1))
            continue;
        (void)buf_append_byte(out, '\n');
        append_what(out, d, r);
        if (i + 1 < d->rcpt_count && i + 1 < SHOWN_MAX)
            (void)buf_append_byte(out, '\n');
    }
    append_more(out, d);
}

static void append_recipients(struct buf *out, const struct mail_dsn *d)
{
    for (size_t i = 0; i < d->rcpt_count && i < SHOWN_MAX; i++)
        append_address(out, &d->rcpts[i]);
    append_more(out, d);
}

/* ---- the other variables --------------------------------------------------------------------- */

static void append_message(struct buf *out, const struct mail_dsn *d)
{
    struct buf subject;

    buf_init(&subject, 0);
    mail_dsn_subject(d->headers, SUBJECT_MAX, &subject);
    if (buf_len(&subject) > 0) {
        (void)buf_append_str(out, "    Subject:  ");
        (void)buf_append_slice(out, buf_slice(&subject));
        (void)buf_append_byte(out, '\n');
    }
    if (d->arrival != 0) {
        (void)buf_append_str(out, "    Accepted: ");
        append_date(out, d->arrival);
        (void)buf_append_byte(out, '\n');
    }
    buf_finish(&subject);
}

static void append_postmaster(struct buf *out, const struct mail_dsn *d)
{
    (void)buf_append_str(out, "postmaster@");
    (void)mail_append_clean(out, d->hostname, MAIL_CLEAN_WORD);
}

static const char *returned_words(const struct mail_dsn *d)
{
    switch (d->returned) {
    case MAIL_DSN_NOTHING: return "";
    case MAIL_DSN_HEADERS: return "The header of your message is attached.";
    case MAIL_DSN_WHOLE: return "Your message is attached.";
    }
    return "";
}

static uint64_t retry_until(const struct mail_dsn *d)
{
    uint64_t latest = 0;

    for (size_t i = 0; i < d->rcpt_count; i++) {
        if (d->rcpts[i].retry_until > latest)
            latest = d->rcpts[i].retry_until;
    }
    return latest;
}

static void append_value(void *context, enum mail_variable variable, struct buf *out)
{
    const struct mail_dsn *d = context;

    switch (variable) {
    case MAIL_VARIABLE_HOSTNAME: (void)mail_append_clean(out, d->hostname, MAIL_CLEAN_WORD); break;
    case MAIL_VARIABLE_POSTMASTER: append_postmaster(out, d); break;
    case MAIL_VARIABLE_ID: (void)mail_append_clean(out, d->about_id, MAIL_CLEAN_WORD); break;
    case MAIL_VARIABLE_AGE: append_age(d, out); break;
    case MAIL_VARIABLE_HOURS: (void)buf_append_u64(out, age_s(d) / 3600); break;
    case MAIL_VARIABLE_DAYS: (void)buf_append_u64(out, age_s(d) / 86400); break;
    case MAIL_VARIABLE_SENDER: (void)mail_append_clean(out, d->sender, MAIL_CLEAN_UTF8); break;
    case MAIL_VARIABLE_SUBJECT: mail_dsn_subject(d->headers, SUBJECT_MAX, out); break;
    case MAIL_VARIABLE_ARRIVED:
        if (d->arrival != 0)
            append_date(out, d->arrival);
        break;
    case MAIL_VARIABLE_RETRY_UNTIL:
        if (retry_until(d) != 0)
            append_date(out, retry_until(d));
        break;
    case MAIL_VARIABLE_RETURNED: (void)buf_append_str(out, returned_words(d)); break;
    case MAIL_VARIABLE_MESSAGE: append_message(out, d); break;
    case MAIL_VARIABLE_RECIPIENTS: append_recipients(out, d); break;
    case MAIL_VARIABLE_REASONS: append_reasons(out, d); break;
    case MAIL_VARIABLE_COUNT: break;
    }
}

void mail_dsn_expand(const struct mail_dsn *d, struct slice text, struct buf *out)
{
    (void)mail_template_expand(text, append_value, (void *)(uintptr_t)d, out);
}

/* ---- lines ---------------------------------------------------------------------------------- */

static struct slice next_line(struct slice *rest)
{
    ptrdiff_t lf = slice_find(*rest, '\n');
    struct slice line = slice_head(*rest, lf < 0 ? rest->len : (size_t)lf);

    slice_advance(rest, line.len + (lf >= 0));
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    return line;
}

/* What is too long is broken between characters; of empty lines that follow each other, as a variable
 * without a value leaves them, one stays. */
static void append_lines(struct slice text, struct buf *out)
{
    bool empty = true; /* none at the beginning */

    while (text.len > 0) {
        struct slice line = next_line(&text);

        if (slice_trim(line).len == 0 && empty)
            continue;
        empty = slice_trim(line).len == 0;
        while (line.len > LINE_LEN_MAX) {
            size_t len = LINE_LEN_MAX;

            while ((line.data[len] & 0xc0) == 0x80 && len > LINE_LEN_MAX - 4)
                len--;
            (void)buf_append_slice(out, slice_head(line, len));
            (void)buf_append_str(out, "\r\n");
            slice_advance(&line, len);
        }
        (void)buf_append_slice(out, line);
        (void)buf_append_str(out, "\r\n");
    }
}

/* Whoever reads it is not who the words are written to. */
static void append_introduction(const struct mail_dsn *d, struct buf *out)
{
    struct buf text;

    if (d->reader == MAIL_DSN_SENDER)
        return;
    buf_init(&text, 0);
    if (d->reader == MAIL_DSN_COPY) {
        (void)buf_append_str(&text,
                             "For the postmaster: a copy of the notification that was sent to <");
        (void)mail_append_clean(&text, d->sender, MAIL_CLEAN_UTF8);
        (void)buf_append_str(&text, ">.");
    } else if (d->sender.len == 0) {
        (void)buf_append_str(&text,
                             "For the postmaster: this mail has no sender, as notifications have "
                             "none, so that nobody else is told.");
    } else {
        (void)buf_append_str(&text,
                             "For the postmaster: there is nobody at the sender's address <");
        (void)mail_append_clean(&text, d->sender, MAIL_CLEAN_UTF8);
        (void)buf_append_str(&text, ">, so that nobody else is told.");
    }
    fill(out, "", buf_slice(&text));
    (void)buf_append_str(out, "\n");
    buf_finish(&text);
}

void mail_dsn_words(const struct mail_dsn *d, struct buf *out)
{
    const struct mail_template *template =
        d->template != NULL ? d->template : mail_dsn_own_template(d->kind);
    struct buf text;

    buf_init(&text, 0);
    append_introduction(d, &text);
    mail_dsn_expand(d, template->body, &text);
    append_lines(buf_slice(&text), out);
    buf_finish(&text);
}
