/*
 * TLS in line: the same bytes arrive whatever the cuts and the faults; plaintext that was put behind a
 * STARTTLS never reaches the owner; every end is told from a cut.
 */
#include <errno.h>

#include "base_mem.h"
#include "net_world.h"

enum { STREAM_LEN = 300 * 1000 };

Suite *net_tls_suite(void);

static struct sim_options plain_weather(void)
{
    return sim_options_default();
}

/* ---- streams ---------------------------------------------------------------------------------- */

/* Both ways at once, read in small bites, sent from the buffer or as pieces. */
static void stream_once(uint64_t seed)
{
    struct sim_options options = sim_options_default();
    uint8_t *up = net_random_bytes(seed, STREAM_LEN),
            *down = net_random_bytes(seed + 1, STREAM_LEN);

    options.recv_split = 5000;
    options.recv_buffers = 2;
    options.recv_buffer_len = 1 + (unsigned)(seed * 977 % 20000);
    options.link_buffer_len = 700 + seed % 5000;
    net_world_open(seed, &options);
    net_world_use_tls(seed % 3 == 0 ? MODE_IMPLICIT : MODE_STARTTLS, seed % 4 == 0);
    w.client.to_send = slice_of(up, STREAM_LEN);
    w.server.to_send = slice_of(down, STREAM_LEN);
    w.client.as_body = seed % 2 != 0;
    w.server.as_body = seed % 5 == 0;
    w.server.consume_max = 1 + seed % 3000;
    w.client.close_after_send = true;
    w.client.linger = true; /* so that the server may read on at its leisure */
    w.server.close_after_got = STREAM_LEN;
    net_world_connect();
    net_world_run();
    ck_assert_int_eq(w.client.closed, 1);
    ck_assert_int_eq(w.server.closed, 1);
    ck_assert_uint_eq(buf_len(&w.server.got), STREAM_LEN);
    ck_assert(memcmp(buf_slice(&w.server.got).data, up, STREAM_LEN) == 0);
    ck_assert(memcmp(buf_slice(&w.client.got).data, down, buf_len(&w.client.got)) == 0);
    ck_assert_uint_gt(w.client.conn.bytes_out, STREAM_LEN); /* records have heads */
    net_world_close();
    mem_free(up);
    mem_free(down);
}

START_TEST(bytes_arrive_as_they_left)
{
    for (uint64_t seed = 1; seed <= 60; seed++)
        stream_once(seed);
}
END_TEST

/* The same with real handshakes and records: fewer, for each costs a millisecond. */
START_TEST(real_records_arrive_as_well)
{
    uint8_t *up = net_random_bytes(1, STREAM_LEN), *down = net_random_bytes(2, STREAM_LEN);

    for (uint64_t seed = 1; seed <= 24; seed++) {
        struct sim_options options = sim_options_default();

        options.recv_split = seed % 3 ? 5000 : 0;
        options.recv_buffer_len = seed % 5 ? 8192 : 100;
        options.link_buffer_len = 2000 + (seed % 4) * 20000;
        net_world_open(seed, &options);
        net_world_use_real_tls(seed % 2 ? MODE_IMPLICIT : MODE_STARTTLS, seed % 3 == 0,
                               seed % 4 < 2 ? TLS_VERSION_1_2 : TLS_VERSION_1_3);
        w.client.to_send = slice_of(up, STREAM_LEN);
        w.server.to_send = slice_of(down, STREAM_LEN);
        w.client.as_body = seed % 2 != 0;
        w.server.as_body = seed % 5 == 0;
        w.client.close_after_send = true;
        w.client.linger = true;
        w.server.close_after_got = STREAM_LEN;
        net_world_connect();
        net_world_run();
        ck_assert_msg(w.client.was_active, "%s", w.client.tls_error);
        ck_assert_int_eq(w.client.closed + w.server.closed, 2);
        ck_assert_uint_eq(buf_len(&w.server.got), STREAM_LEN);
        ck_assert(memcmp(buf_slice(&w.server.got).data, up, STREAM_LEN) == 0);
        ck_assert(memcmp(buf_slice(&w.client.got).data, down, buf_len(&w.client.got)) == 0);
        net_world_close();
    }
    mem_free(up);
    mem_free(down);
}
END_TEST

