/*
 * sim_days: a world goes through its days: next hops come and go, the server ends and begins again, its
 * operator works, the wall clock leaps. Then it is left alone until the last message is gone.
 */
#include <stdio.h>

#include "base_mem.h"
#include "queue_holds.h"
#include "sim_days.h"

enum {
    HOLD_MAX_MS = 20 * 3600 * 1000,
    OPERATE_MAX = 6, /* messages at a time */
};

/* ---- next hops ----------------------------------------------------------------------------- */

struct phase *days_phase_at(struct world *w, unsigned sink, uint64_t at_ms)
{
    struct days *d = w->days;
    uint32_t i = d->phase_count[sink] - 1;

    while (i > 0 && d->start_ms + d->phases[sink][i].from_ms > at_ms)
        i--;
    return &d->phases[sink][i];
}

enum mood days_mood(struct world *w, unsigned sink, bool *out_at_mail)
{
    uint64_t now_ms = world_now_ms(w);
    const struct phase *p = days_phase_at(w, sink, now_ms);
    uint64_t since_ms = now_ms - w->days->start_ms - p->from_ms;

    *out_at_mail = p->at_mail;
    if (p->mood == MOOD_FLAPS)
        return since_ms / p->period_ms % 2 == 0 ? MOOD_DROPS : MOOD_UP;
    return (enum mood)p->mood;
}

void days_connected(struct world *w, unsigned sink)
{
    days_phase_at(w, sink, world_now_ms(w))->connections++;
}

static void disturbed(struct world *w)
{
    for (unsigned sink = 0; sink < SINKS; sink++)
        days_phase_at(w, sink, world_now_ms(w))->disturbances++;
}

void days_booted(struct world *w)
{
    struct days *d = w->days;

    if (d->boots < ARRAY_LEN(d->boots_ms))
        d->boots_ms[d->boots++] = world_now_ms(w);
    disturbed(w);
}

/* ---- the wall clock ------------------------------------------------------------------------ */

static void leap(struct world *w, int64_t ms)
{
    struct sim_options *o = sim_options(w->sim);

    o->unix_ms = (uint64_t)((int64_t)o->unix_ms + ms);
}

static uint64_t leaps(const struct world *w, uint64_t from_ms, uint64_t to_ms, int sign)
{
    const struct days *d = w->days;
    int64_t sum = 0;

    for (uint32_t i = 0; i < d->event_count; i++) {
        const struct days_event *e = &d->events[i];
        uint64_t at_ms = d->start_ms + e->at_ms;
        if (e->kind == DAYS_LEAP && e->done && at_ms >= from_ms && at_ms <= to_ms
            && sign * e->leap_ms > 0)
            sum += sign * e->leap_ms;
    }
    return (uint64_t)sum;
}

uint64_t days_leaps_forward(const struct world *w, uint64_t from_ms, uint64_t to_ms)
{
    return leaps(w, from_ms, to_ms, 1);
}

uint64_t days_leaps_back(const struct world *w, uint64_t from_ms, uint64_t to_ms)
{
    return leaps(w, from_ms, to_ms, -1);
}

/* ---- the operator -------------------------------------------------------------------------- */

enum order {
    ORDER_RETRY,
    ORDER_HOLD,
    ORDER_RELEASE,
    ORDER_DELETE,
    ORDER_BOUNCE,
    ORDER_REVISE,
    ORDER_RULE,
    ORDER_RULES_OVER,
    ORDER_COUNT
};

static void note_hold(struct world *w, struct message *m, uint64_t ms)
{
    struct days_order *o = &w->days->orders[m->number];

    o->held_from_ms = world_now_ms(w);
    o->held_until_ms = o->held_from_ms + ms;
    if (o->held_until_ms > o->free_ms)
        o->free_ms = o->held_until_ms;
}

static void note_rule(struct world *w, const struct message *m, uint64_t ms)
{
    struct days_order *o = &w->days->orders[m->number];

    o->ruled_from_ms = world_now_ms(w);
    o->ruled_until_ms = o->ruled_from_ms + ms;
    if (o->ruled_until_ms > o->free_ms)
        o->free_ms = o->ruled_until_ms;
}

