/* remote_tls: TLS contexts of both ends, of the certificates in tests/tls. */
#ifndef REMOTE_TLS_H
#define REMOTE_TLS_H

#include "../tls/tls_certs.h"
#include "tls_context.h"

/* One pair; `issuer` (NULL: none) follows the certificate in its chain. Good until the program ends. */
struct tls_pair remote_tls_pair(const char *certificate, const char *issuer, const char *key);
struct tls_context *remote_tls_server(const struct tls_pair *pair, struct tls_tickets *tickets);
struct tls_context *remote_tls_client(const char *ca); /* NULL: nobody is trusted */

#endif
