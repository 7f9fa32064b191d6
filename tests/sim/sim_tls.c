/*
 * sim_tls: the contexts of a world. Mostly tls_null, whose bytes are the seed's as everything else; on some
 * seeds wolfSSL's own handshakes and records, whose bytes are chance.
 */
#include "net_test_pair.h"
#include "sim_mail.h"

static const struct tls_pair pair = {.certificate_file = "certificate",
                                     .key_file = "key",
                                     .certificate = SLICE_INIT(NET_TEST_CERTIFICATE),
                                     .key = SLICE_INIT(NET_TEST_KEY)};
static const struct tls_pair heavy_pair = {.certificate_file = "certificate",
                                           .key_file = "key",
                                           .certificate = SLICE_INIT(NET_TEST_HEAVY_CERTIFICATE),
                                           .key = SLICE_INIT(NET_TEST_HEAVY_KEY)};

void sim_tls_init(struct world *w, struct sim_tls *t)
{
    const struct tls_pair *mx = w->plan.tls == SIM_TLS_HEAVY ? &heavy_pair : &pair;
    bool null = w->plan.tls == SIM_TLS_NULL;
    const struct tls_server_options server = {.pairs = mx, .pair_count = 1, .null = null};
    const struct tls_server_options sink = {.pairs = &pair, .pair_count = 1, .null = null};
    const struct tls_client_options client = {.ca = mx->certificate, .null = null};
    struct buf why = {0};

    if (w->plan.tls == SIM_TLS_OFF)
        return;
    WORLD_CHECK(w, null || tls_library_init(), "the TLS library does not start");
    t->mx_server = tls_server_context_create(&server, &why);
    t->mx_client = tls_client_context_create(&client, &why);
    t->sink = tls_server_context_create(&sink, &why);
    t->client = tls_client_context_create(&client, &why);
    WORLD_CHECK(w, t->mx_server && t->mx_client && t->sink && t->client, "no contexts: %.*s",
                SLICE_ARG(buf_slice(&why)));
    for (size_t i = 0; i < LISTENERS_MAX; i++)
        t->listeners[i] = t->mx_server;
    buf_finish(&why);
}

void sim_tls_finish(struct sim_tls *t)
{
    tls_context_unref(t->mx_server);
    tls_context_unref(t->mx_client);
    tls_context_unref(t->sink);
    tls_context_unref(t->client);
}
