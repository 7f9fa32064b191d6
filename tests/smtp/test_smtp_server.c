/* test_smtp_server: dialogs, each whole, octet by octet, and at every split in two. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>

#include "smtp_dialog.h"

#define GREETING "220 mx.example ESMTP\r\n"
#define EHLO_250                                                            \
    "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n" \
    "250 ENHANCEDSTATUSCODES\r\n"
#define GREETED GREETING EHLO_250
#define EHLO    "EHLO c.example\r\n"
#define MAIL_OK "250 2.1.0 Ok\r\n"
#define RCPT_OK "250 2.1.5 Ok\r\n"
#define OK      "250 2.0.0 Ok\r\n"
#define GO      "354 End data with <CRLF>.<CRLF>\r\n"
#define TAKEN   "250 2.0.0 Taken\r\n"
#define NEWLINE "550 5.6.0 Bare CR or LF in the message: lines end with CRLF only\r\n"
#define BAD     "500 5.5.2 Line too long, or not ended by CRLF alone\r\n"
#define UNKNOWN "500 5.5.2 Command not known\r\n"
#define MAIL    "MAIL FROM:<a@b>\r\n"
#define RCPT    "RCPT TO:<c@d>\r\n"
#define DATA    "DATA\r\n"
#define BEGIN   EHLO MAIL RCPT DATA
#define BEGUN   GREETED MAIL_OK RCPT_OK GO
#define DOT     ".\r\n"
#define A10     "aaaaaaaaaa"
#define A100    A10 A10 A10 A10 A10 A10 A10 A10 A10 A10
#define A500    A100 A100 A100 A100 A100

struct dialog_case {
    const char *what;
    const char *in;
    size_t in_len;
    const char *out;
    size_t out_len;
};
#define CASE(what, in, out)                            \
    {                                                  \
        what, in, sizeof(in) - 1, out, sizeof(out) - 1 \
    }

static const struct dialog_case plain[] = {
    CASE("nothing", "", GREETING),
    CASE("quit at once", "QUIT\r\n", GREETING "221 2.0.0 Bye\r\n{quit}\n"),
    CASE("nothing is looked at after QUIT", "QUIT\r\nNOOP\r\n",
         GREETING "221 2.0.0 Bye\r\n{quit}\n"),
    CASE("one message", BEGIN "S: x\r\n\r\n..dot\r\n" DOT "QUIT\r\n",
         BEGUN "{a@b>c@d|S: x\r\n\r\n.dot\r\n}\n" TAKEN "221 2.0.0 Bye\r\n{quit}\n"),
    CASE("two messages, the second empty", BEGIN "x\r\n" DOT MAIL RCPT DATA DOT,
         BEGUN "{a@b>c@d|x\r\n}\n" TAKEN MAIL_OK RCPT_OK GO "{a@b>c@d|}\n" TAKEN),
    CASE("any case, blanks at ends, null sender",
         "ehlo c\r\nmail from:<> \r\nRcpt  To: <PostMaster>\r\ndata \r\n" DOT,
         GREETED MAIL_OK RCPT_OK GO "{>PostMaster|}\n" TAKEN),
    CASE("HELO has no extensions", "HELO c\r\nMAIL FROM:<a@b> SIZE=1\r\n" MAIL,
         GREETING "250 mx.example\r\n555 5.5.4 Parameter not known\r\n" MAIL_OK),
    CASE("parameters", EHLO "MAIL FROM:<a@b> size=10 BODY=8bitmime\r\n" RCPT DATA DOT,
         GREETED MAIL_OK RCPT_OK GO "{a@b 8BITMIME SIZE=10>c@d|}\n" TAKEN),
    CASE("BODY=7BIT", EHLO "MAIL FROM:<a@b> BODY=7BIT\r\n", GREETED MAIL_OK),
    CASE("some recipients refused",
         EHLO MAIL "RCPT TO:<no@d>\r\nRCPT TO:<later@d>\r\n" RCPT "RCPT TO:<e@f>\r\n" DATA DOT,
         GREETED MAIL_OK "550 5.1.1 No such user\r\n450 4.2.1 Later\r\n" RCPT_OK RCPT_OK GO
                         "{a@b>c@d,e@f|}\n" TAKEN),
    CASE("all recipients refused", EHLO MAIL "RCPT TO:<no@d>\r\n" DATA RCPT DATA DOT,
         GREETED MAIL_OK "550 5.1.1 No such user\r\n554 5.5.1 No valid recipients\r\n" RCPT_OK GO
                         "{a@b>c@d|}\n" TAKEN),
    CASE("too many recipients", EHLO MAIL RCPT RCPT RCPT RCPT DATA DOT,
         GREETED MAIL_OK RCPT_OK RCPT_OK RCPT_OK "452 4.5.3 Too many recipients\r\n" GO
                                                 "{a@b>c@d,c@d,c@d|}\n" TAKEN),
    CASE("sender refused", EHLO "MAIL FROM:<no@b>\r\n" RCPT MAIL,
         GREETED "550 5.1.1 No such user\r\n503 5.5.1 MAIL first\r\n" MAIL_OK),
    CASE("out of order", MAIL RCPT DATA EHLO RCPT DATA MAIL MAIL DATA,
         GREETING "503 5.5.1 EHLO or HELO first\r\n503 5.5.1 EHLO or HELO first\r\n"
                  "503 5.5.1 EHLO or HELO first\r\n" EHLO_250
                  "503 5.5.1 MAIL first\r\n503 5.5.1 RCPT first\r\n" MAIL_OK
                  "503 5.5.1 Sender already given\r\n503 5.5.1 RCPT first\r\n"),
    CASE("RSET", EHLO MAIL RCPT "RSET\r\nRSET x\r\n" DATA MAIL RCPT DATA DOT,
         GREETED MAIL_OK RCPT_OK OK "{void}\n501 5.5.4 No argument allowed\r\n"
                                    "503 5.5.1 RCPT first\r\n" MAIL_OK RCPT_OK GO
                                    "{a@b>c@d|}\n" TAKEN),
    CASE("EHLO again voids", EHLO MAIL RCPT EHLO DATA,
         GREETED MAIL_OK RCPT_OK EHLO_250 "503 5.5.1 RCPT first\r\n"),
    CASE("EHLO refused changes nothing", EHLO MAIL "HELO evil\r\n" RCPT DATA DOT,
         GREETED MAIL_OK "550 5.7.1 Not you\r\n" RCPT_OK GO "{a@b>c@d|}\n" TAKEN),
    CASE("EHLO without a name, or with two", "EHLO\r\nHELO \r\nEHLO a b\r\nEHLO m\xc3\xbc\r\n",
         GREETING "501 5.5.4 A domain or an address literal is needed\r\n"
                  "501 5.5.4 A domain or an address literal is needed\r\n"
                  "501 5.5.4 A domain or an address literal is needed\r\n"
                  "501 5.5.4 A domain or an address literal is needed\r\n"),
    CASE("odd EHLO names pass", "EHLO [192.0.2.1]\r\nEHLO MY_PC\r\n", GREETED EHLO_250),
    CASE("the small verbs", "NOOP\r\nNOOP x\r\nVRFY a\r\nVRFY\r\nHELP\r\nEXPN a\r\n",
         GREETING OK OK "252 2.0.0 Send mail and see\r\n501 5.5.4 Syntax: VRFY address\r\n"
                        "214 2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT\r\n"
                        "502 5.5.1 Command not implemented\r\n"),
    CASE("not implemented", "STARTTLS\r\nAUTH PLAIN x\r\nBDAT 1 LAST\r\nETRN x\r\n",
         GREETING "502 5.5.1 Command not implemented\r\n502 5.5.1 Command not implemented\r\n"
                  "502 5.5.1 Command not implemented\r\n502 5.5.1 Command not implemented\r\n"),
    CASE("unknown", "XYZZY\r\n\r\n NOOP\r\nNOOPS\r\n", GREETING UNKNOWN UNKNOWN UNKNOWN UNKNOWN),
    CASE("path syntax",
         EHLO
         "MAIL FROM:a@b\r\nMAIL FROM <a@b>\r\nMAIL TO:<a@b>\r\nMAIL\r\nMAIL FROM:<a@b>x\r\n" MAIL
         "RCPT TO:<>\r\nRCPT TO:<a>\r\nRCPT TO:<m\xc3\xbc@d>\r\nRCPT TO:<c@d> X=1\r\n",
         GREETED
         "501 5.1.7 Syntax: MAIL FROM:<address>\r\n501 5.1.7 Syntax: MAIL FROM:<address>\r\n"
         "501 5.1.7 Syntax: MAIL FROM:<address>\r\n501 5.1.7 Syntax: MAIL FROM:<address>\r\n"
         "501 5.1.7 Syntax: MAIL FROM:<address>\r\n" MAIL_OK
         "501 5.1.3 Syntax: RCPT TO:<address>\r\n501 5.1.3 Syntax: RCPT TO:<address>\r\n"
         "553 5.6.7 Addresses beyond ASCII are not supported\r\n"
         "555 5.5.4 Parameter not known\r\n"),
    CASE("parameter syntax",
         EHLO "MAIL FROM:<a@b> SIZE\r\nMAIL FROM:<a@b> SIZE=\r\nMAIL FROM:<a@b> SIZE=x\r\n"
              "MAIL FROM:<a@b> SIZE=1 SIZE=1\r\nMAIL FROM:<a@b> BODY=9BIT\r\n"
              "MAIL FROM:<a@b> X=Y\r\nMAIL FROM:<a@b> X-=a=b\r\n",
         GREETED "501 5.5.4 Parameter value\r\n501 5.5.4 Parameter syntax\r\n"
                 "501 5.5.4 Parameter value\r\n501 5.5.4 Parameter syntax\r\n"
                 "501 5.5.4 Parameter value\r\n555 5.5.4 Parameter not known\r\n"
                 "501 5.5.4 Parameter syntax\r\n"),
    CASE("SIZE over the limit",
         EHLO "MAIL FROM:<a@b> SIZE=1001\r\n"
              "MAIL FROM:<a@b> SIZE=99999999999999999999\r\n"
              "MAIL FROM:<a@b> SIZE=1000\r\n",
         GREETED "552 5.3.4 Message too big\r\n552 5.3.4 Message too big\r\n" MAIL_OK),
    CASE("data of just the limit",
         BEGIN A500 A100 A100 A100 A100 A10 A10 A10 A10 A10 A10 A10 A10 A10 "aaaaaaaa\r\n" DOT,
         BEGUN "{a@b>c@d|" A500 A100 A100 A100 A100 A10 A10 A10 A10 A10 A10 A10 A10 A10
               "aaaaaaaa\r\n}\n" TAKEN),
    CASE("data over the limit is read and thrown away",
         BEGIN A500 A500 "\r\nQUIT\r\n" DOT "NOOP\r\n",
         BEGUN "{void}\n552 5.3.4 Message too big\r\n" OK),
    CASE("DATA refused keeps the envelope",
         EHLO MAIL "RCPT TO:<dataless@d>\r\n" DATA "NOOP\r\n" DATA,
         GREETED MAIL_OK RCPT_OK "451 4.3.0 No data now\r\n" OK "451 4.3.0 No data now\r\n"),
    CASE("body refused while it is read", EHLO MAIL "RCPT TO:<full@d>\r\n" DATA "x\r\n" DOT RCPT,
         GREETED MAIL_OK RCPT_OK GO "452 4.3.1 No space\r\n503 5.5.1 MAIL first\r\n"),
    CASE("421 from above ends it", EHLO "MAIL FROM:<shut@b>\r\nNOOP\r\n",
         GREETED "421 4.3.2 Shutting down\r\n{close}\n"),
    CASE("message limit", EHLO MAIL RCPT DATA DOT MAIL RCPT DATA DOT MAIL,
         GREETED MAIL_OK RCPT_OK GO "{a@b>c@d|}\n" TAKEN MAIL_OK RCPT_OK GO "{a@b>c@d|}\n" TAKEN
                                    "421 4.7.0 Enough messages on this connection\r\n{close}\n"),
    CASE("error limit; QUIT always works",
         "A\r\nB\r\nC\r\nD\r\nE\r\nF\r\nG\r\nH\r\nI\r\nJ\r\nQUIT\r\n",
         GREETING UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN
         "221 2.0.0 Bye\r\n{quit}\n"),
    CASE("too many errors", "A\r\nB\r\nC\r\nD\r\nE\r\nF\r\nG\r\nH\r\nI\r\nJ\r\nNOOP\r\nNOOP\r\n",
         GREETING UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN
         "421 4.7.0 Too many errors\r\n{close}\n"),
    CASE(
        "a message forgives errors",
        "A\r\nB\r\nC\r\nD\r\nE\r\nF\r\nG\r\n" BEGIN DOT "H\r\nI\r\nJ\r\nK\r\n",
        GREETING UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN UNKNOWN EHLO_250 MAIL_OK RCPT_OK GO
        "{a@b>c@d|}\n" TAKEN UNKNOWN UNKNOWN UNKNOWN UNKNOWN),
    CASE("idling limit",
         "NOOP\r\nNOOP\r\nNOOP\r\nRSET\r\nNOOP\r\nHELP\r\nVRFY a\r\nNOOP\r\nNOOP\r\n",
         GREETING OK OK OK OK "{void}\n" OK
                              "214 2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT\r\n"
                              "252 2.0.0 Send mail and see\r\n" OK
                              "421 4.7.0 Too many commands without a message\r\n{close}\n"),
};

/* Only CRLF ends a command. */
static const struct dialog_case lines[] = {
    CASE("bare LF", "NOOP\nNOOP\r\nNOOP\r\n", GREETING BAD OK),
    CASE("bare LF hides a command", EHLO "NOOP\n" MAIL RCPT,
         GREETED BAD "503 5.5.1 MAIL first\r\n"),
    CASE("only LF", "NOOP\nNOOP\nNOOP\n", GREETING BAD),
    CASE("LF in front", "\nNOOP\r\nNOOP\r\n", GREETING BAD OK),
    CASE("bare CR", "NOOP\rNOOP\r\nNOOP\r\n",
         GREETING "500 5.5.2 Bare CR or NUL in a command\r\n" OK),
    CASE("CR CR LF", "NOOP\r\r\nNOOP\r\n", GREETING "500 5.5.2 Bare CR or NUL in a command\r\n" OK),
    CASE("LF CR", "NOOP\n\rNOOP\r\nNOOP\r\n", GREETING BAD OK),
    CASE("LF CR LF", "NOOP\n\r\nNOOP\r\n", GREETING BAD OK),
    CASE("CR alone is only half a line end", "NOOP\r", GREETING),
    CASE("NUL", "NO\0OP\r\nMAIL FROM:<a\0@b>\r\n",
         GREETING "500 5.5.2 Bare CR or NUL in a command\r\n"
                  "500 5.5.2 Bare CR or NUL in a command\r\n"),
    CASE("as long as allowed", "NOOP " A500 "aaaaa\r\nNOOP\r\n", GREETING OK OK),
    CASE("too long", "NOOP " A500 "aaaaaa\r\nNOOP\r\n", GREETING BAD OK),
    CASE("much too long", "NOOP " A500 A500 "\rNOOP\n" A500 "\r\r\nNOOP\r\n", GREETING BAD OK),
    CASE("too long by its LF", "NOOP " A500 "aaaaaa\rNOOP\r\nNOOP\r\n", GREETING BAD OK),
    CASE("endless", A500 A500 A500, GREETING BAD),
    CASE("a browser", "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
         GREETING "554 5.5.1 This is SMTP\r\n{close}\n"),
    CASE("a browser, later", EHLO "POST / HTTP/1.1\r\n" MAIL,
         GREETED "554 5.5.1 This is SMTP\r\n{close}\n"),
    CASE("a proxy", "CONNECT mx.example:25 HTTP/1.1\r\n\r\n",
         GREETING "554 5.5.1 This is SMTP\r\n{close}\n"),
    CASE("TLS without STARTTLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
         GREETING "554 5.5.1 This is SMTP\r\n{close}\n"),
    CASE("binary", "\xff\xff\r\nNOOP\r\n", GREETING "554 5.5.1 This is SMTP\r\n{close}\n"),
    CASE("binary later is an unknown command", "NOOP\r\n\x16\x03\r\nNOOP\r\n",
         GREETING OK UNKNOWN OK),
};

