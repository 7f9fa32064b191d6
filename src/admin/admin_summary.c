/*
 * admin_summary: how much waits for whom. Counted by the hashes that memory keeps; the name behind a hash
 * is read from the envelope of the first message that has it. Messages to several recipients are read,
 * since their recipients may count in several places: a message counts once in each.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin_job_priv.h"
#include "base_mem.h"

enum {
    GROUPS_MAX = 100000, /* what comes then is counted under "others" */
    ROWS_DEFAULT = 1000,
    ROWS_MAX = 5000,
    SELECT_A_PASS = 8192, /* groups that are looked at for the largest */
};

struct group {
    char *name; /* NULL: "others" */
    uint64_t messages, recipients, bytes, held;
    uint32_t oldest_s;
    uint64_t last; /* the message that was counted last: counts once */
};

struct key {
    struct hash_node node;
    struct group *group;
};

struct summary {
    struct hash_table keys;
    struct group **groups;
    uint32_t group_count, group_capacity;
    struct group others, total;
    struct group **top; /* a heap, the least on top, then sorted */
    uint32_t top_count, top_max, selected;
    bool by_sender_too; /* routes hang on senders */
    bool by_text;       /* names are as they are */
};

/* ---- groups --------------------------------------------------------------------------------- */

static bool any_key(const struct hash_node *node, const void *key)
{
    (void)node;
    (void)key;
    return true; /* the hash is the key */
}

static struct group *find_key(const struct summary *s, uint64_t key)
{
    struct hash_node *node = hash_table_find(&s->keys, key, any_key, NULL);

    return node != NULL ? container_of(node, struct key, node)->group : NULL;
}

static void add_key(struct summary *s, uint64_t key, struct group *group)
{
    struct key *k = mem_zalloc(sizeof(*k));

    k->group = group;
    hash_table_insert(&s->keys, &k->node, key);
}

static char *name_dup(struct slice name, bool fold)
{
    char *text = mem_alloc(name.len + 1);

    memcpy(text, name.data, name.len);
    for (size_t i = 0; i < name.len; i++) {
        if (fold && text[i] >= 'A' && text[i] <= 'Z')
            text[i] = (char)(text[i] + 'a' - 'A');
        if (text[i] == '\0')
            text[i] = '?';
    }
    text[name.len] = '\0';
    return text;
}

static struct group *add_group(struct summary *s, struct slice name)
{
    struct group *g;

    if (s->keys.count >= GROUPS_MAX)
        return &s->others;
    if (s->group_count == s->group_capacity) {
        s->group_capacity = s->group_capacity > 0 ? 2 * s->group_capacity : 64;
        s->groups = mem_realloc(s->groups, s->group_capacity * sizeof(struct group *));
    }
    g = mem_zalloc(sizeof(*g));
    g->name = name_dup(name, !s->by_text);
    s->groups[s->group_count++] = g;
    return g;
}

static struct group *get_group(struct summary *s, uint64_t key, struct slice name)
{
    struct group *g = find_key(s, key);

    if (g != NULL)
        return g;
    g = add_group(s, name);
    if (g != &s->others)
        add_key(s, key, g);
    return g;
}

/* Several keys lead to one route. */
static struct group *get_route(struct summary *s, uint64_t key, const struct conf *conf,
                               struct slice sender, struct slice recipient)
{
    struct group *g = find_key(s, key);
    struct buf name;

    if (g != NULL)
        return g;
    buf_init(&name, 0);
    admin_route_name(conf, sender, recipient, &name);
    g = get_group(s, hash_stable(buf_slice(&name)) | 1ull << 63, buf_slice(&name));
    if (g != &s->others && s->keys.count < GROUPS_MAX)
        add_key(s, key, g);
    buf_finish(&name);
    return g;
}

/* ---- counting ------------------------------------------------------------------------------- */

static void count(struct group *g, const struct spool_message *m, uint64_t recipients, bool held)
{
    g->recipients += recipients;
    if (g->last == m->id)
        return;
    g->last = m->id;
    g->messages++;
    g->bytes += m->body_len;
    g->held += held;
    if (g->oldest_s == 0 || m->arrived_s < g->oldest_s)
        g->oldest_s = m->arrived_s;
}

