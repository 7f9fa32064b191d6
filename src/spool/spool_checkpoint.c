/*
 * spool_checkpoint: what keeps a restart short. BEGIN, then parts between other records, each saying
 * what some messages are at that moment, then END. A replay from BEGIN in log order is right: parts
 * override, outcomes for what is not known are of the dead, and a message that became stable after
 * BEGIN stands there itself.
 *
 * Parts begin when BEGIN is stable: then every message whose record stands before it is in memory.
 */
#include "base_crc32c.h"
#include "spool_priv.h"

enum { PART_MESSAGES = 512, PART_BYTES = 48 << 10 }; /* of a pass */

/* Texts are counted when they come, each as often; the next checkpoint knows better. */
uint64_t spool_checkpoint_bytes(const struct spool_log *log)
{
    uint64_t most = (uint64_t)log->live_messages * (SPOOL_PART_TEXT + SPOOL_OUTCOME_TEXT_MAX);

    return log->state_bytes + (log->text_bytes < most ? log->text_bytes : most);
}

static bool due_by_size(const struct spool_log *log)
{
    uint64_t least = log->spool->options.checkpoint_bytes ? log->spool->options.checkpoint_bytes
                                                          : log->segment_size;
    uint64_t state = 4 * spool_checkpoint_bytes(log);

    return log->since_checkpoint >= (least > state ? least : state);
}

/* Something dead waits only for a checkpoint, and room is short. */
static bool due_by_need(const struct spool_log *log)
{
    if (!log->no_space || !log->active)
        return false;
    LIST_EACH(&log->segments, node)
    {
        const struct spool_segment *seg = container_of(node, struct spool_segment, node);

        if (seg != log->active && seg != log->next && seg->live_records == 0
            && seg->number >= log->checkpoint.segment && seg->number < log->active->number)
            return true;
    }
    return false;
}

void spool_checkpoint_rotated(struct spool_log *log)
{
    if (due_by_size(log) || due_by_need(log))
        log->check.wanted = true;
}

uint64_t spool_checkpoint_coming(const struct spool_log *log)
{
    if (log->check.state != CHECKPOINT_NONE)
        return log->check.begin.segment;
    return log->checkpoint.segment != log->checkpoint_durable.segment ? log->checkpoint.segment : 0;
}

bool spool_checkpoint_idle(const struct spool_log *log)
{
    /* One that is not finished when the end comes is as good as none. */
    return log->check.state == CHECKPOINT_NONE || log->spool->stopping;
}

static bool append_mark(struct spool_log *log, uint8_t type, uint32_t aux,
                        enum spool_pending_kind kind)
{
    uint32_t len = SPOOL_RECORD_HEADER_LEN + 8;
    uint8_t *record = spool_batch_reserve(log, len);

    if (!record)
        return false;
    put_le64(record + SPOOL_RECORD_HEADER_LEN, log->check.entries);
    spool_record_seal(record, type, len, aux, log->check.number,
                      crc32c(0, record + SPOOL_RECORD_HEADER_LEN, 8));
    (void)spool_batch_add(log, len, spool_pending_get(log->spool, kind));
    return true;
}

static void begin(struct spool_log *log)
{
    struct spool_checkpoint *c = &log->check;

    c->number++;
    c->parts = 0;
    c->entries = 0;
    if (!append_mark(log, SPOOL_RECORD_BEGIN, 0, PENDING_BEGIN))
        return;
    LIST_EACH(&log->segments, node)
    {
        struct spool_segment *seg = container_of(node, struct spool_segment, node);

        list_splice_back(&seg->messages, &seg->checkpointed);
    }
    c->text_bytes = 0;
    c->text_bytes_before = log->text_bytes;
    c->state = CHECKPOINT_BEGUN;
    c->wanted = false;
    log->since_checkpoint = 0;
}

/* ---- parts -------------------------------------------------------------------------------- */

static struct spool_message *next_message(struct spool_log *log)
{
    LIST_EACH(&log->segments, node)
    {
        struct spool_segment *seg = container_of(node, struct spool_segment, node);

        if (!list_empty(&seg->messages))
            return container_of(seg->messages.next, struct spool_message, in_segment);
    }
    return NULL;
}

static void mark_done(struct spool_message *m)
{
    list_remove(&m->in_segment);
    list_push_back(&m->segment->checkpointed, &m->in_segment);
}

static struct slice reason_of(const struct spool *s, const struct spool_message *m)
{
    const struct spool_options *o = &s->options;

    return o->reason ? slice_head(o->reason(o->context, m), SPOOL_OUTCOME_TEXT_MAX) : SLICE_NULL;
}

/* `text`: its number. */
static uint8_t *put_entry(const struct spool_message *m, uint32_t text, uint8_t *at)
{
    at = spool_part_entry_encode(m, m->segment->number, text, at);
    for (uint32_t i = 0; i < m->extent_count; i++, at += SPOOL_EXTENT_ENTRY) {
        const struct spool_extent *e = &m->extents[i];

        spool_extent_entry_encode(e->segment->number, e->offset, e->body_len, at);
    }
    return at;
}

