/* What replies mean, and for whom: docs/replies.md, row by row. */
#include <check.h>
#include <stdio.h>

#include "remote_world.h"

Suite *remote_reply_suite(void);

static struct world w;

/* ---- the table ------------------------------------------------------------------------------ */

#define DONE       DELIVERY_DONE
#define LATER      DELIVERY_DEFERRED
#define NEVER      DELIVERY_FAILED
#define RECIPIENT  DELIVERY_SCOPE_RECIPIENT
#define MESSAGE    DELIVERY_SCOPE_MESSAGE
#define CONNECTION DELIVERY_SCOPE_CONNECTION

static const struct {
    enum smtp_client_stage stage;
    bool lmtp;
    uint16_t code;
    uint16_t enhanced[3];
    enum delivery_status status;
    enum delivery_scope scope;
    bool enough;
} meanings[] = {
    {SMTP_STAGE_MAIL, false, 450, {4, 7, 1}, LATER, MESSAGE, false},
    {SMTP_STAGE_MAIL,
     false,
     452,
     {0},
     LATER,
     MESSAGE,
     false}, /* no room: nothing about recipients */
    {SMTP_STAGE_MAIL, false, 550, {5, 7, 1}, NEVER, MESSAGE, false},
    {SMTP_STAGE_MAIL, false, 552, {5, 3, 4}, NEVER, MESSAGE, false},
    {SMTP_STAGE_MAIL, false, 530, {5, 7, 0}, LATER, CONNECTION, false},
    {SMTP_STAGE_MAIL, false, 538, {0}, LATER, CONNECTION, false},
    {SMTP_STAGE_RCPT, false, 250, {2, 1, 5}, DONE, RECIPIENT, false},
    {SMTP_STAGE_RCPT, false, 251, {0}, DONE, RECIPIENT, false},
    {SMTP_STAGE_RCPT, false, 450, {4, 2, 0}, LATER, RECIPIENT, false},
    {SMTP_STAGE_RCPT, false, 451, {0}, LATER, RECIPIENT, false},
    {SMTP_STAGE_RCPT, false, 452, {4, 5, 3}, LATER, RECIPIENT, true},
    {SMTP_STAGE_RCPT, false, 452, {0}, LATER, RECIPIENT, true},
    {SMTP_STAGE_RCPT, false, 452, {4, 2, 2}, LATER, RECIPIENT, false}, /* his mailbox is full */
    {SMTP_STAGE_RCPT, false, 552, {0}, LATER, RECIPIENT, true},
    {SMTP_STAGE_RCPT, false, 552, {5, 5, 3}, LATER, RECIPIENT, true},
    {SMTP_STAGE_RCPT, false, 552, {5, 2, 2}, NEVER, RECIPIENT, false},
    {SMTP_STAGE_RCPT, false, 550, {5, 1, 1}, NEVER, RECIPIENT, false},
    {SMTP_STAGE_RCPT, false, 551, {0}, NEVER, RECIPIENT, false},
    {SMTP_STAGE_RCPT, false, 553, {0}, NEVER, RECIPIENT, false},
    {SMTP_STAGE_RCPT, false, 530, {5, 7, 0}, LATER, CONNECTION, false},
    {SMTP_STAGE_DATA, false, 451, {0}, LATER, MESSAGE, false},
    {SMTP_STAGE_DATA, false, 554, {5, 7, 1}, NEVER, MESSAGE, false},
    {SMTP_STAGE_DOT, false, 250, {2, 0, 0}, DONE, MESSAGE, false},
    {SMTP_STAGE_DOT, false, 421, {4, 3, 2}, LATER, MESSAGE, false},
    {SMTP_STAGE_DOT, false, 452, {4, 3, 1}, LATER, MESSAGE, false},
    {SMTP_STAGE_DOT, false, 552, {0}, NEVER, MESSAGE, false},
    {SMTP_STAGE_DOT, false, 554, {5, 6, 0}, NEVER, MESSAGE, false},
    {SMTP_STAGE_DOT, true, 250, {2, 0, 0}, DONE, RECIPIENT, false},
    {SMTP_STAGE_DOT, true, 452, {4, 2, 2}, LATER, RECIPIENT, false},
    {SMTP_STAGE_DOT, true, 552, {5, 2, 2}, NEVER, RECIPIENT, false},
};

