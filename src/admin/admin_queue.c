/*
 * admin_queue: listing messages and acting on them.
 *
 * Each shard is asked in turn. It notes the ids that are meant, then works through them in portions:
 * a portion of rows travels to the first shard, is sent, and only then the next one is made, so a
 * listing of any length costs bounded memory and never holds a shard up. Sender and recipients are
 * read from the log, since memory does not keep them.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "admin_priv.h"
#include "base_mem.h"

enum {
    PORTION_BYTES = 32 * 1024,
    PORTION_IDS = 512, /* each of them may be an outcome in the log */
    ROW_RECIPIENTS_MAX = 1000,
    UNSENT_MAX = 64 * 1024,
};

struct queue_job {
    struct shard_call call;
    struct admin_client *client;
    enum admin_queue_verb verb;
    bool json;
    bool all;
    uint64_t *wanted; /* ids that were named */
    size_t wanted_count;

    /* On the shard that is being asked. */
    unsigned shard;
    struct shard *on;
    bool noted;
    uint64_t *ids;
    size_t id_count, id_capacity, id_next;
    struct spool_message *message; /* pinned, being read */
    struct spool_ref ref;
    struct spool_reader reader;
    struct slice *recipients;
    struct buf rows;
    bool shard_done;

    bool began; /* the answer */
    uint64_t matched;
};

static void portion_step(struct queue_job *j);

/* ---- on the asked shard ------------------------------------------------------------------- */

static void note_id(struct queue_job *j, uint64_t id)
{
    if (j->id_count == j->id_capacity) {
        j->id_capacity = j->id_capacity > 0 ? 2 * j->id_capacity : 64;
        j->ids = mem_realloc(j->ids, j->id_capacity * sizeof(*j->ids));
    }
    j->ids[j->id_count++] = id;
}

static bool note_message(struct spool_message *m, void *context)
{
    note_id(context, m->id);
    return true;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void note_ids(struct queue_job *j)
{
    struct spool *spool = shard_spool(j->on);

    j->noted = true;
    j->id_count = j->id_next = 0;
    if (j->all) {
        spool_each(spool, note_message, j);
        if (j->id_count > 0) /* else there may be no array, which qsort() must not be given */
            qsort(j->ids, j->id_count, sizeof(*j->ids), compare_ids);
        return;
    }
    for (size_t i = 0; i < j->wanted_count; i++) {
        if (spool_find(spool, j->wanted[i]) != NULL)
            note_id(j, j->wanted[i]);
    }
}

static const char *state_name(const struct queue_entry *e)
{
    struct queue_facts facts;

    queue_entry_facts(e, &facts);
    return queue_standing_name(facts.standing);
}

static const char *recipient_state_name(enum spool_recipient_state state)
{
    switch (state) {
    case SPOOL_RECIPIENT_WAITING: return "waiting";
    case SPOOL_RECIPIENT_DELIVERED: return "delivered";
    case SPOOL_RECIPIENT_BOUNCED: return "bounced";
    case SPOOL_RECIPIENT_DELETED: return "deleted";
    }
    UNREACHABLE();
}

static void json_date(struct buf *out, const char *key, uint32_t unix_s)
{
    char text[DATE_TEXT_SIZE];

    if (unix_s == 0)
        return;
    date_format_iso((uint64_t)unix_s * 1000, text);
    (void)buf_printf(out, ",\"%s\":\"%s\"", key, text);
}

static void row_json(struct queue_job *j, struct slice sender)
{
    const struct spool_message *m = j->message;
    const struct queue_entry *e = m->owner;
    struct buf *out = &j->rows;
    char id[ID_TEXT_SIZE];

    id_to_text(m->id, id);
    (void)buf_printf(out, "{\"id\":\"%s\",\"state\":\"%s\",\"shard\":%u,\"size\":%" PRIu64, id,
                     state_name(e), shard_number(j->on), m->body_len);
    json_date(out, "arrived", m->arrived_s);
    (void)buf_append_str(out, ",\"sender\":");
    (void)json_append_string(out, sender);
    (void)buf_append_str(out, ",\"reason\":");
    (void)json_append_string(out, queue_entry_reason(e));
    json_date(out, "due", queue_entry_due_s(e));
    (void)buf_append_str(out, ",\"recipients\":[");
    for (uint32_t i = 0; i < m->recipient_count && i < ROW_RECIPIENTS_MAX; i++) {
        const struct spool_recipient *r = &m->recipients[i];
        (void)buf_printf(out, "%s{\"address\":", i > 0 ? "," : "");
        (void)json_append_string(out, j->recipients[i]);
        (void)buf_printf(out, ",\"state\":\"%s\",\"attempts\":%u",
                         recipient_state_name((enum spool_recipient_state)r->state),
                         (unsigned)r->attempts);
        if (r->state == SPOOL_RECIPIENT_WAITING)
            json_date(out, "due", r->due_s);
        (void)buf_append_str(out, "}");
    }
    (void)buf_append_str(out, "]}");
}

/* Like mailq: a line for the message, one for why it waits, one for each recipient that is left. */
static void row_text(struct queue_job *j, struct slice sender)
{
    const struct spool_message *m = j->message;
    const struct queue_entry *e = m->owner;
    struct slice reason = queue_entry_reason(e);
    char id[ID_TEXT_SIZE], arrived[DATE_TEXT_SIZE], due[DATE_TEXT_SIZE];
    struct buf *out = &j->rows;

    id_to_text(m->id, id);
    date_format_iso((uint64_t)m->arrived_s * 1000, arrived);
    (void)buf_printf(out, "%s %-7s %10" PRIu64 " %s <%.*s>\n", id, state_name(e), m->body_len,
                     arrived, SLICE_ARG(sender));
    if (reason.len > 0)
        (void)buf_printf(out, "    (%.*s)\n", SLICE_ARG(reason));
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        const struct spool_recipient *r = &m->recipients[i];
        if (r->state != SPOOL_RECIPIENT_WAITING && j->verb == ADMIN_QUEUE_LIST)
            continue;
        (void)buf_printf(out, "    <%.*s>", SLICE_ARG(j->recipients[i]));
        if (r->state != SPOOL_RECIPIENT_WAITING)
            (void)buf_printf(out, " %s",
                             recipient_state_name((enum spool_recipient_state)r->state));
        if (r->attempts > 0)
            (void)buf_printf(out, " attempts=%u", (unsigned)r->attempts);
        if (r->state == SPOOL_RECIPIENT_WAITING && r->due_s > 0) {
            date_format_iso((uint64_t)r->due_s * 1000, due);
            (void)buf_printf(out, " next=%s", due);
        }
        (void)buf_append_str(out, "\n");
    }
}

