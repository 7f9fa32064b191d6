/* queue: see the header. Here is an entry's life. */
#include "queue.h"

#include <string.h>

#include "base_mem.h"
#include "queue_priv.h"

enum {
    OUT_MAX_DEFAULT = 20000,
    DISPATCH_A_PASS = 256,
    DRAIN_LINE = 512, /* of dissolved lots, so many are in line at a time */
    FRESH_S = 600,    /* what is older has waited */
    SOON_S = 60,
};

static void entry_due(struct wheel_timer *timer);

void queue_init(struct queue *q, const struct queue_options *options)
{
    *q = (struct queue){
        .conf = options->conf,
        .io = options->io,
        .wheel = options->wheel,
        .dispatch = options->dispatch,
        .waiting = options->waiting,
        .context = options->context,
        .out_max = options->out_max != 0 ? options->out_max : OUT_MAX_DEFAULT,
        .interval_max_s = queue_interval_max_s(options->conf),
    };
    rand_seed(&q->rand, options->seed);
    pool_init_compact(&q->entries, "queue entries", sizeof(struct queue_entry), 0);
    q->ready = queue_ready_create();
    hash_table_init(&q->lots);
    list_init(&q->draining);
    hash_table_init(&q->reasons);
    queue_time_init(q);
    queue_holds_start(q);
}

void queue_set_spool(struct queue *q, struct spool *spool)
{
    q->spool = spool;
}

void queue_set_conf(struct queue *q, const struct conf *conf)
{
    bool same = conf->generation == q->conf->generation;

    q->conf = conf;
    q->interval_max_s = queue_interval_max_s(conf);
    if (!same)
        queue_lots_dissolve_sites(q);
}

/* ---- in and out ---------------------------------------------------------------------------- */

void queue_entry_lift(struct queue_entry *e)
{
    switch ((enum queue_state)e->state) {
    case QUEUE_WAITING: break;
    case QUEUE_READY: queue_ready_remove(e); break;
    case QUEUE_PARKED: queue_lot_leave(e); break;
    case QUEUE_OUT: UNREACHABLE();
    }
    wheel_cancel(e->queue->wheel, &e->timer);
    e->state = QUEUE_WAITING;
    e->called = e->overdue = false;
}

void queue_entry_free(struct queue_entry *e)
{
    struct queue *q = e->queue;

    ASSERT(e->lot == NULL && !list_linked(&e->ready));
    wheel_cancel(q->wheel, &e->timer);
    queue_reason_put(&q->reasons, e->reason);
    q->messages--;
    pool_put(&q->entries, e);
}

static bool forget_entry(struct spool_message *m, void *context)
{
    struct queue_entry *e = m->owner;

    (void)context; /* the entry knows its queue */
    if (e != NULL) {
        if (e->state == QUEUE_OUT)
            queue_lot_forget(e);
        else
            queue_entry_lift(e);
        queue_entry_free(e);
    }
    m->owner = NULL;
    return true;
}

void queue_finish(struct queue *q)
{
    if (q->spool != NULL)
        spool_each(q->spool, forget_entry, NULL);
    queue_lots_finish(q);
    queue_ready_destroy(q->ready);
    wheel_cancel(q->wheel, &q->holds_timer);
    queue_holds_finish(&q->holds);
    hash_table_finish(&q->reasons);
    pool_finish(&q->entries);
}

/* ---- until when ---------------------------------------------------------------------------- */

static bool is_held(const struct spool_recipient *r)
{
    return (r->flags & SPOOL_RECIPIENT_HELD) != 0;
}

bool queue_is_due(const struct queue *q, const struct spool_message *m, uint32_t recipient)
{
    const struct spool_recipient *r = &m->recipients[recipient];

    return r->state == SPOOL_RECIPIENT_WAITING && r->due_s <= queue_now_s(q);
}

bool queue_is_fresh(const struct queue_entry *e)
{
    const struct spool_message *m = e->message;

    return m->recipients[0].attempts == 0
           && queue_now_s(e->queue) < m->arrived_s + (uint64_t)FRESH_S;
}

