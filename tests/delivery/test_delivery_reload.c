/* Another configuration while tasks wait, run, are on their way, and rest. */
#include <check.h>
#include <string.h>

#include "origin_world.h"
#include "remote_world.h"

Suite *delivery_reload_suite(void);

static struct world w;
static struct conf next;
static struct conf_route next_routes[WORLD_ROUTES];

/* The world's, and the next one, as another generation. Our shard has the first. */
static void open_world(uint64_t seed)
{
    world_open(&w, seed, NULL);
    memcpy(next_routes, w.routes, sizeof(next_routes));
    next = w.conf;
    next.refs = 1;
    next.routes = next_routes;
    next.generation = 1;
}

static void close_world(void)
{
    world_close(&w);
    ck_assert_uint_eq(next.refs, 1); /* ours */
}

static void reload(const struct conf *conf)
{
    delivery_reload(w.d, conf, w.client);
}

static void send_many(unsigned count, const char *to)
{
    for (unsigned i = 0; i < count; i++)
        (void)world_send(&w, to);
}

static unsigned count_status(enum delivery_status status)
{
    unsigned count = 0;

    for (uint32_t i = 0; i < w.sent; i++)
        count += w.results[i].done && w.results[i].status[0] == status;
    return count;
}

static void check_sent_home(uint32_t index)
{
    const struct world_result *r = world_result(&w, index);

    ck_assert_int_eq(r->status[0], DELIVERY_POSTPONED);
    ck_assert_uint_eq(r->postpone_ms, 0);
    ck_assert_str_eq(r->text, "the configuration has changed");
}

/* ---- what waits, what runs ---------------------------------------------------------------- */

START_TEST(waiting_tasks_are_routed_anew)
{
    struct peer *p;

    open_world(1);
    w.routes[0].connections = 1;
    p = world_peer(&w, "10.0.1.1", 25);
    send_many(20, "10.0.1.1:25");
    while (p->mails == 0)
        world_run_events(&w, 1);
    ck_assert_uint_eq(w.done, 0);
    reload(&next);
    ck_assert_uint_eq(w.done, 19); /* at once, and one is under way */
    for (uint32_t i = 1; i < 20; i++)
        check_sent_home(i);
    ck_assert_uint_eq(w.d->counters.tasks_waiting, 0);
    world_run(&w);
    ck_assert_int_eq(world_result(&w, 0)->status[0], DELIVERY_DONE);
    world_run_ms(&w, 1000);
    ck_assert_uint_eq(p->accepted, 1);
    ck_assert_uint_eq(p->mails, 1);
    ck_assert_uint_eq(p->quits, 1);
    ck_assert_uint_eq(w.d->site_count, 0);
    ck_assert_uint_eq(w.conf.refs, 1); /* nobody has the old one */
    close_world();
}
END_TEST

START_TEST(idle_connections_are_closed)
{
    static struct conf changed;
    struct peer *p;

    open_world(2);
    p = world_peer(&w, "10.0.1.1", 25);
    (void)world_send(&w, "10.0.1.1:25");
    world_run(&w);
    ck_assert_uint_eq(w.d->counters.connections_idle, 1);
    next.generation = 0; /* read again, and nothing has changed */
    reload(&next);
    w.origin_conf = &next;
    (void)world_send(&w, "10.0.1.1:25");
    world_run(&w);
    ck_assert_uint_eq(p->accepted, 1);
    ck_assert_uint_eq(w.d->counters.connections_idle, 1);
    changed = w.conf;
    changed.refs = 1;
    changed.generation = 1;
    reload(&changed);
    ck_assert_uint_eq(w.d->counters.connections_idle, 0);
    world_run_ms(&w, 1000);
    ck_assert_uint_eq(p->quits, 1);
    ck_assert_uint_eq(w.d->site_count, 0);
    ck_assert_uint_eq(next.refs, 1);
    close_world();
}
END_TEST

/* The new generation's site does not wait for the old one's transaction, and is another one. */
START_TEST(old_and_new_side_by_side)
{
    struct peer *p;

    open_world(3);
    w.routes[0].connections = 1;
    next_routes[0].connections = 1;
    p = world_peer(&w, "10.0.1.1", 25);
    p->script.at[PEER_DOT] = PEER_STALL;
    (void)world_send(&w, "10.0.1.1:25");
    while (p->dots == 0)
        world_run_events(&w, 1);
    reload(&next);
    w.origin_conf = &next;
    p->script.at[PEER_DOT] = NULL;
    send_many(3, "10.0.1.1:25");
    world_run_ms(&w, 2000);
    ck_assert_uint_eq(w.done, 3);
    ck_assert_uint_eq(w.d->site_count, 2);
    ck_assert_uint_eq(p->accepted, 2);
    ck_assert_uint_gt(w.conf.refs, 1);
    world_run(&w); /* its time for the final dot */
    ck_assert_int_eq(world_result(&w, 0)->status[0], DELIVERY_DEFERRED);
    world_run_ms(&w, 10000);
    ck_assert_uint_eq(w.d->site_count, 0);
    ck_assert_uint_eq(w.conf.refs, 1);
    close_world();
}
END_TEST

