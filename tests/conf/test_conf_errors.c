/* What is said about wrong configurations, word for word, and where. */
#include <sys/stat.h>
#include <unistd.h>

#include "base_assert.h"
#include "conf_test.h"

#define M           "mailring.conf"
/* A good beginning, on one line, so that what a test adds begins on line 2. */
#define GOOD        "hostname = mx.example  relay_from = \"10.0.0.0/8\"\n"
#define CERTIFICATE "tls { certificate = /c key = /k } "

static const struct {
    const char *text;
    const char *report;
} cases[] = {
    /* What is missing */
    {"", M ":1: hostname is missing\n"},
    {"# nothing\n", M ":1: hostname is missing\n"},
    {"hostname = mx.example\n",
     M ":1: warning: neither a domain nor relay_from is set: no mail will be accepted\n"},
    {GOOD "\ndomain a.example {\n}\n", M ":3: domain \"a.example\": to is missing\n"},
    {GOOD "listener x { role = mx }", M ":2: listener \"x\": address is missing\n"},
    {GOOD "domain a.example { to = {} }", M ":2: domain \"a.example\": to is missing\n"},

    /* Unknown settings: all of them, and the rest too */
    {GOOD "spol = /x\n", M ":2: unknown setting \"spol\"; did you mean \"spool\"?\n"},
    {GOOD "limits {\n  recipient = 3\n}\n",
     M ":3: unknown setting \"recipient\" in limits; did you mean \"recipients\"?\n"},
    {GOOD "domain a.example {\n to = mx\n mailboxes = /etc/aliases\n}\n",
     M ":4: unknown setting \"mailboxes\" in domain \"a.example\"\n"},
    {GOOD "route a.example {\n form = b.example\n}\n",
     M ":3: unknown setting \"form\" in route \"a.example\"; did you mean \"from\"?\n"},
    {GOOD "queue = 1G", M ":2: unknown setting \"queue\"; it belongs in limits\n"},
    {GOOD "timeout { data = 1m }",
     M ":2: unknown setting \"timeout\"; it belongs in route or callout or dns or limits\n"},
    {GOOD "domain a.example { to = mx spool = /x }", M
     ":2: unknown setting \"spool\" in domain \"a.example\"; it belongs in the top of the file\n"},
    {GOOD "tlss { certificate = {\"a\", \"b\"}\n key = k }\nfoo += {1,2}\nbar(1, 2)\n"
          "baz \"t\" { a { b = \"}\" } c = 3 }\nqux = 4 shards = x",
     M ":2: unknown setting \"tlss\"; did you mean \"tls\"?\n" M ":4: unknown setting \"foo\"\n" M
       ":5: unknown setting \"bar\"\n" M ":6: unknown setting \"baz\"\n" M
       ":7: unknown setting \"qux\"\n" M ":7: shards: \"x\" is not a number\n"},
    {GOOD "limits|queue = 1G\n", M ":2: queue is set from outside its section\n"},
    {GOOD "\"section|begins\" = 1\n", M ":2: no sub-section title/index for 'section'\n"},

    /* Bad values: at the value's line, which need not be the setting's */
    {GOOD "shards = 257", M ":2: shards: \"257\" is more than 256\n"},
    {GOOD "spool_segment = 100K", M ":2: spool_segment: \"100K\" is less than 256K\n"},
    {GOOD "spool_segment = 300001", M ":2: spool_segment: \"300001\" is not a multiple of 4K\n"},
    {GOOD "spool_segment = 64MB", M ":2: spool_segment: \"64MB\" is not a size: "
                                    "a number with K, M or G, like \"50M\"\n"},
    {GOOD "retry { expire = 5w }", M ":2: expire: \"5w\" is not a duration: "
                                     "a number with s, m, h or d, like \"5m\"\n"},
    {GOOD "retry { jitter = 101 }", M ":2: jitter: \"101\" is more than 100 %\n"},
    {GOOD "retry { intervals = {\n5m,\n10x,\n0s,\n31d} }",
     M ":4: intervals: \"10x\" is not a duration: a number with s, m, h or d, like \"5m\"\n" M
       ":5: intervals: \"0s\" is less than 10ms\n" M ":6: intervals: \"31d\" is more than 30d\n"},
    {GOOD "spool = var/spool", M ":2: spool: \"var/spool\" is not a path that begins with /\n"},
    {GOOD "user = \"a b\"", M ":2: user: \"a b\" is not a user's name\n"},
    {GOOD "listener x { address = \"[::1]:25\" role = smtp }",
     M ":2: role: \"smtp\" is none of mx, relay, submission\n"},
    {GOOD "listener x { address = \"[::1]:25\" bare_newline = accept }",
     M ":2: bare_newline: \"accept\" is none of reject, normalize\n"},
    {GOOD "listener x { address = \"[::1]:25\" hide = {DSN, STARTTLS} }",
     M ":2: hide: \"STARTTLS\" is none of PIPELINING, SIZE, 8BITMIME, ENHANCEDSTATUSCODES, DSN, "
       "REQUIRETLS\n"},
    {GOOD "listener \"a b\" { address = \"[::1]:25\" }",
     M ":2: listener: \"a b\" is not a name: up to 64 ASCII characters, no spaces\n"},
    {GOOD "domain \"a_b\" { to = mx }\ndomain \"*.b\" { to = mx }\ndomain \"c.\" { to = mx }\n",
     M ":3: domain: \"*.b\" is not a host name\n" M ":4: domain: \"c.\" is not a host name\n"},
    {GOOD "route \"a.*\" { }", M ":2: route: \"a.*\" is none of DOMAIN, *.DOMAIN, *\n"},
    {GOOD "domain a.example { to = mx subaddress = \"+.\" }",
     M ":2: subaddress: \"+.\" has a character that cannot begin a subaddress; "
       "usual ones are + and -\n"},
    {"hostname = \"1.2.3.4\"", M ":1: hostname: \"1.2.3.4\" is not a host name\n"},
    {"hostname = \"\\n\\e[1m\"", M ":1: hostname: \"??[1m\" is not a host name\n"},
    {"hostname = mx.example relay_from = {\"10.0.0.0/33\", \"x\"}",
     M ":1: relay_from: \"10.0.0.0/33\" is not a network like 10.0.0.0/8 or 2001:db8::/32\n" M
       ":1: relay_from: \"x\" is not a network like 10.0.0.0/8 or 2001:db8::/32\n"},
    {GOOD "control = /run/"
          "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"
          "8901234567890123456",
     M ":2: control: a socket's path has at most 107 characters\n"},

    /* Contradictions */
    {GOOD "listener a { address = \"127.0.0.1:25\" }\nlistener b {\n"
          "  address = {\"127.0.0.1:26\",\n  \"127.0.0.1:25\"}\n}",
     M ":5: two listeners on one address, the first at line 2\n"},
    {GOOD "listener a { address = {\"[::1]:25\", \"[0:0::1]:25\"} }",
     M ":2: two listeners on one address, the first at line 2\n"},
    {"hostname = mx.example domain a.example { to = mx }\nlistener a {\n  role = relay\n"
     "  address = \"[::]:25\"\n}",
     M
     ":3: role = relay serves only relay_from, which is not set, and clients with a certificate or "
     "a login, which it does not ask for\n"},
    {GOOD "listener a { address = \"[::1]:25\" }\nlistener a { address = \"[::1]:26\" }",
     M ":3: listener \"a\" stands twice, first at line 2\n"},
    {GOOD "domain a.example { to = mx }\n\ndomain A.Example { to = mx }",
     M ":4: domain \"A.Example\" stands twice, first at line 2\n"},
    {GOOD "route \"*\" { }\nroute \"*\" { }", M ":3: route \"*\" stands twice, first at line 2\n"},
    {GOOD "shards = 1\nshards = 2\n", M ":3: shards is set twice, first at line 2\n"},
    {GOOD "retry { intervals = {1m, 2m} }\nretry { intervals = {3m, 4m} }",
     M ":3: intervals is set twice, first at line 2\n"},
    {GOOD "route a.example { to = discard }\ndomain A.example { to = mx }",
     M ":2: to is set for a.example as a route and as a domain, at line 3\n"},

    /* Routes by sender */
    {GOOD "route \"*\" { from = {a.example, \"<>\"} }\nroute \"*\" { from = b.example }\n"
          "route \"*\" {\n from = {c.example,\n A.Example} }\nroute \"*\" { from = \"<>\" }",
     M ":6: route \"*\" from a.example stands twice, first at line 2\n" M
       ":7: route \"*\" from <> stands twice, first at line 2\n"},
    {GOOD "route B.example { from = a.example }\nroute b.example { }\nroute b.example { }",
     M ":4: route \"b.example\" stands twice, first at line 3\n"},
    {GOOD "route a.example { from = {\"b c\", \"a@b@c\", \"<a@b.example>\", \"*.b.example\"} }",
     M ":2: from: \"b c\" is none of USER@DOMAIN, DOMAIN, <>\n" M
       ":2: from: \"a@b@c\" is none of USER@DOMAIN, DOMAIN, <>\n" M
       ":2: from: \"<a@b.example>\" is none of USER@DOMAIN, DOMAIN, <>\n" M
       ":2: from: \"*.b.example\" is none of USER@DOMAIN, DOMAIN, <>\n"},
    {GOOD "route a.example { family = ipv5 }",
     M ":2: family: \"ipv5\" is none of any, prefer-ipv6, prefer-ipv4, ipv6, ipv4\n"},

    /* The life of the queue, and notices */
    {GOOD "retry { expire = 1d\n expire_bounces = 2d }",
     M ":3: warning: expire_bounces is more than expire, which holds for notices too\n"},
    {GOOD "route a.example { retry { expire = 1d\n expire_bounces = 2d } }",
     M ":3: warning: expire_bounces is more than expire, which holds for notices too\n"},
    {GOOD "retry { expire = 4h }", ""}, /* defaults give way quietly */
    {GOOD "retry { expire = 4h\n warn_after = 4h }",
     M ":3: warning: retry: warn_after is not less than expire, so nobody is told of a delay\n"},
    {GOOD "route a.example { retry {\n expire = 1m } }", M
     ":3: warning: retry: expire is less than the first of intervals, so nothing is tried twice\n"},
    {GOOD "notices { postmaster = a@b.example copies = {failure, all} }",
     M ":2: copies: \"all\" is none of failure, delay, double\n"},
    {GOOD "notices { from = \"A <a@b.example>\" }",
     M ":2: from: \"A <a@b.example>\" is not an address like user@example.org\n"},
    {GOOD "notices {\n copies = failure }",
     M ":3: warning: copies: postmaster is not set, so nobody gets them\n"},
    {GOOD "domain a.example { to = mx catch_all = ann@b.example }", M
     ":2: warning: catch_all: without recipients, any local part is one, and none is left for it\n"},
    {GOOD "domain a.example { to = \"maildir:/m/%u\" callout = yes }",
     M ":2: warning: callout: mail for a.example goes to no host that could be asked\n"},
    {GOOD "control = /run/"
          "01234567890123456789012345678901234567890123456789012345678901234567890123456789"
          "/control.s",
     ""},
    {GOOD "control = /run/"
          "0123456789012345678901234567890123456789012345678901234567890123456789012345678901"
          "2345678901/control.s",
     M ":2: submit: a socket's path has at most 107 characters\n"},
    {"hostname = mx.example\nrelay_from = {\"10.0.0.0/8\",\n\"0.0.0.0/0\",\n\"::/0\"}",
     M ":3: warning: relay_from: everybody may send mail to anybody through this server: an open "
       "relay\n" M
       ":4: warning: relay_from: everybody may send mail to anybody through this server: an open "
       "relay\n"},

    /* Tables */
    {GOOD "virtual_aliases = \"hash:/etc/postfix/virtual\"", M
     ":2: virtual_aliases: \"hash:/etc/postfix/virtual\" is a kind of table that is not supported: "
     "those are text files, as /PATH, and constant databases, as cdb:/PATH\n"},
    {GOOD
     "domain a.example { to = mx recipients = {\"ann@a.example,bob@a.example\",\n\"<c@d.example>\"} }",
     M ":2: \"ann@a.example,bob@a.example\" is neither an address nor a local part\n" M
       ":3: \"<c@d.example>\" is neither an address nor a local part\n"},
    {GOOD
     "domain a.example { to = mx recipients = ann\n catch_all = bob@A.example }\n"
     "domain b.example { to = mx recipients = ann aliases = \"bob: ann\"\n catch_all = bob@b.example }\n"
     "domain c.example { to = mx recipients = ann\n catch_all = bob@a.example }\n"
     "domain d.example { to = mx recipients = ann\n catch_all = bob@e.example }\n",
     M ":3: warning: catch_all: bob@A.example is neither a recipient nor an alias\n" M
       ":7: warning: catch_all: bob@a.example is neither a recipient nor an alias\n"},
    {GOOD "virtual_aliases = {etc/virtual,\n\"cdb:virtual\",\n\"#x\"}", M
     ":2: virtual_aliases: \"etc/virtual\" is neither a path that begins with / nor an entry of a "
     "table\n" M
     ":3: virtual_aliases: \"cdb:virtual\" is neither a path that begins with / nor an entry of a "
     "table\n" M
     ":4: virtual_aliases: \"#x\" is neither a path that begins with / nor an entry of a table\n"},

    /* TLS and authentication */
    {GOOD "listener x { address = \"[::1]:25\" relay_certificates = sha256:12 }",
     M ":2: relay_certificates: \"sha256:12\" is not a fingerprint: sha256: and 64 hexadecimal "
       "digits\n"},
    {GOOD "listener x { address = \"[::1]:25\" auth = maybe }",
     M ":2: auth: \"maybe\" is neither yes nor no\n"},
    {GOOD "tls { certificate = {/a, /b}\n key = /k }", M ":2: tls: 2 certificates, but 1 keys\n"},
    {GOOD "tls { certificate = /a key = /k ocsp = {/o, /p} }",
     M ":2: tls: 2 OCSP responses for 1 certificates\n"},
    {GOOD "listener x { address = \"[::1]:25\"\n tls = implicit }",
     M ":3: tls: there is no certificate (tls { certificate, key })\n"},
    {GOOD "auth { users = /u }\nlistener x { address = \"[::1]:25\" role = submission }",
     M ":3: nobody can log in: there is no certificate, and passwords are taken under TLS only "
       "(auth { plaintext })\n"},
    {GOOD CERTIFICATE "listener x { address = \"[::1]:25\" role = submission }",
     M ":2: nobody can log in: auth has neither users nor dovecot nor introspection\n"},
    {GOOD CERTIFICATE
     "auth { users = /u }\nlistener x { address = \"[::1]:25\" tls = none auth = yes }",
     M ":3: nobody can log in: tls is none here, and passwords are taken under TLS only "
       "(auth { plaintext })\n"},
    {GOOD CERTIFICATE "listener x { address = \"[::1]:25\" relay_client_ca = yes }",
     M ":2: relay_client_ca: client_ca is not set\n"},
    {GOOD "listener x { address = \"[::1]:25\" client_ca = /ca }",
     M ":2: listener \"x\": clients cannot show a certificate without TLS\n"},
    {GOOD "auth { introspection = \"ftp://a/\" }",
     M ":2: introspection: \"ftp://a/\" is not a URL like https://host/path\n"},
    {GOOD "auth { introspection_secret = /s }",
     M ":2: introspection_secret: introspection is not set\n"},
    {GOOD "auth { mechanisms = {plain, \"a b\"} }",
     M ":2: mechanisms: \"a b\" is not the name of a SASL mechanism\n"},
    {GOOD "auth { plaintext = yes }",
     M ":2: warning: plaintext: anybody on the way can read passwords\n"},
    {GOOD "tls_reports { contact = \"postmaster\" }",
     M ":2: contact: \"postmaster\" is not an address like user@example.org\n"},
    {GOOD "route a.example { tls = none tls_implicit = yes }",
     M ":2: tls = none contradicts tls_implicit\n"},
    {GOOD "route a.example { tls = mta-sts to = \"smtp://b.example\" }",
     M ":2: tls = mta-sts is for the MX of a domain, not for smtp://\n"},
    {GOOD "domain own.example { to = \"smtp://b.example\" }\n"
          "route \"*\" { to = mx  tls = mta-sts }",
     M
     ":2: domain \"own.example\": tls = mta-sts of route \"*\" holds for it, and is for the MX of "
     "a domain, not for smtp://; give it a route of its own\n"},
    {GOOD "route a.example { tls = verify to = \"smtp://192.0.2.1:25\" }",
     M ":2: tls = verify needs the host's name: certificates are not for addresses\n"},
    {GOOD "mta_sts = no route a.example { tls = mta-sts }",
     M ":2: tls = mta-sts contradicts mta_sts = no\n"},
    {GOOD "dns { dnssec = no } route a.example { tls = dane }",
     M ":2: tls = dane contradicts dns { dnssec = no }\n"},
    {GOOD "route a.example { to = \"smtp://b.example\" auth { token_file = /nowhere/t } }", M
     ":2: auth: user is not set\n" M
     ":2: warning: token_file: /nowhere/t: No such file or directory; until that changes, mail of this route waits\n"},
    {GOOD "route a.example { to = \"smtp://b.example\" auth { user = u } }",
     M ":2: auth: set one of password_file and token_file\n"},
    {GOOD
     "route a.example { to = \"smtp://b.example\" auth { user = u token_file = /nowhere/t\n mechanism = PLAIN } }",
     M
     ":2: warning: token_file: /nowhere/t: No such file or directory; until that changes, mail of this route waits\n" M
     ":3: mechanism: this one takes a password_file\n"},
    {GOOD
     "route a.example { to = \"smtp://b.example\" tls = none auth { user = u token_file = /nowhere/t } }",
     M
     ":2: warning: auth: with tls = none, anybody on the way can read the password\n" M
     ":2: warning: token_file: /nowhere/t: No such file or directory; until that changes, mail of this route waits\n"},
    {GOOD
     "route a.example { to = \"smtp://b.example\" auth { user = u password_file = /nowhere/p } }",
     M ":2: password_file: cannot read /nowhere/p: No such file or directory\n"},
    {GOOD "route a.example { auth { user = u token_file = /nowhere/t } }", M
     ":2: auth: a login is for hosts that the route names by smtp:// or lmtp://\n" M
     ":2: warning: token_file: /nowhere/t: No such file or directory; until that changes, mail of this route waits\n"},

    {GOOD "route a.example { to = {mx,\n discard} }",
     M ":3: only mx, smtp:// and lmtp can be one of several destinations\n"},
    {GOOD "domain a.example { to = \"maildir:/var/mail/%d/%%u\" }",
     M ":2: warning: without %u in the path, all recipients share one mailbox\n"},
    {GOOD "route a.example { tls = verify to = \"lmtp://192.0.2.1\" }",
     M ":2: tls = verify needs the host's name: certificates are not for addresses\n"},
    {GOOD "route a.example { to = {\"lmtp+unix:/run/x\", discard} }",
     M ":2: only mx, smtp:// and lmtp can be one of several destinations\n"},
    {GOOD
     "route a.example { to = {\"lmtp+unix:/run/lmtp\", \"lmtp://b.example\", \"smtp://c.example\"} }",
     ""},
    {GOOD "route a.example { to = \"lmtp+unix:/nowhere/at all/lmtp\" }",
     M ":2: warning: there is no directory /nowhere/at all for the socket\n"},
    {GOOD "route a.example { to = \"lmtp+unix:lmtp\" }", M
     ":2: to: \"lmtp+unix:lmtp\" has no path behind lmtp+unix: that begins with / and has at most 107 octets\n"},
    {GOOD "listener a { address = \"127.0.0.1:25\" }\nroute x.example { to = smtp://127.0.0.1 }",
     M ":3: warning: this address is a listener of ours: mail would go in circles\n"},
    {GOOD "retry { intervals = {5m} expire = 4m }", M
     ":2: warning: retry: expire is less than the first of intervals, so nothing is tried twice\n"},
    {GOOD "limits { queue = 10M }",
     M ":2: warning: limits: queue is less than message_size, so the "
       "largest messages never fit\n"},

    /* Syntax */
    {GOOD "shards 3\n", M ":2: missing equal sign after option 'shards'\n"},
    {GOOD "}\n", M ":2: unexpected closing brace\n"},
    {GOOD "\nlimits { timeout {\n}\n", M ":3: this brace is not closed\n"},
    {GOOD "domain { to = mx }\n", M ":2: missing title for section 'domain'\n"},
    {GOOD "domain a.example\nto = mx\n", M ":3: missing opening brace for section 'domain'\n"},
    {GOOD "shards += 3\n", M ":2: attempt to append to non-list option 'shards'\n"},
    {GOOD "\n\nspool = \"/x\n\n", M ":4: this string has no closing quote\n"},
    {GOOD "include(a b)", M ":2: what stands in parentheses is not a list of arguments\n"},
    {GOOD "include(a\n", M ":2: what stands in parentheses is not a list of arguments\n"},
    {GOOD "\ninclude(,)", M ":3: what stands in parentheses is not a list of arguments\n"},
    {GOOD "include {a}", M ":2: missing parenthesis for function 'include'\n"},
    {GOOD "\n/* x\n\n", M ":3: this comment has no end\n"},
    {GOOD "\n\x01", M ":3: a control character: this is not a text file\n"},
    {GOOD "shards = x\n\"\" = 3\n", M ":2: shards: \"x\" is not a number\n" M ":3: syntax error\n"},
    /* After a syntax error, values are still looked at, but nothing is missing */
    {"shards = x\n}\n", M ":1: shards: \"x\" is not a number\n" M ":2: unexpected closing brace\n"},

    /* Lines are counted right, whatever comments and strings lie before */
    {"# one\nhostname = mx.example // two\n/* three\n four */ relay_from = \"10.0.0.0/8\" /* */ # x\n"
     "listener 'a#b' { address = \"[::1]:25\" } /* \" */ user = 'it\\'s'\nlimits { # \"\n"
     "recipients = 1 } /* * / */ dns { servers = { # y\n 1.1.1.1, \"8.8.8.8\" // z\n } }\n"
     "route smtp.example { to = smtp://a.example } # {\nuser = \"\"",
     M ":11: user is set twice, first at line 5\n" M ":11: user: \"\" is not a user's name\n"},
};

