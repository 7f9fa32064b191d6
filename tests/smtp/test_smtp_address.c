/* test_smtp_address: the grammar by table. */
#include <check.h>

#include "smtp_address.h"
#include "smtp_feed.h"

#define A10         "aaaaaaaaaa"
#define A50         A10 A10 A10 A10 A10
#define A63         A50 A10 "aaa"
#define LONG_DOMAIN A63 "." A63 "." A63 "." A50 A10 /* 252 */

#define NAME    SMTP_DOMAIN_NAME
#define NONE    SMTP_DOMAIN_NONE
#define IPV4    SMTP_DOMAIN_IPV4
#define IPV6    SMTP_DOMAIN_IPV6
#define GENERAL SMTP_DOMAIN_GENERAL

static const struct {
    const char *path;
    unsigned flags;
    const char *local;
    const char *domain;
    enum smtp_domain_kind kind;
    const char *rest;
} good[] = {
    {"<a@b.example>", 0, "a", "b.example", NAME, ""},
    {"<a@b> SIZE=1", 0, "a", "b", NAME, " SIZE=1"},
    {"<>", SMTP_PATH_NULL, "", "", NONE, ""},
    {"<PostMaster>", SMTP_PATH_POSTMASTER, "PostMaster", "", NONE, ""},
    {"<@x.example,@y.example:a@b>", 0, "a", "b", NAME, ""},
    {"<\"a b\\\"@>\"@c>x", 0, "\"a b\\\"@>\"", "c", NAME, "x"},
    {"<\"\"@c>", 0, "\"\"", "c", NAME, ""},
    {"<a@[192.0.2.1]>", 0, "a", "[192.0.2.1]", IPV4, ""},
    {"<a@[IPv6:2001:db8::1]>", 0, "a", "[IPv6:2001:db8::1]", IPV6, ""},
    {"<a@[ipv6:::ffff:192.0.2.1]>", 0, "a", "[ipv6:::ffff:192.0.2.1]", IPV6, ""},
    {"<a@[x-tag:any.thing]>", 0, "a", "[x-tag:any.thing]", GENERAL, ""},
    {"<a%b!c@d>", 0, "a%b!c", "d", NAME, ""},
    {"<!#$%&'*+-/=?^_`{|}~@9.d-d>", 0, "!#$%&'*+-/=?^_`{|}~", "9.d-d", NAME, ""},
    {"<a@" A63 ".b>", 0, "a", A63 ".b", NAME, ""},
    {"<" A63 "a@b>", 0, A63 "a", "b", NAME, ""},
    {"<a@" LONG_DOMAIN ">", 0, "a", LONG_DOMAIN, NAME, ""},
    {"<m\xc3\xbc@b>", SMTP_PATH_UTF8, "m\xc3\xbc", "b", NAME, ""},
};

