/*
 * remote_world: one shard's remote half of delivery on the simulator, among SMTP peers. Tasks are made
 * here, as if another shard were their origin, and come back as results.
 */
#ifndef REMOTE_WORLD_H
#define REMOTE_WORLD_H

#include "delivery_priv.h"
#include "delivery_site_priv.h"
#include "dns_sim.h"
#include "remote_peer.h"

enum { WORLD_PEERS = 8, WORLD_RESULTS = 2600, WORLD_RCPTS = 5, WORLD_ROUTES = 2, WORLD_JOBS = 100 };

struct world_result {
    struct conf_destination to[4];
    bool done;
    bool parked; /* DEFERRED: the site is down; POSTPONED: it is full */
    bool untried;
    uint32_t parks; /* times that it was, before */
    uint32_t count;
    uint8_t status[WORLD_RCPTS];
    bool final[WORLD_RCPTS], relayed[WORLD_RCPTS];
    uint8_t scope[WORLD_RCPTS];
    uint16_t code[WORLD_RCPTS];
    uint16_t enhanced[WORLD_RCPTS][3];
    char text[DELIVERY_TEXT_MAX + 1]; /* of the first recipient */
    char remote[256];
    struct delivery_tls_facts tls;
    uint64_t postpone_ms;
    uint64_t at_ms;
};

struct world {
    struct sim *sim;
    struct sim_machine *machine;
    struct io *io;
    struct wheel wheel;
    struct spool *spool;
    struct dns_sim_zone *zone;
    struct dns *dns;
    struct work_pool *helpers;
    struct work_door *door;
    struct delivery *d;
    struct conf conf;
    const struct conf *origin_conf; /* of tasks that are made from now on; at first, `conf` */
    struct conf_route routes[WORLD_ROUTES];
    uint64_t interval_ms;
    struct peer peers[WORLD_PEERS];
    unsigned peer_count;
    unsigned peers_here;           /* on our own machine */
    struct spool_message *message; /* what tasks carry unless told otherwise */
    struct slice body;
    struct world_result *results;
    uint32_t sent, done;
    /* What is parked waits here, as in an origin's lots, until it is called; what is parked since its site is
     * down only with park_down: else that is its result. */
    struct list lot, calls;
    struct list again; /* tasks whose rest follows, in the next pass */
    bool park_down;
    uint32_t lot_count, parks, called, called_most;
    uint32_t swallow; /* so many of the called never come */
    bool asked, old;  /* of tasks sent from now on */
    int8_t priority;
    /* What is said with messages sent from now on. */
    const char *sender; /* NULL: sender@ours.example */
    struct slice envid, orcpt;
    uint8_t ret, notify;
    uint16_t flags; /* of messages sent from now on, besides what is true of their body */

    struct tls_context *client;
    struct sts *sts;
    const char *policy; /* what mta-sts.DOMAIN answers; NULL: the fetch fails */
    unsigned accounts;  /* sessions told about, and the last of them */
    unsigned account_failures;
    struct report_session account;
    char account_domain[256], account_policy[512], account_host[256], account_reason[512];
};

void world_open(struct world *w, uint64_t seed, const struct sim_options *options);
/* Stops delivery, waits for it, and checks that nothing is left. */
/* TLS towards next hops; `ca` is what is trusted (NULL: nobody). Takes no effect on what is under way. */
void world_use_tls(struct world *w, const char *ca);
/* Policies are looked for from now on. */
void world_use_sts(struct world *w);
void world_close(struct world *w);
void world_power_cut(struct world *w); /* instead */

/* 127.0.0.1 and "unix:/path": here. */
struct peer *world_peer(struct world *w, const char *ip, uint16_t port);
struct peer *world_dead_peer(struct world *w, const char *ip, uint16_t port); /* answers nothing */
/* A host with nothing on it: connections are refused. */
void world_no_peer(struct world *w, const char *ip);

/* The body of what is sent from now on. A large one lies in the log only. */
void world_set_body(struct world *w, struct slice body);

/* On our machine. */
void world_write_file(struct world *w, const char *path, const char *text, uint32_t mode);

/* To the destinations given (NULL-terminated: "mx", "10.0.1.1:25" or "host:25", "lmtp://10.0.1.1:24",
 * "lmtp+unix:/path"), to the recipients
 * (NULL-terminated, domain the same). Answers the index of the result. */
uint32_t world_send_to(struct world *w, const char *const *to, const char *const *recipients);
uint32_t world_send(struct world *w, const char *to); /* one recipient: user@example.org */

void world_run_ms(struct world *w, uint64_t ms);
void world_run_events(struct world *w, unsigned count);
void world_run(struct world *w); /* until every task has come back; at most a day */
const struct world_result *world_result(struct world *w, uint32_t index);
uint64_t world_now_ms(const struct world *w);
unsigned world_accepted(const struct world *w); /* by all peers */

#endif
