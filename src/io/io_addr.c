/* Socket addresses as text and as base's struct ip_addr. */
#include <netinet/in.h>
#include <sys/un.h>

#include "base_assert.h"
#include "io.h"

/* The 16 bytes of an IPv4 address in base's form: ::ffff:a.b.c.d. */
static const uint8_t v4_prefix[12] = {[10] = 0xff, [11] = 0xff};

static bool parse_unix(struct slice path, struct io_addr *out)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};

    if (path.len == 0 || path.len >= sizeof(sun.sun_path) || slice_find(path, 0) >= 0)
        return false;
    memcpy(sun.sun_path, path.data, path.len);
    *out = (struct io_addr){.len = (socklen_t)sizeof(sun)};
    memcpy(&out->storage, &sun, sizeof(sun));
    return true;
}

/* Cuts "host:port" or "[host]:port"; an IPv6 address needs its brackets. */
static bool split_port(struct slice text, struct slice *host, struct slice *port)
{
    bool bracketed = text.len > 0 && text.data[0] == '[';
    ptrdiff_t end = slice_find(text, bracketed ? ']' : ':');

    if (end < 0)
        return false;
    *host = slice_head(text, (size_t)end);
    slice_advance(&text, (size_t)end);
    if (bracketed) {
        slice_advance(host, 1);
        slice_advance(&text, 1);
        if (slice_find(*host, ':') < 0)
            return false;
    }
    if (text.len < 2 || text.data[0] != ':')
        return false;
    slice_advance(&text, 1);
    *port = text;
    return true;
}

bool io_addr_parse(struct slice text, struct io_addr *out)
{
    const struct slice scheme = SLICE_LITERAL("unix:");
    struct slice host, port;
    struct ip_addr ip;
    uint64_t number;

    if (slice_starts_nocase(text, scheme)) {
        slice_advance(&text, scheme.len);
        return parse_unix(text, out);
    }
    if (!split_port(text, &host, &port) || !ip_parse(host, &ip))
        return false;
    if (!slice_to_u64(port, &number) || number > UINT16_MAX)
        return false;
    io_addr_from_ip(&ip, (uint16_t)number, out);
    return true;
}

void io_addr_from_ip(const struct ip_addr *ip, uint16_t port, struct io_addr *out)
{
    *out = (struct io_addr){0};
    if (ip_is_v4(ip)) {
        struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};

        memcpy(&sin.sin_addr, ip->bytes + sizeof(v4_prefix), 4);
        memcpy(&out->storage, &sin, sizeof(sin));
        out->len = sizeof(sin);
    } else {
        struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

        memcpy(&sin6.sin6_addr, ip->bytes, 16);
        memcpy(&out->storage, &sin6, sizeof(sin6));
        out->len = sizeof(sin6);
    }
}

bool io_addr_to_ip(const struct io_addr *addr, struct ip_addr *out_ip, uint16_t *out_port)
{
    if (addr->storage.ss_family == AF_INET) {
        struct sockaddr_in sin;

        memcpy(&sin, &addr->storage, sizeof(sin));
        memcpy(out_ip->bytes, v4_prefix, sizeof(v4_prefix));
        memcpy(out_ip->bytes + sizeof(v4_prefix), &sin.sin_addr, 4);
        *out_port = ntohs(sin.sin_port);
        return true;
    }
    if (addr->storage.ss_family == AF_INET6) {
        struct sockaddr_in6 sin6;

        memcpy(&sin6, &addr->storage, sizeof(sin6));
        memcpy(out_ip->bytes, &sin6.sin6_addr, 16);
        *out_port = ntohs(sin6.sin6_port);
        return true;
    }
    return false;
}

void io_addr_format(const struct io_addr *addr, struct buf *out)
{
    struct ip_addr ip;
    uint16_t port;

    if (io_addr_to_ip(addr, &ip, &port)) {
        char text[IP_TEXT_SIZE];

        ip_format(&ip, text);
        /* Formats that fail set out->overflow, which the caller looks at if it cares. */
        (void)buf_printf(out, ip_is_v4(&ip) ? "%s:%u" : "[%s]:%u", text, (unsigned)port);
    } else if (addr->storage.ss_family == AF_UNIX) {
        struct sockaddr_un sun;

        memcpy(&sun, &addr->storage, sizeof(sun));
        (void)buf_printf(out, "unix:%.*s", (int)sizeof(sun.sun_path), sun.sun_path);
    } else {
        (void)buf_append_str(out, "unknown");
    }
}
