/*
 * spool_commit: from a body that is whole to a record in a batch, and the answer.
 */
#include "base_crc32c.h"
#include "spool_writer_priv.h"

/* ---- placing a record --------------------------------------------------------------------- */

static size_t record_len(const struct spool_writer *w, size_t envelope_len)
{
    return SPOOL_RECORD_HEADER_LEN + (size_t)w->memory_len + envelope_len
           + (size_t)w->extent_count * SPOOL_EXTENT_ENTRY;
}

static struct spool_message *make_message(struct spool_writer *w, const uint8_t *block,
                                          size_t block_len, uint32_t len)
{
    struct spool_message_view v;
    bool whole = spool_envelope_decode(block, block_len, &v);

    ASSERT(whole && v.body_len == w->body_len); /* our own work */
    struct spool_message *m = spool_message_create(w->spool, v.recipient_count);
    m->id = w->id;
    m->record_len = len;
    spool_message_take(m, &v);
    m->extent_count = w->extent_count;
    m->extents = w->extents;
    w->extents = NULL;
    w->extent_count = w->extent_capacity = 0;
    return m;
}

static void append(struct spool_writer *w, const struct spool_envelope *envelope,
                   size_t envelope_len, uint8_t *record)
{
    uint32_t len = (uint32_t)record_len(w, envelope_len);
    uint8_t *block = record + SPOOL_RECORD_HEADER_LEN + w->memory_len;
    uint8_t *at = block + envelope_len;

    if (w->memory_len > 0)
        memcpy(record + SPOOL_RECORD_HEADER_LEN, w->memory, w->memory_len);
    if (envelope)
        spool_envelope_encode(envelope, block);
    else
        memcpy(block, w->envelope, envelope_len);
    spool_envelope_set_body(block, w->body_len, w->extent_count);
    spool_envelope_seal(block, envelope_len, w->id);
    for (uint32_t i = 0; i < w->extent_count; i++, at += SPOOL_EXTENT_ENTRY) {
        const struct spool_extent *e = &w->extents[i];

        spool_extent_entry_encode(e->segment->number, e->offset, e->body_len, at);
    }
    ASSERT(at == record + len);
    spool_record_seal(record, SPOOL_RECORD_MESSAGE, len, w->memory_len, w->id,
                      crc32c(w->crc, block, (size_t)(at - block)));

    struct spool_pending *p = spool_pending_get(w->spool, PENDING_MESSAGE);
    p->writer = w;
    p->message = w->pending = make_message(w, block, (size_t)(at - block), len);
    (void)spool_batch_add(spool_writer_log(w), len, p);
    spool_writer_release(w);
    mem_free(w->envelope);
    w->envelope = NULL;
    w->state = WRITER_PENDING;
}

/* The last part does not go into the record: a short extent instead. */
static enum placed place_extent(struct spool_writer *w, bool queued)
{
    if (!queued)
        return PLACE_LATER; /* its envelope is not copied yet */
    if (w->memory_kind != MEMORY_SLOT && !spool_writer_take_slot(w))
        return PLACE_NEEDS_SLOT;
    spool_writer_submit_extent(w);
    return PLACED;
}

static bool fits(const struct spool_writer *w, size_t len, uint32_t recipients)
{
    /* Its entry in a checkpoint must fit a record as well. */
    size_t entry = SPOOL_RECORD_HEADER_LEN + SPOOL_PART_TEXT + SPOOL_OUTCOME_TEXT_MAX
                   + spool_part_entry_len(recipients, w->extent_count);

    return len <= w->spool->record_max && entry <= w->spool->record_max
           && w->extent_count <= SPOOL_EXTENTS_MAX;
}

/* One step nearer to a record in a batch. `envelope` is NULL if the writer holds its copy. */
enum placed spool_commit_place(struct spool_writer *w, const struct spool_envelope *envelope,
                               size_t envelope_len)
{
    struct spool_log *log = spool_writer_log(w);
    size_t len = record_len(w, envelope_len);
    bool out =
        w->memory_len > w->spool->inline_max || (len > w->spool->record_max && w->memory_len > 0);

    if (log->failed || w->failure) {
        spool_writer_end_failed(w, log->failed ? SPOOL_FAILED : w->failure);
        return PLACED;
    }
    if (!spool_room(log, out ? spool_writer_extent_need(w) : SPOOL_BATCH_HEADER_LEN + len)) {
        if (!log->no_space)
            return PLACE_LATER;
        spool_writer_end_failed(w, SPOOL_FULL);
        return PLACED;
    }
    if (out) {
        enum placed placed = place_extent(w, envelope == NULL);

        if (placed != PLACED)
            return placed;
    }
    if (w->extents_in_flight > 0) {
        if (envelope)
            return PLACE_LATER;
        w->state = WRITER_EXTENTS;
        list_push_back(&log->draining, &w->node);
        w->listed = true;
        return PLACED;
    }
    if (!fits(w, len, envelope ? envelope->recipient_count : get_le32(w->envelope + 16))) {
        spool_writer_end_failed(w, SPOOL_TOO_BIG);
        return PLACED;
    }
    uint8_t *record = spool_batch_reserve(log, (uint32_t)len);
    if (!record)
        return PLACE_LATER;
    append(w, envelope, envelope_len, record);
    return PLACED;
}

