/*
 * sim_spool: a spool in a world that fails, against a model of what it promised.
 *
 *   sim_spool [--seed S] [--seeds N] [--passes N] [--verbose]
 *
 * A seed is a whole world: sizes, weather, work, the moments of crashes. Several shards append
 * messages small and large, abort some, record outcomes, change terms, pin and read, list; the machine
 * loses power or its process at any moment and comes back with another number of shards. After each
 * start every message that was acknowledged must be there with its bytes and all that its envelope said,
 * each recipient at least as far as the last outcome that was stable, the terms and why it waits as they
 * were then or later, nothing that was done or refused may be back, and no id comes twice. In the end
 * the weather clears and the spool must drain to nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "io_sim.h"
#include "spool_priv.h"

enum {
    SHARDS_MAX = 3,
    WRITERS = 8, /* a shard */
    READERS = 3,
    HISTORY_MAX = 8,
    LISTED_MAX = 60, /* in a batch of a listing */
    RECIPIENTS_MAX = 40,
    BODY_BASE = 1 << 20,
    FILES_MAX = 30, /* a directory, when all is drained */
};

#define CHECK(condition, ...)                                                                \
    do {                                                                                     \
        if (!(condition)) {                                                                  \
            fprintf(stderr, "seed %" PRIu64 ": %s:%d: %s: ", world.seed, __FILE__, __LINE__, \
                    #condition);                                                             \
            fprintf(stderr, __VA_ARGS__);                                                    \
            fprintf(stderr, "\n");                                                           \
            abort();                                                                         \
        }                                                                                    \
    } while (0)

/* ---- the model ---------------------------------------------------------------------------- */

enum fate {
    FATE_WRITING,   /* begun: may not be found */
    FATE_COMMITTED, /* asked for: may be found */
    FATE_ACKED,     /* must be found until done */
    FATE_DONE,      /* all recipients: must not be found once that is stable */
    FATE_GONE,      /* must not be found */
    FATE_DOUBTFUL,  /* refused after it may have reached the disk: may be found */
};

/* A recipient after each outcome since the last one known to be stable; [0] is the floor. */
struct history {
    struct spool_recipient states[HISTORY_MAX];
    uint64_t tickets[HISTORY_MAX];
    unsigned count;
};

/* The same of the terms, and of the words that were said last: how many of the base's first bytes. */
struct values {
    struct {
        struct spool_terms terms;
        uint32_t text;
        uint64_t ticket;
    } states[HISTORY_MAX];
    unsigned count;
};

struct model {
    uint64_t id;
    enum fate fate;
    uint32_t body_at, body_len;
    uint32_t recipient_count;
    uint32_t arrived_s;
    bool found; /* by the recovery that is being checked */
    bool rich;  /* its envelope says something about notices */
    uint32_t hold_until_s;
    uint16_t flags;
    struct values terms, text;
    uint32_t text_found;
    struct history *recipients;
    struct model *next; /* same bucket */
};

enum { BUCKETS = 4096 };

struct worker {
    struct spool_writer w;
    struct shard *shard;
    struct model *model;
    uint32_t written;
    bool waits, committing;
};

struct reading {
    struct spool_reader r;
    struct shard *shard;
    struct spool_message *message;
    struct spool_ref ref;
    uint32_t got;
    bool active, ready, envelope;
};

struct listing {
    struct spool_bulk *bulk;
    uint64_t after;
    bool taking, waits, dropped;
};

struct shard {
    struct io *io;
    struct listing listing;
    struct spool *s;
    struct worker workers[WRITERS];
    struct reading readings[READERS];
};

static struct {
    uint64_t seed, trace;
    bool verbose, draining;
    unsigned large;     /* of ten messages */
    unsigned read_slow; /* passes that a reader takes for a step, about */
    struct sim *sim;
    struct sim_machine *machine;
    struct rand rand;
    struct sim_options weather;
    struct spool_options options;
    unsigned shard_count;
    struct shard shards[SHARDS_MAX];
    struct model *models[BUCKETS];
    uint64_t id_max[SHARDS_MAX];
    uint8_t base[BODY_BASE];
    uint64_t acked, done, crashes, refused, opens_failed, rescued, revised, reasons, rows;
    uint64_t files;
} world;

static struct model *model_find(uint64_t id)
{
    struct model *m = world.models[hash_u64(id) % BUCKETS];

    while (m && m->id != id)
        m = m->next;
    return m;
}

static struct spool_terms random_terms(void)
{
    return (struct spool_terms){.deliver_by_s = (uint32_t)rand_below(&world.rand, 3),
                                .priority = (int8_t)((int)rand_below(&world.rand, 19) - 9)};
}

/* What was said with a recipient, without the text of its ORCPT: that is the recipient's own. */
static struct spool_dsn dsn_of(const struct model *m, uint32_t index)
{
    uint64_t mix = m->id + index;

    if (!m->rich)
        return (struct spool_dsn){0};
    return (struct spool_dsn){.notify = (uint8_t)(mix % 16),
                              .flags = mix % 5 == 0 ? SPOOL_RECIPIENT_EXPANDED : 0};
}

static bool has_orcpt(const struct model *m, uint32_t index)
{
    return m->rich && (m->id + index) % 3 == 0;
}

static struct model *model_add(uint64_t id, uint32_t body_len, uint32_t recipients)
{
    struct model *m = mem_zalloc(sizeof(*m));
    struct model **bucket = &world.models[hash_u64(id) % BUCKETS];

    m->id = id;
    m->body_len = body_len;
    m->body_at = (uint32_t)rand_below(&world.rand, BODY_BASE - body_len);
    m->recipient_count = recipients;
    m->arrived_s = (uint32_t)rand_u64(&world.rand);
    m->recipients = mem_calloc(recipients, sizeof(*m->recipients));
    m->rich = rand_chance(&world.rand, 1, 3);
    m->flags = (uint16_t)rand_below(&world.rand, 1024);
    m->hold_until_s = rand_chance(&world.rand, 1, 8) ? 1 + (uint32_t)rand_below(&world.rand, 9) : 0;
    m->terms.count = m->text.count = 1;
    if (rand_chance(&world.rand, 1, 4))
        m->terms.states[0].terms = random_terms();
    for (uint32_t i = 0; i < recipients; i++) {
        m->recipients[i].count = 1;
        m->recipients[i].states[0] = (struct spool_recipient){
            .due_s = m->hold_until_s,
            .flags = (uint8_t)((m->hold_until_s ? SPOOL_RECIPIENT_HELD : 0) | dsn_of(m, i).flags),
        };
    }
    m->next = *bucket;
    *bucket = m;
    return m;
}

static void models_free(void)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        while (world.models[i]) {
            struct model *m = world.models[i];

            world.models[i] = m->next;
            mem_free(m->recipients);
            mem_free(m);
        }
    }
}

