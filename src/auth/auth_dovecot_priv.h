/*
 * auth_dovecot: a client of Dovecot's authentication service, by its protocol for clients, version 1.1 and
 * later (Dovecot's documentation, "Authentication Protocol"): lines of fields with tabs between.
 *
 * One connection a shard, which is opened at once and kept; requests share it, each with a number. When it
 * is lost, what was asked fails for now, and it is opened again after a while that doubles up to half a
 * minute. A request that comes meanwhile fails at once: a client is told to come again (454) before it
 * has become impatient.
 */
#ifndef AUTH_DOVECOT_PRIV_H
#define AUTH_DOVECOT_PRIV_H

#include "base_list.h"
#include "base_wheel.h"
#include "io.h"

enum {
    AUTH_DOVECOT_LINE_MAX = 16384,
    AUTH_DOVECOT_HANDSHAKE_MS = 10000,
    AUTH_DOVECOT_ANSWER_MS = 60000, /* PAM, LDAP and its own delay for failures take their time */
    AUTH_DOVECOT_RETRY_MS = 1000,
    AUTH_DOVECOT_RETRY_MAX_MS = 30000,
    AUTH_DOVECOT_MECHANISMS_MAX = 32,
};

enum auth_dovecot_answer {
    AUTH_DOVECOT_OK,        /* data: the user's name */
    AUTH_DOVECOT_FAILED,    /* data: the user's name, maybe empty */
    AUTH_DOVECOT_CHALLENGE, /* data: base64 */
    AUTH_DOVECOT_TEMPORARY,
};

/* Embedded in its owner. `answer` may ask again, for a challenge, or forget. */
struct auth_dovecot_request {
    struct list node;
    uint32_t id; /* 0: idle */
    struct wheel_timer timer;
    struct auth_dovecot *dovecot;
    void (*answer)(struct auth_dovecot_request *r, enum auth_dovecot_answer answer,
                   struct slice data);
};

struct auth_dovecot;

struct auth_dovecot *auth_dovecot_create(struct io *io, struct wheel *wheel);
/* Where it is; NULL: nowhere, and the connection is closed. What is under way fails for now. */
void auth_dovecot_set_path(struct auth_dovecot *d, const char *path);
bool auth_dovecot_idle(const struct auth_dovecot *d); /* no path, and all closed */
void auth_dovecot_destroy(struct auth_dovecot *d, bool crashed);

/* What Dovecot told that it can, in upper case. Before it was reached once: PLAIN, which all have. */
size_t auth_dovecot_mechanisms(const struct auth_dovecot *d, const struct slice **out);
bool auth_dovecot_has(const struct auth_dovecot *d, struct slice mechanism);

struct auth_dovecot_facts {
    struct slice mechanism;
    struct ip_addr ip, local_ip;
    uint16_t port, local_port;
    bool secured;
    uint64_t session;
    bool has_response;
    struct slice response; /* base64 */
};
/* False: Dovecot cannot be asked now. */
bool auth_dovecot_ask(struct auth_dovecot *d, struct auth_dovecot_request *r,
                      const struct auth_dovecot_facts *facts);
void auth_dovecot_continue(struct auth_dovecot_request *r, struct slice response);
void auth_dovecot_forget(struct auth_dovecot_request *r); /* fine if it is idle */

#endif
