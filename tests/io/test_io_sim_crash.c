/* What a crash may leave: everything that was synced, and over many seeds every other thing. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sim_world.h"

enum { SEEDS = 1500 };

static struct sim_world world;
static struct sim_world *const w = &world;

static const unsigned create = IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE;

/* How many of the seeds ended each way. */
struct tally {
    unsigned counts[8];
};

static void expect_all(const struct tally *t, unsigned ways)
{
    for (unsigned i = 0; i < ways; i++)
        ck_assert_msg(t->counts[i] > SEEDS / 200, "way %u was met %u times", i, t->counts[i]);
}

/* Each way a file of sectors may end: which of them hold `c`, as a mask. */
static unsigned sectors_of(const char *path, char c)
{
    struct buf bytes = {0};
    unsigned mask = 0;

    ck_assert(sim_file_read(w->machine, path, &bytes));
    struct slice s = buf_slice(&bytes);

    for (size_t i = 0; i * 512 < s.len; i++) {
        ck_assert(s.data[i * 512] == 0 || s.data[i * 512] == s.data[i * 512 + 511]); /* whole */
        mask |= (unsigned)(s.data[i * 512] == (uint8_t)c) << i;
    }
    buf_finish(&bytes);
    return mask;
}

START_TEST(test_synced_survives)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        sim_world_open(w, seed, NULL);
        int fd = do_open(w->io, "/a", create);

        ck_assert_int_eq(do_fsync_path(w->io, "/"), 0);
        ck_assert_int_eq(do_write(w->io, fd, "first", 0, 0), 5);
        ck_assert_int_eq(do_fsync(w->io, fd), 0);
        ck_assert_int_eq(do_write(w->io, fd, "second", 5000, IO_WRITE_SYNC), 6);
        sim_world_crash(w);
        struct buf bytes = {0};

        ck_assert(sim_file_read(w->machine, "/a", &bytes));
        ck_assert_uint_eq(buf_len(&bytes), 5006);
        ck_assert_mem_eq(buf_slice(&bytes).data, "first", 5);
        ck_assert_mem_eq(buf_slice(&bytes).data + 5000, "second", 6);
        buf_finish(&bytes);
        sim_world_close(w);
    }
}
END_TEST

START_TEST(test_unsynced_is_torn)
{
    struct tally t = {0};
    char bytes[1024];

    memset(bytes, 'x', sizeof(bytes));
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        sim_world_open(w, seed, NULL);
        ck_assert(sim_file_write(w->machine, "/a", slice_str("")));
        int fd = do_open(w->io, "/a", create);

        ck_assert_int_eq(do_write_bytes(w->io, fd, bytes, 1024, 0, 0), 1024);
        sim_world_crash(w);
        t.counts[sectors_of("/a", 'x')]++;
        sim_world_close(w);
    }
    expect_all(&t, 4); /* neither sector, one, the other, both */
}
END_TEST

/* A synced write vouches for itself alone: not for what was written to the file before. */
START_TEST(test_synced_write_is_alone)
{
    struct tally t = {0};
    char x[512];
    char y[512];

    memset(x, 'x', sizeof(x));
    memset(y, 'y', sizeof(y));
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        sim_world_open(w, seed, NULL);
        ck_assert(sim_file_write(w->machine, "/a", slice_str("")));
        int fd = do_open(w->io, "/a", create);

        ck_assert_int_eq(do_write_bytes(w->io, fd, x, 512, 0, 0), 512);
        ck_assert_int_eq(do_write_bytes(w->io, fd, y, 512, 512, IO_WRITE_SYNC), 512);
        sim_world_crash(w);
        ck_assert_uint_eq(sectors_of("/a", 'y'), 2);
        t.counts[sectors_of("/a", 'x')]++;
        sim_world_close(w);
    }
    expect_all(&t, 2);
}
END_TEST

