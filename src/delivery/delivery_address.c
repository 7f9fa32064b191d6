/*
 * delivery_address: a site's hosts, read from its key, their addresses, and which of these is to be
 * tried next.
 *
 * An address counts once its host has a plan (delivery_tls_host.c): before, nobody knows what is to be said
 * there.
 *
 * The order is that of RFC 5321 5.1: by preference; hosts of equal preference are shuffled with each
 * look-up. An address that has failed comes after all others for a while; within a round (see
 * delivery_site.c) it is not tried twice. (A socket in the file system has one address, which is nothing.)
 */
#include <stdarg.h>
#include <stdio.h>

#include "base_log.h"
#include "base_mem.h"
#include "delivery_remote_priv.h"

void delivery_reason_set(struct delivery_reason *r, unsigned subject, unsigned detail,
                         const char *format, ...)
{
    va_list args;

    *r = (struct delivery_reason){.enhanced = {4, (uint16_t)subject, (uint16_t)detail}};
    va_start(args, format);
    (void)vsnprintf(r->text, sizeof(r->text), format, args); /* cut where it is too long */
    va_end(args);
}

/* ---- the key ------------------------------------------------------------------------------ */

static struct slice next_word(struct slice *rest)
{
    ptrdiff_t blank = slice_find(*rest, ' ');
    struct slice word = slice_head(*rest, blank < 0 ? rest->len : (size_t)blank);

    slice_advance(rest, word.len + (blank < 0 ? 0 : 1));
    return word;
}

static uint16_t number_of(struct slice word)
{
    uint64_t value = 0;
    bool ok = slice_to_u64(word, &value);

    ASSERT(ok && value <= UINT16_MAX); /* the key is our own */
    return (uint16_t)value;
}

static void add_host(struct delivery_addresses *a, uint16_t preference, struct slice name)
{
    struct ip_addr ip;

    ASSERT(a->host_count < DELIVERY_HOSTS_MAX);
    a->hosts[a->host_count++] = (struct delivery_host){
        .preference = preference,
        .name = name,
        .is_ip = ip_parse(name, &ip), /* in an MX record a mistake, but a plain one */
    };
}

static bool is_of_route(const struct delivery_addresses *a, const struct conf_route *route)
{
    for (size_t i = 0; i < route->to.count && !a->by_mx; i++) {
        const struct conf_destination *to = &route->to.items[i];

        if (to->kind == (a->lmtp ? CONF_TO_LMTP : CONF_TO_SMTP) && to->port == a->port
            && slice_equal_nocase(to->host, a->hosts[0].name))
            return true;
    }
    return false;
}

void delivery_addresses_init(struct delivery_addresses *a, struct delivery *d, struct slice key,
                             const struct conf_route *route, const struct sts_policy *policy,
                             void (*changed)(struct delivery_addresses *a))
{
    struct slice rest = key, kind = next_word(&rest);
    struct delivery_host hosts[DELIVERY_HOSTS_MAX];

    *a = (struct delivery_addresses){.d = d, .changed = changed, .hosts = hosts, .round = 1};
    (void)next_word(&rest); /* the route */
    a->demand = delivery_demand_parse(next_word(&rest));
    a->mode = delivery_demand_mode(&a->demand, route);
    a->implicit = route->tls_implicit;
    a->policy = policy;
    ASSERT((policy != NULL) == (a->demand.policy != 0));
    a->by_mx = slice_equal(kind, SLICE_LITERAL("mx"));
    a->on_socket = slice_equal(kind, SLICE_LITERAL("unix"));
    a->lmtp = a->on_socket || slice_equal(kind, SLICE_LITERAL("lmtp"));
    a->port = 25;
    if (a->on_socket) {
        add_host(a, 0, rest);
        rest = SLICE_NULL;
        a->port = 0;
        a->hosts[0].is_ip = true; /* nothing is to be asked */
    } else if (a->by_mx) {
        while (rest.len > 0) {
            struct slice word = next_word(&rest);
            ptrdiff_t colon = slice_find(word, ':');
            ASSERT(colon > 0);
            uint16_t preference = number_of(slice_head(word, (size_t)colon));
            slice_advance(&word, (size_t)colon + 1);
            add_host(a, preference, word);
        }
    } else {
        add_host(a, 0, next_word(&rest));
        a->port = number_of(next_word(&rest));
    }
    ASSERT(a->host_count > 0 && rest.len == 0);
    a->hosts = mem_dup(hosts, a->host_count * sizeof(*hosts));
    for (uint32_t i = 0; i < a->host_count; i++)
        a->hosts[i].addresses = a;
    if (a->on_socket) {
        a->mode = CONF_ROUTE_TLS_NONE;
        a->implicit = false;
        return;
    }
    a->login = route->auth.user.len > 0 && is_of_route(a, route);
    if (a->login)
        a->mode = route->tls; /* whose password it is decides, not who sends a message */
}

