/* auth_dovecot: the connection. What stands in lines is auth_dovecot_line.c's matter. */
#include "auth_dovecot_priv.h"

#include <stdio.h>

#include "auth_dovecot_line_priv.h"
#include "base_assert.h"
#include "base_log.h"
#include "base_mem.h"

enum dovecot_state {
    DOVECOT_CLOSED, /* or waits for the next try */
    DOVECOT_CONNECTING,
    DOVECOT_GREETING, /* until it has said DONE */
    DOVECOT_UP,
    DOVECOT_CLOSING,
};

/* A line to be sent. It may hold a password: it is overwritten when it is gone. */
struct out_line {
    struct out_line *next;
    size_t len;
    uint8_t bytes[];
};

struct auth_dovecot {
    struct io *io;
    struct wheel *wheel;
    char *path;
    struct io_addr addr;
    enum dovecot_state state;
    int fd;
    struct io_op connect, recv, send, shutdown, close;
    struct wheel_timer timer; /* for the greeting, or until the next try */
    uint64_t retry_ms;
    struct buf in;
    struct out_line *out, **out_end;
    struct list requests;
    uint32_t next_id;
    bool lost_said; /* that it cannot be reached is in the log already */
    struct slice mechanisms[AUTH_DOVECOT_MECHANISMS_MAX];
    size_t mechanism_count;
    struct dovecot_greeting greeting;
};

static const struct slice at_first[] = {SLICE_INIT("PLAIN")};

static void dovecot_close(struct auth_dovecot *d, const char *why, int error);
static void dovecot_open(struct auth_dovecot *d);

/* ---- requests ------------------------------------------------------------------------------ */

static void answer(struct auth_dovecot_request *r, enum auth_dovecot_answer what, struct slice data)
{
    wheel_cancel(r->dovecot->wheel, &r->timer);
    if (what != AUTH_DOVECOT_CHALLENGE) {
        list_remove(&r->node);
        r->id = 0;
    }
    r->answer(r, what, data);
}

static void fail_all(struct auth_dovecot *d)
{
    while (!list_empty(&d->requests))
        answer(container_of(d->requests.next, struct auth_dovecot_request, node),
               AUTH_DOVECOT_TEMPORARY, SLICE_NULL);
}

static void answer_late(struct wheel_timer *timer)
{
    struct auth_dovecot_request *r = container_of(timer, struct auth_dovecot_request, timer);

    /* One that does not answer one is not trusted to answer others. */
    dovecot_close(r->dovecot, "no answer", 0);
}

static struct auth_dovecot_request *find_request(struct auth_dovecot *d, uint32_t id)
{
    LIST_EACH(&d->requests, node)
    {
        struct auth_dovecot_request *r = container_of(node, struct auth_dovecot_request, node);

        if (r->id == id)
            return r;
    }
    return NULL;
}

/* ---- out ----------------------------------------------------------------------------------- */

static void free_line(struct out_line *line)
{
    mem_wipe(line->bytes, line->len);
    mem_free(line);
}

static void forget_lines(struct auth_dovecot *d)
{
    while (d->out != NULL) {
        struct out_line *next = d->out->next;

        free_line(d->out);
        d->out = next;
    }
    d->out_end = &d->out;
}

static void send_next(struct auth_dovecot *d)
{
    if (d->out != NULL && !io_op_busy(&d->send))
        io_send(d->io, &d->send, d->fd, slice_of(d->out->bytes, d->out->len), 0);
}

static void send_line(struct auth_dovecot *d, struct slice text)
{
    struct out_line *line = mem_alloc(sizeof(*line) + text.len);

    line->next = NULL;
    line->len = text.len;
    memcpy(line->bytes, text.data, text.len);
    *d->out_end = line;
    d->out_end = &line->next;
    send_next(d);
}

static void dovecot_settle(struct auth_dovecot *d);

static void sent(struct io_op *op)
{
    struct auth_dovecot *d = container_of(op, struct auth_dovecot, send);
    struct out_line *line = d->out;

    d->out = line->next;
    if (d->out == NULL)
        d->out_end = &d->out;
    free_line(line);
    if (d->state == DOVECOT_CLOSING)
        dovecot_settle(d);
    else if (op->res < 0)
        dovecot_close(d, "cannot send", -op->res);
    else
        send_next(d);
}

