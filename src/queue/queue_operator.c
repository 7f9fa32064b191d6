/*
 * queue_operator: what an operator does to messages, by id, in whatever state they are, and what he sees.
 *
 * What changes a message's future is in the log before anybody else acts on it, as the others' outcomes
 * are. An entry that is out is with others: what they have may end as it ends, the rest is as he says.
 */
#include "base_mem.h"
#include "queue_priv.h"

static struct queue_entry *find(struct queue *q, uint64_t id)
{
    struct spool_message *m = spool_find(q->spool, id);

    return m != NULL ? m->owner : NULL;
}

/* Everything that is not held is due. */
static void make_due(struct queue_entry *e)
{
    struct spool_message *m = e->message;

    for (uint32_t i = 0; i < m->recipient_count; i++) {
        struct spool_recipient *r = &m->recipients[i];
        if (r->state == SPOOL_RECIPIENT_WAITING && (r->flags & SPOOL_RECIPIENT_HELD) == 0)
            r->due_s = 0;
    }
}

bool queue_retry(struct queue *q, uint64_t id)
{
    struct queue_entry *e = find(q, id);

    if (e == NULL)
        return false;
    if (e->state == QUEUE_OUT)
        return true;
    queue_entry_lift(e);
    make_due(e);
    e->asked = true;
    queue_entry_schedule(e, QUEUE_CALLED);
    return true;
}

bool queue_delete(struct queue *q, uint64_t id)
{
    struct queue_entry *e = find(q, id);

    if (e == NULL)
        return false;
    if (e->state == QUEUE_OUT) {
        e->deleted = true; /* what is being delivered now may still be; the rest goes */
        return true;
    }
    queue_entry_lift(e);
    queue_entry_delete_recipients(e);
    queue_entry_free(e);
    return true;
}

bool queue_delete_some(struct queue *q, uint64_t id, const uint32_t *recipients, uint32_t count)
{
    struct queue_entry *e = find(q, id);
    struct spool_outcome *gone;

    if (e == NULL || e->state == QUEUE_OUT)
        return false;
    ASSERT(count > 0 && count < e->message->recipients_left);
    gone = mem_calloc(count, sizeof(*gone));
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(e->message->recipients[recipients[i]].state == SPOOL_RECIPIENT_WAITING);
        gone[i] = (struct spool_outcome){.recipient = recipients[i],
                                         .state = SPOOL_RECIPIENT_DELETED,
                                         .text = SLICE_LITERAL("deleted by the operator")};
    }
    queue_entry_lift(e);
    spool_outcomes(q->spool, e->message, gone, count);
    queue_entry_schedule(e, QUEUE_CALLED);
    mem_free(gone);
    return true;
}

bool queue_hold_because(struct queue *q, uint64_t id, uint32_t until_s, struct slice text)
{
    struct queue_entry *e = find(q, id);

    if (e == NULL)
        return false;
    if (e->state != QUEUE_OUT)
        queue_entry_lift(e);
    e->asked = e->exempt = e->bounce = false;
    queue_entry_record(e, &(struct spool_outcome){.state = SPOOL_RECIPIENT_WAITING,
                                                  .due_s = until_s,
                                                  .text = text,
                                                  .set_flags = SPOOL_RECIPIENT_HELD});
    queue_entry_reason_set(e, text);
    if (e->state != QUEUE_OUT)
        queue_entry_schedule(e, QUEUE_RETRY);
    return true;
}

bool queue_hold(struct queue *q, uint64_t id, uint32_t until_s)
{
    return queue_hold_because(q, id, until_s, SLICE_LITERAL("held by the operator"));
}

bool queue_release(struct queue *q, uint64_t id)
{
    struct queue_entry *e = find(q, id);

    if (e == NULL)
        return false;
    e->exempt = true;
    if (e->state != QUEUE_OUT)
        queue_entry_lift(e);
    queue_entry_record(e, &(struct spool_outcome){.state = SPOOL_RECIPIENT_WAITING,
                                                  .due_s = queue_now_s(q),
                                                  .text = SLICE_LITERAL("released by the operator"),
                                                  .clear_flags = SPOOL_RECIPIENT_HELD});
    queue_entry_reason_set(e, SLICE_NULL);
    if (e->state != QUEUE_OUT)
        queue_entry_schedule(e, QUEUE_CALLED);
    return true;
}

