/*
 * spool_batch: group commit.
 *
 * Records gather in the log's open batch, in place in its slot. When it may go to disk the batch is
 * closed, gets its place in the active segment and is written by one direct, synced write; then the
 * next one opens behind it. Extents are batches of one record in a slot of their own. `submitted` is
 * the log's order: whatever its position, a batch is acknowledged only after all those before it.
 *
 * The policy needs no timer. If nothing is in flight, what waits goes at once; while a commit is in
 * flight records gather; a second one follows only if enough wait.
 *
 * After a failed or short write nothing more goes into that segment. When all that is in flight has
 * come back, everything not acknowledged is written again, in its order and with its sequence numbers,
 * to a fresh segment; its memory is still here. If that fails as well the log has failed: writers are
 * answered, outcomes stay in memory, and a fresh segment is tried now and then.
 */
#include "spool_batch_priv.h"

static void charge(struct spool_batch *b, uint32_t bytes)
{
    b->charged += bytes;
    b->log->queued_bytes += bytes;
}

/* ---- gathering ---------------------------------------------------------------------------- */

struct spool_pending *spool_pending_get(struct spool *s, enum spool_pending_kind kind)
{
    struct spool_pending *p = pool_get(&s->pending_pool);

    list_init(&p->node);
    p->kind = (uint8_t)kind;
    return p;
}

void spool_pending_put(struct spool *s, struct spool_pending *p)
{
    pool_put(&s->pending_pool, p);
}

static struct spool_batch *batch_create(struct spool_log *log)
{
    struct spool_batch *b = pool_get(&log->spool->batch_pool);

    b->log = log;
    list_init(&b->node);
    list_init(&b->pendings);
    return b;
}

static void batch_close(struct spool_log *log)
{
    struct spool_batch *b = log->open;
    uint32_t end = spool_batch_padded(b);

    memset(b->data + b->len, 0, end - b->len);
    b->slot->fill = (uint32_t)(b->data - b->slot->data) + end;
    b->state = BATCH_CLOSED;
    list_push_back(&log->closed, &b->node);
    log->open = NULL;
}

static bool batch_open(struct spool_log *log, uint32_t need)
{
    struct spool *s = log->spool;

    if (!log->slot || log->slot->len - log->slot->fill < SPOOL_BATCH_HEADER_LEN + need) {
        struct spool_slot *slot = spool_slot_get(s, log);

        if (!slot)
            return false;
        if (log->slot)
            spool_slot_retire(s, log->slot);
        log->slot = slot;
    }
    struct spool_batch *b = batch_create(log);
    b->slot = log->slot;
    b->slot->batches++;
    b->data = b->slot->data + b->slot->fill;
    b->len = SPOOL_BATCH_HEADER_LEN;
    b->state = BATCH_OPEN;
    charge(b, SPOOL_BLOCK);
    log->open = b;
    return true;
}

static bool batch_fits(const struct spool_log *log, const struct spool_batch *b, uint32_t need)
{
    const struct spool_segment *seg = log->active;
    uint32_t len = b->len + need;

    if (len > log->spool->batch_max || (size_t)(b->data - b->slot->data) + len > b->slot->len)
        return false;
    /* Rather than carry everything over to the next segment, leave in this one what still fits. */
    if (b->records > 0 && seg && !seg->bad && list_empty(&log->closed)
        && spool_round_up(len, SPOOL_BLOCK) > seg->size - seg->fill
        && spool_batch_padded(b) <= seg->size - seg->fill)
        return false;
    return true;
}

uint8_t *spool_batch_reserve(struct spool_log *log, uint32_t len)
{
    return list_empty(&log->deferred) ? spool_batch_reserve_deferred(log, len) : NULL;
}

uint8_t *spool_batch_reserve_deferred(struct spool_log *log, uint32_t len)
{
    uint32_t need = (uint32_t)spool_round_up(len, SPOOL_RECORD_ALIGN);

    ASSERT(len <= log->spool->record_max);
    if (log->open && !batch_fits(log, log->open, need))
        batch_close(log);
    if (!log->open && !batch_open(log, need))
        return NULL;
    return log->open->data + log->open->len;
}

