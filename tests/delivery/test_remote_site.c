/* A site: limits, reuse, careful connecting, back-off, other addresses and destinations, stopping. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_mem.h"
#include "remote_world.h"

Suite *remote_site_suite(void);

static struct world w;

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

/* ---- reuse and limits --------------------------------------------------------------------- */

START_TEST(test_reuses_an_idle_connection)
{
    struct peer *p;

    world_open(&w, 1, NULL);
    p = world_peer(&w, "10.0.1.1", 25);
    for (int i = 0; i < 10; i++) {
        (void)world_send(&w, "10.0.1.1:25");
        world_run(&w);
        world_run_ms(&w, 2000);
        ck_assert_uint_eq(w.d->counters.connections_idle, 1);
    }
    ck_assert_uint_eq(p->accepted, 1);
    ck_assert_uint_eq(w.d->counters.connections_reused, 9);
    ck_assert_uint_eq(p->quits, 0);
    world_run_ms(&w, 6000); /* timeout.idle */
    ck_assert_uint_eq(p->quits, 1);
    ck_assert_uint_eq(p->open, 0);
    ck_assert_uint_eq(w.d->site_count, 0);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 10);
    world_close(&w);
}
END_TEST

START_TEST(test_connection_limit)
{
    struct peer *p;

    world_open(&w, 2, NULL);
    w.routes[0].connections = 3;
    p = world_peer(&w, "10.0.1.1", 25);
    send_many(60, "10.0.1.1:25");
    world_run(&w);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 60);
    ck_assert_uint_eq(p->accepted, 3);
    ck_assert_uint_eq(p->open_peak, 3);
    world_close(&w);
}
END_TEST

START_TEST(test_no_more_connections_than_tasks)
{
    struct peer *p;

    world_open(&w, 3, NULL);
    p = world_peer(&w, "10.0.1.1", 25);
    send_many(4, "10.0.1.1:25");
    world_run(&w);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 4);
    ck_assert_uint_le(p->accepted, 4);
    world_close(&w);
}
END_TEST

START_TEST(test_messages_per_connection)
{
    struct peer *p;

    world_open(&w, 4, NULL);
    w.routes[0].connections = 1;
    w.routes[0].messages_per_connection = 3;
    p = world_peer(&w, "10.0.1.1", 25);
    send_many(10, "10.0.1.1:25");
    world_run(&w);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 10);
    ck_assert_uint_eq(p->accepted, 4);
    ck_assert_uint_eq(p->transactions_peak, 3);
    ck_assert_uint_le(p->open_peak, 2); /* it sees us close a little later than we do */
    world_close(&w);
}
END_TEST

static const struct {
    uint64_t per_minute;
    unsigned tasks;
    uint64_t at_least_ms, at_most_ms;
} rates[] = {
    {60, 11, 10000, 11500},
    {6000, 200, 1000, 2000}, /* a second's worth leaves at once */
    {1, 3, 120000, 125000},
};

START_TEST(test_rate)
{
    uint64_t begin_ms, took_ms;

    world_open(&w, 5, NULL);
    w.routes[0].messages_per_minute = rates[_i].per_minute;
    (void)world_peer(&w, "10.0.1.1", 25);
    begin_ms = world_now_ms(&w);
    send_many(rates[_i].tasks, "10.0.1.1:25");
    world_run(&w);
    took_ms = world_now_ms(&w) - begin_ms;
    ck_assert_uint_eq(count_status(DELIVERY_DONE), rates[_i].tasks);
    ck_assert_msg(took_ms >= rates[_i].at_least_ms && took_ms <= rates[_i].at_most_ms, "%u ms",
                  (unsigned)took_ms);
    world_close(&w);
}
END_TEST

/* ---- a site that refuses ------------------------------------------------------------------ */

static const struct {
    const char *what, *text;
    uint64_t at_most_ms;
} unreachables[] = {
    {"10.0.1.1:25", "connect to 10.0.1.1[10.0.1.1]:25: Connection refused", 1000},
    {"10.0.9.9:25", "connect to 10.0.9.9[10.0.9.9]:25: No route to host", 1000},
    {"10.0.1.2:25", "connect to 10.0.1.2[10.0.1.2]:25: Connection timed out", 35000},
    {"nowhere.example:25", "No address for the host nowhere.example", 1000},
    {"lame.example:25", "Cannot look up the address of lame.example now", 1000},
};

