/* test_report: days, restarts, merging, sending. */
#include "report_priv.h"
#include "report_world.h"

#include <string.h>

enum { HOUR = 3600, DAY = 24 * HOUR };

static struct report_world w;

static void setup(void)
{
    report_world_init(&w, "");
    dns_sim_zone_add_address(w.zone, "reports.test", "192.0.2.9");
}

static void teardown(void)
{
    report_world_finish(&w);
}

static struct report_counters counters(unsigned shard)
{
    struct report_counters c;

    report_counters(w.report[shard], &c);
    return c;
}

static bool exists(const char *path)
{
    struct buf text = {0};
    bool there = sim_file_read(w.machine, path, &text);

    buf_finish(&text);
    return there;
}

static bool body_has(unsigned mail, const char *text)
{
    struct slice body = buf_slice(&w.mails[mail].body);

    return memmem(body.data, body.len, text, strlen(text)) != NULL;
}

START_TEST(day)
{
    report_world_rua(&w, "a.test", "mailto:r@reports.test");
    report_world_run_s(&w, HOUR);
    report_world_result(&w, 0, "a.test", REPORT_SUCCESS);
    report_world_result(&w, 1, "a.test", REPORT_VALIDATION_FAILURE);
    report_world_result(&w, 1, "b.test", REPORT_SUCCESS);
    report_world_run_s(&w, 10 * 60);
    ck_assert(exists("/state/tls-reports/20261122.0"));
    ck_assert(exists("/state/tls-reports/20261122.1"));
    report_world_run_s(&w, 22 * HOUR);
    ck_assert_uint_eq(w.mail_count, 0);
    report_world_run_s(&w, 2 * HOUR);
    ck_assert_uint_eq(w.mail_count, 1);
    ck_assert_str_eq(w.mails[0].recipient, "r@reports.test");
    ck_assert_str_eq(w.mails[0].sender, "");
    ck_assert_uint_eq(w.mails[0].flags, SPOOL_IS_REPORT | SPOOL_TLS_OPTIONAL);
    ck_assert(body_has(0, "TLS-Report-Domain: a.test\r\n"));
    ck_assert(body_has(0, "From: <tls-reports@mx.example>\r\n"));
    ck_assert(body_has(0, "mx.example!a.test!1795305600!1795391999.json.gz"));
    ck_assert_uint_eq(counters(0).reports_mailed, 1);
    ck_assert_uint_eq(counters(0).domains_unwilling, 1);
    ck_assert(!exists("/state/tls-reports/20261122.0"));
    ck_assert(!exists("/state/tls-reports/20261122.1"));
    report_world_run_s(&w, 3 * DAY);
    ck_assert_uint_eq(w.mail_count, 1);
}
END_TEST

START_TEST(restart)
{
    report_world_rua(&w, "a.test", "mailto:r@reports.test");
    report_world_result(&w, 0, "a.test", REPORT_SUCCESS);
    report_world_result(&w, 1, "a.test", REPORT_SUCCESS);
    report_world_stop(&w);
    report_world_open(&w, 1); /* the second's file stays for the report */
    ck_assert_uint_eq(counters(0).rows, 1);
    report_world_result(&w, 0, "a.test", REPORT_SUCCESS);
    report_world_stop(&w);
    report_world_open(&w, 3);
    ck_assert_uint_eq(counters(1).rows, 1);
    report_world_run_s(&w, DAY - 60);
    report_world_stop(&w); /* over midnight */
    sim_advance_ms(w.sim, 10 * 60 * 1000);
    report_world_open(&w, 2);
    report_world_run_s(&w, HOUR);
    ck_assert_uint_eq(w.mail_count, 1);
    ck_assert(!exists("/state/tls-reports/20261122.1"));
}
END_TEST

