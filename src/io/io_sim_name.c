/*
 * io_sim_name: the ops that name files by their paths, and listing a directory.
 */
#include <errno.h>

#include "io_sim_disk_priv.h"

static struct sim_machine *machine_of(const struct sim_op *sop)
{
    return sop->io->machine;
}

static int do_create(struct sim_op *sop, struct sim_inode **out)
{
    struct sim_disk *disk = machine_of(sop)->disk;
    char name[SIM_NAME_SIZE];
    struct sim_inode *dir;
    int error = sim_path_parent(disk, sop->op->data, &dir, name);

    if (error)
        return error;
    if (sim_chance(disk->sim, disk->sim->options.no_space) || sim_disk_free(machine_of(sop)) == 0)
        return -ENOSPC;
    *out = sim_inode_create(disk, false);
    (*out)->mode = sop->op->mode;
    sim_name_change(disk, NULL, NULL, dir, name, *out);
    return 0;
}

static int do_open(struct sim_op *sop)
{
    unsigned flags = sop->op->op_flags;
    struct sim_inode *inode;
    int error = sim_path_find(machine_of(sop)->disk, sop->op->data, &inode);

    if (error == 0 && (flags & IO_OPEN_CREATE) && (flags & IO_OPEN_EXCLUSIVE))
        return -EEXIST;
    if (error == -ENOENT && (flags & IO_OPEN_CREATE))
        error = do_create(sop, &inode);
    if (error)
        return error;
    if (inode->directory && (flags & (IO_OPEN_WRITE | IO_OPEN_CREATE)))
        return -EISDIR;
    if (!inode->directory && (flags & IO_OPEN_DIRECTORY))
        return -ENOTDIR;

    struct sim_handle *h = mem_zalloc(sizeof(*h));
    int fd = sim_fd_open(sop->io, h);

    if (fd < 0) {
        mem_free(h);
        return fd;
    }
    h->kind = SIM_HANDLE_FILE;
    h->open_flags = flags;
    h->inode = inode;
    sim_inode_ref(inode);
    if (flags & IO_OPEN_TRUNCATE)
        sim_inode_truncate(inode);
    return fd;
}

/* What may stand at the place that a rename goes to. */
static int replaceable(const struct sim_inode *old, const struct sim_inode *by)
{
    if (!old)
        return 0;
    if (by->directory)
        return !old->directory ? -ENOTDIR : old->vol.count > 0 ? -ENOTEMPTY : 0;
    return old->directory ? -EISDIR : 0;
}

static int do_rename(struct sim_op *sop)
{
    struct sim_disk *disk = machine_of(sop)->disk;
    char from_name[SIM_NAME_SIZE];
    char to_name[SIM_NAME_SIZE];
    struct sim_inode *from;
    struct sim_inode *to;
    int error = sim_path_parent(disk, sop->op->data, &from, from_name);

    if (!error)
        error = sim_path_parent(disk, sop->op->path2, &to, to_name);
    if (error)
        return error;
    struct sim_inode *inode = sim_names_find(&from->vol, from_name);
    struct sim_inode *old = sim_names_find(&to->vol, to_name);

    if (!inode)
        return -ENOENT;
    if (old == inode)
        return 0; /* two names of one file: POSIX leaves both */
    if (inode->directory && from != to)
        return -EXDEV; /* could make a loop, and nothing of ours does it */
    error = replaceable(old, inode);
    if (error)
        return error;
    sim_name_change(disk, from, from_name, to, to_name, inode);
    return 0;
}

static int do_link(struct sim_op *sop)
{
    struct sim_disk *disk = machine_of(sop)->disk;
    char name[SIM_NAME_SIZE];
    struct sim_inode *inode;
    struct sim_inode *dir;
    int error = sim_path_find(disk, sop->op->data, &inode);

    if (!error)
        error = sim_path_parent(disk, sop->op->path2, &dir, name);
    if (error)
        return error;
    if (inode->directory)
        return -EPERM;
    if (sim_names_find(&dir->vol, name))
        return -EEXIST;
    sim_name_change(disk, NULL, NULL, dir, name, inode);
    return 0;
}

static int do_unlink(struct sim_op *sop)
{
    struct sim_disk *disk = machine_of(sop)->disk;
    char name[SIM_NAME_SIZE];
    struct sim_inode *dir;
    int error = sim_path_parent(disk, sop->op->data, &dir, name);

    if (error)
        return error;
    struct sim_inode *inode = sim_names_find(&dir->vol, name);

    if (!inode)
        return -ENOENT;
    if (inode->directory)
        return -EISDIR;
    sim_name_change(disk, dir, name, NULL, NULL, NULL);
    return 0;
}

static int do_mkdir(struct sim_op *sop)
{
    struct sim_disk *disk = machine_of(sop)->disk;
    char name[SIM_NAME_SIZE];
    struct sim_inode *dir, *inode;
    int error = sim_path_parent(disk, sop->op->data, &dir, name);

    if (error)
        return error;
    if (sim_names_find(&dir->vol, name))
        return -EEXIST;
    inode = sim_inode_create(disk, true);
    inode->mode = sop->op->mode;
    sim_name_change(disk, NULL, NULL, dir, name, inode);
    return 0;
}

static int do_stat(struct sim_op *sop)
{
    struct io_stat *out = sop->op->data;
    struct sim_inode *inode;
    int error = sim_path_find(machine_of(sop)->disk, sop->op->path2, &inode);

    if (error)
        return error;
    *out = (struct io_stat){
        .size = inode->vol_size, .is_directory = inode->directory, .mode = inode->mode};
    return 0;
}

int sim_dir_list(struct sim_machine *machine, const char *path,
                 bool (*visit)(void *context, const char *name), void *context)
{
    struct sim_inode *dir;
    int error = sim_path_find(machine->disk, path, &dir);

    if (error)
        return error;
    if (!dir->directory)
        return -ENOTDIR;
    /* In any order, as a real directory; copied, since the visitor may change what it visits. */
    size_t count = dir->vol.count;
    char **names = mem_calloc(count + 1, sizeof(*names));

    for (size_t i = 0; i < count; i++)
        names[i] = mem_strdup(dir->vol.entries[i].name);
    rand_shuffle(&machine->sim->rand, names, count, sizeof(*names));
    bool go_on = true;

    for (size_t i = 0; i < count; i++) {
        go_on = go_on && visit(context, names[i]);
        mem_free(names[i]);
    }
    mem_free(names);
    return 0;
}

int sim_name_op(struct sim_op *sop)
{
    switch ((enum io_kind)sop->kind) {
    case IO_OPEN: return do_open(sop);
    case IO_RENAME: return do_rename(sop);
    case IO_LINK: return do_link(sop);
    case IO_UNLINK: return do_unlink(sop);
    case IO_MKDIR: return do_mkdir(sop);
    case IO_STAT: return do_stat(sop);
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
    case IO_WRITE:
    case IO_FSYNC: UNREACHABLE();
    }
    UNREACHABLE();
}
