#include "sim_world.h"

#include <check.h>
#include <errno.h>
#include <string.h>

void sim_world_open(struct sim_world *w, uint64_t seed, const struct sim_options *options)
{
    struct sim_options defaults = sim_options_default();

    w->sim = sim_create(seed, options ? options : &defaults);
    w->machine = sim_machine_create(w->sim, "10.0.0.1");
    w->io = sim_io_create(w->machine, 1 << 16);
}

void sim_world_close(struct sim_world *w)
{
    sim_destroy(w->sim);
    *w = (struct sim_world){0};
}

void sim_world_crash(struct sim_world *w)
{
    sim_machine_crash(w->machine);
    w->io = sim_io_create(w->machine, 1 << 16);
}

void sim_world_kill(struct sim_world *w)
{
    sim_machine_kill(w->machine);
    w->io = sim_io_create(w->machine, 1 << 16);
}

int do_open(struct io *io, const char *path, unsigned flags)
{
    struct io_op op = {0};

    io_open(io, &op, path, flags, 0600);
    return io_await(io, &op);
}

int do_write_bytes(struct io *io, int fd, const void *data, size_t len, uint64_t offset,
                   unsigned flags)
{
    struct io_op op = {0};

    io_write(io, &op, fd, data, len, offset, flags);
    return io_await(io, &op);
}

int do_write(struct io *io, int fd, const char *text, uint64_t offset, unsigned flags)
{
    return do_write_bytes(io, fd, text, strlen(text), offset, flags);
}

int do_read(struct io *io, int fd, void *data, size_t len, uint64_t offset)
{
    struct io_op op = {0};

    io_read(io, &op, fd, data, len, offset);
    return io_await(io, &op);
}

int do_fsync(struct io *io, int fd)
{
    struct io_op op = {0};

    io_fsync(io, &op, fd);
    return io_await(io, &op);
}

int do_fsync_path(struct io *io, const char *directory)
{
    int fd = do_open(io, directory, IO_OPEN_READ | IO_OPEN_DIRECTORY);

    ck_assert_int_ge(fd, 0);
    int res = do_fsync(io, fd);

    ck_assert_int_eq(do_close(io, fd), 0);
    return res;
}

int do_close(struct io *io, int fd)
{
    struct io_op op = {0};

    io_close(io, &op, fd);
    return io_await(io, &op);
}

int do_rename(struct io *io, const char *from, const char *to)
{
    struct io_op op = {0};

    io_rename(io, &op, from, to);
    return io_await(io, &op);
}

int do_link(struct io *io, const char *from, const char *to)
{
    struct io_op op = {0};

    io_link(io, &op, from, to);
    return io_await(io, &op);
}

int do_unlink(struct io *io, const char *path)
{
    struct io_op op = {0};

    io_unlink(io, &op, path);
    return io_await(io, &op);
}

int do_mkdir(struct io *io, const char *path)
{
    struct io_op op = {0};

    io_mkdir(io, &op, path, 0700);
    return io_await(io, &op);
}

int do_stat(struct io *io, const char *path, struct io_stat *out)
{
    struct io_op op = {0};

    io_stat(io, &op, path, out);
    return io_await(io, &op);
}

bool sim_turn(struct sim *sim)
{
    struct io *io = sim_step(sim);

    if (io)
        (void)io_wait(io, 0); /* how many ran does not matter */
    return io != NULL;
}

void sim_run(struct sim *sim)
{
    while (sim_turn(sim))
        ;
}

struct io_addr sim_addr(const char *text)
{
    struct io_addr addr;

    ck_assert(io_addr_parse(slice_str(text), &addr));
    return addr;
}

void sim_link(struct sim_world *w, int *out_client, int *out_server)
{
    struct io_addr any = sim_addr("127.0.0.1:0");
    struct io_addr addr;
    struct io_op accept = {0};
    struct io_op connect = {0};
    int listener = io_listen(w->io, &any, 0, 8);

    ck_assert_int_eq(io_addresses(w->io, listener, &addr, NULL), 0);
    *out_client = io_socket_stream(w->io, AF_INET);
    io_accept(w->io, &accept, listener);
    io_connect(w->io, &connect, *out_client, &addr);
    ck_assert_int_eq(io_await(w->io, &connect), 0);
    while (!accept.more)
        ck_assert(sim_turn(w->sim));
    *out_server = accept.res;
    io_cancel(w->io, &accept);
    ck_assert_int_eq(io_await(w->io, &accept), -ECANCELED);
    ck_assert_int_eq(do_close(w->io, listener), 0);
}

void sim_give_back(struct io *io, struct io_op *recv)
{
    if (recv->res > 0)
        io_lent_return(io, recv);
}

bool file_exists(struct sim_world *w, const char *path)
{
    struct buf bytes = {0};
    bool there = sim_file_read(w->machine, path, &bytes);

    buf_finish(&bytes);
    return there;
}

bool file_is(struct sim_world *w, const char *path, const char *text)
{
    struct buf bytes = {0};
    bool same =
        sim_file_read(w->machine, path, &bytes) && slice_equal(buf_slice(&bytes), slice_str(text));

    buf_finish(&bytes);
    return same;
}
