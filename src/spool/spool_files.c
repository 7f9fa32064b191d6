/*
 * spool_files: how many segments are kept, and which file job is next.
 */
#include "spool_jobs_priv.h"

/* ---- how many are wanted ------------------------------------------------------------------ */

uint32_t spool_free_segments(const struct spool_log *log)
{
    return log->spare_count + (log->next ? 1 : 0);
}

/* Kept for outcomes and a checkpoint when messages are no longer taken. A checkpoint frees what was
 * filled since the one before, so room for one, and some, is enough for ever. */
uint32_t spool_reserve(const struct spool_log *log)
{
    uint64_t usable = log->segment_size - SPOOL_BLOCK;

    return 2 + (uint32_t)((2 * spool_checkpoint_bytes(log)) / usable);
}

uint32_t spool_files_target(const struct spool_log *log)
{
    if (!log->own)
        return log->live_messages > 0 ? spool_reserve(log) : 0;
    uint32_t spares = log->spool->options.spares ? log->spool->options.spares : 2;
    uint32_t reserve = spool_reserve(log);
    return (spares > reserve ? spares : reserve) + 1;
}

/* A few more than wanted are kept, except where nobody will write. */
uint32_t spool_files_spares_max(const struct spool_log *log)
{
    return spool_files_target(log) + (log->own ? 2 : 0);
}

/* Files that are gone cannot say any more which ids have been used: only while a newer one does. */
bool spool_files_may_discard(const struct spool_log *log)
{
    return log->active || log->next;
}

static bool needs_place(const struct spool_log *log)
{
    return log->open || !list_empty(&log->closed) || !list_empty(&log->extents)
           || !list_empty(&log->requeue) || !list_empty(&log->deferred);
}

static bool wants_next(const struct spool_log *log)
{
    if (log->next)
        return false;
    if (log->own)
        return true;
    /* An adopted log gets a segment when there is something to put into it. */
    if (!log->active)
        return needs_place(log) || log->failed || log->check.wanted;
    return log->active->fill > log->active->size / 2;
}

bool spool_room(const struct spool_log *log, uint64_t need)
{
    uint32_t free_count = spool_free_segments(log), reserve = spool_reserve(log);
    uint64_t available = log->active ? log->active->size - log->active->fill : 0;

    if (free_count < reserve)
        return false;
    available += (uint64_t)(free_count - reserve) * (log->segment_size - SPOOL_BLOCK);
    return log->queued_bytes + spool_round_up(need, SPOOL_BLOCK) <= available;
}

static uint64_t bytes_on_disk(const struct spool *s)
{
    uint64_t sum = 0;

    LIST_EACH(&s->logs, node)
    sum += container_of(node, struct spool_log, node)->bytes_disk;
    return sum;
}

static bool may_grow(const struct spool_log *log)
{
    uint64_t max = log->spool->options.bytes_max;
    uint64_t least = (uint64_t)(spool_files_target(log) + 3) * log->segment_size;

    if (max == 0)
        return true;
    /* The limit is for messages. What this log needs to work at all is not refused, nor a place for
     * outcomes when failed syncs have used up the reserve. */
    if (log->bytes_disk < least || (spool_free_segments(log) == 0 && needs_place(log)))
        return true;
    return bytes_on_disk(log->spool) + log->segment_size <= max;
}

static struct spool_segment *find_dead(struct spool_log *log)
{
    bool later = false;

    LIST_EACH(&log->segments, node)
    {
        struct spool_segment *seg = container_of(node, struct spool_segment, node);

        if (spool_segment_dead(seg))
            return seg;
        if (seg->live_records == 0 && seg->number < log->checkpoint_durable.segment)
            later = true;
    }
    log->reap = later;
    return NULL;
}

/* ---- what next ---------------------------------------------------------------------------- */

/* A segment that nothing lives in waits for the checkpoint that is under way: in a moment it can be
 * recycled, which is a rename, where a new one is written with zeros from end to end. Not waited for
 * when room is short. */
static bool one_will_die(const struct spool_log *log)
{
    uint64_t until = spool_checkpoint_coming(log);

    if (until == 0 || log->failed || !log->active
        || log->active->size - log->active->fill < log->active->size / 2
        || log->active->size - log->active->fill < log->queued_bytes)
        return false;
    LIST_EACH(&log->segments, node)
    {
        const struct spool_segment *seg = container_of(node, struct spool_segment, node);

        if (seg->number < until && !seg->bad && seg->live_records == 0 && seg->loose == 0
            && seg->unacked == 0)
            return true;
    }
    return false;
}

static bool make_wanted(struct spool_log *log)
{
    bool short_of = spool_free_segments(log) < spool_files_target(log)
                    || (wants_next(log) && log->spare_count == 0);

    if (!short_of || one_will_die(log) || io_now_ms(log->spool->io) < log->retry_ms)
        return false;
    if (!may_grow(log)) {
        log->spool->wake = log->spool->wake || !log->no_space;
        log->no_space = true;
        return false;
    }
    return true;
}

static void discard_spare(struct spool_job *job, struct spool_spare *spare)
{
    struct spool_log *log = job->log;
    int fd = spare->fd;

    list_remove(&spare->node);
    log->bytes_disk -= spare->size;
    spool_spare_path(log, spare->k, job->from);
    mem_free(spare);
    spool_job_discard(job, fd, job->from);
}

static bool discard_surplus(struct spool_job *job)
{
    struct spool_log *log = job->log;

    if (!spool_files_may_discard(log))
        return false;
    if (!list_empty(&log->odd_spares)) {
        discard_spare(job, container_of(log->odd_spares.next, struct spool_spare, node));
    } else if (log->spare_count > spool_files_spares_max(log)) {
        log->spare_count--;
        discard_spare(job, container_of(log->spares.next, struct spool_spare, node));
    } else {
        return false;
    }
    return true;
}

void spool_files_step(struct spool_log *log)
{
    struct spool_job *job = &log->job;
    struct spool_segment *dead;
    bool stopping = log->spool->stopping;

    if (job->kind != JOB_NONE)
        return;
    if (wants_next(log) && log->spare_count > 0 && (!stopping || needs_place(log))
        && io_now_ms(log->spool->io) >= log->retry_ms)
        spool_job_promote(job);
    else if (!stopping && log->reap && (dead = find_dead(log)) != NULL)
        spool_job_recycle(job, dead);
    else if ((!stopping || needs_place(log)) && make_wanted(log))
        spool_job_make(job);
    else if (!stopping)
        (void)discard_surplus(job);
}

bool spool_files_idle(const struct spool_log *log)
{
    return log->job.kind == JOB_NONE;
}

uint64_t spool_files_next_ms(const struct spool_log *log)
{
    bool short_of = spool_free_segments(log) < spool_files_target(log) || wants_next(log);

    if (!short_of || log->job.kind != JOB_NONE || (log->spool->stopping && !needs_place(log)))
        return UINT64_MAX;
    uint64_t now = io_now_ms(log->spool->io);
    /* Refused by the limit: only death brings room, but looking costs nothing. */
    return log->retry_ms > now ? log->retry_ms : now + SPOOL_RETRY_MS;
}

bool spool_files_await_next(struct spool_log *log)
{
    while (!log->next) {
        spool_files_step(log);
        if (log->job.kind == JOB_NONE)
            return false;
        (void)io_await(log->spool->io, &log->job.op); /* the job looks at it */
    }
    return true;
}
