/*
 * delivery_tls_host: the TLSA records of a host whose addresses are known (RFC 7672 2.2.2, 2.2.3), and its
 * plan.
 *
 *     addresses insecure, no alias            no DANE
 *     addresses insecure, alias     -> ALIAS  is the first step of the chain secure?  -> ORIGINAL, or no DANE
 *     addresses secure              -> EXPANDED  records where the chain ends; none, and an alias -> ORIGINAL
 *
 * Questions about TLSA are asked only where the addresses are signed: some name servers of zones that are
 * not fail at such questions, and nothing is lost (2.1.3).
 */
#include <stdio.h>

#include "base_mem.h"
#include "delivery_remote_priv.h"

enum { STEP_ALIAS, STEP_EXPANDED, STEP_ORIGINAL };

static void tlsa_answered(struct dns_query *q);

static const char *canonical_of(const struct delivery_host *host)
{
    return host->query.answer->canonical;
}

static bool is_alias(const struct delivery_host *host)
{
    return !slice_equal_nocase(slice_str(canonical_of(host)), host->name);
}

static struct slice base_of(const struct delivery_host *host)
{
    return host->tls_step == STEP_EXPANDED ? slice_str(canonical_of(host)) : host->name;
}

static bool dane_applies(const struct delivery_host *host)
{
    const struct delivery_addresses *a = host->addresses;

    /* RFC 7672 is about SMTP. */
    return ((a->mode == CONF_ROUTE_TLS_AUTO && !a->lmtp) || a->mode == CONF_ROUTE_TLS_DANE)
           && (a->demand.secure || !a->by_mx) && !host->is_ip && host->status == DNS_OK;
}

static bool host_decide(struct delivery_host *host, enum delivery_tlsa tlsa)
{
    struct delivery_addresses *a = host->addresses;
    const struct delivery_plan_question q = {
        .mode = a->mode,
        .demand = a->demand,
        .policy = a->policy,
        .by_mx = a->by_mx,
        .login = a->login,
        .able = a->d->o.client_tls != NULL,
        .implicit = a->implicit,
        .host = host->name,
        .tlsa = tlsa,
        .base = tlsa == DELIVERY_TLSA_USABLE ? base_of(host) : host->name,
        .records = host->tlsa.answer,
    };
    struct delivery_reason why;

    delivery_plan_drop(host->plan);
    host->plan = delivery_plan_create(&q, &why);
    host->decided = true;
    if (host->plan == NULL)
        delivery_addresses_refused(host, tlsa, &why);
    delivery_tls_host_finish(host);
    return true;
}

static bool host_ask(struct delivery_host *host, int step)
{
    struct delivery_addresses *a = host->addresses;
    char name[DNS_NAME_MAX + 16];
    struct slice base;

    host->tls_step = (uint8_t)step;
    host->tls_open = true;
    base = base_of(host);
    (void)snprintf(name, sizeof(name), "_%u._tcp.%.*s", (unsigned)a->port, SLICE_ARG(base));
    host->tlsa = (struct dns_query){.done = tlsa_answered};
    if (step == STEP_ALIAS)
        dns_query_alias(a->d->o.dns, &host->tlsa, host->name);
    else
        dns_query_tlsa(a->d->o.dns, &host->tlsa, slice_str(name));
    return false;
}

static bool host_answered(struct delivery_host *host)
{
    const struct dns_query *q = &host->tlsa;
    bool secure = q->status == DNS_OK && q->secure;

    if (q->status == DNS_TEMPORARY)
        return host_decide(host, DELIVERY_TLSA_FAILED);
    if (secure && host->tls_step != STEP_ALIAS)
        return host_decide(host, delivery_plan_tlsa(q->answer));
    if (host->tls_step == STEP_ALIAS ? secure : host->tls_step == STEP_EXPANDED && is_alias(host)) {
        dns_query_finish(&host->tlsa);
        return host_ask(host, STEP_ORIGINAL);
    }
    return host_decide(host, DELIVERY_TLSA_NONE);
}

static void tlsa_answered(struct dns_query *q)
{
    struct delivery_host *host = container_of(q, struct delivery_host, tlsa);

    if (host_answered(host))
        delivery_addresses_decided(host);
}

bool delivery_tls_host_begin(struct delivery_host *host)
{
    bool secure = host->open && host->query.secure;

    if (!dane_applies(host) || (!secure && !is_alias(host)))
        return host_decide(host, DELIVERY_TLSA_NONE);
    return host_ask(host, secure ? STEP_EXPANDED : STEP_ALIAS);
}

void delivery_tls_host_finish(struct delivery_host *host)
{
    if (host->tls_open)
        dns_query_finish(&host->tlsa);
    host->tls_open = false;
}
