/* What spool_recover and spool_replay share: a recovery under way. */
#ifndef SPOOL_RECOVER_PRIV_H
#define SPOOL_RECOVER_PRIV_H

#include "spool_priv.h"

enum { GAPS_MAX = 64, HURTS_MAX = 256 };

struct gap {
    uint64_t from, to; /* sequences, inclusive */
};

/* A part of a batch that is not right; which kind of wrong is known when the epoch is over. */
struct hurt {
    uint64_t segment, sequence;
    uint32_t offset, len;
};

/* A message whose body is not where its record says. It matters only if it was acknowledged. */
struct lost {
    uint64_t id, sequence;
};

struct recover {
    struct spool_log *log;
    struct spool *s;
    struct spool_segment *seg;
    struct spool_recovery *out;
    bool all; /* the scan that trusts no checkpoint */

    /* batches */
    uint64_t epoch, epoch_max;
    uint64_t last_sequence, stable; /* of this epoch */
    struct gap gaps[GAPS_MAX];
    uint32_t gap_count;
    struct hurt hurts[HURTS_MAX];
    uint32_t hurt_count;
    struct lost *lost;
    size_t lost_count;
    uint64_t id_max, sequence_max;
    struct spool_position newest; /* checkpoint named by the newest batch */
    bool replaying;               /* ... which is known now */
    struct spool_segment *cached; /* found last */
    uint32_t batch_end;           /* of the batch being read; 0: none */
    uint64_t batch_sequence;

    /* the checkpoint being replayed */
    uint64_t check_number, check_number_max;
    uint32_t check_parts;
    uint64_t check_entries;
    bool check_begun, check_complete;
    struct spool_part_texts texts; /* of the part being read */
};

static inline bool spool_replay_is_ours(const struct recover *r, uint64_t id)
{
    return id >> SPOOL_SEQUENCE_BITS == r->log->number;
}

/* ---- spool_recover ---- */
void spool_recover_report_salvaged(const struct recover *r, uint32_t offset);
void spool_recover_report_message(const struct recover *r, uint64_t id, const char *what);
/* Behind everything that a later recovery could still take for a record. */
void spool_recover_mark_used(struct spool_segment *seg, uint32_t end);

/* ---- spool_replay ---- */
void spool_replay_drop(struct recover *r, struct spool_message *m);
void spool_replay_record(void *context, const struct spool_record *rec, uint32_t offset);

#endif
