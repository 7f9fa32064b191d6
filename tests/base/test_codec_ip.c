#include <arpa/inet.h>

#include "base_assert.h"
#include "base_codec.h"
#include "base_rand.h"
#include "base_test.h"

static const struct {
    const char *text;
    const char *formatted; /* NULL: not an address */
} rows[] = {
    /* RFC 5952 section 4 and the examples that lead to it */
    {"2001:0db8::0001", "2001:db8::1"},
    {"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},
    {"2001:db8::0:1", "2001:db8::1"},
    {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"}, /* one zero group is not shortened */
    {"2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
    {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},       /* the longest run */
    {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"}, /* the first of equal ones */
    {"2001:DB8:AAAA:bBbB:CcCc:dddd:EEEE:aaaa", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:aaaa"},
    {"2001:db8:aaaa:bbbb:cccc:dddd::1", "2001:db8:aaaa:bbbb:cccc:dddd:0:1"},
    {"::", "::"},
    {"::1", "::1"},
    {"1::", "1::"},
    {"0:0:0:0:0:0:0:0", "::"},
    {"1:0:0:0:0:0:0:0", "1::"},
    {"0:0:0:0:0:0:0:1", "::1"},
    {"0:1:0:0:0:0:0:0", "0:1::"},
    {"::1:2:3:4:5:6:7", "0:1:2:3:4:5:6:7"},
    {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
    {"fe80::1:0:0:1", "fe80::1:0:0:1"},
    /* IPv4, in whatever form */
    {"192.0.2.1", "192.0.2.1"},
    {"0.0.0.0", "0.0.0.0"},
    {"255.255.255.255", "255.255.255.255"},
    {"::ffff:192.0.2.1", "192.0.2.1"},
    {"::FFFF:c000:201", "192.0.2.1"},
    {"0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"},
    {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
    {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
    {"::1.2.3.4", "::102:304"},
    /* not addresses */
    {"", NULL},
    {":", NULL},
    {":::", NULL},
    {"1", NULL},
    {"1:", NULL},
    {":1", NULL},
    {"1::2::3", NULL},
    {"1:::2", NULL},
    {"1:2:3:4:5:6:7", NULL},
    {"1:2:3:4:5:6:7:8:9", NULL},
    {"1:2:3:4:5:6:7:8::", NULL},
    {"::1:2:3:4:5:6:7:8", NULL},
    {"1:2:3:4::5:6:7:8", NULL}, /* "::" for nothing */
    {"1:2:3:4:5:6:7:", NULL},
    {"1:2:3:4:5:6:7:8:", NULL},
    {"12345::", NULL},
    {"g::", NULL},
    {"::1 ", NULL},
    {" ::1", NULL},
    {"fe80::1%eth0", NULL},
    {"[::1]", NULL},
    {"1.2.3", NULL},
    {"1.2.3.4.5", NULL},
    {"1.2.3.4.", NULL},
    {".1.2.3.4", NULL},
    {"1..2.3", NULL},
    {"1.2.3.256", NULL},
    {"1.2.3.04", NULL}, /* octal to some */
    {"1.2.3.1000", NULL},
    {"1.2.3.-1", NULL},
    {"1.2.3.4 ", NULL},
    {"0x7f.1.1.1", NULL},
    {"1:2:3:4:5:6:7:1.2.3.4", NULL},
    {"::1.2.3.4:1", NULL},
    {"1.2.3.4::", NULL},
    {"::1.2.3", NULL},
    {"/", NULL},
};

START_TEST(addresses)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slice text = edge_copy(slice_str(rows[i].text));
        struct ip_addr ip;
        struct ip_addr untouched;
        char out[IP_TEXT_SIZE];

        memset(&ip, 0x5A, sizeof(ip));
        untouched = ip;
        bool ok = ip_parse(text, &ip);
        ck_assert_msg(ok == (rows[i].formatted != NULL), "%s", rows[i].text);
        if (ok) {
            ip_format(&ip, out);
            ck_assert_str_eq(out, rows[i].formatted);
        } else {
            ck_assert_mem_eq(&ip, &untouched, sizeof(ip));
        }
        edge_free(text);
    }
}
END_TEST

START_TEST(every_beginning_agrees_with_libc)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t len = 0; len <= strlen(rows[i].text); len++) {
            char text[64];
            struct ip_addr ip;
            uint8_t expected[16] = {[10] = 0xFF, [11] = 0xFF};

            memcpy(text, rows[i].text, len);
            text[len] = '\0';
            bool ok = strchr(text, ':') != NULL ? inet_pton(AF_INET6, text, expected) == 1
                                                : inet_pton(AF_INET, text, expected + 12) == 1;
            ck_assert_msg(ip_parse(slice_str(text), &ip) == ok, "%s", text);
            if (ok)
                ck_assert_mem_eq(ip.bytes, expected, 16);
        }
    }
}
END_TEST

START_TEST(round_trip)
{
    struct rand r;

    rand_seed(&r, test_seed("ip"));
    for (int i = 0; i < 20000; i++) {
        struct ip_addr ip = {{0}};
        struct ip_addr back;
        char text[IP_TEXT_SIZE];

        for (size_t n = 0; n < 16; n++)
            ip.bytes[n] = rand_chance(&r, 2, 3) ? 0 : (uint8_t)rand_u64(&r);
        if (rand_chance(&r, 1, 5))
            quick_assert(ip_parse(SLICE_LITERAL("0.0.0.0"), &ip));
        ip_format(&ip, text);
        ck_assert_msg(ip_parse(slice_str(text), &back), "%s", text);
        quick_assert(memcmp(&ip, &back, 16) == 0);
    }
}
END_TEST

START_TEST(which_is_v4)
{
    struct ip_addr ip;

    ck_assert(ip_parse(SLICE_LITERAL("1.2.3.4"), &ip) && ip_is_v4(&ip));
    ck_assert(ip_parse(SLICE_LITERAL("::ffff:1.2.3.4"), &ip) && ip_is_v4(&ip));
    ck_assert(ip_parse(SLICE_LITERAL("::1.2.3.4"), &ip) && !ip_is_v4(&ip));
    ck_assert(ip_parse(SLICE_LITERAL("::1"), &ip) && !ip_is_v4(&ip));
}
END_TEST

START_TEST(networks)
{
    static const struct {
        const char *net;
        const char *ip;
        int inside; /* -1: not a network */
    } nets[] = {
        {"127.0.0.0/8", "127.255.0.1", 1},
        {"127.0.0.0/8", "128.0.0.1", 0},
        {"127.0.0.0/8", "::1", 0},
        {"127.1.2.3/8", "127.9.9.9", 1}, /* bits beyond the prefix do not matter */
        {"10.1.2.3", "10.1.2.3", 1},
        {"10.1.2.3", "10.1.2.4", 0},
        {"10.1.2.3", "::ffff:10.1.2.3", 1},
        {"0.0.0.0/0", "255.1.1.1", 1},
        {"0.0.0.0/0", "2001:db8::1", 0},
        {"::/0", "2001:db8::1", 1},
        {"::/0", "1.2.3.4", 1},
        {"::1/128", "::1", 1},
        {"::1/128", "::2", 0},
        {"2001:db8::/33", "2001:db8:7fff::1", 1},
        {"2001:db8::/33", "2001:db8:8000::1", 0},
        {"10.0.0.4/30", "10.0.0.7", 1},
        {"10.0.0.4/30", "10.0.0.8", 0},
        {"10.0.0.4/31", "10.0.0.6", 0},
        {"::ffff:10.0.0.0/104", "10.1.1.1", 1},
        {"10.0.0.0/33", "", -1},
        {"::/129", "", -1},
        {"10.0.0.0/", "", -1},
        {"10.0.0.0/x", "", -1},
        {"10.0.0.0/8 ", "", -1},
        {"10.0.0.0/8/8", "", -1},
        {"10.0.0.0/0008", "", -1},
        {"10.0.0/8", "", -1},
        {"/8", "", -1},
        {"", "", -1},
    };

    for (size_t i = 0; i < ARRAY_LEN(nets); i++) {
        struct ip_net net;
        struct ip_addr ip;

        ck_assert_msg(ip_net_parse(slice_str(nets[i].net), &net) == (nets[i].inside >= 0), "%s",
                      nets[i].net);
        if (nets[i].inside < 0)
            continue;
        ck_assert(ip_parse(slice_str(nets[i].ip), &ip));
        ck_assert_msg(ip_net_contains(&net, &ip) == (nets[i].inside == 1), "%s in %s", nets[i].ip,
                      nets[i].net);
    }
}
END_TEST

START_TEST(network_is_normal)
{
    struct ip_net a;
    struct ip_net b;

    ck_assert(ip_net_parse(SLICE_LITERAL("10.1.2.255/28"), &a));
    ck_assert(ip_net_parse(SLICE_LITERAL("10.1.2.240/28"), &b));
    ck_assert_mem_eq(&a, &b, sizeof(a));
    ck_assert_uint_eq(a.prefix_len, 124);
}
END_TEST

Suite *codec_ip_suite(void)
{
    Suite *s = suite_create("codec_ip");
    TCase *tc = tcase_create("codec_ip");

    tcase_add_test(tc, addresses);
    tcase_add_test(tc, every_beginning_agrees_with_libc);
    tcase_add_test(tc, round_trip);
    tcase_add_test(tc, which_is_v4);
    tcase_add_test(tc, networks);
    tcase_add_test(tc, network_is_normal);
    suite_add_tcase(s, tc);
    return s;
}
