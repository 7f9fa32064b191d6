/*
 * spool_envelope: what stands in a message record behind its part of the body. spool_payload has the
 * other payloads.
 *
 * 0 flags, 2 parts, 4 arrived, 8 body length, 16 recipients, 20 extents, 24 sender's length, 26 facts'
 * length, 28 length of the recipients' texts; then the sum, if the parts say so, a row a recipient,
 * sender, facts, recipients, the part for notices, the terms. The extents stand behind, at the end of
 * the record.
 */
#include "base_assert.h"
#include "base_crc32c.h"
#include "base_hash.h"
#include "spool_format_priv.h"

enum { SUM_LEN = 4, ENVID_LEN = 2 };

/* ---- encoding ----------------------------------------------------------------------------- */

static bool dsn_says_something(const struct spool_envelope *e)
{
    if (e->envid.len > 0)
        return true;
    for (uint32_t i = 0; i < e->recipient_count && e->dsn; i++) {
        if (e->dsn[i].notify != 0 || e->dsn[i].orcpt.len > 0)
            return true;
    }
    return false;
}

static uint16_t parts_of(const struct spool_envelope *e)
{
    return (uint16_t)(SPOOL_PART_SUM | (dsn_says_something(e) ? SPOOL_PART_DSN : 0)
                      | (spool_terms_any(&e->terms) ? SPOOL_PART_TERMS : 0));
}

size_t spool_envelope_len(const struct spool_envelope *e)
{
    if (e->sender.len > SPOOL_TEXT_MAX || e->facts.len > SPOOL_TEXT_MAX
        || e->envid.len > SPOOL_TEXT_MAX || e->recipient_count > SPOOL_BATCH_LEN_MAX)
        return 0;
    uint16_t parts = parts_of(e);
    size_t len = SPOOL_ENVELOPE_FIXED + SUM_LEN + e->sender.len + e->facts.len
                 + (size_t)e->recipient_count * SPOOL_ENVELOPE_RECIPIENT;
    for (uint32_t i = 0; i < e->recipient_count; i++) {
        if (e->recipients[i].len > SPOOL_TEXT_MAX
            || (e->dsn && e->dsn[i].orcpt.len > SPOOL_TEXT_MAX))
            return 0;
        len += e->recipients[i].len;
        if (parts & SPOOL_PART_DSN)
            len += SPOOL_ENVELOPE_DSN + (e->dsn ? e->dsn[i].orcpt.len : 0);
    }
    len += parts & SPOOL_PART_DSN ? ENVID_LEN + e->envid.len : 0;
    len += parts & SPOOL_PART_TERMS ? SPOOL_TERMS_LEN : 0;
    return len;
}

static uint8_t *put_slice(uint8_t *out, struct slice s)
{
    if (s.len > 0)
        memcpy(out, s.data, s.len);
    return out + s.len;
}

static uint8_t *put_dsn(const struct spool_envelope *e, uint8_t *out)
{
    uint8_t *text = out + ENVID_LEN + (size_t)e->recipient_count * SPOOL_ENVELOPE_DSN;

    put_le16(out, (uint16_t)e->envid.len);
    out += ENVID_LEN;
    text = put_slice(text, e->envid);
    for (uint32_t i = 0; i < e->recipient_count; i++, out += SPOOL_ENVELOPE_DSN) {
        const struct spool_dsn none = {0}, *dsn = e->dsn ? &e->dsn[i] : &none;

        out[0] = dsn->notify;
        put_le16(out + 1, (uint16_t)dsn->orcpt.len);
        text = put_slice(text, dsn->orcpt);
    }
    return text;
}

/* Each recipient's row as it is in the beginning: 0 state, 1 flags, 2 attempts, 4 due, 8 length of its
 * text. */
