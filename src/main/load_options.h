/* load_options: what mailring-load was asked to do. */
#ifndef LOAD_OPTIONS_H
#define LOAD_OPTIONS_H

#include "tool_options.h"

enum {
    LOAD_SIZES_MAX = 64,
    LOAD_FILES_MAX = 16,
    LOAD_SESSIONS_MAX = 100000,
    LOAD_THREADS_MAX = 64,
};

enum load_tls { LOAD_TLS_NONE, LOAD_TLS_STARTTLS, LOAD_TLS_IMPLICIT };

struct load_options {
    uint64_t sessions;    /* in parallel, over all threads */
    uint64_t messages;    /* in all; 0: as many as fit into time_ms */
    uint64_t time_ms;     /* 0: until all messages are sent */
    uint64_t per_session; /* messages a connection; 0: no limit */
    uint64_t rate;        /* messages a second; 0: as fast as the server answers */
    uint64_t threads;
    uint64_t recipients; /* a message */
    uint64_t addresses;  /* the counter in addresses begins again after so many; 0: never */
    uint64_t timeout_ms; /* for any reply */
    uint64_t sizes[LOAD_SIZES_MAX]; /* octets of body, taken in turn */
    size_t size_count;
    const char *files[LOAD_FILES_MAX]; /* sent in place of made-up bodies, in turn */
    size_t file_count;
    const char *from; /* patterns */
    const char *to;
    const char *helo;
    const char *record; /* a file: a line for each message and what became of it */
    enum load_tls tls;
    const char *tls_name;    /* for SNI; empty: none */
    const char *tls_ciphers; /* NULL: the usual */
    bool tls_resume;
    bool pipeline;
    bool eight_bit;
    bool dots;
    bool json;
    bool progress;
};

extern const struct tool_program load_program;

void load_options_init(struct load_options *o); /* the defaults */
/* What the options contradict; false: *out_error says why. Fills in what follows from others. */
bool load_options_check(struct load_options *o, struct buf *out_error);

#endif
