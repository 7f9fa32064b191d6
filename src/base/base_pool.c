#include "base_pool.h"

#include <string.h>

#include "base_assert.h"
#include "base_mem.h"
#include "base_poison_priv.h"

enum {
    POOL_ALIGN_MIN = 16, /* what malloc() promises */
    POOL_ALIGN_COMPACT = 8,
    POOL_SLAB_ALIGN = 64,  /* so that objects of whole cache lines start on one */
    POOL_SLAB_SIZE = 65536 /* large enough to be rare, small enough for a quiet shard */
};

struct pool_free {
    struct pool_free *next;
};

/* Padded to POOL_SLAB_ALIGN; the objects follow. */
struct pool_slab {
    struct pool_slab *next;
};

static void init(struct pool *p, const char *name, size_t object_size, size_t in_use_max,
                 size_t align)
{
    ASSERT(object_size > 0);
    size_t size = (object_size + align - 1) / align * align;

    *p = (struct pool){.name = name, .object_size = size, .in_use_max = in_use_max};
}

void pool_init(struct pool *p, const char *name, size_t object_size, size_t in_use_max)
{
    init(p, name, object_size, in_use_max, POOL_ALIGN_MIN);
}

void pool_init_compact(struct pool *p, const char *name, size_t object_size, size_t in_use_max)
{
    init(p, name, object_size, in_use_max, POOL_ALIGN_COMPACT);
}

void pool_finish(struct pool *p)
{
    struct pool_slab *slab = p->slabs;

    if (p->in_use != 0)
        assert_failed("pool is empty at its end", p->name, (int)p->in_use);
    while (slab != NULL) {
        struct pool_slab *next = slab->next;

        mem_free(slab); /* the allocator clears any poison */
        slab = next;
    }
    p->slabs = NULL;
    p->free_list = NULL;
    p->slab_left = 0;
}

static void pool_add_slab(struct pool *p)
{
    size_t count = POOL_SLAB_SIZE / p->object_size;

    if (count == 0)
        count = 1;
    if (p->in_use_max > 0 && count > p->in_use_max - p->in_use)
        count = p->in_use_max - p->in_use;

    struct pool_slab *slab =
        mem_alloc_aligned(POOL_SLAB_ALIGN, POOL_SLAB_ALIGN + count * p->object_size);
    slab->next = p->slabs;
    p->slabs = slab;
    p->slab_left = count;
    p->slab_next = (uint8_t *)slab + POOL_SLAB_ALIGN;
    memory_poison(p->slab_next, count * p->object_size);
}

void *pool_get(struct pool *p)
{
    void *object;

    if (p->in_use_max > 0 && p->in_use >= p->in_use_max)
        return NULL;
    if (p->free_list != NULL) {
        struct pool_free *head = p->free_list;

        memory_unpoison(head, p->object_size);
        p->free_list = head->next;
        object = head;
    } else {
        if (p->slab_left == 0)
            pool_add_slab(p);
        object = p->slab_next;
        memory_unpoison(object, p->object_size);
        p->slab_next += p->object_size;
        p->slab_left--;
    }
    p->in_use++;
    if (p->in_use > p->in_use_peak)
        p->in_use_peak = p->in_use;
    return memset(object, 0, p->object_size);
}

void pool_put(struct pool *p, void *object)
{
    struct pool_free *free_object = object;

    if (object == NULL)
        return;
    ASSERT(p->in_use > 0);
    ASSERT(object != p->free_list); /* the commonest double return */
    p->in_use--;
    free_object->next = p->free_list;
    p->free_list = free_object;
    memory_poison(object, p->object_size);
}
