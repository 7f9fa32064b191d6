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

struct smtp_params {
    uint64_t size; /* SIZE=, RFC 1870; 0: not given */
    enum smtp_body body;
    bool require_tls; /* REQUIRETLS, RFC 8689 */
    struct slice
        auth; /* AUTH=, RFC 4954 5: xtext, or "<>"; data NULL: not given. Who it names is the
                          word of the peer, and worth as much */
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
