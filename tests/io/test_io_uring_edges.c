/*
 * What a kernel does seldom: it ends a multishot with a good result, sends a part, has no memory for a
 * request. These are played to the ring's own functions as completions, or by putting ops on the lists
 * on which they would wait.
 */
#include <errno.h>
#include <stdlib.h>

#include "base_assert.h"
#include "io_contract.h"
#include "io_uring_priv.h"

extern const struct io_world_type io_world_uring;

static struct uring *u;
static struct stream_pair pair;

static void open_world(void)
{
    io_world_open(world, &io_world_uring);
    u = uring_of(world->io);
    world_stream_pair(&pair);
}

static void close_world(void)
{
    world_stream_close(&pair);
    io_world_close(world);
}

/* An op as if it had been submitted and were about to complete. */
static void probe_fake(struct probe *p, enum io_kind kind, int fd)
{
    probe_init(p);
    p->op.kind = (uint8_t)kind;
    p->op.fd = fd;
    world->io->counters.submitted++;
}

/* --- accept ----------------------------------------------------------------------------------- */

START_TEST(test_a_multishot_that_ended_well_goes_on)
{
    struct io_addr addr;
    struct probe accept;
    int listener = world_listen(&addr);

    probe_fake(&accept, IO_ACCEPT, listener);
    uring_accept_completed(u, &accept.op, 77, 0);
    ck_assert_uint_eq(accept.completions, 1);
    ck_assert_uint_eq(accept.with_more, 1);
    ck_assert_int_eq(accept.res[0], 77);
    world_settle();
    ck_assert(io_op_busy(&accept.op));
    io_cancel(world->io, &accept.op);
    ck_assert_int_eq(probe_wait(&accept), -ECANCELED);
    ck_assert_uint_eq(accept.completions, 2);
    world_close_fd(listener);
}
END_TEST

START_TEST(test_an_accept_never_ends_with_a_socket)
{
    struct probe accept;

    probe_fake(&accept, IO_ACCEPT, -1);
    accept.op.flags = IO_OP_CANCELLED;
    uring_accept_completed(u, &accept.op, 77, 0);
    ck_assert_uint_eq(accept.with_more, 1);
    ck_assert_int_eq(probe_wait(&accept), -ECANCELED);
    ck_assert_uint_eq(accept.completions, 2);
}
END_TEST

/* The connection that would have been next is gone: not the owner's business. */
START_TEST(test_a_passing_accept_error_is_not_seen)
{
    struct io_addr addr;
    struct probe accept;
    int listener = world_listen(&addr);

    probe_fake(&accept, IO_ACCEPT, listener);
    uring_accept_completed(u, &accept.op, -ECONNABORTED, 0);
    world_settle();
    ck_assert_uint_eq(accept.completions, 0);
    io_cancel(world->io, &accept.op);
    ck_assert_int_eq(probe_wait(&accept), -ECANCELED);
    world_close_fd(listener);
}
END_TEST

/* --- send ------------------------------------------------------------------------------------- */

static void fake_send(struct probe *p, const char *text)
{
    probe_fake(p, IO_SEND, pair.client);
    p->op.data = (void *)(uintptr_t)text;
    p->op.len = strlen(text);
}

START_TEST(test_the_rest_of_a_short_send_follows)
{
    struct probe send;
    char rest[6];

    fake_send(&send, "0123456789");
    uring_send_completed(u, &send.op, 4, 0);
    ck_assert_uint_eq(send.completions, 0);
    ck_assert_int_eq(probe_wait(&send), 10);
    run_recv_exactly(pair.server, rest, 6);
    ck_assert_mem_eq(rest, "456789", 6);
}
END_TEST

