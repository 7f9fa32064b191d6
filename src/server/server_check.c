/*
 * server_check: MAIL and RCPT, from what the client said to what stands in the envelope. Policy says whether it may
 * be, routing what the recipient stands for, and verify whether others know of it; they may take their time, in
 * SESSION_CHECK. What was said is in the input until then, and afterwards in the check's own memory.
 */
#include "base_log.h"
#include "base_mem.h"
#include "server_priv.h"

static const struct smtp_reply reply_envelope =
    SMTP_REPLY_INIT(452, 4, 5, 3, "Too many recipients, send the others separately");
static const struct smtp_reply reply_nobody =
    SMTP_REPLY_INIT(550, 5, 1, 1, "No such recipient here");
static const struct smtp_reply reply_alias_loop =
    SMTP_REPLY_INIT(550, 5, 4, 6, "That alias leads back to itself");
static const struct smtp_reply reply_lists =
    SMTP_REPLY_INIT(452, 4, 3, 1, "Too many large lists at once, try again later");
static const struct smtp_reply reply_too_many =
    SMTP_REPLY_INIT(550, 5, 2, 4, "That alias stands for too many addresses");

enum {
    CHECK_ARENA_MAX = 8 << 20, /* of one recipient: what its aliases come to */
    TARGETS_A_PASS = 256,      /* then it is the others' turn */
    /* Of all recipients of a message. Twice the list of all is nothing new, and who names hundreds of them
     * wants us to work. */
    TARGETS_SEEN_MAX = 4 * ENVELOPE_RECIPIENTS_MAX,
    /* One line of a client's comes to megabytes in the envelope, and he may keep it for minutes: so much memory for
     * all who name lists of more than a few. */
    FEW_TARGETS = 16,
    LIST_BYTES_MAX = 64 << 20,
};

_Static_assert((int)SMTP_NOTIFY_NEVER == SPOOL_NOTIFY_NEVER
                   && (int)SMTP_NOTIFY_SUCCESS == SPOOL_NOTIFY_SUCCESS
                   && (int)SMTP_NOTIFY_FAILURE == SPOOL_NOTIFY_FAILURE
                   && (int)SMTP_NOTIFY_DELAY == SPOOL_NOTIFY_DELAY,
               "NOTIFY is kept as it was said");

static struct buf *out_of(struct session *s)
{
    return net_conn_out(&s->conn);
}

static void answer(struct session *s, const struct smtp_reply *reply)
{
    smtp_server_answer(&s->smtp, reply, out_of(s));
}

bool transaction_is_checked(const struct session *s)
{
    return s->tx->check.query.verdict != VERIFY_WAIT;
}

static void is_checked(struct verify_query *q)
{
    session_step(container_of(q, struct transaction, check.query)->session);
}

/* ---- MAIL ----------------------------------------------------------------------------------- */

static void log_sender_refused(struct session *s, struct slice sender,
                               const struct smtp_reply *refusal)
{
    struct log_record r;

    s->server->counters.refused_senders++;
    log_begin(&r, LOG_INFO, "sender-refused");
    log_id(&r, "session", s->id);
    log_ip(&r, "client", &s->client.ip);
    if (policy_logged_in(&s->client))
        log_slice(&r, "user", s->client.user->name);
    log_slice(&r, "from", sender);
    log_u64(&r, "code", refusal->code);
    log_slice(&r, "reply", refusal->text);
    log_end(&r);
}

static uint16_t flags_said(const struct smtp_params *params)
{
    switch ((enum smtp_ret)params->ret) {
    case SMTP_RET_NONE: return 0;
    case SMTP_RET_FULL: return SPOOL_RET_FULL;
    case SMTP_RET_HDRS: return SPOOL_RET_HDRS;
    }
    UNREACHABLE();
}

static void begin(struct session *s)
{
    struct transaction *tx = s->tx = pool_get(&s->server->transaction_pool);
    struct smtp_params params;

    tx->session = s;
    tx->check.query.done = is_checked;
    tx->envelope.arena = &tx->arena;
    arena_init(&tx->arena, ENVELOPE_ARENA_MAX);
    arena_init(&tx->check.arena, CHECK_ARENA_MAX);
    buf_init(&tx->head, 0);
    smtp_server_params(&s->smtp, &params);
    tx->size_hint = params.size;
    tx->require_tls = params.require_tls;
    tx->flags = flags_said(&params);
    tx->sender = arena_dup(&tx->arena, s->smtp.path.text);
    if (params.envid.len > 0)
        tx->envid = arena_dup(&tx->arena, params.envid);
}

