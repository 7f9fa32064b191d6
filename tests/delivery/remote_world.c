#include "remote_world.h"

#include "remote_tls.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_mem.h"

enum { DAY_MS = 24 * 3600 * 1000 };

/* ---- what an origin does with what is parked ------------------------------------------------ */

static bool in_lot(const struct world *w, struct slice key)
{
    LIST_EACH(&w->lot, node)
    {
        if (slice_equal(container_of(node, struct delivery_task, node)->site, key))
            return true;
    }
    return false;
}

static struct delivery_call *new_call(struct slice key)
{
    struct delivery_call *call = mem_zalloc(sizeof(*call));

    list_init(&call->node);
    call->origin = 1;
    call->key = slice_of(mem_dup(key.data, key.len), key.len);
    call->left = 1;
    return call;
}

static void park(struct world *w, struct delivery_task *t)
{
    struct world_result *r = &w->results[t->id];

    r->parks++;
    r->untried = t->untried;
    r->postpone_ms = t->postpone_ms;
    (void)snprintf(r->text, sizeof(r->text), "%.*s", SLICE_ARG(t->recipients[0].text));
    w->parks++;
    if (!in_lot(w, t->site))
        list_push_back(&w->calls, &new_call(t->site)->node);
    list_push_back(&w->lot, &t->node);
    w->lot_count++;
}

static void send_again(struct world *w, struct delivery_task *t)
{
    list_remove(&t->node);
    w->lot_count--;
    for (uint32_t i = 0; i < t->recipient_count; i++) {
        struct delivery_recipient *r = &t->recipients[i];
        mem_free((void *)(uintptr_t)r->text.data);
        *r = (struct delivery_recipient){
            .index = r->index, .address = r->address, .orcpt = r->orcpt, .notify = r->notify};
    }
    t->returning = t->parked = t->down = t->untried = t->resolved = false;
    t->postpone_ms = t->to_next = 0;
    t->called = true;
    delivery_task_submit(w->d, t);
}

static void post_call(void *context, unsigned shard, struct delivery_call *call)
{
    struct world *w = context;

    ck_assert_uint_eq(shard, 1);
    ck_assert(call->to_origin);
    list_push_back(&w->calls, &call->node);
}

static void home(struct world *w, struct delivery_task *t);

static void take_calls(struct world *w)
{
    struct list calls;
    struct list *node;

    list_init(&calls);
    list_splice_back(&calls, &w->calls);
    while ((node = list_pop_front(&calls)) != NULL) {
        struct delivery_call *call = container_of(node, struct delivery_call, node);

        call->used = 0;
        if (call->to_origin) {
            LIST_EACH_SAFE(&w->lot, waits)
            {
                struct delivery_task *t = container_of(waits, struct delivery_task, node);
                if (call->used == call->n)
                    break;
                if (!slice_equal(t->site, call->key))
                    continue;
                call->used++;
                if (w->swallow > 0) { /* it goes another way */
                    w->swallow--;
                    w->lot_count--;
                    list_remove(&t->node);
                    t->parked = false;
                    home(w, t);
                    continue;
                }
                send_again(w, t);
            }
            call->left = in_lot(w, call->key);
            call->to_origin = false;
        }
        w->called += call->used;
        w->called_most = call->used > w->called_most ? call->used : w->called_most;
        delivery_receive_call(w->d, call);
    }
    while (w->d != NULL && w->d->stopping && (node = list_pop_front(&w->lot)) != NULL) {
        w->lot_count--;
        home(w, container_of(node, struct delivery_task, node));
    }
}

/* As the origin does: those for whom one transaction had no room come again at once. */
static bool rest_follows(struct world *w, struct delivery_task *t)
{
    bool done = false, any = false;

    for (uint32_t i = 0; i < t->recipient_count; i++) {
        done |= t->recipients[i].status == DELIVERY_DONE;
        any |= t->recipients[i].turned_away && t->recipients[i].status == DELIVERY_POSTPONED;
    }
    if (!done || !any || t->parked || w->d->stopping)
        return false;
    for (uint32_t i = 0; i < t->recipient_count; i++) {
        struct delivery_recipient *r = &t->recipients[i];

        if (r->turned_away && r->status == DELIVERY_POSTPONED) {
            r->status = DELIVERY_PENDING;
            r->turned_away = false;
        }
    }
    t->returning = t->put_back = t->resolved = false;
    list_push_back(&w->again, &t->node);
    return true;
}

