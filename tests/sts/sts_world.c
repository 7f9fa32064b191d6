/* sts_world: see the header. */
#include "sts_world.h"

#include <stdio.h>

#include "base_mem.h"

enum { JOBS_MAX = 64 };

static void fetch(void *context, struct sts_fetch *f)
{
    struct sts_world *w = context;
    const char *why;

    w->fetches++;
    (void)snprintf(w->host, sizeof(w->host), "%s", f->host);
    ck_assert_uint_gt(f->address_count, 0);
    if (w->policy != NULL)
        f->policy = sts_policy_parse(slice_str(w->policy), &why);
    if (f->policy == NULL) {
        f->problem = w->problem;
        (void)snprintf(f->reason, sizeof(f->reason), "as the test says");
    }
}

void sts_world_init(struct sts_world *w, uint64_t seed)
{
    struct sim_options options = sim_options_default();

    *w =
        (struct sts_world){.shards = 1, .state = "/var/lib/mailring", .problem = STS_PROBLEM_FETCH};
    w->sim = sim_create(seed, &options);
    w->machine = sim_machine_create(w->sim, "10.0.0.1");
    w->zone = dns_sim_zone_create();
    w->pool = work_pool_create("test", 0, JOBS_MAX);
    sts_world_open(w);
}

void sts_world_open(struct sts_world *w)
{
    struct buf error = {0};

    w->io = sim_io_create(w->machine, 0);
    sim_io_set_stepping(w->io, true);
    wheel_init(&w->wheel, io_now_ms(w->io));
    w->dns = dns_sim_create(w->zone, w->io, &w->wheel, 1, 0, 50);
    w->door = work_door_create(w->pool, w->io);
    w->sts = sts_create(&(struct sts_options){.io = w->io,
                                              .wheel = &w->wheel,
                                              .dns = w->dns,
                                              .door = w->door,
                                              .state = w->state,
                                              .shard = w->shard,
                                              .shards = w->shards,
                                              .seed = 3,
                                              .fetch = fetch,
                                              .fetch_context = w,
                                              .policies_max = w->policies_max});
    ck_assert_msg(sts_open(w->sts, &error), "%.*s", SLICE_ARG(buf_slice(&error)));
}

static void finish_queries(struct sts_world *w)
{
    for (unsigned i = 0; i < w->asked; i++)
        sts_query_finish(&w->told[i].q);
    w->asked = 0;
}

void sts_world_stop(struct sts_world *w)
{
    sts_stop(w->sts);
    while (!sts_idle(w->sts))
        sts_world_run_ms(w, 1);
    sts_world_run_ms(w, 1);
    finish_queries(w);
    sts_destroy(w->sts, false);
    work_door_destroy(w->door, false);
    dns_destroy(w->dns);
    ck_assert_uint_eq(w->wheel.count, 0);
    io_destroy(w->io);
    ck_assert_uint_eq(sim_leaked_fds(w->sim), 0);
}

void sts_world_crash(struct sts_world *w)
{
    sim_machine_crash(w->machine);
    finish_queries(w);
    sts_destroy(w->sts, true);
    work_door_destroy(w->door, true);
    dns_destroy(w->dns);
}

void sts_world_finish(struct sts_world *w)
{
    sts_world_stop(w);
    work_pool_destroy(w->pool);
    sim_destroy(w->sim);
    dns_sim_zone_destroy(w->zone);
}

void sts_world_run_ms(struct sts_world *w, uint64_t ms)
{
    uint64_t end = io_now_ms(w->io) + ms;

    for (;;) {
        uint64_t next;
        wheel_advance(&w->wheel, io_now_ms(w->io));
        work_door_step(w->door);
        if (io_now_ms(w->io) >= end && !work_door_has_work(w->door))
            return;
        next = wheel_next_ms(&w->wheel);
        (void)io_wait(w->io, work_door_has_work(w->door) ? 0 : next < end ? next : end);
    }
}

static void told(struct sts_query *q)
{
    struct told *t = container_of(q, struct told, q);

    t->done++;
}

struct told *sts_world_lookup(struct sts_world *w, const char *domain)
{
    struct told *t;

    if (w->asked == WORLD_QUERIES)
        finish_queries(w);
    t = &w->told[w->asked++];
    *t = (struct told){.q.done = told};
    sts_lookup(w->sts, &t->q, slice_str(domain));
    ck_assert_uint_eq(t->done, 0); /* never within */
    return t;
}

struct told *sts_world_ask(struct sts_world *w, const char *domain)
{
    struct told *t = sts_world_lookup(w, domain);

    for (int i = 0; t->done == 0 && i < 1000; i++)
        sts_world_run_ms(w, 1);
    ck_assert_uint_eq(t->done, 1);
    return t;
}

void sts_world_announce(struct sts_world *w, const char *domain, const char *id)
{
    char name[300], text[100];

    (void)snprintf(name, sizeof(name), "_mta-sts.%s", domain);
    dns_sim_zone_clear(w->zone, name);
    if (id != NULL) {
        (void)snprintf(text, sizeof(text), "v=STSv1; id=%s;", id);
        dns_sim_zone_add_txt(w->zone, name, text);
    }
    (void)snprintf(name, sizeof(name), "mta-sts.%s", domain);
    dns_sim_zone_clear(w->zone, name);
    if (id != NULL)
        dns_sim_zone_add_address(w->zone, name, "10.0.0.9");
}
