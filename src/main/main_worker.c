/* main_worker: a shard's thread: opens its shard, waits until all have, serves, ends with all others. */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base_mem.h"
#include "dns_resolver.h"
#include "io_uring_ring.h"
#include "main_log.h"
#include "main_serve_priv.h"

static struct dns *create_dns(void *context, struct io *io, struct wheel *wheel,
                              struct buf *out_error)
{
    const struct worker *w = context;
    const struct conf_dns *conf = &w->serve->conf->dns;
    struct io_addr *servers = mem_calloc(conf->servers.count, sizeof(*servers));
    struct dns_resolver_options options = {.servers = servers,
                                           .server_count = conf->servers.count,
                                           .timeout_ms = conf->timeout,
                                           .dnssec =
                                               conf->dnssec == CONF_DNSSEC_YES  ? DNS_DNSSEC_YES
                                               : conf->dnssec == CONF_DNSSEC_NO ? DNS_DNSSEC_NO
                                                                                : DNS_DNSSEC_AUTO};
    struct dns *dns;

    for (size_t i = 0; i < conf->servers.count; i++)
        io_addr_from_ip(&conf->servers.items[i].ip, conf->servers.items[i].port, &servers[i]);
    dns = dns_resolver_create(io, wheel, &options, out_error);
    mem_free(servers);
    return dns;
}

static void stop_admin(void *context)
{
    struct worker *w = context;

    if (w->admin != NULL)
        admin_stop(w->admin);
}

static bool admin_is_idle(void *context)
{
    const struct worker *w = context;

    return w->admin == NULL || admin_idle(w->admin);
}

static bool worker_open(struct worker *w)
{
    struct serve *s = w->serve;
    int error = io_uring_start(w->io);
    cpu_set_t cpus;

    if (error < 0) {
        (void)buf_printf(&w->error, "cannot start the ring of shard %u: %s", w->number,
                         strerror(-error));
        return false;
    }
    if (w->cpu >= 0) {
        CPU_ZERO(&cpus);
        CPU_SET(w->cpu, &cpus);
        (void)sched_setaffinity(0, sizeof(cpus), &cpus); /* a hint: it works elsewhere too */
    }
    w->shard = shard_create(&(struct shard_options){.group = &s->group,
                                                    .number = w->number,
                                                    .io = w->io,
                                                    .dns_create = create_dns,
                                                    .dns_stop = dns_resolver_stop,
                                                    .dns_idle = dns_resolver_idle,
                                                    .guest_stop = stop_admin,
                                                    .guest_idle = admin_is_idle,
                                                    .context = w});
    return shard_open(w->shard, &w->recovery, &w->error);
}

static void worker_serve(struct worker *w)
{
    struct serve *s = w->serve;

    for (size_t a = 0; a < s->address_count; a++) {
        shard_listen(w->shard, w->fds[a], s->listener_of[a]);
        w->fds[a] = -1;
    }
    if (w->number == 0) {
        w->admin = admin_create(w->shard, s->control_fd, MAILRING_VERSION);
        s->control_fd = -1;
        shard_listen(w->shard, s->submit_fd, s->conf->listener_count);
        s->submit_fd = -1;
    }
    shard_start(w->shard);
    shard_run(w->shard);
}

void *main_worker_run(void *argument)
{
    struct worker *w = argument;
    struct serve *s = w->serve;

    main_log_buffer_this_thread();
    w->ok = worker_open(w);
    if (!w->ok)
        atomic_store(&s->failed, true);
    main_log_flush();
    (void)sem_post(&s->opened);
    while (sem_wait(&s->go) != 0 && errno == EINTR)
        continue;
    if (!atomic_load(&s->failed))
        worker_serve(w);
    else if (w->shard != NULL)
        shard_rest(w->shard);
    /* All are done with each other's mailboxes before any is freed; and each by its own thread, which
     * alone may use its ring. */
    (void)pthread_barrier_wait(&s->ended);
    admin_destroy(w->admin);
    shard_destroy(w->shard, false);
    main_log_flush();
    return NULL;
}
