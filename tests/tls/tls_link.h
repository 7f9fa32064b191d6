/*
 * tls_link: a client and a server with nothing between them but two queues, for tests and bench_tls.
 */
#ifndef TLS_LINK_H
#define TLS_LINK_H

#include "base_buf.h"
#include "tls.h"

struct tls_link {
    struct tls *client, *server;
    struct buf to_server, to_client;
    size_t piece; /* bytes handed over at a time; 0: all there are */
    size_t taken; /* by either side, for those who count */
    enum tls_result client_result, server_result;
};

/* Makes both ends; contexts stay the caller's. */
void tls_link_init(struct tls_link *l, struct tls_context *client, struct tls_context *server,
                   const struct tls_connect_options *options);
void tls_link_finish(struct tls_link *l);
/* Until both are done, or nothing moves any more. True: both TLS_OK. */
bool tls_link_handshake(struct tls_link *l);
/* Writes at one end and reads at the other until `text` has arrived there whole. */
bool tls_link_carry(struct tls_link *l, bool from_client, struct slice text);
/* Reads at one end what the queue holds; appends to *out. */
enum tls_result tls_link_read(struct tls_link *l, bool at_client, struct buf *out);

/* Contexts of the usual kind, from PEM texts. */
struct tls_pair tls_link_pair(const char *certificate, const char *issuer, const char *key);
struct tls_context *tls_link_server(const struct tls_pair *pairs, size_t count,
                                    struct tls_tickets *tickets);
struct tls_context *tls_link_client(const char *ca);
/* One that knows no TLS 1.3, and these ciphers only (wolfSSL's names; NULL: its own). It takes tickets, which
 * ours do not (tls_client_context_create() says why), so none of them must be refused. */
struct tls_context *tls_link_client_12(const char *ca, const char *ciphers);

#endif
