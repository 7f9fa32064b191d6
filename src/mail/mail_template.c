/* mail_template: the file's two halves, and the variables in them. */
#include "mail_template.h"

#include "base_assert.h"
#include "base_codec.h"

enum { LINE_MAX = 900 }; /* with what variables add, RFC 5322 2.1.1 is kept by who expands */

static const struct slice names[] = {
    [MAIL_VARIABLE_HOSTNAME] = SLICE_INIT("hostname"),
    [MAIL_VARIABLE_POSTMASTER] = SLICE_INIT("postmaster"),
    [MAIL_VARIABLE_ID] = SLICE_INIT("id"),
    [MAIL_VARIABLE_AGE] = SLICE_INIT("age"),
    [MAIL_VARIABLE_HOURS] = SLICE_INIT("hours"),
    [MAIL_VARIABLE_DAYS] = SLICE_INIT("days"),
    [MAIL_VARIABLE_SENDER] = SLICE_INIT("sender"),
    [MAIL_VARIABLE_SUBJECT] = SLICE_INIT("subject"),
    [MAIL_VARIABLE_ARRIVED] = SLICE_INIT("arrived"),
    [MAIL_VARIABLE_RETRY_UNTIL] = SLICE_INIT("retry_until"),
    [MAIL_VARIABLE_RETURNED] = SLICE_INIT("returned"),
    [MAIL_VARIABLE_MESSAGE] = SLICE_INIT("message"),
    [MAIL_VARIABLE_RECIPIENTS] = SLICE_INIT("recipients"),
    [MAIL_VARIABLE_REASONS] = SLICE_INIT("reasons"),
};
_Static_assert(ARRAY_LEN(names) == MAIL_VARIABLE_COUNT, "each has a name");

static bool is_name_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || c == '_';
}

/* ---- variables ---------------------------------------------------------------------------- */

/* What stands behind a '$', which has been taken: "$", a name, or a name in braces; what is taken of *rest
 * is `word`. The variable; COUNT for a dollar sign, -1 for something else. */
static int take_variable(struct slice *rest, struct slice *word)
{
    struct slice from = *rest, name;
    bool braced = rest->len > 0 && rest->data[0] == '{';
    size_t len = 0;

    if (rest->len > 0 && rest->data[0] == '$') {
        slice_advance(rest, 1);
        return MAIL_VARIABLE_COUNT;
    }
    if (braced)
        slice_advance(rest, 1);
    while (len < rest->len && is_name_byte(rest->data[len]))
        len++;
    name = slice_head(*rest, len);
    slice_advance(rest, len);
    *word = slice_head(from, from.len - rest->len);
    if (braced) {
        if (rest->len == 0 || rest->data[0] != '}')
            return -1;
        slice_advance(rest, 1);
        *word = slice_head(from, from.len - rest->len);
    }
    for (int i = 0; i < MAIL_VARIABLE_COUNT; i++) {
        if (slice_equal(name, names[i]))
            return i;
    }
    return -1;
}

bool mail_template_expand(struct slice text,
                          void (*value)(void *context, enum mail_variable variable,
                                        struct buf *out),
                          void *context, struct buf *out)
{
    while (text.len > 0) {
        ptrdiff_t dollar = slice_find(text, '$');
        struct slice before = slice_head(text, dollar < 0 ? text.len : (size_t)dollar), word;
        int variable;

        (void)buf_append_slice(out, before);
        slice_advance(&text, before.len);
        if (text.len == 0)
            break;
        slice_advance(&text, 1);
        variable = take_variable(&text, &word);
        ASSERT(variable >= 0); /* it was parsed */
        if (variable == MAIL_VARIABLE_COUNT)
            (void)buf_append_byte(out, '$');
        else
            value(context, (enum mail_variable)variable, out);
    }
    return !out->overflow;
}

static bool check_variables(struct slice line, enum mail_variable last, struct buf *why)
{
    for (;;) {
        ptrdiff_t dollar = slice_find(line, '$');
        struct slice word = SLICE_NULL;
        int variable;

        if (dollar < 0)
            return true;
        slice_advance(&line, (size_t)dollar + 1);
        variable = take_variable(&line, &word);
        if (variable < 0) {
            (void)buf_printf(why, "there is no variable $%.*s; for a dollar sign write $$",
                             SLICE_ARG(word));
            return false;
        }
        if (variable != MAIL_VARIABLE_COUNT && variable > (int)last) {
            (void)buf_printf(why, "$%.*s cannot stand in the header", SLICE_ARG(word));
            return false;
        }
    }
}

/* ---- the file ------------------------------------------------------------------------------- */

struct reading {
    struct mail_template *out;
    struct slice charset;
    struct slice rest;
    unsigned line;
    struct buf *why;
};

static bool next_line(struct reading *r, struct slice *out)
{
    ptrdiff_t lf;

    if (r->rest.len == 0)
        return false;
    lf = slice_find(r->rest, '\n');
    *out = slice_head(r->rest, lf < 0 ? r->rest.len : (size_t)lf);
    slice_advance(&r->rest, out->len + (lf >= 0));
    if (out->len > 0 && out->data[out->len - 1] == '\r')
        out->len--;
    r->line++;
    return true;
}

