/*
 * auth_exchange: one login, from AUTH to its outcome. What the client says goes to the pure engine of
 * `sasl`, which answers with what is to be checked; take_step() has it checked, at once or by somebody
 * else, and decide() is where every verdict comes in.
 */
#include "auth_priv.h"
#include "base_assert.h"
#include "base_log.h"
#include "base_mem.h"

enum { RESPONSE_MAX = 12288 }; /* and of a challenge (RFC 4954 4) */

static const struct {
    const char *name; /* in the log */
    struct auth_reply reply;
} outcomes[AUTH_OUTCOME_COUNT] = {
    [AUTH_WORKING] = {"working", {0}},
    [AUTH_CHALLENGE] = {"challenge", {0}},
    [AUTH_OK] = {"ok", {235, {2, 7, 0}, SLICE_INIT("Welcome")}},
    [AUTH_REJECTED] = {"rejected",
                       {535, {5, 7, 8}, SLICE_INIT("Authentication credentials invalid")}},
    [AUTH_TEMPORARY] = {"temporary",
                        {454, {4, 7, 0}, SLICE_INIT("Temporary authentication failure")}},
    [AUTH_MALFORMED] = {"malformed", {501, {5, 5, 2}, SLICE_INIT("Cannot read this response")}},
    [AUTH_CANCELLED] = {"cancelled", {501, {5, 7, 0}, SLICE_INIT("Authentication cancelled")}},
    [AUTH_TOO_LONG] = {"too-long",
                       {500, {5, 5, 6}, SLICE_INIT("Authentication exchange line is too long")}},
    [AUTH_UNKNOWN_MECHANISM] =
        {"unknown-mechanism", {504, {5, 5, 4}, SLICE_INIT("Authentication mechanism not offered")}},
    [AUTH_NEEDS_TLS] = {"needs-tls",
                        {538,
                         {5, 7, 11},
                         SLICE_INIT("Encryption required for this authentication mechanism")}},
    [AUTH_BANNED_USER] = {"banned-user",
                          {454, {4, 7, 0}, SLICE_INIT("Too many failed logins; try again later")}},
    [AUTH_BANNED] = {"banned", {421, {4, 7, 0}, SLICE_INIT("Too many failed logins; closing")}},
};

static void take_step(struct auth_exchange *x, enum sasl_step step);

const struct auth_reply *auth_reply(enum auth_outcome outcome)
{
    ASSERT(outcome < AUTH_OUTCOME_COUNT && outcomes[outcome].reply.code != 0);
    return &outcomes[outcome].reply;
}

/* ---- the end ------------------------------------------------------------------------------- */

static void wipe_message(struct auth_exchange *x)
{
    if (x->message != NULL)
        mem_wipe(x->message, x->message_size);
    mem_free(x->message);
    x->message = NULL;
    x->message_size = 0;
}

static void exchange_free(struct auth_exchange *x)
{
    ASSERT(!work_busy(&x->job) && x->request.id == 0);
    wheel_cancel(x->auth->wheel, &x->timer);
    list_remove(&x->node);
    x->auth->counters.working--;
    auth_setup_unref(x->setup);
    wipe_message(x);
    mem_free(x->token);
    buf_finish(&x->challenge);
    mem_wipe(x, sizeof(*x));
    mem_free(x);
}

void auth_exchange_forget(struct auth_exchange *x)
{
    x->job.busy = false;
    if (x->request.id != 0)
        wheel_cancel(x->auth->wheel, &x->request.timer);
    x->request.id = 0;
    exchange_free(x);
}

static void log_outcome(const struct auth_exchange *x, const char *result)
{
    struct slice user = x->user_len > 0 ? slice_of(x->user, x->user_len) : x->sasl.user;
    struct log_record r;

    log_begin(&r, LOG_INFO, "auth");
    log_id(&r, "session", x->peer.session);
    log_ip(&r, "client", &x->peer.ip);
    log_slice(&r, "mechanism", x->mechanism);
    if (user.len > 0)
        log_slice(&r, "user", user);
    log_str(&r, "result", result);
    log_end(&r);
}

