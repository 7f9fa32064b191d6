/*
 * tls_hello: what of a ClientHello chooses a certificate (RFC 8446 4.1.2, RFC 5246 7.4.1.2). Pure. It
 * accepts what it can read and leaves every complaint to the TLS library behind it.
 */
#ifndef TLS_HELLO_PRIV_H
#define TLS_HELLO_PRIV_H

#include "base_buf.h"
#include "base_slice.h"

enum { TLS_HELLO_SIZE_MAX = 16384 + 4 }; /* larger ones are not looked into */

struct tls_hello {
    struct buf sni; /* lower case, without a final dot; empty: none, or not a host name */
    bool tls13;     /* offered */
    bool extended_master_secret; /* offered (RFC 7627) */
    bool rsa, ecdsa, ed25519;    /* signatures that it can check, with a suite for them */
};

/* How many more bytes of the stream are needed until the first handshake message is whole: 0 when it is, or
 * when it will never be one that can be looked into. Never asks beyond the current record. */
size_t tls_hello_missing(struct slice stream);
/* False: not a ClientHello, or malformed; *out is then empty, as it is after tls_hello_finish(). */
bool tls_hello_parse(struct slice stream, struct tls_hello *out);
void tls_hello_finish(struct tls_hello *h);

#endif
