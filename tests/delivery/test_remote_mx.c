/* From a domain to hosts: RFC 5321 5.1, RFC 7505, and not to ourselves. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_mem.h"
#include "remote_world.h"

Suite *remote_mx_suite(void);

static struct world w;

/* Hosts h1..h4 have servers on 10.0.1.1..4; "down" refuses, "void" has no address, "lame" cannot be
 * looked up, "none" does not exist. */
static const struct mx_case {
    const char *what;
    const char *mx[4];  /* "10 h1" */
    const char *domain; /* instead of d.example */
    enum delivery_status status;
    uint16_t code, subject, detail;
    unsigned server;    /* that gets it; 0: none */
    const char *second; /* destination after mx */
} cases[] = {
    {.what = "the best first", .mx = {"20 h2", "10 h1", "30 h3"}, .server = 1},
    {.what = "numbers, not text", .mx = {"100 h2", "20 h1"}, .server = 1},
    {.what = "the next when the best is down", .mx = {"10 down", "20 h2"}, .server = 2},
    {.what = "a host without address", .mx = {"10 void", "20 h2"}, .server = 2},
    {.what = "a host that does not exist", .mx = {"10 none", "20 h2"}, .server = 2},
    {.what = "a host that cannot be looked up", .mx = {"10 lame", "20 h2"}, .server = 2},
    {.what = "the domain itself", .domain = "h3", .server = 3},
    {.what = "a domain without anything",
     .domain = "void",
     .status = DELIVERY_FAILED,
     .subject = 4,
     .detail = 4},
    {.what = "no such domain",
     .domain = "none",
     .status = DELIVERY_FAILED,
     .subject = 1,
     .detail = 2},
    {.what = "no such domain, whatever comes second",
     .domain = "none",
     .second = "10.0.1.4:25",
     .status = DELIVERY_FAILED,
     .subject = 1,
     .detail = 2},
    {.what = "a name that cannot be asked",
     .domain = "bad..name",
     .status = DELIVERY_FAILED,
     .subject = 1,
     .detail = 2},
    {.what = "no mail, thank you",
     .mx = {"0 "},
     .status = DELIVERY_FAILED,
     .code = 556,
     .subject = 1,
     .detail = 10},
    {.what = "lookup fails",
     .domain = "lame",
     .status = DELIVERY_DEFERRED,
     .subject = 4,
     .detail = 3},
    {.what = "lookup fails, a second destination",
     .domain = "lame",
     .second = "10.0.1.4:25",
     .server = 4},
    {.what = "no host has an address",
     .mx = {"10 void", "20 none"},
     .status = DELIVERY_FAILED,
     .subject = 4,
     .detail = 4},
    {.what = "no host has an address, a second destination",
     .mx = {"10 void", "20 none"},
     .second = "10.0.1.4:25",
     .server = 4},
    {.what = "no host has one, or may have",
     .mx = {"10 none", "20 lame"},
     .status = DELIVERY_DEFERRED,
     .subject = 4,
     .detail = 3},
    {.what = "all are down",
     .mx = {"10 down", "20 down2"},
     .status = DELIVERY_DEFERRED,
     .subject = 4,
     .detail = 1},
    {.what = "we are the best",
     .mx = {"10 mx.ours.example", "20 h1"},
     .status = DELIVERY_FAILED,
     .subject = 4,
     .detail = 6},
    {.what = "we are among the best",
     .mx = {"10 h1", "10 mx.ours.example"},
     .status = DELIVERY_FAILED,
     .subject = 4,
     .detail = 6},
    {.what = "we are second", .mx = {"20 mx.ours.example", "10 h1", "30 h3"}, .server = 1},
    {.what = "never to those behind us",
     .mx = {"10 down", "20 mx.ours.example", "30 h3"},
     .status = DELIVERY_DEFERRED,
     .subject = 4,
     .detail = 1},
    {.what = "we are the domain",
     .domain = "mx.ours.example",
     .status = DELIVERY_FAILED,
     .subject = 4,
     .detail = 6},
    {.what = "an address for a host", .mx = {"10 10.0.1.1"}, .server = 1},
    {.what = "the null address", .mx = {"10 zero", "20 h2"}, .server = 2},
};

static void fill_zone(const struct mx_case *c)
{
    char name[8], ip[16];

    for (int i = 1; i <= 4; i++) {
        (void)snprintf(name, sizeof(name), "h%d", i);
        (void)snprintf(ip, sizeof(ip), "10.0.1.%d", i);
        dns_sim_zone_add_address(w.zone, name, ip);
        (void)world_peer(&w, ip, 25);
    }
    world_no_peer(&w, "10.0.1.5");
    dns_sim_zone_add_address(w.zone, "down", "10.0.1.5");
    dns_sim_zone_add_address(w.zone, "down2", "10.0.1.6");
    dns_sim_zone_add_address(w.zone, "zero", "0.0.0.0");
    dns_sim_zone_set_status(w.zone, "void", DNS_OK);
    dns_sim_zone_set_status(w.zone, "lame", DNS_TEMPORARY);
    dns_sim_zone_set_status(w.zone, "mx.ours.example", DNS_OK);
    for (int i = 0; i < 4 && c->mx[i] != NULL; i++)
        dns_sim_zone_add_mx(w.zone, "d.example", (uint16_t)strtoul(c->mx[i], NULL, 10),
                            strchr(c->mx[i], ' ') + 1);
}

