/*
 * conf_manual: the parts of the manual that are not about one setting.
 */
#ifndef CONF_MANUAL_PRIV_H
#define CONF_MANUAL_PRIV_H

#include <stdbool.h>
#include <stddef.h>

struct conf_manual_item {
    const char *term; /* of a list; NULL: a paragraph or an example */
    const char *text;
    bool is_example;
};
struct conf_manual_part {
    const char *heading[2]; /* Markdown, roff */
    struct conf_manual_item items[8];
};
/* Around the settings. */
extern const struct conf_manual_part conf_manual_before[];
extern const size_t conf_manual_before_count;
extern const struct conf_manual_part conf_manual_after[];
extern const size_t conf_manual_after_count;

#endif
