/*
 * delivery_smtp_tls: a connection keeps its host's plan: STARTTLS or not, the handshake, what it has
 * shown; and where TLS as it is required is not to be had, in which words the mail waits.
 *
 * Where the plan allows plaintext, TLS that does not work is no reason to keep the mail: the host is
 * noted as broken (delivery_tls_memory.c), and the next attempt, which follows at once, is in the clear.
 * Nobody who can make TLS fail on the way could not as well have taken STARTTLS out of the peer's
 * answer. Where it does not, the address has failed, the next is tried, and the mail waits.
 *
 * By DANE-TA a certificate may be for the recipients' domain instead of the host (RFC 7672 3.2.2). That is
 * rare, and such a session is for that domain only; so it is what the second attempt accepts, and noted.
 *
 * An MTA-STS policy in testing mode is watched: the certificate is checked as if the policy were enforced,
 * and if it does not hold, that is reported, noted, and the next attempt, at once, does without the check.
 */
#include <stdio.h>

#include "base_log.h"
#include "base_mem.h"
#include "delivery_remote_priv.h"

static const uint16_t detail_none = 4;   /* X.7.4: security features not supported */
static const uint16_t detail_failed = 5; /* X.7.5: cryptographic failure */

static uint64_t now_of(const struct delivery_smtp *c)
{
    return io_now_ms(c->d->o.io);
}

static bool is_implicit(const struct delivery_smtp *c)
{
    return delivery_site_addresses(c->site)->implicit;
}

static bool plain_is_fine(const struct delivery_smtp *c)
{
    return c->plan->level <= DELIVERY_LEVEL_MAY && !is_implicit(c);
}

static uint16_t port_of(const struct delivery_smtp *c)
{
    struct ip_addr ip;
    uint16_t port = 0;

    (void)io_addr_to_ip(&c->address, &ip, &port);
    return port;
}

void delivery_smtp_tls_init(struct delivery_smtp *c, struct delivery_plan *plan)
{
    struct delivery_tls_memory *memory = &c->d->tls_memory;
    enum report_result known = REPORT_SUCCESS;

    c->plan = delivery_plan_hold(plan);
    c->in_clear = plan->level == DELIVERY_LEVEL_PLAIN && !is_implicit(c);
    if (plan->level == DELIVERY_LEVEL_MAY && plain_is_fine(c)
        && delivery_tls_noted(memory, DELIVERY_TLS_BROKEN, plan->host, port_of(c), now_of(c), NULL))
        c->in_clear = c->fell_back = true;
    if (plan->testing && plan->allowed)
        c->watching = !delivery_tls_noted(memory, DELIVERY_TLS_UNVERIFIED, plan->host, port_of(c),
                                          now_of(c), &known);
    else if (plan->testing)
        known = REPORT_VALIDATION_FAILURE; /* the policy does not name the host */
    c->result = (uint8_t)known;
}

void delivery_smtp_tls_finish(struct delivery_smtp *c)
{
    delivery_plan_drop(c->plan);
    mem_free((void *)(uintptr_t)c->bound.data);
}

/* The domain's name may make up for the host's, which has been found not to be there; once. */
static bool may_be_for_a_domain(const struct delivery_smtp *c)
{
    const struct delivery_plan *plan = c->plan;
    bool anchor = false;

    for (uint32_t i = 0; i < plan->tlsa_count; i++)
        anchor |= plan->tlsa[i].usage == 2;
    return anchor && plan->by_mx && c->host_alone;
}

/* The session will be for the domain whose mail is next. */
static void bind_to_domain(struct delivery_smtp *c)
{
    const struct delivery_task *t = delivery_site_waiting(c->site);

    c->host_alone = !delivery_tls_noted(&c->d->tls_memory, DELIVERY_TLS_BY_DOMAIN, c->plan->host,
                                        port_of(c), now_of(c), NULL);
    if (c->plan->level == DELIVERY_LEVEL_DANE && c->plan->by_mx && t != NULL && !c->host_alone)
        c->bound = slice_of(mem_dup(t->domain.data, t->domain.len), t->domain.len);
}

bool delivery_smtp_tls_may_take(const struct delivery_smtp *c)
{
    const struct delivery_task *t = delivery_site_waiting(c->site);

    return c->bound.len == 0 || (t != NULL && slice_equal_nocase(t->domain, c->bound));
}

/* ---- when it fails --------------------------------------------------------------------------- */

