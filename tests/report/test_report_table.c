/* test_report_table: results summed up, written, read, merged, and bounded. */
#include <check.h>
#include <stdio.h>

#include "base_assert.h"
#include "report_priv.h"

static const struct slice patterns[] = {SLICE_INIT("*.mail.test"), SLICE_INIT("mx.test")};

static struct report_session session(const char *domain, enum report_result result)
{
    static const struct ip_addr from = {{[0] = 0x20, [1] = 1, [15] = 1}};
    static const struct ip_addr to = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 9}};

    return (struct report_session){.domain = slice_str(domain),
                                   .type = REPORT_STS,
                                   .policy = SLICE_LITERAL("version: STSv1\nmode: enforce\n"),
                                   .mx = patterns,
                                   .mx_count = 2,
                                   .result = result,
                                   .sending_ip = &from,
                                   .receiving_ip = &to,
                                   .mx_host = SLICE_LITERAL("mx.test"),
                                   .helo = SLICE_LITERAL("me \"and\" 100%\n-"),
                                   .reason = SLICE_LITERAL("-")};
}

static void add(struct report_table *t, const char *domain, enum report_result result)
{
    const struct report_session s = session(domain, result);

    report_table_add(t, &s);
}

static struct report_policy *first(const struct report_table *t)
{
    return container_of(t->order.next, struct report_policy, node);
}

START_TEST(sums)
{
    struct report_table t;
    struct report_session other = session("a.test", REPORT_CERTIFICATE_EXPIRED);
    const struct report_failure *f;

    report_table_init(&t, 100, 1 << 20);
    add(&t, "a.test", REPORT_SUCCESS);
    add(&t, "A.Test", REPORT_SUCCESS);
    for (int i = 0; i < 3; i++)
        add(&t, "a.test", REPORT_CERTIFICATE_EXPIRED);
    other.mx_host = SLICE_LITERAL("mx2.test");
    report_table_add(&t, &other);
    add(&t, "b.test", REPORT_SUCCESS);
    ck_assert_uint_eq(t.rows, 4);
    ck_assert_uint_eq(first(&t)->successful, 2);
    ck_assert_uint_eq(first(&t)->failed, 4);
    ck_assert_uint_eq(first(&t)->failure_count, 2);
    ck_assert(slice_equal(first(&t)->domain, SLICE_LITERAL("a.test")));
    ck_assert(slice_equal(first(&t)->mx, SLICE_LITERAL("*.mail.test\nmx.test")));
    f = container_of(first(&t)->failures.next, struct report_failure, node);
    ck_assert_uint_eq(f->count, 3);
    report_table_clear(&t);
    ck_assert_uint_eq(t.bytes, 0);
    report_table_finish(&t);
}
END_TEST

START_TEST(strange_domains)
{
    static const char *const names[] = {"",         ".evil/../test/", "[192.0.2.1]",
                                        "a b.test", "a\r\n.test",     "\xc3\xbc.test"};
    struct report_table t;

    report_table_init(&t, 100, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        add(&t, names[i], REPORT_SUCCESS);
    ck_assert_uint_eq(t.rows, 0);
    report_table_finish(&t);
}
END_TEST

START_TEST(bounds)
{
    struct report_table t;
    char text[64];

    report_table_init(&t, 50, 1 << 20);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(text, sizeof(text), "d%d.test", i);
        add(&t, text, REPORT_SUCCESS);
    }
    ck_assert_uint_eq(t.rows, 50);
    ck_assert_uint_eq(t.dropped, 50);
    add(&t, "d1.test", REPORT_SUCCESS); /* known ones still count */
    report_table_finish(&t);

    report_table_init(&t, 100000, 1 << 20);
    for (int i = 0; i < 1000; i++) { /* one domain does not take all the room */
        struct report_session s = session("a.test", REPORT_VALIDATION_FAILURE);
        (void)snprintf(text, sizeof(text), "reason %d", i);
        s.reason = slice_str(text);
        report_table_add(&t, &s);
    }
    ck_assert_uint_eq(first(&t)->failed, 1000);
    ck_assert_uint_eq(first(&t)->failure_count, REPORT_FAILURES_MAX);
    report_table_finish(&t);

    report_table_init(&t, 100000, 10000);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(text, sizeof(text), "d%d.test", i);
        add(&t, text, REPORT_SUCCESS);
    }
    ck_assert_uint_le(t.bytes, 10000);
    ck_assert_uint_gt(t.rows, 10);
    report_table_finish(&t);
}
END_TEST

