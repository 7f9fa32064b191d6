/* Call-outs: answers, how long they hold, who waits how long, and how much a next hop is asked. */
#include <stdio.h>

#include "verify_world.h"

Suite *verify_callout_suite(void);

static struct verify_world w;

static void setup(void)
{
    verify_world_open(&w);
}

static void teardown(void)
{
    verify_world_close(&w);
}

static const struct told *ask(const char *address)
{
    return verify_world_wait(&w, verify_world_recipient(&w, address));
}

/* Without the probe that a first yes makes. */
static unsigned asked(void)
{
    return w.asked - w.probes;
}

START_TEST(known_and_unknown)
{
    const struct told *t = ask("known@inner.example");

    ck_assert_int_eq(t->q.verdict, VERIFY_GOOD);
    t = ask("eve@inner.example");
    ck_assert_int_eq(t->q.verdict, VERIFY_UNKNOWN);
    ck_assert_uint_eq(t->q.reply.code, 550);
    ck_assert_uint_eq(t->q.reply.enhanced[0], 5);
    ck_assert_uint_eq(t->q.reply.enhanced[2], 6); /* the next hop's own */
    ck_assert_msg(
        slice_equal(t->q.reply.text,
                    slice_str("No such recipient: the host behind us says: 550 No such user")),
        "%.*s", SLICE_ARG(t->q.reply.text));
    ck_assert_uint_eq(asked(), 2);
    /* From memory, in any case, and without quotes where they say nothing. */
    ck_assert_int_eq(verify_world_recipient(&w, "Known@INNER.example")->q.verdict, VERIFY_GOOD);
    ck_assert_int_eq(verify_world_recipient(&w, "\"known\"@inner.example")->q.verdict, VERIFY_GOOD);
    t = verify_world_recipient(&w, "EVE@inner.example");
    ck_assert_int_eq(t->q.verdict, VERIFY_UNKNOWN);
    ck_assert_uint_gt(t->q.reply.text.len, 20);
    ck_assert_uint_eq(asked(), 2);
}
END_TEST

START_TEST(words_are_harmless)
{
    char words[1000];
    const struct told *t;

    memset(words, 'x', sizeof(words) - 1);
    words[sizeof(words) - 1] = '\0';
    memcpy(words, "a\r\n250 b\x01\x7f\xff", 12);
    w.words = words;
    t = ask("eve@inner.example");
    ck_assert_uint_lt(t->q.reply.text.len, VERIFY_WORDS_MAX);
    for (size_t i = 0; i < t->q.reply.text.len; i++)
        ck_assert(t->q.reply.text.data[i] >= ' ' && t->q.reply.text.data[i] < 127);
}
END_TEST

START_TEST(asked_once)
{
    struct told *t[50];

    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        t[i] = verify_world_recipient(&w, "known@inner.example");
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        verify_world_wait(&w, t[i]);
    verify_world_run_ms(&w, 100);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        ck_assert_uint_eq(t[i]->done, 1);
    ck_assert_uint_eq(asked(), 1);
    ck_assert_uint_eq(w.probes, 1);
}
END_TEST

START_TEST(kept_and_refreshed)
{
    (void)ask("known@inner.example");
    (void)ask("eve@inner.example");
    ck_assert_uint_eq(asked(), 2);
    verify_world_run_ms(&w, 601 * 1000); /* the negative one is over */
    ck_assert_int_eq(verify_world_recipient(&w, "known@inner.example")->q.verdict, VERIFY_GOOD);
    ck_assert_uint_eq(asked(), 2);
    ck_assert_int_eq(ask("eve@inner.example")->q.verdict, VERIFY_UNKNOWN);
    ck_assert_uint_eq(asked(), 3);
    /* In the last quarter of its hour the positive one is asked for again, and nobody waits. */
    verify_world_run_ms(&w, 2300 * 1000);
    ck_assert_int_eq(verify_world_recipient(&w, "known@inner.example")->q.verdict, VERIFY_GOOD);
    ck_assert_uint_eq(asked(), 4);
    verify_world_run_ms(&w, 1000 * 1000);
    ck_assert_int_eq(verify_world_recipient(&w, "known@inner.example")->q.verdict, VERIFY_GOOD);
    ck_assert_uint_eq(asked(), 4);
    verify_world_run_ms(&w, 3700 * 1000); /* nobody asked meanwhile: it is over */
    ck_assert_int_eq(verify_world_recipient(&w, "known@inner.example")->q.verdict, VERIFY_WAIT);
}
END_TEST

