/* server_priv: what the server's modules share. */
#ifndef SERVER_PRIV_H
#define SERVER_PRIV_H

#include "auth.h"
#include "base_arena.h"
#include "base_log.h"
#include "mail_header.h"
#include "mail_submission.h"
#include "net_conn.h"
#include "net_listener.h"
#include "policy.h"
#include "routing.h"
#include "server.h"
#include "server_clients_priv.h"
#include "server_envelope_priv.h"
#include "server_users.h"
#include "verify.h"

/* server_terms.c: what the sessions of a listener serve by. Immutable; each session refers to those that
 * it began with, so that a reload is felt by new ones only. */
struct server_terms {
    uint32_t refs;
    const struct conf *conf; /* a reference */
    const struct conf_listener *listener;
    struct tls_context *tls; /* a reference; NULL: none */
    bool auth;               /* is offered */
    struct smtp_server_options smtp;
};

struct server_terms *server_terms_create(const struct server_settings *settings, size_t listener);
struct server_terms *server_terms_ref(struct server_terms *t);
void server_terms_unref(struct server_terms *t); /* NULL is fine */

struct server_listener {
    struct net_listener net;
    struct server *server;
    size_t index; /* in server_shared */
    struct server_terms *terms;
    struct list node;
};

struct server {
    struct server_options o;
    struct list listeners;
    struct list sessions;
    struct list runnable; /* sessions with input left when their pass was over */
    struct pool session_pool;
    struct pool transaction_pool;
    struct server_counters counters;
    uint64_t next_session;
    uint32_t turned_away; /* sessions that only say 421 */
    bool stopping;
    size_t list_bytes; /* of transactions that took large lists */
    bool worked_hard;  /* for one command: the session's pass is over */
    struct wheel_timer stop_timer;
};

/* What a session waits for. */
enum session_state {
    SESSION_TLS,     /* the handshake */
    SESSION_COMMAND, /* the engine: input, or the output to drain */
    SESSION_AUTH,    /* somebody who knows whether the password is right */
    SESSION_CHECK,   /* others who know whether the sender, or the recipient, is one */
    SESSION_ROOM,    /* staging memory for the body */
    SESSION_COMMIT,  /* the sync: the one state that answers 250 to a final dot */
    SESSION_CLOSING, /* the connection's end */
};

enum step { STEP_AGAIN, STEP_WAIT };

/* What MAIL or RCPT has said, until it is known whether that is taken. */
struct transaction_check {
    struct arena arena;     /* of this recipient */
    struct slice recipient; /* as it was said, with a domain */
    struct spool_dsn dsn;
    struct routing_targets targets; /* what it stands for */
    bool expanded;
    struct verify_query query;
};

/* From MAIL to the end of the message. */
struct transaction {
    struct session *session;
    struct arena arena;
    struct slice sender;
    struct slice envid;
    struct slice first; /* recipient, as it was said */
    struct envelope envelope;
    struct transaction_check check;
    size_t list_bytes;     /* counted in the server's */
    uint32_t targets_seen; /* behind all aliases that were named, also by those that were refused */
    uint64_t size_hint;
    struct buf head; /* bytes that staging has yet to take: first our trace fields */
    struct mail_header header;
    struct submission *submission; /* role submission: mends the header */
    struct spool_writer writer;
    uint64_t size; /* body octets received */
    uint64_t
        taken_ms; /* wall clock: since when this counts in the limits of the user, until the end */
    uint32_t taken_messages;
    uint32_t taken_recipients;
    bool ended;       /* the final dot was seen */
    bool committing;  /* the spool has it: may not be forgotten before its `done` */
    bool require_tls; /* REQUIRETLS was said */
    uint16_t flags;   /* enum spool_message_flags that MAIL said */
};

/* Somebody who has logged in. */
struct session_user {
    struct policy_user is; /* in `text` */
    struct server_users *users;
    uint32_t slot; /* in `users`; SERVER_USERS_NOBODY: not counted */
    uint8_t text[];
};

struct session {
    struct list node;
    struct list runnable;
    struct server *server;
    struct server_terms *terms;
    struct transaction *tx; /* NULL between messages */
    uint64_t id;
    uint64_t progress_ms; /* the client's last command, or last piece of a body */
    uint64_t data_ms;     /* when DATA began, our own waits left out */
    uint64_t deadline_ms;
    struct wheel_timer timer;
    char *helo;
    struct auth_exchange *login; /* under way */
    struct policy_client client; /* its user is in a struct session_user, which is the session's */
    uint32_t client_slot;
    uint32_t local_uid; /* at the submit socket: whose program it is */
    uint16_t listener;  /* index in server_shared */
    uint8_t state;      /* enum session_state */
    bool counted : 1;   /* in server_shared */
    bool turned_away : 1;
    bool closed : 1;    /* the connection is; the session waits for its commit */
    const char *reason; /* of the end, for the log */
    struct smtp_server smtp;
    struct net_conn conn;
};
_Static_assert(sizeof(struct session) <= 928, "an idle session is to stay small");

