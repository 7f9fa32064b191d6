/* Call-outs: what next hops answer, how they share a site with mail, and how they end early. */
#include <check.h>
#include <stdio.h>

#include "base_mem.h"
#include "delivery_verify.h"
#include "remote_world.h"

Suite *remote_verify_suite(void);

enum { ASKED_MAX = 300 };

static struct world w;
static struct conf_domain domain;
static struct conf_destination to[2];

static struct asked {
    struct delivery_verify v;
    bool called;
    uint64_t at_ms;
    char text[DELIVERY_TEXT_MAX + 1];
} asked[ASKED_MAX];
static unsigned asked_count, answered;

static void open_world(uint64_t seed, const struct sim_options *options)
{
    world_open(&w, seed, options);
    asked_count = answered = 0;
    to[0] = (struct conf_destination){
        .kind = CONF_TO_SMTP, .host = SLICE_LITERAL("10.0.1.1"), .host_is_ip = true, .port = 25};
    domain = (struct conf_domain){.name = SLICE_LITERAL("example.org"), .to = {to, 1}};
    w.routes[0].pattern = SLICE_LITERAL("*");
    w.conf.route_count = 1;
    w.conf.domains = &domain;
    w.conf.domain_count = 1;
}

static void done(struct delivery_verify *v)
{
    struct asked *a = container_of(v, struct asked, v);

    ck_assert(!a->called);
    ck_assert_ptr_null(v->probe);
    a->called = true;
    a->at_ms = world_now_ms(&w);
    (void)snprintf(a->text, sizeof(a->text), "%.*s", SLICE_ARG(v->text));
    answered++;
}

static struct asked *ask_for(const char *address, uint64_t timeout_ms, bool later)
{
    struct asked *a = &asked[asked_count++];

    ck_assert_uint_le(asked_count, ASKED_MAX);
    *a = (struct asked){
        .v = {.address = slice_str(address), .timeout_ms = timeout_ms, .done = done}};
    ck_assert_int_eq(delivery_verify(w.d, &a->v), later);
    ck_assert(!a->called); /* never within */
    return a;
}

static struct asked *ask(const char *address)
{
    return ask_for(address, 60000, true);
}

static void run(void)
{
    for (int i = 0; i < 1000 && answered < asked_count; i++)
        world_run_ms(&w, 100);
    ck_assert_uint_eq(answered, asked_count);
}

/* ---- what is answered ----------------------------------------------------------------------- */

static const struct answer {
    const char *what;
    enum peer_stage stage;
    const char *reply; /* NULL: the peer takes everything */
    enum delivery_verify_result result;
    uint16_t code;
    const char *text; /* is in the answer */
} answers[] = {
    {"taken", PEER_RCPT, NULL, DELIVERY_VERIFY_EXISTS, 250, "Recipient ok"},
    {"no such user", PEER_RCPT, "550 5.1.1 No such user", DELIVERY_VERIFY_UNKNOWN, 550, "No such"},
    {"full for good", PEER_RCPT, "552 5.2.2 Full", DELIVERY_VERIFY_UNKNOWN, 552, "Full"},
    {"full, the old way", PEER_RCPT, "552 Too many", DELIVERY_VERIFY_TEMPORARY, 552, "Too many"},
    {"not now", PEER_RCPT, "450 4.2.1 Later", DELIVERY_VERIFY_TEMPORARY, 450, "Later"},
    {"hangs up at RCPT", PEER_RCPT, "421 4.3.2 Bye", DELIVERY_VERIFY_TEMPORARY, 421, "Bye"},
    {"drops at RCPT", PEER_RCPT, PEER_DROP, DELIVERY_VERIFY_TEMPORARY, 0, "connection lost"},
    /* The null sender, or we, are not liked: that says nothing about the recipient. */
    {"MAIL refused", PEER_MAIL, "550 5.7.1 Not you", DELIVERY_VERIFY_TEMPORARY, 550, "Not you"},
    {"MAIL deferred", PEER_MAIL, "451 4.7.1 Later", DELIVERY_VERIFY_TEMPORARY, 451, "Later"},
    {"greeted with 554", PEER_GREETING, "554 No", DELIVERY_VERIFY_TEMPORARY, 554, "No"},
    {"RSET refused", PEER_RSET, "502 What", DELIVERY_VERIFY_EXISTS, 250, "Recipient ok"},
    {"drops at RSET", PEER_RSET, PEER_DROP, DELIVERY_VERIFY_EXISTS, 250, "Recipient ok"},
};

