/*
 * spool_body: what a writer holds: memory of three kinds, extents on their way and stable ones.
 */
#include "spool_writer_priv.h"

/* ---- memory ------------------------------------------------------------------------------- */

void spool_writer_unlist(struct spool_writer *w)
{
    if (w->listed)
        list_remove(&w->node);
    if (w->waits)
        list_remove(&w->waiting);
    w->listed = w->waits = false;
}

void spool_writer_touch(struct spool_writer *w)
{
    list_remove(&w->node);
    list_push_back(&w->spool->writers, &w->node);
    w->listed = true;
    w->used_ms = io_now_ms(w->spool->io);
}

void spool_writer_set_memory(struct spool_writer *w, enum memory_kind kind, uint8_t *memory,
                             uint32_t capacity)
{
    w->memory_kind = (uint8_t)kind;
    w->memory = memory;
    w->memory_capacity = capacity;
}

void spool_writer_release(struct spool_writer *w)
{
    switch ((enum memory_kind)w->memory_kind) {
    case MEMORY_SMALL: spool_body_put(w->spool, w->memory, SPOOL_SMALL); break;
    case MEMORY_MEDIUM: spool_body_put(w->spool, w->memory, SPOOL_MEDIUM); break;
    case MEMORY_SLOT: spool_extent_slot_put(w->spool, w->slot); break;
    case MEMORY_OWNED: mem_free(w->memory); break;
    case MEMORY_BORROWED:
    case MEMORY_NONE: break;
    }
    w->slot = NULL;
    spool_writer_set_memory(w, MEMORY_NONE, NULL, 0);
    w->memory_len = 0;
}

bool spool_writer_take_slot(struct spool_writer *w)
{
    struct spool_extent_slot *slot = spool_extent_slot_get(w->spool);

    if (!slot)
        return false;
    if (w->memory_len > 0)
        memcpy(slot->data + SPOOL_EXTENT_HEAD, w->memory, w->memory_len);
    uint32_t len = w->memory_len;
    spool_writer_release(w);
    w->slot = slot;
    spool_writer_set_memory(w, MEMORY_SLOT, slot->data + SPOOL_EXTENT_HEAD,
                            w->spool->extent_body_max);
    w->memory_len = len;
    return true;
}

bool spool_writer_take_body(struct spool_writer *w, enum memory_kind kind)
{
    uint32_t capacity = kind == MEMORY_SMALL ? SPOOL_SMALL : SPOOL_MEDIUM;
    uint8_t *memory = spool_body_get(w->spool, capacity);

    if (!memory)
        return false;
    capacity = capacity < w->spool->inline_max ? capacity : w->spool->inline_max;
    if (w->memory_len > 0)
        memcpy(memory, w->memory, w->memory_len);
    uint32_t len = w->memory_len;
    spool_writer_release(w);
    spool_writer_set_memory(w, kind, memory, capacity);
    w->memory_len = len;
    return true;
}

/* ---- extents ------------------------------------------------------------------------------ */

uint64_t spool_writer_extent_need(const struct spool_writer *w)
{
    return SPOOL_EXTENT_HEAD + (uint64_t)w->memory_len;
}

/* What is in the slot goes out. */
void spool_writer_submit_extent(struct spool_writer *w)
{
    struct spool_pending *p = spool_pending_get(w->spool, PENDING_EXTENT);

    ASSERT(w->memory_kind == MEMORY_SLOT && w->memory_len > 0);
    p->writer = w;
    spool_batch_extent(spool_writer_log(w), w->slot, w->id, w->extent_count + w->extents_in_flight,
                       w->memory_len, w->crc, p);
    w->extents_in_flight++;
    w->slot = NULL;
    spool_writer_set_memory(w, MEMORY_NONE, NULL, 0);
    w->memory_len = 0;
    w->crc = 0;
}

static void detach_list(struct list *batches, struct spool_writer *w)
{
    LIST_EACH(batches, node)
    {
        struct spool_batch *b = container_of(node, struct spool_batch, node);

        if (!b->extent)
            continue;
        LIST_EACH(&b->pendings, pending)
        {
            struct spool_pending *p = container_of(pending, struct spool_pending, node);

            if (p->writer == w)
                p->writer = NULL;
        }
    }
}

void spool_writer_loosen(struct spool_log *log, const struct spool_extent *extents, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(extents[i].segment->loose > 0);
        extents[i].segment->loose--;
    }
    log->reap = true;
}

/* Its extents are nobody's: dead bytes. */
void spool_writer_drop_extents(struct spool_writer *w)
{
    struct spool_log *log = spool_writer_log(w);

    if (w->extents_in_flight > 0) {
        detach_list(&log->submitted, w);
        detach_list(&log->requeue, w);
        detach_list(&log->extents, w);
    }
    spool_writer_loosen(log, w->extents, w->extent_count);
    mem_free(w->extents);
    w->extents = NULL;
    w->extent_count = w->extent_capacity = w->extents_in_flight = 0;
}

void spool_writer_end_failed(struct spool_writer *w, enum spool_result result)
{
    spool_writer_unlist(w);
    spool_writer_release(w);
    spool_writer_drop_extents(w);
    mem_free(w->envelope);
    w->envelope = NULL;
    w->failure = result;
    w->state = WRITER_FINISHED;
    list_push_back(&w->spool->finished, &w->node);
    w->listed = true;
}

static void forget_list(struct list *l)
{
    while (!list_empty(l)) {
        struct spool_writer *w = container_of(l->next, struct spool_writer, node);

        spool_writer_unlist(w);
        spool_writer_release(w);
        mem_free(w->extents);
        mem_free(w->envelope);
        w->extents = NULL;
        w->envelope = NULL;
        w->state = WRITER_IDLE;
    }
}

void spool_writers_forget(struct spool *s)
{
    forget_list(&s->writers);
    forget_list(&s->finished);
    if (s->own) {
        forget_list(&s->own->commits);
        forget_list(&s->own->draining);
    }
}
