/*
 * smtp_client: the client's side of a session, as a pure engine: replies in, commands and outcomes
 * out. Many transactions on one connection, one after the other; pipelined where the server offers
 * it (RFC 2920), else in lock step. With options->lmtp it speaks LMTP (RFC 2033).
 *
 *     smtp_client_init(&c, &options, text, sizeof(text));
 *     READY:       smtp_client_begin(&c, &transaction, &out), or smtp_client_quit(&c, &out)
 *     RCPT_RESULT: recipient c.rcpt_index has its final outcome: c.reply, said at c.reply_stage
 *     SEND_BODY:   send what is in `out`, then the dot-stuffed body with its final dot (smtp_dot),
 *                  then smtp_client_body_sent(). Keep calling smtp_client_next() meanwhile if input
 *                  comes: a server may give up early
 *     DONE:        every recipient had its RCPT_RESULT; READY follows, or FAILED
 *
 *     READY:           smtp_client_starttls(&c, &out), if c.capabilities offer it
 *     STARTTLS_READY:  220 was said: shake hands, then smtp_client_secured(). What the peer had said in
 *                      the clear is forgotten, EHLO goes out again, READY follows
 *     STARTTLS_REFUSED: c.reply says why; READY follows, in the clear
 *
 *     READY:           smtp_client_auth(&c, mechanism, initial response, &out)
 *     AUTH_CHALLENGE:  c.reply.text is the challenge, base64: smtp_client_auth_respond() or _cancel()
 *     AUTH_OK:         logged in, c.authenticated; READY follows
 *     AUTH_FAILED:     c.reply says why: 4yz for now, 5yz wrong; READY follows
 *
 *     FAILED:      the session is of no more use; recipients that had no RCPT_RESULT have none: see
 *                  c.failure, above all c.failure.in_doubt
 *
 * Bytes in the clear behind the 220 to STARTTLS were put there by somebody who hopes that they are taken
 * for replies under TLS: what of them is in *in ends the session (FAILED, failure.protocol). What arrives
 * later is the handshake's, and no TLS. TLS from the first byte: smtp_client_secured() before anything.
 *
 * Recipients and the transaction stand still from begin to DONE or FAILED. The text of c.reply is in
 * the storage that the caller lent, cut to its size, until the next call.
 */
#ifndef SMTP_CLIENT_H
#define SMTP_CLIENT_H

#include "smtp_capability.h"
#include "smtp_command.h"
#include "smtp_reply.h"

/* What we wait for: also the index for timeouts (RFC 5321 4.5.3.2). */
enum smtp_client_stage {
    SMTP_STAGE_GREETING, /* 5 minutes */
    SMTP_STAGE_EHLO,
    SMTP_STAGE_HELO,
    SMTP_STAGE_STARTTLS,
    SMTP_STAGE_SECURE, /* the caller is shaking hands */
    SMTP_STAGE_AUTH,   /* for a challenge, or the outcome; or the caller thinks of a response */
    SMTP_STAGE_IDLE,   /* between transactions */
    SMTP_STAGE_RSET,
    SMTP_STAGE_MAIL, /* 5 minutes */
    SMTP_STAGE_RCPT, /* 5 minutes */
    SMTP_STAGE_DATA, /* 2 minutes */
    SMTP_STAGE_BODY, /* the caller is sending; 3 minutes a block */
    SMTP_STAGE_DOT,  /* the reply to the final dot; 10 minutes */
    SMTP_STAGE_QUIT,
    SMTP_STAGE_CLOSED,
};
const char *smtp_client_stage_name(enum smtp_client_stage stage); /* "greeting", "mail"... */

struct smtp_client_options {
    struct slice hostname; /* for EHLO: a domain or an address literal */
    bool lmtp;
    uint32_t extensions_off; /* a set of enum smtp_extension not to be used even if offered */
    /* An 8-bit body for a server without 8BITMIME. Default: send it as it is. RFC 6152 3 wants it
     * converted or bounced; practically every server takes it, and converting breaks signatures. */
    bool refuse_8bit;
};

/* One of the transaction's recipients; the engine writes `state`. */
enum smtp_rcpt_state {
    SMTP_RCPT_PENDING,
    SMTP_RCPT_TAKEN, /* RCPT was accepted; the outcome depends on what follows */
    SMTP_RCPT_FINAL, /* had its RCPT_RESULT */
};
struct smtp_client_rcpt {
    struct slice address; /* without angle brackets */
    enum smtp_rcpt_state state;
    uint16_t code;   /* of the outcome, once final: 2yz delivered */
    bool unsendable; /* the address would break the command line: refused without asking */
    /* For a peer that offers DSN: as they came, or empty and 0. */
    struct slice orcpt;
    uint8_t notify; /* a set of enum smtp_notify */
};

