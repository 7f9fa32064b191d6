/*
 * TLS towards next hops, with real handshakes on the simulator: each way to ask for it against each way
 * in which a peer, or somebody between us and it, may spoil it. Mail goes as the policy says or waits.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_mem.h"
#include "remote_tls.h"
#include "remote_world.h"

Suite *remote_tls_suite(void);

static struct world w;
static struct tls_context *servers[8];
static unsigned server_count;
static struct tls_tickets *tickets;

/* ---- certificates ------------------------------------------------------------------------- */

static const struct cert {
    const char *certificate, *issuer, *key;
} good = {cert_mx_ecdsa, cert_middle, key_mx_ecdsa}, self = {cert_self, NULL, key_self},
  expired = {cert_expired, cert_middle, key_expired}, other = {cert_other, cert_middle, key_other},
  untrusted = {cert_untrusted, cert_stranger, key_untrusted};

static struct tls_context *server(const struct cert *c)
{
    struct tls_pair pair = remote_tls_pair(c->certificate, c->issuer, c->key);

    ck_assert_uint_lt(server_count, ARRAY_LEN(servers));
    servers[server_count] = remote_tls_server(&pair, tickets);
    return servers[server_count++];
}

static void free_servers(void)
{
    while (server_count > 0)
        tls_context_unref(servers[--server_count]);
}

static struct slice digest_of(const struct cert *c)
{
    static struct tls_certificate_facts facts;
    struct tls_pair pair = remote_tls_pair(c->certificate, c->issuer, c->key);
    struct buf why = {0};

    ck_assert(tls_pair_examine(&pair, &facts, &why));
    return slice_of(facts.sha256, sizeof(facts.sha256));
}

/* ---- the world ---------------------------------------------------------------------------- */

#define DOMAIN "example.org"
#define HOST   "mx.example.org"
#define TLSA   "_25._tcp.mx.example.org"

static void secure(const char *name)
{
    dns_sim_zone_set_secure(w.zone, name, true);
}

static struct peer *open_world(enum conf_route_tls mode)
{
    struct peer *p;

    world_open(&w, 1, NULL);
    world_use_tls(&w, cert_root);
    w.routes[0].tls = mode;
    dns_sim_zone_add_mx(w.zone, DOMAIN, 10, HOST);
    dns_sim_zone_add_address(w.zone, HOST, "10.0.1.1");
    p = world_peer(&w, "10.0.1.1", 25);
    p->script.tls = server(&good);
    return p;
}

static void sign_zone(void)
{
    secure(DOMAIN);
    secure(HOST);
    secure(TLSA);
}

static void publish_policy(const char *policy)
{
    dns_sim_zone_add_txt(w.zone, "_mta-sts." DOMAIN, "v=STSv1; id=1;");
    dns_sim_zone_add_address(w.zone, "mta-sts." DOMAIN, "10.0.9.9");
    w.policy = policy;
    world_use_sts(&w);
}

#define ENFORCE "version: STSv1\nmode: enforce\nmx: " HOST "\nmax_age: 86400\n"
#define TESTING "version: STSv1\nmode: testing\nmx: " HOST "\nmax_age: 86400\n"
#define ELSE    "version: STSv1\nmode: enforce\nmx: mail.example.net\nmax_age: 86400\n"

static const struct world_result *send_one(void)
{
    uint32_t i = world_send(&w, "mx");

    world_run(&w);
    return world_result(&w, i);
}

static void close_world(void)
{
    world_close(&w);
    free_servers();
}

/* ---- each mode, each trick ---------------------------------------------------------------- */

enum mode {
    NONE,
    OPPORTUNISTIC,
    ENCRYPT,
    VERIFY,
    DANE,
    MTA_STS,
    AUTO,
    AUTO_DANE,
    AUTO_STS,
    AUTO_TESTING,
    MODES
};

static const struct {
    const char *what;
    enum conf_route_tls tls;
    bool dane;
    const char *policy;
} modes[MODES] = {
    [NONE] = {"none", CONF_ROUTE_TLS_NONE, false, NULL},
    [OPPORTUNISTIC] = {"opportunistic", CONF_ROUTE_TLS_OPPORTUNISTIC, false, NULL},
    [ENCRYPT] = {"encrypt", CONF_ROUTE_TLS_ENCRYPT, false, NULL},
    [VERIFY] = {"verify", CONF_ROUTE_TLS_VERIFY, false, NULL},
    [DANE] = {"dane", CONF_ROUTE_TLS_DANE, true, NULL},
    [MTA_STS] = {"mta-sts", CONF_ROUTE_TLS_MTA_STS, false, ENFORCE},
    [AUTO] = {"auto", CONF_ROUTE_TLS_AUTO, false, NULL},
    [AUTO_DANE] = {"auto, TLSA", CONF_ROUTE_TLS_AUTO, true, NULL},
    [AUTO_STS] = {"auto, policy", CONF_ROUTE_TLS_AUTO, false, ENFORCE},
    [AUTO_TESTING] = {"auto, policy in testing", CONF_ROUTE_TLS_AUTO, false, TESTING},
};