static bool is_ascii(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] >= 0x80)
            return false;
    }
    return true;
}

/* Whatever half it stands in. */
static bool check_line(struct reading *r, struct slice line)
{
    if (line.len > LINE_MAX) {
        (void)buf_printf(r->why, "the line is longer than %d octets", LINE_MAX);
        return false;
    }
    for (size_t i = 0; i < line.len; i++) {
        if ((line.data[i] < 0x20 && line.data[i] != '\t') || line.data[i] == 0x7f) {
            (void)buf_append_str(r->why, "a control character");
            return false;
        }
    }
    if (!utf8_is_valid(line)) {
        (void)buf_append_str(r->why, "this is not UTF-8");
        return false;
    }
    if (!is_ascii(line) && slice_equal_nocase(r->charset, SLICE_LITERAL("us-ascii"))) {
        (void)buf_append_str(r->why, "Charset says us-ascii, and this is not");
        return false;
    }
    return true;
}

/* An address in angle brackets with a name before it, or an address alone: ASCII. */
static bool check_from(struct slice value, struct buf *why)
{
    ptrdiff_t open = slice_find(value, '<'), at;
    struct slice address = value;

    if (open >= 0) {
        slice_advance(&address, (size_t)open + 1);
        at = slice_find(address, '>');
        if (at < 0 || (size_t)at + 1 != address.len) {
            (void)buf_append_str(why, "From: expected a name and an address in < >");
            return false;
        }
        address.len--;
    }
    if (slice_find(address, '$') >= 0) /* an address by the time it is used */
        return true;
    at = slice_find(address, '@');
    if (at <= 0 || (size_t)at + 1 == address.len || slice_find(address, ' ') >= 0
        || slice_find(address, '<') >= 0 || slice_find(address, '(') >= 0 || !is_ascii(address)) {
        (void)buf_append_str(why, "From: this is no address");
        return false;
    }
    return true;
}

static bool take_field(struct reading *r, struct slice line)
{
    ptrdiff_t colon = slice_find(line, ':');
    struct slice name = slice_head(line, colon < 0 ? line.len : (size_t)colon);
    struct slice value = line;

    if (colon <= 0) {
        (void)buf_append_str(r->why, "expected Subject:, From:, Charset: or an empty line");
        return false;
    }
    slice_advance(&value, (size_t)colon + 1);
    value = slice_trim(value);
    if (value.len == 0) {
        (void)buf_printf(r->why, "%.*s: without a value", SLICE_ARG(name));
        return false;
    }
    if (!check_variables(value, MAIL_VARIABLE_DAYS, r->why))
        return false;
    if (slice_equal_nocase(name, SLICE_LITERAL("subject"))) {
        r->out->subject = value;
    } else if (slice_equal_nocase(name, SLICE_LITERAL("from"))) {
        r->out->from = value;
        return check_from(value, r->why);
    } else if (slice_equal_nocase(name, SLICE_LITERAL("charset"))) {
        r->charset = value;
        if (!slice_equal_nocase(value, SLICE_LITERAL("utf-8"))
            && !slice_equal_nocase(value, SLICE_LITERAL("us-ascii"))) {
            (void)buf_append_str(r->why, "Charset: utf-8 or us-ascii");
            return false;
        }
    } else {
        (void)buf_printf(r->why, "%.*s: only Subject, From and Charset can be set",
                         SLICE_ARG(name));
        return false;
    }
    return true;
}

static bool read_template(struct reading *r)
{
    struct slice line;
    bool text = false;

    do {
        if (!next_line(r, &line)) {
            (void)buf_append_str(r->why, "there is no text: expected an empty line before it");
            return false;
        }
        if (!check_line(r, line) || (line.len > 0 && !take_field(r, line)))
            return false;
    } while (line.len > 0);
    r->out->body = r->rest;
    while (next_line(r, &line)) {
        if (!check_line(r, line) || !check_variables(line, MAIL_VARIABLE_COUNT, r->why))
            return false;
        text |= slice_trim(line).len > 0;
    }
    if (!text)
        (void)buf_append_str(r->why, "there is no text behind the header");
    return text;
}

bool mail_template_parse(struct slice text, struct mail_template *out, unsigned *out_line,
                         struct buf *out_why)
{
    struct mail_template template = {0};
    struct reading r = {.out = &template, .rest = text, .why = out_why};
    bool good;

    if (text.len >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0)
        slice_advance(&r.rest, 3); /* some editors' byte order mark */
    if (text.len > MAIL_TEMPLATE_MAX) {
        (void)buf_printf(out_why, "larger than %d octets", MAIL_TEMPLATE_MAX);
        *out_line = 1;
        return false;
    }
    good = read_template(&r);
    if (good)
        *out = template;
    else
        *out_line = r.line > 0 ? r.line : 1;
    return good;
}