/* What an attacker hopes that somebody takes for the end of the data, and commands behind it. */
#define SMUGGLED "MAIL FROM:<x@y>\r\nRCPT TO:<z@y>\r\nDATA\r\nsmuggled\r\n"
#define REFUSED(name, fake) \
    CASE(name, BEGIN "a" fake SMUGGLED DOT "NOOP\r\n", BEGUN "{void}\n" NEWLINE OK)

static const struct dialog_case smuggling[] = {
    REFUSED("LF dot LF", "\n.\n"),
    REFUSED("LF dot CRLF", "\n.\r\n"),
    REFUSED("CRLF dot LF", "\r\n.\n"),
    REFUSED("CR dot CR", "\r.\r"),
    REFUSED("CR dot LF", "\r.\n"),
    REFUSED("CR dot CRLF", "\r.\r\n"),
    REFUSED("CRLF dot CR", "\r\n.\r"),
    REFUSED("LF dot CR", "\n.\r"),
    REFUSED("CRLF dot CR CRLF", "\r\n.\r\r\n"),
    REFUSED("CRLF dot CR CR LF in front", "\r\n.\r\r\n.\n"),
    REFUSED("CR CRLF dot LF", "\r\r\n.\n"),
    REFUSED("LF CR dot CRLF", "\n\r.\r\n"),
    REFUSED("LF CR dot LF CR", "\n\r.\n\r"),
    REFUSED("one LF anywhere", "\n"),
    REFUSED("one CR anywhere", "\rb"),
    CASE("CRLF NUL dot CRLF", BEGIN "a\r\n\0.\r\n" SMUGGLED DOT "NOOP\r\n",
         BEGUN "{a@b>c@d|a\r\n\0.\r\n" SMUGGLED "}\n" TAKEN OK),
    CASE("CRLF dot blank CRLF is only stuffing", BEGIN "a\r\n. \r\n" SMUGGLED DOT "NOOP\r\n",
         BEGUN "{a@b>c@d|a\r\n \r\n" SMUGGLED "}\n" TAKEN OK),
    CASE("CRLF blank dot CRLF", BEGIN "a\r\n .\r\n" SMUGGLED DOT "NOOP\r\n",
         BEGUN "{a@b>c@d|a\r\n .\r\n" SMUGGLED "}\n" TAKEN OK),
    CASE("CRLF dot dot CRLF", BEGIN "a\r\n..\r\n" SMUGGLED DOT "NOOP\r\n",
         BEGUN "{a@b>c@d|a\r\n.\r\n" SMUGGLED "}\n" TAKEN OK),
    CASE("too big as well", BEGIN A500 A500 "a\r\na\nb\r\n" DOT "NOOP\r\n",
         BEGUN "{void}\n" NEWLINE OK),
    CASE("the refused message's true end is the end", BEGIN "a\nb\r\n" DOT MAIL RCPT DATA DOT,
         BEGUN "{void}\n" NEWLINE MAIL_OK RCPT_OK GO "{a@b>c@d|}\n" TAKEN),
};

