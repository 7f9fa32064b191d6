/*
 * mail_fold: appends text that peers chose to a message of ours, so that it stays what it is: one
 * word, one field, a line of a bounded length.
 */
#ifndef MAIL_FOLD_H
#define MAIL_FOLD_H

#include "base_buf.h"

enum { MAIL_FOLD_COLUMNS = 78 }; /* RFC 5322 2.1.1 */

/* What becomes '?'. Control characters always do. */
enum mail_clean {
    MAIL_CLEAN_TEXT = 0,         /* only those and 8-bit */
    MAIL_CLEAN_WORD = 1 << 0,    /* blanks and what ends a word in a Received field, too */
    MAIL_CLEAN_COMMENT = 1 << 1, /* parentheses and backslash, too */
    MAIL_CLEAN_UTF8 = 1 << 2, /* 8-bit stays if it is UTF-8, but for what ends lines or turns text
                                    around where it is shown */
};
bool mail_append_clean(struct buf *out, struct slice text, unsigned clean);

/* A header field that is being written. */
struct mail_fold {
    struct buf *out;
    size_t line_start; /* unread bytes of `out` before the line */
    unsigned clean;    /* of mail_fold_text() */
};

/* Appends "Name:" */
void mail_fold_begin(struct mail_fold *f, struct buf *out, const char *name);
/* The next parts, of about `len` octets, go behind a blank, or on a line of their own if they do not
 * fit. */
void mail_fold_space(struct mail_fold *f, size_t len);
void mail_fold_line(struct mail_fold *f); /* on a line of their own */
/* A blank and the word. */
void mail_fold_word(struct mail_fold *f, struct slice word, unsigned clean);
/* The words of a text of several lines. */
void mail_fold_text(struct mail_fold *f, struct slice text);
void mail_fold_end(struct mail_fold *f);

#endif
