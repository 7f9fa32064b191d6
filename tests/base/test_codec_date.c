#include <time.h>

#include "base_assert.h"
#include "base_codec.h"
#include "base_rand.h"
#include "base_test.h"

START_TEST(known_dates)
{
    static const struct {
        uint64_t seconds;
        const char *text;
    } rows[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 +0000"},
        {1795299590, "Sat, 21 Nov 2026 22:19:50 +0000"},
        {951782399, "Mon, 28 Feb 2000 23:59:59 +0000"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 +0000"},
        {951868800, "Wed, 01 Mar 2000 00:00:00 +0000"},
        {4107542399, "Sun, 28 Feb 2100 23:59:59 +0000"},
        {4107542400, "Mon, 01 Mar 2100 00:00:00 +0000"},
        {1709251199, "Thu, 29 Feb 2024 23:59:59 +0000"},
        {1735689599, "Tue, 31 Dec 2024 23:59:59 +0000"},
        {253402300799, "Fri, 31 Dec 9999 23:59:59 +0000"},
        {253402300800, "Fri, 31 Dec 9999 23:59:59 +0000"},
        {UINT64_MAX, "Fri, 31 Dec 9999 23:59:59 +0000"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[DATE_TEXT_SIZE];

        date_format(rows[i].seconds, text);
        ck_assert_str_eq(text, rows[i].text);
    }
}
END_TEST

START_TEST(iso_dates)
{
    static const struct {
        uint64_t ms;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1795299590123, "2026-11-21T22:19:50.123Z"},
        {999, "1970-01-01T00:00:00.999Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {253402300800000, "9999-12-31T23:59:59.999Z"},
        {UINT64_MAX, "9999-12-31T23:59:59.999Z"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[DATE_TEXT_SIZE];

        date_format_iso(rows[i].ms, text);
        ck_assert_str_eq(text, rows[i].text);
    }
}
END_TEST

static void check_against_libc(uint64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    char text[DATE_TEXT_SIZE];
    char expected[64];
    uint64_t back;

    quick_assert(gmtime_r(&t, &tm) != NULL);
    (void)strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S +0000", &tm);
    date_format(seconds, text);
    quick_assert(strcmp(text, expected) == 0);
    (void)strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.000Z", &tm);
    date_format_iso(seconds * 1000, text);
    quick_assert(strcmp(text, expected) == 0);
    memcpy(text + 19, "Z", 2);
    quick_assert(date_parse_iso(slice_str(text), &back) && back == seconds);
}

START_TEST(iso_dates_back)
{
    static const struct {
        const char *text;
        uint64_t seconds; /* 0: none */
    } rows[] = {
        {"2026-11-21T22:19:50Z", 1795299590},
        {"2026-11-21T22:19Z", 1795299540},
        {"1970-01-01T00:00:01Z", 1},
        {"9999-12-31T23:59:59Z", 253402300799},
        {"2024-02-29T00:00:00Z", 1709164800},
        {"2023-02-29T00:00:00Z", 0},
        {"2026-11-21T24:00:00Z", 0},
        {"2026-11-21T22:60:00Z", 0},
        {"2026-11-21T22:19:60Z", 0},
        {"2026-00-21T22:19:50Z", 0},
        {"2026-13-21T22:19:50Z", 0},
        {"2026-11-00T22:19:50Z", 0},
        {"2026-11-31T22:19:50Z", 0},
        {"1969-12-31T23:59:59Z", 0},
        {"2026-11-21T22:19:50", 0},
        {"2026-11-21T22:19:50+01:00", 0},
        {"2026-11-21 22:19:50Z", 0},
        {"2026-11-21T22:19:Z", 0},
        {"2026-11-21T22:1", 0},
        {"2O26-11-21T22:19Z", 0},
        {"2026-11-21T22:19ZZ", 0},
        {"", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t seconds = 0;

        ck_assert_msg(date_parse_iso(slice_str(rows[i].text), &seconds) == (rows[i].seconds != 0),
                      "%s", rows[i].text);
        ck_assert_uint_eq(seconds, rows[i].seconds);
    }
}
END_TEST

/* Each day of 450 years, which holds every kind of century, and then anything. */
START_TEST(agrees_with_libc)
{
    struct rand r;

    rand_seed(&r, test_seed("date"));
    for (uint64_t day = 0; day < 450 * 366; day++)
        check_against_libc(day * 86400 + day % 86400);
    for (int i = 0; i < 50000; i++)
        check_against_libc(rand_below(&r, 253402300800));
}
END_TEST

Suite *codec_date_suite(void)
{
    Suite *s = suite_create("codec_date");
    TCase *tc = tcase_create("codec_date");

    tcase_set_timeout(tc, 20);
    tcase_add_test(tc, known_dates);
    tcase_add_test(tc, iso_dates);
    tcase_add_test(tc, iso_dates_back);
    tcase_add_test(tc, agrees_with_libc);
    suite_add_tcase(s, tc);
    return s;
}
