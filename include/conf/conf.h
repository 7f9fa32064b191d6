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
 *     conf_free(conf);                      or when the last reference goes
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

/* Where mail goes. */
enum conf_destination_kind {
    CONF_TO_MX,   /* the MX hosts of the recipient's domain */
    CONF_TO_SMTP, /* `host` and `port`: the host's addresses, no MX lookup */
    CONF_TO_LMTP, /* a mail store (RFC 2033): the same; or the socket at `path`, `host` is empty */
    CONF_TO_MAILDIR, /* `path`, in which %u is the local part, %d the domain, %% a percent sign */
    CONF_TO_DISCARD, /* accepted and dropped */
    CONF_TO_REJECT,  /* bounced, or refused in the session, with `text` */
};
enum { CONF_SOCKET_PATH_MAX = 107 }; /* sockaddr_un's, without the NUL */
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
struct conf_paths {
    const char *const *items;
    size_t count;
};
/* A setting whose value is a table is a list, and each item one of: a text file ("/path"), a CDB ("/path.cdb"
 * or "cdb:/path"), or an entry as it would stand in such a file ("info@example.org ann@example.org").
 * The first item that has a key counts. */
struct table;
struct conf_tables {
    const struct table *const *items; /* in the order of the setting */
    size_t count;
};
struct conf_words { /* names, lower case or upper case as their setting says */
    const struct slice *items;
    size_t count;
};
/* SHA-256 of a certificate (DER). */
struct conf_fingerprint {
    uint8_t sha256[32];
};
struct conf_fingerprints {
    const struct conf_fingerprint *items;
    size_t count;
};

enum conf_role {
    CONF_ROLE_MX,         /* mail for our domains; relays for relay_from */
    CONF_ROLE_RELAY,      /* serves relay_from only */
    CONF_ROLE_SUBMISSION, /* serves users who log in */
    CONF_ROLE_LOCAL, /* of the submit socket alone: programs on this machine, under their user ids */
};
enum conf_listener_tls {
    CONF_LISTENER_TLS_NONE,
    CONF_LISTENER_TLS_OPPORTUNISTIC, /* STARTTLS is offered; without a certificate, NONE */
    CONF_LISTENER_TLS_REQUIRED,      /* no mail, and no AUTH, before STARTTLS */
    CONF_LISTENER_TLS_IMPLICIT,      /* from the first byte (RFC 8314) */
};
enum conf_bare_newline { CONF_BARE_NEWLINE_REJECT, CONF_BARE_NEWLINE_NORMALIZE };

/* Extensions of SMTP that a listener may hide. */
enum conf_extension {
    CONF_EXTENSION_PIPELINING,
    CONF_EXTENSION_SIZE,
    CONF_EXTENSION_8BITMIME,
    CONF_EXTENSION_ENHANCED,
    CONF_EXTENSION_DSN,
    CONF_EXTENSION_REQUIRETLS,
};
struct conf_extensions {
    const enum conf_extension *items;
    size_t count;
};

struct conf_listener {
    struct slice name;
    struct conf_addresses address; /* at least one */
    enum conf_role role;
    enum conf_bare_newline bare_newline;
    enum conf_listener_tls tls;
    bool auth;        /* AUTH is offered; always with role submission */
    bool mask_client; /* Received does not tell the address of a client who logged in */
    const char
        *client_ca; /* a PEM bundle; NULL: client certificates are not checked against a CA */
    struct conf_fingerprints relay_certificates; /* clients with these may relay, and EXTERNAL */
    bool relay_client_ca; /* so may clients whose certificate chains to client_ca */
    struct conf_extensions hide;
    /* Filled from `limits` where the listener says nothing of its own. */
    uint64_t connections; /* at this listener, all shards together */
    uint64_t connections_per_client;
    uint64_t message_size;
    uint64_t recipients;
};

struct conf_values;

/* Mail that we accept for others to send us. What an address of it becomes, and whether it exists, is
 * said by routing.h. */
struct conf_domain {
    struct slice name;            /* lower case */
    struct conf_destinations to;  /* at least one */
    struct slice subaddress;      /* characters that begin a subaddress; often empty */
    struct conf_paths recipients; /* tables: address or local part; none: any local part */
    struct conf_paths aliases;    /* tables in the format of sendmail's aliases(5); conf_alias.h */
    struct slice catch_all;       /* an address for local parts that are neither; empty: none */
    struct conf_paths destinations; /* tables: address or local part -> destination */
    bool callout; /* the next hop is asked whether a recipient exists, in the session */
    /* What the tables above are read into: ask conf_domain_has_recipient(), conf_alias_find(),
     * conf_domain_destination(). */
    struct conf_tables recipient_tables, alias_tables, destination_tables;
    const struct conf_values *destination_values;
};

