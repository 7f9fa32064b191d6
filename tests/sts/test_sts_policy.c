/* test_sts_policy: the TXT record and the policy file, every way to write them wrong, and hosts. */
#include <check.h>
#include <stdlib.h>

#include "base_assert.h"
#include "base_mem.h"
#include "sts_policy.h"

/* ---- the TXT record ------------------------------------------------------------------------- */

static const struct {
    const char *record;
    const char *id; /* NULL: no record of ours; "": ours, but wrong */
} records[] = {
    {"v=STSv1; id=20160831085700Z;", "20160831085700Z"}, /* RFC 8461 3.1.1 */
    {"v=STSv1;id=1", "1"},
    {"v=STSv1; id=1", "1"},
    {"v=STSv1 \t; \tid=1\t ; ", "1"},
    {"v=STSv1; id=abcdefghijklmnopqrstuvwxyz012345", "abcdefghijklmnopqrstuvwxyz012345"},
    {"v=STSv1; id=abcdefghijklmnopqrstuvwxyz0123456", ""}, /* 33 */
    {"v=STSv1; id=1; id=2", "1"},
    {"v=STSv1; ext.a_b-c=%x/y:z; id=1", "1"},
    {"v=STSv1; id=1; ext=", ""},
    {"v=STSv1; id=1; =x", ""},
    {"v=STSv1; id=1; _ext=x", ""},
    {"v=STSv1; id=1; ext=a=b", ""},
    {"v=STSv1; id=1; ext=a b", ""},
    {"v=STSv1; id=1; ext", ""},
    {"v=STSv1; id=1;; ext=a", ""},
    {"v=STSv1; id=1;;", ""},
    {"v=STSv1; id=", ""},
    {"v=STSv1; id=a-b", ""},
    {"v=STSv1; id=a_b", ""},
    {"v=STSv1; id=\"1\"", ""},
    {"v=STSv1; id= 1", ""},
    {"v=STSv1; id =1", ""},
    {"v=STSv1; ID=1", ""},
    {"v=STSv1; ext=1", ""},
    {"v=STSv1;", ""},
    {"v=STSv1; ", ""},
    {"v=STSv1; id=\xc3\xbc", ""},
    {"v=STSv1", NULL},
    {"v=STSv1 id=1", NULL},
    {" v=STSv1; id=1", NULL},
    {"v=stsv1; id=1", NULL},
    {"V=STSv1; id=1", NULL},
    {"v=STSv2; id=1", NULL},
    {"v=STSv11; id=1", NULL},
    {"v =STSv1; id=1", NULL},
    {"id=1; v=STSv1;", NULL},
    {"v=spf1 -all", NULL},
    {";", NULL},
    {"", NULL},
};

START_TEST(record)
{
    for (size_t i = 0; i < ARRAY_LEN(records); i++) {
        struct slice id = SLICE_LITERAL("untouched");
        bool ours = sts_record_parse(slice_str(records[i].record), &id);
        ck_assert_msg(ours == (records[i].id != NULL), "%s", records[i].record);
        if (!ours)
            ck_assert(slice_equal(id, SLICE_LITERAL("untouched")));
        else
            ck_assert_msg(slice_equal(id, slice_str(records[i].id)), "%s: %.*s", records[i].record,
                          SLICE_ARG(id));
    }
    ck_assert(sts_record_parse(slice_of("v=STSv1; id=a\0b", 15), &(struct slice){0}));
}
END_TEST

/* ---- the policy ----------------------------------------------------------------------------- */

#define REST "mode: enforce\nmx: a.example\nmax_age: 604800\n"
#define OK   "version: STSv1\n" REST

