#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base_assert.h"
#include "base_mem.h"
#include "conf_build_priv.h"

static bool same_address(const struct conf_address *a, const struct conf_address *b)
{
    return a->port == b->port && memcmp(&a->ip, &b->ip, sizeof(a->ip)) == 0;
}

static const struct conf_listener *listener_at(const struct conf *conf,
                                               const struct conf_address *at,
                                               const struct conf_address **found)
{
    for (size_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *listener = &conf->listeners[i];

        for (size_t j = 0; j < listener->address.count; j++) {
            *found = &listener->address.items[j];
            if (same_address(*found, at))
                return listener;
        }
    }
    return NULL;
}

/* The whole Internet, or all of it in one family. */
static void check_relay_from(struct conf_load *load)
{
    const struct conf_nets *nets = &load->box->conf.relay_from;

    for (size_t i = 0; i < nets->count; i++) {
        const struct ip_net *net = &nets->items[i];

        if (net->prefix_len == 0 || (ip_is_v4(&net->addr) && net->prefix_len == 96))
            conf_warn(load, conf_place_of(load, net),
                      "relay_from: everybody may send mail to anybody through this server: an open "
                      "relay");
    }
}

static void check_listeners(struct conf_load *load)
{
    const struct conf *conf = &load->box->conf;

    for (size_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *listener = &conf->listeners[i];

        for (size_t j = 0; j < listener->address.count; j++) {
            const struct conf_address *address = &listener->address.items[j];
            const struct conf_address *first;
            struct conf_place here = conf_place_of(load, address);
            char before[256];

            (void)listener_at(conf, address, &first); /* it finds this one, if no other */
            conf_place_name(conf_place_of(load, first), here, before, sizeof(before));
            if (first != address)
                conf_fail(load, here, "two listeners on one address, the first at %s", before);
        }
        if (listener->role == CONF_ROLE_RELAY && conf->relay_from.count == 0 && !listener->auth
            && listener->relay_certificates.count == 0 && !listener->relay_client_ca
            && conf_place_of(load, &conf->relay_from).text == NULL && !load->incomplete)
            conf_fail(load, conf_place_of(load, &listener->role),
                      "role = relay serves only relay_from, which is not set, and clients with a "
                      "certificate or a login, which it does not ask for");
    }
}

/* A socket may come with its server; where nobody will ever make one, a name is misspelt. */
static void check_socket(struct conf_load *load, const struct conf_destination *to)
{
    const char *path = (const char *)to->path.data;
    size_t len = (size_t)(strrchr(path, '/') - path);
    char directory[CONF_SOCKET_PATH_MAX + 1];
    struct stat st;

    memcpy(directory, path, len);
    directory[len] = '\0';
    if (len > 0 && stat(directory, &st) < 0 && (errno == ENOENT || errno == ENOTDIR))
        conf_warn(load, conf_place_of(load, to), "there is no directory %s for the socket",
                  directory);
}

/* What a list of destinations may hold, and where it would go wrong. */
static void check_destinations(struct conf_load *load, const struct conf_destinations *list)
{
    const struct conf_address *found;

    for (size_t i = 0; i < list->count; i++) {
        const struct conf_destination *to = &list->items[i];
        struct conf_place here = conf_place_of(load, to);
        bool is_hop =
            to->kind == CONF_TO_MX || to->kind == CONF_TO_SMTP || to->kind == CONF_TO_LMTP;

        if (list->count > 1 && !is_hop) {
            conf_fail(load, here, "only mx, smtp:// and lmtp can be one of several destinations");
            return;
        }
        if (to->kind == CONF_TO_LMTP && to->host.len == 0)
            check_socket(load, to);
        if (to->kind == CONF_TO_SMTP && to->host_is_ip
            && listener_at(&load->box->conf, &(struct conf_address){to->ip, to->port}, &found))
            conf_warn(load, here, "this address is a listener of ours: mail would go in circles");
    }
}

static bool path_has(struct slice path, char what)
{
    for (size_t i = 0; i + 1 < path.len; i++)
        if (path.data[i] == '%' && path.data[++i] == what)
            return true;
    return false;
}

