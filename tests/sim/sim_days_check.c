/*
 * sim_days_check: what is promised about time, and looked at when all is over.
 *
 *   - A recipient is given up when the time of his route is over, not before and not much later; and not
 *     if his host was there for long enough meanwhile.
 *   - A sender is told of a delay when it is time, once, if somebody still waits then.
 *   - Mail flows again soon after its host has come back: a probe, a ramp.
 *   - A notice that cannot be delivered is given up after its own time, and the postmaster reads of it.
 *   - A host that is away is asked now and then, however much waits for it, and what waits costs nothing.
 */
#include <stdio.h>

#include "sim_days.h"

#define MINUTE (60 * UINT64_C(1000))
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

#define NO_MESSAGE UINT32_MAX

enum { NO_SINK = SINKS };

static unsigned long long in_s(uint64_t ms)
{
    return (unsigned long long)(ms / 1000);
}

/* ---- who is where -------------------------------------------------------------------------- */

static bool is_at(struct slice address, const char *domain)
{
    size_t len = strlen(domain);

    return address.len > len && address.data[address.len - len - 1] == '@'
           && memcmp(address.data + address.len - len, domain, len) == 0;
}

const struct days_terms *days_terms_of(const struct world *w, struct slice address)
{
    return is_at(address, "b.test") ? &w->days->terms_b : &w->days->terms;
}

/* The one next hop of the address; NO_SINK: it has several, or none. */
static unsigned sink_of(struct slice address)
{
    if (is_at(address, "a.test"))
        return 0;
    if (is_at(address, "b.test"))
        return 1;
    return is_at(address, "bare.mx.test") || is_at(address, "back.test") ? 2 : NO_SINK;
}

/* ---- the log ------------------------------------------------------------------------------- */

static struct days_notice *notice_find(struct days *d, uint64_t id)
{
    for (uint32_t i = 0; i < d->notice_count; i++) {
        if (d->notices[i].id == id)
            return &d->notices[i];
    }
    return NULL;
}

static uint32_t message_find(const struct world *w, uint64_t id)
{
    for (uint32_t i = 0; i < w->model.message_count; i++) {
        if (w->model.messages[i].id == id)
            return i;
    }
    return NO_MESSAGE;
}

static uint64_t id_in(struct slice line, const char *key)
{
    uint64_t id = 0;

    (void)id_from_text(model_log_value(line, key), &id);
    return id;
}

static void log_notice(struct world *w, struct slice line)
{
    struct days *d = w->days;
    struct days_notice *n = &d->notices[d->notice_count++], *about;

    WORLD_CHECK(w, d->notice_count < NOTICES_MAX, "%u notices", d->notice_count);
    *n = (struct days_notice){
        .id = id_in(line, " message="),
        .about = id_in(line, " about="),
        .message = message_find(w, id_in(line, " about=")),
        .delay = slice_equal(model_log_value(line, " kind="), SLICE_LITERAL("delay")),
        .to_postmaster = is_at(model_log_value(line, " to="), "box.test"),
        .made_ms = world_now_ms(w)};
    d->copies += n->to_postmaster;
    about = notice_find(d, n->about);
    WORLD_CHECK(w, about != NULL || n->message != NO_MESSAGE, "a notice about nothing known");
    WORLD_CHECK(w, about == NULL || (n->to_postmaster && !about->to_postmaster && !n->delay),
                "P4: a notice about a notice");
    if (about != NULL)
        about->told = true;
    if (about == NULL && n->delay && d->delay_told_ms[n->message] == 0)
        d->delay_told_ms[n->message] = n->made_ms;
}

static void log_deferred(struct world *w, struct slice line)
{
    struct slice to = model_log_value(line, " to=");
    struct message *m = NULL;
    unsigned sink = sink_of(to);

    if (model_rcpt(&w->model, to, &m) != NULL && m->rcpt_count == 1 && sink != NO_SINK)
        days_phase_at(w, sink, world_now_ms(w))->deferrals++;
}

