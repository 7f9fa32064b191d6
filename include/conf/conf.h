/*
 * conf: the configuration, read once at start and at reload into one immutable result that all
 * shards share.
 *
 *     struct conf_errors errors = {0};
 *     struct conf *conf = NULL;
 *     bool ok = conf_load(path, &conf, &errors);
 *     for (size_t i = 0; i < errors.count; i++)
 *         fprintf(stderr, "%s\n", errors.items[i].text);
 *     conf_errors_finish(&errors);
 *     ...
 *     conf_free(conf);
 *
 * Defaults are filled in, names are folded to lower case, limits of a listener that were left out
 * are those of `limits`: what stands here is what holds. Slices that are not empty end in a NUL that
 * their length does not count. Durations are milliseconds, sizes are bytes.
 *
 * Everything belongs to the struct conf. Lookups write nothing, so any thread may make them.
 */
#ifndef CONF_H
#define CONF_H

#include "base_buf.h"
#include "base_codec.h"
#include "base_slice.h"

struct conf_address {
    struct ip_addr ip;
    uint16_t port;
};

/* Where mail goes. Later: LMTP over TCP and over a socket in the file system. */
enum conf_destination_kind {
    CONF_TO_MX,      /* the MX hosts of the recipient's domain */
    CONF_TO_SMTP,    /* `host` and `port`: the host's addresses, no MX lookup */
    CONF_TO_MAILDIR, /* `path`, in which %u is the local part, %d the domain, %% a percent sign */
    CONF_TO_DISCARD, /* accepted and dropped */
    CONF_TO_REJECT,  /* bounced, or refused in the session, with `text` */
};
struct conf_destination {
    enum conf_destination_kind kind;
    struct slice host; /* a name in lower case, or an address without brackets */
    bool host_is_ip;
    struct ip_addr ip; /* if host_is_ip */
    uint16_t port;
    struct slice path;
    struct slice text;
};

/* Lists. `items` is NULL if count is 0. */
struct conf_addresses {
    const struct conf_address *items;
    size_t count;
};
struct conf_nets {
    const struct ip_net *items;
    size_t count;
};
struct conf_destinations {
    const struct conf_destination *items; /* in order of preference */
    size_t count;
};
struct conf_durations {
    const uint64_t *items; /* milliseconds */
    size_t count;
};

enum conf_role {
    CONF_ROLE_MX,    /* mail for our domains; relays for relay_from */
    CONF_ROLE_RELAY, /* serves relay_from only */
};
enum conf_bare_newline { CONF_BARE_NEWLINE_REJECT, CONF_BARE_NEWLINE_NORMALIZE };

struct conf_listener {
    struct slice name;
    struct conf_addresses address; /* at least one */
    enum conf_role role;
    enum conf_bare_newline bare_newline;
    /* Filled from `limits` where the listener says nothing of its own. */
    uint64_t connections; /* at this listener, all shards together */
    uint64_t connections_per_client;
    uint64_t message_size;
    uint64_t recipients;
};

struct conf_recipients;

/* Mail that we accept for others to send us. */
struct conf_domain {
    struct slice name;           /* lower case */
    struct conf_destinations to; /* at least one */
    struct slice subaddress;     /* characters that begin a subaddress; often empty */
    const char *recipients_file; /* NULL: any local part */
    const struct conf_recipients *recipients;
};

/* How mail for other domains leaves, and the manners (limits, timeouts) for all mail that leaves,
 * that to the smtp:// and mx destinations of a domain of ours included. */
struct conf_route {
    struct slice pattern;        /* lower case: "example.org", "*.example.org" or "*" */
    struct conf_destinations to; /* at least one */
    uint64_t connections;        /* open at a time to one site */
    uint64_t messages_per_connection;
    uint64_t messages_per_minute; /* 0: no limit */
    uint64_t recipients_per_message;
    struct {
        uint64_t connect;  /* until the connection stands */
        uint64_t response; /* for the greeting and for each reply but the last */
        uint64_t data;     /* for progress in sending the body, and for the reply to its end */
        uint64_t idle;     /* how long an unused connection is kept for the next message */
    } timeout;
};

