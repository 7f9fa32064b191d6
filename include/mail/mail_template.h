/*
 * mail_template: the words of a notification, as an operator writes them in a file (docs/notices.md) and
 * as our own are written. A header, an empty line, and the text, in which $name or ${name} stands for
 * something that is known of the message, and $$ for a dollar sign:
 *
 *     Subject: Your mail did not arrive
 *     From: Mail at Example <postmaster@example.org>
 *     Charset: utf-8
 *
 *     This is $hostname. Sorry:
 *
 *     $reasons
 *
 * All fields may be left out. Pure; a template refers to the text that it was read from.
 */
#ifndef MAIL_TEMPLATE_H
#define MAIL_TEMPLATE_H

#include "base_buf.h"

enum { MAIL_TEMPLATE_MAX = 32 * 1024 }; /* octets of a file */

enum mail_variable {
    MAIL_VARIABLE_HOSTNAME,   /* ours */
    MAIL_VARIABLE_POSTMASTER, /* whom to ask for help */
    MAIL_VARIABLE_ID,         /* of the message, in our log and queue */
    MAIL_VARIABLE_AGE,        /* how long the message has been here: "4 hours" */
    MAIL_VARIABLE_HOURS,      /* the same as a number */
    MAIL_VARIABLE_DAYS,
    MAIL_VARIABLE_SENDER,
    MAIL_VARIABLE_SUBJECT,     /* the message's, if it can be shown */
    MAIL_VARIABLE_ARRIVED,     /* date */
    MAIL_VARIABLE_RETRY_UNTIL, /* date, of a delay */
    MAIL_VARIABLE_RETURNED,    /* a sentence: what of the message is attached */
    /* Several lines. */
    MAIL_VARIABLE_MESSAGE,    /* subject and date, for who is to remember it */
    MAIL_VARIABLE_RECIPIENTS, /* addresses */
    MAIL_VARIABLE_REASONS,    /* addresses, what became of each, what to do, what the remote said */
    MAIL_VARIABLE_COUNT,
};

struct mail_template {
    struct slice subject; /* empty: ours; both may have variables up to DAYS */
    struct slice from;
    struct slice body; /* lines end with LF or CRLF */
};

/* False, with the line from 1 and what is wrong with it, if the text is no template. */
bool mail_template_parse(struct slice text, struct mail_template *out, unsigned *out_line,
                         struct buf *out_why);

/* Appends a text with its variables replaced by what `value` appends for each. */
bool mail_template_expand(struct slice text,
                          void (*value)(void *context, enum mail_variable variable,
                                        struct buf *out),
                          void *context, struct buf *out);

#endif
