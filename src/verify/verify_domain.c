/*
 * verify_domain: whether there is somebody to take mail for a domain: an MX, or else an address (RFC 5321
 * 5.1). That an MX host has an address is not asked here: it may be back before the mail goes.
 */
#include "verify_priv.h"

static void ask_mx_done(struct dns_query *q);
static void ask_address_done(struct dns_query *q);

static uint64_t kept_ms(enum verify_verdict verdict)
{
    if (verdict == VERIFY_GOOD)
        return VERIFY_DOMAIN_GOOD_MS;
    return verdict == VERIFY_NO_DNS ? VERIFY_DOMAIN_DOUBT_MS : VERIFY_DOMAIN_BAD_MS;
}

static void settle(struct verify_entry *e, enum verify_verdict verdict)
{
    dns_query_finish(&e->dns);
    e->state = VERIFY_IDLE;
    e->verdict = (uint8_t)verdict;
    e->expires_ms = verify_now_ms(e->v) + kept_ms(verdict);
    verify_tell(e, verdict);
}

static enum verify_verdict verdict_of(enum dns_status status)
{
    switch (status) {
    case DNS_OK: return VERIFY_GOOD;
    case DNS_NO_DATA:
    case DNS_NO_NAME:
    case DNS_BAD_NAME: return VERIFY_NO_DOMAIN;
    case DNS_TEMPORARY: return VERIFY_NO_DNS;
    }
    UNREACHABLE();
}

static void ask_address_done(struct dns_query *q)
{
    settle(container_of(q, struct verify_entry, dns), verdict_of(q->status));
}

/* RFC 7505 3: one MX, with an empty name. */
static bool is_null_mx(const struct dns_answer *answer)
{
    return answer->mx_count == 1 && answer->mx[0].host[0] == '\0';
}

static void ask_mx_done(struct dns_query *q)
{
    struct verify_entry *e = container_of(q, struct verify_entry, dns);

    if (q->status == DNS_OK && is_null_mx(q->answer)) {
        settle(e, VERIFY_NULL_MX);
    } else if (q->status == DNS_NO_DATA) {
        dns_query_finish(q);
        *q = (struct dns_query){.done = ask_address_done};
        dns_query_addresses(e->v->o.dns, q, verify_text(e));
    } else {
        settle(e, verdict_of(q->status));
    }
}

enum verify_verdict verify_domain(struct verify *v, struct verify_query *q, const struct conf *conf,
                                  struct slice domain)
{
    char key[1 + SMTP_DOMAIN_MAX];
    struct verify_entry *e;

    ASSERT(domain.len > 0 && domain.len <= SMTP_DOMAIN_MAX);
    v->counters.domains++;
    key[0] = 'd';
    for (size_t i = 0; i < domain.len; i++) {
        uint8_t c = domain.data[i];
        key[1 + i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    e = v->stopping ? NULL
                    : verify_entry_get(v, VERIFY_KIND_DOMAIN, slice_of(key, 1 + domain.len),
                                       slice_of(key + 1, domain.len));
    if (e == NULL)
        return verify_answer_now(v, q, NULL, VERIFY_NO_DNS);
    if (e->state == VERIFY_IDLE && verify_entry_valid(e, conf)) {
        v->counters.domains_cached++;
        return verify_answer_now(v, q, e, (enum verify_verdict)e->verdict);
    }
    if (e->state == VERIFY_IDLE) {
        e->state = VERIFY_ASKING;
        e->generation = conf->generation;
        e->dns = (struct dns_query){.done = ask_mx_done};
        dns_query_mx(v->o.dns, &e->dns, verify_text(e));
    }
    return verify_wait_for(e, q);
}
