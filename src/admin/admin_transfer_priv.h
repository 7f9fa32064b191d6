/*
 * admin_transfer: messages as they travel between servers (queue export, queue import):
 *
 *     mailring-export 1
 *     message NUMBER LENGTH LENGTH      of the envelope and of the body, in octets
 *     the envelope: JSON, one line
 *     the body, and a line end
 *     crc32c XXXXXXXX                   of envelope and body, without line ends; or "damaged"
 *     ...
 *     end MESSAGES LEFT-OUT
 */
#ifndef ADMIN_TRANSFER_PRIV_H
#define ADMIN_TRANSFER_PRIV_H

#include "admin_job_priv.h"
#include "base_arena.h"

#define ADMIN_TRANSFER_VERSION "mailring-export 1"

enum { ADMIN_TRANSFER_ENVELOPE_MAX = 16 * 1024 * 1024 };

/* One line of JSON, without its end. */
void admin_transfer_envelope(struct buf *out, struct slice hostname, const struct spool_message *m,
                             const struct admin_envelope *e);

/* Whether a recipient is still to get the message. */
bool admin_transfer_waits(const struct spool_recipient *r);

/* An envelope that was read: what still waits. */
struct admin_record {
    struct arena arena; /* of all that follows */
    struct spool_envelope envelope;
    struct slice *recipients;
    struct spool_dsn *dsn;
    uint16_t *attempts;
    struct slice origin; /* host/id */
};
/* False: *out_error says what is wrong with it; *r is empty. Nothing in it is believed: addresses are
 * well formed afterwards, and no text has control characters. */
bool admin_record_parse(struct admin_record *r, struct slice json, struct buf *out_error);
void admin_record_finish(struct admin_record *r); /* also fine on zeroed memory */

/* What a body shows while it passes. */
struct admin_body {
    bool dot_lines, eight_bit;
    bool bare; /* CR or LF alone: nothing that we send on */
    uint8_t last;
};
void admin_body_scan(struct admin_body *b, struct slice piece); /* zeroed at the beginning */
void admin_body_end(struct admin_body *b);

#endif
