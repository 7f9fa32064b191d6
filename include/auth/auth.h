/*
 * auth: who a client is. SASL exchanges (RFC 4954) over what the configuration names: a users file, the
 * auth socket of a Dovecot, an OAuth introspection service, client certificates; and what becomes of those
 * who guess. Nothing here blocks a shard: hashes are computed on one pool of helpers, HTTP waits on
 * another, Dovecot is asked over io.
 *
 *     struct auth_exchange *x = auth_begin(auth, &request);
 *     for (;;) switch (auth_outcome(x)) {
 *     case AUTH_WORKING:   wait for request.ready, which is called on the shard, once
 *     case AUTH_CHALLENGE: send 334 auth_challenge(x), read a line, auth_respond(x, line)
 *     case AUTH_OK:        keep a copy of auth_user(x)
 *     default:             refused: auth_reply() has the words
 *     }
 *     auth_end(x);         in any state, also when the session ends before the answer is known
 *
 * Many outcomes are known when auth_begin() or auth_respond() returns; `ready` is called for those that
 * are not, and never within a call. After auth_end() it is not called any more, whatever still runs.
 *
 * Who guesses wrong waits before he is told so: auth.delay, doubled with each failure. After auth.failures
 * of them for one user name, the client may not log in as that user for auth.ban; after failures for as
 * many different names, it may not log in at all. (Clients are addresses, or IPv6 /64 networks. Networks in
 * relay_from are not shut out as a whole: webmail and gateways speak for many users.) One table of fixed
 * size holds that for all shards; a reload keeps it.
 *
 * Each exchange leaves one log line, without anything secret. Secrets are overwritten when they have
 * been used.
 */
#ifndef AUTH_H
#define AUTH_H

#include "base_wheel.h"
#include "conf.h"
#include "io.h"
#include "tls.h"
#include "work.h"

/* ---- for the process ------------------------------------------------------------------------- */

/* What is read at start and at reload: the users file, the introspection secret. Immutable; counted
 * references, any thread. Keeps a reference to `conf`. */
struct auth_setup;

/* Reads files, so not on a shard's thread. Appends what is wrong as FILE:LINE: message, also with the lines
 * of the users file; NULL if that was more than warnings. */
struct auth_setup *auth_setup_create(const struct conf *conf, struct conf_errors *errors);
struct auth_setup *auth_setup_ref(struct auth_setup *s);
void auth_setup_unref(struct auth_setup *s); /* NULL is fine */

/* The senders that the users file allows this user, as they stand there ("ann@a.example,@b.example");
 * empty: nothing is said about it. Take them apart with auth_sender_next(). Good as long as `s`. */
struct slice auth_setup_senders(const struct auth_setup *s, struct slice user);
bool auth_sender_next(struct slice *rest, struct slice *out);

/* Who guessed how often: atomic words, no lock. */
struct auth_shared;
struct auth_shared *auth_shared_create(void);
void auth_shared_destroy(struct auth_shared *shared); /* NULL is fine */

/* ---- for a shard ----------------------------------------------------------------------------- */

struct auth_options {
    struct auth_setup *setup; /* referenced */
    struct auth_shared *shared;
    struct io *io;
    struct wheel *wheel;
    struct work_door *compute; /* password hashes */
    struct work_door *network; /* introspection; may be NULL if that is not configured */
};

struct auth;
struct auth *auth_create(const struct auth_options *options);
/* Exchanges under way end with what they began with. */
void auth_reload(struct auth *a, struct auth_setup *setup);
void auth_stop(struct auth *a);       /* sessions are over: closes the connection to Dovecot */
bool auth_idle(const struct auth *a); /* nothing under way: no exchange, no job, no socket */
/* Idle; or, with crashed (simulator), in any state and without a call into io. */
void auth_destroy(struct auth *a, bool crashed);
struct auth_setup *auth_setup_of(struct auth *a); /* as of now; not referenced for the caller */

