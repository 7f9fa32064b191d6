/* mail_fold: cleaning and folding. */
#include "mail_fold.h"

#include "base_codec.h"

/* A word longer than this is cut in pieces: lines have 998 octets at most (RFC 5322 2.1.1). */
enum { WORD_MAX = 900 };

static bool is_clean(uint8_t c, unsigned clean)
{
    if (c < 32 || c >= 127)
        return false;
    if (clean & MAIL_CLEAN_WORD && strchr(" ()<>@,;\\\"", c) != NULL)
        return false;
    if (clean & MAIL_CLEAN_COMMENT && strchr("()\\", c) != NULL)
        return false;
    return true;
}

/* C1 controls, and what breaks lines or reverses text (Unicode 9.6, UAX 9): what a peer said is to look
 * like what it is. */
static bool is_invisible(struct slice c)
{
    if (c.len == 2)
        return c.data[0] == 0xc2 && c.data[1] < 0xa0;
    if (c.len != 3)
        return false;
    if (c.data[0] == 0xe2 && c.data[1] == 0x80) /* marks, line separators, embeddings */
        return (c.data[2] >= 0x8b && c.data[2] <= 0x8f) || (c.data[2] >= 0xa8 && c.data[2] <= 0xae);
    if (c.data[0] == 0xe2 && c.data[1] == 0x81) /* isolates */
        return c.data[2] >= 0xa0 && c.data[2] <= 0xaf;
    return c.data[0] == 0xef && c.data[1] == 0xbb && c.data[2] == 0xbf; /* byte order mark */
}

/* One character of it, cleaned: how many octets that are. */
static size_t append_utf8(struct buf *out, struct slice text)
{
    bool valid;
    size_t len = utf8_length(text, &valid);

    if (valid && !is_invisible(slice_head(text, len)))
        (void)buf_append(out, text.data, len);
    else
        (void)buf_append_byte(out, '?');
    return len;
}

bool mail_append_clean(struct buf *out, struct slice text, unsigned clean)
{
    while (text.len > 0) {
        size_t plain = 0, other = 0;

        while (plain < text.len && is_clean(text.data[plain], clean))
            plain++;
        (void)buf_append(out, text.data, plain);
        slice_advance(&text, plain);
        if (text.len == 0)
            break;
        if ((clean & MAIL_CLEAN_UTF8) != 0 && text.data[0] >= 0x80) {
            other = append_utf8(out, text);
        } else {
            (void)buf_append_byte(out, '?');
            other = 1;
        }
        slice_advance(&text, other);
    }
    return !out->overflow;
}

void mail_fold_begin(struct mail_fold *f, struct buf *out, const char *name)
{
    *f = (struct mail_fold){.out = out, .line_start = buf_len(out)};
    (void)buf_append_str(out, name);
    (void)buf_append_byte(out, ':');
}

void mail_fold_line(struct mail_fold *f)
{
    (void)buf_append_str(f->out, "\r\n");
    f->line_start = buf_len(f->out);
    (void)buf_append_byte(f->out, '\t');
}

void mail_fold_space(struct mail_fold *f, size_t len)
{
    size_t column = buf_len(f->out) - f->line_start;

    if (column > 1 && column + 1 + len >= MAIL_FOLD_COLUMNS)
        mail_fold_line(f);
    else if (column > 1)
        (void)buf_append_byte(f->out, ' ');
}

void mail_fold_word(struct mail_fold *f, struct slice word, unsigned clean)
{
    mail_fold_space(f, word.len);
    (void)mail_append_clean(f->out, word, clean);
}

void mail_fold_text(struct mail_fold *f, struct slice text)
{
    while (text.len > 0) {
        size_t len = 0;

        while (len < text.len && len < WORD_MAX && text.data[len] != ' ' && text.data[len] != '\n')
            len++;
        for (int i = 0; i < 3 && len == WORD_MAX - (size_t)i && len < text.len
                        && (text.data[len] & 0xc0) == 0x80;
             i++)
            len--; /* not within a character */
        if (len > 0)
            mail_fold_word(f, slice_head(text, len), f->clean);
        else
            len = 1;
        slice_advance(&text, len);
    }
}

void mail_fold_end(struct mail_fold *f)
{
    (void)buf_append_str(f->out, "\r\n");
}