/* ---- in ------------------------------------------------------------------------------------ */

static void greeted(struct auth_dovecot *d)
{
    struct log_record r;

    if (d->greeting.mechanism_count == 0) {
        dovecot_close(d, "it has no mechanism for us", 0);
        return;
    }
    d->mechanism_count = d->greeting.mechanism_count;
    for (size_t i = 0; i < d->mechanism_count; i++)
        d->mechanisms[i] =
            slice_of(d->greeting.names[i], strlen((const char *)d->greeting.names[i]));
    d->state = DOVECOT_UP;
    d->retry_ms = AUTH_DOVECOT_RETRY_MS;
    wheel_cancel(d->wheel, &d->timer);
    log_begin(&r, d->lost_said ? LOG_NOTICE : LOG_INFO, "dovecot-up");
    log_str(&r, "socket", d->path);
    log_end(&r);
    d->lost_said = false;
}

static void take_greeting(struct auth_dovecot *d, struct slice line)
{
    switch (dovecot_greeting_take(&d->greeting, line)) {
    case DOVECOT_GREETING_MORE: break;
    case DOVECOT_GREETING_DONE: greeted(d); break;
    case DOVECOT_GREETING_BAD: dovecot_close(d, "it speaks another protocol", 0); break;
    }
}

static void take_answer(struct auth_dovecot *d, struct slice line)
{
    struct dovecot_answer a;
    struct auth_dovecot_request *r;

    if (!dovecot_answer_parse(line, &a)) {
        dovecot_close(d, "it answers nonsense", 0);
        return;
    }
    r = a.id == 0 ? NULL : find_request(d, a.id);
    if (r != NULL) /* else: forgotten, or one of its remarks that are nothing to us */
        answer(r, a.what, a.data);
}

static void take_lines(struct auth_dovecot *d)
{
    for (;;) {
        struct slice all = buf_slice(&d->in);
        ptrdiff_t newline = slice_find(all, '\n');
        struct slice line = slice_head(all, newline < 0 ? 0 : (size_t)newline);

        if (newline < 0) {
            if (all.len > AUTH_DOVECOT_LINE_MAX)
                dovecot_close(d, "a line is too long", 0);
            break;
        }
        if (d->state == DOVECOT_UP)
            take_answer(d, line);
        else
            take_greeting(d, line);
        if (d->state == DOVECOT_CLOSING || d->state == DOVECOT_CLOSED)
            return; /* `in` is empty */
        buf_consume(&d->in, line.len + 1);
    }
    buf_release(&d->in);
}

static void received(struct io_op *op)
{
    struct auth_dovecot *d = container_of(op, struct auth_dovecot, recv);

    if (d->state == DOVECOT_CLOSING) {
        if (op->res > 0)
            io_lent_return(d->io, op);
        dovecot_settle(d);
        return;
    }
    if (op->res <= 0) {
        dovecot_close(d, "it hung up", -op->res);
        return;
    }
    bool fits = buf_append_slice(&d->in, op->lent);
    io_lent_return(d->io, op);
    if (!fits) {
        dovecot_close(d, "a line is too long", 0);
        return;
    }
    take_lines(d);
    if (d->state == DOVECOT_GREETING || d->state == DOVECOT_UP)
        io_recv(d->io, &d->recv, d->fd);
}

/* ---- opening and closing ------------------------------------------------------------------- */

static void closed(struct auth_dovecot *d)
{
    d->state = DOVECOT_CLOSED;
    d->fd = -1;
    forget_lines(d);
    if (d->path == NULL)
        return;
    wheel_set(d->wheel, &d->timer, io_now_ms(d->io) + d->retry_ms);
    d->retry_ms *= 2;
    if (d->retry_ms > AUTH_DOVECOT_RETRY_MAX_MS)
        d->retry_ms = AUTH_DOVECOT_RETRY_MAX_MS;
}

static void on_closed(struct io_op *op)
{
    closed(container_of(op, struct auth_dovecot, close));
}

