/* delivery: its life, and what is counted. The work is in the modules that delivery_priv.h lists. */
#include "base_mem.h"
#include "delivery_priv.h"

static void stop_deadline(struct wheel_timer *timer)
{
    delivery_sites_abort(container_of(timer, struct delivery, stop_timer));
}

struct delivery *delivery_create(const struct delivery_options *options)
{
    struct delivery *d = mem_zalloc(sizeof(*d));

    ASSERT(options->shards > 0 && options->shard < options->shards);
    d->o = *options;
    d->o.client_tls = NULL;
    list_init(&d->terms);
    delivery_reload(d, options->conf, options->client_tls);
    rand_seed(&d->rand, options->seed);
    wheel_timer_init(&d->stop_timer, stop_deadline);
    list_init(&d->maildir_waiting);
    list_init(&d->probes);
    list_init(&d->explains);
    delivery_dispatch_init(d);
    delivery_mx_init(d);
    delivery_sites_init(d);
    delivery_calls_init(d);
    delivery_notice_init(d);
    return d;
}

/* ---- what holds ----------------------------------------------------------------------------- */

static struct delivery_terms *current_terms(struct delivery *d)
{
    return container_of(d->terms.prev, struct delivery_terms, node);
}

static void terms_free(struct delivery_terms *terms)
{
    list_remove(&terms->node);
    conf_free(terms->conf);
    mem_free(terms);
}

static void set_tls(struct delivery *d, struct tls_context *client)
{
    struct tls_context *before = d->o.client_tls;

    ASSERT(client != NULL || before == NULL); /* there may be plans that count on it */
    d->o.client_tls = client != NULL ? tls_context_ref(client) : NULL;
    tls_context_unref(before);
}

void delivery_reload(struct delivery *d, const struct conf *conf, struct tls_context *client_tls)
{
    struct delivery_terms *before = list_empty(&d->terms) ? NULL : current_terms(d);
    struct delivery_terms *terms = mem_zalloc(sizeof(*terms));

    terms->conf = conf_ref(conf);
    list_push_back(&d->terms, &terms->node);
    d->o.conf = conf;
    d->smtp_options = (struct smtp_client_options){.hostname = conf->hostname};
    d->lmtp_options = (struct smtp_client_options){.hostname = conf->hostname, .lmtp = true};
    if (before != NULL && before->tasks == 0)
        terms_free(before);
    set_tls(d, client_tls);
    if (before != NULL)
        delivery_sites_retire(d);
}

void delivery_terms_enter(struct delivery *d, struct delivery_task *t)
{
    t->terms = current_terms(d);
    t->terms->tasks++;
    t->conf = t->terms->conf;
}

void delivery_terms_leave(struct delivery *d, struct delivery_task *t)
{
    ASSERT(t->terms->tasks > 0);
    t->terms->tasks--;
    if (t->terms->tasks == 0 && t->terms != current_terms(d))
        terms_free(t->terms);
    t->terms = NULL;
    t->conf = NULL;
}

/* ---- stopping and ending --------------------------------------------------------------------- */

void delivery_stop(struct delivery *d, uint64_t deadline_ms)
{
    if (d->stopping)
        return;
    d->stopping = true;
    d->stop_deadline_ms = deadline_ms;
    wheel_set(d->o.wheel, &d->stop_timer, deadline_ms);
    delivery_verify_stop(d);
    delivery_explain_stop(d);
    delivery_mx_stop(d);
    delivery_sites_stop(d);
    delivery_calls_stop(d);
    delivery_notice_stop(d);
}

bool delivery_idle(const struct delivery *d)
{
    return d->tasks == 0 && d->dispatches.in_use == 0 && d->maildirs_running == 0
           && list_empty(&d->probes) && delivery_notice_idle(d) && d->lookups_running == 0
           && d->site_count == 0;
}

static void discard(struct delivery *d)
{
    delivery_dispatch_discard(d);
    delivery_maildir_discard(d);
    delivery_notice_discard(d);
    delivery_mx_discard(d);
    delivery_sites_discard(d);
    delivery_verify_discard(d);
}

void delivery_destroy(struct delivery *d, bool crashed)
{
    if (d == NULL)
        return;
    if (crashed)
        discard(d);
    else
        ASSERT(delivery_idle(d));
    ASSERT(list_empty(&d->explains)); /* they are their askers' to end */
    wheel_cancel(d->o.wheel, &d->stop_timer);
    delivery_calls_stop(d);
    delivery_notice_finish(d);
    delivery_sites_finish(d);
    delivery_mx_finish(d);
    delivery_dispatch_finish(d);
    LIST_EACH_SAFE(&d->terms, node)
    terms_free(container_of(node, struct delivery_terms, node));
    tls_context_unref(d->o.client_tls);
    mem_free(d);
}

void delivery_counters(const struct delivery *d, struct delivery_counters *out)
{
    *out = d->counters;
    out->sites = d->site_count;
}