#define MENDED(name, fake, became)                     \
    CASE(name, BEGIN "a" fake SMUGGLED DOT "NOOP\r\n", \
         BEGUN "{a@b>c@d|a" became SMUGGLED "}\n" TAKEN OK)

static const struct dialog_case normalizing[] = {
    MENDED("LF dot LF", "\n.\n", "\r\n.\r\n"),
    MENDED("LF dot CRLF", "\n.\r\n", "\r\n.\r\n"),
    MENDED("CRLF dot LF", "\r\n.\n", "\r\n\r\n"),
    MENDED("CR dot CR", "\r.\r", " . "),
    MENDED("CR dot LF", "\r.\n", " .\r\n"),
    MENDED("CR dot CRLF", "\r.\r\n", " .\r\n"),
    MENDED("CRLF dot CR", "\r\n.\r", "\r\n "),
    MENDED("LF dot CR", "\n.\r", "\r\n. "),
    MENDED("CRLF dot CR CRLF", "\r\n.\r\r\n", "\r\n \r\n"),
    MENDED("LF CR dot CRLF", "\n\r.\r\n", "\r\n .\r\n"),
    MENDED("CR CR LF", "\r\r\n", " \r\n"),
    CASE("commands are as strict as ever", "NOOP\nNOOP\r\nNOOP\r\n", GREETING BAD OK),
};

