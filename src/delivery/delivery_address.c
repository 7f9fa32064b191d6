/*
 * delivery_address: a site's hosts, read from its key, their addresses, and which of these is to be
 * tried next.
 *
 * An address counts once its host has a plan (delivery_tls_host.c): before, nobody knows what is to be said
 * there.
 *
 * The order is that of RFC 5321 5.1: by preference; hosts of equal preference are shuffled with each
 * look-up (delivery_address_list.c). An address that has failed comes after all others for a while; within a
 * round (see delivery_site.c) it is not tried twice. (A socket in the file system has one address, which is
 * nothing.)
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

    *r = (struct delivery_reason){.enhanced = {4, (uint16_t)subject, (uint16_t)detail},
                                  .scope = DELIVERY_SCOPE_SITE};
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

    *a = (struct delivery_addresses){
        .d = d, .changed = changed, .hosts = hosts, .round = 1, .family = route->family};
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

void delivery_addresses_close(struct delivery_addresses *a)
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
    delivery_addresses_close(a);
    for (uint32_t i = 0; i < a->host_count; i++)
        delivery_plan_drop(a->hosts[i].plan);
    mem_free(a->refused);
    mem_free(a->hosts);
    mem_free(a->items);
    mem_free(a->old);
}

/* ---- asking ------------------------------------------------------------------------------- */

struct delivery_plan *delivery_addresses_plan(const struct delivery_addresses *a, struct slice host)
{
    const struct delivery_host *found = delivery_addresses_host(a, host);

    return found != NULL ? found->plan : NULL;
}

void delivery_addresses_refused(struct delivery_host *host, enum delivery_tlsa tlsa,
                                const struct delivery_reason *why)
{
    struct delivery_addresses *a = host->addresses;
    struct log_record r;

    if (a->refused == NULL)
        a->refused = mem_dup(why, sizeof(*why));
    else if (a->refused->permanent || !why->permanent)
        *a->refused = *why; /* what may change outweighs what will not */
    if (a->told != NULL)
        a->told(a, host, tlsa, why);
    if (a->explaining)
        return;
    a->d->counters.tls_refused++;
    log_begin(&r, LOG_INFO, "tls-refused");
    log_slice(&r, "host", host->name);
    log_str(&r, "reason", why->text);
    log_end(&r);
}

void delivery_addresses_decided(struct delivery_host *host)
{
    struct delivery_addresses *a = host->addresses;

    ASSERT(a->open > 0 && host->decided);
    a->open--;
    delivery_addresses_rebuild(a);
    if (a->open == 0)
        delivery_addresses_settle(a);
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
        delivery_addresses_settle(a);
    shuffle_equals(a);
    a->asked_ms = io_now_ms(a->d->o.io);
    a->old = a->items;
    a->old_count = a->count;
    a->items = NULL;
    a->count = 0;
    mem_free(a->refused);
    a->refused = NULL;
    a->ours = NULL; /* hosts have moved */
    a->other_family = false;
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
        delivery_addresses_rebuild(a);
        delivery_addresses_settle(a);
    }
}

/* Nobody could be asked in vain, so it is all said. What the owner of the domain has said in his MX records is
 * final. What our own configuration names may be put right. */
static void explain_none(const struct delivery_addresses *a, const struct delivery_host *failed,
                         struct delivery_reason *out)
{
    static const char *const families[] = {
        [CONF_FAMILY_IPV4] = "IPv4", [CONF_FAMILY_IPV6] = "IPv6"};
    const char *others = a->host_count > 1 ? " nor for any other MX host" : "";

    if (a->ours != NULL) {
        if (a->by_mx)
            delivery_reason_set(out, 4, 6, "Mail loops back to myself");
        else
            delivery_reason_set(out, 4, 6, "%.*s is this server itself: mail would go in circles",
                                SLICE_ARG(a->ours->name));
        out->permanent = a->by_mx;
    } else if (a->other_family) {
        delivery_reason_set(out, 4, 4, "No %s address for the host %.*s%s, and no other is allowed",
                            families[a->family], SLICE_ARG(failed->name), others);
    } else {
        delivery_reason_set(out, 4, 4, "No address for the host %.*s%s", SLICE_ARG(failed->name),
                            others);
        out->permanent = a->by_mx;
    }
    out->enhanced[0] = out->permanent ? 5 : 4;
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
    explain_none(a, failed, out);
}

/* ---- choosing ----------------------------------------------------------------------------- */

struct delivery_address *delivery_addresses_choose(struct delivery_addresses *a, bool dead)
{
    uint64_t now_ms = io_now_ms(a->d->o.io);
    struct delivery_address *best = NULL;

    for (uint32_t i = 0; i < a->count; i++) {
        struct delivery_address *x = &a->items[i];
        if (best != NULL && (x->preference != best->preference || x->family != best->family))
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
