/* What spool_compact, which chooses, and spool_move share. */
#ifndef SPOOL_COMPACT_PRIV_H
#define SPOOL_COMPACT_PRIV_H

#include "spool_priv.h"

/* Moving costs room before it makes room. */
bool spool_compact_affordable(const struct spool_log *log, uint64_t bytes);

void spool_move_begin(struct spool_compaction *c, struct spool_message *m);
void spool_move_end(struct spool_compaction *c);
/* A recovery begins in segment `begins`, or later. */
void spool_move_release_held(struct spool_compaction *c, uint64_t begins);
/* In state MOVE_WAIT_EXTENT and MOVE_APPEND: tries again. */
void spool_move_read_extent(struct spool_compaction *c);
void spool_move_append(struct spool_compaction *c);

#endif
