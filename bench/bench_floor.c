/*
 * bench_floor: the bare floor. A server on struct io, one thread, that only answers: it speaks SMTP with
 * fixed replies, looks for the end of a line and for the dot, and keeps nothing. What another server
 * needs beyond this is its own doing; less is not to be had on this kernel.
 *
 *   bench_floor PORT     serves 127.0.0.1:PORT until it is killed or SIGTERM; then prints what it saw
 *   bench_floor --tiny   serves itself a few messages, among the tests
 *
 * Clients may pipeline or not, and send as many messages a connection as they like.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base_assert.h"
#include "base_buf.h"
#include "base_pool.h"
#include "io.h"
#include "io_uring_ring.h"

enum {
    CONNECTIONS_MAX = 20000,
    BACKLOG = 1024,
    ACCEPT_PAUSE_MS = 100, /* when there are no descriptors left */
    REPLIES_MAX = 65536    /* a client that does not read them is not served */
};

struct session {
    struct io_op recv;
    struct io_op send; /* and the close, at the end */
    struct buf out;
    struct buf sending; /* stands still while the send is under way */
    int fd;
    bool in_data;
    bool ending;         /* QUIT or the peer's end: close when all is sent */
    uint8_t dot_matched; /* how much of "\r\n.\r\n" was seen, in data */
    uint8_t verb_len;
    char verb[4]; /* the first letters of a line that may come in pieces */
};

static struct io *io;
static struct pool sessions;
static struct io_op accept_op;
static int listener;
static bool accept_paused;
static uint64_t accept_at_ms;
static uint64_t connections, messages;
static atomic_bool stopping; /* set by a signal, or by the client of --tiny */

/* --- protocol --------------------------------------------------------------------------------- */

static const struct {
    char verb[5];
    const char *reply;
} replies[] = {
    {"MAIL", "250 OK\r\n"},    {"RCPT", "250 OK\r\n"},
    {"DATA", "354 go on\r\n"}, {"EHLO", "250-floor\r\n250-PIPELINING\r\n250 8BITMIME\r\n"},
    {"HELO", "250 floor\r\n"}, {"RSET", "250 OK\r\n"},
    {"NOOP", "250 OK\r\n"},    {"QUIT", "221 bye\r\n"},
};

static void answer(struct session *s, const char *text)
{
    if (!buf_append_str(&s->out, text))
        s->ending = true;
}

static void line_ended(struct session *s)
{
    for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
        if (s->verb_len < 4 || memcmp(s->verb, replies[i].verb, 4) != 0)
            continue;
        answer(s, replies[i].reply);
        s->in_data = replies[i].verb[0] == 'D';
        s->ending |= replies[i].verb[0] == 'Q';
        s->dot_matched = 2; /* an empty body begins with its dot */
        s->verb_len = 0;
        return;
    }
    answer(s, "500 what?\r\n");
    s->verb_len = 0;
}

static size_t take_command(struct session *s, struct slice in)
{
    ptrdiff_t end = slice_find(in, '\n');
    size_t len = end < 0 ? in.len : (size_t)end + 1;

    for (size_t i = 0; i < len && s->verb_len < 4; i++)
        s->verb[s->verb_len++] = (char)(in.data[i] & ~0x20);
    if (end >= 0)
        line_ended(s);
    return len;
}

static size_t take_data(struct session *s, struct slice in)
{
    static const uint8_t end[5] = {'\r', '\n', '.', '\r', '\n'};
    size_t at = 0;

    while (at < in.len) {
        if (s->dot_matched == 0) {
            const uint8_t *cr = memchr(in.data + at, '\r', in.len - at);

            if (cr == NULL)
                return in.len;
            at = (size_t)(cr - in.data);
        }
        if (in.data[at] == end[s->dot_matched])
            s->dot_matched++;
        else
            s->dot_matched = in.data[at] == '\r';
        at++;
        if (s->dot_matched == sizeof(end)) {
            messages++;
            s->in_data = false;
            s->verb_len = 0;
            answer(s, "250 OK\r\n");
            return at;
        }
    }
    return at;
}

