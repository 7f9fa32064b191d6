/* shard: see the header. */
#include "shard.h"

#include "base_log.h"
#include "base_mem.h"
#include "queue_holds_file.h"
#include "shard_callout_priv.h"
#include "shard_mailbox_priv.h"

enum {
    STOP_GRACE_MS =
        10 * 1000,         /* for sessions and transactions under way when a stop is asked for */
    LETTERS_A_PASS = 1024, /* from one other shard */
    MAILBOX_FULL_MS = 1,   /* until another try; the other one is busy, not asleep */
};

struct shard {
    struct shard_options o;
    struct shard_group *group;
    const struct conf *conf;
    struct wheel wheel;
    struct dns *dns;
    struct sts *sts;
    struct report *report;
    struct spool *spool;
    struct queue queue;
    struct delivery *delivery;
    struct verify *verify;
    struct auth *auth; /* NULL: nobody can log in */
    struct server *server;
    unsigned reloads; /* taken of the group's */
    struct work_door *compute, *patient, *fetch;
    struct shard_mailbox *inboxes; /* one for each shard that may write to us */
    _Atomic bool asleep;
    bool started;
    bool stopping;
    bool guest_told; /* to stop */
    bool counted_quiet;
    bool resolver_stopped;
    uint64_t passes, posted, doorbells;
};

size_t shard_registered_len(const struct conf *conf)
{
    struct spool_options options = {.segment_size = conf->spool_segment};

    return spool_registered_len(&options);
}

static void post_task(void *context, unsigned to, struct delivery_task *task)
{
    struct shard *s = context;

    s->posted++;
    shard_mailbox_post(&s->group->shards[to]->inboxes[s->o.number], task, SHARD_ITEM_TASK);
}

static void post_call(void *context, unsigned to, struct delivery_call *call)
{
    struct shard *s = context;

    shard_mailbox_post(&s->group->shards[to]->inboxes[s->o.number], call, SHARD_ITEM_WAITING);
}

static void pass_doubt(void *context, unsigned to, char *domain)
{
    struct shard *s = context;

    shard_mailbox_post(&s->group->shards[to]->inboxes[s->o.number], domain, SHARD_ITEM_DOUBT);
}

static void account(void *context, const struct report_session *session)
{
    struct shard *s = context;

    report_session(s->report, session);
}

struct shard *shard_create(const struct shard_options *options)
{
    struct shard *s = mem_zalloc(sizeof(*s));
    unsigned count = options->group->count;

    s->o = *options;
    s->group = options->group;
    s->conf = conf_ref(options->group->settings.conf);
    s->inboxes = mem_alloc_aligned(_Alignof(struct shard_mailbox), count * sizeof(*s->inboxes));
    for (unsigned i = 0; i < count; i++)
        shard_mailbox_init(&s->inboxes[i]);
    s->group->shards[options->number] = s;
    return s;
}

static void dispatch(void *context, struct queue_entry *entry)
{
    struct shard *s = context;

    delivery_dispatch(s->delivery, entry);
}

static void waiting(void *context, struct slice key)
{
    struct shard *s = context;

    delivery_waiting(s->delivery, key);
}

static void recovered(void *context, struct spool_message *m)
{
    struct shard *s = context;

    (void)queue_accept(&s->queue, m);
}

static void reasoned(void *context, struct spool_message *m, struct slice text)
{
    struct shard *s = context;

    queue_reasoned(&s->queue, m, text);
}

static struct slice reason(void *context, const struct spool_message *m)
{
    (void)context;
    return queue_message_reason(m);
}

static bool open_spool(struct shard *s, struct spool_recovery *out_recovery, struct buf *out_error)
{
    struct spool_options options = {
        .path = s->conf->spool,
        .shard = s->o.number,
        .shards = s->group->count,
        .segment_size = s->conf->spool_segment,
        .bytes_max = s->conf->limits.queue / s->group->count,
        .process_id = s->group->process_id,
        .recovered = recovered,
        .reasoned = reasoned,
        .reason = reason,
        .context = s,
    };
    const struct spool_options *staging = s->o.staging;

    if (staging != NULL) {
        options.batch_slots = staging->batch_slots;
        options.batch_slot_len = staging->batch_slot_len;
        options.extent_slots = staging->extent_slots;
        options.extent_slot_len = staging->extent_slot_len;
        options.writer_memory_max = staging->writer_memory_max;
        options.checkpoint_bytes = staging->checkpoint_bytes;
        options.spares = staging->spares;
    }
    s->spool = spool_open(s->o.io, &options, out_recovery, out_error);
    if (s->spool == NULL)
        return false;
    queue_set_spool(&s->queue, s->spool);
    return true;
}

