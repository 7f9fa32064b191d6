/* tool_url: see the header. */
#include "tool_url.h"

#include <netdb.h>

#include "base_codec.h"
#include "base_mem.h"

enum { HOST_MAX = 255 };

static bool bad(struct buf *out_error, const char *url, const char *why)
{
    (void)buf_printf(out_error, "%s: %s", url, why);
    return false;
}

/* "host", "host:port", "[v6]" or "[v6]:port". */
static bool split_port(struct slice text, struct slice *host, uint64_t *port)
{
    ptrdiff_t end;

    *port = TOOL_PORT_DEFAULT;
    if (text.len > 0 && text.data[0] == '[') {
        end = slice_find(text, ']');
        if (end < 0)
            return false;
        *host = slice_of(text.data + 1, (size_t)end - 1);
        slice_advance(&text, (size_t)end + 1);
    } else {
        end = slice_find(text, ':');
        *host = slice_head(text, end < 0 ? text.len : (size_t)end);
        slice_advance(&text, host->len);
    }
    if (text.len == 0)
        return true;
    if (text.data[0] != ':')
        return false;
    slice_advance(&text, 1);
    return slice_to_u64(text, port) && *port <= UINT16_MAX;
}

static bool look_up(const char *url, struct slice host, uint16_t port, struct io_addr *out,
                    struct buf *out_error)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    struct ip_addr ip;
    char name[HOST_MAX + 1];
    int error;

    if (ip_parse(host, &ip)) {
        io_addr_from_ip(&ip, port, out);
        return true;
    }
    memcpy(name, host.data, host.len);
    name[host.len] = '\0';
    error = getaddrinfo(name, NULL, &hints, &list);
    if (error != 0)
        return bad(out_error, url, gai_strerror(error));
    *out = (struct io_addr){.len = list->ai_addrlen};
    memcpy(&out->storage, list->ai_addr, list->ai_addrlen);
    freeaddrinfo(list);
    if (!io_addr_to_ip(out, &ip, &(uint16_t){0}))
        return bad(out_error, url, "the name has no address that can be used");
    io_addr_from_ip(&ip, port, out);
    return true;
}

bool tool_url_parse(const char *url, struct io_addr *out, struct buf *out_error)
{
    struct slice rest = slice_str(url);
    struct slice host;
    uint64_t port;

    if (slice_starts_nocase(rest, SLICE_LITERAL("lmtp://")))
        return bad(out_error, url, "LMTP is not spoken yet");
    if (!slice_starts_nocase(rest, SLICE_LITERAL("smtp://")))
        return bad(out_error, url, "a URL begins with smtp://");
    slice_advance(&rest, strlen("smtp://"));
    if (rest.len > 0 && rest.data[rest.len - 1] == '/')
        rest.len--;
    if (!split_port(rest, &host, &port))
        return bad(out_error, url, "the form is smtp://HOST or smtp://HOST:PORT");
    if (host.len == 0 || host.len > HOST_MAX)
        return bad(out_error, url, "the host is missing or too long");
    return look_up(url, host, (uint16_t)port, out, out_error);
}
