/* Notifications: who gets one, what is in it, and that none is lost. The senders have mailboxes. */
#include <check.h>
#include <errno.h>
#include <stdio.h>

#include "origin_world.h"

#define BOB_NEW "/mail/example.test/bob/new"

enum { MANY = 300 };

static struct origin_world world;
static struct origin_world *const w = &world;
static struct buf bytes;

static const char message[] = "From: bob\r\n"
                              "Subject: about apples\r\n"
                              "\r\n"
                              "The body stays here.\r\n";

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

/* The n-th notification in the sender's mailbox, in `bytes`. */
static void read_bounce(unsigned n)
{
    ck_assert(origin_file(w, BOB_NEW, n, NULL, &bytes));
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

START_TEST(one_recipient)
{
    uint64_t id = origin_submit_one(w, "bob@example.test", "x@reject.test", message);
    char text[ID_TEXT_SIZE];

    ck_assert_uint_ne(id, 0);
    origin_drain(w);
    ck_assert_uint_eq(w->d->counters.bounces_sent, 1);
    ck_assert_uint_eq(w->d->counters.bounced, 1);
    ck_assert_uint_eq(w->d->counters.delivered, 1);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), 1);
    read_bounce(0);
    check_contains("Return-Path: <>\n");
    check_contains("To: <bob@example.test>\n");
    check_contains("Auto-Submitted: auto-replied\n");
    check_contains("Reporting-MTA: dns; mx.example.test\n");
    check_contains("x@reject.test\n");
    check_contains("Action: failed\n");
    check_contains("Status: 5.7.1\n");
    check_contains("550 5.7.1 no mail here\n");
    check_contains("Subject: about apples\n");
    check_lacks("The body stays here");
    check_lacks("Received:");
    id_to_text(id, text);
    check_contains(text);
}
END_TEST

static bool is_bounce(struct spool_message *m, void *context)
{
    unsigned *seen = context;

    if (m->flags & SPOOL_IS_BOUNCE) {
        ck_assert_uint_ne(m->flags & SPOOL_REQUIRE_TLS, 0);
        (*seen)++;
    }
    return true;
}

/* A notification is protected as the message that it is about (RFC 8689 5). */
START_TEST(requires_tls)
{
    static const char *const recipients[] = {"x@reject.test", NULL};
    unsigned seen = 0;

    ck_assert_uint_ne(
        origin_submit(w, "bob@example.test", recipients, slice_str(message), SPOOL_REQUIRE_TLS), 0);
    while (seen == 0) {
        origin_pass(w);
        spool_each(w->spool, is_bounce, &seen);
    }
    origin_drain(w);
}
END_TEST

START_TEST(recipients_together)
{
    static const char *const recipients[] = {"x@reject.test", "ann@example.test",
                                             "../y@example.test", "z@reject.test", NULL};

    ck_assert_uint_ne(origin_submit(w, "bob@example.test", recipients, slice_str(message), 0), 0);
    origin_drain(w);
    /* One, though the message went two ways. */
    ck_assert_uint_eq(w->d->counters.bounces_sent, 1);
    ck_assert_uint_eq(w->d->counters.bounced, 3);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), 1);
    ck_assert_uint_eq(origin_files(w, "/mail/example.test/ann/new"), 1);
    read_bounce(0);
    check_lacks("ann@");
    check_contains("Final-Recipient: rfc822; x@reject.test\n");
    check_contains("Final-Recipient: rfc822; z@reject.test\n");
    check_contains("Final-Recipient: rfc822; ../y@example.test\n");
    check_contains("Status: 5.1.3\n");
}
END_TEST