/* The earliest of its recipients. A deliver-by time is when those that are not held are given up. */
static uint32_t earliest_s(const struct queue_entry *e)
{
    const struct spool_message *m = e->message;
    uint32_t due_s = SPOOL_DUE_NEVER, by_s = SPOOL_DUE_NEVER;

    if (m->terms.deliver_by_s != 0)
        by_s = queue_wall_s(e->queue, m, m->terms.deliver_by_s);
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        const struct spool_recipient *r = &m->recipients[i];
        uint32_t at_s = r->due_s;
        if (r->state != SPOOL_RECIPIENT_WAITING)
            continue;
        if (!is_held(r) && by_s < at_s)
            at_s = by_s;
        due_s = at_s < due_s ? at_s : due_s;
    }
    return due_s;
}

uint32_t queue_entry_due_s(const struct queue_entry *e)
{
    switch ((enum queue_state)e->state) {
    case QUEUE_WAITING: return earliest_s(e);
    case QUEUE_READY:
    case QUEUE_OUT: return 0;
    case QUEUE_PARKED: return queue_lot_next_s(e->lot);
    }
    UNREACHABLE();
}

/* A hold that is over, and times that were written down when the clock was ahead. */
static void mend_times(struct queue_entry *e)
{
    bool over = false;
    struct spool_message *m = e->message;
    uint32_t now_s = queue_now_s(e->queue), latest_s = now_s + e->queue->interval_max_s;

    for (uint32_t i = 0; i < m->recipient_count; i++) {
        struct spool_recipient *r = &m->recipients[i];
        if (r->state != SPOOL_RECIPIENT_WAITING)
            continue;
        if (is_held(r) && r->due_s <= now_s) {
            r->flags &= (uint8_t)~SPOOL_RECIPIENT_HELD; /* the log says until when */
            over = true;
        } else if (!is_held(r) && r->due_s > latest_s) {
            r->due_s = latest_s;
        }
    }
    if (over && !e->bounce)
        queue_entry_reason_set(e, SLICE_NULL); /* the operator's: no sender is to read it */
}

void queue_entry_schedule(struct queue_entry *e, enum queue_line line)
{
    struct queue *q = e->queue;
    uint32_t due_s;

    ASSERT(!list_linked(&e->ready) && e->lot == NULL);
    e->state = QUEUE_WAITING;
    mend_times(e);
    due_s = earliest_s(e);
    if (due_s <= queue_now_s(q)) {
        wheel_cancel(q->wheel, &e->timer);
        queue_ready_push(e, line);
    } else if (due_s == SPOOL_DUE_NEVER) {
        wheel_cancel(q->wheel, &e->timer);
    } else {
        wheel_set(q->wheel, &e->timer, queue_timer_ms(q, due_s));
    }
}

static void entry_due(struct wheel_timer *timer)
{
    struct queue_entry *e = container_of(timer, struct queue_entry, timer);

    switch ((enum queue_state)e->state) {
    case QUEUE_WAITING: queue_entry_schedule(e, QUEUE_RETRY); return;
    case QUEUE_PARKED: queue_lot_due(e); return;
    case QUEUE_READY:
    case QUEUE_OUT: UNREACHABLE();
    }
}

struct queue_entry *queue_accept(struct queue *q, struct spool_message *m)
{
    struct queue_entry *e = pool_get(&q->entries);

    ASSERT(m->owner == NULL && m->recipients_left > 0);
    wheel_timer_init(&e->timer, entry_due);
    list_init(&e->ready);
    e->queue = q;
    e->message = m;
    m->owner = e;
    q->messages++;
    queue_entry_schedule(e, queue_is_fresh(e) ? QUEUE_FRESH : QUEUE_RETRY);
    return e;
}

/* ---- dispatch ------------------------------------------------------------------------------ */

static bool may_drain(const struct queue *q)
{
    return !list_empty(&q->draining) && queue_ready_count(q, QUEUE_DRAIN) < DRAIN_LINE;
}

bool queue_has_work(const struct queue *q)
{
    return !q->stopped && (queue_ready_any(q) || may_drain(q));
}

void queue_step(struct queue *q)
{
    queue_time_look(q);
    if (q->stopped)
        return;
    if (may_drain(q))
        queue_lots_drain(q, DRAIN_LINE - queue_ready_count(q, QUEUE_DRAIN));
    for (int i = 0; i < DISPATCH_A_PASS; i++) {
        struct queue_entry *e = queue_ready_pop(q);

        if (e == NULL)
            return;
        e->state = QUEUE_OUT;
        e->tasks_out = 1;
        q->out++;
        mend_times(e);
        q->dispatch(q->context, e);
    }
}

void queue_stop(struct queue *q)
{
    q->stopped = true;
}

