/* What spool_batch and spool_stable share. */
#ifndef SPOOL_BATCH_PRIV_H
#define SPOOL_BATCH_PRIV_H

#include "spool_priv.h"

static inline struct spool_batch *spool_batch_first(const struct list *l)
{
    return list_empty(l) ? NULL : container_of(l->next, struct spool_batch, node);
}

static inline uint32_t spool_batch_padded(const struct spool_batch *b)
{
    return (uint32_t)spool_round_up(b->len, SPOOL_BLOCK);
}

/* ---- spool_stable ---- */
void spool_stable_done(struct io_op *op); /* a batch's write */
/* All that wait for a message of theirs to become stable hear this. */
void spool_stable_refuse_all(struct spool_log *log, enum spool_result result);
void spool_stable_leave_active(struct spool_log *log);

#endif
