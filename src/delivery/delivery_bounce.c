/*
 * delivery_bounce: tells a sender that delivery has failed (RFC 5321 6.1, RFC 3464). The notification
 * is a message of our own with the null sender; only when it is stable are the failures recorded, so
 * that a crash between the two repeats the notification and never loses it (P4).
 *
 *     headers of the message -> compose -> spool -> queue -> delivery_outcome_record()
 */
#include "base_log.h"
#include "base_mem.h"
#include "delivery_priv.h"
#include "mail_dsn.h"

enum {
    BOUNCES_MAX = 64, /* being made at a time: each holds headers and the notification */
    MTA_MAX = 256,
};

/* Owned by itself, from start until its task's outcomes are recorded. */
struct bounce {
    struct list node; /* the delivery's */
    struct delivery *d;
    struct delivery_task *t;
    struct spool_reader reader;
    struct spool_writer writer;
    struct buf headers;
    struct buf body;
    struct slice unwritten; /* of the body */
};

static void start_waiting(struct delivery *d);
static void bounce_read(struct spool_reader *r);
static void bounce_write(struct bounce *b);

bool delivery_bounce_wanted(const struct delivery_task *t)
{
    return t->sender.len > 0 && (t->flags & SPOOL_IS_BOUNCE) == 0;
}

/* Lists that may be zeroed so far. */
static struct list *ready(struct list *l)
{
    if (l->next == NULL)
        list_init(l);
    return l;
}

/* ---- the end ------------------------------------------------------------------------------ */

static void log_bounce(const struct bounce *b, bool told)
{
    struct log_record r;

    log_begin(&r, told ? LOG_INFO : LOG_WARNING, told ? "bounce-sent" : "bounce-not-stored");
    if (told)
        log_id(&r, "message", b->writer.id);
    log_id(&r, "about", b->t->id);
    log_slice(&r, "to", b->t->sender);
    log_end(&r);
}

static void bounce_free(struct bounce *b)
{
    list_remove(&b->node);
    spool_reader_finish(&b->reader);
    buf_finish(&b->headers);
    buf_finish(&b->body);
    mem_free(b);
}

static void bounce_end(struct bounce *b, bool told)
{
    struct delivery *d = b->d;
    struct delivery_task *t = b->t;

    log_bounce(b, told);
    if (told) {
        d->counters.bounces_sent++;
        (void)queue_accept(d->o.queue, b->writer.message); /* the queue's from here on */
    }
    bounce_free(b);
    delivery_outcome_record(d, t, told);
    d->bounces_running--;
    start_waiting(d);
}

/* ---- into the spool ----------------------------------------------------------------------- */

static void bounce_committed(struct spool_writer *w, enum spool_result result)
{
    bounce_end(container_of(w, struct bounce, writer), result == SPOOL_OK);
}

static void bounce_writable(struct spool_writer *w)
{
    bounce_write(container_of(w, struct bounce, writer));
}

/* What the next hop's dialog will want to know of the body. */
static uint16_t bounce_flags(const struct delivery_task *t, struct slice body)
{
    uint16_t flags = SPOOL_IS_BOUNCE;

    /* It tells about the message, so it is protected as that was (RFC 8689 5). */
    flags |= t->flags & SPOOL_REQUIRE_TLS;

    if ((body.len > 0 && body.data[0] == '.') || memmem(body.data, body.len, "\n.", 2) != NULL)
        flags |= SPOOL_HAS_DOT_LINES;
    for (size_t i = 0; i < body.len; i++) {
        if (body.data[i] >= 0x80) {
            flags |= SPOOL_HAS_8BIT;
            break;
        }
    }
    return flags;
}

static void bounce_commit(struct bounce *b)
{
    struct spool_envelope envelope = {.sender = SLICE_NULL,
                                      .recipients = &b->t->sender,
                                      .recipient_count = 1,
                                      .arrived_s = queue_now_s(b->d->o.queue),
                                      .flags = bounce_flags(b->t, buf_slice(&b->body))};
    char about[ID_TEXT_SIZE];
    struct buf facts;

    id_to_text(b->t->id, about);
    buf_init(&facts, 0);
    (void)buf_printf(&facts, "about=%s\n", about);
    envelope.facts = buf_slice(&facts);
    spool_writer_commit(&b->writer, &envelope);
    buf_finish(&facts);
}

/* A notification about many recipients may be larger than staging has room for at once. */
static void bounce_write(struct bounce *b)
{
    switch (spool_write(&b->writer, &b->unwritten)) {
    case SPOOL_OK: bounce_commit(b); return;
    case SPOOL_WAIT: return; /* `ready` calls us */
    case SPOOL_FULL:
    case SPOOL_FAILED:
    case SPOOL_TOO_BIG: break;
    }
    spool_writer_abort(&b->writer);
    bounce_end(b, false);
}

/* ---- the notification --------------------------------------------------------------------- */

static size_t failed_recipients(struct bounce *b, struct slice remote, struct buf *texts,
                                struct mail_dsn_rcpt *out)
{
    const struct delivery_task *t = b->t;
    size_t count = 0;

    for (uint32_t i = 0; i < t->recipient_count; i++) {
        const struct delivery_recipient *r = &t->recipients[i];
        if (r->status != DELIVERY_FAILED)
            continue;
        delivery_outcome_text(r, &texts[count]);
        out[count] = (struct mail_dsn_rcpt){.address = r->address,
                                            .action = MAIL_DSN_FAILED,
                                            .remote_mta = remote,
                                            .diagnostic = buf_slice(&texts[count]),
                                            .last_attempt = queue_now_s(b->d->o.queue)};
        memcpy(out[count].enhanced, r->enhanced, sizeof(r->enhanced));
        count++;
    }
    return count;
}