static void close_queries(struct delivery_addresses *a)
{
    for (uint32_t i = 0; i < a->host_count; i++) {
        delivery_tls_host_finish(&a->hosts[i]);
        if (a->hosts[i].open)
            dns_query_finish(&a->hosts[i].query);
        a->hosts[i].open = false;
    }
    a->open = 0;
}

void delivery_addresses_finish(struct delivery_addresses *a)
{
    close_queries(a);
    for (uint32_t i = 0; i < a->host_count; i++)
        delivery_plan_drop(a->hosts[i].plan);
    mem_free(a->refused);
    mem_free(a->hosts);
    mem_free(a->items);
    mem_free(a->old);
}

/* ---- asking ------------------------------------------------------------------------------- */

/* Nothing can listen there but ourselves. */
static bool is_usable(const struct ip_addr *ip)
{
    static const struct ip_addr none6 = {{0}};
    static const struct ip_addr none4 = {{[10] = 0xff, [11] = 0xff}};

    return memcmp(ip, &none6, sizeof(none6)) != 0 && memcmp(ip, &none4, sizeof(none4)) != 0;
}

static struct delivery_address *find_in(struct delivery_address *items, uint32_t count,
                                        const struct ip_addr *ip)
{
    for (uint32_t i = 0; i < count; i++) {
        if (memcmp(&items[i].ip, ip, sizeof(*ip)) == 0)
            return &items[i];
    }
    return NULL;
}

struct delivery_address *delivery_addresses_find(struct delivery_addresses *a,
                                                 const struct ip_addr *ip)
{
    struct delivery_address *found = find_in(a->items, a->count, ip);

    return found != NULL ? found : find_in(a->old, a->old_count, ip);
}

/* Appends a host's address; what was known about it is kept. */
static void add_address(struct delivery_addresses *a, const struct delivery_host *host,
                        const struct ip_addr *ip, struct delivery_address *items, uint32_t *count)
{
    const struct delivery_address *known = delivery_addresses_find(a, ip);

    if (*count == DELIVERY_ADDRESSES_MAX || find_in(items, *count, ip) != NULL)
        return;
    if (!a->on_socket && !is_usable(ip))
        return;
    items[*count] = known != NULL ? *known : (struct delivery_address){.ip = *ip};
    items[*count].host = host->name;
    items[*count].preference = host->preference;
    (*count)++;
}

/* The list anew, from all answers so far. */
static void rebuild(struct delivery_addresses *a)
{
    struct delivery_address items[DELIVERY_ADDRESSES_MAX];
    uint32_t count = 0;

    for (uint32_t h = 0; h < a->host_count; h++) {
        const struct delivery_host *host = &a->hosts[h];
        struct ip_addr ip = {{0}};
        if (!host->decided || host->plan == NULL)
            continue;
        if (host->is_ip && (a->on_socket || ip_parse(host->name, &ip)))
            add_address(a, host, &ip, items, &count);
        if (!host->open || !host->answered || host->status != DNS_OK)
            continue;
        for (uint32_t i = 0; i < host->query.answer->address_count; i++)
            add_address(a, host, &host->query.answer->addresses[i], items, &count);
    }
    mem_free(a->items);
    a->items = count > 0 ? mem_dup(items, count * sizeof(*items)) : NULL;
    a->count = count;
}

static struct delivery_host *find_host(const struct delivery_addresses *a, struct slice name)
{
    for (uint32_t h = 0; h < a->host_count; h++) {
        if (slice_equal(a->hosts[h].name, name))
            return &a->hosts[h];
    }
    return NULL;
}

/* All have answered. An address that worked is better than none: without new ones the old ones stay, of
 * hosts that could not be asked. (Of their plans too: those were made of validated answers.) */
static void settle(struct delivery_addresses *a)
{
    close_queries(a);
    for (uint32_t i = 0; i < a->old_count && (a->count == 0 || a->items == a->old); i++) {
        const struct delivery_host *host = find_host(a, a->old[i].host);
        if (host == NULL || host->status != DNS_TEMPORARY || host->plan == NULL)
            continue;
        a->items = a->old;
        a->old[a->count++] = a->old[i];
    }
    if (a->items != a->old)
        mem_free(a->old);
    a->old = NULL;
    a->old_count = 0;
}

struct delivery_plan *delivery_addresses_plan(const struct delivery_addresses *a, struct slice host)
{
    const struct delivery_host *found = find_host(a, host);

    return found != NULL ? found->plan : NULL;
}

