/*
 * delivery_remote_priv: what the parts of the remote half share: sites, their addresses, their
 * connections.
 *
 * A site decides (which task, which address, how many connections); a connection reports. Both have a
 * step function that may be called at any time. A connection never touches its site again once it has
 * called delivery_site_gone(), and a site outlives its connections.
 */
#ifndef DELIVERY_REMOTE_PRIV_H
#define DELIVERY_REMOTE_PRIV_H

#include "delivery_priv.h"
#include "delivery_tls_priv.h"
#include "net_conn.h"
#include "smtp_dot.h"

struct delivery_site;
struct delivery_smtp_auth;

_Static_assert(sizeof(((struct delivery_task *)0)->remote) == 256, "DELIVERY_REMOTE_NAME");

enum {
    DELIVERY_HOSTS_MAX = 32,     /* of a site; worse preferences are cut */
    DELIVERY_ADDRESSES_MAX = 64, /* of all its hosts */
    DELIVERY_REMOTE_NAME = 256,  /* "host[ip]:port", cut */

    /* How long the answer to a connection attempt is awaited before the next address is tried as well.
     * Many servers greet late on purpose, so one that has taken the connection is given longer. */
    DELIVERY_RACE_CONNECT_MS = 1500, /* halved with each address that lets us wait */
    DELIVERY_RACE_LEAST_MS = 250,    /* but not below (RFC 8305 8) */
    DELIVERY_RACE_GREETING_MS = 6500,

    DELIVERY_CAREFUL_MAX = 2,       /* attempts at a time until one has succeeded */
    DELIVERY_DEAD_MS = 5 * 60000,   /* an address that failed comes after all others for so long */
    DELIVERY_SILENT_MS = 60000,     /* the same for one that was only slower than another */
    DELIVERY_GROW_PAUSE_MS = 15000, /* after a further connection was refused */
    DELIVERY_PROBE_MIN_MS = 30000,  /* until a site that is down is probed; doubles */
    DELIVERY_PROBE_MAX_MS = 5 * 60000,
    DELIVERY_ADDRESS_AGE_MS = 60000, /* then the resolver is asked again */
    DELIVERY_LINGER_MS = 60000,      /* an unused site that knows of dead addresses is kept */
    DELIVERY_LOST_MAX = 5,           /* sessions in a row that end before any message was taken */
    DELIVERY_QUIT_MS = 5000,         /* for the reply to QUIT, and for the last bytes */
};

/* Why something failed, in the form in which recipients get it. */
struct delivery_reason {
    uint16_t code;
    uint16_t enhanced[3];
    bool permanent;
    enum delivery_scope scope; /* SITE, if nobody says otherwise */
    char text[DELIVERY_TEXT_MAX];
};
void delivery_reason_set(struct delivery_reason *r, unsigned subject, unsigned detail,
                         const char *format, ...) __attribute__((format(printf, 4, 5)));

/* ---- delivery_mx_question.c --------------------------------------------------------------- */

/* What the MX records of a task's domain are, and its policy. */
struct delivery_mx_question {
    struct delivery *d;
    struct delivery_task *task;
    void (*done)(struct delivery_mx_question *x);
    struct dns_query query;
    struct sts_query sts;
    bool sts_open; /* asked and not finished */
    uint8_t awaited;
    struct delivery_demand demand;
};
/* `done` is called when all has been answered, never within this. */
void delivery_mx_question_ask(struct delivery_mx_question *x, struct delivery *d,
                              struct delivery_task *t,
                              void (*done)(struct delivery_mx_question *x));
/* Then: the task gets its site and its policy. False: there is none, for a reason. */
bool delivery_mx_question_answer(struct delivery_mx_question *x, struct delivery_reason *out_why);
/* Also gives up one that is still open. */
void delivery_mx_question_finish(struct delivery_mx_question *x);

/* ---- delivery_address.c ------------------------------------------------------------------- */

