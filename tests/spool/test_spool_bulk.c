/* Messages in order and many at once: the index against a model, the walk while mail comes and goes, the
 * envelopes of thousands. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_mem.h"
#include "base_rand.h"
#include "spool_priv.h"
#include "spool_world.h"

/* ---- the index ---------------------------------------------------------------------------- */

enum { IDS = 4000 };

static void check_order(const struct spool_index *x, const bool *there, struct spool_message **all)
{
    struct spool_message *m = spool_index_next(x, 0);

    for (unsigned i = 0; i < IDS; i++) {
        ck_assert_ptr_eq(spool_index_find(x, all[i]->id), there[i] ? all[i] : NULL);
        if (!there[i])
            continue;
        ck_assert_ptr_eq(m, all[i]);
        m = spool_index_next(x, m->id);
    }
    ck_assert_ptr_null(m);
}

/* Dense ids, sparse ones, ids of several logs; growing, shrinking, in any order. */
START_TEST(index_order)
{
    struct spool_index x;
    struct rand rand;
    struct spool_message *all[IDS];
    bool there[IDS] = {false};
    uint64_t id = 0;

    rand_seed(&rand, (uint64_t)_i);
    for (unsigned i = 0; i < IDS; i++) {
        all[i] = mem_zalloc(sizeof(*all[i]));
        id += 1 + (_i % 3 == 1 ? rand_below(&rand, 1000) : 0);
        if (_i % 3 == 2 && rand_chance(&rand, 1, 50))
            id += UINT64_C(1) << rand_between(&rand, 20, 48);
        all[i]->id = id;
    }
    spool_index_init(&x);
    for (unsigned round = 0; round < 40; round++) {
        bool add = rand_chance(&rand, 1, 2);

        for (unsigned k = 0; k < IDS / 4; k++) {
            unsigned i = round < 4 ? round * (IDS / 4) + (k ^ 3) : (unsigned)rand_below(&rand, IDS);

            if ((add || round < 4) && !there[i])
                spool_index_insert(&x, all[i]);
            else if (!add && round >= 4 && there[i])
                spool_index_remove(&x, all[i]);
            else
                continue;
            there[i] = !there[i];
        }
        check_order(&x, there, all);
        if (round == 3 && _i % 3 == 0)
            ck_assert_uint_le(x.leaf_count, IDS / SPOOL_LEAF_MAX + 4);
    }
    for (unsigned i = 0; i < IDS; i++) {
        if (there[i])
            spool_index_remove(&x, all[i]);
        mem_free(all[i]);
    }
    ck_assert_uint_eq(x.leaf_count, 0);
    spool_index_finish(&x);
}
END_TEST

/* ---- the walk ----------------------------------------------------------------------------- */

struct met {
    uint64_t last;
    unsigned count, stop_after;
};

static bool meet(struct spool_message *m, void *context)
{
    struct met *met = context;

    ck_assert_uint_gt(m->id, met->last);
    met->last = m->id;
    return ++met->count != met->stop_after;
}

START_TEST(walk)
{
    enum { MESSAGES = 600 };
    struct spool_world w;
    struct met met = {0};
    uint64_t ids[MESSAGES], after = 0;
    unsigned calls = 0, ended = 0;

    spool_world_open(&w, SPOOL_WORLD_SIM);
    ck_assert(spool_world_start(&w));
    ck_assert(!spool_walk(w.s, &after, 100, meet, &met));
    ck_assert_uint_eq(after, 0);
    for (unsigned i = 0; i < MESSAGES; i++)
        ids[i] = test_message(&w, SLICE_LITERAL("m"), 1)->id;
    while (spool_walk(w.s, &after, 50, meet, &met)) {
        ck_assert_uint_eq(after, met.last);
        /* Those behind go, half of those ahead go, others come. */
        for (unsigned i = 0; i < MESSAGES && calls == 5; i += 2) {
            struct spool_message *m = spool_find(w.s, ids[i]);

            ended += ids[i] > after;
            test_outcome(&w, m, 0, SPOOL_RECIPIENT_DELIVERED, 0);
        }
        if (calls++ == 5)
            ck_assert_ptr_nonnull(test_message(&w, SLICE_LITERAL("new"), 1));
    }
    ck_assert_uint_eq(met.count, MESSAGES - ended + 1);
    after = 0;
    met = (struct met){.stop_after = 3};
    ck_assert(spool_walk(w.s, &after, 50, meet, &met));
    ck_assert_uint_eq(met.count, 3);
    ck_assert_uint_eq(after, met.last);
    spool_world_close(&w);
}
END_TEST

/* ---- bulk --------------------------------------------------------------------------------- */

enum { MANY = 300 };

struct many {
    struct spool_world w;
    uint64_t ids[MANY];
    struct spool_bulk *bulk;
    bool ready;
};

static void on_ready(void *context)
{
    struct many *x = context;

    ck_assert(!x->ready);
    x->ready = true;
}

