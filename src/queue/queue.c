/* queue: see the header. */
#include "queue.h"

#include "base_mem.h"
#include "queue_reason_priv.h"

enum { OUT_MAX_DEFAULT = 20000, DISPATCH_A_PASS = 256 };

static void entry_due(struct wheel_timer *timer);

void queue_init(struct queue *q, const struct queue_options *options)
{
    *q = (struct queue){
        .conf = options->conf,
        .io = options->io,
        .wheel = options->wheel,
        .dispatch = options->dispatch,
        .context = options->context,
        .out_max = options->out_max != 0 ? options->out_max : OUT_MAX_DEFAULT,
    };
    rand_seed(&q->rand, options->seed);
    pool_init(&q->entries, "queue entries", sizeof(struct queue_entry), 0);
    list_init(&q->ready);
    hash_table_init(&q->reasons);
}

void queue_set_spool(struct queue *q, struct spool *spool)
{
    q->spool = spool;
}

void queue_set_conf(struct queue *q, const struct conf *conf)
{
    q->conf = conf;
}

static void entry_free(struct queue_entry *e)
{
    struct queue *q = e->queue;

    wheel_cancel(q->wheel, &e->timer);
    list_remove(&e->ready);
    queue_reason_put(&q->reasons, e->reason);
    q->messages--;
    pool_put(&q->entries, e);
}

static bool forget_entry(struct spool_message *m, void *context)
{
    (void)context; /* the entry knows its queue */
    if (m->owner != NULL)
        entry_free(m->owner);
    m->owner = NULL;
    return true;
}

void queue_finish(struct queue *q)
{
    if (q->spool != NULL)
        spool_each(q->spool, forget_entry, NULL);
    hash_table_finish(&q->reasons);
    pool_finish(&q->entries);
}

uint32_t queue_now_s(const struct queue *q)
{
    return (uint32_t)(io_unix_ms(q->io) / 1000);
}

uint32_t queue_entry_due_s(const struct queue_entry *e)
{
    const struct spool_message *m = e->message;
    uint32_t due_s = UINT32_MAX;

    if (e->state != QUEUE_WAITING)
        return 0;
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        const struct spool_recipient *r = &m->recipients[i];
        if (r->state == SPOOL_RECIPIENT_WAITING && r->due_s < due_s)
            due_s = r->due_s;
    }
    return due_s;
}

/* The wall clock may jump; what was planned on it is re-read at least this often. */
enum { RECHECK_MS = 3600 * 1000 };

/* Puts an entry with work left in line, or lets it wait for the earliest of its recipients. */
static void entry_schedule(struct queue_entry *e)
{
    struct queue *q = e->queue;
    uint64_t now_ms = io_unix_ms(q->io);
    uint64_t wait_ms;
    uint32_t due_s;

    e->state = QUEUE_WAITING;
    due_s = queue_entry_due_s(e);
    ASSERT(due_s != UINT32_MAX);
    if ((uint64_t)due_s * 1000 <= now_ms) {
        e->state = QUEUE_READY;
        list_push_back(&q->ready, &e->ready);
        return;
    }
    wait_ms = (uint64_t)due_s * 1000 - now_ms;
    wheel_set(q->wheel, &e->timer,
              io_now_ms(q->io) + (wait_ms < RECHECK_MS ? wait_ms : RECHECK_MS));
}

static void entry_due(struct wheel_timer *timer)
{
    entry_schedule(container_of(timer, struct queue_entry, timer));
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
    entry_schedule(e);
    return e;
}

bool queue_has_work(const struct queue *q)
{
    return !q->stopped && q->out < q->out_max && !list_empty(&q->ready);
}

void queue_step(struct queue *q)
{
    for (int i = 0; i < DISPATCH_A_PASS && queue_has_work(q); i++) {
        struct queue_entry *e = container_of(list_pop_front(&q->ready), struct queue_entry, ready);

        e->state = QUEUE_OUT;
        e->tasks_out = 1;
        q->out++;
        q->dispatch(q->context, e);
    }
}

void queue_stop(struct queue *q)
{
    q->stopped = true;
}

