/* The simulator as a world for the contract tests: no faults, but cuts, shuffles and latencies. */
#include <check.h>
#include <stdio.h>

#include "io_contract.h"
#include "io_sim.h"

static const uint64_t seed = 20261121;

static void world_open(struct io_world *w)
{
    struct sim_options options = sim_options_default();
    struct sim_machine *machine;

    options.recv_buffers = IO_WORLD_BUFFERS;
    options.recv_buffer_len = IO_WORLD_BUFFER_LEN;
    w->impl = sim_create(seed, &options);
    machine = sim_machine_create(w->impl, "10.0.0.1");
    for (int i = 0; i < IO_WORLD_IOS; i++)
        w->ios[i] = sim_io_create(machine, IO_WORLD_REGISTERED);
    sim_io_set_stepping(w->ios[0], true);
    (void)snprintf(w->dir, sizeof(w->dir), "/tests");
    ck_assert(sim_file_write(machine, "/tests/.made", SLICE_NULL)); /* with its directory */
    struct io_op unlink = {0};

    io_unlink(w->ios[0], &unlink, "/tests/.made");
    ck_assert_int_eq(io_await(w->ios[0], &unlink), 0);
}

static void world_close(struct io_world *w)
{
    for (int i = 0; i < IO_WORLD_IOS; i++)
        io_destroy(w->ios[i]);
    sim_destroy(w->impl);
}

static void world_pump(struct io_world *w, uint64_t deadline_ms)
{
    uint64_t soon = sim_now_ms(w->impl) + 1;

    for (int i = 1; i < IO_WORLD_IOS; i++)
        (void)io_wait(w->ios[i], 0); /* how many ran does not matter */
    (void)io_wait(w->io, soon < deadline_ms ? soon : deadline_ms);
}

/* A listener whose queue is full drops handshakes, which are tried again after seconds. */
static void world_stalled_address(struct io_world *w, struct io_addr *out)
{
    struct io_op connect = {0};
    struct io_addr any;

    ck_assert(io_addr_parse(slice_str("127.0.0.1:0"), &any));
    int listener = io_listen(w->io, &any, 0, 1);

    ck_assert_int_ge(listener, 0);
    ck_assert_int_eq(io_addresses(w->io, listener, out, NULL), 0);
    int fd = io_socket_stream(w->io, AF_INET);

    io_connect(w->io, &connect, fd, out);
    ck_assert_int_eq(io_await(w->io, &connect), 0);
}

const struct io_world_type io_world_sim = {
    .name = "io_sim",
    .open = world_open,
    .close = world_close,
    .pump = world_pump,
    .stalled_address = world_stalled_address,
    .host = false,
};
