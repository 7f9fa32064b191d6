/*
 * admin_world: shards with a control socket on the first, and clients of it.
 */
#ifndef ADMIN_WORLD_H
#define ADMIN_WORLD_H

#include "../shard/shard_world.h"
#include "admin.h"
#include "net_conn.h"

struct client {
    struct net_conn conn;
    struct buf got;
    bool deaf; /* does not read */
    bool closed;
};

extern struct shard_world world;

void admin_world_open(unsigned shards, unsigned messages);
void admin_world_close(void);

void client_open(struct client *c);
void client_send(struct client *c, const char *bytes, size_t len);
void client_listen(struct client *c);                 /* no longer deaf */
void client_wait(struct client *c, uint64_t most_ms); /* until the server has closed */
void client_abort(struct client *c);
void client_finish(struct client *c);

/* A request from its line to the end of the answer; good until the next one. */
const char *ask(const char *line);
/* How often this stands in there. */
unsigned count_of(const char *text, const char *part);

#endif
