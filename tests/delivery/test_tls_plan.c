/* What is asked of hosts, without any host: demands, plans, TLSA records, what is remembered. */
#include <check.h>
#include <stdio.h>

#include "base_mem.h"
#include "delivery_remote_priv.h"

Suite *tls_plan_suite(void);

/* ---- demands ------------------------------------------------------------------------------ */

START_TEST(test_words)
{
    static const struct {
        struct delivery_demand demand;
        const char *word;
    } rows[] = {
        {{.secure = false}, "-"},
        {{.secure = true}, "s"},
        {{.require = true}, "r"},
        {{.ignore = true}, "n"},
        {{.secure = true, .require = true}, "sr"},
        {{.policy = 0x1234abcd}, "p000000001234abcd"},
        {{.secure = true, .require = true, .policy = UINT64_MAX}, "srpffffffffffffffff"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf word = {0};
        struct delivery_demand back;
        delivery_demand_word(&rows[i].demand, &word);
        ck_assert(slice_equal(buf_slice(&word), slice_str(rows[i].word)));
        back = delivery_demand_parse(buf_slice(&word));
        ck_assert(back.secure == rows[i].demand.secure && back.require == rows[i].demand.require
                  && back.ignore == rows[i].demand.ignore && back.policy == rows[i].demand.policy);
        buf_finish(&word);
    }
}
END_TEST

/* What the message says, and what is left of the route's `tls`. */
START_TEST(test_messages)
{
    static const struct {
        uint16_t flags;
        const char *sender;
        bool require, ignore;
        enum conf_route_tls route, mode;
    } rows[] = {
        {0, "a@b", false, false, CONF_ROUTE_TLS_AUTO, CONF_ROUTE_TLS_AUTO},
        {SPOOL_TLS_OPTIONAL, "a@b", false, true, CONF_ROUTE_TLS_AUTO, CONF_ROUTE_TLS_OPPORTUNISTIC},
        {SPOOL_TLS_OPTIONAL, "a@b", false, true, CONF_ROUTE_TLS_VERIFY, CONF_ROUTE_TLS_VERIFY},
        {SPOOL_TLS_OPTIONAL, "a@b", false, true, CONF_ROUTE_TLS_DANE, CONF_ROUTE_TLS_DANE},
        {SPOOL_REQUIRE_TLS, "a@b", true, false, CONF_ROUTE_TLS_NONE, CONF_ROUTE_TLS_AUTO},
        {SPOOL_REQUIRE_TLS, "a@b", true, false, CONF_ROUTE_TLS_ENCRYPT, CONF_ROUTE_TLS_AUTO},
        {SPOOL_REQUIRE_TLS, "a@b", true, false, CONF_ROUTE_TLS_VERIFY, CONF_ROUTE_TLS_VERIFY},
        {SPOOL_REQUIRE_TLS, "", false, false, CONF_ROUTE_TLS_NONE, CONF_ROUTE_TLS_NONE},
        {SPOOL_REQUIRE_TLS | SPOOL_TLS_OPTIONAL, "a@b", true, false, CONF_ROUTE_TLS_AUTO,
         CONF_ROUTE_TLS_AUTO},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct conf_destination mx = {.kind = CONF_TO_MX};
        struct delivery_task t = {
            .flags = rows[i].flags, .sender = slice_str(rows[i].sender), .to = &mx, .to_count = 1};
        struct conf_route route = {.tls = rows[i].route};
        struct delivery_demand demand = delivery_demand_of(&t);
        ck_assert_msg(demand.require == rows[i].require && demand.ignore == rows[i].ignore,
                      "row %zu", i);
        ck_assert_msg(delivery_demand_mode(&demand, &route) == rows[i].mode, "row %zu", i);
    }
}
END_TEST

static struct sts_policy *policy_of(const char *mode, const char *mx)
{
    char text[256];
    const char *why = NULL;
    struct sts_policy *policy;

    (void)snprintf(text, sizeof(text), "version: STSv1\nmode: %s\nmx: %s\nmax_age: 86400\n", mode,
                   mx);
    policy = sts_policy_parse(slice_str(text), &why);
    ck_assert_msg(policy != NULL, "%s", why);
    return policy;
}

START_TEST(test_policies_that_differ)
{
    struct sts_policy *a = policy_of("enforce", "mx.test"), *b = policy_of("enforce", "*.test"),
                      *c = policy_of("testing", "mx.test"), *same = policy_of("enforce", "mx.test");

    ck_assert_uint_eq(delivery_demand_hash(a), delivery_demand_hash(same));
    ck_assert_uint_ne(delivery_demand_hash(a), delivery_demand_hash(b));
    ck_assert_uint_ne(delivery_demand_hash(a), delivery_demand_hash(c));
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(same);
}
END_TEST

/* ---- plans -------------------------------------------------------------------------------- */

static uint8_t digest[64];

static struct dns_tlsa record(uint8_t usage, uint8_t selector, uint8_t matching, size_t len)
{
    return (struct dns_tlsa){usage, selector, matching, slice_of(digest, len)};
}

START_TEST(test_usable_records)
{
    static const struct {
        uint8_t usage, selector, matching, len;
        enum delivery_tlsa worth;
    } rows[] = {
        {3, 1, 1, 32, DELIVERY_TLSA_USABLE},   {2, 0, 2, 64, DELIVERY_TLSA_USABLE},
        {3, 0, 0, 1, DELIVERY_TLSA_USABLE},    {3, 0, 0, 0, DELIVERY_TLSA_UNUSABLE},
        {0, 1, 1, 32, DELIVERY_TLSA_UNUSABLE}, {1, 1, 1, 32, DELIVERY_TLSA_UNUSABLE},
        {4, 1, 1, 32, DELIVERY_TLSA_UNUSABLE}, {255, 1, 1, 32, DELIVERY_TLSA_UNUSABLE},
        {3, 2, 1, 32, DELIVERY_TLSA_UNUSABLE}, {3, 1, 3, 32, DELIVERY_TLSA_UNUSABLE},
        {3, 1, 1, 31, DELIVERY_TLSA_UNUSABLE}, {3, 1, 1, 33, DELIVERY_TLSA_UNUSABLE},
        {3, 1, 2, 32, DELIVERY_TLSA_UNUSABLE},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct dns_tlsa r[2] = {record(1, 1, 1, 32), record(rows[i].usage, rows[i].selector,
                                                            rows[i].matching, rows[i].len)};
        struct dns_answer answer = {.tlsa_count = 2, .tlsa = r};
        ck_assert_msg(delivery_plan_tlsa(&answer) == rows[i].worth, "row %zu", i);
    }
}
END_TEST

/* One of two digests of the same thing counts for nothing beside the stronger (RFC 7671 9). */
START_TEST(test_stronger_digests)
{
    struct dns_tlsa r[] = {record(3, 1, 1, 32), record(3, 1, 2, 64), record(3, 0, 1, 32),
                           record(2, 1, 1, 32), record(3, 1, 0, 5),  record(2, 1, 2, 32)};
    struct dns_answer answer = {.tlsa_count = ARRAY_LEN(r), .tlsa = r};
    struct delivery_plan_question q = {.mode = CONF_ROUTE_TLS_DANE,
                                       .able = true,
                                       .host = SLICE_LITERAL("mx.test"),
                                       .tlsa = DELIVERY_TLSA_USABLE,
                                       .base = SLICE_LITERAL("real.test"),
                                       .records = &answer};
    struct delivery_reason why;
    struct delivery_plan *plan;

    memset(digest, 7, sizeof(digest));
    plan = delivery_plan_create(&q, &why);
    ck_assert_ptr_nonnull(plan);
    ck_assert_int_eq(plan->level, DELIVERY_LEVEL_DANE);
    ck_assert_uint_eq(plan->tlsa_count, 4);
    ck_assert_uint_eq(plan->tlsa[0].matching, 2);
    ck_assert_uint_eq(plan->tlsa[0].data.len, 64);
    ck_assert_uint_eq(plan->tlsa[1].selector, 0);
    ck_assert_uint_eq(plan->tlsa[2].usage, 2); /* its stronger one has the wrong length */
    ck_assert_uint_eq(plan->tlsa[3].matching, 0);
    ck_assert_uint_eq(plan->tlsa[3].data.data[4], 7);
    ck_assert(slice_equal(plan->base, SLICE_LITERAL("real.test")));
    ck_assert(slice_equal(plan->host, SLICE_LITERAL("mx.test")));
    delivery_plan_drop(delivery_plan_hold(plan));
    delivery_plan_drop(plan);
}
END_TEST

enum { NO_STS, IN_TESTING, ENFORCED, ELSEWHERE };

/* P plain, m may, e encrypt, v verify, d DANE; 4, 5: refused, for now or for good. */
static const struct plan_case {
    enum conf_route_tls mode;
    enum delivery_tlsa tlsa;
    int sts;
    bool secure, require, unable, implicit;
    char level;
    enum delivery_by by;
} plan_cases[] = {
    {.mode = CONF_ROUTE_TLS_NONE, .level = 'P', .by = DELIVERY_BY_ROUTE},
    {.mode = CONF_ROUTE_TLS_OPPORTUNISTIC, .level = 'm', .by = DELIVERY_BY_ROUTE},
    {.mode = CONF_ROUTE_TLS_ENCRYPT, .level = 'e', .by = DELIVERY_BY_ROUTE},
    {.mode = CONF_ROUTE_TLS_VERIFY, .level = 'v', .by = DELIVERY_BY_ROUTE},
    {.mode = CONF_ROUTE_TLS_DANE,
     .tlsa = DELIVERY_TLSA_USABLE,
     .level = 'd',
     .by = DELIVERY_BY_DANE},
    {.mode = CONF_ROUTE_TLS_DANE, .tlsa = DELIVERY_TLSA_NONE, .level = '4'},
    {.mode = CONF_ROUTE_TLS_DANE, .tlsa = DELIVERY_TLSA_UNUSABLE, .level = '4'},
    {.mode = CONF_ROUTE_TLS_DANE, .tlsa = DELIVERY_TLSA_FAILED, .level = '4'},
    {.mode = CONF_ROUTE_TLS_MTA_STS, .sts = ENFORCED, .level = 'v', .by = DELIVERY_BY_STS},
    {.mode = CONF_ROUTE_TLS_MTA_STS, .sts = IN_TESTING, .level = 'v', .by = DELIVERY_BY_STS},
    {.mode = CONF_ROUTE_TLS_MTA_STS, .sts = ELSEWHERE, .level = '4'},
    {.mode = CONF_ROUTE_TLS_MTA_STS, .sts = NO_STS, .level = '4'},
    {.mode = CONF_ROUTE_TLS_AUTO, .level = 'm', .by = DELIVERY_BY_NOBODY},
    {.mode = CONF_ROUTE_TLS_AUTO,
     .tlsa = DELIVERY_TLSA_USABLE,
     .level = 'd',
     .by = DELIVERY_BY_DANE},
    {.mode = CONF_ROUTE_TLS_AUTO,
     .tlsa = DELIVERY_TLSA_UNUSABLE,
     .level = 'e',
     .by = DELIVERY_BY_DANE},
    {.mode = CONF_ROUTE_TLS_AUTO, .tlsa = DELIVERY_TLSA_FAILED, .level = '4'},
    {.mode = CONF_ROUTE_TLS_AUTO, .sts = ENFORCED, .level = 'v', .by = DELIVERY_BY_STS},
    {.mode = CONF_ROUTE_TLS_AUTO, .sts = ELSEWHERE, .level = '4'},
    {.mode = CONF_ROUTE_TLS_AUTO, .sts = IN_TESTING, .level = 'm', .by = DELIVERY_BY_NOBODY},
    {.mode = CONF_ROUTE_TLS_AUTO,
     .tlsa = DELIVERY_TLSA_USABLE,
     .sts = ELSEWHERE,
     .level = 'd',
     .by = DELIVERY_BY_DANE},
    {.mode = CONF_ROUTE_TLS_AUTO,
     .tlsa = DELIVERY_TLSA_UNUSABLE,
     .sts = ENFORCED,
     .level = 'v',
     .by = DELIVERY_BY_STS},
    {.mode = CONF_ROUTE_TLS_AUTO, .tlsa = DELIVERY_TLSA_FAILED, .sts = ENFORCED, .level = '4'},
    /* REQUIRETLS */
    {.mode = CONF_ROUTE_TLS_AUTO, .require = true, .level = '5'},
    {.mode = CONF_ROUTE_TLS_AUTO,
     .require = true,
     .secure = true,
     .level = 'v',
     .by = DELIVERY_BY_REQUIRETLS},
    {.mode = CONF_ROUTE_TLS_AUTO,
     .require = true,
     .secure = true,
     .tlsa = DELIVERY_TLSA_UNUSABLE,
     .level = 'v',
     .by = DELIVERY_BY_REQUIRETLS},
    {.mode = CONF_ROUTE_TLS_AUTO,
     .require = true,
     .tlsa = DELIVERY_TLSA_USABLE,
     .level = 'd',
     .by = DELIVERY_BY_DANE},
    {.mode = CONF_ROUTE_TLS_AUTO,
     .require = true,
     .sts = IN_TESTING,
     .level = 'v',
     .by = DELIVERY_BY_STS},
    {.mode = CONF_ROUTE_TLS_VERIFY, .require = true, .level = '5'},
    {.mode = CONF_ROUTE_TLS_VERIFY,
     .require = true,
     .secure = true,
     .level = 'v',
     .by = DELIVERY_BY_ROUTE},
    {.mode = CONF_ROUTE_TLS_VERIFY,
     .require = true,
     .sts = IN_TESTING,
     .level = 'v',
     .by = DELIVERY_BY_ROUTE},
    /* Without what TLS needs. */
    {.mode = CONF_ROUTE_TLS_AUTO, .unable = true, .level = 'P'},
    {.mode = CONF_ROUTE_TLS_OPPORTUNISTIC, .unable = true, .level = 'P', .by = DELIVERY_BY_ROUTE},
    {.mode = CONF_ROUTE_TLS_OPPORTUNISTIC, .unable = true, .implicit = true, .level = '4'},
    {.mode = CONF_ROUTE_TLS_ENCRYPT, .unable = true, .level = '4'},
    {.mode = CONF_ROUTE_TLS_AUTO, .sts = ENFORCED, .unable = true, .level = '4'},
};

START_TEST(test_plans)
{
    static const char levels[] = {[DELIVERY_LEVEL_PLAIN] = 'P',
                                  [DELIVERY_LEVEL_MAY] = 'm',
                                  [DELIVERY_LEVEL_ENCRYPT] = 'e',
                                  [DELIVERY_LEVEL_VERIFY] = 'v',
                                  [DELIVERY_LEVEL_DANE] = 'd'};
    const struct plan_case *c = &plan_cases[_i];
    struct sts_policy *policy = c->sts == NO_STS       ? NULL
                                : c->sts == IN_TESTING ? policy_of("testing", "mx.test")
                                : c->sts == ENFORCED   ? policy_of("enforce", "mx.test")
                                                       : policy_of("enforce", "other.test");
    struct dns_tlsa r = record(3, 1, 1, 32);
    struct dns_answer answer = {.tlsa_count = 1, .tlsa = &r};
    struct delivery_plan_question q = {.mode = c->mode,
                                       .demand = {.secure = c->secure, .require = c->require},
                                       .policy = policy,
                                       .by_mx = true,
                                       .able = !c->unable,
                                       .implicit = c->implicit,
                                       .host = SLICE_LITERAL("mx.test"),
                                       .tlsa = c->tlsa,
                                       .base = SLICE_LITERAL("mx.test"),
                                       .records = &answer};
    struct delivery_reason why = {.code = 0};
    struct delivery_plan *plan = delivery_plan_create(&q, &why);

    if (c->level <= '9') {
        ck_assert_ptr_null(plan);
        ck_assert_uint_eq(why.enhanced[0], (unsigned)(c->level - '0'));
        ck_assert_uint_eq(why.enhanced[1], 7);
        ck_assert(why.permanent == (c->level == '5'));
        ck_assert(why.text[0] != '\0');
    } else {
        ck_assert_msg(plan != NULL, "%s", why.text);
        ck_assert_int_eq(levels[plan->level], c->level);
        ck_assert_int_eq(plan->by, c->by);
        ck_assert(plan->testing == (c->sts == IN_TESTING && plan->level < DELIVERY_LEVEL_VERIFY));
        ck_assert(plan->require == c->require);
    }
    delivery_plan_drop(plan);
    mem_free(policy);
}
END_TEST

START_TEST(test_addresses_are_no_names)
{
    struct delivery_plan_question q = {.mode = CONF_ROUTE_TLS_ENCRYPT, .able = true};
    static const char *const hosts[] = {"192.0.2.1", "2001:db8::1"};
    struct delivery_reason why;

    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct delivery_plan *plan;
        q.host = slice_str(hosts[i]);
        plan = delivery_plan_create(&q, &why);
        ck_assert_uint_eq(plan->base.len, 0);
        delivery_plan_drop(plan);
    }
}
END_TEST

