/* smtp_dsn: one table of keywords, and two codings of an address: xtext, and RFC 6533's. */
#include "smtp_dsn.h"

static const struct {
    const char *keyword;
    enum smtp_notify flag;
} keywords[] = {
    {"NEVER", SMTP_NOTIFY_NEVER},
    {"SUCCESS", SMTP_NOTIFY_SUCCESS},
    {"FAILURE", SMTP_NOTIFY_FAILURE},
    {"DELAY", SMTP_NOTIFY_DELAY},
};
enum { KEYWORDS = sizeof(keywords) / sizeof(keywords[0]) };

static uint8_t keyword_flag(struct slice word)
{
    for (size_t i = 0; i < KEYWORDS; i++)
        if (slice_equal_nocase(word, slice_str(keywords[i].keyword)))
            return (uint8_t)keywords[i].flag;
    return 0;
}

bool smtp_notify_parse(struct slice value, uint8_t *out)
{
    uint8_t set = 0;

    for (;;) {
        ptrdiff_t comma = slice_find(value, ',');
        uint8_t flag = keyword_flag(comma < 0 ? value : slice_head(value, (size_t)comma));

        if (flag == 0)
            return false;
        set |= flag;
        if (comma < 0)
            break;
        slice_advance(&value, (size_t)comma + 1);
    }
    /* "the NEVER keyword MUST appear by itself" (RFC 3461 4.1) */
    if ((set & SMTP_NOTIFY_NEVER) && set != SMTP_NOTIFY_NEVER)
        return false;
    *out = set;
    return true;
}

bool smtp_notify_format(uint8_t notify, struct buf *out)
{
    bool first = true;

    for (size_t i = 0; i < KEYWORDS; i++) {
        if (!(notify & keywords[i].flag))
            continue;
        if (!first)
            (void)buf_append_byte(out, ',');
        (void)buf_append_str(out, keywords[i].keyword);
        first = false;
    }
    return !out->overflow;
}

/* Notifications have no room for more than the printable characters of ASCII, with the blank (RFC 3461
 * 4.2, 4.4). */
static bool printable_xtext(struct slice text)
{
    uint8_t room[SMTP_ORCPT_MAX];
    struct buf plain = {.data = room, .capacity = sizeof(room), .limit = sizeof(room)};

    if (text.len == 0 || text.len > sizeof(room) || !smtp_xtext_decode(text, &plain))
        return false;
    for (size_t i = 0; i < buf_len(&plain); i++)
        if (room[i] < 32 || room[i] > 126)
            return false;
    return true;
}

bool smtp_envid_valid(struct slice value)
{
    return value.len <= SMTP_ENVID_MAX && printable_xtext(value);
}

/* ---- RFC 6533 3 --------------------------------------------------------------------------- */

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What need not be said as itself: HEXPOINT names the characters that cannot stand for themselves, and
 * those beyond ASCII. Control characters are in no mailbox. */
static bool is_hexpoint(uint32_t point)
{
    if (point < 0x80)
        return point == ' ' || point == '+' || point == '=' || point == '\\';
    return point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
}

/* EmbeddedUnicodeChar = "\x{" HEXPOINT "}": off the front of *text; 0: it is none. */
static uint32_t take_embedded(struct slice *text)
{
    uint32_t point = 0;
    size_t digits = 0;

    if (!slice_starts_nocase(*text, SLICE_LITERAL("\\x{")) || text->data[1] != 'x')
        return 0;
    slice_advance(text, 3);
    while (text->len > 0 && digits < 6 && hex_value(text->data[0]) >= 0) {
        if (digits == 0 && text->data[0] == '0')
            return 0; /* one form for one character */
        point = point << 4 | (uint32_t)hex_value(text->data[0]);
        slice_advance(text, 1);
        digits++;
    }
    if (text->len == 0 || text->data[0] != '}' || !is_hexpoint(point))
        return 0;
    slice_advance(text, 1);
    return point;
}

