/*
 * delivery_site: the tasks that wait for one site, and how many connections it gets.
 *
 *          a task comes              an address is known
 *     NEW ------------> ASKING -------------------------> UP ---+
 *      ^                  |  ^------- addresses are old --+     | no address takes a connection
 *      |                  | none                                v
 *      +------------------+-----------------------------------> DOWN until the back-off is over
 *
 * Every attempt to connect is paid for: by a success, by an address that is not tried again in this
 * round, or by the site's back-off; a round ends with a success or with the back-off. So a site that
 * refuses us is never asked in a circle. Going down ends all waiting tasks, and while it lasts new ones
 * end at once.
 */
#include "base_log.h"
#include "base_mem.h"
#include "delivery_site_priv.h"

enum { ASKED_MS = 1000 }; /* he may ask for a hundred thousand messages at once */

static void site_timer(struct wheel_timer *timer)
{
    delivery_site_step(container_of(timer, struct delivery_site, timer));
}

static void addresses_changed(struct delivery_addresses *a)
{
    delivery_site_step(container_of(a, struct delivery_site, addresses));
}

static void host_refused(struct delivery_addresses *a, const struct delivery_host *host,
                         enum delivery_tlsa tlsa, const struct delivery_reason *why)
{
    struct delivery_site *s = container_of(a, struct delivery_site, addresses);
    const struct delivery_task *t = delivery_site_waiting(s);

    (void)why;
    /* The domain may name other hosts by now (RFC 8461 5.1). */
    if (s->policy != NULL && t != NULL && s->d->o.sts != NULL)
        sts_doubt(s->d->o.sts, t->domain);
    delivery_tls_report_refused(s, host, tlsa);
}

static uint64_t now_of(const struct delivery_site *s)
{
    return io_now_ms(s->d->o.io);
}

/* ---- the table ---------------------------------------------------------------------------- */

static bool has_key(const struct hash_node *node, const void *key)
{
    const struct delivery_site *s =
        container_of((void *)(uintptr_t)node, struct delivery_site, by_key);

    return slice_equal(s->key, *(const struct slice *)key);
}

static struct delivery_site *site_create(struct delivery *d, const struct delivery_task *t,
                                         uint64_t hash)
{
    struct delivery_site *s = pool_get(&d->site_pool);

    s->d = d;
    s->key = slice_of(mem_dup(t->site.data, t->site.len), t->site.len);
    s->conf = conf_ref(t->conf);
    s->route = t->route;
    s->ramp = DELIVERY_RAMP_OVER;
    list_init(&s->calls);
    list_init(&s->connections);
    list_init(&s->idle);
    wheel_timer_init(&s->timer, site_timer);
    if (t->to[t->to_next].kind == CONF_TO_MX && t->sts != NULL)
        s->policy = sts_policy_copy(t->sts);
    delivery_addresses_init(&s->addresses, d, s->key, s->route, s->policy, addresses_changed);
    s->addresses.told = host_refused;
    delivery_lane_init(s);
    hash_table_insert(&d->sites, &s->by_key, hash);
    d->site_count++;
    return s;
}

struct delivery_site *delivery_site_find(const struct delivery *d, struct slice key)
{
    struct hash_node *node = hash_table_find(&d->sites, hash_bytes(key), has_key, &key);

    return node != NULL ? container_of(node, struct delivery_site, by_key) : NULL;
}

static struct delivery_site *site_get(struct delivery *d, const struct delivery_task *t)
{
    struct delivery_site *s = delivery_site_find(d, t->site);

    return s != NULL ? s : site_create(d, t, hash_bytes(t->site));
}

static void site_free(struct delivery_site *s)
{
    struct delivery *d = s->d;

    ASSERT(s->lane_count == 0 && s->connection_count == 0);
    wheel_cancel(d->o.wheel, &s->timer);
    delivery_site_calls_drop(s);
    hash_table_remove(&d->sites, &s->by_key);
    delivery_addresses_finish(&s->addresses);
    mem_free((void *)(uintptr_t)s->key.data);
    mem_free(s->policy);
    conf_free(s->conf);
    pool_put(&d->site_pool, s);
    d->site_count--;
}

/* ---- down and up -------------------------------------------------------------------------- */

static void log_site(const struct delivery_site *s, const char *event, const char *reason,
                     uint64_t tasks, uint64_t pause_ms)
{
    struct log_record r;

    log_begin(&r, LOG_NOTICE, event);
    log_slice(&r, "site", s->key);
    if (reason != NULL) {
        log_str(&r, "reason", reason);
        log_u64(&r, "tasks", tasks);
        log_u64(&r, "pause_ms", pause_ms);
    }
    log_end(&r);
}

