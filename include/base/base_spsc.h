/*
 * base_spsc: a bounded queue of pointers between exactly one producer thread and one consumer
 * thread, without locks. Head and tail stand on cache lines of their own; each side caches the
 * other's index, so a batch costs one shared load and one shared store. Memory that embeds one must
 * be aligned to 64 (mem_alloc_aligned, a pool, a static).
 */
#ifndef BASE_SPSC_H
#define BASE_SPSC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spsc {
    void **slots;
    size_t mask;
    _Alignas(64) _Atomic size_t head; /* consumer */
    size_t tail_cached;
    _Alignas(64) _Atomic size_t tail; /* producer */
    size_t head_cached;
    size_t tail_next; /* pushed but not yet published */
};

void spsc_init(struct spsc *q, size_t capacity); /* rounded up to a power of two */
void spsc_finish(struct spsc *q);
/* Producer: false if full. What was pushed is seen by the consumer only after spsc_publish(). */
bool spsc_push(struct spsc *q, void *item);
void spsc_publish(struct spsc *q);
/* Consumer: NULL if empty. */
void *spsc_pop(struct spsc *q);
bool spsc_empty(const struct spsc *q); /* either side; a hint only for the producer */

#endif
