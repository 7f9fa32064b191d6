/*
 * smtp_dot: undo and apply dot-stuffing (RFC 5321 4.5.2). Pure; copies nothing.
 *
 * Both directions work on any cut of the stream. Only CRLF ends a line and only CRLF "." CRLF ends
 * the data (RFC 5321 2.3.8, 4.1.1.4). Whoever takes another form for the end lets strangers smuggle
 * messages, so bare CR and LF are noted always, and in normalize mode repaired.
 */
#ifndef SMTP_DOT_H
#define SMTP_DOT_H

#include "base_slice.h"

/* What was seen in the decoded bytes. */
enum smtp_dot_fact {
    SMTP_DOT_LEADING = 1 << 0, /* a line of the decoded data starts with a dot */
    SMTP_DOT_8BIT = 1 << 1,
    SMTP_DOT_NUL = 1 << 2,
    SMTP_DOT_BARE_CR = 1 << 3,
    SMTP_DOT_BARE_LF = 1 << 4,
};

struct smtp_dot {
    uint8_t state;
    uint8_t facts; /* a set of enum smtp_dot_fact */
    bool normalize;
};

enum smtp_dot_result { SMTP_DOT_MORE, SMTP_DOT_END };

/* normalize: a bare LF becomes CRLF and a bare CR a space. Otherwise both pass, and are noted. */
void smtp_dot_init(struct smtp_dot *dot, bool normalize);

/* Takes some of *in and points *body at the decoded bytes: a part of *in, or a constant of a few bytes
 * (where a line end was cut in two); may be empty, unless nothing was taken. MORE: call again, with more input once *in is
 * empty. END: the final dot was taken, *body holds the last bytes, *in what follows. */
enum smtp_dot_result smtp_dot_decode(struct smtp_dot *dot, struct slice *in, struct slice *body);

struct smtp_dot_encoder {
    uint8_t state;
};

void smtp_dot_encoder_init(struct smtp_dot_encoder *e);
/* Takes some of *in (all of it where no line starts with a dot) and answers what to send: a part of
 * *in. Call until *in is empty. A stuffed dot is sent by having it in two slices. */
struct slice smtp_dot_encode(struct smtp_dot_encoder *e, struct slice *in);
/* What ends the data: a CRLF first if the data did not end with one. */
struct slice smtp_dot_encode_end(const struct smtp_dot_encoder *e);

#endif
