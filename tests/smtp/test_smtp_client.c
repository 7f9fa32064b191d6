/*
 * test_smtp_client: dialogs against a server that says what the table says. A script is a row of
 * chunks; each is handed over once everything before it is used up, and each is cut in every way.
 * What the engine writes and what it reports make one transcript.
 */
#include <check.h>
#include <stdio.h>

#include "smtp_client.h"
#include "smtp_feed.h"

enum { RCPTS_MAX = 80 };

struct client_case {
    const char *what;
    const char *says[12]; /* the server's chunks */
    const char *transcript;
    unsigned transactions; /* how many before QUIT */
    unsigned rcpts;        /* a transaction; 0: 2 */
    bool lmtp;
    bool refuse_8bit;
    bool body_8bit;
    bool body_unsent;      /* the caller is still sending when the rest of the script comes */
    bool starttls;         /* first of all */
    const char *mechanism; /* then log in */
    const char *initial;
    unsigned cancel; /* at the n-th challenge */
    bool require_tls;
    uint64_t size;
    const char *odd_rcpt; /* the address of the first */
    bool verify;
    /* RET=HDRS with this ENVID, NOTIFY for the first recipient, ORCPT for both. */
    const char *envid, *orcpt;
    uint8_t notify;
};

struct driver {
    struct smtp_client client;
    struct smtp_client_rcpt rcpts[RCPTS_MAX];
    char addresses[RCPTS_MAX][8];
    struct smtp_transaction transaction;
    const struct client_case *row;
    struct buf *out;
    unsigned begun;
    bool asked_tls, asked_auth, initial_sent;
    unsigned challenges;
};

static void begin(struct driver *d)
{
    const struct client_case *row = d->row;
    size_t count = row->rcpts != 0 ? row->rcpts : 2;

    for (size_t i = 0; i < count; i++) {
        snprintf(d->addresses[i], sizeof(d->addresses[i]), "r%zu@x", i % 1000);
        d->rcpts[i] = (struct smtp_client_rcpt){.address = slice_str(d->addresses[i])};
        if (row->orcpt != NULL)
            d->rcpts[i].orcpt = slice_str(row->orcpt);
    }
    d->rcpts[0].notify = row->notify;
    if (row->odd_rcpt != NULL)
        d->rcpts[0].address = slice_str(row->odd_rcpt);
    d->transaction = (struct smtp_transaction){.sender = SLICE_LITERAL("s@x"),
                                               .rcpts = d->rcpts,
                                               .rcpt_count = count,
                                               .size = row->size,
                                               .body_8bit = row->body_8bit,
                                               .require_tls = row->require_tls,
                                               .verify = row->verify};
    if (row->envid != NULL) {
        d->transaction.ret = SMTP_RET_HDRS;
        d->transaction.envid = slice_str(row->envid);
    }
    smtp_client_begin(&d->client, &d->transaction, d->out);
    d->begun++;
}

static void write_reply(struct driver *d, const struct smtp_reply *r)
{
    ck_assert(buf_printf(d->out, " %u", r->code));
    if (r->enhanced[0] != 0)
        ck_assert(buf_printf(d->out, " %u.%u.%u", r->enhanced[0], r->enhanced[1], r->enhanced[2]));
    ck_assert(buf_printf(d->out, " %.*s}\n", SLICE_ARG(r->text)));
}

static void write_failure(struct driver *d)
{
    const struct smtp_client_failure *f = &d->client.failure;

    ck_assert(buf_printf(d->out, "{failed %s%s%s%s", smtp_client_stage_name(f->stage),
                         f->permanent ? " permanent" : "", f->in_doubt ? " in-doubt" : "",
                         f->protocol ? " protocol" : ""));
    write_reply(d, &d->client.reply);
}

/* What comes before mail; false: nothing any more. */
static bool secure(struct driver *d)
{
    const struct client_case *row = d->row;
    struct slice initial = row->initial != NULL ? slice_str(row->initial) : SLICE_NULL;

    if (row->starttls && !d->asked_tls) {
        d->asked_tls = true;
        smtp_client_starttls(&d->client, d->out);
        return true;
    }
    if (row->mechanism == NULL || d->asked_auth)
        return false;
    d->asked_auth = true;
    d->initial_sent = smtp_client_auth(&d->client, slice_str(row->mechanism), initial, d->out);
    return true;
}

static void respond(struct driver *d)
{
    struct smtp_client *c = &d->client;

    ck_assert(buf_printf(d->out, "{%u %.*s}\n", c->reply.code, SLICE_ARG(c->reply.text)));
    if (++d->challenges == d->row->cancel)
        smtp_client_auth_cancel(c, d->out);
    else
        smtp_client_auth_respond(
            c, slice_str(!d->initial_sent && d->challenges == 1 ? d->row->initial : "YWJj"),
            d->out);
}

/* True while there may be more events. */
static bool handle(struct driver *d, enum smtp_client_event event)
{
    struct smtp_client *c = &d->client;

    switch (event) {
    case SMTP_CLIENT_NEED_INPUT: return false;
    case SMTP_CLIENT_READY:
        if (secure(d))
            return true;
        if (d->begun < d->row->transactions) {
            begin(d);
            return true;
        }
        smtp_client_quit(c, d->out);
        return false;
    case SMTP_CLIENT_RCPT_RESULT:
        ck_assert_int_eq(d->rcpts[c->rcpt_index].state, SMTP_RCPT_FINAL);
        ck_assert_uint_eq(d->rcpts[c->rcpt_index].code, c->reply.code);
        ck_assert(
            buf_printf(d->out, "{r%zu %s", c->rcpt_index, smtp_client_stage_name(c->reply_stage)));
        write_reply(d, &c->reply);
        return true;
    case SMTP_CLIENT_SEND_BODY:
        ck_assert(buf_append_str(d->out, "{body}\n"));
        if (!d->row->body_unsent)
            smtp_client_body_sent(c);
        return true;
    case SMTP_CLIENT_DONE:
        for (size_t i = 0; i < d->transaction.rcpt_count; i++)
            ck_assert_int_eq(d->rcpts[i].state, SMTP_RCPT_FINAL);
        ck_assert(buf_append_str(d->out, "{done}\n"));
        return true;
    case SMTP_CLIENT_STARTTLS_READY:
        ck_assert_int_eq(c->stage, SMTP_STAGE_SECURE);
        return true; /* the next chunk is said under TLS */
    case SMTP_CLIENT_STARTTLS_REFUSED:
        ck_assert(!c->tls_active);
        ck_assert(buf_append_str(d->out, "{clear"));
        write_reply(d, &c->reply);
        return true;
    case SMTP_CLIENT_AUTH_CHALLENGE: respond(d); return true;
    case SMTP_CLIENT_AUTH_OK:
    case SMTP_CLIENT_AUTH_FAILED:
        ck_assert(c->authenticated == (event == SMTP_CLIENT_AUTH_OK));
        ck_assert(buf_append_str(d->out, c->authenticated ? "{in" : "{out"));
        write_reply(d, &c->reply);
        return true;
    case SMTP_CLIENT_FAILED: return false;
    case SMTP_CLIENT_CLOSED: return false;
    }
    ck_abort();
}