/* ---- memory ------------------------------------------------------------------------------- */

static bool broken(struct delivery_tls_memory *m, const char *host, uint16_t port, uint64_t now_ms)
{
    return delivery_tls_noted(m, DELIVERY_TLS_BROKEN, slice_str(host), port, now_ms, NULL);
}

START_TEST(test_notes)
{
    struct delivery_tls_memory m;
    enum report_result result;

    delivery_tls_memory_init(&m);
    ck_assert(!broken(&m, "mx.test", 25, 0));
    delivery_tls_note(&m, DELIVERY_TLS_BROKEN, SLICE_LITERAL("MX.test"), 25, 1000,
                      REPORT_VALIDATION_FAILURE);
    ck_assert(broken(&m, "mx.TEST", 25, 1000));
    ck_assert(!broken(&m, "mx.test", 26, 1000));
    ck_assert(!broken(&m, "mx.tes", 25, 1000));
    ck_assert(
        !delivery_tls_noted(&m, DELIVERY_TLS_UNVERIFIED, SLICE_LITERAL("mx.test"), 25, 1000, NULL));
    ck_assert(delivery_tls_noted(&m, DELIVERY_TLS_BROKEN, SLICE_LITERAL("mx.test"), 25,
                                 1000 + DELIVERY_TLS_NOTE_MS - 1, &result));
    ck_assert_int_eq(result, REPORT_VALIDATION_FAILURE);
    ck_assert(!broken(&m, "mx.test", 25, 1000 + DELIVERY_TLS_NOTE_MS));
    delivery_tls_memory_finish(&m);
}
END_TEST

