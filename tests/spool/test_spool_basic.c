/* What a spool does when nothing goes wrong, on the simulator and on the real kernel. */
#include <check.h>

#include "base_mem.h"
#include "spool_world.h"

static void expect_body(struct spool_world *w, struct spool_message *m, uint64_t seed, size_t len)
{
    struct buf body = {0}, envelope = {0};
    uint8_t *expected = test_body(seed, len);

    ck_assert_int_eq(test_read(w, m, &body, &envelope), 0);
    ck_assert_uint_eq(buf_len(&body), len);
    ck_assert(slice_equal(buf_slice(&body), slice_of(expected, len)));
    buf_finish(&body);
    buf_finish(&envelope);
    mem_free(expected);
}

static struct spool_message *store(struct spool_world *w, uint64_t seed, size_t len,
                                   unsigned recipients)
{
    uint8_t *body = test_body(seed, len);
    struct spool_message *m = test_message(w, slice_of(body, len), recipients);

    mem_free(body);
    return m;
}

static const size_t lengths[] = {0,     1,     100,   4096,   8192,   8193,    20000,
                                 65536, 65537, 98000, 100000, 300000, 1000000, 3000000};

START_TEST(round_trip)
{
    struct spool_world w;
    uint64_t ids[ARRAY_LEN(lengths)];

    spool_world_open(&w, (enum spool_world_kind)_i);
    w.options.segment_size = 1 << 20;
    ck_assert(spool_world_start(&w));
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct spool_message *m = store(&w, i, lengths[i], 1 + (unsigned)i * 3);

        ck_assert_ptr_nonnull(m);
        ids[i] = m->id;
        ck_assert_uint_eq(m->body_len, lengths[i]);
        expect_body(&w, m, i, lengths[i]);
    }
    spool_world_settle(&w);
    spool_world_stop(&w);

    ck_assert(spool_world_start(&w));
    ck_assert_uint_eq(w.recovered, ARRAY_LEN(lengths));
    ck_assert_uint_eq(w.recovery.bad_records, 0);
    ck_assert_uint_eq(w.recovery.torn_bytes, 0);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct spool_message *m = spool_find(w.s, ids[i]);

        ck_assert_ptr_nonnull(m);
        ck_assert_uint_eq(m->recipient_count, 1 + i * 3);
        ck_assert_uint_eq(m->arrived_s, 1234567);
        ck_assert_uint_eq(m->flags, SPOOL_HAS_8BIT | SPOOL_REQUIRE_TLS);
        expect_body(&w, m, i, lengths[i]);
    }
    spool_world_close(&w);
}
END_TEST

START_TEST(envelope)
{
    struct spool_world w;
    struct buf body = {0}, text = {0};

    spool_world_open(&w, (enum spool_world_kind)_i);
    ck_assert(spool_world_start(&w));
    struct spool_message *m = test_message(&w, SLICE_LITERAL("hi\r\n"), 2);
    uint64_t id = m->id;
    ck_assert_int_eq(test_read(&w, m, &body, &text), 0);
    ck_assert(slice_equal(buf_slice(&text),
                          SLICE_LITERAL("sender@example.net r0@example.org r1@example.org "
                                        "client=192.0.2.1")));
    spool_world_stop(&w);
    ck_assert(spool_world_start(&w));
    buf_clear(&text);
    ck_assert_int_eq(test_read(&w, spool_find(w.s, id), &body, &text), 0);
    ck_assert(slice_equal(buf_slice(&text),
                          SLICE_LITERAL("sender@example.net r0@example.org r1@example.org "
                                        "client=192.0.2.1")));
    ck_assert(slice_equal(buf_slice(&body), SLICE_LITERAL("hi\r\nhi\r\n")));
    buf_finish(&text);
    buf_finish(&body);
    spool_world_close(&w);
}
END_TEST

