/*
 * work: see the header.
 *
 * There: one queue a pool, first come first served, under a lock. Back: a stack a door, on which helpers
 * push and which the shard takes as a whole and turns round. Whoever pushes onto an empty stack rings;
 * the bell is kept by io until the shard waits next, so nothing that comes back is overlooked.
 */
#include "work.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base_assert.h"
#include "base_mem.h"

struct work_queue {
    struct work_job *first, *last;
};

struct work_pool {
    pthread_mutex_t lock;
    pthread_cond_t wanted; /* a job waits, or the end has come */
    struct work_queue queue;
    uint32_t waiting; /* jobs that no helper has taken yet */
    uint32_t limit;
    uint32_t doors;
    bool stop;
    unsigned thread_count;
    pthread_t threads[];
};

struct work_door {
    struct work_pool *pool;
    struct io *io;
    struct work_queue own; /* of a pool without threads: what waits for the next step */
    uint32_t own_count;
    uint32_t busy;
    struct work_job *_Atomic back; /* the latest first */
};

static void queue_put(struct work_queue *q, struct work_job *job)
{
    job->next = NULL;
    if (q->first == NULL)
        q->first = job;
    else
        q->last->next = job;
    q->last = job;
}

static struct work_job *queue_take(struct work_queue *q)
{
    struct work_job *job = q->first;

    if (job != NULL)
        q->first = job->next;
    return job;
}

/* ---- helpers ------------------------------------------------------------------------------ */

/* With the last step of this the job, the door and their shard are none of ours any more. */
static void give_back(struct work_job *job)
{
    struct work_door *door = job->door;
    struct io *io = door->io;
    struct work_job *head = atomic_load_explicit(&door->back, memory_order_relaxed);

    do
        job->next = head;
    while (!atomic_compare_exchange_weak_explicit(&door->back, &head, job, memory_order_release,
                                                  memory_order_relaxed));
    if (head == NULL)
        io_wake_from_thread(io);
}

/* NULL: the pool ends. */
static struct work_job *wait_for_job(struct work_pool *pool)
{
    struct work_job *job;

    (void)pthread_mutex_lock(&pool->lock); /* locks fail only for wrong use */
    while ((job = queue_take(&pool->queue)) == NULL && !pool->stop)
        (void)pthread_cond_wait(&pool->wanted, &pool->lock);
    if (job != NULL)
        pool->waiting--;
    (void)pthread_mutex_unlock(&pool->lock);
    return job;
}

static void *helper_main(void *argument)
{
    struct work_pool *pool = argument;
    struct work_job *job;

    while ((job = wait_for_job(pool)) != NULL) {
        job->run(job);
        give_back(job);
    }
    return NULL;
}

/* ---- pools -------------------------------------------------------------------------------- */

struct work_pool *work_pool_create(const char *name, unsigned threads, uint32_t limit)
{
    struct work_pool *pool = mem_zalloc(sizeof(*pool) + threads * sizeof(pool->threads[0]));

    pool->limit = limit;
    (void)pthread_mutex_init(&pool->lock, NULL); /* neither fails without attributes */
    (void)pthread_cond_init(&pool->wanted, NULL);
    for (unsigned i = 0; i < threads; i++) {
        if (pthread_create(&pool->threads[i], NULL, helper_main, pool) != 0) {
            work_pool_destroy(pool);
            return NULL;
        }
        pool->thread_count++;
        (void)pthread_setname_np(pool->threads[i],
                                 name); /* for those who look; too long: unnamed */
    }
    return pool;
}

void work_pool_destroy(struct work_pool *pool)
{
    if (pool == NULL)
        return;
    ASSERT(pool->doors == 0);
    ASSERT(pool->waiting == 0);
    (void)pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    (void)pthread_cond_broadcast(&pool->wanted);
    (void)pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++)
        (void)pthread_join(pool->threads[i], NULL);
    (void)pthread_cond_destroy(&pool->wanted);
    (void)pthread_mutex_destroy(&pool->lock);
    mem_free(pool);
}

/* ---- doors -------------------------------------------------------------------------------- */

static void count_doors(struct work_pool *pool, int change)
{
    (void)pthread_mutex_lock(&pool->lock);
    pool->doors += (uint32_t)change;
    (void)pthread_mutex_unlock(&pool->lock);
}

struct work_door *work_door_create(struct work_pool *pool, struct io *io)
{
    struct work_door *door = mem_zalloc(sizeof(*door));

    door->pool = pool;
    door->io = io;
    atomic_init(&door->back, NULL);
    count_doors(pool, +1);
    return door;
}

void work_door_destroy(struct work_door *door, bool crashed)
{
    struct work_pool *pool;

    if (door == NULL)
        return;
    pool = door->pool;
    ASSERT(door->busy == 0 || (crashed && pool->thread_count == 0));
    (void)pthread_mutex_lock(&pool->lock);
    pool->waiting -= door->own_count;
    pool->doors--;
    (void)pthread_mutex_unlock(&pool->lock);
    mem_free(door);
}

bool work_submit(struct work_door *door, struct work_job *job)
{
    struct work_pool *pool = door->pool;
    bool room;

    ASSERT(!job->busy);
    ASSERT(job->run != NULL && job->done != NULL);
    job->busy = true; /* before a helper may see it */
    job->door = door;
    (void)pthread_mutex_lock(&pool->lock);
    room = pool->waiting < pool->limit;
    if (room) {
        pool->waiting++;
        queue_put(pool->thread_count > 0 ? &pool->queue : &door->own, job);
        if (pool->thread_count > 0)
            (void)pthread_cond_signal(&pool->wanted);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    if (!room) {
        job->busy = false;
        return false;
    }
    if (pool->thread_count == 0)
        door->own_count++;
    door->busy++;
    return true;
}

/* The jobs that came back, in that order. */
static struct work_job *take_back(struct work_door *door)
{
    struct work_job *job = atomic_exchange_explicit(&door->back, NULL, memory_order_acquire);
    struct work_job *list = NULL;

    while (job != NULL) {
        struct work_job *next = job->next;
        job->next = list;
        list = job;
        job = next;
    }
    return list;
}

/* A pool without threads: what has been submitted so far is done now, in its order. */
static struct work_job *run_own(struct work_door *door)
{
    struct work_job *list = door->own.first;

    for (struct work_job *job = list; job != NULL; job = job->next)
        job->run(job);
    (void)pthread_mutex_lock(&door->pool->lock);
    door->pool->waiting -= door->own_count;
    (void)pthread_mutex_unlock(&door->pool->lock);
    door->own_count = 0;
    door->own = (struct work_queue){0};
    return list;
}

void work_door_step(struct work_door *door)
{
    struct work_job *job;

    if (!work_door_has_work(door))
        return;
    job = door->pool->thread_count > 0 ? take_back(door) : run_own(door);
    while (job != NULL) {
        struct work_job *next = job->next; /* `done` may free the job, or submit it again */
        job->busy = false;
        door->busy--;
        job->done(job);
        job = next;
    }
}

bool work_door_has_work(const struct work_door *door)
{
    return door->own_count > 0 || atomic_load_explicit(&door->back, memory_order_relaxed) != NULL;
}

uint32_t work_door_busy(const struct work_door *door)
{
    return door->busy;
}
