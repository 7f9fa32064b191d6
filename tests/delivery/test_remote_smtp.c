/* One connection: what becomes of each recipient, whatever the peer says or does at each stage. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_mem.h"
#include "remote_world.h"

Suite *remote_smtp_suite(void);

static struct world w;

START_TEST(test_delivers)
{
    struct peer *p;
    uint32_t i;

    world_open(&w, 1, NULL);
    p = world_peer(&w, "10.0.1.1", 25);
    i = world_send(&w, "10.0.1.1:25");
    world_run(&w);
    const struct world_result *r = world_result(&w, i);
    ck_assert_int_eq(r->status[0], DELIVERY_DONE);
    ck_assert_int_eq(r->code[0], 250);
    ck_assert_int_eq(r->enhanced[0][0], 2);
    ck_assert_str_eq(r->text, "Taken");
    ck_assert_str_eq(r->remote, "10.0.1.1[10.0.1.1]:25");
    ck_assert(slice_equal(buf_slice(&p->body), w.body));
    world_close(&w);
    ck_assert_uint_eq(p->quits, 1);
}
END_TEST

/* ---- one thing goes wrong ----------------------------------------------------------------- */

static const struct trouble {
    const char *what;
    enum peer_stage stage;
    const char *reply;
    enum delivery_status status;
    uint16_t code;
    const char *text; /* is in the recipient's */
} troubles[] = {
    /* Before the first transaction the site is to blame. */
    {"greeting defers", PEER_GREETING, "421 4.3.2 Closed", DELIVERY_DEFERRED, 421, "Closed"},
    {"greeting refuses", PEER_GREETING, "554 Go away", DELIVERY_DEFERRED, 554,
     "while we were waiting for the greeting: Go away"},
    {"no greeting", PEER_GREETING, PEER_STALL, DELIVERY_DEFERRED, 0,
     "timeout waiting for the greeting"},
    {"drops before the greeting", PEER_GREETING, PEER_DROP, DELIVERY_DEFERRED, 0,
     "connection lost while waiting for the greeting"},
    {"resets before the greeting", PEER_GREETING, PEER_RESET, DELIVERY_DEFERRED, 0,
     "connection lost while waiting for the greeting"},
    {"another protocol", PEER_GREETING, "SSH-2.0-OpenSSH", DELIVERY_DEFERRED, 0,
     "does not speak SMTP"},
    {"EHLO defers", PEER_EHLO, "451 Not now", DELIVERY_DEFERRED, 451, "Not now"},
    {"EHLO unknown", PEER_EHLO, "502 What", DELIVERY_DONE, 250, "Taken"},
    {"drops at EHLO", PEER_EHLO, PEER_DROP, DELIVERY_DEFERRED, 0, "reply to EHLO"},
    {"stalls at EHLO", PEER_EHLO, PEER_STALL, DELIVERY_DEFERRED, 0, "timeout waiting"},
    /* Then the replies are about the message. */
    {"MAIL deferred", PEER_MAIL, "450 4.7.1 Later", DELIVERY_DEFERRED, 450, "Later"},
    {"MAIL refused", PEER_MAIL, "550 5.7.1 Never", DELIVERY_FAILED, 550, "Never"},
    {"MAIL 421", PEER_MAIL, "421 4.3.2 Closing", DELIVERY_DEFERRED, 421, "Closing"},
    {"drops at MAIL", PEER_MAIL, PEER_DROP, DELIVERY_DEFERRED, 0,
     "connection lost while waiting for the reply to MAIL"},
    {"resets at MAIL", PEER_MAIL, PEER_RESET, DELIVERY_DEFERRED, 0, "reply to MAIL"},
    {"stalls at MAIL", PEER_MAIL, PEER_STALL, DELIVERY_DEFERRED, 0,
     "timeout waiting for the reply to MAIL"},
    {"nonsense at MAIL", PEER_MAIL, "hello?", DELIVERY_DEFERRED, 0, "does not speak SMTP"},
    {"354 to MAIL", PEER_MAIL, "354 Go on", DELIVERY_DEFERRED, 0, "does not speak SMTP"},
    {"RCPT deferred", PEER_RCPT, "450 4.2.0 Later", DELIVERY_DEFERRED, 450, "Later"},
    {"RCPT refused", PEER_RCPT, "550 5.1.1 No such user", DELIVERY_FAILED, 550, "No such user"},
    {"too many recipients, the old way", PEER_RCPT, "552 Too many", DELIVERY_DEFERRED, 552,
     "Too many"},
    /* What was said before may be lost with the connection: at which stage is not certain here. */
    {"drops at RCPT", PEER_RCPT, PEER_DROP, DELIVERY_DEFERRED, 0, "connection lost"},
    {"stalls at RCPT", PEER_RCPT, PEER_STALL, DELIVERY_DEFERRED, 0, "timeout"},
    {"DATA deferred", PEER_DATA, "451 4.3.0 Later", DELIVERY_DEFERRED, 451, "Later"},
    {"DATA refused", PEER_DATA, "554 5.7.1 Never", DELIVERY_FAILED, 554, "Never"},
    {"250 to DATA", PEER_DATA, "250 Ok", DELIVERY_DEFERRED, 0, "does not speak SMTP"},
    {"drops at DATA", PEER_DATA, PEER_DROP, DELIVERY_DEFERRED, 0, "connection lost"},
    {"stalls at DATA", PEER_DATA, PEER_STALL, DELIVERY_DEFERRED, 0, "timeout"},
    {"dot deferred", PEER_DOT, "451 4.3.0 Later", DELIVERY_DEFERRED, 451, "Later"},
    {"dot refused", PEER_DOT, "554 5.6.0 Spam", DELIVERY_FAILED, 554, "Spam"},
    {"dot 421", PEER_DOT, "421 4.3.2 Closing", DELIVERY_DEFERRED, 421, "Closing"},
    {"drops at the dot", PEER_DOT, PEER_DROP, DELIVERY_DEFERRED, 0,
     "connection lost while waiting for the reply to the final dot; it may have"},
    {"stalls at the dot", PEER_DOT, PEER_STALL, DELIVERY_DEFERRED, 0,
     "timeout waiting for the reply to the final dot; it may have"},
    {"nonsense at the dot", PEER_DOT, "ok", DELIVERY_DEFERRED, 0, "it may have"},
    /* Too late to matter. */
    {"QUIT refused", PEER_QUIT, "500 What", DELIVERY_DONE, 250, "Taken"},
    {"stalls at QUIT", PEER_QUIT, PEER_STALL, DELIVERY_DONE, 250, "Taken"},
    {"drops at QUIT", PEER_QUIT, PEER_DROP, DELIVERY_DONE, 250, "Taken"},
};