static void home(struct world *w, struct delivery_task *t)
{
    struct world_result *r = &w->results[t->id];

    if (rest_follows(w, t))
        return;
    if (t->parked && (!t->down || w->park_down) && !w->d->stopping) {
        park(w, t);
        return;
    }
    ck_assert(!r->done);
    r->done = true;
    r->count = t->recipient_count;
    r->at_ms = world_now_ms(w);
    r->postpone_ms = t->postpone_ms;
    r->parked = t->parked;
    r->untried = t->untried;
    r->tls = t->tls;
    (void)snprintf(r->remote, sizeof(r->remote), "%s", t->remote);
    (void)snprintf(r->text, sizeof(r->text), "%.*s", SLICE_ARG(t->recipients[0].text));
    for (uint32_t i = 0; i < t->recipient_count && i < WORLD_RCPTS; i++) {
        r->status[i] = t->recipients[i].status;
        if (t->down && r->status[i] == DELIVERY_POSTPONED)
            r->status[i] = DELIVERY_DEFERRED; /* what it is for whoever waits */
        r->code[i] = t->recipients[i].code;
        r->scope[i] = t->recipients[i].scope;
        r->final[i] = t->recipients[i].final;
        r->relayed[i] = t->recipients[i].relayed;
        memcpy(r->enhanced[i], t->recipients[i].enhanced, sizeof(r->enhanced[i]));
    }
    w->done++;
    spool_unpin(w->spool, (struct spool_message *)(uintptr_t)t->ref.message, &t->ref);
    delivery_task_free(t);
}

static void post(void *context, unsigned shard, struct delivery_task *t)
{
    struct world *w = context;

    (void)shard;
    if (t->returning)
        home(w, t);
    else
        delivery_receive(w->d, t); /* the site is the other shard's; here there is one */
}

/* Counted; of the slices copies are kept. */
static void account(void *context, const struct report_session *session)
{
    struct world *w = context;

    w->accounts++;
    w->account_failures += session->result != REPORT_SUCCESS;
    w->account = *session;
    (void)snprintf(w->account_domain, sizeof(w->account_domain), "%.*s",
                   SLICE_ARG(session->domain));
    (void)snprintf(w->account_policy, sizeof(w->account_policy), "%.*s",
                   SLICE_ARG(session->policy));
    (void)snprintf(w->account_host, sizeof(w->account_host), "%.*s", SLICE_ARG(session->mx_host));
    (void)snprintf(w->account_reason, sizeof(w->account_reason), "%.*s",
                   SLICE_ARG(session->reason));
}

static void recovered(void *context, struct spool_message *m)
{
    (void)context;
    (void)m;
}

static void open_spool(struct world *w)
{
    struct spool_options options = {
        .path = "/spool",
        .shards = 1,
        .segment_size = 1 << 20,
        .batch_slots = 8,
        .batch_slot_len = 64 << 10,
        .extent_slots = 4,
        .extent_slot_len = 64 << 10,
        .recovered = recovered,
    };
    struct spool_recovery recovery;
    struct buf error = {0};

    w->io = sim_io_create(w->machine, spool_registered_len(&options));
    sim_io_set_stepping(w->io, true);
    w->spool = spool_open(w->io, &options, &recovery, &error);
    ck_assert_msg(w->spool != NULL, "%.*s", SLICE_ARG(buf_slice(&error)));
    sim_io_set_stepping(w->io, false);
    buf_finish(&error);
}

void world_open(struct world *w, uint64_t seed, const struct sim_options *options)
{
    struct sim_options calm = sim_options_default();

    *w = (struct world){.interval_ms = 60000};
    w->sim = sim_create(seed, options != NULL ? options : &calm);
    w->machine = sim_machine_create(w->sim, "10.0.0.1");
    open_spool(w);
    wheel_init(&w->wheel, io_now_ms(w->io));
    w->zone = dns_sim_zone_create();
    w->dns = dns_sim_create(w->zone, w->io, &w->wheel, seed, 0, 20);
    for (int i = 0; i < WORLD_ROUTES; i++)
        w->routes[i] = (struct conf_route){
            .connections = 20,
            .messages_per_connection = 100,
            .recipients_per_message = 100,
            .timeout = {.connect = 30000, .response = 300000, .data = 600000, .idle = 5000},
        };
    w->conf = (struct conf){
        .hostname = SLICE_LITERAL("mx.ours.example"),
        .routes = w->routes,
        .route_count = WORLD_ROUTES,
        .retry.intervals = {&w->interval_ms, 1},
        .mta_sts = true,
        .refs = 1,
    };
    w->origin_conf = &w->conf;
    list_init(&w->lot);
    list_init(&w->calls);
    list_init(&w->again);
    w->results = mem_calloc(WORLD_RESULTS, sizeof(*w->results));
    w->helpers = work_pool_create("helpers", 0, WORLD_JOBS);
    w->door = work_door_create(w->helpers, w->io);
    w->d = delivery_create(&(struct delivery_options){.conf = &w->conf,
                                                      .io = w->io,
                                                      .wheel = &w->wheel,
                                                      .spool = w->spool,
                                                      .dns = w->dns,
                                                      .compute = w->door,
                                                      .patient = w->door,
                                                      .shards = 2,
                                                      .seed = seed,
                                                      .post = post,
                                                      .post_call = post_call,
                                                      .account = account,
                                                      .context = w});
    world_set_body(w, SLICE_LITERAL("Subject: hello\r\n\r\nA line.\r\n"));
}