static void check_maildir(struct conf_load *load, const struct conf_destinations *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].kind == CONF_TO_MAILDIR && !path_has(list->items[i].path, 'u'))
            conf_warn(load, conf_place_of(load, &list->items[i]),
                      "without %%u in the path, all recipients share one mailbox");
}

static bool stays_here(const struct conf_destination *to)
{
    return to->kind == CONF_TO_MAILDIR || to->kind == CONF_TO_DISCARD || to->kind == CONF_TO_REJECT;
}

/* Settings of a domain that wait for another one. */
static void check_domain(struct conf_load *load, const struct conf_domain *domain)
{
    if (domain->catch_all.len > 0 && conf_place_of(load, &domain->recipients).text == NULL)
        conf_warn(load, conf_place_of(load, &domain->catch_all),
                  "catch_all: without recipients, any local part is one, and none is left for it");
    if (domain->callout && domain->to.count > 0 && stays_here(&domain->to.items[0]))
        conf_warn(load, conf_place_of(load, &domain->callout),
                  "callout: mail for %.*s goes to no host that could be asked",
                  SLICE_ARG(domain->name));
}

static void check_domains(struct conf_load *load)
{
    const struct conf *conf = &load->box->conf;

    for (size_t i = 0; i < conf->domain_count; i++) {
        check_domain(load, &conf->domains[i]);
        check_destinations(load, &conf->domains[i].to);
        check_maildir(load, &conf->domains[i].to);
    }
}

/* A route for a domain of ours may set limits, but where its mail goes is said in one place. */
static void check_route_of_domain(struct conf_load *load, const struct conf_route *route)
{
    const struct conf *conf = &load->box->conf;
    struct conf_place here = conf_place_of(load, &route->to);

    if (here.text == NULL)
        return;
    for (size_t i = 0; i < conf->domain_count; i++) {
        if (route->pattern.len > 0 && slice_equal(conf->domains[i].name, route->pattern)) {
            char before[256];

            conf_place_name(conf_place_of(load, &conf->domains[i]), here, before, sizeof(before));
            conf_fail(load, here, "to is set for %.*s as a route and as a domain, at %s",
                      SLICE_ARG(route->pattern), before);
        }
    }
}

/* What a route is for: of one pattern, and of one word of its `from` or any sender. */
struct purpose {
    struct slice pattern;
    struct slice from; /* empty: any */
    struct conf_place place;
    size_t number;
};

