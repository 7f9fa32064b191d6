/*
 * delivery_smtp_task: the task of a connection: its transaction, what became of its recipients, and in
 * which words a failure is told.
 */
#include <errno.h>
#include <stdio.h>

#include "base_mem.h"
#include "delivery_remote_priv.h"

void delivery_smtp_name(const struct delivery_smtp *c, char out[DELIVERY_REMOTE_NAME])
{
    char ip[IP_TEXT_SIZE];
    uint16_t port = 0;
    struct ip_addr same;

    if (delivery_site_addresses(c->site)->on_socket) {
        (void)snprintf(out, DELIVERY_REMOTE_NAME, "lmtp+unix:%.*s", SLICE_ARG(c->host));
        return;
    }
    (void)io_addr_to_ip(&c->address, &same, &port);
    ip_format(&c->ip, ip);
    (void)snprintf(out, DELIVERY_REMOTE_NAME, "%.*s[%s]:%u", SLICE_ARG(c->host), ip,
                   (unsigned)port);
}

/* ---- why it ended ------------------------------------------------------------------------- */

/* After "timeout" as it stands, after "connection lost" with "while" before it. */
static const char *stage_words(enum smtp_client_stage stage)
{
    switch (stage) {
    case SMTP_STAGE_GREETING: return "waiting for the greeting";
    case SMTP_STAGE_EHLO: return "waiting for the reply to EHLO";
    case SMTP_STAGE_HELO: return "waiting for the reply to HELO";
    case SMTP_STAGE_STARTTLS: return "waiting for the reply to STARTTLS";
    case SMTP_STAGE_SECURE: return "shaking hands for TLS";
    case SMTP_STAGE_AUTH: return "logging in";
    case SMTP_STAGE_IDLE: return "waiting between messages";
    case SMTP_STAGE_RSET: return "waiting for the reply to RSET";
    case SMTP_STAGE_MAIL: return "waiting for the reply to MAIL";
    case SMTP_STAGE_RCPT: return "waiting for the reply to RCPT";
    case SMTP_STAGE_DATA: return "waiting for the reply to DATA";
    case SMTP_STAGE_BODY: return "sending the body";
    case SMTP_STAGE_DOT: return "waiting for the reply to the final dot";
    case SMTP_STAGE_QUIT: return "waiting for the reply to QUIT";
    case SMTP_STAGE_CLOSED: return "closing";
    }
    UNREACHABLE();
}

void delivery_smtp_explain_connect(const struct delivery_smtp *c, struct delivery_reason *out)
{
    int error = c->net.error != 0 ? c->net.error : -ETIMEDOUT;
    const char *words = strerrordesc_np(-error);
    char name[DELIVERY_REMOTE_NAME];

    delivery_smtp_name(c, name);
    delivery_reason_set(out, 4, 1, "connect to %s: %s", name, words != NULL ? words : "failed");
}

/* The session has FAILED: c->smtp.failure says where. */
void delivery_smtp_explain(const struct delivery_smtp *c, struct delivery_reason *out)
{
    const struct smtp_client_failure *f = &c->smtp.failure;
    const char *words = stage_words(f->stage);
    const char *doubt = f->in_doubt ? "; it may have taken the message" : "";
    const char *error = c->net.error != 0 ? strerrordesc_np(-c->net.error) : NULL;
    char name[DELIVERY_REMOTE_NAME];

    delivery_smtp_name(c, name);
    if (f->protocol) {
        delivery_reason_set(out, 5, 0, "%s does not speak SMTP (while %s)%s", name, words, doubt);
    } else if (f->code != 0) {
        delivery_reason_set(out, 3, 2, "%s said while we were %s: %.*s", name, words,
                            SLICE_ARG(c->smtp.reply.text));
        out->code = f->code;
        /* Of the replies that end a session only one to the body is about the message. */
        out->permanent = f->permanent && f->stage == SMTP_STAGE_BODY;
        if (c->smtp.reply.enhanced[0] != 0)
            memcpy(out->enhanced, c->smtp.reply.enhanced, sizeof(out->enhanced));
        else if (out->permanent)
            out->enhanced[0] = 5;
    } else if (c->expired) {
        delivery_reason_set(out, 4, 2, "%s: timeout %s%s", name, words, doubt);
    } else {
        delivery_reason_set(out, 4, 2, "%s: connection lost while %s%s%s%s%s", name, words, doubt,
                            error != NULL ? " (" : "", error != NULL ? error : "",
                            error != NULL ? ")" : "");
    }
}

/* ---- the task ----------------------------------------------------------------------------- */

/* RFC 5321 4.5.3.1.10: to RCPT an old server says 552 for "enough recipients for now". One that says more
 * than that means it: 5.2.2 is a mailbox that is full, and the sender is to know. */
static bool is_enough_for_now(const struct smtp_reply *reply, enum smtp_client_stage stage)
{
    return reply->code == 552 && stage == SMTP_STAGE_RCPT
           && (reply->enhanced[0] == 0 || (reply->enhanced[1] == 5 && reply->enhanced[2] == 3));
}

