/*
 * delivery_mx_question: from a recipient's domain to the site that takes its mail (RFC 5321 5.1). The answer's
 * hosts become the site's key, so that domains with the same MX hosts share one site, its connections
 * and its limits.
 *
 * Here is also where it is known what the domain asks of TLS: whether its MX records are validated, so
 * that DANE can build on them (RFC 7672 2.2.1), and its MTA-STS policy. Both are part of the key: sites
 * with other demands are other sites, and have other connections (docs/tls.md).
 */
#include <stdlib.h>

#include "base_mem.h"
#include "delivery_remote_priv.h"

/* A host in the making of a key. */
struct mx_host {
    uint16_t preference;
    struct slice name;
};

static const uint16_t no_such_domain[3] = {5, 1, 2};
static const uint16_t null_mx[3] = {5, 1, 10}; /* RFC 7505 4.2 */
static const uint16_t loops_back[3] = {5, 4, 6};

/* What will not change by itself. */
static bool fail(struct delivery_reason *why, uint16_t code, const uint16_t *enhanced,
                 const char *text)
{
    delivery_reason_set(why, enhanced[1], enhanced[2], "%s", text);
    why->code = code;
    why->enhanced[0] = 5;
    why->permanent = true;
    return false;
}

/* By preference, then by name: the same set of hosts is the same key, in whatever order it came. */
static int compare_hosts(const void *left, const void *right)
{
    const struct mx_host *a = left, *b = right;
    size_t len = a->name.len < b->name.len ? a->name.len : b->name.len;
    int order;

    if (a->preference != b->preference)
        return a->preference < b->preference ? -1 : 1;
    order = memcmp(a->name.data, b->name.data, len);
    return order != 0 ? order : (a->name.len > b->name.len) - (a->name.len < b->name.len);
}

/* A name with other characters is no host's, and would break the key. */
static bool is_host_name(struct slice name)
{
    if (name.len == 0 || name.len >= DNS_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (c <= ' ' || c >= 0x7f || c == ':')
            return false;
    }
    return true;
}

static uint32_t collect_hosts(const struct delivery_mx_question *x, struct mx_host *hosts)
{
    const struct dns_answer *answer = x->query.answer;
    uint32_t count = 0;

    if (x->query.status == DNS_NO_DATA) { /* the domain itself is the host */
        hosts[0] = (struct mx_host){0, x->task->domain};
        return is_host_name(hosts[0].name) ? 1 : 0;
    }
    for (uint32_t i = 0; i < answer->mx_count; i++) {
        struct mx_host host = {answer->mx[i].preference, slice_str(answer->mx[i].host)};
        bool known = false;
        if (!is_host_name(host.name))
            continue;
        for (uint32_t k = 0; k < count; k++)
            known |= slice_equal(hosts[k].name, host.name);
        if (known) /* sorted by preference: the better one has it */
            continue;
        hosts[count++] = host;
        if (count == DELIVERY_HOSTS_MAX)
            break;
    }
    qsort(hosts, count, sizeof(*hosts), compare_hosts);
    return count;
}

/* We are one of the hosts: only those that are preferred to us may have the mail, else it would go in
 * circles among us and our equals. */
static uint32_t cut_at_ourselves(const struct conf *conf, const struct mx_host *hosts,
                                 uint32_t count)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (!slice_equal_nocase(hosts[i].name, conf->hostname))
            continue;
        while (hosts[kept].preference < hosts[i].preference)
            kept++;
        return kept;
    }
    return count;
}

static void name_site(struct delivery_task *t, const struct delivery_demand *demand,
                      const struct mx_host *hosts, uint32_t count)
{
    struct buf key;

    buf_init(&key, 0);
    (void)buf_append_str(&key, "mx ");
    delivery_task_route(t, &key);
    delivery_demand_word(demand, &key);
    for (uint32_t i = 0; i < count; i++)
        (void)buf_printf(&key, " %u:%.*s", (unsigned)hosts[i].preference, SLICE_ARG(hosts[i].name));
    mem_free((void *)(uintptr_t)t->site.data);
    t->site = slice_of(mem_dup(buf_slice(&key).data, buf_len(&key)), buf_len(&key));
    buf_finish(&key);
    t->resolved = true;
}