START_TEST(test_meaning)
{
    struct smtp_reply reply = {.code = meanings[_i].code};
    struct delivery_meaning m;

    memcpy(reply.enhanced, meanings[_i].enhanced, sizeof(reply.enhanced));
    m = delivery_reply_meaning(&reply, meanings[_i].stage, meanings[_i].lmtp);
    ck_assert_msg(m.status == meanings[_i].status && m.scope == meanings[_i].scope
                      && m.enough == meanings[_i].enough,
                  "%s %u: status %u scope %u %s", smtp_client_stage_name(meanings[_i].stage),
                  reply.code, m.status, m.scope, m.enough ? "enough" : "");
}
END_TEST

/* ---- how far it goes ------------------------------------------------------------------------ */

static const struct {
    enum peer_stage stage;
    const char *reply;
    enum delivery_status status;
    enum delivery_scope scope;
    uint16_t code, enhanced[3];
    const char *text; /* all of it; NULL: whatever */
} rows[] = {
    {PEER_GREETING, "421 4.3.2 Closed", LATER, DELIVERY_SCOPE_SITE, 421, {4, 3, 2}, NULL},
    {PEER_GREETING, "554 5.7.1 Not you", LATER, DELIVERY_SCOPE_SITE, 554, {5, 7, 1}, NULL},
    {PEER_GREETING, "521 We take no mail", LATER, DELIVERY_SCOPE_SITE, 521, {4, 3, 2}, NULL},
    {PEER_GREETING, PEER_DROP, LATER, DELIVERY_SCOPE_SITE, 0, {4, 4, 2}, NULL},
    {PEER_EHLO, "451 4.3.0 Later", LATER, DELIVERY_SCOPE_SITE, 451, {4, 3, 0}, NULL},
    {PEER_MAIL, "450 4.7.1 Later", LATER, MESSAGE, 450, {4, 7, 1}, "Later"},
    {PEER_MAIL, "550 5.7.1 Never", NEVER, MESSAGE, 550, {5, 7, 1}, "Never"},
    {PEER_MAIL,
     "530 5.7.0 Must issue a STARTTLS command first",
     LATER,
     CONNECTION,
     530,
     {5, 7, 0},
     NULL},
    {PEER_MAIL, "421 4.3.2 Closing", LATER, CONNECTION, 421, {4, 3, 2}, NULL},
    {PEER_MAIL, PEER_DROP, LATER, CONNECTION, 0, {4, 4, 2}, NULL},
    {PEER_MAIL, PEER_STALL, LATER, CONNECTION, 0, {4, 4, 2}, NULL},
    {PEER_MAIL, "what?", LATER, CONNECTION, 0, {4, 5, 0}, NULL},
    {PEER_RCPT, "450 4.2.0 Later", LATER, RECIPIENT, 450, {4, 2, 0}, "Later"},
    {PEER_RCPT, "421 4.3.2 Closing", LATER, CONNECTION, 421, {4, 3, 2}, NULL},
    {PEER_DATA, "451 Later", LATER, MESSAGE, 451, {0}, "Later"},
    {PEER_DOT, "451 4.3.0 Later", LATER, MESSAGE, 451, {4, 3, 0}, "Later"},
    {PEER_DOT, "421 4.3.0 Closing", LATER, MESSAGE, 421, {4, 3, 0}, "Closing"},
    {PEER_DOT, PEER_DROP, LATER, MESSAGE, 0, {4, 4, 2}, NULL},
    {PEER_DOT, PEER_STALL, LATER, MESSAGE, 0, {4, 4, 2}, NULL},
    /* The basic code decides; what contradicts it stays in the text (RFC 2034 4). */
    {PEER_RCPT, "550 4.2.1 Disabled for now", NEVER, RECIPIENT, 550, {0}, "4.2.1 Disabled for now"},
    {PEER_RCPT, "450 5.1.1 No such user", LATER, RECIPIENT, 450, {0}, "5.1.1 No such user"},
    /* Several lines become one, each without its code. */
    {PEER_RCPT,
     "550-5.7.1 One.\r\n550-5.7.1  Two:\r\n550 5.7.1 three",
     NEVER,
     RECIPIENT,
     550,
     {5, 7, 1},
     "One. Two: three"},
};

