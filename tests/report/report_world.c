/* report_world: see the header. */
#include "report_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base_mem.h"

static const struct spool_options spool_options = {.path = "/spool",
                                                   .shards = 1,
                                                   .segment_size = 256 << 10,
                                                   .batch_slots = 8,
                                                   .batch_slot_len = 64 << 10,
                                                   .extent_slots = 4,
                                                   .extent_slot_len = 32 << 10};

unsigned world_post_status, world_posts;
char world_post_url[256], world_post_type[64];
struct buf world_post_body;

static void post(const struct http_request *request, struct http_response *out)
{
    world_posts++;
    (void)snprintf(world_post_url, sizeof(world_post_url), "%s", request->url);
    (void)snprintf(world_post_type, sizeof(world_post_type), "%s", request->content_type);
    buf_clear(&world_post_body);
    (void)buf_append_slice(&world_post_body, request->body);
    ck_assert_uint_gt(request->address_count, 0);
    out->result = world_post_status != 0 ? HTTP_OK : HTTP_UNREACHED;
    out->status = world_post_status;
    if (world_post_status == 0)
        (void)snprintf(out->error, sizeof(out->error), "not there");
}

static struct conf *load(const char *more)
{
    char path[] = "/tmp/report-conf-XXXXXX";
    struct conf_errors errors = {0};
    struct conf *conf = NULL;
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");

    ck_assert_ptr_nonnull(file);
    (void)fprintf(file,
                  "hostname = \"mx.example\" spool = \"/spool\" state = \"/state\"\n"
                  "listener \"in\" { address = {\"10.0.0.1:25\"} role = mx }\n%s",
                  more);
    (void)fclose(file);
    ck_assert_msg(conf_load(path, &conf, &errors), "%s", errors.count ? errors.items[0].text : "");
    conf_errors_finish(&errors);
    (void)unlink(path);
    return conf;
}

void report_world_init(struct report_world *w, const char *more_conf)
{
    struct sim_options options = sim_options_default();

    options.unix_ms = 1795305600ull * 1000; /* 2026-11-22 00:00:00 */
    *w = (struct report_world){.conf = load(more_conf), .delay_max_ms = 600 * 1000};
    w->sim = sim_create(1, &options);
    w->machine = sim_machine_create(w->sim, "10.0.0.1");
    w->zone = dns_sim_zone_create();
    w->pool = work_pool_create("test", 0, 16);
    world_posts = 0;
    world_post_status = 201;
    report_world_open(w, 2);
}

/* ---- mail ----------------------------------------------------------------------------------- */

static void ready(struct spool_reader *r)
{
    (void)r;
}

static bool wait_read(struct report_world *w, enum spool_read result)
{
    if (result == SPOOL_READ_WAIT)
        (void)io_wait(w->io, io_now_ms(w->io) + 1);
    return result == SPOOL_READ_WAIT;
}

static void copy(char *out, size_t size, struct slice s)
{
    (void)snprintf(out, size, "%.*s", SLICE_ARG(s));
}

