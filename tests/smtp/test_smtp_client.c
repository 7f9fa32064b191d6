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
    bool body_unsent; /* the caller is still sending when the rest of the script comes */
    uint64_t size;
    const char *odd_rcpt; /* the address of the first */
};

struct driver {
    struct smtp_client client;
    struct smtp_client_rcpt rcpts[RCPTS_MAX];
    char addresses[RCPTS_MAX][8];
    struct smtp_transaction transaction;
    const struct client_case *row;
    struct buf *out;
    unsigned begun;
};

static void begin(struct driver *d)
{
    const struct client_case *row = d->row;
    size_t count = row->rcpts != 0 ? row->rcpts : 2;

    for (size_t i = 0; i < count; i++) {
        snprintf(d->addresses[i], sizeof(d->addresses[i]), "r%zu@x", i % 1000);
        d->rcpts[i] = (struct smtp_client_rcpt){.address = slice_str(d->addresses[i])};
    }
    if (row->odd_rcpt != NULL)
        d->rcpts[0].address = slice_str(row->odd_rcpt);
    d->transaction = (struct smtp_transaction){.sender = SLICE_LITERAL("s@x"),
                                               .rcpts = d->rcpts,
                                               .rcpt_count = count,
                                               .size = row->size,
                                               .body_8bit = row->body_8bit};
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

/* True while there may be more events. */
static bool handle(struct driver *d, enum smtp_client_event event)
{
    struct smtp_client *c = &d->client;

    switch (event) {
    case SMTP_CLIENT_NEED_INPUT: return false;
    case SMTP_CLIENT_READY:
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

START_TEST(test_dialog)
{
    const struct client_case *row = &cases[_i];

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

Suite *smtp_client_suite(void)
{
    Suite *s = suite_create("smtp_client");
    TCase *t = tcase_create("client");

    tcase_add_loop_test(t, test_dialog, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(t, test_idle);
    tcase_add_test(t, test_window);
    suite_add_tcase(s, t);
    return s;
}
