/* Requests about the queue: words, options, patterns. */
#include <check.h>

#include "admin_request.h"
#include "base_assert.h"
#include "base_mem.h"

Suite *admin_request_suite(void);

enum { WORDS_MAX = 16 };

/* ---- lines ---------------------------------------------------------------------------------- */

START_TEST(words_come_back_as_they_were)
{
    static const struct slice table[] = {
        SLICE_INIT("list"),
        SLICE_INIT("--reason=their disk is full"),
        SLICE_INIT(""),
        SLICE_INIT("\"quoted\" and \\ back"),
        SLICE_INIT("line\nfeed\r\ttab\0nul\x7F\x01"),
        SLICE_INIT("sch\xC3\xB6n"),
        SLICE_INIT(" "),
    };
    struct slice words[WORDS_MAX];
    struct buf line;

    buf_init(&line, 0);
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        ck_assert(admin_word_append(&line, table[i]));
    ck_assert_int_lt(slice_find(buf_slice(&line), '\n'), 0);
    ck_assert_int_eq(admin_words_split(line.data, buf_len(&line), words, WORDS_MAX),
                     ARRAY_LEN(table));
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        ck_assert_msg(slice_equal(words[i], table[i]), "word %zu", i);
    buf_finish(&line);
}
END_TEST

