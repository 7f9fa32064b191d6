/* server: see the header. */
#include "server.h"

#include "base_mem.h"
#include "server_priv.h"

/* Beyond this many clients that are being told 421, new ones are just closed. */
enum { TURNED_AWAY_MAX = 256 };

void server_shared_init(struct server_shared *shared, const struct conf *conf)
{
    *shared = (struct server_shared){0};
    shared->by_listener = mem_calloc(conf->listener_count + 1, sizeof(*shared->by_listener));
    shared->clients = server_clients_create(conf->limits.connections);
}

void server_shared_finish(struct server_shared *shared)
{
    mem_free(shared->by_listener);
    server_clients_destroy(shared->clients);
    server_users_destroy(shared->users);
    *shared = (struct server_shared){0};
}

struct server *server_create(const struct server_options *options)
{
    struct server *s = mem_zalloc(sizeof(*s));
    uint8_t prefix[4];

    s->o = *options;
    list_init(&s->listeners);
    list_init(&s->sessions);
    list_init(&s->runnable);
    pool_init(&s->session_pool, "sessions", sizeof(struct session), 0);
    pool_init(&s->transaction_pool, "transactions", sizeof(struct transaction), 0);
    /* Session ids of different shards and runs differ, so that logs can be joined. */
    io_entropy(options->io, prefix, sizeof(prefix));
    s->next_session = (uint64_t)get_le32(prefix) << 32;
    return s;
}

static void connection_accepted(struct net_listener *net, int fd)
{
    struct server_listener *l = container_of(net, struct server_listener, net);

    if (l->server->stopping || l->server->turned_away >= TURNED_AWAY_MAX) {
        l->server->counters.sessions_refused++;
        io_close_now(l->server->o.io, fd);
        return;
    }
    session_begin(l, fd);
}

void server_listen(struct server *s, int fd, size_t listener)
{
    struct server_listener *l = mem_zalloc(sizeof(*l));

    l->server = s;
    l->index = listener;
    l->terms = server_terms_create(&s->o.settings, listener);
    list_push_back(&s->listeners, &l->node);
    net_listener_start(&l->net, s->o.io, s->o.wheel, fd, connection_accepted);
}

bool server_has_work(const struct server *s)
{
    return !list_empty(&s->runnable);
}

void server_step(struct server *s)
{
    struct list now;

    list_init(&now);
    list_splice_back(&now, &s->runnable);
    for (struct list *node; (node = list_pop_front(&now)) != NULL;)
        session_step(container_of(node, struct session, runnable));
}

static void stop_deadline(struct wheel_timer *timer)
{
    struct server *s = container_of(timer, struct server, stop_timer);

    LIST_EACH_SAFE(&s->sessions, node)
    session_cut_off(container_of(node, struct session, node));
}

void server_stop(struct server *s, uint64_t deadline_ms)
{
    if (s->stopping)
        return;
    s->stopping = true;
    LIST_EACH(&s->listeners, node)
    net_listener_stop(&container_of(node, struct server_listener, node)->net, NULL);
    LIST_EACH_SAFE(&s->sessions, node)
    session_stop(container_of(node, struct session, node));
    wheel_timer_init(&s->stop_timer, stop_deadline);
    wheel_set(s->o.wheel, &s->stop_timer, deadline_ms);
}

bool server_idle(const struct server *s)
{
    LIST_EACH(&s->listeners, node)
    {
        if (!net_listener_is_stopped(&container_of(node, struct server_listener, node)->net))
            return false;
    }
    return list_empty(&s->sessions);
}

void server_destroy(struct server *s, bool crashed)
{
    if (s == NULL)
        return;
    ASSERT(crashed || server_idle(s));
    LIST_EACH_SAFE(&s->sessions, session)
    session_discard(container_of(session, struct session, node));
    if (wheel_timer_is_set(&s->stop_timer))
        wheel_cancel(s->o.wheel, &s->stop_timer);
    LIST_EACH_SAFE(&s->listeners, node)
    {
        struct server_listener *l = container_of(node, struct server_listener, node);

        server_terms_unref(l->terms);
        mem_free(l);
    }
    pool_finish(&s->session_pool);
    pool_finish(&s->transaction_pool);
    mem_free(s);
}

void server_counters(const struct server *s, struct server_counters *out)
{
    *out = s->counters;
}
