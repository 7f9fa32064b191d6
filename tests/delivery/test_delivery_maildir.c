/* Mailboxes: which file, what is in it, what happens when a step fails or the power goes. */
#include <check.h>
#include <errno.h>
#include <stdio.h>

#include "base_mem.h"
#include "delivery_maildir_priv.h"
#include "origin_world.h"

#define ANN "/mail/example.test/ann"

static struct origin_world world;
static struct origin_world *const w = &world;
static struct buf bytes, name;

static void setup(void)
{
    origin_open(w, 1, NULL);
    origin_start(w);
}

static void teardown(void)
{
    origin_close(w);
    buf_finish(&bytes);
    buf_finish(&name);
    bytes = name = (struct buf){0};
}

/* ---- names ---------------------------------------------------------------------------------- */

START_TEST(paths)
{
    static const struct {
        const char *pattern, *address, *path; /* NULL: no mailbox */
    } rows[] = {
        {"/mail/%d/%u", "ann@example.test", "/mail/example.test/ann"},
        {"/mail/%d/%u", "Ann@EXAMPLE.Test", "/mail/example.test/ann"},
        {"/mail/%d/%u", "ann+news@example.test", "/mail/example.test/ann"},
        {"/mail/%d/%u", "ann+news@other.test", "/mail/other.test/ann+news"},
        {"/mail/%d/%u", "\"ann\"@example.test", "/mail/example.test/ann"},
        {"/mail/%d/%u", "\"a\\n\\n\"@example.test", "/mail/example.test/ann"},
        {"/mail/%d/%u", "\"a b@c\"@example.test", "/mail/example.test/a b@c"},
        {"/mail/%d/%u", "a.b-c_d@example.test", "/mail/example.test/a.b-c_d"},
        {"/mail/%u", "j\xc3\xb6rg@example.test", "/mail/j\xc3\xb6rg"},
        {"/mail/all", "ann@example.test", "/mail/all"},
        {"/100%%/%u%%", "ann@example.test", "/100%/ann%"},
        {"/mail/%u/%u-%d", "ann@example.test", "/mail/ann/ann-example.test"},
        {"/mail/%u", "postmaster", "/mail/postmaster"},
        {"/mail/%d/%u", "ann@[192.0.2.1]", "/mail/[192.0.2.1]/ann"},
        {"/mail/%d/%u", "postmaster", NULL},
        {"/mail/%d/%u", "@example.test", NULL},
        {"/mail/%d/%u", "\"\"@example.test", NULL},
        {"/mail/%d/%u", "+news@example.test", "/mail/example.test/+news"},
        {"/mail/%d/%u", ".@example.test", NULL},
        {"/mail/%d/%u", "..@example.test", NULL},
        {"/mail/%d/%u", ".ann@example.test", NULL},
        {"/mail/%d/%u", "..+x@example.test", NULL},
        {"/mail/%d/%u", "a/b@example.test", NULL},
        {"/mail/%d/%u", "../bob@example.test", NULL},
        {"/mail/%d/%u", "\"../bob\"@example.test", NULL},
        {"/mail/%d/%u", "\"\\../bob\"@example.test", NULL},
        {"/mail/%d/%u", "\"\\.\\.\"@example.test", NULL},
        {"/mail/%d/%u", "a\nb@example.test", NULL},
        {"/mail/%d/%u", "a\x7f@example.test", NULL},
        {"/mail/%d/%u", "ann@..", NULL},
        {"/mail/%d/%u", "ann@a/b", NULL},
        {"/mail/%d/%u", "ann@", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool good;
        buf_clear(&bytes);
        good = delivery_maildir_path(&w->conf, slice_str(rows[i].pattern),
                                     slice_str(rows[i].address), &bytes);
        ck_assert_msg(good == (rows[i].path != NULL), "%s", rows[i].address);
        if (good)
            ck_assert_msg(slice_equal(buf_slice(&bytes), slice_str(rows[i].path)), "%s: %.*s",
                          rows[i].address, SLICE_ARG(buf_slice(&bytes)));
    }
}
END_TEST

START_TEST(a_nul_and_a_long_name)
{
    static const char nul[] = "a\0b@example.test";
    char text[400];

    ck_assert(!delivery_maildir_path(&w->conf, SLICE_LITERAL("/mail/%u"),
                                     slice_of(nul, sizeof(nul) - 1), &bytes));
    memset(text, 'a', sizeof(text));
    memcpy(text + 255, "@example.test", 13);
    ck_assert(
        delivery_maildir_path(&w->conf, SLICE_LITERAL("/mail/%u"), slice_of(text, 268), &bytes));
    text[255] = 'a';
    memcpy(text + 256, "@example.test", 13);
    ck_assert(
        !delivery_maildir_path(&w->conf, SLICE_LITERAL("/mail/%u"), slice_of(text, 269), &bytes));
}
END_TEST

START_TEST(file_names)
{
    w->conf.hostname = SLICE_LITERAL("a/b:c.test");
    delivery_maildir_name(&w->conf, 1795300000, 42, 7, &bytes);
    ck_assert_msg(slice_equal(buf_slice(&bytes),
                              SLICE_LITERAL("1795300000.000000000001AR7.a\\057b\\072c.test")),
                  "%.*s", SLICE_ARG(buf_slice(&bytes)));
}
END_TEST

/* ---- what is in a file ---------------------------------------------------------------------- */

static void check_file(const char *directory, unsigned n, const char *text)
{
    ck_assert(origin_file(w, directory, n, NULL, &bytes));
    ck_assert_msg(slice_equal(buf_slice(&bytes), slice_str(text)), "%.*s",
                  SLICE_ARG(buf_slice(&bytes)));
}

START_TEST(lines)
{
    static const struct {
        const char *body, *file;
    } rows[] = {
        {"Subject: x\r\n\r\nhello\r\n", "Subject: x\n\nhello\n"},
        {"", ""},
        {"\r\n", "\n"},
        {"no end", "no end"},
        {"a\rb\r\n", "a\rb\n"},
        {"a\r\r\n\r\r", "a\r\n\r\r"},
        {"a\n\r\n", "a\n\n"},
        {".\r\n..\r\n", ".\n..\n"},
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        char directory[64], recipient[64], text[128];
        (void)snprintf(recipient, sizeof(recipient), "u%u@example.test", i);
        (void)snprintf(directory, sizeof(directory), "/mail/example.test/u%u/new", i);
        (void)snprintf(text, sizeof(text), "Return-Path: <bob@b.test>\n%s", rows[i].file);
        ck_assert_uint_ne(origin_submit_one(w, "bob@b.test", recipient, rows[i].body), 0);
        origin_drain(w);
        ck_assert_uint_eq(origin_files(w, directory), 1);
        check_file(directory, 0, text);
    }
}
END_TEST

/* Lines of all lengths, so that every cut of a large body meets a CRLF in the middle. */
static void make_body(size_t len, struct buf *body, struct buf *file)
{
    buf_clear(body);
    buf_clear(file);
    (void)buf_append_str(file, "Return-Path: <>\n");
    for (unsigned line = 0; buf_len(body) < len; line++) {
        for (unsigned i = 0; i < line % 7; i++) {
            (void)buf_append_byte(body, (uint8_t)('a' + line % 26));
            (void)buf_append_byte(file, (uint8_t)('a' + line % 26));
        }
        (void)buf_append_str(body, "\r\n");
        (void)buf_append_str(file, "\n");
    }
}

START_TEST(bodies_of_all_sizes)
{
    static const size_t sizes[] = {4096, 65536 - 64, 65536, 80000, 300000, 1 << 20};
    static const char *const recipients[] = {"ann@example.test", "bob@example.test", NULL};
    struct buf body = {0}, file = {0};

    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
        make_body(sizes[i], &body, &file);
        ck_assert_uint_ne(origin_submit(w, "", recipients, buf_slice(&body), 0), 0);
        origin_drain(w);
        origin_run_ms(w, 1000); /* the next has a later name */
        ck_assert_uint_eq(origin_files(w, ANN "/new"), i + 1);
        ck_assert(origin_file(w, ANN "/new", i, NULL, &bytes));
        ck_assert(slice_equal(buf_slice(&bytes), buf_slice(&file)));
        ck_assert(origin_file(w, "/mail/example.test/bob/new", i, NULL, &bytes));
        ck_assert(slice_equal(buf_slice(&bytes), buf_slice(&file)));
    }
    buf_finish(&body);
    buf_finish(&file);
}
END_TEST

