/*
 * admin_import: an export comes in on the control socket. Each record is taken apart and checked here, and
 * its body goes to one of the shards in pieces; only when the checksum was right is the message committed,
 * and only when it is stable does it count. Several are on their way at a time, so that they share commits.
 *
 * The answer: "progress N" whenever all records up to N are settled, and at the end
 *
 *     exit CODE
 *     what is to be told
 *
 * What cannot be read is not asked for: the socket holds the client back.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sysexits.h>

#include "admin_import_priv.h"
#include "base_crc32c.h"
#include "base_log.h"
#include "base_mem.h"

enum { HEAD_MAX = 128, UNSENT_MAX = 64 * 1024 };

enum import_state {
    IMPORT_VERSION,  /* the first line */
    IMPORT_HEAD,     /* "message ..." or "end ..." */
    IMPORT_ENVELOPE, /* JSON and its line end */
    IMPORT_BODY,
    IMPORT_BODY_END, /* its line end */
    IMPORT_SUM,      /* the line with the checksum */
    IMPORT_END,      /* nothing more is read */
};

struct import {
    struct admin_client *client;
    struct admin_request request;
    uint8_t *line;
    enum import_state state;
    struct buf text; /* a line or an envelope, until it is whole */

    struct import_slot slots[IMPORT_SLOTS];
    struct import_slot *slot; /* of the record being read; NULL: none, or it is left out */
    uint64_t number;          /* of that record; 0: none yet */
    uint64_t envelope_len, body_len, body_left;
    uint32_t crc;
    struct admin_body body;
    bool left_out;

    bool settled[IMPORT_SLOTS]; /* of the records behind `prefix` */
    uint64_t prefix;            /* all up to here are taken or left out */
    uint64_t told;              /* as progress */
    uint64_t taken, skipped, damaged;
    int exit_code;
    struct buf problem; /* why it ends early */
    bool whole;         /* the last line was there */
};

/* ---- which records are settled -------------------------------------------------------------- */

static void settle(struct import *im, uint64_t number)
{
    ASSERT(number > im->prefix && number <= im->prefix + IMPORT_SLOTS);
    im->settled[number - im->prefix - 1] = true;
    while (im->settled[0]) {
        im->prefix++;
        memmove(im->settled, im->settled + 1, (IMPORT_SLOTS - 1) * sizeof(im->settled[0]));
        im->settled[IMPORT_SLOTS - 1] = false;
    }
}

/* As --skip takes them. */
static void tell_settled(const struct import *im, struct buf *out)
{
    const char *before = "";

    if (im->prefix > 0) {
        (void)buf_printf(out, "1-%" PRIu64, im->prefix);
        before = ",";
    }
    for (unsigned i = 0; i < IMPORT_SLOTS; i++) {
        if (!im->settled[i])
            continue;
        (void)buf_printf(out, "%s%" PRIu64, before, im->prefix + 1 + i);
        before = ",";
    }
}

static void stop(struct import *im, int exit_code, const char *problem)
{
    if (im->state != IMPORT_END && im->exit_code == EX_OK) {
        im->exit_code = exit_code;
        if (im->number > 0)
            (void)buf_printf(&im->problem, "record %" PRIu64 ": ", im->number);
        (void)buf_append_str(&im->problem, problem);
    }
    im->state = IMPORT_END;
}

/* ---- slots ---------------------------------------------------------------------------------- */

static void free_slot(struct import_slot *s)
{
    admin_record_finish(&s->record);
    buf_clear(&s->piece);
    s->state = SLOT_FREE;
}

static bool is_busy(const struct import *im)
{
    for (unsigned i = 0; i < IMPORT_SLOTS; i++) {
        if (im->slots[i].state != SLOT_FREE)
            return true;
    }
    return false;
}

/* None before room in the window of records that are not settled: a record that takes long holds up those
 * far behind it. */
static struct import_slot *find_slot(struct import *im)
{
    for (unsigned i = 0; i < IMPORT_SLOTS && im->number <= im->prefix + IMPORT_SLOTS; i++) {
        if (im->slots[i].state == SLOT_FREE)
            return &im->slots[i];
    }
    return NULL;
}

void import_slot_returned(struct import_slot *s)
{
    struct import *im = s->import;
    enum slot_state state = s->state;
    struct buf error;

    buf_init(&error, 0);
    s->state = SLOT_FILLING;
    if (!import_slot_result(s, &error)) {
        (void)buf_append_byte(&error, '\0');
        if (im->exit_code == EX_OK) {
            im->exit_code = EX_TEMPFAIL;
            (void)buf_printf(&im->problem, "record %" PRIu64 ": %s", s->number,
                             (const char *)buf_slice(&error).data);
        }
        im->state = IMPORT_END;
        if (im->slot == s)
            im->slot = NULL;
        free_slot(s);
    } else if (state == SLOT_COMMITTING) {
        im->taken++;
        settle(im, s->number);
        free_slot(s);
    } else if (state == SLOT_ABORTING) {
        free_slot(s);
    }
    buf_finish(&error);
    admin_call_over(im->client);
}