static void run(const struct client_case *row, struct feed_cut cut, struct buf *out)
{
    const struct smtp_client_options options = {.hostname = SLICE_LITERAL("me.example"),
                                                .lmtp = row->lmtp,
                                                .refuse_8bit = row->refuse_8bit};
    struct driver d = {.row = row, .out = out};
    enum smtp_client_event event = SMTP_CLIENT_NEED_INPUT;
    char storage[64];

    smtp_client_init(&d.client, &options, storage, sizeof(storage));
    for (size_t i = 0; i < 12 && row->says[i] != NULL; i++) {
        struct feed f;

        if (d.client.stage == SMTP_STAGE_SECURE) {
            ck_assert(buf_append_str(out, "{tls}\n"));
            smtp_client_secured(&d.client, out);
        }
        feed_init(&f, slice_str(row->says[i]), cut);
        while (feed_more(&f))
            do
                event = smtp_client_next(&d.client, &f.pending, out);
            while (handle(&d, event));
    }
    if (event != SMTP_CLIENT_FAILED && event != SMTP_CLIENT_CLOSED)
        event = smtp_client_lost(&d.client);
    if (event == SMTP_CLIENT_CLOSED)
        ck_assert(buf_append_str(out, "{closed}\n"));
    else
        write_failure(&d);
}

#define HI      "220 mx ESMTP\r\n"
#define EHLO    "EHLO me.example\r\n"
#define NOTHING "250 mx\r\n"
#define PIPES \
    "250-mx hello\r\n250-SIZE 1000\r\n250-X-UNKNOWN y\r\n250-8bitmime\r\n250 PIPELINING\r\n"
#define OK                 "250 2.0.0 Ok\r\n"
#define GO                 "354 Go\r\n"
#define BYE                "221 Bye\r\n"
#define ENVELOPE           "MAIL FROM:<s@x>\r\nRCPT TO:<r0@x>\r\nRCPT TO:<r1@x>\r\nDATA\r\n"
#define STEPS              "MAIL FROM:<s@x>\r\nRCPT TO:<r0@x>\r\nRCPT TO:<r1@x>\r\n"
#define BOTH(stage, words) "{r0 " stage " " words "}\n{r1 " stage " " words "}\n"

#define CLEAR  "250-mx\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"
#define SECURE "250-mx\r\n250-PIPELINING\r\n250-AUTH PLAIN LOGIN\r\n250 REQUIRETLS\r\n"
#define GO_TLS "220 2.0.0 Go\r\n"
#define TLS    EHLO "STARTTLS\r\n{tls}\n" EHLO
#define IN     "235 2.7.0 In\r\n"
#define A10    "aaaaaaaaaa"
#define A100   A10 A10 A10 A10 A10 A10 A10 A10 A10 A10
#define SENT   ENVELOPE "{body}\n" BOTH("dot", "250 2.0.0 Ok") "{done}\nQUIT\r\n{closed}\n"

