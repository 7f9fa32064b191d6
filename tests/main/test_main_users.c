/* main_users: counters over a restart, in a real folder. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "main_users.h"
#include "server_users.h"

Suite *main_users_suite(void);

static char folder[] = "/tmp/main-users-XXXXXX";
static char path[64];
static struct server_shared shared;
static struct main_users users;
static const struct conf_listener listener;
static const struct conf conf = {
    .listeners = &listener, .listener_count = 1, .limits = {.connections = 10}};
static const struct conf_user_limits limits = {.messages_per_day = 3};

static void start(void)
{
    server_shared_init(&shared, &conf);
    main_users_load(&users, &shared, folder);
}

static void restart(void)
{
    server_shared_finish(&shared);
    start();
}

static void setup(void)
{
    memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/user-counters", folder);
    start();
}

static void teardown(void)
{
    server_shared_finish(&shared);
    (void)unlink(path);
    (void)rmdir(folder);
}

/* How many of ten messages Ann may send. */
static unsigned send_ten(void)
{
    struct server_users *u = server_shared_users(&shared, true);
    struct server_users_refusal refusal;
    uint64_t now_ms = (uint64_t)time(NULL) * 1000;
    unsigned taken = 0;
    uint32_t slot;

    ck_assert(server_users_enter(u, SLICE_LITERAL("ann"), 0, now_ms, &slot));
    for (int i = 0; i < 10; i++)
        taken += server_users_take(u, slot, SERVER_USERS_MESSAGES, &limits, now_ms, &refusal);
    server_users_leave(u, slot);
    return taken;
}

START_TEST(over_a_restart)
{
    struct stat st;

    ck_assert_uint_eq(send_ten(), 3);
    main_users_save(&users);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    restart();
    ck_assert_uint_eq(send_ten(), 0);
    ck_assert_int_eq(unlink(path), 0);
    main_users_save(&users); /* nothing has changed */
    ck_assert_int_ne(stat(path, &st), 0);
    restart();
    ck_assert_uint_eq(send_ten(), 3);
}
END_TEST

/* Nobody has limits: no file, no table. */
START_TEST(nobody)
{
    struct stat st;

    main_users_save(&users);
    ck_assert_int_ne(stat(path, &st), 0);
    ck_assert_ptr_null(server_shared_users(&shared, false));
}
END_TEST

START_TEST(by_and_by)
{
    struct stat st;

    ck_assert_uint_eq(send_ten(), 3);
    ck_assert_uint_gt(main_users_step(&users), 1000);
    ck_assert_int_ne(stat(path, &st), 0);
    users.next_ms = 0; /* half a minute later */
    ck_assert_uint_gt(main_users_step(&users), 1000);
    ck_assert_int_eq(stat(path, &st), 0);
}
END_TEST

START_TEST(damaged)
{
    FILE *file;

    ck_assert_uint_eq(send_ten(), 3);
    main_users_save(&users);
    ck_assert_int_eq(truncate(path, 50), 0);
    restart();
    ck_assert_uint_eq(send_ten(), 3);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs("hello", file);
    ck_assert_int_eq(fclose(file), 0);
    restart();
    ck_assert_uint_eq(send_ten(), 3);
}
END_TEST

/* It is tried again, and made up for. */
START_TEST(no_folder)
{
    struct stat st;

    ck_assert_int_eq(rmdir(folder), 0);
    ck_assert_uint_eq(send_ten(), 3);
    main_users_save(&users);
    ck_assert(users.failed);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    main_users_save(&users);
    ck_assert(!users.failed);
    ck_assert_int_eq(stat(path, &st), 0);
}
END_TEST

Suite *main_users_suite(void)
{
    Suite *suite = suite_create("main_users");
    TCase *tc = tcase_create("file");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, over_a_restart);
    tcase_add_test(tc, nobody);
    tcase_add_test(tc, by_and_by);
    tcase_add_test(tc, damaged);
    tcase_add_test(tc, no_folder);
    suite_add_tcase(suite, tc);
    return suite;
}
