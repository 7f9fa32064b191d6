/*
 * sim_days_plan: a world of days: what the seed chooses. Everything works but what is chosen here, so that
 * what is promised can be checked to the minute.
 */
#include <stdio.h>

#include "base_mem.h"
#include "sim_days.h"

#define MINUTE (60 * UINT64_C(1000))
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

enum { KIB = 1024 };

bool days_wanted(uint64_t seed)
{
    return seed % 10 == 7;
}

/* ---- next hops ----------------------------------------------------------------------------- */

static uint64_t choose_length(struct rand *r)
{
    switch (rand_below(r, 4)) {
    case 0: return rand_between(r, 2 * MINUTE, 20 * MINUTE);
    case 1: return rand_between(r, 20 * MINUTE, 3 * HOUR);
    case 2: return rand_between(r, 3 * HOUR, 12 * HOUR);
    default: return rand_between(r, 12 * HOUR, 30 * HOUR);
    }
}

static enum mood choose_trouble(struct rand *r)
{
    return (enum mood)rand_between(r, MOOD_UP + 1, MOOD_COUNT - 1);
}

/* Up and in trouble by turns; at the end up, or away for good. */
static void choose_phases(struct days *d, struct rand *r, unsigned sink)
{
    uint64_t at_ms = 0;
    uint32_t count = (uint32_t)rand_below(r, PHASES_MAX);
    bool up = rand_chance(r, 2, 3);

    for (uint32_t i = 0; i <= count; i++, up = !up) {
        struct phase *p = &d->phases[sink][i];
        bool last = i == count;
        p->from_ms = at_ms;
        p->mood = (uint8_t)(up ? MOOD_UP : choose_trouble(r));
        if (last && !up) /* it stays away, or is done with */
            p->mood =
                (uint8_t)(rand_chance(r, 1, 2) ? rand_between(r, MOOD_CLOSED, MOOD_BUSY) : MOOD_UP);
        p->at_mail = rand_chance(r, 1, 2);
        p->period_ms = rand_between(r, MINUTE, 30 * MINUTE);
        d->phase_count[sink]++;
        at_ms += choose_length(r);
    }
}

static uint64_t end_of_phases(const struct days *d)
{
    uint64_t end_ms = 0;

    for (unsigned sink = 0; sink < SINKS; sink++) {
        uint64_t last_ms = d->phases[sink][d->phase_count[sink] - 1].from_ms;
        end_ms = last_ms > end_ms ? last_ms : end_ms;
    }
    return end_ms;
}

/* ---- what happens -------------------------------------------------------------------------- */

static void add_event(struct days *d, uint64_t at_ms, enum days_event_kind kind, int64_t leap_ms)
{
    if (d->event_count < EVENTS_MAX)
        d->events[d->event_count++] =
            (struct days_event){.at_ms = at_ms, .kind = (uint8_t)kind, .leap_ms = leap_ms};
}

/* By a second, as clocks are set right; and by a day, as they are set wrong. */
static int64_t choose_leap(struct rand *r)
{
    static const int64_t leaps[] = {-1000,
                                    1000,
                                    -(int64_t)(9 * MINUTE),
                                    (int64_t)(9 * MINUTE),
                                    (int64_t)(3 * HOUR),
                                    -(int64_t)(3 * HOUR),
                                    (int64_t)DAY,
                                    -(int64_t)DAY,
                                    (int64_t)(30 * DAY)};

    return leaps[rand_below(r, ARRAY_LEN(leaps))];
}

static void choose_events(struct days *d, struct rand *r)
{
    uint64_t end_ms = end_of_phases(d) + 12 * HOUR;
    unsigned kinds = (unsigned)rand_below(r, 1u << DAYS_EVENT_KINDS);
    uint32_t count = (uint32_t)rand_below(r, rand_chance(r, 1, 4) ? EVENTS_MAX : 6);

    kinds &= ~(1u << DAYS_PHASE);
    if (rand_chance(r, 1, 2))
        kinds &= ~(1u << DAYS_LEAP);
    for (uint32_t i = 0; kinds != 0 && i < count; i++) {
        enum days_event_kind kind;
        do
            kind = (enum days_event_kind)rand_below(r, DAYS_EVENT_KINDS);
        while ((kinds & 1u << kind) == 0);
        add_event(d, rand_below(r, end_ms), kind, choose_leap(r));
    }
}

