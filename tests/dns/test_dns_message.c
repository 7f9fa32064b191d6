/* Replies, good and bad, as bytes. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base_rand.h"
#include "dns_priv.h"
#include "dns_reply.h"

static struct buf reply;
static struct dns_part part;

static void teardown(void)
{
    dns_part_finish(&part);
    buf_finish(&reply);
    reply = (struct buf){0};
    part = (struct dns_part){0};
}

static enum dns_status parse(enum dns_type type, const char *name)
{
    dns_part_finish(&part);
    dns_message_parse(buf_slice(&reply), type, name, &part);
    return part.status;
}

static const struct dns_mx *mx(size_t i)
{
    ck_assert_uint_ge(buf_len(&part.records), (i + 1) * sizeof(struct dns_mx));
    return (const struct dns_mx *)(const void *)buf_slice(&part.records).data + i;
}

static const char *address(size_t i)
{
    static char text[IP_TEXT_SIZE];

    ck_assert_uint_ge(buf_len(&part.records), (i + 1) * sizeof(struct ip_addr));
    ip_format((const struct ip_addr *)(const void *)buf_slice(&part.records).data + i, text);
    return text;
}

/* A record of TLSA or TXT: its data. */
static struct slice text(size_t i)
{
    struct slice records = buf_slice(&part.records);
    uint16_t len;

    for (;; i--) {
        ck_assert_uint_ge(records.len, sizeof(len));
        memcpy(&len, records.data, sizeof(len));
        slice_advance(&records, sizeof(len));
        if (i == 0)
            return slice_head(records, len);
        slice_advance(&records, len);
    }
}

START_TEST(tlsa_records)
{
    reply_begin(&reply, 1, 0, "_25._tcp.mx.test", REPLY_TLSA);
    reply_cname(&reply, "@", 300, "tlsa.test");
    reply_record(&reply, 0, "tlsa.test", REPLY_TLSA, 200, SLICE_LITERAL("\3\1\1abc\0d"));
    reply_record(&reply, 0, "tlsa.test", REPLY_TLSA, 300, SLICE_LITERAL("\2\0\2"));
    reply_record(&reply, 0, "@", REPLY_TLSA, 300, SLICE_LITERAL("\3\1\1alias"));
    ck_assert_int_eq(parse(DNS_TYPE_TLSA, "_25._tcp.mx.test"), DNS_OK);
    ck_assert(slice_equal(text(0), SLICE_LITERAL("\3\1\1abc\0d")));
    ck_assert(slice_equal(text(1), SLICE_LITERAL("\2\0\2")));
    ck_assert_uint_eq(buf_len(&part.records), 2 + 8 + 2 + 3);
    ck_assert_uint_eq(part.ttl_s, 200);
    ck_assert_str_eq(part.canonical, "tlsa.test");
}
END_TEST

START_TEST(txt_records)
{
    reply_begin(&reply, 1, 0, "_mta-sts.x.test", REPLY_TXT);
    reply_record(&reply, 0, "@", REPLY_TXT, 200, SLICE_LITERAL("\5v=STS\10v1; id=7\0"));
    reply_record(&reply, 0, "@", REPLY_TXT, 200, SLICE_LITERAL("\0"));
    ck_assert_int_eq(parse(DNS_TYPE_TXT, "_mta-sts.x.test"), DNS_OK);
    ck_assert(slice_equal(text(0), SLICE_LITERAL("v=STSv1; id=7")));
    ck_assert_uint_eq(text(1).len, 0);
    ck_assert_ptr_null(part.canonical);
}
END_TEST

/* More than fits: the first ones, or none at all, which is nothing to work with. */
START_TEST(texts_that_do_not_fit)
{
    static uint8_t data[DNS_TEXTS_SIZE_MAX + 100];

    memset(data, 3, sizeof(data));
    reply_begin(&reply, 1, 0, "x.test", REPLY_TLSA);
    reply_record(&reply, 0, "@", REPLY_TLSA, 200, slice_of(data, DNS_TEXTS_SIZE_MAX - 2));
    reply_record(&reply, 0, "@", REPLY_TLSA, 200, SLICE_LITERAL("\3\1\1"));
    ck_assert_int_eq(parse(DNS_TYPE_TLSA, "x.test"), DNS_OK);
    ck_assert_uint_eq(buf_len(&part.records), DNS_TEXTS_SIZE_MAX);
    buf_clear(&reply);
    reply_begin(&reply, 1, 0, "x.test", REPLY_TLSA);
    reply_record(&reply, 0, "@", REPLY_TLSA, 200, slice_of(data, DNS_TEXTS_SIZE_MAX - 1));
    ck_assert_int_eq(parse(DNS_TYPE_TLSA, "x.test"), DNS_TEMPORARY);
}
END_TEST

