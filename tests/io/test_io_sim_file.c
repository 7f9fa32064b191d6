/* The simulated file system while the power stays on: names, bytes, limits, faults. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "sim_world.h"

static struct sim_world world;
static struct sim_world *const w = &world;

static const unsigned read_write = IO_OPEN_READ | IO_OPEN_WRITE;
static const unsigned create = IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE;

static void setup(void)
{
    sim_world_open(w, 7, NULL);
}

static void teardown(void)
{
    sim_world_close(w);
}

START_TEST(test_open)
{
    ck_assert_int_eq(do_open(w->io, "/a", read_write), -ENOENT);
    ck_assert_int_eq(do_open(w->io, "/no/a", create), -ENOENT);
    int fd = do_open(w->io, "/a", create | IO_OPEN_EXCLUSIVE);

    ck_assert_int_ge(fd, 3);
    ck_assert_int_eq(do_open(w->io, "/a", create | IO_OPEN_EXCLUSIVE), -EEXIST);
    ck_assert_int_eq(do_open(w->io, "/a", IO_OPEN_READ | IO_OPEN_DIRECTORY), -ENOTDIR);
    ck_assert_int_eq(do_open(w->io, "/a/b", create), -ENOTDIR);
    ck_assert_int_eq(do_mkdir(w->io, "/d"), 0);
    ck_assert_int_eq(do_mkdir(w->io, "/d"), -EEXIST);
    ck_assert_int_eq(do_open(w->io, "/d", read_write), -EISDIR);
    ck_assert_uint_eq(sim_open_files(w->machine), 1);
    ck_assert_int_eq(do_close(w->io, fd), 0);
    ck_assert_uint_eq(sim_open_files(w->machine), 0);
}
END_TEST

START_TEST(test_bytes)
{
    char buffer[16];
    struct io_stat stat;
    int fd = do_open(w->io, "/a", create);

    ck_assert_int_eq(do_read(w->io, fd, buffer, 16, 0), 0);
    ck_assert_int_eq(do_write(w->io, fd, "world", 6, 0), 5);
    ck_assert_int_eq(do_write(w->io, fd, "hello", 0, IO_WRITE_SYNC), 5);
    ck_assert_int_eq(do_read(w->io, fd, buffer, 16, 0), 11);
    ck_assert_mem_eq(buffer, "hello\0world", 11);
    ck_assert_int_eq(do_read(w->io, fd, buffer, 2, 9), 2);
    ck_assert_mem_eq(buffer, "ld", 2);
    ck_assert_int_eq(do_read(w->io, fd, buffer, 2, 11), 0);
    ck_assert_int_eq(do_stat(w->io, "/a", &stat), 0);
    ck_assert_uint_eq(stat.size, 11);
    ck_assert(!stat.is_directory);
    /* Over pages and with holes. */
    ck_assert_int_eq(do_write(w->io, fd, "across", 8190, 0), 6);
    ck_assert_int_eq(do_read(w->io, fd, buffer, 8, 8189), 7);
    ck_assert_mem_eq(buffer, "\0across", 7);
    ck_assert_int_eq(do_close(w->io, fd), 0);
    fd = do_open(w->io, "/a", create | IO_OPEN_TRUNCATE);
    ck_assert_int_eq(do_read(w->io, fd, buffer, 16, 0), 0);
    ck_assert(file_is(w, "/a", ""));
}
END_TEST

START_TEST(test_vector)
{
    struct iovec iov[] = {{"one", 3}, {"", 0}, {"two", 3}};
    struct io_op op = {0};
    int fd = do_open(w->io, "/a", create);

    io_writev(w->io, &op, fd, iov, 3, 2, IO_WRITE_SYNC);
    ck_assert_int_eq(io_await(w->io, &op), 6);
    ck_assert_int_eq(do_write(w->io, fd, "ab", 0, 0), 2);
    ck_assert(file_is(w, "/a", "abonetwo"));
}
END_TEST