static void reader_ready(struct spool_reader *r)
{
    portion_step(container_of(r, struct queue_job, reader));
}

static void begin_read(struct queue_job *j, struct spool_message *m)
{
    j->message = m;
    j->ref = spool_pin(shard_spool(j->on), m);
    j->recipients = mem_calloc(m->recipient_count, sizeof(*j->recipients));
    spool_reader_begin(&j->reader, shard_io(j->on), &j->ref, reader_ready);
}

static void end_read(struct queue_job *j)
{
    spool_reader_finish(&j->reader);
    spool_unpin(shard_spool(j->on), j->message, &j->ref);
    mem_free(j->recipients);
    j->recipients = NULL;
    j->message = NULL;
}

/* False: the read goes on, and portion_step() is called when it is over. */
static bool finish_row(struct queue_job *j)
{
    struct slice sender;

    switch (spool_reader_envelope(&j->reader, &sender, j->recipients, NULL)) {
    case SPOOL_READ_WAIT: return false;
    case SPOOL_READ_PIECE:
        if (j->message->owner == NULL) /* its last recipient was done while we read */
            break;
        j->matched++;
        if (j->json && j->matched > 1)
            (void)buf_append_str(&j->rows, ",\n");
        if (j->json)
            row_json(j, sender);
        else
            row_text(j, sender);
        break;
    case SPOOL_READ_END:
    case SPOOL_READ_ERROR: break; /* damaged: the log of the server says so */
    }
    end_read(j);
    return true;
}

static void act(struct queue_job *j, uint64_t id)
{
    struct queue *queue = shard_queue(j->on);
    bool found = j->verb == ADMIN_QUEUE_RETRY ? queue_retry(queue, id) : queue_delete(queue, id);

    j->matched += found;
}

static void portion_step(struct queue_job *j)
{
    if (j->message != NULL && !finish_row(j))
        return;
    for (int left = PORTION_IDS;
         left > 0 && j->id_next < j->id_count && buf_len(&j->rows) < PORTION_BYTES; left--) {
        uint64_t id = j->ids[j->id_next++];
        struct spool_message *m = spool_find(shard_spool(j->on), id);

        if (m == NULL || m->owner == NULL) /* delivered since */
            continue;
        if (j->verb == ADMIN_QUEUE_RETRY || j->verb == ADMIN_QUEUE_DELETE) {
            act(j, id);
            continue;
        }
        begin_read(j, m);
        if (!finish_row(j))
            return;
    }
    j->shard_done = j->id_next == j->id_count;
    shard_answer(j->on, &j->call);
}

