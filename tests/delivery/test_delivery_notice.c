/* Notices: who is told what, by NOTIFY and outcome; what goes back; the postmaster. The senders have mailboxes. */
#include <check.h>
#include <errno.h>
#include <stdio.h>

#include "mail_template.h"
#include "origin_world.h"

#define BOB_NEW "/mail/example.test/bob/new"
#define ANN_NEW "/mail/example.test/ann/new"
#define PM_NEW  "/mail/example.test/pm/new"

static struct origin_world world;
static struct origin_world *const w = &world;
static struct buf bytes;

static const char message[] = "From: bob\r\n"
                              "Message-ID: <m1@example.test>\r\n"
                              "Subject: about apples\r\n"
                              "\r\n"
                              "The body stays here.\r\n"
                              ".a line with a dot\r\n";

static void setup(void)
{
    origin_open(w, 1, NULL);
    origin_start(w);
}

static void teardown(void)
{
    origin_close(w);
    buf_finish(&bytes);
    bytes = (struct buf){0};
}

static void read_notice(const char *directory, unsigned n)
{
    ck_assert(origin_file(w, directory, n, NULL, &bytes));
}

static void check_contains(const char *text)
{
    ck_assert_msg(origin_contains(buf_slice(&bytes), text), "no %s in\n%.*s", text,
                  SLICE_ARG(buf_slice(&bytes)));
}

static void check_lacks(const char *text)
{
    ck_assert_msg(!origin_contains(buf_slice(&bytes), text), "%s in\n%.*s", text,
                  SLICE_ARG(buf_slice(&bytes)));
}

static uint64_t submit(const char *sender, const char *recipient, struct spool_dsn dsn,
                       uint16_t flags, struct slice body)
{
    struct slice address = slice_str(recipient);
    struct spool_envelope envelope = {.sender = slice_str(sender),
                                      .recipients = &address,
                                      .recipient_count = 1,
                                      .dsn = &dsn,
                                      .flags = flags,
                                      .envid = SLICE_LITERAL("e+2B1"),
                                      .facts = SLICE_LITERAL("client=192.0.2.7\nhelo=c.example\n")};
    uint64_t id = origin_submit_envelope(w, &envelope, body);

    ck_assert_uint_ne(id, 0);
    return id;
}

static uint64_t submit_notify(const char *recipient, uint8_t notify, uint8_t flags)
{
    return submit("bob@example.test", recipient,
                  (struct spool_dsn){.orcpt = SLICE_LITERAL("rfc822;O+2Brig@x.test"),
                                     .notify = notify,
                                     .flags = flags},
                  0, slice_str(message));
}

/* ---- the rule ------------------------------------------------------------------------------- */

enum {
    N = SPOOL_NOTIFY_NEVER,
    S = SPOOL_NOTIFY_SUCCESS,
    F = SPOOL_NOTIFY_FAILURE,
    D = SPOOL_NOTIFY_DELAY,
};
#define NONE    DELIVERY_NOTICE_NONE
#define FAILURE DELIVERY_NOTICE_FAILURE
#define DELAY   DELIVERY_NOTICE_DELAY
#define SUCCESS DELIVERY_NOTICE_SUCCESS

/* Each thing that may be said, against each end. */
static const struct {
    uint8_t notify;
    enum delivery_notice failed, late, delivered, relayed, expanded;
} rules[] = {
    {0, FAILURE, DELAY, NONE, NONE, NONE},
    {N, NONE, NONE, NONE, NONE, NONE},
    {S, NONE, NONE, SUCCESS, SUCCESS, SUCCESS},
    {F, FAILURE, NONE, NONE, NONE, NONE},
    {D, NONE, DELAY, NONE, NONE, NONE},
    {S | F, FAILURE, NONE, SUCCESS, SUCCESS, SUCCESS},
    {S | D, NONE, DELAY, SUCCESS, SUCCESS, SUCCESS},
    {F | D, FAILURE, DELAY, NONE, NONE, NONE},
    {S | F | D, FAILURE, DELAY, SUCCESS, SUCCESS, SUCCESS},
    {N | S, NONE, NONE, NONE, NONE, NONE}, /* nobody may say this */
};

