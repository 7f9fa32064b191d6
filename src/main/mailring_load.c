/* mailring-load: sends mail to an SMTP server, as fast as it takes it or at a given rate, and measures. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>

#include "base_assert.h"
#include "base_mem.h"
#include "io_uring_ring.h"
#include "load_report.h"
#include "load_tls.h"
#include "load_worker.h"
#include "tool_process.h"
#include "tool_url.h"

struct thread {
    struct load_worker worker;
    struct io *io;
    pthread_t id;
    bool running;
    bool failed;
    _Atomic unsigned *left; /* threads that run; the last one tells the main thread */
};

static void *thread_main(void *argument)
{
    struct thread *t = argument;

    if (io_uring_start(t->io) < 0) {
        t->failed = true;
    } else {
        load_worker_start(&t->worker);
        while (load_worker_pass(&t->worker))
            continue;
    }
    if (atomic_fetch_sub(t->left, 1) == 1)
        tool_process_tell_main();
    return NULL;
}

static void record_lines(void *context, struct slice lines)
{
    /* A full disk shows when the file is closed. */
    (void)fwrite(lines.data, 1, lines.len, context);
}

static void print_progress(struct load_run *run, uint64_t *last)
{
    uint64_t now = atomic_load_explicit(&run->accepted_now, memory_order_relaxed);

    (void)fprintf(stderr, "%" PRIu64 " accepted, %" PRIu64 " in the last second\n", now,
                  now - *last);
    *last = now;
}

/* Until the last thread has ended. A signal ends the run; a second one ends it at once. */
static void wait_for_threads(struct load_run *run, struct thread *threads, unsigned count)
{
    uint64_t progress = 0;
    bool ended = false;

    while (!ended) {
        switch (tool_process_wait(run->options->progress ? 1000 : 0)) {
        case TOOL_PROCESS_TOLD: ended = true; break;
        case TOOL_PROCESS_TIMEOUT: print_progress(run, &progress); break;
        case TOOL_PROCESS_SIGNAL:
            if (atomic_exchange(&run->stop, true))
                exit(EXIT_FAILURE);
            for (unsigned i = 0; i < count; i++)
                io_wake_from_thread(threads[i].io);
            break;
        }
    }
}

static bool create_threads(struct load_run *run, struct thread *threads, int *out_exit)
{
    const struct load_options *o = run->options;
    struct buf error;
    bool ok = true;

    buf_init(&error, 0);
    for (unsigned i = 0; ok && i < o->threads; i++) {
        uint64_t sessions = o->sessions / o->threads + 1;
        struct io_uring_options options = {.connections_max = (unsigned)sessions, .cpu = -1};

        threads[i].io = io_uring_create(&options, &error, out_exit);
        ok = threads[i].io != NULL;
        if (ok)
            load_worker_init(&threads[i].worker, run, i, threads[i].io);
        else
            tool_process_complain("%.*s", SLICE_ARG(buf_slice(&error)));
    }
    buf_finish(&error);
    return ok;
}

static void report(const struct load_run *run, const struct load_stats *stats, double seconds,
                   const struct tool_cpu *cpu, bool *out_good)
{
    struct load_report r = {.options = run->options,
                            .stats = stats,
                            .run = run->mail.run,
                            .seconds = seconds,
                            .cpu_user = cpu->user,
                            .cpu_system = cpu->system};
    struct buf text;

    buf_init(&text, 0);
    if (run->options->json)
        load_report_json(&r, &text);
    else
        load_report_text(&r, &text);
    (void)fwrite(text.data, 1, buf_len(&text), stdout);
    buf_finish(&text);
    *out_good = load_report_is_good(&r);
}

/* Runs the threads and adds up what they counted. */
static int run_load(struct load_run *run, struct thread *threads)
{
    static struct load_stats sum;
    unsigned count = (unsigned)run->options->threads;
    _Atomic unsigned left = count;
    struct tool_cpu before, after;
    bool good = true, hopeless = false;

    tool_process_cpu(&before);
    for (unsigned i = 0; i < count; i++) {
        threads[i].left = &left;
        threads[i].running = pthread_create(&threads[i].id, NULL, thread_main, &threads[i]) == 0;
        if (!threads[i].running) {
            tool_process_complain("cannot start a thread: %s", strerror(EAGAIN));
            exit(EX_OSERR);
        }
    }
    wait_for_threads(run, threads, count);
    for (unsigned i = 0; i < count; i++) {
        (void)pthread_join(threads[i].id, NULL);
        load_stats_merge(&sum, &threads[i].worker.stats);
        good &= !threads[i].failed;
        hopeless |= threads[i].worker.hopeless;
    }
    tool_process_cpu(&after);
    after.user -= before.user;
    after.system -= before.system;
    if (hopeless && sum.connections == 0 && sum.error_kinds > 0) {
        tool_process_complain("cannot connect: %s", strerror(sum.errors[0].number));
        return EX_UNAVAILABLE;
    }
    if (!good) {
        tool_process_complain("a ring did not start");
        return EX_OSERR;
    }
    report(run, &sum, after.at - before.at, &after, &good);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run_with_record(struct load_run *run)
{
    const char *path = run->options->record;
    struct thread *threads = mem_calloc(run->options->threads, sizeof(*threads));
    FILE *file = NULL;
    int code = EX_OSERR;

    if (path != NULL) {
        file = fopen(path, "we");
        if (file == NULL) {
            tool_process_complain("--record %s: %s", path, strerror(errno));
            mem_free(threads);
            return EX_CANTCREAT;
        }
        run->record = record_lines;
        run->context = file;
    }
    if (create_threads(run, threads, &code))
        code = run_load(run, threads);
    if (file != NULL && (ferror(file) || fclose(file) != 0)) {
        tool_process_complain("--record %s: %s", path, strerror(errno));
        code = EX_IOERR;
    }
    for (unsigned i = 0; i < run->options->threads && threads[i].io != NULL; i++) {
        load_worker_finish(&threads[i].worker);
        io_destroy(threads[i].io);
    }
    mem_free(threads);
    return code;
}

static int run_options(struct load_options *o, const char *url)
{
    struct load_run run = {.options = o};
    struct buf error;
    int code = EX_USAGE;
    uint32_t number = tool_process_random();

    buf_init(&error, 0);
    if (load_options_check(o, &error) && tool_url_parse(url, &run.server, &error)
        && load_mail_init(&run.mail, o, number, &error)
        && (o->tls == LOAD_TLS_NONE || (run.tls = load_tls_context(o, &error)) != NULL))
        code = run_with_record(&run);
    else
        tool_process_complain("%.*s", SLICE_ARG(buf_slice(&error)));
    tls_context_unref(run.tls);
    load_mail_finish(&run.mail);
    buf_finish(&error);
    return code;
}

int main(int argc, char **argv)
{
    struct load_options options;
    const char *url;
    int code;

    load_options_init(&options);
    if (!tool_process_begin(&load_program, MAILRING_VERSION, argc, argv, &options, &url, &code))
        return code;
    return run_options(&options, url);
}
