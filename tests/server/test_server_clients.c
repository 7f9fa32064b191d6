/* Connections counted by client address, from one thread and from several. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>

#include "server_clients_priv.h"

Suite *server_clients_suite(void);

static struct ip_addr ip(const char *text)
{
    struct ip_addr out;

    ck_assert(ip_parse(slice_str(text), &out));
    return out;
}

START_TEST(each_address_has_its_own_limit)
{
    struct server_clients *c = server_clients_create(1000);
    struct ip_addr a = ip("192.0.2.1"), b = ip("192.0.2.2");
    uint32_t slots[4];

    ck_assert(server_clients_enter(c, &a, 2, &slots[0]));
    ck_assert(server_clients_enter(c, &a, 2, &slots[1]));
    ck_assert(!server_clients_enter(c, &a, 2, &slots[3]));
    ck_assert(server_clients_enter(c, &b, 2, &slots[2]));
    server_clients_leave(c, slots[0]);
    ck_assert(server_clients_enter(c, &a, 2, &slots[0]));
    ck_assert(!server_clients_enter(c, &a, 2, &slots[3]));
    server_clients_destroy(c);
}
END_TEST

START_TEST(ipv6_counts_by_network)
{
    struct server_clients *c = server_clients_create(1000);
    struct ip_addr a = ip("2001:db8:1:2::1"), b = ip("2001:db8:1:2:ffff::9");
    struct ip_addr other = ip("2001:db8:1:3::1");
    uint32_t slot;

    ck_assert(server_clients_enter(c, &a, 1, &slot));
    ck_assert(!server_clients_enter(c, &b, 1, &slot));
    ck_assert(server_clients_enter(c, &other, 1, &slot));
    server_clients_destroy(c);
}
END_TEST

/* Many more addresses than slots near each other: nobody is refused for another's connections. */
START_TEST(a_crowd_is_let_in)
{
    struct server_clients *c = server_clients_create(16);
    uint32_t slots[5000];

    for (unsigned i = 0; i < 5000; i++) {
        struct ip_addr a = ip("10.0.0.0");
        a.bytes[14] = (uint8_t)(i >> 8);
        a.bytes[15] = (uint8_t)i;
        ck_assert(server_clients_enter(c, &a, 1, &slots[i]));
    }
    for (unsigned i = 0; i < 5000; i++)
        server_clients_leave(c, slots[i]);
    for (unsigned i = 0; i < 500; i++) {
        struct ip_addr a = ip("10.1.0.0");
        a.bytes[14] = (uint8_t)(i >> 8);
        a.bytes[15] = (uint8_t)i;
        ck_assert(server_clients_enter(c, &a, 1, &slots[i]));
        ck_assert(!server_clients_enter(c, &a, 1, &slots[4000]) || slots[4000] != slots[i]);
    }
    server_clients_destroy(c);
}
END_TEST

static struct server_clients *shared;
static _Atomic int inside, most;

static void *come_and_go(void *argument)
{
    struct ip_addr a = ip("192.0.2.7");

    (void)argument;
    for (int i = 0; i < 20000; i++) {
        uint32_t slot;
        int now;
        if (!server_clients_enter(shared, &a, 2, &slot))
            continue;
        now = atomic_fetch_add(&inside, 1) + 1;
        if (now > atomic_load(&most))
            atomic_store(&most, now);
        atomic_fetch_sub(&inside, 1);
        server_clients_leave(shared, slot);
    }
    return NULL;
}

START_TEST(threads_agree)
{
    pthread_t threads[4];
    struct ip_addr a = ip("192.0.2.7");
    uint32_t slots[3];

    shared = server_clients_create(1000);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, come_and_go, NULL), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    /* Two threads may at one moment take two free slots for one address: twice the limit, never more. */
    ck_assert_int_le(atomic_load(&most), 4);
    ck_assert_int_ge(atomic_load(&most), 1);
    ck_assert(server_clients_enter(shared, &a, 2, &slots[0]));
    ck_assert(server_clients_enter(shared, &a, 2, &slots[1]));
    ck_assert(!server_clients_enter(shared, &a, 2, &slots[2]));
    server_clients_destroy(shared);
}
END_TEST

Suite *server_clients_suite(void)
{
    Suite *s = suite_create("server_clients");
    TCase *tc = tcase_create("counts");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, each_address_has_its_own_limit);
    tcase_add_test(tc, ipv6_counts_by_network);
    tcase_add_test(tc, a_crowd_is_let_in);
    tcase_add_test(tc, threads_agree);
    suite_add_tcase(s, tc);
    return s;
}