/* Only the first step. */
START_TEST(an_alias_alone)
{
    reply_begin(&reply, 1, 0, "a.test", REPLY_CNAME);
    reply_cname(&reply, "b.test", 30, "c.test");
    reply_cname(&reply, "@", 40, "B.test");
    ck_assert_int_eq(parse(DNS_TYPE_CNAME, "a.test"), DNS_OK);
    ck_assert_str_eq(part.canonical, "b.test");
    ck_assert_uint_eq(part.ttl_s, 40);
    reply_cname(&reply, "@", 40, "d.test");
    ck_assert_int_eq(parse(DNS_TYPE_CNAME, "a.test"), DNS_TEMPORARY);
    buf_clear(&reply);
    reply_begin(&reply, 1, 0, "a.test", REPLY_CNAME);
    reply_soa(&reply, "test", 300, 30);
    ck_assert_int_eq(parse(DNS_TYPE_CNAME, "a.test"), DNS_NO_DATA);
}
END_TEST

START_TEST(the_ad_bit)
{
    static const struct {
        unsigned rcode;
        bool record, secure;
    } rows[] = {{0, true, true}, {0, false, true}, {3, false, true}, {2, false, false}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (int ad = 0; ad < 2; ad++) {
            buf_clear(&reply);
            reply_begin(&reply, 1, rows[i].rcode, "a.test", REPLY_A);
            if (rows[i].record)
                reply_address(&reply, "@", 50, "192.0.2.3");
            if (ad == 1)
                reply_secure(&reply);
            (void)parse(DNS_TYPE_A, "a.test");
            ck_assert(part.secure == (ad == 1 && rows[i].secure));
        }
    }
}
END_TEST

START_TEST(mx_records)
{
    reply_begin(&reply, 1, 0, "Example.test", REPLY_MX);
    reply_mx(&reply, "@", 300, 20, "B.example.test");
    reply_mx(&reply, "example.TEST", 200, 10, "a.example.test");
    reply_mx(&reply, "other.test", 1, 1, "not.ours.test");
    reply_mx(&reply, "@", 300, 0, "");
    ck_assert_int_eq(parse(DNS_TYPE_MX, "example.test"), DNS_OK);
    ck_assert_uint_eq(buf_len(&part.records), 3 * sizeof(struct dns_mx));
    ck_assert_uint_eq(part.ttl_s, 200);
    ck_assert_str_eq(mx(0)->host, "b.example.test");
    ck_assert_uint_eq(mx(0)->preference, 20);
    ck_assert_str_eq(mx(1)->host, "a.example.test");
    ck_assert_str_eq(mx(2)->host, "");
}
END_TEST

START_TEST(addresses)
{
    reply_begin(&reply, 1, 0, "host.test", REPLY_A);
    reply_address(&reply, "@", 60, "192.0.2.1");
    reply_address(&reply, "@", 70, "192.0.2.2");
    reply_address(&reply, "@", 10, "2001:db8::1");
    ck_assert_int_eq(parse(DNS_TYPE_A, "host.test"), DNS_OK);
    ck_assert_uint_eq(buf_len(&part.records), 2 * sizeof(struct ip_addr));
    ck_assert_str_eq(address(0), "192.0.2.1");
    ck_assert_str_eq(address(1), "192.0.2.2");
    ck_assert_uint_eq(part.ttl_s, 60);
    ck_assert_int_eq(parse(DNS_TYPE_AAAA, "host.test"), DNS_OK);
    ck_assert_str_eq(address(0), "2001:db8::1");
    ck_assert_uint_eq(part.ttl_s, 10);
}
END_TEST

START_TEST(aliases)
{
    reply_begin(&reply, 1, 0, "a.test", REPLY_A);
    reply_address(&reply, "c.test", 50, "192.0.2.3");
    reply_cname(&reply, "b.test", 30, "c.test"); /* in any order */
    reply_cname(&reply, "@", 40, "b.test");
    ck_assert_int_eq(parse(DNS_TYPE_A, "a.test"), DNS_OK);
    ck_assert_str_eq(address(0), "192.0.2.3");
    ck_assert_str_eq(part.canonical, "c.test");
    ck_assert_uint_eq(part.ttl_s, 30);
    /* To a name without such records. */
    ck_assert_int_eq(parse(DNS_TYPE_MX, "a.test"), DNS_NO_DATA);
}
END_TEST

