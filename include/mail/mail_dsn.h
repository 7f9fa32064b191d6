/*
 * mail_dsn: composes delivery status notifications (RFC 3464 in multipart/report, RFC 6522): words
 * for people, a group of facts a recipient for programs, and the message that it is about or its header.
 * With `utf8` in the internationalised types of RFC 6533. The notification is to be sent with the null
 * sender (RFC 3461 6, RFC 5321 6.1), so that nothing ever answers it.
 *
 *     mail_dsn_begin(&dsn, &out);                        all before the message
 *     mail_dsn_original_init(&original, &dsn);
 *     while there is more of the message: mail_dsn_original(&original, &piece, most, &out);
 *     mail_dsn_end(&dsn, &original, &out);
 *
 * What peers, senders and the message say is cleaned: no line of it is taken for one of ours, no text turns
 * around where it is shown. Lines end with CRLF and have 998 octets at most; dots are not stuffed. Pure.
 */
#ifndef MAIL_DSN_H
#define MAIL_DSN_H

#include "base_buf.h"
#include "base_codec.h"

struct mail_template;

/* Each has its words: of all recipients in a notification the same one. */
enum mail_dsn_kind { MAIL_DSN_FAILURE, MAIL_DSN_DELAY, MAIL_DSN_SUCCESS };

enum mail_dsn_action { /* RFC 3464 2.3.3 */
                       MAIL_DSN_FAILED,
                       MAIL_DSN_DELAYED,
                       MAIL_DSN_DELIVERED,
                       MAIL_DSN_RELAYED,
                       MAIL_DSN_EXPANDED,
};

struct mail_dsn_rcpt {
    struct slice address;
    struct slice orcpt_type; /* of ORCPT (RFC 3461 4.2): "rfc822", "utf-8"; empty: there was none */
    struct slice orcpt;      /* its address, decoded */
    enum mail_dsn_action action;
    uint16_t code;           /* of the remote's reply; 0: the diagnostic is our words */
    uint16_t enhanced[3];    /* class 0, or none that fits the action: X.0.0 */
    struct slice remote_mta; /* the host that said it: a name or an address; empty: we did */
    struct slice diagnostic; /* its reply, "550 5.1.1 No such user", or our words; may be empty */
    bool expired;          /* FAILED, since its time was over; the diagnostic is of the last try */
    uint64_t last_attempt; /* Unix seconds; 0: left out */
    uint64_t retry_until;  /* for DELAYED; 0: left out */
};

enum mail_dsn_reader {
    MAIL_DSN_SENDER,
    MAIL_DSN_COPY,    /* the postmaster, besides the sender */
    MAIL_DSN_INSTEAD, /* the postmaster, since the sender is null or no address of anybody */
};

enum mail_dsn_returned { MAIL_DSN_NOTHING, MAIL_DSN_HEADERS, MAIL_DSN_WHOLE };

enum { MAIL_DSN_RANDOM = 16 };

struct mail_dsn {
    enum mail_dsn_kind kind;
    enum mail_dsn_reader reader;
    bool utf8;                  /* who gets it knows UTF-8 header fields: RFC 6533's types */
    bool original_8bit;         /* what is returned is */
    struct slice hostname;      /* ours: From, Reporting-MTA, Message-ID */
    struct slice from;          /* header From: "Name <address>" or an address; empty: postmaster */
    struct slice id;            /* of the notification: makes its Message-ID */
    struct slice to;            /* who is told */
    struct slice sender;        /* of the message; mostly the same; empty: null */
    struct slice about_id;      /* our id of the message */
    struct slice envid;         /* of the message, decoded (RFC 3461 4.4); empty: none */
    struct slice received_from; /* the name that the client gave; empty: none, or not to be told */
    struct slice received_ip;
    uint64_t date;                        /* Unix seconds; now */
    uint64_t arrival;                     /* of the message; 0: left out */
    const struct mail_template *template; /* NULL: ours */
    struct slice headers; /* of the message, or their beginning, to look for some fields */
    enum mail_dsn_returned returned;
    uint8_t random[MAIL_DSN_RANDOM]; /* never used before: nobody knows the boundary beforehand */
    const struct mail_dsn_rcpt *rcpts;
    size_t rcpt_count;
};

/* Of a header section no more than this is returned; and no more recipients than this are in one
 * notification, so that it has a bounded size. */
enum { MAIL_DSN_HEADERS_MAX = 64 * 1024, MAIL_DSN_RCPTS_MAX = 1000 };

/* Appends the header section and what comes before the returned message. False: the buf is full. */
bool mail_dsn_begin(const struct mail_dsn *d, struct buf *out);

/* The message on its way into the notification, in any cuts. */
struct mail_dsn_original {
    enum mail_dsn_returned returned;
    bool over; /* no more of it is wanted: that was its header */
    bool cr;   /* the last octet was */
    bool cut;  /* the rest of the line is left out */
    uint16_t column;
    size_t left; /* of MAIL_DSN_HEADERS_MAX */
};
void mail_dsn_original_init(struct mail_dsn_original *o, const struct mail_dsn *d);
/* Takes up to `most` octets off the front of *in. Answers whether more is wanted. */
bool mail_dsn_original(struct mail_dsn_original *o, struct slice *in, size_t most, struct buf *out);
bool mail_dsn_end(const struct mail_dsn *d, struct mail_dsn_original *o, struct buf *out);

/* All of it, with `headers` as the message. */
bool mail_dsn_compose(const struct mail_dsn *d, struct buf *out);

/* The notification needs SMTPUTF8 itself (RFC 6531 3.1): its own header has such an address. */
bool mail_dsn_needs_utf8(const struct mail_dsn *d);

#endif
