/*
 * mail_submission: what a submission server mends in the header of a message while it arrives (RFC 6409 8,
 * RFC 5322 3.6): a missing Date and a missing Message-ID are added at the end of the header section, and
 * the fields Bcc and Resent-Bcc are taken out, folded lines and all. Everything else, the body and what is
 * attached to it included, leaves octet for octet as it came. Pure.
 *
 *     mail_submission_init(&f, date, message_id);
 *     while bytes arrive:  mail_submission_take(&f, &bytes, &out);
 *                          what is left of `bytes` once f.done is body and leaves as it is
 *     at their end:        mail_submission_finish(&f, &out);
 *
 * Bytes may come in any cuts. Of the beginning of a line, up to its colon, MAIL_SUBMISSION_HELD_MAX octets
 * are kept back; a line whose name is longer than that is no field. The first line that is no field ends
 * the section: where fields are added before it, an empty line separates them from it.
 */
#ifndef MAIL_SUBMISSION_H
#define MAIL_SUBMISSION_H

#include "base_buf.h"

/* RFC 5322 2.1.1: no line is longer. */
enum { MAIL_SUBMISSION_HELD_MAX = 998 };

struct mail_submission {
    struct slice message_id; /* without angle brackets */
    uint64_t date;           /* Unix seconds */
    uint32_t removed;        /* Bcc fields */
    bool done;               /* the section is over */
    bool has_date, has_message_id;
    uint8_t state;
    uint16_t held_len; /* the line so far */
    uint16_t name_len; /* of it, before blanks */
    uint8_t held[MAIL_SUBMISSION_HELD_MAX];
};

/* The text of `message_id` stays where it is. */
void mail_submission_init(struct mail_submission *f, uint64_t date, struct slice message_id);
/* Takes what belongs to the header section off the front of *in, and appends what leaves to *out.
 * Answers f->done. */
bool mail_submission_take(struct mail_submission *f, struct slice *in, struct buf *out);
/* The message has ended, perhaps within its header section. */
void mail_submission_finish(struct mail_submission *f, struct buf *out);

#endif
