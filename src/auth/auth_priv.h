/*
 * auth: what the parts of this layer share. An exchange goes from state to state in exchange_step(), which
 * is called by the session (begin, respond) and by what it waits for (a job, Dovecot, a timer).
 */
#ifndef AUTH_PRIV_H
#define AUTH_PRIV_H

#include <crypt.h>
#include <stdatomic.h>

#include "auth.h"
#include "auth_dovecot_priv.h"
#include "auth_guard_priv.h"
#include "auth_token_priv.h"
#include "auth_users_priv.h"
#include "base_list.h"

enum {
    AUTH_EXCHANGES_MAX = 8192, /* on a shard; beyond: 454 */
    AUTH_DELAY_MAX_MS = 30000, /* clients wait a minute or more for an answer */
    AUTH_NONCE_LEN = 24,       /* 18 random bytes in base64 */
    AUTH_MECHANISMS_TEXT_MAX = 512,
    AUTH_LISTS_MAX = 64,
    AUTH_NAME_MAX = 32, /* of a mechanism: RFC 4422 says 20 */
};

struct auth_setup {
    _Atomic unsigned refs;
    const struct conf *conf;
    struct auth_users *users; /* NULL: none are configured */
    char *secret;             /* "client:secret" for introspection; NULL: none */
    bool introspection_plain; /* http, to this machine */
};

struct auth_shared {
    struct auth_guard guard;
};

/* A list of mechanisms that was offered: sessions point to its text. */
struct auth_list {
    struct auth_list *next;
    struct slice text;
};

struct auth_ban_record {
    struct ip_addr ip;
    uint64_t key;
    uint64_t until_s;
    uint8_t user_len;
    uint8_t user[SASL_USER_MAX];
};

struct auth {
    struct auth_setup *setup;
    struct auth_shared *shared;
    struct io *io;
    struct wheel *wheel;
    struct work_door *compute, *network;
    struct auth_dovecot *dovecot;
    struct auth_token_cache *tokens;
    struct list exchanges;
    struct auth_list *lists;
    unsigned list_count;
    struct auth_counters counters;
    struct auth_ban_record *bans; /* AUTH_BANS_LISTED of them once there was one; a ring */
    unsigned ban_next;
};

enum auth_state {
    AUTH_STATE_CLIENT,  /* its next message, or that it takes the outcome */
    AUTH_STATE_COMPUTE, /* x->job computes a hash */
    AUTH_STATE_TOKEN,   /* x->job asks the introspection service */
    AUTH_STATE_DOVECOT, /* x->request asks it */
    AUTH_STATE_DELAY,   /* x->timer: a failure is told late */
    AUTH_STATE_OVER,
};

struct auth_exchange {
    struct auth *auth;
    struct list node; /* auth->exchanges */
    struct auth_setup *setup;
    struct auth_peer peer;
    void (*ready)(void *context); /* NULL after auth_end() */
    void *context;
    bool in_call; /* of the session's: what comes out is seen by itself */
    bool ended;   /* auth_end() was called */
    enum auth_state state;
    enum auth_outcome outcome;
    enum auth_outcome after_delay;
    struct slice mechanism; /* a name; empty: none that was offered */
    uint8_t mechanism_name[AUTH_NAME_MAX];
    bool
        relayed; /* what the client says goes to Dovecot as it is; `sasl` has its user's name only */
    struct buf challenge; /* base64 */
    uint8_t *message;     /* decoded; its own memory, wiped */
    size_t message_size;
    struct wheel_timer timer;
    struct work_job job;
    struct auth_dovecot_request request;
    struct auth_token_answer *token; /* TOKEN: what it said */
    struct slice hash; /* COMPUTE: of the user, or of another in his place. The setup's */
    bool verbatim;     /* the user's name is Dovecot's, and its case too */
    bool failure_told; /* in a challenge; what follows is only the end */
    bool user_known;
    bool good;
    char nonce[AUTH_NONCE_LEN + 1];
    uint8_t user[SASL_USER_MAX];
    uint8_t user_len;
    struct sasl_server sasl;
};

/* The simulator's machine is gone, and what the exchange waited for with it. */
void auth_exchange_forget(struct auth_exchange *x);

/* ---- auth_offer ------------------------------------------------------------------------------ */

/* How this client may use the mechanism of this name. */
enum auth_way {
    AUTH_WAY_NONE,
    AUTH_WAY_NEEDS_TLS, /* under TLS it might */
    AUTH_WAY_OURS,      /* by one of sasl_mechanisms[] */
    AUTH_WAY_DOVECOT,   /* as Dovecot's */
};
enum auth_way auth_way(struct auth *a, const struct auth_peer *peer, struct slice name);
/* -PLUS can be done on this connection. */
bool auth_can_bind(const struct auth_peer *peer);
/* The name in the client's certificate if that lets him log in; empty: it does not. */
struct slice auth_certificate_name(const struct auth_peer *peer);

/* ---- auth_verify ----------------------------------------------------------------------------- */

/* On a helper: whether the password fits a hash of crypt(3), or a SCRAM verifier. */
bool auth_verify(struct slice hash, struct slice password);

/* ---- auth_failures --------------------------------------------------------------------------- */

enum auth_ban_kind { AUTH_BAN_NONE, AUTH_BAN_USER, AUTH_BAN_CLIENT };
enum auth_ban_kind auth_banned(struct auth_exchange *x, struct slice user);
/* Counts it, bans who has had enough, and answers how long the client waits for the bad news. */
uint64_t auth_failed(struct auth_exchange *x, struct slice user);
void auth_succeeded(struct auth_exchange *x, struct slice user);

#endif
