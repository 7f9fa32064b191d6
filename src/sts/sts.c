/* sts: see the header. */
#include "sts.h"

#include <stdio.h>

#include "base_log.h"
#include "base_mem.h"
#include "sts_priv.h"

uint64_t sts_now_s(const struct sts *s)
{
    return io_unix_ms(s->o.io) / 1000;
}

/* ---- lookups -------------------------------------------------------------------------------- */

/* What gets ready meanwhile is for the next time. */
static void flush(struct wheel_timer *timer)
{
    struct sts *s = container_of(timer, struct sts, flush);
    struct list now;
    struct list *node;

    list_init(&now);
    list_splice_back(&now, &s->ready);
    while ((node = list_pop_front(&now)) != NULL) {
        struct sts_query *q = container_of(node, struct sts_query, node);
        q->done(q);
    }
}

static void query_is_ready(struct sts *s, struct sts_query *q)
{
    list_push_back(&s->ready, &q->node);
    if (!wheel_timer_is_set(&s->flush))
        wheel_set(s->o.wheel, &s->flush, io_now_ms(s->o.io));
}

void sts_answer(struct sts *s, struct sts_query *q, const struct sts_entry *e)
{
    if (e->held != NULL && e->held->policy->mode != STS_NONE) {
        e->held->references++;
        q->held = e->held;
        q->policy = e->held->policy;
    }
    q->problem = e->problem;
    if (e->reason != NULL)
        (void)snprintf(q->reason, sizeof(q->reason), "%s", e->reason);
    query_is_ready(s, q);
}

/* As policies are named: lower case, no final dot. */
static bool clean_name(struct slice domain, char out[DNS_NAME_MAX], struct slice *out_name)
{
    if (domain.len > 0 && domain.data[domain.len - 1] == '.')
        domain.len--;
    if (domain.len == 0 || domain.len > DNS_NAME_MAX - sizeof("_mta-sts."))
        return false;
    for (size_t i = 0; i < domain.len; i++) {
        uint8_t c = domain.data[i];
        out[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    *out_name = slice_of(out, domain.len);
    return true;
}

void sts_lookup(struct sts *s, struct sts_query *q, struct slice domain)
{
    char memory[DNS_NAME_MAX];
    struct sts_entry *e;
    struct slice name;
    bool valid;

    q->policy = NULL;
    q->problem = STS_PROBLEM_NONE;
    q->reason[0] = '\0';
    q->sts = s;
    q->held = NULL;
    list_init(&q->node);
    s->counters.lookups++;
    if (!clean_name(domain, memory, &name)) { /* no such name can be asked for */
        query_is_ready(s, q);
        return;
    }
    e = sts_entry_find(s, name);
    if (e == NULL)
        e = sts_entry_create(s, name);
    e->used_s = sts_now_s(s);
    valid = sts_entry_valid(e);
    if ((e->state == STS_IDLE && io_now_ms(s->o.io) < e->trusted_until_ms)
        || (e->refreshing && valid) || s->stopping) {
        s->counters.cache_hits++;
        sts_answer(s, q, e);
        if (e->state == STS_IDLE)
            sts_entry_settle(e); /* used just now */
        return;
    }
    list_push_back(&e->queries, &q->node);
    if (e->state == STS_IDLE)
        sts_entry_ask(e);
}

void sts_query_finish(struct sts_query *q)
{
    if (q->sts == NULL)
        return;
    list_remove(&q->node);
    sts_held_drop(q->held);
    q->held = NULL;
    q->policy = NULL;
    q->sts = NULL;
}

void sts_doubt(struct sts *s, struct slice domain)
{
    char memory[DNS_NAME_MAX];
    struct sts_entry *e;
    struct slice name;

    unsigned owner;

    if (!clean_name(domain, memory, &name))
        return;
    owner = (unsigned)(hash_stable(name) % s->o.shards);
    if (owner != s->o.shard && s->o.pass_doubt != NULL) {
        char *copy = mem_zalloc(name.len + 1);
        memcpy(copy, name.data, name.len);
        s->o.pass_doubt(s->o.context, owner, copy);
        return;
    }
    e = sts_entry_find(s, name);
    if (e != NULL)
        e->trusted_until_ms = 0;
}

/* ---- life ----------------------------------------------------------------------------------- */

static uint32_t share(uint32_t all, unsigned shards)
{
    return all / shards > 0 ? all / shards : 1;
}

struct sts *sts_create(const struct sts_options *options)
{
    struct sts *s = mem_zalloc(sizeof(*s));
    unsigned shards = options->shards;

    ASSERT(shards > 0 && options->shard < shards);
    s->o = *options;
    s->o.state = options->state != NULL ? mem_strdup(options->state) : NULL;
    s->o.ca = NULL;
    sts_set_ca(s, options->ca);
    s->seed = options->seed;
    s->keeper_max =
        share(options->policies_max != 0 ? options->policies_max : STS_POLICIES_MAX, shards);
    s->empty_max = share(STS_EMPTY_MAX, shards);
    s->bytes_max = (options->bytes_max != 0 ? options->bytes_max : STS_BYTES_MAX) / shards;
    hash_table_init(&s->table);
    list_init(&s->all);
    list_init(&s->keepers);
    list_init(&s->empties);
    list_init(&s->ready);
    list_init(&s->store.dirty);
    wheel_timer_init(&s->flush, flush);
    return s;
}

void sts_set_ca(struct sts *s, const char *ca)
{
    mem_free((void *)(uintptr_t)s->o.ca);
    s->o.ca = ca != NULL ? mem_strdup(ca) : NULL;
}

bool sts_open(struct sts *s, struct buf *out_error)
{
    return s->o.state == NULL || sts_store_open(s, out_error);
}

void sts_stop(struct sts *s)
{
    s->stopping = true;
    atomic_store(&s->cancel, true);
    LIST_EACH_SAFE(&s->all, node)
    sts_entry_stop(container_of(node, struct sts_entry, all));
}

bool sts_idle(const struct sts *s)
{
    return s->jobs == 0 && sts_store_idle(s);
}

void sts_destroy(struct sts *s, bool crashed)
{
    if (s == NULL)
        return;
    ASSERT(crashed || (sts_idle(s) && list_empty(&s->ready)));
    wheel_cancel(s->o.wheel, &s->flush);
    while (!list_empty(&s->all)) {
        struct sts_entry *e = container_of(s->all.next, struct sts_entry, all);
        if (e->state == STS_ASKING || e->state == STS_LOCATING)
            dns_query_finish(&e->query);
        LIST_EACH_SAFE(&e->queries, node)
        list_remove(node);
        sts_entry_free(e);
    }
    hash_table_finish(&s->table);
    sts_store_finish(s);
    mem_free((void *)(uintptr_t)s->o.state);
    mem_free((void *)(uintptr_t)s->o.ca);
    mem_free(s);
}

void sts_counters(const struct sts *s, struct sts_counters *out)
{
    *out = s->counters;
    out->policies = s->keeper_count;
}
