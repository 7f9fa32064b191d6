#include "base_assert.h"
#include "base_hash.h"
#include "base_mem.h"
#include "table_priv.h"

enum {
    SLOTS_MIN = 8,
    VARINT_MAX = 5,
    ENTRY_GUESS = 40, /* octets of a key and a value: how many slots to begin with */
};

struct table_builder {
    struct table *table;
};

/* Three quarters of them are in use at most. */
static size_t slots_for(size_t count)
{
    size_t slots = SLOTS_MIN;

    while (slots / 4 * 3 < count)
        slots *= 2;
    return slots;
}

static struct table_builder *create(const char *name, size_t size_hint, bool exact)
{
    struct table_builder *builder = mem_zalloc(sizeof(*builder));
    struct table *table = mem_zalloc(sizeof(*table));

    table->kind = TABLE_MEMORY;
    table->name = mem_strdup(name);
    table->refs = 1;
    table->entries.exact = exact;
    table->entries.capacity = size_hint + 64;
    table->entries.bytes = mem_alloc(table->entries.capacity);
    table->entries.mask = slots_for(size_hint / ENTRY_GUESS) - 1;
    table->entries.slots = mem_calloc(table->entries.mask + 1, sizeof(*table->entries.slots));
    builder->table = table;
    return builder;
}

struct table_builder *table_builder_create(const char *name, size_t size_hint)
{
    return create(name, size_hint, false);
}

struct table_builder *table_builder_create_exact(const char *name, size_t size_hint)
{
    return create(name, size_hint, true);
}

void table_builder_destroy(struct table_builder *builder)
{
    if (builder == NULL)
        return;
    table_unref(builder->table);
    mem_free(builder);
}

size_t table_builder_count(const struct table_builder *builder)
{
    return builder->table->entries.count;
}

bool table_builder_file(struct table_builder *builder, const char *path,
                        const struct table_stamp *stamp)
{
    if (builder->table->file_count >= TABLE_FILES_MAX)
        return false;
    table_add_file(builder->table, path, stamp);
    return true;
}

static void put_varint(struct table_entries *entries, size_t value)
{
    for (; value >= 0x80; value >>= 7)
        entries->bytes[entries->used++] = (uint8_t)(value | 0x80);
    entries->bytes[entries->used++] = (uint8_t)value;
}

static void put_slice(struct table_entries *entries, struct slice s)
{
    put_varint(entries, s.len);
    if (s.len > 0)
        memcpy(entries->bytes + entries->used, s.data, s.len);
    entries->used += s.len;
}

/* All entries anew; no two are the same. */
static void index_again(struct table_entries *entries, size_t capacity)
{
    mem_free(entries->slots);
    entries->slots = mem_calloc(capacity, sizeof(*entries->slots));
    entries->mask = capacity - 1;
    for (size_t at = 0; at < entries->used;) {
        struct slice key, value;
        size_t next = table_entry_at(entries, at, &key, &value);
        size_t i = hash_stable(key) & entries->mask;

        while (entries->slots[i] != 0)
            i = (i + 1) & entries->mask;
        entries->slots[i] = (uint32_t)at + 1;
        at = next;
    }
}

enum table_add table_builder_add(struct table_builder *builder, struct slice key,
                                 struct slice value, struct slice *out_value)
{
    struct table_entries *entries = &builder->table->entries;
    uint8_t memory[TABLE_KEY_MAX];
    struct slice found, other;
    size_t size = key.len + value.len + 2 * (size_t)VARINT_MAX;

    if (!table_fold(key, entries->exact, memory, &key))
        return TABLE_TOO_LONG;
    if (value.len > UINT32_MAX || entries->used + size > UINT32_MAX)
        return TABLE_FULL; /* offsets have 32 bits */
    size_t slot = table_slot(entries, key);
    if (entries->slots[slot] != 0) {
        (void)table_entry_at(entries, entries->slots[slot] - 1, &found, &other);
        if (out_value != NULL)
            *out_value = other;
        return TABLE_EXISTS;
    }
    if (entries->capacity - entries->used < size) {
        entries->capacity += entries->capacity / 2 + size;
        entries->bytes = mem_realloc(entries->bytes, entries->capacity);
    }
    entries->slots[slot] = (uint32_t)entries->used + 1;
    put_slice(entries, key);
    put_slice(entries, value);
    entries->count++;
    builder->table->digest =
        hash_u64(builder->table->digest ^ hash_stable(key) ^ hash_u64(hash_stable(value)));
    if (entries->count == (entries->mask + 1) / 4 * 3)
        index_again(entries, (entries->mask + 1) * 2);
    return TABLE_ADDED;
}

const struct table *table_build(struct table_builder *builder)
{
    struct table *table = builder->table;
    struct table_entries *entries = &table->entries;

    if (entries->mask + 1 > slots_for(entries->count))
        index_again(entries, slots_for(entries->count));
    entries->capacity = entries->used > 0 ? entries->used : 1;
    entries->bytes = mem_realloc(entries->bytes, entries->capacity);
    mem_free(builder);
    return table;
}
