/*
 * io_sim_page: the bytes of simulated files, see io_sim_disk_priv.h for the idea.
 */
#include <string.h>

#include "io_sim_disk_priv.h"

#define ALL_SECTORS 0xff

static const uint8_t zero_page[SIM_PAGE];

static struct sim_block *block_create(struct sim_disk *disk, const uint8_t *bytes)
{
    struct sim_block *b = disk->free_blocks;

    if (b)
        disk->free_blocks = b->next_free;
    else
        b = mem_alloc(sizeof(*b));
    b->refs = 1;
    b->next_free = NULL;
    memcpy(b->bytes, bytes, SIM_PAGE);
    return b;
}

static void block_unref(struct sim_disk *disk, struct sim_block **slot)
{
    struct sim_block *b = *slot;

    *slot = NULL;
    if (!b || --b->refs > 0)
        return;
    b->next_free = disk->free_blocks;
    disk->free_blocks = b;
}

static const uint8_t *block_bytes(const struct sim_block *b)
{
    return b ? b->bytes : zero_page;
}

/* The block of this slot, made private so that it may be changed. */
static uint8_t *block_own(struct sim_disk *disk, struct sim_block **slot)
{
    struct sim_block *b = *slot;

    if (b && b->refs == 1)
        return b->bytes;
    *slot = block_create(disk, block_bytes(b));
    if (b)
        b->refs--;
    return (*slot)->bytes;
}

static void block_share(struct sim_disk *disk, struct sim_block **to, struct sim_block *from)
{
    if (*to == from)
        return;
    block_unref(disk, to);
    if (from)
        from->refs++;
    *to = from;
}

void sim_blocks_free(struct sim_disk *disk)
{
    while (disk->free_blocks) {
        struct sim_block *b = disk->free_blocks;

        disk->free_blocks = b->next_free;
        mem_free(b);
    }
}

struct sim_inode *sim_inode_create(struct sim_disk *disk, bool directory)
{
    struct sim_inode *inode = mem_zalloc(sizeof(*inode));

    inode->disk = disk;
    inode->directory = directory;
    list_push_back(&disk->inodes, &inode->node);
    return inode;
}

void sim_inode_ref(struct sim_inode *inode)
{
    inode->refs++;
}

static void page_release(struct sim_inode *inode, struct sim_page *page)
{
    block_unref(inode->disk, &page->vol);
    block_unref(inode->disk, &page->dur);
    if (page->allocated)
        inode->disk->used -= SIM_PAGE;
    page->allocated = false;
    page->dirty = 0;
}

void sim_inode_unref(struct sim_inode *inode)
{
    ASSERT(inode->refs > 0);
    if (--inode->refs > 0)
        return;
    for (size_t i = 0; i < inode->page_count; i++)
        page_release(inode, &inode->pages[i]);
    mem_free(inode->pages);
    mem_free(inode->dirty_pages);
    list_remove(&inode->node);
    sim_names_free(&inode->vol);
    sim_names_free(&inode->dur);
    mem_free(inode);
}

static struct sim_page *page_at(struct sim_inode *inode, uint64_t index)
{
    ASSERT(index < (uint64_t)1 << 28); /* files of at most 1 TiB: an offset that is plainly wrong */
    if (index >= inode->page_count) {
        size_t count = inode->page_count ? inode->page_count : 4;

        while (count <= index)
            count *= 2;
        inode->pages = mem_realloc(inode->pages, count * sizeof(struct sim_page));
        memset(inode->pages + inode->page_count, 0,
               (count - inode->page_count) * sizeof(struct sim_page));
        inode->page_count = count;
    }
    return &inode->pages[index];
}

void sim_inode_read(const struct sim_inode *inode, uint64_t offset, uint8_t *out, size_t len)
{
    while (len > 0) {
        uint64_t index = offset / SIM_PAGE;
        size_t within = offset % SIM_PAGE;
        size_t part = SIM_PAGE - within < len ? SIM_PAGE - within : len;
        const struct sim_block *b = index < inode->page_count ? inode->pages[index].vol : NULL;

        memcpy(out, block_bytes(b) + within, part);
        out += part;
        offset += part;
        len -= part;
    }
}

uint64_t sim_inode_growth(const struct sim_inode *inode, uint64_t offset, size_t len)
{
    uint64_t growth = 0;

    if (len == 0)
        return 0;
    for (uint64_t i = offset / SIM_PAGE; i <= (offset + len - 1) / SIM_PAGE; i++)
        if (i >= inode->page_count || !inode->pages[i].allocated)
            growth += SIM_PAGE;
    return growth;
}

