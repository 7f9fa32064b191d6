/*
 * delivery_maildir: a task for mailboxes of this machine, one file a recipient, by the rules of
 * maildir(5): written and synced in tmp, renamed into new, and only when the directory new is synced
 * too is it delivered. docs/maildir.md has the format and the reasons.
 *
 * A recipient of a message has one file name for ever (delivery_maildir_path.c). If we crash between
 * the delivery and its outcome record, the delivery is repeated and replaces the same file (P3).
 *
 *   NEXT -> OPENING -> (READING, WRITING)... -> SYNCING -> CLOSING -> RENAMING -> ENTERING -> NEXT
 *              `-> MAKING (directories are missing) -> OPENING
 *   on failure: DROPPING_FD -> DROPPING_FILE -> NEXT
 */
#include <errno.h>

#include "base_log.h"
#include "base_mem.h"
#include "delivery_maildir_priv.h"
#include "mail_trace.h"

enum { MEMORY_MAX = 64 * 1024, FILE_MODE = 0600 };

enum maildir_state {
    MAILDIR_NEXT,
    MAILDIR_OPENING, /* tmp/<name> */
    MAILDIR_MAKING,
    MAILDIR_READING, /* a piece of the body from the log */
    MAILDIR_WRITING,
    MAILDIR_SYNCING,
    MAILDIR_CLOSING,
    MAILDIR_RENAMING,
    MAILDIR_ENTERING, /* the directory new is being synced */
    MAILDIR_DROPPING_FD,
    MAILDIR_DROPPING_FILE,
};

/* Owned by itself, from start to end of its task. */
struct maildir_job {
    struct list node; /* the delivery's */
    struct delivery *d;
    struct delivery_task *t;
    enum maildir_state state;
    struct io_op op;
    struct spool_reader reader;
    struct maildir_wait wait;
    struct maildir_make make;
    uint32_t recipient; /* index in the task */
    int fd;
    bool in_tmp; /* a file of ours is there */
    bool made;   /* directories were made for this recipient: not twice */
    size_t base_len;
    struct buf tmp_path, new_path; /* both begin with the mailbox's own path; with NUL */
    struct buf head;               /* Return-Path */
    /* The copy. */
    struct slice piece; /* not yet taken */
    bool cr;            /* the last byte taken was CR and is held back */
    bool ended;         /* `piece` was the last */
    bool covered;       /* the write is a synced one and holds the whole file */
    uint64_t offset;
    uint8_t *memory;
    size_t memory_size, len, written;
};

static void job_completed(struct io_op *op);
static void job_fill(struct maildir_job *j);
static void job_next(struct maildir_job *j);

static struct slice base_of(const struct maildir_job *j)
{
    return slice_head(buf_slice(&j->tmp_path), j->base_len);
}

static const char *path_of(const struct buf *path)
{
    return (const char *)path->data + path->head;
}

/* ---- how a recipient ends ----------------------------------------------------------------- */

/* Closes and removes what is there, then goes on with the next recipient. */
static void job_drop(struct maildir_job *j)
{
    int fd = j->fd;

    if (fd >= 0) {
        j->state = MAILDIR_DROPPING_FD;
        j->fd = -1;
        io_close(j->d->o.io, &j->op, fd);
    } else if (j->in_tmp) {
        j->state = MAILDIR_DROPPING_FILE;
        j->in_tmp = false;
        io_unlink(j->d->o.io, &j->op, path_of(&j->tmp_path));
    } else {
        job_next(j);
    }
}

static void job_fail(struct maildir_job *j, int error)
{
    static const uint16_t system_full[3] = {4, 3, 1}, mailbox_full[3] = {4, 2, 2},
                          other[3] = {4, 3, 0};
    const uint16_t *enhanced = error == -ENOSPC   ? system_full
                               : error == -EDQUOT ? mailbox_full
                                                  : other;
    struct buf text;

    buf_init(&text, 0);
    (void)buf_printf(&text, "%.*s: %s", SLICE_ARG(base_of(j)), strerrordesc_np(-error));
    delivery_task_set(j->t, j->recipient, DELIVERY_DEFERRED, 0, enhanced, buf_slice(&text));
    buf_finish(&text);
    job_drop(j);
}

