/*
 * base_log: one `key=value` line an event (or one JSON object), ids first. A record is built on the
 * stack and handed to the sink whole; base does no I/O, the sink belongs to main (which queues lines
 * per thread) or to a test.
 *
 *     struct log_record r;
 *     log_begin(&r, LOG_INFO, "delivered");
 *     log_id(&r, "message", id);
 *     log_slice(&r, "to", recipient);
 *     log_end(&r);
 *
 * Values that hold spaces, quotes, '=' or control characters are quoted and escaped, so one event is
 * always one line. Records that are longer than the buffer are cut at a field boundary and say so.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base_slice.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING, LOG_ERROR, LOG_CRITICAL };
enum log_format { LOG_TEXT, LOG_JSON };

enum { LOG_RECORD_SIZE = 2048 };

struct log_record {
    enum log_level level;
    size_t len;
    bool active; /* false: below the level, every call is a no-op */
    bool cut;
    uint8_t bytes[LOG_RECORD_SIZE];
};

typedef void log_sink(void *context, enum log_level level, struct slice line);

/* Process-wide, set once before threads start (tests may swap it). The sink is called on the thread
 * that logs, with a whole line that ends in LF. */
void log_setup(enum log_level level, enum log_format format, log_sink *sink, void *context);
bool log_enabled(enum log_level level);
/* Wall clock for the `time` field, Unix ms; without one the field is left out. */
void log_set_clock(uint64_t (*unix_ms)(void));

void log_begin(struct log_record *r, enum log_level level, const char *event);
void log_str(struct log_record *r, const char *key, const char *value);
void log_slice(struct log_record *r, const char *key, struct slice value);
void log_u64(struct log_record *r, const char *key, uint64_t value);
void log_i64(struct log_record *r, const char *key, int64_t value);
void log_id(struct log_record *r, const char *key, uint64_t id); /* as id_to_text */
void log_ip(struct log_record *r, const char *key, const void *ip_addr);
void log_errno(struct log_record *r, int error); /* error="No space left on device" */
void log_end(struct log_record *r);

#endif
