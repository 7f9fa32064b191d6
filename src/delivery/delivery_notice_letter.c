/*
 * delivery_notice_letter: reads what a notice is about, and writes its letters into the spool, one after the
 * other. Memory stays within the header section, a piece of the message and what is said of the recipients,
 * however large the message is that goes back.
 *
 *     ENVELOPE -> HEADERS -> PREPARED -> BODY -> TAIL -> COMMIT -> PREPARED ... -> delivery_notice_end()
 */
#include "base_log.h"
#include "base_mem.h"
#include "delivery_notice_priv.h"
#include "routing.h"
#include "smtp_dsn.h"

enum {
    LETTER_MIN = 2048,        /* octets of any */
    PIECE_MAX = 32 * 1024,    /* of the message at a time */
    TARGETS_MEMORY = 1 << 20, /* of an address that stands for others */
    FACTS_MAX = 4096,
};

enum step { STEP_AGAIN, STEP_WAIT, STEP_OVER };

static void notice_step(struct notice *n);

/* ---- beginning and end ---------------------------------------------------------------------- */

static void notice_readable(struct spool_reader *r)
{
    notice_step(container_of(r, struct notice, message));
}

static void notice_writable(struct spool_writer *w)
{
    notice_step(container_of(w, struct notice, writer));
}

struct notice *delivery_notice_create(struct delivery *d, struct list *tasks)
{
    struct notice *n = mem_zalloc(sizeof(*n));
    const struct delivery_task *t;

    list_init(&n->open);
    list_init(&n->node);
    list_init(&n->tasks);
    list_splice_back(&n->tasks, tasks);
    LIST_EACH(&n->tasks, node)
    n->weight += container_of(node, struct delivery_task, node)->recipient_count;
    t = delivery_notice_task(n);
    n->d = d;
    n->conf = conf_ref(d->o.conf);
    n->id = t->id;
    n->arrived_s = t->entry->message->arrived_s;
    n->flags = t->flags;
    n->size = t->size;
    buf_init(&n->facts, FACTS_MAX);
    buf_init(&n->envid, 0);
    buf_init(&n->headers, 0);
    buf_init(&n->out, 0);
    return n;
}

static void free_parts(struct notice *n)
{
    list_remove(&n->open);
    list_remove(&n->node);
    delivery_notice_ungather(n);
    spool_reader_finish(&n->message);
    buf_finish(&n->facts);
    buf_finish(&n->envid);
    buf_finish(&n->headers);
    buf_finish(&n->out);
    conf_free(n->conf);
    mem_free(n);
}

void delivery_notice_destroy(struct notice *n)
{
    ASSERT(list_empty(&n->tasks));
    free_parts(n);
}

void delivery_notice_abandon(struct notice *n)
{
    n->message.op.kind = IO_NONE; /* whatever it was will never complete */
    free_parts(n);
}

/* ---- what it is about ----------------------------------------------------------------------- */

static enum step read_envelope(struct notice *n)
{
    const struct delivery_task *t = delivery_notice_task(n);
    struct slice facts;

    switch (spool_reader_envelope(&n->message, NULL, NULL, &facts)) {
    case SPOOL_READ_WAIT: return STEP_WAIT;
    case SPOOL_READ_PIECE: (void)buf_append_slice(&n->facts, slice_head(facts, FACTS_MAX)); break;
    case SPOOL_READ_END:
    case SPOOL_READ_ERROR: n->unreadable = true; break;
    }
    if (t->envid.len > 0 && !smtp_xtext_decode(t->envid, &n->envid))
        buf_clear(&n->envid);
    n->state = n->unreadable ? NOTICE_PREPARED : NOTICE_HEADERS;
    return STEP_AGAIN;
}

