#include "base_codec.h"

static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

bool ip_is_v4(const struct ip_addr *ip)
{
    return memcmp(ip->bytes, v4_prefix, sizeof(v4_prefix)) == 0;
}

/* Four decimal numbers. No leading zeros: some read them as octal, and nobody needs them. */
static bool parse_v4(struct slice text, uint8_t out[4])
{
    uint8_t bytes[4];

    for (int i = 0; i < 4; i++) {
        ptrdiff_t dot = slice_find(text, '.');
        struct slice part = dot < 0 ? text : slice_head(text, (size_t)dot);
        uint64_t value;

        if ((dot < 0) != (i == 3) || part.len > 3 || !slice_to_u64(part, &value) || value > 255
            || (part.len > 1 && part.data[0] == '0'))
            return false;
        bytes[i] = (uint8_t)value;
        slice_advance(&text, dot < 0 ? text.len : (size_t)dot + 1);
    }
    memcpy(out, bytes, sizeof(bytes));
    return true;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One group of one to four hexadecimal digits; false if there is none at the start. */
static bool parse_group(struct slice *text, unsigned *out)
{
    unsigned value = 0;
    size_t digits = 0;

    for (; digits < text->len && hex_digit(text->data[digits]) >= 0; digits++) {
        if (digits == 4)
            return false;
        value = value << 4 | (unsigned)hex_digit(text->data[digits]);
    }
    if (digits == 0)
        return false;
    slice_advance(text, digits);
    *out = value;
    return true;
}

static bool starts_with(struct slice s, const char *text)
{
    return s.len >= strlen(text) && memcmp(s.data, text, strlen(text)) == 0;
}

/* What stands between two "::" or the ends: groups with colons, the last 32 bits maybe dotted.
 * Stops before "::". *count is in bytes and starts at `*count`. */
static bool parse_groups(struct slice *text, uint8_t bytes[16], size_t *count)
{
    for (;;) {
        unsigned group;
        struct slice whole = *text;

        if (*count <= 12 && parse_v4(whole, bytes + *count)) {
            *count += 4;
            slice_advance(text, text->len);
            return true;
        }
        if (*count == 16 || !parse_group(text, &group))
            return false;
        bytes[(*count)++] = (uint8_t)(group >> 8);
        bytes[(*count)++] = (uint8_t)group;
        if (text->len == 0 || starts_with(*text, "::"))
            return true;
        if (text->data[0] != ':')
            return false;
        slice_advance(text, 1);
    }
}

/* RFC 4291 2.2: "::" stands once, for at least one group of zeros. */
static bool parse_v6(struct slice text, uint8_t out[16])
{
    uint8_t head[16];
    uint8_t tail[16];
    size_t head_len = 0;
    size_t tail_len = 0;

    if (!starts_with(text, "::") && !parse_groups(&text, head, &head_len))
        return false;
    if (text.len == 0) {
        if (head_len != 16)
            return false;
    } else {
        slice_advance(&text, 2);
        if (text.len > 0 && (!parse_groups(&text, tail, &tail_len) || text.len > 0))
            return false;
        if (head_len + tail_len > 14)
            return false;
    }
    memset(out, 0, 16);
    memcpy(out, head, head_len);
    memcpy(out + 16 - tail_len, tail, tail_len);
    return true;
}

bool ip_parse(struct slice text, struct ip_addr *out)
{
    uint8_t v4[4];

    if (slice_find(text, ':') >= 0)
        return parse_v6(text, out->bytes);
    if (!parse_v4(text, v4))
        return false;
    memcpy(out->bytes, v4_prefix, sizeof(v4_prefix));
    memcpy(out->bytes + sizeof(v4_prefix), v4, sizeof(v4));
    return true;
}

static char *put_group(char *to, unsigned group)
{
    bool begun = false;

    for (int shift = 12; shift >= 0; shift -= 4) {
        unsigned digit = group >> shift & 15;

        begun = begun || digit != 0 || shift == 0;
        if (begun)
            *to++ = "0123456789abcdef"[digit];
    }
    return to;
}

static char *put_v4(char *to, const uint8_t bytes[4])
{
    for (int i = 0; i < 4; i++) {
        char digits[U64_TEXT_SIZE];
        size_t len = u64_to_text(bytes[i], digits);

        if (i > 0)
            *to++ = '.';
        memcpy(to, digits, len);
        to += len;
    }
    return to;
}

/* RFC 5952 4.2: "::" for the longest run of at least two zero groups, the first of equal ones. */
void ip_format(const struct ip_addr *ip, char out[IP_TEXT_SIZE])
{
    unsigned groups[8];
    int best = -1;
    int best_len = 1;
    char *to = out;

    if (ip_is_v4(ip)) {
        *put_v4(to, ip->bytes + 12) = '\0';
        return;
    }
    for (int i = 0; i < 8; i++)
        groups[i] = (unsigned)ip->bytes[2 * i] << 8 | ip->bytes[2 * i + 1];
    for (int i = 0, run = 0; i < 8; i++) {
        run = groups[i] == 0 ? run + 1 : 0;
        if (run > best_len) {
            best_len = run;
            best = i + 1 - run;
        }
    }
    for (int i = 0; i < 8; i++) {
        if (i == best) {
            *to++ = ':';
            *to++ = ':';
            i += best_len - 1;
            continue;
        }
        if (i > 0 && to[-1] != ':')
            *to++ = ':';
        to = put_group(to, groups[i]);
    }
    *to = '\0';
}

static void clear_host_bits(struct ip_net *net)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned kept = net->prefix_len <= i * 8 ? 0 : net->prefix_len - i * 8;

        if (kept < 8)
            net->addr.bytes[i] &= (uint8_t)(0xFF00 >> kept);
    }
}

bool ip_net_parse(struct slice text, struct ip_net *out)
{
    struct ip_net net;
    ptrdiff_t slash = slice_find(text, '/');
    uint64_t prefix_len = 128;

    if (!ip_parse(slash < 0 ? text : slice_head(text, (size_t)slash), &net.addr))
        return false;
    if (slash >= 0) {
        /* A dotted quad counts its own 32 bits, whatever we store. */
        bool dotted = slice_find(slice_head(text, (size_t)slash), ':') < 0;

        slice_advance(&text, (size_t)slash + 1);
        if (text.len > 3 || !slice_to_u64(text, &prefix_len))
            return false;
        if (prefix_len > (dotted ? 32 : 128))
            return false;
        prefix_len += dotted ? 96 : 0;
    }
    net.prefix_len = (uint8_t)prefix_len;
    clear_host_bits(&net);
    *out = net;
    return true;
}

bool ip_net_contains(const struct ip_net *net, const struct ip_addr *ip)
{
    unsigned whole = net->prefix_len / 8;
    unsigned rest = net->prefix_len % 8;

    if (memcmp(net->addr.bytes, ip->bytes, whole) != 0)
        return false;
    return rest == 0 || (net->addr.bytes[whole] ^ ip->bytes[whole]) >> (8 - rest) == 0;
}