void delivery_site_end_task(struct delivery_site *s, struct delivery_task *t)
{
    const struct delivery_reason *why = &s->why;
    uint64_t now_ms = now_of(s);

    if (t->to_next + 1 < t->to_count || (t->probe != NULL && !why->permanent)) {
        delivery_task_unreachable(s->d, t, why->code, why->enhanced, slice_str(why->text));
    } else if (why->permanent) {
        delivery_task_set_all(t, DELIVERY_FAILED, why->code, why->enhanced, slice_str(why->text));
        delivery_task_finish(s->d, t);
    } else {
        delivery_task_park(s->d, t, s->down_until_ms > now_ms ? s->down_until_ms - now_ms : 1,
                           why->code, why->enhanced, slice_str(why->text));
    }
}

static const struct conf_retry *retry_of(const struct delivery_site *s)
{
    return s->route->retry.intervals.count > 0 ? &s->route->retry : &s->conf->retry;
}

/* Until the next probe. One connection now and then costs nobody anything, so it begins with half a minute
 * and ends with five, and is never longer than the route's own intervals. Wrong passwords are counted by
 * whoever hears them: for those it is the intervals themselves. */
static uint64_t backoff_ms(struct delivery_site *s)
{
    const struct conf_durations *intervals = &retry_of(s)->intervals;
    uint32_t k = s->probes < intervals->count ? s->probes : (uint32_t)intervals->count - 1;
    uint64_t ms = intervals->items[k], growing, jitter_ms;

    growing = (uint64_t)DELIVERY_PROBE_MIN_MS << (s->probes < 8 ? s->probes : 8);
    growing = growing < DELIVERY_PROBE_MAX_MS ? growing : DELIVERY_PROBE_MAX_MS;
    if (!s->login_refused && ms > growing)
        ms = growing;
    jitter_ms = ms * retry_of(s)->jitter / 100;
    ms = ms - jitter_ms + (jitter_ms > 0 ? rand_below(&s->d->rand, 2 * jitter_ms + 1) : 0);
    return ms > 0 ? ms : 1;
}

void delivery_site_go_down(struct delivery_site *s)
{
    uint64_t pause_ms = backoff_ms(s);
    struct delivery_task *t;
    struct list ended;

    log_site(s, "site-down", s->why.text, s->lane_count, pause_ms);
    s->state = DELIVERY_SITE_DOWN;
    s->down_until_ms = now_of(s) + pause_ms;
    s->was_down = true;
    s->ramp = 1;
    s->probes++;
    s->stuck = false;
    s->lost_in_row = 0;
    s->addresses.round++;
    list_init(&ended);
    while ((t = delivery_lane_pop(s)) != NULL)
        list_push_back(&ended, &t->node);
    while (!list_empty(&ended))
        delivery_site_end_task(s, container_of(list_pop_front(&ended), struct delivery_task, node));
}

void delivery_site_worked(struct delivery_site *s)
{
    s->lost_in_row = 0;
    delivery_site_ramp_up(s);
    if (s->was_down)
        log_site(s, "site-up", NULL, 0, 0);
    s->was_down = false;
}

/* ---- the step ----------------------------------------------------------------------------- */

static enum delivery_step step_new(struct delivery_site *s)
{
    if (s->lane_count == 0)
        return DELIVERY_STEP_WAIT;
    s->state = DELIVERY_SITE_ASKING;
    delivery_addresses_ask(&s->addresses);
    return DELIVERY_STEP_AGAIN;
}

static enum delivery_step step_asking(struct delivery_site *s)
{
    struct delivery_addresses *a = &s->addresses;

    if (a->open > 0 && (a->count == 0 || now_of(s) < a->asked_ms + DELIVERY_RACE_CONNECT_MS))
        return DELIVERY_STEP_WAIT;
    if (a->count > 0) {
        s->state = DELIVERY_SITE_UP;
        return DELIVERY_STEP_AGAIN;
    }
    delivery_addresses_explain(a, &s->why);
    delivery_site_go_down(s);
    return DELIVERY_STEP_AGAIN;
}

static enum delivery_step step_up(struct delivery_site *s)
{
    struct delivery_addresses *addresses = &s->addresses;

    while (s->state == DELIVERY_SITE_UP && delivery_site_may_open(s)) {
        if (s->attempts == 0 && addresses->open == 0
            && now_of(s) >= addresses->asked_ms + DELIVERY_ADDRESS_AGE_MS) {
            s->state = DELIVERY_SITE_ASKING;
            delivery_addresses_ask(addresses);
            return DELIVERY_STEP_AGAIN;
        }
        if (delivery_site_open(s))
            continue;
        if (s->attempts > 0 || s->standing > 0 || addresses->open > 0)
            return DELIVERY_STEP_WAIT;
        delivery_site_go_down(s);
    }
    return DELIVERY_STEP_WAIT;
}

