/* Questions and the cache, with a resolver that answers when the test says so, in simulated time. */
#include <check.h>
#include <stdlib.h>

#include "base_mem.h"
#include "dns_priv.h"
#include "io_sim.h"

enum { CACHE_MAX = 3, ASKED_MAX = 64, QUERIES = 8 };

static struct sim *sim;
static struct io *io;
static struct wheel wheel;
static struct dns *dns;

static struct {
    struct dns_entry *entry;
    enum dns_type type;
} asked[ASKED_MAX];
static unsigned asked_count;
static bool answer_within; /* the call that asks */

struct probe {
    struct dns_query q;
    unsigned done;
};
static struct probe probes[QUERIES];

static void test_ask(struct dns *d, struct dns_entry *e, enum dns_type type)
{
    (void)d;
    if (answer_within) {
        dns_answered_nothing(e, type, DNS_TEMPORARY);
        return;
    }
    ck_assert_uint_lt(asked_count, ASKED_MAX);
    asked[asked_count].entry = e;
    asked[asked_count++].type = type;
}

static void test_destroy(struct dns *d)
{
    mem_free(d);
}

static void setup(void)
{
    static const struct dns_vtable vtable = {.ask = test_ask, .destroy = test_destroy};
    struct sim_options options = sim_options_default();

    sim = sim_create(1, &options);
    io = sim_io_create(sim_machine_create(sim, "10.0.0.1"), 0);
    wheel_init(&wheel, io_now_ms(io));
    dns = mem_alloc(sizeof(*dns));
    dns_front_init(dns, &vtable, io, &wheel, CACHE_MAX);
    asked_count = 0;
    answer_within = false;
}

static void teardown(void)
{
    for (int i = 0; i < QUERIES; i++)
        dns_query_finish(&probes[i].q);
    dns_destroy(dns);
    io_destroy(io);
    sim_destroy(sim);
}

static void probe_done(struct dns_query *q)
{
    container_of(q, struct probe, q)->done++;
}

static struct probe *probe(int i)
{
    struct probe *p = &probes[i];

    dns_query_finish(&p->q);
    *p = (struct probe){.q.done = probe_done};
    return p;
}

static struct probe *ask_mx(int i, const char *name)
{
    struct probe *p = probe(i);

    dns_query_mx(dns, &p->q, slice_str(name));
    ck_assert_uint_eq(p->done, 0);
    return p;
}

static struct probe *ask_addresses(int i, const char *name)
{
    struct probe *p = probe(i);

    dns_query_addresses(dns, &p->q, slice_str(name));
    ck_assert_uint_eq(p->done, 0);
    return p;
}

static void pass(void)
{
    wheel_advance(&wheel, io_now_ms(io));
}

static void sleep_ms(uint64_t ms)
{
    uint64_t until = io_now_ms(io) + ms;

    while (io_now_ms(io) < until) {
        sim_advance_ms(sim, until - io_now_ms(io));
        (void)io_wait(io, until);
    }
    pass();
}

static void answer(unsigned n, enum dns_status status, uint32_t ttl_s, struct slice records)
{
    struct dns_part part = {.status = status, .ttl_s = ttl_s};

    ck_assert_uint_lt(n, asked_count);
    (void)buf_append_slice(&part.records, records);
    dns_answered(asked[n].entry, asked[n].type, &part);
}

static void answer_secure(unsigned n, enum dns_status status, bool secure, const char *ip)
{
    struct dns_part part = {.status = status, .ttl_s = 60, .secure = secure};
    struct ip_addr addr;

    ck_assert_uint_lt(n, asked_count);
    if (ip != NULL) {
        ck_assert(ip_parse(slice_str(ip), &addr));
        (void)buf_append(&part.records, &addr, sizeof(addr));
    }
    dns_answered(asked[n].entry, asked[n].type, &part);
}

static void answer_mx(unsigned n, uint32_t ttl_s)
{
    static const struct dns_mx mx[] = {{20, "b"}, {10, "c"}, {20, "a"}, {10, "d"}, {5, "e"}};

    answer(n, DNS_OK, ttl_s, slice_of(mx, sizeof(mx)));
}

static void answer_ip(unsigned n, const char *text)
{
    struct ip_addr ip;

    ck_assert(ip_parse(slice_str(text), &ip));
    answer(n, DNS_OK, 300, slice_of(&ip, sizeof(ip)));
}

