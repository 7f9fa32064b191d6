/* report_file: see report_priv.h. Written beside its place, synced, renamed, and the directory synced: whole
 * or not at all, and there after a power cut. */
#include <errno.h>

#include "base_mem.h"
#include "report_priv.h"

enum { READ_STEP = 256 << 10 };

static void step(struct io_op *op);

void report_file_init(struct report_file *f, struct io *io, void (*done)(struct report_file *f))
{
    *f = (struct report_file){.io = io, .done = done};
    f->op.done = step;
    buf_init(&f->text, REPORT_FILE_MAX + READ_STEP);
}

void report_file_finish(struct report_file *f)
{
    buf_finish(&f->text);
    buf_finish(&f->path);
    buf_finish(&f->new_path);
    buf_finish(&f->directory);
}

bool report_file_busy(const struct report_file *f)
{
    return f->state != REPORT_FILE_IDLE;
}

static void set_path(struct buf *path, const char *directory, const char *prefix,
                     const char *period, unsigned shard)
{
    buf_clear(path);
    (void)buf_printf(path, "%s/%s%s.%u", directory, prefix, period, shard);
    (void)buf_append_byte(path, 0);
}

static const char *path_of(const struct buf *path)
{
    return (const char *)buf_slice(path).data;
}

static void begin(struct report_file *f, const char *directory, const char *period, unsigned shard)
{
    ASSERT(f->state == REPORT_FILE_IDLE);
    set_path(&f->path, directory, "", period, shard);
    set_path(&f->new_path, directory, ".new-", period, shard);
    buf_clear(&f->directory);
    (void)buf_append(&f->directory, directory, strlen(directory) + 1);
    f->error = 0;
    f->at = 0;
}

void report_file_write(struct report_file *f, const char *directory, const char *period,
                       unsigned shard)
{
    begin(f, directory, period, shard);
    f->reading = false;
    f->state = REPORT_FILE_OPEN;
    io_open(f->io, &f->op, path_of(&f->new_path), IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_TRUNCATE,
            0600);
}

void report_file_read(struct report_file *f, const char *directory, const char *period,
                      unsigned shard)
{
    begin(f, directory, period, shard);
    buf_clear(&f->text);
    f->reading = true;
    f->state = REPORT_FILE_OPEN;
    io_open(f->io, &f->op, path_of(&f->path), IO_OPEN_READ, 0);
}

void report_file_unlink(struct report_file *f, const char *directory, const char *period,
                        unsigned shard)
{
    begin(f, directory, period, shard);
    f->state = REPORT_FILE_UNLINK;
    io_unlink(f->io, &f->op, path_of(&f->path));
}

static void end(struct report_file *f, int error)
{
    f->state = REPORT_FILE_IDLE;
    f->error = error;
    f->done(f);
}

static void close_file(struct report_file *f, int error)
{
    f->error = error;
    f->state = REPORT_FILE_CLOSE;
    io_close(f->io, &f->op, f->fd);
}

static void read_more(struct report_file *f)
{
    uint8_t *room = buf_reserve(&f->text, READ_STEP);

    if (room == NULL) {
        close_file(f, -EFBIG);
        return;
    }
    f->state = REPORT_FILE_IO;
    io_read(f->io, &f->op, f->fd, room, READ_STEP, f->at);
}

static void write_more(struct report_file *f)
{
    struct slice left = buf_slice(&f->text);

    slice_advance(&left, f->at);
    f->state = REPORT_FILE_IO;
    io_write(f->io, &f->op, f->fd, left.data, left.len, f->at, 0);
}

static void moved(struct report_file *f, int res)
{
    if (res < 0 || (res == 0 && !f->reading)) {
        close_file(f, res < 0 ? res : -EIO);
        return;
    }
    f->at += (size_t)res;
    if (f->reading) {
        buf_commit(&f->text, (size_t)res);
        if (res == 0)
            close_file(f, 0);
        else
            read_more(f);
    } else if (f->at < buf_len(&f->text)) {
        write_more(f);
    } else {
        f->state = REPORT_FILE_SYNC;
        io_fsync(f->io, &f->op, f->fd);
    }
}

static void step(struct io_op *op)
{
    struct report_file *f = container_of(op, struct report_file, op);

    switch (f->state) {
    case REPORT_FILE_IDLE: break;
    case REPORT_FILE_OPEN:
        f->fd = op->res;
        if (op->res < 0)
            end(f, op->res);
        else if (f->reading)
            read_more(f);
        else
            write_more(f);
        return;
    case REPORT_FILE_IO: moved(f, op->res); return;
    case REPORT_FILE_SYNC: close_file(f, op->res); return;
    case REPORT_FILE_CLOSE:
        if (f->error != 0 || f->reading) {
            end(f, f->error);
            return;
        }
        f->state = REPORT_FILE_RENAME;
        io_rename(f->io, &f->op, path_of(&f->new_path), path_of(&f->path));
        return;
    case REPORT_FILE_RENAME:
        if (op->res < 0) {
            end(f, op->res);
            return;
        }
        f->state = REPORT_FILE_OPEN_DIRECTORY;
        io_open(f->io, &f->op, path_of(&f->directory), IO_OPEN_READ | IO_OPEN_DIRECTORY, 0);
        return;
    case REPORT_FILE_OPEN_DIRECTORY:
        f->fd = op->res;
        if (op->res < 0) {
            end(f, op->res);
            return;
        }
        f->state = REPORT_FILE_SYNC_DIRECTORY;
        io_fsync(f->io, &f->op, f->fd);
        return;
    case REPORT_FILE_SYNC_DIRECTORY:
        f->error = op->res;
        f->state = REPORT_FILE_CLOSE_DIRECTORY;
        io_close(f->io, &f->op, f->fd);
        return;
    case REPORT_FILE_CLOSE_DIRECTORY: end(f, f->error); return;
    case REPORT_FILE_UNLINK: end(f, op->res); return;
    }
    UNREACHABLE();
}