START_TEST(real_handshakes_survive_faults)
{
    uint8_t *up = net_random_bytes(1, 20000);

    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct sim_options options = sim_options_from_seed(seed);

        options.conn_reset = 500;
        options.connect_stall = 0;
        net_world_open(seed, &options);
        net_world_use_real_tls(seed % 2 ? MODE_IMPLICIT : MODE_STARTTLS, seed % 3 == 0,
                               TLS_VERSION_1_2);
        w.client.to_send = slice_of(up, 20000);
        w.client.as_body = seed % 5 == 0;
        w.client.close_after_send = true;
        net_world_connect();
        net_world_run();
        ck_assert_int_eq(w.client.closed, 1);
        ck_assert_uint_le(buf_len(&w.server.got), 20000);
        ck_assert(buf_len(&w.server.got) == 0
                  || memcmp(buf_slice(&w.server.got).data, up, buf_len(&w.server.got)) == 0);
        ck_assert_int_eq(w.server.closed, w.server.conn.io != NULL);
        if (w.server.saw_eof && !w.server.was_truncated && w.server.error == 0)
            ck_assert_uint_eq(buf_len(&w.server.got), 20000);
        net_world_close();
    }
    mem_free(up);
}
END_TEST

/* A client that does not like the certificate says so in an alert, which the server reads. */
START_TEST(an_alert_arrives)
{
    struct sim_options options = plain_weather();
    struct buf why = {0};

    net_world_open(1, &options);
    net_world_use_real_tls(MODE_STARTTLS, false, TLS_VERSION_1_2);
    tls_context_unref(w.client.context);
    w.client.context = /* trusts nobody */
        tls_client_context_create(&(struct tls_client_options){.null = false}, &why);
    ck_assert_ptr_nonnull(w.client.context);
    w.client.to_send = SLICE_LITERAL("hello\r\n");
    net_world_connect();
    net_world_run();
    ck_assert_int_eq(w.client.error, -EPROTO);
    ck_assert_int_eq(w.server.error, -EPROTO);
    ck_assert_ptr_nonnull(strstr(w.server.tls_error, "alert"));
    ck_assert_uint_eq(buf_len(&w.server.got), 0);
    ck_assert_int_eq(w.client.closed + w.server.closed, 2);
    net_world_close();
    buf_finish(&why);
}
END_TEST

START_TEST(bytes_arrive_through_the_kernel)
{
    uint8_t *up = net_random_bytes(1, 10 * STREAM_LEN);

    for (unsigned i = 0; i < 16; i++) {
        net_world_open_uring();
        if (i < 6)
            net_world_use_tls(i % 2 ? MODE_IMPLICIT : MODE_STARTTLS, i % 4 < 2);
        else if (i < 8)
            net_world_use_heavy_tls(i % 2 ? MODE_IMPLICIT : MODE_STARTTLS);
        else if (i < 12)
            net_world_use_real_tls(i % 2 ? MODE_IMPLICIT : MODE_STARTTLS, i % 4 < 2,
                                   TLS_VERSION_1_2);
        w.client.to_send = slice_of(up, 10 * STREAM_LEN);
        w.client.as_body = i % 3 != 0;
        w.server.to_send = slice_of(up, STREAM_LEN);
        w.server.as_body = i % 3 == 1;
        w.client.close_after_send = true;
        w.client.linger = true;
        net_world_connect();
        net_world_run();
        ck_assert_uint_eq(buf_len(&w.server.got), 10 * STREAM_LEN);
        ck_assert(memcmp(buf_slice(&w.server.got).data, up, 10 * STREAM_LEN) == 0);
        ck_assert(slice_equal(buf_slice(&w.client.got), slice_of(up, buf_len(&w.client.got))));
        ck_assert(w.server.saw_eof && !w.server.was_truncated);
        net_world_close();
    }
    mem_free(up);
}
END_TEST

