/*
 * spool_message: messages in memory and what becomes of their recipients. Memory changes at once, the
 * outcome record follows in the next group commit; what a crash in between loses is one attempt.
 */
#include "base_crc32c.h"
#include "spool_priv.h"

/* Recipients that a message of each pool has room for. */
static const uint32_t pool_room[SPOOL_POOLS] = {1, 4, 16};

enum { OUTCOME_RECORD_MAX = 32 << 10 }; /* more outcomes at once are several records */

static struct pool *pool_for(struct spool *s, uint32_t recipient_count)
{
    for (int i = 0; i < SPOOL_POOLS; i++) {
        if (recipient_count <= pool_room[i])
            return &s->message_pools[i];
    }
    return NULL;
}

static size_t message_size(uint32_t recipient_count)
{
    return sizeof(struct spool_message) + (size_t)recipient_count * sizeof(struct spool_recipient);
}

struct spool_message *spool_message_create(struct spool *s, uint32_t recipient_count)
{
    struct pool *pool = pool_for(s, recipient_count);
    struct spool_message *m = pool ? pool_get(pool) : mem_zalloc(message_size(recipient_count));

    m->recipient_count = recipient_count;
    m->recipients_left = recipient_count;
    list_init(&m->in_segment);
    return m;
}

void spool_message_free(struct spool *s, struct spool_message *m)
{
    struct pool *pool = pool_for(s, m->recipient_count);

    if (m->warm) {
        list_remove(&m->warm->in_slot);
        pool_put(&s->warm_pool, m->warm);
        m->warm = NULL;
    }
    mem_free(m->extents);
    m->extents = NULL;
    if (pool)
        pool_put(pool, m);
    else
        mem_free(m);
}

/* ---- the table ---------------------------------------------------------------------------- */

struct spool_message *spool_find(struct spool *s, uint64_t id)
{
    struct spool_message *m = spool_index_find(&s->messages, id);

    return m && !(m->spool_state & SPOOL_M_DEAD) ? m : NULL;
}

void spool_message_insert(struct spool *s, struct spool_message *m)
{
    spool_index_insert(&s->messages, m);
    s->counters.messages++;
}

void spool_each(struct spool *s, bool (*visit)(struct spool_message *m, void *context),
                void *context)
{
    struct spool_message *some[SPOOL_LEAF_MAX];
    uint64_t after = 0;
    uint32_t count;

    while ((count = spool_index_some(&s->messages, after, some)) > 0) {
        after = some[count - 1]->id;
        for (uint32_t i = 0; i < count; i++) {
            if (!(some[i]->spool_state & SPOOL_M_DEAD) && !visit(some[i], context))
                return;
        }
    }
}

bool spool_walk(struct spool *s, uint64_t *after, uint32_t max,
                bool (*visit)(struct spool_message *m, void *context), void *context)
{
    for (uint32_t i = 0; i < max; i++) {
        struct spool_message *m = spool_index_next(&s->messages, *after);

        if (!m)
            return false;
        *after = m->id;
        if (!(m->spool_state & SPOOL_M_DEAD) && !visit(m, context))
            return true;
    }
    return true;
}

/* ---- warm --------------------------------------------------------------------------------- */

static struct spool_warm *warm_get(struct spool *s, struct spool_message *m)
{
    if (!m->warm) {
        m->warm = pool_get(&s->warm_pool);
        m->warm->message = m;
        list_init(&m->warm->in_slot);
    }
    return m->warm;
}

static void warm_put(struct spool *s, struct spool_message *m)
{
    if (m->warm->hot || m->warm->pins > 0)
        return;
    pool_put(&s->warm_pool, m->warm);
    m->warm = NULL;
}

void spool_message_heat(struct spool *s, struct spool_message *m, struct spool_slot *slot,
                        const uint8_t *hot)
{
    struct spool_warm *warm = warm_get(s, m);

    warm->hot = hot;
    list_push_back(&slot->messages, &warm->in_slot);
}

void spool_message_cool(struct spool *s, struct spool_message *m)
{
    m->warm->hot = NULL;
    list_remove(&m->warm->in_slot);
    warm_put(s, m);
}

bool spool_is_hot(const struct spool_message *m)
{
    return spool_hot(m) != NULL;
}

static void bury(struct spool *s, struct spool_message *m, uint64_t ticket)
{
    spool_index_remove(&s->messages, m);
    spool_message_unlink(m, ticket);
    spool_message_free(s, m);
}

/* Whoever reads it (a listing of the queue) may finish: its bytes stay until the last pin goes. */
void spool_message_kill(struct spool *s, struct spool_message *m, uint64_t ticket)
{
    if (m->spool_state & SPOOL_M_MOVING)
        spool_compact_forget(m->segment->log, m);
    s->counters.messages--;
    if (spool_pins(m) > 0)
        m->spool_state |= SPOOL_M_DEAD;
    else
        bury(s, m, ticket);
}

void spool_message_pin(struct spool *s, struct spool_message *m)
{
    warm_get(s, m)->pins++;
}

/* The ticket of its last outcome was given out before this one. */
void spool_message_unpin(struct spool *s, struct spool_message *m)
{
    const struct spool_log *log = m->segment->log;

    ASSERT(spool_pins(m) > 0);
    m->warm->pins--;
    warm_put(s, m);
    if (spool_pins(m) == 0 && (m->spool_state & SPOOL_M_DEAD))
        bury(s, m, log->ticket + log->deferred_count);
}