struct conf_retry {
    struct conf_durations intervals; /* at least one; the last repeats */
    uint64_t expire;
    uint64_t jitter; /* percent, 0-100 */
};

struct conf_dns {
    struct conf_addresses servers; /* none: /etc/resolv.conf */
    uint64_t timeout;
};

struct conf_limits {
    uint64_t message_size; /* beyond: 552 */
    uint64_t recipients;   /* a message; beyond: 452 */
    uint64_t connections;  /* all listeners and shards; beyond: 421 */
    uint64_t connections_per_client;
    uint64_t messages_per_connection; /* then 421 */
    uint64_t errors;                  /* replies of 5xx in a session, then 421 */
    uint64_t hops;                    /* Received fields, then it is a loop: 554 */
    uint64_t queue;                   /* bytes of spool in use, all shards; beyond: 452 */
    struct {
        uint64_t greeting; /* from connecting to HELO or EHLO */
        uint64_t command;  /* between commands */
        uint64_t data;     /* between two pieces of a body */
    } timeout;
};

struct conf {
    const char *file;
    struct slice hostname;
    const char *spool; /* directory */
    uint64_t spool_segment;
    const char *control; /* path of the control socket */
    const char *user;    /* NULL: stay as started */
    uint64_t shards;     /* 0: one for each CPU that this process may use */

    const struct conf_listener *listeners; /* at least one, in the file's order */
    size_t listener_count;
    struct conf_nets relay_from;       /* none: nobody */
    const struct conf_domain *domains; /* sorted by name */
    size_t domain_count;
    const struct conf_route *routes; /* sorted by pattern; one is "*" */
    size_t route_count;

    struct conf_retry retry;
    struct conf_dns dns;
    struct conf_limits limits;
};

struct conf_error {
    char *text; /* "FILE:LINE: message"; a warning's message begins with "warning: " */
    bool warning;
};
/* What is wrong with a configuration, in the order of the file as far as it was read. */
struct conf_errors {
    struct conf_error *items; /* owned */
    size_t count;             /* warnings included */
    size_t warning_count;
};
void conf_errors_finish(struct conf_errors *errors); /* frees; also fine on zeroed memory */

/* Reads `path` and what it includes. Appends all that is wrong to `errors`. False if anything but
 * warnings was: then `out` is untouched. May be called from one thread at a time. */
bool conf_load(const char *path, struct conf **out, struct conf_errors *errors);
void conf_free(struct conf *conf); /* NULL is fine */

/* The domain of ours with this name, in any case; NULL if it is none of ours. */
const struct conf_domain *conf_domain_find(const struct conf *conf, struct slice name);
/* Whether the domain has this recipient: listed as it is, or without its subaddress; always true
 * without a recipients file, and for postmaster (RFC 5321 4.5.1). Any case. */
bool conf_domain_has_recipient(const struct conf_domain *domain, struct slice local_part);
/* The local part without its subaddress ("ann+news" is ann's), a piece of `local_part`. */
struct slice conf_domain_user(const struct conf_domain *domain, struct slice local_part);

enum { CONF_MAILBOX_NAME_MAX = 255 };

/* What %u stands for in a Maildir's path: the local part without its quotes and its subaddress, in
 * lower case; *out_name lies in `memory`. `domain` may be NULL: none of ours. False if that is not one
 * plain name of a file: no message to it can be delivered. */
bool conf_mailbox_name(const struct conf_domain *domain, struct slice local_part,
                       uint8_t memory[CONF_MAILBOX_NAME_MAX], struct slice *out_name);
/* One component of a path, of our making: no other directory, nothing hidden, no control characters. */
bool conf_is_plain_name(struct slice name);

/* The most specific route: the domain itself, then "*.parent" from the longest parent to the
 * shortest, then "*". "*.example.org" is not for example.org itself. Never NULL. */
const struct conf_route *conf_route_find(const struct conf *conf, struct slice domain);

/* Whether a client at this address may relay. */
bool conf_may_relay(const struct conf *conf, const struct ip_addr *client);

/* The reference manual, made from the tables that conf_load() works by. */
enum conf_manual_format { CONF_MANUAL_ROFF, CONF_MANUAL_MARKDOWN };
void conf_manual(enum conf_manual_format format, struct buf *out);

#endif
