/* Domains: what the DNS says, what is made of it, and how long that holds. */
#include <stdio.h>

#include "verify_world.h"

Suite *verify_domain_suite(void);

static struct verify_world w;

static void setup(void)
{
    verify_world_open(&w);
    dns_sim_zone_add_mx(w.zone, "mx-only.example", 10, "mx.elsewhere.example");
    dns_sim_zone_add_address(w.zone, "a-only.example", "192.0.2.7");
    dns_sim_zone_add_txt(w.zone, "empty.example", "nothing else");
    dns_sim_zone_add_mx(w.zone, "null.example", 0, "");
    dns_sim_zone_add_mx(w.zone, "two.example", 0, "");
    dns_sim_zone_add_mx(w.zone, "two.example", 10, "mx.elsewhere.example");
    dns_sim_zone_set_status(w.zone, "broken.example", DNS_TEMPORARY);
}

static void teardown(void)
{
    verify_world_close(&w);
}

static const struct {
    const char *address;
    bool sender;
    enum verify_verdict verdict;
    unsigned code, enhanced[3];
} cases[] = {
    {"a@mx-only.example", false, VERIFY_GOOD, 0, {0}},
    {"a@MX-Only.Example", false, VERIFY_GOOD, 0, {0}},
    {"a@a-only.example", false, VERIFY_GOOD, 0, {0}},
    {"a@two.example", false, VERIFY_GOOD, 0, {0}},
    {"a@empty.example", false, VERIFY_NO_DOMAIN, 550, {5, 1, 2}},
    {"a@none.example", false, VERIFY_NO_DOMAIN, 550, {5, 1, 2}},
    {"a@null.example", false, VERIFY_NULL_MX, 556, {5, 1, 10}},
    {"a@broken.example", false, VERIFY_NO_DNS, 450, {4, 4, 3}},
    {"a@[192.0.2.1]", false, VERIFY_GOOD, 0, {0}},
    {"a@plain.example", false, VERIFY_GOOD, 0, {0}}, /* ours */
    {"a@fixed.example", false, VERIFY_GOOD, 0, {0}}, /* has a route to a host */
    {"a@gone.example", false, VERIFY_GOOD, 0, {0}},  /* discard */
    {"a@mx-only.example", true, VERIFY_GOOD, 0, {0}},
    {"a@none.example", true, VERIFY_NO_DOMAIN, 553, {5, 1, 8}},
    {"a@empty.example", true, VERIFY_NO_DOMAIN, 553, {5, 1, 8}},
    {"a@fixed.example", true, VERIFY_NO_DOMAIN, 553, {5, 1, 8}},
    {"a@null.example", true, VERIFY_NULL_MX, 550, {5, 7, 27}},
    {"a@broken.example", true, VERIFY_NO_DNS, 451, {4, 1, 8}},
    {"a@plain.example", true, VERIFY_GOOD, 0, {0}},
    {"a@inner.example", true, VERIFY_GOOD, 0, {0}},
    {"a@[192.0.2.1]", true, VERIFY_GOOD, 0, {0}},
    {"", true, VERIFY_GOOD, 0, {0}},
};

static struct told *ask(size_t n)
{
    return verify_world_wait(&w, cases[n].sender ? verify_world_sender(&w, cases[n].address)
                                                 : verify_world_recipient(&w, cases[n].address));
}

START_TEST(verdicts)
{
    for (int again = 0; again < 2; again++) {
        const struct told *t = ask((size_t)_i);

        ck_assert_msg(t->q.verdict == cases[_i].verdict, "%s: %s", cases[_i].address,
                      verify_verdict_name(t->q.verdict));
        ck_assert_int_eq(verify_refuses(t->q.verdict), cases[_i].code != 0);
        if (cases[_i].code == 0)
            continue;
        ck_assert_uint_eq(t->q.reply.code, cases[_i].code);
        for (int i = 0; i < 3; i++)
            ck_assert_uint_eq(t->q.reply.enhanced[i], cases[_i].enhanced[i]);
        ck_assert_uint_gt(t->q.reply.text.len, 0);
    }
}
END_TEST

START_TEST(nobody_wants_it)
{
    w.conf->verify.recipient_domain = w.conf->verify.sender_domain = false;
    ck_assert_int_eq(verify_world_recipient(&w, "a@none.example")->q.verdict, VERIFY_GOOD);
    ck_assert_int_eq(verify_world_sender(&w, "a@none.example")->q.verdict, VERIFY_GOOD);
    ck_assert_uint_eq(verify_world_counters(&w).domains, 0);
}
END_TEST