struct conf_retry {
    struct conf_durations intervals; /* at least one; the last repeats */
    uint64_t expire;
    uint64_t expire_bounces; /* the same for our own notifications; at most `expire` */
    uint64_t warn_after;     /* the sender is told of the delay, once; 0: not */
    uint64_t jitter;         /* percent, 0-100 */
};

enum conf_family {
    CONF_FAMILY_ANY, /* both, in the order of the resolver's shuffle */
    CONF_FAMILY_PREFER_IPV6,
    CONF_FAMILY_PREFER_IPV4,
    CONF_FAMILY_IPV6, /* only */
    CONF_FAMILY_IPV4,
};

enum conf_route_tls {
    CONF_ROUTE_TLS_AUTO, /* DANE where there are secure TLSA records, else MTA-STS, else opportunistic */
    CONF_ROUTE_TLS_NONE,
    CONF_ROUTE_TLS_OPPORTUNISTIC, /* STARTTLS where it is offered and works, else plain */
    CONF_ROUTE_TLS_ENCRYPT,       /* never plain; any certificate */
    CONF_ROUTE_TLS_VERIFY,  /* never plain; a certificate for the host's name, from a trusted CA */
    CONF_ROUTE_TLS_DANE,    /* never without secure TLSA records that match */
    CONF_ROUTE_TLS_MTA_STS, /* never without an MTA-STS policy that is kept */
};

/* How we log in at a smarthost. */
enum conf_route_mechanism { /* automatic: the best that is offered, XOAUTH2 with token_file */
                            CONF_ROUTE_AUTH_AUTOMATIC,
                            CONF_ROUTE_AUTH_PLAIN,
                            CONF_ROUTE_AUTH_LOGIN,
                            CONF_ROUTE_AUTH_SCRAM_SHA_1,
                            CONF_ROUTE_AUTH_SCRAM_SHA_256,
                            CONF_ROUTE_AUTH_XOAUTH2,
                            CONF_ROUTE_AUTH_OAUTHBEARER,
};
struct conf_route_auth {
    struct slice user;         /* empty: do not log in */
    const char *password_file; /* its first line; read at start and reload; NULL with token_file */
    const char *token_file;    /* an OAuth access token, read anew for each connection */
    enum conf_route_mechanism mechanism;
    struct slice password; /* what password_file held. Never logged */
};

/* How mail for other domains leaves, and the manners (limits, timeouts) for all mail that leaves,
 * that to the smtp:// and mx destinations of a domain of ours included. */
struct conf_route {
    struct slice pattern; /* lower case: "example.org", "*.example.org" or "*" */
    struct conf_words
        from; /* senders: "ann@a.example", "a.example" or "<>", lower case; none: any */
    struct conf_destinations to; /* at least one */
    enum conf_family family;     /* of the hosts' addresses */
    struct conf_retry retry;     /* what is not said is that of the outer `retry` */
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
    enum conf_route_tls tls;
    bool tls_implicit; /* TLS from the first byte (smtps, port 465) */
    struct conf_route_auth auth;
};

enum conf_tls_version { CONF_TLS_1_2, CONF_TLS_1_3 };
struct conf_tls {
    struct conf_paths certificate; /* PEM; none: we offer no TLS */
    struct conf_paths key;         /* as many */
    struct conf_paths ocsp;        /* DER responses to staple; as many, or none */
    const char *ca; /* for servers that we deliver to, and for HTTPS; NULL: the system's bundle */
    enum conf_tls_version version_min;
    struct slice ciphers;     /* empty: ours */
    uint64_t ticket_lifetime; /* 0: no session tickets */
};

struct conf_auth {
    const char *users;                /* user:hash[:allowed sender,...]; NULL: none */
    struct conf_paths senders;        /* tables: address -> users */
    struct conf_tables sender_tables; /* what they are read into: ask conf_may_send() */
    const char *dovecot;              /* path of its client socket; NULL: none */
    struct slice introspection; /* URL (RFC 7662) that says what a token is worth; empty: none */
    const char *introspection_secret; /* file with user:password for it; NULL: none */
    struct conf_words
        mechanisms; /* offered, upper case, in order; none: all that the back ends can do */
    bool plaintext; /* offer AUTH without TLS */
    uint64_t
        failures;   /* wrong passwords from an address, or for a user from an address, then ban */
    uint64_t ban;   /* how long */
    uint64_t delay; /* before the answer to a failure; doubles with each */
};