START_TEST(crash)
{
    report_world_rua(&w, "a.test", "mailto:r@reports.test");
    report_world_result(&w, 1, "a.test", REPORT_SUCCESS);
    report_world_run_s(&w, 6 * 60); /* written since */
    for (int i = 0; i < 50; i++) {
        report_world_result(&w, 0, "a.test", REPORT_SUCCESS);
        report_world_run_s(&w, (uint64_t)i * 7);
        report_world_crash(&w);
        report_world_open(&w, 2);
    }
    report_world_run_s(&w, DAY + HOUR);
    ck_assert_uint_ge(w.mail_count, 1);
    ck_assert_uint_eq(counters(0).reports_failed, 0);
}
END_TEST

/* At any moment of sending: the report comes, at least once. */
START_TEST(crash_while_sending)
{
    report_world_rua(&w, "a.test", "mailto:r@reports.test,https://reports.test/v1");
    for (unsigned i = 0; i < 40; i++) {
        report_world_result(&w, 1, "a.test", REPORT_SUCCESS);
        report_world_run_s(&w, 6 * 60);
        report_world_result(&w, 0, "a.test", REPORT_SUCCESS);
        report_world_run_s(&w, 6 * 60);
        report_close_period(w.report[0], &(struct report_close){.number = 1 + i, .done = NULL});
        report_close_period(w.report[1], &(struct report_close){.number = 1 + i, .done = NULL});
        report_world_run_s(&w, 5);
        report_send(w.report[0]);
        for (unsigned k = 0; k < i; k++)
            (void)io_wait(w.io, io_now_ms(w.io) + 1);
        report_world_crash(&w);
        report_world_open(&w, 2);
        report_world_run_s(&w, HOUR);
        ck_assert_uint_ge(w.mail_count, 1);
        for (unsigned k = 0; k < w.mail_count; k++)
            buf_finish(&w.mails[k].body);
        memset(w.mails, 0, sizeof(w.mails));
        w.mail_count = 0;
    }
}
END_TEST

START_TEST(by_https)
{
    report_world_rua(&w, "a.test", "https://reports.test/v1");
    report_world_result(&w, 0, "a.test", REPORT_SUCCESS);
    report_world_run_s(&w, DAY + HOUR);
    ck_assert_uint_eq(world_posts, 1);
    ck_assert_str_eq(world_post_url, "https://reports.test/v1");
    ck_assert_str_eq(world_post_type, "application/tlsrpt+gzip");
    ck_assert_uint_gt(buf_len(&world_post_body), 20);
    ck_assert_uint_eq(counters(0).reports_posted, 1);
    ck_assert_uint_eq(w.mail_count, 0);
}
END_TEST

/* The owner of a domain chooses the URL: it is not to lead to our neighbours. */
static const struct {
    const char *ip;
    bool goes;
} neighbours[] = {{"127.0.0.1", false},
                  {"10.1.2.3", false},
                  {"172.31.0.1", false},
                  {"172.32.0.1", true},
                  {"192.168.1.1", false},
                  {"169.254.169.254", false},
                  {"100.64.0.1", false},
                  {"0.0.0.1", false},
                  {"224.0.0.1", false},
                  {"192.0.2.1", true},
                  {"::1", false},
                  {"fe80::1", false},
                  {"fd00::1", false},
                  {"2001:db8::1", true},
                  {"64:ff9b::c000:201", true},
                  {"::7f00:1", false},
                  {"::ffff:127.0.0.1", false}};

START_TEST(private_addresses)
{
    dns_sim_zone_add_address(w.zone, "near.test", neighbours[_i].ip);
    report_world_rua(&w, "a.test", "https://near.test/v1");
    report_world_result(&w, 0, "a.test", REPORT_SUCCESS);
    report_world_run_s(&w, DAY + HOUR * 5);
    ck_assert_msg((world_posts > 0) == neighbours[_i].goes, "%s: %u posts", neighbours[_i].ip,
                  world_posts);
    ck_assert_uint_eq(counters(0).reports_failed, !neighbours[_i].goes);
}
END_TEST

