/*
 * spool_staging: memory that bodies pass through.
 *
 * Batch slots hold the batches of a log one behind the other. A slot that is full retires; when its
 * batches are stable it keeps their records hot until the slot is needed again, oldest first.
 * Extent slots hold a part of a large body on its way to disk. Bodies that are not yet whole live in
 * ordinary memory of two sizes, within a budget.
 */
#include "spool_priv.h"

enum { SMALL_KEPT_MAX = 4096, MEDIUM_KEPT_MAX = 256 };

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value ? value : fallback;
}

static void staging_sizes(const struct spool_options *o, struct spool_staging *st)
{
    st->slot_count = or_default(o->batch_slots, 32);
    st->slot_len = or_default(o->batch_slot_len, 512 << 10);
    st->extent_count = or_default(o->extent_slots, 64);
    st->extent_len = or_default(o->extent_slot_len, 256 << 10);
    st->writer_memory_max = o->writer_memory_max ? o->writer_memory_max : 64 << 20;
    ASSERT(st->slot_count >= 4 && st->extent_count >= 2);
    ASSERT(st->slot_len % SPOOL_BLOCK == 0 && st->slot_len <= SPOOL_BATCH_LEN_MAX);
    ASSERT(st->extent_len % SPOOL_BLOCK == 0 && st->extent_len <= SPOOL_BATCH_LEN_MAX);
    ASSERT(st->slot_len >= 4 * SPOOL_BLOCK && st->extent_len > SPOOL_BLOCK);
}

size_t spool_registered_len(const struct spool_options *options)
{
    struct spool_staging st;

    staging_sizes(options, &st);
    return (size_t)st.slot_count * st.slot_len + (size_t)st.extent_count * st.extent_len;
}

void spool_staging_init(struct spool *s)
{
    struct spool_staging *st = &s->staging;

    staging_sizes(&s->options, st);
    struct slice memory = io_registered(s->io);
    size_t len = spool_registered_len(&s->options);
    ASSERT(memory.len >= len);
    uint8_t *at = (uint8_t *)s->io->registered;
    ASSERT((uintptr_t)at % IO_ALIGN == 0);

    st->base = at;
    list_init(&st->free_slots);
    list_init(&st->retired);
    list_init(&st->free_extents);
    list_init(&st->small);
    list_init(&st->medium);
    st->slots = mem_calloc(st->slot_count, sizeof(*st->slots));
    for (uint32_t i = 0; i < st->slot_count; i++, at += st->slot_len) {
        struct spool_slot *slot = &st->slots[i];

        slot->data = at;
        slot->len = st->slot_len;
        list_init(&slot->messages);
        list_init(&slot->node);
        list_push_back(&st->free_slots, &slot->node);
    }
    st->extents = mem_calloc(st->extent_count, sizeof(*st->extents));
    for (uint32_t i = 0; i < st->extent_count; i++, at += st->extent_len) {
        struct spool_extent_slot *slot = &st->extents[i];

        slot->data = at;
        list_init(&slot->node);
        list_push_back(&st->free_extents, &slot->node);
    }
}

static void free_bodies(struct list *bodies)
{
    struct list *node;

    while ((node = list_pop_front(bodies)) != NULL)
        mem_free(node);
}

void spool_staging_finish(struct spool *s)
{
    struct spool_staging *st = &s->staging;

    free_bodies(&st->small);
    free_bodies(&st->medium);
    mem_free(st->slots);
    mem_free(st->extents);
}

/* ---- batch slots -------------------------------------------------------------------------- */

/* Another log's slot that has nothing in flight: adopted logs write little and rarely. */
static struct spool_slot *steal(struct spool *s, const struct spool_log *log)
{
    LIST_EACH(&s->logs, node)
    {
        struct spool_log *other = container_of(node, struct spool_log, node);

        if (other != log && other->slot && !other->open && other->slot->batches == 0
            && other->slot->pins == 0) {
            struct spool_slot *slot = other->slot;

            other->slot = NULL;
            return slot;
        }
    }
    return NULL;
}

static struct spool_slot *oldest_unpinned(struct spool_staging *st)
{
    LIST_EACH(&st->retired, node)
    {
        struct spool_slot *slot = container_of(node, struct spool_slot, node);

        if (slot->batches == 0 && slot->pins == 0)
            return slot;
    }
    return NULL;
}

struct spool_slot *spool_slot_get(struct spool *s, struct spool_log *log)
{
    struct spool_staging *st = &s->staging;
    struct list *node = list_pop_front(&st->free_slots);
    struct spool_slot *slot = node ? container_of(node, struct spool_slot, node) : NULL;

    if (!slot) {
        slot = oldest_unpinned(st);
        if (slot)
            list_remove(&slot->node);
        else
            slot = steal(s, log);
    }
    if (!slot) {
        s->counters.waits++;
        return NULL;
    }
    while (!list_empty(&slot->messages))
        spool_message_cool(s,
                           container_of(slot->messages.next, struct spool_warm, in_slot)->message);
    slot->fill = 0;
    slot->log = log;
    return slot;
}

void spool_slot_retire(struct spool *s, struct spool_slot *slot)
{
    slot->log = NULL;
    list_push_back(&s->staging.retired, &slot->node);
}

struct spool_slot *spool_slot_of(struct spool *s, const uint8_t *hot)
{
    size_t index = (size_t)(hot - s->staging.base) / s->staging.slot_len;

    ASSERT(index < s->staging.slot_count);
    return &s->staging.slots[index];
}

/* ---- extent slots ------------------------------------------------------------------------- */

struct spool_extent_slot *spool_extent_slot_get(struct spool *s)
{
    struct list *node = list_pop_front(&s->staging.free_extents);

    if (!node)
        return NULL;
    s->staging.extents_used++;
    return container_of(node, struct spool_extent_slot, node);
}

void spool_extent_slot_put(struct spool *s, struct spool_extent_slot *slot)
{
    ASSERT(s->staging.extents_used > 0);
    s->staging.extents_used--;
    list_push_front(&s->staging.free_extents, &slot->node);
    s->wake = true;
}

/* ---- bodies ------------------------------------------------------------------------------- */

uint8_t *spool_body_get(struct spool *s, uint32_t len)
{
    struct spool_staging *st = &s->staging;
    bool small = len == SPOOL_SMALL;

    ASSERT(small || len == SPOOL_MEDIUM);
    if (st->writer_memory + len > st->writer_memory_max)
        return NULL;
    st->writer_memory += len;
    struct list *node = list_pop_front(small ? &st->small : &st->medium);
    if (!node)
        return mem_alloc(len);
    (*(small ? &st->small_kept : &st->medium_kept))--;
    return (uint8_t *)node;
}

void spool_body_put(struct spool *s, uint8_t *memory, uint32_t len)
{
    struct spool_staging *st = &s->staging;
    bool small = len == SPOOL_SMALL;
    uint32_t *kept = small ? &st->small_kept : &st->medium_kept;

    ASSERT(st->writer_memory >= len);
    st->writer_memory -= len;
    s->wake = true;
    if (*kept >= (small ? SMALL_KEPT_MAX : MEDIUM_KEPT_MAX)) {
        mem_free(memory);
        return;
    }
    (*kept)++;
    struct list *node = (struct list *)(void *)memory;
    list_init(node);
    list_push_front(small ? &st->small : &st->medium, node);
}
