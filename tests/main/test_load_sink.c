/*
 * test_load_sink: mailring-load and mailring-sink against each other in the simulator: bytes cut
 * anywhere, completions in any order, links that break, every fault that the sink can be asked for. What
 * one side counts, the other must have counted; nothing that was accepted is lost.
 */
#include <check.h>
#include <stdlib.h>

#include "base_mem.h"
#include "io_sim.h"
#include "load_session.h"
#include "load_worker.h"
#include "sink_worker.h"

Suite *load_sink_suite(void);

enum { STEPS_MAX = 4000000, SEEDS_A_TEST = 10 };

static struct world {
    struct sim *sim;
    struct io *load_io, *sink_io;
    struct load_options load_options;
    struct sink_options sink_options;
    struct load_run load_run;
    struct sink_run sink_run;
    struct load_worker load;
    struct sink_worker sink;
    struct buf load_record, sink_record;
    bool load_done, sink_done;
    bool nobody; /* listens where the load goes */
} w;

static void keep_lines(void *context, struct slice lines)
{
    (void)buf_append_slice(context, lines);
}

static void not_reached(struct sink_run *run)
{
    (void)run;
    ck_abort_msg("there is no --messages");
}

/* The default options, for a test to change before world_open(). */
static void world_prepare(void)
{
    w = (struct world){0};
    load_options_init(&w.load_options);
    sink_options_init(&w.sink_options);
    w.load_options.sessions = 5;
    w.load_options.messages = 100;
    w.load_options.timeout_ms = 3600 * 1000;
    w.sink_options.verify = true;
    w.sink_options.record = "";
}

static void world_open(uint64_t seed, const struct sim_options *options)
{
    struct buf error = {0};
    struct io_addr address;
    int fd;

    w.sim = sim_create(seed, options);
    w.sink_io = sim_io_create(sim_machine_create(w.sim, "10.0.0.1"), 0);
    w.load_io = sim_io_create(sim_machine_create(w.sim, "10.0.0.2"), 0);

    w.load_run.options = &w.load_options;
    ck_assert(load_options_check(&w.load_options, &error));
    ck_assert(load_mail_init(&w.load_run.mail, &w.load_options, 7, &error));
    ck_assert(io_addr_parse(SLICE_LITERAL("10.0.0.1:25"), &address));
    ck_assert(io_addr_parse(w.nobody ? SLICE_LITERAL("10.0.0.1:26") : SLICE_LITERAL("10.0.0.1:25"),
                            &w.load_run.server));
    w.load_run.record = keep_lines;
    w.load_run.context = &w.load_record;
    load_worker_init(&w.load, &w.load_run, 0, w.load_io);

    sink_run_init(&w.sink_run, &w.sink_options);
    w.sink_run.enough = not_reached;
    w.sink_run.record = keep_lines;
    w.sink_run.context = &w.sink_record;
    sink_worker_init(&w.sink, &w.sink_run, 0, w.sink_io);
    fd = io_listen(w.sink_io, &address, 0, 1000);
    ck_assert_int_ge(fd, 0);
    sink_worker_start(&w.sink, fd);
    load_worker_start(&w.load);
    buf_finish(&error);
}

/* Until the load has ended, then until the sink has stopped. */
static void world_run(void)
{
    for (int i = 0; i < STEPS_MAX && !w.sink_done; i++) {
        struct io *io = sim_step(w.sim);

        if (io == w.load_io && !w.load_done)
            w.load_done = !load_worker_pass(&w.load);
        if (w.load_done && !w.sink_run.stop)
            atomic_store(&w.sink_run.stop, true);
        if (w.load_done || io == w.sink_io)
            w.sink_done = !sink_worker_pass(&w.sink);
        ck_assert_msg(io != NULL || w.load_done, "the world stands still");
    }
    ck_assert(w.load_done && w.sink_done);
}

