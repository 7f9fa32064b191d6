/*
 * net_conn: one stream connection: bytes in, bytes out, an orderly close. Embedded in its owner (a
 * session). One recv and one send are in flight at most; whatever happens, `ready` is called and the
 * owner's step function looks at the facts below.
 *
 * Input. net_conn_input() is what has come and was not consumed. It lies in a buffer that io lends,
 * which goes back when `ready` returns: what the owner leaves unconsumed is copied aside (and joined
 * with what comes next), so an idle connection holds no buffer. Nothing is received until
 * net_conn_want_input(): not asking is back-pressure.
 *
 * Output. Replies are appended to net_conn_out(); net_conn_flush() sends all of it at once, at the end
 * of a pass. net_conn_send_body() sends pieces that stand still elsewhere, behind what is in the out
 * buffer, without copying.
 *
 * TLS. net_conn_start_tls() puts a filter between the owner and the socket; everything above stays as it
 * is: input is plaintext, the out buffer and the pieces of a body are encrypted as they leave. Input that
 * waits lies in a buffer of its own, held only while there is some.
 *
 * Closing. net_conn_close() sends what is left, then shuts down, waits for what is in flight, closes
 * and calls `closed`: only then may the owner free its memory. net_conn_abort() does not wait for the
 * peer to take the rest.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include "base_buf.h"
#include "base_list.h"
#include "io.h"
#include "tls.h"
#include "work.h"

enum net_conn_state {
    NET_CONN_IDLE, /* no socket */
    NET_CONN_CONNECTING,
    NET_CONN_OPEN,
    NET_CONN_DRAINING, /* sending the rest */
    NET_CONN_LINGERING, /* reading and dropping until the peer closes, so that it sees our last reply */
    NET_CONN_SHUTDOWN, /* waiting for recv and send */
    NET_CONN_CLOSING,
};

enum net_conn_tls {
    NET_CONN_TLS_NONE,
    NET_CONN_TLS_HANDSHAKE,
    NET_CONN_TLS_ACTIVE, /* to the end */
    /* In the handshake or later; `error` is set as well. An alert may still be leaving: a close that
     * lingers lets the peer see it. */
    NET_CONN_TLS_FAILED,
};

enum { NET_CONN_OUT_LIMIT = 64 * 1024, NET_CONN_CARRY_LIMIT = 64 * 1024 };

struct net_tls;

struct net_conn {
    struct io *io;
    void (*ready)(struct net_conn *c);
    void (*closed)(struct net_conn *c);

    /* Facts. */
    int fd;
    uint8_t state;
    bool eof;         /* the peer will send no more */
    bool wants_input; /* until the next receive */
    bool in_ready;    /* guards against a step within a step */
    bool linger;
    bool half_closed;  /* our end was said */
    bool dead;         /* the socket has failed, or was given up */
    uint8_t tls_state; /* enum net_conn_tls */
    int error;         /* negative errno of the first failure, -EPROTO for TLS's; 0 */

    struct slice lent;  /* not yet consumed part of the lent buffer */
    struct buf carry;   /* input that was left over */
    struct buf out;     /* being filled */
    struct buf sending; /* in flight */
    struct iovec *iov;  /* `sending` and the owner's pieces joined, while a body is in flight */

    struct net_tls *tls; /* NULL: in the clear */

    struct io_op recv;
    struct io_op send;
    struct io_op control; /* connect, shutdown, close: one after the other */
    uint64_t bytes_in, bytes_out;
};

/* An accepted socket. */
void net_conn_init(struct net_conn *c, struct io *io, int fd, void (*ready)(struct net_conn *),
                   void (*closed)(struct net_conn *));
/* A new socket towards `to`, which stands still until connected. `ready` is called when it is open,
 * or with `error` set; the owner then closes in either case. False: no socket can be made (c->error). */
bool net_conn_connect(struct net_conn *c, struct io *io, const struct io_addr *to,
                      void (*ready)(struct net_conn *), void (*closed)(struct net_conn *));

static inline bool net_conn_is_open(const struct net_conn *c)
{
    return c->state == NET_CONN_OPEN && c->error == 0;
}

struct slice net_conn_input(const struct net_conn *c);
void net_conn_consume(struct net_conn *c, size_t count);
void net_conn_want_input(struct net_conn *c);

static inline struct buf *net_conn_out(struct net_conn *c)
{
    return &c->out;
}

/* Bytes that wait to be sent or are being sent, a body's pieces not counted. */
static inline size_t net_conn_unsent(const struct net_conn *c)
{
    return buf_len(&c->out) + buf_len(&c->sending);
}

static inline bool net_conn_sending(const struct net_conn *c)
{
    return io_op_busy(&c->send);
}

void net_conn_flush(struct net_conn *c);
/* Sends the out buffer and then `count` (< IO_IOV_MAX) pieces. Nothing may be in flight; the array and
 * the bytes stand still until net_conn_sending() is false. IO_SEND_ZEROCOPY holds for a single piece with
 * nothing in the out buffer, in the clear. */
void net_conn_send_body(struct net_conn *c, struct iovec *pieces, int count, unsigned send_flags);

/* From here on the connection speaks TLS, and takes over `t`. What is in the out buffer still leaves in the
 * clear. `ready` is called when tls_state becomes ACTIVE or FAILED; it may have become so already when
 * this returns.
 *
 * Nobody may have spoken yet (implicit TLS: what has come is TLS's), or no input may be waiting: what came
 * behind a STARTTLS, or behind the reply to one, was put there by somebody between us and the peer, or by
 * a peer that is to learn (RFC 3207 4.2, CVE-2011-0411). Then it is FAILED, and those bytes are gone.
 *
 * With a door, helpers do the handshake (tls_context_is_heavy()); the door must outlive the connection,
 * and a close waits for what they have. */
void net_conn_start_tls(struct net_conn *c, struct tls *t, struct work_door *door);
/* For facts, bindings and resumption: good until `closed`. NULL: none, or in a helper's hands. */
struct tls *net_conn_tls(const struct net_conn *c);
const char *net_conn_tls_error(const struct net_conn *c); /* why it is FAILED; NULL: it is not */
/* The peer's end came without close_notify: somebody may have cut it off. */
bool net_conn_tls_truncated(const struct net_conn *c);

/* linger: the peer may still be sending, and is to see our last reply all the same: read and drop until
 * it closes. The owner's timer bounds it, by net_conn_abort(). */
void net_conn_close(struct net_conn *c, bool linger);
void net_conn_abort(struct net_conn *c);
/* Frees what the connection holds without a call into io, which is gone (simulated crash). */
void net_conn_discard(struct net_conn *c);

#endif
