/*
 * spool_compact: the living leave a segment that is mostly dead. One message at a time: its record is
 * read back and checked, or taken from memory while hot, and appended again with its recipients'
 * present states; parts of a large body are copied as extents first. When the copy is stable the
 * message lives there. Nothing waits for this, and whatever happens to the message meanwhile wins:
 * if it dies the copy is dead bytes, if it is pinned it stays where it is.
 *
 * A segment in which a sync failed is emptied first of all, which reads back whatever was acknowledged
 * there before.
 */
#include <errno.h>

#include "base_crc32c.h"
#include "spool_priv.h"

enum { SEGMENTS_MIN = 4, LOOK_MS = 100, RETRY_MS = 10000 };

/* ---- choosing ----------------------------------------------------------------------------- */

static bool eligible(const struct spool_segment *seg, uint64_t now)
{
    const struct spool_log *log = seg->log;

    return seg != log->active && seg != log->next && seg->live_records > 0 && seg->unacked == 0
           && seg->loose == 0 && seg->compact_after_ms <= now
           && (seg->bad || seg->number < log->checkpoint_durable.segment);
}

static bool wasteful(const struct spool_log *log)
{
    uint64_t used = 0;
    uint32_t count = 0;

    LIST_EACH(&log->segments, node)
    {
        const struct spool_segment *seg = container_of(node, struct spool_segment, node);

        if (seg == log->active || seg == log->next)
            continue;
        used += seg->size;
        count++;
    }
    return log->no_space || (count >= SEGMENTS_MIN && log->live_bytes < used / 2);
}

static struct spool_segment *choose(struct spool_log *log)
{
    uint64_t now = io_now_ms(log->spool->io);
    struct spool_segment *best = NULL;
    bool waste = wasteful(log);

    LIST_EACH(&log->segments, node)
    {
        struct spool_segment *seg = container_of(node, struct spool_segment, node);

        if (!eligible(seg, now))
            continue;
        if (seg->bad)
            return seg;
        if (waste && seg->live_bytes < seg->size / 4 * 3
            && (!best || seg->live_bytes < best->live_bytes))
            best = seg;
    }
    return best;
}

/* Moving costs room before it makes room. */
static bool affordable(const struct spool_log *log, uint64_t bytes)
{
    if (!log->active || log->failed)
        return false;
    uint64_t left = log->active->size - log->active->fill;

    /* With the reserve alone, not so much that outcomes have to turn to it. */
    return spool_free_segments(log) > spool_reserve(log)
           || bytes + log->queued_bytes + log->state_bytes + log->active->size / 4 <= left;
}

static struct spool_message *next_of(struct list *l)
{
    LIST_EACH(l, node)
    {
        struct spool_message *m = container_of(node, struct spool_message, in_segment);

        if (m->pins == 0 && !(m->spool_state & SPOOL_M_STAYS))
            return m;
    }
    return NULL;
}

static struct spool_message *next_message(struct spool_segment *seg)
{
    struct spool_message *m = next_of(&seg->messages);

    if (!m)
        m = next_of(&seg->checkpointed);
    if (m)
        return m;
    LIST_EACH(&seg->extents, node)
    {
        m = container_of(node, struct spool_extent, in_segment)->message;
        if (m->pins == 0 && !(m->spool_state & SPOOL_M_STAYS))
            return m;
    }
    return NULL;
}

/* ---- one move ----------------------------------------------------------------------------- */

static void extent_read(struct spool_compaction *c);
static void record_read(struct spool_compaction *c);

static void drop_new_extents(struct spool_compaction *c)
{
    for (uint32_t i = 0; i < c->extent_count && c->extents; i++) {
        struct spool_extent *e = &c->extents[i];

        /* Only those that were copied hold their segment. */
        if (e->message == NULL && e->segment)
            e->segment->loose--;
    }
    mem_free(c->extents);
    c->extents = NULL;
    c->extent_count = 0;
}

static void move_end(struct spool_compaction *c)
{
    ASSERT(!io_op_busy(&c->op) && !c->extent_waits);
    if (c->message)
        c->message->spool_state &= (uint8_t) ~(SPOOL_M_MOVING | SPOOL_M_APPENDED);
    if (c->slot)
        spool_extent_slot_put(c->log->spool, c->slot);
    drop_new_extents(c);
    mem_free(c->memory);
    c->slot = NULL;
    c->memory = NULL;
    c->message = NULL;
    c->record = NULL;
    c->state = MOVE_NONE;
    c->log->reap = true;
}

