#include "base_assert.h"
#include "conf_test.h"

static const struct conf_domain *load_domain(const char *recipients, const char *more)
{
    char text[400];

    put_file("list", recipients);
    (void)snprintf(text, sizeof(text),
                   "hostname = mx.example domain a.example { to = mx recipients = \"$/list\" %s }",
                   more);
    return &load_good(text)->domains[0];
}

static void check(const struct conf_domain *domain, const char *local_part, bool expected)
{
    ck_assert_msg(conf_domain_has_recipient(domain, slice_str(local_part)) == expected, "%s: %d",
                  local_part, !expected);
}

START_TEST(addresses_and_local_parts)
{
    const struct conf_domain *d = load_domain("# a comment\n"
                                              "ann\r\n"
                                              "\n"
                                              "  Bob@A.Example\t# another\n"
                                              "carol@b.example\n"
                                              "o#hara\n"
                                              "\"j\\@d\"@a.example\n"
                                              "J\xC3\xBCrgen\n"
                                              "ann\n"
                                              "last",
                                              "");

    check(d, "ann", true);
    check(d, "ANN", true);
    check(d, "bob", true);
    check(d, "carol", false);
    check(d, "o#hara", true);
    check(d, "\"j\\@d\"", true);
    check(d, "j\xC3\xBCrgen", true);
    check(d, "last", true);
    check(d, "dave", false);
    check(d, "an", false);
    check(d, "anna", false);
    check(d, "ann@a.example", false);
    check(d, "bob@a.example",
          true); /* the local part of bob@a.example@..., which nobody can send */
    check(d, "", false);
    check(d, "another", false);
    check(d, "Postmaster", true);
    ck_assert(!conf_domain_has_recipient(d, SLICE_LITERAL("ann\0")));
    ck_assert(!conf_domain_has_recipient(d, SLICE_LITERAL("last\0")));
    ck_assert(!conf_domain_has_recipient(d, SLICE_NULL));

    static uint8_t long_name[4000];
    memset(long_name, 'a', sizeof(long_name));
    for (size_t len = 250; len < 600; len++)
        ck_assert(!conf_domain_has_recipient(d, slice_of(long_name, len)));
    ck_assert(!conf_domain_has_recipient(d, slice_of(long_name, sizeof(long_name))));
}
END_TEST

START_TEST(subaddresses)
{
    const struct conf_domain *d = load_domain("ann\nbob+list\nc-d\n", "subaddress = \"+-\"");

    check(d, "ann+x", true);
    check(d, "ann-x+y", true);
    check(d, "ann+", true);
    check(d, "postmaster+x", true);
    check(d, "bob+list", true);
    check(d, "bob", false);
    check(d, "bob+other", false);
    check(d, "c-d", true);
    check(d, "c-d-e", false); /* that is c's */
    check(d, "+ann", false);
    check(d, "+", false);

    static const struct {
        const char *local_part;
        const char *user;
    } users[] = {{"ann", "ann"},   {"ann+x", "ann"},       {"ann-x+y", "ann"},
                 {"+ann", "+ann"}, {"+a-b", "+a"},         {"", ""},
                 {"ann+", "ann"},  {"\"a+b\"", "\"a+b\""}, {"Ann+News", "Ann"}};
    for (size_t i = 0; i < ARRAY_LEN(users); i++)
        ck_assert_slice(conf_domain_user(d, slice_str(users[i].local_part)), users[i].user);
}
END_TEST

START_TEST(no_file)
{
    const struct conf *c = load_good("hostname = mx.example domain a.example { to = mx }");

    check(&c->domains[0], "anybody", true);
    check(&c->domains[0], "any+body", true);
    ck_assert_slice(conf_domain_user(&c->domains[0], slice_str("a+b")), "a+b");
}
END_TEST

START_TEST(shared_file)
{
    put_file("list", "x@a.example\ny@b.example\nz\n");
    const struct conf *c = load_good("hostname = mx.example\n"
                                     "domain a.example { to = mx recipients = \"$/list\" }\n"
                                     "domain b.example { to = mx recipients = \"$/list\" }\n");

    ck_assert_ptr_eq(c->domains[0].recipient_tables.items[0],
                     c->domains[1].recipient_tables.items[0]);
    check(&c->domains[0], "x", true);
    check(&c->domains[1], "x", false);
    check(&c->domains[0], "y", false);
    check(&c->domains[1], "y", true);
    check(&c->domains[0], "z", true);
    check(&c->domains[1], "z", true);
}
END_TEST

#define DOMAIN_LINE "hostname = mx.example\ndomain a.example { to = mx\n recipients = \"$/list\" }"

START_TEST(problems)
{
    check_report(DOMAIN_LINE,
                 "mailring.conf:3: recipients: cannot read list: No such file or directory\n");
    put_file("list", "ann\nb c\n@a.example\n\nd@\ne@-\nf\x7F\n");
    check_report(DOMAIN_LINE, "list:2: \"b c\" is neither an address nor a local part\n"
                              "list:3: \"@a.example\" is neither an address nor a local part\n"
                              "list:5: \"d@\" is neither an address nor a local part\n"
                              "list:6: \"e@-\" is neither an address nor a local part\n"
                              "list:7: \"f?\" is neither an address nor a local part\n");
    put_file("list", "# nobody\n");
    check_report(
        DOMAIN_LINE,
        "mailring.conf:3: warning: recipients: list is empty: all but postmaster are refused\n");
    check(&loaded.conf->domains[0], "postmaster", true);
    check(&loaded.conf->domains[0], "ann", false);
    put_file("list", "a b\na b\na b\na b\na b\na b\na b\na b\na b\na b\na b\na b\na b\n");
    load_text(DOMAIN_LINE);
    ck_assert_uint_eq(loaded.errors.count, 10);
    check_report("hostname = mx.example\ndomain a.example { to = mx recipients = \"$/.\" }",
                 "mailring.conf:2: recipients: cannot read .: Is a directory\n");
}
END_TEST

START_TEST(a_million)
{
    enum { COUNT = 1000000 };
    FILE *file = fopen(in_folder("list"), "w");

    ck_assert_ptr_nonnull(file);
    for (int i = 0; i < COUNT; i++)
        fprintf(file, i % 2 == 0 ? "User.%d\n" : "user.%d@A.example\n", i);
    ck_assert_int_eq(fclose(file), 0);
    const struct conf *c = load_good(DOMAIN_LINE);

    for (int i = 0; i < COUNT + 1000; i++) {
        char text[32];
        int len = snprintf(text, sizeof(text), "uSer.%d", i);
        bool found = conf_domain_has_recipient(&c->domains[0], slice_of(text, (size_t)len));

        if (found != (i < COUNT))
            ck_abort_msg("%s: %d", text, found);
    }
}
END_TEST

Suite *conf_recipients_suite(void)
{
    Suite *suite = suite_create("conf_recipients");
    TCase *tc = tcase_create("recipients");

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, folder_setup, folder_teardown);
    tcase_add_test(tc, addresses_and_local_parts);
    tcase_add_test(tc, subaddresses);
    tcase_add_test(tc, no_file);
    tcase_add_test(tc, shared_file);
    tcase_add_test(tc, problems);
    tcase_add_test(tc, a_million);
    suite_add_tcase(suite, tc);
    return suite;
}
