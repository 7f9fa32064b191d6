/* The map of senders: who may send from what, what is wrong with a file, and a large one. */
#include "base_assert.h"
#include "conf_test.h"

#define MAP_LINE "hostname = mx.example relay_from = {::1}\nauth {\n senders = \"$/map\" }"

static void check(const char *user, const char *address, bool expected)
{
    ck_assert_msg(conf_may_send(loaded.conf, slice_str(user), slice_str(address)) == expected,
                  "%s from %s: %d", user, address, !expected);
}

START_TEST(addresses_domains_and_all)
{
    put_file("map", "# who may send from what\n"
                    "sales@a.example   ann, bob,carol@a.example\r\n"
                    "Info@A.Example\tAnn\t# and nobody else\n"
                    "@b.example bob\n"
                    "*@c.example ann\n"
                    "*   root\n"
                    "info@a.example dave eve\n"
                    "s@ x.example\n"
                    "x@d.example z");
    load_text(MAP_LINE);
    ck_assert_ptr_null(loaded.conf); /* "s@" is none */
    put_file("map", "# who may send from what\n"
                    "sales@a.example   ann, bob,carol@a.example\r\n"
                    "Info@A.Example\tAnn\t# and nobody else\n"
                    "\n"
                    "@b.example bob\n"
                    "*@c.example ann\n"
                    "*   root\n"
                    "info@a.example dave eve\n"
                    "x@d.example z");
    load_good(MAP_LINE);

    check("ann", "sales@a.example", true);
    check("bob", "sales@a.example", true);
    check("carol@a.example", "sales@a.example", true);
    check("carol", "sales@a.example", false);
    check("dave", "sales@a.example", false);
    check("ann", "info@a.example", true);
    check("dave", "info@a.example", true);
    check("eve", "info@a.example", true);
    check("bob", "info@a.example", false);
    check("nobody", "info@a.example", false);
    check("bob", "x@b.example", true);
    check("bob", "@b.example", true);
    check("bob", "x@y@b.example", true); /* a quoted local part, without its quotes */
    check("bob", "x@sub.b.example", false);
    check("bob", "b.example", false);
    check("ann", "x@c.example", true);
    check("ann", "x@b.example", false);
    check("root", "any@thing.example", true);
    check("root", "", false);
    check("ann", "*", false);
    check("z", "x@d.example", true);
    check("", "sales@a.example", false);
    check("an", "sales@a.example", false);
    check("ann", "sales@a.exampl", false);
    check("z", "x@d.example\n", false);
    check("z\n", "x@d.example", false);
    ck_assert(!conf_may_send(loaded.conf, SLICE_LITERAL("ann\0"), SLICE_LITERAL("info@a.example")));
}
END_TEST

/* Entries are moved together where the file's text stands: the shortest lines leave no room to spare. */
START_TEST(short_lines)
{
    put_file("map", "@a u\n@b v\n* w\na@a x,y\n@c z");
    load_good(MAP_LINE);
    check("u", "q@a", true);
    check("v", "q@b", true);
    check("w", "q@q", true);
    check("x", "a@a", true);
    check("y", "a@a", true);
    check("z", "q@c", true);
    check("u", "q@b", false);
}
END_TEST

START_TEST(no_map)
{
    load_good("hostname = mx.example relay_from = {::1}");
    check("ann", "ann@a.example", false);
}
END_TEST

START_TEST(problems)
{
    check_report(MAP_LINE,
                 "mailring.conf:3: senders: cannot read map: No such file or directory\n");
    put_file("map", "ann bob\n"
                    "a@a.example\n"
                    "a@a.example ,\n"
                    "@ bob\n"
                    "@-x bob\n"
                    "** bob\n"
                    "a@b.example b\x01 c\n"
                    "good@a.example ann\n");
    check_report(MAP_LINE, "map:1: \"ann bob\" does not begin with an address, @domain or *\n"
                           "map:2: \"a@a.example\" has no user behind the address\n"
                           "map:3: \"a@a.example ,\" has no user behind the address\n"
                           "map:4: \"@ bob\" does not begin with an address, @domain or *\n"
                           "map:5: \"@-x bob\" does not begin with an address, @domain or *\n"
                           "map:6: \"** bob\" does not begin with an address, @domain or *\n"
                           "map:7: \"a@b.example b? c\" holds what cannot be a user's name\n");
}
END_TEST

/* Half of them in one domain, which must not make a list that is walked. */
START_TEST(a_million)
{
    enum { COUNT = 1000000 };
    FILE *file = fopen(in_folder("map"), "w");

    ck_assert_ptr_nonnull(file);
    for (int i = 0; i < COUNT; i++)
        fprintf(file, i % 2 == 0 ? "@big.example user%d\n" : "Box%d@a.example boss\n", i);
    ck_assert_int_eq(fclose(file), 0);
    load_good(MAP_LINE);
    for (int i = 0; i < COUNT + 1000; i++) {
        char user[32], address[32];
        bool found;

        (void)snprintf(user, sizeof(user), i % 2 == 0 ? "user%d" : "boss", i);
        (void)snprintf(address, sizeof(address), i % 2 == 0 ? "x@big.example" : "box%d@a.example",
                       i);
        found = conf_may_send(loaded.conf, slice_str(user), slice_str(address));
        if (found != (i < COUNT))
            ck_abort_msg("%s, %s: %d", user, address, found);
    }
}
END_TEST

Suite *conf_senders_suite(void);
Suite *conf_senders_suite(void)
{
    Suite *suite = suite_create("conf_senders");
    TCase *tc = tcase_create("map");

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, folder_setup, folder_teardown);
    tcase_add_test(tc, addresses_domains_and_all);
    tcase_add_test(tc, short_lines);
    tcase_add_test(tc, no_map);
    tcase_add_test(tc, problems);
    tcase_add_test(tc, a_million);
    suite_add_tcase(suite, tc);
    return suite;
}