/* Once more for those that failed, and for nobody else. */
START_TEST(again)
{
    report_world_rua(&w, "a.test", "mailto:r@reports.test,https://reports.test/v1");
    report_world_rua(&w, "b.test", "https://nowhere.test/v1");
    report_world_rua(&w, "c.test", "mailto:r@reports.test");
    dns_sim_zone_set_status(w.zone, "_smtp._tls.c.test", DNS_TEMPORARY);
    world_post_status = 503;
    for (int i = 0; i < 3; i++)
        report_world_result(&w, 0,
                            i == 0   ? "a.test"
                            : i == 1 ? "b.test"
                                     : "c.test",
                            REPORT_SUCCESS);
    report_world_run_s(&w, DAY + 20 * 60);
    ck_assert_uint_eq(world_posts, 1);
    ck_assert_uint_eq(w.mail_count, 1);
    ck_assert_uint_eq(counters(0).reports_failed, 0);
    world_post_status = 200;
    dns_sim_zone_set_status(w.zone, "_smtp._tls.c.test", DNS_OK);
    report_world_run_s(&w, HOUR);
    ck_assert_uint_eq(world_posts, 2);
    ck_assert_uint_eq(w.mail_count, 2);
    ck_assert_uint_eq(counters(0).reports_failed, 1);
    ck_assert(!exists("/state/tls-reports/20261122.0"));
}
END_TEST

static unsigned closed;

static void on_closed(struct report_close *c)
{
    (void)c;
    closed++;
}

/* Now instead of at midnight; what comes later is in the day's report, and only that. */
START_TEST(forced)
{
    struct report_close closes[2] = {{.number = 5, .done = on_closed},
                                     {.number = 5, .done = on_closed}};

    report_world_rua(&w, "a.test", "mailto:r@reports.test");
    report_world_result(&w, 0, "a.test", REPORT_SUCCESS);
    report_world_run_s(&w, 1000);
    closed = 0;
    for (unsigned i = 0; i < 2; i++)
        report_close_period(w.report[i], &closes[i]);
    report_world_run_s(&w, 5);
    ck_assert_uint_eq(closed, 2);
    ck_assert_uint_eq(w.mail_count, 0);
    report_send(w.report[0]);
    report_world_run_s(&w, 5);
    ck_assert_uint_eq(w.mail_count, 1);
    ck_assert(body_has(0, "!1795305600!1795306600.json.gz"));
    report_world_stop(&w); /* the results are not taken up once more */
    report_world_open(&w, 2);
    ck_assert_uint_eq(counters(0).rows, 0);
    report_world_run_s(&w, DAY + HOUR);
    ck_assert_uint_eq(w.mail_count, 1);
    report_world_result(&w, 1, "a.test", REPORT_SUCCESS);
    report_world_run_s(&w, DAY + HOUR);
    ck_assert_uint_eq(w.mail_count, 2);
}
END_TEST

/* The clock goes back over midnight and on again: the day before is reported once, with all it had. */
START_TEST(clock_set_back)
{
    report_world_rua(&w, "a.test", "mailto:r@reports.test");
    report_world_result(&w, 0, "a.test", REPORT_SUCCESS);
    report_world_run_s(&w, DAY + 1);
    report_world_result(&w, 0, "a.test", REPORT_SUCCESS);
    for (int i = 0; i < 20; i++) {
        sim_options(w.sim)->clock_jump = 10000;
        report_world_run_s(&w, 1);
        sim_options(w.sim)->clock_jump = 0;
        report_world_result(&w, 0, "a.test", REPORT_SUCCESS);
    }
    report_world_run_s(&w, 3 * DAY);
    ck_assert_uint_ge(w.mail_count, 1);
    ck_assert_uint_eq(counters(0).reports_failed, 0);
}
END_TEST