/* Strangers only: a neighbour's or a user's mail is our own to return. */
static enum verify_verdict verify_of_sender(struct session *s)
{
    if (s->server->o.verify == NULL || s->terms->listener->role == CONF_ROLE_LOCAL
        || s->client.may_relay || policy_logged_in(&s->client))
        return VERIFY_GOOD;
    return verify_sender(s->server->o.verify, &s->tx->check.query, s->client.conf, &s->smtp.path);
}

/* The sender was looked up. */
static void answer_mail(struct session *s, enum verify_verdict verdict)
{
    if (verify_refuses(verdict)) {
        struct smtp_reply refusal = s->tx->check.query.reply;

        log_sender_refused(s, s->tx->sender, &refusal);
        answer(s, &refusal);
        transaction_end(s);
        return;
    }
    answer(s, NULL);
}

void transaction_begin(struct session *s)
{
    const struct smtp_reply *refusal = transaction_spool_reply(spool_intake(s->server->o.spool));
    struct smtp_reply policy_refusal;
    struct user_refusal user_refusal;
    enum verify_verdict verdict;

    ASSERT(s->tx == NULL);
    if (refusal == NULL && !policy_check_mail(&s->client, &s->smtp.path, &policy_refusal)) {
        refusal = &policy_refusal;
        log_sender_refused(s, s->smtp.path.text, refusal);
    }
    if (refusal != NULL) {
        answer(s, refusal);
        return;
    }
    begin(s);
    if (!transaction_user_begin(s, &user_refusal)) {
        answer(s, &user_refusal.reply);
        transaction_end(s);
        return;
    }
    bool room = transaction_submission_begin(s);
    ASSERT(room); /* there is next to nothing in the arena yet */
    verdict = verify_of_sender(s);
    if (verdict == VERIFY_WAIT)
        s->state = SESSION_CHECK;
    else
        answer_mail(s, verdict);
}

/* ---- RCPT ----------------------------------------------------------------------------------- */

void transaction_log_refused(struct session *s, const char *event, struct slice recipient,
                             const struct smtp_reply *refusal)
{
    struct log_record r;

    log_begin(&r, LOG_INFO, event);
    log_id(&r, "session", s->id);
    log_ip(&r, "client", &s->client.ip);
    log_slice(&r, "from", s->tx->sender);
    log_slice(&r, "to", recipient);
    log_u64(&r, "code", refusal->code);
    log_slice(&r, "reply", refusal->text);
    log_end(&r);
}

static void log_expanded(const struct session *s, const struct transaction_check *c, uint32_t added)
{
    struct log_record r;

    log_begin(&r, LOG_INFO, "expanded");
    log_id(&r, "session", s->id);
    log_slice(&r, "from", s->tx->sender);
    log_slice(&r, "to", c->recipient);
    log_u64(&r, "targets", c->targets.count);
    log_u64(&r, "added", added);
    log_slice(&r, "first", c->targets.items[0]);
    if (c->targets.dropped > 0) {
        log_u64(&r, "dropped", c->targets.dropped);
        log_slice(&r, "culprit", c->targets.culprit);
    }
    log_end(&r);
}

/* An alias that cannot be followed is something for its administrator to mend. */
static void log_alias_failed(const struct session *s, const struct transaction_check *c,
                             const char *why)
{
    struct log_record r;

    log_begin(&r, LOG_WARNING, "alias-failed");
    log_id(&r, "session", s->id);
    log_slice(&r, "to", c->recipient);
    log_str(&r, "reason", why);
    if (c->targets.culprit.len > 0)
        log_slice(&r, "culprit", c->targets.culprit);
    log_end(&r);
}

static void forget_recipient(struct transaction *tx)
{
    arena_reset(&tx->check.arena);
    tx->check.recipient = SLICE_NULL;
}

static void refuse_recipient(struct session *s, const struct smtp_reply *refusal)
{
    s->server->counters.refused_recipients++;
    transaction_log_refused(s, "recipient-refused", s->tx->check.recipient, refusal);
    answer(s, refusal);
    forget_recipient(s->tx);
}

