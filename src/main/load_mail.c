/* load_mail: see the header. */
#include "load_mail.h"

#include <errno.h>
#include <stdio.h>

#include "base_assert.h"
#include "base_codec.h"
#include "base_crc32c.h"
#include "base_mem.h"
#include "base_rand.h"
#include "smtp_address.h"
#include "smtp_dot.h"
#include "tool_file.h"

enum {
    LINE_LEN = 78, /* with CRLF */
    LINE_LEN_STUFFED = LINE_LEN + 1,
    DOT_EVERY = 8,
    VARIANTS = 16,      /* lines at which pieces of the filler begin */
    LAST_LINE_MIN = 48, /* an id fits */
    HEADER_ROOM = 400,  /* what our own header takes, addresses not counted */
};

static const size_t file_size_max = (size_t)1 << 30;

/* ---- addresses ------------------------------------------------------------------------------ */

void load_mail_address(const struct load_mail *m, const char *pattern, uint64_t counter,
                       struct buf *out)
{
    if (m->options->addresses != 0)
        counter %= m->options->addresses;
    for (const char *p = pattern; *p != '\0'; p++) {
        if (p[0] == '%' && p[1] == 'd') {
            (void)buf_append_u64(out, counter);
            p++;
        } else {
            if (p[0] == '%' && p[1] == '%')
                p++;
            (void)buf_append_byte(out, (uint8_t)*p);
        }
    }
}

static bool check_address(const struct load_mail *m, const char *option, const char *pattern,
                          struct buf *out_error)
{
    struct smtp_address address;
    struct buf text;
    bool ok;

    buf_init(&text, 0);
    load_mail_address(m, pattern, UINT64_MAX, &text);
    ok = smtp_address_parse(buf_slice(&text), 0, &address) == SMTP_ADDRESS_OK;
    if (!ok)
        (void)buf_printf(out_error, "--%s %s: not an address", option, pattern);
    buf_finish(&text);
    return ok;
}

/* ---- made-up bodies --------------------------------------------------------------------------- */

static bool line_has_dot(const struct load_mail *m, size_t line)
{
    return m->options->dots && line % DOT_EVERY == 0;
}

/* Where a line of the filler begins in its wire form. */
static size_t line_offset(const struct load_mail *m, size_t line)
{
    return line * LINE_LEN + (m->options->dots ? (line + DOT_EVERY - 1) / DOT_EVERY : 0);
}

static void fill_line(const struct load_mail *m, struct rand *rand, uint8_t *line)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 +";

    for (size_t i = 0; i < LINE_LEN - 2; i += 2) {
        uint64_t random = rand_u64(rand);

        if (m->options->eight_bit && i % 8 == 4) {
            line[i] = 0xc3; /* U+00C0 to U+00FF */
            line[i + 1] = (uint8_t)(0x80 | (random & 0x3f));
        } else {
            line[i] = (uint8_t)letters[random & 63];
            line[i + 1] = (uint8_t)letters[random >> 6 & 63];
        }
    }
    line[LINE_LEN - 2] = '\r';
    line[LINE_LEN - 1] = '\n';
}

static void make_filler(struct load_mail *m, size_t lines)
{
    struct rand rand;

    m->filler = mem_alloc(line_offset(m, lines) + LINE_LEN_STUFFED);
    rand_seed(&rand, m->run);
    for (size_t i = 0; i < lines; i++) {
        uint8_t *line = m->filler + line_offset(m, i);

        if (line_has_dot(m, i))
            *line++ = '.';
        fill_line(m, &rand, line);
        if (line_has_dot(m, i))
            line[0] = '.';
    }
}

static void make_body(struct load_mail *m, uint64_t size, size_t first, struct load_body *out)
{
    size_t lines = size > LAST_LINE_MIN ? (size_t)(size - LAST_LINE_MIN) / LINE_LEN : 0;
    size_t start = line_offset(m, first);
    uint32_t crc = 0;

    for (size_t i = first; i < first + lines; i++) {
        size_t at = line_offset(m, i) + (line_has_dot(m, i) ? 1 : 0);
        crc = crc32c(crc, m->filler + at, LINE_LEN);
    }
    *out = (struct load_body){
        .wire = slice_of(m->filler + start, line_offset(m, first + lines) - start),
        .crc = crc,
        .len = (uint64_t)lines * LINE_LEN,
        .last_line_len = (size_t)(size - (uint64_t)lines * LINE_LEN),
    };
    if (out->last_line_len < LAST_LINE_MIN)
        out->last_line_len = LAST_LINE_MIN;
}

static void make_bodies(struct load_mail *m)
{
    const struct load_options *o = m->options;
    uint64_t biggest = 0;

    for (size_t i = 0; i < o->size_count; i++) {
        if (o->sizes[i] > biggest)
            biggest = o->sizes[i];
    }
    make_filler(m, (size_t)biggest / LINE_LEN + VARIANTS + 1);
    m->body_count = o->size_count * VARIANTS;
    m->bodies = mem_calloc(m->body_count, sizeof(*m->bodies));
    for (size_t i = 0; i < m->body_count; i++)
        make_body(m, o->sizes[i % o->size_count], i / o->size_count, &m->bodies[i]);
}

/* ---- files ------------------------------------------------------------------------------------ */

/* Every line end becomes CRLF, and there is one at the end. A message without a body gets the empty
 * line that ends its header. */
