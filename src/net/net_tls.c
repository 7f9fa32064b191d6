/* net_tls: TLS in line of a connection. See net_conn_priv.h. */
#include <errno.h>

#include "base_mem.h"
#include "net_conn_priv.h"

enum {
    RECORD_LEN = 16 * 1024, /* the most that a record holds (RFC 8446 5.1) */
    SEND_LEN = 64 * 1024,   /* of plaintext, made into records at a time */
    /* Received at a time, and what the engine had kept of a record: decrypted at once it is no more. */
    CARRY_LIMIT_TLS = NET_CONN_CARRY_LIMIT + 2 * RECORD_LEN,
    /* A record cut in two, and what comes while a helper is at work. */
    WIRE_IN_LIMIT = 128 * 1024,
    /* Handshakes, alerts, answers to key updates: a peer that asks and does not read gets no further. */
    WIRE_CONTROL_MAX = 64 * 1024,
    READ_MIN = 512,
};

/* A handshake in a helper's hands. Freed with the end of the handshake. */
struct net_tls_helper {
    struct work_job job;
    struct work_door *door;
    struct net_conn *conn;
    struct tls *t;
    struct buf in, out; /* the helper's while the job is busy */
    enum tls_result result;
};

struct net_tls {
    struct tls *t;
    struct buf wire_in;  /* received, not taken by t yet; nearly always empty */
    struct buf wire_out; /* to be sent */
    struct iovec *body;  /* the owner's pieces that are still to be encrypted */
    int body_count;
    struct buf record; /* small pieces on their way into one record; empty between calls */
    const char *error; /* in our words; NULL: t's */
    struct net_tls_helper *helper;
    bool said_close;
    bool truncated;
};

static bool helper_is_busy(const struct net_tls *n)
{
    return n->helper != NULL && work_busy(&n->helper->job);
}

static void helper_free(struct net_tls *n)
{
    if (n->helper == NULL)
        return;
    buf_finish(&n->helper->in);
    buf_finish(&n->helper->out);
    mem_free(n->helper);
    n->helper = NULL;
}

/* why NULL: t knows. What the owner still wanted to say stays unsaid; an alert of t's does not. */
static void fail(struct net_conn *c, int error, const char *why)
{
    if (c->tls_state == NET_CONN_TLS_FAILED)
        return;
    c->tls_state = NET_CONN_TLS_FAILED;
    c->tls->error = why;
    c->tls->body_count = 0;
    buf_clear(&c->out);
    buf_clear(&c->tls->wire_in);
    buf_release(&c->tls->wire_in);
    if (c->error == 0)
        c->error = error;
}

/* ---- received ------------------------------------------------------------------------------ */

/* Plaintext goes behind what the owner has left. True: there was some, or the end. */
static bool decrypt(struct net_conn *c, struct slice *in)
{
    struct net_tls *n = c->tls;
    bool news = false;

    for (;;) {
        size_t count = 0, size = in->len + READ_MIN;
        uint8_t *at = buf_reserve(&c->carry, size);

        if (at == NULL) {
            fail(c, -EPROTO, "more input than fits");
            return true;
        }
        switch (tls_read(n->t, in, at, size, &count, &n->wire_out)) {
        case TLS_OK:
            ASSERT(count > 0 && count <= size);
            buf_commit(&c->carry, count);
            news = true;
            continue;
        case TLS_WANT_INPUT: break;
        case TLS_CLOSED:
            c->eof = true;
            news = true;
            break;
        case TLS_FAILED:
            fail(c, -EPROTO, NULL);
            news = true;
            break;
        }
        buf_release(&c->carry);
        return news;
    }
}

static void send_to_helper(struct net_conn *c, struct slice *in)
{
    struct net_tls_helper *h = c->tls->helper;

    if (!buf_append_slice(&h->in, *in)) {
        fail(c, -EPROTO, "more input than fits");
        return;
    }
    slice_advance(in, in->len);
    h->t = c->tls->t;
    if (!work_submit(h->door, &h->job))
        fail(c, -EBUSY, "too many handshakes are waiting");
}

static bool after_handshake(struct net_conn *c, enum tls_result result, struct slice *in)
{
    switch (result) {
    case TLS_OK:
        c->tls_state = NET_CONN_TLS_ACTIVE;
        helper_free(c->tls);
        (void)decrypt(c, in); /* what came with the end of the handshake */
        return true;
    case TLS_WANT_INPUT: return false;
    case TLS_CLOSED: fail(c, -EPROTO, "the peer ended the handshake"); return true;
    case TLS_FAILED: fail(c, -EPROTO, NULL); return true;
    }
    UNREACHABLE();
}

static bool feed(struct net_conn *c, struct slice *in)
{
    struct net_tls *n = c->tls;

    switch ((enum net_conn_tls)c->tls_state) {
    case NET_CONN_TLS_HANDSHAKE:
        /* Without input there is nothing to compute but a client's hello. */
        if (n->helper != NULL && in->len > 0) {
            send_to_helper(c, in);
            return c->tls_state == NET_CONN_TLS_FAILED;
        }
        return after_handshake(c, tls_handshake(n->t, in, &n->wire_out), in);
    case NET_CONN_TLS_ACTIVE: return decrypt(c, in);
    case NET_CONN_TLS_FAILED: return false;
    case NET_CONN_TLS_NONE: break;
    }
    UNREACHABLE();
}

