/*
 * base_arena: memory that is freed all at once (one a mail transaction). Grows in chunks up to a
 * limit; beyond it arena_alloc() answers NULL. Strings are packed without alignment.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base_slice.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    size_t used;                /* bytes handed out */
    size_t limit;
};

void arena_init(struct arena *a, size_t limit);
void arena_reset(struct arena *a);               /* frees everything; the arena is usable again */
void *arena_alloc(struct arena *a, size_t size); /* cleared, aligned for anything */
struct slice arena_dup(struct arena *a, struct slice s); /* data NULL at the limit */
char *arena_strdup(struct arena *a, struct slice s);     /* NUL-terminated */

#endif
