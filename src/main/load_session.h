/*
 * load_session: one of the parallel sessions of mailring-load: an SMTP client that sends what was made
 * beforehand, and looks at no more of a reply than it must. It reconnects as often as needed.
 *
 * What is to be sent is noted in `want` and goes out when the send before it is through; which reply
 * is due is `stage`. Replies may come in any cuts.
 */
#ifndef LOAD_SESSION_H
#define LOAD_SESSION_H

#include "load_worker.h"
#include "smtp_capability.h"
#include "smtp_reply.h"
#include "tls.h"

enum load_state {
    LOAD_FREE, /* on worker->free; connected or not */
    LOAD_CONNECTING,
    LOAD_TALKING, /* waits for the reply that `stage` names */
    LOAD_CLOSING,
    LOAD_PAUSING, /* after a session that went wrong */
    LOAD_ENDED,
};

enum load_want {
    LOAD_WANT_NOTHING,
    LOAD_WANT_EHLO,
    LOAD_WANT_HELO,
    LOAD_WANT_STARTTLS,
    LOAD_WANT_ENVELOPE, /* MAIL; pipelined, all up to DATA */
    LOAD_WANT_RCPT,
    LOAD_WANT_DATA,
    LOAD_WANT_BODY,
    LOAD_WANT_DOT, /* an empty message: nobody is to get it, but the server said 354 */
    LOAD_WANT_RSET,
    LOAD_WANT_QUIT,
};

enum { LOAD_REPLY_STORAGE = 512 };

struct load_session {
    struct load_worker *worker;
    struct list node;
    struct wheel_timer timer;
    uint64_t deadline_ms; /* of the reply, of the pause */
    struct io_op recv;
    struct io_op send;
    struct io_op control; /* connect, shutdown, close */
    int fd;
    uint8_t state; /* enum load_state */
    uint8_t stage; /* enum load_stage */
    uint8_t want;  /* enum load_want */
    bool open;     /* there is a connection */
    bool broken;   /* it went wrong: pause before the next */
    bool shut;
    bool reading;  /* what is wanted waits until all that came was looked at */
    bool extended; /* EHLO was understood */

    bool has_message; /* claimed, and not yet accounted for */
    bool mail_taken;
    bool dot_sent;
    uint64_t serial;
    uint64_t recipients_answered;
    uint64_t recipients_taken;
    uint64_t here; /* messages on this connection */
    uint64_t connect_ns, begin_ns, dot_ns;

    struct tool_mark mark;
    struct smtp_capabilities offers;
    struct smtp_reply_parser parser;
    struct buf out;
    struct buf wire;    /* with TLS: what is to be sent */
    struct buf sending; /* what is being sent */
    struct tls *tls;    /* NULL: in the clear */
    struct tls_resumption *resume;
    uint64_t handshake_ns;
    bool shaking_hands;
    struct iovec pieces[3];
    uint8_t storage[LOAD_REPLY_STORAGE];
};

void load_session_init(struct load_session *s, struct load_worker *w, uint32_t number);
void load_session_finish(struct load_session *s);
/* Begins a message, if one is to be had; else waits for one among the free sessions, or ends. */
void load_session_next(struct load_session *s);
/* The run is over and this session is still at it. */
void load_session_cut(struct load_session *s);

#endif
