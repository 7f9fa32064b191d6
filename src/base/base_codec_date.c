/* Dates of the Gregorian calendar from Unix time, by arithmetic alone. */
#include "base_codec.h"

struct date {
    unsigned year, month, day; /* month and day from 1 */
    unsigned weekday;          /* 0: Sunday */
    unsigned hour, minute, second;
};

enum { DAYS_4_YEARS = 1461, DAYS_100_YEARS = 36524, DAYS_400_YEARS = 146097 };

static const uint64_t last_second = 253402300799; /* 9999-12-31T23:59:59Z */

/*
 * Years are counted from 1 March, so that the leap day comes last and each cycle (of 4, 100 and 400
 * years) ends with its odd day. Day 0 is then 0000-03-01, 719468 days before 1970.
 */
static void date_from_unix(uint64_t unix_seconds, struct date *out)
{
    if (unix_seconds > last_second)
        unix_seconds = last_second;
    unsigned second = (unsigned)(unix_seconds % 86400);
    unsigned days = (unsigned)(unix_seconds / 86400);
    unsigned left = days + 719468;

    unsigned year = left / DAYS_400_YEARS * 400;
    left %= DAYS_400_YEARS;
    unsigned centuries = left / DAYS_100_YEARS;
    centuries -= centuries == 4; /* the leap day of the 400th year */
    left -= centuries * DAYS_100_YEARS;
    unsigned fours = left / DAYS_4_YEARS;
    left %= DAYS_4_YEARS;
    unsigned ones = left / 365;
    ones -= ones == 4; /* the leap day of the 4th year */
    left -= ones * 365;
    year += centuries * 100 + fours * 4 + ones;

    /* From March the months' lengths repeat 31 30 31 30 31: five months are 153 days. */
    unsigned month = (left * 5 + 2) / 153;
    out->day = left - (month * 153 + 2) / 5 + 1;
    out->month = month < 10 ? month + 3 : month - 9;
    out->year = year + (month >= 10);
    out->weekday = (days + 4) % 7; /* 1 January 1970 was a Thursday */
    out->hour = second / 3600;
    out->minute = second / 60 % 60;
    out->second = second % 60;
}

static char *put_digits(char *to, unsigned value, unsigned count)
{
    for (unsigned i = count; i-- > 0; value /= 10)
        to[i] = (char)('0' + value % 10);
    return to + count;
}

static char *put_time(char *to, const struct date *d)
{
    to = put_digits(to, d->hour, 2);
    *to++ = ':';
    to = put_digits(to, d->minute, 2);
    *to++ = ':';
    return put_digits(to, d->second, 2);
}

static char *put_name(char *to, const char *names, unsigned index)
{
    memcpy(to, names + (size_t)index * 3, 3);
    return to + 3;
}

void date_format(uint64_t unix_seconds, char out[DATE_TEXT_SIZE])
{
    struct date d;
    char *to = out;

    date_from_unix(unix_seconds, &d);
    to = put_name(to, "SunMonTueWedThuFriSat", d.weekday);
    *to++ = ',';
    *to++ = ' ';
    to = put_digits(to, d.day, 2);
    *to++ = ' ';
    to = put_name(to, "JanFebMarAprMayJunJulAugSepOctNovDec", d.month - 1);
    *to++ = ' ';
    to = put_digits(to, d.year, 4);
    *to++ = ' ';
    to = put_time(to, &d);
    memcpy(to, " +0000", 7);
}

void date_format_iso(uint64_t unix_ms, char out[DATE_TEXT_SIZE])
{
    struct date d;
    char *to = out;

    if (unix_ms / 1000 > last_second)
        unix_ms = last_second * 1000 + 999;
    date_from_unix(unix_ms / 1000, &d);
    to = put_digits(to, d.year, 4);
    *to++ = '-';
    to = put_digits(to, d.month, 2);
    *to++ = '-';
    to = put_digits(to, d.day, 2);
    *to++ = 'T';
    to = put_time(to, &d);
    *to++ = '.';
    to = put_digits(to, (unsigned)(unix_ms % 1000), 3);
    memcpy(to, "Z", 2);
}

/* Days since 1970 of a date whose month and day may be anything from 1 to 99: see date_from_unix(). */
static uint64_t days_of(unsigned year, unsigned month, unsigned day)
{
    unsigned y = month > 2 ? year : year - 1;
    unsigned m = month > 2 ? month - 3 : month + 9;

    return (uint64_t)365 * y + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719468;
}

/* Moves behind `count` digits and the byte after them, if there is to be one. */
static bool take_digits(struct slice *text, unsigned count, char after, unsigned *out)
{
    unsigned value = 0;

    if (text->len < count + (after != '\0'))
        return false;
    for (unsigned i = 0; i < count; i++) {
        if ((unsigned)text->data[i] - '0' > 9)
            return false;
        value = value * 10 + text->data[i] - '0';
    }
    if (after != '\0' && text->data[count] != (uint8_t)after)
        return false;
    slice_advance(text, count + (after != '\0'));
    *out = value;
    return true;
}

bool date_parse_iso(struct slice text, uint64_t *out_unix_s)
{
    struct date d = {0}, check;
    uint64_t seconds;

    if (!take_digits(&text, 4, '-', &d.year) || !take_digits(&text, 2, '-', &d.month)
        || !take_digits(&text, 2, 'T', &d.day) || !take_digits(&text, 2, ':', &d.hour)
        || !take_digits(&text, 2, '\0', &d.minute))
        return false;
    if (text.len > 0 && text.data[0] == ':') {
        slice_advance(&text, 1);
        if (!take_digits(&text, 2, '\0', &d.second))
            return false;
    }
    if (!slice_equal(text, SLICE_LITERAL("Z")) || d.year < 1970 || d.month < 1)
        return false;
    seconds = days_of(d.year, d.month, d.day) * 86400 + d.hour * 3600 + d.minute * 60 + d.second;
    date_from_unix(seconds, &check);
    d.weekday = check.weekday;
    if (memcmp(&d, &check, sizeof(d)) != 0) /* 30 February, or half past 25 */
        return false;
    *out_unix_s = seconds;
    return true;
}
