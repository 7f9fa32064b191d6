/*
 * auth_token: what an OAuth access token is worth, as an introspection service says (RFC 7662), and what it
 * said a moment ago.
 */
#ifndef AUTH_TOKEN_PRIV_H
#define AUTH_TOKEN_PRIV_H

#include "base_slice.h"
#include "sasl_server.h"

enum {
    AUTH_TOKEN_RESPONSE_MAX = 65536,
    AUTH_TOKEN_TIMEOUT_MS = 15000,
    AUTH_TOKEN_CACHE_MS = 60000, /* so long a token that was revoked may still let somebody in */
    AUTH_TOKEN_SLOTS = 1024,
};

enum auth_token_result { AUTH_TOKEN_GOOD, AUTH_TOKEN_BAD, AUTH_TOKEN_UNKNOWN };

struct auth_token_answer {
    enum auth_token_result result;
    char error[256];                 /* UNKNOWN: for the log */
    uint8_t names[3][SASL_USER_MAX]; /* username, email, sub: what there is, in this order */
    uint8_t name_len[3];
    uint64_t expires_s; /* Unix; 0: not said */
};

struct auth_setup;

/* On a helper: asks, and waits. */
void auth_token_ask(const struct auth_setup *setup, struct slice token,
                    struct auth_token_answer *out);
/* What the body of a response says. Pure, for tests. */
void auth_token_parse(struct slice body, struct auth_token_answer *out);
/* The name that this is about: the one that the client claims (any case), or the first if it claims none.
 * Empty: it is another's token. */
struct slice auth_token_name(const struct auth_token_answer *answer, struct slice claimed);

/* A few good ones. */
struct auth_token_cache;
struct auth_token_cache *auth_token_cache_create(void);
void auth_token_cache_destroy(struct auth_token_cache *c); /* NULL is fine */
void auth_token_cache_clear(struct auth_token_cache *c);
const struct auth_token_answer *auth_token_cache_find(const struct auth_token_cache *c,
                                                      struct slice token, uint64_t now_ms);
void auth_token_cache_keep(struct auth_token_cache *c, struct slice token, uint64_t until_ms,
                           const struct auth_token_answer *answer);

#endif
