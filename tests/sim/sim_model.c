/*
 * sim_model: what must hold of each message and recipient. The next hops and the server's log report
 * what happens; some of it is wrong at once, the rest is looked at when the queue has drained.
 */
#include <stdio.h>

#include "sim_days.h"
#include "smtp_command.h"

void model_finish(struct model *m)
{
    for (uint32_t i = 0; i < m->message_count; i++) {
        buf_finish(&m->messages[i].body);
        buf_finish(&m->messages[i].wire);
    }
}

/* ---- names --------------------------------------------------------------------------------- */

static bool take_number(struct slice *s, uint64_t *out)
{
    size_t digits = 0;

    while (digits < s->len && s->data[digits] >= '0' && s->data[digits] <= '9')
        digits++;
    if (!slice_to_u64(slice_head(*s, digits), out))
        return false;
    slice_advance(s, digits);
    return true;
}

struct rcpt *model_rcpt(struct model *m, struct slice address, struct message **out_message)
{
    struct slice rest = address;
    uint64_t number, index;
    struct message *message;

    if (rest.len < 2 || rest.data[0] != 'r')
        return NULL;
    slice_advance(&rest, 1);
    if (!take_number(&rest, &number) || rest.len < 1 || rest.data[0] != '.')
        return NULL;
    slice_advance(&rest, 1);
    if (!take_number(&rest, &index) || number >= m->message_count)
        return NULL;
    message = &m->messages[number];
    if (index >= message->rcpt_count
        || !slice_equal_nocase(address, slice_str(message->rcpts[index].address)))
        return NULL;
    if (out_message != NULL)
        *out_message = message;
    return &message->rcpts[index];
}

struct message *model_sender(struct model *m, struct slice address)
{
    struct slice rest = address;
    uint64_t number;

    if (rest.len < 2 || rest.data[0] != 's')
        return NULL;
    slice_advance(&rest, 1);
    if (!take_number(&rest, &number) || number >= m->message_count)
        return NULL;
    if (!slice_equal(address, slice_str(m->messages[number].sender)))
        return NULL;
    return &m->messages[number];
}

struct name *model_alias(struct message *m, struct slice address)
{
    for (uint32_t i = 0; i < m->name_count; i++)
        if (m->names[i].address[0] == 'x' && slice_equal(address, slice_str(m->names[i].address)))
            return &m->names[i];
    return NULL;
}

/* ---- what is asked for ---------------------------------------------------------------------- */

void model_begin(struct message *m)
{
    for (uint32_t i = 0; i < m->name_count; i++)
        m->names[i].admitted = false;
    for (uint32_t i = 0; i < m->rcpt_count; i++) {
        struct rcpt *r = &m->rcpts[i];
        r->admitted = r->wants_failure = r->wants_delay = r->wants_success = false;
    }
}

static bool is_several(const struct name *n)
{
    return (n->set & (n->set - 1)) != 0;
}

/* What any of its names asks for holds for a recipient; the success of an alias for several is its own
 * (RFC 3461 5.2.7). */
void model_admit(struct message *m, struct name *n, bool helo)
{
    uint8_t notify = helo ? 0 : n->notify;

    n->admitted = true;
    n->asked = notify;
    for (uint32_t i = 0; i < m->rcpt_count; i++) {
        struct rcpt *r = &m->rcpts[i];
        if ((n->set & 1u << i) == 0)
            continue;
        r->admitted = true;
        r->wants_failure |= notify == 0 || (notify & SMTP_NOTIFY_FAILURE) != 0;
        r->wants_delay |= notify == 0 || (notify & SMTP_NOTIFY_DELAY) != 0;
        r->wants_success |= !is_several(n) && (notify & SMTP_NOTIFY_SUCCESS) != 0;
    }
}

/* ---- what is delivered --------------------------------------------------------------------- */

static struct slice take_line(struct slice *text)
{
    ptrdiff_t end = slice_find(*text, '\n');
    size_t len = end < 0 ? text->len : (size_t)end + 1;
    struct slice line = slice_head(*text, len);

    slice_advance(text, len);
    return line;
}

