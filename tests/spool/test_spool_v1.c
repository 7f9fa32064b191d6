/* A log that version 1 of the format left: a segment made by hand, byte by byte as docs/spool.md
 * describes it, opened, served, moved and opened again. */
#include <check.h>
#include <stdio.h>

#include "base_crc32c.h"
#include "base_mem.h"
#include "spool_priv.h"
#include "spool_world.h"

enum { SEGMENT = 100, EPOCH = 1000, SIZE = 256 << 10, ID_A = 11, ID_B = 12, ID_C = 13 };
#define SALT UINT64_C(0x1122334455667788)

static const char sender[] = "old@example.net";
static const char recipient[] = "r0@Example.ORG";

struct image {
    uint8_t *bytes;
    uint32_t batch, at; /* where the batch begins, where its next record goes */
    uint32_t records;
    uint64_t sequence;
};

static void reseal(uint8_t *header)
{
    put_le16(header + 10, 1);
    put_le32(header + 4, crc32c(0, header + 8, 88));
}

static uint8_t *payload(struct image *i)
{
    return i->bytes + i->at + SPOOL_RECORD_HEADER_LEN;
}

/* The payload is in place. */
static uint32_t record(struct image *i, uint8_t type, uint32_t aux, uint64_t id, uint32_t len)
{
    uint8_t *r = i->bytes + i->at;
    uint32_t at = i->at;

    r[6] = type;
    r[7] = 1;
    put_le32(r + 8, SPOOL_RECORD_HEADER_LEN + len);
    put_le32(r + 12, aux);
    put_le64(r + 16, id);
    put_le32(r, crc32c(crc32c(0, r + SPOOL_RECORD_HEADER_LEN, len), r + 6, 18));
    spool_record_mask(r, spool_mask(SEGMENT, SALT, i->at));
    i->at += (SPOOL_RECORD_HEADER_LEN + len + 7) / 8 * 8;
    i->records++;
    return at;
}

static void batch_begin(struct image *i)
{
    i->batch = (i->at + SPOOL_BLOCK - 1) / SPOOL_BLOCK * SPOOL_BLOCK;
    i->at = i->batch + SPOOL_BATCH_HEADER_LEN;
    i->records = 0;
}

static void batch_end(struct image *i, struct spool_position checkpoint)
{
    struct spool_batch_header h = {
        .segment = SEGMENT,
        .salt = SALT,
        .epoch = EPOCH,
        .offset = i->batch,
        .len = i->at - i->batch,
        .records = i->records,
        .sequence = ++i->sequence,
        .stable = i->sequence - 1,
        .id_limit = 1 << 21,
        .checkpoint = checkpoint,
    };

    spool_batch_header_encode(&h, i->bytes + i->batch);
    reseal(i->bytes + i->batch);
}

/* Answers its offset; *out_len is the record's length. */
static uint32_t message(struct image *i, uint64_t id, const char *body, uint32_t *out_len)
{
    uint8_t *at = payload(i), *block = at + strlen(body);

    memcpy(at, body, strlen(body));
    put_le16(block, SPOOL_HAS_8BIT);
    put_le32(block + 4, 500); /* arrived */
    put_le64(block + 8, strlen(body));
    put_le32(block + 16, 1);
    put_le16(block + 24, (uint16_t)strlen(sender));
    put_le32(block + 28, (uint32_t)strlen(recipient));
    put_le16(block + 32 + 2, 1); /* attempts */
    put_le32(block + 32 + 4, 600);
    put_le16(block + 32 + 8, (uint16_t)strlen(recipient));
    memcpy(block + 42, sender, strlen(sender));
    memcpy(block + 42 + strlen(sender), recipient, strlen(recipient));
    uint32_t len = (uint32_t)(strlen(body) + 42 + strlen(sender) + strlen(recipient));
    *out_len = SPOOL_RECORD_HEADER_LEN + len;
    return record(i, 1, (uint32_t)strlen(body), id, len);
}

static void deferred(struct image *i, uint64_t id, uint32_t due_s, const char *text)
{
    uint8_t *at = payload(i);

    at[5] = 1;
    put_le16(at + 6, 2);
    put_le32(at + 8, due_s);
    put_le32(at + 12, (uint32_t)strlen(text));
    memcpy(at + 16, text, strlen(text));
    (void)record(i, 3, 1, id, 16 + (uint32_t)strlen(text));
}

static void part(struct image *i, uint64_t id, uint32_t offset, uint32_t len, uint64_t body_len)
{
    uint8_t *at = payload(i);

    put_le64(at, id);
    put_le64(at + 8, SEGMENT);
    put_le32(at + 16, offset);
    put_le32(at + 20, len);
    put_le64(at + 24, body_len);
    put_le32(at + 32, 500);
    put_le16(at + 36, SPOOL_HAS_8BIT);
    put_le32(at + 40, 1);
    put_le32(at + 56, 700);
    put_le16(at + 60, 1);
    (void)record(i, 5, 1, 1, 64);
}

