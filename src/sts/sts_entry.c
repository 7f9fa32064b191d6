/*
 * sts_entry: what is known of a domain, and how it becomes known:
 *
 *   IDLE -> ASKING (TXT) -> LOCATING (addresses of mta-sts.DOMAIN) -> FETCHING -> IDLE
 *
 * each step of which may end the way: the id is the one that is known, or there is none, or something
 * failed. Then a policy whose time is not over goes on to hold (RFC 8461 3.3).
 */
#include <stdio.h>

#include "base_log.h"
#include "base_mem.h"
#include "base_rand.h"
#include "sts_priv.h"

static void refresh(struct wheel_timer *timer);
static void fetched(struct work_job *work);

/* ---- policies ------------------------------------------------------------------------------- */

void sts_held_drop(struct sts_held *h)
{
    if (h == NULL)
        return;
    ASSERT(h->references > 0);
    h->references--;
    if (h->references > 0)
        return;
    mem_free(h->policy);
    mem_free(h);
}

static void drop_policy(struct sts_entry *e)
{
    if (e->held == NULL)
        return;
    e->sts->bytes -= e->held->policy->size;
    sts_held_drop(e->held);
    e->held = NULL;
    wheel_cancel(e->sts->o.wheel, &e->refresh);
}

static void log_policy(const struct sts_entry *e, const char *event, enum log_level level)
{
    struct log_record r;

    log_begin(&r, level, event);
    log_str(&r, "domain", e->name);
    if (e->held != NULL) {
        log_str(&r, "mode", sts_mode_name(e->held->policy->mode));
        log_str(&r, "id", e->held->policy->id);
        log_u64(&r, "max_age", e->held->policy->max_age_s);
    }
    if (e->reason != NULL)
        log_str(&r, "error", e->reason);
    log_end(&r);
}

bool sts_entry_valid(struct sts_entry *e)
{
    const struct sts_policy *p;

    if (e->held == NULL)
        return false;
    p = e->held->policy;
    /* A clock that was set back makes no policy older. */
    if (sts_now_s(e->sts) < p->fetched_s + p->max_age_s)
        return true;
    if (p->mode != STS_NONE) {
        e->sts->counters.expired++;
        log_policy(e, "sts-policy-expired", LOG_NOTICE);
    }
    drop_policy(e);
    e->trusted_until_ms = 0; /* there was no need to look for another before */
    sts_store_mark(e);
    return false;
}

/* A quarter of its time, a day at most; less a tenth by chance, so that those that were fetched together
 * are not fetched together for ever. */
static void schedule_refresh(struct sts_entry *e)
{
    struct sts *s = e->sts;
    const struct sts_policy *p = e->held->policy;
    uint64_t after_ms = (uint64_t)p->max_age_s / 4 * 1000;
    uint64_t age_ms, due_ms;

    if (after_ms > (uint64_t)STS_REFRESH_S * 1000)
        after_ms = (uint64_t)STS_REFRESH_S * 1000;
    if (after_ms < (uint64_t)STS_REFRESH_MIN_S * 1000)
        after_ms = (uint64_t)STS_REFRESH_MIN_S * 1000;
    after_ms -= hash_u64(s->seed++) % (after_ms / 10);
    age_ms = sts_now_s(s) > p->fetched_s ? (sts_now_s(s) - p->fetched_s) * 1000 : 0;
    /* After a long stop many are late: they spread over the next minutes. */
    due_ms = io_now_ms(s->o.io);
    due_ms += after_ms > age_ms ? after_ms - age_ms : hash_u64(s->seed++) % (5 * 60 * 1000);
    if (due_ms < e->retry_ms)
        due_ms = e->retry_ms;
    wheel_set(s->o.wheel, &e->refresh, due_ms);
}

static void take_policy(struct sts_entry *e, struct sts_policy *policy)
{
    struct sts_held *h = mem_alloc(sizeof(*h));

    drop_policy(e);
    *h = (struct sts_held){1, policy};
    e->held = h;
    e->sts->bytes += policy->size;
}