/* ---- mail ---------------------------------------------------------------------------------- */

struct place {
    const char *domain;
    enum fate fate;
};

/* Most of it for a next hop of its own, so that it can be told when it was due. */
static struct place choose_place(struct rand *r)
{
    static const struct place places[] = {
        {"a.test", FATE_TAKE},       {"a.test", FATE_TAKE},         {"a.test", FATE_TAKE},
        {"b.test", FATE_TAKE},       {"b.test", FATE_TAKE},         {"bare.mx.test", FATE_TAKE},
        {"bare.mx.test", FATE_TAKE}, {"b.test", FATE_LATER},        {"a.test", FATE_LATER},
        {"one.mx.test", FATE_TAKE},  {"a.test", FATE_REFUSE},       {"b.test", FATE_NEVER},
        {"box.test", FATE_MAILDIR},  {"dead.mx.test", FATE_SILENT},
    };

    return places[rand_below(r, ARRAY_LEN(places))];
}

static void choose_message(struct world *w, struct message *m)
{
    struct rand *r = &w->rand;

    m->number = w->model.message_count++;
    m->null_sender = rand_chance(r, 1, 10);
    m->sender_fate = (uint8_t)(rand_chance(r, 1, 10) ? FATE_REFUSE : FATE_TAKE);
    if (!m->null_sender)
        (void)snprintf(m->sender, sizeof(m->sender), "s%u@back.test", m->number);
    m->rcpt_count = rand_chance(r, 3, 4) ? 1 : 1 + (uint32_t)rand_below(r, 4);
    for (uint32_t i = 0; i < m->rcpt_count; i++) {
        struct rcpt *rcpt = &m->rcpts[i];
        struct place place = choose_place(r);
        rcpt->fate = (uint8_t)place.fate;
        rcpt->later = (uint8_t)(1 + rand_below(r, 3));
        (void)snprintf(rcpt->address, sizeof(rcpt->address), "r%u.%u@%s", m->number, i,
                       place.domain);
    }
    plan_write_message(w, m, rand_below(r, 3000));
}

/* Some at the beginning, a backlog at some time, a few each now and then. */
static void choose_mail(struct world *w)
{
    struct plan *p = &w->plan;
    struct rand *r = &w->rand;

    p->client_count = 2 + (uint32_t)rand_below(r, CLIENTS_MAX - 1);
    for (uint32_t i = 0; i < p->client_count; i++) {
        struct client_plan *c = &p->clients[i];
        uint32_t most = i == 1 ? 30 : 6;
        c->first = w->model.message_count;
        c->count = 1 + (uint32_t)rand_below(r, most);
        if (c->count > MESSAGES_MAX - c->first)
            c->count = MESSAGES_MAX - c->first;
        c->pipelined = rand_chance(r, 1, 2);
        c->helo = rand_chance(r, 1, 8);
        c->chunk = 4096;
        c->start_ms = i == 0 ? 0 : rand_below(r, 40 * HOUR);
        for (uint32_t k = 0; k < c->count; k++)
            choose_message(w, &w->model.messages[w->model.message_count]);
    }
}

/* ---- configuration ------------------------------------------------------------------------- */

/* The intervals differ between the two configurations, the promises do not. */
static void write_retry(struct days *d, struct rand *r, struct buf *out, struct days_terms *t)
{
    static const unsigned minutes[] = {5, 7, 10, 15, 20, 30, 45, 60};
    unsigned count = 1 + (unsigned)rand_below(r, 4), longest = 0;

    (void)buf_append_str(out, "retry { intervals = {");
    for (unsigned i = 0; i < count; i++) {
        unsigned one = minutes[rand_below(r, ARRAY_LEN(minutes) - 3 + i)];
        longest = one > longest ? one : longest;
        (void)buf_printf(out, "%s\"%um\"", i > 0 ? ", " : "", one);
    }
    (void)buf_printf(out,
                     "} expire = \"%llus\" expire_bounces = \"%llus\" warn_after = \"%llus\" "
                     "jitter = %u }\n",
                     (unsigned long long)(t->expire_ms / 1000),
                     (unsigned long long)(t->expire_bounces_ms / 1000),
                     (unsigned long long)(t->warn_after_ms / 1000), d->jitter);
    if (longest * MINUTE * (100 + d->jitter) / 100 > t->interval_max_ms)
        t->interval_max_ms = longest * MINUTE * (100 + d->jitter) / 100;
}