uint64_t spool_batch_add(struct spool_log *log, uint32_t len, struct spool_pending *pending)
{
    struct spool_batch *b = log->open;
    uint32_t need = (uint32_t)spool_round_up(len, SPOOL_RECORD_ALIGN);

    ASSERT(b && spool_record_len(b->data + b->len) == len);
    memset(b->data + b->len + len, 0, need - len);
    if (pending) {
        pending->at = b->len;
        pending->len = len;
        list_push_back(&b->pendings, &pending->node);
    }
    b->len += need;
    b->records++;
    b->ticket = ++log->ticket;
    charge(b, need);
    return b->ticket;
}

void spool_batch_extent(struct spool_log *log, struct spool_extent_slot *slot, uint64_t id,
                        uint32_t index, uint32_t body_len, uint32_t crc,
                        struct spool_pending *pending)
{
    struct spool_batch *b = batch_create(log);
    uint32_t len = SPOOL_RECORD_HEADER_LEN + body_len;

    b->extent = slot;
    b->data = slot->data;
    b->len = SPOOL_BATCH_HEADER_LEN + len;
    b->records = 1;
    b->state = BATCH_CLOSED;
    spool_record_seal(b->data + SPOOL_BATCH_HEADER_LEN, SPOOL_RECORD_EXTENT, len, index, id, crc);
    memset(b->data + b->len, 0, spool_batch_padded(b) - b->len);
    /* Records begin at multiples of 8 and so does what a reader expects behind the last one. */
    b->len = (uint32_t)spool_round_up(b->len, SPOOL_RECORD_ALIGN);
    pending->at = SPOOL_BATCH_HEADER_LEN;
    pending->len = len;
    pending->body_len = body_len;
    pending->index = index;
    list_push_back(&b->pendings, &pending->node);
    charge(b, spool_batch_padded(b));
    list_push_back(&log->extents, &b->node);
}

/* ---- writing ------------------------------------------------------------------------------ */

static bool has_place(const struct spool_log *log, uint32_t len)
{
    return (log->active && !log->active->bad && log->active->size - log->active->fill >= len)
           || log->next;
}

static void log_rotate(struct spool_log *log)
{
    ASSERT(log->next);
    spool_stable_leave_active(log);
    log->active = log->next;
    log->next = NULL;
    log->reap = true;
    spool_checkpoint_rotated(log);
}

/* False if there is no place now. */
static bool batch_submit(struct spool_batch *b)
{
    struct spool_log *log = b->log;
    struct spool_segment *seg = log->active;
    uint32_t len = spool_batch_padded(b);

    if (!has_place(log, len))
        return false;
    if (!seg || seg->bad || seg->size - seg->fill < len)
        log_rotate(log);
    seg = log->active;
    ASSERT(seg->size - seg->fill >= len);

    list_remove(&b->node);
    b->segment = seg;
    b->offset = seg->fill;
    seg->fill += len;
    seg->unacked++;
    if (b->sequence == 0)
        b->sequence = log->next_sequence++;
    b->id_limit = log->next_id + SPOOL_ID_AHEAD;
    b->checkpoint = log->checkpoint;
    struct spool_batch_header h = {
        .log = log->number,
        .records = b->records,
        .segment = seg->number,
        .salt = seg->salt,
        .epoch = log->epoch,
        .offset = b->offset,
        .len = b->len,
        .sequence = b->sequence,
        .stable = log->stable_sequence,
        .id_limit = b->id_limit,
        .checkpoint = b->checkpoint,
    };
    spool_batch_header_encode(&h, b->data);
    spool_batch_mask(b->data, b->len, seg->number, seg->salt, b->offset);
    b->state = BATCH_WRITING;
    b->submitted_ns = io_now_ns(log->spool->io);
    b->op.done = spool_stable_done;
    log->queued_bytes -= b->charged;
    log->since_checkpoint += len;
    log->in_flight++;
    if (!b->extent)
        log->commits_in_flight++;
    list_push_back(&log->submitted, &b->node);
    io_write(log->spool->io, &b->op, seg->fd, b->data, len, b->offset, IO_WRITE_SYNC);
    return true;
}

static bool commit_is_due(const struct spool_log *log)
{
    const struct spool_batch *open = log->open;

    if (!open && list_empty(&log->closed))
        return false;
    if (log->commits_in_flight == 0)
        return true;
    return log->commits_in_flight == 1
           && (!list_empty(&log->closed) || open->records >= SPOOL_SECOND_RECORDS
               || open->len >= SPOOL_SECOND_BYTES);
}

