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
    SPOOL_FORMAT_VERSION = 1,
    SPOOL_BLOCK = 4096, /* batches begin at multiples of it; IO_ALIGN */
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

enum { SPOOL_ENVELOPE_FIXED = 32, SPOOL_ENVELOPE_RECIPIENT = 10, SPOOL_EXTENT_ENTRY = 16 };

/* 0 if some text is too long. */
size_t spool_envelope_len(const struct spool_envelope *e);
void spool_envelope_encode(const struct spool_envelope *e, uint64_t body_len, uint32_t extents,
                           uint8_t *out);
/* Extents are known only when they are stable, the envelope before. */
void spool_envelope_set_body(uint8_t *block, uint64_t body_len, uint32_t extents);
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
    struct slice sender, facts;
    const uint8_t *states;     /* recipient_count of SPOOL_ENVELOPE_RECIPIENT */
    const uint8_t *recipients; /* their texts, one behind the other */
    const uint8_t *extents;
};
bool spool_message_decode(const struct spool_record *r, struct spool_message_view *out);
void spool_message_recipient(const struct spool_message_view *v, uint32_t index,
                             struct spool_recipient *out);
uint16_t spool_message_recipient_len(const struct spool_message_view *v, uint32_t index);
/* Puts the present state of a recipient into a message record's states. */
void spool_recipient_state_encode(const struct spool_recipient *r, uint8_t *state);
struct spool_extent_entry spool_extent_entry_decode(const uint8_t *in);
/* Extents and body part add up, and nothing else is wrong with the list. */
bool spool_message_sums(const struct spool_message_view *v);

/* ---- outcome ---- */

enum { SPOOL_OUTCOME_ENTRY = 16 };
struct spool_outcome_entry {
    uint32_t recipient;
    uint8_t state;
    bool counts;
    uint16_t attempts; /* absolute: replaying twice changes nothing */
    uint32_t due_s;
    struct slice text;
};
size_t spool_outcome_entry_encode(const struct spool_outcome_entry *e, uint8_t *out);
/* Takes the next entry off the payload. */
bool spool_outcome_entry_decode(struct slice *payload, struct spool_outcome_entry *out);

/* ---- checkpoint part ---- */

enum { SPOOL_PART_FIXED = 56, SPOOL_PART_RECIPIENT = 8 };
struct spool_part_entry {
    uint64_t id;
    uint64_t segment;
    uint32_t offset;
    uint32_t record_len;
    uint64_t body_len;
    uint32_t arrived_s;
    uint16_t flags;
    uint32_t recipient_count;
    uint32_t extent_count;
    const uint8_t *recipients;
    const uint8_t *extents;
};
size_t spool_part_entry_len(uint32_t recipient_count, uint32_t extent_count);
/* What *m says now; its extents' entries follow, written by the caller at the place returned. */
uint8_t *spool_part_entry_encode(const struct spool_message *m, uint64_t segment, uint8_t *out);
bool spool_part_entry_decode(struct slice *payload, struct spool_part_entry *out);
void spool_part_recipient(const struct spool_part_entry *e, uint32_t index,
                          struct spool_recipient *out);

#endif
