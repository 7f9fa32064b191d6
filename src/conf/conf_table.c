#include "conf_table_priv.h"

#include "base_assert.h"
#include "conf.h"

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

/* notices */

static const struct conf_row notices_rows[] = {
    {.name = "from", .type = CONF_TYPE_MAILBOX, .at = offsetof(struct conf_notices, from),
     .unset = "postmaster at the hostname", .prose = "The address in the From field of notices."},
    {.name = "postmaster", .type = CONF_TYPE_MAILBOX, .at = offsetof(struct conf_notices, postmaster),
     .unset = "nobody", .prose = "Who gets copies."},
    {.name = "copies", .type = CONF_TYPE_CHOICE, .list = true, .at = offsetof(struct conf_notices, copies),
     .words = {"failure", "delay", "double"}, .fallback = "double",
     .prose = "Of which notices the postmaster gets a copy: of failures, of delays, and of notices that could "
              "not be delivered themselves, which nobody else ever sees."},
    {.name = "template_failure", .type = CONF_TYPE_PATH,
     .at = offsetof(struct conf_notices, template_failure), .unset = "our own words",
     .prose = "A file with the text of notices about failures, read at start and reload: docs/notices.md says how it "
              "is written."},
    {.name = "template_delay", .type = CONF_TYPE_PATH,
     .at = offsetof(struct conf_notices, template_delay), .unset = "our own words",
     .prose = "The same of notices about delays."},
    {.name = "template_success", .type = CONF_TYPE_PATH,
     .at = offsetof(struct conf_notices, template_success), .unset = "our own words",
     .prose = "The same of notices about deliveries, which senders may ask for."},
    {.name = "return_size", .type = CONF_TYPE_SIZE, .min = KIB, .max = GIB,
     .at = offsetof(struct conf_notices, return_size), .zero = "always the header alone",
     .fallback = "64K",
     .prose = "The largest message that is returned whole in a notice of a failure; of a larger one, and of "
              "one whose sender wants no more (RFC 3461 4.3), the header is returned."},
};
static const struct conf_section notices_section = {
    .name = "notices", ROWS(notices_rows), .at = offsetof(struct conf, notices),
    .prose = "What senders are told about their mail.",
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
    {.name = "submit", .type = CONF_TYPE_PATH, .restart = true, .at = offsetof(struct conf, submit),
     .unset = "submit.sock beside the control socket",
     .prose = "The socket through which programs on this machine send mail, by mailring send or its other "
              "name sendmail. Every user may connect to it."},
    {.name = "drop", .type = CONF_TYPE_PATH, .restart = true, .at = offsetof(struct conf, drop),
     .unset = "the path of the spool with \"-drop\" behind it",
     .prose = "The directory where such mail waits while the server does not run; the server makes it if it "
              "is missing. Every user may put a message there, but neither list nor alter those of others."},
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
    {.name = "virtual_aliases", .type = CONF_TYPE_TABLE, .list = true,
     .at = offsetof(struct conf, virtual_aliases), .unset = "none",
     .prose = "Addresses, or @domain for all of a domain, that stand for others: a table in the format of "
              "virtual(5), see ALIASES. It is asked before the aliases of a domain."},
    {.name = "mta_sts", .type = CONF_TYPE_BOOL, .at = offsetof(struct conf, mta_sts), .fallback = "yes",
     .prose = "Whether domains that we send mail to are asked for their MTA-STS policy (RFC 8461)."},
};
static const struct conf_section *const root_sections[] = {
    &listener_section, &conf_section_tls, &conf_section_auth, &conf_section_domain,
    &conf_section_route, &conf_section_retry, &notices_section, &conf_section_verify, &dns_section,
    &conf_section_tls_reports, &limits_section,
};
const struct conf_section conf_root = {
    ROWS(root_rows), .sections = root_sections, .section_count = ARRAY_LEN(root_sections),
    .prose = "These stand outside of all sections.",
};
