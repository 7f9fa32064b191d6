/*
 * smtp_dot: the states are what the bytes before the next one were. A CR or dot whose meaning hangs
 * on the next byte is taken and held back in the state, so that a decoder always takes all its input.
 */
#include "smtp_dot.h"

#include "base_assert.h"
#include "smtp_scan.h"

enum state {
    LINE_START, /* CRLF, or nothing yet */
    MIDDLE,
    CR,      /* held back */
    DOT,     /* at the start of a line; held back */
    DOT_CR,  /* both held back */
    MENDED,  /* normalize: an LF that became CRLF: the line that starts here has no dot to undo */
    STUFFED, /* encoder: the dot in front of the input has been sent once already */
};

#define CRLF SLICE_LITERAL("\r\n")

void smtp_dot_init(struct smtp_dot *dot, bool normalize)
{
    *dot = (struct smtp_dot){.state = LINE_START, .normalize = normalize};
}

static void note(struct smtp_dot *dot, enum smtp_dot_fact fact)
{
    dot->facts = (uint8_t)(dot->facts | fact);
}

/* A CR that no LF followed. As CRLF it would break the common CR CR LF into two lines; a blank harms
 * nothing and ends nothing. */
static struct slice bare_cr(struct smtp_dot *dot)
{
    note(dot, SMTP_DOT_BARE_CR);
    dot->state = MIDDLE;
    return dot->normalize ? SLICE_LITERAL(" ") : SLICE_LITERAL("\r");
}

/* The byte at `at` is no part of the run that is being taken. */
static struct slice cut(struct smtp_dot *dot, struct slice *in, size_t at, size_t taken,
                        enum state state)
{
    struct slice body = slice_head(*in, at);

    slice_advance(in, taken);
    dot->state = (uint8_t)state;
    return body;
}

/* At an LF without its CR, in normalize mode. The bytes before it go first. */
static struct slice mend_lf(struct smtp_dot *dot, struct slice *in, size_t at)
{
    if (at > 0)
        return cut(dot, in, at, at, MIDDLE);
    slice_advance(in, 1);
    dot->state = MENDED;
    return CRLF;
}

/* Takes a run of bytes that pass as they are, from within a line on. Ends behind a CRLF that a dot
 * may follow, before a byte that normalize changes, or with the input. */
static struct slice take_run(struct smtp_dot *dot, struct slice *in)
{
    const uint8_t *p = in->data;
    size_t len = in->len, at = 0, careful = 0;

    while (at < len) {
        uint8_t c = p[at];

        /* Blocks of plain lines; where one is not plain, look at its bytes one by one. An LF in
         * front is left to those, as a block cannot see what was before it. */
        if (at >= careful && c != '\n') {
            unsigned seen = 0;

            at += smtp_scan_clean(slice_of(p + at, len - at), &seen);
            if (seen & SMTP_SCAN_8BIT)
                note(dot, SMTP_DOT_8BIT);
            if (seen & SMTP_SCAN_NUL)
                note(dot, SMTP_DOT_NUL);
            careful = at + 64;
            c = p[at];
        }
        if (c == '\n') {
            if (at == 0 || p[at - 1] != '\r') {
                note(dot, SMTP_DOT_BARE_LF);
                if (dot->normalize)
                    return mend_lf(dot, in, at);
            } else if (at + 1 == len || p[at + 1] == '.') {
                return cut(dot, in, at + 1, at + 1, LINE_START);
            }
        } else if (c == '\r') {
            if (at + 1 == len)
                return cut(dot, in, at, len, CR);
            if (p[at + 1] != '\n') {
                if (dot->normalize && at > 0)
                    return cut(dot, in, at, at, MIDDLE);
                note(dot, SMTP_DOT_BARE_CR);
                if (dot->normalize) {
                    slice_advance(in, 1);
                    return bare_cr(dot);
                }
            }
        } else if (c >= 0x80) {
            note(dot, SMTP_DOT_8BIT);
        } else if (c == 0) {
            note(dot, SMTP_DOT_NUL);
        }
        at++;
    }
    return cut(dot, in, len, len, MIDDLE);
}

