/* What a user has sent: spans that slide, sessions, what is given back, clocks that jump, threads, and a file. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>

#include "base_assert.h"
#include "server_users.h"

Suite *server_users_suite(void);

enum { SIZE = 1 << 14 };

#define SECOND ((uint64_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

/* The start of a minute, an hour and a day: 2026-11-22T00:00:00Z. */
static const uint64_t start_ms = (uint64_t)1795305600 * 1000;

static struct server_users *users;
static struct server_users_refusal refusal;

static void setup(void)
{
    users = server_users_create(SIZE);
    refusal = (struct server_users_refusal){0};
}

static void teardown(void)
{
    server_users_destroy(users);
}

static uint32_t login(const char *name, uint64_t now_ms)
{
    uint32_t slot = 0;

    ck_assert(server_users_enter(users, slice_str(name), 0, now_ms, &slot));
    ck_assert_uint_ne(slot, SERVER_USERS_NOBODY);
    return slot;
}

static bool message(uint32_t slot, const struct conf_user_limits *limits, uint64_t now_ms)
{
    return server_users_take(users, slot, SERVER_USERS_MESSAGES, limits, now_ms, &refusal);
}

static unsigned messages(uint32_t slot, const struct conf_user_limits *limits, unsigned count,
                         uint64_t now_ms)
{
    unsigned taken = 0;

    while (count-- > 0)
        taken += message(slot, limits, now_ms);
    return taken;
}

START_TEST(each_span_has_its_limit)
{
    const struct conf_user_limits limits = {
        .messages_per_minute = 5, .messages_per_hour = 8, .messages_per_day = 9};
    uint32_t slot = login("ann", start_ms);

    ck_assert_uint_eq(messages(slot, &limits, 20, start_ms), 5);
    ck_assert_int_eq(refusal.span, SERVER_USERS_MINUTE);
    ck_assert_uint_eq(refusal.limit, 5);
    ck_assert_uint_eq(messages(slot, &limits, 20, start_ms + 2 * MINUTE), 3);
    ck_assert_int_eq(refusal.span, SERVER_USERS_HOUR);
    ck_assert_uint_eq(messages(slot, &limits, 20, start_ms + 2 * HOUR), 1);
    ck_assert_int_eq(refusal.span, SERVER_USERS_DAY);
    ck_assert_int_eq(refusal.kind, SERVER_USERS_MESSAGES);
    ck_assert_uint_eq(refusal.limit, 9);
    ck_assert_uint_eq(messages(slot, &limits, 20, start_ms + 2 * DAY), 5);
}
END_TEST

START_TEST(recipients_are_counted_apart)
{
    const struct conf_user_limits limits = {.messages_per_hour = 1, .recipients_per_hour = 2};
    uint32_t slot = login("ann", start_ms);

    ck_assert(message(slot, &limits, start_ms));
    ck_assert(!message(slot, &limits, start_ms));
    for (int i = 0; i < 3; i++)
        ck_assert(
            server_users_take(users, slot, SERVER_USERS_RECIPIENTS, &limits, start_ms, &refusal)
            == (i < 2));
    ck_assert_int_eq(refusal.kind, SERVER_USERS_RECIPIENTS);
    ck_assert_uint_eq(refusal.limit, 2);
}
END_TEST

START_TEST(users_are_apart)
{
    const struct conf_user_limits limits = {.messages_per_hour = 1};
    uint32_t ann = login("ann", start_ms), bob = login("bob", start_ms);

    ck_assert_uint_ne(ann, bob);
    ck_assert_uint_eq(login("ann", start_ms), ann);
    ck_assert_uint_eq(login("ANN", start_ms), ann);
    ck_assert(message(ann, &limits, start_ms));
    ck_assert(!message(ann, &limits, start_ms));
    ck_assert(message(bob, &limits, start_ms));
    ck_assert(message(SERVER_USERS_NOBODY, &limits, start_ms));
}
END_TEST

START_TEST(no_limits)
{
    const struct conf_user_limits limits = {0};
    uint32_t slot = login("ann", start_ms);

    ck_assert_uint_eq(messages(slot, &limits, 1000, start_ms), 1000);
}
END_TEST

/* A burst at any minute of the clock: never more than the limit at once, behind it no faster than the
 * limit's pace, and that pace is reached. */
