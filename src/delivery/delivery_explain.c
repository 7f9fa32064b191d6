/* delivery_explain: asks what delivery would ask, with tasks that are never sent. */
#include "base_log.h"
#include "base_mem.h"
#include "delivery_explain_priv.h"

static void tell(struct wheel_timer *timer)
{
    struct delivery_explain *x = container_of(timer, struct delivery_explain, timer);

    x->done(x, x->context);
}

static void tell_soon(struct delivery_explain *x)
{
    wheel_set(x->d->o.wheel, &x->timer, io_now_ms(x->d->o.io));
}

/* ---- one destination ------------------------------------------------------------------------ */

static void to_known(struct explain_to *to)
{
    ASSERT(to->x->open > 0);
    if (--to->x->open == 0)
        tell_soon(to->x);
}

static void addresses_known(struct explain_to *to)
{
    to->unreachable = to->addresses.count == 0;
    if (to->unreachable)
        delivery_addresses_explain(&to->addresses, &to->why);
    to_known(to);
}

static void addresses_changed(struct delivery_addresses *a)
{
    if (a->open == 0)
        addresses_known(container_of(a, struct explain_to, addresses));
}

static void host_refused(struct delivery_addresses *a, const struct delivery_host *host,
                         enum delivery_tlsa tlsa, const struct delivery_reason *why)
{
    struct explain_to *to = container_of(a, struct explain_to, addresses);
    struct explain_refusal *refusal;

    (void)tlsa;
    if (to->refusals == NULL)
        to->refusals = arena_alloc(&to->x->arena, DELIVERY_HOSTS_MAX * sizeof(*to->refusals));
    ASSERT(to->refusal_count < DELIVERY_HOSTS_MAX);
    refusal = &to->refusals[to->refusal_count++];
    refusal->host = host->name;
    memcpy(refusal->text, why->text, sizeof(refusal->text));
}

/* The task has its site. */
static void ask_addresses(struct explain_to *to)
{
    struct delivery_task *t = to->task;
    struct delivery *d = to->x->d;

    to->has_site = true;
    to->site.key = t->site;
    to->site.shard = delivery_task_owner(d, t->site);
    delivery_addresses_init(&to->addresses, d, t->site, t->route,
                            to->to->kind == CONF_TO_MX ? t->sts : NULL, addresses_changed);
    to->addresses.explaining = true;
    to->addresses.told = host_refused;
    delivery_addresses_ask(&to->addresses);
    if (to->addresses.open == 0)
        addresses_known(to);
}

static void question_answered(struct delivery_mx_question *question)
{
    struct explain_to *to = container_of(question, struct explain_to, question);

    to->failed = !delivery_mx_question_answer(question, &to->why);
    delivery_mx_question_finish(question);
    to->asking = false;
    if (to->failed)
        to_known(to);
    else
        ask_addresses(to);
}

static struct delivery_task *make_task(const struct delivery_explain *x,
                                       const struct explain_way *way, uint32_t i)
{
    struct delivery_task *t = delivery_task_create(0, x->sender.len + way->r.domain.len);

    t->conf = x->conf;
    t->route = way->r.route;
    t->to = way->r.to->items;
    t->to_count = way->to_count;
    t->to_next = i;
    t->domain = delivery_task_text(t, way->r.domain, true);
    t->sender = delivery_task_text(t, x->sender, false);
    return t;
}

static void ask_to(struct explain_way *way, uint32_t i)
{
    struct explain_to *to = &way->to[i];
    struct delivery_explain *x = to->x;

    switch (to->to->kind) {
    case CONF_TO_MX:
        x->open++;
        to->task = make_task(x, way, i);
        to->asking = true;
        delivery_mx_question_ask(&to->question, x->d, to->task, question_answered);
        return;
    case CONF_TO_SMTP:
    case CONF_TO_LMTP:
        x->open++;
        to->task = make_task(x, way, i);
        delivery_task_name_site(to->task);
        ask_addresses(to);
        return;
    case CONF_TO_MAILDIR:
    case CONF_TO_DISCARD:
    case CONF_TO_REJECT: return;
    }
    UNREACHABLE();
}

/* ---- recipients and their ways -------------------------------------------------------------- */

static bool goes_by_mx(const struct routing_way *r)
{
    for (size_t i = 0; i < r->to->count; i++) {
        if (r->to->items[i].kind == CONF_TO_MX)
            return true;
    }
    return false;
}

static struct explain_way *find_way(struct delivery_explain *x, const struct routing_way *r)
{
    struct explain_way *way;

    for (uint32_t i = 0; i < x->way_count; i++) {
        way = &x->ways[i];
        if (way->r.to == r->to && way->r.route == r->route
            && (!goes_by_mx(r) || slice_equal_nocase(way->r.domain, r->domain)))
            return way;
    }
    if (x->way_count == DELIVERY_EXPLAIN_WAYS)
        return NULL;
    way = &x->ways[x->way_count++];
    way->r = *r;
    way->to_count = (uint32_t)r->to->count;
    way->to = arena_alloc(&x->arena, way->to_count * sizeof(*way->to));
    for (uint32_t i = 0; i < way->to_count; i++)
        way->to[i] = (struct explain_to){.x = x, .to = &r->to->items[i]};
    return way;
}