START_TEST(test_names)
{
    ck_assert(sim_file_write(w->machine, "/d/a", slice_str("A")));
    ck_assert(sim_file_write(w->machine, "/d/b", slice_str("B")));
    ck_assert_int_eq(do_mkdir(w->io, "/e"), 0);
    ck_assert_int_eq(do_rename(w->io, "/d/none", "/d/x"), -ENOENT);
    ck_assert_int_eq(do_rename(w->io, "/d/a", "/e/a"), 0);
    ck_assert(!file_exists(w, "/d/a"));
    ck_assert(file_is(w, "/e/a", "A"));
    ck_assert_int_eq(do_rename(w->io, "/e/a", "/d/b"), 0); /* replaces */
    ck_assert(file_is(w, "/d/b", "A"));
    ck_assert_int_eq(do_link(w->io, "/d/b", "/e/c"), 0);
    ck_assert_int_eq(do_link(w->io, "/d/b", "/e/c"), -EEXIST);
    ck_assert_int_eq(do_rename(w->io, "/d/b", "/e/c"), 0); /* one file: both names stay */
    ck_assert(file_exists(w, "/d/b"));
    ck_assert_int_eq(do_unlink(w->io, "/d/b"), 0);
    ck_assert_int_eq(do_unlink(w->io, "/d/b"), -ENOENT);
    ck_assert(file_is(w, "/e/c", "A"));
    ck_assert_int_eq(do_unlink(w->io, "/e"), -EISDIR);
    ck_assert_int_eq(do_rename(w->io, "/e/c", "/d"), -EISDIR);
}
END_TEST

START_TEST(test_unlinked_file_lives_while_open)
{
    char buffer[4];
    int fd = do_open(w->io, "/a", create);

    ck_assert_int_eq(do_write(w->io, fd, "here", 0, 0), 4);
    ck_assert_int_eq(do_unlink(w->io, "/a"), 0);
    ck_assert_int_eq(do_fsync_path(w->io, "/"), 0);
    ck_assert_int_eq(do_read(w->io, fd, buffer, 4, 0), 4);
    ck_assert_uint_eq(sim_disk_used(w->machine), 4096);
    ck_assert_int_eq(do_close(w->io, fd), 0);
    ck_assert_uint_eq(sim_disk_used(w->machine), 0);
}
END_TEST

static bool collect(void *context, const char *name)
{
    strcat(context, name);
    return strlen(context) < 3;
}

START_TEST(test_list)
{
    char names[16] = "";

    ck_assert_int_eq(io_list(w->io, "/d", collect, names), -ENOENT);
    ck_assert(sim_file_write(w->machine, "/d/a", SLICE_NULL));
    ck_assert_int_eq(io_list(w->io, "/d/a", collect, names), -ENOTDIR);
    ck_assert_int_eq(io_list(w->io, "/d", collect, names), 0);
    ck_assert_str_eq(names, "a");
    for (const char *c = "bcde"; *c; c++) {
        char path[] = {'/', 'd', '/', *c, '\0'};

        ck_assert(sim_file_write(w->machine, path, SLICE_NULL));
    }
    names[0] = '\0';
    ck_assert_int_eq(io_list(w->io, "/d", collect, names), 0);
    ck_assert_uint_eq(strlen(names), 3); /* the visitor has had enough */
}
END_TEST

START_TEST(test_lock)
{
    int a = do_open(w->io, "/lock", create);
    int b = do_open(w->io, "/lock", create);

    ck_assert_int_eq(io_lock(w->io, a), 0);
    ck_assert_int_eq(io_lock(w->io, b), -EAGAIN);
    ck_assert_int_eq(do_close(w->io, a), 0);
    ck_assert_int_eq(io_lock(w->io, b), 0);
    sim_world_kill(w);
    a = do_open(w->io, "/lock", create);
    ck_assert_int_eq(io_lock(w->io, a), 0);
}
END_TEST

START_TEST(test_disk_full)
{
    static const char page[4096] = "page";
    int fd = do_open(w->io, "/a", create);

    sim_options(w->sim)->disk_bytes = 3 * 4096;
    ck_assert_uint_eq(io_disk_free(w->io, "/"), 3 * 4096);
    for (uint64_t i = 0; i < 3; i++)
        ck_assert_int_eq(do_write_bytes(w->io, fd, page, 4096, i * 4096, 0), 4096);
    ck_assert_uint_eq(io_disk_free(w->io, "/"), 0);
    ck_assert_int_eq(do_write_bytes(w->io, fd, page, 1, 3 * 4096, 0), -ENOSPC);
    ck_assert_int_eq(do_open(w->io, "/b", create), -ENOSPC);
    ck_assert_int_eq(do_write_bytes(w->io, fd, page, 4096, 4096, 0), 4096); /* has its place */
    sim_options(w->sim)->no_space = 10000;
    ck_assert_int_eq(do_write_bytes(w->io, fd, page, 4096, 4096, 0), 4096);
}
END_TEST

