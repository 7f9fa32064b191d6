/*
 * base_pool: counted objects of one size, with a limit, reused last in first out. Slabs are taken
 * from base_mem and returned at pool_finish(), which asserts that nothing is still out.
 * Objects are aligned to 16 bytes, and to 64 if their size is a multiple of that. Under
 * AddressSanitizer a returned object may not be read.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

struct pool {
    const char *name; /* for the assertion message and counters */
    size_t object_size;
    size_t in_use;
    size_t in_use_peak;
    size_t in_use_max; /* pool_get() answers NULL beyond; 0: no limit */
    void *free_list;
    void *slabs;
    size_t slab_left;
    uint8_t *slab_next;
};

void pool_init(struct pool *p, const char *name, size_t object_size, size_t in_use_max);
/* The same for objects of which there may be millions: aligned to 8 bytes only. */
void pool_init_compact(struct pool *p, const char *name, size_t object_size, size_t in_use_max);
void pool_finish(struct pool *p);
void *pool_get(struct pool *p); /* cleared; NULL at the limit */
void pool_put(struct pool *p, void *object);

#endif
