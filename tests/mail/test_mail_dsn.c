/* test_mail_dsn: whole notifications, and what must hold of each. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_assert.h"
#include "mail_dsn.h"
#include "mail_template.h"

static struct buf out;

static void setup(void)
{
    buf_init(&out, 0);
}

static void teardown(void)
{
    buf_finish(&out);
}

#define S(text)  SLICE_INIT(text)
#define BOUNDARY "=_00112233445566778899aabbccddeeff"

static const struct mail_dsn_rcpt failed = {.address = S("a@b.example"),
                                            .orcpt_type = S("rfc822"),
                                            .orcpt = S("A@b.example"),
                                            .action = MAIL_DSN_FAILED,
                                            .code = 550,
                                            .enhanced = {5, 1, 1},
                                            .remote_mta = S("mx.b.example"),
                                            .diagnostic = S("550 5.1.1 No such\nuser"),
                                            .last_attempt = 1795299590};

static struct mail_dsn example(const struct mail_dsn_rcpt *rcpts, size_t count)
{
    struct mail_dsn d = {.hostname = S("mx.example"),
                         .id = S("ID2"),
                         .to = S("s@x.example"),
                         .sender = S("s@x.example"),
                         .about_id = S("ID1"),
                         .envid = S("env 1"),
                         .received_from = S("client.example"),
                         .received_ip = S("192.0.2.7"),
                         .date = 1795299590,
                         .arrival = 1795299590 - 3 * 86400,
                         .headers = S("From: s\r\nMessage-ID: <1@x>\r\nSubject: t\r\n"),
                         .returned = MAIL_DSN_HEADERS,
                         .rcpts = rcpts,
                         .rcpt_count = count};

    for (int i = 0; i < MAIL_DSN_RANDOM; i++)
        d.random[i] = (uint8_t)(i * 0x11);
    return d;
}

static bool has(const char *text)
{
    return memmem(buf_slice(&out).data, buf_len(&out), text, strlen(text)) != NULL;
}

static void check_has(const char *text)
{
    ck_assert_msg(has(text), "no %s in\n%.*s", text, SLICE_ARG(buf_slice(&out)));
}

static void check_lacks(const char *text)
{
    ck_assert_msg(!has(text), "%s in\n%.*s", text, SLICE_ARG(buf_slice(&out)));
}

static void compose(const struct mail_dsn *d)
{
    buf_clear(&out);
    ck_assert(mail_dsn_compose(d, &out));
}

/* ---- one, octet for octet ------------------------------------------------------------------- */

#define DATE    "Sat, 21 Nov 2026 22:19:50 +0000"
#define ARRIVED "Wed, 18 Nov 2026 22:19:50 +0000"
static const char whole[] =
    "Date: " DATE "\r\n"
    "From: Mail Delivery System <postmaster@mx.example>\r\n"
    "To: <s@x.example>\r\n"
    "Subject: Undelivered mail returned to sender\r\n"
    "Message-ID: <ID2.1795299590@mx.example>\r\n"
    "In-Reply-To: <1@x>\r\n"
    "References: <1@x>\r\n"
    "Auto-Submitted: auto-replied\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
    "\tboundary=\"" BOUNDARY "\"\r\n"
    "\r\n"
    "--" BOUNDARY "\r\n"
    "Content-Type: text/plain; charset=us-ascii\r\n"
    "\r\n"
    "This is the mail system at mx.example.\r\n"
    "\r\n"
    "Your message could not be delivered to the recipients named below, and\r\n"
    "no more attempts will be made.\r\n"
    "\r\n"
    "    Subject:  t\r\n"
    "    Accepted: " ARRIVED "\r\n"
    "\r\n"
    "<a@b.example>\r\n"
    "\r\n"
    "    There is no such address. Check the part before the @ for typing\r\n"
    "    mistakes, or ask the recipient for the right address in another way.\r\n"
    "\r\n"
    "    The mail server mx.b.example said:\r\n"
    "        550 5.1.1 No such user\r\n"
    "\r\n"
    "The header of your message is attached.\r\n"
    "\r\n"
    "If you need help, write to postmaster@mx.example\r\n"
    "and add this notification to your message.\r\n"
    "\r\n"
    "--" BOUNDARY "\r\n"
    "Content-Type: message/delivery-status\r\n"
    "\r\n"
    "Original-Envelope-Id: env 1\r\n"
    "Reporting-MTA: dns; mx.example\r\n"
    "Received-From-MTA: dns; client.example (192.0.2.7)\r\n"
    "X-Mailring-ID: ID1\r\n"
    "Arrival-Date: " ARRIVED "\r\n"
    "\r\n"
    "Original-Recipient: rfc822; A@b.example\r\n"
    "Final-Recipient: rfc822; a@b.example\r\n"
    "Action: failed\r\n"
    "Status: 5.1.1\r\n"
    "Remote-MTA: dns; mx.b.example\r\n"
    "Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n"
    "Last-Attempt-Date: " DATE "\r\n"
    "\r\n"
    "--" BOUNDARY "\r\n"
    "Content-Type: text/rfc822-headers\r\n"
    "\r\n"
    "From: s\r\n"
    "Message-ID: <1@x>\r\n"
    "Subject: t\r\n"
    "\r\n"
    "--" BOUNDARY "--\r\n";

