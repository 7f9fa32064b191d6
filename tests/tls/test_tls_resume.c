#include "tls_certs.h"
#include "tls_link.h"
#include "tls_priv.h"
#include "tls_test.h"

static const struct slice mx = SLICE_INIT("mx.example.org");
static struct tls_tickets *tickets;
static struct tls_context *server, *client;
static struct tls_connect_options by_name;

static struct tls_context *make_server(struct tls_tickets *t)
{
    struct tls_pair pairs[] = {tls_link_pair(cert_mx_ecdsa, cert_middle, key_mx_ecdsa),
                               tls_link_pair(cert_mx_rsa, cert_middle, key_mx_rsa)};
    return tls_link_server(pairs, ARRAY_LEN(pairs), t);
}

/* Each test runs with TLS 1.3 and with 1.2. */
static void begin(int version)
{
    (void)tls_library_init();
    tickets = tls_tickets_create(3600);
    server = make_server(tickets);
    client = version == 0 ? tls_link_client(cert_root) : tls_link_client_12(cert_root, NULL);
    by_name = (struct tls_connect_options){
        .check = TLS_CHECK_NAME, .sni = mx, .names = &mx, .name_count = 1};
}

static void end(void)
{
    tls_context_unref(server);
    tls_context_unref(client);
    tls_tickets_unref(tickets);
}

static void rotate(struct tls_tickets *t, uint8_t fill, uint64_t now_s)
{
    uint8_t name[16], secret[32];
    memset(name, fill, sizeof name);
    memset(secret, 0x80 ^ fill, sizeof secret);
    tls_tickets_rotate(t, name, secret, now_s);
}

/* A session, used a little; what it can be resumed with. */
static struct tls_resumption *session(struct tls_context *c, struct tls_context *s,
                                      const struct tls_connect_options *options, bool *out_resumed)
{
    struct tls_link l;
    struct tls_facts at_client, at_server;
    tls_link_init(&l, c, s, options);
    ck_assert(tls_link_handshake(&l));
    ck_assert(tls_link_carry(&l, true, SLICE_LITERAL("EHLO client\r\n")));
    ck_assert(tls_link_carry(&l, false, SLICE_LITERAL("250 server\r\n")));
    tls_facts(l.client, &at_client);
    tls_facts(l.server, &at_server);
    ck_assert_int_eq(at_client.resumed, at_server.resumed);
    *out_resumed = at_client.resumed;
    /* Whether resumed or not, the facts are the certificate's. */
    ck_assert(at_client.peer_certificate && slice_equal(at_client.peer_name, mx));
    ck_assert_int_eq(at_client.verified, options->check != TLS_CHECK_NONE);
    ck_assert(slice_equal(at_server.sni, options->sni));
    uint8_t one[TLS_BINDING_MAX], other[TLS_BINDING_MAX];
    size_t one_len, other_len;
    ck_assert(tls_binding(l.client, TLS_BINDING_SERVER_END_POINT, one, &one_len));
    ck_assert(tls_binding(l.server, TLS_BINDING_SERVER_END_POINT, other, &other_len));
    ck_assert_uint_eq(one_len, other_len);
    ck_assert_mem_eq(one, other, one_len);
    if (strcmp(at_client.version, "TLSv1.3") == 0) {
        ck_assert(tls_binding(l.client, TLS_BINDING_EXPORTER, one, &one_len));
        ck_assert(tls_binding(l.server, TLS_BINDING_EXPORTER, other, &other_len));
        ck_assert_mem_eq(one, other, 32);
    }
    struct tls_resumption *r = tls_resumption_take(l.client);
    ck_assert_ptr_null(tls_resumption_take(l.server));
    tls_link_finish(&l);
    return r;
}

static bool resumes(struct tls_context *c, struct tls_context *s,
                    const struct tls_connect_options *options, struct tls_resumption *r)
{
    struct tls_connect_options with = *options;
    bool resumed;
    with.resume = r;
    tls_resumption_unref(session(c, s, &with, &resumed));
    return resumed;
}

START_TEST(again_and_again)
{
    bool resumed;
    begin(_i);
    struct tls_resumption *r = session(client, server, &by_name, &resumed);
    ck_assert_ptr_nonnull(r);
    ck_assert(!resumed);
    for (int i = 0; i < 4; i++) { /* with what the last one gave */
        struct tls_connect_options with = by_name;
        with.resume = r;
        struct tls_resumption *next = session(client, server, &with, &resumed);
        ck_assert(resumed);
        ck_assert_ptr_nonnull(next);
        tls_resumption_unref(r);
        r = next;
    }
    for (int i = 0; i < 3; i++) /* with the same: connections side by side do that */
        ck_assert(resumes(client, server, &by_name, r));
    tls_resumption_unref(r);
    end();
}
END_TEST