/* What is stable becomes the floor. */
static void history_settle(struct history *h, uint64_t stable)
{
    unsigned floor = 0;

    for (unsigned i = 1; i < h->count; i++) {
        if (h->tickets[i] <= stable)
            floor = i;
    }
    h->count -= floor;
    memmove(h->states, h->states + floor, h->count * sizeof(*h->states));
    memmove(h->tickets, h->tickets + floor, h->count * sizeof(*h->tickets));
}

static void values_settle(struct values *v, uint64_t stable)
{
    unsigned floor = 0;

    for (unsigned i = 1; i < v->count; i++) {
        if (v->states[i].ticket <= stable)
            floor = i;
    }
    v->count -= floor;
    memmove(v->states, v->states + floor, v->count * sizeof(v->states[0]));
}

static uint32_t text_now(const struct model *m)
{
    return m->text.states[m->text.count - 1].text;
}

static bool same_terms(const struct spool_terms *a, const struct spool_terms *b)
{
    return a->deliver_by_s == b->deliver_by_s && a->priority == b->priority;
}

static bool same_state(const struct spool_recipient *a, const struct spool_recipient *b)
{
    return a->state == b->state && a->attempts == b->attempts && a->due_s == b->due_s
           && a->flags == b->flags;
}

/* ---- writing ------------------------------------------------------------------------------ */

/* SIM_SPOOL_TRACE=<id in hex> tells a message's story. */
static void trace(const struct model *m, const char *what)
{
    if (world.trace != 0 && m->id == world.trace)
        fprintf(stderr, "trace %" PRIx64 ": %s, fate %d, at %" PRIu64 " ms\n", m->id, what,
                (int)m->fate, sim_now_ms(world.sim));
}

static uint32_t body_len(void)
{
    if (rand_below(&world.rand, 10) < world.large)
        return (uint32_t)rand_below(&world.rand, 200000);
    switch (rand_below(&world.rand, 10)) {
    case 0: return 0;
    case 1: return (uint32_t)rand_below(&world.rand, 200000);
    case 2: return (uint32_t)rand_below(&world.rand, 70000);
    case 3: return (uint32_t)rand_below(&world.rand, 20000);
    default: return (uint32_t)rand_below(&world.rand, 6000);
    }
}

static uint32_t recipient_count(void)
{
    return rand_chance(&world.rand, 1, 10) ? (uint32_t)rand_between(&world.rand, 2, RECIPIENTS_MAX)
                                           : 1 + (uint32_t)rand_below(&world.rand, 3);
}

static void recipient_text(const struct model *m, uint32_t index, char out[32])
{
    (void)snprintf(out, 32, "%" PRIx64 "-%u@x.example", m->id, index);
}

static void commit(struct worker *k)
{
    struct model *m = k->model;
    struct slice to[RECIPIENTS_MAX];
    struct spool_dsn dsn[RECIPIENTS_MAX];
    char texts[RECIPIENTS_MAX][32], envid[20];

    (void)snprintf(envid, sizeof(envid), "%" PRIx64, m->id);
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        recipient_text(m, i, texts[i]);
        to[i] = slice_str(texts[i]);
        dsn[i] = dsn_of(m, i);
        dsn[i].orcpt = has_orcpt(m, i) ? to[i] : SLICE_NULL;
    }
    struct spool_envelope e = {
        .sender = SLICE_LITERAL("s@y.example"),
        .recipients = to,
        .recipient_count = m->recipient_count,
        .arrived_s = m->arrived_s,
        .flags = m->flags,
        .facts = SLICE_LITERAL("client=192.0.2.9"),
        .envid = m->rich ? slice_str(envid) : SLICE_NULL,
        .dsn = m->rich ? dsn : NULL,
        .terms = m->terms.states[0].terms,
        .hold_until_s = m->hold_until_s,
    };
    m->fate = FATE_COMMITTED;
    trace(m, "commit");
    k->committing = true;
    spool_writer_commit(&k->w, &e);
}