static const struct {
    enum peer_stage stage;
    bool cut;
} stalls[] = {{PEER_GREETING, true}, {PEER_MAIL, true}, {PEER_DATA, true}, {PEER_DOT, false}};

/* One reload after the other cannot pile connections up. One that is not greeted goes with the first. */
START_TEST(the_oldest_are_cut)
{
    struct conf many[DELIVERY_GENERATIONS + 1];
    struct peer *p;

    open_world(4);
    p = world_peer(&w, "10.0.1.1", 25);
    p->script.at[stalls[_i].stage] = PEER_STALL;
    (void)world_send(&w, "10.0.1.1:25");
    world_run_ms(&w, 3000);
    for (unsigned i = 0; i < ARRAY_LEN(many); i++) {
        many[i] = next;
        many[i].generation = i + 1;
        ck_assert_uint_eq(w.done, stalls[_i].stage == PEER_GREETING && i > 0);
        if (i + 1 == DELIVERY_GENERATIONS)
            break;
        reload(&many[i]);
        world_run_ms(&w, 10);
    }
    reload(&many[DELIVERY_GENERATIONS - 1]);
    world_run_ms(&w, 10);
    ck_assert_uint_eq(w.done, stalls[_i].cut);
    ck_assert_uint_eq(w.d->site_count, !stalls[_i].cut);
    if (stalls[_i].cut)
        ck_assert_int_eq(world_result(&w, 0)->status[0], DELIVERY_POSTPONED);
    world_run(&w);
    reload(&next);
    for (unsigned i = 0; i < DELIVERY_GENERATIONS; i++)
        ck_assert_uint_eq(many[i].refs, 1);
    close_world();
}
END_TEST

static const char *const before_up[] = {"10.0.1.1:25", "slow.example:25", "mx"};

/* Connecting, asking for addresses, asking for MX records. */
START_TEST(before_anything_is_up)
{
    open_world(5);
    (void)world_dead_peer(&w, "10.0.1.1", 25);
    dns_sim_zone_add_address(w.zone, "slow.example", "10.0.1.1");
    dns_sim_zone_add_mx(w.zone, "example.org", 10, "slow.example");
    send_many(3, before_up[_i]);
    if (_i == 0)
        world_run_ms(&w, 500);
    reload(&next);
    world_run_ms(&w, 1000); /* an answer is waited for */
    ck_assert_uint_eq(w.done, 3);
    for (uint32_t i = 0; i < 3; i++)
        check_sent_home(i);
    ck_assert_uint_eq(w.d->site_count, 0);
    ck_assert_uint_eq(w.conf.refs, 1);
    close_world();
}
END_TEST

/* What is known of a host's failure was known of the old route. */
START_TEST(a_site_that_rests_is_forgotten)
{
    open_world(6);
    world_no_peer(&w, "10.0.1.1");
    (void)world_send(&w, "10.0.1.1:25");
    world_run(&w);
    (void)world_send(&w, "10.0.1.1:25");
    world_run(&w);
    ck_assert_uint_eq(w.d->counters.connections, 1);
    world_run_ms(&w, 100); /* the connection is being closed */
    ck_assert_uint_eq(w.d->site_count, 1);
    reload(&next);
    ck_assert_uint_eq(w.d->site_count, 0);
    w.origin_conf = &next;
    (void)world_send(&w, "10.0.1.1:25");
    world_run(&w);
    ck_assert_uint_eq(w.d->counters.connections, 2);
    ck_assert_uint_eq(count_status(DELIVERY_DEFERRED), 3);
    close_world();
}
END_TEST

/* ---- shards that are not equally far ------------------------------------------------------ */

START_TEST(a_task_of_an_origin_that_is_behind)
{
    struct peer *p;

    open_world(7);
    p = world_peer(&w, "10.0.1.1", 25);
    reload(&next);
    send_many(2, "10.0.1.1:25");
    send_many(2, "mx");
    ck_assert_uint_eq(w.done, 4);
    for (uint32_t i = 0; i < 4; i++)
        check_sent_home(i);
    world_run_ms(&w, 1000);
    ck_assert_uint_eq(p->accepted, 0);
    close_world();
}
END_TEST