/* One message's entry, with its text if that fits or is known in this part. Answers the end, or NULL if
 * there is no room. */
static uint8_t *fill_entry(struct spool_log *log, struct spool_part_writer *texts,
                           const struct spool_message *m, uint8_t *at, size_t room, bool alone)
{
    struct slice text = reason_of(log->spool, m);
    size_t len = spool_part_entry_len(m->recipient_count, m->extent_count);
    bool is_new;
    uint32_t number = spool_part_writer_text(texts, text, &is_new);

    if (len + (is_new ? SPOOL_PART_TEXT + text.len : 0) > room) {
        if (!alone || len > room)
            return NULL;
        number = 0; /* so many recipients: rather them than words */
        is_new = false;
    }
    at = put_entry(m, number, at);
    if (is_new) {
        spool_part_writer_add(texts, text);
        put_le16(at, (uint16_t)text.len);
        memcpy(at + SPOOL_PART_TEXT, text.data, text.len);
        at += SPOOL_PART_TEXT + text.len;
        log->check.text_bytes += SPOOL_PART_TEXT + text.len;
    }
    return at;
}

/* Fills `record` up to `room`; answers its length. */
static uint32_t fill_part(struct spool_log *log, uint8_t *record, uint32_t room)
{
    uint8_t *at = record + SPOOL_RECORD_HEADER_LEN;
    struct spool_part_writer texts;
    struct spool_message *m;
    uint32_t count = 0;

    _Static_assert((int)PART_MESSAGES <= (int)SPOOL_PART_TEXTS_MAX, "each may have its own text");
    spool_part_writer_init(&texts);
    while (count < PART_MESSAGES && (m = next_message(log)) != NULL) {
        /* A copy that compaction made is on its way, and may say something else about the place by the
         * time that this is read: what follows waits until it is known. */
        if (m->spool_state & SPOOL_M_APPENDED)
            break;
        if (!(m->spool_state & SPOOL_M_DEAD)) {
            uint8_t *end = fill_entry(log, &texts, m, at, room - (size_t)(at - record), count == 0);

            if (!end)
                break;
            at = end;
            count++;
        }
        mark_done(m);
    }
    uint32_t len = (uint32_t)(at - record);
    spool_record_seal(record, SPOOL_RECORD_PART, len, count, log->check.number,
                      crc32c(0, record + SPOOL_RECORD_HEADER_LEN, len - SPOOL_RECORD_HEADER_LEN));
    log->check.entries += count;
    return len;
}

static void append_part(struct spool_log *log)
{
    struct spool *s = log->spool;
    struct spool_message *m = next_message(log);
    size_t room = PART_BYTES;

    if (m) {
        /* One message with very many recipients may need more than a part usually has. */
        size_t least =
            SPOOL_RECORD_HEADER_LEN + spool_part_entry_len(m->recipient_count, m->extent_count);
        size_t with_text = least + SPOOL_PART_TEXT + SPOOL_OUTCOME_TEXT_MAX;
        room = room < with_text ? with_text : room;
        room = room > s->record_max ? s->record_max : room;
        ASSERT(least <= room);
        uint8_t *record = spool_batch_reserve(log, (uint32_t)room);
        if (!record)
            return;
        uint32_t len = fill_part(log, record, (uint32_t)room);
        if (len > SPOOL_RECORD_HEADER_LEN) {
            (void)spool_batch_add(log, len, NULL);
            log->check.parts++;
        }
    }
    if (!next_message(log) && append_mark(log, SPOOL_RECORD_END, log->check.parts, PENDING_END))
        log->check.state = CHECKPOINT_ENDED;
}

void spool_checkpoint_step(struct spool_log *log)
{
    struct spool_checkpoint *c = &log->check;

    switch (c->state) {
    case CHECKPOINT_NONE:
        if (!log->spool->stopping && (log->active || log->next) && !log->failed
            && (c->wanted || due_by_need(log)))
            begin(log);
        return;
    case CHECKPOINT_PARTS:
        /* One part at a time: it is background work. */
        if (!log->failed && !log->spool->stopping && list_empty(&log->closed))
            append_part(log);
        return;
    case CHECKPOINT_BEGUN:
    case CHECKPOINT_ENDED: return;
    }
}

void spool_checkpoint_stable(struct spool_pending *p, struct spool_batch *b)
{
    struct spool_log *log = b->log;
    struct spool_checkpoint *c = &log->check;

    if (p->kind == PENDING_BEGIN) {
        ASSERT(c->state == CHECKPOINT_BEGUN);
        c->begin = (struct spool_position){b->segment->number, b->offset};
        c->state = CHECKPOINT_PARTS;
        return;
    }
    ASSERT(c->state == CHECKPOINT_ENDED);
    c->state = CHECKPOINT_NONE;
    log->text_bytes = log->text_bytes - c->text_bytes_before + c->text_bytes;
    /* The next batch header says so, and when that is stable old segments may go. */
    log->checkpoint = c->begin;
    log->spool->counters.checkpoints++;
}
