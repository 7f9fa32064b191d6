/* mailring-sink: takes mail by SMTP and throws it away, or keeps it, or refuses it, as it is told. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "base_mem.h"
#include "io_uring_ring.h"
#include "sink_report.h"
#include "sink_tls.h"
#include "sink_worker.h"
#include "tool_process.h"
#include "tool_url.h"

enum { LISTEN_BACKLOG = 4096, CONNECTIONS_EXPECTED = 20000 };

struct thread {
    struct sink_worker worker;
    struct io *io;
    int fd;
    pthread_t id;
    bool running;
    bool failed;
};

struct program {
    struct sink_run run;
    struct thread *threads;
    unsigned count;
    struct io_addr address;
    FILE *record;
};

static void *thread_main(void *argument)
{
    struct thread *t = argument;

    if (io_uring_start(t->io) < 0) {
        t->failed = true;
        tool_process_tell_main();
        return NULL;
    }
    sink_worker_start(&t->worker, t->fd);
    while (sink_worker_pass(&t->worker))
        continue;
    return NULL;
}

static void record_lines(void *context, struct slice lines)
{
    /* At once, so that a reader sees what came; a full disk shows when the file is closed. */
    (void)fwrite(lines.data, 1, lines.len, context);
    (void)fflush(context);
}

static void tell_enough(struct sink_run *run)
{
    (void)run;
    tool_process_tell_main();
}

/* ---- before anything is served ---------------------------------------------------------------- */

static bool complain_file(const char *option, const char *path, int error)
{
    tool_process_complain("--%s %s: %s", option, path, strerror(error));
    return false;
}

static bool open_files(struct program *p)
{
    const struct sink_options *o = p->run.options;
    struct stat status;

    errno = 0;
    if (o->dump != NULL && (stat(o->dump, &status) != 0 || !S_ISDIR(status.st_mode)))
        return complain_file("dump", o->dump, errno != 0 ? errno : ENOTDIR);
    if (o->record == NULL)
        return true;
    p->record = fopen(o->record, "we");
    if (p->record == NULL)
        return complain_file("record", o->record, errno);
    p->run.record = record_lines;
    p->run.context = p->record;
    return true;
}

static bool create_threads(struct program *p, int *out_exit)
{
    const struct io_uring_options options = {.connections_max = CONNECTIONS_EXPECTED, .cpu = -1};
    struct buf error;
    bool ok = true;

    buf_init(&error, 0);
    p->threads = mem_calloc(p->count, sizeof(*p->threads));
    for (unsigned i = 0; i < p->count; i++)
        p->threads[i].fd = -1;
    for (unsigned i = 0; ok && i < p->count; i++) {
        struct thread *t = &p->threads[i];

        t->io = io_uring_create(&options, &error, out_exit);
        ok = t->io != NULL;
        if (ok)
            sink_worker_init(&t->worker, &p->run, i, t->io);
        else
            tool_process_complain("%.*s", SLICE_ARG(buf_slice(&error)));
    }
    buf_finish(&error);
    return ok;
}

static void say_address(const struct program *p, const char *before, const char *after)
{
    struct buf address;

    buf_init(&address, 0);
    io_addr_format(&p->address, &address);
    tool_process_complain("%s %.*s%s", before, SLICE_ARG(buf_slice(&address)), after);
    buf_finish(&address);
}

/* With several threads each has a socket at the same port; a first one without SO_REUSEPORT finds out
 * whether somebody else has it. Port 0 becomes one that is free. */
static bool listen_all(struct program *p)
{
    unsigned flags = p->count > 1 ? IO_LISTEN_REUSEPORT : 0;
    int fd = io_listen(p->threads[0].io, &p->address, 0, LISTEN_BACKLOG);
    char why[128];

    if (fd >= 0)
        (void)io_addresses(p->threads[0].io, fd, &p->address, NULL); /* of a socket of ours */
    if (fd >= 0 && p->count > 1)
        io_close_now(p->threads[0].io, fd);
    for (unsigned i = 0; fd >= 0 && i < p->count; i++) {
        if (p->count > 1)
            fd = io_listen(p->threads[i].io, &p->address, flags, LISTEN_BACKLOG);
        p->threads[i].fd = fd;
    }
    if (fd >= 0)
        return true;
    (void)snprintf(why, sizeof(why), ": %s", strerror(-fd));
    say_address(p, "cannot listen on", why);
    return false;
}

/* ---- the end ---------------------------------------------------------------------------------- */

