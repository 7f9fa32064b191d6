/*
 * delivery_explain_write: an explanation as lines or as JSON.
 *
 *     list@example.org from <>
 *       alias "list@example.org" (/etc/mailring/aliases:7)
 *     ann@example.org
 *       domain "example.org": maildir:/var/mail/example.org/%u
 *     bob@else.example
 *       route "*": mx
 *         site up, 2 connections (1 idle, 0 attempts), 0 waiting
 *         MTA-STS policy: enforce, mx1.else.example, *.mx.else.example
 *         10 mx1.else.example (TLS verified by a CA, required by MTA-STS)
 *           192.0.2.1
 *           2001:db8::1 (failed lately: after all others for 240 s more)
 */
#include "base_codec.h"
#include "delivery_explain_priv.h"

/* ---- words ---------------------------------------------------------------------------------- */

static void tls_words(const struct delivery_plan *plan, bool implicit, struct buf *out)
{
    static const char *const words[] = {
        [DELIVERY_LEVEL_PLAIN] = "no TLS",
        [DELIVERY_LEVEL_MAY] = "TLS where it works",
        [DELIVERY_LEVEL_ENCRYPT] = "TLS required",
        [DELIVERY_LEVEL_VERIFY] = "TLS verified by a CA, required",
        [DELIVERY_LEVEL_DANE] = "TLS verified by DANE, required",
    };

    (void)buf_append_str(out, words[plan->level]);
    if (plan->level != DELIVERY_LEVEL_DANE)
        (void)buf_append_str(out, delivery_by_words((enum delivery_by)plan->by));
    if (implicit)
        (void)buf_append_str(out, ", from the first byte");
    if (plan->testing)
        (void)buf_append_str(out, ", MTA-STS in testing");
}

static const char *refusal_of(const struct explain_to *to, const struct delivery_host *host)
{
    for (uint32_t i = 0; i < to->refusal_count; i++) {
        if (slice_equal(to->refusals[i].host, host->name))
            return to->refusals[i].text;
    }
    return NULL;
}

/* Why a host has no address in the list; NULL: it has, or is as it should be. */
static const char *host_problem(const struct explain_to *to, const struct delivery_host *host)
{
    const struct delivery_addresses *a = &to->addresses;
    const char *refusal = refusal_of(to, host);

    if (refusal != NULL)
        return refusal;
    switch (host->status) {
    case DNS_OK: break;
    case DNS_NO_DATA: return "no address";
    case DNS_NO_NAME:
    case DNS_BAD_NAME: return "no such host";
    case DNS_TEMPORARY: return "its address cannot be looked up now";
    }
    if (a->ours == host)
        return "this server itself";
    if (a->ours != NULL && host->preference >= a->ours->preference)
        return "not preferred to this server";
    for (uint32_t i = 0; i < a->count; i++) {
        if (slice_equal(a->items[i].host, host->name))
            return NULL;
    }
    return "no address that may be used";
}

static uint64_t dead_ms(const struct explain_to *to, const struct ip_addr *ip)
{
    for (uint32_t i = 0; i < to->site.dead_count; i++) {
        if (memcmp(&to->site.dead[i].ip, ip, sizeof(*ip)) == 0)
            return to->site.dead[i].ms;
    }
    return 0;
}

static uint64_t seconds(uint64_t ms)
{
    return (ms + 999) / 1000;
}

static const char *expand_words(const struct delivery_explain *x)
{
    if (!x->well_formed)
        return "not an address";
    if (x->known == ROUTING_UNKNOWN)
        return "no such recipient here";
    switch (x->expand) {
    case ROUTING_SAME:
    case ROUTING_EXPANDED: return NULL;
    case ROUTING_LOOP: return "its aliases lead in a circle";
    case ROUTING_TOO_MANY: return "its aliases have too many targets";
    case ROUTING_NOBODY: return "an alias of nobody";
    }
    UNREACHABLE();
}

/* ---- lines ---------------------------------------------------------------------------------- */

