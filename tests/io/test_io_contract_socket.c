/* The contract of io.h: sockets. */
#include <errno.h>
#include <stdlib.h>

#include "base_assert.h"
#include "io_contract.h"

/* --- connecting ------------------------------------------------------------------------------- */

static uint16_t port_of(const struct io_addr *addr)
{
    struct ip_addr ip;
    uint16_t port = 0;

    ck_assert(io_addr_to_ip(addr, &ip, &port));
    return port;
}

CONTRACT_TEST(both_ends_know_their_addresses)
{
    struct io_addr client_local, client_peer, server_local, server_peer;
    struct stream_pair pair;

    world_stream_pair(&pair);
    ck_assert_int_eq(io_addresses(world->io, pair.client, &client_local, &client_peer), 0);
    ck_assert_int_eq(io_addresses(world->io, pair.server, NULL, &server_peer), 0);
    ck_assert_int_eq(io_addresses(world->io, pair.server, &server_local, NULL), 0);
    ck_assert_uint_eq(port_of(&client_local), port_of(&server_peer));
    ck_assert_uint_eq(port_of(&client_peer), port_of(&server_local));
    ck_assert_uint_ne(port_of(&client_local), port_of(&client_peer));
    world_stream_close(&pair);
}

CONTRACT_TEST(nobody_listens)
{
    struct io_addr addr;
    struct probe p;
    int fd = world_listen(&addr);

    world_close_fd(fd);
    fd = io_socket_stream(world->io, AF_INET);
    probe_init(&p);
    SUBMIT(io_connect(world->io, &p.op, fd, &addr));
    ck_assert_int_eq(probe_wait(&p), -ECONNREFUSED);
    world_close_fd(fd);
}

CONTRACT_TEST(an_address_is_taken_once)
{
    struct io_addr addr;
    int fd = world_listen(&addr);

    ck_assert_int_eq(io_listen(world->io, &addr, 0, 8), -EADDRINUSE);
    world_close_fd(fd);
    fd = io_listen(world->io, &addr, 0, 8);
    ck_assert_int_ge(fd, 0);
    world_close_fd(fd);
}

CONTRACT_TEST(listeners_may_share_an_address)
{
    struct io_addr any, addr;
    int first, second;

    ck_assert(io_addr_parse(slice_str("127.0.0.1:0"), &any));
    first = io_listen(world->io, &any, IO_LISTEN_REUSEPORT, 8);
    ck_assert_int_ge(first, 0);
    ck_assert_int_eq(io_addresses(world->io, first, &addr, NULL), 0);
    second = io_listen(world->ios[1], &addr, IO_LISTEN_REUSEPORT, 8);
    ck_assert_int_ge(second, 0);
    world_close_fd(first);
    io_close_now(world->ios[1], second);
}

/* --- accept ----------------------------------------------------------------------------------- */

CONTRACT_TEST(accept_goes_on_until_cancelled)
{
    enum { COUNT = 10 };
    struct probe accept, connects[COUNT];
    struct io_addr addr;
    int clients[COUNT];
    int listener = world_listen(&addr);

    probe_init(&accept);
    SUBMIT(io_accept(world->io, &accept.op, listener));
    for (int i = 0; i < COUNT; i++) {
        clients[i] = io_socket_stream(world->io, AF_INET);
        probe_init(&connects[i]);
        SUBMIT(io_connect(world->io, &connects[i].op, clients[i], &addr));
    }
    for (int i = 0; i < COUNT; i++)
        ck_assert_int_eq(probe_wait(&connects[i]), 0);
    probe_wait_completions(&accept, COUNT);
    ck_assert_uint_eq(accept.with_more, COUNT);
    ck_assert(io_op_busy(&accept.op));
    SUBMIT(io_cancel(world->io, &accept.op));
    SUBMIT(io_cancel(world->io, &accept.op)); /* twice is once */
    ck_assert_int_eq(probe_wait(&accept), -ECANCELED);
    world_settle();
    ck_assert_uint_eq(accept.completions, COUNT + 1);
    ck_assert_uint_eq(accept.with_more, COUNT);
    for (int i = 0; i < COUNT; i++) {
        world_close_fd(clients[i]);
        world_close_fd(accept.res[i]);
    }
    world_close_fd(listener);
}

