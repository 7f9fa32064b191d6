/* The contract of io.h: sending, and closing with bytes under way. */
#include <errno.h>
#include <stdlib.h>

#include "io_contract.h"

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

/* Our end is said, theirs is not: what they still send comes, and we cannot send any more. */
CONTRACT_TEST(shutdown_send_ends_one_direction)
{
    struct stream_pair pair;
    struct probe down;
    uint8_t bytes[5];

    world_stream_pair(&pair);
    probe_init(&down);
    SUBMIT(io_shutdown_send(world->io, &down.op, pair.server));
    ck_assert_int_eq(probe_wait(&down), 0);
    ck_assert_int_eq(run_recv(pair.client), 0);
    ck_assert_int_eq(run_send(pair.client, slice_str("hello"), 0), 5);
    run_recv_exactly(pair.server, bytes, 5);
    ck_assert_mem_eq(bytes, "hello", 5);
    ck_assert_int_eq(run_send(pair.server, slice_str("late"), 0), -EPIPE);
    world_stream_close(&pair);
}

Suite *io_contract_send_suite(void)
{
    Suite *suite = suite_create("io_contract_send");
    TCase *tc = contract_case(suite, "send");

    CONTRACT_ADD(tc, a_send_sends_everything);
    CONTRACT_ADD(tc, a_vector_is_sent_whole_and_in_order);
    CONTRACT_ADD(tc, sends_arrive_in_order);
    CONTRACT_ADD(tc, an_empty_send_completes);
    CONTRACT_ADD(tc, a_zerocopy_send_arrives);
    CONTRACT_ADD(tc, a_send_to_nobody_fails);
    CONTRACT_ADD(tc, a_send_that_is_stuck_can_be_cancelled);
    CONTRACT_ADD(tc, shutdown_drains);
    CONTRACT_ADD(tc, shutdown_after_a_send_loses_nothing);
    CONTRACT_ADD(tc, shutdown_send_ends_one_direction);
    return suite;
}
