/*
 * spool_reader: a message's bytes, from memory while it is hot, else from its log, verified. May run on
 * another shard than the one that owns the message: of the message and its segments it reads only what
 * stands still while the message is pinned.
 */
#include <errno.h>

#include "spool_priv.h"

#define NOTHING_LOADED UINT32_MAX

static uint32_t read_from(const struct spool_reader *r)
{
    return r->offset / SPOOL_BLOCK * SPOOL_BLOCK;
}

static uint32_t read_len(const struct spool_reader *r)
{
    return (uint32_t)spool_round_up(r->offset + r->len - read_from(r), SPOOL_BLOCK);
}

static void submit_read(struct spool_reader *r)
{
    io_read(r->io, &r->op, r->segment->fd, r->target + r->got, read_len(r) - r->got,
            read_from(r) + r->got);
}

static bool check_record(struct spool_reader *r, uint8_t type, struct spool_record *out)
{
    const uint8_t *at = r->target + r->offset % SPOOL_BLOCK;
    uint64_t mask = spool_segment_mask(r->segment, r->offset);

    return spool_record_decode(at, r->len, mask, out) && out->type == type
           && out->id == r->ref.message->id && out->len == r->len;
}

static void record_loaded(struct spool_reader *r)
{
    struct spool_record rec;

    if (check_record(r, SPOOL_RECORD_MESSAGE, &rec))
        r->record = slice_of(rec.payload - SPOOL_RECORD_HEADER_LEN, rec.len);
    else
        r->error = -EBADMSG;
}

static void extent_loaded(struct spool_reader *r)
{
    struct spool_record rec;

    if (check_record(r, SPOOL_RECORD_EXTENT, &rec))
        r->extent_loaded = r->next_piece;
    else
        r->error = -EBADMSG;
}

static void read_done(struct io_op *op)
{
    struct spool_reader *r = container_of(op, struct spool_reader, op);
    int progress = spool_read_progress(op->res, read_len(r), &r->got);

    if (progress == 1) {
        submit_read(r);
        return;
    }
    if (progress < 0)
        r->error = progress;
    else if (r->target == r->record_memory)
        record_loaded(r);
    else
        extent_loaded(r);
    r->target = NULL;
    r->ready(r);
}

static void read_begin(struct spool_reader *r, const struct spool_segment *seg, uint32_t offset,
                       uint32_t len)
{
    r->segment = seg;
    r->offset = offset;
    r->len = len;
    r->got = 0;
    r->op.done = read_done;
}

static void record_begin(struct spool_reader *r)
{
    const struct spool_message *m = r->ref.message;

    read_begin(r, m->segment, m->offset, m->record_len);
    if (!r->record_memory)
        r->record_memory = mem_alloc_aligned(SPOOL_BLOCK, read_len(r));
    r->target = r->record_memory;
    submit_read(r);
}

static void extent_begin(struct spool_reader *r, uint32_t index)
{
    const struct spool_extent *e = &r->ref.message->extents[index];

    read_begin(r, e->segment, e->offset, SPOOL_RECORD_HEADER_LEN + e->body_len);
    if (r->extent_memory_len < read_len(r)) {
        mem_free(r->extent_memory);
        r->extent_memory_len = read_len(r);
        r->extent_memory = mem_alloc_aligned(SPOOL_BLOCK, r->extent_memory_len);
    }
    r->extent_loaded = NOTHING_LOADED;
    r->target = r->extent_memory;
    submit_read(r);
}

/* ---- the face ----------------------------------------------------------------------------- */

void spool_reader_begin(struct spool_reader *r, struct io *io, const struct spool_ref *ref,
                        void (*ready)(struct spool_reader *r))
{
    *r = (struct spool_reader){
        .io = io, .ref = *ref, .ready = ready, .extent_loaded = NOTHING_LOADED};
    if (ref->hot)
        r->record = slice_of(ref->hot, ref->message->record_len);
}

