/*
 * main_users: what users have sent outlives the process. A file in the state directory, read before the shards
 * run and written by the main thread, which may wait for a disk: every half minute in which somebody sent
 * something, and when the shards have ended. A crash loses that half minute.
 */
#ifndef MAIN_USERS_H
#define MAIN_USERS_H

#include "server.h"

struct main_users {
    struct server_shared *shared;
    const char *folder; /* conf->state, which exists */
    uint64_t next_ms;   /* monotonic: not before this */
    bool failed;        /* the last save did, which is logged once */
};

/* Without a file nothing was sent; a damaged one is logged and forgotten. */
void main_users_load(struct main_users *u, struct server_shared *shared, const char *folder);
/* Saves if it is time to. Answers after how many milliseconds to call it again. */
uint64_t main_users_step(struct main_users *u);
/* Saves what has changed. */
void main_users_save(struct main_users *u);

#endif
