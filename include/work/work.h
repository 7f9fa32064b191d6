/*
 * work: slow things away from the shard threads: password hashes, large private keys, libraries that
 * block (HTTP). A pool is a few helper threads of the process; a door is one shard's way to it and back.
 *
 *     work_submit(door, &job)   job->run() on a helper; then, in a later pass of this shard, job->done()
 *
 * A job lives in its owner and stands still from submit to done, each of which happens once; it cannot
 * be cancelled, so its owner outlives it (a session that ends meanwhile waits for it). `done` never runs
 * inside work_submit(). The way there is a lock that helpers hold for an instant only; the way back takes
 * no lock. A pool without threads (simulator) runs a job in the next work_door_step().
 *
 * Pools are for one kind of patience: put what computes in one, and what waits for the network in another,
 * whose threads may all be waiting.
 */
#ifndef WORK_H
#define WORK_H

#include <stdbool.h>
#include <stdint.h>

#include "io.h"

struct work_pool;
struct work_door;

struct work_job {
    struct work_job *next; /* the pool's, then the door's */
    struct work_door *door;
    void (*run)(struct work_job *job); /* on a helper thread: touches the job's owner's data only */
    void (*done)(struct work_job *job); /* on the shard */
    bool busy;
};

static inline bool work_busy(const struct work_job *job)
{
    return job->busy;
}

/* threads 0: jobs run in work_door_step(). `limit`: jobs that may wait; beyond, work_submit() refuses.
 * `name` (at most 15 bytes) is what the threads are called. NULL: a thread cannot be started. */
struct work_pool *work_pool_create(const char *name, unsigned threads, uint32_t limit);
/* Every door has been destroyed. Waits for the threads, which ring for the doors' ios to the last: those
 * are destroyed after the pool. NULL is fine. */
void work_pool_destroy(struct work_pool *pool);

struct work_door *work_door_create(struct work_pool *pool, struct io *io);
/* No job of it is under way; or, with crashed (simulator), whatever waits is forgotten: its owners may be
 * gone already. NULL is fine. */
void work_door_destroy(struct work_door *door, bool crashed);

/* False: too many wait; the job is idle. */
bool work_submit(struct work_door *door, struct work_job *job);
/* Once a pass: runs `done` of the jobs that came back. */
void work_door_step(struct work_door *door);
bool work_door_has_work(const struct work_door *door); /* work_door_step() would do something now */
uint32_t work_door_busy(const struct work_door *door); /* jobs under way */

#endif
