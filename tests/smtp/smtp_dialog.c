/* smtp_dialog: a caller of the server engine as small as one can be. */
#include "smtp_dialog.h"

#include <check.h>

struct dialog {
    struct smtp_server server;
    struct buf *out;
    struct buf envelope;
    struct buf body;
    bool refuse_data;
    bool full;
    bool later;
};

static void forget(struct dialog *d)
{
    buf_clear(&d->envelope);
    buf_clear(&d->body);
    d->refuse_data = d->full = false;
}

static const struct smtp_reply *judge(struct smtp_address *a)
{
    static const struct smtp_reply no = SMTP_REPLY_INIT(550, 5, 1, 1, "No such user");
    static const struct smtp_reply later = SMTP_REPLY_INIT(450, 4, 2, 1, "Later");
    static const struct smtp_reply shut = SMTP_REPLY_INIT(421, 4, 3, 2, "Shutting down");

    if (slice_equal(a->local, SLICE_LITERAL("no")))
        return &no;
    if (slice_equal(a->local, SLICE_LITERAL("later")))
        return &later;
    if (slice_equal(a->local, SLICE_LITERAL("shut")))
        return &shut;
    return NULL;
}

static void write_dsn(struct dialog *d, const struct smtp_params *params, bool mail)
{
    static const char *const rets[] = {"", " RET=FULL", " RET=HDRS"};

    ck_assert(buf_append_str(&d->envelope, rets[params->ret]));
    if (params->envid.len > 0)
        ck_assert(buf_printf(&d->envelope, " ENVID=%.*s", SLICE_ARG(params->envid)));
    if (params->notify != 0)
        ck_assert(buf_printf(&d->envelope, " NOTIFY=%x", params->notify));
    if (!mail && params->orcpt.len > 0)
        ck_assert(buf_printf(&d->envelope, " ORCPT=%.*s", SLICE_ARG(params->orcpt)));
}

static void check_path(struct dialog *d, const char *separator)
{
    struct smtp_server *s = &d->server;
    bool mail = s->pending == SMTP_CHECK_MAIL;
    const struct smtp_reply *reply = judge(&s->path);
    struct smtp_params params;

    if (reply == NULL) {
        smtp_server_params(s, &params);
        ck_assert(buf_append_str(&d->envelope, separator));
        ck_assert(buf_append_slice(&d->envelope, s->path.text));
        if (params.body == SMTP_BODY_8BITMIME)
            ck_assert(buf_append_str(&d->envelope, " 8BITMIME"));
        if (params.size != 0)
            ck_assert(buf_printf(&d->envelope, " SIZE=%llu", (unsigned long long)params.size));
        if (params.require_tls)
            ck_assert(buf_append_str(&d->envelope, " REQUIRETLS"));
        if (mail && params.auth.data != NULL)
            ck_assert(buf_printf(&d->envelope, " AUTH=%.*s", SLICE_ARG(params.auth)));
        write_dsn(d, &params, mail);
        d->refuse_data |= slice_equal(s->path.local, SLICE_LITERAL("dataless"));
        d->full |= slice_equal(s->path.local, SLICE_LITERAL("full"));
    }
    smtp_server_answer(s, reply, d->out);
}

static void check_login(struct dialog *d, bool first)
{
    static const struct smtp_reply no = SMTP_REPLY_INIT(535, 5, 7, 8, "Wrong");
    static const struct smtp_reply later = SMTP_REPLY_INIT(454, 4, 7, 0, "Not now");
    static const struct smtp_reply shut = SMTP_REPLY_INIT(421, 4, 3, 2, "Shutting down");
    struct smtp_server *s = &d->server;
    bool empty = s->response.len == 0;

    ck_assert(!s->authenticated);
    if (first)
        ck_assert(buf_printf(d->out, "{auth %.*s", SLICE_ARG(s->mechanism)));
    if (!first)
        ck_assert(buf_printf(d->out, "{%.*s", SLICE_ARG(s->response)));
    else if (s->has_response)
        ck_assert(buf_printf(d->out, " %.*s", empty ? 1 : (int)s->response.len,
                             empty ? "=" : (const char *)s->response.data));
    ck_assert(buf_append_str(d->out, "}\n"));
    if (slice_equal(s->response, SLICE_LITERAL("yes")))
        smtp_server_answer(s, NULL, d->out);
    else if (slice_equal(s->response, SLICE_LITERAL("no")))
        smtp_server_answer(s, &no, d->out);
    else if (slice_equal(s->response, SLICE_LITERAL("later")))
        smtp_server_answer(s, &later, d->out);
    else if (slice_equal(s->response, SLICE_LITERAL("shut")))
        smtp_server_answer(s, &shut, d->out);
    else
        smtp_server_challenge(s, slice_str(first ? "" : "bW9yZQ=="), d->out);
}

