#include "conf_build_priv.h"

#include "base_assert.h"
#include "conf_secret_priv.h"
#include "conf_value_priv.h"

/* All list fields look like this one. */
struct any_list {
    void *items;
    size_t count;
};
#define IS_LIST(type)                                                                       \
    _Static_assert(sizeof(struct type) == sizeof(struct any_list)                           \
                       && offsetof(struct type, count) == offsetof(struct any_list, count), \
                   #type)
IS_LIST(conf_addresses);
IS_LIST(conf_nets);
IS_LIST(conf_destinations);
IS_LIST(conf_durations);
IS_LIST(conf_paths);
IS_LIST(conf_words);
IS_LIST(conf_fingerprints);
IS_LIST(conf_extensions);

static void *allocate(struct conf_load *load, size_t count, size_t size)
{
    void *memory = count == 0 ? NULL : arena_alloc(&load->box->arena, count * size);

    ASSERT(count == 0 || memory != NULL);
    return memory;
}

/* Stores the value; a bad one is reported as `name`'s. */
static bool store(struct conf_load *load, const struct conf_row *row,
                  const struct conf_value *value, void *out)
{
    struct slice text = slice_of(value->text, value->len);
    struct buf why;
    bool ok;

    buf_init(&why, 0);
    ok = conf_types[row->type].parse(row, text, &load->box->arena, out, &why);
    if (ok)
        conf_mark(load, out, value->place);
    else
        conf_fail(load, value->place, "%s: \"%.*s\" %.*s", row->name,
                  SLICE_ARG(slice_head(text, 80)), SLICE_ARG(buf_slice(&why)));
    buf_finish(&why);
    return ok;
}

static void store_default(struct conf_load *load, const struct conf_row *row, struct slice text,
                          void *out)
{
    struct buf why;

    buf_init(&why, 0);
    bool ok = conf_types[row->type].parse(row, text, &load->box->arena, out, &why);
    ASSERT(ok); /* the tables' own values are good */
    buf_finish(&why);
}

static void fill_default(struct conf_load *load, const struct conf_row *row, void *field)
{
    struct slice rest = slice_str(row->fallback);
    size_t size = conf_types[row->type].size;

    if (!row->list) {
        store_default(load, row, rest, field);
        return;
    }
    struct any_list *list = field;
    list->items = allocate(load, rest.len, size); /* more than enough */
    list->count = 0;
    while (rest.len > 0) {
        ptrdiff_t space = slice_find(rest, ' ');
        struct slice item = space < 0 ? rest : slice_head(rest, (size_t)space);

        store_default(load, row, item, (char *)list->items + size * list->count++);
        slice_advance(&rest, space < 0 ? rest.len : item.len + 1);
    }
}

static void fill_row(struct conf_load *load, cfg_opt_t *opt, const struct conf_row *row,
                     void *field)
{
    size_t count = cfg_opt_size(opt);
    size_t size = conf_types[row->type].size;

    if (!row->list) {
        (void)store(load, row, cfg_opt_getnptr(opt, 0), field); /* a bad one has been reported */
        return;
    }
    struct any_list *list = field;
    list->items = allocate(load, count, size);
    list->count = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct conf_value *value = cfg_opt_getnptr(opt, i);

        if (i == 0)
            conf_mark(load, field, value->place);
        if (store(load, row, value, (char *)list->items + size * list->count))
            list->count++;
    }
}

static void missing(struct conf_load *load, const struct conf_row *row, const cfg_t *cfg,
                    struct conf_place place)
{
    if (load->incomplete)
        return;
    if (cfg->title != NULL)
        conf_fail(load, place, "%s \"%.*s\": %s is missing", cfg->name,
                  SLICE_ARG(slice_head(conf_title(cfg), 80)), row->name);
    else
        conf_fail(load, place, "%s is missing", row->name);
}

static void fill_sections(struct conf_load *load, cfg_t *cfg, const struct conf_section *section,
                          char *base);

/* `cfg` NULL: all defaults. */
static void fill(struct conf_load *load, cfg_t *cfg, const struct conf_section *section, char *base,
                 struct conf_place place)
{
    for (size_t i = 0; i < section->row_count; i++) {
        const struct conf_row *row = &section->rows[i];
        cfg_opt_t *opt = cfg == NULL ? NULL : cfg_getopt(cfg, row->name);

        if (cfg_opt_size(opt) > 0)
            fill_row(load, opt, row, base + row->at);
        else if (row->fallback != NULL)
            fill_default(load, row, base + row->at);
        else if (row->required && cfg != NULL)
            missing(load, row, cfg, place);
    }
    fill_sections(load, cfg, section, base);
}

