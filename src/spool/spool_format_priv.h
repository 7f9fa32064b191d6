/*
 * spool_format: the bytes on disk. docs/spool.md describes them one by one; this file and that one
 * change together. Pure: encodes into and decodes from memory, trusts nothing that it reads.
 *
 * A record is {header, payload}. Its checksum runs over the payload and then over the header, so that
 * a body can be summed while it arrives, before anybody knows how long it will be. What stands on
 * disk is that sum xor a mask made from the segment's number, its random salt and the record's
 * offset: a record found anywhere but where it was written does not pass, and a batch may be summed
 * before its place is known.
 */
#ifndef SPOOL_FORMAT_PRIV_H
#define SPOOL_FORMAT_PRIV_H

#include "base_codec.h"
#include "base_slice.h"
#include "spool.h"

enum {
    SPOOL_FORMAT_VERSION = 2,     /* what is written */
    SPOOL_FORMAT_VERSION_MIN = 1, /* what is read still */
    SPOOL_BLOCK = 4096,           /* batches begin at multiples of it; IO_ALIGN */
    SPOOL_SEGMENT_HEADER_LEN = 96,
    SPOOL_BATCH_HEADER_LEN = 96,
    SPOOL_RECORD_HEADER_LEN = 24,
    SPOOL_RECORD_ALIGN = 8,
    SPOOL_BATCH_LEN_MAX = 1 << 20, /* a reader needs no more memory than this for a batch */
    SPOOL_EXTENT_HEAD = SPOOL_BATCH_HEADER_LEN + SPOOL_RECORD_HEADER_LEN,
    SPOOL_OUTCOME_TEXT_MAX = 512,
    SPOOL_TEXT_MAX = UINT16_MAX, /* of one address, or the facts */
};

enum spool_record_type {
    SPOOL_RECORD_MESSAGE = 1, /* aux: bytes of the body in it */
    SPOOL_RECORD_EXTENT,      /* aux: index */
    SPOOL_RECORD_OUTCOME,     /* aux: entries */
    SPOOL_RECORD_BEGIN,       /* of a checkpoint; id: its number */
    SPOOL_RECORD_PART,        /* aux: entries */
    SPOOL_RECORD_END,         /* aux: parts */
    SPOOL_RECORD_VOID,        /* was a message that was refused after all */
    SPOOL_RECORD_TERMS,       /* other terms of a message */
    SPOOL_RECORD_TYPE_END
};

static inline uint64_t spool_round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

/* Where the last complete checkpoint begins: the batch that holds its BEGIN. Segment 0: none. */
struct spool_position {
    uint64_t segment;
    uint32_t offset;
};

struct spool_segment_header {
    uint16_t log;
    uint64_t number;
    uint64_t salt;
    uint64_t size;
    uint64_t epoch; /* counts openings of the log */
    uint64_t sequence;
    uint64_t id_limit;
    struct spool_position checkpoint;
    uint64_t created_ms;
};

struct spool_batch_header {
    uint16_t log;
    uint64_t segment;
    uint64_t salt;
    uint64_t epoch;
    uint32_t offset;
    uint32_t len; /* header and records, without the padding behind */
    uint32_t records;
    uint64_t sequence;
    uint64_t stable; /* batches up to this one were known to be stable */
    uint64_t id_limit;
    struct spool_position checkpoint;
};

struct spool_record {
    uint8_t type;
    uint8_t version;
    uint32_t len; /* header included */
    uint32_t aux;
    uint64_t id;
    const uint8_t *payload;
    uint32_t payload_len;
};

/* ---- headers ---- */
void spool_segment_header_encode(const struct spool_segment_header *h, uint8_t *out);
bool spool_segment_header_decode(const uint8_t *in, struct spool_segment_header *out);
/* Of a header that is whole; 0 if it is not. */
uint16_t spool_segment_header_version(const uint8_t *in);
void spool_batch_header_encode(const struct spool_batch_header *h, uint8_t *out);
bool spool_batch_header_decode(const uint8_t *in, struct spool_batch_header *out);

/* ---- records ---- */

