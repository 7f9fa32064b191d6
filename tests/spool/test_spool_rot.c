/* Disks that rot: what is hit is reported and lost alone, the rest is delivered. */
#include <check.h>
#include <errno.h>
#include <stdio.h>

#include "base_mem.h"
#include "spool_world.h"

enum { MESSAGES = 30 };

static void count_line(void *context, const char *text)
{
    (void)text;
    ++*(unsigned *)context;
}

static void fill(struct spool_world *w, uint64_t ids[MESSAGES], size_t len)
{
    for (unsigned i = 0; i < MESSAGES; i++) {
        uint8_t *body = test_body(i, len);
        const struct slice to = SLICE_LITERAL("r@example.org");
        const struct spool_dsn dsn = {.notify = SPOOL_NOTIFY_FAILURE, .orcpt = to};
        const struct spool_envelope rich = {.recipients = &to,
                                            .recipient_count = 1,
                                            .envid = to,
                                            .dsn = &dsn,
                                            .terms = {.deliver_by_s = 1}};
        struct spool_message *m = i % 2 ? test_message(w, slice_of(body, len), 1)
                                        : test_submit(w, slice_of(body, len), &rich);

        ck_assert_ptr_nonnull(m);
        ids[i] = m->id;
        mem_free(body);
    }
}

static unsigned count_intact(struct spool_world *w, const uint64_t ids[MESSAGES], size_t len)
{
    unsigned intact = 0;

    for (unsigned i = 0; i < MESSAGES; i++) {
        struct spool_message *m = spool_find(w->s, ids[i]);
        struct buf body = {0};
        uint8_t *expected = test_body(i, len);

        if (m) {
            int error = test_read(w, m, &body, NULL);

            ck_assert(error == 0 || error == -EBADMSG);
            if (error == 0) {
                ck_assert(slice_equal(buf_slice(&body), slice_of(expected, len)));
                intact++;
            }
        }
        buf_finish(&body);
        mem_free(expected);
    }
    return intact;
}

static bool first_segment(void *context, const char *name)
{
    char *out = context;

    if (strlen(name) == 20 && (out[0] == '\0' || strcmp(name, out) < 0))
        (void)snprintf(out, 32, "%s", name);
    return true;
}

/* One bit anywhere in the written part of the first segment hurts one message at most, or none at all
 * if it hits a header: every record is found without it. */
START_TEST(one_bit)
{
    struct rand rand;
    uint64_t ids[MESSAGES];

    rand_seed(&rand, (uint64_t)_i);
    for (int round = 0; round < 20; round++) {
        struct spool_world w;
        struct spool_verify_report report;
        char name[32] = "", path[128];
        unsigned lines = 0;
        uint64_t offset = rand_below(&rand, MESSAGES * 2048);

        spool_world_open(&w, SPOOL_WORLD_SIM);
        ck_assert(spool_world_start(&w));
        fill(&w, ids, 1500);
        spool_world_stop(&w);
        w.io = sim_io_create(w.machine, 0);
        sim_io_set_stepping(w.io, true);
        ck_assert_int_eq(spool_verify(w.io, w.dir, count_line, &lines, &report), 0);
        ck_assert_uint_eq(lines, 0);
        ck_assert_uint_eq(report.live, MESSAGES);
        ck_assert_uint_eq(report.directories, 1);
        ck_assert_int_eq(io_list(w.io, "/spool/0", first_segment, name), 0);
        (void)snprintf(path, sizeof(path), "/spool/0/%s", name);
        sim_file_corrupt(w.machine, path, offset);
        (void)spool_verify(w.io, w.dir, count_line, &lines, &report);
        ck_assert_uint_le(report.bad_records, 3);
        ck_assert(report.live >= MESSAGES - 1);
        io_destroy(w.io);
        w.io = NULL;
        ck_assert(spool_world_start(&w));
        ck_assert_uint_ge(count_intact(&w, ids, 1500), MESSAGES - 1);
        spool_world_close(&w);
    }
}
END_TEST

/* Rot all over: opening survives, what is not hit is intact. */
START_TEST(many_bits)
{
    struct rand rand;
    uint64_t ids[MESSAGES];

    rand_seed(&rand, 1000 + (uint64_t)_i);
    for (int round = 0; round < 10; round++) {
        struct spool_world w;
        struct spool_verify_report report;
        char name[32] = "", path[128];
        unsigned lines = 0;
        uint64_t flips = rand_between(&rand, 2, 400);

        spool_world_open(&w, SPOOL_WORLD_SIM);
        ck_assert(spool_world_start(&w));
        fill(&w, ids, 1500);
        spool_world_stop(&w);
        w.io = sim_io_create(w.machine, 0);
        sim_io_set_stepping(w.io, true);
        ck_assert_int_eq(io_list(w.io, "/spool/0", first_segment, name), 0);
        (void)snprintf(path, sizeof(path), "/spool/0/%s", name);
        for (uint64_t i = 0; i < flips; i++)
            sim_file_corrupt(w.machine, path, rand_below(&rand, 100000));
        (void)spool_verify(w.io, w.dir, count_line, &lines, &report);
        io_destroy(w.io);
        w.io = NULL;
        ck_assert(spool_world_start(&w));
        ck_assert(flips > MESSAGES || count_intact(&w, ids, 1500) >= MESSAGES - flips);
        /* And it takes new mail. */
        ck_assert_ptr_nonnull(test_message(&w, SLICE_LITERAL("new"), 1));
        spool_world_close(&w);
    }
}
END_TEST

