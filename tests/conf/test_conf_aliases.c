/* Aliases: what is read from files, entries and databases, and what is said about wrong ones. */
#include <sys/stat.h>
#include <unistd.h>

#include "base_assert.h"
#include "conf_alias.h"
#include "conf_target_priv.h"
#include "conf_test.h"

Suite *conf_aliases_suite(void);

/* All targets, each with "\" before it if it is final and ";" behind it. */
static const char *list(struct conf_targets *targets)
{
    static char text[2000];
    struct conf_target target;
    size_t used = 0;

    text[0] = '\0';
    while (conf_targets_next(targets, &target))
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%.*s;",
                                 target.final ? "\\" : "", SLICE_ARG(target.address));
    return text;
}

static void check_alias(const struct conf_domain *domain, const char *local, const char *expected)
{
    struct conf_targets targets;
    bool found = conf_alias_find(domain, slice_str(local), &targets);

    ck_assert_msg(found == (expected != NULL), "%s: %d", local, found);
    if (found)
        ck_assert_str_eq(list(&targets), expected);
}

static void check_virtual(const char *key, const char *expected)
{
    struct conf_targets targets;
    bool found = conf_virtual_find(loaded.conf, slice_str(key), &targets);

    ck_assert_msg(found == (expected != NULL), "%s: %d", key, found);
    if (found)
        ck_assert_str_eq(list(&targets), expected);
}

#define ALIASES "hostname = mx.example\ndomain a.example { to = mx\n aliases = \"$/aliases\" }\n"
#define VIRTUAL \
    "hostname = mx.example\ndomain a.example { to = mx }\nvirtual_aliases = \"$/virtual\"\n"

static const struct {
    const char *entry, *key, *targets;
} cases[] = {
    {"ann: bob", "ann", "bob;"},
    {"Ann:Bob,Carol", "ANN", "Bob;Carol;"},
    {"ann : bob , carol@B.Example,", "ann", "bob;carol@b.example;"},
    {"ann: bob,\n\tcarol,\n# dave,\n\n  eve\nx: y", "ann", "bob;carol;eve;"},
    {"ann: bob # a comment, here\nx: y", "ann", "bob;"},
    {"ann: \\ann, ann@phone.example", "ann", "\\ann;ann@phone.example;"},
    {"ann: \"bob\"", "ann", "bob;"},
    {"ann: \"bob@b.example\"", "ann", "bob@b.example;"},
    {"ann: \"b\\ob\"", "ann", "\"b\\ob\";"},
    {"ann: \"b, c\"@b.example, d", "ann", "\"b, c\"@b.example;d;"},
    {"ann: \"b \\\" c\"@b.example", "ann", "\"b \\\" c\"@b.example;"},
    {"ann: Bob B <bob@b.example>, \"C, D\" <c@d.example>, <e>", "ann",
     "bob@b.example;c@d.example;e;"},
    {"\"ann\": bob", "ann", "bob;"},
    {"\"ann b\": bob", "\"ann b\"", "bob;"},
    {"ann@a.example: bob", "ann", "bob;"},
    {"ann@b.example: bob", "ann", ""},
    {"ann+news: bob", "ann+news", "bob;"},
    {"J\xC3\xBCrgen: bob", "J\xC3\xBCrgen", "bob;"},
    {"ann: o'hara@b.example, a.b-c_d@e.example", "ann", "o'hara@b.example;a.b-c_d@e.example;"},
    {"ann: bob,,carol,", "ann", "bob;carol;"},
};

START_TEST(formats)
{
    put_file("aliases", cases[_i].entry);
    load_text(ALIASES);
    ck_assert_msg(loaded.conf != NULL, "%s", (const char *)buf_slice(&loaded.report).data);
    check_alias(&loaded.conf->domains[0], cases[_i].key,
                cases[_i].targets[0] != '\0' ? cases[_i].targets : NULL);
    check_alias(&loaded.conf->domains[0], "nobody", NULL);
    check_alias(&loaded.conf->domains[0], "", NULL);
}
END_TEST

