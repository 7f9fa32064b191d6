/*
 * io_sim_file: the disk as a whole, and the ops on open files. Each does its work at once when its
 * event fires, so that a crash before the event finds it in flight, see sim_file_interrupt().
 */
#include <errno.h>

#include "io_sim_disk_priv.h"

struct sim_disk *sim_disk_create(struct sim *sim)
{
    struct sim_disk *disk = mem_zalloc(sizeof(*disk));

    disk->sim = sim;
    list_init(&disk->inodes);
    list_init(&disk->changes);
    disk->root = sim_inode_create(disk, true);
    sim_inode_ref(disk->root);
    return disk;
}

void sim_disk_destroy(struct sim_disk *disk)
{
    sim_changes_drop(disk);
    sim_inode_unref(disk->root);
    ASSERT(list_empty(&disk->inodes));
    sim_blocks_free(disk);
    mem_free(disk);
}

void sim_disk_crash(struct sim_disk *disk)
{
    sim_names_crash(disk);
    LIST_EACH(&disk->inodes, node)
    {
        struct sim_inode *inode = container_of(node, struct sim_inode, node);

        if (!inode->directory)
            sim_inode_crash(inode);
    }
}

uint64_t sim_disk_free(struct sim_machine *machine)
{
    uint64_t all = machine->sim->options.disk_bytes;

    if (all == 0)
        return UINT64_MAX / 2;
    return machine->disk->used < all ? all - machine->disk->used : 0;
}

/* --- bytes -------------------------------------------------------------------------------------- */

static bool is_direct(const struct sim_op *sop)
{
    return sop->handle->open_flags & IO_OPEN_DIRECT;
}

static int do_read(struct sim_op *sop)
{
    struct sim *sim = sop->io->sim;
    const struct sim_inode *inode = sop->handle->inode;
    const struct io_op *op = sop->op;
    size_t len = op->len;

    if (inode->directory)
        return -EISDIR;
    if (!(sop->handle->open_flags & IO_OPEN_READ))
        return -EBADF;
    if (sim_chance(sim, sim->options.read_error))
        return -EIO;
    if (op->offset >= inode->vol_size)
        return 0;
    if (len > inode->vol_size - op->offset)
        len = (size_t)(inode->vol_size - op->offset);
    if (len > 1 && sim_chance(sim, sim->options.read_short)) {
        size_t some = 1 + sim_below(sim, len);

        if (!is_direct(sop))
            len = some;
        else if (some >= IO_ALIGN)
            len = some / IO_ALIGN * IO_ALIGN;
    }
    sim_inode_read(inode, op->offset, op->data, len);
    sim_trace_bytes(sim, op->data, len);
    return (int)len;
}

/* The first `len` bytes of the op, those of each sector only by the coin if `torn`. */
static void write_bytes(struct sim_op *sop, size_t len, bool torn)
{
    struct sim_inode *inode = sop->handle->inode;
    uint64_t offset = sop->op->offset;
    struct iovec single;
    const struct iovec *iov;
    size_t count = sim_op_iov(sop->op, &iov, &single);

    for (size_t i = 0; i < count && len > 0; i++) {
        const uint8_t *data = iov[i].iov_base;
        size_t left = iov[i].iov_len < len ? iov[i].iov_len : len;

        len -= left;
        while (left > 0) {
            size_t part = torn ? SIM_SECTOR - offset % SIM_SECTOR : left;

            part = part < left ? part : left;
            if (!torn || sim_coin(inode->disk->sim))
                sim_inode_write(inode, offset, data, part);
            data += part;
            offset += part;
            left -= part;
        }
    }
}

static bool has_space(struct sim_op *sop, size_t len)
{
    uint64_t growth = sim_inode_growth(sop->handle->inode, sop->op->offset, len);

    return growth == 0 || growth <= sim_disk_free(sop->io->machine);
}

/* Some sectors may have arrived, and what was dirty counts as clean. */
static int write_error(struct sim_op *sop)
{
    write_bytes(sop, sop->len, true);
    if (sop->op->op_flags & IO_WRITE_SYNC)
        sim_inode_sync_failed(sop->handle->inode, sop->op->offset, sop->len);
    return -EIO;
}

/* A write that goes wrong in some way; true if so. */
static bool write_fails(struct sim_op *sop, size_t *len, int *res)
{
    struct sim *sim = sop->io->sim;
    struct sim_inode *inode = sop->handle->inode;
    uint64_t offset = sop->op->offset;

    if (sim_chance(sim, sim->options.write_error) && has_space(sop, *len)) {
        *res = write_error(sop);
        return true;
    }
    if (!has_space(sop, *len)
        || (sim_inode_growth(inode, offset, *len) > 0 && sim_chance(sim, sim->options.no_space))) {
        *res = -ENOSPC;
        return true;
    }
    if (!is_direct(sop) && *len > 1 && sim_chance(sim, sim->options.write_short))
        *len = 1 + sim_below(sim, *len - 1);
    else if (is_direct(sop) && *len > IO_ALIGN && sim_chance(sim, sim->options.write_short_direct))
        *len = (1 + sim_below(sim, *len / IO_ALIGN - 1)) * IO_ALIGN;
    return false;
}

