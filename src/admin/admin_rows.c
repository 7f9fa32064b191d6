/* admin_rows: messages as they are shown, in JSON and to people. What comes from outside (addresses,
 * replies) may hold anything: none of it reaches a terminal as a control character. */
#include <inttypes.h>

#include "admin_transfer_priv.h"
#include "routing.h"

enum { LIST_RECIPIENTS_MAX = 1000, SHOW_RECIPIENTS_MAX = 5000 };

static const char *recipient_state_name(const struct spool_recipient *r)
{
    if (r->state == SPOOL_RECIPIENT_WAITING && !admin_transfer_waits(r))
        return "delivered"; /* and its sender is being told */
    switch ((enum spool_recipient_state)r->state) {
    case SPOOL_RECIPIENT_WAITING: return r->flags & SPOOL_RECIPIENT_HELD ? "held" : "waiting";
    case SPOOL_RECIPIENT_DELIVERED: return "delivered";
    case SPOOL_RECIPIENT_BOUNCED: return "bounced";
    case SPOOL_RECIPIENT_DELETED: return "deleted";
    }
    UNREACHABLE();
}

static uint32_t recipients_max(const struct admin_job *j, const struct spool_message *m)
{
    uint32_t most = j->request.verb == ADMIN_SHOW ? SHOW_RECIPIENTS_MAX : LIST_RECIPIENTS_MAX;

    return m->recipient_count < most ? m->recipient_count : most;
}

/* When a recipient's patience is over, and when its sender is to be told of the delay; 0: not. */
struct patience {
    uint32_t give_up_s, warn_s;
};

static struct patience patience_of(const struct admin_job *j, const struct spool_message *m,
                                   const struct admin_envelope *e, uint32_t i)
{
    const struct spool_recipient *r = &m->recipients[i];
    struct patience p = {0};
    struct routing_way way;

    if (j->request.verb != ADMIN_SHOW || r->state != SPOOL_RECIPIENT_WAITING)
        return p;
    routing_find(shard_queue(j->on)->conf, e->sender, e->recipients[i], &way);
    p.give_up_s = queue_give_up_s(m, &way.route->retry);
    if (way.route->retry.warn_after > 0 && !(r->flags & SPOOL_RECIPIENT_WARNED)
        && e->sender.len > 0)
        p.warn_s = m->arrived_s + (uint32_t)(way.route->retry.warn_after / 1000);
    return p;
}

/* The rule that holds a message; NULL: none does. */
static const struct queue_hold_rule *rule_of(const struct admin_job *j,
                                             const struct queue_facts *facts)
{
    struct slice number = facts->waits_for;
    uint64_t id;

    if (facts->standing != QUEUE_IS_HELD || !slice_starts_nocase(number, SLICE_LITERAL("hold ")))
        return NULL;
    slice_advance(&number, 5);
    if (!slice_to_u64(number, &id) || id > UINT32_MAX)
        return NULL;
    return queue_holds_find(&shard_queue(j->on)->holds, (uint32_t)id);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

void admin_json_date(struct buf *out, const char *key, uint32_t unix_s)
{
    char text[DATE_TEXT_SIZE];

    if (unix_s == 0 || unix_s == SPOOL_DUE_NEVER)
        return;
    date_format_iso((uint64_t)unix_s * 1000, text);
    (void)buf_printf(out, ",\"%s\":\"%s\"", key, text);
}

static void json_text(struct buf *out, const char *key, struct slice text)
{
    if (text.len == 0)
        return;
    (void)buf_printf(out, ",\"%s\":", key);
    (void)json_append_string(out, text);
}

static void json_notify(struct buf *out, uint8_t notify)
{
    static const char *const names[] = {"never", "success", "failure", "delay"};
    const char *before = ",\"notify\":[";

    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (!(notify & 1u << i))
            continue;
        (void)buf_printf(out, "%s\"%s\"", before, names[i]);
        before = ",";
    }
    if (notify != 0)
        (void)buf_append_str(out, "]");
}