static void check_options(const struct dialog_case *c, const struct smtp_server_options *options)
{
    FEED_EACH_CUT(cut, c->in_len)
    {
        struct buf transcript;

        buf_init(&transcript, 0);
        dialog_run(options, slice_of(c->in, c->in_len), cut, &transcript);
        ck_assert_msg(slice_equal(buf_slice(&transcript), slice_of(c->out, c->out_len)),
                      "%s (cut %d at %zu):\n%.*s", c->what, (int)cut.kind, cut.at,
                      SLICE_ARG(buf_slice(&transcript)));
        buf_finish(&transcript);
    }
}

#define EXTENDED                                                            \
    "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n" \
    "250-ENHANCEDSTATUSCODES\r\n"
#define CLEAR_250   EXTENDED "250 STARTTLS\r\n"
#define LOGIN_250   EXTENDED "250-STARTTLS\r\n250 AUTH LOGIN\r\n"
#define SECURE_250  EXTENDED "250-AUTH PLAIN LOGIN\r\n250 REQUIRETLS\r\n"
#define STARTTLS    "STARTTLS\r\n"
#define READY       "220 2.0.0 Ready to start TLS\r\n{tls}\n"
#define TLS         EHLO STARTTLS EHLO
#define IN_TLS      GREETING CLEAR_250 READY SECURE_250
#define LOGGED_IN   "235 2.7.0 Authentication succeeded\r\n"
#define WRONG       "535 5.7.8 Wrong\r\n"
#define TLS_FIRST   "530 5.7.0 Must issue a STARTTLS command first\r\n"
#define LOGIN_FIRST "530 5.7.0 Authentication required\r\n"
#define CANCELLED   "501 5.7.0 Authentication cancelled\r\n{cancel}\n"

