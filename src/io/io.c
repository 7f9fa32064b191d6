#include "io.h"

#include <errno.h>

#include "base_assert.h"
#include "base_mem.h"
#include "io_priv.h"

/* --- lists and completions, for the implementations ------------------------------------------- */

void io_op_list_push(struct io_op_list *list, struct io_op *op)
{
    op->next = NULL;
    if (list->last != NULL)
        list->last->next = op;
    else
        list->first = op;
    list->last = op;
    list->count++;
}

struct io_op *io_op_list_pop(struct io_op_list *list)
{
    struct io_op *op = list->first;

    if (op == NULL)
        return NULL;
    list->first = op->next;
    if (list->first == NULL)
        list->last = NULL;
    op->next = NULL;
    list->count--;
    return op;
}

bool io_op_list_remove(struct io_op_list *list, struct io_op *op)
{
    struct io_op *before = NULL;
    struct io_op *at = list->first;

    while (at != NULL && at != op) {
        before = at;
        at = at->next;
    }
    if (at == NULL)
        return false;
    if (before == NULL)
        list->first = op->next;
    else
        before->next = op->next;
    if (list->last == op)
        list->last = before;
    op->next = NULL;
    list->count--;
    return true;
}

void io_op_complete(struct io *io, struct io_op *op, int32_t res)
{
    ASSERT(io_op_busy(op));
    if (op->kind != IO_RECV || res <= 0)
        op->lent = SLICE_NULL;
    op->kind = IO_NONE;
    op->more = false;
    op->res = res;
    io->counters.completed++;
    if (op->done != NULL)
        op->done(op);
}

void io_op_complete_more(struct io *io, struct io_op *op, int32_t res)
{
    ASSERT(op->kind == IO_ACCEPT);
    op->more = true;
    op->res = res;
    io->counters.completed++;
    if (op->done != NULL)
        op->done(op);
}

/* --- the loop --------------------------------------------------------------------------------- */

void io_destroy(struct io *io)
{
    if (io != NULL)
        io->vtable->destroy(io);
}

int io_wait(struct io *io, uint64_t deadline_ms)
{
    return io->vtable->wait(io, deadline_ms);
}

int32_t io_await(struct io *io, struct io_op *op)
{
    io->awaiting = true;
    while (io_op_busy(op))
        (void)io_wait(io, UINT64_MAX); /* how many others ran does not matter */
    io->awaiting = false;
    return op->res;
}

void io_flush(struct io *io)
{
    io->vtable->flush(io);
}

uint64_t io_now_ns(struct io *io)
{
    return io->vtable->now_ns(io);
}

uint64_t io_unix_ms(struct io *io)
{
    return io->vtable->unix_ms(io);
}

void io_entropy(struct io *io, void *out, size_t len)
{
    io->vtable->entropy(io, out, len);
}

void io_wake(struct io *from, struct io *to)
{
    from->vtable->wake(from, to);
}

void io_wake_from_thread(struct io *to)
{
    to->vtable->wake_from_thread(to);
}

struct slice io_registered(const struct io *io)
{
    return slice_of(io->registered, io->registered_len);
}

/* --- sockets ---------------------------------------------------------------------------------- */

int io_socket_stream(struct io *io, int family)
{
    return io->vtable->socket(io, family, SOCK_STREAM);
}

int io_socket_dgram(struct io *io, int family)
{
    return io->vtable->socket(io, family, SOCK_DGRAM);
}

int io_listen(struct io *io, const struct io_addr *addr, unsigned flags, int backlog)
{
    return io->vtable->listen(io, addr, flags, backlog);
}

int io_peer_uid(struct io *io, int fd, uint32_t *out_uid)
{
    return io->vtable->peer_uid(io, fd, out_uid);
}

int io_addresses(struct io *io, int fd, struct io_addr *out_local, struct io_addr *out_peer)
{
    return io->vtable->addresses(io, fd, out_local, out_peer);
}

int io_dgram_connect(struct io *io, int fd, const struct io_addr *addr)
{
    return io->vtable->dgram_connect(io, fd, addr);
}

int64_t io_dgram_send(struct io *io, int fd, const struct iovec *iov, int count)
{
    return io->vtable->dgram_send(io, fd, iov, count);
}