static void check_rule(struct delivery_recipient r, uint8_t notify, bool late,
                       enum delivery_notice expected)
{
    r.notify = notify;
    ck_assert_int_eq(delivery_notice_asked(&r, late), expected);
}

START_TEST(rule)
{
    uint8_t notify = rules[_i].notify;

    check_rule((struct delivery_recipient){.status = DELIVERY_FAILED}, notify, false,
               rules[_i].failed);
    check_rule((struct delivery_recipient){.status = DELIVERY_FAILED}, notify, true,
               rules[_i].failed);
    check_rule((struct delivery_recipient){.status = DELIVERY_DEFERRED}, notify, true,
               rules[_i].late);
    check_rule((struct delivery_recipient){.status = DELIVERY_DEFERRED}, notify, false, NONE);
    check_rule((struct delivery_recipient){.status = DELIVERY_POSTPONED}, notify, true, NONE);
    check_rule((struct delivery_recipient){.status = DELIVERY_DONE, .final = true}, notify, true,
               rules[_i].delivered);
    check_rule((struct delivery_recipient){.status = DELIVERY_DONE, .relayed = true}, notify, true,
               rules[_i].relayed);
    check_rule((struct delivery_recipient){.status = DELIVERY_DONE, .expanded = true}, notify, true,
               rules[_i].expanded);
    /* The next hop has been told, and owes it. */
    check_rule((struct delivery_recipient){.status = DELIVERY_DONE}, notify, true, NONE);
}
END_TEST

/* ---- NOTIFY, through everything ------------------------------------------------------------- */

static const struct {
    const char *recipient;
    uint8_t notify, flags;
    const char *action; /* NULL: nobody is told */
} ends[] = {
    {"ann@example.test", 0, 0, NULL},
    {"ann@example.test", S, 0, "delivered"},
    {"ann@example.test", S | F, 0, "delivered"},
    {"ann@example.test", F | D, 0, NULL},
    {"ann@example.test", N, 0, NULL},
    {"x@discard.test", S, 0, "delivered"},
    {"x@reject.test", 0, 0, "failed"},
    {"x@reject.test", F, 0, "failed"},
    {"x@reject.test", S, 0, NULL},
    {"x@reject.test", D, 0, NULL},
    {"x@reject.test", N, 0, NULL},
    {"list@example.test", S, SPOOL_RECIPIENT_EXPANDED, "expanded"},
    {"list@reject.test", S | F, SPOOL_RECIPIENT_EXPANDED, "expanded"},
    {"list@example.test", F, SPOOL_RECIPIENT_EXPANDED, NULL},
};

START_TEST(notify)
{
    char action[40];

    (void)submit_notify(ends[_i].recipient, ends[_i].notify, ends[_i].flags);
    origin_drain(w);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), ends[_i].action != NULL);
    ck_assert_uint_eq(origin_files(w, ANN_NEW), strncmp(ends[_i].recipient, "ann", 3) == 0);
    ck_assert_uint_eq(origin_files(w, "/mail/example.test/list/new"), 0);
    ck_assert_uint_eq(w->d->counters.bounces_sent, ends[_i].action != NULL);
    if (ends[_i].action == NULL)
        return;
    read_notice(BOB_NEW, 0);
    (void)snprintf(action, sizeof(action), "Action: %s\n", ends[_i].action);
    check_contains(action);
    check_contains("Original-Envelope-Id: e+1\n");
    check_contains("Original-Recipient: rfc822; O+rig@x.test\n");
    check_contains("Received-From-MTA: dns; c.example (192.0.2.7)\n");
    check_contains("References: <m1@example.test>\n");
    ck_assert_uint_eq(w->d->counters.receipts_sent, strcmp(ends[_i].action, "failed") != 0);
}
END_TEST