/* WAIT, ERROR, or PIECE when the record is there. */
static enum spool_read need_record(struct spool_reader *r, struct spool_message_view *v)
{
    if (r->error)
        return SPOOL_READ_ERROR;
    if (r->target)
        return SPOOL_READ_WAIT;
    if (!r->record.data) {
        record_begin(r);
        return SPOOL_READ_WAIT;
    }
    /* Verified when it was read, or our own memory. */
    struct spool_record rec = {
        .type = SPOOL_RECORD_MESSAGE,
        .len = (uint32_t)r->record.len,
        .aux = get_le32(r->record.data + 12),
        .id = r->ref.message->id,
        .payload = r->record.data + SPOOL_RECORD_HEADER_LEN,
        .payload_len = (uint32_t)r->record.len - SPOOL_RECORD_HEADER_LEN,
    };
    if (!spool_message_decode(&rec, v) || v->recipient_count != r->ref.message->recipient_count
        || v->extent_count != r->ref.message->extent_count) {
        r->error = -EBADMSG;
        return SPOOL_READ_ERROR;
    }
    return SPOOL_READ_PIECE;
}

static void count(struct spool_reader *r, size_t len, bool hot)
{
    if (hot)
        r->bytes_hot += len;
    else
        r->bytes_cold += len;
}

enum spool_read spool_reader_envelope(struct spool_reader *r, struct slice *out_sender,
                                      struct slice *out_recipients, struct slice *out_facts)
{
    struct spool_message_view v;
    enum spool_read result = need_record(r, &v);

    if (result != SPOOL_READ_PIECE)
        return result;
    if (out_sender)
        *out_sender = v.sender;
    if (out_facts)
        *out_facts = v.facts;
    if (out_recipients)
        spool_message_recipients(&v, out_recipients);
    return SPOOL_READ_PIECE;
}

void spool_reader_dsn(struct spool_reader *r, struct slice *out_envid, struct spool_dsn *out_dsn)
{
    struct spool_message_view v;
    enum spool_read result = need_record(r, &v);

    ASSERT(result == SPOOL_READ_PIECE); /* the envelope has been one */
    if (out_envid)
        *out_envid = v.envid;
    if (out_dsn)
        spool_message_dsn(&v, out_dsn);
}

enum spool_read spool_reader_body(struct spool_reader *r, struct slice *out_piece)
{
    const struct spool_message *m = r->ref.message;
    struct spool_message_view v;
    enum spool_read result = need_record(r, &v);

    if (result != SPOOL_READ_PIECE)
        return result;
    if (r->next_piece < m->extent_count) {
        if (r->extent_loaded != r->next_piece) {
            extent_begin(r, r->next_piece);
            return SPOOL_READ_WAIT;
        }
        const uint8_t *at = r->extent_memory + r->offset % SPOOL_BLOCK;
        *out_piece = slice_of(at + SPOOL_RECORD_HEADER_LEN, m->extents[r->next_piece].body_len);
        count(r, out_piece->len, false);
        r->next_piece++;
        return SPOOL_READ_PIECE;
    }
    if (r->next_piece == m->extent_count && v.body.len > 0) {
        *out_piece = v.body;
        count(r, v.body.len, r->ref.hot != NULL);
        r->next_piece++;
        return SPOOL_READ_PIECE;
    }
    return SPOOL_READ_END;
}

void spool_reader_rewind(struct spool_reader *r)
{
    r->next_piece = 0;
}

bool spool_reader_busy(const struct spool_reader *r)
{
    return io_op_busy(&r->op);
}

void spool_reader_finish(struct spool_reader *r)
{
    ASSERT(!spool_reader_busy(r));
    mem_free(r->record_memory);
    mem_free(r->extent_memory);
    r->record_memory = r->extent_memory = NULL;
    r->extent_memory_len = 0;
    r->record = SLICE_NULL;
    r->extent_loaded = NOTHING_LOADED;
}