static void check_answer(const struct answer *row, uint64_t seed, const struct sim_options *options,
                         bool plain)
{
    struct asked *a;
    struct peer *p;

    open_world(seed, options);
    p = world_peer(&w, "10.0.1.1", 25);
    p->script.at[row->stage] = row->reply;
    p->script.no_pipelining = plain;
    a = ask("Ann+x@Example.org");
    run();
    /* What was said before the connection went may be lost with it. */
    if (row->reply == NULL || strcmp(row->reply, PEER_DROP) != 0 || row->stage != PEER_RSET
        || plain)
        ck_assert_msg(a->v.result == row->result && a->v.code == row->code
                          && strstr(a->text, row->text) != NULL,
                      "%s: result %u code %u: %s", row->what, a->v.result, a->v.code, a->text);
    ck_assert_uint_eq(p->dots, 0);
    if (p->mails > 0) {
        ck_assert_str_eq(p->mail_line, "MAIL FROM:<>");
        ck_assert(strncmp(p->rcpt_line, "RCPT TO:<Ann+x@Example.org>", 27) == 0
                  || p->rcpt_line[0] == '\0');
    }
    world_close(&w);
}

START_TEST(test_answers)
{
    struct sim_options options = sim_options_default();

    check_answer(&answers[_i], 1, NULL, false);
    check_answer(&answers[_i], 2, NULL, true);
    options.recv_split = 9000;
    options.latency_max_us = 20000;
    for (uint64_t seed = 3; seed < 6; seed++)
        check_answer(&answers[_i], seed, &options, seed % 2 == 0);
}
END_TEST

START_TEST(test_nothing_to_ask)
{
    static const struct {
        struct conf_destination to;
        enum delivery_verify_result result;
        uint16_t code;
    } rows[] = {
        {{.kind = CONF_TO_MAILDIR, .path = SLICE_INIT("/mail/%u")}, DELIVERY_VERIFY_EXISTS, 0},
        {{.kind = CONF_TO_DISCARD}, DELIVERY_VERIFY_EXISTS, 0},
        {{.kind = CONF_TO_REJECT, .text = SLICE_INIT("Gone")}, DELIVERY_VERIFY_UNKNOWN, 550},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct asked *a;

        open_world(1, NULL);
        to[0] = rows[i].to;
        a = ask_for("ann@example.org", 1000, false);
        ck_assert_int_eq(a->v.result, rows[i].result);
        ck_assert_uint_eq(a->v.code, rows[i].code);
        world_close(&w);
        ck_assert(!a->called);
    }
}
END_TEST

/* The mailbox that mail goes to while the host is down is nobody to ask, and nobody's to write into. */
START_TEST(test_a_mailbox_for_when_it_is_down)
{
    struct asked *a;

    open_world(1, NULL);
    to[1] =
        (struct conf_destination){.kind = CONF_TO_MAILDIR, .path = SLICE_LITERAL("/mail/later")};
    domain.to.count = 2;
    a = ask("ann@example.org");
    run();
    ck_assert_int_eq(a->v.result, DELIVERY_VERIFY_TEMPORARY);
    ck_assert_uint_eq(a->v.code, 0);
    ck_assert_msg(strstr(a->text, "10.0.1.1") != NULL, "%s", a->text);
    world_close(&w);
}
END_TEST

START_TEST(test_sender)
{
    struct peer *p;

    open_world(1, NULL);
    w.conf.verify.callout.sender = SLICE_LITERAL("check@ours.example");
    p = world_peer(&w, "10.0.1.1", 25);
    (void)ask("ann@example.org");
    run();
    ck_assert_str_eq(p->mail_line, "MAIL FROM:<check@ours.example>");
    world_close(&w);
}
END_TEST

START_TEST(test_lmtp)
{
    struct peer *p;
    struct asked *a;

    open_world(1, NULL);
    to[0].kind = CONF_TO_LMTP;
    to[0].host = SLICE_NULL;
    to[0].path = SLICE_LITERAL("/run/lmtp");
    p = world_peer(&w, "unix:/run/lmtp", 1);
    p->script.lmtp = true;
    a = ask("550-ann@example.org");
    run();
    ck_assert_int_eq(a->v.result, DELIVERY_VERIFY_UNKNOWN);
    world_close(&w);
}
END_TEST

