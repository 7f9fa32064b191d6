/* server_users: see the header. */
#include "server_users.h"

#include <stdatomic.h>

#include "base_assert.h"
#include "base_codec.h"
#include "base_crc32c.h"
#include "base_hash.h"
#include "base_mem.h"

enum {
    PROBES = 32,
    COUNTERS = SERVER_USERS_KINDS * SERVER_USERS_SPANS,
};

static const uint64_t span_ms[SERVER_USERS_SPANS] = {
    [SERVER_USERS_MINUTE] = 60 * 1000,
    [SERVER_USERS_HOUR] = 3600 * 1000,
    [SERVER_USERS_DAY] = 24 * 3600 * 1000,
};

/* `who` is 48 bits of the name's hash above the number of sessions; 0: never used. A slot that was used is
 * somebody's for ever: another takes it over once nothing of the first counts any more. */
enum { SESSION_BITS = 16 };
#define SESSIONS_MAX (((uint64_t)1 << SESSION_BITS) - 1)

struct slot {
    _Atomic uint64_t who;
    _Atomic uint64_t counters[COUNTERS];
};

struct server_users {
    uint32_t size; /* slots; a power of two */
    _Atomic bool changed;
    _Atomic uint32_t used; /* slots that were taken, as listed: what a save has to look at */
    _Atomic uint32_t *list;
    struct slot slots[];
};

struct server_users *server_users_create(uint32_t size)
{
    struct server_users *u;

    ASSERT(size > 0 && (size & (size - 1)) == 0);
    u = mem_zalloc(sizeof(*u) + (size_t)size * (sizeof(u->slots[0]) + sizeof(u->list[0])));
    u->size = size;
    u->list = (_Atomic uint32_t *)(void *)&u->slots[size];
    return u;
}

void server_users_destroy(struct server_users *u)
{
    mem_free(u);
}

/* ---- a counter ------------------------------------------------------------------------------- */

/* In one word: the number of the fixed window (of minutes there are two years before it comes again),
 * what was counted in it, and in the one before. */
enum { COUNT_BITS = 22, WINDOW_BITS = 64 - 2 * COUNT_BITS };
#define COUNT_MAX   (((uint32_t)1 << COUNT_BITS) - 1)
#define WINDOW_MASK (((uint32_t)1 << WINDOW_BITS) - 1)

struct counter {
    uint32_t window;
    uint32_t current, last;
};

static struct counter unpack(uint64_t word)
{
    return (struct counter){.window = (uint32_t)(word >> 2 * COUNT_BITS),
                            .current = (uint32_t)(word >> COUNT_BITS) & COUNT_MAX,
                            .last = (uint32_t)word & COUNT_MAX};
}

static uint64_t pack(struct counter c)
{
    ASSERT(c.window <= WINDOW_MASK);
    ASSERT(c.current <= COUNT_MAX);
    ASSERT(c.last <= COUNT_MAX);
    return (uint64_t)c.window << 2 * COUNT_BITS | (uint64_t)c.current << COUNT_BITS | c.last;
}

static uint32_t window_at(enum server_users_span span, uint64_t now_ms)
{
    return (uint32_t)(now_ms / span_ms[span]) & WINDOW_MASK;
}

/* How many windows `to` is behind `from`; from a clock that was set back, 0. */
static uint32_t windows_between(uint32_t from, uint32_t to)
{
    uint32_t distance = (to - from) & WINDOW_MASK;

    return distance <= WINDOW_MASK / 2 ? distance : 0;
}

/* As it looks now. */
static struct counter age(struct counter c, uint32_t window)
{
    uint32_t distance = windows_between(c.window, window);

    c.window = window;
    if (distance >= 2)
        c.current = c.last = 0;
    if (distance == 1) {
        c.last = c.current;
        c.current = 0;
    }
    return c;
}

/* Since when the window runs. */
static uint64_t elapsed_ms(enum server_users_span span, uint64_t now_ms)
{
    return now_ms % span_ms[span];
}

/* What the sliding span covers; the part of the last window counts as more rather than less. */
static uint64_t covered(struct counter c, enum server_users_span span, uint64_t now_ms)
{
    uint64_t left_ms = span_ms[span] - elapsed_ms(span, now_ms);

    return c.current + (c.last * left_ms + span_ms[span] - 1) / span_ms[span];
}

