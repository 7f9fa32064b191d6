/* shard_world: see the header. */
#include "shard_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base_mem.h"
#include "dns_sim.h"

static const struct spool_options staging = {.segment_size = 1 << 20,
                                             .batch_slots = 8,
                                             .batch_slot_len = 64 << 10,
                                             .extent_slots = 4,
                                             .extent_slot_len = 64 << 10};

static struct conf *load(void)
{
    char path[] = "/tmp/shard-conf-XXXXXX";
    struct conf_errors errors = {0};
    struct conf *conf = NULL;
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");

    ck_assert_ptr_nonnull(file);
    (void)fprintf(file, "hostname = \"mx.example\" spool = \"/spool\" spool_segment = \"1M\"\n"
                        "listener \"in\" { address = {\"10.0.0.1:25\"} role = mx }\n"
                        "retry { intervals = {\"1h\"} jitter = 0 }\n");
    for (int i = 0; i < WORLD_SITES; i++)
        (void)fprintf(file, "route \"r%d.example\" { to = \"smtp://10.0.0.2:%d\" }\n", i, 2500 + i);
    (void)fclose(file);
    ck_assert_msg(conf_load(path, &conf, &errors), "%s", errors.count ? errors.items[0].text : "");
    conf_errors_finish(&errors);
    (void)unlink(path);
    return conf;
}

void shard_world_init(struct shard_world *w, uint64_t seed)
{
    struct sim_options options = sim_options_default();

    *w = (struct shard_world){.conf = load(), .zone = dns_sim_zone_create()};
    w->sim = sim_create(seed, &options);
    w->machine = sim_machine_create(w->sim, "10.0.0.1");
    (void)sim_machine_create(w->sim, "10.0.0.2"); /* where nobody listens */
    w->client = sim_io_create(w->machine, 0);
}

/* ---- life ----------------------------------------------------------------------------------- */

static struct dns *create_dns(void *context, struct io *io, struct wheel *wheel,
                              struct buf *out_error)
{
    const struct world_shard *s = context;

    (void)out_error;
    return dns_sim_create(s->world->zone, io, wheel, 1, 0, 200);
}

static void guest_stop(void *context)
{
    const struct world_shard *s = context;

    if (s == &s->world->shards[0] && s->world->guest_stop != NULL)
        s->world->guest_stop(s->world);
}

static bool guest_idle(void *context)
{
    const struct world_shard *s = context;

    return s != &s->world->shards[0] || s->world->guest_idle == NULL
           || s->world->guest_idle(s->world);
}

static void create(struct shard_world *w, unsigned number)
{
    struct world_shard *s = &w->shards[number];

    *s = (struct world_shard){.world = w};
    s->io = sim_io_create(w->machine, spool_registered_len(&staging));
    s->shard = shard_create(&(struct shard_options){.group = &w->group,
                                                    .number = number,
                                                    .io = s->io,
                                                    .seed = 1 + number,
                                                    .staging = &staging,
                                                    .dns_create = create_dns,
                                                    .guest_stop = guest_stop,
                                                    .guest_idle = guest_idle,
                                                    .context = s});
}

static void open_all(struct shard_world *w)
{
    struct buf error = {0};

    w->recovered = 0;
    for (unsigned i = 0; i < w->group.count; i++) {
        struct spool_recovery recovery = {0};
        ck_assert_msg(shard_open(w->shards[i].shard, &recovery, &error), "%.*s",
                      SLICE_ARG(buf_slice(&error)));
        ck_assert_uint_eq(recovery.bad_records, 0);
        w->recovered += recovery.messages;
    }
}

/* A wait that is over, and what follows it: as shard_run(), one turn at a time. */
static void turn(struct world_shard *s)
{
    if (s->done)
        return;
    shard_awake(s->shard);
    (void)io_wait(s->io, s->deadline_ms);
    s->deadline_ms = shard_asleep(s->shard, shard_pass(s->shard));
    if (s->deadline_ms == 0)
        s->deadline_ms = 1;
    s->done = shard_stopped(s->shard);
}