/* Only whole trace fields may stand in front of what was sent. */
static bool is_trace(struct slice head)
{
    static const struct slice fields[] = {SLICE_INIT("Received: "), SLICE_INIT("Return-Path: ")};
    bool in_field = false;

    while (head.len > 0) {
        struct slice line = take_line(&head);
        bool begins = false;
        if (line.data[line.len - 1] != '\n')
            return false;
        if (line.data[0] == ' ' || line.data[0] == '\t') {
            if (!in_field)
                return false;
            continue;
        }
        for (size_t i = 0; i < ARRAY_LEN(fields); i++)
            begins |= slice_starts_nocase(line, fields[i]);
        if (!begins)
            return false;
        in_field = true;
    }
    return in_field;
}

static void check_text(struct world *w, const struct message *m, const struct rcpt *r,
                       struct slice text, struct slice body)
{
    struct slice head, tail;

    WORLD_CHECK(w, text.len >= body.len, "P8: %s got %zu octets of %zu", r->address, text.len,
                body.len);
    head = slice_head(text, text.len - body.len);
    tail = slice_of(text.data + head.len, body.len);
    WORLD_CHECK(w, slice_equal(tail, body), "P8: message %u came altered to %s", m->number,
                r->address);
    WORLD_CHECK(w, is_trace(head), "P8: before message %u for %s stands: %.*s", m->number,
                r->address, SLICE_ARG(slice_head(head, 300)));
}

/* That nobody gets what nobody sent. */
static void check_sent(struct world *w, const struct message *m, const struct rcpt *r)
{
    WORLD_CHECK(w, m->state != MESSAGE_ABANDONED && m->state != MESSAGE_REFUSED,
                "message %u, which was never taken whole, came to %s", m->number, r->address);
}

static bool crashed_between(const struct world *w, uint64_t from_ms, uint64_t to_ms)
{
    for (uint32_t i = 0; i < w->crash_count; i++) {
        if (w->crash_ms[i] >= from_ms && w->crash_ms[i] <= to_ms)
            return true;
    }
    return false;
}

/* What was on its way when the server died, a next hop may take later. */
enum { TAKEN_LATE_MS = 60 * 1000 };

/* P3: the time from a next hop's answer to the sync of the outcome. Where the disk fails or is slow,
 * nobody can say. */
static uint64_t outcome_window_ms(const struct world *w)
{
    const struct sim_options *o = &w->plan.weather;

    if (o->write_error > 0 || o->no_space > 0 || o->disk_bytes > 0 || o->read_error > 0
        || o->latency_spike > 0 || w->options.fail_op > 0)
        return UINT64_MAX / 2;
    return w->plan.sinks.slow > 0 ? 40 * 1000 : 10 * 1000;
}

/* Before the next one is counted: whether nobody could know of the last one. */
static void excuse_by_crash(const struct world *w, struct rcpt *r)
{
    if (r->taken > 0
        && crashed_between(w, r->taken_ms - TAKEN_LATE_MS, r->taken_ms + outcome_window_ms(w)))
        r->excuses++;
}

static void check_duplicate(struct world *w, const struct message *m, const struct rcpt *r)
{
    if (w->plan.weather.conn_reset > 0 || w->cut)
        return;
    WORLD_CHECK(w, r->taken <= 1 + r->excuses, "P3: message %u came %u times to %s without a cause",
                m->number, r->taken, r->address);
}

/* ---- notifications ------------------------------------------------------------------------- */

/* The recipient that the next Final-Recipient names, or in *out_alias the alias. Neither: there is no further one. */
static struct rcpt *next_named(struct world *w, struct message *about, struct slice *text,
                               struct name **out_alias)
{
    static const struct slice field = SLICE_INIT("Final-Recipient:");

