/* mail_fold: cleaning and folding. */
#include "mail_fold.h"

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

bool mail_append_clean(struct buf *out, struct slice text, unsigned clean)
{
    for (size_t i = 0; i < text.len;) {
        size_t start = i;

        while (i < text.len && is_clean(text.data[i], clean))
            i++;
        (void)buf_append(out, text.data + start, i - start);
        if (i < text.len) {
            (void)buf_append_byte(out, '?');
            i++;
        }
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
        if (len > 0)
            mail_fold_word(f, slice_head(text, len), MAIL_CLEAN_TEXT);
        else
            len = 1;
        slice_advance(&text, len);
    }
}

void mail_fold_end(struct mail_fold *f)
{
    (void)buf_append_str(f->out, "\r\n");
}