static enum delivery_step step_down(struct delivery_site *s)
{
    if (now_of(s) < s->down_until_ms)
        return DELIVERY_STEP_WAIT;
    s->state = DELIVERY_SITE_NEW;
    return DELIVERY_STEP_AGAIN;
}

static enum delivery_step step_once(struct delivery_site *s)
{
    switch ((enum delivery_site_state)s->state) {
    case DELIVERY_SITE_NEW: return step_new(s);
    case DELIVERY_SITE_ASKING: return step_asking(s);
    case DELIVERY_SITE_UP: return step_up(s);
    case DELIVERY_SITE_DOWN: return step_down(s);
    }
    UNREACHABLE();
}

/* When to look again if nothing else happens; WHEEL_NEVER: not at all; 0: it may be freed. */
static uint64_t next_look_ms(struct delivery_site *s)
{
    uint64_t now_ms = now_of(s), due_ms = WHEEL_NEVER;

    if (s->lane_count == 0 && s->connection_count == 0) {
        if (s->d->stopping || s->retired)
            return 0;
        if (s->state == DELIVERY_SITE_DOWN)
            return s->down_until_ms;
        if (s->expected > 0) /* somebody waits for us, and we for whom we called */
            return delivery_site_call_ms(s);
        ASSERT(list_empty(&s->calls)); /* there was room */
        if (s->used_ms + DELIVERY_LINGER_MS > now_ms
            && (s->was_down || delivery_addresses_any_dead(&s->addresses)))
            return s->used_ms + DELIVERY_LINGER_MS;
        return 0;
    }
    switch ((enum delivery_site_state)s->state) {
    case DELIVERY_SITE_DOWN: return s->down_until_ms;
    case DELIVERY_SITE_ASKING:
        due_ms =
            s->addresses.count > 0 ? s->addresses.asked_ms + DELIVERY_RACE_CONNECT_MS : WHEEL_NEVER;
        break;
    case DELIVERY_SITE_NEW:
    case DELIVERY_SITE_UP: break;
    }
    if (s->lane_count > 0) {
        uint64_t take_ms = delivery_lane_take_ms(s);
        if (take_ms > now_ms && take_ms < due_ms)
            due_ms = take_ms;
        if (s->standing > 0 && s->grow_from_ms > now_ms && s->grow_from_ms < due_ms)
            due_ms = s->grow_from_ms;
    }
    return delivery_site_call_ms(s) < due_ms ? delivery_site_call_ms(s) : due_ms;
}

void delivery_site_step(struct delivery_site *s)
{
    uint64_t due_ms;

    if (s->stepping) {
        s->again = true;
        return;
    }
    s->stepping = true;
    do {
        s->again = false;
        delivery_site_assign(s);
        while (step_once(s) == DELIVERY_STEP_AGAIN)
            continue;
        delivery_site_call(s);
    } while (s->again);
    s->stepping = false;
    if (s->lane_count > 0 || s->connection_count > 0)
        s->used_ms = now_of(s);
    due_ms = next_look_ms(s);
    if (due_ms == 0)
        site_free(s);
    else if (due_ms == WHEEL_NEVER)
        wheel_cancel(s->d->o.wheel, &s->timer);
    else
        wheel_set(s->d->o.wheel, &s->timer, due_ms);
}

/* ---- from above --------------------------------------------------------------------------- */

struct delivery *delivery_site_delivery(const struct delivery_site *s)
{
    return s->d;
}

const struct conf_route *delivery_site_route(const struct delivery_site *s)
{
    return s->route;
}

const struct delivery_task *delivery_site_waiting(const struct delivery_site *s)
{
    return delivery_lane_first(s);
}

uint16_t delivery_site_port(const struct delivery_site *s)
{
    return s->addresses.port;
}

const struct delivery_addresses *delivery_site_addresses(const struct delivery_site *s)
{
    return &s->addresses;
}

bool delivery_site_has_login(const struct delivery_site *s)
{
    return s->addresses.login;
}