START_TEST(test_the_rest_of_a_short_vector_follows)
{
    struct iovec iov[] = {{"01", 2}, {"", 0}, {"23456", 5}, {"789", 3}};
    struct probe send;
    char rest[6];

    probe_fake(&send, IO_SEND, pair.client);
    send.op.flags = IO_OP_VECTOR;
    send.op.msg = (struct msghdr){.msg_iov = iov, .msg_iovlen = ARRAY_LEN(iov)};
    uring_send_completed(u, &send.op, 4, 0);
    ck_assert_int_eq(probe_wait(&send), 10);
    run_recv_exactly(pair.server, rest, 6);
    ck_assert_mem_eq(rest, "456789", 6);
}
END_TEST

START_TEST(test_a_short_send_does_not_go_on_after_a_cancel)
{
    struct probe send;

    fake_send(&send, "0123456789");
    send.op.flags |= IO_OP_CANCELLED;
    uring_send_completed(u, &send.op, 4, 0);
    ck_assert_int_eq(send.op.res, -ECANCELED);
    fake_send(&send, "0123456789");
    uring_send_completed(u, &send.op, 0, 0); /* nothing, and no reason why */
    ck_assert_int_eq(send.op.res, -EIO);
    ck_assert_uint_eq(send.completions, 1);
}
END_TEST

/* Two completions of the kernel are one of ours. */
START_TEST(test_a_zerocopy_send_completes_when_it_is_released)
{
    struct probe send;

    fake_send(&send, "0123456789");
    uring_send_completed(u, &send.op, 10, IORING_CQE_F_MORE);
    ck_assert_uint_eq(send.completions, 0);
    uring_send_completed(u, &send.op, 0, IORING_CQE_F_NOTIF);
    ck_assert_uint_eq(send.completions, 1);
    ck_assert_int_eq(send.op.res, 10);
    ck_assert(!send.op.zc_copied);
    ck_assert_uint_eq(world->io->counters.bytes_zerocopy, 10);

    fake_send(&send, "0123456789");
    uring_send_completed(u, &send.op, 10, IORING_CQE_F_MORE);
    uring_send_completed(u, &send.op, (int32_t)URING_NOTIF_USAGE_ZC_COPIED, IORING_CQE_F_NOTIF);
    ck_assert(send.op.zc_copied);
    ck_assert_uint_eq(world->io->counters.bytes_zerocopy_copied, 10);

    fake_send(&send, "0123456789");
    uring_send_completed(u, &send.op, -ECONNRESET, IORING_CQE_F_MORE);
    uring_send_completed(u, &send.op, 0, IORING_CQE_F_NOTIF);
    ck_assert_int_eq(send.op.res, -ECONNRESET);
}
END_TEST

/* --- recv ------------------------------------------------------------------------------------- */

/* A recv that tried at once, since there was more to read, and found no buffer: polls, then starves. */
START_TEST(test_a_hasty_recv_starves_like_any_other)
{
    static const uint8_t bytes[2 * IO_WORLD_BUFFER_LEN];
    struct stream_pair others[IO_WORLD_BUFFERS];
    struct probe held[IO_WORLD_BUFFERS];
    struct probe hasty;

    ck_assert_int_eq(run_send(pair.client, slice_of(bytes, sizeof(bytes)), 0), sizeof(bytes));
    probe_init(&hasty);
    io_recv(world->io, &hasty.op, pair.server);
    ck_assert_int_eq(probe_wait(&hasty), IO_WORLD_BUFFER_LEN);
    io_lent_return(world->io, &hasty.op);
    ck_assert(hasty.op.flags & URING_OP_READABLE);
    for (int i = 0; i < IO_WORLD_BUFFERS; i++) {
        world_stream_pair(&others[i]);
        ck_assert_int_eq(run_send(others[i].client, slice_str("x"), 0), 1);
        probe_init(&held[i]);
        io_recv(world->io, &held[i].op, others[i].server);
        ck_assert_int_eq(probe_wait(&held[i]), 1);
    }
    io_recv(world->io, &hasty.op, pair.server);
    world_settle();
    ck_assert_uint_eq(hasty.completions, 1);
    ck_assert_uint_eq(u->starved.count, 1);
    for (int i = 0; i < IO_WORLD_BUFFERS; i++) {
        io_lent_return(world->io, &held[i].op);
        world_stream_close(&others[i]);
    }
    ck_assert_int_eq(probe_wait(&hasty), IO_WORLD_BUFFER_LEN);
    io_lent_return(world->io, &hasty.op);
}
END_TEST