static void worker_done(struct spool_writer *w, enum spool_result result)
{
    struct worker *k = container_of(w, struct worker, w);
    struct model *m = k->model;

    CHECK(k->committing && m->fate == FATE_COMMITTED, "done without a commit");
    k->committing = false;
    k->model = NULL;
    if (result == SPOOL_OK) {
        CHECK(w->message && w->message->id == m->id && w->message->body_len == m->body_len,
              "another message");
        m->fate = FATE_ACKED;
        world.acked++;
    } else {
        CHECK(result == SPOOL_FULL || result == SPOOL_FAILED || result == SPOOL_TOO_BIG,
              "result %d", (int)result);
        m->fate = result == SPOOL_FAILED ? FATE_DOUBTFUL : FATE_GONE;
        world.refused++;
    }
    trace(m, "done");
}

static void worker_ready(struct spool_writer *w)
{
    container_of(w, struct worker, w)->waits = false;
}

static void worker_begin(struct worker *k)
{
    uint32_t len = body_len();
    uint64_t hint = rand_chance(&world.rand, 1, 2) ? len : 0;

    k->w.ready = worker_ready;
    k->w.done = worker_done;
    if (spool_writer_begin(k->shard->s, &k->w, hint) != SPOOL_OK)
        return;
    uint64_t log = k->w.id >> SPOOL_SEQUENCE_BITS;
    CHECK(k->w.id > world.id_max[log], "an id came again");
    world.id_max[log] = k->w.id;
    k->model = model_add(k->w.id, len, recipient_count());
    k->written = 0;
    k->waits = false;
}

static void worker_abort(struct worker *k)
{
    spool_writer_abort(&k->w);
    k->model->fate = FATE_GONE;
    trace(k->model, "abort");
    k->model = NULL;
}

static void worker_step(struct worker *k)
{
    struct model *m = k->model;

    if (k->committing || k->waits)
        return;
    if (!m) {
        if (!world.draining)
            worker_begin(k);
        return;
    }
    if (rand_chance(&world.rand, 1, 40)) {
        worker_abort(k);
        return;
    }
    uint32_t left = m->body_len - k->written;
    size_t some = rand_chance(&world.rand, 1, 2) ? left : rand_below(&world.rand, left + 1);
    struct slice bytes = slice_of(world.base + m->body_at + k->written, some);
    enum spool_result result = spool_write(&k->w, &bytes);
    k->written += (uint32_t)(some - bytes.len);
    if (result == SPOOL_WAIT) {
        k->waits = true;
    } else if (result != SPOOL_OK) {
        world.refused++;
        worker_abort(k);
    } else if (k->written == m->body_len) {
        commit(k);
    }
}

/* ---- outcomes ----------------------------------------------------------------------------- */

struct pick {
    bool pinned; /* will do as well */
    uint64_t skip;
    struct spool_message *found;
};

static bool pick_visit(struct spool_message *m, void *context)
{
    struct pick *p = context;

    if (spool_pins(m) == 0 || p->pinned)
        p->found = m;
    return p->skip-- > 0 || !p->found;
}

static struct spool_message *pick_message(struct spool *s)
{
    struct pick p = {.pinned = rand_chance(&world.rand, 1, 4)};
    struct spool_counters c;

    spool_counters(s, &c);
    if (c.messages == 0)
        return NULL;
    p.skip = rand_below(&world.rand, c.messages < 200 ? c.messages : 200);
    spool_each(s, pick_visit, &p);
    return p.found;
}

/* The last words of an outcome, cut as they are. */
static void text_note(struct model *model, const struct spool_log *log, struct slice text)
{
    struct values *v = &model->text;

    v->states[v->count].ticket = log->ticket + log->deferred_count;
    v->states[v->count++].text =
        (uint32_t)(text.len < SPOOL_OUTCOME_TEXT_MAX ? text.len : SPOOL_OUTCOME_TEXT_MAX);
}

static void revise(struct shard *h)
{
    struct spool_message *m = pick_message(h->s);
    struct spool_terms terms = random_terms();

    if (!m)
        return;
    struct model *model = model_find(m->id);
    struct values *v = &model->terms;
    values_settle(v, m->segment->log->stable_ticket);
    if (v->count == HISTORY_MAX)
        return;
    spool_revise(h->s, m, &terms);
    v->states[v->count].ticket = m->segment->log->ticket + m->segment->log->deferred_count;
    v->states[v->count++].terms = terms;
    world.revised++;
    trace(model, "revise");
}

