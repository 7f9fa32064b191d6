/* test_smtp_command: verbs, parameters, capabilities: the tables, by tables. */
#include <check.h>

#include "smtp_capability.h"
#include "smtp_command.h"
#include "smtp_feed.h"

static const struct {
    const char *line;
    enum smtp_verb verb;
    const char *argument;
} verbs[] = {
    {"QUIT", SMTP_VERB_QUIT, ""},
    {"quit  ", SMTP_VERB_QUIT, ""},
    {"Mail FROM:<a@b> X=y ", SMTP_VERB_MAIL, "FROM:<a@b> X=y"},
    {"RCPT\tTO:<a@b>", SMTP_VERB_RCPT, "TO:<a@b>"},
    {"NOOP   a  b", SMTP_VERB_NOOP, "a  b"},
    {"starttls", SMTP_VERB_STARTTLS, ""},
    {"GET / HTTP/1.0", SMTP_VERB_FOREIGN, "/ HTTP/1.0"},
    {"", SMTP_VERB_UNKNOWN, ""},
    {" QUIT", SMTP_VERB_UNKNOWN, "QUIT"},
    {"QUI", SMTP_VERB_UNKNOWN, ""},
    {"QUITS", SMTP_VERB_UNKNOWN, ""},
    {"MAIL:", SMTP_VERB_UNKNOWN, ""},
};

START_TEST(test_verbs)
{
    struct slice argument;

    ck_assert_int_eq(smtp_command_verb(feed_guard(slice_str(verbs[_i].line)), &argument),
                     verbs[_i].verb);
    ck_assert(slice_equal(argument, slice_str(verbs[_i].argument)));
}
END_TEST

static const struct {
    const char *text;
    uint32_t extensions;
    enum smtp_params_result result;
    uint64_t size;
    enum smtp_body body;
} params[] = {
    {"", 0, SMTP_PARAMS_OK, 0, SMTP_BODY_7BIT},
    {"   ", 0, SMTP_PARAMS_OK, 0, SMTP_BODY_7BIT},
    {"SIZE=10", SMTP_EXT_SIZE, SMTP_PARAMS_OK, 10, SMTP_BODY_7BIT},
    {" size=10  body=8bitmime ", SMTP_EXT_SIZE | SMTP_EXT_8BITMIME, SMTP_PARAMS_OK, 10,
     SMTP_BODY_8BITMIME},
    {"SIZE=99999999999999999999", SMTP_EXT_SIZE, SMTP_PARAMS_OK, UINT64_MAX, SMTP_BODY_7BIT},
    {"SIZE=18446744073709551615", SMTP_EXT_SIZE, SMTP_PARAMS_OK, UINT64_MAX, SMTP_BODY_7BIT},
    {"SIZE=100000000000000000000", SMTP_EXT_SIZE, SMTP_PARAMS_VALUE, 0, SMTP_BODY_7BIT},
    {"SIZE=-1", SMTP_EXT_SIZE, SMTP_PARAMS_VALUE, 0, SMTP_BODY_7BIT},
    {"SIZE=10", SMTP_EXT_8BITMIME, SMTP_PARAMS_UNKNOWN, 0, SMTP_BODY_7BIT},
    {"BODY=BINARYMIME", SMTP_EXT_8BITMIME, SMTP_PARAMS_VALUE, 0, SMTP_BODY_7BIT},
    {"SIZE=1 size=2", SMTP_EXT_SIZE, SMTP_PARAMS_SYNTAX, 0, SMTP_BODY_7BIT},
    {"-X", SMTP_EXT_SIZE, SMTP_PARAMS_SYNTAX, 0, SMTP_BODY_7BIT},
    {"X-Y", SMTP_EXT_SIZE, SMTP_PARAMS_UNKNOWN, 0, SMTP_BODY_7BIT},
    {"X=a=b", SMTP_EXT_SIZE, SMTP_PARAMS_SYNTAX, 0, SMTP_BODY_7BIT},
    {"X=\xc3\xbc", SMTP_EXT_SIZE, SMTP_PARAMS_SYNTAX, 0, SMTP_BODY_7BIT},
    {"REQUIRETLS", SMTP_EXT_SIZE, SMTP_PARAMS_UNKNOWN, 0, SMTP_BODY_7BIT},
    {"REQUIRETLS SIZE=3", SMTP_EXT_SIZE | SMTP_EXT_REQUIRETLS, SMTP_PARAMS_OK, 3, SMTP_BODY_7BIT},
    {"REQUIRETLS=YES", SMTP_EXT_REQUIRETLS, SMTP_PARAMS_VALUE, 0, SMTP_BODY_7BIT},
    {"AUTH=<>", SMTP_EXT_AUTH, SMTP_PARAMS_OK, 0, SMTP_BODY_7BIT},
    {"AUTH=<>", SMTP_EXT_SIZE, SMTP_PARAMS_UNKNOWN, 0, SMTP_BODY_7BIT},
    {"AUTH=e+3Dmc2@example.com", SMTP_EXT_AUTH, SMTP_PARAMS_OK, 0, SMTP_BODY_7BIT},
    {"AUTH=e+3dmc2@example.com", SMTP_EXT_AUTH, SMTP_PARAMS_VALUE, 0, SMTP_BODY_7BIT},
    {"AUTH=e+3", SMTP_EXT_AUTH, SMTP_PARAMS_VALUE, 0, SMTP_BODY_7BIT},
    {"AUTH=e+", SMTP_EXT_AUTH, SMTP_PARAMS_VALUE, 0, SMTP_BODY_7BIT},
    {"AUTH", SMTP_EXT_AUTH, SMTP_PARAMS_VALUE, 0, SMTP_BODY_7BIT},
    {"AUTH=", SMTP_EXT_AUTH, SMTP_PARAMS_SYNTAX, 0, SMTP_BODY_7BIT},
    {"AUTH=a@b AUTH=a@b", SMTP_EXT_AUTH, SMTP_PARAMS_SYNTAX, 0, SMTP_BODY_7BIT},
};

