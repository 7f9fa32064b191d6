/*
 * Many tasks in bad weather: whatever the order, the cuts and the faults, every task comes back once,
 * what is called delivered was taken by a peer, the limits hold, and nothing is left behind. And the
 * power may go at any time.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_mem.h"
#include "remote_world.h"

Suite *remote_weather_suite(void);

enum { SEEDS = 60, TASKS = 120 };

static struct world w;

static const char *const odd_replies[] = {
    "450 4.0.0 Later", "550 5.0.0 No", "421 4.3.2 Closing", "nonsense",
    PEER_STALL,        PEER_DROP,      PEER_RESET,
};

static const char *const destinations[] = {"10.0.1.1:25", "ten.example:25", "10.0.1.4:25", "mx"};

/* Peers of which some are well, some are odd at a stage, one is silent. */
static void make_peers(struct rand *r)
{
    char ip[16];

    for (int i = 1; i <= 4; i++) {
        struct peer *p;
        (void)snprintf(ip, sizeof(ip), "10.0.1.%d", i);
        dns_sim_zone_add_address(w.zone, "ten.example", ip);
        p = world_peer(&w, ip, 25);
        p->script.no_pipelining = rand_chance(r, 1, 4);
        p->script.sessions_max = rand_chance(r, 1, 4) ? 2 : 0;
        if (rand_chance(r, 1, 2))
            continue;
        p->script.at[rand_below(r, PEER_QUIT + 1)] =
            odd_replies[rand_below(r, ARRAY_LEN(odd_replies))];
        p->script.good_sessions = (unsigned)rand_below(r, 4);
        p->script.good_messages = (unsigned)rand_below(r, 3);
    }
    (void)world_dead_peer(&w, "10.0.1.5", 25);
    dns_sim_zone_add_address(w.zone, "ten.example", "10.0.1.5");
    dns_sim_zone_add_mx(w.zone, "example.org", 10, "ten.example");
}

static void make_world(uint64_t seed, struct rand *r)
{
    struct sim_options calm = sim_options_default(), options = sim_options_from_seed(seed);
    static char body[100000];

    /* The spool has tests of its own. */
    options.write_error = options.write_short = options.write_short_direct = 0;
    options.no_space = options.disk_bytes = 0;
    options.read_error = 0;
    options.fds_max = 0;
    world_open(&w, seed, &calm);
    w.routes[0].connections = rand_between(r, 1, 10);
    w.routes[0].messages_per_connection = rand_between(r, 1, 20);
    make_peers(r);
    memset(body, 'x', sizeof(body));
    if (rand_chance(r, 1, 3))
        world_set_body(&w, slice_of(body, 1 + rand_below(r, sizeof(body))));
    *sim_options(w.sim) = options;
}

static void send_some(struct rand *r, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        (void)world_send_to(
            &w,
            (const char *const[]){destinations[rand_below(r, ARRAY_LEN(destinations))],
                                  rand_chance(r, 1, 4) ? "10.0.1.2:25" : NULL, NULL},
            (const char *const[]){"a@example.org",
                                  rand_chance(r, 1, 3) ? "550-b@example.org" : NULL, NULL});
        if (rand_chance(r, 1, 10))
            world_run_ms(&w, rand_below(r, 3000));
    }
}

static void check_results(void)
{
    unsigned done = 0, dots = 0;

    for (uint32_t i = 0; i < w.sent; i++) {
        const struct world_result *r = world_result(&w, i);
        for (uint32_t k = 0; k < r->count; k++)
            ck_assert_int_ne(r->status[k], DELIVERY_PENDING);
        done += r->status[0] == DELIVERY_DONE;
    }
    for (unsigned i = 0; i < w.peer_count; i++)
        dots += w.peers[i].dots;
    ck_assert_uint_le(done, dots);
    ck_assert_uint_le(w.d->counters.connections, 2 * TASKS); /* each is paid for */
}

START_TEST(test_weather)
{
    struct rand r;

    rand_seed(&r, (uint64_t)_i);
    make_world((uint64_t)_i, &r);
    send_some(&r, TASKS);
    if (rand_chance(&r, 1, 3))
        delivery_stop(w.d, world_now_ms(&w) + rand_below(&r, 5000));
    world_run(&w);
    check_results();
    world_close(&w);
}
END_TEST

START_TEST(test_power_cut)
{
    struct rand r;

    rand_seed(&r, (uint64_t)_i);
    make_world((uint64_t)_i, &r);
    send_some(&r, (unsigned)rand_below(&r, TASKS));
    world_run_ms(&w, rand_below(&r, 2000));
    world_power_cut(&w);
}
END_TEST

Suite *remote_weather_suite(void)
{
    Suite *s = suite_create("remote_weather");
    TCase *tc = tcase_create("remote_weather");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_weather, 1, SEEDS + 1);
    tcase_add_loop_test(tc, test_power_cut, 1, SEEDS + 1);
    suite_add_tcase(s, tc);
    return s;
}
