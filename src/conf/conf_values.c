#include "conf_values_priv.h"

#include "base_assert.h"
#include "base_codec.h"
#include "base_mem.h"
#include "conf_tables_priv.h"
#include "conf_value_priv.h"

static void number_text(size_t number, uint8_t out[4])
{
    put_le32(out, (uint32_t)number);
}

/* False and `why` if the text is no destination. */
static bool intern(struct conf_load *load, struct slice text, struct buf *why)
{
    static const struct conf_row row = {.name = "destinations", .type = CONF_TYPE_DESTINATION};
    struct conf_values *values = load->box->values;
    struct arena *arena = &load->box->arena;
    struct conf_destination to, *item;
    struct conf_destinations *list;
    uint8_t number[4];

    number_text(values->count, number);
    enum table_add added = text.len > TABLE_KEY_MAX ? TABLE_TOO_LONG
                                                    : table_builder_add(values->builder, text,
                                                                        slice_of(number, 4), NULL);
    if (added == TABLE_EXISTS)
        return true;
    if (added != TABLE_ADDED) {
        (void)buf_append_str(why, "is too long");
        return false;
    }
    bool ok = conf_parse_destination(&row, text, arena, &to, why);
    list = arena_alloc(arena, sizeof(*list));
    item = arena_alloc(arena, sizeof(*item));
    ASSERT(list != NULL && item != NULL);
    if (ok)
        *item = to;
    *list = (struct conf_destinations){item, ok ? 1 : 0};
    if (values->count == values->capacity) {
        values->capacity = values->capacity == 0 ? 16 : values->capacity * 2;
        values->items = mem_realloc(values->items, values->capacity * sizeof(*values->items));
    }
    values->items[values->count++] =
        list; /* a bad one too: the load fails, and it has its number */
    return ok;
}

static void check_destination(struct conf_reader *reader, struct slice key, struct slice value)
{
    struct slice local;
    struct buf why;

    buf_init(&why, 0);
    if (!conf_is_recipient(key, &local))
        conf_reader_fail(reader, key, "is neither an address nor a local part");
    else if (value.len == 0)
        conf_reader_fail(reader, key, "has no destination behind it");
    else if (!intern(reader->load, value, &why))
        conf_reader_fail(reader, value, "%.*s", SLICE_ARG(buf_slice(&why)));
    buf_finish(&why);
}

static void add_destination(struct conf_reader *reader, struct slice entry)
{
    unsigned bad = reader->bad;
    struct slice key, value;

    table_split(entry, &key, &value);
    check_destination(reader, key, value);
    if (reader->bad == bad && !conf_reader_add(reader, key, value) && reader->bad == bad)
        conf_warn(reader->load, reader->place, "\"%.*s\" stands twice: the first one counts",
                  SLICE_ARG(slice_head(key, 80)));
}

static const struct conf_format destinations_format = {
    .setting = "destinations",
    .add = add_destination,
    .check = check_destination,
};

/* Tables that were taken over have been looked at by the load that read them. */
static void intern_table(struct conf_load *load, const struct table *table)
{
    struct slice key, value;
    size_t cursor = 0;
    struct buf why;

    buf_init(&why, 0);
    while (table_next(table, &cursor, &key, &value))
        (void)intern(load, value, &why); /* a bad one has been reported */
    buf_finish(&why);
}

void conf_values_load(struct conf_load *load)
{
    struct conf *conf = &load->box->conf;
    struct conf_values *values = mem_zalloc(sizeof(*values));

    load->box->values = values;
    values->builder = table_builder_create_exact("destinations", 0);
    for (size_t i = 0; i < conf->domain_count; i++) {
        struct conf_domain *domain = (struct conf_domain *)&conf->domains[i];

        conf_tables_load(load, &destinations_format, &domain->destinations,
                         &domain->destination_tables);
        domain->destination_values = values;
    }
    for (size_t i = 0; i < load->box->table_count; i++)
        if (load->error_count == 0
            && strcmp(load->box->tables[i].setting, destinations_format.setting) == 0)
            intern_table(load, load->box->tables[i].table);
    values->index = table_build(values->builder);
    values->builder = NULL;
}

void conf_values_destroy(struct conf_values *values)
{
    if (values == NULL)
        return;
    table_unref(values->index);
    mem_free(values->items);
    mem_free(values);
}

static const struct conf_destinations *find(const struct conf_domain *domain,
                                            struct slice local_part)
{
    const struct conf_values *values = domain->destination_values;
    const struct table *table;
    struct slice text, number;

    if (!conf_tables_find_recipient(&domain->destination_tables, local_part, domain->name, &table,
                                    &text))
        return NULL;
    bool known = table_find(values->index, text, &number);
    ASSERT(known && number.len == 4); /* conf_values_load() has seen all of them */
    return values->items[get_le32(number.data)];
}

const struct conf_destinations *conf_domain_destination(const struct conf_domain *domain,
                                                        struct slice local_part)
{
    const struct conf_destinations *to;

    if (domain->destination_tables.count == 0)
        return NULL;
    to = find(domain, local_part);
    struct slice user = conf_domain_user(domain, local_part);
    return to == NULL && user.len < local_part.len ? find(domain, user) : to;
}
