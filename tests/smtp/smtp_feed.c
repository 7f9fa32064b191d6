/* smtp_feed: one mapping, whose last page is locked. */
#include "smtp_feed.h"

#include <check.h>
#include <sys/mman.h>
#include <unistd.h>

static uint8_t *guard_end(void)
{
    static uint8_t *end;

    if (end == NULL) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        uint8_t *map = mmap(NULL, FEED_SIZE_MAX + page, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        ck_assert_ptr_ne(map, MAP_FAILED);
        end = map + FEED_SIZE_MAX;
        ck_assert_int_eq(mprotect(end, page, PROT_NONE), 0);
    }
    return end;
}

struct slice feed_guard(struct slice s)
{
    uint8_t *to = guard_end() - s.len;

    ck_assert_uint_le(s.len, FEED_SIZE_MAX);
    if (s.len > 0)
        memmove(to, s.data, s.len);
    return slice_of(to, s.len);
}

void feed_init(struct feed *f, struct slice input, struct feed_cut cut)
{
    *f = (struct feed){.input = input, .cut = cut, .pending = feed_guard(SLICE_NULL)};
}

bool feed_more(struct feed *f)
{
    size_t left = f->input.len - f->given, piece = left;
    uint8_t *to;

    if (left == 0)
        return false;
    if (f->cut.kind == FEED_BYTES)
        piece = 1;
    else if (f->cut.kind == FEED_SPLIT && f->given < f->cut.at)
        piece = f->cut.at - f->given;
    if (piece > left)
        piece = left;
    to = guard_end() - f->pending.len - piece;
    if (f->pending.len > 0)
        memmove(to, f->pending.data, f->pending.len);
    memcpy(to + f->pending.len, f->input.data + f->given, piece);
    f->pending = slice_of(to, f->pending.len + piece);
    f->given += piece;
    return true;
}

void feed_next_cut(struct feed_cut *cut)
{
    if (cut->kind == FEED_WHOLE)
        cut->kind = FEED_BYTES;
    else if (cut->kind == FEED_BYTES)
        *cut = (struct feed_cut){FEED_SPLIT, 1};
    else
        cut->at++;
}
