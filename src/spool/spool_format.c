#include "spool_format_priv.h"

#include "base_assert.h"
#include "base_crc32c.h"

_Static_assert((int)SPOOL_BLOCK == (int)IO_ALIGN, "a batch begins where a direct write may begin");

#define SEGMENT_MAGIC UINT32_C(0x3153524d) /* "MRS1" */
#define BATCH_MAGIC   UINT32_C(0x3142524d) /* "MRB1" */

/* ---- headers ------------------------------------------------------------------------------ */

static bool version_known(unsigned version)
{
    return version >= SPOOL_FORMAT_VERSION_MIN && version <= SPOOL_FORMAT_VERSION;
}

/* Both begin with magic and the sum of what follows it. */
static void header_seal(uint8_t *header, uint32_t magic, size_t len)
{
    put_le32(header, magic);
    put_le32(header + 4, crc32c(0, header + 8, len - 8));
}

static bool header_check(const uint8_t *header, uint32_t magic, size_t len)
{
    return get_le32(header) == magic && get_le32(header + 4) == crc32c(0, header + 8, len - 8);
}

void spool_segment_header_encode(const struct spool_segment_header *h, uint8_t *out)
{
    memset(out, 0, SPOOL_SEGMENT_HEADER_LEN);
    put_le16(out + 8, h->log);
    put_le16(out + 10, SPOOL_FORMAT_VERSION);
    put_le64(out + 16, h->number);
    put_le64(out + 24, h->salt);
    put_le64(out + 32, h->size);
    put_le64(out + 40, h->epoch);
    put_le64(out + 48, h->sequence);
    put_le64(out + 56, h->id_limit);
    put_le64(out + 64, h->checkpoint.segment);
    put_le32(out + 72, h->checkpoint.offset);
    put_le64(out + 80, h->created_ms);
    header_seal(out, SEGMENT_MAGIC, SPOOL_SEGMENT_HEADER_LEN);
}

uint16_t spool_segment_header_version(const uint8_t *in)
{
    return header_check(in, SEGMENT_MAGIC, SPOOL_SEGMENT_HEADER_LEN) ? get_le16(in + 10) : 0;
}

bool spool_segment_header_decode(const uint8_t *in, struct spool_segment_header *out)
{
    if (!header_check(in, SEGMENT_MAGIC, SPOOL_SEGMENT_HEADER_LEN)
        || !version_known(get_le16(in + 10)))
        return false;
    *out = (struct spool_segment_header){
        .log = get_le16(in + 8),
        .number = get_le64(in + 16),
        .salt = get_le64(in + 24),
        .size = get_le64(in + 32),
        .epoch = get_le64(in + 40),
        .sequence = get_le64(in + 48),
        .id_limit = get_le64(in + 56),
        .checkpoint = {.segment = get_le64(in + 64), .offset = get_le32(in + 72)},
        .created_ms = get_le64(in + 80),
    };
    return true;
}

void spool_batch_header_encode(const struct spool_batch_header *h, uint8_t *out)
{
    memset(out, 0, SPOOL_BATCH_HEADER_LEN);
    put_le16(out + 8, h->log);
    put_le16(out + 10, SPOOL_FORMAT_VERSION);
    put_le32(out + 12, h->records);
    put_le64(out + 16, h->segment);
    put_le64(out + 24, h->salt);
    put_le32(out + 32, h->offset);
    put_le32(out + 36, h->len);
    put_le64(out + 40, h->sequence);
    put_le64(out + 48, h->stable);
    put_le64(out + 56, h->id_limit);
    put_le64(out + 64, h->checkpoint.segment);
    put_le32(out + 72, h->checkpoint.offset);
    put_le64(out + 80, h->epoch);
    header_seal(out, BATCH_MAGIC, SPOOL_BATCH_HEADER_LEN);
}

bool spool_batch_header_decode(const uint8_t *in, struct spool_batch_header *out)
{
    if (!header_check(in, BATCH_MAGIC, SPOOL_BATCH_HEADER_LEN) || !version_known(get_le16(in + 10)))
        return false;
    *out = (struct spool_batch_header){
        .log = get_le16(in + 8),
        .records = get_le32(in + 12),
        .segment = get_le64(in + 16),
        .salt = get_le64(in + 24),
        .offset = get_le32(in + 32),
        .len = get_le32(in + 36),
        .sequence = get_le64(in + 40),
        .stable = get_le64(in + 48),
        .id_limit = get_le64(in + 56),
        .checkpoint = {.segment = get_le64(in + 64), .offset = get_le32(in + 72)},
        .epoch = get_le64(in + 80),
    };
    return out->len >= SPOOL_BATCH_HEADER_LEN && out->len <= SPOOL_BATCH_LEN_MAX;
}

