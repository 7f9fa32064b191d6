/*
 * File ops. Reads and writes whose memory is registered use the fixed forms by themselves: the kernel
 * then neither looks up nor pins pages a call.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base_assert.h"
#include "base_mem.h"
#include "io_uring_priv.h"

enum { PART_MAX = 1 << 30 }; /* longer reads and writes come back short, as the contract allows */

static int open_flags(unsigned flags)
{
    static const struct {
        unsigned ours;
        int theirs;
    } table[] = {
        {IO_OPEN_CREATE, O_CREAT},        {IO_OPEN_EXCLUSIVE, O_EXCL}, {IO_OPEN_DIRECT, O_DIRECT},
        {IO_OPEN_DIRECTORY, O_DIRECTORY}, {IO_OPEN_TRUNCATE, O_TRUNC},
    };
    bool write = (flags & IO_OPEN_WRITE) != 0;
    int out = O_CLOEXEC | O_NOCTTY;

    out |= write ? (flags & IO_OPEN_READ) != 0 ? O_RDWR : O_WRONLY : O_RDONLY;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if ((flags & table[i].ours) != 0)
            out |= table[i].theirs;
    }
    return out;
}

static bool is_direct(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && (flags & O_DIRECT) != 0;
}

/* ext4 takes a misaligned buffer on a direct file and quietly goes the slow way, XFS refuses it: find
 * it here, on every file system. Aligned ranges, which is what the hot path has, ask nothing. */
static void check_alignment(const struct io_op *op, const void *data, size_t len)
{
    if ((((uintptr_t)data | len | op->offset) & (IO_ALIGN - 1)) == 0)
        return;
    ASSERT(!is_direct(op->fd));
}

static void prep_read(struct uring *u, struct io_op *op, struct io_uring_sqe *sqe)
{
    unsigned len = (unsigned)(op->len < PART_MAX ? op->len : PART_MAX);
    int index = uring_fixed_index(u, op->data, op->len);

    check_alignment(op, op->data, op->len);
    if (index >= 0)
        io_uring_prep_read_fixed(sqe, op->fd, op->data, len, op->offset, index);
    else
        io_uring_prep_read(sqe, op->fd, op->data, len, op->offset);
}

static void prep_write(struct uring *u, struct io_op *op, struct io_uring_sqe *sqe)
{
    int rw_flags = (op->op_flags & IO_WRITE_SYNC) != 0 ? RWF_DSYNC : 0;
    unsigned len;
    int index;

    if ((op->flags & IO_OP_VECTOR) != 0) {
        for (size_t i = 0; i < op->msg.msg_iovlen; i++)
            check_alignment(op, op->msg.msg_iov[i].iov_base, op->msg.msg_iov[i].iov_len);
        io_uring_prep_writev2(sqe, op->fd, op->msg.msg_iov, (unsigned)op->msg.msg_iovlen,
                              op->offset, rw_flags);
        return;
    }
    len = (unsigned)(op->len < PART_MAX ? op->len : PART_MAX);
    index = uring_fixed_index(u, op->data, op->len);
    check_alignment(op, op->data, op->len);
    if (index >= 0)
        io_uring_prep_write_fixed(sqe, op->fd, op->data, len, op->offset, index);
    else
        io_uring_prep_write(sqe, op->fd, op->data, len, op->offset);
    sqe->rw_flags = rw_flags;
}

static void prep_stat(struct io_op *op, struct io_uring_sqe *sqe)
{
    if (op->impl == NULL)
        op->impl = mem_alloc(sizeof(struct statx)); /* too large for every op; stat is rare */
    io_uring_prep_statx(sqe, AT_FDCWD, op->path2, 0, STATX_TYPE | STATX_MODE | STATX_SIZE,
                        op->impl);
}

void uring_prep_file(struct uring *u, struct io_op *op, struct io_uring_sqe *sqe)
{
    switch ((enum io_kind)op->kind) {
    case IO_OPEN:
        io_uring_prep_openat(sqe, AT_FDCWD, op->data, open_flags(op->op_flags), op->mode);
        return;
    case IO_CLOSE: io_uring_prep_close(sqe, op->fd); return;
    case IO_READ: prep_read(u, op, sqe); return;
    case IO_WRITE: prep_write(u, op, sqe); return;
    /* Not the data-only form: a directory's new entry need not be in it. Commits do not come here,
     * they are synced writes. */
    case IO_FSYNC: io_uring_prep_fsync(sqe, op->fd, 0); return;
    case IO_RENAME: io_uring_prep_renameat(sqe, AT_FDCWD, op->data, AT_FDCWD, op->path2, 0); return;
    case IO_LINK: io_uring_prep_linkat(sqe, AT_FDCWD, op->data, AT_FDCWD, op->path2, 0); return;
    case IO_UNLINK: io_uring_prep_unlinkat(sqe, AT_FDCWD, op->data, 0); return;
    case IO_MKDIR: io_uring_prep_mkdirat(sqe, AT_FDCWD, op->data, op->mode); return;
    case IO_STAT: prep_stat(op, sqe); return;
    case IO_NONE:
    case IO_ACCEPT:
    case IO_CONNECT:
    case IO_RECV:
    case IO_SEND:
    case IO_SHUTDOWN:
    case IO_POLL:
    case IO_KIND_COUNT: break;
    }
    UNREACHABLE();
}

void uring_stat_completed(struct uring *u, struct io_op *op, int32_t res)
{
    const struct statx *stx = op->impl;
    struct io_stat *out = op->data;

    if (res == 0) {
        out->size = stx->stx_size;
        out->is_directory = S_ISDIR(stx->stx_mode);
        out->mode = stx->stx_mode & 07777;
    }
    mem_free(op->impl);
    op->impl = NULL;
    io_op_complete(&u->io, op, res);
}