/* Some facts travel in batch headers only. If no record takes them along, an empty batch does. */
static bool header_is_due(const struct spool_log *log)
{
    if (log->open || log->in_flight > 0 || !list_empty(&log->closed)
        || !(log->own || log->active)) /* an adopted log that nobody writes to stays as it is */
        return false;
    return log->failed || log->checkpoint.segment != log->checkpoint_durable.segment
           || log->checkpoint.offset != log->checkpoint_durable.offset
           || log->next_id + SPOOL_ID_AHEAD / 2 > log->id_limit;
}

static bool failed_rests(const struct spool_log *log)
{
    return log->failed && (log->in_flight > 0 || io_now_ms(log->spool->io) < log->failed_until_ms);
}

static void write_what_may(struct spool_log *log)
{
    struct spool_batch *b;

    if (log->requeueing || failed_rests(log))
        return;
    while ((b = spool_batch_first(&log->requeue)) != NULL) {
        if (log->in_flight >= (log->failed ? 1 : 2) || !batch_submit(b))
            return;
    }
    if (log->failed && log->in_flight > 0)
        return;
    if (header_is_due(log))
        (void)batch_open(log, 0); /* without a slot: later */
    while ((b = spool_batch_first(&log->extents)) != NULL && batch_submit(b))
        continue;
    while (commit_is_due(log)) {
        b = spool_batch_first(&log->closed);
        if (!b) {
            if (!has_place(log, spool_batch_padded(log->open)))
                return; /* gathers on */
            b = log->open;
            batch_close(log);
        }
        if (!batch_submit(b))
            return;
    }
}

/* Something waits for a segment and none can be had. */
static bool stuck(const struct spool_log *log)
{
    bool waits = log->open || !list_empty(&log->requeue) || !list_empty(&log->closed)
                 || !list_empty(&log->extents);
    bool none = !log->next && log->job.kind != JOB_PROMOTE
                && (log->spare_count == 0 || io_now_ms(log->spool->io) < log->retry_ms);

    return waits && none && log->no_space && log->in_flight == 0 && !log->requeueing;
}

void spool_batch_step(struct spool_log *log)
{
    write_what_may(log);
    /* Outcomes can wait. Those who want to hear whether their message is safe cannot. */
    if (stuck(log))
        spool_stable_refuse_all(log, SPOOL_FULL);
}

uint64_t spool_batch_next_ms(const struct spool_log *log)
{
    /* Once that time is over it waits for a place, which is the business of files. */
    return failed_rests(log) && log->in_flight == 0 ? log->failed_until_ms : UINT64_MAX;
}

bool spool_batch_idle(const struct spool_log *log)
{
    if (log->in_flight > 0)
        return false;
    /* What a failed disk did not take is not going to be waited for at the end. */
    if ((log->failed || stuck(log)) && log->spool->stopping)
        return true;
    if (!list_empty(&log->closed) || !list_empty(&log->extents) || !list_empty(&log->requeue)
        || !list_empty(&log->submitted) || !list_empty(&log->deferred)
        || !list_empty(&log->commits))
        return false;
    /* Nor what only a header would have said: the next start finds out for itself. */
    if (log->spool->stopping)
        return !log->open || log->open->records == 0;
    return !log->open && !header_is_due(log);
}

/* ---- the end ------------------------------------------------------------------------------ */

static void free_list(struct list *l)
{
    LIST_EACH_SAFE(l, node)
    {
        struct spool_batch *b = container_of(node, struct spool_batch, node);
        struct list *pending;

        while ((pending = list_pop_front(&b->pendings)) != NULL) {
            struct spool_pending *p = container_of(pending, struct spool_pending, node);

            if (p->kind == PENDING_MESSAGE)
                spool_message_free(b->log->spool, p->message);
            spool_pending_put(b->log->spool, p);
        }
        list_remove(&b->node);
        pool_put(&b->log->spool->batch_pool, b);
    }
}

void spool_batch_free_all(struct spool_log *log)
{
    if (log->open)
        list_push_back(&log->closed, &log->open->node);
    log->open = NULL;
    free_list(&log->submitted);
    free_list(&log->requeue);
    free_list(&log->closed);
    free_list(&log->extents);
}
