/* test_mail_address_list: RFC 5322's own examples, what people write, and what is no address. */
#include <check.h>

#include "mail_address_list.h"

static const struct {
    const char *value;
    const char *addresses; /* one a line; "!" for an entry without sense */
} cases[] = {
    {"", ""},
    {" \r\n ", ""},
    {"ann@a.example", "ann@a.example\n"},
    {"ann", "ann\n"},
    {"ann, bob@b.example,,\r\n\tcarl", "ann\nbob@b.example\ncarl\n"},
    {"Ann <ann@a.example>", "ann@a.example\n"},
    {"Ann Q. Public <ann@a.example>, \"Bob, the other\" <bob@b.example>",
     "ann@a.example\nbob@b.example\n"},
    {"<ann>", "ann\n"},
    {"ann@a.example (Ann, at home), bob@b.example (nested (comment\\)) here)",
     "ann@a.example\nbob@b.example\n"},
    {"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "pete@silly.test\n"},
    {"A Group(Some people)\r\n :Chris Jones <c@(Chris's host.)public.example>,\r\n"
     "   joe@example.org,\r\n John <jdoe@one.test> (my dear friend); (the end of the group)",
     "c@public.example\njoe@example.org\njdoe@one.test\n"},
    {"undisclosed-recipients:;", ""},
    {"(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", ""},
    {"team: ann@a.example, bob@b.example; carl@c.example",
     "ann@a.example\nbob@b.example\ncarl@c.example\n"},
    {"Mary Smith <@node.test,@b.example:mary@example.net>, , jdoe@test  . example",
     "mary@example.net\njdoe@test.example\n"},
    {"\"a, b\"@c.example, \"quo\\\"te\"@c.example",
     "\"a, b\"@c.example\n\"quo\\\"te\"@c.example\n"},
    {"ann@[192.0.2.1], b@[IPv6:2001:db8::1]", "ann@[192.0.2.1]\nb@[IPv6:2001:db8::1]\n"},
    {"J\xc3\xbcrgen <j\xc3\xbcrgen@b\xc3\xbc"
     "cher.example>, x@\xc3\xbc.example",
     "j\xc3\xbcrgen@b\xc3\xbc"
     "cher.example\nx@\xc3\xbc.example\n"},
    {"=?utf-8?q?Ann=2C_B?= <ann@a.example>", "ann@a.example\n"},
    {"ann b@c.example, d@e.example", "!\nd@e.example\n"},
    {"<ann@a.example> bob, carl", "!\ncarl\n"},
    {"<ann@a.example, bob", "!\nbob\n"},
    {"<>, bob", "!\nbob\n"},
    {"(never ends, bob", "!\nbob\n"},
    {"\"never ends, bob", "!\n"},
    {"@a.example", "!\n"},
    {"ann\\@b", "!\n"},
};

static void list(struct slice left, struct buf *out)
{
    struct buf address;
    enum mail_address_result result;

    buf_init(&address, 0);
    while ((result = mail_address_list_next(&left, &address)) != MAIL_ADDRESS_END) {
        if (result == MAIL_ADDRESS_FOUND) {
            ck_assert(buf_append_slice(out, buf_slice(&address)));
        } else {
            ck_assert(buf_append_str(out, "!"));
            mail_address_list_skip(&left);
        }
        ck_assert(buf_append_str(out, "\n"));
    }
    buf_finish(&address);
}

START_TEST(test_list)
{
    struct buf out;

    buf_init(&out, 0);
    list(slice_str(cases[_i].value), &out);
    ck_assert_msg(slice_equal(buf_slice(&out), slice_str(cases[_i].addresses)), "\"%s\":\n%.*s",
                  cases[_i].value, SLICE_ARG(buf_slice(&out)));
    buf_finish(&out);
}
END_TEST

/* Whatever a value is cut to, the walk over it ends, and what comes out holds no line end. */
START_TEST(test_cuts)
{
    struct slice whole = slice_str(cases[_i].value);
    struct buf out;

    buf_init(&out, 0);
    for (size_t from = 0; from < whole.len; from++)
        for (size_t len = 0; from + len <= whole.len; len++) {
            buf_clear(&out);
            list(slice_of(whole.data + from, len), &out);
            ck_assert(slice_find(buf_slice(&out), '\r') < 0);
        }
    buf_finish(&out);
}
END_TEST

/* A name of many commas, a comment without bottom: bounded work, no deep stack. */
START_TEST(test_hostile)
{
    struct buf value, out;

    buf_init(&value, 0);
    buf_init(&out, 0);
    for (int i = 0; i < 100000; i++)
        ck_assert(buf_append_str(&value, "("));
    list(buf_slice(&value), &out);
    ck_assert(slice_equal(buf_slice(&out), SLICE_LITERAL("!\n")));
    buf_finish(&value);
    buf_finish(&out);
}
END_TEST

Suite *mail_address_list_suite(void)
{
    Suite *s = suite_create("mail_address_list");
    TCase *t = tcase_create("list");

    tcase_add_loop_test(t, test_list, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_loop_test(t, test_cuts, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(t, test_hostile);
    suite_add_tcase(s, t);
    return s;
}
