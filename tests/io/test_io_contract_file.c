/* The contract of io.h: files and directories. */
#include <errno.h>

#include "base_assert.h"
#include "io_contract.h"

enum { CREATE = IO_OPEN_READ | IO_OPEN_WRITE | IO_OPEN_CREATE };

CONTRACT_TEST(what_is_not_there_is_enoent)
{
    const char *absent = world_path("absent");
    const char *below = world_path("absent/file");
    struct io_stat st;
    struct probe p;

    ck_assert_int_eq(run_open(absent, IO_OPEN_READ), -ENOENT);
    ck_assert_int_eq(run_open(below, CREATE), -ENOENT);
    ck_assert_int_eq(run_stat(absent, &st), -ENOENT);
    ck_assert_int_eq(run_unlink(absent), -ENOENT);
    probe_init(&p);
    SUBMIT(io_rename(world->io, &p.op, absent, world_path("other")));
    ck_assert_int_eq(probe_wait(&p), -ENOENT);
    SUBMIT(io_link(world->io, &p.op, absent, world_path("other")));
    ck_assert_int_eq(probe_wait(&p), -ENOENT);
    SUBMIT(io_mkdir(world->io, &p.op, below, 0700));
    ck_assert_int_eq(probe_wait(&p), -ENOENT);
}

CONTRACT_TEST(what_is_written_is_read)
{
    const char *path = world_path("file");
    struct io_stat st;
    char text[16];
    int fd = run_open(path, CREATE);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(run_write(fd, "hello world", 11, 0, 0), 11);
    ck_assert_int_eq(run_write(fd, "W", 1, 6, 0), 1);
    ck_assert_int_eq(run_read(fd, text, 11, 0), 11);
    ck_assert_mem_eq(text, "hello World", 11);
    ck_assert_int_eq(run_stat(path, &st), 0);
    ck_assert_uint_eq(st.size, 11);
    ck_assert(!st.is_directory);
    ck_assert_uint_eq(st.mode, 0600);
    world_close_fd(fd);
    ck_assert(run_file_is(path, "hello World"));
}

CONTRACT_TEST(reading_past_the_end_is_short_then_zero)
{
    char text[16] = "";
    int fd = run_open(world_path("file"), CREATE);

    ck_assert_int_eq(run_write(fd, "abc", 3, 0, 0), 3);
    ck_assert_int_eq(run_read(fd, text, sizeof(text), 1), 2);
    ck_assert_mem_eq(text, "bc", 2);
    ck_assert_int_eq(run_read(fd, text, sizeof(text), 3), 0);
    ck_assert_int_eq(run_read(fd, text, sizeof(text), 1000000), 0);
    world_close_fd(fd);
}

CONTRACT_TEST(a_hole_reads_as_zeros)
{
    char text[3] = "xx";
    int fd = run_open(world_path("file"), CREATE);

    ck_assert_int_eq(run_write(fd, "a", 1, 100000, 0), 1);
    ck_assert_int_eq(run_read(fd, text, 2, 50000), 2);
    ck_assert_mem_eq(text, "\0\0", 2);
    world_close_fd(fd);
}

CONTRACT_TEST(exclusive_create_and_truncate)
{
    const char *path = world_path("file");
    int fd;

    run_make_file(path, "text");
    ck_assert_int_eq(run_open(path, CREATE | IO_OPEN_EXCLUSIVE), -EEXIST);
    fd = run_open(path, CREATE);
    ck_assert_int_ge(fd, 0);
    world_close_fd(fd);
    ck_assert(run_file_is(path, "text"));
    fd = run_open(path, IO_OPEN_WRITE | IO_OPEN_TRUNCATE);
    ck_assert_int_ge(fd, 0);
    world_close_fd(fd);
    ck_assert(run_file_is(path, ""));
}

CONTRACT_TEST(a_vector_is_written_in_order)
{
    const char *path = world_path("file");
    struct iovec iov[] = {{"one ", 4}, {"", 0}, {"two ", 4}, {"three", 5}};
    struct probe p;
    int fd = run_open(path, CREATE);

    probe_init(&p);
    SUBMIT(io_writev(world->io, &p.op, fd, iov, ARRAY_LEN(iov), 0, IO_WRITE_SYNC));
    ck_assert_int_eq(probe_wait(&p), 13);
    world_close_fd(fd);
    ck_assert(run_file_is(path, "one two three"));
}

