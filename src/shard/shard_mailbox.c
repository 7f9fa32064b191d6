/* shard_mailbox: see the header. */
#include "shard_mailbox_priv.h"

#include "base_assert.h"
#include "base_mem.h"

enum { MAILBOX_CAPACITY = 1024, KIND_MASK = 7 };

void shard_mailbox_init(struct shard_mailbox *m)
{
    *m = (struct shard_mailbox){0};
    spsc_init(&m->queue, MAILBOX_CAPACITY);
}

void shard_mailbox_finish(struct shard_mailbox *m)
{
    spsc_finish(&m->queue);
    mem_free(m->waiting);
}

void shard_mailbox_post(struct shard_mailbox *m, void *item, enum shard_item kind)
{
    uintptr_t tagged = (uintptr_t)item | (uintptr_t)kind;

    ASSERT(((uintptr_t)item & KIND_MASK) == 0);
    m->posted = true;
    if (m->waiting_count == 0 && spsc_push(&m->queue, (void *)tagged))
        return;
    if (m->waiting_count == m->waiting_capacity) {
        m->waiting_capacity = m->waiting_capacity > 0 ? 2 * m->waiting_capacity : 64;
        m->waiting = mem_realloc(m->waiting, m->waiting_capacity * sizeof(*m->waiting));
    }
    m->waiting[m->waiting_count++] = tagged;
}

bool shard_mailbox_publish(struct shard_mailbox *m)
{
    size_t moved = 0;

    while (moved < m->waiting_count && spsc_push(&m->queue, (void *)m->waiting[moved]))
        moved++;
    if (moved > 0) {
        m->waiting_count -= moved;
        memmove(m->waiting, m->waiting + moved, m->waiting_count * sizeof(*m->waiting));
        m->posted = true;
    }
    if (!m->posted)
        return false;
    m->posted = false;
    spsc_publish(&m->queue);
    return true;
}

bool shard_mailbox_is_full(const struct shard_mailbox *m)
{
    return m->waiting_count > 0;
}

void *shard_mailbox_take(struct shard_mailbox *m, enum shard_item *out_kind)
{
    uintptr_t tagged = (uintptr_t)spsc_pop(&m->queue);

    *out_kind = (enum shard_item)(tagged & KIND_MASK);
    return (void *)(tagged & ~(uintptr_t)KIND_MASK);
}
