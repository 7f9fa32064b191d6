/* load_worker: see the header. */
#include "load_worker.h"

#include "base_mem.h"
#include "load_session.h"

enum { GRACE_MS = 10000, LINES_WAITING = 32768 };

static const uint64_t ns_per_ms = 1000000;
static const uint64_t late_ns = 10000000;

/* ---- messages --------------------------------------------------------------------------------- */

/* When the next message of this worker is due, on io's clock. */
static uint64_t next_due_ns(const struct load_worker *w)
{
    double share = (double)w->taken + (double)w->number / (double)w->run->options->threads;

    return w->start_ns + (uint64_t)(share * w->interval_ns);
}

bool load_worker_claim(struct load_worker *w, uint64_t *out_serial, uint64_t *out_begin_ns)
{
    const struct load_options *o = w->run->options;
    uint64_t now, serial, begin;

    if (w->exhausted)
        return false;
    begin = now = io_now_ns(w->io);
    if (o->rate != 0) {
        begin = next_due_ns(w);
        if (begin > now)
            return false;
    }
    serial = atomic_fetch_add_explicit(&w->run->claimed, 1, memory_order_relaxed);
    if (o->messages != 0 && serial >= o->messages) {
        w->exhausted = true;
        return false;
    }
    w->taken++;
    if (now - begin > late_ns)
        w->stats.late++;
    *out_serial = serial;
    *out_begin_ns = begin;
    return true;
}

const char *load_worker_date(struct load_worker *w)
{
    uint64_t second = io_unix_ms(w->io) / 1000;

    if (second != w->date_second) {
        w->date_second = second;
        date_format(second, w->date);
    }
    return w->date;
}

void load_worker_record(struct load_worker *w, const struct tool_mark *mark, const char *outcome)
{
    char id[TOOL_MARK_ID_SIZE];

    if (w->run->record == NULL)
        return;
    (void)buf_append(&w->lines, id, tool_mark_id(mark, id));
    (void)buf_append_byte(&w->lines, ' ');
    (void)buf_append_str(&w->lines, outcome);
    (void)buf_append_byte(&w->lines, '\n');
}

static void write_lines(struct load_worker *w)
{
    if (buf_len(&w->lines) == 0)
        return;
    w->run->record(w->run->context, buf_slice(&w->lines));
    buf_clear(&w->lines);
}

/* ---- sessions that wait ----------------------------------------------------------------------- */

static struct load_session *take_free(struct load_worker *w)
{
    struct list *node = list_pop_front(&w->free);

    return node != NULL ? container_of(node, struct load_session, node) : NULL;
}

static void set_due(struct load_worker *w)
{
    if (w->interval_ns > 0 && !w->exhausted)
        wheel_set(&w->wheel, &w->due, (next_due_ns(w) + ns_per_ms - 1) / ns_per_ms);
}

void load_worker_add_free(struct load_worker *w, struct list *node)
{
    list_push_back(&w->free, node);
    if (!wheel_timer_is_set(&w->due))
        set_due(w);
}

/* Gives each message whose time has come to a free session. If there is none, the first session to
 * become free takes it by itself. */
static void due_fired(struct wheel_timer *timer)
{
    struct load_worker *w = container_of(timer, struct load_worker, due);
    uint64_t now = io_now_ns(w->io);

    while (!w->exhausted && !list_empty(&w->free) && next_due_ns(w) <= now)
        load_session_next(take_free(w));
    if (!list_empty(&w->free))
        set_due(w);
}

/* ---- the end ---------------------------------------------------------------------------------- */

static void cut_fired(struct wheel_timer *timer)
{
    struct load_worker *w = container_of(timer, struct load_worker, over);

    for (size_t i = 0; i < w->session_count; i++)
        load_session_cut(&w->sessions[i]);
}

/* Begins nothing more. What is under way has some time to end. */
static void stop_claiming(struct load_worker *w)
{
    uint64_t timeout = w->run->options->timeout_ms;

    w->exhausted = true;
    w->over.fire = cut_fired;
    wheel_set(&w->wheel, &w->over,
              io_now_ms(w->io) + (timeout < GRACE_MS ? timeout : (uint64_t)GRACE_MS));
}

static void time_over(struct wheel_timer *timer)
{
    stop_claiming(container_of(timer, struct load_worker, over));
}

bool load_worker_pass(struct load_worker *w)
{
    uint64_t until = wheel_next_ms(&w->wheel);
    struct load_session *s;

    (void)io_wait(w->io, until); /* what happened, happened in the ops */
    wheel_advance(&w->wheel, io_now_ms(w->io));
    if ((w->hopeless || atomic_load_explicit(&w->run->stop, memory_order_relaxed)) && !w->exhausted)
        stop_claiming(w);
    /* Those that wait for a message will not get one; their number is that of the list now. */
    while (w->exhausted && (s = take_free(w)) != NULL)
        load_session_next(s);
    if (buf_len(&w->lines) >= LINES_WAITING || w->live == 0)
        write_lines(w);
    return w->live > 0;
}

/* ---- life ------------------------------------------------------------------------------------- */

void load_worker_init(struct load_worker *w, struct load_run *run, unsigned number, struct io *io)
{
    const struct load_options *o = run->options;
    uint64_t first = o->sessions * number / o->threads;

    *w = (struct load_worker){.run = run, .number = number, .io = io};
    w->session_count = (size_t)(o->sessions * (number + 1) / o->threads - first);
    w->sessions = mem_calloc(w->session_count, sizeof(*w->sessions));
    list_init(&w->free);
    wheel_timer_init(&w->due, due_fired);
    wheel_timer_init(&w->over, time_over);
    buf_init(&w->lines, 0);
    for (size_t i = 0; i < w->session_count; i++)
        load_session_init(&w->sessions[i], w, (uint32_t)(first + i));
}

void load_worker_start(struct load_worker *w)
{
    const struct load_options *o = w->run->options;

    w->start_ns = io_now_ns(w->io);
    wheel_init(&w->wheel, w->start_ns / ns_per_ms);
    if (o->rate != 0)
        w->interval_ns = 1e9 * (double)o->threads / (double)o->rate;
    if (o->time_ms != 0)
        wheel_set(&w->wheel, &w->over, w->start_ns / ns_per_ms + o->time_ms);
    w->live = w->session_count;
    for (size_t i = 0; i < w->session_count; i++)
        load_session_next(&w->sessions[i]);
}

void load_worker_finish(struct load_worker *w)
{
    for (size_t i = 0; i < w->session_count; i++)
        load_session_finish(&w->sessions[i]);
    mem_free(w->sessions);
    buf_finish(&w->lines);
}
