/* policy: see the header. Refusals are permanent and say why, with enhanced codes (RFC 3463). */
#include "policy.h"

#include "base_assert.h"
#include "routing.h"

static const struct smtp_reply refuse_client =
    SMTP_REPLY_INIT(554, 5, 7, 1, "Access denied: this listener serves its own networks only");
static const struct smtp_reply refuse_stranger = SMTP_REPLY_INIT(
    550, 5, 7, 1,
    "Access denied: this listener serves its own networks, and clients that it knows");
static const struct smtp_reply refuse_relay =
    SMTP_REPLY_INIT(550, 5, 7, 1, "Relaying denied: not a domain of ours");
static const struct smtp_reply refuse_unknown =
    SMTP_REPLY_INIT(550, 5, 1, 1, "No such recipient here");
static const struct smtp_reply refuse_name =
    SMTP_REPLY_INIT(550, 5, 1, 3, "That address names no mailbox");
static const struct smtp_reply refuse_literal =
    SMTP_REPLY_INIT(550, 5, 1, 2, "Mail to address literals is not accepted");

static const struct smtp_reply refuse_login =
    SMTP_REPLY_INIT(530, 5, 7, 0, "Authentication required");
static const struct smtp_reply refuse_sender = SMTP_REPLY_INIT(
    553, 5, 7, 1, "Sender address rejected: it does not belong to the user logged in");

/* To the null sender's own: a receipt or an automatic answer is for one person. */
enum { NULL_SENDER_RECIPIENTS_MAX = 1 };

static bool refuse(const struct smtp_reply *reply, struct smtp_reply *out_refusal)
{
    *out_refusal = *reply;
    return false;
}

/* Who is no neighbour may yet say who he is: by a certificate, or by logging in. */
static bool hears_strangers(const struct conf_listener *l)
{
    return l->auth || l->relay_certificates.count > 0 || l->relay_client_ca;
}

bool policy_check_connect(struct policy_client *client, struct smtp_reply *out_refusal)
{
    const struct conf_listener *l = client->listener;

    client->may_relay = conf_may_relay(client->conf, &client->ip);
    if (l->role == CONF_ROLE_RELAY && !client->may_relay && !hears_strangers(l))
        return refuse(&refuse_client, out_refusal);
    return true;
}

bool policy_check_mail(const struct policy_client *client, const struct smtp_address *sender,
                       struct smtp_reply *out_refusal)
{
    if (!policy_logged_in(client)) {
        switch (client->listener->role) {
        case CONF_ROLE_MX:
        case CONF_ROLE_LOCAL: return true;
        case CONF_ROLE_SUBMISSION: return refuse(&refuse_login, out_refusal);
        case CONF_ROLE_RELAY:
            return client->may_relay
                   || refuse(client->listener->auth ? &refuse_login : &refuse_stranger,
                             out_refusal);
        }
        UNREACHABLE();
    }
    if (sender->text.len > 0 && !policy_is_own_sender(client, sender))
        return refuse(&refuse_sender, out_refusal);
    return true;
}

uint32_t policy_recipients_max(const struct policy_client *client, struct slice sender)
{
    return policy_logged_in(client) && sender.len == 0 ? NULL_SENDER_RECIPIENTS_MAX : 0;
}

struct slice policy_postmaster_domain(const struct conf *conf)
{
    const struct conf_domain *named = conf_domain_find(conf, conf->hostname);

    if (named != NULL)
        return named->name;
    return conf->domain_count > 0 ? conf->domains[0].name : SLICE_NULL;
}

/* %% is a percent sign. */
static bool holds_user(struct slice path)
{
    for (size_t i = 0; i + 1 < path.len; i++)
        if (path.data[i] == '%' && path.data[++i] == 'u')
            return true;
    return false;
}

/* A Maildir whose path holds %u needs a local part that can be a name in it. */
static bool is_mailbox(const struct conf_destination *to, const struct conf_domain *domain,
                       struct slice local)
{
    uint8_t memory[CONF_MAILBOX_NAME_MAX];
    struct slice name;

    return to->kind != CONF_TO_MAILDIR || !holds_user(to->path)
           || conf_mailbox_name(domain, local, memory, &name);
}

/* What the destination would refuse for certain is refused here, in the session, so that nothing
 * bounces: mail for "reject:", and names that no mailbox can have. */
bool policy_check_target(const struct policy_client *client, struct slice sender,
                         const struct smtp_address *recipient, struct smtp_reply *out_refusal)
{
    const struct conf_destination *to;
    struct routing_way way;

    routing_find(client->conf, sender, recipient->text, &way);
    to = &way.to->items[0];
    if (!is_mailbox(to, way.ours, recipient->local))
        return refuse(&refuse_name, out_refusal);
    if (to->kind != CONF_TO_REJECT)
        return true;
    *out_refusal = (struct smtp_reply){.code = 550, .enhanced = {5, 7, 1}, .text = to->text};
    return false;
}

/* Not of an alias: its mail goes elsewhere. */
static bool check_destination(const struct policy_client *client, struct slice sender,
                              const struct smtp_address *recipient, struct smtp_reply *out_refusal)
{
    return routing_is_alias(client->conf, recipient)
           || policy_check_target(client, sender, recipient, out_refusal);
}

/* The networks of relay_from have no part in the role submission: its users log in. */
static bool may_relay(const struct policy_client *client)
{
    return policy_logged_in(client) || client->listener->role == CONF_ROLE_LOCAL
           || (client->may_relay && client->listener->role != CONF_ROLE_SUBMISSION);
}

/* <postmaster> alone: that of one of our domains. */
static bool check_postmaster(const struct policy_client *client, struct slice sender,
                             struct smtp_reply *out_refusal)
{
    struct slice local = SLICE_LITERAL("postmaster@");
    struct slice domain = policy_postmaster_domain(client->conf);
    uint8_t text[sizeof("postmaster@") + SMTP_DOMAIN_MAX];
    struct smtp_address whole = {.kind = SMTP_DOMAIN_NAME};

    if (domain.len == 0 || domain.len > SMTP_DOMAIN_MAX)
        return refuse(&refuse_unknown, out_refusal);
    memcpy(text, local.data, local.len);
    memcpy(text + local.len, domain.data, domain.len);
    whole.text = slice_of(text, local.len + domain.len);
    whole.local = slice_of(text, local.len - 1);
    whole.domain = slice_of(text + local.len, domain.len);
    return check_destination(client, sender, &whole, out_refusal);
}

bool policy_check_rcpt(const struct policy_client *client, struct slice sender,
                       const struct smtp_address *recipient, struct smtp_reply *out_refusal)
{
    switch (recipient->kind) {
    case SMTP_DOMAIN_NONE: return check_postmaster(client, sender, out_refusal);
    case SMTP_DOMAIN_NAME: break;
    case SMTP_DOMAIN_IPV4:
    case SMTP_DOMAIN_IPV6:
    case SMTP_DOMAIN_GENERAL: return refuse(&refuse_literal, out_refusal);
    }
    switch (routing_known(client->conf, recipient)) {
    case ROUTING_OURS: return check_destination(client, sender, recipient, out_refusal);
    case ROUTING_UNKNOWN: return refuse(&refuse_unknown, out_refusal);
    case ROUTING_ELSEWHERE: break;
    }
    if (!may_relay(client))
        return refuse(&refuse_relay, out_refusal);
    return check_destination(client, sender, recipient, out_refusal);
}