START_TEST(lines_and_files)
{
    struct conf_targets targets;

    put_file("aliases", "# one\n\nann: bob,\n carol\nbob: dave\n");
    const struct conf *c = load_good(ALIASES);
    ck_assert(conf_alias_find(&c->domains[0], SLICE_LITERAL("bob"), &targets));
    ck_assert_uint_eq(targets.line, 5);
    ck_assert_str_eq(targets.file, in_folder("aliases"));
    ck_assert(conf_alias_find(&c->domains[0], SLICE_LITERAL("ann"), &targets));
    ck_assert_uint_eq(targets.line, 3);
    ck_assert_uint_eq(c->table_file_count, 1);
    ck_assert_str_eq(c->table_files[0].path, in_folder("aliases"));
    ck_assert_str_eq(c->table_files[0].setting, "aliases");
}
END_TEST

START_TEST(problems)
{
    put_file("aliases", "ann\n"                         /* 1 */
                        "a b: c\n"                      /* 2 */
                        "bob: \"|/bin/vacation bob\"\n" /* 3 */
                        "bob: /var/mail/bob, c@\n"      /* 4, twice */
                        "bob: :fail: gone\n"            /* 5 */
                        "bob: @b.example\n"             /* 6 */
                        "bob: d e\n"                    /* 7 */
                        "bob:\n"                        /* 8 */
                        "bob: :include:list\n"          /* 9 */
                        "bob: a..b@c.example\n");       /* 10: not looked at any more */
    check_report(
        ALIASES,
        "aliases:1: \"ann\" has no colon, as in name: address, address\n"
        "aliases:2: \"a b\" is neither a local part nor an address\n"
        "aliases:3: \"\"|/bin/vacation bob\"\" is a command: that is not supported; let an LMTP server "
        "run it\n"
        "aliases:4: \"/var/mail/bob\" is a file: that is not supported; use a destination\n"
        "aliases:4: \"c@\" is neither an address nor a local part\n"
        "aliases:5: \":fail: gone\" is not supported: of words with colons, :include: is\n"
        "aliases:6: \"@b.example\" is a domain: that is for virtual_aliases\n"
        "aliases:7: \"d e\" is neither an address nor a local part\n"
        "aliases:8: \"bob\" stands for nobody: no address is behind it\n"
        "aliases:9: \":include:list\" has no path that begins with / behind :include:\n");
    put_file("aliases", "bob: a..b@c.example, .a, a.@b.example, \"a\"b@c.example, a@b_c.-x\n");
    check_report(ALIASES, "aliases:1: \"a..b@c.example\" is neither an address nor a local part\n"
                          "aliases:1: \".a\" is neither an address nor a local part\n"
                          "aliases:1: \"a.@b.example\" is neither an address nor a local part\n"
                          "aliases:1: \"\"a\"b@c.example\" is neither an address nor a local part\n"
                          "aliases:1: \"a@b_c.-x\" is neither an address nor a local part\n");
    put_file("aliases", "ann: x\nbob: y\nAnn: z\n");
    check_report(
        ALIASES,
        "aliases:3: warning: \"Ann\" stands twice, first at line 1: the first one counts\n");
    check_alias(&loaded.conf->domains[0], "ann", "x;");
    put_file("aliases", "ann: x\n");
    ck_assert_int_eq(chmod(in_folder("aliases"), 0666), 0);
    check_report(
        "hostname = mx.example\ndomain a.example { to = mx\n aliases = \"$/aliases\" }\n",
        "mailring.conf:3: aliases: everybody may write to aliases (mode 666): chmod o-w it\n");
    ck_assert_int_eq(unlink(in_folder("aliases")), 0);
    check_report(ALIASES,
                 "mailring.conf:3: aliases: cannot read aliases: No such file or directory\n");
}
END_TEST