/* For each mode: P: went in the clear; t: under TLS; c, s, d: verified by CA, MTA-STS, DANE; W: waits. */
static const struct row {
    const char *what;
    const struct cert *cert; /* NULL: no STARTTLS */
    enum peer_stage stage;   /* with `reply` */
    const char *reply;
    enum peer_trick trick;
    const char *outcome;
} rows[] = {
    {.what = "all is well", .cert = &good, .outcome = "Pttcdstdst"},
    {.what = "self-signed", .cert = &self, .outcome = "PttWWWtWWt"},
    {.what = "expired", .cert = &expired, .outcome = "PttWWWtWWt"},
    {.what = "another's name", .cert = &other, .outcome = "PttWWWtWWt"},
    {.what = "by nobody we know", .cert = &untrusted, .outcome = "PttWWWtWWt"},
    {.what = "no STARTTLS", .outcome = "PPWWWWPWWP"},
    {.what = "454",
     .cert = &good,
     .stage = PEER_STARTTLS,
     .reply = "454 4.7.0 Not now",
     .outcome = "PPWWWWPWWP"},
    {.what = "500",
     .cert = &good,
     .stage = PEER_STARTTLS,
     .reply = "500 5.5.1 What",
     .outcome = "PPWWWWPWWP"},
    {.what = "421",
     .cert = &good,
     .stage = PEER_STARTTLS,
     .reply = "421 4.7.0 Bye",
     .outcome = "PPWWWWPWWP"},
    {.what = "hangs up at STARTTLS",
     .cert = &good,
     .stage = PEER_STARTTLS,
     .reply = PEER_DROP,
     .outcome = "PPWWWWPWWP"},
    {.what = "resets at STARTTLS",
     .cert = &good,
     .stage = PEER_STARTTLS,
     .reply = PEER_RESET,
     .outcome = "PPWWWWPWWP"},
    {.what = "a reply injected", .cert = &good, .trick = PEER_INJECTS, .outcome = "PPWWWWPWWP"},
    {.what = "garbage", .cert = &good, .trick = PEER_GARBLES, .outcome = "PPWWWWPWWP"},
    {.what = "hangs up in the handshake",
     .cert = &good,
     .trick = PEER_HANGS_UP,
     .outcome = "PPWWWWPWWP"},
    {.what = "says nothing in the handshake",
     .cert = &good,
     .trick = PEER_GOES_DUMB,
     .outcome = "PPWWWWPWWP"},
    {.what = "hangs up under TLS",
     .cert = &good,
     .stage = PEER_TLS_EHLO,
     .reply = PEER_DROP,
     .outcome = "PPWWWWPWWP"},
    {.what = "EHLO is not known",
     .cert = &good,
     .stage = PEER_EHLO,
     .reply = "502 What",
     .outcome = "PPWWWWPWWP"},
};

static const char *word(const char *outcome)
{
    switch (*outcome) {
    case 'c': return "ca";
    case 's': return "sts";
    case 'd': return "dane";
    default: return "no";
    }
}

static const char *verified(const struct world_result *r)
{
    static const char *const names[] = {[DELIVERY_VERIFIED_NO] = "no",
                                        [DELIVERY_VERIFIED_CA] = "ca",
                                        [DELIVERY_VERIFIED_STS] = "sts",
                                        [DELIVERY_VERIFIED_DANE] = "dane"};

    return names[r->tls.verified];
}

START_TEST(test_modes_and_tricks)
{
    const struct row *row = &rows[_i / MODES];
    enum mode m = (enum mode)(_i % MODES);
    const char *outcome = row->outcome + m;
    struct peer *p = open_world(modes[m].tls);
    const struct world_result *r;

    p->script.tls = row->cert != NULL ? server(row->cert) : NULL;
    p->script.at[row->stage] = row->reply;
    p->script.trick = row->trick;
    if (modes[m].dane) {
        sign_zone();
        dns_sim_zone_add_tlsa(w.zone, TLSA, 3, 0, 1, digest_of(&good));
    }
    if (modes[m].policy != NULL)
        publish_policy(modes[m].policy);
    r = send_one();
    if (*outcome == 'W') {
        ck_assert_msg(r->status[0] == DELIVERY_DEFERRED, "%s, %s: went", row->what, modes[m].what);
        ck_assert_uint_eq(r->enhanced[0][0], 4);
        ck_assert_uint_eq(r->enhanced[0][1], 7);
        ck_assert_msg(strstr(r->text, "TLS is required") != NULL, "%s", r->text);
        ck_assert_uint_eq(p->mails, 0);
    } else {
        bool clear = *outcome == 'P';
        ck_assert_msg(r->status[0] == DELIVERY_DONE, "%s, %s: %s", row->what, modes[m].what,
                      r->text);
        ck_assert(slice_equal(buf_slice(&p->body), w.body));
        ck_assert_uint_eq(p->mails, 1);
        ck_assert_msg(p->mails_tls == (clear ? 0 : 1), "%s, %s", row->what, modes[m].what);
        ck_assert_msg(strcmp(verified(r), word(outcome)) == 0, "%s, %s: %s", row->what,
                      modes[m].what, verified(r));
        ck_assert_str_eq(r->tls.version, clear ? "" : "TLSv1.3");
        ck_assert(clear || strncmp(r->tls.cipher, "TLS_", 4) == 0);
        if (!clear)
            ck_assert_str_eq(p->sni, HOST);
    }
    close_world();
}
END_TEST

