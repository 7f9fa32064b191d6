/*
 * policy: what to accept. Pure decisions over the configuration for now; those that have to ask others
 * will answer later, through the same calls' requests.
 */
#ifndef POLICY_H
#define POLICY_H

#include "conf.h"
#include "smtp_address.h"
#include "smtp_reply.h"

/* Who has logged in, and the addresses that the users file lets him send from ("ann@a.example,@b.example,*";
 * often empty). */
struct policy_user {
    struct slice name;
    struct slice senders;
};

/* What a session knows of its client. */
struct policy_client {
    const struct conf *conf;
    const struct conf_listener *listener;
    struct ip_addr ip;
    bool may_relay; /* in relay_from: set by policy_check_connect(); or by a certificate: later */
    const struct policy_user *user; /* NULL: nobody has logged in */
};

static inline bool policy_logged_in(const struct policy_client *client)
{
    return client->user != NULL;
}

/* True to accept; else *out_refusal, whose text is static or the configuration's. The role relay is for
 * those who may relay: where certificates are known or users log in, that is seen at MAIL. */
bool policy_check_connect(struct policy_client *client, struct smtp_reply *out_refusal);
/* The role submission serves users only. Whoever has logged in, anywhere, sends from addresses of his
 * own (policy_is_own_sender), or with the null sender (notifications and receipts). */
bool policy_check_mail(const struct policy_client *client, const struct smtp_address *sender,
                       struct smtp_reply *out_refusal);
/* Relay rules: a recipient of ours (routing_known()), or a client that may relay or has logged in. What its
 * destination would refuse for certain is refused; of an alias that is for who expands it to find out.
 * `sender` as in MAIL FROM: routes may be by sender. */
bool policy_check_rcpt(const struct policy_client *client, struct slice sender,
                       const struct smtp_address *recipient, struct smtp_reply *out_refusal);
/* The one address that an alias stands for: whether its destination would refuse it for certain. */
bool policy_check_target(const struct policy_client *client, struct slice sender,
                         const struct smtp_address *target, struct smtp_reply *out_refusal);
/* Whether the user who has logged in may send from this address: it is his name; or the users file, or
 * the map (auth.senders) gives it to him. An address with a subaddress, in a domain of ours that has them, is
 * also whose the address without it is. Any case. */
bool policy_is_own_sender(const struct policy_client *client, const struct smtp_address *sender);
/* How many recipients a message may have whose sender is null: answers go to one. 0: no such limit. */
uint32_t policy_recipients_max(const struct policy_client *client, struct slice sender);
/* The domain that <postmaster> alone belongs to (RFC 5321 4.5.1): that of our hostname if it is ours,
 * else our first; empty: we have none. */
struct slice policy_postmaster_domain(const struct conf *conf);

#endif
