#include "conf_table_priv.h"

#include "base_assert.h"
#include "conf.h"

/* The shortest timeout. Nobody serves mail with it, but whoever tries how a timeout works should
 * not have to wait. */
#define TIMEOUT_MIN ((uint64_t)10)

/* A row reads better in a few lines than in twelve. */
/* clang-format off */

/* listener */

static const struct conf_row listener_rows[] = {
    {.name = "address", .type = CONF_TYPE_ADDRESS, .list = true, .required = true, .restart = true,
     .at = offsetof(struct conf_listener, address),
     .prose = "Addresses and ports to listen on, as 192.0.2.1:25 or [2001:db8::1]:25. 0.0.0.0 and "
              "[::] stand for all addresses of their family."},
    {.name = "role", .type = CONF_TYPE_WORD, .at = offsetof(struct conf_listener, role),
     .words = {[CONF_ROLE_MX] = "mx", [CONF_ROLE_RELAY] = "relay",
               [CONF_ROLE_SUBMISSION] = "submission"}, .fallback = "mx",
     .prose = "What the listener is for: mx takes mail for our domains from anybody, and mail for "
              "other domains from the networks in relay_from; relay serves only the networks in "
              "relay_from, and clients with a certificate that it knows (relay_certificates, "
              "relay_client_ca) or a login (auth); submission serves only users, who log in."},
    {.name = "tls", .type = CONF_TYPE_WORD, .at = offsetof(struct conf_listener, tls),
     .words = {[CONF_LISTENER_TLS_NONE] = "none", [CONF_LISTENER_TLS_OPPORTUNISTIC] = "opportunistic",
               [CONF_LISTENER_TLS_REQUIRED] = "required", [CONF_LISTENER_TLS_IMPLICIT] = "implicit"},
     .fallback = "opportunistic",
     .prose = "Whether TLS is spoken: none; opportunistic, which offers STARTTLS if there is a "
              "certificate; required, which takes no mail and no password before STARTTLS; implicit, "
              "from the first byte on, as at port 465 (RFC 8314)."},
    {.name = "auth", .type = CONF_TYPE_BOOL, .at = offsetof(struct conf_listener, auth),
     .fallback = "no",
     .prose = "Whether users may log in here, and then send mail to other domains. At a listener with "
              "the role submission they must, whatever is said here."},
    {.name = "mask_client", .type = CONF_TYPE_BOOL, .at = offsetof(struct conf_listener, mask_client),
     .fallback = "no",
     .prose = "Whether the address of a client who has logged in is left out of the Received field."},
    {.name = "client_ca", .type = CONF_TYPE_PATH, .at = offsetof(struct conf_listener, client_ca),
     .unset = "client certificates are compared with relay_certificates only",
     .prose = "CAs (PEM) by which client certificates are verified."},
    {.name = "relay_certificates", .type = CONF_TYPE_FINGERPRINT, .list = true,
     .at = offsetof(struct conf_listener, relay_certificates), .unset = "nobody",
     .prose = "Fingerprints (SHA-256 of the whole certificate, as sha256:HEX) of client certificates "
              "that may send mail to other domains."},
    {.name = "relay_client_ca", .type = CONF_TYPE_BOOL,
     .at = offsetof(struct conf_listener, relay_client_ca), .fallback = "no",
     .prose = "Whether all clients whose certificate client_ca vouches for may send mail to other "
              "domains."},
    {.name = "bare_newline", .type = CONF_TYPE_WORD,
     .at = offsetof(struct conf_listener, bare_newline),
     .words = {[CONF_BARE_NEWLINE_REJECT] = "reject", [CONF_BARE_NEWLINE_NORMALIZE] = "normalize"},
     .fallback = "reject",
     .prose = "What happens to a message with a CR or LF that is not part of a CRLF: it is "
              "rejected, or each becomes a CRLF. The end of the data is CRLF dot CRLF either way."},
    {.name = "hide", .type = CONF_TYPE_WORD, .list = true,
     .at = offsetof(struct conf_listener, hide),
     .words = {[CONF_EXTENSION_PIPELINING] = "PIPELINING", [CONF_EXTENSION_SIZE] = "SIZE",
               [CONF_EXTENSION_8BITMIME] = "8BITMIME",
               [CONF_EXTENSION_ENHANCED] = "ENHANCEDSTATUSCODES",
               [CONF_EXTENSION_DSN] = "DSN", [CONF_EXTENSION_REQUIRETLS] = "REQUIRETLS"},
     .unset = "nothing is hidden",
     .prose = "Extensions that EHLO does not announce here, nor the server then takes: DSN where "
              "strangers are not to learn whether their mail was delivered. STARTTLS and AUTH are "
              "the settings tls and auth."},
    {.name = "connections", .type = CONF_TYPE_COUNT, .min = 1, .max = 10000000,
     .at = offsetof(struct conf_listener, connections),
     .zero = "that of limits", .fallback = "0",
     .prose = "Connections at a time to this listener; more are answered 421."},
    {.name = "connections_per_client", .type = CONF_TYPE_COUNT, .min = 1, .max = 10000000,
     .at = offsetof(struct conf_listener, connections_per_client),
     .zero = "that of limits", .fallback = "0",
     .prose = "Connections at a time from one client to this listener; more are answered 421."},
    {.name = "message_size", .type = CONF_TYPE_SIZE, .min = KIB, .max = GIB,
     .at = offsetof(struct conf_listener, message_size),
     .zero = "that of limits", .fallback = "0",
     .prose = "The largest message that this listener takes; larger ones are answered 552."},
    {.name = "recipients", .type = CONF_TYPE_COUNT, .min = 1, .max = 100000,
     .at = offsetof(struct conf_listener, recipients),
     .zero = "that of limits", .fallback = "0",
     .prose = "Recipients of one message at this listener; more are answered 452."},
};
static const struct conf_section listener_section = {
    .name = "listener", .title = "NAME", .title_type = CONF_TYPE_LABEL, ROWS(listener_rows),
    .prose = "Where mail is received. Without any listener there is one with the role mx at port "
             "25 of all addresses.",
    .at = offsetof(struct conf, listeners), .count_at = offsetof(struct conf, listener_count),
    .size = sizeof(struct conf_listener),
};
_Static_assert(offsetof(struct conf_listener, name) == 0, "the title comes first");

