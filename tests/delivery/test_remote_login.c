/* Logging in at a smarthost: with what, when not, and what becomes of the mail if it is refused. */
#include <check.h>
#include <stdio.h>

#include "base_codec.h"
#include "remote_tls.h"
#include "remote_world.h"

Suite *remote_login_suite(void);

static struct world w;
static struct conf_destination own;

/* The route logs in at `host`:587 of its own, in the clear. */
static struct peer *open_smarthost(uint64_t seed, const struct sim_options *options,
                                   const char *mechanisms)
{
    struct peer *p;

    world_open(&w, seed, options);
    own = (struct conf_destination){
        .kind = CONF_TO_SMTP, .host = SLICE_LITERAL("10.0.1.1"), .port = 587, .host_is_ip = true};
    w.routes[0].to = (struct conf_destinations){&own, 1};
    w.routes[0].tls = CONF_ROUTE_TLS_NONE;
    w.routes[0].auth = (struct conf_route_auth){.user = SLICE_LITERAL("ann"),
                                                .password_file = "/secret",
                                                .password = SLICE_LITERAL("s3cret word")};
    p = world_peer(&w, "10.0.1.1", 587);
    p->script.mechanisms = mechanisms;
    p->script.user = "ann";
    p->script.password = "s3cret word";
    return p;
}

static void use_token(const char *token)
{
    w.routes[0].auth.password_file = NULL;
    w.routes[0].auth.password = SLICE_NULL;
    w.routes[0].auth.token_file = "/token";
    if (token != NULL)
        world_write_file(&w, "/token", token, 0640);
}

static const struct world_result *send_one(void)
{
    uint32_t i = world_send(&w, "10.0.1.1:587");

    world_run(&w);
    return world_result(&w, i);
}

static void check_taken(const struct world_result *r, const char *what)
{
    ck_assert_msg(r->status[0] == DELIVERY_DONE, "%s: status %u: %s", what, r->status[0], r->text);
}

/* Mail waits, and is told why. Whatever the code: the message is not to blame. */
static void check_waits(const struct world_result *r, const char *text)
{
    ck_assert_int_eq(r->status[0], DELIVERY_DEFERRED);
    ck_assert_msg(strstr(r->text, text) != NULL, "%s", r->text);
    ck_assert_int_eq(r->enhanced[0][0], 4);
    ck_assert_int_eq(r->enhanced[0][1], 7);
    ck_assert_ptr_null(strstr(r->text, "s3cret"));
}

/* ---- the mechanisms ----------------------------------------------------------------------- */

static const struct choice {
    const char *what, *offered;
    enum conf_route_mechanism mechanism;
    bool token;
    const char *line; /* begins the AUTH command; NULL: none is said, and mail waits */
} choices[] = {
    {"the best of all", "LOGIN PLAIN SCRAM-SHA-1 SCRAM-SHA-256", CONF_ROUTE_AUTH_AUTOMATIC, false,
     "AUTH SCRAM-SHA-256 "},
    {"the next best", "LOGIN PLAIN SCRAM-SHA-1", CONF_ROUTE_AUTH_AUTOMATIC, false,
     "AUTH SCRAM-SHA-1 "},
    {"PLAIN before LOGIN", "LOGIN PLAIN XOAUTH2 GSSAPI", CONF_ROUTE_AUTH_AUTOMATIC, false,
     "AUTH PLAIN AGFubgBzM2NyZXQgd29yZA=="},
    {"LOGIN", "CRAM-MD5 LOGIN", CONF_ROUTE_AUTH_AUTOMATIC, false, "AUTH LOGIN"},
    {"as the route says", "LOGIN PLAIN SCRAM-SHA-1 SCRAM-SHA-256", CONF_ROUTE_AUTH_LOGIN, false,
     "AUTH LOGIN"},
    {"not what the route says", "LOGIN PLAIN", CONF_ROUTE_AUTH_SCRAM_SHA_256, false, NULL},
    {"none of ours", "GSSAPI CRAM-MD5 XOAUTH2", CONF_ROUTE_AUTH_AUTOMATIC, false, NULL},
    {"a token", "LOGIN PLAIN OAUTHBEARER XOAUTH2", CONF_ROUTE_AUTH_AUTOMATIC, true,
     "AUTH XOAUTH2 "},
    {"a token, the standard's way", "LOGIN OAUTHBEARER", CONF_ROUTE_AUTH_AUTOMATIC, true,
     "AUTH OAUTHBEARER "},
    {"a token is no password", "LOGIN PLAIN SCRAM-SHA-256", CONF_ROUTE_AUTH_AUTOMATIC, true, NULL},
};