static void normalize(struct slice in, struct buf *out)
{
    bool in_header = true;
    size_t line_len = 0;

    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.data[i];

        if (c == '\n' || (c == '\r' && (i + 1 == in.len || in.data[i + 1] != '\n'))) {
            in_header &= line_len > 0;
            line_len = 0;
            (void)buf_append_str(out, "\r\n");
        } else if (c != '\r') {
            line_len++;
            (void)buf_append_byte(out, c);
        }
    }
    if (line_len > 0)
        (void)buf_append_str(out, "\r\n");
    if (in_header)
        (void)buf_append_str(out, "\r\n");
}

static void stuff(struct slice in, struct buf *out)
{
    struct smtp_dot_encoder encoder;

    smtp_dot_encoder_init(&encoder);
    while (in.len > 0)
        (void)buf_append_slice(out, smtp_dot_encode(&encoder, &in));
}

static bool load_file(const char *path, struct buf *wire, struct load_body *out,
                      struct buf *out_error)
{
    struct tool_mark_reader reader;
    struct buf raw, lines;
    bool ok;

    buf_init(&raw, file_size_max);
    buf_init(&lines, 0);
    ok = tool_file_read("--file", path, &raw, out_error);
    if (ok) {
        normalize(buf_slice(&raw), &lines);
        stuff(buf_slice(&lines), wire);
        tool_mark_reader_init(&reader);
        tool_mark_read(&reader, buf_slice(&lines));
        *out = (struct load_body){
            .wire = buf_slice(wire), .crc = reader.body_crc, .len = reader.body_len};
        if (lines.overflow || wire->overflow) {
            (void)buf_printf(out_error, "--file %s: too large", path);
            ok = false;
        }
    }
    buf_finish(&raw);
    buf_finish(&lines);
    return ok;
}

/* ---- together --------------------------------------------------------------------------------- */

bool load_mail_init(struct load_mail *m, const struct load_options *o, uint32_t run,
                    struct buf *out_error)
{
    *m = (struct load_mail){.options = o, .run = run};
    if ((strcmp(o->from, "<>") != 0 && !check_address(m, "from", o->from, out_error))
        || !check_address(m, "to", o->to, out_error))
        return false;
    if (o->file_count == 0) {
        make_bodies(m);
        return true;
    }
    m->body_count = o->file_count;
    m->bodies = mem_calloc(m->body_count, sizeof(*m->bodies));
    m->files = mem_calloc(m->body_count, sizeof(*m->files));
    for (size_t i = 0; i < m->body_count; i++) {
        buf_init(&m->files[i], 0);
        if (!load_file(o->files[i], &m->files[i], &m->bodies[i], out_error))
            return false;
    }
    return true;
}

uint64_t load_mail_size(const struct load_mail *m, uint64_t serial)
{
    const struct load_body *body = load_mail_body(m, serial);

    return body->wire.len + body->last_line_len + HEADER_ROOM + strlen(m->options->from)
           + strlen(m->options->to) + strlen(m->options->helo);
}

void load_mail_finish(struct load_mail *m)
{
    for (size_t i = 0; m->files != NULL && i < m->body_count; i++)
        buf_finish(&m->files[i]);
    mem_free(m->files);
    mem_free(m->bodies);
    mem_free(m->filler);
    *m = (struct load_mail){0};
}

static void write_last_line(const struct tool_mark *mark, size_t len, uint8_t *line)
{
    char id[TOOL_MARK_ID_SIZE];
    size_t id_len = tool_mark_id(mark, id);

    ASSERT(len >= LAST_LINE_MIN && id_len + 2 <= len);
    memcpy(line, id, id_len);
    memset(line + id_len, '-', len - id_len - 2);
    memcpy(line + len - 2, "\r\n", 2);
}

static void append_header(const struct load_mail *m, uint64_t serial, const char *date,
                          const struct tool_mark *mark, struct buf *out)
{
    char id[TOOL_MARK_ID_SIZE];

    (void)buf_append_str(out, "From: <");
    if (strcmp(m->options->from, "<>") != 0)
        load_mail_address(m, m->options->from, serial, out);
    (void)buf_append_str(out, ">\r\nTo: <");
    load_mail_address(m, m->options->to, serial * m->options->recipients, out);
    (void)buf_append_str(out, ">\r\nSubject: load\r\nDate: ");
    (void)buf_append_str(out, date);
    (void)buf_append_str(out, "\r\nMessage-ID: <");
    (void)buf_append(out, id, tool_mark_id(mark, id));
    (void)buf_append_byte(out, '@');
    (void)buf_append_str(out, m->options->helo);
    (void)buf_append_str(out, ">\r\n");
    if (m->options->eight_bit)
        (void)buf_append_str(out, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n"
                                  "Content-Transfer-Encoding: 8bit\r\n");
    (void)buf_append_str(out, "\r\n");
}

size_t load_mail_make(const struct load_mail *m, uint64_t serial, const char *date,
                      struct tool_mark *mark, struct buf *out)
{
    const struct load_body *body = load_mail_body(m, serial);
    uint8_t line[LAST_LINE_MIN + LINE_LEN];
    size_t rest;

    mark->body_crc = body->crc;
    mark->body_len = body->len + body->last_line_len;
    if (body->last_line_len > 0) {
        ASSERT(body->last_line_len <= sizeof(line));
        write_last_line(mark, body->last_line_len, line);
        mark->body_crc = crc32c(body->crc, line, body->last_line_len);
    }
    tool_mark_append(mark, out);
    if (body->last_line_len > 0)
        append_header(m, serial, date, mark, out);
    rest = buf_len(out);
    (void)buf_append(out, line, body->last_line_len);
    (void)buf_append_str(out, ".\r\n");
    return rest;
}
