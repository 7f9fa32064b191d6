/*
 * report_send: on the first shard, one period that is over at a time, one domain of it at a time:
 *
 *   RESTING -> READING (the files of all shards) -> ASKING (who wants a report) -> COMPOSING (a helper)
 *           -> for each who does: MAILING, or LOCATING and POSTING -> the next domain ...
 *           -> PAUSING, if some could not be told: once more, later -> UNLINKING -> RESTING
 *
 * A period's files stay until all its domains are done: after a crash they are all reported again, under
 * the same report ids.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_log.h"
#include "base_mem.h"
#include "http.h"
#include "report_priv.h"

enum { TRIES_MAX = 2, ADDRESSES_MAX = 8, RESPONSE_MAX = 64 * 1024 };

enum sender_state {
    SENDER_RESTING,
    SENDER_READING,
    SENDER_ASKING,
    SENDER_COMPOSING,
    SENDER_MAILING,
    SENDER_LOCATING,
    SENDER_POSTING,
    SENDER_PAUSING,
    SENDER_UNLINKING,
};

/* A domain with results. Owned by the sender's lists, or its `domain`. */
struct report_domain {
    struct list node;
    const struct report_policy **policies;
    size_t count;
    unsigned tries;
    uint64_t told[REPORT_TARGETS_MAX]; /* hashes of those who have their report */
    unsigned told_count;
    bool failed; /* this time */
};

struct report_sender {
    struct report *r;
    enum sender_state state;
    bool stopping;
    bool waiting; /* for what the state is named after */
    struct wheel_timer timer;
    struct report_period *period; /* out of the report's list */
    unsigned shard;               /* whose file it is */
    struct report_file file;
    struct report_table table;
    struct list domains, later;
    struct report_domain *domain; /* out of the lists */
    struct dns_query query;
    struct work_job job;
    _Atomic bool cancel;
    struct report_target targets[REPORT_TARGETS_MAX];
    size_t target_count, target;
    struct spool_writer writer;
    bool committing;
    struct slice unwritten;
    /* What the helper works on; it stands still meanwhile. */
    struct report_facts facts;
    const struct conf *conf; /* that the facts are from */
    struct buf contact, from;
    struct buf gzip;
    struct buf mails[REPORT_TARGETS_MAX];
    uint64_t now_s;
    struct ip_addr addresses[ADDRESSES_MAX];
    size_t address_count;
    struct http_response response;
};

static void step(struct report_sender *s);

/* What was waited for. */
static void happened(struct report_sender *s)
{
    s->waiting = false;
    step(s);
}

/* ---- words ---------------------------------------------------------------------------------- */

static struct slice domain_name(const struct report_domain *d)
{
    return d->policies[0]->domain;
}

static void log_target(const struct report_sender *s, bool sent, const char *error)
{
    struct log_record r;

    log_begin(&r, sent ? LOG_INFO : LOG_WARNING, sent ? "tls-report-sent" : "tls-report-failed");
    if (sent && !s->targets[s->target].https)
        log_id(&r, "message", s->writer.id);
    log_slice(&r, "domain", domain_name(s->domain));
    log_str(&r, "to", s->targets[s->target].uri);
    log_str(&r, "period", s->period->name);
    if (error != NULL)
        log_str(&r, "error", error);
    log_end(&r);
}

/* ---- domains -------------------------------------------------------------------------------- */

static void domain_free(struct report_domain *d)
{
    if (d == NULL)
        return;
    list_remove(&d->node);
    mem_free(d->policies);
    mem_free(d);
}

static int compare_policies(const void *left, const void *right)
{
    const struct report_policy *a = *(const struct report_policy *const *)left;
    const struct report_policy *b = *(const struct report_policy *const *)right;
    size_t len = a->domain.len < b->domain.len ? a->domain.len : b->domain.len;
    int order = memcmp(a->domain.data, b->domain.data, len);

    if (order == 0)
        order = (a->domain.len > b->domain.len) - (a->domain.len < b->domain.len);
    return order != 0 ? order : (int)a->type - (int)b->type;
}