struct delivery_host {
    struct delivery_addresses *addresses;
    struct slice name; /* within the site's key */
    uint16_t preference;
    bool is_ip;
    bool open; /* the query is asked and not finished */
    bool answered;
    bool decided;           /* there is a plan, or the reason why there is none */
    bool tls_open;          /* `tlsa` is asked and not finished */
    uint8_t tls_step;       /* delivery_tls_host.c's own */
    enum dns_status status; /* of the last answer */
    struct dns_query query;
    struct dns_query tlsa;
    struct delivery_plan *plan; /* of the last decision; NULL: the host is not to be used */
};

struct delivery_address {
    struct ip_addr ip;
    uint16_t preference;
    uint8_t family;       /* 1: of the one that the route likes less */
    struct slice host;    /* within the site's key */
    uint32_t connections; /* to it, attempts included */
    uint32_t stalled;     /* attempts that have waited for an answer for too long */
    uint32_t failed_round;
    uint64_t dead_until_ms;
};

struct delivery_addresses {
    struct delivery *d;
    void (*changed)(struct delivery_addresses *a); /* an answer came */
    struct delivery_host *hosts;
    uint32_t host_count;
    uint32_t open; /* answers that are still to come */
    uint16_t port;
    bool by_mx;
    bool lmtp;
    bool on_socket; /* the only host's name is the path; its one address says nothing */
    enum conf_family family;
    bool other_family;                /* there are addresses of one that is not allowed */
    const struct delivery_host *ours; /* the best that is this server itself; NULL */
    enum conf_route_tls mode;
    bool implicit;
    bool
        login; /* the route has one, and names the host itself. (Mail to a domain of ours may go to a host
                   of its own in the manners of a route; that host is not to hear our password.) */
    struct delivery_demand demand;
    const struct sts_policy *policy; /* the site's */
    struct delivery_reason *refused; /* why a host is not to be used, since they were last asked */
    bool explaining;                 /* nothing is to come of it */
    /* A host is refused, for whoever keeps account; or NULL. */
    void (*told)(struct delivery_addresses *a, const struct delivery_host *host,
                 enum delivery_tlsa tlsa, const struct delivery_reason *why);
    uint32_t
        round; /* a new one with each success, and after back-off: then all may be tried again */
    uint64_t asked_ms;
    struct delivery_address *items; /* sorted by preference, equal ones shuffled by host */
    uint32_t count;
    struct delivery_address *old; /* while asking again: what was known before */
    uint32_t old_count;
};

/* `key`, and the policy that it names (or NULL), stand still for as long as the addresses. */
void delivery_addresses_init(struct delivery_addresses *a, struct delivery *d, struct slice key,
                             const struct conf_route *route, const struct sts_policy *policy,
                             void (*changed)(struct delivery_addresses *a));
void delivery_addresses_finish(struct delivery_addresses *a);
/* Asks for all hosts; `changed` is called with each answer, never within this. */
void delivery_addresses_ask(struct delivery_addresses *a);
/* Every host has been answered for, and there is nothing to connect to. */
void delivery_addresses_explain(const struct delivery_addresses *a, struct delivery_reason *out);
/* The address for the next attempt, or NULL. `dead` too: those that have failed before this round. */
struct delivery_address *delivery_addresses_choose(struct delivery_addresses *a, bool dead);
struct delivery_address *delivery_addresses_find(struct delivery_addresses *a,
                                                 const struct ip_addr *ip);
bool delivery_addresses_any_dead(const struct delivery_addresses *a);
void delivery_addresses_close(struct delivery_addresses *a); /* no question stays open */
/* What is to be done over connections to this host; NULL: it is not to be used any more. */
struct delivery_plan *delivery_addresses_plan(const struct delivery_addresses *a,
                                              struct slice host);

/* ---- delivery_address_list.c -------------------------------------------------------------- */

struct delivery_host *delivery_addresses_host(const struct delivery_addresses *a,
                                              struct slice name);
