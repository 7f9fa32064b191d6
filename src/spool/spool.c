/*
 * spool: a shard's logs together: opening, each pass, counters, pins.
 */
#include "spool.h"

#include <errno.h>
#include <stdlib.h>

#include "spool_priv.h"

static const uint32_t pool_room[SPOOL_POOLS] = {1, 4, 16};

static uint32_t smaller(uint32_t a, uint64_t b)
{
    return a < b ? a : (uint32_t)b;
}

static void check_options(const struct spool_options *o)
{
    ASSERT(o->path && o->shards > 0 && o->shard < o->shards && o->shard <= UINT16_MAX);
    ASSERT(o->segment_size % IO_ALIGN == 0 && o->segment_size >= 16 * IO_ALIGN);
    ASSERT(o->segment_size <= (uint64_t)1 << 31);
}

struct spool *spool_create(struct io *io, const struct spool_options *options, bool offline)
{
    struct spool *s = mem_zalloc(sizeof(*s));

    s->io = io;
    s->options = *options;
    list_init(&s->logs);
    list_init(&s->writers);
    list_init(&s->waiting);
    list_init(&s->finished);
    spool_index_init(&s->messages);
    hash_table_init(&s->texts);
    for (int i = 0; i < SPOOL_POOLS; i++)
        pool_init_compact(
            &s->message_pools[i], "spool messages",
            sizeof(struct spool_message) + pool_room[i] * sizeof(struct spool_recipient), 0);
    pool_init(&s->warm_pool, "spool warm messages", sizeof(struct spool_warm), 0);
    pool_init(&s->batch_pool, "spool batches", sizeof(struct spool_batch), 0);
    pool_init(&s->pending_pool, "spool pending", sizeof(struct spool_pending), 0);
    if (offline)
        return s;
    spool_staging_init(s);
    s->batch_max = smaller(s->staging.slot_len, options->segment_size - SPOOL_BLOCK);
    s->record_max = s->batch_max - SPOOL_BATCH_HEADER_LEN;
    s->extent_body_max =
        smaller(s->staging.extent_len, options->segment_size - SPOOL_BLOCK) - SPOOL_EXTENT_HEAD;
    s->inline_max = smaller(SPOOL_MEDIUM, s->extent_body_max);
    s->zeros = mem_alloc_aligned(SPOOL_BLOCK, SPOOL_FILL_LEN);
    memset(s->zeros, 0, SPOOL_FILL_LEN);
    return s;
}

static void free_messages(struct spool *s)
{
    struct spool_message *some[SPOOL_LEAF_MAX];
    uint64_t after = 0;
    uint32_t count;

    while ((count = spool_index_some(&s->messages, after, some)) > 0) {
        after = some[count - 1]->id;
        for (uint32_t i = 0; i < count; i++)
            spool_message_free(s, some[i]);
    }
    spool_index_finish(&s->messages);
}

void spool_destroy(struct spool *s, bool crashed)
{
    spool_writers_forget(s);
    free_messages(s);
    spool_texts_finish(s);
    LIST_EACH_SAFE(&s->logs, node)
    spool_log_close(container_of(node, struct spool_log, node), crashed);
    if (s->staging.slots)
        spool_staging_finish(s);
    for (int i = 0; i < SPOOL_POOLS; i++)
        pool_finish(&s->message_pools[i]);
    pool_finish(&s->warm_pool);
    pool_finish(&s->batch_pool);
    pool_finish(&s->pending_pool);
    mem_free(s->zeros);
    mem_free(s);
}

/* ---- directories -------------------------------------------------------------------------- */

struct directories {
    uint16_t *numbers;
    size_t count;
};

static bool visit_directory(void *context, const char *name)
{
    struct directories *d = context;
    uint64_t value;
    char text[U64_TEXT_SIZE];

    if (!slice_to_u64(slice_str(name), &value) || value > UINT16_MAX)
        return true;
    /* "01" is not a name of ours. */
    size_t len = u64_to_text(value, text);
    if (!slice_equal(slice_of(text, len), slice_str(name)))
        return true;
    d->numbers = mem_realloc(d->numbers, (d->count + 1) * sizeof(*d->numbers));
    d->numbers[d->count++] = (uint16_t)value;
    return true;
}