START_TEST(messages)
{
    check_report(cases[_i].text, cases[_i].report);
}
END_TEST

START_TEST(no_file)
{
    struct conf *conf = NULL;
    char expected[600];

    (void)snprintf(expected, sizeof(expected),
                   "%s:1: cannot read this file: No such file or directory", in_folder("none"));
    ck_assert(!conf_load(in_folder("none"), &conf, &loaded.errors));
    ck_assert_ptr_null(conf);
    ck_assert_uint_eq(loaded.errors.count, 1);
    ck_assert_str_eq(loaded.errors.items[0].text, expected);
}
END_TEST

START_TEST(directory)
{
    struct conf *conf = NULL;

    ck_assert(!conf_load("/", &conf, &loaded.errors));
    ck_assert_uint_eq(loaded.errors.count, 1);
    ck_assert_str_eq(loaded.errors.items[0].text, "/:1: cannot read this file: Is a directory");
}
END_TEST

START_TEST(errors_add_up)
{
    put_file("a", "shards = x");
    put_file("b", "hostname = \"-\"");
    struct conf *conf = NULL;

    ck_assert(!conf_load(in_folder("a"), &conf, &loaded.errors));
    ck_assert_uint_eq(loaded.errors.count, 2);
    ck_assert(!conf_load(in_folder("b"), &conf, &loaded.errors));
    ck_assert_uint_eq(loaded.errors.count, 3);
}
END_TEST