/* Keeps the header section of what was collected, in whole lines. True if it ended, or is long enough. */
static bool cut_headers(struct notice *n)
{
    struct slice all = buf_slice(&n->headers);
    const uint8_t *end;

    if (all.len >= 2 && memcmp(all.data, "\r\n", 2) == 0) {
        buf_clear(&n->headers); /* there are none */
        return true;
    }
    end = all.len > 0 ? memmem(all.data, all.len, "\r\n\r\n", 4) : NULL;
    if (end == NULL && all.len < MAIL_DSN_HEADERS_MAX)
        return false;
    if (end != NULL) {
        buf_truncate(&n->headers, (size_t)(end - all.data) + 2);
    } else {
        end = memrchr(all.data, '\n', all.len);
        buf_truncate(&n->headers, end != NULL ? (size_t)(end - all.data) + 1 : 0);
    }
    return true;
}

static enum step read_headers(struct notice *n)
{
    struct slice piece;

    switch (spool_reader_body(&n->message, &piece)) {
    case SPOOL_READ_WAIT: return STEP_WAIT;
    case SPOOL_READ_PIECE: {
        size_t room = MAIL_DSN_HEADERS_MAX - buf_len(&n->headers);
        (void)buf_append_slice(&n->headers, slice_head(piece, room));
        if (!cut_headers(n))
            return STEP_AGAIN;
        break;
    }
    case SPOOL_READ_END: break;                         /* headers without a body */
    case SPOOL_READ_ERROR: n->unreadable = true; break; /* the sender is to know all the same */
    }
    n->state = NOTICE_PREPARED;
    return STEP_AGAIN;
}

/* ---- which letters -------------------------------------------------------------------------- */

static bool wants_copy(const struct notice *n)
{
    if (n->reader != DELIVERY_READER_SENDER)
        return false;
    switch (n->kind) {
    case DELIVERY_NOTICE_FAILURE: return delivery_notice_copies(n->conf, "failure");
    case DELIVERY_NOTICE_DELAY: return delivery_notice_copies(n->conf, "delay");
    case DELIVERY_NOTICE_SUCCESS:
    case DELIVERY_NOTICE_NONE: return false;
    }
    return false;
}

/* Moves on to the next letter, of this kind or the next. False: that was all. */
static bool next_letter(struct notice *n)
{
    if (n->rcpt_count > 0 && !n->copy && wants_copy(n) && !n->unsaid[n->kind]) {
        n->copy = true;
        return true;
    }
    n->copy = false;
    n->from += MAIL_DSN_RCPTS_MAX;
    while (n->from >= n->rcpt_count || n->unsaid[n->kind]) {
        delivery_notice_ungather(n);
        if (n->kind == DELIVERY_NOTICE_SUCCESS)
            return false;
        n->kind++;
        n->from = 0;
        n->reader = delivery_notice_reader(n->conf, delivery_notice_task(n)->sender, n->flags);
        delivery_notice_gather(n);
    }
    return true;
}

static void log_letter(const struct notice *n, bool stored)
{
    static const char *const kinds[] = {"", "failure", "delay", "success"};
    struct log_record r;

    log_begin(&r, stored ? LOG_INFO : LOG_WARNING, stored ? "bounce-sent" : "bounce-not-stored");
    if (stored)
        log_id(&r, "message", n->writer.id);
    log_id(&r, "about", n->id);
    log_slice(&r, "to", n->to);
    log_str(&r, "kind", kinds[n->kind]);
    log_u64(&r, "recipients", n->dsn.rcpt_count);
    log_end(&r);
}

/* P4: that nobody was told is to be seen somewhere. */
static void log_nobody(const struct notice *n)
{
    struct log_record r;

    log_begin(&r, LOG_WARNING, "bounce-to-nobody");
    log_id(&r, "about", n->id);
    log_slice(&r, "sender", delivery_notice_task(n)->sender);
    log_u64(&r, "recipients", n->rcpt_count);
    log_end(&r);
}

static void count_letter(struct notice *n, bool stored)
{
    struct delivery_counters *c = &n->d->counters;

    if (!stored) {
        c->bounces_failed++;
        return;
    }
    c->bounces_sent++;
    c->delays_sent += n->kind == DELIVERY_NOTICE_DELAY;
    c->receipts_sent += n->kind == DELIVERY_NOTICE_SUCCESS;
    c->copies_sent += n->dsn.reader != MAIL_DSN_SENDER;
}

