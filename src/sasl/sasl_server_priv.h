/* sasl_server: what its mechanisms share. */
#ifndef SASL_SERVER_PRIV_H
#define SASL_SERVER_PRIV_H

#include "sasl_server.h"

/* What the engine waits for. */
enum sasl_state {
    SASL_STATE_FIRST,   /* the client's first message */
    SASL_STATE_SECOND,  /* LOGIN's password, SCRAM's client-final */
    SASL_STATE_LAST,    /* the answer to what ends the exchange, well (SCRAM) or not (tokens) */
    SASL_STATE_VERDICT, /* the caller */
    SASL_STATE_OVER,
};

enum sasl_step sasl_server_over(struct sasl_server *s, enum sasl_step step);
enum sasl_step sasl_server_ask(struct sasl_server *s, enum sasl_state next, struct slice challenge);
/* Copies to s->name, and s->user is that. False: not a name. */
bool sasl_server_set_user(struct sasl_server *s, struct slice user);

/* A name in a GS2 header, in which "=2C" and "=3D" stand for comma and equals sign (RFC 5801 4). */
bool sasl_gs2_name(struct slice in, uint8_t out[SASL_USER_MAX], size_t *out_len);

enum sasl_step sasl_scram_first(struct sasl_server *s, struct slice message);
enum sasl_step sasl_scram_final(struct sasl_server *s, struct slice message);
enum sasl_step sasl_scram_challenge(struct sasl_server *s);
/* Client's message of OAUTHBEARER and XOAUTH2: s->user and s->token. False: malformed. */
bool sasl_token_parse(struct sasl_server *s, struct slice message);

#endif
