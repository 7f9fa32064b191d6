/*
 * delivery_notice: tells senders what became of their message (RFC 5321 6.1, RFC 3461 6), and the
 * postmaster what he wants to know. A notification is a message of our own with the null sender; only when it
 * is stable is what it is about recorded, so that a crash between the two repeats the notification and never
 * loses it (P4).
 *
 * The recipients of a message that end in one round of deliveries are told of together: a task that is home
 * waits for the message's other tasks, though not for long. Then:
 *
 *     task, task... -> round -> notice: letter after letter -> delivery_outcome_record() of each task
 */
#include "base_mem.h"
#include "delivery_notice_priv.h"

enum {
    NOTICES_MAX = 64, /* being made at a time: each holds headers, and what is told of recipients */
    WEIGHT_MAX = 4000,    /* of these so many, or one notice */
    ROUND_MS = 20 * 1000, /* nobody waits longer for other tasks */
};

/* Owned by itself, from its first task until it becomes a notice. */
struct round {
    struct hash_node node;
    struct list open;
    struct list tasks;
    struct wheel_timer timer;
    struct delivery *d;
    struct queue_entry *entry; /* cannot go while one of its tasks is here */
    uint64_t id;
    uint32_t held; /* tasks */
};

static void start_waiting(struct delivery *d);

/* ---- rounds --------------------------------------------------------------------------------- */

static bool is_of(const struct hash_node *node, const void *key)
{
    return container_of(node, struct round, node)->id == *(const uint64_t *)key;
}

static struct round *round_find(struct delivery *d, uint64_t id)
{
    struct hash_node *node = hash_table_find(&d->rounds, hash_u64(id), is_of, &id);

    return node != NULL ? container_of(node, struct round, node) : NULL;
}

static void round_free(struct round *r)
{
    wheel_cancel(r->d->o.wheel, &r->timer);
    hash_table_remove(&r->d->rounds, &r->node);
    list_remove(&r->open);
    mem_free(r);
}

static void round_end(struct round *r)
{
    struct delivery *d = r->d;
    struct notice *n = delivery_notice_create(d, &r->tasks);

    round_free(r);
    list_push_back(&d->notices, &n->open);
    list_push_back(&d->notices_waiting, &n->node);
    start_waiting(d);
}

static void round_late(struct wheel_timer *timer)
{
    round_end(container_of(timer, struct round, timer));
}

static struct round *round_begin(struct delivery *d, const struct delivery_task *t)
{
    struct round *r = mem_zalloc(sizeof(*r));

    r->d = d;
    r->id = t->id;
    r->entry = t->entry;
    list_init(&r->tasks);
    list_init(&r->open);
    list_push_back(&d->rounds_open, &r->open);
    hash_table_insert(&d->rounds, &r->node, hash_u64(r->id));
    wheel_timer_init(&r->timer, round_late);
    wheel_set(d->o.wheel, &r->timer, io_now_ms(d->o.io) + ROUND_MS);
    return r;
}

void delivery_notice(struct delivery *d, struct delivery_task *t)
{
    struct round *r = round_find(d, t->id);
    uint64_t id = t->id;

    if (r == NULL)
        r = round_begin(d, t);
    list_push_back(&r->tasks, &t->node);
    r->held++;
    delivery_notice_check(d, id);
}

void delivery_notice_check(struct delivery *d, uint64_t id)
{
    struct round *r = d->rounds.count > 0 ? round_find(d, id) : NULL;

    if (r != NULL && (d->stopping || r->entry->tasks_out == r->held))
        round_end(r);
}

/* ---- notices -------------------------------------------------------------------------------- */

/* The last letter is stable, or could not be: told says of what. */
void delivery_notice_end(struct notice *n, unsigned told)
{
    struct delivery *d = n->d;
    struct list tasks;

    list_init(&tasks);
    list_splice_back(&tasks, &n->tasks);
    d->notices_running--;
    d->notices_weight -= n->weight;
    delivery_notice_destroy(n);
    for (struct list *node; (node = list_pop_front(&tasks)) != NULL;)
        delivery_outcome_record(d, container_of(node, struct delivery_task, node), told);
    start_waiting(d);
}

/* One that fails at once, because the spool takes nothing, ends within its start: a loop, so that a
 * thousand of them are not as many calls deep. */
static void start_waiting(struct delivery *d)
{
    if (d->notices_starting)
        return;
    d->notices_starting = true;
    while (d->notices_running < NOTICES_MAX && !list_empty(&d->notices_waiting)) {
        struct notice *n = container_of(d->notices_waiting.next, struct notice, node);
        if (d->notices_running > 0 && d->notices_weight + n->weight > WEIGHT_MAX)
            break;
        list_remove(&n->node);
        d->notices_running++;
        d->notices_weight += n->weight;
        delivery_notice_start(n);
    }
    d->notices_starting = false;
}

/* ---- the delivery's ------------------------------------------------------------------------- */

void delivery_notice_init(struct delivery *d)
{
    hash_table_init(&d->rounds);
    list_init(&d->rounds_open);
    list_init(&d->notices);
    list_init(&d->notices_waiting);
}

void delivery_notice_stop(struct delivery *d)
{
    while (!list_empty(&d->rounds_open))
        round_end(container_of(d->rounds_open.next, struct round, open));
}

bool delivery_notice_idle(const struct delivery *d)
{
    return list_empty(&d->rounds_open) && list_empty(&d->notices);
}

void delivery_notice_finish(struct delivery *d)
{
    hash_table_finish(&d->rounds);
}

static void free_tasks(struct list *tasks)
{
    for (struct list *node; (node = list_pop_front(tasks)) != NULL;)
        delivery_task_free(container_of(node, struct delivery_task, node));
}

void delivery_notice_discard(struct delivery *d)
{
    while (!list_empty(&d->rounds_open)) {
        struct round *r = container_of(d->rounds_open.next, struct round, open);
        free_tasks(&r->tasks);
        round_free(r);
    }
    while (!list_empty(&d->notices)) {
        struct notice *n = container_of(d->notices.next, struct notice, open);
        free_tasks(&n->tasks);
        delivery_notice_abandon(n);
    }
    d->notices_running = 0;
}