static void site_lines(const struct explain_to *to, struct buf *out)
{
    const struct delivery_explain_site *s = &to->site;

    switch (s->state) {
    case DELIVERY_EXPLAIN_UNUSED: (void)buf_append_str(out, "    site not in use"); break;
    case DELIVERY_EXPLAIN_UP: (void)buf_append_str(out, "    site up"); break;
    case DELIVERY_EXPLAIN_DOWN:
        (void)buf_printf(out, "    site down for %llu s more",
                         (unsigned long long)seconds(s->down_ms));
        break;
    }
    if (s->state != DELIVERY_EXPLAIN_UNUSED)
        (void)buf_printf(out, ", %u connections (%u idle, %u attempts), %u waiting", s->connections,
                         s->idle, s->attempts, s->waiting);
    (void)buf_append_byte(out, '\n');
    if (s->reason[0] != '\0')
        (void)buf_printf(out, "    its last failure: %s\n", s->reason);
}

static void policy_line(const struct sts_policy *policy, struct buf *out)
{
    (void)buf_printf(out, "    MTA-STS policy: %s", sts_mode_name(policy->mode));
    for (uint32_t i = 0; i < policy->mx_count; i++)
        (void)buf_printf(out, ", %.*s", SLICE_ARG(policy->mx[i]));
    (void)buf_append_byte(out, '\n');
}

static void address_lines(const struct explain_to *to, const struct delivery_host *host,
                          struct buf *out)
{
    const struct delivery_addresses *a = &to->addresses;
    char ip[IP_TEXT_SIZE];

    for (uint32_t i = 0; i < a->count && !a->on_socket; i++) {
        uint64_t dead = dead_ms(to, &a->items[i].ip);

        if (!slice_equal(a->items[i].host, host->name))
            continue;
        ip_format(&a->items[i].ip, ip);
        (void)buf_printf(out, "      %s", ip);
        if (dead > 0)
            (void)buf_printf(out, " (failed lately: after all others for %llu s more)",
                             (unsigned long long)seconds(dead));
        (void)buf_append_byte(out, '\n');
    }
}

static void host_lines(const struct explain_to *to, const struct delivery_host *host,
                       struct buf *out)
{
    const struct delivery_addresses *a = &to->addresses;
    const char *problem = host_problem(to, host);

    (void)buf_append_str(out, "    ");
    if (a->by_mx)
        (void)buf_printf(out, "%u ", (unsigned)host->preference);
    (void)buf_append_slice(out, host->name);
    if (!a->on_socket && a->port != 25)
        (void)buf_printf(out, " port %u", (unsigned)a->port);
    if (problem != NULL) {
        (void)buf_printf(out, " (%s)", problem);
    } else if (host->plan != NULL && !a->on_socket) {
        (void)buf_append_str(out, " (");
        tls_words(host->plan, a->implicit, out);
        (void)buf_append_byte(out, ')');
    }
    (void)buf_append_byte(out, '\n');
    address_lines(to, host, out);
}

static void to_lines(const struct explain_to *to, struct buf *out)
{
    if (to->task == NULL)
        return; /* it is all in the rule */
    if (to->x->stopped && !to->failed) {
        (void)buf_append_str(out, "    not asked: shutting down\n");
        return;
    }
    if (to->failed || to->unreachable)
        (void)buf_printf(out, "    %s: %u.%u.%u %s\n", to->why.permanent ? "bounced" : "deferred",
                         to->why.enhanced[0], to->why.enhanced[1], to->why.enhanced[2],
                         to->why.text);
    if (to->failed)
        return;
    site_lines(to, out);
    if (to->task->sts != NULL)
        policy_line(to->task->sts, out);
    for (uint32_t i = 0; i < to->addresses.host_count; i++)
        host_lines(to, &to->addresses.hosts[i], out);
}

