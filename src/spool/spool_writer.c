/*
 * spool_writer: bodies in, messages out.
 *
 * A body grows in ordinary memory of 8 KiB, then 64 KiB; what is larger moves to an extent slot, from
 * where it is written whenever the slot is full, while the next one fills. The checksum is taken while
 * copying. At the commit what is left in memory and the envelope become one record in the log's open
 * batch, once all its extents are stable.
 *
 * Under pressure memory is taken from those that have not written for a while: what they have goes
 * out as a short extent.
 */
#include "base_crc32c.h"
#include "spool_priv.h"

enum writer_state {
    WRITER_IDLE,
    WRITER_FILLING,
    WRITER_EXTENTS, /* commit asked for; extents are in flight */
    WRITER_QUEUED,  /* ... in line for a place in a batch */
    WRITER_PENDING, /* ... record is in a batch */
    WRITER_FINISHED /* failed; `done` follows in the next step */
};

enum memory_kind {
    MEMORY_NONE,
    MEMORY_SMALL,
    MEMORY_MEDIUM,
    MEMORY_SLOT,
    MEMORY_BORROWED,
    MEMORY_OWNED
};

enum { WAKE_MIN = 16, FLUSH_MAX = 4, NEED_DEFAULT = 16 << 10 };

static struct spool_log *log_of(const struct spool_writer *w)
{
    return w->spool->own;
}

/* ---- memory ------------------------------------------------------------------------------- */

static void unlist(struct spool_writer *w)
{
    if (w->listed)
        list_remove(&w->node);
    if (w->waits)
        list_remove(&w->waiting);
    w->listed = w->waits = false;
}

static void touch(struct spool_writer *w)
{
    list_remove(&w->node);
    list_push_back(&w->spool->writers, &w->node);
    w->listed = true;
    w->used_ms = io_now_ms(w->spool->io);
}

static void set_memory(struct spool_writer *w, enum memory_kind kind, uint8_t *memory,
                       uint32_t capacity)
{
    w->memory_kind = (uint8_t)kind;
    w->memory = memory;
    w->memory_capacity = capacity;
}

static void release_memory(struct spool_writer *w)
{
    switch ((enum memory_kind)w->memory_kind) {
    case MEMORY_SMALL: spool_body_put(w->spool, w->memory, SPOOL_SMALL); break;
    case MEMORY_MEDIUM: spool_body_put(w->spool, w->memory, SPOOL_MEDIUM); break;
    case MEMORY_SLOT: spool_extent_slot_put(w->spool, w->slot); break;
    case MEMORY_OWNED: mem_free(w->memory); break;
    case MEMORY_BORROWED:
    case MEMORY_NONE: break;
    }
    w->slot = NULL;
    set_memory(w, MEMORY_NONE, NULL, 0);
    w->memory_len = 0;
}

static bool take_slot(struct spool_writer *w)
{
    struct spool_extent_slot *slot = spool_extent_slot_get(w->spool);

    if (!slot)
        return false;
    if (w->memory_len > 0)
        memcpy(slot->data + SPOOL_EXTENT_HEAD, w->memory, w->memory_len);
    uint32_t len = w->memory_len;
    release_memory(w);
    w->slot = slot;
    set_memory(w, MEMORY_SLOT, slot->data + SPOOL_EXTENT_HEAD, w->spool->extent_body_max);
    w->memory_len = len;
    return true;
}

static bool take_body(struct spool_writer *w, enum memory_kind kind)
{
    uint32_t capacity = kind == MEMORY_SMALL ? SPOOL_SMALL : SPOOL_MEDIUM;
    uint8_t *memory = spool_body_get(w->spool, capacity);

    if (!memory)
        return false;
    capacity = capacity < w->spool->inline_max ? capacity : w->spool->inline_max;
    if (w->memory_len > 0)
        memcpy(memory, w->memory, w->memory_len);
    uint32_t len = w->memory_len;
    release_memory(w);
    set_memory(w, kind, memory, capacity);
    w->memory_len = len;
    return true;
}

/* ---- extents ------------------------------------------------------------------------------ */

