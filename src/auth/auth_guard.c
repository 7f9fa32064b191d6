/* auth_guard: see the header. A word is 26 bits of the key, 10 of a count and 28 of a time in seconds, which
 * goes round once in eight years; 0 is free. */
#include "auth_guard_priv.h"

#include "base_hash.h"

enum { COUNT_BITS = 10, TIME_BITS = 28, AHEAD_S = 60 /* of which another shard's clock may be */ };
#define COUNT_MASK ((uint64_t)((1 << COUNT_BITS) - 1))
#define TIME_MASK  (((uint64_t)1 << TIME_BITS) - 1)
#define TAG_MASK   (~(uint64_t)0 << (COUNT_BITS + TIME_BITS))

_Static_assert(AUTH_GUARD_COUNT_MAX == (1 << COUNT_BITS) - 1, "a count fits its bits");

static uint64_t word_of(uint64_t tag, uint64_t count, uint64_t now_s)
{
    return tag | count << TIME_BITS | (now_s & TIME_MASK);
}

static unsigned count_of(uint64_t word)
{
    return (unsigned)(word >> TIME_BITS & COUNT_MASK);
}

static uint64_t age_of(uint64_t word, uint64_t now_s)
{
    uint64_t age = (now_s - word) & TIME_MASK;

    return age > TIME_MASK - AHEAD_S ? 0 : age;
}

static bool counts(uint64_t word, uint64_t now_s, uint64_t window_s)
{
    return count_of(word) > 0 && age_of(word, now_s) < window_s;
}

static _Atomic uint64_t *bucket_of(struct auth_guard *g, uint64_t key, uint64_t *out_tag)
{
    *out_tag = key & TAG_MASK;
    return g->words[key & (AUTH_GUARD_BUCKETS - 1)];
}

/* The key's word, or NULL; *out_word as it was seen. */
static _Atomic uint64_t *find(struct auth_guard *g, uint64_t key, uint64_t *out_word)
{
    uint64_t tag;
    _Atomic uint64_t *bucket = bucket_of(g, key, &tag);

    for (unsigned i = 0; i < AUTH_GUARD_WAYS; i++) {
        *out_word = atomic_load_explicit(&bucket[i], memory_order_relaxed);
        if (count_of(*out_word) > 0 && (*out_word & TAG_MASK) == tag)
            return &bucket[i];
    }
    return NULL;
}

uint64_t auth_guard_client_key(const struct ip_addr *ip)
{
    return hash_bytes(slice_of(ip->bytes, ip_is_v4(ip) ? 16 : 8));
}

uint64_t auth_guard_user_key(const struct ip_addr *ip, struct slice user)
{
    uint64_t both[2] = {auth_guard_client_key(ip), hash_bytes_nocase(user)};

    return hash_bytes(slice_of(both, sizeof(both)));
}

unsigned auth_guard_look(struct auth_guard *g, uint64_t key, uint64_t now_s, uint64_t window_s)
{
    uint64_t word;

    return find(g, key, &word) != NULL && counts(word, now_s, window_s) ? count_of(word) : 0;
}

uint64_t auth_guard_left(struct auth_guard *g, uint64_t key, uint64_t now_s, uint64_t window_s)
{
    uint64_t word;

    return find(g, key, &word) != NULL && counts(word, now_s, window_s)
               ? window_s - age_of(word, now_s)
               : 0;
}

/* The word that is missed least: free, forgotten, or with the fewest failures, and of these the oldest. */
static _Atomic uint64_t *least(_Atomic uint64_t *bucket, uint64_t now_s, uint64_t window_s,
                               uint64_t *out_word)
{
    _Atomic uint64_t *best = NULL;

    for (unsigned i = 0; i < AUTH_GUARD_WAYS; i++) {
        uint64_t word = atomic_load_explicit(&bucket[i], memory_order_relaxed);
        unsigned have = counts(word, now_s, window_s) ? count_of(word) : 0;
        unsigned had = best != NULL && counts(*out_word, now_s, window_s) ? count_of(*out_word) : 0;

        if (best == NULL || have < had
            || (have == had && age_of(word, now_s) > age_of(*out_word, now_s))) {
            best = &bucket[i];
            *out_word = word;
        }
    }
    return best;
}

unsigned auth_guard_add(struct auth_guard *g, uint64_t key, uint64_t now_s, uint64_t window_s)
{
    for (;;) {
        uint64_t tag, word;
        _Atomic uint64_t *bucket = bucket_of(g, key, &tag);
        _Atomic uint64_t *at = find(g, key, &word);
        unsigned count = 1;

        if (at == NULL)
            at = least(bucket, now_s, window_s, &word);
        else if (counts(word, now_s, window_s))
            count = count_of(word) + 1;
        if (count > AUTH_GUARD_COUNT_MAX)
            count = AUTH_GUARD_COUNT_MAX;
        if (atomic_compare_exchange_strong_explicit(at, &word, word_of(tag, count, now_s),
                                                    memory_order_relaxed, memory_order_relaxed))
            return count;
    }
}

void auth_guard_forgive(struct auth_guard *g, uint64_t key, unsigned count)
{
    uint64_t word;

    for (;;) {
        _Atomic uint64_t *at = find(g, key, &word);
        unsigned have = count_of(word);
        uint64_t next;

        if (at == NULL)
            return;
        next = have > count ? word_of(word & TAG_MASK, have - count, word) : 0;
        if (atomic_compare_exchange_strong_explicit(at, &word, next, memory_order_relaxed,
                                                    memory_order_relaxed))
            return;
    }
}
