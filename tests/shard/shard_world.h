/*
 * shard_world: one to three whole shards on a simulated machine, and on the same machine an io for whoever
 * asks them something. Mail is put into a spool directly. Next hops refuse connections: what is to leave
 * stays queued, after having crossed to the shard of its site and back.
 */
#ifndef SHARD_WORLD_H
#define SHARD_WORLD_H

#include <check.h>

#include "io_sim.h"
#include "shard.h"

enum { WORLD_SHARDS = 3, WORLD_SITES = 8, WORLD_JOBS = 100 };

struct world_shard {
    struct shard_world *world;
    struct shard *shard;
    struct io *io;
    uint64_t deadline_ms;
    bool done; /* left its loop */
};

struct shard_world {
    struct sim *sim;
    struct sim_machine *machine;
    struct io *client;
    struct conf *conf;
    struct dns_sim_zone *zone;
    struct server_shared shared;
    struct shard_group group;
    struct work_pool *helpers; /* of all kinds; without threads */
    struct shard *table[WORLD_SHARDS];
    struct world_shard shards[WORLD_SHARDS];
    uint64_t recovered;
    /* The guest of the first shard; set between init and start. */
    void (*guest_stop)(struct shard_world *w);
    bool (*guest_idle)(struct shard_world *w);
    void *guest;
};

void shard_world_init(struct shard_world *w, uint64_t seed);
/* On the disk that there is. */
void shard_world_start(struct shard_world *w, unsigned shards);
/* One event; false: there will be none. */
bool shard_world_step(struct shard_world *w);
void shard_world_run_ms(struct shard_world *w, uint64_t ms);
/* Asks for a stop, and runs until all have stopped, which must take less than `most_ms`. */
void shard_world_stop(struct shard_world *w, uint64_t most_ms);
void shard_world_finish(struct shard_world *w);

/* Queues a message on each of the shards in turn, for the sites in turn, until there are `count` more. */
void shard_world_queue(struct shard_world *w, unsigned count);
uint64_t shard_world_queued(struct shard_world *w); /* by all shards */

#endif
