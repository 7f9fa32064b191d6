/* queue_lot: see the header. */
#include "queue_lot.h"

#include "base_mem.h"
#include "queue_priv.h"

enum {
    FRESH_TURNS = 4,          /* of five, while both have something */
    LOOK_MS = 10 * 60 * 1000, /* one entry tries, and the owner is told again */
    MIXED_MIN_S = 30,         /* for what waits for different things: half its age, within these
                           * and within the route's intervals */
    MIXED_MAX_S = 15 * 60,
};

/* First in, first out, the higher priority before. The levels are made when they are needed: mostly there
 * is one. */
struct lot_line {
    struct list plain; /* priority 0 */
    struct list *levels;
    uint32_t
        occupied; /* a bit a level other than plain's; one that is set may turn out to be wrong */
};

enum { LINE_FRESH, LINE_OLD, LOT_LINES };

struct queue_lot {
    struct hash_node by_key;
    struct queue *q;
    struct slice key; /* owned */
    struct queue_reason *reason;
    struct lot_line lines[LOT_LINES];
    uint32_t count;  /* entries in it */
    uint32_t coming; /* entries that are OUT and mean to come */
    uint32_t next_s;
    bool by_rule;
    bool dissolved; /* not in the table any more */
    uint8_t turn;
    struct conf_retry retry;        /* its times only */
    uint32_t shortest_s, longest_s; /* of its intervals */
    struct list draining;
    struct wheel_timer look;
};

static const unsigned plain_level = 9;

static void lot_look(struct wheel_timer *timer);

/* ---- the table ------------------------------------------------------------------------------- */

static bool has_key(const struct hash_node *node, const void *key)
{
    const struct queue_lot *lot = container_of((void *)(uintptr_t)node, struct queue_lot, by_key);

    return slice_equal(lot->key, *(const struct slice *)key);
}

static struct queue_lot *lot_find(const struct queue *q, struct slice key)
{
    struct hash_node *node = hash_table_find(&q->lots, hash_bytes(key), has_key, &key);

    return node != NULL ? container_of(node, struct queue_lot, by_key) : NULL;
}

static struct queue_lot *lot_create(struct queue *q, struct slice key)
{
    struct queue_lot *lot = mem_zalloc(sizeof(*lot));

    lot->q = q;
    lot->key = slice_of(mem_dup(key.data, key.len), key.len);
    for (int i = 0; i < LOT_LINES; i++)
        list_init(&lot->lines[i].plain);
    list_init(&lot->draining);
    wheel_timer_init(&lot->look, lot_look);
    hash_table_insert(&q->lots, &lot->by_key, hash_bytes(key));
    return lot;
}

static void lot_free_if_empty(struct queue_lot *lot)
{
    struct queue *q = lot->q;

    if (lot->count > 0 || lot->coming > 0)
        return;
    wheel_cancel(q->wheel, &lot->look);
    if (!lot->dissolved)
        hash_table_remove(&q->lots, &lot->by_key);
    list_remove(&lot->draining);
    queue_reason_put(&q->reasons, lot->reason);
    for (int i = 0; i < LOT_LINES; i++)
        mem_free(lot->lines[i].levels);
    mem_free((void *)(uintptr_t)lot->key.data);
    mem_free(lot);
}

struct slice queue_lot_reason(const struct queue_lot *lot)
{
    return lot->reason != NULL ? slice_of(lot->reason->text, lot->reason->len) : SLICE_NULL;
}

struct slice queue_lot_key(const struct queue_lot *lot)
{
    return lot->key;
}

bool queue_lot_is_rule(const struct queue_lot *lot)
{
    return lot->by_rule;
}

