#include "base_rand.h"
#include "tls_certs.h"
#include "tls_link.h"
#include "tls_priv.h"
#include "tls_test.h"

/* Everything here holds for TLS 1.3, TLS 1.2 with AEAD and with CBC, and for tls_null. */
enum { KINDS = 4 };

static struct tls_context *server, *client;
static struct tls_link l;

static void begin(int kind)
{
    struct buf why;
    buf_init(&why, 0);
    ck_assert(tls_library_init());
    struct tls_pair pair = tls_link_pair(cert_mx_ecdsa, cert_middle, key_mx_ecdsa);
    struct tls_server_options options = {
        .pairs = &pair,
        .pair_count = 1,
        .ciphers = kind == 2 ? SLICE_LITERAL("ECDHE-ECDSA-AES128-SHA256") : SLICE_NULL,
        .null = kind == 3};
    struct tls_client_options client_options = {.null = true};
    server = tls_server_context_create(&options, &why);
    client = kind == 3   ? tls_client_context_create(&client_options, &why)
             : kind == 0 ? tls_link_client(cert_root)
                         : tls_link_client_12(cert_root, NULL);
    ck_assert_ptr_nonnull(server);
    ck_assert_ptr_nonnull(client);
    tls_link_init(&l, client, server, NULL);
    ck_assert(tls_link_handshake(&l));
}

static void end(void)
{
    tls_link_finish(&l);
    tls_context_unref(server);
    tls_context_unref(client);
}

START_TEST(sizes)
{
    static uint8_t body[300000];
    struct rand r;
    rand_seed(&r, 7);
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (uint8_t)rand_u64(&r);
    static const size_t lens[] = {1,     2,     100,   16383,  16384,           16385,
                                  32767, 32768, 32769, 100000, sizeof body - 1, sizeof body};
    begin(_i);
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        for (int direction = 0; direction < 2; direction++) {
            struct buf *out = direction == 0 ? &l.to_server : &l.to_client;
            size_t before = buf_len(out);
            l.piece = i % 3 == 1 ? 1000 : 0;
            ck_assert(
                tls_write(direction == 0 ? l.client : l.server, slice_of(body, lens[i]), out));
            ck_assert_uint_le(buf_len(out) - before, tls_wire_size(lens[i]));
            struct buf got;
            buf_init(&got, 0);
            ck_assert_int_eq(tls_link_read(&l, direction == 1, &got), TLS_WANT_INPUT);
            ck_assert(slice_equal(buf_slice(&got), slice_of(body, lens[i])));
            buf_finish(&got);
        }
    }
    ck_assert(tls_write(l.client, SLICE_NULL, &l.to_server));
    ck_assert_uint_eq(buf_len(&l.to_server), 0);
    end();
}
END_TEST

/* Readers with little room get it all, bit by bit. */
START_TEST(small_reads)
{
    begin(_i);
    static const char text[] = "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n";
    for (size_t size = 1; size < 70; size++) {
        struct slice all = slice_str(text);
        ck_assert(tls_write(l.client, slice_head(all, 20), &l.to_server));
        slice_advance(&all, 20);
        ck_assert(tls_write(l.client, all, &l.to_server));
        struct slice in = buf_slice(&l.to_server);
        char data[70];
        struct buf got;
        buf_init(&got, 0);
        for (;;) {
            size_t count;
            enum tls_result result = tls_read(l.server, &in, data, size, &count, &l.to_client);
            if (result == TLS_WANT_INPUT)
                break;
            ck_assert_int_eq(result, TLS_OK);
            ck_assert(count > 0 && count <= size);
            (void)buf_append(&got, data, count);
        }
        ck_assert_uint_eq(in.len, 0);
        ck_assert(slice_equal(buf_slice(&got), slice_str(text)));
        buf_finish(&got);
        buf_clear(&l.to_server);
    }
    end();
}
END_TEST