static const struct client_case secure_cases[] = {
    {"STARTTLS",
     {HI, CLEAR, GO_TLS, SECURE, OK OK OK GO, OK, BYE},
     TLS SENT,
     .transactions = 1,
     .starttls = true},
    {"nothing from before holds",
     {HI, CLEAR, GO_TLS, NOTHING, OK, OK, OK, GO, OK, BYE},
     TLS SENT,
     .transactions = 1,
     .starttls = true,
     .size = 2000},
    {"STARTTLS refused for now: the caller knows whether to go on",
     {HI, CLEAR, "454 4.7.0 Not\r\n", OK OK OK GO, OK, BYE},
     EHLO "STARTTLS\r\n{clear 454 4.7.0 Not}\n" SENT,
     .transactions = 1,
     .starttls = true},
    {"STARTTLS refused for good",
     {HI, CLEAR, "502 No\r\n", BYE},
     EHLO "STARTTLS\r\n{clear 502 No}\nQUIT\r\n{closed}\n",
     .starttls = true},
    {"421 to STARTTLS",
     {HI, CLEAR, "421 4.3.2 Going\r\n"},
     EHLO "STARTTLS\r\n{failed starttls 421 4.3.2 Going}\n",
     .starttls = true},
    {"3yz to STARTTLS",
     {HI, CLEAR, GO},
     EHLO "STARTTLS\r\n{failed starttls protocol 354 Go}\n",
     .starttls = true},
    {"lost in the handshake",
     {HI, CLEAR, GO_TLS},
     EHLO "STARTTLS\r\n{failed secure 0 }\n",
     .starttls = true},
    {"EHLO unknown under TLS",
     {HI, CLEAR, GO_TLS, "500 a\r\n", OK, BYE},
     TLS "HELO me.example\r\nQUIT\r\n{closed}\n",
     .starttls = true},
    {"EHLO deferred under TLS",
     {HI, CLEAR, GO_TLS, "451 a\r\n"},
     TLS "{failed ehlo 451 a}\n",
     .starttls = true},
    {"logged in by the initial response",
     {HI, CLEAR, GO_TLS, SECURE, IN, OK OK OK GO, OK, BYE},
     TLS "AUTH PLAIN AGEAYg==\r\n{in 235 2.7.0 In}\n" SENT,
     .transactions = 1,
     .starttls = true,
     .mechanism = "PLAIN",
     .initial = "AGEAYg=="},
    {"by challenges",
     {HI, CLEAR, GO_TLS, SECURE, "334 VXNlcm5hbWU6\r\n", "334 \r\n", "334\r\n", IN, BYE},
     TLS
     "AUTH LOGIN\r\n{334 VXNlcm5hbWU6}\nYWJj\r\n{334 }\nYWJj\r\n{334 }\nYWJj\r\n{in 235 2.7.0 In}\nQUIT\r\n{closed}\n",
     .starttls = true,
     .mechanism = "LOGIN"},
    {"an empty initial response",
     {HI, CLEAR, IN, BYE},
     EHLO "AUTH EXTERNAL =\r\n{in 235 2.7.0 In}\nQUIT\r\n{closed}\n",
     .mechanism = "EXTERNAL",
     .initial = ""},
    {"a long initial response waits for the challenge",
     {HI, CLEAR, "334 \r\n", IN, BYE},
     EHLO "AUTH XOAUTH2\r\n{334 }\n" A100 A100 A100 A100 A100
          "\r\n{in 235 2.7.0 In}\nQUIT\r\n{closed}\n",
     .mechanism = "XOAUTH2",
     .initial = A100 A100 A100 A100 A100},
    {"512 octets go",
     {HI, CLEAR, IN, BYE},
     EHLO "AUTH XOAUTH2 " A100 A100 A100 A100 A10 A10 A10 A10 A10 A10 A10 A10 A10 "aaaaaaa\r\n"
          "{in 235 2.7.0 In}\nQUIT\r\n{closed}\n",
     .mechanism = "XOAUTH2",
     .initial = A100 A100 A100 A100 A10 A10 A10 A10 A10 A10 A10 A10 A10 "aaaaaaa"},
    {"513 do not",
     {HI, CLEAR, "535 no\r\n", BYE},
     EHLO "AUTH XOAUTH2\r\n{out 535 no}\nQUIT\r\n{closed}\n",
     .mechanism = "XOAUTH2",
     .initial = A100 A100 A100 A100 A10 A10 A10 A10 A10 A10 A10 A10 A10 "aaaaaaaa"},
    {"wrong",
     {HI, CLEAR, GO_TLS, SECURE, "535 5.7.8 Wrong\r\n", BYE},
     TLS "AUTH PLAIN x\r\n{out 535 5.7.8 Wrong}\nQUIT\r\n{closed}\n",
     .starttls = true,
     .mechanism = "PLAIN",
     .initial = "x"},
    {"not now",
     {HI, CLEAR, "454 4.7.0 Later\r\n", BYE},
     EHLO "AUTH PLAIN x\r\n{out 454 4.7.0 Later}\nQUIT\r\n{closed}\n",
     .mechanism = "PLAIN",
     .initial = "x"},
    {"cancelled",
     {HI, CLEAR, "334 a\r\n", "334 b\r\n", "501 5.7.0 Cancelled\r\n", BYE},
     EHLO
     "AUTH LOGIN\r\n{334 a}\nYWJj\r\n{334 b}\n*\r\n{out 501 5.7.0 Cancelled}\nQUIT\r\n{closed}\n",
     .mechanism = "LOGIN",
     .cancel = 2},
    {"421 to AUTH",
     {HI, CLEAR, "421 4.7.0 Enough\r\n"},
     EHLO "AUTH PLAIN x\r\n{failed auth 421 4.7.0 Enough}\n",
     .mechanism = "PLAIN",
     .initial = "x"},
    {"lost at AUTH",
     {HI, CLEAR, "23"},
     EHLO "AUTH PLAIN x\r\n{failed auth 0 }\n",
     .mechanism = "PLAIN",
     .initial = "x"},
    {"354 to AUTH",
     {HI, CLEAR, GO},
     EHLO "AUTH PLAIN x\r\n{failed auth protocol 354 Go}\n",
     .mechanism = "PLAIN",
     .initial = "x"},
    {"a challenge that does not fit",
     {HI, CLEAR, "334 " A100 "\r\n"},
     EHLO "AUTH LOGIN\r\n{failed auth protocol 334 " A10 A10 A10 A10 A10 A10 "aaaa}\n",
     .mechanism = "LOGIN"},
    {"REQUIRETLS",
     {HI, CLEAR, GO_TLS, SECURE, OK OK OK GO, OK, BYE},
     TLS "MAIL FROM:<s@x> REQUIRETLS\r\nRCPT TO:<r0@x>\r\nRCPT TO:<r1@x>\r\nDATA\r\n{body}\n" BOTH(
         "dot", "250 2.0.0 Ok") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 1,
     .starttls = true,
     .require_tls = true},
    {"REQUIRETLS not offered",
     {HI, CLEAR, GO_TLS, CLEAR, BYE},
     TLS BOTH("mail",
              "550 5.7.30 REQUIRETLS is needed and not offered") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 1,
     .starttls = true,
     .require_tls = true},
    {"REQUIRETLS offered in the clear",
     {HI, SECURE, BYE},
     EHLO BOTH("mail",
               "550 5.7.30 REQUIRETLS is needed and not offered") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 1,
     .require_tls = true},
    {"LMTP",
     {HI, CLEAR, GO_TLS, SECURE, IN, OK OK OK GO, OK OK, BYE},
     "LHLO me.example\r\nSTARTTLS\r\n{tls}\nLHLO me.example\r\nAUTH PLAIN x\r\n{in 235 2.7.0 In}\n" ENVELOPE
     "{body}\n" BOTH("dot", "250 2.0.0 Ok") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 1,
     .starttls = true,
     .mechanism = "PLAIN",
     .initial = "x",
     .lmtp = true},
    /* CVE-2011-0411 and its kin: replies in the clear for a session under TLS. */
    {"a reply is injected",
     {HI, CLEAR, GO_TLS SECURE},
     EHLO "STARTTLS\r\n{failed secure protocol 0 }\n",
     .starttls = true},
    {"a byte is injected",
     {HI, CLEAR, GO_TLS "2"},
     EHLO "STARTTLS\r\n{failed secure protocol 0 }\n",
     .starttls = true},
};

