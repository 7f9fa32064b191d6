/*
 * delivery_smtp_auth: we log in at a smarthost (RFC 4954), between EHLO and the first message. The route
 * says as whom; the mechanism is the best that is offered, or the route's. Nothing is said without TLS
 * unless the route has tls = none; and with tls = auto the host's plan has made sure of who hears it.
 *
 * Two things take time and are not the peer's: an access token is read from its file for each connection,
 * since others renew it there; and SCRAM's key is computed by a helper. While one of them is under way the
 * connection is in DELIVERY_SMTP_LOGIN, and is not freed.
 */
#include "base_codec.h"
#include "base_log.h"
#include "base_mem.h"
#include "delivery_smtp_auth_priv.h"

enum {
    TOKEN_MAX = 8 * 1024, /* more does not fit in what AUTH may carry */
    NONCE_BYTES = 18,     /* 24 characters */
    /* Who renews it may be another user of our group. */
    TOKEN_MODE_BAD = 027,
};

enum auth_step {
    AUTH_STAT, /* the token's file */
    AUTH_OPEN,
    AUTH_READ,
    AUTH_CLOSE,
    AUTH_DERIVE,
    AUTH_TALK,    /* it is the peer's turn */
    AUTH_GIVE_UP, /* "*" was said */
};

struct delivery_smtp_auth {
    struct delivery_smtp *c;
    uint8_t step; /* enum auth_step */
    enum sasl_mechanism mechanism;
    struct sasl_client sasl;
    struct work_job job;
    struct io_op op;
    int fd;
    int error; /* of the file */
    struct io_stat stat;
    size_t token_len;
    struct delivery_reason why; /* of GIVE_UP */
    uint8_t token[TOKEN_MAX];
    uint8_t text[SMTP_CHALLENGE_MAX]; /* lent to the engine */
    uint8_t challenge[SASL_MESSAGE_MAX + 3];
};

/* In order of preference. */
static const struct {
    enum conf_route_mechanism conf;
    enum smtp_mechanism offered;
    enum sasl_mechanism sasl;
} mechanisms[] = {
    {CONF_ROUTE_AUTH_SCRAM_SHA_256, SMTP_MECHANISM_SCRAM_SHA_256, SASL_SCRAM_SHA_256},
    {CONF_ROUTE_AUTH_SCRAM_SHA_1, SMTP_MECHANISM_SCRAM_SHA_1, SASL_SCRAM_SHA_1},
    {CONF_ROUTE_AUTH_PLAIN, SMTP_MECHANISM_PLAIN, SASL_PLAIN},
    {CONF_ROUTE_AUTH_LOGIN, SMTP_MECHANISM_LOGIN, SASL_LOGIN},
    {CONF_ROUTE_AUTH_XOAUTH2, SMTP_MECHANISM_XOAUTH2, SASL_XOAUTH2},
    {CONF_ROUTE_AUTH_OAUTHBEARER, SMTP_MECHANISM_OAUTHBEARER, SASL_OAUTHBEARER},
};

static const struct conf_route_auth *conf_of(const struct delivery_smtp *c)
{
    return &delivery_site_route(c->site)->auth;
}

bool delivery_smtp_auth_wanted(const struct delivery_smtp *c)
{
    return !c->smtp.authenticated && delivery_site_has_login(c->site);
}

bool delivery_smtp_auth_busy(const struct delivery_smtp *c)
{
    return c->auth != NULL && (io_op_busy(&c->auth->op) || work_busy(&c->auth->job));
}

void delivery_smtp_auth_end(struct delivery_smtp *c)
{
    if (c->auth == NULL)
        return;
    ASSERT(!delivery_smtp_auth_busy(c));
    mem_wipe(c->auth, sizeof(*c->auth));
    mem_free(c->auth);
    c->auth = NULL;
}

void delivery_smtp_auth_discard(struct delivery_smtp *c)
{
    if (c->auth == NULL)
        return;
    c->auth->op.kind = IO_NONE; /* whatever it was will never complete */
    c->auth->job.busy = false;
    delivery_smtp_auth_end(c);
}

/* ---- refusals ----------------------------------------------------------------------------- */