START_TEST(errors_have_an_end)
{
    struct buf text = {0};

    for (int i = 0; i < 500; i++)
        (void)buf_printf(&text, "unknown%d = 1\n", i);
    (void)buf_append_byte(&text, '\0');
    load_text((const char *)buf_slice(&text).data);
    ck_assert_ptr_null(loaded.conf);
    ck_assert_uint_eq(loaded.errors.count, 100);
    buf_finish(&text);
}
END_TEST

/* include() */

START_TEST(include_works)
{
    put_file("more.conf", "# a comment\nspool = /x\ninclude(\"$/domain.conf\")\nshards = 3\n");
    put_file("domain.conf", "domain a.example {\n to = mx include(\"inner.conf\") }\n");
    put_file("inner.conf", "subaddress = \"-\"");
    const struct conf *c = load_good("include(\"more.conf\")\nhostname = mx.example user = u\n");

    ck_assert_str_eq(c->spool, "/x");
    ck_assert_uint_eq(c->shards, 3);
    ck_assert_str_eq(c->user, "u");
    ck_assert_slice(c->domains[0].subaddress, "-");
}
END_TEST

START_TEST(include_twice)
{
    put_file("to.conf", "to = mx");
    const struct conf *c = load_good("hostname = mx.example\n"
                                     "domain a.example { include(to.conf) }\n"
                                     "domain b.example { include(to.conf) }\n");

    ck_assert_uint_eq(c->domain_count, 2);
}
END_TEST

