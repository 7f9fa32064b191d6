/* delivery_notice_fill: what stands in a letter, from the tasks, the message's envelope and the configuration. */
#include "base_mem.h"
#include "delivery_notice_priv.h"
#include "routing.h"
#include "smtp_dsn.h"

struct delivery_task *delivery_notice_task(const struct notice *n)
{
    return container_of(n->tasks.next, struct delivery_task, node);
}

/* ---- recipients ----------------------------------------------------------------------------- */

/* "mx.example.org" of "mx.example.org[192.0.2.1]:25"; a socket in the file system is no host. */
static struct slice remote_host(const struct delivery_task *t)
{
    struct slice remote = slice_str(t->remote);
    ptrdiff_t bracket = slice_find(remote, '[');

    if (bracket < 0 && slice_find(remote, '/') >= 0)
        return SLICE_NULL;
    return bracket > 0 ? slice_head(remote, (size_t)bracket) : remote;
}

static enum mail_dsn_action action_of(const struct delivery_recipient *r)
{
    if (r->notice == DELIVERY_NOTICE_FAILURE)
        return MAIL_DSN_FAILED;
    if (r->notice == DELIVERY_NOTICE_DELAY)
        return MAIL_DSN_DELAYED;
    if (r->expanded)
        return MAIL_DSN_EXPANDED;
    return r->final ? MAIL_DSN_DELIVERED : MAIL_DSN_RELAYED;
}

static uint64_t retry_until(const struct notice *n, const struct delivery_task *t)
{
    uint32_t deliver_by_s = t->entry->message->terms.deliver_by_s;
    uint64_t until_s = n->arrived_s + delivery_task_retry(t)->expire / 1000;

    return deliver_by_s != 0 && deliver_by_s < until_s ? deliver_by_s : until_s;
}

/* The texts lie in one buf a recipient, the diagnostic before the address of ORCPT. */
static void gather_one(struct notice *n, const struct delivery_task *t,
                       const struct delivery_recipient *r)
{
    struct mail_dsn_rcpt *out = &n->rcpts[n->rcpt_count];
    struct buf *text = &n->texts[n->rcpt_count++];
    size_t diagnostic_len;

    buf_init(text, 0);
    if (r->status != DELIVERY_DONE || r->code != 0)
        delivery_outcome_text(r, text);
    diagnostic_len = buf_len(text);
    *out = (struct mail_dsn_rcpt){.address = r->address,
                                  .action = action_of(r),
                                  .code = r->code,
                                  .remote_mta = r->code != 0 ? remote_host(t) : SLICE_NULL,
                                  .expired = r->expired};
    memcpy(out->enhanced, r->enhanced, sizeof(r->enhanced));
    if (!t->quiet)
        out->last_attempt = queue_now_s(n->d->o.queue);
    if (out->action == MAIL_DSN_DELAYED)
        out->retry_until = retry_until(n, t);
    if (r->orcpt.len > 0 && !smtp_orcpt_decode(r->orcpt, &out->orcpt_type, text)) {
        out->orcpt_type = SLICE_NULL;
        buf_truncate(text, diagnostic_len);
    }
    out->diagnostic = slice_head(buf_slice(text), diagnostic_len);
    out->orcpt = buf_slice(text);
    slice_advance(&out->orcpt, diagnostic_len);
}

void delivery_notice_gather(struct notice *n)
{
    uint32_t most = n->weight;

    n->rcpts = mem_calloc(most, sizeof(*n->rcpts));
    n->texts = mem_calloc(most, sizeof(*n->texts));
    n->rcpt_count = 0;
    LIST_EACH(&n->tasks, node)
    {
        const struct delivery_task *t = container_of(node, struct delivery_task, node);
        for (uint32_t i = 0; i < t->recipient_count; i++) {
            if (t->recipients[i].notice == n->kind)
                gather_one(n, t, &t->recipients[i]);
        }
    }
}

void delivery_notice_ungather(struct notice *n)
{
    for (uint32_t i = 0; i < n->rcpt_count; i++)
        buf_finish(&n->texts[i]);
    mem_free(n->texts);
    mem_free(n->rcpts);
    n->texts = NULL;
    n->rcpts = NULL;
    n->rcpt_count = 0;
}

/* ---- who reads it --------------------------------------------------------------------------- */

/* Our own domains are looked into: an alias stands for others, and for who is not there no mailbox is to
 * be made. */
static bool resolve(const struct notice *n, struct slice address, struct arena *arena,
                    struct routing_targets *out)
{
    struct smtp_address parsed;
    uint32_t most = (uint32_t)n->conf->limits.recipients;

    if (smtp_address_parse(address, SMTP_PATH_UTF8, &parsed) != SMTP_ADDRESS_OK)
        return false;
    switch (routing_expand(n->conf, address, most > 0 ? most : 1000, arena, out)) {
    case ROUTING_SAME:
        if (routing_known(n->conf, &parsed) == ROUTING_UNKNOWN)
            return false;
        out->items = arena_alloc(arena, sizeof(*out->items));
        if (out->items == NULL)
            return false;
        out->items[0] = address;
        out->count = 1;
        return true;
    case ROUTING_EXPANDED: return out->count > 0;
    case ROUTING_LOOP:
    case ROUTING_TOO_MANY:
    case ROUTING_NOBODY: break;
    }
    return false;
}