/* ---- records ------------------------------------------------------------------------------ */

/* Record header: 0 sum, 4 tag, 6 type, 7 version, 8 length, 12 aux, 16 id. The sum covers the payload
 * and bytes 6 to 24 of the header. */
enum {
    RECORD_TAG = 4,
    RECORD_TYPE = 6,
    RECORD_VERSION = 7,
    RECORD_LEN = 8,
    RECORD_AUX = 12,
    RECORD_ID = 16
};

static uint32_t record_crc(const uint8_t *record, uint32_t payload_crc)
{
    return crc32c(payload_crc, record + RECORD_TYPE, SPOOL_RECORD_HEADER_LEN - RECORD_TYPE);
}

/* Part of the format: two rounds of the finaliser of splitmix64. */
uint64_t spool_mask(uint64_t segment, uint64_t salt, uint32_t offset)
{
    uint64_t x = salt ^ (segment * UINT64_C(0x9e3779b97f4a7c15));

    for (int round = 0; round < 2; round++) {
        x += offset + UINT64_C(0x632be59bd9b4e019);
        x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
        x ^= x >> 31;
    }
    return x;
}

void spool_record_seal(uint8_t *record, uint8_t type, uint32_t len, uint32_t aux, uint64_t id,
                       uint32_t payload_crc)
{
    ASSERT(len >= SPOOL_RECORD_HEADER_LEN);
    ASSERT(type > 0 && type < SPOOL_RECORD_TYPE_END);
    put_le16(record + RECORD_TAG, 0);
    record[RECORD_TYPE] = type;
    record[RECORD_VERSION] = SPOOL_FORMAT_VERSION;
    put_le32(record + RECORD_LEN, len);
    put_le32(record + RECORD_AUX, aux);
    put_le64(record + RECORD_ID, id);
    put_le32(record, record_crc(record, payload_crc));
}

uint32_t spool_record_len(const uint8_t *record)
{
    return get_le32(record + RECORD_LEN);
}

void spool_record_mask(uint8_t *record, uint64_t mask)
{
    put_le32(record, get_le32(record) ^ (uint32_t)mask);
    put_le16(record + RECORD_TAG, (uint16_t)(get_le16(record + RECORD_TAG) ^ mask >> 48));
}

void spool_batch_mask(uint8_t *batch, uint32_t len, uint64_t segment, uint64_t salt,
                      uint32_t offset)
{
    uint32_t at = SPOOL_BATCH_HEADER_LEN;

    while (at < len) {
        uint32_t record_len = spool_record_len(batch + at);

        ASSERT(record_len >= SPOOL_RECORD_HEADER_LEN && record_len <= len - at);
        spool_record_mask(batch + at, spool_mask(segment, salt, offset + at));
        at += (uint32_t)spool_round_up(record_len, SPOOL_RECORD_ALIGN);
    }
}

void spool_record_void(uint8_t *record)
{
    uint32_t len = spool_record_len(record);
    uint32_t crc = crc32c(0, record + SPOOL_RECORD_HEADER_LEN, len - SPOOL_RECORD_HEADER_LEN);

    spool_record_seal(record, SPOOL_RECORD_VOID, len, get_le32(record + RECORD_AUX),
                      get_le64(record + RECORD_ID), crc);
}

bool spool_record_plausible(const uint8_t *in, uint64_t mask)
{
    return get_le16(in + RECORD_TAG) == (uint16_t)(mask >> 48) && in[RECORD_TYPE] > 0
           && in[RECORD_TYPE] < SPOOL_RECORD_TYPE_END && version_known(in[RECORD_VERSION]);
}

bool spool_record_decode(const uint8_t *in, size_t avail, uint64_t mask, struct spool_record *out)
{
    if (avail < SPOOL_RECORD_HEADER_LEN || !spool_record_plausible(in, mask))
        return false;
    uint32_t len = spool_record_len(in);
    if (len < SPOOL_RECORD_HEADER_LEN || len > avail)
        return false;
    uint32_t payload_len = len - SPOOL_RECORD_HEADER_LEN;
    uint32_t crc = record_crc(in, crc32c(0, in + SPOOL_RECORD_HEADER_LEN, payload_len));
    if ((crc ^ (uint32_t)mask) != get_le32(in))
        return false;
    *out = (struct spool_record){
        .type = in[RECORD_TYPE],
        .version = in[RECORD_VERSION],
        .len = len,
        .aux = get_le32(in + RECORD_AUX),
        .id = get_le64(in + RECORD_ID),
        .payload = in + SPOOL_RECORD_HEADER_LEN,
        .payload_len = payload_len,
    };
    return true;
}
