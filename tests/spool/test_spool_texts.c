/* Why messages wait is known after a restart: from outcomes, from checkpoints, each text once. */
#include <check.h>
#include <stdio.h>

#include "base_mem.h"
#include "spool_priv.h"
#include "spool_world.h"

enum { MANY = 1500, TEXT_MAX = 600 };

/* What a queue would know. */
static struct {
    struct spool_world w;
    uint64_t ids[MANY];
    char texts[MANY][TEXT_MAX + 1];
    unsigned count, reasoned;
} x;

static int number_of(uint64_t id)
{
    for (unsigned i = 0; i < x.count; i++) {
        if (x.ids[i] == id)
            return (int)i;
    }
    return -1;
}

static void on_recovered(void *context, struct spool_message *m)
{
    (void)context;
    ck_assert_ptr_null(m->owner);
    m->owner = &x;
}

static void on_reasoned(void *context, struct spool_message *m, struct slice text)
{
    int i = number_of(m->id);

    (void)context;
    ck_assert_int_ge(i, 0);
    ck_assert_ptr_eq(m->owner, &x); /* behind `recovered` */
    ck_assert_msg(slice_equal(text, slice_head(slice_str(x.texts[i]), SPOOL_OUTCOME_TEXT_MAX)),
                  "%d: %.*s", i, SLICE_ARG(text));
    x.reasoned++;
}

static struct slice on_reason(void *context, const struct spool_message *m)
{
    int i = number_of(m->id);

    (void)context;
    return i >= 0 ? slice_str(x.texts[i]) : SLICE_NULL;
}

static void open_world(void)
{
    memset(&x, 0, sizeof(x));
    spool_world_open(&x.w, SPOOL_WORLD_SIM);
    x.w.options.recovered = on_recovered;
    x.w.options.reasoned = on_reasoned;
    x.w.options.reason = on_reason;
    ck_assert(spool_world_start(&x.w));
}

static struct spool_message *message(unsigned recipients)
{
    struct spool_message *m = test_message(&x.w, SLICE_LITERAL("hi\r\n"), recipients);

    x.ids[x.count++] = m->id;
    return m;
}

static void say(unsigned i, uint32_t recipient, enum spool_recipient_state state, const char *text)
{
    const struct spool_outcome o = {.recipient = recipient,
                                    .state = (uint8_t)state,
                                    .counts = true,
                                    .due_s = 99,
                                    .text = slice_str(text)};

    spool_outcomes(x.w.s, spool_find(x.w.s, x.ids[i]), &o, 1);
    if (state == SPOOL_RECIPIENT_WAITING && *text)
        (void)snprintf(x.texts[i], sizeof(x.texts[i]), "%s", text);
}

static void restart(unsigned expected)
{
    x.reasoned = 0;
    spool_world_stop(&x.w);
    ck_assert(spool_world_start(&x.w));
    ck_assert_uint_eq(x.w.recovery.bad_records, 0);
    ck_assert_uint_eq(x.reasoned, expected);
}

static void checkpoint(void)
{
    struct spool_counters before, c;
    uint8_t *body = test_body(1, 20000);

    spool_counters(x.w.s, &before);
    do {
        struct spool_message *m = test_message(&x.w, slice_of(body, 20000), 1);

        ck_assert_ptr_nonnull(m);
        test_outcome(&x.w, m, 0, SPOOL_RECIPIENT_DELIVERED, 0);
        spool_counters(x.w.s, &c);
    } while (c.checkpoints < before.checkpoints + 2);
    spool_world_settle(&x.w);
    mem_free(body);
}

START_TEST(words)
{
    char longest[TEXT_MAX + 1];

    open_world();
    memset(longest, 'w', TEXT_MAX);
    longest[TEXT_MAX] = '\0';
    for (int i = 0; i < 6; i++)
        (void)message(i == 5 ? 40 : 2);
    say(0, 0, SPOOL_RECIPIENT_WAITING, "451 4.7.1 later");
    say(1, 0, SPOOL_RECIPIENT_WAITING, "451 4.7.1 later");
    say(2, 0, SPOOL_RECIPIENT_WAITING, "450 first");
    say(2, 1, SPOOL_RECIPIENT_WAITING, "450 second");
    say(2, 1, SPOOL_RECIPIENT_WAITING, ""); /* the operator: the words stay */
    say(3, 0, SPOOL_RECIPIENT_BOUNCED, "550 never");
    say(4, 0, SPOOL_RECIPIENT_WAITING, longest);
    say(5, 39, SPOOL_RECIPIENT_WAITING, "452 too many");
    restart(5);
    checkpoint();
    restart(5);
    /* Other words, and the end of one, behind the checkpoint. */
    say(0, 0, SPOOL_RECIPIENT_WAITING, "451 4.7.1 still later");
    say(1, 0, SPOOL_RECIPIENT_DELIVERED, "250 ok");
    say(1, 1, SPOOL_RECIPIENT_DELIVERED, "250 ok");
    restart(4);
    checkpoint();
    restart(4);
    spool_world_close(&x.w);
}
END_TEST

static uint64_t parts_bytes;

static void count_parts(void *context, const char *text)
{
    unsigned long long len;
    const char *at = strstr(text, " part ");

    (void)context;
    at = at ? strstr(at, "len=") : NULL;
    if (at && sscanf(at, "len=%llu", &len) == 1)
        parts_bytes += len;
}

static uint64_t checkpoint_bytes(void)
{
    checkpoint();
    spool_world_stop(&x.w);
    x.w.io = sim_io_create(x.w.machine, 0);
    sim_io_set_stepping(x.w.io, true);
    parts_bytes = 0;
    ck_assert_int_eq(spool_dump(x.w.io, x.w.dir, 0, count_parts, NULL), 0);
    io_destroy(x.w.io);
    x.w.io = NULL;
    x.reasoned = 0;
    ck_assert(spool_world_start(&x.w));
    return parts_bytes;
}

/* A site is down: fifteen hundred messages wait for the same words, which cost nothing; then each hears
 * its own. */
START_TEST(many)
{
    char text[300];

    open_world();
    for (unsigned i = 0; i < MANY; i++)
        (void)message(1);
    for (unsigned i = 0; i < MANY; i++)
        say(i, 0, SPOOL_RECIPIENT_WAITING, "");
    uint64_t silent = checkpoint_bytes();
    ck_assert_uint_eq(x.reasoned, 0);
    memset(text, 's', 250);
    for (unsigned i = 0; i < MANY; i++) {
        text[250] = '\0';
        say(i, 0, SPOOL_RECIPIENT_WAITING, text);
    }
    uint64_t shared = checkpoint_bytes();
    ck_assert_uint_eq(x.reasoned, MANY);
    ck_assert_uint_lt(shared, 2 * silent);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(text + 250, sizeof(text) - 250, "%u", i);
        say(i, 0, SPOOL_RECIPIENT_WAITING, text);
    }
    (void)checkpoint_bytes();
    ck_assert_uint_eq(x.reasoned, MANY);
    restart(MANY);
    spool_world_close(&x.w);
}
END_TEST

Suite *spool_texts_suite(void)
{
    Suite *suite = suite_create("spool_texts");
    TCase *tc = tcase_create("texts");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, words);
    tcase_add_test(tc, many);
    suite_add_tcase(suite, tc);
    return suite;
}