START_TEST(test_unreachable)
{
    const struct world_result *r;
    uint64_t begin_ms;

    world_open(&w, 8, NULL);
    world_no_peer(&w, "10.0.1.1");
    (void)world_dead_peer(&w, "10.0.1.2", 25);
    dns_sim_zone_set_status(w.zone, "lame.example", DNS_TEMPORARY);
    begin_ms = world_now_ms(&w);
    send_many(2, unreachables[_i].what);
    world_run(&w);
    r = world_result(&w, 1);
    ck_assert_int_eq(r->status[0], DELIVERY_DEFERRED);
    ck_assert_str_eq(r->text, unreachables[_i].text);
    ck_assert_int_eq(r->enhanced[0][0], 4);
    ck_assert_int_eq(r->enhanced[0][1], 4);
    ck_assert_uint_le(world_now_ms(&w) - begin_ms, unreachables[_i].at_most_ms);
    ck_assert_uint_le(w.d->counters.connections, 2);
    world_close(&w);
}
END_TEST

START_TEST(test_short_retry_interval)
{
    world_open(&w, 9, NULL);
    w.interval_ms = 2000;
    world_no_peer(&w, "10.0.1.1");
    (void)world_send(&w, "10.0.1.1:25");
    world_run(&w);
    (void)world_send(&w, "10.0.1.1:25");
    ck_assert_uint_eq(w.done, 2);
    ck_assert_uint_eq(w.d->counters.connections, 1);
    world_run_ms(&w, 2100);
    (void)world_send(&w, "10.0.1.1:25");
    world_run(&w);
    ck_assert_uint_eq(w.d->counters.connections, 2);
    world_close(&w);
}
END_TEST

/* Sessions that begin well and break with the first message. */
START_TEST(test_sessions_that_break)
{
    struct peer *p;

    world_open(&w, 10, NULL);
    p = world_peer(&w, "10.0.1.1", 25);
    p->script.at[PEER_MAIL] = PEER_DROP;
    send_many(100, "10.0.1.1:25"); /* the lane has room for them all */
    world_run(&w);
    ck_assert_uint_eq(count_status(DELIVERY_DEFERRED), 100);
    ck_assert_msg(p->accepted >= DELIVERY_LOST_MAX && p->accepted <= 30, "%u", p->accepted);
    ck_assert_ptr_nonnull(strstr(w.results[99].text, "connection lost"));
    world_close(&w);
}
END_TEST

/* A server that takes few connections at a time, and says so to the others. */
START_TEST(test_server_limit)
{
    struct peer *p;

    world_open(&w, 11, NULL);
    p = world_peer(&w, "10.0.1.1", 25);
    p->script.sessions_max = 2;
    send_many(200, "10.0.1.1:25");
    world_run(&w);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 200);
    ck_assert_msg(p->accepted <= 40, "%u connections", p->accepted);
    world_close(&w);
}
END_TEST

/* ---- connections that went stale ---------------------------------------------------------- */

static const struct {
    const char *reply; /* to the second message's MAIL, in sessions up to `sessions` */
    enum delivery_status status;
    unsigned accepted;
} stales[] = {
    {PEER_DROP, DELIVERY_DONE, 2},
    {PEER_RESET, DELIVERY_DONE, 2},
    {PEER_STALL, DELIVERY_DONE, 2},
    {"421 4.7.0 Too many messages", DELIVERY_DONE, 2},
    {"450 4.7.1 Later", DELIVERY_DEFERRED, 1}, /* this is about the message */
};

/* One session hangs at its final dot, and the server lets in no other: every now and then one connection asks
 * for all that wait, not one for each. */
START_TEST(test_server_limit_and_a_stall)
{
    struct peer *p;

    world_open(&w, 11, NULL);
    p = world_peer(&w, "10.0.1.1", 25);
    p->script.sessions_max = 1;
    p->script.at[PEER_DOT] = PEER_STALL;
    send_many(20, "10.0.1.1:25");
    world_run_ms(&w, 5 * 60000);
    /* One for each task at the beginning, then one each DELIVERY_GROW_PAUSE_MS. */
    ck_assert_msg(p->accepted > 30 && p->accepted <= 42, "%u connections", p->accepted);
    world_run(&w);
    world_close(&w);
}
END_TEST