START_TEST(outcomes)
{
    struct spool_world w;

    spool_world_open(&w, (enum spool_world_kind)_i);
    ck_assert(spool_world_start(&w));
    struct spool_message *m = test_message(&w, SLICE_LITERAL("three"), 3);
    struct spool_message *gone = test_message(&w, SLICE_LITERAL("gone"), 1);
    uint64_t id = m->id, gone_id = gone->id;

    test_outcome(&w, m, 0, SPOOL_RECIPIENT_DELIVERED, 0);
    test_outcome(&w, m, 1, SPOOL_RECIPIENT_WAITING, 777);
    test_outcome(&w, m, 1, SPOOL_RECIPIENT_WAITING, 888);
    test_outcome(&w, gone, 0, SPOOL_RECIPIENT_BOUNCED, 0);
    ck_assert_ptr_null(spool_find(w.s, gone_id));
    spool_world_stop(&w);

    ck_assert(spool_world_start(&w));
    ck_assert_uint_eq(w.recovered, 1);
    m = spool_find(w.s, id);
    ck_assert_uint_eq(m->recipients_left, 2);
    ck_assert_uint_eq(m->recipients[0].state, SPOOL_RECIPIENT_DELIVERED);
    ck_assert_uint_eq(m->recipients[1].state, SPOOL_RECIPIENT_WAITING);
    ck_assert_uint_eq(m->recipients[1].attempts, 2);
    ck_assert_uint_eq(m->recipients[1].due_s, 888);
    ck_assert_uint_eq(m->recipients[2].attempts, 0);
    test_outcome(&w, m, 1, SPOOL_RECIPIENT_DELETED, 0);
    test_outcome(&w, m, 2, SPOOL_RECIPIENT_DELIVERED, 0);
    spool_world_stop(&w);

    ck_assert(spool_world_start(&w));
    ck_assert_uint_eq(w.recovered, 0);
    spool_world_close(&w);
}
END_TEST

/* Many messages come and go: the log goes round and round in few files. */
START_TEST(turnover)
{
    struct spool_world w;
    struct spool_counters c;
    uint64_t last = 0;

    spool_world_open(&w, (enum spool_world_kind)_i);
    ck_assert(spool_world_start(&w));
    for (unsigned i = 0; i < (_i == SPOOL_WORLD_SIM ? 2000u : 600u); i++) {
        struct spool_message *m = store(&w, i, i % 20 == 0 ? 70000 : 3000, 1);

        ck_assert_ptr_nonnull(m);
        ck_assert_uint_gt(m->id, last);
        last = m->id;
        test_outcome(&w, m, 0, SPOOL_RECIPIENT_DELIVERED, 0);
        spool_counters(w.s, &c);
        ck_assert_uint_le(c.segments + c.segments_spare, 16);
    }
    spool_world_settle(&w);
    spool_counters(w.s, &c);
    ck_assert_uint_eq(c.messages, 0);
    ck_assert_uint_eq(c.bytes_live, 0);
    ck_assert_uint_eq(c.bytes_staging, 0);
    ck_assert_uint_gt(c.segments_recycled, 10);
    ck_assert_uint_gt(c.checkpoints, 2);
    spool_world_stop(&w);
    ck_assert(spool_world_start(&w));
    ck_assert_uint_eq(w.recovered, 0);
    struct spool_message *m = store(&w, 1, 10, 1);
    ck_assert_uint_gt(m->id, last);
    spool_world_close(&w);
}
END_TEST

/* A few that stay among many that go are moved out of the way. */
START_TEST(compaction)
{
    struct spool_world w;
    struct spool_counters c;
    uint64_t ids[40];
    unsigned kept = 0;

    spool_world_open(&w, (enum spool_world_kind)_i);
    ck_assert(spool_world_start(&w));
    for (unsigned i = 0; i < 1200; i++) {
        size_t len = i % 50 == 0 ? 100000 : 4000;
        struct spool_message *m = store(&w, i, len, 2);

        ck_assert_ptr_nonnull(m);
        test_outcome(&w, m, 0, SPOOL_RECIPIENT_DELIVERED, 0);
        if (i % 30 == 0)
            ids[kept++] = m->id;
        else
            test_outcome(&w, m, 1, SPOOL_RECIPIENT_DELIVERED, 0);
    }
    spool_world_run_ms(&w, 3000);
    spool_counters(w.s, &c);
    ck_assert_uint_gt(c.compacted_bytes, 0);
    ck_assert_uint_le(c.segments, 24);
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < kept; i++) {
            struct spool_message *m = spool_find(w.s, ids[i]);

            ck_assert_ptr_nonnull(m);
            ck_assert_uint_eq(m->recipients_left, 1);
            ck_assert_uint_eq(m->recipients[0].attempts, 1);
            expect_body(&w, m, i * 30, i * 30 % 50 == 0 ? 100000 : 4000);
        }
        spool_world_stop(&w);
        ck_assert(spool_world_start(&w));
        ck_assert_uint_eq(w.recovered, kept);
    }
    spool_world_close(&w);
}
END_TEST

