/* The words of notices: files beside the configuration, what is wrong with them, and reloads. */
#include "base_assert.h"
#include "conf_test.h"
#include "mail_template.h"

#define NOTICES \
    "hostname = mx.example relay_from = {::1}\nnotices {\n template_delay = \"$/delay\" }"

START_TEST(read_and_kept)
{
    put_file("delay", "Subject: later\n\nIt takes $hours hours.\n");
    load_text(NOTICES);
    ck_assert_ptr_nonnull(loaded.conf);
    ck_assert_ptr_null(loaded.conf->notices.failure);
    ck_assert_ptr_null(loaded.conf->notices.success);
    ck_assert(slice_equal(loaded.conf->notices.delay->subject, SLICE_LITERAL("later")));
    ck_assert(
        slice_equal(loaded.conf->notices.delay->body, SLICE_LITERAL("It takes $hours hours.\n")));
}
END_TEST

static const struct {
    const char *text, *error;
} bad[] = {
    {"Subject: later\n\nIt takes $hour hours.\n", "delay:3: there is no variable $hour;"},
    {"To: x\n\nx\n", "delay:1: To: only Subject, From and Charset can be set"},
    {"Subject: x\n\n\xff\n", "delay:3: this is not UTF-8"},
    {NULL, "template_delay: cannot read"},
};

START_TEST(refused)
{
    if (bad[_i].text != NULL)
        put_file("delay", bad[_i].text);
    load_text(NOTICES);
    ck_assert_ptr_null(loaded.conf);
    ck_assert_uint_eq(loaded.errors.count, 1);
    ck_assert_msg(strstr(loaded.errors.items[0].text, bad[_i].error) != NULL, "%s",
                  loaded.errors.items[0].text);
}
END_TEST

/* A file that was changed is another configuration. */
START_TEST(counts_as_change)
{
    const struct conf *before;

    put_file("delay", "\nold\n");
    load_text(NOTICES);
    ck_assert_ptr_nonnull(loaded.conf);
    before = conf_ref(loaded.conf);
    load_text(NOTICES);
    conf_carry(loaded.conf, before, &loaded.errors);
    ck_assert_uint_eq(loaded.conf->generation, before->generation);
    put_file("delay", "\nnew\n");
    load_text(NOTICES);
    conf_carry(loaded.conf, before, &loaded.errors);
    ck_assert_uint_eq(loaded.conf->generation, before->generation + 1);
    conf_free(before);
}
END_TEST

Suite *conf_notices_suite(void)
{
    Suite *s = suite_create("conf_notices");
    TCase *t = tcase_create("templates");

    tcase_add_checked_fixture(t, folder_setup, folder_teardown);
    tcase_add_test(t, read_and_kept);
    tcase_add_loop_test(t, refused, 0, ARRAY_LEN(bad));
    tcase_add_test(t, counts_as_change);
    suite_add_tcase(s, t);
    return s;
}