START_TEST(includes)
{
    put_file("aliases", "list: x, :include:$/members, \":include:$/more\"\n");
    put_file("members",
             "# who\nann@b.example, bob\n\ncarol@c.example # why\n\"D\" <d@e.example>\n");
    put_file("more", ":include:$/deeper");
    put_file("deeper", "\\last\n");
    const struct conf *c = load_good(ALIASES);
    check_alias(&c->domains[0], "list", "x;ann@b.example;bob;carol@c.example;d@e.example;\\last;");
    ck_assert_uint_eq(c->table_file_count, 4);
    ck_assert_str_eq(c->table_files[3].path, in_folder("deeper"));

    put_file("members", "ann\nb c\n|d\n");
    put_file("more", "\n:include:$/more\n");
    load_text(ALIASES);
    const char *report = (const char *)buf_slice(&loaded.report).data;
    ck_assert_ptr_nonnull(
        strstr(report, "members:2: \"b c\" is neither an address nor a local part\n"));
    ck_assert_ptr_nonnull(strstr(report, "members:3: \"|d\" is a command"));
    ck_assert_ptr_nonnull(strstr(report, "more:2: \""));
    ck_assert_ptr_nonnull(strstr(report, "is included too deeply: does it include itself?\n"));

    put_file("members", "ann\n");
    put_file("aliases", "x: y\nlist: :include:$/members, :include:$/none\n");
    ck_assert_int_eq(chmod(in_folder("members"), 0622), 0);
    check_report(ALIASES,
                 "aliases:2: :include:members: everybody may write to it (mode 622): chmod o-w it\n"
                 "aliases:2: :include:none: cannot read it: No such file or directory\n");
    put_file("aliases", "list: :include:$/members\n");
    put_file("members", "# nobody yet\n");
    ck_assert_int_eq(chmod(in_folder("members"), 0644), 0);
    c = load_good(ALIASES);
    check_alias(&c->domains[0], "list", "");
}
END_TEST

/* Somebody else's list. Only root can make one. */
START_TEST(owner_of_include)
{
    if (geteuid() != 0)
        return;
    put_file("members", "ann\n");
    put_file("aliases", "list: :include:$/members\n");
    ck_assert_int_eq(chown(in_folder("members"), 4711, 4711), 0);
    check_report(ALIASES,
                 "aliases:1: warning: :include:members: it belongs to user 4711, who decides "
                 "whom \"list\" stands for\n");
    ck_assert_int_eq(chown(in_folder("aliases"), 4711, 4711), 0);
    (void)load_good(ALIASES);
}
END_TEST

START_TEST(several_domains)
{
    put_file("aliases", "info: a@x.example\ninfo@b.example: b@x.example\nops: ann\n");
    const struct conf *c =
        load_good("hostname = mx.example\n"
                  "domain a.example { to = mx aliases = {\"sales: carol\", \"$/aliases\"} }\n"
                  "domain b.example { to = mx aliases = \"$/aliases\" }\n"
                  "domain c.example { to = mx }\n");

    check_alias(&c->domains[0], "info", "a@x.example;");
    check_alias(&c->domains[1], "info", "b@x.example;");
    check_alias(&c->domains[2], "info", NULL);
    check_alias(&c->domains[0], "sales", "carol;");
    check_alias(&c->domains[1], "sales", NULL);
    check_alias(&c->domains[1], "ops", "ann;");
    ck_assert_ptr_eq(c->domains[0].alias_tables.items[1], c->domains[1].alias_tables.items[0]);
}
END_TEST