/* All shards have the same rules, and the file has them before they hold. */
static void keep_rules(struct world *w)
{
    struct buf text;

    buf_init(&text, 0);
    queue_holds_format(&shard_queue(w->mx.shards[0].shard)->holds, &text);
    (void)sim_file_write(w->mx.machine, "/spool/state/holds", buf_slice(&text));
    buf_finish(&text);
}

/* False: it is there already. */
static bool add_rule(struct queue *q, const struct message *m, uint64_t ms)
{
    return queue_holds_add(
        q, &(struct queue_hold_rule){.id = m->number + 1,
                                     .kind = QUEUE_HOLD_SENDER,
                                     .value = slice_str(m->sender),
                                     .reason = SLICE_LITERAL("looked at"),
                                     .until_s = queue_now_s(q) + (uint32_t)(ms / 1000)});
}

/* At each shard: one of them has it, if any. */
static void order(struct world *w, struct queue *q, struct message *m, enum order what, uint64_t ms)
{
    struct days_order *o = &w->days->orders[m->number];
    struct spool_terms terms = {.deliver_by_s = queue_now_s(q) + (uint32_t)(ms / 1000),
                                .priority = (int8_t)(ms % 19 - 9)};

    switch (what) {
    case ORDER_RETRY: (void)queue_retry(q, m->id); return;
    case ORDER_HOLD:
        if (queue_hold(q, m->id, queue_now_s(q) + (uint32_t)(ms / 1000)))
            note_hold(w, m, ms);
        return;
    case ORDER_RELEASE:
        if (queue_release(q, m->id))
            o->held_until_ms = o->ruled_until_ms = 0;
        return;
    case ORDER_DELETE: m->deleted |= queue_delete(q, m->id); return;
    case ORDER_BOUNCE:
        o->returned |=
            queue_bounce(q, m->id, SLICE_LITERAL("550 5.7.1 The operator does not want it"));
        return;
    case ORDER_REVISE:
        if (queue_revise(q, m->id, &terms))
            o->deliver_by_ms = world_now_ms(w) + ms;
        return;
    case ORDER_RULE:
        if (add_rule(q, m, ms))
            note_rule(w, m, ms);
        return;
    case ORDER_RULES_OVER:
        (void)queue_holds_remove(q, m->number + 1);
        o->ruled_until_ms = 0;
        return;
    case ORDER_COUNT: break;
    }
    UNREACHABLE();
}

static bool is_over(const struct message *m)
{
    for (uint32_t i = 0; i < m->rcpt_count; i++) {
        if (m->rcpts[i].got_ms == 0 && m->rcpts[i].said_bounced_ms == 0)
            return false;
    }
    return true;
}

/* Mostly one that still waits: an operator has no business with others. */
static struct message *choose_message(struct world *w)
{
    struct message *m = NULL;

    for (unsigned i = 0; i < 20; i++) {
        m = &w->model.messages[rand_below(&w->rand, w->model.message_count)];
        if (m->id != 0 && !is_over(m))
            break;
    }
    return m;
}

static void operate(struct world *w)
{
    struct rand *r = &w->rand;
    uint64_t count = 1 + rand_below(r, OPERATE_MAX);
    enum order what = (enum order)rand_below(r, ORDER_COUNT);

    if (w->mx.state != MX_UP)
        return;
    for (uint64_t i = 0; i < count; i++) {
        struct message *m = choose_message(w);
        uint64_t ms = 1000 + rand_below(r, (uint64_t)HOLD_MAX_MS >> rand_below(r, 8));
        bool by_rule = what == ORDER_RULE || what == ORDER_RULES_OVER;
        if ((!by_rule && m->id == 0) || (by_rule && m->null_sender))
            continue;
        for (unsigned k = 0; k < w->mx.group.count; k++)
            order(w, shard_queue(w->mx.shards[k].shard), m, what, ms);
        if (by_rule)
            keep_rules(w);
    }
    for (unsigned k = 0; k < w->mx.group.count; k++)
        io_wake_from_thread(w->mx.shards[k].io);
    disturbed(w);
}