static void add_domain(struct report_sender *s, const struct report_policy **policies, size_t count)
{
    struct report_domain *d = mem_zalloc(sizeof(*d));

    d->policies = mem_dup(policies, count * sizeof(*policies));
    d->count = count;
    list_init(&d->node);
    list_push_back(&s->domains, &d->node);
}

static void group_domains(struct report_sender *s)
{
    const struct report_policy **all = mem_calloc(s->table.rows, sizeof(*all));
    size_t count = 0, begin = 0;

    LIST_EACH(&s->table.order, node)
    all[count++] = container_of(node, struct report_policy, node);
    if (count > 0)
        qsort(all, count, sizeof(*all), compare_policies);
    for (size_t i = 1; i <= count; i++) {
        if (i < count && slice_equal(all[i]->domain, all[begin]->domain))
            continue;
        add_domain(s, all + begin, i - begin);
        begin = i;
    }
    mem_free(all);
}

static bool is_told(const struct report_sender *s, const struct report_target *t)
{
    const struct report_domain *d = s->domain;

    for (unsigned i = 0; i < d->told_count; i++) {
        if (d->told[i] == hash_bytes(slice_str(t->uri)))
            return true;
    }
    return false;
}

/* With the target at hand. */
static void target_over(struct report_sender *s, bool sent, const char *error)
{
    struct report_domain *d = s->domain;
    const struct report_target *t = &s->targets[s->target];

    log_target(s, sent, error);
    if (!sent) {
        d->failed = true;
    } else {
        if (d->told_count < REPORT_TARGETS_MAX)
            d->told[d->told_count++] = hash_bytes(slice_str(t->uri));
        s->r->counters.reports_posted += t->https;
        s->r->counters.reports_mailed += !t->https;
    }
    s->target++;
}

static void domain_over(struct report_sender *s)
{
    struct report_domain *d = s->domain;

    s->domain = NULL;
    if (!d->failed) {
        domain_free(d);
    } else if (++d->tries < TRIES_MAX) {
        d->failed = false;
        list_push_back(&s->later, &d->node);
    } else {
        s->r->counters.reports_failed++;
        domain_free(d);
    }
}

/* ---- periods -------------------------------------------------------------------------------- */

/* Whether nobody wants it any more. */
static bool is_too_old(const struct report_sender *s)
{
    uint64_t oldest = report_now_s(s->r) / REPORT_DAY_S - REPORT_DAYS_MAX;

    return s->table.end_s / REPORT_DAY_S < oldest;
}

static struct report_period *earliest(const struct report *r)
{
    struct report_period *best = NULL;

    LIST_EACH(&r->periods, node)
    {
        struct report_period *p = container_of(node, struct report_period, node);
        if (best == NULL || p->due_ms < best->due_ms)
            best = p;
    }
    return best;
}

static void read_next(struct report_sender *s)
{
    s->waiting = true;
    report_file_read(&s->file, s->r->directory, s->period->name, s->shard);
}

static bool begin_period(struct report_sender *s)
{
    struct report_period *p = earliest(s->r);

    if (p == NULL || p->due_ms == UINT64_MAX || !s->r->conf->tls_reports.send)
        return false;
    if (p->due_ms > io_now_ms(s->r->o.io)) {
        wheel_set(s->r->o.wheel, &s->timer, p->due_ms);
        return false;
    }
    list_remove(&p->node);
    s->period = p;
    s->shard = 0;
    report_table_init(&s->table, UINT32_MAX, UINT64_MAX);
    s->state = SENDER_READING;
    return true;
}

static void complain(const struct report_sender *s, const char *event, int error)
{
    struct log_record r;

    log_begin(&r, LOG_WARNING, event);
    log_str(&r, "period", s->period->name);
    log_u64(&r, "shard", s->shard);
    if (error != 0)
        log_errno(&r, -error);
    log_end(&r);
}