static void report_damage(const struct spool_compaction *c, const char *action)
{
    struct log_record r;

    log_begin(&r, LOG_ERROR, "spool_message_damaged");
    log_id(&r, "message", c->id);
    log_u64(&r, "log", c->log->number);
    log_u64(&r, "segment", c->segment->number);
    log_u64(&r, "offset", c->offset);
    log_errno(&r, -c->error);
    log_str(&r, "action", action);
    log_end(&r);
}

static void move_damaged(struct spool_compaction *c)
{
    if (c->message) {
        report_damage(c, "left where it is");
        c->message->spool_state |= SPOOL_M_STAYS;
    }
    move_end(c);
}

/* True when the range is all there. */
static bool read_more(struct spool_compaction *c, uint8_t *to)
{
    uint32_t from = c->offset / SPOOL_BLOCK * SPOOL_BLOCK;
    uint32_t want = (uint32_t)spool_round_up(c->offset + c->len - from, SPOOL_BLOCK);
    int progress = spool_read_progress(c->op.res, want, &c->got);

    if (progress == 1)
        io_read(c->log->spool->io, &c->op, c->segment->fd, to + c->got, want - c->got,
                from + c->got);
    c->error = progress < 0 ? progress : 0;
    return progress <= 0;
}

static void read_begin(struct spool_compaction *c, const struct spool_segment *seg, uint32_t offset,
                       uint32_t len, uint8_t *to, void (*done)(struct io_op *))
{
    uint32_t from = offset / SPOOL_BLOCK * SPOOL_BLOCK;

    c->segment = seg;
    c->offset = offset;
    c->len = len;
    c->got = 0;
    c->op.done = done;
    io_read(c->log->spool->io, &c->op, seg->fd, to,
            (size_t)spool_round_up(offset + len - from, SPOOL_BLOCK), from);
}

static bool decode(struct spool_compaction *c, const uint8_t *at, uint8_t type,
                   struct spool_record *out)
{
    if (c->error == 0
        && (!spool_record_decode(at, c->len, spool_segment_mask(c->segment, c->offset), out)
            || out->type != type || out->id != c->id || out->len != c->len))
        c->error = -EBADMSG;
    return c->error == 0;
}

/* ---- extents ------------------------------------------------------------------------------ */

static void extent_read_done(struct io_op *op)
{
    struct spool_compaction *c = container_of(op, struct spool_compaction, op);
    struct spool_record r;
    uint8_t *record = c->slot->data + c->offset % SPOOL_BLOCK;

    if (!read_more(c, c->slot->data))
        return;
    if (!c->message || c->message->pins > 0) {
        move_end(c);
        return;
    }
    if (!decode(c, record, SPOOL_RECORD_EXTENT, &r)) {
        move_damaged(c);
        return;
    }
    /* As written by spool_batch_extent() it stands right behind a batch header, so here as well. */
    ASSERT(c->offset % SPOOL_BLOCK == SPOOL_BATCH_HEADER_LEN);
    struct spool_pending *p = spool_pending_get(c->log->spool, PENDING_MOVE_EXTENT);
    uint32_t index = c->extent_next;
    spool_batch_extent(c->log, c->slot, c->id, index, r.payload_len,
                       crc32c(0, r.payload, r.payload_len), p);
    c->slot = NULL;
    c->extent_waits = true;
    c->state = MOVE_WAIT_EXTENT;
    c->log->spool->counters.compacted_bytes += r.payload_len;
}

static void extent_read(struct spool_compaction *c)
{
    const struct spool_extent *e = &c->message->extents[c->extent_next];

    c->state = MOVE_WAIT_EXTENT;
    c->slot = spool_extent_slot_get(c->log->spool);
    if (!c->slot)
        return; /* the next step tries again */
    c->state = MOVE_READ_EXTENT;
    read_begin(c, e->segment, e->offset, SPOOL_RECORD_HEADER_LEN + e->body_len, c->slot->data,
               extent_read_done);
}

static bool extent_fits(const struct spool *s, const struct spool_extent *e)
{
    return e->body_len <= s->extent_body_max && e->offset % SPOOL_BLOCK == SPOOL_BATCH_HEADER_LEN;
}

/* The next part of the body that lies in the victim. */
static void extents_go_on(struct spool_compaction *c)
{
    struct spool_message *m = c->message;

    while (c->extent_next < m->extent_count && m->extents[c->extent_next].segment != c->victim)
        c->extent_next++;
    if (c->extent_next == m->extent_count) {
        record_read(c);
        return;
    }
    if (!extent_fits(c->log->spool, &m->extents[c->extent_next])) {
        m->spool_state |= SPOOL_M_STAYS; /* from a time of larger slots */
        move_end(c);
        return;
    }
    if (!c->extents) {
        /* Their `message` marks those that stay where they are. */
        c->extents = mem_dup(m->extents, m->extent_count * sizeof(*m->extents));
        c->extent_count = m->extent_count;
    }
    extent_read(c);
}

