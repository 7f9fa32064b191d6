/*
 * io_sim_options: the weather of a world. A seed switches whole groups of faults off, because a world
 * in which everything fails all the time never gets far enough to meet the rare combinations.
 */
#include "base_rand.h"
#include "io_sim.h"

#define UNIX_MS_START UINT64_C(1795300000000) /* November 2026 */

struct sim_options sim_options_default(void)
{
    return (struct sim_options){
        .unix_ms = UNIX_MS_START,
        .latency_max_us = 400,
        .recv_buffers = 64,
        .recv_buffer_len = 4096,
        .link_buffer_len = 65536,
    };
}

/* A chance that is mostly low and sometimes high. */
static unsigned some(struct rand *r, unsigned most)
{
    unsigned scale = 1u << rand_below(r, 5);

    return (unsigned)rand_between(r, 1, most / scale > 1 ? most / scale : 1);
}

static void choose_links(struct rand *r, struct sim_options *o)
{
    if (rand_chance(r, 2, 3))
        o->recv_split = some(r, 10000);
    if (rand_chance(r, 1, 3))
        o->conn_reset = some(r, 200);
    if (rand_chance(r, 1, 4))
        o->connect_refused = some(r, 2000);
    if (rand_chance(r, 1, 4))
        o->connect_stall = some(r, 1000);
}

static void choose_disk(struct rand *r, struct sim_options *o)
{
    if (rand_chance(r, 1, 4))
        o->write_error = some(r, 300);
    if (rand_chance(r, 1, 3))
        o->write_short = some(r, 2000);
    if (rand_chance(r, 1, 3))
        o->read_short = some(r, 2000);
    if (rand_chance(r, 1, 6))
        o->read_error = some(r, 300);
    if (rand_chance(r, 1, 5))
        o->no_space = some(r, 1000);
    if (rand_chance(r, 1, 4))
        o->crash_reorder = some(r, 10000);
}

static void choose_limits(struct rand *r, struct sim_options *o)
{
    static const unsigned buffers[] = {1, 2, 3, 8, 64, 256};
    static const unsigned lens[] = {1, 16, 64, 512, 4096, 8192};
    static const size_t links[] = {1, 7, 128, 4096, 65536, 1 << 20};

    /* Each is silly in one world of four only: two at once mostly show that slow is slow. */
    if (rand_chance(r, 1, 2))
        o->recv_buffers = buffers[rand_below(r, sizeof(buffers) / sizeof(buffers[0]))];
    if (rand_chance(r, 1, 3))
        o->recv_buffer_len = lens[rand_below(r, sizeof(lens) / sizeof(lens[0]))];
    if (rand_chance(r, 1, 3))
        o->link_buffer_len = links[rand_below(r, sizeof(links) / sizeof(links[0]))];
}

struct sim_options sim_options_from_seed(uint64_t seed)
{
    struct sim_options o = sim_options_default();
    struct rand r;

    rand_seed(&r, seed ^ UINT64_C(0x5bd1e995aa77c3d1)); /* apart from the world of the same seed */
    o.latency_max_us = rand_chance(&r, 1, 4) ? rand_below(&r, 8) : some(&r, 20000);
    if (rand_chance(&r, 1, 3))
        o.latency_spike = some(&r, 500);
    if (rand_chance(&r, 1, 6))
        o.clock_jump = some(&r, 20);
    if (rand_chance(&r, 2, 3))
        choose_links(&r, &o);
    if (rand_chance(&r, 1, 2))
        choose_disk(&r, &o);
    if (rand_chance(&r, 1, 2))
        choose_limits(&r, &o);
    o.lent_strict = true;
    return o;
}
