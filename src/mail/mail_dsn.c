/* mail_dsn: the notification's own header, and its parts in their order. */
#include "mail_dsn.h"

#include "base_assert.h"
#include "base_codec.h"
#include "mail_dsn_priv.h"
#include "mail_fold.h"

enum { MESSAGE_ID_MAX = 250, WORD_OCTETS = 42 };

/* Nobody knew it when the message was written. */
static void append_boundary(struct buf *out, const struct mail_dsn *d)
{
    (void)buf_append_str(out, "=_");
    for (int i = 0; i < MAIL_DSN_RANDOM; i++)
        (void)buf_printf(out, "%02x", d->random[i]);
}

static void begin_part(struct buf *out, const struct mail_dsn *d, const char *type, bool eight_bit)
{
    (void)buf_append_str(out, "\r\n--");
    append_boundary(out, d);
    (void)buf_printf(out, "\r\nContent-Type: %s\r\n", type);
    if (eight_bit)
        (void)buf_append_str(out, "Content-Transfer-Encoding: 8bit\r\n");
    (void)buf_append_str(out, "\r\n");
}

/* ---- its header ----------------------------------------------------------------------------- */

/* RFC 2047 2, 5: words of ASCII as they are, all else in pieces that no line is too long for. */
static void append_encoded(struct mail_fold *f, struct slice text)
{
    while (text.len > 0) {
        size_t len = text.len < WORD_OCTETS ? text.len : WORD_OCTETS;

        while (len < text.len && (text.data[len] & 0xc0) == 0x80)
            len--; /* the text is UTF-8: this ends */
        mail_fold_space(f, len * 4 / 3 + 16);
        (void)buf_append_str(f->out, "=?utf-8?B?");
        (void)base64_encode(slice_head(text, len), f->out);
        (void)buf_append_str(f->out, "?=");
        slice_advance(&text, len);
    }
}

/* Expanded and cleaned; UTF-8. */
static void header_text(const struct mail_dsn *d, struct slice template, struct buf *out)
{
    struct buf text;

    buf_init(&text, 0);
    mail_dsn_expand(d, template, &text);
    (void)mail_append_clean(out, buf_slice(&text), MAIL_CLEAN_UTF8);
    buf_finish(&text);
}

static void append_subject(struct buf *out, const struct mail_dsn *d)
{
    struct slice own = mail_dsn_own_template(d->kind)->subject;
    struct mail_fold f;
    struct buf text;

    buf_init(&text, 0);
    if (d->reader != MAIL_DSN_SENDER)
        (void)buf_append_str(&text, "Postmaster copy: ");
    header_text(d, d->template != NULL && d->template->subject.len > 0 ? d->template->subject : own,
                &text);
    mail_fold_begin(&f, out, "Subject");
    if (mail_dsn_is_ascii(buf_slice(&text)))
        mail_fold_text(&f, buf_slice(&text));
    else
        append_encoded(&f, buf_slice(&text));
    mail_fold_end(&f);
    buf_finish(&text);
}

static bool needs_quotes(struct slice phrase)
{
    for (size_t i = 0; i < phrase.len; i++) {
        if (strchr("()<>[]:;@\\,.\"", phrase.data[i]) != NULL)
            return true;
    }
    return false;
}

/* A name before an address: as it is, quoted, or encoded. */
static void append_phrase(struct mail_fold *f, struct slice phrase)
{
    if (phrase.len >= 2 && phrase.data[0] == '"' && phrase.data[phrase.len - 1] == '"') {
        slice_advance(&phrase, 1);
        phrase.len--;
    }
    if (!mail_dsn_is_ascii(phrase)) {
        append_encoded(f, phrase);
        return;
    }
    if (!needs_quotes(phrase)) {
        mail_fold_text(f, phrase);
        return;
    }
    mail_fold_space(f, phrase.len + 2);
    (void)buf_append_byte(f->out, '"');
    for (size_t i = 0; i < phrase.len; i++) {
        if (phrase.data[i] == '"' || phrase.data[i] == '\\')
            (void)buf_append_byte(f->out, '\\');
        (void)buf_append_byte(f->out, phrase.data[i]);
    }
    (void)buf_append_byte(f->out, '"');
}

static void append_from(struct buf *out, const struct mail_dsn *d)
{
    static const struct slice own = SLICE_INIT("Mail Delivery System <$postmaster>");
    struct slice from, name;
    struct mail_fold f;
    struct buf text;
    ptrdiff_t open;

    buf_init(&text, 0);
    if (d->template != NULL && d->template->from.len > 0)
        header_text(d, d->template->from, &text);
    else if (d->from.len > 0)
        (void)mail_append_clean(&text, slice_head(d->from, 500), MAIL_CLEAN_UTF8);
    else
        header_text(d, own, &text);
    from = buf_slice(&text);
    open = slice_find(from, '<');
    name = slice_trim(slice_head(from, open > 0 ? (size_t)open : 0));
    mail_fold_begin(&f, out, "From");
    if (name.len > 0)
        append_phrase(&f, name);
    else if (open < 0)
        append_phrase(&f, SLICE_LITERAL("Mail Delivery System"));
    slice_advance(&from, open > 0 ? (size_t)open : 0);
    mail_fold_space(&f, from.len + 2);
    (void)buf_append_str(out, open < 0 ? "<" : "");
    (void)mail_append_clean(out, from, MAIL_CLEAN_TEXT);
    (void)buf_append_str(out, open < 0 ? ">" : "");
    mail_fold_end(&f);
    buf_finish(&text);
}