/* A and B came, a checkpoint names A (B was delivered), A was deferred, C came. */
static void make_image(struct image *i)
{
    struct spool_segment_header h = {.number = SEGMENT,
                                     .salt = SALT,
                                     .size = SIZE,
                                     .epoch = EPOCH,
                                     .sequence = 1,
                                     .id_limit = 1 << 21};
    struct spool_position begin;
    uint32_t len_a, len;

    i->bytes = mem_zalloc(SIZE);
    i->at = SPOOL_BLOCK;
    spool_segment_header_encode(&h, i->bytes);
    reseal(i->bytes);

    batch_begin(i);
    uint32_t a = message(i, ID_A, "body of a", &len_a);
    (void)message(i, ID_B, "body of b", &len);
    batch_end(i, (struct spool_position){0});

    batch_begin(i);
    begin = (struct spool_position){SEGMENT, i->batch};
    (void)record(i, 4, 0, 1, 8);
    part(i, ID_A, a, len_a, 9);
    put_le64(payload(i), 1);
    (void)record(i, 6, 1, 1, 8);
    batch_end(i, (struct spool_position){0});

    batch_begin(i);
    deferred(i, ID_A, 900, "451 later");
    (void)message(i, ID_C, "body of c", &len);
    batch_end(i, begin);
}

static void expect(struct spool_world *w, uint64_t id, uint32_t due_s, uint16_t attempts,
                   const char *text)
{
    struct spool_message *m = spool_find(w->s, id);
    struct buf body = {0}, envelope = {0};

    ck_assert_ptr_nonnull(m);
    ck_assert_uint_eq(m->arrived_s, 500);
    ck_assert_uint_eq(m->flags, SPOOL_HAS_8BIT);
    ck_assert_uint_eq(m->recipients[0].due_s, due_s);
    ck_assert_uint_eq(m->recipients[0].attempts, attempts);
    ck_assert_uint_eq(m->recipients[0].flags, 0);
    ck_assert_uint_eq(m->sender_hash, (uint32_t)hash_stable(slice_str(sender)));
    ck_assert_uint_eq(m->sender_domain_hash, (uint32_t)hash_stable(slice_str("example.net")));
    ck_assert_uint_eq(m->domain_hash, (uint32_t)hash_stable(slice_str("example.org")));
    ck_assert_int_eq(test_read(w, m, &body, &envelope), 0);
    ck_assert(slice_equal(buf_slice(&body), slice_str(text)));
    ck_assert(slice_equal(buf_slice(&envelope), SLICE_LITERAL("old@example.net r0@Example.ORG ")));
    buf_finish(&body);
    buf_finish(&envelope);
}

static int moved(struct spool_world *w)
{
    return (spool_find(w->s, ID_A)->segment->number != SEGMENT)
           + (spool_find(w->s, ID_C)->segment->number != SEGMENT);
}

static void print_line(void *context, const char *text)
{
    ++*(unsigned *)context;
    ck_assert_ptr_null(strstr(text, "cannot be"));
}

START_TEST(version_1)
{
    struct spool_world w;
    struct image image = {0};
    struct spool_verify_report report;
    const struct spool_terms terms = {.deliver_by_s = 12345};
    char path[64];
    unsigned lines = 0;

    make_image(&image);
    spool_world_open(&w, SPOOL_WORLD_SIM);
    ck_assert(spool_world_start(&w)); /* makes the directories */
    spool_world_stop(&w);
    (void)snprintf(path, sizeof(path), "/spool/0/%016x.seg", SEGMENT);
    ck_assert(sim_file_write(w.machine, path, slice_of(image.bytes, SIZE)));
    w.io = sim_io_create(w.machine, 0);
    sim_io_set_stepping(w.io, true);
    ck_assert_int_eq(spool_verify(w.io, w.dir, print_line, &lines, &report), 0);
    ck_assert_uint_eq(report.live, 2);
    ck_assert_int_eq(spool_dump(w.io, w.dir, ID_A, print_line, &lines), 0);
    io_destroy(w.io);
    w.io = NULL;

    ck_assert(spool_world_start(&w));
    ck_assert_uint_eq(w.recovery.bad_records, 0);
    ck_assert_uint_eq(w.recovered, 2);
    expect(&w, ID_A, 900, 2, "body of a");
    expect(&w, ID_C, 600, 1, "body of c");
    /* They move, one of them with something that version 1 had no place for. */
    spool_revise(w.s, spool_find(w.s, ID_C), &terms);
    for (unsigned i = 0; moved(&w) < 2; i++) {
        ck_assert_uint_lt(i, 1000);
        uint8_t *body = test_body(1, 20000);
        struct spool_message *m = test_message(&w, slice_of(body, 20000), 1);

        ck_assert_ptr_nonnull(m);
        ck_assert_uint_ge(m->id, 1 << 21);
        if (i % 12 != 0
            || i > 100) /* else it stays, so that there is something to gain by a move */
            test_outcome(&w, m, 0, SPOOL_RECIPIENT_DELIVERED, 0);
        spool_world_run_ms(&w, 20);
        mem_free(body);
    }
    for (int round = 0; round < 2; round++) {
        expect(&w, ID_A, 900, 2, "body of a");
        expect(&w, ID_C, 600, 1, "body of c");
        ck_assert_uint_eq(spool_find(w.s, ID_C)->terms.deliver_by_s, 12345);
        spool_world_stop(&w);
        ck_assert(spool_world_start(&w));
        ck_assert_uint_eq(w.recovery.bad_records, 0);
    }
    mem_free(image.bytes);
    spool_world_close(&w);
}
END_TEST

Suite *spool_v1_suite(void)
{
    Suite *suite = suite_create("spool_v1");
    TCase *tc = tcase_create("version 1");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, version_1);
    suite_add_tcase(suite, tc);
    return suite;
}
