/*
 * policy: what to accept. Pure decisions over the configuration for now; those that have to ask others
 * will answer later through the same request.
 */
#ifndef POLICY_H
#define POLICY_H

#include "conf.h"
#include "smtp_address.h"
#include "smtp_reply.h"

struct policy_client {
    const struct conf *conf;
    const struct conf_listener *listener;
    struct ip_addr ip;
    bool may_relay; /* in relay_from; set by policy_check_connect */
};

/* Each answers NULL to accept, or the reply that refuses (static). */
const struct smtp_reply *policy_check_connect(struct policy_client *client);
const struct smtp_reply *policy_check_mail(const struct policy_client *client,
                                           const struct smtp_address *sender);
/* Relay rules: a domain of ours with this recipient, or a client that may relay. */
const struct smtp_reply *policy_check_rcpt(const struct policy_client *client,
                                           const struct smtp_address *recipient);

#endif