START_TEST(too_old)
{
    report_world_rua(&w, "a.test", "mailto:r@reports.test");
    report_world_result(&w, 0, "a.test", REPORT_SUCCESS);
    report_world_stop(&w);
    sim_advance_ms(w.sim, (uint64_t)9 * DAY * 1000);
    report_world_open(&w, 2);
    report_world_run_s(&w, HOUR);
    ck_assert_uint_eq(w.mail_count, 0);
    ck_assert(!exists("/state/tls-reports/20261122.0"));
}
END_TEST

START_TEST(garbage)
{
    report_world_stop(&w);
    ck_assert(sim_file_write(w.machine, "/state/tls-reports/20261122.0", SLICE_LITERAL("x")));
    ck_assert(sim_file_write(w.machine, "/state/tls-reports/20261120.1", SLICE_LITERAL("y\nz")));
    ck_assert(sim_file_write(w.machine, "/state/tls-reports/20261120.x", SLICE_LITERAL("y")));
    ck_assert(sim_file_write(w.machine, "/state/tls-reports/notes.txt", SLICE_LITERAL("z")));
    ck_assert(sim_file_write(w.machine, "/state/tls-reports/20261121-99999999999999999999999.1",
                             SLICE_LITERAL("z")));
    report_world_open(&w, 2);
    report_world_rua(&w, "a.test", "mailto:r@reports.test");
    report_world_result(&w, 0, "a.test", REPORT_SUCCESS);
    report_world_run_s(&w, DAY + HOUR);
    ck_assert_uint_eq(w.mail_count, 1);
    ck_assert(!exists("/state/tls-reports/20261120.1"));
    ck_assert(exists("/state/tls-reports/notes.txt"));
}
END_TEST

START_TEST(switched_off)
{
    report_world_finish(&w);
    report_world_init(&w, "tls_reports { send = no }\n");
    report_world_rua(&w, "a.test", "mailto:r@reports.test");
    report_world_result(&w, 0, "a.test", REPORT_SUCCESS);
    report_world_run_s(&w, DAY + HOUR);
    ck_assert_uint_eq(w.mail_count, 0);
    ck_assert_uint_eq(counters(0).sessions, 0);
}
END_TEST

START_TEST(named)
{
    report_world_finish(&w);
    report_world_init(&w, "tls_reports { from = \"me@mx.example\" }\n");
    report_world_rua(&w, "a.test", "mailto:r@reports.test");
    report_world_result(&w, 0, "a.test", REPORT_SUCCESS);
    report_world_run_s(&w, DAY + HOUR);
    ck_assert_uint_eq(w.mail_count, 1);
    ck_assert_str_eq(w.mails[0].sender, "me@mx.example");
    ck_assert(body_has(0, "From: <me@mx.example>\r\n"));
}
END_TEST

START_TEST(full_spool)
{
    report_world_rua(&w, "a.test", "mailto:r@reports.test");
    report_world_result(&w, 0, "a.test", REPORT_SUCCESS);
    report_world_run_s(&w, DAY - 60);
    sim_options(w.sim)->write_error = 10000;
    report_world_run_s(&w, 20 * 60);
    sim_options(w.sim)->write_error = 0;
    report_world_run_s(&w, 2 * HOUR);
    ck_assert_uint_eq(w.mail_count + counters(0).reports_failed, 1);
}
END_TEST

Suite *report_suite(void)
{
    Suite *s = suite_create("report");
    TCase *t = tcase_create("report");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 30);
    tcase_add_test(t, day);
    tcase_add_test(t, restart);
    tcase_add_test(t, crash);
    tcase_add_test(t, crash_while_sending);
    tcase_add_test(t, by_https);
    tcase_add_loop_test(t, private_addresses, 0, (int)ARRAY_LEN(neighbours));
    tcase_add_test(t, again);
    tcase_add_test(t, forced);
    tcase_add_test(t, clock_set_back);
    tcase_add_test(t, too_old);
    tcase_add_test(t, garbage);
    tcase_add_test(t, switched_off);
    tcase_add_test(t, named);
    tcase_add_test(t, full_spool);
    suite_add_tcase(s, t);
    return s;
}