/* Every shard reads them by itself; the first one complains. */
static bool load_holds(struct shard *s, struct buf *out_error)
{
    struct log_record r;
    struct buf warning;
    bool ok;

    buf_init(&warning, 0);
    ok = queue_holds_load(&s->queue, s->conf->state, s->o.number == 0, &warning, out_error);
    if (buf_len(&warning) > 0 && s->o.number == 0) {
        log_begin(&r, LOG_WARNING, "holds-damaged");
        log_slice(&r, "text", buf_slice(&warning));
        log_end(&r);
    }
    buf_finish(&warning);
    return ok;
}

bool shard_open(struct shard *s, struct spool_recovery *out_recovery, struct buf *out_error)
{
    const struct shard_settings *settings = &s->group->settings;
    uint64_t seed = s->o.seed;

    if (seed == 0)
        io_entropy(s->o.io, &seed, sizeof(seed));
    wheel_init(&s->wheel, io_now_ms(s->o.io));
    s->compute = work_door_create(s->group->compute, s->o.io);
    s->patient = work_door_create(s->group->patient, s->o.io);
    s->fetch = work_door_create(s->group->fetch, s->o.io);
    s->dns = s->o.dns_create(s->o.context, s->o.io, &s->wheel, out_error);
    if (s->dns == NULL)
        return false;
    queue_init(&s->queue, &(struct queue_options){.conf = s->conf,
                                                  .io = s->o.io,
                                                  .wheel = &s->wheel,
                                                  .seed = seed,
                                                  .dispatch = dispatch,
                                                  .waiting = waiting,
                                                  .context = s});
    if (!load_holds(s, out_error) || !open_spool(s, out_recovery, out_error))
        return false;
    s->sts = sts_create(&(struct sts_options){.io = s->o.io,
                                              .wheel = &s->wheel,
                                              .dns = s->dns,
                                              .door = s->fetch,
                                              .state = s->conf->state,
                                              .ca = s->conf->tls.ca,
                                              .https_port = s->group->https_port,
                                              .shard = s->o.number,
                                              .shards = s->group->count,
                                              .seed = seed + 2,
                                              .pass_doubt = pass_doubt,
                                              .context = s,
                                              .fetch = s->o.sts_fetch,
                                              .fetch_context = s->o.context});
    s->report = report_create(&(struct report_options){.conf = s->conf,
                                                       .io = s->o.io,
                                                       .wheel = &s->wheel,
                                                       .dns = s->dns,
                                                       .queue = &s->queue,
                                                       .spool = s->spool,
                                                       .door = s->fetch,
                                                       .shard = s->o.number,
                                                       .shards = s->group->count,
                                                       .seed = seed + 3});
    s->delivery = delivery_create(&(struct delivery_options){.conf = s->conf,
                                                             .io = s->o.io,
                                                             .wheel = &s->wheel,
                                                             .queue = &s->queue,
                                                             .spool = s->spool,
                                                             .dns = s->dns,
                                                             .client_tls = settings->client,
                                                             .sts = s->sts,
                                                             .compute = s->compute,
                                                             .patient = s->patient,
                                                             .shard = s->o.number,
                                                             .shards = s->group->count,
                                                             .own = s->group->own,
                                                             .own_count = s->group->own_count,
                                                             .seed = seed + 1,
                                                             .post = post_task,
                                                             .post_call = post_call,
                                                             .account = account,
                                                             .context = s});
    if (settings->auth != NULL)
        s->auth = auth_create(&(struct auth_options){.setup = settings->auth,
                                                     .shared = s->group->auth_shared,
                                                     .io = s->o.io,
                                                     .wheel = &s->wheel,
                                                     .compute = s->compute,
                                                     .network = s->patient});
    s->verify = verify_create(&(struct verify_options){.io = s->o.io,
                                                       .wheel = &s->wheel,
                                                       .dns = s->dns,
                                                       .ask = shard_callout,
                                                       .context = s->delivery});
    s->server = server_create(&(struct server_options){.settings = {settings->conf, settings->tls},
                                                       .auth = s->auth,
                                                       .verify = s->verify,
                                                       .shared = s->group->shared,
                                                       .io = s->o.io,
                                                       .wheel = &s->wheel,
                                                       .spool = s->spool,
                                                       .queue = &s->queue,
                                                       .compute = s->compute,
                                                       .patient = s->patient});
    return sts_open(s->sts, out_error) && report_open(s->report, out_error);
}

void shard_start(struct shard *s)
{
    s->started = true;
}

