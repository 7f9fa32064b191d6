/* mail_dsn: the parts of a notification, in their order. */
#include "mail_dsn.h"

#include "base_assert.h"
#include "base_codec.h"
#include "mail_fold.h"

enum { LINE_LEN_MAX = 998 };

static void append_date(struct buf *out, const char *name, uint64_t unix_seconds)
{
    char date[DATE_TEXT_SIZE];

    if (unix_seconds == 0)
        return;
    date_format(unix_seconds, date);
    (void)buf_append_str(out, name);
    (void)buf_append_str(out, ": ");
    (void)buf_append_str(out, date);
    (void)buf_append_str(out, "\r\n");
}

/* "Name: type; value" */
static void append_typed(struct buf *out, const char *name, const char *type, struct slice value)
{
    struct mail_fold f;

    mail_fold_begin(&f, out, name);
    mail_fold_word(&f, slice_str(type), 0);
    mail_fold_text(&f, value);
    mail_fold_end(&f);
}

/* The id is ours, known to nobody before: no part of the original holds this line. */
static void append_boundary(struct buf *out, const struct mail_dsn *d)
{
    (void)buf_append_str(out, "=_mailring_");
    (void)mail_append_clean(out, d->id, MAIL_CLEAN_WORD);
}

static void begin_part(struct buf *out, const struct mail_dsn *d, const char *type)
{
    (void)buf_append_str(out, "\r\n--");
    append_boundary(out, d);
    (void)buf_append_str(out, "\r\nContent-Type: ");
    (void)buf_append_str(out, type);
    (void)buf_append_str(out, "\r\n");
}

static bool any(const struct mail_dsn *d, enum mail_dsn_action action)
{
    for (size_t i = 0; i < d->rcpt_count; i++)
        if (d->rcpts[i].action == action)
            return true;
    return false;
}

static void append_header(struct buf *out, const struct mail_dsn *d)
{
    bool failed = any(d, MAIL_DSN_FAILED);

    append_date(out, "Date", d->date);
    (void)buf_append_str(out, "From: Mail Delivery System <MAILER-DAEMON@");
    (void)mail_append_clean(out, d->hostname, MAIL_CLEAN_WORD);
    (void)buf_append_str(out, ">\r\nTo: <");
    (void)mail_append_clean(out, d->sender, MAIL_CLEAN_TEXT);
    (void)buf_append_str(out, failed ? ">\r\nSubject: Undelivered mail returned to sender\r\n"
                                     : ">\r\nSubject: Delayed mail (still being retried)\r\n");
    (void)buf_append_str(out, "Message-ID: <");
    (void)mail_append_clean(out, d->id, MAIL_CLEAN_WORD);
    /* A spool that is made anew begins with the same ids. */
    (void)buf_append_byte(out, '.');
    (void)buf_append_u64(out, d->date);
    (void)buf_append_byte(out, '@');
    (void)mail_append_clean(out, d->hostname, MAIL_CLEAN_WORD);
    (void)buf_append_str(out, ">\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
                              "Content-Type: multipart/report; report-type=delivery-status;\r\n"
                              "\tboundary=\"");
    append_boundary(out, d);
    (void)buf_append_str(out, "\"\r\n");
}

/* The words for people: each recipient with what was said about it. */
static void append_rcpts(struct buf *out, const struct mail_dsn *d, enum mail_dsn_action action)
{
    for (size_t i = 0; i < d->rcpt_count; i++) {
        const struct mail_dsn_rcpt *r = &d->rcpts[i];
        struct mail_fold f = {.out = out};

        if (r->action != action)
            continue;
        (void)buf_append_str(out, "\r\n<");
        (void)mail_append_clean(out, r->address, MAIL_CLEAN_TEXT);
        (void)buf_append_str(out, ">");
        if (r->diagnostic.len > 0) {
            mail_fold_line(&f);
            if (r->remote_mta.len > 0) {
                mail_fold_text(&f, r->remote_mta);
                mail_fold_text(&f, SLICE_LITERAL("said:"));
            }
            mail_fold_text(&f, r->diagnostic);
        }
        if (action == MAIL_DSN_DELAYED && r->retry_until != 0) {
            char date[DATE_TEXT_SIZE];

            date_format(r->retry_until, date);
            mail_fold_line(&f);
            mail_fold_text(&f, SLICE_LITERAL("Attempts go on until"));
            mail_fold_text(&f, slice_str(date));
        }
        (void)buf_append_str(out, "\r\n");
    }
}