    *out_alias = NULL;
    while (text->len > 0) {
        struct slice line = take_line(text);
        struct message *m = NULL;
        struct rcpt *r;
        ptrdiff_t at;
        if (!slice_starts_nocase(line, field))
            continue;
        at = slice_find(line, ';');
        WORLD_CHECK(w, at > 0, "a notification without an address type");
        slice_advance(&line, (size_t)at + 1);
        while (line.len > 0 && (line.data[line.len - 1] == '\n' || line.data[line.len - 1] == '\r'))
            line.len--;
        *out_alias = model_alias(about, slice_trim(line));
        if (*out_alias != NULL)
            return NULL;
        r = model_rcpt(&w->model, slice_trim(line), &m);
        WORLD_CHECK(w, r != NULL && m == about, "P4: a notification to %s names %.*s",
                    about->sender, SLICE_ARG(line));
        return r;
    }
    return NULL;
}

/* What the field behind Final-Recipient says. */
static bool is_action(struct slice text, const char *action)
{
    static const struct slice field = SLICE_INIT("Action: ");
    struct slice line = take_line(&text);

    if (!slice_starts_nocase(line, field))
        return false;
    slice_advance(&line, field.len);
    return slice_starts_nocase(line, slice_str(action));
}

/* Once is enough, though a crash may repeat it. */
static void take_warning(struct world *w, const struct message *about, struct rcpt *r)
{
    r->warned++;
    WORLD_CHECK(w, about->null_sender == false, "a warning about null sender's message %u",
                about->number);
    WORLD_CHECK(w, r->wants_delay, "a warning about %s that nobody asked for", r->address);
    if (w->plan.weather.conn_reset == 0 && !w->cut && w->crash_count == 0 && w->options.fail_op == 0
        && w->plan.weather.write_error == 0)
        WORLD_CHECK(w, r->warned <= 1 + r->excuses, "%u warnings about %s", r->warned, r->address);
}

static void take_failure(struct world *w, const struct message *about, struct rcpt *r)
{
    WORLD_CHECK(w, r->wants_failure, "message %u: a bounce of %s that nobody asked for",
                about->number, r->address);
    if (r->bounced++ == 0)
        r->bounced_ms = world_now_ms(w);
}

static void take_expansion(struct world *w, const struct message *about, struct name *alias,
                           struct slice text)
{
    WORLD_CHECK(w, is_action(text, "expanded"), "message %u: %s was no alias", about->number,
                alias->address);
    WORLD_CHECK(w,
                alias->admitted && is_several(alias) && (alias->asked & SMTP_NOTIFY_SUCCESS) != 0,
                "message %u: nobody asked how %s was expanded", about->number, alias->address);
    alias->expanded++;
}

static void take_notification(struct world *w, struct slice address, struct slice text)
{
    struct message *about = model_sender(&w->model, address);
    struct name *alias;
    struct rcpt *r;
    unsigned named = 0;

    WORLD_CHECK(w, about != NULL, "P4: a notification to %.*s", SLICE_ARG(address));
    for (; (r = next_named(w, about, &text, &alias)) != NULL || alias != NULL; named++) {
        if (alias != NULL) {
            take_expansion(w, about, alias, text);
            continue;
        }
        check_sent(w, about, r);
        if (is_action(text, "delayed")) {
            take_warning(w, about, r);
        } else if (is_action(text, "delivered") || is_action(text, "relayed")) {
            WORLD_CHECK(w, r->wants_success, "message %u: nobody asked how %s got it",
                        about->number, r->address);
            r->told++;
        } else {
            take_failure(w, about, r);
        }
    }
    WORLD_CHECK(w, named > 0, "a notification to %s names nobody", about->sender);
}

void model_excuse(struct world *w, struct slice address, struct slice text)
{
    struct rcpt *r = model_rcpt(&w->model, address, NULL);
    struct message *about = model_sender(&w->model, address);
    struct name *alias = NULL;

    if (r != NULL) {
        r->excuses++;
        return;
    }
    while (about != NULL && ((r = next_named(w, about, &text, &alias)) != NULL || alias != NULL))
        if (r != NULL)
            r->excuses++;
}