/* The list anew, from all answers so far. */
void delivery_addresses_rebuild(struct delivery_addresses *a);
/* All have answered, or are not waited for any more. */
void delivery_addresses_settle(struct delivery_addresses *a);

/* ---- delivery_tls_host.c: a host that has been answered for --------------------------------- */

/* True: decided. Else delivery_addresses_decided() follows, not within this. */
bool delivery_tls_host_begin(struct delivery_host *host);
void delivery_tls_host_finish(struct delivery_host *host);
void delivery_addresses_decided(struct delivery_host *host);
void delivery_addresses_refused(struct delivery_host *host, enum delivery_tlsa tlsa,
                                const struct delivery_reason *why);

/* ---- delivery_smtp.c ---------------------------------------------------------------------- */

enum delivery_smtp_state {
    DELIVERY_SMTP_CONNECTING,
    DELIVERY_SMTP_SECURING, /* for the TLS handshake */
    DELIVERY_SMTP_TALKING,  /* for a reply */
    DELIVERY_SMTP_LOGIN,    /* for what a login needs of us: a file, a helper */
    DELIVERY_SMTP_BODY,     /* sending: for a piece, or for room */
    DELIVERY_SMTP_IDLE,     /* for a task */
    DELIVERY_SMTP_CLOSING,  /* for the reply to QUIT, for the socket, for the reader */
};

/* Where a session is; a change of it is progress, and each has a deadline of its own. */
struct delivery_smtp_mark {
    uint8_t state;
    uint8_t stage;
    size_t answered;
    uint64_t bytes_out;
};

enum { DELIVERY_FEW_RECIPIENTS = 4 };

struct delivery_smtp {
    struct delivery *d;
    struct delivery_site *site;
    struct list in_site;
    struct list in_idle;
    uint8_t state; /* enum delivery_smtp_state */

    /* The site's notes. */
    bool attempting; /* has not been greeted yet */
    bool stalled;    /* and has waited for too long */
    bool unanswered; /* not even by the other side's TCP */
    bool ended;      /* the site counts it no more, but it is not closed yet */

    /* Facts. */
    bool stepping, again;
    bool greeted;
    bool expired;    /* what we wait for has not come in time */
    bool leaving;    /* no further task */
    bool cut;        /* end now, whatever is under way */
    bool quitting;   /* QUIT is said */
    bool closed;     /* the socket is gone */
    bool task_over;  /* each recipient has its outcome, or the task is to be put back */
    bool to_lane;    /* the latter */
    bool sent_last;  /* of the body */
    uint8_t no_copy; /* enum delivery_no_copy */

    /* TLS: delivery_smtp_tls.c. */
    struct delivery_plan *plan;
    struct delivery_tls_facts tls;
    bool in_clear;      /* no STARTTLS any more */
    bool host_alone;    /* the certificate was asked for the host's names only */
    struct slice bound; /* owned; only for this domain, whose name the certificate may have shown */
    bool watching;      /* the certificate is checked, though the plan does without */
    bool fell_back;     /* for TLS has failed with this host */
    bool retry;         /* the attempt has ended because of TLS: the next one asks for less */
    uint8_t result;     /* enum report_result */
    uint64_t reported;  /* a hash of the domain whose policy was reported about last; 0: none */
    uint64_t tls_full_ms;

    struct slice host; /* within the site's key */
    struct ip_addr ip;
    struct io_addr address;
    struct wheel_timer timer;
    uint64_t deadline_ms, race_ms;
    struct delivery_smtp_mark mark;
    struct net_conn net;
    struct smtp_client smtp;
    uint8_t reply_text[DELIVERY_TEXT_MAX];
    struct delivery_smtp_auth *auth; /* while logging in; NULL */
    uint64_t messages;               /* transactions begun */
    uint64_t taken;                  /* recipients that the peer has taken responsibility for */

