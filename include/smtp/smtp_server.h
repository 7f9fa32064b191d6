/*
 * smtp_server: the server's side of a session, as a pure engine: bytes in, intents and replies out.
 *
 *     smtp_server_init(&s, &options);
 *     smtp_server_greet(&s, &out);
 *     for (;;) switch (smtp_server_next(&s, &in, &out)) { ... }
 *
 * One call handles one command, or one piece of a body. Replies pile up in `out`; send them when
 * there is nothing left to do, so that the answers to a pipelined batch leave together (RFC 2920),
 * and stop calling while `out` holds more than you like: the engine never looks at its size.
 *
 * The engine keeps no bytes: a partial line stays in *in, and the caller shows it again with more
 * behind it. That is never more than options->line_max octets, while somebody logs in never more than
 * SMTP_AUTH_LINE_MAX. Slices in struct smtp_server are
 * parts of what *in covered, good until the caller reuses that memory or calls again. The envelope is
 * the caller's to keep.
 *
 * After an intent that needs an answer (CHECK_*, BEGIN_DATA, END_DATA, STARTTLS, AUTH*) call
 * smtp_server_answer() before smtp_server_next(). The 250 to the final dot is therefore the caller's,
 * and only his.
 *
 * TLS (RFC 3207). SMTP_STARTTLS: answer NULL, which says 220, or 454. After 220: flush `out`, shake
 * hands on the connection, then smtp_server_secured(); if the handshake fails, close the connection
 * (smtp_server_close() then says nothing). Bytes that came in the clear behind the STARTTLS line are
 * left in *in, so in->len > 0 after the intent means that the client, or somebody between, wrote ahead:
 * they MUST NOT reach the engine. Close the connection, or at the least throw them away; and what the
 * kernel holds of them goes to the handshake, where it is no TLS and ends it.
 * TLS from the first byte: smtp_server_secured() before smtp_server_greet().
 *
 * AUTH (RFC 4954). SMTP_AUTH: s->mechanism, and the initial response if s->has_response. Say
 * smtp_server_challenge(), and SMTP_AUTH_RESPONSE or SMTP_AUTH_CANCEL follows; or smtp_server_answer():
 * NULL or 2yz: logged in; else: 535 5.7.8 wrong, 454 4.7.0 for now, 501 5.5.2 not base64, ... Responses
 * are base64, of up to SMTP_AUTH_LINE_MAX octets, and are gone once *in is consumed; "" is the empty
 * one. The answer may take its time. After SMTP_AUTH_CANCEL the reply is said already: forget the
 * exchange and call again. The engine refuses by itself: unknown mechanisms (504), a second login or
 * one within a transaction (503), a mechanism that is for TLS only (538).
 *
 * Lines end with CRLF alone. A bare CR or LF, a NUL, or an overlong line gets one 500, and all up to
 * its CRLF is thrown away.
 */
#ifndef SMTP_SERVER_H
#define SMTP_SERVER_H

#include "smtp_capability.h"
#include "smtp_command.h"
#include "smtp_dot.h"
#include "smtp_reply.h"

/* RFC 4954 4: the longest base64 line that must be taken is 12288 octets; here with verb, mechanism and
 * CRLF: an initial response of that length is taken too, though RFC 4954 does not ask for it. */
enum { SMTP_AUTH_RESPONSE_MAX = 12288, SMTP_AUTH_LINE_MAX = 12288 + 64 };

enum smtp_bare_newline { SMTP_BARE_NEWLINE_REJECT, SMTP_BARE_NEWLINE_NORMALIZE };

/* One a listener, shared by its sessions, which it outlives. */
struct smtp_server_options {
    struct slice hostname; /* a domain, or an address literal */
    struct slice greeting; /* after the hostname; empty: "ESMTP" */
    /* A set of enum smtp_extension, out of SMTP_EXT_SERVER, _SERVER_SECURE and _SERVER_KEPT. What the state of
     * the session forbids is not offered: STARTTLS under TLS, REQUIRETLS without, AUTH without any
     * mechanism. */
    uint32_t extensions;
    size_t line_max;            /* a command line with its CRLF; at least 512; 0: 2048 */
    uint64_t message_size_max;  /* octets of decoded data; 0: no limit */
    uint32_t recipients_max;    /* accepted ones a message; 0: 1000 */
    uint32_t errors_max;        /* 5yz replies without a message taken, then 421; 0: 20 */
    uint32_t idle_commands_max; /* NOOP, RSET, HELP... without a message taken, then 421; 0: 200 */
    uint32_t messages_max;      /* a connection, then 421; 0: no limit */
    enum smtp_bare_newline bare_newline;
    /* For AUTH: names in upper case, a blank between: "SCRAM-SHA-256 PLAIN". In the clear only those of
     * the second list (none: the usual and the sane case). */
    struct slice mechanisms;
    struct slice mechanisms_clear;
    bool
        tls_required; /* in the clear 530 to all but EHLO, HELO, NOOP, RSET, HELP, QUIT, STARTTLS */
    bool auth_required; /* 530 to MAIL and VRFY until the client is logged in (RFC 6409 4.3) */
};

