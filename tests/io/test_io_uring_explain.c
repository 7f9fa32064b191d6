/* What the operator is told when there is no ring to be had, and that real refusals end there. */
#include <check.h>
#include <errno.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base_assert.h"
#include "io_uring_priv.h"

static bool contains(struct slice text, const char *word)
{
    return memmem(text.data, text.len, word, strlen(word)) != NULL;
}

/* --- the texts -------------------------------------------------------------------------------- */

static const struct {
    int error;
    struct uring_facts facts;
    const char *says;
    const char *says_too;
    int code;
} texts[] = {
    {-EPERM, {-1, UINT64_MAX, 0, "6.1.0"}, "seccomp", "SystemCallFilter", EX_CONFIG},
    {-EPERM, {0, UINT64_MAX, 0, "6.6.0"}, "seccomp", "container", EX_CONFIG},
    {EPERM, {1, UINT64_MAX, 0, "6.6.0"}, "io_uring_disabled is 1", "io_uring_group", EX_CONFIG},
    {-EPERM, {2, UINT64_MAX, 0, "6.6.0"}, "io_uring_disabled is 2", "sysctl", EX_CONFIG},
    {-ENOSYS, {-1, UINT64_MAX, 0, "4.19.0"}, "4.19.0", "kernel 6.1 or newer", EX_OSERR},
    {-ENOMEM, {0, 65536, 204800, "6.18.0"}, "is 64 KiB", "200 KiB are needed", EX_CONFIG},
    {-ENOMEM, {0, 65536, 1, "6.18.0"}, "LimitMEMLOCK=infinity", "--ulimit memlock=-1", EX_CONFIG},
    {-ENOMEM, {0, UINT64_MAX, 0, "6.18.0"}, "is unlimited", "RLIMIT_MEMLOCK", EX_CONFIG},
    {-EINVAL, {-1, UINT64_MAX, 0, "5.15.0"}, "5.15.0", "DEFER_TASKRUN", EX_OSERR},
    {-EMFILE, {0, UINT64_MAX, 0, "6.6.0"}, "LimitNOFILE", "descriptor", EX_CONFIG},
    {-EIO, {0, UINT64_MAX, 0, "6.6.0"}, "Input/output error", "6.6.0", EX_OSERR},
};

START_TEST(test_text)
{
    struct buf out = {0};
    int code = -1;

    uring_explain_facts(texts[_i].error, &texts[_i].facts, &out, &code);
    ck_assert_msg(contains(buf_slice(&out), texts[_i].says), "%.*s", SLICE_ARG(buf_slice(&out)));
    ck_assert_msg(contains(buf_slice(&out), texts[_i].says_too), "%.*s",
                  SLICE_ARG(buf_slice(&out)));
    ck_assert_int_lt(slice_find(buf_slice(&out), '\n'), 0); /* one line */
    ck_assert_int_eq(code, texts[_i].code);
    buf_finish(&out);
}
END_TEST

START_TEST(test_the_machine_s_own_facts)
{
    struct buf out = {0};
    int code = -1;

    io_uring_explain(-ENOMEM, &out, &code);
    ck_assert(contains(buf_slice(&out), "RLIMIT_MEMLOCK"));
    ck_assert_int_eq(code, EX_CONFIG);
    buf_clear(&out);
    io_uring_describe(&out);
    ck_assert_msg(contains(buf_slice(&out), "deferred task work"), "%.*s",
                  SLICE_ARG(buf_slice(&out)));
    buf_finish(&out);
}
END_TEST

/* --- real refusals, each in a child of its own -------------------------------------------------- */

/* Runs `body` in a child and hands back what it wrote; its exit code is the test's. */
static void in_child(void (*body)(struct buf *out), struct buf *out)
{
    int pipe_fds[2];
    int status = 0;
    ssize_t got;
    pid_t child;

    ck_assert_int_eq(pipe(pipe_fds), 0);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct buf text = {0};

        body(&text);
        _exit(write(pipe_fds[1], buf_slice(&text).data, buf_len(&text)) == (ssize_t)buf_len(&text)
                  ? 0
                  : 1);
    }
    (void)close(pipe_fds[1]);
    got = read(pipe_fds[0], buf_reserve(out, 4096), 4096);
    ck_assert_int_ge(got, 0);
    buf_commit(out, (size_t)got);
    (void)close(pipe_fds[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d: %.*s", status,
                  SLICE_ARG(buf_slice(out)));
}

