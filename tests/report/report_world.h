/* report_world: reports on a simulated machine: with a spool and a queue, a zone, and a scripted HTTPS server. */
#ifndef REPORT_WORLD_H
#define REPORT_WORLD_H

#include <check.h>

#include "dns_sim.h"
#include "http.h"
#include "io_sim.h"
#include "report.h"

enum { WORLD_MAILS = 64, WORLD_SHARDS = 3 };

/* What has entered the queue. */
struct world_mail {
    uint16_t flags;
    char sender[128], recipient[128];
    struct buf body;
};

struct report_world {
    struct conf *conf;
    struct sim *sim;
    struct sim_machine *machine;
    struct io *io;
    struct wheel wheel;
    struct dns_sim_zone *zone;
    struct dns *dns;
    struct work_pool *pool;
    struct work_door *door;
    struct spool *spool;
    struct queue queue;
    unsigned shards;
    struct report *report[WORLD_SHARDS]; /* all on one io: they share files only */
    uint64_t delay_max_ms;
    struct world_mail mails[WORLD_MAILS];
    unsigned mail_count;
};

/* The one HTTPS server there is. */
extern unsigned world_post_status; /* 0: cannot be reached */
extern unsigned world_posts;
extern char world_post_url[256], world_post_type[64];
extern struct buf world_post_body;

void report_world_init(struct report_world *w, const char *more_conf);
void report_world_open(struct report_world *w, unsigned shards);
void report_world_stop(struct report_world *w);
void report_world_crash(struct report_world *w);
void report_world_finish(struct report_world *w);
void report_world_run_s(struct report_world *w, uint64_t seconds);
/* Until this many mails have come; fails after an hour of the simulated time. */
void report_world_wait_mail(struct report_world *w, unsigned count);

void report_world_result(struct report_world *w, unsigned shard, const char *domain,
                         enum report_result result);
void report_world_rua(struct report_world *w, const char *domain, const char *rua);

#endif