static unsigned recipients_of(unsigned i)
{
    return i % 37 == 0 ? 50 : 1 + i % 3;
}

static void store(struct many *x, unsigned i)
{
    struct slice to[50];
    struct spool_dsn dsn[50] = {0};
    char texts[50][32], sender[32], envid[32];
    size_t len = i % 11 == 0 ? 30000 : i % 17 == 0 ? 100000 : i * 7 % 3000;
    uint8_t *body = test_body(i, len);

    (void)snprintf(sender, sizeof(sender), "s%u@example.net", i);
    (void)snprintf(envid, sizeof(envid), "e%u", i);
    for (unsigned k = 0; k < recipients_of(i); k++) {
        (void)snprintf(texts[k], sizeof(texts[k]), "r%u-%u@example.org", i, k);
        to[k] = slice_str(texts[k]);
        dsn[k].notify = SPOOL_NOTIFY_NEVER;
        dsn[k].orcpt = to[k];
    }
    struct spool_envelope e = {
        .sender = slice_str(sender),
        .recipients = to,
        .recipient_count = recipients_of(i),
        .facts = SLICE_LITERAL("client=192.0.2.1"),
        .envid = i % 2 ? slice_str(envid) : SLICE_NULL,
        .dsn = i % 2 ? dsn : NULL,
    };
    x->ids[i] = test_submit(&x->w, slice_of(body, len), &e)->id;
    mem_free(body);
}

static void many_open(struct many *x, enum spool_world_kind kind)
{
    *x = (struct many){0};
    spool_world_open(&x->w, kind);
    x->w.options.segment_size = 1 << 20;
    ck_assert(spool_world_start(&x->w));
    for (unsigned i = 0; i < MANY; i++)
        store(x, i);
    x->bulk = spool_bulk_create(x->w.s, on_ready, x);
}

static enum spool_read next(struct many *x, struct spool_bulk_row *row)
{
    enum spool_read result;

    x->ready = false;
    while ((result = spool_bulk_next(x->bulk, row)) == SPOOL_READ_WAIT) {
        while (!x->ready)
            (void)io_wait(x->w.io, io_now_ms(x->w.io) + 100);
        x->ready = false;
    }
    return result;
}

static void add_all(struct many *x)
{
    for (unsigned i = 0; i < MANY; i++) {
        struct spool_message *m = spool_find(x->w.s, x->ids[i]);

        if (m)
            ck_assert(spool_bulk_add(x->bulk, m));
    }
}

static unsigned number_of(const struct many *x, uint64_t id)
{
    for (unsigned i = 0; i < MANY; i++) {
        if (x->ids[i] == id)
            return i;
    }
    ck_abort_msg("a row of nobody");
}

static void check_row(const struct many *x, const struct spool_bulk_row *row)
{
    unsigned i = number_of(x, row->message->id);
    struct slice to[50];
    struct spool_dsn dsn[50];
    char text[32];

    ck_assert_int_eq(row->error, 0);
    (void)snprintf(text, sizeof(text), "s%u@example.net", i);
    ck_assert(slice_equal(row->sender, slice_str(text)));
    ck_assert(slice_equal(row->facts, SLICE_LITERAL("client=192.0.2.1")));
    (void)snprintf(text, sizeof(text), "e%u", i);
    ck_assert(slice_equal(row->envid, i % 2 ? slice_str(text) : SLICE_NULL));
    spool_bulk_recipients(x->bulk, to);
    spool_bulk_dsn(x->bulk, dsn);
    for (unsigned k = 0; k < recipients_of(i); k++) {
        (void)snprintf(text, sizeof(text), "r%u-%u@example.org", i, k);
        ck_assert(slice_equal(to[k], slice_str(text)));
        ck_assert_uint_eq(dsn[k].notify, i % 2 ? SPOOL_NOTIFY_NEVER : 0);
        ck_assert(slice_equal(dsn[k].orcpt, i % 2 ? slice_str(text) : SLICE_NULL));
    }
}

static unsigned take_all(struct many *x)
{
    struct spool_bulk_row row;
    unsigned rows = 0;

    while (next(x, &row) == SPOOL_READ_PIECE) {
        check_row(x, &row);
        rows++;
    }
    return rows;
}

static void many_close(struct many *x)
{
    spool_bulk_destroy(x->bulk, false);
    spool_world_close(&x->w);
}