/* Reports about TLS (RFC 8460), to the domains that ask for them. */
struct conf_tls_reports {
    bool send;
    struct slice organization; /* empty: hostname */
    struct slice contact;      /* an address; empty: postmaster@hostname */
    struct slice from;         /* sender of reports; empty: tls-reports@hostname */
    bool private_addresses;    /* reports by HTTPS may go to such */
};

/* What one user may do; 0: no limit. */
struct conf_user_limits {
    uint64_t messages_per_minute, messages_per_hour, messages_per_day;
    uint64_t recipients_per_minute, recipients_per_hour, recipients_per_day;
    uint64_t message_size;
    uint64_t connections;
};

struct mail_template; /* mail_template.h */

/* Notifications about mail: bounces, delays, receipts. */
struct conf_notices {
    struct slice from;       /* address in the header From; empty: postmaster@hostname */
    struct slice postmaster; /* who gets copies; empty: nobody */
    /* Of which notices: "failure", "delay", "double" (notices that failed themselves). */
    struct conf_words copies;
    const char *template_failure; /* files in place of our words; NULL: ours */
    const char *template_delay;
    const char *template_success;
    const struct mail_template *failure, *delay, *success; /* what these say; NULL: our words */
    /* Of a message to return whole (RET=FULL); larger ones, and any if it is 0: their header. */
    uint64_t return_size;
};

/* What is asked of names and next hops before mail is taken. */
struct conf_verify {
    /* Of mail to relay by MX: it has to resolve; 4yz while that is not known. Where a route names the host,
     * that host knows better. */
    bool recipient_domain;
    bool sender_domain; /* the same, for the sender's, whatever the recipient's */
    struct {
        struct slice sender;         /* empty: the null sender */
        uint64_t timeout;            /* then the recipient is taken, or 4yz: see `unknown` */
        uint64_t positive, negative; /* how long an answer is kept */
        bool defer_unknown;          /* no answer: 450 instead of taking the mail */
    } callout;
};

enum conf_dnssec {
    CONF_DNSSEC_AUTO, /* trusted if all servers are on this machine */
    CONF_DNSSEC_YES,  /* the servers validate, and the way to them is safe */
    CONF_DNSSEC_NO,   /* no answer counts as secure: no DANE */
};
struct conf_dns {
    struct conf_addresses servers; /* none: /etc/resolv.conf */
    uint64_t timeout;
    enum conf_dnssec dnssec;
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
    struct conf_user_limits user;
};

struct conf_table_file {
    const char *path;
    const char *setting; /* "recipients" */
    const void *field;   /* for conf_errors_add() */
};

struct conf {
    const char *file;
    struct slice hostname;
    const char *spool; /* directory */
    uint64_t spool_segment;
    const char
        *state; /* directory for what is learnt: MTA-STS policies, TLS results, user counters */
    const char *control; /* path of the control socket */
    /* The socket where this machine's programs submit mail ("mailring send", also called as sendmail). Made
     * at the start beside the control socket, mode 0666: whoever may run a program here may send, under the
     * name that the kernel tells (SO_PEERCRED). SMTP is spoken as at a listener with the role submission,
     * without TLS and AUTH. */
    const char *submit;
    /* Where they leave mail while nobody answers there. Made at the start if it is missing, mode 01733,
     * the server's user's: everybody may leave a file, nobody but the server may list or remove others'.
     * A file is written under a name that begins with a dot, mode 0644, and counts once it is renamed to
     * one that does not; the name has 128 bits of chance in it, which is what keeps others from reading it.
     * Who owns it has sent it; links, hard links and anything but regular files are not taken. */
    const char *drop;
    const char *user; /* NULL: stay as started */
    uint64_t shards;  /* 0: one for each CPU that this process may use */

    const struct conf_listener *listeners; /* at least one, in the file's order */
    size_t listener_count;
    const struct conf_listener *submit_listener; /* at `submit`: no address; named "submit" */
    struct conf_nets relay_from;                 /* none: nobody */
    const struct conf_domain *domains;           /* sorted by name */
    size_t domain_count;
    /* Sorted by pattern; of one pattern, those with `from` come first, and at most one has none. One is "*"
     * without `from`. No two of one pattern have a word of `from` in common. */
    const struct conf_route *routes;
    size_t route_count;

    struct conf_retry retry;
    struct conf_paths virtual_aliases; /* tables: address or @domain -> addresses, as virtual(5) */
    struct conf_tables virtual_tables; /* what they are read into: ask conf_virtual_find() */
    struct conf_notices notices;
    struct conf_verify verify;
    struct conf_dns dns;
    struct conf_tls tls;
    struct conf_auth auth;
    bool mta_sts; /* look for policies of domains that we deliver to */
    struct conf_tls_reports tls_reports;
    struct conf_limits limits;

