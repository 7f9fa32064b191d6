/* What waits for a site waits elsewhere, and is called: a full site, one that is down, one that comes back. */
#include <check.h>
#include <stdio.h>

#include "base_mem.h"
#include "remote_world.h"

Suite *remote_call_suite(void);

static struct world w;
static struct peer *peer;

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

static bool take_first(struct hash_node *node, void *context)
{
    *(struct delivery_site **)context = container_of(node, struct delivery_site, by_key);
    return false;
}

static struct delivery_site *the_site(void)
{
    struct delivery_site *s = NULL;

    hash_table_each(&w.d->sites, take_first, &s);
    ck_assert_ptr_nonnull(s);
    return s;
}

/* ---- full ----------------------------------------------------------------------------------- */

/* A lane is short; what it has no room for comes when there is, without waiting for any time. */
START_TEST(test_a_busy_site_does_not_idle)
{
    uint64_t begin_ms;

    world_open(&w, 1, NULL);
    w.routes[0].connections = 4;
    peer = world_peer(&w, "10.0.1.1", 25);
    begin_ms = world_now_ms(&w);
    send_many(2500, "10.0.1.1:25");
    ck_assert_uint_eq(w.d->counters.tasks_waiting, 100);
    ck_assert_uint_eq(w.parks, 2400);
    world_run(&w);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 2500);
    ck_assert_uint_le(peer->open_peak, 8); /* it sees us close a little later than we do */
    /* It takes what it takes, and no pause: each message is a few round trips of a millisecond. */
    ck_assert_msg(world_now_ms(&w) - begin_ms < 30000, "%u ms",
                  (unsigned)(world_now_ms(&w) - begin_ms));
    /* And not one call a message. */
    ck_assert_uint_ge(w.called_most, 25);
    world_close(&w);
}
END_TEST

/* At 12 a minute: it holds no more than leaves soon, and loses no time. */
START_TEST(test_a_slow_site)
{
    uint64_t begin_ms, took_ms;

    world_open(&w, 6, NULL);
    w.routes[0].messages_per_minute = 12;
    (void)world_peer(&w, "10.0.1.1", 25);
    begin_ms = world_now_ms(&w);
    send_many(200, "10.0.1.1:25");
    world_run_ms(&w, 1000);
    ck_assert_uint_le(w.d->counters.tasks_waiting, 5);
    ck_assert_str_eq(w.results[199].text, "waits for its turn at 10.0.1.1");
    world_run(&w);
    took_ms = world_now_ms(&w) - begin_ms;
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 200);
    ck_assert_msg(took_ms >= 199 * 5000 && took_ms < 199 * 5000 + 10000, "%u ms",
                  (unsigned)took_ms);
    world_close(&w);
}
END_TEST

/* The only session hangs: what waits behind it can be seen to wait, and goes on when it is over. */
START_TEST(test_behind_a_session_that_hangs)
{
    world_open(&w, 2, NULL);
    w.routes[0].connections = 1;
    peer = world_peer(&w, "10.0.1.1", 25);
    peer->script.at[PEER_DOT] = PEER_STALL;
    send_many(50, "10.0.1.1:25");
    world_run_ms(&w, 9000);
    ck_assert_uint_eq(w.lot_count, 0);
    world_run_ms(&w, 2000);
    ck_assert_uint_eq(w.lot_count, 49);
    ck_assert_uint_eq(w.d->counters.tasks_waiting, 0);
    ck_assert_str_eq(w.results[49].text, "waits for a connection to 10.0.1.1");
    ck_assert_uint_eq(w.results[49].postpone_ms, 0);
    send_many(10, "10.0.1.1:25"); /* likewise, at once */
    ck_assert_uint_eq(w.lot_count, 59);
    world_run_ms(&w, 300000);
    ck_assert_uint_eq(w.called, 0); /* nobody is called in vain */
    ck_assert_uint_eq(w.done, 0);
    peer->script.at[PEER_DOT] = NULL;
    world_run_ms(&w, 300000); /* timeout.data */
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 59);
    ck_assert_int_eq(w.results[0].status[0], DELIVERY_DEFERRED);
    ck_assert_uint_eq(peer->open_peak, 1);
    world_close(&w);
}
END_TEST

/* Connections that are being opened keep what they are opened for. */
START_TEST(test_behind_a_greeting_that_does_not_come)
{
    world_open(&w, 3, NULL);
    peer = world_peer(&w, "10.0.1.1", 25);
    peer->script.at[PEER_GREETING] = PEER_STALL;
    send_many(1000, "10.0.1.1:25");
    ck_assert_uint_eq(w.d->counters.tasks_waiting, 100);
    world_run_ms(&w, 12000);
    ck_assert_uint_eq(w.d->counters.tasks_waiting, 2);
    ck_assert_uint_eq(w.lot_count, 998);
    peer->script.at[PEER_GREETING] = NULL;
    w.park_down = true;
    world_run(&w);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 1000);
    world_close(&w);
}
END_TEST

/* ---- down ----------------------------------------------------------------------------------- */

