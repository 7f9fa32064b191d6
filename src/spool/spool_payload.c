/*
 * spool_payload: what records hold: messages, outcomes, parts of a checkpoint. The other half of
 * spool_format.
 */
#include "base_assert.h"
#include "spool_format_priv.h"

/* ---- message ------------------------------------------------------------------------------ */

/* Envelope block: 0 flags, 4 arrived, 8 body length, 16 recipients, 20 extents, 24 sender's length,
 * 26 facts' length, 28 length of the recipients' texts; then a row a recipient, sender, facts,
 * recipients. The extents stand behind, at the end of the record. */

size_t spool_envelope_len(const struct spool_envelope *e)
{
    if (e->sender.len > SPOOL_TEXT_MAX || e->facts.len > SPOOL_TEXT_MAX
        || e->recipient_count > SPOOL_BATCH_LEN_MAX)
        return 0;
    size_t len = SPOOL_ENVELOPE_FIXED + e->sender.len + e->facts.len
                 + (size_t)e->recipient_count * SPOOL_ENVELOPE_RECIPIENT;
    for (uint32_t i = 0; i < e->recipient_count; i++) {
        if (e->recipients[i].len > SPOOL_TEXT_MAX)
            return 0;
        len += e->recipients[i].len;
    }
    return len;
}

static uint8_t *put_slice(uint8_t *out, struct slice s)
{
    if (s.len > 0)
        memcpy(out, s.data, s.len);
    return out + s.len;
}

void spool_envelope_encode(const struct spool_envelope *e, uint64_t body_len, uint32_t extents,
                           uint8_t *out)
{
    uint8_t *state = out + SPOOL_ENVELOPE_FIXED;
    uint8_t *text = state + (size_t)e->recipient_count * SPOOL_ENVELOPE_RECIPIENT;
    uint32_t text_len = 0;

    memset(out, 0, SPOOL_ENVELOPE_FIXED);
    put_le16(out, e->flags);
    put_le32(out + 4, e->arrived_s);
    put_le32(out + 16, e->recipient_count);
    put_le16(out + 24, (uint16_t)e->sender.len);
    put_le16(out + 26, (uint16_t)e->facts.len);
    spool_envelope_set_body(out, body_len, extents);
    text = put_slice(text, e->sender);
    text = put_slice(text, e->facts);
    for (uint32_t i = 0; i < e->recipient_count; i++) {
        memset(state, 0, SPOOL_ENVELOPE_RECIPIENT);
        put_le16(state + 8, (uint16_t)e->recipients[i].len);
        state += SPOOL_ENVELOPE_RECIPIENT;
        text = put_slice(text, e->recipients[i]);
        text_len += (uint32_t)e->recipients[i].len;
    }
    put_le32(out + 28, text_len);
}

