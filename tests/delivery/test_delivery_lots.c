/* An origin whose next hop is down: what waits in lots, how it ends, and what an operator does about it. */
#include <check.h>
#include <stdio.h>

#include "base_mem.h"
#include "origin_world.h"

Suite *delivery_lots_suite(void);

static const char message[] = "Subject: about pears\r\n\r\nA line.\r\n";
#define BOB_NEW "/mail/example.test/bob/new"

static struct origin_world *w;
static struct conf_destination nowhere;
static struct buf bytes, name;

static void setup(void)
{
    w = mem_zalloc(sizeof(*w));
    origin_open(w, 1, NULL);
    nowhere = (struct conf_destination){
        .kind = CONF_TO_SMTP, .host = SLICE_LITERAL("10.0.9.9"), .port = 25};
    nowhere.host_is_ip = ip_parse(nowhere.host, &nowhere.ip);
    w->route.to = (struct conf_destinations){&nowhere, 1};
    w->route.timeout.connect = 30000;
    w->route.timeout.response = 30000;
    w->route.timeout.data = 30000;
    buf_init(&bytes, 0);
    buf_init(&name, 0);
}

static void finish(void)
{
    origin_close(w);
    mem_free(w);
    buf_finish(&bytes);
    buf_finish(&name);
}

static uint64_t submit(void)
{
    return origin_submit_one(w, "bob@example.test", "x@elsewhere.test", message);
}

static struct queue_entry *entry_of(uint64_t id)
{
    struct spool_message *m = spool_find(w->spool, id);

    ck_assert_ptr_nonnull(m);
    return m->owner;
}

static struct queue_facts facts_of(uint64_t id)
{
    struct queue_facts facts;

    queue_entry_facts(entry_of(id), &facts);
    return facts;
}

static void check_bounce(const char *const *texts)
{
    buf_clear(&bytes);
    buf_clear(&name);
    ck_assert(origin_file(w, BOB_NEW, 0, &name, &bytes));
    for (; *texts != NULL; texts++)
        ck_assert_msg(origin_contains(buf_slice(&bytes), *texts), "no %s in\n%.*s", *texts,
                      SLICE_ARG(buf_slice(&bytes)));
}

/* Half an hour: a connection now and then, and not a record in the log, however many wait. Then the end of
 * patience, for each. */
START_TEST(many_wait_for_a_host_that_is_down)
{
    struct spool_counters before, after;
    struct queue_facts facts;
    uint64_t last = 0;

    origin_start(w);
    for (int i = 0; i < 60; i++)
        last = submit();
    origin_run_ms(w, 5000);
    ck_assert_uint_eq(w->queue.parked, 60);
    ck_assert_uint_eq(w->d->counters.deferred, 60);
    facts = facts_of(last);
    ck_assert_int_eq(facts.standing, QUEUE_IS_PARKED);
    ck_assert_msg(origin_contains(facts.reason, "No route to host"), "%.*s",
                  SLICE_ARG(facts.reason));
    ck_assert_uint_ge(facts.due_s, queue_now_s(&w->queue) + 20);
    ck_assert_uint_le(facts.due_s, queue_now_s(&w->queue) + 31);
    spool_counters(w->spool, &before);
    origin_run_ms(w, 30 * 60 * 1000);
    spool_counters(w->spool, &after);
    ck_assert_uint_eq(after.outcomes, before.outcomes);
    ck_assert_uint_eq(w->queue.parked, 60);
    ck_assert_uint_ge(w->d->counters.connections, 28);
    ck_assert_uint_le(w->d->counters.connections, 35);
    ck_assert_uint_eq(w->queue.messages, 60);
    origin_drain(w);
    ck_assert_uint_eq(w->d->counters.bounced, 60);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), 60);
    check_bounce(
        (const char *const[]){"Status: 4.4.1\n", "No route to host", "x@elsewhere.test", NULL});
    ck_assert_uint_eq(w->queue.lots.count, 0);
    finish();
}
END_TEST

/* Its sender hears of the delay once, though nothing is tried on its behalf. */
START_TEST(a_delay_is_told)
{
    uint64_t id;

    w->conf.retry.warn_after = 20 * 60 * 1000;
    origin_start(w);
    id = submit();
    origin_run_ms(w, 19 * 60 * 1000);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), 0);
    origin_run_ms(w, 3 * 60 * 1000);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), 1);
    check_bounce((const char *const[]){"Action: delayed\n", "No route to host", NULL});
    ck_assert_int_eq(facts_of(id).standing,
                     QUEUE_IS_PARKED); /* again: for the host, not for a time */
    origin_run_ms(w, 30 * 60 * 1000);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), 1);
    origin_drain(w);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), 2);
    finish();
}
END_TEST

