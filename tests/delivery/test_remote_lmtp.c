/* Mail stores: an outcome for each recipient, over TCP and over a socket in the file system; and what DSN
 * says to next hops. */
#include <check.h>
#include <stdio.h>

#include "remote_tls.h"
#include "remote_world.h"

Suite *remote_lmtp_suite(void);

static struct world w;

#define SOCKET "/run/lmtp"
static const char *const by_tcp[] = {"lmtp://10.0.1.1:24", NULL};
static const char *const by_socket[] = {"lmtp+unix:" SOCKET, NULL};

/* Over TCP, or, in the second round, over the socket. */
static struct peer *store(int round)
{
    struct peer *p =
        round == 0 ? world_peer(&w, "10.0.1.1", 24) : world_peer(&w, "unix:" SOCKET, 1);

    p->script.lmtp = true;
    return p;
}

static const char *const *way(int round)
{
    return round == 0 ? by_tcp : by_socket;
}

START_TEST(test_delivers)
{
    const struct world_result *r;
    struct peer *p;
    uint32_t i;

    world_open(&w, 1, NULL);
    p = store(_i);
    i = world_send_to(&w, way(_i), (const char *const[]){"Ann+News@Example.org", NULL});
    world_run(&w);
    r = world_result(&w, i);
    ck_assert_int_eq(r->status[0], DELIVERY_DONE);
    ck_assert_int_eq(r->code[0], 250);
    ck_assert(r->final[0] && !r->relayed[0]);
    ck_assert_str_eq(r->remote, _i == 0 ? "10.0.1.1[10.0.1.1]:24" : "lmtp+unix:" SOCKET);
    ck_assert_str_eq(p->rcpt_line, "RCPT TO:<Ann+News@Example.org>"); /* as it came */
    ck_assert(slice_equal(buf_slice(&p->body), w.body));
    world_close(&w);
    ck_assert_uint_eq(p->quits, 1);
}
END_TEST

START_TEST(test_an_outcome_each)
{
    static const char *const recipients[] = {"a@x.example",        "550-b@x.example",
                                             "dot552-c@x.example", "dot452-d@x.example",
                                             "e@x.example",        NULL};
    static const uint8_t status[] = {DELIVERY_DONE, DELIVERY_FAILED, DELIVERY_FAILED,
                                     DELIVERY_DEFERRED, DELIVERY_DONE};
    static const uint16_t code[] = {250, 550, 552, 452, 250};
    const struct world_result *r;
    struct peer *p;
    uint32_t i;

    for (int plain = 0; plain < 2; plain++) {
        world_open(&w, 2, NULL);
        p = store(_i);
        p->script.no_pipelining = plain == 1;
        i = world_send_to(&w, way(_i), recipients);
        world_run(&w);
        r = world_result(&w, i);
        for (uint32_t k = 0; k < r->count; k++)
            ck_assert_msg(r->status[k] == status[k] && r->code[k] == code[k],
                          "recipient %u: status %u code %u", k, r->status[k], r->code[k]);
        ck_assert_uint_eq(p->dots, 1);
        world_close(&w);
    }
}
END_TEST

/* The first has his mail; what became of the others nobody knows. */
START_TEST(test_lost_between_outcomes)
{
    const struct world_result *r;
    struct peer *p;
    uint32_t i;

    world_open(&w, 3, NULL);
    p = store(_i);
    p->script.at[PEER_DOT] = PEER_DROP;
    i = world_send_to(
        &w, way(_i),
        (const char *const[]){"dot250-a@x.example", "b@x.example", "c@x.example", NULL});
    world_run(&w);
    r = world_result(&w, i);
    ck_assert_int_eq(r->status[0], DELIVERY_DONE);
    ck_assert_int_eq(r->status[1], DELIVERY_DEFERRED);
    ck_assert_int_eq(r->status[2], DELIVERY_DEFERRED);
    world_close(&w);
}
END_TEST

