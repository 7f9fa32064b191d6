/* See the header. */
#include "origin_world.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_mem.h"

enum { WEEK_MS = 7 * 86400 * 1000 };

/* ---- the shim ------------------------------------------------------------------------------- */

static struct origin_shim *shim; /* of the world that runs */

static bool is_mail_path(const struct io_op *op)
{
    return op->data != NULL && strncmp(op->data, "/mail", 5) == 0;
}

static bool is_ours(const struct io_op *op)
{
    switch ((enum io_kind)op->kind) {
    case IO_OPEN:
    case IO_RENAME:
    case IO_UNLINK:
    case IO_MKDIR: return is_mail_path(op);
    case IO_WRITE:
    case IO_FSYNC:
    case IO_CLOSE: return op->fd >= 0 && op->fd < (int)ARRAY_LEN(shim->ours) && shim->ours[op->fd];
    case IO_NONE:
    case IO_ACCEPT:
    case IO_CONNECT:
    case IO_RECV:
    case IO_SEND:
    case IO_SHUTDOWN:
    case IO_POLL:
    case IO_READ:
    case IO_LINK:
    case IO_STAT:
    case IO_KIND_COUNT: return false;
    }
    return false;
}

static void failing_done(struct io_op *op)
{
    void (*done)(struct io_op *) = shim->op_done;

    ck_assert_ptr_eq(op, shim->op);
    op->res = -shim->error;
    op->done = done;
    shim->op = NULL;
    done(op);
}

/* Keeps the op's completion, but with an error: of itself, or of a harmless one in its place. An open that
 * was performed would only leak its fd, and an fd is always closed. */
static void fail_op(struct io_op *op)
{
    enum io_kind kind = (enum io_kind)op->kind;

    shim->failed = true;
    shim->failed_kind = kind;
    shim->op = op;
    shim->op_done = op->done;
    op->done = failing_done;
    if (kind != IO_CLOSE && (!shim->performed || kind == IO_OPEN)) {
        op->kind = IO_UNLINK;
        op->data = (void *)(uintptr_t) "/nothing/here";
        op->fd = -1;
    }
}

static void opened(struct io_op *op)
{
    for (int i = 0; i < ORIGIN_FDS; i++) {
        if (shim->opening[i].op != op)
            continue;
        shim->opening[i].op = NULL;
        op->done = shim->opening[i].done;
        if (op->res >= 0 && op->res < (int)ARRAY_LEN(shim->ours))
            shim->ours[op->res] = true;
        op->done(op);
        return;
    }
    ck_abort_msg("an op that was not seen to begin");
}

static void shim_submit(struct io *io, struct io_op *op)
{
    if (is_ours(op)) {
        shim->count++;
        shim->by_kind[op->kind]++;
        if (op->kind == IO_CLOSE)
            shim->ours[op->fd] = false;
        if (shim->count == shim->fail_at) {
            fail_op(op);
        } else if (op->kind == IO_OPEN) {
            int i = 0;
            while (i < ORIGIN_FDS && shim->opening[i].op != NULL)
                i++;
            if (i < ORIGIN_FDS) {
                shim->opening[i].op = op;
                shim->opening[i].done = op->done;
                op->done = opened;
            }
        }
    }
    shim->real->submit(io, op);
}

static void shim_install(struct origin_world *w)
{
    shim = &w->shim;
    memset(shim->opening, 0, sizeof(shim->opening));
    memset(shim->ours, 0, sizeof(shim->ours));
    shim->op = NULL;
    shim->real = w->io->vtable;
    shim->mine = *w->io->vtable;
    shim->mine.submit = shim_submit;
    w->io->vtable = &shim->mine;
}

/* ---- the world ------------------------------------------------------------------------------ */