static uint8_t *put_rows(const struct spool_envelope *e, uint8_t *row)
{
    for (uint32_t i = 0; i < e->recipient_count; i++, row += SPOOL_ENVELOPE_RECIPIENT) {
        const struct spool_recipient r = {
            .state = SPOOL_RECIPIENT_WAITING,
            .due_s = e->hold_until_s,
            .attempts = e->attempts ? e->attempts[i] : 0,
            .flags = (uint8_t)((e->hold_until_s != 0 ? SPOOL_RECIPIENT_HELD : 0)
                               | (e->dsn ? e->dsn[i].flags & SPOOL_RECIPIENT_EXPANDED : 0)),
        };

        spool_recipient_state_encode(&r, row);
        put_le16(row + 8, (uint16_t)e->recipients[i].len);
    }
    return row;
}

void spool_envelope_encode(const struct spool_envelope *e, uint8_t *out)
{
    uint16_t parts = parts_of(e);
    uint32_t text_len = 0;

    memset(out, 0, SPOOL_ENVELOPE_FIXED + SUM_LEN);
    put_le16(out, e->flags);
    put_le16(out + 2, parts);
    put_le32(out + 4, e->arrived_s);
    put_le32(out + 16, e->recipient_count);
    put_le16(out + 24, (uint16_t)e->sender.len);
    put_le16(out + 26, (uint16_t)e->facts.len);
    for (uint32_t i = 0; i < e->recipient_count; i++)
        text_len += (uint32_t)e->recipients[i].len;
    put_le32(out + 28, text_len);

    uint8_t *at = put_rows(e, out + SPOOL_ENVELOPE_FIXED + SUM_LEN);
    at = put_slice(at, e->sender);
    at = put_slice(at, e->facts);
    for (uint32_t i = 0; i < e->recipient_count; i++)
        at = put_slice(at, e->recipients[i]);
    if (parts & SPOOL_PART_DSN)
        at = put_dsn(e, at);
    if (parts & SPOOL_PART_TERMS)
        spool_terms_encode(&e->terms, at);
}

void spool_envelope_set_body(uint8_t *block, uint64_t body_len, uint32_t extents)
{
    put_le64(block + 8, body_len);
    put_le32(block + 20, extents);
}

/* Of the id, so that no other message's block passes for this one's, and of all but the sum itself. */
static uint32_t envelope_sum(const uint8_t *block, size_t len, uint64_t id)
{
    const size_t behind = SPOOL_ENVELOPE_FIXED + SUM_LEN;
    uint8_t text[8];

    put_le64(text, id);
    uint32_t crc = crc32c(crc32c(0, text, sizeof(text)), block, SPOOL_ENVELOPE_FIXED);
    return crc32c(crc, block + behind, len - behind);
}

void spool_envelope_seal(uint8_t *block, size_t len, uint64_t id)
{
    if (get_le16(block + 2) & SPOOL_PART_SUM)
        put_le32(block + SPOOL_ENVELOPE_FIXED, envelope_sum(block, len, id));
}

bool spool_envelope_sum_is_right(const uint8_t *block, size_t len, uint64_t id)
{
    return !(get_le16(block + 2) & SPOOL_PART_SUM)
           || (len >= SPOOL_ENVELOPE_FIXED + SUM_LEN
               && get_le32(block + SPOOL_ENVELOPE_FIXED) == envelope_sum(block, len, id));
}

void spool_extent_entry_encode(uint64_t segment, uint32_t offset, uint32_t body_len, uint8_t *out)
{
    put_le64(out, segment);
    put_le32(out + 8, offset);
    put_le32(out + 12, body_len);
}

struct spool_extent_entry spool_extent_entry_decode(const uint8_t *in)
{
    return (struct spool_extent_entry){
        .segment = get_le64(in),
        .offset = get_le32(in + 8),
        .body_len = get_le32(in + 12),
    };
}

void spool_recipient_state_encode(const struct spool_recipient *r, uint8_t *state)
{
    state[0] = r->state;
    state[1] = r->flags & SPOOL_RECIPIENT_LOGGED;
    put_le16(state + 2, r->attempts);
    put_le32(state + 4, r->due_s);
}

/* ---- decoding ----------------------------------------------------------------------------- */