/* Two hosts that are down, each recipient waits for his own: both delays are told, once. */
START_TEST(delays_at_several_hosts)
{
    static const char *const recipients[] = {"x@one.test", "y@two.test", NULL};

    nowhere = (struct conf_destination){.kind = CONF_TO_MX};
    dns_sim_zone_add_address(w->zone, "one.test", "10.0.9.8");
    dns_sim_zone_add_address(w->zone, "two.test", "10.0.9.9");
    w->conf.retry.warn_after = 20 * 60 * 1000;
    origin_start(w);
    ck_assert_uint_ne(origin_submit(w, "bob@example.test", recipients, slice_str(message), 0), 0);
    origin_run_ms(w, 19 * 60 * 1000);
    ck_assert_uint_eq(w->d->counters.delays_sent, 0);
    origin_run_ms(w, 40 * 60 * 1000);
    ck_assert_uint_ge(origin_files(w, BOB_NEW), 1);
    for (unsigned i = 0; i < origin_files(w, BOB_NEW); i++) {
        buf_clear(&name);
        ck_assert(origin_file(w, BOB_NEW, i, &name, &bytes));
    }
    ck_assert(origin_contains(buf_slice(&bytes), "Final-Recipient: rfc822; x@one.test\n"));
    ck_assert(origin_contains(buf_slice(&bytes), "Final-Recipient: rfc822; y@two.test\n"));
    ck_assert_uint_eq(w->d->counters.delays_sent, origin_files(w, BOB_NEW));
    ck_assert_uint_le(w->d->counters.delays_sent, 2);
    origin_drain(w);
    finish();
}
END_TEST

/* Nor is it told again and again to a spool that has no room for it. */
START_TEST(a_delay_cannot_be_told)
{
    w->interval_ms = 10 * 60 * 1000;
    w->conf.retry.warn_after = 20 * 60 * 1000;
    w->spool_options.bytes_max = 4 << 20;
    origin_start(w);
    (void)submit();
    origin_run_ms(w, 15 * 60 * 1000);
    origin_fill(w);
    origin_run_ms(w, 28 * 60 * 1000);
    ck_assert_uint_ge(w->d->counters.bounces_failed, 1);
    ck_assert_uint_le(w->d->counters.bounces_failed, 6);
    origin_make_room(w);
    origin_run_ms(w, 14 * 60 * 1000);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), 1);
    check_bounce((const char *const[]){"Action: delayed\n", NULL});
    origin_drain(w);
    finish();
}
END_TEST

static const struct {
    const char *text;
    const char *expected[4];
} returns[] = {
    {"550 5.7.1 We do not send this", {"Status: 5.7.1\n", "550 5.7.1 We do not send this\n"}},
    {"Try the telephone", {"Status: 5.0.0\n", "Try the telephone\n"}},
    {"", {"Status: 5.0.0\n", "Returned by the operator\n"}},
    {"451 4.3.0 later", {"Status: 5.0.0\n", "later\n"}},
};

START_TEST(the_operator_returns_it)
{
    uint64_t id;

    origin_start(w);
    id = submit();
    origin_run_ms(w, 5000);
    ck_assert(queue_hold(&w->queue, id, SPOOL_DUE_NEVER));
    ck_assert(queue_bounce(&w->queue, id, slice_str(returns[_i].text)));
    origin_settle(w);
    origin_run_ms(w, 1000);
    ck_assert_uint_eq(w->queue.messages, 0);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), 1);
    check_bounce(returns[_i].expected);
    finish();
}
END_TEST

/* While his word cannot be told to the sender it stands all the same: nothing is tried. */
START_TEST(the_operator_returns_it_when_there_is_room)
{
    uint64_t id, connections;

    w->spool_options.bytes_max = 4 << 20;
    origin_start(w);
    id = submit();
    origin_run_ms(w, 5000);
    origin_fill(w);
    connections = w->d->counters.connections;
    ck_assert(queue_bounce(&w->queue, id, SLICE_LITERAL("Try the telephone")));
    origin_run_ms(w, 1000);
    ck_assert_uint_ge(w->d->counters.bounces_failed, 1);
    ck_assert_uint_eq(w->d->counters.bounced, 0);
    origin_make_room(w);
    origin_run_ms(w, 90 * 1000);
    ck_assert_uint_eq(w->d->counters.bounced, 1);
    ck_assert_uint_le(w->d->counters.connections, connections + 1); /* a probe of the site */
    check_bounce((const char *const[]){"Status: 5.0.0\n", "Try the telephone\n", NULL});
    finish();
}
END_TEST

static struct delivery_task *posted;

