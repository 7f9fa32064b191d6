/*
 * table: lookups behind one interface. A table is key -> value; it never changes once it is made, so any
 * thread looks into it without a lock, and it is gone with its last reference.
 *
 *     struct table_builder *builder = table_builder_create("recipients /etc/mail/users", size);
 *     table_builder_add(builder, key, value);
 *     const struct table *table = table_build(builder);
 *     if (table_find(table, key, &value)) ...
 *     table_unref(table);
 *
 * Kinds: what a builder was fed (entries of a configuration, lines of a text file: table_text.h), and
 * constant databases (CDB) as Postfix, tinycdb and others write them. Both are in memory as a whole: a lookup
 * waits for no disk, whatever happens to the file meanwhile. An entry of ours costs about ten bytes beside its
 * text. Making a table reads files and takes its time: that is for the main thread, at start and reload.
 *
 * Keys are the same in upper and lower case (ASCII).
 */
#ifndef TABLE_H
#define TABLE_H

#include "base_slice.h"

struct table;

enum table_kind { TABLE_MEMORY, TABLE_CDB };

enum {
    TABLE_KEY_MAX = 1024,   /* octets of a key; longer ones are in no table */
    TABLE_FILES_MAX = 1000, /* that one table is made from */
};

/* Which file this was, in which state. */
struct table_stamp {
    uint64_t device, inode, size, modified_ns, changed_ns;
    /* Altered less than a second before it was read: it may be altered again without a trace here. */
    bool recent;
};

/* A builder takes entries until it becomes a table. `name` says what is made from which file, to find the
 * table again at a reload. `size_hint` is about the length of all keys and values. */
struct table_builder;
struct table_builder *table_builder_create(const char *name, size_t size_hint);
/* The same, for keys in which case matters. */
struct table_builder *table_builder_create_exact(const char *name, size_t size_hint);
void table_builder_destroy(struct table_builder *builder); /* NULL is fine */

enum table_add { TABLE_ADDED, TABLE_EXISTS, TABLE_TOO_LONG, TABLE_FULL };
/* Copies both. EXISTS: the entry that is there stays, and *out_value, if not NULL, is its value. */
enum table_add table_builder_add(struct table_builder *builder, struct slice key,
                                 struct slice value, struct slice *out_value);
size_t table_builder_count(const struct table_builder *builder);
/* The table is made from this file too. False: there are too many. */
bool table_builder_file(struct table_builder *builder, const char *path,
                        const struct table_stamp *stamp);
const struct table *table_build(struct table_builder *builder); /* the builder is gone */

/* Reads a CDB whole, and goes through it once: one that is damaged is refused. NULL and `why` on failure. */
const struct table *table_open_cdb(const char *name, const char *path, char *why, size_t why_size);

const struct table *table_ref(const struct table *table);
void table_unref(const struct table *table); /* NULL is fine */

/* The value stays as long as the table. From a CDB without the NUL that may end it. */
bool table_find(const struct table *table, struct slice key, struct slice *out_value);
/* Entry after entry, in the order of the file; *cursor begins with 0. */
bool table_next(const struct table *table, size_t *cursor, struct slice *out_key,
                struct slice *out_value);

enum table_kind table_kind(const struct table *table);
const char *table_name(const struct table *table);
size_t table_count(const struct table *table);
size_t table_memory(const struct table *table); /* bytes */
/* Two of the same name with the same digest are the same. */
uint64_t table_digest(const struct table *table);
/* The files that it was made from, the first of them first; NULL behind the last. */
const char *table_file(const struct table *table, size_t index);
/* Whether all of them are as they were when they were read. */
bool table_is_current(const struct table *table);

#endif
