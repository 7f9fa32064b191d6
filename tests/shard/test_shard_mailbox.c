/* Mailboxes between shards: what is posted arrives once, in order, however full the queue is. */
#include <check.h>
#include <pthread.h>
#include <sched.h>

#include "base_mem.h"
#include "shard_mailbox_priv.h"

Suite *shard_mailbox_suite(void);

enum { ITEMS = 5000 }; /* several times what the queue holds */

static uint64_t items[ITEMS];

static struct shard_mailbox *open_mailbox(void)
{
    struct shard_mailbox *m = mem_alloc_aligned(_Alignof(struct shard_mailbox), sizeof(*m));

    shard_mailbox_init(m);
    return m;
}

static void close_mailbox(struct shard_mailbox *m)
{
    shard_mailbox_finish(m);
    mem_free(m);
}

static enum shard_item kind_of(size_t i)
{
    return (enum shard_item)(i % 3);
}

static void expect(struct shard_mailbox *m, size_t i)
{
    enum shard_item kind;

    ck_assert_ptr_eq(shard_mailbox_take(m, &kind), &items[i]);
    ck_assert_int_eq(kind, kind_of(i));
}

START_TEST(nothing_is_seen_before_it_is_published)
{
    struct shard_mailbox *m = open_mailbox();
    enum shard_item kind;

    ck_assert(!shard_mailbox_publish(m));
    shard_mailbox_post(m, &items[0], kind_of(0));
    ck_assert_ptr_null(shard_mailbox_take(m, &kind));
    ck_assert(shard_mailbox_publish(m));
    ck_assert(!shard_mailbox_publish(m));
    expect(m, 0);
    ck_assert_ptr_null(shard_mailbox_take(m, &kind));
    close_mailbox(m);
}
END_TEST

START_TEST(what_does_not_fit_waits_in_order)
{
    struct shard_mailbox *m = open_mailbox();
    enum shard_item kind;
    size_t taken = 0;

    for (size_t i = 0; i < ITEMS; i++)
        shard_mailbox_post(m, &items[i], kind_of(i));
    ck_assert(shard_mailbox_is_full(m));
    while (taken < ITEMS) {
        size_t before = taken;
        ck_assert(
            shard_mailbox_publish(m)); /* each time that there was room: the other may sleep */
        while (taken - before < 700 && !spsc_empty(&m->queue))
            expect(m, taken++);
        ck_assert_uint_gt(taken, before);
        if (taken == 700) { /* what is posted now stands behind what waits */
            void *item = shard_mailbox_take(m, &kind);
            ck_assert_ptr_eq(item, &items[taken++]);
        }
        while (!shard_mailbox_is_full(m) && taken < ITEMS)
            expect(m, taken++);
    }
    ck_assert(!shard_mailbox_is_full(m));
    ck_assert(!shard_mailbox_publish(m));
    close_mailbox(m);
}
END_TEST

static void *post_all(void *argument)
{
    struct shard_mailbox *m = argument;

    for (size_t i = 0; i < ITEMS; i++) {
        shard_mailbox_post(m, &items[i], kind_of(i));
        if (i % 37 == 0)
            (void)shard_mailbox_publish(m);
    }
    do {
        (void)shard_mailbox_publish(m);
        (void)sched_yield();
    } while (shard_mailbox_is_full(m));
    (void)shard_mailbox_publish(m);
    return NULL;
}

START_TEST(two_threads)
{
    for (int round = 0; round < 20; round++) {
        struct shard_mailbox *m = open_mailbox();
        pthread_t thread;

        ck_assert_int_eq(pthread_create(&thread, NULL, post_all, m), 0);
        for (size_t i = 0; i < ITEMS;) {
            if (spsc_empty(&m->queue))
                (void)sched_yield();
            else
                expect(m, i++);
        }
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        close_mailbox(m);
    }
}
END_TEST

Suite *shard_mailbox_suite(void)
{
    Suite *s = suite_create("shard_mailbox");
    TCase *tc = tcase_create("mailbox");

    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, nothing_is_seen_before_it_is_published);
    tcase_add_test(tc, what_does_not_fit_waits_in_order);
    tcase_add_test(tc, two_threads);
    suite_add_tcase(s, tc);
    return s;
}
