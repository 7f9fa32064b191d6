/* tool_mark: see the header. */
#include "tool_mark.h"

#include <inttypes.h>
#include <stdio.h>

#include "base_assert.h"
#include "base_codec.h"
#include "base_crc32c.h"
#include "base_hash.h"
#include "tool_options.h"

#define ID_FIELD  "X-Load-Id:"
#define SUM_FIELD "X-Load-Sum:"

size_t tool_mark_id(const struct tool_mark *mark, char out[TOOL_MARK_ID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    size_t len = 0;

    /* By hand: it is done for every message, and printf costs more than all the rest. */
    for (int shift = 28; shift >= 0; shift -= 4)
        out[len++] = digits[mark->run >> shift & 15];
    out[len++] = '-';
    len += u64_to_text(mark->session, out + len);
    out[len++] = '-';
    len += u64_to_text(mark->number, out + len);
    out[len] = '\0';
    return len;
}

static bool hex_parse(struct slice text, uint32_t *out)
{
    uint32_t value = 0;

    if (text.len != 8)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        unsigned digit;

        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (c >= 'a' && c <= 'f')
            digit = c - 'a' + 10;
        else
            return false;
        value = value << 4 | digit;
    }
    *out = value;
    return true;
}

bool tool_mark_id_parse(struct slice text, struct tool_mark *out)
{
    struct slice run, session;
    uint64_t session_number, number;
    uint32_t run_number;

    if (!tool_split(&text, '-', &run) || !tool_split(&text, '-', &session)
        || !hex_parse(run, &run_number) || !slice_to_u64(session, &session_number)
        || session_number > UINT32_MAX || !slice_to_u64(text, &number))
        return false;
    out->run = run_number;
    out->session = (uint32_t)session_number;
    out->number = number;
    return true;
}

static bool sum_parse(struct slice text, struct tool_mark *out)
{
    struct slice crc;
    uint32_t body_crc;
    uint64_t body_len;

    if (!tool_split(&text, '-', &crc) || !hex_parse(crc, &body_crc)
        || !slice_to_u64(text, &body_len))
        return false;
    out->body_crc = body_crc;
    out->body_len = body_len;
    return true;
}

uint64_t tool_mark_hash(const struct tool_mark *mark)
{
    uint64_t stream = (uint64_t)mark->run << 32 | mark->session;

    return hash_u64(hash_u64(stream) ^ mark->number);
}

void tool_mark_append(const struct tool_mark *mark, struct buf *out)
{
    char id[TOOL_MARK_ID_SIZE];
    struct tool_mark sum = {.run = mark->body_crc};
    char crc[TOOL_MARK_ID_SIZE];

    (void)tool_mark_id(&sum, crc); /* its first eight characters are a number in hexadecimal */
    (void)buf_append_str(out, ID_FIELD " ");
    (void)buf_append(out, id, tool_mark_id(mark, id));
    (void)buf_append_str(out, "\r\n" SUM_FIELD " ");
    (void)buf_append(out, crc, 8);
    (void)buf_append_byte(out, '-');
    (void)buf_append_u64(out, mark->body_len);
    (void)buf_append_str(out, "\r\n");
}

void tool_mark_reader_init(struct tool_mark_reader *r)
{
    r->mark = (struct tool_mark){0};
    r->has_id = r->has_sum = r->in_body = r->line_cut = false;
    r->line_len = 0;
    r->body_crc = 0;
    r->body_len = r->size = 0;
}

/* A whole line of the header, without LF. The first of each field counts: what a bounce quotes lies in
 * the body. */
static void header_line(struct tool_mark_reader *r, struct slice line)
{
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    if (line.len == 0) {
        r->in_body = true;
    } else if (!r->has_id && slice_starts_nocase(line, SLICE_LITERAL(ID_FIELD))) {
        slice_advance(&line, strlen(ID_FIELD));
        r->has_id = tool_mark_id_parse(slice_trim(line), &r->mark);
    } else if (!r->has_sum && slice_starts_nocase(line, SLICE_LITERAL(SUM_FIELD))) {
        slice_advance(&line, strlen(SUM_FIELD));
        r->has_sum = sum_parse(slice_trim(line), &r->mark);
    }
}

static void keep_part(struct tool_mark_reader *r, struct slice part)
{
    size_t room = sizeof(r->line) - r->line_len;

    if (part.len > room)
        r->line_cut = true;
    part = slice_head(part, room);
    if (part.len > 0)
        memcpy(r->line + r->line_len, part.data, part.len);
    r->line_len = (uint8_t)(r->line_len + part.len);
}

static void take_header(struct tool_mark_reader *r, struct slice *bytes)
{
    while (bytes->len > 0 && !r->in_body) {
        ptrdiff_t lf = slice_find(*bytes, '\n');
        struct slice line = slice_head(*bytes, lf < 0 ? bytes->len : (size_t)lf);

        slice_advance(bytes, lf < 0 ? line.len : line.len + 1);
        if (lf >= 0 && r->line_len == 0 && !r->line_cut) {
            header_line(r, line);
            continue;
        }
        keep_part(r, line);
        if (lf < 0)
            return;
        if (!r->line_cut)
            header_line(r, slice_of(r->line, r->line_len));
        r->line_len = 0;
        r->line_cut = false;
    }
}

void tool_mark_read(struct tool_mark_reader *r, struct slice bytes)
{
    r->size += bytes.len;
    if (!r->in_body)
        take_header(r, &bytes);
    if (bytes.len == 0)
        return;
    ASSERT(r->in_body);
    r->body_crc = crc32c(r->body_crc, bytes.data, bytes.len);
    r->body_len += bytes.len;
}

enum tool_mark_verdict tool_mark_verdict(const struct tool_mark_reader *r)
{
    if (!r->has_id || !r->has_sum)
        return TOOL_MARK_NONE;
    if (r->body_crc != r->mark.body_crc || r->body_len != r->mark.body_len)
        return TOOL_MARK_ALTERED;
    return TOOL_MARK_GOOD;
}

const char *tool_mark_verdict_name(enum tool_mark_verdict verdict)
{
    static const char *const names[] = {
        [TOOL_MARK_NONE] = "none", [TOOL_MARK_GOOD] = "good", [TOOL_MARK_ALTERED] = "altered"};

    return names[verdict];
}
