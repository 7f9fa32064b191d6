/* server_transaction: one message, from MAIL to the answer to its final dot. */
#include <stdio.h>

#include "base_log.h"
#include "base_mem.h"
#include "mail_trace.h"
#include "server_priv.h"

static const struct smtp_reply reply_no_room =
    SMTP_REPLY_INIT(452, 4, 3, 1, "Insufficient system storage, try again later");
static const struct smtp_reply reply_failed =
    SMTP_REPLY_INIT(451, 4, 3, 0, "Local error in storing the message, try again later");
static const struct smtp_reply reply_too_big =
    SMTP_REPLY_INIT(552, 5, 3, 4, "Message too large to be stored");
static const struct smtp_reply reply_loop =
    SMTP_REPLY_INIT(554, 5, 4, 6, "Too many hops: a mail loop");
const struct smtp_reply *transaction_spool_reply(enum spool_result result)
{
    switch (result) {
    case SPOOL_OK:
    case SPOOL_WAIT: return NULL;
    case SPOOL_FULL: return &reply_no_room;
    case SPOOL_FAILED: return &reply_failed;
    case SPOOL_TOO_BIG: return &reply_too_big;
    }
    UNREACHABLE();
}

static struct buf *out_of(struct session *s)
{
    return net_conn_out(&s->conn);
}

void transaction_refused(struct session *s, const struct smtp_reply *refusal)
{
    if (refusal->code >= 500)
        s->server->counters.refused_messages++;
    else
        s->server->counters.deferred_messages++;
    transaction_log_refused(s, "message-refused", s->tx->first, refusal);
}

static void transaction_done(struct spool_writer *w, enum spool_result result);

static void writer_ready(struct spool_writer *w)
{
    session_step(container_of(w, struct transaction, writer)->session);
}

/* RFC 3848. What was said in HELO has no such names. */
static struct slice protocol_of(const struct session *s)
{
    bool user = policy_logged_in(&s->client);

    if (!s->smtp.extended)
        return SLICE_LITERAL("SMTP");
    if (s->smtp.tls_active)
        return user ? SLICE_LITERAL("ESMTPSA") : SLICE_LITERAL("ESMTPS");
    return user ? SLICE_LITERAL("ESMTPA") : SLICE_LITERAL("ESMTP");
}

/* "version=TLS1_3 cipher=TLS_AES_128_GCM_SHA256", as others write it. */
static struct slice tls_words(const struct session *s, char *out, size_t size)
{
    struct tls_facts facts;
    int len;

    if (!session_tls_facts(s, &facts))
        return SLICE_NULL;
    len = snprintf(out, size, "version=%s cipher=%s",
                   strcmp(facts.version, "TLSv1.3") == 0 ? "TLS1_3" : "TLS1_2", facts.cipher);
    return slice_of(out, (size_t)len < size ? (size_t)len : size - 1);
}

static void add_trace(struct session *s)
{
    struct transaction *tx = s->tx;
    char tls[128];
    char id[ID_TEXT_SIZE];
    struct mail_received received = {
        .helo = slice_str(s->helo),
        .ip = s->client.ip,
        .hostname = s->client.conf->hostname,
        .masked = policy_logged_in(&s->client) && s->terms->listener->mask_client,
        .protocol = protocol_of(s),
        .rcpt = s->smtp.recipients == 1 ? tx->first : SLICE_NULL,
        .unix_seconds = io_unix_ms(s->server->o.io) / 1000,
    };

    id_to_text(tx->writer.id, id);
    received.id = slice_str(id);
    received.tls = tls_words(s, tls, sizeof(tls));
    (void)mail_trace_received(&received, &tx->head);
}

void transaction_begin_data(struct session *s)
{
    struct transaction *tx = s->tx;
    const struct smtp_reply *refusal;

    tx->session = s;
    tx->writer.ready = writer_ready;
    tx->writer.done = transaction_done;
    refusal =
        transaction_spool_reply(spool_writer_begin(s->server->o.spool, &tx->writer, tx->size_hint));
    if (refusal == NULL) {
        mail_header_init(&tx->header);
        add_trace(s);
        transaction_submission_start(s);
    } else {
        transaction_refused(s, refusal);
    }
    smtp_server_answer(&s->smtp, refusal, out_of(s));
}