int64_t io_dgram_recv(struct io *io, int fd, void *data, size_t len, struct io_addr *out_from)
{
    return io->vtable->dgram_recv(io, fd, data, len, out_from);
}

void io_close_now(struct io *io, int fd)
{
    io->vtable->close_now(io, fd);
}

/* --- ops: each fills in what its kind needs, then goes through one door ------------------------ */

static void op_begin(struct io_op *op, enum io_kind kind, int fd)
{
    ASSERT(!io_op_busy(op)); /* an op in flight was submitted again */
    ASSERT(kind != IO_RECV || op->lent.data == NULL || op->lent.len == 0);
    op->kind = (uint8_t)kind;
    op->fd = fd;
    op->more = false;
    op->zc_copied = false;
    op->flags &= (uint8_t) ~(IO_OP_VECTOR | IO_OP_CANCELLED);
    op->op_flags = 0;
    op->offset = 0;
    op->next = NULL;
}

static void op_submit(struct io *io, struct io_op *op)
{
    io->counters.submitted++;
    io->vtable->submit(io, op);
}

static void op_set_vector(struct io_op *op, struct iovec *iov, int count)
{
    ASSERT(count > 0 && count <= IO_IOV_MAX);
    op->flags |= IO_OP_VECTOR;
    op->msg = (struct msghdr){.msg_iov = iov, .msg_iovlen = (size_t)count};
}

/* Casts const away: one field serves ops that read the bytes and ops that write them. */
static void op_set_data(struct io_op *op, const void *data, size_t len)
{
    op->data = (void *)(uintptr_t)data;
    op->len = len;
}

void io_accept(struct io *io, struct io_op *op, int fd)
{
    op_begin(op, IO_ACCEPT, fd);
    op_submit(io, op);
}

void io_connect(struct io *io, struct io_op *op, int fd, const struct io_addr *to)
{
    op_begin(op, IO_CONNECT, fd);
    op_set_data(op, to, sizeof(*to));
    op_submit(io, op);
}

void io_recv(struct io *io, struct io_op *op, int fd)
{
    op_begin(op, IO_RECV, fd);
    op_submit(io, op);
}

void io_send(struct io *io, struct io_op *op, int fd, struct slice bytes, unsigned flags)
{
    ASSERT(bytes.len <= INT32_MAX); /* the result has to tell it */
    op_begin(op, IO_SEND, fd);
    op_set_data(op, bytes.data, bytes.len);
    op->op_flags = flags;
    op_submit(io, op);
}

void io_sendv(struct io *io, struct io_op *op, int fd, struct iovec *iov, int count, unsigned flags)
{
    op_begin(op, IO_SEND, fd);
    op_set_vector(op, iov, count);
    op->op_flags = flags & ~(unsigned)IO_SEND_ZEROCOPY;
    op_submit(io, op);
}

void io_shutdown(struct io *io, struct io_op *op, int fd)
{
    op_begin(op, IO_SHUTDOWN, fd);
    op_submit(io, op);
}

void io_shutdown_send(struct io *io, struct io_op *op, int fd)
{
    op_begin(op, IO_SHUTDOWN, fd);
    op->op_flags = IO_SHUTDOWN_SEND;
    op_submit(io, op);
}

void io_poll(struct io *io, struct io_op *op, int fd, unsigned events)
{
    ASSERT(events != 0);
    op_begin(op, IO_POLL, fd);
    op->op_flags = events;
    op_submit(io, op);
}

void io_cancel(struct io *io, struct io_op *op)
{
    if (!io_op_busy(op) || (op->flags & IO_OP_CANCELLED) != 0)
        return;
    op->flags |= IO_OP_CANCELLED;
    io->vtable->cancel(io, op);
}

void io_lent_return(struct io *io, struct io_op *recv_op)
{
    ASSERT(!io_op_busy(recv_op));
    ASSERT(recv_op->lent.data != NULL); /* nothing was lent, or it was given back before */
    recv_op->lent = SLICE_NULL;
    io->vtable->lent_return(io, recv_op->lent_id);
}

void io_open(struct io *io, struct io_op *op, const char *path, unsigned open_flags, uint32_t mode)
{
    op_begin(op, IO_OPEN, -1);
    op_set_data(op, path, 0);
    op->op_flags = open_flags;
    op->mode = mode;
    op_submit(io, op);
}

