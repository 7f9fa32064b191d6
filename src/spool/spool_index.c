/*
 * spool_index: messages by id, in order. Ids are given out one after the other, so that this order is
 * about that of arrival and about that on disk: a walk that remembers the last id it met survives
 * whatever comes, goes or moves meanwhile.
 *
 * Leaves of up to 128 messages, and one sorted array that names them. New messages are appended to the
 * last leaf, or near it; a leaf that is full when something is appended stays full. Neighbours that
 * have become nearly empty are merged. About 12 bytes a message, 24 at worst.
 */
#include "spool_priv.h"

struct spool_leaf {
    uint64_t base; /* no id in here is below */
    uint32_t count;
    uint32_t low[SPOOL_LEAF_MAX]; /* id - base, ascending */
    struct spool_message *messages[SPOOL_LEAF_MAX];
};

void spool_index_init(struct spool_index *x)
{
    *x = (struct spool_index){0};
    pool_init(&x->pool, "spool index", sizeof(struct spool_leaf), 0);
}

void spool_index_finish(struct spool_index *x)
{
    for (size_t i = 0; i < x->leaf_count; i++)
        pool_put(&x->pool, x->leaves[i].leaf);
    pool_put(&x->pool, x->spare);
    pool_finish(&x->pool);
    mem_free(x->leaves);
    *x = (struct spool_index){0};
}

/* ---- looking ------------------------------------------------------------------------------ */

