/* table_priv: how a table lies in memory. */
#ifndef TABLE_PRIV_H
#define TABLE_PRIV_H

#include <cdb.h>

#include "table.h"

struct table_file {
    char *path;
    struct table_stamp stamp;
};

/* Entries one after another, each the length of its key (a varint), the key, the length of its value, the
 * value; and a hash table of their offsets. */
struct table_entries {
    uint8_t *bytes;
    size_t used;
    size_t capacity;
    uint32_t *slots; /* offset plus 1; 0: empty */
    size_t mask;
    size_t count;
    bool exact; /* keys are not folded */
};

struct table {
    _Atomic unsigned refs;
    enum table_kind kind;
    char *name;
    struct table_file *files;
    size_t file_count;
    uint64_t digest;
    struct table_entries entries; /* TABLE_MEMORY */
    struct cdb cdb;               /* TABLE_CDB: a lookup works with a copy of it */
    size_t cdb_count;
};

void table_add_file(struct table *table, const char *path, const struct table_stamp *stamp);

/* The entry at the offset; answers the next one's. */
size_t table_entry_at(const struct table_entries *entries, size_t at, struct slice *out_key,
                      struct slice *out_value);
/* The slot of the key, which is folded, or the empty one where it would be. */
size_t table_slot(const struct table_entries *entries, struct slice key);
/* The key as it is looked up, in `memory` if that is needed; false if it is too long. */
bool table_fold(struct slice key, bool exact, uint8_t memory[TABLE_KEY_MAX], struct slice *out);

struct stat;
void table_stamp_from(const struct stat *status, struct table_stamp *out);
bool table_stamp_same(const struct table_stamp *a, const struct table_stamp *b);

/* Opens a regular file, without waiting for anything else, and has `copy` read it, again if it was altered
 * meanwhile. `copy` answers false with errno set, or 0 there for a size that is not that of `status`. */
typedef bool table_copy(void *context, int fd, const struct stat *status);
bool table_read_file(const char *path, table_copy *copy, void *context, struct table_stamp *out,
                     char *why, size_t why_size);

#endif
