/*
 * sim_world_mail: the machines of a world, and the server on one of them: its shards, how they begin,
 * stop and die. What main_serve.c does with threads is done here in turns.
 */
#include <errno.h>
#include <stdio.h>

#include "base_mem.h"
#include "sim_days.h"

enum {
    STOP_GRACE_MS = 10 * 1000, /* after which a stop cuts off what is under way */
    BOOT_PAUSE_MS = 60 * 1000,
};

uint64_t world_now_ms(const struct world *w)
{
    return sim_now_ms(w->sim);
}

/* Draws nothing for what is off, as the simulator does. */
bool world_chance(struct world *w, unsigned of_ten_thousand)
{
    return of_ten_thousand > 0 && rand_below(&w->rand, 10000) < of_ten_thousand;
}

/* ---- stations ------------------------------------------------------------------------------ */

static void station_pass(struct actor *a)
{
    struct station *s = container_of(a, struct station, actor);

    (void)io_wait(s->io, wheel_next_ms(&s->wheel));
    wheel_advance(&s->wheel, io_now_ms(s->io));
}

void station_init(struct station *s, struct world *w, const char *ip)
{
    s->actor.pass = station_pass;
    s->world = w;
    s->machine = sim_machine_create(w->sim, ip);
    s->io = sim_io_create(s->machine, 0);
    sim_io_set_context(s->io, &s->actor);
    wheel_init(&s->wheel, io_now_ms(s->io));
}

bool world_step(struct world *w)
{
    struct io *io = sim_step(w->sim);
    struct actor *a;

    if (io == NULL)
        return false;
    w->steps++;
    a = sim_io_context(io);
    if (a != NULL)
        a->pass(a);
    return true;
}

/* ---- a shard ------------------------------------------------------------------------------- */

/* A wait that is over, and what follows it. */
static void shard_turn(struct actor *a)
{
    struct mx_shard *s = container_of(a, struct mx_shard, actor);

    if (s->done)
        return;
    shard_awake(s->shard);
    (void)io_wait(s->io, s->deadline_ms);
    s->deadline_ms = shard_asleep(s->shard, shard_pass(s->shard));
    if (s->deadline_ms == 0) /* at once: but each pass costs time */
        s->deadline_ms = 1;
    s->done = shard_stopped(s->shard);
}

static struct dns *create_dns(void *context, struct io *io, struct wheel *wheel,
                              struct buf *out_error)
{
    struct mx_shard *s = context;
    struct world *w = s->world;

    (void)out_error;
    return dns_sim_create(w->zone, io, wheel, rand_u64(&w->rand),
                          w->calm_ms == 0 ? w->plan.dns_fail : 0, 200);
}

static void shard_prepare(struct world *w, unsigned number)
{
    struct mx *mx = &w->mx;
    struct mx_shard *s = &mx->shards[number];

    *s = (struct mx_shard){.actor = {shard_turn}, .world = w};
    s->io = sim_io_create(mx->machine, spool_registered_len(&w->plan.staging));
    s->shard = shard_create(&(struct shard_options){.group = &mx->group,
                                                    .number = number,
                                                    .io = s->io,
                                                    .seed = 1 + (rand_u64(&w->rand) >> 1),
                                                    .staging = &w->plan.staging,
                                                    .dns_create = create_dns,
                                                    .context = s});
}

/* ---- beginning ----------------------------------------------------------------------------- */

static void shards_destroy(struct world *w, bool crashed)
{
    struct mx *mx = &w->mx;

    for (unsigned i = 0; i < mx->group.count; i++)
        shard_destroy(mx->shards[i].shard, crashed);
    for (unsigned i = 0; i < mx->group.count && !crashed; i++)
        io_destroy(mx->shards[i].io);
    work_pool_destroy(mx->helpers);
    mx_forget_reloads(w);
    server_shared_finish(&mx->shared);
    mx->group.count = 0;
    mx->state = MX_DOWN;
}

/* Those that did open, and the one that did not, before everything is given back. */
static void close_all(struct world *w, unsigned opened)
{
    for (unsigned i = 0; i <= opened && i < w->mx.group.count; i++) {
        sim_io_set_stepping(w->mx.shards[i].io, true);
        shard_rest(w->mx.shards[i].shard);
    }
}

