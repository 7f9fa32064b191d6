/* A configuration that takes another's place: what is for the start only stays, and is said. */
#include "base_assert.h"
#include "conf_test.h"

Suite *conf_reload_suite(void);

#define BEFORE                                                    \
    "hostname = mx.example  spool = /s  user = joe  shards = 2\n" \
    "relay_from = \"10.0.0.0/8\"\n"                               \
    "listener a { address = {\"127.0.0.1:25\", \"[::1]:25\"} }\n" \
    "dns { servers = \"127.0.0.1\" timeout = 3s }\n"

static const struct {
    const char *text;
    const char *report;
} cases[] = {
    {BEFORE, ""},
    {"hostname = other.example  spool = /s  user = joe  shards = 2\n"
     "relay_from = \"11.0.0.0/8\"\n"
     "limits { recipients = 3 }\n"
     "listener a { address = {\"127.0.0.1:25\", \"[::1]:25\"} message_size = 3M }\n"
     "dns { servers = \"127.0.0.1\" timeout = 3s }\n",
     ""},
    {"hostname = mx.example  spool = /t\nshards = 3\n"
     "relay_from = \"10.0.0.0/8\"\n"
     "listener a { role = mx\naddress = \"127.0.0.1:26\" }\n"
     "listener b { address = \"127.0.0.1:27\" }\n"
     "limits { queue = 1G }\n",
     "mailring.conf:1: warning: spool is read at the start only: it stays as it was\n"
     "mailring.conf:1: warning: state is read at the start only: it stays as it was\n"
     "mailring.conf:1: warning: drop is read at the start only: it stays as it was\n"
     "mailring.conf:1: warning: user is read at the start only: it stays as it was\n"
     "mailring.conf:2: warning: shards is read at the start only: it stays as it was\n"
     "mailring.conf:5: warning: address is read at the start only: it stays as it was\n"
     "mailring.conf:6: warning: listener \"b\" is new: it begins with the next start\n"
     "mailring.conf:1: warning: servers is read at the start only: it stays as it was\n"
     "mailring.conf:1: warning: timeout is read at the start only: it stays as it was\n"
     "mailring.conf:7: warning: queue is read at the start only: it stays as it was\n"},
    {"hostname = mx.example  spool = /s  user = joe  shards = 2\n"
     "relay_from = \"10.0.0.0/8\"\n"
     "dns { servers = \"127.0.0.1\" timeout = 3s }\n"
     "listener z { address = \"127.0.0.1:25\" }\n",
     "mailring.conf:4: warning: listener \"z\" is new: it begins with the next start\n"
     "mailring.conf:1: warning: listener \"a\" is gone: it serves as it did until the next start\n"},
};

START_TEST(carried)
{
    struct conf_errors errors = {0};
    struct conf *before = NULL, *now = NULL;
    struct buf report = {0};

    put_file("mailring.conf", BEFORE);
    ck_assert(conf_load(in_folder("mailring.conf"), &before, &errors));
    put_file("mailring.conf", cases[_i].text);
    ck_assert(conf_load(in_folder("mailring.conf"), &now, &errors));
    ck_assert_uint_eq(errors.count, 0);
    conf_carry(now, before, &errors);
    ck_assert_uint_eq(errors.count, errors.warning_count);
    for (size_t i = 0; i < errors.count; i++)
        (void)buf_printf(&report, "%s\n", strstr(errors.items[i].text, "mailring.conf"));
    (void)buf_append_byte(&report, '\0');
    ck_assert_str_eq((const char *)buf_slice(&report).data, cases[_i].report);
    ck_assert_uint_eq(now->generation, _i > 0);
    conf_free(before); /* nothing of the new one lies in the old one */
    ck_assert_str_eq(now->spool, "/s");
    ck_assert_str_eq(now->user, "joe");
    ck_assert_uint_eq(now->shards, 2);
    ck_assert_uint_eq(now->dns.servers.count, 1);
    ck_assert_uint_eq(now->dns.servers.items[0].port, 53);
    ck_assert_uint_eq(now->dns.timeout, 3000);
    if (slice_equal(now->listeners[0].name, SLICE_LITERAL("a"))) {
        ck_assert_uint_eq(now->listeners[0].address.count, 2);
        ck_assert_uint_eq(now->listeners[0].address.items[1].port, 25);
    }
    conf_free(now);
    conf_errors_finish(&errors);
    buf_finish(&report);
}
END_TEST

Suite *conf_reload_suite(void)
{
    Suite *suite = suite_create("conf_reload");
    TCase *tc = tcase_create("reload");

    tcase_add_checked_fixture(tc, folder_setup, folder_teardown);
    tcase_add_loop_test(tc, carried, 0, (int)ARRAY_LEN(cases));
    suite_add_tcase(suite, tc);
    return suite;
}
