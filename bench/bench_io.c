/*
 * bench_io: what the door to the kernel costs. Prints for each line the nanoseconds of CPU an op or a
 * round trip takes, and a checksum. With --tiny each runs a few rounds, among the tests.
 *
 *   write      a page to /dev/null: an op's way through io and the ring, and back; by ops in flight
 *   ping-pong  a byte there and a byte back over the loopback address, both ends on this thread;
 *              by pairs of sockets
 *   connect    connect, accept, end of stream, shutdown, close
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base_assert.h"
#include "base_mem.h"
#include "io.h"
#include "io_uring_ring.h"

enum { DEPTH_MAX = 256 };

static struct io *io;
static uint64_t checksum;
static uint64_t left; /* rounds to begin yet */
static unsigned under_way;

static uint64_t cpu_ns(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000
           + (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

static void run(const char *name, unsigned depth, uint64_t rounds, void (*begin)(unsigned lane))
{
    uint64_t waits = io->counters.waits;
    uint64_t ns = cpu_ns();

    left = rounds;
    under_way = 0;
    for (unsigned i = 0; i < depth && left > 0; i++) {
        left--;
        under_way++;
        begin(i);
    }
    while (under_way > 0)
        (void)io_wait(io, UINT64_MAX);
    ns = cpu_ns() - ns;
    waits = io->counters.waits - waits;
    (void)printf("%-10s %4u in flight %8.0f ns each, %5.2f system calls each\n", name, depth,
                 (double)ns / (double)rounds, (double)waits / (double)rounds);
}

/* Whether the lane goes on. */
static bool next_round(void)
{
    checksum++;
    if (left == 0) {
        under_way--;
        return false;
    }
    left--;
    return true;
}

/* --- write ------------------------------------------------------------------------------------ */

static struct io_op writes[DEPTH_MAX];
static int null_fd;

static void write_begin(unsigned lane)
{
    static _Alignas(IO_ALIGN) uint8_t page[IO_ALIGN]; /* aligned as on the hot path */

    io_write(io, &writes[lane], null_fd, page, sizeof(page), 0, 0);
}

static void write_done(struct io_op *op)
{
    ASSERT(op->res == IO_ALIGN);
    if (next_round())
        write_begin((unsigned)(op - writes));
}

/* --- ping-pong -------------------------------------------------------------------------------- */

struct end {
    struct io_op recv;
    struct io_op send;
    int fd;
    bool starts;
};

static struct end ends[DEPTH_MAX][2];

static void end_sent(struct io_op *op)
{
    ASSERT(op->res == 1);
}

static void end_received(struct io_op *op)
{
    struct end *e = container_of(op, struct end, recv);

    ASSERT(op->res == 1);
    io_lent_return(io, op);
    io_recv(io, &e->recv, e->fd);
    if (!e->starts || next_round())
        io_send(io, &e->send, e->fd, slice_of("x", 1), 0);
}

static void pong_begin(unsigned lane)
{
    io_send(io, &ends[lane][0].send, ends[lane][0].fd, slice_of("x", 1), 0);
}

static int listener;
static struct io_addr server;
static struct io_op accept_op;
static int accepted_fd;

static void accepted(struct io_op *op)
{
    if (op->more)
        accepted_fd = op->res;
}

static void pairs_open(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct io_op connect = {0};

        accepted_fd = -1;
        ends[i][0].fd = io_socket_stream(io, AF_INET);
        io_connect(io, &connect, ends[i][0].fd, &server);
        ASSERT(io_await(io, &connect) == 0);
        while (accepted_fd < 0)
            (void)io_wait(io, UINT64_MAX);
        ends[i][1].fd = accepted_fd;
        ends[i][0].starts = true;
        for (unsigned side = 0; side < 2; side++) {
            ends[i][side].send.done = end_sent;
            ends[i][side].recv.done = end_received;
            io_recv(io, &ends[i][side].recv, ends[i][side].fd);
        }
    }
}

static void pairs_close(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        for (unsigned side = 0; side < 2; side++) {
            struct end *e = &ends[i][side];

            e->recv.done = NULL;
            io_cancel(io, &e->recv);
            (void)io_await(io, &e->recv); /* cancelled, or the end of the other side */
            (void)io_await(io, &e->send);
            e->send.done = NULL;
            io_close(io, &e->send, e->fd);
            ASSERT(io_await(io, &e->send) == 0);
        }
    }
}

