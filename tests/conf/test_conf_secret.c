/* Password files, and what follows from settings of TLS. */
#include <sys/stat.h>

#include "base_assert.h"
#include "conf_test.h"

#define TOP "hostname = mx.example relay_from = \"10.0.0.0/8\"\n"
#define ROUTE \
    TOP "route a.example { to = \"smtp://b.example\" auth { user = ann password_file = \"$/password\" } }\n"
#define TOKEN \
    TOP "route a.example { to = \"smtp://b.example\" auth { user = ann token_file = \"$/password\" } }\n"

static void put_secret(const char *text, mode_t mode)
{
    put_file("password", text);
    ck_assert_int_eq(chmod(in_folder("password"), mode), 0);
}

START_TEST(password_is_first_line)
{
    put_secret("s3cret pass\r\nnot this\n", 0600);
    ck_assert_slice(conf_route_find(load_good(ROUTE), SLICE_LITERAL("a.example"))->auth.password,
                    "s3cret pass");
}
END_TEST

START_TEST(password_others_can_read)
{
    static const mode_t modes[] = {0640, 0604, 0620, 0601};

    put_secret("s3cret\n", modes[_i]);
    load_text(ROUTE);
    ck_assert_ptr_null(loaded.conf);
    const char *report = (const char *)buf_slice(&loaded.report).data;
    ck_assert_ptr_nonnull(strstr(report, ":2: password_file: others than its owner may use "));
    ck_assert_ptr_null(strstr(report, "s3cret"));
}
END_TEST

START_TEST(password_is_missing)
{
    put_secret(_i == 0 ? "" : "\nsecond\n", 0400);
    load_text(ROUTE);
    ck_assert_ptr_null(loaded.conf);
    ck_assert_ptr_nonnull(strstr((const char *)buf_slice(&loaded.report).data, "empty"));
}
END_TEST

START_TEST(token_others_can_read)
{
    static const mode_t good[] = {0600, 0640, 0440}, bad[] = {0644, 0620, 0604, 0666};

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        put_secret("token\n", good[i]);
        ck_assert_ptr_nonnull(load_good(TOKEN));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        put_secret("token\n", bad[i]);
        load_text(TOKEN);
        ck_assert_ptr_nonnull(loaded.conf);
        ck_assert_ptr_nonnull(strstr((const char *)buf_slice(&loaded.report).data,
                                     ":2: warning: token_file: everybody may read "));
    }
}
END_TEST

/* A program that submits mail may not read what the settings name, and need not. */
START_TEST(settings_alone)
{
    struct conf_errors errors = {0};
    struct conf *conf = NULL;

    load_text(ROUTE
              "domain b.example { to = discard recipients = \"$/none\" aliases = \"$/none\" }\n"
              "virtual_aliases = \"$/none\"\n");
    ck_assert_ptr_null(loaded.conf);
    ck_assert(conf_load_settings(in_folder("mailring.conf"), &conf, &errors));
    ck_assert_uint_eq(errors.count, 0);
    ck_assert_slice(conf->hostname, "mx.example");
    conf_free(conf);
    put_file("mailring.conf", "hostname = a b\n");
    ck_assert(!conf_load_settings(in_folder("mailring.conf"), &conf, &errors));
    ck_assert_uint_gt(errors.count, 0);
    conf_errors_finish(&errors);
}
END_TEST

START_TEST(listeners)
{
    const struct conf *conf =
        load_good(TOP "listener a { address = \"[::1]:25\" }\n"
                      "listener b { address = \"[::1]:465\" role = submission tls = implicit }\n"
                      "tls { certificate = /c key = /k }\nauth { users = /u }\nspool = /var/s\n");

    ck_assert_int_eq(conf->listeners[0].tls, CONF_LISTENER_TLS_OPPORTUNISTIC);
    ck_assert(!conf->listeners[0].auth);
    ck_assert_int_eq(conf->listeners[1].tls, CONF_LISTENER_TLS_IMPLICIT);
    ck_assert(conf->listeners[1].auth); /* by its role */
    ck_assert_str_eq(conf->state, "/var/s/state");
    ck_assert_int_eq(load_good(TOP)->listeners[0].tls, CONF_LISTENER_TLS_NONE);
    ck_assert_str_eq(load_good(TOP "state = /var/x")->state, "/var/x");
}
END_TEST

Suite *conf_secret_suite(void)
{
    Suite *suite = suite_create("conf_secret");
    TCase *tc = tcase_create("secret");

    tcase_add_checked_fixture(tc, folder_setup, folder_teardown);
    tcase_add_test(tc, password_is_first_line);
    tcase_add_loop_test(tc, password_others_can_read, 0, 4);
    tcase_add_loop_test(tc, password_is_missing, 0, 2);
    tcase_add_test(tc, token_others_can_read);
    tcase_add_test(tc, settings_alone);
    tcase_add_test(tc, listeners);
    suite_add_tcase(suite, tc);
    return suite;
}
