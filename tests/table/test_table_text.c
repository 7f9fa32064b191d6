/* Text files: reading them, and their lines. */
#include "table_text.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base_assert.h"
#include "base_buf.h"
#include "base_mem.h"
#include "table_priv.h"
#include "table_test.h"

Suite *table_text_suite(void);

/* "LINE:entry;" for each, with "!" for what is wrong; line ends in entries as "|". */
static void check_lines(struct slice bytes, bool continued, const char *expected)
{
    struct table_text text = {.bytes = mem_dup(bytes.data, bytes.len), .len = bytes.len};
    struct table_lines lines;
    struct slice entry;
    struct buf out = {0};

    table_lines_init(&lines, &text, continued);
    while (table_lines_next(&lines, &entry)) {
        (void)buf_printf(&out, "%u:", lines.line);
        for (size_t i = 0; i < entry.len; i++)
            (void)buf_append_byte(
                &out, entry.data[i] == '\n' || entry.data[i] == '\0' ? '|' : entry.data[i]);
        (void)buf_append_str(&out, lines.wrong != NULL ? "!;" : ";");
    }
    (void)buf_append_byte(&out, '\0');
    ck_assert_str_eq((const char *)out.data, expected);
    buf_finish(&out);
    table_text_finish(&text);
}

static const struct {
    const char *text;
    const char *single;    /* each line alone */
    const char *continued; /* with continuation lines */
} cases[] = {
    {"", "", ""},
    {"\n\n", "", ""},
    {"# only\n", "", ""},
    {"a", "1:a;", "1:a;"},
    {"\xEF\xBB\xBF"
     "a\nb",
     "1:a;2:b;", "1:a;2:b;"}, /* a byte order mark */
    {"\xEF\xBB\xBF", "", ""},
    {"a\nb\n", "1:a;2:b;", "1:a;2:b;"},
    {"a\r\n\r\nb\r\n", "1:a;3:b;", "1:a;3:b;"},
    {" a \t\n", "1:a;", "1:a;"},
    {"a # c\nb#c\n#d\nc", "1:a;2:b#c;4:c;", "1:a;2:b#c;4:c;"},
    {"\"a # b\" # c\n", "1:\"a # b\";", "1:\"a # b\";"},
    {"\"a\\\" # b\" # c\n", "1:\"a\\\" # b\";", "1:\"a\\\" # b\";"},
    {"a:\n b,\n\tc\nd", "1:a:;2:b,;3:c;4:d;", "1:a:| b,|\tc;4:d;"},
    {"a: b,\n# x\n c\n\n d\ne", "1:a: b,;3:c;5:d;6:e;", "1:a: b,|   | c|| d;6:e;"},
    {"a\n \n\nb", "1:a;4:b;", "1:a;4:b;"},
    {"  a\n  b", "1:a;2:b;", "1:a|  b;"},
    {"a # \"\nb # \"", "1:a;2:b;", "1:a;2:b;"},
};

START_TEST(lines)
{
    check_lines(slice_str(cases[_i].text), false, cases[_i].single);
    check_lines(slice_str(cases[_i].text), true, cases[_i].continued);
}
END_TEST

START_TEST(nul_is_wrong)
{
    check_lines(slice_of("a\0b\nc\n", 6), false, "1:a|b!;2:c;");
    check_lines(slice_of("a\n b\0", 5), true, "1:a| b|!;");
}
END_TEST

START_TEST(too_long)
{
    size_t size = TABLE_LINE_MAX + 3;
    uint8_t *bytes = mem_alloc(size);
    struct table_text text = {.bytes = bytes, .len = size};
    struct table_lines l;
    struct slice entry;

    memset(bytes, 'x', size);
    bytes[TABLE_LINE_MAX + 1] = '\n';
    table_lines_init(&l, &text, false);
    ck_assert(table_lines_next(&l, &entry));
    ck_assert_str_eq(l.wrong, "is too long");
    ck_assert_uint_eq(entry.len, 80);
    ck_assert(table_lines_next(&l, &entry));
    ck_assert_ptr_null(l.wrong);
    ck_assert_uint_eq(l.line, 2);
    ck_assert_uint_eq(entry.len, 1);
    ck_assert(!table_lines_next(&l, &entry));
    table_text_finish(&text);
}
END_TEST

START_TEST(split)
{
    struct slice key, value;

    table_split(SLICE_LITERAL("a  b c"), &key, &value);
    ck_assert_slice(key, "a");
    ck_assert_slice(value, "b c");
    table_split(SLICE_LITERAL("a"), &key, &value);
    ck_assert_slice(key, "a");
    ck_assert_uint_eq(value.len, 0);
    table_split(SLICE_LITERAL("a\n\tb"), &key, &value);
    ck_assert_slice(value, "b");
}
END_TEST

