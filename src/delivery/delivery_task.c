/* delivery_task: a task's memory, the way it goes, and how it ends. */
#include "base_log.h"
#include "base_mem.h"
#include "delivery_remote_priv.h"

/* Lies before the task, the addresses behind the recipients, in the same allocation. (It cannot embed
 * the task, which ends in a flexible array.) */
struct task_memory {
    _Alignas(_Alignof(max_align_t)) size_t text_size;
    size_t text_used; /* so far */
    uint8_t *text;
};

static struct task_memory *memory_of(struct delivery_task *t)
{
    return (struct task_memory *)(void *)t - 1;
}

static struct delivery_task *task_of(struct task_memory *memory)
{
    return (struct delivery_task *)(void *)(memory + 1);
}

struct delivery_task *delivery_task_create(uint32_t recipient_count, size_t text_len)
{
    size_t head = sizeof(struct task_memory) + sizeof(struct delivery_task)
                  + (size_t)recipient_count * sizeof(struct delivery_recipient);
    struct task_memory *memory = mem_zalloc(head + text_len);
    struct delivery_task *t = task_of(memory);

    memory->text = (uint8_t *)memory + head;
    memory->text_size = text_len;
    t->recipient_count = recipient_count;
    list_init(&t->node);
    return t;
}

struct slice delivery_task_text(struct delivery_task *t, struct slice text, bool fold)
{
    struct task_memory *memory = memory_of(t);
    uint8_t *to = memory->text + memory->text_used;

    ASSERT(text.len <= memory->text_size - memory->text_used);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        to[i] = fold && c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
    }
    memory->text_used += text.len;
    return slice_of(to, text.len);
}

void delivery_task_free(struct delivery_task *t)
{
    if (t == NULL)
        return;
    for (uint32_t i = 0; i < t->recipient_count; i++)
        mem_free((void *)(uintptr_t)t->recipients[i].text.data);
    mem_free((void *)(uintptr_t)t->site.data);
    mem_free(t->sts);
    mem_free(memory_of(t));
}

/* A peer's words go into logs, the queue's listing and bounces: one line, printable. */
static struct slice clean_copy(struct slice text)
{
    size_t len = text.len < DELIVERY_TEXT_MAX ? text.len : DELIVERY_TEXT_MAX;
    uint8_t *copy;

    if (len == 0)
        return SLICE_NULL;
    copy = mem_dup(text.data, len);
    for (size_t i = 0; i < len; i++) {
        if (copy[i] == '\n' || copy[i] == '\t')
            copy[i] = ' ';
        else if (copy[i] < 0x20 || copy[i] == 0x7f)
            copy[i] = '?';
    }
    return slice_of(copy, len);
}

void delivery_task_set(struct delivery_task *t, uint32_t i, enum delivery_status status,
                       uint16_t code, const uint16_t *enhanced, struct slice text)
{
    struct delivery_recipient *r = &t->recipients[i];

    ASSERT(i < t->recipient_count && status != DELIVERY_PENDING);
    mem_free((void *)(uintptr_t)r->text.data);
    r->status = (uint8_t)status;
    r->scope = DELIVERY_SCOPE_RECIPIENT;
    r->code = code;
    for (int k = 0; k < 3; k++)
        r->enhanced[k] = enhanced != NULL ? enhanced[k] : 0;
    r->text = clean_copy(text);
}

void delivery_task_set_all(struct delivery_task *t, enum delivery_status status, uint16_t code,
                           const uint16_t *enhanced, struct slice text)
{
    for (uint32_t i = 0; i < t->recipient_count; i++) {
        if (t->recipients[i].status == DELIVERY_PENDING)
            delivery_task_set(t, i, status, code, enhanced, text);
    }
}

const struct conf_retry *delivery_task_retry(const struct delivery_task *t)
{
    return t->route->retry.intervals.count > 0 ? &t->route->retry : &t->conf->retry;
}

void delivery_task_set_because(struct delivery_task *t, enum delivery_status status,
                               const struct delivery_reason *why)
{
    for (uint32_t i = 0; i < t->recipient_count; i++) {
        if (t->recipients[i].status != DELIVERY_PENDING)
            continue;
        delivery_task_set(t, i, status, why->code, why->enhanced, slice_str(why->text));
        t->recipients[i].scope = (uint8_t)why->scope;
    }
}

/* There was no session at all. */
static void set_site_all(struct delivery_task *t, enum delivery_status status, uint16_t code,
                         const uint16_t *enhanced, struct slice text)
{
    for (uint32_t i = 0; i < t->recipient_count; i++) {
        if (t->recipients[i].status != DELIVERY_PENDING)
            continue;
        delivery_task_set(t, i, status, code, enhanced, text);
        t->recipients[i].scope = DELIVERY_SCOPE_SITE;
    }
}

static void task_send(struct delivery *d, struct delivery_task *t, unsigned shard)
{
    if (shard == d->o.shard)
        delivery_receive(d, t);
    else
        d->o.post(d->o.context, shard, t);
}

unsigned delivery_task_owner(const struct delivery *d, struct slice key)
{
    return (unsigned)(hash_stable(key) % d->o.shards);
}

void delivery_task_route(const struct delivery_task *t, struct buf *out)
{
    (void)buf_printf(out, "%zu", (size_t)(t->route - t->conf->routes));
    if (t->conf->generation > 0)
        (void)buf_printf(out, ".%u", t->conf->generation);
    (void)buf_append_byte(out, ' ');
}