CONTRACT_TEST(link_does_not_replace_rename_does)
{
    const char *a = world_path("a");
    const char *b = world_path("b");
    const char *c = world_path("c");
    struct probe p;
    struct io_stat st;

    run_make_file(a, "A");
    run_make_file(b, "B");
    probe_init(&p);
    SUBMIT(io_link(world->io, &p.op, a, b));
    ck_assert_int_eq(probe_wait(&p), -EEXIST);
    ck_assert(run_file_is(b, "B"));
    SUBMIT(io_link(world->io, &p.op, a, c));
    ck_assert_int_eq(probe_wait(&p), 0);
    ck_assert(run_file_is(c, "A"));
    SUBMIT(io_rename(world->io, &p.op, a, b));
    ck_assert_int_eq(probe_wait(&p), 0);
    ck_assert(run_file_is(b, "A"));
    ck_assert_int_eq(run_stat(a, &st), -ENOENT);
    ck_assert_int_eq(run_unlink(c), 0);
    ck_assert_int_eq(run_stat(c, &st), -ENOENT);
    ck_assert(run_file_is(b, "A"));
}

/* An open file outlives its name. */
CONTRACT_TEST(an_unlinked_file_stays_readable)
{
    const char *path = world_path("file");
    char text[4];
    int fd;

    run_make_file(path, "text");
    fd = run_open(path, IO_OPEN_READ);
    ck_assert_int_eq(run_unlink(path), 0);
    ck_assert_int_eq(run_read(fd, text, 4, 0), 4);
    ck_assert_mem_eq(text, "text", 4);
    world_close_fd(fd);
}

static bool add_to_set(void *context, const char *name)
{
    unsigned *set = context;

    ck_assert_str_ne(name, ".");
    ck_assert_str_ne(name, "..");
    ck_assert_uint_eq(strlen(name), 1);
    *set |= 1U << (name[0] - 'a');
    return true;
}

static bool stop_at_first(void *context, const char *name)
{
    (void)name;
    (*(int *)context)++;
    return false;
}

CONTRACT_TEST(directories_are_made_listed_and_synced)
{
    const char *dir = world_path("dir");
    struct io_stat st;
    struct probe p;
    unsigned set = 0;
    int visited = 0;
    int fd;

    probe_init(&p);
    SUBMIT(io_mkdir(world->io, &p.op, dir, 0700));
    ck_assert_int_eq(probe_wait(&p), 0);
    SUBMIT(io_mkdir(world->io, &p.op, dir, 0700));
    ck_assert_int_eq(probe_wait(&p), -EEXIST);
    ck_assert_int_eq(run_stat(dir, &st), 0);
    ck_assert(st.is_directory);
    ck_assert_int_eq(io_list(world->io, dir, stop_at_first, &visited), 0);
    ck_assert_int_eq(visited, 0);

    run_make_file(world_path("dir/a"), "");
    run_make_file(world_path("dir/c"), "");
    ck_assert_int_eq(io_list(world->io, dir, add_to_set, &set), 0);
    ck_assert_uint_eq(set, 1 | 4);
    ck_assert_int_eq(io_list(world->io, dir, stop_at_first, &visited), 0);
    ck_assert_int_eq(visited, 1);
    ck_assert_int_eq(io_list(world->io, world_path("absent"), stop_at_first, &visited), -ENOENT);

    fd = run_open(dir, IO_OPEN_READ | IO_OPEN_DIRECTORY);
    ck_assert_int_ge(fd, 0);
    SUBMIT(io_fsync(world->io, &p.op, fd));
    ck_assert_int_eq(probe_wait(&p), 0);
    world_close_fd(fd);
    ck_assert_int_eq(run_open(world_path("dir/a"), IO_OPEN_READ | IO_OPEN_DIRECTORY), -ENOTDIR);
}

CONTRACT_TEST(a_file_is_synced)
{
    struct probe p;
    int fd = run_open(world_path("file"), CREATE);

    ck_assert_int_eq(run_write(fd, "x", 1, 0, 0), 1);
    probe_init(&p);
    SUBMIT(io_fsync(world->io, &p.op, fd));
    ck_assert_int_eq(probe_wait(&p), 0);
    world_close_fd(fd);
}