static inline struct session_user *session_user_of(const struct session *s)
{
    return s->client.user == NULL ? NULL : container_of(s->client.user, struct session_user, is);
}

void session_begin(struct server_listener *listener, int fd);
void session_step(struct session *s);
/* The server stops: ends now if it is between messages. */
void session_stop(struct session *s);
/* Its time to end by itself is over. */
void session_cut_off(struct session *s);
/* The client had to wait for us: that is not its time. */
void session_waited(struct session *s);
void session_discard(struct session *s); /* io is gone */

/* server_secure.c: TLS, and who the client is. */
void session_start_tls(struct session *s); /* in SESSION_TLS, once */
/* False: something came behind it in the clear; the reply is said, close. */
bool session_accept_starttls(struct session *s, struct slice rest);
void session_tls_failed(struct session *s,
                        const char *why); /* in the handshake: counts and logs it */
void session_log_tls_failed(const struct session *s, const char *why); /* later */
void session_secured(struct session *s);
bool session_tls_facts(const struct session *s, struct tls_facts *out); /* false: in the clear */
void session_log_secure(const struct session *s, struct log_record *r); /* tls, cipher, user */
/* Before each EHLO's answer: it may change with time. */
void session_offer_mechanisms(struct session *s);
/* The engine's intents about AUTH. Afterwards the state is COMMAND, or AUTH until the answer is known. */
void session_login_begin(struct session *s);
void session_login_respond(struct session *s);
void session_login_cancel(struct session *s);
void session_login_answer(struct session *s); /* if it is known by now */
void session_login_end(struct session *s);    /* fine if there is none */

/* server_check.c: MAIL and RCPT. Answers are given to the engine; or the state is CHECK until there are any. */
void transaction_begin(struct session *s);
void transaction_add_recipient(struct session *s);
bool transaction_is_checked(const struct session *s);
void transaction_checked(struct session *s); /* in SESSION_CHECK, once it is */
void transaction_log_refused(struct session *s, const char *event, struct slice recipient,
                             const struct smtp_reply *refusal);

/* server_transaction.c: the message itself, from DATA to 250. */
const struct smtp_reply *transaction_spool_reply(enum spool_result result); /* NULL: all is well */
void transaction_begin_data(struct session *s);
void transaction_body(struct session *s);
/* Hands on what waited for room. False: there is none yet. */
bool transaction_flush(struct session *s);
void transaction_commit(struct session *s);
/* Counts and logs a message that was refused, for good or for now, after its envelope was taken. */
void transaction_refused(struct session *s, const struct smtp_reply *refusal);
void transaction_end(struct session *s);     /* forgets it; fine if there is none */
void transaction_discard(struct session *s); /* io and spool are gone */

/* server_submission.c: users, who have logged in. Nothing happens for others. */
/* After a login; both are copied. Not NULL: over the limit, which is logged; say it (421). */
const struct smtp_reply *session_user_enter(struct session *s, struct slice name,
                                            struct slice senders);
void session_user_leave(struct session *s);
/* A refusal with its words. It is logged. */
struct user_refusal {
    struct smtp_reply reply;
    char text[128];
};
bool transaction_user_begin(struct session *s, struct user_refusal *out);
/* For each recipient that is otherwise fine. */
bool transaction_user_recipient(struct session *s, struct user_refusal *out);
void transaction_user_recipient_failed(struct session *s); /* it was not taken after all */
/* Not NULL, but static: the body has grown too large for the user. */
const struct smtp_reply *transaction_user_size(struct session *s);
void transaction_user_accepted(struct transaction *tx); /* what it has counted stays */
void transaction_user_end(struct session *s);           /* otherwise it is given back */
/* The header of what is submitted. False: no memory left in the transaction's share. */
bool transaction_submission_begin(struct session *s);
void transaction_submission_start(struct session *s); /* the writer has an id */
/* Takes what is header off the body, and puts what leaves of it into tx->head. */
void transaction_submission_take(struct transaction *tx, struct slice *body);
void transaction_submission_finish(
    struct transaction *tx); /* the body is over; also a second time */

#endif
