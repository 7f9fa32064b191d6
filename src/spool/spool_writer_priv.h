/* What spool_writer, spool_body and spool_commit share. */
#ifndef SPOOL_WRITER_PRIV_H
#define SPOOL_WRITER_PRIV_H

#include "spool_priv.h"

enum writer_state {
    WRITER_IDLE,
    WRITER_FILLING,
    WRITER_EXTENTS, /* commit asked for; extents are in flight */
    WRITER_QUEUED,  /* ... in line for a place in a batch */
    WRITER_PENDING, /* ... record is in a batch */
    WRITER_FINISHED /* failed; `done` follows in the next step */
};

enum memory_kind {
    MEMORY_NONE,
    MEMORY_SMALL,
    MEMORY_MEDIUM,
    MEMORY_SLOT,
    MEMORY_BORROWED,
    MEMORY_OWNED
};

static inline struct spool_log *spool_writer_log(const struct spool_writer *w)
{
    return w->spool->own;
}

/* ---- spool_body ---- */
void spool_writer_unlist(struct spool_writer *w); /* from all lists */
void spool_writer_touch(struct spool_writer *w);  /* it is the one that wrote last */
void spool_writer_set_memory(struct spool_writer *w, enum memory_kind kind, uint8_t *memory,
                             uint32_t capacity);
void spool_writer_release(struct spool_writer *w); /* its memory */
bool spool_writer_take_slot(struct spool_writer *w);
bool spool_writer_take_body(struct spool_writer *w, enum memory_kind kind);
/* Room in the log that what is in memory takes as an extent. */
uint64_t spool_writer_extent_need(const struct spool_writer *w);
void spool_writer_submit_extent(struct spool_writer *w);
/* Stable extents are a message's now, or nobody's. */
void spool_writer_loosen(struct spool_log *log, const struct spool_extent *extents, uint32_t count);
void spool_writer_drop_extents(struct spool_writer *w);
void spool_writer_end_failed(struct spool_writer *w, enum spool_result result);

/* ---- spool_commit ---- */
enum placed { PLACED, PLACE_LATER, PLACE_NEEDS_SLOT };
/* One step nearer to a record in a batch. `envelope` is NULL if the writer holds its copy. */
enum placed spool_commit_place(struct spool_writer *w, const struct spool_envelope *envelope,
                               size_t envelope_len);
void spool_commit_queue(struct spool_writer *w);
void spool_commit_step(struct spool_log *log); /* places those in line */

#endif