START_TEST(recipients_of_one_message)
{
    static const char *const recipients[] = {"ann@example.test",      "../bob@example.test",
                                             "ann+copy@example.test", "carl@example.test",
                                             "x@discard.test",        NULL};
    uint64_t id = origin_submit(w, "", recipients, SLICE_LITERAL("hi\r\n"), 0);
    char text[ID_TEXT_SIZE];

    origin_drain(w);
    ck_assert_uint_eq(origin_files(w, "/mail/example.test"), 2);
    ck_assert_uint_eq(origin_files(w, ANN "/new"), 2);
    ck_assert_uint_eq(origin_files(w, ANN "/tmp"), 0);
    ck_assert_uint_eq(origin_files(w, ANN), 3);
    check_file(ANN "/new", 0, "Return-Path: <>\nhi\n");
    check_file(ANN "/new", 1, "Return-Path: <>\nhi\n");
    check_file("/mail/example.test/carl/new", 0, "Return-Path: <>\nhi\n");
    ck_assert_uint_eq(w->d->counters.delivered, 4);
    ck_assert_uint_eq(w->d->counters.bounced, 1);
    id_to_text(id, text);
    ck_assert(origin_file(w, ANN "/new", 1, &name, NULL));
    (void)buf_append_byte(&name, 0);
    ck_assert_ptr_nonnull(strstr((const char *)name.data, text));
    ck_assert_ptr_nonnull(strstr((const char *)name.data, "R2.mx.example.test"));
}
END_TEST