START_TEST(at_another_context)
{
    bool resumed;
    begin(_i);
    struct tls_resumption *r = session(client, server, &by_name, &resumed);
    struct tls_context *reloaded = make_server(tickets);
    tls_context_unref(server);
    server = reloaded;
    ck_assert(resumes(client, server, &by_name, r));
    tls_resumption_unref(r);
    end();
}
END_TEST

START_TEST(after_rotation)
{
    bool resumed;
    begin(_i);
    rotate(tickets, 1, 10000);
    struct tls_resumption *r = session(client, server, &by_name, &resumed);
    rotate(tickets, 2, 13600);
    ck_assert(resumes(client, server, &by_name, r));
    rotate(tickets, 3, 17199); /* not yet old twice */
    ck_assert(resumes(client, server, &by_name, r));
    rotate(tickets, 4, 17200); /* now the first key is gone */
    if (_i == 0)
        ck_assert(!resumes(client, server, &by_name, r));
    tls_resumption_unref(r);
    end();
}
END_TEST

START_TEST(with_other_keys)
{
    bool resumed;
    begin(0);
    struct tls_resumption *r = session(client, server, &by_name, &resumed);
    struct tls_tickets *others = tls_tickets_create(3600);
    struct tls_context *elsewhere = make_server(others);
    ck_assert(!resumes(client, elsewhere, &by_name, r));
    rotate(others, 1, 5); /* the same name for another secret */
    rotate(tickets, 1, 5);
    struct tls_resumption *q = session(client, server, &by_name, &resumed);
    uint8_t name[16], secret[32] = {0};
    memset(name, 1, sizeof name);
    tls_tickets_rotate(others, name, secret, 6);
    tls_tickets_unref(others);
    others = tls_tickets_create(3600);
    tls_tickets_rotate(others, name, secret, 6);
    struct tls_context *liar = make_server(others);
    ck_assert(!resumes(client, liar, &by_name, q));
    tls_context_unref(liar);
    tls_context_unref(elsewhere);
    tls_tickets_unref(others);
    tls_resumption_unref(q);
    tls_resumption_unref(r);
    end();
}
END_TEST

START_TEST(without_tickets)
{
    bool resumed;
    begin(0);
    struct tls_context *none = make_server(NULL);
    ck_assert_ptr_null(session(client, none, &by_name, &resumed));
    struct tls_resumption *r = session(client, server, &by_name, &resumed);
    ck_assert(!resumes(client, none, &by_name, r));
    tls_resumption_unref(r);
    tls_context_unref(none);
    end();
}
END_TEST

/* Ours, at a server that knows no more than TLS 1.2: whole handshakes, and no trouble. */
START_TEST(client_without_tickets_of_12)
{
    bool resumed;
    begin(0);
    wolfSSL_CTX_free(server->pairs[0].ctx);
    server->pairs[0].ctx = wolfSSL_CTX_new(wolfTLSv1_2_server_method());
    struct tls_pair pair = tls_link_pair(cert_mx_ecdsa, cert_middle, key_mx_ecdsa);
    ck_assert_int_eq(wolfSSL_CTX_use_certificate_chain_buffer(
                         server->pairs[0].ctx, pair.certificate.data, (long)pair.certificate.len),
                     WOLFSSL_SUCCESS);
    ck_assert_int_eq(wolfSSL_CTX_use_PrivateKey_buffer(server->pairs[0].ctx, pair.key.data,
                                                       (long)pair.key.len, WOLFSSL_FILETYPE_PEM),
                     WOLFSSL_SUCCESS);
    struct tls_resumption *r = session(client, server, &by_name, &resumed);
    if (r != NULL)
        (void)resumes(client, server, &by_name, r);
    tls_resumption_unref(r);
    end();
}
END_TEST

/* A session that was accepted unseen does not count where something is demanded. */
START_TEST(checked_for_the_same)
{
    bool resumed;
    begin(_i);
    struct tls_connect_options any = {.check = TLS_CHECK_NONE, .sni = mx};
    struct slice others[] = {SLICE_LITERAL("mx.example.org"), SLICE_LITERAL("a.wild.example.org")};
    struct tls_connect_options two = by_name;
    two.names = others;
    two.name_count = 2;

    struct tls_resumption *unseen = session(client, server, &any, &resumed);
    ck_assert(resumes(client, server, &any, unseen));
    ck_assert(!resumes(client, server, &by_name, unseen));
    struct tls_resumption *seen = session(client, server, &by_name, &resumed);
    ck_assert(resumes(client, server, &by_name, seen));
    ck_assert(!resumes(client, server, &two, seen));
    ck_assert(resumes(client, server, &any, seen));
    if (_i == 0) {
        /* Another set of trusted CAs may think otherwise. */
        struct tls_context *doubter = tls_link_client(cert_middle);
        ck_assert(!resumes(doubter, server, &by_name, seen));
        tls_context_unref(doubter);
    }
    tls_resumption_unref(unseen);
    tls_resumption_unref(seen);
    end();
}
END_TEST