static void take(struct session *s, struct slice in)
{
    while (in.len > 0 && !s->ending)
        slice_advance(&in, s->in_data ? take_data(s, in) : take_command(s, in));
}

/* --- sessions --------------------------------------------------------------------------------- */

static void session_closed(struct io_op *op)
{
    struct session *s = container_of(op, struct session, send);

    buf_finish(&s->out);
    buf_finish(&s->sending);
    pool_put(&sessions, s);
}

static void session_sent(struct io_op *op);

/* One send of all replies at a time; at the end, when nothing is under way, the close. */
static void session_push(struct session *s)
{
    if (io_op_busy(&s->send))
        return;
    if (buf_len(&s->out) > 0) {
        struct buf empty = s->sending;

        buf_clear(&empty);
        s->sending = s->out;
        s->out = empty;
        s->send.done = session_sent;
        io_send(io, &s->send, s->fd, buf_slice(&s->sending), 0);
    } else if (s->ending && !io_op_busy(&s->recv)) {
        s->send.done = session_closed;
        io_close(io, &s->send, s->fd);
    }
}

static void session_sent(struct io_op *op)
{
    struct session *s = container_of(op, struct session, send);

    if (op->res < 0) {
        /* The peer is gone, so the recv in flight ends by itself. */
        s->ending = true;
        buf_clear(&s->out);
    }
    session_push(s);
}

static void session_received(struct io_op *op)
{
    struct session *s = container_of(op, struct session, recv);

    if (op->res > 0) {
        take(s, op->lent);
        io_lent_return(io, op);
    } else {
        s->ending = true;
    }
    if (!s->ending)
        io_recv(io, &s->recv, s->fd);
    session_push(s);
}

static void session_begin(int fd)
{
    struct session *s = pool_get(&sessions);

    if (s == NULL) {
        io_close_now(io, fd);
        return;
    }
    connections++;
    s->fd = fd;
    buf_init(&s->out, REPLIES_MAX);
    buf_init(&s->sending, REPLIES_MAX);
    s->recv.done = session_received;
    answer(s, "220 floor ESMTP\r\n");
    session_push(s);
    io_recv(io, &s->recv, s->fd);
}

static void accepted(struct io_op *op)
{
    if (op->res >= 0)
        session_begin(op->res);
    if (op->more)
        return;
    if (op->res != -ECANCELED)
        (void)fprintf(stderr, "bench_floor: accept: %s\n", strerror(-op->res));
    accept_paused = true;
    accept_at_ms = io_now_ms(io) + ACCEPT_PAUSE_MS;
}

/* --- the program ------------------------------------------------------------------------------ */

static void on_term(int number)
{
    (void)number;
    atomic_store(&stopping, true);
    io_wake_from_thread(io);
}

static bool start(const char *port)
{
    const struct io_uring_options options = {.connections_max = CONNECTIONS_MAX, .cpu = -1};
    struct buf text = {0};
    struct io_addr addr;
    int code = EXIT_FAILURE;

    io = io_uring_create(&options, &text, &code);
    if (io == NULL || io_uring_start(io) != 0) {
        (void)fprintf(stderr, "bench_floor: %.*s\n", SLICE_ARG(buf_slice(&text)));
        exit(code);
    }
    buf_finish(&text);
    (void)buf_printf(&text, "127.0.0.1:%s", port);
    if (!io_addr_parse(buf_slice(&text), &addr))
        return false;
    buf_finish(&text);
    listener = io_listen(io, &addr, 0, BACKLOG);
    if (listener < 0) {
        (void)fprintf(stderr, "bench_floor: listen: %s\n", strerror(-listener));
        return false;
    }
    pool_init(&sessions, "sessions", sizeof(struct session), CONNECTIONS_MAX);
    accept_op.done = accepted;
    io_accept(io, &accept_op, listener);
    return true;
}

static void serve(void)
{
    while (!atomic_load(&stopping)) {
        (void)io_wait(io,
                      accept_paused ? accept_at_ms : UINT64_MAX); /* how many ran is their matter */
        if (accept_paused && io_now_ms(io) >= accept_at_ms) {
            accept_paused = false;
            io_accept(io, &accept_op, listener);
        }
    }
}