static void expect_record(void)
{
    struct slice rest = buf_slice(&w.load_record);
    ptrdiff_t lf;

    while ((lf = slice_find(rest, '\n')) >= 0) {
        ck_assert(sink_verify_expect(&w.sink.verify, slice_head(rest, (size_t)lf)));
        slice_advance(&rest, (size_t)lf + 1);
    }
}

static void world_close(void)
{
    load_worker_finish(&w.load);
    sink_worker_finish(&w.sink);
    load_mail_finish(&w.load_run.mail);
    buf_finish(&w.load_record);
    buf_finish(&w.sink_record);
    io_destroy(w.load_io);
    io_destroy(w.sink_io);
    ck_assert_uint_eq(sim_leaked_fds(w.sim), 0);
    sim_destroy(w.sim);
}

static uint64_t reply_count(unsigned code)
{
    return w.load.stats.replies[code];
}

/* What holds whatever happens. */
static void check_common(void)
{
    const struct load_stats *s = &w.load.stats;
    const struct sink_counts *c = &w.sink.verify.counts;

    expect_record();
    ck_assert_uint_eq(s->accepted + s->refused + s->unknown + s->unsent, w.load_options.messages);
    ck_assert_uint_eq(c->unmarked, 0);
    ck_assert_uint_eq(c->altered, 0);
    ck_assert_uint_eq(c->duplicates, 0);
    ck_assert_uint_eq(c->expected, s->accepted);
    ck_assert_uint_eq(c->lost, 0);
    ck_assert_uint_ge(w.sink.stats.accepted, s->accepted);
    ck_assert_uint_le(w.sink.stats.accepted, s->accepted + s->unknown);
    ck_assert_uint_eq(s->accepted, s->message.count);
}

/* ---- nothing goes wrong ----------------------------------------------------------------------- */

static void check_all_accepted(void)
{
    const struct load_stats *s = &w.load.stats;
    uint64_t messages = w.load_options.messages;

    check_common();
    sink_verify_count_missing(&w.sink.verify);
    ck_assert_uint_eq(s->accepted, messages);
    ck_assert_uint_eq(s->error_count, 0);
    ck_assert_uint_eq(s->recipients, messages * w.load_options.recipients);
    ck_assert_uint_eq(w.sink.stats.recipients, s->recipients);
    ck_assert_uint_eq(w.sink.verify.counts.missing, 0);
    ck_assert(sink_verify_is_good(&w.sink.verify));
    ck_assert_uint_eq(s->connections, w.sink.stats.connections);
    ck_assert_uint_eq(reply_count(354), messages);
    ck_assert_uint_eq(reply_count(221), s->connections);
}

static const struct {
    bool pipeline, dots;
    uint64_t per_session, recipients, rate;
} kinds[] = {
    {true, false, 1, 1, 0},  {false, false, 1, 1, 0}, {true, true, 0, 1, 0},
    {false, true, 0, 3, 0},  {true, false, 4, 7, 0},  {false, false, 4, 2, 0},
    {true, false, 0, 1, 50}, {false, true, 1, 1, 50}, {true, true, 3, 5, 5000},
};

/* Each kind of session, with bytes that come one at a time and with bytes that come in any cuts. */
START_TEST(test_kinds)
{
    struct sim_options options = sim_options_default();

    world_prepare();
    w.load_options.pipeline = kinds[_i].pipeline;
    w.load_options.dots = kinds[_i].dots;
    w.load_options.per_session = kinds[_i].per_session;
    w.load_options.recipients = kinds[_i].recipients;
    w.load_options.rate = kinds[_i].rate;
    w.load_options.sizes[0] = 700;
    options.recv_split = 9000;
    world_open((uint64_t)_i, &options);
    world_run();
    check_all_accepted();
    if (kinds[_i].per_session == 0 && kinds[_i].rate == 0)
        ck_assert_uint_eq(w.load.stats.connections, w.load_options.sessions);
    else if (kinds[_i].per_session > 0)
        ck_assert_uint_ge(w.load.stats.connections, 100 / kinds[_i].per_session);
    world_close();
}
END_TEST

