/*
 * admin_holds: rules that hold mail to come. They change one request at a time: first on disk, then on all
 * shards; whoever asks then waits for both. What is begun is finished, even if the client goes.
 */
#include <inttypes.h>
#include <stdio.h>

#include "admin_filter_priv.h"
#include "admin_priv.h"
#include "base_mem.h"
#include "queue_holds_file.h"

enum { RULES_MAX = 1000, REASON_MAX = 400, ANSWER_MAX = 16 * 1024 * 1024 };

enum holds_state {
    HOLDS_TURN,   /* somebody else is changing them */
    HOLDS_FILE,   /* being written */
    HOLDS_SHARDS, /* being told */
    HOLDS_OVER,
};

struct holds_job;
struct holds_call {
    struct shard_call call;
    struct holds_job *job;
};

struct holds_job {
    struct admin_client *client;
    struct admin_request request;
    uint8_t *line;
    enum holds_state state;
    bool add;
    struct queue_hold_rule rule; /* to be added; its texts are the job's */
    struct buf reason;
    uint32_t *gone; /* ids of rules to be removed */
    uint32_t gone_count;
    struct queue_holds_file file;
    struct holds_call calls[]; /* one a shard */
};

static const struct queue_holds *rules_of(const struct admin_client *c)
{
    return &shard_queue(c->admin->shard)->holds;
}

/* ---- the list ------------------------------------------------------------------------------- */

struct listing {
    struct buf *out;
    bool json;
    bool any;
};

static bool list_rule(const struct queue_hold_rule *r, void *context)
{
    struct listing *l = context;
    char until[DATE_TEXT_SIZE] = "";

    if (r->until_s != SPOOL_DUE_NEVER)
        date_format_iso((uint64_t)r->until_s * 1000, until);
    if (l->json) {
        (void)buf_printf(l->out, "%s{\"rule\":%" PRIu32 ",\"%s\":", l->any ? ",\n" : "", r->id,
                         queue_hold_kind_name(r->kind));
        (void)json_append_string(l->out, r->value);
        if (until[0] != '\0')
            (void)buf_printf(l->out, ",\"until\":\"%s\"", until);
        (void)buf_append_str(l->out, ",\"reason\":");
        (void)json_append_string(l->out, r->reason);
        (void)buf_append_str(l->out, "}");
    } else {
        (void)buf_printf(l->out, "%" PRIu32 " --%s=", r->id,
                         r->kind == QUEUE_HOLD_SENDER_DOMAIN ? "sender"
                                                             : queue_hold_kind_name(r->kind));
        (void)text_append_printable(l->out, r->value);
        if (until[0] != '\0')
            (void)buf_printf(l->out, " until %.19sZ", until);
        (void)buf_append_str(l->out, r->reason.len > 0 ? " (" : "");
        (void)text_append_printable(l->out, r->reason);
        (void)buf_append_str(l->out, r->reason.len > 0 ? ")\n" : "\n");
    }
    l->any = true;
    return true;
}

static void list_rules(struct admin_client *c, bool json)
{
    struct listing l = {.out = net_conn_out(&c->conn), .json = json};

    c->conn.out.limit = c->conn.sending.limit = ANSWER_MAX;
    (void)buf_append_str(l.out, json ? "ok\n[" : "ok\n");
    queue_holds_each(rules_of(c), list_rule, &l);
    if (json)
        (void)buf_append_str(l.out, "]\n");
    admin_answered(c);
}

/* ---- what is to change ---------------------------------------------------------------------- */

static void note_gone(struct holds_job *j, uint32_t id)
{
    j->gone = mem_realloc(j->gone, (j->gone_count + 1) * sizeof(*j->gone));
    j->gone[j->gone_count++] = id;
}

static bool note_rule(const struct queue_hold_rule *r, void *context)
{
    note_gone(context, r->id);
    return true;
}