enum smtp_intent {
    SMTP_NEED_INPUT, /* *in holds no whole command; what is left of it must be shown again */
    SMTP_REPLIED,    /* the engine answered by itself: call again */
    SMTP_CHECK_HELO, /* s->helo, s->extended. Accepted, it voids the transaction (RFC 5321 4.1.4) */
    SMTP_CHECK_MAIL, /* s->path (null path: text is empty), smtp_server_params() */
    SMTP_CHECK_RCPT, /* s->path, smtp_server_params() */
    SMTP_BEGIN_DATA, /* there is a sender and a recipient; NULL answers 354 */
    SMTP_BODY,       /* s->body, decoded: copy it now; s->dot.facts so far */
    SMTP_END_DATA,   /* the message is whole: commit it, then answer */
    SMTP_RESET,      /* the transaction is void (RSET, or the message was refused while being read,
                        in which case the rest of it is swallowed): forget it and call again */
    SMTP_STARTTLS,   /* see above; never within a transaction or behind a login */
    SMTP_AUTH,       /* s->mechanism (a part of s->mechanisms), s->has_response, s->response */
    SMTP_AUTH_RESPONSE, /* s->response */
    SMTP_AUTH_CANCEL,   /* the exchange is over: "*", or a line that is none */
    SMTP_QUIT,          /* 221 is in `out`: send and close */
    SMTP_CLOSE,         /* 421 or 554 is in `out`: send and close */
};

struct smtp_server {
    const struct smtp_server_options *options;

    /* What the intent is about, one of them at a time; slices of *in. */
    union {
        struct {
            struct smtp_address path;
            struct slice params; /* see smtp_server_params() */
        };
        struct slice helo;
        struct slice body;
        struct {
            struct slice mechanism;
            struct slice response;
            bool has_response; /* the initial one was given */
        };
    };
    /* What AUTH offers in this session: smtp_server_init() and smtp_server_secured() set the options' list
     * for the clear or for TLS, and the caller may put another in its place (EXTERNAL for one with a
     * client certificate), at CHECK_HELO for instance. The bytes are the caller's and stay. */
    struct slice mechanisms;
    struct smtp_dot dot;
    uint64_t data_size;                    /* decoded octets so far */
    const struct smtp_reply *data_refusal; /* the body is being swallowed; this will be said */
    uint32_t recipients;                   /* accepted in this transaction */
    uint32_t errors;
    uint32_t idle_commands;
    uint32_t messages; /* taken in this session */
    uint8_t state;
    uint8_t pending; /* the intent that waits for its answer */
    bool tls_active;
    bool authenticated;
    bool extended;          /* EHLO, not HELO; stays for the session: Received says ESMTP */
    bool extended_before;   /* what it goes back to if the EHLO is refused */
    bool recipient_refused; /* in this transaction */
    bool helo_given;
    bool mail_given;
    bool command_seen;
    bool discarding; /* the rest of a bad line, up to its CRLF */
    bool discard_cr;
    bool end_seen; /* the final dot was taken; its intent comes next */
};
_Static_assert(sizeof(struct smtp_server) <= 152, "an idle session is to stay small");

void smtp_server_init(struct smtp_server *s, const struct smtp_server_options *options);
/* Appends the 220 greeting. */
void smtp_server_greet(struct smtp_server *s, struct buf *out);

enum smtp_intent smtp_server_next(struct smtp_server *s, struct slice *in, struct buf *out);

/* The parameters of CHECK_MAIL or CHECK_RCPT, until it is answered. (Only their text is kept: a session has
 * no room for all that they might say.) */
void smtp_server_params(const struct smtp_server *s, struct smtp_params *out);

/* Answers the intent; a refused DATA leaves the transaction as it is (RFC 5321 4.1.1.4). NULL: yes, in the usual words (not for END_DATA, whose 250 has to be meant).
 * 2yz (354 for BEGIN_DATA) accepts, anything else refuses; 421 also ends the session. */
void smtp_server_answer(struct smtp_server *s, const struct smtp_reply *reply, struct buf *out);

/* While a body is read: it cannot be kept (no space). The rest is swallowed, then `reply`, which
 * must stay where it is, is said. No SMTP_RESET follows: the caller knows. */
void smtp_server_refuse_data(struct smtp_server *s, const struct smtp_reply *reply);

/* Appends 334 and the challenge, base64 and maybe empty, for SMTP_AUTH and SMTP_AUTH_RESPONSE. */
void smtp_server_challenge(struct smtp_server *s, struct slice base64, struct buf *out);

/* TLS is active from now on, and nothing of what was said before it holds: EHLO comes again (RFC 3207
 * 4.2). Only the counts of errors and messages go on. */
void smtp_server_secured(struct smtp_server *s);

/* Ends the session from outside (timeout, shutdown, too many clients): appends `reply`, 421 or 554,
 * and every later call answers SMTP_CLOSE. An answer that comes afterwards goes nowhere. */
void smtp_server_close(struct smtp_server *s, const struct smtp_reply *reply, struct buf *out);

/* A body is being read, so that the data timeout holds (RFC 5321 4.5.3.2). */
bool smtp_server_in_data(const struct smtp_server *s);

#endif