/* ---- how much it takes ---------------------------------------------------------------------- */

START_TEST(ops_a_message)
{
    ck_assert_uint_ne(origin_submit_one(w, "", "ann@example.test", "first\r\n"), 0);
    origin_drain(w);
    w->shim.count = 0;
    memset(w->shim.by_kind, 0, sizeof(w->shim.by_kind));
    ck_assert_uint_ne(origin_submit_one(w, "", "ann@example.test", "second\r\n"), 0);
    origin_drain(w);
    /* The file: open, synced write, close, rename. The directory: open, fsync, close. */
    ck_assert_uint_eq(w->shim.count, 7);
    ck_assert_uint_eq(w->shim.by_kind[IO_OPEN], 2);
    ck_assert_uint_eq(w->shim.by_kind[IO_WRITE], 1);
    ck_assert_uint_eq(w->shim.by_kind[IO_FSYNC], 1);
    ck_assert_uint_eq(w->shim.by_kind[IO_RENAME], 1);
}
END_TEST

/* To one mailbox and to many; no more at a time than there may be. */
START_TEST(many)
{
    char recipient[64];

    w->queue.stopped = true; /* until all are there */
    for (unsigned i = 0; i < 300; i++) {
        (void)snprintf(recipient, sizeof(recipient), "u%u@example.test", i < 100 ? 0 : i);
        ck_assert_uint_ne(origin_submit_one(w, "", recipient, "hi\r\n"), 0);
    }
    w->queue.stopped = false;
    memset(w->shim.by_kind, 0, sizeof(w->shim.by_kind));
    origin_drain(w);
    ck_assert_uint_eq(w->maildirs_most, DELIVERY_MAILDIRS_MAX);
    ck_assert_uint_eq(w->d->counters.delivered, 300);
    ck_assert_uint_eq(origin_files(w, "/mail/example.test/u0/new"), 100);
    ck_assert_uint_eq(origin_files(w, "/mail/example.test"), 201);
    /* 201 mailboxes of which each takes a sync to enter and one to make; the parents besides. */
    ck_assert_uint_lt(w->shim.by_kind[IO_FSYNC], 201 * 2 + 100);
}
END_TEST

START_TEST(stopping)
{
    char recipient[64];
    unsigned running;

    w->queue.stopped = true;
    for (unsigned i = 0; i < 200; i++) {
        (void)snprintf(recipient, sizeof(recipient), "u%u@example.test", i);
        ck_assert_uint_ne(origin_submit_one(w, "", recipient, "hi\r\n"), 0);
    }
    w->queue.stopped = false;
    while (w->d->maildirs_running == 0)
        origin_pass(w);
    running = w->d->maildirs_running;
    origin_stop(w); /* asserts that it ends */
    origin_start(w);
    ck_assert_uint_le(w->recovered, 200 - running); /* what ran was finished */
    ck_assert_uint_ge(w->recovered, 200 - DELIVERY_MAILDIRS_MAX);
    ck_assert_uint_eq(origin_files(w, "/mail/example.test"), 200 - w->recovered);
    origin_drain(w);
    ck_assert_uint_eq(origin_files(w, "/mail/example.test"), 200);
}
END_TEST

/* ---- failures ------------------------------------------------------------------------------- */

