/*
 * delivery_site_call: how what waits at the origins, in lots (queue_lot.h), comes to the site.
 *
 * A site has few tasks at a time: as many as it can take soon, and after it was down one, then two, four,
 * eight as they go well. Others go home, and are parked there. An origin whose lot has got its first entry
 * sends a call; it lies here until there is room, goes back with a number, and so many entries come. Then it
 * comes again, as long as something is left. So a busy site never waits for a timer, and there is at most
 * one call of each origin.
 *
 *     origin: lot filled -> call ----------> owner: lies in site->calls
 *             entries are ready <-- n ------ there is room
 *             what is left ----------------> lies there again, or is over
 *
 * A call for a site that is not there (it had nothing to do and was forgotten) is answered at once; if that
 * does not bring the site about, the call is answered again every second.
 *
 * What was called may not come: deleted, held, gone another way. It is not waited for for long, and each
 * time that nothing came twice as many are called.
 */
#include <stdio.h>

#include "base_mem.h"
#include "delivery_site_priv.h"
#include "queue_lot.h"

enum {
    EXPECT_MS = 5000,    /* for what was called */
    STUCK_MS = 10000,    /* nothing has left the lane for so long: it is no place to wait */
    NO_SITE_CALLS = 100, /* for a site that is not there: whoever comes first makes it */
    HOMELESS_MS = 1000,
    PERMANENT_CALLS = 256, /* they end at once */
};

static uint64_t now_of(const struct delivery_site *s)
{
    return io_now_ms(s->d->o.io);
}

/* ---- room ------------------------------------------------------------------------------------ */

/* Tasks that connections have. */
static uint32_t busy(const struct delivery_site *s)
{
    uint32_t count = 0;

    LIST_EACH(&s->connections, node)
    count += container_of(node, struct delivery_smtp, in_site)->task != NULL;
    return count;
}

static uint32_t ramp_room(const struct delivery_site *s)
{
    uint64_t have;

    if (s->ramp == DELIVERY_RAMP_OVER)
        return UINT32_MAX;
    have = (uint64_t)s->lane_count + s->expected + busy(s);
    return have < s->ramp ? (uint32_t)(s->ramp - have) : 0;
}

bool delivery_site_has_room(const struct delivery_site *s, const struct delivery_task *t)
{
    if (delivery_lane_is_full(s, t))
        return false;
    if (t->asked || t->probe != NULL)
        return true;
    return !s->stuck && ramp_room(s) > 0;
}

/* How many to call now. */
static uint32_t room(const struct delivery_site *s)
{
    uint32_t cap = delivery_lane_cap(s), have = s->lane_count + s->expected, ramp, n;

    if (s->state == DELIVERY_SITE_DOWN) {
        if (s->why.permanent && now_of(s) < s->down_until_ms)
            return s->expected < PERMANENT_CALLS ? PERMANENT_CALLS - s->expected : 0;
        return 0;
    }
    if (s->stuck)
        return 0;
    n = have < cap ? cap - have : 0;
    if (n < cap / 4 && s->lane_count > 0)
        n = 0; /* not one by one */
    ramp = ramp_room(s);
    if (ramp < n) {
        n = ramp;
        if (n > 0 && s->missed > 0) { /* nobody came */
            uint64_t more = (uint64_t)n << (s->missed < 16 ? s->missed : 16);
            n = more < DELIVERY_LANE_MAX ? (uint32_t)more : DELIVERY_LANE_MAX;
        }
    }
    return n;
}

void delivery_site_ramp_up(struct delivery_site *s)
{
    s->probes = 0;
    if (s->ramp == DELIVERY_RAMP_OVER)
        return;
    s->ramp++;
    if (s->ramp >= DELIVERY_LANE_MAX)
        s->ramp = DELIVERY_RAMP_OVER;
}

void delivery_site_park_full(struct delivery_site *s, struct delivery_task *t)
{
    struct slice host = s->addresses.host_count > 0 ? s->addresses.hosts[0].name : s->key;
    char text[DELIVERY_TEXT_MAX];

    if (t->probe != NULL) {
        delivery_task_postpone(s->d, t, 0, SLICE_LITERAL("Too many questions wait for this site"));
        return;
    }
    (void)snprintf(text, sizeof(text), "waits for %s %.*s",
                   s->route->messages_per_minute == 0 || s->stuck ? "a connection to"
                                                                  : "its turn at",
                   SLICE_ARG(slice_head(host, 256)));
    delivery_task_park(s->d, t, 0, 0, NULL, slice_str(text));
}

/* ---- calls at the owner ---------------------------------------------------------------------- */

static void send_call(struct delivery *d, struct delivery_call *call, unsigned shard)
{
    if (shard == d->o.shard)
        delivery_receive_call(d, call);
    else
        d->o.post_call(d->o.context, shard, call);
}

static void answer(struct delivery *d, struct delivery_call *call, uint32_t n)
{
    call->n = n;
    call->to_origin = true;
    send_call(d, call, call->origin);
}

void delivery_site_arrived(struct delivery_site *s)
{
    s->missed = 0;
    s->expected_ms = now_of(s);
    if (s->expected > 0)
        s->expected--;
}

/* What waits behind connections that do not move goes home, where it can be seen waiting, and held, or
 * deleted. What new connections are being opened for stays. */