START_TEST(test_pool)
{
    struct peer *p;

    world_open(&w, 4, NULL);
    w.routes[0].connections = 2;
    p = store(_i);
    for (int i = 0; i < 20; i++)
        (void)world_send_to(&w, way(_i), (const char *const[]){"a@x.example", NULL});
    world_run(&w);
    for (uint32_t i = 0; i < w.sent; i++)
        ck_assert_int_eq(world_result(&w, i)->status[0], DELIVERY_DONE);
    ck_assert_uint_le(p->accepted, 2);
    ck_assert_uint_eq(w.d->counters.sites, 0); /* counted by delivery_counters() */
    ck_assert_uint_eq(w.d->site_count, 1);
    world_close(&w);
}
END_TEST

/* Nobody listens: the mail waits, and the reason names the socket. When the store comes, it goes. */
START_TEST(test_no_socket)
{
    const struct world_result *r;
    uint32_t i;

    world_open(&w, 5, NULL);
    i = world_send_to(&w, by_socket, (const char *const[]){"a@x.example", NULL});
    world_run(&w);
    r = world_result(&w, i);
    ck_assert_int_eq(r->status[0], DELIVERY_DEFERRED);
    ck_assert_str_eq(r->text, "connect to lmtp+unix:" SOCKET ": No such file or directory");
    ck_assert_uint_eq(r->enhanced[0][0], 4);
    (void)store(1);
    world_run_ms(&w, 40000); /* the site rests */
    i = world_send_to(&w, by_socket, (const char *const[]){"a@x.example", NULL});
    world_run(&w);
    ck_assert_int_eq(world_result(&w, i)->status[0], DELIVERY_DONE);
    world_close(&w);
}
END_TEST

/* Another store, then a host: lists may be mixed. */
START_TEST(test_fallback)
{
    const struct world_result *r;
    struct peer *smtp;
    uint32_t i;

    world_open(&w, 6, NULL);
    world_no_peer(&w, "10.0.1.1");
    smtp = world_peer(&w, "10.0.1.2", 25);
    i = world_send_to(
        &w, (const char *const[]){"lmtp+unix:" SOCKET, "lmtp://10.0.1.1:24", "10.0.1.2:25", NULL},
        (const char *const[]){"a@x.example", NULL});
    world_run(&w);
    r = world_result(&w, i);
    ck_assert_int_eq(r->status[0], DELIVERY_DONE);
    ck_assert(!r->final[0] && r->relayed[0]);
    ck_assert_uint_eq(smtp->dots, 1);
    world_close(&w);
}
END_TEST

/* An SMTP server does not know LHLO: no mail is spoken to it in the wrong tongue. */
START_TEST(test_not_lmtp)
{
    const struct world_result *r;
    struct peer *p;
    uint32_t i;

    world_open(&w, 7, NULL);
    p = world_peer(&w, "10.0.1.1", 24);
    p->script.expects_nonsense = true;
    i = world_send_to(&w, by_tcp, (const char *const[]){"a@x.example", NULL});
    world_run(&w);
    r = world_result(&w, i);
    ck_assert_int_eq(r->status[0], DELIVERY_DEFERRED);
    ck_assert_int_eq(r->code[0], 500);
    ck_assert_uint_eq(p->mails, 0);
    world_close(&w);
}
END_TEST

