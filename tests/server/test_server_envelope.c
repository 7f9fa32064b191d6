/* Recipients of a message: each once, all of several or none, and nobody loses a notice. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base_assert.h"
#include "server_envelope_priv.h"
#include "smtp_dsn.h"

Suite *server_envelope_suite(void);

static struct conf *conf;
static struct arena arena;
static struct envelope e;
static const struct spool_dsn nothing;

static void setup(void)
{
    static const char text[] = "hostname = mx.example domain ours.example { to = discard }\n";
    char path[] = "/tmp/envelope-conf-XXXXXX";
    struct conf_errors errors = {0};
    int fd = mkstemp(path);

    ck_assert_int_eq(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    close(fd);
    ck_assert(conf_load(path, &conf, &errors));
    conf_errors_finish(&errors);
    unlink(path);
    arena_init(&arena, ENVELOPE_ARENA_MAX);
    e = (struct envelope){.arena = &arena};
}

static void teardown(void)
{
    arena_reset(&arena);
    conf_free(conf);
}

static bool add(const char *address, uint8_t notify, const char *orcpt, uint8_t flags)
{
    struct spool_dsn dsn = {slice_str(orcpt), notify, flags};
    struct slice text = slice_str(address);

    ck_assert(envelope_has_room(&e, conf, &text, 1, &dsn, 0));
    return envelope_add(&e, conf, text, &dsn);
}

static const struct {
    const char *first, *second;
    bool same;
} pairs[] = {
    {"ann@ours.example", "ann@ours.example", true},
    {"ann@ours.example", "Ann@OURS.example", true},
    {"ann@ours.example", "\"ann\"@ours.example", true},
    {"\"Ann\"@ours.example", "\"a\\nn\"@ours.example", true},
    {"ann@ours.example", "ann+x@ours.example", false},
    {"ann@far.example", "ann@FAR.example", true},
    {"ann@far.example", "Ann@far.example", false}, /* theirs to say */
    {"ann@far.example", "\"ann\"@far.example", true},
    {"\"Ann\"@far.example", "ann@far.example", false},
    {"\"a@b\"@far.example", "\"a@b\"@FAR.example", true},
    {"\"A@b\"@far.example", "\"a@b\"@far.example", false},
    {"ann@ours.example", "ann@ours.example.far", false},
    {"ann@[192.0.2.1]", "ann@[192.0.2.1]", true},
    {"postmaster@ours.example", "POSTMASTER@ours.example", true},
};

/* Among few, and among many. */
START_TEST(which_are_one)
{
    char other[64];

    for (int many = 0; many < 2; many++) {
        teardown();
        setup();
        for (int i = 0; many && i < 300; i++) {
            (void)snprintf(other, sizeof(other), "u%d@ours.example", i);
            ck_assert(add(other, 0, "", 0));
        }
        ck_assert(add(pairs[_i].first, 0, "", 0));
        ck_assert_msg(add(pairs[_i].second, 0, "", 0) != pairs[_i].same, "%s %s", pairs[_i].first,
                      pairs[_i].second);
        ck_assert_uint_eq(e.count, (many ? 300 : 0) + (pairs[_i].same ? 1 : 2));
        ck_assert(e.dsn == NULL);
    }
}
END_TEST

START_TEST(order_and_texts_stay)
{
    char text[64];

    for (int i = 0; i < 5000; i++) {
        (void)snprintf(text, sizeof(text), "u%d@far.example", i);
        ck_assert(add(text, 0, "", 0));
    }
    memset(text, 0, sizeof(text));
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(text, sizeof(text), "u%d@far.example", i);
        ck_assert(slice_equal(e.recipients[i], slice_str(text)));
        ck_assert(!add(text, 0, "", 0));
    }
    ck_assert_uint_eq(e.count, 5000);
}
END_TEST

#define N SPOOL_NOTIFY_NEVER
#define S SPOOL_NOTIFY_SUCCESS
#define F SPOOL_NOTIFY_FAILURE
#define D SPOOL_NOTIFY_DELAY

static const struct {
    uint8_t a, b, both;
} notify[] = {
    {0, 0, 0},         {0, N, 0},     {N, N, N},     {N, S, S}, {N, F, F},         {S, F, S | F},
    {0, S, S | F | D}, {0, F, F | D}, {F, D, F | D}, {S, S, S}, {F | D, 0, F | D},
};

START_TEST(notices_are_joined)
{
    for (size_t i = 0; i < ARRAY_LEN(notify); i++) {
        ck_assert_uint_eq(envelope_join_notify(notify[i].a, notify[i].b), notify[i].both);
        ck_assert_uint_eq(envelope_join_notify(notify[i].b, notify[i].a), notify[i].both);
    }
    ck_assert(add("a@far.example", 0, "", 0));
    ck_assert(add("b@far.example", 0, "", 0));
    ck_assert(!add("b@far.example", 0, "rfc822;x@y.example", 0));
    ck_assert(e.dsn == NULL);
    ck_assert(!add("b@far.example", S, "",
                   0)); /* the first that says something, and it is there already */
    ck_assert_uint_eq(e.dsn[1].notify, S | F | D);
    ck_assert_uint_eq(e.dsn[0].notify, 0);
    ck_assert(add("c@far.example", N, "rfc822;c@old.example", 0));
    ck_assert(!add("c@far.example", F, "rfc822;other@old.example", 0));
    ck_assert_uint_eq(e.dsn[2].notify, F);
    ck_assert(slice_equal(e.dsn[2].orcpt, slice_str("rfc822;c@old.example")));
}
END_TEST

