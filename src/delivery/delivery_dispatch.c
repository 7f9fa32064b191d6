/*
 * delivery_dispatch: reads the envelope of a message that is due, finds for each due recipient the way
 * it goes, and makes a task of those that go the same way.
 *
 * The envelope of a message that was just accepted is in memory and all this happens at once. Else it
 * is read from the log; a bounded number of such reads are under way.
 */
#include <errno.h>

#include "base_log.h"
#include "base_mem.h"
#include "delivery_priv.h"
#include "routing.h"

struct dispatch {
    struct delivery *d;
    struct queue_entry *entry;
    struct spool_ref ref;
    struct spool_reader reader;
    struct list open; /* in the list of all */
    struct list node; /* waiting for a read slot */
    bool reading;     /* has one */
};

/* Where one recipient goes. */
struct way {
    struct routing_way r;
    bool by_domain; /* it leads to MX hosts */
};

/* A task in the making. */
struct group {
    struct way way;
    uint32_t count;
    size_t text_len;
    struct delivery_task *task;
};

static void dispatch_step(struct dispatch *x);

static struct way find_way(const struct conf *conf, struct slice sender, struct slice recipient)
{
    struct way way = {.by_domain = false};

    routing_find(conf, sender, recipient, &way.r);
    for (size_t i = 0; i < way.r.to->count; i++)
        way.by_domain |= way.r.to->items[i].kind == CONF_TO_MX;
    return way;
}

static bool same_way(const struct way *a, const struct way *b)
{
    return a->r.to == b->r.to && a->r.route == b->r.route
           && (!a->by_domain || slice_equal_nocase(a->r.domain, b->r.domain));
}

static bool is_due(const struct spool_message *m, uint32_t i, uint32_t now_s)
{
    return m->recipients[i].state == SPOOL_RECIPIENT_WAITING && m->recipients[i].due_s <= now_s;
}

/* The last group that takes this recipient, or a new one. Neighbours mostly go the same way. */
static uint32_t find_group(struct group *groups, uint32_t *count, const struct way *way)
{
    for (uint32_t g = *count; g > 0; g--) {
        if (same_way(&groups[g - 1].way, way)
            && groups[g - 1].count < way->r.route->recipients_per_message)
            return g - 1;
    }
    groups[*count] = (struct group){.way = *way};
    return (*count)++;
}

static struct delivery_task *make_task(struct dispatch *x, const struct group *g,
                                       struct slice sender)
{
    const struct spool_message *m = x->entry->message;
    struct delivery_task *t = delivery_task_create(g->count, g->text_len + sender.len);

    delivery_terms_enter(x->d, t);
    t->origin = x->d->o.shard;
    t->asked = x->entry->asked;
    t->entry = x->entry;
    t->id = m->id;
    t->ref = spool_pin(x->d->o.spool, x->entry->message);
    t->size = m->body_len;
    t->flags = m->flags;
    if (m->flags & SPOOL_RET_FULL)
        t->ret = SMTP_RET_FULL;
    else if (m->flags & SPOOL_RET_HDRS)
        t->ret = SMTP_RET_HDRS;
    t->route = g->way.r.route;
    t->to = g->way.r.to->items;
    t->to_count = (uint32_t)g->way.r.to->count;
    t->domain = delivery_task_text(t, g->way.r.domain, true);
    t->sender = delivery_task_text(t, sender, false);
    t->recipient_count = 0; /* counted up as they are filled in */
    return t;
}

static void make_tasks(struct dispatch *x, struct slice sender, const struct slice *recipients,
                       struct list *out_tasks)
{
    const struct spool_message *m = x->entry->message;
    uint32_t now_s = queue_now_s(x->d->o.queue), group_count = 0, due = 0;
    struct group *groups;
    uint32_t *group_of;

    for (uint32_t i = 0; i < m->recipient_count; i++)
        due += is_due(m, i, now_s);
    if (due == 0)
        return;
    groups = mem_calloc(due, sizeof(*groups));
    group_of = mem_calloc(m->recipient_count, sizeof(*group_of));
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        struct way way;
        struct group *g;
        if (!is_due(m, i, now_s))
            continue;
        way = find_way(x->d->o.conf, sender, recipients[i]);
        group_of[i] = find_group(groups, &group_count, &way);
        g = &groups[group_of[i]];
        g->text_len += recipients[i].len + (g->count == 0 ? way.r.domain.len : 0);
        g->count++;
    }
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        struct group *g = &groups[group_of[i]];
        struct delivery_recipient *r;
        if (!is_due(m, i, now_s))
            continue;
        if (g->task == NULL)
            g->task = make_task(x, g, sender);
        r = &g->task->recipients[g->task->recipient_count++];
        r->index = i;
        r->address = delivery_task_text(g->task, recipients[i], false);
    }
    for (uint32_t g = 0; g < group_count; g++)
        list_push_back(out_tasks, &groups[g].task->node);
    mem_free(group_of);
    mem_free(groups);
}

