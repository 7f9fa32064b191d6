/* send_message: see the header. */
#include "send_message.h"

#include "mail_address_list.h"

void send_message_init(struct send_message *m, bool dot_is_text)
{
    *m = (struct send_message){.dot_is_text = dot_is_text, .first_line = true, .line_start = true};
    buf_init(&m->header, SEND_HEADER_MAX);
}

void send_message_release(struct send_message *m)
{
    buf_finish(&m->header);
}

/* ---- the header section, line by line ------------------------------------------------------ */

/* A field's name and colon (RFC 5322 2.2, with the blanks of 4.5), or a fold of one. */
static bool belongs_to_header(struct slice line, bool first)
{
    size_t i = 0;

    if (line.len > 0 && (line.data[0] == ' ' || line.data[0] == '\t'))
        return !first;
    while (i < line.len && line.data[i] > 32 && line.data[i] < 127 && line.data[i] != ':')
        i++;
    if (i == 0)
        return false;
    while (i < line.len && (line.data[i] == ' ' || line.data[i] == '\t'))
        i++;
    return i < line.len && line.data[i] == ':';
}

/* The header's last line is complete. */
static void header_line(struct send_message *m, struct buf *body)
{
    struct slice line = buf_slice(&m->header);
    bool first = m->line == 0;
    bool mailbox_line;

    slice_advance(&line, m->line);
    mailbox_line = m->first_line && slice_equal(slice_head(line, 5), SLICE_LITERAL("From "));
    m->first_line = false;
    if (mailbox_line) {
        buf_truncate(&m->header, m->line);
        return;
    }
    if (belongs_to_header(line, first)) {
        m->line += line.len;
        return;
    }
    m->header_done = true;
    if (line.len > 2) /* not the empty line: the body begins without one */
        (void)buf_append_slice(body, line);
    buf_truncate(&m->header, m->line);
}

static void put(struct send_message *m, struct slice bytes, struct buf *body)
{
    (void)buf_append_slice(m->header_done ? body : &m->header, bytes);
}

/* ---- lines --------------------------------------------------------------------------------- */

static void line_end(struct send_message *m, struct buf *body)
{
    m->cr = false;
    if (m->dot) {
        m->ended = true;
        return;
    }
    put(m, SLICE_LITERAL("\r\n"), body);
    if (!m->header_done)
        header_line(m, body);
    m->line_start = true;
}

/* How many bytes from the front are in the middle of a line. */
static size_t plain(struct slice bytes)
{
    size_t i = 0;

    while (i < bytes.len && bytes.data[i] != '\r' && bytes.data[i] != '\n')
        i++;
    return i;
}

bool send_message_take(struct send_message *m, struct slice bytes, struct buf *body)
{
    while (bytes.len > 0 && !m->ended) {
        uint8_t c = bytes.data[0];
        size_t len;

        if (c == '\n' || m->cr) { /* a CR alone ends a line, too */
            line_end(m, body);
            if (c == '\n')
                slice_advance(&bytes, 1);
            continue;
        }
        if (c == '\r') {
            m->cr = true;
            slice_advance(&bytes, 1);
            continue;
        }
        if (m->dot) {
            m->dot = false;
            put(m, SLICE_LITERAL("."), body);
        } else if (m->line_start && c == '.' && !m->dot_is_text) {
            m->dot = true;
            m->line_start = false;
            slice_advance(&bytes, 1);
            continue;
        }
        m->line_start = false;
        len = plain(bytes);
        put(m, slice_head(bytes, len), body);
        slice_advance(&bytes, len);
    }
    return !m->header.overflow;
}

bool send_message_finish(struct send_message *m, struct buf *body)
{
    if (!m->ended && (m->cr || m->dot || !m->line_start)) {
        if (m->dot && !m->cr) { /* a dot at the very end, without a line end: it ends as well */
            m->ended = true;
        } else {
            line_end(m, body);
        }
    }
    m->ended = true;
    m->header_done = true;
    return !m->header.overflow;
}

/* ---- fields -------------------------------------------------------------------------------- */

/* Of the field at the front, its folds and line end included. */
static size_t field_len(struct slice left)
{
    size_t i = 0;

    while (i < left.len) {
        const uint8_t *end = memchr(left.data + i, '\n', left.len - i);

        if (end == NULL)
            return left.len;
        i = (size_t)(end - left.data) + 1;
        if (i == left.len || (left.data[i] != ' ' && left.data[i] != '\t'))
            break;
    }
    return i;
}

bool send_message_field(struct slice *left, struct slice *out_name, struct slice *out_value)
{
    struct slice field = slice_head(*left, field_len(*left));
    ptrdiff_t colon = slice_find(field, ':');

    if (field.len == 0 || colon < 0)
        return false;
    slice_advance(left, field.len);
    *out_name = slice_trim(slice_head(field, (size_t)colon));
    slice_advance(&field, (size_t)colon + 1);
    while (field.len > 0
           && (field.data[field.len - 1] == '\n' || field.data[field.len - 1] == '\r'))
        field.len--;
    *out_value = slice_trim(field);
    return true;
}

bool send_message_has(const struct send_message *m, const char *name)
{
    struct slice left = buf_slice(&m->header), field, value;

    while (send_message_field(&left, &field, &value))
        if (slice_equal_nocase(field, slice_str(name)))
            return true;
    return false;
}

static bool names_recipients(struct slice field, bool resent)
{
    if (!resent)
        return slice_equal_nocase(field, SLICE_LITERAL("to"))
               || slice_equal_nocase(field, SLICE_LITERAL("cc"))
               || slice_equal_nocase(field, SLICE_LITERAL("bcc"));
    return slice_equal_nocase(field, SLICE_LITERAL("resent-to"))
           || slice_equal_nocase(field, SLICE_LITERAL("resent-cc"))
           || slice_equal_nocase(field, SLICE_LITERAL("resent-bcc"));
}

bool send_message_recipients(const struct send_message *m,
                             void (*found)(void *context, struct slice address), void *context,
                             struct slice *out_bad)
{
    bool resent = send_message_has(m, "resent-to") || send_message_has(m, "resent-cc")
                  || send_message_has(m, "resent-bcc");
    struct slice left = buf_slice(&m->header), field, value;
    enum mail_address_result result = MAIL_ADDRESS_END;
    struct buf address;

    buf_init(&address, 0);
    while (result != MAIL_ADDRESS_SYNTAX && send_message_field(&left, &field, &value)) {
        if (!names_recipients(field, resent))
            continue;
        while ((result = mail_address_list_next(&value, &address)) == MAIL_ADDRESS_FOUND)
            found(context, buf_slice(&address));
        *out_bad = slice_trim(value);
    }
    buf_finish(&address);
    return result != MAIL_ADDRESS_SYNTAX;
}