void delivery_site_submit(struct delivery *d, struct delivery_task *t)
{
    struct delivery_site *s = site_get(d, t);

    ASSERT(!s->retired);
    if (t->called)
        delivery_site_arrived(s);
    if (s->state == DELIVERY_SITE_DOWN && t->asked && now_of(s) >= s->asked_ms + ASKED_MS) {
        s->asked_ms = s->down_until_ms = now_of(s); /* the operator may know that it works again */
    }
    if (s->state == DELIVERY_SITE_DOWN && now_of(s) < s->down_until_ms) {
        t->untried = t->to_next + 1 >= t->to_count;
        delivery_site_end_task(s, t);
        return;
    }
    if (!delivery_site_has_room(s, t)) {
        delivery_site_park_full(s, t);
        return;
    }
    delivery_lane_push(s, t, false);
    delivery_site_step(s);
}

/* Home, untried; to be routed anew. */
static void postpone(struct delivery_site *s, struct delivery_task *t)
{
    delivery_task_postpone(s->d, t, 0,
                           s->d->stopping ? SLICE_LITERAL("shutting down")
                                          : SLICE_LITERAL("the configuration has changed"));
}

/* What waits goes home, what runs ends; then it goes. */
static void empty_site(struct delivery_site *s)
{
    struct delivery_task *t;

    s->stepping = true; /* it may be freed at the end, not in between */
    delivery_site_calls_drop(s);
    while ((t = delivery_lane_pop(s)) != NULL)
        postpone(s, t);
    LIST_EACH_SAFE(&s->connections, c)
    delivery_smtp_leave(container_of(c, struct delivery_smtp, in_site));
    s->stepping = false;
    if (s->state == DELIVERY_SITE_ASKING)
        s->state = DELIVERY_SITE_NEW;
    delivery_site_step(s);
}

static bool stop_site(struct hash_node *node, void *context)
{
    (void)context;
    empty_site(container_of(node, struct delivery_site, by_key));
    return true;
}

/* A peer that takes its time keeps a connection of ours, but not as many as there are reloads. What comes
 * after the final dot is waited for: who hangs up there gets the message twice. */
static void cut_oldest(struct delivery_site *s)
{
    if (s->conf->generation + DELIVERY_GENERATIONS > s->d->o.conf->generation)
        return;
    s->stepping = true;
    LIST_EACH_SAFE(&s->connections, node)
    {
        struct delivery_smtp *c = container_of(node, struct delivery_smtp, in_site);

        if (c->smtp.stage != SMTP_STAGE_DOT)
            delivery_smtp_cut(c);
    }
    s->stepping = false;
}

static bool retire_site(struct hash_node *node, void *context)
{
    struct delivery_site *s = container_of(node, struct delivery_site, by_key);

    (void)context;
    if (s->conf->generation >= s->d->o.conf->generation)
        return true; /* nothing has changed, or another shard was ahead of us */
    s->retired = true;
    cut_oldest(s);
    empty_site(s);
    return true;
}

static bool abort_site(struct hash_node *node, void *context)
{
    struct delivery_site *s = container_of(node, struct delivery_site, by_key);

    (void)context;
    LIST_EACH_SAFE(&s->connections, c)
    delivery_smtp_cut(container_of(c, struct delivery_smtp, in_site));
    return true;
}

void delivery_sites_stop(struct delivery *d)
{
    ASSERT(d->stopping);
    hash_table_each(&d->sites, stop_site, NULL);
}

void delivery_sites_retire(struct delivery *d)
{
    hash_table_each(&d->sites, retire_site, NULL);
}

void delivery_sites_abort(struct delivery *d)
{
    hash_table_each(&d->sites, abort_site, NULL);
}

void delivery_sites_init(struct delivery *d)
{
    hash_table_init(&d->sites);
    pool_init(&d->site_pool, "sites", sizeof(struct delivery_site), 0);
    pool_init(&d->connections, "connections", sizeof(struct delivery_smtp), 0);
    delivery_tls_memory_init(&d->tls_memory);
}

static bool discard_site(struct hash_node *node, void *context)
{
    struct delivery_site *s = container_of(node, struct delivery_site, by_key);
    struct delivery_task *t;

    (void)context;
    while ((t = delivery_lane_pop(s)) != NULL)
        delivery_task_free(t);
    LIST_EACH_SAFE(&s->connections, c)
    delivery_smtp_discard(container_of(c, struct delivery_smtp, in_site));
    s->connection_count = 0;
    site_free(s);
    return true;
}

void delivery_sites_discard(struct delivery *d)
{
    hash_table_each(&d->sites, discard_site, NULL);
}

void delivery_sites_finish(struct delivery *d)
{
    ASSERT(d->site_count == 0);
    hash_table_finish(&d->sites);
    pool_finish(&d->connections);
    delivery_tls_memory_finish(&d->tls_memory);
    pool_finish(&d->site_pool);
}