/* --- recv ------------------------------------------------------------------------------------- */

CONTRACT_TEST(bytes_arrive)
{
    struct stream_pair pair;
    struct probe recv;

    world_stream_pair(&pair);
    probe_init(&recv);
    SUBMIT(io_recv(world->io, &recv.op, pair.server));
    world_settle();
    ck_assert_uint_eq(recv.completions, 0);
    ck_assert_int_eq(run_send(pair.client, slice_str("h"), 0), 1);
    ck_assert_int_eq(probe_wait(&recv), 1);
    ck_assert(slice_equal(recv.op.lent, slice_str("h")));
    ck_assert_uint_eq(world->io->counters.lent_out, 1);
    io_lent_return(world->io, &recv.op);
    ck_assert_uint_eq(world->io->counters.lent_out, 0);
    ck_assert_uint_eq(recv.op.lent.len, 0);
    world_stream_close(&pair);
}

CONTRACT_TEST(the_end_of_the_stream_is_zero)
{
    struct stream_pair pair;
    struct probe recv;
    uint8_t bytes[4];

    world_stream_pair(&pair);
    ck_assert_int_eq(run_send(pair.client, slice_str("last"), 0), 4);
    world_close_fd(pair.client);
    run_recv_exactly(pair.server, bytes, 4);
    ck_assert_mem_eq(bytes, "last", 4);
    for (int i = 0; i < 2; i++) {
        probe_init(&recv);
        SUBMIT(io_recv(world->io, &recv.op, pair.server));
        ck_assert_int_eq(probe_wait(&recv), 0);
        ck_assert_ptr_null(recv.op.lent.data);
    }
    world_close_fd(pair.server);
}

CONTRACT_TEST(an_idle_recv_can_be_cancelled)
{
    struct stream_pair pair;
    struct probe recv;

    world_stream_pair(&pair);
    probe_init(&recv);
    SUBMIT(io_recv(world->io, &recv.op, pair.server));
    SUBMIT(io_cancel(world->io, &recv.op)); /* before the kernel has even seen it */
    ck_assert_int_eq(probe_wait(&recv), -ECANCELED);
    SUBMIT(io_recv(world->io, &recv.op, pair.server));
    world_settle();
    SUBMIT(io_cancel(world->io, &recv.op));
    ck_assert_int_eq(probe_wait(&recv), -ECANCELED);
    world_stream_close(&pair);
}

/* More sockets with bytes than there are buffers, some idle among them. Nobody sees ENOBUFS; when
 * buffers come back the rest gets its turn, and no byte is lost. */
enum { CROWD = 3 * IO_WORLD_BUFFERS };

struct crowd {
    struct stream_pair pairs[CROWD];
    struct probe recvs[CROWD];
};

static unsigned crowd_completed(struct crowd *c)
{
    unsigned count = 0;

    for (int i = 0; i < CROWD; i++)
        count += c->recvs[i].completions;
    return count;
}

static void crowd_return_lent(struct crowd *c)
{
    for (int i = 0; i < CROWD; i++) {
        if (!io_op_busy(&c->recvs[i].op) && c->recvs[i].op.lent.data != NULL) {
            ck_assert_uint_eq(c->recvs[i].op.lent.len, 1);
            ck_assert_uint_eq(c->recvs[i].op.lent.data[0], i);
            io_lent_return(world->io, &c->recvs[i].op);
        }
    }
}

static void crowd_wait(struct crowd *c, unsigned count)
{
    uint64_t until = io_now_ms(world->io) + 20000;

    while (crowd_completed(c) < count) {
        ck_assert_msg(io_now_ms(world->io) < until, "%u of %u recvs", crowd_completed(c), count);
        world->type->pump(world, until);
    }
}