static void check_unreadable(const char *path, const char *reason)
{
    struct table_text text = {0};
    char why[128];

    ck_assert(!table_text_read(path, &text, why, sizeof(why)));
    ck_assert_str_eq(why, reason);
    ck_assert_ptr_null(text.bytes);
}

START_TEST(reading)
{
    struct table_text text;
    char why[128];

    put_file("a", SLICE_LITERAL("ann"));
    ck_assert_int_eq(chmod(in_folder("a"), 0640), 0);
    ck_assert(table_text_read(in_folder("a"), &text, why, sizeof(why)));
    ck_assert_slice(slice_of(text.bytes, text.len), "ann");
    ck_assert_uint_eq(text.mode, 0640);
    ck_assert_uint_eq(text.owner, getuid());
    ck_assert(text.stamp.recent);
    table_text_finish(&text);
    put_file("empty", SLICE_NULL);
    ck_assert(table_text_read(in_folder("empty"), &text, why, sizeof(why)));
    ck_assert_uint_eq(text.len, 0);
    table_text_finish(&text);
    check_unreadable(in_folder("none"), "No such file or directory");
    check_unreadable("/", "Is a directory");
    /* Nobody writes into it: to wait for that would be for ever. */
    ck_assert_int_eq(mkfifo(in_folder("fifo"), 0600), 0);
    check_unreadable(in_folder("fifo"), "Not a regular file");
    check_unreadable("/dev/null", "Not a regular file");
}
END_TEST

/* Somebody writes between the two looks at the file. */
static bool touching_copy(void *context, int fd, const struct stat *status)
{
    unsigned *times = context;

    (void)fd;
    (void)status;
    if (*times > 0) {
        --*times;
        FILE *file = fopen(in_folder("a"), "a");
        ck_assert_ptr_nonnull(file);
        ck_assert_int_eq(fputc('x', file), 'x');
        ck_assert_int_eq(fclose(file), 0);
    }
    return true;
}

START_TEST(altered_while_read)
{
    struct table_stamp stamp = {0};
    char why[128] = "";
    unsigned times = 2;

    put_file("a", SLICE_LITERAL("ann"));
    ck_assert(table_read_file(in_folder("a"), touching_copy, &times, &stamp, why, sizeof(why)));
    ck_assert_uint_eq(stamp.size, 5);
    times = 10;
    ck_assert(!table_read_file(in_folder("a"), touching_copy, &times, &stamp, why, sizeof(why)));
    ck_assert_str_eq(why, "it is altered while it is read");
    ck_assert_uint_eq(times, 7);
}
END_TEST

static const struct table *table_of(const char *name)
{
    struct table_builder *b = table_builder_create("x", 0);
    struct table_text text;
    char why[128];

    ck_assert(table_text_read(in_folder(name), &text, why, sizeof(why)));
    ck_assert(table_builder_file(b, in_folder(name), &text.stamp));
    table_text_finish(&text);
    return table_build(b);
}

START_TEST(current)
{
    put_file("a", SLICE_LITERAL("ann"));
    const struct table *t = table_of("a");
    ck_assert(!table_is_current(t)); /* too young to say */
    table_unref(t);
    age_file("a");
    t = table_of("a");
    ck_assert(table_is_current(t));
    ck_assert_str_eq(table_file(t, 0), in_folder("a"));
    ck_assert_int_eq(rename(in_folder("a"), in_folder("b")), 0);
    ck_assert(!table_is_current(t));
    put_file("a", SLICE_LITERAL("ann")); /* the same, but another file */
    age_file("a");
    ck_assert(!table_is_current(t));
    table_unref(t);
    t = table_of("a");
    put_file("a", SLICE_LITERAL("bob")); /* of the same size */
    ck_assert(!table_is_current(t));
    table_unref(t);
}
END_TEST

Suite *table_text_suite(void)
{
    Suite *suite = suite_create("table_text");
    TCase *tc = tcase_create("text");

    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, folder_setup, folder_teardown);
    tcase_add_loop_test(tc, lines, 0, (int)ARRAY_LEN(cases));
    tcase_add_test(tc, nul_is_wrong);
    tcase_add_test(tc, too_long);
    tcase_add_test(tc, split);
    tcase_add_test(tc, reading);
    tcase_add_test(tc, altered_while_read);
    tcase_add_test(tc, current);
    suite_add_tcase(suite, tc);
    return suite;
}
