/*
 * delivery_tls_report: tells the accounts (RFC 8460) what a session, or the lack of one, has shown about
 * a domain's policy. A connection serves many domains; each that it is used for has seen a session.
 */
#include "base_mem.h"
#include "delivery_site_priv.h"

static enum report_result problem_result(uint8_t problem)
{
    switch ((enum sts_problem)problem) {
    case STS_PROBLEM_NONE: return REPORT_SUCCESS;
    case STS_PROBLEM_FETCH: return REPORT_STS_POLICY_FETCH_ERROR;
    case STS_PROBLEM_INVALID: return REPORT_STS_POLICY_INVALID;
    case STS_PROBLEM_WEBPKI: return REPORT_STS_WEBPKI_INVALID;
    }
    UNREACHABLE();
}

/* As in a zone: "3 1 1 0123...", a line each. */
static void tlsa_text(const struct delivery_plan *plan, struct buf *out)
{
    for (uint32_t i = 0; i < plan->tlsa_count; i++) {
        const struct tls_tlsa *r = &plan->tlsa[i];
        (void)buf_printf(out, "%s%u %u %u ", i > 0 ? "\n" : "", (unsigned)r->usage,
                         (unsigned)r->selector, (unsigned)r->matching);
        for (size_t k = 0; k < r->data.len; k++)
            (void)buf_printf(out, "%02x", (unsigned)r->data.data[k]);
    }
}

static void send_session(struct delivery *d, struct report_session *session,
                         const struct delivery_plan *plan, const struct sts_policy *policy)
{
    struct buf text = {0};

    if (session->type == REPORT_TLSA)
        tlsa_text(plan, &text);
    else if (policy != NULL)
        sts_policy_text(policy, &text);
    session->policy = buf_slice(&text);
    d->o.account(d->o.context, session);
    buf_finish(&text);
}

/* Routes with a `tls` of their own have no policy of the domain's to report about. */
static bool is_of_interest(const struct delivery *d, const struct delivery_site *s,
                           const struct delivery_task *t)
{
    return d->o.account != NULL && t != NULL && (t->flags & SPOOL_IS_REPORT) == 0
           && !s->addresses.lmtp
           && (s->route->tls == CONF_ROUTE_TLS_AUTO || s->route->tls == CONF_ROUTE_TLS_DANE
               || s->route->tls == CONF_ROUTE_TLS_MTA_STS);
}

void delivery_tls_report(struct delivery_smtp *c, const struct delivery_task *t, const char *reason)
{
    const struct delivery_site *s = c->site;
    const struct delivery_plan *plan = c->plan;
    struct report_session session = {
        .result = (enum report_result)c->result,
        .receiving_ip = &c->ip,
        .mx_host = plan->host,
        .reason = slice_str(reason),
    };
    uint64_t which;

    if (!is_of_interest(c->d, s, t) || (c->fell_back && c->result == REPORT_SUCCESS))
        return;
    if (plan->by == DELIVERY_BY_DANE) {
        session.type = REPORT_TLSA;
        session.domain = plan->base; /* RFC 8460 1.1: the TLSA base domain */
        session.mx = &plan->host;
        session.mx_count = 1;
    } else {
        session.domain = t->domain;
        if (s->policy != NULL) {
            session.type = REPORT_STS;
            session.mx = s->policy->mx;
            session.mx_count = s->policy->mx_count;
        } else if (t->sts_problem != STS_PROBLEM_NONE) {
            session.type = REPORT_STS;
            session.result = problem_result(t->sts_problem);
        }
    }
    which = hash_bytes(session.domain);
    if (c->reported == which)
        return;
    c->reported = which;
    send_session(c->d, &session, plan, s->policy);
}

void delivery_tls_report_refused(struct delivery_site *s, const struct delivery_host *host,
                                 enum delivery_tlsa tlsa)
{
    bool dane = tlsa == DELIVERY_TLSA_FAILED || s->route->tls == CONF_ROUTE_TLS_DANE;
    const struct delivery_task *t = delivery_site_waiting(s);
    const struct delivery_plan none = {.references = 1};
    struct report_session session = {
        .type = dane ? REPORT_TLSA : REPORT_STS,
        .result = !dane                          ? REPORT_VALIDATION_FAILURE
                  : tlsa == DELIVERY_TLSA_FAILED ? REPORT_DNSSEC_INVALID
                  : tlsa == DELIVERY_TLSA_NONE   ? REPORT_DANE_REQUIRED
                                                 : REPORT_TLSA_INVALID,
        .mx_host = host->name,
        .reason = dane ? SLICE_NULL : SLICE_LITERAL("the policy does not name this MX"),
    };

    if (!is_of_interest(s->d, s, t) || (!dane && s->policy == NULL))
        return;
    session.domain = dane ? host->name : t->domain;
    session.mx = dane ? &host->name : s->policy->mx;
    session.mx_count = dane ? 1 : s->policy->mx_count;
    send_session(s->d, &session, &none, s->policy);
}