static void take(struct world *w, struct slice sender, struct slice address, struct slice text)
{
    struct message *m = NULL;
    struct rcpt *r = model_rcpt(&w->model, address, &m);

    if (w->verbose)
        fprintf(stderr, "%9llu %.*s takes %zu octets from <%.*s>\n",
                (unsigned long long)(world_now_ms(w) % 1000000000), SLICE_ARG(address), text.len,
                SLICE_ARG(sender));
    if (r == NULL) {
        WORLD_CHECK(w, sender.len == 0, "mail from %.*s to %.*s", SLICE_ARG(sender),
                    SLICE_ARG(address));
        take_notification(w, address, text);
        return;
    }
    WORLD_CHECK(w, slice_equal(sender, slice_str(m->sender)), "%s got message %u from %.*s",
                r->address, m->number, SLICE_ARG(sender));
    WORLD_CHECK(w, r->fate == FATE_TAKE || r->fate == FATE_LATER, "%s took a message", r->address);
    check_sent(w, m, r);
    check_text(w, m, r, text, buf_slice(&m->body));
    excuse_by_crash(w, r);
    if (r->taken++ == 0)
        r->got_ms = world_now_ms(w);
    r->taken_ms = world_now_ms(w);
    check_duplicate(w, m, r);
}

void model_take(struct world *w, struct slice sender, struct slice address, struct slice text,
                bool will_answer)
{
    take(w, sender, address, text);
    if (!will_answer)
        model_excuse(w, address, text);
}

void model_refuse(struct world *w, struct slice address)
{
    struct rcpt *r = model_rcpt(&w->model, address, NULL);
    struct message *m = model_sender(&w->model, address);

    WORLD_CHECK(w, r != NULL || m != NULL, "mail to %.*s", SLICE_ARG(address));
    if (r != NULL)
        r->refused++;
    else
        m->sender_refused++;
}

/* A mailbox holds lines that end in LF. */
void model_file(struct world *w, struct message *m, uint32_t rcpt, struct slice text)
{
    struct rcpt *r = &m->rcpts[rcpt];
    struct slice body = buf_slice(&m->body);
    struct buf expected;

    buf_init(&expected, 0);
    for (size_t i = 0; i < body.len; i++) {
        if (body.data[i] != '\r' || i + 1 == body.len || body.data[i + 1] != '\n')
            (void)buf_append_byte(&expected, body.data[i]);
    }
    check_sent(w, m, r);
    check_text(w, m, r, text, buf_slice(&expected));
    buf_finish(&expected);
    r->taken++;
    WORLD_CHECK(w, r->taken == 1, "P3: the mailbox %s has message %u twice", r->address, m->number);
}

/* ---- the server's log ---------------------------------------------------------------------- */

struct slice model_log_value(struct slice line, const char *key)
{
    const uint8_t *at = memmem(line.data, line.len, key, strlen(key));
    size_t len = 0;

    if (at == NULL)
        return SLICE_NULL;
    at += strlen(key);
    while (at + len < line.data + line.len && at[len] != ' ' && at[len] != '\n')
        len++;
    return slice_of(at, len);
}

static void log_bounced(struct world *w, struct rcpt *r)
{
    if (r->said_bounced++ == 0)
        r->said_bounced_ms = world_now_ms(w);
}

static void log_delivered(struct world *w, struct rcpt *r)
{
    r->said_delivered++;
    WORLD_CHECK(w,
                r->fate == FATE_TAKE || r->fate == FATE_LATER || r->fate == FATE_MAILDIR
                    || r->fate == FATE_DISCARD,
                "%s is said to have been delivered", r->address);
}

static void log_accepted(struct world *w, struct message *m, struct slice id)
{
    bool ok = id_from_text(id, &m->id);

    ASSERT(ok);
    m->said_accepted_ms = world_now_ms(w);
}

/* The log names its first recipient as the client has: perhaps an alias. */
static struct message *message_to(struct model *model, struct slice to)
{
    struct message *m = NULL;

    if (model_rcpt(model, to, &m) != NULL)
        return m;
    for (uint32_t i = 0; i < model->message_count; i++) {
        if (model_alias(&model->messages[i], to) != NULL)
            return &model->messages[i];
    }
    return NULL;
}

