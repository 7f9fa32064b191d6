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
