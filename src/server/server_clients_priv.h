/*
 * server_clients: how many connections each client address has, over all shards. A fixed table of
 * atomic words, tag and count in one, so that it needs no lock; touched twice a connection.
 *
 * When an address finds no room near its place it is let in uncounted: the total limit still holds.
 */
#ifndef SERVER_CLIENTS_PRIV_H
#define SERVER_CLIENTS_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base_codec.h"

struct server_clients;

struct server_clients *server_clients_create(uint64_t connections_max);
void server_clients_destroy(struct server_clients *c);

/* Counts one more, unless the address has `max` already. IPv6 clients count by their /64, which is
 * what one customer has. *out_slot is for server_clients_leave(). */
bool server_clients_enter(struct server_clients *c, const struct ip_addr *ip, uint64_t max,
                          uint32_t *out_slot);
void server_clients_leave(struct server_clients *c, uint32_t slot);

#endif