void world_use_tls(struct world *w, const char *ca)
{
    tls_context_unref(w->client);
    w->client = remote_tls_client(ca);
    delivery_reload(w->d, &w->conf, w->client);
}

static void fetch(void *context, struct sts_fetch *f)
{
    struct world *w = context;
    const char *why;

    if (w->policy != NULL)
        f->policy = sts_policy_parse(slice_str(w->policy), &why);
    if (f->policy == NULL)
        f->problem = STS_PROBLEM_WEBPKI;
}

void world_use_sts(struct world *w)
{
    struct buf error = {0};

    w->sts = sts_create(&(struct sts_options){.io = w->io,
                                              .wheel = &w->wheel,
                                              .dns = w->dns,
                                              .door = w->door,
                                              .shards = 1,
                                              .seed = 3,
                                              .fetch = fetch,
                                              .fetch_context = w});
    ck_assert_msg(sts_open(w->sts, &error), "%.*s", SLICE_ARG(buf_slice(&error)));
    w->d->o.sts = w->sts;
}

/* ---- time --------------------------------------------------------------------------------- */

static void our_pass(struct world *w)
{
    uint64_t next = wheel_next_ms(&w->wheel), spool = spool_next_ms(w->spool);

    for (struct list *node; (node = list_pop_front(&w->again)) != NULL;)
        delivery_task_submit(w->d, container_of(node, struct delivery_task, node));
    if ((w->door != NULL && work_door_has_work(w->door)) || !list_empty(&w->calls))
        next = 0;
    (void)io_wait(w->io, next < spool ? next : spool);
    wheel_advance(&w->wheel, io_now_ms(w->io));
    if (w->door != NULL)
        work_door_step(w->door);
    take_calls(w);
    spool_step(w->spool);
}

static bool step(struct world *w)
{
    struct io *io = sim_step(w->sim);

    if (io == NULL)
        return false;
    if (io == w->io) {
        our_pass(w);
        return true;
    }
    for (unsigned i = 0; i < w->peer_count; i++) {
        if (w->peers[i].io == io)
            peer_pass(&w->peers[i]);
    }
    return true;
}

uint64_t world_now_ms(const struct world *w)
{
    return sim_now_ms(w->sim);
}

struct alarm {
    struct wheel_timer timer;
    bool rang;
};

static void ring(struct wheel_timer *timer)
{
    container_of(timer, struct alarm, timer)->rang = true;
}

void world_run_ms(struct world *w, uint64_t ms)
{
    struct alarm alarm = {.rang = false};

    wheel_timer_init(&alarm.timer, ring);
    wheel_set(&w->wheel, &alarm.timer, io_now_ms(w->io) + ms);
    our_pass(w); /* what was submitted, and the alarm, are to be known */
    while (!alarm.rang)
        ck_assert_msg(step(w), "nothing will ever happen");
}

void world_run_events(struct world *w, unsigned count)
{
    our_pass(w);
    while (count-- > 0 && step(w))
        continue;
}

void world_run(struct world *w)
{
    uint64_t end_ms = world_now_ms(w) + DAY_MS;

    our_pass(w);
    while (w->done < w->sent) {
        ck_assert_msg(step(w), "nothing will ever happen; %u of %u are back", w->done, w->sent);
        ck_assert_msg(world_now_ms(w) < end_ms, "%u of %u are back", w->done, w->sent);
    }
}

/* ---- the end ------------------------------------------------------------------------------ */

static void free_world(struct world *w)
{
    dns_destroy(w->dns);
    dns_sim_zone_destroy(w->zone);
    for (unsigned i = 0; i < w->peer_count; i++)
        peer_close(&w->peers[i]);
    work_pool_destroy(w->helpers);
    ck_assert_uint_eq(w->conf.refs, 1); /* ours */
    sim_destroy(w->sim);
    mem_free(w->results);
}

