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
#include "queue_lot.h"
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
    bool quiet; /* nothing is tried: the sender is to be told */
    uint32_t count;
    size_t text_len;
    struct delivery_task *task;
    uint32_t next; /* with the same hash, one more than its index; 0: none */
};

/* All of a message, found by hash: an envelope may have thousands of recipients, and as many ways. */
struct groups {
    struct group *items;
    uint32_t count;
    uint32_t *heads; /* of chains, the last group first */
    uint32_t mask;
    uint32_t few[16]; /* heads, if that is enough */
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

static void groups_init(struct groups *all, uint32_t recipients)
{
    *all = (struct groups){.items = mem_calloc(recipients, sizeof(*all->items)),
                           .mask = (uint32_t)ARRAY_LEN(all->few) - 1};
    all->heads = all->few;
    if (recipients <= ARRAY_LEN(all->few))
        return;
    while (all->mask < recipients)
        all->mask = 2 * all->mask + 1;
    all->heads = mem_calloc((size_t)all->mask + 1, sizeof(*all->heads));
}

static void groups_finish(struct groups *all)
{
    if (all->heads != all->few)
        mem_free(all->heads);
    mem_free(all->items);
}

static uint64_t hash_way(const struct way *way, bool quiet)
{
    uint64_t hash = hash_u64((uintptr_t)way->r.to) ^ hash_u64((uintptr_t)way->r.route + quiet);

    return way->by_domain ? hash ^ hash_bytes_nocase(way->r.domain) : hash;
}

/* The last group that takes this recipient, or a new one. */
static uint32_t find_group(struct groups *all, const struct way *way, bool quiet)
{
    uint32_t *head = &all->heads[hash_way(way, quiet) & all->mask];

    for (uint32_t g = *head; g > 0; g = all->items[g - 1].next) {
        const struct group *group = &all->items[g - 1];
        if (group->quiet != quiet || !same_way(&group->way, way))
            continue;
        if (group->count < way->r.route->recipients_per_message)
            return g - 1;
        break; /* the last one is full, so those before it are */
    }
    all->items[all->count] = (struct group){.way = *way, .quiet = quiet, .next = *head};
    *head = ++all->count;
    return all->count - 1;
}

/* Which recipients are meant now: those that are due; all of them when the message is at its end. */
static bool is_meant(const struct dispatch *x, uint32_t i)
{
    const struct spool_message *m = x->entry->message;
    const struct spool_recipient *r = &m->recipients[i];

    if (x->entry->bounce)
        return r->state == SPOOL_RECIPIENT_WAITING;
    if (queue_past_deliver_by(x->d->o.queue, m))
        return r->state == SPOOL_RECIPIENT_WAITING && (r->flags & SPOOL_RECIPIENT_HELD) == 0;
    return queue_is_due(x->d->o.queue, m, i);
}

/* It is an alias that stands for others, or has the message: only somebody is to be told. */
static bool is_quiet(const struct dispatch *x, uint32_t i)
{
    return (x->entry->message->recipients[i].flags
            & (SPOOL_RECIPIENT_EXPANDED | SPOOL_RECIPIENT_DELIVERED_UNTOLD
               | SPOOL_RECIPIENT_RELAYED_UNTOLD))
           != 0;
}

/* A rule holds it: it waits for the rule. */
static bool is_held_back(struct dispatch *x, uint32_t i, const struct way *way, struct slice sender,
                         struct slice recipient)
{
    struct queue_entry *e = x->entry;
    struct queue *q = x->d->o.queue;
    const struct queue_hold_rule *rule;
    char key[QUEUE_HOLD_KEY_SIZE];

    if (q->holds.count == 0 || e->exempt || e->bounce || queue_past_deliver_by(q, e->message))
        return false;
    rule = queue_holds_match(&q->holds, sender, recipient, way->r.route->pattern);
    if (rule == NULL)
        return false;
    queue_hold_key(rule, key);
    queue_park(e, i,
               &(struct queue_parking){
                   .key = slice_str(key), .reason = rule->reason, .next_s = rule->until_s});
    return true;
}

static struct delivery_task *make_task(struct dispatch *x, const struct group *g,
                                       struct slice sender, struct slice envid)
{
    const struct spool_message *m = x->entry->message;
    struct delivery_task *t = delivery_task_create(g->count, g->text_len + sender.len + envid.len);

