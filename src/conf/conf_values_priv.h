/*
 * conf_values: the destinations that tables name. Many recipients share few of them: each distinct one is
 * parsed once, and recipients find the same.
 */
#ifndef CONF_VALUES_PRIV_H
#define CONF_VALUES_PRIV_H

#include "conf_load_priv.h"
#include "table.h"

struct conf_values {
    struct table_builder *builder; /* while it is filled */
    const struct table *index;     /* the text of a destination -> its number, four octets */
    const struct conf_destinations **items;
    size_t count, capacity;
};

void conf_values_destroy(struct conf_values *values); /* NULL is fine */

#endif
