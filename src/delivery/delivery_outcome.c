/*
 * delivery_outcome: at the origin, a task has come home. What is temporary waits or has waited too long,
 * what is permanent is told to the sender, and everything is recorded in the spool and in the log.
 */
#include "base_log.h"
#include "base_mem.h"
#include "delivery_priv.h"
#include "queue_lot.h"

/* It was to wait for its site, but not so long: why the site does not take it is why it ends. */
static void unpark(struct delivery_task *t)
{
    if (!t->parked)
        return;
    for (uint32_t i = 0; i < t->recipient_count; i++) {
        if (t->recipients[i].status == DELIVERY_POSTPONED)
            t->recipients[i].status = DELIVERY_DEFERRED;
    }
    t->parked = false;
    t->untried = true;
}

static void expire(struct delivery *d, struct delivery_task *t)
{
    static const uint16_t expired[3] = {4, 4, 7}; /* RFC 3463: delivery time expired */
    static const uint16_t too_late[3] = {5, 4, 7};
    const struct spool_message *m = t->entry->message;
    bool late = queue_past_deliver_by(d->o.queue, m);

    if (!queue_expired(d->o.queue, m, delivery_task_retry(t)))
        return;
    unpark(t);
    for (uint32_t i = 0; i < t->recipient_count; i++) {
        struct delivery_recipient *r = &t->recipients[i];
        if (r->status != DELIVERY_DEFERRED)
            continue;
        r->status = DELIVERY_FAILED;
        r->expired = true;
        if (late)
            memcpy(r->enhanced, too_late, sizeof(too_late));
        else if (r->enhanced[0] == 0)
            memcpy(r->enhanced, expired, sizeof(expired));
    }
}

/* It is to wait for its site, and its sender is to be told that it does: this time it is as if it was tried.
 * (What is in a lot already is taken out for this by the queue.) */
static void own_up(struct delivery *d, struct delivery_task *t)
{
    bool owed = false;

    if (!t->parked
        || delivery_notice_reader(d->o.conf, t->sender, t->flags) != DELIVERY_READER_SENDER)
        return;
    for (uint32_t i = 0; i < t->recipient_count; i++) {
        struct delivery_recipient as_if = t->recipients[i];
        as_if.status = DELIVERY_DEFERRED;
        owed |= delivery_notice_asked(&as_if,
                                      delivery_notice_delay_due(d, t->entry->message, as_if.index,
                                                                delivery_task_retry(t)))
                == DELIVERY_NOTICE_DELAY;
    }
    if (owed)
        unpark(t);
}

static const char *status_name(enum delivery_status status)
{
    switch (status) {
    case DELIVERY_PENDING: return "pending";
    case DELIVERY_DONE: return "delivered";
    case DELIVERY_DEFERRED: return "deferred";
    case DELIVERY_FAILED: return "bounced";
    case DELIVERY_POSTPONED: return "postponed";
    }
    UNREACHABLE();
}

static const char *verified_name(enum delivery_verified verified)
{
    switch (verified) {
    case DELIVERY_VERIFIED_NO: return "no";
    case DELIVERY_VERIFIED_CA: return "ca";
    case DELIVERY_VERIFIED_STS: return "sts";
    case DELIVERY_VERIFIED_DANE: return "dane";
    }
    UNREACHABLE();
}

/* That it waits for a site which is down is said when it first does so, and when it was what the site was
 * tried with; not each time. */
static bool is_news(const struct delivery_task *t)
{
    return t->parked && t->down && (!t->untried || !t->entry->noted);
}

static void log_recipient(const struct delivery_task *t, const struct delivery_recipient *r,
                          uint32_t due_s)
{
    enum delivery_status status = (enum delivery_status)r->status;
    char due[DATE_TEXT_SIZE];
    struct log_record line;

    if (status == DELIVERY_POSTPONED && is_news(t))
        status = DELIVERY_DEFERRED;

    if (!log_enabled(status == DELIVERY_POSTPONED ? LOG_DEBUG : LOG_INFO))
        return;
    if (status == DELIVERY_FAILED && due_s != 0)
        status = DELIVERY_DEFERRED; /* nobody could be told: it is not over yet */
    log_begin(&line, status == DELIVERY_POSTPONED ? LOG_DEBUG : LOG_INFO,
              r->expanded ? "expanded" : status_name(status));
    log_id(&line, "message", t->id);
    log_slice(&line, "from", t->sender);
    log_slice(&line, "to", r->address);
    if (t->remote[0] != '\0')
        log_str(&line, "remote", t->remote);
    if (t->tls.version[0] != '\0') {
        log_str(&line, "tls", t->tls.version);
        log_str(&line, "cipher", t->tls.cipher);
        log_str(&line, "verified", verified_name((enum delivery_verified)t->tls.verified));
    }
    if (r->code != 0)
        log_u64(&line, "code", r->code);
    if (r->text.len > 0)
        log_slice(&line, "reply", r->text);
    if (due_s != 0) {
        date_format_iso((uint64_t)due_s * 1000, due);
        log_str(&line, "next", due);
    }
    log_end(&line);
}