void shard_world_start(struct shard_world *w, unsigned shards)
{
    server_shared_init(&w->shared, w->conf);
    w->helpers = work_pool_create("helpers", 0, WORLD_JOBS);
    w->group = (struct shard_group){.settings.conf = w->conf,
                                    .shared = &w->shared,
                                    .count = shards,
                                    .compute = w->helpers,
                                    .patient = w->helpers,
                                    .fetch = w->helpers,
                                    .shards = w->table};
    for (unsigned i = 0; i < shards; i++)
        create(w, i);
    open_all(w);
    for (unsigned i = 0; i < shards; i++) {
        shard_start(w->shards[i].shard);
        sim_io_set_context(w->shards[i].io, &w->shards[i]);
        turn(&w->shards[i]);
    }
}

bool shard_world_step(struct shard_world *w)
{
    struct io *io = sim_step(w->sim);

    if (io == NULL)
        return false;
    if (sim_io_context(io) != NULL)
        turn(sim_io_context(io));
    else
        (void)io_wait(io, UINT64_MAX);
    return true;
}

void shard_world_run_ms(struct shard_world *w, uint64_t ms)
{
    uint64_t end_ms = sim_now_ms(w->sim) + ms;

    while (sim_now_ms(w->sim) < end_ms) {
        (void)io_wait(w->client, end_ms); /* so that the world has an event then */
        if (!shard_world_step(w))
            return;
    }
}

static bool all_done(const struct shard_world *w)
{
    for (unsigned i = 0; i < w->group.count; i++) {
        if (!w->shards[i].done)
            return false;
    }
    return true;
}

void shard_world_stop(struct shard_world *w, uint64_t most_ms)
{
    uint64_t end_ms = sim_now_ms(w->sim) + most_ms;

    shard_group_stop(&w->group);
    while (!all_done(w) && sim_now_ms(w->sim) < end_ms)
        shard_world_run_ms(w, 1);
    ck_assert_msg(all_done(w), "not within %u ms", (unsigned)most_ms);
    for (unsigned i = 0; i < w->group.count; i++)
        ck_assert_uint_eq(w->shards[i].io->counters.lent_out, 0);
    for (unsigned i = 0; i < w->group.count; i++)
        shard_destroy(w->shards[i].shard, false);
    for (unsigned i = 0; i < w->group.count; i++)
        io_destroy(w->shards[i].io);
    work_pool_destroy(w->helpers);
    server_shared_finish(&w->shared);
    w->group.count = 0;
}

void shard_world_finish(struct shard_world *w)
{
    ck_assert_uint_eq(w->group.count, 0);
    io_destroy(w->client);
    ck_assert_uint_eq(sim_leaked_fds(w->sim), 0);
    sim_destroy(w->sim);
    dns_sim_zone_destroy(w->zone);
    conf_free(w->conf);
}

/* ---- mail ----------------------------------------------------------------------------------- */

struct submission {
    struct spool_writer writer;
    struct shard *shard;
    bool done;
};

static void submitted(struct spool_writer *writer, enum spool_result result)
{
    struct submission *s = container_of(writer, struct submission, writer);

    ck_assert_int_eq(result, SPOOL_OK);
    (void)queue_accept(shard_queue(s->shard), writer->message);
    s->done = true;
}

static void submit(struct shard_world *w, struct submission *s, unsigned number)
{
    struct world_shard *to = &w->shards[number % w->group.count];
    char text[64];
    struct slice recipient;

    (void)snprintf(text, sizeof(text), "user%u@r%u.example", number,
                   number / w->group.count % WORLD_SITES);
    recipient = slice_str(text);
    s->shard = to->shard;
    s->writer.done = submitted;
    ck_assert_int_eq(spool_submit(shard_spool(to->shard), &s->writer,
                                  SLICE_LITERAL("Subject: x\r\n\r\nx\r\n"),
                                  &(struct spool_envelope){
                                      .sender = SLICE_LITERAL("ann@client.example"),
                                      .recipients = &recipient,
                                      .recipient_count = 1,
                                      .arrived_s = (uint32_t)(io_unix_ms(to->io) / 1000),
                                  }),
                     SPOOL_OK);
    io_wake_from_thread(to->io);
}

void shard_world_queue(struct shard_world *w, unsigned count)
{
    struct submission *all = mem_calloc(count, sizeof(*all));

    for (unsigned i = 0; i < count; i++)
        submit(w, &all[i], i);
    for (unsigned i = 0; i < count; i++) {
        while (!all[i].done)
            ck_assert(shard_world_step(w));
    }
    mem_free(all);
}

uint64_t shard_world_queued(struct shard_world *w)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < w->group.count; i++)
        sum += shard_queue(w->shards[i].shard)->messages;
    return sum;
}