START_TEST(include_errors)
{
    put_file("a.conf", "# one\nshards = x\nnonsense = 1\nuser = a\n");
    put_file("b.conf", "\n\nspool = relative\n");
    check_report(GOOD "include(\"a.conf\")\nuser = b\ninclude(\"b.conf\")\nhostname = \"-\"",

                 M ":3: user is set twice, first at a.conf:4\n" M
                   ":5: hostname is set twice, first at line 1\n" M
                   ":5: hostname: \"-\" is not a host name\n"
                   "a.conf:2: shards: \"x\" is not a number\n"
                   "a.conf:3: unknown setting \"nonsense\"\n"
                   "b.conf:3: spool: \"relative\" is not a path that begins with /\n");
}
END_TEST

START_TEST(include_missing)
{
    check_report("include(\"none.conf\")\ninclude(a, b)\ninclude(\"$/\")\nshards = x",
                 M ":1: cannot read none.conf: No such file or directory\n" M
                   ":2: include wants one file, as in include(\"more.conf\")\n" M
                   ":3: cannot read : Is a directory\n" M ":4: shards: \"x\" is not a number\n");
}
END_TEST

START_TEST(include_cycle)
{
    put_file("a.conf", "\ninclude(\"b.conf\")");
    put_file("b.conf", "include(\"a.conf\")");
    check_report(GOOD "include(\"a.conf\")\ninclude(\"mailring.conf\")",
                 M ":3: mailring.conf includes itself\n"
                   "b.conf:1: a.conf includes itself\n");
    ck_assert_int_eq(symlink("mailring.conf", in_folder("link.conf")), 0);
    check_report(GOOD "include(\"link.conf\")", M ":2: link.conf includes itself\n");
}
END_TEST

