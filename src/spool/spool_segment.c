/*
 * spool_segment: segments in memory and what lives in them. A segment may be recycled when nothing in
 * it is alive, when the outcomes that killed it are stable themselves, and when no recovery would begin
 * in or before it: its number is below the segment in which the last checkpoint begins that a stable
 * batch names.
 */
#include <stdio.h>

#include "spool_priv.h"

struct spool_segment *spool_segment_create(struct spool_log *log, uint64_t number, int fd,
                                           uint32_t size)
{
    struct spool_segment *seg = mem_zalloc(sizeof(*seg));

    seg->log = log;
    seg->number = number;
    seg->fd = fd;
    seg->size = size;
    seg->fill = SPOOL_BLOCK;
    list_init(&seg->node);
    list_init(&seg->messages);
    list_init(&seg->checkpointed);
    list_init(&seg->extents);
    return seg;
}

void spool_segment_destroy(struct spool_segment *seg)
{
    if (list_linked(&seg->node)) {
        list_remove(&seg->node);
        seg->log->segment_count--;
    }
    mem_free(seg);
}

struct spool_segment *spool_segment_find(struct spool_log *log, uint64_t number)
{
    LIST_EACH(&log->segments, node)
    {
        struct spool_segment *seg = container_of(node, struct spool_segment, node);

        if (seg->number == number)
            return seg;
    }
    return NULL;
}

void spool_segment_path(const struct spool_log *log, uint64_t number, char out[SPOOL_PATH_MAX])
{
    int len =
        snprintf(out, SPOOL_PATH_MAX, "%s/%016llx.seg", log->path, (unsigned long long)number);

    ASSERT(len > 0 && len < SPOOL_PATH_MAX);
}

void spool_spare_path(const struct spool_log *log, uint64_t k, char out[SPOOL_PATH_MAX])
{
    int len = snprintf(out, SPOOL_PATH_MAX, "%s/spare-%llu", log->path, (unsigned long long)k);

    ASSERT(len > 0 && len < SPOOL_PATH_MAX);
}

uint64_t spool_segment_mask(const struct spool_segment *seg, uint32_t offset)
{
    return spool_mask(seg->number, seg->salt, offset);
}

/* ---- life and death ----------------------------------------------------------------------- */

void spool_segment_add(struct spool_segment *seg, uint64_t bytes)
{
    seg->live_records++;
    seg->live_bytes += bytes;
    seg->log->live_bytes += bytes;
}

void spool_segment_remove(struct spool_segment *seg, uint64_t bytes, uint64_t ticket)
{
    ASSERT(seg->live_records > 0 && seg->live_bytes >= bytes);
    seg->live_records--;
    seg->live_bytes -= bytes;
    seg->log->live_bytes -= bytes;
    if (ticket > seg->death_ticket)
        seg->death_ticket = ticket;
    if (seg->live_records == 0)
        seg->log->reap = true;
}

bool spool_segment_dead(const struct spool_segment *seg)
{
    const struct spool_log *log = seg->log;

    if (seg == log->active || seg == log->next || seg->unacked > 0 || seg->loose > 0
        || seg->live_records > 0 || spool_compact_uses(log, seg))
        return false;
    /* The newest header says which ids may have been used. A spare keeps it, a discarded file does
     * not. */
    if (!log->active && !log->next)
        return seg->empty && !seg->bad && seg->size == log->segment_size;
    if (seg->empty)
        return true;
    return seg->death_ticket <= log->stable_ticket && seg->number < log->checkpoint_durable.segment;
}

uint64_t spool_extent_bytes(const struct spool_extent *e)
{
    return SPOOL_EXTENT_HEAD + (uint64_t)e->body_len;
}

static void extents_link(struct spool_message *m)
{
    for (uint32_t i = 0; i < m->extent_count; i++) {
        struct spool_extent *e = &m->extents[i];

        e->message = m;
        list_init(&e->in_segment);
        list_push_back(&e->segment->extents, &e->in_segment);
        spool_segment_add(e->segment, spool_extent_bytes(e));
    }
}

void spool_message_link(struct spool_message *m, bool fresh)
{
    struct spool_segment *seg = m->segment;
    struct spool_log *log = seg->log;
    /* Once a checkpoint's BEGIN is stable, whatever becomes stable stands behind it in the log, and a
     * replay meets it there. What has moved stands there as well, but why it waits does not: it gets an
     * entry, with its new place. */
    bool running =
        fresh && (log->check.state == CHECKPOINT_PARTS || log->check.state == CHECKPOINT_ENDED);

    list_push_back(running ? &seg->checkpointed : &seg->messages, &m->in_segment);
    spool_segment_add(seg, m->record_len);
    extents_link(m);
    log->live_messages++;
    log->state_bytes += spool_part_entry_len(m->recipient_count, m->extent_count);
}

void spool_message_unlink(struct spool_message *m, uint64_t ticket)
{
    struct spool_log *log = m->segment->log;

    list_remove(&m->in_segment);
    spool_segment_remove(m->segment, m->record_len, ticket);
    for (uint32_t i = 0; i < m->extent_count; i++) {
        struct spool_extent *e = &m->extents[i];

        list_remove(&e->in_segment);
        spool_segment_remove(e->segment, spool_extent_bytes(e), ticket);
    }
    log->live_messages--;
    if (!log->own && log->live_messages == 0)
        log->check.wanted = true; /* so that its segments can go */
    log->state_bytes -= spool_part_entry_len(m->recipient_count, m->extent_count);
}
