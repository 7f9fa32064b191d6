#include "conf_tables_priv.h"

#include <stdio.h>

#include "base_assert.h"
#include "base_mem.h"
#include "conf_value_priv.h"

enum { BAD_ENTRIES_MAX = 10 }; /* then it is the wrong file */

/* Problems */

struct conf_text *conf_text_of_file(struct conf_load *load, const char *path)
{
    struct conf_text **end = &load->texts;
    unsigned number = 0;

    for (; *end != NULL; end = &(*end)->next) {
        if ((*end)->bytes == NULL && strcmp((*end)->path, path) == 0)
            return *end;
        number = (*end)->number + 1;
    }
    *end = mem_zalloc(sizeof(**end));
    (*end)->path = mem_strdup(path);
    (*end)->number = number;
    return *end;
}

void conf_reader_fail(struct conf_reader *reader, struct slice entry, const char *format, ...)
{
    char what[300];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    conf_fail(reader->load, reader->place, "\"%.*s\" %s", SLICE_ARG(slice_head(entry, 80)), what);
    reader->bad++;
}

bool conf_reader_add(struct conf_reader *reader, struct slice key, struct slice value)
{
    switch (table_builder_add(reader->builder, key, value, NULL)) {
    case TABLE_ADDED: return true;
    case TABLE_EXISTS: return false;
    case TABLE_TOO_LONG: conf_reader_fail(reader, key, "is too long"); return false;
    case TABLE_FULL:
        conf_reader_fail(reader, key, "does not fit: a text file of more than 4G; use a CDB");
        reader->bad = BAD_ENTRIES_MAX;
        return false;
    }
    UNREACHABLE();
}

/* Reading */

static void keep_table(struct conf_load *load, const struct table *table,
                       const struct conf_format *format, const void *field)
{
    struct conf_box *box = load->box;

    box->tables = mem_realloc(box->tables, (box->table_count + 1) * sizeof(*box->tables));
    box->tables[box->table_count++] = (struct conf_kept_table){table, format->setting, field};
}

static const struct table *table_named(const struct conf_box *box, const char *name)
{
    for (size_t i = 0; i < box->table_count; i++)
        if (strcmp(table_name(box->tables[i].table), name) == 0)
            return box->tables[i].table;
    return NULL;
}

static const struct table *read_text(struct conf_reader *reader, const char *name, const char *path,
                                     struct conf_place here)
{
    struct conf_load *load = reader->load;
    const char *setting = reader->format->setting;
    struct table_text text;
    struct table_lines lines;
    struct slice entry;
    char why[128];

    if (!table_text_read(path, &text, why, sizeof(why))) {
        conf_fail(load, here, "%s: cannot read %s: %s", setting, path, why);
        return NULL;
    }
    if (reader->format->guarded && (text.mode & 02) != 0)
        conf_fail(load, here, "%s: everybody may write to %s (mode %03o): chmod o-w it", setting,
                  path, text.mode & 0777);
    reader->owner = text.owner;
    reader->place.text = conf_text_of_file(load, path);
    reader->builder = table_builder_create(name, text.len);
    bool first = table_builder_file(reader->builder, path, &text.stamp);
    ASSERT(first);
    table_lines_init(&lines, &text, reader->format->continued);
    while (reader->bad < BAD_ENTRIES_MAX && table_lines_next(&lines, &entry)) {
        reader->place.line = lines.line;
        if (lines.wrong != NULL)
            conf_reader_fail(reader, entry, "%s", lines.wrong);
        else
            reader->format->add(reader, entry);
    }
    table_text_finish(&text);
    return table_build(reader->builder);
}

/* Records that programs which make databases of aliases leave in them. */
static bool is_housekeeping(struct slice key)
{
    return slice_equal(key, SLICE_LITERAL("@"))
           || slice_equal(slice_head(key, 3), SLICE_LITERAL("YP_"));
}

static bool has_upper(struct slice key)
{
    for (size_t i = 0; i < key.len; i++)
        if (key.data[i] >= 'A' && key.data[i] <= 'Z')
            return true;
    return false;
}

static const struct table *read_cdb(struct conf_reader *reader, const char *name, const char *path,
                                    struct conf_place here)
{
    char why[128];
    const struct table *table = table_open_cdb(name, path, why, sizeof(why));
    struct slice key, value;
    size_t cursor = 0;

    if (table == NULL) {
        conf_fail(reader->load, here, "%s: cannot read %s: %s", reader->format->setting, path, why);
        return NULL;
    }
    reader->place = (struct conf_place){conf_text_of_file(reader->load, path), 1};
    while (reader->bad < BAD_ENTRIES_MAX && table_next(table, &cursor, &key, &value)) {
        if (is_housekeeping(key))
            continue;
        if (has_upper(key))
            conf_reader_fail(reader, key, "is a key with upper case letters: it is never found");
        else
            reader->format->check(reader, key, value);
    }
    return table;
}

