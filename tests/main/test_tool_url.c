/* test_tool_url: addresses, and what is none. */
#include <check.h>

#include "tool_url.h"

Suite *tool_url_suite(void);

static const struct {
    const char *url;
    const char *address; /* NULL: refused */
} cases[] = {
    {"smtp://127.0.0.1:2525", "127.0.0.1:2525"},
    {"smtp://127.0.0.1:0", "127.0.0.1:0"},
    {"SMTP://127.0.0.1", "127.0.0.1:25"},
    {"smtp://127.0.0.1/", "127.0.0.1:25"},
    {"smtp://[::1]:65535", "[::1]:65535"},
    {"smtp://[::1]", "[::1]:25"},
    {"smtp://127.0.0.1:65536", NULL},
    {"smtp://127.0.0.1:", NULL},
    {"smtp://127.0.0.1:x", NULL},
    {"smtp://[::1", NULL},
    {"smtp://[::1]25", NULL},
    {"smtp://", NULL},
    {"smtp://:25", NULL},
    {"127.0.0.1:25", NULL},
    {"http://127.0.0.1/", NULL},
    {"lmtp://127.0.0.1:24", NULL},
    {"smtp://no-such-host.invalid", NULL},
};

static void check_url(size_t i)
{
    struct io_addr addr;
    struct buf text = {0};
    bool ok = tool_url_parse(cases[i].url, &addr, &text);

    ck_assert_int_eq(ok, cases[i].address != NULL);
    if (ok)
        io_addr_format(&addr, &text);
    else
        ck_assert_msg(buf_len(&text) > strlen(cases[i].url), "it says what is wrong");
    (void)buf_append_byte(&text, 0);
    if (ok)
        ck_assert_str_eq((const char *)text.data, cases[i].address);
    buf_finish(&text);
}

START_TEST(test_url)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_url(i);
}
END_TEST

START_TEST(test_name)
{
    struct io_addr addr;
    struct buf error = {0};
    struct ip_addr ip;
    uint16_t port;

    ck_assert(tool_url_parse("smtp://localhost:99", &addr, &error));
    ck_assert(io_addr_to_ip(&addr, &ip, &port));
    ck_assert_uint_eq(port, 99);
    buf_finish(&error);
}
END_TEST

Suite *tool_url_suite(void)
{
    Suite *suite = suite_create("tool_url");
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, test_url);
    tcase_add_test(tc, test_name);
    suite_add_tcase(suite, tc);
    return suite;
}