void delivery_addresses_refused(struct delivery_host *host, enum delivery_tlsa tlsa,
                                const struct delivery_reason *why)
{
    struct delivery_addresses *a = host->addresses;
    struct log_record r;

    a->d->counters.tls_refused++;
    if (a->refused == NULL)
        a->refused = mem_dup(why, sizeof(*why));
    else if (a->refused->permanent || !why->permanent)
        *a->refused = *why; /* what may change outweighs what will not */
    log_begin(&r, LOG_INFO, "tls-refused");
    log_slice(&r, "host", host->name);
    log_str(&r, "reason", why->text);
    log_end(&r);
    if (a->told != NULL)
        a->told(a, host, tlsa);
}

void delivery_addresses_decided(struct delivery_host *host)
{
    struct delivery_addresses *a = host->addresses;

    ASSERT(a->open > 0 && host->decided);
    a->open--;
    rebuild(a);
    if (a->open == 0)
        settle(a);
    a->changed(a);
}

static void host_answered(struct dns_query *q)
{
    struct delivery_host *host = container_of(q, struct delivery_host, query);

    host->answered = true;
    host->status = q->status;
    if (q->status != DNS_OK)
        host->decided = true; /* nothing to make a plan for */
    else if (!delivery_tls_host_begin(host))
        return;
    delivery_addresses_decided(host);
}

/* Hosts are sorted by preference, so equal ones are neighbours. No query is open. */
static void shuffle_equals(struct delivery_addresses *a)
{
    for (uint32_t first = 0, end; first < a->host_count; first = end) {
        end = first + 1;
        while (end < a->host_count && a->hosts[end].preference == a->hosts[first].preference)
            end++;
        rand_shuffle(&a->d->rand, a->hosts + first, end - first, sizeof(*a->hosts));
    }
}

void delivery_addresses_ask(struct delivery_addresses *a)
{
    if (a->open > 0) /* the slowest have not been waited for; now they need not answer */
        settle(a);
    shuffle_equals(a);
    a->asked_ms = io_now_ms(a->d->o.io);
    a->old = a->items;
    a->old_count = a->count;
    a->items = NULL;
    a->count = 0;
    mem_free(a->refused);
    a->refused = NULL;
    for (uint32_t i = 0; i < a->host_count; i++) {
        struct delivery_host *host = &a->hosts[i];
        host->answered = host->is_ip;
        host->decided = false;
        host->status = DNS_OK;
        if (host->is_ip) {
            (void)delivery_tls_host_begin(host); /* nothing is asked about addresses */
            continue;
        }
        host->open = true;
        host->query = (struct dns_query){.done = host_answered};
        a->open++;
        dns_query_addresses(a->d->o.dns, &host->query, host->name);
    }
    if (a->open == 0) {
        rebuild(a);
        settle(a);
    }
}

void delivery_addresses_explain(const struct delivery_addresses *a, struct delivery_reason *out)
{
    const struct delivery_host *failed = &a->hosts[0];

    if (a->refused != NULL && !a->refused->permanent) {
        *out = *a->refused;
        return;
    }
    for (uint32_t i = 0; i < a->host_count; i++) {
        if (a->hosts[i].status == DNS_TEMPORARY)
            failed = &a->hosts[i];
    }
    if (failed->status == DNS_TEMPORARY) {
        delivery_reason_set(out, 4, 3, "Cannot look up the address of %.*s now",
                            SLICE_ARG(failed->name));
        return;
    }
    if (a->refused != NULL) {
        *out = *a->refused;
        return;
    }
    delivery_reason_set(out, 4, 4, "No address for the host %.*s%s", SLICE_ARG(failed->name),
                        a->host_count > 1 ? " nor for any other MX host" : "");
    /* The owner of the domain has said so. A host that our configuration names may be put right. */
    out->permanent = a->by_mx;
    out->enhanced[0] = a->by_mx ? 5 : 4;
}

/* ---- choosing ----------------------------------------------------------------------------- */

struct delivery_address *delivery_addresses_choose(struct delivery_addresses *a, bool dead)
{
    uint64_t now_ms = io_now_ms(a->d->o.io);
    struct delivery_address *best = NULL;

    for (uint32_t i = 0; i < a->count; i++) {
        struct delivery_address *x = &a->items[i];
        if (best != NULL && x->preference != best->preference)
            break;
        if (x->stalled > 0 || x->failed_round == a->round || (!dead && x->dead_until_ms > now_ms))
            continue;
        if (best == NULL || x->connections < best->connections)
            best = x;
    }
    return best;
}

bool delivery_addresses_any_dead(const struct delivery_addresses *a)
{
    uint64_t now_ms = io_now_ms(a->d->o.io);

    for (uint32_t i = 0; i < a->count; i++) {
        if (a->items[i].dead_until_ms > now_ms)
            return true;
    }
    return false;
}
