/*
 * load_mail: the messages that mailring-load sends. Everything that is the same for many messages is
 * made once; a message of its own are its header and, in made-up bodies, the last line.
 *
 * A made-up body is a piece of one long filler, in lines of 78 octets that all differ, and a last line
 * with the message's id: pieces begin at different lines, so that bodies of neighbouring messages have
 * nothing in common at the same place. Whoever mixes two of them up cannot get away with it.
 */
#ifndef LOAD_MAIL_H
#define LOAD_MAIL_H

#include "load_options.h"
#include "tool_mark.h"

/* One of the bodies that are sent in turn. */
struct load_body {
    struct slice wire;    /* what stands still: dot-stuffed, with the file's header if it is one */
    uint32_t crc;         /* of its raw form, body only */
    uint64_t len;         /* likewise */
    size_t last_line_len; /* of the line to be added, with CRLF; 0: none, it is a file */
};

struct load_mail {
    const struct load_options *options;
    uint32_t run;
    uint8_t *filler;
    struct load_body *bodies;
    size_t body_count;
    struct buf *files; /* contents in wire form */
};

/* False: *out_error says which file cannot be read, or which address is none. The options outlive it. */
bool load_mail_init(struct load_mail *m, const struct load_options *o, uint32_t run,
                    struct buf *out_error);
void load_mail_finish(struct load_mail *m);

static inline const struct load_body *load_mail_body(const struct load_mail *m, uint64_t serial)
{
    return &m->bodies[serial % m->body_count];
}

/* Roughly, and not less than what it will be: for SIZE= (RFC 1870 4). */
uint64_t load_mail_size(const struct load_mail *m, uint64_t serial);

/* The pattern with its counter filled in, without brackets. `counter` is brought into the range of
 * --addresses here. */
void load_mail_address(const struct load_mail *m, const char *pattern, uint64_t counter,
                       struct buf *out);

/* The parts of a message, in the order in which they go out: *out holds the header first, then what
 * follows the body's `wire` up to the final dot and CRLF; answers where the second begins. The caller
 * has set run, session and number of *mark; the checksum is filled in. */
size_t load_mail_make(const struct load_mail *m, uint64_t serial, const char *date,
                      struct tool_mark *mark, struct buf *out);

#endif