static uint64_t extent_need(const struct spool_writer *w)
{
    return SPOOL_EXTENT_HEAD + (uint64_t)w->memory_len;
}

/* What is in the slot goes out. */
static void submit_extent(struct spool_writer *w)
{
    struct spool_pending *p = spool_pending_get(w->spool, PENDING_EXTENT);

    ASSERT(w->memory_kind == MEMORY_SLOT && w->memory_len > 0);
    p->writer = w;
    spool_batch_extent(log_of(w), w->slot, w->id, w->extent_count + w->extents_in_flight,
                       w->memory_len, w->crc, p);
    w->extents_in_flight++;
    w->slot = NULL;
    set_memory(w, MEMORY_NONE, NULL, 0);
    w->memory_len = 0;
    w->crc = 0;
}

static void detach_list(struct list *batches, struct spool_writer *w)
{
    LIST_EACH(batches, node)
    {
        struct spool_batch *b = container_of(node, struct spool_batch, node);

        if (!b->extent)
            continue;
        LIST_EACH(&b->pendings, pending)
        {
            struct spool_pending *p = container_of(pending, struct spool_pending, node);

            if (p->writer == w)
                p->writer = NULL;
        }
    }
}

static void loosen(struct spool_log *log, const struct spool_extent *extents, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(extents[i].segment->loose > 0);
        extents[i].segment->loose--;
    }
    log->reap = true;
}

/* Its extents are nobody's: dead bytes. */
static void drop_extents(struct spool_writer *w)
{
    struct spool_log *log = log_of(w);

    if (w->extents_in_flight > 0) {
        detach_list(&log->submitted, w);
        detach_list(&log->requeue, w);
        detach_list(&log->extents, w);
    }
    loosen(log, w->extents, w->extent_count);
    mem_free(w->extents);
    w->extents = NULL;
    w->extent_count = w->extent_capacity = w->extents_in_flight = 0;
}

static void end_failed(struct spool_writer *w, enum spool_result result)
{
    unlist(w);
    release_memory(w);
    drop_extents(w);
    mem_free(w->envelope);
    w->envelope = NULL;
    w->failure = result;
    w->state = WRITER_FINISHED;
    list_push_back(&w->spool->finished, &w->node);
    w->listed = true;
}

/* ---- placing a record --------------------------------------------------------------------- */

static size_t record_len(const struct spool_writer *w, size_t envelope_len)
{
    return SPOOL_RECORD_HEADER_LEN + (size_t)w->memory_len + envelope_len
           + (size_t)w->extent_count * SPOOL_EXTENT_ENTRY;
}

static struct spool_message *make_message(struct spool_writer *w, const uint8_t *block,
                                          uint32_t len)
{
    struct spool_message *m = spool_message_create(w->spool, get_le32(block + 16));

    m->id = w->id;
    m->record_len = len;
    m->arrived_s = get_le32(block + 4);
    m->flags = get_le16(block);
    m->body_len = w->body_len;
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
        spool_envelope_encode(envelope, w->body_len, w->extent_count, block);
    else
        memcpy(block, w->envelope, envelope_len);
    spool_envelope_set_body(block, w->body_len, w->extent_count);
    for (uint32_t i = 0; i < w->extent_count; i++, at += SPOOL_EXTENT_ENTRY) {
        const struct spool_extent *e = &w->extents[i];

        spool_extent_entry_encode(e->segment->number, e->offset, e->body_len, at);
    }
    ASSERT(at == record + len);
    spool_record_seal(record, SPOOL_RECORD_MESSAGE, len, w->memory_len, w->id,
                      crc32c(w->crc, block, (size_t)(at - block)));

    struct spool_pending *p = spool_pending_get(w->spool, PENDING_MESSAGE);
    p->writer = w;
    p->message = w->pending = make_message(w, block, len);
    (void)spool_batch_add(log_of(w), len, p);
    release_memory(w);
    mem_free(w->envelope);
    w->envelope = NULL;
    w->state = WRITER_PENDING;
}

enum placed { PLACED, PLACE_LATER, PLACE_NEEDS_SLOT };

