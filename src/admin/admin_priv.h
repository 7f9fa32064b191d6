/* admin_priv: what admin's modules share. */
#ifndef ADMIN_PRIV_H
#define ADMIN_PRIV_H

#include "admin.h"
#include "admin_request.h"
#include "net_conn.h"
#include "net_listener.h"

enum {
    ADMIN_LINE_MAX = 256 * 1024, /* some eighteen thousand ids */
    ADMIN_CLIENTS_MAX = 128,
    ADMIN_TRANSFER_PATIENCE_MS =
        15 * 60 * 1000,                 /* somebody else's disk, or a slow line, is behind */
    ADMIN_ANSWER_MAX = 4 * 1024 * 1024, /* unsent bytes of an answer */
};

struct admin {
    struct shard *shard;
    const char *version;
    uint64_t started_ms;
    struct net_listener listener;
    struct list clients;
    uint32_t client_count;
    bool changing_holds; /* rules: one request at a time */
    bool stopping;
};

/* One request. It lives until its connection is closed and no call is under way. */
struct admin_client {
    struct list node;
    struct admin *admin;
    struct net_conn conn;
    struct wheel_timer timer;
    struct buf line; /* of the request, until it is whole */
    /* Called when the connection has room and when a call has come back; NULL: nothing goes on. */
    void (*step)(struct admin_client *c);
    /* The connection has gone, and calls may be under way: what other shards hold for it may be given
     * back by further calls. NULL: nothing is. */
    void (*gone)(struct admin_client *c);
    void (*release)(struct admin_client *c); /* frees `job` */
    void *job;
    unsigned calls;       /* under way */
    uint32_t patience_ms; /* with a peer who neither reads nor writes */
    bool marked;          /* the answer's end is to be marked */
    bool answered;        /* the last byte of the answer is in the connection */
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
/* `request` is taken over, and what its words point into: `line`. */
void admin_queue(struct admin_client *c, struct admin_request *request, uint8_t *line);
void admin_holds(struct admin_client *c, struct admin_request *request, uint8_t *line);
/* `words` are those behind "explain". */
void admin_explain(struct admin_client *c, const struct slice *words, size_t count, uint8_t *line);
void admin_import(struct admin_client *c, struct admin_request *request, uint8_t *line);

#endif