/* --- connect ---------------------------------------------------------------------------------- */

static struct io_op connects[DEPTH_MAX];
static int connect_fds[DEPTH_MAX];

struct visitor {
    struct io_op op;
    int fd;
};

static unsigned visitors;

static void visitor_closed(struct io_op *op)
{
    visitors--;
    mem_free(container_of(op, struct visitor, op));
}

static void visitor_shut(struct io_op *op)
{
    struct visitor *v = container_of(op, struct visitor, op);

    op->done = visitor_closed;
    io_close(io, op, v->fd);
}

static void visitor_ended(struct io_op *op)
{
    struct visitor *v = container_of(op, struct visitor, op);

    if (op->res > 0)
        io_lent_return(io, op);
    op->done = visitor_shut;
    io_shutdown(io, op, v->fd);
}

static void visitor_accepted(struct io_op *op)
{
    struct visitor *v;

    if (!op->more)
        return;
    v = mem_zalloc(sizeof(*v));
    visitors++;
    v->fd = op->res;
    v->op.done = visitor_ended;
    io_recv(io, &v->op, v->fd);
}

static void connect_begin(unsigned lane);

static void connect_closed(struct io_op *op)
{
    if (next_round())
        connect_begin((unsigned)(op - connects));
}

static void connected(struct io_op *op)
{
    ASSERT(op->res == 0);
    op->done = connect_closed;
    io_close(io, op, connect_fds[op - connects]);
}

static void connect_begin(unsigned lane)
{
    connect_fds[lane] = io_socket_stream(io, AF_INET);
    ASSERT(connect_fds[lane] >= 0);
    connects[lane].done = connected;
    io_connect(io, &connects[lane], connect_fds[lane], &server);
}

/* --- the program ------------------------------------------------------------------------------ */

static void open_all(void)
{
    const struct io_uring_options options = {.cpu = -1};
    struct buf text = {0};
    struct io_op op = {0};
    struct io_addr any;
    int code;

    io = io_uring_create(&options, &text, &code);
    if (io == NULL) {
        (void)fprintf(stderr, "bench_io: %.*s\n", SLICE_ARG(buf_slice(&text)));
        exit(code);
    }
    ASSERT(io_uring_start(io) == 0);
    io_open(io, &op, "/dev/null", IO_OPEN_WRITE, 0);
    null_fd = io_await(io, &op);
    ASSERT(null_fd >= 0);
    for (unsigned i = 0; i < DEPTH_MAX; i++)
        writes[i].done = write_done;
    ASSERT(io_addr_parse(slice_str("127.0.0.1:0"), &any));
    listener = io_listen(io, &any, 0, 1024);
    ASSERT(listener >= 0);
    ASSERT(io_addresses(io, listener, &server, NULL) == 0);
    accept_op.done = accepted;
    io_accept(io, &accept_op, listener);
}

static void close_all(void)
{
    while (visitors > 0)
        (void)io_wait(io, UINT64_MAX); /* the last ones are still closing */
    accept_op.done = NULL;
    io_cancel(io, &accept_op);
    ASSERT(io_await(io, &accept_op) == -ECANCELED);
    io_close_now(io, listener);
    io_close_now(io, null_fd);
    io_destroy(io);
}

int main(int argc, char **argv)
{
    static const unsigned depths[] = {1, 16, DEPTH_MAX};
    bool tiny = argc == 2 && strcmp(argv[1], "--tiny") == 0;
    uint64_t rounds = tiny ? 300 : 1000000;

    open_all();
    for (size_t i = 0; i < ARRAY_LEN(depths); i++)
        run("write", depths[i], rounds, write_begin);
    for (size_t i = 0; i < ARRAY_LEN(depths); i++) {
        pairs_open(depths[i]);
        run("ping-pong", depths[i], tiny ? rounds : rounds / 5, pong_begin);
        pairs_close(depths[i]);
    }
    accept_op.done = visitor_accepted;
    for (size_t i = 0; i < ARRAY_LEN(depths); i++)
        run("connect", depths[i], tiny ? 20 : rounds / 50, connect_begin);
    (void)printf("checksum %llu\n", (unsigned long long)checksum);
    close_all();
    return EXIT_SUCCESS;
}
