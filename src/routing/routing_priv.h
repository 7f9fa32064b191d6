/* routing_priv: an address in the form in which tables are asked. */
#ifndef ROUTING_PRIV_H
#define ROUTING_PRIV_H

#include "conf_alias.h"
#include "routing.h"

/* Local parts are folded also where the domain is somebody else's: which of our rules holds for an address is
 * for us to say. What is sent on, and what counts as the same address, is not taken from here. */
struct routing_name {
    const struct conf_domain *ours; /* NULL: somebody else's */
    struct slice spelled;           /* the local part as it came */
    struct slice whole;             /* local@domain */
    struct slice local;             /* what it means: mostly without quotes, in lower case */
    struct slice user;   /* its head: without the subaddress; all of it if there is none */
    struct slice domain; /* in lower case */
    uint8_t bytes[SMTP_LOCAL_MAX + 1 + SMTP_DOMAIN_MAX];
};
/* False: longer than addresses are. */
bool routing_name_of(const struct conf *conf, struct slice local, struct slice domain,
                     struct routing_name *out);
/* The same for an address that is not to be looked at further: `ours` is NULL. */
void routing_spell(struct slice local, struct slice domain, struct routing_name *out);

static inline uint8_t routing_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* local@domain at its last '@'; without one `domain` is empty. (A quoted local part may hold another.) */
void routing_split(struct slice address, struct slice *local, struct slice *domain);

/* Whether the domain, which is ours, has the recipient itself: no alias. */
bool routing_has_recipient(const struct routing_name *name);

/* The first rule that says what the address stands for (1 and 2 in routing.h). */
enum routing_rule { ROUTING_RULE_NONE, ROUTING_RULE_VIRTUAL, ROUTING_RULE_ALIAS };
enum routing_match {
    ROUTING_MATCH_EXACT,
    ROUTING_MATCH_USER,   /* without its subaddress */
    ROUTING_MATCH_DOMAIN, /* "@domain" */
};
enum routing_rule routing_rule_find(const struct conf *conf, const struct routing_name *name,
                                    struct conf_targets *out, enum routing_match *out_match);

/* The route for mail from this sender (as in MAIL FROM; empty: the null sender) to this domain. */
const struct conf_route *routing_route(const struct conf *conf, struct slice sender,
                                       struct slice domain);

#endif