    /* 0 after conf_load(). conf_carry() counts one more than before if anything in the files or the secrets
     * that they name is not as it was: with the same generation, routes are the same too. */
    uint32_t generation;

    /* All files that tables were read from, those that aliases include too: a reload needs to read them. */
    const struct conf_table_file *table_files;
    size_t table_file_count;

    _Atomic unsigned refs; /* conf_ref() and conf_free() */
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
/* The same, for a server that runs with `before`, or NULL: tables of files that have not changed since are
 * taken over. */
bool conf_load_after(const char *path, const struct conf *before, struct conf **out,
                     struct conf_errors *errors);
/* The settings alone: no file that they name is opened, so that a program which may not read those (one that
 * submits mail, for any user) learns our name and where to leave it. */
bool conf_load_settings(const char *path, struct conf **out, struct conf_errors *errors);
/* References are counted, and may be taken and dropped by any thread: after a reload the old result
 * lives as long as something refers to it. conf_load() makes the first. */
const struct conf *conf_ref(const struct conf *conf);
void conf_free(const struct conf *conf); /* drops one; NULL is fine */

/* Before `conf` takes the place of `before` in a running server: settings that are read at the start only
 * keep their old values, and listeners of the same name their addresses. Each that would have changed is
 * appended to `errors` as a warning. Not when others refer to `conf` already. */
void conf_carry(struct conf *conf, const struct conf *before, struct conf_errors *errors);

/* For those who find out later that a setting is no good (a file that it names, mostly): appends
 * "FILE:LINE: message". `field` is the setting's field in `conf`, or an item of its list; of one that was
 * left out, and in domains and routes, the file's first line is named. */
void conf_errors_add(struct conf_errors *errors, const struct conf *conf, const void *field,
                     bool warning, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The same for a line of a file that a setting names. */
void conf_errors_add_at(struct conf_errors *errors, const char *file, unsigned line, bool warning,
                        const char *format, ...) __attribute__((format(printf, 5, 6)));

/* listeners[index]; behind the last of them the submit socket's. */
const struct conf_listener *conf_listener_at(const struct conf *conf, size_t index);

/* The domain of ours with this name, in any case; NULL if it is none of ours. */
const struct conf_domain *conf_domain_find(const struct conf *conf, struct slice name);
/* Whether the domain has this recipient: listed as it is, or without its subaddress; always true
 * without tables of recipients, and for postmaster (RFC 5321 4.5.1). Any case. */
bool conf_domain_has_recipient(const struct conf_domain *domain, struct slice local_part);
/* Where this recipient's mail goes if `destinations` says so: by "local_part@domain", "local_part", then both
 * without the subaddress. NULL: where the domain's goes. Any case. The answer is the same pointer for
 * all recipients with the same destination, and lives as long as the conf. */
const struct conf_destinations *conf_domain_destination(const struct conf_domain *domain,
                                                        struct slice local_part);
/* The local part without its subaddress ("ann+news" is ann's), a piece of `local_part`. */
struct slice conf_domain_user(const struct conf_domain *domain, struct slice local_part);

enum { CONF_USER_MAX = 255 }; /* octets of a user's name in the map */

/* Whether the map of senders gives the user this address, or all of its domain, or any ("*"). Both in
 * lower case; the address is exact: a subaddress is not looked into. */
bool conf_may_send(const struct conf *conf, struct slice user, struct slice address);

enum { CONF_MAILBOX_NAME_MAX = 255 };

/* What %u stands for in a Maildir's path: the local part without its quotes and its subaddress, in
 * lower case; *out_name lies in `memory`. `domain` may be NULL: none of ours. False if that is not one
 * plain name of a file: no message to it can be delivered. */
bool conf_mailbox_name(const struct conf_domain *domain, struct slice local_part,
                       uint8_t memory[CONF_MAILBOX_NAME_MAX], struct slice *out_name);
/* One component of a path, of our making: no other directory, nothing hidden, no control characters. */
bool conf_is_plain_name(struct slice name);

/* The most specific route among those without `from`: the domain itself, then "*.parent" from the longest
 * parent to the shortest, then "*". "*.example.org" is not for example.org itself. Never NULL. */
const struct conf_route *conf_route_find(const struct conf *conf, struct slice domain);

/* Whether a client at this address may relay. */
bool conf_may_relay(const struct conf *conf, const struct ip_addr *client);

/* The reference manual, made from the tables that conf_load() works by. */
enum conf_manual_format { CONF_MANUAL_ROFF, CONF_MANUAL_MARKDOWN };
void conf_manual(enum conf_manual_format format, struct buf *out);

#endif