void world_close(struct world *w)
{
    bool quiet = false;

    if (!w->d->stopping)
        delivery_stop(w->d, io_now_ms(w->io) + 600000);
    our_pass(w);
    while (!delivery_idle(w->d))
        ck_assert_msg(step(w), "delivery does not come to rest");
    our_pass(w);
    ck_assert_uint_eq(w->done, w->sent);
    ck_assert_uint_eq(w->d->counters.connections_open, 0);
    ck_assert_uint_eq(w->d->counters.connections_idle, 0);
    ck_assert_uint_eq(w->d->counters.tasks_waiting, 0);
    delivery_destroy(w->d, false);
    w->d = NULL;
    if (w->sts != NULL) {
        sts_stop(w->sts);
        while (!sts_idle(w->sts))
            world_run_ms(w, 1);
        sts_destroy(w->sts, false);
    }
    work_door_destroy(w->door, false);
    w->door = NULL;
    tls_context_unref(w->client);
    spool_stop(w->spool);
    for (unsigned i = 0; i < w->peer_count; i++)
        peer_kick(&w->peers[i]);
    while (!quiet) {
        quiet = spool_idle(w->spool);
        for (unsigned i = 0; i < w->peer_count; i++)
            quiet &= list_empty(&w->peers[i].sessions);
        if (!quiet) {
            our_pass(w);
            ck_assert_msg(step(w), "the spool or a peer does not come to rest");
        }
    }
    spool_close(w->spool, false);
    ck_assert_uint_eq(sim_open_files(w->machine), w->peers_here); /* their listeners */
    free_world(w);
}

void world_power_cut(struct world *w)
{
    struct list *node;

    sim_machine_crash(w->machine);
    while ((node = list_pop_front(&w->calls)) != NULL)
        delivery_call_free(container_of(node, struct delivery_call, node));
    while ((node = list_pop_front(&w->lot)) != NULL)
        delivery_task_free(container_of(node, struct delivery_task, node));
    delivery_destroy(w->d, true);
    sts_destroy(w->sts, true);
    tls_context_unref(w->client);
    work_door_destroy(w->door, true);
    w->door = NULL;
    spool_close(w->spool, true);
    for (unsigned i = 0; i < w->peer_count; i++) {
        while (!list_empty(&w->peers[i].sessions)) {
            peer_kick(&w->peers[i]);
            ck_assert(step(w));
        }
    }
    free_world(w);
}

/* ---- peers -------------------------------------------------------------------------------- */

static struct peer *add_peer(struct world *w, const char *ip, uint16_t port, int backlog)
{
    struct peer *p = &w->peers[w->peer_count++];
    bool is_here =
        strncmp(ip, "unix:", 5) == 0 || strncmp(ip, "127.", 4) == 0 || strcmp(ip, "10.0.0.1") == 0;

    ck_assert_uint_le(w->peer_count, WORLD_PEERS);
    w->peers_here += is_here;
    peer_open(p, w->sim, is_here ? w->machine : NULL, ip, port, backlog);
    return p;
}

struct peer *world_peer(struct world *w, const char *ip, uint16_t port)
{
    return add_peer(w, ip, port, 128);
}

struct peer *world_dead_peer(struct world *w, const char *ip, uint16_t port)
{
    struct peer *p = add_peer(w, ip, port, 0);

    our_pass(w);
    while (io_op_busy(&p->in_line))
        ck_assert(step(w));
    return p;
}

void world_no_peer(struct world *w, const char *ip)
{
    (void)add_peer(w, ip, 0, 0);
}

unsigned world_accepted(const struct world *w)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < w->peer_count; i++)
        sum += w->peers[i].accepted;
    return sum;
}

/* ---- messages and tasks ------------------------------------------------------------------- */

struct message_writer {
    struct spool_writer writer;
    bool over;
};

static void stored(struct spool_writer *writer, enum spool_result result)
{
    ck_assert_int_eq(result, SPOOL_OK);
    container_of(writer, struct message_writer, writer)->over = true;
}

static void room_again(struct spool_writer *writer)
{
    (void)writer; /* the loop below asks again */
}

void world_write_file(struct world *w, const char *path, const char *text, uint32_t mode)
{
    struct io_op op = {0};
    int fd;

    sim_io_set_stepping(w->io, true);
    io_open(w->io, &op, path, IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_TRUNCATE, mode);
    fd = io_await(w->io, &op);
    ck_assert_int_ge(fd, 0);
    io_write(w->io, &op, fd, text, strlen(text), 0, 0);
    ck_assert_int_eq(io_await(w->io, &op), (int)strlen(text));
    io_close(w->io, &op, fd);
    (void)io_await(w->io, &op);
    sim_io_set_stepping(w->io, false);
}

