/* Room that runs out, and who holds the lock. */
#include <check.h>
#include <errno.h>

#include "base_mem.h"
#include "spool_priv.h"
#include "spool_world.h"

enum { KEPT_MAX = 4000 };

/* Messages until one is refused: how many, their ids. */
static unsigned fill_up(struct spool_world *w, uint64_t *ids, enum spool_result *out_why)
{
    uint8_t *body = test_body(3, 6000);
    unsigned count = 0;

    *out_why = SPOOL_OK;
    while (count < KEPT_MAX && *out_why == SPOOL_OK) {
        struct test_writer t;

        test_writer_init(&t, w);
        *out_why = spool_writer_begin(w->s, &t.w, 6000);
        if (*out_why != SPOOL_OK)
            break;
        *out_why = test_write(&t, slice_of(body, 6000));
        if (*out_why != SPOOL_OK) {
            spool_writer_abort(&t.w);
            break;
        }
        *out_why = test_commit(&t, "a@b.example", 1);
        if (*out_why == SPOOL_OK)
            ids[count++] = t.message->id;
    }
    mem_free(body);
    return count;
}

static void run_full(struct spool_world *w)
{
    uint64_t *ids = mem_calloc(KEPT_MAX, sizeof(*ids));
    enum spool_result why;
    struct test_writer t;
    unsigned count;

    ck_assert(spool_world_start(w));
    count = fill_up(w, ids, &why);
    ck_assert_int_eq(why, SPOOL_FULL);
    ck_assert_uint_gt(count, 50);
    ck_assert_uint_lt(count, KEPT_MAX);
    /* Deferrals go on while it is full, many times over what the reserve holds. */
    for (unsigned round = 0; round < 6; round++) {
        for (unsigned i = 0; i < count; i++)
            test_outcome(w, spool_find(w->s, ids[i]), 0, SPOOL_RECIPIENT_WAITING, round + 1);
        spool_world_run_ms(w, 200);
        ck_assert_uint_eq(w->s->own->deferred_count, 0);
    }
    test_writer_init(&t, w);
    ck_assert_int_eq(spool_writer_begin(w->s, &t.w, 300000), SPOOL_FULL);
    spool_world_stop(w);
    ck_assert(spool_world_start(w));
    ck_assert_uint_eq(w->recovered, count);
    ck_assert_uint_eq(w->recovery.bad_records, 0);
    for (unsigned i = 0; i < count; i++) {
        struct spool_message *m = spool_find(w->s, ids[i]);

        ck_assert_uint_eq(m->recipients[0].due_s, 6);
        ck_assert_uint_eq(m->recipients[0].attempts, 6);
    }
    /* Deliveries make room by themselves. */
    for (unsigned i = 0; i < count; i++) {
        test_outcome(w, spool_find(w->s, ids[i]), 0, SPOOL_RECIPIENT_DELIVERED, 0);
        if (i % 20 == 0)
            spool_world_run_ms(w, 20);
    }
    spool_world_run_ms(w, 5000);
    ck_assert_int_eq(spool_intake(w->s), SPOOL_OK);
    ck_assert_ptr_nonnull(test_message(w, SLICE_LITERAL("again"), 1));
    ck_assert_uint_ge(fill_up(w, ids, &why), count / 2);
    spool_world_close(w);
    mem_free(ids);
}

START_TEST(limit)
{
    struct spool_world w;
    struct spool_counters c;

    spool_world_open(&w, (enum spool_world_kind)_i);
    w.options.bytes_max = 4 << 20;
    run_full(&w);
    spool_world_open(&w, SPOOL_WORLD_SIM);
    w.options.bytes_max = 4 << 20;
    uint64_t *ids = mem_calloc(KEPT_MAX, sizeof(*ids));
    enum spool_result why;
    ck_assert(spool_world_start(&w));
    (void)fill_up(&w, ids, &why);
    spool_counters(w.s, &c);
    ck_assert_uint_le(c.bytes_disk, 4 << 20);
    mem_free(ids);
    spool_world_close(&w);
}
END_TEST

START_TEST(disk)
{
    struct sim_options options = sim_options_default();
    struct spool_world w;

    options.disk_bytes = 5 << 20;
    spool_world_open_seed(&w, 1, &options);
    run_full(&w);
}
END_TEST

/* The disk is full for a while, by somebody else's doing; then it is not. */
START_TEST(passing)
{
    struct spool_world w;
    uint64_t *ids = mem_calloc(KEPT_MAX, sizeof(*ids));
    enum spool_result why;

    spool_world_open(&w, SPOOL_WORLD_SIM);
    ck_assert(spool_world_start(&w));
    spool_world_run_ms(&w, 100);
    sim_options(w.sim)->disk_bytes = 1;
    (void)fill_up(&w, ids, &why);
    ck_assert_int_eq(why, SPOOL_FULL);
    sim_options(w.sim)->disk_bytes = 0;
    spool_world_run_ms(&w, 2500);
    ck_assert_int_eq(spool_intake(w.s), SPOOL_OK);
    ck_assert_ptr_nonnull(test_message(&w, SLICE_LITERAL("fits"), 1));
    mem_free(ids);
    spool_world_close(&w);
}
END_TEST

