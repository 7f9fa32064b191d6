/*
 * spool_jobs: how segments come and go. A log has at most one file job at a time, each a short chain of
 * ops that nothing waits for:
 *
 *   MAKE      create spare-<k>, fill it with zeros, sync
 *   PROMOTE   write a header into a spare, sync, rename it to <number>.seg, sync the directory
 *   RECYCLE   rename a dead segment to spare-<k>, sync the directory
 *   DISCARD   close and unlink
 *
 * The directory is synced between any two renames of one file, so that after a crash a file has the
 * name from before or from after one rename, never a third. What fails in the middle is discarded: it
 * costs a file, and nothing was in it.
 */
#include <errno.h>

#include "spool_jobs_priv.h"

static void job_advance(struct spool_job *job);

/* ---- jobs --------------------------------------------------------------------------------- */

static void job_done(struct io_op *op)
{
    struct spool_job *job = container_of(op, struct spool_job, op);

    job_advance(job);
}

static void job_end(struct spool_job *job)
{
    job->kind = JOB_NONE;
    job->spare = NULL;
    job->segment = NULL;
    job->fd = -1;
}

static void job_report(struct spool_job *job, const char *what)
{
    struct log_record r;

    job->log->spool->counters.space_errors++;
    log_begin(&r, job->error == -ENOSPC ? LOG_WARNING : LOG_ERROR, what);
    log_u64(&r, "log", job->log->number);
    log_str(&r, "path", job->from);
    log_errno(&r, -job->error);
    log_end(&r);
}

/* Turns whatever went wrong into the removal of the file named by `path`. */
void spool_job_discard(struct spool_job *job, int fd, const char *path)
{
    bool fresh = job->kind == JOB_MAKE; /* nothing was ever in it */

    if (path != job->from)
        memcpy(job->from, path, SPOOL_PATH_MAX);
    job->kind = JOB_DISCARD;
    job->step = 0;
    job->fd = fd;
    job->fresh = fresh;
    job->op.done = job_done;
    io_close(job->log->spool->io, &job->op, fd);
}

static void discard_advance(struct spool_job *job)
{
    struct spool_log *log = job->log;

    /* The last file that knows which ids have been used stays where it is. */
    if (job->step == 0 && (job->fresh || spool_files_may_discard(log))) {
        job->step = 1;
        io_unlink(log->spool->io, &job->op, job->from);
        return;
    }
    /* A file that stays is found again at the next start. */
    job_end(job);
}

static void job_failed(struct spool_job *job, int error)
{
    struct spool_log *log = job->log;

    job->error = error;
    if (!log->no_space)
        job_report(job, "spool_segment_failed");
    log->no_space = true;
    log->spool->wake = true; /* those that waited for a segment are told */
    log->retry_ms = io_now_ms(log->spool->io) + SPOOL_RETRY_MS;
}

/* ---- make --------------------------------------------------------------------------------- */

static void make_open(struct spool_job *job)
{
    struct spool_log *log = job->log;
    unsigned flags = IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE;

    spool_spare_path(log, log->next_spare++, job->from);
    io_open(log->spool->io, &job->op, job->from, flags | (log->direct ? IO_OPEN_DIRECT : 0), 0600);
}

static void make_write(struct spool_job *job)
{
    struct spool *s = job->log->spool;
    uint64_t left = job->log->segment_size - job->written;
    size_t len = left < SPOOL_FILL_LEN ? (size_t)left : SPOOL_FILL_LEN;

    io_write(s->io, &job->op, job->fd, s->zeros, len, job->written, 0);
}

void spool_job_make(struct spool_job *job)
{
    job->op.done = job_done;
    job->kind = JOB_MAKE;
    job->step = 0;
    job->written = 0;
    make_open(job);
}

static void make_fail(struct spool_job *job, int error)
{
    job_failed(job, error);
    job->log->bytes_disk -= job->log->segment_size;
    spool_job_discard(job, job->fd, job->from);
}

static void spare_add(struct spool_log *log, struct spool_spare *spare)
{
    list_init(&spare->node);
    list_push_back(&log->spares, &spare->node);
    log->spare_count++;
    if (spool_free_segments(log) >= spool_files_target(log))
        log->no_space = false;
    log->spool->wake = true;
}

static void make_opened(struct spool_job *job)
{
    struct spool_log *log = job->log;
    int res = job->op.res;

    if (res == -EINVAL && log->direct) {
        log->direct = false; /* not every file system does direct I/O */
        make_open(job);
    } else if (res == -EEXIST) {
        make_open(job);
    } else if (res < 0) {
        job_failed(job, res);
        job_end(job);
    } else {
        job->fd = res;
        job->step = 1;
        log->bytes_disk += log->segment_size;
        make_write(job);
    }
}

static void make_advance(struct spool_job *job)
{
    struct spool_log *log = job->log;
    int res = job->op.res;

    if (job->step == 0) {
        make_opened(job);
    } else if (job->step == 1) {
        if (res <= 0) {
            make_fail(job, res < 0 ? res : -EIO);
            return;
        }
        /* Zeros again over what a short write left, from a whole block on. */
        job->written += (uint64_t)res / SPOOL_BLOCK * SPOOL_BLOCK;
        if (job->written < log->segment_size) {
            make_write(job);
            return;
        }
        job->step = 2;
        io_fsync(log->spool->io, &job->op, job->fd);
    } else if (res < 0) {
        make_fail(job, res);
    } else {
        struct spool_spare *spare = mem_zalloc(sizeof(*spare));

        spare->k = log->next_spare - 1;
        spare->fd = job->fd;
        spare->size = log->segment_size;
        spare_add(log, spare);
        job_end(job);
    }
}