CONTRACT_TEST(a_recv_without_buffers_waits_for_one)
{
    struct crowd *c = calloc(1, sizeof(*c));
    unsigned done = 0;

    ck_assert_ptr_nonnull(c);
    for (int i = 0; i < CROWD; i++) {
        world_stream_pair(&c->pairs[i]);
        probe_init(&c->recvs[i]);
        SUBMIT(io_recv(world->io, &c->recvs[i].op, c->pairs[i].server));
    }
    /* Every third stays silent. */
    for (uint8_t i = 0; i < CROWD; i++) {
        if (i % 3 != 0)
            ck_assert_int_eq(run_send(c->pairs[i].client, slice_of(&i, 1), 0), 1);
    }
    while (done < CROWD - CROWD / 3) {
        done += IO_WORLD_BUFFERS;
        crowd_wait(c, done < CROWD - CROWD / 3 ? done : CROWD - CROWD / 3);
        world_settle();
        ck_assert_uint_le(crowd_completed(c), done);
        ck_assert_uint_le(world->io->counters.lent_out, IO_WORLD_BUFFERS);
        crowd_return_lent(c);
    }
    ck_assert_uint_gt(world->io->counters.starved, 0);

    /* The silent ones were not forgotten. */
    for (uint8_t i = 0; i < CROWD; i += 3)
        ck_assert_int_eq(run_send(c->pairs[i].client, slice_of(&i, 1), 0), 1);
    while (crowd_completed(c) < CROWD) {
        crowd_wait(c, crowd_completed(c) + 1);
        crowd_return_lent(c);
    }
    crowd_return_lent(c);
    for (int i = 0; i < CROWD; i++) {
        ck_assert_int_eq(c->recvs[i].op.res, 1);
        world_stream_close(&c->pairs[i]);
    }
    free(c);
}

CONTRACT_TEST(a_starved_recv_can_be_cancelled)
{
    struct crowd *c = calloc(1, sizeof(*c));

    ck_assert_ptr_nonnull(c);
    for (uint8_t i = 0; i < CROWD; i++) {
        world_stream_pair(&c->pairs[i]);
        probe_init(&c->recvs[i]);
        SUBMIT(io_recv(world->io, &c->recvs[i].op, c->pairs[i].server));
        ck_assert_int_eq(run_send(c->pairs[i].client, slice_of(&i, 1), 0), 1);
    }
    crowd_wait(c, IO_WORLD_BUFFERS);
    world_settle();
    for (int i = 0; i < CROWD; i++)
        SUBMIT(io_cancel(world->io, &c->recvs[i].op));
    crowd_wait(c, CROWD);
    crowd_return_lent(c);
    for (int i = 0; i < CROWD; i++) {
        ck_assert(c->recvs[i].op.res == 1 || c->recvs[i].op.res == -ECANCELED);
        world_stream_close(&c->pairs[i]);
    }
    free(c);
}

/* --- send ------------------------------------------------------------------------------------- */

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i ^ i >> 8 ^ i >> 16);
}

static bool is_pattern(struct slice bytes, size_t at)
{
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.data[i] != pattern(at + i))
            return false;
    }
    return true;
}

/* Receives `total` bytes of the pattern while `send` goes on, slowly at first. */
static void drain_pattern(int fd, size_t total)
{
    struct probe p;
    size_t at = 0;

    world_settle(); /* the buffers between the two fill up */
    while (at < total) {
        probe_init(&p);
        SUBMIT(io_recv(world->io, &p.op, fd));
        ck_assert_int_gt(probe_wait(&p), 0);
        ck_assert(is_pattern(p.op.lent, at));
        at += p.op.lent.len;
        io_lent_return(world->io, &p.op);
    }
    ck_assert_uint_eq(at, total);
}

static uint8_t *make_pattern(size_t len)
{
    uint8_t *bytes = malloc(len);

    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = pattern(i);
    return bytes;
}