/* Every message is taken, read, and delivered at once. */
static void dispatch(void *context, struct queue_entry *entry)
{
    struct report_world *w = context;
    struct spool_message *m = entry->message;
    struct spool_ref ref = spool_pin(w->spool, m);
    struct spool_reader reader;
    struct slice sender, recipient = SLICE_NULL, facts, piece;
    struct spool_outcome outcome = {.state = SPOOL_RECIPIENT_DELIVERED};
    struct world_mail *mail = &w->mails[w->mail_count++];
    enum spool_read result;

    ck_assert_uint_lt(w->mail_count, WORLD_MAILS);
    ck_assert_uint_eq(m->recipient_count, 1);
    mail->flags = m->flags;
    spool_reader_begin(&reader, w->io, &ref, ready);
    while (wait_read(w, spool_reader_envelope(&reader, &sender, &recipient, &facts)))
        continue;
    copy(mail->sender, sizeof(mail->sender), sender);
    copy(mail->recipient, sizeof(mail->recipient), recipient);
    do {
        result = spool_reader_body(&reader, &piece);
        if (result == SPOOL_READ_PIECE)
            (void)buf_append_slice(&mail->body, piece);
    } while (wait_read(w, result) || result == SPOOL_READ_PIECE);
    ck_assert_int_eq(result, SPOOL_READ_END);
    spool_reader_finish(&reader);
    spool_unpin(w->spool, m, &ref);
    queue_settled(entry, &outcome, 1);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void recovered(void *context, struct spool_message *m)
{
    (void)queue_accept(&((struct report_world *)context)->queue, m);
}

static void open_reports(struct report_world *w)
{
    struct buf error = {0};

    for (unsigned i = 0; i < w->shards; i++) {
        w->report[i] = report_create(&(struct report_options){.conf = w->conf,
                                                              .io = w->io,
                                                              .wheel = &w->wheel,
                                                              .dns = w->dns,
                                                              .queue = &w->queue,
                                                              .spool = w->spool,
                                                              .door = w->door,
                                                              .shard = i,
                                                              .shards = w->shards,
                                                              .seed = 1 + i,
                                                              .post = post,
                                                              .delay_max_ms = w->delay_max_ms});
        ck_assert_msg(report_open(w->report[i], &error), "%.*s", SLICE_ARG(buf_slice(&error)));
    }
}

void report_world_open(struct report_world *w, unsigned shards)
{
    struct spool_options options = spool_options;
    struct buf error = {0};

    w->shards = shards;
    w->io = sim_io_create(w->machine, spool_registered_len(&options));
    sim_io_set_stepping(w->io, true);
    wheel_init(&w->wheel, io_now_ms(w->io));
    w->dns = dns_sim_create(w->zone, w->io, &w->wheel, 1, 0, 50);
    w->door = work_door_create(w->pool, w->io);
    queue_init(&w->queue, &(struct queue_options){.conf = w->conf,
                                                  .io = w->io,
                                                  .wheel = &w->wheel,
                                                  .seed = 7,
                                                  .dispatch = dispatch,
                                                  .context = w});
    options.recovered = recovered;
    options.context = w;
    w->spool = spool_open(w->io, &options, NULL, &error);
    ck_assert_msg(w->spool != NULL, "%.*s", SLICE_ARG(buf_slice(&error)));
    queue_set_spool(&w->queue, w->spool);
    open_reports(w);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* One pass and a wait. */
static void turn(struct report_world *w, uint64_t end_ms)
{
    uint64_t next;

    wheel_advance(&w->wheel, io_now_ms(w->io));
    work_door_step(w->door);
    queue_step(&w->queue);
    spool_step(w->spool);
    next = earlier(earlier(wheel_next_ms(&w->wheel), spool_next_ms(w->spool)), end_ms);
    (void)io_wait(w->io, work_door_has_work(w->door) || queue_has_work(&w->queue) ? 0 : next);
}

void report_world_run_s(struct report_world *w, uint64_t seconds)
{
    uint64_t end_ms = io_now_ms(w->io) + seconds * 1000;

    while (io_now_ms(w->io) < end_ms || work_door_has_work(w->door))
        turn(w, end_ms);
}

void report_world_wait_mail(struct report_world *w, unsigned count)
{
    for (unsigned i = 0; w->mail_count < count && i < 3600; i++)
        report_world_run_s(w, 1);
    ck_assert_uint_ge(w->mail_count, count);
}

static bool each(struct report_world *w, bool (*is)(const struct report *r))
{
    for (unsigned i = 0; i < w->shards; i++) {
        if (!is(w->report[i]))
            return false;
    }
    return true;
}

void report_world_stop(struct report_world *w)
{
    for (unsigned i = 0; i < w->shards; i++)
        report_stop(w->report[i]);
    while (!each(w, report_quiet))
        turn(w, io_now_ms(w->io) + 1);
    queue_stop(&w->queue);
    for (unsigned i = 0; i < w->shards; i++)
        report_save(w->report[i]);
    spool_stop(w->spool);
    while (!each(w, report_idle) || !spool_idle(w->spool))
        turn(w, io_now_ms(w->io) + 1);
    queue_finish(&w->queue);
    spool_close(w->spool, false);
    for (unsigned i = 0; i < w->shards; i++)
        report_destroy(w->report[i], false);
    dns_destroy(w->dns);
    work_door_destroy(w->door, false);
    ck_assert_uint_eq(w->wheel.count, 0);
    io_destroy(w->io);
    ck_assert_uint_eq(sim_leaked_fds(w->sim), 0);
}

void report_world_crash(struct report_world *w)
{
    sim_machine_crash(w->machine);
    queue_finish(&w->queue);
    spool_close(w->spool, true);
    for (unsigned i = 0; i < w->shards; i++)
        report_destroy(w->report[i], true);
    dns_destroy(w->dns);
    work_door_destroy(w->door, true);
}

void report_world_finish(struct report_world *w)
{
    report_world_stop(w);
    work_pool_destroy(w->pool);
    sim_destroy(w->sim);
    dns_sim_zone_destroy(w->zone);
    conf_free(w->conf);
    for (unsigned i = 0; i < w->mail_count; i++)
        buf_finish(&w->mails[i].body);
    buf_finish(&world_post_body);
}

/* ---- what happens --------------------------------------------------------------------------- */

void report_world_result(struct report_world *w, unsigned shard, const char *domain,
                         enum report_result result)
{
    report_session(w->report[shard], &(struct report_session){.domain = slice_str(domain),
                                                              .type = REPORT_NO_POLICY,
                                                              .result = result,
                                                              .mx_host = SLICE_LITERAL("mx.test"),
                                                              .reason = SLICE_LITERAL("reason")});
}

void report_world_rua(struct report_world *w, const char *domain, const char *rua)
{
    char name[300], text[300];

    (void)snprintf(name, sizeof(name), "_smtp._tls.%s", domain);
    (void)snprintf(text, sizeof(text), "v=TLSRPTv1; rua=%s", rua);
    dns_sim_zone_clear(w->zone, name);
    dns_sim_zone_add_txt(w->zone, name, text);
}
