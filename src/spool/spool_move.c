/*
 * spool_move: one message of a compaction moves to the head of the log.
 */
#include <errno.h>

#include "base_crc32c.h"
#include "spool_compact_priv.h"

/* ---- one move ----------------------------------------------------------------------------- */

static void record_read(struct spool_compaction *c);

/* Only those that were copied hold their segment. */
static void let_go(struct spool_extent *extents, uint32_t count)
{
    for (uint32_t i = 0; i < count && extents; i++) {
        if (extents[i].message == NULL && extents[i].segment)
            extents[i].segment->loose--;
    }
    mem_free(extents);
}

static void drop_new_extents(struct spool_compaction *c)
{
    let_go(c->extents, c->extent_count);
    c->extents = NULL;
    c->extent_count = 0;
}

static void hold_new_extents(struct spool_compaction *c, const struct spool_segment *seg)
{
    struct spool_held *held = mem_zalloc(sizeof(*held));

    held->extents = c->extents;
    held->count = c->extent_count;
    held->until = seg->number;
    list_init(&held->node);
    list_push_back(&c->held, &held->node);
    c->extents = NULL;
    c->extent_count = 0;
}

void spool_move_release_held(struct spool_compaction *c, uint64_t begins)
{
    LIST_EACH_SAFE(&c->held, node)
    {
        struct spool_held *held = container_of(node, struct spool_held, node);

        if (held->until >= begins)
            continue;
        list_remove(&held->node);
        let_go(held->extents, held->count);
        mem_free(held);
        c->log->reap = true;
    }
}

void spool_move_end(struct spool_compaction *c)
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
    spool_move_end(c);
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
    if (!c->message || spool_pins(c->message) > 0) {
        spool_move_end(c);
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

void spool_move_read_extent(struct spool_compaction *c)
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
        spool_move_end(c);
        return;
    }
    if (!c->extents) {
        /* Their `message` marks those that stay where they are. */
        c->extents = mem_dup(m->extents, m->extent_count * sizeof(*m->extents));
        c->extent_count = m->extent_count;
    }
    spool_move_read_extent(c);
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
    if (!c->message || spool_pins(c->message) > 0)
        spool_move_end(c);
    else
        extents_go_on(c);
}

void spool_compact_extent_failed(struct spool_log *log)
{
    struct spool_compaction *c = &log->compaction;

    ASSERT(c->extent_waits);
    c->extent_waits = false;
    spool_move_end(c);
}

/* ---- the record --------------------------------------------------------------------------- */

/* What a record in memory says; its header may be masked. False if it is not this message's. */
static bool record_view(const struct spool_compaction *c, const uint8_t *record,
                        struct spool_message_view *out)
{
    const struct spool_record r = {
        .type = SPOOL_RECORD_MESSAGE,
        .aux = get_le32(record + 12),
        .payload = record + SPOOL_RECORD_HEADER_LEN,
        .payload_len = c->record_len - SPOOL_RECORD_HEADER_LEN,
    };

    return spool_message_decode(&r, out) && out->recipient_count == c->message->recipient_count
           && out->extent_count == c->message->extent_count;
}

/* The record as it is to be from now on. */
static void record_copy(const struct spool_compaction *c, uint8_t *record, uint32_t len)
{
    const struct spool_message *m = c->message;
    const struct spool_extent *extents = c->extents ? c->extents : m->extents;
    struct spool_message_view v;

    memcpy(record, c->record, c->record_len);
    bool ours = record_view(c, record, &v);
    ASSERT(ours); /* it was when it was read */
    uint8_t *block = record + SPOOL_RECORD_HEADER_LEN + v.body.len;
    uint8_t *extent = block + spool_envelope_update(block, &v, m);
    for (uint32_t i = 0; i < m->extent_count; i++, extent += SPOOL_EXTENT_ENTRY)
        spool_extent_entry_encode(extents[i].segment->number, extents[i].offset,
                                  extents[i].body_len, extent);
    ASSERT(extent == record + len);
    uint32_t crc = crc32c(0, record + SPOOL_RECORD_HEADER_LEN, len - SPOOL_RECORD_HEADER_LEN);
    spool_record_seal(record, SPOOL_RECORD_MESSAGE, len, (uint32_t)v.body.len, m->id, crc);
}