/* Each version that a sector had since the last sync may be the one that stays. */
START_TEST(test_every_version)
{
    struct tally t = {0};

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        sim_world_open(w, seed, NULL);
        ck_assert(sim_file_write(w->machine, "/a", slice_str("0")));
        int fd = do_open(w->io, "/a", create);

        for (char c = '1'; c <= '3'; c++)
            ck_assert_int_eq(do_write_bytes(w->io, fd, &c, 1, 0, 0), 1);
        sim_world_crash(w);
        struct buf bytes = {0};

        ck_assert(sim_file_read(w->machine, "/a", &bytes));
        t.counts[buf_slice(&bytes).data[0] - '0']++;
        buf_finish(&bytes);
        sim_world_close(w);
    }
    expect_all(&t, 4);
}
END_TEST

START_TEST(test_in_flight)
{
    struct tally crashed = {0};
    struct tally killed = {0};
    static char bytes[1024];

    memset(bytes, 'x', sizeof(bytes));
    for (uint64_t seed = 0; seed < 2 * SEEDS; seed++) {
        bool kill = seed % 2;
        struct io_op op = {0};

        sim_world_open(w, seed, NULL);
        ck_assert(sim_file_write(w->machine, "/a", slice_str("")));
        io_write(w->io, &op, do_open(w->io, "/a", create), bytes, 1024, 0, IO_WRITE_SYNC);
        if (kill)
            sim_world_kill(w);
        else
            sim_world_crash(w);
        (kill ? &killed : &crashed)->counts[sectors_of("/a", 'x')]++;
        sim_world_close(w);
    }
    expect_all(&crashed, 4);
    expect_all(&killed, 4);
}
END_TEST

START_TEST(test_kill_keeps_the_cache)
{
    for (uint64_t seed = 0; seed < 100; seed++) {
        sim_world_open(w, seed, NULL);
        int fd = do_open(w->io, "/a", create);

        ck_assert_int_eq(do_write(w->io, fd, "unsynced", 0, 0), 8);
        ck_assert_int_eq(do_rename(w->io, "/a", "/b"), 0);
        sim_world_kill(w);
        ck_assert(file_is(w, "/b", "unsynced"));
        ck_assert_uint_eq(sim_open_files(w->machine), 0);
        sim_world_close(w);
    }
}
END_TEST

/* A sync that fails may have done any part, and one that succeeds later does not make up for it. */
START_TEST(test_failed_sync)
{
    struct tally t = {0};
    struct tally seen = {0};

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        bool synced_write = seed % 2;

        sim_world_open(w, seed, NULL);
        ck_assert(sim_file_write(w->machine, "/a", slice_str("old")));
        int fd = do_open(w->io, "/a", create);

        if (!synced_write)
            ck_assert_int_eq(do_write(w->io, fd, "new", 0, 0), 3);
        sim_options(w->sim)->write_error = 10000;
        if (synced_write)
            ck_assert_int_eq(do_write(w->io, fd, "new", 0, IO_WRITE_SYNC), -EIO);
        else
            ck_assert_int_eq(do_fsync(w->io, fd), -EIO);
        sim_options(w->sim)->write_error = 0;
        ck_assert_int_eq(do_fsync(w->io, fd), 0); /* says the kernel */
        seen.counts[file_is(w, "/a", "new")]++;
        sim_world_crash(w);
        ck_assert(file_is(w, "/a", "new") || file_is(w, "/a", "old"));
        t.counts[file_is(w, "/a", "new")]++;
        sim_world_close(w);
    }
    expect_all(&seen, 2);
    expect_all(&t, 2);
}
END_TEST