/* domain */

static const struct conf_row domain_rows[] = {
    {.name = "to", .type = CONF_TYPE_DESTINATION, .list = true, .required = true,
     .at = offsetof(struct conf_domain, to),
     .prose = "Where mail for the domain goes: one of DESTINATIONS, or a list of hosts of which "
              "the first that can be reached is used."},
    {.name = "recipients", .type = CONF_TYPE_PATH,
     .at = offsetof(struct conf_domain, recipients_file), .unset = "any local part is taken",
     .prose = "A file of the recipients that exist, one address or local part a line; # begins a "
              "comment. Others are refused with 550. Upper and lower case are the same, addresses "
              "in other domains do not count here, and postmaster always exists."},
    {.name = "subaddress", .type = CONF_TYPE_SEPARATORS,
     .at = offsetof(struct conf_domain, subaddress), .unset = "no subaddresses",
     .prose = "Characters that end the mailbox's name in a local part: with \"+\", mail to "
              "ann+news is for ann, unless ann+news itself is a recipient."},
};
static const struct conf_section domain_section = {
    .name = "domain", .title = "DOMAIN", .title_type = CONF_TYPE_NAME, ROWS(domain_rows),
    .prose = "A domain whose mail is accepted from anybody. Connection limits and timeouts for "
             "mail that it sends on come from the route that matches the domain.",
    .at = offsetof(struct conf, domains), .count_at = offsetof(struct conf, domain_count),
    .size = sizeof(struct conf_domain),
};
_Static_assert(offsetof(struct conf_domain, name) == 0, "the title comes first");

/* route */