/* Shows the engine what it has left together with what is new. */
bool net_tls_received(struct net_conn *c, struct slice wire)
{
    struct net_tls *n = c->tls;
    bool joined = buf_len(&n->wire_in) > 0 || helper_is_busy(n), news;
    struct slice in = wire;

    if (c->tls_state == NET_CONN_TLS_FAILED || c->eof)
        return false;
    if (joined) {
        if (!buf_append_slice(&n->wire_in, wire)) {
            fail(c, -EPROTO, "more input than fits");
            return true;
        }
        if (helper_is_busy(n))
            return false;
        in = buf_slice(&n->wire_in);
    }
    wire = in;
    news = feed(c, &in);
    if (c->tls_state == NET_CONN_TLS_FAILED || c->eof)
        buf_clear(&n->wire_in);
    else if (joined)
        buf_consume(&n->wire_in, wire.len - in.len);
    else
        (void)buf_append_slice(&n->wire_in, in); /* fits: less than was received at once */
    buf_release(&n->wire_in);
    return news;
}

void net_tls_ended(struct net_conn *c)
{
    if (c->tls_state == NET_CONN_TLS_HANDSHAKE)
        fail(c, c->dead ? c->error : -EPROTO, "the connection ended in the handshake");
    if (!c->eof)
        c->tls->truncated = true;
}

bool net_tls_may_receive(const struct net_conn *c)
{
    const struct net_tls *n = c->tls;

    if (buf_len(&n->wire_out) > WIRE_CONTROL_MAX)
        return false;
    switch ((enum net_conn_tls)c->tls_state) {
    case NET_CONN_TLS_HANDSHAKE: return !helper_is_busy(n);
    case NET_CONN_TLS_ACTIVE: return c->wants_input;
    case NET_CONN_TLS_FAILED:
    case NET_CONN_TLS_NONE: return false;
    }
    UNREACHABLE();
}

/* ---- helpers ------------------------------------------------------------------------------- */

bool net_tls_is_away(const struct net_conn *c)
{
    return helper_is_busy(c->tls);
}

static void helper_run(struct work_job *job)
{
    struct net_tls_helper *h = container_of(job, struct net_tls_helper, job);
    struct slice in = buf_slice(&h->in);
    size_t before = in.len;

    h->result = tls_handshake(h->t, &in, &h->out);
    buf_consume(&h->in, before - in.len);
}

static void helper_done(struct work_job *job)
{
    struct net_tls_helper *h = container_of(job, struct net_tls_helper, job);
    struct net_conn *c = h->conn;
    struct net_tls *n = c->tls;
    bool news = false;

    if (c->state == NET_CONN_OPEN && c->tls_state == NET_CONN_TLS_HANDSHAKE) {
        /* What it left comes before what has come meanwhile. */
        (void)buf_append_slice(&h->in, buf_slice(&n->wire_in));
        buf_clear(&n->wire_in);
        (void)buf_append_slice(&n->wire_in, buf_slice(&h->in));
        buf_finish(&h->in);
        if (!buf_append_slice(&n->wire_out, buf_slice(&h->out)) || n->wire_in.overflow)
            fail(c, -EPROTO, "more input than fits");
        buf_finish(&h->out);
        news = c->tls_state == NET_CONN_TLS_FAILED
               || after_handshake(c, h->result, &(struct slice){0});
        if (buf_len(&n->wire_in) > 0)
            news |= net_tls_received(c, SLICE_NULL);
    }
    if (news)
        net_conn_notify(c);
    net_conn_step(c);
}

/* ---- sent ---------------------------------------------------------------------------------- */

static bool write_records(struct net_conn *c, struct slice plaintext)
{
    while (plaintext.len > 0) {
        struct slice part = slice_head(plaintext, RECORD_LEN);

        if (!tls_write(c->tls->t, part, &c->tls->wire_out)) {
            fail(c, -EPROTO, NULL);
            return false;
        }
        slice_advance(&plaintext, part.len);
    }
    return true;
}

/* Small pieces share a record: whoever doubles dots cuts a body at each of them. */
static bool gather(struct net_conn *c, struct slice bytes)
{
    struct buf *record = &c->tls->record;
    bool ok = true;

    while (ok && bytes.len > 0) {
        struct slice part = slice_head(bytes, RECORD_LEN - buf_len(record));

        slice_advance(&bytes, part.len);
        if (part.len == RECORD_LEN) {
            ok = write_records(c, part);
            continue;
        }
        (void)buf_reserve(record, RECORD_LEN - buf_len(record)); /* never NULL: within its limit */
        (void)buf_append_slice(record, part);
        if (buf_len(record) == RECORD_LEN) {
            ok = write_records(c, buf_slice(record));
            buf_clear(record);
        }
    }
    return ok;
}

