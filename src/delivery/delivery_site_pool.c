/*
 * delivery_site_pool: how many connections a site gets, to which addresses, and what they report.
 *
 * Careful until one has been greeted: a few attempts at a time, and only one after the site was down.
 * Then up to the route's limit, and never more than there are tasks. An attempt that waits for too long
 * is not ended but no longer counted on, so that the next address is tried beside it.
 */
#include "delivery_site_priv.h"

static uint64_t now_of(const struct delivery_site *s)
{
    return io_now_ms(s->d->o.io);
}

/* Attempts that have not been given up hope on. */
static uint32_t hopeful(const struct delivery_site *s)
{
    return s->attempts - s->stalled;
}

bool delivery_site_may_open(const struct delivery_site *s)
{
    if (s->d->stopping || s->lane_count <= hopeful(s) || !delivery_lane_may_take(s, hopeful(s) + 1))
        return false;
    if (s->standing == 0) {
        if (hopeful(s) >= (s->was_down ? 1 : DELIVERY_CAREFUL_MAX))
            return false;
    } else if (now_of(s) < s->grow_from_ms || (s->refused && hopeful(s) > 0)) {
        return false;
    }
    /* Where nobody answers there is no connection to count. */
    return s->connection_count - s->unanswered < s->route->connections;
}

/* One that lets us wait may be slow; when several do, it is more likely that the site has many dead addresses,
 * and the live one is to be found within seconds. */
uint64_t delivery_site_patience_ms(const struct delivery_site *s)
{
    uint64_t ms = DELIVERY_RACE_CONNECT_MS;

    for (uint32_t i = 0; i < s->unanswered && ms > DELIVERY_RACE_LEAST_MS; i++)
        ms /= 2;
    return ms > DELIVERY_RACE_LEAST_MS ? ms : DELIVERY_RACE_LEAST_MS;
}

static struct delivery_address *next_address(struct delivery_site *s)
{
    struct delivery_address *a = delivery_addresses_choose(&s->addresses, false);

    if (a == NULL && s->standing == 0 && hopeful(s) == 0)
        a = delivery_addresses_choose(&s->addresses, true);
    return a;
}

bool delivery_site_open(struct delivery_site *s)
{
    struct delivery_address *a = next_address(s);
    struct delivery_plan *plan;
    struct delivery_smtp *c;

    if (a == NULL)
        return false;
    plan = delivery_addresses_plan(&s->addresses, a->host);
    ASSERT(plan != NULL); /* without one there are no addresses */
    c = delivery_smtp_create(s, a->host, &a->ip, s->addresses.port, plan);
    a->connections++;
    s->attempts++;
    s->connection_count++;
    list_push_back(&s->connections, &c->in_site);
    delivery_smtp_begin(c);
    return true;
}

void delivery_site_assign(struct delivery_site *s)
{
    while (s->lane_count > 0 && !list_empty(&s->idle)) {
        struct delivery_task *t = delivery_site_take(s);
        if (t == NULL)
            return;
        s->d->counters.connections_idle--;
        delivery_smtp_give(container_of(list_pop_front(&s->idle), struct delivery_smtp, in_idle),
                           t);
    }
}

static void unstall(struct delivery_site *s, struct delivery_smtp *c)
{
    struct delivery_address *a = delivery_addresses_find(&s->addresses, &c->ip);

    if (c->stalled) {
        s->stalled--;
        if (a != NULL && a->stalled > 0)
            a->stalled--;
    }
    if (c->unanswered)
        s->unanswered--;
    c->stalled = c->unanswered = false;
}

static void attempt_over(struct delivery_site *s, struct delivery_smtp *c)
{
    ASSERT(c->attempting && s->attempts > 0);
    unstall(s, c);
    c->attempting = false;
    s->attempts--;
}

void delivery_site_login_refused(struct delivery_site *s)
{
    struct delivery_addresses *a = &s->addresses;

    if (s->standing > 0)
        return; /* others are in */
    s->login_refused = true;
    for (uint32_t i = 0; i < a->count; i++)
        a->items[i].failed_round = a->round;
}

/* While others stand, a refusal most likely means that we have enough of them. */
static void mark_failed(struct delivery_site *s, const struct delivery_smtp *c)
{
    struct delivery_address *a = delivery_addresses_find(&s->addresses, &c->ip);

    s->refused = s->standing > 0;
    if (s->refused)
        s->grow_from_ms = now_of(s) + DELIVERY_GROW_PAUSE_MS;
    if (a == NULL || (s->standing > 0 && a->connections > 1))
        return;
    a->failed_round = s->addresses.round;
    a->dead_until_ms = now_of(s) + DELIVERY_DEAD_MS;
}

bool delivery_site_avoid(struct delivery_site *s, const struct delivery_smtp *c)
{
    struct delivery_address *a = delivery_addresses_find(&s->addresses, &c->ip);

    if (a == NULL || s->addresses.count < 2)
        return false;
    a->dead_until_ms = now_of(s) + DELIVERY_SILENT_MS;
    return true;
}