static void file_done(struct report_file *f)
{
    struct report_sender *s = container_of(f, struct report_sender, file);

    if (s->state == SENDER_READING) {
        if (f->error == 0 && !report_table_read(&s->table, buf_slice(&f->text)))
            complain(s, "tls-results-damaged", 0);
        else if (f->error != 0 && f->error != -ENOENT)
            complain(s, "tls-results-unreadable", f->error);
        buf_clear(&f->text);
        buf_release(&f->text);
    }
    s->shard++;
    happened(s);
}

static void end_period(struct report_sender *s)
{
    report_table_finish(&s->table);
    mem_free(s->period);
    s->period = NULL;
    s->state = SENDER_RESTING;
}

/* ---- who wants one -------------------------------------------------------------------------- */

static void asked(struct dns_query *q)
{
    struct report_sender *s = container_of(q, struct report_sender, query);
    struct report_target targets[REPORT_TARGETS_MAX];
    size_t count = 0;
    unsigned records = 0;

    s->target_count = s->target = 0;
    for (uint32_t i = 0; q->status == DNS_OK && i < q->answer->txt_count; i++) {
        if (report_record_parse(q->answer->txt[i], targets, &count)) {
            records++;
            memcpy(s->targets, targets, count * sizeof(targets[0]));
            s->target_count = count;
        }
    }
    if (records != 1) /* 3: several are none */
        s->target_count = 0;
    s->domain->failed = q->status == DNS_TEMPORARY;
    dns_query_finish(q);
    if (s->target_count == 0 && !s->domain->failed)
        s->r->counters.domains_unwilling++;
    happened(s);
}

static void ask(struct report_sender *s)
{
    char name[DNS_NAME_MAX + 16];

    (void)snprintf(name, sizeof(name), "_smtp._tls.%.*s", SLICE_ARG(domain_name(s->domain)));
    s->state = SENDER_ASKING;
    s->waiting = true;
    s->query = (struct dns_query){.done = asked};
    dns_query_txt(s->r->o.dns, &s->query, slice_str(name));
}

/* ---- the report ----------------------------------------------------------------------------- */

static void finish_texts(struct report_sender *s)
{
    buf_finish(&s->contact);
    buf_finish(&s->from);
    buf_finish(&s->gzip);
    for (size_t i = 0; i < REPORT_TARGETS_MAX; i++)
        buf_finish(&s->mails[i]);
    conf_free(s->conf);
    s->conf = NULL;
}

static void set_facts(struct report_sender *s)
{
    const struct conf *conf = s->conf = conf_ref(s->r->conf);
    const struct conf_tls_reports *c = &conf->tls_reports;

    buf_init(&s->contact, 0);
    buf_init(&s->from, 0);
    buf_init(&s->gzip, 0);
    (void)buf_printf(&s->contact, "postmaster@%.*s", SLICE_ARG(conf->hostname));
    (void)buf_printf(&s->from, "tls-reports@%.*s", SLICE_ARG(conf->hostname));
    s->now_s = report_now_s(s->r);
    s->facts = (struct report_facts){
        .hostname = conf->hostname,
        .organization = c->organization.len > 0 ? c->organization : conf->hostname,
        .contact = c->contact.len > 0 ? c->contact : buf_slice(&s->contact),
        .from = c->from.len > 0 ? c->from : buf_slice(&s->from),
        .domain = domain_name(s->domain),
        .policies = s->domain->policies,
        .policy_count = s->domain->count,
        .start_s = s->table.start_s,
        .end_s = s->table.end_s};
}