/* ---- what is remembered ------------------------------------------------------------------- */

START_TEST(test_broken_tls_is_remembered)
{
    struct peer *p = open_world(CONF_ROUTE_TLS_AUTO);

    p->script.trick = PEER_GARBLES;
    ck_assert_int_eq(send_one()->status[0], DELIVERY_DONE);
    ck_assert_uint_eq(p->accepted, 2); /* at once, in the clear */
    world_run_ms(&w, 50 * 60000);      /* the site is long gone */
    ck_assert_uint_eq(w.d->site_count, 0);
    ck_assert_int_eq(send_one()->status[0], DELIVERY_DONE);
    ck_assert_uint_eq(p->starttls, 1);
    ck_assert_uint_eq(p->accepted, 3);
    ck_assert_uint_eq(w.d->counters.tls_fallbacks, 2);
    world_run_ms(&w, 15 * 60000);
    p->script.trick = PEER_HONEST;
    ck_assert_str_eq(send_one()->tls.version, "TLSv1.3");
    ck_assert_uint_eq(p->starttls, 2);
    close_world();
}
END_TEST

/* What one domain may do without is not what another has to go without. */
START_TEST(test_broken_tls_is_no_excuse)
{
    struct peer *p = open_world(CONF_ROUTE_TLS_AUTO);

    p->script.trick = PEER_GARBLES;
    dns_sim_zone_add_mx(w.zone, "strict.example", 10, HOST);
    dns_sim_zone_add_txt(w.zone, "_mta-sts.strict.example", "v=STSv1; id=1;");
    dns_sim_zone_add_address(w.zone, "mta-sts.strict.example", "10.0.9.9");
    w.policy = ENFORCE;
    world_use_sts(&w);
    ck_assert_int_eq(send_one()->status[0], DELIVERY_DONE);
    uint32_t i = world_send_to(&w, (const char *const[]){"mx", NULL},
                               (const char *const[]){"user@strict.example", NULL});
    world_run(&w);
    ck_assert_int_eq(world_result(&w, i)->status[0], DELIVERY_DEFERRED);
    ck_assert_msg(strstr(world_result(&w, i)->text, "TLS is required by MTA-STS") != NULL, "%s",
                  world_result(&w, i)->text);
    ck_assert_uint_eq(p->mails, 1);
    close_world();
}
END_TEST

START_TEST(test_sessions_are_resumed)
{
    const uint8_t name[16] = "ticket key", secret[32] = "secret";
    struct peer *p;

    tickets = tls_tickets_create(3600);
    tls_tickets_rotate(tickets, name, secret, 1);
    p = open_world(CONF_ROUTE_TLS_DANE);
    sign_zone();
    dns_sim_zone_add_tlsa(w.zone, TLSA, 3, 0, 1, digest_of(&good));
    for (int i = 0; i < 3; i++) {
        const struct world_result *r = send_one();
        ck_assert_int_eq(r->status[0], DELIVERY_DONE);
        ck_assert_str_eq(verified(r), "dane");
        ck_assert_uint_eq(p->resumed, (unsigned)i);
        world_run_ms(&w, 5 * 60000);
    }
    /* Other records ask for a look at the certificate; so does time. */
    dns_sim_zone_add_tlsa(w.zone, TLSA, 3, 0, 1, digest_of(&other));
    ck_assert_str_eq(verified(send_one()), "dane");
    ck_assert_uint_eq(p->resumed, 2);
    for (int i = 0; i < 3; i++) {
        world_run_ms(&w, 50 * 60000);
        ck_assert_str_eq(verified(send_one()), "dane");
    }
    ck_assert_uint_eq(p->resumed, 4);
    ck_assert_uint_eq(w.d->counters.tls_sessions, 7);
    ck_assert_uint_eq(w.d->counters.tls_resumed, 4);
    ck_assert_uint_eq(w.d->counters.tls_dane, 7);
    close_world();
    tls_tickets_unref(tickets);
    tickets = NULL;
}
END_TEST

/* ---- DANE --------------------------------------------------------------------------------- */

enum { AT_MX = 1, AT_HOST = 2, AT_TLSA = 4, ALL = AT_MX | AT_HOST | AT_TLSA };
enum { USABLE = 1, UNUSABLE, WRONG, BOGUS };