/* "mx.example.org" of "mx.example.org[192.0.2.1]:25". */
static struct slice remote_host(const struct delivery_task *t)
{
    struct slice remote = slice_str(t->remote);
    ptrdiff_t bracket = slice_find(remote, '[');

    return bracket > 0 ? slice_head(remote, (size_t)bracket) : remote;
}

static bool bounce_compose(struct bounce *b)
{
    const struct delivery_task *t = b->t;
    struct mail_dsn_rcpt *rcpts = mem_calloc(t->recipient_count, sizeof(*rcpts));
    struct buf *texts = mem_calloc(t->recipient_count, sizeof(*texts));
    char id[ID_TEXT_SIZE], about[ID_TEXT_SIZE];
    struct mail_dsn dsn = {.hostname = b->d->o.conf->hostname,
                           .sender = t->sender,
                           .date = queue_now_s(b->d->o.queue),
                           .arrival = t->entry->message->arrived_s,
                           .headers = buf_slice(&b->headers),
                           .rcpts = rcpts};
    bool good;

    id_to_text(b->writer.id, id);
    id_to_text(t->id, about);
    dsn.id = slice_str(id);
    dsn.about_id = slice_str(about);
    dsn.rcpt_count = failed_recipients(b, remote_host(t), texts, rcpts);
    ASSERT(dsn.rcpt_count > 0);
    good = mail_dsn_compose(&dsn, &b->body);
    for (size_t i = 0; i < dsn.rcpt_count; i++)
        buf_finish(&texts[i]);
    mem_free(texts);
    mem_free(rcpts);
    b->unwritten = buf_slice(&b->body);
    return good;
}

static void bounce_begin_message(struct bounce *b)
{
    if (spool_writer_begin(b->d->o.spool, &b->writer, buf_len(&b->headers)) != SPOOL_OK) {
        bounce_end(b, false);
        return;
    }
    if (!bounce_compose(b)) {
        spool_writer_abort(&b->writer);
        bounce_end(b, false);
        return;
    }
    bounce_write(b);
}

/* ---- the headers of what it is about ------------------------------------------------------ */

/* Keeps the header section of what was collected, in whole lines. True if it ended, or is long enough. */
static bool cut_headers(struct bounce *b)
{
    struct slice all = buf_slice(&b->headers);
    const uint8_t *end;

    if (all.len >= 2 && memcmp(all.data, "\r\n", 2) == 0) {
        buf_clear(&b->headers); /* there are none */
        return true;
    }
    end = all.len > 0 ? memmem(all.data, all.len, "\r\n\r\n", 4) : NULL;
    if (end == NULL && all.len < MAIL_DSN_HEADERS_MAX)
        return false;
    if (end != NULL) {
        buf_truncate(&b->headers, (size_t)(end - all.data) + 2);
    } else {
        end = memrchr(all.data, '\n', all.len);
        buf_truncate(&b->headers, end != NULL ? (size_t)(end - all.data) + 1 : 0);
    }
    return true;
}

static void bounce_collect(struct bounce *b)
{
    struct slice piece;

    for (;;) {
        switch (spool_reader_body(&b->reader, &piece)) {
        case SPOOL_READ_WAIT: return;
        case SPOOL_READ_PIECE: {
            size_t room = MAIL_DSN_HEADERS_MAX - buf_len(&b->headers);
            (void)buf_append_slice(&b->headers, slice_head(piece, room));
            if (!cut_headers(b))
                continue;
            break;
        }
        case SPOOL_READ_END: /* headers without a body */
        case SPOOL_READ_ERROR: /* the sender is to know all the same */ break;
        }
        bounce_begin_message(b);
        return;
    }
}

static void bounce_read(struct spool_reader *r)
{
    bounce_collect(container_of(r, struct bounce, reader));
}

static void bounce_start(struct delivery *d, struct delivery_task *t)
{
    struct bounce *b = mem_zalloc(sizeof(*b));

    d->bounces_running++;
    list_push_back(ready(&d->bounces), &b->node);
    b->d = d;
    b->t = t;
    buf_init(&b->headers, 0);
    buf_init(&b->body, 0);
    b->writer.ready = bounce_writable;
    b->writer.done = bounce_committed;
    spool_reader_begin(&b->reader, d->o.io, &t->ref, bounce_read);
    bounce_collect(b);
}

/* One that fails at once, because the spool takes nothing, ends within its start: a loop, so that a
 * thousand of them are not as many calls deep. */
static void start_waiting(struct delivery *d)
{
    if (d->bounces_starting)
        return;
    d->bounces_starting = true;
    while (d->bounces_running < BOUNCES_MAX) {
        struct list *node = list_pop_front(ready(&d->bounce_waiting));
        if (node == NULL)
            break;
        bounce_start(d, container_of(node, struct delivery_task, node));
    }
    d->bounces_starting = false;
}

void delivery_bounce(struct delivery *d, struct delivery_task *t)
{
    list_push_back(ready(&d->bounce_waiting), &t->node);
    start_waiting(d);
}

void delivery_bounce_discard(struct delivery *d)
{
    struct list *node;

    while (!list_empty(ready(&d->bounces))) {
        struct bounce *b = container_of(d->bounces.next, struct bounce, node);
        b->reader.op.kind = IO_NONE; /* whatever it was will never complete */
        delivery_task_free(b->t);
        bounce_free(b);
    }
    while ((node = list_pop_front(ready(&d->bounce_waiting))) != NULL)
        delivery_task_free(container_of(node, struct delivery_task, node));
    d->bounces_running = 0;
}