void days_log(struct world *w, struct slice event, struct slice line)
{
    struct days_notice *n;

    if (slice_equal(event, SLICE_LITERAL("bounce-sent"))) {
        log_notice(w, line);
    } else if (slice_equal(event, SLICE_LITERAL("deferred"))) {
        log_deferred(w, line);
    } else if (slice_equal(event, SLICE_LITERAL("bounced"))) {
        n = notice_find(w->days, id_in(line, " message="));
        if (n != NULL && n->dropped_ms == 0)
            n->dropped_ms = world_now_ms(w);
    }
}

/* ---- clocks -------------------------------------------------------------------------------- */

static uint32_t count_between(const uint64_t *times, uint32_t count, uint64_t from_ms,
                              uint64_t to_ms)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < count; i++)
        n += times[i] >= from_ms && times[i] <= to_ms;
    return n;
}

static uint32_t boots_between(const struct world *w, uint64_t from_ms, uint64_t to_ms)
{
    return count_between(w->days->boots_ms, w->days->boots, from_ms, to_ms);
}

/* How old a message may seem by then: a leap of the clock counts when it is a day ago, or the server has begun
 * anew since. */
static uint64_t most_age_ms(const struct world *w, uint64_t from_ms, uint64_t to_ms)
{
    const struct days *d = w->days;
    uint64_t age_ms = to_ms - from_ms;

    for (uint32_t i = 0; i < d->event_count; i++) {
        const struct days_event *e = &d->events[i];
        uint64_t at_ms = d->start_ms + e->at_ms;
        if (e->kind != DAYS_LEAP || !e->done || e->leap_ms <= 0 || at_ms < from_ms || at_ms > to_ms)
            continue;
        if ((uint64_t)e->leap_ms < 10 * MINUTE || to_ms - at_ms >= DAY - 10 * MINUTE
            || boots_between(w, at_ms, to_ms) > 0)
            age_ms += (uint64_t)e->leap_ms;
    }
    return age_ms;
}

static bool clock_leapt(const struct world *w)
{
    return days_leaps_forward(w, 0, UINT64_MAX) + days_leaps_back(w, 0, UINT64_MAX) > 0;
}

static uint32_t leaps_to_forgive(const struct world *w)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < w->days->event_count; i++) {
        const struct days_event *e = &w->days->events[i];
        n += e->kind == DAYS_LEAP && e->done && e->leap_ms >= (int64_t)(10 * MINUTE);
    }
    return n;
}

/* That a thing may be late by: attempts that hang, a start, a queue that looks at the clock each hour. */
static uint64_t slack_ms(const struct world *w, const struct days_terms *t)
{
    uint64_t ms = 30 * MINUTE;

    if (clock_leapt(w))
        ms += 75 * MINUTE + t->interval_max_ms;
    if (leaps_to_forgive(w) > 1) /* all of them for all, until the last one is a day ago */
        ms += (leaps_to_forgive(w) - 1) * DAY;
    return ms;
}

/* ---- given up ------------------------------------------------------------------------------ */

static const struct days_order *order_of(const struct world *w, const struct message *m)
{
    return &w->days->orders[m->number];
}

/* When it ended for the recipient, whichever way. */
static uint64_t end_of(const struct rcpt *r)
{
    return r->got_ms != 0 ? r->got_ms : r->said_bounced_ms;
}

static uint64_t limit_ms(const struct world *w, const struct message *m, uint64_t after_ms,
                         uint64_t to_ms, const struct days_terms *t)
{
    uint64_t due_ms = m->said_accepted_ms + after_ms;

    if (due_ms < order_of(w, m)->free_ms)
        due_ms = order_of(w, m)->free_ms;
    return due_ms + days_leaps_back(w, m->said_accepted_ms, to_ms) + slack_ms(w, t);
}

/* Nothing comes of it while it is held, but what was under way; a crash may take a hold back that was not
 * written down yet. */
