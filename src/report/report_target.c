/*
 * report_target: the TXT record at _smtp._tls.DOMAIN (RFC 8460 3): "v=TLSRPTv1; rua=mailto:a@b,https://c/d".
 * Of its URIs those count that can be used: an address of plain characters, an https URL with a name.
 */
#include "http.h"
#include "report_priv.h"

static bool is_alpha_digit(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Up to `end`, or all; what is left is behind it. False: there was no `end`. */
static bool cut_at(struct slice *rest, uint8_t end, struct slice *out)
{
    ptrdiff_t at = slice_find(*rest, end);

    *out = slice_head(*rest, at < 0 ? rest->len : (size_t)at);
    slice_advance(rest, out->len + (at >= 0));
    return at >= 0;
}

static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 6068 2: percent-encoded, and header fields may follow, of which we take none. */
static bool decode_address(struct slice s, char *out, size_t *out_len)
{
    size_t len = 0;

    for (size_t i = 0; i < s.len && s.data[i] != '?'; i++) {
        uint8_t c = s.data[i];
        if (c == '%') {
            if (s.len - i < 3 || hex(s.data[i + 1]) < 0 || hex(s.data[i + 2]) < 0)
                return false;
            c = (uint8_t)(hex(s.data[i + 1]) << 4 | hex(s.data[i + 2]));
            i += 2;
        }
        if (len == REPORT_URI_MAX - 1)
            return false;
        out[len++] = (char)c;
    }
    out[len] = '\0';
    *out_len = len;
    return true;
}

/* Dot-string "@" Domain (RFC 5321 4.1.2): nobody has reports sent to a quoted local part. */
static bool is_address(struct slice s)
{
    ptrdiff_t at = slice_find(s, '@');
    bool label = false;

    if (at <= 0 || at > 64 || s.len - (size_t)at > 254)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        bool local = i < (size_t)at;
        if (c == '.' || i == (size_t)at) {
            if (!label)
                return false;
            label = false;
            continue;
        }
        if (!is_alpha_digit(c) && c != '-' && c != '_'
            && !(local && c > ' ' && strchr("!#$%&'*+/=?^`{|}~", c) != NULL))
            return false;
        label = true;
    }
    return label;
}

static bool read_uri(struct slice uri, struct report_target *out)
{
    struct http_url url;
    size_t len;

    if (slice_starts_nocase(uri, SLICE_LITERAL("mailto:"))) {
        slice_advance(&uri, 7);
        out->https = false;
        return decode_address(uri, out->uri, &len) && is_address(slice_of(out->uri, len));
    }
    if (uri.len >= REPORT_URI_MAX || memchr(uri.data, 0, uri.len) != NULL)
        return false;
    memcpy(out->uri, uri.data, uri.len);
    out->uri[uri.len] = '\0';
    out->https = true;
    return slice_starts_nocase(uri, SLICE_LITERAL("https://")) && http_url_parse(out->uri, &url)
           && url.secure;
}

static bool same(const struct report_target *a, const struct report_target *b)
{
    return a->https == b->https && strcmp(a->uri, b->uri) == 0;
}

static void read_uris(struct slice list, struct report_target out[REPORT_TARGETS_MAX],
                      size_t *count)
{
    while (list.len > 0 && *count < REPORT_TARGETS_MAX) {
        struct slice uri;
        bool known = false;
        (void)cut_at(&list, ',', &uri);
        uri = slice_trim(uri);
        if (uri.len == 0 || !read_uri(uri, &out[*count]))
            continue;
        for (size_t i = 0; i < *count; i++)
            known |= same(&out[i], &out[*count]);
        *count += !known;
    }
}

/* tlsrpt-ext-name; rua is such a name too. */
static bool is_key(struct slice s)
{
    if (s.len == 0 || s.len > 32 || !is_alpha_digit(s.data[0]))
        return false;
    for (size_t i = 1; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (!is_alpha_digit(c) && c != '_' && c != '-' && c != '.')
            return false;
    }
    return true;
}

bool report_record_parse(struct slice record, struct report_target out[REPORT_TARGETS_MAX],
                         size_t *out_count)
{
    struct slice rest = record, field, key;
    bool more = cut_at(&rest, ';', &field);
    size_t count = 0;

    if (!more || field.len == 0 || field.data[0] != 'v'
        || !slice_equal(slice_trim(field), SLICE_LITERAL("v=TLSRPTv1")))
        return false;
    *out_count = 0;
    while (rest.len > 0) {
        more = cut_at(&rest, ';', &field);
        field = slice_trim(field);
        if (!more && field.len == 0)
            break;
        if (!cut_at(&field, '=', &key) || !is_key(key))
            return true; /* not right: nobody is told anything */
        if (slice_equal(key, SLICE_LITERAL("rua")) && count == 0)
            read_uris(field, out, &count);
    }
    *out_count = count;
    return true;
}
