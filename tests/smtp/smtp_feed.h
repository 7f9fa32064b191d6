/*
 * smtp_feed: hands input to a parser in pieces. Each piece ends where a page ends that has an
 * unreadable one behind it, so that a read past the end dies at once.
 */
#ifndef SMTP_FEED_H
#define SMTP_FEED_H

#include "base_buf.h"
#include "base_slice.h"

/* How an input is cut. */
struct feed_cut {
    enum { FEED_WHOLE, FEED_BYTES, FEED_SPLIT } kind;
    size_t at; /* of SPLIT: the length of the first piece */
};

struct feed {
    struct slice input;
    struct feed_cut cut;
    size_t given;
    struct slice pending; /* within the guarded memory: what the parser has not taken yet */
};

#define FEED_SIZE_MAX ((size_t)1 << 20)

void feed_init(struct feed *f, struct slice input, struct feed_cut cut);
/* Puts the next piece behind what is pending; false at the end of the input. */
bool feed_more(struct feed *f);

/* `s`, copied to the end of a page in front of an unreadable one; good until the next call. */
struct slice feed_guard(struct slice s);

/* Every cut of an input of this length, one after the other. */
#define FEED_EACH_CUT(cut, len) \
    for (struct feed_cut cut = {FEED_WHOLE, 0}; cut.at <= (len); feed_next_cut(&cut))
void feed_next_cut(struct feed_cut *cut);

#endif