START_TEST(test_scope)
{
    const struct world_result *r;
    uint32_t i;

    world_open(&w, 1, NULL);
    world_peer(&w, "10.0.1.1", 25)->script.at[rows[_i].stage] = rows[_i].reply;
    i = world_send(&w, "10.0.1.1:25");
    world_run(&w);
    r = world_result(&w, i);
    ck_assert_msg(r->status[0] == rows[_i].status && r->scope[0] == rows[_i].scope
                      && r->code[0] == rows[_i].code,
                  "%s: status %u scope %u code %u: %s", rows[_i].reply, r->status[0], r->scope[0],
                  r->code[0], r->text);
    for (int k = 0; k < 3; k++)
        ck_assert_uint_eq(r->enhanced[0][k], rows[_i].enhanced[k]);
    if (rows[_i].text != NULL)
        ck_assert_str_eq(r->text, rows[_i].text);
    world_close(&w);
}
END_TEST

/* As much of the words as there is room for. */
START_TEST(test_long_words)
{
    static char reply[1200];
    size_t len = 0;

    for (int i = 0; i < 12; i++)
        len += (size_t)snprintf(reply + len, sizeof(reply) - len, "%s550%s5.7.1 line %02d %060d",
                                i > 0 ? "\r\n" : "", i < 11 ? "-" : " ", i, i);
    world_open(&w, 1, NULL);
    world_peer(&w, "10.0.1.1", 25)->script.at[PEER_RCPT] = reply;
    (void)world_send(&w, "10.0.1.1:25");
    world_run(&w);
    ck_assert_uint_eq(strlen(world_result(&w, 0)->text), DELIVERY_TEXT_MAX);
    ck_assert_int_eq(strncmp(world_result(&w, 0)->text, "line 00 000", 11), 0);
    ck_assert_ptr_nonnull(strstr(world_result(&w, 0)->text, " line 06 "));
    world_close(&w);
}
END_TEST

/* ---- for one sender ------------------------------------------------------------------------- */

/* 4yz at MAIL is about this message: others go on over the same connection, the site does not rest. */
START_TEST(test_others_go_on)
{
    struct peer *p;

    world_open(&w, 1, NULL);
    w.routes[0].connections = 1;
    p = world_peer(&w, "10.0.1.1", 25);
    p->script.no_sender = "spammer@";
    p->script.no_pipelining = _i == 1;
    for (int i = 0; i < 30; i++) {
        w.sender = i % 3 == 0 ? "spammer@ours.example" : "ann@ours.example";
        (void)world_send(&w, "10.0.1.1:25");
    }
    world_run(&w);
    for (uint32_t i = 0; i < w.sent; i++) {
        const struct world_result *r = world_result(&w, i);

        ck_assert_int_eq(r->status[0], i % 3 == 0 ? LATER : DONE);
        if (i % 3 == 0)
            ck_assert_int_eq(r->scope[0], MESSAGE);
    }
    ck_assert_uint_eq(p->accepted, 1);
    ck_assert_uint_eq(p->dots, 20);
    world_close(&w);
}
END_TEST

/* ---- as many recipients as there is room for ------------------------------------------------- */