static enum report_result result_of(enum tls_failure failure)
{
    switch (failure) {
    case TLS_FAILURE_NONE: return REPORT_SUCCESS;
    case TLS_FAILURE_HANDSHAKE: return REPORT_VALIDATION_FAILURE;
    case TLS_FAILURE_EXPIRED: return REPORT_CERTIFICATE_EXPIRED;
    case TLS_FAILURE_NAME: return REPORT_CERTIFICATE_HOST_MISMATCH;
    case TLS_FAILURE_UNTRUSTED: return REPORT_CERTIFICATE_NOT_TRUSTED;
    case TLS_FAILURE_TLSA: return REPORT_VALIDATION_FAILURE;
    }
    UNREACHABLE();
}

/* What is wrong with a certificate will be wrong with the next attempt as well. */
static bool is_final(enum report_result result)
{
    switch (result) {
    case REPORT_STARTTLS_NOT_SUPPORTED:
    case REPORT_CERTIFICATE_HOST_MISMATCH:
    case REPORT_CERTIFICATE_EXPIRED:
    case REPORT_CERTIFICATE_NOT_TRUSTED:
    case REPORT_TLSA_INVALID:
    case REPORT_DANE_REQUIRED: return true;
    case REPORT_SUCCESS:
    case REPORT_VALIDATION_FAILURE:
    case REPORT_DNSSEC_INVALID:
    case REPORT_STS_POLICY_FETCH_ERROR:
    case REPORT_STS_POLICY_INVALID:
    case REPORT_STS_WEBPKI_INVALID:
    case REPORT_RESULT_COUNT: return false;
    }
    UNREACHABLE();
}

static void log_failed(const struct delivery_smtp *c, const char *reason)
{
    char name[DELIVERY_REMOTE_NAME];
    struct log_record r;

    delivery_smtp_name(c, name);
    log_begin(&r, LOG_INFO, "tls-failed");
    log_str(&r, "remote", name);
    log_str(&r, "reason", reason);
    log_str(&r, "then", plain_is_fine(c) ? "goes-on" : "waits");
    log_end(&r);
}

/* For the domain whose mail the attempt was for; its policy may be a new one by now (RFC 8461 5.1). */
static void doubt_policy(const struct delivery_smtp *c)
{
    const struct delivery_task *t = delivery_site_waiting(c->site);

    if (c->plan->by == DELIVERY_BY_STS && t != NULL && c->d->o.sts != NULL)
        sts_doubt(c->d->o.sts, t->domain);
}

/* TLS is not to be had: accounts, and the sentence that the mail waits with. `session_over`: this
 * connection is of no more use. */
static void tls_failed(struct delivery_smtp *c, enum report_result result, const char *words,
                       uint16_t detail, bool session_over, struct delivery_reason *why)
{
    char name[DELIVERY_REMOTE_NAME];

    delivery_smtp_name(c, name);
    if (plain_is_fine(c)) {
        delivery_reason_set(why, 7, detail, "%s: %s", name, words);
        delivery_tls_note(&c->d->tls_memory, DELIVERY_TLS_BROKEN, c->plan->host, port_of(c),
                          now_of(c), result);
        c->in_clear = c->fell_back = true;
        c->retry = session_over;
    } else {
        delivery_reason_set(why, 7, detail, "TLS is required%s, but %s: %s",
                            delivery_by_words((enum delivery_by)c->plan->by), name, words);
        c->d->counters.tls_refused++;
        if (c->plan->require && is_final(result)) {
            why->permanent = true;
            why->enhanced[0] = 5;
            why->enhanced[2] = 10; /* RFC 7504 4.1, RFC 8689 6: encryption needed */
        }
    }
    c->d->counters.tls_failed += result != REPORT_STARTTLS_NOT_SUPPORTED;
    c->result = (uint8_t)result;
    delivery_tls_report(c, delivery_site_waiting(c->site), words);
    doubt_policy(c);
    log_failed(c, words);
}

/* The check of a policy that is only watched has failed, or of the host's names: the next attempt knows. */
static void check_failed(struct delivery_smtp *c, enum delivery_tls_note note,
                         enum report_result result, const char *words, struct delivery_reason *why)
{
    char name[DELIVERY_REMOTE_NAME];

    delivery_smtp_name(c, name);
    delivery_reason_set(why, 7, detail_failed, "%s: %s", name, words);
    delivery_tls_note(&c->d->tls_memory, note, c->plan->host, port_of(c), now_of(c), result);
    c->retry = true;
    c->d->counters.tls_failed++;
    log_failed(c, words); /* who reports is the next attempt */
}

