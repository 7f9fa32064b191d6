/*
 * base_buf: a growable byte queue with a hard limit. Bytes are appended at the end and consumed at
 * the front. An empty buf holds no memory after buf_release(), so idle connections cost nothing.
 *
 * Appending past the limit fails as a whole and sets `overflow`, which stays set until buf_clear():
 * a writer of many parts checks once, at the end.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>

#include "base_slice.h"

struct buf {
    uint8_t *data;
    size_t head;     /* first unread byte */
    size_t tail;     /* one past the last byte */
    size_t capacity; /* of data */
    size_t limit;    /* never holds more than this; 0: BUF_LIMIT_DEFAULT */
    bool overflow;
};

#define BUF_LIMIT_DEFAULT ((size_t)1 << 30)

void buf_init(struct buf *b, size_t limit);
void buf_finish(struct buf *b);  /* frees; also fine on zeroed memory */
void buf_clear(struct buf *b);   /* forgets the bytes, keeps the memory */
void buf_release(struct buf *b); /* frees the memory if the buf is empty */

static inline size_t buf_len(const struct buf *b)
{
    return b->tail - b->head;
}

static inline struct slice buf_slice(const struct buf *b)
{
    if (b->data == NULL)
        return SLICE_NULL;
    return slice_of(b->data + b->head, b->tail - b->head);
}

/* Room for `count` more bytes, contiguous; NULL if over the limit (`overflow` is for appends, so a
 * reader that finds no room does not set it). buf_commit() makes them count. */
uint8_t *buf_reserve(struct buf *b, size_t count);
void buf_commit(struct buf *b, size_t count);
void buf_consume(struct buf *b, size_t count);
void buf_truncate(struct buf *b, size_t len); /* keeps the first `len` unread bytes */

bool buf_append(struct buf *b, const void *data, size_t len);
bool buf_append_slice(struct buf *b, struct slice s);
bool buf_append_str(struct buf *b, const char *text);
bool buf_append_byte(struct buf *b, uint8_t byte);
bool buf_append_u64(struct buf *b, uint64_t value); /* decimal */
bool buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool buf_vprintf(struct buf *b, const char *format, va_list args);

#endif
