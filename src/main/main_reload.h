/*
 * main_reload: SIGHUP. Reads the configuration again with all the files that it names, on the main thread,
 * and hands it to the shards: all of it, or nothing if anything is wrong, which is logged line by line.
 * Ticket keys are rotated here too; they and the guesses that auth has counted outlive a reload.
 */
#ifndef MAIN_RELOAD_H
#define MAIN_RELOAD_H

#include "main_priv.h"
#include "main_settings.h"

struct main_reload {
    const struct main_options *options;
    struct shard_group *group;
    struct tls_tickets *tickets;
    struct main_settings start;     /* stays to the end: the settings that are for the start only */
    struct main_settings now;       /* of the last reload; nothing in it: `start` holds */
    struct main_settings old;       /* what it replaced; freed when all shards have taken `now` */
    bool wanted;                    /* another reload */
    bool under_way;                 /* some shards have yet to take `now` */
    uint64_t rotated_s, lifetime_s; /* ticket keys */
};

/* Reads all that the start needs, before privileges are dropped. `conf` becomes r's. False after
 * complaints. */
bool main_reload_start(struct main_reload *r, const struct main_options *o, struct conf *conf,
                       const struct main_user *user);
/* As the server's user: complains about files that a reload will not be able to read. */
void main_reload_warn(const struct main_reload *r);
/* SIGHUP: as soon as the one before is over. */
void main_reload_ask(struct main_reload *r);
/* Does what is to be done: a reload, its end, new ticket keys. Answers after how long to call it again. */
uint64_t main_reload_step(struct main_reload *r);
void main_reload_finish(struct main_reload *r); /* the shards are gone */

#endif
