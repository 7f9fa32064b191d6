/*
 * sim_mail: a seed from its beginning to its end.
 *
 *   weather    faults, incidents; until the clients are done and nothing more is to happen
 *   calm       no faults; until the queue has drained
 *   days       (some seeds) in place of the two: see sim_days.h
 *   stop       cleanly; everything is given back
 *   reopen     (some seeds) the spool once more: nothing may be left in it
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_log.h"
#include "base_mem.h"
#include "sim_days.h"

enum {
    WEATHER_STEPS_MAX = 400 * 1000, /* then it calms down whatever the clients are at */
    BOOTS_FAILED_MAX = 10,          /* likewise */
    REST_MS = 10 * 1000,
    STEPS_MAX = 6 * 1000 * 1000,
    STEPS_A_SECOND_MAX = 300 * 1000, /* of virtual time: more is a loop */
};

static struct world *current; /* for the log and for the last words of an assertion */

void world_fail(struct world *w, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "sim_mail: seed %llu, step %llu, %llu ms: ", (unsigned long long)w->seed,
            (unsigned long long)w->steps,
            (unsigned long long)(w->sim != NULL ? world_now_ms(w) : 0));
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    if (w->clients != NULL) {
        mx_print(w);
        clients_print(w);
    }
    fprintf(stderr, "sim_mail: to see it again: --seed %llu --seeds 1 --verbose",
            (unsigned long long)w->seed);
    if (w->options.fixed)
        fprintf(stderr, " --fixed --fail-op %llu --crash-at %llu --doom-at %llu%s",
                (unsigned long long)w->options.fail_op, (unsigned long long)w->options.crash_at,
                (unsigned long long)w->options.doom_at, w->options.kill ? " --kill" : "");
    fprintf(stderr, "\n");
    abort();
}

void sim_mail_log(void *context, enum log_level level, struct slice line)
{
    struct world *w = current;

    (void)context;
    (void)level;
    if (w == NULL)
        return;
    if (w->verbose)
        fprintf(stderr, "%9llu %.*s", (unsigned long long)(world_now_ms(w) % 1000000000),
                SLICE_ARG(line));
    model_log(w, line);
}

/* ---- mailboxes ----------------------------------------------------------------------------- */

struct mailbox {
    struct world *w;
    struct message *m;
    uint32_t rcpt;
    const char *path;
};

static bool read_file(void *context, const char *name)
{
    struct mailbox *box = context;
    char path[256];
    struct buf text;

    buf_init(&text, 0);
    (void)snprintf(path, sizeof(path), "%s/%s", box->path, name);
    WORLD_CHECK(box->w, sim_file_read(box->w->mx.machine, path, &text), "cannot read %s", path);
    model_file(box->w, box->m, box->rcpt, buf_slice(&text));
    buf_finish(&text);
    return true;
}

static void read_mailboxes(struct world *w)
{
    struct io *io = sim_io_create(w->mx.machine, 0);

    for (uint32_t i = 0; i < w->model.message_count; i++) {
        struct message *m = &w->model.messages[i];
        for (uint32_t k = 0; k < m->rcpt_count; k++) {
            char path[128];
            struct mailbox box = {w, m, k, path};
            if (m->rcpts[k].fate != FATE_MAILDIR)
                continue;
            (void)snprintf(path, sizeof(path), "/mail/box.test/r%u.%u/new", i, k);
            (void)io_list(io, path, read_file, &box); /* it may never have been made */
        }
    }
    io_destroy(io);
}

/* ---- phases -------------------------------------------------------------------------------- */

/* A world that is busy while no time passes will never get anywhere. */
static void check_pace(struct world *w)
{
    uint64_t second = world_now_ms(w) / 1000;

    if (second != w->pace_second) {
        w->pace_second = second;
        w->pace_steps = w->steps;
    }
    WORLD_CHECK(w, w->steps - w->pace_steps < STEPS_A_SECOND_MAX, "P7: busy without an end");
    WORLD_CHECK(w, w->steps < STEPS_MAX, "it does not end");
}

/* The exhaustive mode's one crash, wherever it comes. */
static void crash_here(struct world *w)
{
    if (w->mx.state == MX_DOWN)
        return;
    w->died_at_end = w->ending;
    mx_die(w, !w->options.kill);
    if (!w->ending)
        mx_boot_later(w);
}

void world_turn(struct world *w)
{
    WORLD_CHECK(w, world_step(w), "nothing will ever happen again");
    if (w->options.crash_at != 0 && w->steps == w->options.crash_at)
        crash_here(w);
    check_pace(w);
    mx_look_at_reload(w);
    if (mx_look(w) && !w->ending)
        mx_boot_later(w);
}

static void incident(struct world *w)
{
    enum incident kind;

    do
        kind = (enum incident)rand_below(&w->rand, INCIDENT_COUNT);
    while ((w->plan.incident_kinds & 1u << kind) == 0);
    if (w->verbose)
        fprintf(stderr, "%9llu step %llu: incident %d\n", (unsigned long long)world_now_ms(w),
                (unsigned long long)w->steps, (int)kind);
    switch (kind) {
    case INCIDENT_STOP: mx_stop(w); return;
    case INCIDENT_OPERATOR: mx_operate(w); return;
    case INCIDENT_RELOAD: mx_reload(w); return;
    case INCIDENT_CRASH:
    case INCIDENT_KILL:
        if (w->mx.state == MX_DOWN)
            return;
        mx_die(w, kind == INCIDENT_CRASH);
        mx_boot_later(w);
        return;
    case INCIDENT_COUNT: break;
    }
    UNREACHABLE();
}

