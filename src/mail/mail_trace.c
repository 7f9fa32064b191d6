/* mail_trace: Received and Return-Path. */
#include "mail_trace.h"

#include "base_assert.h"
#include "mail_fold.h"

/* A word where a domain belongs (RFC 5321 4.4), which cannot be taken for somebody's, and why. */
static void append_masked(struct mail_fold *f)
{
    mail_fold_word(f, SLICE_LITERAL("client.invalid"), 0);
    mail_fold_word(f, SLICE_LITERAL("(authenticated, address withheld)"), 0);
}

/* TCP-info = address-literal / ( Domain FWS address-literal ), in parentheses. */
static void append_client(struct mail_fold *f, const struct mail_received *r)
{
    char ip[IP_TEXT_SIZE];
    size_t name_len = r->client_name.len;

    ip_format(&r->ip, ip);
    mail_fold_space(f, strlen(ip) + name_len + 10);
    (void)buf_append_byte(f->out, '(');
    if (name_len > 0) {
        (void)mail_append_clean(f->out, r->client_name, MAIL_CLEAN_WORD);
        (void)buf_append_byte(f->out, ' ');
    }
    (void)buf_append_str(f->out, ip_is_v4(&r->ip) ? "[" : "[IPv6:");
    (void)buf_append_str(f->out, ip);
    (void)buf_append_str(f->out, "])");
}

static void append_rcpt(struct mail_fold *f, struct slice rcpt)
{
    mail_fold_space(f, rcpt.len + 7);
    (void)buf_append_str(f->out, "for <");
    (void)mail_append_clean(f->out, rcpt, MAIL_CLEAN_TEXT);
    (void)buf_append_byte(f->out, '>');
}

bool mail_trace_received(const struct mail_received *r, struct buf *out)
{
    struct mail_fold f;
    char date[DATE_TEXT_SIZE];

    mail_fold_begin(&f, out, "Received");
    mail_fold_word(&f, SLICE_LITERAL("from"), 0);
    if (r->masked) {
        append_masked(&f);
    } else {
        mail_fold_word(&f, r->helo, MAIL_CLEAN_WORD);
        append_client(&f, r);
    }

    mail_fold_line(&f);
    mail_fold_word(&f, SLICE_LITERAL("by"), 0);
    mail_fold_word(&f, r->hostname, MAIL_CLEAN_WORD);
    mail_fold_word(&f, SLICE_LITERAL("with"), 0);
    mail_fold_word(&f, r->protocol, MAIL_CLEAN_WORD);
    if (r->tls.len > 0) {
        mail_fold_space(&f, r->tls.len + 2);
        (void)buf_append_byte(out, '(');
        (void)mail_append_clean(out, r->tls, MAIL_CLEAN_COMMENT);
        (void)buf_append_byte(out, ')');
    }
    mail_fold_space(&f, r->id.len + 3);
    (void)buf_append_str(out, "id ");
    (void)mail_append_clean(out, r->id, MAIL_CLEAN_WORD);
    if (r->rcpt.len > 0)
        append_rcpt(&f, r->rcpt);
    (void)buf_append_byte(out, ';');

    date_format(r->unix_seconds, date);
    mail_fold_line(&f);
    mail_fold_word(&f, slice_str(date), 0);
    mail_fold_end(&f);
    return !out->overflow;
}

bool mail_trace_return_path(struct slice sender, struct buf *out)
{
    (void)buf_append_str(out, "Return-Path: <");
    (void)mail_append_clean(out, sender, MAIL_CLEAN_TEXT);
    (void)buf_append_str(out, ">\r\n");
    return !out->overflow;
}