/* ---- promote ------------------------------------------------------------------------------ */

static void promote_header(struct spool_job *job)
{
    struct spool_log *log = job->log;
    struct spool_segment *seg = job->segment;
    struct spool_segment_header h = {
        .log = log->number,
        .number = seg->number,
        .salt = seg->salt,
        .size = seg->size,
        .epoch = seg->epoch,
        .sequence = seg->header_sequence,
        .id_limit = seg->header_id_limit,
        .checkpoint = log->checkpoint,
        .created_ms = io_unix_ms(log->spool->io),
    };

    memset(job->block, 0, SPOOL_BLOCK);
    spool_segment_header_encode(&h, job->block);
    io_write(log->spool->io, &job->op, seg->fd, job->block, SPOOL_BLOCK, 0, IO_WRITE_SYNC);
}

void spool_job_promote(struct spool_job *job)
{
    struct spool_log *log = job->log;
    struct list *node = list_pop_front(&log->spares);
    struct spool_spare *spare = container_of(node, struct spool_spare, node);
    struct spool_segment *seg =
        spool_segment_create(log, log->next_number++, spare->fd, spare->size);

    log->spare_count--;
    io_entropy(log->spool->io, &seg->salt, sizeof(seg->salt));
    seg->epoch = log->epoch;
    seg->header_sequence = log->next_sequence;
    seg->header_id_limit = log->next_id + SPOOL_ID_AHEAD;
    seg->header_ok = true;
    job->spare_k = spare->k;
    spool_spare_path(log, spare->k, job->from);
    spool_segment_path(log, seg->number, job->to);
    mem_free(spare);
    job->op.done = job_done;
    job->kind = JOB_PROMOTE;
    job->step = 0;
    job->segment = seg;
    promote_header(job);
}

/* The file goes, unless its name is still that of a spare and it may be the only one left. */
static void promote_fail(struct spool_job *job, int error, const char *path)
{
    struct spool_segment *seg = job->segment;
    int fd = seg->fd;

    job_failed(job, error);
    if (path == job->from && !spool_files_may_discard(job->log)) {
        struct spool_spare *spare = mem_zalloc(sizeof(*spare));

        spare->k = job->spare_k;
        spare->fd = fd;
        spare->size = seg->size;
        spool_segment_destroy(seg);
        spare_add(job->log, spare);
        job->log->no_space = true; /* there are spares, but they do not work */
        job_end(job);
        return;
    }
    job->log->bytes_disk -= seg->size;
    spool_segment_destroy(seg);
    job->segment = NULL;
    spool_job_discard(job, fd, path);
}

static void promote_advance(struct spool_job *job)
{
    struct spool_log *log = job->log;
    struct spool_segment *seg = job->segment;
    int res = job->op.res;

    switch (job->step++) {
    case 0:
        if (res != SPOOL_BLOCK)
            promote_fail(job, res < 0 ? res : -EIO, job->from);
        else
            io_rename(log->spool->io, &job->op, job->from, job->to);
        return;
    case 1:
        if (res < 0)
            promote_fail(job, res, job->from);
        else
            io_fsync(log->spool->io, &job->op, log->dir_fd);
        return;
    default:
        if (res < 0) {
            /* Whether the name is durable cannot be known any more, not even by syncing again. */
            promote_fail(job, res, job->to);
            return;
        }
        list_push_back(&log->segments, &seg->node);
        log->segment_count++;
        log->next = seg;
        if (seg->header_id_limit > log->id_limit)
            log->id_limit = seg->header_id_limit;
        log->spool->wake = true;
        job_end(job);
    }
}

/* ---- recycle ------------------------------------------------------------------------------ */

void spool_job_recycle(struct spool_job *job, struct spool_segment *seg)
{
    struct spool_log *log = job->log;
    int fd = seg->fd;
    bool keep = !seg->bad && seg->size == log->segment_size
                && (spool_free_segments(log) < spool_files_spares_max(log)
                    || !spool_files_may_discard(log));

    spool_segment_path(log, seg->number, job->from);
    if (!keep) {
        log->bytes_disk -= seg->size;
        spool_segment_destroy(seg);
        spool_job_discard(job, fd, job->from);
        return;
    }
    struct spool_spare *spare = mem_zalloc(sizeof(*spare));
    spare->k = log->next_spare++;
    spare->fd = fd;
    spare->size = seg->size;
    spool_segment_destroy(seg);
    spool_spare_path(log, spare->k, job->to);
    job->op.done = job_done;
    job->kind = JOB_RECYCLE;
    job->step = 0;
    job->spare = spare;
    io_rename(log->spool->io, &job->op, job->from, job->to);
}

static void recycle_advance(struct spool_job *job)
{
    struct spool_log *log = job->log;
    struct spool_spare *spare = job->spare;
    int res = job->op.res;

    if (res >= 0 && job->step == 0) {
        job->step = 1;
        io_fsync(log->spool->io, &job->op, log->dir_fd);
        return;
    }
    if (res >= 0) {
        log->spool->counters.segments_recycled++;
        spare_add(log, spare);
        job_end(job);
        return;
    }
    int fd = spare->fd;
    log->bytes_disk -= spare->size;
    mem_free(spare);
    job->spare = NULL;
    job_failed(job, res);
    spool_job_discard(job, fd, job->step == 0 ? job->from : job->to);
}

static void job_advance(struct spool_job *job)
{
    switch (job->kind) {
    case JOB_MAKE: make_advance(job); return;
    case JOB_PROMOTE: promote_advance(job); return;
    case JOB_RECYCLE: recycle_advance(job); return;
    case JOB_DISCARD: discard_advance(job); return;
    case JOB_NONE: break;
    }
    UNREACHABLE();
}
