/*
 * sts_policy: see the header. Grammar: RFC 8461 3.1 and 3.2, taken at its word but for blank lines, which
 * people leave at the end of files. Whoever makes a mistake in a policy has none: it is better to say so
 * (sts-policy-invalid) than to guess what he wants enforced.
 */
#include "sts_policy.h"

#include "base_assert.h"
#include "base_mem.h"

enum {
    NAME_MAX_LEN = 32,    /* of a key */
    DOMAIN_MAX_LEN = 253, /* RFC 1035 2.3.4, as text */
    LABEL_MAX_LEN = 63,
    MAX_AGE_DIGITS_MAX = 10,
};

static bool is_alpha_digit(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

/* sts-ext-name and sts-policy-ext-name; all keys that have a meaning are such names. */
static bool is_key(struct slice s)
{
    if (s.len == 0 || s.len > NAME_MAX_LEN || !is_alpha_digit(s.data[0]))
        return false;
    for (size_t i = 1; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (!is_alpha_digit(c) && c != '_' && c != '-' && c != '.')
            return false;
    }
    return true;
}

/* ---- the TXT record ------------------------------------------------------------------------- */

static bool is_id(struct slice s)
{
    if (s.len == 0 || s.len > STS_ID_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_alpha_digit(s.data[i]))
            return false;
    }
    return true;
}

/* 1*(%x21-3A / %x3C / %x3E-7E) */
static bool is_record_value(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (c <= ' ' || c >= 0x7f || c == ';' || c == '=')
            return false;
    }
    return s.len > 0;
}

/* Up to `end`, or all; what is left is behind it. False: there was no `end`. */
static bool cut_at(struct slice *rest, uint8_t end, struct slice *out)
{
    ptrdiff_t at = slice_find(*rest, end);

    *out = slice_head(*rest, at < 0 ? rest->len : (size_t)at);
    slice_advance(rest, out->len + (at >= 0));
    return at >= 0;
}

static bool record_field(struct slice field, struct slice *io_id)
{
    struct slice key;

    if (!cut_at(&field, '=', &key) || !is_key(key))
        return false;
    if (!slice_equal(key, SLICE_LITERAL("id")))
        return is_record_value(field);
    if (!is_id(field))
        return false;
    if (io_id->len == 0) /* the first counts, as in a policy */
        *io_id = field;
    return true;
}

bool sts_record_parse(struct slice record, struct slice *out_id)
{
    struct slice rest = record, field, id = SLICE_NULL;
    bool more = cut_at(&rest, ';', &field), good = true;

    if (!more || field.len == 0 || field.data[0] != 'v'
        || !slice_equal(slice_trim(field), SLICE_LITERAL("v=STSv1")))
        return false;
    *out_id = SLICE_NULL;
    while (good && rest.len > 0) {
        more = cut_at(&rest, ';', &field);
        field = slice_trim(field);
        if (!more && field.len == 0)
            break; /* blanks behind the last semicolon */
        good = record_field(field, &id);
    }
    if (good)
        *out_id = id;
    return true;
}

/* ---- the policy ----------------------------------------------------------------------------- */

/* What a policy's lines say, before there is memory for it. */
struct reading {
    bool version, mode, max_age;
    struct sts_policy policy;
    size_t mx_bytes;
};

/* Domain (RFC 5321 4.1.2), and underscores, which host names have in spite of it. */
static bool is_domain(struct slice s)
{
    size_t label = 0;

    if (s.len == 0 || s.len > DOMAIN_MAX_LEN)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (c == '.') {
            if (label == 0 || s.data[i - 1] == '-')
                return false;
            label = 0;
            continue;
        }
        if (!is_alpha_digit(c) && c != '_' && (c != '-' || label == 0))
            return false;
        if (++label > LABEL_MAX_LEN)
            return false;
    }
    return label > 0 && s.data[s.len - 1] != '-';
}

static bool is_mx(struct slice s)
{
    if (s.len > 2 && s.data[0] == '*' && s.data[1] == '.')
        slice_advance(&s, 2);
    return is_domain(s);
}

static bool read_mode(struct slice value, enum sts_mode *out)
{
    if (slice_equal(value, SLICE_LITERAL("enforce")))
        *out = STS_ENFORCE;
    else if (slice_equal(value, SLICE_LITERAL("testing")))
        *out = STS_TESTING;
    else if (slice_equal(value, SLICE_LITERAL("none")))
        *out = STS_NONE;
    else
        return false;
    return true;
}

static bool read_max_age(struct slice value, uint32_t *out)
{
    uint64_t seconds;

    if (value.len > MAX_AGE_DIGITS_MAX || !slice_to_u64(value, &seconds))
        return false;
    *out = seconds < STS_MAX_AGE_MAX_S ? (uint32_t)seconds : STS_MAX_AGE_MAX_S;
    return true;
}

/* NULL, or what is wrong. Of what may stand once the first holds (3.2). */
static const char *read_field(struct reading *r, struct slice key, struct slice value)
{
    enum sts_mode mode;
    uint32_t max_age_s;

    if (slice_equal(key, SLICE_LITERAL("mx"))) {
        if (!is_mx(value))
            return "an mx is no host name or *.name";
        r->policy.mx_count++;
        r->mx_bytes += value.len;
    } else if (slice_equal(key, SLICE_LITERAL("version")) && !r->version) {
        if (!slice_equal(value, SLICE_LITERAL("STSv1")))
            return "the version is not STSv1";
        r->version = true;
    } else if (slice_equal(key, SLICE_LITERAL("mode")) && !r->mode) {
        if (!read_mode(value, &mode))
            return "the mode is not enforce, testing or none";
        r->policy.mode = mode;
        r->mode = true;
    } else if (slice_equal(key, SLICE_LITERAL("max_age")) && !r->max_age) {
        if (!read_max_age(value, &max_age_s))
            return "max_age is no number of seconds";
        r->policy.max_age_s = max_age_s;
        r->max_age = true;
    }
    return NULL;
}