/* How many leaves begin at or before this id. */
static size_t leaves_up_to(const struct spool_index *x, uint64_t id)
{
    size_t from = 0, to = x->leaf_count;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (x->leaves[middle].first <= id)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* The first place in the leaf whose id is not below. */
static uint32_t place_in(const struct spool_leaf *leaf, uint64_t id)
{
    uint64_t low = id - leaf->base;
    uint32_t from = 0, to = leaf->count;

    while (from < to) {
        uint32_t middle = from + (to - from) / 2;

        if (leaf->low[middle] < low)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct spool_message *spool_index_find(const struct spool_index *x, uint64_t id)
{
    size_t i = leaves_up_to(x, id);

    if (i == 0)
        return NULL;
    const struct spool_leaf *leaf = x->leaves[i - 1].leaf;
    uint32_t at = place_in(leaf, id);
    return at < leaf->count && leaf->base + leaf->low[at] == id ? leaf->messages[at] : NULL;
}

struct spool_message *spool_index_next(const struct spool_index *x, uint64_t after)
{
    size_t i = leaves_up_to(x, after);

    if (after == UINT64_MAX)
        return NULL;
    if (i > 0) {
        const struct spool_leaf *leaf = x->leaves[i - 1].leaf;
        uint32_t at = place_in(leaf, after + 1);

        if (at < leaf->count)
            return leaf->messages[at];
    }
    return i < x->leaf_count ? x->leaves[i].leaf->messages[0] : NULL; /* no leaf is empty */
}

uint32_t spool_index_some(const struct spool_index *x, uint64_t after,
                          struct spool_message *out[SPOOL_LEAF_MAX])
{
    const struct spool_message *first = spool_index_next(x, after);

    if (!first)
        return 0;
    const struct spool_leaf *leaf = x->leaves[leaves_up_to(x, first->id) - 1].leaf;
    uint32_t at = place_in(leaf, first->id), count = leaf->count - at;
    memcpy(out, leaf->messages + at, count * sizeof(struct spool_message *));
    return count;
}

/* ---- changing ----------------------------------------------------------------------------- */

static struct spool_leaf *leaf_insert(struct spool_index *x, size_t i, uint64_t base)
{
    if (x->leaf_count == x->leaf_capacity) {
        x->leaf_capacity = x->leaf_capacity ? x->leaf_capacity + x->leaf_capacity / 2 : 16;
        x->leaves = mem_realloc(x->leaves, x->leaf_capacity * sizeof(*x->leaves));
    }
    memmove(x->leaves + i + 1, x->leaves + i, (x->leaf_count - i) * sizeof(*x->leaves));
    x->leaf_count++;
    struct spool_leaf *leaf = x->spare ? x->spare : pool_get(&x->pool);
    x->spare = NULL;
    leaf->base = base;
    leaf->count = 0;
    x->leaves[i].first = base;
    x->leaves[i].leaf = leaf;
    return leaf;
}

static void leaf_remove(struct spool_index *x, size_t i)
{
    /* Where mail leaves as it comes there is a leaf now, and none in a moment. */
    if (x->spare)
        pool_put(&x->pool, x->spare);
    x->spare = x->leaves[i].leaf;
    x->leaf_count--;
    memmove(x->leaves + i, x->leaves + i + 1, (x->leaf_count - i) * sizeof(*x->leaves));
}

/* Moves what stands from `at` on to the end of another leaf, which has room and reaches as far. */
static void leaf_move(struct spool_leaf *to, struct spool_leaf *from, uint32_t at)
{
    for (uint32_t i = at; i < from->count; i++, to->count++) {
        to->low[to->count] = (uint32_t)(from->base + from->low[i] - to->base);
        to->messages[to->count] = from->messages[i];
    }
    from->count = at;
}

/* A leaf for an id that belongs right before leaf i: that one, if it has room and reaches as far. */
static struct spool_leaf *leaf_before(struct spool_index *x, size_t i, uint64_t id)
{
    struct spool_leaf *leaf = i < x->leaf_count ? x->leaves[i].leaf : NULL;

    if (!leaf || leaf->count == SPOOL_LEAF_MAX
        || leaf->base + leaf->low[leaf->count - 1] - id > UINT32_MAX)
        return leaf_insert(x, i, id);
    for (uint32_t k = 0; k < leaf->count; k++)
        leaf->low[k] += (uint32_t)(leaf->base - id);
    leaf->base = x->leaves[i].first = id;
    return leaf;
}

/* The leaf that has room for this id. */
static struct spool_leaf *leaf_for(struct spool_index *x, uint64_t id)
{
    size_t i = leaves_up_to(x, id);

    if (i == 0)
        return leaf_before(x, 0, id);
    struct spool_leaf *leaf = x->leaves[i - 1].leaf;
    if (id - leaf->base > UINT32_MAX)
        return leaf_before(x, i, id);
    if (leaf->count < SPOOL_LEAF_MAX)
        return leaf;
    uint32_t at = place_in(leaf, id);
    if (at == leaf->count)
        return leaf_before(x, i, id);
    /* Late ones are near the end: what is before them stays together. */
    uint32_t middle = at > SPOOL_LEAF_MAX / 2 ? at : SPOOL_LEAF_MAX / 2;
    struct spool_leaf *right = leaf_insert(x, i, leaf->base + leaf->low[middle]);
    leaf_move(right, leaf, middle);
    return leaf; /* at is not behind the middle */
}

void spool_index_insert(struct spool_index *x, struct spool_message *m)
{
    struct spool_leaf *leaf = leaf_for(x, m->id);
    uint32_t at = place_in(leaf, m->id), behind = leaf->count - at;

    ASSERT(at == leaf->count || leaf->base + leaf->low[at] != m->id);
    memmove(leaf->low + at + 1, leaf->low + at, behind * sizeof(*leaf->low));
    memmove(leaf->messages + at + 1, leaf->messages + at, behind * sizeof(struct spool_message *));
    leaf->low[at] = (uint32_t)(m->id - leaf->base);
    leaf->messages[at] = m;
    leaf->count++;
}

/* With the leaf behind it, if the two are rather one. */
static void leaf_merge(struct spool_index *x, size_t i)
{
    if (i + 1 >= x->leaf_count)
        return;
    struct spool_leaf *left = x->leaves[i].leaf, *right = x->leaves[i + 1].leaf;
    if (left->count + right->count > SPOOL_LEAF_MAX * 3 / 4
        || right->base + right->low[right->count - 1] - left->base > UINT32_MAX)
        return;
    leaf_move(left, right, 0);
    leaf_remove(x, i + 1);
}

void spool_index_remove(struct spool_index *x, struct spool_message *m)
{
    size_t i = leaves_up_to(x, m->id);

    ASSERT(i > 0);
    struct spool_leaf *leaf = x->leaves[--i].leaf;
    uint32_t at = place_in(leaf, m->id);
    ASSERT(at < leaf->count && leaf->messages[at] == m);
    leaf->count--;
    memmove(leaf->low + at, leaf->low + at + 1, (leaf->count - at) * sizeof(*leaf->low));
    memmove(leaf->messages + at, leaf->messages + at + 1,
            (leaf->count - at) * sizeof(struct spool_message *));
    if (leaf->count == 0) {
        leaf_remove(x, i);
    } else if (leaf->count < SPOOL_LEAF_MAX / 2) {
        leaf_merge(x, i);
        if (i > 0)
            leaf_merge(x, i - 1);
    }
}