CONTRACT_TEST(a_send_sends_everything)
{
    const size_t len = 12 << 20;
    uint8_t *bytes = make_pattern(len);
    struct stream_pair pair;
    struct probe send;

    world_stream_pair(&pair);
    probe_init(&send);
    SUBMIT(io_send(world->io, &send.op, pair.client, slice_of(bytes, len), 0));
    world_settle();
    ck_assert_uint_eq(send.completions, 0); /* more than the buffers between them hold */
    drain_pattern(pair.server, len);
    ck_assert_int_eq(probe_wait(&send), (int)len);
    ck_assert_uint_eq(send.completions, 1);
    world_stream_close(&pair);
    free(bytes);
}

CONTRACT_TEST(a_vector_is_sent_whole_and_in_order)
{
    const size_t len = 12 << 20;
    uint8_t *bytes = make_pattern(len);
    struct iovec iov[IO_IOV_MAX];
    struct stream_pair pair;
    struct probe send;
    size_t at = 0;

    for (size_t i = 0; i < IO_IOV_MAX; i++) {
        size_t part = i + 1 == IO_IOV_MAX ? len - at : i % 5 == 0 ? 0 : i * 3571;

        iov[i] = (struct iovec){bytes + at, part};
        at += part;
    }
    world_stream_pair(&pair);
    probe_init(&send);
    SUBMIT(io_sendv(world->io, &send.op, pair.client, iov, IO_IOV_MAX, 0));
    drain_pattern(pair.server, len);
    ck_assert_int_eq(probe_wait(&send), (int)len);
    world_stream_close(&pair);
    free(bytes);
}

CONTRACT_TEST(sends_arrive_in_order)
{
    const size_t len = 30000;
    uint8_t *bytes = make_pattern(len);
    struct stream_pair pair;
    uint8_t got[300];

    world_stream_pair(&pair);
    for (size_t at = 0; at < len; at += 100) {
        bool more = at % 300 != 200;

        ck_assert_int_eq(run_send(pair.client, slice_of(bytes + at, 100), more ? IO_SEND_MORE : 0),
                         100);
        if (!more) {
            run_recv_exactly(pair.server, got, 300);
            ck_assert_mem_eq(got, bytes + at - 200, 300);
        }
    }
    world_stream_close(&pair);
    free(bytes);
}

CONTRACT_TEST(an_empty_send_completes)
{
    struct stream_pair pair;

    world_stream_pair(&pair);
    ck_assert_int_eq(run_send(pair.client, SLICE_NULL, 0), 0);
    world_stream_close(&pair);
}

CONTRACT_TEST(a_zerocopy_send_arrives)
{
    uint8_t *memory = (uint8_t *)(uintptr_t)io_registered(world->io).data;
    const size_t len = 512 * 1024;
    struct stream_pair pair;
    struct probe send;

    for (size_t i = 0; i < len; i++)
        memory[i] = pattern(i);
    world_stream_pair(&pair);
    probe_init(&send);
    SUBMIT(io_send(world->io, &send.op, pair.client, slice_of(memory, len), IO_SEND_ZEROCOPY));
    drain_pattern(pair.server, len);
    ck_assert_int_eq(probe_wait(&send), (int)len);
    ck_assert_uint_eq(send.completions, 1);
    world_stream_close(&pair);
}

CONTRACT_TEST(a_send_to_nobody_fails)
{
    struct stream_pair pair;
    int32_t res = 1;

    world_stream_pair(&pair);
    world_close_fd(pair.server);
    for (int i = 0; i < 10 && res > 0; i++) {
        res = run_send(pair.client, slice_str("anyone?"), 0);
        world_settle();
    }
    ck_assert_msg(res == -EPIPE || res == -ECONNRESET, "%d", res);
    world_close_fd(pair.client);
}