/* Bytes from the front of *rest, or NULL. */
static const uint8_t *take(struct slice *rest, uint64_t len)
{
    const uint8_t *at = rest->data;

    if (len > rest->len)
        return NULL;
    slice_advance(rest, (size_t)len);
    return at;
}

static bool take_dsn(struct slice *rest, struct spool_message_view *v)
{
    const uint8_t *envid_len = take(rest, ENVID_LEN);
    uint64_t orcpts_len = 0;

    if (!envid_len)
        return false;
    v->dsn = take(rest, (uint64_t)v->recipient_count * SPOOL_ENVELOPE_DSN);
    if (!v->dsn)
        return false;
    v->envid = slice_of(take(rest, get_le16(envid_len)), get_le16(envid_len));
    for (uint32_t i = 0; i < v->recipient_count; i++)
        orcpts_len += get_le16(v->dsn + (size_t)i * SPOOL_ENVELOPE_DSN + 1);
    v->orcpts = v->envid.data ? take(rest, orcpts_len) : NULL;
    return v->orcpts != NULL;
}

/* The rows' texts are as long as they say together. */
static bool rows_add_up(const struct spool_message_view *v, uint64_t text_len)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < v->recipient_count; i++)
        sum += spool_message_recipient_len(v, i);
    return sum == text_len;
}

bool spool_envelope_decode(const uint8_t *block, size_t len, struct spool_message_view *out)
{
    struct slice rest = slice_of(block, len);
    const uint8_t *fixed = take(&rest, SPOOL_ENVELOPE_FIXED);

    if (!fixed || (get_le16(block + 2) & ~SPOOL_PARTS_KNOWN) != 0)
        return false;
    uint16_t parts = get_le16(block + 2);
    uint16_t sender_len = get_le16(block + 24), facts_len = get_le16(block + 26);
    uint32_t text_len = get_le32(block + 28);
    struct spool_message_view v = {
        .flags = get_le16(block),
        .arrived_s = get_le32(block + 4),
        .body_len = get_le64(block + 8),
        .recipient_count = get_le32(block + 16),
        .extent_count = get_le32(block + 20),
    };

    if ((parts & SPOOL_PART_SUM) && !take(&rest, SUM_LEN))
        return false;
    v.states = take(&rest, (uint64_t)v.recipient_count * SPOOL_ENVELOPE_RECIPIENT);
    if (!v.states || !rows_add_up(&v, text_len))
        return false;
    v.sender = slice_of(take(&rest, sender_len), sender_len);
    v.facts = slice_of(v.sender.data ? take(&rest, facts_len) : NULL, facts_len);
    v.recipients = v.facts.data ? take(&rest, text_len) : NULL;
    if (!v.recipients || ((parts & SPOOL_PART_DSN) && !take_dsn(&rest, &v)))
        return false;
    if (parts & SPOOL_PART_TERMS) {
        v.terms_at = take(&rest, SPOOL_TERMS_LEN);
        if (!v.terms_at)
            return false;
        v.terms = spool_terms_decode(v.terms_at);
    }
    v.block_len = (uint32_t)(rest.data - block);
    v.extents = rest.data;
    if (rest.len != (uint64_t)v.extent_count * SPOOL_EXTENT_ENTRY)
        return false;
    *out = v;
    return true;
}

bool spool_message_decode(const struct spool_record *r, struct spool_message_view *out)
{
    if (r->type != SPOOL_RECORD_MESSAGE || r->aux > r->payload_len
        || !spool_envelope_decode(r->payload + r->aux, r->payload_len - r->aux, out))
        return false;
    out->body = slice_of(r->payload, r->aux);
    return true;
}

bool spool_message_sums(const struct spool_message_view *v)
{
    uint64_t len = v->body.len;

    for (uint32_t i = 0; i < v->extent_count; i++)
        len += spool_extent_entry_decode(v->extents + (size_t)i * SPOOL_EXTENT_ENTRY).body_len;
    return len == v->body_len;
}