static void on_shutdown(struct io_op *op)
{
    dovecot_settle(container_of(op, struct auth_dovecot, shutdown));
}

/* CLOSING: when nothing is in flight any more, the socket closes. */
static void dovecot_settle(struct auth_dovecot *d)
{
    ASSERT(d->state == DOVECOT_CLOSING);
    if (!io_op_busy(&d->connect) && !io_op_busy(&d->recv) && !io_op_busy(&d->send)
        && !io_op_busy(&d->shutdown) && !io_op_busy(&d->close))
        io_close(d->io, &d->close, d->fd);
}

static void dovecot_close(struct auth_dovecot *d, const char *why, int error)
{
    struct log_record r;

    if (d->state == DOVECOT_CLOSED || d->state == DOVECOT_CLOSING)
        return;
    if (why != NULL && !d->lost_said) {
        log_begin(&r, LOG_WARNING, "dovecot-lost");
        log_str(&r, "socket", d->path);
        log_str(&r, "why", why);
        if (error != 0)
            log_errno(&r, error);
        log_end(&r);
        d->lost_said = true;
    }
    d->state = DOVECOT_CLOSING;
    wheel_cancel(d->wheel, &d->timer);
    buf_clear(&d->in);
    buf_release(&d->in);
    if (io_op_busy(&d->connect))
        io_cancel(d->io, &d->connect);
    else
        io_shutdown(d->io, &d->shutdown, d->fd);
    fail_all(d);
}

static void on_connected(struct io_op *op)
{
    struct auth_dovecot *d = container_of(op, struct auth_dovecot, connect);
    uint32_t number;
    struct buf hello;

    if (d->state == DOVECOT_CLOSING) {
        dovecot_settle(d);
        return;
    }
    if (op->res < 0) {
        dovecot_close(d, "cannot connect", -op->res);
        return;
    }
    d->state = DOVECOT_GREETING;
    d->greeting = (struct dovecot_greeting){0};
    /* Dovecot wants a process's number, another for each connection; any number does. */
    io_entropy(d->io, &number, sizeof(number));
    buf_init(&hello, 0);
    (void)buf_printf(&hello, "VERSION\t1\t1\nCPID\t%u\n", (unsigned)(number >> 1 | 1));
    send_line(d, buf_slice(&hello));
    buf_finish(&hello);
    io_recv(d->io, &d->recv, d->fd);
}

static void timed_out(struct wheel_timer *timer)
{
    struct auth_dovecot *d = container_of(timer, struct auth_dovecot, timer);

    if (d->state == DOVECOT_CLOSED)
        dovecot_open(d);
    else
        dovecot_close(d, "no greeting", 0);
}

static void dovecot_open(struct auth_dovecot *d)
{
    ASSERT(d->state == DOVECOT_CLOSED);
    if (d->path == NULL)
        return;
    d->fd = io_socket_stream(d->io, d->addr.storage.ss_family);
    if (d->fd < 0) {
        closed(d);
        return;
    }
    d->state = DOVECOT_CONNECTING;
    wheel_set(d->wheel, &d->timer, io_now_ms(d->io) + AUTH_DOVECOT_HANDSHAKE_MS);
    io_connect(d->io, &d->connect, d->fd, &d->addr);
}

struct auth_dovecot *auth_dovecot_create(struct io *io, struct wheel *wheel)
{
    struct auth_dovecot *d = mem_zalloc(sizeof(*d));

    d->io = io;
    d->wheel = wheel;
    d->fd = -1;
    d->retry_ms = AUTH_DOVECOT_RETRY_MS;
    d->out_end = &d->out;
    d->connect.done = on_connected;
    d->recv.done = received;
    d->send.done = sent;
    d->shutdown.done = on_shutdown;
    d->close.done = on_closed;
    buf_init(&d->in, (size_t)2 * AUTH_DOVECOT_LINE_MAX);
    list_init(&d->requests);
    wheel_timer_init(&d->timer, timed_out);
    return d;
}

