/* admin_import_slot: a record on the shard that is to have it. */
#include "admin_import_priv.h"
#include "base_log.h"
#include "base_mem.h"

static void slot_step(struct import_slot *s);

static void answer(struct import_slot *s, enum spool_result result)
{
    s->result = result;
    shard_answer(s->on, &s->call);
}

static void writer_ready(struct spool_writer *w)
{
    slot_step(container_of(w, struct import_slot, writer));
}

static void log_import(const struct import_slot *s, const struct spool_message *m)
{
    struct log_record r;

    log_begin(&r, LOG_INFO, "imported");
    log_id(&r, "message", m->id);
    log_slice(&r, "from", s->record.envelope.sender);
    log_u64(&r, "recipients", m->recipient_count);
    log_u64(&r, "size", m->body_len);
    log_slice(&r, "origin", s->record.origin);
    log_u64(&r, "record", s->number);
    log_end(&r);
}

static void writer_done(struct spool_writer *w, enum spool_result result)
{
    struct import_slot *s = container_of(w, struct import_slot, writer);

    s->begun = false;
    if (result == SPOOL_OK) {
        log_import(s, w->message);
        (void)queue_accept(shard_queue(s->on), w->message);
    }
    answer(s, result);
}

/* What came before its shard fails or is full stays uncommitted: dead bytes. */
static void lose(struct import_slot *s, enum spool_result result)
{
    if (s->begun)
        spool_writer_abort(&s->writer);
    s->begun = false;
    answer(s, result);
}

static bool begin(struct import_slot *s)
{
    enum spool_result result;

    if (s->begun)
        return true;
    s->writer = (struct spool_writer){.ready = writer_ready, .done = writer_done};
    result = spool_writer_begin(shard_spool(s->on), &s->writer, s->body_len);
    s->begun = result == SPOOL_OK;
    if (!s->begun)
        answer(s, result);
    return s->begun;
}

static void slot_step(struct import_slot *s)
{
    struct slice left = buf_slice(&s->piece);
    enum spool_result result = spool_write(&s->writer, &left);

    buf_consume(&s->piece, buf_len(&s->piece) - left.len);
    switch (result) {
    case SPOOL_WAIT: return; /* `ready` comes */
    case SPOOL_OK: break;
    case SPOOL_FULL:
    case SPOOL_FAILED:
    case SPOOL_TOO_BIG: lose(s, result); return;
    }
    if (s->state == SLOT_COMMITTING)
        spool_writer_commit(&s->writer, &s->record.envelope);
    else
        answer(s, SPOOL_OK);
}

static void slot_run(struct shard *on, struct shard_call *call)
{
    struct import_slot *s = container_of(call, struct import_slot, call);

    s->on = on;
    if (s->state == SLOT_ABORTING)
        lose(s, SPOOL_OK);
    else if (begin(s))
        slot_step(s);
}

static void slot_done(struct shard *on, struct shard_call *call)
{
    (void)on;
    import_slot_returned(container_of(call, struct import_slot, call));
}

void import_slot_send(struct import_slot *s, enum slot_state state)
{
    ASSERT(s->state == SLOT_FILLING);
    s->state = state;
    s->call.run = slot_run;
    s->call.done = slot_done;
    s->client->calls++;
    shard_call(s->client->admin->shard, s->shard, &s->call);
}

bool import_slot_result(const struct import_slot *s, struct buf *out_error)
{
    switch (s->result) {
    case SPOOL_OK: return true;
    case SPOOL_FULL: (void)buf_append_str(out_error, "the spool is full"); break;
    case SPOOL_FAILED:
        (void)buf_append_str(out_error,
                             "the spool cannot be written to; the server's log says why");
        break;
    case SPOOL_TOO_BIG:
        (void)buf_append_str(out_error, "the message is larger than this spool can hold");
        break;
    case SPOOL_WAIT: UNREACHABLE();
    }
    return false;
}