static void set_conf(struct origin_world *w)
{
    w->interval_ms = 60 * 1000;
    w->destinations[0] = (struct conf_destination){.kind = CONF_TO_DISCARD};
    w->destinations[1] =
        (struct conf_destination){.kind = CONF_TO_MAILDIR, .path = SLICE_LITERAL("/mail/%d/%u")};
    w->destinations[2] =
        (struct conf_destination){.kind = CONF_TO_REJECT, .text = SLICE_LITERAL("no mail here")};
    w->domains[0].name = SLICE_LITERAL("discard.test");
    w->domains[1].name = SLICE_LITERAL("example.test");
    w->domains[2].name = SLICE_LITERAL("reject.test");
    w->domains[1].subaddress = SLICE_LITERAL("+");
    for (int i = 0; i < ORIGIN_DOMAINS; i++)
        w->domains[i].to = (struct conf_destinations){&w->destinations[i], 1};
    w->route = (struct conf_route){.pattern = SLICE_LITERAL("*"),
                                   .to = {&w->destinations[2], 1},
                                   .connections = 1,
                                   .messages_per_connection = 1,
                                   .recipients_per_message = 100};
    w->conf = (struct conf){.refs = 1,
                            .hostname = SLICE_LITERAL("mx.example.test"),
                            .domains = w->domains,
                            .domain_count = ORIGIN_DOMAINS,
                            .routes = &w->route,
                            .route_count = 1};
    w->conf.retry.intervals = (struct conf_durations){&w->interval_ms, 1};
    w->conf.retry.expire = 3600 * 1000;
}

void origin_open(struct origin_world *w, uint64_t seed, const struct sim_options *options)
{
    struct sim_options defaults = sim_options_default();

    *w = (struct origin_world){0};
    set_conf(w);
    w->sim = sim_create(seed, options != NULL ? options : &defaults);
    w->machine = sim_machine_create(w->sim, "10.0.0.1");
    w->zone = dns_sim_zone_create();
}

static void dispatch(void *context, struct queue_entry *entry)
{
    struct origin_world *w = context;

    delivery_dispatch(w->d, entry);
}

static void waiting(void *context, struct slice key)
{
    struct origin_world *w = context;

    delivery_waiting(w->d, key);
}

static void recovered(void *context, struct spool_message *m)
{
    struct origin_world *w = context;

    w->recovered++;
    (void)queue_accept(&w->queue, m);
}

static void no_post(void *context, unsigned to, struct delivery_task *task)
{
    (void)context, (void)to, (void)task;
    ck_abort_msg("there is no other shard");
}

void origin_start(struct origin_world *w)
{
    struct spool_recovery recovery;
    struct buf error = {0};

    w->spool_options.path = "/spool";
    w->spool_options.shards = 1;
    w->spool_options.segment_size = 256 << 10;
    w->spool_options.batch_slots = 8;
    w->spool_options.batch_slot_len = 64 << 10;
    w->spool_options.extent_slots = 4;
    w->spool_options.extent_slot_len = 32 << 10;
    w->spool_options.recovered = recovered;
    w->spool_options.context = w;
    w->io = sim_io_create(w->machine, spool_registered_len(&w->spool_options));
    sim_io_set_stepping(w->io, true);
    shim_install(w);
    wheel_init(&w->wheel, io_now_ms(w->io));
    w->dns = dns_sim_create(w->zone, w->io, &w->wheel, 1, 0, 0);
    queue_init(&w->queue, &(struct queue_options){.conf = &w->conf,
                                                  .io = w->io,
                                                  .wheel = &w->wheel,
                                                  .seed = 1,
                                                  .dispatch = dispatch,
                                                  .waiting = waiting,
                                                  .context = w});
    w->recovered = 0;
    w->spool = spool_open(w->io, &w->spool_options, &recovery, &error);
    ck_assert_msg(w->spool != NULL, "%.*s", SLICE_ARG(buf_slice(&error)));
    buf_finish(&error);
    queue_set_spool(&w->queue, w->spool);
    w->d = delivery_create(&(struct delivery_options){.conf = &w->conf,
                                                      .io = w->io,
                                                      .wheel = &w->wheel,
                                                      .queue = &w->queue,
                                                      .spool = w->spool,
                                                      .dns = w->dns,
                                                      .shards = 1,
                                                      .seed = 1,
                                                      .post = no_post,
                                                      .context = w});
}

