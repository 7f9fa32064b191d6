/*
 * spool_stable: what follows a write: acknowledging in log order, or moving on after a failed sync.
 */
#include <errno.h>

#include "spool_batch_priv.h"

/* ---- acknowledging ------------------------------------------------------------------------ */

static void batch_free(struct spool_batch *b)
{
    struct spool *s = b->log->spool;

    ASSERT(list_empty(&b->pendings) && !io_op_busy(&b->op));
    list_remove(&b->node);
    b->log->queued_bytes -= b->charged;
    if (b->slot) {
        b->slot->batches--;
        s->wake = true;
    }
    if (b->extent)
        spool_extent_slot_put(s, b->extent);
    pool_put(&s->batch_pool, b);
}

static void pending_stable(struct spool_pending *p, struct spool_batch *b)
{
    switch ((enum spool_pending_kind)p->kind) {
    case PENDING_MESSAGE: spool_writer_stable(p, b); break;
    case PENDING_EXTENT: spool_writer_extent_stable(p, b); break;
    case PENDING_MOVE:
    case PENDING_MOVE_EXTENT: spool_compact_stable(p, b); break;
    case PENDING_BEGIN:
    case PENDING_END: spool_checkpoint_stable(p, b); break;
    }
}

static void log_works_again(struct spool_log *log)
{
    struct log_record r;

    log->failures = 0;
    if (!log->failed)
        return;
    log->failed = false;
    log_begin(&r, LOG_NOTICE, "spool_works_again");
    log_u64(&r, "log", log->number);
    log_end(&r);
}

static void batch_stable(struct spool_batch *b)
{
    struct spool_log *log = b->log;
    struct spool_counters *c = &log->spool->counters;
    struct list *node;

    list_remove(&b->node);
    b->charged = 0; /* it has had its place since it was written */
    b->segment->unacked--;
    b->segment->empty = false;
    ASSERT(b->sequence > log->stable_sequence);
    log->stable_sequence = b->sequence;
    if (b->ticket > log->stable_ticket)
        log->stable_ticket = b->ticket;
    if (b->id_limit > log->id_limit)
        log->id_limit = b->id_limit;
    if (b->checkpoint.segment != log->checkpoint_durable.segment
        || b->checkpoint.offset != log->checkpoint_durable.offset) {
        log->checkpoint_durable = b->checkpoint;
        log->reap = true;
    }
    log_works_again(log);
    c->commits++;
    c->records += b->records;
    c->bytes_logged += spool_batch_padded(b);
    while ((node = list_pop_front(&b->pendings)) != NULL) {
        struct spool_pending *p = container_of(node, struct spool_pending, node);

        pending_stable(p, b);
        spool_pending_put(log->spool, p);
    }
    batch_free(b);
}

/* ---- failure ------------------------------------------------------------------------------ */

static void report_failure(const struct spool_batch *b)
{
    struct log_record r;

    b->log->spool->counters.sync_errors++;
    log_begin(&r, LOG_ERROR, "spool_sync_failed");
    log_u64(&r, "log", b->log->number);
    log_u64(&r, "segment", b->segment->number);
    log_u64(&r, "offset", b->offset);
    log_u64(&r, "len", spool_batch_padded(b));
    log_i64(&r, "written", b->op.res);
    log_errno(&r, b->op.res < 0 ? -b->op.res : EIO);
    log_str(&r, "action", "segment is not written to any more");
    log_end(&r);
}

/* A batch in memory whose messages have been refused. */
static void batch_refuse(struct spool_batch *b, enum spool_result result)
{
    LIST_EACH_SAFE(&b->pendings, node)
    {
        struct spool_pending *p = container_of(node, struct spool_pending, node);

        if (p->kind != PENDING_MESSAGE)
            continue;
        spool_record_void(b->data + p->at);
        list_remove(&p->node);
        spool_writer_pending_fail(p, result);
        spool_pending_put(b->log->spool, p);
    }
}

/* A part of a body that goes nowhere. If it has a sequence number an empty batch takes its place, so
 * that recovery misses nothing. */
