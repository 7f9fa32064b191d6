/* The simulated resolver over a zone, in a simulated world. */
#include <check.h>

#include "base_wheel.h"
#include "dns_sim.h"
#include "io_sim.h"

enum { QUERIES = 200, LATENCY_MS = 500 };

struct probe {
    struct dns_query q;
    unsigned done;
    uint64_t asked_ms, done_ms;
};

static struct sim *sim;
static struct io *io;
static struct wheel wheel;
static struct dns_sim_zone *zone;
static struct dns *dns;
static struct probe probes[QUERIES];

static void open_world(uint64_t seed, unsigned fail)
{
    struct sim_options options = sim_options_default();

    sim = sim_create(seed, &options);
    io = sim_io_create(sim_machine_create(sim, "10.0.0.1"), 0);
    wheel_init(&wheel, io_now_ms(io));
    zone = dns_sim_zone_create();
    dns = dns_sim_create(zone, io, &wheel, seed, fail, LATENCY_MS);
    memset(probes, 0, sizeof(probes));
    dns_sim_zone_add_mx(zone, "example.test", 20, "b.test");
    dns_sim_zone_add_mx(zone, "example.test", 10, "a.test");
    dns_sim_zone_add_mx(zone, "null.test", 0, "");
    dns_sim_zone_add_address(zone, "a.test", "10.0.0.7");
    dns_sim_zone_add_address(zone, "a.test", "2001:db8::7");
}

static void close_world(void)
{
    dns_destroy(dns);
    dns_sim_zone_destroy(zone);
    io_destroy(io);
    sim_destroy(sim);
}

static void setup(void)
{
    open_world(3, 0);
}

static void teardown(void)
{
    for (int i = 0; i < QUERIES; i++)
        dns_query_finish(&probes[i].q);
    close_world();
}

static void probe_done(struct dns_query *q)
{
    struct probe *p = container_of(q, struct probe, q);

    p->done++;
    p->done_ms = io_now_ms(io);
}

static void ignore(struct dns_query *q)
{
    (void)q;
}

static struct probe *ask(int i, bool mx, const char *name)
{
    struct probe *p = &probes[i];

    dns_query_finish(&p->q);
    *p = (struct probe){.q.done = probe_done, .asked_ms = io_now_ms(io)};
    if (mx)
        dns_query_mx(dns, &p->q, slice_str(name));
    else
        dns_query_addresses(dns, &p->q, slice_str(name));
    ck_assert_uint_eq(p->done, 0);
    return p;
}

static void sleep_until(uint64_t until)
{
    while (io_now_ms(io) < until) {
        sim_advance_ms(sim, until - io_now_ms(io));
        (void)io_wait(io, until);
    }
}

/* Until nothing is due any more. */
static void run(void)
{
    for (;;) {
        uint64_t next;
        wheel_advance(&wheel, io_now_ms(io));
        next = wheel_next_ms(&wheel);
        if (next == WHEEL_NEVER)
            return;
        sleep_until(next);
    }
}

START_TEST(answers)
{
    struct probe *mx = ask(0, true, "Example.test"), *null = ask(1, true, "null.test"),
                 *none = ask(2, true, "a.test"), *no = ask(3, true, "no.test"),
                 *host = ask(4, false, "a.test"), *bare = ask(5, false, "example.test");

    run();
    ck_assert_int_eq(mx->q.status, DNS_OK);
    ck_assert_str_eq(mx->q.answer->mx[0].host, "a.test");
    ck_assert_str_eq(null->q.answer->mx[0].host, "");
    ck_assert_int_eq(none->q.status, DNS_NO_DATA);
    ck_assert_int_eq(no->q.status, DNS_NO_NAME);
    ck_assert_uint_eq(host->q.answer->address_count, 2);
    ck_assert_int_eq(bare->q.status, DNS_NO_DATA);
    for (int i = 0; i < 6; i++) {
        ck_assert_uint_eq(probes[i].done, 1);
        ck_assert_uint_le(probes[i].done_ms - probes[i].asked_ms, LATENCY_MS);
    }
}
END_TEST