START_TEST(mx_are_sorted)
{
    struct probe *p = ask_mx(0, "example.test");
    static const char *const order[] = {"e", "c", "d", "b", "a"};

    ck_assert_uint_eq(asked_count, 1);
    ck_assert_int_eq(asked[0].type, DNS_TYPE_MX);
    ck_assert_str_eq(asked[0].entry->name, "example.test");
    answer_mx(0, 60);
    ck_assert_uint_eq(p->done, 0); /* not from within the resolver */
    pass();
    ck_assert_uint_eq(p->done, 1);
    ck_assert_int_eq(p->q.status, DNS_OK);
    ck_assert_uint_eq(p->q.answer->mx_count, 5);
    for (int i = 0; i < 5; i++)
        ck_assert_str_eq(p->q.answer->mx[i].host, order[i]);
}
END_TEST

START_TEST(equal_questions_are_asked_once)
{
    struct probe *a = ask_mx(0, "example.test"), *b = ask_mx(1, "EXAMPLE.test."),
                 *c = ask_mx(2, "example.test"), *other = ask_mx(3, "other.test");

    ck_assert_uint_eq(asked_count, 2);
    dns_query_finish(&c->q);
    answer_mx(0, 60);
    pass();
    ck_assert_uint_eq(a->done, 1);
    ck_assert_uint_eq(b->done, 1);
    ck_assert_uint_eq(c->done, 0);
    ck_assert_uint_eq(other->done, 0);
    ck_assert_ptr_eq(a->q.answer, b->q.answer);
    answer_mx(1, 60);
}
END_TEST

START_TEST(the_cache_answers_until_the_ttl_is_over)
{
    struct probe *p = ask_mx(0, "example.test");
    struct dns_counters counters;

    answer_mx(0, 60);
    pass();
    sleep_ms(59 * 1000);
    p = ask_mx(1, "example.test");
    ck_assert_uint_eq(asked_count, 1);
    pass();
    ck_assert_uint_eq(p->done, 1);
    ck_assert_int_eq(p->q.status, DNS_OK);
    sleep_ms(1000);
    p = ask_mx(2, "example.test");
    ck_assert_uint_eq(asked_count, 2);
    answer_mx(1, 60);
    /* Those who hold the old answer keep it. */
    ck_assert_str_eq(probes[0].q.answer->mx[0].host, "e");
    dns_counters(dns, &counters);
    ck_assert_uint_eq(counters.asked, 3);
    ck_assert_uint_eq(counters.cache_hits, 1);
    ck_assert_uint_eq(counters.sent, 2);
    ck_assert_uint_eq(counters.cached, 1);
}
END_TEST

/* Whatever a server says, within bounds. */
START_TEST(ttls_are_clamped)
{
    static const struct {
        enum dns_status status;
        uint32_t ttl_s, kept_s;
    } rows[] = {
        {DNS_OK, 0, 5},        {DNS_OK, 1000000, 86400},   {DNS_NO_NAME, 0, 5},
        {DNS_NO_DATA, 60, 60}, {DNS_NO_NAME, 86400, 3600}, {DNS_TEMPORARY, 600, 5},
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        asked_count = 0;
        (void)ask_mx(0, "example.test");
        ck_assert_uint_eq(asked_count, 1);
        if (rows[i].status == DNS_OK)
            answer_mx(0, rows[i].ttl_s);
        else
            answer(0, rows[i].status, rows[i].ttl_s, SLICE_NULL);
        pass();
        ck_assert_int_eq(probes[0].q.status, rows[i].status);
        sleep_ms(rows[i].kept_s * 1000 - 1);
        (void)ask_mx(1, "example.test");
        pass();
        ck_assert_uint_eq(asked_count, 1);
        ck_assert_uint_eq(probes[1].done, 1);
        sleep_ms(1);
    }
}
END_TEST

START_TEST(the_longest_unused_goes)
{
    static const char *const names[] = {"a.test", "b.test", "c.test", "d.test"};
    struct dns_counters counters;

    for (unsigned i = 0; i < 3; i++) {
        (void)ask_mx((int)i, names[i]);
        answer_mx(i, 3600);
        pass();
    }
    (void)ask_mx(3, "a.test"); /* used: b is now the oldest */
    (void)ask_mx(4, "d.test");
    answer_mx(3, 3600);
    pass();
    dns_counters(dns, &counters);
    ck_assert_uint_eq(counters.cached, CACHE_MAX);
    ck_assert_str_eq(probes[1].q.answer->mx[0].host, "e"); /* held, so still there */
    asked_count = 0;
    (void)ask_mx(5, "a.test");
    (void)ask_mx(6, "c.test");
    (void)ask_mx(7, "d.test");
    ck_assert_uint_eq(asked_count, 0);
    (void)ask_mx(1, "b.test");
    ck_assert_uint_eq(asked_count, 1);
    answer_mx(0, 60);
}
END_TEST