/* The log cannot give us the message: no recipient's delivery can go on. */
static void job_unreadable(struct maildir_job *j)
{
    static const uint16_t system_error[3] = {4, 3, 0};

    delivery_task_set_all(j->t, DELIVERY_DEFERRED, 0, system_error,
                          SLICE_LITERAL("the stored message cannot be read"));
    job_drop(j);
}

static void job_entered(struct maildir_wait *w)
{
    struct maildir_job *j = container_of(w, struct maildir_job, wait);
    struct buf text;

    ASSERT(j->state == MAILDIR_ENTERING);
    if (w->error != 0) {
        /* The file may well be there. It stays: whoever has seen it may have read it, and the next
         * attempt replaces it. */
        job_fail(j, w->error);
        return;
    }
    buf_init(&text, 0);
    (void)buf_printf(&text, "maildir:%.*s", SLICE_ARG(base_of(j)));
    delivery_task_set(j->t, j->recipient, DELIVERY_DONE, 0, NULL, buf_slice(&text));
    buf_finish(&text);
    job_next(j);
}

/* ---- the copy ----------------------------------------------------------------------------- */

/* Takes from `piece` into memory what fits. CRLF becomes LF, what readers of mailboxes on Unix expect;
 * every other byte stays as it is. */
static void copy_lines(struct maildir_job *j)
{
    while (j->piece.len > 0 && j->len < j->memory_size) {
        size_t room = j->memory_size - j->len;
        size_t count = j->piece.len < room ? j->piece.len : room;
        const uint8_t *cr;

        if (j->cr) {
            j->cr = false;
            if (j->piece.data[0] != '\n')
                j->memory[j->len++] = '\r';
            continue;
        }
        cr = memchr(j->piece.data, '\r', count);
        if (cr != NULL)
            count = (size_t)(cr - j->piece.data);
        memcpy(j->memory + j->len, j->piece.data, count);
        j->len += count;
        slice_advance(&j->piece, count + (cr != NULL));
        j->cr = cr != NULL;
    }
    if (j->ended && j->cr && j->len < j->memory_size) {
        j->memory[j->len++] = '\r';
        j->cr = false;
    }
}

static bool copy_is_over(const struct maildir_job *j)
{
    return j->ended && j->piece.len == 0 && !j->cr;
}

static void job_write(struct maildir_job *j)
{
    j->state = MAILDIR_WRITING;
    io_write(j->d->o.io, &j->op, j->fd, j->memory + j->written, j->len - j->written, j->offset,
             j->covered ? IO_WRITE_SYNC : 0);
}

static void job_close(struct maildir_job *j)
{
    int fd = j->fd;

    j->state = MAILDIR_CLOSING;
    j->fd = -1;
    io_close(j->d->o.io, &j->op, fd);
}

/* Memory is full, or holds the rest. */
static void job_filled(struct maildir_job *j)
{
    if (j->len > 0) {
        /* A file of one write is synced by it, which saves an op. */
        if (j->offset == 0)
            j->covered = copy_is_over(j);
        job_write(j);
    } else if (j->covered) {
        job_close(j);
    } else {
        j->state = MAILDIR_SYNCING;
        io_fsync(j->d->o.io, &j->op, j->fd);
    }
}

static void job_read(struct spool_reader *r)
{
    struct maildir_job *j = container_of(r, struct maildir_job, reader);

    ASSERT(j->state == MAILDIR_READING);
    job_fill(j);
}

static void job_fill(struct maildir_job *j)
{
    for (;;) {
        copy_lines(j);
        if (j->len == j->memory_size || copy_is_over(j)) {
            job_filled(j);
            return;
        }
        switch (spool_reader_body(&j->reader, &j->piece)) {
        case SPOOL_READ_WAIT: j->state = MAILDIR_READING; return;
        case SPOOL_READ_PIECE: break;
        case SPOOL_READ_END:
            j->piece = SLICE_NULL;
            j->ended = true;
            break;
        case SPOOL_READ_ERROR: job_unreadable(j); return;
        }
    }
}

static void job_written(struct maildir_job *j, int res)
{
    if (res <= 0) {
        job_fail(j, res < 0 ? res : -EIO);
        return;
    }
    j->written += (size_t)res;
    j->offset += (uint64_t)res;
    if (j->written < j->len) {
        job_write(j);
        return;
    }
    j->len = j->written = 0;
    job_fill(j);
}

