/* test_smtp_dsn: the values of DSN's parameters by tables; every value also cut short and guarded. */
#include <check.h>

#include "smtp_dsn.h"
#include "smtp_feed.h"

#define A10  "aaaaaaaaaa"
#define A50  A10 A10 A10 A10 A10
#define A100 A50 A50

static const struct {
    const char *value;
    unsigned set; /* 0: not valid */
    const char *formatted;
} notifies[] = {
    {"NEVER", SMTP_NOTIFY_NEVER, "NEVER"},
    {"never", SMTP_NOTIFY_NEVER, "NEVER"},
    {"SUCCESS", SMTP_NOTIFY_SUCCESS, "SUCCESS"},
    {"Failure,delay", SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY, "FAILURE,DELAY"},
    {"DELAY,FAILURE,SUCCESS", SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY,
     "SUCCESS,FAILURE,DELAY"},
    {"DELAY,DELAY", SMTP_NOTIFY_DELAY, "DELAY"},
    {"NEVER,NEVER", SMTP_NOTIFY_NEVER, "NEVER"},
    {"NEVER,DELAY", 0, ""},
    {"SUCCESS,NEVER", 0, ""},
    {"", 0, ""},
    {",", 0, ""},
    {"SUCCESS,", 0, ""},
    {",SUCCESS", 0, ""},
    {"SUCCESS,,DELAY", 0, ""},
    {"SUCCESS;DELAY", 0, ""},
    {"SUCCES", 0, ""},
    {"SUCCESSS", 0, ""},
    {"ALWAYS", 0, ""},
};

START_TEST(test_notify)
{
    uint8_t set = 99;
    bool valid = smtp_notify_parse(feed_guard(slice_str(notifies[_i].value)), &set);
    struct buf out;

    ck_assert_int_eq(valid, notifies[_i].set != 0);
    ck_assert_uint_eq(set, valid ? notifies[_i].set : 99); /* untouched on failure */
    if (!valid)
        return;
    buf_init(&out, 0);
    ck_assert(smtp_notify_format(set, &out));
    ck_assert(slice_equal(buf_slice(&out), slice_str(notifies[_i].formatted)));
    buf_finish(&out);
}
END_TEST

static const struct {
    const char *value;
    bool valid;
} envids[] = {
    {"QQ314159", true}, {"a", true},       {"a+20b+2B+3D", true}, {"<x@y>", true},
    {A100, true},       {A100 "a", false}, {"", false},           {"+0D+0A", false},
    {"a+00", false},    {"a+09b", false},  {"a+7F", false},       {"a+80", false},
    {"a+C3+BC", false}, {"a+", false},     {"a+4", false},        {"a+4g", false},
    {"a+4d", false},    {"a=b", false},    {"a b", false},        {"a\xc3\xbc", false},
};

START_TEST(test_envid)
{
    ck_assert_int_eq(smtp_envid_valid(feed_guard(slice_str(envids[_i].value))), envids[_i].valid);
}
END_TEST