static void recipient_lines(const struct delivery_explain *x, uint32_t i, struct buf *out)
{
    const struct explain_recipient *r = &x->recipients[i];

    (void)buf_printf(out, "%.*s\n  %.*s\n", SLICE_ARG(r->address), SLICE_ARG(r->rule));
    if (r->way == NULL) {
        (void)buf_append_str(out, "    not looked into: there are too many\n");
        return;
    }
    for (uint32_t k = 0; k < i; k++) {
        if (x->recipients[k].way != r->way)
            continue;
        (void)buf_printf(out, "    as %.*s\n", SLICE_ARG(x->recipients[k].address));
        return;
    }
    for (uint32_t k = 0; k < r->way->to_count; k++) {
        if (r->way->to_count > 1) {
            (void)buf_append_str(out, k == 0 ? "    first " : "    then ");
            routing_destination(r->way->to[k].to, out);
            (void)buf_append_byte(out, '\n');
        }
        to_lines(&r->way->to[k], out);
    }
}

static void write_lines(const struct delivery_explain *x, struct buf *out)
{
    const char *words = expand_words(x);

    (void)buf_printf(out, "%.*s from <%.*s>\n", SLICE_ARG(x->address), SLICE_ARG(x->sender));
    if (x->rule.len > 0)
        (void)buf_printf(out, "  %.*s\n", SLICE_ARG(x->rule));
    if (words != NULL)
        (void)buf_printf(out, "  %s\n", words);
    if (x->targets.dropped > 0)
        (void)buf_printf(out, "  %u targets that do not exist, such as %.*s\n", x->targets.dropped,
                         SLICE_ARG(x->targets.culprit));
    for (uint32_t i = 0; i < x->recipient_count; i++)
        recipient_lines(x, i, out);
    if (x->expand == ROUTING_EXPANDED && x->targets.count > x->recipient_count)
        (void)buf_printf(out, "and %u more\n", x->targets.count - x->recipient_count);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void name(struct buf *out, const char *key, bool first)
{
    (void)buf_printf(out, "%s\"%s\":", first ? "" : ",", key);
}

static void string(struct buf *out, const char *key, struct slice value, bool first)
{
    name(out, key, first);
    (void)json_append_string(out, value);
}

static void words_of(struct buf *out, const char *key, const char *value, bool first)
{
    name(out, key, first);
    if (value == NULL)
        (void)buf_append_str(out, "null");
    else
        (void)json_append_string(out, slice_str(value));
}

static void number(struct buf *out, const char *key, uint64_t value)
{
    name(out, key, false);
    (void)buf_append_u64(out, value);
}

static void site_json(const struct explain_to *to, struct buf *out)
{
    static const char *const states[] = {[DELIVERY_EXPLAIN_UNUSED] = "unused",
                                         [DELIVERY_EXPLAIN_UP] = "up",
                                         [DELIVERY_EXPLAIN_DOWN] = "down"};
    const struct delivery_explain_site *s = &to->site;

    (void)buf_append_str(out, ",\"site\":{");
    words_of(out, "state", states[s->state], true);
    number(out, "down_ms", s->down_ms);
    words_of(out, "reason", s->reason[0] != '\0' ? s->reason : NULL, false);
    number(out, "shard", s->shard);
    number(out, "waiting", s->waiting);
    number(out, "connections", s->connections);
    number(out, "idle", s->idle);
    number(out, "attempts", s->attempts);
    (void)buf_append_byte(out, '}');
}

static void addresses_json(const struct explain_to *to, const struct delivery_host *host,
                           struct buf *out)
{
    const struct delivery_addresses *a = &to->addresses;
    char ip[IP_TEXT_SIZE];
    bool first = true;

    (void)buf_append_str(out, ",\"addresses\":[");
    for (uint32_t i = 0; i < a->count && !a->on_socket; i++) {
        if (!slice_equal(a->items[i].host, host->name))
            continue;
        (void)buf_append_str(out, first ? "{" : ",{");
        first = false;
        ip_format(&a->items[i].ip, ip);
        words_of(out, "ip", ip, true);
        number(out, "dead_ms", dead_ms(to, &a->items[i].ip));
        (void)buf_append_byte(out, '}');
    }
    (void)buf_append_byte(out, ']');
}

static void host_json(const struct explain_to *to, const struct delivery_host *host,
                      struct buf *out)
{
    struct buf tls;

    buf_init(&tls, 0);
    if (host->plan != NULL && !to->addresses.on_socket)
        tls_words(host->plan, to->addresses.implicit, &tls);
    (void)buf_append_byte(out, '{');
    string(out, "name", host->name, true);
    number(out, "preference", host->preference);
    number(out, "port", to->addresses.port);
    string(out, "tls", buf_slice(&tls), false);
    words_of(out, "problem", host_problem(to, host), false);
    addresses_json(to, host, out);
    (void)buf_append_byte(out, '}');
    buf_finish(&tls);
}

static void policy_json(const struct sts_policy *policy, struct buf *out)
{
    (void)buf_append_str(out, ",\"mta_sts\":{");
    words_of(out, "mode", sts_mode_name(policy->mode), true);
    (void)buf_append_str(out, ",\"mx\":[");
    for (uint32_t i = 0; i < policy->mx_count; i++) {
        (void)buf_append_str(out, i > 0 ? "," : "");
        (void)json_append_string(out, policy->mx[i]);
    }
    (void)buf_append_str(out, "]}");
}

static void problem_json(const struct explain_to *to, struct buf *out)
{
    struct buf text;

    buf_init(&text, 0);
    (void)buf_printf(&text, "%u.%u.%u", to->why.enhanced[0], to->why.enhanced[1],
                     to->why.enhanced[2]);
    (void)buf_append_str(out, ",\"problem\":{");
    words_of(out, "text", to->why.text, true);
    string(out, "status", buf_slice(&text), false);
    name(out, "permanent", false);
    (void)buf_append_str(out, to->why.permanent ? "true}" : "false}");
    buf_finish(&text);
}

static void to_json(const struct explain_to *to, struct buf *out)
{
    struct buf words;

    buf_init(&words, 0);
    routing_destination(to->to, &words);
    (void)buf_append_byte(out, '{');
    string(out, "to", buf_slice(&words), true);
    buf_finish(&words);
    if (to->failed || to->unreachable)
        problem_json(to, out);
    if (to->has_site && !to->x->stopped) {
        site_json(to, out);
        if (to->task->sts != NULL)
            policy_json(to->task->sts, out);
        (void)buf_append_str(out, ",\"hosts\":[");
        for (uint32_t i = 0; i < to->addresses.host_count; i++) {
            (void)buf_append_str(out, i > 0 ? "," : "");
            host_json(to, &to->addresses.hosts[i], out);
        }
        (void)buf_append_byte(out, ']');
    }
    (void)buf_append_byte(out, '}');
}

static void recipient_json(const struct explain_recipient *r, struct buf *out)
{
    (void)buf_append_byte(out, '{');
    string(out, "address", r->address, true);
    string(out, "rule", r->rule, false);
    (void)buf_append_str(out, ",\"destinations\":[");
    for (uint32_t k = 0; r->way != NULL && k < r->way->to_count; k++) {
        (void)buf_append_str(out, k > 0 ? "," : "");
        to_json(&r->way->to[k], out);
    }
    (void)buf_append_str(out, "]}");
}

static void write_json(const struct delivery_explain *x, struct buf *out)
{
    static const char *const known[] = {
        [ROUTING_OURS] = "ours", [ROUTING_UNKNOWN] = "unknown", [ROUTING_ELSEWHERE] = "elsewhere"};

    (void)buf_append_byte(out, '{');
    string(out, "address", x->address, true);
    string(out, "sender", x->sender, false);
    words_of(out, "known", x->well_formed ? known[x->known] : NULL, false);
    string(out, "alias", x->rule, false);
    words_of(out, "problem", expand_words(x), false);
    number(out, "targets", x->expand == ROUTING_EXPANDED ? x->targets.count : x->recipient_count);
    number(out, "dropped", x->targets.dropped);
    name(out, "stopped", false);
    (void)buf_append_str(out, x->stopped ? "true" : "false");
    (void)buf_append_str(out, ",\"recipients\":[");
    for (uint32_t i = 0; i < x->recipient_count; i++) {
        (void)buf_append_str(out, i > 0 ? "," : "");
        recipient_json(&x->recipients[i], out);
    }
    (void)buf_append_str(out, "]}\n");
}

void delivery_explain_write(const struct delivery_explain *x, bool json, struct buf *out)
{
    if (json)
        write_json(x, out);
    else
        write_lines(x, out);
}