/* A hundred recipients of one domain are one question, and those who come later are none. */
START_TEST(asked_once)
{
    struct dns_counters dns;
    struct told *t[100];

    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        t[i] = verify_world_recipient(&w, "a@mx-only.example");
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        ck_assert_uint_eq(t[i]->done, 0); /* never inside the call */
    verify_world_run_ms(&w, 100);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        ck_assert_uint_eq(t[i]->done, 1);
    ck_assert_int_eq(verify_world_sender(&w, "b@mx-only.example")->q.verdict, VERIFY_GOOD);
    dns_counters(w.dns, &dns);
    ck_assert_uint_eq(dns.asked, 1);
    ck_assert_uint_eq(verify_world_counters(&w).domains, 101);
    ck_assert_uint_eq(verify_world_counters(&w).domains_cached, 1);
    ck_assert_uint_eq(verify_world_counters(&w).cached, 1);
}
END_TEST

/* A domain that comes into being is seen within minutes, a DNS that is back within seconds. */
START_TEST(forgotten_in_time)
{
    struct told *t = verify_world_wait(&w, verify_world_recipient(&w, "a@none.example"));

    ck_assert_int_eq(t->q.verdict, VERIFY_NO_DOMAIN);
    dns_sim_zone_add_mx(w.zone, "none.example", 10, "mx.none.example");
    ck_assert_int_eq(verify_world_recipient(&w, "a@none.example")->q.verdict, VERIFY_NO_DOMAIN);
    verify_world_run_ms(&w, 130 * 1000);
    t = verify_world_wait(&w, verify_world_recipient(&w, "a@none.example"));
    ck_assert_int_eq(t->q.verdict, VERIFY_GOOD);

    t = verify_world_wait(&w, verify_world_recipient(&w, "a@broken.example"));
    ck_assert_int_eq(t->q.verdict, VERIFY_NO_DNS);
    dns_sim_zone_set_status(w.zone, "broken.example", DNS_OK);
    dns_sim_zone_add_address(w.zone, "broken.example", "192.0.2.9");
    ck_assert_int_eq(verify_world_recipient(&w, "a@broken.example")->q.verdict, VERIFY_NO_DNS);
    verify_world_run_ms(&w, 6 * 1000);
    t = verify_world_wait(&w, verify_world_recipient(&w, "a@broken.example"));
    ck_assert_int_eq(t->q.verdict, VERIFY_GOOD);
}
END_TEST

START_TEST(given_up)
{
    struct told *gone = verify_world_recipient(&w, "a@mx-only.example");
    struct told *stays = verify_world_recipient(&w, "a@mx-only.example");

    verify_give_up(&gone->q);
    verify_give_up(&gone->q);
    verify_world_wait(&w, stays);
    verify_world_run_ms(&w, 100);
    ck_assert_uint_eq(gone->done, 0);
    ck_assert_uint_eq(stays->done, 1);
}
END_TEST

START_TEST(stopped)
{
    struct told *waits = verify_world_recipient(&w, "a@mx-only.example");
    struct told *late;

    verify_stop(w.v);
    ck_assert_uint_eq(waits->done, 1);
    ck_assert_int_eq(waits->q.verdict, VERIFY_NO_DNS);
    late = verify_world_sender(&w, "a@mx-only.example");
    ck_assert_int_eq(late->q.verdict, VERIFY_NO_DNS);
    ck_assert_uint_eq(late->q.reply.code, 451);
}
END_TEST

/* The cache is bounded; what is under way is not forgotten. */
START_TEST(bounded)
{
    char address[64];
    struct told *first;

    verify_world_close(&w);
    w.entries_max = 8;
    setup();
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(address, sizeof(address), "a@d%u.example", i);
        verify_world_wait(&w, verify_world_recipient(&w, address));
        ck_assert_uint_le(verify_world_counters(&w).cached, 8);
    }
    first = verify_world_recipient(&w, "a@mx-only.example");
    for (unsigned i = 0; i < 20; i++) {
        (void)snprintf(address, sizeof(address), "a@e%u.example", i);
        (void)verify_world_recipient(&w, address);
        ck_assert_uint_le(verify_world_counters(&w).cached, 8);
    }
    verify_world_wait(&w, first);
    ck_assert_int_eq(first->q.verdict, VERIFY_GOOD);
    ck_assert_int_eq(w.told[w.told_count - 1].q.verdict, VERIFY_NO_DNS); /* there was no room */
    w.entries_max = 0;
}
END_TEST

Suite *verify_domain_suite(void)
{
    Suite *s = suite_create("verify_domain");
    TCase *tc = tcase_create("domains");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, verdicts, 0, (int)ARRAY_LEN(cases));
    tcase_add_test(tc, nobody_wants_it);
    tcase_add_test(tc, asked_once);
    tcase_add_test(tc, forgotten_in_time);
    tcase_add_test(tc, given_up);
    tcase_add_test(tc, stopped);
    tcase_add_test(tc, bounded);
    suite_add_tcase(s, tc);
    return s;
}