START_TEST(nobody_is_told)
{
    static const char *const recipients[] = {"x@reject.test", NULL};

    ck_assert_uint_ne(origin_submit(w, "", recipients, slice_str(message), 0), 0);
    ck_assert_uint_ne(
        origin_submit(w, "bob@example.test", recipients, slice_str(message), SPOOL_IS_BOUNCE), 0);
    /* And a notification that cannot be delivered either ends there. */
    ck_assert_uint_ne(origin_submit_one(w, "y@reject.test", "x@reject.test", message), 0);
    origin_drain(w);
    ck_assert_uint_eq(w->d->counters.bounces_sent, 1);
    ck_assert_uint_eq(w->d->counters.bounced, 4);
    ck_assert_uint_eq(origin_files(w, "/mail/example.test"), 0);
}
END_TEST

/* Given up after its time: the last error is told, with a status that says so. */
START_TEST(expired)
{
    w->conf.retry.expire = 100 * 1000;
    ck_assert_uint_ne(origin_submit_one(w, "bob@example.test", "ann@example.test", message), 0);
    for (int i = 0; i < 3; i++) {
        w->shim.count = 0;
        w->shim.fail_at = 1;
        w->shim.error = ENOSPC;
        w->shim.failed = false;
        while (!w->shim.failed)
            origin_pass(w);
        origin_settle(w);
        ck_assert_uint_eq(w->d->counters.deferred, i < 2 ? (unsigned)i + 1 : 2);
    }
    origin_drain(w);
    ck_assert_uint_eq(w->d->counters.bounces_sent, 1);
    ck_assert_uint_eq(origin_files(w, "/mail/example.test/ann/new"), 0);
    read_bounce(0);
    check_contains("ann@example.test");
    check_contains("No space left on device");
    check_contains("Action: failed\n");
}
END_TEST

/* ---- headers of the original ---------------------------------------------------------------- */

START_TEST(headers)
{
    static const struct {
        const char *body, *there, *not_there;
    } rows[] = {
        {"\r\nbody only\r\n", "Action: failed", "body only"},
        {"", "Action: failed", "Subject: about"},
        {"Subject: no end", "Subject: no end", "never"},
        {"A: 1\r\nB: 2\r\n", "B: 2\n", "never"},
        {"A: 1\r\n two\r\n\r\nx\r\n\r\ny\r\n", "A: 1\n two\n", "\nx\n"},
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        ck_assert_uint_ne(origin_submit_one(w, "bob@example.test", "x@reject.test", rows[i].body),
                          0);
        origin_drain(w);
        origin_run_ms(w, 2000); /* the next has a later name */
        ck_assert_uint_eq(origin_files(w, BOB_NEW), i + 1);
        read_bounce(i);
        check_contains(rows[i].there);
        check_lacks(rows[i].not_there);
    }
}
END_TEST

/* No more of them than a notification returns, in whole lines, from a message that lies in the log. */
START_TEST(endless_headers)
{
    static const char *const recipients[] = {"x@reject.test", NULL};
    struct buf body = {0};

    for (unsigned i = 0; i < 30000; i++)
        (void)buf_printf(&body, "X-Line-%05u: y\r\n", i);
    ck_assert_uint_ne(origin_submit(w, "bob@example.test", recipients, buf_slice(&body), 0), 0);
    origin_drain(w);
    read_bounce(0);
    check_contains("X-Line-00000: y\n");
    check_contains("X-Line-03000: y\n");
    check_lacks("X-Line-05000");
    ck_assert_uint_lt(buf_len(&bytes), 80 * 1024);
    buf_finish(&body);
}
END_TEST

/* ---- many ----------------------------------------------------------------------------------- */

START_TEST(many_recipients)
{
    static char addresses[MANY][64];
    const char *recipients[MANY + 1];

    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(addresses[i], sizeof(addresses[i]), "recipient-%u@reject.test", i);
        recipients[i] = addresses[i];
    }
    recipients[MANY] = NULL;
    w->route.recipients_per_message = 1000;
    ck_assert_uint_ne(origin_submit(w, "bob@example.test", recipients, slice_str(message), 0), 0);
    origin_drain(w);
    ck_assert_uint_eq(w->d->counters.bounces_sent, 1);
    ck_assert_uint_eq(w->d->counters.bounced, MANY);
    read_bounce(0); /* larger than a batch of this spool */
    ck_assert_uint_gt(buf_len(&bytes), 64 * 1024);
    for (unsigned i = 0; i < MANY; i++)
        check_contains(addresses[i]);
}
END_TEST