START_TEST(test_params)
{
    struct smtp_params out = {.size = 7, .body = SMTP_BODY_8BITMIME};

    ck_assert_int_eq(smtp_params_parse(SMTP_VERB_MAIL, params[_i].extensions,
                                       feed_guard(slice_str(params[_i].text)), &out),
                     params[_i].result);
    if (params[_i].result == SMTP_PARAMS_OK) {
        ck_assert(out.size == params[_i].size);
        ck_assert_int_eq(out.body, params[_i].body);
    } else {
        ck_assert(out.size == 7 && out.body == SMTP_BODY_8BITMIME);
    }
    ck_assert_int_eq(smtp_params_parse(SMTP_VERB_RCPT, UINT32_MAX, SLICE_LITERAL("SIZE=1"), &out),
                     SMTP_PARAMS_UNKNOWN);
}
END_TEST

START_TEST(test_capabilities)
{
    struct smtp_capabilities c = {0};

    smtp_capabilities_parse_line(&c, SLICE_LITERAL("size 100"));
    smtp_capabilities_parse_line(&c, SLICE_LITERAL("PIPELINING"));
    smtp_capabilities_parse_line(&c, SLICE_LITERAL("AUTH PLAIN LOGIN"));
    smtp_capabilities_parse_line(&c, SLICE_LITERAL("AUTH=PLAIN"));
    smtp_capabilities_parse_line(&c, SLICE_LITERAL(""));
    smtp_capabilities_parse_line(&c, SLICE_LITERAL("8BITMIMES"));
    ck_assert_uint_eq(c.extensions, SMTP_EXT_SIZE | SMTP_EXT_PIPELINING | SMTP_EXT_AUTH);
    ck_assert(c.size_max == 100);
    smtp_capabilities_parse_line(&c, SLICE_LITERAL("SIZE many"));
    ck_assert(c.size_max == 0);
}
END_TEST

START_TEST(test_mechanisms)
{
    struct smtp_capabilities c = {0};

    smtp_capabilities_parse_line(&c, SLICE_LITERAL("AUTH"));
    ck_assert_uint_eq(c.extensions, SMTP_EXT_AUTH);
    ck_assert_uint_eq(c.mechanisms, 0);
    smtp_capabilities_parse_line(&c, SLICE_LITERAL("auth=login"));
    ck_assert_uint_eq(c.mechanisms, SMTP_MECHANISM_LOGIN);
    smtp_capabilities_parse_line(&c, SLICE_LITERAL("AUTH  PLAIN GSSAPI  scram-sha-256 PLAINER "));
    ck_assert_uint_eq(c.mechanisms,
                      SMTP_MECHANISM_LOGIN | SMTP_MECHANISM_PLAIN | SMTP_MECHANISM_SCRAM_SHA_256);
    smtp_capabilities_parse_line(&c, SLICE_LITERAL("AUTH SCRAM-SHA-256-PLUS XOAUTH2"));
    ck_assert_uint_eq(c.mechanisms,
                      SMTP_MECHANISM_LOGIN | SMTP_MECHANISM_PLAIN | SMTP_MECHANISM_SCRAM_SHA_256
                          | SMTP_MECHANISM_SCRAM_SHA_256_PLUS | SMTP_MECHANISM_XOAUTH2);
    smtp_capabilities_parse_line(&c, SLICE_LITERAL("AUTHX=PLAIN"));
    smtp_capabilities_parse_line(&c, SLICE_LITERAL("requiretls"));
    ck_assert_uint_eq(c.extensions, SMTP_EXT_AUTH | SMTP_EXT_REQUIRETLS);
}
END_TEST

START_TEST(test_xtext)
{
    struct buf out;

    buf_init(&out, 0);
    ck_assert(smtp_xtext_decode(SLICE_LITERAL("e+3Dmc2+2B@example.com"), &out));
    ck_assert(slice_equal(buf_slice(&out), SLICE_LITERAL("e=mc2+@example.com")));
    ck_assert(!smtp_xtext_decode(SLICE_LITERAL("+4"), &out));
    ck_assert(!smtp_xtext_decode(SLICE_LITERAL("a b"), &out));
    buf_finish(&out);
}
END_TEST

Suite *smtp_command_suite(void)
{
    Suite *s = suite_create("smtp_command");
    TCase *t = tcase_create("command");

    tcase_add_loop_test(t, test_verbs, 0, sizeof(verbs) / sizeof(verbs[0]));
    tcase_add_loop_test(t, test_params, 0, sizeof(params) / sizeof(params[0]));
    tcase_add_test(t, test_capabilities);
    tcase_add_test(t, test_mechanisms);
    tcase_add_test(t, test_xtext);
    suite_add_tcase(s, t);
    return s;
}