static void portion_run(struct shard *on, struct shard_call *call)
{
    struct queue_job *j = container_of(call, struct queue_job, call);

    j->on = on;
    if (!j->noted)
        note_ids(j);
    portion_step(j);
}

/* ---- on the first shard ------------------------------------------------------------------- */

static void portion_done(struct shard *on, struct shard_call *call)
{
    (void)on;
    admin_call_over(container_of(call, struct queue_job, call)->client);
}

static void ask(struct queue_job *j)
{
    j->client->calls++;
    shard_call(j->client->admin->shard, j->shard, &j->call);
}

static void finish(struct queue_job *j)
{
    struct buf *out = net_conn_out(&j->client->conn);

    switch (j->verb) {
    case ADMIN_QUEUE_LIST:
    case ADMIN_QUEUE_SHOW:
        if (j->json)
            (void)buf_append_str(out, "]\n");
        break;
    case ADMIN_QUEUE_RETRY:
    case ADMIN_QUEUE_DELETE:
        if (j->json)
            (void)buf_printf(out, "{\"messages\":%" PRIu64 "}\n", j->matched);
        else
            (void)buf_printf(out, "%" PRIu64 " message%s %s\n", j->matched,
                             j->matched == 1 ? "" : "s",
                             j->verb == ADMIN_QUEUE_RETRY ? "due now" : "deleted");
        break;
    }
    admin_answered(j->client);
}

/* The head of the answer is held back until it is known whether there is anything to show. */
static bool begin_answer(struct queue_job *j, bool last)
{
    struct buf *out = net_conn_out(&j->client->conn);

    if (j->began)
        return true;
    if (j->matched == 0 && !last)
        return true;
    if (j->matched == 0 && !j->all) {
        admin_error(j->client, "no such message in the queue");
        return false;
    }
    j->began = true;
    (void)buf_append_str(out, "ok\n");
    if (j->json && (j->verb == ADMIN_QUEUE_LIST || j->verb == ADMIN_QUEUE_SHOW))
        (void)buf_append_str(out, "[");
    return true;
}

static void queue_step_client(struct admin_client *c)
{
    struct queue_job *j = c->job;
    struct net_conn *conn = &c->conn;
    bool last;

    if (c->calls > 0 || net_conn_unsent(conn) > UNSENT_MAX)
        return;
    if (j->shard_done) {
        j->shard++;
        j->noted = j->shard_done = false;
    }
    last = j->shard == shard_group_of(c->admin->shard)->count;
    if (!begin_answer(j, last))
        return;
    (void)buf_append_slice(net_conn_out(conn), buf_slice(&j->rows));
    buf_clear(&j->rows);
    if (last) {
        finish(j);
        return;
    }
    net_conn_flush(conn);
    ask(j);
}

static void job_release(struct admin_client *c)
{
    struct queue_job *j = c->job;

    mem_free(j->wanted);
    mem_free(j->ids);
    buf_finish(&j->rows);
    mem_free(j);
}

static bool parse_ids(struct queue_job *j, const struct slice *ids, size_t id_count)
{
    j->all = id_count == 0 || (id_count == 1 && slice_equal(ids[0], SLICE_LITERAL("all")));
    if (j->all)
        return true;
    j->wanted = mem_calloc(id_count, sizeof(*j->wanted));
    j->wanted_count = id_count;
    for (size_t i = 0; i < id_count; i++) {
        if (!id_from_text(ids[i], &j->wanted[i]))
            return false;
    }
    return true;
}

void admin_queue(struct admin_client *c, enum admin_queue_verb verb, const struct slice *ids,
                 size_t id_count, bool json)
{
    struct queue_job *j = mem_zalloc(sizeof(*j));

    j->client = c;
    j->verb = verb;
    j->json = json;
    j->call.run = portion_run;
    j->call.done = portion_done;
    buf_init(&j->rows, 0);
    c->job = j;
    c->release = job_release;
    if (!parse_ids(j, ids, id_count)) {
        admin_error(c, "not a message id");
        return;
    }
    c->step = queue_step_client;
    queue_step_client(c);
}