/* msg-id without comments (RFC 5322 3.6.4): another form is not worth a reference. */
static bool is_message_id(struct slice text)
{
    ptrdiff_t at = slice_find(text, '@');

    if (text.len < 5 || text.len > MESSAGE_ID_MAX || text.data[0] != '<'
        || text.data[text.len - 1] != '>' || at < 2 || (size_t)at >= text.len - 2)
        return false;
    for (size_t i = 1; i + 1 < text.len; i++) {
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f || text.data[i] == '<'
            || text.data[i] == '>')
            return false;
    }
    return true;
}

/* So that people see it beside what they wrote. */
static void append_references(struct buf *out, const struct mail_dsn *d)
{
    struct buf id;

    buf_init(&id, 0);
    if (mail_dsn_field(d->headers, "Message-ID", &id)
        && is_message_id(slice_trim(buf_slice(&id)))) {
        struct slice text = slice_trim(buf_slice(&id));
        (void)buf_printf(out, "In-Reply-To: %.*s\r\nReferences: %.*s\r\n", SLICE_ARG(text),
                         SLICE_ARG(text));
    }
    buf_finish(&id);
}

bool mail_dsn_needs_utf8(const struct mail_dsn *d)
{
    return d->utf8 && !mail_dsn_is_ascii(d->to);
}

static void append_header(struct buf *out, const struct mail_dsn *d, bool eight_bit)
{
    char date[DATE_TEXT_SIZE];

    date_format(d->date, date);
    (void)buf_printf(out, "Date: %s\r\n", date);
    append_from(out, d);
    (void)buf_append_str(out, "To: <");
    (void)mail_append_clean(out, slice_head(d->to, 900),
                            d->utf8 ? MAIL_CLEAN_UTF8 : MAIL_CLEAN_TEXT);
    (void)buf_append_str(out, ">\r\n");
    append_subject(out, d);
    (void)buf_append_str(out, "Message-ID: <");
    (void)mail_append_clean(out, d->id, MAIL_CLEAN_WORD);
    /* A spool that is made anew begins with the same ids. */
    (void)buf_append_byte(out, '.');
    (void)buf_append_u64(out, d->date);
    (void)buf_append_byte(out, '@');
    (void)mail_append_clean(out, d->hostname, MAIL_CLEAN_WORD);
    (void)buf_append_str(out, ">\r\n");
    append_references(out, d);
    (void)buf_printf(out, "Auto-Submitted: %s\r\nMIME-Version: 1.0\r\n",
                     d->reader == MAIL_DSN_SENDER ? "auto-replied" : "auto-generated");
    (void)buf_append_str(out, "Content-Type: multipart/report; report-type=delivery-status;\r\n"
                              "\tboundary=\"");
    append_boundary(out, d);
    (void)buf_append_str(out, "\"\r\n");
    if (eight_bit) /* RFC 2045 6.4: what a part is, the whole is */
        (void)buf_append_str(out, "Content-Transfer-Encoding: 8bit\r\n");
}

/* ---- the parts ------------------------------------------------------------------------------ */

static const char *original_type(const struct mail_dsn *d)
{
    if (d->returned == MAIL_DSN_WHOLE)
        return d->utf8 ? "message/global" : "message/rfc822";
    return d->utf8 ? "message/global-headers" : "text/rfc822-headers";
}

bool mail_dsn_begin(const struct mail_dsn *d, struct buf *out)
{
    struct buf words;
    bool ascii;

    ASSERT(d->rcpt_count > 0 && d->rcpt_count <= MAIL_DSN_RCPTS_MAX);
    ASSERT(d->to.len > 0); /* nobody is told about a notification: RFC 5321 6.1 */
    buf_init(&words, 0);
    mail_dsn_words(d, &words);
    ascii = mail_dsn_is_ascii(buf_slice(&words));
    append_header(out, d,
                  d->utf8 || !ascii || (d->original_8bit && d->returned != MAIL_DSN_NOTHING));
    begin_part(out, d, ascii ? "text/plain; charset=us-ascii" : "text/plain; charset=utf-8",
               !ascii);
    (void)buf_append_slice(out, buf_slice(&words));
    buf_finish(&words);
    begin_part(out, d, d->utf8 ? "message/global-delivery-status" : "message/delivery-status",
               d->utf8);
    mail_dsn_status(d, out);
    if (d->returned != MAIL_DSN_NOTHING)
        begin_part(out, d, original_type(d), d->original_8bit);
    return !out->overflow;
}

bool mail_dsn_end(const struct mail_dsn *d, struct mail_dsn_original *o, struct buf *out)
{
    if (o->column > 0 || o->cr)
        (void)buf_append_str(out, "\r\n");
    (void)buf_append_str(out, "\r\n--");
    append_boundary(out, d);
    (void)buf_append_str(out, "--\r\n");
    return !out->overflow;
}

bool mail_dsn_compose(const struct mail_dsn *d, struct buf *out)
{
    struct mail_dsn_original o;
    struct slice message = d->headers;

    mail_dsn_original_init(&o, d);
    (void)mail_dsn_begin(d, out);
    (void)mail_dsn_original(&o, &message, message.len, out);
    return mail_dsn_end(d, &o, out);
}