static const struct client_case cases[] = {
    {"nothing to say", {HI, PIPES, BYE}, EHLO "QUIT\r\n{closed}\n", .transactions = 0},
    {"one message, pipelined",
     {HI, PIPES, OK OK OK GO, OK, BYE},
     EHLO ENVELOPE "{body}\n" BOTH("dot", "250 2.0.0 Ok") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 1},
    {"one message, in lock step",
     {HI, NOTHING, OK, OK, OK, GO, OK, BYE},
     EHLO ENVELOPE "{body}\n" BOTH("dot", "250 2.0.0 Ok") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 1},
    {"two messages without RSET between",
     {HI, PIPES, OK OK OK GO, OK, OK OK OK GO, OK, BYE},
     EHLO ENVELOPE "{body}\n" BOTH("dot", "250 2.0.0 Ok") "{done}\n" ENVELOPE "{body}\n" BOTH(
         "dot", "250 2.0.0 Ok") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 2},
    {"one recipient refused",
     {HI, PIPES, OK "550 5.1.1 Who\r\n" OK GO, OK, BYE},
     EHLO ENVELOPE "{r0 rcpt 550 5.1.1 Who}\n{body}\n{r1 dot 250 2.0.0 Ok}\n{done}\n"
                   "QUIT\r\n{closed}\n",
     .transactions = 1},
    {"both refused, DATA refused; RSET comes first next time",
     {HI, PIPES, OK "550 5.1.1 Who\r\n450 4.2.1 Later\r\n554 Nobody\r\n", OK OK OK OK GO, OK, BYE},
     EHLO ENVELOPE "{r0 rcpt 550 5.1.1 Who}\n{r1 rcpt 450 4.2.1 Later}\n{done}\n"
                   "RSET\r\n" ENVELOPE "{body}\n" BOTH("dot", "250 2.0.0 Ok") "{done}\n"
                                                                              "QUIT\r\n{closed}\n",
     .transactions = 2},
    {"both refused, yet 354: a lone dot",
     {HI, PIPES, OK "550 5.1.1 Who\r\n550 5.1.1 Who\r\n" GO, "554 Nothing\r\n", OK OK OK GO, OK,
      BYE},
     EHLO ENVELOPE BOTH("rcpt", "550 5.1.1 Who") ".\r\n{done}\n" ENVELOPE "{body}\n" BOTH(
         "dot", "250 2.0.0 Ok") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 2},
    {"both refused in lock step: no DATA; RSET comes first next time",
     {HI, NOTHING, OK, "550 a\r\n", "550 b\r\n", OK, OK, "550 a\r\n", "550 b\r\n", BYE},
     EHLO STEPS "{r0 rcpt 550 a}\n{r1 rcpt 550 b}\n"
                "{done}\nRSET\r\n" STEPS "{r0 rcpt 550 a}\n{r1 rcpt 550 b}\n"
                "{done}\n"
                "QUIT\r\n{closed}\n",
     .transactions = 2},
    {"MAIL refused while pipelined",
     {HI, PIPES, "550 5.7.1 Not you\r\n503 a\r\n503 b\r\n503 c\r\n", OK OK OK GO, OK, BYE},
     EHLO ENVELOPE BOTH("mail", "550 5.7.1 Not you") "{done}\n" ENVELOPE "{body}\n" BOTH(
         "dot", "250 2.0.0 Ok") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 2},
    {"MAIL refused, the rest accepted: a lone dot",
     {HI, PIPES, "450 4.3.0 Busy\r\n" OK OK GO, "250 What\r\n", BYE},
     EHLO ENVELOPE BOTH("mail", "450 4.3.0 Busy") ".\r\n{done}\nQUIT\r\n{closed}\n",
     .transactions = 1},
    {"MAIL refused in lock step",
     {HI, NOTHING, "550 No\r\n", BYE},
     EHLO "MAIL FROM:<s@x>\r\n" BOTH("mail", "550 No") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 1},
    {"DATA refused",
     {HI, PIPES, OK OK OK "451 4.3.0 Full\r\n", BYE},
     EHLO ENVELOPE BOTH("data", "451 4.3.0 Full") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 1},
    {"refused after the dot",
     {HI, PIPES, OK OK OK GO, "554-5.6.0 Bad\r\n554 5.6.0 luck\r\n", BYE},
     EHLO ENVELOPE "{body}\n" BOTH("dot", "554 5.6.0 Bad\nluck") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 1},
    {"HELO where EHLO is unknown",
     {HI, "500 What\r\n", OK, OK, OK, OK, GO, OK, BYE},
     EHLO "HELO me.example\r\n" ENVELOPE
          "{body}\n" BOTH("dot", "250 2.0.0 Ok") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 1},
    {"neither EHLO nor HELO",
     {HI, "500 What\r\n", "550 Go away\r\n"},
     EHLO "HELO me.example\r\n{failed helo permanent 550 Go away}\n",
     .transactions = 1},
    {"greeted with 554",
     {"554-No\r\n554 service\r\n"},
     "{failed greeting permanent 554 No\nservice}\n",
     .transactions = 1},
    {"greeted with 421",
     {"421 4.3.2 Busy\r\n"},
     "{failed greeting 421 4.3.2 Busy}\n",
     .transactions = 1},
    {"EHLO deferred", {HI, "421 Busy\r\n"}, EHLO "{failed ehlo 421 Busy}\n", .transactions = 1},
    {"SIZE and BODY as offered",
     {HI, PIPES, OK OK OK GO, OK, BYE},
     EHLO "MAIL FROM:<s@x> SIZE=900 BODY=8BITMIME\r\nRCPT TO:<r0@x>\r\nRCPT TO:<r1@x>\r\nDATA\r\n"
          "{body}\n" BOTH("dot", "250 2.0.0 Ok") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 1,
     .size = 900,
     .body_8bit = true},
    {"8-bit all the same",
     {HI, NOTHING, OK, OK, OK, GO, OK, BYE},
     EHLO ENVELOPE "{body}\n" BOTH("dot", "250 2.0.0 Ok") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 1,
     .size = 900,
     .body_8bit = true},
    {"8-bit refused",
     {HI, NOTHING, BYE},
     EHLO BOTH("mail", "554 5.6.3 8-bit text, and the server takes none") "{done}\n"
                                                                          "QUIT\r\n{closed}\n",
     .transactions = 1,
     .body_8bit = true,
     .refuse_8bit = true},
    {"larger than the server takes",
     {HI, PIPES, BYE},
     EHLO BOTH("mail", "552 5.3.4 Larger than the server takes") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 1,
     .size = 1001},
    {"an address that would break the line",
     {HI, PIPES, OK OK GO, OK, BYE},
     EHLO "MAIL FROM:<s@x>\r\nRCPT TO:<r1@x>\r\nDATA\r\n"
          "{r0 mail 553 5.1.3 The address cannot be sent}\n{body}\n{r1 dot 250 2.0.0 Ok}\n"
          "{done}\nQUIT\r\n{closed}\n",
     .transactions = 1,
     .odd_rcpt = "a@b>\r\nDATA\r\n"},
    {"nothing but such addresses",
     {HI, PIPES, BYE},
     EHLO "{r0 mail 553 5.1.3 The address cannot be sent}\n{done}\nQUIT\r\n{closed}\n",
     .transactions = 1,
     .rcpts = 1,
     .odd_rcpt = "\xc3\xbc@b"},
    {"552 is 452 once there are recipients",
     {HI, PIPES, OK OK "552 Too many\r\n" GO, OK, BYE},
     EHLO ENVELOPE "{r1 rcpt 452 Too many}\n{body}\n{r0 dot 250 2.0.0 Ok}\n{done}\n"
                   "QUIT\r\n{closed}\n",
     .transactions = 1},
    {"552 5.2.2 is a full mailbox",
     {HI, PIPES, OK OK "552 5.2.2 Full\r\n" GO, OK, BYE},
     EHLO ENVELOPE "{r1 rcpt 552 5.2.2 Full}\n{body}\n{r0 dot 250 2.0.0 Ok}\n{done}\n"
                   "QUIT\r\n{closed}\n",
     .transactions = 1},
    {"421 to MAIL",
     {HI, PIPES, "421 4.3.2 Going\r\n"},
     EHLO ENVELOPE "{failed mail 421 4.3.2 Going}\n",
     .transactions = 1},
    {"421 to RCPT",
     {HI, PIPES, OK OK "421 4.3.2 Going\r\n"},
     EHLO ENVELOPE "{failed rcpt 421 4.3.2 Going}\n",
     .transactions = 1},
    {"421 to DATA",
     {HI, PIPES, OK OK OK "421 4.3.2 Going\r\n"},
     EHLO ENVELOPE "{failed data 421 4.3.2 Going}\n",
     .transactions = 1},
    {"421 to the dot is an outcome",
     {HI, PIPES, OK OK OK GO, "421 4.3.2 Going\r\n"},
     EHLO ENVELOPE "{body}\n" BOTH("dot", "421 4.3.2 Going") "{done}\n"
                                                             "{failed idle 421 4.3.2 Going}\n",
     .transactions = 2},
    {"the server gives up during the body",
     {HI, PIPES, OK OK OK GO, "552 5.3.4 Too big\r\n"},
     EHLO ENVELOPE "{body}\n{failed body permanent 552 5.3.4 Too big}\n",
     .transactions = 1,
     .body_unsent = true},
    {"250 before the end of the body",
     {HI, PIPES, OK OK OK GO OK},
     EHLO ENVELOPE "{body}\n{failed body protocol 250 2.0.0 Ok}\n",
     .transactions = 1,
     .body_unsent = true},
    {"lost during the body",
     {HI, PIPES, OK OK OK GO},
     EHLO ENVELOPE "{body}\n{failed body 0 }\n",
     .transactions = 1,
     .body_unsent = true},
    {"lost after the dot",
     {HI, PIPES, OK OK OK GO, "250"},
     EHLO ENVELOPE "{body}\n{failed dot in-doubt 0 }\n",
     .transactions = 1},
    {"lost after a lone dot",
     {HI, PIPES, OK "550 a\r\n550 b\r\n" GO},
     EHLO ENVELOPE "{r0 rcpt 550 a}\n{r1 rcpt 550 b}\n.\r\n{failed dot 0 }\n",
     .transactions = 1},
    {"lost before the greeting", {"22"}, "{failed greeting 0 }\n", .transactions = 1},
    {"lost after QUIT", {HI, PIPES}, EHLO "QUIT\r\n{closed}\n", .transactions = 0},
    {"garbage for a greeting",
     {"SSH-2.0-x\r\n"},
     "{failed greeting protocol 0 }\n",
     .transactions = 1},
    {"garbage after the dot",
     {HI, PIPES, OK OK OK GO, "25O Ok\r\n"},
     EHLO ENVELOPE "{body}\n{failed dot in-doubt protocol 0 }\n",
     .transactions = 1},
    {"354 to MAIL",
     {HI, PIPES, GO},
     EHLO ENVELOPE "{failed mail protocol 354 Go}\n",
     .transactions = 1},
    {"250 to DATA",
     {HI, PIPES, OK OK OK OK},
     EHLO ENVELOPE "{failed data protocol 250 2.0.0 Ok}\n",
     .transactions = 1},
    {"RSET refused",
     {HI, PIPES, OK "550 a\r\n550 b\r\n554 c\r\n", "502 No\r\n"},
     EHLO ENVELOPE "{r0 rcpt 550 a}\n{r1 rcpt 550 b}\n{done}\nRSET\r\n" ENVELOPE
                   "{failed rset permanent 502 No}\n",
     .transactions = 2},
    {"a long text is cut",
     {HI, PIPES,
      "550 5.7.1 0123456789012345678901234567890123456789012345678901234567890123456789\r\n"
      "503 a\r\n503 b\r\n503 c\r\n",
      BYE},
     EHLO ENVELOPE BOTH(
         "mail",
         "550 5.7.1 0123456789012345678901234567890123456789012345678901234567") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 1},
    {"LMTP: an outcome a recipient",
     {HI, PIPES, OK OK OK OK GO, "250 a\r\n452 4.2.2 b\r\n250 c\r\n", BYE},
     "LHLO me.example\r\nMAIL FROM:<s@x>\r\nRCPT TO:<r0@x>\r\nRCPT TO:<r1@x>\r\nRCPT TO:<r2@x>\r\n"
     "DATA\r\n{body}\n{r0 dot 250 a}\n{r1 dot 452 4.2.2 b}\n{r2 dot 250 c}\n{done}\n"
     "QUIT\r\n{closed}\n",
     .transactions = 1,
     .rcpts = 3,
     .lmtp = true},
    {"LMTP: the refused have none",
     {HI, PIPES, OK OK "550 x\r\n" OK GO, "250 a\r\n450 c\r\n", BYE},
     "LHLO me.example\r\nMAIL FROM:<s@x>\r\nRCPT TO:<r0@x>\r\nRCPT TO:<r1@x>\r\nRCPT TO:<r2@x>\r\n"
     "DATA\r\n{r1 rcpt 550 x}\n{body}\n{r0 dot 250 a}\n{r2 dot 450 c}\n{done}\nQUIT\r\n{closed}\n",
     .transactions = 1,
     .rcpts = 3,
     .lmtp = true},
    {"LMTP: lost between outcomes",
     {HI, PIPES, OK OK OK GO, "250 a\r\n"},
     "LHLO me.example\r\n" ENVELOPE "{body}\n{r0 dot 250 a}\n{failed dot in-doubt 0 }\n",
     .transactions = 1,
     .lmtp = true},
    {"LMTP has no HELO",
     {HI, "500 What\r\n"},
     "LHLO me.example\r\n{failed ehlo permanent 500 What}\n",
     .transactions = 1,
     .lmtp = true},
};