static void check_choice(const struct choice *row, uint64_t seed, const struct sim_options *options)
{
    struct peer *p = open_smarthost(seed, options, row->offered);

    w.routes[0].auth.mechanism = row->mechanism;
    if (row->token) {
        p->script.token = "ya29.token";
        use_token("\n ya29.token\r\n");
    }
    if (row->line != NULL) {
        check_taken(send_one(), row->what);
        ck_assert_msg(strncmp(p->auth_line, row->line, strlen(row->line)) == 0, "%s: %s", row->what,
                      p->auth_line);
        ck_assert_uint_eq(p->logins, 1);
        ck_assert_uint_eq(w.d->counters.logins, 1);
        ck_assert(slice_equal(buf_slice(&p->body), w.body));
    } else {
        check_waits(send_one(), "it offers no mechanism of ours");
        ck_assert_uint_eq(p->auths, 0);
        ck_assert_uint_eq(w.d->counters.logins_refused, 1);
    }
    world_close(&w);
    ck_assert_uint_eq(p->quits, 1);
}

START_TEST(test_choice)
{
    check_choice(&choices[_i], 1, NULL);
}
END_TEST

START_TEST(test_choice_in_pieces)
{
    struct sim_options options = sim_options_default();

    options.recv_split = 9000;
    options.latency_max_us = 20000;
    options.link_buffer_len = 64;
    for (uint64_t seed = 1; seed <= 5; seed++)
        check_choice(&choices[_i], seed, &options);
}
END_TEST

/* A connection logs in once, whatever it carries. */
START_TEST(test_once)
{
    struct peer *p = open_smarthost(1, NULL, "PLAIN");

    for (int i = 0; i < 3; i++)
        check_taken(send_one(), "one of three");
    ck_assert_uint_eq(p->accepted, 1);
    ck_assert_uint_eq(p->auths, 1);
    ck_assert_uint_eq(p->dots, 3);
    world_close(&w);
}
END_TEST

/* An access token of usual length is more than fits beside the verb (RFC 4954 4). */
START_TEST(test_long_token)
{
    static char token[600 + 1];
    struct peer *p = open_smarthost(1, NULL, "XOAUTH2");

    memset(token, 'x', sizeof(token) - 1);
    p->script.token = token;
    use_token(token);
    check_taken(send_one(), "long token");
    ck_assert_str_eq(p->auth_line, "AUTH XOAUTH2");
    world_close(&w);
}
END_TEST

/* It is read anew for each connection. */
START_TEST(test_new_token)
{
    struct peer *p = open_smarthost(1, NULL, "XOAUTH2");

    p->script.token = "first";
    use_token("first\n");
    check_taken(send_one(), "first");
    world_run_ms(&w, 10000); /* the idle connection has gone */
    p->script.token = "second";
    world_write_file(&w, "/token", "second\n", 0600);
    check_taken(send_one(), "second");
    ck_assert_uint_eq(p->logins, 2);
    world_close(&w);
}
END_TEST

/* ---- refusals ----------------------------------------------------------------------------- */

