/* dns_resolver_priv: the resolver of production and its sockets. */
#ifndef DNS_RESOLVER_PRIV_H
#define DNS_RESOLVER_PRIV_H

#include <ares.h>

#include "dns_priv.h"
#include "dns_resolver.h"

struct dns_resolver {
    struct dns dns;
    ares_channel channel;
    struct wheel_timer timer; /* c-ares' own: the next try */
    uint64_t timeout_ms;
    struct list questions; /* with c-ares */
    struct list sockets;
    bool stopping;
};

/* ---- dns_resolver.c ------------------------------------------------------------------------- */

/* What c-ares was told may have changed when it next wants to be called. */
void dns_resolver_rearm(struct dns_resolver *r);

/* ---- dns_trust.c ---------------------------------------------------------------------------- */

/* Are these servers to be believed? The channel has them already. */
bool dns_trust(struct dns_resolver *r, const struct dns_resolver_options *options);
/* Does a resolv.conf say "options trust-ad"? */
bool dns_trust_said(struct slice text);

/* ---- dns_socket.c --------------------------------------------------------------------------- */

extern const struct ares_socket_functions dns_socket_functions; /* user data: the resolver */
/* c-ares' ARES_OPT_SOCK_STATE_CB. */
void dns_socket_state(void *resolver, ares_socket_t fd, int readable, int writable);

#endif