/* What auto makes of it, and what dane does: letters as above. */
static const struct dane_case {
    const char *what;
    int signed_; /* where */
    int tlsa;    /* 0: none */
    const struct cert *cert;
    const char *outcome;
} dane_cases[] = {
    {"all signed", ALL, USABLE, &good, "dd"},
    {"DANE-EE asks for neither date nor name", ALL, USABLE, &expired, "dd"},
    {"nor for a CA", ALL, USABLE, &self, "dd"},
    {"another's key", ALL, WRONG, &good, "WW"},
    {"none usable", ALL, UNUSABLE, &self, "tW"},
    {"none", ALL, 0, &self, "tW"},
    {"none, denied without proof", AT_MX | AT_HOST, 0, &self, "tW"},
    {"the MX are not signed", AT_HOST | AT_TLSA, WRONG, &good, "tW"},
    {"the host is not signed", AT_MX | AT_TLSA, WRONG, &good, "tW"},
    {"the records are not signed", AT_MX | AT_HOST, WRONG, &good, "tW"},
    {"bogus", ALL, BOGUS, &good, "WW"},
    {"bogus, but nothing is signed", 0, BOGUS, &good, "tW"},
};

static void publish_tlsa(int tlsa, const struct cert *cert, const char *name)
{
    switch (tlsa) {
    case USABLE: dns_sim_zone_add_tlsa(w.zone, name, 3, 0, 1, digest_of(cert)); break;
    case UNUSABLE:
        dns_sim_zone_add_tlsa(w.zone, name, 1, 0, 1, digest_of(cert)); /* PKIX-EE */
        dns_sim_zone_add_tlsa(w.zone, name, 3, 0, 1, SLICE_LITERAL("short"));
        break;
    case WRONG: dns_sim_zone_add_tlsa(w.zone, name, 3, 0, 1, digest_of(&other)); break;
    case BOGUS: dns_sim_zone_set_status(w.zone, name, DNS_TEMPORARY); break;
    default: break;
    }
}

static void expect(const struct world_result *r, const struct peer *p, char outcome,
                   const char *what)
{
    if (outcome == 'W') {
        ck_assert_msg(r->status[0] == DELIVERY_DEFERRED && p->mails == 0, "%s: went", what);
        ck_assert_msg(r->enhanced[0][0] == 4 && r->enhanced[0][1] == 7, "%s: %s", what, r->text);
    } else {
        ck_assert_msg(r->status[0] == DELIVERY_DONE, "%s: %s", what, r->text);
        ck_assert_msg(p->mails_tls == 1, "%s: in the clear", what);
        ck_assert_msg(strcmp(verified(r), word(&outcome)) == 0, "%s: %s", what, verified(r));
    }
}

START_TEST(test_dane)
{
    const struct dane_case *c = &dane_cases[_i / 2];
    struct peer *p = open_world(_i % 2 == 0 ? CONF_ROUTE_TLS_AUTO : CONF_ROUTE_TLS_DANE);

    p->script.tls = server(c->cert);
    dns_sim_zone_set_secure(w.zone, DOMAIN, (c->signed_ & AT_MX) != 0);
    dns_sim_zone_set_secure(w.zone, HOST, (c->signed_ & AT_HOST) != 0);
    dns_sim_zone_set_secure(w.zone, TLSA, (c->signed_ & AT_TLSA) != 0);
    publish_tlsa(c->tlsa, c->cert, TLSA);
    expect(send_one(), p, c->outcome[_i % 2], c->what);
    close_world();
}
END_TEST

/* An MX host that is an alias (RFC 7672 2.2.2): where the records are looked for, and by which name. */
static const struct alias_case {
    const char *what;
    bool alias_signed, target_signed;
    int at_target, at_alias;
    char outcome;
    const char *sni;
} alias_cases[] = {
    {"records at the end", true, true, USABLE, WRONG, 'd', "real.example.net"},
    {"records at the beginning", true, true, 0, USABLE, 'd', HOST},
    {"none", true, true, 0, 0, 't', HOST},
    {"bogus at the end", true, true, BOGUS, USABLE, 'W', NULL},
    {"the end is not signed", true, false, WRONG, USABLE, 'd', HOST},
    {"the beginning is not signed", false, true, WRONG, WRONG, 't', HOST},
};

START_TEST(test_alias)
{
    const struct alias_case *c = &alias_cases[_i];
    struct peer *p = open_world(CONF_ROUTE_TLS_AUTO);

    sign_zone();
    dns_sim_zone_clear(w.zone, HOST);
    dns_sim_zone_add_alias(w.zone, HOST, "real.example.net");
    dns_sim_zone_add_address(w.zone, "real.example.net", "10.0.1.1");
    secure("_25._tcp.real.example.net");
    dns_sim_zone_set_secure(w.zone, HOST, c->alias_signed);
    dns_sim_zone_set_secure(w.zone, "real.example.net", c->target_signed);
    publish_tlsa(c->at_target, &good, "_25._tcp.real.example.net");
    publish_tlsa(c->at_alias, &good, TLSA);
    expect(send_one(), p, c->outcome, c->what);
    if (c->sni != NULL)
        ck_assert_str_eq(p->sni, c->sni);
    if (c->outcome == 'd') /* the policy domain of a report (RFC 8460 1.1) */
        ck_assert_str_eq(w.account_domain, c->sni);
    close_world();
}
END_TEST

/* The domain itself is the host, and it is proven that there is no MX; and a host that the configuration
 * names. */