static void outcome(struct shard *h, bool finally)
{
    struct spool_message *m = pick_message(h->s);
    struct spool_outcome o[RECIPIENTS_MAX];
    uint32_t count = 0;
    bool all = finally || rand_chance(&world.rand, 1, 2);

    if (!m)
        return;
    struct model *model = model_find(m->id);
    struct spool_log *log = m->segment->log;
    CHECK(model && model->fate == FATE_ACKED, "a message that should not be");
    struct slice last = SLICE_NULL;
    values_settle(&model->text, log->stable_ticket);
    if (model->text.count == HISTORY_MAX)
        return;
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        if (m->recipients[i].state != SPOOL_RECIPIENT_WAITING
            || (!all && !rand_chance(&world.rand, 1, 2)))
            continue;
        struct history *hist = &model->recipients[i];
        history_settle(hist, log->stable_ticket);
        if (hist->count == HISTORY_MAX)
            continue;
        bool defer = !finally && rand_chance(&world.rand, 1, 4);
        o[count++] = (struct spool_outcome){
            .recipient = i,
            .state = defer ? SPOOL_RECIPIENT_WAITING
                           : (uint8_t)rand_between(&world.rand, SPOOL_RECIPIENT_DELIVERED,
                                                   SPOOL_RECIPIENT_DELETED),
            .counts = rand_chance(&world.rand, 3, 4),
            .due_s = (uint32_t)rand_u64(&world.rand),
            .text = slice_of(world.base,
                             rand_chance(&world.rand, 1, 4) ? 0 : rand_below(&world.rand, 700)),
            .set_flags = (uint8_t)rand_below(&world.rand, SPOOL_RECIPIENT_LOGGED + 1),
            .clear_flags = (uint8_t)rand_below(&world.rand, SPOOL_RECIPIENT_LOGGED + 1),
        };
        if (defer && o[count - 1].text.len > 0)
            last = o[count - 1].text;
    }
    if (count == 0)
        return;
    struct spool_recipient before[RECIPIENTS_MAX];
    uint32_t left = m->recipients_left;
    memcpy(before, m->recipients, m->recipient_count * sizeof(*before));
    for (uint32_t i = 0; i < count; i++)
        left -= o[i].state != SPOOL_RECIPIENT_WAITING;
    spool_outcomes(h->s, m, o, count);
    uint64_t ticket = log->ticket + log->deferred_count;
    for (uint32_t i = 0; i < count; i++) {
        struct history *hist = &model->recipients[o[i].recipient];

        hist->tickets[hist->count] = ticket;
        hist->states[hist->count++] = (struct spool_recipient){
            .due_s = o[i].due_s,
            .state = o[i].state,
            .attempts = (uint16_t)(before[o[i].recipient].attempts + (o[i].counts ? 1 : 0)),
            .flags = (uint8_t)((before[o[i].recipient].flags & ~o[i].clear_flags) | o[i].set_flags),
        };
    }
    if (last.len > 0)
        text_note(model, log, last);
    if (left == 0) {
        model->fate = FATE_DONE;
        world.done++;
    }
    trace(model, "outcome");
}

/* ---- reading ------------------------------------------------------------------------------ */

static void reading_ready(struct spool_reader *r)
{
    container_of(r, struct reading, r)->ready = true;
}

static void reading_end(struct reading *d)
{
    spool_reader_finish(&d->r);
    spool_unpin(d->shard->s, d->message, &d->ref);
    d->active = false;
}

static void check_dsn(const struct model *model, struct slice envid, const struct spool_dsn *dsn)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%" PRIx64, model->id);
    CHECK(slice_equal(envid, model->rich ? slice_str(text) : SLICE_NULL), "another ENVID");
    for (uint32_t i = 0; i < model->recipient_count; i++) {
        recipient_text(model, i, text);
        CHECK(dsn[i].notify == dsn_of(model, i).notify, "another NOTIFY");
        CHECK(slice_equal(dsn[i].orcpt, has_orcpt(model, i) ? slice_str(text) : SLICE_NULL),
              "another ORCPT");
    }
}

static void check_envelope(struct model *model, const struct slice *to, struct slice sender)
{
    CHECK(slice_equal(sender, SLICE_LITERAL("s@y.example")), "another sender");
    for (uint32_t i = 0; i < model->recipient_count; i++) {
        char text[32];

        recipient_text(model, i, text);
        CHECK(slice_equal(to[i], slice_str(text)), "another recipient");
    }
}

/* One call; true when it came to an end. */
static bool reading_step(struct reading *d)
{
    struct model *model = model_find(d->message->id);
    struct slice sender, facts, piece, to[RECIPIENTS_MAX];
    enum spool_read result;

    if (!d->ready)
        return false;
    if (!d->envelope) {
        result = spool_reader_envelope(&d->r, &sender, to, &facts);
        if (result == SPOOL_READ_PIECE) {
            struct spool_dsn dsn[RECIPIENTS_MAX];
            struct slice envid;

            check_envelope(model, to, sender);
            spool_reader_dsn(&d->r, &envid, dsn);
            check_dsn(model, envid, dsn);
            d->envelope = true;
            return false;
        }
    } else {
        result = spool_reader_body(&d->r, &piece);
        if (result == SPOOL_READ_PIECE) {
            CHECK(d->got + piece.len <= model->body_len
                      && memcmp(piece.data, world.base + model->body_at + d->got, piece.len) == 0,
                  "another body");
            d->got += (uint32_t)piece.len;
            return false;
        }
    }
    if (result == SPOOL_READ_WAIT) {
        d->ready = false;
        return false;
    }
    if (result == SPOOL_READ_END)
        CHECK(d->got == model->body_len, "%u of %u bytes", d->got, model->body_len);
    else
        CHECK(d->r.error == -5 && world.weather.read_error > 0, "cannot be read: %d", d->r.error);
    reading_end(d);
    return true;
}

static void reading_begin(struct shard *h, struct reading *d)
{
    struct spool_message *m = pick_message(h->s);

    if (!m)
        return;
    *d = (struct reading){.shard = h, .message = m, .active = true, .ready = true};
    d->ref = spool_pin(h->s, m);
    spool_reader_begin(&d->r, h->io, &d->ref, reading_ready);
}

/* ---- listing ------------------------------------------------------------------------------ */

static void listing_ready(void *context)
{
    struct listing *l = context;

    CHECK(l->waits || l->dropped, "nobody waits");
    l->waits = l->dropped = false;
}

static bool listing_add(struct spool_message *m, void *context)
{
    struct shard *h = context;

    CHECK(spool_bulk_add(h->listing.bulk, m), "a batch is full");
    return true;
}