/* ---- a recipient's file ------------------------------------------------------------------- */

static void job_open(struct maildir_job *j)
{
    j->state = MAILDIR_OPENING;
    io_open(j->d->o.io, &j->op, path_of(&j->tmp_path),
            IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_TRUNCATE, FILE_MODE);
}

static void job_made(struct maildir_make *m, int error)
{
    struct maildir_job *j = container_of(m, struct maildir_job, make);

    ASSERT(j->state == MAILDIR_MAKING);
    if (error != 0)
        job_fail(j, error);
    else
        job_open(j);
}

/* True if the error is that directories are missing, which are then being made. */
static bool job_make(struct maildir_job *j, int error)
{
    if (error != -ENOENT || j->made)
        return false;
    j->made = true;
    j->state = MAILDIR_MAKING;
    delivery_maildir_make(j->d, &j->make, base_of(j), job_made);
    return true;
}

static void job_opened(struct maildir_job *j, int res)
{
    if (res < 0) {
        if (!job_make(j, res))
            job_fail(j, res);
        return;
    }
    j->fd = res;
    j->in_tmp = true;
    j->piece = buf_slice(&j->head);
    j->cr = j->ended = j->covered = false;
    j->offset = 0;
    j->len = j->written = 0;
    spool_reader_rewind(&j->reader);
    job_fill(j);
}

static void job_renamed(struct maildir_job *j, int res)
{
    if (res < 0) {
        if (!job_make(j, res))
            job_fail(j, res);
        return;
    }
    j->in_tmp = false;
    j->state = MAILDIR_ENTERING;
    j->wait.done = job_entered;
    delivery_maildir_sync(j->d, slice_head(buf_slice(&j->new_path), j->base_len + strlen("/new")),
                          &j->wait);
}

static void job_completed(struct io_op *op)
{
    struct maildir_job *j = container_of(op, struct maildir_job, op);
    int res = op->res;

    switch (j->state) {
    case MAILDIR_OPENING: job_opened(j, res); return;
    case MAILDIR_WRITING: job_written(j, res); return;
    case MAILDIR_SYNCING:
        if (res < 0)
            job_fail(j, res);
        else
            job_close(j);
        return;
    case MAILDIR_CLOSING:
        if (res < 0) {
            job_fail(j, res);
            return;
        }
        j->state = MAILDIR_RENAMING;
        io_rename(j->d->o.io, &j->op, path_of(&j->tmp_path), path_of(&j->new_path));
        return;
    case MAILDIR_RENAMING: job_renamed(j, res); return;
    case MAILDIR_DROPPING_FD:
    case MAILDIR_DROPPING_FILE: job_drop(j); return; /* whatever came of it */
    case MAILDIR_NEXT:
    case MAILDIR_MAKING:
    case MAILDIR_READING:
    case MAILDIR_ENTERING: break;
    }
    UNREACHABLE();
}

static void set_path(struct maildir_job *j, struct buf *path, const char *part)
{
    const struct delivery_task *t = j->t;
    const struct delivery_recipient *r = &t->recipients[j->recipient];

    buf_clear(path);
    (void)delivery_maildir_path(t->conf, t->to[t->to_next].path, r->address, path);
    j->base_len = buf_len(path);
    (void)buf_append_str(path, part);
    delivery_maildir_name(t->conf, t->entry->message->arrived_s, t->id, r->index, path);
    (void)buf_append_byte(path, 0);
}

/* ---- a task ------------------------------------------------------------------------------- */

static void job_start(struct delivery *d, struct delivery_task *t)
{
    struct maildir_job *j = mem_zalloc(sizeof(*j));

    d->maildirs_running++;
    if (d->maildir_jobs.next == NULL)
        list_init(&d->maildir_jobs); /* zeroed so far */
    list_push_back(&d->maildir_jobs, &j->node);
    j->d = d;
    j->t = t;
    j->op.done = job_completed;
    j->fd = -1;
    list_init(&j->wait.node);
    buf_init(&j->tmp_path, 0);
    buf_init(&j->new_path, 0);
    buf_init(&j->head, 0);
    (void)mail_trace_return_path(t->sender, &j->head);
    j->memory_size = MEMORY_MAX;
    if (t->size + buf_len(&j->head) < MEMORY_MAX)
        j->memory_size = (size_t)t->size + buf_len(&j->head);
    j->memory = mem_alloc(j->memory_size);
    spool_reader_begin(&j->reader, d->o.io, &t->ref, job_read);
    job_next(j);
}

