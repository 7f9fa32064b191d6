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

#include "spool_recover_priv.h"

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

void spool_recover_report_salvaged(const struct recover *r, uint32_t offset)
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

void spool_recover_report_message(const struct recover *r, uint64_t id, const char *what)
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
            spool_replay_drop(
                r,
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
void spool_recover_mark_used(struct spool_segment *seg, uint32_t end)
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
    spool_recover_mark_used(r->seg, h->offset + h->len);
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
        .context = r, .batch = on_batch, .record = spool_replay_record, .damage = on_damage};
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

    if (spool_replay_is_ours(r, m->id))
        spool_replay_drop(r, m);
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

/* ---- hashes ------------------------------------------------------------------------------- */

/* Checkpoints of version 1 did not have them: once, after the change, messages are read for it. */

static bool note_unhashed(struct spool_message *m, void *context)
{
    const struct recover *r = context;

    if (spool_replay_is_ours(r, m->id) && (m->spool_state & SPOOL_M_UNHASHED) && m->segment)
        m->segment->unhashed = true;
    return true;
}

static void hash_record(void *context, const struct spool_record *rec, uint32_t offset)
{
    const struct recover *r = context;
    struct spool_message *m = rec->type == SPOOL_RECORD_MESSAGE ? spool_find(r->s, rec->id) : NULL;
    struct spool_message_view v;

    if (m && m->segment == r->seg && m->offset == offset && spool_message_decode(rec, &v))
        spool_message_hash(m, &v);
}

static int hash_unhashed(struct recover *r)
{
    const struct spool_scan_visitor visitor = {.context = r, .record = hash_record};

    spool_each(r->s, note_unhashed, r);
    LIST_EACH(&r->log->segments, node)
    {
        struct spool_segment *seg = container_of(node, struct spool_segment, node);
        struct spool_scan_source source = spool_segment_source(seg);

        if (!seg->unhashed)
            continue;
        r->seg = seg;
        int error = spool_scan(&source, SPOOL_BLOCK, &visitor);
        if (error)
            return error;
    }
    return 0;
}

static bool adopt_message(struct spool_message *m, void *context)
{
    struct recover *r = context;

    if (!spool_replay_is_ours(r, m->id))
        return true;
    if (m->spool_state & SPOOL_M_LOST) {
        /* In a scan of everything it may as well be long gone. */
        spool_recover_report_message(
            r, m->id, "the segment of its record or of a part of its body is missing");
        spool_replay_drop(r, m);
        return true;
    }
    m->spool_state = 0;
    spool_message_link(m, false);
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
    if (!error)
        error = hash_unhashed(r);
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
