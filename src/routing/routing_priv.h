/* routing_priv: an address in the form in which tables are asked. */
#ifndef ROUTING_PRIV_H
#define ROUTING_PRIV_H

#include "routing.h"

/* Local parts are folded also where the domain is somebody else's: which of our rules holds for an address is
 * for us to say. What is sent on, and what counts as the same address, is not taken from here. */
struct routing_name {
    const struct conf_domain *ours; /* NULL: somebody else's */
    struct slice whole;             /* local@domain */
    struct slice local;             /* what it means: without quotes, in lower case */
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

/* The route for mail from this sender (as in MAIL FROM; empty: the null sender) to this domain. */
const struct conf_route *routing_route(const struct conf *conf, struct slice sender,
                                       struct slice domain);

#endif
