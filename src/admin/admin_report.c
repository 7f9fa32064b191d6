/* admin_report: "tls-report send": all shards end their period now; then the first makes reports of it. */
#include "admin_priv.h"
#include "base_mem.h"

struct report_call {
    struct shard_call call;
    struct report_close close;
    struct shard *on;
    struct admin_client *client;
};

struct report_job {
    unsigned count;
    struct report_call calls[];
};

static void closed(struct report_close *close)
{
    struct report_call *r = container_of(close, struct report_call, close);

    shard_answer(r->on, &r->call);
}

static void close_run(struct shard *on, struct shard_call *call)
{
    struct report_call *r = container_of(call, struct report_call, call);

    r->on = on;
    report_close_period(shard_report(on), &r->close);
}

static void close_done(struct shard *on, struct shard_call *call)
{
    (void)on;
    admin_call_over(container_of(call, struct report_call, call)->client);
}

static void report_step(struct admin_client *c)
{
    if (c->calls > 0)
        return;
    report_send(shard_report(c->admin->shard));
    (void)buf_append_str(net_conn_out(&c->conn),
                         "ok\nreports about the results so far are on their way\n");
    admin_answered(c);
}

static void report_release(struct admin_client *c)
{
    mem_free(c->job);
}

void admin_report(struct admin_client *c)
{
    struct shard *shard = c->admin->shard;
    unsigned count = shard_group_of(shard)->count;
    struct report_job *job = mem_zalloc(sizeof(*job) + count * sizeof(job->calls[0]));
    uint64_t now_ms = io_unix_ms(shard_io(shard));

    job->count = count;
    c->job = job;
    c->step = report_step;
    c->release = report_release;
    c->calls = count;
    for (unsigned i = 0; i < count; i++) {
        struct report_call *r = &job->calls[i];
        r->call.run = close_run;
        r->call.done = close_done;
        r->close.done = closed;
        r->close.number = now_ms; /* names the period: no two are asked for at the same time */
        r->client = c;
        shard_call(shard, i, &r->call);
    }
}
