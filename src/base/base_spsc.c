#include "base_spsc.h"

#include "base_assert.h"
#include "base_mem.h"

void spsc_init(struct spsc *q, size_t capacity)
{
    size_t size = 1;

    ASSERT(capacity > 0);
    ASSERT(capacity <= SIZE_MAX / 2 / sizeof(void *));
    while (size < capacity)
        size *= 2;
    q->slots = mem_calloc(size, sizeof(*q->slots));
    q->mask = size - 1;
    atomic_init(&q->head, 0);
    atomic_init(&q->tail, 0);
    q->tail_cached = q->head_cached = q->tail_next = 0;
}

void spsc_finish(struct spsc *q)
{
    mem_free(q->slots);
    q->slots = NULL;
}

/* Indices count up for ever and wrap with size_t; a slot is the index under the mask. */
bool spsc_push(struct spsc *q, void *item)
{
    ASSERT(item != NULL);
    if (q->tail_next - q->head_cached > q->mask) {
        q->head_cached = atomic_load_explicit(&q->head, memory_order_acquire);
        if (q->tail_next - q->head_cached > q->mask)
            return false;
    }
    q->slots[q->tail_next++ & q->mask] = item;
    return true;
}

void spsc_publish(struct spsc *q)
{
    atomic_store_explicit(&q->tail, q->tail_next, memory_order_release);
}

void *spsc_pop(struct spsc *q)
{
    size_t head = atomic_load_explicit(&q->head, memory_order_relaxed); /* only we write it */

    if (head == q->tail_cached) {
        q->tail_cached = atomic_load_explicit(&q->tail, memory_order_acquire);
        if (head == q->tail_cached)
            return NULL;
    }
    void *item = q->slots[head & q->mask];
    /* Release: the slot was read before the producer may fill it again. */
    atomic_store_explicit(&q->head, head + 1, memory_order_release);
    return item;
}

bool spsc_empty(const struct spsc *q)
{
    return atomic_load_explicit(&q->head, memory_order_acquire)
           == atomic_load_explicit(&q->tail, memory_order_acquire);
}
