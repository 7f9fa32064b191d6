/*
 * conf_lines: a list beside the configuration, read line by line: "# comment", alone or behind an entry;
 * blanks around it do not count. The file's bytes are the caller's, who may move entries together where they
 * stand: what has been read is not looked at again.
 */
#ifndef CONF_LINES_PRIV_H
#define CONF_LINES_PRIV_H

#include "conf_load_priv.h"

struct conf_lines {
    struct conf_load *load;
    char *bytes; /* a copy of the file; the caller's to free */
    struct slice rest;
    struct conf_place place; /* of the line that was read last */
    unsigned bad;            /* lines; too many end it */
};

/* Offsets of 32 bits suffice. */
#define CONF_LINES_SIZE_MAX ((size_t)2 << 30)

/* False after a problem at `here`, in the setting of this name. */
bool conf_lines_open(struct conf_lines *lines, struct conf_load *load, struct conf_place here,
                     const char *setting, const char *path);
/* The next entry, which lies in `bytes` and is not empty. */
bool conf_lines_next(struct conf_lines *lines, struct slice *out_entry);
/* Something is wrong with the line. */
void conf_lines_fail(struct conf_lines *lines, struct slice entry, const char *what);

enum { CONF_LOCAL_PART_MAX = 256 }; /* RFC 5321 4.5.3.1.1 says 64; old systems have longer ones */

/* A local part, or one with '@' and a domain behind it: out_local gets the local part. */
bool conf_is_recipient(struct slice text, struct slice *out_local);
static inline uint8_t conf_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

#endif