/* Some are delivered, some fail: each kind has its notice, and who failed is told of with the others. */
START_TEST(kinds)
{
    struct slice list[5] = {SLICE_LITERAL("ann@example.test"), SLICE_LITERAL("x@reject.test"),
                            SLICE_LITERAL("carl@example.test"), SLICE_LITERAL("y@reject.test"),
                            SLICE_LITERAL("z@discard.test")};
    struct spool_dsn dsn[5] = {
        {.notify = S}, {.notify = F}, {.notify = N}, {.notify = 0}, {.notify = S | F}};
    struct spool_envelope envelope = {.sender = SLICE_LITERAL("bob@example.test"),
                                      .recipients = list,
                                      .recipient_count = 5,
                                      .dsn = dsn};
    bool failure = false, success = false;

    ck_assert_uint_ne(origin_submit_envelope(w, &envelope, slice_str(message)), 0);
    origin_drain(w);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), 2);
    ck_assert_uint_eq(w->d->counters.delivered, 3 + 2); /* with the notices */
    ck_assert_uint_eq(w->d->counters.bounced, 2);
    for (unsigned i = 0; i < 2; i++) {
        read_notice(BOB_NEW, i);
        check_lacks("carl@");
        if (origin_contains(buf_slice(&bytes), "Action: failed")) {
            failure = true;
            check_contains("x@reject.test");
            check_contains("y@reject.test");
            check_lacks("Action: delivered");
        } else {
            success = true;
            check_contains("ann@example.test");
            check_contains("z@discard.test");
            check_contains("Successful mail delivery report");
        }
    }
    ck_assert(failure && success);
}
END_TEST

/* Who is home does not wait for ever for those who are not. */
START_TEST(late_task)
{
    static const char *const recipients[] = {"x@reject.test", "ann@example.test", NULL};

    w->d->maildirs_running = DELIVERY_MAILDIRS_MAX; /* so long as these do not end */
    ck_assert_uint_ne(origin_submit(w, "bob@example.test", recipients, slice_str(message), 0), 0);
    origin_run_ms(w, 10 * 1000);
    ck_assert_uint_eq(w->d->counters.bounces_sent, 0);
    origin_run_ms(w, 15 * 1000);
    ck_assert_uint_eq(w->d->counters.bounces_sent, 1);
    ck_assert_uint_eq(w->d->counters.bounced, 1);
    w->d->maildirs_running = 0;
    ck_assert_uint_ne(origin_submit_one(w, "", "carl@example.test", message), 0);
    origin_drain(w);
    ck_assert_uint_eq(origin_files(w, ANN_NEW), 1);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), 1);
}
END_TEST

/* ---- delays --------------------------------------------------------------------------------- */

/* An attempt that fails. */
static void fail_once(void)
{
    w->shim.count = 0;
    w->shim.fail_at = 1;
    w->shim.error = ENOSPC;
    w->shim.failed = false;
    while (!w->shim.failed)
        origin_pass(w);
    w->shim.fail_at = 0;
    for (int i = 0; i < 5; i++)
        origin_settle(w);
}

static unsigned warned(uint64_t id)
{
    return spool_find(w->spool, id)->recipients[0].flags & SPOOL_RECIPIENT_WARNED;
}