/* ---- before ---------------------------------------------------------------------------------- */

static enum delivery_tls_next give_up_requiretls(struct delivery_smtp *c,
                                                 struct delivery_reason *why)
{
    char name[DELIVERY_REMOTE_NAME];

    delivery_smtp_name(c, name);
    delivery_reason_set(why, 7, 30, "REQUIRETLS: %s does not offer it", name);
    why->permanent = true;
    why->enhanced[0] = 5;
    c->d->counters.tls_refused++;
    return DELIVERY_TLS_GIVE_UP;
}

enum delivery_tls_next delivery_smtp_tls_next(struct delivery_smtp *c, struct delivery_reason *why)
{
    bool offered = (c->smtp.capabilities.extensions & SMTP_EXT_STARTTLS) != 0;

    if (c->smtp.tls_active) {
        if (c->plan->require && (c->smtp.capabilities.extensions & SMTP_EXT_REQUIRETLS) == 0)
            return give_up_requiretls(c, why);
        return DELIVERY_TLS_GO_ON;
    }
    if (c->in_clear) {
        c->d->counters.tls_fallbacks += c->fell_back && !c->greeted;
        return DELIVERY_TLS_GO_ON;
    }
    if (offered)
        return DELIVERY_TLS_START;
    if (plain_is_fine(c)) { /* what everybody may do without; no failure, but a result */
        c->in_clear = true;
        c->result = REPORT_STARTTLS_NOT_SUPPORTED;
        return DELIVERY_TLS_GO_ON;
    }
    tls_failed(c, REPORT_STARTTLS_NOT_SUPPORTED, "it offers no STARTTLS", detail_none, true, why);
    return DELIVERY_TLS_GIVE_UP;
}

bool delivery_smtp_tls_refused(struct delivery_smtp *c, struct delivery_reason *why)
{
    char words[DELIVERY_TEXT_MAX];

    (void)snprintf(words, sizeof(words), "it refused STARTTLS: %u %.*s",
                   (unsigned)c->smtp.reply.code, SLICE_ARG(c->smtp.reply.text));
    tls_failed(c, REPORT_STARTTLS_NOT_SUPPORTED, words, detail_none, false, why);
    c->d->counters.tls_failed++;
    return plain_is_fine(c);
}

bool delivery_smtp_tls_lost(struct delivery_smtp *c, struct delivery_reason *why)
{
    const struct smtp_client_failure *f = &c->smtp.failure;
    bool asked = f->stage == SMTP_STAGE_STARTTLS || f->stage == SMTP_STAGE_SECURE;

    /* A peer may find fault with the handshake only after we have seen its end. */
    if (c->greeted || c->cut || !(asked || (c->smtp.tls_active && f->code == 0)))
        return false;
    tls_failed(c, REPORT_VALIDATION_FAILURE,
               f->protocol  ? "it does not speak SMTP around STARTTLS"
               : c->expired ? "timeout at the beginning of TLS"
               : net_conn_tls_error(&c->net) != NULL
                   ? net_conn_tls_error(&c->net)
                   : "the connection was lost at the beginning of TLS",
               detail_failed, true, why);
    return true;
}

/* ---- the handshake --------------------------------------------------------------------------- */

void delivery_smtp_tls_begin(struct delivery_smtp *c)
{
    const struct delivery_plan *plan = c->plan;
    struct tls_connect_options options;
    struct slice names[3] = {plan->base.len > 0 ? plan->base : plan->host};
    size_t name_count = 1;
    bind_to_domain(c);
    if (!slice_equal_nocase(plan->host, names[0]))
        names[name_count++] = plan->host;
    if (c->bound.len > 0)
        names[name_count++] = c->bound;
    options = (struct tls_connect_options){
        .check = plan->level == DELIVERY_LEVEL_DANE                    ? TLS_CHECK_DANE
                 : plan->level == DELIVERY_LEVEL_VERIFY || c->watching ? TLS_CHECK_NAME
                                                                       : TLS_CHECK_NONE,
        .sni = plan->base,
        .names = names,
        .name_count = name_count,
        .tlsa = plan->tlsa,
        .tlsa_count = plan->tlsa_count,
        .resume =
            delivery_tls_recall(&c->d->tls_memory, plan, port_of(c), now_of(c), &c->tls_full_ms),
    };

    net_conn_start_tls(&c->net, tls_connect(c->d->o.client_tls, &options), NULL);
}