/* The port is free for the next one only when the accept has let go of it: the kernel takes rings down
 * after their process is gone. Sessions under way end with the process. */
static void stop_listening(void)
{
    accept_op.done = NULL;
    io_cancel(io, &accept_op);
    (void)io_await(io, &accept_op); /* cancelled; or a last connection, which nobody will miss */
    io_close_now(io, listener);
}

static void report(void)
{
    struct rusage usage;
    double cpu;

    (void)getrusage(RUSAGE_SELF, &usage);
    cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6
          + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    (void)printf("connections=%llu messages=%llu cpu_us_a_message=%.1f waits=%llu starved=%llu "
                 "overflows=%llu\n",
                 (unsigned long long)connections, (unsigned long long)messages,
                 messages > 0 ? cpu / (double)messages : 0, (unsigned long long)io->counters.waits,
                 (unsigned long long)io->counters.starved,
                 (unsigned long long)io->counters.overflows);
}

/* --- the client of --tiny --------------------------------------------------------------------- */

enum { TINY_CONNECTIONS = 3, TINY_MESSAGES = 5 };

static struct io_addr tiny_server;

static void expect(FILE *in, const char *code)
{
    char line[256];

    do {
        ASSERT(fgets(line, sizeof(line), in) != NULL);
        ASSERT(strncmp(line, code, 3) == 0);
    } while (line[3] == '-');
}

/* Odd connections pipeline, even ones wait for each reply. */
static void tiny_session(int fd, bool pipelined)
{
    static const char *const dialog[][2] = {
        {"MAIL FROM:<a@example.org>\r\n", "250"},
        {"RCPT TO:<b@example.org>\r\n", "250"},
        {"DATA\r\n", "354"},
        {"Subject: x\r\n\r\n..\r\n.x\r\n.\r\n", "250"},
    };
    FILE *in = fdopen(fd, "r+");

    ASSERT(in != NULL);
    expect(in, "220");
    (void)fputs("EHLO there\r\n", in);
    expect(in, "250");
    for (int i = 0; i < TINY_MESSAGES; i++) {
        for (size_t line = 0; line < ARRAY_LEN(dialog); line++) {
            (void)fputs(dialog[line][0], in);
            if (!pipelined)
                expect(in, dialog[line][1]);
        }
        for (size_t line = 0; pipelined && line < ARRAY_LEN(dialog); line++)
            expect(in, dialog[line][1]);
    }
    (void)fputs("QUIT\r\n", in);
    expect(in, "221");
    ASSERT(fgetc(in) == EOF);
    (void)fclose(in);
}

static void *tiny_client(void *context)
{
    (void)context;
    for (int i = 0; i < TINY_CONNECTIONS; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        ASSERT(fd >= 0);
        ASSERT(connect(fd, (struct sockaddr *)&tiny_server.storage, tiny_server.len) == 0);
        tiny_session(fd, i % 2 == 1);
    }
    on_term(0);
    return NULL;
}

static void tiny(void)
{
    pthread_t thread;

    ASSERT(io_addresses(io, listener, &tiny_server, NULL) == 0);
    ASSERT(pthread_create(&thread, NULL, tiny_client, NULL) == 0);
    serve();
    ASSERT(pthread_join(thread, NULL) == 0);
    ASSERT(connections == TINY_CONNECTIONS);
    ASSERT(messages == TINY_CONNECTIONS * TINY_MESSAGES);
}

int main(int argc, char **argv)
{
    const struct sigaction action = {.sa_handler = on_term};
    bool is_tiny = argc == 2 && strcmp(argv[1], "--tiny") == 0;

    if (argc != 2) {
        (void)fprintf(stderr, "usage: bench_floor PORT | --tiny\n");
        return EXIT_FAILURE;
    }
    if (!start(is_tiny ? "0" : argv[1]))
        return EXIT_FAILURE;
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    if (is_tiny)
        tiny();
    else
        serve();
    stop_listening();
    report();
    return EXIT_SUCCESS;
}