START_TEST(delay)
{
    uint64_t id;

    w->conf.retry.warn_after = 150 * 1000;
    id = submit_notify("ann@example.test", D | F, 0);
    fail_once(); /* at once, and after 60 and 120 s */
    fail_once();
    fail_once();
    ck_assert_uint_eq(w->d->counters.bounces_sent, 0);
    fail_once();
    ck_assert_uint_eq(w->d->counters.bounces_sent, 1);
    ck_assert_uint_eq(w->d->counters.delays_sent, 1);
    ck_assert_uint_ne(warned(id), 0);
    origin_run_ms(w, 1000);
    read_notice(BOB_NEW, 0);
    check_contains("Action: delayed\n");
    check_contains("Will-Retry-Until: ");
    check_contains("No space left on device");
    check_contains("Original-Recipient: rfc822; O+rig@x.test\n");
    check_lacks("The body stays here");
    /* Once; another run knows, too. */
    fail_once();
    origin_stop(w);
    origin_start(w);
    ck_assert_uint_ne(warned(id), 0);
    fail_once();
    ck_assert_uint_eq(w->d->counters.bounces_sent, 0);
    origin_drain(w);
    ck_assert_uint_eq(origin_files(w, ANN_NEW), 1);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), 1);
}
END_TEST

START_TEST(delay_unasked)
{
    uint64_t id;

    w->conf.retry.warn_after = 30 * 1000;
    id = submit_notify("ann@example.test", F | S, 0);
    for (int i = 0; i < 3; i++)
        fail_once();
    ck_assert_uint_eq(warned(id), 0);
    ck_assert_uint_eq(w->d->counters.bounces_sent, 0);
}
END_TEST

/* ---- what goes back ------------------------------------------------------------------------- */

static const struct {
    uint64_t return_size;
    uint16_t flags;
    const char *type;
    bool whole;
} returns[] = {
    {1000, 0, "message/rfc822\n", true},
    {1000, SPOOL_RET_FULL, "message/rfc822\n", true},
    {1000, SPOOL_RET_HDRS, "text/rfc822-headers\n", false},
    {100, SPOOL_RET_FULL, "text/rfc822-headers\n", false},
    {0, 0, "text/rfc822-headers\n", false},
    {1000, SPOOL_REQUIRE_TLS, "text/rfc822-headers\n", false},
    {1000, SPOOL_HAS_8BIT, "message/rfc822\nContent-Transfer-Encoding: 8bit\n", true},
    {1000, SPOOL_IS_UTF8 | SPOOL_HAS_8BIT, "message/global\n", true},
    {0, SPOOL_IS_UTF8, "message/global-headers\n", false},
};

START_TEST(returned)
{
    w->conf.notices.return_size = returns[_i].return_size;
    (void)submit("bob@example.test", "x@reject.test", (struct spool_dsn){0}, returns[_i].flags,
                 slice_str(message));
    origin_drain(w);
    read_notice(BOB_NEW, 0);
    check_contains(returns[_i].type);
    check_contains(returns[_i].flags & SPOOL_IS_UTF8 ? "message/global-delivery-status"
                                                     : "message/delivery-status");
    if (returns[_i].whole)
        check_contains("The body stays here.\n.a line with a dot\n\n--=_");
    else
        check_lacks("The body stays here");
}
END_TEST

/* More than memory of the spool at a time, from the log and back into it. */
START_TEST(large)
{
    struct buf body = {0};

    w->conf.notices.return_size = 1 << 20;
    (void)buf_append_str(&body, "Subject: large\r\n\r\n");
    for (unsigned i = 0; i < 12000; i++)
        (void)buf_printf(&body, "line %05u of a large message\r\n", i);
    (void)submit("bob@example.test", "x@reject.test", (struct spool_dsn){0}, 0, buf_slice(&body));
    origin_drain(w);
    read_notice(BOB_NEW, 0);
    check_contains("\nline 00000 of");
    check_contains("\nline 06000 of");
    check_contains("\nline 11999 of a large message\n\n--=_");
    buf_finish(&body);
}
END_TEST

START_TEST(words)
{
    static const struct mail_template own = {.subject = SLICE_INIT("Sorry"),
                                             .from = SLICE_INIT("The Post <post@$hostname>"),
                                             .body = SLICE_INIT("$recipients did not get it.\n")};

    w->conf.notices.failure = &own;
    (void)submit_notify("x@reject.test", 0, 0);
    origin_drain(w);
    read_notice(BOB_NEW, 0);
    check_contains("Subject: Sorry\n");
    check_contains("From: The Post <post@mx.example.test>\n");
    check_contains("<x@reject.test>\n did not get it.\n");
}
END_TEST