struct smtp_transaction {
    struct slice sender; /* without angle brackets; empty: the null path */
    struct smtp_client_rcpt *rcpts;
    size_t rcpt_count; /* at least 1 */
    uint64_t size;     /* of the body for SIZE=; 0: not known */
    bool body_8bit;
    /* For a peer that offers DSN (RFC 3461 5.2): whether it does says c.capabilities, and that decides who
     * owes the sender a "relayed". */
    struct slice envid;
    enum smtp_ret ret;
    /* Nothing is sent: after the replies to RCPT the transaction ends with RSET (a call-out). RCPT_RESULT
     * says 2yz for those that would be taken. */
    bool verify;
    /* MAIL with REQUIRETLS (RFC 8689). Where the peer does not offer it, or TLS is not active, each
     * recipient is refused with 550 5.7.30 without asking; who knows another host looks before. */
    bool require_tls;
};

enum smtp_client_event {
    SMTP_CLIENT_NEED_INPUT,
    SMTP_CLIENT_READY,
    SMTP_CLIENT_RCPT_RESULT,
    SMTP_CLIENT_SEND_BODY,
    SMTP_CLIENT_DONE,
    SMTP_CLIENT_FAILED,
    SMTP_CLIENT_STARTTLS_READY,
    SMTP_CLIENT_STARTTLS_REFUSED,
    SMTP_CLIENT_AUTH_CHALLENGE,
    SMTP_CLIENT_AUTH_OK,
    SMTP_CLIENT_AUTH_FAILED,
    SMTP_CLIENT_CLOSED, /* QUIT was answered: close the connection */
};

struct smtp_client_failure {
    enum smtp_client_stage stage; /* what we waited for */
    bool permanent;               /* a 5yz reply; else worth another try */
    bool in_doubt;                /* the final dot may have arrived: recipients that are TAKEN may
                                     have the message */
    bool protocol;                /* what came was not SMTP */
    uint16_t code;                /* the reply's, 0 if there was none; its text is in c->reply */
};

struct smtp_client {
    const struct smtp_client_options *options;
    const struct smtp_transaction *transaction;
    struct smtp_capabilities capabilities; /* the peer's */
    struct smtp_reply reply;               /* what the event is about */
    struct smtp_client_failure failure;
    size_t rcpt_index; /* of RCPT_RESULT */
    enum smtp_client_stage stage;
    enum smtp_client_stage reply_stage; /* the command that c->reply answers */

    bool tls_active;
    bool authenticated;

    struct smtp_reply_parser parser;
    size_t sent;     /* how far the commands are written: MAIL, RCPT..., DATA */
    size_t answered; /* and how far they are answered */
    size_t waiting;  /* replies that are due */
    size_t taken;    /* recipients accepted and not final */
    size_t sweep;    /* recipients before this one have their part of `sweeping` */
    uint8_t sweeping;
    bool over; /* DONE comes next */
    bool failed;
    bool hang_up; /* the peer said 421 as its last word on the transaction */
    bool mail_refused;
    bool need_rset; /* the peer may still hold a transaction */
    bool lone_dot;  /* data without a recipient was ended by a dot at once */
};
_Static_assert(sizeof(struct smtp_client) <= 1024, "a pooled connection is to stay small");

/* `text_storage` (512 bytes, say; at least 64) keeps reply texts and stays lent until the session ends. */
void smtp_client_init(struct smtp_client *c, const struct smtp_client_options *options,
                      void *text_storage, size_t text_storage_size);
enum smtp_client_event smtp_client_next(struct smtp_client *c, struct slice *in, struct buf *out);
/* Only when READY. */
void smtp_client_begin(struct smtp_client *c, const struct smtp_transaction *t, struct buf *out);
void smtp_client_quit(struct smtp_client *c, struct buf *out);
/* Other memory for reply texts, from the next reply on; only when READY, or behind AUTH_*. A challenge has
 * up to SMTP_CHALLENGE_MAX octets, and one that does not fit ends the session. */
enum { SMTP_CHALLENGE_MAX = 12288 };
void smtp_client_lend(struct smtp_client *c, void *text_storage, size_t text_storage_size);

/* Only when READY, and not under TLS. */
void smtp_client_starttls(struct smtp_client *c, struct buf *out);
/* TLS is active: behind STARTTLS_READY, or before the first smtp_client_next(). */
void smtp_client_secured(struct smtp_client *c, struct buf *out);

/* Only when READY. `initial` is base64; data NULL: there is none; of no length: sent as "=". False: it was
 * not sent, as the line would be too long (RFC 4954 4): a server that goes on begins with an empty
 * challenge, and that is answered with it. */
bool smtp_client_auth(struct smtp_client *c, struct slice mechanism, struct slice initial,
                      struct buf *out);
/* After AUTH_CHALLENGE. The outcome of cancelling is AUTH_FAILED. */
void smtp_client_auth_respond(struct smtp_client *c, struct slice base64, struct buf *out);
void smtp_client_auth_cancel(struct smtp_client *c, struct buf *out);

/* The last byte of the body and its final dot are handed to the connection. */
void smtp_client_body_sent(struct smtp_client *c);
/* The connection is gone or timed out. First call smtp_client_next() with what had come in, until it
 * wants more. Fills c->failure. Answers FAILED, or CLOSED after QUIT. */
enum smtp_client_event smtp_client_lost(struct smtp_client *c);

#endif
