/* What is accepted from whom: a table over one configuration. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base_assert.h"
#include "policy.h"

Suite *policy_suite(void);

static struct conf *conf;

static void load(void)
{
    static const char recipients[] = "ann\nbob@one.example\n";
    static const char text[] =
        "hostname = \"mx.example\"\n"
        "spool = \"/nonexistent\"\n"
        "listener \"in\" { address = {\"127.0.0.1:2525\"} role = mx }\n"
        "listener \"out\" { address = {\"127.0.0.1:2526\"} role = relay }\n"
        "listener \"users\" { address = {\"127.0.0.1:2527\"} "
        "role = submission }\n"
        "auth { senders = \"%s\" plaintext = yes dovecot = \"/nonexistent\" }\n"
        "relay_from = {\"10.1.0.0/16\", \"2001:db8::/32\"}\n"
        "domain \"one.example\" { to = \"discard\" recipients = \"%s\" "
        "subaddress = \"+\" }\n"
        "domain \"all.example\" { to = \"discard\" }\n"
        "domain \"box.example\" { to = \"maildir:/mail/%%d/%%u\" }\n"
        "domain \"one-box.example\" { to = \"maildir:/mail/%%%%u\" }\n"
        "domain \"shut.example\" { to = \"reject:moved away\" }\n"
        "route \"bad.example\" { to = \"reject:not there\" }\n";
    static const char senders[] = "sales@one.example ann,bob\n"
                                  "@two.example Bob@one.example\n";
    char map[] = "/tmp/policy-senders-XXXXXX";
    int map_fd = mkstemp(map);
    char list[] = "/tmp/policy-recipients-XXXXXX", file[] = "/tmp/policy-conf-XXXXXX";
    int list_fd = mkstemp(list), file_fd = mkstemp(file);
    struct conf_errors errors = {0};
    FILE *out;

    ck_assert(list_fd >= 0 && file_fd >= 0 && map_fd >= 0);
    ck_assert_int_eq(write(map_fd, senders, sizeof(senders) - 1), sizeof(senders) - 1);
    close(map_fd);
    ck_assert_int_eq(write(list_fd, recipients, sizeof(recipients) - 1), sizeof(recipients) - 1);
    out = fdopen(file_fd, "w");
    ck_assert_ptr_nonnull(out);
    fprintf(out, text, map, list);
    fclose(out);
    close(list_fd);
    ck_assert_msg(conf_load(file, &conf, &errors), "%s",
                  errors.count ? errors.items[errors.count - 1].text : "");
    conf_errors_finish(&errors);
    unlink(list);
    unlink(map);
    unlink(file);
}

static void unload(void)
{
    conf_free(conf);
}

static const struct {
    const char *client;
    const char *recipient;
    int code; /* 0: accepted */
    int detail;
} cases[] = {
    {"192.0.2.1", "ann@one.example", 0, 0},
    {"192.0.2.1", "ANN@One.Example", 0, 0},
    {"192.0.2.1", "ann+list@one.example", 0, 0},
    {"192.0.2.1", "\"ann\"@one.example", 0, 0},
    {"192.0.2.1", "\"eve\"@one.example", 550, 1},
    {"192.0.2.1", "bob@one.example", 0, 0},
    {"192.0.2.1", "eve@one.example", 550, 1},
    {"192.0.2.1", "postmaster@one.example", 0, 0},
    {"192.0.2.1", "anybody@all.example", 0, 0},
    {"192.0.2.1", "x@elsewhere.example", 550, 1},
    {"192.0.2.1", "x@sub.one.example", 550, 1},
    {"192.0.2.1", "x@shut.example", 550, 1},
    {"192.0.2.1", "a/b@box.example", 550, 3},
    {"192.0.2.1", "\"..\"@box.example", 550, 3},
    {"192.0.2.1", "\"\"@box.example", 550, 3},
    {"192.0.2.1", "\".hidden\"@box.example", 550, 3},
    {"192.0.2.1", "\"a b@c\"@box.example", 0, 0},
    {"192.0.2.1", "a/b@one-box.example", 0, 0},
    {"192.0.2.1", "a/b@all.example", 0, 0},
    {"192.0.2.1", "x@[127.0.0.1]", 550, 2},
    {"192.0.2.1", "\"x@elsewhere.example\"@all.example", 0, 0},
    {"192.0.2.1", "x%elsewhere.example@all.example", 0, 0},
    {"10.1.2.3", "x@elsewhere.example", 0, 0},
    {"10.2.2.3", "x@elsewhere.example", 550, 1},
    {"2001:db8::9", "x@elsewhere.example", 0, 0},
    {"10.1.2.3", "eve@one.example", 550, 1},
    {"10.1.2.3", "x@bad.example", 550, 1},
    {"10.1.2.3", "x@[127.0.0.1]", 550, 2},
};

