/* Settings that are tables: files, databases and entries side by side; destinations of single recipients; what
 * a reload takes over. */
#include <sys/stat.h>
#include <unistd.h>

#include "base_assert.h"
#include "conf_alias.h"
#include "conf_test.h"
#include "table.h"

Suite *conf_tables_suite(void);

static void check_recipient(const char *local_part, bool expected)
{
    ck_assert_msg(conf_domain_has_recipient(&loaded.conf->domains[0], slice_str(local_part))
                      == expected,
                  "%s: %d", local_part, !expected);
}

START_TEST(recipients_of_all_kinds)
{
    static const struct pair records[] = {{"carol", "OK"}, {"dave@a.example", "1"}};

    put_file("list", "bob\n");
    put_cdb("list.cdb", records, ARRAY_LEN(records), _i == 1);
    put_cdb("other", records, 1, false);
    (void)load_good("hostname = mx.example\n"
                    "domain a.example { to = mx subaddress = \"+\"\n"
                    "  recipients = {Ann, \"eve@a.example\", \"$/list\", \"$/list.cdb\", zoe} }\n"
                    "domain b.example { to = mx recipients = \"cdb:$/other\" }\n");
    check_recipient("ann", true);
    check_recipient("EVE", true);
    check_recipient("bob+x", true);
    check_recipient("Carol", true);
    check_recipient("dave+y", true);
    check_recipient("zoe", true);
    check_recipient("frank", false);
    ck_assert(!conf_domain_has_recipient(&loaded.conf->domains[0], SLICE_LITERAL("carol\0")));
    ck_assert(conf_domain_has_recipient(&loaded.conf->domains[1], SLICE_LITERAL("carol")));
    ck_assert(!conf_domain_has_recipient(&loaded.conf->domains[1], SLICE_LITERAL("dave")));
    ck_assert_uint_eq(loaded.conf->table_file_count, 3);
}
END_TEST

START_TEST(senders_in_a_database)
{
    static const struct pair records[] = {
        {"sales@a.example", "ann, bob"}, {"@b.example", "carol"}, {"*", "root"}};
    static const struct {
        const char *user, *address;
        bool may;
    } cases[] = {
        {"ann", "sales@a.example", true},    {"bob", "sales@a.example", true},
        {"an", "sales@a.example", false},    {"carol", "x@b.example", true},
        {"carol", "sales@a.example", false}, {"root", "x@y.example", true},
        {"dave", "d@a.example", true},       {"dave", "e@a.example", false},
    };

    put_cdb("senders.cdb", records, ARRAY_LEN(records), false);
    const struct conf *c =
        load_good("hostname = mx.example relay_from = \"::1\"\n"
                  "auth { senders = {\"$/senders.cdb\", \"d@a.example dave\"} }\n");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        ck_assert_msg(conf_may_send(c, slice_str(cases[i].user), slice_str(cases[i].address))
                          == cases[i].may,
                      "%s from %s", cases[i].user, cases[i].address);
}
END_TEST

START_TEST(destinations)
{
    static const struct pair records[] = {{"carol", "smtp://mail.example:24"},
                                          {"dave", "reject:No more"}};

    put_file("where", "# who lives elsewhere\n"
                      "ann            smtp://mail.example:24\n"
                      "Bob@a.example  maildir:/Var/%u\n"
                      "eve+x          discard\n"
                      "bob@b.example  discard\n");
    put_cdb("where.cdb", records, ARRAY_LEN(records), false);
    const struct conf *c = load_good(
        "hostname = mx.example\n"
        "domain a.example { to = mx subaddress = \"+\"\n"
        "  destinations = {\"$/where\", \"$/where.cdb\", \"zoe reject:Not here, sorry\"} }\n"
        "domain b.example { to = mx destinations = \"$/where\" }\n"
        "domain c.example { to = mx }\n");
    const struct conf_domain *a = &c->domains[0], *b = &c->domains[1];
    const struct conf_destinations *to = conf_domain_destination(a, SLICE_LITERAL("Ann"));

    ck_assert_ptr_nonnull(to);
    ck_assert_uint_eq(to->count, 1);
    ck_assert_int_eq(to->items[0].kind, CONF_TO_SMTP);
    ck_assert_slice(to->items[0].host, "mail.example");
    ck_assert_uint_eq(to->items[0].port, 24);
    /* One pointer for one destination, from whichever table. */
    ck_assert_ptr_eq(conf_domain_destination(a, SLICE_LITERAL("carol")), to);
    ck_assert_ptr_eq(conf_domain_destination(a, SLICE_LITERAL("ann+news")), to);
    ck_assert_ptr_eq(conf_domain_destination(b, SLICE_LITERAL("ann")), to);
    to = conf_domain_destination(a, SLICE_LITERAL("bob"));
    ck_assert_slice(to->items[0].path, "/Var/%u");
    ck_assert_int_eq(conf_domain_destination(b, SLICE_LITERAL("bob"))->items[0].kind,
                     CONF_TO_DISCARD);
    ck_assert_int_eq(conf_domain_destination(a, SLICE_LITERAL("eve+x"))->items[0].kind,
                     CONF_TO_DISCARD);
    ck_assert_ptr_null(conf_domain_destination(a, SLICE_LITERAL("eve")));
    ck_assert_slice(conf_domain_destination(a, SLICE_LITERAL("dave"))->items[0].text, "No more");
    ck_assert_slice(conf_domain_destination(a, SLICE_LITERAL("zoe"))->items[0].text,
                    "Not here, sorry");
    ck_assert_ptr_null(conf_domain_destination(a, SLICE_LITERAL("frank")));
    ck_assert_ptr_null(conf_domain_destination(&c->domains[2], SLICE_LITERAL("ann")));
    ck_assert_ptr_null(conf_domain_destination(a, SLICE_NULL));
}
END_TEST

