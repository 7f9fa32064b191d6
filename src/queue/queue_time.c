/*
 * queue_time: how long to wait, and for how long at all.
 *
 * All of this is Unix time, since it outlives the process, and Unix time leaps: a machine starts without
 * a battery and learns the year later, one is asleep for a week. Forward, the leap is forgiven for a day:
 * messages are not older than they would be without it, so the mail of that week gets a day of attempts
 * and a wrong clock a day of warnings, and nothing is returned at once. Backward, nothing expires for
 * longer, which is harmless, and no attempt is further away than the longest interval.
 */
#include "base_log.h"
#include "queue_priv.h"

enum { LEAP_MIN_MS = 10 * 60 * 1000, FORGIVEN_MS = 24 * 3600 * 1000 };

uint32_t queue_now_s(const struct queue *q)
{
    return (uint32_t)(io_unix_ms(q->io) / 1000);
}

uint32_t queue_patient_s(const struct queue *q, const struct spool_message *m)
{
    uint64_t now_ms = io_unix_ms(q->io);

    if (q->leap_ms > 0 && m->arrived_s < q->leapt_s && io_now_ms(q->io) < q->leap_until_ms)
        now_ms -= q->leap_ms < now_ms ? q->leap_ms : now_ms;
    return (uint32_t)(now_ms / 1000);
}

uint32_t queue_wall_s(const struct queue *q, const struct spool_message *m, uint32_t patient_s)
{
    uint64_t s = (uint64_t)patient_s + (queue_now_s(q) - queue_patient_s(q, m));

    return s < SPOOL_DUE_NEVER ? (uint32_t)s : SPOOL_DUE_NEVER - 1;
}

static int64_t wall_ahead_ms(const struct queue *q)
{
    return (int64_t)io_unix_ms(q->io) - (int64_t)io_now_ms(q->io);
}

void queue_time_init(struct queue *q)
{
    q->wall_ahead_ms = wall_ahead_ms(q);
}

static void log_leap(int64_t leap_ms)
{
    struct log_record r;

    log_begin(&r, LOG_WARNING, "clock-leap");
    log_i64(&r, "seconds", leap_ms / 1000);
    log_str(&r, "remedy",
            "mail is not given up because of this for a day; see that the clock is right");
    log_end(&r);
}

void queue_time_look(struct queue *q)
{
    int64_t ahead_ms = wall_ahead_ms(q), leap_ms = ahead_ms - q->wall_ahead_ms;

    if (leap_ms > -LEAP_MIN_MS && leap_ms < LEAP_MIN_MS) {
        /* Slow changes are the clock's own business. */
        q->wall_ahead_ms = ahead_ms;
        return;
    }
    q->wall_ahead_ms = ahead_ms;
    log_leap(leap_ms);
    if (io_now_ms(q->io) >= q->leap_until_ms)
        q->leap_ms = 0;
    if (leap_ms < 0) { /* back: perhaps from where it had leapt to */
        uint64_t back_ms = (uint64_t)-leap_ms;
        q->leap_ms -= back_ms < q->leap_ms ? back_ms : q->leap_ms;
        return;
    }
    q->leap_ms += (uint64_t)leap_ms;
    q->leap_until_ms = io_now_ms(q->io) + FORGIVEN_MS;
    q->leapt_s = queue_now_s(q);
}

uint64_t queue_timer_ms(struct queue *q, uint32_t unix_s)
{
    uint64_t now_ms = io_unix_ms(q->io), due_ms = (uint64_t)unix_s * 1000;
    uint64_t wait_ms = due_ms > now_ms ? due_ms - now_ms : 0;

    if (wait_ms > QUEUE_RECHECK_MS - QUEUE_RECHECK_SPREAD_MS)
        wait_ms = QUEUE_RECHECK_MS - rand_below(&q->rand, QUEUE_RECHECK_SPREAD_MS);
    if (due_ms > now_ms && wait_ms > due_ms - now_ms)
        wait_ms = due_ms - now_ms;
    return io_now_ms(q->io) + wait_ms;
}

/* ---- for how long -------------------------------------------------------------------------- */

static uint64_t expire_s(const struct spool_message *m, const struct conf_retry *retry)
{
    uint64_t ms = retry->expire;

    if ((m->flags & SPOOL_IS_BOUNCE) != 0 && retry->expire_bounces != 0)
        ms = retry->expire_bounces;
    return m->arrived_s + ms / 1000;
}

uint32_t queue_give_up_s(const struct spool_message *m, const struct conf_retry *retry)
{
    uint64_t s = expire_s(m, retry);

    if (m->terms.deliver_by_s != 0 && m->terms.deliver_by_s < s)
        s = m->terms.deliver_by_s;
    return s < UINT32_MAX ? (uint32_t)s : UINT32_MAX;
}

bool queue_past_deliver_by(const struct queue *q, const struct spool_message *m)
{
    return m->terms.deliver_by_s != 0 && queue_patient_s(q, m) >= m->terms.deliver_by_s;
}

bool queue_expired(const struct queue *q, const struct spool_message *m,
                   const struct conf_retry *retry)
{
    return queue_patient_s(q, m) >= queue_give_up_s(m, retry);
}

/* ---- until the next attempt ------------------------------------------------------------------ */

uint32_t queue_next_due_s(struct queue *q, const struct spool_message *m,
                          const struct conf_retry *retry, uint32_t attempts)
{
    const struct conf_durations *intervals = &retry->intervals;
    size_t index = attempts > intervals->count ? intervals->count : attempts;
    uint64_t interval_ms = intervals->items[index > 0 ? index - 1 : 0];
    uint64_t jitter_ms = interval_ms * retry->jitter / 100;
    uint64_t due_s, give_up_s = queue_give_up_s(m, retry);

    interval_ms += jitter_ms > 0 ? rand_below(&q->rand, 2 * jitter_ms + 1) : 0;
    interval_ms -= jitter_ms;
    due_s = (io_unix_ms(q->io) + interval_ms + 999) / 1000;
    if (due_s > give_up_s && give_up_s > queue_now_s(q))
        due_s = give_up_s; /* one last attempt, then it is given up */
    return (uint32_t)due_s;
}

static uint64_t longest_ms(const struct conf_retry *retry, uint64_t so_far_ms)
{
    for (size_t i = 0; i < retry->intervals.count; i++) {
        uint64_t ms = retry->intervals.items[i] * (100 + retry->jitter) / 100;
        so_far_ms = ms > so_far_ms ? ms : so_far_ms;
    }
    return so_far_ms;
}

uint32_t queue_interval_max_s(const struct conf *conf)
{
    uint64_t ms = longest_ms(&conf->retry, QUEUE_RECHECK_MS);

    for (size_t i = 0; i < conf->route_count; i++)
        ms = longest_ms(&conf->routes[i].retry, ms);
    return (uint32_t)(ms / 1000 + 1);
}
