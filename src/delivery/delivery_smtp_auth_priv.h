/*
 * delivery_smtp_auth_priv: logging in at a smarthost, as the connection sees it. Each call answers what is
 * to be done next; REFUSED and LATER fill *why, and the exchange is over.
 */
#ifndef DELIVERY_SMTP_AUTH_PRIV_H
#define DELIVERY_SMTP_AUTH_PRIV_H

#include "delivery_remote_priv.h"
#include "sasl_client.h"

enum delivery_auth {
    DELIVERY_AUTH_SAID, /* the peer's turn: wait for the engine's next event */
    DELIVERY_AUTH_BUSY, /* ours: delivery_smtp_step() is called when there is no more to wait for */
    DELIVERY_AUTH_IN,   /* logged in */
    DELIVERY_AUTH_REFUSED, /* until somebody mends it: the configuration, the account, the peer */
    DELIVERY_AUTH_LATER,   /* for now */
};

/* The route has a login, it is for this host, and it has not happened. */
bool delivery_smtp_auth_wanted(const struct delivery_smtp *c);
/* The engine is READY. */
enum delivery_auth delivery_smtp_auth_begin(struct delivery_smtp *c, struct delivery_reason *why);
/* The engine said AUTH_CHALLENGE, AUTH_OK or AUTH_FAILED. */
enum delivery_auth delivery_smtp_auth_event(struct delivery_smtp *c, enum smtp_client_event event,
                                            struct delivery_reason *why);
/* After BUSY, and not busy any more. */
enum delivery_auth delivery_smtp_auth_continue(struct delivery_smtp *c,
                                               struct delivery_reason *why);
/* A file or a helper still works with our memory. */
bool delivery_smtp_auth_busy(const struct delivery_smtp *c);
void delivery_smtp_auth_end(struct delivery_smtp *c); /* not busy; forgets what is secret */
void delivery_smtp_auth_discard(struct delivery_smtp *c);

#endif
