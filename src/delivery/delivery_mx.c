/*
 * delivery_mx: from a recipient's domain to the site that takes its mail (RFC 5321 5.1). The answer's
 * hosts become the site's key, so that domains with the same MX hosts share one site, its connections
 * and its limits.
 *
 * Here is also where it is known what the domain asks of TLS: whether its MX records are validated, so
 * that DANE can build on them (RFC 7672 2.2.1), and its MTA-STS policy. Both are part of the key: sites
 * with other demands are other sites, and have other connections (docs/tls.md).
 *
 * A question each task; the resolver joins equal ones. A bounded number is under way.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base_mem.h"
#include "delivery_remote_priv.h"

struct lookup {
    struct delivery *d;
    struct delivery_task *task;
    struct dns_query query;
    struct sts_query sts;
    bool sts_open; /* asked and not finished */
    uint8_t awaited;
    struct delivery_demand demand;
    struct list node;
};

/* A host in the making of a key. */
struct mx_host {
    uint16_t preference;
    struct slice name;
};

static const uint16_t no_such_domain[3] = {5, 1, 2};
static const uint16_t null_mx[3] = {5, 1, 10}; /* RFC 7505 4.2 */
static const uint16_t loops_back[3] = {5, 4, 6};
static const uint16_t lookup_failed[3] = {4, 4, 3};
static const uint16_t not_secure[3] = {4, 7, 5};

static void lookup_begin(struct delivery *d, struct delivery_task *t);

static void task_failed(struct delivery *d, struct delivery_task *t, uint16_t code,
                        const uint16_t *enhanced, struct slice text)
{
    delivery_task_set_all(t, DELIVERY_FAILED, code, enhanced, text);
    delivery_task_finish(d, t);
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

static uint32_t collect_hosts(const struct lookup *x, struct mx_host *hosts)
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

/* Sends the task on to the shard that owns these hosts. */
static void submit_to_hosts(struct delivery *d, struct delivery_task *t,
                            const struct delivery_demand *demand, const struct mx_host *hosts,
                            uint32_t count)
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
    ASSERT(d->tasks > 0);
    d->tasks--; /* it is received again */
    delivery_task_submit(d, t);
}

static void take_hosts(struct lookup *x)
{
    const struct dns_answer *answer = x->query.answer;
    struct mx_host hosts[DELIVERY_HOSTS_MAX];
    struct delivery_task *t = x->task;
    struct delivery *d = x->d;
    uint32_t count, kept;

    if (x->query.status == DNS_OK && answer->mx_count == 1 && answer->mx[0].host[0] == '\0') {
        task_failed(d, t, 556, null_mx, SLICE_LITERAL("The domain accepts no mail (null MX)"));
        return;
    }
    count = collect_hosts(x, hosts);
    kept = cut_at_ourselves(t->conf, hosts, count);
    if (kept > 0)
        submit_to_hosts(d, t, &x->demand, hosts, kept);
    else if (count > 0)
        task_failed(d, t, 0, loops_back, SLICE_LITERAL("Mail loops back to myself"));
    else
        task_failed(d, t, 0, no_such_domain,
                    SLICE_LITERAL("The domain's MX records name no usable host"));
}

/* What the domain itself has to have for the route's `tls`. False: the task has ended. */
static bool demands_hold(struct lookup *x, enum conf_route_tls mode)
{
    struct delivery_task *t = x->task;
    struct slice domain = slice_head(t->domain, DNS_NAME_MAX);
    char text[DNS_NAME_MAX + sizeof(x->sts.reason) + 64];

    if (mode == CONF_ROUTE_TLS_DANE && !x->demand.secure)
        (void)snprintf(text, sizeof(text),
                       dns_is_trusted(x->d->o.dns)
                           ? "DANE is required, but the MX records of %.*s are not signed"
                           : "DANE is required for %.*s, but no resolver is trusted with DNSSEC",
                       SLICE_ARG(domain));
    else if (mode == CONF_ROUTE_TLS_MTA_STS && t->sts == NULL)
        (void)snprintf(text, sizeof(text),
                       "MTA-STS is required, but no policy of %.*s is known%s%s", SLICE_ARG(domain),
                       x->sts.reason[0] != '\0' ? ": " : "", x->sts.reason);
    else
        return true;
    x->d->counters.tls_refused++;
    delivery_task_unreachable(x->d, t, 0, not_secure, slice_str(text));
    return false;
}