/* The sectors of a page that [from, to) touches. */
static uint8_t sector_mask(size_t from, size_t to)
{
    unsigned mask = 0;

    for (size_t s = from / SIM_SECTOR; s * SIM_SECTOR < to; s++)
        mask |= 1u << s;
    return (uint8_t)mask;
}

/* These sectors reach the platter. */
static void page_promote(struct sim_disk *disk, struct sim_page *page, uint8_t mask)
{
    if (mask == 0 || page->vol == page->dur)
        return;
    if (mask == ALL_SECTORS) {
        block_share(disk, &page->dur, page->vol);
        return;
    }
    uint8_t *to = block_own(disk, &page->dur);
    const uint8_t *from = block_bytes(page->vol);

    for (size_t s = 0; s < SIM_PAGE_SECTORS; s++)
        if (mask & 1u << s)
            memcpy(to + s * SIM_SECTOR, from + s * SIM_SECTOR, SIM_SECTOR);
    if (memcmp(to, from, SIM_PAGE) == 0)
        block_share(disk, &page->dur, page->vol);
}

static void page_list_dirty(struct sim_inode *inode, struct sim_page *page, uint64_t index)
{
    if (page->listed)
        return;
    if (inode->dirty_count == inode->dirty_capacity) {
        inode->dirty_capacity = inode->dirty_capacity ? 2 * inode->dirty_capacity : 8;
        inode->dirty_pages =
            mem_realloc(inode->dirty_pages, inode->dirty_capacity * sizeof(uint32_t));
    }
    inode->dirty_pages[inode->dirty_count++] = (uint32_t)index;
    page->listed = true;
}

static void page_write(struct sim_inode *inode, uint64_t index, size_t within, const uint8_t *data,
                       size_t len)
{
    struct sim_disk *disk = inode->disk;
    struct sim_page *page = page_at(inode, index);
    uint8_t mask = sector_mask(within, within + len);
    uint8_t overwritten = page->dirty & mask;

    /* Had the older bytes been written back by now? (Not before the truncation that precedes them.) */
    if (overwritten && !inode->truncated)
        page_promote(disk, page, overwritten & (uint8_t)sim_below(disk->sim, 256));
    if (len == SIM_PAGE && memcmp(data, zero_page, SIM_PAGE) == 0)
        block_unref(disk, &page->vol);
    else
        memcpy(block_own(disk, &page->vol) + within, data, len);
    page->dirty |= mask;
    if (!page->allocated)
        disk->used += SIM_PAGE;
    page->allocated = true;
    page_list_dirty(inode, page, index);
}

void sim_inode_write(struct sim_inode *inode, uint64_t offset, const uint8_t *data, size_t len)
{
    while (len > 0) {
        size_t within = offset % SIM_PAGE;
        size_t part = SIM_PAGE - within < len ? SIM_PAGE - within : len;

        page_write(inode, offset / SIM_PAGE, within, data, part);
        data += part;
        offset += part;
        len -= part;
        if (offset > inode->vol_size)
            inode->vol_size = offset;
    }
}

