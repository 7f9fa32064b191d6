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
    /* By our address, whatever the name. */
    {.what = "we are the best, under another name",
     .mx = {"10 we", "20 h1"},
     .status = DELIVERY_FAILED,
     .subject = 4,
     .detail = 6},
    {.what = "we are among the best, under another name",
     .mx = {"10 h1", "10 we", "20 h2"},
     .status = DELIVERY_FAILED,
     .subject = 4,
     .detail = 6},
    {.what = "one of its addresses is ours",
     .mx = {"10 we-and-more", "20 h2"},
     .status = DELIVERY_FAILED,
     .subject = 4,
     .detail = 6},
    {.what = "our address in place of a name",
     .mx = {"10 10.0.0.1", "20 h2"},
     .status = DELIVERY_FAILED,
     .subject = 4,
     .detail = 6},
    {.what = "we are second, under another name", .mx = {"20 we", "10 h1", "30 h3"}, .server = 1},
    {.what = "never to those behind us, under another name",
     .mx = {"10 down", "20 we", "30 h3"},
     .status = DELIVERY_DEFERRED,
     .subject = 4,
     .detail = 1},
    {.what = "those before us may still have an address",
     .mx = {"10 lame", "20 we", "30 h3"},
     .status = DELIVERY_DEFERRED,
     .subject = 4,
     .detail = 3},
    {.what = "we are the domain, by its address",
     .domain = "we",
     .status = DELIVERY_FAILED,
     .subject = 4,
     .detail = 6},
    {.what = "where we listen at another port only", .mx = {"10 10.0.0.9", "20 h2"}, .server = 2},
    {.what = "another name of us",
     .mx = {"10 called-us", "20 h2"},
     .status = DELIVERY_FAILED,
     .subject = 4,
     .detail = 6},
    {.what = "another name of a host", .mx = {"10 called-h2", "20 h3"}, .server = 2},
    {.what = "another name of the domain",
     .mx = {"10 h2"},
     .domain = "called-d.example",
     .server = 2},
    {.what = "names in a circle", .mx = {"10 circle1", "20 h2"}, .server = 2},
    {.what = "an address for a host", .mx = {"10 10.0.1.1"}, .server = 1},
    {.what = "the null address", .mx = {"10 zero", "20 h2"}, .server = 2},
};

/* What is ours: 10.0.0.1:25, and all addresses at port 2525. */
static const struct conf_address here[] = {
    {.ip = {{[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1}}, .port = 25},
    {.ip = {{[10] = 0xff, [11] = 0xff}}, .port = 2525},
    {.ip = {{0}}, .port = 2525},
};
static const struct conf_listener listener = {.address = {here, ARRAY_LEN(here)}};
static struct ip_addr own[2]; /* 10.0.0.9, 2001:db8::9 */

static void open_with_listener(uint64_t seed)
{
    world_open(&w, seed, NULL);
    w.conf.listeners = &listener;
    w.conf.listener_count = 1;
    ck_assert(ip_parse(slice_str("10.0.0.9"), &own[0]));
    ck_assert(ip_parse(slice_str("2001:db8::9"), &own[1]));
    w.d->o.own = own;
    w.d->o.own_count = ARRAY_LEN(own);
}

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
    dns_sim_zone_add_address(w.zone, "we", "10.0.0.1");
    dns_sim_zone_add_address(w.zone, "we-and-more", "10.0.1.1");
    dns_sim_zone_add_address(w.zone, "we-and-more", "10.0.0.1");
    dns_sim_zone_add_alias(w.zone, "called-us", "mx.ours.example");
    dns_sim_zone_add_alias(w.zone, "called-h2", "h2");
    dns_sim_zone_add_alias(w.zone, "called-d.example", "d.example");
    dns_sim_zone_add_alias(w.zone, "circle1", "circle2");
    dns_sim_zone_add_alias(w.zone, "circle2", "circle1");
    dns_sim_zone_set_status(w.zone, "void", DNS_OK);
    dns_sim_zone_set_status(w.zone, "lame", DNS_TEMPORARY);
    dns_sim_zone_add_address(w.zone, "mx.ours.example",
                             "192.0.2.25"); /* that of a gateway before us */
    for (int i = 0; i < 4 && c->mx[i] != NULL; i++)
        dns_sim_zone_add_mx(w.zone, "d.example", (uint16_t)strtoul(c->mx[i], NULL, 10),
                            strchr(c->mx[i], ' ') + 1);
}