/* The mask of a place: low 32 bits for the sum, high 16 for the tag. */
uint64_t spool_mask(uint64_t segment, uint64_t salt, uint32_t offset);
/* Fills the header in front of a payload whose sum is `payload_crc`. Not masked yet. */
void spool_record_seal(uint8_t *record, uint8_t type, uint32_t len, uint32_t aux, uint64_t id,
                       uint32_t payload_crc);
uint32_t spool_record_len(const uint8_t *record);
/* Puts a mask on, or takes the same off again. */
void spool_record_mask(uint8_t *record, uint64_t mask);
/* Masks all records of a batch that lie from `offset` in the segment. */
void spool_batch_mask(uint8_t *batch, uint32_t len, uint64_t segment, uint64_t salt,
                      uint32_t offset);
/* Makes an unmasked record say nothing; a reader skips it. */
void spool_record_void(uint8_t *record);
/* A masked record within `avail` bytes; false unless every bit of it is right. */
bool spool_record_decode(const uint8_t *in, size_t avail, uint64_t mask, struct spool_record *out);
/* Whether it is worth a look: cheap, wrong once in 65536 times. */
bool spool_record_plausible(const uint8_t *in, uint64_t mask);

/* ---- message: body part, then the envelope block, then the extents ---- */

enum {
    SPOOL_ENVELOPE_FIXED = 32,
    SPOOL_ENVELOPE_RECIPIENT = 10,
    SPOOL_ENVELOPE_DSN = 3, /* a recipient, in the part for notices */
    SPOOL_TERMS_LEN = 8,
    SPOOL_EXTENT_ENTRY = 16
};

/* Parts of an envelope that are not in all of them; 0 in version 1. */
enum spool_envelope_parts {
    SPOOL_PART_SUM = 1, /* of the block itself, so that it can be read without the body */
    SPOOL_PART_DSN = 2,
    SPOOL_PART_TERMS = 4,
    SPOOL_PARTS_KNOWN = 7,
};

/* 0 if some text is too long. */
size_t spool_envelope_len(const struct spool_envelope *e);
/* Extents are known only when they are stable, the envelope before: spool_envelope_set_body() and then
 * spool_envelope_seal() complete it. */
void spool_envelope_encode(const struct spool_envelope *e, uint8_t *out);
void spool_envelope_set_body(uint8_t *block, uint64_t body_len, uint32_t extents);
void spool_envelope_seal(uint8_t *block, size_t len, uint64_t id);
/* A block that was read by itself; one of version 1 has no sum and passes. */
bool spool_envelope_sum_is_right(const uint8_t *block, size_t len, uint64_t id);
void spool_extent_entry_encode(uint64_t segment, uint32_t offset, uint32_t body_len, uint8_t *out);

struct spool_extent_entry {
    uint64_t segment;
    uint32_t offset;
    uint32_t body_len;
};

/* A decoded message; everything points into the payload. */
struct spool_message_view {
    struct slice body; /* the part that is in the record: the last one */
    uint64_t body_len;
    uint32_t arrived_s;
    uint16_t flags;
    uint32_t recipient_count;
    uint32_t extent_count;
    uint32_t block_len; /* of the envelope, without the extents */
    struct slice sender, facts, envid;
    struct spool_terms terms;
    const uint8_t *states;     /* recipient_count of SPOOL_ENVELOPE_RECIPIENT */
    const uint8_t *recipients; /* their texts, one behind the other */
    const uint8_t *dsn;        /* recipient_count of SPOOL_ENVELOPE_DSN, or NULL */
    const uint8_t *orcpts;     /* the texts that belong to them */
    const uint8_t *terms_at;   /* where they stand, or NULL */
    const uint8_t *extents;
};
bool spool_message_decode(const struct spool_record *r, struct spool_message_view *out);
/* The block alone, with the extents behind it. */
bool spool_envelope_decode(const uint8_t *block, size_t len, struct spool_message_view *out);
void spool_message_recipient(const struct spool_message_view *v, uint32_t index,
                             struct spool_recipient *out);
