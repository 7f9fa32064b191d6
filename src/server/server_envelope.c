/* server_envelope: see the header. */
#include "server_envelope_priv.h"

#include "base_assert.h"
#include "base_hash.h"
#include "smtp_address.h"
#include "smtp_dsn.h"

enum { FEW = 16, CAPACITY_FIRST = 4 };

/* ---- which addresses are one ------------------------------------------------------------------ */

static bool is_quoted(struct slice address)
{
    return address.len > 0 && address.data[0] == '"';
}

/* The form under which equal addresses are equal but for the case of letters. */
static struct slice unquoted(struct slice text, struct buf *room)
{
    struct smtp_address address;

    if (!is_quoted(text) || smtp_address_parse(text, SMTP_PATH_UTF8, &address) != SMTP_ADDRESS_OK
        || !smtp_address_canonical(&address, room))
        return text;
    return buf_slice(room);
}

static uint32_t hash_of(struct slice text, uint8_t flags)
{
    struct buf room;
    uint64_t hash;

    buf_init(&room, 0);
    hash = hash_bytes_nocase(unquoted(text, &room));
    buf_finish(&room);
    return (uint32_t)hash ^ flags;
}

/* Of our domains local parts have no case; of others it is theirs to say (RFC 5321 2.4). */
static bool same_mailbox(const struct conf *conf, struct slice a, struct slice b)
{
    ptrdiff_t at = -1;

    if (!slice_equal_nocase(a, b))
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (a.data[i] == '@')
            at = (ptrdiff_t)i;
    if (at < 0 || memcmp(a.data, b.data, (size_t)at) == 0)
        return true;
    slice_advance(&a, (size_t)at + 1);
    return conf_domain_find(conf, a) != NULL;
}

static bool same(const struct envelope *e, uint32_t i, const struct conf *conf, struct slice text,
                 uint8_t flags)
{
    struct buf room_a, room_b;
    bool equal;

    if ((e->dsn != NULL ? e->dsn[i].flags : 0) != flags)
        return false;
    if (!is_quoted(text) && !is_quoted(e->recipients[i]))
        return same_mailbox(conf, e->recipients[i], text);
    buf_init(&room_a, 0);
    buf_init(&room_b, 0);
    equal = same_mailbox(conf, unquoted(e->recipients[i], &room_a), unquoted(text, &room_b));
    buf_finish(&room_a);
    buf_finish(&room_b);
    return equal;
}

/* ---- the index ------------------------------------------------------------------------------ */

#define NOT_THERE UINT32_MAX

static uint32_t find(const struct envelope *e, const struct conf *conf, struct slice text,
                     uint8_t flags)
{
    if (e->index == NULL) {
        for (uint32_t i = 0; i < e->count; i++)
            if (same(e, i, conf, text, flags))
                return i;
        return NOT_THERE;
    }
    for (uint32_t slot = hash_of(text, flags);; slot++) {
        uint32_t i = e->index[slot & (e->index_size - 1)];
        if (i == 0)
            return NOT_THERE;
        if (same(e, i - 1, conf, text, flags))
            return i - 1;
    }
}

static void index_put(struct envelope *e, uint32_t i)
{
    uint32_t slot = hash_of(e->recipients[i], e->dsn != NULL ? e->dsn[i].flags : 0);

    while (e->index[slot & (e->index_size - 1)] != 0)
        slot++;
    e->index[slot & (e->index_size - 1)] = i + 1;
}

static void *grown(struct envelope *e, const void *old, size_t item)
{
    void *memory = arena_alloc(e->arena, e->capacity * item);

    ASSERT(memory != NULL);
    if (old != NULL)
        memcpy(memory, old, e->count * item);
    return memory;
}

static void grow(struct envelope *e)
{
    e->capacity = e->capacity > 0 ? 2 * e->capacity : CAPACITY_FIRST;
    e->recipients = grown(e, e->recipients, sizeof(*e->recipients));
    if (e->dsn != NULL)
        e->dsn = grown(e, e->dsn, sizeof(*e->dsn));
    if (e->capacity <= FEW)
        return;
    e->index_size = 2 * e->capacity;
    e->index = arena_alloc(e->arena, e->index_size * sizeof(*e->index));
    ASSERT(e->index != NULL);
    for (uint32_t i = 0; i < e->count; i++)
        index_put(e, i);
}

/* ---- the face ------------------------------------------------------------------------------- */

