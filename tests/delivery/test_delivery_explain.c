/* What would be done, in words and as JSON. */
#include <check.h>
#include <stdio.h>

#include "delivery_explain.h"
#include "remote_world.h"

Suite *delivery_explain_suite(void);

static struct world w;
static unsigned told;

static void explained(struct delivery_explain *x, void *context)
{
    ck_assert_ptr_eq(context, &w);
    ck_assert_ptr_nonnull(x);
    told++;
}

static const struct conf_destination by_mx[] = {{.kind = CONF_TO_MX}};
static const struct conf_destination smart[] = {
    {.kind = CONF_TO_SMTP, .host = SLICE_INIT("smart.test"), .port = 587},
    {.kind = CONF_TO_SMTP,
     .host = SLICE_INIT("10.0.1.2"),
     .host_is_ip = true,
     .ip = {{[10] = 0xff, [11] = 0xff, [12] = 10, [14] = 1, [15] = 2}},
     .port = 25},
};
static const struct conf_destination mailbox[] = {
    {.kind = CONF_TO_MAILDIR, .path = SLICE_INIT("/mail/%u")}};
static const struct conf_domain ours[] = {{.name = SLICE_INIT("ours.example"), .to = {mailbox, 1}}};

static void open_explained(uint64_t seed)
{
    told = 0;
    world_open(&w, seed, NULL);
    w.routes[0].pattern = SLICE_LITERAL("*");
    w.routes[0].to = (struct conf_destinations){by_mx, 1};
    w.routes[1].pattern = SLICE_LITERAL("smart.example");
    w.routes[1].to = (struct conf_destinations){smart, 2};
    w.conf.domains = ours;
    w.conf.domain_count = 1;
    dns_sim_zone_add_mx(w.zone, "d.example", 10, "h1");
    dns_sim_zone_add_mx(w.zone, "d.example", 20, "h2");
    dns_sim_zone_add_mx(w.zone, "d.example", 30, "gone");
    dns_sim_zone_add_address(w.zone, "h1", "10.0.1.1");
    dns_sim_zone_add_address(w.zone, "h2", "10.0.1.2");
    dns_sim_zone_add_address(w.zone, "smart.test", "10.0.1.1");
    dns_sim_zone_set_status(w.zone, "lame.example", DNS_TEMPORARY);
}

/* The sim's shard owns everything, whatever hash it has. */
static void look(struct delivery_explain *x)
{
    for (uint32_t i = 0; i < delivery_explain_site_count(x); i++) {
        struct delivery_explain_site *site = delivery_explain_site(x, i);
        ck_assert_uint_lt(site->shard, 2);
        site->shard = 0;
        delivery_explain_look(w.d, site);
    }
}

static void check_text(const char *sender, const char *address, const char *expected)
{
    struct delivery_explain *x =
        delivery_explain_begin(w.d, slice_str(sender), slice_str(address), explained, &w);
    struct buf text;

    ck_assert_uint_eq(told, 0); /* never at once */
    while (told == 0)
        world_run_ms(&w, 1);
    look(x);
    buf_init(&text, 0);
    delivery_explain_write(x, false, &text);
    (void)buf_append_byte(&text, '\0');
    ck_assert_str_eq((const char *)buf_slice(&text).data, expected);
    buf_clear(&text);
    delivery_explain_write(x, true, &text);
    ck_assert_uint_eq(buf_slice(&text).data[0], '{');
    buf_finish(&text);
    delivery_explain_end(x);
    world_run_ms(&w, 1000);
    ck_assert_uint_eq(told, 1);
    told = 0;
}

START_TEST(test_words)
{
    open_explained(1);
    check_text("a@b.example", "user@d.example",
               "user@d.example from <a@b.example>\n"
               "user@d.example\n"
               "  route \"*\": mx\n"
               "    site not in use\n"
               "    10 h1 (no TLS)\n"
               "      10.0.1.1\n"
               "    20 h2 (no TLS)\n"
               "      10.0.1.2\n"
               "    30 gone (no such host)\n");
    check_text("", "ann@ours.example",
               "ann@ours.example from <>\n"
               "ann@ours.example\n"
               "  domain \"ours.example\": maildir:/mail/%u\n");
    check_text("", "user@smart.example",
               "user@smart.example from <>\n"
               "user@smart.example\n"
               "  route \"smart.example\": smtp://smart.test:587, smtp://10.0.1.2:25\n"
               "    first smtp://smart.test:587\n"
               "    site not in use\n"
               "    smart.test port 587 (no TLS)\n"
               "      10.0.1.1\n"
               "    then smtp://10.0.1.2:25\n"
               "    site not in use\n"
               "    10.0.1.2 (no TLS)\n"
               "      10.0.1.2\n");
    check_text("", "user@lame.example",
               "user@lame.example from <>\n"
               "user@lame.example\n"
               "  route \"*\": mx\n"
               "    deferred: 4.4.3 Cannot look up the MX records of lame.example now\n");
    check_text("", "user@none.example",
               "user@none.example from <>\n"
               "user@none.example\n"
               "  route \"*\": mx\n"
               "    bounced: 5.1.2 Host or domain name not found\n");
    check_text("", "nonsense", "nonsense from <>\n  not an address\n");
    check_text("", "user@[10.0.1.1]",
               "user@[10.0.1.1] from <>\n"
               "user@[10.0.1.1]\n"
               "  route \"*\": mx\n"
               "    bounced: 5.1.2 Host or domain name not found\n");
    ck_assert_uint_eq(w.d->site_count, 0); /* nothing came of it */
    world_close(&w);
}
END_TEST

