/* test_send_options: command lines as cron, PHP, mutt, git and others write them. */
#include <check.h>
#include <stdlib.h>

#include "send_options.h"

enum { ARGS_MAX = 12 };

static const struct {
    const char *name;
    const char *args; /* separated by blanks; "_" is an empty one */
    enum send_mode mode;
    bool inside, dot;
    const char *sender, *full_name, *conf, *notify, *ret, *envid;
    const char *recipients;
} cases[] = {
    {.name = "sendmail",
     .args = "-FCronDaemon -i -B8BITMIME -oem root",
     .dot = true,
     .full_name = "CronDaemon",
     .recipients = "root "},
    {.name = "sendmail", .args = "-t -i", .inside = true, .dot = true}, /* PHP */
    {.name = "sendmail",
     .args = "-i -f ann@a.example -- bob@b.example -x",
     .dot = true, /* git */
     .sender = "ann@a.example",
     .recipients = "bob@b.example -x "},
    {.name = "sendmail",
     .args = "-oem -oi -f ann@a.example -- bob@b.example",
     .dot = true, /* mutt */
     .sender = "ann@a.example",
     .recipients = "bob@b.example "},
    {.name = "sendmail", .args = "-toi", .inside = true, .dot = true},
    {.name = "sendmail", .args = "-f _ root", .sender = "", .recipients = "root "},
    {.name = "sendmail", .args = "-f<> root", .sender = "", .recipients = "root "},
    {.name = "sendmail", .args = "-rann root", .sender = "ann", .recipients = "root "},
    {.name = "sendmail",
     .args = "-N success,failure -R hdrs -VQQ314 ann",
     .notify = "success,failure",
     .ret = "hdrs",
     .envid = "QQ314",
     .recipients = "ann "},
    {.name = "sendmail", .args = "-bs", .mode = SEND_SMTP},
    {.name = "sendmail", .args = "-bp", .mode = SEND_LIST},
    {.name = "sendmail", .args = "-bi", .mode = SEND_ALIASES},
    {.name = "sendmail", .args = "-I", .mode = SEND_ALIASES},
    {.name = "sendmail", .args = "-bm ann", .recipients = "ann "},
    {.name = "sendmail", .args = "-q30m", .mode = SEND_NOTHING},
    {.name = "sendmail", .args = "-q", .mode = SEND_NOTHING},
    {.name = "mailq", .args = "", .mode = SEND_LIST},
    {.name = "mailq", .args = "-C /etc/m.conf", .mode = SEND_LIST, .conf = "/etc/m.conf"},
    {.name = "newaliases", .args = "-v", .mode = SEND_ALIASES},
    {.name = "send", .args = "-c /etc/m.conf ann", .conf = "/etc/m.conf", .recipients = "ann "},
    {.name = "sendmail",
     .args = "-O IgnoreDots=true -Ac -G -U -n -s -d0.1 -L x -h 3 -p SMTP:h -X /tmp/l a",
     .dot = true,
     .recipients = "a "},
    {.name = "sendmail", .args = "- ann", .recipients = "- ann "},
};

static int split(char *memory, char **argv)
{
    int argc = 0;

    for (char *word = strtok(memory, " "); word != NULL; word = strtok(NULL, " ")) {
        ck_assert_int_lt(argc, 2 * ARGS_MAX);
        argv[argc++] = strcmp(word, "_") == 0 ? word + 1 : word;
    }
    return argc;
}

static void check_text(const char *got, const char *want)
{
    if (want == NULL)
        ck_assert_ptr_null(got);
    else
        ck_assert_str_eq(got, want);
}

START_TEST(test_options)
{
    char *memory = strdup(cases[_i].args);
    char *argv[2 * ARGS_MAX];
    int argc = split(memory, argv);
    struct send_options o;
    struct buf why, recipients;

    buf_init(&why, 0);
    buf_init(&recipients, 0);
    ck_assert_msg(send_options_parse(cases[_i].name, argc, argv, &o, &why), "%s: %.*s",
                  cases[_i].args, SLICE_ARG(buf_slice(&why)));
    ck_assert_int_eq(o.mode, cases[_i].mode);
    ck_assert_int_eq(o.recipients_inside, cases[_i].inside);
    ck_assert_int_eq(o.dot_is_text, cases[_i].dot);
    check_text(o.sender, cases[_i].sender);
    check_text(o.full_name, cases[_i].full_name);
    check_text(o.conf_path, cases[_i].conf);
    check_text(o.notify, cases[_i].notify);
    check_text(o.ret, cases[_i].ret);
    check_text(o.envid, cases[_i].envid);
    for (int i = 0; i < o.recipient_count; i++)
        ck_assert(buf_printf(&recipients, "%s ", o.recipients[i]));
    ck_assert(slice_equal(buf_slice(&recipients),
                          slice_str(cases[_i].recipients != NULL ? cases[_i].recipients : "")));
    buf_finish(&recipients);
    buf_finish(&why);
    free(memory);
}
END_TEST

static const struct {
    const char *args;
    const char *why;
} wrong[] = {
    {"-f", "-f needs a value"},
    {"-i -t -F", "-F needs a value"},
    {"-bd", "-bd: the server is started with \"mailring serve\""},
    {"-bv ann", "-bv: known are -bm, -bs, -bp and -bi"},
    {"-tz", "unknown option -z"},
    {"-\x01", "unknown option -?"},
};

START_TEST(test_wrong)
{
    char *memory = strdup(wrong[_i].args);
    char *argv[2 * ARGS_MAX];
    int argc = split(memory, argv);
    struct send_options o;
    struct buf why;

    buf_init(&why, 0);
    ck_assert(!send_options_parse("sendmail", argc, argv, &o, &why));
    ck_assert_msg(slice_equal(buf_slice(&why), slice_str(wrong[_i].why)), "%.*s",
                  SLICE_ARG(buf_slice(&why)));
    buf_finish(&why);
    free(memory);
}
END_TEST

Suite *send_options_suite(void)
{
    Suite *s = suite_create("send_options");
    TCase *t = tcase_create("options");

    tcase_add_loop_test(t, test_options, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_loop_test(t, test_wrong, 0, sizeof(wrong) / sizeof(wrong[0]));
    suite_add_tcase(s, t);
    return s;
}
