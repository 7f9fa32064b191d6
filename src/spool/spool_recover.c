/*
 * spool_recover: from segments to messages. The newest batch names the last complete checkpoint; the
 * replay begins there and goes through everything behind it in log order. Any record whose checksum is
 * right counts, wherever it stands: what was never acknowledged may be found, what was acknowledged
 * must be.
 *
 * Damage and a torn tail look alike; what tells them apart is that every batch says up to where the log
 * was stable when it was written. What is missing below that was acknowledged: damage, reported one by
 * one. What is missing above was on its way when the power went.
 */
#include <errno.h>

#include "spool_priv.h"

enum { GAPS_MAX = 64, HURTS_MAX = 256 };

struct gap {
    uint64_t from, to; /* sequences, inclusive */
};

/* A part of a batch that is not right; which kind of wrong is known when the epoch is over. */
struct hurt {
    uint64_t segment, sequence;
    uint32_t offset, len;
};

/* A message whose body is not where its record says. It matters only if it was acknowledged. */
struct lost {
    uint64_t id, sequence;
};

struct recover {
    struct spool_log *log;
    struct spool *s;
    struct spool_segment *seg;
    struct spool_recovery *out;
    bool all; /* the scan that trusts no checkpoint */

    /* batches */
    uint64_t epoch, epoch_max;
    uint64_t last_sequence, stable; /* of this epoch */
    struct gap gaps[GAPS_MAX];
    uint32_t gap_count;
    struct hurt hurts[HURTS_MAX];
    uint32_t hurt_count;
    struct lost *lost;
    size_t lost_count;
    uint64_t id_max, sequence_max;
    struct spool_position newest; /* checkpoint named by the newest batch */
    bool replaying;               /* ... which is known now */
    struct spool_segment *cached; /* found last */
    uint32_t batch_end;           /* of the batch being read; 0: none */
    uint64_t batch_sequence;

    /* the checkpoint being replayed */
    uint64_t check_number, check_number_max;
    uint32_t check_parts;
    uint64_t check_entries;
    bool check_begun, check_complete;
};

/* ---- reports ------------------------------------------------------------------------------ */

static void report_damage(struct recover *r, const struct hurt *h)
{
    struct log_record rec;

    r->out->bad_records++;
    spool_finding(r->s, "%u/%016llx.seg offset %u: a checksum is wrong (%u bytes)", r->log->number,
                  (unsigned long long)h->segment, h->offset, h->len);
    log_begin(&rec, LOG_ERROR, "spool_damaged");
    log_u64(&rec, "log", r->log->number);
    log_u64(&rec, "segment", h->segment);
    log_u64(&rec, "offset", h->offset);
    log_u64(&rec, "len", h->len);
    log_str(&rec, "what", "a checksum is wrong");
    log_end(&rec);
}

static void report_gap(struct recover *r, uint64_t from, uint64_t to)
{
    struct log_record rec;

    r->out->bad_records += to - from + 1;
    spool_finding(r->s, "log %u: acknowledged batches %llu to %llu are missing", r->log->number,
                  (unsigned long long)from, (unsigned long long)to);
    log_begin(&rec, LOG_ERROR, "spool_damaged");
    log_u64(&rec, "log", r->log->number);
    log_u64(&rec, "first", from);
    log_u64(&rec, "last", to);
    log_str(&rec, "what", "batches that were acknowledged are missing");
    log_end(&rec);
}

static void report_salvaged(const struct recover *r, uint32_t offset)
{
    struct log_record rec;

    spool_finding(r->s, "%u/%016llx.seg offset %u: a record whose batch has no header",
                  r->log->number, (unsigned long long)r->seg->number, offset);
    log_begin(&rec, LOG_NOTICE, "spool_salvaged");
    log_u64(&rec, "log", r->log->number);
    log_u64(&rec, "segment", r->seg->number);
    log_u64(&rec, "offset", offset);
    log_str(&rec, "what", "a record of a batch whose header is missing");
    log_end(&rec);
}

static void report_message(const struct recover *r, uint64_t id, const char *what)
{
    struct log_record rec;

    char text[ID_TEXT_SIZE];

    id_to_text(id, text);
    r->out->bad_records++;
    spool_finding(r->s, "log %u message %s: %s", r->log->number, text, what);
    log_begin(&rec, LOG_ERROR, "spool_message_damaged");
    log_id(&rec, "message", id);
    log_u64(&rec, "log", r->log->number);
    log_str(&rec, "what", what);
    log_end(&rec);
}

/* ---- sequences ---------------------------------------------------------------------------- */

static void drop(struct recover *r, struct spool_message *m)
{
    hash_table_remove(&r->s->messages, &m->by_id);
    r->s->counters.messages--;
    spool_message_free(r->s, m);
}

