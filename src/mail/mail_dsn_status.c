/*
 * mail_dsn_status: the part for programs (RFC 3464 2): a group of fields about the message, then one a
 * recipient. In 7 bits; in UTF-8 where RFC 6533 4 allows it.
 */
#include "mail_dsn_priv.h"

#include "base_codec.h"
#include "mail_fold.h"

enum { HOST_MAX = 255 };

struct status {
    struct buf *out;
    bool utf8;
    unsigned clean; /* of what others said */
};

bool mail_dsn_is_ascii(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] >= 0x80)
            return false;
    }
    return true;
}

static void append_date(struct status *s, const char *name, uint64_t unix_seconds)
{
    char date[DATE_TEXT_SIZE];

    if (unix_seconds == 0)
        return;
    date_format(unix_seconds, date);
    (void)buf_printf(s->out, "%s: %s\r\n", name, date);
}

/* "Name: type; value" */
static void append_typed(struct status *s, const char *name, const char *type, struct slice value)
{
    struct mail_fold f;

    mail_fold_begin(&f, s->out, name);
    f.clean = s->clean;
    mail_fold_word(&f, slice_str(type), 0);
    mail_fold_text(&f, value);
    mail_fold_end(&f);
}

static void append_line(struct status *s, const char *name, struct slice value, unsigned clean)
{
    struct mail_fold f;

    mail_fold_begin(&f, s->out, name);
    mail_fold_word(&f, value, clean);
    mail_fold_end(&f);
}

/* ---- addresses ------------------------------------------------------------------------------ */

static uint32_t take_character(struct slice *text)
{
    bool valid;
    size_t len = utf8_length(*text, &valid);
    uint32_t point = text->data[0];

    if (valid && len > 1) {
        point &= 0x3fu >> (len - 1);
        for (size_t i = 1; i < len; i++)
            point = point << 6 | (text->data[i] & 0x3fu);
    } else if (point >= 0x80) {
        point = '?';
    }
    slice_advance(text, len);
    return point;
}

/* What is longer than this is no address, but may be asked to be one; there is no place to fold it. */
enum { ADDRESS_MAX = 900 };

/* utf-8-addr-xtext (RFC 6533 3), for who reads 7 bits only. */
static void append_embedded(struct buf *out, struct slice address)
{
    size_t before = buf_len(out);

    while (address.len > 0 && buf_len(out) - before < ADDRESS_MAX) {
        uint32_t point = take_character(&address);

        if (point < 0x20 || point == 0x7f)
            (void)buf_append_byte(out, '?');
        else if (point < 0x80 && strchr(" +=\\", (int)point) == NULL)
            (void)buf_append_byte(out, (uint8_t)point);
        else
            (void)buf_printf(out, "\\x{%X}", (unsigned)point);
    }
}

/* Of what is said to be "rfc822" and is not ASCII, the type is "utf-8". */
static void append_address(struct status *s, const char *name, struct slice type,
                           struct slice address)
{
    bool rfc822 = slice_equal_nocase(type, SLICE_LITERAL("rfc822"));
    bool utf8 =
        slice_equal_nocase(type, SLICE_LITERAL("utf-8")) || (rfc822 && !mail_dsn_is_ascii(address));

    (void)buf_printf(s->out, "%s: ", name);
    if (utf8)
        (void)buf_append_str(s->out, "utf-8");
    else if (rfc822)
        (void)buf_append_str(s->out, "rfc822");
    else
        (void)mail_append_clean(s->out, slice_head(type, 60), MAIL_CLEAN_WORD);
    (void)buf_append_str(s->out, "; ");
    if (utf8 && !s->utf8)
        append_embedded(s->out, address);
    else
        (void)mail_append_clean(s->out, slice_head(address, ADDRESS_MAX), s->clean);
    (void)buf_append_str(s->out, "\r\n");
}

/* ---- the fields --------------------------------------------------------------------------- */

static const char *action_name(enum mail_dsn_action action)
{
    switch (action) {
    case MAIL_DSN_FAILED: return "failed";
    case MAIL_DSN_DELAYED: return "delayed";
    case MAIL_DSN_DELIVERED: return "delivered";
    case MAIL_DSN_RELAYED: return "relayed";
    case MAIL_DSN_EXPANDED: return "expanded";
    }
    return "failed";
}

/* RFC 3463 2: a failure of class 4 is one that may go well when it is tried again. */
unsigned mail_dsn_class(const struct mail_dsn_rcpt *r)
{
    switch (r->action) {
    case MAIL_DSN_FAILED: return r->enhanced[0] == 4 || (r->expired && r->code < 500) ? 4 : 5;
    case MAIL_DSN_DELAYED: return 4;
    case MAIL_DSN_DELIVERED:
    case MAIL_DSN_RELAYED:
    case MAIL_DSN_EXPANDED: return 2;
    }
    return 5;
}