static void check_trouble(const struct trouble *t, uint64_t seed, const struct sim_options *options,
                          bool no_pipelining)
{
    const struct world_result *r;
    struct peer *p;
    uint32_t i;

    world_open(&w, seed, options);
    p = world_peer(&w, "10.0.1.1", 25);
    p->script.at[t->stage] = t->reply;
    p->script.no_pipelining = no_pipelining;
    i = world_send(&w, "10.0.1.1:25");
    world_run(&w);
    r = world_result(&w, i);
    ck_assert_msg(r->status[0] == t->status && r->code[0] == t->code
                      && strstr(r->text, t->text) != NULL,
                  "%s: status %u code %u: %s", t->what, r->status[0], r->code[0], r->text);
    ck_assert_msg(p->accepted == 1, "%s: %u connections", t->what, p->accepted);
    world_close(&w);
}

START_TEST(test_trouble)
{
    check_trouble(&troubles[_i], 2, NULL, false);
    check_trouble(&troubles[_i], 3, NULL, true);
}
END_TEST

/* Replies in single bytes, sends that complete late. */
START_TEST(test_trouble_in_pieces)
{
    struct sim_options options = sim_options_default();

    options.recv_split = 9000;
    options.latency_max_us = 20000;
    options.link_buffer_len = 64;
    for (uint64_t seed = 1; seed <= 5; seed++)
        check_trouble(&troubles[_i], seed, &options, seed % 2 == 0);
}
END_TEST

/* ---- several recipients ------------------------------------------------------------------- */

