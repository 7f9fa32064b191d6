/* The bytes on disk: what is written is read, what is not right is refused, whatever it is. */
#include <check.h>

#include "base_crc32c.h"
#include "base_mem.h"
#include "base_rand.h"
#include "spool_format_priv.h"

START_TEST(headers)
{
    uint8_t bytes[SPOOL_SEGMENT_HEADER_LEN];
    struct spool_segment_header s = {
        .log = 7,
        .number = 0x123456789,
        .salt = 0xfedcba9876543210,
        .size = 64 << 20,
        .epoch = 3,
        .sequence = 99,
        .id_limit = UINT64_C(7) << 48 | 12345,
        .checkpoint = {5, 8192},
        .created_ms = 1790000000000,
    };
    struct spool_segment_header s2;
    struct spool_batch_header b = {
        .log = 7,
        .segment = 0x123456789,
        .salt = 0xfedcba9876543210,
        .epoch = 3,
        .offset = 4096,
        .len = 5000,
        .records = 2,
        .sequence = 100,
        .stable = 98,
        .id_limit = UINT64_C(7) << 48 | 12345,
        .checkpoint = {5, 8192},
    };
    struct spool_batch_header b2;

    spool_segment_header_encode(&s, bytes);
    ck_assert(spool_segment_header_decode(bytes, &s2));
    uint8_t again[SPOOL_SEGMENT_HEADER_LEN];
    spool_segment_header_encode(&s2, again);
    ck_assert_int_eq(memcmp(bytes, again, sizeof(bytes)), 0);
    ck_assert_uint_eq(s2.checkpoint.offset, 8192);
    ck_assert_uint_eq(spool_segment_header_version(bytes), SPOOL_FORMAT_VERSION);
    for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert(!spool_segment_header_decode(bytes, &s2));
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    spool_batch_header_encode(&b, bytes);
    ck_assert(spool_batch_header_decode(bytes, &b2));
    ck_assert_uint_eq(b2.sequence, 100);
    ck_assert_uint_eq(b2.stable, 98);
    ck_assert_uint_eq(b2.len, 5000);
    ck_assert_uint_eq(b2.checkpoint.offset, 8192);
    for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert(!spool_batch_header_decode(bytes, &b2));
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}
END_TEST

static uint32_t make_message(uint8_t *record, uint64_t mask)
{
    const struct slice to[2] = {SLICE_LITERAL("one@example.org"), SLICE_LITERAL("two@example.org")};
    const struct spool_dsn dsn[2] = {
        {.notify = SPOOL_NOTIFY_FAILURE | SPOOL_NOTIFY_DELAY},
        {.orcpt = SLICE_LITERAL("rfc822;two+2B@example.org"), .flags = SPOOL_RECIPIENT_EXPANDED}};
    struct spool_envelope e = {
        .sender = SLICE_LITERAL("me@example.net"),
        .recipients = to,
        .recipient_count = 2,
        .arrived_s = 77,
        .flags = SPOOL_HAS_DOT_LINES,
        .facts = SLICE_LITERAL("helo=x"),
        .envid = SLICE_LITERAL("QQ314159"),
        .dsn = dsn,
        .terms = {.deliver_by_s = 99, .priority = -3},
        .hold_until_s = 555,
    };
    uint32_t len =
        SPOOL_RECORD_HEADER_LEN + 5 + (uint32_t)spool_envelope_len(&e) + SPOOL_EXTENT_ENTRY;

    memcpy(record + SPOOL_RECORD_HEADER_LEN, "body\n", 5);
    uint8_t *block = record + SPOOL_RECORD_HEADER_LEN + 5;
    spool_envelope_encode(&e, block);
    spool_envelope_set_body(block, 1005, 1);
    spool_envelope_seal(block, spool_envelope_len(&e), 42);
    spool_extent_entry_encode(9, 96, 1000, record + len - SPOOL_EXTENT_ENTRY);
    spool_record_seal(record, SPOOL_RECORD_MESSAGE, len, 5, 42,
                      crc32c(0, record + SPOOL_RECORD_HEADER_LEN, len - SPOOL_RECORD_HEADER_LEN));
    spool_record_mask(record, mask);
    return len;
}