/* How many could be opened. */
static unsigned open_all(struct world *w)
{
    struct mx *mx = &w->mx;
    struct buf error;
    unsigned opened = 0;
    bool ok = true;

    buf_init(&error, 0);
    mx->recovered = 0;
    for (; ok && opened < mx->group.count; opened += ok) {
        struct spool_recovery recovery = {0};
        ok = shard_open(mx->shards[opened].shard, &recovery, &error);
        mx->recovered += recovery.messages;
        WORLD_CHECK(w, recovery.bad_records == 0, "P1: %llu records are damaged",
                    (unsigned long long)recovery.bad_records);
    }
    if (!ok && w->verbose)
        fprintf(stderr, "%9llu boot: %.*s\n", (unsigned long long)world_now_ms(w),
                SLICE_ARG(buf_slice(&error)));
    buf_finish(&error);
    return opened;
}

/* As main_serve.c does, before anything is opened. False: no descriptors. */
static bool bind_all(struct world *w)
{
    bool ok = true;

    ASSERT(w->conf->listener_count <= LISTENERS_MAX);
    for (unsigned i = 0; i < w->mx.group.count; i++) {
        struct mx_shard *s = &w->mx.shards[i];
        for (size_t l = 0; l < w->conf->listener_count; l++) {
            const struct conf_address *at = &w->conf->listeners[l].address.items[0];
            struct io_addr addr;
            io_addr_from_ip(&at->ip, at->port, &addr);
            s->listeners[l] = io_listen(s->io, &addr, IO_LISTEN_REUSEPORT, 64);
            WORLD_CHECK(w, s->listeners[l] >= 0 || s->listeners[l] == -EMFILE, "cannot listen: %d",
                        s->listeners[l]);
            ok &= s->listeners[l] >= 0;
        }
    }
    return ok;
}

static void unbind_all(struct world *w)
{
    for (unsigned i = 0; i < w->mx.group.count; i++) {
        for (size_t l = 0; l < w->conf->listener_count; l++) {
            if (w->mx.shards[i].listeners[l] >= 0)
                io_close_now(w->mx.shards[i].io, w->mx.shards[i].listeners[l]);
        }
    }
}

static void begin_all(struct world *w)
{
    for (unsigned i = 0; i < w->mx.group.count; i++) {
        struct mx_shard *s = &w->mx.shards[i];
        for (size_t l = 0; l < w->conf->listener_count; l++)
            shard_listen(s->shard, s->listeners[l], l);
        shard_start(s->shard);
        s->deadline_ms = shard_asleep(s->shard, shard_pass(s->shard));
        sim_io_set_context(s->io, &s->actor);
    }
}

/* Sometimes the power goes while the server starts: from some point on nothing reaches the disk. (A
 * start is one call, which a crash cannot end.) */
static bool doom(struct world *w)
{
    uint64_t at = w->options.doom_at;

    if (at > 0 && w->mx.boots == 2)
        (void)sim_machine_fail_ops(w->mx.machine, at - 1, UINT64_MAX);
    else if (!w->options.fixed && w->calm_ms == 0 && rand_chance(&w->rand, 1, 8))
        (void)sim_machine_fail_ops(w->mx.machine, rand_below(&w->rand, 400), UINT64_MAX);
    else
        return false;
    return true;
}

/* What a start that failed leaves. */
static void boot_failed(struct world *w, unsigned opened, bool died)
{
    w->mx.boots_failed++;
    WORLD_CHECK(w, died || w->calm_ms == 0 || w->options.fail_op > 0,
                "the server does not start although nothing is wrong");
    if (died) {
        sim_machine_crash(w->mx.machine);
    } else {
        close_all(w, opened);
        unbind_all(w);
    }
    shards_destroy(w, died);
    mx_boot_later(w);
}

void mx_boot(struct world *w)
{
    struct mx *mx = &w->mx;
    unsigned count = 1 + (unsigned)rand_below(&w->rand, SHARDS_MAX), opened = 0;
    bool doomed, died = false;
    uint64_t ops;

    ASSERT(mx->state == MX_DOWN);
    if (mx->boots++ == 0)
        count = w->plan.shards;
    server_shared_init(&mx->shared, w->conf);
    mx->helpers = work_pool_create("helpers", 0, JOBS_MAX);
    mx->group = (struct shard_group){
        .settings = {.conf = w->conf, .tls = w->tls.listeners, .client = w->tls.mx_client},
        .shared = &mx->shared,
        .count = count,
        .compute = mx->helpers,
        .patient = mx->helpers,
        .fetch = mx->helpers,
        .shards = mx->table};
    for (unsigned i = 0; i < count; i++)
        shard_prepare(w, i);
    doomed = doom(w);
    ops = sim_machine_ops(mx->machine);
    if (bind_all(w))
        opened = open_all(w);
    if (mx->boots == 2)
        mx->recovery_ops = sim_machine_ops(mx->machine) - ops;
    if (doomed)
        died = sim_machine_fail_ops(mx->machine, 0, 0);
    if (opened < count) {
        boot_failed(w, opened, died);
        return;
    }
    begin_all(w);
    mx->state = MX_UP;
    if (w->days != NULL)
        days_booted(w);
}