static const struct {
    const char *path;
    unsigned flags;
    enum smtp_address_result result;
} bad[] = {
    {"<>", 0, SMTP_ADDRESS_SYNTAX},
    {"<postmaster>", 0, SMTP_ADDRESS_SYNTAX},
    {"<\"postmaster\">", SMTP_PATH_POSTMASTER, SMTP_ADDRESS_SYNTAX},
    {"<hostmaster>", SMTP_PATH_POSTMASTER, SMTP_ADDRESS_SYNTAX},
    {"<@x.example,y.example:a@b>", 0, SMTP_ADDRESS_SYNTAX},
    {"<@x.example a@b>", 0, SMTP_ADDRESS_SYNTAX},
    {"<@x.example:>", SMTP_PATH_NULL, SMTP_ADDRESS_SYNTAX},
    {"<\"a\"b@c>", 0, SMTP_ADDRESS_SYNTAX},
    {"<\"a@c>", 0, SMTP_ADDRESS_SYNTAX},
    {"<\"a\\", 0, SMTP_ADDRESS_SYNTAX},
    {"<\"a\tb\"@c>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@[192.0.2.256]>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@[192.0.2]>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@[192.0.2.0001]>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@[IPv6:192.0.2.1]>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@[IPv6:1::2::3]>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@[x-:thing]>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@[tag:]>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@[tag:<b@c>]>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@[192.0.2.1>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@[192.0.2.1]x>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@b", 0, SMTP_ADDRESS_SYNTAX},
    {"a@b>", 0, SMTP_ADDRESS_SYNTAX},
    {"a@b", 0, SMTP_ADDRESS_SYNTAX},
    {"< a@b>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@b >", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@@b>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@>", 0, SMTP_ADDRESS_SYNTAX},
    {"<@b>", 0, SMTP_ADDRESS_SYNTAX},
    {"<.a@b>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a.@b>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a..a@b>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@b.>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@b..c>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@-b>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@b->", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@b_c>", 0, SMTP_ADDRESS_SYNTAX},
    {"<a(c)@b>", 0, SMTP_ADDRESS_SYNTAX},
    {"", 0, SMTP_ADDRESS_SYNTAX},
    {"<", 0, SMTP_ADDRESS_SYNTAX},
    {"<a@" A63 "a.b>", 0, SMTP_ADDRESS_SYNTAX},
    {"<" A63 "aa@b>", 0, SMTP_ADDRESS_TOO_LONG},
    {"<aa@" LONG_DOMAIN ">", 0, SMTP_ADDRESS_TOO_LONG},
    {"<m\xc3\xbc@b>", 0, SMTP_ADDRESS_UTF8},
    {"<a@m\xc3\xbc.example>", 0, SMTP_ADDRESS_UTF8},
    {"<m\xc3@b>", 0, SMTP_ADDRESS_SYNTAX},
    {"<m\xed\xa0\x80@b>", SMTP_PATH_UTF8, SMTP_ADDRESS_SYNTAX}, /* a surrogate */
    {"<m\xc0\xaf@b>", SMTP_PATH_UTF8, SMTP_ADDRESS_SYNTAX},     /* not the shortest form */
};

static void check_slice(struct slice s, const char *expected)
{
    ck_assert_msg(slice_equal(s, slice_str(expected)), "got %.*s, not %s", SLICE_ARG(s), expected);
}

START_TEST(test_good)
{
    struct slice in = feed_guard(slice_str(good[_i].path));
    struct smtp_address a, again;

    ck_assert_msg(smtp_path_parse(&in, good[_i].flags, &a) == SMTP_ADDRESS_OK, "%s", good[_i].path);
    check_slice(a.local, good[_i].local);
    check_slice(a.domain, good[_i].domain);
    check_slice(in, good[_i].rest);
    ck_assert_int_eq(a.kind, good[_i].kind);
    ck_assert(smtp_address_safe(a.text));
    if (a.kind == SMTP_DOMAIN_NONE)
        return;
    ck_assert_int_eq(smtp_address_parse(a.text, good[_i].flags, &again), SMTP_ADDRESS_OK);
    ck_assert(smtp_address_equal(&a, &again));
}
END_TEST

START_TEST(test_bad)
{
    struct slice in = feed_guard(slice_str(bad[_i].path)), before = in;
    struct smtp_address a = {.kind = SMTP_DOMAIN_GENERAL, .quoted = true};

    ck_assert_msg(smtp_path_parse(&in, bad[_i].flags, &a) == bad[_i].result, "%s", bad[_i].path);
    ck_assert(in.data == before.data && in.len == before.len);
    ck_assert(a.kind == SMTP_DOMAIN_GENERAL && a.quoted && a.text.data == NULL);
}
END_TEST

static const struct {
    const char *a, *b;
    bool equal;
    const char *canonical; /* of a */
} pairs[] = {
    {"a@B.Example", "a@b.exAMPLE", true, "a@b.example"},
    {"a@b", "A@b", false, "a@b"},
    {"\"a\"@b", "a@b", true, "a@b"},
    {"\"a\\b\"@c", "ab@c", true, "ab@c"},
    {"\"a b\"@c", "\"a\\ b\"@C", true, "a b@c"},
    {"\"a\\\"\"@c", "\"a\"@c", false, "a\"@c"},
    {"\"\\\"\"@c", "\"\"@c", false, "\"@c"},
    {"\"a\\\\\"@c", "\"a\\\"\"@c", false, "a\\@c"},
    {"PostMaster@x", "postmaster@X", true, "postmaster@x"},
    {"\"POSTMASTER\"@x", "postmaster@X", true, "postmaster@x"},
    {"postmasters@x", "Postmasters@x", false, "postmasters@x"},
    {"a@b", "aa@b", false, "a@b"},
    {"\"\"@b", "a@b", false, "@b"},
};

START_TEST(test_equal)
{
    struct smtp_address a, b;
    struct buf out;

    buf_init(&out, 0);
    ck_assert_int_eq(smtp_address_parse(slice_str(pairs[_i].a), 0, &a), SMTP_ADDRESS_OK);
    ck_assert_int_eq(smtp_address_parse(slice_str(pairs[_i].b), 0, &b), SMTP_ADDRESS_OK);
    ck_assert(smtp_address_equal(&a, &b) == pairs[_i].equal);
    ck_assert(smtp_address_equal(&b, &a) == pairs[_i].equal);
    ck_assert(smtp_address_canonical(&a, &out));
    check_slice(buf_slice(&out), pairs[_i].canonical);
    buf_finish(&out);
}
END_TEST

START_TEST(test_safe)
{
    ck_assert(smtp_address_safe(slice_str("a@b")));
    ck_assert(smtp_address_safe(slice_str("\"a b>\\\"\"@c")));
    ck_assert(smtp_address_safe(SLICE_NULL));
    ck_assert(!smtp_address_safe(slice_str("a@b> SIZE=1")));
    ck_assert(!smtp_address_safe(slice_str("a@b>")));
    ck_assert(!smtp_address_safe(slice_str("a\r\nDATA@b")));
    ck_assert(!smtp_address_safe(slice_str("\"a\\\r\"@b")));
    ck_assert(!smtp_address_safe(slice_str("\"a\\")));
    ck_assert(!smtp_address_safe(slice_str("\"a")));
    ck_assert(!smtp_address_safe(SLICE_LITERAL("a\0@b")));
}
END_TEST

START_TEST(test_domains)
{
    ck_assert(smtp_domain_valid(slice_str("example.org"), 0));
    ck_assert(smtp_domain_valid(slice_str("3com.example"), 0));
    ck_assert(!smtp_domain_valid(slice_str("example.org."), 0));
    ck_assert(!smtp_domain_valid(slice_str(""), 0));
    ck_assert(!smtp_domain_valid(slice_str("[192.0.2.1]"), 0));
    ck_assert(!smtp_domain_valid(slice_str("m\xc3\xbc.example"), 0));
    ck_assert(smtp_domain_valid(slice_str("m\xc3\xbc.example"), SMTP_PATH_UTF8));
    ck_assert_int_eq(smtp_literal_kind(slice_str("[]")), SMTP_DOMAIN_NONE);
    ck_assert_int_eq(smtp_literal_kind(slice_str("[")), SMTP_DOMAIN_NONE);
}
END_TEST

Suite *smtp_address_suite(void)
{
    Suite *s = suite_create("smtp_address");
    TCase *t = tcase_create("address");

    tcase_add_loop_test(t, test_good, 0, sizeof(good) / sizeof(good[0]));
    tcase_add_loop_test(t, test_bad, 0, sizeof(bad) / sizeof(bad[0]));
    tcase_add_loop_test(t, test_equal, 0, sizeof(pairs) / sizeof(pairs[0]));
    tcase_add_test(t, test_safe);
    tcase_add_test(t, test_domains);
    suite_add_tcase(s, t);
    return s;
}
