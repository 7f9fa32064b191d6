/* conf_secret: passwords that stand in files of their own. */
#ifndef CONF_SECRET_PRIV_H
#define CONF_SECRET_PRIV_H

#include "conf_load_priv.h"

/* Reads the password files of routes, and looks at their token files. Others may not read those. */
void conf_secret_load(struct conf_load *load);
/* Overwrites what was read. */
void conf_secret_wipe(const struct conf *conf);

#endif