static void destroy(struct origin_world *w, bool crashed)
{
    queue_finish(&w->queue);
    spool_close(w->spool, crashed);
    delivery_destroy(w->d, crashed);
    dns_destroy(w->dns);
    if (!crashed)
        io_destroy(w->io);
    w->d = NULL;
    w->spool = NULL;
    w->io = NULL;
}

void origin_crash(struct origin_world *w, bool power)
{
    if (power)
        sim_machine_crash(w->machine);
    else
        sim_machine_kill(w->machine);
    destroy(w, true);
}

void origin_stop(struct origin_world *w)
{
    sim_io_set_stepping(w->io, true);
    queue_stop(&w->queue);
    delivery_stop(w->d, io_now_ms(w->io) + 10000);
    while (!delivery_idle(w->d) || w->queue.out > 0)
        origin_pass(w);
    ck_assert_ptr_null(w->d->maildir_syncs);
    spool_stop(w->spool);
    while (!spool_idle(w->spool))
        origin_pass(w);
    destroy(w, false);
}

void origin_close(struct origin_world *w)
{
    if (w->io != NULL)
        origin_stop(w);
    ck_assert_uint_eq(sim_open_files(w->machine), 0);
    dns_sim_zone_destroy(w->zone);
    sim_destroy(w->sim);
}

/* ---- time ----------------------------------------------------------------------------------- */

static uint64_t work(struct origin_world *w)
{
    uint64_t wheel_ms, spool_ms;

    wheel_advance(&w->wheel, io_now_ms(w->io));
    queue_step(&w->queue);
    spool_step(w->spool);
    if (w->d->maildirs_running > w->maildirs_most)
        w->maildirs_most = w->d->maildirs_running;
    if (queue_has_work(&w->queue))
        return 0;
    wheel_ms = wheel_next_ms(&w->wheel);
    spool_ms = spool_next_ms(w->spool);
    return wheel_ms < spool_ms ? wheel_ms : spool_ms;
}

static void pass_until(struct origin_world *w, uint64_t most_ms)
{
    uint64_t next_ms = work(w);

    (void)io_wait(w->io, next_ms < most_ms ? next_ms : most_ms);
}

void origin_pass(struct origin_world *w)
{
    pass_until(w, io_now_ms(w->io) + 1000);
}

void origin_run_ms(struct origin_world *w, uint64_t ms)
{
    uint64_t until = io_now_ms(w->io) + ms;

    while (io_now_ms(w->io) < until)
        pass_until(w, until);
    (void)work(w);
}

static bool settled(const struct origin_world *w)
{
    return w->queue.out == 0 && !queue_has_work(&w->queue) && delivery_idle(w->d);
}

void origin_settle(struct origin_world *w)
{
    do {
        pass_until(w, io_now_ms(w->io) + 1);
    } while (!settled(w));
    (void)work(w);
}

void origin_drain(struct origin_world *w)
{
    uint64_t until = io_now_ms(w->io) + WEEK_MS;

    while (w->queue.messages > 0 || !settled(w)) {
        pass_until(w, io_now_ms(w->io) + 60 * 1000); /* what is over is seen to be */
        ck_assert_msg(io_now_ms(w->io) < until, "messages that do not end");
    }
}

bool origin_turn(struct origin_world *w)
{
    uint64_t next_ms;

    sim_io_set_stepping(w->io, false);
    if (sim_step(w->sim) == NULL)
        return false;
    next_ms = work(w);
    (void)io_wait(w->io, next_ms);
    return true;
}

/* ---- messages ------------------------------------------------------------------------------- */

struct submission {
    struct spool_writer w;
    bool done;
    enum spool_result result;
};

static void submission_ready(struct spool_writer *w)
{
    (void)w; /* asked again in the loop */
}

static void submission_done(struct spool_writer *w, enum spool_result result)
{
    struct submission *s = container_of(w, struct submission, w);

    s->done = true;
    s->result = result;
}

uint64_t origin_submit_envelope(struct origin_world *w, struct spool_envelope *envelope,
                                struct slice body)
{
    struct submission s = {.w = {.ready = submission_ready, .done = submission_done}};

