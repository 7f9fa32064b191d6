/*
 * delivery_tls_plan: from what is asked and what is known of a host to what its connections are to do,
 * or that there are to be none.
 */
#include "base_mem.h"
#include "delivery_remote_priv.h"

enum {
    USAGE_TA = 2,
    USAGE_EE = 3,
    MATCHING_FULL = 0,
    MATCHING_SHA256 = 1,
    MATCHING_SHA512 = 2,
};

/* ---- TLSA records --------------------------------------------------------------------------- */

/* The usages that ask for the CAs of the web mean nothing in SMTP (RFC 7672 3.1.3); what we do not know is
 * not for us (RFC 6698 4.1). */
static bool is_usable(const struct dns_tlsa *r)
{
    static const size_t lens[] = {[MATCHING_SHA256] = 32, [MATCHING_SHA512] = 64};

    if ((r->usage != USAGE_TA && r->usage != USAGE_EE) || r->selector > 1
        || r->matching > MATCHING_SHA512)
        return false;
    return r->matching == MATCHING_FULL ? r->data.len > 0 : r->data.len == lens[r->matching];
}

/* Of two digests of the same kind of thing the weaker counts for nothing (RFC 7671 9). */
static bool is_outdone(const struct dns_answer *records, const struct dns_tlsa *r)
{
    for (uint32_t i = 0; i < records->tlsa_count; i++) {
        const struct dns_tlsa *other = &records->tlsa[i];
        if (r->matching == MATCHING_SHA256 && other->matching == MATCHING_SHA512
            && other->usage == r->usage && other->selector == r->selector && is_usable(other))
            return true;
    }
    return false;
}

enum delivery_tlsa delivery_plan_tlsa(const struct dns_answer *records)
{
    for (uint32_t i = 0; i < records->tlsa_count; i++) {
        if (is_usable(&records->tlsa[i]))
            return DELIVERY_TLSA_USABLE;
    }
    return DELIVERY_TLSA_UNUSABLE;
}

/* ---- what is to be done --------------------------------------------------------------------- */

struct verdict {
    enum delivery_level level;
    enum delivery_by by;
    bool testing;
};

/* Words for the host, in *why, and no plan. */
#define REFUSE(why, permanent_, detail, ...)                                            \
    (delivery_reason_set(why, 7, detail, __VA_ARGS__), (why)->permanent = (permanent_), \
     (why)->enhanced[0] = (permanent_) ? 5 : 4, false)

static bool decide_dane(const struct delivery_plan_question *q, struct verdict *out,
                        struct delivery_reason *why)
{
    switch (q->tlsa) {
    case DELIVERY_TLSA_USABLE:
        *out = (struct verdict){DELIVERY_LEVEL_DANE, DELIVERY_BY_DANE, false};
        return true;
    case DELIVERY_TLSA_NONE:
        return REFUSE(why, false, 5, "DANE is required, but %.*s has no secure TLSA records",
                      SLICE_ARG(q->host));
    case DELIVERY_TLSA_UNUSABLE:
        return REFUSE(why, false, 5,
                      "DANE is required, but none of the TLSA records of %.*s can be used",
                      SLICE_ARG(q->host));
    case DELIVERY_TLSA_FAILED:
        return REFUSE(why, false, 5, "Cannot look up the TLSA records of %.*s now",
                      SLICE_ARG(q->host));
    }
    UNREACHABLE();
}

static bool is_allowed(const struct delivery_plan_question *q)
{
    return q->policy != NULL && sts_policy_allows(q->policy, q->host);
}

static bool decide_sts(const struct delivery_plan_question *q, struct verdict *out,
                       struct delivery_reason *why)
{
    /* A domain of ours may have a host of its own, in the manners of a route to others' MX. */
    if (q->policy == NULL)
        return REFUSE(why, false, 5, "MTA-STS is required, but %.*s is no MX of a domain",
                      SLICE_ARG(q->host));
    if (!is_allowed(q))
        return REFUSE(why, false, 5, "The MTA-STS policy of the domain does not name its MX %.*s",
                      SLICE_ARG(q->host));
    *out = (struct verdict){DELIVERY_LEVEL_VERIFY, DELIVERY_BY_STS, false};
    return true;
}