START_TEST(test_no_buffer_for_a_cancelled_recv)
{
    struct probe recv;

    probe_fake(&recv, IO_RECV, pair.server);
    recv.op.flags = IO_OP_CANCELLED;
    uring_recv_completed(u, &recv.op, -ENOBUFS, 0);
    ck_assert_int_eq(recv.op.res, -ECANCELED);
}
END_TEST

/* --- a kernel without memory for requests ------------------------------------------------------ */

START_TEST(test_what_waits_is_submitted_later_in_order)
{
    struct io_stat st;
    struct probe first, second;

    probe_fake(&first, IO_STAT, -1);
    first.op.data = &st;
    first.op.path2 = world->dir;
    io_op_list_push(&u->waiting, &first.op);
    probe_init(&second);
    io_stat(world->io, &second.op, world_path("absent"), &st);
    ck_assert_uint_eq(u->waiting.count, 2); /* nobody overtakes */
    ck_assert_int_eq(probe_wait(&second), -ENOENT);
    ck_assert_int_eq(probe_wait(&first), 0);
    ck_assert_uint_eq(u->waiting.count, 0);
}
END_TEST

START_TEST(test_what_waits_can_be_cancelled)
{
    struct io_stat st;
    struct probe ops[3];

    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        probe_fake(&ops[i], IO_STAT, -1);
        ops[i].op.data = &st;
        ops[i].op.path2 = world->dir;
        io_op_list_push(&u->waiting, &ops[i].op);
    }
    SUBMIT(io_cancel(world->io, &ops[1].op));
    SUBMIT(io_cancel(world->io, &ops[2].op)); /* the last */
    ck_assert_uint_eq(u->waiting.count, 1);
    ck_assert_int_eq(probe_wait(&ops[1]), -ECANCELED);
    ck_assert_int_eq(probe_wait(&ops[2]), -ECANCELED);
    ck_assert_int_eq(probe_wait(&ops[0]), 0);
}
END_TEST

START_TEST(test_a_cancel_that_found_no_room_is_tried_again)
{
    struct probe recv, send;

    probe_init(&recv);
    io_recv(world->io, &recv.op, pair.server);
    world_settle();
    recv.op.flags |= IO_OP_CANCELLED;
    io_op_list_push(&u->cancels, &recv.op);
    ck_assert_int_eq(probe_wait(&recv), -ECANCELED);
    ck_assert_uint_eq(u->cancels.count, 0);

    io_recv(world->io, &recv.op, pair.server);
    world_settle();
    probe_init(&send);
    io_send(world->io, &send.op, pair.client, slice_str("x"), 0);
    recv.op.flags |= IO_OP_CANCELLED;
    io_op_list_push(&u->cancels, &recv.op); /* bytes come at the same time */
    ck_assert_int_eq(probe_wait(&send), 1);
    if (probe_wait(&recv) == 1)
        io_lent_return(world->io, &recv.op);
    ck_assert_uint_eq(u->cancels.count, 0);
}
END_TEST

START_TEST(test_a_shutdown_is_not_cancelled)
{
    struct probe down;

    probe_init(&down);
    io_shutdown(world->io, &down.op, pair.client);
    io_cancel(world->io, &down.op);
    ck_assert_int_eq(probe_wait(&down), 0);
}
END_TEST

/* --- registered memory ------------------------------------------------------------------------ */

