/*
 * mail_dsn_original: the message that a notification is about: its bytes on their way into the last part
 * (RFC 6522 3), and what its header says for the notification's own.
 */
#include "base_codec.h"
#include "mail_dsn_priv.h"
#include "mail_fold.h"

enum { LINE_LEN_MAX = 998 }; /* RFC 5322 2.1.1 */

/* ---- its bytes ------------------------------------------------------------------------------ */

void mail_dsn_original_init(struct mail_dsn_original *o, const struct mail_dsn *d)
{
    *o = (struct mail_dsn_original){.returned = d->returned,
                                    .over = d->returned == MAIL_DSN_NOTHING,
                                    .left = MAIL_DSN_HEADERS_MAX};
}

static void end_line(struct mail_dsn_original *o, struct buf *out)
{
    /* An empty line ends the header; behind it comes what was not asked for. */
    if (o->column == 0 && o->returned == MAIL_DSN_HEADERS) {
        o->over = true;
        return;
    }
    (void)buf_append_str(out, "\r\n");
    o->column = 0;
    o->cut = false;
}

/* Longer lines than there may be lose their end in a header, where a piece would be taken for a field; in
 * a body they are broken. */
static void take_octet(struct mail_dsn_original *o, uint8_t c, struct buf *out)
{
    if (o->cut)
        return;
    if (o->column == LINE_LEN_MAX) {
        if (o->returned == MAIL_DSN_HEADERS) {
            o->cut = true;
            return;
        }
        end_line(o, out);
    }
    (void)buf_append_byte(out, c == 0 ? '?' : c);
    o->column++;
}

/* Mostly there is nothing in it that needs a look: as much as is so goes as it is. */
static size_t plain_len(const struct mail_dsn_original *o, struct slice s)
{
    size_t room = (size_t)(LINE_LEN_MAX - o->column), i = 0;

    while (i < s.len && i < room && s.data[i] != '\r' && s.data[i] != '\n' && s.data[i] != 0)
        i++;
    return i;
}

static void take_some(struct mail_dsn_original *o, struct slice *in, struct buf *out)
{
    uint8_t c = in->data[0];
    size_t plain;

    if (o->cr && c != '\n')
        take_octet(o, '?', out); /* a bare CR */
    o->cr = c == '\r';
    plain = o->cr || o->cut ? 0 : plain_len(o, *in);
    if (plain > 0) {
        (void)buf_append(out, in->data, plain);
        o->column = (uint16_t)(o->column + plain);
        slice_advance(in, plain);
        return;
    }
    if (c == '\n')
        end_line(o, out);
    else if (!o->cr)
        take_octet(o, c, out);
    slice_advance(in, 1);
}

/* The last line of a header that is cut within it goes too: it may end within a value that means something
 * else then. */
static void drop_partial_line(struct mail_dsn_original *o, struct buf *out)
{
    o->over = true;
    if (o->column == 0 || buf_len(out) < o->column)
        return;
    buf_truncate(out, buf_len(out) - o->column);
    o->column = 0;
}

bool mail_dsn_original(struct mail_dsn_original *o, struct slice *in, size_t most, struct buf *out)
{
    struct slice piece = slice_head(*in, most);

    while (piece.len > 0 && !o->over) {
        bool bounded = o->returned == MAIL_DSN_HEADERS;
        struct slice some = bounded ? slice_head(piece, o->left) : piece;
        size_t before = some.len;

        if (some.len == 0) {
            drop_partial_line(o, out);
            break;
        }
        take_some(o, &some, out);
        slice_advance(&piece, before - some.len);
        slice_advance(in, before - some.len);
        o->left -= bounded ? before - some.len : 0;
    }
    return !o->over;
}

/* ---- what its header says ------------------------------------------------------------------- */

static struct slice next_line(struct slice *rest)
{
    ptrdiff_t lf = slice_find(*rest, '\n');
    struct slice line = slice_head(*rest, lf < 0 ? rest->len : (size_t)lf);

    slice_advance(rest, line.len + (lf >= 0));
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    return line;
}

static bool begins_field(struct slice line, struct slice name)
{
    if (!slice_starts_nocase(line, name))
        return false;
    slice_advance(&line, name.len);
    return slice_trim(line).len > 0 && slice_trim(line).data[0] == ':';
}

bool mail_dsn_field(struct slice headers, const char *name, struct buf *out)
{
    struct slice line;

    do {
        if (headers.len == 0)
            return false;
        line = next_line(&headers);
        if (line.len == 0)
            return false;
    } while (!begins_field(line, slice_str(name)));
    slice_advance(&line, (size_t)slice_find(line, ':') + 1);
    (void)buf_append_slice(out, slice_trim(line));
    while (headers.len > 0 && (headers.data[0] == ' ' || headers.data[0] == '\t')) {
        (void)buf_append_byte(out, ' ');
        (void)buf_append_slice(out, slice_trim(next_line(&headers)));
    }
    return true;
}

