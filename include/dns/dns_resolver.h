/*
 * dns_resolver: the resolver of production: c-ares for the protocol, io for sockets and time.
 *
 * The AD bit of its servers is believed if they are on this machine, all of them by loopback addresses, or
 * if somebody says that they validate and that the way to them is safe: `dnssec`, or trust-ad among the
 * options of resolv.conf(5) where the servers come from there.
 */
#ifndef DNS_RESOLVER_H
#define DNS_RESOLVER_H

#include "base_wheel.h"
#include "dns.h"
#include "io.h"

enum dns_dnssec { DNS_DNSSEC_AUTO, DNS_DNSSEC_YES, DNS_DNSSEC_NO };

struct dns_resolver_options {
    const struct io_addr *servers; /* none: /etc/resolv.conf, read at creation */
    size_t server_count;
    uint64_t timeout_ms; /* for a question in all, all servers and tries */
    uint32_t cache_max;  /* answers; 0: 65536 */
    enum dns_dnssec dnssec;
    const char
        *resolv_conf; /* NULL: /etc/resolv.conf. Read for trust-ad only: c-ares has its own way */
};

/* NULL with a line in *out_error. */
struct dns *dns_resolver_create(struct io *io, struct wheel *wheel,
                                const struct dns_resolver_options *options, struct buf *out_error);
/* Ends what is under way: open queries get DNS_TEMPORARY. Then loop until idle, then dns_destroy(). */
void dns_resolver_stop(struct dns *d);
bool dns_resolver_idle(const struct dns *d);

#endif