bool sts_entry_load(struct sts *s, struct slice name, struct sts_policy *policy, uint64_t used_s)
{
    struct sts_entry *e;

    if (policy->mode == STS_NONE || sts_now_s(s) >= policy->fetched_s + policy->max_age_s) {
        mem_free(policy);
        return false;
    }
    e = sts_entry_create(s, name);
    e->used_s = used_s;
    e->on_disk = true;
    take_policy(e, policy);
    schedule_refresh(e);
    sts_entry_settle(e);
    return true;
}

/* ---- the order of use ----------------------------------------------------------------------- */

static void leave_order(struct sts_entry *e)
{
    struct sts *s = e->sts;

    if (!list_linked(&e->by_use))
        return;
    list_remove(&e->by_use);
    if (e->listed_keeper)
        s->keeper_count--;
    else
        s->empty_count--;
}

static void forget(struct sts_entry *e)
{
    ASSERT(e->state == STS_IDLE && list_empty(&e->queries));
    leave_order(e);
    drop_policy(e);
    hash_table_remove(&e->sts->table, &e->by_name);
    e->leaving = true;
    sts_store_mark(e);
}

static void forget_first(struct list *order)
{
    forget(container_of(order->next, struct sts_entry, by_use));
}

void sts_entry_settle(struct sts_entry *e)
{
    struct sts *s = e->sts;

    ASSERT(e->state == STS_IDLE && !e->leaving);
    leave_order(e);
    e->listed_keeper = e->held != NULL;
    if (e->listed_keeper) {
        list_push_back(&s->keepers, &e->by_use);
        s->keeper_count++;
    } else {
        list_push_back(&s->empties, &e->by_use);
        s->empty_count++;
    }
    while (s->empty_count > s->empty_max)
        forget_first(&s->empties);
    while (s->keeper_count > 1 && (s->keeper_count > s->keeper_max || s->bytes > s->bytes_max))
        forget_first(&s->keepers);
}

/* ---- entries -------------------------------------------------------------------------------- */

static bool name_matches(const struct hash_node *node, const void *key)
{
    const struct sts_entry *e = container_of(node, struct sts_entry, by_name);

    return slice_equal(slice_str(e->name), *(const struct slice *)key);
}

struct sts_entry *sts_entry_find(struct sts *s, struct slice name)
{
    struct hash_node *node = hash_table_find(&s->table, hash_bytes(name), name_matches, &name);

    return node != NULL ? container_of(node, struct sts_entry, by_name) : NULL;
}

struct sts_entry *sts_entry_create(struct sts *s, struct slice name)
{
    struct sts_entry *e = mem_zalloc(sizeof(*e) + name.len + 1);

    e->sts = s;
    memcpy(e->name, name.data, name.len);
    list_init(&e->by_use);
    list_init(&e->dirty);
    list_init(&e->queries);
    list_init(&e->all);
    list_push_back(&s->all, &e->all);
    wheel_timer_init(&e->refresh, refresh);
    e->used_s = sts_now_s(s);
    hash_table_insert(&s->table, &e->by_name, hash_bytes(name));
    return e;
}

static void job_free(struct sts_job *job)
{
    if (job != NULL)
        mem_free((void *)(uintptr_t)job->fetch.ca);
    mem_free(job);
}

void sts_entry_free(struct sts_entry *e)
{
    leave_order(e);
    drop_policy(e);
    if (!e->leaving)
        hash_table_remove(&e->sts->table, &e->by_name);
    list_remove(&e->dirty);
    list_remove(&e->all);
    mem_free(e->reason);
    if (e->job != NULL)
        mem_free(e->job->fetch.policy);
    job_free(e->job);
    mem_free(e);
}

/* ---- the end of the way --------------------------------------------------------------------- */

static void finish(struct sts_entry *e)
{
    struct list *node;
    bool valid = sts_entry_valid(e);

    e->state = STS_IDLE;
    e->sts->refreshing -= e->refreshing;
    e->refreshing = false;
    while ((node = list_pop_front(&e->queries)) != NULL)
        sts_answer(e->sts, container_of(node, struct sts_query, node), e);
    if (valid && e->held->policy->mode != STS_NONE && !e->sts->stopping)
        schedule_refresh(e);
    sts_entry_settle(e);
}