static void keep_posted(void *context, unsigned to, struct delivery_task *t)
{
    (void)context;
    (void)to;
    ck_assert_ptr_null(posted);
    posted = t;
}

/* It was parked by a site of the configuration before, on another shard: that site will never call. */
START_TEST(parked_while_we_reload)
{
    struct conf next;
    uint64_t id;

    origin_start(w);
    w->d->o.shards = 1000; /* likely another one's */
    w->d->o.post = keep_posted;
    id = submit();
    origin_run_ms(w, 1000);
    ck_assert_ptr_nonnull(posted);
    next = w->conf;
    next.refs = 1;
    next.generation = 1;
    queue_set_conf(&w->queue, &next);
    delivery_reload(w->d, &next, NULL);
    delivery_task_set_all(posted, DELIVERY_POSTPONED, 0, NULL, SLICE_LITERAL("waits for its turn"));
    posted->parked = posted->returning = true;
    delivery_receive(w->d, posted);
    posted = NULL;
    ck_assert_uint_eq(w->queue.lots.count, 0);
    origin_run_ms(w, 1000);
    ck_assert_ptr_nonnull(posted); /* anew, at once */
    ck_assert_ptr_eq(posted->conf, &next);
    delivery_task_set_all(posted, DELIVERY_DONE, 250, NULL, SLICE_NULL);
    posted->returning = true;
    delivery_receive(w->d, posted);
    posted = NULL;
    ck_assert_ptr_null(spool_find(w->spool, id));
    finish();
}
END_TEST

/* What is held does not expire; released, it is too old. */
START_TEST(held_beyond_its_time)
{
    uint64_t id;

    origin_start(w);
    id = submit();
    origin_run_ms(w, 5000);
    ck_assert(queue_hold(&w->queue, id, SPOOL_DUE_NEVER));
    origin_run_ms(w, 3 * 3600 * 1000);
    ck_assert_uint_eq(w->queue.messages, 1);
    ck_assert_int_eq(facts_of(id).standing, QUEUE_IS_HELD);
    origin_stop(w);
    origin_start(w); /* it is in the log */
    ck_assert_int_eq(facts_of(id).standing, QUEUE_IS_HELD);
    origin_run_ms(w, 3600 * 1000);
    ck_assert(queue_release(&w->queue, id));
    origin_drain(w);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), 1);
    finish();
}
END_TEST

START_TEST(too_late)
{
    uint64_t id, connections;

    origin_start(w);
    id = submit();
    ck_assert(queue_revise(
        &w->queue, id,
        &(struct spool_terms){.deliver_by_s = queue_now_s(&w->queue) + (_i == 0 ? 0 : 600)}));
    if (_i == 1) {
        origin_run_ms(w, 590 * 1000);
        ck_assert_uint_eq(w->queue.messages, 1);
    }
    connections = w->d->counters.connections;
    origin_run_ms(w, 12 * 1000);
    ck_assert_uint_eq(w->queue.messages, 0);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), 1);
    ck_assert_uint_le(w->d->counters.connections, connections + 1); /* a probe of the site */
    if (_i == 0)
        ck_assert_uint_eq(w->d->counters.connections, 0);
    check_bounce((const char *const[]){"Status: 5.4.7\n", NULL});
    finish();
}
END_TEST

/* ---- rules ----------------------------------------------------------------------------------- */

static const struct {
    enum queue_hold_kind kind;
    const char *value;
} rules[] = {
    {QUEUE_HOLD_SENDER, "bob@example.test"},
    {QUEUE_HOLD_SENDER_DOMAIN, "example.test"},
    {QUEUE_HOLD_RECIPIENT, "ann@example.test"},
    {QUEUE_HOLD_DOMAIN, "EXAMPLE.test"},
    {QUEUE_HOLD_ROUTE, "*"},
};

static bool add_rule(unsigned n, uint32_t id)
{
    return queue_holds_add(&w->queue, &(struct queue_hold_rule){.id = id,
                                                                .kind = rules[n].kind,
                                                                .value = slice_str(rules[n].value),
                                                                .reason = SLICE_LITERAL("not now"),
                                                                .until_s = SPOOL_DUE_NEVER});
}

START_TEST(held_by_a_rule)
{
    uint64_t id;

    origin_start(w);
    ck_assert(add_rule((unsigned)_i, 3));
    id = origin_submit_one(w, "bob@example.test", "ann@example.test", message);
    origin_run_ms(w, 5 * 3600 * 1000);
    ck_assert_uint_eq(w->queue.messages, 1);
    ck_assert_int_eq(facts_of(id).standing, QUEUE_IS_HELD);
    ck_assert(slice_equal(facts_of(id).reason, SLICE_LITERAL("not now")));
    ck_assert(queue_retry(&w->queue, id));
    origin_run_ms(w, 1000);
    ck_assert_int_eq(facts_of(id).standing, QUEUE_IS_HELD);
    if (_i % 2 == 0)
        ck_assert(queue_holds_remove(&w->queue, 3));
    else
        ck_assert(queue_release(&w->queue, id));
    origin_run_ms(w, 1000);
    ck_assert_uint_eq(w->queue.messages, 0);
    ck_assert_uint_eq(origin_files(w, "/mail/example.test/ann/new"), 1);
    finish();
}
END_TEST

