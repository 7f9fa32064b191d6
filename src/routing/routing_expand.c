/*
 * routing_expand: all that an address stands for, depth first.
 *
 * Each address is gone through once, so the work goes by what the tables say, and not by the number of ways
 * that lead to an address. One that is met while it is being gone through stands for itself; if there
 * is no such mailbox, that was a circle.
 */
#include "base_assert.h"
#include "base_hash.h"
#include "base_mem.h"
#include "routing_priv.h"

/* Of one expansion, so that tables which are wrong in some manner cannot stall a shard. */
enum { VISITS_MAX = 4 * ROUTING_TARGETS_MAX };

/* An address that was met. */
struct met {
    struct hash_node node;
    struct slice key;
    struct slice text; /* what it is when it stands for itself */
    bool open;         /* on the way from the first one to where we are */
    bool told;         /* among the targets */
};

struct expansion {
    const struct conf *conf;
    uint32_t max;
    struct arena *arena; /* the caller's: for what is told */
    struct arena work;
    struct hash_table met;
    struct buf key;
    uint32_t capacity;
    uint32_t visits;
    bool circular;
    enum routing_expand failure; /* SAME: none */
    struct routing_targets *out;
};

static void visit(struct expansion *e, struct slice text, bool final, unsigned depth);

/* ---- what is told --------------------------------------------------------------------------- */

static void fail(struct expansion *e, enum routing_expand failure, struct slice culprit)
{
    if (e->failure != ROUTING_SAME)
        return;
    e->failure = failure;
    e->out->culprit = arena_dup(e->arena, culprit);
}

static void drop(struct expansion *e, struct slice text)
{
    if (e->out->dropped++ == 0)
        e->out->culprit = arena_dup(e->arena, text);
}

static bool make_room(struct expansion *e)
{
    struct routing_targets *out = e->out;
    uint32_t capacity = e->capacity > 0 ? 4 * e->capacity : 4;
    struct slice *items;

    if (out->count < e->capacity)
        return true;
    items = arena_alloc(e->arena, capacity * sizeof(*items));
    if (items == NULL)
        return false;
    if (out->count > 0)
        memcpy(items, out->items, out->count * sizeof(*items));
    out->items = items;
    e->capacity = capacity;
    return true;
}

static void tell(struct expansion *e, struct met *m)
{
    struct slice copy;

    if (m->told)
        return;
    m->told = true;
    copy = arena_dup(e->arena, m->text);
    if (e->out->count >= e->max || copy.data == NULL || !make_room(e)) {
        fail(e, ROUTING_TOO_MANY, m->text);
        return;
    }
    e->out->items[e->out->count++] = copy;
}

/* ---- what was met --------------------------------------------------------------------------- */

static bool has_key(const struct hash_node *node, const void *key)
{
    const struct met *m = container_of((void *)(uintptr_t)node, struct met, node);

    return slice_equal(m->key, *(const struct slice *)key);
}

/* The one with this key, or a new one that is not open. */
static struct met *meet(struct expansion *e, struct slice key, struct slice text)
{
    uint64_t hash = hash_bytes(key);
    struct hash_node *node = hash_table_find(&e->met, hash, has_key, &key);
    struct met *m;

    if (node != NULL)
        return container_of(node, struct met, node);
    m = arena_alloc(&e->work, sizeof(*m));
    m->key = arena_dup(&e->work, key);
    m->text = arena_dup(&e->work, text);
    hash_table_insert(&e->met, &m->node, hash);
    return m;
}

/* Addresses are one if this is: RFC 5321 2.4 leaves the case of local parts to their domain. */
static struct slice key_of(struct expansion *e, const struct smtp_address *a, bool ours)
{
    buf_clear(&e->key);
    (void)smtp_address_canonical(a, &e->key);
    for (size_t i = e->key.head; i < e->key.tail && ours; i++)
        e->key.data[i] = routing_lower(e->key.data[i]);
    return buf_slice(&e->key);
}

/* ---- going through them --------------------------------------------------------------------- */

static void visit_targets(struct expansion *e, const struct routing_name *name,
                          struct conf_targets *targets, unsigned depth)
{
    uint8_t memory[CONF_TARGET_MEMORY_MAX];
    struct conf_target target;
    struct slice text;

    while (e->failure == ROUTING_SAME && conf_targets_next(targets, &target)) {
        if (conf_target_address(&target, name->spelled, name->domain, memory, &text))
            visit(e, text, target.final, depth + 1);
        else
            drop(e, target.address);
    }
}

