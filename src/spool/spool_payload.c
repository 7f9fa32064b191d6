/*
 * spool_payload: what records hold besides messages: outcomes, terms, parts of a checkpoint. Another
 * part of spool_format.
 */
#include "base_assert.h"
#include "spool_format_priv.h"

/* ---- terms -------------------------------------------------------------------------------- */

/* 0 deliver by, 4 priority. */

void spool_terms_encode(const struct spool_terms *t, uint8_t *out)
{
    put_le32(out, t->deliver_by_s);
    out[4] = (uint8_t)t->priority;
    memset(out + 5, 0, SPOOL_TERMS_LEN - 5);
}

struct spool_terms spool_terms_decode(const uint8_t *in)
{
    return (struct spool_terms){.deliver_by_s = get_le32(in), .priority = (int8_t)in[4]};
}

/* ---- outcome ------------------------------------------------------------------------------ */

size_t spool_outcome_entry_encode(const struct spool_outcome_entry *e, uint8_t *out)
{
    ASSERT(e->text.len <= SPOOL_OUTCOME_TEXT_MAX);
    _Static_assert((int)SPOOL_OUTCOME_TEXT_MAX <= (int)UINT16_MAX, "16 bits hold its length");
    put_le32(out, e->recipient);
    out[4] = e->state;
    out[5] = e->counts;
    put_le16(out + 6, e->attempts);
    put_le32(out + 8, e->due_s);
    put_le16(out + 12, (uint16_t)e->text.len);
    out[14] = e->flags & SPOOL_RECIPIENT_LOGGED;
    out[15] = 0;
    if (e->text.len > 0)
        memcpy(out + SPOOL_OUTCOME_ENTRY, e->text.data, e->text.len);
    return SPOOL_OUTCOME_ENTRY + e->text.len;
}

bool spool_outcome_entry_decode(struct slice *payload, struct spool_outcome_entry *out)
{
    if (payload->len < SPOOL_OUTCOME_ENTRY)
        return false;
    const uint8_t *in = payload->data;
    uint32_t text_len = get_le16(in + 12);
    if (text_len > payload->len - SPOOL_OUTCOME_ENTRY)
        return false;
    *out = (struct spool_outcome_entry){
        .recipient = get_le32(in),
        .state = spool_state_checked(in[4]),
        .flags = in[14] & SPOOL_RECIPIENT_LOGGED, /* version 1: 0 */
        .counts = in[5] != 0,
        .attempts = get_le16(in + 6),
        .due_s = get_le32(in + 8),
        .text = slice_of(in + SPOOL_OUTCOME_ENTRY, text_len),
    };
    slice_advance(payload, SPOOL_OUTCOME_ENTRY + text_len);
    return true;
}

/* ---- checkpoint part ---------------------------------------------------------------------- */

/* 0 id, 8 segment, 16 offset, 20 record's length, 24 body's length, 32 arrived, 36 flags, 38 priority,
 * 40 recipients, 44 extents, 48 hash of the sender, 52 of its domain, 56 of the first recipient's
 * domain, 60 deliver by, 64 number of the text; then 8 bytes a recipient: 0 due, 4 attempts, 6 state,
 * 7 flags; then the extents; then the text, if it is the first entry to name it: 2 bytes of length and
 * the text. Version 1 ends at 56, has nothing from 48 on, no priority and no flags. */

size_t spool_part_entry_len(uint32_t recipient_count, uint32_t extent_count)
{
    return SPOOL_PART_FIXED + (size_t)recipient_count * SPOOL_PART_RECIPIENT
           + (size_t)extent_count * SPOOL_EXTENT_ENTRY;
}

uint8_t *spool_part_entry_encode(const struct spool_message *m, uint64_t segment, uint32_t text,
                                 uint8_t *out)
{
    memset(out, 0, SPOOL_PART_FIXED);
    put_le64(out, m->id);
    put_le64(out + 8, segment);
    put_le32(out + 16, m->offset);
    put_le32(out + 20, m->record_len);
    put_le64(out + 24, m->body_len);
    put_le32(out + 32, m->arrived_s);
    put_le16(out + 36, m->flags);
    out[38] = (uint8_t)m->terms.priority;
    put_le32(out + 40, m->recipient_count);
    put_le32(out + 44, m->extent_count);
    put_le32(out + 48, m->sender_hash);
    put_le32(out + 52, m->sender_domain_hash);
    put_le32(out + 56, m->domain_hash);
    put_le32(out + 60, m->terms.deliver_by_s);
    put_le32(out + 64, text);
    out += SPOOL_PART_FIXED;
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        put_le32(out, m->recipients[i].due_s);
        put_le16(out + 4, m->recipients[i].attempts);
        out[6] = m->recipients[i].state;
        out[7] = m->recipients[i].flags & SPOOL_RECIPIENT_LOGGED;
        out += SPOOL_PART_RECIPIENT;
    }
    return out;
}

/* The text that an entry names: one that is known, or the next one, which stands at the front of
 * *rest. */
static bool part_text(struct slice *rest, uint32_t number, struct spool_part_texts *texts,
                      struct slice *out)
{
    if (number == 0)
        return true;
    if (number <= texts->count) {
        *out = texts->texts[number - 1];
        return true;
    }
    if (number != texts->count + 1 || number > SPOOL_PART_TEXTS_MAX || rest->len < SPOOL_PART_TEXT
        || get_le16(rest->data) > rest->len - SPOOL_PART_TEXT)
        return false;
    *out = slice_of(rest->data + SPOOL_PART_TEXT, get_le16(rest->data));
    slice_advance(rest, SPOOL_PART_TEXT + out->len);
    texts->texts[texts->count++] = *out;
    return true;
}

bool spool_part_entry_decode(struct slice *payload, uint8_t version, struct spool_part_texts *texts,
                             struct spool_part_entry *out)
{
    const uint8_t *in = payload->data;
    struct slice rest = *payload;
    size_t fixed = version == 1 ? SPOOL_PART_FIXED_V1 : SPOOL_PART_FIXED;

    if (payload->len < fixed)
        return false;
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
        .recipients = in + fixed,
    };
    uint64_t rows = (uint64_t)e.recipient_count * SPOOL_PART_RECIPIENT;
    uint64_t extents = (uint64_t)e.extent_count * SPOOL_EXTENT_ENTRY;

    if (fixed + rows + extents > payload->len)
        return false;
    e.extents = e.recipients + (size_t)rows;
    slice_advance(&rest, (size_t)(fixed + rows + extents));
    if (version > 1) {
        e.hashed = true;
        e.terms.priority = (int8_t)in[38];
        e.sender_hash = get_le32(in + 48);
        e.sender_domain_hash = get_le32(in + 52);
        e.domain_hash = get_le32(in + 56);
        e.terms.deliver_by_s = get_le32(in + 60);
        if (!part_text(&rest, get_le32(in + 64), texts, &e.text))
            return false;
    }
    *out = e;
    *payload = rest;
    return true;
}

void spool_part_recipient(const struct spool_part_entry *e, uint32_t index,
                          struct spool_recipient *out)
{
    const uint8_t *row = e->recipients + (size_t)index * SPOOL_PART_RECIPIENT;

    *out = (struct spool_recipient){
        .due_s = get_le32(row),
        .attempts = get_le16(row + 4),
        .state = spool_state_checked(row[6]),
        .flags = row[7] & SPOOL_RECIPIENT_LOGGED,
    };
}
