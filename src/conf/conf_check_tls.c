/* Contradictions between settings of TLS and authentication, each of which is fine alone. */
#include "base_assert.h"
#include "conf_build_priv.h"

static void check_material(struct conf_load *load)
{
    const struct conf_tls *tls = &load->box->conf.tls;
    struct conf_place here = conf_place_of(load, &tls->certificate);

    if (here.text == NULL)
        here = conf_place_of(load, &tls->key);
    if (tls->certificate.count != tls->key.count)
        conf_fail(load, here, "tls: %zu certificates, but %zu keys", tls->certificate.count,
                  tls->key.count);
    if (tls->ocsp.count > 0 && tls->ocsp.count != tls->certificate.count)
        conf_fail(load, conf_place_of(load, &tls->ocsp),
                  "tls: %zu OCSP responses for %zu certificates", tls->ocsp.count,
                  tls->certificate.count);
}

static bool have_back_end(const struct conf_auth *auth)
{
    return auth->users != NULL || auth->dovecot != NULL || auth->introspection.len > 0;
}

static void check_listener(struct conf_load *load, const struct conf_listener *listener)
{
    const struct conf *conf = &load->box->conf;
    bool have_certificate = conf->tls.certificate.count > 0;
    bool certificates_log_in = listener->relay_certificates.count > 0 || listener->relay_client_ca;
    bool logs_in = listener->auth || listener->role == CONF_ROLE_SUBMISSION;
    struct conf_place here = conf_place_of(load, &listener->tls);
    struct conf_place auth_here = conf_place_of(load, &listener->auth);

    if (auth_here.text == NULL)
        auth_here = conf_place_of(load, &listener->role);
    if (listener->tls >= CONF_LISTENER_TLS_REQUIRED && !have_certificate)
        conf_fail(load, here, "tls: there is no certificate (tls { certificate, key })");
    if (logs_in && !have_back_end(&conf->auth) && !certificates_log_in)
        conf_fail(load, auth_here,
                  "nobody can log in: auth has neither users nor dovecot nor introspection");
    if (logs_in && !conf->auth.plaintext
        && (!have_certificate || listener->tls == CONF_LISTENER_TLS_NONE))
        conf_fail(load, auth_here,
                  have_certificate
                      ? "nobody can log in: tls is none here, and passwords are taken "
                        "under TLS only (auth { plaintext })"
                      : "nobody can log in: there is no certificate, and passwords are "
                        "taken under TLS only (auth { plaintext })");
    if (listener->relay_client_ca && listener->client_ca == NULL)
        conf_fail(load, conf_place_of(load, &listener->relay_client_ca),
                  "relay_client_ca: client_ca is not set");
    if ((certificates_log_in || listener->client_ca != NULL)
        && (!have_certificate || listener->tls == CONF_LISTENER_TLS_NONE))
        conf_fail(load, conf_place_of(load, &listener->address),
                  "listener \"%.*s\": clients cannot show a certificate without TLS",
                  SLICE_ARG(listener->name));
}

static bool is_named(const struct conf_destination *to)
{
    return to->kind == CONF_TO_SMTP || (to->kind == CONF_TO_LMTP && to->host.len > 0);
}

static bool names_a_host(const struct conf_destinations *to)
{
    for (size_t i = 0; i < to->count; i++)
        if (is_named(&to->items[i]))
            return true;
    return false;
}

static bool goes_to_an_address(const struct conf_destinations *to)
{
    for (size_t i = 0; i < to->count; i++)
        if (is_named(&to->items[i]) && to->items[i].host_is_ip)
            return true;
    return false;
}

