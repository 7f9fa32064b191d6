/*
 * delivery_address_list: the addresses of a site, made anew with each answer about its hosts.
 *
 * Sorted by preference, then by family where the route prefers one. Hosts of equal preference are shuffled,
 * and so are the addresses of a host: the resolver's cache would give them in one order all the time.
 *
 * A host that turns out to be this server itself is cut, and with it all that are not preferred to it
 * (RFC 5321 5.1): they would hand the mail to us. Its name alone is looked at before (delivery_mx.c); that it
 * has an address of ours shows only here.
 */
#include "base_mem.h"
#include "delivery_remote_priv.h"

/* Nothing can listen there but ourselves. */
static bool is_usable(const struct ip_addr *ip)
{
    static const struct ip_addr none6 = {{0}};
    static const struct ip_addr none4 = {{[10] = 0xff, [11] = 0xff}};

    return memcmp(ip, &none6, sizeof(none6)) != 0 && memcmp(ip, &none4, sizeof(none4)) != 0;
}

static struct delivery_address *find_in(struct delivery_address *items, uint32_t count,
                                        const struct ip_addr *ip)
{
    for (uint32_t i = 0; i < count; i++) {
        if (memcmp(&items[i].ip, ip, sizeof(*ip)) == 0)
            return &items[i];
    }
    return NULL;
}

struct delivery_address *delivery_addresses_find(struct delivery_addresses *a,
                                                 const struct ip_addr *ip)
{
    struct delivery_address *found = find_in(a->items, a->count, ip);

    return found != NULL ? found : find_in(a->old, a->old_count, ip);
}

struct delivery_host *delivery_addresses_host(const struct delivery_addresses *a, struct slice name)
{
    for (uint32_t h = 0; h < a->host_count; h++) {
        if (slice_equal(a->hosts[h].name, name))
            return &a->hosts[h];
    }
    return NULL;
}

/* What is known of the host by now: the resolver's answer, or the one address that its name is. (That of a
 * socket in the file system is nothing.) */
static uint32_t addresses_of(const struct delivery_host *host, struct ip_addr *memory,
                             const struct ip_addr **out)
{
    *out = memory;
    *memory = (struct ip_addr){{0}};
    if (host->addresses->on_socket)
        return 1;
    if (host->is_ip)
        return ip_parse(host->name, memory) ? 1 : 0;
    if (!host->open || !host->answered || host->status != DNS_OK)
        return 0;
    *out = host->query.answer->addresses;
    return host->query.answer->address_count;
}

/* ---- ourselves ------------------------------------------------------------------------------ */

static bool is_ourselves(const struct delivery_addresses *a, const struct delivery_host *host)
{
    struct ip_addr memory;
    const struct ip_addr *items;
    uint32_t count = addresses_of(host, &memory, &items);

    if (a->on_socket)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (delivery_is_self(a->d, &items[i], a->port))
            return true;
    }
    return count > 0 && !host->is_ip && a->by_mx
           && slice_equal_nocase(slice_str(host->query.answer->canonical), a->d->o.conf->hostname);
}

/* The best of those that are this server. */
static void find_ourselves(struct delivery_addresses *a)
{
    for (uint32_t h = 0; h < a->host_count; h++) {
        const struct delivery_host *host = &a->hosts[h];

        if ((a->ours == NULL || host->preference < a->ours->preference) && is_ourselves(a, host))
            a->ours = host;
    }
}

static bool is_behind_us(const struct delivery_addresses *a, const struct delivery_host *host)
{
    return a->ours != NULL && host->preference >= a->ours->preference;
}

/* ---- the list ------------------------------------------------------------------------------- */

/* 0: the preferred one; false: not allowed. */
static bool rank_family(enum conf_family family, const struct ip_addr *ip, uint8_t *out)
{
    bool v4 = ip_is_v4(ip);

    *out = 0;
    switch (family) {
    case CONF_FAMILY_ANY: return true;
    case CONF_FAMILY_PREFER_IPV6: *out = v4; return true;
    case CONF_FAMILY_PREFER_IPV4: *out = !v4; return true;
    case CONF_FAMILY_IPV6: return !v4;
    case CONF_FAMILY_IPV4: return v4;
    }
    UNREACHABLE();
}

/* Behind all that are not worse. What was known about it is kept. */
static void add_address(struct delivery_addresses *a, const struct delivery_host *host,
                        const struct ip_addr *ip, struct delivery_address *items, uint32_t *count)
{
    const struct delivery_address *known = delivery_addresses_find(a, ip);
    struct delivery_address x = known != NULL ? *known : (struct delivery_address){.ip = *ip};
    uint32_t at = *count;

    if ((!a->on_socket && !is_usable(ip)) || find_in(items, *count, ip) != NULL)
        return;
    if (!a->on_socket && !rank_family(a->family, ip, &x.family)) {
        a->other_family = true;
        return;
    }
    if (*count == DELIVERY_ADDRESSES_MAX)
        return;
    x.host = host->name;
    x.preference = host->preference;
    for (; at > 0 && items[at - 1].preference == x.preference && items[at - 1].family > x.family;
         at--)
        items[at] = items[at - 1];
    items[at] = x;
    (*count)++;
}

/* Its addresses, in any order. */
static void add_host(struct delivery_addresses *a, const struct delivery_host *host,
                     struct delivery_address *items, uint32_t *count)
{
    struct ip_addr memory, shuffled[DELIVERY_ADDRESSES_MAX];
    const struct ip_addr *all;
    uint32_t total = addresses_of(host, &memory, &all);

    if (total > DELIVERY_ADDRESSES_MAX)
        total = DELIVERY_ADDRESSES_MAX;
    if (total > 0)
        memcpy(shuffled, all, total * sizeof(*all));
    rand_shuffle(&a->d->rand, shuffled, total, sizeof(*shuffled));
    for (uint32_t i = 0; i < total; i++)
        add_address(a, host, &shuffled[i], items, count);
}

void delivery_addresses_rebuild(struct delivery_addresses *a)
{
    struct delivery_address items[DELIVERY_ADDRESSES_MAX];
    uint32_t count = 0;

    a->ours = NULL;
    a->other_family = false;
    find_ourselves(a);
    for (uint32_t h = 0; h < a->host_count; h++) {
        const struct delivery_host *host = &a->hosts[h];

        if (host->decided && host->plan != NULL && !is_behind_us(a, host))
            add_host(a, host, items, &count);
    }
    mem_free(a->items);
    a->items = count > 0 ? mem_dup(items, count * sizeof(*items)) : NULL;
    a->count = count;
}

/* An address that worked is better than none: without new ones the old ones stay, of hosts that could not be
 * asked. (Of their plans too: those were made of validated answers.) */
void delivery_addresses_settle(struct delivery_addresses *a)
{
    delivery_addresses_close(a);
    for (uint32_t i = 0; i < a->old_count && (a->count == 0 || a->items == a->old); i++) {
        const struct delivery_host *host = delivery_addresses_host(a, a->old[i].host);
        if (host == NULL || host->status != DNS_TEMPORARY || host->plan == NULL
            || is_behind_us(a, host))
            continue;
        a->items = a->old;
        a->old[a->count++] = a->old[i];
    }
    if (a->items != a->old)
        mem_free(a->old);
    a->old = NULL;
    a->old_count = 0;
}