static void set_problem(struct sts_entry *e, enum sts_problem problem, const char *reason)
{
    mem_free(e->reason);
    e->problem = problem;
    e->reason = reason != NULL ? mem_strdup(reason) : NULL;
}

static void fetch_failed(struct sts_entry *e, enum sts_problem problem, const char *reason)
{
    struct sts *s = e->sts;
    uint64_t pause_ms = STS_RETRY_MAX_MS;

    if (e->failures < 4)
        pause_ms = (uint64_t)STS_RETRY_MS << e->failures;
    e->failures++;
    e->retry_ms = io_now_ms(s->o.io) + (pause_ms < STS_RETRY_MAX_MS ? pause_ms : STS_RETRY_MAX_MS);
    s->counters.fetch_failures++;
    set_problem(e, problem, reason);
    log_policy(e, "sts-fetch-failed", LOG_WARNING);
    finish(e);
}

/* ---- the policy ----------------------------------------------------------------------------- */

static void run_fetch(struct work_job *work)
{
    struct sts_job *job = container_of(work, struct sts_job, work);
    const struct sts_options *o = &job->entry->sts->o; /* constant since the start */

    (o->fetch != NULL ? o->fetch : sts_fetch_https)(o->fetch_context, &job->fetch);
}

static void new_policy(struct sts_entry *e, struct sts_policy *p)
{
    bool known = sts_entry_valid(e) && strcmp(e->held->policy->id, e->id) == 0;

    p->fetched_s = sts_now_s(e->sts);
    memcpy(p->id, e->id, sizeof(p->id));
    set_problem(e, STS_PROBLEM_NONE, NULL);
    e->failures = 0;
    e->retry_ms = 0;
    take_policy(e, p);
    sts_store_mark(e);
    if (!known && p->mode == STS_NONE)
        e->sts->counters.withdrawn++;
    log_policy(e, "sts-policy", known ? LOG_DEBUG : LOG_INFO);
    finish(e);
}

static void fetched(struct work_job *work)
{
    struct sts_job *job = container_of(work, struct sts_job, work);
    struct sts_entry *e = job->entry;
    struct sts_policy *p = job->fetch.policy;

    ASSERT(e->state == STS_FETCHING && e->job == job);
    e->job = NULL;
    e->sts->jobs--;
    if (p != NULL)
        new_policy(e, p);
    else
        fetch_failed(e, job->fetch.problem, job->fetch.reason);
    job_free(job);
}

static void fetch(struct sts_entry *e)
{
    struct sts *s = e->sts;
    const struct dns_answer *a = e->query.answer;
    struct sts_job *job = mem_zalloc(sizeof(*job));

    job->entry = e;
    job->work.run = run_fetch;
    job->work.done = fetched;
    job->fetch.address_count =
        a->address_count < STS_ADDRESSES_MAX ? a->address_count : STS_ADDRESSES_MAX;
    memcpy(job->addresses, a->addresses, job->fetch.address_count * sizeof(job->addresses[0]));
    job->fetch.addresses = job->addresses;
    (void)snprintf(job->fetch.host, sizeof(job->fetch.host), "mta-sts.%s", e->name);
    job->fetch.port = s->o.https_port != 0 ? s->o.https_port : 443;
    if (s->o.ca != NULL)
        job->fetch.ca = mem_strdup(s->o.ca);
    job->fetch.cancel = &s->cancel;
    e->state = STS_FETCHING;
    e->job = job;
    s->counters.fetches++;
    s->jobs++;
    if (work_submit(s->o.door, &job->work))
        return;
    s->jobs--;
    e->job = NULL;
    job_free(job);
    fetch_failed(e, STS_PROBLEM_FETCH, "too many requests wait");
}

