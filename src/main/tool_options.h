/*
 * tool_options: the command line of mailring-load and mailring-sink. One table says what options there
 * are; --help is made from it. Options may stand anywhere, as --name VALUE or --name=VALUE; exactly one
 * other word is taken, the URL.
 */
#ifndef TOOL_OPTIONS_H
#define TOOL_OPTIONS_H

#include "base_buf.h"

enum tool_option_kind {
    TOOL_FLAG,     /* bool; no value */
    TOOL_YES_NO,   /* bool; "yes" or "no" */
    TOOL_COUNT,    /* uint64_t, min..max */
    TOOL_DURATION, /* uint64_t in ms: "250ms", "5s", "1m"; a bare number is seconds */
    TOOL_TEXT,     /* const char *, which stands in argv */
    TOOL_CALL,     /* `parse` takes the value apart */
};

/* A bad value: appends what is wrong with it and answers false. */
typedef bool tool_option_parse(void *options, struct slice value, struct buf *out_error);

struct tool_option {
    const char *name;
    const char *argument; /* its name in --help; NULL: none */
    const char *help;
    enum tool_option_kind kind;
    size_t offset; /* in the struct of options */
    uint64_t min, max;
    tool_option_parse *parse;
};

struct tool_program {
    const char *name;
    const char *what; /* one line */
    const char *url;  /* its form in --help */
    const struct tool_option *options;
    size_t option_count;
};

enum tool_options_result {
    TOOL_OPTIONS_OK,
    TOOL_OPTIONS_HELP, /* --help or -h */
    TOOL_OPTIONS_VERSION,
    TOOL_OPTIONS_BAD, /* *out_error says why */
};

enum tool_options_result tool_options_parse(const struct tool_program *program, int argc,
                                            char **argv, void *options, const char **out_url,
                                            struct buf *out_error);
void tool_options_help(const struct tool_program *program, struct buf *out);

/* "12", "0.5", at most 100 -> hundredths of a percent (1,250; 50). */
bool tool_percent_parse(struct slice text, unsigned *out);
/* Takes what stands before the first `byte` off *text, and the byte; false if there is none. */
bool tool_split(struct slice *text, uint8_t byte, struct slice *out_head);

#endif