    envelope->arrived_s = (uint32_t)(io_unix_ms(w->io) / 1000);
    if (spool_writer_begin(w->spool, &s.w, body.len) != SPOOL_OK)
        return 0;
    for (;;) {
        enum spool_result result = spool_write(&s.w, &body);
        if (result == SPOOL_OK)
            break;
        if (result != SPOOL_WAIT) {
            spool_writer_abort(&s.w);
            return 0;
        }
        origin_pass(w);
    }
    spool_writer_commit(&s.w, envelope);
    while (!s.done)
        origin_pass(w);
    if (s.result != SPOOL_OK)
        return 0;
    (void)queue_accept(&w->queue, s.w.message);
    return s.w.id;
}

uint64_t origin_submit(struct origin_world *w, const char *sender, const char *const *recipients,
                       struct slice body, uint16_t flags)
{
    struct slice list[4000];
    struct spool_envelope envelope = {
        .sender = slice_str(sender), .recipients = list, .flags = flags};

    while (recipients[envelope.recipient_count] != NULL) {
        list[envelope.recipient_count] = slice_str(recipients[envelope.recipient_count]);
        envelope.recipient_count++;
    }
    return origin_submit_envelope(w, &envelope, body);
}

uint64_t origin_submit_one(struct origin_world *w, const char *sender, const char *recipient,
                           const char *body)
{
    const char *const recipients[] = {recipient, NULL};

    return origin_submit(w, sender, recipients, slice_str(body), 0);
}

void origin_fill(struct origin_world *w)
{
    static const char *const recipients[] = {"f@discard.test", NULL};
    static uint8_t much[200 * 1024];
    bool stopped = w->queue.stopped;
    size_t size = sizeof(much);

    w->queue.stopped = true;
    w->filler_count = 0;
    memset(much, 'x', sizeof(much));
    while (size > 1) {
        uint64_t id = origin_submit(w, "", recipients, slice_of(much, size), 0);
        ck_assert_uint_lt(w->filler_count, ARRAY_LEN(w->filler));
        if (id != 0)
            w->filler[w->filler_count++] = id;
        else
            size = size / 4 + 1;
    }
    for (unsigned i = 0; i < w->filler_count; i++)
        spool_find(w->spool, w->filler[i])->recipients[0].due_s = UINT32_MAX - 1;
    w->queue.stopped = stopped;
}

void origin_make_room(struct origin_world *w)
{
    for (unsigned i = 0; i < w->filler_count; i++)
        ck_assert(queue_delete(&w->queue, w->filler[i])
                  || spool_find(w->spool, w->filler[i]) == NULL);
}

/* ---- files ---------------------------------------------------------------------------------- */

struct listing {
    char names[512][256];
    unsigned count;
};

static bool list_name(void *context, const char *name)
{
    struct listing *l = context;

    ck_assert_uint_lt(l->count, ARRAY_LEN(l->names));
    (void)snprintf(l->names[l->count++], sizeof(l->names[0]), "%s", name);
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static struct listing *list(struct origin_world *w, const char *directory)
{
    static struct listing l;

    l.count = 0;
    (void)io_list(w->io, directory, list_name, &l); /* it need not be there */
    qsort(l.names, l.count, sizeof(l.names[0]), compare_names);
    return &l;
}

unsigned origin_files(struct origin_world *w, const char *directory)
{
    return list(w, directory)->count;
}

bool origin_file(struct origin_world *w, const char *directory, unsigned n, struct buf *out_name,
                 struct buf *out_bytes)
{
    const struct listing *l = list(w, directory);
    char path[512];

    if (n >= l->count)
        return false;
    (void)snprintf(path, sizeof(path), "%s/%s", directory, l->names[n]);
    if (out_name != NULL) {
        buf_clear(out_name);
        (void)buf_append_str(out_name, l->names[n]);
    }
    if (out_bytes == NULL)
        return true;
    buf_clear(out_bytes);
    return sim_file_read(w->machine, path, out_bytes);
}

bool origin_contains(struct slice bytes, const char *text)
{
    return memmem(bytes.data, bytes.len, text, strlen(text)) != NULL;
}
