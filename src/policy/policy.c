/* policy: see the header. Refusals are permanent and say why, with enhanced codes (RFC 3463). */
#include "policy.h"

static const struct smtp_reply refuse_client =
    SMTP_REPLY(554, 5, 7, 1, "Access denied: this listener serves its own networks only");
static const struct smtp_reply refuse_relay =
    SMTP_REPLY(550, 5, 7, 1, "Relaying denied: not a domain of ours");
static const struct smtp_reply refuse_unknown =
    SMTP_REPLY(550, 5, 1, 1, "No such recipient here");
static const struct smtp_reply refuse_literal =
    SMTP_REPLY(550, 5, 1, 2, "Mail to address literals is not accepted");

const struct smtp_reply *policy_check_connect(struct policy_client *client)
{
    client->may_relay = conf_may_relay(client->conf, &client->ip);
    if (client->listener->role == CONF_ROLE_RELAY && !client->may_relay)
        return &refuse_client;
    return NULL;
}

const struct smtp_reply *policy_check_mail(const struct policy_client *client,
                                           const struct smtp_address *sender)
{
    (void)client;
    (void)sender;
    return NULL;
}

/* <postmaster> alone (RFC 5321 4.5.1) belongs to our hostname, or to the first domain of ours. */
static const struct smtp_reply *check_postmaster(const struct policy_client *client)
{
    return client->conf->domain_count > 0 ? NULL : &refuse_unknown;
}

const struct smtp_reply *policy_check_rcpt(const struct policy_client *client,
                                           const struct smtp_address *recipient)
{
    const struct conf_domain *domain;

    if (recipient->kind == SMTP_DOMAIN_NONE)
        return check_postmaster(client);
    if (recipient->kind != SMTP_DOMAIN_NAME)
        return &refuse_literal;
    domain = conf_domain_find(client->conf, recipient->domain);
    if (domain != NULL)
        return conf_domain_has_recipient(domain, recipient->local) ? NULL : &refuse_unknown;
    return client->may_relay ? NULL : &refuse_relay;
}