static void count_outcome(struct auth_counters *c, enum auth_outcome outcome)
{
    switch (outcome) {
    case AUTH_OK: c->ok++; break;
    case AUTH_REJECTED: c->rejected++; break;
    case AUTH_TEMPORARY: c->temporary++; break;
    case AUTH_BANNED:
    case AUTH_BANNED_USER: c->banned++; break;
    case AUTH_MALFORMED:
    case AUTH_CANCELLED:
    case AUTH_TOO_LONG:
    case AUTH_UNKNOWN_MECHANISM:
    case AUTH_NEEDS_TLS: c->malformed++; break;
    case AUTH_WORKING:
    case AUTH_CHALLENGE:
    case AUTH_OUTCOME_COUNT: UNREACHABLE();
    }
}

static void tell(struct auth_exchange *x, enum auth_outcome outcome)
{
    x->outcome = outcome;
    if (!x->in_call && x->ready != NULL)
        x->ready(x->context); /* which may auth_end(x) */
}

static void finish(struct auth_exchange *x, enum auth_outcome outcome)
{
    ASSERT(x->state != AUTH_STATE_OVER);
    x->state = AUTH_STATE_OVER;
    count_outcome(&x->auth->counters, outcome);
    log_outcome(x, outcomes[outcome].name);
    sasl_server_wipe(&x->sasl);
    wipe_message(x);
    if (x->ended)
        exchange_free(x);
    else
        tell(x, outcome);
}

/* ---- verdicts ------------------------------------------------------------------------------ */

static void set_user(struct auth_exchange *x, struct slice user)
{
    ASSERT(user.len > 0 && user.len <= sizeof(x->user));
    for (size_t i = 0; i < user.len; i++) {
        uint8_t c = user.data[i];

        x->user[i] = c >= 'A' && c <= 'Z' && !x->verbatim ? (uint8_t)(c - 'A' + 'a') : c;
    }
    x->user_len = (uint8_t)user.len;
}

static void delay_over(struct wheel_timer *timer)
{
    struct auth_exchange *x = container_of(timer, struct auth_exchange, timer);

    x->state = AUTH_STATE_CLIENT;
    if (x->after_delay == AUTH_CHALLENGE)
        tell(x, AUTH_CHALLENGE);
    else
        finish(x, x->after_delay);
}

/* The client has failed, and waits before it hears `outcome`. Counted even if it hung up. */
static void fail_late(struct auth_exchange *x, enum auth_outcome outcome)
{
    struct slice user = x->sasl.user;
    uint64_t delay = auth_failed(x, user);

    if (x->ended) {
        finish(x, AUTH_REJECTED);
        return;
    }
    x->after_delay = outcome;
    x->state = AUTH_STATE_DELAY;
    x->outcome = AUTH_WORKING;
    wheel_set(x->auth->wheel, &x->timer, io_now_ms(x->auth->io) + delay);
}

static enum auth_outcome ban_outcome(enum auth_ban_kind ban)
{
    return ban == AUTH_BAN_CLIENT ? AUTH_BANNED : AUTH_BANNED_USER;
}

static void encode_challenge(struct auth_exchange *x)
{
    buf_clear(&x->challenge);
    (void)base64_encode(slice_of(x->sasl.out, x->sasl.out_len), &x->challenge);
}

static void succeed(struct auth_exchange *x)
{
    if (x->user_len == 0)
        set_user(x, x->sasl.user);
    auth_succeeded(x, slice_of(x->user, x->user_len));
    finish(x, AUTH_OK);
}

/* What a back end says of the user; `name` is his name in its own words. */
static void decide(struct auth_exchange *x, bool good, struct slice name)
{
    /* Others of this client's guesses may have been looked at meanwhile: then this one tells it nothing. */
    enum auth_ban_kind ban = auth_banned(x, x->sasl.user);
    enum sasl_step step;

    x->state = AUTH_STATE_CLIENT;
    if (ban != AUTH_BAN_NONE) {
        finish(x, ban_outcome(ban));
        return;
    }
    if (good)
        set_user(x, name);
    if (x->relayed && good) {
        succeed(x);
        return;
    }
    if (x->relayed) {
        fail_late(x, AUTH_REJECTED);
        return;
    }
    step = sasl_server_verdict(&x->sasl, good);
    if (step == SASL_CHALLENGE) { /* a token's failure is told in a challenge */
        encode_challenge(x);
        x->failure_told = true;
        fail_late(x, AUTH_CHALLENGE);
        return;
    }
    take_step(x, step);
}

