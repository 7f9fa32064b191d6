/* tool_process: see the header. */
#include "tool_process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

static const char *program_name = "mailring";

void tool_process_complain(const char *format, ...)
{
    va_list args;

    (void)fprintf(stderr, "%s: ", program_name);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
}

static sigset_t waited_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1); /* tool_process_tell_main() */
    return set;
}

static void raise_limits(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files); /* the soft limit will do then */
    }
}

static void print_help(const struct tool_program *program)
{
    struct buf text;

    buf_init(&text, 0);
    tool_options_help(program, &text);
    (void)fwrite(text.data, 1, buf_len(&text), stdout);
    buf_finish(&text);
}

bool tool_process_begin(const struct tool_program *program, const char *version, int argc,
                        char **argv, void *options, const char **out_url, int *out_exit)
{
    sigset_t signals = waited_signals();
    struct buf error;
    enum tool_options_result result;

    program_name = program->name;
    buf_init(&error, 0);
    result = tool_options_parse(program, argc, argv, options, out_url, &error);
    *out_exit = EXIT_SUCCESS;
    switch (result) {
    case TOOL_OPTIONS_OK:
        (void)signal(SIGPIPE, SIG_IGN);
        (void)sigprocmask(SIG_BLOCK, &signals, NULL); /* fails only for wrong arguments */
        raise_limits();
        break;
    case TOOL_OPTIONS_HELP: print_help(program); break;
    case TOOL_OPTIONS_VERSION: (void)printf("%s %s\n", program->name, version); break;
    case TOOL_OPTIONS_BAD:
        tool_process_complain("%.*s", SLICE_ARG(buf_slice(&error)));
        (void)fprintf(stderr, "see %s --help\n", program->name);
        *out_exit = EX_USAGE;
        break;
    }
    buf_finish(&error);
    return result == TOOL_OPTIONS_OK;
}

enum tool_process_event tool_process_wait(unsigned timeout_ms)
{
    struct timespec timeout = {.tv_sec = timeout_ms / 1000,
                               .tv_nsec = (long)(timeout_ms % 1000) * 1000000};
    sigset_t signals = waited_signals();

    for (;;) {
        int number = sigtimedwait(&signals, NULL, timeout_ms > 0 ? &timeout : NULL);

        if (number == SIGUSR1)
            return TOOL_PROCESS_TOLD;
        if (number > 0)
            return TOOL_PROCESS_SIGNAL;
        if (errno == EAGAIN)
            return TOOL_PROCESS_TIMEOUT;
    }
}

void tool_process_tell_main(void)
{
    (void)kill(getpid(), SIGUSR1); /* to oneself: always allowed */
}

void tool_process_cpu(struct tool_cpu *out)
{
    struct rusage usage;
    struct timespec now;

    (void)getrusage(RUSAGE_SELF, &usage); /* neither fails with right arguments */
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    out->user = (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6;
    out->system = (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
    out->at = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

uint32_t tool_process_random(void)
{
    uint32_t number = 0;

    (void)!getrandom(&number, sizeof(number), 0); /* so few bytes are always there */
    return number;
}