/* STARTTLS offered, AUTH under TLS only. */
static const struct dialog_case secure[] = {
    CASE("STARTTLS", TLS MAIL "HELP\r\n",
         IN_TLS MAIL_OK "214 2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT AUTH\r\n"),
    CASE("what was said before is forgotten", EHLO STARTTLS MAIL,
         GREETING CLEAR_250 READY "503 5.5.1 EHLO or HELO first\r\n"),
    CASE("STARTTLS without EHLO", STARTTLS EHLO, GREETING READY SECURE_250),
    CASE("STARTTLS with an argument", EHLO "STARTTLS now\r\nHELP\r\n",
         GREETING CLEAR_250 "501 5.5.4 No argument allowed\r\n"
                            "214 2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT "
                            "STARTTLS\r\n"),
    CASE("not twice", TLS STARTTLS, IN_TLS "503 5.5.1 TLS is active already\r\n"),
    CASE("not within a transaction", EHLO MAIL STARTTLS RCPT,
         GREETING CLEAR_250 MAIL_OK "503 5.5.1 Not within a transaction\r\n" RCPT_OK),
    CASE("not now", "EHLO later\r\n" STARTTLS MAIL,
         GREETING CLEAR_250 "454 4.7.0 Not now\r\n" MAIL_OK),
    CASE("TLS in TLS is noise", EHLO STARTTLS "\x16\x03\x01",
         GREETING CLEAR_250 READY "554 5.5.1 This is SMTP\r\n{close}\n"),
    CASE("AUTH in the clear", EHLO "AUTH PLAIN yes\r\nAUTH plain\r\nAUTH CRAM-MD5\r\n",
         GREETING CLEAR_250 "538 5.7.11 Encryption is needed for this mechanism\r\n"
                            "538 5.7.11 Encryption is needed for this mechanism\r\n"
                            "504 5.5.4 Mechanism not known\r\n"),
    CASE("AUTH before EHLO", "AUTH PLAIN yes\r\n", GREETING "503 5.5.1 EHLO or HELO first\r\n"),
    CASE("initial response", TLS "AUTH PLAIN yes\r\n" MAIL,
         IN_TLS "{auth PLAIN yes}\n" LOGGED_IN MAIL_OK),
    CASE("the list's spelling", TLS "auth\tx\r\nauth plain  yes \r\n",
         IN_TLS "504 5.5.4 Mechanism not known\r\n{auth PLAIN yes}\n" LOGGED_IN),
    CASE("challenges", TLS "AUTH LOGIN\r\nuser\r\nyes\r\nNOOP\r\n",
         IN_TLS "{auth LOGIN}\n334 \r\n{user}\n334 bW9yZQ==\r\n{yes}\n" LOGGED_IN OK),
    CASE("an empty initial response, and an empty response", TLS "AUTH PLAIN =\r\n\r\n=\r\nyes\r\n",
         IN_TLS
         "{auth PLAIN =}\n334 \r\n{}\n334 bW9yZQ==\r\n{=}\n334 bW9yZQ==\r\n{yes}\n" LOGGED_IN),
    CASE("commands are responses meanwhile", TLS "AUTH LOGIN\r\nQUIT\r\nRSET\r\n*\r\nNOOP\r\n",
         IN_TLS
         "{auth LOGIN}\n334 \r\n{QUIT}\n334 bW9yZQ==\r\n{RSET}\n334 bW9yZQ==\r\n" CANCELLED OK),
    CASE("no, later, and yes",
         TLS "AUTH PLAIN no\r\nAUTH PLAIN later\r\nAUTH LOGIN\r\nno\r\nAUTH PLAIN yes\r\n",
         IN_TLS "{auth PLAIN no}\n" WRONG
                "{auth PLAIN later}\n454 4.7.0 Not now\r\n{auth LOGIN}\n334 \r\n{no}\n" WRONG
                "{auth PLAIN yes}\n" LOGGED_IN),
    CASE("421 to a login", TLS "AUTH PLAIN shut\r\nNOOP\r\n",
         IN_TLS "{auth PLAIN shut}\n421 4.3.2 Shutting down\r\n{close}\n"),
    CASE("syntax", TLS "AUTH\r\nAUTH PLAIN a b\r\nAUTH PLAIN a\tb\r\nAUTH PLAINS\r\nAUTH PLAI\r\n",
         IN_TLS "501 5.5.4 Syntax: AUTH mechanism [initial response]\r\n"
                "501 5.5.4 Syntax: AUTH mechanism [initial response]\r\n"
                "501 5.5.4 Syntax: AUTH mechanism [initial response]\r\n"
                "504 5.5.4 Mechanism not known\r\n504 5.5.4 Mechanism not known\r\n"),
    CASE("one login", TLS "AUTH PLAIN yes\r\nAUTH PLAIN yes\r\n" EHLO "AUTH PLAIN yes\r\n",
         IN_TLS "{auth PLAIN yes}\n" LOGGED_IN "503 5.5.1 Logged in already\r\n" SECURE_250
                "503 5.5.1 Logged in already\r\n"),
    CASE("not within a transaction", TLS MAIL "AUTH PLAIN yes\r\n" RCPT,
         IN_TLS MAIL_OK "503 5.5.1 Not within a transaction\r\n" RCPT_OK),
    CASE(
        "wrong passwords are errors",
        TLS
        "AUTH PLAIN no\r\nAUTH PLAIN no\r\nAUTH PLAIN no\r\nAUTH PLAIN no\r\nAUTH LOGIN\r\n*\r\nAUTH PLAIN no\r\n",
        IN_TLS "{auth PLAIN no}\n" WRONG "{auth PLAIN no}\n" WRONG "{auth PLAIN no}\n" WRONG
               "{auth PLAIN no}\n" WRONG "{auth LOGIN}\n334 \r\n" CANCELLED
               "421 4.7.0 Too many errors\r\n{close}\n"),
    CASE("logins that fail for now are counted too",
         TLS "AUTH PLAIN later\r\nAUTH PLAIN later\r\nAUTH PLAIN later\r\nAUTH PLAIN later\r\n"
             "AUTH PLAIN later\r\nAUTH PLAIN later\r\n",
         IN_TLS "{auth PLAIN later}\n454 4.7.0 Not now\r\n{auth PLAIN later}\n454 4.7.0 Not now\r\n"
                "{auth PLAIN later}\n454 4.7.0 Not now\r\n{auth PLAIN later}\n454 4.7.0 Not now\r\n"
                "{auth PLAIN later}\n454 4.7.0 Not now\r\n"
                "421 4.7.0 Too many commands without a message\r\n{close}\n"),
    CASE("a response that is no line",
         TLS "AUTH LOGIN\r\nus\ner\r\nNOOP\r\nAUTH LOGIN\r\nu\rser\r\nNOOP\r\n",
         IN_TLS "{auth LOGIN}\n334 \r\n" BAD "{cancel}\n" OK "{auth LOGIN}\n334 \r\n"
                "500 5.5.2 Bare CR or NUL in a command\r\n{cancel}\n" OK),
    CASE("longer than a command may be", TLS "AUTH PLAIN " A500 A500 "\r\nyes\r\n",
         IN_TLS "{auth PLAIN " A500 A500 "}\n334 \r\n{yes}\n" LOGGED_IN),
    CASE("the same as a response",
         TLS "AUTH LOGIN\r\n" A500 A500 "\r\nyes\r\nNOOP " A500 A500 "\r\n",
         IN_TLS "{auth LOGIN}\n334 \r\n{" A500 A500 "}\n334 bW9yZQ==\r\n{yes}\n" LOGGED_IN BAD),
    CASE("AUTH= of MAIL",
         TLS "MAIL FROM:<a@b> AUTH=e+3D@b\r\n" RCPT DATA DOT "MAIL FROM:<a@b> AUTH=<>\r\n",
         IN_TLS MAIL_OK RCPT_OK GO "{a@b AUTH=e+3D@b>c@d|}\n" TAKEN MAIL_OK),
    CASE("AUTH= where no AUTH is offered", EHLO "MAIL FROM:<a@b> AUTH=<>\r\n",
         GREETING CLEAR_250 "555 5.5.4 Parameter not known\r\n"),
    CASE("REQUIRETLS",
         TLS "MAIL FROM:<a@b> REQUIRETLS\r\n" RCPT DATA DOT "MAIL FROM:<a@b> REQUIRETLS=1\r\n",
         IN_TLS MAIL_OK RCPT_OK GO "{a@b REQUIRETLS>c@d|}\n" TAKEN "501 5.5.4 Parameter value\r\n"),
    CASE("REQUIRETLS in the clear", EHLO "MAIL FROM:<a@b> REQUIRETLS\r\n" MAIL,
         GREETING CLEAR_250 "530 5.7.10 REQUIRETLS needs TLS\r\n" MAIL_OK),
    CASE("HELO under TLS has no extensions",
         EHLO STARTTLS "HELO c\r\nMAIL FROM:<a@b> REQUIRETLS\r\n",
         GREETING CLEAR_250 READY "250 mx.example\r\n555 5.5.4 Parameter not known\r\n"),
};

/* TLS, and then a login, before mail. */
static const struct dialog_case submission[] = {
    CASE("in the clear", EHLO MAIL RCPT DATA "AUTH PLAIN yes\r\nVRFY a\r\n",
         GREETING CLEAR_250 TLS_FIRST TLS_FIRST TLS_FIRST TLS_FIRST TLS_FIRST),
    CASE("what goes", "HELO c\r\nNOOP\r\nRSET\r\nX\r\nETRN x\r\nQUIT\r\n",
         GREETING "250 mx.example\r\n" OK OK "{void}\n" UNKNOWN
                  "502 5.5.1 Command not implemented\r\n221 2.0.0 Bye\r\n{quit}\n"),
    CASE("without a login", TLS MAIL RCPT "VRFY a\r\n",
         IN_TLS LOGIN_FIRST "503 5.5.1 MAIL first\r\n" LOGIN_FIRST),
    CASE("with", TLS "AUTH PLAIN no\r\n" MAIL "AUTH PLAIN yes\r\n" MAIL RCPT DATA DOT MAIL,
         IN_TLS "{auth PLAIN no}\n" WRONG LOGIN_FIRST
                "{auth PLAIN yes}\n" LOGGED_IN MAIL_OK RCPT_OK GO "{a@b>c@d|}\n" TAKEN MAIL_OK),
};