static const struct {
    const char *what, *over, *dot;
    unsigned max, dots, mails;
    uint8_t status[WORLD_RCPTS];
    uint16_t code[WORLD_RCPTS];
} rooms[] = {
    {"two at a time",
     NULL,
     NULL,
     2,
     3,
     3,
     {DONE, DONE, DONE, DONE, DONE},
     {250, 250, 250, 250, 250}},
    {"without an enhanced code",
     "452 Too many",
     NULL,
     4,
     2,
     2,
     {DONE, DONE, DONE, DONE, DONE},
     {250, 250, 250, 250, 250}},
    {"the old way",
     "552 Too many",
     NULL,
     1,
     5,
     5,
     {DONE, DONE, DONE, DONE, DONE},
     {250, 250, 250, 250, 250}},
    {"one may be refused among them",
     NULL,
     NULL,
     2,
     2,
     2,
     {DONE, NEVER, DONE, DONE, DONE},
     {250, 550, 250, 250, 250}},
    {"the others have full mailboxes",
     "452 4.2.2 Full",
     NULL,
     2,
     1,
     1,
     {DONE, DONE, LATER, LATER, LATER},
     {250, 250, 452, 452, 452}},
    {"the message is not wanted now",
     NULL,
     "451 4.3.0 Later",
     2,
     1,
     1,
     {LATER, LATER, LATER, LATER, LATER},
     {451, 451, 452, 452, 452}},
    {"the message is not wanted",
     NULL,
     "554 5.6.0 No",
     2,
     1,
     1,
     {NEVER, NEVER, LATER, LATER, LATER},
     {554, 554, 452, 452, 452}},
    {"the connection goes",
     NULL,
     PEER_DROP,
     2,
     1,
     1,
     {LATER, LATER, LATER, LATER, LATER},
     {0, 0, 452, 452, 452}},
};

START_TEST(test_room)
{
    static const char *const five[] = {"a@x.example", "b@x.example", "c@x.example",
                                       "d@x.example", "e@x.example", NULL};
    static const char *const no_b[] = {"a@x.example", "550-b@x.example", "c@x.example",
                                       "d@x.example", "e@x.example",     NULL};
    struct sim_options pieces = sim_options_default();

    pieces.recv_split = 9000;
    pieces.latency_max_us = 5000;
    pieces.latency_spike = 2000;
    for (unsigned seed = 1; seed <= 8; seed++) {
        const struct world_result *r;
        struct peer *p;
        uint32_t i;

        world_open(&w, seed, seed > 4 ? &pieces : NULL);
        p = world_peer(&w, "10.0.1.1", 25);
        p->script.rcpts_max = rooms[_i].max;
        p->script.rcpts_over = rooms[_i].over;
        p->script.at[PEER_DOT] = rooms[_i].dot;
        p->script.no_pipelining = seed % 2 == 0;
        i = world_send_to(&w, (const char *const[]){"10.0.1.1:25", NULL},
                          rooms[_i].status[1] == NEVER && rooms[_i].dot == NULL ? no_b : five);
        world_run(&w);
        r = world_result(&w, i);
        for (uint32_t k = 0; k < r->count; k++)
            ck_assert_msg(r->status[k] == rooms[_i].status[k] && r->code[k] == rooms[_i].code[k],
                          "%s: recipient %u: status %u code %u", rooms[_i].what, k, r->status[k],
                          r->code[k]);
        ck_assert_uint_eq(p->dots, rooms[_i].dots);
        ck_assert_uint_eq(p->mails, rooms[_i].mails);
        ck_assert_uint_eq(p->accepted, 1);
        if (rooms[_i].status[2] == DONE)
            ck_assert(slice_equal(buf_slice(&p->body), w.body));
        world_close(&w);
    }
}
END_TEST

