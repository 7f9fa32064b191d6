/*
 * server_submission: what is done for and to users, who have logged in: their limits, and the header of
 * what they submit. The limits are those that the session began with.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base_log.h"
#include "base_mem.h"
#include "server_priv.h"

static const struct smtp_reply reply_sessions =
    SMTP_REPLY_INIT(421, 4, 7, 0, "You have too many sessions open, close some and try again");
static const struct smtp_reply reply_size =
    SMTP_REPLY_INIT(552, 5, 3, 4, "The message is larger than you may send");
static const struct smtp_reply reply_null_sender =
    SMTP_REPLY_INIT(452, 4, 5, 3, "One recipient only with the null sender");

static const struct conf_user_limits *limits_of(const struct session *s)
{
    return &s->client.conf->limits.user;
}

/* `recipient` may be empty. */
static void log_refused(struct session *s, const char *limit, uint64_t most, struct slice recipient,
                        const struct smtp_reply *reply)
{
    struct log_record r;

    s->server->counters.refused_user_limits++;
    log_begin(&r, LOG_INFO, "user-limit");
    log_id(&r, "session", s->id);
    log_ip(&r, "client", &s->client.ip);
    log_slice(&r, "user", s->client.user->name);
    if (s->tx != NULL)
        log_slice(&r, "from", s->tx->sender);
    if (recipient.len > 0)
        log_slice(&r, "to", recipient);
    log_str(&r, "limit", limit);
    log_u64(&r, "most", most);
    log_u64(&r, "code", reply->code);
    log_slice(&r, "reply", reply->text);
    log_end(&r);
}

/* ---- sessions ------------------------------------------------------------------------------- */

struct server_users *server_shared_users(struct server_shared *shared, bool make)
{
    struct server_users *users = atomic_load_explicit(&shared->users, memory_order_acquire);
    struct server_users *made;

    if (users != NULL || !make)
        return users;
    made = server_users_create(SERVER_USERS_SIZE);
    if (atomic_compare_exchange_strong_explicit(&shared->users, &users, made, memory_order_acq_rel,
                                                memory_order_acquire))
        return made;
    server_users_destroy(made); /* another shard was faster */
    return users;
}

static bool has_limits(const struct conf_user_limits *l)
{
    return (l->messages_per_minute | l->messages_per_hour | l->messages_per_day
            | l->recipients_per_minute | l->recipients_per_hour | l->recipients_per_day
            | l->connections)
           != 0;
}

static struct session_user *make_user(struct slice name, struct slice senders)
{
    struct session_user *u = mem_zalloc(sizeof(*u) + name.len + senders.len);

    memcpy(u->text, name.data, name.len);
    if (senders.len > 0)
        memcpy(u->text + name.len, senders.data, senders.len);
    u->is = (struct policy_user){slice_of(u->text, name.len),
                                 slice_of(u->text + name.len, senders.len)};
    u->slot = SERVER_USERS_NOBODY;
    return u;
}

const struct smtp_reply *session_user_enter(struct session *s, struct slice name,
                                            struct slice senders)
{
    const struct conf_user_limits *limits = limits_of(s);
    struct session_user *u;

    ASSERT(s->client.user == NULL); /* nobody logs in twice */
    u = make_user(name, senders);
    s->client.user = &u->is;
    if (!has_limits(limits))
        return NULL;
    u->users = server_shared_users(s->server->o.shared, true);
    if (server_users_enter(u->users, u->is.name, limits->connections, io_unix_ms(s->server->o.io),
                           &u->slot)) {
        s->server->counters.users_uncounted += u->slot == SERVER_USERS_NOBODY;
        return NULL;
    }
    log_refused(s, "connections", limits->connections, SLICE_NULL, &reply_sessions);
    return &reply_sessions;
}

void session_user_leave(struct session *s)
{
    struct session_user *u = session_user_of(s);

    if (u == NULL)
        return;
    if (u->slot != SERVER_USERS_NOBODY)
        server_users_leave(u->users, u->slot);
    u->slot = SERVER_USERS_NOBODY;
}

/* ---- messages and recipients ---------------------------------------------------------------- */

/* "90 seconds", "12 minutes", "5 hours": rather a little too long. */
static void format_wait(uint64_t wait_ms, char *out, size_t size)
{
    uint64_t seconds = (wait_ms + 999) / 1000;

    if (seconds < 120)
        (void)snprintf(out, size, "%" PRIu64 " second%s", seconds, seconds == 1 ? "" : "s");
    else if (seconds < 120 * 60)
        (void)snprintf(out, size, "%" PRIu64 " minutes", (seconds + 59) / 60);
    else
        (void)snprintf(out, size, "%" PRIu64 " hours", (seconds + 3599) / 3600);
}

static void refuse_rate(struct session *s, const struct server_users_refusal *why,
                        struct slice recipient, struct user_refusal *out)
{
    static const char *const settings[SERVER_USERS_KINDS][SERVER_USERS_SPANS] = {
        {"messages_per_minute", "messages_per_hour", "messages_per_day"},
        {"recipients_per_minute", "recipients_per_hour", "recipients_per_day"},
    };
    static const char *const spans[SERVER_USERS_SPANS] = {"a minute", "an hour", "a day"};
    char wait[32];

