/*
 * The client engine: the first two bytes choose options and pieces, the rest is what a server says.
 * Whatever that is: each recipient gets at most one outcome, and all have one when the transaction is
 * done; the message is in doubt only if it was sent; what is written is bounded.
 */
#include "base_assert.h"
#include "smtp_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RCPTS = 5, STORAGE = 80, TRANSACTIONS_MAX = 3 };

struct run {
    struct smtp_client client;
    struct smtp_transaction transaction;
    struct smtp_client_rcpt rcpts[RCPTS];
    struct buf out;
    uint8_t storage[STORAGE];
    unsigned results[RCPTS];
    unsigned transactions;
    bool body_sent;
    bool quit;
    bool require_tls;
    bool dsn, verify;
    bool starttls, login; /* still to be tried */
    unsigned challenges;
};

static void begin(struct run *r)
{
    static const char *const addresses[RCPTS] = {"a@b", "c@d", "bad>\r\n", "\"e f\"@g", "h@i"};

    for (size_t i = 0; i < RCPTS; i++) {
        r->rcpts[i].address = slice_str(addresses[i]);
        r->rcpts[i].notify = r->dsn ? (uint8_t)(i * 2) : 0;
        r->rcpts[i].orcpt = r->dsn ? slice_str(i % 2 ? "utf-8;\\x{FC}@d" : "bad\r\n") : SLICE_NULL;
        r->results[i] = 0;
    }
    r->transaction = (struct smtp_transaction){.sender = SLICE_LITERAL("s@t"),
                                               .rcpts = r->rcpts,
                                               .rcpt_count = RCPTS,
                                               .size = 1000,
                                               .body_8bit = r->transactions % 2 == 0,
                                               .envid = r->dsn ? SLICE_LITERAL("e") : SLICE_NULL,
                                               .ret = r->dsn ? SMTP_RET_FULL : SMTP_RET_NONE,
                                               .verify = r->verify && r->transactions != 1,
                                               .require_tls = r->require_tls};
    r->body_sent = false;
    r->transactions++;
    smtp_client_begin(&r->client, &r->transaction, &r->out);
}

static void check_reply(const struct run *r)
{
    const struct smtp_reply *reply = &r->client.reply;

    ASSERT(reply->code == 0 || (reply->code >= 200 && reply->code <= 599));
    ASSERT(reply->text.len <= STORAGE);
}

/* What comes before mail; false: nothing any more. */
static bool secure(struct run *r)
{
    struct smtp_client *c = &r->client;

    if (r->starttls) {
        r->starttls = false;
        smtp_client_starttls(c, &r->out);
        return true;
    }
    if (!r->login)
        return false;
    r->login = false;
    (void)smtp_client_auth(c, SLICE_LITERAL("PLAIN"), SLICE_LITERAL("aW5pdGlhbA=="), &r->out);
    return true;
}

static bool handle(struct run *r, enum smtp_client_event event)
{
    struct smtp_client *c = &r->client;

    check_reply(r);
    switch (event) {
    case SMTP_CLIENT_NEED_INPUT: return false;
    case SMTP_CLIENT_READY:
        if (secure(r))
            return true;
        if (r->transactions < TRANSACTIONS_MAX) {
            begin(r);
            return true;
        }
        r->quit = true;
        smtp_client_quit(c, &r->out);
        return true;
    case SMTP_CLIENT_RCPT_RESULT:
        ASSERT(c->rcpt_index < RCPTS);
        ASSERT(r->rcpts[c->rcpt_index].state == SMTP_RCPT_FINAL);
        ASSERT(r->rcpts[c->rcpt_index].code == c->reply.code);
        ASSERT(++r->results[c->rcpt_index] == 1);
        ASSERT(c->reply.code / 100 != 2 || r->body_sent || r->transaction.verify);
        return true;
    case SMTP_CLIENT_SEND_BODY:
        ASSERT(!r->body_sent && !r->transaction.verify);
        r->body_sent = true;
        smtp_client_body_sent(c);
        return true;
    case SMTP_CLIENT_DONE:
        for (size_t i = 0; i < RCPTS; i++)
            ASSERT(r->results[i] == 1);
        return true;
    case SMTP_CLIENT_FAILED: return false;
    case SMTP_CLIENT_STARTTLS_READY:
        smtp_client_secured(c, &r->out);
        ASSERT(c->capabilities.extensions == 0);
        return true;
    case SMTP_CLIENT_STARTTLS_REFUSED: ASSERT(!c->tls_active && c->reply.code >= 400); return true;
    case SMTP_CLIENT_AUTH_CHALLENGE:
        ASSERT(c->reply.code == 334 && !c->authenticated);
        if (++r->challenges < 8)
            smtp_client_auth_respond(c, SLICE_LITERAL("cmVzcG9uc2U="), &r->out);
        else
            smtp_client_auth_cancel(c, &r->out);
        return true;
    case SMTP_CLIENT_AUTH_OK: ASSERT(c->authenticated); return true;
    case SMTP_CLIENT_AUTH_FAILED: ASSERT(!c->authenticated && c->reply.code >= 400); return true;
    case SMTP_CLIENT_CLOSED: ASSERT(r->quit); return false;
    }
    UNREACHABLE();
}

static enum smtp_client_event feed(struct run *r, struct slice piece)
{
    size_t most = piece.len + 4 * RCPTS + 16;
    enum smtp_client_event event;

    do {
        ASSERT(most-- > 0);
        event = smtp_client_next(&r->client, &piece, &r->out);
    } while (handle(r, event));
    return event;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smtp_client_options options = {.hostname = SLICE_LITERAL("me")};
    enum smtp_client_event event = SMTP_CLIENT_NEED_INPUT;
    struct run r = {0};
    struct slice in;
    size_t piece;

    if (size < 2)
        return 0;
    options.lmtp = data[0] & 1;
    options.refuse_8bit = data[0] & 2;
    options.extensions_off = data[0] & 4 ? SMTP_EXT_PIPELINING : 0;
    r.starttls = data[0] & 8;
    r.login = data[0] & 16;
    r.require_tls = data[0] & 32;
    r.dsn = data[0] & 64;
    r.verify = data[0] & 128;
    piece = (size_t)data[1] + 1;
    in = slice_of(data + 2, size - 2);
    smtp_client_init(&r.client, &options, r.storage, sizeof(r.storage));
    buf_init(&r.out, 0);
    while (event == SMTP_CLIENT_NEED_INPUT && in.len > 0) {
        struct slice head = slice_head(in, piece);

        event = feed(&r, head);
        slice_advance(&in, head.len);
    }
    if (event != SMTP_CLIENT_CLOSED && event != SMTP_CLIENT_FAILED)
        event = smtp_client_lost(&r.client);
    check_reply(&r);
    ASSERT(event == SMTP_CLIENT_FAILED || r.quit);
    ASSERT(!r.client.failure.in_doubt || r.body_sent);
    ASSERT(buf_len(&r.out) < 2048);
    buf_finish(&r.out);
    return 0;
}
