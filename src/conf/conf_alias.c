/* conf_alias: what one address stands for, in one step. */
#include "conf_alias.h"

#include "conf_tables_priv.h"
#include "conf_target_priv.h"

bool conf_alias_find(const struct conf_domain *domain, struct slice local_part,
                     struct conf_targets *out)
{
    const struct table *table;
    struct slice value;

    if (!conf_tables_find_recipient(&domain->alias_tables, local_part, domain->name, &table,
                                    &value))
        return false;
    conf_targets_open(out, table, value);
    return true;
}

bool conf_virtual_find(const struct conf *conf, struct slice key, struct conf_targets *out)
{
    struct slice value;

    for (size_t i = 0; i < conf->virtual_tables.count; i++) {
        if (table_find(conf->virtual_tables.items[i], key, &value)) {
            conf_targets_open(out, conf->virtual_tables.items[i], value);
            return true;
        }
    }
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
