/*
 * io_sim_peek: what tests see and change from outside of the world.
 */
#include "io_sim_disk_priv.h"

bool sim_file_read(struct sim_machine *machine, const char *path, struct buf *out)
{
    struct sim_inode *inode;

    if (sim_path_find(machine->disk, path, &inode) != 0 || inode->directory)
        return false;
    if (inode->vol_size == 0)
        return true;
    uint8_t *to = buf_reserve(out, inode->vol_size);

    if (!to)
        return false;
    sim_inode_read(inode, 0, to, inode->vol_size);
    buf_commit(out, inode->vol_size);
    return true;
}

/* Makes the directories of the path that are missing; false if a file is in the way. */
static bool make_parents(struct sim_disk *disk, const char *path)
{
    char *copy = mem_strdup(path);
    bool ok = true;

    for (size_t i = 1; copy[i] != '\0' && ok; i++) {
        struct sim_inode *inode;
        struct sim_inode *dir;
        char name[SIM_NAME_SIZE];

        if (path[i] != '/')
            continue;
        copy[i] = '\0';
        if (sim_path_find(disk, copy, &inode) != 0) {
            ok = sim_path_parent(disk, copy, &dir, name) == 0;
            if (ok) {
                sim_name_change(disk, NULL, NULL, dir, name, sim_inode_create(disk, true));
                sim_dir_sync(dir);
            }
        }
        copy[i] = '/';
    }
    mem_free(copy);
    return ok;
}

bool sim_file_write(struct sim_machine *machine, const char *path, struct slice bytes)
{
    struct sim_disk *disk = machine->disk;
    char name[SIM_NAME_SIZE];
    struct sim_inode *dir;
    struct sim_inode *inode;

    if (path[0] == '\0' || !make_parents(disk, path)
        || sim_path_parent(disk, path, &dir, name) != 0)
        return false;
    inode = sim_names_find(&dir->vol, name);
    if (inode && inode->directory)
        return false;
    if (inode) {
        sim_inode_truncate(inode);
    } else {
        inode = sim_inode_create(disk, false);
        sim_name_change(disk, NULL, NULL, dir, name, inode);
    }
    if (bytes.len > 0)
        sim_inode_write(inode, 0, bytes.data, bytes.len);
    sim_inode_sync(inode);
    sim_dir_sync(dir);
    return true;
}

void sim_file_corrupt(struct sim_machine *machine, const char *path, uint64_t offset)
{
    struct sim_inode *inode;
    int error = sim_path_find(machine->disk, path, &inode);

    ASSERT(error == 0 && offset < inode->vol_size);
    sim_inode_flip(inode, offset, (uint8_t)(1u << sim_below(machine->sim, 8)));
}

uint64_t sim_disk_used(const struct sim_machine *machine)
{
    return machine->disk->used;
}

unsigned sim_leaked_fds(const struct sim *sim)
{
    return sim->leaked_fds;
}