static bool is_clean(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((s.data[i] < ' ' && s.data[i] != '\t') || s.data[i] == 0x7f)
            return false;
    }
    return true;
}

/* The next line without its end; blank ones are passed over. False: no more. */
static bool next_line(struct slice *rest, struct slice *out)
{
    while (rest->len > 0) {
        (void)cut_at(rest, '\n', out);
        if (out->len > 0 && out->data[out->len - 1] == '\r')
            out->len--;
        if (slice_trim(*out).len > 0)
            return true;
    }
    return false;
}

/* "key: value"; the key begins the line, blanks behind the value are no part of it. */
static bool split_line(struct slice line, struct slice *out_key, struct slice *out_value)
{
    if (!is_clean(line) || !cut_at(&line, ':', out_key) || !is_key(*out_key))
        return false;
    *out_value = slice_trim(line);
    return true;
}

static const char *read_lines(struct reading *r, struct slice text)
{
    struct slice line, key, value;
    const char *wrong = NULL;

    while (wrong == NULL && next_line(&text, &line)) {
        if (!split_line(line, &key, &value))
            return "a line is not \"key: value\"";
        wrong = read_field(r, key, value);
    }
    if (wrong != NULL)
        return wrong;
    if (!r->version)
        return "there is no version";
    if (!r->mode)
        return "there is no mode";
    if (!r->max_age)
        return "there is no max_age";
    if (r->policy.mx_count == 0 && r->policy.mode != STS_NONE)
        return "there is no mx";
    return NULL;
}

/* Second reading: the patterns go behind the struct. */
static void copy_mx(struct sts_policy *p, struct slice text)
{
    struct slice *mx = (struct slice *)(void *)(p + 1);
    uint8_t *bytes = (uint8_t *)(mx + p->mx_count);
    struct slice line, key, value;

    p->mx = mx;
    while (next_line(&text, &line)) {
        (void)split_line(line, &key, &value);
        if (!slice_equal(key, SLICE_LITERAL("mx")))
            continue;
        for (size_t i = 0; i < value.len; i++)
            bytes[i] = lower(value.data[i]);
        *mx++ = slice_of(bytes, value.len);
        bytes += value.len;
    }
    ASSERT(bytes == (uint8_t *)p + p->size);
}

struct sts_policy *sts_policy_parse(struct slice text, const char **out_why)
{
    struct reading r = {0};
    struct sts_policy *p;
    const char *wrong;

    wrong = text.len > STS_POLICY_MAX ? "it is too large" : read_lines(&r, text);
    if (wrong != NULL) {
        *out_why = wrong;
        return NULL;
    }
    r.policy.size = sizeof(*p) + r.policy.mx_count * sizeof(struct slice) + r.mx_bytes;
    p = mem_alloc(r.policy.size);
    *p = r.policy;
    copy_mx(p, text);
    return p;
}

struct sts_policy *sts_policy_copy(const struct sts_policy *policy)
{
    struct sts_policy *p = mem_dup(policy, policy->size);
    struct slice *mx = (struct slice *)(void *)(p + 1);

    for (uint32_t i = 0; i < p->mx_count; i++)
        mx[i].data = (const uint8_t *)p + (policy->mx[i].data - (const uint8_t *)policy);
    p->mx = mx;
    return p;
}

void sts_policy_text(const struct sts_policy *policy, struct buf *out)
{
    (void)buf_printf(out, "version: STSv1\nmode: %s\n", sts_mode_name(policy->mode));
    for (uint32_t i = 0; i < policy->mx_count; i++)
        (void)buf_printf(out, "mx: %.*s\n", SLICE_ARG(policy->mx[i]));
    (void)buf_printf(out, "max_age: %u\n", (unsigned)policy->max_age_s);
}

const char *sts_mode_name(enum sts_mode mode)
{
    switch (mode) {
    case STS_NONE: return "none";
    case STS_TESTING: return "testing";
    case STS_ENFORCE: return "enforce";
    }
    UNREACHABLE();
}

/* ---- hosts ---------------------------------------------------------------------------------- */

/* A "*." stands for exactly one label (4.1, RFC 6125 6.4.3). */
static bool matches(struct slice pattern, struct slice host)
{
    ptrdiff_t dot;

    if (pattern.len < 2 || pattern.data[0] != '*')
        return slice_equal_nocase(pattern, host);
    dot = slice_find(host, '.');
    if (dot <= 0)
        return false;
    slice_advance(&pattern, 1);
    slice_advance(&host, (size_t)dot);
    return slice_equal_nocase(pattern, host);
}

bool sts_policy_allows(const struct sts_policy *policy, struct slice host)
{
    if (host.len > 0 && host.data[host.len - 1] == '.')
        host.len--;
    for (uint32_t i = 0; host.len > 0 && i < policy->mx_count; i++) {
        if (matches(policy->mx[i], host))
            return true;
    }
    return false;
}