    delivery_terms_enter(x->d, t);
    t->origin = x->d->o.shard;
    t->asked = x->entry->asked;
    t->called = x->entry->called;
    t->quiet = g->quiet;
    t->fresh = queue_is_fresh(x->entry);
    t->priority = m->terms.priority;
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
    t->envid = delivery_task_text(t, envid, false);
    t->recipient_count = 0; /* counted up as they are filled in */
    return t;
}

static void add_recipient(const struct dispatch *x, struct delivery_task *t, uint32_t i)
{
    const struct spool_dsn *dsn = &x->d->scratch_dsn[i];
    uint8_t flags = x->entry->message->recipients[i].flags;
    struct delivery_recipient *r = &t->recipients[t->recipient_count++];

    r->index = i;
    r->address = delivery_task_text(t, x->d->scratch[i], false);
    r->orcpt = delivery_task_text(t, dsn->orcpt, false);
    r->notify = dsn->notify;
    if (!t->quiet)
        return;
    r->expanded = (flags & SPOOL_RECIPIENT_EXPANDED) != 0;
    r->final = (flags & SPOOL_RECIPIENT_DELIVERED_UNTOLD) != 0;
    r->relayed = (flags & SPOOL_RECIPIENT_RELAYED_UNTOLD) != 0;
    delivery_task_set(t, t->recipient_count - 1, DELIVERY_DONE, 0, NULL, SLICE_NULL);
}

#define NO_GROUP UINT32_MAX

/* Each recipient that is meant has a group then. */
static void group_recipients(struct dispatch *x, struct slice sender, struct groups *groups,
                             uint32_t *group_of)
{
    const struct spool_message *m = x->entry->message;
    const struct slice *recipients = x->d->scratch;

    for (uint32_t i = 0; i < m->recipient_count; i++) {
        struct way way;
        struct group *g;
        if (group_of[i] == NO_GROUP)
            continue;
        way = find_way(x->d->o.conf, sender, recipients[i]);
        if (!is_quiet(x, i) && is_held_back(x, i, &way, sender, recipients[i])) {
            group_of[i] = NO_GROUP;
            continue;
        }
        group_of[i] = find_group(groups, &way, is_quiet(x, i));
        g = &groups->items[group_of[i]];
        g->text_len += recipients[i].len + x->d->scratch_dsn[i].orcpt.len
                       + (g->count == 0 ? way.r.domain.len : 0);
        g->count++;
    }
}

static void make_tasks(struct dispatch *x, struct slice sender, struct slice envid,
                       struct list *out_tasks)
{
    const struct spool_message *m = x->entry->message;
    uint32_t *group_of = mem_calloc(m->recipient_count, sizeof(*group_of));
    uint32_t meant = 0;
    struct groups groups;

    /* Asked once: the clock goes on. */
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        group_of[i] = is_meant(x, i) ? 0 : NO_GROUP;
        meant += group_of[i] == 0;
    }
    groups_init(&groups, meant);
    group_recipients(x, sender, &groups, group_of);
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        struct group *g;
        if (group_of[i] == NO_GROUP)
            continue;
        g = &groups.items[group_of[i]];
        if (g->task == NULL)
            g->task = make_task(x, g, sender, envid);
        add_recipient(x, g->task, i);
    }
    for (uint32_t g = 0; g < groups.count; g++)
        list_push_back(out_tasks, &groups.items[g].task->node);
    mem_free(group_of);
    groups_finish(&groups);
}

/* ---- without an attempt --------------------------------------------------------------------- */

static bool take_number(struct slice *text, uint16_t *out, uint8_t end)
{
    uint32_t value = 0;
    size_t i = 0;

    while (i < text->len && i < 3 && text->data[i] >= '0' && text->data[i] <= '9')
        value = value * 10 + (text->data[i++] - '0');
    if (i == 0 || i == text->len || text->data[i] != end)
        return false;
    *out = (uint16_t)value;
    *text = slice_of(text->data + i + 1, text->len - i - 1);
    return true;
}

/* The other way round than delivery_outcome_text(): "450 4.2.1 Full". */
static void parse_reason(struct slice *text, uint16_t *out_code, uint16_t out_enhanced[3])
{
    struct slice rest = *text;
    uint16_t e[3];

    if (take_number(&rest, &e[0], ' ') && e[0] >= 200 && e[0] < 600) {
        *out_code = e[0];
        *text = rest;
    }
    rest = *text;
    if (take_number(&rest, &e[0], '.') && take_number(&rest, &e[1], '.')
        && take_number(&rest, &e[2], ' ')) {
        memcpy(out_enhanced, e, sizeof(e));
        *text = rest;
    }
}