START_TEST(include_too_deep)
{
    for (int i = 0; i < 20; i++) {
        char name[16];
        char text[40];

        (void)snprintf(name, sizeof(name), "%d.conf", i);
        (void)snprintf(text, sizeof(text), "include(\"%d.conf\")", i + 1);
        put_file(name, text);
    }
    check_report(GOOD "include(\"0.conf\")", "15.conf:1: includes are nested too deeply\n");
    /* And nothing of it stays behind. */
    put_file("0.conf", "shards = 1");
    (void)load_good(GOOD "include(\"0.conf\")");
}
END_TEST

/* libconfuse is global: a failure in the middle of an included file must not spoil the next load. */
START_TEST(failures_leave_nothing)
{
    put_file("a.conf", "limits { recipients }");
    for (int i = 0; i < 30; i++) {
        load_text(GOOD "include(\"a.conf\")");
        ck_assert_ptr_null(loaded.conf);
    }
    put_file("a.conf", "limits { recipients = 3 }");
    const struct conf *c = load_good(GOOD "include(\"a.conf\")");
    ck_assert_uint_eq(c->limits.recipients, 3);
}
END_TEST

START_TEST(environment)
{
    ck_assert_int_eq(setenv("MAILRING_TEST", "7", 1), 0);
    const struct conf *c = load_good(GOOD "shards = ${MAILRING_TEST}\n"
                                          "limits { recipients = \"${MAILRING_TEST}1\"\n"
                                          "         errors = ${MAILRING_NONE:-5} }");

    ck_assert_uint_eq(c->shards, 7);
    ck_assert_uint_eq(c->limits.recipients, 71);
    ck_assert_uint_eq(c->limits.errors, 5);
}
END_TEST