#define WHERE "hostname = mx.example\ndomain a.example { to = mx\n destinations = \"$/where\" }\n"

START_TEST(bad_destinations)
{
    put_file("where", "ann\nb c d\n@e discard\nann discard\nann mx\nf smtp://\n");
    load_text(WHERE);
    const char *report = (const char *)buf_slice(&loaded.report).data;
    ck_assert_ptr_null(loaded.conf);
    ck_assert_ptr_nonnull(strstr(report, "where:1: \"ann\" has no destination behind it\n"));
    ck_assert_ptr_nonnull(strstr(report, "where:2: \"c d\" is none of mx, "));
    ck_assert_ptr_nonnull(
        strstr(report, "where:3: \"@e\" is neither an address nor a local part\n"));
    ck_assert_ptr_nonnull(
        strstr(report, "where:5: warning: \"ann\" stands twice: the first one counts\n"));
    ck_assert_ptr_nonnull(strstr(report, "where:6: \"smtp://\" has no host name or address"));
}
END_TEST

START_TEST(unfit_files)
{
    FILE *file;

    file = fopen(in_folder("list"), "w");
    ck_assert_ptr_nonnull(file);
    fputs("ann\n", file);
    ck_assert_uint_eq(fwrite("b\0b\n", 1, 4, file), 4);
    for (int i = 0; i < 17 << 20; i++)
        fputc('x', file);
    ck_assert_int_eq(fclose(file), 0);
    load_text("hostname = mx.example\ndomain a.example { to = mx recipients = \"$/list\" }");
    ck_assert_uint_eq(loaded.errors.count, 2);
    ck_assert_ptr_nonnull(
        strstr(loaded.errors.items[0].text, "list:2: \"b\" holds a NUL: this is not a text file"));
    ck_assert_ptr_nonnull(strstr(loaded.errors.items[1].text, "list:3: \"xxxx"));
    ck_assert_ptr_nonnull(strstr(loaded.errors.items[1].text, "\" is too long"));
    check_report(
        "hostname = mx.example\n"
        "domain a.example { to = mx recipients = {\"a b\",\n\"etc/list\",\n\"@x\"} }\n",
        "mailring.conf:2: \"a b\" is neither an address nor a local part\n"
        "mailring.conf:3: recipients: \"etc/list\" is neither a path that begins with / nor an "
        "entry of a table\n"
        "mailring.conf:4: \"@x\" is neither an address nor a local part\n");
}
END_TEST

/* Reload */

#define RELOADED                                                                          \
    "hostname = mx.example\n"                                                             \
    "domain a.example { to = mx recipients = {ann, \"$/list\"} aliases = \"$/aliases\"\n" \
    "    destinations = \"$/where.cdb\" }\n"

static const struct pair first_where[] = {{"ann", "discard"}, {"bob", "mx"}};

static struct conf *load_again(const struct conf *before, unsigned *out_step)
{
    struct conf_errors errors = {0};
    struct conf *now = NULL;

    bool ok = conf_load_after(in_folder("mailring.conf"), before, &now, &errors);
    ck_assert_msg(ok && errors.count == 0, "%s", errors.count > 0 ? errors.items[0].text : "");
    conf_carry(now, before, &errors);
    *out_step = now->generation - before->generation;
    conf_errors_finish(&errors);
    return now;
}

static const struct table *tables_of(const struct conf *conf, unsigned which)
{
    const struct conf_domain *d = &conf->domains[0];

    return which == 0   ? d->recipient_tables.items[1]
           : which == 1 ? d->alias_tables.items[0]
                        : d->destination_tables.items[0];
}