static void fill_titled(struct conf_load *load, cfg_opt_t *opt, const struct conf_section *section,
                        char *base)
{
    const struct conf_row title_row = {.name = section->name, .type = section->title_type};
    size_t count = cfg_opt_size(opt);
    char *items = allocate(load, count, section->size);

    *(void **)(void *)(base + section->at) = items;
    *(size_t *)(void *)(base + section->count_at) = count;
    for (unsigned i = 0; i < count; i++) {
        cfg_t *cfg = cfg_opt_getnsec(opt, i);
        const struct conf_value *mark =
            cfg_opt_getnptr(cfg_getnopt(cfg, 0), 0); /* CONF_SECTION_MARK is the first option */
        char *item = items + section->size * i;

        (void)store(load, &title_row, mark, item); /* a bad one has been reported */
        fill(load, cfg, section, item, mark->place);
    }
}

static void fill_sections(struct conf_load *load, cfg_t *cfg, const struct conf_section *section,
                          char *base)
{
    for (size_t i = 0; i < section->section_count; i++) {
        const struct conf_section *inner = section->sections[i];
        cfg_opt_t *opt = cfg == NULL ? NULL : cfg_getopt(cfg, inner->name);

        if (inner->title != NULL) {
            fill_titled(load, opt, inner, base);
        } else {
            cfg_t *inner_cfg = opt == NULL ? NULL : cfg_opt_getnsec(opt, 0);

            fill(load, inner_cfg, inner, base + inner->at, (struct conf_place){load->texts, 1});
        }
    }
}

static const struct conf_section *section_named(const char *name)
{
    for (size_t i = 0; i < conf_root.section_count; i++)
        if (strcmp(conf_root.sections[i]->name, name) == 0)
            return conf_root.sections[i];
    UNREACHABLE();
}

static void add_default_listener(struct conf_load *load)
{
    struct conf_listener *listener = allocate(load, 1, sizeof(*listener));
    struct conf_address *addresses = allocate(load, 2, sizeof(*addresses));

    fill(load, NULL, section_named("listener"), (char *)listener, (struct conf_place){0});
    addresses[0].port = addresses[1].port = 25; /* the second is [::] already */
    bool ok = ip_parse(SLICE_LITERAL("0.0.0.0"), &addresses[0].ip);
    ASSERT(ok);
    listener->name = SLICE_LITERAL("mx");
    listener->address = (struct conf_addresses){addresses, 2};
    load->box->conf.listeners = listener;
    load->box->conf.listener_count = 1;
}

/* Whoever may run a program here is trusted as far as the limits go. But one user, or a program of his that has
 * gone mad, has a tenth of all connections, and all users together have half of them: the others' mail goes on. A
 * sendmail that is turned away leaves its message in the drop directory. */
static void share_connections(struct conf_listener *listener, uint64_t all)
{
    listener->connections = all > 1 ? all / 2 : 1;
    listener->connections_per_client = all / 10 > 10 ? all / 10 : 10;
}

static void add_submit_listener(struct conf_load *load)
{
    struct conf_listener *listener = allocate(load, 1, sizeof(*listener));
    struct conf *conf = &load->box->conf;

    fill(load, NULL, section_named("listener"), (char *)listener, (struct conf_place){0});
    listener->name = SLICE_LITERAL("submit");
    listener->role = CONF_ROLE_LOCAL;
    listener->tls = CONF_LISTENER_TLS_NONE;
    share_connections(listener, conf->limits.connections);
    listener->message_size = conf->limits.message_size;
    listener->recipients = conf->limits.recipients;
    conf->submit_listener = listener;
}

static void add_default_route(struct conf_load *load)
{
    struct conf *conf = &load->box->conf;
    struct conf_route *routes;

    for (size_t i = 0; i < conf->route_count; i++)
        if (slice_equal(conf->routes[i].pattern, SLICE_LITERAL("*"))
            && conf->routes[i].from.count == 0)
            return;
    /* In a place of its own, so that marks still point at the others until the end. */
    routes = allocate(load, conf->route_count + 1, sizeof(*routes));
    fill(load, NULL, section_named("route"), (char *)&routes[conf->route_count],
         (struct conf_place){0});
    routes[conf->route_count].pattern = SLICE_LITERAL("*");
    routes[conf->route_count].retry = conf->retry;
    if (conf->route_count > 0)
        memcpy(routes, conf->routes, conf->route_count * sizeof(*routes));
    conf->routes = routes;
    conf->route_count++;
}