START_TEST(no_answer)
{
    const struct told *t;

    w.down = true;
    t = ask("known@inner.example");
    ck_assert_int_eq(t->q.verdict, VERIFY_NO_ANSWER);
    ck_assert(!verify_refuses(t->q.verdict));
    /* The others do not have to find out: it is left alone for some seconds. */
    ck_assert_int_eq(verify_world_recipient(&w, "known2@inner.example")->q.verdict,
                     VERIFY_NO_ANSWER);
    ck_assert_uint_eq(w.asked, 1);
    w.down = false;
    verify_world_run_ms(&w, 11 * 1000);
    ck_assert_int_eq(ask("known@inner.example")->q.verdict,
                     VERIFY_GOOD); /* as soon as it is back */
    ck_assert_int_eq(ask("eve@inner.example")->q.verdict, VERIFY_UNKNOWN);
}
END_TEST

START_TEST(no_answer_defers)
{
    const struct told *t;

    w.conf->verify.callout.defer_unknown = true;
    w.refuses_for_now = true;
    t = ask("known@inner.example");
    ck_assert_int_eq(t->q.verdict, VERIFY_SILENT);
    ck_assert_uint_eq(t->q.reply.code, 450);
    ck_assert_int_eq(verify_world_recipient(&w, "known@inner.example")->q.verdict, VERIFY_SILENT);
    ck_assert_uint_eq(w.asked, 1);
    w.refuses_for_now = false;
    ck_assert_int_eq(ask("known2@inner.example")->q.verdict,
                     VERIFY_GOOD); /* it said 450, but is up */
    verify_world_run_ms(&w, 61 * 1000);
    ck_assert_int_eq(ask("known@inner.example")->q.verdict, VERIFY_GOOD);
}
END_TEST

/* What it had said before it fell silent holds on. */
START_TEST(known_while_down)
{
    w.conf->verify.callout.defer_unknown = true;
    (void)ask("known@inner.example");
    verify_world_run_ms(&w, 3601 * 1000);
    w.down = true;
    ck_assert_int_eq(ask("known@inner.example")->q.verdict, VERIFY_GOOD);
    ck_assert_int_eq(verify_world_recipient(&w, "known@inner.example")->q.verdict, VERIFY_GOOD);
    ck_assert_int_eq(verify_world_recipient(&w, "known2@inner.example")->q.verdict, VERIFY_SILENT);
}
END_TEST

START_TEST(patience)
{
    struct told *t;
    uint64_t began_ms = io_now_ms(w.io);

    w.mute = true;
    t = verify_world_recipient(&w, "known@inner.example");
    verify_world_wait(&w, t);
    ck_assert_int_eq(t->q.verdict, VERIFY_NO_ANSWER);
    ck_assert_uint_ge(t->done_ms, began_ms + 2000);
    ck_assert_uint_lt(t->done_ms, began_ms + 2050);
    /* The answer comes later, and counts from then on. */
    verify_world_answer(&w, 0);
    ck_assert_int_eq(verify_world_recipient(&w, "known@inner.example")->q.verdict, VERIFY_GOOD);
}
END_TEST

START_TEST(answered_at_once)
{
    struct told *t;

    w.at_once = true;
    t = verify_world_recipient(&w, "known@inner.example");
    ck_assert_int_eq(t->q.verdict, VERIFY_WAIT);
    ck_assert_int_eq(verify_world_wait(&w, t)->q.verdict, VERIFY_GOOD);
    ck_assert_uint_eq(t->done, 1);
    ck_assert_int_eq(ask("eve@inner.example")->q.verdict, VERIFY_UNKNOWN);
}
END_TEST