/* The second host is asked where the first is not to be had. */
START_TEST(test_fallback)
{
    struct asked *a;

    open_world(1, NULL);
    to[1] = to[0];
    to[1].host = SLICE_LITERAL("10.0.1.2");
    domain.to.count = 2;
    world_no_peer(&w, "10.0.1.1");
    (void)world_peer(&w, "10.0.1.2", 25);
    a = ask("ann@example.org");
    run();
    ck_assert_int_eq(a->v.result, DELIVERY_VERIFY_EXISTS);
    world_close(&w);
}
END_TEST

/* ---- among mail ----------------------------------------------------------------------------- */

/* One connection, mail before and behind: the questions go first, and all of it uses the connection. */
START_TEST(test_ahead_of_mail)
{
    uint64_t last_ms = 0;
    struct peer *p;

    open_world(1, NULL);
    w.routes[0].connections = 1;
    w.routes[0].messages_per_minute = 60;
    p = world_peer(&w, "10.0.1.1", 25);
    for (int i = 0; i < 30; i++)
        (void)world_send(&w, "10.0.1.1:25");
    for (int i = 0; i < 10; i++)
        (void)ask(i % 2 == 0 ? "ann@example.org" : "550-x@example.org");
    run();
    for (unsigned i = 0; i < asked_count; i++) {
        ck_assert_int_eq(asked[i].v.result,
                         i % 2 == 0 ? DELIVERY_VERIFY_EXISTS : DELIVERY_VERIFY_UNKNOWN);
        ck_assert_uint_ge(asked[i].at_ms, last_ms); /* in turn */
        last_ms = asked[i].at_ms;
    }
    ck_assert_uint_lt(w.done, 5); /* the rate is of messages */
    world_run(&w);
    for (uint32_t i = 0; i < w.sent; i++)
        ck_assert_int_eq(world_result(&w, i)->status[0], DELIVERY_DONE);
    ck_assert_uint_eq(p->accepted, 1);
    ck_assert_uint_eq(p->dots, 30);
    ck_assert_uint_eq(w.d->counters.attempts, 30);
    ck_assert_uint_eq(w.d->counters.callouts, 10);
    world_close(&w);
}
END_TEST

START_TEST(test_bounded)
{
    unsigned waiting = 0;

    open_world(1, NULL);
    (void)world_dead_peer(&w, "10.0.1.1", 25);
    for (unsigned i = 0; i < DELIVERY_CALLOUTS_MAX + 50; i++)
        (void)ask_for("ann@example.org", 1000, true);
    ck_assert_uint_eq(w.d->probes_out, DELIVERY_CALLOUTS_MAX); /* those beyond went home at once */
    w.d->probes_out += DELIVERY_PROBES_MAX;                    /* as if other sites had as many */
    ck_assert_int_eq(ask_for("ann@example.org", 1000, false)->v.result, DELIVERY_VERIFY_TEMPORARY);
    w.d->probes_out -= DELIVERY_PROBES_MAX;
    asked_count--; /* has its answer */
    run();
    for (unsigned i = 0; i < asked_count; i++) {
        ck_assert_int_eq(asked[i].v.result, DELIVERY_VERIFY_TEMPORARY);
        waiting += strcmp(asked[i].text, "no answer in time") == 0;
    }
    ck_assert_uint_eq(waiting, DELIVERY_CALLOUTS_MAX);
    world_close(&w);
}
END_TEST

/* ---- ends ----------------------------------------------------------------------------------- */

START_TEST(test_timeout)
{
    struct asked *a;
    uint64_t before;

    open_world(1, NULL);
    world_peer(&w, "10.0.1.1", 25)->script.at[PEER_RCPT] = PEER_STALL;
    before = world_now_ms(&w);
    a = ask_for("ann@example.org", 5000, true);
    run();
    ck_assert_int_eq(a->v.result, DELIVERY_VERIFY_TEMPORARY);
    ck_assert_str_eq(a->text, "no answer in time");
    ck_assert_uint_ge(a->at_ms - before, 5000);
    ck_assert_uint_le(a->at_ms - before, 5010);
    ck_assert_uint_eq(w.d->probes_out, 1); /* it is asked all the same */
    world_close(&w);
}
END_TEST