/* ---- passwords ----------------------------------------------------------------------------- */

static void compute_run(struct work_job *job)
{
    struct auth_exchange *x = container_of(job, struct auth_exchange, job);

    x->good = auth_verify(x->hash, x->sasl.password);
}

static void compute_done(struct work_job *job)
{
    struct auth_exchange *x = container_of(job, struct auth_exchange, job);

    decide(x, x->good && x->user_known, x->sasl.user);
}

/* Whoever it is, and whether he is there or not, the same is computed. */
static void compute(struct auth_exchange *x)
{
    const struct auth_users *users = x->setup->users;
    struct auth_user found;

    x->user_known = auth_users_find(users, x->sasl.user, &found) && found.kind != AUTH_HASH_LOCKED;
    x->hash = x->user_known ? found.hash : auth_users_stand_in(users, x->sasl.user);
    x->job.run = compute_run;
    x->job.done = compute_done;
    x->state = AUTH_STATE_COMPUTE;
    x->outcome = AUTH_WORKING;
    if (!work_submit(x->auth->compute, &x->job))
        finish(x, AUTH_TEMPORARY);
}

/* ---- Dovecot ------------------------------------------------------------------------------- */

static void dovecot_answered(struct auth_dovecot_request *r, enum auth_dovecot_answer answer,
                             struct slice data)
{
    struct auth_exchange *x = container_of(r, struct auth_exchange, request);
    uint8_t decoded[RESPONSE_MAX];
    size_t len;

    x->state = AUTH_STATE_CLIENT;
    if (answer == AUTH_DOVECOT_CHALLENGE
        && (!x->relayed || x->ended || data.len > RESPONSE_MAX
            || !base64_decode(data, decoded, &len))) {
        auth_dovecot_forget(r);
        answer = AUTH_DOVECOT_TEMPORARY;
    }
    if (answer == AUTH_DOVECOT_OK && !sasl_user_valid(data))
        answer = AUTH_DOVECOT_TEMPORARY;
    if (x->relayed && answer <= AUTH_DOVECOT_FAILED && sasl_user_valid(data)) {
        memcpy(x->sasl.name, data.data, data.len);
        x->sasl.user = slice_of(x->sasl.name, data.len);
    }
    x->verbatim = true;
    switch (answer) {
    case AUTH_DOVECOT_OK: decide(x, true, data); break;
    case AUTH_DOVECOT_FAILED: decide(x, false, SLICE_NULL); break;
    case AUTH_DOVECOT_TEMPORARY: finish(x, AUTH_TEMPORARY); break;
    case AUTH_DOVECOT_CHALLENGE:
        buf_clear(&x->challenge);
        (void)buf_append_slice(&x->challenge, data);
        tell(x, AUTH_CHALLENGE);
        break;
    }
}

static void ask_dovecot(struct auth_exchange *x, struct slice mechanism, bool has_response,
                        struct slice response)
{
    struct auth_dovecot_facts facts = {
        .mechanism = mechanism,
        .ip = x->peer.ip,
        .local_ip = x->peer.local_ip,
        .port = x->peer.port,
        .local_port = x->peer.local_port,
        .secured = x->peer.tls != NULL,
        .session = x->peer.session,
        .has_response = has_response,
        .response = response,
    };

    x->request.answer = dovecot_answered;
    x->state = AUTH_STATE_DOVECOT;
    x->outcome = AUTH_WORKING;
    if (!auth_dovecot_ask(x->auth->dovecot, &x->request, &facts))
        finish(x, AUTH_TEMPORARY);
}

static void ask_dovecot_password(struct auth_exchange *x)
{
    struct slice user = x->sasl.user, password = x->sasl.password;
    uint8_t message[SASL_USER_MAX + SASL_PASSWORD_MAX + 2];
    size_t len = 0;
    struct buf text;

    message[len++] = '\0';
    memcpy(message + len, user.data, user.len);
    len += user.len;
    message[len++] = '\0';
    memcpy(message + len, password.data, password.len);
    len += password.len;
    buf_init(&text, 0);
    (void)base64_encode(slice_of(message, len), &text);
    ask_dovecot(x, SLICE_LITERAL("PLAIN"), true, buf_slice(&text));
    mem_wipe(message, sizeof(message));
    mem_wipe(text.data, text.capacity);
    buf_finish(&text);
}

