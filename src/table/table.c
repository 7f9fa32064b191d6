#include "table.h"

#include <stdatomic.h>
#include <sys/stat.h>

#include "base_assert.h"
#include "base_hash.h"
#include "base_mem.h"
#include "table_priv.h"

/* Entries */

static size_t get_varint(const uint8_t *bytes, size_t *at)
{
    size_t value = 0;
    unsigned shift = 0;

    while (bytes[*at] >= 0x80) {
        value |= (size_t)(bytes[(*at)++] & 0x7F) << shift;
        shift += 7;
    }
    return value | (size_t)bytes[(*at)++] << shift;
}

size_t table_entry_at(const struct table_entries *entries, size_t at, struct slice *out_key,
                      struct slice *out_value)
{
    size_t len = get_varint(entries->bytes, &at);

    *out_key = slice_of(entries->bytes + at, len);
    at += len;
    len = get_varint(entries->bytes, &at);
    *out_value = slice_of(entries->bytes + at, len);
    return at + len;
}

/* Not keyed: a peer chooses what is looked up, but not what is in the table. */
size_t table_slot(const struct table_entries *entries, struct slice key)
{
    size_t i = hash_stable(key) & entries->mask;

    while (entries->slots[i] != 0) {
        struct slice found, value;

        (void)table_entry_at(entries, entries->slots[i] - 1, &found, &value);
        if (slice_equal(found, key))
            break;
        i = (i + 1) & entries->mask;
    }
    return i;
}

bool table_fold(struct slice key, bool exact, uint8_t memory[TABLE_KEY_MAX], struct slice *out)
{
    if (key.len > TABLE_KEY_MAX)
        return false;
    *out = key;
    if (exact)
        return true;
    for (size_t i = 0; i < key.len; i++) {
        uint8_t c = key.data[i];

        memory[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
    }
    out->data = memory;
    return true;
}

/* Lookups */

static bool find_in_cdb(const struct table *table, struct slice key, struct slice *out_value)
{
    uint8_t with_nul[TABLE_KEY_MAX + 1];
    struct cdb cdb = table->cdb; /* a lookup writes into it */
    const uint8_t *value;

    if (key.len > 0)
        memcpy(with_nul, key.data, key.len);
    with_nul[key.len] = '\0';
    if (cdb_find(&cdb, with_nul, (unsigned)key.len) <= 0
        && cdb_find(&cdb, with_nul, (unsigned)key.len + 1) <= 0)
        return false;
    size_t len = cdb_datalen(&cdb);
    value = cdb_getdata(&cdb);
    if (value == NULL)
        return false;
    *out_value = slice_of(value, len > 0 && value[len - 1] == '\0' ? len - 1 : len);
    return true;
}

bool table_find(const struct table *table, struct slice key, struct slice *out_value)
{
    uint8_t memory[TABLE_KEY_MAX];
    struct slice found;

    if (!table_fold(key, table->entries.exact, memory, &key))
        return false;
    switch (table->kind) {
    case TABLE_MEMORY: {
        uint32_t at = table->entries.slots[table_slot(&table->entries, key)];

        if (at == 0)
            return false;
        (void)table_entry_at(&table->entries, at - 1, &found, out_value);
        return true;
    }
    case TABLE_CDB:
        /* "ann" and a NUL is not ann, though her key may be stored like that. */
        return slice_find(key, '\0') < 0 && find_in_cdb(table, key, out_value);
    }
    UNREACHABLE();
}

static struct slice without_nul(struct slice s)
{
    return s.len > 0 && s.data[s.len - 1] == '\0' ? slice_head(s, s.len - 1) : s;
}

static bool next_in_cdb(const struct table *table, size_t *cursor, struct slice *out_key,
                        struct slice *out_value)
{
    struct cdb cdb = table->cdb;
    unsigned at;

    cdb_seqinit(&at, &cdb);
    if (*cursor > 0)
        at = (unsigned)*cursor;
    if (cdb_seqnext(&at, &cdb) <= 0)
        return false;
    *cursor = at;
    *out_key = without_nul(slice_of(cdb_getkey(&cdb), cdb_keylen(&cdb)));
    *out_value = without_nul(slice_of(cdb_getdata(&cdb), cdb_datalen(&cdb)));
    return true;
}

bool table_next(const struct table *table, size_t *cursor, struct slice *out_key,
                struct slice *out_value)
{
    switch (table->kind) {
    case TABLE_MEMORY:
        if (*cursor >= table->entries.used)
            return false;
        *cursor = table_entry_at(&table->entries, *cursor, out_key, out_value);
        return true;
    case TABLE_CDB: return next_in_cdb(table, cursor, out_key, out_value);
    }
    UNREACHABLE();
}

/* References. The counter is written through a pointer to const: a reader's reference is no change. */

static _Atomic unsigned *refs_of(const struct table *table)
{
    return &((struct table *)(uintptr_t)table)->refs;
}

const struct table *table_ref(const struct table *table)
{
    unsigned before = atomic_fetch_add_explicit(refs_of(table), 1, memory_order_relaxed);

    ASSERT(before > 0);
    return table;
}

void table_unref(const struct table *table)
{
    struct table *mine = (struct table *)(uintptr_t)table;

    if (table == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(refs_of(table), 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before > 1)
        return;
    if (mine->kind == TABLE_CDB)
        cdb_free(&mine->cdb);
    for (size_t i = 0; i < mine->file_count; i++)
        mem_free(mine->files[i].path);
    mem_free(mine->files);
    mem_free(mine->entries.bytes);
    mem_free(mine->entries.slots);
    mem_free(mine->name);
    mem_free(mine);
}

/* What is known about a table */

void table_add_file(struct table *table, const char *path, const struct table_stamp *stamp)
{
    table->files = mem_realloc(table->files, (table->file_count + 1) * sizeof(*table->files));
    table->files[table->file_count++] = (struct table_file){mem_strdup(path), *stamp};
}

enum table_kind table_kind(const struct table *table)
{
    return table->kind;
}

const char *table_name(const struct table *table)
{
    return table->name;
}

size_t table_count(const struct table *table)
{
    return table->kind == TABLE_CDB ? table->cdb_count : table->entries.count;
}

size_t table_memory(const struct table *table)
{
    if (table->kind == TABLE_CDB)
        return sizeof(*table) + table->cdb.cdb_fsize;
    return sizeof(*table) + table->entries.capacity
           + (table->entries.mask + 1) * sizeof(*table->entries.slots);
}

uint64_t table_digest(const struct table *table)
{
    return table->digest;
}

const char *table_file(const struct table *table, size_t index)
{
    return index < table->file_count ? table->files[index].path : NULL;
}

bool table_is_current(const struct table *table)
{
    for (size_t i = 0; i < table->file_count; i++) {
        struct table_stamp now;
        struct stat status;

        if (table->files[i].stamp.recent || stat(table->files[i].path, &status) != 0)
            return false;
        table_stamp_from(&status, &now);
        if (!table_stamp_same(&table->files[i].stamp, &now))
            return false;
    }
    return true;
}