/* ---- what is out comes back ------------------------------------------------------------------ */

/* Its last recipient is about to be done: the spool frees it, or keeps it for those who read it. */
static void forget_message(struct queue_entry *e)
{
    e->message->owner = NULL;
    e->message = NULL;
}

static void set_flags(struct spool_message *m, const struct spool_outcome *outcomes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct spool_recipient *r = &m->recipients[outcomes[i].recipient];
        r->flags &= (uint8_t)~outcomes[i].clear_flags;
        r->flags |= outcomes[i].set_flags;
    }
}

void queue_entry_record(struct queue_entry *e, const struct spool_outcome *like)
{
    struct spool_message *m = e->message;
    struct spool_outcome one,
        *all = m->recipients_left == 1 ? &one : mem_calloc(m->recipients_left, sizeof(*all));
    uint32_t count = 0;

    for (uint32_t i = 0; i < m->recipient_count; i++) {
        if (m->recipients[i].state != SPOOL_RECIPIENT_WAITING)
            continue;
        all[count] = *like;
        all[count++].recipient = i;
    }
    ASSERT(count == m->recipients_left);
    if (like->state != SPOOL_RECIPIENT_WAITING)
        forget_message(e);
    else
        set_flags(m, all, count);
    spool_outcomes(e->queue->spool, m, all, count);
    if (all != &one)
        mem_free(all);
}

void queue_entry_delete_recipients(struct queue_entry *e)
{
    queue_entry_record(e,
                       &(struct spool_outcome){.state = SPOOL_RECIPIENT_DELETED,
                                               .text = SLICE_LITERAL("deleted by the operator")});
}

void queue_entry_reason_set(struct queue_entry *e, struct slice text)
{
    struct queue_reason *reason = queue_reason_get(&e->queue->reasons, text);

    queue_reason_put(&e->queue->reasons, e->reason);
    e->reason = reason;
}

/* What the operator has said while it was out stands: held until then, or to be returned. */
static uint32_t due_of(const struct queue_entry *e, uint32_t recipient, uint32_t due_s)
{
    const struct spool_recipient *r = &e->message->recipients[recipient];
    uint32_t soon_s = queue_now_s(e->queue) + SOON_S;

    if (is_held(r))
        return r->due_s;
    return e->bounce && due_s > soon_s ? soon_s : due_s;
}

void queue_postpone(struct queue_entry *e, uint32_t recipient, uint32_t due_s)
{
    e->message->recipients[recipient].due_s = due_of(e, recipient, due_s);
}

static void record_outcomes(struct queue_entry *e, const struct spool_outcome *outcomes,
                            uint32_t count)
{
    struct spool_message *m = e->message;
    struct spool_outcome *copy = NULL;
    uint32_t ended = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (outcomes[i].state != SPOOL_RECIPIENT_WAITING)
            ended++;
        else if (!e->bounce)
            queue_entry_reason_set(e, outcomes[i].text);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t due_s = due_of(e, outcomes[i].recipient, outcomes[i].due_s);
        if (outcomes[i].state != SPOOL_RECIPIENT_WAITING || due_s == outcomes[i].due_s)
            continue;
        if (copy == NULL) {
            copy = mem_calloc(count, sizeof(*copy));
            memcpy(copy, outcomes, count * sizeof(*copy));
        }
        copy[i].due_s = due_s;
    }
    ASSERT(ended <= m->recipients_left);
    if (ended == m->recipients_left)
        forget_message(e);
    else
        set_flags(m, outcomes, count);
    spool_outcomes(e->queue->spool, m, copy != NULL ? copy : outcomes, count);
    mem_free(copy);
}

void queue_settled(struct queue_entry *e, const struct spool_outcome *outcomes, uint32_t count)
{
    struct queue *q = e->queue;

    ASSERT(e->state == QUEUE_OUT && e->tasks_out > 0);
    if (count > 0)
        record_outcomes(e, outcomes, count);
    e->tasks_out--;
    if (e->tasks_out > 0) /* the dispatch itself may be the last one out, after the message */
        return;
    q->out--;
    e->state = QUEUE_WAITING;
    if (e->message != NULL && e->deleted)
        queue_entry_delete_recipients(e);
    if (e->message == NULL) {
        queue_lot_forget(e);
        queue_entry_free(e);
    } else if (!queue_lot_enter(e)) {
        e->called = false;
        queue_entry_schedule(e, QUEUE_RETRY);
    }
}