START_TEST(test_stale)
{
    struct peer *p;
    uint32_t i;

    world_open(&w, 12, NULL);
    w.routes[0].timeout.idle = 60000;
    p = world_peer(&w, "10.0.1.1", 25);
    p->script.at[PEER_MAIL] = stales[_i].reply;
    p->script.good_messages = 1;
    (void)world_send(&w, "10.0.1.1:25");
    world_run(&w);
    i = world_send(&w, "10.0.1.1:25");
    world_run(&w);
    ck_assert_int_eq(world_result(&w, i)->status[0], stales[_i].status);
    ck_assert_uint_eq(p->accepted, stales[_i].accepted);
    world_close(&w);
}
END_TEST

/* The fresh connection fails too: that counts. */
START_TEST(test_stale_twice)
{
    struct peer *p;
    uint32_t i;

    world_open(&w, 13, NULL);
    p = world_peer(&w, "10.0.1.1", 25);
    (void)world_send(&w, "10.0.1.1:25");
    world_run(&w);
    p->script.at[PEER_MAIL] = PEER_DROP;
    i = world_send(&w, "10.0.1.1:25");
    ck_assert_uint_eq(p->accepted, 1);
    world_run(&w);
    ck_assert_int_eq(world_result(&w, i)->status[0], DELIVERY_DEFERRED);
    ck_assert_uint_eq(p->accepted, 2);
    world_close(&w);
}
END_TEST

/* Put back once: who takes it next may be a connection that is about to end likewise. */
START_TEST(test_stale_again_and_again)
{
    struct peer *p;

    world_open(&w, 26, NULL);
    w.routes[0].connections = 4;
    p = world_peer(&w, "10.0.1.1", 25);
    p->script.at[PEER_MAIL] = PEER_DROP;
    p->script.good_messages = 1;
    send_many(60, "10.0.1.1:25");
    world_run(&w);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), p->dots);
    ck_assert_uint_gt(count_status(DELIVERY_DEFERRED), 0);
    ck_assert_uint_eq(count_status(DELIVERY_DONE) + count_status(DELIVERY_DEFERRED), 60);
    world_close(&w);
}
END_TEST

START_TEST(test_peer_closes_an_idle_connection)
{
    struct peer *p;

    world_open(&w, 14, NULL);
    w.routes[0].timeout.idle = 60000;
    p = world_peer(&w, "10.0.1.1", 25);
    (void)world_send(&w, "10.0.1.1:25");
    world_run(&w);
    world_run_ms(&w, 100);
    ck_assert_uint_eq(w.d->counters.connections_idle, 1);
    peer_kick(p);
    world_run_ms(&w, 100);
    ck_assert_uint_eq(w.d->counters.connections_idle, 0);
    ck_assert_uint_eq(w.d->counters.connections_open, 0);
    (void)world_send(&w, "10.0.1.1:25");
    world_run(&w);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 2);
    ck_assert_uint_eq(p->accepted, 2);
    world_close(&w);
}
END_TEST

/* ---- other addresses, other destinations -------------------------------------------------- */

/* Six addresses answer nothing; the seventh, which comes last, does. */
static struct peer *open_race(uint16_t last_preference, uint64_t seed)
{
    char ip[16], host[8];

    world_open(&w, seed, NULL);
    for (int i = 1; i <= 7; i++) {
        (void)snprintf(ip, sizeof(ip), "10.0.1.%d", i);
        (void)snprintf(host, sizeof(host), "h%d", i);
        dns_sim_zone_add_address(w.zone, host, ip);
        dns_sim_zone_add_mx(w.zone, "example.org", i < 7 ? 10 : last_preference, host);
        if (i < 7)
            (void)world_dead_peer(&w, ip, 25);
    }
    return world_peer(&w, ip, 25);
}

/* 10.0.1.1, then 10.0.1.2. */
static void add_two_hosts(void)
{
    dns_sim_zone_add_address(w.zone, "h1", "10.0.1.1");
    dns_sim_zone_add_address(w.zone, "h2", "10.0.1.2");
    dns_sim_zone_add_mx(w.zone, "example.org", 10, "h1");
    dns_sim_zone_add_mx(w.zone, "example.org", 20, "h2");
}

static void send_by_mx(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        (void)world_send_to(&w, (const char *const[]){"mx", NULL},
                            (const char *const[]){"user@example.org", NULL});
}