static const char *kind_word(const struct conf_destination *to)
{
    if (to->kind == CONF_TO_SMTP)
        return "smtp ";
    return to->host.len > 0 ? "lmtp " : "unix ";
}

/* The site of a host needs no lookup. (An MX site's key is made where the domain's MX was asked.) */
void delivery_task_name_site(struct delivery_task *t)
{
    const struct conf_destination *to = &t->to[t->to_next];
    struct delivery_demand demand = delivery_demand_of(t);
    struct buf key;

    buf_init(&key, 0);
    (void)buf_append_str(&key, kind_word(to));
    delivery_task_route(t, &key);
    delivery_demand_word(&demand, &key);
    if (to->host.len > 0)
        (void)buf_printf(&key, " %.*s %u", SLICE_ARG(to->host), (unsigned)to->port);
    else
        (void)buf_printf(&key, " %.*s", SLICE_ARG(to->path));
    mem_free((void *)(uintptr_t)t->site.data);
    t->site = slice_of(mem_dup(key.data + key.head, buf_len(&key)), buf_len(&key));
    t->resolved = true;
    buf_finish(&key);
}

void delivery_task_submit(struct delivery *d, struct delivery_task *t)
{
    const struct conf_destination *to = &t->to[t->to_next];

    switch (to->kind) {
    case CONF_TO_MX:
        task_send(d, t, delivery_task_owner(d, t->resolved ? t->site : t->domain));
        return;
    case CONF_TO_SMTP:
    case CONF_TO_LMTP:
        delivery_task_name_site(t);
        task_send(d, t, delivery_task_owner(d, t->site));
        return;
    case CONF_TO_MAILDIR:
    case CONF_TO_DISCARD:
    case CONF_TO_REJECT: task_send(d, t, t->origin); return;
    }
    UNREACHABLE();
}

static void receive_at_origin(struct delivery *d, struct delivery_task *t)
{
    static const uint16_t rejected[3] = {5, 7, 1};
    const struct conf_destination *to = &t->to[t->to_next];

    for (uint32_t i = 0; i < t->recipient_count; i++)
        t->recipients[i].final = true;
    switch (to->kind) {
    case CONF_TO_MAILDIR: delivery_maildir(d, t); return;
    case CONF_TO_DISCARD:
        delivery_task_set_all(t, DELIVERY_DONE, 0, NULL, SLICE_LITERAL("discarded"));
        break;
    case CONF_TO_REJECT: delivery_task_set_all(t, DELIVERY_FAILED, 550, rejected, to->text); break;
    case CONF_TO_MX:
    case CONF_TO_SMTP:
    case CONF_TO_LMTP: UNREACHABLE();
    }
    delivery_task_finish(d, t);
}

static bool is_remote(const struct conf_destination *to)
{
    switch (to->kind) {
    case CONF_TO_MX:
    case CONF_TO_SMTP:
    case CONF_TO_LMTP: return true;
    case CONF_TO_MAILDIR:
    case CONF_TO_DISCARD:
    case CONF_TO_REJECT: return false;
    }
    UNREACHABLE();
}

void delivery_receive(struct delivery *d, struct delivery_task *t)
{
    if (t->returning) {
        ASSERT(t->origin == d->o.shard);
        delivery_outcome(d, t);
        return;
    }
    d->tasks++;
    if (d->stopping) {
        delivery_task_postpone(d, t, 0, SLICE_LITERAL("shutting down"));
    } else if (t->conf->generation < d->o.conf->generation) {
        /* Its origin is about to know, too. (One that is ahead of us brings its configuration along.) */
        delivery_task_postpone(d, t, 0, SLICE_LITERAL("the configuration has changed"));
    } else if (!is_remote(&t->to[t->to_next])) {
        receive_at_origin(d, t);
    } else if (!t->resolved) {
        delivery_mx(d, t);
    } else {
        delivery_site_submit(d, t);
    }
}

void delivery_task_postpone(struct delivery *d, struct delivery_task *t, uint64_t ms,
                            struct slice text)
{
    t->postpone_ms = ms;
    delivery_task_set_all(t, DELIVERY_POSTPONED, 0, NULL, text);
    delivery_task_finish(d, t);
}

void delivery_task_park(struct delivery *d, struct delivery_task *t, uint64_t down_ms,
                        uint16_t code, const uint16_t *enhanced, struct slice text)
{
    t->parked = true;
    t->down = down_ms > 0;
    t->postpone_ms = down_ms;
    set_site_all(t, DELIVERY_POSTPONED, code, enhanced, text);
    delivery_task_finish(d, t);
}

void delivery_task_finish(struct delivery *d, struct delivery_task *t)
{
    for (uint32_t i = 0; i < t->recipient_count; i++)
        ASSERT(t->recipients[i].status != DELIVERY_PENDING);
    ASSERT(d->tasks > 0);
    d->tasks--;
    t->returning = true;
    task_send(d, t, t->origin);
}

/* A call-out has nobody to ask here. */
static bool has_next(const struct delivery_task *t)
{
    uint32_t next = t->to_next + 1;

    return next < t->to_count && (t->probe == NULL || is_remote(&t->to[next]));
}

void delivery_task_unreachable(struct delivery *d, struct delivery_task *t, uint16_t code,
                               const uint16_t *enhanced, struct slice text)
{
    if (has_next(t)) {
        ASSERT(d->tasks > 0);
        d->tasks--; /* it is received again */
        t->to_next++;
        t->resolved = false;
        delivery_task_submit(d, t);
        return;
    }
    set_site_all(t, DELIVERY_DEFERRED, code, enhanced, text);
    delivery_task_finish(d, t);
}
