/*
 * admin_export: messages on their way out: docs/admin.md has the format.
 *
 * On its shard a message is pinned, its envelope is written down, and it is put on hold, so that it is not
 * delivered here while it is delivered elsewhere. The first shard then reads its body through its own io,
 * as fast as the client takes it; after a portion the pins are given back.
 */
#include <inttypes.h>

#include "admin_job_priv.h"
#include "admin_transfer_priv.h"
#include "base_crc32c.h"
#include "base_mem.h"

enum { UNSENT_MAX = 256 * 1024, ITEMS_MAX = ADMIN_PORTION_BYTES / 64 + 1 };

struct item {
    struct spool_message *message; /* pinned; its immutable parts only on the first shard */
    struct spool_ref ref;
    uint64_t id, body_len;
    size_t json_len; /* in the portion's rows */
};

struct export
{
    struct item items[ITEMS_MAX]; /* of the portion */
    unsigned item_count;
    uint64_t records, under_way;

    /* On the first shard: the one that is being sent. */
    unsigned next;
    bool sending, reading;
    struct admin_job *job;
    struct spool_reader reader;
    struct slice *recipients; /* nobody looks at them; the reader wants a place */
    uint64_t body_left;
    uint32_t crc;
    bool damaged;
};

/* ---- on the message's shard ----------------------------------------------------------------- */

static bool always(const struct admin_job *j, const struct spool_message *m)
{
    (void)j;
    (void)m;
    return true;
}

static bool anybody_waits(const struct spool_message *m)
{
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        if (admin_transfer_waits(&m->recipients[i]))
            return true;
    }
    return false;
}

static void take(struct admin_job *j, struct spool_message *m, const struct admin_envelope *e)
{
    struct export *x = j->matter;
    struct item *item = &x->items[x->item_count];
    size_t before = buf_len(&j->rows);

    if ((!j->request.copy && admin_message_state(m) == ADMIN_STATE_ACTIVE) || !anybody_waits(m)) {
        x->under_way++; /* it may be delivered at this moment; or its sender is being told */
        j->matched--;
        return;
    }
    ASSERT(x->item_count < ITEMS_MAX);
    x->item_count++;
    admin_transfer_envelope(&j->rows, shard_queue(j->on)->conf->hostname, m, e);
    *item = (struct item){.message = m,
                          .ref = spool_pin(shard_spool(j->on), m),
                          .id = m->id,
                          .body_len = m->body_len,
                          .json_len = buf_len(&j->rows) - before};
    if (!j->request.copy)
        (void)admin_act_hold(j, m, SPOOL_DUE_NEVER, SLICE_LITERAL("exported"));
}

static void give_back(struct admin_job *j)
{
    struct export *x = j->matter;

    for (unsigned i = 0; i < x->item_count; i++)
        spool_unpin(shard_spool(j->on), x->items[i].message, &x->items[i].ref);
    x->item_count = x->next = 0;
}

/* ---- on the first shard --------------------------------------------------------------------- */

static void body_ready(struct spool_reader *r)
{
    struct export *x = container_of(r, struct export, reader);

    admin_call_over(x->job->client);
}

static void begin_item(struct admin_job *j, struct export *x)
{
    struct item *item = &x->items[x->next];
    struct buf *out = net_conn_out(&j->client->conn);
    struct slice json = slice_head(buf_slice(&j->rows), item->json_len);

    (void)buf_printf(out, "message %" PRIu64 " %zu %" PRIu64 "\n", ++x->records, json.len,
                     item->body_len);
    (void)buf_append_slice(out, json);
    (void)buf_append_byte(out, '\n');
    x->crc = crc32c(0, json.data, json.len);
    buf_consume(&j->rows, json.len);
    x->sending = true;
    x->damaged = false;
    x->body_left = item->body_len;
    x->job = j;
    x->recipients = mem_calloc(item->message->recipient_count, sizeof(*x->recipients));
    spool_reader_begin(&x->reader, shard_io(j->client->admin->shard), &item->ref, body_ready);
    x->reading = true;
}

