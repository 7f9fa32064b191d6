/* sasl_token: what clients say in OAUTHBEARER (RFC 7628 3.1) and in XOAUTH2, its forerunner. */
#include "sasl_server_priv.h"

enum { SEPARATOR = 1 };

/* Takes "key=value^A" off the front. */
static bool next_pair(struct slice *rest, struct slice *out_key, struct slice *out_value)
{
    ptrdiff_t end = slice_find(*rest, SEPARATOR);
    struct slice pair = slice_head(*rest, end < 0 ? 0 : (size_t)end);
    ptrdiff_t equals = slice_find(pair, '=');

    if (end < 0 || equals <= 0)
        return false;
    slice_advance(rest, pair.len + 1);
    *out_key = slice_head(pair, (size_t)equals);
    slice_advance(&pair, (size_t)equals + 1);
    *out_value = pair;
    return true;
}

/* "Bearer token" (RFC 6750 2.1) */
static bool parse_bearer(struct slice value, struct slice *out)
{
    static const struct slice scheme = SLICE_INIT("Bearer ");

    if (value.len == 0) {
        *out = SLICE_NULL;
        return true;
    }
    if (!slice_starts_nocase(value, scheme))
        return false;
    slice_advance(&value, scheme.len);
    value = slice_trim(value);
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] <= ' ' || value.data[i] >= 127)
            return false;
    *out = value;
    return value.len > 0;
}

/* "n,a=user," and what follows it. */
static bool parse_header(struct sasl_server *s, struct slice *message)
{
    uint8_t name[SASL_USER_MAX];
    size_t len;
    ptrdiff_t comma;

    if (message->len < 3 || (message->data[0] != 'n' && message->data[0] != 'y')
        || message->data[1] != ',')
        return false;
    slice_advance(message, 2);
    comma = slice_find(*message, ',');
    if (comma < 0)
        return false;
    struct slice field = slice_head(*message, (size_t)comma);
    slice_advance(message, field.len + 1);
    if (field.len > 0) {
        if (field.len < 3 || field.data[0] != 'a' || field.data[1] != '=')
            return false;
        slice_advance(&field, 2);
        if (!sasl_gs2_name(field, name, &len) || !sasl_server_set_user(s, slice_of(name, len)))
            return false;
    }
    if (message->len == 0 || message->data[0] != SEPARATOR)
        return false;
    slice_advance(message, 1);
    return true;
}

bool sasl_token_parse(struct sasl_server *s, struct slice message)
{
    bool xoauth2 = s->mechanism == SASL_XOAUTH2;
    bool have_token = false;
    struct slice key, value;

    if (!xoauth2 && !parse_header(s, &message))
        return false;
    while (message.len > 1) {
        if (!next_pair(&message, &key, &value))
            return false;
        if (slice_equal(key, SLICE_LITERAL("auth"))) {
            if (have_token || !parse_bearer(value, &s->token))
                return false;
            have_token = true;
        } else if (xoauth2 && slice_equal(key, SLICE_LITERAL("user"))) {
            if (s->user.len > 0 || !sasl_server_set_user(s, value))
                return false;
        } /* host, port and what may come are nothing to us */
    }
    return message.len == 1 && message.data[0] == SEPARATOR && have_token
           && (!xoauth2 || s->user.len > 0);
}