void spool_commit_queue(struct spool_writer *w)
{
    w->state = WRITER_QUEUED;
    list_push_back(&spool_writer_log(w)->commits, &w->node);
    w->listed = true;
}

void spool_commit_step(struct spool_log *log)
{
    LIST_EACH_SAFE(&log->commits, node)
    {
        struct spool_writer *w = container_of(node, struct spool_writer, node);
        struct list *before = node->prev;

        spool_writer_unlist(w);
        enum placed placed = spool_commit_place(w, NULL, w->envelope_len);
        if (placed == PLACED)
            continue;
        list_insert_after(before, &w->node);
        w->listed = true;
        /* One that needs an extent slot does not stand in the way of those that hold one. */
        if (placed == PLACE_LATER)
            return;
    }
}

/* ---- what the log reports ----------------------------------------------------------------- */

void spool_writer_extent_stable(struct spool_pending *p, struct spool_batch *b)
{
    struct spool_writer *w = p->writer;

    if (!w)
        return;
    ASSERT(w->extents_in_flight > 0 && p->index == w->extent_count);
    if (w->extent_count == w->extent_capacity) {
        w->extent_capacity = w->extent_capacity ? 2 * w->extent_capacity : 8;
        w->extents = mem_realloc(w->extents, w->extent_capacity * sizeof(*w->extents));
    }
    w->extents[w->extent_count++] = (struct spool_extent){
        .segment = b->segment,
        .offset = b->offset + p->at,
        .body_len = p->body_len,
    };
    b->segment->loose++;
    w->extents_in_flight--;
    if (w->state == WRITER_EXTENTS && w->extents_in_flight == 0) {
        spool_writer_unlist(w);
        spool_commit_queue(w); /* the next step places it */
    }
}

void spool_writer_stable(struct spool_pending *p, struct spool_batch *b)
{
    struct spool_writer *w = p->writer;
    struct spool_message *m = p->message;
    struct spool *s = w->spool;

    m->segment = b->segment;
    m->offset = b->offset + p->at;
    spool_message_heat(s, m, b->slot, b->data + p->at);
    spool_writer_loosen(m->segment->log, m->extents, m->extent_count);
    spool_message_insert(s, m);
    spool_message_link(m, true);
    s->counters.messages_committed++;
    w->message = m;
    w->pending = NULL;
    w->state = WRITER_IDLE;
    w->done(w, SPOOL_OK);
}

void spool_writer_pending_fail(struct spool_pending *p, enum spool_result result)
{
    struct spool_writer *w = p->writer;

    if (!w)
        return; /* aborted meanwhile */
    if (p->kind == PENDING_MESSAGE) {
        spool_writer_loosen(spool_writer_log(w), p->message->extents, p->message->extent_count);
        spool_message_free(w->spool, p->message);
        w->pending = NULL;
        spool_writer_end_failed(w, result);
    } else if (w->state == WRITER_EXTENTS || w->state == WRITER_QUEUED) {
        spool_writer_end_failed(w, result);
    } else {
        spool_writer_drop_extents(w);
        w->failure = result;
    }
}

void spool_writers_fail(struct spool_log *log, enum spool_result result)
{
    while (!list_empty(&log->commits))
        spool_writer_end_failed(container_of(log->commits.next, struct spool_writer, node), result);
    log->spool->wake = true;
}

void spool_writers_finish(struct spool *s)
{
    struct list finished;
    struct list *node;

    list_init(&finished);
    list_splice_back(&finished, &s->finished); /* those that fail anew have their turn later */
    while ((node = list_pop_front(&finished)) != NULL) {
        struct spool_writer *w = container_of(node, struct spool_writer, node);

        w->listed = false;
        w->state = WRITER_IDLE;
        w->message = NULL;
        w->done(w, w->failure);
    }
}