static bool by_recipient(enum admin_by by)
{
    return by == ADMIN_BY_DOMAIN || by == ADMIN_BY_ROUTE;
}

static uint64_t route_key(const struct summary *s, uint32_t domain_hash, uint32_t sender_hash)
{
    return s->by_sender_too ? (uint64_t)(sender_hash & INT32_MAX) << 32 | domain_hash : domain_hash;
}

/* What memory knows of where a message counts: of all of it, or of its only recipient. */
static uint64_t memory_key(const struct admin_job *j, const struct spool_message *m)
{
    const struct summary *s = j->matter;

    switch (j->request.by) {
    case ADMIN_BY_DOMAIN: return m->domain_hash;
    case ADMIN_BY_SENDER: return m->sender_hash;
    case ADMIN_BY_SENDER_DOMAIN: return m->sender_domain_hash;
    case ADMIN_BY_ROUTE: return route_key(s, m->domain_hash, m->sender_hash);
    case ADMIN_BY_REASON: return hash_stable(queue_entry_reason(m->owner));
    case ADMIN_BY_STATE: return (uint64_t)admin_message_state(m);
    }
    UNREACHABLE();
}

static bool wants_envelope(const struct admin_job *j, const struct spool_message *m)
{
    const struct summary *s = j->matter;
    enum admin_by by = j->request.by;

    if (by == ADMIN_BY_REASON || by == ADMIN_BY_STATE)
        return false;
    if (by_recipient(by) && m->recipient_count > 1)
        return true;
    return find_key(s, memory_key(j, m)) == NULL && s->keys.count < GROUPS_MAX;
}

static struct slice sender_name(struct slice name)
{
    return name.len > 0 ? name : SLICE_LITERAL("<>");
}

/* Where a message counts that is not looked at by recipient. */
static struct group *group_of(struct admin_job *j, const struct spool_message *m,
                              const struct admin_envelope *e)
{
    struct summary *s = j->matter;
    uint64_t key = memory_key(j, m);
    struct slice reason;

    switch (j->request.by) {
    case ADMIN_BY_SENDER:
        if (e != NULL)
            return get_group(s, key, sender_name(e->sender));
        break;
    case ADMIN_BY_SENDER_DOMAIN:
        if (e != NULL)
            return get_group(s, key, sender_name(admin_domain_of(e->sender)));
        break;
    case ADMIN_BY_REASON: reason = queue_entry_reason(m->owner); return get_group(s, key, reason);
    case ADMIN_BY_STATE:
        return get_group(s, key, slice_str(admin_state_name(admin_message_state(m))));
    case ADMIN_BY_DOMAIN:
    case ADMIN_BY_ROUTE: break;
    }
    struct group *g = find_key(s, key);
    return g != NULL ? g : &s->others;
}

static void take_recipients(struct admin_job *j, const struct spool_message *m,
                            const struct admin_envelope *e, bool held)
{
    struct summary *s = j->matter;
    const struct admin_filter *f = &j->request.filter;
    const struct conf *conf = shard_queue(j->on)->conf;

    for (uint32_t i = 0; i < m->recipient_count; i++) {
        struct slice domain = admin_domain_of(e->recipients[i]);
        struct group *g;
        if (m->recipients[i].state != SPOOL_RECIPIENT_WAITING
            || !admin_filter_recipient(f, conf, e->sender, e->recipients[i]))
            continue;
        if (j->request.by == ADMIN_BY_DOMAIN)
            g = get_group(s, admin_hash(domain), domain);
        else
            g = get_route(s, route_key(s, admin_hash(domain), m->sender_hash), conf, e->sender,
                          e->recipients[i]);
        count(g, m, 1, held);
        count(&s->total, m, 1, held);
    }
}

