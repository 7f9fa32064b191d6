/* sink_worker: see the header. */
#include "sink_worker.h"

#include "base_codec.h"
#include "sink_session.h"

enum { RECIPIENTS_MAX = 100000 };

void sink_run_init(struct sink_run *run, const struct sink_options *options)
{
    uint32_t extensions = SMTP_EXT_SERVER;

    if (!options->pipelining)
        extensions &= ~(uint32_t)SMTP_EXT_PIPELINING;
    if (options->tls == SINK_TLS_STARTTLS)
        extensions |= SMTP_EXT_STARTTLS;
    *run = (struct sink_run){.options = options};
    /* Everything is accepted: there is nothing that a client can do too often. */
    run->smtp = (struct smtp_server_options){
        .hostname = slice_str(options->hostname),
        .greeting = SLICE_LITERAL("ESMTP sink"),
        .extensions = extensions,
        .message_size_max = options->size_max,
        .recipients_max = RECIPIENTS_MAX,
        .errors_max = UINT32_MAX,
        .idle_commands_max = UINT32_MAX,
        .bare_newline = SMTP_BARE_NEWLINE_NORMALIZE,
    };
}

static void accepted(struct net_listener *listener, int fd)
{
    struct sink_worker *w = container_of(listener, struct sink_worker, listener);

    if (w->stopping)
        io_close_now(w->io, fd);
    else
        sink_session_start(w, fd);
}

void sink_worker_init(struct sink_worker *w, struct sink_run *run, unsigned number, struct io *io)
{
    *w = (struct sink_worker){.run = run, .io = io};
    list_init(&w->sessions);
    pool_init(&w->session_pool, "sessions", sizeof(struct sink_session), 0);
    rand_seed(&w->rand, run->options->seed + number);
    buf_init(&w->lines, 0);
    sink_verify_init(&w->verify);
}

void sink_worker_start(struct sink_worker *w, int fd)
{
    wheel_init(&w->wheel, io_now_ns(w->io) / 1000000);
    net_listener_start(&w->listener, w->io, &w->wheel, fd, accepted);
}

/* Who is connected is cut off: a server that keeps a connection to us might keep it for long. */
static void stop(struct sink_worker *w)
{
    w->stopping = true;
    net_listener_stop(&w->listener, NULL);
    LIST_EACH(&w->sessions, node)
    {
        sink_session_abort(container_of(node, struct sink_session, node));
    }
}

bool sink_worker_pass(struct sink_worker *w)
{
    (void)io_wait(w->io, wheel_next_ms(&w->wheel)); /* what happened, happened in the ops */
    wheel_advance(&w->wheel, io_now_ms(w->io));
    if (!w->stopping && atomic_load_explicit(&w->run->stop, memory_order_relaxed))
        stop(w);
    if (buf_len(&w->lines) > 0) {
        w->run->record(w->run->context, buf_slice(&w->lines));
        buf_clear(&w->lines);
    }
    return !w->stopping || !net_listener_is_stopped(&w->listener) || !list_empty(&w->sessions);
}

void sink_worker_finish(struct sink_worker *w)
{
    pool_finish(&w->session_pool);
    buf_finish(&w->lines);
    sink_verify_finish(&w->verify);
}

void sink_stats_merge(struct sink_stats *to, const struct sink_stats *from)
{
    to->connections += from->connections;
    to->handshakes += from->handshakes;
    to->resumed += from->resumed;
    to->handshakes_failed += from->handshakes_failed;
    to->accepted += from->accepted;
    to->recipients += from->recipients;
    to->bytes += from->bytes;
    to->cut += from->cut;
    to->dump_errors += from->dump_errors;
    for (size_t i = 0; i < SINK_STAGE_COUNT; i++) {
        to->failed[i] += from->failed[i];
        to->dropped[i] += from->dropped[i];
    }
}