static void extent_stable(struct spool_compaction *c, struct spool_pending *p,
                          struct spool_batch *b)
{
    struct spool_extent *e = &c->extents[p->index];

    ASSERT(c->extent_waits && p->index == c->extent_next);
    c->extent_waits = false;
    e->segment = b->segment;
    e->offset = b->offset + p->at;
    e->message = NULL;
    b->segment->loose++;
    c->extent_next++;
    if (!c->message || c->message->pins > 0)
        move_end(c);
    else
        extents_go_on(c);
}

void spool_compact_extent_failed(struct spool_log *log)
{
    struct spool_compaction *c = &log->compaction;

    ASSERT(c->extent_waits);
    c->extent_waits = false;
    move_end(c);
}

/* ---- the record --------------------------------------------------------------------------- */

/* Changes a record in place to what is true now. */
static void record_update(struct spool_compaction *c, uint8_t *record)
{
    const struct spool_message *m = c->message;
    uint32_t body_len = get_le32(record + 12); /* aux */
    uint8_t *block = record + SPOOL_RECORD_HEADER_LEN + body_len;
    uint8_t *row = block + SPOOL_ENVELOPE_FIXED;
    uint8_t *extent = record + c->record_len - m->extent_count * SPOOL_EXTENT_ENTRY;
    const struct spool_extent *extents = c->extents ? c->extents : m->extents;

    for (uint32_t i = 0; i < m->recipient_count; i++, row += SPOOL_ENVELOPE_RECIPIENT)
        spool_recipient_state_encode(&m->recipients[i], row);
    for (uint32_t i = 0; i < m->extent_count; i++, extent += SPOOL_EXTENT_ENTRY)
        spool_extent_entry_encode(extents[i].segment->number, extents[i].offset,
                                  extents[i].body_len, extent);
    uint32_t crc =
        crc32c(0, record + SPOOL_RECORD_HEADER_LEN, c->record_len - SPOOL_RECORD_HEADER_LEN);
    spool_record_seal(record, SPOOL_RECORD_MESSAGE, c->record_len, body_len, m->id, crc);
}

static void record_append(struct spool_compaction *c)
{
    struct spool_log *log = c->log;

    if (!c->message || c->message->pins > 0) {
        move_end(c);
        return;
    }
    uint8_t *place =
        affordable(log, c->record_len) ? spool_batch_reserve(log, c->record_len) : NULL;
    if (!place) {
        c->state = MOVE_APPEND; /* the next step tries again */
        return;
    }
    memcpy(place, c->record, c->record_len);
    record_update(c, place);
    struct spool_pending *p = spool_pending_get(log->spool, PENDING_MOVE);
    (void)spool_batch_add(log, c->record_len, p);
    c->message->spool_state |= SPOOL_M_APPENDED;
    c->state = MOVE_WAIT;
    log->spool->counters.compacted_bytes += c->record_len;
}

static bool record_matches(const struct spool_compaction *c, const struct spool_record *r)
{
    struct spool_message_view v;

    return spool_message_decode(r, &v) && v.recipient_count == c->message->recipient_count
           && v.extent_count == c->message->extent_count;
}

static void record_read_done(struct io_op *op)
{
    struct spool_compaction *c = container_of(op, struct spool_compaction, op);
    struct spool_record r;

    if (!read_more(c, c->memory))
        return;
    if (!c->message || c->message->pins > 0) {
        move_end(c);
        return;
    }
    c->record = c->memory + c->offset % SPOOL_BLOCK;
    if (decode(c, c->record, SPOOL_RECORD_MESSAGE, &r) && !record_matches(c, &r))
        c->error = -EBADMSG;
    if (c->error && c->message->hot) {
        /* What the disk has lost memory still knows. */
        report_damage(c, "copied again from memory");
        memcpy(c->memory, c->message->hot, c->record_len);
        c->record = c->memory;
        c->error = 0;
    }
    if (c->error)
        move_damaged(c);
    else
        record_append(c);
}

static void record_read(struct spool_compaction *c)
{
    struct spool_message *m = c->message;

    if (m->record_len > c->log->spool->record_max) {
        m->spool_state |= SPOOL_M_STAYS; /* from a time of larger batches */
        move_end(c);
        return;
    }
    c->record_len = m->record_len;
    uint32_t from = m->offset / SPOOL_BLOCK * SPOOL_BLOCK;
    c->memory_len = (uint32_t)spool_round_up(m->offset + m->record_len - from, SPOOL_BLOCK);
    c->memory = mem_alloc_aligned(SPOOL_BLOCK, c->memory_len);
    c->state = MOVE_READ_RECORD;
    read_begin(c, m->segment, m->offset, m->record_len, c->memory, record_read_done);
}