/* Another address has won the race: those that have let us wait come later for a while. */
static void cut_stalled(struct delivery_site *s)
{
    LIST_EACH_SAFE(&s->connections, node)
    {
        struct delivery_smtp *c = container_of(node, struct delivery_smtp, in_site);
        struct delivery_address *a;

        if (!c->stalled || c->ended)
            continue;
        a = delivery_addresses_find(&s->addresses, &c->ip);
        if (a != NULL)
            a->dead_until_ms = now_of(s) + DELIVERY_SILENT_MS;
        delivery_smtp_cut(c);
    }
}

/* ---- what connections report -------------------------------------------------------------- */

bool delivery_site_connected(struct delivery_site *s, struct delivery_smtp *c)
{
    unstall(s, c);
    return s->connection_count - s->unanswered <= s->route->connections;
}

void delivery_site_stalled(struct delivery_site *s, struct delivery_smtp *c)
{
    struct delivery_address *a = delivery_addresses_find(&s->addresses, &c->ip);

    if (!c->attempting || c->stalled)
        return;
    c->stalled = true;
    s->stalled++;
    if (a != NULL)
        a->stalled++;
    c->unanswered = c->state == DELIVERY_SMTP_CONNECTING;
    s->unanswered += c->unanswered;
    delivery_site_step(s);
}

void delivery_site_greeted(struct delivery_site *s, struct delivery_smtp *c)
{
    struct delivery_address *a = delivery_addresses_find(&s->addresses, &c->ip);
    bool stepping = s->stepping;

    attempt_over(s, c);
    s->login_refused = s->refused = s->stuck = false;
    s->standing++;
    s->addresses.round++;
    if (a != NULL)
        a->dead_until_ms = 0;
    /* No step before it has taken its task: else another connection would be opened for that. */
    s->stepping = true;
    cut_stalled(s);
    s->stepping = stepping;
}

/* Sessions that begin well and then break, one after the other, are no better than refusals. */
static void session_lost(struct delivery_site *s, const struct delivery_smtp *c,
                         const struct delivery_reason *why)
{
    if (c->taken > 0 || ++s->lost_in_row < DELIVERY_LOST_MAX)
        return;
    s->grow_from_ms = now_of(s) + DELIVERY_GROW_PAUSE_MS;
    if (s->standing == 0 && s->state == DELIVERY_SITE_UP) {
        s->why = *why;
        delivery_site_go_down(s);
    }
}

/* Of what has failed since the last success, what may change outweighs what will not: the mail waits. */
static void note_reason(struct delivery_site *s, const struct delivery_reason *why)
{
    if (s->why_round == s->addresses.round && !s->why.permanent && why->permanent)
        return;
    s->why = *why;
    s->why_round = s->addresses.round;
}

void delivery_site_ended(struct delivery_site *s, struct delivery_smtp *c,
                         const struct delivery_reason *why)
{
    ASSERT(!c->ended);
    c->ended = true;
    if (!c->attempting)
        s->stuck = false;
    if (list_linked(&c->in_idle)) {
        list_remove(&c->in_idle);
        s->d->counters.connections_idle--;
    }
    if (c->attempting) {
        attempt_over(s, c);
        if (why != NULL) {
            s->d->counters.connections_failed++;
            note_reason(s, why);
            if (!c->retry) /* it is tried again at once, and asked for less */
                mark_failed(s, c);
        }
    } else {
        s->standing--;
        if (why != NULL)
            session_lost(s, c, why);
    }
    delivery_site_step(s);
}

void delivery_site_gone(struct delivery_site *s, struct delivery_smtp *c)
{
    struct delivery_address *a = delivery_addresses_find(&s->addresses, &c->ip);

    ASSERT(c->ended && s->connection_count > 0);
    list_remove(&c->in_site);
    s->connection_count--;
    if (a != NULL && a->connections > 0) /* it may have come back after having been forgotten */
        a->connections--;
}

void delivery_site_idle(struct delivery_site *s, struct delivery_smtp *c)
{
    list_push_front(&s->idle, &c->in_idle);
    s->d->counters.connections_idle++;
    delivery_site_step(s);
}

struct delivery_task *delivery_site_take(struct delivery_site *s)
{
    return s->d->stopping ? NULL : delivery_lane_take(s);
}

/* What was dead is likely not alone: the idle connections are of the same age. */
void delivery_site_put_back(struct delivery_site *s, struct delivery_task *t)
{
    bool stepping = s->stepping;

    s->stepping = true; /* the list of idle ones stands still */
    LIST_EACH_SAFE(&s->idle, node)
    delivery_smtp_leave(container_of(node, struct delivery_smtp, in_idle));
    s->stepping = stepping;
    if (s->d->stopping || s->retired) {
        delivery_task_postpone(s->d, t, 0,
                               s->d->stopping ? SLICE_LITERAL("shutting down")
                                              : SLICE_LITERAL("the configuration has changed"));
        return;
    }
    t->put_back = true;
    if (s->state == DELIVERY_SITE_DOWN) {
        delivery_site_end_task(s, t);
        return;
    }
    delivery_lane_push(s, t, true);
    delivery_site_step(s);
}