/* A next hop that takes an address nobody has takes any: it is not asked any more, for a while. */
START_TEST(takes_anybody)
{
    w.takes_any = true;
    ck_assert_int_eq(ask("ann@inner.example")->q.verdict, VERIFY_GOOD);
    verify_world_run_ms(&w, 100);
    ck_assert_uint_eq(w.probes, 1);
    ck_assert_ptr_nonnull(strstr(w.last, "@inner.example"));
    ck_assert_uint_eq(w.asked, 2);
    for (int i = 0; i < 100; i++) {
        char address[64];
        (void)snprintf(address, sizeof(address), "u%d@inner.example", i);
        ck_assert_int_eq(verify_world_recipient(&w, address)->q.verdict, VERIFY_GOOD);
    }
    ck_assert_uint_eq(w.asked, 2);
    ck_assert_uint_eq(verify_world_counters(&w).catch_all, 100);
    w.takes_any = false; /* it has changed its mind */
    verify_world_run_ms(&w, 3601 * 1000);
    ck_assert_int_eq(ask("u5@inner.example")->q.verdict, VERIFY_UNKNOWN);
    ck_assert_int_eq(ask("known@inner.example")->q.verdict, VERIFY_GOOD);
    verify_world_run_ms(&w, 100);
    ck_assert_uint_eq(w.probes, 2);
    ck_assert_int_eq(ask("known2@inner.example")->q.verdict, VERIFY_GOOD);
    verify_world_run_ms(&w, 100);
    ck_assert_uint_eq(w.probes, 2); /* known for a day */
}
END_TEST

/* A dictionary: after so many that do not exist the client gets no more answers, but others do. */
START_TEST(dictionary)
{
    unsigned refused = 0, limited = 0;
    char address[64];

    for (int i = 0; i < 200; i++) {
        const struct told *t;
        (void)snprintf(address, sizeof(address), "guess%d@inner.example", i);
        t = ask(address);
        refused += t->q.verdict == VERIFY_UNKNOWN;
        limited += t->q.verdict == VERIFY_TOO_MANY;
        if (t->q.verdict == VERIFY_TOO_MANY)
            ck_assert_uint_eq(t->q.reply.code, 450);
    }
    ck_assert_uint_ge(refused, 50);
    ck_assert_uint_le(refused, 52);
    ck_assert_uint_eq(refused + limited, 200);
    ck_assert_uint_eq(w.asked, refused);
    ck_assert_int_eq(ask("guess1@inner.example")->q.verdict, VERIFY_UNKNOWN); /* from memory */
    ck_assert(ip_parse(SLICE_LITERAL("192.0.2.2"), &w.client));
    ck_assert_int_eq(ask("guess199@inner.example")->q.verdict, VERIFY_UNKNOWN);
    ck_assert(ip_parse(SLICE_LITERAL("192.0.2.1"), &w.client));
    verify_world_run_ms(&w, 13 * 1000);
    ck_assert_int_eq(ask("guess190@inner.example")->q.verdict, VERIFY_UNKNOWN);
}
END_TEST

START_TEST(networks_of_ipv6)
{
    char address[64], ip[64];

    for (int i = 0; i < 60; i++) {
        (void)snprintf(ip, sizeof(ip), "2001:db8::%x", i + 1);
        ck_assert(ip_parse(slice_str(ip), &w.client));
        (void)snprintf(address, sizeof(address), "guess%d@inner.example", i);
        (void)ask(address);
    }
    ck_assert_uint_le(w.asked, 52);
    ck_assert(ip_parse(SLICE_LITERAL("2001:db8:0:1::1"), &w.client));
    ck_assert_int_eq(ask("other@inner.example")->q.verdict, VERIFY_UNKNOWN);
}
END_TEST