/* Messages keep their times, the session being free or not. */
START_TEST(test_rate)
{
    struct sim_options options = sim_options_default();
    uint64_t begin;

    world_prepare();
    w.load_options.rate = 20;
    w.load_options.messages = 100;
    world_open(1, &options);
    begin = sim_now_ms(w.sim);
    world_run();
    check_all_accepted();
    ck_assert_uint_ge(sim_now_ms(w.sim) - begin, 4950);
    ck_assert_uint_le(sim_now_ms(w.sim) - begin, 6000);
    ck_assert_uint_eq(w.load.stats.late, 0);
    world_close();
}
END_TEST

/* A server that takes 100 ms a message, one session, 50 a second: the waits are counted. */
START_TEST(test_rate_falls_behind)
{
    struct sim_options options = sim_options_default();

    world_prepare();
    w.load_options.rate = 50;
    w.load_options.messages = 50;
    w.load_options.sessions = 1;
    w.load_options.per_session = 0;
    w.sink_options.faults[SINK_DOT].delay_ms = 100;
    world_open(1, &options);
    world_run();
    check_all_accepted();
    ck_assert_uint_gt(w.load.stats.late, 40);
    ck_assert_uint_gt(w.load.stats.message.max_us, 3500000);
    ck_assert_uint_lt(w.load.stats.dot.max_us, 200000);
    world_close();
}
END_TEST

START_TEST(test_limit_rate)
{
    struct sim_options options = sim_options_default();
    uint64_t begin;

    world_prepare();
    w.sink_options.rate = 50;
    world_open(1, &options);
    begin = sim_now_ms(w.sim);
    world_run();
    check_all_accepted();
    ck_assert_uint_ge(sim_now_ms(w.sim) - begin, 1900);
    ck_assert_uint_le(sim_now_ms(w.sim) - begin, 3000);
    world_close();
}
END_TEST

/* The time is over long before the messages are. */
START_TEST(test_time)
{
    struct sim_options options = sim_options_default();
    uint64_t begin;

    world_prepare();
    w.load_options.messages = 0;
    w.load_options.time_ms = 3000;
    w.sink_options.faults[SINK_DOT].delay_ms = 70;
    world_open(1, &options);
    begin = sim_now_ms(w.sim);
    world_run();
    w.load_options.messages = w.load.stats.accepted;
    check_all_accepted();
    ck_assert_uint_ge(w.load.stats.accepted, 5 * 3000 / 80);
    ck_assert_uint_ge(sim_now_ms(w.sim) - begin, 3000);
    ck_assert_uint_le(sim_now_ms(w.sim) - begin, 3200);
    world_close();
}
END_TEST

/* A server that never answers: the reply's time runs out; or the run's end and its grace. */
START_TEST(test_silence)
{
    struct sim_options options = sim_options_default();

    world_prepare();
    w.load_options.messages = 10;
    w.load_options.timeout_ms = _i == 0 ? 5000 : 3600 * 1000;
    w.load_options.time_ms = _i == 0 ? 0 : 2000;
    w.sink_options.faults[_i == 0 ? SINK_DOT : SINK_MAIL].delay_ms = (uint64_t)7200 * 1000;
    world_open(1, &options);
    world_run();
    ck_assert_uint_eq(w.load.stats.accepted, 0);
    ck_assert_uint_eq(w.load.stats.unknown, _i == 0 ? 10 : 0);
    ck_assert_uint_eq(w.load.stats.unsent, _i == 0 ? 0 : 5);
    ck_assert_uint_eq(w.load.stats.error_kinds, 1);
    ck_assert_int_eq(w.load.stats.errors[0].kind,
                     _i == 0 ? LOAD_ERROR_TIMEOUT : LOAD_ERROR_UNFINISHED);
    world_close();
}
END_TEST

/* ---- what the sink is asked to do wrong ------------------------------------------------------- */