static void inherit(uint64_t *own, uint64_t general)
{
    if (*own == 0)
        *own = general;
}

static bool is_said(const struct conf_load *load, const void *field)
{
    return conf_place_of(load, field).text != NULL;
}

/* Notices are given up with the rest at the latest. */
static void settle_retry(struct conf_load *load, struct conf_retry *retry)
{
    if (retry->expire_bounces <= retry->expire)
        return;
    if (load->error_count == 0 && is_said(load, &retry->expire_bounces))
        conf_warn(load, conf_place_of(load, &retry->expire_bounces),
                  "expire_bounces is more than expire, which holds for notices too");
    retry->expire_bounces = retry->expire;
}

static void inherit_retry(struct conf_load *load)
{
    struct conf *conf = &load->box->conf;
    struct conf_route *routes = (struct conf_route *)conf->routes;

    for (size_t i = 0; i < conf->route_count; i++) {
        struct conf_retry *own = &routes[i].retry;

        if (!is_said(load, &own->intervals))
            own->intervals = conf->retry.intervals;
        if (!is_said(load, &own->expire))
            own->expire = conf->retry.expire;
        if (!is_said(load, &own->expire_bounces))
            own->expire_bounces = conf->retry.expire_bounces;
        if (!is_said(load, &own->warn_after))
            own->warn_after = conf->retry.warn_after;
        if (!is_said(load, &own->jitter))
            own->jitter = conf->retry.jitter;
        settle_retry(load, own);
    }
    settle_retry(load, &conf->retry);
}

static void inherit_limits(struct conf *conf)
{
    struct conf_listener *listeners = (struct conf_listener *)conf->listeners;

    for (size_t i = 0; i < conf->listener_count; i++) {
        inherit(&listeners[i].connections, conf->limits.connections);
        inherit(&listeners[i].connections_per_client, conf->limits.connections_per_client);
        inherit(&listeners[i].message_size, conf->limits.message_size);
        inherit(&listeners[i].recipients, conf->limits.recipients);
    }
}

/* submit.sock, beside the control socket. */
static void settle_submit(struct conf_load *load)
{
    struct conf *conf = &load->box->conf;
    struct buf path;

    if (conf->submit != NULL || conf->control == NULL)
        return;
    buf_init(&path, 0);
    (void)buf_append(&path, conf->control, (size_t)(strrchr(conf->control, '/') - conf->control));
    (void)buf_append_str(&path, "/submit.sock");
    conf->submit = (const char *)conf_keep(&load->box->arena, buf_slice(&path)).data;
    buf_finish(&path);
}

/* What follows from other settings. */
static void settle(struct conf_load *load)
{
    struct conf *conf = &load->box->conf;
    struct conf_listener *listeners = (struct conf_listener *)conf->listeners;
    struct buf state, drop;

    for (size_t i = 0; i < conf->listener_count; i++) {
        if (listeners[i].role == CONF_ROLE_SUBMISSION)
            listeners[i].auth = true;
        if (listeners[i].tls == CONF_LISTENER_TLS_OPPORTUNISTIC && conf->tls.certificate.count == 0)
            listeners[i].tls = CONF_LISTENER_TLS_NONE;
    }
    if (conf->state == NULL && conf->spool != NULL) {
        buf_init(&state, 0);
        (void)buf_printf(&state, "%s/state", conf->spool);
        conf->state = (const char *)conf_keep(&load->box->arena, buf_slice(&state)).data;
        buf_finish(&state);
    }
    if (conf->drop == NULL && conf->spool != NULL) { /* beside it: nobody may look into the spool */
        buf_init(&drop, 0);
        (void)buf_printf(&drop, "%s-drop", conf->spool);
        conf->drop = (const char *)conf_keep(&load->box->arena, buf_slice(&drop)).data;
        buf_finish(&drop);
    }
}

void conf_build(struct conf_load *load, cfg_t *cfg)
{
    struct conf *conf = &load->box->conf;

    conf->file = (const char *)conf_keep(&load->box->arena, slice_str(load->texts->path)).data;
    fill(load, cfg, &conf_root, (char *)conf, (struct conf_place){load->texts, 1});
    conf_marks_sort(load);
    inherit_retry(load);
    settle_submit(load);
    conf_check(load);
    if (!load->settings_only)
        conf_secret_load(load);
    if (conf->listener_count == 0)
        add_default_listener(load);
    add_default_route(load);
    inherit_limits(conf);
    settle(load);
    add_submit_listener(load);
}