START_TEST(aborted)
{
    struct spool_world w;
    struct spool_counters c;
    struct test_writer t;
    uint8_t *body = test_body(1, 500000);

    spool_world_open(&w, (enum spool_world_kind)_i);
    ck_assert(spool_world_start(&w));
    for (size_t len = 0; len <= 500000; len += 50000) {
        test_writer_init(&t, &w);
        ck_assert_int_eq(spool_writer_begin(w.s, &t.w, 0), SPOOL_OK);
        ck_assert_int_eq(test_write(&t, slice_of(body, len)), SPOOL_OK);
        spool_writer_abort(&t.w);
        spool_writer_abort(&t.w);
    }
    spool_world_settle(&w);
    spool_counters(w.s, &c);
    ck_assert_uint_eq(c.bytes_staging, 0);
    ck_assert_uint_eq(c.messages, 0);
    spool_world_stop(&w);
    ck_assert(spool_world_start(&w));
    ck_assert_uint_eq(w.recovered, 0);
    spool_world_close(&w);
    mem_free(body);
}
END_TEST

/* Those who hold all the staging and say nothing give way; none of them loses a byte. */
START_TEST(tricklers)
{
    enum { SLOW = 12, FIRST = 70000, REST = 500 };
    struct spool_world w;
    struct test_writer slow[SLOW];
    uint8_t *body = test_body(4, FIRST + REST);

    spool_world_open(&w, (enum spool_world_kind)_i);
    w.options.writer_memory_max = 128 << 10;
    ck_assert(spool_world_start(&w));
    for (unsigned i = 0; i < SLOW; i++) {
        test_writer_init(&slow[i], &w);
        ck_assert_int_eq(spool_writer_begin(w.s, &slow[i].w, 0), SPOOL_OK);
        ck_assert_int_eq(test_write(&slow[i], slice_of(body, FIRST)), SPOOL_OK);
    }
    struct spool_message *quick = store(&w, 8, 300000, 1);
    ck_assert_ptr_nonnull(quick);
    expect_body(&w, quick, 8, 300000);
    for (unsigned i = 0; i < SLOW; i++) {
        ck_assert_int_eq(test_write(&slow[i], slice_of(body + FIRST, REST)), SPOOL_OK);
        ck_assert_int_eq(test_commit(&slow[i], "", 1), SPOOL_OK);
        expect_body(&w, slow[i].message, 4, FIRST + REST);
    }
    mem_free(body);
    spool_world_close(&w);
}
END_TEST

START_TEST(submitted)
{
    struct spool_world w;
    struct test_writer t;
    struct slice to = SLICE_LITERAL("a@b.example");
    struct spool_envelope e = {.recipients = &to, .recipient_count = 1, .flags = SPOOL_IS_BOUNCE};
    uint8_t *body = test_body(9, 30000);

    spool_world_open(&w, (enum spool_world_kind)_i);
    ck_assert(spool_world_start(&w));
    test_writer_init(&t, &w);
    ck_assert_int_eq(spool_submit(w.s, &t.w, slice_of(body, 30000), &e), SPOOL_OK);
    while (!t.is_done)
        spool_world_pass(&w);
    ck_assert_int_eq(t.result, SPOOL_OK);
    expect_body(&w, t.message, 9, 30000);
    mem_free(body);
    spool_world_close(&w);
}
END_TEST

Suite *spool_basic_suite(void)
{
    Suite *suite = suite_create("spool_basic");
    TCase *tc = tcase_create("both");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, round_trip, 0, SPOOL_WORLD_COUNT);
    tcase_add_loop_test(tc, envelope, 0, SPOOL_WORLD_COUNT);
    tcase_add_loop_test(tc, outcomes, 0, SPOOL_WORLD_COUNT);
    tcase_add_loop_test(tc, turnover, 0, SPOOL_WORLD_COUNT);
    tcase_add_loop_test(tc, compaction, 0, SPOOL_WORLD_COUNT);
    tcase_add_loop_test(tc, aborted, 0, SPOOL_WORLD_COUNT);
    tcase_add_loop_test(tc, tricklers, 0, SPOOL_WORLD_COUNT);
    tcase_add_loop_test(tc, submitted, 0, SPOOL_WORLD_COUNT);
    suite_add_tcase(suite, tc);
    return suite;
}
