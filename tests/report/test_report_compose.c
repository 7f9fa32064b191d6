/* test_report_compose: the example of RFC 8460 appendix B, and a whole message. */
#include <check.h>
#include <zlib.h>

#include "base_assert.h"
#include "report_priv.h"

static const struct slice patterns[] = {SLICE_INIT("*.mail.company-y.example")};

static struct ip_addr ip(const char *text)
{
    struct ip_addr out;

    ck_assert(ip_parse(slice_str(text), &out));
    return out;
}

static void add(struct report_table *t, enum report_result result, const char *sending,
                const char *host, const char *receiving, const char *information,
                const char *reason, unsigned times)
{
    struct ip_addr from = ip(sending), to = ip(receiving);
    struct report_session s = {
        .domain = SLICE_LITERAL("company-y.example"),
        .type = REPORT_STS,
        .policy = SLICE_LITERAL("version: STSv1\nmode: testing\nmx: *.mail.company-y.example\n"
                                "max_age: 86400\n"),
        .mx = patterns,
        .mx_count = 1,
        .result = result,
        .sending_ip = &from,
        .receiving_ip = &to,
        .mx_host = slice_str(host),
        .information = slice_str(information),
        .reason = slice_str(reason)};

    for (unsigned i = 0; i < times; i++)
        report_table_add(t, &s);
}

/* As there, but for the order of members, the missing "receiving-mx-helo" and the short form of addresses. */
static const char json[] =
    "{\"organization-name\":\"Company-X\","
    "\"date-range\":{\"start-datetime\":\"2016-04-01T00:00:00Z\","
    "\"end-datetime\":\"2016-04-01T23:59:59Z\"},"
    "\"contact-info\":\"sts-reporting@company-x.example\","
    "\"report-id\":\"1459468800.1459555199.15d185bbe31f06c2@company-x.example\","
    "\"policies\":[{\"policy\":{\"policy-type\":\"sts\","
    "\"policy-string\":[\"version: STSv1\",\"mode: testing\",\"mx: *.mail.company-y.example\","
    "\"max_age: 86400\"],"
    "\"mx-host\":[\"*.mail.company-y.example\"],"
    "\"policy-domain\":\"company-y.example\"},"
    "\"summary\":{\"total-successful-session-count\":5326,\"total-failure-session-count\":303},"
    "\"failure-details\":[{\"result-type\":\"certificate-expired\","
    "\"sending-mta-ip\":\"2001:db8:abcd:12::1\","
    "\"receiving-mx-hostname\":\"mx1.mail.company-y.example\",\"receiving-ip\":\"192.0.2.1\","
    "\"failed-session-count\":100},"
    "{\"result-type\":\"starttls-not-supported\",\"sending-mta-ip\":\"2001:db8:abcd:13::1\","
    "\"receiving-mx-hostname\":\"mx2.mail.company-y.example\",\"receiving-ip\":\"203.0.113.56\","
    "\"additional-information\":\"https://reports.company-x.example/report_info?id=5065427c-23d3#"
    "StarttlsNotSupported\",\"failed-session-count\":200},"
    "{\"result-type\":\"validation-failure\",\"sending-mta-ip\":\"198.51.100.62\","
    "\"receiving-mx-hostname\":\"mx-backup.mail.company-y.example\",\"receiving-ip\":\"203.0.113.58\","
    "\"failure-reason-code\":\"X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED\",\"failed-session-count\":3}]}]}"
    "\n";

static struct report_table table;
static const struct report_policy *policies[4];
static struct report_facts facts;

static void setup(void)
{
    report_table_init(&table, 100, 1 << 20);
    add(&table, REPORT_SUCCESS, "198.51.100.62", "", "192.0.2.1", "", "", 5326);
    add(&table, REPORT_CERTIFICATE_EXPIRED, "2001:db8:abcd:0012::1", "mx1.mail.company-y.example",
        "192.0.2.1", "", "", 100);
    add(&table, REPORT_STARTTLS_NOT_SUPPORTED, "2001:db8:abcd:0013::1",
        "mx2.mail.company-y.example", "203.0.113.56",
        "https://reports.company-x.example/report_info?id=5065427c-23d3#StarttlsNotSupported", "",
        200);
    add(&table, REPORT_VALIDATION_FAILURE, "198.51.100.62", "mx-backup.mail.company-y.example",
        "203.0.113.58", "", "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED", 3);
    policies[0] = container_of(table.order.next, struct report_policy, node);
    facts = (struct report_facts){.hostname = SLICE_LITERAL("company-x.example"),
                                  .organization = SLICE_LITERAL("Company-X"),
                                  .contact = SLICE_LITERAL("sts-reporting@company-x.example"),
                                  .from = SLICE_LITERAL("tlsrpt@company-x.example"),
                                  .domain = SLICE_LITERAL("company-y.example"),
                                  .policies = policies,
                                  .policy_count = 1,
                                  .start_s = 1459468800,
                                  .end_s = 1459468800 + 86399};
}