static const struct conf_row route_timeout_rows[] = {
    {.name = "connect", .type = CONF_TYPE_DURATION, .min = TIMEOUT_MIN, .max = HOUR,
     .at = offsetof(struct conf_route, timeout.connect), .fallback = "30s",
     .prose = "Until a connection stands; then the next address is tried."},
    {.name = "response", .type = CONF_TYPE_DURATION, .min = TIMEOUT_MIN, .max = HOUR,
     .at = offsetof(struct conf_route, timeout.response), .fallback = "5m",
     .prose = "For the greeting and for the reply to each command (RFC 5321 4.5.3.2)."},
    {.name = "data", .type = CONF_TYPE_DURATION, .min = TIMEOUT_MIN, .max = HOUR,
     .at = offsetof(struct conf_route, timeout.data), .fallback = "10m",
     .prose = "Without progress in sending the message, and for the reply to its end (RFC 5321 "
              "4.5.3.2.6: a short one makes duplicates)."},
    {.name = "idle", .type = CONF_TYPE_DURATION, .min = TIMEOUT_MIN, .max = HOUR,
     .at = offsetof(struct conf_route, timeout.idle), .fallback = "5s",
     .prose = "How long an unused connection is kept for the next message."},
};
static const struct conf_section route_timeout_section = {
    .name = "timeout", ROWS(route_timeout_rows),
    .prose = "How long to wait for the other side.",
};
static const struct conf_section *const route_sections[] = {&route_timeout_section,
                                                             &conf_section_route_auth};

static const struct conf_row route_rows[] = {
    {.name = "to", .type = CONF_TYPE_DESTINATION, .list = true,
     .at = offsetof(struct conf_route, to), .fallback = "mx",
     .prose = "Where the mail goes: one of DESTINATIONS, or a list of hosts of which the first "
              "that can be reached is used."},
    {.name = "connections", .type = CONF_TYPE_COUNT, .min = 1, .max = 100000,
     .at = offsetof(struct conf_route, connections), .fallback = "20",
     .prose = "Connections at a time to one site, which is a set of MX hosts or a fixed host; "
              "mail beyond waits its turn."},
    {.name = "messages_per_connection", .type = CONF_TYPE_COUNT, .min = 1, .max = 1000000,
     .at = offsetof(struct conf_route, messages_per_connection), .fallback = "100",
     .prose = "Messages sent over one connection before it is closed."},
    {.name = "messages_per_minute", .type = CONF_TYPE_COUNT, .min = 1, .max = 10000000,
     .at = offsetof(struct conf_route, messages_per_minute), .zero = "no limit", .fallback = "0",
     .prose = "Messages sent to one site in a minute; mail beyond waits."},
    {.name = "recipients_per_message", .type = CONF_TYPE_COUNT, .min = 1, .max = 10000,
     .at = offsetof(struct conf_route, recipients_per_message), .fallback = "100",
     .prose = "Recipients sent in one transaction; a message for more is sent in several (RFC 5321 "
              "4.5.3.1.8: everybody takes 100)."},
    {.name = "tls", .type = CONF_TYPE_WORD, .at = offsetof(struct conf_route, tls),
     .words = {[CONF_ROUTE_TLS_AUTO] = "auto", [CONF_ROUTE_TLS_NONE] = "none",
               [CONF_ROUTE_TLS_OPPORTUNISTIC] = "opportunistic", [CONF_ROUTE_TLS_ENCRYPT] = "encrypt",
               [CONF_ROUTE_TLS_VERIFY] = "verify", [CONF_ROUTE_TLS_DANE] = "dane",
               [CONF_ROUTE_TLS_MTA_STS] = "mta-sts"}, .fallback = "auto",
     .prose = "How the way there is protected. none: not at all; opportunistic: encrypted if that works, "
              "else in the clear; encrypt: encrypted, or mail waits; verify: with a certificate for the "
              "host's name from a trusted CA, or mail waits; dane: with a certificate that matches "
              "secure TLSA records (RFC 7672), or mail waits; mta-sts: as the domain's MTA-STS policy "
              "says (RFC 8461), or mail waits; auto: dane where there are such records, else mta-sts "
              "where there is a policy, else opportunistic."},
    {.name = "tls_implicit", .type = CONF_TYPE_BOOL, .at = offsetof(struct conf_route, tls_implicit),
     .fallback = "no",
     .prose = "Whether TLS begins with the first byte, as at port 465, instead of by STARTTLS."},
};
static const struct conf_section route_section = {
    .name = "route", .title = "PATTERN", .title_type = CONF_TYPE_PATTERN, ROWS(route_rows),
    .sections = route_sections, .section_count = ARRAY_LEN(route_sections),
    .prose = "How mail for other domains leaves. The pattern is a domain, \"*.DOMAIN\" for "
             "everything below a domain but not the domain itself, or \"*\"; the most specific one "
             "that matches is used. If there is no route \"*\", it is one to mx with the defaults "
             "below.",
    .at = offsetof(struct conf, routes), .count_at = offsetof(struct conf, route_count),
    .size = sizeof(struct conf_route),
};
_Static_assert(offsetof(struct conf_route, pattern) == 0, "the title comes first");

