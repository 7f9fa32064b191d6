/* Failures are counted, forgotten and forgiven; memory does not grow, whoever comes; and many threads at once
 * lose nothing that matters. */
#include <pthread.h>
#include <stdio.h>

#include "auth_priv.h"
#include "base_assert.h"
#include "base_hash.h"
#include "base_mem.h"
#include "base_rand.h"
#include <check.h>

Suite *auth_guard_suite(void);

enum { WINDOW = 900 };
static struct auth_shared *shared;
static struct auth_guard *g;

static void setup(void)
{
    shared = auth_shared_create();
    g = &shared->guard;
}

static void teardown(void)
{
    auth_shared_destroy(shared);
}

START_TEST(test_counts)
{
    uint64_t key = hash_bytes(SLICE_LITERAL("a")), other = hash_bytes(SLICE_LITERAL("b"));

    ck_assert_uint_eq(auth_guard_look(g, key, 0, WINDOW), 0);
    for (unsigned i = 1; i <= 5; i++)
        ck_assert_uint_eq(auth_guard_add(g, key, i, WINDOW), i);
    ck_assert_uint_eq(auth_guard_look(g, key, 5, WINDOW), 5);
    ck_assert_uint_eq(auth_guard_look(g, other, 5, WINDOW), 0);
    ck_assert_uint_eq(auth_guard_left(g, key, 10, WINDOW), WINDOW - 5);
    ck_assert_uint_eq(auth_guard_look(g, key, 4 + WINDOW, WINDOW), 5);
    ck_assert_uint_eq(auth_guard_look(g, key, 5 + WINDOW, WINDOW), 0);
    ck_assert_uint_eq(auth_guard_left(g, key, 5 + WINDOW, WINDOW), 0);
    ck_assert_uint_eq(auth_guard_add(g, key, 5 + WINDOW, WINDOW), 1);
    auth_guard_forgive(g, key, 1);
    ck_assert_uint_eq(auth_guard_look(g, key, 5 + WINDOW, WINDOW), 0);
    auth_guard_forgive(g, other, 1);
    for (unsigned i = 0; i < AUTH_GUARD_COUNT_MAX + 10; i++)
        (void)auth_guard_add(g, key, 2000, WINDOW);
    ck_assert_uint_eq(auth_guard_look(g, key, 2000, WINDOW), AUTH_GUARD_COUNT_MAX);
    auth_guard_forgive(g, key, 3);
    ck_assert_uint_eq(auth_guard_look(g, key, 2000, WINDOW), AUTH_GUARD_COUNT_MAX - 3);
}
END_TEST

/* The clock of another shard, a little behind; and when 28 bits of seconds are over. */
START_TEST(test_time)
{
    uint64_t key = hash_bytes(SLICE_LITERAL("a")), wrap = (uint64_t)1 << 28;

    (void)auth_guard_add(g, key, 1000, WINDOW);
    ck_assert_uint_eq(auth_guard_look(g, key, 999, WINDOW), 1);
    (void)auth_guard_add(g, key, wrap - 1, WINDOW);
    ck_assert_uint_eq(auth_guard_look(g, key, wrap + 10, WINDOW), 1);
    ck_assert_uint_eq(auth_guard_look(g, key, wrap + WINDOW, WINDOW), 0);
}
END_TEST

START_TEST(test_keys)
{
    struct ip_addr a, b;
    struct slice ann = SLICE_LITERAL("ann");

    ck_assert(ip_parse(SLICE_LITERAL("2001:db8:1:2:3::4"), &a));
    ck_assert(ip_parse(SLICE_LITERAL("2001:db8:1:2::1"), &b));
    ck_assert_uint_eq(auth_guard_client_key(&a), auth_guard_client_key(&b));
    ck_assert_uint_eq(auth_guard_user_key(&a, ann), auth_guard_user_key(&b, SLICE_LITERAL("ANN")));
    ck_assert_uint_ne(auth_guard_user_key(&a, ann), auth_guard_user_key(&b, SLICE_LITERAL("bob")));
    ck_assert_uint_ne(auth_guard_user_key(&a, ann), auth_guard_client_key(&a));
    ck_assert(ip_parse(SLICE_LITERAL("2001:db8:1:3::1"), &b));
    ck_assert_uint_ne(auth_guard_client_key(&a), auth_guard_client_key(&b));
    ck_assert(ip_parse(SLICE_LITERAL("192.0.2.1"), &a));
    ck_assert(ip_parse(SLICE_LITERAL("192.0.2.2"), &b));
    ck_assert_uint_ne(auth_guard_client_key(&a), auth_guard_client_key(&b));
    ck_assert_uint_ne(auth_guard_user_key(&a, ann), auth_guard_user_key(&b, ann));
}
END_TEST

/* A million names, once each: what counts more stays, and nobody new is taken for one of them. */
START_TEST(test_flood)
{
    struct rand r;
    uint64_t bad[100];
    unsigned wrong = 0;

    rand_seed(&r, 1);
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        bad[i] = rand_u64(&r);
        for (unsigned n = 0; n < 10; n++)
            (void)auth_guard_add(g, bad[i], 100, WINDOW);
    }
    for (unsigned i = 0; i < 1000000; i++)
        (void)auth_guard_add(g, rand_u64(&r), 100 + i / 10000, WINDOW);
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_uint_eq(auth_guard_look(g, bad[i], 200, WINDOW), 10);
    for (unsigned i = 0; i < 100000; i++)
        wrong += auth_guard_look(g, rand_u64(&r), 200, WINDOW) > 0;
    ck_assert_uint_le(wrong, 3);
}
END_TEST

enum { THREADS = 4, ROUNDS = 20000, KEYS = 50 };

static void *hammer(void *argument)
{
    struct rand r;

    rand_seed(&r, (uint64_t)(uintptr_t)argument);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t key = hash_u64(i % KEYS + 1);

        (void)auth_guard_add(g, key, 100, WINDOW);
        (void)auth_guard_look(g, hash_u64(rand_below(&r, 1000)), 100, WINDOW);
        if (i % 1000 == 999)
            auth_guard_forgive(g, hash_u64(999999), 1);
    }
    return NULL;
}

START_TEST(test_threads)
{
    pthread_t threads[THREADS];

    for (uintptr_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer, (void *)(i + 1)), 0);
    for (unsigned i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    /* All were hammered to the stop; a key that two threads began at once may stand twice. */
    for (unsigned i = 1; i <= KEYS; i++)
        ck_assert_uint_ge(auth_guard_look(g, hash_u64(i), 100, WINDOW),
                          ROUNDS / KEYS * THREADS / 4);
}
END_TEST

Suite *auth_guard_suite(void)
{
    Suite *suite = suite_create("auth_guard");
    TCase *tc = tcase_create("guard");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_counts);
    tcase_add_test(tc, test_time);
    tcase_add_test(tc, test_keys);
    tcase_add_test(tc, test_flood);
    tcase_add_test(tc, test_threads);
    tcase_set_timeout(tc, 30);
    suite_add_tcase(suite, tc);
    return suite;
}