/* ---- outcomes ----------------------------------------------------------------------------- */

static void outcome_apply(struct spool_message *m, const struct spool_outcome *o)
{
    ASSERT(o->recipient < m->recipient_count);
    struct spool_recipient *r = &m->recipients[o->recipient];

    ASSERT(r->state == SPOOL_RECIPIENT_WAITING);
    ASSERT(((o->set_flags | o->clear_flags) & ~SPOOL_RECIPIENT_LOGGED) == 0);
    r->state = o->state;
    r->due_s = o->due_s;
    r->flags = (uint8_t)((r->flags & ~o->clear_flags) | o->set_flags);
    if (o->counts && r->attempts < UINT16_MAX)
        r->attempts++;
    if (o->state != SPOOL_RECIPIENT_WAITING) {
        ASSERT(m->recipients_left > 0);
        m->recipients_left--;
    }
}

static struct slice outcome_text(const struct spool_outcome *o)
{
    return slice_head(o->text, SPOOL_OUTCOME_TEXT_MAX);
}

static void outcome_encode(const struct spool_message *m, const struct spool_outcome *outcomes,
                           uint32_t count, uint32_t len, uint8_t *record)
{
    uint8_t *at = record + SPOOL_RECORD_HEADER_LEN;

    for (uint32_t i = 0; i < count; i++) {
        const struct spool_outcome *o = &outcomes[i];
        struct spool_outcome_entry e = {
            .recipient = o->recipient,
            .state = o->state,
            .counts = o->counts,
            .flags = m->recipients[o->recipient].flags,
            .attempts = m->recipients[o->recipient].attempts,
            .due_s = o->due_s,
            .text = outcome_text(o),
        };

        at += spool_outcome_entry_encode(&e, at);
    }
    ASSERT(at == record + len);
    spool_record_seal(record, SPOOL_RECORD_OUTCOME, len, count, m->id,
                      crc32c(0, record + SPOOL_RECORD_HEADER_LEN, len - SPOOL_RECORD_HEADER_LEN));
}

/* Where a record of `len` bytes is to be made: in the open batch, or in memory, in line for it. */
struct place {
    uint8_t *record;
    struct spool_deferred *deferred;
};

static struct place place_get(struct spool_log *log, uint32_t len)
{
    uint8_t *record = spool_batch_reserve(log, len);

    if (record)
        return (struct place){.record = record};
    struct spool_deferred *d = mem_alloc(sizeof(*d) + len);
    d->len = len;
    return (struct place){.record = d->record, .deferred = d};
}

/* The record is made. Answers the ticket. */
static uint64_t place_fill(struct spool_log *log, const struct place *p, uint32_t len)
{
    if (!p->deferred)
        return spool_batch_add(log, len, NULL);
    list_init(&p->deferred->node);
    list_push_back(&log->deferred, &p->deferred->node);
    return log->ticket + ++log->deferred_count;
}

static uint32_t outcome_len(const struct spool_outcome *o)
{
    return SPOOL_OUTCOME_ENTRY + (uint32_t)outcome_text(o).len;
}

void spool_outcomes(struct spool *s, struct spool_message *m, const struct spool_outcome *outcomes,
                    uint32_t count)
{
    struct spool_log *log = m->segment->log;
    uint32_t max = s->record_max < OUTCOME_RECORD_MAX ? s->record_max : OUTCOME_RECORD_MAX;
    uint64_t ticket = 0;

    ASSERT(m->recipients_left > 0);
    for (uint32_t i = 0; i < count; i++)
        outcome_apply(m, &outcomes[i]);
    for (uint32_t from = 0; from < count;) {
        uint32_t len = SPOOL_RECORD_HEADER_LEN, to = from;

        while (to < count && len + outcome_len(&outcomes[to]) <= max)
            len += outcome_len(&outcomes[to++]);
        struct place place = place_get(log, len);
        outcome_encode(m, outcomes + from, to - from, len, place.record);
        ticket = place_fill(log, &place, len);
        log->text_bytes += len;
        from = to;
    }
    s->counters.outcomes += count;
    if (m->recipients_left == 0)
        spool_message_kill(s, m, ticket);
}

void spool_revise(struct spool *s, struct spool_message *m, const struct spool_terms *terms)
{
    struct spool_log *log = m->segment->log;
    uint32_t len = SPOOL_RECORD_HEADER_LEN + SPOOL_TERMS_LEN;
    struct place place = place_get(log, len);

    ASSERT(m->recipients_left > 0);
    m->terms = *terms;
    spool_terms_encode(terms, place.record + SPOOL_RECORD_HEADER_LEN);
    spool_record_seal(place.record, SPOOL_RECORD_TERMS, len, 0, m->id,
                      crc32c(0, place.record + SPOOL_RECORD_HEADER_LEN, SPOOL_TERMS_LEN));
    (void)place_fill(log, &place, len);
    s->counters.outcomes++;
}

void spool_outcomes_step(struct spool_log *log)
{
    while (!list_empty(&log->deferred)) {
        struct spool_deferred *d = container_of(log->deferred.next, struct spool_deferred, node);
        uint8_t *place = spool_batch_reserve_deferred(log, d->len);

        if (!place)
            return;
        memcpy(place, d->record, d->len);
        (void)spool_batch_add(log, d->len, NULL); /* the ticket that was promised */
        list_remove(&d->node);
        log->deferred_count--;
        mem_free(d);
    }
}
