/*
 * queue_lot: where entries wait for something to happen and not for a time: a site that is down or has as
 * much as it can take, a rule of the operator's. A lot has a key, a text, and two lines: what is fresh, and
 * what has waited. Out of it come, when it is called, as many as there is room for: by priority, and those
 * of one priority in the order in which they came; a fresh one more often than one that has waited, but
 * not always.
 *
 * Being in a lot costs nothing: no attempt, no record in the log, one timer for the next thing that a time
 * brings (the sender is to be told of the delay, patience is over). Lots are in memory only; after a
 * restart each message is tried anew, and is parked again where that is so.
 *
 * Nobody is stranded: whoever owns the site is told that entries wait when a lot gets its first, and again
 * every now and then, together with one entry that tries.
 */
#ifndef QUEUE_LOT_H
#define QUEUE_LOT_H

#include "queue.h"

struct queue_parking {
    struct slice key;
    struct slice reason;
    uint32_t next_s; /* when something will be tried, as far as is known; 0: it is not */
    const struct conf_retry *retry; /* of those who wait there; NULL: a rule's: nobody expires */
    bool front;                     /* before the others: it had been called, in vain */
};

/* A part of an entry that is OUT comes back to wait: before its queue_settled(). When all parts are back,
 * and all waiting recipients wait for the same, the entry is parked; else they are tried again after a
 * while. */
void queue_park(struct queue_entry *e, uint32_t recipient, const struct queue_parking *parking);

/* There is room for n of the lot of this key: they are ready. Answers how many that were; *out_left are in
 * it still. */
uint32_t queue_call(struct queue *q, struct slice key, uint32_t n, uint32_t *out_left);

/* Everybody in it is ready, a bounded number a pass. */
void queue_lot_dissolve(struct queue *q, struct slice key);

#endif
