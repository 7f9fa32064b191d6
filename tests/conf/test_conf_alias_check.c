/* Aliases that lead nowhere, and aliases that lead in a circle: what is said before mail finds out. */
#include "base_assert.h"
#include "conf_test.h"

Suite *conf_alias_check_suite(void);

/* Two domains of ours: one whose recipients are known, and one that takes any. */
#define FRAME                                                                         \
    "hostname = mx.example\n"                                                         \
    "domain a.example { to = mx aliases = \"$/aliases\" subaddress = \"+\"\n"         \
    "    recipients = {ann, bob} }\n"                                                 \
    "domain any.example { to = mx }\n"                                                \
    "domain all.example { to = mx recipients = {zoe} catch_all = zoe@all.example }\n" \
    "virtual_aliases = \"$/virtual\"\n"

static const struct {
    const char *aliases, *virtual, *report;
} cases[] = {
    {"", "", ""},
    {"x: ann, BOB, ann+news@A.example, x@other.example, y@any.example, z@all.example, postmaster",
     "", ""},
    {"x: ann\ny: nobody\nz: carol@a.example, bob", "",
     "aliases:2: warning: \"y@a.example\" stands for nobody@a.example, who is neither a recipient nor "
     "an alias\n"
     "aliases:3: warning: \"z@a.example\" stands for carol@a.example, who is neither a recipient nor "
     "an alias\n"},
    /* One that stands for itself too is a recipient, or it is nobody */
    {"ann: ann, ann@phone.example", "", ""},
    {"ann: \\ann, bob", "", ""},
    {"x: \\y\ny: ann", "",
     "aliases:1: warning: \"x@a.example\" stands for y@a.example, who is neither a recipient nor an "
     "alias\n"},
    {"x: x, ann", "",
     "aliases:1: warning: \"x@a.example\" stands for x@a.example, who is neither a recipient nor an "
     "alias\n"},
    /* By way of others */
    {"x: y\ny: z\nz: ann", "", ""},
    {"x: y\ny: x, ann", "",
     "aliases:1: warning: a circle of aliases: x@a.example -> y@a.example -> x@a.example\n"},
    {"w: x\nx: y\ny: z\nz: x@a.example, bob", "",
     "aliases:1: warning: a circle of aliases: x@a.example -> y@a.example -> z@a.example -> "
     "x@a.example\n"},
    {"x: y+news\ny: x", "",
     "aliases:1: warning: a circle of aliases: x@a.example -> y+news@a.example -> x@a.example\n"},
    /* Virtual ones */
    {"", "x@a.example ann@a.example\n@v.example x@a.example", ""},
    {"", "x@v.example gone@a.example\ny@v.example gone@v.example",
     "virtual:1: warning: \"x@v.example\" stands for gone@a.example, who is neither a recipient nor an "
     "alias\n"},
    {"x: a@v.example", "a@v.example x@a.example",
     "virtual:1: warning: a circle of aliases: a@v.example -> x@a.example -> a@v.example\n"
     "aliases:1: warning: a circle of aliases: x@a.example -> a@v.example -> x@a.example\n"},
    {"x: c+1@v.example", "c@v.example ann@a.example", ""},
    {"x: y", "y@a.example bob@a.example", ""},
    {"x: y", "@a.example @any.example\nann@a.example ann@a.example", ""},
    {"x@b.example: nobody\ny: ann", "", ""},
};

START_TEST(warnings)
{
    put_file("aliases", cases[_i].aliases);
    put_file("virtual", cases[_i].virtual);
    check_report(FRAME, cases[_i].report);
    ck_assert_ptr_nonnull(loaded.conf);
}
END_TEST

START_TEST(in_the_configuration)
{
    check_report(
        "hostname = mx.example\n"
        "domain a.example { to = mx recipients = ann\n"
        " aliases = {\"x: ann\",\n"
        "\"y: bob\"} }\n",
        "mailring.conf:4: warning: \"y@a.example\" stands for bob@a.example, who is neither a "
        "recipient nor an alias\n");
}
END_TEST

START_TEST(chains)
{
    struct buf text = {0};

    for (int i = 0; i < 40; i++)
        (void)buf_printf(&text, "n%d: n%d\n", i, i + 1);
    (void)buf_append_str(&text, "n40: ann\n");
    (void)buf_append_byte(&text, '\0');
    put_file("aliases", (const char *)text.data);
    put_file("virtual", "");
    load_text(FRAME);
    ck_assert_ptr_nonnull(loaded.conf);
    ck_assert_ptr_nonnull(
        strstr((const char *)buf_slice(&loaded.report).data,
               "aliases:1: warning: more than 20 aliases, one of the other: mail for "
               "\"n0@a.example\" is refused\n"));
    buf_finish(&text);
}
END_TEST

/* Each of these stands for all before it: ways double with each, entries are followed once. */
START_TEST(many_ways)
{
    struct buf text = {0};

    (void)buf_append_str(&text, "n0: ann\n");
    for (int i = 1; i < 20; i++) {
        (void)buf_printf(&text, "n%d: n0", i);
        for (int j = 1; j < i; j++)
            (void)buf_printf(&text, ", n%d", j);
        (void)buf_append_str(&text, "\n");
    }
    (void)buf_append_byte(&text, '\0');
    put_file("aliases", (const char *)text.data);
    put_file("virtual", "");
    (void)load_good(FRAME);
    buf_finish(&text);
}
END_TEST

START_TEST(warnings_have_an_end)
{
    struct buf text = {0};

    for (int i = 0; i < 100; i++)
        (void)buf_printf(&text, "n%d: gone%d\n", i, i);
    (void)buf_append_byte(&text, '\0');
    put_file("aliases", (const char *)text.data);
    put_file("virtual", "");
    load_text(FRAME);
    ck_assert_uint_eq(loaded.errors.count, 21);
    ck_assert_ptr_nonnull(
        strstr(loaded.errors.items[20].text, ":21: warning: there are more aliases like these"));
    buf_finish(&text);
}
END_TEST

START_TEST(a_million)
{
    FILE *file = fopen(in_folder("virtual"), "w");

    put_file("aliases", "");
    ck_assert_ptr_nonnull(file);
    for (int i = 0; i < 1000000; i++)
        fprintf(file, "user%d@v%d.example box%d@any.example, user%d@v.example\n", i, i % 100, i,
                i / 2);
    ck_assert_int_eq(fclose(file), 0);
    const struct conf *c = load_good(FRAME);
    ck_assert_uint_eq(c->virtual_tables.count, 1);
}
END_TEST

Suite *conf_alias_check_suite(void)
{
    Suite *suite = suite_create("conf_alias_check");
    TCase *tc = tcase_create("alias_check");

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, folder_setup, folder_teardown);
    tcase_add_loop_test(tc, warnings, 0, (int)ARRAY_LEN(cases));
    tcase_add_test(tc, in_the_configuration);
    tcase_add_test(tc, chains);
    tcase_add_test(tc, many_ways);
    tcase_add_test(tc, warnings_have_an_end);
    tcase_add_test(tc, a_million);
    suite_add_tcase(suite, tc);
    return suite;
}
