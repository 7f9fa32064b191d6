/*
 * mail_dsn_priv: what the parts of a notification share.
 *
 *   mail_dsn.c           its header, and the order of its parts
 *   mail_dsn_words.c     the part for people
 *   mail_dsn_cause.c     what a status code means, and what to do about it, in their words
 *   mail_dsn_status.c    the part for programs
 *   mail_dsn_original.c  the message that it is about: whole, its header, or some of its fields
 */
#ifndef MAIL_DSN_PRIV_H
#define MAIL_DSN_PRIV_H

#include "mail_dsn.h"
#include "mail_template.h"

struct mail_dsn_cause {
    const char *what;   /* a sentence */
    const char *advice; /* or NULL */
};
const struct mail_dsn_cause *mail_dsn_cause(const struct mail_dsn_rcpt *r);

/* Ours, or the operator's; each field of it that is not empty holds. */
const struct mail_template *mail_dsn_own_template(enum mail_dsn_kind kind);
/* Appends a text of a template with its variables replaced. */
void mail_dsn_expand(const struct mail_dsn *d, struct slice text, struct buf *out);
/* Appends the text for people, its lines as RFC 5322 2.1.1 wants them. */
void mail_dsn_words(const struct mail_dsn *d, struct buf *out);

/* Appends message/delivery-status, or message/global-delivery-status. */
void mail_dsn_status(const struct mail_dsn *d, struct buf *out);
/* 2, 4 or 5, of the Status field. */
unsigned mail_dsn_class(const struct mail_dsn_rcpt *r);

/* Appends the value of the first field of this name, unfolded. False: there is none. */
bool mail_dsn_field(struct slice headers, const char *name, struct buf *out);
/* Appends the message's subject for people: decoded (RFC 2047), UTF-8, at most so many octets; nothing if it
 * cannot be shown. */
void mail_dsn_subject(struct slice headers, size_t most, struct buf *out);

bool mail_dsn_is_ascii(struct slice s);

#endif