/* One step fails, whichever: it is tried again and then there, once and whole. */
static void fail_each(int error, bool performed, size_t size, bool existing)
{
    struct buf body = {0}, file = {0};
    static const char *const recipients[] = {"ann@example.test", NULL};
    bool failed = true;

    make_body(size, &body, &file);
    for (unsigned n = 1; failed; n++) {
        unsigned before = 0;
        setup();
        if (existing) {
            (void)origin_submit_one(w, "", "ann@example.test", "earlier\r\n");
            origin_drain(w);
            origin_run_ms(w, 2000);
            before = 1;
        }
        ck_assert_uint_ne(origin_submit(w, "", recipients, buf_slice(&body), 0), 0);
        w->shim.count = 0;
        w->shim.fail_at = n;
        w->shim.error = error;
        w->shim.performed = performed;
        origin_settle(w);
        failed = w->shim.failed;
        if (failed && w->queue.messages == 0) {
            /* That a directory's fd was closed with an error says nothing about it; and one that only
             * the operator may read needs no sync of ours. */
            ck_assert(w->shim.failed_kind == IO_CLOSE || error == EACCES);
        } else if (failed) {
            ck_assert_uint_eq(w->d->counters.deferred, 1);
            if (w->shim.failed_kind != IO_RENAME)
                ck_assert_uint_eq(origin_files(w, ANN "/tmp"), 0);
        }
        w->shim.fail_at = 0;
        origin_drain(w);
        ck_assert_uint_eq(origin_files(w, ANN "/tmp"), 0);
        ck_assert_uint_eq(origin_files(w, ANN "/new"), before + 1);
        ck_assert(origin_file(w, ANN "/new", before, NULL, &bytes));
        ck_assert(slice_equal(buf_slice(&bytes), buf_slice(&file)));
        ck_assert_uint_eq(w->d->counters.delivered, before + 1);
        teardown();
    }
    buf_finish(&body);
    buf_finish(&file);
}

START_TEST(every_step_fails)
{
    static const int errors[] = {ENOSPC, EIO, EDQUOT, EACCES};
    int error = errors[_i / 4];

    fail_each(error, _i % 4 >= 2, _i % 2 == 0 ? 100 : 150000, false);
    fail_each(error, _i % 4 >= 2, _i % 2 == 0 ? 100 : 150000, true);
}
END_TEST