uint32_t queue_lot_next_s(const struct queue_lot *lot)
{
    return lot->next_s;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static struct list *line_level(struct lot_line *line, unsigned level)
{
    if (level == plain_level)
        return &line->plain;
    if (line->levels == NULL) {
        line->levels = mem_calloc(QUEUE_LEVELS, sizeof(*line->levels));
        for (int i = 0; i < QUEUE_LEVELS; i++)
            list_init(&line->levels[i]);
    }
    line->occupied |= 1u << level;
    return &line->levels[level];
}

static bool line_empty(struct lot_line *line)
{
    while (line->occupied != 0) {
        unsigned level = (unsigned)__builtin_ctz(line->occupied);
        if (!list_empty(&line->levels[level]))
            return false;
        line->occupied &= ~(1u << level);
    }
    return list_empty(&line->plain);
}

static struct list *line_first(struct lot_line *line)
{
    if (line_empty(line))
        return NULL;
    if (line->occupied != 0) {
        unsigned level = (unsigned)__builtin_ctz(line->occupied);
        if (level < plain_level || list_empty(&line->plain))
            return line->levels[level].next;
    }
    return line->plain.next;
}

static struct queue_entry *lot_first(struct queue_lot *lot)
{
    struct list *fresh = line_first(&lot->lines[LINE_FRESH]);
    struct list *old = line_first(&lot->lines[LINE_OLD]);
    struct list *node;

    if (fresh != NULL && old != NULL)
        node = lot->turn++ % (FRESH_TURNS + 1) < FRESH_TURNS ? fresh : old;
    else
        node = fresh != NULL ? fresh : old;
    return node != NULL ? container_of(node, struct queue_entry, ready) : NULL;
}

/* ---- in -------------------------------------------------------------------------------------- */

static void lot_learn(struct queue_lot *lot, const struct queue_parking *parking)
{
    struct queue_reason *reason = queue_reason_get(&lot->q->reasons, parking->reason);

    queue_reason_put(&lot->q->reasons, lot->reason);
    lot->reason = reason;
    lot->next_s = parking->next_s;
    lot->by_rule = parking->retry == NULL;
    lot->shortest_s = MIXED_MIN_S;
    lot->longest_s = MIXED_MAX_S;
    if (parking->retry != NULL && parking->retry->intervals.count > 0) {
        const struct conf_durations *intervals = &parking->retry->intervals;
        lot->shortest_s = (uint32_t)((intervals->items[0] + 999) / 1000);
        lot->longest_s = (uint32_t)((intervals->items[intervals->count - 1] + 999) / 1000);
    }
    if (parking->retry != NULL)
        lot->retry = (struct conf_retry){.expire = parking->retry->expire,
                                         .expire_bounces = parking->retry->expire_bounces,
                                         .warn_after = parking->retry->warn_after};
    if (lot->by_rule)
        lot->next_s = parking->next_s != 0 ? parking->next_s : SPOOL_DUE_NEVER;
}

void queue_park(struct queue_entry *e, uint32_t recipient, const struct queue_parking *parking)
{
    struct queue_lot *lot = lot_find(e->queue, parking->key);

    ASSERT(e->state == QUEUE_OUT);
    if (lot == NULL)
        lot = lot_create(e->queue, parking->key);
    lot_learn(lot, parking);
    if (e->lot == NULL) {
        e->lot = lot;
        lot->coming++;
    } else if (e->lot != lot) {
        e->mixed = true;
        lot_free_if_empty(lot);
    }
    e->message->recipients[recipient].flags |= QUEUE_PARKED_FLAG;
    e->called = parking->front;
}

/* Answers whether all that wait are to be parked; the marks are gone then. */
static bool take_marks(struct queue_entry *e, bool *out_any)
{
    struct spool_message *m = e->message;
    bool all = true;

    *out_any = false;
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        struct spool_recipient *r = &m->recipients[i];
        if (r->state != SPOOL_RECIPIENT_WAITING)
            continue;
        all &= (r->flags & QUEUE_PARKED_FLAG) != 0 && (r->flags & SPOOL_RECIPIENT_HELD) == 0;
        *out_any |= (r->flags & QUEUE_PARKED_FLAG) != 0;
    }
    return all;
}

