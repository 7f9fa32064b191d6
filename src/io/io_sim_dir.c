/*
 * io_sim_dir: the names of the simulated file system. What is done to names is seen at once and
 * becomes durable with an fsync of the directory, or earlier by chance, or at a crash by chance.
 *
 * Order: the changes of one directory reach the platter in the order in which they were made, as with
 * a journal, and a rename between two directories reaches both or neither. So an fsync carries along
 * the older changes on which the directory's own depend, and a crash keeps a beginning of each
 * directory's changes. With options.crash_reorder a crash may keep any subset instead, which is all
 * that POSIX promises.
 */
#include <errno.h>
#include <string.h>

#include "io_sim_disk_priv.h"

enum {
    CHANGES_MAX = 128,     /* pending at most: then the oldest are written back */
    WRITEBACK_ONE_IN = 48, /* chance at each change that the journal commits by itself */
};

/* --- one image of one directory ---------------------------------------------------------- */

/* Where the name is, or where it belongs. */
static size_t names_search(const struct sim_names *names, const char *name, bool *out_found)
{
    size_t low = 0;
    size_t high = names->count;

    *out_found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(names->entries[middle].name, name);

        if (order == 0) {
            *out_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct sim_inode *sim_names_find(const struct sim_names *names, const char *name)
{
    bool found;
    size_t at = names_search(names, name, &found);

    return found ? names->entries[at].inode : NULL;
}

static void names_set(struct sim_names *names, const char *name, struct sim_inode *inode)
{
    bool found;
    size_t at = names_search(names, name, &found);

    sim_inode_ref(inode);
    if (found) {
        sim_inode_unref(names->entries[at].inode);
        names->entries[at].inode = inode;
        return;
    }
    if (names->count == names->capacity) {
        names->capacity = names->capacity ? 2 * names->capacity : 8;
        names->entries = mem_realloc(names->entries, names->capacity * sizeof(struct sim_entry));
    }
    memmove(names->entries + at + 1, names->entries + at,
            (names->count - at) * sizeof(struct sim_entry));
    names->entries[at] = (struct sim_entry){mem_strdup(name), inode};
    names->count++;
}

static void names_remove(struct sim_names *names, const char *name)
{
    bool found;
    size_t at = names_search(names, name, &found);

    if (!found)
        return;
    struct sim_entry gone = names->entries[at];

    names->count--;
    memmove(names->entries + at, names->entries + at + 1,
            (names->count - at) * sizeof(struct sim_entry));
    mem_free(gone.name);
    sim_inode_unref(gone.inode);
}

void sim_names_free(struct sim_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        mem_free(names->entries[i].name);
        sim_inode_unref(names->entries[i].inode);
    }
    mem_free(names->entries);
    *names = (struct sim_names){0};
}

static void names_copy(struct sim_names *to, const struct sim_names *from)
{
    sim_names_free(to);
    if (from->count == 0)
        return;
    to->entries = mem_calloc(from->count, sizeof(struct sim_entry));
    to->count = to->capacity = from->count;
    for (size_t i = 0; i < from->count; i++) {
        to->entries[i].name = mem_strdup(from->entries[i].name);
        to->entries[i].inode = from->entries[i].inode;
        sim_inode_ref(from->entries[i].inode);
    }
}

/* --- paths ------------------------------------------------------------------------------- */

/* The next component, copied; its length, 0 at the end, or -ENAMETOOLONG. */
static int path_next(const char **path, char name[SIM_NAME_SIZE])
{
    size_t len;

    while (**path == '/')
        (*path)++;
    len = strcspn(*path, "/");
    if (len >= SIM_NAME_SIZE)
        return -ENAMETOOLONG;
    memcpy(name, *path, len);
    name[len] = '\0';
    *path += len;
    return (int)len;
}

static bool path_ended(const char *path)
{
    return path[strspn(path, "/")] == '\0';
}

int sim_path_parent(struct sim_disk *disk, const char *path, struct sim_inode **out_dir,
                    char name[SIM_NAME_SIZE])
{
    struct sim_inode *dir = disk->root;

    for (;;) {
        int len = path_next(&path, name);

        if (len < 0)
            return len;
        /* Nothing of ours walks upwards or names the root; a caller that does is to be looked at. */
        if (len == 0 || strcmp(name, "..") == 0)
            return -EINVAL;
        if (strcmp(name, ".") == 0)
            continue;
        if (path_ended(path)) {
            *out_dir = dir;
            return 0;
        }
        dir = sim_names_find(&dir->vol, name);
        if (!dir)
            return -ENOENT;
        if (!dir->directory)
            return -ENOTDIR;
    }
}

int sim_path_find(struct sim_disk *disk, const char *path, struct sim_inode **out)
{
    char name[SIM_NAME_SIZE];
    struct sim_inode *dir;

    if (path_ended(path) || strcmp(path, ".") == 0) {
        *out = disk->root;
        return *path ? 0 : -ENOENT;
    }
    int error = sim_path_parent(disk, path, &dir, name);

    if (error)
        return error;
    *out = sim_names_find(&dir->vol, name);
    return *out ? 0 : -ENOENT;
}

/* --- changes on their way to the platter ------------------------------------------------------ */

static void change_free(struct sim_disk *disk, struct sim_change *c)
{
    list_remove(&c->node);
    disk->change_count--;
    if (c->from_dir)
        sim_inode_unref(c->from_dir);
    if (c->to_dir)
        sim_inode_unref(c->to_dir);
    if (c->inode)
        sim_inode_unref(c->inode);
    mem_free(c->from_name);
    mem_free(c->to_name);
    mem_free(c);
}

static void change_commit(struct sim_disk *disk, struct sim_change *c)
{
    if (c->to_dir)
        names_set(&c->to_dir->dur, c->to_name, c->inode);
    if (c->from_dir)
        names_remove(&c->from_dir->dur, c->from_name);
    change_free(disk, c);
}

void sim_changes_drop(struct sim_disk *disk)
{
    LIST_EACH_SAFE(&disk->changes, node)
    change_free(disk, container_of(node, struct sim_change, node));
}

static void commit_oldest(struct sim_disk *disk, size_t keep)
{
    while (disk->change_count > keep)
        change_commit(disk, container_of(disk->changes.next, struct sim_change, node));
}

void sim_name_change(struct sim_disk *disk, struct sim_inode *from_dir, const char *from_name,
                     struct sim_inode *to_dir, const char *to_name, struct sim_inode *inode)
{
    struct sim_change *c = mem_zalloc(sizeof(*c));

    ASSERT((to_dir == NULL) == (inode == NULL));
    if (to_dir) {
        c->to_dir = to_dir;
        c->to_name = mem_strdup(to_name);
        c->inode = inode;
        sim_inode_ref(to_dir);
        sim_inode_ref(inode);
        names_set(&to_dir->vol, to_name, inode);
    }
    if (from_dir) {
        c->from_dir = from_dir;
        c->from_name = mem_strdup(from_name);
        sim_inode_ref(from_dir);
        names_remove(&from_dir->vol, from_name);
    }
    list_push_back(&disk->changes, &c->node);
    disk->change_count++;
    if (sim_below(disk->sim, WRITEBACK_ONE_IN) == 0)
        commit_oldest(disk, 0);
    commit_oldest(disk, CHANGES_MAX);
}

static void clear_marks(struct sim_disk *disk)
{
    LIST_EACH(&disk->changes, node)
    {
        struct sim_change *c = container_of(node, struct sim_change, node);

        c->chosen = false;
        if (c->from_dir)
            c->from_dir->mark = false;
        if (c->to_dir)
            c->to_dir->mark = false;
    }
}

static bool change_marked(const struct sim_change *c)
{
    return (c->from_dir && c->from_dir->mark) || (c->to_dir && c->to_dir->mark);
}

static void change_mark(struct sim_change *c)
{
    if (c->from_dir)
        c->from_dir->mark = true;
    if (c->to_dir)
        c->to_dir->mark = true;
}

/* Commits the changes of `dir`, or those that name `inode`, with all on which they build. */
static void commit_closure(struct sim_disk *disk, struct sim_inode *dir,
                           const struct sim_inode *inode)
{
    clear_marks(disk);
    if (dir)
        dir->mark = true;
    for (struct list *node = disk->changes.prev; node != &disk->changes; node = node->prev) {
        struct sim_change *c = container_of(node, struct sim_change, node);

        c->chosen = change_marked(c) || (inode && c->inode == inode);
        if (c->chosen)
            change_mark(c);
    }
    LIST_EACH_SAFE(&disk->changes, node)
    {
        struct sim_change *c = container_of(node, struct sim_change, node);

        if (c->chosen)
            change_commit(disk, c);
    }
}

void sim_dir_sync(struct sim_inode *dir)
{
    commit_closure(dir->disk, dir, NULL);
}

void sim_names_sync_inode(struct sim_inode *inode)
{
    commit_closure(inode->disk, NULL, inode);
}

void sim_dir_sync_failed(struct sim_inode *dir)
{
    if (sim_coin(dir->disk->sim))
        sim_dir_sync(dir);
}

/* Each directory stops at some change; what touches a directory that has stopped is lost. */
static void crash_in_order(struct sim_disk *disk)
{
    uint64_t lost_of_16 = sim_below(disk->sim, 17);

    clear_marks(disk);
    LIST_EACH_SAFE(&disk->changes, node)
    {
        struct sim_change *c = container_of(node, struct sim_change, node);

        if (change_marked(c) || sim_below(disk->sim, 16) < lost_of_16)
            change_mark(c);
        else
            change_commit(disk, c);
    }
}

static void crash_any_subset(struct sim_disk *disk)
{
    LIST_EACH_SAFE(&disk->changes, node)
    {
        if (sim_coin(disk->sim))
            change_commit(disk, container_of(node, struct sim_change, node));
    }
}

void sim_names_crash(struct sim_disk *disk)
{
    if (sim_chance(disk->sim, disk->sim->options.crash_reorder))
        crash_any_subset(disk);
    else
        crash_in_order(disk);
    sim_changes_drop(disk);

    /* Held while we walk: dropping a name must not free the inode that we go to next. */
    LIST_EACH(&disk->inodes, node)
    sim_inode_ref(container_of(node, struct sim_inode, node));
    LIST_EACH(&disk->inodes, node)
    {
        struct sim_inode *inode = container_of(node, struct sim_inode, node);

        if (inode->directory)
            names_copy(&inode->vol, &inode->dur);
    }
    LIST_EACH_SAFE(&disk->inodes, node)
    sim_inode_unref(container_of(node, struct sim_inode, node));
}