START_TEST(lines)
{
    static const struct {
        const char *line;
        int count; /* or ADMIN_WORDS_... */
        const char *last;
    } table[] = {
        {"", 0, NULL},
        {"  \t\r ", 0, NULL},
        {"queue list json\r", 3, "json"},
        {"a \"b c\"", 2, "b c"},
        {"--reason=\"b c\"d e", 2, "e"},
        {"x --reason=\"b c\"d", 2, "--reason=b cd"},
        {"\"\"", 1, ""},
        {"\"\\x41\\\"\\\\\\n\"", 1, "A\"\\\n"},
        {"a\\b", 1, "a\\b"}, /* outside quotes it is a character like others */
        {"\"", ADMIN_WORDS_BAD, NULL},
        {"a \"b", ADMIN_WORDS_BAD, NULL},
        {"\"\\", ADMIN_WORDS_BAD, NULL},
        {"\"\\q\"", ADMIN_WORDS_BAD, NULL},
        {"\"\\x4\"", ADMIN_WORDS_BAD, NULL},
        {"\"\\xzz\"", ADMIN_WORDS_BAD, NULL},
        {"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", 16, "16"},
        {"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", ADMIN_WORDS_TOO_MANY, NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct slice words[WORDS_MAX];
        size_t len = strlen(table[i].line);
        uint8_t *line = mem_dup(table[i].line, len); /* exactly: sanitizers see who reads on */
        ptrdiff_t count = admin_words_split(line, len, words, WORDS_MAX);

        ck_assert_msg(count == table[i].count, "%s: %td", table[i].line, count);
        if (table[i].last != NULL)
            ck_assert_msg(slice_equal(words[count - 1], slice_str(table[i].last)), "%s",
                          table[i].line);
        mem_free(line);
    }
}
END_TEST

START_TEST(patterns)
{
    static const struct {
        const char *pattern, *text;
        bool match;
    } table[] = {
        {"a@b", "A@B", true},
        {"a@b", "a@bc", false},
        {"", "", true},
        {"*", "", true},
        {"*", "anything", true},
        {"*@b.test", "x@B.test", true},
        {"*@b.test", "x@c.test", false},
        {"a*c*e", "abcde", true},
        {"a*c*e", "abcdx", false},
        {"*ab", "aab", true},
        {"*ab*ab", "abab", true},
        {"*ab*ab", "abxb", false},
        {"**x**", "x", true},
        {"a*", "", false},
        {"news*@*.test", "news-1@l.test", true},
        {"*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        ck_assert_msg(admin_pattern_match(slice_str(table[i].pattern), slice_str(table[i].text))
                          == table[i].match,
                      "%s %s", table[i].pattern, table[i].text);
}
END_TEST

/* ---- requests ------------------------------------------------------------------------------- */

static bool parse(const char *text, struct admin_request *r, struct buf *error)
{
    static char line[512];
    struct slice words[WORDS_MAX];
    ptrdiff_t count;

    strcpy(line, text);
    buf_clear(error);
    count = admin_words_split((uint8_t *)line, strlen(line), words, WORDS_MAX);
    ck_assert_int_ge(count, 0);
    return admin_request_parse(r, words, (size_t)count, error);
}

#define ID1 "0000000000001"
#define ID2 "000000000000Z"

START_TEST(good_requests)
{
    static const struct {
        const char *line;
        enum admin_verb verb;
        bool set;
    } table[] = {
        {"list", ADMIN_LIST, false},
        {"list all", ADMIN_LIST, false},
        {"list json", ADMIN_LIST, false},
        {"show " ID1, ADMIN_SHOW, true},
        {"summary --by=sender-domain --older=2d", ADMIN_SUMMARY, true},
        {"retry all", ADMIN_RETRY, false},
        {"retry " ID1 " " ID2, ADMIN_RETRY, true},
        {"delete --state=held,waiting", ADMIN_DELETE, true},
        {"delete --sender=<> --larger=5M --smaller=6M --younger=1h", ADMIN_DELETE, true},
        {"bounce --domain=gone.example \"--text=no such domain any more\"", ADMIN_BOUNCE, true},
        {"hold --why=full \"--reason=their disk is full\" --until=2h", ADMIN_HOLD, true},
        {"hold --future --domain=big.example --until=2026-11-22T08:00Z", ADMIN_HOLD, true},
        {"release --rule=7", ADMIN_RELEASE, false},
        {"release --rule=all", ADMIN_RELEASE, false},
        {"set all --priority=-9 --deliver-by=never", ADMIN_SET, false},
        {"holds --json", ADMIN_HOLDS, false},
        {"export all --copy", ADMIN_EXPORT, false},
        {"import --skip=1-40,42 --hold", ADMIN_IMPORT, false},
    };
    struct admin_request r;
    struct buf error;

    buf_init(&error, 0);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ck_assert_msg(parse(table[i].line, &r, &error), "%s: %.*s", table[i].line,
                      SLICE_ARG(buf_slice(&error)));
        ck_assert_int_eq(r.verb, table[i].verb);
        ck_assert_msg(admin_filter_is_set(&r.filter) == table[i].set, "%s", table[i].line);
        admin_request_finish(&r);
    }
    buf_finish(&error);
}
END_TEST

START_TEST(bad_requests)
{
    static const struct {
        const char *line, *error;
    } table[] = {
        {"", "unknown queue request"},
        {"LIST", "unknown queue request"},
        {"delete", "which messages?"},
        {"delete --limit=5", "which messages?"},
        {"delete --dry-run", "which messages?"},
        {"delete all --domain=a.example", "either all or some"},
        {"delete all " ID1, "either all or some"},
        {"delete x", "not a message id: \"x\""},
        {"delete \"\\x1b[2J\"", "not a message id: \"?[2J\""},
        {"delete --domain", "--domain: DOMAIN"},
        {"delete --domain=", "--domain=: DOMAIN"},
        {"delete --sender=", "--sender=: ADDRESS"},
        {"delete --sender=@", "--sender=@: ADDRESS"},
        {"delete --older=soon", "--older=soon: a time such as"},
        {"delete --larger=5X", "--larger=5X: a size"},
        {"delete --smaller=0", "--smaller=0: a size"},
        {"delete --state=dead", "--state=dead: waiting"},
        {"delete --state=", "--state=: waiting"},
        {"delete --text=x " ID1, "unknown option --text of queue delete; known are --sender"},
        {"delete --dry-run=yes " ID1, "--dry-run takes no value"},
        {"list --limit=0", "--limit=0: a number"},
        {"list --copy", "unknown option --copy"},
        {"summary --by=colour", "--by=colour: domain, "},
        {"hold --future", "a rule needs"},
        {"hold --future " ID1 " --domain=a", "a rule goes without"},
        {"hold --future --domain=a --sender=b", "a rule needs one of"},
        {"hold --future --domain=*.a", "a rule needs one of"},
        {"hold " ID1 " --until=2026-02-30T00:00Z", "--until=2026-02-30T00:00Z: a time"},
        {"release --rule=x", "--rule=x: the number"},
        {"release --rule=7 " ID1, "either --rule or messages"},
        {"set " ID1, "what is to be set?"},
        {"set " ID1 " --priority=10", "--priority=10: a number"},
        {"set --priority=1", "which messages?"},
        {"import " ID1, "queue import takes no"},
        {"import --skip=2-1", "--skip=2-1: a number"},
        {"import --skip=1,,2", "--skip=1,,2: a number"},
        {"export", "which messages?"},
    };
    struct admin_request r;
    struct buf error;

    buf_init(&error, 0);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ck_assert_msg(!parse(table[i].line, &r, &error), "%s", table[i].line);
        ck_assert_msg(slice_starts_nocase(buf_slice(&error), slice_str(table[i].error)), "%s: %.*s",
                      table[i].line, SLICE_ARG(buf_slice(&error)));
        ck_assert_int_lt(slice_find(buf_slice(&error), '\n'), 0);
    }
    buf_finish(&error);
}
END_TEST