/* Logins in the clear, by LOGIN alone. */
static const struct dialog_case clear_login[] = {
    CASE("offered", EHLO "AUTH PLAIN yes\r\nAUTH LOGIN yes\r\n" STARTTLS,
         GREETING LOGIN_250 "538 5.7.11 Encryption is needed for this mechanism\r\n"
                            "{auth LOGIN yes}\n" LOGGED_IN "503 5.5.1 Too late after AUTH\r\n"),
    CASE("and more under TLS", TLS "AUTH PLAIN yes\r\n",
         GREETING LOGIN_250 READY SECURE_250 "{auth PLAIN yes}\n" LOGGED_IN),
};

#define DSN_250   EXTENDED "250 DSN\r\n"
#define IN_DSN    GREETING DSN_250
#define BAD_VALUE "501 5.5.4 Parameter value\r\n"
#define TWICE     "501 5.5.4 Parameter syntax\r\n"
#define NO_SUCH   "555 5.5.4 Parameter not known\r\n"

static const struct dialog_case dsn[] = {
    CASE(
        "all of it",
        EHLO "MAIL FROM:<a@b> RET=HDRS ENVID=QQ+2B314 SIZE=5\r\n"
             "RCPT TO:<c@d> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;C+2Bx@d\r\n"
             "RCPT TO:<e@f> notify=never\r\n" RCPT DATA DOT,
        IN_DSN MAIL_OK RCPT_OK RCPT_OK RCPT_OK GO
        "{a@b SIZE=5 RET=HDRS ENVID=QQ+2B314>c@d NOTIFY=a ORCPT=rfc822;C+2Bx@d,e@f NOTIFY=1,c@d|}\n" TAKEN),
    CASE("any case", EHLO "MAIL FROM:<> ret=full\r\nRCPT TO:<c@d> oRcPt=RFC822;c@d\r\n" DATA DOT,
         IN_DSN MAIL_OK RCPT_OK GO "{ RET=FULL>c@d ORCPT=RFC822;c@d|}\n" TAKEN),
    CASE("utf-8 in seven bits", EHLO MAIL "RCPT TO:<c@d> ORCPT=utf-8;\\x{FC}@d\r\n" DATA DOT,
         IN_DSN MAIL_OK RCPT_OK GO "{a@b>c@d ORCPT=utf-8;\\x{FC}@d|}\n" TAKEN),
    CASE("utf-8 in eight needs SMTPUTF8", EHLO MAIL "RCPT TO:<c@d> ORCPT=utf-8;\xc3\xbc@d\r\n",
         IN_DSN MAIL_OK TWICE),
    CASE("values that are none",
         EHLO
         "MAIL FROM:<a@b> RET=ALL\r\nMAIL FROM:<a@b> RET\r\nMAIL FROM:<a@b> ENVID=a+0A\r\n" MAIL
         "RCPT TO:<c@d> NOTIFY=NEVER,SUCCESS\r\n",
         IN_DSN BAD_VALUE BAD_VALUE BAD_VALUE MAIL_OK BAD_VALUE),
    CASE("values that are none, of RCPT",
         EHLO MAIL "RCPT TO:<c@d> NOTIFY\r\nRCPT TO:<c@d> ORCPT=c@d\r\n"
                   "RCPT TO:<c@d> ORCPT=rfc822;\r\nRCPT TO:<c@d> NOTIFY=\r\n" RCPT,
         IN_DSN MAIL_OK BAD_VALUE BAD_VALUE BAD_VALUE TWICE RCPT_OK),
    CASE("twice",
         EHLO "MAIL FROM:<a@b> RET=FULL RET=FULL\r\nMAIL FROM:<a@b> ENVID=a ENVID=b\r\n" MAIL
              "RCPT TO:<c@d> NOTIFY=DELAY NOTIFY=DELAY\r\n"
              "RCPT TO:<c@d> ORCPT=rfc822;a ORCPT=rfc822;a\r\n" RCPT,
         IN_DSN TWICE TWICE MAIL_OK TWICE TWICE RCPT_OK),
    CASE("each with its verb",
         EHLO "MAIL FROM:<a@b> NOTIFY=NEVER\r\nMAIL FROM:<a@b> ORCPT=rfc822;a\r\n" MAIL
              "RCPT TO:<c@d> RET=FULL\r\nRCPT TO:<c@d> ENVID=a\r\n" RCPT,
         IN_DSN NO_SUCH NO_SUCH MAIL_OK NO_SUCH NO_SUCH RCPT_OK),
    CASE("not after HELO",
         "HELO c\r\nMAIL FROM:<a@b> RET=FULL\r\n" MAIL "RCPT TO:<c@d> NOTIFY=NEVER\r\n",
         GREETING "250 mx.example\r\n" NO_SUCH MAIL_OK NO_SUCH),
    CASE("the longest",
         EHLO "MAIL FROM:<a@b> ENVID=" A100 "\r\nRCPT TO:<c@d> ORCPT=rfc822;" A100 A100 A100 A100
             A10 A10 A10 A10 A10 A10 A10 A10 A10 "aaa\r\n",
         IN_DSN MAIL_OK RCPT_OK),
    CASE("longer",
         EHLO "MAIL FROM:<a@b> ENVID=" A100 "a\r\n" MAIL
              "RCPT TO:<c@d> ORCPT=rfc822;" A100 A100 A100 A100 A10 A10 A10 A10 A10 A10 A10 A10 A10
              "aaaa\r\n",
         IN_DSN BAD_VALUE MAIL_OK BAD_VALUE),
};

START_TEST(test_dsn)
{
    const struct smtp_server_options options = {
        .hostname = SLICE_LITERAL("mx.example"),
        .extensions = SMTP_EXT_SERVER | SMTP_EXT_SERVER_KEPT,
        .line_max = 1024,
        .message_size_max = 1000,
        .errors_max = 9,
    };

    check_options(&dsn[_i], &options);
}
END_TEST

