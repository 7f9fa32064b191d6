/*
 * dns_trust: whose AD bit is believed. Between a resolver on this machine and us there is nobody who could
 * set it; with any other it is for the administrator to say so (RFC 6840 5.8, resolv.conf(5): trust-ad).
 */
#include "base_mem.h"
#include "dns_resolver_priv.h"

enum { RESOLV_CONF_MAX = 64 * 1024 };

static bool is_loopback(const struct ares_addr_port_node *n)
{
    static const uint8_t six[16] = {[15] = 1};
    uint8_t bytes[16];

    if (n->family == AF_INET) {
        memcpy(bytes, &n->addr.addr4, 4);
        return bytes[0] == 127;
    }
    memcpy(bytes, &n->addr.addr6, 16);
    return memcmp(bytes, six, sizeof(six)) == 0;
}

static bool servers_are_here(struct dns_resolver *r)
{
    struct ares_addr_port_node *first = NULL;
    bool here = ares_get_servers_ports(r->channel, &first) == ARES_SUCCESS && first != NULL;

    for (struct ares_addr_port_node *n = first; n != NULL; n = n->next)
        here = here && is_loopback(n);
    ares_free_data(first);
    return here;
}

bool dns_trust_said(struct slice text)
{
    while (text.len > 0) {
        ptrdiff_t end = slice_find(text, '\n');
        size_t len = end >= 0 ? (size_t)end : text.len;
        struct slice line = slice_head(text, len), word = dns_next_word(&line);
        bool options = slice_equal(word, SLICE_LITERAL("options"));
        while (options && (word = dns_next_word(&line)).len > 0) {
            if (slice_equal(word, SLICE_LITERAL("trust-ad")))
                return true;
        }
        slice_advance(&text, end >= 0 ? len + 1 : len);
    }
    return false;
}

static bool system_says_trust(struct io *io, const char *path)
{
    uint8_t *text = mem_alloc(RESOLV_CONF_MAX);
    int len = dns_file_read(io, path, text, RESOLV_CONF_MAX);
    bool trust = len > 0 && dns_trust_said(slice_of(text, (size_t)len));

    mem_free(text);
    return trust;
}

bool dns_trust(struct dns_resolver *r, const struct dns_resolver_options *options)
{
    const char *path = options->resolv_conf != NULL ? options->resolv_conf : "/etc/resolv.conf";

    switch (options->dnssec) {
    case DNS_DNSSEC_YES: return true;
    case DNS_DNSSEC_NO: return false;
    case DNS_DNSSEC_AUTO:
        return servers_are_here(r)
               || (options->server_count == 0 && system_says_trust(r->dns.io, path));
    }
    ASSERT(false);
    return false;
}