/* Every octet on its own: a handshake and a line each way. */
START_TEST(single_octets_are_enough)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct sim_options options = sim_options_default();

        options.recv_buffer_len = 1;
        options.link_buffer_len = 1 + seed;
        net_world_open(seed, &options);
        net_world_use_tls(seed % 2 ? MODE_IMPLICIT : MODE_STARTTLS, seed % 3 == 0);
        w.client.to_send = SLICE_LITERAL("EHLO there\r\n");
        w.server.to_send = SLICE_LITERAL("250 hello\r\n");
        w.server.close_after_got = 12;
        net_world_connect();
        net_world_run();
        ck_assert_uint_eq(buf_len(&w.server.got), 12);
        ck_assert_uint_eq(buf_len(&w.client.got), 11);
        ck_assert_int_eq(w.client.closed + w.server.closed, 2);
        net_world_close();
    }
}
END_TEST

/* Resets at any point, the handshake included: never a wrong byte, always one `closed` a side. */
START_TEST(faults_end_in_closed_once)
{
    for (uint64_t seed = 1; seed <= 600; seed++) {
        struct sim_options options = sim_options_from_seed(seed);
        uint8_t *up = net_random_bytes(seed, 20000);

        options.conn_reset = seed % 2 ? 1000 : 50;
        options.connect_stall = 0;
        net_world_open(seed, &options);
        net_world_use_tls(seed % 3 == 0 ? MODE_IMPLICIT : MODE_STARTTLS, seed % 4 == 0);
        w.client.to_send = slice_of(up, 20000);
        w.client.as_body = seed % 5 == 0;
        w.client.close_after_send = true;
        net_world_connect();
        net_world_run();
        ck_assert_int_eq(w.client.closed, 1);
        ck_assert_uint_le(buf_len(&w.server.got), 20000);
        ck_assert(buf_len(&w.server.got) == 0
                  || memcmp(buf_slice(&w.server.got).data, up, buf_len(&w.server.got)) == 0);
        ck_assert_int_eq(w.server.closed, w.server.conn.io != NULL);
        /* Who was told nothing bad has it all. */
        if (w.server.saw_eof && !w.server.was_truncated && w.server.error == 0)
            ck_assert_uint_eq(buf_len(&w.server.got), 20000);
        net_world_close();
        mem_free(up);
    }
}
END_TEST