void delivery_outcome_text(const struct delivery_recipient *r, struct buf *out)
{
    if (r->code != 0)
        (void)buf_printf(out, "%u ", (unsigned)r->code);
    if (r->enhanced[0] != 0)
        (void)buf_printf(out, "%u.%u.%u ", (unsigned)r->enhanced[0], (unsigned)r->enhanced[1],
                         (unsigned)r->enhanced[2]);
    (void)buf_append_slice(out, r->text);
}

/* ---- what is recorded ----------------------------------------------------------------------- */

/* A task that is home is recorded at once, but for those of whom somebody is to be told first. */
enum stage { STAGE_HOME, STAGE_TOLD };

uint32_t delivery_outcome_step(const struct conf_retry *retry, uint32_t age_s)
{
    uint64_t sum_ms = 0;
    uint32_t step = 1;

    while (step < retry->intervals.count) {
        sum_ms += retry->intervals.items[step - 1];
        if ((uint64_t)age_s * 1000 < sum_ms)
            break;
        step++;
    }
    return step;
}

/* When a recipient is tried again that an attempt has not delivered to. */
static uint32_t next_due_s(struct delivery *d, const struct delivery_task *t,
                           const struct delivery_recipient *r, bool counts)
{
    const struct spool_message *m = t->entry->message;
    const struct conf_retry *retry = delivery_task_retry(t);
    uint32_t step = m->recipients[r->index].attempts, now_s = queue_now_s(d->o.queue);

    if (counts || step == 0)
        step++;
    if (!counts && !t->untried) {
        uint32_t by_age =
            delivery_outcome_step(retry, now_s > m->arrived_s ? now_s - m->arrived_s : 0);
        step = by_age > step ? by_age : step;
    }
    return queue_next_due_s(d->o.queue, m, retry, step);
}

static void fill_deferred(struct delivery *d, const struct delivery_task *t,
                          const struct delivery_recipient *r, bool told, struct spool_outcome *out)
{
    uint32_t soon_s;

    out->counts = !t->untried && r->scope < DELIVERY_SCOPE_CONNECTION;
    out->due_s = next_due_s(d, t, r, out->counts);
    /* It came out to be told of, not to be tried: it goes on waiting for its site, and not for an interval. If
     * there is no room to tell of it, a backlog is not to ask for that all the time. */
    soon_s = queue_now_s(d->o.queue) + DELIVERY_BACK_S;
    if (t->untried && told && out->due_s > soon_s)
        out->due_s = soon_s;
    d->counters.deferred++;
}

static void fill_postponed(struct delivery *d, const struct delivery_task *t,
                           struct spool_outcome *out)
{
    out->counts = false;
    out->due_s = queue_now_s(d->o.queue) + (uint32_t)(t->postpone_ms / 1000);
    if (is_news(t))
        d->counters.deferred++;
    else
        d->counters.postponed++;
}

/* The operator's word stands, unless he has given another one meanwhile. */
static void keep_returning(const struct delivery_task *t, const struct delivery_recipient *r)
{
    const struct spool_recipient *to = &t->entry->message->recipients[r->index];

    t->entry->bounce |= t->returned && (to->flags & SPOOL_RECIPIENT_HELD) == 0;
}

/* `told`: whoever was to know of it does. */
static void fill_by_status(struct delivery *d, const struct delivery_task *t,
                           const struct delivery_recipient *r, bool told, struct spool_outcome *out)
{
    switch ((enum delivery_status)r->status) {
    case DELIVERY_DONE:
        out->state = SPOOL_RECIPIENT_DELIVERED;
        out->counts = !t->quiet;
        d->counters.delivered += !t->quiet;
        return;
    case DELIVERY_DEFERRED: fill_deferred(d, t, r, told, out); break;
    case DELIVERY_FAILED:
        if (told) {
            out->state = SPOOL_RECIPIENT_BOUNCED;
            d->counters.bounced++;
        } else {
            out->due_s = queue_now_s(d->o.queue) + DELIVERY_UNTOLD_S;
            keep_returning(t, r);
        }
        break;
    case DELIVERY_POSTPONED: fill_postponed(d, t, out); break;
    case DELIVERY_PENDING: UNREACHABLE();
    }
    if (r->notice == DELIVERY_NOTICE_DELAY && told)
        out->set_flags = SPOOL_RECIPIENT_WARNED;
}

/* Of who has the message that is recorded before anybody is told: he is not to get it twice because the
 * notice takes its time, or there is a crash meanwhile. */