static int do_write(struct sim_op *sop)
{
    size_t len = sop->len;
    int res = 0;

    if (!(sop->handle->open_flags & IO_OPEN_WRITE))
        return -EBADF;
    if (len == 0 || write_fails(sop, &len, &res))
        return res;
    write_bytes(sop, len, false);
    if (sop->op->op_flags & IO_WRITE_SYNC)
        sim_inode_sync_range(sop->handle->inode, sop->op->offset, len);
    return (int)len;
}

static int fsync_error(struct sim_op *sop)
{
    struct sim_inode *inode = sop->handle->inode;

    if (inode->directory)
        sim_dir_sync_failed(inode);
    else
        sim_inode_sync_failed(inode, 0, INT64_MAX);
    return -EIO;
}

static int do_fsync(struct sim_op *sop)
{
    struct sim *sim = sop->io->sim;
    struct sim_inode *inode = sop->handle->inode;

    if (sim_chance(sim, sim->options.write_error))
        return fsync_error(sop);
    if (inode->directory) {
        sim_dir_sync(inode);
        return 0;
    }
    sim_inode_sync(inode);
    /* ext4 happens to commit a new file's name along; nothing says that it must. */
    if (sim_coin(sim))
        sim_names_sync_inode(inode);
    return 0;
}

/* --- ops ----------------------------------------------------------------------------------------- */

static int do_op(struct sim_op *sop)
{
    switch ((enum io_kind)sop->kind) {
    case IO_READ: return do_read(sop);
    case IO_WRITE: return do_write(sop);
    case IO_FSYNC: return do_fsync(sop);
    case IO_OPEN:
    case IO_RENAME:
    case IO_LINK:
    case IO_UNLINK:
    case IO_MKDIR:
    case IO_STAT: return sim_name_op(sop);
    case IO_NONE:
    case IO_KIND_COUNT:
    case IO_ACCEPT:
    case IO_CONNECT:
    case IO_RECV:
    case IO_SEND:
    case IO_SHUTDOWN:
    case IO_POLL:
    case IO_CLOSE: UNREACHABLE();
    }
    UNREACHABLE();
}

/* See sim_machine_fail_ops(). */
static bool is_to_fail(struct sim_machine *m)
{
    uint64_t number = m->file_ops++;

    return number >= m->fail_from && number < m->fail_end;
}

static int fail_op(struct sim_op *sop)
{
    bool for_good = sop->io->machine->fail_end == UINT64_MAX;

    if (!for_good && sop->kind == IO_WRITE && has_space(sop, sop->len)
        && (sop->handle->open_flags & IO_OPEN_WRITE))
        return write_error(sop);
    if (!for_good && sop->kind == IO_FSYNC)
        return fsync_error(sop);
    return -EIO;
}

static void file_fire(struct sim *sim, struct sim_event *event)
{
    struct sim_op *sop = container_of(event, struct sim_op, event);

    (void)sim;
    sim_op_check(sop); /* before its bytes are used */
    sim_op_finish(sop, is_to_fail(sop->io->machine) ? fail_op(sop) : do_op(sop));
}

static void check_aligned(struct sim_op *sop)
{
    struct iovec single;
    const struct iovec *iov;
    size_t count = sim_op_iov(sop->op, &iov, &single);
    uint64_t bits = sop->op->offset;

    for (size_t i = 0; i < count; i++)
        bits |= (uint64_t)(uintptr_t)iov[i].iov_base | iov[i].iov_len;
    if (bits % IO_ALIGN != 0)
        sim_broken(sop->io, "direct I/O that is not aligned", sop->op);
}

void sim_file_submit(struct sim_op *sop)
{
    if ((sop->kind == IO_READ || sop->kind == IO_WRITE) && is_direct(sop))
        check_aligned(sop);
    sim_op_later(sop, file_fire);
}

void sim_file_interrupt(struct sim_op *sop)
{
    struct sim *sim = sop->io->sim;

    switch ((enum io_kind)sop->kind) {
    case IO_WRITE:
        if (has_space(sop, sop->len) && (sop->handle->open_flags & IO_OPEN_WRITE)
            && sim_below(sim, 3) != 0)
            write_bytes(sop, sop->len, sim_coin(sim));
        return;
    case IO_OPEN: /* may create or truncate */
    case IO_FSYNC:
    case IO_RENAME:
    case IO_LINK:
    case IO_UNLINK:
    case IO_MKDIR:
        if (sim_coin(sim))
            (void)do_op(sop); /* nobody is left to hear the result */
        return;
    case IO_NONE:
    case IO_KIND_COUNT:
    case IO_ACCEPT:
    case IO_CONNECT:
    case IO_RECV:
    case IO_SEND:
    case IO_SHUTDOWN:
    case IO_POLL:
    case IO_CLOSE:
    case IO_READ:
    case IO_STAT: return;
    }
    UNREACHABLE();
}

void sim_file_close(struct sim_handle *handle)
{
    if (handle->inode->locked_by == handle)
        handle->inode->locked_by = NULL;
    sim_inode_unref(handle->inode);
}

int sim_file_lock(struct sim_handle *handle)
{
    if (handle->inode->locked_by && handle->inode->locked_by != handle)
        return -EAGAIN;
    handle->inode->locked_by = handle;
    return 0;
}