static void listing_row(struct listing *l, const struct spool_bulk_row *row)
{
    struct model *model = model_find(row->message->id);
    struct slice to[RECIPIENTS_MAX];
    struct spool_dsn dsn[RECIPIENTS_MAX];

    CHECK(row->error == 0 || (row->error == -5 && world.weather.read_error > 0),
          "message %" PRIx64 " cannot be listed: %d", row->message->id, row->error);
    world.rows++;
    if (row->error)
        return;
    spool_bulk_recipients(l->bulk, to);
    spool_bulk_dsn(l->bulk, dsn);
    check_envelope(model, to, row->sender);
    check_dsn(model, row->envid, dsn);
}

static void listing_step(struct shard *h)
{
    struct listing *l = &h->listing;
    struct spool_bulk_row row;

    if (l->waits || l->dropped)
        return;
    if (!l->taking) {
        if (!l->bulk)
            l->bulk = spool_bulk_create(h->s, listing_ready, l);
        if (!spool_walk(h->s, &l->after, (uint32_t)rand_below(&world.rand, LISTED_MAX), listing_add,
                        h))
            l->after = 0;
        l->taking = true;
        return;
    }
    if (rand_chance(&world.rand, 1, 100)) {
        spool_bulk_drop(l->bulk);
        l->taking = false;
        l->dropped = spool_bulk_busy(l->bulk);
        return;
    }
    switch (spool_bulk_next(l->bulk, &row)) {
    case SPOOL_READ_WAIT: l->waits = true; break;
    case SPOOL_READ_PIECE: listing_row(l, &row); break;
    case SPOOL_READ_END: l->taking = false; break;
    case SPOOL_READ_ERROR: CHECK(false, "an error is a row's"); break;
    }
}

static void listing_end(struct listing *l)
{
    if (l->bulk && !spool_bulk_busy(l->bulk)) {
        spool_bulk_destroy(l->bulk, false);
        *l = (struct listing){0};
    }
}

static bool walk_visit(struct spool_message *m, void *context)
{
    uint64_t *count = context;

    CHECK(model_find(m->id), "a message that should not be");
    ++*count;
    return true;
}

/* All of them, in steps. */
static void check_walk(struct shard *h)
{
    struct spool_counters c;
    uint64_t after = 0, count = 0;

    while (spool_walk(h->s, &after, 7, walk_visit, &count))
        continue;
    spool_counters(h->s, &c);
    CHECK(count == c.messages, "%" PRIu64 " of %" PRIu64 " messages", count, c.messages);
}

/* ---- why ---------------------------------------------------------------------------------- */

static void on_recovered(void *context, struct spool_message *m)
{
    struct model *model = model_find(m->id);

    (void)context;
    if (model)
        model->text_found = 0;
}

static void on_reasoned(void *context, struct spool_message *m, struct slice text)
{
    struct model *model = model_find(m->id);

    (void)context;
    CHECK(model && text.len > 0 && memcmp(text.data, world.base, text.len) == 0, "other words");
    model->text_found = (uint32_t)text.len;
    world.reasons++;
}

static struct slice on_reason(void *context, const struct spool_message *m)
{
    const struct model *model = model_find(m->id);

    (void)context;
    return model ? slice_of(world.base, text_now(model)) : SLICE_NULL;
}

/* ---- starting ----------------------------------------------------------------------------- */

static void set_weather(bool fair)
{
    struct sim_options fine = sim_options_default();
    struct sim_options *now = sim_options(world.sim);
    uint64_t disk = now->disk_bytes;

    *now = fair ? fine : world.weather;
    now->crash_reorder = world.weather.crash_reorder;
    now->disk_bytes = disk;
}

/* A done message may be back only if some recipient's last outcome was not stable. */
static bool done_was_stable(const struct model *m)
{
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        if (m->recipients[i].count > 1)
            return false;
    }
    return true;
}

/* One of those since the last that was stable; then it is the floor. */
static void check_values(struct model *model, const struct spool_message *m)
{
    struct values *t = &model->terms, *w = &model->text;
    bool terms_known = false, text_known = false;

    for (unsigned i = 0; i < t->count; i++)
        terms_known = terms_known || same_terms(&t->states[i].terms, &m->terms);
    for (unsigned i = 0; i < w->count; i++)
        text_known = text_known || w->states[i].text == model->text_found;
    CHECK(terms_known, "message %" PRIx64 ": terms %u %d", m->id, m->terms.deliver_by_s,
          m->terms.priority);
    CHECK(text_known, "message %" PRIx64 ": %u bytes of words, were %u", m->id, model->text_found,
          w->states[0].text);
    t->states[0].terms = m->terms;
    w->states[0].text = model->text_found;
    t->states[0].ticket = w->states[0].ticket = 0;
    t->count = w->count = 1;
}