/* The place of an alias is not that of the mailbox of the same name. */
START_TEST(alias_and_mailbox)
{
    ck_assert(add("ann@ours.example", F, "", 0));
    ck_assert(add("ann@ours.example", S, "", SPOOL_RECIPIENT_EXPANDED));
    ck_assert(!add("ann@ours.example", S, "", SPOOL_RECIPIENT_EXPANDED));
    ck_assert(!add("ann@ours.example", F, "", 0));
    ck_assert_uint_eq(e.count, 2);
    ck_assert_uint_eq(e.dsn[0].notify, F);
    ck_assert_uint_eq(e.dsn[0].flags, 0);
    ck_assert_uint_eq(e.dsn[1].notify, S);
}
END_TEST

START_TEST(notices_of_targets)
{
    ck_assert_uint_eq(envelope_notify_of_targets(0), 0);
    ck_assert_uint_eq(envelope_notify_of_targets(N), N);
    ck_assert_uint_eq(envelope_notify_of_targets(S), N); /* of failures nobody wanted to hear */
    ck_assert_uint_eq(envelope_notify_of_targets(S | F), F);
    ck_assert_uint_eq(envelope_notify_of_targets(F | D), F | D);
}
END_TEST

START_TEST(original_recipients)
{
    static const char *const cases[][2] = {
        {"list@ours.example", "rfc822;list@ours.example"},
        {"a+b=c@ours.example", "rfc822;a+2Bb+3Dc@ours.example"},
        {"\"a b\"@ours.example", "rfc822;\"a+20b\"@ours.example"},
        {"\xc3\xa4@ours.example", ""},
    };
    char large[SMTP_PATH_MAX];
    struct slice got;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        got = envelope_orcpt(&arena, slice_str(cases[i][0]));
        ck_assert_msg(slice_equal(got, slice_str(cases[i][1])), "%.*s", SLICE_ARG(got));
        ck_assert(got.len == 0 || smtp_orcpt_valid(got, 0));
    }
    memset(large, '+', sizeof(large));
    ck_assert_uint_eq(envelope_orcpt(&arena, slice_of(large, sizeof(large))).len, 0);
}
END_TEST

START_TEST(bounded)
{
    static struct slice all[ENVELOPE_RECIPIENTS_MAX + 1];
    static char texts[ENVELOPE_RECIPIENTS_MAX + 1][24];
    char large[SMTP_PATH_MAX];
    struct slice text = slice_of(large, sizeof(large));
    unsigned count = 0;

    for (int i = 0; i <= ENVELOPE_RECIPIENTS_MAX; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "%d@a.example", i);
        all[i] = slice_str(texts[i]);
    }
    ck_assert(envelope_has_room(&e, conf, all, ENVELOPE_RECIPIENTS_MAX, &nothing, 0));
    ck_assert(!envelope_has_room(&e, conf, all, ENVELOPE_RECIPIENTS_MAX, &nothing, 10));
    ck_assert(!envelope_has_room(&e, conf, all, ENVELOPE_RECIPIENTS_MAX + 1, &nothing, 0));
    for (int i = 0; i < ENVELOPE_RECIPIENTS_MAX; i++)
        ck_assert(envelope_add(&e, conf, all[i], &nothing));
    /* What is there already needs no room. */
    ck_assert(envelope_has_room(&e, conf, all, ENVELOPE_RECIPIENTS_MAX, &nothing, 0));
    ck_assert(!envelope_has_room(&e, conf, all + ENVELOPE_RECIPIENTS_MAX, 1, &nothing, 0));
    teardown();
    setup();
    /* A thousand of the greatest length. */
    memset(large, 'x', sizeof(large));
    memcpy(large + sizeof(large) - 10, "@a.example", 10);
    for (; count < 5000; count++) {
        (void)snprintf(large, 8, "%07u", count);
        large[7] = 'x';
        if (!envelope_has_room(&e, conf, &text, 1, &nothing, 0))
            break;
        ck_assert(envelope_add(&e, conf, text, &nothing));
    }
    ck_assert_uint_ge(count, 1000);
    ck_assert_uint_lt(count, 2000);
}
END_TEST

Suite *server_envelope_suite(void)
{
    Suite *s = suite_create("server_envelope");
    TCase *tc = tcase_create("recipients");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, which_are_one, 0, (int)ARRAY_LEN(pairs));
    tcase_add_test(tc, order_and_texts_stay);
    tcase_add_test(tc, notices_are_joined);
    tcase_add_test(tc, alias_and_mailbox);
    tcase_add_test(tc, notices_of_targets);
    tcase_add_test(tc, original_recipients);
    tcase_add_test(tc, bounded);
    suite_add_tcase(s, tc);
    return s;
}
