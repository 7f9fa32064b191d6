/* table_cdb: constant databases. The file is copied into anonymous memory and never looked at again: one that
 * is replaced, cut short or pushed out of the page cache does not trouble those who look into it. */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_hash.h"
#include "base_mem.h"
#include "table_priv.h"

#define CDB_SIZE_MAX ((off_t)4 << 30) /* the format's own */

/* Into a file without a name, which is what the library can open. */
static bool copy_cdb(void *context, int fd, const struct stat *status)
{
    int *memory = context;
    off_t size = status->st_size;
    ssize_t got = 1;
    off_t done = 0;

    if (*memory >= 0)
        (void)close(*memory); /* of an earlier try */
    *memory = memfd_create("mailring-cdb", MFD_CLOEXEC);
    if (*memory < 0)
        return false;
    if (size >= CDB_SIZE_MAX) {
        errno = EFBIG;
        return false;
    }
    while (done <= size && got > 0) {
        got = sendfile(*memory, fd, NULL, 1 << 20);
        done += got > 0 ? got : 0;
    }
    if (got >= 0)
        errno = 0;
    return got >= 0 && done == size;
}

enum { HEADER_TABLES = 256, HEADER_SIZE = 2048, SLOT_SIZE = 8 };

/* Whether the 256 hash tables that the file begins with naming lie in it, one behind the other up to its end. */
static bool verify_header(const struct cdb *cdb, uint64_t size)
{
    const uint8_t *header = cdb_get(cdb, HEADER_SIZE, 0);
    uint64_t end = 0;

    for (size_t i = 0; header != NULL && i < HEADER_TABLES; i++) {
        uint64_t at = cdb_unpack(header + i * SLOT_SIZE);
        uint64_t slots = cdb_unpack(header + i * SLOT_SIZE + 4);

        if (at < HEADER_SIZE || at + slots * SLOT_SIZE > size)
            return false;
        end = at + slots * SLOT_SIZE > end ? at + slots * SLOT_SIZE : end;
    }
    return end == size;
}

/* Whether all records can be read and found. It also brings all of it into our page tables. */
static bool verify(struct table *table, uint64_t size)
{
    struct cdb sequence = table->cdb, cdb = table->cdb;
    unsigned at;
    int result;

    if (!verify_header(&cdb, size))
        return false;
    cdb_seqinit(&at, &sequence);
    while ((result = cdb_seqnext(&at, &sequence)) > 0) {
        const void *key = cdb_getkey(&sequence);

        if (key == NULL || cdb_getdata(&sequence) == NULL
            || cdb_find(&cdb, key, cdb_keylen(&sequence)) <= 0)
            return false;
        table->cdb_count++;
    }
    return result == 0;
}

static uint64_t digest_of(const struct table_stamp *stamp)
{
    uint64_t digest = hash_u64(stamp->device);

    digest = hash_u64(digest ^ stamp->inode);
    digest = hash_u64(digest ^ stamp->size);
    return hash_u64(digest ^ stamp->modified_ns);
}

const struct table *table_open_cdb(const char *name, const char *path, char *why, size_t why_size)
{
    struct table_stamp stamp;
    struct table *table = NULL;
    int memory = -1;

    if (!table_read_file(path, copy_cdb, &memory, &stamp, why, why_size))
        goto out;
    table = mem_zalloc(sizeof(*table));
    table->refs = 1;
    table->name = mem_strdup(name);
    table->digest = digest_of(&stamp);
    if (cdb_init(&table->cdb, memory) == 0)
        table->kind = TABLE_CDB;
    if (table->kind != TABLE_CDB || !verify(table, stamp.size)) {
        (void)snprintf(why, why_size, "not a CDB, or damaged");
        table_unref(table);
        table = NULL;
        goto out;
    }
    table_add_file(table, path, &stamp);
out:
    if (memory >= 0)
        (void)close(memory); /* the mapping stays */
    return table;
}
