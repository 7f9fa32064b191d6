/*
 * delivery_tls_priv: what is asked of the connections to next hops, by whom, and how they keep it.
 *
 *     domain's owner  struct delivery_demand: what the domain's DNS, its MTA-STS policy and the message
 *                     itself ask. A word of the site's key, so one site's connections are alike
 *     site            for each host a struct delivery_plan, of the demand, the route's `tls`, and the
 *                     host's TLSA records (delivery_tls_host.c, delivery_tls_plan.c). No plan, no
 *                     connection: the host is refused, with the reason
 *     connection      carries out the plan of its host (delivery_smtp_tls.c)
 *
 * What is known of hosts across sessions (TLS that does not work, a session to resume) is kept by shard
 * (delivery_tls_memory.c). docs/tls.md has the table of what happens when.
 */
#ifndef DELIVERY_TLS_PRIV_H
#define DELIVERY_TLS_PRIV_H

#include "base_hash.h"
#include "delivery.h"
#include "sts_policy.h"
#include "tls.h"

struct delivery_reason;

enum delivery_tls_times {
    DELIVERY_TLS_NOTE_MS = 3600 * 1000,       /* what has failed is not tried again */
    DELIVERY_TLS_RESUME_MS = 2 * 3600 * 1000, /* what a full handshake has shown is believed */
    DELIVERY_TLS_KNOWN_MAX = 2048,            /* hosts that something is remembered about */
};

/* ---- what a task asks (delivery_tls_demand.c) ----------------------------------------------- */

struct delivery_demand {
    bool secure;     /* the MX records, or that there are none, are validated: DANE holds */
    bool require;    /* REQUIRETLS (RFC 8689 2) */
    bool ignore;     /* TLS-Required: No (RFC 8689 3) */
    uint64_t policy; /* a hash of the domain's MTA-STS policy; 0: none is applied */
};
/* "-" asks nothing; else letters: s, r, n, and p with the hash. */
void delivery_demand_word(const struct delivery_demand *demand, struct buf *out);
struct delivery_demand delivery_demand_parse(struct slice word); /* of a key of ours */
/* What the message asks by itself. */
struct delivery_demand delivery_demand_of(const struct delivery_task *t);
uint64_t delivery_demand_hash(const struct sts_policy *policy);
/* The route's `tls`, as far as the message leaves it that. */
enum conf_route_tls delivery_demand_mode(const struct delivery_demand *demand,
                                         const struct conf_route *route);

/* ---- what a host's connections are to do (delivery_tls_plan.c) ------------------------------ */

enum delivery_level {
    DELIVERY_LEVEL_PLAIN,   /* no STARTTLS */
    DELIVERY_LEVEL_MAY,     /* where it is offered and works; any certificate */
    DELIVERY_LEVEL_ENCRYPT, /* never in the clear; any certificate */
    DELIVERY_LEVEL_VERIFY,  /* a trusted CA, and the host's name */
    DELIVERY_LEVEL_DANE,    /* the TLSA records */
};

enum delivery_by { /* who asks for it */
                   DELIVERY_BY_NOBODY,
                   DELIVERY_BY_ROUTE,
                   DELIVERY_BY_DANE,
                   DELIVERY_BY_STS,
                   DELIVERY_BY_REQUIRETLS,
                   DELIVERY_BY_LOGIN,
};

enum delivery_tlsa {                         /* what the DNS says of a host's TLSA records */
                     DELIVERY_TLSA_NONE,     /* none, none that is secure, or nobody has asked */
                     DELIVERY_TLSA_USABLE,   /* some are */
                     DELIVERY_TLSA_UNUSABLE, /* secure, but none is for us: encrypt (RFC 7672 2.1) */
                     DELIVERY_TLSA_FAILED,   /* no answer, or a bogus one */
};

struct delivery_plan_question {
    enum conf_route_tls mode; /* delivery_demand_mode() */
    struct delivery_demand demand;
    const struct sts_policy *policy; /* with demand.policy */
    bool by_mx;
    bool login;        /* we are to tell it a password */
    bool able;         /* we have what TLS needs */
    bool implicit;     /* TLS from the first byte */
    struct slice host; /* the site's name for it */
    enum delivery_tlsa tlsa;
    struct slice base; /* USABLE: the TLSA base domain */
    const struct dns_answer *records;
};

/* Counted; a connection holds that of its host for as long as it lives. Nothing in it changes. */
struct delivery_plan {
    uint32_t references;
    uint8_t level; /* enum delivery_level */
    uint8_t by;    /* enum delivery_by */
    bool testing;  /* an MTA-STS policy is only watched: its results are reported */
    bool require;  /* the peer has to offer REQUIRETLS, and a failure of TLS is final */
    bool allowed;  /* the MTA-STS policy, if there is one, names the host */
    bool by_mx;
    uint32_t tlsa_count;
    uint64_t fingerprint; /* of what makes a session acceptable: resumption is for equals */
    const struct tls_tlsa *tlsa;
    struct slice host;
    struct slice base; /* SNI; with DANE the TLSA base domain, else the host; empty: an address */
};

/* NULL, and *out_why: the host is not to be used. */
struct delivery_plan *delivery_plan_create(const struct delivery_plan_question *q,
                                           struct delivery_reason *out_why);
struct delivery_plan *delivery_plan_hold(struct delivery_plan *plan);
void delivery_plan_drop(struct delivery_plan *plan); /* NULL is fine */
/* USABLE if one of the records is (RFC 7672 3.1: usages 2 and 3), else UNUSABLE. */
enum delivery_tlsa delivery_plan_tlsa(const struct dns_answer *records);
const char *delivery_by_words(
    enum delivery_by by); /* behind "TLS is required": ", by DANE"; may be "" */

/* ---- what is known of hosts (delivery_tls_memory.c) ----------------------------------------- */

struct delivery_tls_memory {
    struct hash_table table;
    struct list by_use; /* oldest first */
    uint32_t count;
};
void delivery_tls_memory_init(struct delivery_tls_memory *m);
void delivery_tls_memory_finish(struct delivery_tls_memory *m);
enum delivery_tls_note {
    DELIVERY_TLS_BROKEN,     /* TLS does not work */
    DELIVERY_TLS_UNVERIFIED, /* it does, but what an MTA-STS policy in testing mode asks is not met */
    DELIVERY_TLS_BY_DOMAIN, /* its certificate, by DANE-TA, is for no name of the host's */
    DELIVERY_TLS_NOTES
};
/* Was this noted within the last hour? `out_result`: what was noted with it; may be NULL. */
bool delivery_tls_noted(struct delivery_tls_memory *m, enum delivery_tls_note note,
                        struct slice host, uint16_t port, uint64_t now_ms,
                        enum report_result *out_result);
void delivery_tls_note(struct delivery_tls_memory *m, enum delivery_tls_note note,
                       struct slice host, uint16_t port, uint64_t now_ms,
                       enum report_result result);
/* What to resume with, or NULL; the memory's own. *out_full_ms: when the certificate was last seen, in the
 * handshake that it all goes back to; a chain of resumptions does not make that younger. */
struct tls_resumption *delivery_tls_recall(struct delivery_tls_memory *m,
                                           const struct delivery_plan *plan, uint16_t port,
                                           uint64_t now_ms, uint64_t *out_full_ms);
/* Takes over the reference. */
void delivery_tls_remember(struct delivery_tls_memory *m, const struct delivery_plan *plan,
                           uint16_t port, struct tls_resumption *r, uint64_t full_ms);

#endif
