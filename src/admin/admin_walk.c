/*
 * admin_walk: a job's way through one shard's messages, a portion at a time. What memory does not decide is
 * read in batches, whose rows may be taken over several portions.
 */
#include "admin_job_priv.h"
#include "base_mem.h"

enum {
    PORTION_LOOKS = 8192, /* messages, by what memory knows */
    PORTION_DEEDS = 512,  /* each may be an outcome in the log */
    BATCH = 512,          /* envelopes that are read at a time */
};

static void walk_step(struct admin_job *j);

bool admin_walk_is_over(const struct admin_job *j)
{
    return j->matched >= j->request.filter.limit;
}

static void bulk_ready(void *context)
{
    struct admin_job *j = context;

    if (j->ending)
        admin_walk_end(j);
    else
        walk_step(j);
}

static void take(struct admin_job *j, struct spool_message *m, const struct admin_envelope *e)
{
    j->matched++;
    j->kind->take(j, m, e);
}

/* ---- by memory ------------------------------------------------------------------------------ */

static bool may_go_on(const struct admin_job *j)
{
    return j->batch < BATCH && j->matched < j->portion_end && !admin_walk_is_over(j);
}

static bool look_at(struct spool_message *m, void *context)
{
    struct admin_job *j = context;
    enum admin_match match = ADMIN_MATCH_NO;

    if (m->owner != NULL)
        match = admin_filter_match(&j->request.filter, m, queue_now_s(shard_queue(j->on)));
    if (match == ADMIN_MATCH_MAYBE || (match == ADMIN_MATCH_YES && j->kind->wants_envelope(j, m))) {
        bool added = spool_bulk_add(j->bulk, m);
        ASSERT(added); /* a batch is smaller than what it can hold */
        j->batch++;
    } else if (match == ADMIN_MATCH_YES) {
        take(j, m, NULL);
    }
    return may_go_on(j);
}

static void look_at_ids(struct admin_job *j)
{
    const struct admin_filter *f = &j->request.filter;

    while (j->looks_left > 0 && j->id_next < f->id_count && may_go_on(j)) {
        struct spool_message *m = spool_find(shard_spool(j->on), f->ids[j->id_next++]);
        j->looks_left--;
        if (m != NULL)
            (void)look_at(m, j);
    }
    j->walked = j->id_next == f->id_count;
}

/* Looks at messages until a batch is full, or the portion. */
static void gather(struct admin_job *j)
{
    if (j->request.filter.id_count > 0) {
        look_at_ids(j);
        return;
    }
    if (j->looks_left > 0 && may_go_on(j))
        j->walked = !spool_walk(shard_spool(j->on), &j->after, j->looks_left, look_at, j);
    j->looks_left = 0;
}

/* ---- by envelope ---------------------------------------------------------------------------- */

static void take_row(struct admin_job *j, const struct spool_bulk_row *row)
{
    struct spool_message *m = row->message;
    struct admin_envelope e = {.sender = row->sender, .facts = row->facts, .envid = row->envid};
    struct slice *recipients;
    struct spool_dsn *dsn;

    if (row->error != 0 || m->owner == NULL || admin_walk_is_over(j))
        return; /* of damage the server's log tells */
    recipients = mem_calloc(m->recipient_count, sizeof(*recipients));
    spool_bulk_recipients(j->bulk, recipients);
    if (admin_filter_confirm(&j->request.filter, shard_queue(j->on)->conf, m, e.sender,
                             recipients)) {
        dsn = mem_calloc(m->recipient_count, sizeof(*dsn));
        spool_bulk_dsn(j->bulk, dsn);
        e.recipients = recipients;
        e.dsn = dsn;
        take(j, m, &e);
        mem_free(dsn);
    }
    mem_free(recipients);
}

/* The rows of the batch, as many as the portion takes. False: they have to be read first. */
static bool take_rows(struct admin_job *j)
{
    struct spool_bulk_row row;

    while (buf_len(&j->rows) < ADMIN_PORTION_BYTES && j->matched < j->portion_end) {
        switch (spool_bulk_next(j->bulk, &row)) {
        case SPOOL_READ_WAIT: return false;
        case SPOOL_READ_PIECE: take_row(j, &row); break;
        case SPOOL_READ_ERROR:
        case SPOOL_READ_END: j->batch = 0; return true;
        }
    }
    return true;
}

/* ---- the portion ---------------------------------------------------------------------------- */

static void walk_step(struct admin_job *j)
{
    do {
        if (j->batch > 0 && !take_rows(j))
            return;
        if (j->batch > 0) /* the portion is full */
            break;
        gather(j);
    } while (j->batch > 0);
    j->shard_done = (j->walked && j->batch == 0) || admin_walk_is_over(j);
    shard_answer(j->on, &j->call);
}

void admin_walk_run(struct shard *on, struct shard_call *call)
{
    struct admin_job *j = container_of(call, struct admin_job, call);

    j->on = on;
    if (j->kind->give_back != NULL)
        j->kind->give_back(j);
    if (j->bulk == NULL) {
        j->bulk = spool_bulk_create(shard_spool(on), bulk_ready, j);
        j->walked = false;
        j->after = 0;
        j->id_next = 0;
    }
    j->looks_left = PORTION_LOOKS;
    j->portion_end = j->matched + PORTION_DEEDS;
    walk_step(j);
}

/* ---- the end -------------------------------------------------------------------------------- */

void admin_walk_end(struct admin_job *j)
{
    if (spool_bulk_busy(j->bulk))
        return; /* `ready` comes */
    spool_bulk_destroy(j->bulk, false);
    j->bulk = NULL;
    j->batch = 0;
    j->ending = false;
    shard_answer(j->on, &j->call);
}

void admin_walk_end_run(struct shard *on, struct shard_call *call)
{
    struct admin_job *j = container_of(call, struct admin_job, call);

    ASSERT(j->on == on);
    if (j->kind->give_back != NULL)
        j->kind->give_back(j);
    j->ending = true;
    spool_bulk_drop(j->bulk);
    admin_walk_end(j);
}
