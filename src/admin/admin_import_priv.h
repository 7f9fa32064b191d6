/*
 * admin_import: messages that come in (queue import).
 *
 *   admin_import.c        the first shard: framing, checksums, which record is where, what is told
 *   admin_import_slot.c   a record on its way to a shard: pieces of its body, the commit
 */
#ifndef ADMIN_IMPORT_PRIV_H
#define ADMIN_IMPORT_PRIV_H

#include "admin_transfer_priv.h"

enum {
    IMPORT_SLOTS = 16,             /* records on their way at a time */
    IMPORT_PIECE_MAX = 128 * 1024, /* of a body, in memory */
};

enum slot_state {
    SLOT_FREE,
    SLOT_FILLING,    /* the first shard has it */
    SLOT_AWAY,       /* its shard has it */
    SLOT_COMMITTING, /* its shard has it, to the end */
    SLOT_ABORTING,
};

/* Belongs to the shard that its state says. */
struct import_slot {
    struct shard_call call;
    struct admin_client *client;
    struct import *import;
    enum slot_state state;
    uint64_t number; /* of the record */
    unsigned shard;
    struct admin_record record;
    uint64_t body_len;
    struct buf piece; /* of the body, to be written next */
    bool held;        /* it is to be on hold */

    /* On its shard. */
    struct shard *on;
    struct spool_writer writer;
    bool begun;
    enum spool_result result;
};

/* The first shard: the piece is to be written; as the last one, committed. The slot's state says which. */
void import_slot_send(struct import_slot *s, enum slot_state state);
/* After an answer: false, with a line in *out_error, if the record is lost. */
bool import_slot_result(const struct import_slot *s, struct buf *out_error);
/* The first shard again: an answer came. */
void import_slot_returned(struct import_slot *s);

#endif
