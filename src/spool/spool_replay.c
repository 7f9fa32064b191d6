/*
 * spool_replay: what each record that recovery finds says about messages.
 */
#include "spool_recover_priv.h"

void spool_replay_drop(struct recover *r, struct spool_message *m)
{
    spool_text_set(r->s, m, SLICE_NULL);
    spool_index_remove(&r->s->messages, m);
    r->s->counters.messages--;
    spool_message_free(r->s, m);
}

/* ---- messages ----------------------------------------------------------------------------- */

static uint32_t count_left(const struct spool_message *m)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < m->recipient_count; i++)
        left += m->recipients[i].state == SPOOL_RECIPIENT_WAITING;
    return left;
}

/* A fresh object for this id, in place of an older record's. */
static struct spool_message *replace(struct recover *r, uint64_t id, uint32_t recipients)
{
    struct spool_message *m = spool_find(r->s, id);

    if (m && m->recipient_count != recipients) {
        spool_replay_drop(r, m);
        m = NULL;
    }
    if (!m) {
        m = spool_message_create(r->s, recipients);
        m->id = id;
        spool_message_insert(r->s, m);
    }
    mem_free(m->extents);
    m->extents = NULL;
    m->extent_count = 0;
    m->spool_state = SPOOL_M_MARK;
    return m;
}

static struct spool_segment *find_segment(struct recover *r, uint64_t number)
{
    if (!r->cached || r->cached->number != number)
        r->cached = spool_segment_find(r->log, number);
    return r->cached;
}

/* What cannot be found may belong to a message that died later in the log, or moved: only those that
 * are alive in the end are missed. */
static void set_extents(struct recover *r, struct spool_message *m, uint32_t count,
                        const uint8_t *entries)
{
    if (count == 0)
        return;
    m->extent_count = count;
    m->extents = mem_calloc(count, sizeof(*m->extents));
    for (uint32_t i = 0; i < count; i++) {
        struct spool_extent_entry e =
            spool_extent_entry_decode(entries + (size_t)i * SPOOL_EXTENT_ENTRY);
        struct spool_segment *seg = find_segment(r, e.segment);

        m->extents[i] =
            (struct spool_extent){.segment = seg, .offset = e.offset, .body_len = e.body_len};
        if (!seg || e.offset > seg->size || SPOOL_RECORD_HEADER_LEN > seg->size - e.offset
            || e.body_len > seg->size - e.offset - SPOOL_RECORD_HEADER_LEN)
            m->spool_state |= SPOOL_M_LOST;
    }
}

static void on_message(struct recover *r, const struct spool_record *rec, uint32_t offset)
{
    struct spool_message_view v;

    if (!spool_message_decode(rec, &v) || !spool_message_sums(&v)
        || !spool_replay_is_ours(r, rec->id)) {
        spool_recover_report_message(r, rec->id, "a message record says what cannot be");
        return;
    }
    struct spool_message *m = replace(r, rec->id, v.recipient_count);
    m->segment = r->seg;
    m->offset = offset;
    m->record_len = rec->len;
    spool_message_take(m, &v);
    set_extents(r, m, v.extent_count, v.extents);
    if (m->spool_state & SPOOL_M_LOST) {
        /* Grows by doubling; there are few. */
        if ((r->lost_count & (r->lost_count - 1)) == 0)
            r->lost = mem_realloc(r->lost, (2 * r->lost_count + 1) * sizeof(*r->lost));
        r->lost[r->lost_count++] =
            (struct lost){rec->id, r->batch_sequence + (offset >= r->batch_end)};
    }
    m->recipients_left = count_left(m);
    if (m->recipients_left == 0)
        spool_replay_drop(r, m);
}

/* It was refused after all; what is found of it in a segment whose sync failed does not count. */
static void on_void(struct recover *r, const struct spool_record *rec)
{
    struct spool_message *m = spool_find(r->s, rec->id);

    if (m)
        spool_replay_drop(r, m);
}

