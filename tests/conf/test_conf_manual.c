#include "base_assert.h"
#include "conf_table_priv.h"
#include "conf_test.h"

static struct buf manual;

static void write_manual(enum conf_manual_format format)
{
    buf_init(&manual, 0);
    conf_manual(format, &manual);
    (void)buf_append_byte(&manual, '\0');
    ck_assert(!manual.overflow);
}

static void free_manual(void)
{
    buf_finish(&manual);
}

/* The name in bold, as each format writes it. */
static void check_name(enum conf_manual_format format, const char *name)
{
    struct buf bold = {0};

    (void)buf_append_str(&bold, format == CONF_MANUAL_ROFF ? "\n\\fB" : "\n- **");
    for (const char *c = name; *c != '\0'; c++)
        (void)buf_printf(&bold, "%s%c", format != CONF_MANUAL_ROFF && *c == '_' ? "\\" : "", *c);
    (void)buf_append_str(&bold, format == CONF_MANUAL_ROFF ? "\\fR = " : "** = ");
    (void)buf_append_byte(&bold, '\0');
    ck_assert_msg(strstr((const char *)manual.data, (const char *)bold.data) != NULL,
                  "%s is not in the manual", name);
    buf_finish(&bold);
}

/* A section's heading, alone or within its outer section. */
static void check_heading(enum conf_manual_format format, const char *name)
{
    struct buf heading = {0};

    for (const char *c = name; *c != '\0'; c++)
        (void)buf_printf(&heading, "%s%c", format != CONF_MANUAL_ROFF && *c == '_' ? "\\" : "", *c);
    (void)buf_append_byte(&heading, ' ');
    (void)buf_append_byte(&heading, '\0');
    ck_assert_msg(strstr((const char *)manual.data, (const char *)heading.data) != NULL,
                  "%s is not in the manual", name);
    buf_finish(&heading);
}

static unsigned check_names(enum conf_manual_format format, const struct conf_section *section)
{
    unsigned names = (unsigned)section->row_count;

    for (size_t i = 0; i < section->row_count; i++)
        check_name(format, section->rows[i].name);
    for (size_t i = 0; i < section->section_count; i++) {
        check_heading(format, section->sections[i]->name);
        names += check_names(format, section->sections[i]);
    }
    return names;
}

START_TEST(every_setting)
{
    write_manual((enum conf_manual_format)_i);
    ck_assert_uint_gt(check_names((enum conf_manual_format)_i, &conf_root), 40);
    free_manual();
}
END_TEST

/* What a row becomes. */
START_TEST(rows)
{
    static const char *const roff[] = {
        "\n.TP\n\\fBspool_segment\\fR = \\fIsize\\fR\n",
        " From 256K to 1G, a multiple of 4K. Default: 64M. Takes effect when the server starts.\n",
        "\\fBrole\\fR = \\fBmx\\fR | \\fBrelay\\fR | \\fBsubmission\\fR\n",
        " Default: 5m, 10m, 20m, 40m, 1h.\n",
        " From 1 to 256; 0: one for each CPU that the process may use. Default: 0.",
        " Default: not set, nobody.\n",
        " It must be set.\n",
        "\n.SS domain \\(dqDOMAIN\\(dq { }\n",
        "\n.SS limits { timeout { } }\n",
        "smtp://[2001:db8::1]:25",
    };

    write_manual(CONF_MANUAL_ROFF);
    for (size_t i = 0; i < ARRAY_LEN(roff); i++)
        ck_assert_msg(strstr((const char *)manual.data, roff[i]) != NULL, "%s", roff[i]);
    free_manual();
}
END_TEST

/* Lines that begin with a dot are roff's own, all others text. */
START_TEST(roff_is_escaped)
{
    static const char *const requests[] = {".\\\" ", ".TH ",  ".SH ",  ".SS ", ".PP\n",
                                           ".TP\n",  ".nf\n", ".fi\n", ".RS ", ".RE\n"};

    write_manual(CONF_MANUAL_ROFF);
    for (const char *line = (const char *)manual.data; line != NULL && *line != '\0';
         line = strchr(line, '\n'), line += line != NULL) {
        bool known = *line != '.' && *line != '\'';

        for (size_t i = 0; i < ARRAY_LEN(requests); i++)
            known = known || strncmp(line, requests[i], strlen(requests[i])) == 0;
        ck_assert_msg(known, "%.60s", line);
    }
    free_manual();
}
END_TEST

/* The examples in it are good ones. */
START_TEST(example)
{
    write_manual(CONF_MANUAL_MARKDOWN);
    put_file("list", "ann\n");
    unsigned count = 0;
    char *at = (char *)manual.data;
    while ((at = strstr(at, "\n```\n")) != NULL) {
        char *end = strstr(at + 5, "```\n");
        char *recipients;

        ck_assert_ptr_nonnull(end);
        *end = '\0';
        /* The file that it names is not on this machine. */
        if ((recipients = strstr(at, "recipients = ")) != NULL)
            memcpy(recipients, "#          ", 11);
        (void)load_good(at + 5);
        at = end + 1;
        count++;
    }
    ck_assert_uint_eq(count, 2);
    free_manual();
}
END_TEST

Suite *conf_manual_suite(void)
{
    Suite *suite = suite_create("conf_manual");
    TCase *tc = tcase_create("manual");

    tcase_add_checked_fixture(tc, folder_setup, folder_teardown);
    tcase_add_loop_test(tc, every_setting, CONF_MANUAL_ROFF, CONF_MANUAL_MARKDOWN + 1);
    tcase_add_test(tc, rows);
    tcase_add_test(tc, roff_is_escaped);
    tcase_add_test(tc, example);
    suite_add_tcase(suite, tc);
    return suite;
}
