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
};

static void begin(struct run *r)
{
    static const char *const addresses[RCPTS] = {"a@b", "c@d", "bad>\r\n", "\"e f\"@g", "h@i"};

    for (size_t i = 0; i < RCPTS; i++) {
        r->rcpts[i].address = slice_str(addresses[i]);
        r->results[i] = 0;
    }
    r->transaction = (struct smtp_transaction){.sender = SLICE_LITERAL("s@t"),
                                               .rcpts = r->rcpts,
                                               .rcpt_count = RCPTS,
                                               .size = 1000,
                                               .body_8bit = r->transactions % 2 == 0};
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

static bool handle(struct run *r, enum smtp_client_event event)
{
    struct smtp_client *c = &r->client;

    check_reply(r);
    switch (event) {
    case SMTP_CLIENT_NEED_INPUT: return false;
    case SMTP_CLIENT_READY:
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
        ASSERT(c->reply.code / 100 != 2 || r->body_sent);
        return true;
    case SMTP_CLIENT_SEND_BODY:
        ASSERT(!r->body_sent);
        r->body_sent = true;
        smtp_client_body_sent(c);
        return true;
    case SMTP_CLIENT_DONE:
        for (size_t i = 0; i < RCPTS; i++)
            ASSERT(r->results[i] == 1);
        return true;
    case SMTP_CLIENT_FAILED: return false;
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
    ASSERT(buf_len(&r.out) < 1024);
    buf_finish(&r.out);
    return 0;
}
