/*
 * origin_world: one shard's queue, spool and delivery on the simulator, with mailboxes on the same
 * machine: what an origin does without any other host.
 *
 *   example.test  mailboxes in /mail/%d/%u, subaddress +
 *   reject.test   rejected: "550 5.7.1 no mail here"
 *   discard.test  discarded
 */
#ifndef ORIGIN_WORLD_H
#define ORIGIN_WORLD_H

#include "delivery_priv.h"
#include "dns_sim.h"
#include "io_sim.h"

enum { ORIGIN_DOMAINS = 3, ORIGIN_FDS = 64 };

/* Sees every file op on the mailboxes, counts it, and makes one of them fail. */
struct origin_shim {
    const struct io_vtable *real;
    struct io_vtable mine;
    unsigned count;
    unsigned by_kind[IO_KIND_COUNT];
    unsigned fail_at; /* the n-th from 1; 0: none */
    int error;
    bool performed; /* it is done all the same */
    bool failed;
    enum io_kind failed_kind;
    struct io_op *op; /* the one in flight that is to fail */
    void (*op_done)(struct io_op *op);
    struct {
        struct io_op *op;
        void (*done)(struct io_op *op);
    } opening[ORIGIN_FDS];
    bool ours[1024]; /* fds */
};

struct origin_world {
    struct sim *sim;
    struct sim_machine *machine;
    struct io *io;
    struct origin_shim shim;
    struct wheel wheel;
    struct conf conf;
    struct conf_domain domains[ORIGIN_DOMAINS];
    struct conf_destination destinations[ORIGIN_DOMAINS];
    struct conf_route route;
    uint64_t interval_ms;
    struct dns_sim_zone *zone;
    struct dns *dns;
    struct queue queue;
    struct spool_options spool_options;
    struct spool *spool;
    struct delivery *d;
    uint64_t filler[4096]; /* ids of messages that fill the spool */
    unsigned filler_count;
    unsigned recovered;
    unsigned maildirs_most; /* ever running at a time */
};

void origin_open(struct origin_world *w, uint64_t seed, const struct sim_options *options);
void origin_start(struct origin_world *w);
void origin_crash(struct origin_world *w, bool power); /* power or only the process */
void origin_stop(struct origin_world *w);              /* clean */
void origin_close(struct origin_world *w);             /* clean, and nothing may be left open */

/* Takes a message as a session would; it is stable and in the queue when this returns its id. The
 * recipients end in NULL. 0: the spool would not take it. */
uint64_t origin_submit(struct origin_world *w, const char *sender, const char *const *recipients,
                       struct slice body, uint16_t flags);
/* The same with an envelope of the caller's; its arrival is set. */
uint64_t origin_submit_envelope(struct origin_world *w, struct spool_envelope *envelope,
                                struct slice body);
uint64_t origin_submit_one(struct origin_world *w, const char *sender, const char *recipient,
                           const char *body);

/* Fills the spool, of a small bytes_max, with messages that stay out of the way; and takes them away. */
void origin_fill(struct origin_world *w);
void origin_make_room(struct origin_world *w);

void origin_pass(struct origin_world *w); /* waits until something happens */
/* Until nothing is out or due. */
void origin_settle(struct origin_world *w);
void origin_run_ms(struct origin_world *w, uint64_t ms);
/* Until no message is left; at most a week. */
void origin_drain(struct origin_world *w);
/* One event of the world; false if none will come. */
bool origin_turn(struct origin_world *w);

/* How many files are in the directory; none if it is not there. */
unsigned origin_files(struct origin_world *w, const char *directory);
/* The n-th file of a directory, in order of name. False if there is none. */
bool origin_file(struct origin_world *w, const char *directory, unsigned n, struct buf *out_name,
                 struct buf *out_bytes);
bool origin_contains(struct slice bytes, const char *text);

#endif
