/*
 * One script, and each operation of it in turn: fails once; fails and all later ones too; or the power
 * goes there. Whatever happens, what was acknowledged is there afterwards.
 */
#include <check.h>
#include <errno.h>

#include "base_mem.h"
#include "spool_priv.h"
#include "spool_world.h"

enum { MESSAGES = 24, PASSES_MAX = 3000 };
enum mode { FAIL_ONE, FAIL_FROM, POWER, MODE_COUNT };

/* What stands between the spool and the simulator. */
static struct {
    struct io_vtable vtable;
    const struct io_vtable *real;
    uint64_t count, at;
    enum mode mode;
    bool gone;        /* the power */
    struct list held; /* ops to fail */
} hook;

struct held {
    struct list node;
    struct io_op *op;
};

static void hook_submit(struct io *io, struct io_op *op)
{
    hook.count++;
    if (hook.mode == POWER && hook.count == hook.at)
        hook.gone = true;
    if ((hook.mode == FAIL_ONE && hook.count == hook.at)
        || (hook.mode == FAIL_FROM && hook.count >= hook.at) || hook.gone) {
        struct held *h = mem_zalloc(sizeof(*h));

        h->op = op;
        list_init(&h->node);
        list_push_back(&hook.held, &h->node);
        return;
    }
    hook.real->submit(io, op);
}

static int hook_wait(struct io *io, uint64_t deadline_ms)
{
    struct list *node = hook.gone ? NULL : list_pop_front(&hook.held);

    if (!node)
        return hook.gone ? 0 : hook.real->wait(io, deadline_ms);
    struct held *h = container_of(node, struct held, node);
    struct io_op *op = h->op;

    mem_free(h);
    op->kind = IO_NONE;
    op->res = -EIO;
    if (op->done)
        op->done(op);
    return 1;
}

static void hook_in(struct spool_world *w, enum mode mode, uint64_t at)
{
    w->io = sim_io_create(w->machine, spool_registered_len(&w->options));
    sim_io_set_stepping(w->io, true);
    hook.real = w->io->vtable;
    hook.vtable = *hook.real;
    hook.vtable.submit = hook_submit;
    hook.vtable.wait = hook_wait;
    hook.mode = mode;
    hook.at = at;
    hook.count = 0;
    hook.gone = false;
    list_init(&hook.held);
    w->io->vtable = &hook.vtable;
}

static void hook_out(void)
{
    struct list *node;

    while ((node = list_pop_front(&hook.held)) != NULL)
        mem_free(container_of(node, struct held, node));
    hook.gone = false;
}

/* ---- the script --------------------------------------------------------------------------- */

struct told {
    uint64_t id;
    size_t len;
    bool acked, outcome_stable;
};

static size_t length(unsigned i)
{
    return i % 6 == 5 ? 90000 : 2000 + 100 * i;
}

static bool pass_until(struct spool_world *w, const bool *flag)
{
    for (unsigned i = 0; i < PASSES_MAX && !*flag && !hook.gone; i++)
        spool_world_pass(w);
    ck_assert(*flag || hook.gone);
    return *flag;
}

/* False if it was not stored: it may have been refused, or the power is gone. */
static bool store(struct spool_world *w, struct test_writer *t, unsigned i, struct told *told)
{
    uint8_t *bytes = test_body(i, length(i));
    struct slice body = slice_of(bytes, length(i)), to = SLICE_LITERAL("r@example.org");
    struct spool_envelope e = {.recipients = &to, .recipient_count = 1};
    enum spool_result result;

    test_writer_init(t, w);
    result = spool_writer_begin(w->s, &t->w, 0);
    if (result == SPOOL_OK) {
        told->id = t->w.id;
        told->len = body.len;
        while ((result = spool_write(&t->w, &body)) == SPOOL_WAIT) {
            t->ready = false;
            if (!pass_until(w, &t->ready))
                break;
        }
        if (result == SPOOL_OK) {
            spool_writer_commit(&t->w, &e);
            if (pass_until(w, &t->is_done))
                told->acked = t->result == SPOOL_OK;
        } else {
            spool_writer_abort(&t->w);
        }
    }
    mem_free(bytes);
    return told->acked;
}

static void script(struct spool_world *w, struct told told[MESSAGES])
{
    static struct test_writer writers[MESSAGES];
    uint64_t tickets[MESSAGES] = {0};

    for (unsigned i = 0; i < MESSAGES && !hook.gone; i++) {
        if (!store(w, &writers[i], i, &told[i]))
            continue;
        if (i % 4 != 0) {
            test_outcome(w, writers[i].message, 0, SPOOL_RECIPIENT_DELIVERED, 0);
            tickets[i] = w->s->own->ticket + w->s->own->deferred_count;
        }
    }
    for (unsigned i = 0; i < 60 && !hook.gone; i++)
        spool_world_pass(w);
    for (unsigned i = 0; i < MESSAGES; i++)
        told[i].outcome_stable = tickets[i] > 0 && tickets[i] <= w->s->own->stable_ticket;
}

static void check(struct spool_world *w, const struct told told[MESSAGES])
{
    for (unsigned i = 0; i < MESSAGES; i++) {
        struct spool_message *m = told[i].id ? spool_find(w->s, told[i].id) : NULL;
        struct buf body = {0};

        if (told[i].outcome_stable)
            ck_assert_ptr_null(m);
        if (told[i].acked && i % 4 == 0)
            ck_assert_ptr_nonnull(m);
        if (!m)
            continue;
        uint8_t *expected = test_body(i, told[i].len);
        ck_assert_int_eq(test_read(w, m, &body, NULL), 0);
        ck_assert(slice_equal(buf_slice(&body), slice_of(expected, told[i].len)));
        mem_free(expected);
        buf_finish(&body);
    }
}

/* False when the script has fewer operations than that. */
static bool one(enum mode mode, uint64_t at, uint64_t seed)
{
    struct told told[MESSAGES] = {0};
    struct spool_world w;

    spool_world_open_seed(&w, seed, NULL);
    w.options.segment_size = 128 << 10;
    w.options.checkpoint_bytes = 128 << 10;
    hook_in(&w, mode, mode == POWER ? 0 : at);
    bool opened = spool_world_start(&w);
    if (opened && mode == POWER)
        hook.at = hook.count + at;
    if (opened)
        script(&w, told);
    bool reached = hook.count >= hook.at;
    if (opened)
        spool_world_crash(&w);
    else
        sim_machine_crash(w.machine);
    w.io = NULL;
    hook_out();
    ck_assert(spool_world_start(&w));
    ck_assert_uint_eq(w.recovery.bad_records, 0);
    check(&w, told);
    ck_assert_ptr_nonnull(test_message(&w, SLICE_LITERAL("goes on"), 1));
    spool_world_close(&w);
    return reached;
}

START_TEST(each)
{
    for (uint64_t at = 1; one((enum mode)_i, at, at); at++)
        continue;
}
END_TEST

Suite *spool_each_op_suite(void)
{
    Suite *suite = suite_create("spool_each_op");
    TCase *tc = tcase_create("each");

    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, each, 0, MODE_COUNT);
    suite_add_tcase(suite, tc);
    return suite;
}