void shard_listen(struct shard *s, int fd, size_t listener)
{
    server_listen(s->server, fd, listener);
}

/* ---- letters ------------------------------------------------------------------------------ */

static void read_letter(struct shard *s, void *item, enum shard_item kind)
{
    struct shard_call *call = item;

    switch (kind) {
    case SHARD_ITEM_TASK: delivery_receive(s->delivery, item); return;
    case SHARD_ITEM_WAITING: delivery_receive_call(s->delivery, item); return;
    case SHARD_ITEM_CALL: call->run(s, call); return;
    case SHARD_ITEM_ANSWER: call->done(s, call); return;
    case SHARD_ITEM_DOUBT:
        sts_doubt(s->sts, slice_str(item));
        mem_free(item);
        return;
    }
    UNREACHABLE();
}

static void read_letters(struct shard *s)
{
    for (unsigned from = 0; from < s->group->count; from++) {
        for (int left = LETTERS_A_PASS; left > 0; left--) {
            enum shard_item kind;
            void *item = shard_mailbox_take(&s->inboxes[from], &kind);
            if (item == NULL)
                break;
            read_letter(s, item, kind);
        }
    }
}

static bool has_letters(const struct shard *s)
{
    for (unsigned from = 0; from < s->group->count; from++) {
        if (!spsc_empty(&s->inboxes[from].queue))
            return true;
    }
    return false;
}

/* Publishes what this pass has posted and wakes those who sleep. True if a mailbox was full. */
static bool send_letters(struct shard *s)
{
    bool full = false;

    for (unsigned to = 0; to < s->group->count; to++) {
        struct shard *other = s->group->shards[to];
        struct shard_mailbox *box = &other->inboxes[s->o.number];

        if (shard_mailbox_publish(box) && to != s->o.number) {
            /* Pairs with the fence in shard_wait(): it sees the letters, or we see it asleep. */
            atomic_thread_fence(memory_order_seq_cst);
            if (atomic_load_explicit(&other->asleep, memory_order_relaxed)) {
                s->doorbells++;
                io_wake(s->o.io, other->o.io);
            }
        }
        full |= shard_mailbox_is_full(box);
    }
    return full;
}

void shard_call(struct shard *from, unsigned to, struct shard_call *call)
{
    call->from = from->o.number;
    shard_mailbox_post(&from->group->shards[to]->inboxes[from->o.number], call, SHARD_ITEM_CALL);
}

void shard_answer(struct shard *on, struct shard_call *call)
{
    shard_mailbox_post(&on->group->shards[call->from]->inboxes[on->o.number], call,
                       SHARD_ITEM_ANSWER);
}

/* ---- settings ----------------------------------------------------------------------------- */

void shard_group_reload(struct shard_group *group, const struct shard_settings *settings)
{
    ASSERT(shard_group_reloaded(group));
    group->next = settings;
    atomic_store(&group->taken, 0);
    atomic_fetch_add(&group->reloads, 1);
    for (unsigned i = 0; i < group->count; i++) {
        if (group->shards[i] != NULL)
            io_wake_from_thread(group->shards[i]->o.io);
    }
}

bool shard_group_reloaded(const struct shard_group *group)
{
    return atomic_load(&group->reloads) == 0 || atomic_load(&group->taken) == group->count;
}

static void take_settings(struct shard *s, const struct shard_settings *settings)
{
    const struct conf *before = s->conf;

    s->conf = conf_ref(settings->conf);
    queue_set_conf(&s->queue, s->conf);
    sts_set_ca(s->sts, s->conf->tls.ca);
    report_set_conf(s->report, s->conf);
    if (s->auth != NULL && settings->auth != NULL)
        auth_reload(s->auth, settings->auth);
    delivery_reload(s->delivery, settings->conf, settings->client);
    server_reload(s->server, &(struct server_settings){settings->conf, settings->tls});
    conf_free(before);
    atomic_fetch_add(&s->group->taken, 1);
}

static void look_for_settings(struct shard *s)
{
    unsigned reloads = atomic_load_explicit(&s->group->reloads, memory_order_acquire);

    if (reloads == s->reloads || s->stopping)
        return;
    s->reloads = reloads;
    take_settings(s, s->group->next);
}

/* ---- stopping ----------------------------------------------------------------------------- */

static void begin_stop(struct shard *s)
{
    uint64_t deadline_ms = io_now_ms(s->o.io) + STOP_GRACE_MS;

    s->stopping = true;
    server_stop(s->server, deadline_ms);
    verify_stop(s->verify);
    queue_stop(&s->queue);
    delivery_stop(s->delivery, deadline_ms);
    sts_stop(s->sts); /* delivery has given its lookups up */
    report_stop(s->report);
}

