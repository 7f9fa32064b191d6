/*
 * conf_suggest: what somebody who wrote an unknown setting may have meant.
 */
#ifndef CONF_SUGGEST_PRIV_H
#define CONF_SUGGEST_PRIV_H

#include <confuse.h>

#include "base_buf.h"

/* Appends the message for a name that is unknown in this section. */
void conf_suggest(const cfg_t *section, struct slice name, struct buf *message);

#endif