static void epoch_end(struct recover *r)
{
    for (uint32_t i = 0; i < r->gap_count; i++) {
        const struct gap *g = &r->gaps[i];

        if (g->from > r->stable)
            continue;
        report_gap(r, g->from, g->to < r->stable ? g->to : r->stable);
    }
    for (uint32_t i = 0; i < r->hurt_count; i++) {
        if (r->hurts[i].sequence <= r->stable)
            report_damage(r, &r->hurts[i]);
        else
            r->out->torn_bytes += r->hurts[i].len;
    }
    for (size_t i = 0; i < r->lost_count; i++) {
        struct spool_message *m =
            r->lost[i].sequence > r->stable ? spool_find(r->s, r->lost[i].id) : NULL;

        if (m && (m->spool_state & SPOOL_M_LOST))
            drop(r,
                 m); /* refused, and its extents given up, before its record could be taken back */
    }
    r->gap_count = r->hurt_count = 0;
    r->lost_count = 0;
    r->last_sequence = r->stable = 0;
}

/* A batch of the past that is here after all: written again after a failed sync. */
static void gap_fill(struct recover *r, uint64_t sequence)
{
    for (uint32_t i = 0; i < r->hurt_count; i++) {
        if (r->hurts[i].sequence == sequence)
            r->hurts[i--] = r->hurts[--r->hurt_count];
    }
    for (uint32_t i = 0; i < r->gap_count; i++) {
        struct gap *g = &r->gaps[i];

        if (sequence < g->from || sequence > g->to)
            continue;
        if (sequence == g->from) {
            g->from++;
        } else if (sequence == g->to) {
            g->to--;
        } else if (r->gap_count < GAPS_MAX) {
            r->gaps[r->gap_count++] = (struct gap){sequence + 1, g->to};
            g->to = sequence - 1;
        }
        if (g->from > g->to)
            *g = r->gaps[--r->gap_count];
        return;
    }
}

/* Behind everything that a later recovery could still take for a record. */
static void mark_used(struct spool_segment *seg, uint32_t end)
{
    uint32_t fill = (uint32_t)spool_round_up(end, SPOOL_BLOCK);

    if (fill > seg->fill)
        seg->fill = fill;
}

static void on_batch(void *context, const struct spool_batch_header *h)
{
    struct recover *r = context;

    if (h->epoch > r->epoch_max)
        r->epoch_max = h->epoch;
    if (h->epoch != r->epoch) {
        epoch_end(r);
        r->epoch = h->epoch;
    }
    if (r->last_sequence != 0 && h->sequence > r->last_sequence + 1 && r->gap_count < GAPS_MAX)
        r->gaps[r->gap_count++] = (struct gap){r->last_sequence + 1, h->sequence - 1};
    if (h->sequence <= r->last_sequence)
        gap_fill(r, h->sequence);
    else
        r->last_sequence = h->sequence;
    if (h->stable > r->stable)
        r->stable = h->stable;
    if (h->sequence > r->sequence_max) {
        r->sequence_max = h->sequence;
        if (!r->replaying)
            r->newest = h->checkpoint;
    }
    if (h->id_limit > r->id_max)
        r->id_max = h->id_limit;
    r->seg->empty = false;
    mark_used(r->seg, h->offset + h->len);
    r->batch_end = h->offset + h->len;
    r->batch_sequence = h->sequence;
}

