/* admin: the control socket's connections, and which request is which. */
#include "admin.h"

#include "admin_priv.h"
#include "base_mem.h"

enum { REQUEST_TIMEOUT_MS = 60 * 1000, WORDS_MAX = 4096 };

static void client_free(struct admin_client *c)
{
    if (!c->closed || c->calls > 0)
        return;
    if (c->release != NULL)
        c->release(c);
    wheel_cancel(shard_wheel(c->admin->shard), &c->timer);
    list_remove(&c->node);
    c->admin->client_count--;
    mem_free(c);
}

static void client_closed(struct net_conn *conn)
{
    struct admin_client *c = container_of(conn, struct admin_client, conn);

    c->closed = true;
    client_free(c);
}

static void client_expired(struct wheel_timer *timer)
{
    net_conn_abort(&container_of(timer, struct admin_client, timer)->conn);
}

static void keep_alive(struct admin_client *c)
{
    struct shard *s = c->admin->shard;

    wheel_set(shard_wheel(s), &c->timer, io_now_ms(shard_io(s)) + REQUEST_TIMEOUT_MS);
}

void admin_answered(struct admin_client *c)
{
    c->answered = true;
    c->step = NULL;
    net_conn_close(&c->conn, false);
}

void admin_error(struct admin_client *c, const char *text)
{
    (void)buf_printf(net_conn_out(&c->conn), "error %s\n", text);
    admin_answered(c);
}

void admin_call_over(struct admin_client *c)
{
    ASSERT(c->calls > 0);
    c->calls--;
    if (c->closed)
        client_free(c);
    else if (c->step != NULL)
        c->step(c);
}

/* ---- requests ----------------------------------------------------------------------------- */

static size_t split_words(struct slice line, struct slice *words, size_t max)
{
    size_t count = 0;

    while (count < max) {
        size_t len = 0;
        while (line.len > 0 && (line.data[0] == ' ' || line.data[0] == '\r'))
            slice_advance(&line, 1);
        while (len < line.len && line.data[len] != ' ' && line.data[len] != '\r')
            len++;
        if (len == 0)
            break;
        words[count++] = slice_of(line.data, len);
        slice_advance(&line, len);
    }
    return count;
}

static bool word_is(struct slice word, const char *text)
{
    return slice_equal(word, slice_str(text));
}

static void request_queue(struct admin_client *c, const struct slice *words, size_t count,
                          bool json)
{
    static const struct {
        const char *name;
        enum admin_queue_verb verb;
        bool needs_id;
    } verbs[] = {{"list", ADMIN_QUEUE_LIST, false},
                 {"show", ADMIN_QUEUE_SHOW, true},
                 {"retry", ADMIN_QUEUE_RETRY, true},
                 {"delete", ADMIN_QUEUE_DELETE, true}};

    for (size_t i = 0; count > 0 && i < ARRAY_LEN(verbs); i++) {
        if (!word_is(words[0], verbs[i].name))
            continue;
        if (verbs[i].needs_id && count < 2)
            admin_error(c, "which message? Give its id, or several, or all");
        else
            admin_queue(c, verbs[i].verb, words + 1, count - 1, json);
        return;
    }
    admin_error(c, "unknown queue request; known are list, show, retry and delete");
}

static void request(struct admin_client *c, struct slice line)
{
    struct slice *words = mem_calloc(WORDS_MAX, sizeof(*words));
    size_t count = split_words(line, words, WORDS_MAX);
    bool json = count > 0 && word_is(words[count - 1], "json");

    if (count == WORDS_MAX) {
        admin_error(c, "too many words in one request");
        mem_free(words);
        return;
    }
    if (json)
        count--;
    if (count == 1 && word_is(words[0], "status"))
        admin_status(c, json);
    else if (count > 0 && word_is(words[0], "queue"))
        request_queue(c, words + 1, count - 1, json);
    else if (count == 2 && !json && word_is(words[0], "tls-report") && word_is(words[1], "send"))
        admin_report(c);
    else
        admin_error(c, "unknown request; known are status, queue and tls-report send");
    mem_free(words);
}

static void client_ready(struct net_conn *conn)
{
    struct admin_client *c = container_of(conn, struct admin_client, conn);
    struct slice in = net_conn_input(conn);
    ptrdiff_t end;

    if (conn->error != 0) {
        net_conn_abort(conn);
        return;
    }
    keep_alive(c);
    if (c->step != NULL) {
        c->step(c);
        return;
    }
    if (c->answered || c->job != NULL)
        return;
    end = slice_find(in, '\n');
    if (end >= 0) {
        request(c, slice_head(in, (size_t)end));
        net_conn_consume(conn, net_conn_input(conn).len);
    } else if (in.len > ADMIN_LINE_MAX / 2) {
        admin_error(c, "the request is too long");
    } else if (conn->eof) {
        net_conn_close(conn, false);
    } else {
        net_conn_want_input(conn);
    }
}

static void client_accepted(struct net_listener *l, int fd)
{
    struct admin *a = container_of(l, struct admin, listener);
    struct admin_client *c;

    if (a->stopping || a->client_count >= ADMIN_CLIENTS_MAX) {
        io_close_now(shard_io(a->shard), fd);
        return;
    }
    c = mem_zalloc(sizeof(*c));
    c->admin = a;
    a->client_count++;
    list_init(&c->node);
    list_push_back(&a->clients, &c->node);
    wheel_timer_init(&c->timer, client_expired);
    net_conn_init(&c->conn, shard_io(a->shard), fd, client_ready, client_closed);
    c->conn.out.limit = c->conn.sending.limit = ADMIN_ANSWER_MAX;
    keep_alive(c);
    net_conn_want_input(&c->conn);
}

/* ---- life --------------------------------------------------------------------------------- */

struct admin *admin_create(struct shard *shard, int fd, const char *version)
{
    struct admin *a = mem_zalloc(sizeof(*a));

    a->shard = shard;
    a->version = version;
    a->started_ms = io_now_ms(shard_io(shard));
    list_init(&a->clients);
    net_listener_start(&a->listener, shard_io(shard), shard_wheel(shard), fd, client_accepted);
    return a;
}

void admin_stop(struct admin *a)
{
    a->stopping = true;
    net_listener_stop(&a->listener, NULL);
    LIST_EACH_SAFE(&a->clients, node)
    net_conn_abort(&container_of(node, struct admin_client, node)->conn);
}

bool admin_idle(const struct admin *a)
{
    return net_listener_is_stopped(&a->listener) && list_empty(&a->clients);
}

void admin_destroy(struct admin *a)
{
    mem_free(a);
}