/* Dead addresses, connections and a lane; then the whole site is down. */
START_TEST(test_what_the_owner_knows)
{
    struct peer *p;
    struct delivery_explain *x;
    struct delivery_explain_site *site;

    open_explained(2);
    world_no_peer(&w, "10.0.1.1");
    p = world_peer(&w, "10.0.1.2", 25);
    (void)world_send_to(&w, (const char *const[]){"mx", NULL},
                        (const char *const[]){"user@d.example", NULL});
    world_run(&w);
    x = delivery_explain_begin(w.d, SLICE_NULL, slice_str("user@d.example"), explained, &w);
    while (told == 0)
        world_run_ms(&w, 1);
    ck_assert_uint_eq(delivery_explain_site_count(x), 1);
    site = delivery_explain_site(x, 0);
    look(x);
    ck_assert_int_eq(site->state, DELIVERY_EXPLAIN_UP);
    ck_assert_uint_eq(site->connections, 1);
    ck_assert_uint_eq(site->idle, 1);
    ck_assert_uint_eq(site->dead_count, 1);
    ck_assert_uint_gt(site->dead[0].ms, DELIVERY_DEAD_MS - 10000);
    delivery_explain_end(x);

    world_run_ms(&w, 10000);
    p->script.at[PEER_GREETING] = "421 4.3.2 Closed";
    (void)world_send_to(&w, (const char *const[]){"mx", NULL},
                        (const char *const[]){"user@d.example", NULL});
    world_run(&w);
    told = 0;
    x = delivery_explain_begin(w.d, SLICE_NULL, slice_str("user@d.example"), explained, &w);
    while (told == 0)
        world_run_ms(&w, 1);
    look(x);
    site = delivery_explain_site(x, 0);
    ck_assert_int_eq(site->state, DELIVERY_EXPLAIN_DOWN);
    ck_assert_uint_gt(site->down_ms, 0);
    ck_assert_uint_gt(strlen(site->reason), 0);
    ck_assert_uint_eq(site->dead_count, 2);
    delivery_explain_end(x);
    world_close(&w);
}
END_TEST

/* It may be ended while questions are open, and delivery may stop before they are answered. */
START_TEST(test_ends_early)
{
    struct delivery_explain *x;
    struct buf text;

    open_explained(3);
    x = delivery_explain_begin(w.d, SLICE_NULL, slice_str("user@d.example"), explained, &w);
    delivery_explain_end(x);
    world_run_ms(&w, 100);
    ck_assert_uint_eq(told, 0);

    x = delivery_explain_begin(w.d, SLICE_NULL, slice_str("user@d.example"), explained, &w);
    delivery_stop(w.d, io_now_ms(w.io) + 600000);
    world_run_ms(&w, 100);
    ck_assert_uint_eq(told, 1);
    buf_init(&text, 0);
    delivery_explain_write(x, false, &text);
    (void)buf_append_byte(&text, '\0');
    ck_assert_ptr_nonnull(strstr((const char *)text.data, "not asked: shutting down"));
    buf_finish(&text);
    delivery_explain_end(x);

    x = delivery_explain_begin(w.d, SLICE_NULL, slice_str("user@d.example"), explained, &w);
    world_run_ms(&w, 100);
    ck_assert_uint_eq(told, 2);
    delivery_explain_end(x);
    world_close(&w);
}
END_TEST

START_TEST(test_json)
{
    struct delivery_explain *x;
    struct buf text;

    open_explained(4);
    x = delivery_explain_begin(w.d, slice_str("a\"b@c.example"), slice_str("user@smart.example"),
                               explained, &w);
    while (told == 0)
        world_run_ms(&w, 1);
    buf_init(&text, 0);
    delivery_explain_write(x, true, &text);
    (void)buf_append_byte(&text, '\0');
    ck_assert_str_eq(
        (const char *)buf_slice(&text).data,
        "{\"address\":\"user@smart.example\",\"sender\":\"a\\\"b@c.example\","
        "\"known\":\"elsewhere\",\"alias\":\"\",\"problem\":null,\"targets\":1,\"dropped\":0,"
        "\"stopped\":false,\"recipients\":[{\"address\":\"user@smart.example\","
        "\"rule\":\"route \\\"smart.example\\\": smtp://smart.test:587, smtp://10.0.1.2:25\","
        "\"destinations\":[{\"to\":\"smtp://smart.test:587\",\"site\":{\"state\":\"unused\","
        "\"down_ms\":0,\"reason\":null,\"shard\":0,\"waiting\":0,\"connections\":0,\"idle\":0,"
        "\"attempts\":0},\"hosts\":[{\"name\":\"smart.test\",\"preference\":0,\"port\":587,"
        "\"tls\":\"no TLS\",\"problem\":null,\"addresses\":[{\"ip\":\"10.0.1.1\",\"dead_ms\":0}]}]},"
        "{\"to\":\"smtp://10.0.1.2:25\",\"site\":{\"state\":\"unused\",\"down_ms\":0,"
        "\"reason\":null,\"shard\":0,\"waiting\":0,\"connections\":0,\"idle\":0,\"attempts\":0},"
        "\"hosts\":[{\"name\":\"10.0.1.2\",\"preference\":0,\"port\":25,\"tls\":\"no TLS\","
        "\"problem\":null,\"addresses\":[{\"ip\":\"10.0.1.2\",\"dead_ms\":0}]}]}]}]}\n");
    buf_finish(&text);
    delivery_explain_end(x);
    world_close(&w);
}
END_TEST

Suite *delivery_explain_suite(void)
{
    Suite *s = suite_create("delivery_explain");
    TCase *tc = tcase_create("delivery_explain");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, test_words);
    tcase_add_test(tc, test_what_the_owner_knows);
    tcase_add_test(tc, test_ends_early);
    tcase_add_test(tc, test_json);
    suite_add_tcase(s, tc);
    return s;
}
