/*
 * delivery_smtp_body: the body of a transaction, from the spool to the connection. One piece of the
 * message is held at a time: it is sent from where it lies, and the next is asked for when that send has
 * completed. A body without lines that begin with a dot goes out as it is; else the encoder cuts the
 * piece where dots are to be doubled. The final dot goes with the last bytes.
 */
#include "delivery_remote_priv.h"

enum {
    /* In one send: small enough that a slow peer shows progress within its deadline. */
    SEND_MAX = 256 * 1024,
    /* Below, copying costs less than being told later that the kernel has not copied. */
    ZEROCOPY_MIN = 32 * 1024,
};

static void reader_ready(struct spool_reader *r)
{
    delivery_smtp_step(container_of(r, struct delivery_smtp, reader));
}

void delivery_smtp_body_begin(struct delivery_smtp *c)
{
    spool_reader_begin(&c->reader, c->d->o.io, &c->task->ref, reader_ready);
    smtp_dot_encoder_init(&c->encoder);
    c->reading = true;
    c->sent_last = false;
    c->piece = SLICE_NULL;
    c->body_left = c->task->size;
}

void delivery_smtp_body_end(struct delivery_smtp *c)
{
    if (!c->reading)
        return;
    c->d->counters.bytes_hot += c->reader.bytes_hot;
    c->d->counters.bytes_cold += c->reader.bytes_cold;
    spool_reader_finish(&c->reader);
    c->reading = false;
}

static bool is_within(struct slice part, struct slice whole)
{
    return part.data >= whole.data && part.data + part.len <= whole.data + whole.len;
}

/* To ourselves the kernel always copies, and charges for having been asked not to. */
static bool is_here(const struct delivery_smtp *c)
{
    struct io_addr local;
    struct ip_addr ip;
    uint16_t port;

    if (ip_is_v4(&c->ip) ? c->ip.bytes[12] == 127
                         : c->ip.bytes[15] == 1 && memcmp(c->ip.bytes, (uint8_t[15]){0}, 15) == 0)
        return true;
    return io_addresses(c->d->o.io, c->net.fd, &local, NULL) < 0
           || !io_addr_to_ip(&local, &ip, &port) || memcmp(&ip, &c->ip, sizeof(ip)) == 0;
}

static bool may_zerocopy(struct delivery_smtp *c, struct slice bytes)
{
    /* A body in another shard's memory is not registered with our ring. */
    if (bytes.len < ZEROCOPY_MIN || c->net.tls != NULL || c->no_copy == DELIVERY_COPY
        || !is_within(bytes, io_registered(c->d->o.io)) || net_conn_unsent(&c->net) > 0)
        return false;
    if (c->no_copy == DELIVERY_NO_COPY_UNKNOWN)
        c->no_copy = is_here(c) ? DELIVERY_COPY : DELIVERY_NO_COPY;
    return c->no_copy == DELIVERY_NO_COPY;
}

static struct iovec *put_piece(struct iovec *at, struct slice bytes)
{
    *at = (struct iovec){(void *)(uintptr_t)bytes.data, bytes.len};
    return at + 1;
}

/* Undotted bytes need no look, but how the data ends decides how it is closed: the encoder is shown the
 * last two bytes, which is all that it can depend on. */
static void note_ending(struct delivery_smtp *c, struct slice bytes)
{
    struct slice ending = bytes;

    if (bytes.len > 2)
        slice_advance(&ending, bytes.len - 2);
    while (ending.len > 0)
        (void)smtp_dot_encode(&c->encoder, &ending);
}

static struct iovec *take_as_it_is(struct delivery_smtp *c, struct iovec *at)
{
    struct slice part = slice_head(c->piece, SEND_MAX);

    note_ending(c, part);
    slice_advance(&c->piece, part.len);
    return put_piece(at, part);
}

static struct iovec *take_dotted(struct delivery_smtp *c, struct iovec *at)
{
    struct iovec *last =
        c->pieces + IO_IOV_MAX - 3; /* room for the end, and for what is in `out` */
    size_t room = SEND_MAX;

    while (c->piece.len > 0 && at < last && room > 0) {
        struct slice window = slice_head(c->piece, room), rest = window;
        struct slice part = smtp_dot_encode(&c->encoder, &rest);
        slice_advance(&c->piece, window.len - rest.len);
        room -= part.len < room ? part.len : room;
        at = put_piece(at, part);
    }
    return at;
}

/* False: the record cannot be read, or is not what its head says. */
static bool next_piece(struct delivery_smtp *c)
{
    switch (spool_reader_body(&c->reader, &c->piece)) {
    case SPOOL_READ_WAIT: c->piece = SLICE_NULL; return true;
    case SPOOL_READ_PIECE:
        if (c->piece.len > c->body_left)
            return false;
        c->body_left -= c->piece.len;
        return true;
    case SPOOL_READ_END:
    case SPOOL_READ_ERROR: return false;
    }
    UNREACHABLE();
}

bool delivery_smtp_body_send(struct delivery_smtp *c)
{
    bool dotted = (c->task->flags & SPOOL_HAS_DOT_LINES) != 0;
    struct iovec *at = c->pieces;
    unsigned flags = 0;

    if (net_conn_sending(&c->net) || spool_reader_busy(&c->reader))
        return true;
    if (c->net.send.zc_copied)
        c->no_copy = DELIVERY_COPY;
    if (c->piece.len == 0 && c->body_left > 0 && !next_piece(c))
        return false;
    if (c->piece.len > 0) {
        if (!dotted && may_zerocopy(c, slice_head(c->piece, SEND_MAX)))
            flags = IO_SEND_ZEROCOPY; /* alone: a vector is copied */
        at = dotted ? take_dotted(c, at) : take_as_it_is(c, at);
    } else if (c->body_left > 0) {
        return true; /* the piece is being read */
    }
    if (flags == 0 && c->piece.len == 0 && c->body_left == 0) {
        at = put_piece(at, smtp_dot_encode_end(&c->encoder));
        c->sent_last = true;
    }
    net_conn_send_body(&c->net, c->pieces, (int)(at - c->pieces), flags);
    return true;
}