static void send_home(struct delivery_site *s)
{
    uint32_t keep = s->attempts;
    struct delivery_task *t;

    if (s->stuck || s->lane_count == 0 || now_of(s) < s->moved_ms + STUCK_MS
        || !delivery_lane_may_take(s, 1))
        return;
    if (keep == 0 && s->connection_count - s->unanswered < s->route->connections)
        keep = 1;
    s->stuck = true;
    while (s->lane_count > keep && (t = delivery_lane_pop_last(s)) != NULL)
        delivery_site_park_full(s, t);
}

void delivery_site_call(struct delivery_site *s)
{
    send_home(s);
    if (s->lane_count == 0 && s->connection_count == 0)
        s->stuck = false;
    if (s->expected > 0 && now_of(s) >= s->expected_ms + EXPECT_MS) {
        s->expected = 0;
        s->missed++;
    }
    while (!list_empty(&s->calls)) {
        struct delivery_call *call;
        uint32_t n = room(s);
        if (n == 0)
            return;
        call = container_of(list_pop_front(&s->calls), struct delivery_call, node);
        if (s->expected == 0)
            s->expected_ms = now_of(s);
        s->expected += n;
        answer(s->d, call, n);
    }
}

uint64_t delivery_site_call_ms(const struct delivery_site *s)
{
    uint64_t due_ms = WHEEL_NEVER;

    if (s->expected > 0)
        due_ms = s->expected_ms + EXPECT_MS;
    if (s->lane_count > 0 && !s->stuck && s->moved_ms + STUCK_MS < due_ms
        && now_of(s) < s->moved_ms + STUCK_MS)
        due_ms = s->moved_ms + STUCK_MS;
    return due_ms;
}

void delivery_call_free(struct delivery_call *call)
{
    mem_free((void *)(uintptr_t)call->key.data);
    mem_free(call);
}

void delivery_site_calls_drop(struct delivery_site *s)
{
    struct list *node;

    while ((node = list_pop_front(&s->calls)) != NULL)
        delivery_call_free(container_of(node, struct delivery_call, node));
}

static bool lies_here(const struct delivery_site *s, unsigned origin)
{
    LIST_EACH(&s->calls, node)
    {
        if (container_of(node, struct delivery_call, node)->origin == origin)
            return true;
    }
    return false;
}

static void receive_at_owner(struct delivery *d, struct delivery_call *call);

static void homeless_due(struct wheel_timer *timer)
{
    struct delivery *d = container_of(timer, struct delivery, calls_timer);
    struct list calls;
    struct list *node;

    list_init(&calls);
    list_splice_back(&calls, &d->calls);
    while ((node = list_pop_front(&calls)) != NULL) {
        struct delivery_call *call = container_of(node, struct delivery_call, node);
        if (delivery_site_find(d, call->key) != NULL)
            receive_at_owner(d, call);
        else
            answer(d, call, NO_SITE_CALLS);
    }
}

void delivery_calls_init(struct delivery *d)
{
    list_init(&d->calls);
    wheel_timer_init(&d->calls_timer, homeless_due);
}

void delivery_calls_stop(struct delivery *d)
{
    struct list *node;

    wheel_cancel(d->o.wheel, &d->calls_timer);
    while ((node = list_pop_front(&d->calls)) != NULL)
        delivery_call_free(container_of(node, struct delivery_call, node));
}

static void receive_at_owner(struct delivery *d, struct delivery_call *call)
{
    struct delivery_site *s = delivery_site_find(d, call->key);
    uint32_t unused = call->n - call->used;
    bool first = call->n == 0;

    if (s != NULL) /* of those that it was sent for, so many will not come */
        s->expected -= unused < s->expected ? unused : s->expected;
    call->n = call->used = 0;
    if (call->left == 0 || d->stopping
        || (s != NULL && (s->retired || lies_here(s, call->origin)))) {
        delivery_call_free(call);
    } else if (s == NULL && first) {
        answer(d, call, NO_SITE_CALLS);
    } else if (s == NULL) {
        list_push_back(&d->calls, &call->node);
        if (!wheel_timer_is_set(&d->calls_timer))
            wheel_set(d->o.wheel, &d->calls_timer, io_now_ms(d->o.io) + HOMELESS_MS);
    } else {
        list_push_back(&s->calls, &call->node);
    }
    if (s != NULL)
        delivery_site_step(s);
}

/* ---- calls at the origin --------------------------------------------------------------------- */

void delivery_waiting(void *delivery, struct slice key)
{
    struct delivery *d = delivery;
    struct delivery_call *call;

    if (d->stopping || (d->o.post_call == NULL && delivery_task_owner(d, key) != d->o.shard))
        return;
    call = mem_zalloc(sizeof(*call));
    list_init(&call->node);
    call->origin = d->o.shard;
    call->key = slice_of(mem_dup(key.data, key.len), key.len);
    call->left = 1;
    send_call(d, call, delivery_task_owner(d, key));
}

static void receive_at_origin(struct delivery *d, struct delivery_call *call)
{
    ASSERT(call->origin == d->o.shard);
    call->used = d->stopping ? 0 : queue_call(d->o.queue, call->key, call->n, &call->left);
    if (d->stopping)
        call->left = 0;
    call->to_origin = false;
    send_call(d, call, delivery_task_owner(d, call->key));
}

void delivery_receive_call(struct delivery *d, struct delivery_call *call)
{
    if (call->to_origin)
        receive_at_origin(d, call);
    else
        receive_at_owner(d, call);
}
