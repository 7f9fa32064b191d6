/*
 * routing: from an address to where its mail goes. Pure decisions over the configuration and its tables
 * (which never change under us): aliases, our domains, per-recipient destinations, routes. The session
 * asks whether an address exists and what it expands to; delivery asks for the way of each recipient of
 * an envelope; the operator asks why.
 *
 * Expansion happens once, before a message is committed: what the queue holds are the final addresses.
 *
 *   1. virtual_aliases: the whole address, without its subaddress, "@domain"  -> addresses
 *   2. domain's aliases: the local part, without its subaddress               -> addresses, :include:
 *   3. nothing, where the domain has the recipient (or takes any)
 *   4. domain's catch_all                                                     -> an address
 *   each result goes through 1 to 4 again; an address that was met on the way to itself stands for
 *   itself (as in "ann: ann, ann@phone.example", with its subaddress); deeper than ROUTING_DEPTH_MAX is a
 *   loop. What is written "\ann" is the mailbox ann itself.
 *
 * Addresses of somebody else's domain go through virtual_aliases, too, once they have been accepted. But whether
 * mail is accepted from strangers is a matter of our domains alone: a rule such as "@theirs @others" is no
 * licence to relay.
 *
 * In tables local parts have no case, and no quotes that are not needed (RFC 5321 4.1.2).
 */
#ifndef ROUTING_H
#define ROUTING_H

#include "base_arena.h"
#include "conf.h"
#include "smtp_address.h"

enum {
    ROUTING_DEPTH_MAX = 20,
    ROUTING_TARGETS_MAX = 10000, /* of one address */
};

enum routing_known {
    ROUTING_OURS,      /* a domain of ours has this recipient, or this alias, or a catch_all */
    ROUTING_UNKNOWN,   /* of a domain of ours, but there is no such recipient: 550 5.1.1 */
    ROUTING_ELSEWHERE, /* somebody else's domain: relaying */
};
/* Whether we have this recipient, without expanding it. */
enum routing_known routing_known(const struct conf *conf, const struct smtp_address *address);

/* Whether it has an entry among the aliases, itself or its domain: it is for routing_expand() to say where
 * its mail goes. (Not by catch_all, which is for those that do not exist.) */
bool routing_is_alias(const struct conf *conf, const struct smtp_address *address);

enum routing_expand {
    ROUTING_SAME,     /* the address stands for itself */
    ROUTING_EXPANDED, /* *out has its targets */
    ROUTING_LOOP,     /* 5.4.6 */
    ROUTING_TOO_MANY, /* 5.2.4: more than `max`, or than ROUTING_TARGETS_MAX, or than the arena holds */
    ROUTING_NOBODY, /* an alias of nobody, or all of its targets are unknown here: 5.1.1 */
};
struct routing_targets {
    struct slice *items; /* addresses, each once; in the arena */
    uint32_t count;
    uint32_t dropped; /* targets that do not exist in a domain of ours, or are no address */
    /* For the log: the alias at which LOOP or TOO_MANY was noticed, else the first target that was dropped; in
     * the arena, or empty. */
    struct slice culprit;
};
/* `address` is well formed. Targets are de-duplicated among themselves by smtp_address_canonical() with the
 * local part folded where the domain is ours. *out is filled in with any result. */
enum routing_expand routing_expand(const struct conf *conf, struct slice address, uint32_t max,
                                   struct arena *arena, struct routing_targets *out);
/* The rule that expands the address, in words: `virtual alias "@a.example" (/etc/mailring/virtual:3)`; false if
 * there is none. For mailring explain. */
bool routing_explain_alias(const struct conf *conf, struct slice address, struct buf *out);

/* Where one recipient's mail goes. Everything belongs to the conf. */
struct routing_way {
    const struct conf_destinations *to;
    const struct conf_route *route; /* manners: limits, timeouts, TLS, retry */
    const struct conf_domain *ours; /* NULL: somebody else's */
    struct slice domain;            /* a piece of `recipient` */
};
void routing_find(const struct conf *conf, struct slice sender, struct slice recipient,
                  struct routing_way *out);
/* The rule in words: `domain "example.org"`, `route "*" from news.example`, `destinations of domain
 * "example.org"`; then where to, as the configuration writes it. For mailring explain. */
void routing_explain(const struct conf *conf, const struct routing_way *way, struct buf *out);
/* A destination as the configuration writes it. */
void routing_destination(const struct conf_destination *to, struct buf *out);

#endif
