/*
 * base_hash: keyed hashing of bytes and an intrusive, chained hash table that grows a little at a
 * time (a growth never rehashes everything in one call, so no insert stalls a shard).
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base_slice.h"

/* SipHash-1-3: for keys that a peer chooses. The key is set once at start. */
void hash_set_key(uint64_t k0, uint64_t k1);
uint64_t hash_bytes(struct slice s);
uint64_t hash_bytes_nocase(struct slice s); /* ASCII letters folded */
uint64_t hash_u64(uint64_t value);          /* a mixer for our own ids; not keyed */
/* Not keyed and never changing between runs: for what is stored or shared (which shard owns X). */
uint64_t hash_stable(struct slice s);
uint64_t hash_stable_nocase(struct slice s); /* that of the same in lower case (ASCII) */

struct hash_node {
    struct hash_node *next;
    uint64_t hash;
};

struct hash_table {
    struct hash_node **buckets;
    struct hash_node **old_buckets; /* being moved over */
    size_t mask;
    size_t old_mask;
    size_t old_next;
    size_t count;
};

typedef bool hash_match(const struct hash_node *node, const void *key);

void hash_table_init(struct hash_table *t);
void hash_table_finish(struct hash_table *t); /* frees the buckets; the nodes are their owners' */
void hash_table_insert(struct hash_table *t, struct hash_node *node, uint64_t hash);
struct hash_node *hash_table_find(const struct hash_table *t, uint64_t hash, hash_match *match,
                                  const void *key);
void hash_table_remove(struct hash_table *t, struct hash_node *node);
/* Visits every node; `visit` may remove the node that it is given, but not insert. Stops when it
 * returns false. */
void hash_table_each(struct hash_table *t, bool (*visit)(struct hash_node *node, void *context),
                     void *context);

#endif