START_TEST(long_policy)
{
    struct report_table t;
    struct report_session s = session("a.test", REPORT_SUCCESS);
    struct buf text = {0};

    for (int i = 0; i < 1000; i++)
        (void)buf_printf(&text, "mx: m%d.test\n", i);
    report_table_init(&t, 100, 1 << 20);
    s.policy = buf_slice(&text);
    report_table_add(&t, &s);
    ck_assert_uint_le(first(&t)->policy.len, REPORT_POLICY_MAX);
    ck_assert_uint_gt(first(&t)->policy.len, REPORT_POLICY_MAX - 20);
    ck_assert(memcmp(first(&t)->policy.data + first(&t)->policy.len - 5, ".test", 5) == 0);
    report_table_finish(&t);
    buf_finish(&text);
}
END_TEST

static void write_and_read(struct report_table *from, struct report_table *to)
{
    struct buf text = {0};

    report_table_write(from, &text);
    ck_assert(report_table_read(to, buf_slice(&text)));
    buf_finish(&text);
}

START_TEST(round_trip)
{
    struct report_table t, back;
    struct buf one = {0}, two = {0};

    report_table_init(&t, 1000, 1 << 20);
    report_table_init(&back, 1000, 1 << 20);
    t.start_s = 100;
    t.end_s = 200;
    add(&t, "a.test", REPORT_SUCCESS);
    for (int r = 0; r < REPORT_RESULT_COUNT; r++) {
        struct report_session s = session("b.test", (enum report_result)r);
        s.type = (enum report_policy_type)(r % 3);
        if (r % 2)
            s.sending_ip = NULL, s.policy = s.mx_host = SLICE_NULL, s.mx_count = 0;
        report_table_add(&t, &s);
    }
    write_and_read(&t, &back);
    report_table_write(&t, &one);
    report_table_write(&back, &two);
    ck_assert(slice_equal(buf_slice(&one), buf_slice(&two)));
    /* Merged: everything counts twice, the time is the whole. */
    t.start_s = 50;
    t.end_s = 150;
    write_and_read(&t, &back);
    ck_assert_uint_eq(back.start_s, 50);
    ck_assert_uint_eq(back.end_s, 200);
    ck_assert_uint_eq(back.rows, t.rows);
    ck_assert_uint_eq(first(&back)->successful, 2);
    report_table_finish(&t);
    report_table_finish(&back);
    buf_finish(&one);
    buf_finish(&two);
}
END_TEST

START_TEST(damage)
{
    struct report_table t, back;
    struct buf text = {0};

    report_table_init(&t, 1000, 1 << 20);
    report_table_init(&back, 1000, 1 << 20);
    add(&t, "a.test", REPORT_CERTIFICATE_EXPIRED);
    report_table_write(&t, &text);
    for (size_t bit = 0; bit < buf_len(&text) * 8; bit++) {
        text.data[text.head + bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert(!report_table_read(&back, buf_slice(&text)));
        text.data[text.head + bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < buf_len(&text); len++)
        ck_assert(!report_table_read(&back, slice_head(buf_slice(&text), len)));
    ck_assert_uint_eq(back.rows, 0);
    report_table_finish(&t);
    report_table_finish(&back);
    buf_finish(&text);
}
END_TEST

Suite *report_table_suite(void)
{
    Suite *s = suite_create("report_table");
    TCase *t = tcase_create("report_table");

    tcase_add_test(t, sums);
    tcase_add_test(t, strange_domains);
    tcase_add_test(t, bounds);
    tcase_add_test(t, long_policy);
    tcase_add_test(t, round_trip);
    tcase_add_test(t, damage);
    suite_add_tcase(s, t);
    return s;
}