static int compare_u16(const void *a, const void *b)
{
    return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

int spool_directories(struct io *io, const char *path, uint16_t **out, size_t *out_count)
{
    struct directories d = {0};
    int error = io_list(io, path, visit_directory, &d);

    if (error) {
        mem_free(d.numbers);
        return error;
    }
    if (d.count > 0)
        qsort(d.numbers, d.count, sizeof(*d.numbers), compare_u16);
    *out = d.numbers;
    *out_count = d.count;
    return 0;
}

/* ---- opening ------------------------------------------------------------------------------ */

static int sync_directory(struct io *io, const char *path)
{
    struct io_op op = {0};

    io_open(io, &op, path, IO_OPEN_READ | IO_OPEN_DIRECTORY, 0);
    int fd = io_await(io, &op);
    if (fd < 0)
        return fd;
    io_fsync(io, &op, fd);
    int error = io_await(io, &op);
    io_close_now(io, fd);
    return error;
}

/* The directory of all, and that its name and the shards' last. */
static int make_root(struct spool *s, struct buf *out_error)
{
    const char *path = s->options.path;
    const char *slash = strrchr(path, '/');
    struct io_op op = {0};

    io_mkdir(s->io, &op, path, 0700);
    int error = io_await(s->io, &op);
    if (error < 0 && error != -EEXIST) {
        (void)buf_printf(out_error, "spool %s: cannot be made: %s", path, strerrordesc_np(-error));
        return error;
    }
    if (error == 0 && slash) {
        char *parent = mem_dup(path, (size_t)(slash - path) + 2);

        parent[slash == path ? 1 : slash - path] = '\0';
        error = sync_directory(s->io, parent);
        mem_free(parent);
        if (error)
            (void)buf_printf(out_error, "spool %s: the directory above it cannot be synced: %s",
                             path, strerrordesc_np(-error));
        return error;
    }
    return 0;
}

static bool open_logs(struct spool *s, struct spool_recovery *out, struct buf *out_error)
{
    const struct spool_options *o = &s->options;
    uint16_t *numbers = NULL;
    size_t count = 0;
    int error = make_root(s, out_error);

    if (error)
        return false;
    s->own = spool_log_open(s, (uint16_t)o->shard, SPOOL_LOG_OWN, out, out_error, &error);
    if (!s->own)
        return false;
    error = spool_directories(s->io, o->path, &numbers, &count);
    for (size_t i = 0; i < count && !error; i++) {
        if (numbers[i] != o->shard && numbers[i] % o->shards == o->shard)
            (void)spool_log_open(s, numbers[i], SPOOL_LOG_ADOPTED, out, out_error, &error);
    }
    mem_free(numbers);
    if (!error) {
        /* The directories that may just have been made. */
        error = sync_directory(s->io, o->path);
        if (error)
            (void)buf_printf(out_error, "spool %s: cannot be synced: %s", o->path,
                             strerrordesc_np(-error));
    }
    return error == 0;
}

/* Segment by segment: about in the order of arrival, and in memory as it was filled. */
static void hand_over(struct spool *s)
{
    LIST_EACH(&s->logs, log_node)
    {
        struct spool_log *log = container_of(log_node, struct spool_log, node);

        LIST_EACH(&log->segments, seg_node)
        {
            struct spool_segment *seg = container_of(seg_node, struct spool_segment, node);

            LIST_EACH(&seg->messages, node)
            spool_text_hand_over(s, container_of(node, struct spool_message, in_segment));
        }
    }
}

static void log_recovery(const struct spool *s, const struct spool_recovery *rec)
{
    struct log_record r;

    log_begin(&r, rec->bad_records ? LOG_ERROR : LOG_INFO, "spool_recovered");
    log_str(&r, "path", s->options.path);
    log_u64(&r, "shard", s->options.shard);
    log_u64(&r, "segments", rec->segments);
    log_u64(&r, "records", rec->records);
    log_u64(&r, "messages", rec->messages);
    log_u64(&r, "recipients", rec->recipients);
    log_u64(&r, "torn_bytes", rec->torn_bytes);
    log_u64(&r, "bad_records", rec->bad_records);
    log_u64(&r, "ms", rec->duration_ms);
    log_end(&r);
}

struct spool *spool_open(struct io *io, const struct spool_options *options,
                         struct spool_recovery *out_recovery, struct buf *out_error)
{
    check_options(options);
    struct spool *s = spool_create(io, options, false);
    struct spool_recovery recovery = {0};
    uint64_t begin_ns = io_now_ns(io);

    if (!open_logs(s, &recovery, out_error)) {
        spool_destroy(s, false);
        return NULL;
    }
    recovery.duration_ms = (io_now_ns(io) - begin_ns) / 1000000;
    log_recovery(s, &recovery);
    hand_over(s);
    if (out_recovery)
        *out_recovery = recovery;
    return s;
}

/* ---- each pass ---------------------------------------------------------------------------- */

void spool_step(struct spool *s)
{
    LIST_EACH(&s->logs, node)
    {
        struct spool_log *log = container_of(node, struct spool_log, node);

        spool_outcomes_step(log);
        if (log->own)
            spool_writers_step(s);
        spool_checkpoint_step(log);
        spool_compact_step(log);
        spool_batch_step(log);
        spool_files_step(log);
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t spool_next_ms(const struct spool *s)
{
    uint64_t now = io_now_ms(s->io), next = UINT64_MAX;

    if (!list_empty(&s->finished) || s->wake_left > 0)
        return now;
    if (!list_empty(&s->waiting))
        next = now + SPOOL_IDLE_MS;
    LIST_EACH(&s->logs, node)
    {
        const struct spool_log *log = container_of(node, struct spool_log, node);

        next = earlier(next, spool_files_next_ms(log));
        next = earlier(next, spool_batch_next_ms(log));
        next = earlier(next, spool_compact_next_ms(log));
    }
    return next;
}

void spool_stop(struct spool *s)
{
    s->stopping = true;
    /* What waits for a segment that could not be had a moment ago gets one more chance, at once. */
    LIST_EACH(&s->logs, node)
    {
        struct spool_log *log = container_of(node, struct spool_log, node);

        log->no_space = false;
        log->retry_ms = 0;
    }
}

bool spool_idle(const struct spool *s)
{
    if (!list_empty(&s->finished))
        return false;
    LIST_EACH(&s->logs, node)
    {
        const struct spool_log *log = container_of(node, struct spool_log, node);

        if (!spool_batch_idle(log) || !spool_files_idle(log) || !spool_checkpoint_idle(log)
            || !spool_compact_idle(log))
            return false;
    }
    return true;
}

void spool_close(struct spool *s, bool crashed)
{
    if (!s)
        return;
    ASSERT(crashed || (spool_idle(s) && list_empty(&s->writers)));
    spool_destroy(s, crashed);
}

/* ---- pins --------------------------------------------------------------------------------- */

struct spool_ref spool_pin(struct spool *s, struct spool_message *m)
{
    struct spool_staging *st = &s->staging;
    struct spool_ref ref = {.log = m->segment->log, .message = m};

    spool_message_pin(s, m);
    if (!spool_hot(m))
        return ref;
    struct spool_slot *slot = spool_slot_of(s, spool_hot(m));
    /* Commits need slots more than deliveries need memory. */
    if (slot->pins == 0 && 2 * (st->pinned + 1) > st->slot_count)
        return ref;
    if (slot->pins++ == 0)
        st->pinned++;
    ref.hot = spool_hot(m);
    ref.hot_slot = slot;
    return ref;
}

void spool_unpin(struct spool *s, struct spool_message *m, struct spool_ref *ref)
{
    struct spool_slot *slot = ref->hot_slot;

    ASSERT(ref->message == m);
    if (slot) {
        ASSERT(slot->pins > 0);
        if (--slot->pins == 0) {
            s->staging.pinned--;
            s->wake = true;
        }
    }
    *ref = (struct spool_ref){0};
    spool_message_unpin(s, m);
}

/* ---- counters ----------------------------------------------------------------------------- */

void spool_counters(const struct spool *s, struct spool_counters *out)
{
    const struct spool_staging *st = &s->staging;

    *out = s->counters;
    LIST_EACH(&s->logs, node)
    {
        const struct spool_log *log = container_of(node, struct spool_log, node);

        out->segments += log->segment_count;
        out->segments_spare += log->spare_count;
        out->bytes_disk += log->bytes_disk;
        out->bytes_live += log->live_bytes;
    }
    for (uint32_t i = 0; i < st->slot_count; i++) {
        if (!list_empty(&st->slots[i].messages))
            out->bytes_hot += st->slots[i].fill;
    }
    out->bytes_staging = st->writer_memory + (uint64_t)st->extents_used * st->extent_len;
}
