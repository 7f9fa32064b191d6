/* sasl_client_priv: what its mechanisms share. */
#ifndef SASL_CLIENT_PRIV_H
#define SASL_CLIENT_PRIV_H

#include "base_codec.h"
#include "sasl_client.h"

enum sasl_client_state {
    SASL_CLIENT_START,    /* nothing was said */
    SASL_CLIENT_NAMED,    /* LOGIN: the name */
    SASL_CLIENT_SAID,     /* all that there is to say */
    SASL_CLIENT_FIRST,    /* SCRAM: client-first */
    SASL_CLIENT_DERIVING, /* SCRAM: server-first came */
    SASL_CLIENT_FINAL,    /* SCRAM: client-final */
    SASL_CLIENT_PROVEN,   /* SCRAM: the server's signature is right */
    SASL_CLIENT_OVER,
};

/* Appends to c->out; what does not fit sets c->error. */
void sasl_client_put(struct sasl_client *c, struct slice s);
/* The user as a saslname (RFC 5802 5.1). */
void sasl_client_put_name(struct sasl_client *c);
enum sasl_client_step sasl_client_failed(struct sasl_client *c, const char *error);

void sasl_client_scram_begin(struct sasl_client *c, struct slice nonce);
enum sasl_client_step sasl_client_scram_respond(struct sasl_client *c, struct slice challenge);

#endif