/* Each connection is good for one transaction of two recipients: closed behind it, or at the next MAIL. */
START_TEST(test_room_and_no_more)
{
    struct sim_options pieces = sim_options_default();

    pieces.recv_split = 9000;
    pieces.latency_max_us = 5000;
    for (unsigned seed = 1; seed <= 6; seed++) {
        const struct world_result *r;
        struct peer *p;
        uint32_t i;

        world_open(&w, seed, seed > 3 ? &pieces : NULL);
        p = world_peer(&w, "10.0.1.1", 25);
        p->script.rcpts_max = 2;
        p->script.one_message = _i == 0;
        p->script.good_messages = 1;
        p->script.at[PEER_MAIL] = _i == 1 ? "421 4.7.0 Enough" : _i == 2 ? PEER_DROP : NULL;
        i = world_send_to(&w, (const char *const[]){"10.0.1.1:25", NULL},
                          (const char *const[]){"a@x.example", "b@x.example", "c@x.example",
                                                "d@x.example", "e@x.example", NULL});
        world_run(&w);
        r = world_result(&w, i);
        for (uint32_t k = 0; k < 5; k++)
            ck_assert_msg(r->status[k] == DONE, "%u: status %u code %u", k, r->status[k],
                          r->code[k]);
        ck_assert_uint_eq(p->dots, 3);
        ck_assert_uint_eq(p->accepted, 3);
        world_close(&w);
    }
}
END_TEST

/* The next message on this connection goes all at once again, as the peer decides. */
START_TEST(test_room_for_others)
{
    struct peer *p;

    world_open(&w, 1, NULL);
    w.routes[0].connections = 1;
    p = world_peer(&w, "10.0.1.1", 25);
    p->script.rcpts_max = 2;
    for (int i = 0; i < 10; i++)
        (void)world_send_to(
            &w, (const char *const[]){"10.0.1.1:25", NULL},
            (const char *const[]){"a@x.example", "b@x.example", "c@x.example", NULL});
    world_run(&w);
    for (uint32_t i = 0; i < w.sent; i++)
        for (uint32_t k = 0; k < 3; k++)
            ck_assert_int_eq(world_result(&w, i)->status[k], DONE);
    ck_assert_uint_eq(p->dots, 20);
    ck_assert_uint_eq(p->accepted, 1);
    world_close(&w);
}
END_TEST

/* ---- the connection, not the message -------------------------------------------------------- */

/* A connection that has served ends with 421, or is cut, at whatever command: the message goes over the next. */
static const struct {
    enum peer_stage stage;
    const char *reply;
} ends[] = {
    {PEER_MAIL, "421 4.7.0 Enough messages"},
    {PEER_RCPT, "421 4.7.0 Enough"},
    {PEER_DATA, "421 4.7.0 Enough"},
    {PEER_MAIL, PEER_DROP},
    {PEER_RCPT, PEER_DROP},
    {PEER_DATA, PEER_RESET},
    {PEER_MAIL, "nonsense"},
};

START_TEST(test_used_connection_ends)
{
    for (int plain = 0; plain < 2; plain++) {
        struct peer *p;

        world_open(&w, 1, NULL);
        w.routes[0].connections = 1;
        p = world_peer(&w, "10.0.1.1", 25);
        p->script.at[ends[_i].stage] = ends[_i].reply;
        p->script.good_messages = 3;
        p->script.no_pipelining = plain == 1;
        for (int i = 0; i < 10; i++)
            (void)world_send(&w, "10.0.1.1:25");
        world_run(&w);
        for (uint32_t i = 0; i < w.sent; i++)
            ck_assert_msg(world_result(&w, i)->status[0] == DONE, "%u: %s", i,
                          world_result(&w, i)->text);
        ck_assert_uint_eq(p->dots, 10);
        world_close(&w);
    }
}
END_TEST

/* A new connection does: another host of the site has it at once, if there is one. */
START_TEST(test_new_connection_ends)
{
    for (int hosts = 1; hosts <= 2; hosts++) {
        const struct world_result *r;
        struct peer *p;
        uint32_t i;

        world_open(&w, 1, NULL);
        dns_sim_zone_add_mx(w.zone, "d.example", 10, "h1");
        dns_sim_zone_add_address(w.zone, "h1", "10.0.1.1");
        p = world_peer(&w, "10.0.1.1", 25);
        p->script.at[ends[_i].stage] = ends[_i].reply;
        if (hosts == 2) {
            dns_sim_zone_add_mx(w.zone, "d.example", 20, "h2");
            dns_sim_zone_add_address(w.zone, "h2", "10.0.1.2");
            (void)world_peer(&w, "10.0.1.2", 25);
        }
        i = world_send_to(&w, (const char *const[]){"mx", NULL},
                          (const char *const[]){"user@d.example", NULL});
        world_run(&w);
        r = world_result(&w, i);
        ck_assert_int_eq(r->status[0], hosts == 2 ? DONE : LATER);
        if (hosts == 1)
            ck_assert_int_eq(r->scope[0], CONNECTION);
        ck_assert_uint_eq(p->accepted, 1);
        world_close(&w);
    }
}
END_TEST

