/*
 * conf_alias_check: aliases that lead to nobody of ours, and aliases that lead back to themselves by way of others.
 * Both are cut or refused when mail comes; here the operator is told before. Each address is followed once.
 */
#include "base_hash.h"
#include "base_mem.h"
#include "conf_tables_priv.h"
#include "conf_target_priv.h"

enum {
    DEPTH_MAX = 20,
    WARNINGS_MAX = 20,
};

/* An entry is known by where its value lies. */
struct step {
    const uint8_t *entry;
    struct slice address;
};

struct alias_check {
    struct conf_load *load;
    const struct conf *conf;
    struct step path[DEPTH_MAX]; /* from the entry that is looked at */
    size_t depth;
    const uint8_t **done; /* entries that were followed, in a hash table */
    size_t done_count, done_mask;
    size_t warnings;
};

static void done_init(struct alias_check *c)
{
    c->done_mask = 63;
    c->done_count = 0;
    c->done = mem_calloc(c->done_mask + 1, sizeof(*c->done));
}

static size_t done_slot(const struct alias_check *c, const uint8_t *entry)
{
    size_t i = (size_t)hash_u64((uintptr_t)entry) & c->done_mask;

    while (c->done[i] != NULL && c->done[i] != entry)
        i = (i + 1) & c->done_mask;
    return i;
}

static void put_done(struct alias_check *c, const uint8_t *entry)
{
    if (c->done_count * 2 > c->done_mask) {
        const uint8_t **old = c->done;
        size_t old_count = c->done_mask + 1;

        c->done_mask = old_count * 2 - 1;
        c->done = mem_calloc(old_count * 2, sizeof(*c->done));
        for (size_t i = 0; i < old_count; i++)
            if (old[i] != NULL)
                c->done[done_slot(c, old[i])] = old[i];
        mem_free(old);
    }
    c->done[done_slot(c, entry)] = entry;
    c->done_count++;
}

static bool may_warn(struct alias_check *c, struct conf_place place)
{
    if (c->warnings == WARNINGS_MAX)
        conf_warn(c->load, place, "there are more aliases like these");
    return c->warnings++ < WARNINGS_MAX;
}

static struct slice domain_of(struct slice address)
{
    size_t at = 0;

    for (size_t i = 0; i < address.len; i++)
        if (address.data[i] == '@')
            at = i;
    return slice_of(address.data + at + 1, address.len - at - 1);
}

/* Without its subaddress, if it has one. */
static bool find_virtual_user(const struct alias_check *c, struct slice user,
                              struct slice at_domain, struct conf_targets *out)
{
    uint8_t address[CONF_TARGET_MEMORY_MAX];

    if (user.len + at_domain.len > sizeof(address))
        return false;
    memcpy(address, user.data, user.len);
    memcpy(address + user.len, at_domain.data, at_domain.len);
    return conf_virtual_find(c->conf, slice_of(address, user.len + at_domain.len), out);
}

/* The entry that the address stands for, as mail would find it. */
static bool find_entry(const struct alias_check *c, struct slice address,
                       const struct conf_domain *ours, struct conf_targets *out)
{
    struct slice domain = domain_of(address);
    struct slice local = slice_head(address, address.len - domain.len - 1);
    struct slice at_domain = slice_of(domain.data - 1, domain.len + 1);
    struct slice user = ours != NULL ? conf_domain_user(ours, local) : local;

    if (conf_virtual_find(c->conf, address, out)
        || (user.len < local.len && find_virtual_user(c, user, at_domain, out))
        || conf_virtual_find(c->conf, at_domain, out))
        return true;
    return ours != NULL
           && (conf_alias_find(ours, local, out)
               || (user.len < local.len && conf_alias_find(ours, user, out)));
}

static bool has_recipient(const struct conf_domain *ours, struct slice address)
{
    struct slice domain = domain_of(address);

    return conf_domain_has_recipient(ours, slice_head(address, address.len - domain.len - 1));
}

static void follow(struct alias_check *c, struct conf_targets *targets, struct slice address,
                   struct conf_place place);

static void warn_loop(struct alias_check *c, size_t from, struct conf_place place)
{
    struct buf way;

    buf_init(&way, 0);
    for (size_t i = from; i < c->depth; i++)
        (void)buf_printf(&way, "%.*s -> ", SLICE_ARG(c->path[i].address));
    if (may_warn(c, place))
        conf_warn(c->load, place, "a circle of aliases: %.*s%.*s", SLICE_ARG(buf_slice(&way)),
                  SLICE_ARG(c->path[from].address));
    buf_finish(&way);
}

/* One target of the last entry of the path. */
static void look_at(struct alias_check *c, struct slice address, bool final,
                    struct conf_place place)
{
    const struct conf_domain *ours = conf_domain_find(c->conf, domain_of(address));
    struct conf_targets targets;