static void run_fault(enum sink_stage stage, uint16_t code, unsigned chance)
{
    struct sim_options options = sim_options_default();

    w.sink_options.faults[stage].code = code;
    if (code != 0)
        w.sink_options.faults[stage].fail = chance;
    else
        w.sink_options.faults[stage].drop = chance;
    options.recv_split = 5000;
    world_open(stage * 1000U + code, &options);
    world_run();
    check_common();
}

static uint64_t errors_of(enum load_error_kind kind, enum load_stage stage, int number)
{
    const struct load_stats *s = &w.load.stats;

    for (size_t i = 0; i < s->error_kinds; i++) {
        const struct load_error *e = &s->errors[i];
        if (e->kind == kind && e->stage == stage && (number == 0 || e->number == number))
            return e->count;
    }
    return 0;
}

static const struct {
    enum sink_stage sink;
    enum load_stage load;
} stages[] = {
    {SINK_CONNECT, LOAD_STAGE_GREETING}, {SINK_EHLO, LOAD_STAGE_EHLO}, {SINK_MAIL, LOAD_STAGE_MAIL},
    {SINK_RCPT, LOAD_STAGE_RCPT},        {SINK_DATA, LOAD_STAGE_DATA}, {SINK_DOT, LOAD_STAGE_DOT},
};
enum { STAGES = sizeof(stages) / sizeof(stages[0]) };

/* A third of the answers is 450, 550 or 421: what was refused is told by its code and place. */
static void check_refusals(int n)
{
    static const uint16_t codes[] = {450, 550, 421};
    uint16_t code = codes[n / STAGES % 3];
    enum sink_stage stage = stages[n % STAGES].sink;
    bool pipeline = n >= 3 * STAGES;
    uint64_t failed;

    if (stage == SINK_CONNECT && code != 421)
        code = 554;
    world_prepare();
    w.load_options.per_session = 10;
    w.load_options.pipeline = pipeline;
    run_fault(stage, code, 3000);
    failed = w.sink.stats.failed[stage];
    ck_assert_uint_gt(failed, 0);
    ck_assert_uint_eq(w.load.stats.unknown, 0);
    ck_assert_uint_eq(reply_count(code), failed);
    if (stage == SINK_EHLO && code == 550) /* HELO is tried then */
        ck_assert_uint_le(errors_of(LOAD_ERROR_REPLY, LOAD_STAGE_EHLO, code), failed);
    else
        ck_assert_uint_eq(errors_of(LOAD_ERROR_REPLY, stages[n % STAGES].load, code), failed);
    if (stage >= SINK_MAIL)
        ck_assert_uint_eq(w.load.stats.refused, failed);
    else
        ck_assert_uint_eq(w.load.stats.refused, 0);
    ck_assert_uint_eq(w.load.stats.accepted, w.sink.stats.accepted);
    world_close();
}

START_TEST(test_refusals)
{
    for (int i = 0; i < STAGES; i++)
        check_refusals(_i * STAGES + i);
}
END_TEST

/* Some recipients are refused: the others get the message; if all are, nobody does. */
START_TEST(test_some_recipients)
{
    world_prepare();
    w.load_options.recipients = 4;
    w.load_options.per_session = 0;
    w.load_options.pipeline = _i;
    run_fault(SINK_RCPT, 550, 6000);
    ck_assert_uint_eq(w.load.stats.recipients_refused, w.sink.stats.failed[SINK_RCPT]);
    ck_assert_uint_eq(w.load.stats.recipients, w.sink.stats.recipients);
    ck_assert_uint_gt(w.load.stats.accepted, 0);
    ck_assert_uint_gt(w.load.stats.refused, 0);
    ck_assert_uint_eq(w.load.stats.unknown + w.load.stats.unsent, 0);
    world_close();
}
END_TEST

/* The connection is closed in place of an answer: before the dot the message was not sent, after it
 * nobody knows. */