START_TEST(large_body)
{
    struct spool_world w;
    struct spool_verify_report report;
    char name[32] = "", path[128];
    struct buf body = {0};
    unsigned lines = 0;
    uint8_t *bytes = test_body(5, 100000);

    spool_world_open(&w, SPOOL_WORLD_SIM);
    ck_assert(spool_world_start(&w));
    struct spool_message *m = test_message(&w, slice_of(bytes, 100000), 1);
    uint64_t id = m->id;
    spool_world_stop(&w);
    w.io = sim_io_create(w.machine, 0);
    sim_io_set_stepping(w.io, true);
    ck_assert_int_eq(io_list(w.io, "/spool/0", first_segment, name), 0);
    (void)snprintf(path, sizeof(path), "/spool/0/%s", name);
    sim_file_corrupt(w.machine, path, 4096 + 5000);
    ck_assert_int_eq(spool_verify(w.io, w.dir, count_line, &lines, &report), -EBADMSG);
    ck_assert_uint_gt(lines, 0);
    ck_assert_uint_gt(report.bad_records, 0);
    lines = 0;
    ck_assert_int_eq(spool_dump(w.io, w.dir, id, count_line, &lines), 0);
    ck_assert_uint_gt(lines, 3);
    io_destroy(w.io);
    w.io = NULL;
    ck_assert(spool_world_start(&w));
    m = spool_find(w.s, id);
    ck_assert_ptr_nonnull(m);
    ck_assert_int_eq(test_read(&w, m, &body, NULL), -EBADMSG);
    buf_finish(&body);
    mem_free(bytes);
    spool_world_close(&w);
}
END_TEST

/* Everything that a record can say is printed, by its id alone, and what is printed is text. */
struct printed {
    struct buf text;
};

static void print_line(void *context, const char *text)
{
    struct printed *p = context;

    for (const char *at = text; *at; at++)
        ck_assert(*at >= ' ' && *at != 0x7f);
    ck_assert(buf_append_str(&p->text, text) && buf_append_str(&p->text, "\n"));
}

static bool says(struct printed *p, const char *what)
{
    struct slice all = buf_slice(&p->text);

    return memmem(all.data, all.len, what, strlen(what)) != NULL;
}

static struct slice reason(void *context, const struct spool_message *m)
{
    (void)context;
    (void)m;
    return SLICE_LITERAL("why\033[2J");
}

START_TEST(dump_says_it_all)
{
    static const char *const words[] = {"envid=QQ",        "deliver_by=4000 priority=-9",
                                        "notify=8",        "orcpt=rfc822;a?b",
                                        "flags=1",         "terms",
                                        "deliver_by=5000", "flags=2",
                                        "451 later",       "reason why?"};
    struct spool_world w;
    struct printed p = {{0}};
    const struct slice to = SLICE_LITERAL("a@b.example");
    const struct spool_dsn dsn = {.notify = SPOOL_NOTIFY_DELAY,
                                  .orcpt = SLICE_LITERAL("rfc822;a\nb")};
    const struct spool_envelope e = {.recipients = &to,
                                     .recipient_count = 1,
                                     .envid = SLICE_LITERAL("QQ"),
                                     .dsn = &dsn,
                                     .terms = {.deliver_by_s = 4000, .priority = -9},
                                     .hold_until_s = 77};
    const struct spool_terms terms = {.deliver_by_s = 5000};
    const struct spool_outcome o = {.state = SPOOL_RECIPIENT_WAITING,
                                    .due_s = 88,
                                    .text = SLICE_LITERAL("451 later"),
                                    .set_flags = SPOOL_RECIPIENT_WARNED,
                                    .clear_flags = SPOOL_RECIPIENT_HELD};
    struct spool_verify_report report;
    struct spool_counters c;

    spool_world_open(&w, SPOOL_WORLD_SIM);
    w.options.reason = reason;
    w.options.checkpoint_bytes = 4096;
    ck_assert(spool_world_start(&w));
    struct spool_message *m = test_submit(&w, SLICE_LITERAL("hi\r\n"), &e);
    uint64_t id = m->id;
    spool_outcomes(w.s, m, &o, 1);
    spool_revise(w.s, m, &terms);
    do {
        uint8_t *body = test_body(1, 20000);

        ck_assert_ptr_nonnull(test_message(&w, slice_of(body, 20000), 1));
        spool_counters(w.s, &c);
        mem_free(body);
    } while (c.checkpoints == 0);
    spool_world_stop(&w);
    w.io = sim_io_create(w.machine, 0);
    sim_io_set_stepping(w.io, true);
    ck_assert_int_eq(spool_verify(w.io, w.dir, print_line, &p, &report), 0);
    ck_assert_uint_eq(buf_len(&p.text), 0);
    ck_assert_int_eq(spool_dump(w.io, w.dir, id, print_line, &p), 0);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        ck_assert_msg(says(&p, words[i]), "%s: not in\n%.*s", words[i],
                      SLICE_ARG(buf_slice(&p.text)));
    buf_finish(&p.text);
    io_destroy(w.io);
    w.io = NULL;
    spool_world_close(&w);
}
END_TEST

Suite *spool_rot_suite(void)
{
    Suite *suite = suite_create("spool_rot");
    TCase *tc = tcase_create("rot");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, one_bit, 0, 8);
    tcase_add_loop_test(tc, many_bits, 0, 8);
    tcase_add_test(tc, large_body);
    tcase_add_test(tc, dump_says_it_all);
    suite_add_tcase(suite, tc);
    return suite;
}
