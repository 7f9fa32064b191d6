/*
 * delivery_lane: the tasks that wait for a site, first in, first out, and the rate at which they may
 * leave.
 *
 * messages_per_minute is a token bucket that holds a second's worth (at least one message), so the rate
 * is even. A message costs a minute in milliseconds, and each millisecond brings messages_per_minute:
 * whole numbers, nothing is lost in rounding.
 */
#include "delivery_site_priv.h"

enum {
    MESSAGE_COST = 60000,
    WINDOW_MS = 10000,
    POSTPONE_MIN_MS = 1000,
    POSTPONE_MAX_MS = 5 * 60000,
    POSTPONE_GUESS_MS = 30000, /* nothing has left yet */
    LANE_MINUTES = 5,          /* no more than may leave in so long */
    LANE_MIN = 10,
};

static uint64_t tokens_max(const struct delivery_site *s)
{
    uint64_t second = s->route->messages_per_minute * 1000;

    return second > MESSAGE_COST ? second : MESSAGE_COST;
}

static uint64_t tokens_now(const struct delivery_site *s)
{
    uint64_t passed_ms = io_now_ms(s->d->o.io) - s->tokens_ms, max = tokens_max(s);

    /* An hour fills any bucket; more could overflow. */
    passed_ms = passed_ms < 3600000 ? passed_ms : 3600000;
    uint64_t tokens = s->tokens + passed_ms * s->route->messages_per_minute;
    return tokens < max ? tokens : max;
}

void delivery_lane_init(struct delivery_site *s)
{
    s->tokens_ms = s->window_ms = io_now_ms(s->d->o.io);
    s->tokens = tokens_max(s);
}

bool delivery_lane_may_take(const struct delivery_site *s, uint32_t count)
{
    uint64_t messages = count > s->callout_count ? count - s->callout_count : 0;

    return s->route->messages_per_minute == 0 || tokens_now(s) >= messages * MESSAGE_COST;
}

uint64_t delivery_lane_take_ms(const struct delivery_site *s)
{
    uint64_t tokens = tokens_now(s), rate = s->route->messages_per_minute;

    if (rate == 0 || tokens >= MESSAGE_COST || s->callout_count > 0)
        return 0;
    return io_now_ms(s->d->o.io) + (MESSAGE_COST - tokens + rate - 1) / rate;
}

bool delivery_lane_is_full(const struct delivery_site *s, const struct delivery_task *t)
{
    uint64_t max = DELIVERY_LANE_MAX, rate = s->route->messages_per_minute;

    if (t->probe != NULL)
        return s->callout_count >= DELIVERY_CALLOUTS_MAX;
    /* What waits here is out of its origin's queue: a slow site is not to fill that. */
    if (rate > 0 && rate * LANE_MINUTES < max)
        max = rate * LANE_MINUTES > LANE_MIN ? rate * LANE_MINUTES : LANE_MIN;
    return s->lane_count - s->callout_count >= max;
}

void delivery_lane_push(struct delivery_site *s, struct delivery_task *t, bool front)
{
    struct list *lane = t->probe != NULL ? &s->callouts : &s->lane;

    if (front)
        list_push_front(lane, &t->node);
    else
        list_push_back(lane, &t->node);
    s->callout_count += t->probe != NULL;
    s->lane_count++;
    s->d->counters.tasks_waiting++;
}

const struct delivery_task *delivery_lane_first(const struct delivery_site *s)
{
    const struct list *lane = s->callout_count > 0 ? &s->callouts : &s->lane;

    return list_empty(lane) ? NULL : container_of(lane->next, struct delivery_task, node);
}

struct delivery_task *delivery_lane_pop(struct delivery_site *s)
{
    bool callout = s->callout_count > 0;
    struct list *node = list_pop_front(callout ? &s->callouts : &s->lane);

    if (node == NULL)
        return NULL;
    ASSERT(s->lane_count > 0);
    s->callout_count -= callout;
    s->lane_count--;
    s->d->counters.tasks_waiting--;
    return container_of(node, struct delivery_task, node);
}

/* Tasks that left in the last full window. */
static void turn_window(struct delivery_site *s)
{
    uint64_t now_ms = io_now_ms(s->d->o.io);

    if (now_ms - s->window_ms < WINDOW_MS)
        return;
    s->rate = (uint32_t)((uint64_t)s->window_taken * WINDOW_MS / (now_ms - s->window_ms));
    s->window_taken = 0;
    s->window_ms = now_ms;
}

struct delivery_task *delivery_lane_take(struct delivery_site *s)
{
    if (s->lane_count == 0 || !delivery_lane_may_take(s, 1))
        return NULL;
    if (s->callout_count > 0)
        return delivery_lane_pop(s);
    if (s->route->messages_per_minute > 0) {
        s->tokens = tokens_now(s) - MESSAGE_COST;
        s->tokens_ms = io_now_ms(s->d->o.io);
    }
    turn_window(s);
    s->window_taken++;
    return delivery_lane_pop(s);
}

uint64_t delivery_lane_drain_ms(struct delivery_site *s)
{
    uint64_t ms = POSTPONE_GUESS_MS;
    uint32_t rate;

    turn_window(s);
    rate = s->rate > s->window_taken ? s->rate : s->window_taken;
    if (rate > 0) /* half of the lane: it is not to run dry before they come back */
        ms = (uint64_t)s->lane_count / 2 * WINDOW_MS / rate;
    /* Not all at once. */
    ms = ms / 2 + rand_below(&s->d->rand, ms + 1);
    ms = ms > POSTPONE_MIN_MS ? ms : POSTPONE_MIN_MS;
    return ms < POSTPONE_MAX_MS ? ms : POSTPONE_MAX_MS;
}

void delivery_lane_postpone(struct delivery_site *s, struct delivery_task *t, uint64_t ms)
{
    delivery_task_postpone(s->d, t, ms,
                           s->d->stopping ? SLICE_LITERAL("shutting down")
                           : s->retired   ? SLICE_LITERAL("the configuration has changed")
                                          : SLICE_LITERAL("Too many messages wait for this site"));
}
