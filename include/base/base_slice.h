/*
 * base_slice: a view of bytes that somebody else owns.
 *
 * A slice is good until its owner consumes or frees the buffer behind it. Bytes from the network
 * may hold NUL, so nothing here relies on termination.
 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    size_t len;
};

#define SLICE_NULL          ((struct slice){NULL, 0})
#define SLICE_LITERAL(text) ((struct slice){(const uint8_t *)(text), sizeof(text) - 1})
/* The same as the initialiser of a static table, where C17 wants a constant. */
#define SLICE_INIT(text)                          \
    {                                             \
        (const uint8_t *)(text), sizeof(text) - 1 \
    }
/* For printf's "%.*s". */
#define SLICE_ARG(s) (int)(s).len, (const char *)(s).data

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){(const uint8_t *)data, len};
}

static inline struct slice slice_str(const char *text)
{
    return (struct slice){(const uint8_t *)text, strlen(text)};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Takes `count` bytes off the front. The caller promises that there are as many. */
static inline void slice_advance(struct slice *s, size_t count)
{
    if (count > 0) /* C17 does not allow NULL + 0 */
        s->data += count;
    s->len -= count;
}

static inline struct slice slice_head(struct slice s, size_t count)
{
    return (struct slice){s.data, count < s.len ? count : s.len};
}

/* ASCII only, independent of the locale (RFC 5321 2.4: verbs and domains are case-insensitive). */
bool slice_equal_nocase(struct slice a, struct slice b);
bool slice_starts_nocase(struct slice s, struct slice prefix);
/* Offset of the first `byte`, or -1. */
ptrdiff_t slice_find(struct slice s, uint8_t byte);
struct slice slice_trim(struct slice s); /* without spaces and tabs at both ends */
/* Decimal digits only, at least one, no sign; false on overflow or anything else. */
bool slice_to_u64(struct slice s, uint64_t *out);

#endif