START_TEST(a_task_of_an_origin_that_is_ahead)
{
    struct peer *p;

    open_world(8);
    p = world_peer(&w, "10.0.1.1", 25);
    next_routes[0].messages_per_connection = 2;
    w.origin_conf = &next;
    (void)world_send(&w, "10.0.1.1:25");
    world_run(&w);
    reload(&next); /* it keeps its connection */
    ck_assert_uint_eq(w.d->counters.connections_idle, 1);
    (void)world_send(&w, "10.0.1.1:25");
    world_run(&w);
    world_run_ms(&w, 100);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 2);
    ck_assert_uint_eq(p->accepted, 1);
    ck_assert_uint_eq(p->quits, 1); /* the new route says so */
    close_world();
}
END_TEST

START_TEST(power_cut_between_generations)
{
    struct peer *p;

    open_world(9);
    p = world_peer(&w, "10.0.1.1", 25);
    p->script.at[PEER_DOT] = PEER_STALL;
    send_many(3, "10.0.1.1:25");
    world_run_ms(&w, 2000);
    reload(&next);
    w.origin_conf = &next;
    send_many(3, "10.0.1.1:25");
    world_run_ms(&w, 2000);
    world_power_cut(&w);
    ck_assert_uint_eq(next.refs, 1);
}
END_TEST

/* ---- the origin --------------------------------------------------------------------------- */

static struct origin_world o;
static struct conf_domain domains[ORIGIN_DOMAINS];

/* example.test goes (to "*", which is rejected), new.test comes. */
static void open_origin(void)
{
    origin_open(&o, 1, NULL);
    origin_start(&o);
    memcpy(domains, o.domains, sizeof(domains));
    domains[1].name = SLICE_LITERAL("new.test");
    next = o.conf;
    next.refs = 1;
    next.generation = 1;
    next.domains = domains;
}

START_TEST(domains_come_and_go)
{
    open_origin();
    (void)origin_submit_one(&o, "", "ann@new.test", "x\r\n");
    (void)origin_submit_one(&o, "", "ann@example.test", "x\r\n");
    origin_drain(&o);
    ck_assert_uint_eq(origin_files(&o, "/mail/new.test/ann/new"), 0);
    ck_assert_uint_eq(origin_files(&o, "/mail/example.test/ann/new"), 1);
    queue_set_conf(&o.queue, &next);
    delivery_reload(o.d, &next, NULL);
    ck_assert_uint_eq(o.conf.refs, 1);
    (void)origin_submit_one(&o, "", "ann@new.test", "x\r\n");
    (void)origin_submit_one(&o, "", "ann@example.test", "x\r\n");
    origin_drain(&o);
    ck_assert_uint_eq(origin_files(&o, "/mail/new.test/ann/new"), 1);
    ck_assert_uint_eq(origin_files(&o, "/mail/example.test/ann/new"), 1);
    ck_assert_uint_eq(o.d->counters.bounced, 2);
    origin_close(&o);
    ck_assert_uint_eq(next.refs, 1);
}
END_TEST

/* A mailbox that is being written when its domain goes is written to its end, in its place. */
START_TEST(mailboxes_that_are_being_written)
{
    enum { MANY = 10 };

    open_origin();
    for (unsigned i = 0; i < MANY; i++)
        ck_assert_uint_ne(origin_submit_one(&o, "", "ann+x@example.test", "x\r\n"), 0);
    for (int i = 0; i < _i; i++)
        origin_pass(&o);
    delivery_reload(o.d, &next, NULL);
    queue_set_conf(&o.queue, &next);
    origin_drain(&o);
    ck_assert_uint_eq(o.d->counters.delivered + o.d->counters.bounced, MANY);
    ck_assert_uint_eq(origin_files(&o, "/mail/example.test/ann/new"), o.d->counters.delivered);
    ck_assert_uint_eq(o.conf.refs, 1);
    origin_close(&o);
    ck_assert_uint_eq(next.refs, 1);
}
END_TEST

Suite *delivery_reload_suite(void)
{
    Suite *s = suite_create("delivery_reload");
    TCase *tc = tcase_create("delivery_reload");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, waiting_tasks_are_routed_anew);
    tcase_add_test(tc, idle_connections_are_closed);
    tcase_add_test(tc, old_and_new_side_by_side);
    tcase_add_loop_test(tc, the_oldest_are_cut, 0, (int)ARRAY_LEN(stalls));
    tcase_add_loop_test(tc, before_anything_is_up, 0, (int)ARRAY_LEN(before_up));
    tcase_add_test(tc, a_site_that_rests_is_forgotten);
    tcase_add_test(tc, a_task_of_an_origin_that_is_behind);
    tcase_add_test(tc, a_task_of_an_origin_that_is_ahead);
    tcase_add_test(tc, power_cut_between_generations);
    tcase_add_test(tc, domains_come_and_go);
    tcase_add_loop_test(tc, mailboxes_that_are_being_written, 0, 3);
    suite_add_tcase(s, tc);
    return s;
}
