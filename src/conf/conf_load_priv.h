/*
 * conf_load: what the parts of one conf_load() share: the result in the making, the texts that were
 * read, where in them each setting stands, and what was found wrong.
 */
#ifndef CONF_LOAD_PRIV_H
#define CONF_LOAD_PRIV_H

#include "base_arena.h"
#include "conf.h"
#include "conf_text_priv.h"

/* The public result with what conf_free() needs. */
struct conf_box {
    struct conf conf;
    uint64_t digest;                /* of all that was read */
    struct arena arena;             /* everything but: */
    struct conf_kept_table *tables; /* one for each file and kind, whoever shares it */
    size_t table_count;
    struct conf_values *values;     /* distinct destinations of the tables, or NULL */
    struct conf_kept_place *places; /* sorted by field */
    size_t place_count;
};

struct conf_kept_table {
    const struct table *table;
    const char *setting;
    const void *field; /* that named it first */
};

/* What stays of a mark: the text's path is in the arena. */
struct conf_kept_place {
    const void *field;
    const char *file;
    unsigned line;
};

/* A place in a file. text NULL: no place, as for a default. */
struct conf_place {
    const struct conf_text *text;
    unsigned line;
};

/* Remembers where the value of a field was read. */
struct conf_mark {
    const void *field; /* in the result: a row's field, a list's item, or a section's struct */
    struct conf_place place;
};

struct conf_problem {
    char *message;
    struct conf_place place;
    size_t number; /* in the order of finding */
    bool warning;
};

struct conf_load {
    struct conf_box *box;
    const struct conf_box *before; /* that of a running server, or NULL */
    struct conf_text *texts;       /* in the order of reading; the first is the file itself */
    struct conf_mark *marks;
    size_t mark_count;
    size_t mark_capacity;
    struct conf_problem *problems;
    size_t problem_count;
    size_t error_count;
    bool settings_only; /* leave files that settings name alone */
    bool incomplete; /* parts of the files could not be read: leave "missing" and "unused" alone */
};

enum { CONF_PROBLEMS_MAX = 100 }; /* more are not worth reading */

void conf_fail(struct conf_load *load, struct conf_place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void conf_warn(struct conf_load *load, struct conf_place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Moves the problems, sorted by place, to the caller's list. */
void conf_report(struct conf_load *load, struct conf_errors *errors);

/* A text that was read: the load's from here on. */
void conf_texts_add(struct conf_load *load, struct conf_text *text);

void conf_mark(struct conf_load *load, const void *field, struct conf_place place);
/* Once all marks are made, and before the first question. */
void conf_marks_sort(struct conf_load *load);
/* Keeps the marks with the result, for conf_errors_add(). */
void conf_marks_keep(struct conf_load *load);
/* Where the field was read; the text is NULL if it was not. */
struct conf_place conf_place_of(const struct conf_load *load, const void *field);
/* "FILE:LINE" or, in the same file as `from`, "line LINE". */
void conf_place_name(struct conf_place place, struct conf_place from, char *out, size_t size);

#endif
