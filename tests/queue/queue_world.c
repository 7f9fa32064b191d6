/* queue_world: see the header. */
#include "queue_world.h"

#include "base_mem.h"

static const uint64_t intervals[] = {300 * 1000, 600 * 1000, 3600 * 1000};

static void dispatch(void *context, struct queue_entry *entry)
{
    struct queue_world *w = context;

    ck_assert_uint_lt(w->out_count, DISPATCHED_MAX);
    ck_assert_int_eq(entry->state, QUEUE_OUT);
    ck_assert_uint_eq(entry->tasks_out, 1);
    w->out[w->out_count++] = entry;
}

static void on_waiting(void *context, struct slice key)
{
    struct queue_world *w = context;

    w->waiting++;
    ck_assert_uint_lt(key.len, sizeof(w->waiting_key));
    memset(w->waiting_key, 0, sizeof(w->waiting_key));
    memcpy(w->waiting_key, key.data, key.len);
}

static void on_recovered(void *context, struct spool_message *m)
{
    struct queue_world *w = context;

    (void)queue_accept(&w->queue, m);
    w->recovered++;
}

void queue_world_init(struct queue_world *w)
{
    struct sim_options options = sim_options_default();

    *w = (struct queue_world){0};
    w->conf.retry.intervals = (struct conf_durations){intervals, ARRAY_LEN(intervals)};
    w->conf.retry.expire = 86400 * (uint64_t)1000;
    w->sim = sim_create(1, &options);
    w->machine = sim_machine_create(w->sim, "10.0.0.1");
}

static void on_reasoned(void *context, struct spool_message *m, struct slice text)
{
    struct queue_world *w = context;

    queue_reasoned(&w->queue, m, text);
}

static struct slice on_reason(void *context, const struct spool_message *m)
{
    (void)context;
    return queue_message_reason(m);
}