/* The last part does not go into the record: a short extent instead. */
static enum placed place_extent(struct spool_writer *w, bool queued)
{
    if (!queued)
        return PLACE_LATER; /* its envelope is not copied yet */
    if (w->memory_kind != MEMORY_SLOT && !take_slot(w))
        return PLACE_NEEDS_SLOT;
    submit_extent(w);
    return PLACED;
}

static bool fits(const struct spool_writer *w, size_t len, uint32_t recipients)
{
    /* Its entry in a checkpoint must fit a record as well. */
    size_t entry = SPOOL_RECORD_HEADER_LEN + spool_part_entry_len(recipients, w->extent_count);

    return len <= w->spool->record_max && entry <= w->spool->record_max
           && w->extent_count <= SPOOL_EXTENTS_MAX;
}

/* One step nearer to a record in a batch. `envelope` is NULL if the writer holds its copy. */
static enum placed place(struct spool_writer *w, const struct spool_envelope *envelope,
                         size_t envelope_len)
{
    struct spool_log *log = log_of(w);
    size_t len = record_len(w, envelope_len);
    bool out =
        w->memory_len > w->spool->inline_max || (len > w->spool->record_max && w->memory_len > 0);

    if (log->failed || w->failure) {
        end_failed(w, log->failed ? SPOOL_FAILED : w->failure);
        return PLACED;
    }
    if (!spool_room(log, out ? extent_need(w) : SPOOL_BATCH_HEADER_LEN + len)) {
        if (!log->no_space)
            return PLACE_LATER;
        end_failed(w, SPOOL_FULL);
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
        end_failed(w, SPOOL_TOO_BIG);
        return PLACED;
    }
    uint8_t *record = spool_batch_reserve(log, (uint32_t)len);
    if (!record)
        return PLACE_LATER;
    append(w, envelope, envelope_len, record);
    return PLACED;
}

static void queue_commit(struct spool_writer *w)
{
    w->state = WRITER_QUEUED;
    list_push_back(&log_of(w)->commits, &w->node);
    w->listed = true;
}

static void place_queued(struct spool_log *log)
{
    LIST_EACH_SAFE(&log->commits, node)
    {
        struct spool_writer *w = container_of(node, struct spool_writer, node);
        struct list *before = node->prev;

        unlist(w);
        enum placed placed = place(w, NULL, w->envelope_len);
        if (placed == PLACED)
            continue;
        list_insert_after(before, &w->node);
        w->listed = true;
        /* One that needs an extent slot does not stand in the way of those that hold one. */
        if (placed == PLACE_LATER)
            return;
    }
}

/* ---- the face ----------------------------------------------------------------------------- */

static enum spool_result intake(const struct spool *s, uint64_t need)
{
    const struct spool_log *log = s->own;

    if (log->failed)
        return SPOOL_FAILED;
    if (log->next_id >= log->id_limit || (log->no_space && !spool_room(log, need)))
        return SPOOL_FULL;
    return SPOOL_OK;
}

enum spool_result spool_intake(const struct spool *s)
{
    return intake(s, NEED_DEFAULT);
}

enum spool_result spool_writer_begin(struct spool *s, struct spool_writer *w, uint64_t size_hint)
{
    enum spool_result result = intake(s, size_hint + NEED_DEFAULT);

    ASSERT(w->state == WRITER_IDLE);
    if (result != SPOOL_OK)
        return result;
    *w = (struct spool_writer){
        .spool = s,
        .id = s->own->next_id++,
        .ready = w->ready,
        .done = w->done,
        .state = WRITER_FILLING,
        .size_hint = size_hint,
    };
    list_init(&w->node);
    list_init(&w->waiting);
    return SPOOL_OK;
}

static enum spool_result wait_for_room(struct spool_writer *w)
{
    w->spool->counters.waits++;
    if (!w->waits)
        list_push_back(&w->spool->waiting, &w->waiting);
    w->waits = true;
    return SPOOL_WAIT;
}

