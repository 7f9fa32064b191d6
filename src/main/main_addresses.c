/* main_addresses: the addresses of this machine, so that delivery does not send mail to ourselves. */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

#include "base_mem.h"
#include "main_priv.h"
#include "main_serve_priv.h"

static bool take(const struct sockaddr *address, struct ip_addr *out)
{
    if (address == NULL)
        return false;
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        *out = (struct ip_addr){{[10] = 0xff, [11] = 0xff}};
        memcpy(out->bytes + 12, &in->sin_addr, 4);
        return true;
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)address;
        memcpy(out->bytes, &in->sin6_addr, 16);
        return true;
    }
    return false;
}

size_t main_own_addresses(struct ip_addr **out)
{
    struct ifaddrs *all, *one;
    size_t count = 0, at = 0;

    *out = NULL;
    if (getifaddrs(&all) != 0) {
        main_complain("warning: cannot find out the addresses of this machine: %s",
                      strerror(errno));
        return 0;
    }
    for (one = all; one != NULL; one = one->ifa_next)
        count++;
    *out = mem_calloc(count > 0 ? count : 1, sizeof(**out));
    for (one = all; one != NULL; one = one->ifa_next)
        at += take(one->ifa_addr, &(*out)[at]);
    freeifaddrs(all);
    return at;
}