START_TEST(test_dane_without_mx)
{
    struct peer *p = open_world(CONF_ROUTE_TLS_DANE);
    uint32_t i;

    dns_sim_zone_clear(w.zone, DOMAIN);
    dns_sim_zone_add_address(w.zone, DOMAIN, "10.0.1.1");
    sign_zone();
    secure("_25._tcp." DOMAIN);
    publish_tlsa(USABLE, &good, "_25._tcp." DOMAIN);
    publish_tlsa(USABLE, &good, TLSA);
    expect(send_one(), p, 'd', "no MX");
    ck_assert_str_eq(p->sni, DOMAIN);
    i = world_send(&w, HOST ":25");
    world_run(&w);
    ck_assert_str_eq(verified(world_result(&w, i)), "dane");
    ck_assert_str_eq(p->sni, HOST);
    close_world();
}
END_TEST

/* DANE-TA: the CA is the record's, the name the host's. */
START_TEST(test_dane_ta)
{
    static const struct cert middle = {cert_middle, NULL, key_middle};
    const struct cert *const leaf = _i == 0 ? &good : _i == 1 ? &other : &expired;
    struct peer *p = open_world(CONF_ROUTE_TLS_AUTO);

    world_use_tls(&w, cert_stranger); /* no CA that we trust has a part in it */
    p->script.tls = server(leaf);
    sign_zone();
    dns_sim_zone_add_tlsa(w.zone, TLSA, 2, 0, 1, digest_of(&middle));
    expect(send_one(), p, _i == 0 ? 'd' : 'W', "DANE-TA");
    close_world();
}
END_TEST

/* A certificate for the domain, not for the host (RFC 7672 3.2.2): good for that domain's mail alone. */
START_TEST(test_dane_ta_for_a_domain)
{
    static const struct cert middle = {cert_middle, NULL, key_middle};
    struct peer *p = open_world(CONF_ROUTE_TLS_AUTO);
    uint32_t ids[4];

    p->script.tls = server(&other);
    sign_zone();
    dns_sim_zone_add_mx(w.zone, "other.example.net", 10, HOST);
    secure("other.example.net");
    dns_sim_zone_add_tlsa(w.zone, TLSA, 2, 0, 1, digest_of(&middle));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 4; i++)
            ids[i] = world_send_to(
                &w, (const char *const[]){"mx", NULL},
                (const char *const[]){
                    (i + round) % 2 == 0 ? "user@other.example.net" : "user@example.org", NULL});
        world_run(&w);
        for (int i = 0; i < 4; i++) {
            const struct world_result *r = world_result(&w, ids[i]);
            if ((i + round) % 2 == 1)
                ck_assert_int_eq(r->status[0], DELIVERY_DEFERRED);
            else if (r->status[0] == DELIVERY_DONE)
                ck_assert_str_eq(verified(r), "dane");
        }
        world_run_ms(&w, 10 * 60000);
    }
    ids[0] = world_send_to(&w, (const char *const[]){"mx", NULL},
                           (const char *const[]){"user@other.example.net", NULL});
    world_run(&w);
    ck_assert_str_eq(verified(world_result(&w, ids[0])), "dane");
    close_world();
}
END_TEST

/* Each MX host is judged by its own records. */
START_TEST(test_next_mx)
{
    struct peer *p = open_world(CONF_ROUTE_TLS_AUTO), *q = world_peer(&w, "10.0.1.2", 25);

    sign_zone();
    publish_tlsa(WRONG, &good, TLSA);
    dns_sim_zone_add_mx(w.zone, DOMAIN, 20, "mx2.example.org");
    dns_sim_zone_add_address(w.zone, "mx2.example.org", "10.0.1.2");
    secure("mx2.example.org");
    secure("_25._tcp.mx2.example.org");
    publish_tlsa(_i == 0 ? USABLE : BOGUS, &self, "_25._tcp.mx2.example.org");
    q->script.tls = server(&self);
    expect(send_one(), _i == 0 ? q : p, _i == 0 ? 'd' : 'W', "the second MX");
    ck_assert_uint_eq(p->mails, 0);
    close_world();
}
END_TEST

START_TEST(test_dane_without_a_resolver)
{
    struct peer *p = open_world(CONF_ROUTE_TLS_DANE);
    const struct world_result *r = send_one();

    expect(r, p, 'W', "nothing is signed");
    ck_assert_str_eq(r->text, "DANE is required, but the MX records of example.org are not signed");
    ck_assert_uint_eq(p->accepted, 0);
    close_world();
}
END_TEST

/* ---- MTA-STS ------------------------------------------------------------------------------ */