static void append_words(struct buf *out, const struct mail_dsn *d)
{
    begin_part(out, d, "text/plain; charset=us-ascii");
    (void)buf_append_str(out, "\r\nThis is the mail system at ");
    (void)mail_append_clean(out, d->hostname, MAIL_CLEAN_WORD);
    (void)buf_append_str(out, ".\r\n");
    if (any(d, MAIL_DSN_FAILED)) {
        (void)buf_append_str(out, "\r\nYour message could not be delivered to the recipients below."
                                  "\r\nNo more attempts will be made.\r\n");
        append_rcpts(out, d, MAIL_DSN_FAILED);
    }
    if (any(d, MAIL_DSN_DELAYED)) {
        (void)buf_append_str(out,
                             "\r\nYour message has not reached the recipients below yet. It is "
                             "still\r\nbeing retried: you need not send it again.\r\n");
        append_rcpts(out, d, MAIL_DSN_DELAYED);
    }
}

static void append_status(struct buf *out, const struct mail_dsn_rcpt *r)
{
    bool failed = r->action == MAIL_DSN_FAILED;
    uint16_t class = failed ? 5 : 4;
    /* RFC 3464 2.3.6: the type tells how to read it. What is no SMTP reply is words of ours. */
    bool reply = r->diagnostic.len >= 3 && r->diagnostic.data[0] >= '2'
                 && r->diagnostic.data[0] <= '5' && r->diagnostic.data[1] >= '0'
                 && r->diagnostic.data[1] <= '9';

    append_typed(out, "\r\nFinal-Recipient", "rfc822;", r->address);
    (void)buf_append_str(out, failed ? "Action: failed\r\n" : "Action: delayed\r\n");
    if (r->enhanced[0] == 0)
        (void)buf_printf(out, "Status: %u.0.0\r\n", class);
    else
        (void)buf_printf(out, "Status: %u.%u.%u\r\n", class, r->enhanced[1], r->enhanced[2]);
    if (r->remote_mta.len > 0)
        append_typed(out, "Remote-MTA", "dns;", r->remote_mta);
    if (r->diagnostic.len > 0)
        append_typed(out, "Diagnostic-Code", reply ? "smtp;" : "x-mailring;", r->diagnostic);
    append_date(out, "Last-Attempt-Date", r->last_attempt);
    if (!failed)
        append_date(out, "Will-Retry-Until", r->retry_until);
}

/* RFC 3464 2.1: a group about the message, then one a recipient. */
static void append_facts(struct buf *out, const struct mail_dsn *d)
{
    begin_part(out, d, "message/delivery-status");
    (void)buf_append_str(out, "\r\n");
    append_typed(out, "Reporting-MTA", "dns;", d->hostname);
    if (d->about_id.len > 0) {
        (void)buf_append_str(out, "X-Mailring-ID: ");
        (void)mail_append_clean(out, d->about_id, MAIL_CLEAN_WORD);
        (void)buf_append_str(out, "\r\n");
    }
    append_date(out, "Arrival-Date", d->arrival);
    for (size_t i = 0; i < d->rcpt_count; i++)
        append_status(out, &d->rcpts[i]);
}

static struct slice next_line(struct slice *rest)
{
    ptrdiff_t lf = slice_find(*rest, '\n');
    struct slice line = slice_head(*rest, lf < 0 ? rest->len : (size_t)lf);

    slice_advance(rest, line.len + (lf >= 0));
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    return line;
}

bool mail_dsn_is_8bit(const struct mail_dsn *d)
{
    for (size_t i = 0; i < d->headers.len && i < MAIL_DSN_HEADERS_MAX; i++)
        if (d->headers.data[i] >= 0x80)
            return true;
    return false;
}

/* RFC 6522 4. The lines as they are, but such that they are lines. */
static void append_original(struct buf *out, const struct mail_dsn *d)
{
    struct slice rest = slice_head(d->headers, MAIL_DSN_HEADERS_MAX);
    bool cut = rest.len < d->headers.len;

    if (rest.len == 0)
        return;
    begin_part(out, d, "text/rfc822-headers");
    if (mail_dsn_is_8bit(d))
        (void)buf_append_str(out, "Content-Transfer-Encoding: 8bit\r\n");
    (void)buf_append_str(out, "\r\n");
    while (rest.len > 0) {
        struct slice line = next_line(&rest);

        if (line.len == 0 || (cut && rest.len == 0))
            break;
        line = slice_head(line, LINE_LEN_MAX);
        for (size_t i = 0; i < line.len; i++) {
            uint8_t c = line.data[i];

            (void)buf_append_byte(out, c == 0 || c == '\r' ? '?' : c);
        }
        (void)buf_append_str(out, "\r\n");
    }
}

bool mail_dsn_compose(const struct mail_dsn *d, struct buf *out)
{
    ASSERT(d->rcpt_count > 0);
    ASSERT(d->sender.len > 0); /* nobody is told about a notification: RFC 5321 6.1 */
    append_header(out, d);
    append_words(out, d);
    append_facts(out, d);
    append_original(out, d);
    (void)buf_append_str(out, "\r\n--");
    append_boundary(out, d);
    (void)buf_append_str(out, "--\r\n");
    return !out->overflow;
}
