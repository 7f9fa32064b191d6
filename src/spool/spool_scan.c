/*
 * spool_scan: reads a segment from front to back and survives whatever it finds. Where a batch header
 * stands its records are walked; where something is wrong the next record is looked for, at every
 * multiple of 8, in and between batches. The tag in a record's header depends on the segment's random
 * salt, so that no sender of mail can write bytes that look like records, and a look costs next to
 * nothing.
 */
#include <errno.h>

#include "spool_priv.h"

enum { WINDOW_LEN = 2 << 20, READ_LEN = 1 << 20 };
_Static_assert((int)WINDOW_LEN >= (int)SPOOL_BATCH_LEN_MAX + 2 * (int)SPOOL_BLOCK, "a batch fits");

struct scan {
    struct spool_scan_source *source;
    const struct spool_scan_visitor *visitor;
    uint8_t *window;
    uint32_t start, end; /* of what is in the window */
    uint32_t bad_from;   /* of the damaged range being passed; 0: none */
    int error;
};

int spool_read_progress(int32_t res, uint32_t want, uint32_t *got)
{
    if (res < 0)
        return res;
    if (res == 0)
        return -EIO; /* the file ends too early */
    if (*got + (uint32_t)res >= want)
        return 0;
    /* Direct reads go on at a block. */
    uint32_t whole = (uint32_t)res / SPOOL_BLOCK * SPOOL_BLOCK;
    if (whole == 0)
        return -EIO;
    *got += whole;
    return 1;
}

int spool_read_await(struct io *io, int fd, void *data, uint32_t len, uint64_t offset)
{
    struct io_op op = {0};
    uint32_t got = 0;
    int progress;

    do {
        io_read(io, &op, fd, (uint8_t *)data + got, len - got, offset + got);
        progress = spool_read_progress(io_await(io, &op), len, &got);
    } while (progress == 1);
    return progress;
}

/* ---- the window --------------------------------------------------------------------------- */

/* Bytes [at, at + len) of the segment, as far as it goes; NULL when reading failed. */
static const uint8_t *look(struct scan *scan, uint32_t at, uint32_t len)
{
    const struct spool_scan_source *source = scan->source;

    ASSERT(len <= SPOOL_BATCH_LEN_MAX && at + len <= source->size);
    if (scan->error) /* the end, even if a second attempt would go well: something was not seen */
        return NULL;
    if (at >= scan->start && at + len <= scan->end)
        return scan->window + (at - scan->start);
    uint32_t from = at / SPOOL_BLOCK * SPOOL_BLOCK, kept = 0;
    if (from >= scan->start && from < scan->end) {
        kept = scan->end - from;
        memmove(scan->window, scan->window + (from - scan->start), kept);
    }
    uint32_t want = (uint32_t)spool_round_up(at + len - from, SPOOL_BLOCK);
    want = want < READ_LEN ? READ_LEN : want;
    want = want > source->size - from ? source->size - from : want;
    if (want > kept)
        scan->error =
            spool_read_await(source->io, source->fd, scan->window + kept, want - kept, from + kept);
    if (scan->error)
        return NULL;
    scan->start = from;
    scan->end = from + (want > kept ? want : kept);
    return scan->window + (at - from);
}

/* ---- damage ------------------------------------------------------------------------------- */

static void bad_begin(struct scan *scan, uint32_t at)
{
    if (scan->bad_from == 0)
        scan->bad_from = at;
}

static void bad_end(struct scan *scan, uint32_t at, uint64_t sequence)
{
    if (scan->bad_from != 0 && scan->visitor->damage)
        scan->visitor->damage(scan->visitor->context, scan->bad_from, at - scan->bad_from,
                              sequence);
    scan->bad_from = 0;
}

/* ---- records ------------------------------------------------------------------------------ */

