/*
 * sasl_client: the client's side of a SASL exchange (RFC 4422) as a pure engine: decoded challenges in,
 * decoded responses out.
 *
 *     sasl_client_begin(&c, mechanism, &options)      c.has_initial: c.out is the initial response; say
 *                                                     sasl_client_initial_sent() if it could be sent
 *     sasl_client_respond(&c, challenge)
 *         SASL_CLIENT_SEND:   answer with c.out, c.out_len bytes, maybe none
 *         SASL_CLIENT_DERIVE: call sasl_client_derive() on a helper's thread, since the server says how much
 *                             work it is; then sasl_client_derived()
 *         SASL_CLIENT_FAILED: cancel; c.error says why
 *     sasl_client_accepted(&c)                        the server says that we are in: believe it?
 *     sasl_client_wipe(&c)                            always, in the end
 *
 * A SCRAM server has to prove that it knows the password too (RFC 5802 5): one that says "welcome" without
 * is somebody else. Names and passwords are taken as they are: SASLprep (RFC 4013) changes nothing of ASCII.
 */
#ifndef SASL_CLIENT_H
#define SASL_CLIENT_H

#include "sasl_server.h"

enum sasl_client_step { SASL_CLIENT_SEND, SASL_CLIENT_DERIVE, SASL_CLIENT_FAILED };

struct sasl_client_options {
    struct slice user;
    struct slice password; /* PLAIN, LOGIN, SCRAM */
    struct slice token; /* XOAUTH2, OAUTHBEARER: an access token (RFC 6750 2.1), without "Bearer" */
    struct slice nonce; /* SCRAM: ours: 18 to 64 printable characters, no comma, new each time */
    struct slice host;  /* OAUTHBEARER: whom we are talking to; empty: left out */
    uint16_t port;
};

struct sasl_client {
    uint8_t out[SASL_MESSAGE_MAX];
    size_t out_len;
    bool has_initial;
    const char *error; /* static */

    /* The rest is the engine's own. */
    enum sasl_mechanism mechanism;
    uint8_t state;
    bool initial_sent;
    uint32_t iterations;
    uint8_t user[SASL_USER_MAX];
    size_t user_len;
    uint8_t password[SASL_PASSWORD_MAX];
    size_t password_len;
    uint8_t nonce[64];
    size_t nonce_len;
    uint8_t salt[SASL_SCRAM_SALT_MAX];
    size_t salt_len;
    /* SCRAM's AuthMessage: client-first-message-bare, server-first-message, and at final_at what the
     * proof is put behind. */
    uint8_t said[SASL_SCRAM_FIRST_MAX + SASL_SCRAM_FIRST_MAX + SASL_OUT_MAX];
    size_t said_len, final_at;
    uint8_t client_key[TLS_HASH_SIZE_MAX], server_key[TLS_HASH_SIZE_MAX];
    uint8_t expected[TLS_HASH_SIZE_MAX]; /* the server's signature */
};

/* Copies what it needs of the options. False: c->error says what the mechanism cannot carry. The -PLUS
 * mechanisms and EXTERNAL are none of its. */
bool sasl_client_begin(struct sasl_client *c, enum sasl_mechanism mechanism,
                       const struct sasl_client_options *options);
void sasl_client_initial_sent(struct sasl_client *c);
enum sasl_client_step sasl_client_respond(struct sasl_client *c, struct slice challenge);
void sasl_client_derive(struct sasl_client *c);
enum sasl_client_step sasl_client_derived(struct sasl_client *c);
bool sasl_client_accepted(struct sasl_client *c);
void sasl_client_wipe(struct sasl_client *c);

#endif
