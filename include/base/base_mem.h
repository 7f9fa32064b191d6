/*
 * base_mem: the only door to the allocator. Running out of memory ends the process with one clear
 * line: every pool and queue above has a limit of its own that answers long before.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size); /* not cleared; never NULL; size > 0 */
void *mem_zalloc(size_t size);
void *mem_calloc(size_t count, size_t size); /* cleared; the product is checked and may be 0 */
void *mem_realloc(void *old, size_t size);
void *mem_dup(const void *data, size_t size); /* size may be 0 */
/* Not cleared; a power of two, for types with _Alignas and for direct I/O. */
void *mem_alloc_aligned(size_t alignment, size_t size);
char *mem_strdup(const char *text);
void mem_free(void *memory); /* NULL is fine */
/* Overwrites secrets in a way that the compiler keeps. */
void mem_wipe(void *memory, size_t size);

#endif