static const struct mixture {
    const char *recipients[WORLD_RCPTS + 1];
    const char *data, *dot;
    uint8_t status[WORLD_RCPTS];
    uint16_t code[WORLD_RCPTS];
} mixtures[] = {
    {{"a@x.example", "550-b@x.example", "c@x.example", "450-d@x.example", NULL},
     NULL,
     NULL,
     {DELIVERY_DONE, DELIVERY_FAILED, DELIVERY_DONE, DELIVERY_DEFERRED},
     {250, 550, 250, 450}},
    {{"550-a@x.example", "451-b@x.example", NULL},
     NULL,
     NULL,
     {DELIVERY_FAILED, DELIVERY_DEFERRED},
     {550, 451}},
    /* Though all were refused, the peer wants the data: an empty message ends it. */
    {{"550-a@x.example", "451-b@x.example", NULL},
     "354 Go on",
     NULL,
     {DELIVERY_FAILED, DELIVERY_DEFERRED},
     {550, 451}},
    {{"550-a@x.example", "b@x.example", NULL},
     NULL,
     PEER_DROP,
     {DELIVERY_FAILED, DELIVERY_DEFERRED},
     {550, 0}},
    {{"450-a@x.example", "b@x.example", "552-c@x.example", NULL},
     NULL,
     "554 5.6.0 Spam",
     {DELIVERY_DEFERRED, DELIVERY_FAILED, DELIVERY_DEFERRED},
     {450, 554, 452}},
    /* An address that cannot be said is not sent, the others are. */
    {{"a\r\nRSET@x.example", "b@x.example", NULL},
     NULL,
     NULL,
     {DELIVERY_FAILED, DELIVERY_DONE},
     {553, 250}},
};

START_TEST(test_mixture)
{
    const struct mixture *m = &mixtures[_i];
    const struct world_result *r;
    struct peer *p;
    uint32_t i;

    for (int plain = 0; plain < 2; plain++) {
        world_open(&w, 4, NULL);
        p = world_peer(&w, "10.0.1.1", 25);
        p->script.at[PEER_DATA] = m->data;
        p->script.at[PEER_DOT] = m->dot;
        p->script.no_pipelining = plain == 1;
        i = world_send_to(&w, (const char *const[]){"10.0.1.1:25", NULL}, m->recipients);
        world_run(&w);
        r = world_result(&w, i);
        for (uint32_t k = 0; k < r->count; k++) {
            ck_assert_msg(r->status[k] == m->status[k] && r->code[k] == m->code[k],
                          "recipient %u: status %u code %u", k, r->status[k], r->code[k]);
        }
        ck_assert_uint_eq(p->accepted, 1);
        world_close(&w);
    }
}
END_TEST

/* ---- bodies ------------------------------------------------------------------------------- */

static const struct body_case {
    const char *what, *unit;
    size_t repeat;
    const char *end;   /* after the repeated part */
    const char *added; /* what arrives after it */
} bodies[] = {
    {"empty", "", 0, "", ""},
    {"a line", "A line.\r\n", 1, "", ""},
    {"no line end", "", 0, "A line", "\r\n"},
    {"ends in CR", "x\r\n", 1, "A line\r", "\r\n"},
    {"ends in a bare LF", "x\r\n", 1, "A line\n", "\r\n"},
    {"a dot", "", 0, ".", "\r\n"},
    {"dots only", ".\r\n", 3, "", ""},
    {"dotted lines, more than a send takes", ".x\r\n..\r\ny\r\n", 5000, "", ""},
    {"every other byte a dotted line", ".\r\n", 30000, "", ""},
    {"large", "A line of some length, and so on, until the end of it comes.\r\n", 20000, "", ""},
    {"large, no line end", "0123456789abcdef", 60000, "", "\r\n"},
    {"large and dotted", "0123456789abcdef0123456789abcdef\r\n.\r\n", 20000, ".", "\r\n"},
};

static void make_body(const struct body_case *b, struct buf *out)
{
    buf_init(out, 0);
    for (size_t i = 0; i < b->repeat; i++)
        ck_assert(buf_append_str(out, b->unit));
    ck_assert(buf_append_str(out, b->end));
}