static void json_recipient(struct buf *out, const struct spool_recipient *r, struct slice address,
                           const struct spool_dsn *dsn, struct patience patience)
{
    (void)buf_append_str(out, "{\"address\":");
    (void)json_append_string(out, address);
    (void)buf_printf(out, ",\"state\":\"%s\",\"attempts\":%u", recipient_state_name(r),
                     (unsigned)r->attempts);
    if (r->state == SPOOL_RECIPIENT_WAITING)
        admin_json_date(out, r->flags & SPOOL_RECIPIENT_HELD ? "held_until" : "due", r->due_s);
    if (r->flags & SPOOL_RECIPIENT_WARNED)
        (void)buf_append_str(out, ",\"warned\":true");
    admin_json_date(out, "given_up", patience.give_up_s);
    admin_json_date(out, "warning", patience.warn_s);
    json_text(out, "orcpt", dsn->orcpt);
    json_notify(out, dsn->notify);
    (void)buf_append_str(out, "}");
}

static void json_details(struct buf *out, const struct spool_message *m,
                         const struct admin_envelope *e)
{
    if (m->terms.priority != 0)
        (void)buf_printf(out, ",\"priority\":%d", m->terms.priority);
    admin_json_date(out, "deliver_by", m->terms.deliver_by_s);
    json_text(out, "envid", e->envid);
    if (m->flags & SPOOL_IS_BOUNCE)
        (void)buf_append_str(out, ",\"notification\":true");
    json_text(out, "facts", e->facts);
}

static void row_json(struct admin_job *j, const struct spool_message *m,
                     const struct admin_envelope *e)
{
    struct queue_facts facts;
    const struct queue_hold_rule *rule;
    struct buf *out = &j->rows;
    char id[ID_TEXT_SIZE];

    queue_entry_facts(m->owner, &facts);
    rule = rule_of(j, &facts);
    id_to_text(m->id, id);
    (void)buf_printf(out, "{\"id\":\"%s\",\"state\":\"%s\",\"shard\":%u,\"size\":%" PRIu64, id,
                     admin_state_name(admin_message_state(m)), shard_number(j->on), m->body_len);
    admin_json_date(out, "arrived", m->arrived_s);
    (void)buf_append_str(out, ",\"sender\":");
    (void)json_append_string(out, e->sender);
    (void)buf_append_str(out, ",\"reason\":");
    (void)json_append_string(out, facts.reason);
    admin_json_date(out, "due", facts.due_s);
    if (facts.standing == QUEUE_IS_PARKED)
        json_text(out, "waits_for", facts.waits_for);
    if (rule != NULL)
        (void)buf_printf(out, ",\"rule\":%" PRIu32, rule->id);
    json_details(out, m, e);
    (void)buf_printf(out, ",\"recipient_count\":%" PRIu32 ",\"recipients\":[", m->recipient_count);
    for (uint32_t i = 0; i < recipients_max(j, m); i++) {
        (void)buf_append_str(out, i > 0 ? "," : "");
        json_recipient(out, &m->recipients[i], e->recipients[i], &e->dsn[i],
                       patience_of(j, m, e, i));
    }
    (void)buf_append_str(out, "]}");
}

/* ---- for people ----------------------------------------------------------------------------- */

static void text_date(struct buf *out, const char *key, uint32_t unix_s)
{
    char text[DATE_TEXT_SIZE];

    if (unix_s == 0 || unix_s == SPOOL_DUE_NEVER)
        return;
    date_format_iso((uint64_t)unix_s * 1000, text);
    (void)buf_printf(out, " %s=%.19sZ", key, text);
}

static void text_recipient(struct buf *out, const struct spool_recipient *r, struct slice address,
                           struct patience patience)
{
    bool waits = r->state == SPOOL_RECIPIENT_WAITING;
    bool held = waits && (r->flags & SPOOL_RECIPIENT_HELD);

    (void)buf_append_str(out, "    <");
    (void)text_append_printable(out, address);
    (void)buf_append_str(out, ">");
    if (!waits || held)
        (void)buf_printf(out, " %s", recipient_state_name(r));
    if (r->attempts > 0)
        (void)buf_printf(out, " attempts=%u", (unsigned)r->attempts);
    if (waits)
        text_date(out, held ? "until" : "next", r->due_s);
    text_date(out, "given-up", patience.give_up_s);
    text_date(out, "warning", patience.warn_s);
    if (r->flags & SPOOL_RECIPIENT_WARNED)
        (void)buf_append_str(out, " sender-was-warned");
    (void)buf_append_str(out, "\n");
}