static void fill_success(struct delivery *d, const struct delivery_recipient *r, enum stage stage,
                         bool told, struct spool_outcome *out)
{
    out->counts = stage == STAGE_HOME;
    out->due_s = queue_now_s(d->o.queue);
    if (stage == STAGE_HOME) {
        out->set_flags =
            r->final ? SPOOL_RECIPIENT_DELIVERED_UNTOLD : SPOOL_RECIPIENT_RELAYED_UNTOLD;
        d->counters.delivered++;
    } else if (told) {
        out->state = SPOOL_RECIPIENT_DELIVERED;
    } else {
        out->due_s += DELIVERY_UNTOLD_S;
    }
}

/* False: at this stage there is nothing to say of the recipient. */
static bool fill_outcome(struct delivery *d, const struct delivery_task *t,
                         const struct delivery_recipient *r, enum stage stage, unsigned told_set,
                         struct spool_outcome *out)
{
    bool told = (told_set & 1u << r->notice) != 0;

    *out = (struct spool_outcome){
        .recipient = r->index, .state = SPOOL_RECIPIENT_WAITING, .counts = true};
    switch ((enum delivery_notice)r->notice) {
    case DELIVERY_NOTICE_NONE:
        if (stage == STAGE_TOLD)
            return false;
        fill_by_status(d, t, r, true, out);
        log_recipient(t, r, out->due_s);
        return true;
    case DELIVERY_NOTICE_FAILURE:
    case DELIVERY_NOTICE_DELAY:
        if (stage == STAGE_HOME)
            return false;
        fill_by_status(d, t, r, told, out);
        log_recipient(t, r, out->due_s);
        return true;
    case DELIVERY_NOTICE_SUCCESS:
        if (stage == STAGE_HOME && t->quiet)
            return false;
        fill_success(d, r, stage, told, out);
        if (r->expanded ? told : stage == STAGE_HOME)
            log_recipient(t, r, 0);
        return true;
    }
    UNREACHABLE();
}

/* It waits for the site, and not for a time. */
static void park(struct delivery *d, const struct delivery_task *t,
                 const struct delivery_recipient *r)
{
    struct buf reason;

    buf_init(&reason, 0);
    delivery_outcome_text(r, &reason);
    queue_park(t->entry, r->index,
               &(struct queue_parking){
                   .key = t->site,
                   .reason = buf_slice(&reason),
                   .next_s = t->postpone_ms > 0
                                 ? queue_now_s(d->o.queue) + (uint32_t)(t->postpone_ms / 1000)
                                 : 0,
                   .retry = delivery_task_retry(t),
                   .front = t->called && !t->down,
               });
    buf_finish(&reason);
}

/* Reports on a part of the message: the entry may be gone behind it. */
static void record(struct delivery *d, struct delivery_task *t, enum stage stage, unsigned told)
{
    struct spool_outcome *outcomes = mem_calloc(t->recipient_count, sizeof(*outcomes));
    struct queue_entry *entry = t->entry;
    struct buf *texts = mem_calloc(t->recipient_count, sizeof(*texts));
    uint32_t count = 0;

    for (uint32_t i = 0; i < t->recipient_count; i++) {
        struct delivery_recipient *r = &t->recipients[i];
        if (!fill_outcome(d, t, r, stage, told, &outcomes[count]))
            continue;
        if (r->status == DELIVERY_POSTPONED) {
            /* The log need not know. */
            if (t->parked)
                park(d, t, r);
            else
                queue_postpone(entry, r->index, outcomes[count].due_s);
            continue;
        }
        if (r->status != DELIVERY_DONE) {
            delivery_outcome_text(r, &texts[count]);
            outcomes[count].text = buf_slice(&texts[count]);
        }
        count++;
    }
    entry->noted |= t->parked && t->down;
    queue_settled(entry, outcomes, count);
    for (uint32_t i = 0; i < count; i++)
        buf_finish(&texts[i]);
    mem_free(texts);
    mem_free(outcomes);
}

static void outcome_end(struct delivery *d, struct delivery_task *t, enum stage stage,
                        unsigned told)
{
    uint64_t id = t->id;

    spool_unpin(d->o.spool, t->entry->message, &t->ref);
    record(d, t, stage, told);
    delivery_terms_leave(d, t);
    delivery_task_free(t);
    delivery_notice_check(d, id);
}

void delivery_outcome_record(struct delivery *d, struct delivery_task *t, unsigned told)
{
    outcome_end(d, t, STAGE_TOLD, told);
}

void delivery_outcome(struct delivery *d, struct delivery_task *t)
{
    if (t->probe != NULL) {
        delivery_verify_home(d, t);
        return;
    }
    if (t->parked && t->conf->generation != d->o.conf->generation) {
        /* Its lot would be of a site that goes with its configuration, and nobody would call: routed anew. */
        t->parked = false;
        t->postpone_ms = 0;
    }
    if (!t->quiet) {
        expire(d, t);
        own_up(d, t);
    }
    if (!delivery_notice_mark(d, t)) {
        outcome_end(d, t, STAGE_HOME, DELIVERY_NOTICES_ALL);
        return;
    }
    queue_part(t->entry);
    record(d, t, STAGE_HOME, DELIVERY_NOTICES_ALL);
    delivery_notice(d, t);
}