/* As the default profiles of container engines have it. */
static void forbid_io_uring(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = ARRAY_LEN(filter), .filter = filter};

    ASSERT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    ASSERT(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void create_forbidden(struct buf *out)
{
    const struct io_uring_options options = {.cpu = -1};
    int code = 0;

    forbid_io_uring();
    ASSERT(io_uring_create(&options, out, &code) == NULL);
    ASSERT(code == EX_CONFIG);
}

START_TEST(test_a_container_forbids_it)
{
    struct buf out = {0};

    in_child(create_forbidden, &out);
    ck_assert_msg(contains(buf_slice(&out), "io_uring: not permitted"), "%.*s",
                  SLICE_ARG(buf_slice(&out)));
    buf_finish(&out);
}
END_TEST

/* An ordinary user, whose locked memory counts, with that much of it. */
static void become_limited(uint64_t memlock)
{
    const struct rlimit limit = {.rlim_cur = memlock, .rlim_max = memlock};
    const uid_t uid = 61234; /* nobody else's: the limit is the user's, not the process's */

    ASSERT(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    ASSERT(setgroups(0, NULL) == 0 && setgid(uid) == 0 && setuid(uid) == 0);
}

static void create_without_memory(struct buf *out)
{
    const struct io_uring_options options = {.registered_len = 1 << 20, .cpu = -1};
    struct io *io;
    int code = 0;

    become_limited(65536);
    io = io_uring_create(&options, out, &code);
    /* Kernels before 6.14 do not count the ring itself, only what is registered with it. */
    ASSERT((io == NULL) == (code == EX_CONFIG));
    io_destroy(io);
}

START_TEST(test_locked_memory_is_limited)
{
    struct buf out = {0};

    if (getuid() != 0)
        return; /* cannot become somebody else */
    in_child(create_without_memory, &out);
    ck_assert_msg(contains(buf_slice(&out), "(RLIMIT_MEMLOCK) is 64 KiB"), "%.*s",
                  SLICE_ARG(buf_slice(&out)));
    ck_assert(contains(buf_slice(&out), "are needed"));
    buf_finish(&out);
}
END_TEST

/* Enough for the ring, not for the memory: served all the same, with a word of warning. */
static void create_with_little_memory(struct buf *out)
{
    const struct io_uring_options options = {
        .entries = 8, .recv_buffers = 8, .registered_len = 16 << 20, .cpu = -1};
    struct io_op op = {0};
    struct slice memory;
    struct io *io;
    int code = 0;
    int fd;

    become_limited(1 << 20);
    io = io_uring_create(&options, out, &code);
    ASSERT(io != NULL && io_uring_start(io) == 0);
    memory = io_registered(io);
    ASSERT(memory.len == 16 << 20 && (uintptr_t)memory.data % IO_ALIGN == 0);
    io_open(io, &op, "/dev/null", IO_OPEN_WRITE, 0);
    fd = io_await(io, &op);
    ASSERT(fd >= 0);
    io_write(io, &op, fd, memory.data, IO_ALIGN, 0, 0);
    ASSERT(io_await(io, &op) == IO_ALIGN);
    io_destroy(io);
}

START_TEST(test_registering_is_limited)
{
    struct buf out = {0};

    if (getuid() != 0)
        return;
    in_child(create_with_little_memory, &out);
    ck_assert_msg(contains(buf_slice(&out), "slower without registered memory"), "%.*s",
                  SLICE_ARG(buf_slice(&out)));
    ck_assert(contains(buf_slice(&out), "16384 KiB are needed"));
    buf_finish(&out);
}
END_TEST

Suite *io_uring_explain_suite(void)
{
    Suite *suite = suite_create("io_uring_explain");
    TCase *tc = tcase_create("explain");

    tcase_add_loop_test(tc, test_text, 0, (int)ARRAY_LEN(texts));
    tcase_add_test(tc, test_the_machine_s_own_facts);
    tcase_add_test(tc, test_a_container_forbids_it);
    tcase_add_test(tc, test_locked_memory_is_limited);
    tcase_add_test(tc, test_registering_is_limited);
    suite_add_tcase(suite, tc);
    return suite;
}