/* It was counted for the user already. */
static void give_recipient_back(struct session *s, const struct smtp_reply *refusal)
{
    transaction_user_recipient_failed(s);
    refuse_recipient(s, refusal);
}

/* <postmaster> alone gets the domain that it means, so that everything after this sees addresses. */
static struct slice recipient_text(struct session *s)
{
    const struct smtp_address *path = &s->smtp.path;
    struct slice local = SLICE_LITERAL("postmaster@");
    struct slice domain = policy_postmaster_domain(s->client.conf);
    uint8_t *text;

    if (path->kind != SMTP_DOMAIN_NONE)
        return path->text;
    text = arena_alloc(&s->tx->check.arena, local.len + domain.len);
    ASSERT(text != NULL); /* it is empty yet */
    memcpy(text, local.data, local.len);
    memcpy(text + local.len, domain.data, domain.len);
    return slice_of(text, local.len + domain.len);
}

/* A list takes milliseconds. */
static void count_work(struct session *s, enum routing_expand result)
{
    struct transaction *tx = s->tx;
    uint32_t seen = tx->check.targets.count + tx->check.targets.dropped;

    if (result == ROUTING_LOOP || result == ROUTING_TOO_MANY)
        seen = ROUTING_TARGETS_MAX; /* at the worst */
    s->server->worked_hard |= seen > TARGETS_A_PASS;
    tx->targets_seen += seen;
}

/* Not NULL: the recipient stands for none, or for too many. */
static const struct smtp_reply *expand(struct session *s)
{
    struct transaction_check *c = &s->tx->check;
    enum routing_expand result;

    c->expanded = false;
    if (s->tx->targets_seen > TARGETS_SEEN_MAX)
        return &reply_envelope;
    result = routing_expand(s->client.conf, c->recipient, ENVELOPE_RECIPIENTS_MAX, &c->arena,
                            &c->targets);
    count_work(s, result);
    switch (result) {
    case ROUTING_SAME:
        c->targets = (struct routing_targets){.items = &c->recipient, .count = 1};
        return NULL;
    case ROUTING_EXPANDED: c->expanded = true; return NULL;
    case ROUTING_LOOP: log_alias_failed(s, c, "loop"); return &reply_alias_loop;
    case ROUTING_TOO_MANY: log_alias_failed(s, c, "too many targets"); return &reply_too_many;
    case ROUTING_NOBODY: log_alias_failed(s, c, "no target exists"); return &reply_nobody;
    }
    UNREACHABLE();
}

/* All of it, or nothing. The targets of an alias are named by the alias in notices, since that is what the
 * sender knows; an alias of several has a place of its own where its success is to be told (RFC 3461
 * 5.2.7). False: there is no room. */
static bool add_targets(struct session *s, uint32_t *out_added)
{
    struct transaction_check *c = &s->tx->check;
    struct envelope *e = &s->tx->envelope;
    const struct conf *conf = s->client.conf;
    struct spool_dsn whole = c->dsn, each = c->dsn;
    bool several = c->targets.count > 1;
    bool told = several && (c->dsn.notify & SPOOL_NOTIFY_SUCCESS) != 0;
    size_t extra = told ? c->recipient.len + c->dsn.orcpt.len : 0;

    whole.flags = SPOOL_RECIPIENT_EXPANDED;
    if (several)
        each.notify = envelope_notify_of_targets(c->dsn.notify);
    if (c->expanded && each.orcpt.len == 0)
        each.orcpt = envelope_orcpt(&c->arena, c->recipient);
    if (!envelope_has_room(e, conf, c->targets.items, c->targets.count, &each, extra)) {
        each.orcpt = c->dsn.orcpt; /* a large list is worth more than the name that it goes by */
        if (!envelope_has_room(e, conf, c->targets.items, c->targets.count, &each, extra))
            return false;
    }
    *out_added = 0;
    for (uint32_t i = 0; i < c->targets.count; i++)
        *out_added += envelope_add(e, conf, c->targets.items[i], &each);
    if (told)
        (void)envelope_add(e, conf, c->recipient, &whole);
    return true;
}

static bool has_room_for_list(const struct session *s)
{
    return s->tx->check.targets.count <= FEW_TARGETS || s->server->list_bytes < LIST_BYTES_MAX;
}

