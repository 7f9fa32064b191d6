/*
 * dns_message: finds what was asked for in the bytes of a reply (RFC 1035 4). The bytes come from
 * anybody: every length is checked, and every pointer of a compressed name leads to an earlier place.
 */
#include "base_codec.h"
#include "base_mem.h"
#include "dns_priv.h"

enum {
    HEADER_LEN = 12,
    CLASS_IN = 1,
    TYPE_NS = 2,
    TYPE_SOA = 6,
    CNAMES_MAX = 12, /* of a chain */
    RCODE_OK = 0,
    RCODE_NO_NAME = 3,
};

struct record {
    char owner[DNS_NAME_MAX];
    uint16_t type;
    uint16_t class;
    uint32_t ttl_s;
    size_t data_at;
    size_t data_len;
};

struct message {
    struct slice bytes;
    size_t answers_at;
    uint16_t answer_count;
    uint16_t authority_count;
    unsigned rcode;
    bool secure; /* AD */
};

static uint16_t get16(struct slice m, size_t at)
{
    return (uint16_t)(m.data[at] << 8 | m.data[at + 1]);
}

static uint32_t get32(struct slice m, size_t at)
{
    return (uint32_t)get16(m, at) << 16 | get16(m, at + 2);
}

static bool has(struct slice m, size_t at, size_t count)
{
    return at <= m.len && m.len - at >= count;
}

/* A label's bytes as text. What no name of ours holds becomes '?', so that it equals none and cannot be
 * asked for. */