static void check_body(const struct body_case *b, uint64_t seed, const struct sim_options *options)
{
    struct buf body;
    struct peer *p;
    uint32_t i;

    make_body(b, &body);
    world_open(&w, seed, options);
    p = world_peer(&w, "10.0.1.1", 25);
    world_set_body(&w, buf_slice(&body));
    i = world_send(&w, "10.0.1.1:25");
    world_run(&w);
    ck_assert_msg(world_result(&w, i)->status[0] == DELIVERY_DONE, "%s: %s", b->what,
                  world_result(&w, i)->text);
    ck_assert_uint_eq(w.d->counters.bytes_hot + w.d->counters.bytes_cold, buf_len(&body));
    (void)buf_append_str(&body, b->added);
    ck_assert_msg(slice_equal(buf_slice(&p->body), buf_slice(&body)), "%s: another body", b->what);
    buf_finish(&body);
    world_close(&w);
}

START_TEST(test_body)
{
    struct sim_options options = sim_options_default();

    check_body(&bodies[_i], 5, NULL);
    options.recv_split = 3000;
    options.link_buffer_len = 4096;
    check_body(&bodies[_i], 6, &options);
}
END_TEST

static const struct body_trouble {
    const char *what, *early;
    bool deaf;
    enum delivery_status status;
    uint16_t code;
    const char *text;
} body_troubles[] = {
    {"gives up early", "451 4.3.1 Disk full", false, DELIVERY_DEFERRED, 451, "Disk full"},
    {"refuses early", "552 5.3.4 Too big", false, DELIVERY_FAILED, 552, "Too big"},
    {"closes early", "421 4.3.2 Closing", false, DELIVERY_DEFERRED, 421, "Closing"},
    {"takes it before it has it", "250 Ok", false, DELIVERY_DEFERRED, 0, "does not speak SMTP"},
    {"drops", PEER_DROP, false, DELIVERY_DEFERRED, 0, "connection lost while sending the body"},
    {"resets", PEER_RESET, false, DELIVERY_DEFERRED, 0, "connection lost while sending the body"},
    {"reads nothing", NULL, true, DELIVERY_DEFERRED, 0, "timeout sending the body"},
};

START_TEST(test_body_trouble)
{
    const struct body_trouble *t = &body_troubles[_i];
    struct sim_options options = sim_options_default();
    const struct world_result *r;
    struct buf body;
    struct peer *p;
    uint32_t i;

    options.link_buffer_len = 4096;
    make_body(&bodies[9], &body);
    world_open(&w, 7, &options);
    p = world_peer(&w, "10.0.1.1", 25);
    p->script.early = t->early;
    p->script.deaf = t->deaf;
    world_set_body(&w, buf_slice(&body));
    i = world_send(&w, "10.0.1.1:25");
    world_run(&w);
    r = world_result(&w, i);
    ck_assert_msg(r->status[0] == t->status && r->code[0] == t->code
                      && strstr(r->text, t->text) != NULL,
                  "%s: status %u code %u: %s", t->what, r->status[0], r->code[0], r->text);
    ck_assert_uint_eq(p->accepted, 1);
    ck_assert_uint_eq(p->dots, 0);
    buf_finish(&body);
    world_close(&w);
}
END_TEST

/* The reply may be seen before it is known that the last bytes have left: what the kernel may still read
 * has to stand still for so long. */
START_TEST(test_reply_before_the_send_is_over)
{
    struct sim_options options = sim_options_default();
    struct buf body;

    options.latency_max_us = 1000;
    options.latency_spike = 3000;
    make_body(&bodies[9], &body);
    for (uint64_t seed = 1; seed <= 10; seed++) {
        world_open(&w, seed, &options);
        w.routes[0].connections = 2;
        (void)world_peer(&w, "10.0.1.1", 25);
        world_set_body(&w, slice_head(buf_slice(&body), seed % 2 == 0 ? 60000 : 1000));
        for (int i = 0; i < 20; i++)
            (void)world_send(&w, "10.0.1.1:25");
        world_run(&w);
        for (uint32_t i = 0; i < w.sent; i++)
            ck_assert_int_eq(world_result(&w, i)->status[0], DELIVERY_DONE);
        world_close(&w);
    }
    buf_finish(&body);
}
END_TEST

