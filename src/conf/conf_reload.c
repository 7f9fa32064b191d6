/* conf_reload: a configuration that takes the place of another one in a running server. */
#include "base_assert.h"
#include "conf_build_priv.h"
#include "conf_value_priv.h"

struct carry {
    struct conf_box *box;
    const struct conf *conf;
    struct conf_errors *errors;
};

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_addresses(const struct conf_addresses *a, const struct conf_addresses *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (a->items[i].port != b->items[i].port
            || memcmp(&a->items[i].ip, &b->items[i].ip, sizeof(a->items[i].ip)) != 0)
            return false;
    }
    return true;
}

static struct conf_addresses copy_addresses(struct arena *arena, const struct conf_addresses *list)
{
    struct conf_address *items;

    if (list->count == 0)
        return (struct conf_addresses){0};
    items = arena_alloc(arena, list->count * sizeof(*items));
    ASSERT(items != NULL);
    memcpy(items, list->items, list->count * sizeof(*items));
    return (struct conf_addresses){items, list->count};
}

/* Puts the old value in the place of the new one; false if they were the same. */
static bool carry_value(struct carry *c, const struct conf_row *row, void *now, const void *before)
{
    struct arena *arena = &c->box->arena;
    const char *text;

    switch (row->type) {
    case CONF_TYPE_COUNT:
    case CONF_TYPE_PERCENT:
    case CONF_TYPE_SIZE:
    case CONF_TYPE_DURATION:
        ASSERT(!row->list);
        if (memcmp(now, before, sizeof(uint64_t)) == 0)
            return false;
        memcpy(now, before, sizeof(uint64_t));
        return true;
    case CONF_TYPE_WORD:
        ASSERT(!row->list);
        if (memcmp(now, before, conf_types[row->type].size) == 0)
            return false;
        memcpy(now, before, conf_types[row->type].size);
        return true;
    case CONF_TYPE_USER:
    case CONF_TYPE_PATH:
        ASSERT(!row->list);
        text = *(const char *const *)before;
        if (same_text(*(const char *const *)now, text))
            return false;
        *(const char **)now =
            text == NULL ? NULL : (const char *)conf_keep(arena, slice_str(text)).data;
        return true;
    case CONF_TYPE_ADDRESS:
        ASSERT(row->list);
        if (same_addresses(now, before))
            return false;
        *(struct conf_addresses *)now = copy_addresses(arena, before);
        return true;
    case CONF_TYPE_NAME:
    case CONF_TYPE_SEPARATORS:
    case CONF_TYPE_NET:
    case CONF_TYPE_DESTINATION:
    case CONF_TYPE_LABEL:
    case CONF_TYPE_PATTERN:
    case CONF_TYPE_BOOL:
    case CONF_TYPE_TEXT:
    case CONF_TYPE_URL:
    case CONF_TYPE_MAILBOX:
    case CONF_TYPE_MECHANISM:
    case CONF_TYPE_FINGERPRINT:
    case CONF_TYPE_TABLE:
    case CONF_TYPE_SENDER:
    case CONF_TYPE_CHOICE:
    case CONF_TYPE_COUNT_OF_TYPES: break;
    }
    UNREACHABLE(); /* no such setting is for the start alone */
}

static void carry_rows(struct carry *c, const struct conf_section *section, char *now,
                       const char *before)
{
    for (size_t i = 0; i < section->row_count; i++) {
        const struct conf_row *row = &section->rows[i];

        if (row->restart && carry_value(c, row, now + row->at, before + row->at))
            conf_errors_add(c->errors, c->conf, now + row->at, true,
                            "%s is read at the start only: it stays as it was", row->name);
    }
}

static const struct conf_listener *listener_named(const struct conf *conf, struct slice name)
{
    for (size_t i = 0; i < conf->listener_count; i++) {
        if (slice_equal(conf->listeners[i].name, name))
            return &conf->listeners[i];
    }
    return NULL;
}

static void carry_listeners(struct carry *c, const struct conf_section *section,
                            const struct conf *before)
{
    for (size_t i = 0; i < c->conf->listener_count; i++) {
        struct conf_listener *now = (struct conf_listener *)&c->conf->listeners[i];
        const struct conf_listener *old = listener_named(before, now->name);

        if (old != NULL)
            carry_rows(c, section, (char *)now, (const char *)old);
        else
            conf_errors_add(c->errors, c->conf, now, true,
                            "listener \"%.*s\" is new: it begins with the next start",
                            SLICE_ARG(now->name));
    }
    for (size_t i = 0; i < before->listener_count; i++) {
        if (listener_named(c->conf, before->listeners[i].name) == NULL)
            conf_errors_add(c->errors, c->conf, NULL, true,
                            "listener \"%.*s\" is gone: it serves as it did until the next start",
                            SLICE_ARG(before->listeners[i].name));
    }
}

void conf_carry(struct conf *conf, const struct conf *before, struct conf_errors *errors)
{
    struct carry c = {container_of(conf, struct conf_box, conf), conf, errors};

    conf->generation =
        before->generation
        + (c.box->digest != container_of((struct conf *)before, struct conf_box, conf)->digest);
    carry_rows(&c, &conf_root, (char *)conf, (const char *)before);
    for (size_t i = 0; i < conf_root.section_count; i++) {
        const struct conf_section *section = conf_root.sections[i];

        if (section->title == NULL)
            carry_rows(&c, section, (char *)conf + section->at, (const char *)before + section->at);
        else if (section->at == offsetof(struct conf, listeners))
            carry_listeners(&c, section, before);
    }
}