static const struct refusal {
    const char *what, *offered;
    const char *reply;    /* to AUTH; NULL: the peer checks */
    const char *password; /* the peer's */
    const char *text;
    uint16_t code;
} refusals[] = {
    {"wrong password, PLAIN", "PLAIN", NULL, "another", "refuses our login: 535 Who are you?", 535},
    {"wrong password, LOGIN", "LOGIN", NULL, "another", "refuses our login: 535 Who are you?", 535},
    {"wrong password, SCRAM", "SCRAM-SHA-256", NULL, "another", "refuses our login: 535", 535},
    {"not now", "PLAIN", "454 4.7.0 Later", NULL, "refuses our login: 454 Later", 454},
    {"too weak", "PLAIN", "534 5.7.9 Use another mechanism", NULL, "refuses our login: 534", 534},
    {"welcome without a proof", "SCRAM-SHA-256", "235 2.7.0 Come in", NULL,
     "did not prove that it knows the password", 0},
    {"nonsense for a challenge", "LOGIN", "334 !", NULL, "not base64", 0},
    {"nonsense of SCRAM", "SCRAM-SHA-1", "334 eD15", NULL, "makes no sense", 0},
    {"no end of questions", "PLAIN", "334 ", NULL, "asks for more", 0},
    {"gone at AUTH", "PLAIN", PEER_DROP, NULL, "connection lost while logging in", 0},
    {"reset at AUTH", "PLAIN", PEER_RESET, NULL, "connection lost while logging in", 0},
    {"silent at AUTH", "PLAIN", PEER_STALL, NULL, "timeout logging in", 0},
    {"421 at AUTH", "PLAIN", "421 4.7.0 Too many errors", NULL, "Too many errors", 421},
};

static void check_refusal(const struct refusal *row, uint64_t seed,
                          const struct sim_options *options)
{
    struct peer *p = open_smarthost(seed, options, row->offered);
    const struct world_result *r;

    if (row->password != NULL)
        p->script.password = row->password;
    p->script.at[PEER_AUTH] = row->reply;
    r = send_one();
    ck_assert_msg(r->status[0] == DELIVERY_DEFERRED && strstr(r->text, row->text) != NULL
                      && r->code[0] == row->code && r->enhanced[0][0] == 4,
                  "%s: status %u, code %u: %s", row->what, r->status[0], r->code[0], r->text);
    ck_assert_ptr_null(strstr(r->text, "s3cret"));
    ck_assert_msg(p->accepted == 1 && p->mails == 0, "%s: %u connections", row->what, p->accepted);
    ck_assert_uint_eq(w.d->counters.logins, 0);
    world_close(&w);
}

START_TEST(test_refusal)
{
    check_refusal(&refusals[_i], 1, NULL);
}
END_TEST

START_TEST(test_refusal_in_pieces)
{
    struct sim_options options = sim_options_default();

    options.recv_split = 9000;
    options.latency_max_us = 20000;
    options.link_buffer_len = 64;
    for (uint64_t seed = 1; seed <= 5; seed++)
        check_refusal(&refusals[_i], seed, &options);
}
END_TEST

/* Not a word without TLS where the route does not say so; nor to a server that offers no AUTH. */
START_TEST(test_no_tls)
{
    struct peer *p = open_smarthost(1, NULL, "PLAIN");

    w.routes[0].tls = CONF_ROUTE_TLS_OPPORTUNISTIC;
    check_waits(send_one(), "TLS is required for our login");
    ck_assert_uint_eq(p->auths + p->mails, 0);
    world_close(&w);
}
END_TEST

START_TEST(test_no_auth)
{
    struct peer *p = open_smarthost(1, NULL, NULL);

    check_waits(send_one(), "it offers none");
    ck_assert_uint_eq(p->auths + p->mails, 0);
    world_close(&w);
}
END_TEST

START_TEST(test_no_token_file)
{
    struct peer *p = open_smarthost(1, NULL, "XOAUTH2");

    use_token(NULL);
    check_waits(send_one(), "cannot read token_file: No such file or directory");
    ck_assert_uint_eq(p->auths, 0);
    world_close(&w);
}
END_TEST

START_TEST(test_open_token_file)
{
    static const uint32_t modes[] = {0644, 0604, 0620, 0666};
    struct peer *p = open_smarthost(1, NULL, "XOAUTH2");

    use_token(NULL);
    world_write_file(&w, "/token", "token", modes[_i]);
    check_waits(send_one(), "token_file may be read by everybody");
    ck_assert_uint_eq(p->auths, 0);
    world_close(&w);
}
END_TEST

START_TEST(test_empty_token_file)
{
    struct peer *p = open_smarthost(1, NULL, "XOAUTH2");

    use_token(" \n");
    check_waits(send_one(), "no access token");
    ck_assert_uint_eq(p->auths, 0);
    world_close(&w);
}
END_TEST

