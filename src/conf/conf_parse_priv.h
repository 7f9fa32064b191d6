/*
 * conf_parse: libconfuse reads the text, by option arrays made from the tables. What comes out is
 * libconfuse's tree, in which every value is a struct conf_value that knows its place.
 */
#ifndef CONF_PARSE_PRIV_H
#define CONF_PARSE_PRIV_H

#include <confuse.h>

#include "conf_load_priv.h"
#include "conf_table_priv.h"

struct conf_value {
    const cfg_opt_t *option; /* that it was read for */
    struct conf_place place;
    size_t len;
    char text[]; /* ends in NUL */
};

/* A setting in each section with a title; its one value is the title, with the section's place. The name is one
 * that no file can use, because libconfuse takes the bar for a path. */
#define CONF_SECTION_MARK "section|begins"

/* A section's title, as it was written. */
struct slice conf_title(const cfg_t *cfg);

/* Reads the file and what it includes. Never fails: problems are added to `load`, and the tree
 * holds what could be read. */
cfg_t *conf_parse(struct conf_load *load, const char *path);

#endif