static void wake_others(struct shard *s)
{
    for (unsigned i = 0; i < s->group->count; i++) {
        if (i != s->o.number)
            io_wake(s->o.io, s->group->shards[i]->o.io);
    }
}

/* The guest asks other shards, so it ends while all of them still answer. */
static bool guest_has_gone(struct shard *s)
{
    if (!s->guest_told) {
        s->guest_told = true;
        if (s->o.guest_stop != NULL)
            s->o.guest_stop(s->o.context);
    }
    return s->o.guest_idle == NULL || s->o.guest_idle(s->o.context);
}

/* What helpers have of ours comes back to an owner who then goes on. */
static bool helpers_idle(const struct shard *s)
{
    return work_door_busy(s->compute) == 0 && work_door_busy(s->patient) == 0
           && work_door_busy(s->fetch) == 0;
}

/* A shard whose sessions are gone and whose tasks are home makes no more work for anybody; when all are
 * so far, nothing is on its way between them. */
static void continue_stop(struct shard *s)
{
    if (!s->counted_quiet && server_idle(s->server) && verify_idle(s->verify) && s->queue.out == 0
        && helpers_idle(s) && sts_idle(s->sts) && report_quiet(s->report) && guest_has_gone(s)) {
        s->counted_quiet = true;
        if (atomic_fetch_add(&s->group->quiet, 1) + 1 == s->group->count)
            wake_others(s);
    }
    if (!s->resolver_stopped && atomic_load(&s->group->quiet) == s->group->count
        && delivery_idle(s->delivery) && helpers_idle(s)) {
        s->resolver_stopped = true;
        report_save(s->report);
        spool_stop(s->spool);
        if (s->auth != NULL)
            auth_stop(s->auth);
        if (s->o.dns_stop != NULL)
            s->o.dns_stop(s->dns);
    }
}

bool shard_stopped(struct shard *s)
{
    return s->stopping && s->resolver_stopped && spool_idle(s->spool) && report_idle(s->report)
           && (s->auth == NULL || auth_idle(s->auth))
           && (s->o.dns_idle == NULL || s->o.dns_idle(s->dns));
}

void shard_group_stop(struct shard_group *group)
{
    atomic_store(&group->stop, true);
    for (unsigned i = 0; i < group->count; i++) {
        if (group->shards[i] != NULL)
            io_wake_from_thread(group->shards[i]->o.io);
    }
}

/* ---- the loop ----------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a_ms, uint64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

/* Helpers have given something back. */
static bool has_jobs(const struct shard *s)
{
    return work_door_has_work(s->compute) || work_door_has_work(s->patient)
           || work_door_has_work(s->fetch);
}

uint64_t shard_pass(struct shard *s)
{
    uint64_t next_ms;

    s->passes++;
    wheel_advance(&s->wheel, io_now_ms(s->o.io));
    if (!s->stopping && atomic_load_explicit(&s->group->stop, memory_order_relaxed))
        begin_stop(s);
    look_for_settings(s);
    read_letters(s);
    work_door_step(s->compute);
    work_door_step(s->patient);
    work_door_step(s->fetch);
    server_step(s->server);
    if (s->started)
        queue_step(&s->queue);
    if (s->stopping)
        continue_stop(s);
    /* Last, so that everything this pass has written is in one commit. What it has to say to writers
     * may make work for the others again. */
    spool_step(s->spool);
    next_ms = earlier(wheel_next_ms(&s->wheel), spool_next_ms(s->spool));
    if (send_letters(s))
        next_ms = earlier(next_ms, io_now_ms(s->o.io) + MAILBOX_FULL_MS);
    if (s->group->pass_over != NULL)
        s->group->pass_over();
    if (server_has_work(s->server) || (s->started && queue_has_work(&s->queue)) || has_jobs(s))
        return 0;
    return next_ms;
}