/* tls = auto tells a password only to who has shown his name: what TLS can be had may be had from
 * anybody. A route that says something else means it. */
static const struct {
    enum conf_route_tls mode;
    bool login;
    enum delivery_tlsa tlsa;
    enum delivery_level level;
} plans[] = {
    {CONF_ROUTE_TLS_AUTO, false, DELIVERY_TLSA_NONE, DELIVERY_LEVEL_MAY},
    {CONF_ROUTE_TLS_AUTO, true, DELIVERY_TLSA_NONE, DELIVERY_LEVEL_VERIFY},
    {CONF_ROUTE_TLS_AUTO, true, DELIVERY_TLSA_UNUSABLE, DELIVERY_LEVEL_VERIFY},
    {CONF_ROUTE_TLS_AUTO, true, DELIVERY_TLSA_USABLE, DELIVERY_LEVEL_DANE},
    {CONF_ROUTE_TLS_NONE, true, DELIVERY_TLSA_NONE, DELIVERY_LEVEL_PLAIN},
    {CONF_ROUTE_TLS_OPPORTUNISTIC, true, DELIVERY_TLSA_NONE, DELIVERY_LEVEL_ENCRYPT},
    {CONF_ROUTE_TLS_ENCRYPT, true, DELIVERY_TLSA_NONE, DELIVERY_LEVEL_ENCRYPT},
    {CONF_ROUTE_TLS_VERIFY, true, DELIVERY_TLSA_NONE, DELIVERY_LEVEL_VERIFY},
};

START_TEST(test_plan)
{
    static const struct dns_answer none;
    const struct delivery_plan_question q = {
        .mode = plans[_i].mode,
        .login = plans[_i].login,
        .tlsa = plans[_i].tlsa,
        .able = true,
        .host = SLICE_LITERAL("smart.example"),
        .base = SLICE_LITERAL("smart.example"),
        .records = &none,
    };
    struct delivery_reason why;
    struct delivery_plan *plan = delivery_plan_create(&q, &why);

    ck_assert_ptr_nonnull(plan);
    ck_assert_int_eq(plan->level, plans[_i].level);
    delivery_plan_drop(plan);
}
END_TEST

/* Under TLS, with real handshakes. Whoever answers and cannot show the host's name hears no password,
 * unless the route says that anybody may. */
static const struct secured {
    const char *what;
    enum conf_route_tls mode;
    const char *certificate, *issuer, *key;
    bool goes;
} secured[] = {
    {"good", CONF_ROUTE_TLS_AUTO, cert_mx_ecdsa, cert_middle, key_mx_ecdsa, true},
    {"good", CONF_ROUTE_TLS_VERIFY, cert_mx_ecdsa, cert_middle, key_mx_ecdsa, true},
    {"self-signed", CONF_ROUTE_TLS_AUTO, cert_self, NULL, key_self, false},
    {"self-signed", CONF_ROUTE_TLS_ENCRYPT, cert_self, NULL, key_self, true},
    {"self-signed", CONF_ROUTE_TLS_OPPORTUNISTIC, cert_self, NULL, key_self, true},
    {"expired", CONF_ROUTE_TLS_AUTO, cert_expired, cert_middle, key_expired, false},
    {"another's name", CONF_ROUTE_TLS_AUTO, cert_other, cert_middle, key_other, false},
    {"by nobody we know", CONF_ROUTE_TLS_AUTO, cert_untrusted, cert_stranger, key_untrusted, false},
    {"none", CONF_ROUTE_TLS_AUTO, NULL, NULL, NULL, false},
    {"none", CONF_ROUTE_TLS_ENCRYPT, NULL, NULL, NULL, false},
    {"none", CONF_ROUTE_TLS_OPPORTUNISTIC, NULL, NULL, NULL, false},
};