static void add_recipient(struct delivery_explain *x, struct slice address)
{
    struct explain_recipient *r = &x->recipients[x->recipient_count++];
    struct routing_way way;
    struct buf words;

    buf_init(&words, 0);
    routing_find(x->conf, x->sender, address, &way);
    routing_explain(x->conf, &way, &words);
    r->address = address;
    r->rule = arena_dup(&x->arena, buf_slice(&words));
    r->way = find_way(x, &way);
    buf_finish(&words);
}

static void expand(struct delivery_explain *x)
{
    struct smtp_address address;
    struct buf words;
    uint32_t count;

    x->well_formed = smtp_address_parse(x->address, SMTP_PATH_UTF8, &address) == SMTP_ADDRESS_OK;
    if (!x->well_formed)
        return;
    x->known = routing_known(x->conf, &address);
    buf_init(&words, 0);
    if (routing_explain_alias(x->conf, x->address, &words))
        x->rule = arena_dup(&x->arena, buf_slice(&words));
    buf_finish(&words);
    x->expand = routing_expand(x->conf, x->address, ROUTING_TARGETS_MAX, &x->arena, &x->targets);
    if (x->known == ROUTING_UNKNOWN)
        return;
    count = x->expand == ROUTING_SAME ? 1 : x->targets.count;
    if (x->expand != ROUTING_SAME && x->expand != ROUTING_EXPANDED)
        return;
    if (count > DELIVERY_EXPLAIN_TARGETS)
        count = DELIVERY_EXPLAIN_TARGETS;
    x->recipients = arena_alloc(&x->arena, count * sizeof(*x->recipients));
    for (uint32_t i = 0; i < count; i++)
        add_recipient(x, x->expand == ROUTING_SAME ? x->address : x->targets.items[i]);
}

/* ---- its life ------------------------------------------------------------------------------- */

struct delivery_explain *delivery_explain_begin(
    struct delivery *d, struct slice sender, struct slice address,
    void (*done)(struct delivery_explain *x, void *context), void *context)
{
    struct delivery_explain *x = mem_zalloc(sizeof(*x));

    x->d = d;
    x->conf = conf_ref(d->o.conf);
    x->done = done;
    x->context = context;
    arena_init(&x->arena, SIZE_MAX);
    wheel_timer_init(&x->timer, tell);
    list_init(&x->node);
    list_push_back(&d->explains, &x->node);
    x->sender = arena_dup(&x->arena, sender);
    x->address = arena_dup(&x->arena, address);
    expand(x);
    x->stopped = d->stopping;
    x->open = 1; /* until all have been asked */
    for (uint32_t i = 0; i < x->way_count && !x->stopped; i++) {
        for (uint32_t k = 0; k < x->ways[i].to_count; k++)
            ask_to(&x->ways[i], k);
    }
    if (--x->open == 0)
        tell_soon(x);
    return x;
}

static void close_to(struct explain_to *to)
{
    if (to->asking)
        delivery_mx_question_finish(&to->question);
    to->asking = false;
    if (to->has_site)
        delivery_addresses_close(&to->addresses);
}

static void each_to(struct delivery_explain *x, void (*what)(struct explain_to *to))
{
    for (uint32_t i = 0; i < x->way_count; i++) {
        for (uint32_t k = 0; k < x->ways[i].to_count; k++)
            what(&x->ways[i].to[k]);
    }
}

void delivery_explain_stop(struct delivery *d)
{
    for (struct list *node = d->explains.next; node != &d->explains; node = node->next) {
        struct delivery_explain *x = container_of(node, struct delivery_explain, node);

        if (x->open == 0)
            continue;
        x->stopped = true;
        each_to(x, close_to);
        x->open = 0;
        tell_soon(x);
    }
}

static void finish_to(struct explain_to *to)
{
    close_to(to);
    if (to->has_site)
        delivery_addresses_finish(&to->addresses);
    delivery_task_free(to->task);
}

void delivery_explain_end(struct delivery_explain *x)
{
    if (x == NULL)
        return;
    each_to(x, finish_to);
    wheel_cancel(x->d->o.wheel, &x->timer);
    list_remove(&x->node);
    conf_free(x->conf);
    arena_reset(&x->arena);
    mem_free(x);
}

/* ---- sites ---------------------------------------------------------------------------------- */

uint32_t delivery_explain_site_count(const struct delivery_explain *x)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < x->way_count; i++) {
        for (uint32_t k = 0; k < x->ways[i].to_count; k++)
            count += x->ways[i].to[k].has_site;
    }
    return count;
}

struct delivery_explain_site *delivery_explain_site(struct delivery_explain *x, uint32_t index)
{
    for (uint32_t i = 0; i < x->way_count; i++) {
        for (uint32_t k = 0; k < x->ways[i].to_count; k++) {
            if (x->ways[i].to[k].has_site && index-- == 0)
                return &x->ways[i].to[k].site;
        }
    }
    UNREACHABLE();
}