START_TEST(bulk)
{
    struct many x;
    struct spool_bulk_row row;

    many_open(&x, (enum spool_world_kind)_i);
    ck_assert_int_eq(next(&x, &row), SPOOL_READ_END);
    add_all(&x);
    ck_assert_uint_eq(take_all(&x), MANY);
    /* Some end after they were added, one while its row is out. */
    add_all(&x);
    ck_assert_int_eq(next(&x, &row), SPOOL_READ_PIECE);
    uint64_t gone = row.message->id;
    for (uint32_t k = 0; k < row.message->recipient_count; k++)
        test_outcome(&x.w, row.message, k, SPOOL_RECIPIENT_DELIVERED, 0);
    check_row(&x, &row);
    struct spool_message *last = spool_find(x.w.s, x.ids[MANY - 1]);
    for (uint32_t k = 0; k < recipients_of(MANY - 1); k++)
        test_outcome(&x.w, last, k, SPOOL_RECIPIENT_DELIVERED, 0);
    ck_assert_uint_eq(take_all(&x), MANY - 2);
    ck_assert_ptr_null(spool_find(x.w.s, gone));
    /* And from disk alone. */
    spool_bulk_destroy(x.bulk, false);
    spool_world_stop(&x.w);
    ck_assert(spool_world_start(&x.w));
    x.bulk = spool_bulk_create(x.w.s, on_ready, &x);
    add_all(&x);
    ck_assert_uint_eq(take_all(&x), MANY - 2);
    many_close(&x);
}
END_TEST

START_TEST(bulk_dropped)
{
    struct many x;
    struct spool_bulk_row row;

    many_open(&x, (enum spool_world_kind)_i);
    add_all(&x);
    spool_bulk_drop(x.bulk);
    for (int round = 0; round < 20; round++) {
        x.ready = false;
        add_all(&x);
        enum spool_read result = SPOOL_READ_PIECE;
        for (int k = 0; k < round && result == SPOOL_READ_PIECE; k++)
            result = round % 2 ? next(&x, &row) : spool_bulk_next(x.bulk, &row);
        x.ready = false;
        spool_bulk_drop(x.bulk);
        bool busy = spool_bulk_busy(x.bulk);
        while (spool_bulk_busy(x.bulk))
            (void)io_wait(x.w.io, io_now_ms(x.w.io) + 100);
        ck_assert(x.ready == busy);
    }
    for (unsigned i = 0; i < MANY; i++)
        ck_assert_uint_eq(spool_pins(spool_find(x.w.s, x.ids[i])), 0);
    add_all(&x);
    ck_assert_uint_eq(take_all(&x), MANY);
    many_close(&x);
}
END_TEST

/* One envelope has rotted: its row says so, the others are there. A body has: nobody notices here. */
START_TEST(bulk_rot)
{
    struct many x;
    struct spool_bulk_row row;
    char path[SPOOL_PATH_MAX];
    unsigned bad = 0, rows = 0;

    many_open(&x, SPOOL_WORLD_SIM);
    struct spool_message *m = spool_find(x.w.s, x.ids[22]); /* 30000 bytes, in the record */
    spool_segment_path(m->segment->log, m->segment->number, path);
    sim_file_corrupt(x.w.machine, path, m->offset + 20000);
    sim_file_corrupt(x.w.machine, path, m->offset + m->record_len - 5);
    m = spool_find(x.w.s, x.ids[33]);
    sim_file_corrupt(x.w.machine, path, m->offset + 20000);
    add_all(&x);
    while (next(&x, &row) == SPOOL_READ_PIECE) {
        rows++;
        if (row.error == 0) {
            check_row(&x, &row);
            continue;
        }
        ck_assert_int_eq(row.error, -EBADMSG);
        ck_assert_uint_eq(row.message->id, x.ids[22]);
        bad++;
    }
    ck_assert_uint_eq(bad, 1);
    ck_assert_uint_eq(rows, MANY);
    many_close(&x);
}
END_TEST

/* A disk that fails reads, or gives them piece by piece. */
START_TEST(bulk_bad_disk)
{
    struct many x;
    struct spool_bulk_row row;
    unsigned errors = 0, rows = 0;

    many_open(&x, SPOOL_WORLD_SIM);
    sim_options(x.w.sim)->read_short = 5000;
    sim_options(x.w.sim)->read_error = 1000;
    for (int round = 0; round < 10; round++) {
        add_all(&x);
        while (next(&x, &row) == SPOOL_READ_PIECE) {
            rows++;
            if (row.error == 0)
                check_row(&x, &row);
            else
                errors++;
            ck_assert(row.error == 0 || row.error == -EIO);
        }
    }
    ck_assert_uint_eq(rows, 10 * MANY);
    ck_assert_uint_gt(errors, 0);
    ck_assert_uint_lt(errors, rows);
    sim_options(x.w.sim)->read_error = 0;
    many_close(&x);
}
END_TEST

Suite *spool_bulk_suite(void)
{
    Suite *suite = suite_create("spool_bulk");
    TCase *tc = tcase_create("bulk");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, index_order, 0, 9);
    tcase_add_test(tc, walk);
    tcase_add_loop_test(tc, bulk, 0, SPOOL_WORLD_COUNT);
    tcase_add_loop_test(tc, bulk_dropped, 0, SPOOL_WORLD_COUNT);
    tcase_add_test(tc, bulk_rot);
    tcase_add_test(tc, bulk_bad_disk);
    suite_add_tcase(suite, tc);
    return suite;
}