static void check_secured(const struct secured *row, uint64_t seed,
                          const struct sim_options *options, bool token)
{
    struct peer *p = open_smarthost(seed, options, token ? "XOAUTH2" : "SCRAM-SHA-256");
    struct tls_context *context = NULL;
    const struct world_result *r;
    uint32_t i;

    world_use_tls(&w, cert_root);
    dns_sim_zone_add_address(w.zone, "mx.example.org", "10.0.1.1");
    own.host = SLICE_LITERAL("mx.example.org");
    own.host_is_ip = false;
    w.routes[0].tls = row->mode;
    if (row->certificate != NULL) {
        struct tls_pair pair = remote_tls_pair(row->certificate, row->issuer, row->key);

        context = remote_tls_server(&pair, NULL);
    }
    p->script.tls = context;
    p->script.token = "token";
    if (token)
        use_token("token");
    i = world_send(&w, "mx.example.org:587");
    world_run(&w);
    r = world_result(&w, i);
    ck_assert_msg(r->status[0] == (row->goes ? DELIVERY_DONE : DELIVERY_DEFERRED),
                  "%s, mode %d: %s", row->what, row->mode, r->text);
    ck_assert_msg(p->auths == row->goes, "%s, mode %d: AUTH %s", row->what, row->mode,
                  p->auth_line);
    ck_assert_uint_eq(p->mails, row->goes);
    world_close(&w);
    tls_context_unref(context);
}

START_TEST(test_secured)
{
    check_secured(&secured[_i], 1, NULL, false);
    check_secured(&secured[_i], 2, NULL, true);
}
END_TEST

START_TEST(test_secured_in_pieces)
{
    struct sim_options options = sim_options_default();

    options.recv_split = 9000;
    options.latency_max_us = 20000;
    options.link_buffer_len = 64;
    check_secured(&secured[0], 1 + (uint64_t)_i, &options, _i % 2 == 0);
}
END_TEST

/* A handshake that fails once is no reason to speak in the clear for an hour, where the login would then
 * not be tried at all. */
START_TEST(test_tls_failed_once)
{
    struct peer *p = open_smarthost(1, NULL, "PLAIN");
    struct tls_pair pair = remote_tls_pair(cert_self, NULL, key_self);
    struct tls_context *context = remote_tls_server(&pair, NULL);

    world_use_tls(&w, cert_root);
    w.routes[0].tls = CONF_ROUTE_TLS_OPPORTUNISTIC;
    p->script.tls = context;
    p->script.trick = PEER_HANGS_UP;
    check_waits(send_one(), "TLS is required for our login");
    ck_assert_uint_eq(p->auths, 0);
    p->script.trick = PEER_HONEST;
    world_run_ms(&w, 6 * 60000);
    check_taken(send_one(), "TLS works again");
    ck_assert_uint_eq(p->auths, 1);
    world_close(&w);
    tls_context_unref(context);
}
END_TEST

/* "TLS-Required: No" in a message is about that message, not about our password. */
START_TEST(test_waived)
{
    struct conf_route route = {.tls = CONF_ROUTE_TLS_AUTO, .auth.user = SLICE_LITERAL("ann")};
    struct delivery_addresses a;

    open_smarthost(1, NULL, "PLAIN");
    route.to = w.routes[0].to;
    delivery_addresses_init(&a, w.d, SLICE_LITERAL("smtp 0 n 10.0.1.1 587"), &route, NULL, NULL);
    ck_assert(a.login && a.demand.ignore);
    ck_assert_int_eq(a.mode, CONF_ROUTE_TLS_AUTO);
    delivery_addresses_finish(&a);
    delivery_addresses_init(&a, w.d, SLICE_LITERAL("smtp 0 n 10.0.2.2 587"), &route, NULL, NULL);
    ck_assert(!a.login);
    ck_assert_int_eq(a.mode, CONF_ROUTE_TLS_OPPORTUNISTIC);
    delivery_addresses_finish(&a);
    world_close(&w);
}
END_TEST

/* The login is for the hosts of the route. Mail for a domain of ours, which goes to its own host in the
 * route's manners, does not tell that host our password. */
START_TEST(test_other_host)
{
    struct peer *p = open_smarthost(1, NULL, "PLAIN"), *store = world_peer(&w, "10.0.2.2", 587);
    uint32_t i;

    store->script.mechanisms = "PLAIN";
    store->script.at[PEER_MAIL] = "250 Ok";
    i = world_send(&w, "10.0.2.2:587");
    world_run(&w);
    check_taken(world_result(&w, i), "another host");
    ck_assert_uint_eq(store->auths, 0);
    ck_assert_uint_eq(p->accepted, 0);
    world_close(&w);
}
END_TEST

