/* queue_holds_file: see the header. */
#include "queue_holds_file.h"

#include <errno.h>
#include <inttypes.h>

#include "base_mem.h"

enum { FILE_MAX = 64 << 20, READ_STEP = 64 << 10 };

static void step(struct io_op *op);

static void set_path(struct buf *path, const char *directory, const char *name)
{
    buf_clear(path);
    (void)buf_printf(path, "%s%s%s", directory, name[0] != '\0' ? "/" : "", name);
    (void)buf_append_byte(path, '\0');
}

static const char *path_of(const struct buf *path)
{
    return (const char *)buf_slice(path).data;
}

/* ---- reading -------------------------------------------------------------------------------- */

static int await_read(struct io *io, int fd, struct buf *out)
{
    for (;;) {
        struct io_op op = {0};
        uint8_t *room = buf_reserve(out, READ_STEP);
        int32_t res;

        if (room == NULL)
            return -EFBIG;
        io_read(io, &op, fd, room, READ_STEP, buf_len(out));
        res = io_await(io, &op);
        if (res <= 0)
            return res;
        buf_commit(out, (size_t)res);
    }
}

static int read_file(struct io *io, const char *path, struct buf *out)
{
    struct io_op op = {0};
    int fd, error;

    io_open(io, &op, path, IO_OPEN_READ, 0);
    fd = io_await(io, &op);
    if (fd < 0)
        return fd;
    error = await_read(io, fd, out);
    io_close_now(io, fd);
    return error;
}

static void file_done(struct queue_holds_file *f)
{
    (void)f; /* looked at by who waits */
}

static int await_save(struct queue_holds_file *f, const char *name)
{
    struct io *io = f->io;
    struct io_op op = {0};
    int fd;

    set_path(&f->path, path_of(&f->directory), name);
    io_open(io, &op, path_of(&f->path), IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_TRUNCATE, 0600);
    fd = io_await(io, &op);
    if (fd < 0)
        return fd;
    for (f->at = 0; f->at < buf_len(&f->text);) {
        struct slice left = buf_slice(&f->text);
        int32_t res;
        slice_advance(&left, f->at);
        op = (struct io_op){0};
        io_write(io, &op, fd, left.data, left.len, f->at, 0);
        res = io_await(io, &op);
        if (res <= 0) {
            f->error = res < 0 ? res : -EIO;
            break;
        }
        f->at += (size_t)res;
    }
    io_close_now(io, fd);
    return f->error;
}

/* The number of lines that are none. */
static size_t read_lines(struct queue_holds *set, struct slice text)
{
    size_t bad = 0;

    while (text.len > 0) {
        ptrdiff_t end = slice_find(text, '\n');
        size_t len = end < 0 ? text.len : (size_t)end + 1;
        /* A line without its end is one that was cut off. */
        bad += end < 0 || queue_holds_parse(set, slice_head(text, len)) != 0;
        slice_advance(&text, len);
    }
    return bad;
}

static bool add_rule(const struct queue_hold_rule *rule, void *context)
{
    (void)queue_holds_add(context, rule); /* the set is empty, and ids are unique */
    return true;
}

bool queue_holds_load(struct queue *q, const char *directory, bool keep, struct buf *out_warning,
                      struct buf *out_error)
{
    struct queue_holds_file f = {.io = q->io, .done = file_done};
    struct queue_holds set = {0};
    size_t bad;
    int error;

    buf_init(&f.text, FILE_MAX);
    set_path(&f.path, directory, "holds");
    set_path(&f.directory, directory, "");
    error = read_file(q->io, path_of(&f.path), &f.text);
    if (error < 0 && error != -ENOENT)
        (void)buf_printf(out_error, "%s: cannot read the rules that hold mail: %s",
                         path_of(&f.path), strerrordesc_np(-error));
    bad = error == 0 ? read_lines(&set, buf_slice(&f.text)) : 0;
    if (bad > 0) {
        (void)buf_printf(out_warning,
                         "%s: %zu lines are no rules and hold no mail; the file is kept as "
                         "holds.damaged",
                         path_of(&f.path), bad);
        if (keep && await_save(&f, "holds.damaged") < 0)
            (void)buf_printf(out_warning, ", but that cannot be written: %s",
                             strerrordesc_np(-f.error));
    }
    queue_holds_each(&set, add_rule, q);
    queue_holds_finish(&set);
    queue_holds_file_finish(&f);
    return error == 0 || error == -ENOENT;
}

/* ---- writing -------------------------------------------------------------------------------- */

