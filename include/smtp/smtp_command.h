/*
 * smtp_command: one command line taken apart (RFC 5321 4.1.1): the verb, its argument, and the
 * parameters of MAIL and RCPT. Pure; the results are slices of the line.
 */
#ifndef SMTP_COMMAND_H
#define SMTP_COMMAND_H

#include "smtp_address.h"

enum smtp_verb {
    SMTP_VERB_UNKNOWN,
    SMTP_VERB_EHLO,
    SMTP_VERB_HELO,
    SMTP_VERB_MAIL,
    SMTP_VERB_RCPT,
    SMTP_VERB_DATA,
    SMTP_VERB_RSET,
    SMTP_VERB_NOOP,
    SMTP_VERB_VRFY,
    SMTP_VERB_EXPN,
    SMTP_VERB_HELP,
    SMTP_VERB_QUIT,
    SMTP_VERB_STARTTLS,
    SMTP_VERB_AUTH,
    SMTP_VERB_BDAT,
    SMTP_VERB_ETRN,
    SMTP_VERB_FOREIGN, /* another protocol's: GET, POST, CONNECT... */
    SMTP_VERB_COUNT,
};

/* Finds the verb and leaves in *argument what follows the blank after it, trimmed at its end. */
enum smtp_verb smtp_command_verb(struct slice line, struct slice *argument);

enum smtp_body { SMTP_BODY_7BIT, SMTP_BODY_8BITMIME };

/* RFC 3461 4.1, 4.3. */
enum smtp_notify {
    SMTP_NOTIFY_NEVER = 1,
    SMTP_NOTIFY_SUCCESS = 2,
    SMTP_NOTIFY_FAILURE = 4,
    SMTP_NOTIFY_DELAY = 8,
};
enum smtp_ret { SMTP_RET_NONE, SMTP_RET_FULL, SMTP_RET_HDRS };

/* Slices are of the line, as they came. */
struct smtp_params {
    uint64_t size; /* SIZE=, RFC 1870; 0: not given */
    union {
        struct slice
            auth; /* of MAIL: AUTH=, RFC 4954 5: xtext, or "<>"; data NULL: not given. Who it
                               names is the word of the peer, and worth as much */
        struct slice orcpt; /* of RCPT: ORCPT=, RFC 3461 4.2: "type;xtext", or with RFC 6533's
                               utf-8-addr-xtext; empty: not given */
    };
    struct slice envid; /* of MAIL: ENVID=, RFC 3461 4.4: xtext; empty: not given */
    uint8_t body;       /* of MAIL: enum smtp_body */
    uint8_t ret;        /* of MAIL: enum smtp_ret, RFC 3461 4.3 */
    uint8_t notify;     /* of RCPT: a set of enum smtp_notify, RFC 3461 4.1; 0: not given */
    bool require_tls;   /* of MAIL: REQUIRETLS, RFC 8689 */
};

enum smtp_params_result {
    SMTP_PARAMS_OK,
    SMTP_PARAMS_SYNTAX,  /* not esmtp-param, or given twice: 501 */
    SMTP_PARAMS_VALUE,   /* known, but its value makes no sense: 501 */
    SMTP_PARAMS_UNKNOWN, /* 555 (RFC 5321 4.1.1.11) */
};

/* The parameters of `verb` (MAIL or RCPT) that the extensions in the set allow. */
enum smtp_params_result smtp_params_parse(enum smtp_verb verb, uint32_t extensions,
                                          struct slice text, struct smtp_params *out);

/* xtext (RFC 3461 4), which well-formed AUTH= is, as the octets that it means. */
bool smtp_xtext_decode(struct slice text, struct buf *out);

#endif