/* retry */

static const struct conf_row retry_rows[] = {
    {.name = "intervals", .type = CONF_TYPE_DURATION, .list = true, .min = TIMEOUT_MIN,
     .max = 30 * DAY, .at = offsetof(struct conf_retry, intervals),
     .fallback = "5m 10m 20m 40m 1h",
     .prose = "How long to wait after the first failed attempt, after the second and so on; the "
              "last interval repeats."},
    {.name = "expire", .type = CONF_TYPE_DURATION, .min = TIMEOUT_MIN, .max = 365 * DAY,
     .at = offsetof(struct conf_retry, expire), .fallback = "5d",
     .prose = "How long after its arrival a message that could not be delivered is returned to "
              "its sender."},
    {.name = "jitter", .type = CONF_TYPE_PERCENT, .max = 100,
     .at = offsetof(struct conf_retry, jitter), .fallback = "10",
     .prose = "By how much an interval is lengthened or shortened at random, so that mail that "
              "failed together is not tried again all at once."},
};
static const struct conf_section retry_section = {
    .name = "retry", ROWS(retry_rows), .at = offsetof(struct conf, retry),
    .prose = "When mail is tried again after a temporary failure.",
};

/* dns */

static const struct conf_row dns_rows[] = {
    {.name = "servers", .type = CONF_TYPE_ADDRESS, .list = true, .port = 53, .restart = true,
     .at = offsetof(struct conf_dns, servers), .unset = "those in /etc/resolv.conf",
     .prose = "Name servers to ask; the port is 53 if none is given."},
    {.name = "timeout", .type = CONF_TYPE_DURATION, .restart = true, .min = TIMEOUT_MIN, .max = 300 * SECOND,
     .at = offsetof(struct conf_dns, timeout), .fallback = "5s",
     .prose = "How long to wait for one server's answer; then the next one is asked."},
    {.name = "dnssec", .type = CONF_TYPE_WORD, .restart = true, .at = offsetof(struct conf_dns, dnssec),
     .words = {[CONF_DNSSEC_AUTO] = "auto", [CONF_DNSSEC_YES] = "yes", [CONF_DNSSEC_NO] = "no"},
     .fallback = "auto",
     .prose = "Whether an answer that a server calls authentic counts as such, which DANE needs: auto "
              "believes servers on this machine only; yes says that the servers validate, and that "
              "nobody on the way to them can alter an answer."},
};
static const struct conf_section dns_section = {
    .name = "dns", ROWS(dns_rows), .at = offsetof(struct conf, dns),
    .prose = "Who answers questions about names.",
};

/* limits */

static const struct conf_row limits_timeout_rows[] = {
    {.name = "greeting", .type = CONF_TYPE_DURATION, .min = TIMEOUT_MIN, .max = HOUR,
     .at = offsetof(struct conf_limits, timeout.greeting), .fallback = "5m",
     .prose = "From the connection to HELO or EHLO; then 421."},
    {.name = "command", .type = CONF_TYPE_DURATION, .min = TIMEOUT_MIN, .max = HOUR,
     .at = offsetof(struct conf_limits, timeout.command), .fallback = "5m",
     .prose = "Between two commands; then 421."},
    {.name = "data", .type = CONF_TYPE_DURATION, .min = TIMEOUT_MIN, .max = HOUR,
     .at = offsetof(struct conf_limits, timeout.data), .fallback = "10m",
     .prose = "Between two pieces of a message; then 421."},
};
static const struct conf_section limits_timeout_section = {
    .name = "timeout", ROWS(limits_timeout_rows),
    .prose = "How long to wait for a client.",
};
static const struct conf_section *const limits_sections[] = {&limits_timeout_section};

