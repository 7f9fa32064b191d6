/*
 * dns: what a mail server asks of the DNS, without waiting: MX hosts, addresses, TLSA, TXT. One resolver
 * a shard, with a cache by TTL. Behind it stands c-ares over io, or a simulated zone; callers cannot tell.
 *
 *     q->done = resolved; q->context = me;
 *     dns_query_mx(dns, q, domain);          asks
 *     ... q->status, q->answer in done ...
 *     dns_query_finish(q);
 *
 * `done` is called exactly once, never inside dns_query_*(). Equal questions under way are asked once.
 *
 * We do not validate DNSSEC: a resolver that we trust does, and says so with the AD bit (RFC 6840 5.7, 5.8).
 * What is `secure` was said with that bit by such a resolver (dns_is_trusted()), along the whole chain of
 * CNAMEs, and is to be believed also where it is an absence. What a resolver finds to be bogus comes as
 * SERVFAIL, so as DNS_TEMPORARY. Whose bit is believed: dns_resolver.h.
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

/* RFC 6698 2.1, as it came: whether it can be used is for others to say. */
struct dns_tlsa {
    uint8_t usage, selector, matching;
    struct slice data;
};

/* Shared by all that asked the same; counted by the cache. */
struct dns_answer {
    uint32_t mx_count; /* sorted by preference, equal ones in the server's order */
    uint32_t address_count;
    uint32_t tlsa_count;
    uint32_t txt_count;
    const struct dns_mx *mx;
    const struct ip_addr *addresses; /* IPv6 and IPv4, each family in the server's order */
    const struct dns_tlsa *tlsa;
    const struct slice *txt; /* each record's strings joined (RFC 7208 3.3, RFC 8461 3.1) */
    const char *canonical; /* where the CNAMEs led; the name that was asked for if there are none */
};

struct dns_query {
    void (*done)(struct dns_query *q);
    enum dns_status status;
    bool secure; /* validated, be it an answer or an absence; never with DNS_TEMPORARY */
    const struct dns_answer *answer; /* only with DNS_OK; good until dns_query_finish() */
    struct list node;                /* the resolver's */
    void *entry;
};

/* The question's text is copied. */
void dns_query_mx(struct dns *d, struct dns_query *q, struct slice domain);
/* A and AAAA of a host. OK if either has addresses; TEMPORARY if one failed and the other has none. Secure
 * if the addresses that there are came so. */
void dns_query_addresses(struct dns *d, struct dns_query *q, struct slice host);
/* The name's own CNAME, not followed further: `canonical` is its target. For who has to know whether the
 * first step of a chain is secure where the whole is not (RFC 7672 2.2.2). */
void dns_query_alias(struct dns *d, struct dns_query *q, struct slice name);
/* TLSA of a name such as _25._tcp.mx.example.org (RFC 6698 3). */
void dns_query_tlsa(struct dns *d, struct dns_query *q, struct slice name);
void dns_query_txt(struct dns *d, struct dns_query *q, struct slice name);
/* Releases the answer; also gives up a question that is still open (done is not called then). */
void dns_query_finish(struct dns_query *q);

/* Can anything be secure at all? */
bool dns_is_trusted(const struct dns *d);

void dns_destroy(struct dns *d); /* no query may be open */

struct dns_counters {
    uint64_t asked, cache_hits, sent, failed;
    uint64_t cached;
};
void dns_counters(const struct dns *d, struct dns_counters *out);

#endif