START_TEST(security_of_names)
{
    struct dns_query tlsa = {.done = ignore}, txt = {.done = ignore}, alias = {.done = ignore};
    struct probe *mx, *host, *far, *none;

    dns_sim_zone_set_secure(zone, "example.test", true);
    dns_sim_zone_set_secure(zone, "a.test", true);
    dns_sim_zone_add_alias(zone, "near.test", "a.test");
    dns_sim_zone_set_secure(zone, "near.test", true);
    dns_sim_zone_add_alias(zone, "far.test", "near.test");
    dns_sim_zone_add_tlsa(zone, "_25._tcp.a.test", 3, 1, 1, SLICE_LITERAL("x"));
    dns_sim_zone_set_secure(zone, "_25._tcp.a.test", true);
    dns_sim_zone_add_txt(zone, "_mta-sts.example.test", "v=STSv1");
    mx = ask(0, true, "example.test");
    host = ask(1, false, "near.test");
    far = ask(2, false, "far.test");
    none = ask(3, true, "a.test");
    dns_query_tlsa(dns, &tlsa, SLICE_LITERAL("_25._tcp.a.test"));
    dns_query_txt(dns, &txt, SLICE_LITERAL("_mta-sts.example.test"));
    dns_query_alias(dns, &alias, SLICE_LITERAL("near.test"));
    run();
    ck_assert(mx->q.secure && host->q.secure && !far->q.secure && none->q.secure);
    ck_assert_str_eq(host->q.answer->canonical, "a.test");
    ck_assert_str_eq(far->q.answer->canonical, "a.test");
    ck_assert(tlsa.secure && tlsa.answer->tlsa[0].usage == 3);
    ck_assert(!txt.secure && slice_equal(txt.answer->txt[0], SLICE_LITERAL("v=STSv1")));
    ck_assert(alias.secure);
    ck_assert_str_eq(alias.answer->canonical, "a.test");
    dns_query_finish(&tlsa);
    dns_query_finish(&txt);
    dns_query_finish(&alias);
}
END_TEST

START_TEST(statuses_on_command)
{
    dns_sim_zone_set_status(zone, "example.test", DNS_TEMPORARY);
    (void)ask(0, true, "example.test");
    run();
    ck_assert_int_eq(probes[0].q.status, DNS_TEMPORARY);
    dns_sim_zone_set_status(zone, "example.test", DNS_OK);
    sleep_until(io_now_ms(io) + 10000); /* longer than the cache keeps it */
    (void)ask(0, true, "example.test");
    run();
    ck_assert_int_eq(probes[0].q.status, DNS_OK);
}
END_TEST

/* About as many fail as were asked to; the same seed fails the same. */
START_TEST(failures_from_the_seed)
{
    char name[] = "n000.test";
    unsigned failed[2] = {0, 0}, first[2] = {0, 0};

    close_world();
    for (int round = 0; round < 2; round++) {
        open_world(11, 2000);
        for (int i = 0; i < QUERIES; i++) {
            name[1] = (char)('0' + i / 100);
            name[2] = (char)('0' + i / 10 % 10);
            name[3] = (char)('0' + i % 10);
            (void)ask(i, true, name);
        }
        run();
        for (int i = 0; i < QUERIES; i++) {
            ck_assert_uint_eq(probes[i].done, 1);
            if (probes[i].q.status == DNS_TEMPORARY)
                first[round] = failed[round]++ == 0 ? (unsigned)i : first[round];
            dns_query_finish(&probes[i].q);
        }
        if (round == 0)
            close_world();
    }
    ck_assert_uint_gt(failed[0], 10);
    ck_assert_uint_lt(failed[0], 90);
    ck_assert_uint_eq(failed[0], failed[1]);
    ck_assert_uint_eq(first[0], first[1]);
}
END_TEST

/* After a crash nobody finishes what is open. */
START_TEST(destroyed_while_open)
{
    (void)ask(0, true, "example.test");
    (void)ask(1, false, "a.test");
    memset(probes, 0, sizeof(probes));
}
END_TEST

Suite *dns_sim_suite(void)
{
    Suite *s = suite_create("dns_sim");
    TCase *tc = tcase_create("dns_sim");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, answers);
    tcase_add_test(tc, security_of_names);
    tcase_add_test(tc, statuses_on_command);
    tcase_add_test(tc, failures_from_the_seed);
    tcase_add_test(tc, destroyed_while_open);
    suite_add_tcase(s, tc);
    return s;
}