static const struct conf_row limits_rows[] = {
    {.name = "message_size", .type = CONF_TYPE_SIZE, .min = KIB, .max = GIB,
     .at = offsetof(struct conf_limits, message_size), .fallback = "50M",
     .prose = "The largest message; larger ones are answered 552."},
    {.name = "recipients", .type = CONF_TYPE_COUNT, .min = 1, .max = 100000,
     .at = offsetof(struct conf_limits, recipients), .fallback = "1000",
     .prose = "Recipients of one message; more are answered 452. (RFC 5321 4.5.3.1.8: at least 100 "
              "should be taken.)"},
    {.name = "connections", .type = CONF_TYPE_COUNT, .min = 1, .max = 10000000,
     .at = offsetof(struct conf_limits, connections), .fallback = "50000",
     .prose = "Connections at a time, all listeners together; more are answered 421."},
    {.name = "connections_per_client", .type = CONF_TYPE_COUNT, .min = 1, .max = 10000000,
     .at = offsetof(struct conf_limits, connections_per_client), .fallback = "100",
     .prose = "Connections at a time from one client; more are answered 421."},
    {.name = "messages_per_connection", .type = CONF_TYPE_COUNT, .min = 1, .max = 1000000000,
     .at = offsetof(struct conf_limits, messages_per_connection), .fallback = "1000",
     .prose = "Messages taken over one connection; then 421."},
    {.name = "errors", .type = CONF_TYPE_COUNT, .min = 1, .max = 1000000,
     .at = offsetof(struct conf_limits, errors), .fallback = "20",
     .prose = "Commands in one connection that fail; then 421."},
    {.name = "hops", .type = CONF_TYPE_COUNT, .min = 1, .max = 10000,
     .at = offsetof(struct conf_limits, hops), .fallback = "100",
     .prose = "Received fields in a message; one with more is going in circles and is answered "
              "554 (RFC 5321 6.3)."},
    {.name = "queue", .type = CONF_TYPE_SIZE, .restart = true, .min = MIB, .max = 1024 * 1024 * GIB,
     .at = offsetof(struct conf_limits, queue), .fallback = "20G",
     .prose = "Bytes of the spool that mail may use; beyond, mail is answered 452 until there is "
              "room."},
    {.name = "user_messages_per_minute", .type = CONF_TYPE_COUNT, .min = 1, .max = 4000000,
     .at = offsetof(struct conf_limits, user.messages_per_minute), .zero = "no limit", .fallback = "0",
     .prose = "Messages that one user may send in a minute; more are answered 450."},
    {.name = "user_messages_per_hour", .type = CONF_TYPE_COUNT, .min = 1, .max = 4000000,
     .at = offsetof(struct conf_limits, user.messages_per_hour), .zero = "no limit", .fallback = "0",
     .prose = "Messages that one user may send in an hour; more are answered 450."},
    {.name = "user_messages_per_day", .type = CONF_TYPE_COUNT, .min = 1, .max = 4000000,
     .at = offsetof(struct conf_limits, user.messages_per_day), .zero = "no limit", .fallback = "0",
     .prose = "Messages that one user may send in a day; more are answered 450."},
    {.name = "user_recipients_per_minute", .type = CONF_TYPE_COUNT, .min = 1, .max = 4000000,
     .at = offsetof(struct conf_limits, user.recipients_per_minute), .zero = "no limit", .fallback = "0",
     .prose = "Recipients, over all messages, that one user may send in a minute; more are answered 450."},
    {.name = "user_recipients_per_hour", .type = CONF_TYPE_COUNT, .min = 1, .max = 4000000,
     .at = offsetof(struct conf_limits, user.recipients_per_hour), .zero = "no limit", .fallback = "0",
     .prose = "Recipients, over all messages, that one user may send in an hour; more are answered 450."},
    {.name = "user_recipients_per_day", .type = CONF_TYPE_COUNT, .min = 1, .max = 4000000,
     .at = offsetof(struct conf_limits, user.recipients_per_day), .zero = "no limit", .fallback = "0",
     .prose = "Recipients, over all messages, that one user may send in a day; more are answered 450."},
    {.name = "user_message_size", .type = CONF_TYPE_SIZE, .min = KIB, .max = GIB,
     .at = offsetof(struct conf_limits, user.message_size), .zero = "that of the listener",
     .fallback = "0",
     .prose = "The largest message that a user may send; larger ones are answered 552."},
    {.name = "user_connections", .type = CONF_TYPE_COUNT, .min = 1, .max = 10000000,
     .at = offsetof(struct conf_limits, user.connections), .zero = "no limit", .fallback = "0",
     .prose = "Connections at a time in which one user has logged in; more are answered 421."},
};
static const struct conf_section limits_section = {
    .name = "limits", ROWS(limits_rows), .at = offsetof(struct conf, limits),
    .sections = limits_sections, .section_count = ARRAY_LEN(limits_sections),
    .prose = "How much is too much, and the answer to it.",
};