void io_close(struct io *io, struct io_op *op, int fd)
{
    op_begin(op, IO_CLOSE, fd);
    op_submit(io, op);
}

void io_read(struct io *io, struct io_op *op, int fd, void *data, size_t len, uint64_t offset)
{
    op_begin(op, IO_READ, fd);
    op_set_data(op, data, len);
    op->offset = offset;
    op_submit(io, op);
}

void io_write(struct io *io, struct io_op *op, int fd, const void *data, size_t len,
              uint64_t offset, unsigned write_flags)
{
    op_begin(op, IO_WRITE, fd);
    op_set_data(op, data, len);
    op->offset = offset;
    op->op_flags = write_flags;
    op_submit(io, op);
}

void io_writev(struct io *io, struct io_op *op, int fd, struct iovec *iov, int count,
               uint64_t offset, unsigned write_flags)
{
    op_begin(op, IO_WRITE, fd);
    op_set_vector(op, iov, count);
    op->offset = offset;
    op->op_flags = write_flags;
    op_submit(io, op);
}

void io_fsync(struct io *io, struct io_op *op, int fd)
{
    op_begin(op, IO_FSYNC, fd);
    op_submit(io, op);
}

static void op_paths(struct io *io, struct io_op *op, enum io_kind kind, const char *path,
                     const char *path2)
{
    op_begin(op, kind, -1);
    op_set_data(op, path, 0);
    op->path2 = path2;
    op_submit(io, op);
}

void io_rename(struct io *io, struct io_op *op, const char *from, const char *to)
{
    op_paths(io, op, IO_RENAME, from, to);
}

void io_link(struct io *io, struct io_op *op, const char *from, const char *to)
{
    op_paths(io, op, IO_LINK, from, to);
}

void io_unlink(struct io *io, struct io_op *op, const char *path)
{
    op_paths(io, op, IO_UNLINK, path, NULL);
}

void io_mkdir(struct io *io, struct io_op *op, const char *path, uint32_t mode)
{
    op->mode = mode;
    op_paths(io, op, IO_MKDIR, path, NULL);
}

void io_stat(struct io *io, struct io_op *op, const char *path, struct io_stat *out)
{
    op_begin(op, IO_STAT, -1);
    op_set_data(op, out, sizeof(*out));
    op->path2 = path;
    op_submit(io, op);
}

/* --- start-up only ------------------------------------------------------------------------------ */

/* The entries of the directory that `path` is in, a name with a slash. */
static int sync_above(struct io *io, const char *path)
{
    struct io_op op = {0};
    char *above = mem_strdup(path);
    int fd, res;

    strrchr(above, '/')[strrchr(above, '/') == above] = '\0';
    io_open(io, &op, above, IO_OPEN_READ | IO_OPEN_DIRECTORY, 0);
    fd = res = io_await(io, &op);
    if (fd >= 0) {
        io_fsync(io, &op, fd);
        res = io_await(io, &op);
        io_close(io, &op, fd);
        (void)io_await(io, &op); /* it was only synced */
    }
    mem_free(above);
    return res == -EACCES ? 0 : res; /* who may write there need not be able to read */
}

static int make_one(struct io *io, const char *path, uint32_t mode)
{
    struct io_op op = {0};
    int res;

    io_mkdir(io, &op, path, mode);
    res = io_await(io, &op);
    if (res == -EEXIST)
        return 0;
    return res == 0 && strchr(path, '/') != NULL ? sync_above(io, path) : res;
}

int io_make_directory(struct io *io, const char *path, uint32_t mode)
{
    int res = make_one(io, path, mode);
    char *above = mem_strdup(path);
    char *slash = strrchr(above, '/');

    if (res == -ENOENT && slash != NULL && slash != above) {
        *slash = '\0';
        res = io_make_directory(io, above, mode);
        if (res == 0)
            res = make_one(io, path, mode);
    }
    mem_free(above);
    return res;
}

int io_list(struct io *io, const char *path, bool (*visit)(void *context, const char *name),
            void *context)
{
    return io->vtable->list(io, path, visit, context);
}

int io_lock(struct io *io, int fd)
{
    return io->vtable->lock(io, fd);
}

uint64_t io_disk_free(struct io *io, const char *path)
{
    return io->vtable->disk_free(io, path);
}
