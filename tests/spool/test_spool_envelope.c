/* What a message says besides its addresses: notices, terms, holds, flags, hashes. It survives a restart
 * from the log, from a checkpoint, and a move. */
#include <check.h>

#include "base_mem.h"
#include "spool_priv.h"
#include "spool_world.h"

enum { ORCPT_MAX = 500 };

static char long_orcpt[ORCPT_MAX + 1];

static const struct slice to[3] = {SLICE_INIT("One@Example.ORG"), SLICE_INIT("two@example.com"),
                                   SLICE_INIT("staff@example.org")};

static struct spool_envelope rich_envelope(struct spool_dsn dsn[3])
{
    memset(long_orcpt, 'x', ORCPT_MAX);
    memcpy(long_orcpt, "rfc822;", 7);
    dsn[0] = (struct spool_dsn){.orcpt = slice_of(long_orcpt, ORCPT_MAX),
                                .notify = SPOOL_NOTIFY_SUCCESS | SPOOL_NOTIFY_FAILURE};
    dsn[1] = (struct spool_dsn){.notify = SPOOL_NOTIFY_NEVER};
    dsn[2] = (struct spool_dsn){.orcpt = SLICE_LITERAL("rfc822;staff@example.org"),
                                .flags = SPOOL_RECIPIENT_EXPANDED};
    return (struct spool_envelope){
        .sender = SLICE_LITERAL("Me@Example.NET"),
        .recipients = to,
        .recipient_count = 3,
        .arrived_s = 1000,
        .flags = SPOOL_RET_HDRS | SPOOL_IS_REPORT | SPOOL_IS_UTF8,
        .facts = SLICE_LITERAL("client=192.0.2.1"),
        .envid = SLICE_LITERAL("QQ+2B314159"),
        .dsn = dsn,
        .terms = {.deliver_by_s = 4000, .priority = 9},
    };
}

static void expect_dsn(void *context, struct slice envid, const struct spool_dsn *dsn)
{
    (void)context;
    ck_assert(slice_equal(envid, SLICE_LITERAL("QQ+2B314159")));
    ck_assert(slice_equal(dsn[0].orcpt, slice_of(long_orcpt, ORCPT_MAX)));
    ck_assert_uint_eq(dsn[0].notify, SPOOL_NOTIFY_SUCCESS | SPOOL_NOTIFY_FAILURE);
    ck_assert_uint_eq(dsn[0].flags, 0);
    ck_assert_uint_eq(dsn[1].orcpt.len, 0);
    ck_assert_uint_eq(dsn[1].notify, SPOOL_NOTIFY_NEVER);
    ck_assert(slice_equal(dsn[2].orcpt, SLICE_LITERAL("rfc822;staff@example.org")));
    ck_assert_uint_eq(dsn[2].notify, 0);
    ck_assert_uint_eq(dsn[2].flags, SPOOL_RECIPIENT_EXPANDED);
}

static void expect_nothing(void *context, struct slice envid, const struct spool_dsn *dsn)
{
    (void)context;
    ck_assert_uint_eq(envid.len, 0);
    ck_assert_uint_eq(dsn[0].orcpt.len, 0);
    ck_assert_uint_eq(dsn[0].notify, 0);
}

static uint32_t hash(const char *text)
{
    return (uint32_t)hash_stable(slice_str(text));
}

static void expect_rich(struct spool_world *w, struct spool_message *m)
{
    ck_assert_ptr_nonnull(m);
    ck_assert_uint_eq(m->flags, SPOOL_RET_HDRS | SPOOL_IS_REPORT | SPOOL_IS_UTF8);
    ck_assert_uint_eq(m->sender_hash, hash("me@example.net"));
    ck_assert_uint_eq(m->sender_domain_hash, hash("example.net"));
    ck_assert_uint_eq(m->domain_hash, hash("example.org"));
    ck_assert_uint_eq(m->recipients[2].flags & SPOOL_RECIPIENT_EXPANDED, SPOOL_RECIPIENT_EXPANDED);
    test_dsn(w, m, expect_dsn, NULL);
}

static struct spool_message *store(struct spool_world *w, size_t len)
{
    uint8_t *body = test_body(1, len);
    struct spool_message *m = test_message(w, slice_of(body, len), 1);

    ck_assert_ptr_nonnull(m);
    mem_free(body);
    return m;
}

static void come_and_go(struct spool_world *w)
{
    test_outcome(w, store(w, 20000), 0, SPOOL_RECIPIENT_DELIVERED, 0);
    spool_world_run_ms(w, 20);
}