void model_log(struct world *w, struct slice line)
{
    struct slice event = model_log_value(line, " event="), to = model_log_value(line, " to=");
    bool bounced = slice_equal(event, SLICE_LITERAL("bounced"));
    struct message *m = message_to(&w->model, to), *about = model_sender(&w->model, to);
    struct rcpt *r = model_rcpt(&w->model, to, NULL);

    w->outcomes += bounced || slice_equal(event, SLICE_LITERAL("delivered"))
                   || slice_equal(event, SLICE_LITERAL("deferred"));
    if (w->days != NULL)
        days_log(w, event, line);
    if (about != NULL && bounced)
        about->said_dropped_ms = world_now_ms(w);
    if (m != NULL && slice_equal(event, SLICE_LITERAL("accepted")))
        log_accepted(w, m, model_log_value(line, " message="));
    if (r == NULL)
        return;
    if (bounced)
        log_bounced(w, r);
    else if (slice_equal(event, SLICE_LITERAL("delivered")))
        log_delivered(w, r);
}

/* ---- at the end ---------------------------------------------------------------------------- */

/* From when a message's time counts: a little before the log says that it is stable. */
static uint64_t commit_slack_ms(const struct world *w)
{
    return w->plan.weather.latency_spike > 0 ? 60 * 1000 : 5 * 1000;
}

/* Failures that are nobody's fault: it was refused, or there was no more time. */
static void check_cause(struct world *w, const struct message *m, const struct rcpt *r)
{
    uint64_t first_ms = r->said_bounced_ms != 0 ? r->said_bounced_ms : r->bounced_ms;

    if (r->refused > 0 || m->returned || r->fate == FATE_NOWHERE || w->plan.weather.clock_jump > 0)
        return;
    WORLD_CHECK(w, first_ms + commit_slack_ms(w) >= m->said_accepted_ms + w->plan.expire_ms,
                "P4: message %u bounced for %s without a cause", m->number, r->address);
}

/* Expired mail goes back with the next attempt: an interval, and the time that attempts take. */
static void check_expiry(struct world *w, const struct message *m, const struct rcpt *r)
{
    uint64_t due_ms = m->said_accepted_ms + w->plan.expire_ms;
    uint64_t slack_ms = 2 * w->plan.interval_max_ms + 2 * 3600 * 1000;

    if (due_ms < w->calm_ms)
        due_ms = w->calm_ms;
    WORLD_CHECK(w, r->said_bounced_ms <= due_ms + slack_ms,
                "message %u expired for %s at %llu ms and was given up at %llu ms", m->number,
                r->address, (unsigned long long)due_ms, (unsigned long long)r->said_bounced_ms);
}

static uint64_t notice_patience_ms(const struct world *w)
{
    return w->plan.expire_bounces_ms != 0 ? w->plan.expire_bounces_ms : w->plan.expire_ms;
}

static void check_bounce(struct world *w, const struct message *m, const struct rcpt *r)
{
    if (m->null_sender) {
        WORLD_CHECK(w, r->bounced == 0, "P4: a notification about null sender's message %u",
                    m->number);
        return;
    }
    /* A notification may not be wanted; or be refused, or expire itself. */
    if (r->bounced == 0 && r->wants_failure)
        WORLD_CHECK(
            w,
            m->said_dropped_ms > 0
                && (m->sender_refused > 0 || w->plan.weather.clock_jump > 0 || w->days != NULL
                    || m->said_dropped_ms + commit_slack_ms(w)
                           >= r->said_bounced_ms + notice_patience_ms(w)),
            "P4: message %u bounced for %s, and the sender was not told", m->number, r->address);
    if (r->bounced > 1 + r->excuses && w->plan.weather.conn_reset == 0 && !w->cut)
        WORLD_CHECK(w,
                    w->crash_count > 0 || w->options.fail_op > 0 || w->plan.weather.write_error > 0,
                    "P4: %u notifications about %s", r->bounced, r->address);
}

/* A mailbox whose directories could not be synced at first may go with the power: see
 * make_directories(). */
static bool mailbox_may_go(const struct world *w, const struct rcpt *r)
{
    return r->fate == FATE_MAILDIR && r->said_delivered > 0 && w->plan.weather.write_error > 0
           && w->crash_count > 0;
}