/* The tasks have copies and pins of their own. They leave last of all, since a task may end at once,
 * and with the last of them the message. */
static void dispatch_end(struct dispatch *x, struct list *tasks)
{
    struct delivery *d = x->d;
    struct queue_entry *entry = x->entry;
    bool was_reading = x->reading;

    spool_reader_finish(&x->reader);
    spool_unpin(d->o.spool, entry->message, &x->ref);
    list_remove(&x->open);
    pool_put(&d->dispatches, x);
    for (struct list *node; (node = list_pop_front(tasks)) != NULL;) {
        queue_hold(entry);
        delivery_task_submit(d, container_of(node, struct delivery_task, node));
    }
    queue_settled(entry, NULL, 0);
    if (was_reading) {
        d->dispatches_reading--;
        delivery_dispatch_next(d);
    }
}

/* The record is damaged or cannot be read: nothing is lost by asking again later, and the operator is
 * told each time. */
static void dispatch_unreadable(struct dispatch *x)
{
    struct spool_message *m = x->entry->message;
    uint32_t due_s = queue_next_due_s(x->d->o.queue, m, m->recipients[0].attempts + 1);
    struct log_record r;

    log_begin(&r, LOG_CRITICAL, "message-unreadable");
    log_id(&r, "message", m->id);
    log_errno(&r, -x->reader.error);
    log_end(&r);
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        if (m->recipients[i].state == SPOOL_RECIPIENT_WAITING)
            m->recipients[i].due_s = due_s;
    }
}

static void dispatch_ready(struct spool_reader *r)
{
    dispatch_step(container_of(r, struct dispatch, reader));
}

static void dispatch_step(struct dispatch *x)
{
    struct delivery *d = x->d;
    struct spool_message *m = x->entry->message;
    struct list tasks;
    struct slice sender;

    list_init(&tasks);
    if (d->scratch_count < m->recipient_count) {
        mem_free(d->scratch);
        d->scratch = mem_calloc(m->recipient_count, sizeof(*d->scratch));
        d->scratch_count = m->recipient_count;
    }
    switch (spool_reader_envelope(&x->reader, &sender, d->scratch, NULL)) {
    case SPOOL_READ_WAIT: return;
    case SPOOL_READ_PIECE:
        make_tasks(x, sender, d->scratch, &tasks);
        x->entry->asked = false;
        break;
    case SPOOL_READ_END:
    case SPOOL_READ_ERROR: dispatch_unreadable(x); break;
    }
    dispatch_end(x, &tasks);
}

static void dispatch_begin(struct dispatch *x)
{
    x->ref = spool_pin(x->d->o.spool, x->entry->message);
    spool_reader_begin(&x->reader, x->d->o.io, &x->ref, dispatch_ready);
    dispatch_step(x);
}

void delivery_dispatch(void *delivery, struct queue_entry *entry)
{
    struct delivery *d = delivery;
    struct dispatch *x = pool_get(&d->dispatches);

    x->d = d;
    x->entry = entry;
    list_init(&x->node);
    list_init(&x->open);
    list_push_back(&d->dispatches_open, &x->open);
    if (entry->message->hot == NULL) {
        if (d->dispatches_reading >= DELIVERY_READS_MAX) {
            list_push_back(&d->dispatch_waiting, &x->node);
            return;
        }
        x->reading = true;
        d->dispatches_reading++;
    }
    dispatch_begin(x);
}

void delivery_dispatch_next(struct delivery *d)
{
    struct list *node;

    if (d->dispatches_reading >= DELIVERY_READS_MAX)
        return;
    node = list_pop_front(&d->dispatch_waiting);
    if (node != NULL) {
        struct dispatch *x = container_of(node, struct dispatch, node);
        x->reading = true;
        d->dispatches_reading++;
        dispatch_begin(x);
    }
}

void delivery_dispatch_init(struct delivery *d)
{
    pool_init(&d->dispatches, "dispatches", sizeof(struct dispatch), 0);
    list_init(&d->dispatches_open);
    list_init(&d->dispatch_waiting);
}

void delivery_dispatch_discard(struct delivery *d)
{
    struct list *node;

    while ((node = list_pop_front(&d->dispatches_open)) != NULL) {
        struct dispatch *x = container_of(node, struct dispatch, open);
        x->reader.op.kind = IO_NONE; /* whatever it was will never complete */
        spool_reader_finish(&x->reader);
        pool_put(&d->dispatches, x);
    }
}

void delivery_dispatch_finish(struct delivery *d)
{
    pool_finish(&d->dispatches);
    mem_free(d->scratch);
}