    if (!final && find_entry(c, address, ours, &targets)) {
        for (size_t i = 0; i + 1 < c->depth; i++) {
            if (c->path[i].entry == targets.rest.data) {
                warn_loop(c, i, place);
                return;
            }
        }
        /* "ann: ann, ann@phone.example": the recipient of that name. */
        if (c->path[c->depth - 1].entry != targets.rest.data) {
            follow(c, &targets, address, place);
            return;
        }
    }
    if (ours != NULL && !has_recipient(ours, address) && ours->catch_all.len == 0
        && may_warn(c, place))
        conf_warn(c->load, place,
                  "\"%.*s\" stands for %.*s, who is neither a recipient nor an alias",
                  SLICE_ARG(slice_head(c->path[c->depth - 1].address, 80)), SLICE_ARG(address));
}

/* `address` stands for these. */
static void follow(struct alias_check *c, struct conf_targets *targets, struct slice address,
                   struct conf_place place)
{
    const uint8_t *entry = targets->rest.data;
    struct slice domain = domain_of(address),
                 local = slice_head(address, address.len - domain.len - 1);
    uint8_t memory[CONF_TARGET_MEMORY_MAX];
    struct conf_target target;
    struct slice whole;

    if (c->depth == DEPTH_MAX) {
        if (may_warn(c, place))
            conf_warn(c->load, place,
                      "more than %d aliases, one of the other: mail for \"%.*s\" is refused",
                      DEPTH_MAX, SLICE_ARG(slice_head(c->path[0].address, 80)));
        return;
    }
    if (c->done[done_slot(c, entry)] != NULL)
        return;
    c->path[c->depth++] = (struct step){entry, address};
    while (conf_targets_next(targets, &target))
        if (conf_target_address(&target, local, domain, memory, &whole))
            look_at(c, whole, target.final, place);
    c->depth--;
    put_done(c, entry);
}

static void check_table(struct alias_check *c, const struct table *table, struct slice domain,
                        const struct conf_paths *paths)
{
    uint8_t memory[TABLE_KEY_MAX + 1 + 255];
    struct slice key, value;
    struct conf_place place = conf_place_of(c->load, paths->items);
    size_t cursor = 0;

    if (table_file(table, 0) != NULL)
        place.text = conf_text_of_file(c->load, table_file(table, 0));
    while (c->warnings <= WARNINGS_MAX && table_next(table, &cursor, &key, &value)) {
        struct conf_targets targets;
        size_t len = key.len;

        if (key.len == 0 || key.len > TABLE_KEY_MAX)
            continue; /* of a CDB, and never found */
        memcpy(memory, key.data, len);
        if (slice_find(key, '@') < 0) {
            memory[len++] = '@';
            memcpy(memory + len, domain.data, domain.len);
            len += domain.len;
        } else if (domain.len > 0 && !slice_equal(domain_of(key), domain)) {
            continue; /* another domain's, whose aliases stand in the same file */
        }
        conf_targets_open(&targets, table, value);
        place.line = targets.line;
        follow(c, &targets, slice_of(memory, len), place);
    }
}

void conf_alias_check(struct conf_load *load)
{
    const struct conf *conf = &load->box->conf;
    struct alias_check c = {.load = load, .conf = conf};

    done_init(&c);
    for (size_t i = 0; i < conf->virtual_tables.count; i++)
        check_table(&c, conf->virtual_tables.items[i], SLICE_NULL, &conf->virtual_aliases);
    mem_free(c.done);
    for (size_t i = 0; i < conf->domain_count; i++) {
        const struct conf_domain *domain = &conf->domains[i];

        if (domain->alias_tables.count == 0)
            continue;
        done_init(&c); /* the same entry means others in another domain */
        for (size_t j = 0; j < domain->alias_tables.count; j++)
            check_table(&c, domain->alias_tables.items[j], domain->name, &domain->aliases);
        mem_free(c.done);
    }
}

static const struct conf_domain *domain_named(const struct conf *conf,
                                              const struct conf_domain *likely, struct slice name)
{
    if (slice_equal_nocase(likely->name, name))
        return likely;
    for (size_t i = 0; i < conf->domain_count; i++) /* they are not sorted yet */
        if (slice_equal_nocase(conf->domains[i].name, name))
            return &conf->domains[i];
    return NULL;
}

void conf_catch_all_check(struct conf_load *load)
{
    const struct conf *conf = &load->box->conf;
    const struct alias_check c = {.load = load, .conf = conf};

    for (size_t i = 0; i < conf->domain_count; i++) {
        struct slice address = conf->domains[i].catch_all;
        const struct conf_domain *ours;
        struct conf_targets targets;

        if (address.len == 0)
            continue;
        ours = domain_named(conf, &conf->domains[i], domain_of(address));
        if (ours != NULL && !has_recipient(ours, address)
            && !find_entry(&c, address, ours, &targets))
            conf_warn(load, conf_place_of(load, &conf->domains[i].catch_all),
                      "catch_all: %.*s is neither a recipient nor an alias", SLICE_ARG(address));
    }
}
