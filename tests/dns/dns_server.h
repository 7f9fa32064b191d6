/*
 * dns_server: a DNS server for tests, over plain UDP and TCP sockets in a thread of its own, that
 * answers as a script says.
 */
#ifndef DNS_SERVER_H
#define DNS_SERVER_H

#include "base_buf.h"
#include "io.h"

struct dns_server;

struct dns_server_query {
    char name[256]; /* as it was asked */
    uint16_t type;
    uint16_t id;
    bool tcp;
    bool edns;
    bool ad;         /* it asks for the AD bit */
    unsigned before; /* how often this server was asked before */
};

enum dns_server_act { SERVER_SEND, SERVER_DROP, SERVER_CLOSE /* TCP */ };

/* Runs on the server's thread. Writes the reply's bytes. */
typedef enum dns_server_act dns_server_script(const struct dns_server_query *q, struct buf *reply);

struct dns_server *dns_server_start(dns_server_script *script, struct io_addr *out_addr);
unsigned dns_server_asked(struct dns_server *s); /* questions so far */
void dns_server_stop(struct dns_server *s);

#endif