START_TEST(test_whole)
{
    struct mail_dsn d = example(&failed, 1);

    compose(&d);
    ck_assert_msg(slice_equal(buf_slice(&out), slice_str(whole)), "%.*s",
                  SLICE_ARG(buf_slice(&out)));
}
END_TEST

START_TEST(test_full)
{
    struct mail_dsn d = example(&failed, 1);

    for (size_t limit = 1; limit < sizeof(whole) - 1; limit += 17) {
        struct buf small;

        buf_init(&small, limit);
        ck_assert(!mail_dsn_compose(&d, &small));
        buf_finish(&small);
    }
}
END_TEST

/* ---- each action ---------------------------------------------------------------------------- */

static const struct {
    enum mail_dsn_kind kind;
    struct mail_dsn_rcpt rcpt;
    const char *has[4];
    const char *lacks;
} actions[] = {
    {MAIL_DSN_FAILURE,
     {.action = MAIL_DSN_FAILED,
      .enhanced = {4, 4, 1},
      .expired = true,
      .diagnostic = S("refused")},
     {"Action: failed\r\nStatus: 4.4.1\r\n", "tried for 3 days, and time is up",
      "Diagnostic-Code: x-mailring; refused\r\n", "Final-Log-ID: ID1\r\n"},
     "Will-Retry-Until"},
    {MAIL_DSN_FAILURE,
     {.action = MAIL_DSN_FAILED, .code = 554},
     {"Status: 5.0.0\r\n", "refused your message"},
     "Diagnostic-Code"},
    {MAIL_DSN_FAILURE, /* a code of success is none of a failure */
     {.action = MAIL_DSN_FAILED, .enhanced = {2, 1, 5}},
     {"Status: 5.0.0\r\n"},
     "2.1.5"},
    {MAIL_DSN_DELAY,
     {.action = MAIL_DSN_DELAYED, .enhanced = {4, 4, 1}, .retry_until = 1795299590},
     {"Action: delayed\r\nStatus: 4.4.1\r\n", "Will-Retry-Until: " DATE "\r\n",
      "Attempts go on until " DATE ".\r\n", "need not send your message again"},
     "Action: failed"},
    {MAIL_DSN_DELAY,
     {.action = MAIL_DSN_DELAYED,
      .code = 450,
      .diagnostic = S("450 4.2.2 Full"),
      .enhanced = {4, 2, 2}},
     {"Status: 4.2.2\r\n", "mailbox is full."},
     "send your message again later"},
    {MAIL_DSN_SUCCESS,
     {.action = MAIL_DSN_DELIVERED},
     {"Action: delivered\r\nStatus: 2.0.0\r\n", "Subject: Successful mail delivery report\r\n",
      "It is in the recipient's mailbox"},
     "Diagnostic-Code"},
    {MAIL_DSN_SUCCESS,
     {.action = MAIL_DSN_RELAYED,
      .code = 250,
      .enhanced = {2, 1, 5},
      .remote_mta = S("192.0.2.9"),
      .diagnostic = S("250 2.1.5 ok")},
     {"Action: relayed\r\nStatus: 2.1.5\r\n", "Remote-MTA: dns; [192.0.2.9]\r\n",
      "Diagnostic-Code: smtp; 250 2.1.5 ok\r\n", "handed over"},
     "Final-Log-ID"},
    {MAIL_DSN_SUCCESS,
     {.action = MAIL_DSN_EXPANDED, .enhanced = {5, 1, 1}, .remote_mta = S("2001:db8::1")},
     {"Action: expanded\r\nStatus: 2.0.0\r\n", "Remote-MTA: dns; [IPv6:2001:db8::1]\r\n",
      "all who are behind this address"},
     "5.1.1"},
};