static void extent_refuse(struct spool_batch *b, enum spool_result result)
{
    struct list *node;

    while ((node = list_pop_front(&b->pendings)) != NULL) {
        struct spool_pending *p = container_of(node, struct spool_pending, node);

        if (p->kind == PENDING_MOVE_EXTENT)
            spool_compact_extent_failed(b->log);
        else
            spool_writer_pending_fail(p, result);
        spool_pending_put(b->log->spool, p);
    }
    if (b->sequence == 0) {
        batch_free(b);
        return;
    }
    b->len = SPOOL_BATCH_HEADER_LEN;
    b->records = 0;
    memset(b->data + b->len, 0, spool_batch_padded(b) - b->len);
}

static void refuse_list(struct list *l, enum spool_result result)
{
    LIST_EACH_SAFE(l, node)
    {
        struct spool_batch *b = container_of(node, struct spool_batch, node);

        if (b->extent)
            extent_refuse(b, result);
        else
            batch_refuse(b, result);
    }
}

void spool_stable_refuse_all(struct spool_log *log, enum spool_result result)
{
    refuse_list(&log->requeue, SPOOL_FAILED); /* it may have reached the disk */
    refuse_list(&log->closed, result);
    refuse_list(&log->extents, result);
    if (log->open)
        batch_refuse(log->open, result);
    spool_writers_fail(log, result);
}

static void log_fail(struct spool_log *log)
{
    struct log_record r;

    if (!log->failed) {
        log_begin(&r, LOG_CRITICAL, "spool_failed");
        log_u64(&r, "log", log->number);
        log_str(&r, "path", log->path);
        log_str(&r, "action", "no mail is accepted until the disk works again");
        log_end(&r);
    }
    log->failed = true;
    log->failed_until_ms = io_now_ms(log->spool->io) + SPOOL_FAILED_RETRY_MS;
    spool_stable_refuse_all(log, SPOOL_FAILED);
}

/* What is left of it counts as written: what matters to a checkpoint is how many segments there are. */
void spool_stable_leave_active(struct spool_log *log)
{
    if (log->active)
        log->since_checkpoint += log->active->size - log->active->fill;
    log->active = NULL;
}

/* Nothing is in flight any more: what is not acknowledged goes somewhere else. */
static void log_move_on(struct spool_log *log)
{
    struct list *node, later;

    list_init(&later); /* what was already to be written again stands behind */
    list_splice_back(&later, &log->requeue);
    while ((node = list_pop_front(&log->submitted)) != NULL) {
        struct spool_batch *b = container_of(node, struct spool_batch, node);

        ASSERT(b->state == BATCH_DONE || b->state == BATCH_FAILED);
        spool_batch_mask(b->data, b->len, b->segment->number, b->segment->salt, b->offset);
        b->segment->unacked--;
        b->segment = NULL;
        b->state = BATCH_CLOSED;
        log->queued_bytes += b->charged;
        list_push_back(&log->requeue, &b->node);
    }
    list_splice_back(&log->requeue, &later);
    if (log->active && log->active->bad)
        spool_stable_leave_active(log);
    log->requeueing = false;
    log->reap = true;
    if (++log->failures >= 2)
        log_fail(log);
}

void spool_stable_done(struct io_op *op)
{
    struct spool_batch *b = container_of(op, struct spool_batch, op);
    struct spool_log *log = b->log;
    struct spool *s = log->spool;
    uint64_t us = (io_now_ns(s->io) - b->submitted_ns) / 1000;
    bool commits = false;

    log->in_flight--;
    if (!b->extent)
        log->commits_in_flight--;
    s->counters.commit_us_total += us;
    if (us > s->counters.commit_us_max)
        s->counters.commit_us_max = us;
    b->state =
        op->res >= 0 && (uint32_t)op->res == spool_batch_padded(b) ? BATCH_DONE : BATCH_FAILED;
    if (b->state == BATCH_FAILED) {
        report_failure(b);
        if (!b->segment->bad)
            s->counters.segments_bad++;
        b->segment->bad = true;
        log->requeueing = true;
    }
    while ((b = spool_batch_first(&log->submitted)) != NULL && b->state == BATCH_DONE) {
        commits = commits || !b->extent;
        batch_stable(b);
    }
    if (log->requeueing && log->in_flight == 0)
        log_move_on(log);
    if (commits && s->options.committed)
        s->options.committed(s->options.context);
}
