/* Addresses as text. */
#include <check.h>
#include <stdlib.h>

#include "base_assert.h"
#include "io.h"

static const struct {
    const char *text;
    const char *back; /* NULL: not an address */
} addresses[] = {
    {"127.0.0.1:25", "127.0.0.1:25"},
    {"0.0.0.0:0", "0.0.0.0:0"},
    {"255.255.255.255:65535", "255.255.255.255:65535"},
    {"[::1]:25", "[::1]:25"},
    {"[::]:587", "[::]:587"},
    {"[2001:DB8:0:0::1]:25", "[2001:db8::1]:25"},
    {"unix:/run/mailring/lmtp", "unix:/run/mailring/lmtp"},
    {"UNIX:relative", "unix:relative"},
    {"", NULL},
    {"127.0.0.1", NULL},
    {"127.0.0.1:", NULL},
    {"127.0.0.1:x", NULL},
    {"127.0.0.1:65536", NULL},
    {"127.0.0.1:25 ", NULL},
    {"127.0.0.1:-1", NULL},
    {":25", NULL},
    {"::1:25", NULL},
    {"[::1]", NULL},
    {"[::1]25", NULL},
    {"[::1", NULL},
    {"[]:25", NULL},
    {"[127.0.0.1]:25", NULL},
    {"localhost:25", NULL},
    {"unix:", NULL},
    {"unix:/a/path/that/is/much/too/long/for/the/108/bytes/of/a/socket/address/"
     "0123456789012345678901234567890123456789",
     NULL},
};

START_TEST(test_text)
{
    struct io_addr addr;
    struct buf out = {0};

    if (addresses[_i].back == NULL) {
        ck_assert_msg(!io_addr_parse(slice_str(addresses[_i].text), &addr), "%s",
                      addresses[_i].text);
        return;
    }
    ck_assert_msg(io_addr_parse(slice_str(addresses[_i].text), &addr), "%s", addresses[_i].text);
    io_addr_format(&addr, &out);
    ck_assert_msg(slice_equal(buf_slice(&out), slice_str(addresses[_i].back)), "%.*s",
                  SLICE_ARG(buf_slice(&out)));
    buf_finish(&out);
}
END_TEST

START_TEST(test_a_path_with_nul)
{
    struct io_addr addr;

    ck_assert(!io_addr_parse(slice_of("unix:/a\0b", 9), &addr));
}
END_TEST

START_TEST(test_to_ip_and_back)
{
    struct io_addr addr, again;
    struct ip_addr ip;
    uint16_t port;

    ck_assert(io_addr_parse(slice_str("[2001:db8::7]:2525"), &addr));
    ck_assert(io_addr_to_ip(&addr, &ip, &port));
    ck_assert_uint_eq(port, 2525);
    io_addr_from_ip(&ip, port, &again);
    ck_assert_uint_eq(addr.len, again.len);
    ck_assert_mem_eq(&addr.storage, &again.storage, addr.len);
    ck_assert(io_addr_parse(slice_str("unix:/x"), &addr));
    ck_assert(!io_addr_to_ip(&addr, &ip, &port));
}
END_TEST

Suite *io_addr_suite(void)
{
    Suite *suite = suite_create("io_addr");
    TCase *tc = tcase_create("addr");

    tcase_add_loop_test(tc, test_text, 0, (int)ARRAY_LEN(addresses));
    tcase_add_test(tc, test_a_path_with_nul);
    tcase_add_test(tc, test_to_ip_and_back);
    suite_add_tcase(suite, tc);
    return suite;
}