START_TEST(message)
{
    uint8_t record[512];
    uint64_t mask = spool_mask(3, 0x1111, 4192);
    uint32_t len = make_message(record, mask);
    struct spool_record r;
    struct spool_message_view v;

    ck_assert(spool_record_decode(record, len, mask, &r));
    ck_assert(spool_message_decode(&r, &v));
    ck_assert(spool_message_sums(&v));
    ck_assert_uint_eq(r.id, 42);
    ck_assert(slice_equal(v.body, SLICE_LITERAL("body\n")));
    ck_assert(slice_equal(v.sender, SLICE_LITERAL("me@example.net")));
    ck_assert(slice_equal(v.facts, SLICE_LITERAL("helo=x")));
    ck_assert_uint_eq(v.recipient_count, 2);
    ck_assert_uint_eq(spool_message_recipient_len(&v, 1), 15);
    ck_assert_uint_eq(v.extent_count, 1);
    ck_assert_uint_eq(spool_extent_entry_decode(v.extents).offset, 96);
    ck_assert_uint_eq(v.body_len, 1005);

    struct slice to[2];
    struct spool_dsn dsn[2];
    struct spool_recipient states[2];
    ck_assert(slice_equal(v.envid, SLICE_LITERAL("QQ314159")));
    ck_assert_uint_eq(v.terms.deliver_by_s, 99);
    ck_assert_int_eq(v.terms.priority, -3);
    spool_message_recipients(&v, to);
    spool_message_dsn(&v, dsn);
    for (uint32_t i = 0; i < 2; i++) {
        spool_message_recipient(&v, i, &states[i]);
        ck_assert_uint_eq(states[i].due_s, 555);
    }
    ck_assert(slice_equal(to[1], SLICE_LITERAL("two@example.org")));
    ck_assert_uint_eq(states[0].flags, SPOOL_RECIPIENT_HELD);
    ck_assert_uint_eq(states[1].flags, SPOOL_RECIPIENT_HELD | SPOOL_RECIPIENT_EXPANDED);
    ck_assert_uint_eq(dsn[0].notify, SPOOL_NOTIFY_FAILURE | SPOOL_NOTIFY_DELAY);
    ck_assert_uint_eq(dsn[0].orcpt.len, 0);
    ck_assert_uint_eq(dsn[1].notify, 0);
    ck_assert(slice_equal(dsn[1].orcpt, SLICE_LITERAL("rfc822;two+2B@example.org")));
    ck_assert_uint_eq(dsn[1].flags, SPOOL_RECIPIENT_EXPANDED);
}
END_TEST

