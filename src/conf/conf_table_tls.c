/* The tables of TLS and authentication. */
#include "base_assert.h"
#include "conf.h"
#include "conf_table_priv.h"

/* A row reads better in a few lines than in twelve. */
/* clang-format off */

static const struct conf_row tls_rows[] = {
    {.name = "certificate", .type = CONF_TYPE_PATH, .list = true,
     .at = offsetof(struct conf_tls, certificate), .unset = "listeners offer no TLS",
     .prose = "Files (PEM) with our certificate, the leaf first and then what leads to its CA. Of "
              "several, the name that the client asks for (SNI) chooses, and for one name there may be "
              "an RSA and an ECDSA certificate; the first is for clients that ask for no name of ours."},
    {.name = "key", .type = CONF_TYPE_PATH, .list = true, .at = offsetof(struct conf_tls, key),
     .unset = "there must be one for each certificate",
     .prose = "Files (PEM) with the private keys, in the order of the certificates, not encrypted. A "
              "file that others may read is refused."},
    {.name = "ocsp", .type = CONF_TYPE_PATH, .list = true, .at = offsetof(struct conf_tls, ocsp),
     .unset = "nothing is stapled",
     .prose = "Files (DER) with OCSP responses to staple, in the order of the certificates."},
    {.name = "ca", .type = CONF_TYPE_PATH, .at = offsetof(struct conf_tls, ca),
     .unset = "/etc/ssl/certs/ca-certificates.crt",
     .prose = "The CAs (PEM) that are trusted where a server's certificate is verified."},
    {.name = "version_min", .type = CONF_TYPE_WORD, .at = offsetof(struct conf_tls, version_min),
     .words = {[CONF_TLS_1_2] = "TLSv1.2", [CONF_TLS_1_3] = "TLSv1.3"}, .fallback = "TLSv1.2",
     .prose = "The oldest version of TLS that is spoken, to clients and to servers."},
    {.name = "ciphers", .type = CONF_TYPE_TEXT, .at = offsetof(struct conf_tls, ciphers),
     .unset = "forward-secret ones with authenticated encryption",
     .prose = "Names of cipher suites, in order of preference, separated by colons."},
    {.name = "ticket_lifetime", .type = CONF_TYPE_DURATION, .min = 60 * SECOND, .max = 7 * DAY,
     .at = offsetof(struct conf_tls, ticket_lifetime), .zero = "no session tickets", .fallback = "2h",
     .prose = "How long a client may resume a session; as often, the keys for that are changed."},
};
const struct conf_section conf_section_tls = {
    .name = "tls", ROWS(tls_rows), .at = offsetof(struct conf, tls),
    .prose = "Certificates, and how TLS is spoken.",
};

static const struct conf_row auth_rows[] = {
    {.name = "users", .type = CONF_TYPE_PATH, .at = offsetof(struct conf_auth, users),
     .unset = "no users of our own",
     .prose = "A file of users, one a line: user:hash, and behind another colon, separated by commas, "
              "the sender addresses of that user. The hash is one of crypt(3), or "
              "{SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey. The command mailring passwd writes "
              "it. A file that others may read is refused."},
    {.name = "senders", .type = CONF_TYPE_TABLE, .list = true, .at = offsetof(struct conf_auth, senders),
     .unset = "users may send from their own name, if it is an address, and from what the file of users "
              "gives them",
     .prose = "Who else may send from which addresses: a table (see TABLES) of an address, @domain for all "
              "addresses of a domain, or * for any; a space; and the users, separated by commas. It adds to "
              "what a user may do anyway. Upper and lower case are the same, and who may use an address may "
              "use its subaddresses."},
    {.name = "dovecot", .type = CONF_TYPE_PATH, .at = offsetof(struct conf_auth, dovecot),
     .unset = "Dovecot is not asked",
     .prose = "The socket of Dovecot's authentication service for clients: Dovecot then decides who a "
              "user is, unless he stands in the file of users."},
    {.name = "introspection", .type = CONF_TYPE_URL, .at = offsetof(struct conf_auth, introspection),
     .unset = "access tokens are not taken, unless Dovecot takes them",
     .prose = "Where an OAuth 2 server says whether an access token is good (RFC 7662)."},
    {.name = "introspection_secret", .type = CONF_TYPE_PATH,
     .at = offsetof(struct conf_auth, introspection_secret), .unset = "none is sent",
     .prose = "A file with client:secret, by which we log in there. A file that others may read is "
              "refused."},
    {.name = "mechanisms", .type = CONF_TYPE_MECHANISM, .list = true,
     .at = offsetof(struct conf_auth, mechanisms), .unset = "all that can be offered",
     .prose = "The SASL mechanisms that are offered."},
    {.name = "plaintext", .type = CONF_TYPE_BOOL, .at = offsetof(struct conf_auth, plaintext),
     .fallback = "no",
     .prose = "Whether users may log in without TLS, where anybody on the way can read the password."},
    {.name = "failures", .type = CONF_TYPE_COUNT, .min = 1, .max = 1000,
     .at = offsetof(struct conf_auth, failures), .fallback = "10",
     .prose = "How many wrong passwords an address may send for one user until it may not log in as "
              "that user for a while; and for how many users until it may not log in at all. Networks "
              "in relay_from are not banned as a whole."},
    {.name = "ban", .type = CONF_TYPE_DURATION, .min = SECOND, .max = 30 * DAY,
     .at = offsetof(struct conf_auth, ban), .fallback = "15m",
     .prose = "How long a ban lasts, and how long a wrong password is remembered."},
    {.name = "delay", .type = CONF_TYPE_DURATION, .min = 10, .max = 60 * SECOND,
     .at = offsetof(struct conf_auth, delay), .fallback = "1s",
     .prose = "How long the answer to a wrong password waits; with each further one twice as long, up to "
              "half a minute."},
};
const struct conf_section conf_section_auth = {
    .name = "auth", ROWS(auth_rows), .at = offsetof(struct conf, auth),
    .prose = "Who may log in.",
};

