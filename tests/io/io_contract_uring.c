/* The real kernel as a world for the contract tests. */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io_contract.h"
#include "io_uring_ring.h"

static struct io *create(void)
{
    const struct io_uring_options options = {
        .entries = IO_WORLD_ENTRIES,
        .recv_buffers = IO_WORLD_BUFFERS,
        .recv_buffer_len = IO_WORLD_BUFFER_LEN,
        .registered_len = IO_WORLD_REGISTERED,
        .cpu = -1,
    };
    struct buf error = {0};
    struct io *io;
    int code = 0;

    io = io_uring_create(&options, &error, &code);
    ck_assert_msg(io != NULL, "%.*s", SLICE_ARG(buf_slice(&error)));
    buf_finish(&error);
    ck_assert_int_eq(io_uring_start(io), 0);
    return io;
}

static void uring_world_open(struct io_world *w)
{
    for (int i = 0; i < IO_WORLD_IOS; i++)
        w->ios[i] = create();
    /* Not /tmp, which may be in memory and know no direct I/O. */
    (void)snprintf(w->dir, sizeof(w->dir), "/var/tmp/mailring-io-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(w->dir));
}

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char name[512];

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        (void)snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (unlink(name) != 0)
            remove_tree(name);
    }
    if (dir != NULL)
        (void)closedir(dir);
    (void)rmdir(path);
}

static void uring_world_close(struct io_world *w)
{
    for (int i = 0; i < IO_WORLD_IOS; i++)
        io_destroy(w->ios[i]);
    remove_tree(w->dir);
}

static void uring_world_pump(struct io_world *w, uint64_t deadline_ms)
{
    int ran = 0;

    for (int i = 0; i < IO_WORLD_IOS; i++)
        ran += io_wait(w->ios[i], 0);
    if (ran == 0) {
        uint64_t soon = io_now_ms(w->io) + 1;

        (void)io_wait(w->io, soon < deadline_ms ? soon : deadline_ms);
    }
}

/* A listener whose queue is full: further handshakes get no answer. */
static void uring_stalled_address(struct io_world *w, struct io_addr *out)
{
    struct io_addr any;
    int listener, fd;

    ck_assert(io_addr_parse(slice_str("127.0.0.1:0"), &any));
    listener = io_listen(w->io, &any, 0, 0);
    ck_assert_int_ge(listener, 0);
    ck_assert_int_eq(io_addresses(w->io, listener, out, NULL), 0);
    for (int i = 0; i < 2; i++) {
        fd = io_socket_stream(w->io, AF_INET);
        ck_assert_int_ge(fd, 0);
        (void)io_dgram_connect(w->io, fd,
                               out); /* leaves it connecting; the fds end with the test */
    }
}

const struct io_world_type io_world_uring = {
    .name = "io_uring",
    .open = uring_world_open,
    .close = uring_world_close,
    .pump = uring_world_pump,
    .stalled_address = uring_stalled_address,
    .host = true,
};
