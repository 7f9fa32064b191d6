/* conf_aliases: files of aliases, as sendmail's aliases(5) and Postfix's virtual(5) describe them. */
#include "conf_tables_priv.h"
#include "conf_target_priv.h"
#include "conf_value_priv.h"

enum {
    INCLUDE_DEPTH_MAX = 8,
    TARGETS_MAX = 10000, /* of one alias */
};

/* One entry in the making. */
struct entry {
    struct conf_reader *reader;
    struct slice key;
    struct buf packed;
    size_t count;
    unsigned depth; /* of included files */
    bool virtual;
};

static void take_list(struct entry *e, struct slice list);

static void pack(struct entry *e, const struct conf_target *target)
{
    if (e->count++ < TARGETS_MAX)
        conf_targets_pack(&e->packed, target);
    else if (e->count == TARGETS_MAX + 1)
        conf_reader_fail(e->reader, e->key, "stands for more than %d addresses", TARGETS_MAX);
}

/* Whoever may write into the file says where the mail goes. */
static void check_file(struct entry *e, const char *path, const struct table_text *text)
{
    struct conf_load *load = e->reader->load;

    if ((text->mode & 02) != 0)
        conf_fail(load, e->reader->place,
                  ":include:%s: everybody may write to it (mode %03o): chmod o-w it", path,
                  text->mode & 0777);
    else if (text->owner != 0 && text->owner != e->reader->owner)
        conf_warn(load, e->reader->place,
                  ":include:%s: it belongs to user %u, who decides whom \"%.*s\" stands for", path,
                  text->owner, SLICE_ARG(slice_head(e->key, 80)));
}

static void include(struct entry *e, struct slice name)
{
    struct conf_reader *reader = e->reader;
    struct conf_place place = reader->place;
    struct table_text text;
    struct table_lines lines;
    struct slice list;
    char why[128], path[4096];

    if (e->depth == INCLUDE_DEPTH_MAX || name.len >= sizeof(path)) {
        conf_reader_fail(reader, name, "is included too deeply: does it include itself?");
        return;
    }
    memcpy(path, name.data, name.len);
    path[name.len] = '\0';
    if (!table_text_read(path, &text, why, sizeof(why))) {
        conf_fail(reader->load, place, ":include:%s: cannot read it: %s", path, why);
        reader->bad++;
        return;
    }
    check_file(e, path, &text);
    if (!table_builder_file(reader->builder, path, &text.stamp))
        conf_reader_fail(reader, name, "is one file too many: at most %d", TABLE_FILES_MAX);
    e->depth++;
    reader->place.text = conf_text_of_file(reader->load, path);
    table_lines_init(&lines, &text, false);
    while (table_lines_next(&lines, &list) && e->count <= TARGETS_MAX) {
        reader->place.line = lines.line;
        if (lines.wrong != NULL)
            conf_reader_fail(reader, list, "%s", lines.wrong);
        else
            take_list(e, list);
    }
    e->depth--;
    reader->place = place;
    table_text_finish(&text);
}

static bool has_domain(struct slice address)
{
    return slice_find(address, '@') >= 0;
}

/* NULL, or why the target is none here. */
static const char *check_target(const struct entry *e, enum conf_target_kind kind,
                                const struct conf_target *target)
{
    if (e->virtual && kind == CONF_TARGET_INCLUDE)
        return "is not for virtual_aliases: files are included by aliases";
    if (e->virtual && kind == CONF_TARGET_ADDRESS && !has_domain(target->address))
        return "has no domain behind it, which it needs here";
    if (!e->virtual && kind == CONF_TARGET_DOMAIN)
        return "is a domain: that is for virtual_aliases";
    return NULL;
}

static void take_list(struct entry *e, struct slice list)
{
    uint8_t memory[CONF_ADDRESS_MAX];
    struct conf_target target;
    const char *why;

    for (;;) {
        enum conf_target_kind kind = conf_target_parse(&list, memory, &target, &why);

        if (kind != CONF_TARGET_WRONG)
            why = check_target(e, kind, &target);
        if (why != NULL) {
            conf_reader_fail(e->reader, target.address, "%s", why);
            continue;
        }
        switch (kind) {
        case CONF_TARGET_END: return;
        case CONF_TARGET_INCLUDE: include(e, target.address); break;
        case CONF_TARGET_ADDRESS:
        case CONF_TARGET_DOMAIN:
        case CONF_TARGET_WRONG: pack(e, &target); break;
        }
    }
}

/* Keys */

static bool is_address(struct slice text)
{
    struct slice local;

    return conf_is_recipient(text, &local) && local.len < text.len && conf_is_local_part(local);
}

static const char *check_alias_key(struct slice key)
{
    return is_address(key) || conf_is_local_part(key) ? NULL
                                                      : "is neither a local part nor an address";
}