void queue_holds_save(struct queue_holds_file *f, struct io *io, const char *directory,
                      void (*done)(struct queue_holds_file *f))
{
    ASSERT(f->state == QUEUE_HOLDS_FILE_IDLE);
    f->io = io;
    f->done = done;
    f->op = (struct io_op){.done = step};
    f->at = 0;
    f->error = 0;
    set_path(&f->path, directory, "holds");
    set_path(&f->new_path, directory, ".new-holds");
    set_path(&f->directory, directory, "");
    f->state = QUEUE_HOLDS_FILE_OPEN;
    io_open(io, &f->op, path_of(&f->new_path), IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_TRUNCATE,
            0600);
}

void queue_holds_file_finish(struct queue_holds_file *f)
{
    ASSERT(f->state == QUEUE_HOLDS_FILE_IDLE);
    buf_finish(&f->text);
    buf_finish(&f->path);
    buf_finish(&f->new_path);
    buf_finish(&f->directory);
}

static void end(struct queue_holds_file *f, int error)
{
    f->state = QUEUE_HOLDS_FILE_IDLE;
    f->error = error;
    f->done(f);
}

static void enter(struct queue_holds_file *f, enum queue_holds_file_state state)
{
    struct slice left = buf_slice(&f->text);

    f->state = state;
    switch (state) {
    case QUEUE_HOLDS_FILE_WRITE:
        if (f->at == left.len) {
            enter(f, QUEUE_HOLDS_FILE_SYNC);
            return;
        }
        slice_advance(&left, f->at);
        io_write(f->io, &f->op, f->fd, left.data, left.len, f->at, 0);
        return;
    case QUEUE_HOLDS_FILE_SYNC:
    case QUEUE_HOLDS_FILE_SYNC_DIRECTORY: io_fsync(f->io, &f->op, f->fd); return;
    case QUEUE_HOLDS_FILE_CLOSE:
    case QUEUE_HOLDS_FILE_CLOSE_DIRECTORY: io_close(f->io, &f->op, f->fd); return;
    case QUEUE_HOLDS_FILE_RENAME:
        io_rename(f->io, &f->op, path_of(&f->new_path), path_of(&f->path));
        return;
    case QUEUE_HOLDS_FILE_OPEN_DIRECTORY:
        io_open(f->io, &f->op, path_of(&f->directory), IO_OPEN_READ | IO_OPEN_DIRECTORY, 0);
        return;
    case QUEUE_HOLDS_FILE_IDLE:
    case QUEUE_HOLDS_FILE_OPEN: break;
    }
    UNREACHABLE();
}

static void step(struct io_op *op)
{
    struct queue_holds_file *f = container_of(op, struct queue_holds_file, op);
    int res = op->res;

    switch (f->state) {
    case QUEUE_HOLDS_FILE_IDLE: break;
    case QUEUE_HOLDS_FILE_OPEN:
    case QUEUE_HOLDS_FILE_OPEN_DIRECTORY:
        f->fd = res;
        if (res < 0)
            end(f, res);
        else
            enter(f, f->state == QUEUE_HOLDS_FILE_OPEN ? QUEUE_HOLDS_FILE_WRITE
                                                       : QUEUE_HOLDS_FILE_SYNC_DIRECTORY);
        return;
    case QUEUE_HOLDS_FILE_WRITE:
        f->error = res > 0 ? 0 : res < 0 ? res : -EIO;
        f->at += res > 0 ? (size_t)res : 0;
        enter(f, f->error == 0 ? QUEUE_HOLDS_FILE_WRITE : QUEUE_HOLDS_FILE_CLOSE);
        return;
    case QUEUE_HOLDS_FILE_SYNC:
        f->error = res;
        enter(f, QUEUE_HOLDS_FILE_CLOSE);
        return;
    case QUEUE_HOLDS_FILE_CLOSE:
        if (f->error != 0)
            end(f, f->error);
        else
            enter(f, QUEUE_HOLDS_FILE_RENAME);
        return;
    case QUEUE_HOLDS_FILE_RENAME:
        if (res < 0)
            end(f, res);
        else
            enter(f, QUEUE_HOLDS_FILE_OPEN_DIRECTORY);
        return;
    case QUEUE_HOLDS_FILE_SYNC_DIRECTORY:
        f->error = res;
        enter(f, QUEUE_HOLDS_FILE_CLOSE_DIRECTORY);
        return;
    case QUEUE_HOLDS_FILE_CLOSE_DIRECTORY: end(f, f->error); return;
    }
    UNREACHABLE();
}
