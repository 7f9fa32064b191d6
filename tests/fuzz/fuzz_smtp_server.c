/*
 * The server engine: the first two bytes choose options and how the rest, a client's bytes, is cut.
 * Whatever comes, replies and messages are the same however it is cut, no call is without progress,
 * and what is written is bounded by what was read.
 */
#include "base_assert.h"
#include "smtp_dsn.h"
#include "smtp_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REPLY_MAX = 1024 };

struct run {
    struct smtp_server server;
    struct buf out; /* replies; and messages behind a byte that is in no reply */
    struct buf body;
    bool ended;
};

static const struct smtp_reply *judge(const struct smtp_address *a)
{
    static const struct smtp_reply no = SMTP_REPLY_INIT(550, 5, 1, 1, "No");
    static const struct smtp_reply later = SMTP_REPLY_INIT(450, 4, 1, 1, "Later");
    static const struct smtp_reply bye = SMTP_REPLY_INIT(421, 4, 3, 2, "Bye");

    ASSERT(a->text.len <= SMTP_PATH_MAX && a->local.len <= SMTP_LOCAL_MAX);
    ASSERT(smtp_address_safe(a->text));
    if (a->local.len == 0 || a->local.data[0] != 'n')
        return NULL;
    return a->local.len > 2 ? &no : a->local.len == 2 ? &later : &bye;
}

static void log_in(struct run *r, bool first)
{
    static const struct smtp_reply wrong = SMTP_REPLY_INIT(535, 5, 7, 8, "Wrong");
    struct smtp_server *s = &r->server;

    ASSERT(!s->authenticated && buf_len(&r->body) == 0);
    ASSERT(s->tls_active || slice_equal(s->mechanism, SLICE_LITERAL("LOGIN")));
    ASSERT(s->response.len <= SMTP_AUTH_RESPONSE_MAX);
    if (first && !s->has_response)
        smtp_server_challenge(s, SLICE_LITERAL(""), &r->out);
    else if (s->response.len > 2)
        smtp_server_challenge(s, SLICE_LITERAL("bW9yZQ=="), &r->out);
    else
        smtp_server_answer(s, s->response.len == 2 ? &wrong : NULL, &r->out);
}

/* What is to be kept, and said to others, is what the grammars allow. */
static void check_params(const struct smtp_server *s)
{
    struct smtp_params p;

    smtp_server_params(s, &p);
    ASSERT(p.envid.len == 0 || smtp_envid_valid(p.envid));
    ASSERT(p.ret <= SMTP_RET_HDRS);
    ASSERT(!(p.notify & SMTP_NOTIFY_NEVER) || p.notify == SMTP_NOTIFY_NEVER);
    if (s->pending == SMTP_CHECK_RCPT && p.orcpt.len > 0) {
        uint8_t room[SMTP_ORCPT_MAX];
        struct buf plain = {.data = room, .capacity = sizeof(room), .limit = sizeof(room)};
        struct slice type;

        ASSERT(smtp_orcpt_valid(p.orcpt, 0));
        ASSERT(smtp_orcpt_decode(p.orcpt, &type, &plain));
        for (size_t i = 0; i < buf_len(&plain); i++)
            ASSERT(room[i] >= 32 && room[i] != 127);
    }
}