START_TEST(the_span_slides)
{
    enum { LIMIT = 120 };
    const struct conf_user_limits limits = {.messages_per_hour = LIMIT};

    for (uint64_t minute = 0; minute < 60; minute++) {
        char name[16];
        unsigned sum = 0;
        uint32_t slot;

        (void)snprintf(name, sizeof(name), "ann%u", (unsigned)minute);
        slot = login(name, start_ms);
        ck_assert_uint_eq(messages(slot, &limits, 2 * LIMIT, start_ms + (minute + 1) * MINUTE - 1),
                          LIMIT);
        for (unsigned i = 1; i <= 240; i++) {
            sum += messages(slot, &limits, 2 * LIMIT, start_ms + (minute + 1 + i) * MINUTE - 1);
            ck_assert_msg(sum <= LIMIT * i / 60 + 1, "%u, %u minutes behind a burst at minute %u",
                          sum, i, (unsigned)minute);
        }
        ck_assert_uint_ge(sum, 3 * LIMIT - LIMIT / 60);
    }
}
END_TEST

/* A full hour is no border. */
START_TEST(around_a_full_hour)
{
    enum { LIMIT = 100 };
    const struct conf_user_limits limits = {.messages_per_hour = LIMIT};
    uint32_t slot = login("bob", start_ms);

    ck_assert_uint_eq(messages(slot, &limits, LIMIT, start_ms + HOUR - 1), LIMIT);
    ck_assert_uint_eq(messages(slot, &limits, LIMIT, start_ms + HOUR), 0);
    ck_assert_uint_eq(messages(slot, &limits, LIMIT, start_ms + HOUR + 6 * MINUTE), 10);
    ck_assert_uint_eq(messages(slot, &limits, LIMIT, start_ms + HOUR + 30 * MINUTE), 40);
}
END_TEST

/* What is said about when to come again holds to the millisecond. */
START_TEST(the_wait_is_true)
{
    const struct conf_user_limits limits = {.messages_per_hour = 7, .messages_per_day = 40};
    uint64_t now_ms = start_ms + 12345;
    uint32_t slot = login("ann", now_ms);

    for (int i = 0; i < 200; i++) {
        while (message(slot, &limits, now_ms))
            continue;
        ck_assert_uint_gt(refusal.wait_ms, 0);
        ck_assert_uint_le(refusal.wait_ms, 2 * DAY);
        uint64_t wait_ms = refusal.wait_ms;
        enum server_users_span span = refusal.span;
        bool early = message(slot, &limits, now_ms + wait_ms - 1);
        ck_assert_msg(!early, "round %d: sooner than %llu", i, (unsigned long long)wait_ms);
        now_ms += wait_ms;
        if (span == SERVER_USERS_DAY || refusal.span == span)
            ck_assert_msg(message(slot, &limits, now_ms) || refusal.span != span, "round %d", i);
    }
}
END_TEST

START_TEST(given_back)
{
    const struct conf_user_limits limits = {.messages_per_minute = 2, .messages_per_day = 3};
    uint32_t slot = login("ann", start_ms);

    ck_assert_uint_eq(messages(slot, &limits, 2, start_ms), 2);
    server_users_give_back(users, slot, SERVER_USERS_MESSAGES, &limits, 1, start_ms, start_ms);
    ck_assert(message(slot, &limits, start_ms));
    ck_assert(!message(slot, &limits, start_ms));
    /* In the next minute, what was counted in the last. */
    server_users_give_back(users, slot, SERVER_USERS_MESSAGES, &limits, 2, start_ms,
                           start_ms + MINUTE);
    ck_assert_uint_eq(messages(slot, &limits, 5, start_ms + MINUTE), 2);
    /* Long after, for the minute it is of no use any more; for the day it is. */
    server_users_give_back(users, slot, SERVER_USERS_MESSAGES, &limits, 2, start_ms,
                           start_ms + 10 * MINUTE);
    ck_assert_uint_eq(messages(slot, &limits, 5, start_ms + 10 * MINUTE), 2);
    /* Never more than there was. */
    server_users_give_back(users, slot, SERVER_USERS_MESSAGES, &limits, 99, start_ms, start_ms);
    ck_assert_uint_eq(messages(slot, &limits, 5, start_ms + 20 * MINUTE), 2);
}
END_TEST

/* A refusal by one span has not counted in another. */
START_TEST(refused_is_not_counted)
{
    const struct conf_user_limits limits = {.messages_per_minute = 1, .messages_per_day = 5};
    uint32_t slot = login("ann", start_ms);

    ck_assert_uint_eq(messages(slot, &limits, 100, start_ms), 1);
    for (int i = 1; i < 5; i++)
        ck_assert_uint_eq(messages(slot, &limits, 100, start_ms + (uint64_t)(2 * i) * MINUTE), 1);
    ck_assert(!message(slot, &limits, start_ms + 20 * MINUTE));
    ck_assert_int_eq(refusal.span, SERVER_USERS_DAY);
}
END_TEST