/* What the operator reads. */
START_TEST(reasons)
{
    static const struct {
        int error;
        const char *text;
    } rows[] = {
        {ENOSPC, "4.3.1 /mail/example.test/ann: No space left on device"},
        {EDQUOT, "4.2.2 /mail/example.test/ann: Disk quota exceeded"},
        {EACCES, "4.3.0 /mail/example.test/ann: Permission denied"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct spool_message *m;
        uint64_t id = origin_submit_one(w, "", "ann@example.test", "hi\r\n");
        w->shim.count = 0;
        w->shim.fail_at = 1;
        w->shim.error = rows[i].error;
        origin_settle(w);
        m = spool_find(w->spool, id);
        ck_assert_ptr_nonnull(m);
        ck_assert(slice_equal(queue_entry_reason(m->owner), slice_str(rows[i].text)));
        origin_drain(w);
    }
}
END_TEST

/* A body that rotted in the log reaches nobody. */
START_TEST(unreadable)
{
    static const char *const recipients[] = {"ann@example.test", "bob@example.test", NULL};
    struct buf body = {0}, file = {0};
    char path[64];
    const uint8_t *found = NULL;

    make_body(200000, &body, &file);
    w->queue.stopped = true;
    ck_assert_uint_ne(origin_submit(w, "", recipients, buf_slice(&body), 0), 0);
    for (unsigned n = 0; found == NULL && origin_file(w, "/spool/0", n, &name, &bytes); n++) {
        found = memmem(buf_slice(&bytes).data, buf_len(&bytes), buf_slice(&body).data, 1000);
        (void)snprintf(path, sizeof(path), "/spool/0/%.*s", SLICE_ARG(buf_slice(&name)));
    }
    ck_assert_ptr_nonnull(found);
    sim_file_corrupt(w->machine, path, (uint64_t)(found - buf_slice(&bytes).data) + 500);
    w->queue.stopped = false;
    origin_settle(w);
    ck_assert_uint_eq(w->queue.messages, 1);
    ck_assert_uint_eq(w->d->counters.deferred, 2);
    ck_assert_uint_eq(origin_files(w, ANN "/new"), 0);
    ck_assert_uint_eq(origin_files(w, ANN "/tmp"), 0);
    buf_finish(&body);
    buf_finish(&file);
}
END_TEST

/* ---- crashes -------------------------------------------------------------------------------- */

/* Two messages; the second goes into a mailbox of the first at about the same time. */
enum { CRASH_MESSAGES = 2, CRASH_MAILBOXES = 2 };
static const char *const crash_recipients[CRASH_MESSAGES][4] = {
    {"ann@example.test", "bob@example.test", "ann+x@example.test", NULL},
    {"ann@example.test", NULL},
};
static const unsigned crash_mailbox[CRASH_MESSAGES][3] = {{0, 1, 0}, {0}};
static const char *const crash_new[CRASH_MAILBOXES] = {ANN "/new", "/mail/example.test/bob/new"};
static const unsigned crash_files[CRASH_MAILBOXES] = {3, 1};

/* Nothing in new is a part of a message, and what the spool knows as delivered is there. */
static void check_mailboxes(const uint64_t *ids, struct slice file)
{
    unsigned waiting[CRASH_MAILBOXES] = {0};

    for (int i = 0; i < CRASH_MESSAGES; i++) {
        const struct spool_message *m = spool_find(w->spool, ids[i]);
        for (uint32_t r = 0; m != NULL && r < m->recipient_count; r++)
            waiting[crash_mailbox[i][r]] += m->recipients[r].state == SPOOL_RECIPIENT_WAITING;
    }
    for (size_t b = 0; b < CRASH_MAILBOXES; b++) {
        unsigned count = 0;
        for (; origin_file(w, crash_new[b], count, NULL, &bytes); count++)
            ck_assert(slice_equal(buf_slice(&bytes), file));
        ck_assert_uint_ge(count + waiting[b], crash_files[b]);
        ck_assert_uint_le(count, crash_files[b]);
    }
}

/* After `turns` events the power goes; or the process dies, and the power goes a little later. False if
 * all was over before. */
static bool crash_after(uint64_t seed, unsigned turns, bool power, struct slice body,
                        struct slice file)
{
    struct sim_options options = sim_options_default();
    uint64_t ids[CRASH_MESSAGES];
    unsigned after = 40; /* events, until the outcomes are stable too */
    bool ran = true;

    options.crash_reorder = seed % 4 < 2 ? 0 : 5000;
    origin_open(w, seed, &options);
    origin_start(w);
    w->queue.stopped = true;
    for (int i = 0; i < CRASH_MESSAGES; i++) {
        ids[i] = origin_submit(w, "", crash_recipients[i], body, 0);
        ck_assert_uint_ne(ids[i], 0);
    }
    w->queue.stopped = false;
    for (unsigned i = 0; i < turns && ran; i++)
        ran = (w->queue.messages > 0 || after-- > 0) && origin_turn(w);
    origin_crash(w, power);
    origin_start(w);
    if (!power) {
        for (unsigned i = 0; i < turns / 2; i++)
            (void)origin_turn(w);
        origin_crash(w, true);
        origin_start(w);
    }
    check_mailboxes(ids, file);
    origin_drain(w);
    check_mailboxes(ids, file);
    origin_close(w);
    return ran;
}

START_TEST(crash_at_each_event)
{
    struct buf body = {0}, file = {0};

    make_body(_i % 3 == 2 ? 150000 : 500, &body, &file);
    for (unsigned turns = 0;
         crash_after((uint64_t)_i + 1, turns, _i % 2 == 0, buf_slice(&body), buf_slice(&file));)
        turns += _i % 3 == 2 ? 3 : 1;
    buf_finish(&body);
    buf_finish(&file);
    buf_finish(&bytes);
    bytes = (struct buf){0};
}
END_TEST

Suite *delivery_maildir_suite(void)
{
    Suite *s = suite_create("delivery_maildir");
    TCase *tc = tcase_create("mailboxes");
    TCase *faults = tcase_create("faults");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, paths);
    tcase_add_test(tc, a_nul_and_a_long_name);
    tcase_add_test(tc, file_names);
    tcase_add_test(tc, lines);
    tcase_add_test(tc, bodies_of_all_sizes);
    tcase_add_test(tc, recipients_of_one_message);
    tcase_add_test(tc, ops_a_message);
    tcase_add_test(tc, many);
    tcase_add_test(tc, stopping);
    tcase_add_test(tc, reasons);
    tcase_add_test(tc, unreadable);
    suite_add_tcase(s, tc);
    tcase_set_timeout(faults, 60);
    tcase_add_loop_test(faults, every_step_fails, 0, 16);
    tcase_add_loop_test(faults, crash_at_each_event, 0, 12);
    suite_add_tcase(s, faults);
    return s;
}