struct slice delivery_notice_to(struct notice *n, struct arena *arena, struct routing_targets *out)
{
    struct slice sender = delivery_notice_task(n)->sender;
    struct slice postmaster = n->conf->notices.postmaster;

    if (n->copy)
        return resolve(n, postmaster, arena, out) ? postmaster : SLICE_NULL;
    if (n->reader == DELIVERY_READER_SENDER) {
        if (resolve(n, sender, arena, out))
            return sender;
        /* There is nobody: what failed is then told as if there were no sender. */
        n->reader = n->kind == DELIVERY_NOTICE_FAILURE && delivery_notice_copies(n->conf, "double")
                        ? DELIVERY_READER_POSTMASTER
                        : DELIVERY_READER_NOBODY;
    }
    if (n->reader == DELIVERY_READER_POSTMASTER && resolve(n, postmaster, arena, out))
        return postmaster;
    return SLICE_NULL;
}

/* ---- the letter ----------------------------------------------------------------------------- */

/* A line "key=value" of the facts that the session left. */
static struct slice fact(const struct notice *n, const char *key)
{
    struct slice rest = buf_slice(&n->facts), wanted = slice_str(key);

    while (rest.len > 0) {
        ptrdiff_t lf = slice_find(rest, '\n');
        struct slice line = slice_head(rest, lf < 0 ? rest.len : (size_t)lf);

        slice_advance(&rest, line.len + (lf >= 0));
        if (line.len > wanted.len && line.data[wanted.len] == '='
            && slice_equal(slice_head(line, wanted.len), wanted)) {
            slice_advance(&line, wanted.len + 1);
            return line;
        }
    }
    return SLICE_NULL;
}

static bool is_ascii(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] >= 0x80)
            return false;
    }
    return true;
}

/* RFC 3461 4.3, 5.2: whole only a message that has failed, and only to its sender; if nothing was said, as
 * others do. One that is to travel encrypted only (RFC 8689) does not come back in a letter that may not. */
static enum mail_dsn_returned returned(const struct notice *n)
{
    uint8_t ret = delivery_notice_task(n)->ret;

    if (n->unreadable && buf_len(&n->headers) == 0)
        return MAIL_DSN_NOTHING;
    if (n->kind == DELIVERY_NOTICE_FAILURE && !n->copy && n->reader == DELIVERY_READER_SENDER
        && ret != SMTP_RET_HDRS && (n->flags & SPOOL_REQUIRE_TLS) == 0
        && n->size <= n->conf->notices.return_size && !n->unreadable)
        return MAIL_DSN_WHOLE;
    return buf_len(&n->headers) > 0 ? MAIL_DSN_HEADERS : MAIL_DSN_NOTHING;
}

static void fill_kind(struct notice *n)
{
    const struct conf_notices *notices = &n->conf->notices;

    switch (n->kind) {
    case DELIVERY_NOTICE_NONE: UNREACHABLE();
    case DELIVERY_NOTICE_FAILURE:
        n->dsn.kind = MAIL_DSN_FAILURE;
        n->dsn.template = notices->failure;
        return;
    case DELIVERY_NOTICE_DELAY:
        n->dsn.kind = MAIL_DSN_DELAY;
        n->dsn.template = notices->delay;
        return;
    case DELIVERY_NOTICE_SUCCESS:
        n->dsn.kind = MAIL_DSN_SUCCESS;
        n->dsn.template = notices->success;
        return;
    }
    UNREACHABLE();
}

static enum mail_dsn_reader reader_of(const struct notice *n)
{
    if (n->copy)
        return MAIL_DSN_COPY;
    return n->reader == DELIVERY_READER_SENDER ? MAIL_DSN_SENDER : MAIL_DSN_INSTEAD;
}

void delivery_notice_fill(struct notice *n)
{
    const struct delivery_task *t = delivery_notice_task(n);
    uint32_t left = n->rcpt_count - n->from;

    id_to_text(n->writer.id, n->letter_id);
    id_to_text(n->id, n->about_id);
    n->dsn = (struct mail_dsn){
        .reader = reader_of(n),
        .utf8 = (n->flags & SPOOL_IS_UTF8) != 0 || !is_ascii(n->to),
        .original_8bit = (n->flags & SPOOL_HAS_8BIT) != 0,
        .hostname = n->conf->hostname,
        .from = n->conf->notices.from,
        .id = slice_str(n->letter_id),
        .to = n->to,
        .sender = t->sender,
        .about_id = slice_str(n->about_id),
        .envid = buf_slice(&n->envid),
        .date = queue_now_s(n->d->o.queue),
        .arrival = n->arrived_s,
        .headers = buf_slice(&n->headers),
        .returned = returned(n),
        .rcpts = n->rcpts + n->from,
        .rcpt_count = left < MAIL_DSN_RCPTS_MAX ? left : MAIL_DSN_RCPTS_MAX,
    };
    if (fact(n, "user").len
        == 0) { /* who logged in is no MTA, and where he is is his own business */
        n->dsn.received_from = fact(n, "helo");
        n->dsn.received_ip = fact(n, "client");
    }
    io_entropy(n->d->o.io, n->dsn.random, sizeof(n->dsn.random));
    fill_kind(n);
}