/* The envelope's own sum: of every bit, and of the id. */
START_TEST(block_sum)
{
    uint8_t record[512];
    uint32_t len = make_message(record, 0);
    uint8_t *block = record + SPOOL_RECORD_HEADER_LEN + 5;
    size_t block_len = len - SPOOL_RECORD_HEADER_LEN - 5 - SPOOL_EXTENT_ENTRY;

    ck_assert(spool_envelope_sum_is_right(block, block_len, 42));
    ck_assert(!spool_envelope_sum_is_right(block, block_len, 43));
    for (size_t bit = 0; bit < 8 * block_len; bit++) {
        if (bit == 16)
            continue; /* whether there is a sum: then it is longer than it says */
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert(!spool_envelope_sum_is_right(block, block_len, 42));
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    struct spool_message_view v;
    block[2] ^= SPOOL_PART_SUM;
    ck_assert(!spool_envelope_decode(block, block_len + SPOOL_EXTENT_ENTRY, &v));
}
END_TEST

/* A message that asks for nothing costs four bytes more than one of version 1 did. */
START_TEST(usual_size)
{
    const struct slice to = SLICE_LITERAL("one@example.org");
    const struct spool_dsn dsn = {0};
    const struct spool_envelope e = {
        .sender = SLICE_LITERAL("me@example.net"),
        .recipients = &to,
        .recipient_count = 1,
        .facts = SLICE_LITERAL("helo=x"),
        .dsn = &dsn,
    };

    ck_assert_uint_eq(spool_envelope_len(&e), 32 + 10 + 14 + 6 + 15 + 4);
}
END_TEST

/* Nowhere but where it was written, and not with one bit changed. */
START_TEST(place_and_bits)
{
    uint8_t record[512];
    uint64_t mask = spool_mask(3, 0x1111, 4192);
    uint32_t len = make_message(record, mask);
    struct spool_record r;

    ck_assert(!spool_record_decode(record, len, spool_mask(4, 0x1111, 4192), &r));
    ck_assert(!spool_record_decode(record, len, spool_mask(3, 0x1112, 4192), &r));
    ck_assert(!spool_record_decode(record, len, spool_mask(3, 0x1111, 4200), &r));
    for (uint32_t cut = 0; cut < len; cut++)
        ck_assert(!spool_record_decode(record, cut, mask, &r));
    for (uint32_t bit = 0; bit < 8 * len; bit++) {
        record[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert(!spool_record_decode(record, len, mask, &r));
        record[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    spool_record_mask(record, mask);
    spool_record_void(record);
    spool_record_mask(record, mask);
    ck_assert(spool_record_decode(record, len, mask, &r));
    ck_assert_uint_eq(r.type, SPOOL_RECORD_VOID);
}
END_TEST

/* Payloads that are not what they say, each in memory of exactly its size. */
START_TEST(garbage)
{
    struct rand rand;
    uint8_t good[512];
    uint64_t mask = 0;
    uint32_t good_len = make_message(good, mask);

    rand_seed(&rand, 1);
    for (int i = 0; i < 200000; i++) {
        uint32_t len = (uint32_t)rand_below(&rand, good_len - SPOOL_RECORD_HEADER_LEN + 1);
        uint8_t *payload = mem_alloc(len + 1);
        struct spool_record r = {
            .type = SPOOL_RECORD_MESSAGE,
            .aux = (uint32_t)rand_below(&rand, 8),
            .payload = payload,
            .payload_len = len,
        };
        struct spool_message_view v;
        struct spool_outcome_entry o;
        struct spool_part_entry p;
        static struct spool_part_texts texts;

        memcpy(payload, good + SPOOL_RECORD_HEADER_LEN, len);
        for (int k = 0; k < 4 && len > 0; k++)
            payload[rand_below(&rand, len)] = (uint8_t)rand_u64(&rand);
        if (spool_message_decode(&r, &v)) {
            uint64_t sum = 0;

            for (uint32_t k = 0; k < v.recipient_count; k++)
                sum += spool_message_recipient_len(&v, k);
            ck_assert_uint_le(sum, len);
            (void)spool_message_sums(&v);
            struct slice *texts_of = mem_calloc(v.recipient_count + 1, sizeof(*texts_of));
            struct spool_dsn *dsn = mem_calloc(v.recipient_count + 1, sizeof(*dsn));
            spool_message_recipients(&v, texts_of);
            spool_message_dsn(&v, dsn);
            for (uint32_t k = 0; k < v.recipient_count; k++)
                sum += dsn[k].orcpt.len;
            ck_assert_uint_le(sum, len);
            mem_free(texts_of);
            mem_free(dsn);
        }
        struct slice rest = slice_of(payload, len);
        while (spool_outcome_entry_decode(&rest, &o))
            ck_assert_uint_le(o.text.len, len);
        rest = slice_of(payload, len);
        texts.count = 0;
        while (spool_part_entry_decode(&rest, (uint8_t)(1 + i % 2), &texts, &p))
            ck_assert_uint_le((uint64_t)p.recipient_count * SPOOL_PART_RECIPIENT, len);
        mem_free(payload);
    }
}
END_TEST

START_TEST(outcome_and_part)
{
    uint8_t bytes[256];
    struct spool_outcome_entry o = {.recipient = 3,
                                    .state = SPOOL_RECIPIENT_BOUNCED,
                                    .counts = true,
                                    .attempts = 9,
                                    .due_s = 55,
                                    .flags = SPOOL_RECIPIENT_WARNED,
                                    .text = SLICE_LITERAL("550 no")};
    struct spool_outcome_entry o2;
    struct slice rest;

    size_t len = spool_outcome_entry_encode(&o, bytes);
    rest = slice_of(bytes, len);
    ck_assert(spool_outcome_entry_decode(&rest, &o2));
    ck_assert_uint_eq(rest.len, 0);
    ck_assert_uint_eq(o2.attempts, 9);
    ck_assert_uint_eq(o2.state, SPOOL_RECIPIENT_BOUNCED);
    ck_assert_uint_eq(o2.flags, SPOOL_RECIPIENT_WARNED);
    ck_assert(slice_equal(o2.text, o.text));

    struct spool_message *m = mem_zalloc(sizeof(*m) + sizeof(struct spool_recipient));
    static struct spool_part_texts texts;
    struct spool_part_entry p;
    struct spool_recipient to;

    m->id = 5;
    m->offset = 4192;
    m->record_len = 100;
    m->recipient_count = 1;
    m->recipients[0] =
        (struct spool_recipient){.due_s = 1, .attempts = 2, .state = 1, .flags = 0x82};
    m->sender_hash = 0x1234;
    m->sender_domain_hash = 0x5678;
    m->domain_hash = 0x9abc;
    m->terms = (struct spool_terms){.deliver_by_s = 17, .priority = -9};
    m->flags = SPOOL_IS_UTF8 | SPOOL_HAS_8BIT;
    uint8_t *end = spool_part_entry_encode(m, 6, 0, bytes);
    ck_assert_uint_eq((size_t)(end - bytes), spool_part_entry_len(1, 0));
    rest = slice_of(bytes, (size_t)(end - bytes));
    texts.count = 0;
    ck_assert(spool_part_entry_decode(&rest, SPOOL_FORMAT_VERSION, &texts, &p));
    ck_assert_uint_eq(rest.len, 0);
    ck_assert_uint_eq(p.segment, 6);
    ck_assert_uint_eq(p.flags, SPOOL_IS_UTF8 | SPOOL_HAS_8BIT);
    ck_assert_uint_eq(p.sender_hash, 0x1234);
    ck_assert_uint_eq(p.sender_domain_hash, 0x5678);
    ck_assert_uint_eq(p.domain_hash, 0x9abc);
    ck_assert_uint_eq(p.terms.deliver_by_s, 17);
    ck_assert_int_eq(p.terms.priority, -9);
    ck_assert_uint_eq(p.text.len, 0);
    ck_assert_uint_eq(p.offset, 4192);
    spool_part_recipient(&p, 0, &to);
    ck_assert_uint_eq(to.attempts, 2);
    ck_assert_uint_eq(to.flags, SPOOL_RECIPIENT_WARNED); /* what the queue keeps to itself is not */
    mem_free(m);
}
END_TEST

Suite *spool_format_suite(void)
{
    Suite *suite = suite_create("spool_format");
    TCase *tc = tcase_create("format");

    tcase_add_test(tc, headers);
    tcase_add_test(tc, message);
    tcase_add_test(tc, place_and_bits);
    tcase_add_test(tc, garbage);
    tcase_add_test(tc, outcome_and_part);
    tcase_add_test(tc, block_sum);
    tcase_add_test(tc, usual_size);
    suite_add_tcase(suite, tc);
    return suite;
}
