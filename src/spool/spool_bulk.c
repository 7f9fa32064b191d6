/*
 * spool_bulk: envelopes of many messages with few large reads. A batch is sorted by place; neighbours
 * whose envelopes lie close to each other become one read of up to 256 KiB, and a few of those are in
 * flight while rows are taken in order. What lies between two envelopes is read along if it is less
 * than a separate read costs. Where an envelope stands follows from what memory knows of the message, so
 * that a large body before it need not be read; its own sum says that it is right.
 */
#include <errno.h>
#include <stdlib.h>

#include "spool_priv.h"

enum { READS = 4, READ_LEN = 256 << 10, GAP_MAX = 32 << 10 };

/* Of an added message's envelope with its extents, which are pinned to stay there. */
struct place {
    struct spool_message *message; /* NULL: taken */
    const struct spool_segment *segment;
    uint32_t offset, len;
};

struct read {
    struct io_op op;
    struct spool_bulk *bulk;
    uint8_t *data;
    uint32_t capacity;
    const struct spool_segment *segment;
    uint32_t offset, len, got; /* in the segment */
    uint32_t next, end;        /* places whose rows are in it */
    bool done;
    int error;
};

struct spool_bulk {
    struct spool *s;
    void (*ready)(void *context);
    void *context;
    struct place places[SPOOL_BULK_MAX];
    uint32_t count, planned; /* of places; those up to `planned` are in reads */
    bool taking, waits, dropped;
    struct read reads[READS];
    uint32_t read_first, read_count; /* a ring */
    struct spool_message *row;       /* the last one that was handed out: pinned still */
    struct spool_message_view view;  /* of it */
};

struct spool_bulk *spool_bulk_create(struct spool *s, void (*ready)(void *context), void *context)
{
    struct spool_bulk *b = mem_zalloc(sizeof(*b));

    b->s = s;
    b->ready = ready;
    b->context = context;
    for (int i = 0; i < READS; i++)
        b->reads[i].bulk = b;
    return b;
}

static struct read *read_at(struct spool_bulk *b, uint32_t index)
{
    return &b->reads[(b->read_first + index) % READS];
}

bool spool_bulk_busy(const struct spool_bulk *b)
{
    for (int i = 0; i < READS; i++) {
        if (io_op_busy(&b->reads[i].op))
            return true;
    }
    return false;
}

static void place_release(struct spool_bulk *b, struct place *p)
{
    struct spool_message *m = p->message;

    p->message = NULL;
    if (m)
        spool_message_unpin(b->s, m);
}

bool spool_bulk_add(struct spool_bulk *b, struct spool_message *m)
{
    uint64_t in_record = m->body_len;

    ASSERT(!b->taking && !spool_bulk_busy(b));
    if (b->count == SPOOL_BULK_MAX)
        return false;
    for (uint32_t i = 0; i < m->extent_count; i++)
        in_record -= m->extents[i].body_len;
    spool_message_pin(b->s, m);
    b->places[b->count++] = (struct place){
        .message = m,
        .segment = m->segment,
        .offset = m->offset + SPOOL_RECORD_HEADER_LEN + (uint32_t)in_record,
        .len = m->record_len - SPOOL_RECORD_HEADER_LEN - (uint32_t)in_record,
    };
    return true;
}

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    const struct spool_segment *s = x->segment, *t = y->segment;

    if (s->log != t->log)
        return s->log->number < t->log->number ? -1 : 1;
    if (s != t)
        return s->number < t->number ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* ---- reads -------------------------------------------------------------------------------- */

static void read_submit(struct read *r)
{
    io_read(r->bulk->s->io, &r->op, r->segment->fd, r->data + r->got, r->len - r->got,
            r->offset + r->got);
}

static void read_done(struct io_op *op)
{
    struct read *r = container_of(op, struct read, op);
    struct spool_bulk *b = r->bulk;
    int progress = spool_read_progress(op->res, r->len, &r->got);

    if (progress == 1) {
        read_submit(r);
        return;
    }
    r->error = progress;
    r->done = true;
    if (b->dropped) {
        for (uint32_t i = r->next; i < r->end; i++)
            place_release(b, &b->places[i]);
        r->next = r->end;
        if (spool_bulk_busy(b))
            return;
        b->dropped = false;
        b->count = b->planned = b->read_count = 0;
        b->ready(b->context);
    } else if (b->waits && read_at(b, 0)->done) {
        b->waits = false;
        b->ready(b->context);
    }
}

static uint32_t block_end(const struct place *p)
{
    return (uint32_t)spool_round_up(p->offset + p->len, SPOOL_BLOCK);
}