static bool check_found(struct spool_message *m, void *context)
{
    struct model *model = model_find(m->id);

    (void)context;
    CHECK(model, "message %" PRIx64 " comes from nowhere", m->id);
    CHECK(!model->found, "message %" PRIx64 " is in two logs", m->id);
    CHECK(model->fate == FATE_COMMITTED || model->fate == FATE_ACKED || model->fate == FATE_DONE
              || model->fate == FATE_DOUBTFUL,
          "message %" PRIx64 " is back, fate %d", m->id, (int)model->fate);
    CHECK(m->recipient_count == model->recipient_count && m->body_len == model->body_len
              && m->arrived_s == model->arrived_s && m->flags == model->flags,
          "message %" PRIx64 " has changed", m->id);
    CHECK(m->recipients_left > 0, "nothing left to do");
    CHECK(model->fate != FATE_DONE || !done_was_stable(model), "message %" PRIx64 " is back",
          m->id);
    CHECK(m->sender_hash == (uint32_t)hash_stable(SLICE_LITERAL("s@y.example"))
              && m->sender_domain_hash == (uint32_t)hash_stable(SLICE_LITERAL("y.example"))
              && m->domain_hash == (uint32_t)hash_stable(SLICE_LITERAL("x.example")),
          "message %" PRIx64 ": other hashes", m->id);
    model->found = true;
    check_values(model, m);
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        struct history *h = &model->recipients[i];
        bool known = false;

        for (unsigned k = 0; k < h->count; k++)
            known = known || same_state(&h->states[k], &m->recipients[i]);
        CHECK(known, "message %" PRIx64 " recipient %u: state %u attempts %u due %u lost", m->id, i,
              m->recipients[i].state, m->recipients[i].attempts, m->recipients[i].due_s);
        h->states[0] = m->recipients[i];
        h->tickets[0] = 0;
        h->count = 1;
    }
    return true;
}

static void check_recovered(void)
{
    for (unsigned i = 0; i < world.shard_count; i++)
        spool_each(world.shards[i].s, check_found, NULL);
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct model *m = world.models[i]; m; m = m->next) {
            CHECK(m->found || m->fate != FATE_ACKED, "message %" PRIx64 " is lost", m->id);
            m->fate = m->found ? FATE_ACKED : FATE_GONE;
            trace(m, "start");
            m->found = false;
        }
    }
}

/* What was stable when the machine went. */
static void settle_histories(void)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct model *m = world.models[i]; m; m = m->next) {
            uint64_t number = m->id >> SPOOL_SEQUENCE_BITS;

            for (unsigned k = 0; k < world.shard_count; k++) {
                LIST_EACH(&world.shards[k].s->logs, node)
                {
                    struct spool_log *log = container_of(node, struct spool_log, node);

                    if (log->number != number)
                        continue;
                    for (uint32_t r = 0; r < m->recipient_count; r++)
                        history_settle(&m->recipients[r], log->stable_ticket);
                    values_settle(&m->terms, log->stable_ticket);
                    values_settle(&m->text, log->stable_ticket);
                }
            }
        }
    }
}

static bool start_shard(struct shard *h, unsigned index)
{
    struct buf error = {0};
    struct spool_recovery recovery;

    world.options.shard = index;
    world.options.shards = world.shard_count;
    h->io = sim_io_create(world.machine, spool_registered_len(&world.options));
    h->s = spool_open(h->io, &world.options, &recovery, &error);
    if (!h->s) {
        CHECK(buf_len(&error) > 0, "no reason given");
        world.opens_failed++;
        if (world.verbose)
            fprintf(stderr, "%.*s\n", SLICE_ARG(buf_slice(&error)));
    } else {
        CHECK(recovery.bad_records == 0, "%" PRIu64 " bad records", recovery.bad_records);
    }
    buf_finish(&error);
    for (unsigned i = 0; i < WRITERS; i++)
        h->workers[i] = (struct worker){.shard = h};
    memset(h->readings, 0, sizeof(h->readings));
    h->listing = (struct listing){0};
    return h->s != NULL;
}

/* After a failed sync the page cache holds what the disk does not, and calls it clean: a new process
 * cannot know. What it then finds was never acknowledged, so no promise covers it; the model would have
 * to forget what it saw, so the power goes as well. */
static bool sync_has_failed(void)
{
    for (unsigned i = 0; i < world.shard_count; i++) {
        struct spool_counters c;

        spool_counters(world.shards[i].s, &c);
        if (c.sync_errors > 0)
            return true;
    }
    return false;
}

static void stop_shards(bool power)
{
    settle_histories();
    power = power || sync_has_failed();
    if (power)
        sim_machine_crash(world.machine);
    else
        sim_machine_kill(world.machine);
    for (unsigned i = 0; i < world.shard_count; i++) {
        struct shard *h = &world.shards[i];

        for (unsigned k = 0; k < READERS; k++) {
            if (!h->readings[k].active)
                continue;
            h->readings[k].r.op.kind = 0; /* it will never complete */
            spool_reader_finish(&h->readings[k].r);
        }
        spool_bulk_destroy(h->listing.bulk, true);
        spool_close(h->s, true);
        h->s = NULL;
    }
    world.crashes++;
}

static void start_all(unsigned shards)
{
    bool fair = rand_chance(&world.rand, 1, 2);

    world.shard_count = shards;
    for (bool ok = false; !ok; fair = true) {
        set_weather(fair);
        sim_options(world.sim)->read_error = 0;
        ok = true;
        unsigned opened = 0;
        while (opened < shards && ok) {
            ok = start_shard(&world.shards[opened], opened);
            opened++;
        }
        if (!ok) {
            /* The whole process gives up, after a failed sync perhaps: see sync_has_failed(). */
            sim_machine_crash(world.machine);
            for (unsigned i = 0; i + 1 < opened; i++)
                spool_close(world.shards[i].s, true);
        }
        /* A shard that is new needs a file, which a full disk does not give: room is made. */
        uint64_t *disk = &sim_options(world.sim)->disk_bytes;
        CHECK(ok || !fair || *disk > 0, "does not start in fair weather");
        if (!ok && fair)
            *disk += *disk / 4;
    }
    check_recovered();
    set_weather(world.draining);
}

/* ---- the run ------------------------------------------------------------------------------ */

