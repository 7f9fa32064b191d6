/*
 * mail_address_list: see the header. An entry is read as a run of tokens: words, quoted strings, dots and
 * domain literals, with comments and blanks between. What they are is known at its end: tokens in angle
 * brackets are the address, and those before them a display name; without brackets all of them are.
 */
#include "mail_address_list.h"

/* Of nested comments. Deeper ones are an entry that makes no sense. */
enum { DEPTH_MAX = 50 };

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* What ends a word (RFC 5322 3.2.3 specials, blanks, controls). Anything else, 8-bit included, is a part
 * of it. */
static bool ends_word(uint8_t c)
{
    return c <= ' ' || c == 0x7f || (c < 0x7f && strchr("()<>[]:;@\\,.\"", c) != NULL);
}

/* Over "(...)". False: it does not end. */
static bool skip_comment(struct slice *left)
{
    unsigned depth = 0;

    while (left->len > 0) {
        uint8_t c = left->data[0];

        slice_advance(left, 1);
        if (c == '\\' && left->len > 0)
            slice_advance(left, 1);
        else if (c == '(' && ++depth > DEPTH_MAX)
            return false;
        else if (c == ')' && --depth == 0)
            return true;
    }
    return false;
}

static bool skip_blanks(struct slice *left)
{
    while (left->len > 0) {
        if (is_blank(left->data[0]))
            slice_advance(left, 1);
        else if (left->data[0] != '(')
            return true;
        else if (!skip_comment(left))
            return false;
    }
    return true;
}

/* Over a quoted string or a domain literal, which goes to `out` without line ends. */
static bool take_quoted(struct slice *left, uint8_t end, struct buf *out)
{
    bool escaped = false;
    bool first = true;

    while (left->len > 0) {
        uint8_t c = left->data[0];

        slice_advance(left, 1);
        if (c != '\r' && c != '\n')
            (void)buf_append_byte(out, c);
        if (!escaped && !first && c == end)
            return true;
        escaped = !escaped && c == '\\';
        first = false;
    }
    return false;
}

static void take_word(struct slice *left, struct buf *out)
{
    size_t len = 0;

    while (len < left->len && !ends_word(left->data[len]))
        len++;
    (void)buf_append_slice(out, slice_head(*left, len));
    slice_advance(left, len);
}

/* One token of an address or a name. False: it is none. */
static bool take_token(struct slice *left, struct buf *out)
{
    uint8_t c = left->data[0];

    if (c == '"')
        return take_quoted(left, '"', out);
    if (c == '[')
        return take_quoted(left, ']', out);
    if (c == '.' || c == '@') {
        (void)buf_append_byte(out, c);
        slice_advance(left, 1);
        return true;
    }
    if (ends_word(c))
        return false;
    take_word(left, out);
    return true;
}

/* Over "@a.example,@b.example:" (RFC 5322 4.4). */
static bool skip_route(struct slice *left)
{
    while (left->len > 0 && left->data[0] != ':') {
        uint8_t c = left->data[0];

        if (c == '<' || c == '>' || c == ';' || c == '"')
            return false;
        slice_advance(left, 1);
    }
    if (left->len > 0)
        slice_advance(left, 1);
    return left->len > 0 && skip_blanks(left);
}

/* Behind "<". */
static bool take_angle(struct slice *left, struct buf *out)
{
    buf_clear(out);
    if (!skip_blanks(left) || left->len == 0)
        return false;
    if (left->data[0] == '@' && !skip_route(left))
        return false;
    while (skip_blanks(left) && left->len > 0) {
        if (left->data[0] == '>') {
            slice_advance(left, 1);
            return buf_len(out) > 0;
        }
        if (!take_token(left, out))
            return false;
    }
    return false;
}

/* A local part with at most one domain: words side by side were a name, and that is no address. */
static bool is_address(const struct buf *out, unsigned words_apart)
{
    return words_apart == 0 && buf_len(out) > 0 && buf_slice(out).data[0] != '@';
}

/* Whether a token touches the one before only with a dot or an at sign between: "ann . b @ c". */
static bool joins(const struct buf *out, uint8_t next)
{
    struct slice so_far = buf_slice(out);
    uint8_t last = so_far.len > 0 ? so_far.data[so_far.len - 1] : '.';

    return last == '.' || last == '@' || next == '.' || next == '@';
}

enum mail_address_result mail_address_list_next(struct slice *left, struct buf *out)
{
    struct slice at = *left;
    unsigned words_apart = 0;
    bool angle = false;

    buf_clear(out);
    for (;;) {
        if (!skip_blanks(&at))
            return MAIL_ADDRESS_SYNTAX;
        if (at.len == 0 || at.data[0] == ',' || at.data[0] == ';') {
            bool empty = buf_len(out) == 0;
            if (!empty && !angle && !is_address(out, words_apart))
                return MAIL_ADDRESS_SYNTAX;
            if (at.len > 0)
                slice_advance(&at, 1);
            *left = at;
            if (!empty)
                return out->overflow ? MAIL_ADDRESS_SYNTAX : MAIL_ADDRESS_FOUND;
            if (at.len == 0)
                return MAIL_ADDRESS_END;
            continue; /* an empty entry, or the end of a group */
        }
        if (angle) /* something behind ">" */
            return MAIL_ADDRESS_SYNTAX;
        switch (at.data[0]) {
        case ':': /* a group's name was that */
            slice_advance(&at, 1);
            buf_clear(out);
            words_apart = 0;
            *left = at;
            continue;
        case '<':
            slice_advance(&at, 1);
            if (!take_angle(&at, out))
                return MAIL_ADDRESS_SYNTAX;
            angle = true;
            continue;
        default: break;
        }
        words_apart += !joins(out, at.data[0]);
        if (!take_token(&at, out))
            return MAIL_ADDRESS_SYNTAX;
    }
}

void mail_address_list_skip(struct slice *left)
{
    bool quoted = false;

    while (left->len > 0) {
        uint8_t c = left->data[0];

        slice_advance(left, 1);
        if (c == '\\' && left->len > 0)
            slice_advance(left, 1);
        else if (c == '"')
            quoted = !quoted;
        else if (c == ',' && !quoted)
            return;
    }
}