static void run_weather(struct world *w)
{
    uint32_t next = 0;
    uint64_t at = w->steps;

    while (w->steps < WEATHER_STEPS_MAX && w->mx.boots_failed < BOOTS_FAILED_MAX) {
        if (next < w->plan.incident_count && w->steps >= at + w->plan.incident_steps[next]) {
            incident(w);
            at = w->steps;
            next++;
        }
        if (next >= w->plan.incident_count && clients_done(w))
            return;
        if (clients_done(w) && mx_is_drained(w))
            return; /* nothing is left for further incidents to spoil */
        world_turn(w);
    }
}

static void run_drain(struct world *w)
{
    w->ending = false;
    while (!clients_done(w) || !mx_is_drained(w))
        world_turn(w);
}

static void run_calm(struct world *w)
{
    struct sim_options *o = sim_options(w->sim);
    struct sim_options calm = sim_options_default();

    calm.lent_strict = o->lent_strict;
    calm.recv_buffers = o->recv_buffers;
    calm.recv_buffer_len = o->recv_buffer_len;
    calm.link_buffer_len = o->link_buffer_len;
    calm.latency_max_us = o->latency_max_us;
    *o = calm;
    w->calm_ms = world_now_ms(w);
    run_drain(w);
}

static void rest_over(struct wheel_timer *timer)
{
    container_of(timer, struct world, rest)->rested = true;
}

/* A spool whose syncs have failed tries again after a while, but not at a stop: it is given the time. */
static void run_rest(struct world *w)
{
    wheel_timer_init(&w->rest, rest_over);
    wheel_set(&w->keeper.wheel, &w->rest, world_now_ms(w) + REST_MS);
    io_wake(w->keeper.io, w->keeper.io);
    while (!w->rested)
        world_turn(w);
}

static void run_stop(struct world *w)
{
    w->ending = true;
    mx_stop(w);
    while (w->mx.state != MX_DOWN)
        world_turn(w);
}

static void run_reopen(struct world *w)
{
    mx_boot(w);
    WORLD_CHECK(w, w->mx.recovered == 0, "P3: %llu messages have come back from an empty queue",
                (unsigned long long)w->mx.recovered);
    run_stop(w);
}

/* A next hop that fails is not to be asked again and again. (Outcomes are counted by recipient, and
 * an attempt may need several addresses.) */
static void check_connections(struct world *w)
{
    uint64_t made = sinks_connections(w), attempts = w->outcomes + w->crash_count;

    WORLD_CHECK(w, made <= 10 + 3 * attempts + w->tls_broken,
                "P7: %llu connections for %llu attempts", (unsigned long long)made,
                (unsigned long long)attempts);
}

/* ---- a seed -------------------------------------------------------------------------------- */

static void count(const struct world *w, struct run_result *out)
{
    out->is_real = w->plan.tls >= SIM_TLS_REAL;
    out->trace = sim_trace_hash(w->sim);
    out->steps = w->steps;
    out->ops = sim_machine_ops(w->mx.machine);
    out->recovery_ops = w->mx.recovery_ops;
    out->deaths = w->crash_count;
    out->checkpoints = w->mx.checkpoints;
    out->compacted_bytes = w->mx.compacted_bytes;
    out->recycled = w->mx.recycled;
    out->tls_in = w->tls_in;
    out->tls_out = w->tls_out;
    for (uint32_t i = 0; i < w->model.message_count; i++) {
        const struct message *m = &w->model.messages[i];
        out->accepted += m->state == MESSAGE_ACCEPTED;
        for (uint32_t k = 0; k < m->rcpt_count; k++) {
            out->delivered += m->rcpts[k].taken > 0;
            out->bounced += m->rcpts[k].bounced > 0;
        }
    }
}

void sim_mail_run(const struct run_options *options, struct run_result *out)
{
    struct world *w = mem_zalloc(sizeof(*w));

    current = w;
    w->seed = options->seed;
    w->options = *options;
    w->verbose = options->verbose;
    rand_seed(&w->rand, options->seed);
    if (options->fixed)
        plan_make_fixed(w);
    else
        plan_make(w);
    if (w->verbose)
        fprintf(stderr, "%.*s", SLICE_ARG(buf_slice(&w->plan.conf)));
    w->sim = sim_create(options->seed, &w->plan.weather);
    mx_init(w);
    sim_tls_init(w, &w->tls);
    if (options->fail_op > 0)
        (void)sim_machine_fail_ops(w->mx.machine, options->fail_op - 1, 1);
    sinks_start(w);
    clients_start(w);
    if (w->days != NULL)
        days_start(w);
    mx_boot(w);
    if (w->days != NULL) {
        days_run(w);
    } else {
        run_weather(w);
        run_calm(w);
    }
    if (w->plan.weather.write_error > 0)
        run_rest(w);
    run_stop(w);
    if (w->died_at_end) { /* what it had not written down comes back */
        mx_boot(w);
        run_drain(w);
        run_stop(w);
    }
    read_mailboxes(w);
    model_check(w);
    check_connections(w);
    if (w->days != NULL)
        days_check(w);
    if (w->plan.reopen)
        run_reopen(w);
    WORLD_CHECK(w, sim_leaked_fds(w->sim) == 0, "P5: %u descriptors were left open",
                sim_leaked_fds(w->sim));
    *out = (struct run_result){0};
    count(w, out);
    sinks_finish(w);
    clients_finish(w);
    current = NULL;
    sim_destroy(w->sim);
    mx_finish(w);
    sim_tls_finish(&w->tls);
    plan_finish(&w->plan);
    model_finish(&w->model);
    days_finish(w);
    mem_free(w);
}