/* The subject of the enhanced code is security: 4.7.x whatever the peer said, since mail waits. */
static enum delivery_auth refuse(struct delivery_smtp *c, const char *words,
                                 struct delivery_reason *why)
{
    delivery_reason_set(why, 7, 0, "login at %.*s: %s", SLICE_ARG(c->host), words);
    return DELIVERY_AUTH_REFUSED;
}

static enum delivery_auth refused_by_peer(struct delivery_smtp *c, struct delivery_reason *why)
{
    const struct smtp_reply *reply = &c->smtp.reply;

    delivery_reason_set(why, 7, 8, "%.*s refuses our login: %u %.*s", SLICE_ARG(c->host),
                        reply->code, SLICE_ARG(reply->text));
    why->code = reply->code;
    return smtp_reply_class(reply) == 5 ? DELIVERY_AUTH_REFUSED : DELIVERY_AUTH_LATER;
}

static void log_login(const struct delivery_smtp *c, enum delivery_auth outcome,
                      const struct delivery_reason *why)
{
    bool in = outcome == DELIVERY_AUTH_IN;
    struct log_record r;

    log_begin(&r,
              in                               ? LOG_DEBUG
              : outcome == DELIVERY_AUTH_LATER ? LOG_WARNING
                                               : LOG_ERROR,
              in ? "login" : "login-refused");
    log_slice(&r, "host", c->host);
    log_ip(&r, "ip", &c->ip);
    log_slice(&r, "user", conf_of(c)->user);
    if (c->auth != NULL)
        log_slice(&r, "mechanism", sasl_mechanisms[c->auth->mechanism].name);
    if (!in)
        log_str(&r, "reason", why->text);
    log_end(&r);
}

/* The last word: says it to the log and to the site, and forgets what was secret. */
static enum delivery_auth over(struct delivery_smtp *c, enum delivery_auth outcome,
                               const struct delivery_reason *why)
{
    log_login(c, outcome, why);
    if (outcome == DELIVERY_AUTH_IN)
        c->d->counters.logins++;
    else
        c->d->counters.logins_refused++;
    if (outcome == DELIVERY_AUTH_REFUSED)
        delivery_site_login_refused(c->site);
    if (c->auth != NULL) {
        smtp_client_lend(&c->smtp, c->reply_text, sizeof(c->reply_text));
        c->smtp.reply = (struct smtp_reply){0}; /* its text was in what goes now */
    }
    delivery_smtp_auth_end(c);
    return outcome;
}

/* ---- what is said ------------------------------------------------------------------------- */

/* base64 of the engine's message, in memory that is wiped. */
static struct slice encode(struct delivery_smtp_auth *a, struct buf *text)
{
    buf_init(text, SMTP_CHALLENGE_MAX);
    (void)buf_reserve(text, (a->sasl.out_len + 2) / 3 * 4 + 1);
    (void)base64_encode(slice_of(a->sasl.out, a->sasl.out_len), text);
    return slice_of(text->data + text->head, buf_len(text));
}

static void forget(struct buf *text)
{
    if (text->data != NULL)
        mem_wipe(text->data, text->capacity);
    buf_finish(text);
}

static enum delivery_auth say_first(struct delivery_smtp_auth *a)
{
    struct delivery_smtp *c = a->c;
    struct buf text;
    struct slice initial = encode(a, &text);

    smtp_client_lend(&c->smtp, a->text, sizeof(a->text));
    if (smtp_client_auth(&c->smtp, sasl_mechanisms[a->mechanism].name,
                         a->sasl.has_initial ? initial : SLICE_NULL, net_conn_out(&c->net))
        && a->sasl.has_initial)
        sasl_client_initial_sent(&a->sasl);
    forget(&text);
    a->step = AUTH_TALK;
    return DELIVERY_AUTH_SAID;
}

static enum delivery_auth say_next(struct delivery_smtp_auth *a)
{
    struct buf text;

    smtp_client_auth_respond(&a->c->smtp, encode(a, &text), net_conn_out(&a->c->net));
    forget(&text);
    a->step = AUTH_TALK;
    return DELIVERY_AUTH_SAID;
}

/* The peer is not what we think, or cannot be: the exchange is cancelled, and its reply awaited. */
static enum delivery_auth give_up(struct delivery_smtp_auth *a, const char *words)
{
    (void)refuse(a->c, words, &a->why);
    smtp_client_auth_cancel(&a->c->smtp, net_conn_out(&a->c->net));
    a->step = AUTH_GIVE_UP;
    return DELIVERY_AUTH_SAID;
}

