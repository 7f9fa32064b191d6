/*
 * conf_recipients: the recipients that exist, from a file with one a line. A set that is built once
 * and then only read: the file's text, lower case and without comments, and a hash table of 32-bit
 * offsets into it. A million addresses of 20 characters take 30 MB and well under a second.
 */
#ifndef CONF_RECIPIENTS_PRIV_H
#define CONF_RECIPIENTS_PRIV_H

#include "conf_load_priv.h"

struct conf_recipients {
    struct conf_recipients *next;
    char *path;
    char *text;      /* entries, each with a NUL behind it */
    uint32_t *slots; /* offset of an entry, plus 1; 0: empty */
    size_t mask;
    size_t count;
};

/* Reads the files of all domains, each file once. */
void conf_recipients_load(struct conf_load *load);
void conf_recipients_destroy(struct conf_recipients *list); /* all of it; NULL is fine */

/* Whether the file lists "local_part", or "local_part@domain". `domain` is lower case. */
bool conf_recipients_has(const struct conf_recipients *set, struct slice local_part,
                         struct slice domain);

#endif
