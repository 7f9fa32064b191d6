#include "remote_tls.h"

#include <check.h>

#include "base_assert.h"

struct tls_pair remote_tls_pair(const char *certificate, const char *issuer, const char *key)
{
    static struct buf chains[32];
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

struct tls_context *remote_tls_server(const struct tls_pair *pair, struct tls_tickets *tickets)
{
    struct buf why = {0};
    struct tls_context *c;

    ck_assert(tls_library_init());
    c = tls_server_context_create(
        &(struct tls_server_options){.pairs = pair, .pair_count = 1, .tickets = tickets}, &why);
    ck_assert_msg(c != NULL, "%.*s", SLICE_ARG(buf_slice(&why)));
    return c;
}

struct tls_context *remote_tls_client(const char *ca)
{
    struct buf why = {0};
    struct tls_context *c;

    ck_assert(tls_library_init());
    c = tls_client_context_create(
        &(struct tls_client_options){.ca = ca != NULL ? slice_str(ca) : SLICE_NULL}, &why);
    ck_assert_msg(c != NULL, "%.*s", SLICE_ARG(buf_slice(&why)));
    return c;
}
