/*
 * main_settings: a configuration with all that is made of the files it names: what the start takes up and
 * a reload exchanges, as a whole or not at all.
 */
#ifndef MAIN_SETTINGS_H
#define MAIN_SETTINGS_H

#include "main_tls.h"
#include "shard.h"

struct main_settings {
    struct conf *conf;
    struct main_tls tls;
    struct auth_setup *auth;
    struct shard_settings shard; /* the same, for shards */
};

/* For what `conf` names, of which *out becomes the owner also if it fails. False if anything but warnings
 * was appended to `errors`; finish it then too. See main_tls_load(). */
bool main_settings_load(struct conf *conf, const struct main_user *user,
                        struct tls_tickets *tickets, struct main_settings *out,
                        struct conf_errors *errors);
void main_settings_finish(struct main_settings *s); /* also fine on zeroed memory */

#endif
