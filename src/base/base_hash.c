/*
 * The keyed hash is SipHash-1-3, written from the description by Aumasson and Bernstein (2012):
 * one round a word, three at the end. Peers choose domains and addresses, so tables of those need a
 * key that peers do not know.
 */
#include "base_hash.h"

#include "base_codec.h"

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t key0, key1;

void hash_set_key(uint64_t k0, uint64_t k1)
{
    key0 = k0;
    key1 = k1;
}

static inline uint64_t rotate_left(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate_left(s->v1, 13) ^ s->v0;
    s->v3 = rotate_left(s->v3, 16) ^ s->v2;
    s->v0 = rotate_left(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotate_left(s->v1, 17) ^ s->v2;
    s->v3 = rotate_left(s->v3, 21) ^ s->v0;
    s->v2 = rotate_left(s->v2, 32);
}

/* Turns A-Z into a-z in each of eight bytes at once. The sums below stay within their bytes because
 * the top bit, which marks a byte that is not ASCII, is set aside. */
static inline uint64_t fold_word(uint64_t word)
{
    const uint64_t each = 0x0101010101010101;
    uint64_t low = word & 0x7F * each;
    uint64_t from_a = low + (0x80 - 'A') * each; /* top bit: byte >= 'A' */
    uint64_t past_z = low + (0x7F - 'Z') * each; /* top bit: byte > 'Z' */
    uint64_t upper = (from_a & ~past_z & ~word) & 0x80 * each;

    return word | upper >> 2; /* 0x20 */
}

static inline uint64_t sip_bytes(uint64_t k0, uint64_t k1, struct slice s, bool fold)
{
    struct sip state = {k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261,
                        k1 ^ 0x7465646279746573};
    const uint8_t *p = s.data;
    size_t left = s.len;

    for (; left >= 8; p += 8, left -= 8) {
        uint64_t word = fold ? fold_word(get_le64(p)) : get_le64(p);

        state.v3 ^= word;
        sip_round(&state);
        state.v0 ^= word;
    }
    uint64_t last = 0;
    for (size_t i = 0; i < left; i++)
        last |= (uint64_t)p[i] << 8 * i;
    if (fold)
        last = fold_word(last);
    last |= (uint64_t)s.len << 56;
    state.v3 ^= last;
    sip_round(&state);
    state.v0 ^= last;

    state.v2 ^= 0xFF;
    for (int i = 0; i < 3; i++)
        sip_round(&state);
    return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

uint64_t hash_bytes(struct slice s)
{
    return sip_bytes(key0, key1, s, false);
}

uint64_t hash_bytes_nocase(struct slice s)
{
    return sip_bytes(key0, key1, s, true);
}

/* The key is part of what is stored with it: it never changes. "mailring" and "hash 1.0". */
#define STABLE_KEY0 UINT64_C(0x676E69726C69616D)
#define STABLE_KEY1 UINT64_C(0x302E312068736168)

uint64_t hash_stable(struct slice s)
{
    return sip_bytes(STABLE_KEY0, STABLE_KEY1, s, false);
}

uint64_t hash_stable_nocase(struct slice s)
{
    return sip_bytes(STABLE_KEY0, STABLE_KEY1, s, true);
}

/* Stafford's thirteenth variant of the 64-bit finaliser: each bit in moves half of the bits out. */
uint64_t hash_u64(uint64_t value)
{
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9;
    value = (value ^ value >> 27) * 0x94D049BB133111EB;
    return value ^ value >> 31;
}
