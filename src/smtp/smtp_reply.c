/* smtp_reply: replies out, by line; replies in, octet by octet. */
#include "smtp_reply.h"

#include "base_assert.h"

/* RFC 5321 4.5.3.1.5: a reply line with its code and CRLF. */
enum { LINE_MAX_OUT = 512 };

static void append_line(struct buf *out, const struct smtp_reply *r, struct slice text, bool last)
{
    size_t before = buf_len(out);
    size_t room;

    (void)buf_append_u64(out, r->code);
    /* RFC 5321 4.2.1 wants the blank even where no text follows. */
    (void)buf_append_byte(out, last ? ' ' : '-');
    if (r->enhanced[0] != 0) {
        for (int i = 0; i < 3; i++) {
            (void)buf_append_u64(out, r->enhanced[i]);
            (void)buf_append_byte(out, i < 2 ? '.' : ' ');
        }
    }
    room = LINE_MAX_OUT - 2 - (buf_len(out) - before);
    text = slice_head(text, room);
    for (size_t i = 0; i < text.len;) {
        size_t start = i;

        while (i < text.len && (text.data[i] == '\t' || (text.data[i] >= 32 && text.data[i] < 127)))
            i++;
        (void)buf_append(out, text.data + start, i - start);
        if (i < text.len) {
            (void)buf_append_byte(out, '?');
            i++;
        }
    }
    (void)buf_append_str(out, "\r\n");
}

bool smtp_reply_format(const struct smtp_reply *r, struct buf *out)
{
    struct slice text = r->text;
    ptrdiff_t end;

    ASSERT(r->code >= 200 && r->code <= 599);
    ASSERT(r->enhanced[1] <= 999 && r->enhanced[2] <= 999);
    while ((end = slice_find(text, '\n')) >= 0) {
        append_line(out, r, slice_head(text, (size_t)end), false);
        slice_advance(&text, (size_t)end + 1);
    }
    append_line(out, r, text, true);
    return !out->overflow;
}

/* status-code = class "." subject "." detail (RFC 3463 2) */
bool smtp_enhanced_parse(struct slice *text, uint16_t out[3])
{
    uint16_t code[3] = {0};
    size_t i = 0;

    for (int part = 0; part < 3; part++) {
        size_t start = i;

        if (part > 0 && (i == text->len || text->data[i++] != '.'))
            return false;
        start = i;
        while (i < text->len && i - start < 3 && text->data[i] >= '0' && text->data[i] <= '9')
            code[part] = (uint16_t)(code[part] * 10 + (text->data[i++] - '0'));
        if (i == start)
            return false;
    }
    if ((code[0] != 2 && code[0] != 4 && code[0] != 5)
        || (i < text->len && text->data[i] != ' ' && text->data[i] != '\t'))
        return false;
    slice_advance(text, i);
    *text = slice_trim(*text);
    memcpy(out, code, sizeof(code));
    return true;
}

/* What the next octet is. */
enum state { FRESH, CODE_1, CODE_2, CODE_3, SEPARATOR, TEXT, LINE_FEED };

void smtp_reply_parser_init(struct smtp_reply_parser *p, void *storage, size_t storage_size)
{
    ASSERT(storage_size > 0 && storage_size <= UINT16_MAX);
    *p = (struct smtp_reply_parser){.storage = storage, .storage_size = (uint16_t)storage_size};
}

void smtp_reply_parser_lend(struct smtp_reply_parser *p, void *storage, size_t storage_size)
{
    ASSERT(p->state == FRESH);
    ASSERT(storage_size > 0 && storage_size <= UINT16_MAX);
    p->storage = storage;
    p->storage_size = (uint16_t)storage_size;
}

void smtp_reply_parser_forget(struct smtp_reply_parser *p)
{
    ASSERT(p->state == CODE_1);
    p->text_len = p->line_start = 0;
}

static void keep(struct smtp_reply_parser *p, uint8_t c)
{
    if (p->text_len < p->storage_size)
        p->storage[p->text_len++] = c < 32 || c == 127 ? '?' : c;
    else
        p->cut = true;
}

/* The line's text is complete: without blanks at its ends, and without the enhanced code, which
 * belongs to the reply (RFC 2034 4: it is repeated in every line). */