START_TEST(test_truncation)
{
    struct tally t = {0};

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        sim_world_open(w, seed, NULL);
        ck_assert(sim_file_write(w->machine, "/a", slice_str("old")));
        int fd = do_open(w->io, "/a", create | IO_OPEN_TRUNCATE);

        ck_assert(file_is(w, "/a", ""));
        ck_assert_int_eq(do_write(w->io, fd, "x", 0, 0), 1);
        sim_world_crash(w);
        bool nul = !file_is(w, "/a", "old") && !file_is(w, "/a", "") && !file_is(w, "/a", "x");

        t.counts[0] += file_is(w, "/a", "old");
        t.counts[1] += file_is(w, "/a", "");
        t.counts[2] += file_is(w, "/a", "x");
        t.counts[3] += nul; /* the size made it, the byte did not */
        sim_world_close(w);
    }
    expect_all(&t, 4);
}
END_TEST

/* --- names ----------------------------------------------------------------------------------- */

START_TEST(test_new_name)
{
    struct tally after_fsync = {0};

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        bool sync_directory = seed % 2;

        sim_world_open(w, seed, NULL);
        int fd = do_open(w->io, "/a", create);

        ck_assert_int_eq(do_write(w->io, fd, "data", 0, 0), 4);
        ck_assert_int_eq(do_fsync(w->io, fd), 0);
        if (sync_directory)
            ck_assert_int_eq(do_fsync_path(w->io, "/"), 0);
        sim_world_crash(w);
        if (sync_directory)
            ck_assert(file_is(w, "/a", "data"));
        else
            after_fsync.counts[file_exists(w, "/a")]++;
        if (file_exists(w, "/a"))
            ck_assert(file_is(w, "/a", "data"));
        sim_world_close(w);
    }
    expect_all(&after_fsync, 2);
}
END_TEST

/* A rename between directories happens as a whole or not at all. */
START_TEST(test_rename_is_atomic)
{
    struct tally t = {0};

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        sim_world_open(w, seed, NULL);
        ck_assert(sim_file_write(w->machine, "/tmp/m", slice_str("mail")));
        ck_assert(sim_file_write(w->machine, "/new/n", slice_str("older")));
        ck_assert_int_eq(do_rename(w->io, "/tmp/m", "/new/n"), 0);
        if (seed % 3 == 1)
            ck_assert_int_eq(do_fsync_path(w->io, "/new"), 0);
        if (seed % 3 == 2)
            ck_assert_int_eq(do_fsync_path(w->io, "/tmp"), 0);
        sim_world_crash(w);
        bool moved = file_is(w, "/new/n", "mail");

        ck_assert_int_eq(file_exists(w, "/tmp/m"), !moved);
        ck_assert(moved || file_is(w, "/new/n", "older"));
        if (seed % 3 != 0)
            ck_assert(moved);
        else
            t.counts[moved]++;
        sim_world_close(w);
    }
    expect_all(&t, 2);
}
END_TEST

/* What happened first in a directory is there if what happened later is. */
START_TEST(test_names_in_order)
{
    struct tally ordered = {0};
    struct tally harsh = {0};
    struct sim_options options = sim_options_default();

    for (uint64_t seed = 0; seed < 2 * SEEDS; seed++) {
        bool reorder = seed % 2;

        options.crash_reorder = reorder ? 10000 : 0;
        sim_world_open(w, seed, &options);
        ck_assert_int_ge(do_open(w->io, "/a", create), 0);
        ck_assert_int_ge(do_open(w->io, "/b", create), 0);
        sim_world_crash(w);
        unsigned way = (unsigned)file_exists(w, "/a") | (unsigned)file_exists(w, "/b") << 1;

        (reorder ? &harsh : &ordered)->counts[way]++;
        sim_world_close(w);
    }
    expect_all(&harsh, 4);
    expect_all(&ordered, 2);
    ck_assert_uint_eq(ordered.counts[2], 0); /* never the second without the first */
    ck_assert_uint_gt(ordered.counts[3], 0);
}
END_TEST