static bool is_delivered(const struct world *w, const struct rcpt *r)
{
    return r->taken > 0 || mailbox_may_go(w, r)
           || (r->fate == FATE_DISCARD && r->said_delivered > 0);
}

static bool is_bounced(const struct rcpt *r)
{
    return r->bounced > 0 || r->said_bounced > 0;
}

/* Of a message whose answer was lost all recipients have an outcome, or none. */
static bool is_there(const struct world *w, const struct message *m)
{
    bool there = m->state == MESSAGE_ACCEPTED;

    for (uint32_t i = 0; m->state == MESSAGE_DOUBT && i < m->rcpt_count; i++)
        there |= is_delivered(w, &m->rcpts[i]) || is_bounced(&m->rcpts[i]);
    return there;
}

/* A file may stand in a mailbox although its directory could not be synced. */
static bool file_in_doubt(const struct world *w, const struct rcpt *r)
{
    const struct sim_options *o = &w->plan.weather;

    return r->fate == FATE_MAILDIR
           && (o->write_error > 0 || o->fds_max > 0 || w->options.fail_op > 0);
}

static void check_rcpt(struct world *w, const struct message *m, const struct rcpt *r)
{
    bool delivered = is_delivered(w, r), bounced = is_bounced(r);

    if (is_there(w, m) && r->admitted)
        WORLD_CHECK(w, delivered || bounced || m->deleted, "P1: message %u (%s) is lost for %s",
                    m->number, m->state == MESSAGE_ACCEPTED ? "answered 250" : "not answered",
                    r->address);
    else
        WORLD_CHECK(w, !delivered && !bounced, "message %u came to %s, though it was not taken",
                    m->number, r->address);
    if (r->fate == FATE_MAILDIR && r->said_delivered > 0)
        WORLD_CHECK(w, delivered, "P1: the mailbox of %s has lost message %u", r->address,
                    m->number);
    if (r->said_delivered > 0)
        WORLD_CHECK(w, delivered, "message %u is said to be with %s, who has not got it", m->number,
                    r->address);
    if (!bounced)
        return;
    check_bounce(w, m, r);
    if (m->state != MESSAGE_ACCEPTED || w->days != NULL) /* those say more: sim_days_check.c */
        return;
    check_cause(w, m, r);
    if ((r->fate == FATE_NEVER || r->fate == FATE_SILENT) && w->plan.weather.clock_jump == 0)
        check_expiry(w, m, r);
    if (delivered && r->excuses == 0 && w->plan.weather.conn_reset == 0 && w->crash_count == 0
        && !w->cut && !file_in_doubt(w, r))
        world_fail(w, "P4: message %u was delivered to %s and bounced", m->number, r->address);
}

/* Where nothing goes wrong, all is told that was asked for, and once. */
static void check_told(struct world *w, const struct message *m)
{
    bool sure = w->plan.calm && w->crash_count == 0 && !w->cut && w->options.fail_op == 0
                && m->state == MESSAGE_ACCEPTED && !m->deleted && !m->null_sender
                && m->sender_fate == FATE_TAKE && m->said_dropped_ms == 0;

    for (uint32_t i = 0; sure && i < m->name_count; i++) {
        const struct name *n = &m->names[i];
        if (is_several(n))
            WORLD_CHECK(
                w, n->expanded == (n->admitted && (n->asked & SMTP_NOTIFY_SUCCESS) != 0 ? 1 : 0),
                "message %u: %u notifications that %s was expanded", m->number, n->expanded,
                n->address);
    }
    for (uint32_t i = 0; sure && i < m->rcpt_count; i++) {
        const struct rcpt *r = &m->rcpts[i];
        WORLD_CHECK(w, r->told == (r->wants_success && is_delivered(w, r) ? 1 : 0),
                    "message %u: %u notifications that %s has got it", m->number, r->told,
                    r->address);
    }
}

void model_check(struct world *w)
{
    for (uint32_t i = 0; i < w->model.message_count; i++) {
        const struct message *m = &w->model.messages[i];
        check_told(w, m);
        for (uint32_t k = 0; k < m->rcpt_count; k++)
            check_rcpt(w, m, &m->rcpts[k]);
    }
}