/* Of a success only a code of success is one. */
static void append_code(struct status *s, const struct mail_dsn_rcpt *r)
{
    unsigned class = mail_dsn_class(r);
    bool fits = r->enhanced[0] != 0 && (r->enhanced[0] == 2) == (class == 2);

    (void)buf_printf(s->out, "Status: %u.%u.%u\r\n", class, fits ? r->enhanced[1] : 0u,
                     fits ? r->enhanced[2] : 0u);
}

/* RFC 3464 2.1.2: "dns", and an address literal for a host without a name. */
static void append_mta(struct status *s, const char *name, struct slice mta)
{
    struct ip_addr ip;
    struct mail_fold f;

    mta = slice_head(mta, HOST_MAX);
    mail_fold_begin(&f, s->out, name);
    mail_fold_word(&f, SLICE_LITERAL("dns;"), 0);
    if (ip_parse(mta, &ip)) {
        mail_fold_space(&f, mta.len + 7);
        (void)buf_append_str(s->out, ip_is_v4(&ip) ? "[" : "[IPv6:");
        (void)mail_append_clean(s->out, mta, MAIL_CLEAN_WORD);
        (void)buf_append_byte(s->out, ']');
    } else {
        mail_fold_word(&f, mta, MAIL_CLEAN_WORD);
    }
    mail_fold_end(&f);
}

static void append_recipient(struct status *s, const struct mail_dsn *d,
                             const struct mail_dsn_rcpt *r)
{
    (void)buf_append_str(s->out, "\r\n");
    if (r->orcpt_type.len > 0)
        append_address(s, "Original-Recipient", r->orcpt_type, r->orcpt);
    append_address(s, "Final-Recipient", SLICE_LITERAL("rfc822"), r->address);
    (void)buf_printf(s->out, "Action: %s\r\n", action_name(r->action));
    append_code(s, r);
    if (r->remote_mta.len > 0)
        append_mta(s, "Remote-MTA", r->remote_mta);
    if (r->diagnostic.len > 0) /* RFC 3464 2.3.6: the type says how to read it */
        append_typed(s, "Diagnostic-Code", r->code != 0 ? "smtp;" : "x-mailring;", r->diagnostic);
    append_date(s, "Last-Attempt-Date", r->last_attempt);
    if (r->remote_mta.len == 0 && d->about_id.len > 0) /* RFC 3464 2.3.8: in whose log to look */
        append_line(s, "Final-Log-ID", d->about_id, MAIL_CLEAN_WORD);
    if (r->action == MAIL_DSN_DELAYED)
        append_date(s, "Will-Retry-Until", r->retry_until);
}

/* RFC 3464 2.2.5: the name as it was given, and what we know besides. */
static void append_received_from(struct status *s, const struct mail_dsn *d)
{
    struct mail_fold f;

    if (d->received_from.len == 0)
        return;
    mail_fold_begin(&f, s->out, "Received-From-MTA");
    mail_fold_word(&f, SLICE_LITERAL("dns;"), 0);
    mail_fold_word(&f, slice_head(d->received_from, HOST_MAX), MAIL_CLEAN_WORD);
    if (d->received_ip.len > 0) {
        struct slice ip = slice_head(d->received_ip, IP_TEXT_SIZE);
        mail_fold_space(&f, ip.len + 2);
        (void)buf_append_byte(s->out, '(');
        (void)mail_append_clean(s->out, ip, MAIL_CLEAN_WORD);
        (void)buf_append_byte(s->out, ')');
    }
    mail_fold_end(&f);
}

void mail_dsn_status(const struct mail_dsn *d, struct buf *out)
{
    struct status s = {out, d->utf8, d->utf8 ? MAIL_CLEAN_UTF8 : MAIL_CLEAN_TEXT};

    if (d->envid.len > 0) {
        struct mail_fold f;

        mail_fold_begin(&f, out, "Original-Envelope-Id");
        mail_fold_text(&f, d->envid);
        mail_fold_end(&f);
    }
    append_mta(&s, "Reporting-MTA", d->hostname);
    append_received_from(&s, d);
    if (d->about_id.len > 0)
        append_line(&s, "X-Mailring-ID", d->about_id, MAIL_CLEAN_WORD);
    append_date(&s, "Arrival-Date", d->arrival);
    for (size_t i = 0; i < d->rcpt_count; i++)
        append_recipient(&s, d, &d->rcpts[i]);
}