START_TEST(test_action)
{
    struct mail_dsn_rcpt rcpt = actions[_i].rcpt;
    struct mail_dsn d = example(&rcpt, 1);

    rcpt.address = SLICE_LITERAL("a@b.example");
    d.kind = actions[_i].kind;
    compose(&d);
    for (size_t i = 0; i < ARRAY_LEN(actions[_i].has) && actions[_i].has[i] != NULL; i++)
        check_has(actions[_i].has[i]);
    check_lacks(actions[_i].lacks);
}
END_TEST

/* What a person reads, by the code. */
static const struct {
    uint16_t code, enhanced[3];
    const char *diagnostic, *words;
} causes[] = {
    {550, {5, 1, 1}, "unknown", "There is no such address."},
    {0, {5, 1, 2}, "NXDOMAIN", "does not exist, or has no mail server"},
    {0, {5, 1, 10}, "null MX", "takes no mail at all"},
    {0, {5, 1, 3}, "", "not written as an address has to be"},
    {550, {5, 1, 8}, "", "does not accept your own address"},
    {552, {5, 2, 2}, "", "mailbox is full"},
    {552, {5, 3, 4}, "", "larger than the recipient's mail system takes"},
    {552, {0, 0, 0}, "552 exceeds", "larger than the recipient's mail system takes"},
    {0, {5, 4, 6}, "", "went round in circles"},
    {0, {4, 4, 1}, "refused", "could not be reached"},
    {0, {4, 4, 3}, "", "could not be found out"},
    {554, {5, 7, 1}, "554 5.7.1 Spam detected", "took your message for unwanted mail"},
    {554, {5, 7, 1}, "554 5.7.1 Relay access denied", "does not take mail for this address"},
    {554, {5, 7, 1}, "554 5.7.1 no", "does not accept your message"},
    {550, {0, 0, 0}, "550 relaying denied", "does not take mail for this address"},
    {550, {5, 7, 26}, "", "could not make sure that your message comes from whom"},
    {0, {5, 7, 30}, "", "travel only over encrypted"},
    {550, {5, 6, 7}, "", "other than English letters"},
    {0, {5, 9, 9}, "", "Our mail system could not deliver"},
    {550, {5, 9, 9}, "", "refused your message"},
};

START_TEST(test_cause)
{
    struct mail_dsn_rcpt rcpt = failed;
    struct mail_dsn d = example(&rcpt, 1);
    struct buf flat;

    rcpt.code = causes[_i].code;
    memcpy(rcpt.enhanced, causes[_i].enhanced, sizeof(rcpt.enhanced));
    rcpt.diagnostic = slice_str(causes[_i].diagnostic);
    compose(&d);
    /* Words without the line ends between them. */
    buf_init(&flat, 0);
    for (size_t i = 0; i < buf_len(&out); i++) {
        uint8_t c = buf_slice(&out).data[i];
        bool blank = c == ' ' || c == '\r' || c == '\n';
        if (!blank)
            (void)buf_append_byte(&flat, c);
        else if (buf_len(&flat) > 0 && buf_slice(&flat).data[buf_len(&flat) - 1] != ' ')
            (void)buf_append_byte(&flat, ' ');
    }
    ck_assert_msg(memmem(flat.data, buf_len(&flat), causes[_i].words, strlen(causes[_i].words))
                      != NULL,
                  "no %s in\n%.*s", causes[_i].words, SLICE_ARG(buf_slice(&flat)));
    buf_finish(&flat);
}
END_TEST