/* On a helper. */
static void run_compose(struct work_job *job)
{
    struct report_sender *s = container_of(job, struct report_sender, job);
    struct buf json, id;

    buf_init(&json, 0);
    report_compose_json(&s->facts, &json);
    report_compose_gzip(buf_slice(&json), &s->gzip);
    buf_finish(&json);
    for (size_t i = 0; i < s->target_count; i++) {
        buf_init(&s->mails[i], 0);
        if (s->targets[i].https)
            continue;
        buf_init(&id, 0);
        (void)buf_printf(&id, "tlsrpt.%llu.%016llx.%zu", (unsigned long long)s->facts.start_s,
                         (unsigned long long)hash_stable(s->facts.domain), i);
        report_compose_mail(&s->facts, buf_slice(&s->gzip), slice_str(s->targets[i].uri),
                            buf_slice(&id), s->now_s, &s->mails[i]);
        buf_finish(&id);
    }
}

static void composed(struct work_job *job)
{
    happened(container_of(job, struct report_sender, job));
}

static bool submit(struct report_sender *s, void (*run)(struct work_job *job),
                   void (*done)(struct work_job *job))
{
    s->job = (struct work_job){.run = run, .done = done};
    s->waiting = work_submit(s->r->o.door, &s->job);
    return s->waiting;
}

static void compose(struct report_sender *s)
{
    set_facts(s);
    s->state = SENDER_COMPOSING;
    if (!submit(s, run_compose, composed)) {
        s->domain->failed = true;
        s->target_count = 0;
    }
}

/* ---- by mail -------------------------------------------------------------------------------- */

static void mail_over(struct report_sender *s, bool sent)
{
    s->committing = false;
    target_over(s, sent, sent ? NULL : "the spool takes no message now");
}

static void mail_committed(struct spool_writer *w, enum spool_result result)
{
    struct report_sender *s = container_of(w, struct report_sender, writer);

    if (result == SPOOL_OK)
        (void)queue_accept(s->r->o.queue, w->message);
    mail_over(s, result == SPOOL_OK);
    happened(s);
}

static void mail_commit(struct report_sender *s)
{
    struct slice to = slice_str(s->targets[s->target].uri);
    struct spool_envelope envelope = {
        /* What comes back is read by somebody only if an address was set up for it. */
        .sender = s->conf->tls_reports.from,
        .recipients = &to,
        .recipient_count = 1,
        .arrived_s = (uint32_t)s->now_s,
        .flags = SPOOL_IS_REPORT | SPOOL_TLS_OPTIONAL,
        .facts = SLICE_LITERAL("about=tls-report\n")};

    s->committing = true;
    spool_writer_commit(&s->writer, &envelope);
}

static void mail_write(struct report_sender *s)
{
    s->waiting = true;
    switch (spool_write(&s->writer, &s->unwritten)) {
    case SPOOL_OK: mail_commit(s); return;
    case SPOOL_WAIT: return; /* `ready` calls us */
    case SPOOL_FULL:
    case SPOOL_FAILED:
    case SPOOL_TOO_BIG: break;
    }
    s->waiting = false;
    spool_writer_abort(&s->writer);
    mail_over(s, false);
}

static void mail_writable(struct spool_writer *w)
{
    struct report_sender *s = container_of(w, struct report_sender, writer);

    mail_write(s);
    step(s);
}

static void mail(struct report_sender *s)
{
    s->state = SENDER_MAILING;
    s->writer = (struct spool_writer){.ready = mail_writable, .done = mail_committed};
    s->unwritten = buf_slice(&s->mails[s->target]);
    if (spool_writer_begin(s->r->o.spool, &s->writer, s->unwritten.len) != SPOOL_OK)
        mail_over(s, false);
    else
        mail_write(s);
}

/* ---- by HTTPS ------------------------------------------------------------------------------- */

/* On a helper. */
static void run_post(struct work_job *job)
{
    struct report_sender *s = container_of(job, struct report_sender, job);
    const struct http_request request = {.url = s->targets[s->target].uri,
                                         .addresses = s->addresses,
                                         .address_count = s->address_count,
                                         .ca = s->conf->tls.ca,
                                         .content_type = "application/tlsrpt+gzip",
                                         .body = buf_slice(&s->gzip),
                                         .response_max = RESPONSE_MAX,
                                         .timeout_ms = REPORT_POST_TIMEOUT_MS,
                                         .cancel = &s->cancel};

    (s->r->o.post != NULL ? s->r->o.post : http_fetch)(&request, &s->response);
}