void queue_world_open(struct queue_world *w, uint32_t out_max)
{
    struct spool_options options = {.path = "/spool",
                                    .shards = 1,
                                    .segment_size = 256 << 10,
                                    .batch_slots = 8,
                                    .batch_slot_len = 64 << 10,
                                    .extent_slots = 4,
                                    .extent_slot_len = 32 << 10,
                                    .recovered = on_recovered,
                                    .reasoned = on_reasoned,
                                    .reason = on_reason,
                                    .context = w};
    struct buf error = {0};

    w->io = sim_io_create(w->machine, spool_registered_len(&options));
    sim_io_set_stepping(w->io, true);
    wheel_init(&w->wheel, io_now_ms(w->io));
    queue_init(&w->queue, &(struct queue_options){.conf = &w->conf,
                                                  .io = w->io,
                                                  .wheel = &w->wheel,
                                                  .seed = 7,
                                                  .out_max = out_max,
                                                  .dispatch = dispatch,
                                                  .waiting = on_waiting,
                                                  .context = w});
    w->recovered = w->out_count = 0;
    w->spool = spool_open(w->io, &options, NULL, &error);
    ck_assert_msg(w->spool != NULL, "%.*s", SLICE_ARG(buf_slice(&error)));
    queue_set_spool(&w->queue, w->spool);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void queue_world_run_ms(struct queue_world *w, uint64_t ms)
{
    uint64_t end = io_now_ms(w->io) + ms;

    for (;;) {
        bool more;
        uint64_t next;

        wheel_advance(&w->wheel, io_now_ms(w->io));
        queue_step(&w->queue);
        spool_step(w->spool);
        more = queue_has_work(&w->queue);
        if (io_now_ms(w->io) >= end && !more)
            return;
        next = earlier(wheel_next_ms(&w->wheel), spool_next_ms(w->spool));
        (void)io_wait(w->io, more ? 0 : earlier(next, end));
    }
}

void queue_world_stop(struct queue_world *w)
{
    ck_assert_uint_eq(w->queue.out, 0);
    queue_stop(&w->queue);
    spool_stop(w->spool);
    for (spool_step(w->spool); !spool_idle(w->spool); spool_step(w->spool))
        (void)io_wait(w->io, io_now_ms(w->io) + 10);
    queue_finish(&w->queue);
    spool_close(w->spool, false);
    ck_assert_uint_eq(w->wheel.count, 0);
    io_destroy(w->io);
    w->spool = NULL;
}

void queue_world_close(struct queue_world *w)
{
    queue_world_stop(w);
    ck_assert_uint_eq(sim_leaked_fds(w->sim), 0);
    sim_destroy(w->sim);
}

/* ---- messages ------------------------------------------------------------------------------ */

struct test_writer {
    struct spool_writer w;
    bool over;
};

static void writer_done(struct spool_writer *writer, enum spool_result result)
{
    struct test_writer *t = container_of(writer, struct test_writer, w);

    ck_assert_int_eq(result, SPOOL_OK);
    t->over = true;
}

struct queue_entry *queue_world_message_of(struct queue_world *w, unsigned recipients,
                                           const struct spool_terms *terms, uint32_t hold_until_s)
{
    struct test_writer t = {.w.done = writer_done};
    struct slice *to = mem_calloc(recipients, sizeof(*to));
    struct spool_envelope envelope = {.sender = SLICE_LITERAL("a@example.org"),
                                      .recipients = to,
                                      .recipient_count = recipients,
                                      .arrived_s = (uint32_t)queue_world_s(w),
                                      .terms = *terms,
                                      .hold_until_s = hold_until_s};

    for (unsigned i = 0; i < recipients; i++)
        to[i] = SLICE_LITERAL("b@example.net");
    ck_assert_int_eq(
        spool_submit(w->spool, &t.w, SLICE_LITERAL("Subject: x\r\n\r\nx\r\n"), &envelope),
        SPOOL_OK);
    mem_free(to);
    while (!t.over) {
        spool_step(w->spool);
        (void)io_wait(w->io, io_now_ms(w->io) + 10);
    }
    return queue_accept(&w->queue, t.w.message);
}

struct queue_entry *queue_world_message(struct queue_world *w, unsigned recipients)
{
    return queue_world_message_of(w, recipients, &(struct spool_terms){0}, 0);
}

struct queue_entry *queue_world_entry(struct queue_world *w, uint64_t id)
{
    struct spool_message *m = spool_find(w->spool, id);

    return m != NULL ? m->owner : NULL;
}

void queue_world_take_this(struct queue_world *w, struct queue_entry *e)
{
    for (unsigned i = 0; i < w->out_count; i++) {
        if (w->out[i] == e) {
            memmove(&w->out[i], &w->out[i + 1], (w->out_count - i - 1) * sizeof(w->out[0]));
            w->out_count--;
            return;
        }
    }
    ck_abort_msg("it is not out");
}

void queue_world_park(struct queue_world *w, struct queue_entry *e, const char *key,
                      const char *reason)
{
    const struct spool_message *m = e->message;

    for (uint32_t i = 0; i < m->recipient_count; i++) {
        if (m->recipients[i].state == SPOOL_RECIPIENT_WAITING
            && (m->recipients[i].flags & SPOOL_RECIPIENT_HELD) == 0)
            queue_park(e, i,
                       &(struct queue_parking){.key = slice_str(key),
                                               .reason = slice_str(reason),
                                               .retry = &w->conf.retry});
    }
    queue_settled(e, NULL, 0);
}

enum queue_standing queue_world_standing(const struct queue_entry *e)
{
    struct queue_facts facts;

    queue_entry_facts(e, &facts);
    return facts.standing;
}

struct queue_entry *queue_world_take(struct queue_world *w)
{
    ck_assert_uint_eq(w->out_count, 1);
    return w->out[--w->out_count];
}

void queue_world_settle(struct queue_world *w, struct queue_entry *e,
                        enum spool_recipient_state state, uint32_t due_s, const char *text)
{
    const struct spool_message *m = e->message;
    struct spool_outcome *outcomes = mem_calloc(m->recipient_count, sizeof(*outcomes));
    uint32_t count = 0;

    (void)w;
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        if (m->recipients[i].state == SPOOL_RECIPIENT_WAITING)
            outcomes[count++] = (struct spool_outcome){.recipient = i,
                                                       .state = (uint8_t)state,
                                                       .counts = true,
                                                       .due_s = due_s,
                                                       .text = slice_str(text)};
    }
    queue_settled(e, outcomes, count);
    mem_free(outcomes);
}

void queue_world_defer(struct queue_world *w, struct queue_entry *e, const char *text)
{
    uint32_t attempts = e->message->recipients[0].attempts + 1u;

    queue_world_settle(w, e, SPOOL_RECIPIENT_WAITING,
                       queue_next_due_s(&w->queue, e->message, &w->conf.retry, attempts), text);
}

uint64_t queue_world_s(const struct queue_world *w)
{
    return io_unix_ms(w->io) / 1000;
}

void queue_world_leap(struct queue_world *w, int64_t ms)
{
    sim_options(w->sim)->unix_ms += (uint64_t)ms;
}