static bool take_hosts(struct delivery_mx_question *x, struct delivery_reason *why)
{
    const struct dns_answer *answer = x->query.answer;
    struct mx_host hosts[DELIVERY_HOSTS_MAX];
    struct delivery_task *t = x->task;
    uint32_t count, kept;

    if (x->query.status == DNS_OK && answer->mx_count == 1 && answer->mx[0].host[0] == '\0')
        return fail(why, 556, null_mx, "The domain accepts no mail (null MX)");
    count = collect_hosts(x, hosts);
    kept = cut_at_ourselves(t->conf, hosts, count);
    if (kept == 0 && count > 0)
        return fail(why, 0, loops_back, "Mail loops back to myself");
    if (kept == 0)
        return fail(why, 0, no_such_domain, "The domain's MX records name no usable host");
    name_site(t, &x->demand, hosts, kept);
    return true;
}

/* What the domain itself has to have for the route's `tls`. */
static bool demands_hold(struct delivery_mx_question *x, enum conf_route_tls mode,
                         struct delivery_reason *why)
{
    struct delivery_task *t = x->task;
    struct slice domain = slice_head(t->domain, DNS_NAME_MAX);

    if (mode == CONF_ROUTE_TLS_DANE && !x->demand.secure)
        delivery_reason_set(why, 7, 5,
                            dns_is_trusted(x->d->o.dns)
                                ? "DANE is required, but the MX records of %.*s are not signed"
                                : "DANE is required for %.*s, but no resolver is trusted with "
                                  "DNSSEC",
                            SLICE_ARG(domain));
    else if (mode == CONF_ROUTE_TLS_MTA_STS && t->sts == NULL)
        delivery_reason_set(why, 7, 5, "MTA-STS is required, but no policy of %.*s is known%s%s",
                            SLICE_ARG(domain), x->sts.reason[0] != '\0' ? ": " : "", x->sts.reason);
    else
        return true;
    return false;
}

static void take_policy(struct delivery_mx_question *x)
{
    struct delivery_task *t = x->task;

    mem_free(t->sts); /* of an earlier destination */
    t->sts = NULL;
    if (x->sts_open && x->sts.policy != NULL) {
        t->sts = sts_policy_copy(x->sts.policy);
        x->demand.policy = delivery_demand_hash(t->sts);
    }
    t->sts_problem = x->sts_open ? (uint8_t)x->sts.problem : STS_PROBLEM_NONE;
}

bool delivery_mx_question_answer(struct delivery_mx_question *x, struct delivery_reason *out_why)
{
    enum conf_route_tls mode = delivery_demand_mode(&x->demand, x->task->route);

    take_policy(x);
    x->demand.secure =
        x->query.secure
        && (mode == CONF_ROUTE_TLS_AUTO || mode == CONF_ROUTE_TLS_DANE || x->demand.require);
    switch (x->query.status) {
    case DNS_OK:
    case DNS_NO_DATA: return demands_hold(x, mode, out_why) && take_hosts(x, out_why);
    case DNS_NO_NAME:
    case DNS_BAD_NAME: return fail(out_why, 0, no_such_domain, "Host or domain name not found");
    case DNS_TEMPORARY:
        delivery_reason_set(out_why, 4, 3, "Cannot look up the MX records of %.*s now",
                            SLICE_ARG(slice_head(x->task->domain, DNS_NAME_MAX)));
        return false;
    }
    UNREACHABLE();
}

/* ---- asking --------------------------------------------------------------------------------- */

static void one_answer(struct delivery_mx_question *x)
{
    if (--x->awaited == 0)
        x->done(x);
}

static void hosts_told(struct dns_query *q)
{
    one_answer(container_of(q, struct delivery_mx_question, query));
}

static void policy_told(struct sts_query *q)
{
    one_answer(container_of(q, struct delivery_mx_question, sts));
}

static bool sts_matters(const struct delivery_mx_question *x)
{
    enum conf_route_tls mode = delivery_demand_mode(&x->demand, x->task->route);

    return x->d->o.sts != NULL
           && (mode == CONF_ROUTE_TLS_MTA_STS
               || ((mode == CONF_ROUTE_TLS_AUTO || x->demand.require) && x->task->conf->mta_sts));
}

void delivery_mx_question_ask(struct delivery_mx_question *x, struct delivery *d,
                              struct delivery_task *t, void (*done)(struct delivery_mx_question *x))
{
    *x = (struct delivery_mx_question){.d = d, .task = t, .done = done, .awaited = 1};
    x->demand = delivery_demand_of(t);
    x->query.done = hosts_told;
    if (sts_matters(x)) {
        x->awaited++;
        x->sts_open = true;
        x->sts.done = policy_told;
        sts_lookup(d->o.sts, &x->sts, t->domain);
    }
    dns_query_mx(d->o.dns, &x->query, t->domain);
}

void delivery_mx_question_finish(struct delivery_mx_question *x)
{
    dns_query_finish(&x->query);
    if (x->sts_open)
        sts_query_finish(&x->sts);
}