static void check_held(struct world *w, const struct message *m, const struct rcpt *r)
{
    const struct days_order *o = order_of(w, m);
    uint64_t end_ms = end_of(r);

    if (o->returned || clock_leapt(w))
        return;
    WORLD_CHECK(w,
                end_ms < o->held_from_ms + 30 * MINUTE || end_ms + 5000 >= o->held_until_ms
                    || boots_between(w, o->held_from_ms, o->held_from_ms + 10 * MINUTE) > 0,
                "message %u was held, and came to an end for %s", m->number, r->address);
    WORLD_CHECK(w, end_ms < o->ruled_from_ms + 30 * MINUTE || end_ms + 5000 >= o->ruled_until_ms,
                "message %u was held by a rule, and came to an end for %s", m->number, r->address);
}

static void check_expired(struct world *w, const struct message *m, const struct rcpt *r)
{
    const struct days_terms *t = days_terms_of(w, slice_str(r->address));
    const struct days_order *o = order_of(w, m);
    uint64_t acc_ms = m->said_accepted_ms, end_ms = end_of(r);
    uint64_t by_ms = o->deliver_by_ms, forward_ms = days_leaps_forward(w, acc_ms, end_ms);

    WORLD_CHECK(
        w, end_ms <= limit_ms(w, m, t->expire_ms, end_ms, t),
        "message %u for %s came to its end %llu s after it was taken; it expires after %llu s",
        m->number, r->address, in_s(end_ms - acc_ms), in_s(t->expire_ms));
    check_held(w, m, r);
    if (r->said_bounced_ms == 0 || r->refused > 0 || o->returned)
        return;
    if (by_ms != 0 && r->said_bounced_ms + forward_ms + 5000 >= by_ms)
        return;
    WORLD_CHECK(w, most_age_ms(w, acc_ms, r->said_bounced_ms) + 5000 >= t->expire_ms,
                "message %u was given up for %s after %llu s, not %llu", m->number, r->address,
                in_s(r->said_bounced_ms - acc_ms), in_s(t->expire_ms));
}

/* ---- told ---------------------------------------------------------------------------------- */

static void check_warned(struct world *w, const struct message *m, const struct rcpt *r)
{
    const struct days_terms *t = days_terms_of(w, slice_str(r->address));
    const struct days_order *o = order_of(w, m);
    uint64_t acc_ms = m->said_accepted_ms, end_ms = end_of(r);
    uint64_t told_ms = w->days->delay_told_ms[m->number], late_ms, after_ms = t->warn_after_ms;

    /* The first notice may be about another recipient. */
    if (m->rcpt_count > 1 && w->days->terms.warn_after_ms < after_ms)
        after_ms = w->days->terms.warn_after_ms;
    if (m->rcpt_count > 1 && w->days->terms_b.warn_after_ms < after_ms)
        after_ms = w->days->terms_b.warn_after_ms;

    WORLD_CHECK(w, r->warned <= 1 + w->crash_count + r->excuses, "%u warnings about %s", r->warned,
                r->address);
    if (t->warn_after_ms == 0) {
        WORLD_CHECK(w, r->warned == 0, "a warning about %s, whose route has none", r->address);
        return;
    }
    if (r->warned > 0)
        WORLD_CHECK(w, most_age_ms(w, acc_ms, told_ms) + 5000 >= after_ms,
                    "a warning about %s after %llu s, not %llu", r->address, in_s(told_ms - acc_ms),
                    in_s(after_ms));
    /* With the next attempt, when there are any. */
    late_ms = limit_ms(w, m, t->warn_after_ms, end_ms, t) + t->interval_max_ms;
    if (!r->wants_delay || m->null_sender || o->returned || o->free_ms != 0 || o->deliver_by_ms != 0
        || end_ms <= late_ms || t->warn_after_ms >= t->expire_ms)
        return;
    WORLD_CHECK(w, told_ms != 0 && told_ms <= late_ms,
                "message %u waited %llu s for %s, and nobody was told after %llu s (%llu)",
                m->number, in_s(end_ms - acc_ms), r->address, in_s(t->warn_after_ms),
                told_ms != 0 ? in_s(told_ms - acc_ms) : 0);
    if (m->sender_fate == FATE_TAKE && m->said_dropped_ms == 0)
        WORLD_CHECK(w, r->warned > 0, "the delay of %s was not told", r->address);
}