/* ---- several, copies ------------------------------------------------------------------------ */

static size_t count(const char *text)
{
    struct slice rest = buf_slice(&out);
    size_t n = 0;
    const uint8_t *at;

    while ((at = memmem(rest.data, rest.len, text, strlen(text))) != NULL) {
        n++;
        slice_advance(&rest, (size_t)(at - rest.data) + strlen(text));
    }
    return n;
}

START_TEST(test_together)
{
    struct mail_dsn_rcpt rcpts[3] = {failed, failed, failed};
    struct mail_dsn d = example(rcpts, 3);

    rcpts[1].address = SLICE_LITERAL("other@b.example");
    rcpts[2].diagnostic = SLICE_LITERAL("550 5.1.1 Go away");
    compose(&d);
    check_has("<a@b.example>\r\n<other@b.example>\r\n\r\n    There is no such");
    ck_assert_uint_eq(count("        550 5.1.1 No such user\r\n"), 1);
    ck_assert_uint_eq(count("        550 5.1.1 Go away\r\n"), 1);
    ck_assert_uint_eq(count("\r\nFinal-Recipient: "), 3);
}
END_TEST

/* People are not shown a thousand addresses; programs are. */
START_TEST(test_very_many)
{
    static struct mail_dsn_rcpt rcpts[MAIL_DSN_RCPTS_MAX];
    struct mail_dsn d = example(rcpts, MAIL_DSN_RCPTS_MAX);

    for (int i = 0; i < MAIL_DSN_RCPTS_MAX; i++)
        rcpts[i] = failed;
    compose(&d);
    ck_assert_uint_eq(count("\r\nFinal-Recipient: "), MAIL_DSN_RCPTS_MAX);
    ck_assert_uint_eq(count("<a@b.example>\r\n"), 100);
    check_has("and 900 more recipients");
}
END_TEST

START_TEST(test_copies)
{
    struct mail_dsn d = example(&failed, 1);

    d.reader = MAIL_DSN_COPY;
    d.to = SLICE_LITERAL("pm@mx.example");
    compose(&d);
    check_has("To: <pm@mx.example>\r\n");
    check_has("Subject: Postmaster copy: Undelivered mail returned to sender\r\n");
    check_has("Auto-Submitted: auto-generated\r\n");
    check_has("a copy of the notification that was sent to\r\n<s@x.example>.");
    d.reader = MAIL_DSN_INSTEAD;
    compose(&d);
    check_has("there is nobody at the sender's address");
    d.sender = SLICE_NULL;
    compose(&d);
    check_has("this mail has no sender");
}
END_TEST

/* ---- RFC 6533 ------------------------------------------------------------------------------- */

START_TEST(test_utf8)
{
    struct mail_dsn_rcpt rcpt = failed;
    struct mail_dsn d = example(&rcpt, 1);

    rcpt.address = SLICE_LITERAL("j\xc3\xb6rg+x@b\xc3\xbc.example");
    rcpt.orcpt_type = SLICE_LITERAL("utf-8");
    rcpt.orcpt = SLICE_LITERAL("\xe6\x97\xa5@b.example");
    rcpt.diagnostic = SLICE_LITERAL("550 5.1.1 Gibt's nicht: j\xc3\xb6rg");
    /* For who reads 7 bits only. */
    compose(&d);
    check_has("Content-Type: message/delivery-status\r\n\r\n");
    check_has("Original-Recipient: utf-8; \\x{65E5}@b.example\r\n");
    check_has("Final-Recipient: utf-8; j\\x{F6}rg\\x{2B}x@b\\x{FC}.example\r\n");
    check_has("Diagnostic-Code: smtp; 550 5.1.1 Gibt's nicht: j??rg\r\n");
    check_has("text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n");
    check_has("<j\xc3\xb6rg+x@b\xc3\xbc.example>\r\n");
    ck_assert(!mail_dsn_needs_utf8(&d));
    d.utf8 = true;
    d.original_8bit = true;
    compose(&d);
    check_has("Content-Type: message/global-delivery-status\r\n"
              "Content-Transfer-Encoding: 8bit\r\n\r\n");
    check_has("Original-Recipient: utf-8; \xe6\x97\xa5@b.example\r\n");
    check_has("Final-Recipient: utf-8; j\xc3\xb6rg+x@b\xc3\xbc.example\r\n");
    check_has("Diagnostic-Code: smtp; 550 5.1.1 Gibt's nicht: j\xc3\xb6rg\r\n");
    check_has("Content-Type: message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n");
    ck_assert(!mail_dsn_needs_utf8(&d));
    d.to = SLICE_LITERAL("\xc3\xa4@x.example");
    d.returned = MAIL_DSN_WHOLE;
    compose(&d);
    check_has("To: <\xc3\xa4@x.example>\r\n");
    check_has("Content-Type: message/global\r\n");
    ck_assert(mail_dsn_needs_utf8(&d));
}
END_TEST