START_TEST(addresses_of_both_families)
{
    struct probe *p = ask_addresses(0, "host.test");

    ck_assert_uint_eq(asked_count, 2);
    ck_assert_int_eq(asked[0].type, DNS_TYPE_A);
    ck_assert_int_eq(asked[1].type, DNS_TYPE_AAAA);
    answer_ip(0, "192.0.2.1");
    pass();
    ck_assert_uint_eq(p->done, 0);
    answer_ip(1, "2001:db8::1");
    pass();
    ck_assert_uint_eq(p->done, 1);
    ck_assert_int_eq(p->q.status, DNS_OK);
    ck_assert_uint_eq(p->q.answer->address_count, 2);
    ck_assert(!ip_is_v4(&p->q.answer->addresses[0]));
    ck_assert(ip_is_v4(&p->q.answer->addresses[1]));
}
END_TEST

START_TEST(two_statuses_make_one)
{
    static const struct {
        enum dns_status a, aaaa, both;
    } rows[] = {
        {DNS_OK, DNS_NO_DATA, DNS_OK},
        {DNS_NO_DATA, DNS_OK, DNS_OK},
        {DNS_OK, DNS_TEMPORARY, DNS_OK},
        {DNS_TEMPORARY, DNS_OK, DNS_OK},
        {DNS_NO_DATA, DNS_NO_DATA, DNS_NO_DATA},
        {DNS_NO_NAME, DNS_NO_NAME, DNS_NO_NAME},
        {DNS_NO_DATA, DNS_NO_NAME, DNS_NO_DATA},
        {DNS_TEMPORARY, DNS_NO_DATA, DNS_TEMPORARY},
        {DNS_NO_NAME, DNS_TEMPORARY, DNS_TEMPORARY},
    };
    char name[] = "host0.test";

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct probe *p;
        name[4] = (char)('0' + i);
        asked_count = 0;
        p = ask_addresses(0, name);
        if (rows[i].a == DNS_OK)
            answer_ip(0, "192.0.2.1");
        else
            answer(0, rows[i].a, 60, SLICE_NULL);
        if (rows[i].aaaa == DNS_OK)
            answer_ip(1, "2001:db8::1");
        else
            answer(1, rows[i].aaaa, 60, SLICE_NULL);
        pass();
        ck_assert_int_eq(p->q.status, rows[i].both);
        ck_assert((p->q.answer != NULL) == (rows[i].both == DNS_OK));
    }
}
END_TEST

/* A known half is good, but not for the day that its TTL says. */
START_TEST(half_an_answer_is_asked_again_soon)
{
    (void)ask_addresses(0, "host.test");
    answer_ip(0, "192.0.2.1");
    answer(1, DNS_TEMPORARY, 0, SLICE_NULL);
    sleep_ms(59 * 1000);
    (void)ask_addresses(1, "host.test");
    ck_assert_uint_eq(asked_count, 2);
    sleep_ms(1000);
    (void)ask_addresses(1, "host.test");
    ck_assert_uint_eq(asked_count, 4);
    answer_ip(2, "192.0.2.1");
    answer_ip(3, "2001:db8::1");
}
END_TEST

/* What counts is what the answer is made of; and nothing counts with a resolver that is not trusted. */
START_TEST(security_of_two_parts)
{
    static const struct {
        enum dns_status a, aaaa;
        bool a_secure, aaaa_secure, both;
    } rows[] = {
        {DNS_OK, DNS_OK, true, true, true},
        {DNS_OK, DNS_OK, true, false, false},
        {DNS_OK, DNS_OK, false, true, false},
        {DNS_OK, DNS_NO_DATA, true, false, true},
        {DNS_OK, DNS_TEMPORARY, true, false, true},
        {DNS_NO_DATA, DNS_OK, true, false, false},
        {DNS_NO_DATA, DNS_NO_DATA, true, true, true},
        {DNS_NO_DATA, DNS_NO_DATA, true, false, false},
        {DNS_NO_NAME, DNS_NO_NAME, true, true, true},
        {DNS_TEMPORARY, DNS_NO_DATA, true, true, false},
    };
    char name[] = "trusted0.test";

    for (int trusted = 0; trusted < 2; trusted++) {
        dns->trusted = trusted == 1;
        ck_assert(dns_is_trusted(dns) == (trusted == 1));
        name[0] = trusted == 1 ? 't' : 'x';
        for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
            struct probe *p;
            name[7] = (char)('a' + i);
            asked_count = 0;
            p = ask_addresses(0, name);
            answer_secure(0, rows[i].a, rows[i].a_secure, rows[i].a == DNS_OK ? "192.0.2.1" : NULL);
            answer_secure(1, rows[i].aaaa, rows[i].aaaa_secure,
                          rows[i].aaaa == DNS_OK ? "2001:db8::1" : NULL);
            pass();
            ck_assert_msg(p->q.secure == (rows[i].both && trusted == 1), "row %u", i);
            p = ask_addresses(1, name); /* the cache remembers */
            pass();
            ck_assert_uint_eq(asked_count, 2);
            ck_assert(p->q.secure == (rows[i].both && trusted == 1));
        }
    }
}
END_TEST

