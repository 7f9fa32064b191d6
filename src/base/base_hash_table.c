/*
 * The table doubles when it holds a node a bucket. Buckets are then moved over from the old array,
 * a few with each insert; buckets of the old array below `old_next` are already empty. Two buckets
 * an insert are done after half of the inserts that lead to the next doubling.
 */
#include "base_hash.h"

#include "base_assert.h"
#include "base_mem.h"

enum { TABLE_BUCKETS_MIN = 16, TABLE_MOVES = 2 };

void hash_table_init(struct hash_table *t)
{
    *t = (struct hash_table){0};
}

void hash_table_finish(struct hash_table *t)
{
    mem_free(t->buckets);
    mem_free(t->old_buckets);
    hash_table_init(t);
}

static void table_push(struct hash_table *t, struct hash_node *node)
{
    struct hash_node **bucket = &t->buckets[node->hash & t->mask];

    node->next = *bucket;
    *bucket = node;
}

static void table_move_some(struct hash_table *t)
{
    for (int i = 0; i < TABLE_MOVES && t->old_next <= t->old_mask; i++) {
        struct hash_node *node = t->old_buckets[t->old_next];

        while (node != NULL) {
            struct hash_node *next = node->next;

            table_push(t, node);
            node = next;
        }
        t->old_buckets[t->old_next++] = NULL;
    }
    if (t->old_next > t->old_mask) {
        mem_free(t->old_buckets);
        t->old_buckets = NULL;
    }
}

static void table_grow(struct hash_table *t)
{
    size_t size = t->buckets == NULL ? TABLE_BUCKETS_MIN : (t->mask + 1) * 2;

    ASSERT(t->old_buckets == NULL);
    t->old_buckets = t->buckets;
    t->old_mask = t->mask;
    t->old_next = 0;
    t->buckets = mem_calloc(size, sizeof(struct hash_node *));
    t->mask = size - 1;
}

void hash_table_insert(struct hash_table *t, struct hash_node *node, uint64_t hash)
{
    if (t->old_buckets != NULL)
        table_move_some(t);
    /* Removals can make room to insert often before the move is done; it still ends first, because
     * each of those inserts moves too. */
    if (t->buckets == NULL || (t->count > t->mask && t->old_buckets == NULL))
        table_grow(t);
    node->hash = hash;
    table_push(t, node);
    t->count++;
}

static struct hash_node *chain_find(struct hash_node *node, uint64_t hash, hash_match *match,
                                    const void *key)
{
    while (node != NULL && (node->hash != hash || !match(node, key)))
        node = node->next;
    return node;
}

struct hash_node *hash_table_find(const struct hash_table *t, uint64_t hash, hash_match *match,
                                  const void *key)
{
    if (t->buckets == NULL)
        return NULL;
    struct hash_node *node = chain_find(t->buckets[hash & t->mask], hash, match, key);
    if (node == NULL && t->old_buckets != NULL)
        node = chain_find(t->old_buckets[hash & t->old_mask], hash, match, key);
    return node;
}

static bool chain_remove(struct hash_node **link, const struct hash_node *node)
{
    while (*link != NULL && *link != node)
        link = &(*link)->next;
    if (*link == NULL)
        return false;
    *link = node->next;
    return true;
}

/* Moves no buckets: hash_table_each() may be under way. */
void hash_table_remove(struct hash_table *t, struct hash_node *node)
{
    ASSERT(t->count > 0);
    bool found = chain_remove(&t->buckets[node->hash & t->mask], node);
    if (!found && t->old_buckets != NULL)
        found = chain_remove(&t->old_buckets[node->hash & t->old_mask], node);
    ASSERT(found);
    node->next = NULL;
    t->count--;
}

static bool buckets_each(struct hash_node **buckets, size_t mask,
                         bool (*visit)(struct hash_node *node, void *context), void *context)
{
    for (size_t i = 0; i <= mask; i++) {
        for (struct hash_node *node = buckets[i], *next; node != NULL; node = next) {
            next = node->next;
            if (!visit(node, context))
                return false;
        }
    }
    return true;
}

void hash_table_each(struct hash_table *t, bool (*visit)(struct hash_node *node, void *context),
                     void *context)
{
    if (t->buckets == NULL)
        return;
    if (buckets_each(t->buckets, t->mask, visit, context) && t->old_buckets != NULL)
        (void)buckets_each(t->old_buckets, t->old_mask, visit, context); /* the end either way */
}