START_TEST(the_clock_jumps)
{
    const struct conf_user_limits limits = {.messages_per_hour = 2};
    uint32_t slot = login("ann", start_ms);

    ck_assert_uint_eq(messages(slot, &limits, 5, start_ms), 2);
    /* Back by a year: nothing is forgotten, and nobody is locked out for a year. */
    ck_assert_uint_eq(messages(slot, &limits, 5, start_ms - 365 * DAY), 0);
    ck_assert_uint_eq(messages(slot, &limits, 5, start_ms - 365 * DAY + 2 * HOUR), 2);
    /* Forward by a year: all is forgotten. */
    ck_assert_uint_eq(messages(slot, &limits, 5, start_ms), 2);
    ck_assert_uint_eq(messages(slot, &limits, 5, 0), 0);
    ck_assert_uint_eq(messages(slot, &limits, 5, UINT64_MAX), 2);
}
END_TEST

START_TEST(sessions)
{
    uint32_t one, two, other;

    ck_assert(server_users_enter(users, slice_str("ann"), 2, start_ms, &one));
    ck_assert(server_users_enter(users, slice_str("ann"), 2, start_ms, &two));
    ck_assert_uint_eq(one, two);
    ck_assert(!server_users_enter(users, slice_str("ann"), 2, start_ms, &other));
    ck_assert(server_users_enter(users, slice_str("bob"), 2, start_ms, &other));
    server_users_leave(users, one);
    ck_assert(server_users_enter(users, slice_str("ann"), 2, start_ms, &one));
    server_users_leave(users, SERVER_USERS_NOBODY);
}
END_TEST

/* More users than there is room for: first those go of whom nothing counts any more; then new ones are
 * let through uncounted. */
START_TEST(a_crowd)
{
    enum { CROWD = SIZE };
    const struct conf_user_limits limits = {.messages_per_hour = 1};
    unsigned nobody = 0;

    for (int round = 0; round < 2; round++) {
        uint64_t now_ms = start_ms + (uint64_t)round * 3 * HOUR;

        nobody = 0;
        for (int i = 0; i < CROWD; i++) {
            char name[32];
            uint32_t slot;
            int len = snprintf(name, sizeof(name), "user%d.%d", round, i);

            ck_assert(server_users_enter(users, slice_of(name, (size_t)len), 1, now_ms, &slot));
            if (slot == SERVER_USERS_NOBODY) {
                nobody++;
                continue;
            }
            ck_assert(message(slot, &limits, now_ms));
            ck_assert(!message(slot, &limits, now_ms));
            server_users_leave(users, slot);
        }
        ck_assert_uint_lt(nobody, CROWD / 5);
    }
    ck_assert_uint_gt(nobody, 0);
}
END_TEST

static struct server_users *copy_of(struct server_users *from, uint64_t now_ms, struct buf *file)
{
    struct server_users *copy = server_users_create(SIZE);
    struct server_users_save save = {0};

    buf_init(file, 0);
    while (server_users_save(from, &save, now_ms, file))
        ck_assert_uint_lt(buf_len(file), (size_t)100 << 20);
    ck_assert(server_users_load(copy, buf_slice(file), now_ms));
    return copy;
}

START_TEST(over_a_restart)
{
    enum { USERS = 5000 };
    const struct conf_user_limits limits = {.messages_per_hour = 10, .recipients_per_day = 3};
    struct server_users *before = users;
    struct buf file;

    for (unsigned i = 0; i < USERS; i++) {
        char name[32];
        uint32_t slot;

        (void)snprintf(name, sizeof(name), "user%u", i);
        slot = login(name, start_ms);
        ck_assert_uint_eq(messages(slot, &limits, i % 10, start_ms), i % 10);
        if (i % 2 == 0)
            server_users_leave(users, slot);
    }
    ck_assert(server_users_changed(users));
    users = copy_of(before, start_ms + MINUTE, &file);
    ck_assert(!server_users_changed(before));
    ck_assert_uint_eq(buf_len(&file),
                      8 + 20 + 56 * (USERS - USERS / 10)); /* who sent nothing is left out */
    for (unsigned i = 0; i < USERS; i++) {
        char name[32];
        uint32_t slot;

        (void)snprintf(name, sizeof(name), "user%u", i);
        /* No session of the other process is left. */
        ck_assert(server_users_enter(users, slice_str(name), 1, start_ms, &slot));
        ck_assert_uint_eq(messages(slot, &limits, 20, start_ms + MINUTE), 10 - i % 10);
    }
    buf_finish(&file);
    server_users_destroy(users);
    users = copy_of(before, start_ms + 3 * HOUR, &file); /* nothing counts any more */
    ck_assert_uint_eq(buf_len(&file), 28);
    buf_finish(&file);
    server_users_destroy(before);
}
END_TEST