/* A rule for the same mail is replaced: its reason and its end are others now. */
static bool note_same(const struct queue_hold_rule *r, void *context)
{
    struct holds_job *j = context;

    if (r->id >= j->rule.id)
        j->rule.id = r->id + 1;
    if (r->kind == j->rule.kind && slice_equal_nocase(r->value, j->rule.value))
        note_gone(j, r->id);
    return true;
}

static void make_rule(struct holds_job *j)
{
    const struct admin_filter *f = &j->request.filter;
    struct queue_hold_rule *r = &j->rule;

    *r = (struct queue_hold_rule){.id = 1, .kind = QUEUE_HOLD_DOMAIN, .value = f->domain};
    if (f->sender_kind != ADMIN_SENDER_ANY) {
        r->kind =
            f->sender_kind == ADMIN_SENDER_ADDRESS ? QUEUE_HOLD_SENDER : QUEUE_HOLD_SENDER_DOMAIN;
        r->value = f->sender.len > 0 ? f->sender : SLICE_LITERAL("<>");
    } else if (f->recipient.len > 0) {
        r->kind = QUEUE_HOLD_RECIPIENT;
        r->value = f->recipient;
    } else if (f->route.len > 0) {
        r->kind = QUEUE_HOLD_ROUTE;
        r->value = f->route;
    }
    (void)text_append_printable(&j->reason, slice_head(j->request.note, REASON_MAX));
    r->reason = buf_slice(&j->reason);
    r->until_s = admin_time_s(&j->request.until, queue_now_s(shard_queue(j->client->admin->shard)),
                              SPOOL_DUE_NEVER, SPOOL_DUE_NEVER);
    j->add = true;
}

/* NULL, or why not. */
static const char *plan(struct holds_job *j)
{
    const struct queue_holds *rules = rules_of(j->client);
    uint64_t id;

    if (j->request.future) {
        make_rule(j);
        queue_holds_each(rules, note_same, j);
        if (rules->count >= RULES_MAX)
            return "there are too many rules: release some, or hold a route";
        return j->rule.value.len <= QUEUE_HOLD_TEXT_MAX ? NULL : "that is too long";
    }
    if (!slice_to_u64(j->request.rule, &id)) {
        queue_holds_each(rules, note_rule, j);
        return NULL;
    }
    if (id > UINT32_MAX || queue_holds_find(rules, (uint32_t)id) == NULL)
        return "there is no such rule: queue holds lists them";
    note_gone(j, (uint32_t)id);
    return NULL;
}

static bool is_gone(const struct holds_job *j, uint32_t id)
{
    for (uint32_t i = 0; i < j->gone_count; i++) {
        if (j->gone[i] == id)
            return true;
    }
    return false;
}

struct copy {
    const struct holds_job *job;
    struct queue_holds set;
};

static bool copy_rule(const struct queue_hold_rule *r, void *context)
{
    struct copy *c = context;

    if (!is_gone(c->job, r->id))
        (void)queue_holds_insert(&c->set, r); /* from one set to another */
    return true;
}

static void write_text(struct holds_job *j)
{
    struct copy c = {.job = j};

    queue_holds_each(rules_of(j->client), copy_rule, &c);
    if (j->add)
        (void)queue_holds_insert(&c.set, &j->rule);
    queue_holds_format(&c.set, &j->file.text);
    queue_holds_finish(&c.set);
}

/* ---- the change ----------------------------------------------------------------------------- */

static void holds_step(struct admin_client *c);

static void file_done(struct queue_holds_file *f)
{
    admin_call_over(container_of(f, struct holds_job, file)->client);
}

static void tell_run(struct shard *on, struct shard_call *call)
{
    struct holds_job *j = container_of(call, struct holds_call, call)->job;

    for (uint32_t i = 0; i < j->gone_count; i++)
        (void)queue_holds_remove(shard_queue(on), j->gone[i]); /* it may be over there already */
    if (j->add)
        (void)queue_holds_add(shard_queue(on), &j->rule);
    shard_answer(on, call);
}

static void tell_done(struct shard *on, struct shard_call *call)
{
    (void)on;
    admin_call_over(container_of(call, struct holds_call, call)->job->client);
}

