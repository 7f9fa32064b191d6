/*
 * load_tls: the TLS of a load_session, between its dialog and its socket. What is to be sent, handshake
 * and records, gathers in s->wire.
 */
#ifndef LOAD_TLS_H
#define LOAD_TLS_H

#include "load_session.h"

/* For all sessions of the run; verifies nothing: it measures. NULL and *out_error. */
struct tls_context *load_tls_context(const struct load_options *o, struct buf *out_error);

void load_tls_begin(struct load_session *s); /* connected, or 220 to STARTTLS */
/* What the server sent: shakes hands, or hands plaintext to the dialog. */
void load_tls_input(struct load_session *s, struct slice in);
/* Appends the records of these bytes to s->wire. */
void load_tls_write(struct load_session *s, struct slice bytes);
/* The connection ends: keeps what the next one can resume with. */
void load_tls_end(struct load_session *s);

#endif
