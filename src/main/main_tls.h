/*
 * main_tls: from the files that a configuration names to what handshakes work with. Reads certificates,
 * keys, OCSP responses and CAs; says what is wrong with them by the line of the setting that names them.
 *
 * Keys are read where the process still may, before it gives up root. After a reload was asked for it is
 * the server's user who reads: main_tls_warn_reload() says beforehand what will not work then.
 */
#ifndef MAIN_TLS_H
#define MAIN_TLS_H

#include "conf.h"
#include "main_privileges.h"
#include "tls_context.h"

/* Contexts made of one configuration; references. Those of listeners that need the same are one. */
struct main_tls {
    struct tls_context **listeners; /* as many as the configuration has; NULL: no TLS there */
    size_t listener_count;
    struct tls_context *client; /* for deliveries */
};

/* False if anything but warnings was appended to `errors`: then *out is untouched. A certificate that has
 * expired is a warning: a server that starts with it is better than none, and most of its peers do not look.
 * `tickets` may be NULL: no resumption. */
bool main_tls_load(const struct conf *conf, const struct main_user *user,
                   struct tls_tickets *tickets, struct main_tls *out, struct conf_errors *errors);
void main_tls_finish(struct main_tls *tls); /* also fine on zeroed memory */

/* As the server's user: appends a warning for each file that a reload could not read. */
void main_tls_warn_reload(const struct conf *conf, struct conf_errors *errors);

/* Some of what the process holds in memory is secret: no core dumps, no debugger of the same user. */
bool main_tls_has_secrets(const struct conf *conf);

#endif
