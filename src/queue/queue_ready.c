/*
 * queue_ready: the lines of what is ready for dispatch.
 *
 * Lines take turns by weight, so a backlog that is tried again does not stand before fresh mail, nor fresh
 * mail before the backlog for ever. Within a line the higher priority goes first. Within a priority there
 * is a bucket for each hash of a destination, and buckets take turns: a hundred thousand messages for one
 * domain are one of many. (Two domains may share a bucket; there are enough of them.)
 */
#include "base_mem.h"
#include "queue_priv.h"

enum { BUCKETS = 64, READS_RETRY_MAX = 64, READS_FRESH_MAX = 256 };

/* What a line gets while others have something too. */
static const uint8_t weights[QUEUE_LINES] = {
    [QUEUE_FRESH] = 8, [QUEUE_CALLED] = 8, [QUEUE_RETRY] = 4, [QUEUE_DRAIN] = 2};

struct level {
    uint64_t occupied; /* a bit a bucket; one that is set may turn out to be wrong */
    unsigned next;
    struct list buckets[BUCKETS];
};

struct line {
    uint32_t count, turns;
    uint32_t occupied; /* a bit a level; likewise */
    struct level levels[QUEUE_LEVELS];
};

struct queue_ready {
    struct line lines[QUEUE_LINES];
};

_Static_assert(BUCKETS == 64, "a bit each");

struct queue_ready *queue_ready_create(void)
{
    struct queue_ready *r = mem_zalloc(sizeof(*r));

    for (int i = 0; i < QUEUE_LINES; i++) {
        for (int k = 0; k < QUEUE_LEVELS; k++) {
            for (int b = 0; b < BUCKETS; b++)
                list_init(&r->lines[i].levels[k].buckets[b]);
        }
    }
    return r;
}

void queue_ready_destroy(struct queue_ready *r)
{
    mem_free(r);
}

void queue_ready_push(struct queue_entry *e, enum queue_line line)
{
    struct line *l = &e->queue->ready->lines[line];
    unsigned level = queue_level(e->message);
    unsigned bucket = (unsigned)(hash_u64(e->message->domain_hash) % BUCKETS);

    ASSERT(!list_linked(&e->ready));
    e->state = QUEUE_READY;
    e->line = (uint8_t)line;
    list_push_back(&l->levels[level].buckets[bucket], &e->ready);
    l->levels[level].occupied |= (uint64_t)1 << bucket;
    l->occupied |= 1u << level;
    l->count++;
}

void queue_ready_remove(struct queue_entry *e)
{
    struct line *l = &e->queue->ready->lines[e->line];

    ASSERT(e->state == QUEUE_READY && l->count > 0);
    list_remove(&e->ready);
    l->count--;
}

uint32_t queue_ready_count(const struct queue *q, enum queue_line line)
{
    return q->ready->lines[line].count;
}

/* From the next occupied bucket on. */
static struct list *level_pop(struct level *level)
{
    while (level->occupied != 0) {
        uint64_t ahead = level->occupied >> level->next << level->next;
        unsigned bucket = (unsigned)__builtin_ctzll(ahead != 0 ? ahead : level->occupied);
        struct list *node = list_pop_front(&level->buckets[bucket]);

        if (list_empty(&level->buckets[bucket]))
            level->occupied &= ~((uint64_t)1 << bucket);
        level->next = (bucket + 1) % BUCKETS;
        if (node != NULL)
            return node;
    }
    return NULL;
}

static struct queue_entry *line_pop(struct line *l)
{
    while (l->occupied != 0) {
        unsigned k = (unsigned)__builtin_ctz(l->occupied);
        struct list *node = level_pop(&l->levels[k]);

        if (l->levels[k].occupied == 0)
            l->occupied &= ~(1u << k);
        if (node != NULL) {
            l->count--;
            return container_of(node, struct queue_entry, ready);
        }
    }
    UNREACHABLE();
}

/* Old mail leaves a part of what may be out, and of the reads, to the new. */
static bool may_have_turn(const struct queue *q, enum queue_line line)
{
    bool fresh = line == QUEUE_FRESH;
    uint32_t out_max = fresh || q->out_max < 4 ? q->out_max : q->out_max - q->out_max / 4;

    return q->ready->lines[line].count > 0 && q->out < out_max
           && q->reads_waiting < (fresh ? READS_FRESH_MAX : READS_RETRY_MAX);
}

bool queue_ready_any(const struct queue *q)
{
    for (int i = 0; i < QUEUE_LINES; i++) {
        if (may_have_turn(q, (enum queue_line)i))
            return true;
    }
    return false;
}

struct queue_entry *queue_ready_pop(struct queue *q)
{
    struct line *lines = q->ready->lines;

    if (!queue_ready_any(q))
        return NULL;
    for (;;) {
        for (int i = 0; i < QUEUE_LINES; i++) {
            if (lines[i].turns == 0 || !may_have_turn(q, (enum queue_line)i))
                continue;
            lines[i].turns--;
            return line_pop(&lines[i]);
        }
        for (int i = 0; i < QUEUE_LINES; i++)
            lines[i].turns = weights[i];
    }
}