/* One has ended: the next may begin. (When we are stopping, tasks that have not begun go back.) */
static void start_waiting(struct delivery *d)
{
    while (d->maildirs_running < DELIVERY_MAILDIRS_MAX) {
        struct list *node = list_pop_front(&d->maildir_waiting);
        struct delivery_task *t;
        if (node == NULL)
            return;
        t = container_of(node, struct delivery_task, node);
        if (d->stopping) {
            delivery_task_postpone(d, t, 0, SLICE_LITERAL("shutting down"));
        } else {
            job_start(d, t);
        }
    }
}

static void job_free(struct maildir_job *j)
{
    list_remove(&j->node);
    spool_reader_finish(&j->reader);
    delivery_maildir_make_finish(&j->make);
    buf_finish(&j->tmp_path);
    buf_finish(&j->new_path);
    buf_finish(&j->head);
    mem_free(j->memory);
    mem_free(j);
}

static void job_end(struct maildir_job *j)
{
    struct delivery *d = j->d;
    struct delivery_task *t = j->t;

    ASSERT(j->fd < 0 && !j->in_tmp && !io_op_busy(&j->op) && !io_op_busy(&j->make.op));
    d->counters.bytes_hot += j->reader.bytes_hot;
    d->counters.bytes_cold += j->reader.bytes_cold;
    job_free(j);
    d->maildirs_running--;
    delivery_task_finish(d, t);
    start_waiting(d);
}

static void job_next(struct maildir_job *j)
{
    const struct delivery_task *t = j->t;

    j->state = MAILDIR_NEXT;
    while (j->recipient < t->recipient_count
           && t->recipients[j->recipient].status != DELIVERY_PENDING)
        j->recipient++;
    if (j->recipient == t->recipient_count) {
        job_end(j);
        return;
    }
    j->made = false;
    set_path(j, &j->tmp_path, "/tmp/");
    set_path(j, &j->new_path, "/new/");
    job_open(j);
}

/* Gives a recipient whose address names no mailbox its outcome. True if any other is left. */
static bool refuse_bad(struct delivery_task *t)
{
    static const uint16_t bad_syntax[3] = {5, 1, 3};
    struct slice pattern = t->to[t->to_next].path;
    struct buf path;
    bool left = false;

    buf_init(&path, 0);
    for (uint32_t i = 0; i < t->recipient_count; i++) {
        if (t->recipients[i].status != DELIVERY_PENDING)
            continue;
        buf_clear(&path);
        if (delivery_maildir_path(t->conf, pattern, t->recipients[i].address, &path))
            left = true;
        else
            delivery_task_set(t, i, DELIVERY_FAILED, 550, bad_syntax,
                              SLICE_LITERAL("the address names no mailbox"));
    }
    buf_finish(&path);
    return left;
}

void delivery_maildir(struct delivery *d, struct delivery_task *t)
{
    d->counters.attempts++;
    if (!refuse_bad(t))
        delivery_task_finish(d, t);
    else if (d->maildirs_running < DELIVERY_MAILDIRS_MAX)
        job_start(d, t);
    else
        list_push_back(&d->maildir_waiting, &t->node);
}

void delivery_maildir_discard(struct delivery *d)
{
    struct list *node;

    while (d->maildir_jobs.next != NULL && !list_empty(&d->maildir_jobs)) {
        struct maildir_job *j = container_of(d->maildir_jobs.next, struct maildir_job, node);
        j->reader.op.kind = IO_NONE; /* whatever it was will never complete */
        delivery_task_free(j->t);
        job_free(j);
    }
    while ((node = list_pop_front(&d->maildir_waiting)) != NULL)
        delivery_task_free(container_of(node, struct delivery_task, node));
    delivery_maildir_sync_discard(d);
    d->maildirs_running = 0;
}