/* Mail comes and goes until there is a checkpoint that names what is there now. */
static void checkpoint(struct spool_world *w)
{
    struct spool_counters before, c;

    spool_counters(w->s, &before);
    do {
        come_and_go(w);
        spool_counters(w->s, &c);
    } while (c.checkpoints < before.checkpoints + 2);
    spool_world_settle(w);
}

/* ... until these have moved: others, which are larger, make their segments the best to empty. */
static void move(struct spool_world *w, const uint64_t *ids, unsigned count)
{
    enum { OTHERS = 8 };
    struct spool_message *others[OTHERS] = {0};
    struct spool_counters before, c;
    uint64_t segments[4], moved = 0;

    spool_counters(w->s, &before);
    for (unsigned i = 0; i < count; i++)
        segments[i] = spool_find(w->s, ids[i])->segment->number;
    for (unsigned tries = 0; moved < count; tries++) {
        struct spool_message **other = &others[tries % OTHERS];

        ck_assert_uint_lt(tries, 100);
        if (tries >= OTHERS)
            test_outcome(w, *other, 0, SPOOL_RECIPIENT_DELIVERED, 0);
        *other = store(w, 110000);
        for (int k = 0; k < 10; k++)
            come_and_go(w);
        moved = 0;
        for (unsigned i = 0; i < count; i++)
            moved += spool_find(w->s, ids[i])->segment->number != segments[i];
    }
    spool_counters(w->s, &c);
    ck_assert_uint_gt(c.compacted_bytes, before.compacted_bytes);
    for (unsigned i = 0; i < OTHERS && others[i]; i++)
        test_outcome(w, others[i], 0, SPOOL_RECIPIENT_DELIVERED, 0);
}

static void restart(struct spool_world *w)
{
    spool_world_stop(w);
    ck_assert(spool_world_start(w));
    ck_assert_uint_eq(w->recovery.bad_records, 0);
}

enum { ROUNDS = 5 };

/* The next look is after a restart, from the log, a checkpoint, the log after a move, and both. */
static void next_round(struct spool_world *w, int round, const uint64_t *ids, unsigned count)
{
    if (round > 1)
        move(w, ids, count);
    if (round == 1 || round > 2)
        checkpoint(w);
    restart(w);
}

START_TEST(everything)
{
    struct spool_world w;
    struct spool_dsn dsn[3];
    struct spool_envelope e = rich_envelope(dsn);
    uint8_t *large = test_body(3, 100000);

    spool_world_open(&w, (enum spool_world_kind)_i);
    ck_assert(spool_world_start(&w));
    uint64_t ids[2] = {test_submit(&w, SLICE_LITERAL("hi\r\n"), &e)->id,
                       test_submit(&w, slice_of(large, 100000), &e)->id};
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 2; i++) {
            struct spool_message *m = spool_find(w.s, ids[i]);

            expect_rich(&w, m);
            ck_assert_uint_eq(m->terms.deliver_by_s, 4000);
            ck_assert_int_eq(m->terms.priority, 9);
        }
        next_round(&w, round, ids, 2);
    }
    mem_free(large);
    spool_world_close(&w);
}
END_TEST

START_TEST(nothing_said)
{
    struct spool_world w;

    spool_world_open(&w, (enum spool_world_kind)_i);
    ck_assert(spool_world_start(&w));
    struct spool_envelope e = {.recipients = to, .recipient_count = 1};
    struct spool_message *m = test_submit(&w, SLICE_LITERAL("hi\r\n"), &e);
    uint64_t id = m->id;
    for (int round = 0; round < 2; round++) {
        m = spool_find(w.s, id);
        ck_assert_uint_eq(m->sender_hash, 0);
        ck_assert_uint_eq(m->sender_domain_hash, 0);
        ck_assert_uint_eq(m->domain_hash, hash("example.org"));
        ck_assert_uint_eq(m->terms.deliver_by_s, 0);
        ck_assert_int_eq(m->terms.priority, 0);
        ck_assert_uint_eq(m->recipients[0].flags, 0);
        ck_assert_uint_eq(m->recipients[0].due_s, 0);
        test_dsn(&w, m, expect_nothing, NULL);
        restart(&w);
    }
    spool_world_close(&w);
}
END_TEST