START_TEST(test_race)
{
    struct peer *good = open_race(20, 15);
    uint64_t begin_ms = world_now_ms(&w);

    send_by_mx(1);
    world_run(&w);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 1);
    ck_assert_uint_le(world_now_ms(&w) - begin_ms,
                      2 * DELIVERY_RACE_CONNECT_MS + 3 * DELIVERY_RACE_LEAST_MS + 500);
    ck_assert_uint_eq(w.d->counters.connections, 7);
    world_run_ms(&w, 100);
    ck_assert_uint_eq(w.d->counters.connections_open, 1); /* the losers are cut */
    /* What is known to be dead is not waited for again. */
    world_run_ms(&w, 10000);
    begin_ms = world_now_ms(&w);
    send_by_mx(1);
    world_run(&w);
    ck_assert_uint_le(world_now_ms(&w) - begin_ms, 1000);
    ck_assert_uint_eq(w.d->counters.connections, 8);
    ck_assert_uint_eq(good->accepted, 2);
    world_close(&w);
}
END_TEST

/* In whatever order they come, and when many wait: two attempts at a time, so half of that. */
START_TEST(test_race_among_equals)
{
    struct peer *good = open_race(10, 100 + (uint64_t)_i);
    uint64_t begin_ms = world_now_ms(&w);

    send_by_mx(20);
    world_run(&w);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 20);
    ck_assert_uint_le(world_now_ms(&w) - begin_ms,
                      2 * DELIVERY_RACE_CONNECT_MS + 3 * DELIVERY_RACE_LEAST_MS + 500);
    ck_assert_uint_eq(good->dots, 20);
    world_close(&w);
}
END_TEST

/* A greeting that comes late on purpose is no reason to go elsewhere. */
START_TEST(test_late_greeting)
{
    struct peer *late, *other;

    world_open(&w, 16, NULL);
    add_two_hosts();
    late = world_peer(&w, "10.0.1.1", 25);
    late->script.greet_after_ms = 6000;
    other = world_peer(&w, "10.0.1.2", 25);
    send_by_mx(1);
    world_run(&w);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 1);
    ck_assert_uint_eq(late->accepted, 1);
    ck_assert_uint_eq(other->accepted, 0);
    world_close(&w);
}
END_TEST

START_TEST(test_race_keeps_to_one_connection)
{
    struct peer *a, *b;

    world_open(&w, 17, NULL);
    w.routes[0].connections = 1;
    add_two_hosts();
    a = world_peer(&w, "10.0.1.1", 25);
    a->script.greet_after_ms = 60000;
    b = world_peer(&w, "10.0.1.2", 25);
    send_by_mx(5);
    world_run(&w);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 5);
    ck_assert_uint_eq(a->accepted + b->accepted, 1);
    world_close(&w);
}
END_TEST

/* It answers at last, when another has been connected: one too many. */
START_TEST(test_race_ends_with_the_limit)
{
    struct peer *late, *taken;

    world_open(&w, 24, NULL);
    w.routes[0].connections = 1;
    add_two_hosts();
    late = world_dead_peer(&w, "10.0.1.1", 25);
    taken = world_peer(&w, "10.0.1.2", 25);
    taken->script.greet_after_ms = 20000;
    send_by_mx(1);
    world_run_ms(&w, 2000);
    ck_assert_uint_eq(taken->open, 1);
    peer_wake(late);
    world_run(&w);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 1);
    ck_assert_uint_eq(late->accepted, 2); /* us, and the one that was in line */
    ck_assert_uint_eq(taken->dots, 1);
    world_close(&w);
}
END_TEST

/* What has failed is tried again when what has worked fails. */
START_TEST(test_addresses_take_turns)
{
    struct peer *a, *b;

    world_open(&w, 25, NULL);
    dns_sim_zone_add_address(w.zone, "two.example", "10.0.1.1");
    dns_sim_zone_add_address(w.zone, "two.example", "10.0.1.2");
    a = world_peer(&w, "10.0.1.1", 25);
    b = world_peer(&w, "10.0.1.2", 25);
    for (int i = 0; i < 4; i++) {
        a->script.at[PEER_GREETING] = i % 2 == 0 ? "421 4.3.2 Closed" : NULL;
        b->script.at[PEER_GREETING] = i % 2 == 1 ? "421 4.3.2 Closed" : NULL;
        (void)world_send(&w, "two.example:25");
        world_run(&w);
        world_run_ms(&w, 7000); /* the connection is not kept for so long */
    }
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 4);
    ck_assert_uint_eq(a->dots, 2);
    ck_assert_uint_eq(b->dots, 2);
    world_close(&w);
}
END_TEST