static bool gather_body(struct net_conn *c, size_t room)
{
    struct net_tls *n = c->tls;

    while (n->body_count > 0) {
        struct slice part = slice_head(slice_of(n->body->iov_base, n->body->iov_len), room);

        if (!gather(c, part))
            return false;
        room -= part.len;
        n->body->iov_base = (uint8_t *)n->body->iov_base + part.len;
        n->body->iov_len -= part.len;
        if (n->body->iov_len > 0)
            return true; /* the rest when this has been sent */
        n->body++;
        n->body_count--;
    }
    return true;
}

bool net_tls_encrypt(struct net_conn *c)
{
    struct net_tls *n = c->tls;
    size_t made = buf_len(&n->wire_out);
    bool ok = true;

    if (c->tls_state != NET_CONN_TLS_ACTIVE)
        return true;
    if (n->body_count > 0) {
        ok = gather_body(c, made < SEND_LEN ? SEND_LEN - made : 0)
             && write_records(c, buf_slice(&n->record));
        buf_finish(&n->record);
    } else {
        ok = write_records(c, buf_slice(&c->out));
        buf_clear(&c->out);
        buf_release(&c->out);
    }
    return ok;
}

void net_tls_set_body(struct net_conn *c, struct iovec *pieces, int count)
{
    struct net_tls *n = c->tls;

    if (c->tls_state != NET_CONN_TLS_ACTIVE || !gather(c, buf_slice(&c->out)))
        return;
    buf_clear(&c->out);
    buf_release(&c->out);
    n->body = pieces;
    n->body_count = count;
}

struct buf *net_tls_wire(struct net_conn *c)
{
    return &c->tls->wire_out;
}

void net_tls_say_close(struct net_conn *c)
{
    struct net_tls *n = c->tls;

    if (n->said_close || c->tls_state != NET_CONN_TLS_ACTIVE)
        return;
    n->said_close = true;
    tls_close(n->t, &n->wire_out);
}

/* ---- life ---------------------------------------------------------------------------------- */

void net_conn_start_tls(struct net_conn *c, struct tls *t, struct work_door *door)
{
    struct net_tls *n = mem_zalloc(sizeof(*n));
    size_t waiting = net_conn_input(c).len;
    bool nobody_spoke = c->bytes_in == waiting && c->bytes_out == 0 && net_conn_unsent(c) == 0
                        && !net_conn_sending(c);
    size_t wire_limit = tls_wire_size(SEND_LEN) + 2 * WIRE_CONTROL_MAX;

    ASSERT(c->state == NET_CONN_OPEN && c->tls == NULL && t != NULL);
    ASSERT(c->iov == NULL);
    n->t = t;
    buf_init(&n->wire_in, WIRE_IN_LIMIT);
    buf_init(&n->wire_out, wire_limit);
    buf_init(&n->record, RECORD_LEN);
    c->tls = n;
    c->tls_state = NET_CONN_TLS_HANDSHAKE;
    c->sending.limit = wire_limit;
    if (door != NULL) {
        struct net_tls_helper *h = n->helper = mem_zalloc(sizeof(*h));
        *h = (struct net_tls_helper){
            .job = {.run = helper_run, .done = helper_done}, .door = door, .conn = c};
        buf_init(&h->in, 2 * WIRE_IN_LIMIT);
        buf_init(&h->out, WIRE_CONTROL_MAX);
    }
    if (nobody_spoke)
        (void)buf_append_slice(&n->wire_in, net_conn_input(c));
    net_conn_consume(c, waiting);
    c->carry.limit = CARRY_LIMIT_TLS;
    if (c->dead || c->error != 0 || c->eof) {
        fail(c, c->error != 0 ? c->error : -EPROTO, "the connection ended before the handshake");
        return;
    }
    if (!nobody_spoke && waiting > 0) {
        fail(c, -EPROTO, "there was plaintext behind STARTTLS");
        return;
    }
    (void)buf_append_slice(&n->wire_out, buf_slice(&c->out)); /* in the clear: "220 go ahead" */
    buf_clear(&c->out);
    buf_release(&c->out);
    (void)net_tls_received(c, SLICE_NULL);
    net_conn_flush(c);
    net_conn_step(c);
}

struct tls *net_conn_tls(const struct net_conn *c)
{
    return c->tls == NULL || helper_is_busy(c->tls) ? NULL : c->tls->t;
}

const char *net_conn_tls_error(const struct net_conn *c)
{
    if (c->tls == NULL || c->tls_state != NET_CONN_TLS_FAILED)
        return NULL;
    return c->tls->error != NULL ? c->tls->error : tls_error(c->tls->t);
}

bool net_conn_tls_truncated(const struct net_conn *c)
{
    return c->tls != NULL && c->tls->truncated;
}

void net_tls_free(struct net_conn *c)
{
    struct net_tls *n = c->tls;

    if (n == NULL)
        return;
    helper_free(n);
    buf_finish(&n->wire_in);
    buf_finish(&n->wire_out);
    buf_finish(&n->record);
    tls_free(n->t);
    mem_free(n);
    c->tls = NULL;
}