/* ---- the beginning ------------------------------------------------------------------------ */

static bool choose(const struct delivery_smtp *c, enum sasl_mechanism *out)
{
    const struct conf_route_auth *auth = conf_of(c);

    for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++) {
        enum sasl_mechanism m = mechanisms[i].sasl;

        if (auth->mechanism != CONF_ROUTE_AUTH_AUTOMATIC && auth->mechanism != mechanisms[i].conf)
            continue;
        if (sasl_mechanisms[m].token != (auth->token_file != NULL)
            || !(c->smtp.capabilities.mechanisms & mechanisms[i].offered))
            continue;
        *out = m;
        return true;
    }
    return false;
}

static enum delivery_auth begin_exchange(struct delivery_smtp_auth *a, struct delivery_reason *why)
{
    struct delivery_smtp *c = a->c;
    const struct conf_route_auth *auth = conf_of(c);
    uint8_t random[NONCE_BYTES];
    enum delivery_auth result;
    struct buf nonce;

    io_entropy(c->d->o.io, random, sizeof(random));
    buf_init(&nonce, 0);
    (void)base64_encode(slice_of(random, sizeof(random)), &nonce);
    if (sasl_client_begin(&a->sasl, a->mechanism,
                          &(struct sasl_client_options){
                              .user = auth->user,
                              .password = auth->password,
                              .token = slice_of(a->token, a->token_len),
                              .nonce = buf_slice(&nonce),
                              .host = c->host,
                              .port = delivery_site_port(c->site),
                          }))
        result = say_first(a);
    else
        result = refuse(c, a->sasl.error, why);
    buf_finish(&nonce);
    return result;
}

/* ---- the token ---------------------------------------------------------------------------- */

static void file_done(struct io_op *op)
{
    struct delivery_smtp_auth *a = container_of(op, struct delivery_smtp_auth, op);

    delivery_smtp_step(a->c);
}

/* One line; editors and scripts end it in their ways. */
static void trim_token(struct delivery_smtp_auth *a)
{
    size_t begin = 0, end = a->token_len;

    while (end > begin && a->token[end - 1] <= ' ')
        end--;
    while (begin < end && a->token[begin] <= ' ')
        begin++;
    memmove(a->token, a->token + begin, end - begin);
    a->token_len = end - begin;
}

/* The op of the present step is done: the next one, or the exchange. */
static enum delivery_auth file_step(struct delivery_smtp_auth *a, struct delivery_reason *why)
{
    struct io *io = a->c->d->o.io;
    int res = a->op.res;
    const char *words;

    switch ((enum auth_step)a->step) {
    case AUTH_STAT:
        if (res < 0) {
            a->error = res;
            break;
        }
        if ((a->stat.mode & TOKEN_MODE_BAD) != 0)
            return refuse(a->c, "token_file may be read by everybody, or changed by others", why);
        a->step = AUTH_OPEN;
        io_open(io, &a->op, conf_of(a->c)->token_file, IO_OPEN_READ, 0);
        return DELIVERY_AUTH_BUSY;
    case AUTH_OPEN:
        if (res < 0) {
            a->error = res;
            break;
        }
        a->fd = res;
        a->step = AUTH_READ;
        io_read(io, &a->op, a->fd, a->token, sizeof(a->token), 0);
        return DELIVERY_AUTH_BUSY;
    case AUTH_READ:
        if (res < 0)
            a->error = res;
        else
            a->token_len = (size_t)res;
        a->step = AUTH_CLOSE;
        io_close(io, &a->op, a->fd);
        return DELIVERY_AUTH_BUSY;
    case AUTH_CLOSE: break; /* it was only read from */
    case AUTH_DERIVE:
    case AUTH_TALK:
    case AUTH_GIVE_UP: UNREACHABLE();
    }
    if (a->error != 0) {
        words = strerrordesc_np(-a->error);
        delivery_reason_set(why, 7, 0, "login at %.*s: cannot read token_file: %s",
                            SLICE_ARG(a->c->host), words != NULL ? words : "unknown error");
        return DELIVERY_AUTH_REFUSED;
    }
    trim_token(a);
    return begin_exchange(a, why);
}

