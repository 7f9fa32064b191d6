#include "base_spsc.h"

#include <pthread.h>
#include <sched.h>

#include "base_assert.h"
#include "base_test.h"

static int things[10];

START_TEST(publishes_in_batches)
{
    static struct spsc q;

    spsc_init(&q, 3); /* rounded up to 4 */
    ck_assert(spsc_empty(&q));
    for (int lap = 0; lap < 5; lap++) {
        for (int i = 0; i < 4; i++)
            ck_assert(spsc_push(&q, &things[i]));
        ck_assert(!spsc_push(&q, &things[4]));
        ck_assert_ptr_null(spsc_pop(&q));
        spsc_publish(&q);
        ck_assert(!spsc_empty(&q));
        ck_assert_ptr_eq(spsc_pop(&q), &things[0]);
        ck_assert(spsc_push(&q, &things[4]));
        for (int i = 1; i < 4; i++)
            ck_assert_ptr_eq(spsc_pop(&q), &things[i]);
        ck_assert_ptr_null(spsc_pop(&q));
        spsc_publish(&q);
        ck_assert_ptr_eq(spsc_pop(&q), &things[4]);
        ck_assert(spsc_empty(&q));
    }
    spsc_finish(&q);
    spsc_finish(&q);
}
END_TEST

START_TEST(indices_wrap)
{
    static struct spsc q;

    spsc_init(&q, 2);
    atomic_store(&q.head, SIZE_MAX);
    atomic_store(&q.tail, SIZE_MAX);
    q.tail_cached = q.head_cached = q.tail_next = SIZE_MAX;
    for (int i = 0; i < 6; i += 2) {
        ck_assert(spsc_push(&q, &things[i]));
        ck_assert(spsc_push(&q, &things[i + 1]));
        ck_assert(!spsc_push(&q, &things[0]));
        spsc_publish(&q);
        ck_assert_ptr_eq(spsc_pop(&q), &things[i]);
        ck_assert_ptr_eq(spsc_pop(&q), &things[i + 1]);
        ck_assert_ptr_null(spsc_pop(&q));
    }
    spsc_finish(&q);
}
END_TEST

enum { THREAD_ITEMS = 300000 };

struct message {
    uint64_t number;
};

static struct message messages[THREAD_ITEMS];

static void *produce(void *context)
{
    struct spsc *q = context;

    for (size_t i = 0; i < THREAD_ITEMS; i++) {
        messages[i].number = i * 3; /* must be visible to who pops it */
        while (!spsc_push(q, &messages[i])) {
            spsc_publish(q);
            sched_yield();
        }
        if (i % 7 == 0)
            spsc_publish(q);
    }
    spsc_publish(q);
    return NULL;
}

START_TEST(two_threads)
{
    static struct spsc q;
    pthread_t producer;

    spsc_init(&q, 64);
    quick_assert(pthread_create(&producer, NULL, produce, &q) == 0);
    for (size_t i = 0; i < THREAD_ITEMS; i++) {
        struct message *m;

        while ((m = spsc_pop(&q)) == NULL)
            sched_yield();
        quick_assert(m == &messages[i]);
        if (m->number != i * 3)
            ck_abort_msg("item %zu holds %llu", i, (unsigned long long)m->number);
    }
    quick_assert(pthread_join(producer, NULL) == 0);
    quick_assert(spsc_empty(&q));
    spsc_finish(&q);
}
END_TEST

START_TEST(null_item_aborts)
{
    static struct spsc q;

    spsc_init(&q, 2);
    (void)spsc_push(&q, NULL);
}
END_TEST

Suite *spsc_suite(void)
{
    Suite *s = suite_create("spsc");
    TCase *tc = tcase_create("spsc");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, publishes_in_batches);
    tcase_add_test(tc, indices_wrap);
    tcase_add_test(tc, two_threads);
    add_abort_test(tc, null_item_aborts);
    suite_add_tcase(s, tc);
    return s;
}