#define DSN     "250-mx\r\n250-DSN\r\n250 PIPELINING\r\n"
#define VERIFY  "MAIL FROM:<s@x>\r\nRCPT TO:<r0@x>\r\nRCPT TO:<r1@x>\r\nRSET\r\n"
#define O493    A100 A100 A100 A100 A10 A10 A10 A10 A10 A10 A10 A10 A10 "aaa"
#define HANDED  "{body}\n" BOTH("dot", "250 2.0.0 Ok") "{done}\nQUIT\r\n{closed}\n"
#define ONE_MSG OK OK OK GO, OK, BYE

static const struct client_case dsn_cases[] = {
    {"a peer without DSN is told nothing",
     {HI, PIPES, ONE_MSG},
     EHLO ENVELOPE HANDED,
     .transactions = 1,
     .envid = "e",
     .orcpt = "rfc822;o@p",
     .notify = SMTP_NOTIFY_NEVER},
    {"all of it",
     {HI, DSN, ONE_MSG},
     EHLO "MAIL FROM:<s@x> RET=HDRS ENVID=e+2B\r\n"
          "RCPT TO:<r0@x> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;o@p\r\n"
          "RCPT TO:<r1@x> ORCPT=rfc822;o@p\r\nDATA\r\n" HANDED,
     .transactions = 1,
     .envid = "e+2B",
     .orcpt = "rfc822;o@p",
     .notify = SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY},
    {"nothing was said, nothing is", {HI, DSN, ONE_MSG}, EHLO ENVELOPE HANDED, .transactions = 1},
    {"what would break a line is not said",
     {HI, DSN, ONE_MSG},
     EHLO
     "MAIL FROM:<s@x> RET=HDRS\r\nRCPT TO:<r0@x> NOTIFY=NEVER\r\nRCPT TO:<r1@x>\r\nDATA\r\n" HANDED,
     .transactions = 1,
     .envid = "e\r\nRSET",
     .orcpt = "rfc822;o@p\r\nRSET",
     .notify = SMTP_NOTIFY_NEVER},
    {"the longest",
     {HI, DSN, ONE_MSG},
     EHLO "MAIL FROM:<s@x> RET=HDRS ENVID=" A100 "\r\nRCPT TO:<r0@x> ORCPT=rfc822;" O493
          "\r\nRCPT TO:<r1@x> ORCPT=rfc822;" O493 "\r\nDATA\r\n" HANDED,
     .transactions = 1,
     .envid = A100,
     .orcpt = "rfc822;" O493},
    {"longer is not said",
     {HI, DSN, ONE_MSG},
     EHLO "MAIL FROM:<s@x> RET=HDRS\r\nRCPT TO:<r0@x>\r\nRCPT TO:<r1@x>\r\nDATA\r\n" HANDED,
     .transactions = 1,
     .envid = A100 "a",
     .orcpt = "rfc822;" O493 "a"},
    {"in seven bits",
     {HI, DSN, ONE_MSG},
     EHLO "MAIL FROM:<s@x>\r\nRCPT TO:<r0@x> ORCPT=utf-8;\\x{FC}@p\r\n"
          "RCPT TO:<r1@x> ORCPT=utf-8;\\x{FC}@p\r\nDATA\r\n" HANDED,
     .transactions = 1,
     .orcpt = "utf-8;\xc3\xbc@p"},
    {"a call-out",
     {HI, PIPES, OK OK "550 5.1.1 Who\r\n" OK, BYE},
     EHLO VERIFY "{r0 rcpt 250 2.0.0 Ok}\n{r1 rcpt 550 5.1.1 Who}\n{done}\nQUIT\r\n{closed}\n",
     .transactions = 1,
     .verify = true},
    {"call-outs in lock step",
     {HI, NOTHING, OK, "550 5.1.1 Who\r\n", "450 a\r\n", OK, OK, OK, OK, OK, BYE},
     EHLO STEPS "{r0 rcpt 550 5.1.1 Who}\n"
                "RSET\r\n{r1 rcpt 450 a}\n{done}\n" STEPS "{r0 rcpt 250 2.0.0 Ok}\n"
                "RSET\r\n{r1 rcpt 250 2.0.0 Ok}\n{done}\nQUIT\r\n{closed}\n",
     .transactions = 2,
     .verify = true},
    {"a call-out's MAIL is refused",
     {HI, PIPES, "450 4.7.1 Not you\r\n503 a\r\n503 b\r\n" OK, BYE},
     EHLO VERIFY BOTH("mail", "450 4.7.1 Not you") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 1,
     .verify = true},
    {"a call-out's MAIL is refused in lock step",
     {HI, NOTHING, "550 a\r\n", BYE},
     EHLO "MAIL FROM:<s@x>\r\n" BOTH("mail", "550 a") "{done}\nQUIT\r\n{closed}\n",
     .transactions = 1,
     .verify = true},
    {"421 to a call-out's RCPT",
     {HI, PIPES, OK OK "421 4.3.2 Going\r\n"},
     EHLO VERIFY "{r0 rcpt 250 2.0.0 Ok}\n{failed rcpt 421 4.3.2 Going}\n",
     .transactions = 1,
     .verify = true},
    {"RSET is refused: the answers count all the same",
     {HI, PIPES, OK OK OK "502 a\r\n"},
     EHLO VERIFY BOTH("rcpt", "250 2.0.0 Ok") "{failed rset permanent 502 a}\n",
     .transactions = 1,
     .verify = true},
    {"lost before the reply to RSET",
     {HI, PIPES, OK OK OK},
     EHLO VERIFY BOTH("rcpt", "250 2.0.0 Ok") "{failed rset 0 }\n",
     .transactions = 1,
     .verify = true},
    {"354 to RSET",
     {HI, PIPES, OK OK OK GO},
     EHLO VERIFY BOTH("rcpt", "250 2.0.0 Ok") "{failed rset protocol 354 Go}\n",
     .transactions = 1,
     .verify = true},
    {"a call-out by LMTP",
     {HI, PIPES, OK OK "552 5.2.2 Full\r\n" OK, BYE},
     "LHLO me.example\r\n" VERIFY
     "{r0 rcpt 250 2.0.0 Ok}\n{r1 rcpt 552 5.2.2 Full}\n{done}\nQUIT\r\n{closed}\n",
     .transactions = 1,
     .verify = true,
     .lmtp = true},
    {"of an address that cannot be sent",
     {HI, PIPES, BYE},
     EHLO "{r0 mail 553 5.1.3 The address cannot be sent}\n{done}\nQUIT\r\n{closed}\n",
     .transactions = 1,
     .rcpts = 1,
     .odd_rcpt = "\xc3\xbc@b",
     .verify = true},
};

