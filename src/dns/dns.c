/*
 * dns: the questions of callers. Each is attached to an entry; entries that are new are asked, one
 * question to the resolver a record type. Queries whose answer is known wait in `ready` for a timer
 * that is due now, so that `done` is never called inside dns_query_*() nor from within c-ares.
 */
#include "base_mem.h"
#include "dns_priv.h"

enum { CACHE_MAX_DEFAULT = 65536 };

static void flush(struct wheel_timer *timer);

void dns_front_init(struct dns *d, const struct dns_vtable *vtable, struct io *io,
                    struct wheel *wheel, uint32_t cache_max)
{
    *d = (struct dns){.vtable = vtable,
                      .io = io,
                      .wheel = wheel,
                      .cache_max = cache_max != 0 ? cache_max : CACHE_MAX_DEFAULT};
    hash_table_init(&d->table);
    list_init(&d->by_use);
    list_init(&d->ready);
    wheel_timer_init(&d->flush, flush);
}

void dns_destroy(struct dns *d)
{
    if (d == NULL)
        return;
    wheel_cancel(d->wheel, &d->flush);
    dns_cache_finish(d);
    d->vtable->destroy(d);
}

bool dns_is_trusted(const struct dns *d)
{
    return d->trusted;
}

void dns_counters(const struct dns *d, struct dns_counters *out)
{
    *out = d->counters;
    out->cached = d->cached;
}

/* ---- telling -------------------------------------------------------------------------------- */

static void query_is_ready(struct dns *d, struct dns_query *q)
{
    list_push_back(&d->ready, &q->node);
    if (!wheel_timer_is_set(&d->flush))
        wheel_set(d->wheel, &d->flush, io_now_ms(d->io));
}

static void query_takes(struct dns_query *q, const struct dns_entry *e)
{
    q->status = e->status;
    q->secure = e->secure;
    q->answer = e->status == DNS_OK ? &e->answer : NULL;
}

/* What gets ready meanwhile is for the next time. A query that is finished meanwhile leaves the list by
 * itself. */
static void flush(struct wheel_timer *timer)
{
    struct dns *d = container_of(timer, struct dns, flush);
    struct list now;
    struct list *node;

    list_init(&now);
    list_splice_back(&now, &d->ready);
    while ((node = list_pop_front(&now)) != NULL) {
        struct dns_query *q = container_of(node, struct dns_query, node);
        if (q->status == DNS_TEMPORARY)
            d->counters.failed++;
        q->done(q);
    }
}

void dns_answered(struct dns_entry *e, enum dns_type type, struct dns_part *part)
{
    struct dns *d = e->dns;
    struct list *node;

    ASSERT(e->parts_left > 0);
    e->parts[type == DNS_TYPE_AAAA] = *part;
    *part = (struct dns_part){0};
    e->parts_left--;
    if (e->parts_left > 0)
        return;
    d->open--;
    dns_entry_hold(e); /* the cache may be full of others */
    dns_entry_settle(e);
    while ((node = list_pop_front(&e->queries)) != NULL) {
        struct dns_query *q = container_of(node, struct dns_query, node);
        query_takes(q, e);
        query_is_ready(d, q);
    }
    dns_entry_drop(e);
}

void dns_answered_nothing(struct dns_entry *e, enum dns_type type, enum dns_status status)
{
    struct dns_part part = {.status = status, .ttl_s = DNS_TTL_NEGATIVE_S};

    ASSERT(status != DNS_OK);
    dns_answered(e, type, &part);
}

/* ---- asking --------------------------------------------------------------------------------- */

static void attach(struct dns_query *q, struct dns_entry *e)
{
    q->entry = e;
    dns_entry_hold(e);
    if (e->parts_left > 0) {
        list_push_back(&e->queries, &q->node);
        return;
    }
    query_takes(q, e);
    query_is_ready(e->dns, q);
}

static void ask(struct dns_entry *e)
{
    static const enum dns_type types[][2] = {[DNS_KIND_MX] = {DNS_TYPE_MX},
                                             [DNS_KIND_ADDRESSES] = {DNS_TYPE_A, DNS_TYPE_AAAA},
                                             [DNS_KIND_ALIAS] = {DNS_TYPE_CNAME},
                                             [DNS_KIND_TLSA] = {DNS_TYPE_TLSA},
                                             [DNS_KIND_TXT] = {DNS_TYPE_TXT}};
    struct dns *d = e->dns;
    int count = e->parts_left;
    enum dns_kind kind = (enum dns_kind)e->kind;

    d->open++;
    d->counters.sent += (uint64_t)count;
    dns_entry_hold(e); /* it may be answered, and dropped, within */
    for (int i = 0; i < count; i++)
        d->vtable->ask(d, e, types[kind][i]);
    dns_entry_drop(e);
}

static void query(struct dns *d, struct dns_query *q, enum dns_kind kind, struct slice text)
{
    char name[DNS_NAME_MAX];
    struct dns_entry *e;

    list_init(&q->node);
    q->entry = NULL;
    q->answer = NULL;
    q->secure = false;
    d->counters.asked++;
    if (!dns_name_clean(text, name)) {
        q->status = DNS_BAD_NAME;
        query_is_ready(d, q);
        return;
    }
    e = dns_entry_find(d, kind, name);
    if (e != NULL && e->parts_left == 0 && e->expires_ms <= io_now_ms(d->io)) {
        dns_entry_forget(e);
        e = NULL;
    }
    if (e != NULL) {
        d->counters.cache_hits += e->parts_left == 0;
        dns_entry_used(e);
        attach(q, e);
        return;
    }
    e = dns_entry_create(d, kind, name);
    e->parts_left = kind == DNS_KIND_ADDRESSES ? 2 : 1;
    dns_entry_table(e);
    attach(q, e);
    ask(e);
}

void dns_query_mx(struct dns *d, struct dns_query *q, struct slice domain)
{
    query(d, q, DNS_KIND_MX, domain);
}

void dns_query_alias(struct dns *d, struct dns_query *q, struct slice name)
{
    query(d, q, DNS_KIND_ALIAS, name);
}

void dns_query_tlsa(struct dns *d, struct dns_query *q, struct slice name)
{
    query(d, q, DNS_KIND_TLSA, name);
}

void dns_query_txt(struct dns *d, struct dns_query *q, struct slice name)
{
    query(d, q, DNS_KIND_TXT, name);
}

void dns_query_addresses(struct dns *d, struct dns_query *q, struct slice host)
{
    struct ip_addr ip;
    struct ip_addr *address;
    struct dns_entry *e;

    if (!ip_parse(host, &ip)) {
        query(d, q, DNS_KIND_ADDRESSES, host);
        return;
    }
    /* An entry of its own, which nobody else finds. */
    d->counters.asked++;
    e = dns_entry_create(d, DNS_KIND_ADDRESSES, "");
    address = mem_dup(&ip, sizeof(ip));
    e->answer.address_count = 1;
    e->answer.addresses = address;
    list_init(&q->node);
    attach(q, e);
}

void dns_query_finish(struct dns_query *q)
{
    if (q->node.next == NULL)
        return; /* zeroed: nothing was asked */
    list_remove(&q->node);
    if (q->entry != NULL)
        dns_entry_drop(q->entry);
    q->entry = NULL;
    q->answer = NULL;
}