static void append_utf8(uint32_t point, struct buf *out)
{
    if (point < 0x80) {
        (void)buf_append_byte(out, (uint8_t)point);
        return;
    }
    if (point < 0x800) {
        (void)buf_append_byte(out, (uint8_t)(0xc0 | point >> 6));
    } else {
        if (point < 0x10000) {
            (void)buf_append_byte(out, (uint8_t)(0xe0 | point >> 12));
        } else {
            (void)buf_append_byte(out, (uint8_t)(0xf0 | point >> 18));
            (void)buf_append_byte(out, (uint8_t)(0x80 | (point >> 12 & 0x3f)));
        }
        (void)buf_append_byte(out, (uint8_t)(0x80 | (point >> 6 & 0x3f)));
    }
    (void)buf_append_byte(out, (uint8_t)(0x80 | (point & 0x3f)));
}

/* utf-8-addr-xtext and utf-8-addr-unitext, which has octets beyond ASCII too. */
static bool decode_unicode(struct slice text, struct buf *out)
{
    while (text.len > 0) {
        uint8_t c = text.data[0];

        if (c == '\\') {
            uint32_t point = take_embedded(&text);

            if (point == 0)
                return false;
            append_utf8(point, out);
            continue;
        }
        if (c < 33 || c == 127 || c == '+' || c == '=')
            return false;
        (void)buf_append_byte(out, c);
        slice_advance(&text, 1);
    }
    return !out->overflow;
}

/* Decodes to a mailbox of RFC 6531, which also says that the octets beyond ASCII are UTF-8. */
static bool unicode_mailbox(struct slice text, unsigned flags)
{
    uint8_t room[SMTP_ORCPT_MAX]; /* decoded it is never longer */
    struct buf plain = {.data = room, .capacity = sizeof(room), .limit = sizeof(room)};
    struct smtp_address mailbox;

    if (!(flags & SMTP_PATH_UTF8))
        for (size_t i = 0; i < text.len; i++)
            if (text.data[i] >= 0x80)
                return false;
    return decode_unicode(text, &plain)
           && smtp_address_parse(buf_slice(&plain), SMTP_PATH_UTF8, &mailbox) == SMTP_ADDRESS_OK;
}

/* ---- ORCPT -------------------------------------------------------------------------------- */

/* RFC 5322 3.2.3, ASCII only. */
static bool is_atom(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];

        if (c < 33 || c > 126 || strchr("()<>[]:;@\\,.\"", c) != NULL)
            return false;
    }
    return text.len > 0;
}

static bool split(struct slice value, struct slice *type, struct slice *address)
{
    ptrdiff_t semicolon = slice_find(value, ';');

    if (semicolon < 0)
        return false;
    *type = slice_head(value, (size_t)semicolon);
    slice_advance(&value, (size_t)semicolon + 1);
    *address = value;
    return true;
}

static bool is_unicode(struct slice type)
{
    return slice_equal_nocase(type, SLICE_LITERAL("utf-8"));
}

bool smtp_orcpt_valid(struct slice value, unsigned flags)
{
    struct slice type, address;

    if (value.len > SMTP_ORCPT_MAX || !split(value, &type, &address) || !is_atom(type))
        return false;
    return is_unicode(type) ? unicode_mailbox(address, flags) : printable_xtext(address);
}

bool smtp_orcpt_decode(struct slice value, struct slice *type, struct buf *address)
{
    struct slice coded;

    if (!smtp_orcpt_valid(value, SMTP_PATH_UTF8) || !split(value, type, &coded))
        return false;
    return is_unicode(*type) ? decode_unicode(coded, address) : smtp_xtext_decode(coded, address);
}

/* A character off the front of what is known to be UTF-8. */
static uint32_t take_utf8(struct slice *text)
{
    uint8_t first = text->data[0];
    size_t more = first < 0x80 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    uint32_t point = more == 0 ? first : first & (0x3fu >> more);

    for (size_t i = 1; i <= more; i++)
        point = point << 6 | (text->data[i] & 0x3fu);
    slice_advance(text, more + 1);
    return point;
}

bool smtp_orcpt_append_7bit(struct slice value, struct buf *out)
{
    while (value.len > 0) {
        uint32_t point = take_utf8(&value);

        if (point < 0x80)
            (void)buf_append_byte(out, (uint8_t)point);
        else
            (void)buf_printf(out, "\\x{%X}", (unsigned)point);
    }
    return !out->overflow;
}