START_TEST(aliases_in_a_circle)
{
    reply_begin(&reply, 1, 0, "a.test", REPLY_A);
    reply_cname(&reply, "a.test", 30, "b.test");
    reply_cname(&reply, "b.test", 30, "a.test");
    ck_assert_int_eq(parse(DNS_TYPE_A, "a.test"), DNS_TEMPORARY);
}
END_TEST

START_TEST(absences)
{
    static const struct {
        unsigned rcode;
        uint32_t soa_ttl, minimum; /* soa_ttl 0: no SOA */
        enum dns_status status;
        uint32_t ttl_s;
    } rows[] = {
        {0, 0, 0, DNS_NO_DATA, 60},      {3, 0, 0, DNS_NO_NAME, 60},
        {0, 900, 300, DNS_NO_DATA, 300}, {3, 200, 300, DNS_NO_NAME, 200},
        {2, 0, 0, DNS_TEMPORARY, 0},     {5, 900, 300, DNS_TEMPORARY, 0},
        {1, 0, 0, DNS_TEMPORARY, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&reply);
        reply_begin(&reply, 1, rows[i].rcode, "no.test", REPLY_MX);
        if (rows[i].soa_ttl > 0)
            reply_soa(&reply, "test", rows[i].soa_ttl, rows[i].minimum);
        ck_assert_int_eq(parse(DNS_TYPE_MX, "no.test"), rows[i].status);
        if (rows[i].status != DNS_TEMPORARY)
            ck_assert_uint_eq(part.ttl_s, rows[i].ttl_s);
    }
}
END_TEST

START_TEST(a_referral_is_no_absence)
{
    reply_begin(&reply, 1, 0, "far.test", REPLY_MX);
    reply_ns(&reply, "test", 300, "ns.test");
    ck_assert_int_eq(parse(DNS_TYPE_MX, "far.test"), DNS_TEMPORARY);
    reply_soa(&reply, "test", 300, 30);
    ck_assert_int_eq(parse(DNS_TYPE_MX, "far.test"), DNS_NO_DATA);
}
END_TEST

/* What says nothing about the name that was asked for is not even an absence. */
START_TEST(answers_about_others)
{
    reply_begin(&reply, 1, 0, "a.test", REPLY_MX);
    reply_mx(&reply, "b.test", 300, 10, "mx.test");
    ck_assert_int_eq(parse(DNS_TYPE_MX, "a.test"), DNS_TEMPORARY);
    reply_address(&reply, "@", 50, "192.0.2.3"); /* of another type, but of this name */
    ck_assert_int_eq(parse(DNS_TYPE_MX, "a.test"), DNS_NO_DATA);
}
END_TEST

/* Of more than are kept, the best, wherever they stand. */
START_TEST(the_best_of_many)
{
    unsigned best = 0;
    char host[16];

    reply_begin(&reply, 1, 0, "many.test", REPLY_MX);
    for (unsigned i = 0; i < 2000; i++) {
        (void)snprintf(host, sizeof(host), "h%u", i);
        reply_mx(&reply, "@", 300, (uint16_t)(i % 100 == 99 ? i / 100 : 1000 + i), host);
    }
    ck_assert_int_eq(parse(DNS_TYPE_MX, "many.test"), DNS_OK);
    ck_assert_uint_eq(buf_len(&part.records), DNS_RECORDS_MAX * sizeof(struct dns_mx));
    for (size_t i = 0; i < DNS_RECORDS_MAX; i++)
        best += mx(i)->preference < 20;
    ck_assert_uint_eq(best, 20);
}
END_TEST

START_TEST(hosts_that_cannot_be)
{
    reply_begin(&reply, 1, 0, "odd.test", REPLY_MX);
    reply_mx(&reply, "@", 300, 10, "a b.test");
    reply_mx(&reply, "@", 300, 20, "mx_1.test");
    ck_assert_int_eq(parse(DNS_TYPE_MX, "odd.test"), DNS_OK);
    ck_assert_str_eq(mx(0)->host, "a?b.test");
    ck_assert_str_eq(mx(1)->host, "mx_1.test");
}
END_TEST