/* Bounded; what was looked at last stays. */
START_TEST(test_what_is_forgotten)
{
    struct delivery_tls_memory m;
    char name[32];

    delivery_tls_memory_init(&m);
    for (unsigned i = 0; i < 3 * DELIVERY_TLS_KNOWN_MAX; i++) {
        (void)snprintf(name, sizeof(name), "mx%u.test", i);
        delivery_tls_note(&m, DELIVERY_TLS_BROKEN, slice_str(name), 25, 1000, REPORT_SUCCESS);
        ck_assert(broken(&m, "mx0.test", 25, 1000));
    }
    ck_assert_uint_eq(m.count, DELIVERY_TLS_KNOWN_MAX);
    ck_assert(!broken(&m, "mx1.test", 25, 1000));
    ck_assert(broken(&m, name, 25, 1000));
    delivery_tls_memory_finish(&m);
}
END_TEST

Suite *tls_plan_suite(void)
{
    Suite *s = suite_create("tls_plan");
    TCase *tc = tcase_create("tls_plan");

    tcase_add_test(tc, test_words);
    tcase_add_test(tc, test_messages);
    tcase_add_test(tc, test_policies_that_differ);
    tcase_add_test(tc, test_usable_records);
    tcase_add_test(tc, test_stronger_digests);
    tcase_add_loop_test(tc, test_plans, 0, (int)ARRAY_LEN(plan_cases));
    tcase_add_test(tc, test_addresses_are_no_names);
    tcase_add_test(tc, test_notes);
    tcase_add_test(tc, test_what_is_forgotten);
    suite_add_tcase(s, tc);
    return s;
}
