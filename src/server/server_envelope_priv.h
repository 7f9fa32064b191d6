/*
 * server_envelope: a message's final recipients, each once, and what was said about notices for it (RFC
 * 3461). Its memory is the transaction's arena, which it does not outgrow: what does not fit is refused as a
 * whole, before anything of it is in.
 */
#ifndef SERVER_ENVELOPE_PRIV_H
#define SERVER_ENVELOPE_PRIV_H

#include "base_arena.h"
#include "conf.h"
#include "spool.h"

enum {
    ENVELOPE_RECIPIENTS_MAX = 10000,
    /* Of all texts, and what the log's record needs besides: a record fits into a slot of staging. A
     * thousand recipients of the greatest length do. */
    ENVELOPE_BYTES_MAX = 448 * 1024,
    ENVELOPE_BYTES_A_RECIPIENT = 24,
    /* Lists that were outgrown stay in the arena until its end. */
    ENVELOPE_ARENA_MAX = 4 << 20,
};

struct envelope {
    struct arena *arena;
    struct slice *recipients;
    struct spool_dsn *dsn; /* NULL: nobody said anything */
    uint32_t count, capacity;
    uint32_t *index; /* by address, open addressing; NULL while there are few */
    uint32_t index_size;
    size_t bytes;
};

/* Whether these could be added, those that are there already left out; and one more behind them, of the length
 * `extra`, if that is not 0. */
bool envelope_has_room(const struct envelope *e, const struct conf *conf,
                       const struct slice *addresses, uint32_t count, const struct spool_dsn *dsn,
                       size_t extra);
/* Adds it, copied, if it is not there; else joins what was said: nobody loses a notice that he asked for. False: it was
 * there. With dsn->flags it is another one than without. envelope_has_room() said so. */
bool envelope_add(struct envelope *e, const struct conf *conf, struct slice address,
                  const struct spool_dsn *dsn);

/* What to ask for when one recipient is named twice: what either asked for. */
uint8_t envelope_join_notify(uint8_t a, uint8_t b);
/* For the targets of an alias that has several: the success of an alias is its expansion (RFC 3461
 * 5.2.7.3). */
uint8_t envelope_notify_of_targets(uint8_t notify);
/* "rfc822;" and the address as xtext (RFC 3461 4.2), in the arena; empty: it is too long for that, or
 * beyond ASCII. */
struct slice envelope_orcpt(struct arena *arena, struct slice address);

#endif