START_TEST(long_names)
{
    char name[DNS_NAME_MAX + 2];

    /* 253 octets are the most, here in labels of 63, 63, 63 and 61. */
    for (size_t i = 0; i < sizeof(name); i++)
        name[i] = i % 64 == 63 ? '.' : 'a';
    name[253] = '\0';
    ck_assert_uint_eq(strlen(name), 253);
    reply_begin(&reply, 1, 0, "x.test", REPLY_MX);
    reply_mx(&reply, "@", 300, 10, name);
    ck_assert_int_eq(parse(DNS_TYPE_MX, "x.test"), DNS_OK);
    ck_assert_str_eq(mx(0)->host, name);
    name[253] = 'a';
    name[254] = '\0';
    reply_mx(&reply, "@", 300, 10, name);
    ck_assert_int_eq(parse(DNS_TYPE_MX, "x.test"), DNS_TEMPORARY);
}
END_TEST

/* Bytes that a record of this type may not have. */
START_TEST(bad_records)
{
    static const struct {
        uint16_t type;
        struct slice data;
    } rows[] = {
        {REPLY_A, SLICE_INIT("abc")},
        {REPLY_A, SLICE_INIT("abcde")},
        {REPLY_AAAA, SLICE_INIT("abcd")},
        {REPLY_MX, SLICE_INIT("")},
        {REPLY_MX, SLICE_INIT("\0\1")},
        {REPLY_MX, SLICE_INIT("\0\1\1a")},      /* the name goes on behind the record */
        {REPLY_MX, SLICE_INIT("\0\1\1a\0z")},   /* and ends before */
        {REPLY_MX, SLICE_INIT("\0\1\xff\xff")}, /* points beyond the end */
        {REPLY_MX, SLICE_INIT("\0\1\x41z\0")},  /* a label of an unknown kind */
        {REPLY_CNAME, SLICE_INIT("\1b\0z")},
        {REPLY_CNAME, SLICE_INIT("")},
        {REPLY_TLSA, SLICE_INIT("")},
        {REPLY_TLSA, SLICE_INIT("\3\1")},
        {REPLY_TXT, SLICE_INIT("")},
        {REPLY_TXT, SLICE_INIT("\2a")},
        {REPLY_TXT, SLICE_INIT("\1a\1")},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum dns_type type = rows[i].type == REPLY_CNAME ? DNS_TYPE_A : (enum dns_type)rows[i].type;
        buf_clear(&reply);
        reply_begin(&reply, 1, 0, "x.test", (uint16_t)type);
        reply_record(&reply, 0, "@", rows[i].type, 60, rows[i].data);
        ck_assert_int_eq(parse(type, "x.test"), DNS_TEMPORARY);
        ck_assert_uint_eq(buf_len(&part.records), 0);
    }
}
END_TEST

/* A pointer to itself, and two that point at each other. */
START_TEST(pointers_in_a_circle)
{
    static const uint8_t header[] = {0, 1, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0};
    static const uint8_t self[] = {0xc0, 12, 0, 1, 0, 1};
    static const uint8_t ahead[] = {0xc0, 14, 0xc0, 12, 0, 1, 0, 1};

    (void)buf_append(&reply, header, sizeof(header));
    (void)buf_append(&reply, self, sizeof(self));
    ck_assert_int_eq(parse(DNS_TYPE_A, "x.test"), DNS_TEMPORARY);
    buf_truncate(&reply, sizeof(header));
    (void)buf_append(&reply, ahead, sizeof(ahead));
    ck_assert_int_eq(parse(DNS_TYPE_A, "x.test"), DNS_TEMPORARY);
}
END_TEST

static void example(void)
{
    buf_clear(&reply);
    reply_begin(&reply, 1, 0, "a.test", REPLY_MX);
    reply_cname(&reply, "@", 40, "b.test");
    reply_mx(&reply, "b.test", 300, 10, "@");
    reply_mx(&reply, "b.test", 300, 20, "mail.b.test");
    reply_record(&reply, 0, "b.test", REPLY_TLSA, 60, SLICE_LITERAL("\3\1\1abc"));
    reply_record(&reply, 0, "b.test", REPLY_TXT, 60, SLICE_LITERAL("\3abc\2de"));
    reply_soa(&reply, "test", 300, 30);
}

