#include "base_arena.h"

#include "base_assert.h"
#include "base_mem.h"

enum {
    ARENA_ALIGN = 16,
    ARENA_CHUNK_MIN = 2048, /* an ordinary transaction: a few addresses */
    ARENA_CHUNK_MAX = 65536
};

struct arena_chunk {
    struct arena_chunk *next;
    size_t size; /* of bytes */
    size_t used;
    _Alignas(ARENA_ALIGN) uint8_t bytes[];
};

void arena_init(struct arena *a, size_t limit)
{
    *a = (struct arena){.limit = limit};
}

void arena_reset(struct arena *a)
{
    struct arena_chunk *chunk = a->chunks;

    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;

        mem_free(chunk);
        chunk = next;
    }
    a->chunks = NULL;
    a->used = 0;
}

static struct arena_chunk *arena_add_chunk(struct arena *a, size_t needed)
{
    size_t size = a->chunks == NULL ? ARENA_CHUNK_MIN : a->chunks->size * 2;

    if (size > ARENA_CHUNK_MAX)
        size = ARENA_CHUNK_MAX;
    if (size < needed)
        size = needed;
    struct arena_chunk *chunk = mem_alloc(sizeof(*chunk) + size);
    chunk->next = a->chunks;
    chunk->size = size;
    chunk->used = 0;
    a->chunks = chunk;
    return chunk;
}

/* Not cleared. Strings are packed without alignment; what follows them realigns. */
static uint8_t *arena_take(struct arena *a, size_t size, size_t alignment)
{
    struct arena_chunk *chunk = a->chunks;

    if (size > a->limit - a->used)
        return NULL;
    size_t start = chunk == NULL ? 0 : (chunk->used + alignment - 1) / alignment * alignment;
    if (chunk == NULL || start > chunk->size || size > chunk->size - start) {
        chunk = arena_add_chunk(a, size);
        start = 0;
    }
    chunk->used = start + size;
    a->used += size;
    ASSERT(a->used <= a->limit);
    return chunk->bytes + start;
}

void *arena_alloc(struct arena *a, size_t size)
{
    uint8_t *memory = arena_take(a, size, ARENA_ALIGN);

    if (memory != NULL && size > 0)
        memset(memory, 0, size);
    return memory;
}

struct slice arena_dup(struct arena *a, struct slice s)
{
    uint8_t *memory = arena_take(a, s.len, 1);

    if (memory == NULL)
        return SLICE_NULL;
    if (s.len > 0)
        memcpy(memory, s.data, s.len);
    return slice_of(memory, s.len);
}

char *arena_strdup(struct arena *a, struct slice s)
{
    if (s.len == SIZE_MAX)
        return NULL;
    uint8_t *memory = arena_take(a, s.len + 1, 1);
    if (memory == NULL)
        return NULL;
    if (s.len > 0)
        memcpy(memory, s.data, s.len);
    memory[s.len] = '\0';
    return (char *)memory;
}