bool queue_bounce(struct queue *q, uint64_t id, struct slice text)
{
    struct queue_entry *e = find(q, id);

    if (e == NULL)
        return false;
    if (text.len == 0)
        text = SLICE_LITERAL("Returned by the operator");
    e->bounce = true;
    queue_entry_reason_set(e, text);
    if (e->state != QUEUE_OUT)
        queue_entry_lift(e);
    /* So that a crash before its dispatch does not leave it held; it is tried again then. */
    queue_entry_record(e, &(struct spool_outcome){.state = SPOOL_RECIPIENT_WAITING,
                                                  .due_s = queue_now_s(q),
                                                  .text = text,
                                                  .clear_flags = SPOOL_RECIPIENT_HELD});
    if (e->state != QUEUE_OUT)
        queue_entry_schedule(e, QUEUE_CALLED);
    return true;
}

bool queue_revise(struct queue *q, uint64_t id, const struct spool_terms *terms)
{
    struct queue_entry *e = find(q, id);
    enum queue_line line;

    if (e == NULL)
        return false;
    line = e->state == QUEUE_READY ? (enum queue_line)e->line : QUEUE_CALLED;
    if (e->state != QUEUE_OUT)
        queue_entry_lift(e); /* and back to where its new terms put it; a lot: by the site's word */
    spool_revise(q->spool, e->message, terms);
    if (e->state != QUEUE_OUT)
        queue_entry_schedule(e, line);
    return true;
}

/* ---- what he sees ---------------------------------------------------------------------------- */

struct slice queue_entry_reason(const struct queue_entry *e)
{
    if (e->state == QUEUE_PARKED && e->lot != NULL)
        return queue_lot_reason(e->lot);
    return e->reason != NULL ? slice_of(e->reason->text, e->reason->len) : SLICE_NULL;
}

void queue_reasoned(struct queue *q, struct spool_message *m, struct slice text)
{
    struct queue_entry *e = m->owner;

    ASSERT(e != NULL && e->queue == q);
    queue_entry_reason_set(e, text);
}

struct slice queue_message_reason(const struct spool_message *m)
{
    return m->owner != NULL ? queue_entry_reason(m->owner) : SLICE_NULL;
}

/* All that is left of it. */
static bool all_held(const struct spool_message *m)
{
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        const struct spool_recipient *r = &m->recipients[i];
        if (r->state == SPOOL_RECIPIENT_WAITING && (r->flags & SPOOL_RECIPIENT_HELD) == 0)
            return false;
    }
    return true;
}

static enum queue_standing standing_of(const struct queue_entry *e)
{
    switch ((enum queue_state)e->state) {
    case QUEUE_WAITING: return all_held(e->message) ? QUEUE_IS_HELD : QUEUE_IS_WAITING;
    case QUEUE_READY: return QUEUE_IS_READY;
    case QUEUE_OUT: return QUEUE_IS_ACTIVE;
    case QUEUE_PARKED: return queue_lot_is_rule(e->lot) ? QUEUE_IS_HELD : QUEUE_IS_PARKED;
    }
    UNREACHABLE();
}

void queue_entry_facts(const struct queue_entry *e, struct queue_facts *out)
{
    *out = (struct queue_facts){
        .standing = standing_of(e), .reason = queue_entry_reason(e), .due_s = queue_entry_due_s(e)};
    if (e->state == QUEUE_PARKED)
        out->waits_for = queue_lot_key(e->lot);
    if (out->standing == QUEUE_IS_HELD && out->reason.len == 0)
        out->reason = SLICE_LITERAL("held by the operator");
}

const char *queue_standing_name(enum queue_standing standing)
{
    switch (standing) {
    case QUEUE_IS_WAITING: return "waiting";
    case QUEUE_IS_READY: return "ready";
    case QUEUE_IS_ACTIVE: return "active";
    case QUEUE_IS_PARKED: return "parked";
    case QUEUE_IS_HELD: return "held";
    }
    UNREACHABLE();
}
