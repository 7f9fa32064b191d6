/*
 * auth_users: the users file, user:hash[:sender,...] a line, as a table in memory. Names are compared
 * without regard to ASCII case, and kept in lower case. Written once, read by any thread.
 *
 * A hash that begins with "!" or "*" is locked: nothing fits it.
 */
#ifndef AUTH_USERS_PRIV_H
#define AUTH_USERS_PRIV_H

#include "conf.h"
#include "sasl_server.h"

enum auth_hash_kind { AUTH_HASH_LOCKED, AUTH_HASH_CRYPT, AUTH_HASH_SCRAM };

struct auth_user {
    struct slice name;
    struct slice hash; /* a NUL stands behind it */
    struct slice senders;
    enum auth_hash_kind kind;
};

struct auth_users;

/* Appends what is wrong to `errors`; NULL if that was more than warnings. */
struct auth_users *auth_users_load(const struct conf *conf, struct conf_errors *errors);
void auth_users_destroy(struct auth_users *u); /* overwrites the hashes; NULL is fine */

size_t auth_users_count(const struct auth_users *u);
bool auth_users_find(const struct auth_users *u, struct slice name, struct auth_user *out);

/* For a name that is not there, or one that is locked: another user's entry with a hash to compute, always
 * the same one for a name, so that what it costs says nothing about who is there. */
struct slice auth_users_stand_in(const struct auth_users *u, struct slice name);

/* Users that could log in by SCRAM with this hash. */
size_t auth_users_scram(const struct auth_users *u, enum tls_hash hash);
/* And nobody but those, and the locked. */
bool auth_users_all_scram(const struct auth_users *u, enum tls_hash hash);
/* The user's verifier, or a fake one; false with the latter. */
bool auth_users_verifier(const struct auth_users *u, struct slice name, enum tls_hash hash,
                         struct sasl_verifier *out);

/* What kind of hash the text is; false and *out_why: of no use. */
bool auth_hash_kind(struct slice hash, enum auth_hash_kind *out, const char **out_why);
/* "{SHA512-CRYPT}$6$..." and the like: what other servers put in front of crypt(3)'s. */
struct slice auth_hash_bare(struct slice hash);

#endif