/* One probe at a time, at growing intervals up to five minutes, each by another message. */
START_TEST(test_probes)
{
    static const unsigned after_s[] = {30, 60, 120, 240, 300, 300, 300};
    static uint64_t intervals[] = {5 * 60000, 10 * 60000};
    unsigned accepted;

    world_open(&w, 7, NULL);
    w.routes[0].retry.intervals = (struct conf_durations){intervals, 2};
    w.park_down = true;
    peer = world_peer(&w, "10.0.1.1", 25);
    peer->script.at[PEER_GREETING] = "421 4.3.2 Closed";
    send_many(500, "10.0.1.1:25");
    world_run_ms(&w, 1000);
    accepted = peer->accepted;
    ck_assert_uint_eq(accepted, 2);
    ck_assert_uint_eq(w.lot_count, 500);
    ck_assert_str_eq(w.results[499].text, "waits for a connection to 10.0.1.1");
    ck_assert_ptr_nonnull(strstr(w.results[0].text, "Closed"));
    ck_assert(!w.results[0].untried);
    ck_assert_uint_eq(w.results[0].postpone_ms, 30000);
    for (size_t i = 0; i < ARRAY_LEN(after_s); i++) {
        world_run_ms(&w, after_s[i] * 1000 - 2000);
        ck_assert_uint_eq(peer->accepted, accepted);
        world_run_ms(&w, 2100);
        ck_assert_uint_eq(peer->accepted, ++accepted);
    }
    /* New mail does not come in between. */
    w.old = false;
    send_many(10, "10.0.1.1:25");
    world_run_ms(&w, 1000);
    ck_assert_uint_eq(peer->accepted, accepted);
    ck_assert(w.results[505].untried);
    ck_assert_uint_eq(w.lot_count, 510);
    ck_assert_uint_eq(w.called_most, 1);
    for (uint32_t i = 0; i < w.sent; i++)
        ck_assert_uint_le(w.results[i].parks, 3);
    /* But the operator may. */
    w.asked = true;
    send_many(1, "10.0.1.1:25");
    world_run_ms(&w, 500);
    ck_assert_uint_eq(peer->accepted, accepted + 1);
    send_many(1, "10.0.1.1:25"); /* not as often as he likes */
    world_run_ms(&w, 400);
    ck_assert_uint_eq(peer->accepted, accepted + 1);
    world_run_ms(&w, 200);
    send_many(1, "10.0.1.1:25");
    world_run_ms(&w, 400);
    ck_assert_uint_eq(peer->accepted, accepted + 2);
    world_close(&w);
}
END_TEST

/* The route's own intervals are shorter. */
START_TEST(test_short_probes)
{
    world_open(&w, 7, NULL);
    w.interval_ms = 1000;
    w.park_down = true;
    world_no_peer(&w, "10.0.1.1");
    send_many(10, "10.0.1.1:25");
    world_run_ms(&w, 30500);
    ck_assert_msg(w.called >= 28 && w.called <= 30, "%u", w.called);
    world_close(&w);
}
END_TEST

/* Back again: one, two, four ... at a time. */
START_TEST(test_ramp)
{
    unsigned open = 0;
    bool grew = false;

    world_open(&w, 8, NULL);
    w.park_down = true;
    w.routes[0].connections = 100;
    peer = world_peer(&w, "10.0.1.1", 25);
    peer->script.at[PEER_GREETING] = "421 4.3.2 Closed";
    send_many(1000, "10.0.1.1:25");
    world_run_ms(&w, 1000);
    peer->script.at[PEER_GREETING] = NULL;
    peer->script.greet_after_ms = 500;
    while (w.done < w.sent) {
        struct delivery_site *s = the_site();
        uint32_t done;

        world_run_ms(&w, 10);
        done = count_status(DELIVERY_DONE);
        open = peer->open;
        if (done > 0 && done < 50) {
            /* As many as went well, and one. */
            ck_assert_msg(open <= done + 1, "%u open after %u", open, done);
            grew |= open > 2;
        }
        if (done == 0)
            ck_assert_uint_le(open, 1);
        ck_assert(s->ramp == DELIVERY_RAMP_OVER || s->ramp <= 2 + count_status(DELIVERY_DONE));
    }
    ck_assert(grew);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 1000);
    world_close(&w);
}
END_TEST

/* What it is probed with is refused for a time, for its own sake: the others' mail goes. */
START_TEST(test_a_bad_probe)
{
    uint64_t begin_ms;

    world_open(&w, 9, NULL);
    w.park_down = true;
    peer = world_peer(&w, "10.0.1.1", 25);
    peer->script.at[PEER_GREETING] = "421 4.3.2 Closed";
    for (int i = 0; i < 5; i++)
        (void)world_send_to(&w, (const char *const[]){"10.0.1.1:25", NULL},
                            (const char *const[]){"450-later@example.org", NULL});
    send_many(50, "10.0.1.1:25");
    world_run_ms(&w, 1000);
    peer->script.at[PEER_GREETING] = NULL;
    begin_ms = world_now_ms(&w);
    world_run(&w);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 50);
    ck_assert_uint_eq(count_status(DELIVERY_DEFERRED), 5);
    ck_assert_uint_le(world_now_ms(&w) - begin_ms, 35000);
    world_close(&w);
}
END_TEST