static void check_case(const struct mx_case *c, uint64_t seed)
{
    const struct world_result *r;
    char recipient[64];
    uint32_t i;

    world_open(&w, seed, NULL);
    fill_zone(c);
    (void)snprintf(recipient, sizeof(recipient), "user@%s",
                   c->domain != NULL ? c->domain : "d.example");
    i = world_send_to(&w, (const char *const[]){"mx", c->second, NULL},
                      (const char *const[]){recipient, NULL});
    world_run(&w);
    r = world_result(&w, i);
    ck_assert_msg(r->status[0] == (c->server > 0 ? DELIVERY_DONE : c->status)
                      && (c->server > 0
                          || (r->code[0] == c->code && r->enhanced[0][1] == c->subject
                              && r->enhanced[0][2] == c->detail
                              && r->enhanced[0][0] == (c->status == DELIVERY_FAILED ? 5 : 4))),
                  "%s: status %u, %u %u.%u.%u %s", c->what, r->status[0], r->code[0],
                  r->enhanced[0][0], r->enhanced[0][1], r->enhanced[0][2], r->text);
    for (unsigned k = 0; k < 4; k++)
        ck_assert_msg(w.peers[k].dots == (c->server == k + 1), "%s: server %u", c->what, k + 1);
    world_close(&w);
}

START_TEST(test_mx)
{
    for (uint64_t seed = 1; seed <= 3; seed++)
        check_case(&cases[_i], seed);
}
END_TEST

/* Domains with the same hosts share a site, in whatever order these are listed. */
START_TEST(test_one_site)
{
    world_open(&w, 4, NULL);
    fill_zone(&(struct mx_case){.what = ""});
    dns_sim_zone_add_mx(w.zone, "a.example", 10, "h1");
    dns_sim_zone_add_mx(w.zone, "a.example", 20, "h2");
    dns_sim_zone_add_mx(w.zone, "b.example", 20, "h2");
    dns_sim_zone_add_mx(w.zone, "b.example", 10, "h1");
    dns_sim_zone_add_mx(w.zone, "b.example", 30, "h1"); /* once is enough */
    dns_sim_zone_add_mx(w.zone, "c.example", 20, "h1");
    dns_sim_zone_add_mx(w.zone, "c.example", 10, "h2");
    (void)world_send_to(&w, (const char *const[]){"mx", NULL},
                        (const char *const[]){"user@a.example", NULL});
    world_run(&w);
    (void)world_send_to(&w, (const char *const[]){"mx", NULL},
                        (const char *const[]){"user@B.example", NULL});
    world_run(&w);
    ck_assert_uint_eq(w.peers[0].accepted, 1);
    ck_assert_uint_eq(w.peers[0].dots, 2);
    ck_assert_uint_eq(w.d->site_count, 1);
    (void)world_send_to(&w, (const char *const[]){"mx", NULL},
                        (const char *const[]){"user@c.example", NULL});
    world_run(&w);
    ck_assert_uint_eq(w.peers[1].dots, 1);
    world_close(&w);
}
END_TEST

START_TEST(test_equal_preferences_are_spread)
{
    world_open(&w, 5, NULL);
    fill_zone(&(struct mx_case){.mx = {"10 h1", "10 h2", "10 h3", "20 h4"}});
    for (int i = 0; i < 60; i++) {
        (void)world_send_to(&w, (const char *const[]){"mx", NULL},
                            (const char *const[]){"user@d.example", NULL});
        world_run(&w);
        world_run_ms(&w, 10000); /* the connection is not kept for so long */
    }
    for (int k = 0; k < 3; k++)
        ck_assert_uint_ge(w.peers[k].dots, 8);
    ck_assert_uint_eq(w.peers[3].dots, 0);
    world_close(&w);
}
END_TEST

START_TEST(test_many_hosts)
{
    char name[16];

    world_open(&w, 6, NULL);
    fill_zone(&(struct mx_case){.what = ""});
    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof(name), "n%d", i);
        dns_sim_zone_add_mx(w.zone, "d.example", (uint16_t)(100 - i), name);
    }
    dns_sim_zone_add_mx(w.zone, "d.example", 70, "h1");
    dns_sim_zone_add_mx(w.zone, "d.example", 5, "h2");
    dns_sim_zone_add_mx(w.zone, "d.example", 0, "");
    (void)world_send_to(&w, (const char *const[]){"mx", NULL},
                        (const char *const[]){"user@d.example", NULL});
    world_run(&w);
    ck_assert_uint_eq(w.peers[1].dots, 1);
    world_close(&w);
}
END_TEST

/* More questions than are asked at a time. */
START_TEST(test_many_lookups)
{
    char recipient[32];

    world_open(&w, 7, NULL);
    fill_zone(&(struct mx_case){.what = ""});
    for (unsigned i = 0; i < DELIVERY_LOOKUPS_MAX + 500; i++) {
        (void)snprintf(recipient, sizeof(recipient), "user@%u.example", i);
        (void)world_send_to(&w, (const char *const[]){"mx", NULL},
                            (const char *const[]){recipient, NULL});
        ck_assert_uint_le(w.d->lookups_running, DELIVERY_LOOKUPS_MAX);
    }
    ck_assert_uint_eq(w.d->counters.tasks_waiting, 500);
    world_run(&w);
    for (uint32_t i = 0; i < w.sent; i++)
        ck_assert_int_eq(w.results[i].status[0], DELIVERY_FAILED);
    world_close(&w);
}
END_TEST

Suite *remote_mx_suite(void)
{
    Suite *s = suite_create("remote_mx");
    TCase *tc = tcase_create("remote_mx");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_mx, 0, (int)ARRAY_LEN(cases));
    tcase_add_test(tc, test_one_site);
    tcase_add_test(tc, test_equal_preferences_are_spread);
    tcase_add_test(tc, test_many_hosts);
    tcase_add_test(tc, test_many_lookups);
    suite_add_tcase(s, tc);
    return s;
}