START_TEST(held)
{
    struct spool_world w;
    struct spool_dsn dsn[3];
    const uint16_t attempts[3] = {7, 0, 65535};
    struct spool_envelope e = rich_envelope(dsn);
    struct spool_outcome release = {.recipient = 1,
                                    .state = SPOOL_RECIPIENT_WAITING,
                                    .due_s = 5,
                                    .clear_flags = SPOOL_RECIPIENT_HELD,
                                    .set_flags = SPOOL_RECIPIENT_WARNED};

    e.hold_until_s = SPOOL_DUE_NEVER;
    e.attempts = attempts;
    spool_world_open(&w, (enum spool_world_kind)_i);
    ck_assert(spool_world_start(&w));
    struct spool_message *m = test_submit(&w, SLICE_LITERAL("hi\r\n"), &e);
    uint64_t id = m->id;
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert(m->recipients[i].flags & SPOOL_RECIPIENT_HELD);
        ck_assert_uint_eq(m->recipients[i].due_s, SPOOL_DUE_NEVER);
    }
    spool_outcomes(w.s, m, &release, 1);
    m->recipients[0].flags |= 0x80; /* the queue's own */
    for (int round = 0; round < ROUNDS; round++) {
        next_round(&w, round, &id, 1);
        m = spool_find(w.s, id);
        expect_rich(&w, m);
        ck_assert_uint_eq(m->recipients[0].flags, SPOOL_RECIPIENT_HELD);
        ck_assert_uint_eq(m->recipients[0].due_s, SPOOL_DUE_NEVER);
        ck_assert_uint_eq(m->recipients[1].flags, SPOOL_RECIPIENT_WARNED);
        ck_assert_uint_eq(m->recipients[1].due_s, 5);
        for (uint32_t i = 0; i < 3; i++)
            ck_assert_uint_eq(m->recipients[i].attempts, attempts[i]);
        ck_assert_uint_eq(m->recipients[2].flags, SPOOL_RECIPIENT_HELD | SPOOL_RECIPIENT_EXPANDED);
    }
    spool_world_close(&w);
}
END_TEST

/* Terms that the record has no place for, and terms that it has; and back to none. */
START_TEST(revised)
{
    struct spool_world w;
    struct spool_dsn dsn[3];
    struct spool_envelope rich = rich_envelope(dsn);
    struct spool_envelope plain = {.recipients = to, .recipient_count = 2};
    const struct spool_terms terms = {.deliver_by_s = 77, .priority = -9}, none = {0};
    uint8_t *large = test_body(3, 100000);
    uint64_t ids[3];

    spool_world_open(&w, (enum spool_world_kind)_i);
    ck_assert(spool_world_start(&w));
    ids[0] = test_submit(&w, SLICE_LITERAL("plain\r\n"), &plain)->id;
    ids[1] = test_submit(&w, slice_of(large, 100000), &plain)->id;
    ids[2] = test_submit(&w, SLICE_LITERAL("rich\r\n"), &rich)->id;
    for (int i = 0; i < 3; i++)
        spool_revise(w.s, spool_find(w.s, ids[i]), i < 2 ? &terms : &none);
    for (int round = 0; round < ROUNDS; round++) {
        next_round(&w, round, ids, 3);
        for (int i = 0; i < 3; i++) {
            struct spool_message *m = spool_find(w.s, ids[i]);
            struct buf body = {0};

            ck_assert_ptr_nonnull(m);
            ck_assert_uint_eq(m->terms.deliver_by_s, i < 2 ? 77 : 0);
            ck_assert_int_eq(m->terms.priority, i < 2 ? -9 : 0);
            ck_assert_int_eq(test_read(&w, m, &body, NULL), 0);
            ck_assert(i != 1 || slice_equal(buf_slice(&body), slice_of(large, 100000)));
            buf_finish(&body);
        }
    }
    /* A move while it is hot, and to terms anew. */
    struct spool_message *m = test_submit(&w, SLICE_LITERAL("hot\r\n"), &plain);
    spool_revise(w.s, m, &terms);
    spool_revise(w.s, m, &none);
    spool_revise(w.s, m, &terms);
    uint64_t id = m->id;
    move(&w, &id, 1);
    test_dsn(&w, spool_find(w.s, id), expect_nothing, NULL);
    restart(&w);
    ck_assert_uint_eq(spool_find(w.s, id)->terms.deliver_by_s, 77);
    mem_free(large);
    spool_world_close(&w);
}
END_TEST

Suite *spool_envelope_suite(void)
{
    Suite *suite = suite_create("spool_envelope");
    TCase *tc = tcase_create("both");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, everything, 0, SPOOL_WORLD_COUNT);
    tcase_add_loop_test(tc, nothing_said, 0, SPOOL_WORLD_COUNT);
    tcase_add_loop_test(tc, held, 0, SPOOL_WORLD_COUNT);
    tcase_add_loop_test(tc, revised, 0, SPOOL_WORLD_COUNT);
    suite_add_tcase(suite, tc);
    return suite;
}