START_TEST(damaged_files)
{
    const struct conf_user_limits limits = {.messages_per_hour = 1};
    struct server_users *copy;
    struct buf file;

    ck_assert(message(login("ann", start_ms), &limits, start_ms));
    copy = copy_of(users, start_ms, &file);
    server_users_destroy(copy);
    copy = server_users_create(SIZE);
    ck_assert(!server_users_load(copy, SLICE_NULL, start_ms));
    for (size_t len = 0; len < buf_len(&file); len++)
        ck_assert(!server_users_load(copy, slice_head(buf_slice(&file), len), start_ms));
    for (size_t i = 0; i < buf_len(&file); i++) {
        file.data[file.head + i] ^= 0x10;
        ck_assert(!server_users_load(copy, buf_slice(&file), start_ms));
        file.data[file.head + i] ^= 0x10;
    }
    (void)buf_append_byte(&file, 0);
    ck_assert(!server_users_load(copy, buf_slice(&file), start_ms));
    buf_finish(&file);
    server_users_destroy(copy);
}
END_TEST

/* Together they pass no limit, and nothing is lost. */
enum { THREADS = 4, ROUNDS = 20000, LIMIT = 30000 };

static void *send_and_save(void *argument)
{
    const struct conf_user_limits limits = {.messages_per_day = LIMIT};
    struct server_users_refusal mine;
    unsigned *taken = argument;
    uint32_t slot;

    for (int i = 0; i < ROUNDS; i++) {
        char name[8];

        (void)snprintf(name, sizeof(name), "u%d", i % 3);
        if (!server_users_enter(users, slice_str(name), 0, start_ms, &slot))
            continue;
        if (server_users_take(users, slot, SERVER_USERS_MESSAGES, &limits, start_ms, &mine)) {
            if (i % 5 == 0)
                server_users_give_back(users, slot, SERVER_USERS_MESSAGES, &limits, 1, start_ms,
                                       start_ms);
            else
                ++*taken;
        }
        server_users_leave(users, slot);
        if (i % 1000 == 0) {
            struct server_users_save save = {0};
            struct buf file;

            buf_init(&file, 0);
            while (server_users_save(users, &save, start_ms, &file))
                continue;
            buf_finish(&file);
        }
    }
    return NULL;
}

START_TEST(threads_agree)
{
    const struct conf_user_limits limits = {.messages_per_day = LIMIT};
    pthread_t threads[THREADS];
    unsigned taken[THREADS] = {0}, sum = 0, left = 0;

    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, send_and_save, &taken[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        sum += taken[i];
    }
    left += messages(login("u0", start_ms), &limits, LIMIT + 1, start_ms);
    left += messages(login("u1", start_ms), &limits, LIMIT + 1, start_ms);
    left += messages(login("u2", start_ms), &limits, LIMIT + 1, start_ms);
    ck_assert_uint_eq(sum + left, 3 * LIMIT);
}
END_TEST

Suite *server_users_suite(void)
{
    Suite *s = suite_create("server_users");
    TCase *tc = tcase_create("users");

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, each_span_has_its_limit);
    tcase_add_test(tc, recipients_are_counted_apart);
    tcase_add_test(tc, users_are_apart);
    tcase_add_test(tc, no_limits);
    tcase_add_test(tc, the_span_slides);
    tcase_add_test(tc, around_a_full_hour);
    tcase_add_test(tc, the_wait_is_true);
    tcase_add_test(tc, given_back);
    tcase_add_test(tc, refused_is_not_counted);
    tcase_add_test(tc, the_clock_jumps);
    tcase_add_test(tc, sessions);
    tcase_add_test(tc, a_crowd);
    tcase_add_test(tc, over_a_restart);
    tcase_add_test(tc, damaged_files);
    tcase_add_test(tc, threads_agree);
    suite_add_tcase(s, tc);
    return s;
}