START_TEST(test_next_address)
{
    struct peer *good;

    world_open(&w, 18, NULL);
    world_no_peer(&w, "10.0.1.1");
    dns_sim_zone_add_address(w.zone, "two.example", "10.0.1.1");
    dns_sim_zone_add_address(w.zone, "two.example", "10.0.1.2");
    good = world_peer(&w, "10.0.1.2", 25);
    good->script.at[PEER_GREETING] = "421 4.3.2 Busy";
    good->script.good_sessions = 1;
    send_many(20, "two.example:25");
    world_run(&w);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 20);
    world_close(&w);
}
END_TEST

START_TEST(test_next_destination)
{
    struct peer *good;
    uint32_t i;

    world_open(&w, 19, NULL);
    world_no_peer(&w, "10.0.1.1");
    good = world_peer(&w, "10.0.1.2", 25);
    dns_sim_zone_set_status(w.zone, "lame.example", DNS_TEMPORARY);
    i = world_send_to(&w,
                      (const char *const[]){"10.0.1.1:25", "lame.example:25", "10.0.1.2:25", NULL},
                      (const char *const[]){"user@example.org", NULL});
    world_run(&w);
    ck_assert_int_eq(world_result(&w, i)->status[0], DELIVERY_DONE);
    /* Now at once, past what is known to be down. */
    i = world_send_to(&w, (const char *const[]){"10.0.1.1:25", "10.0.1.2:25", NULL},
                      (const char *const[]){"user@example.org", NULL});
    world_run(&w);
    ck_assert_int_eq(world_result(&w, i)->status[0], DELIVERY_DONE);
    ck_assert_uint_eq(good->accepted, 1);
    ck_assert_uint_eq(w.d->counters.connections_failed, 1);
    /* The same one twice: no circle. */
    i = world_send_to(&w, (const char *const[]){"10.0.1.1:25", "10.0.1.1:25", NULL},
                      (const char *const[]){"user@example.org", NULL});
    world_run(&w);
    ck_assert_int_eq(world_result(&w, i)->status[0], DELIVERY_DEFERRED);
    world_close(&w);
}
END_TEST

START_TEST(test_addresses_are_asked_again)
{
    struct peer *first, *second;

    world_open(&w, 20, NULL);
    w.routes[0].messages_per_connection = 1;
    w.routes[0].connections = 2;
    dns_sim_zone_add_address(w.zone, "moves.example", "10.0.1.1");
    first = world_peer(&w, "10.0.1.1", 25);
    second = world_peer(&w, "10.0.1.2", 25);
    first->script.at[PEER_QUIT] = PEER_STALL; /* the site lives on */
    (void)world_send(&w, "moves.example:25");
    world_run(&w);
    ck_assert_uint_eq(first->accepted, 1);
    dns_sim_zone_add_address(w.zone, "moves.example", "10.0.1.2");
    for (int i = 0; i < 40; i++) {
        (void)world_send(&w, "moves.example:25");
        world_run(&w);
        world_run_ms(&w, 4000);
    }
    ck_assert_uint_gt(second->accepted, 0);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 41);
    world_close(&w);
}
END_TEST

/* ---- stopping ----------------------------------------------------------------------------- */

static const struct stop_case {
    const char *what;
    enum peer_stage stage; /* where the peer stalls */
    uint64_t after_ms;     /* then we stop */
    unsigned tasks;
    bool abort; /* the deadline passes */
    enum delivery_status first, others;
} stops[] = {
    {"nothing has begun", PEER_QUIT, 0, 5, false, DELIVERY_POSTPONED, DELIVERY_POSTPONED},
    {"waiting for a greeting", PEER_GREETING, 100, 5, false, DELIVERY_POSTPONED,
     DELIVERY_POSTPONED},
    {"waiting for a reply", PEER_RCPT, 100, 5, true, DELIVERY_POSTPONED, DELIVERY_POSTPONED},
    {"in doubt", PEER_DOT, 100, 5, true, DELIVERY_DEFERRED, DELIVERY_POSTPONED},
    {"idle", PEER_QUIT, 1000, 1, false, DELIVERY_DONE, DELIVERY_DONE},
};

