/* queue_world: a queue over a real spool on the simulator; dispatched entries wait for the test's word. */
#ifndef QUEUE_WORLD_H
#define QUEUE_WORLD_H

#include <check.h>

#include "io_sim.h"
#include "queue_lot.h"

enum { DISPATCHED_MAX = 512 };

struct queue_world {
    struct sim *sim;
    struct sim_machine *machine;
    struct io *io;
    struct spool *spool;
    struct wheel wheel;
    struct queue queue;
    struct conf conf;
    struct queue_entry *out[DISPATCHED_MAX]; /* in order of dispatch, not yet settled */
    unsigned out_count;
    unsigned recovered;
    unsigned waiting; /* how often the queue said that a lot waits, and which the last time */
    char waiting_key[64];
};

/* Retry after 5m, 10m and then each hour, for a day; no jitter. The test may change w->conf first. */
void queue_world_init(struct queue_world *w);
/* `out_max`: see struct queue_options; 0: the default. */
void queue_world_open(struct queue_world *w, uint32_t out_max);
/* Ends cleanly; what is queued stays on the simulated disk. */
void queue_world_stop(struct queue_world *w);
/* All is given back. */
void queue_world_close(struct queue_world *w);

/* A pass, and a wait for what comes next, at most `ms`. */
void queue_world_run_ms(struct queue_world *w, uint64_t ms);
/* A stable message, accepted; its entry. */
struct queue_entry *queue_world_message(struct queue_world *w, unsigned recipients);

/* The same with terms, and held until then. */
struct queue_entry *queue_world_message_of(struct queue_world *w, unsigned recipients,
                                           const struct spool_terms *terms, uint32_t hold_until_s);
/* The one with this id; NULL if it is not queued. */
struct queue_entry *queue_world_entry(struct queue_world *w, uint64_t id);
/* Takes it off the list of those that are out. */
void queue_world_take_this(struct queue_world *w, struct queue_entry *e);
/* All waiting recipients of an entry that is out go to this lot. */
void queue_world_park(struct queue_world *w, struct queue_entry *e, const char *key,
                      const char *reason);
enum queue_standing queue_world_standing(const struct queue_entry *e);

/* The one entry that is out: takes it off the list. */
struct queue_entry *queue_world_take(struct queue_world *w);
/* Settles it, all recipients that wait alike. `due_s` where they are to wait. */
void queue_world_settle(struct queue_world *w, struct queue_entry *e,
                        enum spool_recipient_state state, uint32_t due_s, const char *text);
/* What delivery does with a failure for now. */
void queue_world_defer(struct queue_world *w, struct queue_entry *e, const char *text);

uint64_t queue_world_s(const struct queue_world *w);      /* Unix time */
void queue_world_leap(struct queue_world *w, int64_t ms); /* of the wall clock */

#endif