static void read_begin(struct spool_bulk *b)
{
    struct read *r = read_at(b, b->read_count++);
    const struct place *first = &b->places[b->planned];
    uint32_t from = first->offset / SPOOL_BLOCK * SPOOL_BLOCK, to = block_end(first);

    r->next = b->planned++;
    for (; b->planned < b->count; b->planned++) {
        const struct place *p = &b->places[b->planned];

        if (p->segment != first->segment || p->offset > to + GAP_MAX
            || block_end(p) - from > READ_LEN)
            break;
        to = block_end(p) > to ? block_end(p) : to;
    }
    r->end = b->planned;
    r->segment = first->segment;
    r->offset = from;
    r->len = to - from;
    r->got = 0;
    r->done = false;
    r->error = 0;
    if (r->capacity < r->len) {
        /* One envelope may be longer than a read usually is. */
        mem_free(r->data);
        r->capacity = r->len > READ_LEN ? r->len : READ_LEN;
        r->data = mem_alloc_aligned(SPOOL_BLOCK, r->capacity);
    }
    r->op.done = read_done;
    read_submit(r);
}

/* ---- rows --------------------------------------------------------------------------------- */

/* The place's bytes become the view. */
static int place_decode(struct spool_bulk *b, const struct read *r, const struct place *p)
{
    const uint8_t *block = r->data + (p->offset - r->offset);
    const struct spool_message *m = p->message;

    if (r->error)
        return r->error;
    if (!spool_envelope_decode(block, p->len, &b->view)
        || !spool_envelope_sum_is_right(block, b->view.block_len, m->id)
        || b->view.recipient_count != m->recipient_count || b->view.extent_count != m->extent_count
        || b->view.body_len != m->body_len)
        return -EBADMSG;
    return 0;
}

static void row_release(struct spool_bulk *b)
{
    struct spool_message *m = b->row;

    b->row = NULL;
    if (m)
        spool_message_unpin(b->s, m);
}

enum spool_read spool_bulk_next(struct spool_bulk *b, struct spool_bulk_row *out)
{
    ASSERT(!b->dropped);
    row_release(b);
    if (!b->taking)
        qsort(b->places, b->count, sizeof(*b->places), compare_places);
    b->taking = true;
    for (;;) {
        while (b->read_count < READS && b->planned < b->count)
            read_begin(b);
        if (b->read_count == 0)
            break;
        struct read *r = read_at(b, 0);
        if (!r->done) {
            b->waits = true;
            return SPOOL_READ_WAIT;
        }
        if (r->next == r->end) {
            b->read_first = (b->read_first + 1) % READS;
            b->read_count--;
            continue;
        }
        struct place *p = &b->places[r->next++];
        if (p->message->spool_state & SPOOL_M_DEAD) {
            place_release(b, p);
            continue;
        }
        *out = (struct spool_bulk_row){.message = p->message, .error = place_decode(b, r, p)};
        if (out->error == 0) {
            out->sender = b->view.sender;
            out->facts = b->view.facts;
            out->envid = b->view.envid;
        }
        b->row = p->message;
        p->message = NULL;
        return SPOOL_READ_PIECE;
    }
    b->taking = false;
    b->count = b->planned = 0;
    return SPOOL_READ_END;
}

void spool_bulk_recipients(const struct spool_bulk *b, struct slice *out)
{
    ASSERT(b->row && b->view.recipient_count == b->row->recipient_count);
    spool_message_recipients(&b->view, out);
}

void spool_bulk_dsn(const struct spool_bulk *b, struct spool_dsn *out)
{
    ASSERT(b->row && b->view.recipient_count == b->row->recipient_count);
    spool_message_dsn(&b->view, out);
}

/* ---- the end ------------------------------------------------------------------------------ */

void spool_bulk_drop(struct spool_bulk *b)
{
    row_release(b);
    for (uint32_t i = 0; i < b->read_count; i++) {
        struct read *r = read_at(b, i);

        /* What a read under way is for stays where it is until then. */
        for (; r->done && r->next < r->end; r->next++)
            place_release(b, &b->places[r->next]);
    }
    for (uint32_t i = b->planned; i < b->count; i++)
        place_release(b, &b->places[i]);
    b->taking = b->waits = false;
    b->dropped = spool_bulk_busy(b);
    if (!b->dropped)
        b->count = b->planned = b->read_count = 0;
}

void spool_bulk_destroy(struct spool_bulk *b, bool crashed)
{
    if (!b)
        return;
    if (!crashed) {
        ASSERT(!spool_bulk_busy(b));
        spool_bulk_drop(b);
    }
    for (int i = 0; i < READS; i++)
        mem_free(b->reads[i].data);
    mem_free(b);
}