static uint64_t waiting_recipients(struct admin_job *j, const struct spool_message *m,
                                   const struct admin_envelope *e)
{
    const struct conf *conf = shard_queue(j->on)->conf;
    uint64_t waiting = 0;

    if (e == NULL || !admin_filter_by_recipient(&j->request.filter))
        return m->recipients_left;
    for (uint32_t i = 0; i < m->recipient_count; i++)
        waiting += m->recipients[i].state == SPOOL_RECIPIENT_WAITING
                   && admin_filter_recipient(&j->request.filter, conf, e->sender, e->recipients[i]);
    return waiting;
}

static void take(struct admin_job *j, struct spool_message *m, const struct admin_envelope *e)
{
    struct summary *s = j->matter;
    bool held = admin_message_state(m) == ADMIN_STATE_HELD;
    uint64_t waiting;

    if (e != NULL && by_recipient(j->request.by)) {
        take_recipients(j, m, e, held);
        return;
    }
    waiting = waiting_recipients(j, m, e);
    count(group_of(j, m, e), m, waiting, held);
    count(&s->total, m, waiting, held);
}

/* ---- the largest ---------------------------------------------------------------------------- */

static bool less(const struct group *a, const struct group *b)
{
    return a->messages != b->messages ? a->messages < b->messages : strcmp(a->name, b->name) > 0;
}

static void sink(struct group **heap, uint32_t count, uint32_t at)
{
    for (;;) {
        uint32_t child = 2 * at + 1;
        struct group *g = heap[at];
        if (child + 1 < count && less(heap[child + 1], heap[child]))
            child++;
        if (child >= count || !less(heap[child], g))
            return;
        heap[at] = heap[child];
        heap[child] = g;
        at = child;
    }
}

static void offer(struct summary *s, struct group *g)
{
    if (s->top_count < s->top_max) {
        s->top[s->top_count++] = g;
        if (s->top_count == s->top_max) {
            for (uint32_t i = s->top_count; i > 0; i--)
                sink(s->top, s->top_count, i - 1);
        }
    } else if (less(s->top[0], g)) {
        s->top[0] = g;
        sink(s->top, s->top_count, 0);
    }
}

static int larger_first(const void *a, const void *b)
{
    const struct group *x = *(struct group *const *)a, *y = *(struct group *const *)b;

    return less(y, x) ? -1 : less(x, y);
}

static bool select_top(struct admin_job *j)
{
    struct summary *s = j->matter;

    if (s->top == NULL) {
        s->top_max = j->rows_limit < ROWS_MAX ? (uint32_t)j->rows_limit : ROWS_MAX;
        if (j->rows_limit == UINT64_MAX)
            s->top_max = ROWS_DEFAULT;
        s->top = mem_calloc(s->top_max, sizeof(struct group *));
    }
    for (int left = SELECT_A_PASS; left > 0 && s->selected < s->group_count; left--)
        offer(s, s->groups[s->selected++]);
    if (s->selected < s->group_count)
        return false;
    qsort(s->top, s->top_count, sizeof(struct group *), larger_first);
    return true;
}

/* ---- telling -------------------------------------------------------------------------------- */

static const char *name_of_by(enum admin_by by)
{
    static const char *const names[] = {
        [ADMIN_BY_DOMAIN] = "domain",
        [ADMIN_BY_SENDER] = "sender",
        [ADMIN_BY_SENDER_DOMAIN] = "sender-domain",
        [ADMIN_BY_ROUTE] = "route",
        [ADMIN_BY_REASON] = "reason",
        [ADMIN_BY_STATE] = "state",
    };

    return names[by];
}

static void json_counts(const struct group *g, struct buf *out)
{
    (void)buf_printf(out,
                     "\"messages\":%" PRIu64 ",\"recipients\":%" PRIu64 ",\"bytes\":%" PRIu64
                     ",\"held\":%" PRIu64,
                     g->messages, g->recipients, g->bytes, g->held);
    admin_json_date(out, "oldest", g->oldest_s);
}

