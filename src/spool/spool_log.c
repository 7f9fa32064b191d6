/*
 * spool_log: opens and closes a log's directory.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "spool_priv.h"

enum { CONTINUE_LEN = 16 << 10 };

struct listing {
    uint64_t *numbers, *spares;
    size_t number_count, spare_count;
};

static void push(uint64_t **array, size_t *count, uint64_t value)
{
    if ((*count & (*count + 1)) == 0 || *count == 0)
        *array = mem_realloc(*array, (2 * *count + 2) * sizeof(**array));
    (*array)[(*count)++] = value;
}

/* Exactly 16 lower-case hex digits and ".seg". */
static bool parse_segment(const char *name, uint64_t *out)
{
    uint64_t value = 0;

    if (strlen(name) != 20 || memcmp(name + 16, ".seg", 5) != 0)
        return false;
    for (int i = 0; i < 16; i++) {
        char c = name[i];

        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *out = value;
    return value > 0 && value < UINT64_MAX / 2;
}

static bool visit(void *context, const char *name)
{
    struct listing *l = context;
    uint64_t value;

    if (parse_segment(name, &value))
        push(&l->numbers, &l->number_count, value);
    else if (strncmp(name, "spare-", 6) == 0 && slice_to_u64(slice_str(name + 6), &value)
             && value < UINT64_MAX / 2)
        push(&l->spares, &l->spare_count, value);
    return true;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* ---- files -------------------------------------------------------------------------------- */

static int await_open(struct spool_log *log, const char *path, unsigned flags)
{
    struct io *io = log->spool->io;
    struct io_op op = {0};

    io_open(io, &op, path, flags | (log->direct ? IO_OPEN_DIRECT : 0), 0600);
    int fd = io_await(io, &op);
    if (fd == -EINVAL && log->direct) {
        log->direct = false; /* not every file system does direct I/O */
        io_open(io, &op, path, flags, 0600);
        fd = io_await(io, &op);
    }
    return fd;
}

static int await_fsync(struct io *io, int fd)
{
    struct io_op op = {0};

    io_fsync(io, &op, fd);
    return io_await(io, &op);
}

static int await_size(struct io *io, const char *path, uint64_t *out)
{
    struct io_op op = {0};
    struct io_stat stat = {0};

    io_stat(io, &op, path, &stat);
    int error = io_await(io, &op);
    *out = stat.size;
    return error;
}

static void await_unlink(struct io *io, const char *path)
{
    struct io_op op = {0};

    io_unlink(io, &op, path);
    (void)io_await(io, &op); /* found again at the next start */
}

static int fail(int error, struct buf *out_error, const char *path, const char *what)
{
    (void)buf_printf(out_error, "spool %s: %s: %s", path, what, strerrordesc_np(-error));
    return error;
}

static void report_file(const struct spool_log *log, const char *path, const char *what)
{
    struct log_record r;

    spool_finding(log->spool, "%s: %s", path, what);
    log_begin(&r, LOG_ERROR, "spool_file");
    log_u64(&r, "log", log->number);
    log_str(&r, "path", path);
    log_str(&r, "what", what);
    log_end(&r);
}

/* ---- segments ----------------------------------------------------------------------------- */

/* What a segment's own header says; without one it is still read. */
static int read_header(struct spool_log *log, struct spool_segment *seg, const char *path,
                       struct spool_recovery *out, struct buf *out_error)
{
    uint8_t *block = mem_alloc_aligned(SPOOL_BLOCK, SPOOL_BLOCK);
    struct spool_segment_header h;
    int error = spool_read_await(log->spool->io, seg->fd, block, SPOOL_BLOCK, 0);

    if (error) {
        (void)fail(error, out_error, path, "cannot be read; the disk may be failing");
    } else if (spool_segment_header_decode(block, &h)) {
        if (h.log != log->number || h.number != seg->number) {
            report_file(log, path, "belongs to another log or segment: left alone");
            error = -ESTALE;
        }
        seg->salt = h.salt;
        seg->epoch = h.epoch;
        seg->header_sequence = h.sequence;
        seg->header_id_limit = h.id_limit;
        seg->header_checkpoint = h.checkpoint;
        seg->header_ok = true;
    } else if (spool_segment_header_version(block) > SPOOL_FORMAT_VERSION) {
        error = fail(-EPROTONOSUPPORT, out_error, path, "was written by a newer mailring");
    } else {
        out->bad_records++;
        report_file(log, path, "the segment's header is damaged");
    }
    mem_free(block);
    return error;
}

static int open_segment(struct spool_log *log, uint64_t number, bool offline,
                        struct spool_recovery *out, struct buf *out_error)
{
    struct io *io = log->spool->io;
    char path[SPOOL_PATH_MAX];
    uint64_t size;

    spool_segment_path(log, number, path);
    int error = await_size(io, path, &size);
    if (error)
        return fail(error, out_error, path, "cannot be looked at");
    /* One block is a header before anything was written, whose zeros behind did not survive. */
    if (size < SPOOL_BLOCK || size > UINT32_MAX) {
        report_file(log, path, "is no segment: left alone");
        return 0;
    }
    int fd = await_open(log, path, offline ? IO_OPEN_READ : IO_OPEN_READ | IO_OPEN_WRITE);
    if (fd < 0)
        return fail(fd, out_error, path, "cannot be opened");
    /* Nothing is decided on what may be gone after the next power cut. */
    if (!offline && (error = await_fsync(io, fd)) < 0) {
        io_close_now(io, fd);
        return fail(error, out_error, path, "cannot be synced");
    }
    struct spool_segment *seg =
        spool_segment_create(log, number, fd, (uint32_t)(size / SPOOL_BLOCK * SPOOL_BLOCK));
    seg->empty = true;
    error = read_header(log, seg, path, out, out_error);
    if (error) {
        io_close_now(io, fd);
        spool_segment_destroy(seg);
        return error == -ESTALE ? 0 : error;
    }
    list_push_back(&log->segments, &seg->node);
    log->segment_count++;
    log->bytes_disk += seg->size;
    out->segments++;
    return 0;
}

/* A recycled segment's header may be the last to know which ids have been used. */
static int spare_header(struct spool_log *log, int fd)
{
    uint8_t *block = mem_alloc_aligned(SPOOL_BLOCK, SPOOL_BLOCK);
    struct spool_segment_header h;
    int error = spool_read_await(log->spool->io, fd, block, SPOOL_BLOCK, 0);

    if (!error && spool_segment_header_decode(block, &h) && h.log == log->number) {
        if (h.id_limit > log->next_id)
            log->next_id = h.id_limit;
        if (h.number >= log->next_number)
            log->next_number = h.number + 1;
        if (h.epoch > log->epoch)
            log->epoch = h.epoch;
    }
    mem_free(block);
    return error;
}

static int open_spare(struct spool_log *log, uint64_t k, struct buf *out_error)
{
    struct io *io = log->spool->io;
    char path[SPOOL_PATH_MAX];
    uint64_t size;

    spool_spare_path(log, k, path);
    int error = await_size(io, path, &size);
    if (error)
        return fail(error, out_error, path, "cannot be looked at");
    if (size < SPOOL_BLOCK || size > UINT32_MAX) {
        await_unlink(io, path); /* half written */
        return 0;
    }
    int fd = await_open(log, path, IO_OPEN_READ | IO_OPEN_WRITE);
    if (fd < 0)
        return fail(fd, out_error, path, "cannot be opened");
    error = spare_header(log, fd);
    if (error) {
        io_close_now(io, fd);
        return fail(error, out_error, path, "cannot be read; the disk may be failing");
    }
    struct spool_spare *spare = mem_zalloc(sizeof(*spare));
    spare->k = k;
    spare->fd = fd;
    spare->size = (uint32_t)size;
    list_init(&spare->node);
    if (size == log->segment_size) {
        list_push_back(&log->spares, &spare->node);
        log->spare_count++;
    } else {
        list_push_back(&log->odd_spares, &spare->node);
    }
    log->bytes_disk += size;
    return 0;
}

static int open_files(struct spool_log *log, bool offline, struct spool_recovery *out,
                      struct buf *out_error)
{
    struct listing l = {0};
    int error = io_list(log->spool->io, log->path, visit, &l);

    if (error)
        (void)fail(error, out_error, log->path, "cannot be listed");
    if (l.number_count > 0)
        qsort(l.numbers, l.number_count, sizeof(*l.numbers), compare_u64);
    for (size_t i = 0; i < l.number_count && !error; i++) {
        error = open_segment(log, l.numbers[i], offline, out, out_error);
        log->next_number = l.numbers[i] + 1;
    }
    for (size_t i = 0; i < l.spare_count && !error && !offline; i++) {
        if (l.spares[i] >= log->next_spare)
            log->next_spare = l.spares[i] + 1;
        error = open_spare(log, l.spares[i], out_error);
    }
    mem_free(l.numbers);
    mem_free(l.spares);
    return error;
}

/* ---- the directory and its lock ----------------------------------------------------------- */

static int take_lock(struct spool_log *log, bool offline, struct buf *out_error)
{
    struct io *io = log->spool->io;
    char path[SPOOL_PATH_MAX + 8], text[16] = "";
    unsigned flags = IO_OPEN_READ | IO_OPEN_WRITE | (offline ? 0 : IO_OPEN_CREATE);
    struct io_op op = {0};

    (void)snprintf(path, sizeof(path), "%s/lock", log->path);
    io_open(io, &op, path, flags, 0600);
    log->lock_fd = io_await(io, &op);
    if (offline && log->lock_fd == -ENOENT)
        return 0; /* nobody ever served it */
    if (log->lock_fd < 0)
        return fail(log->lock_fd, out_error, path, "cannot be opened");
    int error = io_lock(io, log->lock_fd);
    if (error == -EAGAIN) {
        io_read(io, &op, log->lock_fd, text, 10, 0);
        int got = io_await(io, &op);
        struct slice pid = slice_trim(slice_of(text, got > 0 ? (size_t)got : 0));
        (void)buf_printf(out_error, "spool %s is in use by another mailring",
                         log->spool->options.path);
        if (pid.len > 0)
            (void)buf_printf(out_error, " (pid %.*s)", SLICE_ARG(pid));
        return -EBUSY;
    }
    if (error)
        return fail(error, out_error, path, "cannot be locked");
    if (!offline && log->spool->options.process_id != 0) {
        (void)snprintf(text, sizeof(text), "%10u\n", log->spool->options.process_id);
        io_write(io, &op, log->lock_fd, text, 11, 0, 0);
        (void)io_await(io, &op); /* only for people */
    }
    return 0;
}

static int open_directory(struct spool_log *log, bool offline, struct buf *out_error)
{
    struct io *io = log->spool->io;
    struct io_op op = {0};

    if (!offline) {
        io_mkdir(io, &op, log->path, 0700);
        int error = io_await(io, &op);
        if (error < 0 && error != -EEXIST)
            return fail(error, out_error, log->path, "cannot be made");
    }
    io_open(io, &op, log->path, IO_OPEN_READ | IO_OPEN_DIRECTORY, 0);
    log->dir_fd = io_await(io, &op);
    if (log->dir_fd < 0)
        return fail(log->dir_fd, out_error, log->path, "cannot be opened");
    return 0;
}

/* ---- open and close ----------------------------------------------------------------------- */

static struct spool_log *log_create(struct spool *s, uint16_t number, bool own)
{
    struct spool_log *log = mem_zalloc(sizeof(*log));
    struct list *lists[] = {&log->segments, &log->spares,     &log->requeue, &log->closed,
                            &log->extents,  &log->submitted,  &log->commits, &log->draining,
                            &log->deferred, &log->odd_spares, &log->node};
    uint64_t size = s->options.segment_size;

    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        list_init(lists[i]);
    log->spool = s;
    log->number = number;
    log->own = own;
    log->direct = true;
    log->dir_fd = log->lock_fd = -1;
    log->next_number = log->next_spare = 1;
    log->segment_size = (uint32_t)size;
    if (!own && size > SPOOL_ADOPTED_SEGMENT)
        log->segment_size = SPOOL_ADOPTED_SEGMENT;
    int len = snprintf(log->path, sizeof(log->path), "%s/%u", s->options.path, number);
    ASSERT(len > 0 && len < SPOOL_PATH_MAX - 32);
    log->job.log = log;
    log->job.fd = -1;
    log->job.block = mem_alloc_aligned(SPOOL_BLOCK, SPOOL_BLOCK);
    log->compaction.log = log;
    list_init(&log->compaction.held);
    log->reap = true;
    list_push_back(&s->logs, &log->node);
    return log;
}

/* A full disk gave no segment, and the reserve is used up. Outcomes must go somewhere, or nothing will
 * ever make room: into the last segment, behind everything that is in it. */
static void continue_last(struct spool_log *log)
{
    struct spool_segment *last = container_of(log->segments.prev, struct spool_segment, node);
    struct log_record r;

    if (list_empty(&log->segments) || !last->header_ok || last->bad
        || last->size - last->fill < CONTINUE_LEN)
        return;
    log->active = last;
    log_begin(&r, LOG_WARNING, "spool_continues");
    log_u64(&r, "log", log->number);
    log_u64(&r, "segment", last->number);
    log_u64(&r, "offset", last->fill);
    log_str(&r, "what", "the disk is full: the last segment is used on");
    log_end(&r);
}

struct spool_log *spool_log_open(struct spool *s, uint16_t number, enum spool_log_mode mode,
                                 struct spool_recovery *out, struct buf *out_error, int *out_errno)
{
    bool own = mode == SPOOL_LOG_OWN, offline = !own && mode != SPOOL_LOG_ADOPTED;
    struct spool_log *log = log_create(s, number, own);
    int error = open_directory(log, offline, out_error);

    if (!error && mode != SPOOL_LOG_DUMP)
        error = take_lock(log, offline, out_error);
    if (!error)
        error = open_files(log, offline, out, out_error);
    if (!error && mode != SPOOL_LOG_DUMP)
        error = spool_recover(log, out, out_error);
    if (!error && !offline && (error = await_fsync(s->io, log->dir_fd)) < 0)
        (void)fail(error, out_error, log->path, "cannot be synced");
    *out_errno = error;
    if (error) {
        spool_log_close(log, false);
        return NULL;
    }
    if (offline)
        return log;
    spool_checkpoint_rotated(log);
    /* When room is short each start takes a segment; a checkpoint gives others back. */
    if (log->spare_count < spool_reserve(log) && log->segment_count > 2)
        log->check.wanted = own || log->live_messages > 0;
    if (!own && log->live_messages == 0)
        log->check.wanted = log->segment_count > 1 || log->spare_count > 0
                            || !list_empty(&log->odd_spares); /* leaves one small segment behind */
    /* Without a segment (no space) what is queued is delivered all the same. */
    if (own && !spool_files_await_next(log) && log->no_space)
        continue_last(log);
    return log;
}

static void close_fd(struct spool_log *log, int fd, bool crashed)
{
    if (fd >= 0 && !crashed)
        io_close_now(log->spool->io, fd);
}

void spool_log_close(struct spool_log *log, bool crashed)
{
    struct spool_job *job = &log->job;

    spool_batch_free_all(log);
    spool_compact_free(log);
    if (job->segment)
        spool_segment_destroy(job->segment);
    mem_free(job->spare);
    mem_free(job->block);
    while (!list_empty(&log->segments)) {
        struct spool_segment *seg = container_of(log->segments.next, struct spool_segment, node);

        close_fd(log, seg->fd, crashed);
        spool_segment_destroy(seg);
    }
    list_splice_back(&log->spares, &log->odd_spares);
    while (!list_empty(&log->spares)) {
        struct list *node = list_pop_front(&log->spares);
        struct spool_spare *spare = container_of(node, struct spool_spare, node);

        close_fd(log, spare->fd, crashed);
        mem_free(spare);
    }
    while (!list_empty(&log->deferred)) {
        struct list *node = list_pop_front(&log->deferred);

        mem_free(container_of(node, struct spool_deferred, node));
    }
    close_fd(log, log->dir_fd, crashed);
    close_fd(log, log->lock_fd, crashed);
    list_remove(&log->node);
    mem_free(log);
}
