/*
 * delivery_lane: the tasks that wait for a site's connections, how many may, and the rate at which they
 * leave.
 *
 * Two lines take turns: what is fresh, and what has waited before; within a line the higher priority goes
 * first. The lane is short: what leaves in a second or two, and enough for each connection. More waits at
 * the origins, in lots, and is called as there is room (delivery_site_call.c).
 *
 * messages_per_minute is a token bucket that holds a second's worth (at least one message), so the rate
 * is even. A message costs a minute in milliseconds, and each millisecond brings messages_per_minute:
 * whole numbers, nothing is lost in rounding.
 */
#include "delivery_site_priv.h"

enum {
    MESSAGE_COST = 60000,
    WINDOW_MS = 1000,
    LANE_MIN = 100,
    LANE_SECONDS = 2,       /* of what leaves */
    LANE_RATE_SECONDS = 10, /* where the rate is limited */
    FRESH_TURNS = 4,        /* of five, while both lines have something */
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
    s->moved_ms = s->tokens_ms;
    for (int i = 0; i < DELIVERY_LINES; i++)
        list_init(&s->lines[i].tasks);
}

bool delivery_lane_may_take(const struct delivery_site *s, uint32_t count)
{
    uint64_t messages = count > s->lines[DELIVERY_LINE_CALLOUTS].count
                            ? count - s->lines[DELIVERY_LINE_CALLOUTS].count
                            : 0;

    return s->route->messages_per_minute == 0 || tokens_now(s) >= messages * MESSAGE_COST;
}

uint64_t delivery_lane_take_ms(const struct delivery_site *s)
{
    uint64_t tokens = tokens_now(s), rate = s->route->messages_per_minute;

    if (rate == 0 || tokens >= MESSAGE_COST || s->lines[DELIVERY_LINE_CALLOUTS].count > 0)
        return 0;
    return io_now_ms(s->d->o.io) + (MESSAGE_COST - tokens + rate - 1) / rate;
}

/* ---- how many -------------------------------------------------------------------------------- */

uint32_t delivery_lane_cap(const struct delivery_site *s)
{
    uint64_t rate = s->rate > s->window_taken ? s->rate : s->window_taken;
    uint64_t cap = rate * LANE_SECONDS, limit = s->route->messages_per_minute;
    uint64_t min = s->route->connections * 2;

    min = min > LANE_MIN ? min : LANE_MIN;
    cap = cap > min ? cap : min;
    if (limit
        > 0) { /* what waits here is out of its origin's queue: a slow site is not to fill that */
        uint64_t soon = limit * LANE_RATE_SECONDS / 60 + 2;
        cap = cap < soon ? cap : soon;
    }
    return cap < DELIVERY_LANE_MAX ? (uint32_t)cap : DELIVERY_LANE_MAX;
}

static unsigned line_of(const struct delivery_task *t)
{
    if (t->probe != NULL)
        return DELIVERY_LINE_CALLOUTS;
    return t->fresh ? DELIVERY_LINE_FRESH : DELIVERY_LINE_OLD;
}

bool delivery_lane_is_full(const struct delivery_site *s, const struct delivery_task *t)
{
    unsigned line = line_of(t);

    if (line == DELIVERY_LINE_CALLOUTS)
        return s->lines[line].count >= DELIVERY_CALLOUTS_MAX;
    return s->lines[line].count >= (t->asked ? DELIVERY_LANE_MAX : delivery_lane_cap(s));
}

/* ---- in and out ------------------------------------------------------------------------------ */

static struct delivery_task *of_node(struct list *node)
{
    return container_of(node, struct delivery_task, node);
}

void delivery_lane_push(struct delivery_site *s, struct delivery_task *t, bool front)
{
    struct delivery_line *line = &s->lines[line_of(t)];
    struct list *where = line->tasks.prev;

    if (s->lane_count == 0)
        s->moved_ms = io_now_ms(s->d->o.io);
    if (front)
        where = &line->tasks;
    else /* the line is short, and mostly there is one priority */
        while (where != &line->tasks && of_node(where)->priority < t->priority)
            where = where->prev;
    list_insert_after(where, &t->node);
    line->count++;
    s->lane_count++;
    s->d->counters.tasks_waiting++;
}

static unsigned next_line(const struct delivery_site *s)
{
    bool fresh = s->lines[DELIVERY_LINE_FRESH].count > 0;
    bool old = s->lines[DELIVERY_LINE_OLD].count > 0;

    if (s->lines[DELIVERY_LINE_CALLOUTS].count > 0)
        return DELIVERY_LINE_CALLOUTS;
    if (fresh && old)
        fresh = s->turn % (FRESH_TURNS + 1) < FRESH_TURNS;
    return fresh ? DELIVERY_LINE_FRESH : DELIVERY_LINE_OLD;
}

static struct delivery_task *take_off(struct delivery_site *s, struct delivery_line *line,
                                      struct list *node)
{
    ASSERT(line->count > 0 && s->lane_count > 0);
    list_remove(node);
    line->count--;
    s->lane_count--;
    s->d->counters.tasks_waiting--;
    return of_node(node);
}

const struct delivery_task *delivery_lane_first(const struct delivery_site *s)
{
    const struct delivery_line *line = &s->lines[next_line(s)];

    return line->count > 0 ? of_node(line->tasks.next) : NULL;
}

struct delivery_task *delivery_lane_pop(struct delivery_site *s)
{
    struct delivery_line *line = &s->lines[next_line(s)];

    return line->count > 0 ? take_off(s, line, line->tasks.next) : NULL;
}

struct delivery_task *delivery_lane_pop_last(struct delivery_site *s)
{
    struct delivery_line *line = &s->lines[DELIVERY_LINE_OLD];

    if (line->count == 0)
        line = &s->lines[DELIVERY_LINE_FRESH];
    return line->count > 0 ? take_off(s, line, line->tasks.prev) : NULL;
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
    struct delivery_task *t;

    if (s->lane_count == 0 || !delivery_lane_may_take(s, 1))
        return NULL;
    if (s->lines[DELIVERY_LINE_CALLOUTS].count > 0)
        return delivery_lane_pop(s);
    if (s->route->messages_per_minute > 0) {
        s->tokens = tokens_now(s) - MESSAGE_COST;
        s->tokens_ms = io_now_ms(s->d->o.io);
    }
    turn_window(s);
    s->window_taken++;
    s->moved_ms = io_now_ms(s->d->o.io);
    s->stuck = false;
    t = delivery_lane_pop(s);
    s->turn++;
    return t;
}