static bool append_label(struct slice label, char *out, size_t *len)
{
    if (*len + (*len > 0) + label.len >= DNS_NAME_MAX)
        return false;
    if (*len > 0)
        out[(*len)++] = '.';
    for (size_t i = 0; i < label.len; i++) {
        uint8_t c = label.data[i];
        if (!dns_name_byte(c))
            c = '?';
        out[(*len)++] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    return true;
}

/* Reads the name at *at and moves behind it. The root is "". */
static bool get_name(struct slice m, size_t *at, char out[DNS_NAME_MAX])
{
    size_t from = *at, lowest = *at, len = 0;
    bool jumped = false;

    for (;;) {
        uint8_t head;
        if (!has(m, from, 1))
            return false;
        head = m.data[from];
        if (head >= 0xc0) {
            if (!has(m, from, 2))
                return false;
            if (!jumped)
                *at = from + 2;
            jumped = true;
            from = get16(m, from) & 0x3fff;
            if (from >= lowest)
                return false;
            lowest = from;
        } else if (head >= 0x40) {
            return false; /* no such kind of label */
        } else if (head == 0) {
            if (!jumped)
                *at = from + 1;
            out[len] = '\0';
            return true;
        } else {
            if (!has(m, from + 1, head)
                || !append_label(slice_of(m.data + from + 1, head), out, &len))
                return false;
            from += 1u + head;
        }
    }
}

static bool get_record(struct slice m, size_t *at, struct record *out)
{
    if (!get_name(m, at, out->owner) || !has(m, *at, 10))
        return false;
    out->type = get16(m, *at);
    out->class = get16(m, *at + 2);
    out->ttl_s = get32(m, *at + 4);
    if (out->ttl_s > INT32_MAX)
        out->ttl_s = 0; /* RFC 2181 8 */
    out->data_len = get16(m, *at + 8);
    out->data_at = *at + 10;
    *at = out->data_at + out->data_len;
    return has(m, out->data_at, out->data_len);
}

static bool get_header(struct slice bytes, struct message *out)
{
    char name[DNS_NAME_MAX];
    uint16_t questions;
    size_t at = HEADER_LEN;

    if (!has(bytes, 0, HEADER_LEN) || (bytes.data[2] & 0x80) == 0)
        return false;
    questions = get16(bytes, 4);
    for (uint16_t i = 0; i < questions; i++) {
        if (!get_name(bytes, &at, name) || !has(bytes, at, 4))
            return false;
        at += 4;
    }
    *out = (struct message){.bytes = bytes,
                            .answers_at = at,
                            .answer_count = get16(bytes, 6),
                            .authority_count = get16(bytes, 8),
                            .rcode = bytes.data[3] & 0x0f,
                            .secure = (bytes.data[3] & 0x20) != 0};
    return true;
}

/* Where the authority section begins; false if the answers do not hold together. */
static bool skip_answers(const struct message *m, size_t *out_at)
{
    struct record r;
    size_t at = m->answers_at;

    for (uint16_t i = 0; i < m->answer_count; i++) {
        if (!get_record(m->bytes, &at, &r))
            return false;
    }
    *out_at = at;
    return true;
}

/* Replaces `name` by what it is an alias of, as far as the answers tell. */
static bool follow_aliases(const struct message *m, char name[DNS_NAME_MAX], uint32_t *ttl_s)
{
    struct record r;

    for (int depth = 0; depth < CNAMES_MAX; depth++) {
        size_t at = m->answers_at, data_at;
        bool found = false;
        for (uint16_t i = 0; i < m->answer_count && !found; i++) {
            if (!get_record(m->bytes, &at, &r))
                return false;
            found = r.type == DNS_TYPE_CNAME && r.class == CLASS_IN && strcmp(r.owner, name) == 0;
        }
        if (!found)
            return true;
        data_at = r.data_at;
        if (!get_name(m->bytes, &data_at, name) || data_at != r.data_at + r.data_len)
            return false;
        if (r.ttl_s < *ttl_s)
            *ttl_s = r.ttl_s;
    }
    return false;
}

/* Of more than are kept the best are (the sorting is the cache's): puts it in place of the worst. */
static void replace_worst(const struct dns_mx *mx, struct buf *out)
{
    struct dns_mx *all = (struct dns_mx *)(void *)(out->data + out->head), *worst = all;

    for (size_t i = 1; i < buf_len(out) / sizeof(*all); i++) {
        if (all[i].preference > worst->preference)
            worst = &all[i];
    }
    if (mx->preference < worst->preference)
        *worst = *mx;
}

static bool take_mx(const struct message *m, const struct record *r, struct buf *out)
{
    struct dns_mx mx = {0};
    size_t at = r->data_at + 2;

    if (r->data_len < 3 || !get_name(m->bytes, &at, mx.host) || at != r->data_at + r->data_len)
        return false;
    mx.preference = get16(m->bytes, r->data_at);
    if (buf_len(out) < DNS_RECORDS_MAX * sizeof(mx))
        return buf_append(out, &mx, sizeof(mx));
    replace_worst(&mx, out);
    return true;
}

static bool take_address(const struct message *m, const struct record *r, struct buf *out)
{
    size_t len = r->type == DNS_TYPE_A ? 4 : 16;
    struct ip_addr ip = {{0}};

    if (r->data_len != len)
        return false;
    if (len == 4)
        memset(ip.bytes + 10, 0xff, 2);
    memcpy(ip.bytes + 16 - len, m->bytes.data + r->data_at, len);
    return buf_append(out, &ip, sizeof(ip));
}

/* Usage, selector, matching type, and data, which may be none: nobody can use such a record, but that it is
 * there counts (RFC 7672 2.1). */
static bool take_tlsa(const struct message *m, const struct record *r, struct dns_part *out)
{
    if (r->data_len < 3)
        return false;
    (void)dns_part_add_text(out, slice_of(m->bytes.data + r->data_at, r->data_len));
    return true;
}

static bool take_txt(const struct message *m, const struct record *r, struct dns_part *out)
{
    size_t at = r->data_at, end = r->data_at + r->data_len;
    struct buf text = {0};
    bool good = r->data_len > 0;

    while (at < end && good) {
        size_t len = m->bytes.data[at++];
        good = end - at >= len;
        if (good)
            (void)buf_append(&text, m->bytes.data + at, len);
        at += len;
    }
    if (good)
        (void)dns_part_add_text(out, buf_slice(&text));
    buf_finish(&text);
    return good;
}

static bool take_alias(const struct message *m, const struct record *r, struct dns_part *out)
{
    char target[DNS_NAME_MAX];
    size_t at = r->data_at;

    if (out->canonical != NULL || !get_name(m->bytes, &at, target)
        || at != r->data_at + r->data_len)
        return false; /* two of them cannot be (RFC 2181 10.1) */
    out->canonical = mem_dup(target, strlen(target) + 1);
    return true;
}

static bool take(const struct message *m, enum dns_type type, const struct record *r,
                 struct dns_part *out)
{
    switch (type) {
    case DNS_TYPE_A:
    case DNS_TYPE_AAAA: return take_address(m, r, &out->records);
    case DNS_TYPE_MX: return take_mx(m, r, &out->records);
    case DNS_TYPE_TLSA: return take_tlsa(m, r, out);
    case DNS_TYPE_TXT: return take_txt(m, r, out);
    case DNS_TYPE_CNAME: return take_alias(m, r, out);
    }
    ASSERT(false);
    return false;
}

/* How many were found: -1 if the reply does not hold together. */
static int collect(const struct message *m, enum dns_type type, const char *name,
                   struct dns_part *out)
{
    struct record r;
    size_t at = m->answers_at;
    int taken = 0;

    for (uint16_t i = 0; i < m->answer_count && (type == DNS_TYPE_MX || taken < DNS_RECORDS_MAX);
         i++) {
        if (!get_record(m->bytes, &at, &r))
            return -1;
        if (r.type != type || r.class != CLASS_IN || strcmp(r.owner, name) != 0)
            continue;
        if (!take(m, type, &r, out))
            return -1;
        if (r.ttl_s < out->ttl_s)
            out->ttl_s = r.ttl_s;
        taken++;
    }
    return taken;
}

/* Whether there is an answer to what was asked, of whatever type. One about other names only is nonsense, and
 * says nothing about this one. */
static bool answers_for(const struct message *m, const char *name)
{
    struct record r;
    size_t at = m->answers_at;

    for (uint16_t i = 0; i < m->answer_count; i++) {
        if (!get_record(m->bytes, &at, &r))
            return false;
        if (strcmp(r.owner, name) == 0)
            return true;
    }
    return m->answer_count == 0;
}

static bool get_soa_minimum(struct slice m, const struct record *r, uint32_t *out)
{
    char name[DNS_NAME_MAX];
    size_t at = r->data_at;

    if (!get_name(m, &at, name) || !get_name(m, &at, name) || !has(m, at, 20)
        || at + 20 != r->data_at + r->data_len)
        return false;
    *out = get32(m, at + 16);
    return true;
}

/* There is nothing: how long that holds (RFC 2308 5). A referral says nothing about the name at all: the
 * server was asked for recursion and does not do it. */
static bool read_absence(const struct message *m, struct dns_part *out)
{
    bool soa = false, referral = false;
    struct record r;
    size_t at;

    out->ttl_s = DNS_TTL_NEGATIVE_S;
    if (!skip_answers(m, &at))
        return false;
    for (uint16_t i = 0; i < m->authority_count && !soa; i++) {
        uint32_t minimum;
        if (!get_record(m->bytes, &at, &r))
            return false;
        referral |= r.type == TYPE_NS;
        if (r.type != TYPE_SOA || !get_soa_minimum(m->bytes, &r, &minimum))
            continue;
        soa = true;
        out->ttl_s = minimum < r.ttl_s ? minimum : r.ttl_s;
    }
    return soa || !referral || m->rcode == RCODE_NO_NAME || m->answer_count > 0;
}

static enum dns_status parse(struct slice bytes, enum dns_type type, const char *name,
                             struct dns_part *out)
{
    struct message m;
    char canonical[DNS_NAME_MAX];
    int found;

    if (!get_header(bytes, &m) || (m.rcode != RCODE_OK && m.rcode != RCODE_NO_NAME))
        return DNS_TEMPORARY;
    out->secure = m.secure;
    if (m.rcode == RCODE_NO_NAME)
        return read_absence(&m, out) ? DNS_NO_NAME : DNS_TEMPORARY;
    memcpy(canonical, name, strlen(name) + 1);
    out->ttl_s = UINT32_MAX;
    if (type != DNS_TYPE_CNAME && !follow_aliases(&m, canonical, &out->ttl_s))
        return DNS_TEMPORARY;
    found = collect(&m, type, canonical, out);
    if (found < 0)
        return DNS_TEMPORARY;
    if (type != DNS_TYPE_CNAME && strcmp(canonical, name) != 0)
        out->canonical = mem_dup(canonical, strlen(canonical) + 1);
    if (found > 0)
        return type == DNS_TYPE_CNAME || buf_len(&out->records) > 0 ? DNS_OK : DNS_TEMPORARY;
    return answers_for(&m, name) && read_absence(&m, out) ? DNS_NO_DATA : DNS_TEMPORARY;
}

void dns_message_parse(struct slice message, enum dns_type type, const char *name,
                       struct dns_part *out)
{
    *out = (struct dns_part){0};
    buf_init(&out->records, 0);
    out->status = parse(message, type, name, out);
    if (out->status != DNS_OK)
        dns_part_finish(out);
    if (out->status == DNS_TEMPORARY)
        out->secure = false;
}