START_TEST(not_asking_is_back_pressure)
{
    struct sim_options options = plain_weather();
    uint8_t *up = net_random_bytes(7, STREAM_LEN);
    uint64_t handshake;

    options.link_buffer_len = 4096;
    net_world_open(3, &options);
    net_world_use_tls(MODE_STARTTLS, false);
    w.server.reads = false;
    net_world_connect();
    net_world_run();
    ck_assert(w.client.was_active && w.server.was_active);
    handshake = w.server.conn.bytes_in;
    w.client.to_send = slice_of(up, STREAM_LEN);
    net_end_step(&w.client);
    net_world_run();
    ck_assert_uint_eq(w.server.conn.bytes_in, handshake);
    ck_assert_uint_lt(w.client.conn.bytes_out, 32768);
    ck_assert_uint_eq(net_conn_input(&w.server.conn).len, 0);
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

/* One who consumes nothing is not filled without end. */
START_TEST(what_waits_here_is_bounded)
{
    struct sim_options options = plain_weather();
    uint8_t *up = net_random_bytes(7, STREAM_LEN);

    net_world_open(3, &options);
    net_world_use_tls(MODE_IMPLICIT, false);
    w.client.to_send = slice_of(up, STREAM_LEN);
    net_world_connect();
    for (int i = 0; i < 200; i++) {
        w.server.reads = false;
        if (w.server.conn.io != NULL && w.server.conn.tls_state == NET_CONN_TLS_ACTIVE)
            net_conn_want_input(&w.server.conn);
        net_world_run();
    }
    ck_assert_uint_ge(net_conn_input(&w.server.conn).len, 30000);
    ck_assert_uint_le(net_conn_input(&w.server.conn).len, 64000);
    w.server.reads = true;
    w.client.close_after_send = true;
    net_end_step(&w.server);
    net_world_run();
    ck_assert_uint_eq(buf_len(&w.server.got), STREAM_LEN);
    ck_assert_int_eq(w.client.closed + w.server.closed, 2);
    net_world_close();
    mem_free(up);
}
END_TEST

START_TEST(idle_connection_holds_no_buffers)
{
    struct sim_options options = plain_weather();

    _Static_assert(sizeof(struct net_conn) <= 608, "idle sessions are many");
    net_world_open(4, &options);
    net_world_use_tls(MODE_STARTTLS, true);
    w.client.to_send = SLICE_LITERAL("EHLO there\r\n");
    net_world_connect();
    net_world_run();
    ck_assert_uint_eq(buf_len(&w.server.got), 12);
    ck_assert_ptr_null(w.server.conn.carry.data);
    ck_assert_ptr_null(w.server.conn.out.data);
    ck_assert_ptr_null(w.client.conn.sending.data);
    ck_assert_ptr_null(w.client.conn.out.data);
    ck_assert_uint_eq(w.server_io->counters.lent_out, 0);
    net_conn_close(&w.client.conn, false);
    net_world_run();
    ck_assert_int_eq(w.server.closed, 1);
    net_world_close();
}
END_TEST

/* ---- plaintext behind STARTTLS ---------------------------------------------------------------- */

/* Together with the command, or after it in a segment of its own: none of it is ever input. */
START_TEST(nothing_said_in_the_clear_is_heard_under_tls)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct sim_options options = sim_options_default();

        options.recv_split = seed % 2 ? 5000 : 0;
        net_world_open(seed, &options);
        net_world_use_tls(MODE_STARTTLS, seed % 3 == 0);
        if (_i == 0)
            w.client.behind = SLICE_LITERAL("MAIL FROM:<evil@example>\r\n");
        else
            w.server.behind = SLICE_LITERAL("250 evil\r\n");
        w.client.to_send = w.server.to_send = SLICE_LITERAL("hello\r\n");
        w.client.close_after_send = true;
        net_world_connect();
        net_world_run();
        ck_assert_int_eq(w.client.closed + w.server.closed, 2);
        if (_i == 0) {
            ck_assert(!w.server.was_active);
            ck_assert_int_eq(w.server.error, -EPROTO);
            ck_assert_str_ne(w.server.tls_error, "");
        } else {
            ck_assert(!w.client.was_active);
            ck_assert_int_eq(w.client.error, -EPROTO);
        }
        ck_assert_uint_eq(buf_len(&w.server.got), 0);
        ck_assert_uint_eq(buf_len(&w.client.got), 0);
        net_world_close();
    }
}
END_TEST

START_TEST(one_who_goes_on_in_the_clear_is_not_heard)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim_options options = sim_options_default();

        net_world_open(seed, &options);
        net_world_use_tls(MODE_STARTTLS, seed % 2 == 0);
        w.client.stays_in_clear = true;
        w.client.to_send = SLICE_LITERAL("MAIL FROM:<a@example>\r\n");
        net_world_connect();
        net_world_run();
        ck_assert_int_eq(w.server.error, -EPROTO);
        ck_assert(!w.server.was_active);
        ck_assert_uint_eq(buf_len(&w.server.got), 0);
        ck_assert_uint_gt(buf_len(&w.client.got), 0); /* an alert, which is noise to it */
        ck_assert_int_eq(w.client.closed + w.server.closed, 2);
        net_world_close();
    }
}
END_TEST

/* ---- ends ------------------------------------------------------------------------------------- */

START_TEST(a_close_is_told_from_a_cut)
{
    struct sim_options options = plain_weather();

    net_world_open(9, &options);
    net_world_use_tls(MODE_IMPLICIT, false);
    w.client.to_send = SLICE_LITERAL("QUIT\r\n");
    net_world_connect();
    net_world_run();
    ck_assert_uint_eq(buf_len(&w.server.got), 6);
    if (_i == 0)
        net_conn_close(&w.client.conn, false);
    else
        net_conn_abort(&w.client.conn);
    net_world_run();
    ck_assert(w.server.saw_eof || w.server.error != 0);
    ck_assert_int_eq(w.server.was_truncated || w.server.error != 0, _i == 1);
    ck_assert_int_eq(w.client.closed + w.server.closed, 2);
    net_world_close();
}
END_TEST