static void posted(struct work_job *job)
{
    struct report_sender *s = container_of(job, struct report_sender, job);
    const struct http_response *h = &s->response;
    char status[32] = "";

    if (h->result == HTTP_OK)
        (void)snprintf(status, sizeof(status), "HTTP status %u", h->status);
    if (h->result == HTTP_OK && h->status / 100 == 2)
        target_over(s, true, NULL);
    else
        target_over(s, false, h->result == HTTP_OK ? status : h->error);
    buf_finish(&s->response.body);
    happened(s);
}

/* Of IPv4 what is not private, local, shared, reserved or for many (RFC 6890); of IPv6 global unicast, and
 * what a NAT64 makes of IPv4. */
static bool is_public(const struct ip_addr *ip)
{
    static const char *const not_v4[] = {
        "0.0.0.0/8",     "10.0.0.0/8",   "100.64.0.0/10",  "127.0.0.0/8",   "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3"};
    static const char *const v6[] = {"2000::/3", "64:ff9b::/96"};
    bool four = ip_is_v4(ip), found = false;

    for (size_t i = 0; i < (four ? ARRAY_LEN(not_v4) : ARRAY_LEN(v6)); i++) {
        struct ip_net net;
        bool ok = ip_net_parse(slice_str(four ? not_v4[i] : v6[i]), &net);

        ASSERT(ok);
        found |= ip_net_contains(&net, ip);
    }
    return found != four;
}

static void located(struct dns_query *q)
{
    struct report_sender *s = container_of(q, struct report_sender, query);
    uint32_t found = q->status == DNS_OK ? q->answer->address_count : 0;

    s->address_count = 0;
    for (uint32_t i = 0; i < found && s->address_count < ADDRESSES_MAX; i++) {
        const struct ip_addr *ip = &q->answer->addresses[i];
        if (s->conf->tls_reports.private_addresses || is_public(ip))
            s->addresses[s->address_count++] = *ip;
    }
    dns_query_finish(q);
    if (s->address_count == 0)
        target_over(s, false,
                    found > 0 ? "the host has no public address" : "the host has no address");
    happened(s);
}

static void locate(struct report_sender *s)
{
    struct http_url url;
    bool ok = http_url_parse(s->targets[s->target].uri, &url);

    ASSERT(ok); /* it was when the record was read */
    s->state = SENDER_LOCATING;
    s->waiting = true;
    s->address_count = 0;
    s->query = (struct dns_query){.done = located};
    dns_query_addresses(s->r->o.dns, &s->query, slice_str(url.host));
}

static void post(struct report_sender *s)
{
    s->state = SENDER_POSTING;
    s->response = (struct http_response){0};
    buf_init(&s->response.body, RESPONSE_MAX);
    if (!submit(s, run_post, posted))
        target_over(s, false, "too many requests wait");
}

/* ---- the way -------------------------------------------------------------------------------- */

static void unlink_next(struct report_sender *s)
{
    s->state = SENDER_UNLINKING;
    s->waiting = true;
    report_file_unlink(&s->file, s->r->directory, s->period->name, s->shard);
}

static void next_domain(struct report_sender *s)
{
    struct list *node = list_pop_front(&s->domains);

    if (node != NULL) {
        s->domain = container_of(node, struct report_domain, node);
        ask(s);
    } else if (!list_empty(&s->later)) {
        s->state = SENDER_PAUSING;
        s->waiting = true;
        wheel_set(s->r->o.wheel, &s->timer, io_now_ms(s->r->o.io) + REPORT_RETRY_MS);
    } else {
        s->shard = 0;
        unlink_next(s);
    }
}

