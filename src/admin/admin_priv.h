/* admin_priv: what admin's modules share. */
#ifndef ADMIN_PRIV_H
#define ADMIN_PRIV_H

#include "admin.h"
#include "net_conn.h"
#include "net_listener.h"

enum {
    ADMIN_LINE_MAX = 64 * 1024,
    ADMIN_CLIENTS_MAX = 64,
    ADMIN_ANSWER_MAX = 4 * 1024 * 1024, /* unsent bytes of an answer */
};

struct admin {
    struct shard *shard;
    const char *version;
    uint64_t started_ms;
    struct net_listener listener;
    struct list clients;
    uint32_t client_count;
    bool stopping;
};

/* One request. It lives until its connection is closed and no call is under way. */
struct admin_client {
    struct list node;
    struct admin *admin;
    struct net_conn conn;
    struct wheel_timer timer;
    /* Called when the connection has room and when a call has come back; NULL: nothing goes on. */
    void (*step)(struct admin_client *c);
    void (*release)(struct admin_client *c); /* frees `job` */
    void *job;
    unsigned calls; /* under way */
    bool answered;  /* the last byte of the answer is in the connection */
    bool closed;
};

/* Ends the answer: what is in the connection's buffer is sent, then it closes. */
void admin_answered(struct admin_client *c);
void admin_error(struct admin_client *c, const char *text);
/* A call has come back: frees what was only waiting for it. */
void admin_call_over(struct admin_client *c);

/* Requests; each begins its answer now or later. `words` are the rest of the line. */
void admin_status(struct admin_client *c, bool json);
void admin_report(struct admin_client *c);
enum admin_queue_verb { ADMIN_QUEUE_LIST, ADMIN_QUEUE_SHOW, ADMIN_QUEUE_RETRY, ADMIN_QUEUE_DELETE };
void admin_queue(struct admin_client *c, enum admin_queue_verb verb, const struct slice *ids,
                 size_t id_count, bool json);

#endif
