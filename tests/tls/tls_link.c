#include "tls_link.h"

#include <stdio.h>

#include "tls_priv.h"

void tls_link_init(struct tls_link *l, struct tls_context *client, struct tls_context *server,
                   const struct tls_connect_options *options)
{
    static const struct tls_connect_options none;
    *l = (struct tls_link){.client_result = TLS_WANT_INPUT, .server_result = TLS_WANT_INPUT};
    buf_init(&l->to_server, 0);
    buf_init(&l->to_client, 0);
    l->client = tls_connect(client, options != NULL ? options : &none);
    l->server = tls_accept(server);
}

void tls_link_finish(struct tls_link *l)
{
    tls_free(l->client);
    tls_free(l->server);
    buf_finish(&l->to_server);
    buf_finish(&l->to_client);
}

/* What one end is shown now, and what of it was taken. */
static struct slice shown(const struct tls_link *l, struct buf *queue)
{
    struct slice all = buf_slice(queue);
    return l->piece > 0 ? slice_head(all, l->piece) : all;
}

static void consume(struct tls_link *l, struct buf *queue, struct slice before, struct slice after)
{
    l->taken += before.len - after.len;
    buf_consume(queue, before.len - after.len);
}

static bool step(struct tls_link *l, struct tls *t, enum tls_result *result, struct buf *in,
                 struct buf *out)
{
    if (*result != TLS_WANT_INPUT)
        return false;
    struct slice before = shown(l, in), after = before;
    size_t out_before = buf_len(out);
    *result = tls_handshake(t, &after, out);
    consume(l, in, before, after);
    return *result != TLS_WANT_INPUT || after.len < before.len || buf_len(out) > out_before;
}

bool tls_link_handshake(struct tls_link *l)
{
    bool moved = true;
    while (moved) {
        moved = step(l, l->client, &l->client_result, &l->to_client, &l->to_server);
        moved = step(l, l->server, &l->server_result, &l->to_server, &l->to_client) || moved;
    }
    bool good = l->client_result == TLS_OK && l->server_result == TLS_OK;
    if (!good)
        fprintf(stderr, "# client: %d %s; server: %d %s\n", l->client_result, tls_error(l->client),
                l->server_result, tls_error(l->server));
    return good;
}

enum tls_result tls_link_read(struct tls_link *l, bool at_client, struct buf *out)
{
    struct buf *in = at_client ? &l->to_client : &l->to_server;
    struct buf *back = at_client ? &l->to_server : &l->to_client;
    struct tls *t = at_client ? l->client : l->server;
    uint8_t data[20000];
    for (;;) {
        struct slice before = shown(l, in), after = before;
        size_t count = 0;
        enum tls_result result = tls_read(t, &after, data, sizeof data, &count, back);
        ASSERT((result == TLS_OK) == (count > 0));
        (void)buf_append(out, data, count);
        consume(l, in, before, after);
        if (result != TLS_OK && (result != TLS_WANT_INPUT || buf_len(in) == 0))
            return result;
    }
}

bool tls_link_carry(struct tls_link *l, bool from_client, struct slice text)
{
    struct buf got;
    buf_init(&got, 0);
    bool good = tls_write(from_client ? l->client : l->server, text,
                          from_client ? &l->to_server : &l->to_client);
    good = good && tls_link_read(l, !from_client, &got) == TLS_WANT_INPUT
           && slice_equal(buf_slice(&got), text);
    buf_finish(&got);
    return good;
}

/* ---- contexts ------------------------------------------------------------------------------------ */

struct tls_pair tls_link_pair(const char *certificate, const char *issuer, const char *key)
{
    static struct buf chains[32]; /* kept until the program ends: PEM texts must outlive the pair */
    static size_t count;
    struct buf *chain = &chains[count++ % ARRAY_LEN(chains)];
    buf_finish(chain);
    buf_init(chain, 0);
    (void)buf_append_str(chain, certificate);
    if (issuer != NULL)
        (void)buf_append_str(chain, issuer);
    return (struct tls_pair){.certificate_file = "cert.pem",
                             .key_file = "key.pem",
                             .certificate = buf_slice(chain),
                             .key = slice_str(key)};
}

static struct tls_context *complain(struct tls_context *c, struct buf *why)
{
    if (c == NULL)
        fprintf(stderr, "# %.*s\n", SLICE_ARG(buf_slice(why)));
    ASSERT(c != NULL);
    buf_finish(why);
    return c;
}

struct tls_context *tls_link_server(const struct tls_pair *pairs, size_t count,
                                    struct tls_tickets *tickets)
{
    struct buf why;
    buf_init(&why, 0);
    bool ready = tls_library_init();
    ASSERT(ready);
    struct tls_server_options options = {.pairs = pairs, .pair_count = count, .tickets = tickets};
    return complain(tls_server_context_create(&options, &why), &why);
}

struct tls_context *tls_link_client(const char *ca)
{
    struct buf why;
    buf_init(&why, 0);
    bool ready = tls_library_init();
    ASSERT(ready);
    struct tls_client_options options = {.ca = ca != NULL ? slice_str(ca) : SLICE_NULL};
    return complain(tls_client_context_create(&options, &why), &why);
}

struct tls_context *tls_link_client_12(const char *ca, const char *ciphers)
{
    struct tls_context *c = tls_link_client(ca);
    wolfSSL_CTX_free(c->client);
    c->client = wolfSSL_CTX_new(wolfTLSv1_2_client_method());
    ASSERT(c->client != NULL);
    int status =
        ciphers != NULL ? wolfSSL_CTX_set_cipher_list(c->client, ciphers) : WOLFSSL_SUCCESS;
    ASSERT(status == WOLFSSL_SUCCESS);
    (void)wolfSSL_CTX_UseSessionTicket(c->client);
    wolfSSL_CTX_set_verify(c->client, WOLFSSL_VERIFY_PEER, tls_verify_peer);
    return c;
}
