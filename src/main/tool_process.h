/*
 * tool_process: what both tools are as processes: options, signals, limits, times.
 */
#ifndef TOOL_PROCESS_H
#define TOOL_PROCESS_H

#include "tool_options.h"

/* Takes the command line, answers --help and --version, raises the limit of descriptors, and blocks the
 * signals for which tool_process_wait() waits: before any thread is made. False: *out_exit is the exit
 * code. */
bool tool_process_begin(const struct tool_program *program, const char *version, int argc,
                        char **argv, void *options, const char **out_url, int *out_exit);

/* One line on standard error, with the program's name in front. */
void tool_process_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

enum tool_process_event {
    TOOL_PROCESS_TOLD,   /* tool_process_tell_main() was called */
    TOOL_PROCESS_SIGNAL, /* SIGTERM or SIGINT */
    TOOL_PROCESS_TIMEOUT,
};
/* On the main thread; 0: without a timeout. */
enum tool_process_event tool_process_wait(unsigned timeout_ms);
void tool_process_tell_main(void); /* from any thread */

struct tool_cpu {
    double user, system; /* seconds of the whole process */
    double at;           /* monotonic clock, seconds */
};
void tool_process_cpu(struct tool_cpu *out);
uint32_t tool_process_random(void);

#endif