/* Every beginning, before an unreadable page. */
START_TEST(cut_anywhere)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *pages =
        mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t whole;

    ck_assert(pages != MAP_FAILED && mprotect(pages + page, page, PROT_NONE) == 0);
    example();
    whole = buf_len(&reply);
    for (size_t len = 0; len <= whole; len++) {
        uint8_t *at = pages + page - len;
        memcpy(at, buf_slice(&reply).data, len);
        dns_part_finish(&part);
        dns_message_parse(slice_of(at, len), DNS_TYPE_MX, "a.test", &part);
        if (len == whole)
            ck_assert_uint_eq(buf_len(&part.records), 2 * sizeof(struct dns_mx));
    }
    ck_assert_int_eq(munmap(pages, 2 * page), 0);
}
END_TEST

START_TEST(altered_anywhere)
{
    static const enum dns_type types[] = {DNS_TYPE_TLSA, DNS_TYPE_TXT, DNS_TYPE_CNAME};
    struct rand rand;

    rand_seed(&rand, 7);
    for (int round = 0; round < 20000; round++) {
        example();
        for (uint64_t i = rand_between(&rand, 1, 4); i > 0; i--)
            reply.data[reply.head + rand_below(&rand, buf_len(&reply))] = (uint8_t)rand_u64(&rand);
        if (parse(DNS_TYPE_MX, "a.test") == DNS_OK)
            ck_assert_uint_ge(buf_len(&part.records), sizeof(struct dns_mx));
        else
            ck_assert_uint_eq(buf_len(&part.records), 0);
        for (size_t i = 0; i < ARRAY_LEN(types); i++) {
            if (parse(types[i], "b.test") == DNS_OK)
                ck_assert(buf_len(&part.records) > 0 || part.canonical != NULL);
            else
                ck_assert(buf_len(&part.records) == 0 && part.canonical == NULL);
        }
    }
}
END_TEST

START_TEST(names)
{
    static const struct {
        const char *text, *clean; /* NULL: not a name */
    } rows[] = {
        {"Example.ORG", "example.org"},
        {"example.org.", "example.org"},
        {"localhost", "localhost"},
        {"a-b_c.xn--p1ai", "a-b_c.xn--p1ai"},
        {"1.2.3.4", "1.2.3.4"},
        {"", NULL},
        {".", NULL},
        {"a..b", NULL},
        {".a", NULL},
        {"a..", NULL},
        {"a b", NULL},
        {"[192.0.2.1]", NULL},
        {"b\xc3\xbc"
         "cher.test",
         NULL},
        {"a\\b.test", NULL},
        {"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklm.test", NULL},
    };
    char out[DNS_NAME_MAX], longest[260];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool good = dns_name_clean(slice_str(rows[i].text), out);
        ck_assert_msg(good == (rows[i].clean != NULL), "%s", rows[i].text);
        if (good)
            ck_assert_str_eq(out, rows[i].clean);
    }
    for (size_t i = 0; i < sizeof(longest); i++)
        longest[i] = i % 2 == 0 ? 'a' : '.';
    ck_assert(dns_name_clean(slice_of(longest, 253), out));
    ck_assert_uint_eq(strlen(out), 253);
    ck_assert(dns_name_clean(SLICE_LITERAL("_25._tcp.mx.test"), out));
    ck_assert(!dns_name_clean(slice_of(longest, 255), out));
}
END_TEST

Suite *dns_message_suite(void)
{
    Suite *s = suite_create("dns_message");
    TCase *tc = tcase_create("dns_message");

    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_test(tc, mx_records);
    tcase_add_test(tc, tlsa_records);
    tcase_add_test(tc, txt_records);
    tcase_add_test(tc, texts_that_do_not_fit);
    tcase_add_test(tc, an_alias_alone);
    tcase_add_test(tc, the_ad_bit);
    tcase_add_test(tc, addresses);
    tcase_add_test(tc, aliases);
    tcase_add_test(tc, aliases_in_a_circle);
    tcase_add_test(tc, absences);
    tcase_add_test(tc, a_referral_is_no_absence);
    tcase_add_test(tc, answers_about_others);
    tcase_add_test(tc, the_best_of_many);
    tcase_add_test(tc, hosts_that_cannot_be);
    tcase_add_test(tc, long_names);
    tcase_add_test(tc, bad_records);
    tcase_add_test(tc, pointers_in_a_circle);
    tcase_add_test(tc, cut_anywhere);
    tcase_add_test(tc, altered_anywhere);
    tcase_add_test(tc, names);
    suite_add_tcase(s, tc);
    return s;
}