START_TEST(test_stop)
{
    const struct stop_case *c = &stops[_i];
    uint64_t begin_ms;
    struct peer *p;

    world_open(&w, 21, NULL);
    w.routes[0].connections = 1;
    p = world_peer(&w, "10.0.1.1", 25);
    p->script.at[c->stage] = PEER_STALL;
    send_many(c->tasks, "10.0.1.1:25");
    if (c->after_ms > 0)
        world_run_ms(&w, c->after_ms);
    begin_ms = world_now_ms(&w);
    delivery_stop(w.d, begin_ms + 20000);
    world_run(&w);
    ck_assert_int_eq(w.results[0].status[0], c->first);
    for (uint32_t i = 1; i < w.sent; i++) {
        ck_assert_int_eq(w.results[i].status[0], c->others);
        ck_assert_uint_eq(w.results[i].postpone_ms, 0);
    }
    world_close(&w);
    (void)p;
}
END_TEST

/* An active transaction ends by itself, and its connection leaves. */
START_TEST(test_stop_lets_finish)
{
    struct peer *p;

    world_open(&w, 22, NULL);
    w.routes[0].connections = 2;
    p = world_peer(&w, "10.0.1.1", 25);
    send_many(200, "10.0.1.1:25");
    while (p->dots < 20)
        world_run_ms(&w, 1);
    delivery_stop(w.d, world_now_ms(&w) + 60000);
    world_run(&w);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), p->dots);
    ck_assert_uint_eq(count_status(DELIVERY_DONE) + count_status(DELIVERY_POSTPONED), 200);
    world_close(&w);
    ck_assert_uint_eq(p->quits, 2);
}
END_TEST

START_TEST(test_stop_while_connecting)
{
    world_open(&w, 23, NULL);
    (void)world_dead_peer(&w, "10.0.1.1", 25);
    dns_sim_zone_add_address(w.zone, "slow.example", "10.0.1.2");
    send_many(3, "10.0.1.1:25");
    world_run_ms(&w, 500);
    send_many(3, "slow.example:25"); /* not even resolved */
    send_many(3, "mx");
    delivery_stop(w.d, world_now_ms(&w) + 60000);
    ck_assert_uint_eq(w.done, 9);
    ck_assert_uint_eq(count_status(DELIVERY_POSTPONED), 9);
    world_close(&w);
}
END_TEST

Suite *remote_site_suite(void)
{
    Suite *s = suite_create("remote_site");
    TCase *tc = tcase_create("remote_site");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, test_reuses_an_idle_connection);
    tcase_add_test(tc, test_connection_limit);
    tcase_add_test(tc, test_no_more_connections_than_tasks);
    tcase_add_test(tc, test_messages_per_connection);
    tcase_add_loop_test(tc, test_rate, 0, (int)ARRAY_LEN(rates));
    tcase_add_loop_test(tc, test_unreachable, 0, (int)ARRAY_LEN(unreachables));
    tcase_add_test(tc, test_short_retry_interval);
    tcase_add_test(tc, test_sessions_that_break);
    tcase_add_test(tc, test_server_limit);
    tcase_add_test(tc, test_server_limit_and_a_stall);
    tcase_add_loop_test(tc, test_stale, 0, (int)ARRAY_LEN(stales));
    tcase_add_test(tc, test_stale_twice);
    tcase_add_test(tc, test_stale_again_and_again);
    tcase_add_test(tc, test_peer_closes_an_idle_connection);
    tcase_add_test(tc, test_race);
    tcase_add_loop_test(tc, test_race_among_equals, 0, 20);
    tcase_add_test(tc, test_late_greeting);
    tcase_add_test(tc, test_race_keeps_to_one_connection);
    tcase_add_test(tc, test_race_ends_with_the_limit);
    tcase_add_test(tc, test_addresses_take_turns);
    tcase_add_test(tc, test_next_address);
    tcase_add_test(tc, test_next_destination);
    tcase_add_test(tc, test_addresses_are_asked_again);
    tcase_add_loop_test(tc, test_stop, 0, (int)ARRAY_LEN(stops));
    tcase_add_test(tc, test_stop_lets_finish);
    tcase_add_test(tc, test_stop_while_connecting);
    suite_add_tcase(s, tc);
    return s;
}
