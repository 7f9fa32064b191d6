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
#include "spool_writer_priv.h"

enum { WAKE_MIN = 16, FLUSH_MAX = 4, NEED_DEFAULT = 16 << 10 };

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
    struct spool_log *log = spool_writer_log(w);
    uint32_t inline_max = w->spool->inline_max;
    bool large = w->size_hint > inline_max || w->body_len + more > inline_max;
    bool small = w->size_hint <= SPOOL_SMALL && w->body_len + more <= SPOOL_SMALL;
    bool got = false;

    if (w->memory_kind == MEMORY_SLOT) {
        if (w->extent_count + w->extents_in_flight >= SPOOL_EXTENTS_MAX)
            return w->failure = SPOOL_TOO_BIG;
        if (!spool_room(log, spool_writer_extent_need(w)) && log->no_space)
            return w->failure = SPOOL_FULL;
        if (w->extents_in_flight >= SPOOL_WINDOW || !spool_room(log, spool_writer_extent_need(w)))
            return wait_for_room(w);
        spool_writer_submit_extent(w);
    }
    switch ((enum memory_kind)w->memory_kind) {
    case MEMORY_NONE:
        got = large ? spool_writer_take_slot(w)
                    : spool_writer_take_body(w, small ? MEMORY_SMALL : MEMORY_MEDIUM);
        break;
    case MEMORY_SMALL:
        got = large ? spool_writer_take_slot(w) : spool_writer_take_body(w, MEMORY_MEDIUM);
        break;
    case MEMORY_MEDIUM: got = spool_writer_take_slot(w); break;
    case MEMORY_SLOT:
    case MEMORY_BORROWED:
    case MEMORY_OWNED: UNREACHABLE();
    }
    return got ? SPOOL_OK : wait_for_room(w);
}

enum spool_result spool_write(struct spool_writer *w, struct slice *bytes)
{
    ASSERT(w->state == WRITER_FILLING);
    if (spool_writer_log(w)->failed && w->failure == SPOOL_OK)
        w->failure = SPOOL_FAILED;
    if (w->failure != SPOOL_OK)
        return w->failure;
    spool_writer_touch(w);
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
    struct spool_log *log = spool_writer_log(w);
    size_t envelope_len = spool_envelope_len(envelope);

    ASSERT(w->state == WRITER_FILLING && envelope->recipient_count > 0);
    spool_writer_unlist(w);
    if (envelope_len == 0 || envelope_len > w->spool->record_max) {
        spool_writer_end_failed(w, SPOOL_TOO_BIG);
        return;
    }
    if (list_empty(&log->commits) && spool_commit_place(w, envelope, envelope_len) == PLACED)
        return;
    w->envelope = mem_alloc(envelope_len);
    w->envelope_len = (uint32_t)envelope_len;
    spool_envelope_encode(envelope, w->envelope);
    spool_commit_queue(w);
    if (log->commits.next == &w->node)
        spool_commit_step(log);
}

void spool_writer_abort(struct spool_writer *w)
{
    if (w->state == WRITER_IDLE)
        return;
    ASSERT(w->state == WRITER_FILLING || w->state == WRITER_FINISHED);
    spool_writer_unlist(w);
    spool_writer_release(w);
    spool_writer_drop_extents(w);
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
    spool_writer_set_memory(w, MEMORY_BORROWED, (uint8_t *)(uintptr_t)body.data,
                            (uint32_t)body.len);
    w->memory_len = (uint32_t)body.len;
    w->body_len = body.len;
    w->crc = crc32c(0, body.data, body.len);
    spool_writer_commit(w, envelope);
    if (w->memory_kind == MEMORY_BORROWED)
        spool_writer_set_memory(w, MEMORY_OWNED, mem_dup(body.data, body.len), (uint32_t)body.len);
    return SPOOL_OK;
}

/* ---- each pass ---------------------------------------------------------------------------- */

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
            || !spool_room(s->own, spool_writer_extent_need(w)))
            continue;
        if (w->memory_kind != MEMORY_SLOT && !spool_writer_take_slot(w))
            continue;
        spool_writer_submit_extent(w);
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
    spool_commit_step(s->own);
    if (!list_empty(&s->waiting)) {
        if (!s->own->failed)
            flush_idle(s);
        wake_waiting(s);
    }
    spool_writers_finish(s);
}