static void on_part(struct recover *r, const struct spool_record *rec)
{
    struct slice payload = slice_of(rec->payload, rec->payload_len);
    struct spool_part_entry e;

    if (!r->check_begun || rec->id != r->check_number)
        return; /* of a checkpoint that began earlier and never mattered */
    r->check_parts++;
    r->check_entries += rec->aux;
    r->texts.count = 0;
    while (spool_part_entry_decode(&payload, rec->version, &r->texts, &e)) {
        if (!spool_replay_is_ours(r, e.id)) {
            spool_recover_report_message(r, e.id, "a checkpoint says what cannot be");
            continue;
        }
        struct spool_message *m = replace(r, e.id, e.recipient_count);
        struct spool_segment *seg = find_segment(r, e.segment);
        m->segment = seg;
        m->offset = e.offset;
        m->record_len = e.record_len;
        m->body_len = e.body_len;
        m->arrived_s = e.arrived_s;
        m->flags = e.flags;
        m->terms = e.terms;
        m->sender_hash = e.sender_hash;
        m->sender_domain_hash = e.sender_domain_hash;
        m->domain_hash = e.domain_hash;
        spool_text_set(r->s, m, e.text);
        r->log->text_bytes += e.text.len; /* more than it took */
        if (!e.hashed)
            m->spool_state |= SPOOL_M_UNHASHED;
        if (!seg || e.offset > seg->size || e.record_len > seg->size - e.offset
            || e.record_len < SPOOL_RECORD_HEADER_LEN || e.record_len > SPOOL_BATCH_LEN_MAX)
            m->spool_state |= SPOOL_M_LOST;
        for (uint32_t i = 0; i < e.recipient_count; i++)
            spool_part_recipient(&e, i, &m->recipients[i]);
        set_extents(r, m, e.extent_count, e.extents);
        m->recipients_left = count_left(m);
        if (m->recipients_left == 0)
            spool_replay_drop(r, m);
    }
}

static void on_outcome(struct recover *r, const struct spool_record *rec)
{
    struct slice payload = slice_of(rec->payload, rec->payload_len);
    struct spool_message *m = spool_find(r->s, rec->id);
    struct spool_outcome_entry e;

    if (!m)
        return;
    while (spool_outcome_entry_decode(&payload, &e)) {
        if (e.recipient >= m->recipient_count)
            continue;
        struct spool_recipient *to = &m->recipients[e.recipient];

        to->state = e.state;
        to->flags = e.flags;
        to->attempts = e.attempts;
        to->due_s = e.due_s;
        /* What an operator changed has no text and leaves the last words. */
        if (e.state == SPOOL_RECIPIENT_WAITING && e.text.len > 0)
            spool_text_set(r->s, m, e.text);
    }
    r->log->text_bytes += rec->len;
    m->recipients_left = count_left(m);
    if (m->recipients_left == 0)
        spool_replay_drop(r, m);
}

static void on_terms(struct recover *r, const struct spool_record *rec)
{
    struct spool_message *m = spool_find(r->s, rec->id);

    if (m && rec->payload_len >= SPOOL_TERMS_LEN)
        m->terms = spool_terms_decode(rec->payload);
}

/* ---- checkpoints -------------------------------------------------------------------------- */

static bool unmark(struct spool_message *m, void *context)
{
    const struct recover *r = context;

    if (spool_replay_is_ours(r, m->id))
        m->spool_state &= (uint8_t)~SPOOL_M_MARK;
    return true;
}

static bool drop_unmarked(struct spool_message *m, void *context)
{
    struct recover *r = context;

    if (spool_replay_is_ours(r, m->id) && !(m->spool_state & SPOOL_M_MARK))
        spool_replay_drop(r, m);
    return true;
}

static void on_begin(struct recover *r, const struct spool_record *rec)
{
    if (rec->id > r->check_number_max)
        r->check_number_max = rec->id;
    /* The first one is where we began; what follows it is replayed in any case, so that later ones
     * matter only to a scan of everything. */
    if (r->check_begun && !r->all)
        return;
    r->check_begun = true;
    r->check_complete = false;
    r->check_number = rec->id;
    r->check_parts = 0;
    r->check_entries = 0;
    r->log->text_bytes = 0;
    spool_each(r->s, unmark, r);
}

static void on_end(struct recover *r, const struct spool_record *rec)
{
    if (!r->check_begun || rec->id != r->check_number || rec->payload_len < 8)
        return;
    r->check_complete = r->check_parts >= rec->aux && r->check_entries >= get_le64(rec->payload);
    /* Those that it does not name were done with before it began. */
    if (r->check_complete && r->all)
        spool_each(r->s, drop_unmarked, r);
}

void spool_replay_record(void *context, const struct spool_record *rec, uint32_t offset)
{
    struct recover *r = context;

    r->out->records++;
    r->seg->empty = false;
    spool_recover_mark_used(r->seg, offset + rec->len);
    if (offset >= r->batch_end)
        spool_recover_report_salvaged(r, offset);
    if (rec->id >> SPOOL_SEQUENCE_BITS == r->log->number && rec->id >= r->id_max)
        r->id_max = rec->id + 1;
    switch ((enum spool_record_type)rec->type) {
    case SPOOL_RECORD_MESSAGE: on_message(r, rec, offset); break;
    case SPOOL_RECORD_OUTCOME: on_outcome(r, rec); break;
    case SPOOL_RECORD_BEGIN: on_begin(r, rec); break;
    case SPOOL_RECORD_PART: on_part(r, rec); break;
    case SPOOL_RECORD_END: on_end(r, rec); break;
    case SPOOL_RECORD_VOID: on_void(r, rec); break;
    case SPOOL_RECORD_TERMS: on_terms(r, rec); break;
    case SPOOL_RECORD_EXTENT:
    case SPOOL_RECORD_TYPE_END: break;
    }
}