static const struct conf_row tls_reports_rows[] = {
    {.name = "send", .type = CONF_TYPE_BOOL, .at = offsetof(struct conf_tls_reports, send),
     .fallback = "yes",
     .prose = "Whether domains that ask for reports about TLS (RFC 8460) get one each day."},
    {.name = "organization", .type = CONF_TYPE_TEXT,
     .at = offsetof(struct conf_tls_reports, organization), .unset = "the hostname",
     .prose = "Who we are, in reports."},
    {.name = "contact", .type = CONF_TYPE_MAILBOX, .at = offsetof(struct conf_tls_reports, contact),
     .unset = "postmaster at the hostname", .prose = "Whom to ask about reports."},
    {.name = "from", .type = CONF_TYPE_MAILBOX, .at = offsetof(struct conf_tls_reports, from),
     .unset = "tls-reports at the hostname", .prose = "The sender of reports."},
    {.name = "private_addresses", .type = CONF_TYPE_BOOL,
     .at = offsetof(struct conf_tls_reports, private_addresses), .fallback = "no",
     .prose = "Whether reports by HTTPS may go to addresses that are not of the public Internet. Who "
              "wants them names the URL, so whoever has a domain could have us call on hosts that only we "
              "can reach."},
};
const struct conf_section conf_section_tls_reports = {
    .name = "tls_reports", ROWS(tls_reports_rows), .at = offsetof(struct conf, tls_reports),
    .prose = "Reports to other domains about how TLS with them went.",
};

static const struct conf_row route_auth_rows[] = {
    {.name = "user", .type = CONF_TYPE_TEXT, .at = offsetof(struct conf_route, auth.user),
     .unset = "we do not log in", .prose = "Our user name there."},
    {.name = "password_file", .type = CONF_TYPE_PATH,
     .at = offsetof(struct conf_route, auth.password_file), .unset = "there is no password",
     .prose = "A file whose first line is the password. A file that others may read is refused."},
    {.name = "token_file", .type = CONF_TYPE_PATH, .at = offsetof(struct conf_route, auth.token_file),
     .unset = "there is no token",
     .prose = "A file whose first line is an OAuth 2 access token; it is read for each connection, so "
              "another program may renew it. The server's user reads it; a file that everybody may read, or "
              "that its group may write to, is refused."},
    {.name = "mechanism", .type = CONF_TYPE_WORD, .at = offsetof(struct conf_route, auth.mechanism),
     .words = {[CONF_ROUTE_AUTH_AUTOMATIC] = "automatic", [CONF_ROUTE_AUTH_PLAIN] = "PLAIN",
               [CONF_ROUTE_AUTH_LOGIN] = "LOGIN", [CONF_ROUTE_AUTH_SCRAM_SHA_1] = "SCRAM-SHA-1",
               [CONF_ROUTE_AUTH_SCRAM_SHA_256] = "SCRAM-SHA-256",
               [CONF_ROUTE_AUTH_XOAUTH2] = "XOAUTH2", [CONF_ROUTE_AUTH_OAUTHBEARER] = "OAUTHBEARER"},
     .fallback = "automatic",
     .prose = "How to log in; automatic takes the best that the server offers."},
};
const struct conf_section conf_section_route_auth = {
    .name = "auth", ROWS(route_auth_rows),
    .prose = "How we log in at the hosts of this route. Without TLS that is done only where the route "
             "says tls = none. With tls = auto the host has to show who it is: by its TLSA records, or "
             "by a certificate for its name from a trusted CA. While a login is refused, mail waits.",
};