/* ---- hosts that take no mail (RFC 7504) ------------------------------------------------------ */

START_TEST(test_takes_no_mail)
{
    static const struct {
        const char *first, *second;
        enum delivery_status status;
    } hosts[] = {
        {"521 5.3.2 No mail here", "521 5.3.2 Nor here", NEVER},
        {"521 5.3.2 No mail here", NULL, DONE},
        {"521 5.3.2 No mail here", "554 Not you", LATER},
        {"521 5.3.2 No mail here", "421 Later", LATER},
        {"554 Not you", "554 Nor you", LATER},
    };
    const struct world_result *r;
    uint32_t i;

    world_open(&w, 1, NULL);
    dns_sim_zone_add_mx(w.zone, "d.example", 10, "h1");
    dns_sim_zone_add_mx(w.zone, "d.example", 20, "h2");
    dns_sim_zone_add_address(w.zone, "h1", "10.0.1.1");
    dns_sim_zone_add_address(w.zone, "h2", "10.0.1.2");
    world_peer(&w, "10.0.1.1", 25)->script.at[PEER_GREETING] = hosts[_i].first;
    world_peer(&w, "10.0.1.2", 25)->script.at[PEER_GREETING] = hosts[_i].second;
    i = world_send_to(&w, (const char *const[]){"mx", NULL},
                      (const char *const[]){"user@d.example", NULL});
    world_run(&w);
    r = world_result(&w, i);
    ck_assert_msg(r->status[0] == hosts[_i].status, "status %u: %s", r->status[0], r->text);
    world_close(&w);
}
END_TEST

/* ---- what does not count -------------------------------------------------------------------- */

START_TEST(test_step)
{
    static const uint64_t intervals[] = {300000, 600000, 3600000};
    const struct conf_retry retry = {.intervals = {intervals, ARRAY_LEN(intervals)}};
    const struct conf_retry one = {.intervals = {intervals, 1}};

    ck_assert_uint_eq(delivery_outcome_step(&retry, 0), 1);
    ck_assert_uint_eq(delivery_outcome_step(&retry, 299), 1);
    ck_assert_uint_eq(delivery_outcome_step(&retry, 300), 2);
    ck_assert_uint_eq(delivery_outcome_step(&retry, 899), 2);
    ck_assert_uint_eq(delivery_outcome_step(&retry, 900), 3);
    ck_assert_uint_eq(delivery_outcome_step(&retry, UINT32_MAX), 3);
    ck_assert_uint_eq(delivery_outcome_step(&one, 86400), 1);
}
END_TEST

Suite *remote_reply_suite(void)
{
    Suite *s = suite_create("remote_reply");
    TCase *tc = tcase_create("remote_reply");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_meaning, 0, (int)ARRAY_LEN(meanings));
    tcase_add_loop_test(tc, test_scope, 0, (int)ARRAY_LEN(rows));
    tcase_add_test(tc, test_long_words);
    tcase_add_loop_test(tc, test_others_go_on, 0, 2);
    tcase_add_loop_test(tc, test_room, 0, (int)ARRAY_LEN(rooms));
    tcase_add_loop_test(tc, test_room_and_no_more, 0, 3);
    tcase_add_test(tc, test_room_for_others);
    tcase_add_loop_test(tc, test_used_connection_ends, 0, (int)ARRAY_LEN(ends));
    tcase_add_loop_test(tc, test_new_connection_ends, 0, (int)ARRAY_LEN(ends));
    tcase_add_loop_test(tc, test_takes_no_mail, 0, 5);
    tcase_add_test(tc, test_step);
    suite_add_tcase(s, tc);
    return s;
}
