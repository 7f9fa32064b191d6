#include "tls.h"

#include "tls_certs.h"
#include "tls_link.h"
#include "tls_test.h"

START_TEST(smoke)
{
    struct tls_pair pair = tls_link_pair(cert_mx_ecdsa, cert_middle, key_mx_ecdsa);
    struct tls_tickets *tickets = tls_tickets_create(3600);
    struct tls_context *server = tls_link_server(&pair, 1, tickets);
    struct tls_context *client = tls_link_client(cert_root);
    struct slice name = SLICE_LITERAL("mx.example.org");
    struct tls_connect_options options = {
        .check = TLS_CHECK_NAME, .sni = name, .names = &name, .name_count = 1};
    struct tls_link l;
    tls_link_init(&l, client, server, &options);
    bool good = tls_link_handshake(&l);
    printf("# client %d %s server %d %s\n", l.client_result, tls_error(l.client), l.server_result,
           tls_error(l.server));
    ck_assert(good);
    struct tls_facts facts;
    tls_facts(l.client, &facts);
    printf("# %s %s %s %u %d\n", facts.version, facts.cipher, facts.group, facts.bits,
           facts.verified);
    ck_assert(tls_link_carry(&l, true, SLICE_LITERAL("EHLO")));
    ck_assert(tls_link_carry(&l, false, SLICE_LITERAL("250")));
    struct tls_resumption *r = tls_resumption_take(l.client);
    ck_assert_ptr_nonnull(r);
    tls_link_finish(&l);
    options.resume = r;
    tls_link_init(&l, client, server, &options);
    ck_assert(tls_link_handshake(&l));
    ck_assert(tls_link_carry(&l, false, SLICE_LITERAL("250")));
    tls_facts(l.client, &facts);
    printf("# %s %s %s %u %d %d\n", facts.version, facts.cipher, facts.group, facts.bits,
           facts.verified, facts.resumed);
    ck_assert(tls_link_carry(&l, true, SLICE_LITERAL("EHLO")));
    tls_link_finish(&l);
    tls_resumption_unref(r);
    tls_context_unref(server);
    tls_context_unref(client);
    tls_tickets_unref(tickets);
}
END_TEST

Suite *tls_suite(void)
{
    Suite *suite = suite_create("tls");
    TCase *tc = tcase_create("tls");
    tcase_add_test(tc, smoke);
    suite_add_tcase(suite, tc);
    return suite;
}
