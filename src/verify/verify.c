/* verify: see the header. Here is the cache: entries, who waits for them, and which are forgotten. */
#include "base_mem.h"
#include "routing.h"
#include "verify_priv.h"

const char *verify_verdict_name(enum verify_verdict verdict)
{
    switch (verdict) {
    case VERIFY_WAIT: return "wait";
    case VERIFY_GOOD: return "good";
    case VERIFY_NO_ANSWER: return "no-answer";
    case VERIFY_NO_DOMAIN: return "no-domain";
    case VERIFY_NULL_MX: return "null-mx";
    case VERIFY_NO_DNS: return "no-dns";
    case VERIFY_UNKNOWN: return "unknown";
    case VERIFY_SILENT: return "silent";
    case VERIFY_TOO_MANY: return "too-many";
    }
    UNREACHABLE();
}

/* ---- the face ------------------------------------------------------------------------------- */

static void open_query(struct verify_query *q, bool sender)
{
    q->verdict = VERIFY_WAIT;
    q->sender = sender;
    q->entry = NULL;
    list_init(&q->node);
}

enum verify_verdict verify_sender(struct verify *v, struct verify_query *q, const struct conf *conf,
                                  const struct smtp_address *sender)
{
    open_query(q, true);
    if (!conf->verify.sender_domain || sender->kind != SMTP_DOMAIN_NAME
        || conf_domain_find(conf, sender->domain) != NULL)
        return verify_answer_now(v, q, NULL, VERIFY_GOOD);
    return verify_domain(v, q, conf, sender->domain);
}

/* Whether it is the DNS that says where this mail goes: else its word is not needed, and may be none. */
static bool is_found_by_dns(const struct verify_question *question)
{
    struct routing_way way;

    routing_find(question->conf, question->sender, question->recipient->text, &way);
    return way.to->items[0].kind == CONF_TO_MX;
}

enum verify_verdict verify_recipient(struct verify *v, struct verify_query *q,
                                     const struct verify_question *question)
{
    const struct conf *conf = question->conf;
    const struct conf_domain *ours;

    open_query(q, false);
    if (question->recipient->kind != SMTP_DOMAIN_NAME)
        return verify_answer_now(v, q, NULL, VERIFY_GOOD);
    ours = conf_domain_find(conf, question->recipient->domain);
    if (ours != NULL && ours->callout)
        return verify_callout(v, q, question);
    if (ours == NULL && conf->verify.recipient_domain && is_found_by_dns(question))
        return verify_domain(v, q, conf, question->recipient->domain);
    return verify_answer_now(v, q, NULL, VERIFY_GOOD);
}

void verify_give_up(struct verify_query *q)
{
    if (q->entry == NULL)
        return;
    list_remove(&q->node);
    q->entry = NULL;
}

/* ---- answers -------------------------------------------------------------------------------- */

static void count_verdict(struct verify_counters *c, enum verify_verdict verdict)
{
    switch (verdict) {
    case VERIFY_WAIT:
    case VERIFY_GOOD: return;
    case VERIFY_NO_DOMAIN:
    case VERIFY_NULL_MX: c->domains_refused++; return;
    case VERIFY_NO_DNS: c->domains_deferred++; return;
    case VERIFY_UNKNOWN: c->recipients_refused++; return;
    case VERIFY_NO_ANSWER:
    case VERIFY_SILENT: c->recipients_unanswered++; return;
    case VERIFY_TOO_MANY: c->recipients_limited++; return;
    }
    UNREACHABLE();
}

enum verify_verdict verify_answer_now(struct verify *v, struct verify_query *q,
                                      const struct verify_entry *e, enum verify_verdict verdict)
{
    ASSERT(verdict != VERIFY_WAIT);
    q->verdict = verdict;
    q->entry = NULL;
    count_verdict(&v->counters, verdict);
    verify_reply(q, e);
    return verdict;
}

enum verify_verdict verify_wait_for(struct verify_entry *e, struct verify_query *q)
{
    list_push_back(&e->queries, &q->node);
    q->entry = e;
    return VERIFY_WAIT;
}

void verify_tell(struct verify_entry *e, enum verify_verdict verdict)
{
    struct verify *v = e->v;
    struct list now;

    /* All of them have their answer before the first goes on: he may ask anew, and the entry be gone. */
    list_init(&now);
    list_splice_back(&now, &e->queries);
    LIST_EACH(&now, node)
    (void)verify_answer_now(v, container_of(node, struct verify_query, node), e, verdict);
    for (struct list *node; (node = list_pop_front(&now)) != NULL;) {
        struct verify_query *q = container_of(node, struct verify_query, node);
        q->done(q);
    }
}

/* ---- entries -------------------------------------------------------------------------------- */

static bool has_key(const struct hash_node *node, const void *key)
{
    const struct verify_entry *e = container_of(node, struct verify_entry, node);

    return slice_equal(slice_of(e->bytes, e->key_len), *(const struct slice *)key);
}

static bool is_in_use(const struct verify_entry *e)
{
    return e->state != VERIFY_IDLE || !list_empty(&e->queries);
}

