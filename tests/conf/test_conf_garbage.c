/* Files that nobody would write: whatever they hold, the answer is a result or a list of problems. */
#include "base_assert.h"
#include "base_rand.h"
#include "conf_test.h"

/* Pieces that get far into the parser, when put together by chance. */
static const char *const pieces[] = {
    "hostname",
    "spool",
    "listener",
    "domain",
    "route",
    "retry",
    "dns",
    "limits",
    "timeout",
    "to",
    "address",
    "shards",
    "include",
    "mx",
    "\"*\"",
    "\"a.example\"",
    "\"5m\"",
    "{",
    "}",
    "{",
    "}",
    "=",
    "=",
    "+=",
    "(",
    ")",
    ",",
    "\n",
    " ",
    "#",
    "//",
    "/*",
    "*/",
    "\"",
    "'",
    "\\",
    "${",
    "${HOME}",
    "\\x41",
    "\\777",
    "\\8",
    "|",
    "0",
    "99999999999999999999",
    "\xFF",
    "\r\n",
    "\x01",
    "section|begins",
    "limits|timeout|data",
    "route=a|to",
    "__unknown",
    "smtp://[::1]:25",
    "maildir:/%u",
    "reject:x",
};

static uint64_t seed(void)
{
    const char *wanted = getenv("TEST_SEED");

    return wanted != NULL ? strtoull(wanted, NULL, 0) : 20240229;
}

static void load_bytes(const uint8_t *bytes, size_t len)
{
    struct conf *conf = NULL;
    struct conf_errors errors = {0};
    FILE *file = fopen(in_folder("garbage.conf"), "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, len, file), len);
    ck_assert_int_eq(fclose(file), 0);
    bool ok = conf_load(in_folder("garbage.conf"), &conf, &errors);
    ck_assert_int_eq(ok, errors.count == errors.warning_count);
    conf_errors_finish(&errors);
    conf_free(conf);
}

START_TEST(random_bytes)
{
    struct rand r;
    uint8_t bytes[200];

    rand_seed(&r, seed());
    for (int round = 0; round < 500; round++) {
        size_t len = rand_below(&r, sizeof(bytes));

        /* Mostly text, as anything else ends soon. */
        for (size_t i = 0; i < len; i++)
            bytes[i] =
                (uint8_t)(rand_chance(&r, 1, 1000) ? rand_u64(&r) : rand_between(&r, ' ', '~'));
        load_bytes(bytes, len);
    }
}
END_TEST

START_TEST(random_pieces)
{
    struct rand r;
    struct buf text = {0};

    rand_seed(&r, seed());
    for (int round = 0; round < 2000; round++) {
        buf_clear(&text);
        for (uint64_t i = rand_below(&r, 40); i > 0; i--)
            (void)buf_printf(&text, "%s%s", pieces[rand_below(&r, ARRAY_LEN(pieces))],
                             rand_chance(&r, 3, 4) ? " " : "");
        load_bytes(buf_slice(&text).data, buf_len(&text));
    }
    buf_finish(&text);
}
END_TEST

/* A good file, cut anywhere, and with any one byte gone. */
START_TEST(damaged)
{
    static const char good[] = "hostname = mx.example # x\nrelay_from = {\"::1\"}\n"
                               "listener 'a' { address = \"127.0.0.1:25\" }\n"
                               "domain \"a.example\" { to = \"reject:x \\\"y\\\"\" }\n"
                               "route \"*\" { timeout { idle = ${X:-5s} } }\n/* z */\n";
    char text[sizeof(good)];

    for (size_t len = 0; len < sizeof(good); len++)
        load_bytes((const uint8_t *)good, len);
    for (size_t gone = 0; gone + 1 < sizeof(good); gone++) {
        memcpy(text, good, gone);
        memcpy(text + gone, good + gone + 1, sizeof(good) - gone - 1);
        load_bytes((const uint8_t *)text, sizeof(good) - 2);
    }
}
END_TEST

Suite *conf_garbage_suite(void)
{
    Suite *suite = suite_create("conf_garbage");
    TCase *tc = tcase_create("garbage");

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, folder_setup, folder_teardown);
    tcase_add_test(tc, random_bytes);
    tcase_add_test(tc, random_pieces);
    tcase_add_test(tc, damaged);
    suite_add_tcase(suite, tc);
    return suite;
}
