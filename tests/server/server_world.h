/*
 * server_world: a server with a real spool on one simulated machine, clients on others. A client is its
 * bytes: what it sends, and what it got. Time is virtual.
 */
#ifndef SERVER_WORLD_H
#define SERVER_WORLD_H

#include <check.h>

#include "io_sim.h"
#include "net_conn.h"
#include "server.h"
#include "verify.h"

enum { CLIENT_HOSTS = 3, WORLD_ASKS = 256 };

struct client {
    struct net_conn conn;
    struct buf got;
    struct io_op end;
    bool deaf; /* does not read */
    bool closed;
};

struct server_world {
    struct sim *sim;
    struct sim_machine *machine;
    struct io *io;
    struct io *clients[CLIENT_HOSTS]; /* at 10.0.0.2, .3, .4 */
    struct wheel wheel;
    struct conf *conf;
    struct server_shared shared;
    struct tls_context *tls; /* NULL: none */
    bool asking;
    struct verify *verify; /* NULL: nothing is asked */
    struct verify_ask *asks[WORLD_ASKS];
    unsigned ask_count;
    struct server *server;
    struct queue queue;
    struct spool *spool;
    uint64_t spool_bytes_max;
    uint64_t next_ms;
    bool keep; /* what is queued stays; else it is delivered at once, into `mail` */
    /* {sender|recipient recipient|body}, our own field left out; behind them in brackets what was said about
     * notices. */
    struct buf mail;
    unsigned delivered;
};

/* `conf` is added to a small configuration: limits, mostly. */
void server_world_open(struct server_world *w, const struct sim_options *options, const char *conf,
                       uint64_t spool_bytes_max);
/* The same, and next hops are asked about recipients: by world_asks, which waits for server_world_answer(). */
void server_world_open_asking(struct server_world *w, const char *conf);
void server_world_answer(struct server_world *w, unsigned n, enum verify_answer answer,
                         const char *words);
/* With tls_null on the listener; `tls` is its setting. */
void server_world_open_tls(struct server_world *w, const char *tls);
/* Another configuration, a whole one, for the server; the queue keeps its own. */
void server_world_reload(struct server_world *w, const char *conf);
/* Stops and gives everything back; the clients have been closed. */
void server_world_close(struct server_world *w);

/* The world goes on for so long. */
void server_world_run_ms(struct server_world *w, uint64_t ms);
/* One event; false: there is none. */
bool server_world_pass_any(struct server_world *w);
/* The same, until there is no session; fails after `most_ms`. Answers how long it took. */
uint64_t server_world_run_idle(struct server_world *w, uint64_t most_ms);
struct server_counters server_world_counters(const struct server_world *w);

void client_open(struct server_world *w, struct client *c, unsigned host);
void client_send(struct client *c, const char *text);
void client_send_bytes(struct client *c, const void *bytes, size_t len);
void client_start_tls(struct client *c);
void client_end(struct client *c); /* it will send no more; nothing of it is in flight */
void client_close(struct server_world *w, struct client *c);
/* What it got, queue ids as *; good until the next call. */
const char *client_got(const struct client *c);
/* Ends and forgets it. */
void client_finish(struct server_world *w, struct client *c);

#define GREETING "220 mx.example ESMTP\r\n"
#define EHLO_REPLY                                                            \
    "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 100000\r\n250-8BITMIME\r\n" \
    "250-ENHANCEDSTATUSCODES\r\n250 DSN\r\n"
#define ENVELOPE       "MAIL FROM:<a@client.example>\r\nRCPT TO:<b@one.example>\r\nDATA\r\n"
#define ENVELOPE_REPLY "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CRLF>.<CRLF>\r\n"
#define ACCEPTED       "250 2.0.0 Ok: queued as *\r\n"

#endif
