/* smtp_address: the grammar of RFC 5321 4.1.2 and 4.1.3, by recursive descent over a cursor. */
#include "smtp_address.h"

#include "base_assert.h"
#include "base_codec.h"

/* RFC 1035 2.3.4: a label of a domain name. */
enum { LABEL_MAX = 63 };

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool eight_bit; /* something passed that only SMTPUTF8 allows */
};

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_let_dig(uint8_t c)
{
    return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* RFC 5322 3.2.3, with UTF-8 as RFC 6531 3.3 adds it. */
static bool is_atext(uint8_t c)
{
    return is_let_dig(c) || c >= 0x80 || (c != 0 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool at_byte(const struct cursor *c, uint8_t byte)
{
    return c->at < c->end && *c->at == byte;
}

static bool take_byte(struct cursor *c, uint8_t byte)
{
    if (!at_byte(c, byte))
        return false;
    c->at++;
    return true;
}

/* Quoted-string = DQUOTE *QcontentSMTP DQUOTE; may be empty. */
static bool take_quoted(struct cursor *c)
{
    if (!take_byte(c, '"'))
        return false;
    while (c->at < c->end) {
        uint8_t byte = *c->at++;

        if (byte == '"')
            return true;
        if (byte == '\\') {
            if (c->at == c->end || *c->at < 32 || *c->at > 126)
                return false;
            c->at++;
        } else if (byte < 32 || byte == 127) {
            return false;
        }
        c->eight_bit |= byte >= 0x80;
    }
    return false;
}

/* Dot-string = Atom *("." Atom) */
static bool take_dot_string(struct cursor *c)
{
    do {
        const uint8_t *start = c->at;

        while (c->at < c->end && is_atext(*c->at))
            c->eight_bit |= *c->at++ >= 0x80;
        if (c->at == start)
            return false;
    } while (take_byte(c, '.'));
    return true;
}

/* Domain = sub-domain *("." sub-domain), sub-domain = Let-dig [Ldh-str] */
static bool take_domain(struct cursor *c)
{
    do {
        const uint8_t *start = c->at;

        while (c->at < c->end && (is_let_dig(*c->at) || *c->at == '-' || *c->at >= 0x80))
            c->eight_bit |= *c->at++ >= 0x80;
        if (c->at == start || c->at - start > LABEL_MAX || *start == '-' || c->at[-1] == '-')
            return false;
    } while (take_byte(c, '.'));
    return true;
}

/* IPv4-address-literal = Snum 3("." Snum), Snum = 1*3DIGIT up to 255 */
static bool is_ipv4(struct slice text)
{
    struct cursor c = {text.data, text.data + text.len, false};

    for (int i = 0; i < 4; i++) {
        unsigned value = 0, digits = 0;

        if (i > 0 && !take_byte(&c, '.'))
            return false;
        while (c.at < c.end && is_digit(*c.at) && digits < 4) {
            value = value * 10 + (*c.at++ - (unsigned)'0');
            digits++;
        }
        if (digits == 0 || digits > 3 || value > 255)
            return false;
    }
    return c.at == c.end;
}

/* General-address-literal = Standardized-tag ":" 1*dcontent. Of dcontent without what would end or
 * quote something wherever the address is shown: no tag is registered that could need it. */
static bool is_general(struct slice text)
{
    ptrdiff_t colon = slice_find(text, ':');

    if (colon <= 0 || (size_t)colon + 1 == text.len)
        return false;
    for (ptrdiff_t i = 0; i < colon; i++)
        if (!is_let_dig(text.data[i]) && text.data[i] != '-')
            return false;
    if (text.data[colon - 1] == '-')
        return false;
    for (size_t i = (size_t)colon + 1; i < text.len; i++)
        if (text.data[i] < 33 || text.data[i] > 126 || strchr("[\\]<>@\"", text.data[i]) != NULL)
            return false;
    return true;
}

enum smtp_domain_kind smtp_literal_kind(struct slice text)
{
    struct slice ipv6 = SLICE_LITERAL("IPv6:");
    struct ip_addr ip;

    if (text.len < 2 || text.data[0] != '[' || text.data[text.len - 1] != ']')
        return SMTP_DOMAIN_NONE;
    text = slice_of(text.data + 1, text.len - 2);
    if (is_ipv4(text))
        return SMTP_DOMAIN_IPV4;
    if (slice_starts_nocase(text, ipv6)) {
        slice_advance(&text, ipv6.len);
        if (slice_find(text, ':') >= 0 && ip_parse(text, &ip))
            return SMTP_DOMAIN_IPV6;
        return SMTP_DOMAIN_NONE;
    }
    return is_general(text) ? SMTP_DOMAIN_GENERAL : SMTP_DOMAIN_NONE;
}

/* What a well-formed mailbox still has to satisfy. */
static enum smtp_address_result check_limits(const struct cursor *c, unsigned flags,
                                             const struct smtp_address *a)
{
    if (a->local.len > SMTP_LOCAL_MAX || a->domain.len > SMTP_DOMAIN_MAX
        || a->text.len + 2 > SMTP_PATH_MAX)
        return SMTP_ADDRESS_TOO_LONG;
    if (!c->eight_bit)
        return SMTP_ADDRESS_OK;
    if (!utf8_is_valid(a->text))
        return SMTP_ADDRESS_SYNTAX;
    return flags & SMTP_PATH_UTF8 ? SMTP_ADDRESS_OK : SMTP_ADDRESS_UTF8;
}

/* Mailbox = Local-part "@" ( Domain / address-literal ); <postmaster> has no domain. */
static enum smtp_address_result take_mailbox(struct cursor *c, unsigned flags,
                                             struct smtp_address *out)
{
    struct smtp_address a = {0};
    const uint8_t *start = c->at;
    enum smtp_address_result result;

    a.quoted = at_byte(c, '"');
    if (!(a.quoted ? take_quoted(c) : take_dot_string(c)))
        return SMTP_ADDRESS_SYNTAX;
    a.local = slice_of(start, (size_t)(c->at - start));

    if (take_byte(c, '@')) {
        const uint8_t *domain = c->at;

        if (at_byte(c, '[')) {
            while (c->at < c->end && *c->at++ != ']')
                ;
            a.domain = slice_of(domain, (size_t)(c->at - domain));
            a.kind = smtp_literal_kind(a.domain);
            if (a.kind == SMTP_DOMAIN_NONE)
                return SMTP_ADDRESS_SYNTAX;
        } else {
            if (!take_domain(c))
                return SMTP_ADDRESS_SYNTAX;
            a.domain = slice_of(domain, (size_t)(c->at - domain));
            a.kind = SMTP_DOMAIN_NAME;
        }
    } else if (!(flags & SMTP_PATH_POSTMASTER) || a.quoted
               || !slice_equal_nocase(a.local, SLICE_LITERAL("postmaster"))) {
        return SMTP_ADDRESS_SYNTAX;
    }
    a.text = slice_of(start, (size_t)(c->at - start));

    result = check_limits(c, flags, &a);
    if (result == SMTP_ADDRESS_OK)
        *out = a;
    return result;
}

/* A-d-l ":", the source route: "MUST BE accepted, SHOULD NOT be generated, and SHOULD be ignored"
 * (RFC 5321 4.1.2). */
static bool take_route(struct cursor *c)
{
    if (!at_byte(c, '@'))
        return true;
    do {
        if (!take_byte(c, '@') || !take_domain(c))
            return false;
    } while (take_byte(c, ','));
    return take_byte(c, ':');
}

enum smtp_address_result smtp_address_parse(struct slice text, unsigned flags,
                                            struct smtp_address *out)
{
    struct cursor c = {.at = text.data};
    enum smtp_address_result result;
    struct smtp_address a;

    if (text.len == 0) /* and perhaps without any memory */
        return SMTP_ADDRESS_SYNTAX;
    c.end = text.data + text.len;
    result = take_mailbox(&c, flags & SMTP_PATH_UTF8, &a);
    /* Garbage behind a mailbox is worse than its length. */
    if (c.at != c.end)
        return SMTP_ADDRESS_SYNTAX;
    if (result == SMTP_ADDRESS_OK)
        *out = a;
    return result;
}

enum smtp_address_result smtp_path_parse(struct slice *in, unsigned flags, struct smtp_address *out)
{
    struct cursor c = {in->data, in->data + in->len, false};
    struct smtp_address a = {0};
    enum smtp_address_result result = SMTP_ADDRESS_OK;

    if (!take_byte(&c, '<'))
        return SMTP_ADDRESS_SYNTAX;
    if (!at_byte(&c, '>') || !(flags & SMTP_PATH_NULL)) {
        if (!take_route(&c))
            return SMTP_ADDRESS_SYNTAX;
        result = take_mailbox(&c, flags, &a);
    }
    if (!take_byte(&c, '>'))
        return SMTP_ADDRESS_SYNTAX;
    if (result == SMTP_ADDRESS_OK) {
        slice_advance(in, (size_t)(c.at - in->data));
        *out = a;
    }
    return result;
}

bool smtp_domain_valid(struct slice text, unsigned flags)
{
    struct cursor c = {text.data, text.data + text.len, false};

    if (!take_domain(&c) || c.at != c.end || text.len > SMTP_DOMAIN_MAX)
        return false;
    return !c.eight_bit || (flags & SMTP_PATH_UTF8 && utf8_is_valid(text));
}