    format_wait(why->wait_ms, wait, sizeof(wait));
    (void)snprintf(out->text, sizeof(out->text),
                   "You may send %s%" PRIu64 " %s%s %s; try again in %s",
                   why->kind == SERVER_USERS_RECIPIENTS ? "to " : "", why->limit,
                   why->kind == SERVER_USERS_RECIPIENTS ? "recipient" : "message",
                   why->limit == 1 ? "" : "s", spans[why->span], wait);
    out->reply =
        (struct smtp_reply){.code = 450, .enhanced = {4, 7, 1}, .text = slice_str(out->text)};
    log_refused(s, settings[why->kind][why->span], why->limit, recipient, &out->reply);
}

static bool take(struct session *s, enum server_users_kind kind, struct slice recipient,
                 struct user_refusal *out)
{
    const struct session_user *u = session_user_of(s);
    struct server_users_refusal why;

    if (u == NULL || u->slot == SERVER_USERS_NOBODY
        || server_users_take(u->users, u->slot, kind, limits_of(s), io_unix_ms(s->server->o.io),
                             &why))
        return true;
    refuse_rate(s, &why, recipient, out);
    return false;
}

static bool is_too_large(const struct session *s, uint64_t size)
{
    uint64_t most = limits_of(s)->message_size;

    return policy_logged_in(&s->client) && most > 0 && size > most;
}

bool transaction_user_begin(struct session *s, struct user_refusal *out)
{
    struct transaction *tx = s->tx;

    if (!policy_logged_in(&s->client))
        return true;
    if (is_too_large(s, tx->size_hint)) {
        out->reply = reply_size;
        log_refused(s, "message_size", limits_of(s)->message_size, SLICE_NULL, &out->reply);
        return false;
    }
    if (!take(s, SERVER_USERS_MESSAGES, SLICE_NULL, out))
        return false;
    tx->taken_ms = io_unix_ms(s->server->o.io);
    tx->taken_messages = 1;
    return true;
}

bool transaction_user_recipient(struct session *s, struct user_refusal *out)
{
    struct transaction *tx = s->tx;
    uint32_t most = policy_recipients_max(&s->client, tx->sender);

    if (!policy_logged_in(&s->client))
        return true;
    if (most > 0 && s->smtp.recipients >= most) {
        out->reply = reply_null_sender;
        log_refused(s, "null_sender_recipients", most, s->smtp.path.text, &out->reply);
        return false;
    }
    if (!take(s, SERVER_USERS_RECIPIENTS, s->smtp.path.text, out))
        return false;
    tx->taken_recipients++;
    return true;
}

static void give_back(struct session *s, enum server_users_kind kind, uint32_t count)
{
    const struct session_user *u = session_user_of(s);

    if (u != NULL && u->slot != SERVER_USERS_NOBODY && count > 0)
        server_users_give_back(u->users, u->slot, kind, limits_of(s), count, s->tx->taken_ms,
                               io_unix_ms(s->server->o.io));
}

void transaction_user_recipient_failed(struct session *s)
{
    if (s->tx->taken_recipients == 0)
        return;
    give_back(s, SERVER_USERS_RECIPIENTS, 1);
    s->tx->taken_recipients--;
}

const struct smtp_reply *transaction_user_size(struct session *s)
{
    if (!is_too_large(s, s->tx->size))
        return NULL;
    log_refused(s, "message_size", limits_of(s)->message_size, SLICE_NULL, &reply_size);
    return &reply_size;
}

void transaction_user_accepted(struct transaction *tx)
{
    tx->taken_messages = tx->taken_recipients = 0;
}

void transaction_user_end(struct session *s)
{
    give_back(s, SERVER_USERS_MESSAGES, s->tx->taken_messages);
    give_back(s, SERVER_USERS_RECIPIENTS, s->tx->taken_recipients);
    transaction_user_accepted(s->tx);
}

/* ---- the header ----------------------------------------------------------------------------- */

/* Until the end of the header. */
struct submission {
    struct mail_submission header;
    uint8_t message_id[ID_TEXT_SIZE + 1 + U64_TEXT_SIZE + 1 + 255]; /* id.seconds@hostname */
};

bool transaction_submission_begin(struct session *s)
{
    struct transaction *tx = s->tx;

    if (s->terms->listener->role != CONF_ROLE_SUBMISSION
        && s->terms->listener->role != CONF_ROLE_LOCAL)
        return true;
    tx->submission = arena_alloc(&tx->arena, sizeof(*tx->submission));
    return tx->submission != NULL;
}

/* The id that the log has; and the time, since a spool that is made anew begins with the same ids. */
void transaction_submission_start(struct session *s)
{
    struct submission *sub = s->tx->submission;
    struct slice hostname = s->client.conf->hostname;
    uint64_t now_s = io_unix_ms(s->server->o.io) / 1000;
    char id[ID_TEXT_SIZE];
    size_t len = sizeof(id) - 1;

    if (sub == NULL)
        return;
    ASSERT(hostname.len <= 255);
    id_to_text(s->tx->writer.id, id);
    memcpy(sub->message_id, id, len);
    sub->message_id[len++] = '.';
    len += u64_to_text(now_s, (char *)sub->message_id + len);
    sub->message_id[len++] = '@';
    memcpy(sub->message_id + len, hostname.data, hostname.len);
    mail_submission_init(&sub->header, now_s, slice_of(sub->message_id, len + hostname.len));
}

void transaction_submission_take(struct transaction *tx, struct slice *body)
{
    if (tx->submission != NULL && !tx->submission->header.done)
        (void)mail_submission_take(&tx->submission->header, body, &tx->head);
}

void transaction_submission_finish(struct transaction *tx)
{
    if (tx->submission != NULL)
        mail_submission_finish(&tx->submission->header, &tx->head);
}