/* ---- hostile -------------------------------------------------------------------------------- */

/* CRLF alone, no NUL, no line over 998 octets, whatever peers said; 8-bit only where a part says so. */
static bool are_lines(struct slice text)
{
    size_t line = 0;

    for (size_t i = 0; i < text.len; i++, line++) {
        uint8_t c = text.data[i], next = i + 1 < text.len ? text.data[i + 1] : 0;

        if (c == 0 || c == '\n' || line > 998 || (c == '\r' && next != '\n'))
            return false;
        if (c == '\r') {
            i++;
            line = (size_t)-1;
        }
    }
    return true;
}

/* The lines of the notification's own header that begin a field. */
static size_t fields(void)
{
    struct slice head = buf_slice(&out);
    const uint8_t *end = memmem(head.data, head.len, "\r\n\r\n", 4);
    size_t n = 0;

    ck_assert_ptr_nonnull(end);
    head.len = (size_t)(end - head.data) + 2;
    for (size_t i = 0; i < head.len; i++)
        n += head.data[i] == '\n' && i + 1 < head.len && head.data[i + 1] != '\t'
             && head.data[i + 1] != ' ';
    return n + 1;
}

START_TEST(test_hostile)
{
    static uint8_t text[5000];
    struct mail_dsn_rcpt rcpt = {.action = MAIL_DSN_FAILED};
    unsigned seed = (unsigned)_i;

    for (int round = 0; round < 40; round++) {
        struct mail_dsn d = example(&rcpt, 1);

        for (size_t i = 0; i < sizeof(text); i++)
            text[i] = _i % 2 ? (uint8_t)(rand_r(&seed) % 256)
                             : (uint8_t) "\r\n \0a<>:;-\xc3\xe2\x80\xae"[rand_r(&seed) % 14];
        if (_i % 3 == 0)
            memset(text + 100, 'x', 3000);
        rcpt.diagnostic = slice_of(text, 4000);
        rcpt.address = rcpt.remote_mta = rcpt.orcpt = d.sender = d.to = slice_of(text + 10, 200);
        rcpt.orcpt_type = slice_of(text + 40, 60);
        d.envid = slice_of(text + 300, 300);
        d.received_from = slice_of(text + 800, 300);
        d.received_ip = slice_of(text + 900, 40);
        d.from = slice_of(text + 60, 300);
        d.headers = slice_of(text + 50, 4950);
        d.hostname = slice_of(text + 500, 100);
        d.utf8 = round % 2 == 0;
        d.original_8bit = true;
        d.reader = (enum mail_dsn_reader)(round % 3);
        d.returned = (enum mail_dsn_returned)(round % 3);
        compose(&d);
        ck_assert(are_lines(buf_slice(&out)));
        ck_assert_uint_le(fields(), 12);
        ck_assert_uint_eq(count("\r\n--" BOUNDARY "\r\n"), d.returned == MAIL_DSN_NOTHING ? 2 : 3);
    }
}
END_TEST