/* ---- mail flows again ---------------------------------------------------------------------- */

/* Its host has refused it for a time, so that it waits for a time of its own; or has come back for a moment. */
static bool had_attempts(struct world *w, unsigned sink, uint64_t from_ms, uint64_t to_ms)
{
    const struct days *d = w->days;

    for (uint32_t i = 0; i < d->phase_count[sink]; i++) {
        const struct phase *p = &d->phases[sink][i];
        uint64_t begin_ms = d->start_ms + p->from_ms;
        uint64_t end_ms = i + 1 < d->phase_count[sink] ? d->start_ms + p[1].from_ms : UINT64_MAX;
        if (begin_ms < to_ms && end_ms > from_ms && (p->mood == MOOD_BUSY || p->mood == MOOD_FLAPS))
            return true;
    }
    return false;
}

/* How long after its host is there a message may still wait. */
static uint64_t flow_ms(struct world *w, const struct message *m, unsigned sink, uint64_t up_ms,
                        uint64_t to_ms)
{
    const struct days *d = w->days;
    const struct days_terms *t = days_terms_of(w, slice_str(m->rcpts[0].address));
    uint64_t ms = 5 * MINUTE * (100 + d->jitter) / 100 + 6 * MINUTE;

    if (had_attempts(w, sink, m->said_accepted_ms, up_ms) || m->rcpt_count > 1)
        ms += t->interval_max_ms > d->terms.interval_max_ms ? t->interval_max_ms
                                                            : d->terms.interval_max_ms;
    if (m->rcpt_count > 1)
        ms += 20 * MINUTE;
    if (clock_leapt(w))
        ms += 75 * MINUTE + t->interval_max_ms;
    ms += 5 * MINUTE * boots_between(w, up_ms, to_ms);
    return ms + 5 * MINUTE * count_between(d->reloads_ms, d->reloads, up_ms, to_ms);
}

/* In each time that the host was there, of those that the message has seen, it was to be delivered. */
static void check_flow(struct world *w, const struct message *m, const struct rcpt *r)
{
    struct days *d = w->days;
    unsigned sink = sink_of(slice_str(r->address));
    uint64_t end_ms = end_of(r);

    if (sink == NO_SINK || r->fate != FATE_TAKE || r->refused > 0 || order_of(w, m)->returned)
        return;
    for (uint32_t i = 0; i < d->phase_count[sink]; i++) {
        const struct phase *p = &d->phases[sink][i];
        uint64_t up_ms = d->start_ms + p->from_ms, down_ms = end_ms, flow;
        if (p->mood != MOOD_UP)
            continue;
        if (i + 1 < d->phase_count[sink] && d->start_ms + p[1].from_ms < end_ms)
            down_ms = d->start_ms + p[1].from_ms;
        if (up_ms < m->said_accepted_ms)
            up_ms = m->said_accepted_ms;
        if (up_ms < order_of(w, m)->free_ms)
            up_ms = order_of(w, m)->free_ms + days_leaps_back(w, m->said_accepted_ms, end_ms);
        flow = flow_ms(w, m, sink, up_ms, down_ms);
        WORLD_CHECK(w, down_ms <= up_ms + flow,
                    "message %u waited %llu s for %s, whose host was there, and not %llu",
                    m->number, in_s(down_ms - up_ms), r->address, in_s(flow));
    }
}

/* ---- notices ------------------------------------------------------------------------------- */

static bool may_be_refused(struct world *w, const struct days_notice *n)
{
    const struct days *d = w->days;

    if (n->message != NO_MESSAGE && w->model.messages[n->message].sender_fate == FATE_REFUSE)
        return true;
    for (uint32_t i = 0; i < d->phase_count[2]; i++) {
        if (d->phases[2][i].mood == MOOD_REFUSES)
            return true;
    }
    return false;
}

