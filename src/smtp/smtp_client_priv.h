/* smtp_client_priv: what the parts of the client engine share. */
#ifndef SMTP_CLIENT_PRIV_H
#define SMTP_CLIENT_PRIV_H

#include "smtp_client.h"

/* For the text of a reply. */
enum { SMTP_CLIENT_STORAGE_MIN = 64 };

/* Which recipients c->reply is being handed out to. */
enum smtp_client_sweep { SWEEP_NONE, SWEEP_UNSENDABLE, SWEEP_ALL, SWEEP_TAKEN };

/* "Nothing to report yet": the reply was taken, go on. */
#define CLIENT_GO_ON SMTP_CLIENT_NEED_INPUT

/* The session is of no more use because of c->reply (code 0: there was none). */
enum smtp_client_event smtp_client_fail(struct smtp_client *c, bool protocol);
void smtp_client_start_sweep(struct smtp_client *c, enum smtp_client_sweep which);

/* EHLO (LHLO) or HELO. */
void smtp_client_hello(struct smtp_client *c, enum smtp_client_stage stage, struct buf *out);

/* c->reply answers STARTTLS, or a line of an AUTH exchange. */
enum smtp_client_event smtp_client_secure_reply(struct smtp_client *c);

/* c->reply answers a command of the transaction: c->stage is RSET, MAIL, RCPT, DATA, BODY, DOT. */
enum smtp_client_event smtp_client_transaction_reply(struct smtp_client *c, struct buf *out);

#endif