static void boot_timer(struct wheel_timer *timer)
{
    mx_boot(container_of(timer, struct world, mx.boot));
}

void mx_boot_later(struct world *w)
{
    uint64_t pause_ms = rand_below(&w->rand, (uint64_t)BOOT_PAUSE_MS >> rand_below(&w->rand, 16));

    pause_ms += 1000 * w->mx.boots_failed;
    wheel_set(&w->keeper.wheel, &w->mx.boot, world_now_ms(w) + pause_ms);
    io_wake(w->keeper.io, w->keeper.io);
}

/* ---- the operator -------------------------------------------------------------------------- */

enum { HOLD_MAX_S = 1800 };

/* Something that an operator does to a message: it may be gone, or another shard's. */
static void operate_on(struct queue *q, struct message *m, uint64_t what, uint32_t number)
{
    struct spool_terms terms = {.priority = (int8_t)(number % 19 - 9)};

    switch (what) {
    case 0:
    case 1:
        if (queue_delete(q, m->id))
            m->deleted = true;
        return;
    case 2: (void)queue_hold(q, m->id, queue_now_s(q) + number % HOLD_MAX_S); return;
    case 3: (void)queue_release(q, m->id); return;
    case 4: (void)queue_revise(q, m->id, &terms); return;
    case 5:
        if (queue_bounce(q, m->id, SLICE_LITERAL("550 5.7.1 The operator does not want it")))
            m->returned = true;
        return;
    case 6:
        (void)queue_holds_add(q, &(struct queue_hold_rule){.id = 1 + number % 8,
                                                           .kind = QUEUE_HOLD_SENDER,
                                                           .value = slice_str(m->sender),
                                                           .reason = SLICE_LITERAL("held"),
                                                           .until_s = queue_now_s(q) + 60});
        return;
    case 7: (void)queue_holds_remove(q, 1 + number % 8); return;
    default: (void)queue_retry(q, m->id); return;
    }
}

void mx_operate(struct world *w)
{
    struct message *m = &w->model.messages[rand_below(&w->rand, w->model.message_count)];
    uint64_t what = rand_below(&w->rand, 16);
    uint32_t number = (uint32_t)rand_below(&w->rand, 1000000);

    if (w->mx.state != MX_UP || m->id == 0)
        return;
    for (unsigned i = 0; i < w->mx.group.count; i++)
        operate_on(shard_queue(w->mx.shards[i].shard), m, what, number);
    for (unsigned i = 0; i < w->mx.group.count; i++)
        io_wake_from_thread(w->mx.shards[i].io);
}

/* ---- ending -------------------------------------------------------------------------------- */

void mx_stop(struct world *w)
{
    if (w->mx.state != MX_UP)
        return;
    w->mx.state = MX_STOPPING;
    w->mx.stop_ms = world_now_ms(w);
    shard_group_stop(&w->mx.group);
}

static void note_crash(struct world *w)
{
    if (w->crash_count < ARRAY_LEN(w->crash_ms))
        w->crash_ms[w->crash_count++] = world_now_ms(w);
}

/* A stop does not wait for a disk that takes nothing: what it had not taken is lost as in a crash. */
static bool disk_may_fail(const struct world *w)
{
    const struct sim_options *o = sim_options(w->sim);

    return o->write_error > 0 || o->no_space > 0 || o->disk_bytes > 0 || o->fds_max > 0
           || w->options.fail_op > 0;
}

void mx_die(struct world *w, bool power_lost)
{
    if (w->mx.state == MX_DOWN)
        return;
    note_crash(w);
    if (power_lost)
        sim_machine_crash(w->mx.machine);
    else
        sim_machine_kill(w->mx.machine);
    shards_destroy(w, true);
}

/* What a clean end must have given back. */
static void check_returned(struct world *w)
{
    for (unsigned i = 0; i < w->mx.group.count; i++) {
        struct shard_counters c;
        shard_counters(w->mx.shards[i].shard, &c);
        w->mx.checkpoints += c.spool.checkpoints;
        w->mx.compacted_bytes += c.spool.compacted_bytes;
        w->mx.recycled += c.spool.segments_recycled;
        WORLD_CHECK(w, c.server.sessions == 0, "P5: %llu sessions are left",
                    (unsigned long long)c.server.sessions);
        WORLD_CHECK(w, c.delivery.connections_open == 0 && c.delivery.tasks_waiting == 0,
                    "P5: %llu connections and %llu tasks are left",
                    (unsigned long long)c.delivery.connections_open,
                    (unsigned long long)c.delivery.tasks_waiting);
        WORLD_CHECK(w, c.io.lent_out == 0, "P5: %llu buffers are still lent",
                    (unsigned long long)c.io.lent_out);
    }
}