/* The spool's way: direct, synced, from registered memory. */
CONTRACT_TEST(direct_synced_writes_from_registered_memory)
{
    uint8_t *memory = (uint8_t *)(uintptr_t)io_registered(world->io).data;
    const size_t len = 64 * 1024;
    int fd = run_open(world_path("file"), CREATE | IO_OPEN_DIRECT);

    ck_assert_int_ge(fd, 0);
    for (size_t i = 0; i < len; i++)
        memory[i] = (uint8_t)(i * 7 + i / 4096);
    ck_assert_int_eq(run_write(fd, memory, len, 0, IO_WRITE_SYNC), (int)len);
    ck_assert_int_eq(run_write(fd, memory, 4096, len, IO_WRITE_SYNC), 4096);
    ck_assert_int_eq(run_read(fd, memory + len, len, 0), (int)len);
    ck_assert_mem_eq(memory, memory + len, len);
    ck_assert_int_eq(run_read(fd, memory + len, 8192, len), 4096);
    ck_assert_mem_eq(memory, memory + len, 4096);
    world_close_fd(fd);
}

/* Two commits at once, each in its place. */
CONTRACT_TEST(writes_may_be_in_flight_together)
{
    uint8_t *memory = (uint8_t *)(uintptr_t)io_registered(world->io).data;
    struct probe writes[16];
    int fd = run_open(world_path("file"), CREATE | IO_OPEN_DIRECT);

    for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
        memset(memory + i * 4096, (int)i + 1, 4096);
        probe_init(&writes[i]);
        SUBMIT(io_write(world->io, &writes[i].op, fd, memory + i * 4096, 4096, i * 4096,
                        IO_WRITE_SYNC));
    }
    for (size_t i = 0; i < ARRAY_LEN(writes); i++)
        ck_assert_int_eq(probe_wait(&writes[i]), 4096);
    memset(memory, 0, ARRAY_LEN(writes) * 4096);
    ck_assert_int_eq(run_read(fd, memory, ARRAY_LEN(writes) * 4096, 0), ARRAY_LEN(writes) * 4096);
    for (size_t i = 0; i < ARRAY_LEN(writes); i++)
        ck_assert_uint_eq(memory[i * 4096 + 17], i + 1);
    world_close_fd(fd);
}

CONTRACT_TEST(a_lock_is_held_by_one_open_file)
{
    const char *path = world_path("lock");
    int first = run_open(path, CREATE);
    int second = run_open(path, CREATE);

    ck_assert_int_eq(io_lock(world->io, first), 0);
    ck_assert_int_eq(io_lock(world->io, second), -EAGAIN);
    world_close_fd(first);
    ck_assert_int_eq(io_lock(world->io, second), 0);
    world_close_fd(second);
}

CONTRACT_TEST(the_disk_has_room)
{
    ck_assert_uint_gt(io_disk_free(world->io, world->dir), 1 << 20);
}

Suite *io_contract_file_suite(void)
{
    Suite *suite = suite_create("io_contract_file");
    TCase *tc = contract_case(suite, "file");

    CONTRACT_ADD(tc, what_is_not_there_is_enoent);
    CONTRACT_ADD(tc, what_is_written_is_read);
    CONTRACT_ADD(tc, reading_past_the_end_is_short_then_zero);
    CONTRACT_ADD(tc, a_hole_reads_as_zeros);
    CONTRACT_ADD(tc, exclusive_create_and_truncate);
    CONTRACT_ADD(tc, a_vector_is_written_in_order);
    CONTRACT_ADD(tc, link_does_not_replace_rename_does);
    CONTRACT_ADD(tc, an_unlinked_file_stays_readable);
    CONTRACT_ADD(tc, directories_are_made_listed_and_synced);
    CONTRACT_ADD(tc, a_file_is_synced);
    CONTRACT_ADD(tc, direct_synced_writes_from_registered_memory);
    CONTRACT_ADD(tc, writes_may_be_in_flight_together);
    CONTRACT_ADD(tc, a_lock_is_held_by_one_open_file);
    CONTRACT_ADD(tc, the_disk_has_room);
    return suite;
}