START_TEST(many_messages)
{
    w->queue.stopped = true;
    for (unsigned i = 0; i < MANY; i++)
        ck_assert_uint_ne(origin_submit_one(w, "bob@example.test", "x@reject.test", message), 0);
    w->queue.stopped = false;
    origin_drain(w);
    ck_assert_uint_eq(w->d->counters.bounces_sent, MANY);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), MANY);
}
END_TEST

/* ---- no room -------------------------------------------------------------------------------- */

/* While the spool takes nothing, failures wait; when it does again, everybody is told. */
START_TEST(spool_is_full)
{
    origin_stop(w);
    w->spool_options.bytes_max = 4 << 20;
    origin_start(w);
    w->queue.stopped = true;
    for (unsigned i = 0; i < MANY; i++)
        ck_assert_uint_ne(origin_submit_one(w, "bob@example.test", "x@reject.test", message), 0);
    origin_fill(w);
    w->queue.stopped = false;
    for (int i = 0; i < 20; i++)
        origin_pass(w);
    origin_settle(w);
    ck_assert_uint_eq(w->d->counters.bounces_sent, 0);
    ck_assert_uint_eq(w->d->counters.bounced, 0);
    ck_assert_uint_ge(w->queue.messages, MANY);
    origin_make_room(w);
    origin_drain(w);
    ck_assert_uint_eq(w->d->counters.bounces_sent, MANY);
    ck_assert_uint_eq(origin_files(w, BOB_NEW), MANY);
}
END_TEST

/* ---- crashes -------------------------------------------------------------------------------- */

/* False if all was over before. */
static bool crash_after(uint64_t seed, unsigned turns)
{
    struct sim_options options = sim_options_default();
    unsigned after = 40;
    bool ran = true;

    options.crash_reorder = seed % 2 == 0 ? 0 : 5000;
    origin_open(w, seed, &options);
    origin_start(w);
    w->queue.stopped = true;
    ck_assert_uint_ne(origin_submit_one(w, "bob@example.test", "x@reject.test", message), 0);
    w->queue.stopped = false;
    for (unsigned i = 0; i < turns && ran; i++)
        ran = (w->queue.messages > 0 || after-- > 0) && origin_turn(w);
    origin_crash(w, seed % 3 != 0);
    origin_start(w);
    origin_drain(w);
    /* The notification may be stable when its outcome is not: then there are two. */
    ck_assert_uint_ge(origin_files(w, BOB_NEW), 1);
    ck_assert_uint_le(origin_files(w, BOB_NEW), 2);
    for (unsigned n = 0; n < origin_files(w, BOB_NEW); n++) {
        read_bounce(n);
        check_contains("550 5.7.1 no mail here\n");
    }
    origin_close(w);
    return ran;
}

START_TEST(crash_at_each_event)
{
    for (unsigned turns = 0; crash_after((uint64_t)_i + 1, turns);)
        turns++;
    buf_finish(&bytes);
    bytes = (struct buf){0};
}
END_TEST

Suite *delivery_bounce_suite(void)
{
    Suite *s = suite_create("delivery_bounce");
    TCase *tc = tcase_create("notifications");
    TCase *crashes = tcase_create("crashes");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, one_recipient);
    tcase_add_test(tc, requires_tls);
    tcase_add_test(tc, recipients_together);
    tcase_add_test(tc, nobody_is_told);
    tcase_add_test(tc, expired);
    tcase_add_test(tc, headers);
    tcase_add_test(tc, endless_headers);
    tcase_add_test(tc, many_recipients);
    tcase_add_test(tc, many_messages);
    tcase_add_test(tc, spool_is_full);
    suite_add_tcase(s, tc);
    tcase_set_timeout(crashes, 60);
    tcase_add_loop_test(crashes, crash_at_each_event, 0, 6);
    suite_add_tcase(s, crashes);
    return s;
}
