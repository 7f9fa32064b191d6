/*
 * mail_header: a scan over the header section of a message (RFC 5322 2.1, 2.2), in any cuts, while
 * it arrives. Counts Received fields, since many of them are a loop (RFC 5321 6.3), and notes which
 * of the usual fields are there. Pure; keeps no bytes.
 */
#ifndef MAIL_HEADER_H
#define MAIL_HEADER_H

#include "base_slice.h"

/* More Received fields than this are a loop: 554 5.4.6. RFC 5321 6.3 asks for a threshold of 100 or
 * more. */
enum { MAIL_RECEIVED_MAX = 100 };

enum mail_header_fact {
    MAIL_HEADER_FROM = 1 << 0,
    MAIL_HEADER_DATE = 1 << 1,
    MAIL_HEADER_MESSAGE_ID = 1 << 2,
    MAIL_HEADER_SENDER = 1 << 3,
    MAIL_HEADER_TO = 1 << 4,
    MAIL_HEADER_SUBJECT = 1 << 5,
    MAIL_HEADER_RETURN_PATH = 1 << 6,
    MAIL_HEADER_AUTO_SUBMITTED = 1 << 7, /* with another value than "no" (RFC 3834 5) */
    MAIL_HEADER_DUPLICATE = 1 << 8,      /* From, Date, Message-ID, Sender, To or Subject twice */
    MAIL_HEADER_LONG_LINE = 1 << 9,      /* over 998 octets without CRLF (RFC 5322 2.1.1) */
    MAIL_HEADER_NO_FIELD = 1 << 10,      /* a line that is no field ended the section */
    MAIL_HEADER_TLS_OPTIONAL = 1 << 11,  /* TLS-Required: No (RFC 8689 3) */
};

struct mail_header {
    uint64_t size;     /* octets of the section, with the empty line that ends it once done */
    uint32_t received; /* Received fields */
    uint32_t facts;    /* a set of enum mail_header_fact */
    bool done;
    uint8_t state;
    uint8_t name_len;
    uint8_t field; /* the field being read, in the scan's table */
    uint32_t line_len;
    uint8_t name[16]; /* folded to lower case */
};

void mail_header_init(struct mail_header *h);
/* Takes bytes until the section has ended; later ones are ignored. Answers h->done. */
bool mail_header_scan(struct mail_header *h, struct slice bytes);
/* The message has ended: a section without an empty line behind it is complete too. */
void mail_header_finish(struct mail_header *h);

#endif