static void check_drops(int n)
{
    enum sink_stage stage = stages[n % STAGES].sink;
    uint64_t dropped;

    world_prepare();
    w.load_options.per_session = 10;
    w.load_options.pipeline = n >= STAGES;
    run_fault(stage, 0, 2000);
    dropped = w.sink.stats.dropped[stage];
    ck_assert_uint_gt(dropped, 0);
    ck_assert_uint_eq(stage == SINK_DOT ? w.load.stats.unknown : w.load.stats.unsent, dropped);
    ck_assert_uint_eq(w.load.stats.accepted + dropped, w.load_options.messages);
    ck_assert_uint_eq(w.load.stats.error_count, dropped);
    world_close();
}

START_TEST(test_drops)
{
    for (int i = 0; i < STAGES; i++)
        check_drops(_i * STAGES + i);
}
END_TEST

/* ---- what the world does wrong ---------------------------------------------------------------- */

/* Links break anywhere, resources run out, for any seed. */
static void check_seed(uint64_t seed)
{
    struct sim_options options = sim_options_from_seed(seed);
    struct rand rand;

    rand_seed(&rand, seed);
    world_prepare();
    options.fds_max = options.fds_max != 0 && options.fds_max < 20 ? 20 : options.fds_max;
    w.load_options.timeout_ms = 60000;
    w.load_options.pipeline = rand_chance(&rand, 1, 2);
    w.load_options.per_session = rand_below(&rand, 5);
    w.load_options.recipients = 1 + rand_below(&rand, 3);
    w.load_options.sessions = 1 + rand_below(&rand, 20);
    w.load_options.sizes[0] = rand_below(&rand, 4000);
    w.load_options.rate = rand_chance(&rand, 1, 3) ? 1 + rand_below(&rand, 300) : 0;
    for (size_t i = 0; rand_chance(&rand, 1, 2) && i < SINK_STAGE_COUNT; i++) {
        struct sink_fault *fault = &w.sink_options.faults[i];
        fault->code = rand_chance(&rand, 1, 2) ? 421 : 554;
        fault->fail = (unsigned)rand_below(&rand, 1000);
        fault->drop = (unsigned)rand_below(&rand, 500);
        fault->delay_ms = rand_chance(&rand, 1, 4) ? rand_below(&rand, 50) : 0;
    }
    world_open(seed, &options);
    world_run();
    if (!w.load.hopeless)
        check_common();
    world_close();
}

START_TEST(test_seeds)
{
    for (int i = 0; i < SEEDS_A_TEST; i++)
        check_seed((uint64_t)(_i * SEEDS_A_TEST + i));
}
END_TEST

/* Nobody listens: it ends at once, and says why. */
START_TEST(test_nobody)
{
    struct sim_options options = sim_options_default();
    uint64_t begin;

    world_prepare();
    w.load_options.messages = 100000;
    w.nobody = true;
    world_open(1, &options);
    begin = sim_now_ms(w.sim);
    world_run();
    ck_assert(w.load.hopeless);
    ck_assert_uint_le(w.load.stats.error_count, w.load_options.sessions);
    ck_assert_int_eq(w.load.stats.errors[0].kind, LOAD_ERROR_SYSTEM);
    ck_assert_uint_lt(sim_now_ms(w.sim) - begin, 1000);
    world_close();
}
END_TEST

Suite *load_sink_suite(void)
{
    Suite *suite = suite_create("load_sink");
    TCase *tc = tcase_create("all");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_kinds, 0, sizeof(kinds) / sizeof(kinds[0]));
    tcase_add_test(tc, test_rate);
    tcase_add_test(tc, test_rate_falls_behind);
    tcase_add_test(tc, test_limit_rate);
    tcase_add_test(tc, test_time);
    tcase_add_loop_test(tc, test_silence, 0, 2);
    tcase_add_loop_test(tc, test_refusals, 0, 2 * 3);
    tcase_add_loop_test(tc, test_some_recipients, 0, 2);
    tcase_add_loop_test(tc, test_drops, 0, 2);
    tcase_add_loop_test(tc, test_seeds, 0, 10);
    tcase_add_test(tc, test_nobody);
    suite_add_tcase(suite, tc);
    return suite;
}