static void tell_shards(struct holds_job *j)
{
    struct shard *first = j->client->admin->shard;
    unsigned count = shard_group_of(first)->count;

    j->state = HOLDS_SHARDS;
    j->client->calls += count;
    for (unsigned i = 0; i < count; i++) {
        j->calls[i] = (struct holds_call){.call = {.run = tell_run, .done = tell_done}, .job = j};
        shard_call(first, i, &j->calls[i].call);
    }
}

static void answer(struct holds_job *j)
{
    struct buf *out = net_conn_out(&j->client->conn);

    if (j->client->closed)
        return;
    (void)buf_append_str(out, "ok\n");
    if (j->request.json && j->add)
        (void)buf_printf(out, "{\"rule\":%" PRIu32 "}\n", j->rule.id);
    else if (j->request.json)
        (void)buf_printf(out, "{\"rules\":%" PRIu32 "}\n", j->gone_count);
    else if (j->add)
        (void)buf_printf(out, "rule %" PRIu32 " holds; queue release --rule=%" PRIu32 " ends it\n",
                         j->rule.id, j->rule.id);
    else
        (void)buf_printf(out, "%" PRIu32 " rule%s ended; what was held is released\n",
                         j->gone_count, j->gone_count == 1 ? "" : "s");
    admin_answered(j->client);
}

/* The next one's turn. */
static void over(struct holds_job *j)
{
    struct admin *a = j->client->admin;

    j->state = HOLDS_OVER;
    a->changing_holds = false;
    LIST_EACH_SAFE(&a->clients, node)
    {
        struct admin_client *other = container_of(node, struct admin_client, node);
        if (other->step == holds_step && other != j->client) {
            other->step(other);
            return;
        }
    }
}

static void begin(struct holds_job *j)
{
    struct admin_client *c = j->client;
    const char *fault = plan(j);

    if (fault != NULL || (!j->add && j->gone_count == 0)) {
        if (fault != NULL)
            admin_error(c, fault);
        else
            answer(j);
        over(j);
        return;
    }
    write_text(j);
    j->state = HOLDS_FILE;
    c->calls++;
    queue_holds_save(&j->file, shard_io(c->admin->shard), shard_queue(c->admin->shard)->conf->state,
                     file_done);
}

static void holds_step(struct admin_client *c)
{
    struct holds_job *j = c->job;
    char text[128];

    if (c->calls > 0)
        return;
    switch (j->state) {
    case HOLDS_TURN:
        if (c->admin->changing_holds || c->closed)
            return;
        c->admin->changing_holds = true;
        begin(j);
        return;
    case HOLDS_FILE:
        if (j->file.error == 0) {
            tell_shards(j);
            return;
        }
        (void)snprintf(text, sizeof(text), "the rules cannot be written to the state directory: %s",
                       strerrordesc_np(-j->file.error));
        if (!c->closed)
            admin_error(c, text);
        over(j);
        return;
    case HOLDS_SHARDS:
        answer(j);
        over(j);
        return;
    case HOLDS_OVER: return;
    }
    UNREACHABLE();
}

static void holds_release(struct admin_client *c)
{
    struct holds_job *j = c->job;

    queue_holds_file_finish(&j->file);
    admin_request_finish(&j->request);
    buf_finish(&j->reason);
    mem_free(j->gone);
    mem_free(j->line);
    mem_free(j);
}

void admin_holds(struct admin_client *c, struct admin_request *request, uint8_t *line)
{
    unsigned count = shard_group_of(c->admin->shard)->count;
    struct holds_job *j = mem_zalloc(sizeof(*j) + count * sizeof(j->calls[0]));

    j->client = c;
    j->request = *request;
    j->line = line;
    c->job = j;
    c->release = holds_release;
    if (request->verb == ADMIN_HOLDS) {
        list_rules(c, request->json);
        return;
    }
    c->gone = holds_step;
    c->step = holds_step;
    holds_step(c);
}
