/*
 * conf_build: from libconfuse's tree to struct conf, by the tables; then what the tables cannot say.
 */
#ifndef CONF_BUILD_PRIV_H
#define CONF_BUILD_PRIV_H

#include "conf_parse_priv.h"

/* Fills load->box->conf with values and defaults. */
void conf_build(struct conf_load *load, cfg_t *cfg);

/* Contradictions between settings, each of which is fine alone. */
void conf_check(struct conf_load *load);
void conf_check_tls(struct conf_load *load); /* a part of the above */

#endif
