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
 * behind it. That is never more than options->line_max octets. Slices in struct smtp_server are
 * parts of what *in covered, good until the caller reuses that memory or calls again. The envelope is
 * the caller's to keep.
 *
 * After an intent that needs an answer (CHECK_*, BEGIN_DATA, END_DATA) call smtp_server_answer()
 * before smtp_server_next(). The 250 to the final dot is therefore the caller's, and only his.
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

enum smtp_bare_newline { SMTP_BARE_NEWLINE_REJECT, SMTP_BARE_NEWLINE_NORMALIZE };

/* One a listener, shared by its sessions, which it outlives. */
struct smtp_server_options {
    struct slice hostname; /* a domain, or an address literal */
    struct slice greeting; /* after the hostname; empty: "ESMTP" */
    uint32_t extensions;   /* a set of enum smtp_extension; others than SMTP_EXT_SERVER: later */
    size_t line_max;       /* a command line with its CRLF; at least 512; 0: 2048 */
    uint64_t message_size_max;  /* octets of decoded data; 0: no limit */
    uint32_t recipients_max;    /* accepted ones a message; 0: 1000 */
    uint32_t errors_max;        /* 5yz replies without a message taken, then 421; 0: 20 */
    uint32_t idle_commands_max; /* NOOP, RSET, HELP... without a message taken, then 421; 0: 200 */
    uint32_t messages_max;      /* a connection, then 421; 0: no limit */
    enum smtp_bare_newline bare_newline;
};

enum smtp_intent {
    SMTP_NEED_INPUT, /* *in holds no whole command; what is left of it must be shown again */
    SMTP_REPLIED,    /* the engine answered by itself: call again */
    SMTP_CHECK_HELO, /* s->helo, s->extended. Accepted, it voids the transaction (RFC 5321 4.1.4) */
    SMTP_CHECK_MAIL, /* s->path (null path: text is empty), s->params */
    SMTP_CHECK_RCPT, /* s->path, s->params */
    SMTP_BEGIN_DATA, /* there is a sender and a recipient; NULL answers 354 */
    SMTP_BODY,       /* s->body, decoded: copy it now; s->dot.facts so far */
    SMTP_END_DATA,   /* the message is whole: commit it, then answer */
    SMTP_RESET,      /* the transaction is void (RSET, or the message was refused while being read,
                        in which case the rest of it is swallowed): forget it and call again */
    SMTP_QUIT,       /* 221 is in `out`: send and close */
    SMTP_CLOSE,      /* 421 or 554 is in `out`: send and close */
};

struct smtp_server {
    const struct smtp_server_options *options;

    /* What the intent is about; slices of *in. */
    struct smtp_address path;
    struct smtp_params params;
    struct slice helo;
    struct slice body;
    bool extended;        /* EHLO, not HELO; stays for the session: Received says ESMTP */
    bool extended_before; /* what it goes back to if the EHLO is refused */

    struct smtp_dot dot;
    uint64_t data_size;                    /* decoded octets so far */
    const struct smtp_reply *data_refusal; /* the body is being swallowed; this will be said */
    uint32_t recipients;                   /* accepted in this transaction */
    uint32_t recipients_refused;
    uint32_t errors;
    uint32_t idle_commands;
    uint32_t messages; /* taken in this session */
    uint8_t state;
    uint8_t pending; /* the intent that waits for its answer */
    bool helo_given;
    bool mail_given;
    bool command_seen;
    bool discarding; /* the rest of a bad line, up to its CRLF */
    bool discard_cr;
    bool end_seen; /* the final dot was taken; its intent comes next */
};
_Static_assert(sizeof(struct smtp_server) <= 256, "an idle session is to stay small");

void smtp_server_init(struct smtp_server *s, const struct smtp_server_options *options);
/* Appends the 220 greeting. */
void smtp_server_greet(struct smtp_server *s, struct buf *out);

enum smtp_intent smtp_server_next(struct smtp_server *s, struct slice *in, struct buf *out);

/* Answers the intent; a refused DATA leaves the transaction as it is (RFC 5321 4.1.1.4). NULL: yes, in the usual words (not for END_DATA, whose 250 has to be meant).
 * 2yz (354 for BEGIN_DATA) accepts, anything else refuses; 421 also ends the session. */
void smtp_server_answer(struct smtp_server *s, const struct smtp_reply *reply, struct buf *out);

/* While a body is read: it cannot be kept (no space). The rest is swallowed, then `reply`, which
 * must stay where it is, is said. No SMTP_RESET follows: the caller knows. */
void smtp_server_refuse_data(struct smtp_server *s, const struct smtp_reply *reply);

/* Ends the session from outside (timeout, shutdown, too many clients): appends `reply`, 421 or 554,
 * and every later call answers SMTP_CLOSE. An answer that comes afterwards goes nowhere. */
void smtp_server_close(struct smtp_server *s, const struct smtp_reply *reply, struct buf *out);

/* A body is being read, so that the data timeout holds (RFC 5321 4.5.3.2). */
bool smtp_server_in_data(const struct smtp_server *s);

#endif