/* What a session knows of its client. */
struct auth_peer {
    const struct conf_listener *listener;
    struct ip_addr ip, local_ip;
    uint16_t port, local_port;
    struct tls *tls;  /* NULL: in the clear */
    uint64_t session; /* for the log */
};

/* What EHLO offers this client behind AUTH: "SCRAM-SHA-256 PLAIN LOGIN"; empty: no AUTH. Good as long as
 * `a`. With Dovecot it changes when that comes up: ask anew for each EHLO. */
struct slice auth_mechanisms(struct auth *a, const struct auth_peer *peer);

enum auth_outcome {
    AUTH_WORKING,
    AUTH_CHALLENGE,
    AUTH_OK,
    /* refused: */
    AUTH_REJECTED,          /* 535: wrong, unknown or locked, which is not told apart */
    AUTH_TEMPORARY,         /* 454: a back end is out of order, or too much to do */
    AUTH_MALFORMED,         /* 501: not base64, or not what the mechanism says */
    AUTH_CANCELLED,         /* 501: the client said "*" */
    AUTH_TOO_LONG,          /* 500: a line, or what was in it */
    AUTH_UNKNOWN_MECHANISM, /* 504: not offered to this client */
    AUTH_NEEDS_TLS,         /* 538: offered, but not in the clear */
    AUTH_BANNED_USER,       /* 454: this user from this address, for now; nothing was checked */
    AUTH_BANNED, /* 421: this address, for now; nothing was checked. Close the connection */
    AUTH_OUTCOME_COUNT
};

/* For everything but WORKING and CHALLENGE. Static. */
struct auth_reply {
    uint16_t code;
    uint16_t enhanced[3];
    struct slice text;
};
const struct auth_reply *auth_reply(enum auth_outcome outcome);

struct auth_exchange;

struct auth_request {
    const struct auth_peer *peer; /* copied; peer->tls stays until auth_end() */
    struct slice mechanism;       /* any case */
    bool has_response;            /* an initial response was given */
    struct slice response;        /* it: base64; "=" is an empty one */
    void (*ready)(void *context);
    void *context;
};

struct auth_exchange *auth_begin(struct auth *a, const struct auth_request *request); /* not NULL */
enum auth_outcome auth_outcome(const struct auth_exchange *x);
struct slice auth_challenge(const struct auth_exchange *x); /* base64, may be empty */
/* After AUTH_CHALLENGE: what the client said, base64, or "*". The outcome may have changed while the client
 * was thinking, when a back end gave up: then the response counts for nothing, and the outcome is the answer
 * to it. */
void auth_respond(struct auth_exchange *x, struct slice response);
struct slice auth_user(const struct auth_exchange *x); /* AUTH_OK: the name, in its one form */
void auth_end(
    struct auth_exchange *x); /* frees x, at once or when what runs has ended. NULL is fine */

/* ---- for status ------------------------------------------------------------------------------ */

struct auth_counters {
    uint64_t ok;
    uint64_t rejected;
    uint64_t temporary;
    uint64_t malformed;      /* and cancelled, too long, unknown mechanism, without TLS */
    uint64_t banned;         /* answered without looking, because of a ban */
    uint64_t bans_addresses; /* bans imposed */
    uint64_t bans_users;
    uint64_t working; /* exchanges now */
};
void auth_counters(const struct auth *a, struct auth_counters *out);

/* Bans in force that this shard has imposed, the newest first; not more than AUTH_BANS_LISTED. `user` is
 * empty where all users are meant. Stops when `visit` returns false. */
enum { AUTH_BANS_LISTED = 256 };
struct auth_ban {
    struct ip_addr ip; /* of IPv6 the /64 */
    struct slice user;
    uint64_t seconds_left;
};
void auth_bans(const struct auth *a, bool (*visit)(void *context, const struct auth_ban *ban),
               void *context);

#endif
