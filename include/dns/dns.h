/*
 * dns: what a mail server asks of the DNS, without waiting: MX hosts, addresses. One resolver a shard,
 * with a cache by TTL. Behind it stands c-ares over io, or a simulated zone; callers cannot tell.
 *
 *     q->done = resolved; q->context = me;
 *     dns_query_mx(dns, q, domain);          asks
 *     ... q->status, q->answer in done ...
 *     dns_query_finish(q);
 *
 * `done` is called exactly once, never inside dns_query_*(). Equal questions under way are asked once.
 */
#ifndef DNS_H
#define DNS_H

#include "base_codec.h"
#include "base_list.h"
#include "base_slice.h"

struct dns;

enum dns_status {
    DNS_OK,
    DNS_NO_DATA,   /* the name exists, such records do not */
    DNS_NO_NAME,   /* NXDOMAIN */
    DNS_BAD_NAME,  /* not a name that can be asked for: as permanent as NXDOMAIN */
    DNS_TEMPORARY, /* SERVFAIL, timeout, no server answers: ask again later */
};

enum { DNS_NAME_MAX = 254 };

struct dns_mx {
    uint16_t preference;
    char host[DNS_NAME_MAX]; /* lower case, no final dot; "" is the null MX (RFC 7505) */
};

/* Shared by all that asked the same; counted by the cache. */
struct dns_answer {
    uint32_t mx_count; /* sorted by preference, equal ones in the server's order */
    uint32_t address_count;
    const struct dns_mx *mx;
    const struct ip_addr *addresses; /* IPv6 and IPv4, each family in the server's order */
};

struct dns_query {
    void (*done)(struct dns_query *q);
    enum dns_status status;
    const struct dns_answer *answer; /* only with DNS_OK; good until dns_query_finish() */
    struct list node;                /* the resolver's */
    void *entry;
};

/* The question's text is copied. */
void dns_query_mx(struct dns *d, struct dns_query *q, struct slice domain);
/* A and AAAA of a host. OK if either has addresses; TEMPORARY if one failed and the other has none. */
void dns_query_addresses(struct dns *d, struct dns_query *q, struct slice host);
/* Releases the answer; also gives up a question that is still open (done is not called then). */
void dns_query_finish(struct dns_query *q);

void dns_destroy(struct dns *d); /* no query may be open */

struct dns_counters {
    uint64_t asked, cache_hits, sent, failed;
    uint64_t cached;
};
void dns_counters(const struct dns *d, struct dns_counters *out);

#endif