/* From here on the old bytes cannot come back. */
static void commit_truncation(struct sim_inode *inode)
{
    if (!inode->truncated)
        return;
    inode->truncated = false;
    inode->dur_size = 0;
    for (size_t i = 0; i < inode->page_count; i++)
        block_unref(inode->disk, &inode->pages[i].dur);
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void sim_inode_sync_range(struct sim_inode *inode, uint64_t offset, size_t len)
{
    uint64_t end = offset + len;

    commit_truncation(inode);
    for (uint64_t at = offset; at < end;) {
        struct sim_page *page = page_at(inode, at / SIM_PAGE);
        size_t within = at % SIM_PAGE;
        size_t part = (size_t)min_u64(SIM_PAGE - within, end - at);
        uint8_t mask = page->dirty & sector_mask(within, within + part);

        page_promote(inode->disk, page, mask);
        page->dirty &= (uint8_t)~mask;
        at += part;
    }
    if (min_u64(end, inode->vol_size) > inode->dur_size)
        inode->dur_size = min_u64(end, inode->vol_size);
}

void sim_inode_sync(struct sim_inode *inode)
{
    commit_truncation(inode);
    for (size_t i = 0; i < inode->dirty_count; i++) {
        struct sim_page *page = &inode->pages[inode->dirty_pages[i]];

        page_promote(inode->disk, page, page->dirty);
        page->dirty = 0;
        page->listed = false;
    }
    inode->dirty_count = 0;
    inode->dur_size = inode->vol_size;
}

void sim_inode_sync_failed(struct sim_inode *inode, uint64_t offset, uint64_t len)
{
    struct sim *sim = inode->disk->sim;
    size_t kept = 0;

    commit_truncation(inode);
    for (size_t i = 0; i < inode->dirty_count; i++) {
        uint64_t start = (uint64_t)inode->dirty_pages[i] * SIM_PAGE;
        struct sim_page *page = &inode->pages[inode->dirty_pages[i]];

        if (start + SIM_PAGE <= offset || start >= offset + len) {
            inode->dirty_pages[kept++] = inode->dirty_pages[i];
            continue;
        }
        page_promote(inode->disk, page, page->dirty & (uint8_t)sim_below(sim, 256));
        page->dirty = 0;
        page->listed = false;
        /* The cache is now clean, and says what was written, until memory gets tight. */
        if (sim_below(sim, 4) == 0)
            block_share(inode->disk, &page->vol, page->dur);
    }
    inode->dirty_count = kept;
    if (min_u64(offset + len, inode->vol_size) > inode->dur_size && sim_coin(sim))
        inode->dur_size = min_u64(offset + len, inode->vol_size);
}

static void forget_dirty(struct sim_inode *inode)
{
    for (size_t i = 0; i < inode->dirty_count; i++) {
        inode->pages[inode->dirty_pages[i]].dirty = 0;
        inode->pages[inode->dirty_pages[i]].listed = false;
    }
    inode->dirty_count = 0;
}

void sim_inode_truncate(struct sim_inode *inode)
{
    if (inode->vol_size == 0)
        return;
    forget_dirty(inode);
    for (size_t i = 0; i < inode->page_count; i++) {
        struct sim_page *page = &inode->pages[i];

        block_unref(inode->disk, &page->vol);
        if (page->allocated)
            inode->disk->used -= SIM_PAGE;
        page->allocated = false;
    }
    inode->vol_size = 0;
    inode->truncated = true;
}

/* What is past the end is gone, so that a later extension reads zeros. */
static void trim_durable(struct sim_inode *inode)
{
    uint64_t size = inode->dur_size;

    for (uint64_t i = size / SIM_PAGE; i < inode->page_count; i++) {
        struct sim_page *page = &inode->pages[i];
        size_t keep = i * SIM_PAGE < size ? size % SIM_PAGE : 0;

        if (keep == 0) {
            page_release(inode, page);
        } else if (page->dur) {
            uint8_t *bytes = block_own(inode->disk, &page->dur);

            memset(bytes + keep, 0, SIM_PAGE - keep);
        }
    }
}

/* The old size, the new one, or that of a moment between them. */
static void crash_size(struct sim_inode *inode)
{
    struct sim *sim = inode->disk->sim;
    uint64_t size = inode->vol_size;

    if (size <= inode->dur_size || sim_coin(sim))
        return;
    if (sim_coin(sim)) {
        size = inode->dur_size + sim_below(sim, size - inode->dur_size);
        size = size / SIM_SECTOR * SIM_SECTOR;
    }
    if (size > inode->dur_size)
        inode->dur_size = size;
}

void sim_inode_crash(struct sim_inode *inode)
{
    struct sim *sim = inode->disk->sim;
    uint64_t mode =
        sim_below(sim, 4); /* 0: nothing made it, 1: everything, else sector by sector */

    if (inode->truncated && sim_coin(sim)) {
        /* The truncation was lost, and all that followed it with it. */
        inode->truncated = false;
        forget_dirty(inode);
        inode->vol_size = inode->dur_size;
    }
    commit_truncation(inode);
    for (size_t i = 0; i < inode->dirty_count && mode != 0; i++) {
        struct sim_page *page = &inode->pages[inode->dirty_pages[i]];
        uint8_t mask = mode == 1 ? ALL_SECTORS : (uint8_t)sim_below(sim, 256);

        page_promote(inode->disk, page, page->dirty & mask);
    }
    forget_dirty(inode);
    crash_size(inode);
    trim_durable(inode);
    inode->vol_size = inode->dur_size;
    for (size_t i = 0; i < inode->page_count; i++) {
        struct sim_page *page = &inode->pages[i];

        block_share(inode->disk, &page->vol, page->dur);
        if (page->vol && !page->allocated) {
            page->allocated = true;
            inode->disk->used += SIM_PAGE;
        }
    }
}

void sim_inode_flip(struct sim_inode *inode, uint64_t offset, uint8_t mask)
{
    struct sim_page *page = page_at(inode, offset / SIM_PAGE);
    bool shared = page->vol == page->dur;

    block_own(inode->disk, &page->vol)[offset % SIM_PAGE] ^= mask;
    if (shared)
        block_share(inode->disk, &page->dur, page->vol);
    else
        block_own(inode->disk, &page->dur)[offset % SIM_PAGE] ^= mask;
}