static void check_case(const struct mx_case *c, uint64_t seed)
{
    const struct world_result *r;
    char recipient[64];
    uint32_t i;

    open_with_listener(seed);
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

/* A fixed host that is ourselves: our configuration may be put right, so mail waits; and another destination is
 * tried. */
START_TEST(test_host_is_ourselves)
{
    static const char *const ways[] = {"we:25",          "10.0.0.1:25",      "10.0.0.9:2525",
                                       "127.0.0.1:2525", "2001:db8::9:2525", "::1:2525",
                                       "127.9.9.9:2525"};
    const struct world_result *r;
    uint32_t i;

    open_with_listener(8);
    fill_zone(&(struct mx_case){.what = ""});
    for (size_t k = 0; k < ARRAY_LEN(ways); k++) {
        i = world_send_to(&w, (const char *const[]){ways[k], NULL},
                          (const char *const[]){"user@d.example", NULL});
        world_run(&w);
        r = world_result(&w, i);
        ck_assert_msg(r->status[0] == DELIVERY_DEFERRED && r->enhanced[0][0] == 4
                          && r->enhanced[0][1] == 4 && r->enhanced[0][2] == 6
                          && strstr(r->text, " is this server itself: ") != NULL,
                      "%s: %u %s", ways[k], r->status[0], r->text);
        i = world_send_to(&w, (const char *const[]){ways[k], "10.0.1.1:25", NULL},
                          (const char *const[]){"user@d.example", NULL});
        world_run(&w);
        ck_assert_int_eq(world_result(&w, i)->status[0], DELIVERY_DONE);
    }
    ck_assert_uint_eq(w.d->counters.connections_failed, 0);
    world_close(&w);
}
END_TEST

/* ---- families ------------------------------------------------------------------------------- */

static const struct family_case {
    enum conf_family family;
    const char *host; /* both (down or up), four, six, split */
    bool four_down, six_down;
    unsigned server; /* 1: by IPv4, 2: by IPv6, 0: none */
    const char *text;
} families[] = {
    {CONF_FAMILY_IPV4, "both", false, false, 1, NULL},
    {CONF_FAMILY_IPV6, "both", false, false, 2, NULL},
    {CONF_FAMILY_PREFER_IPV4, "both", false, false, 1, NULL},
    {CONF_FAMILY_PREFER_IPV6, "both", false, false, 2, NULL},
    {CONF_FAMILY_PREFER_IPV4, "both", true, false, 2, NULL},
    {CONF_FAMILY_PREFER_IPV6, "both", false, true, 1, NULL},
    {CONF_FAMILY_ANY, "both", true, false, 2, NULL},
    {CONF_FAMILY_ANY, "both", false, true, 1, NULL},
    {CONF_FAMILY_ANY, "four", false, false, 1, NULL},
    {CONF_FAMILY_ANY, "six", false, false, 2, NULL},
    {CONF_FAMILY_PREFER_IPV4, "six", false, false, 2, NULL},
    {CONF_FAMILY_PREFER_IPV6, "four", false, false, 1, NULL},
    {CONF_FAMILY_IPV6, "both", false, true, 0, NULL},
    {CONF_FAMILY_IPV4, "both", true, false, 0, NULL},
    {CONF_FAMILY_IPV6, "four", false, false, 0,
     "No IPv6 address for the host four, and no other is allowed"},
    {CONF_FAMILY_IPV4, "six", false, false, 0,
     "No IPv4 address for the host six, and no other is allowed"},
    /* A host of each, of one preference: the family decides, then the next host. */
    {CONF_FAMILY_PREFER_IPV6, "split", false, false, 2, NULL},
    {CONF_FAMILY_PREFER_IPV4, "split", false, false, 1, NULL},
    {CONF_FAMILY_IPV4, "split", false, false, 1, NULL},
    {CONF_FAMILY_IPV6, "split", false, false, 2, NULL},
    {CONF_FAMILY_PREFER_IPV6, "split", false, true, 1, NULL},
    {CONF_FAMILY_IPV6, "none-split", false, false, 0,
     "No IPv6 address for the host four nor for any other MX host, and no other is allowed"},
    /* The preference of the MX records comes before that of the route. */
    {CONF_FAMILY_PREFER_IPV6, "four-first", false, false, 1, NULL},
};

static void open_families(const struct family_case *c, uint64_t seed)
{
    open_with_listener(seed);
    w.routes[0].family = c->family;
    if (c->four_down)
        world_no_peer(&w, "10.0.1.1");
    else
        (void)world_peer(&w, "10.0.1.1", 25);
    if (c->six_down)
        world_no_peer(&w, "2001:db8::1");
    else
        (void)world_peer(&w, "2001:db8::1", 25);
    dns_sim_zone_add_address(w.zone, "both", "10.0.1.1");
    dns_sim_zone_add_address(w.zone, "both", "2001:db8::1");
    dns_sim_zone_add_address(w.zone, "four", "10.0.1.1");
    dns_sim_zone_add_address(w.zone, "six", "2001:db8::1");
    dns_sim_zone_add_mx(w.zone, "split", 10, "four");
    dns_sim_zone_add_mx(w.zone, "split", 10, "six");
    dns_sim_zone_add_mx(w.zone, "none-split", 10, "four");
    dns_sim_zone_add_mx(w.zone, "none-split", 20, "none");
    dns_sim_zone_add_mx(w.zone, "four-first", 10, "four");
    dns_sim_zone_add_mx(w.zone, "four-first", 20, "six");
}

START_TEST(test_family)
{
    const struct family_case *c = &families[_i];
    char recipient[64];
    uint32_t i;

    for (uint64_t seed = 1; seed <= 4; seed++) {
        open_families(c, seed);
        (void)snprintf(recipient, sizeof(recipient), "user@%s", c->host);
        i = world_send_to(&w, (const char *const[]){"mx", NULL},
                          (const char *const[]){recipient, NULL});
        world_run(&w);
        ck_assert_msg(world_result(&w, i)->status[0]
                          == (c->server > 0 ? DELIVERY_DONE : DELIVERY_DEFERRED),
                      "%d %s: %s", (int)c->family, c->host, world_result(&w, i)->text);
        ck_assert_uint_eq(w.peers[0].dots, c->server == 1);
        ck_assert_uint_eq(w.peers[1].dots, c->server == 2);
        if (c->text != NULL)
            ck_assert_str_eq(world_result(&w, i)->text, c->text);
        world_close(&w);
    }
}
END_TEST

/* Without a preference both are used. */
START_TEST(test_families_are_spread)
{
    open_families(&(struct family_case){.family = CONF_FAMILY_ANY}, 9);
    for (int i = 0; i < 40; i++) {
        (void)world_send_to(&w, (const char *const[]){"mx", NULL},
                            (const char *const[]){"user@both", NULL});
        world_run(&w);
        world_run_ms(&w, 10000); /* the connection is not kept for so long */
    }
    ck_assert_uint_ge(w.peers[0].dots, 8);
    ck_assert_uint_ge(w.peers[1].dots, 8);
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
    tcase_add_test(tc, test_host_is_ourselves);
    tcase_add_loop_test(tc, test_family, 0, (int)ARRAY_LEN(families));
    tcase_add_test(tc, test_families_are_spread);
    tcase_add_test(tc, test_equal_preferences_are_spread);
    tcase_add_test(tc, test_many_hosts);
    tcase_add_test(tc, test_many_lookups);
    suite_add_tcase(s, tc);
    return s;
}