static void start_tls(struct dialog *d)
{
    static const struct smtp_reply later = SMTP_REPLY_INIT(454, 4, 7, 0, "Not now");

    smtp_server_answer(&d->server, d->later ? &later : NULL, d->out);
    if (d->later)
        return;
    (void)buf_append_str(d->out, "{tls}\n");
    smtp_server_secured(&d->server);
}

static void take_message(struct dialog *d)
{
    static const struct smtp_reply taken = SMTP_REPLY_INIT(250, 2, 0, 0, "Taken");

    ck_assert_uint_eq(d->server.data_size, buf_len(&d->body));
    (void)buf_append_str(d->out, "{");
    (void)buf_append_slice(d->out, buf_slice(&d->envelope));
    (void)buf_append_str(d->out, "|");
    (void)buf_append_slice(d->out, buf_slice(&d->body));
    (void)buf_append_str(d->out, "}\n");
    forget(d);
    smtp_server_answer(&d->server, &taken, d->out);
}

/* One intent; false if there is nothing more to do with this input. */
static bool handle(struct dialog *d, enum smtp_intent intent)
{
    static const struct smtp_reply evil = SMTP_REPLY_INIT(550, 5, 7, 1, "Not you");
    static const struct smtp_reply no_data = SMTP_REPLY_INIT(451, 4, 3, 0, "No data now");
    static const struct smtp_reply no_space = SMTP_REPLY_INIT(452, 4, 3, 1, "No space");
    struct smtp_server *s = &d->server;

    switch (intent) {
    case SMTP_NEED_INPUT: return false;
    case SMTP_REPLIED: return true;
    case SMTP_CHECK_HELO:
        if (slice_equal(s->helo, SLICE_LITERAL("evil"))) {
            smtp_server_answer(s, &evil, d->out);
        } else {
            forget(d);
            d->later = slice_equal(s->helo, SLICE_LITERAL("later"));
            smtp_server_answer(s, NULL, d->out);
        }
        return true;
    case SMTP_CHECK_MAIL: check_path(d, ""); return true;
    case SMTP_CHECK_RCPT: check_path(d, d->server.recipients == 0 ? ">" : ","); return true;
    case SMTP_BEGIN_DATA:
        smtp_server_answer(s, d->refuse_data ? &no_data : NULL, d->out);
        if (d->full)
            smtp_server_refuse_data(s, &no_space);
        return true;
    case SMTP_BODY:
        ck_assert(smtp_server_in_data(s));
        ck_assert(buf_append_slice(&d->body, s->body));
        return true;
    case SMTP_END_DATA: take_message(d); return true;
    case SMTP_RESET:
        forget(d);
        (void)buf_append_str(d->out, "{void}\n");
        return true;
    case SMTP_STARTTLS: start_tls(d); return true;
    case SMTP_AUTH: check_login(d, true); return true;
    case SMTP_AUTH_RESPONSE: check_login(d, false); return true;
    case SMTP_AUTH_CANCEL: (void)buf_append_str(d->out, "{cancel}\n"); return true;
    case SMTP_QUIT: (void)buf_append_str(d->out, "{quit}\n"); return false;
    case SMTP_CLOSE: (void)buf_append_str(d->out, "{close}\n"); return false;
    }
    ck_abort();
}

static bool ended(const struct dialog *d)
{
    struct slice t = buf_slice(d->out);

    return t.len > 0 && t.data[t.len - 2] == '}'
           && (memcmp(t.data + t.len - 3, "t}", 2) == 0
               || memcmp(t.data + t.len - 3, "e}", 2) == 0);
}

void dialog_run(const struct smtp_server_options *options, struct slice input, struct feed_cut cut,
                struct buf *transcript)
{
    struct dialog d = {.out = transcript};
    struct feed f;

    buf_init(&d.envelope, 0);
    buf_init(&d.body, 0);
    smtp_server_init(&d.server, options);
    smtp_server_greet(&d.server, transcript);
    feed_init(&f, input, cut);
    while (!ended(&d) && feed_more(&f)) {
        bool more;

        do {
            size_t before = f.pending.len;
            enum smtp_intent intent = smtp_server_next(&d.server, &f.pending, transcript);

            ck_assert_uint_le(f.pending.len, before);
            more = handle(&d, intent);
        } while (more);
        if (d.server.state == 0 && options->line_max != 0)
            ck_assert_uint_lt(f.pending.len,
                              options->mechanisms.len > 0 ? SMTP_AUTH_LINE_MAX : options->line_max);
    }
    buf_finish(&d.envelope);
    buf_finish(&d.body);
}
