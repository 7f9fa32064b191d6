/*
 * load_dialog: what a session of mailring-load says, and what it makes of the replies. The connection
 * is load_session.c's.
 */
#ifndef LOAD_DIALOG_H
#define LOAD_DIALOG_H

#include "load_session.h"

enum load_outcome {
    LOAD_OUTCOME_ACCEPTED,
    LOAD_OUTCOME_REFUSED,
    LOAD_OUTCOME_UNKNOWN, /* the final dot was sent, and no reply came */
    LOAD_OUTCOME_UNSENT,
};

/* ---- load_dialog.c ---- */
void load_dialog_init(struct load_session *s); /* a new connection */
void load_dialog_message_begins(struct load_session *s);
void load_dialog_message_over(struct load_session *s, enum load_outcome outcome);
void load_dialog_input(struct load_session *s, struct slice in);
/* Makes what `want` asks for: *out_bytes and 0, or so many of s->pieces. Sets what is waited for. */
int load_dialog_output(struct load_session *s, struct slice *out_bytes);
/* TLS stands. */
void load_dialog_secured(struct load_session *s);
void load_dialog_sent(struct load_session *s, size_t count);

/* ---- load_session.c, for the dialog ---- */
void load_session_waits(struct load_session *s, enum load_stage stage);
void load_session_push(struct load_session *s);
void load_session_end(struct load_session *s);
/* The connection is of no more use: counts the error, and what it means for the message. */
void load_session_break(struct load_session *s, enum load_error_kind kind, int number,
                        struct slice text);

#endif