uint16_t spool_message_recipient_len(const struct spool_message_view *v, uint32_t index);
/* Arrays of recipient_count. */
void spool_message_recipients(const struct spool_message_view *v, struct slice *out);
void spool_message_dsn(const struct spool_message_view *v, struct spool_dsn *out);
/* What memory keeps of an envelope, but for its place: *m has as many recipients. */
void spool_message_take(struct spool_message *m, const struct spool_message_view *v);
void spool_message_hash(struct spool_message *m,
                        const struct spool_message_view *v); /* a part of it */
void spool_recipient_state_encode(const struct spool_recipient *r, uint8_t *state);
/* Whether what *m says now needs SPOOL_TERMS_LEN more than the block has. */
bool spool_envelope_grows(const struct spool_message_view *v, const struct spool_message *m);
/* Changes the block that *v views, in writable memory and with that much room behind, to what *m says
 * now. Answers its length; the extents, which may have been behind it, have to be written again. */
size_t spool_envelope_update(uint8_t *block, const struct spool_message_view *v,
                             const struct spool_message *m);
struct spool_extent_entry spool_extent_entry_decode(const uint8_t *in);
/* Extents and body part add up, and nothing else is wrong with the list. */
bool spool_message_sums(const struct spool_message_view *v);

static inline uint8_t spool_state_checked(uint8_t state)
{
    /* An unknown state is work rather than silence. */
    return state <= SPOOL_RECIPIENT_DELETED ? state : (uint8_t)SPOOL_RECIPIENT_WAITING;
}

/* ---- terms ---- */

static inline bool spool_terms_any(const struct spool_terms *t)
{
    return t->deliver_by_s != 0 || t->priority != 0;
}
void spool_terms_encode(const struct spool_terms *t, uint8_t *out);
struct spool_terms spool_terms_decode(const uint8_t *in);

/* ---- outcome ---- */

enum { SPOOL_OUTCOME_ENTRY = 16 };
struct spool_outcome_entry {
    uint32_t recipient;
    uint8_t state;
    uint8_t flags; /* absolute, as is */
    bool counts;
    uint16_t attempts; /* ... this: replaying twice changes nothing */
    uint32_t due_s;
    struct slice text;
};
size_t spool_outcome_entry_encode(const struct spool_outcome_entry *e, uint8_t *out);
/* Takes the next entry off the payload. */
bool spool_outcome_entry_decode(struct slice *payload, struct spool_outcome_entry *out);

/* ---- checkpoint part ---- */

enum {
    SPOOL_PART_FIXED_V1 = 56,
    SPOOL_PART_FIXED = 68,
    SPOOL_PART_RECIPIENT = 8,
    SPOOL_PART_TEXTS_MAX = 512, /* in one part */
    SPOOL_PART_TEXT = 2,        /* its length, before it */
};
struct spool_part_entry {
    uint64_t id;
    uint64_t segment;
    uint32_t offset;
    uint32_t record_len;
    uint64_t body_len;
    uint32_t arrived_s;
    uint16_t flags;
    bool hashed; /* false: version 1, which did not have the hashes */
    uint32_t recipient_count;
    uint32_t extent_count;
    uint32_t sender_hash, sender_domain_hash, domain_hash;
    struct spool_terms terms;
    struct slice text; /* why it waits; empty: not known */
    const uint8_t *recipients;
    const uint8_t *extents;
};

/* Texts of a part, each once: an entry names the n-th, and the first to name one brings it along. */
struct spool_part_texts {
    uint32_t count;
    struct slice texts[SPOOL_PART_TEXTS_MAX];
};

/* Without its text. */
size_t spool_part_entry_len(uint32_t recipient_count, uint32_t extent_count);
/* What *m says now, but for the extents' entries and then the text, which the caller writes at the place
 * returned. `text`: its number, 0 for none. */
uint8_t *spool_part_entry_encode(const struct spool_message *m, uint64_t segment, uint32_t text,
                                 uint8_t *out);
/* Takes the next entry off; `version` is the record's. *texts begins empty with each part. */
bool spool_part_entry_decode(struct slice *payload, uint8_t version, struct spool_part_texts *texts,
                             struct spool_part_entry *out);
void spool_part_recipient(const struct spool_part_entry *e, uint32_t index,
                          struct spool_recipient *out);

#endif