/* No more than is there is taken, and no more than a record is kept. */
START_TEST(every_split)
{
    begin(_i);
    for (size_t cut = 0; cut < 120; cut++) {
        ck_assert(tls_write(l.client, SLICE_LITERAL("first"), &l.to_server));
        ck_assert(tls_write(l.client, SLICE_LITERAL("second"), &l.to_server));
        struct slice all = buf_slice(&l.to_server), head = slice_head(all, cut), rest = all;
        slice_advance(&rest, head.len);
        struct buf got;
        char data[64];
        size_t count;
        buf_init(&got, 0);
        while (tls_read(l.server, &head, data, sizeof data, &count, &l.to_client) == TLS_OK)
            (void)buf_append(&got, data, count);
        ck_assert_uint_eq(head.len, 0);
        while (tls_read(l.server, &rest, data, sizeof data, &count, &l.to_client) == TLS_OK)
            (void)buf_append(&got, data, count);
        ck_assert(slice_equal(buf_slice(&got), SLICE_LITERAL("firstsecond")));
        buf_finish(&got);
        buf_clear(&l.to_server);
    }
    end();
}
END_TEST

START_TEST(no_room)
{
    begin(_i);
    struct buf narrow;
    buf_init(&narrow, 200);
    uint8_t body[1000] = {0};
    ck_assert(!tls_write(l.client, slice_of(body, sizeof body), &narrow));
    ck_assert_uint_eq(buf_len(&narrow), 0);
    buf_finish(&narrow);
    ck_assert(tls_link_carry(&l, true, SLICE_LITERAL("still here"))); /* nothing was lost by it */
    end();
}
END_TEST

START_TEST(closes)
{
    for (int by_client = 0; by_client < 2; by_client++) {
        begin(_i);
        struct tls *closer = by_client ? l.client : l.server;
        struct tls *other = by_client ? l.server : l.client;
        struct buf *out = by_client ? &l.to_server : &l.to_client;
        struct buf *back = by_client ? &l.to_client : &l.to_server;
        struct buf got;
        buf_init(&got, 0);
        ck_assert(tls_truncated(other));
        ck_assert(tls_write(closer, SLICE_LITERAL("221 bye\r\n"), out));
        tls_close(closer, out);
        size_t len = buf_len(out);
        tls_close(closer, out); /* once is enough */
        ck_assert_uint_eq(buf_len(out), len);
        ck_assert(!tls_write(closer, SLICE_LITERAL("more"), out));
        ck_assert_int_eq(tls_link_read(&l, !by_client, &got), TLS_CLOSED);
        ck_assert(slice_equal(buf_slice(&got), SLICE_LITERAL("221 bye\r\n")));
        ck_assert(!tls_truncated(other));
        ck_assert_int_eq(tls_link_read(&l, !by_client, &got), TLS_CLOSED);
        /* The other half stays open (RFC 8446 6.1). */
        buf_clear(&got);
        ck_assert(tls_write(other, SLICE_LITERAL("last words"), back));
        tls_close(other, back);
        ck_assert_int_eq(tls_link_read(&l, by_client, &got), TLS_CLOSED);
        if (_i != 1 && _i != 2) /* TLS 1.2 ends both at once */
            ck_assert(slice_equal(buf_slice(&got), SLICE_LITERAL("last words")));
        buf_finish(&got);
        end();
    }
}
END_TEST

/* A cut is seen as one, wherever it falls. */
START_TEST(cut_off)
{
    begin(_i);
    ck_assert(tls_write(l.client, SLICE_LITERAL("half of it"), &l.to_server));
    size_t len = buf_len(&l.to_server);
    struct slice in = slice_head(buf_slice(&l.to_server), len - 1);
    char data[64];
    size_t count;
    ck_assert_int_eq(tls_read(l.server, &in, data, sizeof data, &count, &l.to_client),
                     TLS_WANT_INPUT);
    ck_assert(tls_truncated(l.server));
    end();
}
END_TEST

