/*
 * sts: MTA-STS (RFC 8461): which domains have said, over HTTPS, that mail for them goes over TLS to the
 * hosts they name and to nobody else.
 *
 *     q->done = told; q->context...           (q is embedded in its owner)
 *     sts_lookup(sts, q, domain);             asks
 *     ... q->policy in done: NULL, testing or enforce ...
 *     sts_query_finish(q);
 *
 * `done` is called exactly once, never inside sts_lookup(). Most lookups are answered from memory: what
 * is known of a domain is trusted for some minutes, then its TXT record is asked for again, and only if
 * its id is another the policy is fetched, by libcurl on a helper thread. A policy that was fetched once
 * holds until its max_age is over, whatever happens to DNS and HTTPS meanwhile (3.3), through restarts too:
 * <state>/sts/DOMAIN. It is fetched anew in the background before it ends.
 *
 * One a shard. A domain is asked for where its MX is looked up, on the shard of its hash
 * (hash_stable(domain) % shards): so nothing is shared, and each policy has one place. Asked elsewhere it
 * works too, but is not kept on disk.
 */
#ifndef STS_H
#define STS_H

#include <stdatomic.h>

#include "base_list.h"
#include "base_wheel.h"
#include "dns.h"
#include "io.h"
#include "sts_policy.h"
#include "work.h"

struct sts;

/* Why there is no policy although the domain's TXT record announces one, or why the policy is an old one:
 * a result type of RFC 8460 4.3.2.2 each. */
enum sts_problem {
    STS_PROBLEM_NONE,
    STS_PROBLEM_FETCH,   /* sts-policy-fetch-error */
    STS_PROBLEM_INVALID, /* sts-policy-invalid */
    STS_PROBLEM_WEBPKI,  /* sts-webpki-invalid */
};

struct sts_query {
    void (*done)(struct sts_query *q);
    /* Mode testing or enforce, never none; NULL: none is to be applied. Good until sts_query_finish():
     * sts_policy_copy() what is to live longer or to go to another shard. */
    const struct sts_policy *policy;
    enum sts_problem problem; /* of the last fetch */
    char reason[128]; /* words about the problem, failure-reason-code of a report; may be empty */
    struct list node; /* the rest is sts's */
    struct sts *sts;
    void *held;
};

/* The domain in any case; the text is copied. */
void sts_lookup(struct sts *s, struct sts_query *q, struct slice domain);
/* Releases the policy; also gives up a lookup that is still open (done is not called then). */
void sts_query_finish(struct sts_query *q);
/* A delivery has failed because of the policy: the next lookup asks for the TXT record again, since the
 * domain may have changed it meanwhile (5.1). On any shard. */
void sts_doubt(struct sts *s, struct slice domain);

/* ---- life ----------------------------------------------------------------------------------- */

/* What fetches a policy: on a helper thread, or in work_door_step() of a pool without threads. */
struct sts_fetch {
    char host[DNS_NAME_MAX + 8]; /* mta-sts.DOMAIN */
    uint16_t port;
    const struct ip_addr *addresses; /* of the host; at least one */
    size_t address_count;
    const char *ca;             /* PEM bundle; NULL: the system's */
    const _Atomic bool *cancel; /* set: end soon */
    /* The answer. */
    struct sts_policy
        *policy; /* NULL: see problem; else the caller's, to be freed with mem_free() */
    enum sts_problem problem;
    char reason[128];
};
typedef void sts_fetcher(void *context, struct sts_fetch *fetch);
/* That of production: GET https://mta-sts.DOMAIN/.well-known/mta-sts.txt (3.3). */
sts_fetcher sts_fetch_https;

struct sts_options {
    struct io *io;
    struct wheel *wheel;
    struct dns *dns;
    struct work_door *door; /* of the pool that waits for the network */
    const char *state;      /* directory; NULL: policies do not outlive the process */
    const char *ca;
    uint16_t https_port; /* 0: 443; tests have no right to that */
    unsigned shard, shards;
    uint64_t seed;
    /* A doubt about a domain of another shard, to be told there: to sts_doubt(), which then takes no memory
     * over; `domain` is to be freed with mem_free(). NULL: they are not passed on. */
    void (*pass_doubt)(void *context, unsigned shard, char *domain);
    void *context;
    sts_fetcher *fetch; /* NULL: sts_fetch_https */
    void *fetch_context;
    uint32_t
        policies_max; /* 0: 16,384, all shards together; beyond, the one used longest ago is forgotten */
    uint64_t bytes_max; /* 0: 32 MiB, likewise */
};

/* Keeps nothing that the options point to but io, wheel, dns, door and the context. */
struct sts *sts_create(const struct sts_options *options);
/* Another bundle (or NULL) from the next fetch on: after a reload. */
void sts_set_ca(struct sts *s, const char *ca);
/* Start-up only: reads the policies of this shard from disk; what is no policy there is removed. False
 * with a line in *out_error if the directory cannot be used. */
bool sts_open(struct sts *s, struct buf *out_error);
/* When nobody looks up any more: what is still open is not answered, lest mail goes out without the policy
 * that it should have waited for. Fetches are cut off. Loop until idle. */
void sts_stop(struct sts *s);
bool sts_idle(const struct sts *s);
/* Idle, and no query open; or, with crashed (simulator), in any state and without a call into io. NULL is
 * fine. */
void sts_destroy(struct sts *s, bool crashed);

struct sts_counters {
    uint64_t lookups, cache_hits; /* asked for; answered without a question to anybody */
    uint64_t policies;            /* known now */
    uint64_t fetches, fetch_failures;
    uint64_t withdrawn; /* mode none has come */
    uint64_t expired;   /* run out without another */
};
void sts_counters(const struct sts *s, struct sts_counters *out);

#endif