    /* The transaction. */
    struct delivery_task *task;
    struct smtp_transaction transaction;
    struct smtp_client_rcpt few[DELIVERY_FEW_RECIPIENTS];
    uint32_t few_of[DELIVERY_FEW_RECIPIENTS];
    uint32_t *rcpt_of;  /* the task's recipients that those of the transaction are */
    uint32_t rcpt_done; /* of the transaction: delivered */
    struct spool_reader reader;
    bool reading; /* the reader was begun */
    struct smtp_dot_encoder encoder;
    struct slice piece; /* of the body: not yet sent */
    uint64_t body_left; /* bytes that have not come from the reader */
    struct iovec pieces[IO_IOV_MAX];
};

/* Begins a connection. It reports to the site below, not before this has returned. */
struct delivery_smtp *delivery_smtp_create(struct delivery_site *s, struct slice host,
                                           const struct ip_addr *ip, uint16_t port,
                                           struct delivery_plan *plan);
void delivery_smtp_begin(struct delivery_smtp *c);
/* To an idle connection. */
void delivery_smtp_give(struct delivery_smtp *c, struct delivery_task *t);
/* No further task: QUIT now, after the transaction, or never mind if it is not greeted yet. */
void delivery_smtp_leave(struct delivery_smtp *c);
/* Ends at once. A message that is not taken yet is postponed. */
void delivery_smtp_cut(struct delivery_smtp *c);
/* After a simulated crash: frees it, without a call into io. */
void delivery_smtp_discard(struct delivery_smtp *c);

enum delivery_step { DELIVERY_STEP_AGAIN, DELIVERY_STEP_WAIT };

void delivery_smtp_step(struct delivery_smtp *c);

/* ---- delivery_smtp_tls.c ------------------------------------------------------------------ */

enum delivery_tls_next { DELIVERY_TLS_GO_ON, DELIVERY_TLS_START, DELIVERY_TLS_GIVE_UP };
enum delivery_tls_step { DELIVERY_TLS_WAIT, DELIVERY_TLS_DONE, DELIVERY_TLS_FAILED };

/* Before the connection; the address is known. */
void delivery_smtp_tls_init(struct delivery_smtp *c, struct delivery_plan *plan);
void delivery_smtp_tls_finish(struct delivery_smtp *c);
/* Whether the session may be used for the task that waits first. */
bool delivery_smtp_tls_may_take(const struct delivery_smtp *c);
/* The peer has answered EHLO. GIVE_UP: the plan cannot be kept here. */
enum delivery_tls_next delivery_smtp_tls_next(struct delivery_smtp *c, struct delivery_reason *why);
/* It has refused STARTTLS. False: the plan cannot be kept. */
bool delivery_smtp_tls_refused(struct delivery_smtp *c, struct delivery_reason *why);
void delivery_smtp_tls_begin(struct delivery_smtp *c);
enum delivery_tls_step delivery_smtp_tls_step(struct delivery_smtp *c, struct delivery_reason *why);
/* The session has FAILED: was it TLS's fault? */
bool delivery_smtp_tls_lost(struct delivery_smtp *c, struct delivery_reason *why);
/* Notes what a later session can be resumed by. */
void delivery_smtp_tls_keep(struct delivery_smtp *c);

/* ---- delivery_tls_report.c ---------------------------------------------------------------- */

/* What the connection has shown, for the domain of a task that it is for (NULL: nobody's). Once a domain, if
 * they do not take turns. `reason`: with a failure. */
void delivery_tls_report(struct delivery_smtp *c, const struct delivery_task *t,
                         const char *reason);

/* ---- delivery_reply.c ------------------------------------------------------------------------ */

struct delivery_meaning {
    enum delivery_status status;
    enum delivery_scope scope;
    bool enough; /* one transaction takes no more recipients: the others go in the next */
};
/* A reply that decides about a recipient: to MAIL, RCPT, DATA, or the final dot. */
struct delivery_meaning delivery_reply_meaning(const struct smtp_reply *reply,
                                               enum smtp_client_stage stage, bool lmtp);