/* The body cannot be kept: the engine swallows the rest of it, if there is any, and says so. */
static void refuse_body(struct session *s, const struct smtp_reply *refusal)
{
    bool ended = s->tx->ended;

    transaction_refused(s, refusal);
    transaction_end(s);
    if (ended)
        smtp_server_answer(&s->smtp, refusal, out_of(s));
    else
        smtp_server_refuse_data(&s->smtp, refusal);
}

/* Writes what it can from the front of *bytes. False: the message is refused. */
static bool write_some(struct session *s, struct slice *bytes, bool *out_wait)
{
    enum spool_result result = spool_write(&s->tx->writer, bytes);

    *out_wait = result == SPOOL_WAIT;
    if (result != SPOOL_OK && result != SPOOL_WAIT) {
        refuse_body(s, transaction_spool_reply(result));
        return false;
    }
    return true;
}

bool transaction_flush(struct session *s)
{
    struct transaction *tx = s->tx;
    struct slice left = buf_slice(&tx->head);
    size_t before = left.len;
    bool wait = false;

    if (before == 0)
        return true;
    if (!write_some(s, &left, &wait))
        return true; /* refused: there is nothing left to flush */
    buf_consume(&tx->head, before - left.len);
    buf_release(&tx->head);
    return !wait;
}

void transaction_body(struct session *s)
{
    struct transaction *tx = s->tx;
    struct slice body = s->smtp.body;
    const struct smtp_reply *refusal;
    bool wait = false;

    if (tx == NULL || body.len == 0) /* refused: being swallowed */
        return;
    tx->size += body.len;
    refusal = transaction_user_size(s);
    if (refusal != NULL) {
        refuse_body(s, refusal);
        return;
    }
    if (!tx->header.done) {
        (void)mail_header_scan(&tx->header, body);
        if (tx->header.received > s->client.conf->limits.hops) {
            refuse_body(s, &reply_loop);
            return;
        }
    }
    transaction_submission_take(tx, &body);
    if (!transaction_flush(s))
        wait = true;
    else if (s->tx == NULL || !write_some(s, &body, &wait))
        return;
    if (wait) {
        /* The engine's input is about to go: what staging did not take is kept aside. No more is read
         * until there is room, so this is one receive buffer at most. */
        (void)buf_append_slice(&tx->head, body);
        s->state = SESSION_ROOM;
    }
}

static void envelope_facts(const struct session *s, struct buf *out)
{
    char ip[IP_TEXT_SIZE], session[ID_TEXT_SIZE];
    struct tls_facts tls;

    ip_format(&s->client.ip, ip);
    id_to_text(s->id, session);
    (void)buf_printf(out, "client=%s\nhelo=%s\nlistener=%.*s\nsession=%s\n", ip, s->helo,
                     SLICE_ARG(s->terms->listener->name), session);
    if (policy_logged_in(&s->client))
        (void)buf_printf(out, "user=%.*s\n", SLICE_ARG(s->client.user->name));
    if (session_tls_facts(s, &tls))
        (void)buf_printf(out, "tls=%s\ncipher=%s\n", tls.version, tls.cipher);
}

static uint16_t flags_of(const struct session *s)
{
    const struct transaction *tx = s->tx;
    unsigned flags = tx->flags;

    if ((s->smtp.dot.facts & SMTP_DOT_LEADING) != 0)
        flags |= SPOOL_HAS_DOT_LINES;
    if ((s->smtp.dot.facts & SMTP_DOT_8BIT) != 0)
        flags |= SPOOL_HAS_8BIT;
    if (tx->require_tls) /* what the field says does not count then (RFC 8689 4.1) */
        flags |= SPOOL_REQUIRE_TLS;
    else if ((tx->header.facts & MAIL_HEADER_TLS_OPTIONAL) != 0)
        flags |= SPOOL_TLS_OPTIONAL;
    return (uint16_t)flags;
}