static void expect(struct sink_verify *v, const char *path)
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    ssize_t len;

    if (file == NULL) {
        (void)complain_file("expect", path, errno);
        v->counts.lost++; /* of what nobody can tell, nothing is proven */
        return;
    }
    while ((len = getline(&line, &size, file)) > 0) {
        struct slice text = slice_of(line, (size_t)len - (line[len - 1] == '\n' ? 1 : 0));

        if (!sink_verify_expect(v, text))
            tool_process_complain("--expect %s: not understood: %s", path, line);
    }
    free(line);
    (void)fclose(file); /* only read from */
}

static int report(struct program *p, const struct sink_stats *stats, const struct tool_cpu *cpu)
{
    const struct sink_options *o = p->run.options;
    struct sink_verify *verify = &p->threads[0].worker.verify;
    struct sink_report r = {.options = o,
                            .stats = stats,
                            .verify = o->verify ? verify : NULL,
                            .seconds = cpu->at,
                            .cpu_user = cpu->user,
                            .cpu_system = cpu->system};
    struct buf text;

    if (o->expect != NULL)
        expect(verify, o->expect);
    sink_verify_count_missing(verify);
    buf_init(&text, 0);
    if (o->json)
        sink_report_json(&r, &text);
    else
        sink_report_text(&r, &text);
    (void)fwrite(text.data, 1, buf_len(&text), stdout);
    buf_finish(&text);
    if (stats->dump_errors > 0)
        return EX_IOERR;
    return !o->verify || sink_verify_is_good(verify) ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Stops the threads and adds up what they counted. */
static int finish_run(struct program *p, const struct tool_cpu *before)
{
    struct sink_stats sum = {0};
    struct tool_cpu cpu;
    bool failed = false;

    atomic_store(&p->run.stop, true);
    for (unsigned i = 0; i < p->count; i++) {
        struct thread *t = &p->threads[i];

        if (!t->running)
            continue;
        io_wake_from_thread(t->io);
        (void)pthread_join(t->id, NULL);
        failed |= t->failed;
        sink_stats_merge(&sum, &t->worker.stats);
        if (i > 0)
            sink_verify_merge(&p->threads[0].worker.verify, &t->worker.verify);
    }
    tool_process_cpu(&cpu);
    cpu.user -= before->user;
    cpu.system -= before->system;
    cpu.at -= before->at;
    if (failed) {
        tool_process_complain("a ring did not start");
        return EX_OSERR;
    }
    return report(p, &sum, &cpu);
}

static int serve(struct program *p)
{
    struct tool_cpu before;
    int code;

    tool_process_cpu(&before);
    for (unsigned i = 0; i < p->count; i++) {
        struct thread *t = &p->threads[i];

        t->running = pthread_create(&t->id, NULL, thread_main, t) == 0;
        if (!t->running) {
            tool_process_complain("cannot start a thread: %s", strerror(EAGAIN));
            exit(EX_OSERR);
        }
    }
    say_address(p, "listening on", "");
    (void)tool_process_wait(0); /* a signal, --messages, or a ring that failed: the end of it */
    code = finish_run(p, &before);
    if (p->record != NULL && (ferror(p->record) || fclose(p->record) != 0)) {
        (void)complain_file("record", p->run.options->record, errno);
        code = EX_IOERR;
    }
    p->record = NULL;
    return code;
}

static int run_program(struct program *p)
{
    int code = EX_OSERR;

    if (!open_files(p))
        return EX_CANTCREAT;
    if (create_threads(p, &code))
        code = listen_all(p) ? serve(p) : EX_UNAVAILABLE;
    for (unsigned i = 0; i < p->count && p->threads[i].io != NULL; i++) {
        if (p->threads[i].fd >= 0 && !p->threads[i].running) /* else it was the worker's */
            io_close_now(p->threads[i].io, p->threads[i].fd);
        sink_worker_finish(&p->threads[i].worker);
        io_destroy(p->threads[i].io);
    }
    mem_free(p->threads);
    return code;
}

int main(int argc, char **argv)
{
    static struct program program;
    struct sink_options options;
    struct buf error;
    const char *url;
    int code;

    sink_options_init(&options);
    if (!tool_process_begin(&sink_program, MAILRING_VERSION, argc, argv, &options, &url, &code))
        return code;
    buf_init(&error, 0);
    if (options.expect != NULL)
        options.verify = true;
    bool good = sink_options_check(&options, &error);
    sink_run_init(&program.run, &options);
    program.run.enough = tell_enough;
    program.count = (unsigned)options.threads;
    good = good && tool_url_parse(url, &program.address, &error);
    if (good && options.tls != SINK_TLS_NONE)
        good = (program.run.tls = sink_tls_context(&options, &error)) != NULL;
    if (good) {
        code = run_program(&program);
    } else {
        tool_process_complain("%.*s", SLICE_ARG(buf_slice(&error)));
        code = EX_USAGE;
    }
    tls_context_unref(program.run.tls);
    buf_finish(&error);
    return code;
}