/* A sync of one directory carries along what its changes build on elsewhere. */
START_TEST(test_sync_takes_what_it_needs)
{
    for (uint64_t seed = 0; seed < 200; seed++) {
        sim_world_open(w, seed, NULL);
        ck_assert(sim_file_write(w->machine, "/tmp/x", SLICE_NULL));
        ck_assert(sim_file_write(w->machine, "/new/x", SLICE_NULL));
        int fd = do_open(w->io, "/tmp/m", create);

        ck_assert_int_eq(do_write(w->io, fd, "mail", 0, 0), 4);
        ck_assert_int_eq(do_fsync(w->io, fd), 0);
        ck_assert_int_eq(do_rename(w->io, "/tmp/m", "/new/m"), 0);
        ck_assert_int_eq(do_fsync_path(w->io, "/new"), 0);
        sim_world_crash(w);
        ck_assert(file_is(w, "/new/m", "mail"));
        ck_assert(!file_exists(w, "/tmp/m"));
        sim_world_close(w);
    }
}
END_TEST

START_TEST(test_unlink_may_come_back)
{
    struct tally t = {0};

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        sim_world_open(w, seed, NULL);
        ck_assert(sim_file_write(w->machine, "/a", slice_str("text")));
        ck_assert_int_eq(do_unlink(w->io, "/a"), 0);
        sim_world_crash(w);
        t.counts[file_exists(w, "/a")]++;
        if (file_exists(w, "/a"))
            ck_assert(file_is(w, "/a", "text"));
        sim_world_close(w);
    }
    expect_all(&t, 2);
}
END_TEST

/* The page cache of a long run against a plain model of the file. */
START_TEST(test_against_model)
{
    enum { SIZE = 20000 };
    static char model[SIZE];
    static char now[SIZE];

    for (uint64_t seed = 0; seed < 60; seed++) {
        sim_world_open(w, seed, NULL);
        struct rand r;
        int fd = do_open(w->io, "/a", create);
        size_t size = 0;

        rand_seed(&r, seed);
        memset(model, 0, sizeof(model));
        for (int i = 0; i < 100; i++) {
            size_t offset = rand_below(&r, SIZE - 1);
            size_t len = 1 + rand_below(&r, SIZE - offset);

            memset(model + offset, rand_chance(&r, 1, 4) ? 0 : 'a' + i % 26, len);
            size = offset + len > size ? offset + len : size;
            ck_assert_int_eq(do_write_bytes(w->io, fd, model + offset, len, offset,
                                            rand_chance(&r, 1, 2) ? IO_WRITE_SYNC : 0),
                             (int)len);
            if (rand_chance(&r, 1, 10))
                ck_assert_int_eq(do_fsync(w->io, fd), 0);
            ck_assert_int_eq(do_read(w->io, fd, now, SIZE, 0), (int)size);
            ck_assert_mem_eq(now, model, size);
        }
        ck_assert_int_eq(do_fsync(w->io, fd), 0);
        ck_assert_int_eq(do_fsync_path(w->io, "/"), 0);
        sim_world_crash(w);
        fd = do_open(w->io, "/a", create);
        ck_assert_int_eq(do_read(w->io, fd, now, SIZE, 0), (int)size);
        ck_assert_mem_eq(now, model, size);
        sim_world_close(w);
    }
}
END_TEST

Suite *io_sim_crash_suite(void)
{
    Suite *suite = suite_create("io_sim_crash");
    TCase *tc = tcase_create("crash");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, test_synced_survives);
    tcase_add_test(tc, test_unsynced_is_torn);
    tcase_add_test(tc, test_synced_write_is_alone);
    tcase_add_test(tc, test_every_version);
    tcase_add_test(tc, test_in_flight);
    tcase_add_test(tc, test_kill_keeps_the_cache);
    tcase_add_test(tc, test_failed_sync);
    tcase_add_test(tc, test_truncation);
    tcase_add_test(tc, test_new_name);
    tcase_add_test(tc, test_rename_is_atomic);
    tcase_add_test(tc, test_names_in_order);
    tcase_add_test(tc, test_sync_takes_what_it_needs);
    tcase_add_test(tc, test_unlink_may_come_back);
    tcase_add_test(tc, test_against_model);
    suite_add_tcase(suite, tc);
    return suite;
}