/* Complaints of others, after the load: where a field or an item of a list was read. */
START_TEST(added_later)
{
    struct conf_errors more = {0};
    char expected[800];

    put_file("l.conf", "listener x {\n address = {\"[::1]:25\",\n\"[::1]:26\"}\n role = mx }\n");
    put_file("mailring.conf", "hostname = mx.example\n\nuser = joe\ninclude(\"l.conf\")\n"
                              "domain b.example { to = mx }\ndomain a.example { to = mx }\n");
    ck_assert(conf_load(in_folder("mailring.conf"), &loaded.conf, &loaded.errors));
    const struct conf *c = loaded.conf;
    conf_errors_add(&more, c, &c->user, false, "nobody is called %s", c->user);
    conf_errors_add(&more, c, &c->listeners[0].address.items[1], true, "a\nb");
    conf_errors_add(&more, c, &c->spool, false, "the default");
    conf_errors_add(&more, c, &c->domains[0], false, "moved");
    ck_assert_uint_eq(more.count, 4);
    ck_assert_uint_eq(more.warning_count, 1);
    (void)snprintf(expected, sizeof(expected), "%s:3: nobody is called joe", c->file);
    ck_assert_str_eq(more.items[0].text, expected);
    (void)snprintf(expected, sizeof(expected), "%s:3: warning: a?b", in_folder("l.conf"));
    ck_assert_str_eq(more.items[1].text, expected);
    (void)snprintf(expected, sizeof(expected), "%s:1: the default", c->file);
    ck_assert_str_eq(more.items[2].text, expected);
    (void)snprintf(expected, sizeof(expected), "%s:1: moved", c->file);
    ck_assert_str_eq(more.items[3].text, expected);
    conf_errors_finish(&more);
}
END_TEST