bool mx_look(struct world *w)
{
    struct mx *mx = &w->mx;

    if (mx->state != MX_STOPPING)
        return false;
    for (unsigned i = 0; i < mx->group.count; i++) {
        if (!mx->shards[i].done)
            return false;
    }
    if (world_now_ms(w) >= mx->stop_ms + STOP_GRACE_MS)
        w->cut = true;
    if (disk_may_fail(w))
        note_crash(w);
    check_returned(w);
    shards_destroy(w, false);
    WORLD_CHECK(w, sim_open_files(mx->machine) == 0, "P5: %u files are left open",
                sim_open_files(mx->machine));
    return true;
}

bool mx_is_drained(struct world *w)
{
    if (w->mx.state != MX_UP)
        return false;
    for (unsigned i = 0; i < w->mx.group.count; i++) {
        struct shard_counters c;
        shard_counters(w->mx.shards[i].shard, &c);
        if (c.queue_messages > 0 || c.server.sessions > 0)
            return false;
    }
    return true;
}

void mx_print(struct world *w)
{
    static const char *const names[] = {"down", "up", "stopping"};

    fprintf(stderr, "server: %s, %llu boots\n", names[w->mx.state],
            (unsigned long long)w->mx.boots);
    for (unsigned i = 0; w->mx.state != MX_DOWN && i < w->mx.group.count; i++) {
        const struct mx_shard *s = &w->mx.shards[i];
        struct shard_counters c;
        shard_counters(s->shard, &c);
        fprintf(stderr,
                "shard %u: sessions %llu, queue %llu (%llu out), connections %llu, tasks %llu, "
                "next pass at %llu ms%s\n",
                i, (unsigned long long)c.server.sessions, (unsigned long long)c.queue_messages,
                (unsigned long long)c.queue_out, (unsigned long long)c.delivery.connections_open,
                (unsigned long long)c.delivery.tasks_waiting, (unsigned long long)s->deadline_ms,
                s->done ? ", done" : "");
    }
}

/* ---- the world ----------------------------------------------------------------------------- */

static void make_zone(struct world *w)
{
    struct dns_sim_zone *z = w->zone = dns_sim_zone_create();

    dns_sim_zone_add_mx(z, "one.mx.test", 10, "h1.hosts.test");
    dns_sim_zone_add_mx(z, "one.mx.test", 20, "h2.hosts.test");
    dns_sim_zone_add_mx(z, "two.mx.test", 10, "h2.hosts.test");
    dns_sim_zone_add_mx(z, "two.mx.test", 10, "h3.hosts.test");
    dns_sim_zone_add_mx(z, "null.mx.test", 0, "");
    dns_sim_zone_add_mx(z, "dead.mx.test", 10, "dead.hosts.test");
    dns_sim_zone_set_status(z, "sick.mx.test", DNS_TEMPORARY);
    dns_sim_zone_add_address(z, "bare.mx.test", "10.0.1.3");
    dns_sim_zone_add_address(z, "h1.hosts.test", "10.0.1.1");
    dns_sim_zone_add_address(z, "h2.hosts.test", "10.0.1.2");
    dns_sim_zone_add_address(z, "h3.hosts.test", "10.0.1.3");
    dns_sim_zone_add_address(z, "dead.hosts.test", "10.0.1.8");
}

/* Where syncs fail, the directories are there already: one that was made and could not be synced looks
 * durable to the next start, for a second sync of the same change may say yes. */
static void make_directories(struct world *w)
{
    char path[64];
    bool ok = true;

    for (unsigned i = 0; ok && i < SHARDS_MAX; i++) {
        (void)snprintf(path, sizeof(path), "/spool/%u/lock", i);
        ok = sim_file_write(w->mx.machine, path, SLICE_NULL);
    }
    ASSERT(ok);
}

void mx_init(struct world *w)
{
    w->conf = mx_load_conf(w);
    make_zone(w);
    w->plan.staging.segment_size = w->conf->spool_segment;
    w->mx.machine = sim_machine_create(w->sim, "10.0.0.1");
    if (w->plan.weather.write_error > 0)
        make_directories(w);
    station_init(&w->keeper, w, "10.0.3.1");
    wheel_timer_init(&w->mx.boot, boot_timer);
}

void mx_finish(struct world *w)
{
    conf_free(w->conf);
    dns_sim_zone_destroy(w->zone);
}
