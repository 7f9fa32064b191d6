/* conf_alias: lookups in the tables of aliases and of destinations. */
#include "conf_alias.h"

#include "base_mem.h"

bool conf_alias_find(const struct conf_domain *domain, struct slice local_part,
                     struct conf_targets *out)
{
    (void)domain;
    (void)local_part;
    (void)out;
    return false;
}

bool conf_virtual_find(const struct conf *conf, struct slice key, struct conf_targets *out)
{
    (void)conf;
    (void)key;
    (void)out;
    return false;
}

bool conf_targets_next(struct conf_targets *targets, struct conf_target *out)
{
    (void)targets;
    (void)out;
    return false;
}

bool conf_target_address(const struct conf_target *target, struct slice local_part,
                         struct slice domain, uint8_t memory[CONF_TARGET_MEMORY_MAX],
                         struct slice *out)
{
    struct slice address = target->address;
    ptrdiff_t at = slice_find(address, '@');
    bool adds_local = at == 0, adds_domain = at < 0;
    size_t len = address.len + (adds_local ? local_part.len : adds_domain ? 1 + domain.len : 0);

    if (len > CONF_TARGET_MEMORY_MAX)
        return false;
    if (!adds_local && !adds_domain) {
        *out = address;
        return true;
    }
    if (adds_local) {
        memcpy(memory, local_part.data, local_part.len);
        memcpy(memory + local_part.len, address.data, address.len);
    } else {
        memcpy(memory, address.data, address.len);
        memory[address.len] = '@';
        memcpy(memory + address.len + 1, domain.data, domain.len);
    }
    *out = slice_of(memory, len);
    return true;
}

const struct conf_destinations *conf_domain_destination(const struct conf_domain *domain,
                                                        struct slice local_part)
{
    (void)domain;
    (void)local_part;
    return NULL;
}