static void finish_line(struct smtp_reply_parser *p)
{
    struct slice text =
        slice_trim(slice_of(p->storage + p->line_start, (size_t)(p->text_len - p->line_start)));
    struct slice rest = text;
    uint16_t enhanced[3];

    if (smtp_enhanced_parse(&rest, enhanced) && enhanced[0] == p->code / 100) {
        if (p->lines == 0)
            memcpy(p->enhanced, enhanced, sizeof(enhanced));
        if (memcmp(p->enhanced, enhanced, sizeof(enhanced)) == 0)
            text = rest;
    }
    if (text.len > 0)
        memmove(p->storage + p->line_start, text.data, text.len);
    p->line = slice_of(p->storage + p->line_start, text.len);
    p->text_len = (uint16_t)(p->line_start + text.len);
    p->lines++;
}

/* One digit of the code. The first line sets it, the others have to repeat it (RFC 5321 4.2.1). */
static bool take_digit(struct smtp_reply_parser *p, uint8_t c, unsigned weight)
{
    uint8_t low = weight == 100 ? '2' : '0', high = weight == 100 ? '5' : '9';

    if (c < low || c > high)
        return false;
    if (p->lines == 0)
        p->code = (uint16_t)(p->code + (c - '0') * weight);
    return p->code / weight % 10 == (unsigned)(c - '0');
}

/* Takes one octet; false: this is no reply. A line is complete when the state is LINE_FEED and the
 * octet was LF. */
static bool take_octet(struct smtp_reply_parser *p, uint8_t c)
{
    switch ((enum state)p->state) {
    case FRESH:
        p->text_len = p->line_start = p->code = p->lines = 0;
        p->size = 1;
        p->cut = false;
        memset(p->enhanced, 0, sizeof(p->enhanced));
        p->state = CODE_2;
        return take_digit(p, c, 100);
    case CODE_1: p->state = CODE_2; return take_digit(p, c, 100);
    case CODE_2: p->state = CODE_3; return take_digit(p, c, 10);
    case CODE_3: p->state = SEPARATOR; return take_digit(p, c, 1);
    case SEPARATOR:
        /* A code alone is to be understood too (RFC 5321 4.2.1). */
        p->state = c == '\r' ? LINE_FEED : TEXT;
        p->last_line = c != '-';
        return c == ' ' || c == '-' || c == '\r';
    case TEXT:
        if (c == '\n')
            return false; /* bare: whatever follows could be taken for a reply, or not */
        if (c == '\r')
            p->state = LINE_FEED;
        else
            keep(p, c);
        return true;
    case LINE_FEED:
        if (c == '\n')
            return true;
        keep(p, '\r'); /* it was a part of the text */
        if (c != '\r') {
            keep(p, c);
            p->state = TEXT;
        }
        return true;
    }
    UNREACHABLE();
}

enum smtp_reply_result smtp_reply_parse(struct smtp_reply_parser *p, struct slice *in,
                                        struct smtp_reply *out)
{
    while (in->len > 0) {
        uint8_t c = in->data[0];
        bool line_end = p->state == LINE_FEED && c == '\n';

        slice_advance(in, 1);
        p->size++;
        if (!take_octet(p, c) || p->size > SMTP_REPLY_SIZE_MAX) {
            p->line = slice_of(p->storage + p->line_start, (size_t)(p->text_len - p->line_start));
            return SMTP_REPLY_MALFORMED;
        }
        if (!line_end)
            continue;
        finish_line(p);
        if (p->last_line) {
            p->state = FRESH;
            while (p->text_len > 0 && p->storage[p->text_len - 1] == '\n')
                p->text_len--;
            *out = (struct smtp_reply){.code = p->code, .text = slice_of(p->storage, p->text_len)};
            memcpy(out->enhanced, p->enhanced, sizeof(out->enhanced));
            return SMTP_REPLY_DONE;
        }
        if (p->lines >= SMTP_REPLY_LINES_MAX)
            return SMTP_REPLY_MALFORMED;
        if (p->text_len > 0 && p->text_len < p->storage_size)
            p->storage[p->text_len++] = '\n';
        p->line_start = p->text_len;
        p->state = CODE_1;
        return SMTP_REPLY_LINE;
    }
    return SMTP_REPLY_MORE;
}