/* Any byte that was changed ends the session, and nothing of its record is given out. */
START_TEST(altered)
{
    for (size_t at = 0;; at++) {
        begin(_i);
        ck_assert(tls_write(l.client, SLICE_LITERAL("the first\r\n"), &l.to_server));
        size_t good = buf_len(&l.to_server);
        ck_assert(tls_write(l.client, SLICE_LITERAL("RCPT TO:<x@y>\r\n"), &l.to_server));
        if (good + at >= buf_len(&l.to_server)) {
            end();
            break;
        }
        ((uint8_t *)buf_slice(&l.to_server).data)[good + at] ^= 0x41;
        struct buf got;
        buf_init(&got, 0);
        enum tls_result result = tls_link_read(&l, false, &got);
        ck_assert(slice_equal(buf_slice(&got), SLICE_LITERAL("the first\r\n")));
        /* A length that grew waits for the rest, which never comes. */
        ck_assert(result == TLS_FAILED
                  || (result == TLS_WANT_INPUT && (at == 2 || at == 3 || at == 4)));
        if (result == TLS_FAILED) {
            ck_assert_str_ne(tls_error(l.server), "");
            ck_assert_int_eq(tls_link_read(&l, false, &got), TLS_FAILED);
            ck_assert(!tls_write(l.server, SLICE_LITERAL("250"), &l.to_client));
        }
        buf_finish(&got);
        end();
    }
}
END_TEST

/* Plain text in the middle of a session, whole records left out, repeated or exchanged. */
START_TEST(intruders)
{
    for (int what = 0; what < 4; what++) {
        begin(_i);
        struct buf records[3], stream, got;
        buf_init(&stream, 0);
        buf_init(&got, 0);
        for (size_t i = 0; i < 3; i++) {
            buf_init(&records[i], 0);
            ck_assert(tls_write(l.client, SLICE_LITERAL("record\r\n"), &records[i]));
        }
        static const int orders[3][3] = {{0, 2, -1}, {0, 0, 1}, {1, 0, 2}};
        if (what == 3)
            (void)buf_append_str(&stream, "MAIL FROM:<injected@example.org>\r\n");
        for (int i = 0; what < 3 && i < 3 && orders[what][i] >= 0; i++)
            (void)buf_append_slice(&stream, buf_slice(&records[orders[what][i]]));
        (void)buf_append_slice(&l.to_server, buf_slice(&stream));
        ck_assert_int_eq(tls_link_read(&l, false, &got), TLS_FAILED);
        ck_assert_uint_le(buf_len(&got), 8);
        for (size_t i = 0; i < 3; i++)
            buf_finish(&records[i]);
        buf_finish(&stream);
        buf_finish(&got);
        end();
    }
}
END_TEST

/* ---- handshakes of those who mean no good ------------------------------------------------------------------ */

static void feed(struct tls *t, struct slice in)
{
    struct buf out;
    buf_init(&out, 0);
    enum tls_result result = TLS_WANT_INPUT;
    while (in.len > 0 && result == TLS_WANT_INPUT)
        result = tls_handshake(t, &in, &out);
    quick_assert(result == TLS_FAILED || result == TLS_WANT_INPUT);
    if (result == TLS_FAILED) {
        quick_assert(tls_error(t)[0] != 0 && tls_failure_of(t) == TLS_FAILURE_HANDSHAKE);
        quick_assert(tls_handshake(t, &in, &out) == TLS_FAILED);
    }
    buf_finish(&out);
}

START_TEST(plain_text_instead)
{
    static const char *texts[] = {
        "EHLO client.example.org\r\n",  "GET / HTTP/1.1\r\n\r\n", "\r\n\r\n\r\n",
        "220 mx.example.org ESMTP\r\n", "\x16\x03\x01",           "\x80\x80\x01\x03"};
    begin(_i);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct tls_connect_options none = {.check = TLS_CHECK_NONE};
        struct tls *s = tls_accept(server), *c = tls_connect(client, &none);
        feed(s, slice_str(texts[i]));
        feed(c, slice_str(texts[i]));
        tls_free(s);
        tls_free(c);
    }
    end();
}
END_TEST