static void end_reader(struct export *x)
{
    if (x->reading)
        spool_reader_finish(&x->reader);
    mem_free(x->recipients);
    x->recipients = NULL;
    x->reading = false;
}

/* What cannot be read is filled up, so that the framing holds, and said to be damaged. */
static void fill_up(struct export *x, struct buf *out)
{
    static const uint8_t zeros[4096];

    while (x->body_left > 0 && buf_len(out) <= UNSENT_MAX) {
        size_t some = x->body_left < sizeof(zeros) ? (size_t)x->body_left : sizeof(zeros);
        (void)buf_append(out, zeros, some);
        x->body_left -= some;
    }
}

static void end_item(struct export *x, struct buf *out)
{
    if (x->damaged)
        (void)buf_append_str(out, "\ncrc32c damaged\n");
    else
        (void)buf_printf(out, "\ncrc32c %08" PRIx32 "\n", x->crc);
    end_reader(x);
    x->sending = false;
    x->next++;
}

/* False: wait. */
static bool send_piece(struct admin_job *j, struct export *x)
{
    struct buf *out = net_conn_out(&j->client->conn);
    struct slice piece = SLICE_NULL, sender;
    enum spool_read result = spool_reader_envelope(&x->reader, &sender, x->recipients, NULL);

    if (result == SPOOL_READ_PIECE)
        result = spool_reader_body(&x->reader, &piece);
    switch (result) {
    case SPOOL_READ_WAIT: j->client->calls++; return false;
    case SPOOL_READ_PIECE:
        if (piece.len > x->body_left) {
            x->damaged = true;
            return true;
        }
        x->body_left -= piece.len;
        x->crc = crc32c(x->crc, piece.data, piece.len);
        (void)buf_append_slice(out, piece);
        return true;
    case SPOOL_READ_END:
    case SPOOL_READ_ERROR: x->damaged = true; break;
    }
    return true;
}

static bool send_items(struct admin_job *j)
{
    struct export *x = j->matter;
    struct net_conn *conn = &j->client->conn;

    while (x->next < x->item_count) {
        if (net_conn_unsent(conn) > UNSENT_MAX) {
            net_conn_flush(conn);
            return false; /* stepped when it has been taken */
        }
        if (!x->sending)
            begin_item(j, x);
        if (x->damaged)
            fill_up(x, net_conn_out(conn));
        else if (x->body_left > 0 && !send_piece(j, x)) {
            net_conn_flush(conn);
            return false;
        }
        if (x->body_left == 0)
            end_item(x, net_conn_out(conn));
    }
    return true;
}

static void halt(struct admin_job *j)
{
    end_reader(j->matter);
}

/* ---- the kind ------------------------------------------------------------------------------- */

static void start(struct admin_job *j)
{
    j->matter = mem_zalloc(sizeof(struct export));
    j->client->patience_ms = ADMIN_TRANSFER_PATIENCE_MS;
    /* An envelope goes out in one piece. */
    j->client->conn.out.limit = j->client->conn.sending.limit =
        ADMIN_TRANSFER_ENVELOPE_MAX + ADMIN_ANSWER_MAX;
}

static void begin(struct admin_job *j, struct buf *out)
{
    (void)j;
    (void)buf_append_str(out, ADMIN_TRANSFER_VERSION "\n");
}

static void finish(struct admin_job *j, struct buf *out)
{
    const struct export *x = j->matter;

    (void)buf_printf(out, "end %" PRIu64 " %" PRIu64 "\n", x->records, x->under_way);
}

static void release(struct admin_job *j)
{
    struct export *x = j->matter;

    end_reader(x);
    mem_free(x);
}

const struct admin_job_kind admin_export_kind = {.start = start,
                                                 .wants_envelope = always,
                                                 .take = take,
                                                 .give_back = give_back,
                                                 .halt = halt,
                                                 .send = send_items,
                                                 .begin = begin,
                                                 .finish = finish,
                                                 .release = release};
