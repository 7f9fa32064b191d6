/* admin: the control socket's connections, and which request is which. */
#include "admin.h"

#include "admin_priv.h"
#include "base_mem.h"

enum { REQUEST_TIMEOUT_MS = 60 * 1000, WORDS_MAX = 20000 };

static void client_free(struct admin_client *c)
{
    if (!c->closed || c->calls > 0)
        return;
    if (c->release != NULL)
        c->release(c);
    wheel_cancel(shard_wheel(c->admin->shard), &c->timer);
    list_remove(&c->node);
    buf_finish(&c->line);
    c->admin->client_count--;
    mem_free(c);
}

static void client_closed(struct net_conn *conn)
{
    struct admin_client *c = container_of(conn, struct admin_client, conn);

    c->closed = true;
    if (c->gone != NULL)
        c->gone(c);
    client_free(c);
}

static void client_expired(struct wheel_timer *timer)
{
    net_conn_abort(&container_of(timer, struct admin_client, timer)->conn);
}

static void keep_alive(struct admin_client *c)
{
    struct shard *s = c->admin->shard;

    wheel_set(shard_wheel(s), &c->timer, io_now_ms(shard_io(s)) + c->patience_ms);
}

void admin_answered(struct admin_client *c)
{
    c->answered = true;
    c->step = NULL;
    if (c->marked)
        (void)buf_append_byte(net_conn_out(&c->conn), '\0');
    net_conn_close(&c->conn, false);
}

void admin_error(struct admin_client *c, const char *text)
{
    (void)buf_printf(net_conn_out(&c->conn), "error %s\n", text);
    admin_answered(c);
}

void admin_call_over(struct admin_client *c)
{
    bool closed = c->closed;

    ASSERT(c->calls > 0);
    c->calls--;
    if (closed && c->gone != NULL)
        c->gone(c);
    if (closed)
        client_free(c);
    else
        keep_alive(c); /* what takes long here is not held against the client */
    if (!closed && c->step != NULL)
        c->step(c);
}

/* ---- requests ----------------------------------------------------------------------------- */

static bool word_is(struct slice word, const char *text)
{
    return slice_equal(word, slice_str(text));
}

static void request_queue(struct admin_client *c, const struct slice *words, size_t count,
                          uint8_t *line)
{
    struct admin_request request;
    struct buf error;

    buf_init(&error, 0);
    if (admin_request_parse(&request, words, count, &error)) {
        if (request.verb == ADMIN_IMPORT)
            admin_import(c, &request, line);
        else if (request.verb == ADMIN_HOLDS || request.future || request.rule.len > 0)
            admin_holds(c, &request, line);
        else
            admin_queue(c, &request, line);
    } else {
        (void)buf_append_byte(&error, '\0');
        admin_error(c, (const char *)buf_slice(&error).data);
        mem_free(line);
    }
    buf_finish(&error);
}

/* Whether it went well stands in the log, as with SIGHUP. */
static void request_reload(struct admin_client *c)
{
    struct shard_group *group = shard_group_of(c->admin->shard);

    if (group->ask_reload == NULL) {
        admin_error(c, "this server cannot reload");
        return;
    }
    group->ask_reload();
    (void)buf_append_str(net_conn_out(&c->conn), "ok\nthe configuration is being read again\n");
    admin_answered(c);
}

static void request_words(struct admin_client *c, const struct slice *words, size_t count,
                          uint8_t *line)
{
    bool json = count > 1 && word_is(words[count - 1], "json");

    if (count > 0 && word_is(words[0], "queue")) {
        request_queue(c, words + 1, count - 1, line);
        return;
    }
    if (count > 0 && word_is(words[0], "explain")) {
        admin_explain(c, words + 1, count - 1, line);
        return;
    }
    if (count == 1U + json && word_is(words[0], "status"))
        admin_status(c, json);
    else if (count == 2 && word_is(words[0], "tls-report") && word_is(words[1], "send"))
        admin_report(c);
    else if (count == 1 && !json && word_is(words[0], "reload"))
        request_reload(c);
    else
        admin_error(
            c, "unknown request; known are status, queue, explain, reload and tls-report send");
    mem_free(line);
}

static void request(struct admin_client *c)
{
    size_t len = buf_len(&c->line);
    uint8_t *line = mem_dup(buf_slice(&c->line).data, len);
    struct slice *words = mem_calloc(WORDS_MAX, sizeof(*words));
    ptrdiff_t count = admin_words_split(line, len, words, WORDS_MAX);

    buf_finish(&c->line);
    c->marked = count > 0 && word_is(words[0], "marked");
    if (count >= 0) {
        request_words(c, words + c->marked, (size_t)count - c->marked, line);
    } else {
        mem_free(line);
        admin_error(c, count == ADMIN_WORDS_BAD ? "quotes that do not end, or a bad escape"
                                                : "too many words in one request");
    }
    mem_free(words);
}

/* What has come of the request's line goes aside; true when it is whole. */
static bool take_line(struct admin_client *c)
{
    struct slice in = net_conn_input(&c->conn);
    ptrdiff_t end = slice_find(in, '\n');
    size_t len = end >= 0 ? (size_t)end : in.len;

    (void)buf_append_slice(&c->line, slice_head(in, len)); /* c->line.overflow is looked at */
    net_conn_consume(&c->conn, end >= 0 ? len + 1 : len);
    return end >= 0;
}

static void client_ready(struct net_conn *conn)
{
    struct admin_client *c = container_of(conn, struct admin_client, conn);
    bool whole;

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
    whole = take_line(c);
    if (c->line.overflow) {
        admin_error(c, "the request is too long");
    } else if (whole) {
        request(c);
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
    c->patience_ms = REQUEST_TIMEOUT_MS;
    a->client_count++;
    buf_init(&c->line, ADMIN_LINE_MAX);
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
