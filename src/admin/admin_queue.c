/* admin_queue: a request about the queue, on the first shard: asks one shard after the other for portions,
 * and sends what they say. */
#include "admin_job_priv.h"
#include "base_mem.h"

enum { UNSENT_MAX = 64 * 1024 };

static void portion_done(struct shard *on, struct shard_call *call)
{
    (void)on;
    admin_call_over(container_of(call, struct admin_job, call)->client);
}

static void ask(struct admin_job *j)
{
    j->client->calls++;
    shard_call(j->client->admin->shard, j->shard, &j->call);
}

static void prepare_run(struct shard *on, struct shard_call *call)
{
    struct admin_job *j = container_of(call, struct admin_job, call);

    j->prepared = j->kind->prepare == NULL || j->kind->prepare(j);
    shard_answer(on, call);
}

/* The head of the answer is held back until it is known whether there is anything to tell. */
static bool begin_answer(struct admin_job *j, bool last)
{
    struct buf *out = net_conn_out(&j->client->conn);

    if (j->began || (j->matched == 0 && !last))
        return true;
    if (j->matched == 0 && j->left == 0 && j->request.filter.id_count > 0) {
        admin_error(j->client, j->kind == &admin_explain_kind
                                   ? "no such message in the queue: it has left it, and the "
                                     "server's log says how (message=ID)"
                                   : "no such message in the queue");
        return false;
    }
    j->began = true;
    (void)buf_append_str(out, "ok\n");
    if (j->kind->begin != NULL)
        j->kind->begin(j, out);
    return true;
}

static bool send_portion(struct admin_job *j)
{
    if (j->kind->send != NULL)
        return j->kind->send(j);
    (void)buf_append_slice(net_conn_out(&j->client->conn), buf_slice(&j->rows));
    buf_clear(&j->rows);
    return true;
}

/* What the walk has on its shard is freed before the next one is asked. */
static bool ends_walk(struct admin_job *j)
{
    if (!j->shard_done || j->bulk == NULL)
        return false;
    j->call.run = admin_walk_end_run;
    ask(j);
    return true;
}

static void next_shard(struct admin_job *j)
{
    unsigned count = shard_group_of(j->client->admin->shard)->count;

    if (j->call.run == prepare_run) {
        j->shard = count;
    } else if (j->shard_done) {
        j->shard = admin_walk_is_over(j) ? count : j->shard + 1;
        j->shard_done = false;
        j->call.run = admin_walk_run;
    }
}

static void job_step(struct admin_client *c)
{
    struct admin_job *j = c->job;
    struct net_conn *conn = &c->conn;
    bool last;

    net_conn_flush(conn);
    if (c->calls > 0 || net_conn_unsent(conn) > UNSENT_MAX)
        return;
    if (!begin_answer(j, false) || !send_portion(j) || ends_walk(j))
        return;
    next_shard(j);
    last = j->shard == shard_group_of(c->admin->shard)->count;
    if (last && !begin_answer(j, true))
        return;
    if (last && !j->prepared) {
        j->call.run = prepare_run;
        j->shard = 0;
        ask(j);
    } else if (last) {
        j->kind->finish(j, net_conn_out(conn));
        admin_answered(c);
    } else {
        ask(j);
    }
}

static void job_gone(struct admin_client *c)
{
    struct admin_job *j = c->job;

    if (c->calls > 0)
        return;
    if (j->kind->halt != NULL)
        j->kind->halt(j);
    if (j->bulk == NULL)
        return;
    j->call.run = admin_walk_end_run;
    ask(j);
}

static void job_release(struct admin_client *c)
{
    struct admin_job *j = c->job;

    if (j->kind->release != NULL)
        j->kind->release(j);
    admin_request_finish(&j->request);
    mem_free(j->line);
    buf_finish(&j->rows);
    mem_free(j);
}

static const struct admin_job_kind *kind_of(const struct admin_request *r)
{
    if (r->dry_run)
        return &admin_rows_kind;
    switch (r->verb) {
    case ADMIN_LIST:
    case ADMIN_SHOW: return &admin_rows_kind;
    case ADMIN_SUMMARY: return &admin_summary_kind;
    case ADMIN_RETRY:
    case ADMIN_HOLD:
    case ADMIN_RELEASE:
    case ADMIN_DELETE:
    case ADMIN_BOUNCE:
    case ADMIN_SET: return &admin_actions_kind;
    case ADMIN_EXPORT: return &admin_export_kind;
    case ADMIN_HOLDS:
    case ADMIN_IMPORT:
    case ADMIN_VERB_COUNT: break;
    }
    UNREACHABLE();
}

void admin_job_begin(struct admin_client *c, struct admin_request *request, uint8_t *line,
                     const struct admin_job_kind *kind)
{
    struct admin_job *j = mem_zalloc(sizeof(*j));

    j->client = c;
    j->request = *request;
    j->line = line;
    j->kind = kind;
    j->call.run = admin_walk_run;
    j->call.done = portion_done;
    buf_init(&j->rows, 0);
    j->prepared = j->kind->prepare == NULL;
    if (j->kind->start != NULL)
        j->kind->start(j);
    c->job = j;
    c->gone = job_gone;
    c->release = job_release;
    c->step = job_step;
    job_step(c);
}

void admin_queue(struct admin_client *c, struct admin_request *request, uint8_t *line)
{
    admin_job_begin(c, request, line, kind_of(request));
}