/* ---- its subject, for people (RFC 2047) ------------------------------------------------------ */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool decode_q(struct slice text, struct buf *out)
{
    for (; text.len > 0; slice_advance(&text, 1)) {
        uint8_t c = text.data[0];

        if (c == '=') {
            int high = text.len < 3 ? -1 : hex_digit(text.data[1]);
            int low = text.len < 3 ? -1 : hex_digit(text.data[2]);
            if (high < 0 || low < 0)
                return false;
            c = (uint8_t)(high << 4 | low);
            slice_advance(&text, 2);
        } else if (c == '_') {
            c = ' ';
        }
        (void)buf_append_byte(out, c);
    }
    return true;
}

static bool decode_b(struct slice text, struct buf *out)
{
    uint8_t *room = buf_reserve(out, base64_decoded_max(text.len) + 1);
    size_t len;

    if (room == NULL || !base64_decode(text, room, &len))
        return false;
    buf_commit(out, len);
    return true;
}

static void append_latin1(struct slice bytes, struct buf *out)
{
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.data[i] >= 0x80) {
            (void)buf_append_byte(out, (uint8_t)(0xc0 | bytes.data[i] >> 6));
            (void)buf_append_byte(out, (uint8_t)(0x80 | (bytes.data[i] & 0x3f)));
        } else {
            (void)buf_append_byte(out, bytes.data[i]);
        }
    }
}

/* Up to the next '?', which is taken too. */
static bool take_piece(struct slice *rest, struct slice *out)
{
    ptrdiff_t end = slice_find(*rest, '?');

    if (end < 0)
        return false;
    *out = slice_head(*rest, (size_t)end);
    slice_advance(rest, (size_t)end + 1);
    return true;
}

/* "=?charset?q?text?=" at the front of *rest, in one of the charsets that nearly all mail is in. */
static bool decode_word(struct slice *rest, struct buf *out)
{
    struct slice at = *rest, charset, coding, text;
    struct buf bytes;
    bool good;

    slice_advance(&at, 2);
    if (!take_piece(&at, &charset) || !take_piece(&at, &coding) || !take_piece(&at, &text)
        || at.len == 0 || at.data[0] != '=' || coding.len != 1)
        return false;
    slice_advance(&at, 1);
    buf_init(&bytes, 0);
    good = (coding.data[0] | 0x20) == 'q' ? decode_q(text, &bytes) : decode_b(text, &bytes);
    if (slice_equal_nocase(charset, SLICE_LITERAL("iso-8859-1")))
        append_latin1(buf_slice(&bytes), out);
    else if (slice_equal_nocase(charset, SLICE_LITERAL("utf-8"))
             || slice_equal_nocase(charset, SLICE_LITERAL("us-ascii")))
        (void)buf_append_slice(out, buf_slice(&bytes));
    else
        good = false;
    buf_finish(&bytes);
    *rest = at;
    return good;
}

static bool starts_word(struct slice s)
{
    return s.len >= 2 && s.data[0] == '=' && s.data[1] == '?';
}

static bool decode_words(struct slice text, struct buf *out)
{
    while (text.len > 0) {
        struct slice blank = text;

        if (!starts_word(text)) {
            (void)buf_append_byte(out, text.data[0]);
            slice_advance(&text, 1);
            continue;
        }
        if (!decode_word(&text, out))
            return false;
        blank = text;
        while (blank.len > 0 && blank.data[0] == ' ')
            slice_advance(&blank, 1);
        if (starts_word(blank)) /* blanks between two do not count */
            text = blank;
    }
    return true;
}

void mail_dsn_subject(struct slice headers, size_t most, struct buf *out)
{
    struct buf raw, text;
    struct slice shown;

    buf_init(&raw, 0);
    buf_init(&text, 0);
    if (mail_dsn_field(headers, "Subject", &raw) && decode_words(buf_slice(&raw), &text)
        && utf8_is_valid(buf_slice(&text))) {
        shown = slice_head(buf_slice(&text), most);
        while (shown.len > 0 && !utf8_is_valid(shown))
            shown.len--; /* not within a character */
        (void)mail_append_clean(out, shown, MAIL_CLEAN_UTF8);
        if (shown.len < buf_len(&text))
            (void)buf_append_str(out, "...");
    }
    buf_finish(&raw);
    buf_finish(&text);
}