START_TEST(test_direct)
{
    uint8_t *memory = (uint8_t *)(uintptr_t)io_registered(w->io).data;
    int fd = do_open(w->io, "/a", create | IO_OPEN_DIRECT);

    memset(memory, 'x', 8192);
    ck_assert_int_eq(do_write_bytes(w->io, fd, memory, 8192, 4096, IO_WRITE_SYNC), 8192);
    memset(memory, 'y', 8192);
    ck_assert_int_eq(do_read(w->io, fd, memory, 8192, 8192), 4096);
    ck_assert_uint_eq(memory[0], 'x');
    ck_assert_uint_eq(memory[4096], 'y');
}
END_TEST

/* Every fault that is certain happens, and in each world only its own. */
START_TEST(test_faults)
{
    char buffer[8];
    int fd = do_open(w->io, "/a", create);
    struct sim_options *o = sim_options(w->sim);

    ck_assert_int_eq(do_write(w->io, fd, "12345678", 0, 0), 8);
    o->write_short = 10000;
    for (int i = 0; i < 20; i++) {
        int res = do_write(w->io, fd, "12345678", 0, 0);

        ck_assert(res > 0 && res < 8);
    }
    o->write_short = 0;
    o->read_short = 10000;
    int shortest = 8;

    for (int i = 0; i < 100; i++) {
        int res = do_read(w->io, fd, buffer, 8, 0);

        ck_assert(res > 0 && res <= 8);
        shortest = res < shortest ? res : shortest;
    }
    ck_assert_int_eq(shortest, 1);
    o->read_error = 10000;
    ck_assert_int_eq(do_read(w->io, fd, buffer, 8, 0), -EIO);
    o->write_error = 10000;
    ck_assert_int_eq(do_write(w->io, fd, "12345678", 0, 0), -EIO);
    ck_assert_int_eq(do_fsync(w->io, fd), -EIO);
    o->no_space = 10000;
    ck_assert_int_eq(do_open(w->io, "/b", create), -ENOSPC);
    o->fds_max = 1;
    ck_assert_int_eq(do_open(w->io, "/a", read_write), -EMFILE);
}
END_TEST

START_TEST(test_fault_rate)
{
    struct sim_options *o = sim_options(w->sim);
    int fd = do_open(w->io, "/a", create);
    int failed = 0;

    o->write_error = 1000;
    for (int i = 0; i < 5000; i++)
        failed += do_write(w->io, fd, "x", 0, 0) == -EIO;
    ck_assert_int_gt(failed, 400);
    ck_assert_int_lt(failed, 600);
}
END_TEST

START_TEST(test_corrupt)
{
    struct buf bytes = {0};
    uint8_t text[] = "some text";

    ck_assert(sim_file_write(w->machine, "/a", slice_of(text, 9)));
    sim_file_corrupt(w->machine, "/a", 3);
    ck_assert(sim_file_read(w->machine, "/a", &bytes));
    ck_assert_uint_eq(buf_len(&bytes), 9);
    text[3] ^= buf_slice(&bytes).data[3] ^ text[3]; /* one bit */
    ck_assert(text[3] != 'e' && __builtin_popcount((unsigned)text[3] ^ 'e') == 1);
    ck_assert(slice_equal(buf_slice(&bytes), slice_of(text, 9)));
    buf_finish(&bytes);
    sim_world_crash(w);
    ck_assert(!file_is(w, "/a", "some text")); /* rot is on the platter */
}
END_TEST

Suite *io_sim_file_suite(void)
{
    Suite *suite = suite_create("io_sim_file");
    TCase *tc = tcase_create("file");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_open);
    tcase_add_test(tc, test_bytes);
    tcase_add_test(tc, test_vector);
    tcase_add_test(tc, test_names);
    tcase_add_test(tc, test_unlinked_file_lives_while_open);
    tcase_add_test(tc, test_list);
    tcase_add_test(tc, test_lock);
    tcase_add_test(tc, test_disk_full);
    tcase_add_test(tc, test_direct);
    tcase_add_test(tc, test_faults);
    tcase_add_test(tc, test_fault_rate);
    tcase_add_test(tc, test_corrupt);
    suite_add_tcase(suite, tc);
    return suite;
}
