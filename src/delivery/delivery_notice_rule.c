/*
 * delivery_notice_rule: what is owed to whom (RFC 3461 5.2, 6.1). Decides only; nothing is written here.
 */
#include "delivery_priv.h"

enum delivery_notice delivery_notice_asked(const struct delivery_recipient *r, bool delay_due)
{
    bool said = r->notify != 0;

    if (r->notify & SPOOL_NOTIFY_NEVER)
        return DELIVERY_NOTICE_NONE;
    switch ((enum delivery_status)r->status) {
    case DELIVERY_FAILED:
        return !said || (r->notify & SPOOL_NOTIFY_FAILURE) ? DELIVERY_NOTICE_FAILURE
                                                           : DELIVERY_NOTICE_NONE;
    case DELIVERY_DEFERRED:
        return delay_due && (!said || (r->notify & SPOOL_NOTIFY_DELAY)) ? DELIVERY_NOTICE_DELAY
                                                                        : DELIVERY_NOTICE_NONE;
    case DELIVERY_DONE:
        /* Neither of these: the next hop offers DSN, has been told what was asked, and owes it. */
        return (r->notify & SPOOL_NOTIFY_SUCCESS) && (r->final || r->relayed || r->expanded)
                   ? DELIVERY_NOTICE_SUCCESS
                   : DELIVERY_NOTICE_NONE;
    case DELIVERY_POSTPONED: /* for long: then the queue has it DEFERRED without an attempt */
    case DELIVERY_PENDING: break;
    }
    return DELIVERY_NOTICE_NONE;
}

bool delivery_notice_delay_due(const struct delivery *d, const struct spool_message *m,
                               uint32_t recipient, const struct conf_retry *retry)
{
    uint64_t after_s = retry->warn_after / 1000;

    return after_s > 0 && !d->stopping
           && (m->recipients[recipient].flags & (SPOOL_RECIPIENT_WARNED | SPOOL_RECIPIENT_HELD))
                  == 0
           && queue_patient_s(d->o.queue, m) >= m->arrived_s + after_s;
}

bool delivery_notice_copies(const struct conf *conf, const char *which)
{
    const struct conf_words *copies = &conf->notices.copies;

    if (conf->notices.postmaster.len == 0)
        return false;
    for (size_t i = 0; i < copies->count; i++) {
        if (slice_equal(copies->items[i], slice_str(which)))
            return true;
    }
    return false;
}

enum delivery_reader delivery_notice_reader(const struct conf *conf, struct slice sender,
                                            uint16_t flags)
{
    if (sender.len > 0 && (flags & SPOOL_IS_BOUNCE) == 0)
        return DELIVERY_READER_SENDER;
    return (flags & SPOOL_TO_POSTMASTER) == 0 && delivery_notice_copies(conf, "double")
               ? DELIVERY_READER_POSTMASTER
               : DELIVERY_READER_NOBODY;
}

/* Our own notices say NOTIFY=NEVER (RFC 3461 6.1): the postmaster, who reads of their failures, did not. */
static enum delivery_notice notice_of(struct delivery *d, const struct delivery_task *t,
                                      const struct delivery_recipient *r,
                                      enum delivery_reader reader)
{
    const struct spool_message *m = t->entry->message;
    const struct conf_retry *retry = delivery_task_retry(t);

    switch (reader) {
    case DELIVERY_READER_NOBODY: return DELIVERY_NOTICE_NONE;
    case DELIVERY_READER_SENDER:
        return delivery_notice_asked(r, delivery_notice_delay_due(d, m, r->index, retry));
    case DELIVERY_READER_POSTMASTER:
        return r->status == DELIVERY_FAILED ? DELIVERY_NOTICE_FAILURE : DELIVERY_NOTICE_NONE;
    }
    return DELIVERY_NOTICE_NONE;
}

bool delivery_notice_mark(struct delivery *d, struct delivery_task *t)
{
    enum delivery_reader reader = delivery_notice_reader(d->o.conf, t->sender, t->flags);
    bool any = false;

    for (uint32_t i = 0; i < t->recipient_count; i++) {
        struct delivery_recipient *r = &t->recipients[i];

        r->notice = (uint8_t)notice_of(d, t, r, reader);
        any |= r->notice != DELIVERY_NOTICE_NONE;
    }
    return any;
}