static struct policy_client client_at(const char *ip, size_t listener)
{
    struct policy_client client = {.conf = conf, .listener = &conf->listeners[listener]};

    ck_assert(ip_parse(slice_str(ip), &client.ip));
    return client;
}

START_TEST(recipients_by_client)
{
    struct policy_client client = client_at(cases[_i].client, 0);
    struct smtp_address address;
    struct smtp_reply refusal = {0};
    bool accepted;

    ck_assert(policy_check_connect(&client, &refusal));
    ck_assert_int_eq(smtp_address_parse(slice_str(cases[_i].recipient), 0, &address),
                     SMTP_ADDRESS_OK);
    accepted = policy_check_rcpt(&client, SLICE_NULL, &address, &refusal);
    ck_assert_msg(accepted == (cases[_i].code == 0), "%s from %s", cases[_i].recipient,
                  cases[_i].client);
    ck_assert_int_eq(refusal.code, cases[_i].code);
    if (!accepted)
        ck_assert_int_eq(refusal.enhanced[2], cases[_i].detail);
}
END_TEST

START_TEST(relay_listener_serves_its_networks)
{
    struct smtp_reply refusal = {0};
    struct policy_client stranger = client_at("192.0.2.1", 1), ours = client_at("10.1.2.3", 1);

    ck_assert(!policy_check_connect(&stranger, &refusal));
    ck_assert_int_eq(refusal.code, 554);
    ck_assert(policy_check_connect(&ours, &refusal));
    ck_assert(ours.may_relay && !stranger.may_relay);
}
END_TEST

/* Where certificates are known, who connects may yet show one: he is refused at MAIL. */
START_TEST(relay_listener_knows_certificates)
{
    struct conf_fingerprint ours = {{1}};
    struct conf_listener known = conf->listeners[1], any_of_ca = known, users = known;
    struct conf_listener *const listeners[] = {&known, &any_of_ca, &users};
    struct smtp_address sender = {.text = SLICE_LITERAL("a@b.example")};

    known.relay_certificates = (struct conf_fingerprints){&ours, 1};
    any_of_ca.relay_client_ca = true;
    users.auth = true;
    for (size_t i = 0; i < ARRAY_LEN(listeners); i++) {
        struct policy_client client = client_at("192.0.2.1", 1);
        struct smtp_reply refusal = {0};

        client.listener = listeners[i];
        ck_assert(policy_check_connect(&client, &refusal));
        ck_assert(!policy_check_mail(&client, &sender, &refusal));
        ck_assert_uint_eq(refusal.code, listeners[i]->auth ? 530 : 550);
        ck_assert_uint_eq(refusal.enhanced[1], 7);
        client.may_relay = true; /* the certificate was one of them */
        ck_assert(policy_check_mail(&client, &sender, &refusal));
    }
}
END_TEST

START_TEST(postmaster_alone_is_ours)
{
    struct policy_client client = client_at("192.0.2.1", 0);
    struct smtp_address address = {.text = SLICE_LITERAL("postmaster"),
                                   .local = SLICE_LITERAL("postmaster"),
                                   .kind = SMTP_DOMAIN_NONE};
    struct smtp_reply refusal = {0};

    ck_assert(policy_check_rcpt(&client, SLICE_NULL, &address, &refusal));
    ck_assert(slice_equal(policy_postmaster_domain(conf), SLICE_LITERAL("all.example")));
}
END_TEST

/* ---- users --------------------------------------------------------------------------------- */

static const struct {
    const char *user;
    const char *list; /* of the users file */
    const char *sender;
    bool own;
} senders[] = {
    {"ann@one.example", "", "ann@one.example", true},
    {"ann@one.example", "", "ANN@One.Example", true},
    {"Ann@One.example", "", "ann@one.example", true},
    {"ann@one.example", "", "ann+news@one.example", true},
    {"ann@one.example", "", "ann+@one.example", true},
    {"ann@one.example", "", "\"ann\"@one.example", true},
    {"ann@one.example", "", "\"ann+x\"@one.example", false},
    {"ann@one.example", "", "ann@two.example", false},
    {"ann@one.example", "", "ann@sub.one.example", false},
    {"ann@one.example", "", "bob@one.example", false},
    {"ann@one.example", "", "+ann@one.example", false},
    {"ann@all.example", "", "ann+x@all.example", false}, /* has no subaddresses */
    {"ann@else.example", "", "ann+x@else.example", false},
    {"ann@one.example", "", "sales@one.example", false}, /* the map means another ann */
    {"ann", "", "ann@one.example", false},
    {"ann", "", "sales@one.example", true},
    {"ANN", "", "Sales+q3@one.example", true},
    {"bob@one.example", "", "anything@two.example", true},
    {"bob@one.example", "", "anything@sub.two.example", false},
    {"ann", "ann@one.example, a.n@else.example", "ann@one.example", true},
    {"ann", "ann@one.example, a.n@else.example", "A.N@else.example", true},
    {"ann", "ann@one.example, a.n@else.example", "ann+x@one.example", true},
    {"ann", "ann@one.example, a.n@else.example", "ann@else.example", false},
    {"ann", "@else.example", "x@else.example", true},
    {"ann", "*@else.example", "x@else.example", true},
    {"ann", ",,@else.example", "x@else.exampl", false},
    {"ann", "*", "x@anywhere.example", true},
    {"ann", "one.example", "ann@one.example", false},
    {"ann@[127.0.0.1]", "", "ann@[127.0.0.1]", true},
    {"ann", "*one.example", "x@one.example", false},
};