/* Its terms may need a place that the old record does not have. */
static uint32_t copy_len(const struct spool_compaction *c)
{
    struct spool_message_view v;
    bool ours = record_view(c, c->record, &v);

    ASSERT(ours);
    return c->record_len + (spool_envelope_grows(&v, c->message) ? SPOOL_TERMS_LEN : 0);
}

void spool_move_append(struct spool_compaction *c)
{
    struct spool_log *log = c->log;

    if (!c->message || spool_pins(c->message) > 0) {
        spool_move_end(c);
        return;
    }
    uint32_t len = copy_len(c);
    if (len > log->spool->record_max) {
        c->message->spool_state |= SPOOL_M_STAYS; /* checkpoints keep its terms */
        spool_move_end(c);
        return;
    }
    uint8_t *place = spool_compact_affordable(log, len) ? spool_batch_reserve(log, len) : NULL;
    if (!place) {
        c->state = MOVE_APPEND; /* the next step tries again */
        return;
    }
    record_copy(c, place, len);
    struct spool_pending *p = spool_pending_get(log->spool, PENDING_MOVE);
    (void)spool_batch_add(log, len, p);
    c->message->spool_state |= SPOOL_M_APPENDED;
    c->state = MOVE_WAIT;
    log->spool->counters.compacted_bytes += len;
}

static void record_read_done(struct io_op *op)
{
    struct spool_compaction *c = container_of(op, struct spool_compaction, op);
    struct spool_record r;

    if (!read_more(c, c->memory))
        return;
    if (!c->message || spool_pins(c->message) > 0) {
        spool_move_end(c);
        return;
    }
    c->record = c->memory + c->offset % SPOOL_BLOCK;
    struct spool_message_view v;
    if (decode(c, c->record, SPOOL_RECORD_MESSAGE, &r) && !record_view(c, c->record, &v))
        c->error = -EBADMSG;
    if (c->error && spool_hot(c->message)) {
        /* What the disk has lost memory still knows. */
        report_damage(c, "copied again from memory");
        memcpy(c->memory, spool_hot(c->message), c->record_len);
        c->record = c->memory;
        c->error = 0;
    }
    if (c->error)
        move_damaged(c);
    else
        spool_move_append(c);
}

static void record_read(struct spool_compaction *c)
{
    struct spool_message *m = c->message;

    if (m->record_len > c->log->spool->record_max) {
        m->spool_state |= SPOOL_M_STAYS; /* from a time of larger batches */
        spool_move_end(c);
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
    if (spool_hot(m) && m->record_len != p->len)
        spool_message_cool(c->log->spool, m); /* memory has it as it was */
    m->record_len = p->len;
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
    spool_message_link(m, false);
}

void spool_compact_stable(struct spool_pending *p, struct spool_batch *b)
{
    struct spool_compaction *c = &b->log->compaction;

    if (p->kind == PENDING_MOVE_EXTENT) {
        extent_stable(c, p, b);
        return;
    }
    ASSERT(c->state == MOVE_WAIT);
    /* Pinned: somebody may be reading it on another shard. It stays, and so does what the copy names:
     * a recovery that begins before the copy follows it. */
    if (c->message && spool_pins(c->message) == 0)
        relocate(c, p, b);
    else if (c->extents)
        hold_new_extents(c, b->segment);
    spool_move_end(c);
}

void spool_compact_forget(struct spool_log *log, struct spool_message *m)
{
    ASSERT(log->compaction.message == m);
    log->compaction.message = NULL;
}

void spool_move_begin(struct spool_compaction *c, struct spool_message *m)
{
    ASSERT(m->segment->log == c->log && !c->extents && !c->memory);
    m->spool_state |= SPOOL_M_MOVING;
    c->message = m;
    c->id = m->id;
    c->error = 0;
    c->extent_next = 0;
    extents_go_on(c);
}