/* The file of users comes first: who stands there is not Dovecot's. */
static void check_password(struct auth_exchange *x)
{
    struct auth_user found;

    if (x->setup->conf->auth.dovecot == NULL
        || auth_users_find(x->setup->users, x->sasl.user, &found))
        compute(x);
    else
        ask_dovecot_password(x);
}

/* ---- tokens -------------------------------------------------------------------------------- */

static void token_run(struct work_job *job)
{
    struct auth_exchange *x = container_of(job, struct auth_exchange, job);

    auth_token_ask(x->setup, x->sasl.token, x->token);
}

static void decide_token(struct auth_exchange *x, const struct auth_token_answer *answer)
{
    struct slice name = auth_token_name(answer, x->sasl.user);
    bool good = answer->result == AUTH_TOKEN_GOOD && name.len > 0;
    struct auth_user found;

    if (good && auth_users_find(x->setup->users, name, &found))
        good = found.kind != AUTH_HASH_LOCKED;
    decide(x, good, name);
}

static void complain_token(const struct auth_exchange *x)
{
    struct log_record r;

    log_begin(&r, LOG_WARNING, "introspection-failed");
    log_id(&r, "session", x->peer.session);
    log_slice(&r, "url", x->setup->conf->auth.introspection);
    log_str(&r, "why", x->token->error);
    log_end(&r);
}

static void token_done(struct work_job *job)
{
    struct auth_exchange *x = container_of(job, struct auth_exchange, job);
    uint64_t now_ms = io_unix_ms(x->auth->io), until_ms = now_ms + AUTH_TOKEN_CACHE_MS;
    struct auth_token_answer *answer = x->token;

    if (answer->result == AUTH_TOKEN_UNKNOWN) {
        complain_token(x);
        x->state = AUTH_STATE_CLIENT;
        finish(x, AUTH_TEMPORARY);
        return;
    }
    if (answer->result == AUTH_TOKEN_GOOD && answer->expires_s > 0) {
        if (answer->expires_s <= now_ms / 1000)
            answer->result = AUTH_TOKEN_BAD;
        if (answer->expires_s < until_ms / 1000)
            until_ms = answer->expires_s * 1000;
    }
    if (answer->result == AUTH_TOKEN_GOOD && x->setup == x->auth->setup)
        auth_token_cache_keep(x->auth->tokens, x->sasl.token, until_ms, answer);
    decide_token(x, answer);
}

static void check_token(struct auth_exchange *x)
{
    const struct auth_token_answer *kept = NULL;

    if (x->setup == x->auth->setup) /* the cache is of this one */
        kept = auth_token_cache_find(x->auth->tokens, x->sasl.token, io_unix_ms(x->auth->io));
    if (kept != NULL) {
        decide_token(x, kept);
        return;
    }
    if (x->token == NULL)
        x->token = mem_zalloc(sizeof(*x->token));
    x->job.run = token_run;
    x->job.done = token_done;
    x->state = AUTH_STATE_TOKEN;
    x->outcome = AUTH_WORKING;
    if (!work_submit(x->auth->network, &x->job))
        finish(x, AUTH_TEMPORARY);
}

/* ---- what the engine asks for -------------------------------------------------------------- */

static void give_verifier(struct auth_exchange *x)
{
    enum tls_hash hash = sasl_mechanisms[x->sasl.mechanism].hash;
    struct sasl_verifier verifier;
    bool known = auth_users_verifier(x->setup->users, x->sasl.user, hash, &verifier);
    enum sasl_step step = sasl_server_verifier(&x->sasl, &verifier, known);

    mem_wipe(&verifier, sizeof(verifier));
    take_step(x, step);
}

static void check_certificate(struct auth_exchange *x)
{
    struct slice name = auth_certificate_name(&x->peer), asked = x->sasl.user;
    struct auth_user found;
    bool good = name.len > 0 && (asked.len == 0 || slice_equal_nocase(asked, name));

    /* With a file of users there are no others, and a locked one stays out. */
    if (good && x->setup->users != NULL)
        good = auth_users_find(x->setup->users, name, &found) && found.kind != AUTH_HASH_LOCKED;
    decide(x, good, name);
}

static bool user_is_banned(struct auth_exchange *x)
{
    enum auth_ban_kind ban = auth_banned(x, x->sasl.user);

    if (ban != AUTH_BAN_NONE)
        finish(x, ban_outcome(ban));
    return ban != AUTH_BAN_NONE;
}