static const char *check_virtual_key(struct slice key)
{
    if (key.len > 1 && key.data[0] == '@')
        return conf_is_name(slice_of(key.data + 1, key.len - 1)) ? NULL : "names no domain";
    return is_address(key) ? NULL : "is neither an address nor @domain";
}

/* Takes "name:" off; the name without quotes that it does not need. */
static bool take_name(struct slice *entry, struct slice *out_name)
{
    struct slice name = *entry, inner;
    size_t colon = 0;
    bool quoted = false;

    while (colon < entry->len && (quoted || entry->data[colon] != ':')) {
        if (entry->data[colon] == '\\')
            colon++;
        else if (entry->data[colon] == '"')
            quoted = !quoted;
        colon++;
    }
    if (colon >= entry->len)
        return false;
    name = slice_trim(slice_head(name, colon));
    inner = name.len > 2 && name.data[0] == '"' && name.data[name.len - 1] == '"'
                ? slice_of(name.data + 1, name.len - 2)
                : name;
    slice_advance(entry, colon + 1);
    *out_name = inner.data[0] != '"' && check_alias_key(inner) == NULL ? inner : name;
    return true;
}

/* Entries */

static void keep_entry(struct entry *e)
{
    struct slice before;

    switch (table_builder_add(e->reader->builder, e->key, buf_slice(&e->packed), &before)) {
    case TABLE_ADDED: break;
    case TABLE_EXISTS:
        conf_warn(e->reader->load, e->reader->place,
                  "\"%.*s\" stands twice, first at line %u: the first one counts",
                  SLICE_ARG(slice_head(e->key, 80)), conf_targets_line(&before));
        break;
    case TABLE_TOO_LONG:
    case TABLE_FULL: conf_reader_fail(e->reader, e->key, "does not fit"); break;
    }
}

static void add(struct conf_reader *reader, struct slice key, struct slice list, bool virtual)
{
    struct entry e = {.reader = reader, .key = key, .virtual = virtual};
    const char *wrong = virtual ? check_virtual_key(key) : check_alias_key(key);
    unsigned bad = reader->bad;

    if (wrong != NULL) {
        conf_reader_fail(reader, key, "%s", wrong);
        return;
    }
    buf_init(&e.packed, 0);
    conf_targets_begin(&e.packed, reader->place.line);
    take_list(&e, list);
    if (reader->bad == bad && list.len == 0)
        conf_reader_fail(reader, key, "stands for nobody: no address is behind it");
    if (reader->bad == bad)
        keep_entry(&e);
    buf_finish(&e.packed);
}

static void add_alias(struct conf_reader *reader, struct slice entry)
{
    struct slice name;

    if (take_name(&entry, &name))
        add(reader, name, slice_trim(entry), false);
    else
        conf_reader_fail(reader, entry, "has no colon, as in name: address, address");
}

static void add_virtual(struct conf_reader *reader, struct slice entry)
{
    struct slice key, list;

    table_split(entry, &key, &list);
    add(reader, key, list, true);
}

/* Records of a CDB */

static void check(struct conf_reader *reader, struct slice key, struct slice list, bool virtual)
{
    const struct entry e = {.reader = reader, .key = key, .virtual = virtual};
    const char *why = virtual ? check_virtual_key(key) : check_alias_key(key);
    enum conf_target_kind kind = CONF_TARGET_WRONG;
    uint8_t memory[CONF_ADDRESS_MAX];
    struct conf_target target = {.address = key};

    while (why == NULL && kind != CONF_TARGET_END) {
        kind = conf_target_parse(&list, memory, &target, &why);
        if (kind != CONF_TARGET_WRONG)
            why = kind == CONF_TARGET_INCLUDE ? "is not for a CDB: files are included by text files"
                                              : check_target(&e, kind, &target);
    }
    if (why != NULL)
        conf_reader_fail(reader, target.address, "%s (at key \"%.*s\")", why,
                         SLICE_ARG(slice_head(key, 80)));
}

static void check_alias(struct conf_reader *reader, struct slice key, struct slice value)
{
    check(reader, key, value, false);
}

static void check_virtual(struct conf_reader *reader, struct slice key, struct slice value)
{
    check(reader, key, value, true);
}

static const struct conf_format aliases_format = {
    .setting = "aliases",
    .continued = true,
    .guarded = true,
    .add = add_alias,
    .check = check_alias,
};
static const struct conf_format virtual_format = {
    .setting = "virtual_aliases",
    .continued = true,
    .guarded = true,
    .add = add_virtual,
    .check = check_virtual,
};

void conf_aliases_load(struct conf_load *load)
{
    struct conf *conf = &load->box->conf;

    conf_tables_load(load, &virtual_format, &conf->virtual_aliases, &conf->virtual_tables);
    for (size_t i = 0; i < conf->domain_count; i++) {
        struct conf_domain *domain = (struct conf_domain *)&conf->domains[i];

        conf_tables_load(load, &aliases_format, &domain->aliases, &domain->alias_tables);
    }
}