static const struct {
    const char *text;
    const char *canonical; /* NULL: not a policy */
} policies[] = {
    /* RFC 8461 3.2 */
    {"version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\n"
     "mx: backupmx.example.com\nmax_age: 604800\n",
     "version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\n"
     "mx: backupmx.example.com\nmax_age: 604800\n"},
    {"version: STSv1\r\nmode: testing\r\nmx: a.example\r\nmax_age: 1\r\n",
     "version: STSv1\nmode: testing\nmx: a.example\nmax_age: 1\n"},
    {"version: STSv1\nmode: none\nmax_age: 86400", "version: STSv1\nmode: none\nmax_age: 86400\n"},
    {"version: STSv1\nmode: none\nmx: a.example\nmax_age: 86400",
     "version: STSv1\nmode: none\nmx: a.example\nmax_age: 86400\n"},
    {"max_age:604800\nmx:A.EXAMPLE\nmode:\t enforce \t\nversion: STSv1", OK},
    {"version: STSv1\nversion: STSv9\n" REST "mode: none\nmax_age: x\n", OK}, /* the first counts */
    {OK "future: any thing: \xc3\xbc =;\n", OK},
    {OK "x.y_z-1: v\n", OK},
    {OK "empty:\n", OK},
    {"\n" OK "\r\n \n\n", OK},                                  /* blank lines */
    {"version: STSv1\nmode: enforce\nmx: a\nmax_age: 31557600", /* a host of one label, a year */
     "version: STSv1\nmode: enforce\nmx: a\nmax_age: 31557600\n"},
    {"version: STSv1\nmode: enforce\nmx: a\nmax_age: 9999999999",
     "version: STSv1\nmode: enforce\nmx: a\nmax_age: 31557600\n"},
    {"version: STSv1\nmode: enforce\nmx: x_y.a-b.example\nmax_age: 0",
     "version: STSv1\nmode: enforce\nmx: x_y.a-b.example\nmax_age: 0\n"},

    {"", NULL},
    {"\n\n", NULL},
    {REST, NULL},
    {"version: STSv2\n" REST, NULL},
    {"version: stsv1\n" REST, NULL},
    {"version: STSv1 x\n" REST, NULL},
    {"Version: STSv1\n" REST, NULL},
    {"version:\n" REST, NULL},
    {"version STSv1\n" REST, NULL},
    {"version : STSv1\n" REST, NULL},
    {" version: STSv1\n" REST, NULL},
    {"\xef\xbb\xbfversion: STSv1\n" REST, NULL}, /* a byte order mark */
    {"version: STSv1\nmx: a.example\nmax_age: 1\n", NULL},
    {"version: STSv1\nmode: Enforce\nmx: a.example\nmax_age: 1\n", NULL},
    {"version: STSv1\nmode: report\nmx: a.example\nmax_age: 1\n", NULL},
    {"version: STSv1\nmode:\nmx: a.example\nmax_age: 1\n", NULL},
    {"version: STSv1\nmode: enforce\nmax_age: 1\n", NULL},
    {"version: STSv1\nmode: testing\nmax_age: 1\n", NULL},
    {"version: STSv1\nmode: enforce\nmx: a.example\n", NULL},
    {"version: STSv1\nmode: enforce\nmx: a.example\nmax_age:\n", NULL},
    {"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: -1\n", NULL},
    {"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 1d\n", NULL},
    {"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 1.5\n", NULL},
    {"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 99999999999\n", NULL}, /* 11 digits */
    {OK "a line\n", NULL},
    {OK "<html>\n", NULL},
    {OK ": x\n", NULL},
    {OK "_x: y\n", NULL},
    {OK "a23456789012345678901234567890123: y\n", NULL},
    {OK "x: a\rb\n", NULL},
    {OK "x: a\x01\n", NULL},
    {OK "x: \x7f\n", NULL},
    {OK "mx:\n", NULL},
    {OK "mx: *\n", NULL},
    {OK "mx: *.\n", NULL},
    {OK "mx: .\n", NULL},
    {OK "mx: .example\n", NULL},
    {OK "mx: a..example\n", NULL},
    {OK "mx: a.example.\n", NULL},
    {OK "mx: a.*.example\n", NULL},
    {OK "mx: *.*.example\n", NULL},
    {OK "mx: b*.example\n", NULL},
    {OK "mx: *example\n", NULL},
    {OK "mx: -a.example\n", NULL},
    {OK "mx: a-.example\n", NULL},
    {OK "mx: a.example-\n", NULL},
    {OK "mx: a.example b.example\n", NULL},
    {OK "mx: a.example,b.example\n", NULL},
    {OK "mx: b\xc3\xbc.example\n", NULL}, /* A-labels only */
    {OK "mx: [192.0.2.1]\n", NULL},
    {OK "mx: a234567890123456789012345678901234567890123456789012345678901234.example\n", NULL},
};