/* ---- who reads it --------------------------------------------------------------------------- */

static void set_copies(const struct slice *which, size_t count)
{
    w->conf.notices.postmaster = SLICE_LITERAL("pm@example.test");
    w->conf.notices.copies = (struct conf_words){which, count};
}

START_TEST(copies)
{
    static const struct slice which[] = {SLICE_INIT("failure"), SLICE_INIT("double")};

    w->conf.notices.return_size = 1000;
    set_copies(which, 2);
    (void)submit_notify("x@reject.test", 0, 0);
    (void)submit_notify("ann@example.test", S, 0); /* of these he gets none */
    origin_drain(w);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), 2);
    ck_assert_uint_eq(origin_files(w, PM_NEW), 1);
    ck_assert_uint_eq(w->d->counters.copies_sent, 1);
    read_notice(PM_NEW, 0);
    check_contains("To: <pm@example.test>\n");
    check_contains("Subject: Postmaster copy: ");
    check_contains("<bob@example.test>");
    check_contains("Content-Type: text/rfc822-headers\n");
    check_lacks("The body stays here");
}
END_TEST

/* Nobody else would know: of a notice that fails, and of a sender who is nobody. */
START_TEST(instead)
{
    static const struct slice which[] = {SLICE_INIT("double")};

    set_copies(which, 1);
    (void)submit("y@reject.test", "x@reject.test", (struct spool_dsn){0}, 0, slice_str(message));
    origin_drain(w);
    ck_assert_uint_eq(w->d->counters.bounces_sent, 2);
    ck_assert_uint_eq(origin_files(w, PM_NEW), 1);
    read_notice(PM_NEW, 0);
    check_contains("this mail has no sender");
    check_contains("Final-Recipient: rfc822; y@reject.test\n");
    origin_run_ms(w, 2000);
    (void)submit("nobody", "x@reject.test", (struct spool_dsn){0}, 0, slice_str(message));
    origin_drain(w);
    ck_assert_uint_eq(origin_files(w, PM_NEW), 2);
    read_notice(PM_NEW, 1);
    check_contains("there is nobody at the sender's address");
    check_contains("<nobody>");
}
END_TEST

/* What is for the postmaster makes no further notice; and without him there is an end, too. */
START_TEST(postmaster_fails)
{
    static const struct slice which[] = {SLICE_INIT("failure"), SLICE_INIT("double")};

    set_copies(which, 2);
    w->conf.notices.postmaster = SLICE_LITERAL("pm@reject.test");
    (void)submit_notify("x@reject.test", 0, 0);
    origin_drain(w);
    ck_assert_uint_eq(w->d->counters.bounces_sent, 2);
    w->conf.notices.postmaster = SLICE_NULL;
    (void)submit("nobody", "x@reject.test", (struct spool_dsn){0}, 0, slice_str(message));
    (void)submit("", "x@reject.test", (struct spool_dsn){0}, 0, slice_str(message));
    origin_drain(w);
    ck_assert_uint_eq(w->d->counters.bounces_sent, 2);
}
END_TEST

/* ---- no room ------------------------------------------------------------------------------ */