/* A whole record at `at`, before `end`: its length, or 0. */
static uint32_t record_at(struct scan *scan, uint32_t at, uint32_t end)
{
    const struct spool_scan_source *source = scan->source;
    uint64_t mask = spool_mask(source->number, source->salt, at);
    struct spool_record r;

    if (end - at < SPOOL_RECORD_HEADER_LEN)
        return 0;
    const uint8_t *in = look(scan, at, SPOOL_RECORD_HEADER_LEN);
    if (!in || !spool_record_plausible(in, mask))
        return 0;
    uint32_t len = spool_record_len(in);
    if (len < SPOOL_RECORD_HEADER_LEN || len > end - at || len > SPOOL_BATCH_LEN_MAX)
        return 0;
    in = look(scan, at, len);
    if (!in || !spool_record_decode(in, len, mask, &r))
        return 0;
    scan->visitor->record(scan->visitor->context, &r, at);
    return (uint32_t)spool_round_up(len, SPOOL_RECORD_ALIGN);
}

static void batch_records(struct scan *scan, const struct spool_batch_header *h)
{
    uint32_t at = h->offset + SPOOL_BATCH_HEADER_LEN, end = h->offset + h->len;

    while (at < end && !scan->error) {
        uint32_t len = record_at(scan, at, end);

        if (len > 0) {
            bad_end(scan, at, h->sequence);
            at += len;
        } else {
            bad_begin(scan, at);
            at += SPOOL_RECORD_ALIGN;
        }
    }
    bad_end(scan, end, h->sequence);
}

/* ---- batches ------------------------------------------------------------------------------ */

static bool batch_at(struct scan *scan, uint32_t at, struct spool_batch_header *out)
{
    struct spool_scan_source *source = scan->source;
    const uint8_t *in = look(scan, at, SPOOL_BATCH_HEADER_LEN);
    struct spool_batch_header h;

    if (!in || !spool_batch_header_decode(in, &h) || h.log != source->log
        || h.segment != source->number || h.offset != at || h.len > source->size - at)
        return false;
    if (!source->salt_known) {
        source->salt = h.salt; /* the segment's own header is lost */
        source->salt_known = true;
    }
    if (h.salt != source->salt)
        return false;
    *out = h;
    return true;
}

static bool all_zero(const uint8_t *block)
{
    return block[0] == 0 && memcmp(block, block + 1, SPOOL_BLOCK - 1) == 0;
}

/* Outside any batch: its end, or what an unlucky crash or rot left of one. */
static uint32_t between(struct scan *scan, uint32_t at)
{
    uint32_t size = scan->source->size;

    if (at % SPOOL_BLOCK == 0) {
        const uint8_t *block = look(scan, at, SPOOL_BLOCK);

        if (!block)
            return size;
        if (all_zero(block))
            return at + SPOOL_BLOCK;
    }
    if (!scan->visitor->record)
        return (uint32_t)spool_round_up(at + 1, SPOOL_BLOCK);
    uint32_t len = scan->source->salt_known ? record_at(scan, at, size) : 0;
    if (len == 0)
        return at + SPOOL_RECORD_ALIGN;
    return at + len;
}

int spool_scan(struct spool_scan_source *source, uint32_t from,
               const struct spool_scan_visitor *visitor)
{
    struct scan scan = {.source = source, .visitor = visitor};
    uint32_t at = from;

    ASSERT(from % SPOOL_BLOCK == 0 && source->size % SPOOL_BLOCK == 0);
    scan.window = mem_alloc_aligned(SPOOL_BLOCK, WINDOW_LEN);
    while (at < source->size && !scan.error) {
        struct spool_batch_header h;

        if (at % SPOOL_BLOCK == 0 && batch_at(&scan, at, &h)) {
            if (visitor->batch)
                visitor->batch(visitor->context, &h);
            if (visitor->record)
                batch_records(&scan, &h);
            at = (uint32_t)spool_round_up(h.offset + h.len, SPOOL_BLOCK);
        } else {
            at = between(&scan, at);
        }
    }
    mem_free(scan.window);
    return scan.error;
}