/* So many questions at a time, and so many a second. */
START_TEST(gently)
{
    char address[64];
    uint64_t began_ms = io_now_ms(w.io);

    for (int i = 0; i < 150; i++) {
        (void)snprintf(address, sizeof(address), "known%d@inner.example", i);
        (void)verify_world_recipient(&w, address);
    }
    for (unsigned i = 0; i < 150; i++)
        ck_assert_int_eq(verify_world_wait(&w, &w.told[i])->q.verdict, VERIFY_GOOD);
    ck_assert_uint_eq(w.open_max, 10);
    ck_assert_uint_ge(io_now_ms(w.io) - began_ms, 50 * 20 - 200);
    ck_assert_uint_le(io_now_ms(w.io) - began_ms, 1500);
}
END_TEST

/* Who is still in line when his time is over is told to come back; mail is not taken unseen because many ask. */
START_TEST(line_is_no_answer)
{
    char address[64];
    unsigned silent = 0, too_many = 0;

    w.mute = true;
    for (int i = 0; i < 1100; i++) {
        (void)snprintf(address, sizeof(address), "known%d@inner.example", i);
        (void)verify_world_recipient(&w, address);
    }
    verify_world_run_ms(&w, 2100);
    for (unsigned i = 0; i < 1100; i++) {
        silent += w.told[i].q.verdict == VERIFY_NO_ANSWER;
        too_many += w.told[i].q.verdict == VERIFY_TOO_MANY;
    }
    ck_assert_uint_eq(silent, 10);
    ck_assert_uint_eq(too_many, 1090);
    ck_assert_uint_eq(w.asked, 10);
}
END_TEST

START_TEST(given_up)
{
    struct told *t = verify_world_recipient(&w, "known@inner.example");

    verify_give_up(&t->q);
    verify_world_run_ms(&w, 100);
    ck_assert_uint_eq(t->done, 0);
    ck_assert_int_eq(verify_world_recipient(&w, "known@inner.example")->q.verdict, VERIFY_GOOD);
}
END_TEST

START_TEST(another_configuration)
{
    (void)ask("eve@inner.example");
    w.takes_any = true; /* the domain goes elsewhere now */
    w.conf->generation++;
    ck_assert_int_eq(ask("eve@inner.example")->q.verdict, VERIFY_GOOD);
}
END_TEST

START_TEST(stopped)
{
    struct told *t[30];
    char address[64];

    w.mute = true;
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        (void)snprintf(address, sizeof(address), "known%zu@inner.example", i);
        t[i] = verify_world_recipient(&w, address);
    }
    verify_stop(w.v);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        ck_assert_uint_eq(t[i]->done, 1);
        ck_assert_int_eq(t[i]->q.verdict, VERIFY_TOO_MANY);
    }
    ck_assert(!verify_idle(w.v));
    ck_assert_uint_eq(w.asked, 10);
    ck_assert_int_eq(verify_world_recipient(&w, "known@inner.example")->q.verdict, VERIFY_TOO_MANY);
}
END_TEST

Suite *verify_callout_suite(void)
{
    Suite *s = suite_create("verify_callout");
    TCase *tc = tcase_create("call-outs");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, known_and_unknown);
    tcase_add_test(tc, words_are_harmless);
    tcase_add_test(tc, asked_once);
    tcase_add_test(tc, kept_and_refreshed);
    tcase_add_test(tc, no_answer);
    tcase_add_test(tc, no_answer_defers);
    tcase_add_test(tc, known_while_down);
    tcase_add_test(tc, patience);
    tcase_add_test(tc, answered_at_once);
    tcase_add_test(tc, takes_anybody);
    tcase_add_test(tc, dictionary);
    tcase_add_test(tc, networks_of_ipv6);
    tcase_add_test(tc, gently);
    tcase_add_test(tc, line_is_no_answer);
    tcase_add_test(tc, given_up);
    tcase_add_test(tc, another_configuration);
    tcase_add_test(tc, stopped);
    suite_add_tcase(s, tc);
    return s;
}
