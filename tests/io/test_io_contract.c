/* The contract of io.h, sentence by sentence, in every world. */
#include <check.h>
#include <errno.h>

#include "io_contract.h"

static struct io_world world;
static struct io_world *const w = &world;

#define CONTRACT_TEST(name)                   \
    static void name(void);                   \
    START_TEST(test_##name)                   \
    {                                         \
        io_world_open(w, io_world_types[_i]); \
        name();                               \
        io_world_close(w);                    \
    }                                         \
    END_TEST                                  \
    static void name(void)

CONTRACT_TEST(bytes_arrive)
{
    struct stream_pair pair;
    struct probe send, recv;

    world_stream_pair(w, &pair);
    probe_init(&send);
    probe_init(&recv);
    io_recv(w->io, &recv.op, pair.server);
    io_send(w->io, &send.op, pair.client, slice_str("hello"), 0);
    ck_assert_int_eq(probe_wait(w, &send), 5);
    ck_assert_int_eq(probe_wait(w, &recv), 5);
    ck_assert(slice_equal(recv.op.lent, slice_str("hello")));
    io_lent_return(w->io, &recv.op);
    world_close_fd(w, pair.client);
    world_close_fd(w, pair.server);
}

static void add(TCase *tc, const TTest *test)
{
    tcase_add_loop_test(tc, test, 0, io_world_type_count);
}

Suite *io_contract_suite(void)
{
    Suite *suite = suite_create("io_contract");
    TCase *sockets = tcase_create("sockets");

    tcase_set_timeout(sockets, 60);
    add(sockets, test_bytes_arrive);
    suite_add_tcase(suite, sockets);
    return suite;
}