static void count_list(struct session *s)
{
    struct transaction *tx = s->tx;

    if (tx->check.targets.count <= FEW_TARGETS)
        return;
    s->server->list_bytes += tx->arena.used - tx->list_bytes;
    tx->list_bytes = tx->arena.used;
}

static void answer_rcpt(struct session *s, enum verify_verdict verdict)
{
    struct transaction *tx = s->tx;
    struct transaction_check *c = &tx->check;
    uint32_t added;

    if (verify_refuses(verdict)) {
        struct smtp_reply refusal = c->query.reply;

        give_recipient_back(s, &refusal);
        return;
    }
    if (!has_room_for_list(s)) {
        give_recipient_back(s, &reply_lists);
        return;
    }
    if (!add_targets(s, &added)) {
        give_recipient_back(s, tx->envelope.count == 0 ? &reply_too_many : &reply_envelope);
        return;
    }
    count_list(s);
    if (tx->first.len == 0)
        tx->first = arena_dup(&tx->arena, c->recipient);
    if (c->expanded) {
        s->server->counters.expanded++;
        log_expanded(s, c, added);
    }
    answer(s, NULL);
    forget_recipient(tx);
}

/* What was said goes with the input; the targets are in the arena already. */
static void keep_recipient(struct transaction_check *c)
{
    c->recipient = arena_dup(&c->arena, c->recipient);
    if (c->dsn.orcpt.len > 0)
        c->dsn.orcpt = arena_dup(&c->arena, c->dsn.orcpt);
}

/* What the mail would come to: of an alias for several, others may well exist if one does not, and what it says is
 * the administrator's. The verdict is that of verify; what policy refuses is said and done. */
static bool check_target(struct session *s, enum verify_verdict *out_verdict)
{
    struct transaction_check *c = &s->tx->check;
    struct verify_question question = {
        .conf = s->client.conf, .sender = s->tx->sender, .client = s->client.ip};
    struct smtp_address target;
    struct smtp_reply refusal;

    *out_verdict = VERIFY_GOOD;
    if (c->targets.count != 1)
        return true;
    if (!c->expanded && s->smtp.path.kind != SMTP_DOMAIN_NONE)
        target = s->smtp.path;
    else if (smtp_address_parse(c->targets.items[0], 0, &target) != SMTP_ADDRESS_OK)
        return true;
    if (c->expanded && !policy_check_target(&s->client, s->tx->sender, &target, &refusal)) {
        give_recipient_back(s, &refusal);
        return false;
    }
    /* A program on this machine does not wait for the DNS: its sender hears of it by mail. */
    if (s->server->o.verify == NULL || s->terms->listener->role == CONF_ROLE_LOCAL)
        return true;
    question.recipient = &target;
    *out_verdict = verify_recipient(s->server->o.verify, &c->query, &question);
    return true;
}

void transaction_checked(struct session *s)
{
    enum verify_verdict verdict = s->tx->check.query.verdict;

    if (s->tx->check.recipient.len > 0)
        answer_rcpt(s, verdict);
    else
        answer_mail(s, verdict);
}

void transaction_add_recipient(struct session *s)
{
    struct transaction_check *c = &s->tx->check;
    struct smtp_reply policy_refusal;
    struct user_refusal user_refusal;
    const struct smtp_reply *refusal;
    struct smtp_params params;
    enum verify_verdict verdict;

    c->recipient = s->smtp.path.text;
    if (!policy_check_rcpt(&s->client, s->tx->sender, &s->smtp.path, &policy_refusal)) {
        refuse_recipient(s, &policy_refusal);
        return;
    }
    if (!transaction_user_recipient(s, &user_refusal)) {
        s->server->counters.refused_recipients++;
        answer(s, &user_refusal.reply);
        forget_recipient(s->tx);
        return;
    }
    smtp_server_params(&s->smtp, &params);
    c->dsn = (struct spool_dsn){.orcpt = params.orcpt, .notify = params.notify};
    c->recipient = recipient_text(s);
    refusal = expand(s);
    if (refusal != NULL) {
        give_recipient_back(s, refusal);
        return;
    }
    if (!check_target(s, &verdict))
        return;
    if (verdict != VERIFY_WAIT) {
        answer_rcpt(s, verdict);
        return;
    }
    keep_recipient(c);
    s->state = SESSION_CHECK;
}