/* ---- events -------------------------------------------------------------------------------- */

static void happen(struct world *w, struct days_event *e)
{
    struct days *d = w->days;

    if (w->verbose)
        fprintf(stderr, "%9llu days: event %u\n", (unsigned long long)world_now_ms(w), e->kind);
    e->done = true;
    switch ((enum days_event_kind)e->kind) {
    case DAYS_PHASE: return;
    case DAYS_STOP: mx_stop(w); return;
    case DAYS_CRASH:
    case DAYS_KILL:
        if (w->mx.state == MX_DOWN)
            return;
        mx_die(w, e->kind == DAYS_CRASH);
        mx_boot_later(w);
        return;
    case DAYS_RELOAD:
        if (w->mx.state == MX_UP && w->mx.next == NULL)
            d->reloads_ms[d->reloads++] = world_now_ms(w);
        mx_reload(w);
        disturbed(w);
        return;
    case DAYS_OPERATE: operate(w); return;
    case DAYS_LEAP: leap(w, e->leap_ms); return;
    case DAYS_EVENT_KINDS: break;
    }
    UNREACHABLE();
}

/* The next that is to happen, or a next hop's next phase; UINT64_MAX: nothing any more. */
static uint64_t next_ms(const struct world *w)
{
    const struct days *d = w->days;
    uint64_t now_ms = world_now_ms(w), next_ms = UINT64_MAX;

    for (uint32_t i = 0; i < d->event_count; i++) {
        uint64_t at_ms = d->start_ms + d->events[i].at_ms;
        if (!d->events[i].done && at_ms < next_ms)
            next_ms = at_ms;
    }
    for (unsigned sink = 0; sink < SINKS; sink++) {
        for (uint32_t i = 0; i < d->phase_count[sink]; i++) {
            uint64_t at_ms = d->start_ms + d->phases[sink][i].from_ms;
            if (at_ms > now_ms && at_ms < next_ms)
                next_ms = at_ms;
        }
    }
    return next_ms;
}

/* As if somebody looked at the clock: that is all that it is for. */
static void awake(struct wheel_timer *timer)
{
    (void)timer;
}

static void look_at_sinks(struct world *w)
{
    for (unsigned sink = 0; sink < SINKS; sink++) {
        bool at_mail;
        sinks_open(w, sink, days_mood(w, sink, &at_mail) != MOOD_CLOSED);
    }
}

/* All that is due, and when it is over, to the next. */
static bool look(struct world *w)
{
    struct days *d = w->days;
    uint64_t next;

    for (uint32_t i = 0; i < d->event_count; i++) {
        if (!d->events[i].done && world_now_ms(w) >= d->start_ms + d->events[i].at_ms)
            happen(w, &d->events[i]);
    }
    look_at_sinks(w);
    next = next_ms(w);
    if (next == UINT64_MAX)
        return false;
    wheel_set(&w->keeper.wheel, &d->timer, next);
    io_wake(w->keeper.io, w->keeper.io);
    return true;
}

void days_start(struct world *w)
{
    w->days->start_ms = world_now_ms(w);
    wheel_timer_init(&w->days->timer, awake);
    look_at_sinks(w);
}

void days_run(struct world *w)
{
    struct days *d = w->days;
    uint64_t next = 0;

    for (;;) {
        if (world_now_ms(w) >= next) {
            if (!look(w))
                break;
            next = next_ms(w);
        }
        world_turn(w);
    }
    w->calm_ms = world_now_ms(w);
    while (!clients_done(w) || !mx_is_drained(w)) {
        world_turn(w);
        WORLD_CHECK(w, world_now_ms(w) < d->start_ms + d->longest_ms, "it is not over after days");
    }
}

void days_finish(struct world *w)
{
    mem_free(w->days);
}