static void located(struct dns_query *q)
{
    struct sts_entry *e = container_of(q, struct sts_entry, query);

    if (q->status == DNS_OK)
        fetch(e);
    dns_query_finish(q);
    if (e->state == STS_LOCATING) {
        e->sts->counters.fetches++;
        fetch_failed(e, STS_PROBLEM_FETCH, "the policy host has no address");
    }
}

static void locate(struct sts_entry *e)
{
    char host[DNS_NAME_MAX + 16];

    (void)snprintf(host, sizeof(host), "mta-sts.%s", e->name);
    e->state = STS_LOCATING;
    e->query.done = located;
    dns_query_addresses(e->sts->o.dns, &e->query, slice_str(host));
}

/* ---- the TXT record ------------------------------------------------------------------------- */

/* Exactly one record that begins as ours, and that one is right (3.1). */
static bool find_id(const struct dns_answer *a, char out[STS_ID_MAX + 1])
{
    struct slice id = SLICE_NULL, found;
    uint32_t count = 0;

    for (uint32_t i = 0; i < a->txt_count; i++) {
        if (sts_record_parse(a->txt[i], &found)) {
            id = found;
            count++;
        }
    }
    if (count != 1 || id.len == 0)
        return false;
    memcpy(out, id.data, id.len);
    out[id.len] = '\0';
    return true;
}

/* A refresh fetches the policy that is there in any case, as long as its host serves it. */
static bool wants_fetch(struct sts_entry *e)
{
    bool valid = sts_entry_valid(e);

    if (io_now_ms(e->sts->o.io) < e->retry_ms)
        return false;
    if (e->refreshing)
        return e->announced || valid;
    return e->announced && (!valid || strcmp(e->held->policy->id, e->id) != 0);
}

static void asked(struct dns_query *q)
{
    struct sts_entry *e = container_of(q, struct sts_entry, query);
    enum dns_status status = q->status;
    uint64_t trust_ms = status == DNS_TEMPORARY ? STS_TXT_RETRY_MS : STS_TRUST_MS;

    e->trusted_until_ms = io_now_ms(e->sts->o.io) + trust_ms;
    e->announced = status == DNS_OK && find_id(q->answer, e->id);
    dns_query_finish(q);
    if (!e->announced && sts_entry_valid(e))
        memcpy(e->id, e->held->policy->id, sizeof(e->id));
    else if (!e->announced && status != DNS_TEMPORARY)
        set_problem(e, STS_PROBLEM_NONE, NULL);
    if (wants_fetch(e))
        locate(e);
    else
        finish(e);
}

void sts_entry_ask(struct sts_entry *e)
{
    char name[DNS_NAME_MAX + 16];

    ASSERT(e->state == STS_IDLE);
    leave_order(e);
    (void)snprintf(name, sizeof(name), "_mta-sts.%s", e->name);
    e->state = STS_ASKING;
    e->query.done = asked;
    dns_query_txt(e->sts->o.dns, &e->query, slice_str(name));
}

/* ---- refreshing ----------------------------------------------------------------------------- */

static void refresh(struct wheel_timer *timer)
{
    struct sts_entry *e = container_of(timer, struct sts_entry, refresh);

    if (e->state != STS_IDLE || e->sts->stopping || !sts_entry_valid(e))
        return; /* what goes on sets the timer when it ends */
    if (sts_now_s(e->sts) > e->used_s + STS_UNUSED_S)
        return;
    if (e->sts->refreshing >= STS_REFRESHING_MAX) { /* helpers are for those who wait */
        wheel_set(e->sts->o.wheel, timer, io_now_ms(e->sts->o.io) + STS_REFRESH_WAIT_MS);
        return;
    }
    e->sts->refreshing++;
    e->refreshing = true;
    sts_entry_ask(e);
}

void sts_entry_stop(struct sts_entry *e)
{
    struct list *node;

    wheel_cancel(e->sts->o.wheel, &e->refresh);
    do
        node = list_pop_front(&e->queries);
    while (node != NULL);
    if (e->state == STS_ASKING || e->state == STS_LOCATING) {
        dns_query_finish(&e->query);
        finish(e);
    }
}