START_TEST(test_cancel)
{
    struct asked *a;
    struct peer *p;

    open_world(1, NULL);
    p = world_peer(&w, "10.0.1.1", 25);
    a = ask("ann@example.org");
    world_run_events(&w, (unsigned)_i);
    if (!a->called)
        delivery_verify_cancel(&a->v);
    memset(&a->v, 0x5a, sizeof(a->v)); /* nobody looks there any more */
    world_run_ms(&w, 1000);
    ck_assert_uint_eq(p->mails, 1);
    ck_assert(list_empty(&w.d->probes));
    delivery_verify_cancel(&(struct delivery_verify){.probe = NULL});
    world_close(&w);
}
END_TEST

/* A site that rests answers at once. */
START_TEST(test_site_is_down)
{
    struct asked *a;
    uint64_t before;

    open_world(1, NULL);
    world_no_peer(&w, "10.0.1.1");
    (void)ask("ann@example.org");
    run();
    before = world_now_ms(&w);
    a = ask("ann@example.org");
    run();
    ck_assert_int_eq(a->v.result, DELIVERY_VERIFY_TEMPORARY);
    ck_assert_uint_le(a->at_ms - before, 1);
    ck_assert_ptr_nonnull(strstr(a->text, "Connection refused"));
    world_close(&w);
}
END_TEST

START_TEST(test_stop)
{
    uint64_t before;

    open_world(1, NULL);
    world_peer(&w, "10.0.1.1", 25)->script.at[PEER_RCPT] = PEER_STALL;
    (void)ask("ann@example.org");
    world_run_ms(&w, 1000);
    before = world_now_ms(&w);
    delivery_stop(w.d, io_now_ms(w.io) + 10000);
    run();
    ck_assert_int_eq(asked[0].v.result, DELIVERY_VERIFY_TEMPORARY);
    ck_assert_uint_le(asked[0].at_ms - before, 1);
    ck_assert_int_eq(ask_for("ann@example.org", 1000, false)->v.result, DELIVERY_VERIFY_TEMPORARY);
    world_close(&w);
}
END_TEST

/* What waits is told so; what runs has its answer. */
START_TEST(test_reload)
{
    struct conf next;

    open_world(1, NULL);
    w.routes[0].connections = 1;
    (void)world_peer(&w, "10.0.1.1", 25);
    for (int i = 0; i < 5; i++)
        (void)ask("ann@example.org");
    next = w.conf;
    next.refs = 1;
    next.generation = 1;
    delivery_reload(w.d, &next, NULL);
    run();
    for (unsigned i = 0; i < asked_count; i++)
        ck_assert_msg(asked[i].v.result == DELIVERY_VERIFY_TEMPORARY
                          && strcmp(asked[i].text, "the configuration has changed") == 0,
                      "%u: %s", i, asked[i].text);
    (void)ask("ann@example.org");
    run();
    ck_assert_int_eq(asked[5].v.result, DELIVERY_VERIFY_EXISTS);
    world_close(&w);
    ck_assert_uint_eq(next.refs, 1);
}
END_TEST

START_TEST(test_power_cut)
{
    open_world(1, NULL);
    (void)world_peer(&w, "10.0.1.1", 25);
    for (int i = 0; i < 5; i++)
        (void)ask("ann@example.org");
    world_run_events(&w, (unsigned)_i * 3);
    world_power_cut(&w);
}
END_TEST

Suite *remote_verify_suite(void)
{
    Suite *s = suite_create("remote_verify");
    TCase *tc = tcase_create("remote_verify");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_answers, 0, (int)ARRAY_LEN(answers));
    tcase_add_test(tc, test_nothing_to_ask);
    tcase_add_test(tc, test_a_mailbox_for_when_it_is_down);
    tcase_add_test(tc, test_sender);
    tcase_add_test(tc, test_lmtp);
    tcase_add_test(tc, test_fallback);
    tcase_add_test(tc, test_ahead_of_mail);
    tcase_add_test(tc, test_bounded);
    tcase_add_test(tc, test_timeout);
    tcase_add_loop_test(tc, test_cancel, 0, 40);
    tcase_add_test(tc, test_site_is_down);
    tcase_add_test(tc, test_stop);
    tcase_add_test(tc, test_reload);
    tcase_add_loop_test(tc, test_power_cut, 0, 20);
    suite_add_tcase(s, tc);
    return s;
}