static void teardown(void)
{
    report_table_finish(&table);
}

START_TEST(example)
{
    struct buf out = {0};

    report_compose_json(&facts, &out);
    (void)buf_append_byte(&out, 0);
    ck_assert_str_eq((const char *)buf_slice(&out).data, json);
    buf_finish(&out);
}
END_TEST

/* Without a policy there is nothing to quote; several policies stand side by side. */
START_TEST(no_policy)
{
    struct report_session s = {.domain = SLICE_LITERAL("company-y.example"),
                               .type = REPORT_NO_POLICY,
                               .policy = SLICE_LITERAL("x")};
    struct buf out = {0};

    report_table_add(&table, &s);
    policies[0] = container_of(table.order.prev, struct report_policy, node);
    policies[1] = policies[0];
    facts.policy_count = 2;
    report_compose_json(&facts, &out);
    (void)buf_append_byte(&out, 0);
#define ROW                                                                                      \
    "{\"policy\":{\"policy-type\":\"no-policy-found\",\"policy-domain\":\"company-y.example\"}," \
    "\"summary\":{\"total-successful-session-count\":1,\"total-failure-session-count\":0}}"
    ck_assert_ptr_nonnull(
        strstr((const char *)buf_slice(&out).data, "\"policies\":[" ROW "," ROW "]}\n"));
    buf_finish(&out);
}
END_TEST

static size_t gunzip(struct slice in, uint8_t *out, size_t size)
{
    z_stream z = {0};

    ck_assert_int_eq(inflateInit2(&z, 15 + 16), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)in.data;
    z.avail_in = (unsigned)in.len;
    z.next_out = out;
    z.avail_out = (unsigned)size;
    ck_assert_int_eq(inflate(&z, Z_FINISH), Z_STREAM_END);
    ck_assert_uint_eq(z.avail_in, 0);
    ck_assert_int_eq(inflateEnd(&z), Z_OK);
    return (size_t)z.total_out;
}

START_TEST(gzip)
{
    static uint8_t back[65536];
    struct buf packed = {0}, empty = {0};

    report_compose_gzip(slice_str(json), &packed);
    ck_assert_uint_lt(buf_len(&packed), sizeof(json));
    ck_assert_uint_eq(gunzip(buf_slice(&packed), back, sizeof(back)), sizeof(json) - 1);
    ck_assert(memcmp(back, json, sizeof(json) - 1) == 0);
    report_compose_gzip(SLICE_NULL, &empty);
    ck_assert_uint_eq(gunzip(buf_slice(&empty), back, sizeof(back)), 0);
    buf_finish(&packed);
    buf_finish(&empty);
}
END_TEST

static const char message[] =
    "Date: Sat, 02 Apr 2016 01:00:00 +0000\r\n"
    "From: <tlsrpt@company-x.example>\r\n"
    "To: <reports@company-y.example>\r\n"
    "Subject: Report Domain: company-y.example\r\n"
    " Submitter: company-x.example\r\n"
    " Report-ID: <1459468800.1459555199.15d185bbe31f06c2@company-x.example>\r\n"
    "Message-ID: <ID@company-x.example>\r\n"
    "TLS-Report-Domain: company-y.example\r\n"
    "TLS-Report-Submitter: company-x.example\r\n"
    "TLS-Required: No\r\n"
    "Auto-Submitted: auto-generated\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n"
    "\tboundary=\"=_mailring_ID\"\r\n"
    "\r\n"
    "--=_mailring_ID\r\n"
    "Content-Type: text/plain; charset=us-ascii\r\n"
    "\r\n"
    "This is an aggregate TLS report from company-x.example\r\n"
    "about company-y.example (RFC 8460).\r\n"
    "\r\n"
    "--=_mailring_ID\r\n"
    "Content-Type: application/tlsrpt+gzip\r\n"
    "Content-Transfer-Encoding: base64\r\n"
    "Content-Disposition: attachment;\r\n"
    "\tfilename=\"company-x.example!company-y.example!1459468800!1459555199.json.gz\"\r\n"
    "\r\n"
    "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4\r\n"
    "eHh4\r\n"
    "--=_mailring_ID--\r\n";

START_TEST(mail)
{
    struct buf out = {0};
    char bytes[60];

    memset(bytes, 'x', sizeof(bytes));
    report_compose_mail(&facts, slice_of(bytes, sizeof(bytes)),
                        SLICE_LITERAL("reports@company-y.example"), SLICE_LITERAL("ID"),
                        1459468800 + 86400 + 3600, &out);
    (void)buf_append_byte(&out, 0);
    ck_assert_str_eq((const char *)buf_slice(&out).data, message);
    buf_finish(&out);
}
END_TEST

Suite *report_compose_suite(void)
{
    Suite *s = suite_create("report_compose");
    TCase *t = tcase_create("report_compose");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, example);
    tcase_add_test(t, no_policy);
    tcase_add_test(t, gzip);
    tcase_add_test(t, mail);
    suite_add_tcase(s, t);
    return s;
}