/* ---- the stream ----------------------------------------------------------------------------- */

/* Moves input into im->text until a line is whole. */
static bool take_line(struct import *im, struct slice *out)
{
    struct net_conn *conn = &im->client->conn;
    struct slice in = net_conn_input(conn);
    ptrdiff_t end = slice_find(in, '\n');
    size_t len = end >= 0 ? (size_t)end : in.len;

    if (buf_len(&im->text) + len > HEAD_MAX) {
        stop(im, EX_DATAERR, "not in the format of an export");
        return false;
    }
    (void)buf_append_slice(&im->text, slice_head(in, len));
    net_conn_consume(conn, end >= 0 ? len + 1 : len);
    *out = buf_slice(&im->text);
    return end >= 0;
}

static bool next_number(struct slice *line, uint64_t *out)
{
    ptrdiff_t end = slice_find(*line, ' ');
    struct slice word = end < 0 ? *line : slice_head(*line, (size_t)end);

    slice_advance(line, end < 0 ? line->len : (size_t)end + 1);
    return slice_to_u64(word, out);
}

static bool read_version(struct import *im)
{
    struct slice line;

    if (!take_line(im, &line))
        return im->state == IMPORT_END;
    if (slice_equal(line, SLICE_LITERAL(ADMIN_TRANSFER_VERSION)))
        im->state = IMPORT_HEAD;
    else
        stop(im, EX_DATAERR, "this is no export of this version (\"" ADMIN_TRANSFER_VERSION "\")");
    buf_clear(&im->text);
    return true;
}

static void begin_record(struct import *im, struct slice line)
{
    uint64_t number;

    slice_advance(&line, 8);
    if (!next_number(&line, &number) || !next_number(&line, &im->envelope_len)
        || !next_number(&line, &im->body_len) || line.len > 0) {
        stop(im, EX_DATAERR, "the line \"message\" is damaged");
        return;
    }
    im->number++;
    if (number != im->number || im->envelope_len > ADMIN_TRANSFER_ENVELOPE_MAX
        || im->body_len > INT64_MAX) {
        stop(im, EX_DATAERR, "the line \"message\" is damaged");
        return;
    }
    im->state = IMPORT_ENVELOPE;
    im->left_out = admin_request_skips(&im->request, number);
    im->body_left = im->body_len;
    im->body = (struct admin_body){0};
    im->crc = 0;
}

static bool read_head(struct import *im)
{
    struct slice line;

    if (!take_line(im, &line))
        return im->state == IMPORT_END;
    if (slice_equal(slice_head(line, 8), SLICE_LITERAL("message "))) {
        begin_record(im, line);
    } else if (slice_equal(slice_head(line, 4), SLICE_LITERAL("end "))) {
        im->whole = true;
        im->state = IMPORT_END;
    } else {
        im->number++; /* that would be here */
        stop(im, EX_DATAERR, "a line \"message\" or \"end\" is missing");
    }
    buf_clear(&im->text);
    return true;
}

static void take_envelope(struct import *im, struct slice json)
{
    struct import_slot *s = im->slot;
    struct buf error;

    buf_init(&error, 0);
    if (admin_record_parse(&s->record, json, &error)) {
        s->state = SLOT_FILLING;
        s->client = im->client;
        s->import = im;
        s->number = im->number;
        s->body_len = im->body_len;
        s->shard = (unsigned)(im->number % shard_group_of(im->client->admin->shard)->count);
        s->begun = false;
        s->result = SPOOL_OK;
        if (im->request.hold)
            s->record.envelope.hold_until_s = SPOOL_DUE_NEVER;
    } else {
        (void)buf_append_byte(&error, '\0');
        stop(im, EX_DATAERR, (const char *)buf_slice(&error).data);
        im->slot = NULL;
    }
    buf_finish(&error);
}

static bool read_envelope(struct import *im)
{
    struct net_conn *conn = &im->client->conn;
    size_t left = (size_t)im->envelope_len + 1 - buf_len(&im->text);
    struct slice in = slice_head(net_conn_input(conn), left);
    struct slice json;

    if (!im->left_out && im->slot == NULL) {
        im->slot = find_slot(im);
        if (im->slot == NULL)
            return false; /* until one comes back */
    }
    (void)buf_append_slice(&im->text, in);
    net_conn_consume(conn, in.len);
    if (in.len < left)
        return false;
    json = slice_head(buf_slice(&im->text), (size_t)im->envelope_len);
    im->state = IMPORT_BODY;
    im->crc = crc32c(0, json.data, json.len);
    if (buf_slice(&im->text).data[json.len] != '\n')
        stop(im, EX_DATAERR, "the envelope is not as long as was said");
    else if (!im->left_out)
        take_envelope(im, json);
    buf_clear(&im->text);
    return true;
}