/* "cdb:/path", or "/path.cdb". */
static bool is_cdb(const char **path)
{
    size_t len = strlen(*path);

    if (strncmp(*path, "cdb:", 4) == 0) {
        *path += 4;
        return true;
    }
    return len > 4 && strcmp(*path + len - 4, ".cdb") == 0;
}

static bool is_entry(const char *item)
{
    return item[0] != '/' && strncmp(item, "cdb:/", 5) != 0;
}

static const struct table *load_file(struct conf_load *load, const struct conf_format *format,
                                     const char *const *item)
{
    struct conf_reader reader = {.load = load, .format = format};
    const struct table *table = NULL;
    const char *path = *item;
    struct buf name;

    buf_init(&name, 0);
    (void)buf_printf(&name, "%s %s", format->setting, *item);
    (void)buf_append_byte(&name, '\0');
    const char *text = (const char *)buf_slice(&name).data;
    const struct table *known = table_named(load->box, text);
    if (known == NULL && load->before != NULL) {
        table = table_named(load->before, text);
        table = table != NULL && table_is_current(table) ? table_ref(table) : NULL;
    }
    if (known == NULL && table == NULL)
        table = is_cdb(&path) ? read_cdb(&reader, text, path, conf_place_of(load, item))
                              : read_text(&reader, text, path, conf_place_of(load, item));
    if (table != NULL)
        keep_table(load, table, format, item);
    buf_finish(&name);
    return known != NULL ? known : table;
}

/* Entries that follow one another in the configuration are one table. */
static const struct table *load_entries(struct conf_load *load, const struct conf_format *format,
                                        const struct conf_paths *paths, size_t *i)
{
    struct conf_reader reader = {.load = load, .format = format};
    const void *field = &paths->items[*i];

    reader.builder = table_builder_create("", 0);
    for (; *i < paths->count && is_entry(paths->items[*i]); ++*i) {
        reader.place = conf_place_of(load, &paths->items[*i]);
        format->add(&reader, slice_str(paths->items[*i]));
    }
    const struct table *table = table_build(reader.builder);
    keep_table(load, table, format, field);
    return table;
}

void conf_tables_load(struct conf_load *load, const struct conf_format *format,
                      const struct conf_paths *paths, struct conf_tables *out)
{
    const struct table **items;
    size_t count = 0;

    *out = (struct conf_tables){0};
    if (paths->count == 0)
        return;
    items = arena_alloc(&load->box->arena, paths->count * sizeof(const struct table *));
    ASSERT(items != NULL);
    for (size_t i = 0; i < paths->count;) {
        const struct table *table;

        if (is_entry(paths->items[i])) {
            table = load_entries(load, format, paths, &i);
        } else {
            table = load_file(load, format, &paths->items[i]);
            i++;
        }
        if (table != NULL)
            items[count++] = table;
    }
    *out = (struct conf_tables){items, count};
}

void conf_tables_list_files(struct conf_load *load)
{
    struct conf_box *box = load->box;
    struct conf_table_file *files;
    size_t count = 0;

    for (size_t i = 0; i < box->table_count; i++)
        for (size_t j = 0; table_file(box->tables[i].table, j) != NULL; j++)
            count++;
    if (count == 0)
        return;
    files = arena_alloc(&box->arena, count * sizeof(*files));
    ASSERT(files != NULL);
    box->conf.table_files = files;
    box->conf.table_file_count = count;
    for (size_t i = 0; i < box->table_count; i++)
        for (size_t j = 0; table_file(box->tables[i].table, j) != NULL; j++)
            *files++ = (struct conf_table_file){.path = table_file(box->tables[i].table, j),
                                                .setting = box->tables[i].setting,
                                                .field = box->tables[i].field};
}

void conf_tables_finish(struct conf_box *box)
{
    for (size_t i = 0; i < box->table_count; i++)
        table_unref(box->tables[i].table);
    mem_free(box->tables);
}

/* Lookups */

bool conf_tables_find_recipient(const struct conf_tables *tables, struct slice local_part,
                                struct slice domain, const struct table **out_table,
                                struct slice *out_value)
{
    uint8_t key[CONF_LOCAL_PART_MAX + 1 + 255];
    size_t len = local_part.len;

    if (len == 0 || len > CONF_LOCAL_PART_MAX || domain.len > 255)
        return false;
    memcpy(key, local_part.data, len);
    key[len++] = '@';
    if (domain.len > 0)
        memcpy(key + len, domain.data, domain.len);
    len += domain.len;
    for (size_t i = 0; i < tables->count; i++) {
        if (table_find(tables->items[i], slice_of(key, len), out_value)
            || table_find(tables->items[i], local_part, out_value)) {
            *out_table = tables->items[i];
            return true;
        }
    }
    return false;
}
