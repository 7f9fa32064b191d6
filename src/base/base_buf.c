#include "base_buf.h"

#include <stdio.h>

#include "base_assert.h"
#include "base_codec.h"
#include "base_mem.h"

enum { BUF_CAPACITY_MIN = 256 };

void buf_init(struct buf *b, size_t limit)
{
    *b = (struct buf){.limit = limit};
}

void buf_finish(struct buf *b)
{
    mem_free(b->data);
    *b = (struct buf){.limit = b->limit};
}

void buf_clear(struct buf *b)
{
    b->head = b->tail = 0;
    b->overflow = false;
}

void buf_release(struct buf *b)
{
    if (b->head != b->tail)
        return;
    mem_free(b->data);
    b->data = NULL;
    b->head = b->tail = b->capacity = 0;
}

static size_t buf_limit(const struct buf *b)
{
    return b->limit > 0 ? b->limit : BUF_LIMIT_DEFAULT;
}

/* The unread bytes move to a larger block; the consumed ones are not copied. */
static void buf_grow(struct buf *b, size_t needed)
{
    size_t len = buf_len(b);
    size_t capacity = b->capacity > 0 ? b->capacity * 2 : BUF_CAPACITY_MIN;

    if (capacity < needed)
        capacity = needed;
    if (capacity > buf_limit(b))
        capacity = buf_limit(b);
    ASSERT(capacity >= needed);

    if (b->head == 0 && len > 0) {
        b->data = mem_realloc(b->data, capacity);
    } else {
        uint8_t *data = mem_alloc(capacity);

        if (len > 0)
            memcpy(data, b->data + b->head, len);
        mem_free(b->data);
        b->data = data;
    }
    b->head = 0;
    b->tail = len;
    b->capacity = capacity;
}

uint8_t *buf_reserve(struct buf *b, size_t count)
{
    size_t len = buf_len(b);

    if (count <= b->capacity - b->tail && b->data != NULL && count <= buf_limit(b) - len)
        return b->data + b->tail;
    if (len > buf_limit(b) || count > buf_limit(b) - len)
        return NULL;

    /* Moving down costs `len`; asking that as much was consumed keeps it linear overall. At the
     * limit there is no larger block to grow into, so there we move whatever it costs. */
    bool fits = b->data != NULL && len + count <= b->capacity;
    if (fits && (b->head >= len || b->capacity >= buf_limit(b))) {
        if (len > 0)
            memmove(b->data, b->data + b->head, len);
        b->head = 0;
        b->tail = len;
    } else {
        buf_grow(b, len + count > 0 ? len + count : 1);
    }
    ASSERT(b->capacity - b->tail >= count);
    return b->data + b->tail;
}

void buf_commit(struct buf *b, size_t count)
{
    ASSERT(count <= b->capacity - b->tail);
    b->tail += count;
}

void buf_consume(struct buf *b, size_t count)
{
    ASSERT(count <= buf_len(b));
    b->head += count;
    if (b->head == b->tail)
        b->head = b->tail = 0;
}

void buf_truncate(struct buf *b, size_t len)
{
    ASSERT(len <= buf_len(b));
    b->tail = b->head + len;
}

bool buf_append(struct buf *b, const void *data, size_t len)
{
    if (len == 0)
        return true;
    uint8_t *room = buf_reserve(b, len);
    if (room == NULL) {
        b->overflow = true;
        return false;
    }
    memcpy(room, data, len);
    b->tail += len;
    return true;
}

bool buf_append_slice(struct buf *b, struct slice s)
{
    return buf_append(b, s.data, s.len);
}

bool buf_append_str(struct buf *b, const char *text)
{
    return buf_append(b, text, strlen(text));
}

bool buf_append_byte(struct buf *b, uint8_t byte)
{
    return buf_append(b, &byte, 1);
}

bool buf_append_u64(struct buf *b, uint64_t value)
{
    char digits[U64_TEXT_SIZE];

    return buf_append(b, digits, u64_to_text(value, digits));
}

bool buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    bool done = buf_vprintf(b, format, args);
    va_end(args);
    return done;
}

/* printf wants a byte for its NUL, which is not ours to keep; so a first try goes to the stack. */
bool buf_vprintf(struct buf *b, const char *format, va_list args)
{
    char text[512];
    va_list again;

    va_copy(again, args);
    int len = vsnprintf(text, sizeof(text), format, args);
    ASSERT(len >= 0);
    bool done;
    if ((size_t)len < sizeof(text)) {
        done = buf_append(b, text, (size_t)len);
    } else {
        char *large = mem_alloc((size_t)len + 1);

        (void)vsnprintf(large, (size_t)len + 1, format, again); /* the same length as before */
        done = buf_append(b, large, (size_t)len);
        mem_free(large);
    }
    va_end(again);
    return done;
}
