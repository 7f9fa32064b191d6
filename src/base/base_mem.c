#include "base_mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base_assert.h"

static _Noreturn void out_of_memory(size_t size)
{
    char text[80];
    int len = snprintf(text, sizeof(text), "mailring: out of memory (%zu bytes wanted)\n", size);

    /* Not through the log: its sink may want memory. */
    if (len > 0 && write(STDERR_FILENO, text, (size_t)len) < 0)
        abort();
    abort();
}

void *mem_alloc(size_t size)
{
    ASSERT(size > 0);
    void *memory = malloc(size);

    if (memory == NULL)
        out_of_memory(size);
    return memory;
}

void *mem_alloc_aligned(size_t alignment, size_t size)
{
    void *memory = NULL;

    ASSERT(size > 0);
    ASSERT(alignment >= sizeof(void *));
    ASSERT((alignment & (alignment - 1)) == 0);
    if (posix_memalign(&memory, alignment, size) != 0)
        out_of_memory(size);
    return memory;
}

void *mem_zalloc(size_t size)
{
    ASSERT(size > 0);
    return mem_calloc(1, size);
}

void *mem_calloc(size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total))
        out_of_memory(SIZE_MAX);
    /* calloc() knows which pages are fresh from the kernel, so large tables cost nothing here. */
    void *memory = calloc(1, total > 0 ? total : 1);
    if (memory == NULL)
        out_of_memory(total);
    return memory;
}

void *mem_realloc(void *old, size_t size)
{
    ASSERT(size > 0);
    void *memory = realloc(old, size);

    if (memory == NULL)
        out_of_memory(size);
    return memory;
}

void *mem_dup(const void *data, size_t size)
{
    void *memory = mem_alloc(size > 0 ? size : 1);

    if (size > 0)
        memcpy(memory, data, size);
    return memory;
}

char *mem_strdup(const char *text)
{
    return mem_dup(text, strlen(text) + 1);
}

void mem_free(void *memory)
{
    free(memory);
}

void mem_wipe(void *memory, size_t size)
{
    if (size > 0)
        explicit_bzero(memory, size);
}
