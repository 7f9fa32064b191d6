/* verify_world: a verify over a simulated DNS, and next hops that are a list of addresses. */
#ifndef VERIFY_WORLD_H
#define VERIFY_WORLD_H

#include <check.h>

#include "dns_sim.h"
#include "io_sim.h"
#include "verify.h"

enum { WORLD_TOLD = 4096, WORLD_ASKS = 4096 };

struct told {
    struct verify_query q;
    unsigned done;
    uint64_t done_ms;
};

struct verify_world {
    struct sim *sim;
    struct io *io;
    struct wheel wheel;
    struct dns_sim_zone *zone;
    struct dns *dns;
    struct conf *conf;
    struct verify *v;
    uint32_t entries_max;
    /* Next hops: they know "known..."; or */
    bool takes_any, refuses_for_now, down;
    bool at_once;
    bool mute; /* asks are kept, and answered by verify_world_answer() */
    const char *words;
    uint64_t latency_ms;
    struct verify_ask *asks[WORLD_ASKS];
    struct wheel_timer timers[WORLD_ASKS];
    unsigned asked, probes, open, open_max;
    char last[300]; /* asked for */
    struct told told[WORLD_TOLD];
    unsigned told_count;
    struct ip_addr client;
};

void verify_world_open(struct verify_world *w);
void verify_world_close(struct verify_world *w);
void verify_world_run_ms(struct verify_world *w, uint64_t ms);
/* Asks; the answer may be there already. */
struct told *verify_world_recipient(struct verify_world *w, const char *address);
struct told *verify_world_sender(struct verify_world *w, const char *address);
/* Runs until the answer is there. */
struct told *verify_world_wait(struct verify_world *w, struct told *t);
/* Ask number n is answered now. */
void verify_world_answer(struct verify_world *w, unsigned n);
struct verify_counters verify_world_counters(const struct verify_world *w);

#endif