/* The peer is gone before the handshake is over. */
START_TEST(an_end_in_the_handshake_is_a_failure)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct sim_options options = sim_options_default();
        struct end *leaver, *other;

        net_world_open(seed, &options);
        net_world_use_tls(seed % 2 ? MODE_IMPLICIT : MODE_STARTTLS, seed % 3 == 0);
        leaver = _i % 2 ? &w.server : &w.client;
        other = _i % 2 ? &w.client : &w.server;
        if (_i < 2)
            leaver->close_when_started = true;
        else
            leaver->abort_when_started = true;
        w.client.to_send = SLICE_LITERAL("hello\r\n");
        net_world_connect();
        net_world_run();
        ck_assert_int_eq(w.client.closed, 1);
        ck_assert_int_eq(w.server.closed, w.server.conn.io != NULL);
        if (other->started && !other->was_active)
            ck_assert_int_ne(other->error, 0);
        ck_assert_uint_eq(buf_len(&w.server.got), 0);
        net_world_close();
    }
}
END_TEST

START_TEST(a_close_waits_for_the_helper)
{
    for (int how = 0; how < 4; how++) {
        struct sim_options options = plain_weather();

        net_world_open(11, &options);
        net_world_use_tls(MODE_STARTTLS, true);
        w.helpers_sleep = true;
        net_world_connect();
        net_world_run();
        ck_assert_uint_eq(work_door_busy(w.door), 1);
        ck_assert_int_eq(w.server.conn.tls_state, NET_CONN_TLS_HANDSHAKE);
        ck_assert_ptr_null(net_conn_tls(&w.server.conn)); /* it is the helper's */
        if (how == 0)
            net_conn_close(&w.server.conn, false);
        if (how == 1)
            net_conn_abort(&w.server.conn);
        if (how == 2) /* the peer leaves meanwhile */
            net_conn_abort(&w.client.conn);
        if (how == 3) {
            net_conn_close(&w.server.conn, true);
            net_conn_abort(&w.server.conn);
        }
        net_world_run();
        ck_assert_int_eq(w.server.closed, 0);
        w.helpers_sleep = false;
        work_door_step(w.door);
        net_world_run();
        ck_assert_int_eq(w.server.closed, 1);
        ck_assert_uint_eq(work_door_busy(w.door), 0);
        if (how != 2 && w.client.closed == 0)
            net_conn_abort(&w.client.conn);
        net_world_close();
    }
}
END_TEST

static void nothing(struct work_job *job)
{
    (void)job;
}

START_TEST(too_many_handshakes_are_refused)
{
    struct sim_options options = plain_weather();
    struct work_job jobs[4];

    net_world_open(12, &options);
    net_world_use_tls(MODE_IMPLICIT, true);
    w.helpers_sleep = true;
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        jobs[i] = (struct work_job){.run = nothing, .done = nothing};
        ck_assert(work_submit(w.door, &jobs[i]));
    }
    net_world_connect();
    net_world_run();
    ck_assert_int_eq(w.server.error, -EBUSY);
    ck_assert_int_eq(w.client.error, -EPROTO);
    ck_assert_int_eq(w.client.closed + w.server.closed, 2);
    work_door_step(w.door);
    net_world_close();
}
END_TEST

/* The simulator's power goes, with a handshake at a helper: nothing is left over (see the leak checks). */
START_TEST(a_crash_leaves_nothing)
{
    struct sim_options options = plain_weather();

    net_world_open(13, &options);
    net_world_use_tls(MODE_STARTTLS, true);
    w.helpers_sleep = true;
    w.client.to_send = SLICE_LITERAL("hello\r\n");
    net_world_connect();
    net_world_run();
    ck_assert_uint_eq(work_door_busy(w.door), 1);
    sim_machine_crash(sim_io_machine(w.server_io));
    net_conn_discard(&w.server.conn);
    work_door_destroy(w.door, true);
    net_conn_abort(&w.client.conn);
    while (w.client.closed == 0)
        (void)io_wait(sim_step(w.sim), UINT64_MAX);
    tls_context_unref(w.client.context);
    tls_context_unref(w.server.context);
    work_pool_destroy(w.helpers);
    io_destroy(w.client_io);
    sim_destroy(w.sim);
}
END_TEST

