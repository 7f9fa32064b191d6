/* conf_notices: the files with the words of notices, read with the configuration. */
#ifndef CONF_NOTICES_PRIV_H
#define CONF_NOTICES_PRIV_H

#include "conf_load_priv.h"

/* Once the marks are sorted. */
void conf_notices_load(struct conf_load *load);

#endif