/* Nobody becomes a header field, of any length. */
START_TEST(test_sizes)
{
    static uint8_t text[2200];
    struct mail_dsn_rcpt rcpt = failed;

    memset(text, 'a', sizeof(text));
    for (size_t len = 1; len < sizeof(text); len += len < 1100 ? 7 : 113) {
        struct mail_dsn d = example(&rcpt, 1);

        rcpt.address = rcpt.remote_mta = rcpt.diagnostic = d.to = d.sender = slice_of(text, len);
        rcpt.orcpt = d.envid = d.received_from = slice_of(text, len);
        d.headers = slice_of(text, len);
        compose(&d);
        ck_assert(are_lines(buf_slice(&out)));
    }
}
END_TEST

START_TEST(test_injection)
{
    struct mail_dsn_rcpt rcpt = failed;
    struct mail_dsn d = example(&rcpt, 1);

    d.to = d.sender = SLICE_LITERAL("s@x\r\nBcc: evil@e.example");
    rcpt.address = SLICE_LITERAL("a@b\r\nAction: delivered");
    rcpt.orcpt = rcpt.address;
    rcpt.diagnostic = SLICE_LITERAL("550 x\r\nStatus: 2.0.0\r\n\r\n--" BOUNDARY);
    d.envid = SLICE_LITERAL("e\r\nX: y");
    d.headers = SLICE_LITERAL("Message-ID: <a@b>\r\n <c@d>\r\nSubject: a\xe2\x80\xae"
                              "b\r\n");
    compose(&d);
    check_lacks("\r\nBcc:");
    check_lacks("\r\nAction: delivered");
    check_lacks("\r\nStatus: 2");
    check_lacks("\r\nX:");
    check_lacks("References:");
    check_has("    Subject:  a?b\r\n");
    ck_assert_uint_eq(count("\r\n--" BOUNDARY), 4);
}
END_TEST

/* ---- the original --------------------------------------------------------------------------- */

static void pass_original(struct slice message, size_t cut, size_t most,
                          enum mail_dsn_returned returned)
{
    struct mail_dsn d = example(&failed, 1);
    struct mail_dsn_original o;
    bool more = true;

    d.returned = returned;
    mail_dsn_original_init(&o, &d);
    buf_clear(&out);
    while (message.len > 0 && more) {
        struct slice piece = slice_head(message, cut);
        slice_advance(&message, piece.len);
        while (more && piece.len > 0)
            more = mail_dsn_original(&o, &piece, most, &out);
    }
    ck_assert(mail_dsn_end(&d, &o, &out));
}

static const struct {
    struct slice message;
    const char *whole, *headers;
} originals[] = {
    {S("A: b\r\n\r\nbody\r\n"), "A: b\r\n\r\nbody\r\n", "A: b\r\n"},
    {S("A: b\r\n\r\nbody"), "A: b\r\n\r\nbody\r\n", "A: b\r\n"},
    {S("A: b\n\nx\n"), "A: b\r\n\r\nx\r\n", "A: b\r\n"},
    {S("A: b"), "A: b\r\n", "A: b\r\n"},
    {S("A: b\r"), "A: b\r\n", "A: b\r\n"},
    {S("A: b\rc\0d\r\n"), "A: b?c?d\r\n", "A: b?c?d\r\n"},
    {S("\r\n\r\nx"), "\r\n\r\nx\r\n", ""},
    {S(""), "", ""},
};

START_TEST(test_original)
{
    struct slice message = originals[_i].message;
    char want[200];

    for (size_t cut = 1; cut <= message.len + 1; cut++) {
        for (size_t most = 1; most < 4; most++) {
            (void)snprintf(want, sizeof(want), "%s\r\n--" BOUNDARY "--\r\n", originals[_i].whole);
            pass_original(message, cut, most, MAIL_DSN_WHOLE);
            ck_assert(slice_equal(buf_slice(&out), slice_str(want)));
            (void)snprintf(want, sizeof(want), "%s\r\n--" BOUNDARY "--\r\n", originals[_i].headers);
            pass_original(message, cut, most, MAIL_DSN_HEADERS);
            ck_assert(slice_equal(buf_slice(&out), slice_str(want)));
        }
    }
}
END_TEST

