#include "conf.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base_assert.h"
#include "base_hash.h"
#include "base_mem.h"
#include "conf_build_priv.h"
#include "conf_notices_priv.h"
#include "conf_secret_priv.h"
#include "conf_tables_priv.h"
#include "conf_values_priv.h"

static int compare_slices(struct slice a, struct slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.data, b.data, len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_domains(const void *a, const void *b)
{
    return compare_slices(((const struct conf_domain *)a)->name,
                          ((const struct conf_domain *)b)->name);
}

/* By pattern; then those for some senders, then the one for any. */
static int compare_routes(const void *a, const void *b)
{
    const struct conf_route *p = a;
    const struct conf_route *q = b;
    int order = compare_slices(p->pattern, q->pattern);

    if (order == 0)
        order = (p->from.count == 0) - (q->from.count == 0);
    if (order == 0 && p->from.count > 0)
        order = compare_slices(p->from.items[0], q->from.items[0]);
    return order;
}

/* For a search. */
static int compare_to_general(const void *a, const void *b)
{
    const struct conf_route *wanted = a;
    const struct conf_route *route = b;
    int order = compare_slices(wanted->pattern, route->pattern);

    return order == 0 && route->from.count > 0 ? 1 : order;
}

static void sort(struct conf *conf)
{
    if (conf->domain_count > 0)
        qsort((struct conf_domain *)conf->domains, conf->domain_count, sizeof(*conf->domains),
              compare_domains);
    qsort((struct conf_route *)conf->routes, conf->route_count, sizeof(*conf->routes),
          compare_routes);
}

static void load_finish(struct conf_load *load)
{
    while (load->texts != NULL) {
        struct conf_text *text = load->texts;

        load->texts = text->next;
        conf_text_destroy(text);
    }
    mem_free(load->marks);
    ASSERT(load->problems == NULL); /* reported */
}

/* Two results with the same digest are the same. */
static uint64_t digest_of(const struct conf_load *load)
{
    const struct conf *conf = &load->box->conf;
    uint64_t digest = 0;

    for (const struct conf_text *text = load->texts; text != NULL; text = text->next)
        if (text->bytes != NULL)
            digest = hash_u64(digest ^ hash_stable(slice_of(text->bytes, text->len)));
    for (size_t i = 0; i < conf->route_count; i++)
        digest = hash_u64(digest ^ hash_stable(conf->routes[i].auth.password));
    for (size_t i = 0; i < load->box->table_count; i++)
        digest = hash_u64(digest ^ table_digest(load->box->tables[i].table));
    return digest;
}

bool conf_load(const char *path, struct conf **out, struct conf_errors *errors)
{
    return conf_load_after(path, NULL, out, errors);
}

static void load_files(struct conf_load *load)
{
    conf_recipients_load(load);
    conf_senders_load(load);
    conf_aliases_load(load);
    conf_values_load(load);
    conf_notices_load(load);
}

static bool load_conf(struct conf_load *load, const char *path, struct conf **out,
                      struct conf_errors *errors)
{
    struct conf *conf = &load->box->conf;
    bool ok;

    arena_init(&load->box->arena, SIZE_MAX);
    cfg_t *cfg = conf_parse(load, path);
    conf_build(load, cfg);
    (void)cfg_free(cfg); /* fails for NULL only */
    if (!load->settings_only)
        load_files(load);
    ok = load->error_count == 0;
    atomic_init(&conf->refs, 1);
    if (ok) {
        if (!load->settings_only)
            conf_catch_all_check(load);
        conf_marks_keep(load);
        conf_tables_list_files(load);
        load->box->digest = digest_of(load);
        sort(conf); /* last: it moves what has marks */
        if (!load->settings_only)
            conf_alias_check(load);
        *out = conf;
    } else {
        conf_free(conf);
    }
    conf_report(load, errors);
    load_finish(load);
    return ok;
}

bool conf_load_after(const char *path, const struct conf *before, struct conf **out,
                     struct conf_errors *errors)
{
    struct conf_load load = {.box = mem_zalloc(sizeof(*load.box))};

    if (before != NULL)
        load.before = container_of((struct conf *)(uintptr_t)before, struct conf_box, conf);
    return load_conf(&load, path, out, errors);
}

bool conf_load_settings(const char *path, struct conf **out, struct conf_errors *errors)
{
    struct conf_load load = {.box = mem_zalloc(sizeof(*load.box)), .settings_only = true};

    return load_conf(&load, path, out, errors);
}

/* The counter is written through a pointer to const: a reader's reference is no change of the result. */
static _Atomic unsigned *refs_of(const struct conf *conf)
{
    return &((struct conf *)(uintptr_t)conf)->refs;
}

const struct conf *conf_ref(const struct conf *conf)
{
    unsigned before = atomic_fetch_add_explicit(refs_of(conf), 1, memory_order_relaxed);

    ASSERT(before > 0);
    return conf;
}

void conf_free(const struct conf *conf)
{
    struct conf_box *box;

    if (conf == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(refs_of(conf), 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before > 1)
        return;
    box = container_of((struct conf *)(uintptr_t)conf, struct conf_box, conf);
    conf_secret_wipe(conf);
    conf_values_destroy(box->values);
    conf_tables_finish(box);
    arena_reset(&box->arena);
    mem_free(box);
}

/* Lookups */

const struct conf_listener *conf_listener_at(const struct conf *conf, size_t index)
{
    ASSERT(index <= conf->listener_count);
    return index < conf->listener_count ? &conf->listeners[index] : conf->submit_listener;
}

enum { NAME_MAX_LEN = 255 };

/* The name in lower case; false if it is too long to be one. */
static bool fold(struct slice name, uint8_t out[NAME_MAX_LEN])
{
    if (name.len > NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];

        out[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
    }
    return true;
}

const struct conf_domain *conf_domain_find(const struct conf *conf, struct slice name)
{
    uint8_t folded[NAME_MAX_LEN];
    struct conf_domain key = {.name = {folded, name.len}};

    if (conf->domain_count == 0 || !fold(name, folded))
        return NULL;
    return bsearch(&key, conf->domains, conf->domain_count, sizeof(*conf->domains),
                   compare_domains);
}

static const struct conf_route *route_named(const struct conf *conf, struct slice pattern)
{
    struct conf_route key = {.pattern = pattern};

    return bsearch(&key, conf->routes, conf->route_count, sizeof(*conf->routes),
                   compare_to_general);
}

const struct conf_route *conf_route_find(const struct conf *conf, struct slice domain)
{
    uint8_t folded[NAME_MAX_LEN];
    const struct conf_route *route = NULL;
    struct slice rest = {folded, domain.len};

    if (conf->route_count > 1 && fold(domain, folded)) {
        route = route_named(conf, rest);
        while (route == NULL && rest.len > 0) {
            ptrdiff_t dot = slice_find(rest, '.');

            /* "www.example.org" becomes "*.example.org" where it lies: what stood before the dot
             * is done with. An empty label has no room for the star, and matches nothing. */
            if (dot < 0)
                break;
            if (dot > 0) {
                slice_advance(&rest, (size_t)dot - 1);
                folded[rest.data - folded] = '*';
                route = route_named(conf, rest);
                slice_advance(&rest, 1);
            }
            slice_advance(&rest, 1);
        }
    }
    if (route == NULL)
        route = route_named(conf, SLICE_LITERAL("*"));
    ASSERT(route != NULL); /* conf_build() sees to it */
    return route;
}

struct slice conf_domain_user(const struct conf_domain *domain, struct slice local_part)
{
    struct slice separators = domain->subaddress;

    if (local_part.len == 0 || local_part.data[0] == '"')
        return local_part; /* what is in quotes is one name */
    for (size_t i = 1; i < local_part.len; i++)
        if (slice_find(separators, local_part.data[i]) >= 0)
            return slice_head(local_part, i);
    return local_part;
}

bool conf_may_relay(const struct conf *conf, const struct ip_addr *client)
{
    for (size_t i = 0; i < conf->relay_from.count; i++)
        if (ip_net_contains(&conf->relay_from.items[i], client))
            return true;
    return false;
}