static bool read_body(struct import *im)
{
    struct net_conn *conn = &im->client->conn;
    struct slice in = net_conn_input(conn);
    struct import_slot *s = im->slot;
    size_t most = in.len;

    if (im->body_left == 0) {
        admin_body_end(&im->body);
        im->state = IMPORT_BODY_END;
        return true;
    }
    if (s != NULL && s->state != SLOT_FILLING)
        return false; /* its last piece is being written */
    if (s != NULL && buf_len(&s->piece) == IMPORT_PIECE_MAX) {
        import_slot_send(s, SLOT_AWAY);
        return false;
    }
    if (s != NULL && most > IMPORT_PIECE_MAX - buf_len(&s->piece))
        most = IMPORT_PIECE_MAX - buf_len(&s->piece);
    in = slice_head(in, most < im->body_left ? most : (size_t)im->body_left);
    if (in.len == 0)
        return false;
    im->crc = crc32c(im->crc, in.data, in.len);
    admin_body_scan(&im->body, in);
    if (s != NULL)
        (void)buf_append_slice(&s->piece, in);
    im->body_left -= in.len;
    net_conn_consume(conn, in.len);
    return true;
}

/* The record is right: its last piece goes, with the commit. */
static void end_record(struct import *im)
{
    struct import_slot *s = im->slot;

    im->slot = NULL;
    im->state = IMPORT_HEAD;
    if (s == NULL) {
        im->skipped++;
        settle(im, im->number);
        return;
    }
    if (im->body.dot_lines)
        s->record.envelope.flags |= SPOOL_HAS_DOT_LINES;
    if (im->body.eight_bit)
        s->record.envelope.flags |= SPOOL_HAS_8BIT;
    import_slot_send(s, SLOT_COMMITTING);
}

/* Its shard is told if it has got something of it. One that is away is abandoned when it comes back. */
static void abandon(struct import_slot *s)
{
    if (s->state != SLOT_FILLING)
        return;
    if (s->begun)
        import_slot_send(s, SLOT_ABORTING);
    else
        free_slot(s);
}

static void abandon_slots(struct import *im)
{
    im->slot = NULL;
    for (unsigned i = 0; i < IMPORT_SLOTS; i++)
        abandon(&im->slots[i]);
}

static bool sum_is(struct slice line, uint32_t crc)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "crc32c %08" PRIx32, crc);
    return slice_equal(line, slice_str(text));
}

static bool read_sum(struct import *im)
{
    struct slice line;

    if (im->slot == NULL && im->number > im->prefix + IMPORT_SLOTS)
        return false; /* left out, but those before it are not settled yet */
    if (im->slot != NULL && im->slot->state != SLOT_FILLING)
        return false;
    if (!take_line(im, &line))
        return im->state == IMPORT_END;
    if (im->left_out) {
        end_record(im); /* whatever it says */
    } else if (slice_equal(line, SLICE_LITERAL("crc32c damaged"))) {
        im->damaged++; /* it could not be read where it came from */
        if (im->slot != NULL)
            abandon(im->slot);
        im->slot = NULL;
        settle(im, im->number);
        im->state = IMPORT_HEAD;
    } else if (!sum_is(line, im->crc)) {
        stop(im, EX_DATAERR, "the checksum is wrong");
    } else if (im->body.bare) {
        stop(im, EX_DATAERR, "the body has CR or LF alone");
    } else {
        end_record(im);
    }
    buf_clear(&im->text);
    return true;
}

static bool read_body_end(struct import *im)
{
    struct slice line;

    if (!take_line(im, &line))
        return im->state == IMPORT_END;
    if (line.len > 0)
        stop(im, EX_DATAERR, "the body is not as long as was said");
    else
        im->state = IMPORT_SUM;
    buf_clear(&im->text);
    return true;
}

/* False: more input is needed, or a slot; an eof is the end then. */
static bool read_some(struct import *im)
{
    switch (im->state) {
    case IMPORT_VERSION: return read_version(im);
    case IMPORT_HEAD: return read_head(im);
    case IMPORT_ENVELOPE: return read_envelope(im);
    case IMPORT_BODY: return read_body(im);
    case IMPORT_BODY_END: return read_body_end(im);
    case IMPORT_SUM: return read_sum(im);
    case IMPORT_END: return false;
    }
    UNREACHABLE();
}

/* ---- what is told --------------------------------------------------------------------------- */