/* Long lines are broken in a body, and lose their end in a header. */
START_TEST(test_long_lines)
{
    static uint8_t text[3000];

    memset(text, 'y', sizeof(text));
    memcpy(text, "X: ", 3);
    memcpy(text + 2998, "\r\n", 2);
    pass_original(slice_of(text, sizeof(text)), 700, 600, MAIL_DSN_WHOLE);
    ck_assert(are_lines(buf_slice(&out)));
    ck_assert_uint_eq(count("\r\n"), 4 + 2);
    pass_original(slice_of(text, sizeof(text)), 700, 600, MAIL_DSN_HEADERS);
    ck_assert(are_lines(buf_slice(&out)));
    ck_assert_uint_eq(count("\r\n"), 1 + 2);
}
END_TEST

/* Long header sections are cut at a line. */
START_TEST(test_cut)
{
    static uint8_t headers[MAIL_DSN_HEADERS_MAX + 100];
    struct mail_dsn d = example(&failed, 1);
    static const char end[] = "X: 0123456789abc\r\n\r\n--" BOUNDARY "--\r\n";

    for (size_t i = 0; i + 18 <= sizeof(headers); i += 18)
        memcpy(headers + i, "X: 0123456789abc\r\n", 18);
    d.headers = slice_of(headers, sizeof(headers));
    compose(&d);
    ck_assert_uint_lt(buf_len(&out), MAIL_DSN_HEADERS_MAX + 3000);
    ck_assert(memcmp(buf_slice(&out).data + buf_len(&out) - sizeof(end) + 1, end, sizeof(end) - 1)
              == 0);
}
END_TEST

static const struct {
    const char *field, *shown;
} subjects[] = {
    {"Subject: plain words\r\n", "plain words"},
    {"subject : folded\r\n\tline\r\n", "folded line"},
    {"Subject: =?UTF-8?B?w6RwZmVs?= =?utf-8?q?_und=20?=\r\n =?iso-8859-1?Q?Birn=E9?=\r\n",
     "\xc3\xa4pfel und Birn\xc3\xa9"},
    {"Subject: a =?utf-8?q?b?= c\r\n", "a b c"},
    {"Subject: raw \xc3\xa4\r\n", "raw \xc3\xa4"},
    {"Subject: raw \xe4\r\n", NULL},
    {"Subject: =?koi8-r?B?xA==?=\r\n", NULL},
    {"Subject: =?utf-8?b?!!?=\r\n", NULL},
    {"Subject: =?utf-8?q?=C3?=\r\n", NULL},
    {"Subject: =?utf-8?q?no end\r\n", NULL},
    {"Subject: =?utf-8?q?two=0D=0ALines?=\r\n", "two??Lines"},
    {"To: x\r\n\r\nSubject: of the body\r\n", NULL},
};

START_TEST(test_subject)
{
    struct mail_dsn d = example(&failed, 1);
    char want[100];

    d.headers = slice_str(subjects[_i].field);
    d.returned = MAIL_DSN_NOTHING;
    d.original_8bit = true;
    compose(&d);
    (void)snprintf(want, sizeof(want), "    Subject:  %s\r\n",
                   subjects[_i].shown != NULL ? subjects[_i].shown : "");
    if (subjects[_i].shown != NULL)
        check_has(want);
    else
        check_lacks("    Subject:");
}
END_TEST

/* ---- templates ------------------------------------------------------------------------------ */

START_TEST(test_template)
{
    static const char text[] = "Subject: Gr\xc3\xbc\xc3\x9f"
                               "e von $hostname\r\n"
                               "From: Die \"Post\" <post@${hostname}>\r\n"
                               "Charset: UTF-8\r\n"
                               "\r\n"
                               "F\xc3\xbcr $sender, $$5, nach $age ($hours h, $days d), $id:\r\n"
                               "$recipients$reasons\r\n"
                               "$returned $subject $arrived $postmaster\r\n";
    struct mail_dsn d = example(&failed, 1);
    struct mail_template t;
    struct buf why = {0};
    unsigned line = 0;

    ck_assert(mail_template_parse(slice_str(text), &t, &line, &why));
    d.template = &t;
    compose(&d);
    check_has("Subject: =?utf-8?B?R3LDvMOfZSB2b24gbXguZXhhbXBsZQ==?=\r\n");
    check_has("From: \"Die \\\"Post\\\"\" <post@mx.example>\r\n");
    check_has("F\xc3\xbcr s@x.example, $5, nach 3 days (72 h, 3 d), ID1:\r\n<a@b.example>\r\n");
    check_has("The header of your message is attached. t " ARRIVED " postmaster@mx.example\r\n");
    check_has("charset=utf-8");
    buf_finish(&why);
}
END_TEST

