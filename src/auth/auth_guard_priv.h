/*
 * auth_guard: how often somebody failed of late. A fixed table of atomic words, each a part of a key's
 * hash, a count and the time of the last failure, so that all shards share it without a lock and a million
 * names take no more memory than one. When it is full, those with the fewest failures are forgotten first.
 *
 * Keys are keyed hashes (hash_bytes), so nobody can choose whose word he pushes out. A failure is
 * forgotten `window_s` after the last one.
 */
#ifndef AUTH_GUARD_PRIV_H
#define AUTH_GUARD_PRIV_H

#include <stdatomic.h>

#include "base_codec.h"

enum { AUTH_GUARD_BUCKETS = 1 << 16, AUTH_GUARD_WAYS = 8, AUTH_GUARD_COUNT_MAX = 1023 };

struct auth_guard {
    _Alignas(64) _Atomic uint64_t words[AUTH_GUARD_BUCKETS][AUTH_GUARD_WAYS];
};

uint64_t auth_guard_client_key(const struct ip_addr *ip);                  /* IPv6: of the /64 */
uint64_t auth_guard_user_key(const struct ip_addr *ip, struct slice user); /* any case */

/* Failures now. */
unsigned auth_guard_look(struct auth_guard *g, uint64_t key, uint64_t now_s, uint64_t window_s);
/* One more; how many that makes. */
unsigned auth_guard_add(struct auth_guard *g, uint64_t key, uint64_t now_s, uint64_t window_s);
/* Seconds until a failure of now is forgotten, if no other follows. */
uint64_t auth_guard_left(struct auth_guard *g, uint64_t key, uint64_t now_s, uint64_t window_s);
/* `count` fewer; what is left keeps its time. */
void auth_guard_forgive(struct auth_guard *g, uint64_t key, unsigned count);

#endif
