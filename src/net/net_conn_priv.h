/*
 * net_conn_priv: between a connection and its filter.
 *
 *   socket -> net_tls_received() -> carry -> owner
 *   owner -> out, body -> net_tls_encrypt() -> wire -> net_tls_send() -> socket
 *
 * What was received is decrypted before the owner looks, all of it: so whoever asks for more input asks
 * the socket, and nobody has to be woken for something that lies here.
 */
#ifndef NET_CONN_PRIV_H
#define NET_CONN_PRIV_H

#include "net_conn.h"

/* ---- net_conn.c ----------------------------------------------------------------------------- */

/* Calls the owner, unless it is the owner that is calling. */
void net_conn_notify(struct net_conn *c);
void net_conn_step(struct net_conn *c);

/* ---- net_tls.c ------------------------------------------------------------------------------ */

/* Takes what the socket gave. True: the owner should look. */
bool net_tls_received(struct net_conn *c, struct slice wire);
/* No more will come: the peer's end, or the socket has failed. */
void net_tls_ended(struct net_conn *c);
/* A handshake is waiting for the peer's bytes, or nothing speaks against asking for data. */
bool net_tls_may_receive(const struct net_conn *c);
/* A helper has it. */
bool net_tls_is_away(const struct net_conn *c);
/* Turns what waits into records, as much as goes in one send. Nothing is in flight. False: the engine
 * failed, which the owner should be told. */
bool net_tls_encrypt(struct net_conn *c);
/* What is in the out buffer, and behind it the pieces, are next. */
void net_tls_set_body(struct net_conn *c, struct iovec *pieces, int count);
struct buf *net_tls_wire(struct net_conn *c); /* what was made, to be sent */
/* Everything of the owner's has been sent: says close_notify, once. */
void net_tls_say_close(struct net_conn *c);
void net_tls_free(struct net_conn *c);

#endif