START_TEST(test_ranges_of_registered_memory)
{
    const size_t gib = (size_t)1 << 30;
    uint8_t *base = (uint8_t *)(uintptr_t)(16 * gib);
    const struct uring fake = {
        .io.registered = base, .registered_fixed = true, .mapped_len = 2 * gib + IO_ALIGN};

    ck_assert_int_eq(uring_fixed_index(&fake, base, 1), 0);
    ck_assert_int_eq(uring_fixed_index(&fake, base + gib - 1, 1), 0);
    ck_assert_int_eq(uring_fixed_index(&fake, base + gib, gib), 1);
    ck_assert_int_eq(uring_fixed_index(&fake, base + 2 * gib, IO_ALIGN), 2);
    ck_assert_int_eq(uring_fixed_index(&fake, base + gib - 1, 2), -1); /* across two */
    ck_assert_int_eq(uring_fixed_index(&fake, base + 2 * gib, IO_ALIGN + 1), -1);
    ck_assert_int_eq(uring_fixed_index(&fake, base + 2 * gib + IO_ALIGN, 1), -1);
    ck_assert_int_eq(uring_fixed_index(&fake, base - 1, 1), -1);
    ck_assert_int_eq(uring_fixed_index(&fake, base, 0), -1);
    ck_assert_int_eq(uring_fixed_index(&fake, base, SIZE_MAX), -1);
}
END_TEST

START_TEST(test_a_ring_of_ordinary_size)
{
    const struct io_uring_options options = {
        .connections_max = 1000, .registered_len = (4 << 20) + 1, .cpu = -1};
    struct buf error = {0};
    struct io_op op = {0};
    struct slice memory;
    int code, fd;
    struct io *io = io_uring_create(&options, &error, &code);

    ck_assert_ptr_nonnull(io);
    ck_assert_int_eq(io_uring_start(io), 0);
    memory = io_registered(io);
    ck_assert_uint_eq(memory.len, (4 << 20) + 1);
    ck_assert_uint_eq(memory.data[memory.len - 1], 0);
    io_open(io, &op, "/dev/null", IO_OPEN_WRITE, 0);
    fd = io_await(io, &op);
    ck_assert_int_ge(fd, 0);
    io_write(io, &op, fd, memory.data + memory.len - IO_ALIGN, IO_ALIGN, 0, 0);
    ck_assert_int_eq(io_await(io, &op), IO_ALIGN);
    io_close_now(io, fd);
    io_destroy(io);
}
END_TEST

Suite *io_uring_edges_suite(void)
{
    Suite *suite = suite_create("io_uring_edges");
    TCase *tc = contract_case(suite, "edges");

    tcase_add_checked_fixture(tc, open_world, close_world);
    tcase_add_test(tc, test_a_multishot_that_ended_well_goes_on);
    tcase_add_test(tc, test_an_accept_never_ends_with_a_socket);
    tcase_add_test(tc, test_a_passing_accept_error_is_not_seen);
    tcase_add_test(tc, test_the_rest_of_a_short_send_follows);
    tcase_add_test(tc, test_the_rest_of_a_short_vector_follows);
    tcase_add_test(tc, test_a_short_send_does_not_go_on_after_a_cancel);
    tcase_add_test(tc, test_a_zerocopy_send_completes_when_it_is_released);
    tcase_add_test(tc, test_a_hasty_recv_starves_like_any_other);
    tcase_add_test(tc, test_no_buffer_for_a_cancelled_recv);
    tcase_add_test(tc, test_what_waits_is_submitted_later_in_order);
    tcase_add_test(tc, test_what_waits_can_be_cancelled);
    tcase_add_test(tc, test_a_cancel_that_found_no_room_is_tried_again);
    tcase_add_test(tc, test_a_shutdown_is_not_cancelled);
    tcase_add_test(tc, test_ranges_of_registered_memory);
    tcase_add_test(tc, test_a_ring_of_ordinary_size);
    return suite;
}