CONTRACT_TEST(a_send_that_is_stuck_can_be_cancelled)
{
    const size_t len = 12 << 20;
    uint8_t *bytes = make_pattern(len);
    struct stream_pair pair;
    struct probe send;

    world_stream_pair(&pair);
    probe_init(&send);
    SUBMIT(io_send(world->io, &send.op, pair.client, slice_of(bytes, len), 0));
    world_settle();
    SUBMIT(io_cancel(world->io, &send.op));
    ck_assert_int_eq(probe_wait(&send), -ECANCELED);
    world_stream_close(&pair);
    free(bytes);
}

/* --- closing ---------------------------------------------------------------------------------- */

/* Shutdown, wait for what is in flight, close. */
CONTRACT_TEST(shutdown_drains)
{
    const size_t len = 12 << 20;
    uint8_t *bytes = make_pattern(len);
    struct probe send, recv, down;
    struct stream_pair pair;

    world_stream_pair(&pair);
    probe_init(&send);
    probe_init(&recv);
    probe_init(&down);
    SUBMIT(io_recv(world->io, &recv.op, pair.client));
    SUBMIT(io_send(world->io, &send.op, pair.client, slice_of(bytes, len), 0));
    world_settle();
    SUBMIT(io_shutdown(world->io, &down.op, pair.client));
    ck_assert_int_eq(probe_wait(&down), 0);
    ck_assert_int_le(probe_wait(&recv), 0);
    ck_assert_int_lt(probe_wait(&send), 0);
    world_stream_close(&pair);
    free(bytes);
}

/* What was sent arrives, then the end. */
CONTRACT_TEST(shutdown_after_a_send_loses_nothing)
{
    struct stream_pair pair;
    struct probe down;
    uint8_t bytes[4];

    world_stream_pair(&pair);
    ck_assert_int_eq(run_send(pair.server, slice_str("221 "), 0), 4);
    probe_init(&down);
    SUBMIT(io_shutdown(world->io, &down.op, pair.server));
    ck_assert_int_eq(probe_wait(&down), 0);
    run_recv_exactly(pair.client, bytes, 4);
    ck_assert_mem_eq(bytes, "221 ", 4);
    ck_assert_int_eq(run_recv(pair.client), 0);
    world_stream_close(&pair);
}

CONTRACT_TEST(a_connect_can_be_cancelled)
{
    struct io_addr addr;
    struct probe p;
    int fd = io_socket_stream(world->io, AF_INET);

    world->type->stalled_address(world, &addr);
    probe_init(&p);
    SUBMIT(io_connect(world->io, &p.op, fd, &addr));
    world_settle();
    ck_assert_uint_eq(p.completions, 0);
    SUBMIT(io_cancel(world->io, &p.op));
    ck_assert_int_eq(probe_wait(&p), -ECANCELED);
    world_close_fd(fd);
}

/* --- poll and datagrams ----------------------------------------------------------------------- */

CONTRACT_TEST(poll_tells_readiness_once)
{
    struct stream_pair pair;
    struct probe p;

    world_stream_pair(&pair);
    probe_init(&p);
    SUBMIT(io_poll(world->io, &p.op, pair.server, IO_POLL_OUT));
    ck_assert_int_eq(probe_wait(&p), IO_POLL_OUT);
    SUBMIT(io_poll(world->io, &p.op, pair.server, IO_POLL_IN));
    world_settle();
    ck_assert(io_op_busy(&p.op));
    ck_assert_int_eq(run_send(pair.client, slice_str("x"), 0), 1);
    ck_assert_int_eq(probe_wait(&p), IO_POLL_IN);
    world_settle();
    ck_assert_uint_eq(p.completions, 2);
    ck_assert_int_eq(run_recv(pair.server), 1);
    SUBMIT(io_poll(world->io, &p.op, pair.server, IO_POLL_IN));
    world_settle();
    SUBMIT(io_cancel(world->io, &p.op));
    ck_assert_int_eq(probe_wait(&p), -ECANCELED);
    world_stream_close(&pair);
}