uint64_t shard_asleep(struct shard *s, uint64_t deadline_ms)
{
    if (deadline_ms == 0)
        return 0;
    atomic_store_explicit(&s->asleep, true, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    return has_letters(s) ? 0 : deadline_ms;
}

void shard_awake(struct shard *s)
{
    atomic_store_explicit(&s->asleep, false, memory_order_relaxed);
}

void shard_wait(struct shard *s, uint64_t deadline_ms)
{
    (void)io_wait(s->o.io, shard_asleep(s, deadline_ms));
    shard_awake(s);
}

void shard_run(struct shard *s)
{
    for (;;) {
        uint64_t deadline_ms = shard_pass(s);
        if (shard_stopped(s))
            break;
        shard_wait(s, deadline_ms);
    }
    /* The last to be quiet has just rung for the others, and does not wait any more. */
    io_flush(s->o.io);
}

void shard_rest(struct shard *s)
{
    if (s->spool == NULL)
        return;
    spool_stop(s->spool);
    sts_stop(s->sts);
    report_stop(s->report);
    for (;;) {
        work_door_step(s->compute);
        work_door_step(s->patient);
        work_door_step(s->fetch);
        spool_step(s->spool);
        if (spool_idle(s->spool) && sts_idle(s->sts) && report_idle(s->report) && helpers_idle(s))
            return;
        (void)io_wait(s->o.io, has_jobs(s) ? 0 : spool_next_ms(s->spool));
    }
}

/* What nobody will read any more: anything after a crash; else a doubt at most, or a lot's call,
 * which nobody waits for. */
static void discard_letters(struct shard_mailbox *box)
{
    enum shard_item kind;
    void *item;

    do {
        (void)shard_mailbox_publish(box); /* what waited for room, too */
        while ((item = shard_mailbox_take(box, &kind)) != NULL) {
            if (kind == SHARD_ITEM_TASK)
                delivery_task_free(item); /* calls are their owners' */
            else if (kind == SHARD_ITEM_WAITING)
                delivery_call_free(item);
            else if (kind == SHARD_ITEM_DOUBT)
                mem_free(item);
        }
    } while (shard_mailbox_is_full(box));
}

void shard_destroy(struct shard *s, bool crashed)
{
    if (s == NULL)
        return;
    if (s->queue.ready != NULL) /* it was begun; the spool may have refused to open all the same */
        queue_finish(&s->queue);
    if (s->spool != NULL) {
        /* First: after a crash it takes back what the writers of sessions and bounces hold. */
        spool_close(s->spool, crashed);
    }
    server_destroy(s->server, crashed);
    if (s->auth != NULL)
        auth_destroy(s->auth, crashed);
    delivery_destroy(s->delivery, crashed);
    verify_destroy(s->verify, crashed);
    sts_destroy(s->sts, crashed);
    report_destroy(s->report, crashed);
    if (s->dns != NULL) /* the simulated one, after a crash: it has no part in io */
        dns_destroy(s->dns);
    work_door_destroy(s->compute, crashed);
    work_door_destroy(s->patient, crashed);
    work_door_destroy(s->fetch, crashed);
    for (unsigned i = 0; i < s->group->count; i++) {
        discard_letters(&s->inboxes[i]);
        shard_mailbox_finish(&s->inboxes[i]);
    }
    mem_free(s->inboxes);
    conf_free(s->conf);
    s->group->shards[s->o.number] = NULL;
    mem_free(s);
}

unsigned shard_number(const struct shard *s)
{
    return s->o.number;
}

struct io *shard_io(struct shard *s)
{
    return s->o.io;
}

struct wheel *shard_wheel(struct shard *s)
{
    return &s->wheel;
}

struct spool *shard_spool(struct shard *s)
{
    return s->spool;
}

struct queue *shard_queue(struct shard *s)
{
    return &s->queue;
}

struct auth *shard_auth(struct shard *s)
{
    return s->auth;
}

struct delivery *shard_delivery(struct shard *s)
{
    return s->delivery;
}

struct report *shard_report(struct shard *s)
{
    return s->report;
}

struct work_door *shard_compute(struct shard *s)
{
    return s->compute;
}

struct work_door *shard_patient(struct shard *s)
{
    return s->patient;
}

struct shard_group *shard_group_of(struct shard *s)
{
    return s->group;
}

void shard_counters(struct shard *s, struct shard_counters *out)
{
    *out = (struct shard_counters){.io = s->o.io->counters,
                                   .queue_messages = s->queue.messages,
                                   .queue_out = s->queue.out,
                                   .passes = s->passes,
                                   .posted = s->posted,
                                   .doorbells = s->doorbells,
                                   .work_busy = (uint64_t)work_door_busy(s->compute)
                                                + work_door_busy(s->patient)
                                                + work_door_busy(s->fetch)};
    server_counters(s->server, &out->server);
    delivery_counters(s->delivery, &out->delivery);
    spool_counters(s->spool, &out->spool);
    dns_counters(s->dns, &out->dns);
    verify_counters(s->verify, &out->verify);
    sts_counters(s->sts, &out->sts);
    report_counters(s->report, &out->report);
    if (s->auth != NULL)
        auth_counters(s->auth, &out->auth);
}