static struct smtp_address address_of(const char *text)
{
    struct smtp_address address = {0};

    if (text[0] != '\0')
        ck_assert_int_eq(smtp_address_parse(slice_str(text), 0, &address), SMTP_ADDRESS_OK);
    return address;
}

START_TEST(senders_by_user)
{
    struct policy_client client = client_at("192.0.2.1", 2);
    struct smtp_address address = address_of(senders[_i].sender);
    struct smtp_reply refusal = {0};

    const struct policy_user user = {slice_str(senders[_i].user), slice_str(senders[_i].list)};
    client.user = &user;
    ck_assert_msg(policy_is_own_sender(&client, &address) == senders[_i].own, "%s as %s",
                  senders[_i].user, senders[_i].sender);
    ck_assert(policy_check_mail(&client, &address, &refusal) == senders[_i].own);
    if (!senders[_i].own) {
        ck_assert_uint_eq(refusal.code, 553);
        ck_assert_uint_eq(refusal.enhanced[1], 7);
    }
}
END_TEST

START_TEST(submission_is_for_users)
{
    struct policy_client client = client_at("10.1.2.3", 2);
    struct smtp_address sender = address_of("ann@one.example"), null = address_of("");
    struct smtp_address far = address_of("x@elsewhere.example");
    struct smtp_reply refusal = {0};

    ck_assert(policy_check_connect(&client, &refusal));
    ck_assert(!policy_check_mail(&client, &sender, &refusal));
    ck_assert_uint_eq(refusal.code, 530);
    ck_assert(!policy_check_mail(&client, &null, &refusal));
    ck_assert(!policy_check_rcpt(&client, SLICE_NULL, &far,
                                 &refusal)); /* relay_from is for the other roles */
    ck_assert_uint_eq(policy_recipients_max(&client, SLICE_NULL), 0);

    client.user = &(const struct policy_user){.name = SLICE_LITERAL("ann@one.example")};
    ck_assert(policy_check_mail(&client, &sender, &refusal));
    ck_assert(policy_check_mail(&client, &null, &refusal));
    ck_assert(policy_check_rcpt(&client, SLICE_NULL, &far, &refusal));
    ck_assert_uint_eq(policy_recipients_max(&client, SLICE_NULL), 1);
    ck_assert_uint_eq(policy_recipients_max(&client, slice_str("ann@one.example")), 0);
}
END_TEST

/* Also where others may send without a login. */
START_TEST(users_everywhere)
{
    struct policy_client client = client_at("192.0.2.1", 0);
    struct smtp_address far = address_of("x@elsewhere.example"),
                        eve = address_of("eve@one.example");
    struct smtp_reply refusal = {0};

    ck_assert(policy_check_connect(&client, &refusal));
    ck_assert(policy_check_mail(&client, &far, &refusal));
    client.user = &(const struct policy_user){.name = SLICE_LITERAL("ann@one.example")};
    ck_assert(!policy_check_mail(&client, &far, &refusal));
    ck_assert(policy_check_rcpt(&client, SLICE_NULL, &far, &refusal));
    ck_assert(!policy_check_rcpt(&client, SLICE_NULL, &eve,
                                 &refusal)); /* does not exist, for users neither */
    ck_assert_uint_eq(refusal.code, 550);
}
END_TEST

Suite *policy_suite(void)
{
    Suite *s = suite_create("policy");
    TCase *tc = tcase_create("rules");

    tcase_add_checked_fixture(tc, load, unload);
    tcase_add_loop_test(tc, recipients_by_client, 0, (int)ARRAY_LEN(cases));
    tcase_add_test(tc, relay_listener_serves_its_networks);
    tcase_add_test(tc, relay_listener_knows_certificates);
    tcase_add_test(tc, postmaster_alone_is_ours);
    tcase_add_loop_test(tc, senders_by_user, 0, (int)ARRAY_LEN(senders));
    tcase_add_test(tc, submission_is_for_users);
    tcase_add_test(tc, users_everywhere);
    suite_add_tcase(s, tc);
    return s;
}