/* What the operator notes down for himself is not told to a sender whose time is over by then. */
START_TEST(what_holds_is_not_told)
{
    struct queue_hold_rule rule = {.id = 3,
                                   .kind = QUEUE_HOLD_DOMAIN,
                                   .value = SLICE_LITERAL("elsewhere.test"),
                                   .reason = SLICE_LITERAL("a thief, they say")};
    uint64_t id;

    origin_start(w);
    rule.until_s = queue_now_s(&w->queue) + 900;
    if (_i == 0)
        ck_assert(queue_holds_add(&w->queue, &rule));
    id = submit();
    ck_assert(queue_revise(&w->queue, id,
                           &(struct spool_terms){.deliver_by_s = queue_now_s(&w->queue) + 600}));
    if (_i == 1)
        ck_assert(queue_hold_because(&w->queue, id, rule.until_s, rule.reason));
    origin_run_ms(w, 300 * 1000);
    ck_assert_int_eq(facts_of(id).standing, QUEUE_IS_HELD);
    ck_assert(slice_equal(facts_of(id).reason, rule.reason));
    origin_run_ms(w, 900 * 1000);
    ck_assert_uint_eq(w->queue.messages, 0);
    check_bounce((const char *const[]){"Status: 5.4.7\n", NULL});
    ck_assert(!origin_contains(buf_slice(&bytes), "thief"));
    finish();
}
END_TEST

/* One of two recipients: the other is not held up. */
START_TEST(a_rule_for_one_of_them)
{
    static const char *const recipients[] = {"x@discard.test", "ann@example.test",
                                             "bob@example.test", NULL};
    uint64_t id;

    origin_start(w);
    ck_assert(add_rule(2, 3));
    id = origin_submit(w, "bob@example.test", recipients, slice_str(message), 0);
    origin_run_ms(w, 1000);
    ck_assert_uint_eq(w->d->counters.delivered, 2);
    ck_assert_int_eq(facts_of(id).standing, QUEUE_IS_HELD);
    ck_assert(queue_holds_remove(&w->queue, 3));
    origin_run_ms(w, 1000);
    ck_assert_uint_eq(w->queue.messages, 0);
    finish();
}
END_TEST

/* A message to as many domains as there may be is taken apart in no time. */
START_TEST(a_message_to_many_domains)
{
    enum { MANY = 1000 };
    char(*texts)[40] = mem_calloc(MANY, sizeof(*texts));
    const char **recipients = mem_calloc(MANY + 1, sizeof(*recipients));

    nowhere = (struct conf_destination){.kind = CONF_TO_MX};
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "u@d%d.nowhere.test", i % (MANY / 2));
        recipients[i] = texts[i];
    }
    origin_start(w);
    ck_assert_uint_ne(origin_submit(w, "bob@example.test", recipients, slice_str(message), 0), 0);
    origin_run_ms(w, 60 * 1000);
    ck_assert_uint_eq(w->d->counters.bounced, MANY); /* there are no such domains */
    origin_drain(w);
    mem_free(recipients);
    mem_free(texts);
    finish();
}
END_TEST

Suite *delivery_lots_suite(void)
{
    Suite *s = suite_create("delivery_lots");
    TCase *tc = tcase_create("lots");

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, many_wait_for_a_host_that_is_down);
    tcase_add_test(tc, a_delay_is_told);
    tcase_add_test(tc, a_delay_cannot_be_told);
    tcase_add_test(tc, delays_at_several_hosts);
    tcase_add_loop_test(tc, the_operator_returns_it, 0, (int)ARRAY_LEN(returns));
    tcase_add_test(tc, the_operator_returns_it_when_there_is_room);
    tcase_add_test(tc, parked_while_we_reload);
    tcase_add_test(tc, held_beyond_its_time);
    tcase_add_loop_test(tc, too_late, 0, 2);
    tcase_add_loop_test(tc, held_by_a_rule, 0, (int)ARRAY_LEN(rules));
    tcase_add_loop_test(tc, what_holds_is_not_told, 0, 2);
    tcase_add_test(tc, a_rule_for_one_of_them);
    tcase_add_test(tc, a_message_to_many_domains);
    suite_add_tcase(s, tc);
    return s;
}