static void take_step(struct auth_exchange *x, enum sasl_step step)
{
    switch (step) {
    case SASL_CHALLENGE:
        encode_challenge(x);
        tell(x, AUTH_CHALLENGE);
        break;
    case SASL_CHECK_PASSWORD:
        if (!user_is_banned(x))
            check_password(x);
        break;
    case SASL_NEED_VERIFIER:
        if (!user_is_banned(x))
            give_verifier(x);
        break;
    case SASL_CHECK_CERTIFICATE:
        if (!user_is_banned(x))
            check_certificate(x);
        break;
    case SASL_CHECK_TOKEN:
        if (!user_is_banned(x))
            check_token(x);
        break;
    case SASL_OK: succeed(x); break;
    case SASL_REJECTED:
        if (x->failure_told || sasl_mechanisms[x->sasl.mechanism].token)
            finish(x, AUTH_REJECTED); /* it was counted, or no token was tried at all */
        else
            fail_late(x, AUTH_REJECTED);
        break;
    case SASL_MALFORMED: finish(x, AUTH_MALFORMED); break;
    }
}

/* ---- the session's calls ------------------------------------------------------------------- */

/* It is base64, so no line of Dovecot's protocol can be hidden in it. */
static void relay(struct auth_exchange *x, struct slice response)
{
    if (x->request.id == 0) {
        ask_dovecot(x, x->mechanism, true, response);
    } else {
        x->state = AUTH_STATE_DOVECOT;
        auth_dovecot_continue(&x->request, response);
    }
}

static void take_response(struct auth_exchange *x, struct slice response)
{
    size_t len = 0;

    if (slice_equal(response, SLICE_LITERAL("*"))) {
        auth_dovecot_forget(&x->request);
        finish(x, AUTH_CANCELLED);
        return;
    }
    if (response.len > RESPONSE_MAX) {
        auth_dovecot_forget(&x->request);
        finish(x, AUTH_TOO_LONG);
        return;
    }
    wipe_message(x);
    x->message_size = base64_decoded_max(response.len) + 1;
    x->message = mem_alloc(x->message_size);
    if (!base64_decode(response, x->message, &len)) {
        auth_dovecot_forget(&x->request);
        finish(x, AUTH_MALFORMED);
        return;
    }
    if (x->relayed) {
        relay(x, response);
        return;
    }
    /* Of guesses that are made side by side the last ones are not looked at: see decide(). */
    if (sasl_mechanisms[x->sasl.mechanism].scram && x->sasl.user.len > 0 && user_is_banned(x))
        return;
    take_step(x, sasl_server_respond(&x->sasl, slice_of(x->message, len)));
}

static bool get_binding(void *context, enum tls_binding kind, uint8_t out[TLS_BINDING_MAX],
                        size_t *out_len)
{
    struct auth_exchange *x = context;

    return x->peer.tls != NULL && tls_binding(x->peer.tls, kind, out, out_len);
}

static void make_nonce(struct auth_exchange *x)
{
    uint8_t bytes[AUTH_NONCE_LEN / 4 * 3];
    struct buf text;

    io_entropy(x->auth->io, bytes, sizeof(bytes));
    buf_init(&text, 0);
    (void)base64_encode(slice_of(bytes, sizeof(bytes)), &text);
    memcpy(x->nonce, buf_slice(&text).data, AUTH_NONCE_LEN);
    buf_finish(&text);
}

/* -PLUS stands in what EHLO offered this client. */
static bool plus_offered(const struct auth_exchange *x)
{
    const struct sasl_mechanism_facts *facts = &sasl_mechanisms[x->sasl.mechanism];
    enum sasl_mechanism plus =
        facts->hash == TLS_HASH_SHA1 ? SASL_SCRAM_SHA_1_PLUS : SASL_SCRAM_SHA_256_PLUS;

    return x->peer.tls != NULL
           && auth_way(x->auth, &x->peer, sasl_mechanisms[plus].name) == AUTH_WAY_OURS;
}

static struct slice first_response(const struct auth_request *request)
{
    return slice_equal(request->response, SLICE_LITERAL("=")) ? SLICE_NULL : request->response;
}

