/*
 * spool_verify: reading a spool that nobody serves. Verifying replays each log as a start would, then
 * reads every segment that the replay did not need, and every message that is alive with all parts of
 * its body. Dumping prints records as they stand, also while a server runs.
 */
#include <errno.h>
#include <stdio.h>

#include "spool_priv.h"

void spool_finding(const struct spool *s, const char *format, ...)
{
    struct buf text = {0};
    va_list args;

    if (!s->line)
        return;
    va_start(args, format);
    (void)buf_vprintf(&text, format, args);
    va_end(args);
    /* What a remote server said is in here, and goes to somebody's terminal. */
    for (size_t i = text.head; i < text.tail; i++) {
        if (text.data[i] < ' ' || text.data[i] == 0x7f)
            text.data[i] = '?';
    }
    (void)buf_append_byte(&text, '\0');
    s->line(s->line_context, (const char *)buf_slice(&text).data);
    buf_finish(&text);
}

/* ---- verify ------------------------------------------------------------------------------- */

struct verify {
    struct spool *s;
    struct spool_log *log;
    struct spool_segment *seg;
    struct spool_verify_report *out;
    bool replayed; /* recovery has judged this segment */
};

static void verify_batch(void *context, const struct spool_batch_header *h)
{
    struct verify *v = context;

    (void)h;
    v->out->batches++;
}

static void verify_record(void *context, const struct spool_record *r, uint32_t offset)
{
    struct verify *v = context;

    (void)offset;
    v->out->records++;
    v->out->messages += r->type == SPOOL_RECORD_MESSAGE;
}

static void verify_damage(void *context, uint32_t offset, uint32_t len, uint64_t sequence)
{
    struct verify *v = context;

    (void)sequence;
    if (v->replayed)
        return;
    v->out->bad_records++;
    spool_finding(v->s, "%u/%016llx.seg offset %u: a checksum is wrong (%u bytes)", v->log->number,
                  (unsigned long long)v->seg->number, offset, len);
}

static int verify_segment(struct verify *v)
{
    const struct spool_scan_visitor visitor = {
        .context = v, .batch = verify_batch, .record = verify_record, .damage = verify_damage};
    struct spool_scan_source source = spool_segment_source(v->seg);

    v->out->segments++;
    v->replayed = v->seg->number >= v->log->checkpoint.segment;
    int error = spool_scan(&source, SPOOL_BLOCK, &visitor);
    if (error)
        spool_finding(v->s, "%u/%016llx.seg: %s", v->log->number,
                      (unsigned long long)v->seg->number, strerrordesc_np(-error));
    return error;
}

/* Whether the record of this type and id stands there whole. */
static bool verify_place(struct verify *v, const struct spool_segment *seg, uint32_t offset,
                         uint32_t len, uint8_t type, uint64_t id)
{
    uint32_t from = offset / SPOOL_BLOCK * SPOOL_BLOCK;
    uint32_t span = (uint32_t)spool_round_up(offset + len - from, SPOOL_BLOCK);
    uint8_t *memory = mem_alloc_aligned(SPOOL_BLOCK, span);
    struct spool_record r;
    bool good =
        spool_read_await(v->s->io, seg->fd, memory, span, from) == 0
        && spool_record_decode(memory + (offset - from), len, spool_segment_mask(seg, offset), &r)
        && r.type == type && r.id == id && r.len == len;

    mem_free(memory);
    return good;
}

static bool verify_message(struct spool_message *m, void *context)
{
    struct verify *v = context;
    bool good;

    if (m->segment->log != v->log)
        return true;
    v->out->live++;
    good = verify_place(v, m->segment, m->offset, m->record_len, SPOOL_RECORD_MESSAGE, m->id);
    for (uint32_t i = 0; i < m->extent_count && good; i++) {
        const struct spool_extent *e = &m->extents[i];

        good = verify_place(v, e->segment, e->offset, SPOOL_RECORD_HEADER_LEN + e->body_len,
                            SPOOL_RECORD_EXTENT, m->id);
    }
    if (!good) {
        char text[ID_TEXT_SIZE];

        id_to_text(m->id, text);
        v->out->bad_records++;
        spool_finding(v->s, "log %u message %s: cannot be read whole", v->log->number, text);
    }
    return true;
}

static int verify_log(struct verify *v, uint16_t number)
{
    struct spool_recovery recovery = {0};
    struct buf why = {0};
    int error = 0;

    v->log = spool_log_open(v->s, number, SPOOL_LOG_VERIFY, &recovery, &why, &error);
    v->out->torn_bytes += recovery.torn_bytes;
    v->out->bad_records += recovery.bad_records;
    if (!v->log) {
        spool_finding(v->s, "%.*s", SLICE_ARG(buf_slice(&why)));
        buf_finish(&why);
        return error;
    }
    buf_finish(&why);
    v->out->directories++;
    LIST_EACH(&v->log->segments, node)
    {
        v->seg = container_of(node, struct spool_segment, node);
        int res = verify_segment(v);
        error = error ? error : res;
    }
    spool_each(v->s, verify_message, v);
    return error;
}

