/*
 * spool_compact: the living leave a segment that is mostly dead. One message at a time: its record is
 * read back and checked, or taken from memory while hot, and appended again with its recipients'
 * present states; parts of a large body are copied as extents first. When the copy is stable the
 * message lives there. Nothing waits for this, and whatever happens to the message meanwhile wins:
 * if it dies the copy is dead bytes, if it is pinned it stays where it is.
 *
 * A segment in which a sync failed is emptied first of all, which reads back whatever was acknowledged
 * there before.
 */
#include "spool_compact_priv.h"

enum { SEGMENTS_MIN = 4, LOOK_MS = 100, RETRY_MS = 10000 };

/* ---- choosing ----------------------------------------------------------------------------- */

static bool eligible(const struct spool_segment *seg, uint64_t now)
{
    const struct spool_log *log = seg->log;

    return seg != log->active && seg != log->next && seg->live_records > 0 && seg->unacked == 0
           && seg->loose == 0 && seg->compact_after_ms <= now
           && (seg->bad || seg->number < log->checkpoint_durable.segment);
}

static bool wasteful(const struct spool_log *log)
{
    uint64_t used = 0;
    uint32_t count = 0;

    LIST_EACH(&log->segments, node)
    {
        const struct spool_segment *seg = container_of(node, struct spool_segment, node);

        if (seg == log->active || seg == log->next)
            continue;
        used += seg->size;
        count++;
    }
    return log->no_space || (count >= SEGMENTS_MIN && log->live_bytes < used / 2);
}

static struct spool_segment *choose(struct spool_log *log)
{
    uint64_t now = io_now_ms(log->spool->io);
    struct spool_segment *best = NULL;
    bool waste = wasteful(log);

    LIST_EACH(&log->segments, node)
    {
        struct spool_segment *seg = container_of(node, struct spool_segment, node);

        if (!eligible(seg, now))
            continue;
        if (seg->bad)
            return seg;
        if (waste && seg->live_bytes < seg->size / 4 * 3
            && (!best || seg->live_bytes < best->live_bytes))
            best = seg;
    }
    return best;
}

/* Moving costs room before it makes room. */
bool spool_compact_affordable(const struct spool_log *log, uint64_t bytes)
{
    if (!log->active || log->failed)
        return false;
    uint64_t left = log->active->size - log->active->fill;

    /* With the reserve alone, not so much that outcomes have to turn to it. */
    return spool_free_segments(log) > spool_reserve(log)
           || bytes + log->queued_bytes + spool_checkpoint_bytes(log) + log->active->size / 4
                  <= left;
}

static struct spool_message *next_of(struct list *l)
{
    LIST_EACH(l, node)
    {
        struct spool_message *m = container_of(node, struct spool_message, in_segment);

        if (spool_pins(m) == 0 && !(m->spool_state & SPOOL_M_STAYS))
            return m;
    }
    return NULL;
}

static struct spool_message *next_message(struct spool_segment *seg)
{
    struct spool_message *m = next_of(&seg->messages);

    if (!m)
        m = next_of(&seg->checkpointed);
    if (m)
        return m;
    LIST_EACH(&seg->extents, node)
    {
        m = container_of(node, struct spool_extent, in_segment)->message;
        if (spool_pins(m) == 0 && !(m->spool_state & SPOOL_M_STAYS))
            return m;
    }
    return NULL;
}

/* ---- each pass ---------------------------------------------------------------------------- */

static void victim_step(struct spool_compaction *c)
{
    struct spool_log *log = c->log;
    uint64_t now = io_now_ms(log->spool->io);

    if (!c->victim) {
        if (now < c->pause_until_ms)
            return;
        c->victim = choose(log);
        if (!c->victim) {
            c->pause_until_ms = now + LOOK_MS; /* looking goes over all segments */
            return;
        }
    }
    struct spool_message *m = next_message(c->victim);
    if (m
        && spool_compact_affordable(log, c->victim->bad ? m->record_len : c->victim->live_bytes)) {
        spool_move_begin(c, m);
        return;
    }
    /* Empty; or what is left is pinned or damaged; or there is no room: later. */
    c->victim->compact_after_ms = now + (c->victim->live_records > 0 ? RETRY_MS : 0);
    c->victim = NULL;
    log->reap = true;
}

void spool_compact_step(struct spool_log *log)
{
    struct spool_compaction *c = &log->compaction;

    spool_move_release_held(c, log->checkpoint_durable.segment);
    switch (c->state) {
    case MOVE_NONE:
        if (!log->spool->stopping && log->active && !log->failed)
            victim_step(c);
        return;
    case MOVE_WAIT_EXTENT:
        if (c->extent_waits)
            return;
        if (!c->message || spool_pins(c->message) > 0 || log->spool->stopping)
            spool_move_end(c);
        else
            spool_move_read_extent(c);
        return;
    case MOVE_APPEND:
        if (log->spool->stopping)
            spool_move_end(c);
        else
            spool_move_append(c);
        return;
    case MOVE_READ_EXTENT:
    case MOVE_READ_RECORD:
    case MOVE_WAIT: return;
    }
}

uint64_t spool_compact_next_ms(const struct spool_log *log)
{
    const struct spool_compaction *c = &log->compaction;

    if (log->spool->stopping || log->failed || !log->active)
        return UINT64_MAX; /* what ends that makes a pass of its own */
    if (c->victim && c->state == MOVE_NONE)
        return io_now_ms(log->spool->io);
    if (c->state == MOVE_APPEND || (c->state == MOVE_WAIT_EXTENT && !c->extent_waits))
        return io_now_ms(log->spool->io) + LOOK_MS;
    return UINT64_MAX;
}

bool spool_compact_idle(const struct spool_log *log)
{
    const struct spool_compaction *c = &log->compaction;

    return !io_op_busy(&c->op) && (c->state == MOVE_NONE || log->spool->stopping);
}

bool spool_compact_uses(const struct spool_log *log, const struct spool_segment *seg)
{
    const struct spool_compaction *c = &log->compaction;

    return c->victim == seg || (io_op_busy(&c->op) && c->segment == seg);
}

void spool_compact_free(struct spool_log *log)
{
    struct spool_compaction *c = &log->compaction;

    spool_move_release_held(c, UINT64_MAX);
    mem_free(c->memory);
    mem_free(c->extents);
    c->memory = NULL;
    c->extents = NULL;
}
