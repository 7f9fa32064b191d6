/*
 * shard_mailbox: what a shard has for the others. A queue without locks for each pair; what does not
 * fit waits, in order, on the sender's side.
 */
#ifndef SHARD_MAILBOX_PRIV_H
#define SHARD_MAILBOX_PRIV_H

#include "base_spsc.h"
#include "io.h"

/* What an item is; kept in the low bits of the pointer. */
enum shard_item {
    SHARD_ITEM_TASK,
    SHARD_ITEM_CALL,
    SHARD_ITEM_ANSWER,
    SHARD_ITEM_WAITING, /* struct delivery_call */
    SHARD_ITEM_DOUBT,   /* the name of a domain, see sts_doubt(); the receiver frees it */
};

struct shard_mailbox {
    struct spsc queue;
    uintptr_t *waiting; /* pushed when there is room; sender's */
    size_t waiting_count, waiting_capacity;
    bool posted; /* since the last publish; sender's */
};

void shard_mailbox_init(struct shard_mailbox *m);
void shard_mailbox_finish(struct shard_mailbox *m);
/* Sender. */
void shard_mailbox_post(struct shard_mailbox *m, void *item, enum shard_item kind);
/* Makes what was posted visible; true if there was anything. */
bool shard_mailbox_publish(struct shard_mailbox *m);
bool shard_mailbox_is_full(const struct shard_mailbox *m); /* something waits for room */
/* Receiver. NULL if empty. */
void *shard_mailbox_take(struct shard_mailbox *m, enum shard_item *out_kind);

#endif