void spool_envelope_set_body(uint8_t *block, uint64_t body_len, uint32_t extents)
{
    put_le64(block + 8, body_len);
    put_le32(block + 20, extents);
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

bool spool_message_decode(const struct spool_record *r, struct spool_message_view *out)
{
    if (r->type != SPOOL_RECORD_MESSAGE || r->payload_len < SPOOL_ENVELOPE_FIXED
        || r->aux > r->payload_len - SPOOL_ENVELOPE_FIXED)
        return false;
    const uint8_t *block = r->payload + r->aux;
    struct spool_message_view v = {
        .body = slice_of(r->payload, r->aux),
        .flags = get_le16(block),
        .arrived_s = get_le32(block + 4),
        .body_len = get_le64(block + 8),
        .recipient_count = get_le32(block + 16),
        .extent_count = get_le32(block + 20),
    };
    uint64_t text_len = get_le32(block + 28);
    uint64_t sender_len = get_le16(block + 24), facts_len = get_le16(block + 26);
    uint64_t states_len = (uint64_t)v.recipient_count * SPOOL_ENVELOPE_RECIPIENT;
    uint64_t extents_len = (uint64_t)v.extent_count * SPOOL_EXTENT_ENTRY;
    uint64_t len = SPOOL_ENVELOPE_FIXED + states_len + sender_len + facts_len + text_len
                   + extents_len + r->aux;

    if (len != r->payload_len)
        return false;
    v.states = block + SPOOL_ENVELOPE_FIXED;
    v.sender = slice_of(v.states + states_len, sender_len);
    v.facts = slice_of(v.sender.data + sender_len, facts_len);
    v.recipients = v.facts.data + facts_len;
    v.extents = v.recipients + text_len;
    for (uint32_t i = 0; i < v.recipient_count; i++) {
        uint16_t one = spool_message_recipient_len(&v, i);

        if (one > text_len)
            return false;
        text_len -= one;
    }
    if (text_len != 0)
        return false;
    *out = v;
    return true;
}

bool spool_message_sums(const struct spool_message_view *v)
{
    uint64_t len = v->body.len;

    for (uint32_t i = 0; i < v->extent_count; i++)
        len += spool_extent_entry_decode(v->extents + (size_t)i * SPOOL_EXTENT_ENTRY).body_len;
    return len == v->body_len;
}

/* A recipient's row: 0 state, 2 attempts, 4 due, 8 length of its text. */

uint16_t spool_message_recipient_len(const struct spool_message_view *v, uint32_t index)
{
    return get_le16(v->states + (size_t)index * SPOOL_ENVELOPE_RECIPIENT + 8);
}

static uint8_t state_checked(uint8_t state)
{
    /* An unknown state is work rather than silence. */
    return state <= SPOOL_RECIPIENT_DELETED ? state : SPOOL_RECIPIENT_WAITING;
}

void spool_message_recipient(const struct spool_message_view *v, uint32_t index,
                             struct spool_recipient *out)
{
    const uint8_t *row = v->states + (size_t)index * SPOOL_ENVELOPE_RECIPIENT;

    *out = (struct spool_recipient){
        .state = state_checked(row[0]),
        .attempts = get_le16(row + 2),
        .due_s = get_le32(row + 4),
    };
}

void spool_recipient_state_encode(const struct spool_recipient *r, uint8_t *state)
{
    state[0] = r->state;
    state[1] = 0;
    put_le16(state + 2, r->attempts);
    put_le32(state + 4, r->due_s);
}

/* ---- outcome ------------------------------------------------------------------------------ */

size_t spool_outcome_entry_encode(const struct spool_outcome_entry *e, uint8_t *out)
{
    ASSERT(e->text.len <= SPOOL_OUTCOME_TEXT_MAX);
    put_le32(out, e->recipient);
    out[4] = e->state;
    out[5] = e->counts;
    put_le16(out + 6, e->attempts);
    put_le32(out + 8, e->due_s);
    put_le32(out + 12, (uint32_t)e->text.len);
    put_slice(out + SPOOL_OUTCOME_ENTRY, e->text);
    return SPOOL_OUTCOME_ENTRY + e->text.len;
}

bool spool_outcome_entry_decode(struct slice *payload, struct spool_outcome_entry *out)
{
    if (payload->len < SPOOL_OUTCOME_ENTRY)
        return false;
    const uint8_t *in = payload->data;
    uint32_t text_len = get_le32(in + 12);
    if (text_len > payload->len - SPOOL_OUTCOME_ENTRY)
        return false;
    *out = (struct spool_outcome_entry){
        .recipient = get_le32(in),
        .state = state_checked(in[4]),
        .counts = in[5] != 0,
        .attempts = get_le16(in + 6),
        .due_s = get_le32(in + 8),
        .text = slice_of(in + SPOOL_OUTCOME_ENTRY, text_len),
    };
    slice_advance(payload, SPOOL_OUTCOME_ENTRY + text_len);
    return true;
}

/* ---- checkpoint part ---------------------------------------------------------------------- */

/* 0 id, 8 segment, 16 offset, 20 record's length, 24 body's length, 32 arrived, 36 flags,
 * 40 recipients, 44 extents, 48 reserved; then 8 bytes a recipient: 0 due, 4 attempts, 6 state. */

size_t spool_part_entry_len(uint32_t recipient_count, uint32_t extent_count)
{
    return SPOOL_PART_FIXED + (size_t)recipient_count * SPOOL_PART_RECIPIENT
           + (size_t)extent_count * SPOOL_EXTENT_ENTRY;
}

uint8_t *spool_part_entry_encode(const struct spool_message *m, uint64_t segment, uint8_t *out)
{
    memset(out, 0, SPOOL_PART_FIXED);
    put_le64(out, m->id);
    put_le64(out + 8, segment);
    put_le32(out + 16, m->offset);
    put_le32(out + 20, m->record_len);
    put_le64(out + 24, m->body_len);
    put_le32(out + 32, m->arrived_s);
    put_le16(out + 36, m->flags);
    put_le32(out + 40, m->recipient_count);
    put_le32(out + 44, m->extent_count);
    out += SPOOL_PART_FIXED;
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        put_le32(out, m->recipients[i].due_s);
        put_le16(out + 4, m->recipients[i].attempts);
        out[6] = m->recipients[i].state;
        out[7] = 0;
        out += SPOOL_PART_RECIPIENT;
    }
    return out;
}

bool spool_part_entry_decode(struct slice *payload, struct spool_part_entry *out)
{
    if (payload->len < SPOOL_PART_FIXED)
        return false;
    const uint8_t *in = payload->data;
    struct spool_part_entry e = {
        .id = get_le64(in),
        .segment = get_le64(in + 8),
        .offset = get_le32(in + 16),
        .record_len = get_le32(in + 20),
        .body_len = get_le64(in + 24),
        .arrived_s = get_le32(in + 32),
        .flags = get_le16(in + 36),
        .recipient_count = get_le32(in + 40),
        .extent_count = get_le32(in + 44),
        .recipients = in + SPOOL_PART_FIXED,
    };
    uint64_t len = (uint64_t)SPOOL_PART_FIXED + (uint64_t)e.recipient_count * SPOOL_PART_RECIPIENT
                   + (uint64_t)e.extent_count * SPOOL_EXTENT_ENTRY;

    if (len > payload->len)
        return false;
    e.extents = e.recipients + (size_t)e.recipient_count * SPOOL_PART_RECIPIENT;
    *out = e;
    slice_advance(payload, (size_t)len);
    return true;
}

void spool_part_recipient(const struct spool_part_entry *e, uint32_t index,
                          struct spool_recipient *out)
{
    const uint8_t *row = e->recipients + (size_t)index * SPOOL_PART_RECIPIENT;

    *out = (struct spool_recipient){
        .due_s = get_le32(row),
        .attempts = get_le16(row + 4),
        .state = state_checked(row[6]),
    };
}