static struct spool *open_offline(struct io *io, const char *path,
                                  void (*line)(void *context, const char *text), void *context)
{
    const struct spool_options options = {.path = path, .shards = 1, .segment_size = 1 << 20};
    struct spool *s = spool_create(io, &options, true);

    s->line = line;
    s->line_context = context;
    return s;
}

static int list_offline(struct spool *s, const char *path, uint16_t **out, size_t *out_count)
{
    int error = spool_directories(s->io, path, out, out_count);

    if (error)
        spool_finding(s, "%s: %s", path, strerrordesc_np(-error));
    return error;
}

int spool_verify(struct io *io, const char *path, void (*line)(void *context, const char *text),
                 void *context, struct spool_verify_report *out)
{
    struct spool *s = open_offline(io, path, line, context);
    struct verify v = {.s = s, .out = out};
    uint16_t *numbers = NULL;
    size_t count = 0;

    *out = (struct spool_verify_report){0};
    int error = list_offline(s, path, &numbers, &count);
    for (size_t i = 0; i < count && error != -EBUSY; i++) {
        int res = verify_log(&v, numbers[i]);

        error = error && res != -EBUSY ? error : res;
    }
    mem_free(numbers);
    spool_destroy(s, false);
    return !error && out->bad_records > 0 ? -EBADMSG : error;
}

/* ---- dump --------------------------------------------------------------------------------- */

struct dump {
    struct spool *s;
    struct spool_log *log;
    struct spool_segment *seg;
    uint64_t id; /* 0: all */
    struct spool_part_texts texts;
};

static const char *const state_names[] = {"waiting", "delivered", "bounced", "deleted"};

/* What is usual goes without saying. */
static void dump_terms(const struct dump *d, const struct spool_terms *t)
{
    if (spool_terms_any(t))
        spool_finding(d->s, "  deliver_by=%u priority=%d", t->deliver_by_s, t->priority);
}

static void dump_recipients(const struct dump *d, const struct spool_message_view *v)
{
    struct slice *texts = mem_calloc(v->recipient_count + 1, sizeof(*texts));
    struct spool_dsn *dsn = mem_calloc(v->recipient_count + 1, sizeof(*dsn));

    spool_message_recipients(v, texts);
    spool_message_dsn(v, dsn);
    for (uint32_t i = 0; i < v->recipient_count; i++) {
        struct spool_recipient to;

        spool_message_recipient(v, i, &to);
        spool_finding(d->s, "  recipient %u <%.*s> %s attempts=%u due=%u flags=%u", i,
                      SLICE_ARG(texts[i]), state_names[to.state], to.attempts, to.due_s, to.flags);
        if (dsn[i].notify != 0 || dsn[i].orcpt.len > 0)
            spool_finding(d->s, "  recipient %u notify=%u orcpt=%.*s", i, dsn[i].notify,
                          SLICE_ARG(dsn[i].orcpt));
    }
    mem_free(texts);
    mem_free(dsn);
}

static void dump_message(const struct dump *d, const struct spool_record *r)
{
    struct spool_message_view v;

    if (!spool_message_decode(r, &v)) {
        spool_finding(d->s, "  says what cannot be");
        return;
    }
    spool_finding(d->s, "  sender=<%.*s> arrived=%u flags=%u body=%llu in_record=%zu extents=%u",
                  SLICE_ARG(v.sender), v.arrived_s, v.flags, (unsigned long long)v.body_len,
                  v.body.len, v.extent_count);
    if (v.envid.len > 0)
        spool_finding(d->s, "  envid=%.*s", SLICE_ARG(v.envid));
    dump_terms(d, &v.terms);
    dump_recipients(d, &v);
    for (uint32_t i = 0; i < v.extent_count; i++) {
        struct spool_extent_entry e =
            spool_extent_entry_decode(v.extents + (size_t)i * SPOOL_EXTENT_ENTRY);

        spool_finding(d->s, "  extent %u segment=%016llx offset=%u bytes=%u", i,
                      (unsigned long long)e.segment, e.offset, e.body_len);
    }
    if (v.facts.len > 0)
        spool_finding(d->s, "  %.*s", SLICE_ARG(v.facts));
}

static void dump_outcome(const struct dump *d, const struct spool_record *r)
{
    struct slice payload = slice_of(r->payload, r->payload_len);
    struct spool_outcome_entry e;

    while (spool_outcome_entry_decode(&payload, &e))
        spool_finding(d->s, "  recipient %u %s attempts=%u due=%u flags=%u %.*s", e.recipient,
                      state_names[e.state], e.attempts, e.due_s, e.flags, SLICE_ARG(e.text));
}