/* Changes one file of four (the last is what an alias includes), or none: what else there is, is taken over. */
START_TEST(reload)
{
    static const struct pair other_where[] = {{"ann", "mx"}};
    static const char *const names[] = {"list", "aliases", "where.cdb", "members"};
    unsigned step;

    put_file("list", "bob\n");
    put_file("members", "x@y.example\n");
    put_file("aliases", "team: ann, :include:$/members\n");
    put_cdb("where.cdb", first_where, 2, false);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        age_file(names[i]);
    const struct conf *before = load_good(RELOADED);
    loaded.conf = NULL;
    if (_i == 0)
        put_file("list", "eve\n");
    else if (_i == 1)
        put_file("aliases", "team: bob\n");
    else if (_i == 2)
        put_cdb("where.cdb", other_where, 1, false);
    else if (_i == 3)
        put_file("members", "z@y.example\n");
    struct conf *now = load_again(before, &step);
    ck_assert_uint_eq(step, _i < 4);
    ck_assert_int_eq(tables_of(now, 0) == tables_of(before, 0), _i != 0);
    ck_assert_int_eq(tables_of(now, 1) == tables_of(before, 1), _i != 1 && _i != 3);
    ck_assert_int_eq(tables_of(now, 2) == tables_of(before, 2), _i != 2);
    conf_free(before);
    /* Nothing of it was the old one's own. */
    const struct conf_domain *d = &now->domains[0];
    ck_assert_int_eq(conf_domain_has_recipient(d, SLICE_LITERAL("bob")), _i != 0);
    ck_assert_int_eq(conf_domain_destination(d, SLICE_LITERAL("ann"))->items[0].kind,
                     _i == 2 ? CONF_TO_MX : CONF_TO_DISCARD);
    struct conf_targets targets;
    struct conf_target target;
    ck_assert(conf_alias_find(d, SLICE_LITERAL("team"), &targets));
    ck_assert(conf_targets_next(&targets, &target));
    ck_assert_slice(target.address, _i == 1 ? "bob" : "ann");
    if (_i != 1) {
        ck_assert(conf_targets_next(&targets, &target));
        ck_assert_slice(target.address, _i == 3 ? "z@y.example" : "x@y.example");
    }
    ck_assert(!conf_targets_next(&targets, &target));
    conf_free(now);
}
END_TEST

/* The same bytes, written anew: nothing has changed for anybody. */
START_TEST(reload_of_the_same)
{
    unsigned step;

    put_file("list", "bob\n");
    put_file("aliases", "team: ann\n");
    put_cdb("where.cdb", first_where, 2, false);
    age_file("where.cdb");
    const struct conf *before = load_good(RELOADED);
    loaded.conf = NULL;
    put_file("list", "# a comment\nbob\n");
    put_file("aliases", "team: ann\n");
    struct conf *now = load_again(before, &step);
    ck_assert_uint_eq(step, 0);
    conf_free(before);
    conf_free(now);
}
END_TEST

/* What cannot be read now leaves what was before as it is. */
START_TEST(reload_fails)
{
    struct conf_errors errors = {0};
    struct conf *now = NULL;

    put_file("list", "bob\n");
    put_file("aliases", "team: ann\n");
    put_cdb("where.cdb", first_where, 2, false);
    const struct conf *before = load_good(RELOADED);
    put_file("where.cdb", "gone");
    put_file("list", "b b\n");
    ck_assert(!conf_load_after(in_folder("mailring.conf"), before, &now, &errors));
    ck_assert_ptr_null(now);
    ck_assert_uint_eq(errors.count, 2);
    conf_errors_finish(&errors);
    check_recipient("bob", true);
    ck_assert_ptr_nonnull(conf_domain_destination(&before->domains[0], SLICE_LITERAL("ann")));
}
END_TEST

Suite *conf_tables_suite(void)
{
    Suite *suite = suite_create("conf_tables");
    TCase *tc = tcase_create("tables");

    tcase_add_checked_fixture(tc, folder_setup, folder_teardown);
    tcase_add_loop_test(tc, recipients_of_all_kinds, 0, 2);
    tcase_add_test(tc, senders_in_a_database);
    tcase_add_test(tc, destinations);
    tcase_add_test(tc, bad_destinations);
    tcase_add_test(tc, unfit_files);
    tcase_add_loop_test(tc, reload, 0, 5);
    tcase_add_test(tc, reload_of_the_same);
    tcase_add_test(tc, reload_fails);
    suite_add_tcase(suite, tc);
    return suite;
}
