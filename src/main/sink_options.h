/* sink_options: what mailring-sink was asked to do. */
#ifndef SINK_OPTIONS_H
#define SINK_OPTIONS_H

#include "tool_options.h"

/* Where a session can be disturbed: before the greeting, and in place of a command's answer. */
enum sink_stage {
    SINK_CONNECT,
    SINK_EHLO,
    SINK_MAIL,
    SINK_RCPT,
    SINK_DATA,
    SINK_DOT,
    SINK_STAGE_COUNT,
};

struct sink_fault {
    unsigned fail; /* hundredths of a percent of all; tool_percent_parse() */
    uint16_t code; /* of the reply then */
    unsigned drop; /* likewise: the connection is closed without an answer */
    uint64_t delay_ms;
};

enum { SINK_THREADS_MAX = 64 };
enum sink_tls { SINK_TLS_NONE, SINK_TLS_STARTTLS, SINK_TLS_IMPLICIT };

struct sink_options {
    struct sink_fault faults[SINK_STAGE_COUNT];
    uint64_t threads;
    uint64_t messages; /* ends by itself after so many; 0: never */
    uint64_t rate;     /* accepted messages a second; 0: no limit */
    uint64_t size_max; /* 0: no limit */
    uint64_t seed;     /* of what chance decides */
    const char *hostname;
    const char *record;
    const char *dump;
    const char *expect;
    const char *tls_certificate, *tls_key; /* PEM files; NULL: no TLS */
    enum sink_tls tls;
    bool verify;
    bool pipelining; /* is offered */
    bool json;
};

extern const struct tool_program sink_program;

void sink_options_init(struct sink_options *o);
/* What the options contradict; false: *out_error says why. Fills in what follows from others. */
bool sink_options_check(struct sink_options *o, struct buf *out_error);
const char *sink_stage_name(enum sink_stage stage);

#endif