static void check_policy(size_t i)
{
    struct slice text = slice_str(policies[i].text);
    const char *why = NULL;
    struct sts_policy *p = sts_policy_parse(text, &why), *copy, *again;
    struct buf out = {0}, out2 = {0};

    ck_assert_msg((p != NULL) == (policies[i].canonical != NULL), "row %zu: %s", i, why);
    if (p == NULL) {
        ck_assert_ptr_nonnull(why);
        return;
    }
    copy = sts_policy_copy(p);
    memset(p, 0xee, p->size); /* nothing of the copy is in the first */
    mem_free(p);
    sts_policy_text(copy, &out);
    ck_assert_msg(slice_equal(buf_slice(&out), slice_str(policies[i].canonical)), "row %zu: %.*s",
                  i, SLICE_ARG(buf_slice(&out)));
    again = sts_policy_parse(buf_slice(&out), &why);
    ck_assert_ptr_nonnull(again);
    sts_policy_text(again, &out2);
    ck_assert(slice_equal(buf_slice(&out), buf_slice(&out2)));
    mem_free(again);
    mem_free(copy);
    buf_finish(&out);
    buf_finish(&out2);
}

START_TEST(policy)
{
    for (size_t i = 0; i < ARRAY_LEN(policies); i++)
        check_policy(i);
}
END_TEST

START_TEST(policy_with_nul)
{
    static const char text[] = OK "x: a\0b\n";
    const char *why;

    ck_assert_ptr_null(sts_policy_parse(slice_of(text, sizeof(text) - 1), &why));
}
END_TEST

/* Cut anywhere, it is a policy only from the end of max_age's first digit on. */
START_TEST(policy_cut)
{
    struct slice whole = SLICE_LITERAL(OK);
    const char *why;

    for (size_t len = 0; len <= whole.len; len++) {
        uint8_t *copy = mem_dup(whole.data, len);
        struct sts_policy *p = sts_policy_parse(slice_of(copy, len), &why);
        ck_assert_int_eq(p != NULL, len >= whole.len - strlen("04800\n") - 0);
        mem_free(p);
        mem_free(copy);
    }
}
END_TEST

START_TEST(policy_size)
{
    const char *why;
    struct sts_policy *p;
    struct buf text = {0};

    (void)buf_append_str(&text, OK);
    while (buf_len(&text) + 5 <= STS_POLICY_MAX)
        (void)buf_append_str(&text, "mx:a\n");
    while (buf_len(&text) < STS_POLICY_MAX)
        (void)buf_append_str(&text, "\n");
    p = sts_policy_parse(buf_slice(&text), &why);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_gt(p->mx_count, 10000);
    mem_free(p);
    (void)buf_append_str(&text, "\n");
    ck_assert_ptr_null(sts_policy_parse(buf_slice(&text), &why));
    buf_finish(&text);
}
END_TEST

/* ---- hosts ---------------------------------------------------------------------------------- */

static const struct {
    const char *host;
    bool allowed;
} hosts[] = {
    {"mail.example.com", true},
    {"MAIL.Example.COM", true},
    {"mail.example.com.", true},
    {"mail.example.com..", false},
    {"example.com", false},
    {"xmail.example.com", false},
    {"mail.example.com.evil.test", false},
    {"a.example.net", true},
    {"A.EXAMPLE.NET.", true},
    {"example.net", false},
    {".example.net", false},
    {"a.b.example.net", false},
    {"aexample.net", false},
    {"*.example.net", true}, /* a host of that name would be one label */
    {"", false},
    {".", false},
};

START_TEST(host)
{
    const char *why;
    struct sts_policy *p = sts_policy_parse(slice_str(policies[0].text), &why);

    for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
        ck_assert_msg(sts_policy_allows(p, slice_str(hosts[i].host)) == hosts[i].allowed, "%s",
                      hosts[i].host);
    mem_free(p);
}
END_TEST

Suite *sts_policy_suite(void)
{
    Suite *s = suite_create("sts_policy");
    TCase *t = tcase_create("sts_policy");

    tcase_add_test(t, record);
    tcase_add_test(t, policy);
    tcase_add_test(t, policy_with_nul);
    tcase_add_test(t, policy_cut);
    tcase_add_test(t, policy_size);
    tcase_add_test(t, host);
    suite_add_tcase(s, t);
    return s;
}
