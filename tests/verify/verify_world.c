/* verify_world: see the header. */
#include "verify_world.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base_mem.h"

static struct verify_world *the_world; /* timers have no other way to it */

static void load(struct verify_world *w)
{
    static const char text[] = "hostname = \"mx.example\" spool = \"/spool\"\n"
                               "domain \"inner.example\" { to = \"smtp://10.0.0.9\" }\n"
                               "domain \"plain.example\" { to = \"discard\" }\n"
                               "route \"fixed.example\" { to = \"smtp://10.0.0.8\" }\n"
                               "route \"gone.example\" { to = \"discard\" }\n";
    char path[] = "/tmp/verify-conf-XXXXXX";
    struct conf_errors errors = {0};
    int fd = mkstemp(path);

    ck_assert_int_eq(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    close(fd);
    ck_assert_msg(conf_load(path, &w->conf, &errors), "%s", errors.items[0].text);
    conf_errors_finish(&errors);
    unlink(path);
    ((struct conf_domain *)conf_domain_find(w->conf, slice_str("inner.example")))->callout = true;
    w->conf->verify.recipient_domain = w->conf->verify.sender_domain = true;
    w->conf->verify.callout.timeout = 2000;
    w->conf->verify.callout.defer_unknown = false;
    w->conf->verify.callout.positive = 3600 * 1000;
    w->conf->verify.callout.negative = 600 * 1000;
}

static void answer(const struct verify_world *w, struct verify_ask *a)
{
    if (w->down) {
        a->answer = VERIFY_ANSWER_NONE;
    } else if (w->refuses_for_now) {
        a->answer = VERIFY_ANSWER_LATER;
        a->code = 450;
    } else if (w->takes_any || slice_starts_nocase(a->recipient, SLICE_LITERAL("known"))) {
        a->answer = VERIFY_ANSWER_YES;
        a->code = 250;
    } else {
        a->answer = VERIFY_ANSWER_NO;
        a->code = 550;
        a->enhanced[0] = 5;
        a->enhanced[1] = 1;
        a->enhanced[2] = 6;
        a->text = slice_str(w->words);
    }
}

void verify_world_answer(struct verify_world *w, unsigned n)
{
    struct verify_ask *a = w->asks[n];

    ck_assert_ptr_nonnull(a);
    w->asks[n] = NULL;
    w->open--;
    answer(w, a);
    a->done(a);
}

static void answer_later(struct wheel_timer *timer)
{
    verify_world_answer(the_world, (unsigned)(timer - the_world->timers));
}

static bool ask(void *context, struct verify_ask *a)
{
    struct verify_world *w = context;
    unsigned n = w->asked++;

    ck_assert_uint_lt(n, WORLD_ASKS);
    w->probes += slice_starts_nocase(a->recipient, SLICE_LITERAL("no-such-"));
    (void)snprintf(w->last, sizeof(w->last), "%.*s", SLICE_ARG(a->recipient));
    if (w->at_once) {
        answer(w, a);
        return false;
    }
    w->asks[n] = a;
    w->open++;
    if (w->open > w->open_max)
        w->open_max = w->open;
    wheel_timer_init(&w->timers[n], answer_later);
    if (!w->mute)
        wheel_set(&w->wheel, &w->timers[n], io_now_ms(w->io) + w->latency_ms);
    return true;
}

void verify_world_open(struct verify_world *w)
{
    struct sim_options options = sim_options_default();
    uint32_t entries_max = w->entries_max;

    *w =
        (struct verify_world){.entries_max = entries_max, .words = "No such user", .latency_ms = 5};
    the_world = w;
    w->sim = sim_create(1, &options);
    w->io = sim_io_create(sim_machine_create(w->sim, "10.0.0.1"), 0);
    sim_io_set_stepping(w->io, true);
    wheel_init(&w->wheel, io_now_ms(w->io));
    w->zone = dns_sim_zone_create();
    w->dns = dns_sim_create(w->zone, w->io, &w->wheel, 1, 0, 20);
    load(w);
    ck_assert(ip_parse(SLICE_LITERAL("192.0.2.1"), &w->client));
    w->v = verify_create(&(struct verify_options){.io = w->io,
                                                  .wheel = &w->wheel,
                                                  .dns = w->dns,
                                                  .ask = ask,
                                                  .context = w,
                                                  .entries_max = entries_max});
}

void verify_world_run_ms(struct verify_world *w, uint64_t ms)
{
    uint64_t end_ms = io_now_ms(w->io) + ms;

    for (;;) {
        uint64_t next_ms;

        wheel_advance(&w->wheel, io_now_ms(w->io));
        if (io_now_ms(w->io) >= end_ms)
            return;
        next_ms = wheel_next_ms(&w->wheel);
        (void)io_wait(w->io, next_ms < end_ms ? next_ms : end_ms);
    }
}

static void told(struct verify_query *q)
{
    struct told *t = container_of(q, struct told, q);

    t->done++;
    t->done_ms = io_now_ms(the_world->io);
    ck_assert_int_ne(q->verdict, VERIFY_WAIT);
}

static struct told *next_told(struct verify_world *w)
{
    struct told *t = &w->told[w->told_count++];

    ck_assert_uint_le(w->told_count, WORLD_TOLD);
    *t = (struct told){.q = {.done = told}};
    return t;
}

static struct smtp_address parsed(const char *text)
{
    struct smtp_address address = {0};

    if (text[0] != '\0')
        ck_assert_int_eq(smtp_address_parse(slice_str(text), 0, &address), SMTP_ADDRESS_OK);
    return address;
}

struct told *verify_world_recipient(struct verify_world *w, const char *text)
{
    struct told *t = next_told(w);
    struct smtp_address address = parsed(text);

    (void)verify_recipient(
        w->v, &t->q,
        &(struct verify_question){.conf = w->conf, .recipient = &address, .client = w->client});
    return t;
}

struct told *verify_world_sender(struct verify_world *w, const char *text)
{
    struct told *t = next_told(w);
    struct smtp_address address = parsed(text);

    (void)verify_sender(w->v, &t->q, w->conf, &address);
    return t;
}

struct told *verify_world_wait(struct verify_world *w, struct told *t)
{
    for (int i = 0; i < 10000 && t->q.verdict == VERIFY_WAIT; i++)
        verify_world_run_ms(w, 1);
    ck_assert_int_ne(t->q.verdict, VERIFY_WAIT);
    return t;
}

struct verify_counters verify_world_counters(const struct verify_world *w)
{
    struct verify_counters c;

    verify_counters(w->v, &c);
    return c;
}

void verify_world_close(struct verify_world *w)
{
    for (unsigned i = 0; i < w->told_count; i++)
        verify_give_up(&w->told[i].q);
    verify_stop(w->v);
    for (unsigned i = 0; i < w->asked; i++) {
        if (w->asks[i] != NULL && w->mute)
            verify_world_answer(w, i);
    }
    while (!verify_idle(w->v))
        verify_world_run_ms(w, 10);
    verify_destroy(w->v, false);
    dns_destroy(w->dns);
    ck_assert_uint_eq(w->wheel.count, 0);
    dns_sim_zone_destroy(w->zone);
    ck_assert_uint_eq(atomic_load(&w->conf->refs), 1);
    conf_free(w->conf);
    io_destroy(w->io);
    sim_destroy(w->sim);
}