static bool fits(uint32_t count, size_t bytes)
{
    return count <= ENVELOPE_RECIPIENTS_MAX && bytes <= ENVELOPE_BYTES_MAX;
}

bool envelope_has_room(const struct envelope *e, const struct conf *conf,
                       const struct slice *addresses, uint32_t count, const struct spool_dsn *dsn,
                       size_t extra)
{
    size_t bytes = e->bytes + (extra > 0 ? ENVELOPE_BYTES_A_RECIPIENT + extra : 0);
    uint32_t added = e->count + (extra > 0);

    /* Mostly there is room for all; who is there already matters only if not. */
    if (count <= ENVELOPE_RECIPIENTS_MAX
        && fits(added + count,
                bytes + count * (ENVELOPE_BYTES_A_RECIPIENT + SMTP_PATH_MAX + dsn->orcpt.len)))
        return true;
    for (uint32_t i = 0; i < count; i++) {
        if (find(e, conf, addresses[i], dsn->flags) != NOT_THERE)
            continue;
        added++;
        bytes += ENVELOPE_BYTES_A_RECIPIENT + addresses[i].len + dsn->orcpt.len;
    }
    return fits(added, bytes);
}

static struct slice keep(struct envelope *e, struct slice text)
{
    struct slice copy = text.len > 0 ? arena_dup(e->arena, text) : SLICE_NULL;

    ASSERT(copy.len == text.len);
    return copy;
}

bool envelope_add(struct envelope *e, const struct conf *conf, struct slice address,
                  const struct spool_dsn *dsn)
{
    bool says_something = dsn->notify != 0 || dsn->orcpt.len > 0 || dsn->flags != 0;
    uint32_t i = find(e, conf, address, dsn->flags);

    if (i != NOT_THERE) {
        if (e->dsn == NULL && dsn->notify != 0)
            e->dsn = grown(e, NULL, sizeof(*e->dsn));
        if (e->dsn != NULL)
            e->dsn[i].notify = envelope_join_notify(e->dsn[i].notify, dsn->notify);
        return false;
    }
    if (e->count == e->capacity)
        grow(e);
    if (e->dsn == NULL && says_something)
        e->dsn = grown(e, NULL, sizeof(*e->dsn));
    i = e->count++;
    e->recipients[i] = keep(e, address);
    if (e->dsn != NULL)
        e->dsn[i] = (struct spool_dsn){keep(e, dsn->orcpt), dsn->notify, dsn->flags};
    e->bytes += ENVELOPE_BYTES_A_RECIPIENT + address.len + dsn->orcpt.len;
    if (e->index != NULL)
        index_put(e, i);
    return true;
}

/* ---- notices -------------------------------------------------------------------------------- */

/* Nothing said is what most say: of failures, and of delays where we see fit (RFC 3461 4.1). */
static uint8_t spelled_out(uint8_t notify)
{
    return notify != 0 ? notify : SPOOL_NOTIFY_FAILURE | SPOOL_NOTIFY_DELAY;
}

uint8_t envelope_join_notify(uint8_t a, uint8_t b)
{
    if (a == b || b == SPOOL_NOTIFY_NEVER)
        return a;
    if (a == SPOOL_NOTIFY_NEVER)
        return b;
    return spelled_out(a) | spelled_out(b);
}

uint8_t envelope_notify_of_targets(uint8_t notify)
{
    uint8_t left = notify & (uint8_t)~SPOOL_NOTIFY_SUCCESS;

    if (notify == left)
        return notify;
    return left != 0 ? left : SPOOL_NOTIFY_NEVER;
}

struct slice envelope_orcpt(struct arena *arena, struct slice address)
{
    static const char type[] = "rfc822;", hex[] = "0123456789ABCDEF";
    uint8_t text[sizeof(type) + 3 * SMTP_PATH_MAX];
    size_t len = sizeof(type) - 1;

    if (address.len > SMTP_PATH_MAX)
        return SLICE_NULL;
    memcpy(text, type, len);
    for (size_t i = 0; i < address.len; i++) {
        uint8_t c = address.data[i];
        if (c >= 127)
            return SLICE_NULL; /* has no such form (RFC 6533 3) */
        if (c > ' ' && c != '+' && c != '=') {
            text[len++] = c;
            continue;
        }
        text[len++] = '+';
        text[len++] = (uint8_t)hex[c >> 4];
        text[len++] = (uint8_t)hex[c & 15];
    }
    return len <= SMTP_ORCPT_MAX ? arena_dup(arena, slice_of(text, len)) : SLICE_NULL;
}