static void choose_terms(struct rand *r, struct days_terms *t)
{
    t->expire_ms = rand_between(r, 1, 4) * 12 * HOUR;
    t->expire_bounces_ms = rand_between(r, 1, 4) * 6 * HOUR;
    if (t->expire_bounces_ms > t->expire_ms)
        t->expire_bounces_ms = t->expire_ms;
    t->warn_after_ms = rand_below(r, 5) * 2 * HOUR;
}

static void write_route(struct rand *r, struct buf *out, const char *pattern, const char *to)
{
    (void)buf_printf(out, "route \"%s\" { to = %s", pattern, to);
    if (rand_chance(r, 1, 3))
        (void)buf_printf(out, "  connections = %u", 1 + (unsigned)rand_below(r, 3));
    if (rand_chance(r, 1, 4))
        (void)buf_printf(out, "  messages_per_connection = %u", 1 + (unsigned)rand_below(r, 10));
    if (rand_chance(r, 1, 4))
        (void)buf_printf(out, "  recipients_per_message = %u", 1 + (unsigned)rand_below(r, 3));
    (void)buf_printf(out, "  timeout { connect = \"30s\" response = \"%us\" }\n",
                     rand_chance(r, 1, 2) ? 60 : 300);
}

/* The same ways in both. */
static void write_conf(struct world *w, struct buf *out)
{
    struct days *d = w->days;
    struct rand *r = &w->rand;

    plan_write_head(&w->plan, out);
    if (d->postmaster)
        (void)buf_printf(out, "notices { postmaster = \"postmaster@box.test\"%s }\n",
                         d->copies_all ? " copies = {failure, delay, double}" : "");
    write_route(r, out, "a.test", "\"smtp://10.0.1.1:2525\"");
    (void)buf_append_str(out, "}\n");
    write_route(r, out, "b.test", "{\"smtp://10.0.1.9:2525\", \"smtp://10.0.1.2:2525\"}");
    write_retry(d, r, out, &d->terms_b);
    (void)buf_append_str(out, "}\n");
    write_route(r, out, "back.test", "\"smtp://10.0.1.3:2525\"");
    (void)buf_append_str(out, "}\n");
    write_route(r, out, "*", "\"mx\"");
    (void)buf_append_str(out, "}\n");
    write_retry(d, r, out, &d->terms);
    (void)buf_append_str(out, "limits { connections = 64 }\n");
}

void days_plan(struct world *w)
{
    struct plan *p = &w->plan;
    struct rand *r = &w->rand;
    struct days *d = w->days = mem_zalloc(sizeof(*d));

    p->calm = true;
    p->weather = sim_options_default();
    p->weather.lent_strict = true;
    p->weather.latency_max_us = rand_chance(r, 1, 2) ? 400 : 20000;
    p->shards = 1 + (unsigned)rand_below(r, SHARDS_MAX);
    p->segment = 256 * KIB;
    p->staging = (struct spool_options){.batch_slots = 8,
                                        .batch_slot_len = 64 * KIB,
                                        .extent_slots = 4,
                                        .extent_slot_len = 16 * KIB,
                                        .checkpoint_bytes = 16 * KIB,
                                        .spares = 1};
    p->reopen = rand_chance(r, 1, 3);
    d->jitter = (unsigned)rand_below(r, 6) * 10;
    d->postmaster = rand_chance(r, 2, 3);
    d->copies_all = rand_chance(r, 1, 3);
    choose_terms(r, &d->terms);
    d->terms_b = d->terms;
    if (rand_chance(r, 1, 2))
        choose_terms(r, &d->terms_b);
    for (unsigned sink = 0; sink < SINKS; sink++)
        choose_phases(d, r, sink);
    choose_events(d, r);
    write_conf(w, &p->conf);
    write_conf(w, &p->other_conf);
    p->expire_ms = d->terms.expire_ms;
    p->interval_max_ms = d->terms.interval_max_ms;
    p->expire_bounces_ms = d->terms.expire_bounces_ms;
    choose_mail(w);
    /* All of it is at its end by then: mail, a notice about it, and the clock set back by days. */
    d->longest_ms = end_of_phases(d) + 40 * HOUR + 12 * DAY;
    for (uint32_t i = 0; i < d->event_count; i++)
        d->longest_ms += d->events[i].leap_ms < 0 ? (uint64_t)-d->events[i].leap_ms : DAY;
}