/* Its last recipient is about to be done: the spool frees it, or keeps it for those who read it. */
static void forget_message(struct queue_entry *e)
{
    e->message->owner = NULL;
    e->message = NULL;
}

/* The operator's wish, for every recipient that still waits. */
static void entry_delete_recipients(struct queue_entry *e)
{
    struct spool_message *m = e->message;
    struct spool_outcome *gone = mem_calloc(m->recipients_left, sizeof(*gone));
    uint32_t count = 0;

    for (uint32_t i = 0; i < m->recipient_count; i++) {
        if (m->recipients[i].state == SPOOL_RECIPIENT_WAITING)
            gone[count++] =
                (struct spool_outcome){.recipient = i,
                                       .state = SPOOL_RECIPIENT_DELETED,
                                       .text = SLICE_LITERAL("deleted by the operator")};
    }
    ASSERT(count == m->recipients_left);
    forget_message(e);
    spool_outcomes(e->queue->spool, m, gone, count);
    mem_free(gone);
}

static void set_reason(struct queue_entry *e, struct slice text)
{
    struct queue_reason *reason = queue_reason_get(&e->queue->reasons, text);

    queue_reason_put(&e->queue->reasons, e->reason);
    e->reason = reason;
}

struct slice queue_entry_reason(const struct queue_entry *e)
{
    return e->reason != NULL ? slice_of(e->reason->text, e->reason->len) : SLICE_NULL;
}

static void record_outcomes(struct queue_entry *e, const struct spool_outcome *outcomes,
                            uint32_t count)
{
    struct spool_message *m = e->message;
    uint32_t ended = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (outcomes[i].state != SPOOL_RECIPIENT_WAITING)
            ended++;
        else
            set_reason(e, outcomes[i].text);
    }
    ASSERT(ended <= m->recipients_left);
    if (ended == m->recipients_left)
        forget_message(e);
    spool_outcomes(e->queue->spool, m, outcomes, count);
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
    if (e->message != NULL && e->deleted)
        entry_delete_recipients(e);
    if (e->message == NULL)
        entry_free(e);
    else
        entry_schedule(e);
}

bool queue_expired(const struct queue *q, const struct spool_message *m)
{
    return queue_now_s(q) >= m->arrived_s + q->conf->retry.expire / 1000;
}

uint32_t queue_next_due_s(struct queue *q, const struct spool_message *m, uint32_t attempts)
{
    const struct conf_durations *intervals = &q->conf->retry.intervals;
    size_t index = attempts > intervals->count ? intervals->count : attempts;
    uint64_t interval_ms = intervals->items[index > 0 ? index - 1 : 0];
    uint64_t jitter_ms = interval_ms * q->conf->retry.jitter / 100;
    uint64_t due_s, expire_s;

    interval_ms += jitter_ms > 0 ? rand_below(&q->rand, 2 * jitter_ms + 1) : 0;
    interval_ms -= jitter_ms;
    due_s = (io_unix_ms(q->io) + interval_ms + 999) / 1000;
    expire_s = m->arrived_s + q->conf->retry.expire / 1000;
    if (due_s > expire_s && expire_s > queue_now_s(q))
        due_s = expire_s; /* one last attempt, then it is given up */
    return (uint32_t)due_s;
}

bool queue_retry(struct queue *q, uint64_t id)
{
    struct spool_message *m = spool_find(q->spool, id);
    struct queue_entry *e;

    if (m == NULL || m->owner == NULL)
        return false;
    e = m->owner;
    if (e->state != QUEUE_WAITING)
        return true;
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        if (m->recipients[i].state == SPOOL_RECIPIENT_WAITING)
            m->recipients[i].due_s = 0;
    }
    e->asked = true;
    wheel_cancel(q->wheel, &e->timer);
    entry_schedule(e);
    return true;
}

bool queue_delete(struct queue *q, uint64_t id)
{
    struct spool_message *m = spool_find(q->spool, id);
    struct queue_entry *e;

    if (m == NULL || m->owner == NULL)
        return false;
    e = m->owner;
    if (e->state == QUEUE_OUT) {
        e->deleted = true; /* what is being delivered now may still be; the rest goes */
        return true;
    }
    entry_delete_recipients(e);
    entry_free(e);
    return true;
}