START_TEST(verified_sessions_of_bad_peers)
{
    begin(_i);
    /* A peer that gives a ticket and whose certificate is wrong: with NONE it is resumed, never more. */
    struct tls_pair bad = tls_link_pair(cert_untrusted, cert_stranger, key_untrusted);
    struct tls_context *evil = tls_link_server(&bad, 1, tickets);
    struct tls_connect_options any = {.check = TLS_CHECK_NONE, .sni = mx};
    bool resumed;
    struct tls_resumption *r = session(client, evil, &any, &resumed);
    struct tls_connect_options with = by_name;
    struct tls_link l;
    with.resume = r;
    tls_link_init(&l, client, evil, &with);
    ck_assert(!tls_link_handshake(&l));
    ck_assert_int_eq(tls_failure_of(l.client), TLS_FAILURE_UNTRUSTED);
    tls_link_finish(&l);
    tls_resumption_unref(r);
    tls_context_unref(evil);
    end();
}
END_TEST

START_TEST(many_rotations)
{
    begin(0);
    bool resumed;
    struct tls_resumption *r = NULL;
    for (uint8_t i = 1; i < 50; i++) {
        struct tls_connect_options with = by_name;
        rotate(tickets, i, (uint64_t)i * 3600);
        with.resume = r;
        struct tls_resumption *next = session(client, server, &with, &resumed);
        ck_assert_int_eq(resumed, r != NULL);
        tls_resumption_unref(r);
        r = next;
    }
    tls_resumption_unref(r);
    end();
}
END_TEST

/* The callback alone: no altered ticket passes. */
START_TEST(altered_tickets)
{
    begin(0);
    WOLFSSL *ssl = wolfSSL_new(server->pairs[0].ctx);
    byte name[16], iv[16], mac[32], ticket[100], copy[100];
    int len;
    memset(ticket, 'x', sizeof ticket);
    ck_assert_int_eq(tls_tickets_crypt(ssl, name, iv, mac, 1, ticket, sizeof ticket, &len, tickets),
                     WOLFSSL_TICKET_RET_OK);
    ck_assert_int_eq(len, sizeof ticket);
    byte *parts[] = {name, iv, mac, ticket};
    size_t sizes[] = {sizeof name, 12, 16, sizeof ticket};
    for (size_t part = 0; part < 4; part++) {
        for (size_t at = 0; at < sizes[part]; at++) {
            parts[part][at] ^= 0x20;
            memcpy(copy, ticket, sizeof copy);
            ck_assert_int_eq(
                tls_tickets_crypt(ssl, name, iv, mac, 0, copy, sizeof copy, &len, tickets),
                WOLFSSL_TICKET_RET_REJECT);
            parts[part][at] ^= 0x20;
        }
    }
    memcpy(copy, ticket, sizeof copy);
    ck_assert_int_eq(tls_tickets_crypt(ssl, name, iv, mac, 0, copy, sizeof copy, &len, tickets),
                     WOLFSSL_TICKET_RET_OK);
    ck_assert_int_eq(copy[99], 'x');
    wolfSSL_free(ssl);
    end();
}
END_TEST

Suite *tls_resume_suite(void)
{
    Suite *suite = suite_create("tls_resume");
    TCase *tc = tcase_create("tls_resume");
    tcase_add_loop_test(tc, again_and_again, 0, 2);
    tcase_add_loop_test(tc, at_another_context, 0, 2);
    tcase_add_loop_test(tc, after_rotation, 0, 2);
    tcase_add_test(tc, with_other_keys);
    tcase_add_test(tc, without_tickets);
    tcase_add_test(tc, client_without_tickets_of_12);
    tcase_add_loop_test(tc, checked_for_the_same, 0, 2);
    tcase_add_loop_test(tc, verified_sessions_of_bad_peers, 0, 2);
    tcase_add_test(tc, many_rotations);
    tcase_add_test(tc, altered_tickets);
    suite_add_tcase(suite, tc);
    return suite;
}