static const struct sts_case {
    const char *what;
    enum conf_route_tls tls;
    const char *policy; /* NULL: it cannot be fetched */
    const struct cert *cert;
    char outcome;
    enum report_policy_type type;
    enum report_result result;
} sts_cases[] = {
    {"enforce", CONF_ROUTE_TLS_AUTO, ENFORCE, &good, 's', REPORT_STS, REPORT_SUCCESS},
    {"enforce, expired", CONF_ROUTE_TLS_AUTO, ENFORCE, &expired, 'W', REPORT_STS,
     REPORT_CERTIFICATE_EXPIRED},
    {"enforce, another's name", CONF_ROUTE_TLS_AUTO, ENFORCE, &other, 'W', REPORT_STS,
     REPORT_CERTIFICATE_HOST_MISMATCH},
    {"enforce, not trusted", CONF_ROUTE_TLS_AUTO, ENFORCE, &untrusted, 'W', REPORT_STS,
     REPORT_CERTIFICATE_NOT_TRUSTED},
    {"enforce, another host", CONF_ROUTE_TLS_AUTO, ELSE, &good, 'W', REPORT_STS,
     REPORT_VALIDATION_FAILURE},
    {"testing", CONF_ROUTE_TLS_AUTO, TESTING, &good, 't', REPORT_STS, REPORT_SUCCESS},
    {"testing, expired", CONF_ROUTE_TLS_AUTO, TESTING, &expired, 't', REPORT_STS,
     REPORT_CERTIFICATE_EXPIRED},
    {"testing, not trusted", CONF_ROUTE_TLS_AUTO, TESTING, &untrusted, 't', REPORT_STS,
     REPORT_CERTIFICATE_NOT_TRUSTED},
    {"testing, required by us", CONF_ROUTE_TLS_MTA_STS, TESTING, &expired, 'W', REPORT_STS,
     REPORT_CERTIFICATE_EXPIRED},
    {"no policy, required by us", CONF_ROUTE_TLS_MTA_STS, NULL, &good, 'W', REPORT_NO_POLICY,
     REPORT_SUCCESS},
    {"no policy", CONF_ROUTE_TLS_AUTO, NULL, &good, 't', REPORT_STS, REPORT_STS_WEBPKI_INVALID},
};

START_TEST(test_sts)
{
    const struct sts_case *c = &sts_cases[_i];
    struct peer *p = open_world(c->tls);

    p->script.tls = server(c->cert);
    publish_policy(c->policy);
    expect(send_one(), p, c->outcome, c->what);
    ck_assert_int_eq(w.account.type, c->type);
    ck_assert_msg(w.account.result == c->result, "%s: %d", c->what, (int)w.account.result);
    if (c->type != REPORT_NO_POLICY) {
        ck_assert_uint_eq(w.accounts, 1);
        ck_assert_str_eq(w.account_domain, DOMAIN);
        ck_assert_str_eq(w.account_host, HOST);
        ck_assert(c->policy == NULL || strstr(w.account_policy, "version: STSv1") != NULL);
    }
    close_world();
}
END_TEST

/* DANE goes before MTA-STS, also where it fails (RFC 8461 2). */
START_TEST(test_dane_before_sts)
{
    struct peer *p = open_world(CONF_ROUTE_TLS_AUTO);

    sign_zone();
    publish_tlsa(_i == 0 ? USABLE : _i == 1 ? WRONG : UNUSABLE, &good, TLSA);
    publish_policy(ENFORCE);
    expect(send_one(), p, "dWs"[_i], "DANE and MTA-STS");
    close_world();
}
END_TEST

/* ---- the message's own wishes (RFC 8689) --------------------------------------------------- */

static const struct wish_case {
    const char *what;
    uint16_t flags;
    const char *policy;
    bool dane, offered;
    const struct cert *cert;
    const char *outcome; /* as above, and 10, 30: bounced with 5.7.10, 5.7.30 */
} wish_cases[] = {
    {"REQUIRETLS, DANE", SPOOL_REQUIRE_TLS, NULL, true, true, &good, "d"},
    {"REQUIRETLS, MTA-STS", SPOOL_REQUIRE_TLS, ENFORCE, false, true, &good, "s"},
    {"REQUIRETLS, MTA-STS in testing", SPOOL_REQUIRE_TLS, TESTING, false, true, &good, "s"},
    {"REQUIRETLS, who is not known", SPOOL_REQUIRE_TLS, NULL, false, true, &good, "10"},
    {"REQUIRETLS, not offered", SPOOL_REQUIRE_TLS, ENFORCE, false, false, &good, "30"},
    {"REQUIRETLS, expired", SPOOL_REQUIRE_TLS, ENFORCE, false, true, &expired, "10"},
    {"REQUIRETLS, no STARTTLS", SPOOL_REQUIRE_TLS, ENFORCE, false, true, NULL, "10"},
    {"both: REQUIRETLS", SPOOL_REQUIRE_TLS | SPOOL_TLS_OPTIONAL, ENFORCE, false, true, &expired,
     "10"},
    {"TLS-Required: No, MTA-STS", SPOOL_TLS_OPTIONAL, ENFORCE, false, false, &expired, "t"},
    {"TLS-Required: No, DANE", SPOOL_TLS_OPTIONAL, NULL, true, false, &self, "t"},
    {"TLS-Required: No, no STARTTLS", SPOOL_TLS_OPTIONAL, ENFORCE, false, false, NULL, "P"},
};