/* A copy that finds no room is not worth telling the sender twice. */
static void letter_over(struct notice *n, bool stored)
{
    log_letter(n, stored);
    count_letter(n, stored);
    if (!stored && !n->copy)
        n->unsaid[n->kind] = true;
    n->state = NOTICE_PREPARED;
}

/* ---- a letter ------------------------------------------------------------------------------- */

/* What the next hop's dialog will want to know of it. */
static void note_flags(struct notice *n, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];

        if (c == '.' && n->line_start)
            n->letter_flags |= SPOOL_HAS_DOT_LINES;
        else if (c >= 0x80)
            n->letter_flags |= SPOOL_HAS_8BIT;
        n->line_start = c == '\n';
    }
}

/* Hands n->out to the spool. AGAIN: all of it is there. */
static enum step flush(struct notice *n)
{
    struct slice text = buf_slice(&n->out);
    size_t before = text.len;
    enum spool_result result = spool_write(&n->writer, &text);

    note_flags(n, slice_head(buf_slice(&n->out), before - text.len));
    buf_consume(&n->out, before - text.len);
    switch (result) {
    case SPOOL_OK: buf_clear(&n->out); return STEP_AGAIN;
    case SPOOL_WAIT: return STEP_WAIT; /* `ready` calls us */
    case SPOOL_FULL:
    case SPOOL_FAILED:
    case SPOOL_TOO_BIG: break;
    }
    spool_writer_abort(&n->writer);
    letter_over(n, false);
    return STEP_OVER;
}

static enum step prepare(struct notice *n)
{
    struct arena arena;
    struct routing_targets targets;
    uint64_t size_hint;

    buf_clear(&n->out);
    if (!next_letter(n))
        return STEP_OVER;
    arena_init(&arena, TARGETS_MEMORY);
    n->to = delivery_notice_to(n, &arena, &targets);
    arena_reset(&arena);
    if (n->to.len == 0) {
        if (!n->copy && n->kind == DELIVERY_NOTICE_FAILURE)
            log_nobody(n);
        return STEP_AGAIN;
    }
    size_hint =
        LETTER_MIN + buf_len(&n->headers) + (n->size <= n->conf->notices.return_size ? n->size : 0);
    if (spool_writer_begin(n->d->o.spool, &n->writer, size_hint) != SPOOL_OK) {
        n->dsn = (struct mail_dsn){.rcpt_count = n->rcpt_count};
        letter_over(n, false);
        return STEP_AGAIN;
    }
    delivery_notice_fill(n);
    mail_dsn_original_init(&n->original, &n->dsn);
    n->line_start = true;
    n->ended = false;
    /* It tells about the message, so it is protected as that was (RFC 8689 5). */
    n->letter_flags = (uint16_t)(SPOOL_IS_BOUNCE | (n->flags & SPOOL_REQUIRE_TLS));
    n->piece = SLICE_NULL;
    if (!mail_dsn_begin(&n->dsn, &n->out)) {
        spool_writer_abort(&n->writer);
        letter_over(n, false);
        return STEP_AGAIN;
    }
    if (!n->unreadable)
        spool_reader_rewind(&n->message);
    n->state = n->unreadable ? NOTICE_TAIL : NOTICE_BODY;
    return STEP_AGAIN;
}

static enum step body(struct notice *n)
{
    enum step step = flush(n);

    if (step != STEP_AGAIN)
        return step == STEP_OVER ? STEP_AGAIN : step;
    if (n->original.over) {
        n->state = NOTICE_TAIL;
        return STEP_AGAIN;
    }
    if (n->piece.len == 0) {
        switch (spool_reader_body(&n->message, &n->piece)) {
        case SPOOL_READ_WAIT: return STEP_WAIT;
        case SPOOL_READ_PIECE: break;
        case SPOOL_READ_END: n->state = NOTICE_TAIL; return STEP_AGAIN;
        case SPOOL_READ_ERROR: /* it ends here */
            n->unreadable = true;
            n->state = NOTICE_TAIL;
            return STEP_AGAIN;
        }
    }
    (void)mail_dsn_original(&n->original, &n->piece, PIECE_MAX, &n->out);
    return STEP_AGAIN;
}

