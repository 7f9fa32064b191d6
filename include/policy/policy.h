/*
 * policy: what to accept. Pure decisions over the configuration for now; those that have to ask others
 * will answer later, through the same calls' requests.
 */
#ifndef POLICY_H
#define POLICY_H

#include "conf.h"
#include "smtp_address.h"
#include "smtp_reply.h"

/* What a session knows of its client. */
struct policy_client {
    const struct conf *conf;
    const struct conf_listener *listener;
    struct ip_addr ip;
    bool may_relay; /* in relay_from; set by policy_check_connect() */
};

/* True to accept; else *out_refusal, whose text is static or the configuration's. */
bool policy_check_connect(struct policy_client *client, struct smtp_reply *out_refusal);
bool policy_check_mail(const struct policy_client *client, const struct smtp_address *sender,
                       struct smtp_reply *out_refusal);
/* Relay rules: a domain of ours with this recipient, or a client that may relay. */
bool policy_check_rcpt(const struct policy_client *client, const struct smtp_address *recipient,
                       struct smtp_reply *out_refusal);
/* The domain that <postmaster> alone belongs to (RFC 5321 4.5.1): that of our hostname if it is ours,
 * else our first; empty: we have none. */
struct slice policy_postmaster_domain(const struct conf *conf);

#endif