static void check(const struct client_case *row)
{
    for (struct feed_cut cut = {FEED_WHOLE, 0}; cut.at < 120; feed_next_cut(&cut)) {
        struct buf out;

        buf_init(&out, 0);
        run(row, cut, &out);
        ck_assert_msg(slice_equal(buf_slice(&out), slice_str(row->transcript)),
                      "%s (cut %d at %zu):\n%.*s", row->what, (int)cut.kind, cut.at,
                      SLICE_ARG(buf_slice(&out)));
        buf_finish(&out);
    }
}

START_TEST(test_dialog)
{
    check(&cases[_i]);
}
END_TEST

/* Nobody asked, but the server says goodbye; perhaps in two pieces. */
START_TEST(test_idle)
{
    const struct smtp_client_options options = {.hostname = SLICE_LITERAL("me")};
    struct smtp_client c;
    struct slice in = SLICE_LITERAL(HI), more = SLICE_LITERAL("4.2 Slow\r\n");
    char storage[64];
    struct buf out;

    buf_init(&out, 0);
    smtp_client_init(&c, &options, storage, sizeof(storage));
    ck_assert_int_eq(smtp_client_next(&c, &in, &out), SMTP_CLIENT_NEED_INPUT);
    in = SLICE_LITERAL(PIPES "421 4.");
    ck_assert_int_eq(smtp_client_next(&c, &in, &out), SMTP_CLIENT_READY);
    ck_assert_int_eq(smtp_client_next(&c, &in, &out), SMTP_CLIENT_READY);
    ck_assert_int_eq(smtp_client_next(&c, &more, &out), SMTP_CLIENT_FAILED);
    ck_assert_int_eq(smtp_client_next(&c, &more, &out), SMTP_CLIENT_FAILED);
    ck_assert_int_eq(smtp_client_lost(&c), SMTP_CLIENT_FAILED);
    ck_assert_int_eq(c.failure.stage, SMTP_STAGE_IDLE);
    ck_assert(c.failure.code == 421 && !c.failure.permanent && !c.failure.in_doubt);
    buf_finish(&out);
}
END_TEST