uint16_t spool_message_recipient_len(const struct spool_message_view *v, uint32_t index)
{
    return get_le16(v->states + (size_t)index * SPOOL_ENVELOPE_RECIPIENT + 8);
}

void spool_message_recipient(const struct spool_message_view *v, uint32_t index,
                             struct spool_recipient *out)
{
    const uint8_t *row = v->states + (size_t)index * SPOOL_ENVELOPE_RECIPIENT;

    *out = (struct spool_recipient){
        .state = spool_state_checked(row[0]),
        .flags = row[1] & SPOOL_RECIPIENT_LOGGED,
        .attempts = get_le16(row + 2),
        .due_s = get_le32(row + 4),
    };
}

void spool_message_recipients(const struct spool_message_view *v, struct slice *out)
{
    const uint8_t *text = v->recipients;

    for (uint32_t i = 0; i < v->recipient_count; i++) {
        out[i] = slice_of(text, spool_message_recipient_len(v, i));
        text += out[i].len;
    }
}

void spool_message_dsn(const struct spool_message_view *v, struct spool_dsn *out)
{
    const uint8_t *row = v->dsn, *text = v->orcpts;

    for (uint32_t i = 0; i < v->recipient_count; i++) {
        struct spool_recipient r;

        spool_message_recipient(v, i, &r);
        out[i] = (struct spool_dsn){.flags = r.flags & SPOOL_RECIPIENT_EXPANDED};
        if (!row)
            continue;
        out[i].notify = row[0];
        out[i].orcpt = slice_of(text, get_le16(row + 1));
        text += out[i].orcpt.len;
        row += SPOOL_ENVELOPE_DSN;
    }
}

/* ---- changing ----------------------------------------------------------------------------- */

bool spool_envelope_grows(const struct spool_message_view *v, const struct spool_message *m)
{
    return !v->terms_at && spool_terms_any(&m->terms);
}

size_t spool_envelope_update(uint8_t *block, const struct spool_message_view *v,
                             const struct spool_message *m)
{
    uint8_t *row = block + (v->states - block);
    size_t len = v->block_len;

    ASSERT(m->recipient_count == v->recipient_count);
    for (uint32_t i = 0; i < m->recipient_count; i++, row += SPOOL_ENVELOPE_RECIPIENT)
        spool_recipient_state_encode(&m->recipients[i], row);
    if (v->terms_at) {
        spool_terms_encode(&m->terms, block + (v->terms_at - block));
    } else if (spool_envelope_grows(v, m)) {
        put_le16(block + 2, get_le16(block + 2) | SPOOL_PART_TERMS);
        spool_terms_encode(&m->terms, block + len);
        len += SPOOL_TERMS_LEN;
    }
    spool_envelope_seal(block, len, m->id);
    return len;
}

/* ---- into memory -------------------------------------------------------------------------- */

static uint32_t hash_text(struct slice text)
{
    return text.len > 0 ? (uint32_t)hash_stable_nocase(text) : 0;
}

static uint32_t hash_domain(struct slice address)
{
    const uint8_t *at = address.len > 0 ? memrchr(address.data, '@', address.len) : NULL;

    if (at)
        slice_advance(&address, (size_t)(at + 1 - address.data));
    return at ? hash_text(address) : 0;
}

void spool_message_hash(struct spool_message *m, const struct spool_message_view *v)
{
    m->sender_hash = hash_text(v->sender);
    m->sender_domain_hash = hash_domain(v->sender);
    m->domain_hash = 0;
    if (v->recipient_count > 0)
        m->domain_hash = hash_domain(slice_of(v->recipients, spool_message_recipient_len(v, 0)));
}

void spool_message_take(struct spool_message *m, const struct spool_message_view *v)
{
    ASSERT(m->recipient_count == v->recipient_count);
    m->arrived_s = v->arrived_s;
    m->flags = v->flags;
    m->body_len = v->body_len;
    m->terms = v->terms;
    spool_message_hash(m, v);
    for (uint32_t i = 0; i < v->recipient_count; i++)
        spool_message_recipient(v, i, &m->recipients[i]);
}