/* Memory is full, or there is none: gets more for `more` bytes. */
static enum spool_result grow(struct spool_writer *w, size_t more)
{
    struct spool_log *log = log_of(w);
    uint32_t inline_max = w->spool->inline_max;
    bool large = w->size_hint > inline_max || w->body_len + more > inline_max;
    bool small = w->size_hint <= SPOOL_SMALL && w->body_len + more <= SPOOL_SMALL;
    bool got = false;

    if (w->memory_kind == MEMORY_SLOT) {
        if (w->extent_count + w->extents_in_flight >= SPOOL_EXTENTS_MAX)
            return w->failure = SPOOL_TOO_BIG;
        if (!spool_room(log, extent_need(w)) && log->no_space)
            return w->failure = SPOOL_FULL;
        if (w->extents_in_flight >= SPOOL_WINDOW || !spool_room(log, extent_need(w)))
            return wait_for_room(w);
        submit_extent(w);
    }
    switch ((enum memory_kind)w->memory_kind) {
    case MEMORY_NONE:
        got = large ? take_slot(w) : take_body(w, small ? MEMORY_SMALL : MEMORY_MEDIUM);
        break;
    case MEMORY_SMALL: got = large ? take_slot(w) : take_body(w, MEMORY_MEDIUM); break;
    case MEMORY_MEDIUM: got = take_slot(w); break;
    case MEMORY_SLOT:
    case MEMORY_BORROWED:
    case MEMORY_OWNED: UNREACHABLE();
    }
    return got ? SPOOL_OK : wait_for_room(w);
}

enum spool_result spool_write(struct spool_writer *w, struct slice *bytes)
{
    ASSERT(w->state == WRITER_FILLING);
    if (log_of(w)->failed && w->failure == SPOOL_OK)
        w->failure = SPOOL_FAILED;
    if (w->failure != SPOOL_OK)
        return w->failure;
    touch(w);
    while (bytes->len > 0) {
        if (w->memory_len == w->memory_capacity) {
            enum spool_result result = grow(w, bytes->len);

            if (result != SPOOL_OK)
                return result;
        }
        size_t room = w->memory_capacity - w->memory_len;
        size_t some = bytes->len < room ? bytes->len : room;
        w->crc = crc32c_copy(w->crc, w->memory + w->memory_len, bytes->data, some);
        w->memory_len += (uint32_t)some;
        w->body_len += some;
        slice_advance(bytes, some);
    }
    return SPOOL_OK;
}

void spool_writer_commit(struct spool_writer *w, const struct spool_envelope *envelope)
{
    struct spool_log *log = log_of(w);
    size_t envelope_len = spool_envelope_len(envelope);

    ASSERT(w->state == WRITER_FILLING && envelope->recipient_count > 0);
    unlist(w);
    if (envelope_len == 0 || envelope_len > w->spool->record_max) {
        end_failed(w, SPOOL_TOO_BIG);
        return;
    }
    if (list_empty(&log->commits) && place(w, envelope, envelope_len) == PLACED)
        return;
    w->envelope = mem_alloc(envelope_len);
    w->envelope_len = (uint32_t)envelope_len;
    spool_envelope_encode(envelope, 0, 0, w->envelope);
    queue_commit(w);
    if (log->commits.next == &w->node)
        place_queued(log);
}

void spool_writer_abort(struct spool_writer *w)
{
    if (w->state == WRITER_IDLE)
        return;
    ASSERT(w->state == WRITER_FILLING || w->state == WRITER_FINISHED);
    unlist(w);
    release_memory(w);
    drop_extents(w);
    w->state = WRITER_IDLE;
}

enum spool_result spool_submit(struct spool *s, struct spool_writer *w, struct slice body,
                               const struct spool_envelope *envelope)
{
    enum spool_result result = spool_writer_begin(s, w, body.len);

    if (result != SPOOL_OK)
        return result;
    if (body.len + spool_envelope_len(envelope) + SPOOL_RECORD_HEADER_LEN > s->record_max
        || body.len > SPOOL_MEDIUM) {
        spool_writer_abort(w);
        return SPOOL_TOO_BIG;
    }
    /* Straight from the caller's memory if there is a place now. */
    set_memory(w, MEMORY_BORROWED, (uint8_t *)(uintptr_t)body.data, (uint32_t)body.len);
    w->memory_len = (uint32_t)body.len;
    w->body_len = body.len;
    w->crc = crc32c(0, body.data, body.len);
    spool_writer_commit(w, envelope);
    if (w->memory_kind == MEMORY_BORROWED)
        set_memory(w, MEMORY_OWNED, mem_dup(body.data, body.len), (uint32_t)body.len);
    return SPOOL_OK;
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
        unlist(w);
        queue_commit(w); /* the next step places it */
    }
}