START_TEST(texts)
{
    struct probe *tlsa = probe(0), *txt = probe(1), *alias = probe(2);
    struct dns_part part = {.status = DNS_OK, .ttl_s = 60, .secure = true};

    dns->trusted = true;
    dns_query_tlsa(dns, &tlsa->q, SLICE_LITERAL("_25._tcp.mx.test"));
    dns_query_txt(dns, &txt->q, SLICE_LITERAL("_mta-sts.x.test"));
    dns_query_alias(dns, &alias->q, SLICE_LITERAL("x.test"));
    ck_assert_uint_eq(asked_count, 3);
    ck_assert_int_eq(asked[0].type, DNS_TYPE_TLSA);
    ck_assert_int_eq(asked[1].type, DNS_TYPE_TXT);
    ck_assert_int_eq(asked[2].type, DNS_TYPE_CNAME);
    ck_assert(dns_part_add_text(&part, SLICE_LITERAL("\3\1\2digest")));
    ck_assert(dns_part_add_text(&part, SLICE_LITERAL("\2\0\0")));
    dns_answered(asked[0].entry, asked[0].type, &part);
    part = (struct dns_part){.status = DNS_OK, .ttl_s = 60};
    ck_assert(dns_part_add_text(&part, SLICE_LITERAL("v=STSv1; id=1")));
    ck_assert(dns_part_add_text(&part, SLICE_LITERAL("")));
    dns_answered(asked[1].entry, asked[1].type, &part);
    part = (struct dns_part){.status = DNS_OK, .ttl_s = 60, .secure = true};
    part.canonical = mem_dup("y.test", 7);
    dns_answered(asked[2].entry, asked[2].type, &part);
    pass();
    ck_assert(tlsa->q.secure && !txt->q.secure && alias->q.secure);
    ck_assert_uint_eq(tlsa->q.answer->tlsa_count, 2);
    ck_assert_uint_eq(tlsa->q.answer->tlsa[0].usage, 3);
    ck_assert_uint_eq(tlsa->q.answer->tlsa[0].selector, 1);
    ck_assert_uint_eq(tlsa->q.answer->tlsa[0].matching, 2);
    ck_assert(slice_equal(tlsa->q.answer->tlsa[0].data, SLICE_LITERAL("digest")));
    ck_assert_uint_eq(tlsa->q.answer->tlsa[1].usage, 2);
    ck_assert_uint_eq(tlsa->q.answer->tlsa[1].data.len, 0);
    ck_assert_str_eq(tlsa->q.answer->canonical, "_25._tcp.mx.test");
    ck_assert_uint_eq(txt->q.answer->txt_count, 2);
    ck_assert(slice_equal(txt->q.answer->txt[0], SLICE_LITERAL("v=STSv1; id=1")));
    ck_assert_uint_eq(txt->q.answer->txt[1].len, 0);
    ck_assert_str_eq(alias->q.answer->canonical, "y.test");
}
END_TEST

START_TEST(literals_and_bad_names)
{
    struct probe *four = ask_addresses(0, "192.0.2.9"), *six = ask_addresses(1, "2001:db8::9"),
                 *bad = ask_addresses(2, "a?b.test"), *mx = ask_mx(3, "[192.0.2.9]");

    pass();
    ck_assert_uint_eq(asked_count, 0);
    ck_assert_int_eq(four->q.status, DNS_OK);
    ck_assert_uint_eq(four->q.answer->address_count, 1);
    ck_assert(ip_is_v4(&four->q.answer->addresses[0]));
    ck_assert_int_eq(six->q.status, DNS_OK);
    ck_assert_int_eq(bad->q.status, DNS_BAD_NAME);
    ck_assert_int_eq(mx->q.status, DNS_BAD_NAME);
    ck_assert_ptr_null(bad->q.answer);
    ck_assert_uint_eq(four->done + six->done + bad->done + mx->done, 4);
}
END_TEST