/* A rule for ann holds for ann+news. If ann is one of its targets, ann+news stands for herself. */
static void visit_user_targets(struct expansion *e, const struct routing_name *name,
                               struct slice text, struct conf_targets *targets, unsigned depth)
{
    size_t tail = name->whole.len - name->local.len;
    uint8_t key[sizeof(name->bytes)];
    struct met *user;

    memcpy(key, name->user.data, name->user.len);
    memcpy(key + name->user.len, name->whole.data + name->local.len, tail);
    user = meet(e, slice_of(key, name->user.len + tail), text);
    if (user->open || user->told) {
        visit_targets(e, name, targets, depth);
        return;
    }
    user->open = true;
    visit_targets(e, name, targets, depth);
    hash_table_remove(&e->met, &user->node); /* ann herself is still to be met */
}

/* It has no rule. */
static void end_of_way(struct expansion *e, const struct routing_name *name, struct met *m,
                       unsigned depth)
{
    if (name->ours == NULL || routing_has_recipient(name))
        tell(e, m);
    else if (name->ours->catch_all.len > 0)
        visit(e, name->ours->catch_all, false, depth + 1);
    else
        drop(e, m->text);
}

static void go_through(struct expansion *e, const struct routing_name *name, struct met *m,
                       unsigned depth)
{
    struct conf_targets targets;
    enum routing_match match;

    if (depth > ROUTING_DEPTH_MAX) {
        fail(e, ROUTING_LOOP, m->text);
    } else if (routing_rule_find(e->conf, name, &targets, &match) == ROUTING_RULE_NONE) {
        end_of_way(e, name, m, depth);
    } else if (match == ROUTING_MATCH_USER) {
        visit_user_targets(e, name, m->text, &targets, depth);
    } else {
        visit_targets(e, name, &targets, depth);
    }
}

/* It was met on the way to itself, or is written as what it is. */
static void stand_for_itself(struct expansion *e, const struct routing_name *name, struct met *m)
{
    if (name->ours == NULL || routing_has_recipient(name)) {
        tell(e, m);
    } else {
        e->circular |= m->open;
        drop(e, m->text);
    }
}

static void visit(struct expansion *e, struct slice text, bool final, unsigned depth)
{
    struct smtp_address address;
    struct routing_name name;
    struct met *m;
    bool met;

    if (smtp_address_parse(text, SMTP_PATH_UTF8, &address) != SMTP_ADDRESS_OK
        || !routing_name_of(e->conf, address.local, address.domain, &name)) {
        drop(e, text);
        return;
    }
    if (++e->visits > VISITS_MAX) {
        fail(e, ROUTING_TOO_MANY, text);
        return;
    }
    size_t before = e->met.count;
    m = meet(e, key_of(e, &address, name.ours != NULL), text);
    met = e->met.count == before;
    if (final || (met && m->open)) {
        stand_for_itself(e, &name, m);
    } else if (!met) {
        m->open = true;
        go_through(e, &name, m, depth);
        m->open = false;
    }
}

static enum routing_expand result_of(const struct expansion *e, struct slice address)
{
    if (e->failure != ROUTING_SAME)
        return e->failure;
    if (e->out->count == 0)
        return e->circular ? ROUTING_LOOP : ROUTING_NOBODY;
    return e->out->count == 1 && slice_equal(e->out->items[0], address) ? ROUTING_SAME
                                                                        : ROUTING_EXPANDED;
}

/* Mostly there is nothing to expand, and no need for any memory. */
static bool stands_alone(const struct conf *conf, struct slice address)
{
    struct conf_targets targets;
    struct routing_name name;
    enum routing_match match;
    struct slice local, domain;

    routing_split(address, &local, &domain);
    return !routing_name_of(conf, local, domain, &name)
           || (routing_rule_find(conf, &name, &targets, &match) == ROUTING_RULE_NONE
               && (name.ours == NULL || routing_has_recipient(&name)));
}

enum routing_expand routing_expand(const struct conf *conf, struct slice address, uint32_t max,
                                   struct arena *arena, struct routing_targets *out)
{
    struct expansion e = {.conf = conf, .arena = arena, .out = out};
    enum routing_expand result;

    *out = (struct routing_targets){0};
    if (stands_alone(conf, address))
        return ROUTING_SAME;
    e.max = max < ROUTING_TARGETS_MAX ? max : ROUTING_TARGETS_MAX;
    arena_init(&e.work, SIZE_MAX);
    hash_table_init(&e.met);
    buf_init(&e.key, 0);
    visit(&e, address, false, 0);
    result = result_of(&e, address);
    hash_table_finish(&e.met);
    arena_reset(&e.work);
    buf_finish(&e.key);
    return result;
}
