/* delivery_self: which addresses lead back to this server. */
#include "delivery_priv.h"

static bool is_loopback(const struct ip_addr *ip)
{
    static const struct ip_net loopback4 = {{{[10] = 0xff, [11] = 0xff, [12] = 127}}, 96 + 8};
    static const struct ip_addr loopback6 = {{[15] = 1}};

    return ip_net_contains(&loopback4, ip) || memcmp(ip, &loopback6, sizeof(*ip)) == 0;
}

static bool is_of_machine(const struct delivery *d, const struct ip_addr *ip)
{
    for (size_t i = 0; i < d->o.own_count; i++) {
        if (memcmp(&d->o.own[i], ip, sizeof(*ip)) == 0)
            return true;
    }
    return is_loopback(ip);
}

/* 0.0.0.0 and [::] are all of their family. */
static bool covers(const struct delivery *d, const struct conf_address *listening,
                   const struct ip_addr *ip)
{
    static const struct ip_addr all6 = {{0}};
    static const struct ip_addr all4 = {{[10] = 0xff, [11] = 0xff}};
    const struct ip_addr *all = ip_is_v4(ip) ? &all4 : &all6;

    if (memcmp(&listening->ip, ip, sizeof(*ip)) == 0)
        return true;
    return memcmp(&listening->ip, all, sizeof(*all)) == 0 && is_of_machine(d, ip);
}

bool delivery_is_self(const struct delivery *d, const struct ip_addr *ip, uint16_t port)
{
    const struct conf *conf = d->o.conf;

    for (size_t i = 0; i < conf->listener_count; i++) {
        const struct conf_addresses *addresses = &conf->listeners[i].address;

        for (size_t k = 0; k < addresses->count; k++) {
            if (addresses->items[k].port == port && covers(d, &addresses->items[k], ip))
                return true;
        }
    }
    return false;
}