static void notice_committed(struct spool_writer *w, enum spool_result result)
{
    struct notice *n = container_of(w, struct notice, writer);

    letter_over(n, result == SPOOL_OK);
    if (result == SPOOL_OK)
        (void)queue_accept(n->d->o.queue, n->writer.message); /* the queue's from here on */
    notice_step(n);
}

static void commit(struct notice *n)
{
    struct arena arena;
    struct routing_targets targets;
    struct spool_envelope envelope = {.arrived_s = queue_now_s(n->d->o.queue),
                                      .flags = n->letter_flags};
    struct spool_dsn *dsn;
    struct buf facts;

    arena_init(&arena, TARGETS_MEMORY);
    n->to = delivery_notice_to(n, &arena, &targets); /* the same again: the configuration is ours */
    ASSERT(n->to.len > 0);
    if (n->dsn.reader != MAIL_DSN_SENDER)
        envelope.flags |= SPOOL_TO_POSTMASTER;
    if (mail_dsn_needs_utf8(&n->dsn))
        envelope.flags |= SPOOL_IS_UTF8;
    envelope.recipients = targets.items;
    envelope.recipient_count = targets.count;
    dsn = mem_calloc(targets.count, sizeof(*dsn));
    for (uint32_t i = 0; i < targets.count; i++)
        dsn[i].notify = SPOOL_NOTIFY_NEVER; /* RFC 3461 6.1 */
    envelope.dsn = dsn;
    buf_init(&facts, 0);
    (void)buf_printf(&facts, "about=%s\n", n->about_id);
    envelope.facts = buf_slice(&facts);
    n->state = NOTICE_COMMIT;
    spool_writer_commit(&n->writer, &envelope);
    buf_finish(&facts);
    mem_free(dsn);
    arena_reset(&arena);
}

static enum step tail(struct notice *n)
{
    enum step step;

    if (!n->ended) {
        n->ended = true;
        if (!mail_dsn_end(&n->dsn, &n->original, &n->out)) {
            spool_writer_abort(&n->writer);
            letter_over(n, false);
            return STEP_AGAIN;
        }
    }
    step = flush(n);
    if (step != STEP_AGAIN)
        return step == STEP_OVER ? STEP_AGAIN : step;
    commit(n);
    return STEP_WAIT;
}

/* ---- the notice ----------------------------------------------------------------------------- */

static unsigned told(const struct notice *n)
{
    unsigned set = DELIVERY_NOTICES_ALL;

    for (unsigned kind = 0; kind <= DELIVERY_NOTICE_SUCCESS; kind++) {
        if (n->unsaid[kind])
            set &= ~(1u << kind);
    }
    return set;
}

static enum step one_step(struct notice *n)
{
    switch ((enum notice_state)n->state) {
    case NOTICE_ENVELOPE: return read_envelope(n);
    case NOTICE_HEADERS: return read_headers(n);
    case NOTICE_PREPARED: return prepare(n);
    case NOTICE_BODY: return body(n);
    case NOTICE_TAIL: return tail(n);
    case NOTICE_COMMIT: return STEP_WAIT;
    }
    UNREACHABLE();
}

static void notice_step(struct notice *n)
{
    enum step step;

    do {
        step = one_step(n);
    } while (step == STEP_AGAIN);
    if (step == STEP_OVER)
        delivery_notice_end(n, told(n));
}

void delivery_notice_start(struct notice *n)
{
    n->writer.ready = notice_writable;
    n->writer.done = notice_committed;
    n->reader = delivery_notice_reader(n->conf, delivery_notice_task(n)->sender, n->flags);
    spool_reader_begin(&n->message, n->d->o.io, &delivery_notice_task(n)->ref, notice_readable);
    notice_step(n);
}