static int compare_slices(struct slice a, struct slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.data, b.data, len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_purposes(const void *a, const void *b)
{
    const struct purpose *p = a;
    const struct purpose *q = b;
    int order = compare_slices(p->pattern, q->pattern);

    if (order == 0)
        order = compare_slices(p->from, q->from);
    return order != 0 ? order : (p->number > q->number) - (p->number < q->number);
}

static void check_purposes(struct conf_load *load, struct purpose *purposes, size_t count)
{
    qsort(purposes, count, sizeof(*purposes), compare_purposes);
    for (size_t i = 1; i < count; i++) {
        const struct purpose *first = &purposes[i - 1];
        const struct purpose *again = &purposes[i];
        char before[256];

        if (!slice_equal(first->pattern, again->pattern) || !slice_equal(first->from, again->from)
            || again->pattern.len == 0)
            continue;
        conf_place_name(first->place, again->place, before, sizeof(before));
        if (again->from.len == 0)
            conf_fail(load, again->place, "route \"%.*s\" stands twice, first at %s",
                      SLICE_ARG(again->pattern), before);
        else
            conf_fail(load, again->place, "route \"%.*s\" from %.*s stands twice, first at %s",
                      SLICE_ARG(again->pattern), SLICE_ARG(again->from), before);
    }
}

/* Two routes may have the same pattern if no sender finds both. */
static void check_duplicates(struct conf_load *load)
{
    const struct conf *conf = &load->box->conf;
    size_t count = 0;

    for (size_t i = 0; i < conf->route_count; i++)
        count += conf->routes[i].from.count > 0 ? conf->routes[i].from.count : 1;
    struct purpose *purposes = mem_calloc(count + 1, sizeof(*purposes));
    count = 0;
    for (size_t i = 0; i < conf->route_count; i++) {
        const struct conf_route *route = &conf->routes[i];
        struct purpose whole = {
            .pattern = route->pattern, .place = conf_place_of(load, route), .number = count};

        if (route->from.count == 0 && conf_place_of(load, &route->from).text == NULL)
            purposes[count++] = whole;
        for (size_t j = 0; j < route->from.count; j++) {
            whole.from = route->from.items[j];
            whole.place = conf_place_of(load, &route->from.items[j]);
            whole.number = count;
            purposes[count++] = whole;
        }
    }
    check_purposes(load, purposes, count);
    mem_free(purposes);
}

static void check_routes(struct conf_load *load)
{
    const struct conf *conf = &load->box->conf;

    check_duplicates(load);
    for (size_t i = 0; i < conf->route_count; i++) {
        check_destinations(load, &conf->routes[i].to);
        check_route_of_domain(load, &conf->routes[i]);
    }
}

/* The place of the one of two fields that was set, to complain about both. */
static struct conf_place either(struct conf_load *load, const void *a, const void *b)
{
    struct conf_place place = conf_place_of(load, a);

    return place.text != NULL ? place : conf_place_of(load, b);
}

/* Of a route's, what it says itself. */
static void check_retry(struct conf_load *load, const struct conf_retry *retry)
{
    struct conf_place here = either(load, &retry->expire, &retry->intervals);
    struct conf_place warn_here = conf_place_of(load, &retry->warn_after);

    if (here.text != NULL && retry->intervals.count > 0
        && retry->expire < retry->intervals.items[0])
        conf_warn(load, here,
                  "retry: expire is less than the first of intervals, so nothing is tried twice");
    if (warn_here.text != NULL && retry->warn_after >= retry->expire)
        conf_warn(load, warn_here,
                  "retry: warn_after is not less than expire, so nobody is told of a delay");
}

static void check_numbers(struct conf_load *load)
{
    const struct conf *conf = &load->box->conf;
    const struct conf_retry *retry = &conf->retry;
    const struct conf_limits *limits = &conf->limits;

    if (conf->control != NULL && strlen(conf->control) > CONF_SOCKET_PATH_MAX)
        conf_fail(load, conf_place_of(load, &conf->control),
                  "control: a socket's path has at most %d characters", CONF_SOCKET_PATH_MAX);
    else if (conf->submit != NULL && strlen(conf->submit) > CONF_SOCKET_PATH_MAX)
        conf_fail(load, either(load, &conf->submit, &conf->control),
                  "submit: a socket's path has at most %d characters", CONF_SOCKET_PATH_MAX);
    if (load->error_count > 0)
        return; /* a number may be missing because it was bad */
    check_retry(load, retry);
    for (size_t i = 0; i < conf->route_count; i++)
        check_retry(load, &conf->routes[i].retry);
    if (limits->queue < limits->message_size)
        conf_warn(load, either(load, &limits->queue, &limits->message_size),
                  "limits: queue is less than message_size, so the largest messages never fit");
}

static bool users_may_send(const struct conf *conf)
{
    for (size_t i = 0; i < conf->listener_count; i++)
        if (conf->listeners[i].auth || conf->listeners[i].role == CONF_ROLE_SUBMISSION
            || conf->listeners[i].relay_certificates.count > 0
            || conf->listeners[i].relay_client_ca)
            return true;
    return false;
}

static void check_notices(struct conf_load *load)
{
    const struct conf_notices *notices = &load->box->conf.notices;
    struct conf_place here = conf_place_of(load, &notices->copies);

    if (here.text != NULL && notices->copies.count > 0 && notices->postmaster.len == 0)
        conf_warn(load, here, "copies: postmaster is not set, so nobody gets them");
}

void conf_check(struct conf_load *load)
{
    const struct conf *conf = &load->box->conf;

    check_listeners(load);
    check_relay_from(load);
    check_domains(load);
    check_routes(load);
    check_numbers(load);
    check_notices(load);
    conf_check_tls(load);
    if (conf->domain_count == 0 && conf->relay_from.count == 0 && !users_may_send(conf)
        && load->error_count == 0)
        conf_warn(load, (struct conf_place){load->texts, 1},
                  "neither a domain nor relay_from is set: no mail will be accepted");
}
