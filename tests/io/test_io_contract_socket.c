/* The contract of io.h: connecting, accepting, receiving, polling. */
#include <errno.h>

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
    CONTRACT_ADD(tc, a_connect_can_be_cancelled);
    CONTRACT_ADD(tc, poll_tells_readiness_once);
    CONTRACT_ADD(tc, datagrams_keep_their_boundaries);
    return suite;
}
