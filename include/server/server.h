/*
 * server: takes mail. A listener a configured address, a session a connection; the pure engine of
 * `smtp` says what is asked, policy whether it may be, the spool keeps it, and the queue has it from
 * then on. One struct server a shard; struct server_shared is one for the process.
 */
#ifndef SERVER_H
#define SERVER_H

#include <stdatomic.h>

#include "auth.h"
#include "base_pool.h"
#include "base_wheel.h"
#include "conf.h"
#include "io.h"
#include "queue.h"
#include "smtp_server.h"
#include "spool.h"
#include "tls_context.h"

struct server_clients;
struct server_users;

/* What the shards have in common, touched once a connection: how many there are in total, at each
 * listener and from each client. Atomic counters, no lock. */
struct server_shared {
    _Atomic uint64_t connections;
    _Atomic uint64_t *by_listener; /* as conf_listener_at() of the start's configuration */
    struct server_clients *clients;
    struct server_users *_Atomic users; /* NULL while no user has limits */
};

void server_shared_init(struct server_shared *shared, const struct conf *conf);
void server_shared_finish(struct server_shared *shared);
/* What users have sent; NULL if nobody has counted yet and it is not to be made. Any thread. */
struct server_users *server_shared_users(struct server_shared *shared, bool make);

struct server_counters {
    uint64_t sessions; /* open now */
    uint64_t sessions_total;
    uint64_t sessions_refused; /* 421 or 554 at once: limits, networks */
    uint64_t accepted;         /* messages answered 250 */
    uint64_t recipients;       /* of those, behind aliases */
    uint64_t expanded;         /* recipients named that were aliases */
    uint64_t refused_recipients;
    uint64_t refused_senders;     /* that do not belong to the user */
    uint64_t refused_user_limits; /* messages, recipients and sessions over a limit of the user */
    uint64_t users_uncounted;     /* logins of users for whom the table of limits had no room */
    uint64_t refused_messages;    /* 5yz to DATA or to the final dot */
    uint64_t deferred_messages;   /* 4yz to these: no room, failed sync */
    uint64_t bytes_in;            /* bodies */
    uint64_t tls_sessions;        /* handshakes that succeeded */
    uint64_t tls_failed;
    uint64_t tls_resumed; /* of tls_sessions */
    uint64_t tls_1_2, tls_1_3;
};

/* What a reload exchanges: the configuration, and what was made of the files that it names. The parts
 * have counted references; the server takes its own. */
struct server_settings {
    const struct conf *conf;
    struct tls_context *const *tls; /* one a listener of conf, NULL: no TLS there; NULL: nowhere */
};

struct server_options {
    struct server_settings settings;
    struct server_shared *shared;
    struct io *io;
    struct wheel *wheel;
    struct spool *spool;
    struct queue *queue;
    struct auth *auth;                   /* the shard's; NULL: nobody can log in */
    struct verify *verify;               /* the shard's; NULL: nothing is asked of others */
    struct work_door *compute, *patient; /* see shard_group */
};

struct server;
struct server *server_create(const struct server_options *options);
/* Accepts on a listening socket, which it takes over; `listener` is its index (conf_listener_at)
 * in the conf that the server was created with. */
void server_listen(struct server *s, int fd, size_t listener);
/* From now on sessions begin with these settings; those that are open keep theirs. A listener keeps its
 * addresses, and all that it has if its name is gone from the configuration. */
void server_reload(struct server *s, const struct server_settings *settings);
/* End of a pass: sessions whose turn was over go on. */
void server_step(struct server *s);
/* server_step() would do something now. */
bool server_has_work(const struct server *s);
/* Stops accepting; sessions end as soon as they are between messages, with 421; at `deadline_ms` those
 * that are left are cut off. */
void server_stop(struct server *s, uint64_t deadline_ms);
bool server_idle(const struct server *s); /* no session, no listener */
/* Idle; or, with crashed (simulator), in any state and without a call into io. */
void server_destroy(struct server *s, bool crashed);
void server_counters(const struct server *s, struct server_counters *out);

#endif