void world_set_body(struct world *w, struct slice body)
{
    const struct slice recipient = SLICE_LITERAL("user@example.org");
    struct spool_envelope envelope = {.sender = SLICE_LITERAL("sender@ours.example"),
                                      .recipients = &recipient,
                                      .recipient_count = 1};
    struct message_writer m = {.writer = {.ready = room_again, .done = stored}};
    struct slice rest = body;

    for (size_t i = 0; i < body.len; i++) {
        if (body.data[i] == '.' && (i == 0 || body.data[i - 1] == '\n'))
            envelope.flags = SPOOL_HAS_DOT_LINES;
    }
    ck_assert_int_eq(spool_writer_begin(w->spool, &m.writer, body.len), SPOOL_OK);
    while (spool_write(&m.writer, &rest) == SPOOL_WAIT) {
        our_pass(w);
        ck_assert(step(w));
    }
    spool_writer_commit(&m.writer, &envelope);
    our_pass(w);
    while (!m.over)
        ck_assert(step(w));
    w->message = m.writer.message;
    w->body = body;
}

static void parse_to(const char *text, struct conf_destination *out)
{
    const char *colon = strrchr(text, ':');

    *out = (struct conf_destination){.kind = CONF_TO_MX};
    if (strcmp(text, "mx") == 0)
        return;
    ck_assert_ptr_nonnull(colon);
    out->kind = strncmp(text, "lmtp", 4) == 0 ? CONF_TO_LMTP : CONF_TO_SMTP;
    if (strncmp(text, "lmtp+unix:", 10) == 0) {
        out->path = slice_str(text + 10);
        return;
    }
    text += out->kind == CONF_TO_LMTP ? strlen("lmtp://") : 0;
    out->host = slice_of(text, (size_t)(colon - text));
    out->host_is_ip = ip_parse(out->host, &out->ip);
    out->port = (uint16_t)strtoul(colon + 1, NULL, 10);
}

static struct delivery_task *make_task(const struct world *w, const char *const *recipients)
{
    struct slice sender = slice_str(w->sender != NULL ? w->sender : "sender@ours.example");
    struct slice domain = SLICE_NULL;
    size_t text = sender.len;
    uint32_t count = 0;
    struct delivery_task *t;

    for (; recipients[count] != NULL; count++)
        text += strlen(recipients[count]);
    domain = slice_str(strchr(recipients[0], '@') + 1);
    t = delivery_task_create(count, text + domain.len);
    t->domain = delivery_task_text(t, domain, true);
    t->sender = delivery_task_text(t, sender, false);
    for (uint32_t i = 0; i < count; i++) {
        t->recipients[i].index = i;
        t->recipients[i].address = delivery_task_text(t, slice_str(recipients[i]), false);
    }
    return t;
}

uint32_t world_send_to(struct world *w, const char *const *to, const char *const *recipients)
{
    struct delivery_task *t = make_task(w, recipients);
    struct world_result *r = &w->results[w->sent];

    ck_assert_uint_lt(w->sent, WORLD_RESULTS);
    for (; to[t->to_count] != NULL; t->to_count++) {
        ck_assert_uint_lt(t->to_count, ARRAY_LEN(r->to));
        parse_to(to[t->to_count], &r->to[t->to_count]);
    }
    t->id = w->sent++;
    t->asked = w->asked;
    t->fresh = !w->old;
    t->priority = w->priority;
    t->origin = 1;
    t->ref = spool_pin(w->spool, w->message);
    t->size = w->message->body_len;
    t->flags = w->message->flags | w->flags;
    t->conf = w->origin_conf;
    t->route = &t->conf->routes[0];
    t->to = r->to;
    t->envid = w->envid;
    t->ret = w->ret;
    for (uint32_t i = 0; i < t->recipient_count; i++) {
        t->recipients[i].orcpt = w->orcpt;
        t->recipients[i].notify = w->notify;
    }
    delivery_task_submit(w->d, t);
    return w->sent - 1;
}

uint32_t world_send(struct world *w, const char *to)
{
    return world_send_to(w, (const char *const[]){to, NULL},
                         (const char *const[]){"user@example.org", NULL});
}

const struct world_result *world_result(struct world *w, uint32_t index)
{
    ck_assert_uint_lt(index, w->sent);
    ck_assert_msg(w->results[index].done, "task %u is not back", index);
    return &w->results[index];
}