void transaction_commit(struct session *s)
{
    struct transaction *tx = s->tx;
    struct spool_envelope envelope;
    struct buf facts;

    tx->ended = true;
    transaction_submission_finish(tx);
    if (!transaction_flush(s)) { /* an empty body: only the trace fields waited */
        s->state = SESSION_ROOM;
        return;
    }
    if (s->tx == NULL) /* refused at the very end */
        return;
    buf_init(&facts, 0);
    envelope_facts(s, &facts);
    envelope = (struct spool_envelope){
        .sender = tx->sender,
        .recipients = tx->envelope.recipients,
        .recipient_count = tx->envelope.count,
        .dsn = tx->envelope.dsn,
        .envid = tx->envid,
        .arrived_s = (uint32_t)(io_unix_ms(s->server->o.io) / 1000),
        .flags = flags_of(s),
        .facts = buf_slice(&facts),
    };
    s->state = SESSION_COMMIT;
    tx->committing = true;
    spool_writer_commit(&tx->writer, &envelope);
    buf_finish(&facts);
}

static void log_accepted(const struct session *s, uint64_t id)
{
    struct log_record r;

    log_begin(&r, LOG_INFO, "accepted");
    log_id(&r, "session", s->id);
    log_id(&r, "message", id);
    log_ip(&r, "client", &s->client.ip);
    log_str(&r, "helo", s->helo);
    log_slice(&r, "from", s->tx->sender);
    log_slice(&r, "to", s->tx->first);
    log_u64(&r, "recipients", s->tx->envelope.count);
    log_u64(&r, "size", s->tx->size);
    session_log_secure(s, &r);
    log_end(&r);
}

static void answer_accepted(struct session *s, uint64_t id)
{
    char words[] = "Ok: queued as 0000000000000";
    struct smtp_reply reply = SMTP_REPLY(250, 2, 0, 0, "");
    char text[ID_TEXT_SIZE];

    id_to_text(id, text);
    memcpy(words + sizeof(words) - sizeof(text), text, sizeof(text));
    reply.text = slice_str(words);
    smtp_server_answer(&s->smtp, &reply, out_of(s));
}

/* The sync is over. Only here, and only after SPOOL_OK, a message is answered with 250. */
static void transaction_done(struct spool_writer *w, enum spool_result result)
{
    struct transaction *tx = container_of(w, struct transaction, writer);
    struct session *s = tx->session;
    struct server *server = s->server;

    ASSERT(tx->committing);
    if (result == SPOOL_OK) {
        server->counters.accepted++;
        server->counters.recipients += tx->envelope.count;
        server->counters.bytes_in += tx->size;
        transaction_user_accepted(tx);
        log_accepted(s, w->message->id);
        (void)queue_accept(server->o.queue, w->message);
    } else {
        transaction_refused(s, transaction_spool_reply(result));
    }
    if (s->state == SESSION_COMMIT) {
        s->state = SESSION_COMMAND;
        session_waited(s);
        if (result == SPOOL_OK)
            answer_accepted(s, w->id);
        else
            smtp_server_answer(&s->smtp, transaction_spool_reply(result), out_of(s));
    }
    tx->committing = false;
    transaction_end(s);
    session_step(s);
}

void transaction_discard(struct session *s)
{
    struct transaction *tx = s->tx;

    if (tx == NULL)
        return;
    verify_give_up(&tx->check.query);
    s->server->list_bytes -= tx->list_bytes;
    buf_finish(&tx->head);
    arena_reset(&tx->check.arena);
    arena_reset(&tx->arena);
    s->tx = NULL;
    pool_put(&s->server->transaction_pool, tx);
}

void transaction_end(struct session *s)
{
    struct transaction *tx = s->tx;

    if (tx == NULL || tx->committing)
        return;
    spool_writer_abort(&tx->writer);
    transaction_user_end(s);
    transaction_discard(s);
}
