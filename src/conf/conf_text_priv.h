/*
 * conf_text: a configuration file as text, made fit for libconfuse.
 *
 * libconfuse 3.3 counts a line with a comment three times, ends the process when a read fails (a
 * directory is enough), and stops at the first setting that it does not know. So files are read
 * here, comments become spaces before libconfuse sees them, and an unknown setting is blanked out
 * once it has been reported, to look at the rest.
 */
#ifndef CONF_TEXT_PRIV_H
#define CONF_TEXT_PRIV_H

#include <stdio.h>

#include "base_slice.h"

struct conf_text {
    struct conf_text *next;
    unsigned number; /* in the order of reading, from 0 */
    char *path;
    uint64_t device; /* with `inode`: which file this is, whatever the path */
    uint64_t inode;
    char *bytes; /* ends in NUL */
    size_t len;
    bool active; /* being parsed: to include it now would never end */
    bool bad;    /* not fit for libconfuse */
};

/* Reads the file at `path`. On failure: NULL, and `why` says why ("No such file or directory"). */
struct conf_text *conf_text_read(const char *path, char *why, size_t why_size);
void conf_text_destroy(struct conf_text *text); /* NULL is fine */

/* Blanks out comments. False if the text is not fit to be parsed: `line` and `why` say where and
 * what. */
bool conf_text_prepare(struct conf_text *text, unsigned *line, const char **why);

/* Blanks out the setting or section with this name that begins on this line. False if there is
 * none. */
bool conf_text_blank(struct conf_text *text, unsigned line, struct slice name);

/* The bytes of a whole file, with a NUL behind them; for lists beside the configuration too. */
char *conf_read_all(FILE *file, size_t size_max, size_t *len, char *why, size_t why_size);

#endif
