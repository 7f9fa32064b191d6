/*
 * sink_verify: whether what mailring-load sent has come, once and unaltered. Each thread of
 * mailring-sink has one; they are added up at the end, and duplicates across threads found then.
 *
 * A duplicate is a second delivery of the same message to the same recipient: a server may well send a
 * message of several recipients in several transactions. A message is missing if a later one of its
 * session has come: mailring-load numbers those of a session without gaps. What is missing at the very
 * end shows against mailring-load's --record only.
 */
#ifndef SINK_VERIFY_H
#define SINK_VERIFY_H

#include "base_hash.h"
#include "base_pool.h"
#include "tool_mark.h"

struct sink_counts {
    uint64_t marked;     /* messages with an id */
    uint64_t unmarked;   /* without one */
    uint64_t altered;    /* the body is not what it was */
    uint64_t duplicates; /* deliveries */
    uint64_t missing;
    uint64_t expected; /* accepted, by the record that was read */
    uint64_t lost;     /* of those, not here */
};

enum sink_wrong { SINK_ALTERED, SINK_DUPLICATE, SINK_LOST, SINK_WRONG_COUNT };

struct sink_verify {
    struct hash_table deliveries; /* message and recipient */
    struct hash_table messages;
    struct pool delivery_nodes;
    struct pool message_nodes;
    struct sink_counts counts;
    char example[SINK_WRONG_COUNT][TOOL_MARK_ID_SIZE]; /* the first of each, for the report */
};

void sink_verify_init(struct sink_verify *v);
void sink_verify_finish(struct sink_verify *v);
/* A message that was accepted, and hashes of its recipients. */
void sink_verify_add(struct sink_verify *v, const struct tool_mark_reader *message,
                     const uint64_t *recipients, size_t count);
void sink_verify_merge(struct sink_verify *to, struct sink_verify *from);
/* A line of mailring-load's record: "ID OUTCOME". False: it is none. */
bool sink_verify_expect(struct sink_verify *v, struct slice line);
/* After everything was added. */
void sink_verify_count_missing(struct sink_verify *v);
bool sink_verify_is_good(const struct sink_verify *v);

#endif
