/*
 * load_stats: what mailring-load counts. A worker has its own; they are added up at the end.
 */
#ifndef LOAD_STATS_H
#define LOAD_STATS_H

#include "base_slice.h"
#include "tool_histogram.h"

/* What a session waits for. */
enum load_stage {
    LOAD_STAGE_CONNECT,
    LOAD_STAGE_GREETING,
    LOAD_STAGE_EHLO,
    LOAD_STAGE_STARTTLS, /* its reply */
    LOAD_STAGE_TLS,      /* the handshake */
    LOAD_STAGE_MAIL,
    LOAD_STAGE_RCPT,
    LOAD_STAGE_DATA,
    LOAD_STAGE_DOT,
    LOAD_STAGE_RSET,
    LOAD_STAGE_QUIT,
    LOAD_STAGE_NONE, /* connected, with nothing to send */
};

enum load_error_kind {
    LOAD_ERROR_REPLY,      /* not the one that was hoped for; number: its code */
    LOAD_ERROR_SYSTEM,     /* number: errno */
    LOAD_ERROR_CLOSED,     /* the server closed the connection */
    LOAD_ERROR_TIMEOUT,    /* no reply came */
    LOAD_ERROR_PROTOCOL,   /* what came was no reply, or none was due */
    LOAD_ERROR_UNFINISHED, /* the run ended first */
    LOAD_ERROR_TLS,        /* a handshake or a record failed */
};

/* Errors of one kind. */
struct load_error {
    enum load_error_kind kind;
    enum load_stage stage;
    int number;
    uint64_t count;
    char text[120]; /* of the first such reply */
};

enum { LOAD_ERRORS_MAX = 24, LOAD_CODES = 600 };

struct load_stats {
    uint64_t accepted; /* messages, by the final reply */
    uint64_t refused;
    uint64_t unknown; /* the connection was lost between the final dot and its reply */
    uint64_t unsent;  /* given up before the final dot */
    uint64_t recipients;
    uint64_t recipients_refused;
    uint64_t connections;         /* that got a greeting */
    uint64_t handshakes, resumed; /* of TLS; the second are part of the first */
    uint64_t bytes;               /* of accepted messages, as sent */
    uint64_t late;                /* with --rate: began more than 10 ms after their time */
    uint64_t error_count;
    uint64_t replies[LOAD_CODES];
    struct load_error errors[LOAD_ERRORS_MAX];
    size_t error_kinds;
    uint64_t errors_other;         /* of kinds for which there was no room */
    struct tool_histogram connect; /* from connecting to the greeting */
    struct tool_histogram handshake;
    struct tool_histogram dot;     /* from the final dot to its reply */
    struct tool_histogram message; /* from the message's beginning to that reply */
};

/* `text` is the reply's, or empty. */
void load_stats_error(struct load_stats *s, enum load_error_kind kind, enum load_stage stage,
                      int number, struct slice text);
void load_stats_merge(struct load_stats *to, const struct load_stats *from);
/* "rcpt", "dot", ... */
const char *load_stage_name(enum load_stage stage);
const char *load_error_name(enum load_error_kind kind);

#endif
