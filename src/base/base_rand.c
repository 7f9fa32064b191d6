/*
 * xoshiro256** (Blackman and Vigna 2018), seeded through splitmix64 as its authors advise, so that
 * neighbouring seeds give unrelated streams and no seed gives the all-zero state.
 */
#include "base_rand.h"

#include <string.h>

#include "base_assert.h"

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
}

void rand_seed(struct rand *r, uint64_t seed)
{
    for (size_t i = 0; i < ARRAY_LEN(r->state); i++)
        r->state[i] = splitmix64(&seed);
}

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

uint64_t rand_u64(struct rand *r)
{
    uint64_t *s = r->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/*
 * The high half of a 128-bit product maps the generator's range onto [0, bound). The low half says
 * whether this draw is one of the few that would favour some values; those are drawn again.
 */
uint64_t rand_below(struct rand *r, uint64_t bound)
{
    __extension__ typedef unsigned __int128 u128;

    ASSERT(bound > 0);
    u128 product = (u128)rand_u64(r) * bound;
    if ((uint64_t)product < bound) {
        uint64_t unfair = -bound % bound; /* 2^64 mod bound */

        while ((uint64_t)product < unfair)
            product = (u128)rand_u64(r) * bound;
    }
    return (uint64_t)(product >> 64);
}

uint64_t rand_between(struct rand *r, uint64_t low, uint64_t high)
{
    ASSERT(low <= high);
    if (high - low == UINT64_MAX)
        return rand_u64(r);
    return low + rand_below(r, high - low + 1);
}

bool rand_chance(struct rand *r, unsigned numerator, unsigned denominator)
{
    return rand_below(r, denominator) < numerator;
}

static void swap_bytes(uint8_t *a, uint8_t *b, size_t size)
{
    uint8_t spare[64];

    while (size > 0) {
        size_t part = size < sizeof(spare) ? size : sizeof(spare);

        memcpy(spare, a, part);
        memcpy(a, b, part);
        memcpy(b, spare, part);
        a += part;
        b += part;
        size -= part;
    }
}

void rand_shuffle(struct rand *r, void *array, size_t count, size_t size)
{
    uint8_t *bytes = array;

    for (size_t i = count; i > 1; i--) {
        size_t other = (size_t)rand_below(r, i);

        if (other != i - 1)
            swap_bytes(bytes + other * size, bytes + (i - 1) * size, size);
    }
}
