/* The tables of domains and routes: where mail goes, when it is tried again, what is asked before. */
#include "base_assert.h"
#include "conf.h"
#include "conf_table_priv.h"

/* A row reads better in a few lines than in twelve. */
/* clang-format off */

/* domain */

static const struct conf_row domain_rows[] = {
    {.name = "to", .type = CONF_TYPE_DESTINATION, .list = true, .required = true,
     .at = offsetof(struct conf_domain, to),
     .prose = "Where mail for the domain goes: one of DESTINATIONS, or a list of hosts of which "
              "the first that can be reached is used."},
    {.name = "recipients", .type = CONF_TYPE_TABLE, .list = true,
     .at = offsetof(struct conf_domain, recipients), .unset = "any local part is taken",
     .prose = "The recipients that exist: a table (see TABLES) of addresses or local parts. Others are refused with 550, unless there is an alias of that name or a "
              "catch_all. Upper and lower case are the same, addresses in other domains do not count "
              "here, and postmaster always exists."},
    {.name = "aliases", .type = CONF_TYPE_TABLE, .list = true,
     .at = offsetof(struct conf_domain, aliases), .unset = "none",
     .prose = "Local parts that stand for others: a table in the format of aliases(5), see ALIASES."},
    {.name = "catch_all", .type = CONF_TYPE_MAILBOX, .at = offsetof(struct conf_domain, catch_all),
     .unset = "unknown recipients are refused",
     .prose = "Who gets the mail for local parts that are neither recipients nor aliases. It needs "
              "recipients: without, any local part is one."},
    {.name = "destinations", .type = CONF_TYPE_TABLE, .list = true,
     .at = offsetof(struct conf_domain, destinations), .unset = "all go where to says",
     .prose = "Where mail for single recipients goes instead: a table (see TABLES) of an address or local "
              "part, a space, and one of DESTINATIONS. It does not say that a recipient exists."},
    {.name = "subaddress", .type = CONF_TYPE_SEPARATORS,
     .at = offsetof(struct conf_domain, subaddress), .unset = "no subaddresses",
     .prose = "Characters that end the mailbox's name in a local part: with \"+\", mail to "
              "ann+news is for ann, unless ann+news itself is a recipient."},
    {.name = "callout", .type = CONF_TYPE_BOOL, .at = offsetof(struct conf_domain, callout),
     .fallback = "no",
     .prose = "Whether the next hop is asked if a recipient exists while the sender is still connected, so "
              "that an unknown one is refused instead of bounced; see verify { callout { } }."},
};
const struct conf_section conf_section_domain = {
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

static const struct conf_row route_retry_rows[] = {
    {.name = "intervals", .type = CONF_TYPE_DURATION, .list = true, .min = TIMEOUT_MIN,
     .max = 30 * DAY, .at = offsetof(struct conf_retry, intervals), .unset = "as in the outer retry",
     .prose = "The waits between attempts."},
    {.name = "expire", .type = CONF_TYPE_DURATION, .min = TIMEOUT_MIN, .max = 365 * DAY,
     .at = offsetof(struct conf_retry, expire), .unset = "as in the outer retry",
     .prose = "When a message is returned to its sender."},
    {.name = "expire_bounces", .type = CONF_TYPE_DURATION, .min = TIMEOUT_MIN, .max = 365 * DAY,
     .at = offsetof(struct conf_retry, expire_bounces), .unset = "as in the outer retry",
     .prose = "When a notice of ours is given up."},
    {.name = "warn_after", .type = CONF_TYPE_DURATION, .min = TIMEOUT_MIN, .max = 365 * DAY,
     .at = offsetof(struct conf_retry, warn_after), .zero = "no warning",
     .unset = "as in the outer retry", .prose = "When the sender is told of a delay."},
    {.name = "jitter", .type = CONF_TYPE_PERCENT, .max = 100,
     .at = offsetof(struct conf_retry, jitter), .unset = "as in the outer retry",
     .prose = "By how much intervals vary at random."},
};
static const struct conf_section route_retry_section = {
    .name = "retry", ROWS(route_retry_rows), .at = offsetof(struct conf_route, retry),
    .prose = "When mail of this route is tried again: what is said here takes the place of what retry "
             "{ } says for all mail.",
};
static const struct conf_section *const route_sections[] = {
    &route_timeout_section, &route_retry_section, &conf_section_route_auth};

static const struct conf_row route_rows[] = {
    {.name = "from", .type = CONF_TYPE_SENDER, .list = true, .at = offsetof(struct conf_route, from),
     .unset = "any sender",
     .prose = "The senders that the route is for, as in MAIL FROM: addresses, domains, or \"<>\" for notices, "
              "which have no sender. There may be several routes with one pattern if their senders differ: "
              "the one that has the address counts, else the one that has its domain, else the one without "
              "from. A pattern that is more specific comes before any of that."},
    {.name = "to", .type = CONF_TYPE_DESTINATION, .list = true,
     .at = offsetof(struct conf_route, to), .fallback = "mx",
     .prose = "Where the mail goes: one of DESTINATIONS, or a list of hosts of which the first "
              "that can be reached is used."},
    {.name = "family", .type = CONF_TYPE_WORD, .at = offsetof(struct conf_route, family),
     .words = {[CONF_FAMILY_ANY] = "any", [CONF_FAMILY_PREFER_IPV6] = "prefer-ipv6",
               [CONF_FAMILY_PREFER_IPV4] = "prefer-ipv4", [CONF_FAMILY_IPV6] = "ipv6",
               [CONF_FAMILY_IPV4] = "ipv4"}, .fallback = "any",
     .prose = "Which addresses of the hosts are used: any, shuffled; those of one family first, among hosts "
              "of one preference; or those of one family alone."},
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
const struct conf_section conf_section_route = {
    .name = "route", .title = "PATTERN", .title_type = CONF_TYPE_PATTERN, ROWS(route_rows),
    .sections = route_sections, .section_count = ARRAY_LEN(route_sections),
    .prose = "How mail for other domains leaves. The pattern is a domain, \"*.DOMAIN\" for "
             "everything below a domain but not the domain itself, or \"*\"; the most specific one "
             "that matches is used; of those with one pattern, the one whose senders include the "
             "sender's address, then the one with the sender's domain, then the one for any sender. If no "
             "route \"*\" is for any sender, there is one to mx with the defaults below.",
    .at = offsetof(struct conf, routes), .count_at = offsetof(struct conf, route_count),
    .size = sizeof(struct conf_route), .repeats = true,
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
    {.name = "expire_bounces", .type = CONF_TYPE_DURATION, .min = TIMEOUT_MIN, .max = 365 * DAY,
     .at = offsetof(struct conf_retry, expire_bounces), .fallback = "2d",
     .prose = "How long a notice of ours (a message from the null sender) is tried, at most as long as expire. "
              "Many go to senders who do not exist; two days outlast a weekend's failure without keeping "
              "those for as long as mail."},
    {.name = "warn_after", .type = CONF_TYPE_DURATION, .min = TIMEOUT_MIN, .max = 365 * DAY,
     .at = offsetof(struct conf_retry, warn_after), .zero = "no warning", .fallback = "4h",
     .prose = "How long after its arrival the sender of a message that could not be delivered yet is told "
              "so, once."},
    {.name = "jitter", .type = CONF_TYPE_PERCENT, .max = 100,
     .at = offsetof(struct conf_retry, jitter), .fallback = "10",
     .prose = "By how much an interval is lengthened or shortened at random, so that mail that "
              "failed together is not tried again all at once."},
};
const struct conf_section conf_section_retry = {
    .name = "retry", ROWS(retry_rows), .at = offsetof(struct conf, retry),
    .prose = "When mail is tried again after a temporary failure.",
};

/* verify */

static const struct conf_row verify_callout_rows[] = {
    {.name = "sender", .type = CONF_TYPE_MAILBOX, .at = offsetof(struct conf_verify, callout.sender),
     .unset = "the null sender, as notices have it",
     .prose = "The sender in the question."},
    {.name = "timeout", .type = CONF_TYPE_DURATION, .min = TIMEOUT_MIN, .max = 240 * SECOND,
     .at = offsetof(struct conf_verify, callout.timeout), .fallback = "10s",
     .prose = "How long the client is kept waiting for the answer. (RFC 5321 4.5.3.2.3: it waits five "
              "minutes.)"},
    {.name = "positive", .type = CONF_TYPE_DURATION, .min = TIMEOUT_MIN, .max = 31 * DAY,
     .at = offsetof(struct conf_verify, callout.positive), .fallback = "1d",
     .prose = "How long it is believed that a recipient exists."},
    {.name = "negative", .type = CONF_TYPE_DURATION, .min = TIMEOUT_MIN, .max = 31 * DAY,
     .at = offsetof(struct conf_verify, callout.negative), .fallback = "1h",
     .prose = "How long it is believed that one does not; a new mailbox is unknown here for as long."},
    {.name = "defer_unknown", .type = CONF_TYPE_BOOL,
     .at = offsetof(struct conf_verify, callout.defer_unknown), .fallback = "yes",
     .prose = "What happens while the next hop does not answer, and no answer is remembered: yes, the "
              "client is told to come again (450); no, the mail is taken, and what turns out to be "
              "undeliverable is bounced."},
};
static const struct conf_section verify_callout_section = {
    .name = "callout", ROWS(verify_callout_rows),
    .prose = "How the next hop of a domain with callout = yes is asked for its recipients.",
};
static const struct conf_section *const verify_sections[] = {&verify_callout_section};

static const struct conf_row verify_rows[] = {
    {.name = "recipient_domain", .type = CONF_TYPE_BOOL,
     .at = offsetof(struct conf_verify, recipient_domain), .fallback = "yes",
     .prose = "Whether mail for other domains, where their MX hosts get it, is taken only if the domain can "
              "receive mail at all: a mistyped one is refused at once (550), and one whose name servers do "
              "not answer later (450)."},
    {.name = "sender_domain", .type = CONF_TYPE_BOOL,
     .at = offsetof(struct conf_verify, sender_domain), .fallback = "no",
     .prose = "Whether the sender's domain has to be one that can receive mail; otherwise nobody could be "
              "told of a failure."},
};
const struct conf_section conf_section_verify = {
    .name = "verify", ROWS(verify_rows), .at = offsetof(struct conf, verify),
    .sections = verify_sections, .section_count = ARRAY_LEN(verify_sections),
    .prose = "What is asked of others before mail is taken.",
};