/* By TCP TLS where it is offered; never on a socket, whatever the route says. */
START_TEST(test_tls)
{
    struct tls_pair pair = remote_tls_pair(cert_self, NULL, key_self);
    struct tls_context *server = remote_tls_server(&pair, NULL);
    const struct world_result *r;
    struct peer *p;
    uint32_t i;

    for (int round = 0; round < 2; round++) {
        world_open(&w, 8, NULL);
        world_use_tls(&w, NULL);
        w.routes[0].tls = round == 0 ? CONF_ROUTE_TLS_AUTO : CONF_ROUTE_TLS_VERIFY;
        p = store(round);
        p->script.tls = server;
        i = world_send_to(&w, way(round), (const char *const[]){"a@x.example", NULL});
        world_run(&w);
        r = world_result(&w, i);
        ck_assert_msg(r->status[0] == DELIVERY_DONE, "%s", r->text);
        ck_assert_uint_eq(p->mails_tls, round == 0);
        ck_assert_int_eq(r->tls.version[0] != '\0', round == 0);
        world_close(&w);
    }
    tls_context_unref(server);
}
END_TEST

/* RFC 8689 is about what leaves the machine. */
START_TEST(test_require_tls)
{
    static const struct {
        const char *to;
        enum delivery_status status;
    } rows[] = {
        {"lmtp+unix:" SOCKET, DELIVERY_DONE},
        {"lmtp://127.0.0.1:24", DELIVERY_DONE},
        {"lmtp://10.0.1.1:24", DELIVERY_FAILED},
    };
    const struct world_result *r;
    struct peer *p;
    uint32_t i;

    world_open(&w, 9, NULL);
    world_use_tls(&w, NULL);
    w.flags = SPOOL_REQUIRE_TLS;
    p = _i == 0 ? store(1) : _i == 1 ? world_peer(&w, "127.0.0.1", 24) : store(0);
    p->script.lmtp = true;
    i = world_send_to(&w, (const char *const[]){rows[_i].to, NULL},
                      (const char *const[]){"a@x.example", NULL});
    world_run(&w);
    r = world_result(&w, i);
    ck_assert_msg(r->status[0] == rows[_i].status, "%s: %u %s", rows[_i].to, r->status[0], r->text);
    world_close(&w);
}
END_TEST

/* What the sender said about notices goes to those who know what it means; who owes the notice, goes home. */
START_TEST(test_dsn)
{
    const struct world_result *r;
    struct peer *p;
    uint32_t i;

    for (int offered = 0; offered < 2; offered++) {
        world_open(&w, 10, NULL);
        w.envid = SLICE_LITERAL("QQ+2B1");
        w.ret = SMTP_RET_HDRS;
        w.orcpt = SLICE_LITERAL("rfc822;o@p");
        w.notify = SPOOL_NOTIFY_SUCCESS | SPOOL_NOTIFY_DELAY;
        p = world_peer(&w, "10.0.1.1", 25);
        p->script.dsn = offered == 1;
        i = world_send(&w, "10.0.1.1:25");
        world_run(&w);
        r = world_result(&w, i);
        ck_assert_int_eq(r->status[0], DELIVERY_DONE);
        ck_assert(!r->final[0]);
        ck_assert_int_eq(r->relayed[0], offered == 0);
        ck_assert_int_eq(strstr(p->mail_line, " RET=HDRS ENVID=QQ+2B1") != NULL, offered);
        ck_assert_str_eq(p->rcpt_line,
                         offered
                             ? "RCPT TO:<user@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o@p"
                             : "RCPT TO:<user@example.org>");
        world_close(&w);
    }
}
END_TEST

Suite *remote_lmtp_suite(void)
{
    Suite *s = suite_create("remote_lmtp");
    TCase *tc = tcase_create("remote_lmtp");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_delivers, 0, 2);
    tcase_add_loop_test(tc, test_an_outcome_each, 0, 2);
    tcase_add_loop_test(tc, test_lost_between_outcomes, 0, 2);
    tcase_add_loop_test(tc, test_pool, 0, 2);
    tcase_add_test(tc, test_no_socket);
    tcase_add_test(tc, test_fallback);
    tcase_add_test(tc, test_not_lmtp);
    tcase_add_test(tc, test_tls);
    tcase_add_loop_test(tc, test_require_tls, 0, 3);
    tcase_add_test(tc, test_dsn);
    suite_add_tcase(s, tc);
    return s;
}