/* Many recipients go out in windows, so that what is written stays bounded. */
START_TEST(test_window)
{
    static const struct client_case row = {"", {0}, "", .transactions = 1, .rcpts = RCPTS_MAX};
    const struct smtp_client_options options = {.hostname = SLICE_LITERAL("me")};
    static const char ok[] = "250 Ok\r\n";
    struct buf out;
    struct driver d = {.row = &row, .out = &out};
    struct slice in = SLICE_LITERAL(HI);
    char storage[64];
    size_t before;

    buf_init(&out, 0);
    smtp_client_init(&d.client, &options, storage, sizeof(storage));
    ck_assert_int_eq(smtp_client_next(&d.client, &in, &out), SMTP_CLIENT_NEED_INPUT);
    in = slice_str(PIPES);
    ck_assert_int_eq(smtp_client_next(&d.client, &in, &out), SMTP_CLIENT_READY);
    before = buf_len(&out);
    begin(&d);
    ck_assert_uint_lt(buf_len(&out) - before, 64 * 20);
    for (int i = 0; i < RCPTS_MAX + 1; i++) {
        in = slice_str(ok);
        ck_assert_int_eq(smtp_client_next(&d.client, &in, &out), SMTP_CLIENT_NEED_INPUT);
    }
    in = slice_str(GO);
    ck_assert_int_eq(smtp_client_next(&d.client, &in, &out), SMTP_CLIENT_SEND_BODY);
    ck_assert_uint_eq(d.client.taken, RCPTS_MAX);
    ck_assert(memcmp(buf_slice(&out).data + buf_len(&out) - 6, "DATA\r\n", 6) == 0);
    buf_finish(&out);
}
END_TEST