START_TEST(many_targets)
{
    struct buf text = {0};
    struct conf_targets targets;
    struct conf_target target;
    unsigned count = 0;

    (void)buf_append_str(&text, "list: x0");
    for (int i = 1; i < 10000; i++)
        (void)buf_printf(&text, ",\n  member%d@b.example", i);
    (void)buf_append_str(&text, "\n\0");
    (void)buf_append_byte(&text, '\0');
    put_file("aliases", (const char *)text.data);
    const struct conf *c = load_good(ALIASES);
    ck_assert(conf_alias_find(&c->domains[0], SLICE_LITERAL("list"), &targets));
    while (conf_targets_next(&targets, &target))
        count++;
    ck_assert_uint_eq(count, 10000);
    text.tail--;
    text.tail--;
    (void)buf_append_str(&text, ", one.more\n");
    (void)buf_append_byte(&text, '\0');
    put_file("aliases", (const char *)text.data);
    check_report(ALIASES, "aliases:1: \"list\" stands for more than 10000 addresses\n");
    buf_finish(&text);
}
END_TEST

START_TEST(virtual_formats)
{
    put_file("virtual", "# virtual\n"
                        "info@A.example  ann@b.example, Bob@C.Example\n"
                        "@a.example      @d.example\n"
                        "x@y.example\n"
                        "    z@y.example,\n"
                        "    \"q r\"@y.example\n");
    const struct conf *c = load_good(VIRTUAL "domain y.example { to = mx }\n");

    ck_assert_uint_eq(c->virtual_tables.count, 1);
    check_virtual("Info@a.example", "ann@b.example;Bob@c.example;");
    check_virtual("@a.Example", "@d.example;");
    check_virtual("x@y.example", "z@y.example;\"q r\"@y.example;");
    check_virtual("other@a.example", NULL);
    check_virtual("a.example", NULL);
}
END_TEST

START_TEST(virtual_problems)
{
    put_file("virtual", "a.example anything\n"
                        "ann b@c.example\n"
                        "@ b@c.example\n"
                        "a@b.example ann\n"
                        "a@b.example\n"
                        "a@b.example :include:/x, |y\n"
                        "@c.example x@y.example\n"
                        "@C.example z@y.example\n");
    check_report(
        "hostname = mx.example\ndomain a.example { to = mx }\nvirtual_aliases = \"$/virtual\"\n",
        "virtual:1: \"a.example\" is neither an address nor @domain\n"
        "virtual:2: \"ann\" is neither an address nor @domain\n"
        "virtual:3: \"@\" is neither an address nor @domain\n"
        "virtual:4: \"ann\" has no domain behind it, which it needs here\n"
        "virtual:5: \"a@b.example\" stands for nobody: no address is behind it\n"
        "virtual:6: \"/x\" is not for virtual_aliases: files are included by aliases\n"
        "virtual:6: \"|y\" is a command: that is not supported; let an LMTP server run it\n"
        "virtual:8: warning: \"@C.example\" stands twice, first at line 7: the first one counts\n");
    check_report("hostname = mx.example\ndomain a.example { to = mx }\n"
                 "virtual_aliases = {\"a@b.example c@d.example\",\n\"e@f.example g\"}\n",
                 "mailring.conf:4: \"g\" has no domain behind it, which it needs here\n");
}
END_TEST

static const struct pair alias_records[] = {
    {"ann", "bob, \\ann, \"c d\"@e.example"}, {"@", "@"},      {"YP_LAST_MODIFIED", "1795326776"},
    {"ops@b.example", "x@Y.Example"},         {"root", "ann"}, {"empty", ""},
};

/* As postalias(1) writes them, and sendmail with a NUL behind each. */
START_TEST(databases)
{
    put_cdb("aliases.cdb", alias_records, ARRAY_LEN(alias_records), _i == 1);
    const struct conf *c =
        load_good("hostname = mx.example\n"
                  "domain a.example { to = mx aliases = \"$/aliases.cdb\" }\n"
                  "domain b.example { to = mx aliases = {\"$/aliases.cdb\", \"new: x\"} }\n");

    check_alias(&c->domains[0], "Ann", "bob;\\ann;\"c d\"@e.example;");
    check_alias(&c->domains[0], "empty", "");
    check_alias(&c->domains[0], "ops", NULL);
    check_alias(&c->domains[1], "ops", "x@y.example;");
    check_alias(&c->domains[1], "new", "x;");
    ck_assert_ptr_eq(c->domains[0].alias_tables.items[0], c->domains[1].alias_tables.items[0]);
}
END_TEST

