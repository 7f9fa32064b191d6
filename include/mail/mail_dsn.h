/*
 * mail_dsn: composes delivery status notifications (RFC 3464 in multipart/report, RFC 6522): words
 * for people, a group of facts a recipient for programs, and the headers of the message that it is
 * about. The notification is to be sent with the null sender (RFC 3461 6, RFC 5321 6.1), so that
 * nothing ever answers it.
 */
#ifndef MAIL_DSN_H
#define MAIL_DSN_H

#include "base_buf.h"

enum mail_dsn_action { MAIL_DSN_FAILED, MAIL_DSN_DELAYED };

struct mail_dsn_rcpt {
    struct slice address;
    enum mail_dsn_action action;
    uint16_t enhanced[3];    /* class 0: 5.0.0 or 4.0.0 by the action */
    struct slice remote_mta; /* the host that said it; empty: we did */
    struct slice diagnostic; /* its reply, "550 5.1.1 No such user", or our words; may be empty */
    uint64_t last_attempt;   /* Unix seconds; 0: left out */
    uint64_t retry_until;    /* for DELAYED; 0: left out */
};

struct mail_dsn {
    struct slice hostname; /* ours: From, Reporting-MTA, Message-ID, boundary */
    struct slice id;       /* of the notification: makes its Message-ID and boundary */
    struct slice sender;   /* of the message: who is told */
    struct slice about_id; /* our id of the message */
    uint64_t date;         /* Unix seconds; now */
    uint64_t arrival;      /* of the message; 0: left out */
    struct slice headers;  /* its header section, or the beginning of it; may be empty */
    const struct mail_dsn_rcpt *rcpts;
    size_t rcpt_count;
};

/* Of the original's headers no more than this is returned. */
enum { MAIL_DSN_HEADERS_MAX = 64 * 1024 };

/* Appends the whole notification, header section and body. Lines end with CRLF, dots are not stuffed.
 * False: the buf is full. */
bool mail_dsn_compose(const struct mail_dsn *d, struct buf *out);
/* The notification is 8-bit, as the headers that it returns are. All else in it is ASCII. */
bool mail_dsn_is_8bit(const struct mail_dsn *d);

#endif