/* Sanitizers see it if it is freed too early or not at all. */
START_TEST(references)
{
    const struct conf *c = load_good(GOOD "user = joe");
    const struct conf *mine = conf_ref(c);

    ck_assert_ptr_eq(mine, c);
    conf_free(loaded.conf);
    loaded.conf = NULL;
    ck_assert_str_eq(mine->user, "joe");
    conf_free(mine);
}
END_TEST

Suite *conf_errors_suite(void)
{
    Suite *suite = suite_create("conf_errors");
    TCase *tc = tcase_create("errors");

    tcase_add_checked_fixture(tc, folder_setup, folder_teardown);
    tcase_add_loop_test(tc, messages, 0, (int)ARRAY_LEN(cases));
    tcase_add_test(tc, no_file);
    tcase_add_test(tc, directory);
    tcase_add_test(tc, errors_add_up);
    tcase_add_test(tc, errors_have_an_end);
    tcase_add_test(tc, include_works);
    tcase_add_test(tc, include_twice);
    tcase_add_test(tc, include_errors);
    tcase_add_test(tc, include_missing);
    tcase_add_test(tc, include_cycle);
    tcase_add_test(tc, include_too_deep);
    tcase_add_test(tc, failures_leave_nothing);
    tcase_add_test(tc, environment);
    tcase_add_test(tc, added_later);
    tcase_add_test(tc, references);
    suite_add_tcase(suite, tc);
    return suite;
}
