/* routing_explain: a decision in words, as the configuration has them. */
#include "base_codec.h"
#include "routing_priv.h"

static void append_host(const struct conf_destination *to, struct buf *out)
{
    bool brackets = to->host_is_ip && !ip_is_v4(&to->ip);

    (void)buf_printf(out, "%s%.*s%s:%u", brackets ? "[" : "", SLICE_ARG(to->host),
                     brackets ? "]" : "", (unsigned)to->port);
}

void routing_destination(const struct conf_destination *to, struct buf *out)
{
    switch (to->kind) {
    case CONF_TO_MX: (void)buf_append_str(out, "mx"); return;
    case CONF_TO_SMTP:
        (void)buf_append_str(out, "smtp://");
        append_host(to, out);
        return;
    case CONF_TO_LMTP:
        (void)buf_append_str(out, to->host.len > 0 ? "lmtp://" : "lmtp+unix:");
        if (to->host.len > 0)
            append_host(to, out);
        else
            (void)buf_append_slice(out, to->path);
        return;
    case CONF_TO_MAILDIR:
        (void)buf_append_str(out, "maildir:");
        (void)buf_append_slice(out, to->path);
        return;
    case CONF_TO_DISCARD: (void)buf_append_str(out, "discard"); return;
    case CONF_TO_REJECT:
        (void)buf_append_str(out, "reject:");
        (void)buf_append_slice(out, to->text);
        return;
    }
}

static void append_rule(const struct routing_way *way, struct buf *out)
{
    const struct conf_route *route = way->route;

    if (way->ours != NULL) {
        (void)buf_printf(out, "%sdomain \"%.*s\"",
                         way->to != &way->ours->to ? "destinations of " : "",
                         SLICE_ARG(way->ours->name));
        return;
    }
    (void)buf_printf(out, "route \"%.*s\"", SLICE_ARG(route->pattern));
    for (size_t i = 0; i < route->from.count; i++)
        (void)buf_printf(out, "%s%.*s", i == 0 ? " from " : ", ", SLICE_ARG(route->from.items[i]));
}

void routing_explain(const struct conf *conf, const struct routing_way *way, struct buf *out)
{
    (void)conf;
    append_rule(way, out);
    for (size_t i = 0; i < way->to->count; i++) {
        (void)buf_append_str(out, i == 0 ? ": " : ", ");
        routing_destination(&way->to->items[i], out);
    }
}

bool routing_explain_alias(const struct conf *conf, struct slice address, struct buf *out)
{
    struct conf_targets targets;
    struct slice local, domain;
    struct routing_name name;
    enum routing_match match = ROUTING_MATCH_EXACT;
    enum routing_rule rule;

    routing_split(address, &local, &domain);
    if (!routing_name_of(conf, local, domain, &name))
        return false;
    rule = routing_rule_find(conf, &name, &targets, &match);
    if (rule == ROUTING_RULE_NONE) {
        if (name.ours == NULL || name.ours->catch_all.len == 0 || routing_has_recipient(&name))
            return false;
        (void)buf_printf(out, "catch_all of domain \"%.*s\"", SLICE_ARG(name.ours->name));
        return true;
    }
    (void)buf_append_str(out, rule == ROUTING_RULE_VIRTUAL ? "virtual alias \"" : "alias \"");
    switch (match) {
    case ROUTING_MATCH_EXACT: (void)buf_append_slice(out, name.local); break;
    case ROUTING_MATCH_USER: (void)buf_append_slice(out, name.user); break;
    case ROUTING_MATCH_DOMAIN: break;
    }
    (void)buf_printf(out, "@%.*s\"", SLICE_ARG(name.domain));
    if (targets.file != NULL && targets.line > 0)
        (void)buf_printf(out, " (%s:%u)", targets.file, targets.line);
    else if (targets.file != NULL)
        (void)buf_printf(out, " (%s)", targets.file);
    return true;
}