/* ---- SCRAM's key -------------------------------------------------------------------------- */

static void derive_run(struct work_job *job)
{
    sasl_client_derive(&container_of(job, struct delivery_smtp_auth, job)->sasl);
}

static void derive_done(struct work_job *job)
{
    delivery_smtp_step(container_of(job, struct delivery_smtp_auth, job)->c);
}

static enum delivery_auth derive(struct delivery_smtp_auth *a)
{
    a->step = AUTH_DERIVE;
    a->job.run = derive_run;
    a->job.done = derive_done;
    if (!work_submit(a->c->d->o.compute, &a->job))
        return give_up(a, "too much to compute at the moment");
    return DELIVERY_AUTH_BUSY;
}

static enum delivery_auth take_challenge(struct delivery_smtp_auth *a)
{
    struct slice text = a->c->smtp.reply.text;
    size_t len = 0;

    if (base64_decoded_max(text.len) > sizeof(a->challenge)
        || !base64_decode(text, a->challenge, &len))
        return give_up(a, "the server's challenge is not base64");
    switch (sasl_client_respond(&a->sasl, slice_of(a->challenge, len))) {
    case SASL_CLIENT_SEND: return say_next(a);
    case SASL_CLIENT_DERIVE: return derive(a);
    case SASL_CLIENT_FAILED: return give_up(a, a->sasl.error);
    }
    UNREACHABLE();
}

/* ---- from the connection ------------------------------------------------------------------ */

enum delivery_auth delivery_smtp_auth_begin(struct delivery_smtp *c, struct delivery_reason *why)
{
    const struct conf_route *route = delivery_site_route(c->site);
    enum sasl_mechanism mechanism;
    enum delivery_auth result;

    ASSERT(c->auth == NULL && delivery_smtp_auth_wanted(c));
    if (!c->smtp.tls_active && route->tls != CONF_ROUTE_TLS_NONE)
        return over(c, refuse(c, "not without TLS", why), why);
    if (!choose(c, &mechanism))
        return over(c,
                    refuse(c,
                           c->smtp.capabilities.mechanisms == 0 ? "it offers none"
                                                                : "it offers no mechanism of ours",
                           why),
                    why);
    c->auth = mem_zalloc(sizeof(*c->auth));
    c->auth->c = c;
    c->auth->mechanism = mechanism;
    if (!sasl_mechanisms[mechanism].token) {
        result = begin_exchange(c->auth, why);
        return result == DELIVERY_AUTH_SAID ? result : over(c, result, why);
    }
    c->auth->op.done = file_done;
    c->auth->step = AUTH_STAT;
    io_stat(c->d->o.io, &c->auth->op, route->auth.token_file, &c->auth->stat);
    return DELIVERY_AUTH_BUSY;
}

enum delivery_auth delivery_smtp_auth_continue(struct delivery_smtp *c, struct delivery_reason *why)
{
    struct delivery_smtp_auth *a = c->auth;
    enum delivery_auth result;

    ASSERT(a != NULL && !delivery_smtp_auth_busy(c));
    if (a->step == AUTH_DERIVE) {
        (void)sasl_client_derived(&a->sasl); /* it always has something to say */
        return say_next(a);
    }
    result = file_step(a, why);
    return result == DELIVERY_AUTH_SAID || result == DELIVERY_AUTH_BUSY ? result
                                                                        : over(c, result, why);
}

enum delivery_auth delivery_smtp_auth_event(struct delivery_smtp *c, enum smtp_client_event event,
                                            struct delivery_reason *why)
{
    struct delivery_smtp_auth *a = c->auth;

    ASSERT(a != NULL);
    if (event == SMTP_CLIENT_AUTH_CHALLENGE && a->step == AUTH_TALK)
        return take_challenge(a);
    if (a->step == AUTH_GIVE_UP) { /* whatever it says to that */
        *why = a->why;
        return over(c, DELIVERY_AUTH_REFUSED, why);
    }
    if (event == SMTP_CLIENT_AUTH_FAILED)
        return over(c, refused_by_peer(c, why), why);
    ASSERT(event == SMTP_CLIENT_AUTH_OK);
    if (!sasl_client_accepted(&a->sasl))
        return over(c, refuse(c, a->sasl.error, why), why);
    return over(c, DELIVERY_AUTH_IN, why);
}