START_TEST(bad_databases)
{
    static const struct pair bad[] = {
        {"Ann", "bob"}, {"bob", "|cmd"}, {"carol", ":include:/x"}, {"d e", "x"}};
    static const struct pair virtual[] = {{"@a.example", "@b.example"}, {"a@b.example", "c"}};

    put_cdb("a.cdb", bad, ARRAY_LEN(bad), false);
    check_report(
        "hostname = mx.example\ndomain a.example { to = mx aliases = \"cdb:$/a.cdb\" }\n",
        "a.cdb:1: \"Ann\" is a key with upper case letters: it is never found\n"
        "a.cdb:1: \"|cmd\" is a command: that is not supported; let an LMTP server run it (at key "
        "\"bob\")\n"
        "a.cdb:1: \"/x\" is not for a CDB: files are included by text files (at key \"carol\")\n"
        "a.cdb:1: \"d e\" is neither a local part nor an address (at key \"d e\")\n");
    put_cdb("v.cdb", virtual, ARRAY_LEN(virtual), false);
    check_report("hostname = mx.example\ndomain a.example { to = mx }\nvirtual_aliases = "
                 "\"$/v.cdb\"\n",
                 "v.cdb:1: \"c\" has no domain behind it, which it needs here (at key "
                 "\"a@b.example\")\n");
    put_file("a.cdb", "ann: bob\n");
    check_report("hostname = mx.example\ndomain a.example { to = mx\naliases = \"$/a.cdb\" }\n",
                 "mailring.conf:3: aliases: cannot read a.cdb: not a CDB, or damaged\n");
}
END_TEST

START_TEST(whole_addresses)
{
    static const struct {
        const char *target, *whole;
    } targets[] = {
        {"bob", "bob@a.example"},
        {"bob@b.example", "bob@b.example"},
        {"@b.example", "ann@b.example"},
        {"\"x@y\"@b.example", "\"x@y\"@b.example"},
    };
    uint8_t memory[CONF_TARGET_MEMORY_MAX];
    struct slice whole;

    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct conf_target target = {.address = slice_str(targets[i].target)};

        ck_assert(conf_target_address(&target, SLICE_LITERAL("ann"), SLICE_LITERAL("a.example"),
                                      memory, &whole));
        ck_assert_slice(whole, targets[i].whole);
    }
    static uint8_t long_name[600];
    memset(long_name, 'a', sizeof(long_name));
    struct conf_target at = {.address = SLICE_LITERAL("@b.example")};
    ck_assert(!conf_target_address(&at, slice_of(long_name, 600), SLICE_LITERAL("a.example"),
                                   memory, &whole));
}
END_TEST

Suite *conf_aliases_suite(void)
{
    Suite *suite = suite_create("conf_aliases");
    TCase *tc = tcase_create("aliases");

    tcase_add_checked_fixture(tc, folder_setup, folder_teardown);
    tcase_add_loop_test(tc, formats, 0, (int)ARRAY_LEN(cases));
    tcase_add_test(tc, lines_and_files);
    tcase_add_test(tc, problems);
    tcase_add_test(tc, includes);
    tcase_add_test(tc, owner_of_include);
    tcase_add_test(tc, several_domains);
    tcase_add_test(tc, many_targets);
    tcase_add_test(tc, virtual_formats);
    tcase_add_test(tc, virtual_problems);
    tcase_add_loop_test(tc, databases, 0, 2);
    tcase_add_test(tc, bad_databases);
    tcase_add_test(tc, whole_addresses);
    suite_add_tcase(suite, tc);
    return suite;
}
