/* auth_world: a shard's auth on a simulated machine, with files in a folder of its own. */
#ifndef AUTH_WORLD_H
#define AUTH_WORLD_H

#include <check.h>

#include "auth_priv.h"
#include "io_sim.h"

struct auth_world {
    struct conf *conf;
    struct auth_setup *setup;
    struct auth_shared *shared;
    struct sim *sim;
    struct sim_machine *machine;
    struct io *io;
    struct wheel wheel;
    struct work_pool *pool;
    struct work_door *door;
    struct auth *auth;
    struct auth_peer peer;
    unsigned ready; /* how often it was called */
};

extern struct auth_world world;

/* Checked fixtures: the folder, and after a test everything. */
void auth_folder_setup(void);
void auth_world_teardown(void);
/* Path of a file in the folder; good for a while. */
const char *auth_path(const char *name);
/* In the text, $/ is the folder. */
void auth_put_file(const char *name, const char *text, unsigned mode);
/* Loads a configuration with these lines in auth { }. What was wrong with its files, without the folder;
 * empty: nothing. */
const char *auth_world_load(const char *lines);
/* Makes the shard's part too. */
void auth_world_open(const char *lines);
/* Passes until nothing is to be done now. */
void auth_world_settle(void);
/* Time goes by, with passes. */
void auth_world_run_ms(uint64_t ms);

/* `initial` without data: no initial response. */
struct auth_exchange *auth_world_begin(const char *mechanism, struct slice initial);
void auth_world_respond(struct auth_exchange *x, struct slice response);
/* Runs until something is known. */
enum auth_outcome auth_world_wait(struct auth_exchange *x);
/* PLAIN, to the end; how long the answer took in *out_ms if that is not NULL. */
enum auth_outcome auth_world_plain(const char *user, const char *password, uint64_t *out_ms);
void auth_world_from(const char *ip);

#endif
