/* routing_way: the way of one recipient's mail, by its domain and by who sends it. */
#include "base_assert.h"
#include "routing_priv.h"

/* How well a route knows the sender. */
enum fit {
    FIT_NOT,  /* it is for others */
    FIT_ANY,  /* it says nothing about senders */
    FIT_NULL, /* "<>" */
    FIT_DOMAIN,
    FIT_ADDRESS,
};

static enum fit fit_of_word(struct slice word, struct slice sender, struct slice sender_domain)
{
    if (sender.len == 0)
        return slice_equal(word, SLICE_LITERAL("<>")) ? FIT_NULL : FIT_NOT;
    if (sender_domain.len == 0)
        return FIT_NOT;
    if (slice_equal_nocase(word, sender))
        return FIT_ADDRESS;
    return slice_equal_nocase(word, sender_domain) ? FIT_DOMAIN : FIT_NOT;
}

static enum fit fit_of(const struct conf_route *route, struct slice sender,
                       struct slice sender_domain)
{
    enum fit best = FIT_NOT;

    if (route->from.count == 0)
        return FIT_ANY;
    for (size_t i = 0; i < route->from.count; i++) {
        enum fit fit = fit_of_word(route->from.items[i], sender, sender_domain);
        if (fit > best)
            best = fit;
    }
    return best;
}

/* As conf sorts them. */
static int compare(struct slice a, struct slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.data, b.data, len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* The first route whose pattern is not before this one. */
static size_t first_at(const struct conf *conf, struct slice pattern)
{
    size_t low = 0, high = conf->route_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(conf->routes[middle].pattern, pattern) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Among the routes of one pattern; NULL if there are none, or all are for other senders. */
static const struct conf_route *best_of(const struct conf *conf, struct slice pattern,
                                        struct slice sender, struct slice sender_domain)
{
    const struct conf_route *best = NULL;
    enum fit best_fit = FIT_NOT;

    for (size_t i = first_at(conf, pattern);
         i < conf->route_count && slice_equal(conf->routes[i].pattern, pattern); i++) {
        enum fit fit = fit_of(&conf->routes[i], sender, sender_domain);
        if (fit > best_fit) {
            best_fit = fit;
            best = &conf->routes[i];
        }
    }
    return best;
}

/* RFC 5321 4.1.2: the quotes are only its spelling. */
static struct slice plain_sender(struct slice sender, struct routing_name *memory,
                                 struct slice *out_domain)
{
    struct slice local;

    routing_split(sender, &local, out_domain);
    if (local.len < 2 || local.data[0] != '"' || local.len > SMTP_LOCAL_MAX
        || out_domain->len > SMTP_DOMAIN_MAX)
        return sender;
    routing_spell(local, *out_domain, memory);
    return memory->whole;
}

const struct conf_route *routing_route(const struct conf *conf, struct slice sender,
                                       struct slice domain)
{
    uint8_t folded[SMTP_DOMAIN_MAX];
    struct slice rest = {folded, 0}, sender_domain;
    struct routing_name memory;
    const struct conf_route *route = NULL;

    sender = plain_sender(sender, &memory, &sender_domain);
    if (conf->route_count > 1 && domain.len <= sizeof(folded)) {
        for (size_t i = 0; i < domain.len; i++)
            folded[i] = routing_lower(domain.data[i]);
        rest.len = domain.len;
        route = best_of(conf, rest, sender, sender_domain);
    }
    while (route == NULL && rest.len > 0) {
        ptrdiff_t dot = slice_find(rest, '.');

        /* "www.example.org" becomes "*.example.org" where it lies: what stood before the dot is done
         * with. An empty label has no room for the star, and matches nothing. */
        if (dot < 0)
            break;
        if (dot > 0) {
            slice_advance(&rest, (size_t)dot - 1);
            folded[rest.data - folded] = '*';
            route = best_of(conf, rest, sender, sender_domain);
            slice_advance(&rest, 1);
        }
        slice_advance(&rest, 1);
    }
    if (route == NULL)
        route = best_of(conf, SLICE_LITERAL("*"), sender, sender_domain);
    ASSERT(route != NULL); /* conf sees to it that there is a "*" for any sender */
    return route;
}

void routing_find(const struct conf *conf, struct slice sender, struct slice recipient,
                  struct routing_way *out)
{
    const struct conf_destinations *own = NULL;
    struct slice local, domain;
    struct routing_name name;

    routing_split(recipient, &local, &domain);
    *out = (struct routing_way){
        .route = routing_route(conf, sender, domain),
        .ours = conf_domain_find(conf, domain),
        .domain = domain,
    };
    if (out->ours != NULL && routing_name_of(conf, local, domain, &name))
        own = conf_domain_destination(out->ours, name.local);
    if (own != NULL)
        out->to = own;
    else
        out->to = out->ours != NULL ? &out->ours->to : &out->route->to;
}