START_TEST(garbage)
{
    struct rand r;
    begin(_i);
    rand_seed(&r, 99);
    for (int round = 0; round < 300; round++) {
        uint8_t bytes[600];
        size_t len = rand_below(&r, sizeof bytes);
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)rand_u64(&r);
        if (len > 5 && round % 2 == 0) /* one that begins well */
            memcpy(bytes, "\x16\x03\x01\x00\x50\x01\x00\x00\x4C\x03\x03", len < 11 ? len : 11);
        struct tls *s = tls_accept(server),
                   *c = tls_connect(client, &(struct tls_connect_options){0});
        feed(s, slice_of(bytes, len));
        feed(c, slice_of(bytes, len));
        tls_free(s);
        tls_free(c);
    }
    end();
}
END_TEST

/* A good dialog in which one byte is wrong: no abort, no success by which the two would disagree. */
START_TEST(one_byte_wrong)
{
    struct rand r;
    begin(_i);
    rand_seed(&r, 4711);
    for (int round = 0; round < 250; round++) {
        struct tls_link wrong;
        tls_link_init(&wrong, client, server, NULL);
        int steps = (int)rand_below(&r, 4);
        bool done = false;
        for (int step = 0; !done; step++) {
            struct buf *in = step % 2 == 0 ? &wrong.to_client : &wrong.to_server;
            struct buf *out = step % 2 == 0 ? &wrong.to_server : &wrong.to_client;
            enum tls_result *result = step % 2 == 0 ? &wrong.client_result : &wrong.server_result;
            if (step == steps && buf_len(in) > 0)
                ((uint8_t *)buf_slice(in).data)[rand_below(&r, buf_len(in))] ^=
                    (uint8_t)(1 + rand_below(&r, 255));
            size_t before = buf_len(in);
            struct slice rest = buf_slice(in);
            if (*result == TLS_WANT_INPUT)
                *result = tls_handshake(step % 2 == 0 ? wrong.client : wrong.server, &rest, out);
            buf_consume(in, before - rest.len);
            done = step > 12;
        }
        if (wrong.client_result == TLS_OK && wrong.server_result == TLS_OK) {
            struct tls_facts a, b;
            tls_facts(wrong.client, &a);
            tls_facts(wrong.server, &b);
            ck_assert_str_eq(a.cipher, b.cipher);
        }
        tls_link_finish(&wrong);
    }
    end();
}
END_TEST

START_TEST(freed_at_any_time)
{
    begin(_i);
    for (int steps = 0; steps < 6; steps++) {
        struct tls_link some;
        tls_link_init(&some, client, server, NULL);
        for (int i = 0; i < steps; i++) {
            struct buf *in = i % 2 == 0 ? &some.to_client : &some.to_server;
            struct slice rest = slice_head(buf_slice(in), buf_len(in) - (buf_len(in) > 3 ? 3 : 0));
            size_t before = rest.len;
            (void)tls_handshake(i % 2 == 0 ? some.client : some.server, &rest,
                                i % 2 == 0 ? &some.to_server : &some.to_client);
            buf_consume(in, before - rest.len);
        }
        tls_link_finish(&some);
    }
    tls_free(NULL);
    end();
}
END_TEST

Suite *tls_data_suite(void)
{
    Suite *suite = suite_create("tls_data");
    TCase *tc = tcase_create("tls_data");
    tcase_add_loop_test(tc, sizes, 0, KINDS);
    tcase_add_loop_test(tc, small_reads, 0, KINDS);
    tcase_add_loop_test(tc, every_split, 0, KINDS);
    tcase_add_loop_test(tc, no_room, 0, KINDS);
    tcase_add_loop_test(tc, closes, 0, KINDS);
    tcase_add_loop_test(tc, cut_off, 0, KINDS);
    tcase_add_loop_test(tc, altered, 0, KINDS);
    tcase_add_loop_test(tc, intruders, 0, KINDS);
    tcase_add_loop_test(tc, plain_text_instead, 0, KINDS);
    tcase_add_loop_test(tc, garbage, 0, KINDS);
    tcase_add_loop_test(tc, one_byte_wrong, 0, KINDS);
    tcase_add_loop_test(tc, freed_at_any_time, 0, KINDS);
    suite_add_tcase(suite, tc);
    return suite;
}