START_TEST(test_wishes)
{
    const struct wish_case *c = &wish_cases[_i];
    struct peer *p = open_world(CONF_ROUTE_TLS_AUTO);
    const struct world_result *r;

    p->script.tls = c->cert != NULL ? server(c->cert) : NULL;
    p->script.require_tls = c->offered;
    w.flags = c->flags;
    if (c->dane) {
        sign_zone();
        publish_tlsa(USABLE, &good, TLSA);
    }
    if (c->policy != NULL)
        publish_policy(c->policy);
    r = send_one();
    if (*c->outcome == 'P') {
        ck_assert_int_eq(r->status[0], DELIVERY_DONE);
        ck_assert_uint_eq(p->mails - p->mails_tls, 1);
    } else if (*c->outcome >= 'a') {
        expect(r, p, *c->outcome, c->what);
        ck_assert_uint_eq(p->mails_require, (c->flags & SPOOL_REQUIRE_TLS) != 0 ? 1 : 0);
    } else {
        ck_assert_msg(r->status[0] == DELIVERY_FAILED, "%s: %d", c->what, r->status[0]);
        ck_assert_uint_eq(p->mails, 0);
        ck_assert_uint_eq(r->enhanced[0][0], 5);
        ck_assert_uint_eq(r->enhanced[0][1], 7);
        ck_assert_msg(r->enhanced[0][2] == atoi(c->outcome), "%s: %s", c->what, r->text);
    }
    close_world();
}
END_TEST

/* One host cannot, the other does not answer now: it may later. */
START_TEST(test_requiretls_waits_for_who_is_away)
{
    struct peer *p = open_world(CONF_ROUTE_TLS_AUTO);
    const struct world_result *r;

    w.flags = SPOOL_REQUIRE_TLS;
    world_no_peer(&w, "10.0.1.2");
    dns_sim_zone_add_mx(w.zone, DOMAIN, _i == 0 ? 5 : 20, "mx2.example.org");
    dns_sim_zone_add_address(w.zone, "mx2.example.org", "10.0.1.2");
    publish_policy("version: STSv1\nmode: enforce\nmx: *.example.org\nmax_age: 86400\n");
    r = send_one();
    ck_assert_int_eq(r->status[0], DELIVERY_DEFERRED);
    ck_assert_msg(strstr(r->text, "refused") != NULL, "%s", r->text);
    ck_assert_uint_eq(p->mails, 0);
    close_world();
}
END_TEST

/* ---- other ways --------------------------------------------------------------------------- */

START_TEST(test_from_the_first_byte)
{
    static const struct {
        enum conf_route_tls tls;
        const struct cert *cert;
        char outcome;
    } cases[] = {
        {CONF_ROUTE_TLS_AUTO, &self, 't'},
        {CONF_ROUTE_TLS_VERIFY, &good, 'c'},
        {CONF_ROUTE_TLS_VERIFY, &self, 'W'},
    };
    struct peer *p = open_world(cases[_i].tls);
    uint32_t i;

    w.routes[0].tls_implicit = true;
    p->script.implicit = true;
    p->script.tls = server(cases[_i].cert);
    i = world_send(&w, HOST ":25");
    world_run(&w);
    expect(world_result(&w, i), p, cases[_i].outcome, "implicit");
    ck_assert_uint_eq(p->starttls, 0);
    close_world();
}
END_TEST

/* A peer that does not speak TLS there gets nothing in the clear. */
START_TEST(test_no_tls_from_the_first_byte)
{
    struct peer *p = open_world(CONF_ROUTE_TLS_OPPORTUNISTIC);
    uint32_t i;

    w.routes[0].tls_implicit = true;
    p->script.expects_nonsense = true;
    i = world_send(&w, HOST ":25");
    world_run(&w);
    expect(world_result(&w, i), p, 'W', "plain where TLS should be");
    close_world();
}
END_TEST

/* Cut off without close_notify, when the reply to the dot is due: nobody knows; it is sent again. */
START_TEST(test_cut_at_the_dot)
{
    struct peer *p = open_world(CONF_ROUTE_TLS_ENCRYPT);
    const struct world_result *r;

    p->script.trick = PEER_CUTS_DOT;
    r = send_one();
    ck_assert_int_eq(r->status[0], DELIVERY_DEFERRED);
    ck_assert_msg(strstr(r->text, "it may have taken the message") != NULL, "%s", r->text);
    ck_assert_uint_eq(p->dots, 1);
    close_world();
}
END_TEST

/* Two domains with the same hosts and other policies: each gets what it asks for. */
START_TEST(test_domains_that_share_hosts)
{
    struct peer *p = open_world(CONF_ROUTE_TLS_AUTO);
    uint32_t a, b, c;

    dns_sim_zone_add_mx(w.zone, "plain.example", 10, HOST);
    dns_sim_zone_add_mx(w.zone, "plain2.example", 10, HOST);
    publish_policy(ENFORCE);
    a = world_send(&w, "mx");
    b = world_send_to(&w, (const char *const[]){"mx", NULL},
                      (const char *const[]){"user@plain.example", NULL});
    c = world_send_to(&w, (const char *const[]){"mx", NULL},
                      (const char *const[]){"user@plain2.example", NULL});
    world_run(&w);
    ck_assert_str_eq(verified(world_result(&w, a)), "sts");
    ck_assert_str_eq(verified(world_result(&w, b)), "no");
    ck_assert_str_eq(verified(world_result(&w, c)), "no");
    ck_assert_uint_le(w.d->site_count, 2);
    ck_assert_uint_eq(p->mails_tls, 3);
    ck_assert_uint_eq(w.accounts, 3); /* a domain each, whoever's connection it was */
    close_world();
}
END_TEST

