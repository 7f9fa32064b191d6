/*
 * main_log: where log lines go. A shard must not wait for a terminal or a pipe, so each thread fills a
 * buffer of its own, hands it over at the end of a pass, and one thread writes to standard error. If the
 * reader is too slow, lines are dropped and counted; mail is not held up.
 */
#ifndef MAIN_LOG_H
#define MAIN_LOG_H

#include "base_log.h"

/* Lines are written at once until main_log_start_thread(). */
void main_log_setup(enum log_level level, enum log_format format);
void main_log_start_thread(void);
/* Everything handed over is written; then lines are written at once again. No other thread logs. */
void main_log_stop_thread(void);
/* The calling thread, one of at most MAIN_LOG_THREADS, buffers from now on. */
enum { MAIN_LOG_THREADS = 1024 };
void main_log_buffer_this_thread(void);
/* End of a pass: hands over what this thread has logged. */
void main_log_flush(void);

#endif