static void tell_json(const struct admin_job *j, const struct summary *s, struct buf *out)
{
    (void)buf_printf(out, "{\"by\":\"%s\",", name_of_by(j->request.by));
    json_counts(&s->total, out);
    (void)buf_printf(out, ",\"groups\":%" PRIu32 ",\"rows\":[", s->group_count);
    for (uint32_t i = 0; i < s->top_count; i++) {
        (void)buf_printf(out, "%s\n{\"%s\":", i > 0 ? "," : "", name_of_by(j->request.by));
        (void)json_append_string(out, slice_str(s->top[i]->name));
        (void)buf_append_str(out, ",");
        json_counts(s->top[i], out);
        (void)buf_append_str(out, "}");
    }
    (void)buf_append_str(out, "]}\n");
}

static void tell_row(const struct group *g, const char *name, uint32_t now_s, struct buf *out)
{
    char age[32] = "-";
    uint32_t age_s = now_s > g->oldest_s ? now_s - g->oldest_s : 0;

    if (g->oldest_s != 0 && age_s >= 2 * 86400)
        (void)snprintf(age, sizeof(age), "%" PRIu32 "d", age_s / 86400);
    else if (g->oldest_s != 0 && age_s >= 2 * 3600)
        (void)snprintf(age, sizeof(age), "%" PRIu32 "h", age_s / 3600);
    else if (g->oldest_s != 0)
        (void)snprintf(age, sizeof(age), "%" PRIu32 "m", age_s / 60);
    (void)buf_printf(out, "%10" PRIu64 " %10" PRIu64 " %9" PRIu64 "K %8" PRIu64 " %6s  ",
                     g->messages, g->recipients, (g->bytes + 1023) / 1024, g->held, age);
    (void)text_append_printable(out, slice_str(name[0] != '\0' ? name : "(not known)"));
    (void)buf_append_str(out, "\n");
}

static void tell_text(const struct admin_job *j, const struct summary *s, struct buf *out)
{
    uint32_t now_s = queue_now_s(shard_queue(j->client->admin->shard));

    (void)buf_printf(out, "%10s %10s %10s %8s %6s  %s\n", "messages", "recipients", "size", "held",
                     "oldest", name_of_by(j->request.by));
    for (uint32_t i = 0; i < s->top_count; i++)
        tell_row(s->top[i], s->top[i]->name, now_s, out);
    if (s->group_count > s->top_count)
        (void)buf_printf(out, "and %" PRIu32 " more; --limit=%d shows more rows\n",
                         s->group_count - s->top_count, ROWS_MAX);
    if (s->others.messages > 0)
        tell_row(&s->others, "(others: too many to count apart)", now_s, out);
    tell_row(&s->total, "in all", now_s, out);
}

static void finish(struct admin_job *j, struct buf *out)
{
    if (j->request.json)
        tell_json(j, j->matter, out);
    else
        tell_text(j, j->matter, out);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void start(struct admin_job *j)
{
    struct summary *s = mem_zalloc(sizeof(*s));
    const struct conf *conf = shard_queue(j->client->admin->shard)->conf;

    hash_table_init(&s->keys);
    for (size_t i = 0; i < conf->route_count; i++)
        s->by_sender_too |= conf->routes[i].from.count > 0;
    s->by_text = j->request.by == ADMIN_BY_REASON;
    j->matter = s;
    /* --limit is of rows here: all messages are counted. */
    j->rows_limit = j->request.filter.limit;
    j->request.filter.limit = UINT64_MAX;
}

static bool free_key(struct hash_node *node, void *context)
{
    hash_table_remove(context, node);
    mem_free(container_of(node, struct key, node));
    return true;
}

static void release(struct admin_job *j)
{
    struct summary *s = j->matter;

    hash_table_each(&s->keys, free_key, &s->keys);
    hash_table_finish(&s->keys);
    for (uint32_t i = 0; i < s->group_count; i++) {
        mem_free(s->groups[i]->name);
        mem_free(s->groups[i]);
    }
    mem_free(s->groups);
    mem_free(s->top);
    mem_free(s);
}

const struct admin_job_kind admin_summary_kind = {.start = start,
                                                  .wants_envelope = wants_envelope,
                                                  .take = take,
                                                  .prepare = select_top,
                                                  .finish = finish,
                                                  .release = release};