/* Syncs that fail: once, and the message is safe elsewhere; all the time, and it is refused; then they
 * work and it is taken again. */
START_TEST(sync_fails)
{
    struct spool_world w;
    struct spool_counters c;
    struct test_writer t;

    spool_world_open(&w, SPOOL_WORLD_SIM);
    ck_assert(spool_world_start(&w));
    spool_world_run_ms(&w, 200);
    struct spool_message *kept = test_message(&w, SLICE_LITERAL("before"), 2);
    uint64_t kept_id = kept->id;
    spool_world_run_ms(&w, 200);
    sim_options(w.sim)->write_error = 10000;
    test_writer_init(&t, &w);
    ck_assert_int_eq(spool_writer_begin(w.s, &t.w, 0), SPOOL_OK);
    ck_assert_int_eq(test_write(&t, SLICE_LITERAL("lost")), SPOOL_OK);
    ck_assert_int_eq(test_commit(&t, "x@y.example", 1), SPOOL_FAILED);
    ck_assert_int_eq(spool_intake(w.s), SPOOL_FAILED);
    ck_assert_int_eq(spool_writer_begin(w.s, &t.w, 0), SPOOL_FAILED);
    /* Outcomes are remembered meanwhile. */
    test_outcome(&w, kept, 0, SPOOL_RECIPIENT_DELIVERED, 0);
    spool_world_run_ms(&w, 12000);
    ck_assert_int_eq(spool_intake(w.s), SPOOL_FAILED);
    sim_options(w.sim)->write_error = 0;
    spool_world_run_ms(&w, 12000);
    ck_assert_int_eq(spool_intake(w.s), SPOOL_OK);
    ck_assert_ptr_nonnull(test_message(&w, SLICE_LITERAL("after"), 1));
    spool_counters(w.s, &c);
    ck_assert_uint_gt(c.sync_errors, 1);
    spool_world_crash(&w);
    ck_assert(spool_world_start(&w));
    ck_assert_uint_eq(w.recovered, 2);
    ck_assert_uint_eq(w.recovery.bad_records, 0);
    kept = spool_find(w.s, kept_id);
    ck_assert_uint_eq(kept->recipients[0].state, SPOOL_RECIPIENT_DELIVERED);
    spool_world_close(&w);
}
END_TEST

START_TEST(too_big)
{
    struct spool_world w;
    struct test_writer t;

    spool_world_open(&w, (enum spool_world_kind)_i);
    ck_assert(spool_world_start(&w));
    test_writer_init(&t, &w);
    ck_assert_int_eq(spool_writer_begin(w.s, &t.w, 0), SPOOL_OK);
    ck_assert_int_eq(test_write(&t, SLICE_LITERAL("x")), SPOOL_OK);
    ck_assert_int_eq(test_commit(&t, "x@y.example", 5000), SPOOL_TOO_BIG);
    ck_assert_ptr_nonnull(test_message(&w, SLICE_LITERAL("x"), 1000));
    spool_world_close(&w);
}
END_TEST

START_TEST(lock)
{
    struct spool_world w;
    struct spool_verify_report report;
    struct buf error = {0};

    spool_world_open(&w, SPOOL_WORLD_SIM);
    ck_assert(spool_world_start(&w));
    struct io *other = sim_io_create(w.machine, spool_registered_len(&w.options));
    sim_io_set_stepping(other, true);
    ck_assert_ptr_null(spool_open(other, &w.options, NULL, &error));
    ck_assert(slice_equal(buf_slice(&error),
                          SLICE_LITERAL("spool /spool is in use by another mailring (pid 4711)")));
    ck_assert_int_eq(spool_verify(other, w.dir, NULL, NULL, &report), -EBUSY);
    buf_finish(&error);
    io_destroy(other);
    spool_world_close(&w);
}
END_TEST

Suite *spool_full_suite(void)
{
    Suite *suite = suite_create("spool_full");
    TCase *tc = tcase_create("full");

    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, limit, 0, SPOOL_WORLD_COUNT);
    tcase_add_test(tc, disk);
    tcase_add_test(tc, passing);
    tcase_add_test(tc, sync_fails);
    tcase_add_loop_test(tc, too_big, 0, SPOOL_WORLD_COUNT);
    tcase_add_test(tc, lock);
    suite_add_tcase(suite, tc);
    return suite;
}