/* DANE, else MTA-STS, else what can be had. A host whose TLSA records cannot be asked for may have some
 * (RFC 7672 2.1.2); MTA-STS does not make up for that (RFC 8461 2). */
static bool decide_auto(const struct delivery_plan_question *q, struct verdict *out,
                        struct delivery_reason *why)
{
    if (q->tlsa == DELIVERY_TLSA_USABLE || q->tlsa == DELIVERY_TLSA_FAILED)
        return decide_dane(q, out, why);
    if (q->policy != NULL && q->policy->mode == STS_ENFORCE)
        return decide_sts(q, out, why);
    *out = (struct verdict){
        .level = q->tlsa == DELIVERY_TLSA_UNUSABLE ? DELIVERY_LEVEL_ENCRYPT : DELIVERY_LEVEL_MAY,
        .by = q->tlsa == DELIVERY_TLSA_UNUSABLE ? DELIVERY_BY_DANE : DELIVERY_BY_NOBODY,
        .testing = q->policy != NULL};
    /* What can be had may be had from anybody. Mail may be read by him; a password is worth more. */
    if (q->login) {
        out->level = DELIVERY_LEVEL_VERIFY;
        out->by = DELIVERY_BY_LOGIN;
    }
    return true;
}

/* REQUIRETLS wants a host of which somebody trustworthy says that it is the domain's, and that shows who it
 * is (RFC 8689 4.2.1). */
static bool decide_require(const struct delivery_plan_question *q, struct verdict *out,
                           struct delivery_reason *why)
{
    if (out->level == DELIVERY_LEVEL_DANE)
        return true;
    if (!is_allowed(q) && !q->demand.secure && q->by_mx)
        return REFUSE(why, true, 10,
                      "REQUIRETLS: neither DNSSEC nor MTA-STS says that %.*s is the domain's MX",
                      SLICE_ARG(q->host));
    if (out->level < DELIVERY_LEVEL_VERIFY)
        *out = (struct verdict){DELIVERY_LEVEL_VERIFY,
                                is_allowed(q) ? DELIVERY_BY_STS : DELIVERY_BY_REQUIRETLS, false};
    return true;
}

static bool decide(const struct delivery_plan_question *q, struct verdict *out,
                   struct delivery_reason *why)
{
    bool good = true;

    *out = (struct verdict){.by = DELIVERY_BY_ROUTE};
    switch (q->mode) {
    case CONF_ROUTE_TLS_NONE: break;
    case CONF_ROUTE_TLS_OPPORTUNISTIC: out->level = DELIVERY_LEVEL_MAY; break;
    case CONF_ROUTE_TLS_ENCRYPT: out->level = DELIVERY_LEVEL_ENCRYPT; break;
    case CONF_ROUTE_TLS_VERIFY: out->level = DELIVERY_LEVEL_VERIFY; break;
    case CONF_ROUTE_TLS_DANE: good = decide_dane(q, out, why); break;
    case CONF_ROUTE_TLS_MTA_STS: good = decide_sts(q, out, why); break;
    case CONF_ROUTE_TLS_AUTO: good = decide_auto(q, out, why); break;
    }
    /* We would not say the password in the clear (delivery_smtp_auth.c); so it is no way out either when TLS
     * fails once, and least of all one to be remembered. */
    if (good && q->login && out->level == DELIVERY_LEVEL_MAY)
        *out = (struct verdict){DELIVERY_LEVEL_ENCRYPT, DELIVERY_BY_LOGIN, false};
    if (good && q->demand.require)
        good = decide_require(q, out, why);
    if (good && !q->able && (out->level > DELIVERY_LEVEL_MAY || q->implicit))
        return REFUSE(why, false, 4, "TLS is required%s, but it is not to be had here",
                      delivery_by_words(out->by));
    if (!q->able)
        out->level = DELIVERY_LEVEL_PLAIN;
    return good;
}

