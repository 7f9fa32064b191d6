/*
 * smtp_reply: replies, as sent and as received (RFC 5321 4.2; enhanced codes RFC 2034, 3463).
 *
 * To send: fill a struct smtp_reply, or write it down with SMTP_REPLY(), and format it. A text of
 * several lines holds '\n' between them and makes a multi-line reply.
 *
 * To receive: a parser takes the peer's bytes in any cuts. It keeps the text in memory that the
 * caller lends it; what does not fit is dropped, the code never is. Both the length of a reply and
 * the number of its lines are limited, since a peer may talk for ever.
 */
#ifndef SMTP_REPLY_H
#define SMTP_REPLY_H

#include "base_buf.h"
#include "base_slice.h"

struct smtp_reply {
    uint16_t code;        /* 200..599 */
    uint16_t enhanced[3]; /* class, subject, detail; class 0: none */
    struct slice text;    /* without the codes; '\n' between lines */
};

/* INIT: for what is static. */
#define SMTP_REPLY_INIT(code_, class_, subject_, detail_, literal_)               \
    {                                                                             \
        .code = (code_), .enhanced = {(class_), (subject_), (detail_)}, .text = { \
            (const uint8_t *)(literal_),                                          \
            sizeof(literal_) - 1                                                  \
        }                                                                         \
    }
#define SMTP_REPLY(code_, class_, subject_, detail_, literal_) \
    ((struct smtp_reply)SMTP_REPLY_INIT(code_, class_, subject_, detail_, literal_))

/* 2 and 3: positive, 4: try again later, 5: do not. */
static inline unsigned smtp_reply_class(const struct smtp_reply *r)
{
    return r->code / 100;
}

/* Appends the reply with its line ends. Control characters in the text leave as '?', and lines are
 * cut at 512 octets (RFC 5321 4.5.3.1.5). */
bool smtp_reply_format(const struct smtp_reply *r, struct buf *out);

/* The lines of one reply, and the octets of all its lines, that a parser takes. */
enum { SMTP_REPLY_LINES_MAX = 128, SMTP_REPLY_SIZE_MAX = 32768 };

enum smtp_reply_result {
    SMTP_REPLY_MORE,      /* all of the input is taken */
    SMTP_REPLY_LINE,      /* a line that is not the last: parser->line; call again */
    SMTP_REPLY_DONE,      /* the last line too; *out is complete */
    SMTP_REPLY_MALFORMED, /* not SMTP, or over a limit: the stream cannot be followed any more */
};

struct smtp_reply_parser {
    uint8_t *storage; /* the caller's */
    uint16_t storage_size;
    uint16_t text_len;   /* used of it */
    uint16_t line_start; /* where the line being read begins */
    uint16_t code;
    uint16_t lines;
    uint16_t enhanced[3]; /* of the first line */
    uint32_t size;        /* octets so far */
    uint8_t state;
    bool last_line;
    bool cut;          /* of this reply some text did not fit */
    struct slice line; /* the line just read, as far as it fit; good until the next call */
};

void smtp_reply_parser_init(struct smtp_reply_parser *p, void *storage, size_t storage_size);
/* Takes what it can from *in. After DONE the parser is ready for the next reply; the text of *out
 * lies in the storage until the next call. Lines of the text are joined by '\n', each without the
 * enhanced code. */
enum smtp_reply_result smtp_reply_parse(struct smtp_reply_parser *p, struct slice *in,
                                        struct smtp_reply *out);
/* Between replies: other memory for the texts to come. That of the last reply stays where it is. */
void smtp_reply_parser_lend(struct smtp_reply_parser *p, void *storage, size_t storage_size);
/* After LINE: forgets the lines so far, so that each line has all the storage (EHLO). */
void smtp_reply_parser_forget(struct smtp_reply_parser *p);

/* "5.1.1" at the start of *text, followed by a blank or the end: takes it off. */
bool smtp_enhanced_parse(struct slice *text, uint16_t out[3]);

#endif
