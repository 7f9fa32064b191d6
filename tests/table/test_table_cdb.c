/* CDBs: as others write them, damaged, and replaced while they are in use. */
#include <sys/stat.h>
#include <unistd.h>

#include "base_assert.h"
#include "base_mem.h"
#include "table_test.h"

Suite *table_cdb_suite(void);

static const struct pair pairs[] = {
    {"ann@example.org", "1"},
    {"@example.org", "all, of, them"},
    {"empty", ""},
    {"upper", "VALUE"},
    {"twice", "first"},
    {"twice", "second"},
};

static const struct table *open_good(const char *name)
{
    char why[128] = "";
    const struct table *t = table_open_cdb(name, in_folder(name), why, sizeof(why));

    ck_assert_msg(t != NULL, "%s", why);
    return t;
}

/* With and without the NUL that Postfix and sendmail put behind keys and values. */
START_TEST(found)
{
    struct slice key, value;
    size_t cursor = 0;

    put_cdb("a.cdb", pairs, ARRAY_LEN(pairs), _i == 1);
    const struct table *t = open_good("a.cdb");
    ck_assert_int_eq(table_kind(t), TABLE_CDB);
    ck_assert_uint_eq(table_count(t), ARRAY_LEN(pairs));
    ck_assert(table_find(t, SLICE_LITERAL("Ann@Example.org"), &value));
    ck_assert_slice(value, "1");
    ck_assert(table_find(t, SLICE_LITERAL("@example.org"), &value));
    ck_assert_slice(value, "all, of, them");
    ck_assert(table_find(t, SLICE_LITERAL("empty"), &value));
    ck_assert_uint_eq(value.len, 0);
    ck_assert(table_find(t, SLICE_LITERAL("upper"), &value));
    ck_assert_slice(value, "VALUE");
    ck_assert(table_find(t, SLICE_LITERAL("twice"), &value));
    ck_assert_slice(value, "first");
    ck_assert(!table_find(t, SLICE_LITERAL("ann"), &value));
    ck_assert(!table_find(t, SLICE_LITERAL("upper\0"), &value));
    ck_assert(!table_find(t, SLICE_NULL, &value));
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        ck_assert(table_next(t, &cursor, &key, &value));
        ck_assert_slice(key, pairs[i].key);
        ck_assert_slice(value, pairs[i].value);
    }
    ck_assert(!table_next(t, &cursor, &key, &value));
    table_unref(t);
}
END_TEST

/* What is looked into is not the file: cutting it short is no SIGBUS, a new one is for the next reload. */
START_TEST(replaced)
{
    static const struct pair other = {"bob", "2"};
    struct slice value;

    put_cdb("a.cdb", pairs, ARRAY_LEN(pairs), false);
    age_file("a.cdb");
    const struct table *t = open_good("a.cdb");
    ck_assert(table_is_current(t));
    put_cdb("new.cdb", &other, 1, false);
    age_file("new.cdb");
    ck_assert_int_eq(rename(in_folder("new.cdb"), in_folder("a.cdb")), 0);
    ck_assert(!table_is_current(t));
    const struct table *now = open_good("a.cdb");
    ck_assert(table_digest(t) != table_digest(now));
    ck_assert(table_find(t, SLICE_LITERAL("upper"), &value));
    ck_assert(!table_find(t, SLICE_LITERAL("bob"), &value));
    ck_assert(table_find(now, SLICE_LITERAL("bob"), &value));
    ck_assert_int_eq(truncate(in_folder("a.cdb"), 0), 0);
    ck_assert(table_find(now, SLICE_LITERAL("bob"), &value));
    ck_assert_slice(value, "2");
    ck_assert(!table_is_current(now));
    table_unref(t);
    table_unref(now);
}
END_TEST

static void check_refused(const char *name, const char *reason)
{
    char why[128] = "";

    ck_assert_ptr_null(table_open_cdb("x", in_folder(name), why, sizeof(why)));
    ck_assert_str_eq(why, reason);
}

START_TEST(refused)
{
    check_refused("none", "No such file or directory");
    check_refused(".", "Is a directory");
    put_file("a.cdb", SLICE_NULL);
    check_refused("a.cdb", "not a CDB, or damaged");
    put_file("a.cdb", SLICE_LITERAL("ann: bob\n"));
    check_refused("a.cdb", "not a CDB, or damaged");
    put_cdb("a.cdb", pairs, 0, false);
    table_unref(open_good("a.cdb"));
}
END_TEST

static size_t read_whole(const char *name, uint8_t *bytes, size_t size)
{
    FILE *file = fopen(in_folder(name), "r");

    ck_assert_ptr_nonnull(file);
    size_t len = fread(bytes, 1, size, file);
    ck_assert_int_eq(fclose(file), 0);
    return len;
}

/* Cut at any place, and with any octet altered: refused, or good to look into without harm. */
START_TEST(damaged)
{
    uint8_t bytes[8192];
    struct slice value;
    char why[128];

    put_cdb("a.cdb", pairs, ARRAY_LEN(pairs), false);
    size_t len = read_whole("a.cdb", bytes, sizeof(bytes));
    ck_assert_uint_lt(len, sizeof(bytes));
    for (size_t cut = 0; cut < len; cut += cut < 2000 ? 97 : 1) {
        put_file("cut.cdb", slice_of(bytes, cut));
        check_refused("cut.cdb", "not a CDB, or damaged");
    }
    for (size_t i = 0; i < len; i += i < 2000 ? 3 : 1) {
        uint8_t was = bytes[i];

        bytes[i] ^= (uint8_t)(1 + i * 37 % 255);
        put_file("bad.cdb", slice_of(bytes, len));
        bytes[i] = was;
        const struct table *t = table_open_cdb("x", in_folder("bad.cdb"), why, sizeof(why));
        for (size_t j = 0; t != NULL && j < ARRAY_LEN(pairs); j++)
            (void)table_find(t, slice_str(pairs[j].key), &value); /* anything but a crash */
        table_unref(t);
    }
}
END_TEST

Suite *table_cdb_suite(void)
{
    Suite *suite = suite_create("table_cdb");
    TCase *tc = tcase_create("cdb");

    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, folder_setup, folder_teardown);
    tcase_add_loop_test(tc, found, 0, 2);
    tcase_add_test(tc, replaced);
    tcase_add_test(tc, refused);
    tcase_add_test(tc, damaged);
    suite_add_tcase(suite, tc);
    return suite;
}