/* The file itself */

static const struct conf_row root_rows[] = {
    {.name = "hostname", .type = CONF_TYPE_NAME, .required = true,
     .at = offsetof(struct conf, hostname),
     .prose = "Our name in greetings, trace fields and reports; other hosts expect that it "
              "resolves to our address."},
    {.name = "spool", .type = CONF_TYPE_PATH, .restart = true, .at = offsetof(struct conf, spool),
     .fallback = "/var/spool/mailring",
     .prose = "The directory of mail on its way; it is made if it is missing. It belongs to one "
              "running server."},
    {.name = "spool_segment", .type = CONF_TYPE_SIZE, .restart = true, .min = 256 * KIB,
     .max = GIB, .multiple = 4096, .at = offsetof(struct conf, spool_segment), .fallback = "64M",
     .prose = "The size of one file of the spool."},
    {.name = "state", .type = CONF_TYPE_PATH, .restart = true, .at = offsetof(struct conf, state),
     .unset = "the directory state in the spool",
     .prose = "The directory of what the server has learnt and may forget: MTA-STS policies, results of "
              "TLS, what users have sent; it is made if it is missing."},
    {.name = "control", .type = CONF_TYPE_PATH, .restart = true,
     .at = offsetof(struct conf, control), .fallback = "/run/mailring/control.sock",
     .prose = "The socket through which the mailring command talks to the server."},
    {.name = "user", .type = CONF_TYPE_USER, .restart = true, .at = offsetof(struct conf, user),
     .unset = "stay as started",
     .prose = "The user to become once ports are bound, if started as root."},
    {.name = "shards", .type = CONF_TYPE_COUNT, .restart = true, .min = 1, .max = 256,
     .at = offsetof(struct conf, shards), .fallback = "0",
     .zero = "one for each CPU that the process may use",
     .prose = "Threads that do the work, each pinned to a CPU."},
    {.name = "relay_from", .type = CONF_TYPE_NET, .list = true,
     .at = offsetof(struct conf, relay_from), .unset = "nobody",
     .prose = "Networks whose hosts may send mail to other domains, as 10.0.0.0/8, 2001:db8::/32 "
              "or a single address."},
    {.name = "mta_sts", .type = CONF_TYPE_BOOL, .at = offsetof(struct conf, mta_sts), .fallback = "yes",
     .prose = "Whether domains that we send mail to are asked for their MTA-STS policy (RFC 8461)."},
};
static const struct conf_section *const root_sections[] = {
    &listener_section, &conf_section_tls, &conf_section_auth, &domain_section, &route_section,
    &retry_section, &dns_section, &conf_section_tls_reports, &limits_section,
};
const struct conf_section conf_root = {
    ROWS(root_rows), .sections = root_sections, .section_count = ARRAY_LEN(root_sections),
    .prose = "These stand outside of all sections.",
};
