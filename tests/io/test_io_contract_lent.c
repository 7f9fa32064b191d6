/* The contract of io.h: lent buffers, and what happens when there are none. */
#include <errno.h>
#include <stdlib.h>

#include "io_contract.h"

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

Suite *io_contract_lent_suite(void)
{
    Suite *suite = suite_create("io_contract_lent");
    TCase *tc = contract_case(suite, "lent");

    CONTRACT_ADD(tc, a_recv_without_buffers_waits_for_one);
    CONTRACT_ADD(tc, a_starved_recv_can_be_cancelled);
    return suite;
}