static void log_end_of_import(const struct import *im)
{
    struct log_record r;
    struct buf settled;

    buf_init(&settled, 0);
    tell_settled(im, &settled);
    log_begin(&r, im->exit_code == EX_OK ? LOG_NOTICE : LOG_WARNING, "import-over");
    log_u64(&r, "messages", im->taken);
    log_u64(&r, "left_out", im->skipped);
    log_u64(&r, "damaged", im->damaged);
    log_slice(&r, "records", buf_slice(&settled));
    if (buf_len(&im->problem) > 0)
        log_slice(&r, "reason", buf_slice(&im->problem));
    log_end(&r);
    buf_finish(&settled);
}

static void tell_end(struct import *im, struct buf *out)
{
    (void)buf_printf(out, "exit %d\n", im->exit_code);
    if (im->request.json) {
        (void)buf_printf(out,
                         "{\"messages\":%" PRIu64 ",\"left_out\":%" PRIu64 ",\"damaged\":%" PRIu64
                         ",\"records\":\"",
                         im->taken, im->skipped, im->damaged);
        tell_settled(im, out);
        (void)buf_append_str(out, "\",\"problem\":");
        (void)json_append_string(out, buf_slice(&im->problem));
        (void)buf_append_str(out, "}\n");
        return;
    }
    if (im->exit_code != EX_OK) {
        (void)text_append_printable(out, buf_slice(&im->problem));
        (void)buf_append_byte(out, '\n');
    }
    (void)buf_printf(out, "%" PRIu64 " message%s imported", im->taken, im->taken == 1 ? "" : "s");
    if (im->skipped > 0)
        (void)buf_printf(out, ", %" PRIu64 " left out", im->skipped);
    if (im->damaged > 0)
        (void)buf_printf(out, ", %" PRIu64 " that could not be read when they were exported",
                         im->damaged);
    if (im->exit_code != EX_OK && (im->taken > 0 || im->skipped > 0)) {
        (void)buf_append_str(out, "; to go on from here: --skip=");
        tell_settled(im, out);
    }
    (void)buf_append_byte(out, '\n');
}

static void end_import(struct import *im)
{
    log_end_of_import(im);
    tell_end(im, net_conn_out(&im->client->conn));
    admin_answered(im->client);
}

static void tell_progress(struct import *im)
{
    struct net_conn *conn = &im->client->conn;

    if (im->prefix == im->told || net_conn_unsent(conn) > UNSENT_MAX)
        return;
    im->told = im->prefix;
    (void)buf_printf(net_conn_out(conn), "progress %" PRIu64 "\n", im->prefix);
    net_conn_flush(conn);
}

static void import_step(struct admin_client *c)
{
    struct import *im = c->job;

    while (im->state != IMPORT_END && read_some(im))
        continue;
    tell_progress(im);
    if (im->state != IMPORT_END && c->conn.eof && net_conn_input(&c->conn).len == 0) {
        im->number += im->state == IMPORT_HEAD; /* the one that is missing */
        stop(im, EX_DATAERR, "the export is cut off here");
    }
    if (im->state == IMPORT_END) {
        abandon_slots(im);
        if (!is_busy(im))
            end_import(im);
        return;
    }
    if (net_conn_input(&c->conn).len == 0)
        net_conn_want_input(&c->conn);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void import_gone(struct admin_client *c)
{
    struct import *im = c->job;

    stop(im, EX_UNAVAILABLE, "the connection broke off");
    abandon_slots(im);
    if (!is_busy(im) && !c->answered) {
        c->answered = true;
        log_end_of_import(im);
    }
}

static void import_release(struct admin_client *c)
{
    struct import *im = c->job;

    for (unsigned i = 0; i < IMPORT_SLOTS; i++) {
        admin_record_finish(&im->slots[i].record);
        buf_finish(&im->slots[i].piece);
    }
    buf_finish(&im->text);
    buf_finish(&im->problem);
    admin_request_finish(&im->request);
    mem_free(im->line);
    mem_free(im);
}

void admin_import(struct admin_client *c, struct admin_request *request, uint8_t *line)
{
    struct import *im = mem_zalloc(sizeof(*im));

    im->client = c;
    im->request = *request;
    im->line = line;
    buf_init(&im->text, ADMIN_TRANSFER_ENVELOPE_MAX + 1);
    buf_init(&im->problem, 0);
    for (unsigned i = 0; i < IMPORT_SLOTS; i++) {
        buf_init(&im->slots[i].piece, IMPORT_PIECE_MAX);
        arena_init(&im->slots[i].record.arena, 0);
    }
    c->job = im;
    c->patience_ms = ADMIN_TRANSFER_PATIENCE_MS;
    c->release = import_release;
    c->gone = import_gone;
    c->step = import_step;
    (void)buf_append_str(net_conn_out(&c->conn), "ok\n");
    net_conn_flush(&c->conn);
    import_step(c);
}