/* `seven`: NULL: as it is; `decoded` NULL: not valid. */
static const struct {
    const char *value, *type, *decoded, *seven;
    bool utf8; /* valid only where octets beyond ASCII may be */
} orcpts[] = {
    {"rfc822;Bob@Example.COM", "rfc822", "Bob@Example.COM", NULL, false},
    {"RFC822;a+2Bb@c+20", "RFC822", "a+b@c ", NULL, false},
    {"x400;/c=de", NULL, NULL, NULL, false}, /* '=' is no xchar */
    {"x400;/c+3Dde/", "x400", "/c=de/", NULL, false},
    {"unknown;a;b", "unknown", "a;b", NULL, false},
    {"rfc822;", NULL, NULL, NULL, false},
    {";a@b", NULL, NULL, NULL, false},
    {"rfc822", NULL, NULL, NULL, false},
    {"", NULL, NULL, NULL, false},
    {"rfc 822;a@b", NULL, NULL, NULL, false},
    {"rfc.822;a@b", NULL, NULL, NULL, false},
    {"rfc(822;a@b", NULL, NULL, NULL, false},
    {"rfc822;a@b+0D+0AX:", NULL, NULL, NULL, false},
    {"rfc822;a@b+C3+BC", NULL, NULL, NULL, false},
    {"rfc822;a\xc3\xbc@b", NULL, NULL, NULL, false},
    {"rfc822;" A100 A100 A100 A100 A50 A10 A10 A10 A10 "aaa", "rfc822",
     A100 A100 A100 A100 A50 A10 A10 A10 A10 "aaa", NULL, false},
    {"rfc822;" A100 A100 A100 A100 A50 A10 A10 A10 A10 "aaaa", NULL, NULL, NULL, false},
    /* RFC 6533 3 */
    {"utf-8;a@b", "utf-8", "a@b", NULL, false},
    {"UTF-8;gr\\x{FC}n@b\\x{20AC}.example", "UTF-8", "gr\xc3\xbcn@b\xe2\x82\xac.example", NULL,
     false},
    {"utf-8;\\x{1F600}@b", "utf-8", "\xf0\x9f\x98\x80@b", NULL, false},
    {"utf-8;\\x{10ffff}@b", "utf-8", "\xf4\x8f\xbf\xbf@b", NULL, false},
    {"utf-8;a\\x{2B}\\x{3D}b@c", "utf-8", "a+=b@c", NULL, false},
    {"utf-8;\"a\\x{20}\\x{5C}\\x{5C}b\"@c", "utf-8", "\"a \\\\b\"@c", NULL, false},
    {"utf-8;gr\xc3\xbcn@b", "utf-8", "gr\xc3\xbcn@b", "utf-8;gr\\x{FC}n@b", true},
    {"utf-8;\xe2\x82\xac\xf0\x9f\x98\x80@b", "utf-8", "\xe2\x82\xac\xf0\x9f\x98\x80@b",
     "utf-8;\\x{20AC}\\x{1F600}@b", true},
    {"utf-8;gr\\x{FC}\xc3\xbcn@b", "utf-8", "gr\xc3\xbc\xc3\xbcn@b", "utf-8;gr\\x{FC}\\x{FC}n@b",
     true},
    {"utf-8;\xc3@b", NULL, NULL, NULL, false},
    {"utf-8;a+2Bb@c", NULL, NULL, NULL, false}, /* '+' is none of RFC 6533's */
    {"utf-8;a=b@c", NULL, NULL, NULL, false},
    {"utf-8;", NULL, NULL, NULL, false},
    {"utf-8;nobody", NULL, NULL, NULL, false},
    {"utf-8;a\\x{0D}@b", NULL, NULL, NULL, false},
    {"utf-8;a\\x{D}\\x{A}@b", NULL, NULL, NULL, false},
    {"utf-8;a\\x{7F}@b", NULL, NULL, NULL, false},
    {"utf-8;a\\x{41}@b", NULL, NULL, NULL, false}, /* says itself */
    {"utf-8;a\\x{00FC}@b", NULL, NULL, NULL, false},
    {"utf-8;a\\x{D800}@b", NULL, NULL, NULL, false},
    {"utf-8;a\\x{DFFF}@b", NULL, NULL, NULL, false},
    {"utf-8;a\\x{110000}@b", NULL, NULL, NULL, false},
    {"utf-8;a\\x{1000000}@b", NULL, NULL, NULL, false},
    {"utf-8;a\\x{}@b", NULL, NULL, NULL, false},
    {"utf-8;a\\x{FC@b", NULL, NULL, NULL, false},
    {"utf-8;a\\x{FC", NULL, NULL, NULL, false},
    {"utf-8;a\\X{FC}@b", NULL, NULL, NULL, false},
    {"utf-8;a\\@b", NULL, NULL, NULL, false},
    {"utf-8;a\\xFC@b", NULL, NULL, NULL, false},
    {"utf-8;\\x{20}a@b", NULL, NULL, NULL, false}, /* a blank is for quoted strings */
};

START_TEST(test_orcpt)
{
    struct slice value = feed_guard(slice_str(orcpts[_i].value));
    bool valid = orcpts[_i].decoded != NULL;
    struct slice type;
    struct buf out;

    ck_assert_int_eq(smtp_orcpt_valid(value, SMTP_PATH_UTF8), valid);
    ck_assert_int_eq(smtp_orcpt_valid(value, 0), valid && !orcpts[_i].utf8);
    buf_init(&out, 0);
    ck_assert_int_eq(smtp_orcpt_decode(value, &type, &out), valid);
    if (valid) {
        const char *seven = orcpts[_i].seven != NULL ? orcpts[_i].seven : orcpts[_i].value;

        ck_assert(slice_equal(type, slice_str(orcpts[_i].type)));
        ck_assert(slice_equal(buf_slice(&out), slice_str(orcpts[_i].decoded)));
        buf_clear(&out);
        ck_assert(smtp_orcpt_append_7bit(value, &out));
        ck_assert(slice_equal(buf_slice(&out), slice_str(seven)));
        ck_assert(smtp_orcpt_valid(buf_slice(&out), 0));
    }
    buf_finish(&out);
}
END_TEST

/* Cut anywhere it may be valid or not, but nothing behind its end is looked at. */
START_TEST(test_cut)
{
    struct slice value = slice_str(orcpts[_i].value);

    for (size_t len = 0; len < value.len; len++)
        (void)smtp_orcpt_valid(feed_guard(slice_head(value, len)), SMTP_PATH_UTF8);
}
END_TEST

Suite *smtp_dsn_suite(void)
{
    Suite *s = suite_create("smtp_dsn");
    TCase *t = tcase_create("dsn");

    tcase_add_loop_test(t, test_notify, 0, sizeof(notifies) / sizeof(notifies[0]));
    tcase_add_loop_test(t, test_envid, 0, sizeof(envids) / sizeof(envids[0]));
    tcase_add_loop_test(t, test_orcpt, 0, sizeof(orcpts) / sizeof(orcpts[0]));
    tcase_add_loop_test(t, test_cut, 0, sizeof(orcpts) / sizeof(orcpts[0]));
    suite_add_tcase(s, t);
    return s;
}