static void shard_work(struct shard *h)
{
    unsigned actions = (unsigned)rand_below(&world.rand, 4);

    for (unsigned i = 0; i < actions; i++) {
        unsigned what = (unsigned)rand_below(&world.rand, 10);

        if (what < 5)
            worker_step(&h->workers[rand_below(&world.rand, WRITERS)]);
        else if (what < 8)
            outcome(h, false);
        else if (what == 8) {
            struct reading *d = &h->readings[rand_below(&world.rand, READERS)];

            if (!d->active)
                reading_begin(h, d);
        } else if (rand_chance(&world.rand, 1, 3)) {
            revise(h);
        } else {
            listing_step(h);
        }
    }
    if (rand_chance(&world.rand, 1, 200))
        check_walk(h);
    for (unsigned i = 0; i < READERS; i++) {
        if (h->readings[i].active && rand_below(&world.rand, world.read_slow) == 0)
            (void)reading_step(&h->readings[i]);
    }
}

static void turn(bool work)
{
    struct io *io = rand_chance(&world.rand, 3, 4) ? sim_step(world.sim) : NULL;
    struct shard *h = NULL;

    for (unsigned i = 0; i < world.shard_count; i++) {
        if (io && world.shards[i].io == io)
            h = &world.shards[i];
    }
    if (h) {
        uint64_t next = spool_next_ms(h->s), soon = io_now_ms(h->io) + 50;
        (void)io_wait(h->io, next < soon ? next : soon);
    } else {
        h = &world.shards[rand_below(&world.rand, world.shard_count)];
        (void)io_wait(h->io, 0);
    }
    if (work)
        shard_work(h);
    spool_step(h->s);
    if (!io && rand_chance(&world.rand, 1, 100))
        sim_advance_ms(world.sim, rand_below(&world.rand, 3000));
}

static void setup(void)
{
    struct rand *r = &world.rand;
    static const unsigned chances[] = {0, 0, 20, 100, 500};

    rand_seed(r, world.seed);
    for (size_t i = 0; i < BODY_BASE; i += 8) {
        uint64_t v = rand_u64(r);

        memcpy(world.base + i, &v, 8);
    }
    world.large = rand_chance(r, 1, 3) ? (unsigned)rand_below(r, 8) : 0;
    world.read_slow = rand_chance(r, 1, 3) ? 50 : 2;
    world.weather = sim_options_default();
    world.weather.latency_max_us = rand_below(r, 3) * 1000;
    world.weather.write_error = chances[rand_below(r, 5)] / 5;
    world.weather.write_short_direct = chances[rand_below(r, 5)] / 5;
    world.weather.read_short = chances[rand_below(r, 5)] * 10;
    world.weather.read_error = chances[rand_below(r, 5)] / 5;
    world.weather.no_space = chances[rand_below(r, 5)];
    world.weather.clock_jump = chances[rand_below(r, 5)] / 10;
    world.weather.latency_spike = chances[rand_below(r, 5)];
    world.weather.crash_reorder = chances[rand_below(r, 5)] ? 5000 : 0;
    world.options = (struct spool_options){
        .recovered = on_recovered,
        .reasoned = on_reasoned,
        .reason = on_reason,
        .path = "/spool",
        .segment_size = (uint64_t)(64 << 10) << rand_below(r, 4),
        .bytes_max = rand_chance(r, 1, 3) ? (1 << 20) << rand_below(r, 3) : 0,
        .spares = (unsigned)rand_below(r, 3),
        .checkpoint_bytes = rand_chance(r, 1, 2) ? 32 << 10 : 0,
        .batch_slots = (uint32_t)rand_between(r, 4, 10),
        .batch_slot_len = (uint32_t)(16 << 10) << rand_below(r, 4),
        .extent_slots = (uint32_t)rand_between(r, 2, 6),
        .extent_slot_len = (uint32_t)(8 << 10) << rand_below(r, 4),
        .writer_memory_max = rand_chance(r, 1, 2) ? 200 << 10 : 0,
    };
    if (rand_chance(r, 1, 4))
        world.weather.disk_bytes = (uint64_t)rand_between(r, 12, 40) * world.options.segment_size;
}

static bool all_idle(void)
{
    for (unsigned i = 0; i < world.shard_count; i++) {
        struct spool_counters c;

        spool_counters(world.shards[i].s, &c);
        if (c.messages > 0 || !spool_idle(world.shards[i].s))
            return false;
    }
    return true;
}

static void print_shard(const struct shard *h)
{
    struct spool_counters c;

    spool_counters(h->s, &c);
    fprintf(stderr, "shard: %" PRIu64 " messages, idle %d\n", c.messages, spool_idle(h->s));
    LIST_EACH(&h->s->logs, node)
    {
        const struct spool_log *l = container_of(node, struct spool_log, node);

        fprintf(stderr,
                "log %u: active %d next %d spares %u segments %u reserve %u failed %d no_space %d "
                "in flight %u deferred %u open %d job %d check %d move %d commits %d draining %d "
                "batches %d queued %" PRIu64 "\n",
                l->number, l->active != NULL, l->next != NULL, l->spare_count, l->segment_count,
                spool_reserve(l), l->failed, l->no_space, l->in_flight, l->deferred_count,
                l->open != NULL, (int)l->job.kind, (int)l->check.state, (int)l->compaction.state,
                !list_empty(&l->commits), !list_empty(&l->draining), spool_batch_idle(l),
                l->queued_bytes);
    }
}

