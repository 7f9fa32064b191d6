/* routing: whether an address exists, and which rule says what it stands for. See the header for the order. */
#include "routing_priv.h"

bool routing_has_recipient(const struct routing_name *name)
{
    if (conf_domain_has_recipient(name->ours, name->local))
        return true;
    /* A table may list a local part with its quotes, as mail may name it. */
    return name->spelled.data[0] == '"' && conf_domain_has_recipient(name->ours, name->spelled);
}

/* "ann+news@a.example" without its subaddress. */
static struct slice without_subaddress(const struct routing_name *name, uint8_t *memory)
{
    size_t tail = name->whole.len - name->local.len;

    memcpy(memory, name->user.data, name->user.len);
    memcpy(memory + name->user.len, name->whole.data + name->local.len, tail);
    return slice_of(memory, name->user.len + tail);
}

static bool find_virtual(const struct conf *conf, const struct routing_name *name,
                         struct conf_targets *out, enum routing_match *out_match)
{
    struct slice domain = slice_of(name->domain.data - 1, name->domain.len + 1);
    uint8_t memory[sizeof(name->bytes)];

    if (conf->virtual_aliases.count == 0)
        return false;
    *out_match = ROUTING_MATCH_EXACT;
    if (conf_virtual_find(conf, name->whole, out))
        return true;
    *out_match = ROUTING_MATCH_USER;
    if (name->user.len < name->local.len
        && conf_virtual_find(conf, without_subaddress(name, memory), out))
        return true;
    *out_match = ROUTING_MATCH_DOMAIN;
    return conf_virtual_find(conf, domain, out);
}

static bool find_alias(const struct routing_name *name, struct conf_targets *out,
                       enum routing_match *out_match)
{
    if (name->ours == NULL || name->ours->aliases.count == 0)
        return false;
    *out_match = ROUTING_MATCH_EXACT;
    if (conf_alias_find(name->ours, name->local, out))
        return true;
    *out_match = ROUTING_MATCH_USER;
    return name->user.len < name->local.len && conf_alias_find(name->ours, name->user, out);
}

enum routing_rule routing_rule_find(const struct conf *conf, const struct routing_name *name,
                                    struct conf_targets *out, enum routing_match *out_match)
{
    if (find_virtual(conf, name, out, out_match))
        return ROUTING_RULE_VIRTUAL;
    if (find_alias(name, out, out_match))
        return ROUTING_RULE_ALIAS;
    return ROUTING_RULE_NONE;
}

enum routing_known routing_known(const struct conf *conf, const struct smtp_address *address)
{
    struct conf_targets targets;
    enum routing_match match;
    struct routing_name name;

    if (!routing_name_of(conf, address->local, address->domain, &name) || name.ours == NULL)
        return ROUTING_ELSEWHERE;
    if (name.ours->catch_all.len > 0 || routing_has_recipient(&name)
        || routing_rule_find(conf, &name, &targets, &match) != ROUTING_RULE_NONE)
        return ROUTING_OURS;
    return ROUTING_UNKNOWN;
}

bool routing_is_alias(const struct conf *conf, const struct smtp_address *address)
{
    struct conf_targets targets;
    enum routing_match match;
    struct routing_name name;

    return routing_name_of(conf, address->local, address->domain, &name)
           && routing_rule_find(conf, &name, &targets, &match) != ROUTING_RULE_NONE;
}