/* The next of those who want this domain's report, or the end of the domain. */
static void next_target(struct report_sender *s)
{
    while (s->target < s->target_count && is_told(s, &s->targets[s->target]))
        s->target++;
    if (s->target == s->target_count) {
        finish_texts(s);
        domain_over(s);
        next_domain(s);
    } else if (s->targets[s->target].https) {
        locate(s);
    } else {
        mail(s);
    }
}

static void next_file(struct report_sender *s)
{
    if (s->shard < REPORT_SHARDS_MAX) {
        read_next(s);
        return;
    }
    if (!is_too_old(s))
        group_domains(s);
    next_domain(s);
}

/* What was waited for has happened. False: there is nothing to do. */
static bool go_on(struct report_sender *s)
{
    switch (s->state) {
    case SENDER_RESTING: return begin_period(s);
    case SENDER_READING: next_file(s); return true;
    case SENDER_ASKING:
        if (s->target_count > 0)
            compose(s);
        else
            next_target(s);
        return true;
    case SENDER_COMPOSING:
    case SENDER_MAILING:
    case SENDER_POSTING: next_target(s); return true;
    case SENDER_LOCATING:
        if (s->address_count > 0)
            post(s);
        else
            next_target(s);
        return true;
    case SENDER_PAUSING:
        list_splice_back(&s->domains, &s->later);
        next_domain(s);
        return true;
    case SENDER_UNLINKING:
        if (s->shard < REPORT_SHARDS_MAX)
            unlink_next(s);
        else
            end_period(s);
        return true;
    }
    UNREACHABLE();
}

static void step(struct report_sender *s)
{
    while (!s->waiting && !s->stopping && go_on(s))
        continue;
}

static void fire(struct wheel_timer *timer)
{
    struct report_sender *s = container_of(timer, struct report_sender, timer);

    if (s->state == SENDER_PAUSING)
        s->waiting = false;
    step(s);
}

/* ---- life ----------------------------------------------------------------------------------- */

struct report_sender *report_sender_create(struct report *r)
{
    struct report_sender *s = mem_zalloc(sizeof(*s));

    s->r = r;
    wheel_timer_init(&s->timer, fire);
    report_file_init(&s->file, r->o.io, file_done);
    list_init(&s->domains);
    list_init(&s->later);
    return s;
}

void report_sender_wake(struct report_sender *s)
{
    if (s->state == SENDER_RESTING && !s->stopping) /* not within the caller's doing */
        wheel_set(s->r->o.wheel, &s->timer, io_now_ms(s->r->o.io));
}

void report_sender_stop(struct report_sender *s)
{
    if (s == NULL)
        return;
    s->stopping = true;
    atomic_store(&s->cancel, true);
    wheel_cancel(s->r->o.wheel, &s->timer);
    if (s->waiting && (s->state == SENDER_ASKING || s->state == SENDER_LOCATING)) {
        dns_query_finish(&s->query);
        s->waiting = false;
    } else if (s->waiting && s->state == SENDER_MAILING && !s->committing) {
        spool_writer_abort(&s->writer);
        s->waiting = false;
    }
}

bool report_sender_idle(const struct report_sender *s)
{
    return s == NULL || (!work_busy(&s->job) && !report_file_busy(&s->file) && !s->committing);
}

void report_sender_destroy(struct report_sender *s, bool crashed)
{
    struct list *node;

    if (s == NULL)
        return;
    ASSERT(crashed || report_sender_idle(s));
    wheel_cancel(s->r->o.wheel, &s->timer);
    if (s->waiting && (s->state == SENDER_ASKING || s->state == SENDER_LOCATING))
        dns_query_finish(&s->query);
    list_splice_back(&s->domains, &s->later);
    while ((node = list_pop_front(&s->domains)) != NULL)
        domain_free(container_of(node, struct report_domain, node));
    domain_free(s->domain);
    if (s->period != NULL)
        end_period(s);
    finish_texts(s);
    buf_finish(&s->response.body);
    report_file_finish(&s->file);
    mem_free(s);
}