static void lookup_answer(struct lookup *x)
{
    struct delivery_task *t = x->task;
    enum conf_route_tls mode = delivery_demand_mode(&x->demand, t->route);
    char text[DNS_NAME_MAX + 64];

    mem_free(t->sts); /* of an earlier destination */
    t->sts = NULL;
    if (x->sts_open && x->sts.policy != NULL) {
        t->sts = sts_policy_copy(x->sts.policy);
        x->demand.policy = delivery_demand_hash(t->sts);
    }
    t->sts_problem = x->sts_open ? (uint8_t)x->sts.problem : STS_PROBLEM_NONE;
    x->demand.secure =
        x->query.secure
        && (mode == CONF_ROUTE_TLS_AUTO || mode == CONF_ROUTE_TLS_DANE || x->demand.require);

    switch (x->query.status) {
    case DNS_OK:
    case DNS_NO_DATA:
        if (demands_hold(x, mode))
            take_hosts(x);
        return;
    case DNS_NO_NAME:
    case DNS_BAD_NAME:
        task_failed(x->d, t, 0, no_such_domain, SLICE_LITERAL("Host or domain name not found"));
        return;
    case DNS_TEMPORARY:
        (void)snprintf(text, sizeof(text), "Cannot look up the MX records of %.*s now",
                       SLICE_ARG(slice_head(t->domain, DNS_NAME_MAX)));
        delivery_task_unreachable(x->d, t, 0, lookup_failed, slice_str(text));
        return;
    }
    UNREACHABLE();
}

static void lookup_end(struct lookup *x)
{
    struct delivery *d = x->d;

    list_remove(&x->node);
    dns_query_finish(&x->query);
    if (x->sts_open)
        sts_query_finish(&x->sts);
    pool_put(&d->lookups, x);
    d->lookups_running--;
}

static void lookup_step(struct lookup *x)
{
    struct delivery *d = x->d;
    struct list *next;

    if (--x->awaited > 0)
        return;
    lookup_answer(x);
    lookup_end(x);
    while (d->lookups_running < DELIVERY_LOOKUPS_MAX
           && (next = list_pop_front(&d->lookups_waiting)) != NULL) {
        d->counters.tasks_waiting--;
        lookup_begin(d, container_of(next, struct delivery_task, node));
    }
}

static void lookup_done(struct dns_query *q)
{
    lookup_step(container_of(q, struct lookup, query));
}

static void lookup_told(struct sts_query *q)
{
    lookup_step(container_of(q, struct lookup, sts));
}

static bool sts_matters(const struct lookup *x)
{
    enum conf_route_tls mode = delivery_demand_mode(&x->demand, x->task->route);

    return x->d->o.sts != NULL
           && (mode == CONF_ROUTE_TLS_MTA_STS
               || ((mode == CONF_ROUTE_TLS_AUTO || x->demand.require) && x->task->conf->mta_sts));
}

static void lookup_begin(struct delivery *d, struct delivery_task *t)
{
    struct lookup *x = pool_get(&d->lookups);

    x->d = d;
    x->task = t;
    x->query.done = lookup_done;
    list_init(&x->node);
    list_push_back(&d->lookups_open, &x->node);
    d->lookups_running++;
    x->demand = delivery_demand_of(t);
    x->awaited = 1;
    if (sts_matters(x)) {
        x->awaited++;
        x->sts_open = true;
        x->sts.done = lookup_told;
        sts_lookup(d->o.sts, &x->sts, t->domain);
    }
    dns_query_mx(d->o.dns, &x->query, t->domain);
}

void delivery_mx(struct delivery *d, struct delivery_task *t)
{
    if (d->lookups_running >= DELIVERY_LOOKUPS_MAX) {
        d->counters.tasks_waiting++;
        list_push_back(&d->lookups_waiting, &t->node);
        return;
    }
    lookup_begin(d, t);
}

void delivery_mx_stop(struct delivery *d)
{
    struct list *node;

    while ((node = list_pop_front(&d->lookups_waiting)) != NULL) {
        d->counters.tasks_waiting--;
        delivery_task_postpone(d, container_of(node, struct delivery_task, node), 0,
                               SLICE_LITERAL("shutting down"));
    }
    while (!list_empty(&d->lookups_open)) {
        struct lookup *x = container_of(d->lookups_open.next, struct lookup, node);
        struct delivery_task *t = x->task;
        lookup_end(x);
        delivery_task_postpone(d, t, 0, SLICE_LITERAL("shutting down"));
    }
}

void delivery_mx_init(struct delivery *d)
{
    pool_init(&d->lookups, "mx-lookups", sizeof(struct lookup), 0);
    list_init(&d->lookups_open);
    list_init(&d->lookups_waiting);
}

void delivery_mx_discard(struct delivery *d)
{
    struct list *node;

    while ((node = list_pop_front(&d->lookups_waiting)) != NULL)
        delivery_task_free(container_of(node, struct delivery_task, node));
    while (!list_empty(&d->lookups_open)) {
        struct lookup *x = container_of(d->lookups_open.next, struct lookup, node);
        delivery_task_free(x->task);
        lookup_end(x);
    }
}

void delivery_mx_finish(struct delivery *d)
{
    pool_finish(&d->lookups);
}