static const struct {
    const char *text;
    unsigned line;
    const char *why;
} bad_templates[] = {
    {"", 1, "no text"},
    {"Subject: x\n", 1, "no text: expected an empty line"},
    {"Subject: x\n\n \n", 3, "no text behind"},
    {"Subject: x\nHello\n", 2, "expected Subject:"},
    {"Subject:\n\nx\n", 1, "without a value"},
    {"Bcc: x\n\nx\n", 1, "only Subject"},
    {"Subject: $reasons\n\nx\n", 1, "$reasons cannot stand in the header"},
    {"\nfine\n$nothing here\n", 3, "no variable $nothing"},
    {"\n$\n", 2, "no variable $"},
    {"\n${reasons\n", 2, "no variable ${reasons"},
    {"\n\x01\n", 2, "control"},
    {"\n\xff\n", 2, "not UTF-8"},
    {"Charset: us-ascii\n\n\xc3\xa4\n", 3, "us-ascii"},
    {"Charset: latin1\n\nx\n", 1, "utf-8 or us-ascii"},
    {"From: me\n\nx\n", 1, "no address"},
    {"From: me <me@x> or so\n\nx\n", 1, "name and an address"},
};

START_TEST(test_bad_template)
{
    struct mail_template t;
    struct buf why;
    unsigned line = 0;

    buf_init(&why, 0);
    ck_assert(!mail_template_parse(slice_str(bad_templates[_i].text), &t, &line, &why));
    ck_assert_msg(
        memmem(why.data, buf_len(&why), bad_templates[_i].why, strlen(bad_templates[_i].why))
            != NULL,
        "%.*s", SLICE_ARG(buf_slice(&why)));
    ck_assert_uint_eq(line, bad_templates[_i].line);
    buf_finish(&why);
}
END_TEST

START_TEST(test_large_template)
{
    static uint8_t text[MAIL_TEMPLATE_MAX + 1];
    struct mail_template t;
    struct buf why;
    unsigned line = 0;

    memset(text, '\n', sizeof(text));
    text[1] = 'x';
    buf_init(&why, 0);
    ck_assert(!mail_template_parse(slice_of(text, sizeof(text)), &t, &line, &why));
    ck_assert_uint_eq(line, 1);
    ck_assert(mail_template_parse(slice_of(text, sizeof(text) - 1), &t, &line, &why));
    memset(text + 1, 'x', 901);
    buf_clear(&why);
    ck_assert(!mail_template_parse(slice_of(text, sizeof(text) - 1), &t, &line, &why));
    ck_assert_uint_eq(line, 2);
    buf_finish(&why);
}
END_TEST

Suite *mail_dsn_suite(void)
{
    Suite *s = suite_create("mail_dsn");
    TCase *t = tcase_create("dsn");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, test_whole);
    tcase_add_test(t, test_full);
    tcase_add_loop_test(t, test_action, 0, ARRAY_LEN(actions));
    tcase_add_loop_test(t, test_cause, 0, ARRAY_LEN(causes));
    tcase_add_test(t, test_together);
    tcase_add_test(t, test_very_many);
    tcase_add_test(t, test_copies);
    tcase_add_test(t, test_utf8);
    tcase_add_loop_test(t, test_hostile, 0, 6);
    tcase_add_test(t, test_sizes);
    tcase_add_test(t, test_injection);
    tcase_add_loop_test(t, test_original, 0, ARRAY_LEN(originals));
    tcase_add_test(t, test_long_lines);
    tcase_add_test(t, test_cut);
    tcase_add_loop_test(t, test_subject, 0, ARRAY_LEN(subjects));
    tcase_add_test(t, test_template);
    tcase_add_loop_test(t, test_bad_template, 0, ARRAY_LEN(bad_templates));
    tcase_add_test(t, test_large_template);
    suite_add_tcase(s, t);
    return s;
}