/* The one used longest ago, of those of which nothing is under way. */
static bool forget_one(struct verify *v)
{
    LIST_EACH(&v->used, node)
    {
        struct verify_entry *e = container_of(node, struct verify_entry, used);

        if (!is_in_use(e)) {
            verify_entry_free(e);
            return true;
        }
    }
    return false;
}

struct verify_entry *verify_entry_create(struct verify *v, enum verify_kind kind, struct slice key,
                                         struct slice text)
{
    uint32_t most = v->o.entries_max != 0 ? v->o.entries_max : VERIFY_ENTRIES_MAX;
    struct verify_entry *e;

    if (v->entries.count >= most && !forget_one(v))
        return NULL;
    ASSERT(key.len <= UINT16_MAX && text.len <= UINT16_MAX);
    e = mem_zalloc(sizeof(*e) + key.len + text.len);
    e->v = v;
    e->kind = (uint8_t)kind;
    e->key_len = (uint16_t)key.len;
    e->text_len = (uint16_t)text.len;
    memcpy(e->bytes, key.data, key.len);
    memcpy(e->bytes + key.len, text.data, text.len);
    list_init(&e->queries);
    list_init(&e->line);
    list_push_back(&v->used, &e->used);
    hash_table_insert(&v->entries, &e->node, hash_bytes(key));
    return e;
}

struct verify_entry *verify_entry_get(struct verify *v, enum verify_kind kind, struct slice key,
                                      struct slice text)
{
    struct hash_node *node = hash_table_find(&v->entries, hash_bytes(key), has_key, &key);
    struct verify_entry *e;

    if (node == NULL)
        return verify_entry_create(v, kind, key, text);
    e = container_of(node, struct verify_entry, node);
    list_remove(&e->used);
    list_push_back(&v->used, &e->used);
    return e;
}

void verify_entry_free(struct verify_entry *e)
{
    hash_table_remove(&e->v->entries, &e->node);
    list_remove(&e->used);
    list_remove(&e->line);
    if (e->kind != VERIFY_KIND_DOMAIN)
        wheel_cancel(e->v->o.wheel, &e->timer);
    if (e->site != NULL)
        e->site->entries--;
    mem_free(e->words);
    mem_free(e);
}

bool verify_entry_valid(const struct verify_entry *e, const struct conf *conf)
{
    /* Another configuration may have another next hop. The DNS is the same. */
    return e->verdict != VERIFY_WAIT && verify_now_ms(e->v) < e->expires_ms
           && (e->kind == VERIFY_KIND_DOMAIN || e->generation == conf->generation);
}

/* ---- life ----------------------------------------------------------------------------------- */

struct verify *verify_create(const struct verify_options *options)
{
    struct verify *v = mem_zalloc(sizeof(*v));

    ASSERT(options->ask != NULL);
    v->o = *options;
    hash_table_init(&v->entries);
    hash_table_init(&v->sites);
    hash_table_init(&v->clients);
    list_init(&v->used);
    list_init(&v->all_sites);
    list_init(&v->used_clients);
    list_init(&v->ready);
    wheel_timer_init(&v->flush, verify_callout_flush);
    return v;
}

/* What waits is told; `done` may free or move entries, so the list is walked from its start again. */
static bool stop_one(struct verify *v)
{
    LIST_EACH(&v->used, node)
    {
        struct verify_entry *e = container_of(node, struct verify_entry, used);

        if (e->kind == VERIFY_KIND_DOMAIN && e->state == VERIFY_ASKING) {
            dns_query_finish(&e->dns);
            e->state = VERIFY_IDLE;
        } else if (e->state == VERIFY_LINE) {
            verify_callout_stop(e);
        } else if (list_empty(&e->queries)) {
            continue;
        }
        verify_tell(e, e->kind == VERIFY_KIND_DOMAIN ? VERIFY_NO_DNS : VERIFY_TOO_MANY);
        return true;
    }
    return false;
}

void verify_stop(struct verify *v)
{
    v->stopping = true;
    while (stop_one(v))
        ;
}

bool verify_idle(const struct verify *v)
{
    return v->asks == 0;
}

void verify_destroy(struct verify *v, bool crashed)
{
    if (v == NULL)
        return;
    ASSERT(crashed || verify_idle(v));
    wheel_cancel(v->o.wheel, &v->flush);
    LIST_EACH_SAFE(&v->used, node)
    {
        struct verify_entry *e = container_of(node, struct verify_entry, used);

        ASSERT(list_empty(&e->queries)); /* their owners go first */
        if (e->kind != VERIFY_KIND_DOMAIN && e->state != VERIFY_IDLE)
            conf_free(e->ask.conf);
        else if (e->state == VERIFY_ASKING)
            dns_query_finish(&e->dns);
        verify_entry_free(e);
    }
    LIST_EACH_SAFE(&v->all_sites, node)
    verify_site_free(container_of(node, struct verify_site, all));
    verify_clients_free(v);
    hash_table_finish(&v->entries);
    hash_table_finish(&v->sites);
    hash_table_finish(&v->clients);
    mem_free(v);
}

void verify_counters(const struct verify *v, struct verify_counters *out)
{
    *out = v->counters;
    out->cached = v->entries.count;
}