START_TEST(test_dsn_not_offered)
{
    static const struct dialog_case row = CASE(
        "not offered", EHLO "MAIL FROM:<a@b> RET=FULL\r\n" MAIL "RCPT TO:<c@d> NOTIFY=NEVER\r\n",
        GREETED NO_SUCH MAIL_OK NO_SUCH);
    const struct smtp_server_options options = {
        .hostname = SLICE_LITERAL("mx.example"),
        .extensions = SMTP_EXT_SERVER,
        .message_size_max = 1000,
    };

    check_options(&row, &options);
}
END_TEST

static void check_secure(const struct dialog_case *c, struct smtp_server_options options)
{
    options.hostname = SLICE_LITERAL("mx.example");
    options.extensions = SMTP_EXT_SERVER | SMTP_EXT_SERVER_SECURE;
    options.line_max = 512;
    options.message_size_max = 1000;
    options.errors_max = 5;
    options.idle_commands_max = 8;
    options.mechanisms = SLICE_LITERAL("PLAIN LOGIN");
    check_options(c, &options);
}

START_TEST(test_secure)
{
    check_secure(&secure[_i], (struct smtp_server_options){0});
}
END_TEST

START_TEST(test_submission)
{
    check_secure(&submission[_i],
                 (struct smtp_server_options){.tls_required = true, .auth_required = true});
}
END_TEST

START_TEST(test_clear_login)
{
    check_secure(&clear_login[_i],
                 (struct smtp_server_options){.mechanisms_clear = SLICE_LITERAL("LOGIN")});
}
END_TEST

/* The longest line of a login, and one octet more. */
START_TEST(test_auth_line)
{
    const struct smtp_server_options options = {
        .hostname = SLICE_LITERAL("mx.example"),
        .extensions = SMTP_EXT_SERVER | SMTP_EXT_SERVER_SECURE,
        .mechanisms = SLICE_LITERAL("LOGIN"),
    };
    static const size_t more[] = {0, 1, SMTP_AUTH_LINE_MAX - SMTP_AUTH_RESPONSE_MAX};
    size_t len = SMTP_AUTH_RESPONSE_MAX + more[_i];
    struct smtp_server s;
    struct buf in, out;
    struct slice left;

    buf_init(&in, 0);
    buf_init(&out, 0);
    smtp_server_init(&s, &options);
    smtp_server_secured(&s);
    left = SLICE_LITERAL("EHLO c\r\nAUTH LOGIN\r\n");
    ck_assert_int_eq(smtp_server_next(&s, &left, &out), SMTP_CHECK_HELO);
    smtp_server_answer(&s, NULL, &out);
    ck_assert_int_eq(smtp_server_next(&s, &left, &out), SMTP_AUTH);
    smtp_server_challenge(&s, SLICE_NULL, &out);
    memset(buf_reserve(&in, len), 'A', len);
    buf_commit(&in, len);
    left = buf_slice(&in);
    if (_i <= 1) { /* else there is no need to wait for an end */
        ck_assert_int_eq(smtp_server_next(&s, &left, &out), SMTP_NEED_INPUT);
        (void)buf_append_str(&in, "\r\nNOOP\r\n");
        left = buf_slice(&in);
    }
    buf_clear(&out);
    ck_assert_int_eq(smtp_server_next(&s, &left, &out),
                     _i == 0 ? SMTP_AUTH_RESPONSE : SMTP_AUTH_CANCEL);
    if (_i == 0) {
        ck_assert_uint_eq(s.response.len, len);
        smtp_server_answer(&s, NULL, &out);
        ck_assert(s.authenticated);
    } else {
        ck_assert(slice_equal(buf_slice(&out),
                              slice_str("500 5.5.6 Authentication exchange line is too long\r\n")));
        ck_assert(!s.authenticated);
    }
    if (_i <= 1) {
        ck_assert_int_eq(smtp_server_next(&s, &left, &out), SMTP_REPLIED);
        ck_assert_uint_eq(left.len, 0);
    } else {
        ck_assert_int_eq(smtp_server_next(&s, &left, &out), SMTP_NEED_INPUT);
        ck_assert_uint_eq(left.len, 0);
    }
    buf_finish(&in);
    buf_finish(&out);
}
END_TEST

/* During the handshake the engine has nothing to say. */
START_TEST(test_close_while_securing)
{
    const struct smtp_server_options options = {.hostname = SLICE_LITERAL("mx.example"),
                                                .extensions = SMTP_EXT_STARTTLS};
    struct smtp_server s;
    struct slice in = SLICE_LITERAL("STARTTLS\r\nMAIL FROM:<injected@x>\r\n");
    struct buf out;

    buf_init(&out, 0);
    smtp_server_init(&s, &options);
    ck_assert_int_eq(smtp_server_next(&s, &in, &out), SMTP_STARTTLS);
    smtp_server_answer(&s, NULL, &out);
    ck_assert_uint_eq(in.len, 24); /* what was written ahead is there to be seen */
    smtp_server_close(&s, &SMTP_REPLY(421, 4, 3, 2, "Shutting down"), &out);
    smtp_server_secured(&s);
    ck_assert(!s.tls_active);
    ck_assert_int_eq(smtp_server_next(&s, &in, &out), SMTP_CLOSE);
    ck_assert(slice_equal(buf_slice(&out), slice_str("220 Ready to start TLS\r\n")));
    buf_finish(&out);
}
END_TEST

/* To go on in the clear after 220 is a bug of the caller. */
START_TEST(test_unsecured)
{
    const struct smtp_server_options options = {.hostname = SLICE_LITERAL("mx.example"),
                                                .extensions = SMTP_EXT_STARTTLS};
    struct smtp_server s;
    struct slice in = SLICE_LITERAL("STARTTLS\r\nNOOP\r\n");
    struct buf out;

    buf_init(&out, 0);
    smtp_server_init(&s, &options);
    ck_assert_int_eq(smtp_server_next(&s, &in, &out), SMTP_STARTTLS);
    smtp_server_answer(&s, NULL, &out);
    (void)smtp_server_next(&s, &in, &out); /* dies */
}
END_TEST