/* With ORCPT commands are long, and fewer are under way. */
START_TEST(test_window_dsn)
{
    static const struct client_case row = {
        "", {0}, "", .transactions = 1, .rcpts = RCPTS_MAX, .orcpt = "rfc822;" O493};
    const struct smtp_client_options options = {.hostname = SLICE_LITERAL("me")};
    struct buf out;
    struct driver d = {.row = &row, .out = &out};
    struct slice in = SLICE_LITERAL(HI DSN);
    char storage[64];
    size_t most = 0;

    buf_init(&out, 0);
    smtp_client_init(&d.client, &options, storage, sizeof(storage));
    ck_assert_int_eq(smtp_client_next(&d.client, &in, &out), SMTP_CLIENT_READY);
    buf_clear(&out);
    begin(&d);
    for (int i = 0; i < RCPTS_MAX + 1; i++) {
        if (d.client.waiting > most)
            most = d.client.waiting;
        in = slice_str("250 Ok\r\n");
        ck_assert_int_eq(smtp_client_next(&d.client, &in, &out), SMTP_CLIENT_NEED_INPUT);
    }
    ck_assert_uint_eq(most, 24 + 1); /* and DATA */
    in = slice_str(GO);
    ck_assert_int_eq(smtp_client_next(&d.client, &in, &out), SMTP_CLIENT_SEND_BODY);
    buf_finish(&out);
}
END_TEST

START_TEST(test_dsn)
{
    check(&dsn_cases[_i]);
}
END_TEST

START_TEST(test_secure)
{
    check(&secure_cases[_i]);
}
END_TEST

/* TLS from the first byte. */
START_TEST(test_implicit)
{
    const struct smtp_client_options options = {.hostname = SLICE_LITERAL("me")};
    struct slice in = SLICE_LITERAL(HI SECURE);
    struct smtp_client c;
    struct buf out;
    char storage[64];

    buf_init(&out, 0);
    smtp_client_init(&c, &options, storage, sizeof(storage));
    smtp_client_secured(&c, &out);
    ck_assert_uint_eq(buf_len(&out), 0);
    ck_assert_int_eq(smtp_client_next(&c, &in, &out), SMTP_CLIENT_READY);
    ck_assert(c.tls_active && (c.capabilities.extensions & SMTP_EXT_REQUIRETLS) != 0);
    ck_assert_uint_eq(c.capabilities.mechanisms, SMTP_MECHANISM_PLAIN | SMTP_MECHANISM_LOGIN);
    buf_finish(&out);
}
END_TEST

/* The longest challenge, in memory lent for it; and an outcome that comes before the response. */
START_TEST(test_long_challenge)
{
    const struct smtp_client_options options = {.hostname = SLICE_LITERAL("me")};
    static char big[SMTP_CHALLENGE_MAX];
    struct slice in = SLICE_LITERAL(HI CLEAR), said;
    struct smtp_client c;
    struct buf out, text;
    char storage[64];

    buf_init(&out, 0);
    buf_init(&text, 0);
    smtp_client_init(&c, &options, storage, sizeof(storage));
    ck_assert_int_eq(smtp_client_next(&c, &in, &out), SMTP_CLIENT_READY);
    smtp_client_lend(&c, big, sizeof(big));
    ck_assert(smtp_client_auth(&c, SLICE_LITERAL("X"), SLICE_NULL, &out));
    (void)buf_append_str(&text, "334 ");
    memset(buf_reserve(&text, sizeof(big)), 'B', sizeof(big));
    buf_commit(&text, sizeof(big));
    (void)buf_append_str(&text, "\r\n235 In\r\n");
    in = buf_slice(&text);
    ck_assert_int_eq(smtp_client_next(&c, &in, &out), SMTP_CLIENT_AUTH_CHALLENGE);
    ck_assert_uint_eq(c.reply.text.len, sizeof(big));
    said = in;
    if (_i == 0) {
        ck_assert_int_eq(smtp_client_next(&c, &said, &out), SMTP_CLIENT_FAILED);
        ck_assert(c.failure.protocol && !c.authenticated);
    } else {
        smtp_client_auth_respond(&c, SLICE_LITERAL("eA=="), &out);
        ck_assert_int_eq(smtp_client_next(&c, &in, &out), SMTP_CLIENT_AUTH_OK);
        smtp_client_lend(&c, storage, sizeof(storage));
        ck_assert_int_eq(smtp_client_next(&c, &in, &out), SMTP_CLIENT_READY);
    }
    buf_finish(&out);
    buf_finish(&text);
}
END_TEST

Suite *smtp_client_suite(void)
{
    Suite *s = suite_create("smtp_client");
    TCase *t = tcase_create("client");

    tcase_add_loop_test(t, test_dialog, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_loop_test(t, test_secure, 0, sizeof(secure_cases) / sizeof(secure_cases[0]));
    tcase_add_loop_test(t, test_long_challenge, 0, 2);
    tcase_add_test(t, test_implicit);
    tcase_add_test(t, test_idle);
    tcase_add_test(t, test_window);
    tcase_add_loop_test(t, test_dsn, 0, sizeof(dsn_cases) / sizeof(dsn_cases[0]));
    tcase_add_test(t, test_window_dsn);
    suite_add_tcase(s, t);
    return s;
}