/* The copy is stable: the message lives there now. */
static void relocate(struct spool_compaction *c, const struct spool_pending *p,
                     const struct spool_batch *b)
{
    struct spool_message *m = c->message;

    spool_message_unlink(m, 0);
    m->segment = b->segment;
    m->offset = b->offset + p->at;
    if (c->extents) {
        struct spool_extent *old = m->extents;

        for (uint32_t i = 0; i < c->extent_count; i++) {
            if (c->extents[i].message == NULL)
                c->extents[i].segment->loose--;
        }
        m->extents = c->extents;
        c->extents = NULL;
        mem_free(old);
    }
    spool_message_link(m);
}

void spool_compact_stable(struct spool_pending *p, struct spool_batch *b)
{
    struct spool_compaction *c = &b->log->compaction;

    if (p->kind == PENDING_MOVE_EXTENT) {
        extent_stable(c, p, b);
        return;
    }
    ASSERT(c->state == MOVE_WAIT);
    /* Pinned: somebody may be reading it on another shard. It stays; the copy is found by a recovery
     * only as long as no checkpoint says otherwise, and then it is as good. */
    if (c->message && c->message->pins == 0)
        relocate(c, p, b);
    move_end(c);
}

void spool_compact_forget(struct spool_log *log, struct spool_message *m)
{
    ASSERT(log->compaction.message == m);
    log->compaction.message = NULL;
}

/* ---- each pass ---------------------------------------------------------------------------- */

static void move_begin(struct spool_compaction *c, struct spool_message *m)
{
    ASSERT(m->segment->log == c->log && !c->extents && !c->memory);
    m->spool_state |= SPOOL_M_MOVING;
    c->message = m;
    c->id = m->id;
    c->error = 0;
    c->extent_next = 0;
    extents_go_on(c);
}

static void victim_step(struct spool_compaction *c)
{
    struct spool_log *log = c->log;
    uint64_t now = io_now_ms(log->spool->io);

    if (!c->victim) {
        if (now < c->pause_until_ms)
            return;
        c->victim = choose(log);
        if (!c->victim) {
            c->pause_until_ms = now + LOOK_MS; /* looking goes over all segments */
            return;
        }
    }
    struct spool_message *m = next_message(c->victim);
    if (m && affordable(log, c->victim->bad ? m->record_len : c->victim->live_bytes)) {
        move_begin(c, m);
        return;
    }
    /* Empty; or what is left is pinned or damaged; or there is no room: later. */
    c->victim->compact_after_ms = now + (c->victim->live_records > 0 ? RETRY_MS : 0);
    c->victim = NULL;
    log->reap = true;
}

void spool_compact_step(struct spool_log *log)
{
    struct spool_compaction *c = &log->compaction;

    switch (c->state) {
    case MOVE_NONE:
        if (!log->spool->stopping && log->active && !log->failed)
            victim_step(c);
        return;
    case MOVE_WAIT_EXTENT:
        if (c->extent_waits)
            return;
        if (!c->message || c->message->pins > 0 || log->spool->stopping)
            move_end(c);
        else
            extent_read(c);
        return;
    case MOVE_APPEND:
        if (log->spool->stopping)
            move_end(c);
        else
            record_append(c);
        return;
    case MOVE_READ_EXTENT:
    case MOVE_READ_RECORD:
    case MOVE_WAIT: return;
    }
}

uint64_t spool_compact_next_ms(const struct spool_log *log)
{
    const struct spool_compaction *c = &log->compaction;

    if (log->spool->stopping || log->failed || !log->active)
        return UINT64_MAX; /* what ends that makes a pass of its own */
    if (c->victim && c->state == MOVE_NONE)
        return io_now_ms(log->spool->io);
    if (c->state == MOVE_APPEND || (c->state == MOVE_WAIT_EXTENT && !c->extent_waits))
        return io_now_ms(log->spool->io) + LOOK_MS;
    return UINT64_MAX;
}

bool spool_compact_idle(const struct spool_log *log)
{
    const struct spool_compaction *c = &log->compaction;

    return !io_op_busy(&c->op) && (c->state == MOVE_NONE || log->spool->stopping);
}

bool spool_compact_uses(const struct spool_log *log, const struct spool_segment *seg)
{
    const struct spool_compaction *c = &log->compaction;

    return c->victim == seg || (io_op_busy(&c->op) && c->segment == seg);
}

void spool_compact_free(struct spool_log *log)
{
    struct spool_compaction *c = &log->compaction;

    mem_free(c->memory);
    mem_free(c->extents);
    c->memory = NULL;
    c->extents = NULL;
}