/* What it waits for, in words. */
static void text_waits(const struct admin_job *j, const struct spool_message *m, struct buf *out)
{
    struct queue_facts facts;
    const struct queue_hold_rule *rule;

    queue_entry_facts(m->owner, &facts);
    rule = rule_of(j, &facts);
    switch (facts.standing) {
    case QUEUE_IS_WAITING: (void)buf_append_str(out, "    waits for its next attempt"); break;
    case QUEUE_IS_READY:
        (void)buf_append_str(out, "    in line: it is tried as soon as possible");
        break;
    case QUEUE_IS_ACTIVE: (void)buf_append_str(out, "    being delivered"); break;
    case QUEUE_IS_PARKED:
        (void)buf_append_str(out, "    waits for its site, which is down or has no room");
        break;
    case QUEUE_IS_HELD: (void)buf_append_str(out, "    held"); break;
    }
    if (rule != NULL) {
        (void)buf_printf(out, " by rule %" PRIu32 " (--%s=", rule->id,
                         queue_hold_kind_name(rule->kind));
        (void)text_append_printable(out, rule->value);
        (void)buf_append_str(out, ")");
        text_date(out, "until", rule->until_s);
    }
    text_date(out, "next", facts.due_s);
    (void)buf_append_str(out, "\n");
}

/* Facts are `key=value` lines. */
static void text_details(const struct admin_job *j, struct buf *out, const struct spool_message *m,
                         const struct admin_envelope *e)
{
    struct slice left = e->facts;

    text_waits(j, m, out);

    if (m->terms.priority != 0 || m->terms.deliver_by_s != 0) {
        (void)buf_printf(out, "    priority=%d", m->terms.priority);
        text_date(out, "deliver-by", m->terms.deliver_by_s);
        (void)buf_append_str(out, "\n");
    }
    while (left.len > 0) {
        ptrdiff_t end = slice_find(left, '\n');
        struct slice line = end < 0 ? left : slice_head(left, (size_t)end);
        (void)buf_append_str(out, "    ");
        (void)text_append_printable(out, line);
        (void)buf_append_str(out, "\n");
        slice_advance(&left, end < 0 ? left.len : (size_t)end + 1);
    }
}

/* Like mailq: a line for the message, one for why it waits, one for each recipient that is left. */
static void row_text(struct admin_job *j, const struct spool_message *m,
                     const struct admin_envelope *e)
{
    struct slice reason = queue_entry_reason(m->owner);
    char id[ID_TEXT_SIZE], arrived[DATE_TEXT_SIZE];
    struct buf *out = &j->rows;
    bool all = j->request.verb == ADMIN_SHOW;
    uint32_t shown = recipients_max(j, m);

    id_to_text(m->id, id);
    date_format_iso((uint64_t)m->arrived_s * 1000, arrived);
    (void)buf_printf(out, "%s %-7s %10" PRIu64 " %.19sZ <", id,
                     admin_state_name(admin_message_state(m)), m->body_len, arrived);
    (void)text_append_printable(out, e->sender);
    (void)buf_append_str(out, ">\n");
    if (reason.len > 0) {
        (void)buf_append_str(out, "    (");
        (void)text_append_printable(out, reason);
        (void)buf_append_str(out, ")\n");
    }
    if (all)
        text_details(j, out, m, e);
    for (uint32_t i = 0; i < shown; i++) {
        if (all || m->recipients[i].state == SPOOL_RECIPIENT_WAITING)
            text_recipient(out, &m->recipients[i], e->recipients[i], patience_of(j, m, e, i));
    }
    if (shown < m->recipient_count)
        (void)buf_printf(out, "    and %" PRIu32 " more\n", m->recipient_count - shown);
}

/* ---- the kind ------------------------------------------------------------------------------- */

static bool always(const struct admin_job *j, const struct spool_message *m)
{
    (void)j;
    (void)m;
    return true;
}

void admin_row(struct admin_job *j, const struct spool_message *m, const struct admin_envelope *e)
{
    if (j->request.json)
        row_json(j, m, e);
    else
        row_text(j, m, e);
}

static void take(struct admin_job *j, struct spool_message *m, const struct admin_envelope *e)
{
    if (j->request.json && j->matched > 1)
        (void)buf_append_str(&j->rows, ",\n");
    admin_row(j, m, e);
}

static void begin(struct admin_job *j, struct buf *out)
{
    if (j->request.json)
        (void)buf_append_str(out, "[");
}

static void finish(struct admin_job *j, struct buf *out)
{
    if (j->request.json)
        (void)buf_append_str(out, "]\n");
}

const struct admin_job_kind admin_rows_kind = {
    .wants_envelope = always, .take = take, .begin = begin, .finish = finish};