static void check_notice(struct world *w, const struct days_notice *n)
{
    const struct days_terms *t = &w->days->terms;
    uint64_t limit =
        t->expire_bounces_ms + slack_ms(w, t) + days_leaps_back(w, n->made_ms, n->dropped_ms);

    if (n->to_postmaster || n->dropped_ms == 0)
        return;
    WORLD_CHECK(w, n->told == w->days->postmaster,
                "a notice that was given up, and the postmaster %s",
                n->told ? "was told" : "was not told");
    WORLD_CHECK(w, n->dropped_ms - n->made_ms <= limit,
                "a notice was given up after %llu s, not %llu", in_s(n->dropped_ms - n->made_ms),
                in_s(t->expire_bounces_ms));
    WORLD_CHECK(w,
                may_be_refused(w, n)
                    || most_age_ms(w, n->made_ms, n->dropped_ms) + 5000 >= t->expire_bounces_ms,
                "a notice was given up after %llu s, not %llu", in_s(n->dropped_ms - n->made_ms),
                in_s(t->expire_bounces_ms));
}

static bool count_file(void *context, const char *name)
{
    (void)name;
    ++*(uint32_t *)context;
    return true;
}

static void check_copies(struct world *w)
{
    struct io *io = sim_io_create(w->mx.machine, 0);
    uint32_t files = 0;

    (void)io_list(io, "/mail/box.test/postmaster/new", count_file, &files);
    io_destroy(io);
    WORLD_CHECK(w, files >= w->days->copies, "%u copies for the postmaster, of %u", files,
                w->days->copies);
    WORLD_CHECK(w, files == w->days->copies || w->crash_count > 0,
                "%u copies for the postmaster, of %u", files, w->days->copies);
}

/* ---- hosts that are away ------------------------------------------------------------------- */

static bool is_away(const struct phase *p)
{
    return p->mood == MOOD_CLOSED || p->mood == MOOD_DROPS || p->mood == MOOD_SORRY
           || p->mood == MOOD_SILENT;
}

/* A probe each five minutes of each site that uses the host, some more at the beginning, and after what makes
 * the server try; and what the log says of single messages is no more than that, and once of each. */
static void check_away(struct world *w, unsigned sink, uint32_t i)
{
    enum { SITES = 3, BEGINNING = 8 };
    const struct days *d = w->days;
    const struct phase *p = &d->phases[sink][i];
    uint64_t end_ms = i + 1 < d->phase_count[sink] ? p[1].from_ms : world_now_ms(w) - d->start_ms;
    uint64_t interval_ms = 5 * MINUTE * (100 - d->jitter) / 100;
    uint64_t probes = (end_ms - p->from_ms) / interval_ms + BEGINNING;
    uint64_t most = SITES * (probes + BEGINNING * p->disturbances);

    WORLD_CHECK(w, p->connections <= most,
                "%u connections to a host that was away for %llu s (%llu)", p->connections,
                in_s(end_ms - p->from_ms), (unsigned long long)most);
    most = probes + (1 + p->disturbances) * (BEGINNING + w->model.message_count);
    WORLD_CHECK(w, p->deferrals <= most,
                "%u times mail was deferred for a host that was away for %llu s (%llu)",
                p->deferrals, in_s(end_ms - p->from_ms), (unsigned long long)most);
}

/* ---- all of it ----------------------------------------------------------------------------- */

void days_check(struct world *w)
{
    struct days *d = w->days;

    for (uint32_t i = 0; i < w->model.message_count; i++) {
        const struct message *m = &w->model.messages[i];
        for (uint32_t k = 0; k < m->rcpt_count; k++) {
            const struct rcpt *r = &m->rcpts[k];
            if (m->state != MESSAGE_ACCEPTED || m->deleted || end_of(r) == 0)
                continue;
            check_expired(w, m, r);
            check_warned(w, m, r);
            check_flow(w, m, r);
        }
    }
    for (uint32_t i = 0; i < d->notice_count; i++)
        check_notice(w, &d->notices[i]);
    check_copies(w);
    for (unsigned sink = 0; sink < SINKS; sink++) {
        for (uint32_t i = 0; i < d->phase_count[sink]; i++) {
            if (is_away(&d->phases[sink][i]))
                check_away(w, sink, i);
        }
    }
}
