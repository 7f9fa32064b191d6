/*
 * A connection on the simulator: whatever the cuts, the order and the faults, bytes arrive as they left
 * and `closed` comes once. Two ends on two machines, each an owner with a script.
 */
#include <errno.h>

#include "base_mem.h"
#include "net_world.h"

enum { STREAM_LEN = 300 * 1000 };

Suite *net_conn_suite(void);

/* Both ways at once, read in small bites, sent from the buffer or as pieces. */
static void stream_once(uint64_t seed)
{
    struct sim_options options = sim_options_default();
    uint8_t *up = net_random_bytes(seed, STREAM_LEN),
            *down = net_random_bytes(seed + 1, STREAM_LEN);

    options.recv_split = 5000;
    options.recv_buffers = 2;
    options.link_buffer_len = 700 + seed % 5000;
    net_world_open(seed, &options);
    w.client.to_send = slice_of(up, STREAM_LEN);
    w.server.to_send = slice_of(down, STREAM_LEN);
    w.client.as_body = seed % 2 != 0;
    w.server.consume_max = 1 + seed % 3000;
    w.client.close_after_send = true;
    w.client.linger = true; /* so that the server may read on at its leisure */
    w.server.close_after_got = STREAM_LEN;
    net_world_connect();
    net_world_run();
    ck_assert_int_eq(w.client.closed, 1);
    ck_assert_int_eq(w.server.closed, 1);
    /* The server reads all before it sees the end; what the client still gets after its close is
     * dropped. */
    ck_assert_uint_eq(buf_len(&w.server.got), STREAM_LEN);
    ck_assert(memcmp(buf_slice(&w.server.got).data, up, STREAM_LEN) == 0);
    ck_assert(memcmp(buf_slice(&w.client.got).data, down, buf_len(&w.client.got)) == 0);
    ck_assert_uint_eq(w.client.conn.bytes_out, STREAM_LEN);
    net_world_close();
    mem_free(up);
    mem_free(down);
}

START_TEST(bytes_arrive_as_they_left)
{
    for (uint64_t seed = 1; seed <= 40; seed++)
        stream_once(seed);
}
END_TEST

/* Resets, short everything: never a wrong byte, always one `closed` a side. */
START_TEST(faults_end_in_closed_once)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct sim_options options = sim_options_from_seed(seed);
        uint8_t *up = net_random_bytes(seed, 20000);

        options.conn_reset = 50;
        options.connect_stall = 0;
        net_world_open(seed, &options);
        w.client.to_send = slice_of(up, 20000);
        w.client.close_after_send = true;
        net_world_connect();
        net_world_run();
        ck_assert_int_eq(w.client.closed, 1);
        ck_assert_uint_le(buf_len(&w.server.got), 20000);
        ck_assert(buf_len(&w.server.got) == 0
                  || memcmp(buf_slice(&w.server.got).data, up, buf_len(&w.server.got)) == 0);
        ck_assert_int_eq(w.server.closed, w.server.conn.io != NULL);
        net_world_close();
        mem_free(up);
    }
}
END_TEST

START_TEST(not_asking_is_back_pressure)
{
    struct sim_options options = sim_options_default();
    uint8_t *up = net_random_bytes(7, STREAM_LEN);

    options.link_buffer_len = 4096;
    net_world_open(3, &options);
    w.client.to_send = slice_of(up, STREAM_LEN);
    w.server.reads = false;
    net_world_connect();
    net_world_run();
    ck_assert_uint_eq(w.server.conn.bytes_in, 0);
    ck_assert_uint_lt(w.client.conn.bytes_out, 32768);
    /* A peer that never reads does not keep us from ending. */
    net_conn_abort(&w.client.conn);
    net_world_run();
    ck_assert_int_eq(w.client.closed, 1);
    w.server.reads = true;
    net_conn_want_input(&w.server.conn);
    net_world_run();
    ck_assert_int_eq(w.server.closed, 1);
    net_world_close();
    mem_free(up);
}
END_TEST

START_TEST(idle_connection_holds_no_memory)
{
    struct sim_options options = sim_options_default();

    net_world_open(4, &options);
    w.client.to_send = SLICE_LITERAL("EHLO there\r\n");
    net_world_connect();
    net_world_run();
    ck_assert_uint_eq(buf_len(&w.server.got), 12);
    ck_assert_ptr_null(w.server.conn.carry.data);
    ck_assert_ptr_null(w.client.conn.sending.data);
    ck_assert_uint_eq(w.server_io->counters.lent_out, 0);
    net_conn_close(&w.client.conn, false);
    net_world_run();
    ck_assert_int_eq(w.server.closed, 1);
    net_world_close();
}
END_TEST

/* Whoever is told to go away sees the end at once, though we read on. */
START_TEST(lingering_close_says_its_end)
{
    struct sim_options options = sim_options_default();

    net_world_open(8, &options);
    w.server.to_send = SLICE_LITERAL("421 too many\r\n");
    w.server.close_after_send = true;
    w.server.linger = true;
    net_world_connect();
    net_world_run();
    ck_assert_uint_eq(buf_len(&w.client.got), 14);
    ck_assert(w.client.conn.eof);
    ck_assert_int_eq(w.client.closed, 1); /* it closes because it saw the end */
    ck_assert_int_eq(w.server.closed, 1);
    net_world_close();
}
END_TEST

START_TEST(refused_connect_is_an_error_and_closes)
{
    struct sim_options options = sim_options_default();

    net_world_open(5, &options);
    ck_assert(io_addr_parse(SLICE_LITERAL("10.0.0.2:26"), &w.addr));
    net_world_connect();
    net_world_run();
    ck_assert_int_eq(w.client.conn.error, -ECONNREFUSED);
    ck_assert_int_eq(w.client.closed, 1);
    net_world_close();
}
END_TEST

START_TEST(abort_while_connecting)
{
    struct sim_options options = sim_options_default();

    options.connect_stall = 10000;
    net_world_open(6, &options);
    net_world_connect();
    net_world_run();
    ck_assert_int_eq(w.client.readies, 0);
    net_conn_abort(&w.client.conn);
    net_world_run();
    ck_assert_int_eq(w.client.closed, 1);
    net_world_close();
}
END_TEST

Suite *net_conn_suite(void)
{
    Suite *s = suite_create("net_conn");
    TCase *tc = tcase_create("conn");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, bytes_arrive_as_they_left);
    tcase_add_test(tc, faults_end_in_closed_once);
    tcase_add_test(tc, not_asking_is_back_pressure);
    tcase_add_test(tc, idle_connection_holds_no_memory);
    tcase_add_test(tc, lingering_close_says_its_end);
    tcase_add_test(tc, refused_connect_is_an_error_and_closes);
    tcase_add_test(tc, abort_while_connecting);
    suite_add_tcase(s, tc);
    return s;
}