static void take_facts(struct delivery_smtp *c, const struct tls_facts *facts)
{
    struct delivery_counters *counters = &c->d->counters;

    (void)snprintf(c->tls.version, sizeof(c->tls.version), "%s", facts->version);
    (void)snprintf(c->tls.cipher, sizeof(c->tls.cipher), "%s", facts->cipher);
    counters->tls_sessions++;
    counters->tls_resumed += facts->resumed;
    if (!facts->resumed)
        c->tls_full_ms = now_of(c);
    if (c->plan->level < DELIVERY_LEVEL_VERIFY)
        return;
    c->tls.verified = c->plan->level == DELIVERY_LEVEL_DANE ? DELIVERY_VERIFIED_DANE
                      : c->plan->by == DELIVERY_BY_STS      ? DELIVERY_VERIFIED_STS
                                                            : DELIVERY_VERIFIED_CA;
    counters->tls_dane += c->tls.verified == DELIVERY_VERIFIED_DANE;
    counters->tls_sts += c->tls.verified == DELIVERY_VERIFIED_STS;
    counters->tls_ca += c->tls.verified == DELIVERY_VERIFIED_CA;
}

static const char *failure_words(const struct delivery_smtp *c, char *out, size_t size)
{
    const char *error = net_conn_tls_error(&c->net);
    const struct tls *t = net_conn_tls(&c->net);
    bool certificate = t != NULL && tls_failure_of(t) > TLS_FAILURE_HANDSHAKE;

    if (c->net.tls_state != NET_CONN_TLS_FAILED) /* the connection has, or the time */
        return c->expired ? "timeout in the TLS handshake"
                          : "the connection was lost in the TLS handshake";
    (void)snprintf(out, size, "%s: %s",
                   certificate ? "its certificate does not hold" : "the TLS handshake failed",
                   error != NULL ? error : "no reason given");
    return out;
}

enum delivery_tls_step delivery_smtp_tls_step(struct delivery_smtp *c, struct delivery_reason *why)
{
    char words[DELIVERY_TEXT_MAX];
    struct tls *t = net_conn_tls(&c->net);
    enum tls_failure failure = TLS_FAILURE_NONE;
    struct tls_facts facts;

    if (c->net.tls_state == NET_CONN_TLS_ACTIVE && c->net.error == 0) {
        tls_facts(t, &facts);
        if (c->plan->level < DELIVERY_LEVEL_VERIFY || facts.verified) {
            take_facts(c, &facts);
            return DELIVERY_TLS_DONE;
        }
    }
    if (c->net.error == 0 && !c->net.eof && !c->expired
        && c->net.tls_state == NET_CONN_TLS_HANDSHAKE)
        return DELIVERY_TLS_WAIT;
    if (t != NULL && c->net.tls_state == NET_CONN_TLS_FAILED)
        failure = tls_failure_of(t);
    if (failure == TLS_FAILURE_NONE)
        failure = TLS_FAILURE_HANDSHAKE;
    if (c->watching && failure > TLS_FAILURE_HANDSHAKE)
        check_failed(c, DELIVERY_TLS_UNVERIFIED, result_of(failure),
                     failure_words(c, words, sizeof(words)), why);
    else if (failure == TLS_FAILURE_NAME && may_be_for_a_domain(c))
        check_failed(c, DELIVERY_TLS_BY_DOMAIN, result_of(failure),
                     failure_words(c, words, sizeof(words)), why);
    else
        tls_failed(c, result_of(failure), failure_words(c, words, sizeof(words)), detail_failed,
                   true, why);
    return DELIVERY_TLS_FAILED;
}

/* ---- after ----------------------------------------------------------------------------------- */

/* Tickets come behind the handshake (RFC 8446 4.6.1): once the peer has answered something they are there. */
void delivery_smtp_tls_keep(struct delivery_smtp *c)
{
    struct tls *t = c->smtp.tls_active ? net_conn_tls(&c->net) : NULL;
    struct tls_resumption *r;

    if (t == NULL || c->net.tls_state != NET_CONN_TLS_ACTIVE || c->closed)
        return;
    r = tls_resumption_take(t);
    if (r != NULL)
        delivery_tls_remember(&c->d->tls_memory, c->plan, port_of(c), r, c->tls_full_ms);
}
