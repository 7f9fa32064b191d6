/*
 * send_message: from what a program writes on its standard output to what SMTP carries: lines that end in
 * CRLF, without a mailbox's "From " line at the top, up to a line with a dot alone (unless that is text) or
 * the end. The header section is kept until it is whole, since it may say who gets the message. Pure.
 *
 *     send_message_init(&m, dot_is_text);
 *     while bytes arrive and !m.ended:  send_message_take(&m, bytes, &body)
 *                                       send_message_finish(&m, &body)
 *     from m.header_done on, m.header stands; all that was and is put into `body` belongs behind it
 */
#ifndef SEND_MESSAGE_H
#define SEND_MESSAGE_H

#include "base_buf.h"

enum { SEND_HEADER_MAX = 1024 * 1024 };

struct send_message {
    struct buf header; /* fields, each line with its CRLF; without the empty line behind them */
    bool header_done;
    bool ended; /* the dot was seen: what comes behind it is nothing */
    bool dot_is_text;
    bool first_line;
    bool line_start;
    bool cr, dot; /* held back: the last byte, which is one of these */
    size_t line;  /* where the header's last line begins */
};

void send_message_init(struct send_message *m, bool dot_is_text);
void send_message_release(struct send_message *m); /* frees the header */
/* False: the header section is larger than SEND_HEADER_MAX. */
bool send_message_take(struct send_message *m, struct slice bytes, struct buf *body);
bool send_message_finish(struct send_message *m, struct buf *body);

/* The next field of a header section off the front of *left: its name, and its value with its folds.
 * False: no more. */
bool send_message_field(struct slice *left, struct slice *out_name, struct slice *out_value);
bool send_message_has(const struct send_message *m, const char *name);

/* Whom To, Cc and Bcc name, or Resent-To, Resent-Cc and Resent-Bcc where there is any of these: one
 * call of `found` for each address. False: an entry makes no sense; *out_bad is it. */
bool send_message_recipients(const struct send_message *m,
                             void (*found)(void *context, struct slice address), void *context,
                             struct slice *out_bad);

#endif