START_TEST(an_answer_within_the_question)
{
    struct probe *p;

    answer_within = true;
    p = ask_addresses(0, "host.test"); /* asserts that done was not called */
    pass();
    ck_assert_uint_eq(p->done, 1);
    ck_assert_int_eq(p->q.status, DNS_TEMPORARY);
}
END_TEST

/* In each state: asked, ready, done, never asked. */
START_TEST(finish_at_any_time)
{
    struct probe *p = ask_mx(0, "example.test");

    dns_query_finish(&p->q);
    dns_query_finish(&p->q);
    answer_mx(0, 60); /* nobody waits: for the cache */
    pass();
    ck_assert_uint_eq(p->done, 0);
    p = ask_mx(1, "example.test");
    dns_query_finish(&p->q); /* ready */
    pass();
    ck_assert_uint_eq(p->done, 0);
    ck_assert_uint_eq(asked_count, 1);
    p = ask_addresses(2, "192.0.2.1");
    dns_query_finish(&p->q);
    p = ask_addresses(3, "bad..name");
    dns_query_finish(&p->q);
    pass();
    ck_assert_uint_eq(p->done, 0);
}
END_TEST

static void done_finishes_others(struct dns_query *q)
{
    probe_done(q);
    dns_query_finish(&probes[1].q);
    dns_query_mx(dns, &probes[2].q, SLICE_LITERAL("example.test"));
    ck_assert_uint_eq(probes[2].done, 0);
}

START_TEST(done_may_ask_and_finish)
{
    struct probe *a = ask_mx(0, "example.test"), *b = ask_mx(1, "example.test"), *c = probe(2);

    a->q.done = done_finishes_others;
    answer_mx(0, 60);
    pass();
    ck_assert_uint_eq(a->done, 1);
    ck_assert_uint_eq(b->done, 0);
    sleep_ms(1);
    ck_assert_uint_eq(c->done, 1);
    ck_assert_int_eq(c->q.status, DNS_OK);
}
END_TEST

START_TEST(hosts_file)
{
    struct probe *p;

    dns_hosts_parse(dns, SLICE_LITERAL("# comment\n"
                                       "127.0.0.1\tlocalhost loopback # more\n"
                                       "::1 LocalHost ip6-localhost\r\n"
                                       "fe80::1%lo0 zone\n"
                                       "nonsense here\n"
                                       "\n"
                                       "192.0.2.7 mail.test bad..name mail"));
    p = ask_addresses(0, "localhost");
    pass();
    ck_assert_int_eq(p->q.status, DNS_OK);
    ck_assert_uint_eq(p->q.answer->address_count, 2);
    ck_assert(!ip_is_v4(&p->q.answer->addresses[0]));
    p = ask_addresses(1, "mail");
    pass();
    ck_assert_int_eq(p->q.status, DNS_OK);
    ck_assert_uint_eq(asked_count, 0);
    sleep_ms(UINT64_C(400) * 86400 * 1000); /* they never expire */
    (void)ask_addresses(2, "mail.test");
    ck_assert_uint_eq(asked_count, 0);
    (void)ask_mx(3, "mail.test"); /* and say nothing about mail */
    ck_assert_uint_eq(asked_count, 1);
    answer(0, DNS_NO_NAME, 60, SLICE_NULL);
    (void)ask_addresses(4, "zone");
    ck_assert_uint_eq(asked_count, 3);
    answer(1, DNS_NO_NAME, 60, SLICE_NULL);
    answer(2, DNS_NO_NAME, 60, SLICE_NULL);
}
END_TEST

Suite *dns_cache_suite(void)
{
    Suite *s = suite_create("dns_cache");
    TCase *tc = tcase_create("dns_cache");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, mx_are_sorted);
    tcase_add_test(tc, equal_questions_are_asked_once);
    tcase_add_test(tc, the_cache_answers_until_the_ttl_is_over);
    tcase_add_test(tc, ttls_are_clamped);
    tcase_add_test(tc, the_longest_unused_goes);
    tcase_add_test(tc, addresses_of_both_families);
    tcase_add_test(tc, two_statuses_make_one);
    tcase_add_test(tc, half_an_answer_is_asked_again_soon);
    tcase_add_test(tc, security_of_two_parts);
    tcase_add_test(tc, texts);
    tcase_add_test(tc, literals_and_bad_names);
    tcase_add_test(tc, an_answer_within_the_question);
    tcase_add_test(tc, finish_at_any_time);
    tcase_add_test(tc, done_may_ask_and_finish);
    tcase_add_test(tc, hosts_file);
    suite_add_tcase(s, tc);
    return s;
}
