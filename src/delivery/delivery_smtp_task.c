/*
 * delivery_smtp_task: the task of a connection: its transaction, or more than one where the peer takes fewer
 * recipients at a time, and what became of the recipients.
 */
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

/* ---- the task ----------------------------------------------------------------------------- */

/* What a reply about a recipient makes of him. */
void delivery_smtp_task_record(struct delivery_smtp *c)
{
    const struct smtp_reply *reply = &c->smtp.reply;
    enum smtp_client_stage stage = c->smtp.reply_stage;
    struct delivery_meaning m = delivery_reply_meaning(reply, stage, c->smtp.options->lmtp);
    uint32_t i = c->rcpt_of[c->smtp.rcpt_index];
    struct delivery_recipient *r = &c->task->recipients[i];

    delivery_task_set(c->task, i, m.status, reply->code,
                      reply->enhanced[0] != 0 ? reply->enhanced : NULL, reply->text);
    r->scope = (uint8_t)m.scope;
    if (c->task->probe != NULL) {
        c->task->answered = stage == SMTP_STAGE_RCPT;
        return;
    }
    if (m.enough && c->smtp.taken > 0)
        r->turned_away = true;
    if (m.status == DELIVERY_DONE) {
        bool dsn = (c->smtp.capabilities.extensions & SMTP_EXT_DSN) != 0;

        r->final = c->smtp.options->lmtp && !dsn;
        r->relayed = !c->smtp.options->lmtp && !dsn;
        c->taken++;
        c->rcpt_done++;
        delivery_site_worked(c->site);
    }
}

static void free_rcpts(struct delivery_smtp *c)
{
    if (c->transaction.rcpts != c->few) {
        mem_free(c->transaction.rcpts);
        mem_free(c->rcpt_of);
    }
    c->transaction.rcpts = NULL;
    c->rcpt_of = NULL;
}

void delivery_smtp_task_discard(struct delivery_smtp *c)
{
    free_rcpts(c);
    delivery_task_free(c->task);
}

/* Those for whom there was no room go home and come again at once. Those who have the message go home as well:
 * they do not wait for another transaction, in which a crash would forget that they have it. Each transaction has
 * delivered something, or it was the last: so there is an end to them. */
static void send_rest_home(struct delivery_smtp *c)
{
    struct delivery_task *t = c->task;

    for (uint32_t i = 0; c->rcpt_done > 0 && !c->cut && i < t->recipient_count; i++) {
        if (!t->recipients[i].turned_away)
            continue;
        delivery_task_set(t, i, DELIVERY_POSTPONED, 0, NULL,
                          SLICE_LITERAL("follows in another transaction"));
        t->postpone_ms = 0;
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
    free_rcpts(c);
    c->task_over = false;
    if (!c->to_lane)
        send_rest_home(c);
    c->task = NULL;
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

/* With all recipients that are pending, in their order. */
static void begin_transaction(struct delivery_smtp *c, uint32_t count)
{
    struct delivery_task *t = c->task;
    bool few = count <= DELIVERY_FEW_RECIPIENTS;
    uint32_t k = 0;

    ASSERT(count > 0);
    c->transaction = (struct smtp_transaction){
        .sender = t->sender,
        .rcpts = few ? c->few : mem_calloc(count, sizeof(*c->transaction.rcpts)),
        .rcpt_count = count,
        .size = t->size,
        .body_8bit = (t->flags & SPOOL_HAS_8BIT) != 0,
        .require_tls = require_tls(c, t),
        .verify = t->probe != NULL,
        .envid = t->envid,
        .ret = (enum smtp_ret)t->ret,
    };
    c->rcpt_of = few ? c->few_of : mem_calloc(count, sizeof(*c->rcpt_of));
    c->rcpt_done = 0;
    for (uint32_t i = 0; i < t->recipient_count; i++) {
        const struct delivery_recipient *r = &t->recipients[i];

        if (r->status != DELIVERY_PENDING)
            continue;
        c->rcpt_of[k] = i;
        c->transaction.rcpts[k++] = (struct smtp_client_rcpt){
            .address = r->address, .orcpt = r->orcpt, .notify = r->notify};
    }
    ASSERT(k == count);
    c->d->counters.attempts += t->probe == NULL;
    c->messages++;
    smtp_client_begin(&c->smtp, &c->transaction, net_conn_out(&c->net));
}

void delivery_smtp_task_begin(struct delivery_smtp *c, struct delivery_task *t)
{
    uint32_t pending = 0;

    delivery_smtp_name(c, t->remote);
    t->tls = c->tls;
    delivery_tls_report(c, t, "");
    c->task = t;
    if (c->messages > 0)
        c->d->counters.connections_reused++;
    for (uint32_t i = 0; i < t->recipient_count; i++)
        pending += t->recipients[i].status == DELIVERY_PENDING;
    begin_transaction(c, pending);
}

/* The connection is gone, and with it nothing of the message: it goes on over another. If that is a new one, to
 * another address, since this one has shown what it does. Once: the next time is an outcome. */
static bool goes_elsewhere(struct delivery_smtp *c, const struct delivery_reason *why)
{
    struct delivery_task *t = c->task;
    bool pending = false;

    for (uint32_t i = 0; i < t->recipient_count; i++)
        pending |= t->recipients[i].status == DELIVERY_PENDING;
    if (!pending || t->put_back || c->cut || why->scope != DELIVERY_SCOPE_CONNECTION)
        return false;
    return c->messages > 1 || delivery_site_avoid(c->site, c);
}

void delivery_smtp_task_fail(struct delivery_smtp *c, const struct delivery_reason *why)
{
    enum delivery_status status = why->permanent ? DELIVERY_FAILED : DELIVERY_DEFERRED;

    if (c->task == NULL || c->task_over)
        return;
    c->task_over = true;
    if (goes_elsewhere(c, why))
        c->to_lane = true;
    else if (c->cut && !c->smtp.failure.in_doubt)
        delivery_task_set_all(c->task, DELIVERY_POSTPONED, 0, NULL, SLICE_LITERAL("shutting down"));
    else
        delivery_task_set_because(c->task, status, why);
}
