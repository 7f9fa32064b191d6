/*
 * io_sim_disk_priv: the simulated file system.
 *
 * A file is an array of 4 KiB pages. Each has a volatile block (what reads see), a durable block
 * (what is on the platter) and a bit a sector: dirty, that is, written and on its way. NULL is a page
 * of zeros. Clean pages share one block between both, so a synced write costs one copy.
 *
 * No list of unsynced writes is kept: a write over a dirty sector first draws whether the older
 * bytes had reached the platter by then. So every version of a sector can be the one that survives,
 * at the price of one bit.
 *
 * Names have two images as well, and a list of the changes between them, in order.
 */
#ifndef IO_SIM_DISK_PRIV_H
#define IO_SIM_DISK_PRIV_H

#include "io_sim_priv.h"

enum { SIM_PAGE = 4096, SIM_SECTOR = 512, SIM_PAGE_SECTORS = SIM_PAGE / SIM_SECTOR };

struct sim_block {
    uint32_t refs;
    struct sim_block *next_free;
    uint8_t bytes[SIM_PAGE];
};

struct sim_page {
    struct sim_block *vol;
    struct sim_block *dur;
    uint8_t dirty;  /* a bit a sector */
    bool listed;    /* in inode->dirty_pages */
    bool allocated; /* counts as used */
};

struct sim_entry {
    char *name;
    struct sim_inode *inode;
};

/* Sorted by name. */
struct sim_names {
    struct sim_entry *entries;
    size_t count;
    size_t capacity;
};

struct sim_inode {
    struct sim_disk *disk;
    struct list node; /* disk->inodes */
    unsigned refs;    /* entries of either image, pending changes, handles */
    bool directory;
    bool truncated; /* a truncation is not yet durable */
    uint32_t mode;  /* asked about, never checked: there is one user */
    bool mark;      /* of a walk over the pending changes */
    struct sim_handle *locked_by;
    uint64_t vol_size;
    uint64_t dur_size;
    struct sim_page *pages;
    size_t page_count;
    uint32_t *dirty_pages;
    size_t dirty_count;
    size_t dirty_capacity;
    struct sim_names vol; /* directories */
    struct sim_names dur;
};

/* A change of names on its way to the platter: `to_dir/to_name` becomes `inode` and `from_dir/
 * from_name` goes away, both or neither. Either half may be missing. */
struct sim_change {
    struct list node;
    bool chosen; /* of a walk */
    struct sim_inode *from_dir;
    char *from_name;
    struct sim_inode *to_dir;
    char *to_name;
    struct sim_inode *inode;
};

struct sim_disk {
    struct sim *sim;
    struct sim_inode *root;
    struct list inodes;
    struct list changes; /* oldest first */
    size_t change_count;
    struct sim_block *free_blocks;
    uint64_t used;
};

/* --- pages (io_sim_page.c) --- */
void sim_blocks_free(struct sim_disk *disk);
struct sim_inode *sim_inode_create(struct sim_disk *disk, bool directory);
void sim_inode_ref(struct sim_inode *inode);
void sim_inode_unref(struct sim_inode *inode); /* frees what nobody holds */
void sim_inode_read(const struct sim_inode *inode, uint64_t offset, uint8_t *out, size_t len);
/* Bytes of the disk that a write there would newly take. */
uint64_t sim_inode_growth(const struct sim_inode *inode, uint64_t offset, size_t len);
void sim_inode_write(struct sim_inode *inode, uint64_t offset, const uint8_t *data, size_t len);
/* Makes that range durable and the size that is needed to read it. */
void sim_inode_sync_range(struct sim_inode *inode, uint64_t offset, size_t len);
void sim_inode_sync(struct sim_inode *inode);
/* A sync failed: each dirty sector has made it or not, and is forgotten as if it had. */
void sim_inode_sync_failed(struct sim_inode *inode, uint64_t offset, uint64_t len);
void sim_inode_truncate(struct sim_inode *inode);
void sim_inode_crash(struct sim_inode *inode);
void sim_inode_flip(struct sim_inode *inode, uint64_t offset, uint8_t mask);

/* --- names (io_sim_dir.c) --- */
struct sim_inode *sim_names_find(const struct sim_names *names, const char *name);
/* The inode of a path: 0, -ENOENT, -ENOTDIR. */
int sim_path_find(struct sim_disk *disk, const char *path, struct sim_inode **out);
/* The directory of a path's last component, which is copied to `name`. */
enum { SIM_NAME_SIZE = 256 };
int sim_path_parent(struct sim_disk *disk, const char *path, struct sim_inode **out_dir,
                    char name[SIM_NAME_SIZE]);
/* Changes the volatile image and notes the change. `inode` NULL: only the removal. */
void sim_name_change(struct sim_disk *disk, struct sim_inode *from_dir, const char *from_name,
                     struct sim_inode *to_dir, const char *to_name, struct sim_inode *inode);
/* fsync of a directory: its changes, and those that they build on. */
void sim_dir_sync(struct sim_inode *dir);
/* Whatever gave this file its names. */
void sim_names_sync_inode(struct sim_inode *inode);
void sim_dir_sync_failed(struct sim_inode *dir);
void sim_names_crash(struct sim_disk *disk);
void sim_names_free(struct sim_names *names);
void sim_changes_drop(struct sim_disk *disk);

/* --- ops (io_sim_name.c) --- */
int sim_name_op(struct sim_op *sop); /* one that names a path: does it; its result */

#endif