void auth_dovecot_set_path(struct auth_dovecot *d, const char *path)
{
    struct buf text;

    if (path != NULL && d->path != NULL && strcmp(path, d->path) == 0)
        return;
    dovecot_close(d, NULL, 0);
    wheel_cancel(d->wheel, &d->timer);
    mem_free(d->path);
    d->path = NULL;
    d->mechanism_count = 0;
    d->lost_said = false;
    d->retry_ms = AUTH_DOVECOT_RETRY_MS;
    if (path == NULL)
        return;
    buf_init(&text, 0);
    (void)buf_printf(&text, "unix:%s", path);
    if (io_addr_parse(buf_slice(&text), &d->addr))
        d->path = mem_strdup(path);
    buf_finish(&text);
    /* By the timer: this may be another thread, before the shard has begun. */
    if (d->path != NULL && d->state == DOVECOT_CLOSED)
        wheel_set(d->wheel, &d->timer, io_now_ms(d->io));
}

bool auth_dovecot_idle(const struct auth_dovecot *d)
{
    return d->path == NULL && d->state == DOVECOT_CLOSED;
}

void auth_dovecot_destroy(struct auth_dovecot *d, bool crashed)
{
    if (d == NULL)
        return;
    ASSERT(crashed || auth_dovecot_idle(d));
    if (crashed)
        wheel_cancel(d->wheel, &d->timer);
    forget_lines(d);
    buf_finish(&d->in);
    mem_free(d->path);
    mem_free(d);
}

/* ---- what others ask ----------------------------------------------------------------------- */

size_t auth_dovecot_mechanisms(const struct auth_dovecot *d, const struct slice **out)
{
    bool known = d->mechanism_count > 0;

    *out = known ? d->mechanisms : at_first;
    return d->path == NULL ? 0 : known ? d->mechanism_count : ARRAY_LEN(at_first);
}

bool auth_dovecot_has(const struct auth_dovecot *d, struct slice mechanism)
{
    const struct slice *names;
    size_t count = auth_dovecot_mechanisms(d, &names);

    for (size_t i = 0; i < count; i++)
        if (slice_equal_nocase(names[i], mechanism))
            return true;
    return false;
}

static void await(struct auth_dovecot_request *r)
{
    wheel_set(r->dovecot->wheel, &r->timer, io_now_ms(r->dovecot->io) + AUTH_DOVECOT_ANSWER_MS);
}

bool auth_dovecot_ask(struct auth_dovecot *d, struct auth_dovecot_request *r,
                      const struct auth_dovecot_facts *facts)
{
    struct buf line;

    ASSERT(r->id == 0);
    if (d->state != DOVECOT_UP)
        return false;
    r->dovecot = d;
    r->id = d->next_id = d->next_id % INT32_MAX + 1;
    wheel_timer_init(&r->timer, answer_late);
    list_push_back(&d->requests, &r->node);
    /* Room for all of it at once: what holds a password is not moved about. */
    buf_init(&line, 0);
    (void)buf_reserve(&line, facts->response.len + 512);
    dovecot_request_format(r->id, facts, &line);
    send_line(d, buf_slice(&line));
    mem_wipe(line.data, line.capacity);
    buf_finish(&line);
    await(r);
    return true;
}

void auth_dovecot_continue(struct auth_dovecot_request *r, struct slice response)
{
    struct buf line;

    ASSERT(r->id != 0);
    buf_init(&line, 0);
    (void)buf_reserve(&line, response.len + 32);
    (void)buf_printf(&line, "CONT\t%u\t", (unsigned)r->id);
    (void)buf_append_slice(&line, response);
    (void)buf_append_byte(&line, '\n');
    send_line(r->dovecot, buf_slice(&line));
    mem_wipe(line.data, line.capacity);
    buf_finish(&line);
    await(r);
}

void auth_dovecot_forget(struct auth_dovecot_request *r)
{
    struct auth_dovecot *d = r->dovecot;
    char line[32];

    if (r->id == 0)
        return;
    wheel_cancel(d->wheel, &r->timer);
    list_remove(&r->node);
    if (d->state == DOVECOT_UP) {
        int len = snprintf(line, sizeof(line), "CANCEL\t%u\n", (unsigned)r->id);

        send_line(d, slice_of(line, (size_t)len));
    }
    r->id = 0;
}
