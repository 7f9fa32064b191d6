#include "base_assert.h"
#include "conf_manual_priv.h"

const struct conf_manual_part conf_manual_before[] = {
    {.heading = {"Description", "DESCRIPTION"},
     .items =
         {
             {.text =
                  "The server reads its configuration when it starts, and does not start if anything "
                  "in it is wrong. \"mailring check\" says what is wrong, with file and line. The "
                  "smallest useful file is a host name and a domain:"},
             {.is_example = true,
              .text = "hostname = \"mx1.example.org\"\n"
                      "domain \"example.org\" { to = \"maildir:/var/mail/%d/%u\" }\n"},
         }},
    {.heading = {"Syntax", "SYNTAX"},
     .items =
         {
             {.text =
                  "A file is a sequence of settings, \"name = value\", and sections, \"name { "
                  "... }\" or \"name TITLE { ... }\", which hold settings and sections of their "
                  "own. Line ends mean nothing. # and // begin a comment that ends with the "
                  "line; /* and */ enclose one."},
             {.text =
                  "A value is a word, or a text in double or single quotes. Quotes are needed "
                  "for anything with spaces or one of # { } ( ) = + , * in it. In double quotes, "
                  "a backslash takes the next character as it is, and ${NAME} or "
                  "${NAME:-otherwise} stands for a variable of the environment."},
             {.text =
                  "A list is {value, value}; one value needs no braces. \"name += {value}\" adds "
                  "to a list that was set before. Other than that, a setting is set once."},
             {.text =
                  "include(\"FILE\") reads another file in its place, inside of sections too. A "
                  "name that does not begin with / is looked up beside the file that names it."},
             {.term = "Durations",
              .text = "A number and ms, s, m, h or d: \"90s\", \"4h\". A bare number is seconds."},
             {.term = "Sizes",
              .text = "A number and K, M or G, which are powers of 1024. A bare number is bytes."},
             {.term = "Names",
              .text = "Domains and host names are the same in upper and lower case. "
                      "Internationalised ones are written in their xn-- form."},
         }},
};
const size_t conf_manual_before_count = ARRAY_LEN(conf_manual_before);

const struct conf_manual_part conf_manual_after[] = {
    {.heading = {"Destinations", "DESTINATIONS"},
     .items =
         {
             {.text = "What \"to\" can be, in a domain and in a route. In a list there can be only "
                      "mx, smtp:// and lmtp, tried in this order."},
             {.term = "mx",
              .text = "The MX hosts of the recipient's domain, or the domain's own addresses if it "
                      "has none (RFC 5321 5.1)."},
             {.term = "smtp://HOST[:PORT]",
              .text =
                  "The addresses of a fixed host; its MX hosts do not matter. The port is 25 if "
                  "none is given. An IPv6 address stands in brackets: smtp://[2001:db8::1]:25."},
             {.term = "lmtp://HOST[:PORT]",
              .text =
                  "A mail store that speaks LMTP (RFC 2033), Dovecot for one; the port is 24 if "
                  "none is given. Each recipient has an outcome of his own. Addresses are passed "
                  "on as they are, subaddress and case included. TLS, limits and timeouts are "
                  "those of the route."},
             {.term = "lmtp+unix:/PATH",
              .text =
                  "The same over a socket in the file system, always in the clear. While nobody "
                  "listens there, the mail waits."},
             {.term = "maildir:/PATH",
              .text =
                  "A Maildir, which is made if it is missing. In the path, %u is the local part "
                  "of the address without its subaddress, %d is the domain, and %% a percent "
                  "sign."},
             {.term = "discard", .text = "Accepted and dropped."},
             {.term = "reject:TEXT", .text = "Refused for good, with this text."},
         }},
    {.heading = {"Tables", "TABLES"},
     .items =
         {
             {.text =
                  "What a setting calls a table lists something: recipients, aliases, destinations of "
                  "single recipients, who may send from which address. The setting takes one of "
                  "these, or a list of them, of which the first that has what is looked for counts. "
                  "Upper and lower case are the same. Tables are read at the start and at a reload, "
                  "those that have not changed only once."},
             {.term = "/PATH",
              .text =
                  "A text file with an entry a line: a key, and behind a space what it stands for, "
                  "where it stands for something. # begins a comment, alone or behind an entry."},
             {.term = "/PATH.cdb, cdb:/PATH",
              .text =
                  "A constant database, for very large tables: \"cdb -c -m FILE.cdb LIST\" of tinycdb "
                  "makes one of lines with a key, a space and a value; Postfix's \"postmap cdb:FILE\" and \"postalias cdb:FILE\" make FILE.cdb. Keys are in "
                  "lower case. It is copied into memory, so it may be replaced at any time (by "
                  "renaming a new one, as these programs do); a reload looks at the new one."},
             {.term = "an entry",
              .text =
                  "What does not begin with / or cdb:/ is itself an entry, as it would stand in a file: "
                  "virtual_aliases = \"info@example.org ann@example.org\"."},
         }},
    {.heading = {"Aliases", "ALIASES"},
     .items =
         {
             {.text =
                  "Virtual aliases come first, then the aliases of the recipient's domain; what they stand "
                  "for is looked up again. An alias that stands for itself too, as in \"ann: ann, "
                  "ann@phone.example\", is a recipient like others. \"mailring check\" warns of aliases that "
                  "lead nowhere or in a circle."},
             {.term = "aliases",
              .text =
                  "Entries are \"name: target, target\". A line that begins with a blank goes on with the one "
                  "before. A name is a local part, or an address where several domains share a file. A "
                  "target is a local part of the same domain, an address, either with a backslash before "
                  "it for the mailbox itself, or :include:/PATH for a file of targets, one a line or "
                  "separated by commas. Files and commands are no targets here. In a CDB, the key is "
                  "the name and the value its targets."},
             {.term = "virtual_aliases",
              .text =
                  "Entries are \"address target, target\", or \"@domain target\" for all of a domain that has "
                  "no entry of its own. Targets are addresses, or @domain for the same local part "
                  "there."},
         }},
    {.heading = {"Example", "EXAMPLE"},
     .items =
         {
             {.is_example = true,
              .text = "hostname   = \"mx1.example.org\"\n"
                      "relay_from = {\"127.0.0.0/8\", \"::1\"}\n"
                      "\n"
                      "listener \"mx\" { address = {\"0.0.0.0:25\", \"[::]:25\"} }\n"
                      "\n"
                      "domain \"example.org\" {\n"
                      "    to         = \"maildir:/var/mail/%d/%u\"\n"
                      "    recipients = \"/etc/mailring/example.org.recipients\"\n"
                      "    subaddress = \"+\"\n"
                      "}\n"
                      "domain \"backup.example\" { to = mx }\n"
                      "\n"
                      "route \"*.example.net\" { to = {\"smtp://a.example.com\", "
                      "\"smtp://b.example.com\"} }\n"
                      "route \"big.example\" { connections = 50 messages_per_minute = 6000 }\n"
                      "\n"
                      "retry { intervals = {\"5m\", \"20m\", \"1h\"} expire = \"3d\" }\n"},
         }},
    {.heading = {NULL, "SEE ALSO"}, .items = {{.text = "mailring(8)"}}},
};
const size_t conf_manual_after_count = ARRAY_LEN(conf_manual_after);