static void on_damage(void *context, uint32_t offset, uint32_t len, uint64_t sequence)
{
    struct recover *r = context;
    struct hurt h = {r->seg->number, sequence, offset, len};
    struct hurt *last = r->hurt_count > 0 ? &r->hurts[r->hurt_count - 1] : NULL;

    if (last && last->sequence == sequence && last->segment == h.segment)
        last->len += len;
    else if (r->hurt_count < HURTS_MAX)
        r->hurts[r->hurt_count++] = h;
    else
        report_damage(r, &h); /* a crash does not do that much */
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
        drop(r, m);
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

static bool id_is_ours(const struct recover *r, uint64_t id)
{
    return id >> SPOOL_SEQUENCE_BITS == r->log->number;
}

static void on_message(struct recover *r, const struct spool_record *rec, uint32_t offset)
{
    struct spool_message_view v;

    if (!spool_message_decode(rec, &v) || !spool_message_sums(&v) || !id_is_ours(r, rec->id)) {
        report_message(r, rec->id, "a message record says what cannot be");
        return;
    }
    struct spool_message *m = replace(r, rec->id, v.recipient_count);
    m->segment = r->seg;
    m->offset = offset;
    m->record_len = rec->len;
    m->body_len = v.body_len;
    m->arrived_s = v.arrived_s;
    m->flags = v.flags;
    for (uint32_t i = 0; i < v.recipient_count; i++)
        spool_message_recipient(&v, i, &m->recipients[i]);
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
        drop(r, m);
}

/* It was refused after all; what is found of it in a segment whose sync failed does not count. */
static void on_void(struct recover *r, const struct spool_record *rec)
{
    struct spool_message *m = spool_find(r->s, rec->id);

    if (m)
        drop(r, m);
}

static void on_part(struct recover *r, const struct spool_record *rec)
{
    struct slice payload = slice_of(rec->payload, rec->payload_len);
    struct spool_part_entry e;

    if (!r->check_begun || rec->id != r->check_number)
        return; /* of a checkpoint that began earlier and never mattered */
    r->check_parts++;
    r->check_entries += rec->aux;
    while (spool_part_entry_decode(&payload, &e)) {
        if (!id_is_ours(r, e.id)) {
            report_message(r, e.id, "a checkpoint says what cannot be");
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
        if (!seg || e.offset > seg->size || e.record_len > seg->size - e.offset
            || e.record_len < SPOOL_RECORD_HEADER_LEN || e.record_len > SPOOL_BATCH_LEN_MAX)
            m->spool_state |= SPOOL_M_LOST;
        for (uint32_t i = 0; i < e.recipient_count; i++)
            spool_part_recipient(&e, i, &m->recipients[i]);
        set_extents(r, m, e.extent_count, e.extents);
        m->recipients_left = count_left(m);
        if (m->recipients_left == 0)
            drop(r, m);
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
        to->attempts = e.attempts;
        to->due_s = e.due_s;
    }
    m->recipients_left = count_left(m);
    if (m->recipients_left == 0)
        drop(r, m);
}

/* ---- checkpoints -------------------------------------------------------------------------- */

static bool unmark(struct spool_message *m, void *context)
{
    const struct recover *r = context;

    if (id_is_ours(r, m->id))
        m->spool_state &= (uint8_t)~SPOOL_M_MARK;
    return true;
}

static bool drop_unmarked(struct spool_message *m, void *context)
{
    struct recover *r = context;

    if (id_is_ours(r, m->id) && !(m->spool_state & SPOOL_M_MARK))
        drop(r, m);
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

static void on_record(void *context, const struct spool_record *rec, uint32_t offset)
{
    struct recover *r = context;

    r->out->records++;
    r->seg->empty = false;
    mark_used(r->seg, offset + rec->len);
    if (offset >= r->batch_end)
        report_salvaged(r, offset);
    if (rec->id >> SPOOL_SEQUENCE_BITS == r->log->number && rec->id >= r->id_max)
        r->id_max = rec->id + 1;
    switch ((enum spool_record_type)rec->type) {
    case SPOOL_RECORD_MESSAGE: on_message(r, rec, offset); break;
    case SPOOL_RECORD_OUTCOME: on_outcome(r, rec); break;
    case SPOOL_RECORD_BEGIN: on_begin(r, rec); break;
    case SPOOL_RECORD_PART: on_part(r, rec); break;
    case SPOOL_RECORD_END: on_end(r, rec); break;
    case SPOOL_RECORD_VOID: on_void(r, rec); break;
    case SPOOL_RECORD_EXTENT:
    case SPOOL_RECORD_TYPE_END: break;
    }
}

/* ---- the replay --------------------------------------------------------------------------- */

struct spool_scan_source spool_segment_source(const struct spool_segment *seg)
{
    return (struct spool_scan_source){
        .io = seg->log->spool->io,
        .fd = seg->fd,
        .log = seg->log->number,
        .number = seg->number,
        .salt = seg->salt,
        .size = seg->size,
        .salt_known = seg->header_ok,
    };
}

static int scan_segment(struct recover *r, struct spool_segment *seg, uint32_t from,
                        const struct spool_scan_visitor *visitor)
{
    struct spool_scan_source source = spool_segment_source(seg);

    r->seg = seg;
    r->batch_end = 0;
    int error = spool_scan(&source, from, visitor);
    if (source.salt_known)
        seg->salt = source.salt;
    return error;
}

/* Looks from the newest segment backwards for the newest batch, which names the last checkpoint. */
static int find_newest(struct recover *r)
{
    const struct spool_scan_visitor visitor = {.context = r, .batch = on_batch};
    struct spool_log *log = r->log;

    for (struct list *node = log->segments.prev; node != &log->segments; node = node->prev) {
        struct spool_segment *seg = container_of(node, struct spool_segment, node);
        int error = scan_segment(r, seg, SPOOL_BLOCK, &visitor);

        if (error)
            return error;
        if (r->sequence_max > 0)
            return 0;
        /* Nothing has been written into it: what its header says is the newest then. */
        if (r->newest.segment == 0 && seg->header_ok)
            r->newest = seg->header_checkpoint;
    }
    return 0;
}

static int replay(struct recover *r, struct spool_position from)
{
    const struct spool_scan_visitor visitor = {
        .context = r, .batch = on_batch, .record = on_record, .damage = on_damage};
    struct spool_log *log = r->log;

    r->replaying = true;
    r->epoch = r->last_sequence = r->stable = 0;
    r->gap_count = r->hurt_count = 0;
    r->check_begun = r->check_complete = false;
    LIST_EACH(&log->segments, node)
    {
        struct spool_segment *seg = container_of(node, struct spool_segment, node);

        if (seg->number < from.segment) {
            seg->empty = false; /* nobody looked */
            continue;
        }
        uint32_t offset = seg->number == from.segment ? from.offset : SPOOL_BLOCK;
        int error = scan_segment(r, seg, offset, &visitor);
        if (error)
            return error;
        log->since_checkpoint += seg->size;
    }
    epoch_end(r);
    return 0;
}

static bool drop_ours(struct spool_message *m, void *context)
{
    struct recover *r = context;

    if (id_is_ours(r, m->id))
        drop(r, m);
    return true;
}

static int replay_all(struct recover *r)
{
    struct log_record rec;

    spool_finding(r->s, "log %u: the checkpoint in %016llx.seg is damaged", r->log->number,
                  (unsigned long long)r->newest.segment);
    log_begin(&rec, LOG_ERROR, "spool_checkpoint_damaged");
    log_u64(&rec, "log", r->log->number);
    log_u64(&rec, "segment", r->newest.segment);
    log_u64(&rec, "offset", r->newest.offset);
    log_str(&rec, "action", "every segment is read; mail delivered long ago may be sent again");
    log_end(&rec);
    spool_each(r->s, drop_ours, r);
    r->out->bad_records++;
    r->all = true;
    r->log->since_checkpoint = 0;
    return replay(r, (struct spool_position){0, 0});
}

static bool adopt_message(struct spool_message *m, void *context)
{
    struct recover *r = context;

    if (!id_is_ours(r, m->id))
        return true;
    if (m->spool_state & SPOOL_M_LOST) {
        /* In a scan of everything it may as well be long gone. */
        report_message(r, m->id, "the segment of its record or of a part of its body is missing");
        drop(r, m);
        return true;
    }
    m->spool_state = 0;
    spool_message_link(m);
    r->out->messages++;
    r->out->recipients += m->recipients_left;
    return true;
}

/* Where the log goes on: behind everything that may ever have been used. */
static void continue_after(struct recover *r)
{
    struct spool_log *log = r->log;
    uint64_t first = (uint64_t)log->number << SPOOL_SEQUENCE_BITS;
    uint64_t epoch = r->epoch_max > log->epoch ? r->epoch_max : log->epoch;

    LIST_EACH(&log->segments, node)
    {
        const struct spool_segment *seg = container_of(node, struct spool_segment, node);

        if (seg->header_id_limit > r->id_max)
            r->id_max = seg->header_id_limit;
        if (seg->header_sequence > r->sequence_max)
            r->sequence_max = seg->header_sequence;
        if (seg->epoch > epoch)
            epoch = seg->epoch;
    }
    if (log->next_id > r->id_max)
        r->id_max = log->next_id; /* a spare's header */
    log->next_id = r->id_max > first ? r->id_max : first + 1;
    log->id_limit = log->next_id; /* until a header on disk says more */
    log->next_sequence = r->sequence_max + 1;
    log->stable_sequence = r->sequence_max;
    log->epoch = epoch + 1;
    log->checkpoint = log->checkpoint_durable = r->newest;
    log->check.number = r->check_number_max;
}

int spool_recover(struct spool_log *log, struct spool_recovery *out, struct buf *out_error)
{
    struct recover *r = mem_zalloc(sizeof(*r));
    int error;

    r->log = log;
    r->s = log->spool;
    r->out = out;
    error = find_newest(r);
    if (!error)
        error = replay(r, r->newest);
    if (!error && r->newest.segment != 0 && !r->check_complete) {
        error = replay_all(r);
        r->newest = (struct spool_position){0, 0};
    }
    if (error) {
        (void)buf_printf(out_error,
                         "spool %s: cannot read segment %016llx: %s; the disk may be failing: copy "
                         "the spool to another one and start from there",
                         log->path, (unsigned long long)r->seg->number, strerrordesc_np(-error));
    } else {
        spool_each(log->spool, adopt_message, r);
        continue_after(r);
    }
    mem_free(r->lost);
    mem_free(r);
    return error;
}