/* A caller's own list, for one session. */
START_TEST(test_own_mechanisms)
{
    const struct smtp_server_options options = {
        .hostname = SLICE_LITERAL("mx.example"),
        .extensions = SMTP_EXT_SERVER_SECURE,
        .mechanisms = SLICE_LITERAL("PLAIN"),
    };
    struct smtp_server s;
    struct slice in = SLICE_LITERAL("EHLO c\r\nAUTH EXTERNAL =\r\n");
    struct buf out;

    buf_init(&out, 0);
    smtp_server_init(&s, &options);
    smtp_server_secured(&s);
    s.mechanisms = SLICE_LITERAL("EXTERNAL PLAIN");
    ck_assert_int_eq(smtp_server_next(&s, &in, &out), SMTP_CHECK_HELO);
    smtp_server_answer(&s, NULL, &out);
    ck_assert(
        slice_equal(buf_slice(&out),
                    slice_str("250-mx.example\r\n250-AUTH EXTERNAL PLAIN\r\n250 REQUIRETLS\r\n")));
    ck_assert_int_eq(smtp_server_next(&s, &in, &out), SMTP_AUTH);
    ck_assert(slice_equal(s.mechanism, SLICE_LITERAL("EXTERNAL")));
    ck_assert(s.has_response && s.response.len == 0);
    buf_finish(&out);
}
END_TEST

static void check_dialog(const struct dialog_case *c, enum smtp_bare_newline mode)
{
    const struct smtp_server_options options = {
        .hostname = SLICE_LITERAL("mx.example"),
        .extensions = SMTP_EXT_SERVER,
        .line_max = 512,
        .message_size_max = 1000,
        .recipients_max = 3,
        .errors_max = 10,
        .idle_commands_max = 8,
        .messages_max = 2,
        .bare_newline = mode,
    };

    check_options(c, &options);
}

START_TEST(test_plain)
{
    check_dialog(&plain[_i], SMTP_BARE_NEWLINE_REJECT);
}
END_TEST

START_TEST(test_lines)
{
    check_dialog(&lines[_i], SMTP_BARE_NEWLINE_REJECT);
}
END_TEST

START_TEST(test_smuggling)
{
    check_dialog(&smuggling[_i], SMTP_BARE_NEWLINE_REJECT);
}
END_TEST

START_TEST(test_normalizing)
{
    check_dialog(&normalizing[_i], SMTP_BARE_NEWLINE_NORMALIZE);
}
END_TEST

START_TEST(test_without_extensions)
{
    const struct smtp_server_options options = {.hostname = SLICE_LITERAL("mx.example")};
    struct slice in = SLICE_LITERAL("EHLO c\r\nMAIL FROM:<a@b> SIZE=1\r\n");
    struct buf out;

    buf_init(&out, 0);
    dialog_run(&options, in, (struct feed_cut){FEED_WHOLE, 0}, &out);
    ck_assert(slice_equal(buf_slice(&out), slice_str(GREETING "250 mx.example\r\n"
                                                              "555 Parameter not known\r\n")));
    buf_finish(&out);
}
END_TEST

START_TEST(test_close)
{
    const struct smtp_server_options options = {.hostname = SLICE_LITERAL("mx.example")};
    struct smtp_server s;
    struct slice in = SLICE_LITERAL("NOOP\r\n");
    struct buf out;

    buf_init(&out, 0);
    smtp_server_init(&s, &options);
    smtp_server_close(&s, &SMTP_REPLY(554, 5, 7, 1, "Go away"), &out);
    smtp_server_close(&s, &SMTP_REPLY(421, 4, 4, 2, "Again"), &out);
    ck_assert_int_eq(smtp_server_next(&s, &in, &out), SMTP_CLOSE);
    ck_assert_uint_eq(in.len, 6);
    ck_assert(slice_equal(buf_slice(&out), slice_str("554 Go away\r\n")));
    buf_finish(&out);
}
END_TEST

/* Closed while the caller thinks about an intent: his answer comes too late. */
START_TEST(test_close_unanswered)
{
    const struct smtp_server_options options = {.hostname = SLICE_LITERAL("mx.example")};
    struct smtp_server s;
    struct slice in = SLICE_LITERAL("EHLO a\r\nNOOP\r\n");
    struct buf out;

    buf_init(&out, 0);
    smtp_server_init(&s, &options);
    ck_assert_int_eq(smtp_server_next(&s, &in, &out), SMTP_CHECK_HELO);
    smtp_server_close(&s, &SMTP_REPLY(421, 4, 3, 2, "Shutting down"), &out);
    smtp_server_answer(&s, NULL, &out);
    ck_assert_int_eq(smtp_server_next(&s, &in, &out), SMTP_CLOSE);
    ck_assert(slice_equal(buf_slice(&out), slice_str("421 Shutting down\r\n")));
    buf_finish(&out);
}
END_TEST

/* Asked twice without an answer between: a bug of the caller. */
START_TEST(test_unanswered)
{
    const struct smtp_server_options options = {.hostname = SLICE_LITERAL("mx.example")};
    struct smtp_server s;
    struct slice in = SLICE_LITERAL("EHLO a\r\nNOOP\r\n");
    struct buf out;

    buf_init(&out, 0);
    smtp_server_init(&s, &options);
    ck_assert_int_eq(smtp_server_next(&s, &in, &out), SMTP_CHECK_HELO);
    (void)smtp_server_next(&s, &in, &out); /* dies */
}
END_TEST

Suite *smtp_server_suite(void)
{
    Suite *s = suite_create("smtp_server");
    TCase *t = tcase_create("server");

    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, test_plain, 0, sizeof(plain) / sizeof(plain[0]));
    tcase_add_loop_test(t, test_lines, 0, sizeof(lines) / sizeof(lines[0]));
    tcase_add_loop_test(t, test_smuggling, 0, sizeof(smuggling) / sizeof(smuggling[0]));
    tcase_add_loop_test(t, test_normalizing, 0, sizeof(normalizing) / sizeof(normalizing[0]));
    tcase_add_test(t, test_without_extensions);
    tcase_add_test(t, test_close);
    tcase_add_test(t, test_close_unanswered);
    tcase_add_loop_test(t, test_secure, 0, sizeof(secure) / sizeof(secure[0]));
    tcase_add_loop_test(t, test_submission, 0, sizeof(submission) / sizeof(submission[0]));
    tcase_add_loop_test(t, test_clear_login, 0, sizeof(clear_login) / sizeof(clear_login[0]));
    tcase_add_loop_test(t, test_auth_line, 0, 3);
    tcase_add_test(t, test_close_while_securing);
    tcase_add_test(t, test_own_mechanisms);
    if (getenv("CK_FORK") == NULL) {
        tcase_add_test_raise_signal(t, test_unanswered, SIGABRT);
        tcase_add_test_raise_signal(t, test_unsecured, SIGABRT);
    }
    tcase_add_loop_test(t, test_dsn, 0, sizeof(dsn) / sizeof(dsn[0]));
    tcase_add_test(t, test_dsn_not_offered);
    suite_add_tcase(s, t);
    return s;
}
