/*
 * delivery_explain: what would be done with a message for this address now, and why: its aliases, the rule that
 * routes it, its hosts in order, what they are asked of TLS, and what is known to be down. Nothing is sent.
 *
 *     x = delivery_explain_begin(shard_delivery(shard), sender, address, explained, me);
 *     ... in explained(): hosts are known; now what the owners of the sites know of them ...
 *     for (uint32_t i = 0; i < delivery_explain_site_count(x); i++) {
 *         struct delivery_explain_site *site = delivery_explain_site(x, i);
 *         on the shard site->shard, by shard_call(): delivery_explain_look(shard_delivery(shard), site);
 *     }
 *     ... when all have come back (one that has not been looked at is told as unused) ...
 *     delivery_explain_write(x, json, &answer);
 *     delivery_explain_end(x);
 *
 * All calls but delivery_explain_look() are made on the shard where it began.
 */
#ifndef DELIVERY_EXPLAIN_H
#define DELIVERY_EXPLAIN_H

#include "delivery.h"

struct delivery_explain;

enum {
    DELIVERY_EXPLAIN_TARGETS =
        100, /* recipients that are shown of a long alias; the others are counted */
    DELIVERY_EXPLAIN_WAYS = 10, /* of these, ways that are looked into */
    DELIVERY_EXPLAIN_ADDRESSES = 64,
};

enum delivery_explain_state {
    DELIVERY_EXPLAIN_UNUSED, /* there is no such site: nothing was sent there lately */
    DELIVERY_EXPLAIN_UP,
    DELIVERY_EXPLAIN_DOWN, /* until down_ms from now */
};
/* What its owner knows about a site: plain numbers, which may go from shard to shard. */
struct delivery_explain_site {
    struct slice key; /* the site's; the explain's memory */
    unsigned shard;   /* who owns it */
    enum delivery_explain_state state;
    uint64_t down_ms;               /* how long it rests, if nobody asks for it */
    char reason[DELIVERY_TEXT_MAX]; /* why it is down, or was before; may be empty */
    uint32_t waiting;               /* messages in its lane */
    uint32_t connections, idle, attempts;
    uint32_t dead_count;
    struct {
        struct ip_addr ip;
        uint64_t ms; /* for how long it comes after all others */
    } dead[DELIVERY_EXPLAIN_ADDRESSES];
};

/* `address` as in RCPT TO, without angle brackets, and with a domain; `sender` as in MAIL FROM, empty: the null
 * sender. Both are copied. `done` is called once, never within this, and at the latest when the name servers'
 * time is over or delivery stops; not after delivery_explain_end(). */
struct delivery_explain *delivery_explain_begin(
    struct delivery *d, struct slice sender, struct slice address,
    void (*done)(struct delivery_explain *x, void *context), void *context);
uint32_t delivery_explain_site_count(const struct delivery_explain *x);
struct delivery_explain_site *delivery_explain_site(struct delivery_explain *x, uint32_t i);
/* On the shard that owns the site. */
void delivery_explain_look(const struct delivery *owner, struct delivery_explain_site *site);
/* Lines of text, or one JSON object with a newline. */
void delivery_explain_write(const struct delivery_explain *x, bool json, struct buf *out);
/* At any time; not while a shard looks at a site. */
void delivery_explain_end(struct delivery_explain *x);

#endif