const char *delivery_by_words(enum delivery_by by)
{
    switch (by) {
    case DELIVERY_BY_NOBODY:
    case DELIVERY_BY_ROUTE: return "";
    case DELIVERY_BY_DANE: return " by DANE";
    case DELIVERY_BY_STS: return " by MTA-STS";
    case DELIVERY_BY_REQUIRETLS: return " by REQUIRETLS";
    case DELIVERY_BY_LOGIN: return " for our login";
    }
    UNREACHABLE();
}

/* ---- the plan -------------------------------------------------------------------------------- */

static uint32_t count_records(const struct delivery_plan_question *q, size_t *out_size)
{
    uint32_t count = 0;

    *out_size = 0;
    for (uint32_t i = 0; i < q->records->tlsa_count; i++) {
        const struct dns_tlsa *r = &q->records->tlsa[i];
        if (!is_usable(r) || is_outdone(q->records, r))
            continue;
        *out_size += r->data.len;
        count++;
    }
    return count;
}

static struct slice copy(uint8_t **to, struct slice text)
{
    struct slice out = slice_of(*to, text.len);

    if (text.len > 0)
        memcpy(*to, text.data, text.len);
    *to += text.len;
    return out;
}

static void copy_records(const struct delivery_plan_question *q, struct tls_tlsa *out, uint8_t **to)
{
    for (uint32_t i = 0; i < q->records->tlsa_count; i++) {
        const struct dns_tlsa *r = &q->records->tlsa[i];
        if (!is_usable(r) || is_outdone(q->records, r))
            continue;
        *out++ = (struct tls_tlsa){.usage = r->usage,
                                   .selector = r->selector,
                                   .matching = r->matching,
                                   .data = copy(to, r->data)};
    }
}

/* Sessions may stand in for one another if the same was asked of them. */
static uint64_t fingerprint_of(const struct delivery_plan *plan)
{
    uint64_t hash = hash_bytes(plan->base) ^ hash_u64(plan->level);

    for (uint32_t i = 0; i < plan->tlsa_count; i++) {
        const struct tls_tlsa *r = &plan->tlsa[i];
        hash = hash_u64(hash ^ hash_bytes(r->data)
                        ^ ((uint64_t)r->usage << 16 | (uint64_t)r->selector << 8 | r->matching));
    }
    return hash;
}

struct delivery_plan *delivery_plan_create(const struct delivery_plan_question *q,
                                           struct delivery_reason *out_why)
{
    struct verdict verdict;
    struct slice base = q->host;
    struct delivery_plan *plan;
    struct tls_tlsa *records;
    struct ip_addr ip;
    uint32_t count = 0;
    size_t size = 0;
    uint8_t *text;

    if (!decide(q, &verdict, out_why))
        return NULL;
    if (verdict.level == DELIVERY_LEVEL_DANE) {
        count = count_records(q, &size);
        base = q->base;
    } else if (ip_parse(q->host, &ip)) {
        base = SLICE_NULL; /* addresses are not for SNI (RFC 6066 3) */
    }
    plan = mem_zalloc(sizeof(*plan) + count * sizeof(*records) + size + q->host.len + base.len);
    records = (struct tls_tlsa *)(void *)(plan + 1);
    text = (uint8_t *)(records + count);
    if (count > 0)
        copy_records(q, records, &text);
    plan->references = 1;
    plan->level = (uint8_t)verdict.level;
    plan->by = (uint8_t)verdict.by;
    plan->testing = verdict.testing;
    plan->require = q->demand.require;
    plan->allowed = is_allowed(q);
    plan->by_mx = q->by_mx;
    plan->tlsa = records;
    plan->tlsa_count = count;
    plan->host = copy(&text, q->host);
    plan->base = copy(&text, base);
    plan->fingerprint = fingerprint_of(plan);
    return plan;
}

struct delivery_plan *delivery_plan_hold(struct delivery_plan *plan)
{
    plan->references++;
    return plan;
}

void delivery_plan_drop(struct delivery_plan *plan)
{
    if (plan == NULL)
        return;
    ASSERT(plan->references > 0);
    if (--plan->references == 0)
        mem_free(plan);
}
