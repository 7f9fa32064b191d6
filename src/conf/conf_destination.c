/* Addresses of sockets, and where mail goes. */
#include "base_assert.h"
#include "conf.h"
#include "conf_value_priv.h"

/* Splits "HOST", "HOST:PORT", "[IPV6]" or "[IPV6]:PORT". The port stays 0 if there is none. */
static bool split_port(struct slice text, struct slice *host, bool *bracketed, uint16_t *port)
{
    struct slice rest = {text.data, 0};
    uint64_t number;

    *bracketed = text.len > 0 && text.data[0] == '[';
    *port = 0;
    if (*bracketed) {
        ptrdiff_t close = slice_find(text, ']');

        if (close < 0)
            return false;
        *host = slice_of(text.data + 1, (size_t)close - 1);
        rest = slice_of(text.data + close + 1, text.len - (size_t)close - 1);
    } else {
        ptrdiff_t colon = slice_find(text, ':');

        *host = colon < 0 ? text : slice_head(text, (size_t)colon);
        if (colon >= 0)
            rest = slice_of(text.data + colon, text.len - (size_t)colon);
    }
    if (rest.len == 0)
        return true;
    if (rest.data[0] != ':')
        return false;
    slice_advance(&rest, 1);
    if (!slice_to_u64(rest, &number) || number == 0 || number > 65535)
        return false;
    *port = (uint16_t)number;
    return true;
}

bool conf_parse_address(const struct conf_row *row, struct slice text, struct arena *arena,
                        void *out, struct buf *why)
{
    struct conf_address address;
    struct slice host;
    bool bracketed;

    (void)arena;
    /* A bare IPv6 address, where the port may be left out, is clear enough. */
    if (row->port != 0 && ip_parse(text, &address.ip)) {
        address.port = row->port;
    } else if (!split_port(text, &host, &bracketed, &address.port) || !ip_parse(host, &address.ip)
               || bracketed == ip_is_v4(&address.ip)) {
        (void)buf_printf(why, "is not an address with a port like 192.0.2.1:%u or [2001:db8::1]:%u",
                         row->port != 0 ? row->port : 25, row->port != 0 ? row->port : 25);
        return false;
    }
    if (address.port == 0)
        address.port = row->port;
    if (address.port == 0) {
        (void)buf_append_str(why, "has no port, as in 192.0.2.1:25 or [2001:db8::1]:25");
        return false;
    }
    *(struct conf_address *)out = address;
    return true;
}

/* Destinations. Each kind has a row; `rest` is what follows its prefix. */

static bool parse_host(struct slice rest, const char *scheme, uint16_t port, struct arena *arena,
                       struct conf_destination *to, struct buf *why)
{
    struct slice host;
    bool bracketed;

    if (!split_port(rest, &host, &bracketed, &to->port)) {
        (void)buf_printf(why, "is not like %s://host, %s://host:%u or %s://[::1]:%u", scheme,
                         scheme, port, scheme, port);
        return false;
    }
    to->host_is_ip = ip_parse(host, &to->ip);
    if (bracketed ? !to->host_is_ip || ip_is_v4(&to->ip) : !to->host_is_ip && !conf_is_name(host)) {
        if (bracketed)
            (void)buf_append_str(why, "has no IPv6 address in its brackets");
        else
            (void)buf_printf(why, "has no host name or address behind %s://", scheme);
        return false;
    }
    to->host = conf_keep_lower(arena, host);
    if (to->port == 0)
        to->port = port;
    return true;
}

static bool parse_smtp(struct slice rest, struct arena *arena, struct conf_destination *to,
                       struct buf *why)
{
    return parse_host(rest, "smtp", 25, arena, to, why);
}

static bool parse_lmtp(struct slice rest, struct arena *arena, struct conf_destination *to,
                       struct buf *why)
{
    return parse_host(rest, "lmtp", 24, arena, to, why);
}

static bool parse_lmtp_unix(struct slice rest, struct arena *arena, struct conf_destination *to,
                            struct buf *why)
{
    bool printable = true;

    for (size_t i = 0; i < rest.len; i++)
        printable = printable && rest.data[i] >= ' ' && rest.data[i] != 127;
    if (rest.len == 0 || rest.data[0] != '/' || rest.len > CONF_SOCKET_PATH_MAX || !printable) {
        (void)buf_printf(why,
                         "has no path behind lmtp+unix: that begins with / and has at most %d "
                         "octets",
                         CONF_SOCKET_PATH_MAX);
        return false;
    }
    to->path = conf_keep(arena, rest);
    return true;
}

static bool parse_maildir(struct slice rest, struct arena *arena, struct conf_destination *to,
                          struct buf *why)
{
    if (rest.len == 0 || rest.data[0] != '/' || rest.len > 2048) {
        (void)buf_append_str(why, "has no path that begins with / behind maildir:");
        return false;
    }
    for (size_t i = 0; i < rest.len; i++) {
        if (rest.data[i] != '%')
            continue;
        i++;
        if (i == rest.len || strchr("ud%", rest.data[i]) == NULL) {
            (void)buf_append_str(why, "has a % that is not part of %u (local part), %d (domain) "
                                      "or %% (a percent sign)");
            return false;
        }
    }
    to->path = conf_keep(arena, rest);
    return true;
}

static bool parse_reject(struct slice rest, struct arena *arena, struct conf_destination *to,
                         struct buf *why)
{
    bool printable = true;

    /* It becomes one line of a reply: RFC 5321 4.5.3.1.5 leaves 512 octets for all of it. */
    for (size_t i = 0; i < rest.len; i++)
        printable = printable && rest.data[i] >= ' ' && rest.data[i] < 127;
    if (rest.len == 0 || rest.len > 400 || !printable) {
        (void)buf_append_str(why, "has no text behind reject: (up to 400 ASCII characters)");
        return false;
    }
    to->text = conf_keep(arena, rest);
    return true;
}

static const struct {
    const char *prefix;
    enum conf_destination_kind kind;
    /* NULL: the prefix is all there is. */
    bool (*parse)(struct slice, struct arena *, struct conf_destination *, struct buf *);
} destination_table[] = {
    {"mx", CONF_TO_MX, NULL},
    {"smtp://", CONF_TO_SMTP, parse_smtp},
    {"lmtp://", CONF_TO_LMTP, parse_lmtp},
    {"lmtp+unix:", CONF_TO_LMTP, parse_lmtp_unix},
    {"maildir:", CONF_TO_MAILDIR, parse_maildir},
    {"discard", CONF_TO_DISCARD, NULL},
    {"reject:", CONF_TO_REJECT, parse_reject},
};

bool conf_parse_destination(const struct conf_row *row, struct slice text, struct arena *arena,
                            void *out, struct buf *why)
{
    (void)row;
    for (size_t i = 0; i < ARRAY_LEN(destination_table); i++) {
        struct slice prefix = slice_str(destination_table[i].prefix);
        struct slice rest = text;
        struct conf_destination to = {.kind = destination_table[i].kind};

        if (!slice_equal(slice_head(text, prefix.len), prefix))
            continue;
        slice_advance(&rest, prefix.len);
        if (destination_table[i].parse == NULL ? rest.len > 0
                                               : !destination_table[i].parse(rest, arena, &to, why))
            break;
        *(struct conf_destination *)out = to;
        return true;
    }
    if (buf_len(why) == 0)
        (void)buf_append_str(why, "is none of mx, smtp://HOST[:PORT], lmtp://HOST[:PORT], "
                                  "lmtp+unix:/PATH, maildir:/PATH, discard, reject:TEXT");
    return false;
}