/* Those that were to be parked come again after a while, and the marks go. */
static void drop_marks(struct queue_entry *e, bool again)
{
    struct spool_message *m = e->message;
    uint32_t now_s = queue_now_s(e->queue), age_s = 0, wait_s;

    wait_s = e->lot->shortest_s < MIXED_MIN_S ? e->lot->shortest_s : MIXED_MIN_S;
    if (now_s > m->arrived_s)
        age_s = now_s - m->arrived_s;
    wait_s = age_s / 2 > wait_s ? age_s / 2 : wait_s;
    wait_s = wait_s < MIXED_MAX_S ? wait_s : MIXED_MAX_S;
    wait_s = wait_s < e->lot->longest_s ? wait_s : e->lot->longest_s;
    wait_s += (uint32_t)rand_below(&e->queue->rand, wait_s / 4 + 1);
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        struct spool_recipient *r = &m->recipients[i];
        if (again && (r->flags & QUEUE_PARKED_FLAG) != 0 && r->state == SPOOL_RECIPIENT_WAITING)
            queue_postpone(e, i, e->bounce || e->asked ? now_s : now_s + wait_s);
        r->flags &= (uint8_t)~QUEUE_PARKED_FLAG;
    }
}

static bool is_warned(const struct spool_message *m)
{
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        const struct spool_recipient *r = &m->recipients[i];
        if (r->state == SPOOL_RECIPIENT_WAITING && (r->flags & SPOOL_RECIPIENT_WARNED) == 0)
            return false;
    }
    return true;
}

/* What time brings to a parked entry next, in patient seconds. */
static uint32_t overdue_s(const struct queue_entry *e)
{
    const struct queue_lot *lot = e->lot;
    const struct spool_message *m = e->message;
    uint32_t at_s;

    if (lot->by_rule)
        return SPOOL_DUE_NEVER;
    at_s = queue_give_up_s(m, &lot->retry);
    if (lot->retry.warn_after != 0 && !e->told && !is_warned(m)
        && m->arrived_s + lot->retry.warn_after / 1000 < at_s)
        at_s = (uint32_t)(m->arrived_s + lot->retry.warn_after / 1000);
    return at_s;
}

static void set_timer(struct queue_entry *e)
{
    struct queue *q = e->queue;
    uint32_t at_s = overdue_s(e);

    if (at_s == SPOOL_DUE_NEVER)
        wheel_cancel(q->wheel, &e->timer);
    else
        wheel_set(q->wheel, &e->timer, queue_timer_ms(q, queue_wall_s(q, e->message, at_s)));
}

static void lot_look_later(struct queue_lot *lot)
{
    if (!lot->by_rule)
        wheel_set(lot->q->wheel, &lot->look,
                  io_now_ms(lot->q->io) + LOOK_MS + rand_below(&lot->q->rand, LOOK_MS / 4));
}

static void enter(struct queue_entry *e, struct queue_lot *lot)
{
    struct lot_line *line = &lot->lines[queue_is_fresh(e) ? LINE_FRESH : LINE_OLD];
    struct list *level = line_level(line, queue_level(e->message));
    struct queue *q = e->queue;

    if (e->called)
        list_push_front(level, &e->ready);
    else
        list_push_back(level, &e->ready);
    e->called = false;
    e->state = QUEUE_PARKED;
    q->parked++;
    set_timer(e);
    if (lot->count++ > 0)
        return;
    lot_look_later(lot);
    if (!lot->by_rule && !lot->dissolved && q->waiting != NULL)
        q->waiting(q->context, lot->key);
}

void queue_lot_forget(struct queue_entry *e)
{
    struct queue_lot *lot = e->lot;

    if (lot == NULL)
        return;
    ASSERT(lot->coming > 0);
    lot->coming--;
    e->lot = NULL;
    lot_free_if_empty(lot);
}

bool queue_lot_enter(struct queue_entry *e)
{
    struct queue_lot *lot = e->lot;
    bool any, all;

    if (lot == NULL)
        return false;
    all = take_marks(e, &any) && !e->mixed && !e->bounce && !lot->dissolved && !e->queue->stopped;
    /* When the lot was dissolved meanwhile it is tried anew, at once. */
    drop_marks(e, !all && any && !lot->dissolved && !e->queue->stopped);
    e->mixed = false;
    if (!all) {
        queue_lot_forget(e);
        e->called = false;
        return false;
    }
    lot->coming--;
    enter(e, lot);
    return true;
}