/* It says that it has the message and reads no further: the send never ends by itself. */
START_TEST(test_answers_and_reads_no_more)
{
    struct sim_options options = sim_options_default();
    struct buf body;
    struct peer *p;

    options.link_buffer_len = 4096;
    make_body(&bodies[9], &body);
    world_open(&w, 1, &options);
    p = world_peer(&w, "10.0.1.1", 25);
    p->script.early = "250 Ok";
    p->script.deaf = true;
    world_set_body(&w, slice_head(buf_slice(&body), 30000));
    (void)world_send(&w, "10.0.1.1:25");
    world_run(&w);
    ck_assert_int_eq(world_result(&w, 0)->status[0], DELIVERY_DONE);
    world_run_ms(&w, 1000);
    ck_assert_uint_eq(w.d->counters.connections_open, 0);
    buf_finish(&body);
    world_close(&w);
}
END_TEST

/* ---- zero copy ---------------------------------------------------------------------------- */

static bool find_connection(struct hash_node *node, void *context)
{
    struct delivery_site *s = container_of(node, struct delivery_site, by_key);

    ck_assert(!list_empty(&s->connections));
    *(struct delivery_smtp **)context =
        container_of(s->connections.next, struct delivery_smtp, in_site);
    return false;
}

static enum delivery_no_copy copies(const char *ip, size_t body_len, uint64_t seed)
{
    struct delivery_smtp *c = NULL;
    enum delivery_no_copy answer;
    static char body[40000];
    struct peer *p;
    char to[32];

    memset(body, 'x', sizeof(body));
    world_open(&w, seed, NULL);
    p = world_peer(&w, ip, 2525);
    world_set_body(&w, slice_of(body, body_len));
    ck_assert(spool_is_hot(w.message));
    (void)snprintf(to, sizeof(to), "%s:2525", ip);
    (void)world_send(&w, to);
    world_run(&w);
    ck_assert_int_eq(world_result(&w, 0)->status[0], DELIVERY_DONE);
    ck_assert(slice_equal(slice_head(buf_slice(&p->body), body_len), w.body));
    hash_table_each(&w.d->sites, find_connection, &c);
    answer = (enum delivery_no_copy)c->no_copy;
    ck_assert_uint_eq(w.d->counters.bytes_hot, body_len);
    world_close(&w);
    return answer;
}

START_TEST(test_zero_copy)
{
    unsigned kept = 0;

    ck_assert_int_eq(copies("10.0.1.1", 1000, 1), DELIVERY_NO_COPY_UNKNOWN); /* too small to ask */
    ck_assert_int_eq(copies("127.0.0.1", 40000, 1), DELIVERY_COPY);
    ck_assert_int_eq(copies("10.0.0.1", 40000, 1), DELIVERY_COPY);
    /* The kernel says whether it has copied, here by chance: then it is not asked again. */
    for (uint64_t seed = 1; seed <= 20; seed++)
        kept += copies("10.0.1.1", 40000, seed) == DELIVERY_NO_COPY;
    ck_assert(kept > 0 && kept < 20);
}
END_TEST

Suite *remote_smtp_suite(void)
{
    Suite *s = suite_create("remote_smtp");
    TCase *tc = tcase_create("remote_smtp");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, test_delivers);
    tcase_add_loop_test(tc, test_trouble, 0, (int)ARRAY_LEN(troubles));
    tcase_add_loop_test(tc, test_trouble_in_pieces, 0, (int)ARRAY_LEN(troubles));
    tcase_add_loop_test(tc, test_mixture, 0, (int)ARRAY_LEN(mixtures));
    tcase_add_loop_test(tc, test_body, 0, (int)ARRAY_LEN(bodies));
    tcase_add_loop_test(tc, test_body_trouble, 0, (int)ARRAY_LEN(body_troubles));
    tcase_add_test(tc, test_reply_before_the_send_is_over);
    tcase_add_test(tc, test_answers_and_reads_no_more);
    tcase_add_test(tc, test_zero_copy);
    suite_add_tcase(s, tc);
    return s;
}