/* The way of a DNS library: its own socket, plain calls that never wait, poll. */
CONTRACT_TEST(datagrams_keep_their_boundaries)
{
    struct io_addr any, to, from;
    struct iovec two[] = {{"qu", 2}, {"ery", 3}};
    struct probe p;
    char text[64];
    int server, client;

    if (!world->type->host)
        return; /* the simulator has no datagrams: its resolver is a simulated one */
    server = io_socket_dgram(world->io, AF_INET);
    client = io_socket_dgram(world->io, AF_INET);
    ck_assert_int_ge(server, 0);
    ck_assert_int_ge(client, 0);
    ck_assert(io_addr_parse(slice_str("127.0.0.1:0"), &any));
    /* Connecting the server's socket somewhere gives it an address of its own. */
    ck_assert(io_addr_parse(slice_str("127.0.0.1:9"), &to));
    ck_assert_int_eq(io_dgram_connect(world->io, client, &to), 0);
    ck_assert_int_eq(io_addresses(world->io, client, &from, NULL), 0);
    ck_assert_int_eq(io_dgram_connect(world->io, server, &from), 0);
    ck_assert_int_eq(io_addresses(world->io, server, &to, NULL), 0);
    ck_assert_int_eq(io_dgram_connect(world->io, client, &to), 0);

    ck_assert_int_eq(io_dgram_recv(world->io, server, text, sizeof(text), NULL), -EAGAIN);
    probe_init(&p);
    SUBMIT(io_poll(world->io, &p.op, server, IO_POLL_IN));
    ck_assert_int_eq(io_dgram_send(world->io, client, two, 2), 5);
    ck_assert_int_eq(io_dgram_send(world->io, client, two, 1), 2);
    ck_assert_int_eq(probe_wait(&p), IO_POLL_IN);
    world_settle();
    ck_assert_int_eq(io_dgram_recv(world->io, server, text, sizeof(text), &from), 5);
    ck_assert_mem_eq(text, "query", 5);
    ck_assert_int_eq(io_dgram_recv(world->io, server, text, sizeof(text), &from), 2);
    ck_assert_int_eq(io_dgram_recv(world->io, server, text, sizeof(text), &from), -EAGAIN);
    io_close_now(world->io, server);
    io_close_now(world->io, client);
}

Suite *io_contract_socket_suite(void)
{
    Suite *suite = suite_create("io_contract_socket");
    TCase *tc = contract_case(suite, "socket");

    CONTRACT_ADD(tc, both_ends_know_their_addresses);
    CONTRACT_ADD(tc, nobody_listens);
    CONTRACT_ADD(tc, an_address_is_taken_once);
    CONTRACT_ADD(tc, listeners_may_share_an_address);
    CONTRACT_ADD(tc, accept_goes_on_until_cancelled);
    CONTRACT_ADD(tc, bytes_arrive);
    CONTRACT_ADD(tc, the_end_of_the_stream_is_zero);
    CONTRACT_ADD(tc, an_idle_recv_can_be_cancelled);
    CONTRACT_ADD(tc, a_recv_without_buffers_waits_for_one);
    CONTRACT_ADD(tc, a_starved_recv_can_be_cancelled);
    CONTRACT_ADD(tc, a_send_sends_everything);
    CONTRACT_ADD(tc, a_vector_is_sent_whole_and_in_order);
    CONTRACT_ADD(tc, sends_arrive_in_order);
    CONTRACT_ADD(tc, an_empty_send_completes);
    CONTRACT_ADD(tc, a_zerocopy_send_arrives);
    CONTRACT_ADD(tc, a_send_to_nobody_fails);
    CONTRACT_ADD(tc, a_send_that_is_stuck_can_be_cancelled);
    CONTRACT_ADD(tc, shutdown_drains);
    CONTRACT_ADD(tc, shutdown_after_a_send_loses_nothing);
    CONTRACT_ADD(tc, a_connect_can_be_cancelled);
    CONTRACT_ADD(tc, poll_tells_readiness_once);
    CONTRACT_ADD(tc, datagrams_keep_their_boundaries);
    return suite;
}