static void drain(void)
{
    set_weather(true);
    sim_options(world.sim)->disk_bytes = world.weather.disk_bytes;
    world.draining = true;
    for (unsigned passes = 0; passes < 400000; passes++) {
        if (passes > 200 && all_idle())
            return;
        for (unsigned i = 0; i < world.shard_count; i++) {
            struct shard *h = &world.shards[i];

            for (unsigned k = 0; k < WRITERS; k++) {
                struct worker *w = &h->workers[k];

                if (w->model && !w->committing)
                    worker_abort(w);
            }
            for (unsigned k = 0; k < READERS; k++) {
                if (h->readings[k].active && !spool_reader_busy(&h->readings[k].r))
                    reading_end(&h->readings[k]);
            }
            listing_end(&h->listing);
            outcome(h, true);
        }
        turn(false);
        if (passes % 1000 == 999)
            sim_advance_ms(world.sim, 1000);
        /* Started again and again on a full disk: somebody has to make room in the end. */
        if (passes == 200000 && sim_options(world.sim)->disk_bytes > 0) {
            sim_options(world.sim)->disk_bytes = 0;
            world.rescued++;
        }
    }
    for (unsigned i = 0; i < world.shard_count; i++)
        print_shard(&world.shards[i]);
    CHECK(false, "does not drain");
}

static bool count_file(void *context, const char *name)
{
    if (world.verbose)
        fprintf(stderr, "%s\n", name);
    ++*(uint64_t *)context;
    return true;
}

static void check_drained(void)
{
    for (unsigned i = 0; i < world.shard_count; i++) {
        struct spool *s = world.shards[i].s;
        struct spool_counters c;

        spool_counters(s, &c);
        CHECK(c.messages == 0 && c.bytes_live == 0, "%" PRIu64 " live bytes", c.bytes_live);
        CHECK(c.bytes_staging == 0, "%" PRIu64 " bytes of staging", c.bytes_staging);
        CHECK(s->staging.pinned == 0, "a slot is pinned");
        LIST_EACH(&s->logs, node)
        {
            struct spool_log *log = container_of(node, struct spool_log, node);
            uint64_t files = 0;

            CHECK(log->queued_bytes == 0, "%" PRIu64 " bytes queued", log->queued_bytes);
            CHECK(io_list(world.shards[i].io, log->path, count_file, &files) == 0, "list");
            CHECK(files <= FILES_MAX, "%" PRIu64 " files", files);
            if (files > world.files)
                world.files = files;
        }
        spool_stop(s);
        for (unsigned k = 0; k < 10000 && (!spool_idle(s) || world.shards[i].listing.bulk); k++) {
            listing_end(&world.shards[i].listing);
            turn(false);
        }
        CHECK(spool_idle(s), "does not come to rest");
        spool_close(s, false);
        io_destroy(world.shards[i].io);
        world.shards[i].io = NULL;
        world.shards[i].s = NULL;
    }
}

static void run(uint64_t seed, unsigned passes)
{
    world.seed = seed;
    world.draining = false;
    memset(world.id_max, 0, sizeof(world.id_max));
    setup();
    world.sim = sim_create(seed, &world.weather);
    world.machine = sim_machine_create(world.sim, "10.0.0.1");
    start_all(1 + (unsigned)rand_below(&world.rand, SHARDS_MAX));
    unsigned crash_every = (unsigned)rand_between(&world.rand, 50, 2000);
    for (unsigned i = 0; i < passes; i++) {
        turn(true);
        if (rand_below(&world.rand, crash_every) == 0) {
            stop_shards(rand_chance(&world.rand, 2, 3));
            start_all(1 + (unsigned)rand_below(&world.rand, SHARDS_MAX));
        }
    }
    drain();
    /* Once more around: nothing comes back. */
    settle_histories();
    unsigned shards = world.shard_count;
    for (unsigned i = 0; i < shards; i++) {
        spool_stop(world.shards[i].s);
    }
    stop_shards(true);
    start_all(shards);
    drain();
    check_drained();
    sim_destroy(world.sim);
    models_free();
}

static void print_line(void *context, enum log_level level, struct slice line)
{
    (void)context;
    (void)level;
    (void)fwrite(line.data, 1, line.len, stderr);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, seeds = 20;
    unsigned passes = 2000;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
            seeds = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--passes") == 0 && i + 1 < argc)
            passes = (unsigned)strtoul(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--verbose") == 0)
            world.verbose = true;
    }
    if (getenv("SIM_SPOOL_TRACE"))
        world.trace = strtoull(getenv("SIM_SPOOL_TRACE"), NULL, 16);
    if (world.verbose)
        log_setup(LOG_DEBUG, LOG_TEXT, print_line, NULL);
    printf("seed %" PRIu64 ", %" PRIu64 " seeds\n", seed, seeds);
    fflush(stdout);
    for (uint64_t i = 0; i < seeds; i++) {
        if (world.verbose) {
            printf("seed %" PRIu64 "\n", seed + i);
            fflush(stdout);
        }
        run(seed + i, passes);
    }
    printf("ok: %" PRIu64 " acknowledged, %" PRIu64 " done, %" PRIu64 " refused, %" PRIu64
           " crashes, %" PRIu64 " starts failed, %" PRIu64 " rescued, %" PRIu64 " revised, %" PRIu64
           " reasons, %" PRIu64 " rows, at most %" PRIu64 " files\n",
           world.acked, world.done, world.refused, world.crashes, world.opens_failed, world.rescued,
           world.revised, world.reasons, world.rows, world.files);
    return 0;
}
