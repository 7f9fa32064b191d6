/*
 * admin_filter: which messages are meant. First by what memory knows (hashes, age, size, state, reason),
 * which costs nothing; what may then still be meant, or hangs on text that memory does not keep, is
 * looked at with its envelope.
 */
#include "admin_filter_priv.h"

#include "base_hash.h"
#include "routing.h"

/* ---- text ----------------------------------------------------------------------------------- */

static uint8_t fold(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 'a' - 'A') : c;
}

/* After a mismatch the last star takes one character more: no star before it need be tried again. */
bool admin_pattern_match(struct slice pattern, struct slice text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, star_text = 0;

    while (t < text.len) {
        if (p < pattern.len && pattern.data[p] == '*') {
            star = p++;
            star_text = t;
        } else if (p < pattern.len && fold(pattern.data[p]) == fold(text.data[t])) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++star_text;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}

bool admin_contains(struct slice text, struct slice part)
{
    for (; text.len >= part.len; slice_advance(&text, 1)) {
        if (slice_starts_nocase(text, part))
            return true;
        if (text.len == 0)
            break;
    }
    return false;
}

struct slice admin_domain_of(struct slice address)
{
    for (size_t i = address.len; i > 0; i--) {
        if (address.data[i - 1] == '@')
            return slice_of(address.data + i, address.len - i);
    }
    return SLICE_NULL;
}

uint32_t admin_hash(struct slice text)
{
    return text.len > 0 ? (uint32_t)hash_stable_nocase(text) : 0;
}

/* ---- criteria ------------------------------------------------------------------------------- */

bool admin_filter_by_recipient(const struct admin_filter *f)
{
    return f->recipient.len > 0 || f->domain.len > 0 || f->route.len > 0;
}

bool admin_filter_is_set(const struct admin_filter *f)
{
    return f->id_count > 0 || f->sender_kind != ADMIN_SENDER_ANY || admin_filter_by_recipient(f)
           || f->reason.len > 0 || f->older_s > 0 || f->younger_s != UINT64_MAX || f->size_min > 0
           || f->size_max != UINT64_MAX || f->states != 0;
}

const char *admin_state_name(enum admin_state state)
{
    switch (state) {
    case ADMIN_STATE_WAITING: return "waiting";
    case ADMIN_STATE_READY: return "ready";
    case ADMIN_STATE_ACTIVE: return "active";
    case ADMIN_STATE_PARKED: return "parked";
    case ADMIN_STATE_HELD: return "held";
    }
    UNREACHABLE();
}

enum admin_state admin_message_state(const struct spool_message *m)
{
    struct queue_facts facts;

    queue_entry_facts(m->owner, &facts);
    switch (facts.standing) {
    case QUEUE_IS_WAITING: return ADMIN_STATE_WAITING;
    case QUEUE_IS_READY: return ADMIN_STATE_READY;
    case QUEUE_IS_ACTIVE: return ADMIN_STATE_ACTIVE;
    case QUEUE_IS_PARKED: return ADMIN_STATE_PARKED;
    case QUEUE_IS_HELD: return ADMIN_STATE_HELD;
    }
    UNREACHABLE();
}

/* ---- by memory ------------------------------------------------------------------------------ */

static bool is_plain_domain(struct slice domain)
{
    return domain.len > 0 && slice_find(domain, '*') < 0;
}

static bool sender_may_match(const struct admin_filter *f, const struct spool_message *m)
{
    switch (f->sender_kind) {
    case ADMIN_SENDER_ANY: return true;
    case ADMIN_SENDER_ADDRESS: return m->sender_hash == f->sender_hash;
    case ADMIN_SENDER_DOMAIN: return m->sender_domain_hash == f->sender_hash;
    }
    UNREACHABLE();
}

enum admin_match admin_filter_match(const struct admin_filter *f, const struct spool_message *m,
                                    uint32_t now_s)
{
    const struct queue_entry *e = m->owner;
    uint64_t age_s = now_s > m->arrived_s ? now_s - m->arrived_s : 0;

    if (age_s < f->older_s || age_s > f->younger_s || m->body_len < f->size_min
        || m->body_len > f->size_max || !sender_may_match(f, m))
        return ADMIN_MATCH_NO;
    /* The hash is that of the first recipient's domain. */
    if (m->recipient_count == 1 && is_plain_domain(f->domain) && m->domain_hash != f->domain_hash)
        return ADMIN_MATCH_NO;
    if (f->states != 0 && !(f->states & (unsigned)admin_message_state(m)))
        return ADMIN_MATCH_NO;
    if (f->reason.len > 0 && !admin_contains(queue_entry_reason(e), f->reason))
        return ADMIN_MATCH_NO;
    /* Hashes of 32 bits are not proof enough to delete by. */
    if (f->sender_kind != ADMIN_SENDER_ANY || admin_filter_by_recipient(f))
        return ADMIN_MATCH_MAYBE;
    return ADMIN_MATCH_YES;
}

/* ---- by envelope ---------------------------------------------------------------------------- */

void admin_route_name(const struct conf *conf, struct slice sender, struct slice recipient,
                      struct buf *out)
{
    struct routing_way way;

    routing_find(conf, sender, recipient, &way);
    if (way.ours != NULL)
        (void)buf_printf(out, "domain %.*s", SLICE_ARG(way.ours->name));
    else
        (void)buf_append_slice(out, way.route->pattern);
}

static bool route_matches(const struct admin_filter *f, const struct conf *conf,
                          struct slice sender, struct slice recipient)
{
    struct buf name;
    bool same;

    buf_init(&name, 0);
    admin_route_name(conf, sender, recipient, &name);
    same = slice_equal_nocase(buf_slice(&name), f->route);
    buf_finish(&name);
    return same;
}

bool admin_filter_recipient(const struct admin_filter *f, const struct conf *conf,
                            struct slice sender, struct slice recipient)
{
    if (f->recipient.len > 0 && !admin_pattern_match(f->recipient, recipient))
        return false;
    if (f->domain.len > 0 && !admin_pattern_match(f->domain, admin_domain_of(recipient)))
        return false;
    return f->route.len == 0 || route_matches(f, conf, sender, recipient);
}

static bool sender_matches(const struct admin_filter *f, struct slice sender)
{
    switch (f->sender_kind) {
    case ADMIN_SENDER_ANY: return true;
    case ADMIN_SENDER_ADDRESS: return slice_equal_nocase(sender, f->sender);
    case ADMIN_SENDER_DOMAIN: return slice_equal_nocase(admin_domain_of(sender), f->sender);
    }
    UNREACHABLE();
}

bool admin_filter_confirm(const struct admin_filter *f, const struct conf *conf,
                          const struct spool_message *m, struct slice sender,
                          const struct slice *recipients)
{
    if (!sender_matches(f, sender))
        return false;
    if (!admin_filter_by_recipient(f))
        return true;
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        if (m->recipients[i].state == SPOOL_RECIPIENT_WAITING
            && admin_filter_recipient(f, conf, sender, recipients[i]))
            return true;
    }
    return false;
}