START_TEST(test_reports_are_not_reported)
{
    (void)open_world(CONF_ROUTE_TLS_AUTO);
    w.flags = SPOOL_IS_REPORT;
    ck_assert_int_eq(send_one()->status[0], DELIVERY_DONE);
    ck_assert_uint_eq(w.accounts, 0);
    close_world();
}
END_TEST

START_TEST(test_tlsa_reports)
{
    (void)open_world(CONF_ROUTE_TLS_AUTO);
    sign_zone();
    publish_tlsa(WRONG, &good, TLSA);
    ck_assert_int_eq(send_one()->status[0], DELIVERY_DEFERRED);
    ck_assert_int_eq(w.account.type, REPORT_TLSA);
    ck_assert_int_eq(w.account.result, REPORT_VALIDATION_FAILURE);
    ck_assert_str_eq(w.account_domain, HOST);
    ck_assert_msg(strncmp(w.account_policy, "3 0 1 ", 6) == 0, "%s", w.account_policy);
    close_world();
}
END_TEST

START_TEST(test_power_cut_in_the_handshake)
{
    struct peer *p = open_world(CONF_ROUTE_TLS_AUTO);

    p->script.trick = PEER_GOES_DUMB;
    publish_policy(ENFORCE);
    (void)world_send(&w, "mx");
    while (p->starttls == 0)
        world_run_ms(&w, 10);
    world_run_ms(&w, 100);
    world_power_cut(&w);
    free_servers();
}
END_TEST

/* Whatever the cut of the stream and the order of completions. */
START_TEST(test_weather)
{
    struct sim_options options = sim_options_default();
    struct peer *p;

    options.recv_split = 5000;
    world_open(&w, (uint64_t)_i + 100, &options);
    world_use_tls(&w, cert_root);
    w.routes[0].tls = CONF_ROUTE_TLS_VERIFY;
    dns_sim_zone_add_mx(w.zone, DOMAIN, 10, HOST);
    dns_sim_zone_add_address(w.zone, HOST, "10.0.1.1");
    p = world_peer(&w, "10.0.1.1", 25);
    p->script.tls = server(&good);
    for (int i = 0; i < 5; i++)
        (void)world_send(&w, "mx");
    world_run(&w);
    for (uint32_t i = 0; i < 5; i++)
        ck_assert_str_eq(verified(world_result(&w, i)), "ca");
    ck_assert_uint_eq(p->mails_tls, 5);
    close_world();
}
END_TEST

Suite *remote_tls_suite(void)
{
    Suite *s = suite_create("remote_tls");
    TCase *tc = tcase_create("remote_tls");

    tcase_set_timeout(tc, 20);
    tcase_add_loop_test(tc, test_modes_and_tricks, 0, (int)ARRAY_LEN(rows) * MODES);
    tcase_add_test(tc, test_broken_tls_is_remembered);
    tcase_add_test(tc, test_broken_tls_is_no_excuse);
    tcase_add_test(tc, test_sessions_are_resumed);
    tcase_add_loop_test(tc, test_dane, 0, 2 * (int)ARRAY_LEN(dane_cases));
    tcase_add_loop_test(tc, test_alias, 0, (int)ARRAY_LEN(alias_cases));
    tcase_add_test(tc, test_dane_without_mx);
    tcase_add_loop_test(tc, test_dane_ta, 0, 3);
    tcase_add_test(tc, test_dane_ta_for_a_domain);
    tcase_add_loop_test(tc, test_next_mx, 0, 2);
    tcase_add_test(tc, test_dane_without_a_resolver);
    tcase_add_loop_test(tc, test_sts, 0, (int)ARRAY_LEN(sts_cases));
    tcase_add_loop_test(tc, test_dane_before_sts, 0, 3);
    tcase_add_loop_test(tc, test_wishes, 0, (int)ARRAY_LEN(wish_cases));
    tcase_add_loop_test(tc, test_requiretls_waits_for_who_is_away, 0, 2);
    tcase_add_loop_test(tc, test_from_the_first_byte, 0, 3);
    tcase_add_test(tc, test_no_tls_from_the_first_byte);
    tcase_add_test(tc, test_cut_at_the_dot);
    tcase_add_test(tc, test_domains_that_share_hosts);
    tcase_add_test(tc, test_reports_are_not_reported);
    tcase_add_test(tc, test_tlsa_reports);
    tcase_add_test(tc, test_power_cut_in_the_handshake);
    tcase_add_loop_test(tc, test_weather, 0, 5);
    suite_add_tcase(s, tc);
    return s;
}