/* A body is sent to its end before the close that was asked for. */
START_TEST(a_close_sends_the_body_first)
{
    struct sim_options options = plain_weather();
    uint8_t *up = net_random_bytes(5, 200 * 1000);

    options.link_buffer_len = 3000;
    net_world_open(14, &options);
    net_world_use_tls(MODE_IMPLICIT, false);
    w.client.as_body = true;
    net_world_connect();
    net_world_run();
    w.client.to_send = slice_of(up, 200 * 1000);
    net_end_step(&w.client);
    ck_assert(net_conn_sending(&w.client.conn));
    net_conn_close(&w.client.conn, false);
    net_world_run();
    ck_assert_uint_eq(buf_len(&w.server.got), 200 * 1000);
    ck_assert(memcmp(buf_slice(&w.server.got).data, up, 200 * 1000) == 0);
    ck_assert(w.server.saw_eof && !w.server.was_truncated);
    ck_assert_int_eq(w.client.closed + w.server.closed, 2);
    net_world_close();
    mem_free(up);
}
END_TEST

/* An abort ends it where it is, and lets go of the pieces. */
START_TEST(an_abort_cuts_a_body)
{
    struct sim_options options = plain_weather();
    uint8_t *up = net_random_bytes(5, 200 * 1000);

    options.link_buffer_len = 3000;
    net_world_open(15, &options);
    net_world_use_tls(MODE_IMPLICIT, false);
    w.client.as_body = true;
    net_world_connect();
    net_world_run();
    w.server.reads = false;
    w.server.conn.wants_input = false;
    w.client.to_send = slice_of(up, 200 * 1000);
    net_end_step(&w.client);
    net_world_run();
    ck_assert(net_conn_sending(&w.client.conn));
    net_conn_abort(&w.client.conn);
    net_world_run();
    ck_assert_int_eq(w.client.closed, 1);
    ck_assert(!net_conn_sending(&w.client.conn));
    w.server.reads = true;
    net_end_step(&w.server);
    net_world_run();
    ck_assert_uint_lt(buf_len(&w.server.got), 200 * 1000);
    ck_assert_int_eq(w.server.closed, 1);
    net_world_close();
    mem_free(up);
}
END_TEST

Suite *net_tls_suite(void)
{
    Suite *s = suite_create("net_tls");
    TCase *tc = tcase_create("streams");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, bytes_arrive_as_they_left);
    tcase_add_test(tc, real_records_arrive_as_well);
    tcase_add_test(tc, real_handshakes_survive_faults);
    tcase_add_test(tc, an_alert_arrives);
    tcase_add_test(tc, bytes_arrive_through_the_kernel);
    tcase_add_test(tc, single_octets_are_enough);
    tcase_add_test(tc, faults_end_in_closed_once);
    tcase_add_test(tc, not_asking_is_back_pressure);
    tcase_add_test(tc, what_waits_here_is_bounded);
    tcase_add_test(tc, idle_connection_holds_no_buffers);
    suite_add_tcase(s, tc);
    tc = tcase_create("starttls");
    tcase_add_loop_test(tc, nothing_said_in_the_clear_is_heard_under_tls, 0, 2);
    tcase_add_test(tc, one_who_goes_on_in_the_clear_is_not_heard);
    suite_add_tcase(s, tc);
    tc = tcase_create("ends");
    tcase_add_loop_test(tc, a_close_is_told_from_a_cut, 0, 2);
    tcase_add_loop_test(tc, an_end_in_the_handshake_is_a_failure, 0, 4);
    tcase_add_test(tc, a_close_waits_for_the_helper);
    tcase_add_test(tc, too_many_handshakes_are_refused);
    tcase_add_test(tc, a_crash_leaves_nothing);
    tcase_add_test(tc, a_close_sends_the_body_first);
    tcase_add_test(tc, an_abort_cuts_a_body);
    suite_add_tcase(s, tc);
    return s;
}