/* ---- out ------------------------------------------------------------------------------------- */

void queue_lot_leave(struct queue_entry *e)
{
    struct queue_lot *lot = e->lot;

    ASSERT(e->state == QUEUE_PARKED && lot->count > 0);
    list_remove(&e->ready);
    e->lot = NULL;
    e->state = QUEUE_WAITING;
    e->queue->parked--;
    if (--lot->count == 0)
        list_remove(&lot->draining); /* it may stay: others mean to come */
    lot_free_if_empty(lot);
}

/* Why it has waited is still all that is known of it while it is tried. (What a rule says is the operator's own
 * business: a reason may be told to the sender.) */
static void keep_reason(struct queue_entry *e)
{
    struct queue_reason *reason = e->lot->reason;

    if (reason == NULL || e->lot->by_rule)
        return;
    reason->users++;
    queue_reason_put(&e->queue->reasons, e->reason);
    e->reason = reason;
}

static void make_ready(struct queue_entry *e, enum queue_line line)
{
    keep_reason(e);
    queue_lot_leave(e);
    wheel_cancel(e->queue->wheel, &e->timer);
    queue_ready_push(e, line);
}

void queue_lot_due(struct queue_entry *e)
{
    uint32_t now_s = queue_patient_s(e->queue, e->message);

    if (overdue_s(e) > now_s) { /* the time was far away, or the clock has leapt */
        set_timer(e);
        return;
    }
    e->told |= queue_give_up_s(e->message, &e->lot->retry) > now_s;
    e->overdue = true;
    make_ready(e, QUEUE_RETRY);
}

uint32_t queue_call(struct queue *q, struct slice key, uint32_t n, uint32_t *out_left)
{
    struct queue_lot *lot = lot_find(q, key);
    uint32_t called = 0, left = lot != NULL ? lot->count : 0;

    while (called < n && left > 0) {
        struct queue_entry *e = lot_first(lot);
        e->called = true;
        called++;
        left--;
        make_ready(e,
                   QUEUE_CALLED); /* the last one takes the lot with it, if nobody means to come */
    }
    *out_left = left;
    return called;
}

static void lot_look(struct wheel_timer *timer)
{
    struct queue_lot *lot = container_of(timer, struct queue_lot, look);
    struct queue *q = lot->q;

    if (lot->count == 0)
        return;
    lot_look_later(lot);
    if (q->waiting != NULL)
        q->waiting(q->context, lot->key);
    make_ready(lot_first(lot), QUEUE_RETRY);
}

/* ---- dissolved ------------------------------------------------------------------------------- */

static void dissolve(struct queue_lot *lot)
{
    struct queue *q = lot->q;

    hash_table_remove(&q->lots, &lot->by_key);
    lot->dissolved = true;
    wheel_cancel(q->wheel, &lot->look);
    if (lot->count > 0)
        list_push_back(&q->draining, &lot->draining);
}

void queue_lot_dissolve(struct queue *q, struct slice key)
{
    struct queue_lot *lot = lot_find(q, key);

    if (lot != NULL)
        dissolve(lot);
}

static bool dissolve_site(struct hash_node *node, void *context)
{
    struct queue_lot *lot = container_of(node, struct queue_lot, by_key);

    (void)context;
    if (!lot->by_rule)
        dissolve(lot);
    return true;
}

void queue_lots_dissolve_sites(struct queue *q)
{
    hash_table_each(&q->lots, dissolve_site, NULL);
}

/* One of each in turn: a large one is not to stand before the others. */
void queue_lots_drain(struct queue *q, uint32_t n)
{
    while (n-- > 0 && !list_empty(&q->draining)) {
        struct queue_lot *lot = container_of(q->draining.next, struct queue_lot, draining);

        list_remove(&lot->draining);
        if (lot->count > 1)
            list_push_back(&q->draining, &lot->draining);
        make_ready(lot_first(lot), QUEUE_DRAIN);
    }
}

void queue_lots_finish(struct queue *q)
{
    ASSERT(q->lots.count == 0 && list_empty(&q->draining));
    hash_table_finish(&q->lots);
}
