/* routing: whether an address exists. See the header for the order of decisions. */
#include "routing_priv.h"

/* A file of recipients may list a local part with its quotes, as mail may name it; and "ann" in quotes is
 * the ann that it lists (RFC 5321 4.1.2). */
static bool is_recipient(const struct routing_name *name, struct slice as_it_came)
{
    return conf_domain_has_recipient(name->ours, name->local)
           || (as_it_came.data[0] == '"' && conf_domain_has_recipient(name->ours, as_it_came));
}

enum routing_known routing_known(const struct conf *conf, const struct smtp_address *address)
{
    struct routing_name name;

    if (!routing_name_of(conf, address->local, address->domain, &name) || name.ours == NULL)
        return ROUTING_ELSEWHERE;
    return is_recipient(&name, address->local) ? ROUTING_OURS : ROUTING_UNKNOWN;
}

bool routing_is_alias(const struct conf *conf, const struct smtp_address *address)
{
    (void)conf;
    (void)address;
    return false;
}