/* A wrong password is not tried at each address, nor again and again. */
START_TEST(test_counted)
{
    struct peer *p = open_smarthost(1, NULL, "PLAIN");
    uint32_t first;

    p->script.password = "another";
    first = world_send(&w, "10.0.1.1:587");
    for (int i = 0; i < 20; i++)
        (void)world_send(&w, "10.0.1.1:587");
    world_run(&w);
    for (uint32_t i = first; i < w.sent; i++)
        check_waits(world_result(&w, i), "refuses our login");
    ck_assert_uint_le(p->auths, 2);               /* so many attempts are made side by side */
    check_waits(send_one(), "refuses our login"); /* the site rests */
    ck_assert_uint_le(p->auths, 2);
    p->script.password = "s3cret word";
    world_run_ms(&w, 61000); /* the first retry interval, and not less */
    check_taken(send_one(), "the password is right again");
    world_close(&w);
}
END_TEST

/* The next host of the route has its own idea of the password. */
START_TEST(test_next_host)
{
    static struct conf_destination both[2];
    struct peer *p = open_smarthost(1, NULL, "PLAIN"), *other = world_peer(&w, "10.0.1.2", 587);
    uint32_t i;

    both[0] = own;
    both[1] = own;
    both[1].host = SLICE_LITERAL("10.0.1.2");
    w.routes[0].to = (struct conf_destinations){both, 2};
    other->script = p->script;
    p->script.password = "another";
    i = world_send_to(&w, (const char *const[]){"10.0.1.1:587", "10.0.1.2:587", NULL},
                      (const char *const[]){"user@example.org", NULL});
    world_run(&w);
    check_taken(world_result(&w, i), "the next");
    ck_assert_uint_eq(p->auths, 1);
    ck_assert_uint_eq(other->logins, 1);
    world_close(&w);
}
END_TEST

/* Stopped at each moment of a login, or without power: nothing is left, nothing is touched any more. */
START_TEST(test_stop)
{
    for (unsigned events = 0; events < 150; events += 3) {
        struct sim_options options = sim_options_default();

        options.latency_max_us = 2000;
        struct peer *p = open_smarthost(1 + events, &options, _i % 2 ? "SCRAM-SHA-256" : "XOAUTH2");

        p->script.token = "token";
        if (_i % 2 == 0)
            use_token("token");
        (void)world_send(&w, "10.0.1.1:587");
        world_run_events(&w, events);
        if (_i < 2)
            world_close(&w);
        else
            world_power_cut(&w);
    }
}
END_TEST

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

Suite *remote_login_suite(void)
{
    Suite *s = suite_create("remote_login");
    TCase *t = tcase_create("login");

    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, test_choice, 0, ROWS(choices));
    tcase_add_loop_test(t, test_choice_in_pieces, 0, ROWS(choices));
    tcase_add_test(t, test_once);
    tcase_add_test(t, test_long_token);
    tcase_add_test(t, test_new_token);
    tcase_add_loop_test(t, test_refusal, 0, ROWS(refusals));
    tcase_add_loop_test(t, test_refusal_in_pieces, 0, ROWS(refusals));
    tcase_add_test(t, test_no_tls);
    tcase_add_test(t, test_no_auth);
    tcase_add_test(t, test_no_token_file);
    tcase_add_loop_test(t, test_open_token_file, 0, 4);
    tcase_add_test(t, test_empty_token_file);
    tcase_add_loop_test(t, test_plan, 0, ROWS(plans));
    tcase_add_loop_test(t, test_secured, 0, ROWS(secured));
    tcase_add_loop_test(t, test_secured_in_pieces, 0, 6);
    tcase_add_test(t, test_tls_failed_once);
    tcase_add_test(t, test_waived);
    tcase_add_test(t, test_other_host);
    tcase_add_test(t, test_counted);
    tcase_add_test(t, test_next_host);
    tcase_add_loop_test(t, test_stop, 0, 4);
    suite_add_tcase(s, t);
    return s;
}
