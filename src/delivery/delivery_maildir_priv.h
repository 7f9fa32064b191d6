/*
 * delivery_maildir_priv: the parts of mailbox delivery.
 *
 *   delivery_maildir.c       a task: one file a recipient
 *   delivery_maildir_path.c  a recipient's directory
 *   delivery_maildir_sync.c  a directory's entries made stable, once for all that wait for it
 *   delivery_maildir_make.c  directories that are missing
 */
#ifndef DELIVERY_MAILDIR_PRIV_H
#define DELIVERY_MAILDIR_PRIV_H

#include "delivery_priv.h"

/* ---- delivery_maildir_path.c --------------------------------------------------------------- */

/* Appends the directory of this recipient's mailbox: `pattern` with %u, %d and %% replaced. False if
 * the address names no mailbox, or would lead out of the directory that the operator meant. */
bool delivery_maildir_path(const struct conf *conf, struct slice pattern, struct slice address,
                           struct buf *out);
/* Appends the file's name: the same whenever this recipient of this message is delivered. */
void delivery_maildir_name(const struct conf *conf, uint32_t arrived_s, uint64_t id,
                           uint32_t recipient, struct buf *out);

/* ---- delivery_maildir_sync.c --------------------------------------------------------------- */

/* Embedded in whoever waits. */
struct maildir_wait {
    struct list node;
    int error; /* 0 or a negative errno */
    void (*done)(struct maildir_wait *w);
};

/* What was changed in the directory before this call is stable when `done` runs without an error.
 * `done` never runs inside this call. The path is copied. */
void delivery_maildir_sync(struct delivery *d, struct slice directory, struct maildir_wait *w);
void delivery_maildir_sync_discard(struct delivery *d); /* after a simulated crash */

/* ---- delivery_maildir_make.c --------------------------------------------------------------- */

/* Embedded in its owner; zeroed is idle. */
struct maildir_make {
    struct delivery *d;
    void (*done)(struct maildir_make *m, int error);
    struct io_op op;
    struct io_stat stat;
    struct maildir_wait wait;
    struct buf path; /* of the directory that is being made, with NUL */
    size_t base_len; /* of the mailbox's own path */
    size_t at;       /* length of the prefix being made */
    uint8_t state;
    uint8_t part; /* of the mailbox: new, cur, tmp */
};

/* Makes the mailbox at `base`, and what leads to it, durably. Never calls `done` within. */
void delivery_maildir_make(struct delivery *d, struct maildir_make *m, struct slice base,
                           void (*done)(struct maildir_make *m, int error));
void delivery_maildir_make_finish(struct maildir_make *m); /* frees; not while it runs */

#endif
