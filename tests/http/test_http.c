/* test_http: URLs, and what is refused before anything is sent. Requests to real servers: tests/e2e/test_sts.py. */
#include <check.h>

#include "base_assert.h"
#include "http.h"

static const struct {
    const char *url, *host; /* NULL: refused */
    unsigned port;
    bool secure;
} urls[] = {
    {"https://mta-sts.example.org/.well-known/mta-sts.txt", "mta-sts.example.org", 443, true},
    {"https://Reports.Example.org:8443/v1?x=y", "reports.example.org", 8443, true},
    {"http://127.0.0.1:9/", "127.0.0.1", 9, false},
    {"https://[2001:db8::1]/", "[2001:db8::1]", 443, true},
    {"ftp://example.org/", NULL, 0, false},
    {"file:///etc/passwd", NULL, 0, false},
    {"https://user@example.org/", NULL, 0, false},
    {"https://user:password@example.org/", NULL, 0, false},
    {"https://example.org:0/", NULL, 0, false},
    {"https://example.org:65536/", NULL, 0, false},
    {"//example.org/", NULL, 0, false},
    {"example.org", NULL, 0, false},
    {"https://exa mple.org/", NULL, 0, false},
    {"https://example.org/a b", NULL, 0, false},
    {"https://example.org/a\nb", NULL, 0, false},
    {"", NULL, 0, false},
};

START_TEST(parts)
{
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct http_url url;
        bool ok = http_url_parse(urls[i].url, &url);
        ck_assert_msg(ok == (urls[i].host != NULL), "%s", urls[i].url);
        if (!ok)
            continue;
        ck_assert_str_eq(url.host, urls[i].host);
        ck_assert_uint_eq(url.port, urls[i].port);
        ck_assert_int_eq(url.secure, urls[i].secure);
    }
}
END_TEST

static void refused(const struct http_request *request)
{
    struct http_response response = {0};

    buf_init(&response.body, 0);
    http_fetch(request, &response);
    ck_assert_int_eq(response.result, HTTP_UNREACHED);
    ck_assert_uint_eq(response.status, 0);
    ck_assert_str_ne(response.error, "");
    buf_finish(&response.body);
}

START_TEST(refusals)
{
    static const struct ip_addr home = {{[15] = 1}};
    struct http_request request = {.url = "https://localhost/", .timeout_ms = 5000};

    refused(&request); /* the name is not looked up */
    request.addresses = &home;
    request.address_count = 1;
    request.url = "http://localhost/"; /* not without being asked */
    refused(&request);
    request.url = "file:///etc/passwd";
    refused(&request);
    request.url = "https://localhost:1/"; /* nobody listens */
    refused(&request);
}
END_TEST

START_TEST(cancelled)
{
    static const struct ip_addr nowhere = {
        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1}};
    static const _Atomic bool cancel = true;
    struct http_request request = {.url = "https://example.org/",
                                   .addresses = &nowhere,
                                   .address_count = 1,
                                   .timeout_ms = 60000,
                                   .cancel = &cancel};
    struct http_response response = {0};

    buf_init(&response.body, 0);
    http_fetch(&request, &response);
    ck_assert_int_ne(response.result, HTTP_OK);
    buf_finish(&response.body);
}
END_TEST

Suite *http_suite(void)
{
    Suite *s = suite_create("http");
    TCase *t = tcase_create("http");

    tcase_add_unchecked_fixture(t, http_setup, NULL);
    tcase_add_test(t, parts);
    tcase_add_test(t, refusals);
    tcase_add_test(t, cancelled);
    suite_add_tcase(s, t);
    return s;
}