START_TEST(values)
{
    struct admin_request r;
    struct buf error;

    buf_init(&error, 0);
    ck_assert(parse("list --sender=@Big.Example --domain=@x.Test --older=1d --larger=1K --limit=7",
                    &r, &error));
    ck_assert_int_eq(r.filter.sender_kind, ADMIN_SENDER_DOMAIN);
    ck_assert_uint_eq(r.filter.sender_hash, admin_hash(SLICE_LITERAL("big.example")));
    ck_assert_uint_eq(r.filter.domain_hash, admin_hash(SLICE_LITERAL("X.TEST")));
    ck_assert_uint_eq(r.filter.older_s, 86400);
    ck_assert_uint_eq(r.filter.size_min, 1025);
    ck_assert_uint_eq(r.filter.limit, 7);
    admin_request_finish(&r);
    ck_assert(parse("list --sender=<> --smaller=1K --younger=1500ms", &r, &error));
    ck_assert_int_eq(r.filter.sender_kind, ADMIN_SENDER_ADDRESS);
    ck_assert_uint_eq(r.filter.sender.len, 0);
    ck_assert_uint_eq(r.filter.size_max, 1023);
    ck_assert_uint_eq(r.filter.younger_s, 2);
    admin_request_finish(&r);
    ck_assert(parse("set all --priority=-3 --hold-until=1h --deliver-by=2026-11-21T22:19:50Z", &r,
                    &error));
    ck_assert_int_eq(r.priority, -3);
    ck_assert_uint_eq(admin_time_s(&r.until, 1000, 1, 2), 4600);
    ck_assert_uint_eq(admin_time_s(&r.deliver_by, 1000, 1, 2), 1795299590);
    admin_request_finish(&r);
    ck_assert(parse("import --skip=1-40,42", &r, &error));
    ck_assert(admin_request_skips(&r, 40) && !admin_request_skips(&r, 41)
              && admin_request_skips(&r, 42) && !admin_request_skips(&r, 43));
    admin_request_finish(&r);
    ck_assert(parse("import --skip=42", &r, &error));
    ck_assert(admin_request_skips(&r, 1) && admin_request_skips(&r, 42)
              && !admin_request_skips(&r, 43));
    admin_request_finish(&r);
    buf_finish(&error);
}
END_TEST

Suite *admin_request_suite(void)
{
    Suite *s = suite_create("admin_request");
    TCase *tc = tcase_create("requests");

    tcase_add_test(tc, words_come_back_as_they_were);
    tcase_add_test(tc, lines);
    tcase_add_test(tc, patterns);
    tcase_add_test(tc, good_requests);
    tcase_add_test(tc, bad_requests);
    tcase_add_test(tc, values);
    suite_add_tcase(s, tc);
    return s;
}