static void begin_sasl(struct auth_exchange *x, enum sasl_mechanism mechanism,
                       const struct auth_request *request)
{
    struct sasl_server_options options = {.binding = get_binding, .context = x};
    enum sasl_step step;

    if (sasl_mechanisms[mechanism].scram) {
        make_nonce(x);
        options.nonce = slice_of(x->nonce, AUTH_NONCE_LEN);
        x->sasl.mechanism = mechanism;
        options.plus_offered = plus_offered(x);
    }
    step = sasl_server_begin(&x->sasl, mechanism, &options);
    if (request->has_response)
        take_response(x, first_response(request));
    else
        take_step(x, step);
}

static void begin_relay(struct auth_exchange *x, const struct auth_request *request)
{
    x->relayed = true;
    if (request->has_response)
        take_response(x, first_response(request));
    else
        ask_dovecot(x, x->mechanism, false, SLICE_NULL);
}

/* As it was offered: in upper case. */
static void set_mechanism(struct auth_exchange *x, struct slice name)
{
    ASSERT(name.len <= sizeof(x->mechanism_name));
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];

        x->mechanism_name[i] = c >= 'a' && c <= 'z' ? (uint8_t)(c - 'a' + 'A') : c;
    }
    x->mechanism = slice_of(x->mechanism_name, name.len);
}

static void begin(struct auth_exchange *x, const struct auth_request *request)
{
    enum auth_way way = auth_way(x->auth, &x->peer, request->mechanism);
    enum sasl_mechanism mechanism;

    if (way >= AUTH_WAY_OURS)
        set_mechanism(x, request->mechanism);
    if (auth_banned(x, SLICE_NULL) != AUTH_BAN_NONE)
        finish(x, AUTH_BANNED);
    else if (way == AUTH_WAY_NONE)
        finish(x, AUTH_UNKNOWN_MECHANISM);
    else if (way == AUTH_WAY_NEEDS_TLS)
        finish(x, AUTH_NEEDS_TLS);
    else if (x->auth->counters.working > AUTH_EXCHANGES_MAX)
        finish(x, AUTH_TEMPORARY);
    else if (way == AUTH_WAY_DOVECOT)
        begin_relay(x, request);
    else if (sasl_mechanism_find(request->mechanism, &mechanism))
        begin_sasl(x, mechanism, request);
}

struct auth_exchange *auth_begin(struct auth *a, const struct auth_request *request)
{
    struct auth_exchange *x = mem_zalloc(sizeof(*x));

    x->auth = a;
    x->setup = auth_setup_ref(a->setup);
    x->peer = *request->peer;
    x->ready = request->ready;
    x->context = request->context;
    buf_init(&x->challenge, 0);
    wheel_timer_init(&x->timer, delay_over);
    list_push_back(&a->exchanges, &x->node);
    a->counters.working++;
    x->in_call = true;
    begin(x, request);
    x->in_call = false;
    return x;
}

enum auth_outcome auth_outcome(const struct auth_exchange *x)
{
    return x->outcome;
}

struct slice auth_challenge(const struct auth_exchange *x)
{
    ASSERT(x->outcome == AUTH_CHALLENGE);
    return buf_slice(&x->challenge);
}

void auth_respond(struct auth_exchange *x, struct slice response)
{
    ASSERT(!x->ended);
    if (x->outcome != AUTH_CHALLENGE)
        return; /* Dovecot has lost patience with the client, or is gone */
    x->outcome = AUTH_WORKING;
    x->in_call = true;
    take_response(x, response);
    x->in_call = false;
}

struct slice auth_user(const struct auth_exchange *x)
{
    ASSERT(x->outcome == AUTH_OK);
    return slice_of(x->user, x->user_len);
}

void auth_end(struct auth_exchange *x)
{
    if (x == NULL)
        return;
    ASSERT(!x->ended && !x->in_call);
    x->ready = NULL;
    x->peer.tls = NULL;
    x->ended = true;
    if (x->state == AUTH_STATE_COMPUTE || x->state == AUTH_STATE_TOKEN
        || x->state == AUTH_STATE_DOVECOT)
        return; /* what is being checked is counted all the same */
    if (x->state != AUTH_STATE_OVER)
        log_outcome(x, x->state == AUTH_STATE_DELAY ? "rejected" : "abandoned");
    auth_dovecot_forget(&x->request);
    exchange_free(x);
}