/* From the start of a window on: until of `before` no more than `most` count. */
static uint64_t until_aged_ms(uint32_t before, uint64_t most, enum server_users_span span)
{
    return before <= most ? 0 : span_ms[span] - span_ms[span] * most / before;
}

/* When there will be room for one more. */
static uint64_t wait_ms(struct counter c, enum server_users_span span, uint64_t limit,
                        uint64_t now_ms)
{
    uint64_t elapsed = elapsed_ms(span, now_ms), until;

    if (c.current >= limit) /* not before what is counted now is the last window's */
        return span_ms[span] - elapsed + until_aged_ms(c.current, limit - 1, span);
    until = until_aged_ms(c.last, limit - 1 - c.current, span);
    return until > elapsed ? until - elapsed : 1;
}

static bool take(_Atomic uint64_t *word, enum server_users_span span, uint64_t limit,
                 uint64_t now_ms, uint64_t *out_wait_ms)
{
    uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
    struct counter c;

    if (limit > COUNT_MAX)
        limit = COUNT_MAX;
    do {
        c = age(unpack(old), window_at(span, now_ms));
        if (covered(c, span, now_ms) >= limit) {
            *out_wait_ms = wait_ms(c, span, limit, now_ms);
            /* Kept, so that it ages from here if the clock was set back. If others were faster: they keep
             * it too. */
            (void)atomic_compare_exchange_strong_explicit(word, &old, pack(c), memory_order_relaxed,
                                                          memory_order_relaxed);
            return false;
        }
        c.current++;
    } while (!atomic_compare_exchange_weak_explicit(word, &old, pack(c), memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

static uint32_t less(uint32_t a, uint32_t b)
{
    return a > b ? a - b : 0;
}

static void give_back(_Atomic uint64_t *word, enum server_users_span span, uint32_t count,
                      uint64_t taken_ms, uint64_t now_ms)
{
    uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
    uint32_t now = window_at(span, now_ms);
    uint32_t distance = windows_between(window_at(span, taken_ms), now);
    struct counter c;

    do {
        c = age(unpack(old), now);
        if (distance == 0)
            c.current = less(c.current, count);
        if (distance == 1)
            c.last = less(c.last, count);
    } while (!atomic_compare_exchange_weak_explicit(word, &old, pack(c), memory_order_relaxed,
                                                    memory_order_relaxed));
}

/* ---- a user ---------------------------------------------------------------------------------- */

static bool counts(const struct slot *slot, uint64_t now_ms)
{
    for (size_t i = 0; i < COUNTERS; i++) {
        enum server_users_span span = i % SERVER_USERS_SPANS;
        struct counter c =
            age(unpack(atomic_load_explicit(&slot->counters[i], memory_order_relaxed)),
                window_at(span, now_ms));

        if (c.current > 0 || c.last > 0)
            return true;
    }
    return false;
}

enum claim { CLAIM_NO, CLAIM_YES, CLAIM_FULL };

/* Which slots may be taken, beside one's own. */
enum pass { PASS_OWN, PASS_EMPTY, PASS_ABANDONED, PASS_COUNT };

static bool may_take(const struct slot *slot, uint64_t who, enum pass pass, uint64_t now_ms)
{
    if (who == 0)
        return pass >= PASS_EMPTY;
    return pass == PASS_ABANDONED && (who & SESSIONS_MAX) == 0 && !counts(slot, now_ms);
}

static void list_slot(struct server_users *u, uint32_t at)
{
    uint32_t n = atomic_fetch_add_explicit(&u->used, 1, memory_order_relaxed);

    ASSERT(n < u->size);
    /* A save that comes between sees slot 0 once more, or none: it saves again soon. */
    atomic_store_explicit(&u->list[n], at, memory_order_relaxed);
}

static enum claim claim(struct server_users *u, uint32_t at, uint64_t tag, uint64_t max,
                        enum pass pass, uint64_t now_ms)
{
    struct slot *slot = &u->slots[at];
    uint64_t old = atomic_load_explicit(&slot->who, memory_order_relaxed);

    for (;;) {
        bool own = old != 0 && (old & ~SESSIONS_MAX) == tag;
        uint64_t sessions = own ? old & SESSIONS_MAX : 0;

        if (!own && !may_take(slot, old, pass, now_ms))
            return CLAIM_NO;
        if (sessions >= max)
            return CLAIM_FULL;
        if (atomic_compare_exchange_weak_explicit(&slot->who, &old, tag | (sessions + 1),
                                                  memory_order_relaxed, memory_order_relaxed))
            break;
    }
    if (old == 0)
        list_slot(u, at);
    return CLAIM_YES;
}

/* Names have no case, whoever says them: else Ann had another allowance than ann. What is longer than the
 * memory here is no name that anybody logs in by. */
static uint64_t tag_of(struct slice user)
{
    uint8_t folded[1024];
    uint64_t tag;

    user = slice_head(user, sizeof(folded));
    for (size_t i = 0; i < user.len; i++) {
        uint8_t c = user.data[i];
        folded[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
    }
    tag = hash_stable(slice_of(folded, user.len)) & ~SESSIONS_MAX;
    return tag != 0 ? tag : SESSIONS_MAX + 1;
}

static uint32_t place(const struct server_users *u, uint64_t tag, uint32_t probe)
{
    return ((uint32_t)(tag >> SESSION_BITS) + probe) & (u->size - 1);
}

/* Finds or makes the slot of a tag, and counts one session more in it. */
static bool enter(struct server_users *u, uint64_t tag, uint64_t max, uint64_t now_ms,
                  uint32_t *out_slot)
{
    *out_slot = SERVER_USERS_NOBODY;
    for (enum pass pass = PASS_OWN; pass < PASS_COUNT; pass++) {
        for (uint32_t i = 0; i < PROBES; i++) {
            uint32_t at = place(u, tag, i);

            switch (claim(u, at, tag, max, pass, now_ms)) {
            case CLAIM_NO: break;
            case CLAIM_YES: *out_slot = at; return true;
            case CLAIM_FULL: return false;
            }
        }
    }
    return true;
}

bool server_users_enter(struct server_users *u, struct slice user, uint64_t max, uint64_t now_ms,
                        uint32_t *out_slot)
{
    if (max == 0 || max > SESSIONS_MAX)
        max = SESSIONS_MAX;
    return enter(u, tag_of(user), max, now_ms, out_slot);
}

void server_users_leave(struct server_users *u, uint32_t slot)
{
    uint64_t before;

    if (slot == SERVER_USERS_NOBODY)
        return;
    before = atomic_fetch_sub_explicit(&u->slots[slot].who, 1, memory_order_relaxed);
    ASSERT((before & SESSIONS_MAX) > 0);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static uint64_t limit_of(const struct conf_user_limits *l, enum server_users_kind kind,
                         enum server_users_span span)
{
    const uint64_t limits[SERVER_USERS_KINDS][SERVER_USERS_SPANS] = {
        {l->messages_per_minute, l->messages_per_hour, l->messages_per_day},
        {l->recipients_per_minute, l->recipients_per_hour, l->recipients_per_day},
    };

    return limits[kind][span];
}

static _Atomic uint64_t *counter_of(struct server_users *u, uint32_t slot,
                                    enum server_users_kind kind, enum server_users_span span)
{
    return &u->slots[slot].counters[kind * SERVER_USERS_SPANS + span];
}

/* The longest span first: its is the answer that helps most. Without a limit there is nothing to count. */
bool server_users_take(struct server_users *u, uint32_t slot, enum server_users_kind kind,
                       const struct conf_user_limits *limits, uint64_t now_ms,
                       struct server_users_refusal *out_refusal)
{
    uint64_t wait = 0;

    if (slot == SERVER_USERS_NOBODY)
        return true;
    for (int span = SERVER_USERS_SPANS - 1; span >= 0; span--) {
        uint64_t limit = limit_of(limits, kind, span);

        if (limit == 0 || take(counter_of(u, slot, kind, span), span, limit, now_ms, &wait))
            continue;
        *out_refusal = (struct server_users_refusal){kind, span, limit, wait};
        while (++span < SERVER_USERS_SPANS)
            if (limit_of(limits, kind, span) != 0)
                give_back(counter_of(u, slot, kind, span), span, 1, now_ms, now_ms);
        return false;
    }
    atomic_store_explicit(&u->changed, true, memory_order_relaxed);
    return true;
}

void server_users_give_back(struct server_users *u, uint32_t slot, enum server_users_kind kind,
                            const struct conf_user_limits *limits, uint32_t count,
                            uint64_t taken_ms, uint64_t now_ms)
{
    if (slot == SERVER_USERS_NOBODY || count == 0)
        return;
    for (int span = 0; span < SERVER_USERS_SPANS; span++)
        if (limit_of(limits, kind, span) != 0)
            give_back(counter_of(u, slot, kind, span), span, count, taken_ms, now_ms);
}

/* ---- the file: a magic, records of tag and counters, and an end with count and checksum --------- */

enum { RECORD_LEN = 8 * (1 + COUNTERS), END_LEN = 8 + 8 + 4, SAVE_SLOTS = 1024 };
#define MAGIC SLICE_LITERAL("MRUSERS1")

bool server_users_changed(const struct server_users *u)
{
    return atomic_load_explicit(&u->changed, memory_order_relaxed);
}

static void append(struct server_users_save *save, const void *bytes, size_t len, struct buf *out)
{
    save->crc = crc32c(save->crc, bytes, len);
    (void)buf_append(out, bytes, len);
}

static void save_slot(const struct slot *slot, struct server_users_save *save, uint64_t now_ms,
                      struct buf *out)
{
    uint8_t record[RECORD_LEN];
    uint64_t who = atomic_load_explicit(&slot->who, memory_order_relaxed);

    if ((who & ~SESSIONS_MAX) == 0 || !counts(slot, now_ms))
        return;
    put_le64(record, who & ~SESSIONS_MAX);
    for (size_t i = 0; i < COUNTERS; i++)
        put_le64(record + 8 * (1 + i),
                 atomic_load_explicit(&slot->counters[i], memory_order_relaxed));
    append(save, record, sizeof(record), out);
    save->saved++;
}

bool server_users_save(struct server_users *u, struct server_users_save *save, uint64_t now_ms,
                       struct buf *out)
{
    uint32_t used = atomic_load_explicit(&u->used, memory_order_relaxed);
    uint8_t end[END_LEN] = {0};

    if (save->next == 0) {
        atomic_store_explicit(&u->changed, false, memory_order_relaxed);
        append(save, MAGIC.data, MAGIC.len, out);
    }
    for (int left = SAVE_SLOTS; left > 0 && save->next < used; left--) {
        uint32_t at = atomic_load_explicit(&u->list[save->next++], memory_order_relaxed);
        save_slot(&u->slots[at], save, now_ms, out);
    }
    if (save->next < used)
        return true;
    put_le64(end + 8, save->saved);
    append(save, end, END_LEN - 4, out);
    put_le32(end, save->crc);
    (void)buf_append(out, end, 4);
    return false;
}

static bool is_whole(struct slice file)
{
    size_t records;

    if (file.len < MAGIC.len + END_LEN || !slice_equal(slice_head(file, MAGIC.len), MAGIC))
        return false;
    records = file.len - MAGIC.len - END_LEN;
    return records % RECORD_LEN == 0 && get_le64(file.data + file.len - 12) == records / RECORD_LEN
           && crc32c(0, file.data, file.len - 4) == get_le32(file.data + file.len - 4);
}

/* Several times the same user cannot be; if there were, the last one would count. */
bool server_users_load(struct server_users *u, struct slice file, uint64_t now_ms)
{
    if (!is_whole(file))
        return false;
    slice_advance(&file, MAGIC.len);
    for (; file.len > END_LEN; slice_advance(&file, RECORD_LEN)) {
        uint64_t tag = get_le64(file.data) & ~SESSIONS_MAX;
        uint32_t slot;

        if (tag == 0 || !enter(u, tag, SESSIONS_MAX, now_ms, &slot) || slot == SERVER_USERS_NOBODY)
            continue; /* no room: uncounted, as ever */
        for (size_t i = 0; i < COUNTERS; i++)
            atomic_store_explicit(&u->slots[slot].counters[i], get_le64(file.data + 8 * (1 + i)),
                                  memory_order_relaxed);
        server_users_leave(u, slot);
    }
    return true;
}
