/* test_send_message: each message at every cut of its bytes. */
#include <check.h>

#include "send_message.h"

static const struct {
    const char *in;
    const char *header;
    const char *body;
    bool dot_is_text;
} cases[] = {
    {"", "", "", false},
    {"\n", "", "", false},
    {"Subject: a\n\nb\n", "Subject: a\r\n", "b\r\n", false},
    {"Subject: a\r\n\r\nb\r\n", "Subject: a\r\n", "b\r\n", false},
    {"Subject: a\n\nb", "Subject: a\r\n", "b\r\n", false},
    {"Subject: a", "Subject: a\r\n", "", false},
    {"To: a\n b\n\tc\nX : y\n\nz\n", "To: a\r\n b\r\n\tc\r\nX : y\r\n", "z\r\n", false},
    {"hello\nthere\n", "", "hello\r\nthere\r\n", false},
    {" To: a\n", "", " To: a\r\n", false},
    {"Subject: a\nhello\n\nb\n", "Subject: a\r\n", "hello\r\n\r\nb\r\n", false},
    {"From ann Mon Jan  1 00:00:00 2026\nTo: b\n\nc\n", "To: b\r\n", "c\r\n", false},
    {"To: b\nFrom ann Mon Jan\n\nc\n", "To: b\r\n", "From ann Mon Jan\r\n\r\nc\r\n", false},
    {"To: b\n\nFrom ann\n", "To: b\r\n", "From ann\r\n", false},
    {"To: b\n\nc\n.\nd\n", "To: b\r\n", "c\r\n", false},
    {"To: b\n\nc\r\n.\r\nd\n", "To: b\r\n", "c\r\n", false},
    {"To: b\n\nc\n.\nd\n", "To: b\r\n", "c\r\n.\r\nd\r\n", true},
    {"To: b\n\n..\n.c\n", "To: b\r\n", "..\r\n.c\r\n", false},
    {"To: b\n\nc\n.", "To: b\r\n", "c\r\n", false},
    {"To: b\n\nc\n.", "To: b\r\n", "c\r\n.\r\n", true},
    {".\nTo: b\n", "", "", false},
    {"To: b\n.\n", "To: b\r\n", "", false},
    {"To: b\n\n10%\r20%\r\rdone\r", "To: b\r\n", "10%\r\n20%\r\n\r\ndone\r\n", false},
    {"To: b\r\rc\r", "To: b\r\n", "c\r\n", false},
    {"To: b\n\n\n\nc\n\n", "To: b\r\n", "\r\n\r\nc\r\n\r\n", false},
    {"To: b\n\na.\n", "To: b\r\n", "a.\r\n", false},
};

static void run(size_t i, size_t cut_1, size_t cut_2)
{
    struct slice in = slice_str(cases[i].in);
    struct send_message m;
    struct buf body;

    buf_init(&body, 0);
    send_message_init(&m, cases[i].dot_is_text);
    ck_assert(send_message_take(&m, slice_of(in.data, cut_1), &body));
    ck_assert(send_message_take(&m, slice_of(in.data + cut_1, cut_2 - cut_1), &body));
    ck_assert(send_message_take(&m, slice_of(in.data + cut_2, in.len - cut_2), &body));
    ck_assert(send_message_finish(&m, &body));
    ck_assert_msg(slice_equal(buf_slice(&m.header), slice_str(cases[i].header)), "%zu: header %.*s",
                  i, SLICE_ARG(buf_slice(&m.header)));
    ck_assert_msg(slice_equal(buf_slice(&body), slice_str(cases[i].body)), "%zu: body %.*s", i,
                  SLICE_ARG(buf_slice(&body)));
    send_message_release(&m);
    buf_finish(&body);
}

START_TEST(test_message)
{
    size_t len = strlen(cases[_i].in);

    for (size_t cut_1 = 0; cut_1 <= len; cut_1++)
        for (size_t cut_2 = cut_1; cut_2 <= len; cut_2++)
            run((size_t)_i, cut_1, cut_2);
}
END_TEST

static const struct {
    const char *header;
    const char *recipients; /* each with a blank behind it */
    const char *bad;        /* NULL: none */
} lists[] = {
    {"Subject: x\n\nTo: ann\n", "", NULL},
    {"To: ann, bob@b.example\nSubject: To: x\nCC: Carl <carl>\nbcc: d,\n e\nReply-To: f\n",
     "ann bob@b.example carl d e ", NULL},
    {"To: ann\nResent-To: bob\nCc: carl\nResent-Bcc: dora\n", "bob dora ", NULL},
    {"To: undisclosed-recipients:;\nBcc: ann\n", "ann ", NULL},
    {"To: ann, bob smith, carl\nCc: dora\n", "ann ", "bob smith, carl"},
};

static void note(void *context, struct slice address)
{
    ck_assert(buf_printf(context, "%.*s ", SLICE_ARG(address)));
}

START_TEST(test_recipients)
{
    struct send_message m;
    struct slice bad = SLICE_NULL;
    struct buf body, out;

    buf_init(&body, 0);
    buf_init(&out, 0);
    send_message_init(&m, true);
    ck_assert(send_message_take(&m, slice_str(lists[_i].header), &body));
    ck_assert(send_message_finish(&m, &body));
    ck_assert_int_eq(send_message_recipients(&m, note, &out, &bad), lists[_i].bad == NULL);
    ck_assert(slice_equal(buf_slice(&out), slice_str(lists[_i].recipients)));
    if (lists[_i].bad != NULL)
        ck_assert(slice_equal(bad, slice_str(lists[_i].bad)));
    buf_finish(&out);
    buf_finish(&body);
    send_message_release(&m);
}
END_TEST

/* A header without an end takes no more memory than it may. */
START_TEST(test_huge_header)
{
    struct send_message m;
    struct buf body;
    bool good = true;

    buf_init(&body, 0);
    send_message_init(&m, true);
    for (int i = 0; good && i < SEND_HEADER_MAX; i++)
        good = send_message_take(&m, SLICE_LITERAL("X: y\n"), &body);
    ck_assert(!good);
    ck_assert_uint_le(buf_len(&m.header), SEND_HEADER_MAX);
    send_message_release(&m);
    buf_finish(&body);
}
END_TEST

Suite *send_message_suite(void)
{
    Suite *s = suite_create("send_message");
    TCase *t = tcase_create("message");

    tcase_add_loop_test(t, test_message, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_loop_test(t, test_recipients, 0, sizeof(lists) / sizeof(lists[0]));
    tcase_add_test(t, test_huge_header);
    suite_add_tcase(s, t);
    return s;
}