/* Of what was called most goes another way: it is not called one by one for ever. */
START_TEST(test_who_is_called_does_not_come)
{
    uint64_t begin_ms;

    world_open(&w, 10, NULL);
    w.park_down = true;
    peer = world_peer(&w, "10.0.1.1", 25);
    peer->script.at[PEER_GREETING] = "421 4.3.2 Closed";
    send_many(1000, "10.0.1.1:25");
    world_run_ms(&w, 1000);
    peer->script.at[PEER_GREETING] = NULL;
    w.swallow = 900;
    begin_ms = world_now_ms(&w);
    world_run(&w);
    ck_assert_uint_eq(count_status(DELIVERY_DONE), 100);
    ck_assert_uint_le(world_now_ms(&w) - begin_ms, 80000);
    world_close(&w);
}
END_TEST

/* Somebody waits for a site that nobody knows of any more. */
START_TEST(test_a_call_for_no_site)
{
    struct delivery_call *call;

    world_open(&w, 11, NULL);
    peer = world_peer(&w, "10.0.1.1", 25);
    call = mem_zalloc(sizeof(*call));
    list_init(&call->node);
    call->origin = 1;
    call->key = slice_of(mem_dup("smtp 9 - gone 25", 16), 16);
    call->left = 1;
    delivery_receive_call(w.d, call);
    ck_assert(call->to_origin);
    ck_assert_uint_gt(call->n, 1);
    world_run_ms(&w, 100); /* nothing is left there: it is over */
    ck_assert(list_empty(&w.calls));
    ck_assert(list_empty(&w.d->calls));
    world_close(&w);
}
END_TEST

START_TEST(test_power_cut)
{
    world_open(&w, 12, NULL);
    w.park_down = true;
    world_no_peer(&w, "10.0.1.1");
    send_many(200, "10.0.1.1:25");
    world_run_ms(&w, (uint64_t)_i * 7000);
    world_power_cut(&w);
}
END_TEST

/* ---- who goes first --------------------------------------------------------------------------- */

/* Fresh mail comes in while old mail waits: it is soon through, and the old moves on too. */
START_TEST(test_fresh_before_old)
{
    unsigned olds = 0;
    uint32_t first_fresh;
    uint64_t fresh_ms = 0;

    world_open(&w, 13, NULL);
    w.routes[0].connections = 1;
    peer = world_peer(&w, "10.0.1.1", 25);
    w.old = true;
    send_many(400, "10.0.1.1:25");
    world_run_ms(&w, 5);
    w.old = false;
    first_fresh = w.sent;
    send_many(40, "10.0.1.1:25");
    ck_assert_uint_eq(w.lot_count, 300); /* they have room where the old have none */
    world_run(&w);
    for (uint32_t i = first_fresh; i < w.sent; i++)
        fresh_ms = w.results[i].at_ms > fresh_ms ? w.results[i].at_ms : fresh_ms;
    for (uint32_t i = 0; i < first_fresh; i++)
        olds += w.results[i].at_ms < fresh_ms;
    ck_assert_msg(olds >= 8 && olds <= 30, "%u of the old", olds);
    world_close(&w);
}
END_TEST

START_TEST(test_priority)
{
    uint32_t urgent, slow;
    unsigned before_urgent = 0, before_slow = 0;

    world_open(&w, 14, NULL);
    w.routes[0].connections = 1;
    peer = world_peer(&w, "10.0.1.1", 25);
    w.priority = -3;
    slow = world_send(&w, "10.0.1.1:25");
    w.priority = 0;
    send_many(50, "10.0.1.1:25");
    w.priority = 4;
    urgent = world_send(&w, "10.0.1.1:25");
    world_run(&w);
    for (uint32_t i = 0; i < w.sent; i++) {
        before_urgent += w.results[i].at_ms < w.results[urgent].at_ms;
        before_slow += w.results[i].at_ms < w.results[slow].at_ms;
    }
    ck_assert_uint_le(before_urgent, 2);
    ck_assert_uint_ge(before_slow, 49);
    world_close(&w);
}
END_TEST

Suite *remote_call_suite(void)
{
    Suite *s = suite_create("remote_call");
    TCase *tc = tcase_create("remote_call");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, test_a_busy_site_does_not_idle);
    tcase_add_test(tc, test_a_slow_site);
    tcase_add_test(tc, test_behind_a_session_that_hangs);
    tcase_add_test(tc, test_behind_a_greeting_that_does_not_come);
    tcase_add_test(tc, test_probes);
    tcase_add_test(tc, test_short_probes);
    tcase_add_test(tc, test_ramp);
    tcase_add_test(tc, test_a_bad_probe);
    tcase_add_test(tc, test_who_is_called_does_not_come);
    tcase_add_test(tc, test_a_call_for_no_site);
    tcase_add_loop_test(tc, test_power_cut, 0, 6);
    tcase_add_test(tc, test_fresh_before_old);
    tcase_add_test(tc, test_priority);
    suite_add_tcase(s, tc);
    return s;
}
