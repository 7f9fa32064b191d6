/* test_report_target: who wants reports (RFC 8460 3), in all spellings. */
#include <check.h>

#include "base_assert.h"
#include "report_priv.h"

static const struct {
    const char *record;
    const char *targets; /* NULL: not ours; each with a blank behind it */
} rows[] = {
    /* RFC 8460 3.1 */
    {"v=TLSRPTv1;rua=mailto:reports@example.com", "reports@example.com "},
    {"v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt",
     "https://reporting.example.com/v1/tlsrpt "},
    {"v=TLSRPTv1; rua=mailto:a@x.test,https://y.test/z ; ", "a@x.test https://y.test/z "},
    {"v=TLSRPTv1 \t; rua=mailto:a@x.test \t, \tmailto:b@x.test", "a@x.test b@x.test "},
    {"v=TLSRPTv1;rua=mailto:a@x.test,mailto:a@x.test", "a@x.test "},
    {"v=TLSRPTv1;rua=mailto:a@x.test;rua=mailto:b@x.test", "a@x.test "},
    {"v=TLSRPTv1;x-y_z.1=what ever;rua=mailto:a@x.test", "a@x.test "},
    {"v=TLSRPTv1;rua=MAILTO:a@x.test", "a@x.test "},
    {"v=TLSRPTv1;rua=mailto:a%2Bb%21@x.test?subject=x", "a+b!@x.test "},
    {"v=TLSRPTv1;rua=mailto:1@t,mailto:2@t,mailto:3@t,mailto:4@t,mailto:5@t", "1@t 2@t 3@t 4@t "},
    {"v=TLSRPTv1;rua=ftp://x.test/,mailto:a@x.test", "a@x.test "},
    {"v=TLSRPTv1;rua=,mailto:a@x.test,", "a@x.test "},

    {"v=TLSRPTv1;", ""},
    {"v=TLSRPTv1; ", ""},
    {"v=TLSRPTv1; rua=", ""},
    {"v=TLSRPTv1; rua", ""},
    {"v=TLSRPTv1; rua=mailto:a@x.test; x", ""},
    {"v=TLSRPTv1; =x; rua=mailto:a@x.test", ""},
    {"v=TLSRPTv1;; rua=mailto:a@x.test", ""},
    {"v=TLSRPTv1; RUA=mailto:a@x.test", ""},
    {"v=TLSRPTv1; rua=mailto:", ""},
    {"v=TLSRPTv1; rua=mailto:a", ""},
    {"v=TLSRPTv1; rua=mailto:@x.test", ""},
    {"v=TLSRPTv1; rua=mailto:a@", ""},
    {"v=TLSRPTv1; rua=mailto:a@x..test", ""},
    {"v=TLSRPTv1; rua=mailto:a@x.test.", ""},
    {"v=TLSRPTv1; rua=mailto:.a@x.test", ""},
    {"v=TLSRPTv1; rua=mailto:a b@x.test", ""},
    {"v=TLSRPTv1; rua=mailto:a@b@x.test", ""},
    {"v=TLSRPTv1; rua=mailto:a%0d%0aBcc:b@x.test", ""},
    {"v=TLSRPTv1; rua=mailto:a%00@x.test", ""},
    {"v=TLSRPTv1; rua=mailto:a%3Eb@x.test", ""},
    {"v=TLSRPTv1; rua=mailto:a%2@x.test", ""},
    {"v=TLSRPTv1; rua=mailto:%", ""},
    {"v=TLSRPTv1; rua=mailto:a@[127.0.0.1]", ""},
    {"v=TLSRPTv1; rua=http://x.test/", ""},
    {"v=TLSRPTv1; rua=https://", ""},
    {"v=TLSRPTv1; rua=https://u@x.test/", ""},
    {"v=TLSRPTv1; rua=reports@example.com", ""},
    {"v=TLSRPTv1", NULL},
    {"v=TLSRPTv2; rua=mailto:a@x.test", NULL},
    {"v=tlsrptv1; rua=mailto:a@x.test", NULL},
    {" v=TLSRPTv1; rua=mailto:a@x.test", NULL},
    {"v=TLSRPTv1 rua=mailto:a@x.test;", NULL},
    {"v=STSv1; id=1", NULL},
    {"", NULL},
};

START_TEST(record)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct report_target targets[REPORT_TARGETS_MAX];
        size_t count = 99;
        bool ours = report_record_parse(slice_str(rows[i].record), targets, &count);
        struct buf text = {0};

        ck_assert_msg(ours == (rows[i].targets != NULL), "%s", rows[i].record);
        if (!ours)
            continue;
        for (size_t k = 0; k < count; k++) {
            ck_assert_int_eq(targets[k].https, strncmp(targets[k].uri, "https:", 6) == 0);
            (void)buf_printf(&text, "%s ", targets[k].uri);
        }
        ck_assert_msg(slice_equal(buf_slice(&text), slice_str(rows[i].targets)), "%s: %.*s",
                      rows[i].record, SLICE_ARG(buf_slice(&text)));
        buf_finish(&text);
    }
}
END_TEST

START_TEST(long_ones)
{
    struct report_target targets[REPORT_TARGETS_MAX];
    struct buf text = {0};
    size_t count;

    (void)buf_append_str(&text, "v=TLSRPTv1;rua=mailto:");
    while (buf_len(&text) < 3000)
        (void)buf_append_str(&text, "a");
    (void)buf_append_str(&text, "@x.test,https://x.test/");
    while (buf_len(&text) < 6000)
        (void)buf_append_str(&text, "a");
    (void)buf_append_str(&text, ",mailto:b@x.test");
    ck_assert(report_record_parse(buf_slice(&text), targets, &count));
    ck_assert_uint_eq(count, 1);
    ck_assert_str_eq(targets[0].uri, "b@x.test");
    buf_finish(&text);
}
END_TEST

Suite *report_target_suite(void)
{
    Suite *s = suite_create("report_target");
    TCase *t = tcase_create("report_target");

    tcase_add_test(t, record);
    tcase_add_test(t, long_ones);
    suite_add_tcase(s, t);
    return s;
}