void spool_writer_stable(struct spool_pending *p, struct spool_batch *b)
{
    struct spool_writer *w = p->writer;
    struct spool_message *m = p->message;
    struct spool *s = w->spool;

    m->segment = b->segment;
    m->offset = b->offset + p->at;
    m->hot = b->data + p->at;
    list_push_back(&b->slot->messages, &m->in_slot);
    loosen(m->segment->log, m->extents, m->extent_count);
    spool_message_insert(s, m);
    spool_message_link(m);
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
        loosen(log_of(w), p->message->extents, p->message->extent_count);
        spool_message_free(w->spool, p->message);
        w->pending = NULL;
        end_failed(w, result);
    } else if (w->state == WRITER_EXTENTS || w->state == WRITER_QUEUED) {
        end_failed(w, result);
    } else {
        drop_extents(w);
        w->failure = result;
    }
}

void spool_writers_fail(struct spool_log *log, enum spool_result result)
{
    while (!list_empty(&log->commits))
        end_failed(container_of(log->commits.next, struct spool_writer, node), result);
    log->spool->wake = true;
}

static void forget_list(struct list *l)
{
    while (!list_empty(l)) {
        struct spool_writer *w = container_of(l->next, struct spool_writer, node);

        unlist(w);
        release_memory(w);
        mem_free(w->extents);
        mem_free(w->envelope);
        w->extents = NULL;
        w->envelope = NULL;
        w->state = WRITER_IDLE;
    }
}

void spool_writers_forget(struct spool *s)
{
    forget_list(&s->writers);
    forget_list(&s->finished);
    if (s->own) {
        forget_list(&s->own->commits);
        forget_list(&s->own->draining);
    }
}

/* ---- each pass ---------------------------------------------------------------------------- */

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

/* Takes memory from writers that rest, while others wait for it. */
static void flush_idle(struct spool *s)
{
    uint64_t now = io_now_ms(s->io);
    unsigned flushed = 0;

    LIST_EACH_SAFE(&s->writers, node)
    {
        struct spool_writer *w = container_of(node, struct spool_writer, node);

        if (flushed == FLUSH_MAX || now - w->used_ms < SPOOL_IDLE_MS)
            return;
        if (w->memory_len == 0 || w->waits || w->failure || w->extents_in_flight >= SPOOL_WINDOW
            || w->extent_count + w->extents_in_flight >= SPOOL_EXTENTS_MAX
            || !spool_room(s->own, extent_need(w)))
            continue;
        if (w->memory_kind != MEMORY_SLOT && !take_slot(w))
            continue;
        submit_extent(w);
        flushed++;
    }
}

static void wake_waiting(struct spool *s)
{
    if (s->wake) {
        s->wake = false;
        s->wake_left = 0;
        LIST_EACH(&s->waiting, node)
        s->wake_left++;
    }
    uint32_t count = WAKE_MIN + s->staging.extent_count - s->staging.extents_used;
    while (s->wake_left > 0 && count > 0 && !list_empty(&s->waiting)) {
        struct spool_writer *w = container_of(s->waiting.next, struct spool_writer, waiting);

        list_remove(&w->waiting);
        w->waits = false;
        s->wake_left--;
        count--;
        w->ready(w);
    }
    if (list_empty(&s->waiting))
        s->wake_left = 0;
}

void spool_writers_step(struct spool *s)
{
    place_queued(s->own);
    if (!list_empty(&s->waiting)) {
        if (!s->own->failed)
            flush_idle(s);
        wake_waiting(s);
    }
    spool_writers_finish(s);
}
