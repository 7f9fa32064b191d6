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
    if (options->client_tls != NULL)
        d->o.client_tls = tls_context_ref(options->client_tls);
    rand_seed(&d->rand, options->seed);
    wheel_timer_init(&d->stop_timer, stop_deadline);
    list_init(&d->maildir_waiting);
    delivery_dispatch_init(d);
    delivery_mx_init(d);
    delivery_sites_init(d);
    return d;
}

void delivery_set_tls(struct delivery *d, struct tls_context *client)
{
    struct tls_context *before = d->o.client_tls;

    ASSERT(client != NULL || before == NULL); /* there may be plans that count on it */
    d->o.client_tls = client != NULL ? tls_context_ref(client) : NULL;
    tls_context_unref(before);
}

void delivery_stop(struct delivery *d, uint64_t deadline_ms)
{
    if (d->stopping)
        return;
    d->stopping = true;
    d->stop_deadline_ms = deadline_ms;
    wheel_set(d->o.wheel, &d->stop_timer, deadline_ms);
    delivery_mx_stop(d);
    delivery_sites_stop(d);
}

bool delivery_idle(const struct delivery *d)
{
    return d->tasks == 0 && d->dispatches.in_use == 0 && d->maildirs_running == 0
           && d->bounces_running == 0 && d->lookups_running == 0 && d->site_count == 0;
}

static void discard(struct delivery *d)
{
    delivery_dispatch_discard(d);
    delivery_maildir_discard(d);
    delivery_bounce_discard(d);
    delivery_mx_discard(d);
    delivery_sites_discard(d);
}

void delivery_destroy(struct delivery *d, bool crashed)
{
    if (d == NULL)
        return;
    if (crashed)
        discard(d);
    else
        ASSERT(delivery_idle(d));
    wheel_cancel(d->o.wheel, &d->stop_timer);
    delivery_sites_finish(d);
    delivery_mx_finish(d);
    delivery_dispatch_finish(d);
    tls_context_unref(d->o.client_tls);
    mem_free(d);
}

void delivery_counters(const struct delivery *d, struct delivery_counters *out)
{
    *out = d->counters;
    out->sites = d->site_count;
}
