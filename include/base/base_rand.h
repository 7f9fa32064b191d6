/*
 * base_rand: a small, fast generator (xoshiro256**) for jitter, shuffles and the simulator. Not for
 * secrets. The state is the caller's, so a seed is a whole world.
 */
#ifndef BASE_RAND_H
#define BASE_RAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rand {
    uint64_t state[4];
};

void rand_seed(struct rand *r, uint64_t seed);
uint64_t rand_u64(struct rand *r);
uint64_t rand_below(struct rand *r, uint64_t bound);                /* [0, bound), bound > 0 */
uint64_t rand_between(struct rand *r, uint64_t low, uint64_t high); /* [low, high] */
bool rand_chance(struct rand *r, unsigned numerator, unsigned denominator);
/* Fisher-Yates over `count` elements of `size` bytes. */
void rand_shuffle(struct rand *r, void *array, size_t count, size_t size);

#endif