enum smtp_dot_result smtp_dot_decode(struct smtp_dot *dot, struct slice *in, struct slice *body)
{
    *body = SLICE_NULL;
    while (in->len > 0) {
        uint8_t c = in->data[0];

        switch ((enum state)dot->state) {
        case LINE_START:
            if (c == '.') {
                slice_advance(in, 1);
                dot->state = DOT;
                continue;
            }
            break;
        case DOT:
            if (c == '\r') {
                slice_advance(in, 1);
                dot->state = DOT_CR;
                continue;
            }
            if (c == '.')
                note(dot, SMTP_DOT_LEADING);
            break;
        case DOT_CR:
            if (c == '\n') {
                slice_advance(in, 1);
                dot->state = LINE_START;
                return SMTP_DOT_END;
            }
            *body = bare_cr(dot);
            return SMTP_DOT_MORE;
        case CR:
            if (c == '\n') {
                slice_advance(in, 1);
                dot->state = LINE_START;
                *body = CRLF;
            } else {
                *body = bare_cr(dot);
            }
            return SMTP_DOT_MORE;
        case MENDED:
            if (c == '.')
                note(dot, SMTP_DOT_LEADING);
            break;
        case MIDDLE: break;
        case STUFFED: UNREACHABLE();
        }
        dot->state = MIDDLE;
        *body = take_run(dot, in);
        /* Nearly every body ends here: spare its caller a round. */
        if (dot->state == LINE_START && in->len >= 3 && memcmp(in->data, ".\r\n", 3) == 0) {
            slice_advance(in, 3);
            return SMTP_DOT_END;
        }
        return SMTP_DOT_MORE;
    }
    return SMTP_DOT_MORE;
}

void smtp_dot_encoder_init(struct smtp_dot_encoder *e)
{
    e->state = LINE_START;
}

/* Where the first dot at the start of a line is, from the second byte on; s.len if there is none. */
static size_t find_line_dot(struct slice s, bool after_cr)
{
    size_t at = 0;

    while (at + 1 < s.len) {
        size_t block_end;

        at += smtp_scan_undotted(slice_of(s.data + at, s.len - at));
        block_end = s.len - at > 64 ? at + 64 : s.len - 1;
        for (; at < block_end; at++)
            if (s.data[at] == '\n' && s.data[at + 1] == '.'
                && (at > 0 ? s.data[at - 1] == '\r' : after_cr))
                return at + 1;
    }
    return s.len;
}

struct slice smtp_dot_encode(struct smtp_dot_encoder *e, struct slice *in)
{
    bool after_cr = e->state == CR;
    struct slice out;
    size_t dot;

    if (in->len == 0)
        return SLICE_NULL;
    if (e->state == LINE_START && in->data[0] == '.') {
        e->state = STUFFED;
        return slice_head(*in, 1);
    }
    dot = find_line_dot(*in, after_cr);
    if (dot < in->len) {
        /* Up to the dot and with it; the next slice starts with the same dot again. */
        out = slice_head(*in, dot + 1);
        slice_advance(in, dot);
        e->state = STUFFED;
        return out;
    }
    out = *in;
    slice_advance(in, in->len);
    switch (out.data[out.len - 1]) {
    case '\r': e->state = CR; break;
    case '\n':
        after_cr = out.len > 1 ? out.data[out.len - 2] == '\r' : after_cr;
        e->state = after_cr ? LINE_START : MIDDLE;
        break;
    default: e->state = MIDDLE; break;
    }
    return out;
}

struct slice smtp_dot_encode_end(const struct smtp_dot_encoder *e)
{
    ASSERT(e->state != STUFFED); /* there is input left */
    return e->state == LINE_START ? SLICE_LITERAL(".\r\n") : SLICE_LITERAL("\r\n.\r\n");
}
