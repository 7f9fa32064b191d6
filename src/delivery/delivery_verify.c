/*
 * delivery_verify: call-outs, at the shard that is asked. A question is a task without a message: it goes to
 * the shard of its site and comes home like any other, only ahead of the mail that waits there. Who asked
 * may have gone meanwhile, or have lost patience: then the answer is for nobody.
 *
 * `done` is called by a timer, so never from within anything that somebody else is doing.
 */
#include "delivery_verify.h"

#include "base_mem.h"
#include "delivery_priv.h"
#include "routing.h"

struct delivery_probe {
    struct list node; /* delivery.probes */
    struct delivery *d;
    struct delivery_verify *v; /* NULL: it has its answer, or wants none */
    struct wheel_timer timer;  /* the end of patience; then, of what came home, at once */
    bool home;                 /* the task is, and the rest is what it brought */
    enum delivery_verify_result result;
    uint16_t code;
    uint16_t enhanced[3];
    struct slice text; /* owned */
};

static void probe_free(struct delivery_probe *p)
{
    wheel_cancel(p->d->o.wheel, &p->timer);
    list_remove(&p->node);
    mem_free((void *)(uintptr_t)p->text.data);
    mem_free(p);
}

static void answer(struct delivery_probe *p)
{
    struct delivery_verify *v = p->v;

    p->v = NULL;
    v->probe = NULL;
    v->result = p->result;
    v->code = p->code;
    memcpy(v->enhanced, p->enhanced, sizeof(v->enhanced));
    v->text = p->text;
    v->done(v);
}

static void timer_fired(struct wheel_timer *timer)
{
    struct delivery_probe *p = container_of(timer, struct delivery_probe, timer);

    if (p->home) {
        answer(p);
        probe_free(p);
        return;
    }
    /* The task is still out. It will find nobody here. */
    p->result = DELIVERY_VERIFY_TEMPORARY;
    p->text = slice_of(mem_dup("no answer in time", 17), 17);
    answer(p);
}

/* ---- the task ------------------------------------------------------------------------------- */

static struct delivery_task *make_task(struct delivery_probe *p, const struct routing_way *way,
                                       struct slice sender, struct slice address)
{
    struct delivery *d = p->d;
    struct delivery_task *t = delivery_task_create(1, address.len + sender.len + way->domain.len);

    delivery_terms_enter(d, t);
    t->origin = d->o.shard;
    t->probe = p;
    t->route = way->route;
    t->to = way->to->items;
    t->to_count = (uint32_t)way->to->count;
    t->domain = delivery_task_text(t, way->domain, true);
    t->sender = delivery_task_text(t, sender, false);
    t->recipients[0].address = delivery_task_text(t, address, false);
    return t;
}

void delivery_verify_home(struct delivery *d, struct delivery_task *t)
{
    struct delivery_recipient *r = &t->recipients[0];
    struct delivery_probe *p = t->probe;

    ASSERT(p->d == d && !p->home);
    p->home = true;
    p->result = r->status == DELIVERY_DONE                    ? DELIVERY_VERIFY_EXISTS
                : r->status == DELIVERY_FAILED && t->answered ? DELIVERY_VERIFY_UNKNOWN
                                                              : DELIVERY_VERIFY_TEMPORARY;
    p->code = r->code;
    memcpy(p->enhanced, r->enhanced, sizeof(p->enhanced));
    mem_free((void *)(uintptr_t)p->text.data);
    p->text = r->text;
    r->text = SLICE_NULL; /* the probe's now */
    delivery_terms_leave(d, t);
    delivery_task_free(t);
    ASSERT(d->probes_out > 0);
    d->probes_out--;
    if (p->v != NULL)
        wheel_set(d->o.wheel, &p->timer, io_now_ms(d->o.io));
    else
        probe_free(p);
}

/* ---- from above ----------------------------------------------------------------------------- */

static bool at_once(struct delivery_verify *v, enum delivery_verify_result result,
                    struct slice text)
{
    v->result = result;
    v->text = text;
    return false;
}

/* False: it has its answer. */
static bool is_asked(const struct conf_destination *to, struct delivery_verify *v)
{
    static const uint16_t rejected[3] = {5, 7, 1};

    switch (to->kind) {
    case CONF_TO_MX:
    case CONF_TO_SMTP:
    case CONF_TO_LMTP: return true;
    case CONF_TO_MAILDIR:
    case CONF_TO_DISCARD: return at_once(v, DELIVERY_VERIFY_EXISTS, SLICE_NULL);
    case CONF_TO_REJECT:
        v->code = 550;
        memcpy(v->enhanced, rejected, sizeof(rejected));
        return at_once(v, DELIVERY_VERIFY_UNKNOWN, to->text);
    }
    UNREACHABLE();
}

bool delivery_verify(struct delivery *d, struct delivery_verify *v)
{
    struct slice sender = d->o.conf->verify.callout.sender;
    struct delivery_probe *p;
    struct routing_way way;

    ASSERT(v->timeout_ms > 0 && v->done != NULL);
    v->probe = NULL;
    v->code = 0;
    memset(v->enhanced, 0, sizeof(v->enhanced));
    if (d->stopping)
        return at_once(v, DELIVERY_VERIFY_TEMPORARY, SLICE_LITERAL("shutting down"));
    routing_find(d->o.conf, sender, v->address, &way);
    if (!is_asked(&way.to->items[0], v))
        return false;
    if (d->probes_out >= DELIVERY_PROBES_MAX)
        return at_once(v, DELIVERY_VERIFY_TEMPORARY, SLICE_LITERAL("too many call-outs under way"));

    p = mem_zalloc(sizeof(*p));
    p->d = d;
    p->v = v;
    v->probe = p;
    list_push_back(&d->probes, &p->node);
    wheel_timer_init(&p->timer, timer_fired);
    wheel_set(d->o.wheel, &p->timer, io_now_ms(d->o.io) + v->timeout_ms);
    d->probes_out++;
    d->counters.callouts++;
    delivery_task_submit(d, make_task(p, &way, sender, v->address));
    return true;
}

void delivery_verify_cancel(struct delivery_verify *v)
{
    struct delivery_probe *p = v->probe;

    if (p == NULL)
        return;
    v->probe = NULL;
    p->v = NULL;
    wheel_cancel(p->d->o.wheel, &p->timer);
    if (p->home)
        probe_free(p);
}

void delivery_verify_stop(struct delivery *d)
{
    LIST_EACH(&d->probes, node)
    {
        struct delivery_probe *p = container_of(node, struct delivery_probe, node);

        if (p->v != NULL)
            wheel_set(d->o.wheel, &p->timer, io_now_ms(d->o.io));
    }
}

void delivery_verify_discard(struct delivery *d)
{
    LIST_EACH_SAFE(&d->probes, node)
    probe_free(container_of(node, struct delivery_probe, node));
    d->probes_out = 0;
}