/* The operator wants it returned, it is too late, or its patience ends while it waits for a site: the
 * outcome stands. */
static bool conclude(const struct dispatch *x, struct delivery_task *t)
{
    static const uint16_t returned[3] = {5, 0, 0};
    static const uint16_t too_late[3] = {5, 4, 7}; /* RFC 3463: delivery time expired */
    const struct queue_entry *e = x->entry;
    struct slice text = queue_entry_reason(e);
    uint16_t code = 0, enhanced[3] = {0};

    if (t->quiet)
        return true;
    if (!e->bounce && !e->overdue && !queue_past_deliver_by(x->d->o.queue, e->message))
        return false;
    parse_reason(&text, &code, enhanced);
    if (e->bounce) {
        t->returned = true;
        delivery_task_set_all(t, DELIVERY_FAILED, code, enhanced[0] == 5 ? enhanced : returned,
                              text);
    } else if (queue_past_deliver_by(x->d->o.queue, e->message)) {
        if (text.len == 0)
            text = SLICE_LITERAL("The time by which it was to be delivered has passed");
        delivery_task_set_all(t, DELIVERY_FAILED, code, too_late, text);
    } else {
        t->untried = true;
        delivery_task_set_all(t, DELIVERY_DEFERRED, code, enhanced[0] != 0 ? enhanced : NULL, text);
    }
    return true;
}

/* ---- the end -------------------------------------------------------------------------------- */

/* The tasks have copies and pins of their own. They leave last of all, since a task may end at once,
 * and with the last of them the message. */
static void dispatch_end(struct dispatch *x, struct list *tasks)
{
    struct delivery *d = x->d;
    struct queue_entry *entry = x->entry;
    bool was_reading = x->reading;
    uint64_t id = entry->message->id;
    struct list *node;

    /* What has its outcome is marked before the parts leave: the reason is the entry's. */
    LIST_EACH(tasks, ended)
    {
        struct delivery_task *t = container_of(ended, struct delivery_task, node);
        t->concluded = conclude(x, t);
    }
    entry->asked = entry->bounce = entry->called = entry->overdue = false;
    spool_reader_finish(&x->reader);
    spool_unpin(d->o.spool, entry->message, &x->ref);
    list_remove(&x->open);
    pool_put(&d->dispatches, x);
    while ((node = list_pop_front(tasks)) != NULL) {
        struct delivery_task *t = container_of(node, struct delivery_task, node);

        queue_part(entry);
        if (t->concluded) {
            d->tasks++;
            delivery_task_finish(d, t);
        } else {
            delivery_task_submit(d, t);
        }
    }
    queue_settled(entry, NULL, 0);
    delivery_notice_check(d, id);
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
    uint32_t due_s =
        queue_next_due_s(x->d->o.queue, m, &x->d->o.conf->retry, m->recipients[0].attempts + 1u);
    struct log_record r;

    log_begin(&r, LOG_CRITICAL, "message-unreadable");
    log_id(&r, "message", m->id);
    log_errno(&r, -x->reader.error);
    log_end(&r);
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        if (m->recipients[i].state == SPOOL_RECIPIENT_WAITING)
            queue_postpone(x->entry, i, due_s);
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
    struct slice sender, envid;

    list_init(&tasks);
    if (d->scratch_count < m->recipient_count) {
        mem_free(d->scratch);
        mem_free(d->scratch_dsn);
        d->scratch = mem_calloc(m->recipient_count, sizeof(*d->scratch));
        d->scratch_dsn = mem_calloc(m->recipient_count, sizeof(*d->scratch_dsn));
        d->scratch_count = m->recipient_count;
    }
    switch (spool_reader_envelope(&x->reader, &sender, d->scratch, NULL)) {
    case SPOOL_READ_WAIT: return;
    case SPOOL_READ_PIECE:
        spool_reader_dsn(&x->reader, &envid, d->scratch_dsn);
        make_tasks(x, sender, envid, &tasks);
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
    if (!spool_is_hot(entry->message)) {
        if (d->dispatches_reading >= DELIVERY_READS_MAX) {
            /* New mail is mostly in memory; where it is not, it does not wait behind the backlog. */
            if (entry->line == QUEUE_FRESH)
                list_push_front(&d->dispatch_waiting, &x->node);
            else
                list_push_back(&d->dispatch_waiting, &x->node);
            d->o.queue->reads_waiting++;
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
        d->o.queue->reads_waiting--;
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
    mem_free(d->scratch_dsn);
}