static bool handle(struct run *r, enum smtp_intent intent)
{
    static const struct smtp_reply taken = SMTP_REPLY_INIT(250, 2, 0, 0, "Taken");
    struct smtp_server *s = &r->server;

    switch (intent) {
    case SMTP_NEED_INPUT: return false;
    case SMTP_REPLIED: return true;
    case SMTP_CHECK_HELO:
        buf_clear(&r->body);
        smtp_server_answer(s, NULL, &r->out);
        return true;
    case SMTP_CHECK_MAIL:
    case SMTP_CHECK_RCPT:
        check_params(s);
        smtp_server_answer(s, judge(&s->path), &r->out);
        return true;
    case SMTP_BEGIN_DATA: smtp_server_answer(s, NULL, &r->out); return true;
    case SMTP_BODY: ASSERT(buf_append_slice(&r->body, s->body)); return true;
    case SMTP_END_DATA:
        ASSERT(s->data_size == buf_len(&r->body));
        ASSERT(buf_append_byte(&r->out, 0));
        ASSERT(buf_append_slice(&r->out, buf_slice(&r->body)));
        buf_clear(&r->body);
        smtp_server_answer(s, &taken, &r->out);
        return true;
    case SMTP_RESET: buf_clear(&r->body); return true;
    case SMTP_STARTTLS:
        ASSERT(buf_len(&r->body) == 0 && !s->tls_active);
        smtp_server_answer(s, NULL, &r->out);
        smtp_server_secured(s);
        return true;
    case SMTP_AUTH:
    case SMTP_AUTH_RESPONSE: log_in(r, intent == SMTP_AUTH); return true;
    case SMTP_AUTH_CANCEL: ASSERT(!s->authenticated); return true;
    case SMTP_QUIT:
    case SMTP_CLOSE: r->ended = true; return false;
    }
    UNREACHABLE();
}

/* Hands over `in` in pieces of up to `piece` bytes. */
static void run(struct run *r, const struct smtp_server_options *options, struct slice in,
                size_t piece)
{
    size_t shown = 0;

    *r = (struct run){0};
    buf_init(&r->out, 0);
    buf_init(&r->body, 0);
    smtp_server_init(&r->server, options);
    smtp_server_greet(&r->server, &r->out);
    while (!r->ended && shown < in.len) {
        struct slice pending;
        size_t calls = 0, most;
        bool more;

        shown = in.len - shown > piece ? shown + piece : in.len;
        pending = slice_head(in, shown);
        most = pending.len * 2 + 8;
        do {
            size_t out_before = buf_len(&r->out) + buf_len(&r->body), before = pending.len;
            enum smtp_intent intent = smtp_server_next(&r->server, &pending, &r->out);

            ASSERT(++calls <= most);
            more = handle(r, intent);
            ASSERT(buf_len(&r->out) + buf_len(&r->body)
                   <= out_before + REPLY_MAX + (before - pending.len) + 2);
        } while (more);
        ASSERT(r->ended || pending.len < SMTP_AUTH_LINE_MAX);
        slice_advance(&in, shown - pending.len);
        shown = pending.len;
    }
    ASSERT(!r->out.overflow);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smtp_server_options options = {.hostname = SLICE_LITERAL("mx"),
                                          .extensions = SMTP_EXT_SERVER,
                                          .line_max = 512,
                                          .recipients_max = 3};
    struct run whole, cut;

    if (size < 2)
        return 0;
    options.bare_newline = data[0] & 1 ? SMTP_BARE_NEWLINE_NORMALIZE : SMTP_BARE_NEWLINE_REJECT;
    options.message_size_max = data[0] & 2 ? 100 : 0;
    options.messages_max = data[0] & 4 ? 2 : 0;
    options.extensions = data[0] & 8 ? 0 : options.extensions;
    options.extensions |= data[0] & 128 ? SMTP_EXT_SERVER_KEPT : 0;
    if (data[0] & 16) {
        options.extensions |= SMTP_EXT_SERVER_SECURE;
        options.mechanisms = SLICE_LITERAL("PLAIN LOGIN");
        options.mechanisms_clear = data[0] & 32 ? SLICE_LITERAL("LOGIN") : SLICE_NULL;
        options.tls_required = data[0] & 64;
        options.auth_required = data[0] & 128;
    }
    run(&whole, &options, slice_of(data + 2, size - 2), size);
    run(&cut, &options, slice_of(data + 2, size - 2), (size_t)data[1] + 1);
    ASSERT(slice_equal(buf_slice(&whole.out), buf_slice(&cut.out)));
    ASSERT(whole.ended == cut.ended);
    buf_finish(&whole.out);
    buf_finish(&whole.body);
    buf_finish(&cut.out);
    buf_finish(&cut.body);
    return 0;
}