static void check_route(struct conf_load *load, const struct conf_route *route)
{
    const struct conf *conf = &load->box->conf;
    const struct conf_route_auth *auth = &route->auth;
    struct conf_place tls_here = conf_place_of(load, &route->tls);
    struct conf_place user_here = conf_place_of(load, &auth->user);
    bool wants_token = auth->mechanism == CONF_ROUTE_AUTH_XOAUTH2
                       || auth->mechanism == CONF_ROUTE_AUTH_OAUTHBEARER;

    if (route->tls_implicit && route->tls == CONF_ROUTE_TLS_NONE)
        conf_fail(load, tls_here, "tls = none contradicts tls_implicit");
    if (route->tls == CONF_ROUTE_TLS_MTA_STS && names_a_host(&route->to))
        conf_fail(load, tls_here, "tls = mta-sts is for the MX of a domain, not for smtp://");
    if (route->tls == CONF_ROUTE_TLS_MTA_STS && !conf->mta_sts)
        conf_fail(load, tls_here, "tls = mta-sts contradicts mta_sts = no");
    if (route->tls == CONF_ROUTE_TLS_VERIFY && goes_to_an_address(&route->to))
        conf_fail(load, tls_here,
                  "tls = verify needs the host's name: certificates are not for addresses");
    if (route->tls == CONF_ROUTE_TLS_DANE && conf->dns.dnssec == CONF_DNSSEC_NO)
        conf_fail(load, tls_here, "tls = dane contradicts dns { dnssec = no }");
    if (auth->user.len == 0) {
        struct conf_place place = conf_place_of(load, &auth->password_file);

        if (place.text == NULL)
            place = conf_place_of(load, &auth->token_file);
        if (place.text != NULL)
            conf_fail(load, place, "auth: user is not set");
        return;
    }
    if (!names_a_host(&route->to))
        conf_fail(load, user_here,
                  "auth: a login is for hosts that the route names by smtp:// or lmtp://");
    if ((auth->password_file == NULL) == (auth->token_file == NULL))
        conf_fail(load, user_here, "auth: set one of password_file and token_file");
    else if (auth->mechanism != CONF_ROUTE_AUTH_AUTOMATIC
             && wants_token != (auth->token_file != NULL))
        conf_fail(load, conf_place_of(load, &auth->mechanism), "mechanism: this one takes a %s",
                  wants_token ? "token_file" : "password_file");
    if (route->tls == CONF_ROUTE_TLS_NONE)
        conf_warn(load, user_here,
                  "auth: with tls = none, anybody on the way can read the password");
}

static bool fits(struct slice pattern, struct slice name)
{
    if (pattern.len == 0 || pattern.data[0] != '*')
        return slice_equal(pattern, name);
    slice_advance(&pattern, 1); /* "*.example.org" is not for example.org itself */
    if (name.len < pattern.len + (pattern.len > 0))
        return false;
    slice_advance(&name, name.len - pattern.len);
    return slice_equal(pattern, name);
}

/* As conf_route_find(), which needs them sorted: that is still to come. */
static const struct conf_route *route_of(const struct conf *conf, struct slice name)
{
    const struct conf_route *best = NULL;

    for (size_t i = 0; i < conf->route_count; i++) {
        const struct conf_route *r = &conf->routes[i];

        if (r->from.count > 0 || !fits(r->pattern, name))
            continue;
        if (slice_equal(r->pattern, name))
            return r;
        if (best == NULL || r->pattern.len > best->pattern.len)
            best = r;
    }
    return best;
}

/* Mail for a domain of ours leaves in the manners of the route that fits its name. */
static void check_domain(struct conf_load *load, const struct conf_domain *domain)
{
    const struct conf_route *route = route_of(&load->box->conf, domain->name);

    if (route != NULL && route->tls == CONF_ROUTE_TLS_MTA_STS && names_a_host(&domain->to))
        conf_fail(load, conf_place_of(load, &domain->to),
                  "domain \"%.*s\": tls = mta-sts of route \"%.*s\" holds for it, and is for the "
                  "MX of a domain, not for smtp://; give it a route of its own",
                  SLICE_ARG(domain->name), SLICE_ARG(route->pattern));
}

void conf_check_tls(struct conf_load *load)
{
    const struct conf *conf = &load->box->conf;

    check_material(load);
    for (size_t i = 0; i < conf->listener_count; i++)
        check_listener(load, &conf->listeners[i]);
    for (size_t i = 0; i < conf->route_count; i++)
        check_route(load, &conf->routes[i]);
    for (size_t i = 0; i < conf->domain_count; i++)
        check_domain(load, &conf->domains[i]);
    if (conf->auth.introspection_secret != NULL && conf->auth.introspection.len == 0)
        conf_fail(load, conf_place_of(load, &conf->auth.introspection_secret),
                  "introspection_secret: introspection is not set");
    if (conf->auth.plaintext)
        conf_warn(load, conf_place_of(load, &conf->auth.plaintext),
                  "plaintext: anybody on the way can read passwords");
}
