/* test_sts: policies found, kept, renewed and lost (RFC 8461 3.3, 5.1), on a simulated machine. */
#include <stdio.h>

#include "base_assert.h"
#include "sts_world.h"

#define ENFORCE "version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 86400\n"
#define TESTING "version: STSv1\nmode: testing\nmx: mx.a.test\nmax_age: 86400\n"
#define NONE    "version: STSv1\nmode: none\nmax_age: 86400\n"
#define SHORT   "version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 3600\n"

enum { MINUTE = 60 * 1000, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

static struct sts_world w;

static void setup(void)
{
    sts_world_init(&w, 1);
}

static void teardown(void)
{
    sts_world_finish(&w);
}

static void expect(const char *domain, int mode)
{
    const struct told *t = sts_world_ask(&w, domain);

    if (mode == STS_NONE) {
        ck_assert_ptr_null(t->q.policy);
    } else {
        ck_assert_ptr_nonnull(t->q.policy);
        ck_assert_int_eq(t->q.policy->mode, mode);
    }
}

static struct sts_counters counters(void)
{
    struct sts_counters c;

    sts_counters(w.sts, &c);
    return c;
}

START_TEST(none)
{
    expect("a.test", STS_NONE);
    expect("A.test.", STS_NONE);
    expect("", STS_NONE);
    expect(".", STS_NONE);
    expect("b d.test", STS_NONE);
    ck_assert_uint_eq(w.fetches, 0);
}
END_TEST

START_TEST(found)
{
    const struct told *t;

    sts_world_announce(&w, "a.test", "1");
    w.policy = ENFORCE;
    t = sts_world_ask(&w, "A.Test.");
    ck_assert_ptr_nonnull(t->q.policy);
    ck_assert_int_eq(t->q.policy->mode, STS_ENFORCE);
    ck_assert_str_eq(t->q.policy->id, "1");
    ck_assert_int_eq(t->q.problem, STS_PROBLEM_NONE);
    ck_assert_str_eq(w.host, "mta-sts.a.test");
    for (int i = 0; i < 10; i++)
        expect("a.test", STS_ENFORCE);
    ck_assert_uint_eq(w.fetches, 1);
    ck_assert_uint_eq(counters().cache_hits, 10);
    ck_assert_uint_eq(counters().policies, 1);
}
END_TEST

START_TEST(joined)
{
    struct told *t[8];

    sts_world_announce(&w, "a.test", "1");
    w.policy = TESTING;
    for (int i = 0; i < 8; i++)
        t[i] = sts_world_lookup(&w, "a.test");
    sts_query_finish(&t[3]->q); /* has no interest any more */
    sts_world_run_ms(&w, 1000);
    for (int i = 0; i < 8; i++) {
        ck_assert_uint_eq(t[i]->done, i != 3);
        ck_assert_int_eq(t[i]->q.policy != NULL, i != 3);
    }
    ck_assert_uint_eq(w.fetches, 1);
}
END_TEST

/* The TXT record is asked for again after some minutes; the policy is fetched only for another id. */
START_TEST(changed_id)
{
    sts_world_announce(&w, "a.test", "1");
    w.policy = ENFORCE;
    expect("a.test", STS_ENFORCE);
    w.policy = TESTING;
    sts_world_run_ms(&w, 10 * MINUTE);
    expect("a.test", STS_ENFORCE);
    ck_assert_uint_eq(w.fetches, 1);
    sts_world_announce(&w, "a.test", "2");
    expect("a.test", STS_ENFORCE); /* trusted for some minutes */
    sts_world_run_ms(&w, 6 * MINUTE);
    expect("a.test", STS_TESTING);
    ck_assert_uint_eq(w.fetches, 2);
}
END_TEST

START_TEST(doubt)
{
    sts_world_announce(&w, "a.test", "1");
    w.policy = ENFORCE;
    expect("a.test", STS_ENFORCE);
    sts_world_announce(&w, "a.test", "2");
    w.policy = TESTING;
    sts_world_run_ms(&w, MINUTE); /* what DNS said is over */
    sts_doubt(w.sts, SLICE_LITERAL("A.test"));
    sts_doubt(w.sts, SLICE_LITERAL("unknown.test"));
    expect("a.test", STS_TESTING);
}
END_TEST

START_TEST(withdrawn)
{
    sts_world_announce(&w, "a.test", "1");
    w.policy = ENFORCE;
    expect("a.test", STS_ENFORCE);
    sts_world_announce(&w, "a.test", "2");
    w.policy = NONE;
    sts_world_run_ms(&w, 6 * MINUTE);
    expect("a.test", STS_NONE);
    ck_assert_uint_eq(counters().withdrawn, 1);
    sts_world_run_ms(&w, 6 * MINUTE);
    expect("a.test", STS_NONE); /* mode none is kept as well: not fetched again */
    ck_assert_uint_eq(w.fetches, 2);
}
END_TEST

/* Whoever takes the TXT record or the policy host away does not take the policy away (10.2). */
START_TEST(outlives)
{
    sts_world_announce(&w, "a.test", "1");
    w.policy = ENFORCE;
    expect("a.test", STS_ENFORCE);
    sts_world_announce(&w, "a.test", NULL);
    sts_world_run_ms(&w, 2 * HOUR);
    expect("a.test", STS_ENFORCE);
    dns_sim_zone_set_status(w.zone, "_mta-sts.a.test", DNS_TEMPORARY);
    sts_world_run_ms(&w, 2 * HOUR);
    expect("a.test", STS_ENFORCE);
    dns_sim_zone_set_status(w.zone, "_mta-sts.a.test", DNS_OK);
    sts_world_announce(&w, "a.test", "2"); /* of the attacker */
    w.policy = NULL;
    w.problem = STS_PROBLEM_WEBPKI;
    sts_world_run_ms(&w, 2 * HOUR);
    expect("a.test", STS_ENFORCE);
    ck_assert_uint_gt(counters().fetch_failures, 0);
    ck_assert_int_eq(w.told[w.asked - 1].q.problem, STS_PROBLEM_WEBPKI);
    ck_assert_str_eq(w.told[w.asked - 1].q.reason, "as the test says");
    sts_world_run_ms(&w, DAY); /* until it ends */
    expect("a.test", STS_NONE);
    ck_assert_uint_eq(counters().expired, 1);
    ck_assert_uint_eq(counters().policies, 0);
}
END_TEST

START_TEST(temporary)
{
    sts_world_announce(&w, "a.test", "1");
    w.policy = ENFORCE;
    dns_sim_zone_set_status(w.zone, "_mta-sts.a.test", DNS_TEMPORARY);
    expect("a.test", STS_NONE);
    dns_sim_zone_set_status(w.zone, "_mta-sts.a.test", DNS_OK);
    sts_world_run_ms(&w, 2 * MINUTE);
    expect("a.test", STS_ENFORCE);
}
END_TEST

/* After a failure: none, and another try after some minutes only, later and later. */
START_TEST(failures)
{
    unsigned before;

    sts_world_announce(&w, "a.test", "1");
    w.problem = STS_PROBLEM_INVALID;
    expect("a.test", STS_NONE);
    ck_assert_int_eq(w.told[w.asked - 1].q.problem, STS_PROBLEM_INVALID);
    for (int i = 0; i < 4; i++) {
        sts_world_run_ms(&w, MINUTE);
        expect("a.test", STS_NONE);
        ck_assert_int_eq(w.told[w.asked - 1].q.problem, STS_PROBLEM_INVALID);
    }
    ck_assert_uint_eq(w.fetches, 1);
    sts_world_run_ms(&w, 2 * MINUTE);
    expect("a.test", STS_NONE);
    ck_assert_uint_eq(w.fetches, 2);
    for (int i = 0; i < 24 * 60; i++) {
        sts_world_run_ms(&w, MINUTE);
        expect("a.test", STS_NONE);
    }
    before = w.fetches;
    ck_assert_uint_lt(before, 30);
    ck_assert_uint_gt(before, 20);
    w.policy = ENFORCE;
    sts_world_run_ms(&w, 61 * MINUTE);
    expect("a.test", STS_ENFORCE);
    ck_assert_int_eq(w.told[w.asked - 1].q.problem, STS_PROBLEM_NONE);
}
END_TEST

START_TEST(no_address)
{
    dns_sim_zone_add_txt(w.zone, "_mta-sts.a.test", "v=STSv1; id=1");
    w.policy = ENFORCE;
    expect("a.test", STS_NONE);
    ck_assert_int_eq(w.told[w.asked - 1].q.problem, STS_PROBLEM_FETCH);
    ck_assert_uint_eq(w.fetches, 0);
}
END_TEST

/* Two records of ours are none; others do not count. */
START_TEST(several_records)
{
    sts_world_announce(&w, "a.test", "1");
    dns_sim_zone_add_txt(w.zone, "_mta-sts.a.test", "v=STSv1; id=2");
    sts_world_announce(&w, "b.test", "1");
    dns_sim_zone_add_txt(w.zone, "_mta-sts.b.test", "v=spf1 -all");
    sts_world_announce(&w, "c.test", "1");
    dns_sim_zone_add_txt(w.zone, "_mta-sts.c.test", "v=STSv1; wrong");
    w.policy = ENFORCE;
    expect("a.test", STS_NONE);
    expect("b.test", STS_ENFORCE);
    expect("c.test", STS_NONE);
    ck_assert_uint_eq(w.fetches, 1);
}
END_TEST

/* Renewed before it ends, without anybody asking; and not for ever. */
START_TEST(refreshed)
{
    unsigned fetches;

    sts_world_announce(&w, "a.test", "1");
    w.policy = SHORT;
    expect("a.test", STS_ENFORCE);
    sts_world_run_ms(&w, 3 * HOUR);
    ck_assert_uint_ge(w.fetches, 10);
    ck_assert_uint_le(w.fetches, 15);
    ck_assert_uint_eq(counters().expired, 0);
    /* The record is gone, but the host still serves the policy. */
    dns_sim_zone_clear(w.zone, "_mta-sts.a.test");
    sts_world_run_ms(&w, 3 * HOUR);
    ck_assert_uint_eq(counters().expired, 0);
    expect("a.test", STS_ENFORCE);
    sts_world_run_ms(&w, (uint64_t)61 * DAY);
    fetches = w.fetches;
    sts_world_run_ms(&w, (uint64_t)2 * DAY);
    ck_assert_uint_eq(w.fetches, fetches);
}
END_TEST

START_TEST(refresh_fails)
{
    sts_world_announce(&w, "a.test", "1");
    w.policy = SHORT;
    expect("a.test", STS_ENFORCE);
    w.policy = NULL;
    sts_world_run_ms(&w, 30 * MINUTE);
    ck_assert_uint_gt(counters().fetch_failures, 0);
    expect("a.test", STS_ENFORCE);
    w.policy = SHORT;
    sts_world_run_ms(&w, 70 * MINUTE);
    expect("a.test", STS_ENFORCE);
    ck_assert_uint_eq(counters().expired + counters().fetch_failures > 0, 1);
}
END_TEST

/* A query keeps the policy that it got, whatever becomes of the domain. */
START_TEST(kept)
{
    struct told *t;

    sts_world_announce(&w, "a.test", "1");
    w.policy = ENFORCE;
    t = sts_world_ask(&w, "a.test");
    sts_world_announce(&w, "a.test", "2");
    w.policy = TESTING;
    sts_world_run_ms(&w, 6 * MINUTE);
    expect("a.test", STS_TESTING);
    ck_assert_int_eq(t->q.policy->mode, STS_ENFORCE);
    ck_assert(sts_policy_allows(t->q.policy, SLICE_LITERAL("mx.a.test")));
}
END_TEST

START_TEST(bounded)
{
    char domain[32];

    sts_world_stop(&w);
    w.policies_max = 10;
    sts_world_open(&w);
    w.policy = ENFORCE;
    for (int i = 0; i < 30; i++) {
        (void)snprintf(domain, sizeof(domain), "d%d.test", i);
        sts_world_announce(&w, domain, "1");
        expect(domain, STS_ENFORCE);
        expect("d0.test", STS_ENFORCE); /* always used */
    }
    ck_assert_uint_eq(w.fetches, 30);
    ck_assert_uint_eq(counters().policies, 10);
    expect("d29.test", STS_ENFORCE);
    expect("d0.test", STS_ENFORCE);
    ck_assert_uint_eq(w.fetches, 30);
    expect("d1.test", STS_ENFORCE); /* forgotten, found again */
    ck_assert_uint_eq(w.fetches, 31);
}
END_TEST

/* More fetches than helpers take: those too many fail for now, all are told. */
START_TEST(too_many_fetches)
{
    struct told *t[WORLD_QUERIES];
    char domain[32];
    unsigned have = 0;

    w.policy = ENFORCE;
    for (int i = 0; i < WORLD_QUERIES; i++) {
        (void)snprintf(domain, sizeof(domain), "d%d.test", i);
        sts_world_announce(&w, domain, "1");
        t[i] = sts_world_lookup(&w, domain);
    }
    sts_world_run_ms(&w, 1000);
    for (int i = 0; i < WORLD_QUERIES; i++) {
        ck_assert_uint_eq(t[i]->done, 1);
        have += t[i]->q.policy != NULL;
    }
    ck_assert_uint_gt(have, 0);
}
END_TEST

/* At every moment of a lookup. */
START_TEST(stopped)
{
    for (int ms = 0; ms < 120; ms += 3) {
        struct told *t;

        sts_world_announce(&w, "a.test", "1");
        w.policy = ENFORCE;
        t = sts_world_lookup(&w, "a.test");
        sts_world_run_ms(&w, (uint64_t)ms);
        if (t->done == 0) {
            sts_stop(w.sts);
            sts_world_run_ms(&w, 200);
            ck_assert_uint_eq(t->done, 0);
        }
        if (ms % 2 == 0)
            sts_world_stop(&w);
        else
            sts_world_crash(&w);
        w.state = ms % 4 < 2 ? NULL : "/var/lib/mailring";
        sts_world_open(&w);
    }
}
END_TEST

Suite *sts_suite(void)
{
    Suite *s = suite_create("sts");
    TCase *t = tcase_create("sts");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, none);
    tcase_add_test(t, found);
    tcase_add_test(t, joined);
    tcase_add_test(t, changed_id);
    tcase_add_test(t, doubt);
    tcase_add_test(t, withdrawn);
    tcase_add_test(t, outlives);
    tcase_add_test(t, temporary);
    tcase_add_test(t, failures);
    tcase_add_test(t, no_address);
    tcase_add_test(t, several_records);
    tcase_add_test(t, refreshed);
    tcase_add_test(t, refresh_fails);
    tcase_add_test(t, kept);
    tcase_add_test(t, bounded);
    tcase_add_test(t, too_many_fetches);
    tcase_add_test(t, stopped);
    suite_add_tcase(s, t);
    return s;
}