static void dump_part_entry(const struct dump *d, const struct spool_part_entry *e)
{
    char text[ID_TEXT_SIZE];

    id_to_text(e->id, text);
    spool_finding(d->s, "  message %s segment=%016llx offset=%u recipients=%u", text,
                  (unsigned long long)e->segment, e->offset, e->recipient_count);
    if (d->id == 0)
        return;
    dump_terms(d, &e->terms);
    for (uint32_t i = 0; i < e->recipient_count; i++) {
        struct spool_recipient to;

        spool_part_recipient(e, i, &to);
        spool_finding(d->s, "  recipient %u %s attempts=%u due=%u flags=%u", i,
                      state_names[to.state], to.attempts, to.due_s, to.flags);
    }
    if (e->text.len > 0)
        spool_finding(d->s, "  reason %.*s", SLICE_ARG(e->text));
}

static void dump_part(struct dump *d, const struct spool_record *r)
{
    struct slice payload = slice_of(r->payload, r->payload_len);
    struct spool_part_entry e;

    d->texts.count = 0;
    while (spool_part_entry_decode(&payload, r->version, &d->texts, &e)) {
        if (d->id == 0 || e.id == d->id)
            dump_part_entry(d, &e);
    }
}

static bool part_names(struct dump *d, const struct spool_record *r)
{
    struct slice payload = slice_of(r->payload, r->payload_len);
    struct spool_part_entry e;

    d->texts.count = 0;
    while (spool_part_entry_decode(&payload, r->version, &d->texts, &e)) {
        if (e.id == d->id)
            return true;
    }
    return false;
}

static void dump_record_terms(const struct dump *d, const struct spool_record *r)
{
    if (r->payload_len >= SPOOL_TERMS_LEN) {
        const struct spool_terms t = spool_terms_decode(r->payload);

        spool_finding(d->s, "  deliver_by=%u priority=%d", t.deliver_by_s, t.priority);
    }
}

static bool concerns(struct dump *d, const struct spool_record *r)
{
    if (d->id == 0)
        return true;
    return r->type == SPOOL_RECORD_PART
               ? part_names(d, r)
               : r->id == d->id && r->type != SPOOL_RECORD_BEGIN && r->type != SPOOL_RECORD_END;
}

static void dump_record(void *context, const struct spool_record *r, uint32_t offset)
{
    static const char *const names[] = {"",     "message", "extent", "outcome", "begin",
                                        "part", "end",     "void",   "terms"};
    struct dump *d = context;
    char text[ID_TEXT_SIZE];

    _Static_assert(ARRAY_LEN(names) == SPOOL_RECORD_TYPE_END, "a name a type");
    if (!concerns(d, r))
        return;
    id_to_text(r->id, text);
    spool_finding(d->s, "%u/%016llx.seg offset %u %s %s len=%u", d->log->number,
                  (unsigned long long)d->seg->number, offset, names[r->type], text, r->len);
    if (r->type == SPOOL_RECORD_MESSAGE)
        dump_message(d, r);
    else if (r->type == SPOOL_RECORD_OUTCOME)
        dump_outcome(d, r);
    else if (r->type == SPOOL_RECORD_PART)
        dump_part(d, r);
    else if (r->type == SPOOL_RECORD_TERMS)
        dump_record_terms(d, r);
}

static void dump_batch(void *context, const struct spool_batch_header *h)
{
    const struct dump *d = context;

    if (d->id == 0)
        spool_finding(d->s,
                      "%u/%016llx.seg offset %u batch %llu len=%u records=%u stable=%llu "
                      "checkpoint=%016llx:%u",
                      d->log->number, (unsigned long long)d->seg->number, h->offset,
                      (unsigned long long)h->sequence, h->len, h->records,
                      (unsigned long long)h->stable, (unsigned long long)h->checkpoint.segment,
                      h->checkpoint.offset);
}

static int dump_log(struct dump *d, uint16_t number)
{
    const struct spool_scan_visitor visitor = {
        .context = d, .batch = dump_batch, .record = dump_record};
    struct spool_recovery recovery = {0};
    struct buf why = {0};
    int error = 0;

    d->log = spool_log_open(d->s, number, SPOOL_LOG_DUMP, &recovery, &why, &error);
    if (!d->log)
        spool_finding(d->s, "%.*s", SLICE_ARG(buf_slice(&why)));
    buf_finish(&why);
    if (!d->log)
        return error;
    LIST_EACH(&d->log->segments, node)
    {
        d->seg = container_of(node, struct spool_segment, node);
        struct spool_scan_source source = spool_segment_source(d->seg);
        int res = spool_scan(&source, SPOOL_BLOCK, &visitor);

        error = error ? error : res;
    }
    return error;
}

int spool_dump(struct io *io, const char *path, uint64_t id,
               void (*line)(void *context, const char *text), void *context)
{
    struct spool *s = open_offline(io, path, line, context);
    struct dump d = {.s = s, .id = id};
    uint16_t *numbers = NULL;
    size_t count = 0;
    int error = list_offline(s, path, &numbers, &count);

    for (size_t i = 0; i < count; i++) {
        int res = 0;

        /* A message is in its own log only. */
        if (id == 0 || id >> SPOOL_SEQUENCE_BITS == numbers[i])
            res = dump_log(&d, numbers[i]);
        error = error ? error : res;
    }
    mem_free(numbers);
    spool_destroy(s, false);
    return error;
}