/* Who has it is not given it again because there was no room to tell of it; another run knows, too. */
START_TEST(told_later)
{
    uint64_t id;

    origin_stop(w);
    w->spool_options.bytes_max = 4 << 20;
    origin_start(w);
    w->queue.stopped = true;
    id = submit_notify("ann@example.test", S, 0);
    origin_fill(w);
    w->queue.stopped = false;
    origin_run_ms(w, 3 * 60 * 1000);
    ck_assert_uint_eq(origin_files(w, ANN_NEW), 1);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), 0);
    ck_assert_uint_ge(w->d->counters.bounces_failed, 2);
    ck_assert_uint_eq(spool_find(w->spool, id)->recipients[0].flags,
                      SPOOL_RECIPIENT_DELIVERED_UNTOLD);
    if (_i == 1) {
        origin_stop(w);
        origin_start(w);
        ck_assert_uint_eq(spool_find(w->spool, id)->recipients[0].flags,
                          SPOOL_RECIPIENT_DELIVERED_UNTOLD);
    }
    origin_make_room(w);
    origin_drain(w);
    ck_assert_uint_eq(origin_files(w, ANN_NEW), 1);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), 1);
    read_notice(BOB_NEW, 0);
    check_contains("Action: delivered\n");
    check_contains("Original-Recipient: rfc822; O+rig@x.test\n");
}
END_TEST

/* ---- crashes -------------------------------------------------------------------------------- */

/* Who has the message and is only to be told of does not get it twice because of that. False if all was over
 * before. */
static bool crash_after(uint64_t seed, unsigned turns, unsigned *twice)
{
    struct sim_options options = sim_options_default();
    unsigned after = 40;
    bool ran = true;

    options.crash_reorder = seed % 2 == 0 ? 0 : 5000;
    origin_open(w, seed, &options);
    origin_start(w);
    w->queue.stopped = true;
    (void)submit_notify("ann@example.test", S, 0);
    w->queue.stopped = false;
    for (unsigned i = 0; i < turns && ran; i++)
        ran = (w->queue.messages > 0 || after-- > 0) && origin_turn(w);
    origin_crash(w, seed % 3 != 0);
    origin_start(w);
    origin_drain(w);
    ck_assert_uint_ge(origin_files(w, ANN_NEW), 1);
    ck_assert_uint_le(origin_files(w, ANN_NEW), 2);
    *twice += origin_files(w, ANN_NEW) == 2;
    ck_assert_uint_ge(origin_files(w, BOB_NEW), 1);
    ck_assert_uint_le(origin_files(w, BOB_NEW), 2);
    for (unsigned n = 0; n < origin_files(w, BOB_NEW); n++) {
        read_notice(BOB_NEW, n);
        check_contains("Action: delivered\n");
    }
    origin_close(w);
    return ran;
}

START_TEST(crash_at_each_event)
{
    unsigned turns = 0, twice = 0;

    while (crash_after((uint64_t)_i + 1, turns, &twice))
        turns++;
    /* One commit's time, not the notice's. */
    ck_assert_uint_le(twice * 2, turns);
    buf_finish(&bytes);
    bytes = (struct buf){0};
}
END_TEST

Suite *delivery_notice_suite(void)
{
    Suite *s = suite_create("delivery_notice");
    TCase *rule_case = tcase_create("rule");
    TCase *tc = tcase_create("notices");
    TCase *crashes = tcase_create("crashes");

    tcase_add_loop_test(rule_case, rule, 0, ARRAY_LEN(rules));
    suite_add_tcase(s, rule_case);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_loop_test(tc, notify, 0, ARRAY_LEN(ends));
    tcase_add_test(tc, kinds);
    tcase_add_test(tc, late_task);
    tcase_add_test(tc, delay);
    tcase_add_test(tc, delay_unasked);
    tcase_add_loop_test(tc, returned, 0, ARRAY_LEN(returns));
    tcase_add_test(tc, large);
    tcase_add_test(tc, words);
    tcase_add_test(tc, copies);
    tcase_add_test(tc, instead);
    tcase_add_test(tc, postmaster_fails);
    tcase_add_loop_test(tc, told_later, 0, 2);
    suite_add_tcase(s, tc);
    tcase_set_timeout(crashes, 60);
    tcase_add_loop_test(crashes, crash_at_each_event, 0, 6);
    suite_add_tcase(s, crashes);
    return s;
}
