/*
 * queue_reason: why messages wait. When a site is down, a hundred thousand messages wait for the same
 * words: each text is kept once and counted.
 */
#ifndef QUEUE_REASON_PRIV_H
#define QUEUE_REASON_PRIV_H

#include "base_hash.h"

struct queue_reason {
    struct hash_node node;
    uint32_t users;
    uint32_t len;
    uint8_t text[];
};

/* Different texts that are kept. Sites that say something else to each message must not fill the memory:
 * beyond, why a message waits is not known. */
enum { QUEUE_REASONS_MAX = 65536 };

/* The one with this text, with one more user; NULL for an empty text, or when there are too many. */
struct queue_reason *queue_reason_get(struct hash_table *reasons, struct slice text);
void queue_reason_put(struct hash_table *reasons, struct queue_reason *reason); /* NULL is fine */

#endif