void delivery_smtp_task_record(struct delivery_smtp *c)
{
    const struct smtp_reply *reply = &c->smtp.reply;
    struct delivery_recipient *r = &c->task->recipients[c->smtp.rcpt_index];
    enum delivery_status status;

    switch (smtp_reply_class(reply)) {
    case 2: status = DELIVERY_DONE; break;
    case 5: status = DELIVERY_FAILED; break;
    default: status = DELIVERY_DEFERRED; break;
    }
    if (is_enough_for_now(reply, c->smtp.reply_stage))
        status = DELIVERY_DEFERRED;
    c->task->answered = c->task->probe != NULL && c->smtp.reply_stage == SMTP_STAGE_RCPT;
    delivery_task_set(c->task, (uint32_t)c->smtp.rcpt_index, status, reply->code,
                      reply->enhanced[0] != 0 ? reply->enhanced : NULL, reply->text);
    if (status == DELIVERY_DONE && c->task->probe == NULL) {
        bool dsn = (c->smtp.capabilities.extensions & SMTP_EXT_DSN) != 0;

        r->final = c->smtp.options->lmtp && !dsn;
        r->relayed = !c->smtp.options->lmtp && !dsn;
        c->taken++;
        delivery_site_worked(c->site);
    }
}

/* Ends the task, when nothing of it is in flight any more. */
void delivery_smtp_task_settle(struct delivery_smtp *c)
{
    struct delivery_task *t = c->task;

    if (t == NULL || !c->task_over || net_conn_sending(&c->net)
        || (c->reading && spool_reader_busy(&c->reader)))
        return;
    delivery_smtp_body_end(c);
    if (c->transaction.rcpts != c->few)
        mem_free(c->transaction.rcpts);
    c->transaction.rcpts = NULL;
    c->task = NULL;
    c->task_over = false;
    if (c->to_lane) {
        t->remote[0] = '\0';
        c->to_lane = false;
        delivery_site_put_back(c->site, t);
    } else {
        delivery_task_finish(c->d, t);
    }
}

_Static_assert((int)SPOOL_NOTIFY_NEVER == (int)SMTP_NOTIFY_NEVER
                   && (int)SPOOL_NOTIFY_SUCCESS == (int)SMTP_NOTIFY_SUCCESS
                   && (int)SPOOL_NOTIFY_FAILURE == (int)SMTP_NOTIFY_FAILURE
                   && (int)SPOOL_NOTIFY_DELAY == (int)SMTP_NOTIFY_DELAY,
               "what is kept is what is said");

/* A notification asks for it where it is to be had (RFC 8689 5); for others that has been seen to. */
static bool require_tls(const struct delivery_smtp *c, const struct delivery_task *t)
{
    if ((t->flags & SPOOL_REQUIRE_TLS) == 0)
        return false;
    return delivery_demand_of(t).require
           || (c->smtp.tls_active && (c->smtp.capabilities.extensions & SMTP_EXT_REQUIRETLS) != 0);
}

void delivery_smtp_task_begin(struct delivery_smtp *c, struct delivery_task *t)
{
    delivery_smtp_name(c, t->remote);
    t->tls = c->tls;
    delivery_tls_report(c, t, "");
    c->task = t;
    c->transaction = (struct smtp_transaction){
        .sender = t->sender,
        .rcpts = t->recipient_count <= DELIVERY_FEW_RECIPIENTS
                     ? c->few
                     : mem_calloc(t->recipient_count, sizeof(*c->transaction.rcpts)),
        .rcpt_count = t->recipient_count,
        .size = t->size,
        .body_8bit = (t->flags & SPOOL_HAS_8BIT) != 0,
        .require_tls = require_tls(c, t),
        .verify = t->probe != NULL,
        .envid = t->envid,
        .ret = (enum smtp_ret)t->ret,
    };
    for (uint32_t i = 0; i < t->recipient_count; i++) {
        ASSERT(t->recipients[i].status == DELIVERY_PENDING);
        c->transaction.rcpts[i] = (struct smtp_client_rcpt){
            .address = t->recipients[i].address,
            .orcpt = t->recipients[i].orcpt,
            .notify = t->recipients[i].notify,
        };
    }
    c->d->counters.attempts += t->probe == NULL;
    if (c->messages > 0)
        c->d->counters.connections_reused++;
    c->messages++;
    smtp_client_begin(&c->smtp, &c->transaction, net_conn_out(&c->net));
}

/* The peer had closed a connection that was kept for reuse, or dropped it in silence: this says nothing
 * about the message. */
static bool went_stale(const struct delivery_smtp *c)
{
    const struct smtp_client_failure *f = &c->smtp.failure;

    for (uint32_t i = 0; i < c->task->recipient_count; i++) {
        if (c->task->recipients[i].status != DELIVERY_PENDING)
            return false;
    }
    return c->messages > 1 && !c->task->put_back && !c->cut && c->smtp.answered == 0 && !f->in_doubt
           && (f->stage == SMTP_STAGE_IDLE || f->stage == SMTP_STAGE_RSET
               || f->stage == SMTP_STAGE_MAIL);
}

void delivery_smtp_task_fail(struct delivery_smtp *c, const struct delivery_reason *why)
{
    enum delivery_status status = why->permanent ? DELIVERY_FAILED : DELIVERY_DEFERRED;

    if (c->task == NULL || c->task_over)
        return;
    c->task_over = true;
    if (went_stale(c)) {
        c->to_lane = true;
        return;
    }
    if (c->cut && !c->smtp.failure.in_doubt)
        delivery_task_set_all(c->task, DELIVERY_POSTPONED, 0, NULL, SLICE_LITERAL("shutting down"));
    else
        delivery_task_set_all(c->task, status, why->code, why->enhanced, slice_str(why->text));
}