void delivery_smtp_explain_connect(const struct delivery_smtp *c, struct delivery_reason *out);
/* The session has FAILED: c->smtp.failure says where. */
void delivery_smtp_explain(const struct delivery_smtp *c, struct delivery_reason *out);

/* ---- delivery_smtp_task.c ----------------------------------------------------------------- */

void delivery_smtp_name(const struct delivery_smtp *c, char out[DELIVERY_REMOTE_NAME]);
void delivery_smtp_task_begin(struct delivery_smtp *c, struct delivery_task *t);
/* The engine's RCPT_RESULT. */
void delivery_smtp_task_record(struct delivery_smtp *c);
/* The session has ended within the transaction: recipients that are pending get an outcome, or the task
 * goes back to its lane. */
void delivery_smtp_task_fail(struct delivery_smtp *c, const struct delivery_reason *why);
/* Lets go of a task that is over, when nothing of it is in flight any more. */
void delivery_smtp_task_settle(struct delivery_smtp *c);
void delivery_smtp_task_discard(struct delivery_smtp *c); /* after a simulated crash */

/* ---- delivery_smtp_body.c ----------------------------------------------------------------- */

enum delivery_no_copy {
    DELIVERY_NO_COPY_UNKNOWN,
    DELIVERY_NO_COPY, /* the peer is elsewhere */
    DELIVERY_COPY,    /* it is here, or the kernel copies anyway */
};

void delivery_smtp_body_begin(struct delivery_smtp *c);
/* Sends the next pieces, if nothing is in flight. False: the body cannot be read. */
bool delivery_smtp_body_send(struct delivery_smtp *c);
/* Counts what was sent and frees the reader. Nothing may be in flight. */
void delivery_smtp_body_end(struct delivery_smtp *c);

/* ---- delivery_site.c: what connections report --------------------------------------------- */

/* NULL: there is none. */
struct delivery_site *delivery_site_find(const struct delivery *d, struct slice key);
struct delivery *delivery_site_delivery(const struct delivery_site *s);
const struct conf_route *delivery_site_route(const struct delivery_site *s);
/* The task that is next, if one waits. */
const struct delivery_task *delivery_site_waiting(const struct delivery_site *s);
uint16_t delivery_site_port(const struct delivery_site *s);
const struct delivery_addresses *delivery_site_addresses(const struct delivery_site *s);
bool delivery_site_has_login(const struct delivery_site *s);
/* Until somebody mends what is wrong every address would refuse us, and count it: no further one is tried,
 * and the site rests for longer. */
void delivery_site_login_refused(struct delivery_site *s);
/* How long an attempt may go unanswered before another is made beside it. */
uint64_t delivery_site_patience_ms(const struct delivery_site *s);
/* The other side has taken the connection. False: there are too many now, leave. */
bool delivery_site_connected(struct delivery_site *s, struct delivery_smtp *c);
/* It waits for so long that another address is to be tried as well. */
void delivery_site_stalled(struct delivery_site *s, struct delivery_smtp *c);
/* The greeting and EHLO went well. A task, or nothing, is taken next, then delivery_site_step(). */
void delivery_site_greeted(struct delivery_site *s, struct delivery_smtp *c);
struct delivery_task *delivery_site_take(struct delivery_site *s);
void delivery_site_put_back(struct delivery_site *s, struct delivery_task *t);
void delivery_site_idle(struct delivery_site *s, struct delivery_smtp *c);
/* No more messages over this one. why NULL: as we wanted. Else the attempt failed, or the session. */
void delivery_site_ended(struct delivery_site *s, struct delivery_smtp *c,
                         const struct delivery_reason *why);
/* Another address of the site, if it has one, is tried before the connection's is again. False: there is none. */
bool delivery_site_avoid(struct delivery_site *s, const struct delivery_smtp *c);
/* A message was taken by the other side. */
void delivery_site_worked(struct delivery_site *s);
/* The connection has been freed. */
void delivery_site_gone(struct delivery_site *s, struct delivery_smtp *c);
void delivery_site_step(struct delivery_site *s);

#endif
