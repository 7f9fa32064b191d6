/* sts_world: an sts in a simulated world, over a zone and a policy host that the test writes. */
#ifndef STS_WORLD_H
#define STS_WORLD_H

#include <check.h>

#include "dns_sim.h"
#include "io_sim.h"
#include "sts.h"

enum { WORLD_QUERIES = 64 };

struct told {
    struct sts_query q;
    unsigned done;
    uint64_t done_ms;
};

struct sts_world {
    struct sim *sim;
    struct sim_machine *machine;
    struct io *io;
    struct wheel wheel;
    struct dns_sim_zone *zone;
    struct dns *dns;
    struct work_pool *pool;
    struct work_door *door;
    struct sts *sts;
    const char *state;
    unsigned shard, shards;
    uint32_t policies_max;
    /* What the policy host serves; NULL: the problem. */
    const char *policy;
    enum sts_problem problem;
    unsigned fetches;
    char host[DNS_NAME_MAX + 8]; /* of the last fetch */
    struct told told[WORLD_QUERIES];
    unsigned asked;
};

void sts_world_init(struct sts_world *w, uint64_t seed);
void sts_world_open(struct sts_world *w);
void sts_world_stop(struct sts_world *w); /* orderly */
void sts_world_crash(struct sts_world *w);
void sts_world_finish(struct sts_world *w);
void sts_world_run_ms(struct sts_world *w, uint64_t ms);
/* Runs until the answer is there. */
struct told *sts_world_ask(struct sts_world *w, const char *domain);
/* Only asks. */
struct told *sts_world_lookup(struct sts_world *w, const char *domain);
/* The domain has this TXT record ("v=STSv1; id=..."), and a policy host. NULL: neither. */
void sts_world_announce(struct sts_world *w, const char *domain, const char *id);

#endif
